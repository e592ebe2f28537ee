//! How a part is searched: decided for each query by how many rows count, which is known before any
//! of them is looked at.
//!
//! Ways are weighed in distances: what a scan takes for a row that it scores, code or vector. A walk
//! scores rows at random places and keeps its candidates sorted besides.

use super::search::{Breadth, SearchOptions};
use crate::index::bit_scan;
use crate::index::hnsw::Keep;
use crate::index::nearest::Effort;
use crate::index::product_scan;

/// What a walk costs for each candidate it keeps: some sixteen rows scored at random places, each of
/// which takes twice as long as in a scan.
const DISTANCES_PER_CANDIDATE: u64 = 32;
/// Of rows scored by a walk, one in so many distances.
const SCORED_SHARE: u64 = 2;
/// Comparing a row that is asked for by its number takes so many times as long as comparing one in a
/// run of rows.
const SPARSE_COST: u64 = 4;
/// Room for nodes that do not count: so many times as many as there would be if they lay anywhere, and
/// as there are candidates at least.
const HIDDEN_ROOM: u64 = 3;
const HIDDEN_LEAST: u64 = 3;
/// A walk may turn out to be longer than was thought by a half: it is not begun where it would not be
/// the better way then.
const MARGIN: (u64, u64) = (3, 2);
/// What a row costs of which a sketch is read first.
const SKETCH_COST: (u64, u64) = (3, 4);
/// A walk is tried where it may turn out so many times cheaper than a scan, and where a scan is so dear
/// that a walk that is given up adds little to it.
const PROBE_GAIN: u64 = 2;
const PROBE_LEAST: u64 = 8_192;

/// What a part has beside its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aid {
    Nothing,
    /// Codes to scan by, with bounds.
    Bits,
    /// Codes to scan by, after which so many rows are compared.
    Product {
        compared: usize,
    },
    /// A graph, to be walked by codes or not; codes may have sketches.
    Graph {
        coded: bool,
        sketched: bool,
    },
}

/// How a part is searched.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Plan {
    Nothing,
    /// All rows are compared, one after the other.
    Scan,
    /// The rows that count are, by codes where there are any to walk by.
    ScanSome,
    ScanCodes,
    Walk(Effort),
}

/// A plan, and what it was chosen by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Planned {
    pub(super) plan: Plan,
    /// What a walk and what a scan would cost, in distances; 0 where that was no question.
    pub(super) walk_cost: u64,
    pub(super) scan_cost: u64,
}

/// Decides how to search `len` rows, `live` of which count, for hits up to a distance.
pub(super) fn plan(
    len: usize,
    live: usize,
    aid: Aid,
    options: &SearchOptions,
    max_distance: f32,
) -> Planned {
    let sure = |plan| Planned { plan, walk_cost: 0, scan_cost: 0 };
    if live == 0 || options.k == 0 {
        return sure(Plan::Nothing);
    }
    let whole = scan(len, live, false);
    let (coded, sketched) = match aid {
        Aid::Graph { coded, sketched } if !options.exact => (coded, sketched),
        Aid::Bits if !options.exact => {
            let limited = max_distance < f32::INFINITY;
            let pays = bit_scan::pays(options.k.min(live), live, limited);
            return sure(if pays { Plan::ScanCodes } else { whole });
        }
        Aid::Product { compared } if options.codes && !options.exact => {
            let pays = product_scan::pays(compared, live);
            return sure(if pays { Plan::ScanCodes } else { whole });
        }
        _ => return sure(whole),
    };
    let effort = effort(len, live, (coded, sketched), options);
    let walk = |effort: Effort| Plan::Walk(reaching(effort, options));
    let kept = (effort.keep.visible as u64).saturating_mul(len as u64) / live as u64;
    let least_cost = (effort.keep.ef as u64).saturating_mul(DISTANCES_PER_CANDIDATE);
    let walk_cost = kept.saturating_mul(DISTANCES_PER_CANDIDATE).max(least_cost);
    let scan = scan(len, live, coded);
    let scan_cost = if scan == Plan::Scan { len as u64 } else { picking(live, sketched) };
    let sure_cost = if live < len { with_margin(walk_cost) } else { walk_cost };
    let plan = if sure_cost < scan_cost {
        walk(effort)
    } else if live < len && scan_cost >= least_cost.saturating_mul(PROBE_GAIN).max(PROBE_LEAST) {
        // Where the rows that count are those near the query, a walk is no longer than without a filter.
        let seen = with_margin(effort.keep.visible as u64 * DISTANCES_PER_CANDIDATE);
        let share = seen.saturating_mul(1000) / scan_cost;
        walk(Effort { least_visible: u32::try_from(share).unwrap_or(u32::MAX), ..effort })
    } else {
        scan
    };
    Planned { plan, walk_cost, scan_cost }
}

/// The scan of `len` rows, `live` of which count.
pub(super) fn scan(len: usize, live: usize, coded: bool) -> Plan {
    let few = (live as u64).saturating_mul(SPARSE_COST) < len as u64;
    if few || coded && live < len { Plan::ScanSome } else { Plan::Scan }
}

/// What scoring the rows that count costs.
fn picking(live: usize, sketched: bool) -> u64 {
    if sketched { live as u64 * SKETCH_COST.0 / SKETCH_COST.1 } else { live as u64 }
}

fn with_margin(cost: u64) -> u64 {
    cost.saturating_mul(MARGIN.0) / MARGIN.1
}

/// The part of `count` that `live` is of `len`.
fn share(count: usize, live: usize, len: usize) -> usize {
    let part = count as u128 * live as u128 / len.max(1) as u128;
    usize::try_from(part).unwrap_or(count)
}

/// How far a walk goes among `len` rows of which `live` count.
fn effort(
    len: usize,
    live: usize,
    (coded, sketched): (bool, bool),
    options: &SearchOptions,
) -> Effort {
    let k = options.k.min(live);
    let ef = options.breadth.ef.max(k).min(len);
    let hidden = len.saturating_sub(live) as u64;
    if hidden == 0 {
        return Effort::of(ef);
    }
    // Of the candidates half count at least, where rows that do not are in the way: fewer than of a
    // walk among rows that all do, since it passes through many more. The more rows count beyond a
    // fifth of them, the less is that an excuse; and without codes a walk is dear anyway.
    let beyond = share(ef / 2, (5 * live).saturating_sub(len) / 4, len);
    let visible = if coded { ef / 2 + beyond } else { ef };
    let visible = visible.max(k).min(live).max(1);
    let in_proportion = (visible as u64).saturating_mul(hidden) / live as u64;
    let least = (ef as u64).saturating_mul(HIDDEN_LEAST);
    let room = in_proportion.saturating_mul(HIDDEN_ROOM).max(least);
    let keep = Keep { ef, visible, hidden: usize::try_from(room).unwrap_or(usize::MAX) };
    // When a walk has cost what a scan does, it is no use to go on.
    Effort { keep, most_scored: picking(live, sketched) / SCORED_SHARE, ..Effort::of(ef) }
}

/// The same with room for walks that go on for longer than is expected, where they end by distances.
fn reaching(effort: Effort, options: &SearchOptions) -> Effort {
    let Breadth { ef, slack } = options.breadth;
    let Some(slack) = slack else { return effort };
    let most = options.breadth.most(options.k);
    let times = |count: usize| {
        usize::try_from(count as u128 * most as u128 / ef.max(1) as u128).unwrap_or(usize::MAX)
    };
    let Keep { visible, hidden, .. } = effort.keep;
    let keep = Keep { ef: most, visible: times(visible), hidden: times(hidden) };
    Effort { keep, slack: Some(slack), ..effort }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Isa;

    const GRAPH: Aid = Aid::Graph { coded: true, sketched: false };
    const SKETCHED: Aid = Aid::Graph { coded: true, sketched: true };
    const BARE_GRAPH: Aid = Aid::Graph { coded: false, sketched: false };

    fn options(k: usize, ef: usize, exact: bool) -> SearchOptions {
        SearchOptions { exact, ..SearchOptions::new(Isa::detect(), k, Breadth::fixed(ef)) }
    }

    fn plan(len: usize, live: usize, aid: Aid, options: &SearchOptions) -> Plan {
        super::plan(len, live, aid, options, f32::INFINITY).plan
    }

    #[test]
    fn a_graph_is_walked_only_where_that_is_less_work() {
        let walk = |k, ef| plan(100_000, 100_000, GRAPH, &options(k, ef, false));
        assert_eq!(walk(10, 64), Plan::Walk(Effort::of(64)));
        assert_eq!(walk(100, 64), Plan::Walk(Effort::of(100)));
        assert_eq!(walk(usize::MAX, 64), Plan::Scan);
        assert_eq!(walk(10, usize::MAX), Plan::Scan);
        assert_eq!(plan(100_000, 100_000, GRAPH, &options(10, 64, true)), Plan::Scan);
        assert_eq!(plan(100_000, 100_000, Aid::Nothing, &options(10, 64, false)), Plan::Scan);
        assert_eq!(plan(1_000, 1_000, GRAPH, &options(10, 64, false)), Plan::Scan);
    }

    #[test]
    fn codes_are_scanned_where_few_rows_are_wanted_of_many() {
        let scan = |len, k| plan(len, len, Aid::Bits, &options(k, 64, false));
        assert_eq!(scan(10_000, 10), Plan::ScanCodes);
        assert_eq!(scan(1_000, 10), Plan::Scan);
        assert_eq!(scan(10_000, 1_000), Plan::Scan);
        assert_eq!(plan(10_000, 10_000, Aid::Bits, &options(10, 64, true)), Plan::Scan);
        assert_eq!(plan(100_000, 300, Aid::Bits, &options(10, 64, false)), Plan::ScanSome);
        let near = super::plan(1_000, 1_000, Aid::Bits, &options(1_000, 64, false), 0.5);
        assert_eq!(near.plan, Plan::ScanCodes);
        let product =
            |compared| plan(10_000, 10_000, Aid::Product { compared }, &options(10, 64, false));
        assert_eq!(product(150), Plan::ScanCodes);
        assert_eq!(product(1_500), Plan::Scan);
        let surely = SearchOptions { codes: false, ..options(10, 64, false) };
        let by = |aid| plan(10_000, 10_000, aid, &surely);
        assert_eq!(
            (by(Aid::Product { compared: 150 }), by(Aid::Bits)),
            (Plan::Scan, Plan::ScanCodes)
        );
    }

    #[test]
    fn the_fewer_rows_count_the_longer_is_the_walk_until_scoring_them_is_less() {
        let options = options(10, 64, false);
        let planned = |live| super::plan(100_000, live, GRAPH, &options, f32::INFINITY);
        let mut before = 0;
        for live in [100_000, 50_000, 20_000] {
            let Planned { plan: Plan::Walk(effort), walk_cost, scan_cost } = planned(live) else {
                panic!("{live} rows: {:?}", planned(live))
            };
            assert!(before <= walk_cost && walk_cost < scan_cost, "{live} rows");
            assert!(effort.keep.visible >= 10 && effort.keep.ef == 64);
            before = walk_cost;
        }
        for live in [1, 10, 1_000, 3_000] {
            let Planned { plan, walk_cost, scan_cost } = planned(live);
            assert_eq!((plan, scan_cost), (Plan::ScanSome, live as u64));
            assert!(walk_cost >= scan_cost);
        }
        let sketched = super::plan(100_000, 5_000, SKETCHED, &options, f32::INFINITY);
        assert_eq!((sketched.plan, sketched.scan_cost), (Plan::ScanSome, 3_750));
        assert_eq!(planned(0).plan, Plan::Nothing);
        assert_eq!(plan(100_000, 9, GRAPH, &SearchOptions { k: 0, ..options }), Plan::Nothing);
    }

    #[test]
    fn without_codes_rows_are_picked_only_where_they_are_few() {
        for (aid, exact) in [(Aid::Nothing, false), (BARE_GRAPH, true), (GRAPH, true)] {
            let options = options(10, 64, exact);
            assert_eq!(plan(10_000, 9_000, aid, &options), Plan::Scan);
            assert_eq!(plan(10_000, 900, aid, &options), Plan::ScanSome);
        }
    }
}
