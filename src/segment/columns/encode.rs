//! Columns to bytes. See the module above for the picture.

use std::borrow::Cow;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int64Type, TimestampMicrosecondType, UInt32Type,
};
use arrow_array::{Array, LargeStringArray, RecordBatch};
use arrow_buffer::{BooleanBuffer, NullBuffer};
use zerocopy::IntoBytes;

use super::{FLAG_CHILD_VALIDITY, FLAG_VALIDITY, MAGIC, data_type_of, padded, type_code};
use crate::error::{Error, Result};
use crate::types::DataType;

/// Appends `batch`, whose columns are in their canonical types, to `out`. The block starts at
/// `out`'s length; its buffers are aligned relative to that.
pub(crate) fn encode(batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
    let schema = batch.schema_ref();
    let mut bodies = Vec::with_capacity(batch.num_columns());
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        let Some(data_type) = data_type_of(column.data_type()) else {
            return Err(Error::SchemaMismatch {
                what: format!("column {:?}", field.name()),
                expected: "a canonical column type".into(),
                given: column.data_type().to_string(),
            });
        };
        bodies.push(Body::of(column.as_ref(), data_type));
    }
    let names = schema.fields().iter().map(|field| field.name());
    let directory: usize = names.clone().map(|name| 16 + padded(name.len())).sum();
    let total = 24 + directory + bodies.iter().map(Body::len).sum::<usize>();
    out.reserve(total);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&small(bodies.len())?.to_le_bytes());
    out.extend_from_slice(&(batch.num_rows() as u64).to_le_bytes());
    out.extend_from_slice(&(directory as u64).to_le_bytes());
    for (name, body) in names.zip(&bodies) {
        out.extend_from_slice(&(body.len() as u64).to_le_bytes());
        out.extend_from_slice(&small(name.len())?.to_le_bytes());
        out.extend_from_slice(&[body.code, body.flags, 0, 0]);
        push_padded(out, name.as_bytes());
    }
    for body in &bodies {
        for piece in &body.pieces {
            push_padded(out, piece);
        }
    }
    Ok(())
}

/// Bytes that the values of `batch` take, not counting what its buffers hold beyond its rows.
pub(crate) fn size_bytes(batch: &RecordBatch) -> usize {
    let rows = batch.num_rows();
    batch
        .columns()
        .iter()
        .map(|column| {
            let validity = if column.null_count() > 0 { rows.div_ceil(8) } else { 0 };
            let values = match data_type_of(column.data_type()) {
                Some(DataType::Bool) => rows.div_ceil(8),
                Some(DataType::Utf8) => rows * 8 + text_bytes(column.as_string::<i64>()),
                Some(DataType::ListUtf8) => {
                    let list = column.as_list::<i64>();
                    let (from, to) = bounds(list.value_offsets());
                    let strings = list.values().slice(from, to - from);
                    rows * 8 + (to - from) * 8 + text_bytes(strings.as_string::<i64>())
                }
                Some(DataType::Sparse) => {
                    let (from, to) = bounds(column.as_list::<i64>().value_offsets());
                    rows * 8 + (to - from) * 8
                }
                _ => rows * 8,
            };
            validity + values
        })
        .sum()
}

fn text_bytes(strings: &LargeStringArray) -> usize {
    let (from, to) = bounds(strings.value_offsets());
    to - from
}

/// The buffers of one column, in the order in which they are written.
struct Body<'a> {
    code: u8,
    flags: u8,
    pieces: Vec<Cow<'a, [u8]>>,
}

impl<'a> Body<'a> {
    fn of(column: &'a dyn Array, data_type: DataType) -> Self {
        let mut body = Self { code: type_code(data_type), flags: 0, pieces: Vec::new() };
        if body.validity(column.nulls()) {
            body.flags |= FLAG_VALIDITY;
        }
        match data_type {
            DataType::Bool => {
                body.pieces.push(Cow::Owned(bits(column.as_boolean().values())));
            }
            DataType::Int64 => {
                let values: &[i64] = column.as_primitive::<Int64Type>().values();
                body.pieces.push(Cow::Borrowed(values.as_bytes()));
            }
            DataType::Float64 => {
                let values: &[f64] = column.as_primitive::<Float64Type>().values();
                body.pieces.push(Cow::Borrowed(values.as_bytes()));
            }
            DataType::Timestamp => {
                let values: &[i64] = column.as_primitive::<TimestampMicrosecondType>().values();
                body.pieces.push(Cow::Borrowed(values.as_bytes()));
            }
            DataType::Utf8 => body.strings(column.as_string::<i64>()),
            DataType::ListUtf8 => {
                let list = column.as_list::<i64>();
                body.pieces.push(rebased(list.value_offsets()));
                let (from, to) = bounds(list.value_offsets());
                let strings = list.values().as_string::<i64>().slice(from, to - from);
                body.children(&strings);
            }
            DataType::Sparse => {
                let list = column.as_list::<i64>();
                body.pieces.push(rebased(list.value_offsets()));
                let (from, to) = bounds(list.value_offsets());
                let items = list.values().as_struct();
                let indices: &[u32] = items.column(0).as_primitive::<UInt32Type>().values();
                let weights: &[f32] = items.column(1).as_primitive::<Float32Type>().values();
                body.pieces.push(Cow::Borrowed(indices[from..to].as_bytes()));
                body.pieces.push(Cow::Borrowed(weights[from..to].as_bytes()));
            }
        }
        body
    }

    /// The strings of a list column; owned, because the slice of the child lives only here.
    fn children(&mut self, strings: &LargeStringArray) {
        if self.validity(strings.nulls()) {
            self.flags |= FLAG_CHILD_VALIDITY;
        }
        let mut child = Body { code: 0, flags: 0, pieces: Vec::new() };
        child.strings(strings);
        let owned = child.pieces.into_iter().map(|piece| Cow::Owned(piece.into_owned()));
        self.pieces.extend(owned);
    }

    fn strings(&mut self, strings: &'a LargeStringArray) {
        let (from, to) = bounds(strings.value_offsets());
        self.pieces.push(rebased(strings.value_offsets()));
        self.pieces.push(Cow::Borrowed(&strings.value_data()[from..to]));
    }

    fn validity(&mut self, nulls: Option<&NullBuffer>) -> bool {
        match nulls {
            Some(nulls) if nulls.null_count() > 0 => {
                self.pieces.push(Cow::Owned(bits(nulls.inner())));
                true
            }
            _ => false,
        }
    }

    fn len(&self) -> usize {
        self.pieces.iter().map(|piece| padded(piece.len())).sum()
    }
}

/// First and last offset, as positions.
fn bounds(offsets: &[i64]) -> (usize, usize) {
    let at = |offset: Option<&i64>| offset.map_or(0, |o| usize::try_from(*o).unwrap_or(0));
    (at(offsets.first()), at(offsets.last()))
}

/// Offsets that start at 0.
fn rebased(offsets: &[i64]) -> Cow<'_, [u8]> {
    let first = offsets.first().copied().unwrap_or(0);
    if first == 0 && !offsets.is_empty() {
        return Cow::Borrowed(offsets.as_bytes());
    }
    let mut bytes: Vec<u8> = Vec::with_capacity(offsets.len().max(1) * 8);
    for offset in offsets {
        bytes.extend_from_slice(&(offset - first).to_le_bytes());
    }
    if offsets.is_empty() {
        bytes.extend_from_slice(&[0; 8]);
    }
    Cow::Owned(bytes)
}

/// A bitmap that starts at bit 0 and whose bits after the last are 0.
fn bits(values: &BooleanBuffer) -> Vec<u8> {
    let mut bytes = values.sliced().as_slice().to_vec();
    bytes.truncate(values.len().div_ceil(8));
    if let (Some(last), 1..) = (bytes.last_mut(), values.len() % 8) {
        *last &= (1 << (values.len() % 8)) - 1;
    }
    bytes
}

fn push_padded(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(bytes);
    out.extend_from_slice(&[0; 8][..padded(bytes.len()) - bytes.len()]);
}

fn small(value: usize) -> Result<u32> {
    u32::try_from(value)
        .map_err(|_overflow| Error::invalid("a batch has too many columns or too long a name"))
}
