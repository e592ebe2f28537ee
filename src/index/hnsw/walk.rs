//! The loop that search and build share: expand the nearest node, score the links not met before,
//! keep the best.

use std::cell::RefCell;

use crate::codec::Scorer;
use crate::filter::rowset::RowSet;
use crate::index::hnsw::graph::MAX_CAP;
use crate::index::hnsw::pool::{Keep, Pool, Ties};
use crate::index::visited::Visited;
use crate::types::Row;

/// Links of one level.
pub(super) trait Links {
    /// How many nodes there are.
    fn count(&self) -> usize;

    /// The row of a node, below the scorer's number of rows.
    fn row(&self, node: u32) -> Row;

    /// The links of `node`, up to the first that is not below [`count`](Self::count).
    fn list(&self, node: u32) -> impl Iterator<Item = u32>;

    /// Asks for the links of `node` ahead of time.
    fn prefetch<S: Scorer>(&self, scorer: &S, node: u32);
}

/// Memory of a walk, reused from walk to walk.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) pool: Pool,
    visited: Visited,
    pub(super) counts: Counts,
}

/// What a walk has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Nodes whose links were followed.
    pub(crate) expanded: u64,
    /// Rows whose distance was computed.
    pub(crate) scored: u64,
    /// Whether the walk has ended early, as more work than it was worth.
    pub(crate) gave_up: bool,
}

/// Most nodes that a thread keeps room for.
pub(crate) const KEPT_ENTRIES: usize = 1 << 16;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Scratch {
    /// This thread's scratch; another one if that is in use.
    pub(super) fn take() -> Self {
        Self { counts: Counts::default(), ..SCRATCH.take() }
    }

    /// Keeps it for the thread's next walk, unless a large walk has made it large.
    pub(super) fn put_back(self) {
        if self.pool.capacity().max(self.visited.capacity()) <= KEPT_ENTRIES {
            SCRATCH.set(self);
        }
    }

    /// Makes ready for a walk over a level of `count` nodes.
    #[inline(always)]
    pub(super) fn reset(&mut self, count: usize, keep: Keep, ties: Ties) {
        self.visited.reset(count);
        self.pool.reset(keep, ties);
    }

    /// Passes by `node` as if it were not there.
    #[inline(always)]
    pub(super) fn pass_by(&mut self, node: u32) {
        self.visited.insert(node);
    }

    /// Adds a node to start from, unless it was added.
    #[inline(always)]
    pub(super) fn start(&mut self, distance: f32, node: u32, hidden: bool) {
        if self.visited.insert(node) {
            self.pool.insert(distance, node, hidden);
        }
    }
}

/// When a walk ends before all of its pool is expanded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stop {
    /// No candidate farther than this is wanted.
    pub(super) limit: f32,
    /// How many of the nearest are expanded all the same, since near ones may lie behind them.
    pub(super) at_least: usize,
    /// Those behind so many of the nearest are kept, once there are as many as are kept, and not
    /// expanded.
    pub(super) nearest: usize,
    /// So many rows are scored at most, and those of a node more.
    pub(super) scored: u64,
    /// Once [`PROBED`] are scored, so many of a thousand kept nodes are visible, or the walk ends.
    pub(super) least_visible: u32,
    /// How far beyond the hits it goes.
    pub(super) reach: Option<Reach>,
}

/// A walk that goes as far beyond what it has found as the distances there say, rather than for a
/// number of candidates: longer for a query in whose surroundings many rows are about as near.
/// After "Distance Adaptive Beam Search" (Al-Jazzazi et al. 2025, arXiv 2505.15636).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Reach {
    /// No node is expanded that is farther than so many times the visible node at place `rank`, or than it
    /// where its distance is below 0, as that of a near node may be by codes.
    pub(crate) slack: f32,
    pub(crate) rank: usize,
    /// So many visible nodes are kept, however far.
    pub(crate) least: usize,
}

impl Reach {
    /// The distance up to which nodes are expanded, and that up to which they are kept.
    #[inline(always)]
    fn limits(self, pool: &Pool) -> (f32, f32) {
        let last = pool.distance_at(self.rank.saturating_sub(1));
        let expanded = last.max(self.slack * last);
        (expanded, expanded.max(pool.distance_at(self.least.saturating_sub(1))))
    }
}

/// Where hidden nodes are kept, the place of a limit is found by counting: for one in so many nodes that are
/// counted, as many are expanded before that is done again.
const COUNTED_SHARE: usize = 64;

/// Rows scored before a walk is judged by how many of those near the query are visible.
const PROBED: u64 = 256;

impl Stop {
    pub(super) const NEVER: Self = Self {
        limit: f32::INFINITY,
        at_least: 0,
        nearest: usize::MAX,
        scored: u64::MAX,
        least_visible: 0,
        reach: None,
    };
}

/// Rows scored between two looks ahead.
const STEP: usize = 4;

/// Rows asked for before they are scored: as many as the caches take while lines are in flight.
#[inline(always)]
fn rows_ahead(stride: usize) -> usize {
    if stride <= 2048 { MAX_CAP } else { 8 }
}

/// Walks from the nodes with which `scratch` was started until all kept nodes are expanded.
#[inline(always)]
pub(super) fn walk<S: Scorer, L: Links>(
    scorer: &S,
    links: &L,
    dead: &RowSet,
    stop: Stop,
    scratch: &mut Scratch,
) {
    let Scratch { pool, visited, counts } = scratch;
    let ahead = rows_ahead(scorer.stride());
    let mut nodes = [0; MAX_CAP];
    let mut rows = [0; MAX_CAP];
    let mut distances = [0.0; MAX_CAP];
    let mut near = [0; MAX_CAP];
    let any_dead = !dead.is_empty();
    let mut probing = stop.least_visible > 0;
    let (mut limits, mut counted_again) = ((f32::INFINITY, f32::INFINITY), 0);
    while let Some((distance, node)) = pool.pop() {
        if distance > stop.limit && pool.cursor() > stop.at_least {
            return;
        }
        if pool.cursor() > stop.nearest && pool.is_full() {
            return;
        }
        let mut kept = f32::INFINITY;
        if let Some(reach) = stop.reach {
            // Limits fall as nodes enter: those of before are never too near.
            if counts.expanded >= counted_again {
                limits = reach.limits(pool);
                let lasting = if pool.has_hidden() { reach.least / COUNTED_SHARE } else { 0 };
                counted_again = counts.expanded + lasting as u64;
            }
            if distance > limits.0 {
                return;
            }
            kept = limits.1;
        }
        if counts.scored > stop.scored {
            counts.gave_up = true;
            return;
        }
        if probing && counts.scored >= PROBED {
            if pool.visible_share() < stop.least_visible {
                counts.gave_up = true;
                return;
            }
            probing = false;
        }
        if let Some(next) = pool.peek() {
            links.prefetch(scorer, next);
        }
        let fresh = visited.insert_list(links.list(node), links.count(), &mut nodes);
        for index in 0..fresh {
            rows[index] = links.row(nodes[index]);
        }
        for &row in &rows[..fresh.min(ahead)] {
            scorer.prefetch(row);
        }
        score_ahead(scorer, &rows[..fresh], ahead, &mut distances);
        counts.expanded += 1;
        counts.scored += fresh as u64;
        // First those that may enter, without a branch that cannot be foretold.
        let mut count = 0;
        for (index, distance) in distances[..fresh].iter().enumerate() {
            near[count] = index;
            count += usize::from(*distance <= kept && pool.admits(*distance));
        }
        for &index in &near[..count] {
            if pool.admits(distances[index]) {
                let hidden = any_dead && dead.contains(rows[index]);
                if pool.insert(distances[index], nodes[index], hidden) {
                    links.prefetch(scorer, nodes[index]);
                }
            }
        }
    }
}

/// Scores rows of which the first `ahead` are asked for already, asking for the others in time.
#[inline(always)]
fn score_ahead<S: Scorer>(scorer: &S, rows: &[Row], ahead: usize, distances: &mut [f32]) {
    if rows.len() <= ahead {
        scorer.score_batch(rows, distances);
        return;
    }
    for (index, (rows_now, out)) in rows.chunks(STEP).zip(distances.chunks_mut(STEP)).enumerate() {
        for &later in rows.iter().skip(index * STEP + ahead).take(STEP) {
            scorer.prefetch(later);
        }
        scorer.score_batch(rows_now, out);
    }
}

/// Walks to the node nearest to the query, keeping one; for the upper levels.
#[inline(always)]
pub(super) fn descend<S: Scorer, L: Links>(
    scorer: &S,
    links: &L,
    mut node: u32,
    mut distance: f32,
    counts: &mut Counts,
    mut met: impl FnMut(Row, f32),
) -> (u32, f32) {
    let mut nodes = [0; MAX_CAP];
    let mut rows = [0; MAX_CAP];
    let mut distances = [0.0; MAX_CAP];
    loop {
        let mut found = 0;
        for link in links.list(node).take(MAX_CAP) {
            if link as usize >= links.count() {
                break;
            }
            nodes[found] = link;
            rows[found] = links.row(link);
            scorer.prefetch(rows[found]);
            found += 1;
        }
        scorer.score_batch(&rows[..found], &mut distances);
        counts.expanded += 1;
        counts.scored += found as u64;
        let before = distance;
        for index in 0..found {
            met(rows[index], distances[index]);
            if distances[index] < distance {
                (node, distance) = (nodes[index], distances[index]);
            }
        }
        // Strictly nearer each round, so even damaged links end.
        if distance >= before {
            return (node, distance);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_expands_all_that_is_as_near_as_its_hits_also_below_a_distance_of_0() {
        let reach = Reach { slack: 1.25, rank: 2, least: 3 };
        let limits = |distances: [f32; 4]| {
            let mut pool = Pool::default();
            pool.reset(Keep::all(9), Ties::PLAIN);
            (0..).zip(distances).for_each(|(node, distance)| {
                pool.insert(distance, node, node == 0);
            });
            reach.limits(&pool)
        };
        assert_eq!(limits([0.5, 1.0, 4.0, 8.0]), (5.0, 8.0));
        assert_eq!(limits([-9.0, -8.0, -4.0, -1.0]), (-4.0, -1.0));
        assert_eq!(limits([-9.0, -8.0, 0.0, 0.0]), (0.0, 0.0));
        assert_eq!(limits([-9.0, -8.0, f32::INFINITY, 1.0]), (1.25, f32::INFINITY));
    }
}
