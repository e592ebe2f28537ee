//! Rows in the order of their values.
//!
//! A search finds its place among the keys of every 64th value first, then by the values themselves,
//! which are read in the column.

use std::ops::Range;

use super::STEP;
use super::keys::{float_key, int_key, prefix_span, text_key};
use super::rows::{ascending, within};
use crate::bytes::view;
use crate::filter::{Asked, Check, Limit, TextSet};
use crate::segment::attributes::AttributeFile;
use crate::storage::container::Section;
use crate::types::{Column, DataType, Row};

/// Sets of more values are looked up in the column.
const MOST_VALUES: usize = 1_024;

/// A sorted index. Rows with NaN and without a value stand behind the `values`.
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
#[derive(Clone, Copy)]
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

impl Sorted {
    /// That of a body; `None` unless it fills the body.
    pub(super) fn new(
        body: Range<usize>,
        values: usize,
        nulls: usize,
        total: usize,
    ) -> Option<Self> {
        let nans = total.checked_sub(values)?.checked_sub(nulls)?;
        let keys_len = values.div_ceil(STEP) * 8;
        let fits = body.len() == keys_len + (total * 4).next_multiple_of(8);
        let (keys, rows) = (body.start, body.start + keys_len);
        fits.then_some(Self { values, nans, total, keys, rows })
    }

    /// The rows for which what is asked holds; `None` where an order does not tell.
    pub(super) fn serve<'a>(
        &self,
        section: &'a Section,
        values: Values<'_>,
        asked: Asked<'_>,
    ) -> Option<Runs<'a>> {
        let present = self.values + self.nans;
        let found = |runs| Some(Runs { section, start: self.rows, runs });
        match asked {
            Asked::Null { wanted: true } => found(one(present..self.total)),
            Asked::Null { wanted: false } => found(one(0..present)),
            Asked::Check { check, wanted } => {
                let runs = Place { sorted: self, section, values }.runs(check)?;
                found(if wanted { runs } else { gaps(&runs, present) })
            }
        }
    }
}

fn one(run: Range<usize>) -> Vec<Range<usize>> {
    vec![run]
}

/// What is below `end` and in none of `runs`, which ascend.
fn gaps(runs: &[Range<usize>], end: usize) -> Vec<Range<usize>> {
    let mut from = 0;
    let mut gaps = Vec::with_capacity(runs.len() + 1);
    for run in runs {
        gaps.push(from..run.start.max(from));
        from = run.end.max(from);
    }
    gaps.push(from..end.max(from));
    gaps
}

/// Where values are looked for.
struct Place<'a> {
    sorted: &'a Sorted,
    section: &'a Section,
    values: Values<'a>,
}

impl Place<'_> {
    /// The ranges of places for which the check holds, ascending.
    fn runs(&self, check: &Check) -> Option<Vec<Range<usize>>> {
        let key = |key: u64| self.between(Edge::Key(key), Edge::Key(key));
        Some(match (check, self.values.column.data_type) {
            (Check::Keys { low, high }, DataType::Int64 | DataType::Timestamp) => {
                vec![self.between(Edge::Key(*low), Edge::Key(*high))?]
            }
            (Check::KeyIn(keys), DataType::Int64 | DataType::Timestamp) => {
                keys.listed(MOST_VALUES)?.into_iter().map(key).collect::<Option<_>>()?
            }
            (Check::Floats { low, high }, DataType::Float64) if low <= high => {
                vec![self.between(Edge::Key(float_key(*low)), Edge::Key(float_key(*high)))?]
            }
            (Check::Floats { .. }, DataType::Float64) => Vec::new(),
            (Check::FloatIn(bits), DataType::Float64) => {
                let bits = bits.listed(MOST_VALUES)?.into_iter();
                let mut keys: Vec<u64> = bits.map(|bits| float_key(f64::from_bits(bits))).collect();
                keys.sort_unstable();
                keys.into_iter().map(key).collect::<Option<_>>()?
            }
            (Check::Text { low, high }, DataType::Utf8) => {
                let place = |limit: &Limit, at_too, without| match &limit.text {
                    Some(text) => self.find(Edge::Text(text), at_too),
                    None => Some(without),
                };
                let from = place(low, low.open, 0)?;
                one(from..place(high, !high.open, self.sorted.values)?.max(from))
            }
            (Check::TextIn(set), DataType::Utf8) => {
                let text = |text: &str| self.between(Edge::Text(text), Edge::Text(text));
                texts(set)?.into_iter().map(text).collect::<Option<_>>()?
            }
            (Check::Prefix(prefix), DataType::Utf8) => {
                vec![self.between(Edge::Text(prefix), Edge::Behind(prefix))?]
            }
            _ => return None,
        })
    }

    /// The places of values from `low` to `high`, both included.
    fn between(&self, low: Edge<'_>, high: Edge<'_>) -> Option<Range<usize>> {
        let from = self.find(low, false)?;
        Some(from..self.find(high, true)?.max(from))
    }

    /// How many values are before the edge, or before and at it.
    fn find(&self, edge: Edge<'_>, at_too: bool) -> Option<usize> {
        let Sorted { values, keys, .. } = *self.sorted;
        let keys: &[u64] = view(self.section.read(keys, values.div_ceil(STEP) * 8).ok()?);
        if keys.len() != values.div_ceil(STEP) {
            return None;
        }
        let below = |key: u64| keys.partition_point(|known| *known < key);
        let up_to = |key: u64| keys.partition_point(|known| *known <= key);
        // The last step that begins before the place looked for, and the first that begins behind it.
        let (last, first) = match edge {
            Edge::Key(key) => {
                let step = if at_too { up_to(key) } else { below(key) };
                (step, step)
            }
            // Texts with the same key may be on either side.
            Edge::Text(text) => (below(text_key(text)), up_to(text_key(text))),
            Edge::Behind(prefix) => {
                let (low, high) = prefix_span(prefix);
                (below(low), up_to(high))
            }
        };
        let mut from = last.saturating_sub(1) * STEP;
        let mut to = (first * STEP).min(values);
        while from < to {
            let middle = from + (to - from) / 2;
            if self.is_before(middle, edge, at_too)? { from = middle + 1 } else { to = middle }
        }
        Some(from)
    }

    fn is_before(&self, place: usize, edge: Edge<'_>, at_too: bool) -> Option<bool> {
        let row = self.section.read(self.sorted.rows + place * 4, 4).ok()?;
        let row = Row::from_le_bytes(*row.first_chunk()?);
        let Values { file, column } = self.values;
        let key = match edge {
            Edge::Text(edge) => {
                let text = file.text_at(column, row).ok()?;
                return Some(if at_too { text <= edge } else { text < edge });
            }
            Edge::Behind(prefix) => {
                let text = file.text_at(column, row).ok()?;
                return Some(text < prefix || text.starts_with(prefix));
            }
            Edge::Key(key) => key,
        };
        let number = file.number_at(column, row).ok()?;
        let own = match column.data_type {
            DataType::Float64 => float_key(f64::from_bits(number)),
            _ => int_key(number.cast_signed()),
        };
        Some(if at_too { own <= key } else { own < key })
    }
}

/// The texts of a set, ascending; `None` when they are many.
fn texts(set: &TextSet) -> Option<Vec<&str>> {
    let mut texts: Vec<&str> = match set {
        TextSet::Few(few) => few.iter().map(AsRef::as_ref).collect(),
        TextSet::Many(many) if many.len() > MOST_VALUES => return None,
        TextSet::Many(many) => many.iter().map(AsRef::as_ref).collect(),
    };
    texts.sort_unstable();
    Some(texts)
}

/// Runs of an order of rows.
#[derive(Debug)]
pub(super) struct Runs<'a> {
    section: &'a Section,
    /// Where the rows are.
    start: usize,
    runs: Vec<Range<usize>>,
}

impl Runs<'_> {
    pub(super) fn len(&self) -> usize {
        self.runs.iter().map(Range::len).sum()
    }

    fn slice(&self, run: &Range<usize>) -> Option<&[Row]> {
        let bytes = self.section.read(self.start + run.start * 4, run.len() * 4).ok()?;
        let rows: &[Row] = view(bytes);
        (rows.len() == run.len()).then_some(rows)
    }

    /// All of them, ascending.
    pub(super) fn rows(&self, total: usize) -> Option<Vec<Row>> {
        let mut rows = Vec::with_capacity(self.len());
        for run in &self.runs {
            rows.extend_from_slice(self.slice(run)?);
        }
        ascending(rows, total)
    }

    pub(super) fn words(&self, total: usize) -> Option<Vec<u64>> {
        let mut words = vec![0u64; total.div_ceil(64)];
        for run in &self.runs {
            for row in self.slice(run)? {
                *words.get_mut(*row as usize / 64)? |= 1 << (row % 64);
            }
        }
        within(&words, total).then_some(words)
    }
}
