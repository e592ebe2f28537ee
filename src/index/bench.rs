//! A door to the scan and the graph for this project's benches; not a public interface.
//!
//! Holds vectors in memory as a segment holds them on disk, on the best tier of the machine.

use rayon::ThreadPoolBuilder;

use crate::bytes::{AlignedBytes, Guarded, Trusted};
use crate::codec::bits::{BitCodec, BitRows};
use crate::codec::codes::{CodeKind, CodeRows, Codec, CodedPairs};
use crate::codec::full::{FullPairs, Rows, Space, encode_rows, prepare_query};
use crate::codec::lift::Lift;
use crate::error::{Error, Result};
use crate::filter::rowset::RowSet;
use crate::index::bit_scan::{self, BitTarget};
use crate::index::hnsw::{self, View};
use crate::index::{
    flat,
    nearest::{Indexed, nearest},
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
    codes: Option<(Codec, AlignedBytes)>,
    bits: Option<(BitCodec, AlignedBytes)>,
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
        let space = Space { dimension, vector_type, metric };
        let count = vectors.len() / dimension;
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
        })
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
        Ok(found(top))
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
                let none = RowSet::default();
                let scanned =
                    bit_scan::scan(Isa::detect(), query, &coded, &target, &none, &mut top);
                (compared, decided) = (scanned.compared, scanned.decided);
            }
        }
        Ok((found(top), compared, decided))
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
        let codec = Codec::train(kind, self.space, self.rows(), self.count);
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
        let pool = ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|error| Error::invalid(error.to_string()))?;
        let params = hnsw::Params { m, ef_construction, ..hnsw::Params::default() };
        let (isa, space, rows) = (Isa::detect(), self.space, self.rows());
        let lift = &Lift::new(space, rows, self.count);
        let graph = match self.code_rows() {
            Some(rows) => {
                let source = CodedPairs { rows, lift };
                hnsw::build(isa, &source, self.count, &params, &pool, &|| true)
            }
            None => {
                let source = FullPairs { space, rows, lift };
                hnsw::build(isa, &source, self.count, &params, &pool, &|| true)
            }
        };
        self.graph = graph.map(|graph| graph.to_bytes()).unwrap_or_default();
        Ok(self.graph.len())
    }

    fn code_rows(&self) -> Option<CodeRows<'_, Trusted>> {
        let (codec, codes) = self.codes.as_ref()?;
        Some(CodeRows { codec, codes: Guarded::trusted(codes.as_slice()) })
    }

    /// The `k` nearest rows that a walk finds; none before a build.
    ///
    /// # Errors
    /// When the query is not of the vectors' dimension, or not finite.
    pub fn walk(&self, query: &[f32], k: usize, ef: usize) -> Result<Found> {
        let queries = prepare_query(self.space, &query.into())?;
        let mut top = TopK::new(k, f32::INFINITY, self.count, &|a, b| a < b);
        if let Some(view) = View::parse(Guarded::trusted(self.graph.as_slice()), self.count) {
            for query in &queries {
                let none = RowSet::default();
                let indexed = Indexed { rows: self.rows(), codes: self.code_rows(), graph: view };
                nearest(Isa::detect(), query, indexed, ef, &none, &mut top);
            }
        }
        Ok(found(top))
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

fn found(top: TopK<'_>) -> Found {
    top.into_sorted().iter().map(|candidate| (candidate.distance, candidate.row)).collect()
}
