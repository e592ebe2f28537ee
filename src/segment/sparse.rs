//! The search of one part for the rows whose sparse vectors have the largest inner product with a
//! query's: by the inverted index of each group of rows, or row by row where there is none.

use std::cell::RefCell;

use arrow_array::ArrayRef;

use super::columns;
use super::columns::sparse::SparseRows;
use super::part::Part;
use super::patch::Patch;
use super::search::SearchStats;
use crate::error::{Error, Result};
use crate::filter::rowset::RowSet;
use crate::index::inverted::Scores;
use crate::index::topk::{Candidate, TopK};
use crate::types::sparse::{SparseVector, dot, narrow};
use crate::types::{Column, Row};

/// What is asked of each part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SparseAsk<'a> {
    pub(crate) column: &'a Column,
    pub(crate) query: &'a SparseVector,
    pub(crate) k: usize,
    /// Rows of a larger distance, the negated score, are left out.
    pub(crate) max_distance: f32,
}

impl Part {
    /// The at most k rows of the largest scores, by (distance, id), that are not `hidden` and have an
    /// index in common with the query; with the values of `patch` over the stored ones.
    pub(crate) fn search_sparse(
        &self,
        ask: &SparseAsk<'_>,
        hidden: &RowSet,
        patch: &Patch,
        stats: &mut SearchStats,
    ) -> Result<Vec<Candidate>> {
        let failed = RefCell::new(None);
        let before = |a: Row, b: Row| match (self.id_ref(a), self.id_ref(b)) {
            (Ok(a), Ok(b)) => a < b,
            (Err(error), _) | (_, Err(error)) => {
                failed.replace(Some(error));
                false
            }
        };
        let live = self.len().saturating_sub(hidden.len());
        let mut top = TopK::new(ask.k.min(live), ask.max_distance, self.len(), &before);
        let patched = patch.rows_touching(&ask.column.name);
        let mut stored = hidden.clone();
        for row in &patched {
            stored.insert(*row);
        }
        match self {
            Self::Chunk(chunk) => {
                rows(&chunk.column(ask.column), ask.query, 0, &stored, &mut top, stats)?;
            }
            Self::Segment(_) => self.by_group(ask, &stored, &mut top, stats)?,
        }
        let asked: Vec<Row> = patched.into_iter().filter(|row| !hidden.contains(*row)).collect();
        if !asked.is_empty() {
            let wanted = [(ask.column.name.as_str(), ask.column.data_type)];
            let wanted = columns::arrow_schema(wanted.into_iter());
            let batch = patch.apply(&asked, &self.attributes(&asked, &wanted)?, &wanted)?;
            let sparse = SparseRows::of(batch.column(0).as_ref()).ok_or_else(no_sparse)?;
            stats.rows_compared += asked.len() as u64;
            for (row, (indices, weights)) in asked.into_iter().zip(sparse.iter()) {
                let (a, b) = (ask.query.indices(), ask.query.weights());
                offer(&mut top, row, dot(a, b, indices, weights));
            }
        }
        let found = top.into_sorted();
        failed.into_inner().map_or(Ok(found), Err)
    }

    /// Searches the groups of a segment.
    fn by_group(
        &self,
        ask: &SparseAsk<'_>,
        hidden: &RowSet,
        top: &mut TopK<'_>,
        stats: &mut SearchStats,
    ) -> Result<()> {
        let Self::Segment(segment) = self else { return Ok(()) };
        let Some(file) = segment.attribute_file() else { return Ok(()) };
        let index = file.sparse_index(&ask.column.name);
        let mut first: Row = 0;
        for (group, len) in file.group_rows().enumerate() {
            let scored = index.and_then(|index| {
                let mut scores = SCORES.take().unwrap_or_default();
                scores.clear();
                let added = index.with(group, |index| {
                    let terms = ask.query.indices().iter().zip(ask.query.weights());
                    let mut added = 0;
                    for (term, weight) in terms {
                        added += index.add(*term, *weight, &mut scores)?;
                    }
                    Some(added)
                });
                if added.is_some() {
                    select(&scores, len, first, hidden, top);
                }
                SCORES.set(Some(scores));
                added
            });
            match scored {
                Some(added) => {
                    stats.postings += added as u64;
                    stats.bytes_touched += added as u64 * 6;
                }
                None => {
                    let column = file.group_column(group, ask.column)?;
                    rows(&column, ask.query, first, hidden, top, stats)?;
                }
            }
            first = first.saturating_add(Row::try_from(len).unwrap_or(Row::MAX));
        }
        Ok(())
    }
}

/// Offers the rows that have a score, the first of which is `first`.
fn select(scores: &Scores, len: usize, first: Row, hidden: &RowSet, top: &mut TopK<'_>) {
    let top = RefCell::new(top);
    // A score may be rounded up to the bound.
    let least = || f64::from((-top.borrow().bound()).next_down());
    scores.each(len, least, |at, score| {
        let row = first.saturating_add(Row::try_from(at).unwrap_or(Row::MAX));
        if !hidden.contains(row) {
            offer(&mut top.borrow_mut(), row, Some(score));
        }
    });
}

/// Offers the rows of a column one by one.
fn rows(
    column: &ArrayRef,
    query: &SparseVector,
    first: Row,
    hidden: &RowSet,
    top: &mut TopK<'_>,
    stats: &mut SearchStats,
) -> Result<()> {
    let sparse = SparseRows::of(column.as_ref()).ok_or_else(no_sparse)?;
    let sieve = Sieve::new(query.indices());
    for (row, (indices, weights)) in (first..).zip(sparse.iter()) {
        if !hidden.contains(row) {
            offer(top, row, sieve.dot(query, indices, weights));
        }
    }
    stats.scans += 1;
    stats.rows_scanned += sparse.len() as u64;
    Ok(())
}

/// Distance and score are each other's negation, and 0.0 the distance of 0.0.
fn offer(top: &mut TopK<'_>, row: Row, score: Option<f64>) {
    if let Some(score) = score.map(narrow).filter(|score| !score.is_nan()) {
        top.offer(0.0 - score, row);
    }
}

fn no_sparse() -> Error {
    Error::invalid("a column of sparse vectors has another form in memory")
}

/// Tells most indices that a query does not have.
struct Sieve([u64; Self::WORDS]);

impl Sieve {
    const WORDS: usize = 1 << 10;

    fn new(indices: &[u32]) -> Self {
        let mut words = [0; Self::WORDS];
        for index in indices {
            words[*index as usize / 64 % Self::WORDS] |= 1 << (index % 64);
        }
        Self(words)
    }

    fn may_have(&self, index: u32) -> bool {
        self.0[index as usize / 64 % Self::WORDS] >> (index % 64) & 1 == 1
    }

    /// What [`dot`] gives, of the query that the sieve is of.
    fn dot(&self, query: &SparseVector, indices: &[u32], weights: &[f32]) -> Option<f64> {
        let mut sum = None;
        for (index, weight) in indices.iter().zip(weights) {
            if !self.may_have(*index) {
                continue;
            }
            if let Ok(at) = query.indices().binary_search(index) {
                let product = f64::from(query.weights()[at]) * f64::from(*weight);
                sum = Some(sum.unwrap_or(0.0) + product);
            }
        }
        sum
    }
}

thread_local! {
    /// Memory of a search, kept for the thread's next.
    static SCORES: RefCell<Option<Scores>> = RefCell::default();
}
