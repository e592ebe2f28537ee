//! Pairs of code rows, with what comparing two of them needs beside their bytes.

use super::block::CodeBlock;
use super::factors::{CARRIERS, unpack};
use super::scorer::{BYTE_PAIRS, Compare, CompareBlocks, HALF_PAIRS, LevelRows};
use super::{CodeKind, Codec};
use crate::bytes::Guard;
use crate::codec::centre::Centre;
use crate::codec::{BlockSource, BlocksOp, PairSource, PairsOp};
use crate::kernel::{self, CODE_BYTES, Isa, Kernel};

/// Pairs of code rows.
#[derive(Debug)]
pub(crate) struct CodedPairs<'a, G> {
    pub(super) rows: LevelRows<'a, G>,
    /// Of the full rows.
    pub(super) centre: &'a Centre,
    /// Of each row, so that copies are at distance 0.
    pub(super) own: Vec<Own>,
    /// Bits of the last bytes in which no element stands.
    pub(super) filling: u32,
}

/// What is counted over a code row.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Own {
    /// Its squared length.
    pub(super) norm: f32,
    /// Bytes: Σ (u − 128) with the filling, halves: Σ u without it.
    pub(super) sum: f32,
}

impl<'a, G: Guard> CodedPairs<'a, G> {
    /// Reads all rows once. `centre` is that of the full rows.
    pub(crate) fn new(isa: Isa, rows: LevelRows<'a, G>, centre: &'a Centre) -> Self {
        let filling = filling(rows.codec);
        let own = kernel::run(isa, Count { rows, filling });
        Self { rows, centre, own, filling }
    }
}

impl<G: Guard> PairSource for CodedPairs<'_, G> {
    fn run<O: PairsOp>(&self, isa: Isa, op: O) -> O::Output {
        match self.rows.codec.kind {
            CodeKind::Byte => kernel::run(isa, Compare::<G, O, BYTE_PAIRS> { source: self, op }),
            CodeKind::Half => kernel::run(isa, Compare::<G, O, HALF_PAIRS> { source: self, op }),
        }
    }
}

impl<G: Guard> BlockSource for CodedPairs<'_, G> {
    type Block = CodeBlock;

    fn run_blocks<O: BlocksOp<CodeBlock>>(&self, isa: Isa, op: O) -> O::Output {
        match self.rows.codec.kind {
            CodeKind::Byte => {
                kernel::run(isa, CompareBlocks::<G, O, BYTE_PAIRS> { source: self, op })
            }
            CodeKind::Half => {
                kernel::run(isa, CompareBlocks::<G, O, HALF_PAIRS> { source: self, op })
            }
        }
    }
}

/// Which of the last bytes carry a bit and no element.
fn filling(codec: &Codec) -> u32 {
    let last = codec.code_bytes - CODE_BYTES;
    // Of halves, those whose low half is no element.
    let first = match codec.kind {
        CodeKind::Byte => last,
        CodeKind::Half => 2 * last,
    } + CODE_BYTES
        - CARRIERS;
    let elements = codec.length.saturating_sub(first).min(CARRIERS);
    u32::try_from((1_u64 << CARRIERS) - (1 << elements)).unwrap_or(0)
}

struct Count<'a, G> {
    rows: LevelRows<'a, G>,
    filling: u32,
}

impl<G: Guard> kernel::Op for Count<'_, G> {
    type Output = Vec<Own>;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> Vec<Own> {
        let LevelRows { codec, codes } = self.rows;
        let stride = codec.stride();
        let own = |row| {
            let bytes = codes.get(row * stride, stride);
            let bits = bytes.last_chunk().map_or(0, |last| kernel.low_bits(last));
            let filled = (bits & self.filling).count_ones().cast_signed();
            let [factor, _] = unpack(bits);
            match codec.kind {
                CodeKind::Byte => count_bytes(bytes, factor, filled),
                CodeKind::Half => count_halves(bytes, codec.length, factor, filled),
            }
        };
        (0..codes.len() / stride).map(own).collect()
    }
}

/// Filling is 0 or 1, and so its own square.
#[inline(always)]
#[expect(clippy::cast_precision_loss, reason = "sums below 2^24, or rounded squares")]
fn count_bytes(bytes: &[u8], factor: f32, filled: i32) -> Own {
    let (mut squares, mut sum) = (-filled, 0_i32);
    for level in bytes {
        let level = i32::from(*level) - 128;
        squares += level * level;
        sum += level;
    }
    // In the order in which two codes are compared.
    Own { norm: (factor * squares as f32) * factor, sum: sum as f32 }
}

#[inline(always)]
#[expect(clippy::cast_precision_loss, reason = "below 2^24")]
fn count_halves(bytes: &[u8], length: usize, factor: f32, filled: i32) -> Own {
    let (mut squares, mut sum) = (-filled, -filled);
    for levels in bytes {
        let (low, high) = (i32::from(levels & 15), i32::from(levels >> 4));
        squares += low * low + high * high;
        sum += low + high;
    }
    let sum = sum as f32;
    let own = half_product(squares, sum, sum, half_constant(length));
    Own { norm: (factor * own) * factor, sum }
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
