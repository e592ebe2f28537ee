//! Indexes over the columns of a segment: which rows have a value, without reading the column.
//!
//! ```text
//! AIDX   bodies, one a column, each of a multiple of 8 bytes · directory · tail
//!   directory, per column:
//!             body length u64 · values u64 · nulls u64 · dictionary length u64
//!             name length u32 · type u8 · kind u8 · 0 u16 · name, padded
//!             per group: least key u64 · greatest key u64 · nulls u32 · NaN u32
//!   tail      directory length u64 · rows u64 · groups u32 · columns u32 · version u32 · "NFAX"
//!   body of kind
//!   zones     nothing
//!   sorted    key of every 64th value u64 · rows u32, padded
//!   bitmaps   per value and, last, for null: end u64 · rows u64
//!             dictionary (a block of one column, ascending) · bitmaps, padded
//! ```
//! A key orders like the value: whole numbers and times with their sign turned, floats by their bits,
//! text by its first eight bytes. Rows of `sorted` stand in the order of (value, row), then those with
//! NaN, then those without a value, ascending both. A bitmap is a Roaring one in the portable form.
//!
//! All of it is derived: what is missing, of another version, damaged or malformed is as if it were not
//! there, and columns are read instead. Must never know a filter's text, a patch or a dead row.
//! docs/format.md, "Attribute indexes".

mod bitmaps;
mod build;
#[cfg(feature = "testing")]
pub(crate) mod fuzz;
mod keys;
mod read;
mod rows;
mod sort;
mod sorted;
#[cfg(test)]
mod tests;

use self::bitmaps::Bitmaps;
pub(super) use self::build::build;
use self::keys::{Span, span};
pub(crate) use self::rows::ascending;
use self::sorted::Sorted;
use super::AttributeFile;
use crate::error::Result;
use crate::filter::{Asked, Holds};
use crate::segment::columns::arrow_schema;
use crate::segment::layout;
use crate::storage::container::Section;
use crate::types::{Column, DataType, Row};

const MAGIC: [u8; 4] = *b"NFAX";
/// Of what is written. What is built of a column follows from its values alone, down to the last byte,
/// and `verify` relies on it: whoever changes that changes the version.
const VERSION: u32 = 1;
const TAIL_BYTES: usize = 32;
/// Values from one key of a sorted index to the next.
const STEP: usize = 64;

/// What a column has beside its zones.
const ZONES: u8 = 0;
const SORTED: u8 = 1;
const BITMAPS: u8 = 2;

/// The indexes of a file.
#[derive(Debug)]
pub(super) struct Indexes {
    section: Section,
    columns: Vec<Indexed>,
}

/// The index of a column.
#[derive(Debug)]
struct Indexed {
    name: String,
    data_type: DataType,
    zones: Vec<Zone>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Zones,
    Sorted(Sorted),
    Bitmaps(Bitmaps),
}

/// What a group has in a column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Zone {
    /// Least and greatest key, of values that are not NaN; the least above the greatest without any.
    least: u64,
    most: u64,
    nulls: u32,
    nans: u32,
}

impl Zone {
    const EMPTY: Self = Self { least: u64::MAX, most: 0, nulls: 0, nans: 0 };
}

/// Rows found by an index. None are given where its bytes turn out to be damaged.
#[derive(Debug)]
pub(crate) struct Served<'a> {
    /// How many there are at most.
    pub(crate) most: usize,
    pub(crate) by: ServedBy,
    rows: Found<'a>,
}

/// What finds rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServedBy {
    Sorted,
    Bitmaps,
}

#[derive(Debug)]
enum Found<'a> {
    Runs(sorted::Runs<'a>),
    Bitmaps(bitmaps::Union<'a>),
}

impl Served<'_> {
    /// The rows, ascending.
    pub(crate) fn rows(&self, total: usize) -> Option<Vec<Row>> {
        match &self.rows {
            Found::Runs(runs) => runs.rows(total),
            Found::Bitmaps(union) => union.rows(total),
        }
    }

    /// The bits of the rows: row `i` is bit `i % 64` of word `i / 64`.
    pub(crate) fn words(&self, total: usize) -> Option<Vec<u64>> {
        match &self.rows {
            Found::Runs(runs) => runs.words(total),
            Found::Bitmaps(union) => union.words(total),
        }
    }
}

impl Indexes {
    /// Those of a section over `rows` rows in `groups` groups, if they can be used.
    pub(super) fn open(section: Section, rows: usize, groups: usize) -> Option<Self> {
        let columns = read::directory(&section, rows, groups)?;
        Some(Self { section, columns })
    }

    fn find(&self, column: &Column) -> Option<&Indexed> {
        let same = |known: &&Indexed| known.name == column.name;
        self.columns.iter().find(same).filter(|known| known.data_type == column.data_type)
    }
}

impl AttributeFile {
    /// The rows for which what is asked of `column` holds, where an index can tell.
    pub(crate) fn served(&self, column: &Column, asked: Asked<'_>) -> Option<Served<'_>> {
        let indexes = self.indexes.as_ref()?;
        let section = &indexes.section;
        Some(match &indexes.find(column)?.kind {
            Kind::Zones => return None,
            Kind::Sorted(sorted) => {
                let values = sorted::Values { file: self, column };
                let runs = sorted.serve(section, values, asked)?;
                Served { most: runs.len(), by: ServedBy::Sorted, rows: Found::Runs(runs) }
            }
            Kind::Bitmaps(bitmaps) => {
                let union = bitmaps.serve(section, column, asked)?;
                Served { most: union.most(), by: ServedBy::Bitmaps, rows: Found::Bitmaps(union) }
            }
        })
    }

    /// Of which rows of a group what is asked holds, without looking at any.
    pub(crate) fn zone(&self, group: usize, column: &Column, asked: Asked<'_>) -> Holds {
        let indexed = self.indexes.as_ref().and_then(|indexes| indexes.find(column));
        let zone = indexed.and_then(|indexed| indexed.zones.get(group));
        let rows = self.groups.get(group).map_or(0, |group| group.rows);
        zone.map_or(Holds::Some, |zone| zone.holds(rows, asked, column.data_type))
    }
}

impl Zone {
    fn holds(&self, rows: usize, asked: Asked<'_>, data_type: DataType) -> Holds {
        let nulls = self.nulls as usize;
        let all_or = |count: usize, other| match count {
            0 => Holds::None,
            count if count == rows => Holds::All,
            _ => other,
        };
        match asked {
            Asked::Null { wanted: true } => all_or(nulls, Holds::Some),
            Asked::Null { wanted: false } => all_or(rows.saturating_sub(nulls), Holds::Some),
            Asked::Check { .. } if nulls == rows => Holds::None,
            Asked::Check { check, wanted } => {
                let Some(span) = span(check, data_type) else { return Holds::Some };
                let whole = nulls == 0 && self.nans == 0;
                let (inside, outside) = self.compare(&span);
                match (wanted, inside, outside) {
                    (true, true, _) | (false, _, true) if whole => Holds::All,
                    (true, _, true) => Holds::None,
                    // NaN fails the check, and is what is wanted then.
                    (false, true, _) if self.nans == 0 => Holds::None,
                    _ => Holds::Some,
                }
            }
        }
    }

    /// Whether all keys are surely inside the span, and whether all are surely outside.
    fn compare(&self, span: &Span) -> (bool, bool) {
        let none = self.least > self.most;
        let inside = span.exact && span.low <= self.least && self.most <= span.high;
        let outside = none || span.high < self.least || self.most < span.low;
        (inside && !none, outside)
    }
}

impl AttributeFile {
    /// That indexes of this version say of the columns what the columns say: they are made anew and compared.
    pub(super) fn verify_indexes(&self) -> Result<()> {
        let section = self.container.section(layout::AIDX, layout::FIELD);
        let (Some(section), Some(first)) = (section, self.groups.first()) else { return Ok(()) };
        let stored = section.read_all()?;
        let wrong = || section.corrupt("it does not agree with the columns");
        let version = stored.len().checked_sub(8).and_then(|at| stored[at..].first_chunk());
        if u32::from_le_bytes(*version.ok_or_else(wrong)?) != VERSION {
            return Ok(());
        }
        let columns = self.directory(first)?.columns.iter();
        let schema = arrow_schema(columns.map(|column| (column.name.as_str(), column.data_type)));
        let groups = self.groups.iter().map(|group| group.offset..group.offset + group.len);
        let rows = self.groups.iter().map(|group| group.rows).sum();
        let mut left = stored;
        build(self.blocks.read_all()?, groups, rows, &schema, &mut |bytes| {
            left = left.strip_prefix(bytes).ok_or_else(wrong)?;
            Ok(())
        })?;
        if left.is_empty() { Ok(()) } else { Err(wrong()) }
    }
}
