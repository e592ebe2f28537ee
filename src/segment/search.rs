//! The search of one part: a pure plan, then a scan or a walk, then candidates by (distance, id).

use std::cmp::Ordering;

use super::ids::IdsView;
use crate::bytes::Guard;
use crate::codec::bits::BitRows;
use crate::codec::codes::CodeRows;
use crate::codec::full::{Query, Rows};
use crate::filter::rowset::RowSet;
use crate::index::bit_scan::{self, BitTarget};
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
    /// Farther rows are left out; infinity for no limit.
    pub(crate) max_distance: f32,
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

/// What a part has beside its rows.
#[derive(Clone, Copy, Debug)]
enum Aid {
    Nothing,
    /// Codes to scan by.
    Bits,
    Graph,
}

/// Decides how to search `len` rows, `live` of which count.
fn plan(len: usize, live: usize, aid: Aid, options: &SearchOptions) -> Plan {
    if live == 0 || options.k == 0 {
        return Plan::Nothing;
    }
    match aid {
        Aid::Graph if !options.exact => {}
        Aid::Bits if !options.exact => {
            let limited = options.max_distance < f32::INFINITY;
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

/// The at most k nearest live rows, by (distance, id). The caller asks the guards afterwards
/// whether what was read is what was written.
pub(crate) fn search<G: Guard>(
    target: &Target<'_, G>,
    query: &Query,
    options: &SearchOptions,
    dead: &RowSet,
    stats: &mut SearchStats,
) -> Vec<Candidate> {
    let live = target.len.saturating_sub(dead.len());
    let before = |a: Row, b: Row| target.ids.compare(a, b) == Ordering::Less;
    let k = options.k.min(live);
    let aid = match (target.graph, target.bits) {
        (Some(_), _) => Aid::Graph,
        (None, Some(_)) => Aid::Bits,
        (None, None) => Aid::Nothing,
    };
    // Where codes lead, a walk keeps as many candidates as are compared exactly.
    let compared = target.codes.map_or(0, |codes| codes.codec.compared(k));
    let wanted = SearchOptions { ef: options.ef.max(compared), ..*options };
    let plan = plan(target.len, live, aid, &wanted);
    if plan == Plan::Nothing {
        return Vec::new();
    }
    if let (Plan::Walk { ef }, Some(graph)) = (plan, target.graph) {
        let indexed = Indexed { rows: target.rows, codes: target.codes, graph };
        stats.walks += 1;
        let limit = options.max_distance;
        if limit < f32::INFINITY && dead.len() <= ef.saturating_mul(DEAD_PER_CANDIDATE) {
            // The limit ends the walk early, and fewer than k hits are what it asks for.
            let mut top = TopK::new(k, limit, target.len, &before);
            let counts = nearest(options.isa, query, indexed, ef, dead, &mut top);
            stats.walked(target, graph.list_bytes(), &counts);
            return top.into_sorted();
        }
        // Without a limit, too few hits mean that dead rows were in the way.
        let mut top = TopK::new(k, f32::INFINITY, target.len, &before);
        let counts = nearest(options.isa, query, indexed, ef, dead, &mut top);
        stats.walked(target, graph.list_bytes(), &counts);
        if top.len() == k {
            let mut found = top.into_sorted();
            found.retain(|candidate| candidate.distance <= limit);
            return found;
        }
    }
    if let (Plan::ScanCodes, Some(bits)) = (plan, target.bits)
        && let Some(coded) = bits.codec.query(options.isa, query)
    {
        let mut top = TopK::new(k, options.max_distance, target.len, &before);
        let sifted = BitTarget { bits, rows: target.rows, len: target.len };
        let scanned = bit_scan::scan(options.isa, query, &coded, &sifted, dead, &mut top);
        stats.codes_compared += scanned.estimated;
        stats.rows_compared += scanned.compared;
        let passes = scanned.estimated / (target.len as u64).max(1);
        stats.bytes_touched += passes * bits.blocks.len() as u64;
        stats.bytes_touched += scanned.compared * target.stride();
        if scanned.decided {
            stats.scans += 1;
            return top.into_sorted();
        }
    }
    let mut top = TopK::new(k, options.max_distance, target.len, &before);
    let all = 0..Row::try_from(target.len).unwrap_or(Row::MAX);
    flat::scan(options.isa, query, target.rows, all, dead, &mut top);
    stats.scans += 1;
    stats.rows_scanned += live as u64;
    stats.bytes_touched += target.len as u64 * target.stride();
    top.into_sorted()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(k: usize, ef: usize, exact: bool) -> SearchOptions {
        SearchOptions { k, ef, exact, max_distance: f32::INFINITY, isa: Isa::detect() }
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
        let near = SearchOptions { max_distance: 0.5, ..options(1_000, 64, false) };
        assert_eq!(plan(1_000, 1_000, Aid::Bits, &near), Plan::ScanCodes);
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
