//! Single values of a column block, read in place and checked one by one.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{
    BooleanBuilder, Float64Builder, Int64Builder, LargeListBuilder, LargeStringBuilder,
    TimestampMicrosecondBuilder,
};

use crate::error::Result;
use crate::segment::columns::{ColumnEntry, bitmap_bytes};
use crate::storage::container::Section;
use crate::types::{DataType, Row, SparseVector};

/// The values of a column at `rows`, all of which are below `total`, the rows of the block that
/// starts at `block`.
pub(super) fn read_column(
    section: &Section,
    block: usize,
    entry: &ColumnEntry,
    total: usize,
    rows: &[Row],
) -> Result<ArrayRef> {
    let body = Body { section, start: block + entry.start, len: entry.len };
    let values = if entry.validity { bitmap_bytes(total) } else { 0 };
    let present = |row: Row| -> Result<bool> { Ok(!entry.validity || body.bit(0, row as usize)?) };
    let number = |row: Row| -> Result<Option<u64>> {
        if !present(row)? {
            return Ok(None);
        }
        body.number(values + row as usize * 8).map(Some)
    };
    Ok(match entry.data_type {
        DataType::Bool => {
            let mut array = BooleanBuilder::with_capacity(rows.len());
            for &row in rows {
                let bit = if present(row)? { Some(body.bit(values, row as usize)?) } else { None };
                array.append_option(bit);
            }
            Arc::new(array.finish())
        }
        DataType::Int64 => {
            let mut array = Int64Builder::with_capacity(rows.len());
            for &row in rows {
                array.append_option(number(row)?.map(u64::cast_signed));
            }
            Arc::new(array.finish())
        }
        DataType::Timestamp => {
            let mut array = TimestampMicrosecondBuilder::with_capacity(rows.len());
            for &row in rows {
                array.append_option(number(row)?.map(u64::cast_signed));
            }
            Arc::new(array.finish().with_timezone("UTC"))
        }
        DataType::Float64 => {
            let mut array = Float64Builder::with_capacity(rows.len());
            for &row in rows {
                array.append_option(number(row)?.map(f64::from_bits));
            }
            Arc::new(array.finish())
        }
        DataType::Utf8 => {
            let strings = Strings { body, offsets: values, count: total };
            let mut array = LargeStringBuilder::new();
            for &row in rows {
                array.append_option(if present(row)? {
                    Some(strings.at(row as usize)?)
                } else {
                    None
                });
            }
            Arc::new(array.finish())
        }
        DataType::ListUtf8 => {
            let lists = Lists::new(body, values, total, entry.child_validity)?;
            let mut array = LargeListBuilder::new(LargeStringBuilder::new());
            for &row in rows {
                let valid = present(row)?;
                if valid {
                    lists.append(row as usize, array.values())?;
                }
                array.append(valid);
            }
            Arc::new(array.finish())
        }
        DataType::Sparse => sparse(body, values, total, rows, &present)?,
    })
}

/// The sparse vectors of `rows`, whose offsets start at `offsets`.
fn sparse(
    body: Body<'_>,
    offsets: usize,
    total: usize,
    rows: &[Row],
    present: &dyn Fn(Row) -> Result<bool>,
) -> Result<ArrayRef> {
    let count = body.position(offsets + total * 8)?;
    let indices = offsets + (total + 1) * 8;
    let weights = count
        .checked_mul(4)
        .and_then(|len| len.checked_next_multiple_of(8)?.checked_add(indices))
        .ok_or_else(|| body.section.corrupt("a sparse column has more weights than bytes"))?;
    let mut vectors = Vec::with_capacity(rows.len());
    for &row in rows {
        if !present(row)? {
            vectors.push(None);
            continue;
        }
        let from = body.position(offsets + row as usize * 8)?;
        let to = body.position(offsets + row as usize * 8 + 8)?;
        let Some(len) = to.checked_sub(from).filter(|_| to <= count) else {
            return Err(body.section.corrupt("offsets of a sparse vector descend"));
        };
        let words = |start: usize| body.bytes(start + from * 4, len * 4);
        let (indices, weights) = (words(indices)?.as_chunks().0, words(weights)?.as_chunks().0);
        let indices = indices.iter().map(|index| u32::from_le_bytes(*index));
        let weights = weights.iter().map(|weight| f32::from_le_bytes(*weight));
        let vector = SparseVector::from_pairs(indices.zip(weights));
        let vector = vector.map_err(|error| body.section.corrupt(&error.to_string()))?;
        vectors.push(Some(vector));
    }
    Ok(SparseVector::column(vectors.iter().map(Option::as_ref)))
}

/// The eight bytes of a column of numbers at `row`, below `total`.
pub(super) fn number_at(
    section: &Section,
    block: usize,
    entry: &ColumnEntry,
    total: usize,
    row: usize,
) -> Result<u64> {
    let body = Body { section, start: block + entry.start, len: entry.len };
    let values = if entry.validity { bitmap_bytes(total) } else { 0 };
    body.number(values + row * 8)
}

/// The text of a column at `row`, below `total`.
pub(super) fn text_at<'a>(
    section: &'a Section,
    block: usize,
    entry: &ColumnEntry,
    total: usize,
    row: usize,
) -> Result<&'a str> {
    let body = Body { section, start: block + entry.start, len: entry.len };
    let offsets = if entry.validity { bitmap_bytes(total) } else { 0 };
    Strings { body, offsets, count: total }.at(row)
}

/// The bytes of one column.
#[derive(Clone, Copy)]
struct Body<'a> {
    section: &'a Section,
    start: usize,
    len: usize,
}

impl<'a> Body<'a> {
    fn bytes(&self, offset: usize, len: usize) -> Result<&'a [u8]> {
        if offset.checked_add(len).is_none_or(|end| end > self.len) {
            return Err(self.section.corrupt("a value lies outside its column"));
        }
        self.section.read(self.start + offset, len)
    }

    fn number(&self, offset: usize) -> Result<u64> {
        let bytes = self.bytes(offset, 8)?;
        let mut number = [0; 8];
        number.copy_from_slice(bytes);
        Ok(u64::from_le_bytes(number))
    }

    fn position(&self, offset: usize) -> Result<usize> {
        Ok(usize::try_from(self.number(offset)?).unwrap_or(usize::MAX))
    }

    fn bit(&self, bitmap: usize, index: usize) -> Result<bool> {
        Ok(self.bytes(bitmap + index / 8, 1)?[0] >> (index % 8) & 1 == 1)
    }
}

/// Strings of a column or of its lists.
struct Strings<'a> {
    body: Body<'a>,
    /// Where the offsets start.
    offsets: usize,
    count: usize,
}

impl<'a> Strings<'a> {
    fn at(&self, index: usize) -> Result<&'a str> {
        let from = self.body.position(self.offsets + index * 8)?;
        let to = self.body.position(self.offsets + index * 8 + 8)?;
        let text = self.offsets + (self.count + 1) * 8;
        let (Some(start), Some(len)) = (text.checked_add(from), to.checked_sub(from)) else {
            return Err(self.body.section.corrupt("offsets of a string descend"));
        };
        std::str::from_utf8(self.body.bytes(start, len)?)
            .map_err(|_utf8| self.body.section.corrupt("a string is not UTF-8"))
    }
}

/// Lists of strings.
struct Lists<'a> {
    /// Where the offsets of the lists start.
    offsets: usize,
    /// Where the validity bitmap of the strings starts, when there is one.
    validity: Option<usize>,
    strings: Strings<'a>,
}

impl<'a> Lists<'a> {
    fn new(body: Body<'a>, offsets: usize, total: usize, validity: bool) -> Result<Self> {
        let count = body.position(offsets + total * 8)?;
        let start = offsets + (total + 1) * 8;
        if count > body.len {
            return Err(body.section.corrupt("a list has more strings than bytes"));
        }
        let bitmap = if validity { bitmap_bytes(count) } else { 0 };
        Ok(Self {
            offsets,
            validity: validity.then_some(start),
            strings: Strings { body, offsets: start + bitmap, count },
        })
    }

    /// Appends the strings of the list at `row`.
    fn append(&self, row: usize, out: &mut LargeStringBuilder) -> Result<()> {
        let body = &self.strings.body;
        let from = body.position(self.offsets + row * 8)?;
        let to = body.position(self.offsets + row * 8 + 8)?;
        if from > to || to > self.strings.count {
            return Err(body.section.corrupt("offsets of a list descend"));
        }
        for index in from..to {
            let valid = match self.validity {
                Some(bitmap) => body.bit(bitmap, index)?,
                None => true,
            };
            out.append_option(if valid { Some(self.strings.at(index)?) } else { None });
        }
        Ok(())
    }
}
