//! A graph without walks: the lists of level 0 all at once.
//!
//! Rows are dealt into small leaves of near ones, each into several; all pairs of a leaf are
//! compared, and every row keeps, for each direction in which near rows lie, the nearest. What it
//! keeps is pruned like the candidates of an insertion, and those chosen take links back. The levels
//! above, one row in 32, are inserted; their links lead from cluster to cluster on level 0 as well.
//!
//! Directions are told by which of two anchors a candidate lies nearer to than the row itself does,
//! for a dozen pairs of them.
//!
//! Sources: Rubel et al., "PiPNN" (2026), for leaves and candidates by direction; Malkov and Yashunin
//! for pruning.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use rayon::ThreadPool;

use super::build::{Plan, Rows, Work};
use super::graph::{Graph, MAX_ROWS};
use super::leaves::{LEAF_ROWS, deal, nearest, order};
use super::prune::{Link, select};
use super::repair::repair;
use super::rounds::{Spread, insert_all};
use super::shelf::{STRIPE_ROWS, Shelves, link};
use super::walk::Links;
use super::{Params, build};
use crate::codec::{Block, BlockPairs, BlockSource, BlocksOp, LINE, Pairs, PairsOp, Scorer};
use crate::kernel::Isa;
use crate::types::Row;

/// Fewer rows are inserted one by one.
pub(crate) const LEAST_ROWS: usize = 8 * LEAF_ROWS;
/// How many leaders take a row at first, and in each group that is divided again.
const FANS: [usize; 2] = [10, 2];
/// So many rows of a leaf are candidates of each, and as many more that are hardly farther.
const NEAREST: usize = 12;
/// A row is a candidate of so many of those.
const MUTUAL: usize = 2;
/// One link in so many, of a row that reaches the level above, is one of that level.
const FAR_SHARE: usize = 4;
/// Pairs of anchors, each a bit of a direction.
const PAIRS: usize = 12;
/// The bit that sets copies of a row apart from directions, and how many of them a row may keep.
const COPY: u16 = 1 << 15;
const COPIES: u32 = 16;
/// Rows that a thread takes at a time.
const CHUNK_ROWS: usize = 256;
/// Rows of a leaf after this one whose candidates are asked for.
const AHEAD: usize = 2;
/// Most parts that have their candidates one after the other.
const MOST_PARTS: usize = 16;

/// Builds the graph of the first `count` rows on all threads of `pool`, as [`build`] does. `None` when
/// `keep_going`, asked now and then, says no.
///
/// # Panics
/// When `count` is not below 2³⁰, or there are fewer rows.
pub(crate) fn build_in_bulk<S: BlockSource>(
    isa: Isa,
    source: &S,
    count: usize,
    params: &Params,
    pool: &ThreadPool,
    keep_going: &(dyn Fn() -> bool + Sync),
) -> Option<Graph> {
    if count < LEAST_ROWS {
        return build(isa, source, count, params, pool, keep_going);
    }
    assert!(count < MAX_ROWS);
    let plan = Plan::new(count, params, 0..);
    let upper = Rows::above(&plan, 1, keep_going);
    if !insert_all(isa, source, &plan, 0, &upper, pool) {
        return None;
    }
    link_all(isa, source, &plan, params, pool, keep_going)?;
    add_far(&plan);
    let mut graph = plan.finish(params);
    repair(isa, source, &mut graph);
    Some(graph)
}

/// Makes the lists of level 0.
fn link_all<S: BlockSource>(
    isa: Isa,
    source: &S,
    plan: &Plan,
    params: &Params,
    pool: &ThreadPool,
    keep_going: &(dyn Fn() -> bool + Sync),
) -> Option<()> {
    let count = plan.tops.len();
    {
        let sides = &sides(isa, source, count, pool, keep_going);
        let leaves = &deal(isa, source, count, FANS, pool, keep_going);
        for rows in parts(count, params) {
            let shelves = &Shelves::new(rows, candidates(params));
            let (bulk, next) = (Bulk { sides, leaves, shelves, keep_going }, AtomicUsize::new(0));
            pool.broadcast(|_| source.run_blocks(isa, Compare { bulk: &bulk, next: &next }));
            let next = AtomicUsize::new(0);
            pool.broadcast(|_| source.run(isa, Prune { plan, shelves, keep_going, next: &next }));
        }
    }
    let (back, next) = (Back::of(plan), AtomicUsize::new(0));
    pool.broadcast(|_| source.run(isa, LinkBack { plan, back: &back, keep_going, next: &next }));
    keep_going().then_some(())
}

/// Most candidates of a row.
fn candidates(params: &Params) -> usize {
    (params.ef_construction / 2).next_multiple_of(LINE).clamp(2 * LINE, 8 * LINE)
}

/// The rows that have their candidates at the same time: as many as the memory allows.
fn parts(count: usize, params: &Params) -> impl Iterator<Item = Range<usize>> {
    let left = params.memory.saturating_sub(count.saturating_mul(params.bytes_per_row()));
    let at_once =
        (left / Shelves::bytes_per_row(candidates(params))).max(count.div_ceil(MOST_PARTS));
    let parts = count.div_ceil(at_once.max(1));
    let rows = count.div_ceil(parts).next_multiple_of(STRIPE_ROWS);
    (0..count).step_by(rows).map(move |first| first..count.min(first + rows))
}

struct Bulk<'a> {
    sides: &'a [[f32; LINE]],
    leaves: &'a [Vec<Row>],
    shelves: &'a Shelves,
    keep_going: &'a (dyn Fn() -> bool + Sync),
}

impl Bulk<'_> {
    /// In which direction of `row` another lies.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "a bit for each of sixteen")]
    fn direction<P: BlockPairs>(&self, pairs: P, row: Row, other: &Link) -> u16 {
        if other.distance == 0.0 {
            return COPY | (other.node % COPIES) as u16;
        }
        let (own, its) = (&self.sides[row as usize], &self.sides[other.node as usize]);
        let mut nearer = *own;
        for pair in 0..LINE {
            nearer[pair] -= its[pair];
        }
        pairs.at_most(&nearer, 0.0) as u16 & !COPY
    }
}

/// For each row and pair of anchors, how much farther it is from one than from the other.
fn sides<S: BlockSource>(
    isa: Isa,
    source: &S,
    count: usize,
    pool: &ThreadPool,
    keep_going: &(dyn Fn() -> bool + Sync),
) -> Vec<[f32; LINE]> {
    let rows: Vec<Row> = (0..).take(count).collect();
    let anchors: Vec<Row> = Spread::of(&rows).take(2 * PAIRS).collect();
    let mut sides = vec![[0.0; LINE]; count];
    pool.scope(|scope| {
        for (rows, sides) in rows.chunks(CHUNK_ROWS).zip(sides.chunks_mut(CHUNK_ROWS)) {
            let anchors = &anchors;
            scope.spawn(move |_| {
                if keep_going() {
                    source.run(isa, Sides { anchors, rows, sides });
                }
            });
        }
    });
    sides
}

struct Sides<'a> {
    anchors: &'a [Row],
    rows: &'a [Row],
    sides: &'a mut [[f32; LINE]],
}

impl PairsOp for Sides<'_> {
    type Output = ();

    #[inline(always)]
    fn run<P: Pairs>(self, pairs: P) {
        let mut distances = vec![0.0; self.anchors.len()];
        for (row, sides) in self.rows.iter().zip(self.sides) {
            pairs.scorer(*row).score_batch(self.anchors, &mut distances);
            for (side, pair) in sides.iter_mut().zip(distances.as_chunks::<2>().0) {
                *side = pair[0] - pair[1];
            }
        }
    }
}

/// Compares the rows of each leaf that have their candidates now with all of it, and offers each its nearest.
struct Compare<'a> {
    bulk: &'a Bulk<'a>,
    next: &'a AtomicUsize,
}

impl<B: Block> BlocksOp<B> for Compare<'_> {
    type Output = ();

    #[inline(always)]
    fn run<P: BlockPairs<Block = B>>(self, pairs: P) {
        let Self { bulk: bulk @ Bulk { shelves, .. }, next } = self;
        let mut block = B::default();
        let (mut lines, mut best) = (Vec::new(), Vec::new());
        let mut lists: Vec<Vec<Link>> = vec![Vec::new(); LEAF_ROWS];
        while let Some(leaf) = bulk.leaves.get(next.fetch_add(1, Relaxed)) {
            if !(bulk.keep_going)() {
                return;
            }
            // The rows of a leaf ascend.
            let place = |end: usize| leaf.partition_point(|row| (*row as usize) < end);
            let own = place(shelves.rows().start)..place(shelves.rows().end);
            if own.is_empty() {
                continue;
            }
            pairs.lay_out(leaf, &mut block);
            lines.resize(LINE * block.panels(), [0.0; LINE]);
            for panel in own.start / LINE..own.end.div_ceil(LINE) {
                pairs.score_panel(&block, panel, &block, &mut lines);
                for (row, line) in (panel * LINE..).zip(lines.chunks_exact_mut(block.panels())) {
                    if !own.contains(&row) {
                        continue;
                    }
                    line[row / LINE][row % LINE] = f32::INFINITY;
                    nearest(pairs, line, leaf.len(), NEAREST, 2 * NEAREST, &mut best);
                    best.retain(|(_, other)| *other as usize != row);
                    let mutual = first(&mut best, MUTUAL);
                    for (at, (distance, other)) in best.iter().enumerate() {
                        let (distance, other) = (*distance, *other as usize);
                        lists[row].push(Link { distance, node: leaf[other] });
                        if at < mutual && own.contains(&other) {
                            lists[other].push(Link { distance, node: leaf[row] });
                        }
                    }
                }
            }
            for at in own {
                if let Some(later) = leaf.get(at + AHEAD) {
                    shelves.prefetch(pairs, *later);
                }
                let direction = |link: &Link| bulk.direction(pairs, leaf[at], link);
                shelves.offer(leaf[at], lists[at].drain(..), direction);
            }
        }
    }
}

/// Puts the `k` nearest first; returns how many there are.
#[inline(always)]
fn first(found: &mut [(f32, u32)], k: usize) -> usize {
    if found.len() > k {
        found.select_nth_unstable_by(k - 1, order);
    }
    found.len().min(k)
}

/// Prunes the candidates of each row.
struct Prune<'a> {
    plan: &'a Plan,
    shelves: &'a Shelves,
    keep_going: &'a (dyn Fn() -> bool + Sync),
    next: &'a AtomicUsize,
}

impl PairsOp for Prune<'_> {
    type Output = ();

    #[inline(always)]
    fn run<P: Pairs>(self, pairs: P) {
        let Self { plan, shelves, keep_going, next } = self;
        let layer = &plan.layers[0];
        let mut work = Work::new(plan);
        loop {
            let stripe = next.fetch_add(1, Relaxed);
            if stripe >= shelves.stripes() || !keep_going() {
                return;
            }
            shelves.each_of(stripe, |row, entries| {
                entries.sort_unstable();
                work.candidates.clear();
                work.candidates.extend(entries.iter().map(|entry| link(*entry)));
                select(pairs, layer, &work.candidates, layer.max, &mut work.kept);
                layer.write(row, &work.kept);
            });
        }
    }
}

/// For each row those that chose it.
struct Back {
    /// Where those of each row begin, and all end.
    starts: Vec<usize>,
    links: Vec<Link>,
}

impl Back {
    fn of(plan: &Plan) -> Self {
        let layer = &plan.layers[0];
        let rows = || (0..).take(plan.tops.len());
        let mut ends = vec![0; plan.tops.len() + 1];
        for row in rows() {
            layer.read(row).for_each(|link| ends[link.node as usize] += 1);
        }
        let mut sum = 0;
        for end in &mut ends {
            sum += *end;
            *end = sum;
        }
        let mut links = vec![Link { distance: 0.0, node: 0 }; sum];
        for row in rows() {
            for link in layer.read(row) {
                let place = &mut ends[link.node as usize];
                *place -= 1;
                links[*place] = Link { distance: link.distance, node: row };
            }
        }
        Self { starts: ends, links }
    }

    fn to(&self, row: usize) -> &[Link] {
        &self.links[self.starts[row]..self.starts[row + 1]]
    }
}

/// Gives each row the links of those that chose it.
struct LinkBack<'a> {
    plan: &'a Plan,
    keep_going: &'a (dyn Fn() -> bool + Sync),
    back: &'a Back,
    next: &'a AtomicUsize,
}

impl PairsOp for LinkBack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<P: Pairs>(self, pairs: P) {
        let Self { plan, keep_going, back, next } = self;
        let mut work = Work::new(plan);
        loop {
            let first = next.fetch_add(STRIPE_ROWS, Relaxed);
            if first >= plan.tops.len() || !keep_going() {
                return;
            }
            for row in (first..plan.tops.len()).take(STRIPE_ROWS) {
                let links = back.to(row).iter().copied();
                if let Ok(node) = Row::try_from(row) {
                    plan.layers[0].add(pairs, node, links, &mut work);
                }
            }
        }
    }
}

/// Gives rows that reach the level above their links of that level, the farthest first, in what room they
/// have, and of a full list in place of up to a quarter, the farthest. Leaves hold near rows alone: walks that must leave
/// a cluster would find no way out.
fn add_far(plan: &Plan) {
    let [base, above, ..] = plan.layers.as_slice() else { return };
    let ascending =
        |a: &Link, b: &Link| a.distance.total_cmp(&b.distance).then(a.node.cmp(&b.node));
    let (mut list, mut far): (Vec<Link>, Vec<Link>) = Default::default();
    for node in (0..).take(above.count()) {
        let row = above.row(node);
        list.clear();
        list.extend(base.read(row));
        list.sort_unstable_by(ascending);
        far.clear();
        far.extend(above.read(node).map(|link| Link { node: above.row(link.node), ..link }));
        far.retain(|link| list.iter().all(|other| other.node != link.node));
        far.sort_unstable_by(|a, b| ascending(b, a));
        far.truncate((base.max - list.len()).max(base.max / FAR_SHARE));
        list.truncate(base.max - far.len());
        list.append(&mut far);
        base.write(row, &list);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_hold_all_rows_in_the_memory_that_there_is() {
        let enough = Params::default();
        let of = |count, params| parts(count, &params).collect::<Vec<_>>();
        assert_eq!(of(1_000_000, enough).len(), 1);
        for (count, most) in [(LEAST_ROWS, 10), (1_000_003, 10)] {
            let little = Params { memory: count * enough.least_bytes_per_row(), ..enough };
            for (params, most) in [(little, most), (Params { memory: 0, ..enough }, MOST_PARTS)] {
                let parts = of(count, params);
                assert!((2..=most).contains(&parts.len()), "{parts:?}");
                assert_eq!((parts[0].start, parts[parts.len() - 1].end), (0, count));
                for pair in parts.windows(2) {
                    assert_eq!(pair[0].end, pair[1].start);
                }
                let most = parts[0].len() * Shelves::bytes_per_row(candidates(&params));
                let left = params.memory.saturating_sub(count * params.bytes_per_row());
                assert!(most <= left + left / 8 || params.memory == 0, "{most} of {left}");
            }
        }
    }
}
