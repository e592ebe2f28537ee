//! The candidates of each row: of every direction in which near rows lie the nearest, and of those
//! the nearest.
//!
//! What is kept does not depend on the order in which rows are offered: it is always the nearest few
//! of the nearest of each direction.

use std::sync::{Mutex, PoisonError};

use super::prune::Link;
use crate::types::Row;

/// The direction of no candidate.
const NONE: u16 = u16::MAX;
/// Rows under one lock.
pub(super) const STRIPE_ROWS: usize = 16;

/// Candidates of all rows.
pub(super) struct Shelves {
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
    pub(super) fn new(count: usize, most: usize) -> Self {
        let stripe = || Stripe {
            entries: vec![0; STRIPE_ROWS * most],
            directions: vec![NONE; STRIPE_ROWS * most],
            counts: [0; STRIPE_ROWS],
            worst: [u64::MAX; STRIPE_ROWS],
        };
        let stripes = count.div_ceil(STRIPE_ROWS);
        Self { most, stripes: (0..stripes).map(|_| Mutex::new(stripe())).collect() }
    }

    pub(super) fn stripes(&self) -> usize {
        self.stripes.len()
    }

    /// Offers rows, each with its distance and direction, as candidates of `row`.
    #[inline(always)]
    pub(super) fn offer(&self, row: Row, offers: impl Iterator<Item = (Link, u16)>) {
        let Some(stripe) = self.stripes.get(row as usize / STRIPE_ROWS) else { return };
        let mut stripe = stripe.lock().unwrap_or_else(PoisonError::into_inner);
        for (link, direction) in offers {
            let entry = u64::from(link.distance.to_bits()) << 32 | u64::from(link.node);
            stripe.offer(row as usize % STRIPE_ROWS, self.most, entry, direction);
        }
    }

    /// Hands the candidates of the rows of a stripe to `take`, each row's at once.
    #[inline(always)]
    pub(super) fn each_of(&self, stripe: usize, mut take: impl FnMut(usize, &mut [u64])) {
        let Some(rows) = self.stripes.get(stripe) else { return };
        let mut rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
        let Stripe { entries, counts, .. } = &mut *rows;
        let lists = entries.chunks_exact_mut(self.most).zip(counts.iter());
        for (at, (entries, count)) in lists.enumerate() {
            take(stripe * STRIPE_ROWS + at, &mut entries[..*count]);
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
    fn offer(&mut self, row: usize, most: usize, entry: u64, direction: u16) {
        if entry >= self.worst[row] {
            return;
        }
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
        let mut offers: Vec<(Link, u16)> = (0..3000)
            .map(|node| {
                let distance = (next() % 500) as f32;
                // The same row may be offered often.
                (Link { distance, node: node % 900 }, (next() % 70) as u16)
            })
            .collect();
        // A row is always as far and in the same direction.
        for at in 900..3000 {
            offers[at] = offers[at % 900];
        }
        let kept = |offers: &[(Link, u16)]| {
            let shelves = Shelves::new(20, 32);
            for offers in offers.chunks(7) {
                shelves.offer(17, offers.iter().copied());
            }
            let mut kept = Vec::new();
            shelves.each_of(1, |row, entries| {
                assert!(row == 17 || entries.is_empty());
                entries.sort_unstable();
                kept.extend_from_slice(entries);
            });
            kept
        };
        // The nearest of each direction, and of those the nearest.
        let mut nearest = [u64::MAX; 70];
        for (link, direction) in &offers {
            let entry = u64::from(link.distance.to_bits()) << 32 | u64::from(link.node);
            let nearest = &mut nearest[usize::from(*direction)];
            *nearest = entry.min(*nearest);
        }
        nearest.sort_unstable();
        assert_eq!(kept(&offers), nearest[..32]);
        offers.reverse();
        assert_eq!(kept(&offers), nearest[..32]);
    }
}
