//! Puts the rows of a column in the order of their values.

use std::ops::Range;

use arrow_array::{Array, ArrayRef, LargeStringArray};

use super::build::for_keys;
use super::keys::bytes_key;
use crate::types::{DataType, Row};

/// Bytes of a text that are compared at once, as a key.
const KEY_BYTES: usize = 8;
/// Keys after which texts are compared byte by byte: what is so long and still the same is rare.
const MOST_KEYS: usize = 32;

/// Strings of all rows.
#[derive(Default)]
pub(super) struct Texts {
    arrays: Vec<(usize, LargeStringArray)>,
    rows: usize,
}

impl Texts {
    pub(super) fn push(&mut self, array: LargeStringArray) {
        let first = self.rows;
        self.rows += array.len();
        self.arrays.push((first, array));
    }

    /// The string of a row; empty of columns without.
    pub(super) fn at(&self, row: Row) -> &str {
        let behind = self.arrays.partition_point(|(first, _)| *first <= row as usize);
        match self.arrays.get(behind.wrapping_sub(1)) {
            Some((first, array)) => array.value(row as usize - first),
            None => "",
        }
    }
}

/// A row in the order of values. Texts have the key of some of their bytes at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Placed {
    pub(super) key: u64,
    /// Bytes of the text from those of the key on, one more than a key has at most: those that end come
    /// first.
    left: u8,
    pub(super) row: Row,
}

impl Placed {
    fn of_text(text: &str, keys: usize, row: Row) -> Self {
        let rest = text.as_bytes().get(keys * KEY_BYTES..).unwrap_or_default();
        let left = u8::try_from(rest.len().min(KEY_BYTES + 1)).unwrap_or(u8::MAX);
        Self { key: bytes_key(rest), left, row }
    }

    fn goes_on(self) -> bool {
        usize::from(self.left) > KEY_BYTES
    }
}

/// The rows of a column: those with a value by their keys, and the others.
#[derive(Default)]
pub(super) struct Sortable {
    pub(super) values: Vec<Placed>,
    pub(super) nans: Vec<Row>,
    pub(super) nulls: Vec<Row>,
    texts: Texts,
}

/// A range of places with the same value.
pub(super) type Run = Range<usize>;

impl Sortable {
    /// Takes the values of a group whose first row is `first`.
    pub(super) fn take(&mut self, array: &ArrayRef, data_type: DataType, first: usize) {
        let row = |at: usize| Row::try_from(first + at).unwrap_or(Row::MAX);
        let Self { values, nans, nulls, texts } = self;
        values.reserve(array.len());
        if let (DataType::Utf8, Some(array)) = (data_type, array.as_any().downcast_ref()) {
            let array: &LargeStringArray = array;
            let valid = (0..array.len()).filter(|at| array.is_valid(*at));
            values.extend(valid.map(|at| Placed::of_text(array.value(at), 0, row(at))));
            texts.push(array.clone());
        } else {
            for_keys(array, data_type, |at, key| match key {
                Some(key) => values.push(Placed { key, left: 0, row: row(at) }),
                None => nans.push(row(at)),
            });
        }
        if array.null_count() > 0 {
            nulls.extend((0..array.len()).filter(|at| array.is_null(*at)).map(row));
        }
    }

    /// Sorts by value and row.
    pub(super) fn sort(&mut self) {
        self.values.sort_unstable();
        if !self.texts.arrays.is_empty() {
            sort_same(&mut self.values, &self.texts, 1);
        }
    }

    /// The string at a place; empty of columns without.
    pub(super) fn text(&self, place: usize) -> &str {
        self.texts.at(self.values[place].row)
    }

    /// Ranges of the same value, as many as are asked for at most.
    pub(super) fn runs(&self, most: usize) -> Vec<Run> {
        let mut from = 0;
        let text = |placed: &Placed| self.texts.at(placed.row);
        let same =
            |a: &Placed, b: &Placed| (a.key, a.left) == (b.key, b.left) && text(a) == text(b);
        let runs = self.values.chunk_by(same).map(|run| {
            let range = from..from + run.len();
            from = range.end;
            range
        });
        runs.take(most).collect()
    }
}

/// Sorts texts whose first `keys` keys are the same by those that follow.
fn sort_same(values: &mut [Placed], texts: &Texts, keys: usize) {
    let same = |a: &Placed, b: &Placed| (a.key, a.left) == (b.key, b.left);
    for same in values.chunk_by_mut(same).filter(|same| same.len() > 1 && same[0].goes_on()) {
        if keys == MOST_KEYS {
            same.sort_unstable_by(|a, b| {
                texts.at(a.row).cmp(texts.at(b.row)).then(a.row.cmp(&b.row))
            });
            continue;
        }
        for placed in &mut *same {
            *placed = Placed::of_text(texts.at(placed.row), keys, placed.row);
        }
        same.sort_unstable();
        sort_same(same, texts, keys + 1);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::kernel::noise;

    #[test]
    fn texts_stand_in_the_order_of_their_bytes_and_rows() {
        let mut next = noise::bits(3);
        // Long beginnings that are the same, ends with zeros, and texts that are beginnings of others.
        let made: Vec<String> = (0..4_000)
            .map(|_| {
                let long = "the same".repeat([0, 1, 2, 40][(next() % 4) as usize]);
                let end: String =
                    (0..next() % 12).map(|_| ['\0', 'a', 'é'][(next() % 3) as usize]).collect();
                long + &end
            })
            .collect();
        let mut sortable = Sortable::default();
        let mut first = 0;
        for part in made.chunks(1_500) {
            let array: LargeStringArray = part.iter().map(Some).collect();
            sortable.take(&(Arc::new(array) as ArrayRef), DataType::Utf8, first);
            first += part.len();
        }
        sortable.sort();
        let found: Vec<(&str, Row)> =
            (0..made.len()).map(|at| (sortable.text(at), sortable.values[at].row)).collect();
        assert!(found.is_sorted_by(|a, b| a < b));
        let different: std::collections::BTreeSet<&String> = made.iter().collect();
        assert_eq!(sortable.runs(usize::MAX).len(), different.len());
    }
}
