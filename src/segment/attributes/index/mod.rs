//! Indexes over the columns of a segment: which rows have a value, without reading the column.
//!
//! ```text
//! AIDX   magic "NFAX" · version u32 · rows u64 · groups u32 · columns u32
//!        per column: body length u64 · name length u32 · type u8 · kind u8 · 0 u16 · name, padded
//!        bodies, one after the other, each of a multiple of 8 bytes:
//!   zones     per group: least key u64 · greatest key u64 · nulls u32 · NaN u32
//!   sorted    values u64 · NaN u64 · nulls u64 · key of every 64th value u64 · rows u32, padded
//!   bitmaps   values u64 · nulls u64 · dictionary length u64
//!             per value and, last, for null: end u64 · rows u64
//!             dictionary (a block of one column, ascending) · bitmaps, padded
//! ```
//! A key orders like the value: whole numbers and times with their sign turned, floats by their bits,
//! text by its first eight bytes. Rows of `sorted` stand in the order of (value, row), then those with
//! NaN, then those without a value, ascending both. A bitmap is a Roaring one in the portable form.
//!
//! Derived from the columns when a file is written; a file without them is read through its columns.
//! Must never know a filter's text, a patch or a dead row. docs/format.md, "Attribute indexes".

mod bitmaps;
mod build;
mod keys;
mod sorted;
#[cfg(test)]
mod tests;

use self::bitmaps::Bitmaps;
pub(super) use self::build::build;
use self::keys::{Span, span};
use self::sorted::Sorted;
use super::AttributeFile;
use crate::error::Result;
use crate::filter::{Asked, Holds};
use crate::segment::columns::{arrow_schema, type_of_code};
use crate::storage::container::Section;
use crate::types::{Column, DataType, Row};

const MAGIC: [u8; 4] = *b"NFAX";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 24;
const ENTRY_BYTES: usize = 16;
const ZONE_BYTES: usize = 24;
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

/// Rows found by an index.
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
    pub(crate) fn rows(&self, total: usize) -> Result<Vec<Row>> {
        match &self.rows {
            Found::Runs(runs) => runs.rows(total),
            Found::Bitmaps(union) => union.rows(total),
        }
    }

    /// The bits of the rows: row `i` is bit `i % 64` of word `i / 64`.
    pub(crate) fn words(&self, total: usize) -> Result<Vec<u64>> {
        match &self.rows {
            Found::Runs(runs) => runs.words(total),
            Found::Bitmaps(union) => union.words(total),
        }
    }
}

impl Indexes {
    /// Those of a section over `rows` rows in `groups` groups; `None` when they are of another version.
    pub(super) fn open(section: Section, rows: usize, groups: usize) -> Result<Option<Self>> {
        if section.len() >= HEADER_BYTES && u32_at(section.read(0, HEADER_BYTES)?, 4) != VERSION {
            return Ok(None);
        }
        let columns = parse(&section, rows, groups)?;
        let columns = columns.ok_or_else(|| section.corrupt("not the indexes of its columns"))?;
        Ok(Some(Self { section, columns }))
    }

    fn find(&self, column: &Column) -> Option<&Indexed> {
        let same = |known: &&Indexed| known.name == column.name;
        self.columns.iter().find(same).filter(|known| known.data_type == column.data_type)
    }
}

impl AttributeFile {
    /// The rows for which what is asked of `column` holds, where an index can tell.
    pub(crate) fn served(&self, column: &Column, asked: Asked<'_>) -> Result<Option<Served<'_>>> {
        let found = self
            .indexes
            .as_ref()
            .and_then(|indexes| indexes.find(column).map(|indexed| (&indexes.section, indexed)));
        let Some((section, indexed)) = found else { return Ok(None) };
        Ok(match &indexed.kind {
            Kind::Zones => None,
            Kind::Sorted(sorted) => {
                let values = sorted::Values { file: self, column };
                sorted.serve(section, &values, asked)?.map(|runs| Served {
                    most: runs.len(),
                    by: ServedBy::Sorted,
                    rows: Found::Runs(runs),
                })
            }
            Kind::Bitmaps(bitmaps) => bitmaps.serve(section, column, asked)?.map(|union| Served {
                most: union.most(),
                by: ServedBy::Bitmaps,
                rows: Found::Bitmaps(union),
            }),
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

fn parse(section: &Section, rows: usize, groups: usize) -> Result<Option<Vec<Indexed>>> {
    if section.len() < HEADER_BYTES {
        return Ok(None);
    }
    let header = section.read(0, HEADER_BYTES)?;
    let count = u32_at(header, 20);
    let all = u64_at(header, 8) == rows as u64 && u32_at(header, 16) as usize == groups;
    if !header.starts_with(&MAGIC) || !all {
        return Ok(None);
    }
    let mut entries = Vec::new();
    let mut at = HEADER_BYTES;
    for _ in 0..count {
        let Some(left) = section.len().checked_sub(at).filter(|left| *left >= ENTRY_BYTES) else {
            return Ok(None);
        };
        let entry = section.read(at, ENTRY_BYTES)?;
        let name_len = u32_at(entry, 8) as usize;
        let padded = name_len.next_multiple_of(8);
        if left - ENTRY_BYTES < padded {
            return Ok(None);
        }
        let name = section.read(at + ENTRY_BYTES, name_len)?;
        let (Ok(name), Some(data_type)) = (std::str::from_utf8(name), type_of_code(entry[12]))
        else {
            return Ok(None);
        };
        let len = usize::try_from(u64_at(entry, 0)).unwrap_or(usize::MAX);
        entries.push((name.to_owned(), data_type, entry[13], len));
        at += ENTRY_BYTES + padded;
    }
    let mut columns: Vec<Indexed> = Vec::with_capacity(entries.len());
    for (name, data_type, kind, len) in entries {
        let zones_len = groups * ZONE_BYTES;
        let inside = len.is_multiple_of(8) && section.len() - at >= len && len >= zones_len;
        if !inside || columns.iter().any(|column| column.name == name) {
            return Ok(None);
        }
        let zones = section.read(at, zones_len)?.chunks_exact(ZONE_BYTES).map(Zone::parse);
        let zones = zones.collect();
        let body = (at + zones_len)..(at + len);
        let kind = match kind {
            ZONES if body.is_empty() => Some(Kind::Zones),
            SORTED => Sorted::parse(section, body, rows)?.map(Kind::Sorted),
            BITMAPS => Bitmaps::parse(section, body, rows)?.map(Kind::Bitmaps),
            _ => None,
        };
        let Some(kind) = kind else { return Ok(None) };
        columns.push(Indexed { name, data_type, zones, kind });
        at += len;
    }
    Ok((at == section.len()).then_some(columns))
}

impl Zone {
    fn parse(bytes: &[u8]) -> Self {
        let (least, most) = (u64_at(bytes, 0), u64_at(bytes, 8));
        Self { least, most, nulls: u32_at(bytes, 16), nans: u32_at(bytes, 20) }
    }
}

/// A number out of bytes that were checked to hold it; 0 where they do not.
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let bytes = bytes.get(at..).and_then(|bytes| bytes.first_chunk());
    bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let bytes = bytes.get(at..).and_then(|bytes| bytes.first_chunk());
    bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

impl AttributeFile {
    /// That the indexes say of the columns what the columns say: they are made anew and compared.
    pub(super) fn verify_indexes(&self) -> Result<()> {
        let Some(indexes) = &self.indexes else { return Ok(()) };
        let blocks = self.blocks.read_all()?;
        let groups: Vec<_> =
            self.groups.iter().map(|group| group.offset..group.offset + group.len).collect();
        let rows = self.groups.iter().map(|group| group.rows).sum();
        let columns = indexes.columns.iter();
        let names = columns.map(|column| (column.name.as_str(), column.data_type));
        let made = build(blocks, &groups, rows, &arrow_schema(names))?;
        let same = made == indexes.section.read_all()?;
        if same {
            Ok(())
        } else {
            Err(indexes.section.corrupt("it does not agree with the columns"))
        }
    }
}
