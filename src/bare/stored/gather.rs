//! Live rows moved together before a build, and back where they were if it is cancelled.

use super::{Names, Stored, row_number};
use crate::index::hnsw::GONE;
use crate::types::{Metric, Row};

/// Dead rows that were taken out from between the live ones, in ascending order.
#[derive(Debug, Default)]
pub(super) struct Gone {
    rows: Vec<usize>,
    ids: Vec<u64>,
    inverse_norms: Vec<f32>,
    vectors: Vec<u8>,
}

impl Gone {
    /// Where each of the first `count` rows went.
    pub(super) fn moves(&self, count: usize) -> Vec<Row> {
        let (mut gone, mut next) = (self.rows.iter().peekable(), 0);
        let to = |row| {
            if gone.next_if_eq(&&row).is_some() {
                return GONE;
            }
            next += 1;
            next - 1
        };
        (0..count).map(to).collect()
    }
}

impl Stored {
    /// Moves live rows together. What is returned brings everything back.
    pub(super) fn gather(&mut self, graph_rows: usize) -> Gone {
        let [graph_dead, later_dead] = std::mem::take(&mut self.dead);
        let mut gone = Gone::default();
        if graph_dead.is_empty() && later_dead.is_empty() {
            return gone;
        }
        let mut next = 0;
        for row in 0..self.ids.len() {
            let dead = match row.checked_sub(graph_rows) {
                Some(behind) => later_dead.contains(row_number(behind)),
                None => graph_dead.contains(row_number(row)),
            };
            if dead {
                gone.rows.push(row);
                gone.ids.push(self.ids[row]);
                gone.inverse_norms.extend(self.inverse_norms.get(row));
                gone.vectors.extend_from_slice(self.vector(row));
            } else {
                self.move_row(row, next);
                next += 1;
            }
        }
        self.ids.truncate(next);
        self.inverse_norms.truncate(next);
        self.names = Names::Table(self.ids.iter().copied().zip(0..).collect());
        gone
    }

    /// Takes [`gather`](Self::gather) back.
    pub(super) fn scatter(&mut self, gone: Gone, graph_rows: usize) {
        let (stride, cosine) = (self.space.stride(), self.space.metric == Metric::Cosine);
        let mut live = self.ids.len();
        let all = live + gone.rows.len();
        self.ids.resize(all, 0);
        self.inverse_norms.resize(if cosine { all } else { 0 }, 0.0);
        let mut dead = gone.rows.len();
        for row in (0..all).rev() {
            if dead == 0 || gone.rows[dead - 1] != row {
                live -= 1;
                self.move_row(live, row);
                continue;
            }
            dead -= 1;
            self.ids[row] = gone.ids[dead];
            if cosine {
                self.inverse_norms[row] = gone.inverse_norms[dead];
            }
            let vector = &gone.vectors[dead * stride..(dead + 1) * stride];
            self.vectors.as_mut_slice()[row * stride..(row + 1) * stride].copy_from_slice(vector);
            match row.checked_sub(graph_rows) {
                Some(behind) => self.dead[1].insert(row_number(behind)),
                None => self.dead[0].insert(row_number(row)),
            };
        }
        if !gone.rows.is_empty() {
            let alive = |row: &usize| gone.rows.binary_search(row).is_err();
            let rows = (0..all).filter(alive).map(|row| (self.ids[row], row_number(row)));
            self.names = Names::Table(rows.collect());
        }
    }

    fn vector(&self, row: usize) -> &[u8] {
        let stride = self.space.stride();
        &self.vectors.as_slice()[row * stride..(row + 1) * stride]
    }

    fn move_row(&mut self, from: usize, to: usize) {
        if from == to {
            return;
        }
        let stride = self.space.stride();
        self.ids[to] = self.ids[from];
        if self.space.metric == Metric::Cosine {
            self.inverse_norms[to] = self.inverse_norms[from];
        }
        let from = from * stride..(from + 1) * stride;
        self.vectors.as_mut_slice().copy_within(from, to * stride);
    }
}
