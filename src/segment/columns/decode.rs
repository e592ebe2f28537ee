//! Bytes to columns, trusting nothing. See the module above for the picture.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int64Array, LargeListArray, LargeStringArray,
    RecordBatch, TimestampMicrosecondArray,
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType as ArrowType, Field};

use super::{
    FLAG_CHILD_VALIDITY, FLAG_VALIDITY, MAGIC, MAX_ROWS, arrow_schema, assemble, padded,
    type_of_code,
};
use crate::types::DataType;
use crate::types::sparse::{MAX_SPARSE_WEIGHTS, list};

/// What is wrong with a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

type Decoded<T> = std::result::Result<T, Malformed>;

/// Bytes before the directory.
pub(crate) const HEADER_BYTES: usize = 24;
/// Bytes of a directory entry before its name.
const ENTRY_BYTES: usize = 16;

/// Decodes a whole block.
pub(crate) fn decode(bytes: &[u8]) -> Decoded<RecordBatch> {
    let front = Directory::front_len(bytes, bytes.len())?;
    let directory = Directory::parse(&bytes[..front], bytes.len())?;
    let schema = arrow_schema(directory.columns.iter().map(|c| (c.name.as_str(), c.data_type)));
    let mut columns = Vec::with_capacity(directory.columns.len());
    for column in &directory.columns {
        let body = &bytes[column.start..column.start + column.len];
        columns.push(decode_column(column, directory.rows, body)?);
    }
    assemble(schema, columns, directory.rows).map_err(|_arrow| Malformed("columns do not agree"))
}

/// One column of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ColumnEntry {
    pub(crate) name: String,
    pub(crate) data_type: DataType,
    /// Whether the body starts with a validity bitmap.
    pub(crate) validity: bool,
    /// Whether the strings of a list column have a validity bitmap.
    pub(crate) child_validity: bool,
    /// Start of the body, from the start of the block.
    pub(crate) start: usize,
    /// Length of the body.
    pub(crate) len: usize,
}

/// What a block holds and where. Bodies lie inside the block, without gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Directory {
    pub(crate) rows: usize,
    pub(crate) columns: Vec<ColumnEntry>,
}

impl Directory {
    /// Length of header and directory together, read from the first [`HEADER_BYTES`] of a block
    /// of `total` bytes; at most `total`.
    pub(crate) fn front_len(header: &[u8], total: usize) -> Decoded<usize> {
        let mut bytes = Bytes(header);
        if bytes.take(4)? != MAGIC {
            return Err(Malformed("not a block of columns"));
        }
        bytes.take(12)?;
        let front = bytes.u64()?.checked_add(HEADER_BYTES as u64);
        match front.and_then(|front| usize::try_from(front).ok()) {
            Some(front) if front <= total && front.is_multiple_of(8) => Ok(front),
            _ => Err(Malformed("the directory exceeds the block")),
        }
    }

    /// Parses header and directory (`front`) of a block of `total` bytes.
    pub(crate) fn parse(front: &[u8], total: usize) -> Decoded<Self> {
        match Self::parse_first(front, total)? {
            (directory, len) if len == total => Ok(directory),
            _ => Err(Malformed("columns do not fill the block")),
        }
    }

    /// Parses header and directory of the block that begins `total` bytes; also its length.
    pub(crate) fn parse_first(front: &[u8], total: usize) -> Decoded<(Self, usize)> {
        let mut bytes = Bytes(front);
        bytes.take(4)?;
        let count = bytes.u32()?;
        let rows = usize::try_from(bytes.u64()?).unwrap_or(usize::MAX);
        if rows > MAX_ROWS {
            return Err(Malformed("too many rows"));
        }
        bytes.take(8)?;
        let mut columns = Vec::new();
        let mut names = BTreeSet::new();
        let mut start = front.len();
        for _ in 0..count {
            let column = Self::entry(&mut bytes, start, total)?;
            start += column.len;
            if !names.insert(column.name.clone()) {
                return Err(Malformed("two columns have the same name"));
            }
            columns.push(column);
        }
        if !bytes.0.is_empty() {
            return Err(Malformed("the directory exceeds its columns"));
        }
        Ok((Self { rows, columns }, start))
    }

    fn entry(bytes: &mut Bytes<'_>, start: usize, total: usize) -> Decoded<ColumnEntry> {
        let mut fixed = Bytes(bytes.take(ENTRY_BYTES)?);
        let len = usize::try_from(fixed.u64()?).unwrap_or(usize::MAX);
        let name_len = fixed.u32()? as usize;
        let (code, flags) = match fixed.0 {
            [code, flags, 0, 0] => (*code, *flags),
            _ => return Err(Malformed("unknown column flags")),
        };
        let data_type = type_of_code(code).ok_or(Malformed("unknown column type"))?;
        let list = data_type == DataType::ListUtf8;
        let known = FLAG_VALIDITY | if list { FLAG_CHILD_VALIDITY } else { 0 };
        if flags & !known != 0 {
            return Err(Malformed("unknown column flags"));
        }
        if !len.is_multiple_of(8) || len > total - start {
            return Err(Malformed("a column exceeds the block"));
        }
        let name = std::str::from_utf8(bytes.padded(name_len)?)
            .map_err(|_utf8| Malformed("a column name is not UTF-8"))?;
        Ok(ColumnEntry {
            name: name.into(),
            data_type,
            validity: flags & FLAG_VALIDITY != 0,
            child_validity: flags & FLAG_CHILD_VALIDITY != 0,
            start,
            len,
        })
    }
}

/// Decodes one column from its body.
pub(crate) fn decode_column(entry: &ColumnEntry, rows: usize, body: &[u8]) -> Decoded<ArrayRef> {
    let mut bytes = Bytes(body);
    let nulls = bytes.validity(entry.validity, rows)?;
    let array: ArrayRef = match entry.data_type {
        DataType::Bool => Arc::new(BooleanArray::new(bytes.bits(rows)?, nulls)),
        DataType::Int64 => Arc::new(Int64Array::new(bytes.numbers(rows)?, nulls)),
        DataType::Float64 => Arc::new(Float64Array::new(bytes.numbers(rows)?, nulls)),
        DataType::Timestamp => {
            let values = bytes.numbers(rows)?;
            Arc::new(TimestampMicrosecondArray::new(values, nulls).with_timezone("UTC"))
        }
        DataType::Utf8 => Arc::new(bytes.strings(rows, nulls)?),
        DataType::ListUtf8 => {
            let offsets = bytes.offsets(rows)?;
            let children = offsets.last().and_then(|last| usize::try_from(*last).ok());
            let children = children.filter(|n| *n <= bytes.0.len()).ok_or(TOO_SHORT)?;
            let child_nulls = bytes.validity(entry.child_validity, children)?;
            let strings = bytes.strings(children, child_nulls)?;
            let item = Arc::new(Field::new("item", ArrowType::LargeUtf8, true));
            let list = LargeListArray::try_new(item, offsets, Arc::new(strings), nulls);
            Arc::new(list.map_err(|_arrow| Malformed("lists do not agree with their strings"))?)
        }
        DataType::Sparse => bytes.sparse(rows, nulls)?,
    };
    if !bytes.0.is_empty() {
        return Err(Malformed("a column is longer than its rows"));
    }
    debug_assert_eq!(array.len(), rows);
    Ok(array)
}

const TOO_SHORT: Malformed = Malformed("a column is shorter than its rows");

/// What is left to read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, len: usize) -> Decoded<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(len).ok_or(TOO_SHORT)?;
        self.0 = tail;
        Ok(head)
    }

    /// `len` bytes and the padding after them.
    fn padded(&mut self, len: usize) -> Decoded<&'a [u8]> {
        let whole = len.checked_next_multiple_of(8).ok_or(TOO_SHORT)?;
        Ok(&self.take(whole)?[..len])
    }

    fn u32(&mut self) -> Decoded<u32> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes(bytes.try_into().map_err(|_len| TOO_SHORT)?))
    }

    fn u64(&mut self) -> Decoded<u64> {
        let bytes = self.take(8)?;
        Ok(u64::from_le_bytes(bytes.try_into().map_err(|_len| TOO_SHORT)?))
    }

    fn bits(&mut self, count: usize) -> Decoded<BooleanBuffer> {
        let bytes = self.padded(count.div_ceil(8))?;
        Ok(BooleanBuffer::new(Buffer::from(bytes), 0, count))
    }

    fn validity(&mut self, present: bool, count: usize) -> Decoded<Option<NullBuffer>> {
        Ok(if present { Some(NullBuffer::new(self.bits(count)?)) } else { None })
    }

    fn numbers<T: arrow_buffer::ArrowNativeType>(
        &mut self,
        count: usize,
    ) -> Decoded<ScalarBuffer<T>> {
        let bytes = self.take(count.checked_mul(8).ok_or(TOO_SHORT)?)?;
        Ok(ScalarBuffer::new(Buffer::from(bytes), 0, count))
    }

    /// Offsets that start at 0 and never descend.
    fn offsets(&mut self, count: usize) -> Decoded<OffsetBuffer<i64>> {
        let values: ScalarBuffer<i64> = self.numbers(count + 1)?;
        if values.first() != Some(&0) || !values.is_sorted() {
            return Err(Malformed("offsets descend"));
        }
        Ok(OffsetBuffer::new(values))
    }

    /// Sparse vectors: offsets, then indices, then weights, each row in canonical form.
    fn sparse(&mut self, rows: usize, nulls: Option<NullBuffer>) -> Decoded<ArrayRef> {
        let offsets = self.offsets(rows)?;
        let total = offsets.last().and_then(|last| usize::try_from(*last).ok());
        let len = total.and_then(|total| total.checked_mul(4)).ok_or(TOO_SHORT)?;
        let words = |bytes: &[u8]| -> Vec<[u8; 4]> { bytes.as_chunks::<4>().0.to_vec() };
        let indices: Vec<u32> =
            words(self.padded(len)?).into_iter().map(u32::from_le_bytes).collect();
        let weights: Vec<f32> =
            words(self.padded(len)?).into_iter().map(f32::from_le_bytes).collect();
        let ends = offsets.windows(2).map(|two| (position(two[0]), position(two[1])));
        for (from, to) in ends {
            let ascending = indices[from..to].is_sorted_by(|a, b| a < b);
            if !ascending || to - from > MAX_SPARSE_WEIGHTS {
                return Err(Malformed("indices of a sparse vector do not ascend"));
            }
        }
        if !weights.iter().all(|weight| weight.is_finite() && *weight != 0.0) {
            return Err(Malformed("a weight of a sparse vector is zero or not finite"));
        }
        Ok(list(offsets, indices, weights, nulls))
    }

    /// Strings: offsets, then text that every offset cuts at a character boundary.
    fn strings(&mut self, count: usize, nulls: Option<NullBuffer>) -> Decoded<LargeStringArray> {
        let offsets = self.offsets(count)?;
        let end = offsets.last().and_then(|last| usize::try_from(*last).ok());
        let text = self.padded(end.ok_or(TOO_SHORT)?)?;
        let utf8 = std::str::from_utf8(text).map_err(|_utf8| Malformed("text is not UTF-8"))?;
        let cut = |offset: &i64| usize::try_from(*offset).is_ok_and(|o| utf8.is_char_boundary(o));
        if !offsets.iter().all(cut) {
            return Err(Malformed("an offset splits a character"));
        }
        LargeStringArray::try_new(offsets, Buffer::from(text), nulls)
            .map_err(|_arrow| Malformed("strings do not agree with their offsets"))
    }
}

fn position(offset: i64) -> usize {
    usize::try_from(offset).unwrap_or(0)
}

/// Padded length of a bitmap of `count` bits.
pub(crate) fn bitmap_bytes(count: usize) -> usize {
    padded(count.div_ceil(8))
}
