//! Reads what a section of indexes says of itself: the tail first, then the directory before it.

use std::ops::Range;

use super::bitmaps::Bitmaps;
use super::sorted::Sorted;
use super::{BITMAPS, Indexed, Kind, MAGIC, SORTED, TAIL_BYTES, VERSION, ZONES, Zone};
use crate::segment::columns::type_of_code;
use crate::storage::container::Section;

/// The indexes of a section over `rows` rows in `groups` groups; `None` when it is malformed, damaged
/// or of another version.
pub(super) fn directory(section: &Section, rows: usize, groups: usize) -> Option<Vec<Indexed>> {
    let end = section.len().checked_sub(TAIL_BYTES)?;
    let mut tail = Bytes(section.read(end, TAIL_BYTES).ok()?);
    let len = tail.number()?;
    let agrees = tail.number()? == rows && tail.small()? == groups;
    let count = tail.small()?;
    if !agrees || tail.small()? != VERSION as usize || tail.0 != MAGIC {
        return None;
    }
    let bodies = end.checked_sub(len)?;
    let mut directory = Bytes(section.read(bodies, len).ok()?);
    let mut columns = Vec::new();
    let mut at = 0_usize;
    for _ in 0..count {
        let len = directory.number()?;
        let body = at..at.checked_add(len).filter(|end| *end <= bodies && end.is_multiple_of(8))?;
        at = body.end;
        columns.push(directory.column(body, rows, groups)?);
    }
    (directory.0.is_empty() && at == bodies).then_some(columns)
}

/// Bytes that are still to be read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn long(&mut self) -> Option<u64> {
        self.take(8)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
    }

    fn number(&mut self) -> Option<usize> {
        usize::try_from(self.long()?).ok()
    }

    fn short(&mut self) -> Option<u32> {
        self.take(4)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
    }

    fn small(&mut self) -> Option<usize> {
        usize::try_from(self.short()?).ok()
    }

    /// An entry behind the length of its body.
    fn column(&mut self, body: Range<usize>, rows: usize, groups: usize) -> Option<Indexed> {
        let (values, nulls, dictionary) = (self.number()?, self.number()?, self.number()?);
        let name_len = self.small()?;
        let (data_type, kind) = match self.take(4)? {
            [data_type, kind, 0, 0] => (type_of_code(*data_type)?, *kind),
            _ => return None,
        };
        let name = self.take(name_len.checked_next_multiple_of(8)?)?.get(..name_len)?;
        let name = std::str::from_utf8(name).ok()?.to_owned();
        let zones = (0..groups).map(|_| self.zone()).collect::<Option<_>>()?;
        let kind = match kind {
            ZONES => body.is_empty().then_some(Kind::Zones)?,
            SORTED => Kind::Sorted(Sorted::new(body, values, nulls, rows)?),
            BITMAPS => Kind::Bitmaps(Bitmaps::new(body, values, nulls, dictionary, rows)?),
            _ => return None,
        };
        Some(Indexed { name, data_type, zones, kind })
    }

    fn zone(&mut self) -> Option<Zone> {
        let (least, most) = (self.long()?, self.long()?);
        Some(Zone { least, most, nulls: self.short()?, nans: self.short()? })
    }
}
