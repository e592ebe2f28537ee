//! From an id to its row: a hash table of one cache line a bucket.
//!
//! ```text
//! IDTB   max(rows / 8 rounded up) buckets of 64 bytes:
//!        12 × fingerprint u8 (0 = free) · 4 zero bytes · 12 × row u32
//! ```
//!
//! An id hashes (XXH3-64, fixed seed, over its bytes or its 8 little-endian bytes) to the bucket
//! `hash × buckets / 2^64`, and to a fingerprint from its lowest byte. A full bucket overflows
//! into the next. At 8 rows for 12 slots a lookup that misses reads 1.15 lines on average. Rows are
//! confirmed against the ids themselves, so a damaged table can only miss; it is built with the
//! segment and checked whole by `verify`. When an id occurs twice its last row is the one found.
//! docs/format.md, "Ids".

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::ids::{IdColumn, IdsView};
use crate::bytes::{AlignedBytes, Guard, Guarded};
use crate::types::{IdRef, Row};

/// Bytes of a bucket.
pub(crate) const BUCKET_BYTES: usize = 64;
/// Rows a bucket holds.
const SLOTS: usize = 12;
/// Rows a bucket is meant to hold.
const ROWS_PER_BUCKET: usize = 8;
/// Where the row numbers of a bucket start.
const ROWS_AT: usize = 16;
/// Seed of the hash: part of the format.
const SEED: u64 = 0x6e65_6172_6669_656c;

/// Buckets of a table of `rows` rows.
pub(crate) fn buckets(rows: usize) -> usize {
    rows.div_ceil(ROWS_PER_BUCKET)
}

/// A table in memory, in the form in which it is written.
#[derive(Clone, Debug)]
pub(crate) struct IdTable {
    bytes: AlignedBytes,
}

impl IdTable {
    /// Builds the table; also the rows whose id a later row repeats, in no particular order.
    pub(crate) fn build(ids: &IdColumn) -> (Self, Vec<Row>) {
        let mut bytes = AlignedBytes::zeroed(buckets(ids.len()) * BUCKET_BYTES);
        let mut shadowed = Vec::new();
        for row in 0..ids.len() {
            let number = Row::try_from(row).unwrap_or(Row::MAX);
            shadowed.extend(insert(bytes.as_mut_slice(), ids, number));
        }
        (Self { bytes }, shadowed)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.as_slice()
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.bytes.len()
    }
}

/// Puts `row` into the table; the row it shadows, if any. There is always a free slot.
fn insert(table: &mut [u8], ids: &IdColumn, row: Row) -> Option<Row> {
    let id = ids.at(row as usize);
    let (mut bucket, fingerprint) = home(id, table.len() / BUCKET_BYTES);
    loop {
        let line = &mut table[bucket * BUCKET_BYTES..][..BUCKET_BYTES];
        for slot in 0..SLOTS {
            let at = ROWS_AT + slot * 4;
            if line[slot] == fingerprint {
                let other = row_at(line, slot);
                if ids.at(other as usize) == id {
                    line[at..at + 4].copy_from_slice(&row.to_le_bytes());
                    return Some(other);
                }
            } else if line[slot] == 0 {
                line[slot] = fingerprint;
                line[at..at + 4].copy_from_slice(&row.to_le_bytes());
                return None;
            }
        }
        bucket = (bucket + 1) % (table.len() / BUCKET_BYTES);
    }
}

/// The row of `id` in a table over `ids`; the bytes may be anything.
pub(crate) fn lookup<G: Guard, H: Guard>(
    table: Guarded<'_, G>,
    ids: &IdsView<'_, H>,
    id: IdRef<'_>,
) -> Option<Row> {
    let buckets = table.len() / BUCKET_BYTES;
    if buckets == 0 {
        return None;
    }
    let (mut bucket, fingerprint) = home(id, buckets);
    for _ in 0..buckets {
        let line = table.get(bucket * BUCKET_BYTES, BUCKET_BYTES);
        for slot in 0..SLOTS {
            if line[slot] == fingerprint {
                let row = row_at(line, slot);
                if ids.is(row, id) {
                    return Some(row);
                }
            } else if line[slot] == 0 {
                return None;
            }
        }
        bucket = (bucket + 1) % buckets;
    }
    None
}

fn row_at(line: &[u8], slot: usize) -> Row {
    let at = ROWS_AT + slot * 4;
    Row::from_le_bytes([line[at], line[at + 1], line[at + 2], line[at + 3]])
}

/// The hash of an id.
pub(crate) fn hash(id: IdRef<'_>) -> u64 {
    match id {
        IdRef::U64(id) => xxh3_64_with_seed(&id.to_le_bytes(), SEED),
        IdRef::Utf8(id) => xxh3_64_with_seed(id.as_bytes(), SEED),
    }
}

/// First bucket and fingerprint of an id.
#[expect(clippy::cast_possible_truncation, reason = "a bucket number is below the bucket count")]
fn home(id: IdRef<'_>, buckets: usize) -> (usize, u8) {
    let hash = hash(id);
    let bucket = (u128::from(hash) * buckets as u128) >> 64;
    (bucket as usize, (hash as u8).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{IdType, Ids};

    fn find(table: &IdTable, ids: &IdColumn, id: IdRef<'_>) -> Option<Row> {
        lookup(Guarded::trusted(table.as_bytes()), &ids.view(), id)
    }

    #[test]
    fn every_id_is_found_and_no_other() {
        for rows in [0, 1, 2, 8, 9, 1000, 20_000] {
            let numbers = IdColumn::U64((0..rows).map(|i| i * 7919).collect());
            let names: Vec<String> = (0..rows).map(|i| format!("id-{i}")).collect();
            let strings = IdColumn::from_ids(&Ids::from(&names));
            for ids in [numbers, strings] {
                let (table, shadowed) = IdTable::build(&ids);
                assert!(shadowed.is_empty());
                for row in 0..ids.len() {
                    let expected = Row::try_from(row).ok();
                    assert_eq!(find(&table, &ids, ids.at(row)), expected);
                }
                assert_eq!(find(&table, &ids, IdRef::U64(1)), None);
                assert_eq!(find(&table, &ids, IdRef::Utf8("id-x")), None);
            }
        }
    }

    #[test]
    fn the_last_row_of_a_repeated_id_is_found_and_the_others_are_reported() {
        let ids = IdColumn::from_ids(&Ids::from(&["a", "b", "a", "c", "a"]));
        let (table, mut shadowed) = IdTable::build(&ids);
        shadowed.sort_unstable();
        assert_eq!(shadowed, [0, 2]);
        assert_eq!(find(&table, &ids, IdRef::Utf8("a")), Some(4));
        assert_eq!(find(&table, &ids, IdRef::Utf8("b")), Some(1));
    }

    #[test]
    fn a_table_of_any_bytes_is_survived() {
        let ids = IdColumn::U64((0..100).collect());
        for fill in [1u8, 0x7f, 0xff] {
            let bytes = vec![fill; BUCKET_BYTES * 13];
            for id in 0..200 {
                let row = lookup(Guarded::trusted(&bytes), &ids.view(), IdRef::U64(id));
                assert!(row.is_none_or(|row| ids.at(row as usize) == IdRef::U64(id)));
            }
        }
        let empty = IdColumn::new(IdType::U64);
        assert_eq!(lookup(Guarded::trusted(&[]), &empty.view(), IdRef::U64(0)), None);
    }

    #[test]
    fn a_bucket_is_one_cache_line_and_misses_read_few() {
        assert_eq!(ROWS_AT + SLOTS * 4, BUCKET_BYTES);
        let ids = IdColumn::U64((0..80_000).collect());
        let (table, _) = IdTable::build(&ids);
        let full =
            table.as_bytes().chunks(BUCKET_BYTES).filter(|line| line[SLOTS - 1] != 0).count();
        assert!(full * 6 < buckets(80_000), "{full} of {} buckets are full", buckets(80_000));
    }
}
