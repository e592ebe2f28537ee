//! Writes the vector file of a segment: vectors as they come, ids and norms at the end.
//!
//! Memory is bounded by ids and norms, or scales; the graph, or codes to scan by, is made of the vectors just
//! written, mapped back. The directory is not synced here: whoever commits the manifest does that.

use std::path::Path;
use std::sync::Arc;

use zerocopy::IntoBytes;

use super::Segment;
use super::coding::{self, Coding, Wanted};
use super::coding_blocks::{self, BlockCoding};
use super::curve::Curve;
use super::id_table::IdTable;
use super::ids::IdColumn;
use super::layout::{self, Code, CodeStatistics, FIELD, MAX_ROWS, OwnedFile, Statistics};
use super::part::{Part, RowMap, live_runs};
use super::quality;
use crate::bytes::{AlignedBytes, Guarded, Trusted};
use crate::codec::codes::SKETCH_BYTES;
use crate::codec::full::{Rows, Space};
use crate::codec::product::Crew;
use crate::codec::quantizer::{CodeRows, Quantizer};
use crate::codec::rounded::Rounding;
use crate::error::{Error, Result};
use crate::filter::rowset::RowSet;
use crate::index::bit_scan::BLOCK_ROWS;
use crate::index::hnsw::{Seed, View};
use crate::index::nearest::Indexed;
use crate::kernel::Isa;
use crate::storage::container::{ContainerWriter, Seal, WrittenSection};
use crate::storage::disk::Disk;
use crate::types::{CodeChoice, IdType, Metric, Row};

pub(crate) use super::linking::GraphPlan;
/// How a graph is built.
pub(crate) use crate::index::hnsw::Params as GraphParams;

/// Bytes of vectors copied at once out of a part.
const COPY_BYTES: usize = 1 << 20;
/// Bytes of codes made between two writes, and by one thread at a time.
const CODED_BYTES: usize = 4 << 20;
const CODED_PIECE_BYTES: usize = 128 << 10;

/// What is to be made of the rows when they are complete.
#[derive(Clone, Copy, Debug)]
pub(crate) enum IndexPlan<'a> {
    /// Nothing: all rows are compared.
    Nothing,
    /// Codes to scan by, where they pay.
    Bits(BitPlan<'a>),
    Graph(&'a GraphPlan<'a>),
}

/// Codes to scan by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BitPlan<'a> {
    pub(crate) code: CodeChoice,
    /// As [`GraphPlan::share`].
    pub(crate) share: Option<u64>,
    pub(crate) crew: Crew<'a>,
}

/// What was written.
#[derive(Clone, Debug)]
pub(crate) struct Finished {
    pub(crate) rows: u32,
    pub(crate) seal: Seal,
    /// Rows whose id a later row repeats, ascending: dead from the start.
    pub(crate) shadowed: Vec<Row>,
}

/// Writes one segment. The file is removed unless it is finished.
#[derive(Debug)]
pub(crate) struct SegmentWriter {
    container: ContainerWriter,
    /// Of the rows that come, and of those that are written.
    given: Space,
    space: Space,
    isa: Isa,
    rounding: Option<Rounding>,
    ids: IdColumn,
    /// Bytes that rows have beside their vectors: inverse norms or scales.
    factors: Vec<u8>,
    /// Segments with a graph whose rows were copied, and where they went.
    seeds: Vec<(Arc<Segment>, RowMap)>,
    // After the container, which has the file open.
    file: OwnedFile,
}

impl SegmentWriter {
    /// Creates the file of `segment` in `dir`.
    pub(crate) fn create(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        store: u128,
        segment: u64,
        given: Space,
        id_type: IdType,
    ) -> Result<Self> {
        let path = dir.join(layout::vector_file(segment));
        let identity = layout::vector_identity(store, segment);
        let mut container = ContainerWriter::create(disk, &path, identity)?;
        let file = OwnedFile::new(disk, path);
        file.set_obsolete(true);
        let space = given.kept();
        container.begin(layout::vectors(space), FIELD, 4096)?;
        let (isa, ids) = (Isa::detect(), IdColumn::new(id_type));
        let rounding = (space != given).then(|| Rounding::new(given));
        let (factors, seeds) = (Vec::new(), Vec::new());
        Ok(Self { container, given, space, isa, rounding, ids, factors, seeds, file })
    }

    /// Appends rows as they are given: ids, vectors at `Space::stride` bytes each, and for cosine their
    /// inverse norms.
    pub(crate) fn push(
        &mut self,
        ids: &IdColumn,
        vectors: &[u8],
        inverse_norms: &[f32],
    ) -> Result<()> {
        let rows = ids.len();
        self.room(rows)?;
        let norms = if self.given.metric == Metric::Cosine { rows } else { 0 };
        if self.given.stride().checked_mul(rows) != Some(vectors.len())
            || inverse_norms.len() != norms
        {
            return Err(Error::invalid(format!(
                "{rows} ids came with {} bytes of vectors and {} norms",
                vectors.len(),
                inverse_norms.len()
            )));
        }
        self.ids.extend(ids)?;
        self.append(vectors, inverse_norms.as_bytes())
    }

    /// Writes rows of the given space, rounded where they are to be.
    fn append(&mut self, vectors: &[u8], inverse_norms: &[u8]) -> Result<()> {
        let Some(rounding) = &self.rounding else {
            self.factors.extend_from_slice(inverse_norms);
            return self.container.write(vectors);
        };
        let (stride, rounded) = (self.given.stride(), self.space.stride());
        let most = (COPY_BYTES / stride).max(1);
        let mut out = AlignedBytes::zeroed(rounded * most.min(vectors.len() / stride));
        for vectors in vectors.chunks(stride * most) {
            let out = &mut out.as_mut_slice()[..vectors.len() / stride * rounded];
            let mut scales = Vec::new();
            rounding.round(self.isa, vectors, out, &mut scales);
            self.factors.extend_from_slice(scales.as_bytes());
            self.container.write(out)?;
        }
        Ok(())
    }

    /// Appends the live rows of a part; where they went.
    pub(crate) fn push_part(&mut self, part: &Part, dead: &RowSet) -> Result<RowMap> {
        let (space, given) = (part.space(), self.rounding.is_some());
        if space != self.space && !(given && space == self.given) {
            return Err(Error::invalid("a part of another vector space cannot be copied"));
        }
        if let Part::Segment(segment) = part {
            segment.forget_checks();
        }
        let first = Row::try_from(self.rows()).unwrap_or(Row::MAX);
        let most = (COPY_BYTES / space.stride()).max(1);
        let mut factors = Vec::new();
        for (row, count) in live_runs(part.len(), dead, most) {
            self.room(count)?;
            factors.clear();
            part.factors(row, count, &mut factors)?;
            let vectors = part.vector_bytes(row, count)?;
            if space == self.space {
                self.factors.extend_from_slice(&factors);
                self.container.write(vectors)?;
            } else {
                self.append(vectors, &factors)?;
            }
            for row in (row..).take(count) {
                self.ids.push(part.id_ref(row)?)?;
            }
        }
        let map = RowMap::new(part.len(), dead, first);
        if let Part::Segment(segment) = part
            && segment.has_graph()
        {
            self.seeds.push((segment.clone(), map.clone()));
        }
        Ok(map)
    }

    /// Rows appended so far.
    pub(crate) fn rows(&self) -> usize {
        self.ids.len()
    }

    /// Writes ids, tables and, when there are rows, what is planned; syncs the file.
    pub(crate) fn finish(mut self, plan: IndexPlan<'_>) -> Result<Finished> {
        self.container.end()?;
        let rows = self.rows();
        let plan = if rows > 0 { plan } else { IndexPlan::Nothing };
        if self.space.factor_bytes() > 0 {
            let tag = if self.space.is_rounded() { layout::SCAL } else { layout::NORM };
            self.container.section(tag, FIELD, &self.factors)?;
        }
        let shadowed = self.write_ids()?;
        let share = match plan {
            IndexPlan::Nothing => None,
            IndexPlan::Bits(plan) => plan.share,
            IndexPlan::Graph(plan) => plan.share,
        };
        let (graph, code) = match plan {
            IndexPlan::Nothing => (None, None),
            IndexPlan::Bits(plan) => (None, self.write_bits(plan)?),
            IndexPlan::Graph(plan) => {
                let (curves, code) = self.write_graph(plan)?;
                (Some((&plan.params, curves)), code)
            }
        };
        let mut statistics = Statistics::new(rows, self.space, self.ids.id_type(), graph, code);
        statistics.share = share;
        let statistics = serde_json::to_vec(&statistics)
            .map_err(|error| Error::invalid(format!("statistics cannot be written: {error}")))?;
        self.container.section(layout::STAT, FIELD, &statistics)?;
        let seal = self.container.finish()?;
        self.file.set_obsolete(false);
        Ok(Finished { rows: u32::try_from(rows).unwrap_or(u32::MAX), seal, shadowed })
    }

    /// Memory for codes and their parameters, where that for searches is `share` and a graph takes some.
    fn left_for_codes(&self, share: Option<u64>, graph: usize) -> usize {
        let Some(share) = share else { return usize::MAX };
        let ids: usize = self.ids.pieces().iter().map(|piece| piece.len()).sum();
        let besides = ids + self.ids.len() * self.space.factor_bytes() + graph;
        usize::try_from(share).map_or(usize::MAX - 1, |share| share.saturating_sub(besides))
    }

    fn write_ids(&mut self) -> Result<Vec<Row>> {
        self.container.begin(layout::IDSC, FIELD, 4096)?;
        for piece in self.ids.pieces() {
            self.container.write(piece)?;
        }
        self.container.end()?;
        let (table, mut shadowed) = IdTable::build(&self.ids);
        self.container.section(layout::IDTB, FIELD, table.as_bytes())?;
        drop(table);
        self.container.section(layout::IDSO, FIELD, self.ids.sorted_rows().as_bytes())?;
        shadowed.sort_unstable();
        Ok(shadowed)
    }

    /// Writes the graph and, before it, the codes it is built on and walked by; how well it is found
    /// to lead, and the codes.
    fn write_graph(
        &mut self,
        plan: &GraphPlan<'_>,
    ) -> Result<(Vec<Curve>, Option<CodeStatistics>)> {
        let vectors = self.container.map_section(layout::vectors(self.space), FIELD)?;
        let factors = std::mem::take(&mut self.factors);
        let rows = Rows {
            vectors: Guarded::trusted(vectors.as_slice()),
            inverse_norms: Guarded::trusted(&factors),
        };
        let GraphPlan { params, code, isa, keep_going, .. } = plan;
        let count = self.ids.len();
        let space = self.space;
        let room = self.left_for_codes(plan.share, params.graph_bytes(count));
        let wanted = Wanted { choice: *code, room };
        let coding = coding::choose(&plan.crew(), space, rows, count, wanted)?;
        let sources = std::mem::take(&mut self.seeds);
        // A graph of other bounds, or a damaged one, is no help.
        let seeds = sources.iter().filter_map(|(segment, map)| {
            let view = segment.whole_graph().filter(|view| view.fits(params))?;
            Some(Seed { view, to: map.as_slice() })
        });
        let seeds: Vec<_> = seeds.collect();
        let written = match &coding {
            Some(Coding { codec, .. }) => Some((codec, self.write_codes(plan, codec, rows)?)),
            None => None,
        };
        let codes = written
            .as_ref()
            .map(|(codec, codes)| CodeRows { codec, codes: Guarded::trusted(codes.as_slice()) });
        if let Some(codes) = codes {
            self.write_sketches(plan, codes)?;
        }
        let graph = plan.link(space, rows, count, codes, &seeds)?;
        self.container.begin(layout::GRPH, FIELD, 4096)?;
        graph.write(&mut |bytes| self.container.write(bytes))?;
        self.container.end()?;
        drop(graph);
        let map = self.container.map_section(layout::GRPH, FIELD)?;
        let misread = || Error::invalid("a graph that was just written cannot be read");
        let graph = View::parse(Guarded::trusted(map.as_slice()), count).ok_or_else(misread)?;
        let indexed = Indexed { rows, codes, graph };
        let curves = quality::curves(*isa, space, indexed, count, plan.pool, keep_going);
        let curves = curves.ok_or(Error::Cancelled)?;
        let code = coding.as_ref().map(|Coding { codec, agreement }| CodeStatistics {
            kind: codec.kind().into(),
            agreement: *agreement,
        });
        Ok((curves, code))
    }

    /// Writes the codes to scan by, where they pay.
    fn write_bits(
        &mut self,
        BitPlan { code, share, crew }: BitPlan<'_>,
    ) -> Result<Option<CodeStatistics>> {
        let vectors = self.container.map_section(layout::vectors(self.space), FIELD)?;
        let factors = std::mem::take(&mut self.factors);
        let rows = Rows {
            vectors: Guarded::trusted(vectors.as_slice()),
            inverse_norms: Guarded::trusted(&factors),
        };
        let count = self.ids.len();
        let wanted = Wanted { choice: code, room: self.left_for_codes(share, 0) };
        let coding = coding_blocks::choose(&crew, self.space, rows, count, wanted)?;
        let Some(BlockCoding { codec, agreement }) = coding else { return Ok(None) };
        self.container.section(layout::QPAR, FIELD, &codec.to_bytes())?;
        self.container.begin(layout::CODE, FIELD, 4096)?;
        let (bytes, blocks) = (codec.block_bytes(), count.div_ceil(BLOCK_ROWS));
        let most = (CODED_PIECE_BYTES / bytes).max(1);
        let mut codes = AlignedBytes::zeroed(bytes * most.min(blocks));
        for first in (0..blocks).step_by(most) {
            let blocks = first..blocks.min(first + most);
            let codes = &mut codes.as_mut_slice()[..blocks.len() * bytes];
            codec.encode(crew.isa, rows, count, blocks, codes);
            self.container.write(codes)?;
        }
        self.container.end()?;
        Ok(Some(CodeStatistics { kind: Code::from(&codec), agreement }))
    }

    /// Codes the rows on all threads of the pool; the section, mapped.
    fn write_codes(
        &mut self,
        plan: &GraphPlan<'_>,
        codec: &Quantizer,
        rows: Rows<'_, Trusted>,
    ) -> Result<WrittenSection> {
        self.container.section(layout::QPAR, FIELD, &codec.to_bytes())?;
        self.container.begin(layout::CODE, FIELD, 4096)?;
        let (count, stride) = (self.ids.len(), codec.stride());
        let (most, piece) = ((CODED_BYTES / stride).max(1), (CODED_PIECE_BYTES / stride).max(1));
        let mut codes = AlignedBytes::zeroed(stride * most.min(count));
        for first in (0..count).step_by(most) {
            if !(plan.keep_going)() {
                return Err(Error::Cancelled);
            }
            let many = most.min(count - first);
            let codes = &mut codes.as_mut_slice()[..many * stride];
            plan.pool.scope(|scope| {
                for (index, codes) in codes.chunks_mut(stride * piece).enumerate() {
                    let from = first + index * piece;
                    let range = from..from + codes.len() / stride;
                    scope.spawn(move |_| codec.encode(plan.isa, rows, range, codes));
                }
            });
            self.container.write(codes)?;
        }
        self.container.end()?;
        self.container.map_section(layout::CODE, FIELD)
    }

    /// Writes the sketches of the codes, where they have any.
    fn write_sketches(&mut self, plan: &GraphPlan<'_>, codes: CodeRows<'_, Trusted>) -> Result<()> {
        let CodeRows { codec, codes } = codes;
        let Some(codec) = codec.sketched() else { return Ok(()) };
        self.container.begin(layout::SKCH, FIELD, 4096)?;
        let (count, stride) = (self.ids.len(), codec.stride());
        let (most, piece) = (CODED_BYTES / SKETCH_BYTES, CODED_PIECE_BYTES / SKETCH_BYTES);
        let mut sketches = AlignedBytes::zeroed(SKETCH_BYTES * most.min(count));
        for first in (0..count).step_by(most) {
            if !(plan.keep_going)() {
                return Err(Error::Cancelled);
            }
            let many = most.min(count - first);
            let codes = codes.get(first * stride, many * stride);
            let sketches = &mut sketches.as_mut_slice()[..many * SKETCH_BYTES];
            plan.pool.scope(|scope| {
                let pieces = codes.chunks(stride * piece);
                for (codes, sketches) in pieces.zip(sketches.chunks_mut(SKETCH_BYTES * piece)) {
                    scope.spawn(move |_| codec.sketch(codes, sketches));
                }
            });
            self.container.write(sketches)?;
        }
        self.container.end()
    }

    fn room(&self, rows: usize) -> Result<()> {
        if rows > MAX_ROWS - self.rows() {
            return Err(Error::invalid(format!("a segment holds at most {MAX_ROWS} rows")));
        }
        Ok(())
    }
}
