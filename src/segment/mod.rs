//! Segments and memtable chunks: the only place where files and vectors meet.
//!
//! A [`Segment`] is an immutable file of vectors, ids and perhaps a graph, and beside it an
//! attribute file that is replaced, never changed. Opening reads tables and statistics, nothing
//! that grows with the vectors; everything else is checked on first touch, and whoever touched a
//! damaged block is told `Corrupt`. Must never know a lock, a log, a manifest or a policy: which
//! rows are dead and which attributes are patched is passed in. docs/format.md, "Segment file".

mod agreement;
pub(crate) mod attributes;
#[cfg(test)]
mod bit_tests;
pub(crate) mod coding;
mod coding_blocks;
pub(crate) mod columns;
mod curve;
pub(crate) mod derived;
mod fresh_codes;
pub(crate) mod id_table;
pub(crate) mod ids;
pub(crate) mod layout;
pub(crate) mod linking;
pub(crate) mod matching;
pub(crate) mod memtable;
mod open;
pub(crate) mod part;
pub(crate) mod patch;
mod plan;
mod quality;
mod room;
pub(crate) mod search;
pub(crate) mod serving;
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
use half::bf16;

use self::attributes::AttributeFile;
use self::derived::Remade;
use self::ids::IdsView;
use self::layout::{Code, CodeStatistics, OwnedFile, Statistics};
pub(crate) use self::quality::mean_and_error;
use self::search::{Ask, SearchOptions, SearchStats, Target};
use crate::bytes::Guarded;
use crate::codec::blocks::BlockCodec;
use crate::codec::full::{Rows, Space};
use crate::codec::quantizer::{CodeRows, Quantizer};
use crate::codec::rounded::Rounding;
use crate::error::Result;
use crate::filter::rowset::RowSet;
use crate::index::hnsw::View;
use crate::index::topk::Candidate;
use crate::kernel::Isa;
use crate::storage::container::{Container, Section};
use crate::types::{Id, IdRef, IdType, Row};

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
    /// Of the rows as they were given, and as they are here.
    given: Space,
    space: Space,
    rounding: Option<Rounding>,
    id_type: IdType,
    vectors: Section,
    /// Of rounded vectors.
    scales: Option<Section>,
    inverse_norms: Option<Remade>,
    ids: Section,
    table: Remade,
    sorted: Remade,
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
    Walk(Quantizer, Section),
    /// To scan by, where there is no graph.
    Scan(BlockCodec, Section),
}

impl Codes {
    fn section(&self) -> &Section {
        match self {
            Self::Walk(_, section) | Self::Scan(_, section) => section,
        }
    }
}

impl Segment {
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

    /// Paths and bytes of both.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&Path, &[u8])> {
        let attributes = self.attributes.as_ref().map(|file| file.container());
        let containers = std::iter::once(&self.core.container).chain(attributes);
        containers.map(|container| (container.path().as_path(), container.as_slice()))
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

    /// Of its rows as they are stored.
    pub(crate) fn space(&self) -> Space {
        self.core.space
    }

    /// Of its rows as they were given.
    pub(crate) fn given_space(&self) -> Space {
        self.core.given
    }

    /// The kind of its ids.
    pub(crate) fn id_type(&self) -> IdType {
        self.core.id_type
    }

    /// The code that leads searches, and how well it agreed in thousandths.
    pub(crate) fn code(&self) -> Option<CodeStatistics> {
        self.core.statistics.code.filter(|_| self.core.codes().is_some())
    }

    /// Whether its file has product codes, damaged or not.
    pub(crate) fn has_product_codes(&self) -> bool {
        self.core.statistics.code.is_some_and(|code| code.kind == Code::Product)
    }

    /// How well searches over the graph found near rows when it was built, in thousandths.
    pub(crate) fn graph_recall(&self) -> Option<u32> {
        self.core.statistics.graph.filter(|_| self.has_graph()).and_then(|graph| graph.recall)
    }

    /// Whether it is known what walks over the graph find.
    pub(crate) fn has_curves(&self) -> bool {
        !self.core.statistics.curves.is_empty()
    }

    /// Whether it has a graph that is not known to be damaged.
    pub(crate) fn has_graph(&self) -> bool {
        self.core.graph().is_some()
    }

    /// The graph, all of its bytes checked; `None` when there is none or they are damaged.
    pub(crate) fn whole_graph(&self) -> Option<View<'_, Section>> {
        let graph = self.core.graph()?;
        graph.read_all().ok()?;
        self.core.graph_view(Some(graph)).ok()?
    }

    pub(crate) fn overlaps(&self, least: IdRef<'_>, most: IdRef<'_>) -> bool {
        match self.core.ends() {
            Ok(Some((first, last))) => least <= last.as_ref() && most >= first.as_ref(),
            Ok(None) => false,
            Err(_damaged) => true,
        }
    }

    pub(crate) fn lookup(&self, id: IdRef<'_>) -> Result<Option<Row>> {
        let core = &*self.core;
        if !self.overlaps(id, id) {
            return Ok(None);
        }
        let marks = Marks::of([&core.ids]);
        let ids = core.ids_view()?;
        let find = |table: &Section| id_table::lookup(table.guarded(), &ids, id);
        let row = core.table.read(|| core.make_table(), find)?;
        marks.check()?;
        Ok(row)
    }

    pub(crate) fn id_ref(&self, row: Row) -> Result<IdRef<'_>> {
        self.core.id_ref(row)
    }

    /// The ids of `count` rows from `first` on, as an Arrow column.
    pub(crate) fn id_column(&self, first: Row, count: usize) -> Result<ArrayRef> {
        let marks = Marks::of([&self.core.ids]);
        let column = self.core.ids_view()?.column(first, count);
        marks.check()?;
        column.ok_or_else(|| self.core.ids.corrupt("a row has no readable id"))
    }

    pub(crate) fn vector_bytes(&self, first: Row, count: usize) -> Result<&[u8]> {
        let stride = self.core.space.stride();
        let offset = (first as usize).saturating_mul(stride);
        self.core.vectors.read(offset, count.saturating_mul(stride))
    }

    pub(crate) fn factors(&self, first: Row, count: usize, out: &mut Vec<u8>) -> Result<()> {
        let core = &*self.core;
        let width = core.space.factor_bytes();
        let (offset, len) = ((first as usize).saturating_mul(width), count.saturating_mul(width));
        if let Some(scales) = &core.scales {
            out.extend_from_slice(scales.read(offset, len)?);
        } else if let Some(norms) = &core.inverse_norms {
            let made = || Ok(core.make_norms());
            let read = |section: &'_ Section| section.guarded().get(offset, len).to_vec();
            out.extend(norms.read(made, read)?);
        }
        Ok(())
    }

    pub(crate) fn copy_given(&self, row: Row, out: &mut [u8]) -> Result<()> {
        let core = &*self.core;
        let vector = self.vector_bytes(row, 1)?;
        let (Some(rounding), Some(scales)) = (&core.rounding, &core.scales) else {
            out.copy_from_slice(vector);
            return Ok(());
        };
        let scale = scales.read((row as usize).saturating_mul(2), 2)?;
        let scale = bf16::from_le_bytes([scale[0], scale[1]]);
        if !(scale.is_finite() && scale >= bf16::ZERO) {
            return Err(scales.corrupt(&format!("the scale of row {row} is {scale}")));
        }
        rounding.restore(Isa::detect(), vector, scale, out);
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
        let rounded: Vec<Ask<'_>>;
        let asks = match &core.rounding {
            Some(rounding) => {
                rounded = asks.iter().map(|ask| ask.rounded(options.isa, rounding)).collect();
                &rounded
            }
            None => asks,
        };
        let live = core.rows.saturating_sub(dead.len());
        let options = &options.within(&core.statistics, core.rows, live);
        let before = *stats;
        loop {
            let marks =
                Marks::of([&core.vectors, core.scales.as_ref().unwrap_or(&core.ids), &core.ids]);
            let aids = core.aids();
            let (graph, ids) = (core.graph_view(aids.graph)?, core.ids_view()?);
            let (codes, blocks) = match aids.codes {
                Some(Codes::Walk(codec, codes)) => {
                    (Some(CodeRows { codec, codes: codes.guarded() }), None)
                }
                Some(Codes::Scan(codec, codes)) => (None, Some(codec.rows(codes.guarded()))),
                None => (None, None),
            };
            let (rows, len) = (core.rows_view(), core.rows);
            let sketches = aids.sketches.map(Section::guarded);
            let target = Target { rows, len, graph, codes, sketches, blocks, ids };
            let found = search::search(&target, asks, options, dead, stats);
            marks.check()?;
            if core.were_whole(&aids)? {
                return Ok(found);
            }
            *stats = before;
        }
    }

    pub(crate) fn seek(&self, after: Option<IdRef<'_>>) -> Result<usize> {
        let Some(after) = after else { return Ok(0) };
        let core = &*self.core;
        let marks = Marks::of([&core.ids]);
        let ids = core.ids_view()?;
        let seek = |sorted: &Section| ids.seek(sorted.guarded(), after);
        let position = core.sorted.read(|| core.make_order(), seek)?;
        marks.check()?;
        Ok(position)
    }

    pub(crate) fn sorted_rows(&self, position: usize, count: usize) -> Result<Vec<Row>> {
        let from = position.min(self.core.rows);
        let count = count.min(self.core.rows - from);
        let sorted = &self.core.sorted;
        let made = || self.core.make_order();
        let bytes = sorted.read(made, |section| section.guarded().get(from * 4, count * 4))?;
        let rows: &[Row] = crate::bytes::view(bytes);
        if rows.iter().any(|row| *row as usize >= self.core.rows) {
            return Err(sorted.stored.corrupt("a row outside the segment is listed"));
        }
        Ok(rows.to_vec())
    }
}

impl Core {
    fn rows_view(&self) -> Rows<'_, Section> {
        Rows {
            vectors: self.vectors.guarded(),
            inverse_norms: match (&self.scales, &self.inverse_norms) {
                (Some(scales), _) => scales.guarded(),
                (None, Some(norms)) => norms.current().guarded(),
                (None, None) => Guarded::new(&[], &self.vectors),
            },
        }
    }

    fn ids_view(&self) -> Result<IdsView<'_, Section>> {
        IdsView::section(self.id_type, self.rows, self.ids.guarded())
            .ok_or_else(|| self.ids.corrupt("its length does not agree with the number of rows"))
    }

    /// What `section` holds as a graph; none where its first block is damaged.
    fn graph_view<'a>(&self, section: Option<&'a Section>) -> Result<Option<View<'a, Section>>> {
        let Some(section) = section else { return Ok(None) };
        match View::parse(section.guarded(), self.rows) {
            _ if section.is_damaged() => Ok(None),
            Some(view) => Ok(Some(view)),
            None => Err(section.corrupt("not a graph of the segment's rows")),
        }
    }

    fn id_ref(&self, row: Row) -> Result<IdRef<'_>> {
        let marks = Marks::of([&self.ids]);
        let id = self.ids_view()?.at(row);
        marks.check()?;
        id.ok_or_else(|| self.ids.corrupt(&format!("row {row} has no readable id")))
    }

    /// Smallest and largest id; none without rows.
    fn ends(&self) -> Result<Option<&(Id, Id)>> {
        if let Some(ends) = self.ends.get() {
            return Ok(ends.as_ref());
        }
        let Some(last) = self.rows.checked_sub(1) else {
            return Ok(None);
        };
        let marks = Marks::of([&self.ids]);
        let ids = self.ids_view()?;
        let end = |sorted: &Section, at| ids.at(sorted.guarded().u32_at(at)).map(IdRef::to_id);
        let ends = |sorted: &Section| (end(sorted, 0), end(sorted, last));
        let (least, most) = self.sorted.read(|| self.make_order(), ends)?;
        marks.check()?;
        match least.zip(most) {
            Some(ends) => Ok(self.ends.get_or_init(|| Some(ends)).as_ref()),
            None => Err(self.ids.corrupt("the first or last id cannot be read")),
        }
    }
}

/// How many touches of some sections had failed when an operation began.
struct Marks<'a, const N: usize>([(&'a Section, u64); N]);

impl<'a, const N: usize> Marks<'a, N> {
    fn of(sections: [&'a Section; N]) -> Self {
        Self(sections.map(|section| (section, section.failures())))
    }

    /// `Corrupt` when a touch has failed since.
    fn check(&self) -> Result<()> {
        for (section, mark) in &self.0 {
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
