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

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use rayon::ThreadPool;

use super::build::{Plan, Rows, Work};
use super::graph::{Graph, MAX_ROWS};
use super::leaves::{LEAF_ROWS, deal, nearest};
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
const FANS: [usize; 2] = [8, 2];
/// So many rows of a leaf are candidates of each, and as many more that are hardly farther.
const NEAREST: usize = 12;
/// One link in so many, of a row that reaches the level above, is one of that level.
const FAR_SHARE: usize = 4;
/// Pairs of anchors, each a bit of a direction.
const PAIRS: usize = 12;
/// The bit that sets copies of a row apart from directions, and how many of them a row may keep.
const COPY: u16 = 1 << 15;
const COPIES: u32 = 16;
/// Rows that a thread takes at a time.
const CHUNK_ROWS: usize = 256;

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
    let most = (params.ef_construction / 2).next_multiple_of(LINE).clamp(2 * LINE, 8 * LINE);
    let bulk = Bulk {
        plan: &plan,
        sides: sides(isa, source, count, pool),
        leaves: deal(isa, source, count, FANS, pool, keep_going),
        shelves: Shelves::new(count, most),
        keep_going,
        stopped: AtomicBool::new(false),
    };
    let next = AtomicUsize::new(0);
    pool.broadcast(|_| source.run_blocks(isa, Compare { bulk: &bulk, next: &next }));
    let next = AtomicUsize::new(0);
    pool.broadcast(|_| source.run(isa, Prune { bulk: &bulk, next: &next }));
    let back = Back::of(&plan);
    let next = AtomicUsize::new(0);
    pool.broadcast(|_| source.run(isa, LinkBack { bulk: &bulk, back: &back, next: &next }));
    if bulk.stopped.load(Relaxed) {
        return None;
    }
    add_far(&plan);
    let mut graph = plan.finish(params);
    repair(isa, source, &mut graph);
    Some(graph)
}

struct Bulk<'a> {
    plan: &'a Plan,
    sides: Vec<[f32; LINE]>,
    leaves: Vec<Vec<Row>>,
    shelves: Shelves,
    keep_going: &'a (dyn Fn() -> bool + Sync),
    stopped: AtomicBool,
}

impl Bulk<'_> {
    fn goes_on(&self) -> bool {
        if !(self.keep_going)() {
            self.stopped.store(true, Relaxed);
        }
        !self.stopped.load(Relaxed)
    }

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
) -> Vec<[f32; LINE]> {
    let rows: Vec<Row> = (0..).take(count).collect();
    let anchors: Vec<Row> = Spread::of(&rows).take(2 * PAIRS).collect();
    let mut sides = vec![[0.0; LINE]; count];
    pool.scope(|scope| {
        for (rows, sides) in rows.chunks(CHUNK_ROWS).zip(sides.chunks_mut(CHUNK_ROWS)) {
            let anchors = &anchors;
            scope.spawn(move |_| source.run(isa, Sides { anchors, rows, sides }));
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

/// Compares all pairs of each leaf, and offers each row its nearest and those that it is nearest to.
struct Compare<'a> {
    bulk: &'a Bulk<'a>,
    next: &'a AtomicUsize,
}

impl<B: Block> BlocksOp<B> for Compare<'_> {
    type Output = ();

    #[inline(always)]
    fn run<P: BlockPairs<Block = B>>(self, pairs: P) {
        let Self { bulk, next } = self;
        let mut block = B::default();
        let (mut lines, mut best) = (Vec::new(), Vec::new());
        let mut lists: Vec<Vec<Link>> = vec![Vec::new(); LEAF_ROWS];
        while let Some(leaf) = bulk.leaves.get(next.fetch_add(1, Relaxed)) {
            if !bulk.goes_on() {
                return;
            }
            pairs.lay_out(leaf, &mut block);
            lines.resize(LINE * block.panels(), [0.0; LINE]);
            for panel in 0..block.panels() {
                pairs.score_panel(&block, panel, &block, &mut lines);
                for (row, line) in (panel * LINE..).zip(lines.chunks_exact_mut(block.panels())) {
                    let Some(own) = leaf.get(row) else { break };
                    line[row / LINE][row % LINE] = f32::INFINITY;
                    nearest(pairs, line, leaf.len(), NEAREST, 2 * NEAREST, &mut best);
                    best.retain(|(_, other)| *other as usize != row);
                    for (distance, other) in &best {
                        let (distance, other) = (*distance, *other as usize);
                        lists[row].push(Link { distance, node: leaf[other] });
                        lists[other].push(Link { distance, node: *own });
                    }
                }
            }
            for (row, list) in leaf.iter().zip(&mut lists) {
                let offers = list.drain(..).map(|link| (link, bulk.direction(pairs, *row, &link)));
                bulk.shelves.offer(*row, offers);
            }
        }
    }
}

/// Prunes the candidates of each row.
struct Prune<'a> {
    bulk: &'a Bulk<'a>,
    next: &'a AtomicUsize,
}

impl PairsOp for Prune<'_> {
    type Output = ();

    #[inline(always)]
    fn run<P: Pairs>(self, pairs: P) {
        let Self { bulk: bulk @ Bulk { plan, shelves, .. }, next } = self;
        let layer = &plan.layers[0];
        let mut work = Work::new(plan);
        loop {
            let stripe = next.fetch_add(1, Relaxed);
            if stripe >= shelves.stripes() || !bulk.goes_on() {
                return;
            }
            shelves.each_of(stripe, |row, entries| {
                entries.sort_unstable();
                work.candidates.clear();
                work.candidates.extend(entries.iter().map(|entry| link(*entry)));
                if let Some(row) = Row::try_from(row).ok().filter(|_| row < plan.tops.len()) {
                    select(pairs, layer, &work.candidates, layer.max, &mut work.kept);
                    layer.write(row, &work.kept);
                }
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
    bulk: &'a Bulk<'a>,
    back: &'a Back,
    next: &'a AtomicUsize,
}

impl PairsOp for LinkBack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<P: Pairs>(self, pairs: P) {
        let Self { bulk: bulk @ Bulk { plan, .. }, back, next } = self;
        let mut work = Work::new(plan);
        loop {
            let first = next.fetch_add(STRIPE_ROWS, Relaxed);
            if first >= plan.tops.len() || !bulk.goes_on() {
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
/// have and for the last of a full list. Leaves hold near rows alone: walks that must leave a cluster would find
/// no way out.
fn add_far(plan: &Plan) {
    let [base, above, ..] = plan.layers.as_slice() else { return };
    let mut list: Vec<Link> = Vec::new();
    let mut far: Vec<Link> = Vec::new();
    for node in (0..).take(above.count()) {
        let row = above.row(node);
        list.clear();
        list.extend(base.read(row).take(base.max - base.max / FAR_SHARE));
        far.clear();
        far.extend(above.read(node));
        far.sort_unstable_by(|a, b| b.distance.total_cmp(&a.distance).then(a.node.cmp(&b.node)));
        for link in &far {
            let link = Link { node: above.row(link.node), ..*link };
            if list.len() < base.max && list.iter().all(|other| other.node != link.node) {
                list.push(link);
            }
        }
        base.write(row, &list);
    }
}
