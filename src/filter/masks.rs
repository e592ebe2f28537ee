//! Bits of rows in words of 64: row `i` is bit `i % 64` of word `i / 64`. Bits behind the last row are 0.

/// Words of `rows` bits, all set.
pub(super) fn full(rows: usize) -> Vec<u64> {
    let mut words = vec![u64::MAX; rows.div_ceil(64)];
    clear_tail(&mut words, rows);
    words
}

pub(super) fn clear_tail(words: &mut [u64], rows: usize) {
    if let Some(last) = words.get_mut(rows / 64) {
        *last &= (1 << (rows % 64)) - 1;
    }
}

pub(super) fn is_empty(words: &[u64]) -> bool {
    words.iter().all(|word| *word == 0)
}

/// Calls `each` with the rows that are set, ascending.
#[inline]
pub(crate) fn for_each(words: &[u64], mut each: impl FnMut(usize)) {
    for (index, word) in words.iter().enumerate() {
        let mut word = *word;
        while word != 0 {
            each(index * 64 + word.trailing_zeros() as usize);
            word &= word - 1;
        }
    }
}

/// Bits one group of rows after the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Masks {
    words: Vec<u64>,
    rows: usize,
}

impl Masks {
    /// Appends `rows` bits.
    pub(crate) fn push(&mut self, words: &[u64], rows: usize) {
        let shift = self.rows % 64;
        self.words.resize((self.rows + rows).div_ceil(64), 0);
        let first = self.rows / 64;
        for (index, word) in (first..).zip(&words[..rows.div_ceil(64).min(words.len())]) {
            self.words[index] |= word << shift;
            if shift > 0
                && let Some(next) = self.words.get_mut(index + 1)
            {
                *next |= word >> (64 - shift);
            }
        }
        self.rows += rows;
        clear_tail(&mut self.words, self.rows);
    }

    pub(crate) fn set(&mut self, row: usize, bit: bool) {
        if row < self.rows {
            let mask = 1 << (row % 64);
            let word = &mut self.words[row / 64];
            *word = if bit { *word | mask } else { *word & !mask };
        }
    }

    pub(crate) fn words(&self) -> &[u64] {
        &self.words
    }
}
