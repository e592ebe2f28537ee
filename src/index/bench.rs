//! A door to the scan and the graph for this project's benches; not a public interface.
//!
//! Holds vectors in memory as a segment holds them on disk, on the best tier of the machine.

use rayon::ThreadPoolBuilder;

use crate::bytes::{AlignedBytes, Guarded, Trusted};
use crate::codec::full::{Rows, Space, encode_rows, prepare_query};
use crate::error::{Error, Result};
use crate::filter::rowset::RowSet;
use crate::index::hnsw::{self, View};
use crate::index::{flat, topk::TopK};
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
        Ok(Self { space, count, vectors, inverse_norms, graph: AlignedBytes::default() })
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

    /// Builds the graph; its size in bytes.
    ///
    /// # Errors
    /// When threads cannot be started.
    pub fn build(&mut self, m: usize, ef_construction: usize, threads: usize) -> Result<usize> {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|error| Error::invalid(error.to_string()))?;
        let params = hnsw::Params { m, ef_construction, ..hnsw::Params::default() };
        let isa = Isa::detect();
        let graph = hnsw::build(isa, self.space, self.rows(), self.count, &params, &pool, &|| true);
        self.graph = graph.map(|graph| graph.to_bytes()).unwrap_or_default();
        Ok(self.graph.len())
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
                hnsw::search(Isa::detect(), query, self.rows(), &view, ef, &none, &mut top);
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
