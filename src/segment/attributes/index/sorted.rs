//! Rows in the order of their values.
//!
//! A search finds its place among the keys of every 64th value first, then by the values themselves,
//! which are read in the column.

use std::ops::Range;

use super::keys::{float_key, int_key, text_key};
use super::{STEP, u64_at};
use crate::bytes::view;
use crate::error::Result;
use crate::filter::{Asked, Check, KeySet, Limit, TextSet};
use crate::segment::attributes::AttributeFile;
use crate::storage::container::Section;
use crate::types::{Column, DataType, Row};

/// One in so many rows found makes bits quicker than sorting.
const DENSE_SHARE: usize = 512;
/// Sets of more values are looked up in the column.
const MOST_VALUES: usize = 64;
const HEADER_BYTES: usize = 24;

/// A sorted index. `values + nans + nulls` are the rows of the segment.
#[derive(Debug)]
pub(super) struct Sorted {
    values: usize,
    nans: usize,
    total: usize,
    /// Where the keys are, and where the rows are.
    keys: usize,
    rows: usize,
}

/// The column that is sorted.
pub(super) struct Values<'a> {
    pub(super) file: &'a AttributeFile,
    pub(super) column: &'a Column,
}

/// What a range of values begins or ends at.
#[derive(Clone, Copy)]
enum Edge<'a> {
    Key(u64),
    Text(&'a str),
    /// Behind all that begin with it.
    Behind(&'a str),
}

impl Edge<'_> {
    /// Keys below the first are before the edge, keys above the second are behind it.
    fn keys(self) -> (u64, u64) {
        match self {
            Self::Key(key) => (key, key),
            Self::Text(text) => (text_key(text), text_key(text)),
            Self::Behind(prefix) => {
                let low = text_key(prefix);
                let bits = u32::try_from(prefix.len().min(8) * 8).unwrap_or(64);
                (low, low | u64::MAX.checked_shr(bits).unwrap_or(0))
            }
        }
    }
}

impl Sorted {
    /// Reads the header of a body; `None` unless it fills the body.
    pub(super) fn parse(
        section: &Section,
        body: Range<usize>,
        total: usize,
    ) -> Result<Option<Self>> {
        if body.len() < HEADER_BYTES {
            return Ok(None);
        }
        let header = section.read(body.start, HEADER_BYTES)?;
        let number = |at| usize::try_from(u64_at(header, at)).unwrap_or(usize::MAX);
        let (values, nans, nulls) = (number(0), number(8), number(16));
        let all = values.checked_add(nans).and_then(|some| some.checked_add(nulls));
        let keys = body.start + HEADER_BYTES;
        let len = HEADER_BYTES
            + values.div_ceil(STEP).saturating_mul(8)
            + (total * 4).next_multiple_of(8);
        if all != Some(total) || len != body.len() {
            return Ok(None);
        }
        let rows = keys + values.div_ceil(STEP) * 8;
        Ok(Some(Self { values, nans, total, keys, rows }))
    }

    /// The rows for which what is asked holds; `None` where an order does not tell.
    pub(super) fn serve<'a>(
        &self,
        section: &'a Section,
        values: &Values<'_>,
        asked: Asked<'_>,
    ) -> Result<Option<Runs<'a>>> {
        let rows: &[Row] = view(section.read(self.rows, self.total * 4)?);
        if rows.len() != self.total {
            return Err(section.corrupt("rows of an index are not aligned"));
        }
        let present = self.values + self.nans;
        let (runs, wanted) = match asked {
            Asked::Null { wanted: true } => (vec![present..self.total], true),
            Asked::Null { wanted: false } => (vec![0..present], true),
            Asked::Check { check, wanted } => {
                let place = Place { sorted: self, section, values, rows };
                let Some(runs) = place.runs(check)? else { return Ok(None) };
                (runs, wanted)
            }
        };
        let runs = if wanted { runs } else { gaps(&runs, present) };
        Ok(Some(Runs { section, rows, runs }))
    }
}

/// What is below `end` and in none of `runs`, which ascend.
fn gaps(runs: &[Range<usize>], end: usize) -> Vec<Range<usize>> {
    let mut from = 0;
    let mut gaps = Vec::with_capacity(runs.len() + 1);
    for run in runs {
        gaps.push(from..run.start);
        from = run.end;
    }
    gaps.push(from..end);
    gaps
}

/// Where values are looked for.
struct Place<'a> {
    sorted: &'a Sorted,
    section: &'a Section,
    values: &'a Values<'a>,
    rows: &'a [Row],
}

impl Place<'_> {
    /// The ranges of places for which the check holds, ascending.
    fn runs(&self, check: &Check) -> Result<Option<Vec<Range<usize>>>> {
        let end = self.sorted.values;
        let text = self.values.column.data_type == DataType::Utf8;
        let of_text = |limit: &Limit, behind: bool, without: usize| match &limit.text {
            Some(text) => self.find(Edge::Text(text), behind),
            None => Ok(without),
        };
        Ok(Some(match check {
            Check::Keys { low, high } if low <= high => vec![self.between(*low, *high)?],
            Check::Floats { low, high } if low <= high => {
                vec![self.between(float_key(*low), float_key(*high))?]
            }
            Check::Keys { .. } | Check::Floats { .. } => Vec::new(),
            Check::KeyIn(keys) => match keys {
                KeySet::Few(keys) => {
                    keys.iter().map(|key| self.between(*key, *key)).collect::<Result<_>>()?
                }
                _ => return Ok(None),
            },
            Check::FloatIn(KeySet::Few(bits)) => {
                let mut keys: Vec<u64> =
                    bits.iter().map(|bits| float_key(f64::from_bits(*bits))).collect();
                keys.sort_unstable();
                keys.into_iter().map(|key| self.between(key, key)).collect::<Result<_>>()?
            }
            Check::Text { low, high } if text => {
                let (from, to) = (of_text(low, low.open, 0)?, of_text(high, !high.open, end)?);
                vec![from..to.max(from)]
            }
            Check::TextIn(set) if text => {
                let mut texts: Vec<&str> = match set {
                    TextSet::Few(few) => few.iter().map(AsRef::as_ref).collect(),
                    TextSet::Many(many) if many.len() <= MOST_VALUES => {
                        many.iter().map(AsRef::as_ref).collect()
                    }
                    TextSet::Many(_) => return Ok(None),
                };
                texts.sort_unstable();
                let run = |text: &&str| {
                    Ok(self.find(Edge::Text(text), false)?..self.find(Edge::Text(text), true)?)
                };
                texts.iter().map(run).collect::<Result<_>>()?
            }
            Check::Prefix(prefix) if text => {
                let from = self.find(Edge::Text(prefix), false)?;
                let to = self.find(Edge::Behind(prefix), true)?;
                vec![from..to.max(from)]
            }
            _ => return Ok(None),
        }))
    }

    fn between(&self, low: u64, high: u64) -> Result<Range<usize>> {
        let from = self.find(Edge::Key(low), false)?;
        let to = self.find(Edge::Key(high), true)?;
        Ok(from..to.max(from))
    }

    /// How many values are before the edge, or before and at it.
    fn find(&self, edge: Edge<'_>, at_too: bool) -> Result<usize> {
        let Sorted { values, keys, .. } = *self.sorted;
        let keys: &[u64] = view(self.section.read(keys, values.div_ceil(STEP) * 8)?);
        let (before, behind) = edge.keys();
        // The first of a step is before the edge, that of the step after the last is behind it.
        let first = keys.partition_point(|key| u64::from_le(*key) < before);
        let last = keys.partition_point(|key| u64::from_le(*key) <= behind);
        let mut from = (first.saturating_sub(1) * STEP).min(values);
        let mut to = last.saturating_mul(STEP).min(values);
        while from < to {
            let middle = from + (to - from) / 2;
            let row = self.rows[middle];
            if self.is_before(row, edge, at_too)? { from = middle + 1 } else { to = middle }
        }
        Ok(from)
    }

    fn is_before(&self, row: Row, edge: Edge<'_>, at_too: bool) -> Result<bool> {
        let Values { file, column } = self.values;
        let key = match edge {
            Edge::Text(edge) => {
                let text = file.text_at(column, row)?;
                return Ok(if at_too { text <= edge } else { text < edge });
            }
            Edge::Behind(prefix) => {
                let text = file.text_at(column, row)?;
                return Ok(text < prefix || text.starts_with(prefix));
            }
            Edge::Key(key) => key,
        };
        let number = file.number_at(column, row)?;
        let own = match column.data_type {
            DataType::Float64 => float_key(f64::from_bits(number)),
            _ => int_key(number.cast_signed()),
        };
        Ok(if at_too { own <= key } else { own < key })
    }
}

/// Runs of an order of rows.
#[derive(Debug)]
pub(super) struct Runs<'a> {
    section: &'a Section,
    rows: &'a [Row],
    /// Ascending.
    runs: Vec<Range<usize>>,
}

impl Runs<'_> {
    pub(super) fn len(&self) -> usize {
        self.runs.iter().map(Range::len).sum()
    }

    fn slices(&self) -> impl Iterator<Item = &[Row]> {
        self.runs.iter().filter_map(|run| self.rows.get(run.clone()))
    }

    /// All of them, ascending.
    pub(super) fn rows(&self, total: usize) -> Result<Vec<Row>> {
        let count = self.len();
        if count > total / DENSE_SHARE {
            let words = self.words(total)?;
            let mut rows = Vec::with_capacity(count);
            crate::filter::for_each(&words, |row| {
                rows.push(Row::try_from(row).unwrap_or(Row::MAX))
            });
            return Ok(rows);
        }
        let mut rows = Vec::with_capacity(count);
        self.slices().for_each(|slice| rows.extend_from_slice(slice));
        // Rows of one value stand in order already.
        if !rows.is_sorted() {
            rows.sort_unstable();
        }
        match rows.last() {
            Some(last) if *last as usize >= total => Err(self.outside()),
            _ => Ok(rows),
        }
    }

    pub(super) fn words(&self, total: usize) -> Result<Vec<u64>> {
        let mut words = vec![0u64; total.div_ceil(64)];
        let mut most = 0;
        for row in self.slices().flatten() {
            most = most.max(*row);
            if let Some(word) = words.get_mut(*row as usize / 64) {
                *word |= 1 << (row % 64);
            }
        }
        if most as usize >= total && self.len() > 0 { Err(self.outside()) } else { Ok(words) }
    }

    fn outside(&self) -> crate::error::Error {
        self.section.corrupt("an index names a row that is not there")
    }
}
