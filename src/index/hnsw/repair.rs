//! Links to rows that nothing leads to, and the check of a whole graph.
//!
//! Pruning can drop the last link to a row, above all among copies of one vector. Rows reached
//! from the entry on level 0 form a tree; an unreached row is hung on the nearest reached row that
//! has a free slot or a link outside the tree to give up. The tree needs fewer links than there are
//! slots, so there always is one, and nothing once reached is lost.

use crate::bytes::Guard;
use crate::codec::{PairSource, Pairs, PairsOp, Scorer};
use crate::filter::rowset::RowSet;
use crate::index::hnsw::graph::{END, Graph, View};
use crate::index::hnsw::pool::{Keep, Ties};
use crate::index::hnsw::walk::{Links, Scratch, Stop, walk};
use crate::kernel::Isa;
use crate::types::Row;

/// Candidates of the search for a row to hang an unreached one on.
const EF: usize = 32;

/// Makes every row reachable from the entry on level 0.
pub(super) fn repair<S: PairSource>(isa: Isa, source: &S, graph: &mut Graph) {
    let mut tree = Tree::new(graph);
    if tree.reached < graph.len() {
        source.run(isa, Repair { graph, tree: &mut tree });
    }
}

/// Rows reached from the entry, each with the row through which it was.
struct Tree {
    entry: Row,
    parents: Vec<Row>,
    reached: usize,
    /// Where to look next when no near row has a slot to spare.
    last_resort: usize,
}

impl Tree {
    fn new(graph: &Graph) -> Self {
        let entry = match graph.levels.last() {
            Some(level) => level.rows[graph.entry as usize],
            None => graph.entry,
        };
        let parents = vec![END; graph.len()];
        let mut tree = Self { entry, parents, reached: 0, last_resort: 0 };
        if graph.len() > 0 {
            tree.grow(graph, entry, entry);
        }
        tree
    }

    /// Adds `row` under `parent`, and all that it leads to.
    fn grow(&mut self, graph: &Graph, row: Row, parent: Row) {
        self.parents[row as usize] = parent;
        self.reached += 1;
        let mut open = vec![row];
        while let Some(row) = open.pop() {
            for &link in list(graph, row) {
                if link != END && self.parents[link as usize] == END {
                    self.parents[link as usize] = row;
                    self.reached += 1;
                    open.push(link);
                }
            }
        }
    }

    /// Links `row` to `target` if its list has a slot to spare.
    fn hang(&self, graph: &mut Graph, row: Row, target: Row) -> bool {
        let start = row as usize * graph.cap;
        let slots = &mut graph.base[start..start + graph.cap];
        let spare = slots
            .iter()
            .position(|link| *link == END)
            .or_else(|| slots.iter().rposition(|link| self.parents[*link as usize] != row));
        if let Some(slot) = spare {
            slots[slot] = target;
        }
        spare.is_some()
    }
}

fn list(graph: &Graph, row: Row) -> &[u32] {
    &graph.base[row as usize * graph.cap..][..graph.cap]
}

struct Repair<'a> {
    graph: &'a mut Graph,
    tree: &'a mut Tree,
}

impl PairsOp for Repair<'_> {
    type Output = ();

    #[inline(always)]
    fn run<P: Pairs>(self, pairs: P) {
        let Self { graph, tree } = self;
        let none = RowSet::default();
        let mut scratch = Scratch::default();
        #[expect(clippy::cast_possible_truncation, reason = "graphs are below 2³⁰ rows")]
        let rows = graph.len() as Row;
        for row in 0..rows {
            if tree.parents[row as usize] != END {
                continue;
            }
            let scorer = pairs.scorer(row);
            scratch.reset(graph.len(), Keep::all(EF), Ties::mixed(row));
            scratch.start(scorer.score(tree.entry), tree.entry, false);
            walk(&scorer, &Base { graph }, &none, Stop::NEVER, &mut scratch);
            let mut near = scratch.pool.visible().map(|(_, near)| near);
            let parent = near.find(|near| tree.hang(graph, *near, row));
            let parent = parent.unwrap_or_else(|| hang_anywhere(graph, tree, row));
            tree.grow(graph, row, parent);
        }
    }
}

/// Hangs `row` on any reached row with a slot to spare.
fn hang_anywhere(graph: &mut Graph, tree: &mut Tree, row: Row) -> Row {
    for _ in 0..graph.len() {
        #[expect(clippy::cast_possible_truncation, reason = "graphs are below 2³⁰ rows")]
        let parent = tree.last_resort as Row;
        if tree.parents[tree.last_resort] != END && tree.hang(graph, parent, row) {
            return parent;
        }
        tree.last_resort = (tree.last_resort + 1) % graph.len();
    }
    unreachable!("a tree has fewer links than its rows have slots")
}

struct Base<'a> {
    graph: &'a Graph,
}

impl Links for Base<'_> {
    #[inline(always)]
    fn count(&self) -> usize {
        self.graph.len()
    }

    #[inline(always)]
    fn row(&self, node: u32) -> Row {
        node
    }

    #[inline(always)]
    fn list(&self, node: u32) -> impl Iterator<Item = u32> {
        list(self.graph, node).iter().copied()
    }

    #[inline(always)]
    fn prefetch<S: Scorer>(&self, _scorer: &S, _node: u32) {}
}

/// Checks a whole graph: every link below its bound, every row reachable. Says what is wrong.
pub(crate) fn verify<G: Guard>(view: &View<'_, G>) -> Result<(), &'static str> {
    if view.len() == 0 {
        return Ok(());
    }
    for level in 1..=view.levels() {
        verify_level(view, level)?;
    }
    let mut entry = view.entry();
    if view.levels() > 0 {
        entry = view.row(view.levels(), entry);
    }
    let mut met = vec![false; view.len()];
    met[entry as usize] = true;
    let mut open = vec![entry];
    let mut reached = 1;
    while let Some(row) = open.pop() {
        let list = view.links(row);
        check_list(list, row, view.len())?;
        for &link in list.iter().take_while(|link| **link != END) {
            if !std::mem::replace(&mut met[link as usize], true) {
                reached += 1;
                open.push(link);
            }
        }
    }
    if reached < view.len() { Err("a row cannot be reached from the entry") } else { Ok(()) }
}

fn verify_level<G: Guard>(view: &View<'_, G>, level: usize) -> Result<(), &'static str> {
    let count = view.count(level);
    let mut last = None;
    for node in (0..).take(count) {
        let row = view.row(level, node);
        if last.is_some_and(|last| row <= last) {
            return Err("the rows of a level do not ascend");
        }
        last = Some(row);
        let below = view.below(level, node);
        let row_below = if level == 1 { below } else { view.row(level - 1, below) };
        if row_below != row {
            return Err("a node stands for another row one level below");
        }
        check_list(view.upper_links(level, node), node, count)?;
    }
    Ok(())
}

fn check_list(list: &[u32], owner: u32, bound: usize) -> Result<(), &'static str> {
    let len = list.iter().position(|link| *link == END).unwrap_or(list.len());
    let (links, rest) = list.split_at(len);
    if links.iter().any(|link| *link as usize >= bound) {
        return Err("a link leads outside the graph");
    }
    if links.contains(&owner) {
        return Err("a node links to itself");
    }
    if rest.iter().any(|link| *link != END) {
        return Err("a list goes on behind its end");
    }
    Ok(())
}
