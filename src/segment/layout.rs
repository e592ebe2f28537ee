//! Names and fixed facts of a segment's two files.
//!
//! ```text
//! seg-000007.nfs           kind SEGM   RAWV [NORM] | RNDV SCAL  IDSC IDTB IDSO [QPAR CODE [SKCH]] [GRPH] STAT
//! seg-000007.000003.attr   kind ATTR   GRPS GDIR [AIDX] [TEXT …] [SPIX SPDR]
//! ```
//!
//! Sections are named by tag and field; the one vector field of this version is 0. What each
//! section holds byte for byte: docs/format.md.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::curve::{self, Curve};
use crate::codec::blocks::BlockCodec;
use crate::codec::codes::CodeKind;
use crate::codec::full::Space;
use crate::codec::quantizer::QuantizerKind;
use crate::index::hnsw;
use crate::storage::container::{Identity, Seal, Tag};
use crate::storage::disk::Disk;
use crate::sync::atomic::{AtomicBool, Ordering::Relaxed};
use crate::types::{IdType, Metric, VectorType};

/// The vector field of this version.
pub(crate) const FIELD: u16 = 0;
/// Kind of a file of vectors, ids and graph.
pub(crate) const SEGMENT_KIND: Tag = *b"SEGM";
/// Kind of an attribute file.
pub(crate) const ATTRIBUTE_KIND: Tag = *b"ATTR";
/// Stored vectors, `Space::stride` bytes a row.
pub(crate) const RAWV: Tag = *b"RAWV";
/// In place of it rounded vectors, where raw ones are not kept.
pub(crate) const RNDV: Tag = *b"RNDV";
/// With those a bf16 a row, the scale.
pub(crate) const SCAL: Tag = *b"SCAL";
/// 1/‖x‖ as f32 a row; only for cosine, and with [`RAWV`].
pub(crate) const NORM: Tag = *b"NORM";
/// Ids in row order.
pub(crate) const IDSC: Tag = *b"IDSC";
/// Hash table from id to row.
pub(crate) const IDTB: Tag = *b"IDTB";
/// Rows by ascending id.
pub(crate) const IDSO: Tag = *b"IDSO";
/// Parameters of the codes, when there are any.
pub(crate) const QPAR: Tag = *b"QPAR";
/// Codes of the rows, by which the graph is walked or, without one, all rows are scanned.
pub(crate) const CODE: Tag = *b"CODE";
/// Sketches of the codes, when they have any.
pub(crate) const SKCH: Tag = *b"SKCH";
/// The graph, when one was built.
pub(crate) const GRPH: Tag = *b"GRPH";
/// [`Statistics`] as JSON.
pub(crate) const STAT: Tag = *b"STAT";
/// Column blocks, one a group of rows.
pub(crate) const GRPS: Tag = *b"GRPS";
/// Where each group lies.
pub(crate) const GDIR: Tag = *b"GDIR";
/// Indexes over the columns.
pub(crate) const AIDX: Tag = *b"AIDX";

/// The index of a column of texts, or of some of its rows; numbered.
#[cfg(feature = "text")]
pub(crate) const TEXT: Tag = *b"TEXT";

/// Inverted indexes of a sparse column, one a group; the field is the column's number among those.
pub(crate) const SPIX: Tag = *b"SPIX";
/// What [`SPIX`] is of, and where the index of each group lies.
pub(crate) const SPDR: Tag = *b"SPDR";

/// Most rows of a segment.
pub(crate) const MAX_ROWS: usize = 1 << 31;
/// Hits of the walks, and nodes that they expand, of which [`GraphStatistics`] has the recall.
const RECALL_K: u32 = 10;
const RECALL_EF: u32 = 64;
/// Most rows of an attribute group.
pub(crate) const GROUP_ROWS: usize = 1 << 16;
/// Bytes of values at which a group ends early.
pub(crate) const GROUP_BYTES: usize = 32 << 20;

/// Name of a segment's vector file.
pub(crate) fn vector_file(segment: u64) -> String {
    format!("seg-{segment:06}.nfs")
}

/// Name of a segment's attribute file of one generation.
pub(crate) fn attribute_file(segment: u64, generation: u64) -> String {
    format!("seg-{segment:06}.{generation:06}.attr")
}

/// What the manifest remembers of a segment. File names follow from the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentMeta {
    pub(crate) segment: u64,
    pub(crate) rows: u32,
    pub(crate) seal: Seal,
    /// Absent when no row of the segment has had a column.
    pub(crate) attributes: Option<AttributeMeta>,
}

/// What the manifest remembers of an attribute file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AttributeMeta {
    pub(crate) generation: u64,
    pub(crate) seal: Seal,
}

pub(crate) fn vector_identity(store: u128, segment: u64) -> Identity {
    Identity { kind: SEGMENT_KIND, store, segment, generation: 0 }
}

pub(crate) fn attribute_identity(store: u128, segment: u64, generation: u64) -> Identity {
    Identity { kind: ATTRIBUTE_KIND, store, segment, generation }
}

/// Where the vectors of a space are.
pub(crate) fn vectors(space: Space) -> Tag {
    if space.is_rounded() { RNDV } else { RAWV }
}

/// The `STAT` section: what the segment holds and how it was built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Statistics {
    pub(crate) rows: u32,
    pub(crate) dimension: u32,
    pub(crate) vector_type: VectorType,
    pub(crate) metric: Metric,
    pub(crate) id_type: IdType,
    /// How the graph was built, when there is one.
    pub(crate) graph: Option<GraphStatistics>,
    /// What walks over the graph found when it was built.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) curves: Vec<Curve>,
    /// The code that leads searches; full vectors without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<CodeStatistics>,
    /// Bytes of memory by which the code was chosen, where there was a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) share: Option<u64>,
}

/// What is kept of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Code {
    /// Eight bits, to walk a graph by.
    Byte,
    /// Four bits, to walk a graph by.
    Half,
    /// One bit, to scan by where there is no graph.
    Bit,
    /// Few bytes a row whatever its dimension, to walk a graph by or to scan by where there is none.
    Product,
}

impl From<QuantizerKind> for Code {
    fn from(kind: QuantizerKind) -> Self {
        match kind {
            QuantizerKind::Levels(CodeKind::Byte) => Self::Byte,
            QuantizerKind::Levels(CodeKind::Half) => Self::Half,
            QuantizerKind::Product => Self::Product,
        }
    }
}

impl From<&BlockCodec> for Code {
    fn from(codec: &BlockCodec) -> Self {
        match codec {
            BlockCodec::Bits(_) => Self::Bit,
            BlockCodec::Product(_) => Self::Product,
        }
    }
}

/// A code and why it was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CodeStatistics {
    pub(crate) kind: Code,
    /// Of a thousand near rows, how many were among those that a search compares exactly.
    pub(crate) agreement: u32,
}

/// Parameters of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GraphStatistics {
    pub(crate) m: u32,
    pub(crate) ef_construction: u32,
    pub(crate) seed: u64,
    /// Of a thousand near rows of a sample, how many walks found that expanded [`RECALL_EF`] nodes on average or,
    /// by inner product, kept so many candidates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) recall: Option<u32>,
}

impl Statistics {
    pub(crate) fn new(
        rows: usize,
        space: Space,
        id_type: IdType,
        graph: Option<(&hnsw::Params, Vec<Curve>)>,
        code: Option<CodeStatistics>,
    ) -> Self {
        let small = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        Self {
            rows: small(rows),
            dimension: small(space.dimension),
            vector_type: space.vector_type,
            metric: space.metric,
            id_type,
            graph: graph.as_ref().map(|(params, curves)| GraphStatistics {
                m: small(params.m),
                ef_construction: small(params.ef_construction),
                seed: params.seed,
                recall: curve::found(curves, RECALL_K, RECALL_EF),
            }),
            curves: graph.map_or_else(Vec::new, |(_, curves)| curves),
            code,
            share: None,
        }
    }

    /// Whether the segment holds `rows` rows of this space and kind of id.
    pub(crate) fn agrees(&self, rows: u32, space: Space, id_type: IdType) -> bool {
        let expected = Self::new(rows as usize, space, id_type, None, None);
        let given =
            Self { graph: None, curves: Vec::new(), code: None, share: None, ..self.clone() };
        given == expected
    }
}

/// A file that is removed once it is marked and nobody uses it any more.
///
/// Whoever holds maps of the file declares this after them, so that they are gone first.
#[derive(Debug)]
pub(crate) struct OwnedFile {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    obsolete: AtomicBool,
}

impl OwnedFile {
    pub(crate) fn new(disk: &Arc<dyn Disk>, path: PathBuf) -> Self {
        Self { disk: Arc::clone(disk), path, obsolete: AtomicBool::new(false) }
    }

    /// Whether the file goes when its last user does.
    pub(crate) fn set_obsolete(&self, obsolete: bool) {
        self.obsolete.store(obsolete, Relaxed);
    }
}

impl Drop for OwnedFile {
    fn drop(&mut self) {
        if self.obsolete.load(Relaxed) {
            // A file that stays is swept as an orphan at the next opening.
            let _ = self.disk.remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::full::Stage;

    #[test]
    fn statistics_without_curves_are_read() {
        let space = Space {
            dimension: 4,
            vector_type: VectorType::F32,
            metric: Metric::L2,
            stage: Stage::Given,
        };
        let graph = Some((&hnsw::Params::default(), Vec::new()));
        let statistics = Statistics::new(9, space, IdType::U64, graph, None);
        let json = serde_json::to_string(&statistics).expect("json");
        assert!(!json.contains("curves"), "{json}");
        let read: Statistics = serde_json::from_str(&json).expect("parse");
        assert!(read.curves.is_empty() && read.agrees(9, space, IdType::U64));
    }
}
