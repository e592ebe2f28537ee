//! Which rows a search has met: a bit a row, cleared by undoing, kept from search to search.

use crate::types::Row;

/// A set of rows that empties in the time it took to fill.
#[derive(Debug, Default)]
pub(super) struct Visited {
    words: Vec<u64>,
    met: Vec<Row>,
}

impl Visited {
    /// Empties the set and makes room for rows below `rows`.
    pub(super) fn reset(&mut self, rows: usize) {
        for &row in &self.met {
            self.words[row as usize / 64] = 0;
        }
        self.met.clear();
        let words = rows.div_ceil(64);
        if self.words.len() < words {
            self.words.resize(words, 0);
        }
    }

    /// How many rows there is room to remember.
    pub(super) fn capacity(&self) -> usize {
        self.met.capacity()
    }

    /// Adds the rows of `list` up to the first that is not below `bound`, and copies those that
    /// were not there to the front of `out`; how many. `bound` is at most the number given to
    /// `reset`, and of `list` no more is looked at than `out` takes.
    #[inline(always)]
    pub(super) fn insert_list(
        &mut self,
        list: impl Iterator<Item = Row>,
        bound: usize,
        out: &mut [Row],
    ) -> usize {
        let mut fresh = 0;
        for row in list.take(out.len()) {
            if row as usize >= bound {
                break;
            }
            let word = &mut self.words[row as usize / 64];
            let bit = 1 << (row % 64);
            // Written in any case and counted or not: whether a row was met cannot be foretold.
            out[fresh] = row;
            fresh += usize::from(*word & bit == 0);
            *word |= bit;
        }
        self.met.extend_from_slice(&out[..fresh]);
        fresh
    }

    /// Adds a row; true if it was not there. The row is below the number given to `reset`.
    #[inline(always)]
    pub(super) fn insert(&mut self, row: Row) -> bool {
        let word = &mut self.words[row as usize / 64];
        let bit = 1 << (row % 64);
        if *word & bit != 0 {
            return false;
        }
        *word |= bit;
        self.met.push(row);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_set_is_empty_and_may_have_grown() {
        let mut visited = Visited::default();
        visited.reset(100);
        assert!(visited.insert(99));
        assert!(!visited.insert(99));
        visited.reset(1000);
        assert!(visited.insert(99));
        assert!(visited.insert(999));
        let mut out = [0; 5];
        let fresh = visited.insert_list([5, 999, 6, 5, 7, 8].into_iter(), 1000, &mut out);
        assert_eq!(out[..fresh], [5, 6, 7]);
        assert_eq!(visited.insert_list([8, 1001, 9].into_iter(), 1000, &mut out), 1);
        visited.reset(10);
        assert!(visited.insert(9));
        assert!(visited.words.iter().sum::<u64>() == 1 << 9);
    }
}
