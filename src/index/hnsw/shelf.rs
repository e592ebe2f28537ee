//! The candidates of each row: of every direction in which near rows lie the nearest, and of those
//! the nearest.
//!
//! What is kept does not depend on the order in which rows are offered: it is always the nearest few
//! of the nearest of each direction.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::prune::Link;
use crate::codec::BlockPairs;
use crate::types::Row;

/// The direction of no candidate.
const NONE: u16 = u16::MAX;
/// Rows under one lock.
pub(super) const STRIPE_ROWS: usize = 16;

/// Candidates of some rows, one after the other.
pub(super) struct Shelves {
    rows: Range<usize>,
    /// Most candidates of a row.
    most: usize,
    stripes: Vec<Mutex<Stripe>>,
}

pub(super) struct Stripe {
    /// Distance and row of each candidate, which order by their bits.
    entries: Vec<u64>,
    directions: Vec<u16>,
    counts: [usize; STRIPE_ROWS],
    /// The farthest candidate of rows that have all they may.
    worst: [u64; STRIPE_ROWS],
}

impl Shelves {
    /// Bytes that a row takes.
    pub(super) fn bytes_per_row(most: usize) -> usize {
        let stripe = size_of::<Mutex<Stripe>>().div_ceil(STRIPE_ROWS);
        most * (size_of::<u64>() + size_of::<u16>()) + stripe
    }

    pub(super) fn new(rows: Range<usize>, most: usize) -> Self {
        let stripe = || Stripe {
            entries: vec![0; STRIPE_ROWS * most],
            directions: vec![NONE; STRIPE_ROWS * most],
            counts: [0; STRIPE_ROWS],
            worst: [u64::MAX; STRIPE_ROWS],
        };
        let stripes = (0..rows.len().div_ceil(STRIPE_ROWS)).map(|_| Mutex::new(stripe())).collect();
        Self { rows, most, stripes }
    }

    pub(super) fn rows(&self) -> &Range<usize> {
        &self.rows
    }

    pub(super) fn stripes(&self) -> usize {
        self.stripes.len()
    }

    /// The stripe of a row, and its place there.
    #[inline(always)]
    fn place(&self, row: Row) -> Option<(MutexGuard<'_, Stripe>, usize)> {
        let at = (row as usize).checked_sub(self.rows.start)?;
        let stripe = self.stripes.get(at / STRIPE_ROWS)?;
        Some((stripe.lock().unwrap_or_else(PoisonError::into_inner), at % STRIPE_ROWS))
    }

    /// Asks for what `row` has ahead of time.
    #[inline(always)]
    pub(super) fn prefetch<P: BlockPairs>(&self, pairs: P, row: Row) {
        if let Some((stripe, at)) = self.place(row) {
            let places = at * self.most..(at + 1) * self.most;
            pairs.prefetch(&stripe.entries[places.clone()]);
            pairs.prefetch(&stripe.directions[places]);
        }
    }

    /// Offers rows as candidates of `row`, each in its `direction`.
    #[inline(always)]
    pub(super) fn offer(
        &self,
        row: Row,
        offers: impl Iterator<Item = Link>,
        direction: impl Fn(&Link) -> u16,
    ) {
        let Some((mut stripe, at)) = self.place(row) else { return };
        for link in offers {
            let entry = u64::from(link.distance.to_bits()) << 32 | u64::from(link.node);
            if entry < stripe.worst[at] {
                stripe.put(at, self.most, entry, direction(&link));
            }
        }
    }

    /// Hands the candidates of the rows of a stripe to `take`, each row's at once.
    #[inline(always)]
    pub(super) fn each_of(&self, stripe: usize, mut take: impl FnMut(Row, &mut [u64])) {
        let Some(rows) = self.stripes.get(stripe) else { return };
        let mut rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
        let Stripe { entries, counts, .. } = &mut *rows;
        let lists = entries.chunks_exact_mut(self.most).zip(counts.iter());
        for (row, (entries, count)) in self.rows.clone().skip(stripe * STRIPE_ROWS).zip(lists) {
            if let Ok(row) = Row::try_from(row) {
                take(row, &mut entries[..*count]);
            }
        }
    }
}

/// What [`Shelves::each_of`] hands out.
#[expect(clippy::cast_possible_truncation, reason = "takes the halves")]
pub(super) fn link(entry: u64) -> Link {
    Link { distance: f32::from_bits((entry >> 32) as u32), node: entry as u32 }
}

impl Stripe {
    #[inline(always)]
    fn put(&mut self, row: usize, most: usize, entry: u64, direction: u16) {
        let count = self.counts[row];
        let entries = &mut self.entries[row * most..][..most];
        let directions = &mut self.directions[row * most..][..most];
        let same = place_of(directions, direction);
        let at = match same {
            Some(at) if entries[at] <= entry => return,
            Some(at) => at,
            None if count < most => {
                self.counts[row] += 1;
                count
            }
            None => place_of(entries, self.worst[row]).unwrap_or(0),
        };
        (entries[at], directions[at]) = (entry, direction);
        if self.counts[row] == most {
            self.worst[row] = entries.iter().copied().max().unwrap_or(u64::MAX);
        }
    }
}

/// Where `wanted` is, looked for in many at a time.
#[inline(always)]
fn place_of<T: Copy + PartialEq>(items: &[T], wanted: T) -> Option<usize> {
    const TOGETHER: usize = 32;
    for (first, items) in (0..).step_by(TOGETHER).zip(items.chunks(TOGETHER)) {
        if items.iter().fold(false, |found, item| found | (*item == wanted)) {
            return items.iter().position(|item| *item == wanted).map(|at| first + at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::noise::bits;

    #[test]
    fn what_is_kept_does_not_depend_on_the_order_of_offers() {
        let mut next = bits(3);
        let directions: Vec<u16> = (0..900).map(|_| (next() % 70) as u16).collect();
        let distances: Vec<f32> = (0..900).map(|_| (next() % 500) as f32).collect();
        // The same row may be offered often.
        let mut offers: Vec<Link> = (0..3000)
            .map(|offer| Link { distance: distances[offer % 900], node: offer as u32 % 900 })
            .collect();
        let kept = |offers: &[Link]| {
            let shelves = Shelves::new(40..60, 32);
            let direction = |link: &Link| directions[link.node as usize];
            for offers in offers.chunks(7) {
                shelves.offer(57, offers.iter().copied(), direction);
            }
            let mut kept = Vec::new();
            shelves.each_of(1, |row, entries| {
                assert!(row == 57 || entries.is_empty());
                entries.sort_unstable();
                kept.extend_from_slice(entries);
            });
            kept
        };
        // The nearest of each direction, and of those the nearest.
        let mut nearest = [u64::MAX; 70];
        for link in &offers {
            let entry = u64::from(link.distance.to_bits()) << 32 | u64::from(link.node);
            let nearest = &mut nearest[usize::from(directions[link.node as usize])];
            *nearest = entry.min(*nearest);
        }
        nearest.sort_unstable();
        assert_eq!(kept(&offers), nearest[..32]);
        offers.reverse();
        assert_eq!(kept(&offers), nearest[..32]);
    }
}
