//! The k best candidates seen so far.
//!
//! Candidates order by distance; the caller decides between equal distances (a collection orders
//! them by id, which is not known here), so that the k best are the same whatever the order in
//! which rows are met.

use std::cmp::Ordering;

use crate::types::Row;

/// A row and its distance from the query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) distance: f32,
    pub(crate) row: Row,
}

/// Keeps the k best of the candidates it is offered: a heap with the worst on top.
pub(crate) struct TopK<'a> {
    k: usize,
    /// Largest distance that can still enter; below every distance when none can.
    bound: f32,
    heap: Vec<Candidate>,
    before: &'a dyn Fn(Row, Row) -> bool,
}

impl std::fmt::Debug for TopK<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_struct("TopK");
        debug.field("k", &self.k).field("bound", &self.bound).field("heap", &self.heap);
        debug.finish_non_exhaustive()
    }
}

impl<'a> TopK<'a> {
    /// Keeps at most `k` candidates at a distance of at most `limit` (`f32::INFINITY` for no
    /// limit). `before(a, b)` tells whether row `a` comes before row `b` at an equal distance. No
    /// more than `rows` candidates will be offered; room is made for no more.
    pub(crate) fn new(
        k: usize,
        limit: f32,
        rows: usize,
        before: &'a dyn Fn(Row, Row) -> bool,
    ) -> Self {
        let bound = if k == 0 { f32::NAN } else { limit };
        Self { k, bound, heap: Vec::with_capacity(k.min(rows).min(1024)), before }
    }

    /// Largest distance that can still enter; NaN when none can.
    #[inline(always)]
    pub(crate) fn bound(&self) -> f32 {
        self.bound
    }

    /// How many candidates are kept at most.
    pub(crate) fn k(&self) -> usize {
        self.k
    }

    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Offers a candidate. Its distance is not NaN, and its row was not offered before.
    #[inline(always)]
    pub(crate) fn offer(&mut self, distance: f32, row: Row) {
        if distance <= self.bound {
            self.take(Candidate { distance, row });
        }
    }

    /// All candidates, the best first.
    pub(crate) fn into_sorted(self) -> Vec<Candidate> {
        let Self { mut heap, before, .. } = self;
        heap.sort_unstable_by(|a, b| compare(before, a, b));
        heap
    }

    #[inline(never)]
    fn take(&mut self, candidate: Candidate) {
        if self.heap.len() < self.k {
            self.heap.push(candidate);
            self.lift(self.heap.len() - 1);
        } else {
            if !self.better(candidate, self.heap[0]) {
                return;
            }
            self.heap[0] = candidate;
            self.sink();
        }
        if self.heap.len() == self.k {
            self.bound = self.heap[0].distance;
        }
    }

    fn better(&self, a: Candidate, b: Candidate) -> bool {
        compare(self.before, &a, &b) == Ordering::Less
    }

    fn lift(&mut self, mut at: usize) {
        while at > 0 {
            let parent = (at - 1) / 2;
            if !self.better(self.heap[parent], self.heap[at]) {
                return;
            }
            self.heap.swap(parent, at);
            at = parent;
        }
    }

    fn sink(&mut self) {
        let mut at = 0;
        loop {
            let mut worst = at;
            for child in [2 * at + 1, 2 * at + 2] {
                if child < self.heap.len() && self.better(self.heap[worst], self.heap[child]) {
                    worst = child;
                }
            }
            if worst == at {
                return;
            }
            self.heap.swap(worst, at);
            at = worst;
        }
    }
}

fn compare(before: &dyn Fn(Row, Row) -> bool, a: &Candidate, b: &Candidate) -> Ordering {
    a.distance.total_cmp(&b.distance).then_with(|| {
        if before(a.row, b.row) {
            Ordering::Less
        } else if before(b.row, a.row) {
            Ordering::Greater
        } else {
            a.row.cmp(&b.row)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_k_best_are_kept_whatever_the_order() {
        let before = |a: Row, b: Row| a > b;
        let distances = [3.0, 1.0, 2.0, 1.0, 1.0, f32::INFINITY, 0.5, 2.0];
        for turn in 0..distances.len() {
            let mut top = TopK::new(3, f32::INFINITY, 8, &before);
            for at in 0..distances.len() {
                let row = (at + turn) % distances.len();
                top.offer(distances[row], row as Row);
            }
            let rows: Vec<Row> = top.into_sorted().iter().map(|c| c.row).collect();
            assert_eq!(rows, [6, 4, 3], "ties go to the row that the caller puts first");
        }
    }

    #[test]
    fn a_limit_and_a_small_k_are_kept() {
        let before = |a: Row, b: Row| a < b;
        let mut top = TopK::new(5, 1.0, usize::MAX, &before);
        for (row, distance) in [1.0, 1.1, 0.0].into_iter().enumerate() {
            top.offer(distance, row as Row);
        }
        assert_eq!(top.len(), 2);
        assert_eq!(top.into_sorted()[1], Candidate { distance: 1.0, row: 0 });
        let mut none = TopK::new(0, f32::INFINITY, 9, &before);
        none.offer(0.0, 1);
        assert_eq!(none.into_sorted(), []);
        let mut all = TopK::new(usize::MAX, f32::INFINITY, 2, &before);
        all.offer(f32::INFINITY, 1);
        all.offer(f32::INFINITY, 0);
        assert_eq!(all.into_sorted()[0].row, 0);
    }
}
