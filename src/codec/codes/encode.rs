//! Rows to codes. The same bits on every tier: plain arithmetic in an order of its own.

use std::ops::Range;

use super::factors::{CARRIERS, Factor, MOST_RATIO};
use super::{CodeKind, Codec};
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
    fn run<K: Kernel>(self, kernel: K) {
        let Self { codec, rows, range, out } = self;
        let mut floats = vec![0.0; codec.space.dimension];
        let mut x = vec![0.0; codec.length];
        let mut levels = vec![0_u8; codec.length];
        for (row, out) in range.zip(out.chunks_exact_mut(codec.stride())) {
            full::read_row(codec.space, rows, row, &mut floats);
            codec.transform(kernel, &floats, &mut x);
            // A zero vector is at cosine distance 1 of all, which is 2 here, not 1.
            let zero = codec.space.metric == Metric::Cosine && floats.iter().all(|x| *x == 0.0);
            let more = if zero { 1.0 } else { 0.0 };
            match codec.kind {
                CodeKind::Byte => encode_bytes(&x, more, &mut levels, out),
                CodeKind::Half => encode_halves(&x, more, &mut levels, out),
            }
        }
    }
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

/// The nearest level, of those from 0 to the odd `most`, whose lowest bit is that of `bits` at
/// `place`.
#[inline(always)]
fn with_bit(exact: f32, most: f32, bits: u32, place: usize) -> f32 {
    let bit = if bits >> place & 1 == 1 { 1.0 } else { 0.0 };
    let level = ((exact - bit) * 0.5).round_ties_even() * 2.0 + bit;
    level.clamp(bit, most - 1.0 + bit)
}

/// The factor, or a larger one with which `square` can be kept: that of a row which is nothing
/// beside its square.
#[inline(always)]
fn wide_enough(factor: Factor, square: f32) -> Factor {
    let least = (square / MOST_RATIO).sqrt();
    if factor.value() < least { Factor::above(least) } else { factor }
}

/// `more` is added to the square.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "levels are whole numbers from 1 to 255, sums of squares below 2^31"
)]
fn encode_bytes(x: &[f32], more: f32, levels: &mut [u8], out: &mut [u8]) {
    let factor = wide_enough(Factor::above(largest(x) / 127.0), more);
    let value = factor.value();
    let inverse = if value > 0.0 { 1.0 / value } else { 0.0 };
    for (level, x) in levels.iter_mut().zip(x) {
        let rounded = (x * inverse).round_ties_even().clamp(-127.0, 127.0);
        *level = (rounded as i32 + 128) as u8;
    }
    let mut squares = 0_i32;
    for level in levels.iter() {
        let level = i32::from(*level) - 128;
        squares += level * level;
    }
    let bits = factor.with_square((value * squares as f32) * value + more);
    out.fill(128);
    out[..levels.len()].copy_from_slice(levels);
    let first = out.len() - CARRIERS;
    for (place, code) in out[first..].iter_mut().enumerate() {
        let exact = x.get(first + place).map_or(128.0, |x| x * inverse + 128.0);
        *code = with_bit(exact, 255.0, bits, place) as u8;
    }
}

/// Scales tried for a row, from the one that holds its largest element downwards.
const SCALES: [f32; 8] = [1.0, 0.9, 0.82, 0.75, 0.68, 0.62, 0.56, 0.5];

/// How far from the nearest factor others are tried.
const STEPS: i32 = 4;

/// `more` is added to the square.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "levels are whole numbers from 0 to 15"
)]
fn encode_halves(x: &[f32], more: f32, levels: &mut [u8], out: &mut [u8]) {
    let square = sum_of(x.len(), |i| x[i] * x[i]);
    let inverse = best_scale(x);
    for (out, x) in levels.iter_mut().zip(x) {
        *out = level(*x, inverse) as i32 as u8;
    }
    // The elements in the low halves of the last bytes.
    let first = (out.len() - CODE_BYTES) * 2 + CODE_BYTES - CARRIERS;
    let behind = &x[first.min(x.len())..x.len().min(first + CARRIERS)];
    let dot = sum_of(x.len(), |i| x[i] * (f32::from(levels[i]) - 7.5));
    let carried =
        |levels: &[f32; CARRIERS]| sum_of(behind.len(), |i| behind[i] * (levels[i] - 7.5));
    let mut own = [0.0; CARRIERS];
    for (own, level) in own.iter_mut().zip(levels.iter().skip(first)) {
        *own = f32::from(*level);
    }
    let rest = dot - carried(&own);
    let nearest = Factor::nearest(if dot > 0.0 { square / dot } else { 0.0 });
    // Levels that carry bits change the product, and with it the factor that makes it right: of a
    // few, the one whose own bits do that best.
    let mut best = (f32::INFINITY, 0, own);
    for step in -STEPS..=STEPS {
        let factor = wide_enough(nearest.step(step), square + more);
        let bits = factor.with_square(square + more);
        for (place, own) in own.iter_mut().enumerate() {
            let exact = behind.get(place).map_or(0.0, |x| x * inverse + 7.5);
            *own = with_bit(exact, 15.0, bits, place);
        }
        let error = (factor.value() * (rest + carried(&own)) - square).abs();
        if error < best.0 || step == -STEPS {
            best = (error, bits, own);
        }
    }
    let (_, bits, own) = best;
    for (level, own) in levels.iter_mut().skip(first).zip(&own) {
        *level = *own as i32 as u8;
    }
    pack_halves(levels, out);
    let carriers = out.len() - CARRIERS;
    for (place, code) in out[carriers..].iter_mut().enumerate() {
        *code = *code & !1 | (bits >> place & 1) as u8;
    }
}

/// The nearest level of an element, not yet a whole number's type.
#[inline(always)]
fn level(x: f32, inverse: f32) -> f32 {
    (x * inverse + 7.5).round_ties_even().clamp(0.0, 15.0)
}

/// One over the scale of those tried with the smallest angle between a row and its levels.
#[inline(always)]
fn best_scale(x: &[f32]) -> f32 {
    let widest = largest(x) / 7.5;
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
    best.1
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
