//! Opening a segment: that its files hold what the manifest says, or what is left of them.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::attributes::AttributeFile;
use super::derived::Remade;
use super::layout::{Code, FIELD, OwnedFile, SegmentMeta, Statistics};
use super::{Codes, Core, Segment, id_table, layout};
use crate::codec::blocks::BlockCodec;
use crate::codec::codes::SKETCH_BYTES;
use crate::codec::full::Space;
use crate::codec::quantizer::Quantizer;
use crate::codec::rounded::Rounding;
use crate::error::Result;
use crate::storage::container::{Container, Section, Tag};
use crate::storage::disk::Disk;
use crate::types::{IdType, Metric};

/// A section, of length `len` where that is known.
fn sized(container: &Container, tag: Tag, len: Option<usize>) -> Result<Section> {
    let section = container.require(tag, FIELD)?;
    if len.is_some_and(|len| len != section.len()) {
        return Err(section.corrupt("its length does not agree with the number of rows"));
    }
    Ok(section)
}

impl Codes {
    /// Those that the statistics tell of, unless their parameters are damaged.
    fn open(
        container: &Container,
        statistics: &Statistics,
        rows: usize,
        space: Space,
    ) -> Result<Option<Self>> {
        let Some(code) = statistics.code else { return Ok(None) };
        let section = sized(container, layout::QPAR, None)?;
        let Ok(bytes) = section.read_all() else { return Ok(None) };
        let refused = || section.corrupt("not the parameters of the segment's codes");
        if statistics.graph.is_none() {
            let codec = BlockCodec::parse(bytes, space);
            let codec = codec.filter(|codec| Code::from(codec) == code.kind);
            let codec = codec.ok_or_else(refused)?;
            let codes = sized(container, layout::CODE, Some(codec.bytes(rows)))?;
            return Ok(Some(Self::Scan(codec, codes)));
        }
        let codec = Quantizer::parse(bytes, space);
        let codec = codec.filter(|codec| Code::from(codec.kind()) == code.kind);
        let codec = codec.ok_or_else(refused)?;
        let len = rows.saturating_mul(codec.stride());
        let codes = sized(container, layout::CODE, Some(len))?;
        Ok(Some(Self::Walk(codec, codes)))
    }

    /// Sketches of the codes, where they have any; files written before there were sketches do not.
    fn sketches(&self, container: &Container, rows: usize) -> Result<Option<Section>> {
        match self {
            Self::Walk(codec, _) if codec.sketched().is_some() => {}
            _ => return Ok(None),
        }
        let there = container.section(layout::SKCH, FIELD);
        let len = Some(rows.saturating_mul(SKETCH_BYTES));
        there.map(|_| sized(container, layout::SKCH, len)).transpose()
    }
}

impl Segment {
    /// Opens the files that `meta` names in `dir` and checks that they hold what it says.
    pub(crate) fn open(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        store: u128,
        meta: &SegmentMeta,
        space: Space,
        id_type: IdType,
    ) -> Result<Self> {
        let path = dir.join(layout::vector_file(meta.segment));
        let identity = layout::vector_identity(store, meta.segment);
        let container = Container::open(disk, &path, identity, Some(meta.seal))?;
        let segment = Self::of(disk, container, meta, space, id_type)?;
        let Some(attributes) = meta.attributes else { return Ok(segment) };
        let file = AttributeFile::open(disk, dir, store, meta.segment, segment.len(), attributes)?;
        Ok(segment.with_attributes(Some(Arc::new(file))))
    }

    /// Opens what is left of its files; of that of attributes it may be nothing.
    pub(crate) fn salvage(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        store: u128,
        meta: &SegmentMeta,
        space: Space,
        id_type: IdType,
    ) -> Result<(Self, Result<()>)> {
        let path = dir.join(layout::vector_file(meta.segment));
        let identity = layout::vector_identity(store, meta.segment);
        let container = Container::salvage(disk, &path, identity, meta.seal)?;
        let segment = Self::of(disk, container, meta, space, id_type)?;
        let Some(attributes) = meta.attributes else { return Ok((segment, Ok(()))) };
        let rows = segment.len();
        match AttributeFile::salvage(disk, dir, store, meta.segment, rows, attributes) {
            Ok(file) => Ok((segment.with_attributes(Some(Arc::new(file))), Ok(()))),
            Err(error) => Ok((segment, Err(error))),
        }
    }

    /// The segment of an opened vector file.
    fn of(
        disk: &Arc<dyn Disk>,
        container: Container,
        meta: &SegmentMeta,
        given: Space,
        id_type: IdType,
    ) -> Result<Self> {
        let space = given.kept();
        let stat = container.require(layout::STAT, FIELD)?;
        let statistics: Statistics = match stat.read_all() {
            Ok(bytes) => serde_json::from_slice(bytes).map_err(|error| {
                stat.corrupt(&format!("not the statistics of a segment: {error}"))
            })?,
            // The manifest knows all of it but what may lead searches, which do without.
            Err(_damaged) => Statistics::new(meta.rows as usize, space, id_type, None, None),
        };
        if !statistics.agrees(meta.rows, space, id_type) {
            return Err(stat.corrupt("the segment is of another shape than its collection"));
        }
        let rows = meta.rows as usize;
        let sized = |tag, len: Option<usize>| sized(&container, tag, len);
        let rounded = space.is_rounded();
        let cosine = space.metric == Metric::Cosine && !rounded;
        let codes = Codes::open(&container, &statistics, rows, space)?;
        let sketches = match &codes {
            Some(codes) => codes.sketches(&container, rows)?,
            None => None,
        };
        let core = Core {
            segment: meta.segment,
            rows,
            given,
            space,
            rounding: rounded.then(|| Rounding::new(given)),
            id_type,
            vectors: sized(layout::vectors(space), Some(rows.saturating_mul(space.stride())))?,
            scales: match rounded {
                true => Some(sized(layout::SCAL, Some(rows.saturating_mul(2)))?),
                false => None,
            },
            inverse_norms: if cosine {
                Some(Remade::new(sized(layout::NORM, Some(rows.saturating_mul(4)))?))
            } else {
                None
            },
            ids: sized(layout::IDSC, None)?,
            table: Remade::new(sized(
                layout::IDTB,
                Some(id_table::buckets(rows) * id_table::BUCKET_BYTES),
            )?),
            sorted: Remade::new(sized(layout::IDSO, Some(rows.saturating_mul(4)))?),
            graph: match statistics.graph {
                Some(_) => Some(sized(layout::GRPH, None)?),
                None => None,
            },
            codes,
            sketches,
            statistics,
            ends: OnceLock::new(),
            file: OwnedFile::new(disk, container.path().clone()),
            container,
        };
        core.ids_view()?;
        core.graph_view(core.graph.as_ref())?;
        Ok(Self { core: Arc::new(core), attributes: None })
    }
}
