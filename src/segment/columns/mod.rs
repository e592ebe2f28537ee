//! Attribute columns as bytes: one self-describing block of Arrow columns.
//!
//! Used for log records and for the groups of an attribute file. All numbers are little-endian,
//! every buffer starts at a multiple of 8 from the start of the block:
//!
//! ```text
//! magic "NFCB" · columns u32 · rows u64 · directory length u64
//! directory: per column  body length u64 · name length u32 · type u8 · flags u8 · 0 u16 · name, padded
//! bodies, one after the other:
//!   [validity bitmap]  then
//!   bool       bitmap                int64, float64, timestamp   8 bytes a row
//!   utf8       offsets u64 × (rows + 1) · text
//!   sparse     offsets u64 × (rows + 1) · indices u32 × weights, padded · weights f32 × weights, padded
//!   list_utf8  offsets u64 × (rows + 1) · [child validity] · child offsets u64 × (children + 1) · text
//! ```
//!
//! Decoding trusts nothing: every length, offset and string is checked before an Arrow array is
//! made of it, and no allocation exceeds the bytes present. Must never know a file, an id or a
//! vector. Byte-exact tables: docs/format.md, "Column blocks".

mod decode;
mod encode;
mod gather;
mod normalize;
pub(crate) mod sparse;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType as ArrowType, Field, Schema as ArrowSchema, SchemaRef, TimeUnit};

pub(crate) use decode::{
    ColumnEntry, Directory, HEADER_BYTES, Malformed, bitmap_bytes, decode, decode_column,
};
pub(crate) use encode::{encode, size_bytes};
pub(crate) use gather::{concat, gather, null_column, project, take};
pub(crate) use normalize::normalize;

use crate::error::{Error, Result};
use crate::types::DataType;

/// First bytes of a block.
pub(crate) const MAGIC: [u8; 4] = *b"NFCB";
/// Most rows a block may have.
pub(crate) const MAX_ROWS: usize = 1 << 31;
/// Flag of a column that stores a validity bitmap.
pub(crate) const FLAG_VALIDITY: u8 = 1;
/// Flag of a list column whose strings have a validity bitmap.
pub(crate) const FLAG_CHILD_VALIDITY: u8 = 2;

/// Code of a column type on disk.
pub(crate) fn type_code(data_type: DataType) -> u8 {
    match data_type {
        DataType::Bool => 1,
        DataType::Int64 => 2,
        DataType::Float64 => 3,
        DataType::Utf8 => 4,
        DataType::Timestamp => 5,
        DataType::ListUtf8 => 6,
        DataType::Sparse => 7,
    }
}

/// The column type of a code.
pub(crate) fn type_of_code(code: u8) -> Option<DataType> {
    Some(match code {
        1 => DataType::Bool,
        2 => DataType::Int64,
        3 => DataType::Float64,
        4 => DataType::Utf8,
        5 => DataType::Timestamp,
        6 => DataType::ListUtf8,
        7 => DataType::Sparse,
        _ => return None,
    })
}

/// The column type whose canonical Arrow form this is.
pub(crate) fn data_type_of(arrow: &ArrowType) -> Option<DataType> {
    let data_type = match arrow {
        ArrowType::Boolean => DataType::Bool,
        ArrowType::Int64 => DataType::Int64,
        ArrowType::Float64 => DataType::Float64,
        ArrowType::LargeUtf8 => DataType::Utf8,
        ArrowType::Timestamp(TimeUnit::Microsecond, Some(_)) => DataType::Timestamp,
        ArrowType::LargeList(item) if matches!(item.data_type(), ArrowType::Struct(_)) => {
            DataType::Sparse
        }
        ArrowType::LargeList(_) => DataType::ListUtf8,
        _ => return None,
    };
    (data_type.to_arrow() == *arrow).then_some(data_type)
}

/// The Arrow schema of columns in their canonical types, all nullable.
pub(crate) fn arrow_schema<'a>(columns: impl Iterator<Item = (&'a str, DataType)>) -> SchemaRef {
    let fields: Vec<Field> =
        columns.map(|(name, data_type)| Field::new(name, data_type.to_arrow(), true)).collect();
    Arc::new(ArrowSchema::new(fields))
}

/// A batch of columns that fit `schema`; `rows` counts even when there is no column.
pub(crate) fn assemble(
    schema: SchemaRef,
    columns: Vec<ArrayRef>,
    rows: usize,
) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema, columns, &options)
        .map_err(|error| Error::invalid(format!("columns do not form a batch: {error}")))
}

/// A batch without columns.
pub(crate) fn no_columns(rows: usize) -> Result<RecordBatch> {
    assemble(Arc::new(ArrowSchema::empty()), Vec::new(), rows)
}

/// Bytes up to the next multiple of 8.
fn padded(len: usize) -> usize {
    len.next_multiple_of(8)
}
