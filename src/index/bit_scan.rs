//! A scan by one-bit codes: every row is estimated, and the few that may be near are compared exactly.
//!
//! The pass over the blocks keeps the rows with the least estimates. They are compared in that order;
//! once the k best so far are known, only rows whose bound is not above the k-th of them. Where that
//! leaves it open whether rows that were not kept are nearer, the codes are of no use for the query,
//! and the scan says so: the caller scans exactly then.

use std::cell::RefCell;
use std::ops::Range;

use crate::bytes::Guard;
use crate::codec::bits::{BitQuery, BitRows};
use crate::codec::full::{Query, Rows, score_rows};
use crate::filter::rowset::RowSet;
use crate::index::hnsw::KEPT_ENTRIES;
use crate::index::topk::TopK;
pub(crate) use crate::kernel::fast_scan::BLOCK_ROWS;
use crate::kernel::{self, Isa, Kernel};
use crate::types::Row;

/// Rows kept by their estimates at least, and for each of the k that are wanted.
const LEAST_KEPT: usize = 512;
const KEPT_PER_HIT: usize = 16;
/// Of all rows, the share that may be compared exactly before comparing all is better.
const COMPARED_SHARE: usize = 8;
/// Rows from which a scan with a limit is worth its preparation.
const LEAST_LIMITED: usize = 256;
/// Rows there is room for before those with the largest estimates go, for each that is kept.
const ROOM: usize = 3;
/// Blocks after which the rows are compared that are nearest so far.
const FIRST_BLOCKS: usize = 64;
/// Bytes of blocks that several queries read one after the other.
const PIECE_BYTES: usize = 32 << 10;
/// Queries whose memory a thread keeps.
const KEPT_WORKS: usize = 16;
/// Rows compared between two looks at the bound, at least, and the share of those that are left.
const BATCH: usize = 32;
const BATCH_SHARE: usize = 4;

/// A query and the rows it is compared with, in both forms.
#[derive(Debug)]
pub(crate) struct BitTarget<'a, G> {
    pub(crate) bits: BitRows<'a, G>,
    pub(crate) rows: Rows<'a, G>,
    /// How many rows there are.
    pub(crate) len: usize,
}

/// What a scan has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scanned {
    /// Estimates made, and rows compared exactly.
    pub(crate) estimated: u64,
    pub(crate) compared: u64,
    /// Whether what was not compared is farther, as far as its codes tell.
    pub(crate) decided: bool,
}

/// Whether a scan for the `k` nearest of `len` rows is less work than comparing all; a limit leaves
/// few rows to compare however many are asked for.
pub(crate) fn pays(k: usize, len: usize, limited: bool) -> bool {
    if limited { len >= LEAST_LIMITED } else { kept(k) <= len / COMPARED_SHARE }
}

fn kept(k: usize) -> usize {
    k.saturating_mul(KEPT_PER_HIT).max(LEAST_KEPT)
}

/// One of the queries that are scanned for together.
#[derive(Debug)]
pub(crate) struct Asked<'a, 't> {
    pub(crate) query: &'a Query,
    pub(crate) coded: &'a BitQuery,
    pub(crate) top: &'a mut TopK<'t>,
    /// What was done for it.
    pub(crate) scanned: Scanned,
}

impl<'a, 't> Asked<'a, 't> {
    /// A query in both forms, and where its hits go.
    pub(crate) fn new(query: &'a Query, coded: &'a BitQuery, top: &'a mut TopK<'t>) -> Self {
        Self { query, coded, top, scanned: Scanned { decided: true, ..Scanned::default() } }
    }
}

/// Offers the top of each query the rows that may be among its k nearest and are not in `dead`.
/// Unless this is decided, it may lack some that are.
///
/// Several queries read the blocks once, a piece that stays in the nearest caches after the other.
pub(crate) fn scan<G: Guard>(
    isa: Isa,
    asked: &mut [Asked<'_, '_>],
    target: &BitTarget<'_, G>,
    dead: &RowSet,
) {
    let mut works = WORKS.take();
    if works.len() < asked.len() {
        works.resize_with(asked.len(), Work::default);
    }
    let pass = Pass { isa, target, dead };
    pass.first(asked, &mut works);
    for (asked, work) in asked.iter_mut().zip(&mut works) {
        pass.finish(asked, work);
    }
    works.truncate(KEPT_WORKS);
    works.retain(|work| work.capacity() <= KEPT_ENTRIES);
    WORKS.set(works);
}

/// The passes over the blocks.
struct Pass<'a, 'g, G> {
    isa: Isa,
    target: &'a BitTarget<'g, G>,
    dead: &'a RowSet,
}

impl<G: Guard> Pass<'_, '_, G> {
    /// The pass that all queries make together.
    fn first(&self, asked: &mut [Asked<'_, '_>], works: &mut [Work]) {
        let Self { isa, target: &BitTarget { bits, len, .. }, dead } = *self;
        let blocks = blocks_of(bits, len);
        let piece = match asked.len() {
            1 => blocks,
            _ => (PIECE_BYTES / bits.codec.block_bytes()).max(1),
        };
        for (asked, work) in asked.iter().zip(works.iter_mut()) {
            work.near.clear();
            (work.dropped, work.bound) = (f32::INFINITY, asked.top.bound());
        }
        let mut first = 0;
        while first < blocks {
            // The rows of a first, short piece tell how near hits are at most.
            let piece = if first == 0 { FIRST_BLOCKS } else { piece };
            let next = blocks.min(first + piece);
            for (asked, work) in asked.iter_mut().zip(works.iter_mut()) {
                let (k, coded, beyond) = (asked.top.k(), asked.coded, f32::NEG_INFINITY);
                if k == 0 {
                    continue;
                }
                let (bound, kept) = (work.bound, kept(k));
                let blocks_now = first..next;
                let sift =
                    Sift { bits, len, blocks: blocks_now, coded, dead, beyond, bound, kept, work };
                kernel::run(isa, sift);
                if first == 0 && next < blocks {
                    let rows = self.target.rows;
                    asked.scanned.compared += work.bound_by_nearest(isa, asked.query, rows, k);
                }
            }
            first = next;
        }
    }

    /// Compares what the pass left of a query, after another pass where that decides.
    fn finish(&self, asked: &mut Asked<'_, '_>, work: &mut Work) {
        let Asked { query, coded, top, scanned } = asked;
        let Self { isa, target: &BitTarget { bits, rows, len }, dead } = *self;
        if top.k() == 0 {
            return;
        }
        let kept = kept(top.k());
        work.settle(kept);
        scanned.estimated += len as u64;
        let dropped = work.dropped;
        let edge = work.near.iter().filter(|near| near.distance >= dropped).map(|near| near.row);
        work.edge.clear();
        work.edge.extend(edge);
        let error =
            work.near.iter().fold(0.0_f32, |most, near| most.max(near.distance - near.least));
        scanned.compared += compare(isa, query, rows, work, top);
        if dropped == f32::INFINITY {
            return;
        }
        // Rows dropped at that estimate or a larger one, by what errors there were among the others.
        let open = dropped - error <= top.bound();
        scanned.decided = dropped > top.bound();
        if open && scanned.decided {
            // Of rows with that very estimate some were kept and have had their turn.
            work.edge.sort_unstable();
            let kept = (len / COMPARED_SHARE).max(kept);
            work.near.clear();
            work.dropped = f32::INFINITY;
            let blocks = 0..blocks_of(bits, len);
            let (beyond, bound) = (dropped, top.bound());
            kernel::run(isa, Sift { bits, len, blocks, coded, dead, beyond, bound, kept, work });
            work.settle(kept);
            scanned.estimated += len as u64;
            let Work { near, edge, .. } = work;
            near.retain(|near| edge.binary_search(&near.row).is_err());
            scanned.decided = work.dropped == f32::INFINITY;
            if scanned.decided {
                scanned.compared += compare(isa, query, rows, work, top);
            }
        }
    }
}

/// How many blocks hold the rows.
fn blocks_of<G: Guard>(bits: BitRows<'_, G>, len: usize) -> usize {
    bits.len().min(len.div_ceil(BLOCK_ROWS))
}

/// Memory of one query's scan, used again and again by a thread.
#[derive(Debug, Default)]
struct Work {
    near: Vec<Near>,
    /// The least estimate of a row that was dropped.
    dropped: f32,
    /// Rows whose bound is above this are no hits.
    bound: f32,
    /// Those of the kept rows with the largest estimate.
    edge: Vec<Row>,
    wanted: Vec<Row>,
    distances: Vec<f32>,
}

impl Work {
    /// Lowers the bound to the largest distance of the `k` rows with the least estimates so far: so
    /// far the k nearest are at most. How many rows were compared for it.
    fn bound_by_nearest<G: Guard>(
        &mut self,
        isa: Isa,
        query: &Query,
        rows: Rows<'_, G>,
        k: usize,
    ) -> u64 {
        let Self { near, bound, wanted, distances, .. } = self;
        if near.len() < 2 * k {
            return 0;
        }
        near.select_nth_unstable_by(k, |a, b| a.distance.total_cmp(&b.distance));
        wanted.clear();
        wanted.extend(near[..k].iter().map(|near| near.row));
        distances.clear();
        distances.resize(k, 0.0);
        score_rows(isa, query, rows, wanted, distances);
        *bound = distances.iter().fold(f32::NEG_INFINITY, |most, one| most.max(*one)).min(*bound);
        let bound = *bound;
        // Those that set the bound are within it, whatever their codes said.
        for (near, distance) in near[..k].iter_mut().zip(distances.iter()) {
            near.least = near.least.min(*distance);
        }
        near.retain(|near| near.least <= bound);
        k as u64
    }

    /// The most entries that there is room for somewhere.
    fn capacity(&self) -> usize {
        let Self { near, edge, wanted, distances, .. } = self;
        near.capacity().max(edge.capacity()).max(wanted.capacity()).max(distances.capacity())
    }

    /// Drops what is more than `kept`.
    fn settle(&mut self, kept: usize) {
        if self.near.len() > kept {
            self.dropped = self.dropped.min(cut(&mut self.near, kept));
        }
    }
}

thread_local! {
    static WORKS: RefCell<Vec<Work>> = RefCell::default();
}

/// A row that may be near.
#[derive(Clone, Copy, Debug)]
struct Near {
    distance: f32,
    least: f32,
    row: Row,
}

/// Keeps, of a few blocks more, the `kept` rows with the least estimates of those with an estimate
/// not below one and a bound not above another, up to as many as there is room for.
struct Sift<'a, 'n, G> {
    bits: BitRows<'a, G>,
    len: usize,
    blocks: Range<usize>,
    coded: &'a BitQuery,
    dead: &'a RowSet,
    beyond: f32,
    bound: f32,
    kept: usize,
    work: &'n mut Work,
}

impl<G: Guard> kernel::Op for Sift<'_, '_, G> {
    type Output = ();

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) {
        let Self { bits, len, blocks, coded, dead, beyond, bound, kept, work } = self;
        let near = &mut work.near;
        let mut most = work.dropped;
        for block in blocks {
            let first = block * BLOCK_ROWS;
            let alive = alive(dead, block);
            if alive == 0 {
                continue;
            }
            let estimates = bits.estimates(kernel, coded, block);
            let mut mask = kernel.at_most(&estimates, most) & alive;
            if mask == 0 {
                continue;
            }
            let least = bits.least(coded, block, &estimates);
            mask &= kernel.at_most(&least, bound);
            if len - first < BLOCK_ROWS {
                mask &= !(u32::MAX << (len - first));
            }
            while mask != 0 {
                let at = mask.trailing_zeros() as usize;
                mask &= mask - 1;
                #[expect(clippy::cast_possible_truncation, reason = "parts have below 2^32 rows")]
                let row = (first + at) as Row;
                let (distance, least) = (estimates[at], least[at]);
                if distance >= beyond {
                    near.push(Near { distance, least, row });
                }
            }
            if near.len() >= ROOM * kept {
                most = most.min(cut(near, kept));
            }
        }
        work.dropped = most;
    }
}

/// The rows of a block that are not in `dead`.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "takes half a word")]
fn alive(dead: &RowSet, block: usize) -> u32 {
    let at = block * BLOCK_ROWS;
    !((dead.word(at / 64) >> (at % 64)) as u32)
}

/// Drops all but the `kept` rows with the least estimates; the largest that stays.
#[inline(never)]
fn cut(near: &mut Vec<Near>, kept: usize) -> f32 {
    let (_, last, _) =
        near.select_nth_unstable_by(kept - 1, |a, b| a.distance.total_cmp(&b.distance));
    let largest = last.distance;
    near.truncate(kept);
    largest
}

/// Compares the rows exactly that may still be among the nearest, those with the least estimates
/// first; how many.
fn compare<G: Guard>(
    isa: Isa,
    query: &Query,
    rows: Rows<'_, G>,
    work: &mut Work,
    top: &mut TopK<'_>,
) -> u64 {
    let Work { near, wanted, distances, .. } = work;
    let mut batch = BATCH.max(2 * top.k());
    let mut compared = 0;
    let mut near = &mut near[..];
    while !near.is_empty() {
        let many = batch.min(near.len());
        if many < near.len() {
            near.select_nth_unstable_by(many, |a, b| a.distance.total_cmp(&b.distance));
        }
        let bound = top.bound();
        let (now, later) = near.split_at_mut(many);
        wanted.clear();
        wanted.extend(now.iter().filter(|near| near.least <= bound).map(|near| near.row));
        distances.clear();
        distances.resize(wanted.len(), 0.0);
        score_rows(isa, query, rows, wanted, distances);
        for (row, distance) in wanted.iter().zip(distances.iter()) {
            top.offer(*distance, *row);
        }
        compared += wanted.len() as u64;
        // Those that are out of question are not ordered any more.
        let bound = top.bound();
        let mut open = 0;
        for at in 0..later.len() {
            if later[at].least <= bound {
                later.swap(open, at);
                open += 1;
            }
        }
        near = &mut later[..open];
        batch = BATCH.max(open / BATCH_SHARE);
    }
    compared
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::{AlignedBytes, Guarded};
    use crate::codec::bits::BitCodec;
    use crate::codec::full::{Space, Stage, encode_rows};
    use crate::index::flat;
    use crate::kernel::noise::noise;
    use crate::types::{Metric, VectorType};

    struct Coded {
        space: Space,
        len: usize,
        vectors: AlignedBytes,
        norms: Vec<u8>,
        codec: BitCodec,
        codes: AlignedBytes,
    }

    impl Coded {
        fn new(space: Space, values: &[f32]) -> Self {
            let len = values.len() / space.dimension;
            let (vectors, norms) = encode_rows(space, &values.into(), len).expect("finite");
            let norms: Vec<u8> = norms.iter().flat_map(|norm| norm.to_le_bytes()).collect();
            let rows = Rows {
                vectors: Guarded::trusted(vectors.as_slice()),
                inverse_norms: Guarded::trusted(&norms),
            };
            let codec = BitCodec::train(space, rows, len);
            let mut codes = AlignedBytes::zeroed(codec.bytes(len));
            let blocks = 0..len.div_ceil(BLOCK_ROWS);
            codec.encode(Isa::detect(), rows, len, blocks, codes.as_mut_slice());
            Self { space, len, vectors, norms, codec, codes }
        }

        /// Rows by codes and by comparing all; whether the codes decide.
        fn both(
            &self,
            isa: Isa,
            query: &[f32],
            k: usize,
            limit: f32,
            dead: &RowSet,
        ) -> (Vec<Row>, Vec<Row>, Scanned) {
            let rows = Rows {
                vectors: Guarded::trusted(self.vectors.as_slice()),
                inverse_norms: Guarded::trusted(&self.norms),
            };
            let query = Query::new(self.space, query);
            let bits =
                BitRows { codec: &self.codec, blocks: Guarded::trusted(self.codes.as_slice()) };
            let target = BitTarget { bits, rows, len: self.len };
            let before = |a: Row, b: Row| a > b;
            let mut top = TopK::new(k, limit, self.len, &before);
            let coded = self.codec.query(isa, &query).expect("of their size");
            let mut asked = [Asked::new(&query, &coded, &mut top)];
            scan(isa, &mut asked, &target, dead);
            let [Asked { scanned, .. }] = asked;
            let found = top.into_sorted().iter().map(|found| found.row).collect();
            let mut top = TopK::new(k, limit, self.len, &before);
            flat::scan(isa, &query, rows, 0..Row::MAX, dead, &mut top);
            (found, top.into_sorted().iter().map(|found| found.row).collect(), scanned)
        }
    }

    /// Rows around a few hundred centres.
    fn clusters(space: Space, len: usize) -> Vec<f32> {
        let (mut next, d) = (noise(3), space.dimension);
        let centres: Vec<f32> = (0..300 * d).map(|_| next()).collect();
        let row = |row: usize| centres[row % 300 * d..][..d].to_vec();
        (0..len)
            .flat_map(|at| row(at).into_iter().map(|x| x + 0.3 * next()).collect::<Vec<_>>())
            .collect()
    }

    #[test]
    fn what_comparing_all_finds_is_found_by_every_metric_without_dead_rows_and_within_a_limit() {
        let mut dead = RowSet::default();
        (0..9_000).step_by(7).for_each(|row| _ = dead.insert(row));
        for metric in [Metric::L2, Metric::Cosine, Metric::Dot] {
            let space =
                Space { dimension: 99, vector_type: VectorType::F32, metric, stage: Stage::Given };
            let values = clusters(space, 9_001);
            let coded = Coded::new(space, &values);
            let (mut found, mut wanted) = (0, 0);
            for query in values[..40 * 99].chunks(99) {
                for isa in Isa::available() {
                    let (mut rows, exact, scanned) =
                        coded.both(isa, query, 10, f32::INFINITY, &dead);
                    assert!(scanned.decided && scanned.compared < 3_000, "{metric} {scanned:?}");
                    wanted += exact.len();
                    rows.retain(|row| exact.contains(row));
                    found += rows.len();
                    assert!(rows.iter().all(|row| !dead.contains(*row)));
                }
                let limit = if metric == Metric::Cosine { 0.05 } else { 9.0 };
                let (rows, exact, _) = coded.both(Isa::detect(), query, 900, limit, &dead);
                wanted += exact.len();
                found += exact.iter().filter(|row| rows.contains(row)).count();
                assert!(rows.len() <= exact.len());
            }
            assert!(found * 1000 >= wanted * 985, "{metric}: {found} of {wanted}");
        }
    }

    #[test]
    fn every_tier_compares_the_same_rows() {
        let space = Space {
            dimension: 130,
            vector_type: VectorType::F16,
            metric: Metric::L2,
            stage: Stage::Given,
        };
        let values = clusters(space, 3_000);
        let coded = Coded::new(space, &values);
        let of = |isa| coded.both(isa, &values[..130], 10, f32::INFINITY, &RowSet::default());
        let (rows, _, scanned) = of(Isa::detect());
        for isa in Isa::available() {
            let other = of(isa);
            assert_eq!((&other.0, other.2), (&rows, scanned), "{}", isa.name());
        }
    }

    #[test]
    fn queries_together_find_what_each_finds_alone() {
        let space = Space {
            dimension: 96,
            vector_type: VectorType::F32,
            metric: Metric::L2,
            stage: Stage::Given,
        };
        let values = clusters(space, 9_000);
        let coded = Coded::new(space, &values);
        let rows = Rows {
            vectors: Guarded::trusted(coded.vectors.as_slice()),
            inverse_norms: Guarded::trusted(&coded.norms),
        };
        let bits =
            BitRows { codec: &coded.codec, blocks: Guarded::trusted(coded.codes.as_slice()) };
        let target = BitTarget { bits, rows, len: coded.len };
        let (isa, none, before) = (Isa::detect(), RowSet::default(), |a: Row, b: Row| a < b);
        let queries: Vec<_> =
            values.chunks(96).take(33).map(|query| Query::new(space, query)).collect();
        let ready: Vec<_> = queries.iter().map(|query| coded.codec.query(isa, query)).collect();
        let ready: Vec<_> = ready.iter().flatten().collect();
        // Different numbers of hits, one of them none, and limits.
        let top = |at: usize| {
            let limit = if at.is_multiple_of(3) { 9.0 } else { f32::INFINITY };
            TopK::new(at, limit, coded.len, &before)
        };
        let mut tops: Vec<_> = (0..33).map(top).collect();
        let all = queries.iter().zip(&ready).zip(&mut tops);
        let mut asked: Vec<_> =
            all.map(|((query, coded), top)| Asked::new(query, coded, top)).collect();
        scan(isa, &mut asked, &target, &none);
        let scanned: Vec<_> = asked.iter().map(|asked| asked.scanned).collect();
        for (at, (together, scanned)) in tops.into_iter().zip(scanned).enumerate() {
            let mut alone = top(at);
            let mut asked = [Asked::new(&queries[at], ready[at], &mut alone)];
            scan(isa, &mut asked, &target, &none);
            assert_eq!(asked[0].scanned, scanned);
            assert_eq!(alone.into_sorted(), together.into_sorted());
        }
    }

    #[test]
    fn the_one_nearest_row_is_kept_though_its_code_makes_it_farther() {
        let space = Space {
            dimension: 96,
            vector_type: VectorType::F32,
            metric: Metric::L2,
            stage: Stage::Given,
        };
        let values = clusters(space, 6_000);
        let coded = Coded::new(space, &values);
        let mut next = noise(11);
        let mut found = 0;
        for row in 0..400 {
            // Some way off a row, but nearer to it than to the others of its cluster.
            let query: Vec<f32> =
                values[row * 96..][..96].iter().map(|x| x + 0.2 * next()).collect();
            let none = RowSet::default();
            let (rows, exact, _) = coded.both(Isa::detect(), &query, 1, f32::INFINITY, &none);
            assert_eq!(rows.len(), 1);
            found += usize::from(rows == exact);
        }
        assert!(found >= 394, "{found} of 400");
    }

    #[test]
    fn codes_that_cannot_tell_say_so() {
        let space = Space {
            dimension: 64,
            vector_type: VectorType::F32,
            metric: Metric::L2,
            stage: Stage::Given,
        };
        let same = Coded::new(space, &[0.5; 64 * 2_000]);
        let (_, _, scanned) =
            same.both(Isa::detect(), &[0.25; 64], 10, f32::INFINITY, &RowSet::default());
        assert!(!scanned.decided, "all rows are as near as the nearest");
        let mut next = noise(9);
        let far: Vec<f32> = (0..64 * 4_000).map(|_| next()).collect();
        let far = Coded::new(space, &far);
        let query: Vec<f32> = (0..64).map(|_| 1e4 * next()).collect();
        let (rows, exact, scanned) =
            far.both(Isa::detect(), &query, 10, f32::INFINITY, &RowSet::default());
        assert!(!scanned.decided || rows == exact, "{scanned:?}");
    }
}
