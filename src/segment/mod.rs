//! Segments and memtable chunks: the only place where files and vectors meet.
//!
//! A [`Segment`] is an immutable file of vectors, ids and perhaps a graph, and beside it an
//! attribute file that is replaced, never changed. Opening reads tables and statistics, nothing
//! that grows with the vectors; everything else is checked on first touch, and whoever touched a
//! damaged block is told `Corrupt`. Must never know a lock, a log, a manifest or a policy: which
//! rows are dead and which attributes are patched is passed in. docs/format.md, "Segment file".

pub(crate) mod attributes;
#[cfg(test)]
mod bit_tests;
pub(crate) mod coding;
mod coding_bits;
pub(crate) mod columns;
mod fresh_codes;
pub(crate) mod id_table;
pub(crate) mod ids;
pub(crate) mod layout;
pub(crate) mod matching;
pub(crate) mod memtable;
pub(crate) mod part;
pub(crate) mod patch;
mod plan;
mod quality;
pub(crate) mod search;
#[cfg(test)]
mod sketch_tests;
pub(crate) mod sparse;
#[cfg(test)]
mod tests;
mod verify;
#[cfg(feature = "text")]
mod words;
pub(crate) mod writer;

use std::path::Path;
use std::sync::{Arc, OnceLock};

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::SchemaRef;

use self::attributes::AttributeFile;
use self::ids::IdsView;
use self::layout::{Code, CodeStatistics, FIELD, OwnedFile, SegmentMeta, Statistics};
use self::search::{Ask, SearchOptions, SearchStats, Target};
use crate::bytes::Guarded;
use crate::codec::bits::{BitCodec, BitRows};
use crate::codec::codes::{CodeRows, Codec, SKETCH_BYTES};
use crate::codec::full::{Rows, Space};
use crate::error::Result;
use crate::filter::rowset::RowSet;
use crate::index::hnsw::View;
use crate::index::topk::Candidate;
use crate::storage::container::{Container, Section, Tag};
use crate::storage::disk::Disk;
use crate::types::{Id, IdRef, IdType, Metric, Row};

/// An opened segment: vectors, ids and graph, and one generation of attributes.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    core: Arc<Core>,
    attributes: Option<Arc<AttributeFile>>,
}

/// What stays the same under every generation of attributes.
#[derive(Debug)]
struct Core {
    segment: u64,
    rows: usize,
    space: Space,
    id_type: IdType,
    vectors: Section,
    inverse_norms: Option<Section>,
    ids: Section,
    table: Section,
    sorted: Section,
    graph: Option<Section>,
    codes: Option<Codes>,
    sketches: Option<Section>,
    container: Container,
    statistics: Statistics,
    /// Smallest and largest id, read when first needed.
    ends: OnceLock<Option<(Id, Id)>>,
    // After the maps: see `OwnedFile`.
    file: OwnedFile,
}

/// Codes of all rows and what reads them.
#[derive(Debug)]
enum Codes {
    /// To walk the graph by.
    Walk(Codec, Section),
    /// To scan by, where there is no graph.
    Scan(BitCodec, Section),
}

/// A section, of length `len` where that is known.
fn sized(container: &Container, tag: Tag, len: Option<usize>) -> Result<Section> {
    let section = container.require(tag, FIELD)?;
    if len.is_some_and(|len| len != section.len()) {
        return Err(section.corrupt("its length does not agree with the number of rows"));
    }
    Ok(section)
}

impl Codes {
    /// Those that the statistics tell of.
    fn open(
        container: &Container,
        statistics: &Statistics,
        rows: usize,
        space: Space,
    ) -> Result<Option<Self>> {
        let Some(code) = statistics.code else { return Ok(None) };
        let section = sized(container, layout::QPAR, None)?;
        let bytes = section.read_all()?;
        let refused = || section.corrupt("not the parameters of the segment's codes");
        if code.kind == Code::Bit {
            let codec = BitCodec::parse(bytes, space).filter(|_| statistics.graph.is_none());
            let codec = codec.ok_or_else(refused)?;
            let codes = sized(container, layout::CODE, Some(codec.bytes(rows)))?;
            return Ok(Some(Self::Scan(codec, codes)));
        }
        let codec = Codec::parse(bytes, space);
        let codec = codec.filter(|codec| Code::from(codec.kind()) == code.kind);
        let codec = codec.ok_or_else(refused)?;
        let len = rows.saturating_mul(codec.stride());
        let codes = sized(container, layout::CODE, Some(len))?;
        Ok(Some(Self::Walk(codec, codes)))
    }

    /// Sketches of the codes, where they have any; files written before there were sketches do not.
    fn sketches(&self, container: &Container, rows: usize) -> Result<Option<Section>> {
        match self {
            Self::Walk(codec, _) if codec.is_sketched() => {}
            _ => return Ok(None),
        }
        let there = container.section(layout::SKCH, FIELD);
        let len = Some(rows.saturating_mul(SKETCH_BYTES));
        there.map(|_| sized(container, layout::SKCH, len)).transpose()
    }

    fn section(&self) -> &Section {
        match self {
            Self::Walk(_, section) | Self::Scan(_, section) => section,
        }
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
        let stat = container.require(layout::STAT, FIELD)?;
        let statistics: Statistics = serde_json::from_slice(stat.read_all()?)
            .map_err(|error| stat.corrupt(&format!("not the statistics of a segment: {error}")))?;
        if !statistics.agrees(meta.rows, space, id_type) {
            return Err(stat.corrupt("the segment is of another shape than its collection"));
        }
        let rows = meta.rows as usize;
        let sized = |tag, len: Option<usize>| sized(&container, tag, len);
        let cosine = space.metric == Metric::Cosine;
        let codes = Codes::open(&container, &statistics, rows, space)?;
        let sketches = match &codes {
            Some(codes) => codes.sketches(&container, rows)?,
            None => None,
        };
        let core = Core {
            segment: meta.segment,
            rows,
            space,
            id_type,
            vectors: sized(layout::RAWV, Some(rows.saturating_mul(space.stride())))?,
            inverse_norms: if cosine {
                Some(sized(layout::NORM, Some(rows.saturating_mul(4)))?)
            } else {
                None
            },
            ids: sized(layout::IDSC, None)?,
            table: sized(layout::IDTB, Some(id_table::buckets(rows) * id_table::BUCKET_BYTES))?,
            sorted: sized(layout::IDSO, Some(rows.saturating_mul(4)))?,
            graph: match statistics.graph {
                Some(_) => Some(sized(layout::GRPH, None)?),
                None => None,
            },
            codes,
            sketches,
            statistics,
            ends: OnceLock::new(),
            container,
            file: OwnedFile::new(disk, path),
        };
        core.ids_view()?;
        core.graph_view()?;
        let attributes = match meta.attributes {
            Some(meta) => {
                let segment = core.segment;
                Some(Arc::new(AttributeFile::open(disk, dir, store, segment, rows, meta)?))
            }
            None => None,
        };
        Ok(Self { core: Arc::new(core), attributes })
    }

    /// The same vectors with another generation of attributes.
    pub(crate) fn with_attributes(&self, attributes: Option<Arc<AttributeFile>>) -> Self {
        Self { core: Arc::clone(&self.core), attributes }
    }

    /// The attribute file, when there is one.
    pub(crate) fn attribute_file(&self) -> Option<&Arc<AttributeFile>> {
        self.attributes.as_ref()
    }

    /// Number of the segment.
    pub(crate) fn number(&self) -> u64 {
        self.core.segment
    }

    /// Bytes of both files.
    pub(crate) fn file_bytes(&self) -> u64 {
        let attributes = self.attributes.as_ref().map_or(0, |file| file.file_bytes());
        self.core.container.len() + attributes
    }

    /// Whether a file says that this version may read it but must not build upon it.
    pub(crate) fn is_read_only(&self) -> bool {
        self.core.container.is_read_only()
    }

    /// Removes the files once nobody uses them any more.
    pub(crate) fn mark_obsolete(&self) {
        self.core.file.set_obsolete(true);
        if let Some(attributes) = &self.attributes {
            attributes.mark_obsolete();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.core.rows
    }

    pub(crate) fn space(&self) -> Space {
        self.core.space
    }

    /// The code that leads searches, and how well it agreed in thousandths.
    pub(crate) fn code(&self) -> Option<CodeStatistics> {
        self.core.statistics.code
    }

    /// How well searches over the graph found near rows when it was built, in thousandths.
    pub(crate) fn graph_recall(&self) -> Option<u32> {
        self.core.statistics.graph.and_then(|graph| graph.recall)
    }

    pub(crate) fn has_graph(&self) -> bool {
        self.core.graph.is_some()
    }

    /// The graph, all of its bytes checked; `None` when there is none or they are damaged.
    pub(crate) fn whole_graph(&self) -> Option<View<'_, Section>> {
        self.core.graph.as_ref()?.read_all().ok()?;
        self.core.graph_view().ok()?
    }

    pub(crate) fn overlaps(&self, least: IdRef<'_>, most: IdRef<'_>) -> Result<bool> {
        let ends = self.core.ends()?;
        Ok(ends.as_ref().is_some_and(|ends| least <= ends.1.as_ref() && most >= ends.0.as_ref()))
    }

    pub(crate) fn lookup(&self, id: IdRef<'_>) -> Result<Option<Row>> {
        let core = &*self.core;
        if !self.overlaps(id, id)? {
            return Ok(None);
        }
        let marks = Marks::of([Some(&core.ids), Some(&core.table)]);
        let row = id_table::lookup(core.table.guarded(), &core.ids_view()?, id);
        marks.check()?;
        Ok(row)
    }

    pub(crate) fn id_ref(&self, row: Row) -> Result<IdRef<'_>> {
        let marks = Marks::of([Some(&self.core.ids)]);
        let id = self.core.ids_view()?.at(row);
        marks.check()?;
        id.ok_or_else(|| self.core.ids.corrupt(&format!("row {row} has no readable id")))
    }

    /// The ids of `count` rows from `first` on, as an Arrow column.
    pub(crate) fn id_column(&self, first: Row, count: usize) -> Result<ArrayRef> {
        let marks = Marks::of([Some(&self.core.ids)]);
        let column = self.core.ids_view()?.column(first, count);
        marks.check()?;
        column.ok_or_else(|| self.core.ids.corrupt("a row has no readable id"))
    }

    pub(crate) fn vector_bytes(&self, first: Row, count: usize) -> Result<&[u8]> {
        let stride = self.core.space.stride();
        let offset = (first as usize).saturating_mul(stride);
        self.core.vectors.read(offset, count.saturating_mul(stride))
    }

    pub(crate) fn inverse_norms(&self, first: Row, count: usize, out: &mut Vec<f32>) -> Result<()> {
        if let Some(section) = &self.core.inverse_norms {
            let offset = (first as usize).saturating_mul(4);
            let bytes = section.read(offset, count.saturating_mul(4))?;
            let norms: &[f32] = crate::bytes::view(bytes);
            if norms.len() != count {
                return Err(section.corrupt("norms are not aligned"));
            }
            out.extend_from_slice(norms);
        }
        Ok(())
    }

    pub(crate) fn attributes(&self, rows: &[Row], wanted: &SchemaRef) -> Result<RecordBatch> {
        match &self.attributes {
            Some(file) if !wanted.fields().is_empty() => file.read(rows, wanted),
            _ => part::absent(rows.len(), wanted),
        }
    }

    pub(crate) fn search(
        &self,
        asks: &[Ask<'_>],
        options: &SearchOptions,
        dead: &RowSet,
        stats: &mut SearchStats,
    ) -> Result<Vec<Vec<Candidate>>> {
        let core = &*self.core;
        let marks = Marks::of([
            Some(&core.vectors),
            core.inverse_norms.as_ref(),
            Some(&core.ids),
            core.graph.as_ref(),
            core.codes.as_ref().map(Codes::section),
            core.sketches.as_ref(),
        ]);
        let rows = core.rows_view();
        let (graph, ids) = (core.graph_view()?, core.ids_view()?);
        let (codes, bits) = match &core.codes {
            Some(Codes::Walk(codec, codes)) => {
                (Some(CodeRows { codec, codes: codes.guarded() }), None)
            }
            Some(Codes::Scan(codec, codes)) => {
                (None, Some(BitRows { codec, blocks: codes.guarded() }))
            }
            None => (None, None),
        };
        let sketches = core.sketches.as_ref().map(Section::guarded);
        let target = Target { rows, len: core.rows, graph, codes, sketches, bits, ids };
        let found = search::search(&target, asks, options, dead, stats);
        marks.check()?;
        Ok(found)
    }

    pub(crate) fn seek(&self, after: Option<IdRef<'_>>) -> Result<usize> {
        let Some(after) = after else { return Ok(0) };
        let core = &*self.core;
        let marks = Marks::of([Some(&core.ids), Some(&core.sorted)]);
        let position = core.ids_view()?.seek(core.sorted.guarded(), after);
        marks.check()?;
        Ok(position)
    }

    pub(crate) fn sorted_rows(&self, position: usize, count: usize) -> Result<Vec<Row>> {
        let from = position.min(self.core.rows);
        let count = count.min(self.core.rows - from);
        let rows: &[Row] = crate::bytes::view(self.core.sorted.read(from * 4, count * 4)?);
        if rows.iter().any(|row| *row as usize >= self.core.rows) {
            return Err(self.core.sorted.corrupt("a row outside the segment is listed"));
        }
        Ok(rows.to_vec())
    }
}

impl Core {
    fn rows_view(&self) -> Rows<'_, Section> {
        Rows {
            vectors: self.vectors.guarded(),
            inverse_norms: match &self.inverse_norms {
                Some(section) => section.guarded(),
                None => Guarded::new(&[], &self.vectors),
            },
        }
    }

    fn ids_view(&self) -> Result<IdsView<'_, Section>> {
        IdsView::section(self.id_type, self.rows, self.ids.guarded())
            .ok_or_else(|| self.ids.corrupt("its length does not agree with the number of rows"))
    }

    fn graph_view(&self) -> Result<Option<View<'_, Section>>> {
        let Some(section) = &self.graph else {
            return Ok(None);
        };
        match View::parse(section.guarded(), self.rows) {
            Some(view) => Ok(Some(view)),
            None => Err(section.corrupt("not a graph of the segment's rows")),
        }
    }

    /// Smallest and largest id; none without rows.
    fn ends(&self) -> Result<Option<&(Id, Id)>> {
        if let Some(ends) = self.ends.get() {
            return Ok(ends.as_ref());
        }
        let Some(last) = self.rows.checked_sub(1) else {
            return Ok(None);
        };
        let marks = Marks::of([Some(&self.ids), Some(&self.sorted)]);
        let (ids, sorted) = (self.ids_view()?, self.sorted.guarded());
        let least = ids.at(sorted.u32_at(0)).map(IdRef::to_id);
        let most = ids.at(sorted.u32_at(last)).map(IdRef::to_id);
        marks.check()?;
        match least.zip(most) {
            Some(ends) => Ok(self.ends.get_or_init(|| Some(ends)).as_ref()),
            None => Err(self.ids.corrupt("the first or last id cannot be read")),
        }
    }
}

/// How many touches of some sections had failed when an operation began.
struct Marks<'a, const N: usize>([Option<(&'a Section, u64)>; N]);

impl<'a, const N: usize> Marks<'a, N> {
    fn of(sections: [Option<&'a Section>; N]) -> Self {
        Self(sections.map(|section| section.map(|section| (section, section.failures()))))
    }

    /// `Corrupt` when a touch has failed since.
    fn check(&self) -> Result<()> {
        for (section, mark) in self.0.iter().flatten() {
            section.status_since(*mark)?;
        }
        Ok(())
    }
}

impl From<Segment> for part::Part {
    fn from(segment: Segment) -> Self {
        Self::Segment(Arc::new(segment))
    }
}
