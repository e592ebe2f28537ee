//! A graph made from graphs over parts of the rows, instead of inserting every row anew.
//!
//! The links of the largest part are taken over as they are. Where some led to rows that are gone,
//! the links of those take their place as candidates. The rows of the other parts are inserted
//! each from its own old neighbours, in an order in which most have some that are inserted
//! already, so that a short walk finds what a long one from the entry would.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use rayon::ThreadPool;

use crate::bytes::Guard;
use crate::codec::{PairSource, Pairs, PairsOp, Scorer};
use crate::index::hnsw::Params;
use crate::index::hnsw::build::{CHUNK_ROWS, Jobs, Plan, Work, insert_all};
use crate::index::hnsw::graph::{Graph, MAX_ROWS, View};
use crate::index::hnsw::pool::Ties;
use crate::index::hnsw::prune::{Link, select};
use crate::index::hnsw::repair::repair;
use crate::kernel::Isa;
use crate::types::Row;

/// A graph over some of the rows.
#[derive(Debug)]
pub(crate) struct Seed<'a, G> {
    pub(crate) view: View<'a, G>,
    /// The new row of each of its rows, [`GONE`] for those left out.
    pub(crate) to: &'a [Row],
}

/// A row that has no place in the new graph.
pub(crate) const GONE: Row = Row::MAX;

impl<G: Guard> Seed<'_, G> {
    fn live(&self) -> usize {
        self.to.iter().filter(|row| **row != GONE).count()
    }

    fn new_row(&self, old: Row) -> Option<Row> {
        self.to.get(old as usize).copied().filter(|row| *row != GONE)
    }

    /// Old links of an old row.
    fn links(&self, old: Row) -> impl Iterator<Item = Row> + '_ {
        let end = self.view.len();
        self.view.links(old).iter().copied().take_while(move |link| (*link as usize) < end)
    }

    /// Old rows with a new one, nearby ones one after the other: in the order in which links lead
    /// to them.
    fn order(&self) -> Vec<Row> {
        let count = self.view.len();
        let mut met = vec![false; count];
        let mut order: Vec<Row> = Vec::with_capacity(count);
        for start in (0..).take(count) {
            if std::mem::replace(&mut met[start as usize], true) {
                continue;
            }
            let mut next = order.len();
            order.push(start);
            while let Some(&row) = order.get(next) {
                for link in self.links(row) {
                    if !std::mem::replace(&mut met[link as usize], true) {
                        order.push(link);
                    }
                }
                next += 1;
            }
        }
        order.retain(|row| self.new_row(*row).is_some());
        order
    }
}

/// Builds the graph of the first `count` rows from `seeds`, whose new rows are all different and
/// below `count`, on all threads of `pool`. `None` when `keep_going`, asked now and then, says no.
///
/// # Panics
/// When `count` is not below 2³⁰, or there are fewer rows.
pub(crate) fn merge<S: PairSource, G: Guard>(
    isa: Isa,
    source: &S,
    count: usize,
    params: &Params,
    seeds: &[Seed<'_, G>],
    pool: &ThreadPool,
    keep_going: &(dyn Fn() -> bool + Sync),
) -> Option<Graph> {
    assert!(count < MAX_ROWS);
    let largest = seeds.iter().max_by_key(|seed| seed.live()).filter(|seed| seed.live() > 0);
    let Some(base) = largest else {
        return super::build(isa, source, count, params, pool, keep_going);
    };
    let kept: Vec<Row> = (0..).take(base.view.len()).filter_map(|old| base.new_row(old)).collect();
    let plan = Plan::new(count, params, kept.iter().copied());
    let state = State {
        plan: &plan,
        base,
        seeds,
        inserted: (0..count).map(|_| AtomicBool::new(false)).collect(),
        lost: Mutex::default(),
        keep_going,
    };
    let old_rows = (0..).take(base.view.len()).filter(|old| base.new_row(*old).is_some());
    let (old_rows, next) = (old_rows.collect::<Vec<Row>>(), AtomicUsize::new(0));
    pool.broadcast(|_| source.run(isa, Keep { state: &state, old_rows: &old_rows, next: &next }));
    // Lost rows come later, on all of their levels.
    let high = kept.iter().filter(|row| plan.tops[**row as usize] > 0 && **row != plan.entry);
    let high = high.filter(|row| state.is_inserted(**row));
    for jobs in [high.map(|row| Job::Lift(*row)).collect(), state.rest()] {
        let jobs: Vec<Job> = jobs;
        if !insert_all(isa, source, &plan, &(&state, jobs.as_slice()), pool) {
            return None;
        }
    }
    let mut graph = plan.finish(params);
    repair(isa, source, &mut graph);
    Some(graph)
}

/// What is done for one row.
#[derive(Clone, Copy)]
enum Job {
    /// Links a row that is on level 0 on the levels above.
    Lift(Row),
    /// Inserts an old row of a seed from its old neighbours.
    From { seed: usize, old: Row },
    /// Inserts a row that no seed knows.
    Plain(Row),
}

/// The graph while it grows.
struct State<'a, 'g, G> {
    plan: &'a Plan,
    base: &'a Seed<'g, G>,
    seeds: &'a [Seed<'g, G>],
    /// Rows whose list on level 0 is written.
    inserted: Vec<AtomicBool>,
    /// Rows of the base with too few links left.
    lost: Mutex<Vec<Row>>,
    keep_going: &'a (dyn Fn() -> bool + Sync),
}

impl<G: Guard> State<'_, '_, G> {
    /// The rows that are not inserted yet.
    fn rest(&self) -> Vec<Job> {
        let mut known = vec![false; self.inserted.len()];
        let mut jobs = Vec::new();
        for (index, seed) in self.seeds.iter().enumerate() {
            if std::ptr::eq(seed, self.base) {
                seed.to
                    .iter()
                    .filter(|row| **row != GONE)
                    .for_each(|row| known[*row as usize] = true);
                continue;
            }
            for old in seed.order() {
                if let Some(row) = seed.new_row(old) {
                    known[row as usize] = true;
                    jobs.push(Job::From { seed: index, old });
                }
            }
        }
        let lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.extend(lost.iter().map(|row| Job::Plain(*row)));
        let unknown = (0..).zip(&known).filter(|(_, known)| !**known);
        jobs.extend(unknown.map(|(row, _)| Job::Plain(row)));
        jobs
    }

    fn is_inserted(&self, row: Row) -> bool {
        self.inserted[row as usize].load(Relaxed)
    }
}

impl<G: Guard> Jobs for (&State<'_, '_, G>, &[Job]) {
    fn len(&self) -> usize {
        self.1.len()
    }

    fn job(&self, index: usize, near: &mut Vec<Row>) -> Option<(Row, usize)> {
        let (state, jobs) = self;
        match jobs[index] {
            Job::Lift(row) => Some((row, 1)),
            // Found by all that is inserted after it.
            Job::Plain(row) if row == state.plan.entry => None,
            Job::Plain(row) => Some((row, 0)),
            Job::From { seed, old } => {
                let seed = &state.seeds[seed];
                let row = seed.to[old as usize];
                let links = seed.links(old).filter_map(|link| seed.new_row(link));
                near.extend(links.filter(|link| *link != row && state.is_inserted(*link)));
                Some((row, 0))
            }
        }
    }

    fn done(&self, row: Row) {
        self.0.inserted[row as usize].store(true, Relaxed);
    }

    fn keep_going(&self) -> bool {
        (self.0.keep_going)()
    }
}

/// Takes over the lists of the base.
struct Keep<'a, 's, 'g, G> {
    state: &'a State<'s, 'g, G>,
    old_rows: &'a [Row],
    next: &'a AtomicUsize,
}

impl<G: Guard> PairsOp for Keep<'_, '_, '_, G> {
    type Output = ();

    #[inline(always)]
    fn run<P: Pairs>(self, pairs: P) {
        let Self { state, old_rows, next } = self;
        let mut work = Work::new(state.plan);
        loop {
            let start = next.fetch_add(CHUNK_ROWS, Relaxed);
            if start >= old_rows.len() {
                return;
            }
            for old in &old_rows[start..old_rows.len().min(start + CHUNK_ROWS)] {
                keep(state, pairs, *old, &mut work);
            }
        }
    }
}

/// Takes over the list of an old row of the base.
#[inline(always)]
fn keep<P: Pairs, G: Guard>(state: &State<'_, '_, G>, pairs: P, old: Row, work: &mut Work) {
    let (base, layer) = (state.base, &state.plan.layers[0]);
    let row = base.to[old as usize];
    work.rows.clear();
    let mut gone = 0;
    for link in base.links(old) {
        match base.new_row(link) {
            Some(new) => work.rows.push(new),
            None => gone += 1,
        }
    }
    if gone > 0 {
        for link in base.links(old).filter(|link| base.new_row(*link).is_none()) {
            work.rows.extend(base.links(link).filter_map(|behind| base.new_row(behind)));
        }
    }
    work.rows.sort_unstable();
    work.rows.dedup();
    work.rows.retain(|other| *other != row);
    // Whoever had no links to begin with, or lost nearly all, is inserted like a new row.
    if work.rows.len() < layer.max / 4 {
        state.lost.lock().unwrap_or_else(PoisonError::into_inner).push(row);
        return;
    }
    let scorer = pairs.scorer(row);
    work.rows.iter().for_each(|other| scorer.prefetch(*other));
    work.distances.clear();
    work.distances.resize(work.rows.len(), 0.0);
    scorer.score_batch(&work.rows, &mut work.distances);
    work.candidates.clear();
    let links = work.rows.iter().zip(&work.distances);
    work.candidates.extend(links.map(|(&node, &distance)| Link { distance, node }));
    if work.candidates.len() <= layer.max {
        layer.write(row, &work.candidates);
    } else {
        sort(&mut work.candidates, Ties::mixed(row));
        select(pairs, layer, &work.candidates, layer.max, &mut work.kept);
        layer.write(row, &work.kept);
    }
    state.inserted[row as usize].store(true, Relaxed);
}

#[inline(always)]
fn sort(links: &mut [Link], ties: Ties) {
    links.sort_unstable_by(|a, b| {
        let by_distance = a.distance.total_cmp(&b.distance);
        by_distance.then_with(|| ties.rank(a.node).cmp(&ties.rank(b.node)))
    });
}
