//! A door to the scan and the graph for this project's benches; not a public interface.
//!
//! Holds vectors in memory as a segment holds them on disk, on the best tier of the machine.

use rayon::ThreadPoolBuilder;

use crate::bytes::{AlignedBytes, Guarded, Trusted};
use crate::codec::bits::{BitCodec, BitRows};
use crate::codec::centre::Centre;
use crate::codec::codes::{CodeKind, Codec, CodedPairs, LevelRows};
use crate::codec::full::{
    FullPairs, FullSource, Rows, Space, Stage, encode_rows, prepare_query, score_rows,
};
use crate::codec::product::{Crew, ProductBlocks, ProductCodec, Width};
use crate::codec::quantizer::{CodeRows, CodedSource, Quantizer};
use crate::codec::{QuerySource, Scorer, ScorerOp};
use crate::error::{Error, Result};
use crate::filter::rowset::RowSet;
use crate::index::bit_scan::{self, Asked, BitTarget};
use crate::index::hnsw::{self, Seed, View};
use crate::index::{
    flat,
    nearest::{Effort, Indexed, nearest},
    product_scan,
    topk::TopK,
};
use crate::kernel::Isa;
use crate::types::{Metric, Row, VectorType, Vectors};

/// Stored vectors, and the bytes of a graph over them once it is built.
#[derive(Debug)]
pub struct Stored {
    space: Space,
    count: usize,
    vectors: AlignedBytes,
    inverse_norms: AlignedBytes,
    graph: AlignedBytes,
    codes: Option<(Quantizer, AlignedBytes)>,
    bits: Option<(BitCodec, AlignedBytes)>,
    halves: Option<(ProductCodec, AlignedBytes)>,
}

/// What walks have done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Work {
    /// Nodes whose links were followed.
    pub expanded: u64,
    /// Rows scored on the way, by codes where there are any.
    pub scored: u64,
    /// Rows compared exactly after walks by codes.
    pub compared: u64,
}

/// Distances and rows, nearest first.
pub type Found = Vec<(f32, u32)>;

impl Stored {
    /// Stores row-major vectors.
    ///
    /// # Errors
    /// As for adding them to a collection.
    pub fn new(
        metric: Metric,
        vector_type: VectorType,
        dimension: usize,
        vectors: &Vectors<'_>,
    ) -> Result<Self> {
        let space = Space { dimension, vector_type, metric, stage: Stage::Given };
        let count = vectors.len() / space.elements();
        let (vectors, norms) = encode_rows(space, vectors, count)?;
        let norms: Vec<u8> = norms.iter().flat_map(|norm| norm.to_le_bytes()).collect();
        let inverse_norms = AlignedBytes::from_slice(&norms);
        Ok(Self {
            space,
            count,
            vectors,
            inverse_norms,
            graph: AlignedBytes::default(),
            codes: None,
            bits: None,
            halves: None,
        })
    }

    /// The rows from `first` to before `end`, without codes and graph.
    ///
    /// # Errors
    /// When they are not all there.
    pub fn part(&self, first: usize, end: usize) -> Result<Self> {
        let stride = self.space.stride();
        let (vectors, norms) = (self.vectors.as_slice(), self.inverse_norms.as_slice());
        let vectors = vectors.get(first * stride..end * stride);
        let Some(vectors) = vectors else { return Err(Error::invalid("rows that are not there")) };
        Ok(Self {
            space: self.space,
            count: end - first,
            vectors: AlignedBytes::from_slice(vectors),
            inverse_norms: AlignedBytes::from_slice(norms.get(first * 4..end * 4).unwrap_or(&[])),
            graph: AlignedBytes::default(),
            codes: None,
            bits: None,
            halves: None,
        })
    }

    /// How many rows there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Name of the tier in use.
    #[must_use]
    pub fn tier(&self) -> &'static str {
        Isa::detect().name()
    }

    /// The stored bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.vectors.as_slice()
    }

    /// The `k` nearest rows, by scanning all.
    ///
    /// # Errors
    /// When the query is not of the vectors' dimension, or not finite.
    pub fn scan(&self, query: &[f32], k: usize) -> Result<Found> {
        let queries = prepare_query(self.space, &query.into())?;
        let mut top = TopK::new(k, f32::INFINITY, self.count, &|a, b| a < b);
        let all = 0..self.rows_in_all();
        for query in &queries {
            flat::scan(
                Isa::detect(),
                query,
                self.rows(),
                all.clone(),
                &RowSet::default(),
                &mut top,
            );
        }
        Ok(found_of(top))
    }

    /// Distances from `query` to all rows, by their codes where there are any, over and over as many times
    /// as `rounds` says: row by row, as they lie, or by fours. Only the last ones are kept.
    ///
    /// # Errors
    /// When the query is not one vector of the vectors' shape.
    pub fn distances(&self, query: &Vectors<'_>, fours: bool, rounds: usize) -> Result<Vec<f32>> {
        let mut out = vec![0.0; self.count];
        let queries = prepare_query(self.space, query)?;
        let Some(query) = queries.first() else { return Err(Error::invalid("no query")) };
        let (isa, op) = (Isa::detect(), Distances { fours, rounds, out: &mut out });
        match self.code_rows() {
            Some(CodeRows { codec, codes }) => {
                CodedSource { codes, query: &codec.query(isa, query), sketches: None }.run(isa, op);
            }
            None => FullSource { query, rows: self.rows() }.run(isa, op),
        }
        Ok(out)
    }

    /// Codes the rows in one bit an element, for [`scan_by_bits`](Self::scan_by_bits). Bytes of
    /// them.
    pub fn code_bits(&mut self) -> usize {
        let codec = BitCodec::train(self.space, self.rows(), self.count);
        let mut codes = AlignedBytes::zeroed(codec.bytes(self.count));
        let blocks = 0..codes.len() / codec.block_bytes();
        codec.encode(Isa::detect(), self.rows(), self.count, blocks, codes.as_mut_slice());
        let bytes = codes.len();
        self.bits = Some((codec, codes));
        bytes
    }

    /// The `k` nearest rows by a scan of one-bit codes, how many rows were compared exactly, and
    /// whether that decides; none before [`code_bits`](Self::code_bits).
    ///
    /// # Errors
    /// When the query is not of the vectors' dimension, or not finite.
    pub fn scan_by_bits(&self, query: &[f32], k: usize) -> Result<(Found, u64, bool)> {
        let queries = prepare_query(self.space, &query.into())?;
        let mut top = TopK::new(k, f32::INFINITY, self.count, &|a, b| a < b);
        let (mut compared, mut decided) = (0, false);
        if let (Some((codec, codes)), [query]) = (&self.bits, queries.as_slice()) {
            let bits = BitRows { codec, blocks: Guarded::trusted(codes.as_slice()) };
            let target = BitTarget { bits, rows: self.rows(), len: self.count };
            if let Some(coded) = codec.query(Isa::detect(), query) {
                let mut asked = [Asked::new(query, &coded, &mut top)];
                bit_scan::scan(Isa::detect(), &mut asked, &target, &RowSet::default());
                let [Asked { scanned, .. }] = asked;
                (compared, decided) = (scanned.compared, scanned.decided);
            }
        }
        Ok((found_of(top), compared, decided))
    }

    /// The `k` nearest rows of each of `queries`, which read the codes together; none before
    /// [`code_bits`](Self::code_bits), or where codes do not decide.
    ///
    /// # Errors
    /// As [`scan_by_bits`](Self::scan_by_bits).
    pub fn scan_all_by_bits(&self, queries: &[&[f32]], k: usize) -> Result<Vec<Found>> {
        let queries = prepare_query(self.space, &queries.concat().into())?;
        let Some((codec, codes)) = &self.bits else { return Ok(Vec::new()) };
        let coded: Vec<_> =
            queries.iter().filter_map(|query| codec.query(Isa::detect(), query)).collect();
        let before = |a: Row, b: Row| a < b;
        let top = |_: &_| TopK::new(k, f32::INFINITY, self.count, &before);
        let mut tops: Vec<_> = queries.iter().map(top).collect();
        let all = queries.iter().zip(&coded).zip(&mut tops);
        let mut asked: Vec<_> =
            all.map(|((query, coded), top)| Asked::new(query, coded, top)).collect();
        let bits = BitRows { codec, blocks: Guarded::trusted(codes.as_slice()) };
        let target = BitTarget { bits, rows: self.rows(), len: self.count };
        bit_scan::scan(Isa::detect(), &mut asked, &target, &RowSet::default());
        let decided: Vec<_> = asked.iter().map(|asked| asked.scanned.decided).collect();
        let found = tops.into_iter().zip(decided);
        Ok(found.map(|(top, decided)| if decided { found_of(top) } else { Vec::new() }).collect())
    }

    /// The `k` nearest rows of each of `queries`, by a scan of all rows that they read together.
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    pub fn scan_all(&self, queries: &[&[f32]], k: usize) -> Result<Vec<Found>> {
        let queries = prepare_query(self.space, &queries.concat().into())?;
        let before = |a: Row, b: Row| a < b;
        let top = |_: &_| TopK::new(k, f32::INFINITY, self.count, &before);
        let mut tops: Vec<_> = queries.iter().map(top).collect();
        let queries: Vec<_> = queries.iter().collect();
        let none = RowSet::default();
        flat::scan_all(Isa::detect(), &queries, self.rows(), self.count, &none, &mut tops);
        Ok(tops.into_iter().map(found_of).collect())
    }

    /// Codes the rows in 8 or 4 bits an element; other numbers drop the codes. Bytes of them.
    pub fn code(&mut self, bits: usize) -> usize {
        let kind = match bits {
            8 => CodeKind::Byte,
            4 => CodeKind::Half,
            _ => {
                self.codes = None;
                return 0;
            }
        };
        self.encode(Quantizer::Levels(Codec::train(kind, self.space, self.rows(), self.count)))
    }

    /// Codes the rows in `bytes` bytes each, or less, after which ten rows are compared for each that is
    /// wanted; `None` where that cannot be.
    pub fn product(&mut self, bytes: usize) -> Option<usize> {
        let isa = Isa::detect();
        let (space, rows, count) = (self.space, self.rows(), self.count);
        let trained =
            ProductCodec::train(&Crew::alone(isa), (Width::Byte, bytes), space, rows, count);
        let codec = trained.ok()??;
        Some(self.encode(Quantizer::Product(codec).at_step(2)))
    }

    fn encode(&mut self, codec: Quantizer) -> usize {
        let mut codes = AlignedBytes::zeroed(self.count * codec.stride());
        codec.encode(Isa::detect(), self.rows(), 0..self.count, codes.as_mut_slice());
        let bytes = codes.len();
        self.codes = Some((codec, codes));
        bytes
    }

    /// Builds the graph, on codes where there are any; its size in bytes.
    ///
    /// # Errors
    /// When threads cannot be started.
    pub fn build(&mut self, m: usize, ef_construction: usize, threads: usize) -> Result<usize> {
        self.build_from(&[], m, ef_construction, threads)
    }

    /// Builds the graph from those of `parts`, whose rows are these, one part after the other.
    ///
    /// # Errors
    /// When threads cannot be started.
    pub fn build_from(
        &mut self,
        parts: &[Self],
        m: usize,
        ef_construction: usize,
        threads: usize,
    ) -> Result<usize> {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|error| Error::invalid(error.to_string()))?;
        let params = hnsw::Params { m, ef_construction, ..hnsw::Params::default() };
        let (isa, space, rows) = (Isa::detect(), self.space, self.rows());
        let centre = &Centre::new(space, rows, self.count);
        let mut to: Vec<Row> = (0..self.rows_in_all()).collect();
        let mut seeds = Vec::new();
        let mut rest = to.as_mut_slice();
        for part in parts {
            let (own, later) = rest.split_at_mut(part.count.min(rest.len()));
            rest = later;
            if let Some(view) = View::parse(Guarded::trusted(part.graph.as_slice()), part.count) {
                seeds.push(Seed { view, to: own });
            }
        }
        let graph = match self.code_rows() {
            Some(CodeRows { codec: Quantizer::Levels(codec), codes }) => {
                let source = CodedPairs::new(isa, LevelRows { codec, codes }, centre);
                if parts.is_empty() {
                    hnsw::build_in_bulk(isa, &source, self.count, &params, &pool, &|| true)
                } else {
                    hnsw::merge(isa, &source, self.count, &params, &seeds, &pool, &|| true)
                }
            }
            _ => {
                let source = FullPairs { space, rows, centre };
                hnsw::merge(isa, &source, self.count, &params, &seeds, &pool, &|| true)
            }
        };
        self.graph = graph.map(|graph| graph.to_bytes()).unwrap_or_default();
        Ok(self.graph.len())
    }

    fn code_rows(&self) -> Option<CodeRows<'_, Trusted>> {
        let (codec, codes) = self.codes.as_ref()?;
        Some(CodeRows { codec, codes: Guarded::trusted(codes.as_slice()) })
    }

    /// The same in blocks, for scans, in half a byte a subspace.
    pub fn product_halves(&mut self, bytes: usize) -> Option<usize> {
        let (space, rows, count) = (self.space, self.rows(), self.count);
        let isa = Isa::detect();
        let trained =
            ProductCodec::train(&Crew::alone(isa), (Width::Half, bytes), space, rows, count);
        let codec = trained.ok()??;
        let mut codes = AlignedBytes::zeroed(codec.bytes(count));
        let blocks = 0..codes.len() / codec.block_bytes();
        codec.encode_blocks(isa, rows, count, blocks, codes.as_mut_slice());
        let bytes = codes.len();
        self.halves = Some((codec, codes));
        Some(bytes)
    }

    /// The `k` rows that are nearest by those blocks, without any exact distance; none without them.
    ///
    /// # Errors
    /// When the query is not of the vectors' dimension, or not finite.
    pub fn scan_by_halves(&self, query: &[f32], k: usize) -> Result<Found> {
        let queries = prepare_query(self.space, &query.into())?;
        let mut top = TopK::new(k, f32::INFINITY, self.count, &|a, b| a < b);
        if let (Some(query), Some((codec, codes))) = (queries.first(), &self.halves) {
            let blocks = ProductBlocks { codec, blocks: Guarded::trusted(codes.as_slice()) };
            let distances = product_scan::estimates(Isa::detect(), query, blocks, self.count);
            for (row, distance) in (0..).zip(distances) {
                top.offer(distance, row);
            }
        }
        Ok(found_of(top))
    }

    /// The exact distances of some rows.
    ///
    /// # Errors
    /// When the query is not of the vectors' dimension, or not finite.
    pub fn exact(&self, query: &[f32], rows: &[u32]) -> Result<Vec<f32>> {
        let mut distances = vec![0.0; rows.len()];
        for query in &prepare_query(self.space, &query.into())? {
            score_rows(Isa::detect(), query, self.rows(), rows, &mut distances);
        }
        Ok(distances)
    }

    /// The `k` rows that are nearest by their codes, without any exact distance; none without codes.
    ///
    /// # Errors
    /// When the query is not of the vectors' dimension, or not finite.
    pub fn scan_by_codes(&self, query: &[f32], k: usize) -> Result<Found> {
        let queries = prepare_query(self.space, &query.into())?;
        let mut distances = vec![0.0; self.count];
        let mut top = TopK::new(k, f32::INFINITY, self.count, &|a, b| a < b);
        if let (Some(query), Some(CodeRows { codec, codes })) = (queries.first(), self.code_rows())
        {
            let coded = codec.query(Isa::detect(), query);
            let source = CodedSource { codes, query: &coded, sketches: None };
            source.run(Isa::detect(), Distances { fours: false, rounds: 1, out: &mut distances });
            for (row, distance) in (0..).zip(&distances) {
                top.offer(*distance, row);
            }
        }
        Ok(found_of(top))
    }

    /// The `k` nearest rows that a walk finds; none before a build.
    ///
    /// # Errors
    /// When the query is not of the vectors' dimension, or not finite.
    pub fn walk(&self, query: &[f32], k: usize, ef: usize) -> Result<(Found, Work)> {
        let mut work = Work::default();
        let queries = prepare_query(self.space, &query.into())?;
        let mut top = TopK::new(k, f32::INFINITY, self.count, &|a, b| a < b);
        if let Some(view) = View::parse(Guarded::trusted(self.graph.as_slice()), self.count) {
            for query in &queries {
                let none = RowSet::default();
                let indexed = Indexed { rows: self.rows(), codes: self.code_rows(), graph: view };
                let counts =
                    nearest(Isa::detect(), query, indexed, Effort::of(ef), &none, &mut top);
                work.expanded += counts.walk.expanded;
                work.scored += counts.walk.scored;
                work.compared += counts.compared;
            }
        }
        Ok((found_of(top), work))
    }

    fn rows(&self) -> Rows<'_, Trusted> {
        Rows {
            vectors: Guarded::trusted(self.vectors.as_slice()),
            inverse_norms: Guarded::trusted(self.inverse_norms.as_slice()),
        }
    }

    fn rows_in_all(&self) -> Row {
        Row::try_from(self.count).unwrap_or(Row::MAX)
    }
}

struct Distances<'a> {
    fours: bool,
    rounds: usize,
    out: &'a mut [f32],
}

impl ScorerOp for Distances<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Scorer>(self, scorer: S) {
        let rows: Vec<Row> = (0..).take(self.out.len()).collect();
        for _ in 0..self.rounds {
            if self.fours {
                scorer.score_batch(&rows, self.out);
            } else {
                scorer.score_run(0, self.out);
            }
            std::hint::black_box(&mut *self.out);
        }
    }
}

fn found_of(top: TopK<'_>) -> Found {
    top.into_sorted().iter().map(|candidate| (candidate.distance, candidate.row)).collect()
}
