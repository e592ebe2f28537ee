//! The ids of a chunk or segment: an owned column, and one view over memory and mapped sections.
//!
//! ```text
//! IDSC, u64 ids    rows × u64
//! IDSC, utf8 ids   (rows + 1) × u64 offsets into the text, from 0 · text
//! IDSO             rows × u32: row numbers by ascending id, equal ids by ascending row
//! ```
//!
//! A view over a file trusts no offset: an id that cannot be read is `None`, which the callers
//! turn into `Corrupt`. Must never know a vector or a column. docs/format.md, "Ids".

use std::borrow::Cow;
use std::cmp::Ordering;
use std::str;
use std::sync::Arc;

use arrow_array::builder::LargeStringBuilder;
use arrow_array::{ArrayRef, UInt64Array};
use zerocopy::IntoBytes;

use crate::bytes::{Guard, Guarded, Trusted};
use crate::error::{Error, Result};
use crate::kernel;
use crate::types::{IdRef, IdType, Ids, MAX_ID_BYTES, Row};

/// Ids held in memory, in row order.
#[derive(Clone, Debug)]
pub(crate) enum IdColumn {
    U64(Vec<u64>),
    Utf8 {
        /// One more than there are ids; the first is 0.
        offsets: Vec<u64>,
        text: String,
    },
}

impl IdColumn {
    pub(crate) fn new(id_type: IdType) -> Self {
        match id_type {
            IdType::U64 => Self::U64(Vec::new()),
            IdType::Utf8 => Self::Utf8 { offsets: vec![0], text: String::new() },
        }
    }

    pub(crate) fn from_ids(ids: &Ids<'_>) -> Self {
        match ids {
            Ids::U64(ids) => Self::U64(ids.to_vec()),
            Ids::Utf8(ids) => {
                let mut offsets = Vec::with_capacity(ids.len() + 1);
                let mut text = String::with_capacity(ids.iter().map(|id| id.len()).sum());
                offsets.push(0);
                for id in ids {
                    text.push_str(id);
                    offsets.push(text.len() as u64);
                }
                Self::Utf8 { offsets, text }
            }
        }
    }

    /// The same ids, borrowed where that costs nothing.
    pub(crate) fn to_ids(&self) -> Ids<'_> {
        match self {
            Self::U64(ids) => Ids::from(ids),
            Self::Utf8 { .. } => {
                let texts = (0..self.len()).filter_map(|row| match self.at(row) {
                    IdRef::Utf8(id) => Some(Cow::Borrowed(id)),
                    IdRef::U64(_) => None,
                });
                Ids::Utf8(texts.collect())
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::U64(ids) => ids.len(),
            Self::Utf8 { offsets, .. } => offsets.len() - 1,
        }
    }

    pub(crate) fn id_type(&self) -> IdType {
        match self {
            Self::U64(_) => IdType::U64,
            Self::Utf8 { .. } => IdType::Utf8,
        }
    }

    /// The id at `row`, which must be below [`len`](Self::len).
    pub(crate) fn at(&self, row: usize) -> IdRef<'_> {
        match self {
            Self::U64(ids) => IdRef::U64(ids[row]),
            Self::Utf8 { offsets, text } => {
                #[expect(clippy::cast_possible_truncation, reason = "offsets into text in memory")]
                let (from, to) = (offsets[row] as usize, offsets[row + 1] as usize);
                IdRef::Utf8(&text[from..to])
            }
        }
    }

    /// Appends one id of the column's kind.
    pub(crate) fn push(&mut self, id: IdRef<'_>) -> Result<()> {
        match (&mut *self, id) {
            (Self::U64(ids), IdRef::U64(id)) => ids.push(id),
            (Self::Utf8 { offsets, text }, IdRef::Utf8(id)) => {
                text.push_str(id);
                offsets.push(text.len() as u64);
            }
            _ => {
                return Err(Error::SchemaMismatch {
                    what: "id type".into(),
                    expected: self.id_type().to_string(),
                    given: match id {
                        IdRef::U64(_) => IdType::U64.to_string(),
                        IdRef::Utf8(_) => IdType::Utf8.to_string(),
                    },
                });
            }
        }
        Ok(())
    }

    /// Appends ids of the column's kind.
    pub(crate) fn extend(&mut self, ids: &Self) -> Result<()> {
        match (&mut *self, ids) {
            (Self::U64(all), Self::U64(more)) => all.extend_from_slice(more),
            _ => {
                for row in 0..ids.len() {
                    self.push(ids.at(row))?;
                }
            }
        }
        Ok(())
    }

    /// The same ids, read as a mapped section would be.
    pub(crate) fn view(&self) -> IdsView<'_, Trusted> {
        let [numbers, text] = self.pieces();
        IdsView {
            id_type: self.id_type(),
            rows: self.len(),
            numbers: Guarded::trusted(numbers),
            text: Guarded::trusted(text),
            text_start: 0,
        }
    }

    /// The two runs of bytes that make up the `IDSC` section.
    pub(crate) fn pieces(&self) -> [&[u8]; 2] {
        match self {
            Self::U64(ids) => [ids.as_bytes(), &[]],
            Self::Utf8 { offsets, text } => [offsets.as_bytes(), text.as_bytes()],
        }
    }

    /// Row numbers by ascending id; rows of equal id stay in row order.
    pub(crate) fn sorted_rows(&self) -> Vec<Row> {
        let rows = Row::try_from(self.len()).unwrap_or(Row::MAX);
        match self {
            Self::U64(ids) => {
                let mut keyed: Vec<(u64, Row)> = ids.iter().copied().zip(0..rows).collect();
                keyed.sort_unstable();
                keyed.into_iter().map(|(_, row)| row).collect()
            }
            Self::Utf8 { .. } => {
                let mut sorted: Vec<Row> = (0..rows).collect();
                sorted.sort_unstable_by_key(|row| (self.at(*row as usize), *row));
                sorted
            }
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        match self {
            Self::U64(ids) => ids.capacity() * 8,
            Self::Utf8 { offsets, text } => offsets.capacity() * 8 + text.capacity(),
        }
    }
}

/// Ids read through their guard.
#[derive(Debug)]
pub(crate) struct IdsView<'a, G> {
    id_type: IdType,
    rows: usize,
    /// The ids themselves, or the offsets of the text.
    numbers: Guarded<'a, G>,
    text: Guarded<'a, G>,
    /// Where the text starts in `text`.
    text_start: usize,
}

impl<G> Clone for IdsView<'_, G> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<G> Copy for IdsView<'_, G> {}

impl<'a, G: Guard> IdsView<'a, G> {
    /// The `IDSC` section of `rows` ids; `None` when its length cannot be right.
    pub(crate) fn section(id_type: IdType, rows: usize, bytes: Guarded<'a, G>) -> Option<Self> {
        let text_start = match id_type {
            IdType::U64 => rows.checked_mul(8).filter(|len| *len == bytes.len())?,
            IdType::Utf8 => {
                rows.checked_add(1)?.checked_mul(8).filter(|len| *len <= bytes.len())?
            }
        };
        Some(Self { id_type, rows, numbers: bytes, text: bytes, text_start })
    }

    /// The id of `row`; `None` when there is no such row or its bytes are no id.
    #[inline]
    pub(crate) fn at(&self, row: Row) -> Option<IdRef<'a>> {
        match self.id_type {
            IdType::U64 => {
                ((row as usize) < self.rows).then(|| IdRef::U64(self.numbers.u64_at(row as usize)))
            }
            IdType::Utf8 => Some(IdRef::Utf8(str::from_utf8(self.text_of(row)?).ok()?)),
        }
    }

    /// Asks for the id of `row`, or for where its text stands, ahead of time.
    #[inline]
    pub(crate) fn prefetch(&self, row: Row) {
        kernel::prefetch(self.numbers.hint(row as usize * 8, 8));
    }

    /// The ids of `count` rows from `first` on as an Arrow column; `None` when one cannot be read.
    pub(crate) fn column(&self, first: Row, count: usize) -> Option<ArrayRef> {
        let rows = (first..).take(count);
        Some(match self.id_type {
            IdType::U64 => {
                let number = |row| match self.at(row)? {
                    IdRef::U64(id) => Some(id),
                    IdRef::Utf8(_) => None,
                };
                let numbers: Option<Vec<u64>> = rows.map(number).collect();
                Arc::new(UInt64Array::from(numbers?))
            }
            IdType::Utf8 => {
                let mut texts = LargeStringBuilder::new();
                for row in rows {
                    let IdRef::Utf8(id) = self.at(row)? else { return None };
                    texts.append_value(id);
                }
                Arc::new(texts.finish())
            }
        })
    }

    /// Whether `row` is called `id`.
    #[inline]
    pub(crate) fn is(&self, row: Row, id: IdRef<'_>) -> bool {
        match id {
            IdRef::U64(id) => {
                self.id_type == IdType::U64
                    && (row as usize) < self.rows
                    && self.numbers.u64_at(row as usize) == id
            }
            IdRef::Utf8(id) => {
                self.id_type == IdType::Utf8 && self.text_of(row) == Some(id.as_bytes())
            }
        }
    }

    /// Order of the ids of two rows; unreadable ids come first.
    #[inline]
    pub(crate) fn compare(&self, a: Row, b: Row) -> Ordering {
        match self.id_type {
            IdType::U64 => self.numbers.u64_at(a as usize).cmp(&self.numbers.u64_at(b as usize)),
            IdType::Utf8 => self.text_of(a).cmp(&self.text_of(b)),
        }
    }

    /// First position of `sorted` (an `IDSO` section) whose id comes after `after`.
    pub(crate) fn seek(&self, sorted: Guarded<'_, G>, after: IdRef<'_>) -> usize {
        let (mut low, mut high) = (0, self.rows.min(sorted.len() / 4));
        while low < high {
            let middle = low + (high - low) / 2;
            if self.at(sorted.u32_at(middle)).is_none_or(|id| id <= after) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    fn text_of(&self, row: Row) -> Option<&'a [u8]> {
        let row = row as usize;
        if row >= self.rows {
            return None;
        }
        let text = self.text.len() - self.text_start;
        let from = usize::try_from(self.numbers.u64_at(row)).ok()?;
        let to = usize::try_from(self.numbers.u64_at(row + 1)).ok()?;
        if from > to || to > text || to - from > MAX_ID_BYTES {
            return None;
        }
        Some(self.text.get(self.text_start + from, to - from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings() -> IdColumn {
        IdColumn::from_ids(&Ids::from(&["b", "", "ünï", "a"]))
    }

    fn section(ids: &IdColumn) -> Vec<u8> {
        ids.pieces().concat()
    }

    #[test]
    fn ids_read_the_same_from_memory_and_from_a_section() {
        for ids in [strings(), IdColumn::U64(vec![9, 0, u64::MAX]), IdColumn::new(IdType::Utf8)] {
            let bytes = section(&ids);
            let mapped = IdsView::section(ids.id_type(), ids.len(), Guarded::trusted(&bytes))
                .expect("lengths agree");
            for row in 0..ids.len() {
                let at = Row::try_from(row).expect("small");
                assert_eq!(mapped.at(at), Some(ids.at(row)));
                assert_eq!(ids.view().at(at), Some(ids.at(row)));
                assert!(mapped.is(at, ids.at(row)));
                assert!(!mapped.is(at, IdRef::U64(77)) && !mapped.is(at, IdRef::Utf8("77")));
            }
            assert_eq!(mapped.at(Row::try_from(ids.len()).expect("small")), None);
        }
    }

    #[test]
    fn rows_sort_by_id_and_seeking_finds_what_comes_after() {
        let ids = strings();
        assert_eq!(ids.sorted_rows(), [1, 3, 0, 2]);
        let twice = IdColumn::U64(vec![5, 3, 5, 3]);
        let sorted = twice.sorted_rows();
        assert_eq!(sorted, [1, 3, 0, 2]);
        let bytes = Guarded::trusted(sorted.as_bytes());
        let positions = [2, 3, 4, 5, 6].map(|id| twice.view().seek(bytes, IdRef::U64(id)));
        assert_eq!(positions, [0, 2, 2, 4, 4]);
    }

    #[test]
    fn a_hostile_section_yields_none_and_never_panics() {
        let ids = strings();
        let bytes = section(&ids);
        assert!(IdsView::section(IdType::U64, 4, Guarded::trusted(&bytes)).is_none());
        assert!(IdsView::section(IdType::Utf8, usize::MAX, Guarded::trusted(&bytes)).is_none());
        assert!(IdsView::section(IdType::Utf8, 4, Guarded::trusted(&bytes[..39])).is_none());
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let view = IdsView::section(IdType::Utf8, 4, Guarded::trusted(&flipped)).expect("len");
            let unread = (0..4).filter(|row| view.at(*row).is_none()).count();
            let changed = (0..4).any(|row| view.at(row) != Some(ids.at(row as usize)));
            assert!(unread > 0 || changed);
            view.compare(0, 2);
        }
    }

    #[test]
    fn ids_of_the_other_kind_are_refused() {
        let mut ids = strings();
        assert!(matches!(ids.push(IdRef::U64(1)), Err(Error::SchemaMismatch { .. })));
        ids.push(IdRef::Utf8("z")).expect("a string");
        assert_eq!(ids.at(4), IdRef::Utf8("z"));
    }
}
