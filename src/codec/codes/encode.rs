//! Rows to codes. The same bits on every tier: plain arithmetic in an order of its own.

use std::ops::Range;

use zerocopy::IntoBytes;

use super::{CodeKind, Codec, FACTORS};
use crate::bytes::Guard;
use crate::codec::full::{self, Rows};
use crate::codec::sum_of;
use crate::kernel::{self, CODE_BYTES, Kernel};
use crate::types::Metric;

/// Codes rows, inside a kernel root.
pub(super) struct Encode<'a, 'r, G> {
    pub(super) codec: &'a Codec,
    pub(super) rows: Rows<'r, G>,
    pub(super) range: Range<usize>,
    pub(super) out: &'a mut [u8],
}

impl<G: Guard> kernel::Op for Encode<'_, '_, G> {
    type Output = ();

    #[inline(always)]
    fn run<K: Kernel>(self, _: K) {
        let Self { codec, rows, range, out } = self;
        let mut floats = vec![0.0; codec.space.dimension];
        let mut x = vec![0.0; codec.length];
        let mut levels = vec![0_u8; codec.length];
        for (row, out) in range.zip(out.chunks_exact_mut(codec.stride())) {
            full::read_row(codec.space, rows, row, &mut floats);
            codec.transform(&floats, &mut x);
            let mut factors = match codec.kind {
                CodeKind::Byte => encode_bytes(&x, &mut levels),
                CodeKind::Half => encode_halves(&x, &mut levels),
            };
            if codec.space.metric == Metric::Cosine && floats.iter().all(|x| *x == 0.0) {
                // A zero vector is at cosine distance 1 of all, which is 2 here, not 1.
                factors.square += 1.0;
                factors.norm += 1.0;
            }
            let (codes, rest) = out.split_at_mut(codec.code_bytes);
            match codec.kind {
                CodeKind::Byte => {
                    codes[..levels.len()].copy_from_slice(&levels);
                    codes[levels.len()..].fill(128);
                }
                CodeKind::Half => pack_halves(&levels, codes),
            }
            let Factors { factor, square, norm, sum } = factors;
            rest[..FACTORS].copy_from_slice([factor, square, norm, sum].as_bytes());
            rest[FACTORS..].fill(0);
        }
    }
}

struct Factors {
    factor: f32,
    square: f32,
    norm: f32,
    sum: f32,
}

/// Largest magnitude, over lanes of its own so that it vectorises.
#[inline(always)]
pub(super) fn largest(x: &[f32]) -> f32 {
    let mut most = [0.0_f32; 16];
    let (blocks, rest) = x.as_chunks::<16>();
    for block in blocks {
        for lane in 0..16 {
            most[lane] = most[lane].max(block[lane].abs());
        }
    }
    let rest = rest.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    most.iter().fold(rest, |most, x| most.max(*x))
}

#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "levels are whole numbers from 1 to 255, sums of squares below 2^31"
)]
fn encode_bytes(x: &[f32], levels: &mut [u8]) -> Factors {
    let factor = largest(x) / 127.0;
    // Of what is so short that this overflows, nothing is kept.
    let inverse = if factor > 0.0 { (1.0 / factor).min(f32::MAX) } else { 0.0 };
    for (level, x) in levels.iter_mut().zip(x) {
        let rounded = (x * inverse).round_ties_even().clamp(-127.0, 127.0);
        *level = (rounded as i32 + 128) as u8;
    }
    let (mut squares, mut sum) = (0_i32, 0_i32);
    for level in levels.iter() {
        let level = i32::from(*level) - 128;
        squares += level * level;
        sum += level;
    }
    // In the order in which two codes are compared.
    let norm = (factor * squares as f32) * factor;
    Factors { factor, square: norm, norm, sum: sum as f32 }
}

/// Scales tried for a row, from the one that holds its largest element downwards.
const SCALES: [f32; 8] = [1.0, 0.9, 0.82, 0.75, 0.68, 0.62, 0.56, 0.5];

#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "levels are whole numbers from 0 to 15"
)]
fn encode_halves(x: &[f32], levels: &mut [u8]) -> Factors {
    let square = sum_of(x.len(), |i| x[i] * x[i]);
    let widest = largest(x) / 7.5;
    let level = |x: f32, inverse: f32| (x * inverse + 7.5).round_ties_even().clamp(0.0, 15.0);
    let mut best = (f32::NEG_INFINITY, 0.0);
    for scale in SCALES {
        let inverse = 1.0 / (widest * scale).max(f32::MIN_POSITIVE);
        let dot = sum_of(x.len(), |i| x[i] * (level(x[i], inverse) - 7.5));
        let own = sum_of(x.len(), |i| {
            let level = level(x[i], inverse) - 7.5;
            level * level
        });
        let cosine = dot * dot / own;
        if cosine > best.0 {
            best = (cosine, inverse);
        }
    }
    let inverse = best.1;
    for (out, x) in levels.iter_mut().zip(x) {
        *out = level(*x, inverse) as i32 as u8;
    }
    let dot = sum_of(x.len(), |i| x[i] * (f32::from(levels[i]) - 7.5));
    let factor = if dot > 0.0 { square / dot } else { 0.0 };
    let (mut squares, mut sum) = (0_i32, 0_i32);
    for level in levels.iter() {
        squares += i32::from(*level) * i32::from(*level);
        sum += i32::from(*level);
    }
    let own = half_product(squares, sum as f32, sum as f32, half_constant(x.len()));
    let norm = (factor * own) * factor;
    Factors { factor, square, norm, sum: sum as f32 }
}

/// Σ (a − 7.5)(b − 7.5) from Σ a b, Σ a and Σ b; exact, since all are multiples of a quarter below
/// 2²².
#[inline(always)]
#[expect(clippy::cast_precision_loss, reason = "below 2^24")]
pub(super) fn half_product(product: i32, sum_a: f32, sum_b: f32, constant: f32) -> f32 {
    product as f32 - 7.5 * (sum_a + sum_b) + constant
}

#[expect(clippy::cast_precision_loss, reason = "at most 65,536 elements")]
pub(super) fn half_constant(length: usize) -> f32 {
    56.25 * length as f32
}

/// Two levels a byte: of each 128, the first 64 in the low halves.
#[inline(always)]
fn pack_halves(levels: &[u8], codes: &mut [u8]) {
    codes.fill(0);
    for (block, codes) in levels.chunks(2 * CODE_BYTES).zip(codes.chunks_exact_mut(CODE_BYTES)) {
        let (low, high) = block.split_at(block.len().min(CODE_BYTES));
        for (code, level) in codes.iter_mut().zip(low) {
            *code = *level;
        }
        for (code, level) in codes.iter_mut().zip(high) {
            *code |= *level << 4;
        }
    }
}
