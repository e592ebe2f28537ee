//! The search over a graph read in place.

use crate::bytes::Guard;
use crate::codec::{QuerySource, Scorer, ScorerOp};
use crate::filter::rowset::RowSet;
use crate::index::hnsw::graph::View;
use crate::index::hnsw::pool::{Keep, Ties};
use crate::index::hnsw::walk::{Counts, Links, Reach, Scratch, Stop, descend, walk};
use crate::index::topk::Candidate;
use crate::kernel::Isa;
use crate::types::Row;

/// What a walk is to find.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Want<'a> {
    /// Candidates that are kept.
    pub(crate) keep: Keep,
    /// Of those, so many of the nearest are expanded.
    pub(crate) nearest: usize,
    /// Once a quarter of what is kept at least is expanded, nodes farther than this are not.
    pub(crate) limit: f32,
    /// A walk that has scored more rows than this gives up.
    pub(crate) most_scored: u64,
    /// So does one that meets fewer visible rows of a thousand near the query.
    pub(crate) least_visible: u32,
    /// Rows that are walked through and not found.
    pub(crate) dead: &'a RowSet,
    /// A row that is passed by as if it were not there.
    pub(crate) without: Option<Row>,
    /// How far beyond what is found it goes; until all that is kept is expanded if that is not said.
    pub(crate) reach: Option<Reach>,
}

/// The nearest rows that a walk finds, nearest first, into `found`; none when the graph has more rows than the source. What the walk has done.
pub(crate) fn search<S: QuerySource, H: Guard>(
    isa: Isa,
    source: &S,
    view: &View<'_, H>,
    want: Want<'_>,
    found: &mut Vec<Candidate>,
) -> Counts {
    found.clear();
    if view.len() == 0 {
        return Counts::default();
    }
    let mut scratch = Scratch::take();
    source.run(isa, Search { view, want, found, scratch: &mut scratch });
    let counts = scratch.counts;
    scratch.put_back();
    counts
}

struct Search<'a, 'g, H> {
    view: &'a View<'g, H>,
    want: Want<'a>,
    found: &'a mut Vec<Candidate>,
    scratch: &'a mut Scratch,
}

impl<H: Guard> ScorerOp for Search<'_, '_, H> {
    type Output = ();

    #[inline(always)]
    fn run<S: Scorer>(self, scorer: S) {
        let Self { view, want, found, scratch } = self;
        let Want { keep, nearest, limit, most_scored, least_visible, dead, without, reach } = want;
        let keep = keep.within(view.len());
        if view.len() > scorer.rows() {
            return;
        }
        let mut level = view.levels();
        let mut node = view.entry();
        let entry = if level > 0 { view.row(level, node) } else { node };
        let gone = |row| without == Some(row);
        let entry_distance = if gone(entry) { f32::INFINITY } else { scorer.score(entry) };
        scratch.counts.scored += 1;
        let mut distance = entry_distance;
        let mut seeds = Seeds::default();
        let any_dead = !dead.is_empty();
        while level > 0 {
            let counts = &mut scratch.counts;
            let upper = Upper { view, level, without };
            (node, distance) = descend(&scorer, &upper, node, distance, counts, |row, distance| {
                if any_dead && distance < seeds.farthest() && !dead.contains(row) {
                    seeds.add(distance, row);
                }
            });
            node = view.below(level, node);
            level -= 1;
        }
        // Damaged bytes may name another row below than above.
        if view.levels() > 0 {
            distance = scorer.score(node);
            scratch.counts.scored += 1;
        }
        scratch.reset(view.len(), keep, Ties::PLAIN);
        if let Some(row) = without.filter(|row| (*row as usize) < view.len()) {
            scratch.pass_by(row);
        }
        scratch.start(distance, node, dead.contains(node));
        // From the entry every row can be reached, from elsewhere perhaps not.
        scratch.start(entry_distance, entry, dead.contains(entry));
        // Visible rows met on the way: others may hide what is behind them.
        for (distance, row) in seeds.near {
            if distance < f32::INFINITY {
                scratch.start(distance, row, false);
            }
        }
        let base = Base { view };
        if gone(node) && gone(entry) {
            for row in base.list(node).take_while(|row| (*row as usize) < view.len()) {
                scratch.start(scorer.score(row), row, dead.contains(row));
            }
        }
        let at_least = reach.map_or(keep.ef, |reach| reach.least) / 4;
        let stop = Stop { limit, at_least, nearest, scored: most_scored, least_visible, reach };
        walk(&scorer, &base, dead, stop, scratch);
        let visible = scratch.pool.visible();
        found.extend(visible.map(|(distance, row)| Candidate { distance, row }));
    }
}

/// The nearest visible rows that were met on upper levels.
struct Seeds {
    /// Nearest first; at infinity where there are fewer.
    near: [(f32, Row); SEEDS],
}

const SEEDS: usize = 4;

impl Default for Seeds {
    fn default() -> Self {
        Self { near: [(f32::INFINITY, 0); SEEDS] }
    }
}

impl Seeds {
    #[inline(always)]
    fn farthest(&self) -> f32 {
        self.near[SEEDS - 1].0
    }

    fn add(&mut self, distance: f32, row: Row) {
        if self.near.iter().any(|near| near.1 == row && near.0 < f32::INFINITY) {
            return;
        }
        let at = self.near.partition_point(|near| near.0 <= distance);
        self.near[at..].rotate_right(1);
        self.near[at] = (distance, row);
    }
}

struct Base<'a, 'g, H> {
    view: &'a View<'g, H>,
}

impl<H: Guard> Links for Base<'_, '_, H> {
    #[inline(always)]
    fn count(&self) -> usize {
        self.view.len()
    }

    #[inline(always)]
    fn row(&self, node: u32) -> Row {
        node
    }

    #[inline(always)]
    fn list(&self, node: u32) -> impl Iterator<Item = u32> {
        self.view.links(node).iter().copied()
    }

    #[inline(always)]
    fn prefetch<S: Scorer>(&self, scorer: &S, node: u32) {
        scorer.prefetch_slice(self.view.links_hint(node));
    }
}

struct Upper<'a, 'g, H> {
    view: &'a View<'g, H>,
    level: usize,
    without: Option<Row>,
}

impl<H: Guard> Links for Upper<'_, '_, H> {
    #[inline(always)]
    fn count(&self) -> usize {
        self.view.count(self.level)
    }

    #[inline(always)]
    fn row(&self, node: u32) -> Row {
        self.view.row(self.level, node)
    }

    #[inline(always)]
    fn list(&self, node: u32) -> impl Iterator<Item = u32> {
        let links = self.view.upper_links(self.level, node).iter().copied();
        let gone = |link| self.without.is_some_and(|gone| self.row(link) == gone);
        links.filter(move |link| *link as usize >= self.count() || !gone(*link))
    }

    #[inline(always)]
    fn prefetch<S: Scorer>(&self, _scorer: &S, _node: u32) {}
}
