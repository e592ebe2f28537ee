//! Rows picked from several batches, columns filled with nulls: the selections that a snapshot,
//! a merge and a patch need.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, make_array, new_null_array};
use arrow_data::ArrayData;
use arrow_data::transform::MutableArrayData;
use arrow_schema::SchemaRef;

use super::assemble;
use crate::error::{Error, Result};
use crate::types::{DataType, Row};

/// A column of `rows` nulls.
pub(crate) fn null_column(data_type: DataType, rows: usize) -> ArrayRef {
    new_null_array(&data_type.to_arrow(), rows)
}

/// The columns of `schema` out of `batch`: reordered, unknown ones left out, missing ones null.
pub(crate) fn project(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if Arc::ptr_eq(batch.schema_ref(), schema) {
        return Ok(batch.clone());
    }
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let Some(column) = batch.column_by_name(field.name()) else {
            columns.push(new_null_array(field.data_type(), batch.num_rows()));
            continue;
        };
        if column.data_type() != field.data_type() {
            return Err(Error::SchemaMismatch {
                what: format!("column {:?}", field.name()),
                expected: field.data_type().to_string(),
                given: column.data_type().to_string(),
            });
        }
        columns.push(Arc::clone(column));
    }
    assemble(Arc::clone(schema), columns, batch.num_rows())
}

/// The rows `picks` (source, row) of `sources`, in that order, as columns of `schema`.
///
/// Every pick names a source and one of its rows.
pub(crate) fn gather(
    schema: &SchemaRef,
    sources: &[&RecordBatch],
    picks: &[(usize, Row)],
) -> Result<RecordBatch> {
    gather_runs(schema, sources, &runs(picks), picks.len())
}

fn gather_runs(
    schema: &SchemaRef,
    sources: &[&RecordBatch],
    runs: &[(usize, usize, usize)],
    rows: usize,
) -> Result<RecordBatch> {
    let sources = sources.iter().map(|batch| project(batch, schema)).collect::<Result<Vec<_>>>()?;
    let inside = |&(source, _, end): &(usize, usize, usize)| {
        sources.get(source).is_some_and(|batch| end <= batch.num_rows())
    };
    if !runs.iter().all(inside) {
        return Err(Error::invalid("a row outside its batch was asked for"));
    }
    let mut columns = Vec::with_capacity(schema.fields().len());
    for (index, field) in schema.fields().iter().enumerate() {
        if runs.is_empty() {
            columns.push(new_null_array(field.data_type(), 0));
            continue;
        }
        let data: Vec<ArrayData> =
            sources.iter().map(|batch| batch.column(index).to_data()).collect();
        let mut picked = MutableArrayData::new(data.iter().collect(), false, rows);
        for &(source, start, end) in runs {
            picked.try_extend(source, start, end).map_err(|error| {
                Error::invalid(format!("column {:?} cannot be gathered: {error}", field.name()))
            })?;
        }
        columns.push(make_array(picked.freeze()));
    }
    assemble(Arc::clone(schema), columns, rows)
}

/// The rows `rows` of `batch`, in that order.
pub(crate) fn take(batch: &RecordBatch, rows: &[Row]) -> Result<RecordBatch> {
    let picks: Vec<_> = rows.iter().map(|row| (0, *row)).collect();
    gather(batch.schema_ref(), &[batch], &picks)
}

/// All rows of `batches`, one batch after the other, as columns of `schema`.
pub(crate) fn concat(schema: &SchemaRef, batches: &[&RecordBatch]) -> Result<RecordBatch> {
    if let [only] = batches {
        return project(only, schema);
    }
    let runs: Vec<_> =
        batches.iter().enumerate().map(|(source, batch)| (source, 0, batch.num_rows())).collect();
    gather_runs(schema, batches, &runs, runs.iter().map(|run| run.2).sum())
}

/// Maximal runs (source, start, end) of consecutive rows.
fn runs(picks: &[(usize, Row)]) -> Vec<(usize, usize, usize)> {
    let mut runs: Vec<(usize, usize, usize)> = Vec::new();
    for &(source, row) in picks {
        let row = row as usize;
        match runs.last_mut() {
            Some((last, _, end)) if *last == source && *end == row => *end += 1,
            _ => runs.push((source, row, row + 1)),
        }
    }
    runs
}
