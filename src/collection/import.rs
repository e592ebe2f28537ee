//! What a bulk import takes in: batches of rows, each row with its place in the source.
//!
//! It never knows which file format the rows come from; `interop` makes these batches and the
//! bulk import consumes them.

use arrow_array::RecordBatch;

use crate::types::{Ids, Vectors};

/// Some rows of a source, ready to be stored.
///
/// `ids`, `vectors` and `attributes` hold the good rows only, in source order: row `i` has id
/// `ids.at(i)`, the `i`-th stretch of `dimension` elements of `vectors`, row `i` of `attributes`
/// and stood at `source_rows[i]` in the source. Rows that cannot be stored are in `rejected`.
#[derive(Clone, Debug)]
pub struct ImportBatch {
    /// One id a row.
    pub ids: Ids<'static>,
    /// Row-major vectors, all of one dimension.
    pub vectors: Vectors<'static>,
    /// One row of attributes a row; none when the source has no attribute column.
    pub attributes: Option<RecordBatch>,
    /// Where each row stood in the source, from 0.
    pub source_rows: Vec<u64>,
    /// The rows of this stretch of the source that are left out.
    pub rejected: Vec<Rejected>,
}

impl ImportBatch {
    /// How many rows are to be stored.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether no row is to be stored (there may still be rejected ones).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

/// A row of a source that was not stored, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Where the row stood in the source, from 0.
    pub row: u64,
    /// What is wrong with it, in words.
    pub reason: String,
}
