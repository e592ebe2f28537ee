//! Rows of a file, some of which are held out of a collection to be its queries.

use std::collections::VecDeque;

use nearfield::interop::Reader;
use nearfield::{Ids, ImportBatch, Result};

/// Which rows of a file are held out: so many, from all over it.
#[derive(Debug, Default)]
pub(crate) struct HeldOut {
    rows: VecDeque<u64>,
    /// The vectors of those that were met so far, row-major.
    pub(crate) vectors: Vec<f32>,
}

impl HeldOut {
    /// `count` of `rows` rows.
    pub(crate) fn new(count: u64, rows: u64) -> Self {
        let place = |held: u64| {
            let middle = (2 * u128::from(held) + 1) * u128::from(rows) / (2 * u128::from(count));
            u64::try_from(middle).unwrap_or(u64::MAX)
        };
        Self { rows: (0..count).map(place).collect(), vectors: Vec::new() }
    }

    /// The rest of `batch`, without the rows that are held out.
    pub(crate) fn split(&mut self, batch: ImportBatch, width: usize) -> ImportBatch {
        let Some(last) = batch.source_rows.last() else { return batch };
        if self.rows.front().is_none_or(|row| row > last) {
            return batch;
        }
        let mut kept = Vec::with_capacity(batch.len());
        for (at, row) in batch.source_rows.iter().enumerate() {
            // One that cannot be stored is in no batch.
            while self.rows.front().is_some_and(|held| held < row) {
                self.rows.pop_front();
            }
            if self.rows.front() == Some(row) {
                self.vectors.extend(batch.vectors.to_f32(at * width..(at + 1) * width));
            } else {
                kept.push(at);
            }
        }
        let pick = |values: &[u64]| kept.iter().map(|at| values[*at]).collect::<Vec<_>>();
        let ids = match &batch.ids {
            Ids::U64(ids) => pick(ids),
            Ids::Utf8(_) => return batch,
        };
        ImportBatch {
            ids: ids.into(),
            vectors: batch.vectors.gather(kept.iter().copied(), width),
            attributes: None,
            source_rows: pick(&batch.source_rows),
            rejected: batch.rejected,
        }
    }
}

/// How many rows a file has that does not say so itself, those included that cannot be stored.
pub(crate) fn count(reader: Reader) -> Result<u64> {
    let mut rows = 0;
    for batch in reader {
        let batch = batch?;
        let rejected = batch.rejected.iter().map(|rejected| rejected.row);
        let last = batch.source_rows.iter().copied().chain(rejected).max();
        rows = last.map_or(rows, |last| last + 1);
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_from_all_over_are_held_out_and_the_others_stay_in_order() {
        let batch = |rows: std::ops::Range<u64>| {
            let rows: Vec<u64> = rows.filter(|row| *row != 4).collect();
            let vectors: Vec<f32> = rows.iter().flat_map(|row| [*row as f32, 0.5]).collect();
            ImportBatch {
                ids: rows.clone().into(),
                vectors: vectors.into(),
                attributes: None,
                source_rows: rows,
                rejected: Vec::new(),
            }
        };
        // Rows 1, 4 (which cannot be stored) and 7.
        let mut held = HeldOut::new(3, 9);
        let mut kept = Vec::new();
        for rows in [0..2, 2..4, 4..9] {
            let rest = held.split(batch(rows), 2);
            assert_eq!(rest.ids.len(), rest.source_rows.len());
            assert_eq!(rest.vectors.len(), 2 * rest.ids.len());
            kept.extend(rest.source_rows);
        }
        assert_eq!(kept, [0, 2, 3, 5, 6, 8]);
        assert_eq!(held.vectors, [1.0, 0.5, 7.0, 0.5]);
    }
}
