//! Rows to blocks. The same bits on every tier: plain arithmetic in an order of its own.

use std::ops::Range;

use super::{BitCodec, FACTOR_BYTES};
use crate::bytes::Guard;
use crate::codec::full::{self, Rows};
use crate::codec::sum_of;
use crate::kernel::fast_scan::{BLOCK_ROWS, CHUNK_ELEMENTS};
use crate::kernel::{self, CODE_BYTES, Kernel};
use crate::types::Metric;

/// Bytes of a group of four elements of sixteen rows and sixteen more.
const GROUP_BYTES: usize = 16;

/// Codes blocks, inside a kernel root.
pub(super) struct Encode<'a, 'r, G> {
    pub(super) codec: &'a BitCodec,
    pub(super) rows: Rows<'r, G>,
    pub(super) count: usize,
    pub(super) blocks: Range<usize>,
    pub(super) out: &'a mut [u8],
}

impl<G: Guard> kernel::Op for Encode<'_, '_, G> {
    type Output = f32;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> f32 {
        let Self { codec, rows, count, blocks, out } = self;
        let mut x = vec![0.0; codec.length];
        let mut longest = 0.0_f32;
        for (block, out) in blocks.zip(out.chunks_exact_mut(codec.block_bytes())) {
            out.fill(0);
            let (codes, factors) = out.split_at_mut(codec.code_bytes());
            let first = block * BLOCK_ROWS;
            for row in 0..BLOCK_ROWS.min(count.saturating_sub(first)) {
                let (square, of_row) = encode(kernel, codec, rows, first + row, &mut x);
                // Not a number where it overflows on the way, which is told as the infinity that it is.
                longest = longest.max(square.min(f32::INFINITY));
                pack(kernel, &x, row, codes);
                for (factor, all) in of_row.iter().zip(factors.chunks_exact_mut(FACTOR_BYTES)) {
                    all[4 * row..4 * row + 4].copy_from_slice(&factor.to_le_bytes());
                }
            }
        }
        longest
    }
}

/// The row rotated, relative to the mean, in `x`; its squared length, and add, factor and spread.
#[inline(always)]
#[expect(clippy::cast_precision_loss, reason = "dimensions are far below 2^24")]
fn encode<K: Kernel, G: Guard>(
    kernel: K,
    codec: &BitCodec,
    rows: Rows<'_, G>,
    row: usize,
    x: &mut [f32],
) -> (f32, [f32; 3]) {
    let (floats, rest) = x.split_at_mut(codec.space.dimension);
    full::read_row(codec.space, rows, row, floats);
    rest.fill(0.0);
    let zero =
        codec.space.metric == Metric::Cosine && sum_of(floats.len(), |i| floats[i].abs()) == 0.0;
    for (x, mean) in floats.iter_mut().zip(&codec.mean) {
        *x -= mean;
    }
    let along = match codec.space.metric {
        Metric::Dot => sum_of(codec.mean.len(), |i| floats[i] * codec.mean[i]),
        _ => 0.0,
    };
    codec.rotate(kernel, x);
    let square = sum_of(x.len(), |i| x[i] * x[i]);
    let sum = sum_of(x.len(), |i| x[i].abs());
    let length = x.len() as f32;
    let (factor, spread) = if square > 0.0 {
        let factor = square / sum;
        let excess = (length * (factor / sum) - 1.0).max(0.0);
        (factor, (square * excess / (length - 1.0)).sqrt())
    } else {
        (0.0, 0.0)
    };
    let add = match codec.space.metric {
        Metric::Dot => along,
        // A zero vector is at cosine distance 1 of all, which is 2 here, not 1.
        _ if zero => square + 1.0,
        _ => square,
    };
    (square, [add, factor, spread])
}

/// The signs of `x` into the place of `row`.
#[inline(always)]
fn pack<K: Kernel>(kernel: K, x: &[f32], row: usize, codes: &mut [u8]) {
    const SIGNS: usize = BLOCK_ROWS;
    let shift = if row < BLOCK_ROWS / 2 { 0 } else { 4 };
    let at = row % (BLOCK_ROWS / 2);
    for (x, chunks) in x.chunks(SIGNS).zip(codes.chunks_mut(CODE_BYTES * SIGNS / CHUNK_ELEMENTS)) {
        // Behind the last element, what no query looks up.
        let mut negative = [0.0; SIGNS];
        for (negative, x) in negative.iter_mut().zip(x) {
            *negative = -x;
        }
        let mut bits = kernel.at_most(&negative, 0.0);
        for group in chunks.chunks_exact_mut(GROUP_BYTES) {
            let four = (bits & 15) as u8;
            group[at] |= four << shift;
            bits >>= 4;
        }
    }
}
