//! A graph from nothing: levels and entry are drawn beforehand, rows are inserted in rounds.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use rayon::ThreadPool;

use crate::codec::{PairSource, Pairs, Scorer};
use crate::filter::rowset::RowSet;
use crate::index::hnsw::Params;
use crate::index::hnsw::graph::{END, Graph, Level, MAX_LEVELS, MAX_ROWS, cap, width};
use crate::index::hnsw::pool::{Keep, Ties};
use crate::index::hnsw::prune::{Link, select};
use crate::index::hnsw::repair::repair;
use crate::index::hnsw::rounds::{Jobs, Spread, insert_all};
use crate::index::hnsw::walk::{Links, Scratch, Stop, descend, walk};
use crate::kernel::Isa;
use crate::types::Row;

/// Candidates kept by a walk from near rows: this part of those of an insertion, and at least so
/// many.
const NEAR_SHARE: usize = 2;
const NEAR_LEAST: usize = 32;
/// A node is on the next level with probability 2⁻⁵.
const LEVEL_BITS: u32 = 5;

/// Builds the graph of the first `count` rows on all threads of `pool`. `None` when `keep_going`,
/// asked now and then, says no.
///
/// # Panics
/// When `count` is not below 2³⁰, or there are fewer rows.
pub(crate) fn build<S: PairSource>(
    isa: Isa,
    source: &S,
    count: usize,
    params: &Params,
    pool: &ThreadPool,
    keep_going: &(dyn Fn() -> bool + Sync),
) -> Option<Graph> {
    assert!(count < MAX_ROWS);
    let plan = Plan::new(count, params, 0..);
    let rows = Rows::above(&plan, 0, keep_going);
    if !insert_all(isa, source, &plan, 0, &rows, pool) {
        return None;
    }
    let mut graph = plan.finish(params);
    repair(isa, source, &mut graph);
    Some(graph)
}

/// The graph while it grows.
pub(super) struct Plan {
    /// Level 0 first.
    pub(super) layers: Vec<Layer>,
    /// Topmost level of each row.
    pub(super) tops: Vec<u8>,
    pub(super) entry: Row,
    pub(super) ef: usize,
}

pub(super) struct Layer {
    /// Row of each node; empty for level 0, where they are the same.
    rows: Vec<Row>,
    /// Position of each node in the level below; empty for level 0.
    below: Vec<u32>,
    count: usize,
    /// Slots of a list, and how many of them are used.
    width: usize,
    pub(super) max: usize,
    links: Vec<AtomicU32>,
    /// Bits of each link's distance from its owner, so that a full list is pruned without scoring
    /// it again.
    lengths: Vec<AtomicU32>,
}

impl Plan {
    /// The graph of `count` rows without links. The entry is of `entries`, those below `count`.
    pub(super) fn new(count: usize, params: &Params, entries: impl Iterator<Item = Row>) -> Self {
        let m = params.held_m();
        #[expect(clippy::cast_possible_truncation, reason = "checked to be below 2³⁰")]
        let rows = count as Row;
        let mut tops: Vec<u8> = (0..rows).map(|row| draw_level(params.seed, row)).collect();
        let top = tops.iter().copied().max().unwrap_or(0);
        // The first of the highest.
        let entries = entries.take_while(|row| *row < rows);
        let entry = entries.min_by_key(|row| top - tops[*row as usize]).unwrap_or(0);
        if let Some(level) = tops.get_mut(entry as usize) {
            *level = top;
        }
        let mut layers = vec![Layer::new(Vec::new(), Vec::new(), count, cap(m), 2 * m)];
        for level in 1..=top {
            let nodes: Vec<Row> = (0..rows).filter(|row| tops[*row as usize] >= level).collect();
            let lower = &layers[usize::from(level) - 1];
            let below = nodes.iter().map(|row| lower.node(*row)).collect();
            let count = nodes.len();
            layers.push(Layer::new(nodes, below, count, width(m), m));
        }
        Self { layers, tops, entry, ef: params.ef_construction.max(1) }
    }

    pub(super) fn finish(self, params: &Params) -> Graph {
        let entry = self.layers.last().map_or(0, |layer| layer.node(self.entry));
        let mut layers = self.layers.into_iter();
        let (cap, base) = layers
            .next()
            .map_or((cap(params.m), Vec::new()), |base| (base.width, plain(base.links)));
        let levels = layers.map(|layer| Level {
            rows: layer.rows,
            below: layer.below,
            links: plain(layer.links),
        });
        let m = params.held_m();
        Graph { m, cap, entry, base, levels: levels.collect() }
    }
}

fn plain(links: Vec<AtomicU32>) -> Vec<u32> {
    links.into_iter().map(AtomicU32::into_inner).collect()
}

/// The topmost level of a row, from a hash of it (splitmix64).
fn draw_level(seed: u64, row: Row) -> u8 {
    let mut hash = seed.wrapping_add(u64::from(row).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    hash = (hash ^ hash >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    hash = (hash ^ hash >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    hash ^= hash >> 31;
    let level = (hash.trailing_zeros() / LEVEL_BITS) as usize;
    #[expect(clippy::cast_possible_truncation, reason = "at most MAX_LEVELS")]
    let level = level.min(MAX_LEVELS) as u8;
    level
}

impl Layer {
    fn new(rows: Vec<Row>, below: Vec<u32>, count: usize, width: usize, max: usize) -> Self {
        let slots = count * width;
        Self {
            rows,
            below,
            count,
            width,
            max,
            links: (0..slots).map(|_| AtomicU32::new(END)).collect(),
            lengths: (0..slots).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    /// The node of a row that is on this level.
    pub(super) fn node(&self, row: Row) -> u32 {
        if self.rows.is_empty() {
            return row;
        }
        #[expect(clippy::cast_possible_truncation, reason = "fewer nodes than rows")]
        let node = self.rows.partition_point(|other| *other < row) as u32;
        node
    }

    #[inline(always)]
    fn range(&self, node: u32) -> std::ops::Range<usize> {
        let start = node as usize * self.width;
        start..start + self.width
    }

    /// Writes a list, of a node that no other thread writes to.
    #[inline(always)]
    pub(super) fn write(&self, node: u32, list: &[Link]) {
        let range = self.range(node);
        for (slot, link) in self.lengths[range.clone()].iter().zip(list) {
            slot.store(link.distance.to_bits(), Relaxed);
        }
        let links = &self.links[range];
        for (slot, link) in links.iter().zip(list) {
            slot.store(link.node, Relaxed);
        }
        for slot in &links[list.len()..] {
            slot.store(END, Relaxed);
        }
    }

    /// The links of a node, with their lengths.
    #[inline(always)]
    pub(super) fn read(&self, node: u32) -> impl Iterator<Item = Link> + '_ {
        let range = self.range(node);
        let slots = self.links[range.clone()].iter().zip(&self.lengths[range]);
        let links = slots.map(|(slot, length)| Link {
            node: slot.load(Relaxed),
            distance: f32::from_bits(length.load(Relaxed)),
        });
        links.take_while(|link| link.node != END)
    }

    /// Adds links to a node's list, but those that it has: two rows of a round may have chosen each
    /// other.
    #[inline(always)]
    pub(super) fn add<P: Pairs>(
        &self,
        pairs: P,
        node: u32,
        added: impl Iterator<Item = Link>,
        work: &mut Work,
    ) {
        work.candidates.clear();
        work.candidates.extend(self.read(node));
        let had = work.candidates.len();
        for link in added {
            if work.candidates[..had].iter().all(|other| other.node != link.node) {
                work.candidates.push(link);
            }
        }
        self.keep(pairs, node, work);
    }

    /// Writes the candidates as a node's list, pruned to what it holds.
    #[inline(always)]
    pub(super) fn keep<P: Pairs>(&self, pairs: P, node: u32, work: &mut Work) {
        if work.candidates.len() <= self.max {
            self.write(node, &work.candidates);
            return;
        }
        work.sort_candidates(Ties::mixed(node));
        select(pairs, self, &work.candidates, self.max, &mut work.kept);
        self.write(node, &work.kept);
    }
}

impl Links for Layer {
    #[inline(always)]
    fn count(&self) -> usize {
        self.count
    }

    #[inline(always)]
    fn row(&self, node: u32) -> Row {
        if self.rows.is_empty() { node } else { self.rows[node as usize] }
    }

    #[inline(always)]
    fn list(&self, node: u32) -> impl Iterator<Item = u32> {
        // What ends a list is not below the count.
        self.links[self.range(node)].iter().map(|slot| slot.load(Relaxed))
    }

    #[inline(always)]
    fn prefetch<S: Scorer>(&self, scorer: &S, node: u32) {
        scorer.prefetch_slice(&self.links[self.range(node)]);
    }
}

/// Memory of a thread that inserts.
#[derive(Default)]
pub(super) struct Work {
    pub(super) scratch: Scratch,
    pub(super) candidates: Vec<Link>,
    /// What a full list keeps.
    pub(super) kept: Vec<Link>,
    /// Links of the new node, a level each.
    pub(super) chosen: Vec<Vec<Link>>,
    /// Rows and their distances.
    pub(super) rows: Vec<Row>,
    pub(super) distances: Vec<f32>,
    /// Rows of the same round that are near the new one.
    pub(super) mates: Vec<Row>,
}

impl Work {
    pub(super) fn new(plan: &Plan) -> Self {
        Self { chosen: vec![Vec::new(); plan.layers.len()], ..Self::default() }
    }

    fn sort_candidates(&mut self, ties: Ties) {
        self.candidates.sort_unstable_by(|a, b| {
            let by_distance = a.distance.total_cmp(&b.distance);
            by_distance.then_with(|| ties.rank(a.node).cmp(&ties.rank(b.node)))
        });
    }

    /// Adds the mates to the candidates. No walk finds them: nothing leads to them yet.
    #[inline(always)]
    fn add_mates(&mut self, scorer: &impl Scorer, ties: Ties) {
        if self.mates.is_empty() {
            return;
        }
        self.distances.clear();
        self.distances.resize(self.mates.len(), 0.0);
        scorer.score_batch(&self.mates, &mut self.distances);
        let mates = self.mates.iter().zip(&self.distances);
        self.candidates.extend(mates.map(|(&node, &distance)| Link { distance, node }));
        self.sort_candidates(ties);
    }
}

/// All rows but the entry that reach a level, each from the entry.
pub(super) struct Rows<'a> {
    plan: &'a Plan,
    level: usize,
    order: Spread,
    keep_going: &'a (dyn Fn() -> bool + Sync),
}

impl<'a> Rows<'a> {
    /// Those that reach `level`, to be linked there and above.
    pub(super) fn above(
        plan: &'a Plan,
        level: usize,
        keep_going: &'a (dyn Fn() -> bool + Sync),
    ) -> Self {
        Self { plan, level, order: Spread::over(plan.tops.len()), keep_going }
    }
}

impl Jobs for Rows<'_> {
    fn len(&self) -> usize {
        self.order.len()
    }

    fn job(&self, index: usize) -> Option<(Row, usize)> {
        let row = Row::try_from(self.order.at(index)).ok()?;
        let reaches = usize::from(self.plan.tops[row as usize]) >= self.level;
        (row != self.plan.entry && reaches).then_some((row, self.level))
    }

    fn keep_going(&self) -> bool {
        (self.keep_going)()
    }
}

/// Writes the lists of a row on its levels from `lowest` on, of which there is one at least. On level 0 it starts
/// from `work.rows` where there are any, and `work.mates` are candidates beside what it finds.
#[inline(always)]
pub(super) fn insert<P: Pairs>(plan: &Plan, pairs: P, row: Row, lowest: usize, work: &mut Work) {
    let scorer = pairs.scorer(row);
    let own_top = usize::from(plan.tops[row as usize]);
    let near = !work.rows.is_empty();
    let mut level = plan.layers.len() - 1;
    let mut node = plan.layers[level].node(plan.entry);
    let mut distance = scorer.score(plan.entry);
    if near && own_top == 0 {
        level = 0;
    }
    while level > own_top {
        let layer = &plan.layers[level];
        (node, distance) =
            descend(&scorer, layer, node, distance, &mut work.scratch.counts, |_, _| {});
        node = layer.below[node as usize];
        level -= 1;
    }
    let none = RowSet::default();
    loop {
        let layer = &plan.layers[level];
        let scratch = &mut work.scratch;
        let near = near && level == 0;
        let ef = if near { (plan.ef / NEAR_SHARE).max(NEAR_LEAST) } else { plan.ef };
        scratch.reset(layer.count, Keep::all(ef), Ties::mixed(row));
        if near {
            work.distances.clear();
            work.distances.resize(work.rows.len(), 0.0);
            scorer.score_batch(&work.rows, &mut work.distances);
            for (node, distance) in work.rows.iter().zip(&work.distances) {
                scratch.start(*distance, *node, false);
            }
        } else {
            scratch.start(distance, node, false);
        }
        walk(&scorer, layer, &none, Stop::NEVER, scratch);
        work.candidates.clear();
        let found = scratch.pool.visible();
        work.candidates.extend(found.map(|(distance, node)| Link { distance, node }));
        if level == 0 {
            work.add_mates(&scorer, Ties::mixed(row));
        }
        select(pairs, layer, &work.candidates, layer.max, &mut work.chosen[level]);
        if level == lowest {
            break;
        }
        if let Some(nearest) = work.candidates.first() {
            (distance, node) = (nearest.distance, nearest.node);
        }
        node = layer.below[node as usize];
        level -= 1;
    }
    for level in lowest..=own_top {
        let layer = &plan.layers[level];
        layer.write(layer.node(row), &work.chosen[level]);
    }
}
