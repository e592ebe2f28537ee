//! Verdicts on rows and gathers of rows that several readers share.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, make_array};
use arrow_data::transform::MutableArrayData;
use arrow_schema::ArrowError;

use crate::error::{Error, Result};
use crate::types::{MAX_ID_BYTES, Vectors};

/// The reason for rejecting a vector of another length than those before it.
pub(super) fn ragged(given: usize, expected: usize) -> String {
    format!("vector has {given} dimensions, the rows before have {expected}")
}

/// Judges a string id.
pub(super) fn text_id(id: Option<&str>) -> Result<&str, String> {
    let id = id.ok_or("id is null")?;
    if id.len() > MAX_ID_BYTES {
        return Err(format!("id has {} bytes, the longest may have {MAX_ID_BYTES}", id.len()));
    }
    Ok(id)
}

/// The good rows of an array.
pub(super) fn take(array: &ArrayRef, good: &[usize]) -> Result<ArrayRef> {
    if good.len() == array.len() {
        return Ok(Arc::clone(array));
    }
    let data = array.to_data();
    let mut out = MutableArrayData::new(vec![&data], false, good.len());
    let mut index = 0;
    while index < good.len() {
        let start = good[index];
        let mut end = start + 1;
        index += 1;
        while good.get(index) == Some(&end) {
            end += 1;
            index += 1;
        }
        out.try_extend(0, start, end).map_err(ungathered)?;
    }
    Ok(make_array(out.freeze()))
}

/// The good rows of a batch.
pub(super) fn take_rows(batch: &RecordBatch, good: &[usize]) -> Result<RecordBatch> {
    let columns: Result<Vec<_>> = batch.columns().iter().map(|column| take(column, good)).collect();
    RecordBatch::try_new(batch.schema(), columns?).map_err(ungathered)
}

pub(super) fn ungathered(error: ArrowError) -> Error {
    Error::invalid(format!("attributes cannot be gathered: {error}"))
}

/// The good rows of vectors of `dimension` elements.
pub(super) fn take_vectors(
    vectors: Vectors<'static>,
    dimension: usize,
    good: &[usize],
) -> Vectors<'static> {
    if good.len() * dimension == vectors.len() {
        return vectors;
    }
    vectors.gather(good.iter().copied(), dimension)
}
