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
    /// The rows whose bit is set: row `i` is bit `i % 64` of word `i / 64`.
    pub(crate) fn from_words(words: &[u64]) -> Self {
        let mut set = Self::default();
        for page in words.chunks(PAGE_WORDS) {
            let count = page.iter().map(|word| word.count_ones() as usize).sum::<usize>();
            set.len += count;
            set.pages.push((count > 0).then(|| {
                let mut words = [0; PAGE_WORDS];
                words[..page.len()].copy_from_slice(page);
                Arc::new(words)
            }));
        }
        set
    }

    /// These rows.
    pub(crate) fn from_rows(rows: &[Row]) -> Self {
        let mut set = Self::default();
        rows.iter().for_each(|row| {
            set.insert(*row);
        });
        set
    }

    /// The rows below `rows` that are not in the set.
    pub(crate) fn complement(&self, rows: usize) -> Self {
        let mut words = vec![u64::MAX; rows.div_ceil(64)];
        if let Some(last) = words.get_mut(rows / 64) {
            *last = (1 << (rows % 64)) - 1;
        }
        for (words, page) in words.chunks_mut(PAGE_WORDS).zip(&self.pages) {
            for (word, taken) in words.iter_mut().zip(page.iter().flat_map(|page| page.iter())) {
                *word &= !taken;
            }
        }
        Self::from_words(&words)
    }

    /// The rows that are not in `other`.
    pub(crate) fn without(&self, other: &Self) -> Self {
        const NONE: [u64; PAGE_WORDS] = [0; PAGE_WORDS];
        if other.is_empty() {
            return self.clone();
        }
        let mut words = Vec::with_capacity(self.pages.len() * PAGE_WORDS);
        for (index, page) in self.pages.iter().enumerate() {
            let ours = page.as_deref().unwrap_or(&NONE);
            let theirs = other.pages.get(index).and_then(|page| page.as_deref()).unwrap_or(&NONE);
            words.extend(ours.iter().zip(theirs).map(|(ours, theirs)| ours & !theirs));
        }
        Self::from_words(&words)
    }

    /// The rows that are in either.
    pub(crate) fn union(&self, other: &Self) -> Self {
        let (mut set, smaller) =
            if self.len >= other.len { (self.clone(), other) } else { (other.clone(), self) };
        for (index, page) in smaller.pages.iter().enumerate() {
            let Some(page) = page else { continue };
            if set.pages.len() <= index {
                set.pages.resize(index + 1, None);
            }
            let Some(ours) = &mut set.pages[index] else {
                set.len += page.iter().map(|word| word.count_ones() as usize).sum::<usize>();
                set.pages[index] = Some(Arc::clone(page));
                continue;
            };
            for (ours, theirs) in Arc::make_mut(ours).iter_mut().zip(page.iter()) {
                set.len += (theirs & !*ours).count_ones() as usize;
                *ours |= theirs;
            }
        }
        set
    }

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

    /// The rows below `rows` that are not in the set, ascending.
    pub(crate) fn absent(&self, rows: usize) -> Absent<'_> {
        Absent { set: self, rows, next: 0, bits: 0 }
    }

    /// Bits of the 64 rows from `index` × 64 on.
    #[inline(always)]
    pub(crate) fn word(&self, index: usize) -> u64 {
        match self.pages.get(index / PAGE_WORDS) {
            Some(Some(page)) => page[index % PAGE_WORDS],
            _ => 0,
        }
    }

    /// Memory held, shared or not.
    pub(crate) fn memory_bytes(&self) -> usize {
        let pages = self.pages.iter().flatten().count();
        self.pages.capacity() * size_of::<usize>() + pages * size_of::<[u64; PAGE_WORDS]>()
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

/// Rows that are not in a set, ascending.
#[derive(Clone, Debug)]
pub(crate) struct Absent<'a> {
    set: &'a RowSet,
    rows: usize,
    /// Word after that of `bits`.
    next: usize,
    /// Rows to come of a word.
    bits: u64,
}

impl Iterator for Absent<'_> {
    type Item = Row;

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "parts have below 2^32 rows")]
    fn next(&mut self) -> Option<Row> {
        while self.bits == 0 {
            let left = self.rows.checked_sub(self.next * 64).filter(|left| *left > 0)?;
            let inside = if left < 64 { (1 << left) - 1 } else { u64::MAX };
            self.bits = !self.set.word(self.next) & inside;
            self.next += 1;
        }
        let at = self.bits.trailing_zeros() as usize;
        self.bits &= self.bits - 1;
        Some(((self.next - 1) * 64 + at) as Row)
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
    fn sets_are_made_of_words_and_combined_word_by_word() {
        let every = |step: Row| {
            let mut set = RowSet::default();
            (0..150_001).filter(|row| row % step == 0).for_each(|row| assert!(set.insert(row)));
            set
        };
        let (twos, threes) = (every(2), every(3));
        let rows = |set: &RowSet| set.iter().collect::<Vec<_>>();
        let only =
            |keep: fn(Row) -> bool| (0..150_001).filter(|row| keep(*row)).collect::<Vec<_>>();
        let left = twos.without(&threes);
        assert_eq!(rows(&left), only(|row| row % 2 == 0 && row % 3 != 0));
        assert_eq!(left.len(), rows(&left).len());
        let either = twos.union(&threes);
        assert_eq!(rows(&either), only(|row| row % 2 == 0 || row % 3 == 0));
        assert_eq!(either.len(), rows(&either).len());
        assert_eq!(rows(&threes.union(&RowSet::default())), rows(&threes));
        let few = RowSet::from_words(&[1]);
        assert_eq!(rows(&few.union(&RowSet::from_words(&[2; 2_000]))).len(), 2_001);
        let others = twos.complement(150_001);
        assert_eq!(rows(&others), only(|row| row % 2 == 1));
        assert_eq!(others.len() + twos.len(), 150_001);
        assert_eq!(twos.absent(150_001).collect::<Vec<_>>(), rows(&others));
        assert_eq!(twos.absent(128).count(), 64);
        assert_eq!(RowSet::default().absent(65).last(), Some(64));
        assert_eq!(RowSet::default().absent(0).next(), None);
        assert_eq!((twos.word(1), twos.word(1 << 40)), (u64::MAX / 3, 0));
        assert_eq!(RowSet::default().complement(64).len(), 64);
        assert_eq!(rows(&RowSet::from_words(&[5, 0, 1 << 63])), [0, 2, 191]);
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
