//! The search over a graph read in place.

use crate::bytes::Guard;
use crate::codec::full::{Query, Rows, with_scorer};
use crate::codec::{Scorer, ScorerOp};
use crate::filter::rowset::RowSet;
use crate::index::hnsw::graph::{MAX_CAP, View};
use crate::index::hnsw::pool::Ties;
use crate::index::hnsw::walk::{Links, Scratch, Stop, copy_list, descend, walk};
use crate::index::topk::TopK;
use crate::kernel::Isa;
use crate::types::Row;

/// Offers `top` the nearest rows that a walk with `ef` candidates (at least the k of `top`) finds.
///
/// Rows in `dead` are walked through and not offered. The limit of `top` ends the walk early: once
/// a quarter of `ef` is expanded, nodes farther than it are not. Nothing is offered when the graph
/// has more rows than `rows`.
pub(crate) fn search<G: Guard, H: Guard>(
    isa: Isa,
    query: &Query,
    rows: Rows<'_, G>,
    view: &View<'_, H>,
    ef: usize,
    dead: &RowSet,
    top: &mut TopK<'_>,
) {
    if view.len() == 0 || top.k() == 0 {
        return;
    }
    let ef = ef.max(top.k()).min(view.len());
    let mut scratch = Scratch::take();
    with_scorer(isa, query, rows, Search { view, ef, dead, top, scratch: &mut scratch });
    scratch.put_back();
}

struct Search<'a, 'b, 'g, H> {
    view: &'a View<'g, H>,
    ef: usize,
    dead: &'a RowSet,
    top: &'a mut TopK<'b>,
    scratch: &'a mut Scratch,
}

impl<H: Guard> ScorerOp for Search<'_, '_, '_, H> {
    type Output = ();

    #[inline(always)]
    fn run<S: Scorer>(self, scorer: S) {
        let Self { view, ef, dead, top, scratch } = self;
        if view.len() > scorer.rows() {
            return;
        }
        let mut level = view.levels();
        let mut node = view.entry();
        let entry = if level > 0 { view.row(level, node) } else { node };
        let entry_distance = scorer.score(entry);
        let mut distance = entry_distance;
        while level > 0 {
            (node, distance) = descend(&scorer, &Upper { view, level }, node, distance);
            node = view.below(level, node);
            level -= 1;
        }
        // Damaged bytes may name another row below than above.
        if view.levels() > 0 {
            distance = scorer.score(node);
        }
        scratch.reset(view.len(), ef, Ties::PLAIN);
        scratch.start(distance, node, dead.contains(node));
        // From the entry every row can be reached, from elsewhere perhaps not.
        scratch.start(entry_distance, entry, dead.contains(entry));
        let stop = Stop { limit: top.bound(), at_least: ef / 4 };
        walk(&scorer, &Base { view }, dead, stop, scratch);
        for (distance, row) in scratch.pool.visible() {
            top.offer(distance, row);
        }
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
    fn copy(&self, node: u32, out: &mut [u32; MAX_CAP]) -> usize {
        copy_list(self.view.links(node), self.view.len(), out)
    }

    #[inline(always)]
    fn prefetch<S: Scorer>(&self, scorer: &S, node: u32) {
        scorer.prefetch_bytes(self.view.links_hint(node));
    }
}

struct Upper<'a, 'g, H> {
    view: &'a View<'g, H>,
    level: usize,
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
    fn copy(&self, node: u32, out: &mut [u32; MAX_CAP]) -> usize {
        copy_list(self.view.upper_links(self.level, node), self.count(), out)
    }

    #[inline(always)]
    fn prefetch<S: Scorer>(&self, _scorer: &S, _node: u32) {}
}
