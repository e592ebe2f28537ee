//! Rows to codes. The same bits on every tier: plain arithmetic in an order of its own.

use std::ops::Range;

use half::bf16;

use super::kmeans::nearest;
use super::{BYTE, HALF, ProductCodec, dots, project};
use crate::bytes::Guard;
use crate::codec::full::{self, Rows};
use crate::kernel::fast_scan::BLOCK_ROWS;
use crate::kernel::{self, Kernel};

/// Codes rows one after the other, a byte a subspace, inside a kernel root.
pub(super) struct Encode<'a, 'r, G> {
    pub(super) codec: &'a ProductCodec,
    pub(super) rows: Rows<'r, G>,
    pub(super) range: Range<usize>,
    pub(super) out: &'a mut [u8],
}

impl<G: Guard> kernel::Op for Encode<'_, '_, G> {
    type Output = ();

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "a centroid's number is below 256")]
    fn run<K: Kernel>(self, _kernel: K) {
        let Self { codec, rows, range, out } = self;
        let mut coder = Coder::new(codec);
        for (row, out) in range.zip(out.chunks_exact_mut(codec.stride())) {
            let (numbers, factors) = out.split_at_mut(codec.subspace_count());
            let put = |subspace: usize, number| numbers[subspace] = number as u8;
            let of_row = coder.code::<BYTE, G>(rows, row, put);
            for (out, factor) in factors.as_chunks_mut().0.iter_mut().zip(of_row) {
                *out = factor.to_le_bytes();
            }
        }
    }
}

/// Codes rows by blocks, half a byte a subspace, inside a kernel root.
pub(super) struct EncodeBlocks<'a, 'r, G> {
    pub(super) codec: &'a ProductCodec,
    pub(super) rows: Rows<'r, G>,
    pub(super) count: usize,
    pub(super) blocks: Range<usize>,
    pub(super) out: &'a mut [u8],
}

impl<G: Guard> kernel::Op for EncodeBlocks<'_, '_, G> {
    type Output = ();

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "a centroid's number is below 16")]
    fn run<K: Kernel>(self, _kernel: K) {
        const HALF_ROWS: usize = BLOCK_ROWS / 2;
        let Self { codec, rows, count, blocks, out } = self;
        let mut coder = Coder::new(codec);
        out.fill(0);
        for (block, out) in blocks.zip(out.chunks_exact_mut(codec.block_bytes())) {
            let first = block * BLOCK_ROWS;
            let (numbers, factors) = out.split_at_mut(codec.lookup_bytes());
            for row in first..count.min(first + BLOCK_ROWS) {
                let at = row - first;
                let (place, shift) = (at % HALF_ROWS, at / HALF_ROWS * 4);
                let put = |subspace, number| {
                    numbers[HALF_ROWS * subspace + place] |= (number as u8) << shift;
                };
                let of_row = coder.code::<HALF, G>(rows, row, put);
                let columns = factors.as_chunks_mut().0.chunks_exact_mut(BLOCK_ROWS);
                for (out, factor) in columns.zip(of_row) {
                    out[at] = factor.to_le_bytes();
                }
            }
        }
    }
}

/// Finds the numbers of rows.
struct Coder<'a> {
    codec: &'a ProductCodec,
    floats: Vec<f32>,
    x: Vec<f32>,
    /// What the centroids found so far add up to along each axis.
    found: Vec<f32>,
    point: Vec<f32>,
}

impl<'a> Coder<'a> {
    fn new(codec: &'a ProductCodec) -> Self {
        let (floats, x) = (vec![0.0; codec.space.dimension], vec![0.0; codec.axis_count()]);
        Self { codec, floats, found: x.clone(), x, point: Vec::new() }
    }

    /// Tells `put` the number of the nearest of `C` centroids in each subspace; the row's factor and
    /// square.
    #[inline(always)]
    fn code<const C: usize, G: Guard>(
        &mut self,
        rows: Rows<'_, G>,
        row: usize,
        mut put: impl FnMut(usize, usize),
    ) -> [bf16; 2] {
        let Self { codec, floats, x, found, point } = self;
        full::read_row(codec.space, rows, row, floats);
        floats.iter_mut().zip(&codec.mean).for_each(|(x, mean)| *x -= mean);
        project(floats, &codec.axes, x);
        found.fill(0.0);
        for (subspace, members) in codec.subspaces().enumerate() {
            let centroids = &codec.centroids[members.start * C..members.end * C];
            let axes = &codec.members[members];
            point.clear();
            point.extend(axes.iter().map(|axis| x[*axis] - found[*axis]));
            let (number, _) = nearest::<C>(point, centroids);
            put(subspace, number);
            for (axis, along) in axes.iter().zip(centroids.as_chunks::<C>().0) {
                found[*axis] += along[number];
            }
        }
        let [found] = dots(found, [found]);
        let [square] = dots(floats, [floats]);
        let factor = (square / found).sqrt();
        let factor = if factor.is_finite() { factor } else { 0.0 };
        [bf16::from_f32(factor), bf16::from_f32(square)]
    }
}
