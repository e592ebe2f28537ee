//! Makes the indexes of a file that is being written, one column after the other.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, LargeStringArray};
use arrow_schema::SchemaRef;
use roaring::RoaringBitmap;

use super::keys::{float_key, int_key, text_key};
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

/// The index section of the columns of `schema`, whose groups lie in `blocks` one behind the other.
pub(in super::super) fn build(
    blocks: &[u8],
    groups: &[Range<usize>],
    rows: usize,
    schema: &SchemaRef,
) -> Result<Vec<u8>> {
    let groups = groups.iter().map(|range| blocks.get(range.clone()).unwrap_or_default());
    let groups: Vec<&[u8]> = groups.collect();
    let count = small(groups.len())?;
    let mut directory = Vec::new();
    let mut bodies = Vec::new();
    for field in schema.fields() {
        let Some(data_type) = data_type_of(field.data_type()) else { continue };
        let mut column = Values { name: field.name(), groups: &groups, data_type, rows };
        let (kind, body) = column.index()?;
        directory.extend_from_slice(&(body.len() as u64).to_le_bytes());
        directory.extend_from_slice(&small(field.name().len())?.to_le_bytes());
        directory.extend_from_slice(&[type_code(data_type), kind, 0, 0]);
        directory.extend_from_slice(field.name().as_bytes());
        pad(&mut directory);
        bodies.push(body);
    }
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&(rows as u64).to_le_bytes());
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&small(bodies.len())?.to_le_bytes());
    out.extend_from_slice(&directory);
    bodies.iter().for_each(|body| out.extend_from_slice(body));
    Ok(out)
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

/// A column, group by group.
struct Values<'a> {
    name: &'a str,
    groups: &'a [&'a [u8]],
    data_type: DataType,
    rows: usize,
}

/// The values of a column: keys by row, and what has none.
#[derive(Default)]
struct Sortable {
    keys: Vec<(u64, Row)>,
    nans: Vec<Row>,
    nulls: Vec<Row>,
}

/// A run of rows with the same value.
type Run = Range<usize>;

impl Values<'_> {
    fn group(&self, block: &[u8]) -> Result<ArrayRef> {
        let front = Directory::front_len(block, block.len()).map_err(malformed)?;
        let directory = Directory::parse(&block[..front], block.len()).map_err(malformed)?;
        let entry = directory.columns.iter().find(|column| column.name == self.name);
        let entry = entry.ok_or_else(|| Error::invalid("a group lacks a column of its file"))?;
        let body = &block[entry.start..entry.start + entry.len];
        columns::decode_column(entry, directory.rows, body).map_err(malformed)
    }

    /// Kind and body of the index.
    fn index(&mut self) -> Result<(u8, Vec<u8>)> {
        match self.data_type {
            DataType::ListUtf8 => return self.list_index(),
            DataType::Sparse => return self.zones_only(),
            _ => {}
        }
        let mut values = Sortable::default();
        let mut texts: Vec<LargeStringArray> = Vec::new();
        let mut body = Vec::new();
        let (mut first, mut text_bytes) = (0, 0);
        let sorted = self.rows <= MOST_SORTED;
        for block in self.groups {
            let array = self.group(block)?;
            body.extend_from_slice(&zone(&array, self.data_type).to_bytes());
            if sorted {
                values.take(&array, self.data_type, first);
            }
            if let (DataType::Utf8, true) = (self.data_type, sorted) {
                text_bytes += array.as_string::<i64>().value_data().len();
                texts.push(array.as_string::<i64>().clone());
            }
            first += array.len();
            if text_bytes > MEAN_TEXT_BYTES * self.rows {
                // What is left needs its zones alone.
                return self.zones_only();
            }
        }
        if !sorted {
            return Ok((ZONES, body));
        }
        let texts = Texts::new(texts);
        values.sort(&texts);
        let runs = values.runs(&texts);
        let few = runs.len() <= MOST_BITMAPS.min(self.rows / ROWS_PER_BITMAP);
        let dictionary: usize = match self.data_type {
            DataType::Utf8 => runs.iter().map(|run| texts.at(values.keys[run.start].1).len()).sum(),
            _ => 0,
        };
        if few && dictionary <= DICTIONARY_BYTES {
            let dictionary = self.dictionary(&values, &texts, &runs)?;
            let mut bitmaps = Vec::new();
            for run in &runs {
                // Rows of one value ascend.
                bitmaps.push(bitmap(values.keys[run.clone()].iter().map(|(_, row)| *row))?);
            }
            push_bitmaps(&mut body, &dictionary, bitmaps, &values.nulls)?;
            return Ok((BITMAPS, body));
        }
        values.push(&mut body);
        Ok((SORTED, body))
    }

    fn zones_only(&self) -> Result<(u8, Vec<u8>)> {
        let mut body = Vec::new();
        for block in self.groups {
            body.extend_from_slice(&zone(&self.group(block)?, self.data_type).to_bytes());
        }
        Ok((ZONES, body))
    }

    /// One value of each run, in order.
    fn dictionary(&self, values: &Sortable, texts: &Texts, runs: &[Run]) -> Result<ArrayRef> {
        let firsts = runs.iter().map(|run| values.keys[run.start].1);
        if self.data_type == DataType::Utf8 {
            let texts = firsts.map(|row| Some(texts.at(row)));
            return Ok(Arc::new(texts.collect::<LargeStringArray>()));
        }
        let (mut arrays, mut picks) = (Vec::new(), Vec::new());
        let mut first = 0;
        let mut wanted: Vec<(Row, usize)> = firsts.zip(0..).collect();
        wanted.sort_unstable();
        let mut wanted = wanted.into_iter().peekable();
        for block in self.groups {
            let array = self.group(block)?;
            let end = first + array.len();
            while let Some((row, at)) = wanted.next_if(|(row, _)| (*row as usize) < end) {
                picks.push((at, (arrays.len(), Row::try_from(row as usize - first).unwrap_or(0))));
            }
            first = end;
            let schema = columns::arrow_schema([("", self.data_type)].into_iter());
            let rows = array.len();
            arrays.push(columns::assemble(schema, vec![array], rows)?);
        }
        picks.sort_unstable();
        let picks: Vec<_> = picks.into_iter().map(|(_, pick)| pick).collect();
        let schema = columns::arrow_schema([("", self.data_type)].into_iter());
        let batch = columns::gather(&schema, &arrays.iter().collect::<Vec<_>>(), &picks)?;
        Ok(ArrayRef::clone(batch.column(0)))
    }

    fn list_index(&self) -> Result<(u8, Vec<u8>)> {
        let mut body = Vec::new();
        let mut nulls = Vec::new();
        let mut found: Option<BTreeMap<String, RoaringBitmap>> = Some(BTreeMap::new());
        let (mut bytes, mut first) = (0, 0);
        for block in self.groups {
            let array = self.group(block)?;
            body.extend_from_slice(&zone(&array, self.data_type).to_bytes());
            let lists = array.as_list::<i64>();
            for (row, list) in (first..).zip(lists.iter()) {
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
        let Some(found) = found else { return Ok((ZONES, body)) };
        let texts: LargeStringArray = found.keys().map(|text| Some(text.as_str())).collect();
        let bitmaps = found.into_values().map(|rows| serialized(&rows));
        let bitmaps = bitmaps.collect::<Result<_>>()?;
        push_bitmaps(&mut body, &(Arc::new(texts) as ArrayRef), bitmaps, &nulls)?;
        Ok((BITMAPS, body))
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
fn for_keys(array: &ArrayRef, data_type: DataType, mut each: impl FnMut(usize, Option<u64>)) {
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

/// Strings of all rows.
struct Texts {
    arrays: Vec<(usize, LargeStringArray)>,
}

impl Texts {
    fn new(arrays: Vec<LargeStringArray>) -> Self {
        let mut first = 0;
        let arrays = arrays.into_iter().map(|array| {
            let place = first;
            first += array.len();
            (place, array)
        });
        Self { arrays: arrays.collect() }
    }

    /// The string of a row; empty of columns without.
    fn at(&self, row: Row) -> &str {
        let behind = self.arrays.partition_point(|(first, _)| *first <= row as usize);
        match self.arrays.get(behind.wrapping_sub(1)) {
            Some((first, array)) => array.value(row as usize - first),
            None => "",
        }
    }
}

impl Sortable {
    fn take(&mut self, array: &ArrayRef, data_type: DataType, first: usize) {
        let row = |at: usize| Row::try_from(first + at).unwrap_or(Row::MAX);
        let Self { keys, nans, nulls } = self;
        keys.reserve(array.len());
        for_keys(array, data_type, |at, key| match key {
            Some(key) => keys.push((key, row(at))),
            None => nans.push(row(at)),
        });
        if array.null_count() > 0 {
            nulls.extend((0..array.len()).filter(|at| array.is_null(*at)).map(row));
        }
    }

    /// Sorts by value and row; texts with the same key by all of them.
    fn sort(&mut self, texts: &Texts) {
        self.keys.sort_unstable();
        if !texts.arrays.is_empty() {
            for same in self.keys.chunk_by_mut(|a, b| a.0 == b.0) {
                same.sort_by(|a, b| texts.at(a.1).cmp(texts.at(b.1)));
            }
        }
    }

    /// Ranges of the same value, up to one more than could have bitmaps.
    fn runs(&self, texts: &Texts) -> Vec<Run> {
        let mut from = 0;
        let same = |a: &(u64, Row), b: &(u64, Row)| a.0 == b.0 && texts.at(a.1) == texts.at(b.1);
        let runs = self.keys.chunk_by(same).map(|run| {
            let range = from..from + run.len();
            from = range.end;
            range
        });
        runs.take(MOST_BITMAPS + 1).collect()
    }

    /// Writes the body of a sorted index.
    fn push(&self, out: &mut Vec<u8>) {
        for count in [self.keys.len(), self.nans.len(), self.nulls.len()] {
            out.extend_from_slice(&(count as u64).to_le_bytes());
        }
        for (key, _) in self.keys.iter().step_by(STEP) {
            out.extend_from_slice(&key.to_le_bytes());
        }
        let rows = self.keys.iter().map(|(_, row)| row);
        for row in rows.chain(&self.nans).chain(&self.nulls) {
            out.extend_from_slice(&row.to_le_bytes());
        }
        pad(out);
    }
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

/// Writes the body of bitmaps.
fn push_bitmaps(
    out: &mut Vec<u8>,
    dictionary: &ArrayRef,
    mut bitmaps: Vec<Vec<u8>>,
    nulls: &[Row],
) -> Result<()> {
    let Some(data_type) = data_type_of(dictionary.data_type()) else {
        return Err(Error::invalid("a dictionary of values that no column has"));
    };
    let schema = columns::arrow_schema([("", data_type)].into_iter());
    let values = dictionary.len();
    let batch = columns::assemble(schema, vec![ArrayRef::clone(dictionary)], values)?;
    let mut block = Vec::new();
    columns::encode(&batch, &mut block)?;
    bitmaps.push(bitmap(nulls.iter().copied())?);
    for count in [values, nulls.len(), block.len()] {
        out.extend_from_slice(&(count as u64).to_le_bytes());
    }
    let mut end = 0;
    for bytes in &bitmaps {
        end += bytes.len() as u64;
        out.extend_from_slice(&end.to_le_bytes());
        out.extend_from_slice(&count_of(bytes).to_le_bytes());
    }
    out.extend_from_slice(&block);
    bitmaps.iter().for_each(|bytes| out.extend_from_slice(bytes));
    pad(out);
    Ok(())
}

/// How many rows a serialized bitmap has: the sum of what its containers say.
fn count_of(bytes: &[u8]) -> u64 {
    let containers = bytes.get(4..8).and_then(|bytes| bytes.first_chunk());
    let containers = containers.map_or(0, |bytes| u32::from_le_bytes(*bytes) as usize);
    let counts = bytes.get(8..8 + containers * 4).unwrap_or_default().as_chunks::<4>().0;
    counts.iter().map(|entry| u64::from(u16::from_le_bytes([entry[2], entry[3]])) + 1).sum()
}
