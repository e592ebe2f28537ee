//! The rows of a part that a filter finds: of all its rows, dead or alive, updates applied.
//!
//! Several ways lead there. A filter that lists ids looks those up. Where indexes find few rows, those
//! are listed, and asked for the rest of the filter. Otherwise columns are read one group of rows after
//! the other, as far as zones and indexes leave it open, and rows with newer values are asked again.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::ArrayRef;

use super::attributes::{AttributeFile, Served, ServedBy, ascending};
use super::columns;
use super::layout::GROUP_ROWS;
use super::part::Part;
use super::patch::Patch;
use crate::error::{Error, Result};
use crate::filter::rowset::RowSet;
use crate::filter::{Asked, Bound, BoundColumn, Holds, Known, Masks, Rule};
use crate::types::{Column, DataType, Row};

/// Ids are looked up when one in this many rows has to be, at most.
const LOOKUP_SHARE: usize = 16;
/// Rows are listed when one in this many is found by indexes, at most: where they say all, and where
/// the rows found have to be asked for more.
const LISTED_SHARE: usize = 64;
const ASKED_SHARE: usize = 512;
/// So many rows may be asked anyway.
const LEAST_ASKED: usize = 16;
/// A sorted index is read for one in this many rows of numbers, at most: more are compared as fast.
const SORTED_SHARE: usize = 8;
/// Bits that indexes find of all rows are kept for the groups to come, in at most so many bytes: of further
/// conditions the columns are read.
const MOST_FOUND_BYTES: usize = 64 << 20;

/// Rows of a part.
#[derive(Clone, Debug)]
pub(crate) enum Matching {
    /// Few, ascending.
    Listed(Vec<Row>),
    Set(RowSet),
}

/// What answered a condition on a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FilterAnswer {
    /// The filter was asked before, and the rows that it left were remembered.
    Remembered,
    /// Ids were looked up.
    Lookup,
    /// The rows in the order of their values.
    SortedIndex,
    /// A bitmap of rows for each value.
    BitmapIndex,
    /// The least and the greatest value of groups of rows, and how many have none.
    Zones,
    /// The values were read.
    Column,
}

impl std::fmt::Display for FilterAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Remembered => "remembered",
            Self::Lookup => "lookup",
            Self::SortedIndex => "sorted index",
            Self::BitmapIndex => "bitmap index",
            Self::Zones => "zones",
            Self::Column => "column",
        })
    }
}

/// The ways taken, with the column of each, once each.
#[derive(Debug, Default)]
pub(crate) struct Ways {
    taken: RefCell<Vec<(String, FilterAnswer)>>,
}

impl Ways {
    pub(crate) fn add(&self, column: &BoundColumn, way: FilterAnswer) {
        let mut taken = self.taken.borrow_mut();
        if !taken.iter().any(|(known, by)| known == column.name() && *by == way) {
            taken.push((column.name().to_owned(), way));
        }
    }

    fn answered(&self, column: &BoundColumn) -> bool {
        self.taken.borrow().iter().any(|(known, _)| known == column.name())
    }

    pub(crate) fn into_list(self) -> Vec<(String, FilterAnswer)> {
        self.taken.into_inner()
    }
}

impl From<ServedBy> for FilterAnswer {
    fn from(by: ServedBy) -> Self {
        match by {
            ServedBy::Sorted => Self::SortedIndex,
            ServedBy::Bitmaps => Self::BitmapIndex,
        }
    }
}

impl Part {
    /// The rows for which `filter` is true, with the values of `patch` over the stored ones. Rows whose id
    /// a later row repeats may be missing.
    pub(crate) fn matching(&self, filter: &Bound, patch: &Patch, ways: &Ways) -> Result<Matching> {
        if let Some(ids) = filter.ids(self.len() / LOOKUP_SHARE) {
            let mut rows = Vec::with_capacity(ids.len());
            for id in ids {
                rows.extend(self.lookup(id.as_ref())?);
            }
            rows.sort_unstable();
            filter.columns.iter().for_each(|column| {
                let way = if matches!(column, BoundColumn::Id(_)) {
                    FilterAnswer::Lookup
                } else {
                    FilterAnswer::Column
                };
                ways.add(column, way);
            });
            return Ok(Matching::Listed(self.asked(rows, filter, patch)?));
        }
        if let Some(file) = self.file()
            && let Some(found) = candidates(file, filter, &filter.rule, most_listed(self.len()))
            && let Some(rows) = found.list(self.len())
        {
            found.sources.iter().for_each(|(column, served)| {
                ways.add(&filter.columns[*column], served.by.into());
            });
            return self.among(rows, found.exact, filter, patch, ways).map(Matching::Listed);
        }
        let mut masks = self.stored(filter, ways)?;
        let patched = patch.rows();
        patched.iter().for_each(|row| masks.set(*row as usize, false));
        for row in self.asked(patched, filter, patch)? {
            masks.set(row as usize, true);
        }
        Ok(Matching::Set(RowSet::from_words(masks.words())))
    }

    fn file(&self) -> Option<&AttributeFile> {
        match self {
            Self::Chunk(_) => None,
            Self::Segment(segment) => segment.attribute_file().map(AsRef::as_ref),
        }
    }

    /// Of `rows`, found by stored values, and the patched ones, those for which the filter is true.
    fn among(
        &self,
        mut rows: Vec<Row>,
        exact: bool,
        filter: &Bound,
        patch: &Patch,
        ways: &Ways,
    ) -> Result<Vec<Row>> {
        let patched = patch.rows();
        if exact && patched.is_empty() {
            return Ok(rows);
        }
        if !exact {
            rows.extend_from_slice(&patched);
            rows.sort_unstable();
            rows.dedup();
            filter.columns.iter().for_each(|column| {
                if !ways.answered(column) {
                    ways.add(column, FilterAnswer::Column);
                }
            });
            return self.asked(rows, filter, patch);
        }
        rows.retain(|row| patched.binary_search(row).is_err());
        rows.extend(self.asked(patched, filter, patch)?);
        rows.sort_unstable();
        Ok(rows)
    }

    /// The rows for which the filter is true of the stored values.
    fn stored(&self, filter: &Bound, ways: &Ways) -> Result<Masks> {
        let mut masks = Masks::default();
        let mut whole = Whole {
            file: self.file(),
            filter,
            rows: self.len(),
            found: HashMap::new(),
            room: MOST_FOUND_BYTES,
        };
        let mut first = 0;
        for (group, rows) in self.groups().into_iter().enumerate() {
            let place = (group, first, rows);
            let words = filter.evaluate(
                rows,
                &mut |column, asked| whole.known(column, asked, place, ways),
                &mut |column| {
                    ways.add(column, FilterAnswer::Column);
                    self.group(group, first, rows, column)
                },
            )?;
            masks.push(&words, rows);
            first += rows;
        }
        Ok(masks)
    }

    /// A column of a group.
    fn group(
        &self,
        group: usize,
        first: usize,
        rows: usize,
        column: &BoundColumn,
    ) -> Result<ArrayRef> {
        match column {
            BoundColumn::Id(_) => self.id_column(Row::try_from(first).unwrap_or(Row::MAX), rows),
            BoundColumn::Attribute(column) => match self {
                Self::Chunk(chunk) => Ok(chunk.column(column)),
                Self::Segment(segment) => match segment.attribute_file() {
                    Some(file) => file.group_column(group, column),
                    None => Ok(columns::null_column(column.data_type, rows)),
                },
            },
        }
    }

    /// Rows that are evaluated together, in row order.
    fn groups(&self) -> Vec<usize> {
        let len = self.len();
        match self {
            Self::Chunk(_) => vec![len],
            Self::Segment(segment) => match segment.attribute_file() {
                Some(file) => file.group_rows().collect(),
                None => (0..len).step_by(GROUP_ROWS).map(|at| GROUP_ROWS.min(len - at)).collect(),
            },
        }
    }

    /// Those of `rows` for which the filter is true.
    fn asked(&self, mut rows: Vec<Row>, filter: &Bound, patch: &Patch) -> Result<Vec<Row>> {
        if rows.is_empty() {
            return Ok(rows);
        }
        let attributes = filter.columns.iter().filter_map(|column| match column {
            BoundColumn::Attribute(column) => Some((column.name.as_str(), column.data_type)),
            BoundColumn::Id(_) => None,
        });
        let wanted = columns::arrow_schema(attributes);
        let batch = patch.apply(&rows, &self.attributes(&rows, &wanted)?, &wanted)?;
        let words =
            filter.evaluate(
                rows.len(),
                &mut |_, _| Ok(Known::Open),
                &mut |column| match column {
                    BoundColumn::Id(_) => self.ids_of(&rows),
                    BoundColumn::Attribute(column) => {
                        batch.column_by_name(&column.name).cloned().ok_or_else(|| {
                            Error::invalid(format!("column {:?} was not read", column.name))
                        })
                    }
                },
            )?;
        let mut at = 0;
        rows.retain(|_| {
            at += 1;
            words[(at - 1) / 64] >> ((at - 1) % 64) & 1 == 1
        });
        Ok(rows)
    }

    /// The ids of `rows` as an Arrow column.
    fn ids_of(&self, rows: &[Row]) -> Result<ArrayRef> {
        use crate::types::IdRef;
        let mut numbers = Vec::new();
        let mut texts = Vec::new();
        for row in rows {
            match self.id_ref(*row)? {
                IdRef::U64(id) => numbers.push(id),
                IdRef::Utf8(id) => texts.push(id),
            }
        }
        Ok(if texts.is_empty() {
            Arc::new(arrow_array::UInt64Array::from(numbers))
        } else {
            Arc::new(arrow_array::LargeStringArray::from(texts))
        })
    }
}

/// Rows that indexes find, among which all are that a rule finds.
struct Candidates<'a> {
    /// By the number of the column.
    sources: Vec<(usize, Served<'a>)>,
    most: usize,
    /// Whether the rule finds all of them.
    exact: bool,
}

impl Candidates<'_> {
    /// The rows, ascending, where they are few of `total`.
    fn list(&self, total: usize) -> Option<Vec<Row>> {
        let most =
            if self.exact { most_listed(total) } else { (total / ASKED_SHARE).max(LEAST_ASKED) };
        if self.most > most {
            return None;
        }
        let mut rows = match self.sources.as_slice() {
            [(_, served)] => return served.rows(total),
            _ => Vec::with_capacity(self.most),
        };
        for (_, served) in &self.sources {
            rows.extend(served.rows(total)?);
        }
        ascending(rows, total)
    }
}

/// How many of `total` rows are listed at most.
fn most_listed(total: usize) -> usize {
    (total / LISTED_SHARE).max(LEAST_ASKED)
}

/// What indexes find for a rule; `None` where they leave all rows open, and where alternatives find more
/// than `most`.
fn candidates<'a>(
    file: &'a AttributeFile,
    filter: &Bound,
    rule: &Rule,
    most: usize,
) -> Option<Candidates<'a>> {
    let none = Candidates { sources: Vec::new(), most: 0, exact: true };
    let leaf = |column: &usize, asked: Asked<'_>| {
        let BoundColumn::Attribute(attribute) = &filter.columns[*column] else { return None };
        let served = file.served(attribute, asked)?;
        let most = served.most;
        Some(Candidates { sources: vec![(*column, served)], most, exact: true })
    };
    match rule {
        Rule::Always(true) => None,
        Rule::Always(false) => Some(none),
        Rule::Null { column, wanted } => leaf(column, Asked::Null { wanted: *wanted }),
        Rule::Check { column, check, wanted } => {
            leaf(column, Asked::Check { check, wanted: *wanted })
        }
        Rule::All(rules) => {
            let found = rules.iter().filter_map(|rule| candidates(file, filter, rule, most));
            let best = found.min_by_key(|found| found.most)?;
            Some(Candidates { exact: best.exact && rules.len() == 1, ..best })
        }
        Rule::Any(rules) => rules.iter().try_fold(none, |mut all, rule| {
            let found = candidates(file, filter, rule, most)?;
            all.sources.extend(found.sources);
            all.most = all.most.saturating_add(found.most);
            all.exact &= found.exact;
            (all.most <= most).then_some(all)
        }),
    }
}

/// Bits of all rows, and what found them.
type Bits = (Vec<u64>, FilterAnswer);

/// What indexes know of all rows, found when first asked for.
struct Whole<'a> {
    file: Option<&'a AttributeFile>,
    filter: &'a Bound,
    rows: usize,
    /// Bits by column and place of the check; `None` where the column is read.
    found: HashMap<(usize, usize), Option<Bits>>,
    /// Bytes that may still be kept.
    room: usize,
}

impl Whole<'_> {
    fn known(
        &mut self,
        column: usize,
        asked: Asked<'_>,
        (group, first, rows): (usize, usize, usize),
        ways: &Ways,
    ) -> Result<Known> {
        let bound = &self.filter.columns[column];
        let (Some(file), BoundColumn::Attribute(attribute)) = (self.file, bound) else {
            return Ok(Known::Open);
        };
        match file.zone(group, attribute, asked) {
            Holds::Some => {}
            holds => {
                ways.add(bound, FilterAnswer::Zones);
                return Ok(if holds == Holds::All { Known::All } else { Known::None });
            }
        }
        let place = match asked {
            Asked::Check { check, .. } => std::ptr::from_ref(check) as usize,
            Asked::Null { wanted } => usize::from(wanted),
        };
        let found = match self.found.entry((column, place)) {
            std::collections::hash_map::Entry::Occupied(found) => found.into_mut(),
            std::collections::hash_map::Entry::Vacant(free) => {
                let left = self.room.checked_sub(self.rows.div_ceil(8));
                let found = left.and_then(|_| words(file, attribute, asked, self.rows));
                if let (Some(left), Some(_)) = (left, &found) {
                    self.room = left;
                }
                free.insert(found)
            }
        };
        Ok(match found {
            Some((words, way)) => {
                ways.add(bound, *way);
                Known::Rows(part_of(words, first, rows))
            }
            None => Known::Open,
        })
    }
}

/// The bits that an index has for all rows, where reading it is less work than reading the column.
fn words(file: &AttributeFile, column: &Column, asked: Asked<'_>, rows: usize) -> Option<Bits> {
    let served = file.served(column, asked)?;
    let cheap = served.by == ServedBy::Bitmaps
        || column.data_type == DataType::Utf8
        || served.most <= rows / SORTED_SHARE;
    if cheap { Some((served.words(rows)?, served.by.into())) } else { None }
}

/// `rows` bits from bit `first` on.
fn part_of(words: &[u64], first: usize, rows: usize) -> Vec<u64> {
    let shift = first % 64;
    let word = |index: usize| words.get(index).copied().unwrap_or(0);
    let bits = (first / 64..).take(rows.div_ceil(64)).map(|index| match shift {
        0 => word(index),
        _ => word(index) >> shift | word(index + 1) << (64 - shift),
    });
    let mut bits: Vec<u64> = bits.collect();
    if let Some(last) = bits.get_mut(rows / 64) {
        *last &= (1 << (rows % 64)) - 1;
    }
    bits
}
