//! The search of one part: a pure plan, then a scan or a walk, then candidates by (distance, id).

use std::borrow::Cow;
use std::cmp::Ordering;

use super::curve;
use super::ids::IdsView;
use super::layout::Statistics;
use super::plan::{self, Aid, Plan};
use crate::bytes::{Guard, Guarded};
use crate::codec::bits::BitRows;
use crate::codec::blocks::BlockRows;
use crate::codec::codes::SKETCH_BYTES;
use crate::codec::full::{Query, Rows};
use crate::codec::product::ProductBlocks;
use crate::codec::quantizer::CodeRows;
use crate::codec::rounded::Rounding;
use crate::filter::rowset::RowSet;
use crate::index::bit_scan::{self, Asked, BitTarget};
use crate::index::flat;
use crate::index::hnsw::View;
use crate::index::nearest::{Counts, Effort, Indexed, LEAST_COMPARED, nearest};
use crate::index::product_scan::{self, ProductTarget};
use crate::index::sparse::{self, Source};
use crate::index::topk::TopK;
use crate::types::Row;

// What the floor above passes in and gets back.
pub(crate) use super::curve::Breadth;
pub(crate) use crate::index::topk::Candidate;
pub(crate) use crate::kernel::Isa;

/// What is asked of a part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SearchOptions {
    pub(crate) k: usize,
    /// How far a walk goes; for `k` candidates at least.
    pub(crate) breadth: Breadth,
    /// What walks are to find; they go as far as that takes instead.
    pub(crate) recall: Option<WantedRecall>,
    /// Scan even where there is a graph.
    pub(crate) exact: bool,
    pub(crate) isa: Isa,
    /// Whether the same search must find the same again, whatever was searched between.
    pub(crate) stable: bool,
    /// Whether scans may go by codes that keep most near rows near, but not all.
    pub(crate) codes: bool,
    /// A row that is not to be found: walks pass it by as if the graph had been built without it.
    pub(crate) without: Option<Row>,
}

/// The share of the true hits that walks are to find.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct WantedRecall {
    pub(crate) recall: f32,
    /// How many times less than `recall` allows may be missed, by what is known of rows.
    pub(crate) factor: f32,
    /// Whether it was not asked for: then only walks that are known to find less go farther for it.
    pub(crate) raises: bool,
}

impl WantedRecall {
    /// Whether it is found by codes that keep so many of a thousand near rows.
    fn allows(self, agreement: u32) -> bool {
        // A little less, since 0.97 is no f32.
        let missed = f64::from(1000_u32.saturating_sub(agreement)) - 1e-3;
        missed * f64::from(self.factor) <= 1e3 * (1.0 - f64::from(self.recall))
    }
}

impl SearchOptions {
    /// The `k` nearest, by walks of some breadth.
    pub(crate) fn new(isa: Isa, k: usize, breadth: Breadth) -> Self {
        let (recall, exact, stable) = (None, false, false);
        Self { k, breadth, recall, exact, isa, stable, codes: true, without: None }
    }

    /// The same with what walks and scans do in a segment of `rows` rows, of which `live` count.
    pub(super) fn within(self, known: &Statistics, rows: usize, live: usize) -> Self {
        let Some(wanted) = self.recall else { return self };
        let WantedRecall { recall, factor, raises } = wanted;
        let curves = &known.curves;
        let k = self.k.min(live);
        let Breadth { ef, slack } = curve::breadth(curves, k, recall, factor);
        if raises && (curves.is_empty() || ef <= self.breadth.ef.max(k)) {
            return self;
        }
        // The k nearest rows that count are among so many more of all.
        let among = k as u128 * rows as u128 / live.max(1) as u128;
        let among = usize::try_from(among).unwrap_or(rows);
        let slack = slack.and_then(|_| curve::breadth(curves, among, recall, factor).slack);
        let codes = raises || known.code.is_some_and(|code| wanted.allows(code.agreement));
        Self { breadth: Breadth { ef, slack }, codes, ..self }
    }
}

/// What a search has done, summed over parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SearchStats {
    /// Parts scanned, and rows of them that were all compared exactly.
    pub(crate) scans: u64,
    pub(crate) rows_scanned: u64,
    /// Rows compared by their codes or given up by a sketch of these, and rows compared exactly without
    /// comparing all.
    pub(crate) codes_compared: u64,
    pub(crate) rows_compared: u64,
    /// Nodes of graphs whose links were followed.
    pub(crate) nodes_expanded: u64,
    /// Bytes of links, sketches, codes and vectors that were read for all of this.
    pub(crate) bytes_touched: u64,
    /// Scans by codes that left most rows to compare, or did not decide.
    pub(crate) vain_scans: u64,
    /// Rows of chunks coded for later searches.
    pub(crate) rows_coded: u64,
    /// Parts whose graph was walked; candidates that this was planned for, and thousandths of slack.
    pub(crate) walks: u64,
    pub(crate) candidates: u64,
    pub(crate) slack: u64,
    /// Weights of sparse vectors, or rows of words, read from inverted indexes.
    pub(crate) postings: u64,
    /// Parts of which only rows that count were compared.
    pub(crate) sparse_scans: u64,
    /// What walks and scans would have cost where both were weighed, in distances.
    pub(crate) walk_cost: u64,
    pub(crate) scan_cost: u64,
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
        self.candidates += other.candidates;
        self.slack += other.slack;
        self.postings += other.postings;
        self.sparse_scans += other.sparse_scans;
        self.walk_cost += other.walk_cost;
        self.scan_cost += other.scan_cost;
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
            candidates: self.candidates - before.candidates,
            slack: self.slack - before.slack,
            postings: self.postings - before.postings,
            sparse_scans: self.sparse_scans - before.sparse_scans,
            walk_cost: self.walk_cost - before.walk_cost,
            scan_cost: self.scan_cost - before.scan_cost,
        }
    }

    /// Adds a walk that is begun.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a slack is a small positive number"
    )]
    fn begin(&mut self, Breadth { ef, slack }: Breadth) {
        self.walks += 1;
        self.candidates += ef as u64;
        self.slack += slack.map_or(0, |slack| (slack * 1e3).round() as u64);
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
    /// Sketches of those codes.
    pub(crate) sketches: Option<Guarded<'a, G>>,
    /// Codes of all rows, to scan them by.
    pub(crate) blocks: Option<BlockRows<'a, G>>,
    pub(crate) ids: IdsView<'a, G>,
}

impl<G: Guard> Target<'_, G> {
    /// For a search of the `k` nearest.
    fn aid(&self, k: usize) -> Aid {
        match (self.graph, self.blocks) {
            (Some(_), _) => {
                Aid::Graph { coded: self.codes.is_some(), sketched: self.sketches.is_some() }
            }
            (None, Some(BlockRows::Bits(_))) => Aid::Bits,
            (None, Some(BlockRows::Product(blocks))) => {
                Aid::Product { compared: blocks.codec.compared(k) }
            }
            (None, None) => Aid::Nothing,
        }
    }

    /// Bytes from one vector to the next.
    fn stride(&self) -> u64 {
        (self.rows.vectors.len() / self.len.max(1)) as u64
    }
}

/// A scan by codes that compares more than one in so many rows is in vain.
const VAIN_SHARE: u64 = 8;

/// A query, and how far hits of it may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) query: &'a Query,
    /// Farther rows are left out; infinity for no limit.
    pub(crate) max_distance: f32,
}

impl<'a> Ask<'a> {
    /// The same of rounded rows.
    pub(super) fn rounded(&self, isa: Isa, rounding: &Rounding) -> Self {
        Self { query: self.query.rounded(isa, rounding), ..*self }
    }
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
    let mut out = Cow::Borrowed(dead);
    if let Some(row) = options.without {
        out.to_mut().insert(row);
    }
    let out = &*out;
    let k = options.k.min(target.len.saturating_sub(out.len()));
    // Where codes lead, a walk for many hits has as many candidates as are compared exactly; one for
    // few keeps those that it meets.
    let many = target.codes.filter(|_| k > LEAST_COMPARED || !dead.is_empty());
    let compared = many.map_or(0, |codes| codes.codec.compared(k));
    let breadth = Breadth { ef: options.breadth.ef.max(compared), ..options.breadth };
    let wanted = SearchOptions { breadth, ..*options };
    let (isa, without) = (options.isa, options.without);
    let found = vec![Vec::new(); asks.len()];
    let mut search =
        Search { target, asks, isa, dead, without, out, live, k, before: &before, stats, found };
    let (mut scanned, mut sifted) = (Vec::new(), Vec::new());
    for (at, ask) in asks.iter().enumerate() {
        let planned = plan::plan(target.len, live, target.aid(k), &wanted, ask.max_distance);
        search.stats.walk_cost += planned.walk_cost;
        search.stats.scan_cost += planned.scan_cost;
        match planned.plan {
            Plan::Nothing => {}
            Plan::Scan => scanned.push(at),
            Plan::ScanSome => search.scan_some(at, options.codes && !options.exact),
            Plan::ScanCodes => sifted.push(at),
            Plan::Walk(effort) => {
                search.stats.begin(breadth);
                if !search.walk(at, effort) {
                    match plan::scan(target.len, live, target.codes.is_some()) {
                        Plan::ScanSome => search.scan_some(at, options.codes),
                        _ => scanned.push(at),
                    }
                }
            }
        }
    }
    match target.blocks {
        Some(BlockRows::Bits(bits)) if !sifted.is_empty() => {
            scanned.extend(search.sift(bits, &sifted));
        }
        Some(BlockRows::Product(blocks)) => {
            sifted.iter().for_each(|at| search.scan_products(blocks, *at));
        }
        _ => {}
    }
    if !scanned.is_empty() {
        search.scan(&scanned);
    }
    search.found
}

/// The searches of some queries.
struct Search<'a, 'g, G> {
    target: &'a Target<'g, G>,
    asks: &'a [Ask<'a>],
    isa: Isa,
    dead: &'a RowSet,
    without: Option<Row>,
    /// The dead rows, and that one.
    out: &'a RowSet,
    live: usize,
    /// At most `live`.
    k: usize,
    before: &'a dyn Fn(Row, Row) -> bool,
    stats: &'a mut SearchStats,
    found: Vec<Vec<Candidate>>,
}

impl<'a, G: Guard> Search<'a, '_, G> {
    fn top(&self, at: usize) -> TopK<'a> {
        TopK::new(self.k, self.asks[at].max_distance, self.target.len, self.before)
    }

    /// Walks the graph; false when dead rows were in the way of it.
    fn walk(&mut self, at: usize, effort: Effort) -> bool {
        let Self { target, isa, dead, k, without, .. } = *self;
        let Some(graph) = target.graph else { return false };
        let Ask { query, max_distance } = self.asks[at];
        let effort = Effort { without, ..effort };
        let indexed = Indexed { rows: target.rows, codes: target.codes, graph };
        // Where the walk has room for all dead rows, they push no live one out: a limit may end it early,
        // and fewer than k hits are what it asks for. Otherwise too few hits mean that dead rows were in the
        // way.
        let few_dead = dead.len() <= effort.keep.hidden;
        let limited = max_distance < f32::INFINITY && few_dead;
        let limit = if limited { max_distance } else { f32::INFINITY };
        let mut top = TopK::new(k, limit, target.len, self.before);
        let counts = nearest(isa, query, indexed, effort, dead, &mut top);
        self.stats.walked(target, graph.list_bytes(), &counts);
        if counts.walk.gave_up || !limited && top.len() < k {
            return false;
        }
        let mut found = top.into_sorted();
        found.retain(|candidate| candidate.distance <= max_distance);
        // Hits are told by their ids, which lie far apart.
        found.iter().for_each(|candidate| target.ids.prefetch(candidate.row));
        self.found[at] = found;
        true
    }

    /// Compares the live rows alone, by codes where there are any and they `may` lead.
    fn scan_some(&mut self, at: usize, may: bool) {
        let Self { target, isa, out, .. } = *self;
        let codes = target.codes.filter(|_| may);
        let source = Source { rows: target.rows, codes, sketches: target.sketches };
        let mut top = self.top(at);
        let counts = sparse::scan(isa, self.asks[at].query, source, target.len, out, &mut top);
        let stride = codes.map_or(0, |codes| codes.codec.stride() as u64);
        self.stats.sparse_scans += 1;
        self.stats.codes_compared += counts.by_codes.max(counts.sketched);
        self.stats.rows_compared += counts.compared;
        self.stats.bytes_touched += counts.sketched * SKETCH_BYTES as u64
            + counts.by_codes * stride
            + counts.compared * target.stride();
        self.found[at] = top.into_sorted();
    }

    /// Compares all codes for some queries; those for which that did not decide.
    fn sift(&mut self, bits: BitRows<'_, G>, sifted: &[usize]) -> Vec<usize> {
        let Self { target, isa, asks, .. } = *self;
        let coded: Vec<_> =
            sifted.iter().map(|at| bits.codec.query(isa, asks[*at].query)).collect();
        let mut tops: Vec<_> = sifted.iter().map(|at| self.top(*at)).collect();
        let mut open = Vec::new();
        let mut asked = Vec::with_capacity(sifted.len());
        for ((at, coded), top) in sifted.iter().zip(&coded).zip(&mut tops) {
            match coded {
                Some(coded) => asked.push((*at, Asked::new(asks[*at].query, coded, top))),
                None => open.push(*at),
            }
        }
        let (places, mut asked): (Vec<usize>, Vec<_>) = asked.into_iter().unzip();
        let sifted = BitTarget { bits, rows: target.rows, len: target.len };
        bit_scan::scan(isa, &mut asked, &sifted, self.out);
        let done: Vec<_> = asked.iter().map(|asked| asked.scanned).collect();
        drop(asked);
        let stats = &mut *self.stats;
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
                self.found[at] = top.into_sorted();
            } else {
                open.push(at);
            }
        }
        open
    }

    /// Compares the rows that come first by their product codes.
    fn scan_products(&mut self, blocks: ProductBlocks<'_, G>, at: usize) {
        let Self { target, isa, out, .. } = *self;
        let mut top = self.top(at);
        let rows = ProductTarget { blocks, rows: target.rows, len: target.len };
        let compared = product_scan::scan(isa, self.asks[at].query, &rows, out, &mut top);
        self.stats.scans += 1;
        self.stats.codes_compared += target.len as u64;
        self.stats.rows_compared += compared;
        self.stats.bytes_touched += blocks.blocks.len() as u64 + compared * target.stride();
        self.found[at] = top.into_sorted();
    }

    /// Compares all rows for some queries.
    fn scan(&mut self, scanned: &[usize]) {
        let Self { target, isa, out, .. } = *self;
        let mut tops: Vec<_> = scanned.iter().map(|at| self.top(*at)).collect();
        let queries: Vec<_> = scanned.iter().map(|at| self.asks[*at].query).collect();
        flat::scan_all(isa, &queries, target.rows, target.len, out, &mut tops);
        let count = scanned.len() as u64;
        self.stats.scans += count;
        self.stats.rows_scanned += count * self.live as u64;
        self.stats.bytes_touched += count * target.len as u64 * target.stride();
        for (at, top) in scanned.iter().zip(tops) {
            self.found[*at] = top.into_sorted();
        }
    }
}
