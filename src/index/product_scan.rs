//! A scan by product codes: every row is estimated, and the nearest by these are compared exactly.

use std::cell::RefCell;

use crate::bytes::Guard;
use crate::codec::full::{Query, Rows, score_rows};
use crate::codec::product::{BlockQuery, ProductBlocks};
use crate::filter::rowset::RowSet;
use crate::index::bit_scan::BLOCK_ROWS;
use crate::index::hnsw::KEPT_ENTRIES;
use crate::index::nearest::LEAST_COMPARED;
use crate::index::topk::TopK;
use crate::kernel::{self, Isa, Kernel};
use crate::types::Row;

/// Of all rows, the share that may be compared exactly before comparing all is better.
const COMPARED_SHARE: usize = 8;
/// Rows there is room for before the farthest go, for each that is kept.
const ROOM: usize = 3;

/// Rows in both forms.
#[derive(Debug)]
pub(crate) struct ProductTarget<'a, G> {
    pub(crate) blocks: ProductBlocks<'a, G>,
    pub(crate) rows: Rows<'a, G>,
    /// How many rows there are.
    pub(crate) len: usize,
}

/// Whether a scan after which so many of `len` rows are compared is less work than comparing all.
pub(crate) fn pays(compared: usize, len: usize) -> bool {
    compared.max(LEAST_COMPARED) <= len / COMPARED_SHARE
}

/// Offers `top` those of the rows not in `dead` that are nearest by their codes; how many.
pub(crate) fn scan<G: Guard>(
    isa: Isa,
    query: &Query,
    target: &ProductTarget<'_, G>,
    dead: &RowSet,
    top: &mut TopK<'_>,
) -> u64 {
    let ProductTarget { blocks, rows, len } = *target;
    if top.k() == 0 {
        return 0;
    }
    let kept = blocks.codec.compared(top.k()).max(LEAST_COMPARED);
    let coded = blocks.codec.block_query(isa, query);
    let mut buffers = BUFFERS.take();
    let Buffers { near, wanted, distances } = &mut buffers;
    near.clear();
    kernel::run(isa, Sift { blocks, query: &coded, len, dead, kept, near });
    cut(near, kept);
    wanted.clear();
    wanted.extend(near.iter().map(|(_, row)| *row));
    distances.clear();
    distances.resize(wanted.len(), 0.0);
    score_rows(isa, query, rows, wanted, distances);
    for (row, distance) in wanted.iter().zip(distances.iter()) {
        top.offer(*distance, *row);
    }
    let compared = wanted.len() as u64;
    if near.capacity() <= KEPT_ENTRIES {
        BUFFERS.set(buffers);
    }
    compared
}

/// Estimates of the first `count` rows.
pub(crate) fn estimates<G: Guard>(
    isa: Isa,
    query: &Query,
    blocks: ProductBlocks<'_, G>,
    count: usize,
) -> Vec<f32> {
    let query = &blocks.codec.block_query(isa, query);
    let mut estimates = kernel::run(isa, Estimates { blocks, query });
    estimates.truncate(count);
    estimates
}

struct Estimates<'a, 'g, G> {
    blocks: ProductBlocks<'g, G>,
    query: &'a BlockQuery,
}

impl<G: Guard> kernel::Op for Estimates<'_, '_, G> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> Vec<f32> {
        let Self { blocks, query } = self;
        (0..blocks.len()).flat_map(|block| blocks.distances(kernel, query, block)).collect()
    }
}

/// Memory of a scan, kept for the thread's next.
#[derive(Default)]
struct Buffers {
    near: Vec<(f32, Row)>,
    wanted: Vec<Row>,
    distances: Vec<f32>,
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

/// The pass over the blocks.
struct Sift<'a, 'g, G> {
    blocks: ProductBlocks<'g, G>,
    query: &'a BlockQuery,
    len: usize,
    dead: &'a RowSet,
    kept: usize,
    near: &'a mut Vec<(f32, Row)>,
}

impl<G: Guard> kernel::Op for Sift<'_, '_, G> {
    type Output = ();

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "rows of a segment are numbered by u32")]
    fn run<K: Kernel>(self, kernel: K) {
        let Self { blocks, query, len, dead, kept, near } = self;
        let room = kept.saturating_mul(ROOM);
        let mut bound = f32::INFINITY;
        for block in 0..blocks.len().min(len.div_ceil(BLOCK_ROWS)) {
            let estimates = blocks.distances(kernel, query, block);
            let mut mask = kernel.at_most(&estimates, bound);
            while mask > 0 {
                let place = mask.trailing_zeros() as usize;
                mask &= mask - 1;
                let row = block * BLOCK_ROWS + place;
                if row < len && !dead.contains(row as Row) {
                    near.push((estimates[place], row as Row));
                }
            }
            if near.len() > room {
                bound = cut(near, kept);
            }
        }
    }
}

/// Keeps the nearest `kept`, of equals those with the lowest numbers; the last of them.
fn cut(near: &mut Vec<(f32, Row)>, kept: usize) -> f32 {
    if near.len() <= kept {
        return f32::INFINITY;
    }
    let (_, last, _) =
        near.select_nth_unstable_by(kept - 1, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let bound = last.0;
    near.truncate(kept);
    bound
}
