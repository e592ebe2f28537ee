//! A walk over a graph, by codes where there are any, and the exact distances of what it found.

use crate::bytes::Guard;
use crate::codec::codes::{CodeRows, CodedSource};
use crate::codec::full::{FullSource, Query, Rows, score_rows};
use crate::filter::rowset::RowSet;
use crate::index::hnsw::{self, View, Want};
use crate::index::topk::TopK;
use crate::kernel::Isa;
use crate::types::Row;

/// Rows compared exactly at least, where codes led the walk.
const LEAST_RERANKED: usize = 24;
/// Of `ef` candidates, one in so many is, so that a larger `ef` also corrects the codes.
const RERANKED_SHARE: usize = 4;

/// Rows with a graph over them.
#[derive(Debug)]
pub(crate) struct Indexed<'a, G> {
    pub(crate) rows: Rows<'a, G>,
    /// Codes of all rows, to walk by.
    pub(crate) codes: Option<CodeRows<'a, G>>,
    pub(crate) graph: View<'a, G>,
}

impl<G> Clone for Indexed<'_, G> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<G> Copy for Indexed<'_, G> {}

/// Offers `top` the nearest rows that a walk with `ef` candidates (at least the k of `top`) finds.
///
/// Rows in `dead` are walked through and not offered. The limit of `top` ends a walk by full vectors
/// early.
pub(crate) fn nearest<G: Guard>(
    isa: Isa,
    query: &Query,
    Indexed { rows, codes, graph }: Indexed<'_, G>,
    ef: usize,
    dead: &RowSet,
    top: &mut TopK<'_>,
) {
    if top.k() == 0 {
        return;
    }
    let ef = ef.max(top.k());
    let mut found = Vec::new();
    let Some(codes) = codes else {
        let want = Want { ef, limit: top.bound(), dead };
        hnsw::search(isa, &FullSource { query, rows }, &graph, want, &mut found);
        for candidate in found {
            top.offer(candidate.distance, candidate.row);
        }
        return;
    };
    // Those by codes are off by what the limit cannot know: it is left to the exact distances.
    let reranked = codes.codec.reranked(top.k()).max(LEAST_RERANKED).max(ef / RERANKED_SHARE);
    let want = Want { ef: ef.max(reranked), limit: f32::INFINITY, dead };
    let coded = codes.codec.query(isa, query);
    let source = CodedSource { rows: codes, query: &coded };
    hnsw::search(isa, &source, &graph, want, &mut found);
    let wanted: Vec<Row> = found.iter().take(reranked).map(|candidate| candidate.row).collect();
    let mut distances = vec![0.0; wanted.len()];
    score_rows(isa, query, rows, &wanted, &mut distances);
    for (row, distance) in wanted.into_iter().zip(distances) {
        top.offer(distance, row);
    }
}
