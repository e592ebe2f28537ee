//! A bitmap of rows for each value: of columns with few values, and of lists.

use std::ops::Range;
use std::sync::OnceLock;

use arrow_array::{Array, ArrayRef, LargeStringArray};

use super::rows::{ascending, within};
use crate::filter::{Asked, Check, TextSet, check_values};
use crate::segment::columns;
use crate::storage::container::Section;
use crate::types::{Column, DataType, Row};

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
    /// Those of a body; `None` unless they fit it.
    pub(super) fn new(
        body: Range<usize>,
        values: usize,
        nulls: usize,
        dictionary: usize,
        total: usize,
    ) -> Option<Self> {
        let entries = body.start;
        let from = values.checked_add(1)?.checked_mul(ENTRY_BYTES)?.checked_add(entries)?;
        let to = from.checked_add(dictionary)?;
        let fits = to <= body.end && nulls <= total;
        let (dictionary, bitmaps, read) = (from..to, to..body.end, OnceLock::new());
        fits.then_some(Self { values, nulls, total, entries, dictionary, bitmaps, read })
    }

    /// The rows for which what is asked holds; `None` where single values do not tell.
    pub(super) fn serve<'a>(
        &'a self,
        section: &'a Section,
        column: &Column,
        asked: Asked<'_>,
    ) -> Option<Union<'a>> {
        let (check, wanted) = match asked {
            Asked::Null { wanted: true } => {
                return self.union(section, vec![self.values], false, true);
            }
            Asked::Null { wanted: false } => return self.union(section, Vec::new(), false, false),
            Asked::Check { check, wanted } => (check, wanted),
        };
        let dictionary = self.dictionary(section, column)?;
        if column.data_type != DataType::ListUtf8 {
            let found = check_values(check, dictionary)?;
            let mut of = Vec::new();
            crate::filter::for_each(&found, |value| of.push(value));
            return self.union(section, of, false, wanted);
        }
        let texts = dictionary.as_any().downcast_ref::<LargeStringArray>()?;
        let place = |text: &str| find(texts, text);
        match check {
            Check::HasAny(TextSet::Few(few)) => self.union(
                section,
                few.iter().filter_map(|text| place(text)).collect(),
                false,
                wanted,
            ),
            Check::HasAny(TextSet::Many(many)) => self.union(
                section,
                many.iter().filter_map(|text| place(text)).collect(),
                false,
                wanted,
            ),
            Check::HasAll(all) => {
                match all.iter().map(|text| place(text)).collect::<Option<Vec<_>>>() {
                    // Every list has all of nothing.
                    Some(found) if found.is_empty() => self.union(section, found, false, !wanted),
                    Some(found) => self.union(section, found, true, wanted),
                    None => self.union(section, Vec::new(), false, wanted),
                }
            }
            _ => None,
        }
    }

    fn union<'a>(
        &'a self,
        section: &'a Section,
        of: Vec<usize>,
        all: bool,
        wanted: bool,
    ) -> Option<Union<'a>> {
        let counts = of.iter().map(|value| self.entry(section, *value).map(|entry| entry.1));
        let counts = counts.collect::<Option<Vec<_>>>()?;
        let least = counts.iter().copied().min().unwrap_or(0);
        let most = match (wanted, all) {
            (true, true) => least,
            (true, false) => counts.iter().fold(0_usize, |sum, count| sum.saturating_add(*count)),
            (false, true) => self.total - self.nulls,
            (false, false) => {
                let outside = counts.iter().copied().max().unwrap_or(0);
                (self.total - self.nulls).saturating_sub(outside)
            }
        };
        let most = most.min(self.total);
        Some(Union { bitmaps: self, section, of, all, wanted, most })
    }

    /// End of a bitmap, counted from the first, and how many rows it has.
    fn entry(&self, section: &Section, value: usize) -> Option<(usize, usize)> {
        if value > self.values {
            return None;
        }
        let bytes = section.read(self.entries + value * ENTRY_BYTES, ENTRY_BYTES).ok()?;
        let numbers = bytes.as_chunks::<8>().0;
        let number = |at: usize| usize::try_from(u64::from_le_bytes(*numbers.get(at)?)).ok();
        Some((number(0)?, number(1)?.min(self.total)))
    }

    fn dictionary(&self, section: &Section, column: &Column) -> Option<&ArrayRef> {
        if let Some(read) = self.read.get() {
            return Some(read);
        }
        let bytes = section.read(self.dictionary.start, self.dictionary.len()).ok()?;
        let batch = columns::decode(bytes).ok()?;
        let data_type = match column.data_type {
            DataType::ListUtf8 => DataType::Utf8,
            other => other,
        };
        let dictionary = batch.columns().first().filter(|values| {
            values.len() == self.values
                && values.null_count() == 0
                && *values.data_type() == data_type.to_arrow()
        })?;
        Some(self.read.get_or_init(|| ArrayRef::clone(dictionary)))
    }

    /// A bitmap in the portable form.
    fn bytes<'a>(&self, section: &'a Section, value: usize) -> Option<&'a [u8]> {
        let from = match value.checked_sub(1) {
            Some(before) => self.entry(section, before)?.0,
            None => 0,
        };
        let len = self.entry(section, value)?.0.checked_sub(from)?;
        if from.checked_add(len)? > self.bitmaps.len() {
            return None;
        }
        section.read(self.bitmaps.start + from, len).ok()
    }

    /// Adds the rows of a bitmap to `words`, of `total` bits.
    fn add(&self, section: &Section, value: usize, words: &mut [u64]) -> Option<()> {
        containers(self.bytes(section, value)?, |first, container| {
            match container {
                Container::Listed(rows) => {
                    for row in rows {
                        let row = first + usize::from(u16::from_le_bytes(*row));
                        *words.get_mut(row / 64)? |= 1 << (row % 64);
                    }
                }
                Container::Bits(bits) => {
                    for (index, bits) in (first / 64..).zip(bits) {
                        match (words.get_mut(index), u64::from_le_bytes(*bits)) {
                            (Some(word), bits) => *word |= bits,
                            (None, 0) => {}
                            (None, _) => return None,
                        }
                    }
                }
            }
            Some(())
        })?;
        within(words, self.total).then_some(())
    }

    /// Appends the rows of a bitmap.
    fn list(&self, section: &Section, value: usize, out: &mut Vec<Row>) -> Option<()> {
        containers(self.bytes(section, value)?, |first, container| {
            let first = Row::try_from(first).ok()?;
            match container {
                Container::Listed(rows) => {
                    out.extend(rows.iter().map(|row| first + Row::from(u16::from_le_bytes(*row))));
                }
                Container::Bits(bits) => {
                    let mut base = first;
                    for bits in bits {
                        let mut left = u64::from_le_bytes(*bits);
                        while left != 0 {
                            out.push(base + left.trailing_zeros());
                            left &= left - 1;
                        }
                        base = base.saturating_add(64);
                    }
                }
            }
            Some(())
        })
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

/// Rows of a bitmap that have the same sixteen upper bits.
enum Container<'a> {
    /// The sixteen lower bits of each row.
    Listed(&'a [[u8; 2]]),
    /// A bit for each row that there could be.
    Bits(&'a [[u8; 8]]),
}

/// Calls `each` with the containers of a bitmap in the portable form, and the first row that each could
/// have; `None` when the bytes are none, or when `each` says so.
fn containers<'a>(
    bytes: &'a [u8],
    mut each: impl FnMut(usize, Container<'a>) -> Option<()>,
) -> Option<()> {
    let u32_at = |at: usize| bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
    if u32_at(0)? != COOKIE {
        return None;
    }
    let count = u32_at(4)? as usize;
    let heads = bytes.get(8..count.checked_mul(4)?.checked_add(8)?)?.as_chunks::<4>().0;
    // Then come the places of the containers, which follow from their sizes.
    let mut left = bytes.get(count.checked_mul(8)?.checked_add(8)?..)?;
    for [key @ .., low, high] in heads {
        let first = usize::from(u16::from_le_bytes(*key)) * CONTAINER_ROWS;
        let rows = usize::from(u16::from_le_bytes([*low, *high])) + 1;
        let len = if rows <= LISTED { rows * 2 } else { CONTAINER_BYTES };
        let (container, rest) = left.split_at_checked(len)?;
        left = rest;
        if rows <= LISTED {
            each(first, Container::Listed(container.as_chunks().0))?;
        } else {
            each(first, Container::Bits(container.as_chunks().0))?;
        }
    }
    left.is_empty().then_some(())
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

    pub(super) fn words(&self, total: usize) -> Option<Vec<u64>> {
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
        Some(words)
    }

    /// All of them, ascending.
    pub(super) fn rows(&self, total: usize) -> Option<Vec<Row>> {
        let mut rows = Vec::with_capacity(self.most);
        if self.wanted && (!self.all || self.of.len() == 1) {
            for value in &self.of {
                self.bitmaps.list(self.section, *value, &mut rows)?;
            }
            return ascending(rows, total);
        }
        crate::filter::for_each(&self.words(total)?, |row| {
            rows.push(Row::try_from(row).unwrap_or(Row::MAX));
        });
        Some(rows)
    }
}
