//! Ids for rows that come without one.
//!
//! Numbers go on from the highest id that a part holds, dead rows included; what was handed out is
//! remembered for as long as the collection is open, so that concurrent writers get different ones.
//! Strings are UUIDs of version 7 (RFC 9562): 48 bits of milliseconds since 1970, 74 random ones,
//! ascending within a batch. Should somebody have used an id all the same, the write says so.

use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

use super::host::fresh_store_id;
use super::snapshot::View;
use crate::error::{Error, Result};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::types::{IdRef, IdType, Ids};

/// Random bits of a UUID of version 7.
const RANDOM_BITS: u32 = 74;

/// Makes ids.
#[derive(Debug, Default)]
pub(crate) struct MadeIds {
    /// Every number handed out is below.
    next: AtomicU64,
}

impl MadeIds {
    /// `count` ids that no row of `view` has, of the kind it has; numbers if it has none yet.
    pub(crate) fn make(&self, view: &View, count: usize) -> Result<Ids<'static>> {
        if view.schema.id_type() == Some(IdType::Utf8) {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let first = uuid_number(since.as_millis(), fresh_store_id());
            let one = |index| Cow::Owned(uuid(first + index));
            return Ok(Ids::Utf8((0..count as u128).map(one).collect()));
        }
        let above = highest(view)?.map_or(Some(1), |id| id.checked_add(1));
        let reserve = |next: u64| next.max(above?).checked_add(count as u64);
        let before = self
            .next
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, reserve)
            .ok()
            .zip(above)
            .map(|(next, above)| next.max(above));
        match before {
            Some(first) => Ok(Ids::U64((first..first + count as u64).collect())),
            None => Err(Error::invalid(format!(
                "no {count} ids are left above the highest, 2^64 - 1 or near it; give ids"
            ))),
        }
    }
}

/// The highest number that is an id in any part.
fn highest(view: &View) -> Result<Option<u64>> {
    let mut highest = None;
    for part in view.parts() {
        let Some(last) = part.part.len().checked_sub(1) else { continue };
        for row in part.part.sorted_rows(last, 1)? {
            if let IdRef::U64(id) = part.part.id_ref(row)? {
                highest = highest.max(Some(id));
            }
        }
    }
    Ok(highest)
}

/// Time and random bits, without version and variant. The highest random bit is left zero, so that
/// counting on from here does not run into the time.
fn uuid_number(millis: u128, random: u128) -> u128 {
    (millis & ((1 << 48) - 1)) << RANDOM_BITS | random & ((1 << (RANDOM_BITS - 1)) - 1)
}

fn uuid(number: u128) -> String {
    let time = number >> RANDOM_BITS;
    let middle = number >> 62 & 0xfff;
    let low = number & ((1 << 62) - 1) | 0b10 << 62;
    let (high, rest) = (time >> 16, time & 0xffff);
    format!("{high:08x}-{rest:04x}-7{middle:03x}-{:04x}-{:012x}", low >> 48, low & 0xffff_ffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_has_the_form_of_version_7() {
        assert_eq!(uuid(uuid_number(0x0123_4567_89ab, 0)), "01234567-89ab-7000-8000-000000000000");
        let highest = uuid(uuid_number(u128::MAX, u128::MAX));
        assert_eq!(highest, "ffffffff-ffff-77ff-bfff-ffffffffffff");
    }

    #[test]
    fn uuids_ascend_with_time_and_within_a_batch() {
        let first = uuid_number(7, u128::MAX);
        let ids = [uuid(uuid_number(6, u128::MAX)), uuid(first), uuid(first + 1)];
        assert!(ids.is_sorted() && ids[1] != ids[2], "{ids:?}");
    }
}
