//! Row sets that filters have left of a part, kept for the next search with the same filter.
//!
//! A part as a snapshot sees it never changes, and neither does what a filter leaves of it. A writer
//! changes a clone, which begins without any: nothing here is ever out of date.

use std::collections::VecDeque;
use std::sync::PoisonError;

use crate::filter::Bound;
use crate::filter::rowset::RowSet;
use crate::sync::Mutex;

/// Bytes kept for each row of the part, most.
const BYTES_PER_ROW: usize = 4;
/// A filter that is remembered takes one in so many of them, most: lists of values may be long.
const FILTER_SHARE: usize = 8;
/// Sets of a part, most: each search compares its filter with all of them.
const MOST: usize = 64;

/// The row sets of a part, those used last first.
#[derive(Debug, Default)]
pub(crate) struct RowSets {
    kept: Mutex<VecDeque<(Bound, RowSet)>>,
}

impl Clone for RowSets {
    /// None: the clone is for a writer to change.
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl RowSets {
    /// What `filter` has left.
    pub(crate) fn get(&self, filter: &Bound) -> Option<RowSet> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|(known, _)| known == filter)?;
        if at > 0 {
            let found = kept.remove(at)?;
            kept.push_front(found);
        }
        kept.front().map(|(_, rows)| rows.clone())
    }

    /// Keeps what `filter` has left of a part of `len` rows, and of the others as many as there is room
    /// for.
    pub(crate) fn put(&self, len: usize, filter: &Bound, rows: &RowSet) {
        let room = len.saturating_mul(BYTES_PER_ROW);
        if cost(filter, rows) > room || filter.memory_bytes() > room / FILTER_SHARE {
            return;
        }
        let filter = filter.clone();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(known, _)| *known != filter);
        kept.push_front((filter, rows.clone()));
        kept.truncate(MOST);
        let mut bytes = 0;
        kept.retain(|(filter, rows)| {
            bytes += cost(filter, rows);
            bytes <= room
        });
    }

    /// Memory held by sets and filters.
    pub(crate) fn memory_bytes(&self) -> usize {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().map(|(filter, rows)| cost(filter, rows)).sum()
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// Bytes that a row set and its filter take.
fn cost(filter: &Bound, rows: &RowSet) -> usize {
    size_of::<(Bound, RowSet)>() + filter.memory_bytes() + rows.memory_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Filter;
    use crate::types::{Column, DataType};

    fn bound(text: &str) -> Bound {
        let columns = [Column { name: "n".into(), data_type: DataType::Int64, text: false }];
        Filter::from(text).bind(&columns, None).expect("a filter")
    }

    #[test]
    fn the_sets_used_last_stay_within_the_room_of_the_part() {
        let sets = RowSets::default();
        let full = |rows: usize| RowSet::default().complement(rows);
        let rows = 1 << 18;
        let most = BYTES_PER_ROW * 8;
        for n in 0..100 {
            sets.put(rows, &bound(&format!("n = {n}")), &full(rows));
            assert!(sets.get(&bound("n = 0")).is_some(), "{n}: it is used all the time");
        }
        assert!((2..=most + 2).contains(&sets.len()), "{}", sets.len());
        assert_eq!(sets.get(&bound("n = 99")).map(|set| set.len()), Some(rows));
        assert_eq!(sets.get(&bound("99 = n")).map(|set| set.len()), Some(rows), "means the same");
        assert!(sets.get(&bound("n = 1")).is_none());
        assert_eq!(sets.clone().len(), 0);
        for n in 0..1_000 {
            sets.put(rows, &bound(&format!("n = {n}")), &RowSet::default());
        }
        assert_eq!(sets.len(), MOST, "each search looks at all of them");
    }

    #[test]
    fn long_lists_are_remembered_where_the_part_is_large() {
        let list: Vec<String> = (0..20_000_i64).map(|n| (n * 1_000_003).to_string()).collect();
        let long = bound(&format!("n IN ({})", list.join(",")));
        let sets = RowSets::default();
        sets.put(1 << 20, &long, &RowSet::default());
        assert_eq!(sets.get(&long).map(|set| set.len()), Some(0));
        assert!(sets.memory_bytes() > 20_000 * size_of::<u64>());
        assert!(sets.memory_bytes() < 1 << 19);
        let sets = RowSets::default();
        sets.put(1 << 16, &long, &RowSet::default());
        assert_eq!(sets.len(), 0, "a filter takes the room of sets");
        sets.put(10, &bound("n = 1"), &RowSet::default().complement(10));
        assert_eq!((sets.len(), sets.memory_bytes()), (0, 0), "small parts remember nothing");
    }
}
