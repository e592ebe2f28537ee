//! Parallel insertion, in rounds: the same graph from any number of threads.
//!
//! The rows of a round search the graph of the rounds before, each on its own, and write their own
//! lists, which nothing leads to yet. Then every node that they chose takes their links, all at
//! once. A round is a small part of what is linked, and its rows come from everywhere ([`Spread`]) or know
//! which of the same round are near, so that they miss little in each other.
//!
//! Source for rounds: Dobson et al., "Scaling graph-based ANNS algorithms to billion-size datasets"
//! (ParlayANN, 2023).

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use rayon::ThreadPool;
use rayon::slice::ParallelSliceMut;

use crate::codec::{PairSource, Pairs, PairsOp};
use crate::index::hnsw::build::{Layer, Plan, Work, insert};
use crate::index::hnsw::prune::Link;
use crate::kernel::Isa;
use crate::types::Row;

/// A round has one row for so many that are linked.
const ROUND_SHARE: usize = 64;
/// Most rows of a round, for the memory of their links.
const MOST_ROUND: usize = 1 << 14;
/// Rows a thread takes at a time.
pub(super) const CHUNK_ROWS: usize = 16;
/// Links that a thread takes at a time.
const CHUNK_LINKS: usize = 256;

/// What is to be inserted, in order.
pub(super) trait Jobs: Sync {
    fn len(&self) -> usize;

    /// A row and the lowest level on which it is linked; `None` when nothing is to be done.
    fn job(&self, index: usize) -> Option<(Row, usize)>;

    /// Adds rows near it: linked ones, to start from, and mates, which are of the same round.
    fn near(
        &self,
        _index: usize,
        _round: &Range<usize>,
        _linked: &mut Vec<Row>,
        _mates: &mut Vec<Row>,
    ) {
    }

    /// Asked now and then; "no" ends it all.
    fn keep_going(&self) -> bool;
}

/// An order of things in which any stretch of them is spread evenly over all: the next is √2 - 1 of
/// all further on, which is far from every simple fraction. Rows often come sorted (documents one after the other, a class at
/// a time), and rows of one round do not see each other: in their own order each would miss its
/// nearest.
pub(super) struct Spread {
    count: u64,
    step: u64,
}

impl Spread {
    /// The order of `count` things, fewer than 2³².
    pub(super) fn over(count: usize) -> Self {
        let count = count as u64;
        // √2 - 1 as a part of 2³².
        let mut step = ((count * 0x6A09_E667) >> 32).max(1);
        while gcd(count, step) > 1 {
            step += 1;
        }
        Self { count, step }
    }

    #[expect(clippy::cast_possible_truncation, reason = "it was a usize")]
    pub(super) fn len(&self) -> usize {
        self.count as usize
    }

    /// The thing at `index` of the order; both are below the count.
    #[expect(clippy::cast_possible_truncation, reason = "below the count")]
    pub(super) fn at(&self, index: usize) -> usize {
        (self.step * index as u64 % self.count) as usize
    }

    /// `things` in this order.
    pub(super) fn of<T: Copy>(things: &[T]) -> impl Iterator<Item = T> + '_ {
        let spread = Self::over(things.len());
        (0..things.len()).map(move |index| things[spread.at(index)])
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Does all jobs on all threads of `pool`, where `linked` rows are linked already; false when stopped.
pub(super) fn insert_all<S: PairSource>(
    isa: Isa,
    source: &S,
    plan: &Plan,
    linked: usize,
    jobs: &dyn Jobs,
    pool: &ThreadPool,
) -> bool {
    let works = (0..pool.current_num_threads()).map(|_| Mutex::new(Work::new(plan)));
    let works: Vec<_> = works.collect();
    let stopped = AtomicBool::new(false);
    let mut end = 0;
    let mut added = Added::default();
    while end < jobs.len() {
        let start = end;
        let size = ((linked + start) / ROUND_SHARE).clamp(1, MOST_ROUND);
        end = jobs.len().min(start + size);
        let round = Round { plan, jobs, rows: start..end, stopped: &stopped };
        on_all(pool, &works, end - start > CHUNK_ROWS, |next, work| {
            source.run(isa, Insert { round: &round, next, work });
        });
        if stopped.load(Relaxed) {
            return false;
        }
        for (level, layer) in plan.layers.iter().enumerate() {
            added.gather(&round, level, pool);
            on_all(pool, &works, added.order.len() > CHUNK_LINKS, |next, work| {
                source.run(isa, AddLinks { layer, added: &added, next, work });
            });
        }
    }
    true
}

/// Runs `body` on all threads of `pool`, or on this one alone where there is little to do. What is
/// next is counted from 0.
fn on_all(
    pool: &ThreadPool,
    works: &[Mutex<Work>],
    many: bool,
    body: impl Fn(&AtomicUsize, &mut Work) + Sync,
) {
    let next = AtomicUsize::new(0);
    let on = |index: usize| {
        if let Some(work) = works.get(index) {
            body(&next, &mut work.lock().unwrap_or_else(PoisonError::into_inner));
        }
    };
    if many {
        pool.broadcast(|context| on(context.index()));
    } else {
        on(0);
    }
}

/// Some of the jobs, done at the same time.
struct Round<'a> {
    plan: &'a Plan,
    jobs: &'a dyn Jobs,
    rows: Range<usize>,
    stopped: &'a AtomicBool,
}

impl Round<'_> {
    /// The rows that are linked in this round, each with its lowest level.
    fn rows(&self) -> impl Iterator<Item = (Row, usize)> + '_ {
        self.rows.clone().filter_map(|index| self.jobs.job(index))
    }
}

/// Links from the rows of a round, to be added on the other side.
#[derive(Default)]
struct Added {
    /// The nodes of the round, and how far each is from the node that it chose.
    links: Vec<Link>,
    /// For each of them the chosen node and its place above, ascending.
    order: Vec<u64>,
}

impl Added {
    /// Takes the links of a round on one level.
    fn gather(&mut self, round: &Round<'_>, level: usize, pool: &ThreadPool) {
        self.links.clear();
        self.order.clear();
        let layer = &round.plan.layers[level];
        for (row, lowest) in round.rows() {
            if level < lowest || usize::from(round.plan.tops[row as usize]) < level {
                continue;
            }
            let node = layer.node(row);
            for Link { distance, node: chosen } in layer.read(node) {
                self.order.push(u64::from(chosen) << 32 | self.links.len() as u64);
                self.links.push(Link { distance, node });
            }
        }
        if self.order.len() > CHUNK_LINKS {
            pool.install(|| self.order.par_sort_unstable());
        } else {
            self.order.sort_unstable();
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "takes the halves")]
    fn at(&self, index: usize) -> Option<(u32, Link)> {
        let packed = *self.order.get(index)?;
        Some(((packed >> 32) as u32, *self.links.get(packed as u32 as usize)?))
    }
}

/// Does the jobs of a round until none is left.
struct Insert<'a> {
    round: &'a Round<'a>,
    next: &'a AtomicUsize,
    work: &'a mut Work,
}

impl PairsOp for Insert<'_> {
    type Output = ();

    #[inline(always)]
    fn run<P: Pairs>(self, pairs: P) {
        let Self { round: Round { plan, jobs, rows, stopped }, next, work } = self;
        loop {
            let start = rows.start + next.fetch_add(CHUNK_ROWS, Relaxed);
            if start >= rows.end || stopped.load(Relaxed) {
                return;
            }
            if !jobs.keep_going() {
                stopped.store(true, Relaxed);
                return;
            }
            for index in start..rows.end.min(start + CHUNK_ROWS) {
                if let Some((row, lowest)) = jobs.job(index) {
                    work.rows.clear();
                    work.mates.clear();
                    jobs.near(index, rows, &mut work.rows, &mut work.mates);
                    insert(plan, pairs, row, lowest, work);
                }
            }
        }
    }
}

/// Adds links to the nodes that were chosen, until none is left.
struct AddLinks<'a> {
    layer: &'a Layer,
    added: &'a Added,
    next: &'a AtomicUsize,
    work: &'a mut Work,
}

impl PairsOp for AddLinks<'_> {
    type Output = ();

    #[inline(always)]
    fn run<P: Pairs>(self, pairs: P) {
        let Self { layer, added, next, work } = self;
        loop {
            let start = next.fetch_add(CHUNK_LINKS, Relaxed);
            if start >= added.order.len() {
                return;
            }
            // Nodes whose links begin here; the first may have begun before.
            let before = start.checked_sub(1).and_then(|index| added.at(index));
            let mut last = before.map(|(node, _)| node);
            for index in start..added.order.len().min(start + CHUNK_LINKS) {
                let Some((node, _)) = added.at(index).filter(|(node, _)| Some(*node) != last)
                else {
                    continue;
                };
                last = Some(node);
                let links = (index..).map_while(|index| added.at(index));
                let links = links.take_while(|(chosen, _)| *chosen == node);
                layer.add(pairs, node, links.map(|(_, link)| link), work);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Spread;

    #[test]
    fn every_thing_comes_once_and_each_stretch_is_from_everywhere() {
        for count in (0..200).chain([2310, 30_030, 65_536, 65_537, 100_000]) {
            let things: Vec<usize> = (0..count).collect();
            let mut order: Vec<usize> = Spread::of(&things).collect();
            for stretch in order.chunks_exact(100) {
                let mut tenths = [0; 10];
                stretch.iter().for_each(|thing| tenths[thing * 10 / count] += 1);
                assert!(tenths.iter().all(|many| (5..=15).contains(many)), "{count}: {tenths:?}");
            }
            order.sort_unstable();
            assert_eq!(order, things);
        }
        let most = Spread::over((1 << 30) - 1);
        assert!((0..1000).all(|index| most.at((1 << 30) - 2 - index) < most.len()));
    }
}
