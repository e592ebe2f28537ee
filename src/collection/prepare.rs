//! Batches on their way to the writer: checked against the schema, in the form in which they are kept.

use std::sync::Arc;

use arrow_array::RecordBatch;

use super::options::Schema;
use crate::bytes::AlignedBytes;
use crate::codec::full;
use crate::error::{Error, Result};
use crate::segment::columns;
use crate::segment::ids::IdColumn;
use crate::segment::memtable::Batch;
use crate::types::{Ids, MAX_ID_BYTES, Vectors};

/// Checks a batch against the schema and brings it into the form in which it is kept; `allocate`
/// gives memory of a length for its vectors, of any content, and `place` is where a row stands for its
/// writer. That of a bad vector is the row of the batch.
pub(super) fn prepare_rows(
    schema: &Schema,
    ids: &Ids<'_>,
    vectors: &Vectors<'_>,
    attributes: Option<&RecordBatch>,
    allocate: impl FnOnce(usize) -> AlignedBytes,
    place: &dyn Fn(usize) -> u64,
) -> Result<Batch> {
    check_ids(ids, place)?;
    let (vectors, inverse_norms) =
        full::encode_rows_into(schema.space(), vectors, ids.len(), allocate)?;
    let attributes = match attributes {
        Some(batch) => {
            check_rows(ids.len(), batch)?;
            columns::project(&normalize_given(schema, batch, place)?, &schema.arrow())?
        }
        None => columns::project(&columns::no_columns(ids.len())?, &schema.arrow())?,
    };
    let ids = IdColumn::from_ids(ids);
    Ok(Batch { ids, vectors: Arc::new(vectors), inverse_norms, attributes })
}

/// Refuses ids that no row may be given; `place` is where a row stands for its writer.
pub(super) fn check_ids(ids: &Ids<'_>, place: impl Fn(usize) -> u64) -> Result<()> {
    match ids {
        Ids::U64(numbers) => match numbers.iter().position(|id| *id == u64::MAX) {
            Some(row) => Err(Error::invalid(format!(
                "id at row {} is {}, which means no hit; give a smaller one",
                place(row),
                u64::MAX
            ))),
            None => Ok(()),
        },
        Ids::Utf8(_) => check_lengths(ids, place),
    }
}

/// Refuses ids that no row can have.
pub(super) fn check_lengths(ids: &Ids<'_>, place: impl Fn(usize) -> u64) -> Result<()> {
    let Ids::Utf8(texts) = ids else { return Ok(()) };
    match texts.iter().position(|id| id.len() > MAX_ID_BYTES) {
        Some(row) => Err(Error::invalid(format!(
            "id at row {} has {} bytes, at most {MAX_ID_BYTES} are allowed",
            place(row),
            texts[row].len()
        ))),
        None => Ok(()),
    }
}

pub(super) fn check_rows(ids: usize, batch: &RecordBatch) -> Result<()> {
    if batch.num_rows() == ids {
        return Ok(());
    }
    Err(Error::invalid(format!("{} rows of attributes for {ids} ids", batch.num_rows())))
}

/// The columns given, each in the type of the schema; `place` is where a row stands for its writer.
pub(super) fn normalize_given(
    schema: &Schema,
    batch: &RecordBatch,
    place: &dyn Fn(usize) -> u64,
) -> Result<RecordBatch> {
    let mut names = Vec::new();
    let mut arrays = Vec::new();
    for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        let column = schema.find(field.name())?;
        if names.iter().any(|(name, _)| *name == column.name) {
            return Err(Error::invalid(format!("column {:?} is given twice", column.name)));
        }
        names.push((column.name.as_str(), column.data_type));
        arrays.push(columns::normalize(&column.name, array, column.data_type, place)?);
    }
    columns::assemble(columns::arrow_schema(names.into_iter()), arrays, batch.num_rows())
}
