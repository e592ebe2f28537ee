//! Hierarchical navigable small worlds: a graph in which a greedy walk finds near neighbours.
//!
//! Every row is a node of level 0; one in 32 is also on level 1, one in 1024 on level 2, and so
//! on. A search walks down the levels to a near node, then over level 0 with a pool of the `ef`
//! best rows met, until all of them are expanded. Built once, then immutable and read in place.
//!
//! Source: Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using
//! hierarchical navigable small world graphs" (2016): algorithms 1, 2, 4 and 5, whose names `m`
//! and `ef` are kept. Invariants after a build: every link is below its bound; every row can be
//! reached from the entry on level 0.
//!
//! | file | what |
//! |---|---|
//! | `graph` | the bytes: [`Graph`] just built, [`View`] read in place |
//! | `pool` | the best nodes of a walk, sorted |
//! | `walk` | the loop shared by search and build |
//! | `search` | the walk over a [`View`] |
//! | `build` | a graph from nothing, row after row |
//! | `bulk` | a graph from nothing, level 0 at once |
//! | `leaves` | rows dealt into small groups of near ones |
//! | `shelf` | the candidates of each row, the nearest of each direction |
//! | `rounds` | parallel insertion |
//! | `merge` | a graph from the graphs of parts |
//! | `prune` | which candidates become links |
//! | `repair` | links to rows that nothing leads to; [`verify`] |

mod build;
mod bulk;
mod graph;
mod leaves;
mod merge;
mod pool;
mod prune;
mod repair;
mod rounds;
mod search;
mod shelf;
mod walk;

#[cfg(test)]
mod tests;

pub(crate) use build::build;
pub(crate) use bulk::build_in_bulk;
pub(crate) use graph::{Graph, View};
pub(crate) use merge::{GONE, Merge, Seed, merge};
pub(crate) use pool::Keep;
pub(crate) use repair::verify;
pub(crate) use search::{Want, search};
pub(crate) use walk::{Counts, KEPT_ENTRIES, Reach};

use std::ops::RangeInclusive;

use graph::{MAX_CAP, cap};
use prune::Link;

/// How a graph is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Params {
    /// Links of a node on upper levels, and half of those on level 0; held to [`M`](Self::M).
    pub(crate) m: usize,
    /// Candidates kept while the neighbours of a new node are looked for; at least 1.
    pub(crate) ef_construction: usize,
    /// Draws the levels. The same seed, memory, rows and tier give the same graph on any number of threads.
    pub(crate) seed: u64,
    /// Bytes that a build may take, where it can do with less. In bulk, fewer rows at a time choose each other then.
    pub(crate) memory: usize,
}

impl Params {
    /// Links that a node can have on upper levels.
    pub(crate) const M: RangeInclusive<usize> = 2..=MAX_CAP / 2;

    fn held_m(&self) -> usize {
        self.m.clamp(*Self::M.start(), *Self::M.end())
    }

    /// Bytes that a build takes for each row, beside its candidates: links of level 0 with their lengths, and in
    /// which leaves and on which sides a row is.
    fn bytes_per_row(&self) -> usize {
        size_of::<Link>() * cap(self.m) + 128
    }

    /// Bytes of the graph over `rows` rows, about and not less.
    pub(crate) fn graph_bytes(&self, rows: usize) -> usize {
        // One row in 32 is on level 1, and so on; the draw gives a few more or fewer.
        let node = 8 + 4 * graph::width(self.held_m());
        let upper = (rows / 28 + 64).saturating_mul(node);
        rows.saturating_mul(4 * cap(self.held_m())).saturating_add(upper)
    }

    /// Bytes for each row with which a build goes well.
    pub(crate) fn least_bytes_per_row(&self) -> usize {
        // Candidates of a ninth of the rows at a time.
        self.bytes_per_row() + 128
    }
}

impl Default for Params {
    fn default() -> Self {
        Self { m: 16, ef_construction: 200, seed: 42, memory: usize::MAX }
    }
}
