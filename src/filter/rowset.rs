//! A set of rows of one segment or chunk, cheap to clone and to change.
//!
//! Pages of 65,536 rows are shared between clones and copied on the first change, so that a
//! snapshot keeps the set it was made with while a writer marks further rows. An absent page
//! holds no row.

use std::sync::Arc;

use roaring::RoaringBitmap;

use crate::types::Row;

const PAGE_ROWS: usize = 1 << 16;
const PAGE_WORDS: usize = PAGE_ROWS / 64;

/// A set of rows.
#[derive(Clone, Debug, Default)]
pub(crate) struct RowSet {
    pages: Vec<Option<Arc<[u64; PAGE_WORDS]>>>,
    len: usize,
}

impl RowSet {
    /// How many rows are in the set.
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline(always)]
    pub(crate) fn contains(&self, row: Row) -> bool {
        let row = row as usize;
        match self.pages.get(row / PAGE_ROWS) {
            Some(Some(page)) => page[row % PAGE_ROWS / 64] >> (row % 64) & 1 == 1,
            _ => false,
        }
    }

    /// Adds a row; true if it was not there.
    pub(crate) fn insert(&mut self, row: Row) -> bool {
        let row = row as usize;
        let page = row / PAGE_ROWS;
        if page >= self.pages.len() {
            self.pages.resize(page + 1, None);
        }
        let words = self.pages[page].get_or_insert_with(|| Arc::new([0; PAGE_WORDS]));
        let word = row % PAGE_ROWS / 64;
        let bit = 1 << (row % 64);
        if words[word] & bit != 0 {
            return false;
        }
        Arc::make_mut(words)[word] |= bit;
        self.len += 1;
        true
    }

    /// All rows in ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Row> + '_ {
        self.pages.iter().enumerate().flat_map(|(index, page)| {
            page.iter().flat_map(move |words| {
                words.iter().enumerate().flat_map(move |(word, &bits)| {
                    let base = Row::try_from(index * PAGE_ROWS + word * 64).unwrap_or(Row::MAX);
                    std::iter::successors(Some(bits), |b| Some(b & b.wrapping_sub(1)))
                        .take_while(|b| *b != 0)
                        .map(move |b| base + b.trailing_zeros())
                })
            })
        })
    }

    /// Rows of `self` that are not in `other`.
    pub(crate) fn difference<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = Row> + 'a {
        self.iter().filter(|row| !other.contains(*row))
    }

    /// The set in the portable roaring format, the form kept on disk.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bitmap = RoaringBitmap::new();
        bitmap.extend(self.iter());
        let mut bytes = Vec::with_capacity(bitmap.serialized_size());
        if bitmap.serialize_into(&mut bytes).is_err() {
            unreachable!("writing into a vector cannot fail");
        }
        bytes
    }

    /// Reads [`to_bytes`](Self::to_bytes); `None` when the bytes are not such a set or name a row
    /// at or above `rows`.
    pub(crate) fn from_bytes(bytes: &[u8], rows: usize) -> Option<Self> {
        let bitmap = RoaringBitmap::deserialize_from(bytes).ok()?;
        if bitmap.max().is_some_and(|row| row as usize >= rows) {
            return None;
        }
        let mut set = Self::default();
        for row in bitmap {
            set.insert(row);
        }
        Some(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_keeps_its_rows_while_the_original_grows() {
        let mut set = RowSet::default();
        assert!(set.insert(3));
        assert!(!set.insert(3));
        let before = set.clone();
        assert!(set.insert(200_000));
        assert_eq!(before.len(), 1);
        assert!(!before.contains(200_000));
        assert_eq!(set.iter().collect::<Vec<_>>(), [3, 200_000]);
        assert_eq!(set.difference(&before).collect::<Vec<_>>(), [200_000]);
    }

    #[test]
    fn bytes_round_trip_and_rows_out_of_range_are_refused() {
        let mut set = RowSet::default();
        for row in (0..100_000).step_by(7) {
            set.insert(row);
        }
        let bytes = set.to_bytes();
        let back = RowSet::from_bytes(&bytes, 100_000).expect("valid");
        assert_eq!(back.iter().collect::<Vec<_>>(), set.iter().collect::<Vec<_>>());
        assert!(RowSet::from_bytes(&bytes, 1_000).is_none());
        assert!(RowSet::from_bytes(&bytes[..bytes.len() - 1], 100_000).is_none());
        assert!(RowSet::from_bytes(&[], 1).is_none());
    }
}
