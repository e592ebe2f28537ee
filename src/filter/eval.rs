//! A bound filter over columns of a group of rows: words of bits, one for each row that is found.
//!
//! Rules are asked for some rows only: behind an AND for those that are left, behind an OR for those
//! that are not found yet. Numbers are compared all the same, since that is as fast as memory; of text
//! only what is asked for is looked at. A column is read when a rule first needs it.

use arrow_array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int64Array, LargeListArray, LargeStringArray,
    TimestampMicrosecondArray, UInt64Array,
};

use super::bind::{Bound, BoundColumn};
use super::check::{Check, KeySet, Limit, float_bits, signed_key};
use super::masks;
use super::rule::Rule;
use crate::error::{Error, Result};

/// Lists searched value by value rather than through a set.
const FEW: usize = 8;

/// What is asked of a column: a check that holds of the value that is there or does not, or whether
/// there is one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asked<'a> {
    Check { check: &'a Check, wanted: bool },
    Null { wanted: bool },
}

/// Of which rows of a group something holds, as far as that is known without looking at any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    None,
    All,
    Some,
}

/// What is known of a condition before its column is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// Nothing.
    Open,
    /// It holds of no row, of all, of these.
    None,
    All,
    Rows(Vec<u64>),
}

impl Bound {
    /// The rows of a group of `rows` rows for which the filter is true. `known` is asked first, by the
    /// number of a column in [`columns`](Self::columns); what it leaves open is found in the values of the
    /// column, which `read` gives: the Arrow form of its type, ids as `UInt64` or `LargeUtf8`.
    pub(crate) fn evaluate(
        &self,
        rows: usize,
        known: &mut dyn FnMut(usize, Asked<'_>) -> Result<Known>,
        read: &mut dyn FnMut(&BoundColumn) -> Result<ArrayRef>,
    ) -> Result<Vec<u64>> {
        let arrays = vec![None; self.columns.len()];
        let mut group = Group { bound: self, rows, known, read, arrays };
        group.rule(&self.rule, masks::full(rows))
    }
}

struct Group<'a> {
    bound: &'a Bound,
    rows: usize,
    known: &'a mut dyn FnMut(usize, Asked<'_>) -> Result<Known>,
    read: &'a mut dyn FnMut(&BoundColumn) -> Result<ArrayRef>,
    /// Columns read so far.
    arrays: Vec<Option<ArrayRef>>,
}

impl Group<'_> {
    /// Those of the rows `asked` that the rule finds.
    fn rule(&mut self, rule: &Rule, asked: Vec<u64>) -> Result<Vec<u64>> {
        self.bound.cancel.check()?;
        Ok(match rule {
            Rule::Always(true) => asked,
            Rule::Always(false) => vec![0; asked.len()],
            Rule::All(rules) => {
                let mut left = asked;
                for rule in rules {
                    if masks::is_empty(&left) {
                        break;
                    }
                    left = self.rule(rule, left)?;
                }
                left
            }
            Rule::Any(rules) => {
                let mut found = vec![0; asked.len()];
                let mut left = asked;
                for rule in rules {
                    if masks::is_empty(&left) {
                        break;
                    }
                    let more = self.rule(rule, left.clone())?;
                    for ((found, left), more) in found.iter_mut().zip(&mut left).zip(more) {
                        *found |= more;
                        *left &= !more;
                    }
                }
                found
            }
            Rule::Null { column, wanted } => {
                let question = Asked::Null { wanted: *wanted };
                let mut asked = match self.known(*column, question, asked)? {
                    Ok(found) => return Ok(found),
                    Err(asked) => asked,
                };
                let array = self.array(*column)?;
                keep_valid(&array, !wanted, &mut asked);
                asked
            }
            Rule::Check { column, check, wanted } => {
                let question = Asked::Check { check, wanted: *wanted };
                let mut asked = match self.known(*column, question, asked)? {
                    Ok(found) => return Ok(found),
                    Err(asked) => asked,
                };
                let array = self.array(*column)?;
                keep_valid(&array, true, &mut asked);
                if masks::is_empty(&asked) {
                    return Ok(asked);
                }
                let Some(found) = checked(check, &array, &asked) else {
                    let column = &self.bound.columns[*column];
                    return Err(Error::invalid(format!(
                        "{column:?} was read as {}",
                        array.data_type()
                    )));
                };
                let opposite = if *wanted { 0 } else { u64::MAX };
                for (asked, found) in asked.iter_mut().zip(found) {
                    *asked &= found ^ opposite;
                }
                asked
            }
        })
    }

    /// Those of the rows `asked` that are known to be found; `asked` again where that is open.
    fn known(
        &mut self,
        column: usize,
        question: Asked<'_>,
        mut asked: Vec<u64>,
    ) -> Result<std::result::Result<Vec<u64>, Vec<u64>>> {
        Ok(match (self.known)(column, question)? {
            Known::Open => Err(asked),
            Known::None => Ok(vec![0; asked.len()]),
            Known::All => Ok(asked),
            Known::Rows(found) => {
                asked.iter_mut().zip(found).for_each(|(asked, found)| *asked &= found);
                Ok(asked)
            }
        })
    }

    fn array(&mut self, column: usize) -> Result<ArrayRef> {
        if let Some(array) = &self.arrays[column] {
            return Ok(array.clone());
        }
        let array = (self.read)(&self.bound.columns[column])?;
        if array.len() != self.rows {
            return Err(Error::invalid(format!(
                "a column of {} rows was read for {}",
                array.len(),
                self.rows
            )));
        }
        self.arrays[column] = Some(array.clone());
        Ok(array)
    }
}

/// Leaves of `asked` the rows that have a value, or those that have none.
fn keep_valid(array: &ArrayRef, valid: bool, asked: &mut [u64]) {
    match array.nulls() {
        Some(nulls) => {
            let opposite = if valid { 0 } else { u64::MAX };
            for (asked, bits) in asked.iter_mut().zip(nulls.inner().bit_chunks().iter_padded()) {
                *asked &= bits ^ opposite;
            }
        }
        None if valid => {}
        None => asked.fill(0),
    }
}

/// For each of `values`, none of which is null, whether the check holds; `None` when they are not of the
/// type that it is for.
pub(crate) fn check_values(check: &Check, values: &ArrayRef) -> Option<Vec<u64>> {
    let asked = masks::full(values.len());
    let mut found = checked(check, values, &asked)?;
    found.iter_mut().zip(asked).for_each(|(found, asked)| *found &= asked);
    Some(found)
}

/// For the rows `asked`, and perhaps others, whether the check holds of the value; `None` when the
/// array is not of the type that the check is for.
fn checked(check: &Check, array: &ArrayRef, asked: &[u64]) -> Option<Vec<u64>> {
    Some(match check {
        Check::Bool(value) => {
            let array = array.as_any().downcast_ref::<BooleanArray>()?;
            let opposite = if *value { 0 } else { u64::MAX };
            let bits = array.values().bit_chunks().iter_padded();
            bits.take(asked.len()).map(|bits| bits ^ opposite).collect()
        }
        Check::Keys { low, high } => {
            let Some(span) = high.checked_sub(*low) else { return Some(vec![0; asked.len()]) };
            let low = *low;
            keys(array, |key| key.wrapping_sub(low) <= span)?
        }
        Check::KeyIn(KeySet::Few(few)) => keys(array, |key| few.contains(&key))?,
        Check::KeyIn(KeySet::Dense(dense)) => keys(array, |key| dense.contains(key))?,
        Check::KeyIn(set) => keys_of(array, asked, |key| set.contains(key))?,
        Check::Floats { low, high } => {
            let array = array.as_any().downcast_ref::<Float64Array>()?;
            let (low, high) = (*low, *high);
            compare(array.values(), |value| low <= value && value <= high)
        }
        Check::FloatIn(set) => {
            let values = array.as_any().downcast_ref::<Float64Array>()?.values();
            each(asked, |row| float_bits(values[row]).is_some_and(|bits| set.contains(bits)))
        }
        Check::Text { low, high } => {
            texts(array, asked, |text| above(low, text) && below(high, text))?
        }
        Check::TextIn(set) => texts(array, asked, |text| set.contains(text))?,
        Check::Prefix(prefix) => texts(array, asked, |text| text.starts_with(prefix.as_ref()))?,
        Check::Like(pattern) => {
            let mut lower = String::new();
            texts(array, asked, |text| pattern.matches(text, &mut lower))?
        }
        Check::HasAny(set) => lists(array, asked, |list| list.any(|text| set.contains(text)))?,
        Check::HasAll(wanted) => lists(array, asked, |list| list.all(wanted))?,
    })
}

fn above(limit: &Limit, text: &str) -> bool {
    limit.text.as_deref().is_none_or(|low| if limit.open { text > low } else { text >= low })
}

fn below(limit: &Limit, text: &str) -> bool {
    limit.text.as_deref().is_none_or(|high| if limit.open { text < high } else { text <= high })
}

/// Bits of all values.
#[inline]
fn compare<T: Copy>(values: &[T], holds: impl Fn(T) -> bool) -> Vec<u64> {
    let mut words = Vec::with_capacity(values.len().div_ceil(64));
    let (chunks, rest) = values.as_chunks::<64>();
    for chunk in chunks {
        let mut bytes = [[0u8; 8]; 8];
        for (bytes, values) in bytes.iter_mut().zip(chunk.as_chunks::<8>().0) {
            for (byte, value) in bytes.iter_mut().zip(values) {
                *byte = u8::from(holds(*value));
            }
        }
        let mut word = 0;
        for (index, bytes) in bytes.iter().enumerate() {
            // Byte i of eight, 0 or 1, becomes bit i of the highest byte.
            let bits = u64::from_le_bytes(*bytes).wrapping_mul(0x0102_0408_1020_4080) >> 56;
            word |= bits << (index * 8);
        }
        words.push(word);
    }
    if !rest.is_empty() {
        let bit = |(index, value): (usize, &T)| u64::from(holds(*value)) << index;
        words.push(rest.iter().enumerate().map(bit).fold(0, |word, bit| word | bit));
    }
    words
}

/// Bits of the rows asked for.
#[inline]
fn each(asked: &[u64], mut holds: impl FnMut(usize) -> bool) -> Vec<u64> {
    let mut words = vec![0u64; asked.len()];
    masks::for_each(asked, |row| words[row / 64] |= u64::from(holds(row)) << (row % 64));
    words
}

/// [`compare`] by the keys of whole numbers, times and ids.
#[inline]
fn keys(array: &ArrayRef, holds: impl Fn(u64) -> bool) -> Option<Vec<u64>> {
    let any = array.as_any();
    if let Some(array) = any.downcast_ref::<Int64Array>() {
        return Some(compare(array.values(), |value| holds(signed_key(value))));
    }
    if let Some(array) = any.downcast_ref::<TimestampMicrosecondArray>() {
        return Some(compare(array.values(), |value| holds(signed_key(value))));
    }
    if let Some(array) = any.downcast_ref::<UInt64Array>() {
        return Some(compare(array.values(), holds));
    }
    let array = any.downcast_ref::<BooleanArray>()?;
    Some(each(&masks::full(array.len()), |row| holds(u64::from(array.value(row)))))
}

/// The same of the rows asked for.
fn keys_of(array: &ArrayRef, asked: &[u64], holds: impl Fn(u64) -> bool) -> Option<Vec<u64>> {
    let any = array.as_any();
    if let Some(array) = any.downcast_ref::<Int64Array>() {
        return Some(each(asked, |row| holds(signed_key(array.value(row)))));
    }
    if let Some(array) = any.downcast_ref::<TimestampMicrosecondArray>() {
        return Some(each(asked, |row| holds(signed_key(array.value(row)))));
    }
    let array = any.downcast_ref::<UInt64Array>()?;
    Some(each(asked, |row| holds(array.value(row))))
}

fn texts(array: &ArrayRef, asked: &[u64], mut holds: impl FnMut(&str) -> bool) -> Option<Vec<u64>> {
    let array = array.as_any().downcast_ref::<LargeStringArray>()?;
    Some(each(asked, |row| holds(array.value(row))))
}

fn lists(array: &ArrayRef, asked: &[u64], holds: impl Fn(List<'_>) -> bool) -> Option<Vec<u64>> {
    let array = array.as_any().downcast_ref::<LargeListArray>()?;
    let texts = array.values().as_any().downcast_ref::<LargeStringArray>()?;
    let offsets = array.value_offsets();
    let place = |row: usize| offsets.get(row).and_then(|offset| usize::try_from(*offset).ok());
    Some(each(asked, |row| match (place(row), place(row + 1)) {
        (Some(start), Some(end)) => holds(List { texts, start, end: end.min(texts.len()) }),
        _ => false,
    }))
}

/// The strings of one row.
struct List<'a> {
    texts: &'a LargeStringArray,
    start: usize,
    end: usize,
}

impl<'a> List<'a> {
    fn iter(&self) -> impl Iterator<Item = &'a str> {
        let texts = self.texts;
        let valid = (self.start..self.end).filter(move |at| texts.is_valid(*at));
        valid.map(move |at| texts.value(at))
    }

    fn any(&self, holds: impl FnMut(&str) -> bool) -> bool {
        self.iter().any(holds)
    }

    /// Whether it has all of `wanted`, each of which is there once.
    fn all(&self, wanted: &[Box<str>]) -> bool {
        if wanted.len() > self.end.saturating_sub(self.start) {
            return false;
        }
        if wanted.len() <= FEW {
            return wanted.iter().all(|wanted| self.iter().any(|text| text == wanted.as_ref()));
        }
        let there: std::collections::HashSet<&str> = self.iter().collect();
        wanted.iter().all(|wanted| there.contains(wanted.as_ref()))
    }
}
