//! A bitmap of rows for each value: of columns with few values, and of lists.

use std::ops::Range;
use std::sync::OnceLock;

use arrow_array::{Array, ArrayRef, LargeStringArray};

use super::u64_at;
use crate::error::Result;
use crate::filter::{Asked, Check, TextSet, check_values};
use crate::segment::columns;
use crate::storage::container::Section;
use crate::types::{Column, DataType, Row};

const HEADER_BYTES: usize = 24;
const ENTRY_BYTES: usize = 16;
/// In the portable form of Roaring bitmaps: no runs, a key and a count for each container, and the most
/// rows of a container that lists them.
const COOKIE: u32 = 12_346;
const LISTED: usize = 4_096;
const CONTAINER_ROWS: usize = 1 << 16;
const CONTAINER_BYTES: usize = CONTAINER_ROWS / 8;

/// The bitmaps of a column.
#[derive(Debug)]
pub(super) struct Bitmaps {
    values: usize,
    nulls: usize,
    total: usize,
    /// Where the entries, the dictionary and the bitmaps are.
    entries: usize,
    dictionary: Range<usize>,
    bitmaps: Range<usize>,
    /// The dictionary, read when first needed.
    read: OnceLock<ArrayRef>,
}

impl Bitmaps {
    /// Reads the header of a body; `None` unless it fits the body.
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
        let (values, nulls, dictionary) = (number(0), number(8), number(16));
        let entries = body.start + HEADER_BYTES;
        let from = values.checked_add(1).and_then(|count| count.checked_mul(ENTRY_BYTES));
        let from = from.and_then(|len| entries.checked_add(len));
        let to = from.and_then(|from| from.checked_add(dictionary));
        let (Some(from), Some(to)) = (from, to) else { return Ok(None) };
        let fits = to <= body.end && nulls <= total;
        let (read, bitmaps) = (OnceLock::new(), to..body.end);
        Ok(fits.then_some(Self {
            values,
            nulls,
            total,
            entries,
            dictionary: from..to,
            bitmaps,
            read,
        }))
    }

    /// The rows for which what is asked holds; `None` where single values do not tell.
    pub(super) fn serve<'a>(
        &'a self,
        section: &'a Section,
        column: &Column,
        asked: Asked<'_>,
    ) -> Result<Option<Union<'a>>> {
        let union = |of: Vec<usize>, all, wanted| {
            let counts = of.iter().map(|value| self.entry(section, *value).map(|entry| entry.1));
            let counts = counts.collect::<Result<Vec<_>>>()?;
            let most = match (all, counts.iter().min()) {
                (true, Some(least)) => *least,
                (true, None) => self.total,
                (false, _) => counts.iter().fold(0_usize, |sum, count| sum.saturating_add(*count)),
            };
            let outside = counts.iter().copied().max().unwrap_or(0);
            let least = if all { 0 } else { outside };
            let most = if wanted {
                most
            } else {
                self.total - self.nulls - least.min(self.total - self.nulls)
            };
            Ok(Some(Union { bitmaps: self, section, of, all, wanted, most: most.min(self.total) }))
        };
        let (check, wanted) = match asked {
            Asked::Null { wanted: true } => return union(vec![self.values], false, true),
            Asked::Null { wanted: false } => return union(Vec::new(), false, false),
            Asked::Check { check, wanted } => (check, wanted),
        };
        let dictionary = self.dictionary(section, column)?;
        if column.data_type == DataType::ListUtf8 {
            let Some(texts) = dictionary.as_any().downcast_ref::<LargeStringArray>() else {
                return Ok(None);
            };
            return match check {
                Check::HasAny(set) => {
                    let found = match set {
                        TextSet::Few(few) => {
                            few.iter().filter_map(|text| find(texts, text)).collect()
                        }
                        TextSet::Many(many) => {
                            many.iter().filter_map(|text| find(texts, text)).collect()
                        }
                    };
                    union(found, false, wanted)
                }
                Check::HasAll(all) => {
                    let found: Option<Vec<usize>> =
                        all.iter().map(|text| find(texts, text)).collect();
                    match found {
                        Some(found) if !found.is_empty() => union(found, true, wanted),
                        // Of nothing every list has all.
                        Some(_) => union(Vec::new(), false, !wanted),
                        None => union(Vec::new(), false, wanted),
                    }
                }
                _ => Ok(None),
            };
        }
        let Some(found) = check_values(check, dictionary) else { return Ok(None) };
        let mut of = Vec::new();
        crate::filter::for_each(&found, |value| of.push(value));
        of.retain(|value| *value < self.values);
        union(of, false, wanted)
    }

    /// End of a bitmap, counted from the first, and how many rows it has.
    fn entry(&self, section: &Section, value: usize) -> Result<(usize, usize)> {
        let bytes = section.read(self.entries + value * ENTRY_BYTES, ENTRY_BYTES)?;
        let number = |at| usize::try_from(u64_at(bytes, at)).unwrap_or(usize::MAX);
        Ok((number(0), number(8).min(self.total)))
    }

    fn dictionary(&self, section: &Section, column: &Column) -> Result<&ArrayRef> {
        if let Some(read) = self.read.get() {
            return Ok(read);
        }
        let bytes = section.read(self.dictionary.start, self.dictionary.len())?;
        let batch = columns::decode(bytes).map_err(|error| section.corrupt(error.0))?;
        let data_type = match column.data_type {
            DataType::ListUtf8 => DataType::Utf8,
            other => other,
        };
        let dictionary = batch.columns().first().filter(|values| {
            values.len() == self.values
                && values.null_count() == 0
                && *values.data_type() == data_type.to_arrow()
        });
        let Some(dictionary) = dictionary else {
            return Err(section.corrupt("not the dictionary of its column"));
        };
        Ok(self.read.get_or_init(|| ArrayRef::clone(dictionary)))
    }

    /// Adds the rows of a bitmap to `words`.
    fn add(&self, section: &Section, value: usize, words: &mut [u64]) -> Result<()> {
        let from = match value.checked_sub(1) {
            Some(before) => self.entry(section, before)?.0,
            None => 0,
        };
        let to = self.entry(section, value)?.0;
        let inside = from <= to && to <= self.bitmaps.len();
        let wrong = || section.corrupt("a bitmap of an index is not one of its rows");
        if !inside {
            return Err(wrong());
        }
        let bytes = section.read(self.bitmaps.start + from, to - from)?;
        add_bitmap(bytes, words, self.total).ok_or_else(wrong)
    }
}

/// Where `text` is in the dictionary.
fn find(texts: &LargeStringArray, text: &str) -> Option<usize> {
    let (mut from, mut to) = (0, texts.len());
    while from < to {
        let middle = from + (to - from) / 2;
        if texts.value(middle) < text { from = middle + 1 } else { to = middle }
    }
    (from < texts.len() && texts.value(from) == text).then_some(from)
}

/// Adds the rows of a bitmap in the portable form, all of which have to be below `total`.
fn add_bitmap(bytes: &[u8], words: &mut [u64], total: usize) -> Option<()> {
    let u16_at = |at: usize| {
        bytes.get(at..at + 2).map(|bytes| usize::from(u16::from_le_bytes([bytes[0], bytes[1]])))
    };
    let u32_at = |at: usize| bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
    if u32_at(0)? != COOKIE {
        return None;
    }
    let containers = u32_at(4)? as usize;
    // Behind the keys and counts come the places of the containers, which follow from them.
    let mut at = containers.checked_mul(8)?.checked_add(8)?;
    for container in 0..containers {
        let first = u16_at(8 + container * 4)? * CONTAINER_ROWS;
        let count = u16_at(10 + container * 4)? + 1;
        if count <= LISTED {
            let listed = bytes.get(at..at + count * 2)?;
            for row in listed.as_chunks::<2>().0 {
                let row = first + usize::from(u16::from_le_bytes(*row));
                if row >= total {
                    return None;
                }
                words[row / 64] |= 1 << (row % 64);
            }
            at += count * 2;
        } else {
            let bits = bytes.get(at..at + CONTAINER_BYTES)?;
            for (index, bits) in (first / 64..).zip(bits.as_chunks::<8>().0) {
                let bits = u64::from_le_bytes(*bits);
                match words.get_mut(index) {
                    Some(word) => *word |= bits,
                    None if bits == 0 => {}
                    None => return None,
                }
            }
            at += CONTAINER_BYTES;
        }
    }
    let beyond = words.last().is_some_and(|last| total % 64 > 0 && last >> (total % 64) > 0);
    (at == bytes.len() && !beyond).then_some(())
}

/// The rows of some bitmaps, of any or of all, or those with a value that are not.
#[derive(Debug)]
pub(super) struct Union<'a> {
    bitmaps: &'a Bitmaps,
    section: &'a Section,
    of: Vec<usize>,
    all: bool,
    wanted: bool,
    most: usize,
}

impl Union<'_> {
    /// How many rows there are at most.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    pub(super) fn words(&self, total: usize) -> Result<Vec<u64>> {
        let Self { bitmaps, section, .. } = self;
        let mut words = vec![0u64; total.div_ceil(64)];
        for (index, value) in self.of.iter().enumerate() {
            if self.all && index > 0 {
                let mut more = vec![0u64; words.len()];
                bitmaps.add(section, *value, &mut more)?;
                words.iter_mut().zip(more).for_each(|(word, more)| *word &= more);
            } else {
                bitmaps.add(section, *value, &mut words)?;
            }
        }
        if !self.wanted {
            // Those without a value are in no bitmap but their own.
            bitmaps.add(section, bitmaps.values, &mut words)?;
            words.iter_mut().for_each(|word| *word = !*word);
            if let Some(last) = words.get_mut(total / 64) {
                *last &= (1 << (total % 64)) - 1;
            }
        }
        Ok(words)
    }

    pub(super) fn rows(&self, total: usize) -> Result<Vec<Row>> {
        let words = self.words(total)?;
        let mut rows = Vec::with_capacity(self.most);
        crate::filter::for_each(&words, |row| rows.push(Row::try_from(row).unwrap_or(Row::MAX)));
        Ok(rows)
    }
}
