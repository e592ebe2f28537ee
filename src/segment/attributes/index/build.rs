//! Makes the indexes of a file that is being written, one column after the other.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int64Array, LargeStringArray,
    TimestampMicrosecondArray,
};
use arrow_schema::SchemaRef;
use roaring::RoaringBitmap;

use super::keys::{float_key, float_of_key, int_key, int_of_key, text_key};
use super::sort::{Run, Sortable};
use super::{BITMAPS, MAGIC, SORTED, STEP, VERSION, ZONES, Zone};
use crate::error::{Error, Result};
use crate::segment::columns::{self, Directory, Malformed, data_type_of, type_code};
use crate::types::{DataType, Row};

/// Most values of a column with bitmaps, and rows for each of them at least.
const MOST_BITMAPS: usize = 1_024;
const ROWS_PER_BITMAP: usize = 16;
/// Most different strings in lists that have bitmaps.
const MOST_LIST_BITMAPS: usize = 1 << 16;
/// Most bytes of the strings that have bitmaps.
const DICTIONARY_BYTES: usize = 1 << 20;
/// Rows from which on no column is sorted: more would take too much memory at once.
const MOST_SORTED: usize = 1 << 24;
/// Strings that are longer on average are read and not searched in order.
const MEAN_TEXT_BYTES: usize = 256;

/// Makes the indexes of the columns of `schema`, whose groups lie in `blocks`, and gives them to `write` in
/// pieces.
pub(in super::super) fn build(
    blocks: &[u8],
    groups: impl IntoIterator<Item = Range<usize>>,
    rows: usize,
    schema: &SchemaRef,
    write: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let groups = groups.into_iter().map(|range| blocks.get(range).unwrap_or_default());
    let groups: Vec<&[u8]> = groups.collect();
    let mut directory = Vec::new();
    let mut count = 0;
    for field in schema.fields() {
        let Some(data_type) = data_type_of(field.data_type()) else { continue };
        let column = Values { name: field.name(), groups: &groups, data_type, rows };
        let made = column.index()?;
        write(&made.body)?;
        made.describe(field.name(), data_type, &mut directory)?;
        count += 1;
    }
    let mut tail = (directory.len() as u64).to_le_bytes().to_vec();
    tail.extend_from_slice(&(rows as u64).to_le_bytes());
    tail.extend_from_slice(&small(groups.len())?.to_le_bytes());
    tail.extend_from_slice(&small(count)?.to_le_bytes());
    tail.extend_from_slice(&VERSION.to_le_bytes());
    tail.extend_from_slice(&MAGIC);
    write(&directory)?;
    write(&tail)
}

fn small(count: usize) -> Result<u32> {
    u32::try_from(count).map_err(|_large| Error::invalid("more columns or groups than a file has"))
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(8), 0);
}

fn malformed(error: Malformed) -> Error {
    Error::invalid(format!("a group that was just written cannot be read: {}", error.0))
}

/// The index of a column.
struct Made {
    kind: u8,
    values: usize,
    nulls: usize,
    dictionary: usize,
    zones: Vec<u8>,
    body: Vec<u8>,
}

impl Made {
    fn new(zones: Vec<u8>) -> Self {
        Self { kind: ZONES, values: 0, nulls: 0, dictionary: 0, zones, body: Vec::new() }
    }

    /// Appends its entry to the directory.
    fn describe(&self, name: &str, data_type: DataType, out: &mut Vec<u8>) -> Result<()> {
        for number in [self.body.len(), self.values, self.nulls, self.dictionary] {
            out.extend_from_slice(&(number as u64).to_le_bytes());
        }
        out.extend_from_slice(&small(name.len())?.to_le_bytes());
        out.extend_from_slice(&[type_code(data_type), self.kind, 0, 0]);
        out.extend_from_slice(name.as_bytes());
        pad(out);
        out.extend_from_slice(&self.zones);
        Ok(())
    }

    /// With a sorted index.
    fn sorted(mut self, values: &Sortable, data_type: DataType) -> Self {
        let Sortable { values: placed, nans, nulls, .. } = values;
        (self.kind, self.values, self.nulls) = (SORTED, placed.len(), nulls.len());
        for place in (0..placed.len()).step_by(STEP) {
            let key = match data_type {
                DataType::Utf8 => text_key(values.text(place)),
                _ => placed[place].key,
            };
            self.body.extend_from_slice(&key.to_le_bytes());
        }
        let rows = placed.iter().map(|placed| &placed.row);
        for row in rows.chain(nans).chain(nulls) {
            self.body.extend_from_slice(&row.to_le_bytes());
        }
        pad(&mut self.body);
        self
    }

    /// With a bitmap for each value of `dictionary`.
    fn bitmaps(
        mut self,
        dictionary: ArrayRef,
        mut bitmaps: Vec<Vec<u8>>,
        nulls: &[Row],
    ) -> Result<Self> {
        let Some(data_type) = data_type_of(dictionary.data_type()) else {
            return Err(Error::invalid("a dictionary of values that no column has"));
        };
        let schema = columns::arrow_schema([("", data_type)].into_iter());
        (self.kind, self.values, self.nulls) = (BITMAPS, dictionary.len(), nulls.len());
        let batch = columns::assemble(schema, vec![dictionary], self.values)?;
        let mut block = Vec::new();
        columns::encode(&batch, &mut block)?;
        self.dictionary = block.len();
        bitmaps.push(bitmap(nulls.iter().copied())?);
        let mut end = 0;
        for bytes in &bitmaps {
            end += bytes.len() as u64;
            self.body.extend_from_slice(&end.to_le_bytes());
            self.body.extend_from_slice(&count_of(bytes).to_le_bytes());
        }
        self.body.extend_from_slice(&block);
        bitmaps.iter().for_each(|bytes| self.body.extend_from_slice(bytes));
        pad(&mut self.body);
        Ok(self)
    }
}

/// A column, group by group.
struct Values<'a> {
    name: &'a str,
    groups: &'a [&'a [u8]],
    data_type: DataType,
    rows: usize,
}

impl Values<'_> {
    fn group(&self, block: &[u8]) -> Result<ArrayRef> {
        let front = Directory::front_len(block, block.len()).map_err(malformed)?;
        let directory = Directory::parse(&block[..front], block.len()).map_err(malformed)?;
        let entry = directory.columns.iter().find(|column| column.name == self.name);
        let entry = entry.ok_or_else(|| Error::invalid("a group lacks a column of its file"))?;
        let body = &block[entry.start..entry.start + entry.len];
        columns::decode_column(entry, directory.rows, body).map_err(malformed)
    }

    fn index(&self) -> Result<Made> {
        if self.data_type == DataType::ListUtf8 {
            return self.list_index();
        }
        let sorted = self.data_type != DataType::Sparse && self.rows <= MOST_SORTED;
        let mut values = sorted.then(Sortable::default);
        let mut zones = Vec::new();
        let (mut first, mut text_bytes) = (0, 0);
        for block in self.groups {
            let array = self.group(block)?;
            zones.extend_from_slice(&zone(&array, self.data_type).to_bytes());
            if let Some(array) = array.as_string_opt::<i64>() {
                text_bytes += array.value_data().len();
            }
            if text_bytes > MEAN_TEXT_BYTES.saturating_mul(self.rows) {
                values = None;
            }
            if let Some(values) = &mut values {
                values.take(&array, self.data_type, first);
            }
            first += array.len();
        }
        let made = Made::new(zones);
        let Some(mut values) = values else { return Ok(made) };
        values.sort();
        let most = match self.data_type {
            DataType::Bool => 2,
            _ => MOST_BITMAPS.min(self.rows / ROWS_PER_BITMAP),
        };
        let runs = values.runs(most + 1);
        let bytes = runs.iter().map(|run| values.text(run.start).len()).sum::<usize>();
        if runs.len() > most || bytes > DICTIONARY_BYTES {
            return Ok(made.sorted(&values, self.data_type));
        }
        // Rows of one value ascend.
        let rows = |run: &Run| bitmap(values.values[run.clone()].iter().map(|placed| placed.row));
        let bitmaps = runs.iter().map(rows).collect::<Result<_>>()?;
        made.bitmaps(self.dictionary(&values, &runs)?, bitmaps, &values.nulls)
    }

    /// The value of each run.
    fn dictionary(&self, values: &Sortable, runs: &[Run]) -> Result<ArrayRef> {
        let keys = runs.iter().map(|run| values.values[run.start].key);
        Ok(match self.data_type {
            DataType::Bool => Arc::new(keys.map(|key| Some(key == 1)).collect::<BooleanArray>()),
            DataType::Int64 => Arc::new(keys.map(int_of_key).collect::<Int64Array>()),
            DataType::Timestamp => {
                let times: TimestampMicrosecondArray = keys.map(int_of_key).map(Some).collect();
                Arc::new(times.with_timezone("UTC"))
            }
            DataType::Float64 => Arc::new(keys.map(float_of_key).collect::<Float64Array>()),
            DataType::Utf8 => {
                let texts = runs.iter().map(|run| Some(values.text(run.start)));
                Arc::new(texts.collect::<LargeStringArray>())
            }
            DataType::ListUtf8 | DataType::Sparse => {
                return Err(Error::invalid("a dictionary of values that have no order"));
            }
        })
    }

    fn list_index(&self) -> Result<Made> {
        let mut zones = Vec::new();
        let mut nulls = Vec::new();
        let mut found: Option<BTreeMap<String, RoaringBitmap>> = Some(BTreeMap::new());
        let (mut bytes, mut first) = (0, 0);
        for block in self.groups {
            let array = self.group(block)?;
            zones.extend_from_slice(&zone(&array, self.data_type).to_bytes());
            for (row, list) in (first..).zip(array.as_list::<i64>().iter()) {
                let Some(list) = list else {
                    nulls.push(row);
                    continue;
                };
                let Some(known) = &mut found else { continue };
                for text in list.as_string::<i64>().iter().flatten() {
                    if let Some(rows) = known.get_mut(text) {
                        rows.insert(row);
                    } else {
                        bytes += text.len();
                        known.insert(text.to_owned(), RoaringBitmap::from_iter([row]));
                    }
                }
                if known.len() > MOST_LIST_BITMAPS || bytes > DICTIONARY_BYTES {
                    found = None;
                }
            }
            first += Row::try_from(array.len()).unwrap_or(Row::MAX);
        }
        let made = Made::new(zones);
        let Some(found) = found else { return Ok(made) };
        let texts: LargeStringArray = found.keys().map(|text| Some(text.as_str())).collect();
        let bitmaps = found.into_values().map(|rows| serialized(&rows));
        made.bitmaps(Arc::new(texts), bitmaps.collect::<Result<_>>()?, &nulls)
    }
}

impl Zone {
    fn to_bytes(self) -> Vec<u8> {
        let mut bytes = self.least.to_le_bytes().to_vec();
        bytes.extend_from_slice(&self.most.to_le_bytes());
        bytes.extend_from_slice(&self.nulls.to_le_bytes());
        bytes.extend_from_slice(&self.nans.to_le_bytes());
        bytes
    }

    fn add(&mut self, key: Option<u64>) {
        match key {
            Some(key) => {
                self.least = self.least.min(key);
                self.most = self.most.max(key);
            }
            None => self.nans += 1,
        }
    }
}

/// Calls `each` with the place and the key of each value; without a key for NaN.
pub(super) fn for_keys(
    array: &ArrayRef,
    data_type: DataType,
    mut each: impl FnMut(usize, Option<u64>),
) {
    let mut valid = |at: usize, key: Option<u64>| {
        if array.is_valid(at) {
            each(at, key);
        }
    };
    let ints = |values: &[i64], valid: &mut dyn FnMut(usize, Option<u64>)| {
        values.iter().enumerate().for_each(|(at, value)| valid(at, Some(int_key(*value))));
    };
    match data_type {
        DataType::Bool => {
            let values = array.as_boolean().values();
            values.iter().enumerate().for_each(|(at, value)| valid(at, Some(u64::from(value))));
        }
        DataType::Int64 => ints(array.as_primitive::<Int64Type>().values(), &mut valid),
        DataType::Timestamp => {
            ints(array.as_primitive::<TimestampMicrosecondType>().values(), &mut valid);
        }
        DataType::Float64 => {
            let values = array.as_primitive::<Float64Type>().values();
            values.iter().enumerate().for_each(|(at, value)| {
                valid(at, (!value.is_nan()).then(|| float_key(*value)));
            });
        }
        DataType::Utf8 => {
            let texts = array.as_string::<i64>();
            (0..texts.len()).for_each(|at| valid(at, Some(text_key(texts.value(at)))));
        }
        // Of these only whether they are there counts.
        DataType::ListUtf8 | DataType::Sparse => (0..array.len()).for_each(|at| valid(at, Some(0))),
    }
}

fn zone(array: &ArrayRef, data_type: DataType) -> Zone {
    let mut zone = Zone { nulls: u32::try_from(array.null_count()).unwrap_or(0), ..Zone::EMPTY };
    for_keys(array, data_type, |_, key| zone.add(key));
    zone
}

fn bitmap(rows: impl Iterator<Item = Row>) -> Result<Vec<u8>> {
    serialized(
        &RoaringBitmap::from_sorted_iter(rows)
            .map_err(|_order| Error::invalid("rows of a value do not ascend"))?,
    )
}

fn serialized(bitmap: &RoaringBitmap) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(bitmap.serialized_size());
    bitmap
        .serialize_into(&mut bytes)
        .map_err(|error| Error::invalid(format!("a bitmap cannot be written: {error}")))?;
    Ok(bytes)
}

/// How many rows a serialized bitmap has: the sum of what its containers say.
fn count_of(bytes: &[u8]) -> u64 {
    let containers = bytes.get(4..8).and_then(|bytes| bytes.first_chunk());
    let containers = containers.map_or(0, |bytes| u32::from_le_bytes(*bytes) as usize);
    let counts = bytes.get(8..8 + containers * 4).unwrap_or_default().as_chunks::<4>().0;
    counts.iter().map(|entry| u64::from(u16::from_le_bytes([entry[2], entry[3]])) + 1).sum()
}
