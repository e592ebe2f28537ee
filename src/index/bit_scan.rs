//! A scan by one-bit codes: every row is estimated, and the few that may be near are compared exactly.
//!
//! The pass over the blocks keeps the rows with the least estimates. They are compared in that order;
//! once the k best so far are known, only rows whose bound is not above the k-th of them. Where that
//! leaves it open whether rows that were not kept are nearer, the codes are of no use for the query,
//! and the scan says so: the caller scans exactly then.

use std::cell::RefCell;

use crate::bytes::Guard;
use crate::codec::bits::{BitQuery, BitRows};
use crate::codec::full::{Query, Rows, score_rows};
use crate::filter::rowset::RowSet;
use crate::index::topk::TopK;
use crate::kernel::fast_scan::BLOCK_ROWS;
use crate::kernel::{self, Isa, Kernel};
use crate::types::Row;

/// Rows kept by their estimates at least, and for each of the k that are wanted.
const LEAST_KEPT: usize = 512;
const KEPT_PER_HIT: usize = 16;
/// Rows there is room for before those with the largest estimates go, for each that is kept.
const ROOM: usize = 3;
/// Rows compared between two looks at the bound, at least.
const BATCH: usize = 32;

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
    /// Rows estimated, and rows compared exactly.
    pub(crate) estimated: u64,
    pub(crate) compared: u64,
    /// Whether what was not compared is farther, as far as its codes tell.
    pub(crate) decided: bool,
}

/// How many rows a scan for the `k` nearest keeps by their estimates.
pub(crate) fn kept(k: usize) -> usize {
    k.saturating_mul(KEPT_PER_HIT).max(LEAST_KEPT)
}

/// Offers `top` the rows that may be among its k nearest and are not in `dead`. Unless this is
/// decided, `top` may lack some that are.
pub(crate) fn scan<G: Guard>(
    isa: Isa,
    query: &Query,
    coded: &BitQuery,
    target: &BitTarget<'_, G>,
    dead: &RowSet,
    top: &mut TopK<'_>,
) -> Scanned {
    let mut scanned = Scanned { decided: true, ..Scanned::default() };
    if top.k() == 0 {
        return scanned;
    }
    let mut work = WORK.with(RefCell::take);
    work.near.clear();
    let sift = Sift {
        bits: target.bits,
        len: target.len,
        coded,
        dead,
        bound: top.bound(),
        kept: kept(top.k()),
        near: &mut work.near,
    };
    scanned.estimated = target.len as u64;
    let dropped = kernel::run(isa, sift);
    scanned.compared = compare(isa, query, target.rows, &mut work, top);
    // All that were dropped are farther by their estimates, if perhaps not by their bounds.
    scanned.decided = dropped > top.bound() || dropped == f32::INFINITY;
    WORK.with(|kept| *kept.borrow_mut() = work);
    scanned
}

/// Memory that searches of one thread use in turn.
#[derive(Debug, Default)]
struct Work {
    near: Vec<Near>,
    wanted: Vec<Row>,
    distances: Vec<f32>,
}

thread_local! {
    static WORK: RefCell<Work> = RefCell::default();
}

/// A row that may be near.
#[derive(Clone, Copy, Debug)]
struct Near {
    distance: f32,
    least: f32,
    row: Row,
}

/// Keeps the rows with the least estimates; the least of those that were dropped.
struct Sift<'a, 'n, G> {
    bits: BitRows<'a, G>,
    len: usize,
    coded: &'a BitQuery,
    dead: &'a RowSet,
    bound: f32,
    kept: usize,
    near: &'n mut Vec<Near>,
}

impl<G: Guard> kernel::Op for Sift<'_, '_, G> {
    type Output = f32;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> f32 {
        let Self { bits, len, coded, dead, bound, kept, near } = self;
        let blocks = bits.len().min(len.div_ceil(BLOCK_ROWS));
        let mut most = f32::INFINITY;
        for block in 0..blocks {
            let [estimates] = bits.estimates(kernel, [coded], block);
            let first = block * BLOCK_ROWS;
            let mut mask = kernel.at_most(&estimates.distance, most);
            if mask == 0 {
                continue;
            }
            mask &= kernel.at_most(&estimates.least, bound);
            if len - first < BLOCK_ROWS {
                mask &= !(u32::MAX << (len - first));
            }
            while mask != 0 {
                let at = mask.trailing_zeros() as usize;
                mask &= mask - 1;
                #[expect(clippy::cast_possible_truncation, reason = "parts have below 2^32 rows")]
                let row = (first + at) as Row;
                if !dead.contains(row) {
                    let (distance, least) = (estimates.distance[at], estimates.least[at]);
                    near.push(Near { distance, least, row });
                }
            }
            if near.len() >= ROOM * kept {
                most = most.min(cut(near, kept));
            }
        }
        if near.len() > kept { most.min(cut(near, kept)) } else { most }
    }
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
    let Work { near, wanted, distances } = work;
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
        batch = BATCH;
    }
    compared
}
