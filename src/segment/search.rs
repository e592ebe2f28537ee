//! The search of one part: a pure plan, then a scan or a walk, then candidates by (distance, id).

use std::cmp::Ordering;

use super::ids::IdsView;
use crate::bytes::Guard;
use crate::codec::bits::BitRows;
use crate::codec::codes::CodeRows;
use crate::codec::full::{Query, Rows};
use crate::filter::rowset::RowSet;
use crate::index::bit_scan::{self, Asked, BitTarget};
use crate::index::flat;
use crate::index::hnsw::View;
use crate::index::nearest::{Counts, Indexed, nearest};
use crate::index::topk::TopK;
use crate::types::Row;

// What the floor above passes in and gets back.
pub(crate) use crate::index::topk::Candidate;
pub(crate) use crate::kernel::Isa;

/// What is asked of each part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SearchOptions {
    pub(crate) k: usize,
    /// Candidates a walk keeps; raised to `k` where that is more.
    pub(crate) ef: usize,
    /// Scan even where there is a graph.
    pub(crate) exact: bool,
    pub(crate) isa: Isa,
}

/// What a search has done, summed over parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SearchStats {
    /// Parts scanned, and rows of them that were all compared exactly.
    pub(crate) scans: u64,
    pub(crate) rows_scanned: u64,
    /// Rows compared by their codes, and rows compared exactly without comparing all.
    pub(crate) codes_compared: u64,
    pub(crate) rows_compared: u64,
    /// Nodes of graphs whose links were followed.
    pub(crate) nodes_expanded: u64,
    /// Bytes of links, codes and vectors that were read for all of this.
    pub(crate) bytes_touched: u64,
    /// Scans by codes that left most rows to compare, or did not decide.
    pub(crate) vain_scans: u64,
    /// Rows of chunks coded for later searches.
    pub(crate) rows_coded: u64,
    /// Parts whose graph was walked.
    pub(crate) walks: u64,
}

impl SearchStats {
    /// Adds what another search has done.
    pub(crate) fn add(&mut self, other: &Self) {
        self.scans += other.scans;
        self.rows_scanned += other.rows_scanned;
        self.codes_compared += other.codes_compared;
        self.rows_compared += other.rows_compared;
        self.nodes_expanded += other.nodes_expanded;
        self.bytes_touched += other.bytes_touched;
        self.vain_scans += other.vain_scans;
        self.rows_coded += other.rows_coded;
        self.walks += other.walks;
    }

    /// What was done since `before`.
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            scans: self.scans - before.scans,
            rows_scanned: self.rows_scanned - before.rows_scanned,
            codes_compared: self.codes_compared - before.codes_compared,
            rows_compared: self.rows_compared - before.rows_compared,
            nodes_expanded: self.nodes_expanded - before.nodes_expanded,
            bytes_touched: self.bytes_touched - before.bytes_touched,
            vain_scans: self.vain_scans - before.vain_scans,
            rows_coded: self.rows_coded - before.rows_coded,
            walks: self.walks - before.walks,
        }
    }

    /// Adds a walk over `target`.
    fn walked<G: Guard>(&mut self, target: &Target<'_, G>, links: usize, counts: &Counts) {
        let rows = match target.codes {
            Some(codes) => {
                self.codes_compared += counts.walk.scored;
                self.bytes_touched += counts.walk.scored * codes.codec.stride() as u64;
                counts.compared
            }
            None => counts.walk.scored,
        };
        self.rows_compared += rows;
        self.nodes_expanded += counts.walk.expanded;
        self.bytes_touched += rows * target.stride() + counts.walk.expanded * links as u64;
    }
}

/// What is searched: the rows of a part through their guards.
#[derive(Debug)]
pub(crate) struct Target<'a, G> {
    pub(crate) rows: Rows<'a, G>,
    pub(crate) len: usize,
    pub(crate) graph: Option<View<'a, G>>,
    /// Codes of all rows, to walk the graph by.
    pub(crate) codes: Option<CodeRows<'a, G>>,
    /// Codes of all rows, to scan them by.
    pub(crate) bits: Option<BitRows<'a, G>>,
    pub(crate) ids: IdsView<'a, G>,
}

impl<G: Guard> Target<'_, G> {
    fn aid(&self) -> Aid {
        match (self.graph, self.bits) {
            (Some(_), _) => Aid::Graph,
            (None, Some(_)) => Aid::Bits,
            (None, None) => Aid::Nothing,
        }
    }

    /// Bytes from one vector to the next.
    fn stride(&self) -> u64 {
        (self.rows.vectors.len() / self.len.max(1)) as u64
    }
}

/// How a part is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    Nothing,
    Scan,
    ScanCodes,
    Walk { ef: usize },
}

/// A walk computes about 32 distances for each candidate it keeps, at random places: below that
/// many rows a scan is not slower, and exact.
const DISTANCES_PER_CANDIDATE: u128 = 32;

/// A walk has room for more dead rows than this for each candidate it keeps: with fewer in all,
/// they cannot push a live row out.
const DEAD_PER_CANDIDATE: usize = 8;

/// A scan by codes that compares more than one in so many rows is in vain.
const VAIN_SHARE: u64 = 8;

/// What a part has beside its rows.
#[derive(Clone, Copy, Debug)]
enum Aid {
    Nothing,
    /// Codes to scan by.
    Bits,
    Graph,
}

/// Decides how to search `len` rows, `live` of which count, for hits up to a distance.
fn plan(len: usize, live: usize, aid: Aid, options: &SearchOptions, max_distance: f32) -> Plan {
    if live == 0 || options.k == 0 {
        return Plan::Nothing;
    }
    match aid {
        Aid::Graph if !options.exact => {}
        Aid::Bits if !options.exact => {
            let limited = max_distance < f32::INFINITY;
            let pays = bit_scan::pays(options.k.min(live), live, limited);
            return if pays { Plan::ScanCodes } else { Plan::Scan };
        }
        _ => return Plan::Scan,
    }
    let ef = options.ef.max(options.k.min(live)).min(len);
    // Dead rows are walked in proportion, and take no place among the candidates.
    let kept = ef as u128 * len as u128 / live as u128;
    if kept * DISTANCES_PER_CANDIDATE >= len as u128 {
        return Plan::Scan;
    }
    Plan::Walk { ef }
}

/// A query, and how far hits of it may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) query: &'a Query,
    /// Farther rows are left out; infinity for no limit.
    pub(crate) max_distance: f32,
}

impl<'a> From<&'a Query> for Ask<'a> {
    /// For hits at any distance.
    fn from(query: &'a Query) -> Self {
        Self { query, max_distance: f32::INFINITY }
    }
}

/// For each query the at most k nearest live rows, by (distance, id). The caller asks the guards
/// afterwards whether what was read is what was written.
pub(crate) fn search<G: Guard>(
    target: &Target<'_, G>,
    asks: &[Ask<'_>],
    options: &SearchOptions,
    dead: &RowSet,
    stats: &mut SearchStats,
) -> Vec<Vec<Candidate>> {
    let live = target.len.saturating_sub(dead.len());
    let before = |a: Row, b: Row| target.ids.compare(a, b) == Ordering::Less;
    let k = options.k.min(live);
    // Where codes lead, a walk keeps as many candidates as are compared exactly.
    let compared = target.codes.map_or(0, |codes| codes.codec.compared(k));
    let wanted = SearchOptions { ef: options.ef.max(compared), ..*options };
    let mut found = vec![Vec::new(); asks.len()];
    let (mut scanned, mut sifted) = (Vec::new(), Vec::new());
    for (at, ask) in asks.iter().enumerate() {
        match plan(target.len, live, target.aid(), &wanted, ask.max_distance) {
            Plan::Nothing => {}
            Plan::Scan => scanned.push(at),
            Plan::ScanCodes => sifted.push(at),
            Plan::Walk { ef } => {
                match walk(target, *ask, (k, ef), options.isa, dead, &before, stats) {
                    Some(hits) => found[at] = hits,
                    None => scanned.push(at),
                }
            }
        }
    }
    let top = |at: &usize| TopK::new(k, asks[*at].max_distance, target.len, &before);
    if let Some(bits) = target.bits.filter(|_| !sifted.is_empty()) {
        let coded: Vec<_> =
            sifted.iter().map(|at| bits.codec.query(options.isa, asks[*at].query)).collect();
        let mut tops: Vec<_> = sifted.iter().map(top).collect();
        let mut asked = Vec::with_capacity(sifted.len());
        for ((at, coded), top) in sifted.iter().zip(&coded).zip(&mut tops) {
            match coded {
                Some(coded) => asked.push((*at, Asked::new(asks[*at].query, coded, top))),
                None => scanned.push(*at),
            }
        }
        let (places, mut asked): (Vec<usize>, Vec<_>) = asked.into_iter().unzip();
        let sifted = BitTarget { bits, rows: target.rows, len: target.len };
        bit_scan::scan(options.isa, &mut asked, &sifted, dead);
        let done: Vec<_> = asked.iter().map(|asked| asked.scanned).collect();
        drop(asked);
        let tops = tops.into_iter().zip(&coded).filter(|(_, coded)| coded.is_some());
        for ((at, done), (top, _)) in places.into_iter().zip(done).zip(tops) {
            stats.codes_compared += done.estimated;
            stats.rows_compared += done.compared;
            let many = done.compared.saturating_mul(VAIN_SHARE) > target.len as u64;
            stats.vain_scans += u64::from(many || !done.decided);
            let passes = done.estimated / (target.len as u64).max(1);
            stats.bytes_touched += passes * bits.blocks.len() as u64;
            stats.bytes_touched += done.compared * target.stride();
            if done.decided {
                stats.scans += 1;
                found[at] = top.into_sorted();
            } else {
                scanned.push(at);
            }
        }
    }
    if !scanned.is_empty() {
        let mut tops: Vec<_> = scanned.iter().map(top).collect();
        let queries: Vec<_> = scanned.iter().map(|at| asks[*at].query).collect();
        flat::scan_all(options.isa, &queries, target.rows, target.len, dead, &mut tops);
        let count = scanned.len() as u64;
        stats.scans += count;
        stats.rows_scanned += count * live as u64;
        stats.bytes_touched += count * target.len as u64 * target.stride();
        for (at, top) in scanned.into_iter().zip(tops) {
            found[at] = top.into_sorted();
        }
    }
    found
}

/// What a walk over the graph finds; `None` when dead rows were in the way of it.
fn walk<G: Guard>(
    target: &Target<'_, G>,
    Ask { query, max_distance }: Ask<'_>,
    (k, ef): (usize, usize),
    isa: Isa,
    dead: &RowSet,
    before: &dyn Fn(Row, Row) -> bool,
    stats: &mut SearchStats,
) -> Option<Vec<Candidate>> {
    let graph = target.graph?;
    let indexed = Indexed { rows: target.rows, codes: target.codes, graph };
    stats.walks += 1;
    // A limit ends the walk early, and fewer than k hits are what it asks for. Otherwise too few
    // hits mean that dead rows were in the way.
    let few_dead = dead.len() <= ef.saturating_mul(DEAD_PER_CANDIDATE);
    let limited = max_distance < f32::INFINITY && few_dead;
    let limit = if limited { max_distance } else { f32::INFINITY };
    let mut top = TopK::new(k, limit, target.len, before);
    let counts = nearest(isa, query, indexed, ef, dead, &mut top);
    stats.walked(target, graph.list_bytes(), &counts);
    if !limited && top.len() < k {
        return None;
    }
    let mut found = top.into_sorted();
    found.retain(|candidate| candidate.distance <= max_distance);
    // Hits are told by their ids, which lie far apart.
    found.iter().for_each(|candidate| target.ids.prefetch(candidate.row));
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(k: usize, ef: usize, exact: bool) -> SearchOptions {
        SearchOptions { k, ef, exact, isa: Isa::detect() }
    }

    fn plan(len: usize, live: usize, aid: Aid, options: &SearchOptions) -> Plan {
        super::plan(len, live, aid, options, f32::INFINITY)
    }

    #[test]
    fn a_graph_is_walked_only_where_that_is_less_work() {
        let walk = |k, ef| plan(100_000, 100_000, Aid::Graph, &options(k, ef, false));
        assert_eq!(walk(10, 64), Plan::Walk { ef: 64 });
        assert_eq!(walk(100, 64), Plan::Walk { ef: 100 });
        assert_eq!(walk(usize::MAX, 64), Plan::Scan);
        assert_eq!(walk(10, usize::MAX), Plan::Scan);
        assert_eq!(plan(100_000, 100_000, Aid::Graph, &options(10, 64, true)), Plan::Scan);
        assert_eq!(plan(100_000, 100_000, Aid::Nothing, &options(10, 64, false)), Plan::Scan);
        assert_eq!(plan(1_000, 1_000, Aid::Graph, &options(10, 64, false)), Plan::Scan);
    }

    #[test]
    fn codes_are_scanned_where_few_rows_are_wanted_of_many() {
        let scan = |len, k| plan(len, len, Aid::Bits, &options(k, 64, false));
        assert_eq!(scan(10_000, 10), Plan::ScanCodes);
        assert_eq!(scan(1_000, 10), Plan::Scan);
        assert_eq!(scan(10_000, 1_000), Plan::Scan);
        assert_eq!(plan(10_000, 10_000, Aid::Bits, &options(10, 64, true)), Plan::Scan);
        let near = super::plan(1_000, 1_000, Aid::Bits, &options(1_000, 64, false), 0.5);
        assert_eq!(near, Plan::ScanCodes);
    }

    #[test]
    fn many_dead_rows_make_a_walk_dearer_and_no_live_row_means_no_work() {
        let walk = |live| plan(100_000, live, Aid::Graph, &options(10, 64, false));
        assert_eq!(walk(50_000), Plan::Walk { ef: 64 });
        assert_eq!(walk(1_000), Plan::Scan);
        assert_eq!(walk(0), Plan::Nothing);
        assert_eq!(plan(100_000, 9, Aid::Graph, &options(0, 64, false)), Plan::Nothing);
    }
}
