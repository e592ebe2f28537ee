//! Sketches: the signs of a row, a cache line each, which tell of most rows that they are too far
//! before their codes are read.
//!
//! Of the elements of a long code of halves, as they are rotated, the first n = [`SIGNS`] stand for all:
//! those of a row, x, are kept as their signs s, ±1, with
//!
//! ```text
//! norm = ‖x‖²      factor = norm / ‖x‖₁      ⟨x, q⟩ ≈ factor · ⟨s, q⟩
//! error of that ≤ EPSILON · spread · ‖q‖     spread = √((n · factor² − norm) / (n − 1))
//! ```
//! as of the codes of one bit. The rotation is random, so that the squared distance of all N elements is
//! N / n times that of these, off by a share of √(2 / n − 2 / N).
//!
//! ```text
//! row  the signs, 56 bytes, the first in the lowest bit, set where the level is 8 at least; norm and
//!      factor, two f32
//! ```
//! Sources: RaBitQ as of the codes of one bit; Gao and Long, "High-dimensional approximate nearest
//! neighbor search: with reliable and efficient distance comparison operations" (ADSampling, 2023)
//! for what a part of a rotated row tells.

use super::factors::{CARRIERS, unpack};
use super::{CodeKind, Codec, LevelQuery};
use crate::bytes::{Guard, Guarded};
use crate::codec::BATCH;
use crate::kernel::{CODE_BYTES, Kernel};
use crate::types::{Metric, Row};

/// Bytes of a sketch: a cache line.
pub(crate) const SKETCH_BYTES: usize = 64;
/// Elements that are kept of a row; sketched ones have more.
const SIGNS: usize = 448;
/// Where the two numbers stand.
const NORM_AT: usize = SIGNS / 8;
const FACTOR_AT: usize = NORM_AT + 4;
/// Standard deviations of the error that is allowed for.
const EPSILON: f32 = 1.9;
/// Shorter codes are scored as fast as their sketches are.
const LEAST_CODE_BYTES: usize = 5 * CODE_BYTES;

impl Codec {
    /// Whether rows have sketches: where codes are long, and a part of the elements bounds the
    /// distance, which it does not for inner products.
    pub(crate) fn is_sketched(&self) -> bool {
        self.kind == CodeKind::Half
            && self.code_bytes >= LEAST_CODE_BYTES
            && self.space.metric != Metric::Dot
    }

    /// The sketches of code rows into `out`, [`SKETCH_BYTES`] each.
    pub(crate) fn sketch(&self, codes: &[u8], out: &mut [u8]) {
        let rows = codes.chunks_exact(self.code_bytes).zip(out.chunks_exact_mut(SKETCH_BYTES));
        rows.for_each(|(code, out)| self.sketch_row(code, out));
    }

    #[expect(clippy::cast_precision_loss, reason = "sums below 2^24")]
    fn sketch_row(&self, code: &[u8], out: &mut [u8]) {
        // Of twice what a level is above the middle, an odd number: of all elements, and of those kept.
        let (mut whole, mut square, mut sum) = (0_u32, 0_u32, 0_u32);
        for (index, block) in code.chunks_exact(CODE_BYTES).enumerate() {
            for (half, shift) in [0, 4].into_iter().enumerate() {
                let first = (2 * index + half) * CODE_BYTES;
                let count = self.length.saturating_sub(first).min(CODE_BYTES);
                let odd = block[..count].iter().map(|byte| {
                    let level = u32::from(byte >> shift & 15);
                    (2 * level).abs_diff(15)
                });
                let squares: u32 = odd.clone().map(|odd| odd * odd).sum();
                whole += squares;
                if first < SIGNS {
                    square += squares;
                    sum += odd.sum::<u32>();
                    for (byte, levels) in out[first / 8..].iter_mut().zip(block.chunks_exact(8)) {
                        let sign = |(at, level): (usize, &u8)| (level >> (shift + 3) & 1) << at;
                        *byte = levels.iter().enumerate().map(sign).sum();
                    }
                }
            }
        }
        let carried = code.last_chunk::<CARRIERS>().map_or(0, |last| {
            (0..).zip(last).fold(0, |bits, (at, byte)| bits | u32::from(byte & 1) << at)
        });
        let [factor, length] = unpack(carried);
        let step = 0.5 * factor;
        let own = (step * whole as f32) * step;
        // A code is somewhat longer than its row.
        let share = if own > length { length / own } else { 1.0 };
        let norm = share * ((step * square as f32) * step);
        let factor = if norm > 0.0 { norm / (step * sum as f32) } else { 0.0 };
        // Of a row that does not fit, nothing is told.
        let told = own.is_finite() && factor.is_finite();
        let (norm, factor) = if told { (norm, factor) } else { (0.0, f32::NAN) };
        out[NORM_AT..FACTOR_AT].copy_from_slice(&norm.to_le_bytes());
        out[FACTOR_AT..].copy_from_slice(&factor.to_le_bytes());
    }

    /// A query made ready for sketches.
    #[expect(clippy::cast_precision_loss, reason = "rounds sums of squares")]
    pub(crate) fn sketch_query<'a>(&self, query: &'a LevelQuery) -> SketchQuery<'a> {
        let bytes = &query.bytes.as_slice()[..SIGNS];
        let (mut sum, mut square) = (0, 0);
        for byte in bytes {
            let byte = i32::from(byte.cast_signed());
            (sum, square) = (sum + byte, square + byte * byte);
        }
        let (n, all) = (SIGNS as f32, self.length as f32);
        let square = (query.scale * square as f32) * query.scale;
        SketchQuery {
            bytes,
            sum,
            square,
            scale: 2.0 * query.scale,
            error: 2.0 * EPSILON * square.sqrt(),
            stretch: all / n / (1.0 + EPSILON * (2.0 / n - 2.0 / all).sqrt()),
        }
    }
}

/// A query over sketches:
///
/// `least = stretch · (square + norm − scale · ⟨s, q⟩ · factor − error · spread)`
#[derive(Clone, Copy, Debug)]
pub(crate) struct SketchQuery<'a> {
    /// A signed byte an element.
    bytes: &'a [u8],
    sum: i32,
    square: f32,
    scale: f32,
    error: f32,
    stretch: f32,
}

/// Sketches and what is asked of them.
#[derive(Debug)]
pub(crate) struct Sketches<'a, G> {
    pub(crate) rows: Guarded<'a, G>,
    pub(crate) query: SketchQuery<'a>,
}

impl<G> Clone for Sketches<'_, G> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<G> Copy for Sketches<'_, G> {}

impl<G: Guard> Sketches<'_, G> {
    /// What distances by code are hardly below; NaN of rows of which nothing is told.
    #[inline(always)]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "sums below 2^24; takes the low half"
    )]
    pub(super) fn least<K: Kernel>(&self, kernel: K, rows: [Row; BATCH]) -> [f32; BATCH] {
        let query = &self.query;
        let mut signs: [&[u8]; BATCH] = [&[]; BATCH];
        let (mut norms, mut factors) = ([0.0; BATCH], [0.0; BATCH]);
        for r in 0..BATCH {
            let row = self.rows.get(rows[r] as usize * SKETCH_BYTES, SKETCH_BYTES);
            let numbers = row.last_chunk().map_or(0, |numbers| u64::from_le_bytes(*numbers));
            norms[r] = f32::from_bits(numbers as u32);
            factors[r] = f32::from_bits((numbers >> 32) as u32);
            signs[r] = &row[..NORM_AT];
        }
        let sums = kernel.sum_where(query.bytes, signs);
        // All rows side by side.
        let mut out = [0.0; BATCH];
        for r in 0..BATCH {
            let (norm, factor) = (norms[r], factors[r]);
            let product = (query.scale * (2 * sums[r] - query.sum) as f32) * factor;
            let spread = (SIGNS as f32 * factor * factor - norm) * (1.0 / (SIGNS - 1) as f32);
            let distance = query.square + norm - product;
            out[r] = query.stretch * (distance - query.error * spread.max(0.0).sqrt());
        }
        out
    }

    /// Asks for the sketch of `row` ahead of time.
    #[inline(always)]
    pub(super) fn prefetch<K: Kernel>(&self, kernel: K, row: Row) {
        kernel.prefetch(self.rows.hint(row as usize * SKETCH_BYTES, SKETCH_BYTES));
    }
}
