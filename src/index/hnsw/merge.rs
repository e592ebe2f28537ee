//! A graph made from graphs over parts of the rows, instead of inserting every row anew.
//!
//! The links of the largest part are taken over as they are. Where some led to rows that are gone,
//! the links of those take their place as candidates, and what pruning drops of a row's own links
//! comes back while it has fewer than before: no later row would fill its list again. A row that
//! lost most of its links is taken for gone too, and inserted later like a new one; until then
//! nothing leads to it, as in a build. The rows of the other parts are inserted each from its own
//! old neighbours, in an order in which most have some that are inserted already, so that a short walk finds what a long one from the entry would. Old neighbours of the
//! same round are candidates too. Rows of no part come last, spread over all.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use rayon::ThreadPool;

use crate::bytes::Guard;
use crate::codec::{PairSource, Pairs, PairsOp, Scorer};
use crate::index::hnsw::Params;
use crate::index::hnsw::build::{Plan, Work};
use crate::index::hnsw::bulk::LEAST_ROWS;
use crate::index::hnsw::graph::{Graph, MAX_ROWS, View};
use crate::index::hnsw::prune::Link;
use crate::index::hnsw::repair::repair;
use crate::index::hnsw::rounds::{CHUNK_ROWS, Jobs, Spread, insert_all};
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

/// Of a row's links, one in so many must be left for its list to be taken over.
const LEAST_SHARE: usize = 4;

impl<G: Guard> Seed<'_, G> {
    fn live(&self) -> usize {
        self.to.iter().filter(|row| **row != GONE).count()
    }

    /// The new rows of those that keep enough of their links, [`GONE`] for the others.
    fn lasting(&self) -> Vec<Row> {
        let lasts = |old| {
            let (mut kept, mut all) = (0, 0);
            for link in self.links(old).filter(|link| *link != old) {
                kept += usize::from(self.new_row(link).is_some());
                all += 1;
            }
            kept > 0 && kept >= all / LEAST_SHARE
        };
        let old_rows = (0..).take(self.view.len());
        old_rows.map(|old| self.new_row(old).filter(|_| lasts(old)).unwrap_or(GONE)).collect()
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

/// Graphs over parts of the rows, and what of them is taken over.
pub(crate) struct Merge<'s, 'g, G> {
    seeds: &'s [Seed<'g, G>],
    /// Whose lists are.
    largest: usize,
    /// The new rows of those lists, [`GONE`] for the others.
    to: Vec<Row>,
}

impl<'s, 'g, G: Guard> Merge<'s, 'g, G> {
    /// `None` where of no part most lists are left: those that are, are islands, not worth their bridges.
    pub(crate) fn of(seeds: &'s [Seed<'g, G>]) -> Option<Self> {
        let lasting = seeds.iter().map(Seed::lasting);
        let (largest, to) = lasting.enumerate().max_by_key(|(_, to)| rows(to))?;
        let whole = rows(&to) > 0 && 2 * rows(&to) >= seeds[largest].live();
        whole.then_some(Self { seeds, largest, to })
    }

    fn others(&self) -> impl Iterator<Item = &'s Seed<'g, G>> {
        let others = self.seeds.iter().enumerate().filter(|(at, _)| *at != self.largest);
        others.map(|(_, seed)| seed)
    }

    /// Whether a graph of the first `count` rows costs less so than built in bulk.
    pub(crate) fn pays(&self, count: usize) -> bool {
        pays(count, rows(&self.to), self.others().map(Seed::live).sum())
    }
}

fn rows(to: &[Row]) -> usize {
    to.iter().filter(|row| **row != GONE).count()
}

/// While no more than half of the rows are inserted. Those that are neither `kept` nor `known` to another seed
/// count twice, since they are inserted from the entry.
fn pays(count: usize, kept: usize, known: usize) -> bool {
    let inserted = known + 2 * count.saturating_sub(kept + known);
    count < LEAST_ROWS || 2 * inserted <= count
}

/// Builds the graph of the first `count` rows from `seeds`, whose new rows are all different and
/// below `count`, on all threads of `pool`. `None` once `keep_going`, asked now and then, says no.
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
    match Merge::of(seeds) {
        Some(merge) => merge.run(isa, source, count, params, pool, keep_going),
        None => super::build(isa, source, count, params, pool, keep_going),
    }
}

impl<G: Guard> Merge<'_, '_, G> {
    /// As [`merge`].
    pub(crate) fn run<S: PairSource>(
        &self,
        isa: Isa,
        source: &S,
        count: usize,
        params: &Params,
        pool: &ThreadPool,
        keep_going: &(dyn Fn() -> bool + Sync),
    ) -> Option<Graph> {
        assert!(count < MAX_ROWS);
        let Self { seeds, largest, to } = self;
        let kept: Vec<Row> = to.iter().copied().filter(|row| *row != GONE).collect();
        let plan = Plan::new(count, params, kept.iter().copied());
        let base = Seed { view: seeds[*largest].view, to };
        let state = State { plan: &plan, base: &base, others: self.others().collect(), keep_going };
        let next = AtomicUsize::new(0);
        pool.broadcast(|_| source.run(isa, Keep { state: &state, next: &next }));
        if !keep_going() {
            return None;
        }
        let is_high = |row: &Row| plan.tops[*row as usize] > 0 && *row != plan.entry;
        let high: Vec<Row> = kept.iter().copied().filter(is_high).collect();
        // The levels above have nothing but the entry yet.
        let lifts = Queue {
            state: &state,
            jobs: Spread::of(&high).map(Job::Lift).collect(),
            places: Vec::new(),
        };
        if !insert_all(isa, source, &plan, 0, &lifts, pool)
            || !insert_all(isa, source, &plan, kept.len(), &Queue::of_rest(&state, count), pool)
        {
            return None;
        }
        let mut graph = plan.finish(params);
        repair(isa, source, &mut graph);
        Some(graph)
    }
}

/// What is done for one row.
#[derive(Clone, Copy)]
enum Job {
    /// Links a row that is on level 0 on the levels above.
    Lift(Row),
    /// Inserts an old row of one of the other seeds from its old neighbours.
    From { seed: usize, old: Row },
    /// Inserts a row without links.
    Plain(Row),
}

/// The graph while it grows.
struct State<'a, 'g, G> {
    plan: &'a Plan,
    /// Taken over.
    base: &'a Seed<'g, G>,
    others: Vec<&'a Seed<'g, G>>,
    keep_going: &'a (dyn Fn() -> bool + Sync),
}

impl<G: Guard> State<'_, '_, G> {
    fn row(&self, job: Job) -> Row {
        match job {
            Job::Lift(row) | Job::Plain(row) => row,
            Job::From { seed, old } => self.others[seed].to[old as usize],
        }
    }
}

/// Jobs in the order in which they are done.
struct Queue<'a, 's, 'g, G> {
    state: &'a State<'s, 'g, G>,
    jobs: Vec<Job>,
    /// Place of each row in `jobs`, [`GONE`] for those that were taken over.
    places: Vec<u32>,
}

impl<'a, 's, 'g, G: Guard> Queue<'a, 's, 'g, G> {
    /// All of the `count` rows that were not taken over.
    fn of_rest(state: &'a State<'s, 'g, G>, count: usize) -> Self {
        let mut unknown = vec![true; count];
        for row in state.base.to.iter().filter(|row| **row != GONE) {
            unknown[*row as usize] = false;
        }
        let mut jobs = Vec::new();
        for (index, seed) in state.others.iter().enumerate() {
            for old in seed.order() {
                if let Some(row) = seed.new_row(old) {
                    unknown[row as usize] = false;
                    jobs.push(Job::From { seed: index, old });
                }
            }
        }
        let unknown: Vec<Row> =
            (0..).zip(&unknown).filter(|(_, unknown)| **unknown).map(|(row, _)| row).collect();
        jobs.extend(Spread::of(&unknown).map(Job::Plain));
        let mut places = vec![GONE; count];
        for (place, job) in (0..).zip(&jobs) {
            places[state.row(*job) as usize] = place;
        }
        Self { state, jobs, places }
    }
}

impl<G: Guard> Jobs for Queue<'_, '_, '_, G> {
    fn len(&self) -> usize {
        self.jobs.len()
    }

    fn job(&self, index: usize) -> Option<(Row, usize)> {
        let job = self.jobs[index];
        Some((self.state.row(job), usize::from(matches!(job, Job::Lift(_)))))
    }

    fn near(
        &self,
        index: usize,
        round: &Range<usize>,
        linked: &mut Vec<Row>,
        mates: &mut Vec<Row>,
    ) {
        let Job::From { seed, old } = self.jobs[index] else { return };
        let seed = self.state.others[seed];
        let links = seed.links(old).filter(|link| *link != old);
        for link in links.filter_map(|link| seed.new_row(link)) {
            match self.places[link as usize] {
                place if place == GONE || (place as usize) < round.start => linked.push(link),
                place if (place as usize) < round.end => mates.push(link),
                _ => {}
            }
        }
        // A damaged list may name a row twice.
        mates.sort_unstable();
        mates.dedup();
    }

    fn keep_going(&self) -> bool {
        (self.state.keep_going)()
    }
}

/// Takes over the lists of the base.
struct Keep<'a, 's, 'g, G> {
    state: &'a State<'s, 'g, G>,
    next: &'a AtomicUsize,
}

impl<G: Guard> PairsOp for Keep<'_, '_, '_, G> {
    type Output = ();

    #[inline(always)]
    fn run<P: Pairs>(self, pairs: P) {
        let Self { state, next } = self;
        let mut work = Work::new(state.plan);
        let to = state.base.to;
        loop {
            let start = next.fetch_add(CHUNK_ROWS, Relaxed);
            if start >= to.len() || !(state.keep_going)() {
                return;
            }
            for (old, row) in (start..to.len().min(start + CHUNK_ROWS)).zip(&to[start..]) {
                if let (Ok(old), true) = (Row::try_from(old), *row != GONE) {
                    keep(state, pairs, old, *row, &mut work);
                }
            }
        }
    }
}

/// Takes over the list of an old row of the base for its new `row`.
#[inline(always)]
fn keep<P: Pairs, G: Guard>(
    state: &State<'_, '_, G>,
    pairs: P,
    old: Row,
    row: Row,
    work: &mut Work,
) {
    let (base, layer) = (state.base, &state.plan.layers[0]);
    work.rows.clear();
    work.rows.extend(base.links(old).filter_map(|link| base.new_row(link)));
    let before = base.links(old).count();
    if work.rows.len() < before {
        for link in base.links(old).filter(|link| base.new_row(*link).is_none()) {
            work.rows.extend(base.links(link).filter_map(|behind| base.new_row(behind)));
        }
    }
    work.rows.sort_unstable();
    work.rows.dedup();
    work.rows.retain(|other| *other != row);
    let scorer = pairs.scorer(row);
    work.rows.iter().for_each(|other| scorer.prefetch(*other));
    work.distances.clear();
    work.distances.resize(work.rows.len(), 0.0);
    scorer.score_batch(&work.rows, &mut work.distances);
    work.candidates.clear();
    let links = work.rows.iter().zip(&work.distances);
    work.candidates.extend(links.map(|(&node, &distance)| Link { distance, node }));
    layer.keep(pairs, row, work);
    if work.candidates.len() <= layer.max {
        return;
    }
    let before = before.min(layer.max);
    let mut kept = std::mem::take(&mut work.kept);
    for candidate in &work.candidates {
        if kept.len() >= before {
            break;
        }
        let is_own = |link| base.new_row(link) == Some(candidate.node);
        if kept.iter().all(|link| link.node != candidate.node) && base.links(old).any(is_own) {
            kept.push(*candidate);
        }
    }
    layer.write(row, &kept);
    work.kept = kept;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merge_pays_while_it_inserts_no_more_than_half() {
        for (count, kept, known, expected) in [
            (20_000, 10_000, 10_000, true),
            (20_000, 5_000, 15_000, false),
            (20_000, 15_000, 0, true),
            (20_000, 14_000, 0, false),
            (20_000, 16_000, 2_000, true),
            (20_000, 0, 0, false),
            (LEAST_ROWS - 1, 0, 0, true),
        ] {
            assert_eq!(pays(count, kept, known), expected, "{kept} + {known} of {count}");
        }
    }
}
