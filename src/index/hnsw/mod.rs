//! Hierarchical navigable small worlds: a graph in which a greedy walk finds near neighbours.
pub(crate) use graph::{Graph, View};
mod graph;
use crate::bytes::Guard;
use crate::codec::full::{Query, Rows, Space};
use crate::filter::rowset::RowSet;
use crate::index::topk::TopK;
use crate::kernel::Isa;

/// How a graph is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Params {
    /// Links a node takes on upper levels; twice as many on level 0. 2..=64.
    pub(crate) m: usize,
    /// Candidates kept while looking for the neighbours of a new node.
    pub(crate) ef_construction: usize,
    /// Draws the levels; the same seed, rows, tier and a single thread give the same graph.
    pub(crate) seed: u64,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            m: 16,
            ef_construction: 200,
            seed: 42,
        }
    }
}

/// Builds the graph of the first `count` rows on all threads of `pool`. `None` when `keep_going`,
/// asked now and then, says no.
pub(crate) fn build<G: Guard>(
    _isa: Isa,
    _space: Space,
    _rows: Rows<'_, G>,
    _count: usize,
    _params: &Params,
    _pool: &rayon::ThreadPool,
    _keep_going: &(dyn Fn() -> bool + Sync),
) -> Option<Graph> {
    todo!()
}

/// Offers `top` the nearest rows that a walk with `ef` candidates finds. Rows in `dead` are walked
/// through but not offered.
pub(crate) fn search<G: Guard, H: Guard>(
    _isa: Isa,
    _query: &Query,
    _rows: Rows<'_, G>,
    _view: &View<'_, H>,
    _ef: usize,
    _dead: &RowSet,
    _top: &mut TopK<'_>,
) {
    todo!()
}
/// Checks a whole graph: every link inside, every row reachable. What is wrong, in words.
pub(crate) fn verify<G: Guard>(_view: &View<'_, G>) -> Result<(), &'static str> {
    todo!()
}
