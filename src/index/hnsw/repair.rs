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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::{Guarded, Trusted};
    use crate::index::hnsw::graph::{Graph, Level};

    fn lists(links: &[[u32; 2]]) -> Vec<u32> {
        let list = |links: &[u32; 2]| {
            let mut list = vec![END; 16];
            list[..2].copy_from_slice(links);
            list
        };
        links.iter().flat_map(list).collect()
    }

    /// A ring of six rows; three of them are on level 1, one on level 2.
    fn ring() -> Graph {
        let level = |rows: &[u32], below: &[u32], links: &[[u32; 2]]| Level {
            rows: rows.to_vec(),
            below: below.to_vec(),
            links: lists(links),
        };
        Graph {
            m: 2,
            cap: 16,
            entry: 0,
            base: lists(&[[1, 5], [2, 0], [3, 1], [4, 2], [5, 3], [0, 4]]),
            levels: vec![
                level(&[1, 3, 4], &[1, 3, 4], &[[1, 2], [0, 2], [0, 1]]),
                level(&[3], &[1], &[[END, END]]),
            ],
        }
    }

    fn verified(change: impl Fn(&mut Graph)) -> Result<(), &'static str> {
        let mut graph = ring();
        change(&mut graph);
        let bytes = graph.to_bytes();
        let view: View<'_, Trusted> =
            View::parse(Guarded::trusted(bytes.as_slice()), graph.len()).expect("a whole header");
        verify(&view)
    }

    #[test]
    fn each_damage_of_a_graph_is_told_by_its_name() {
        assert_eq!(verified(|_| {}), Ok(()));
        let outside = Err("a link leads outside the graph");
        assert_eq!(verified(|graph| graph.base[16] = 6), outside);
        assert_eq!(verified(|graph| graph.levels[0].links[16] = 3), outside);
        let itself = Err("a node links to itself");
        assert_eq!(verified(|graph| graph.base[2 * 16] = 2), itself);
        assert_eq!(verified(|graph| graph.levels[0].links[2 * 16] = 2), itself);
        let behind = Err("a list goes on behind its end");
        assert_eq!(verified(|graph| graph.base[5 * 16 + 15] = 1), behind);
        assert_eq!(verified(|graph| graph.levels[1].links[1] = 0), behind);
        let ascend = Err("the rows of a level do not ascend");
        assert_eq!(
            verified(|graph| {
                graph.levels[0].rows.swap(0, 1);
                graph.levels[0].below.swap(0, 1);
            }),
            ascend
        );
        let twice = |graph: &mut Graph| {
            graph.levels[0].rows[1] = 1;
            graph.levels[0].below[1] = 1;
        };
        assert_eq!(verified(twice), ascend);
        let another = Err("a node stands for another row one level below");
        assert_eq!(verified(|graph| graph.levels[0].below[2] = 5), another);
        assert_eq!(verified(|graph| graph.levels[1].below[0] = 2), another);
        let unreached = Err("a row cannot be reached from the entry");
        let forgotten = |graph: &mut Graph| {
            graph.base[16..17].fill(3);
            graph.base[3 * 16 + 1] = 1;
        };
        assert_eq!(verified(forgotten), unreached);
        assert_eq!(verified(|graph| graph.base.fill(END)), unreached);
    }
}
