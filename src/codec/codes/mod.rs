//! Codes: rows in a quarter or an eighth of their bytes, to walk a graph by. The few rows that a
//! walk finds are compared exactly afterwards.
//!
//! A row is taken relative to the mean of all, and each of its elements rounded to a level:
//!
//! ```text
//! x ≈ mean + factor · (u − offset)       bytes:  u in 0..=255, offset 128
//!                                        halves: u in 0..=15, offset 7.5, after a rotation
//! code row i at i × stride: the u, to a multiple of 64 bytes; in the lowest bits of the last 32,
//! factor and square
//! ```
//! Bytes: factor is the largest element / 127. Halves: the scale with the smallest angle between x
//! and its code of a few tried, and a factor that makes ⟨x, code⟩ right: ‖x‖² / ⟨x, u − offset⟩,
//! without which products with a query would come out short (Gao and Long, "RaBitQ", 2024). For
//! cosine, rows are first brought to length 1; for inner products nothing is subtracted.
//!
//! A query is rounded to signed bytes once, and compared in integers: `⟨x, q⟩ = factor · scale ·
//! (Σ u q − offset Σ q)`. Squared distances follow from `square`, ‖x‖² relative to the mean, those
//! of two codes from `norm`, the squared length of the code itself, so that copies are at distance
//! 0. Distances are squared ones also for cosine, where they are twice those of the metric.
//!
//! Sources: Aguerrebere et al., "Similarity search in the blink of an eye with compressed indices"
//! (LVQ, 2023) for levels of each vector's own; RaBitQ as above.

use std::ops::Range;

use zerocopy::IntoBytes;

use self::encode::{Encode, largest};
use crate::bytes::{AlignedBytes, Guard};
use crate::codec::full::{self, Rows, Space};
use crate::codec::rotation::Rotation;
use crate::codec::{STEPS, sum_of};
use crate::kernel::{self, CODE_BYTES, Isa, Kernel};
use crate::types::Metric;

mod block;
mod encode;
mod factors;
mod pairs;
mod scorer;
mod sketch;
#[cfg(test)]
mod tests;

pub(crate) use self::pairs::CodedPairs;
pub(crate) use self::scorer::{LevelRows, LevelSource};
pub(crate) use self::sketch::{SKETCH_BYTES, Sketches};

/// How much is kept of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CodeKind {
    /// Eight bits.
    Byte,
    /// Four bits.
    Half,
}

impl CodeKind {
    /// Bytes from one code row to the next: whole cache lines.
    pub(crate) fn stride(self, space: Space) -> usize {
        match self {
            Self::Byte => space.dimension.next_multiple_of(CODE_BYTES),
            Self::Half => space.dimension.next_multiple_of(2 * CODE_BYTES) / 2,
        }
    }
}

/// Draws the rotation of halves.
const SEED: u64 = 0x726f_7461_7465;
/// How many rows may be compared exactly for every 16 that are wanted.
pub(super) const COMPARED: [u8; STEPS] = [26, 38, 52, 80];
const MAGIC: [u8; 8] = *b"NFCODE\0\0";
const VERSION: u32 = 2;
const HEADER_BYTES: usize = 64;

/// Makes codes and reads them.
#[derive(Clone, Debug)]
pub(crate) struct Codec {
    kind: CodeKind,
    space: Space,
    /// Elements that are coded: those of a row, for halves to an even number.
    length: usize,
    /// Bytes of the levels.
    code_bytes: usize,
    mean: Vec<f32>,
    rotation: Option<Rotation>,
    /// For every 16 rows wanted, how many of the nearest by code they are among.
    compared: u8,
}

impl Codec {
    /// The codec for the first `count` of `rows`.
    pub(crate) fn train<G: Guard>(
        kind: CodeKind,
        space: Space,
        rows: Rows<'_, G>,
        count: usize,
    ) -> Self {
        let mean = match space.metric {
            Metric::Dot => vec![0.0; space.dimension],
            _ => full::mean(space, rows, count),
        };
        Self::new(kind, space, mean, COMPARED[0])
    }

    fn new(kind: CodeKind, space: Space, mean: Vec<f32>, compared: u8) -> Self {
        let code_bytes = kind.stride(space);
        let (length, rotation) = match kind {
            CodeKind::Byte => (space.dimension, None),
            CodeKind::Half => {
                let length = space.dimension.next_multiple_of(2);
                (length, Some(Rotation::new(length, SEED)))
            }
        };
        Self { kind, space, length, code_bytes, mean, rotation, compared }
    }

    /// What is kept of an element.
    pub(crate) fn kind(&self) -> CodeKind {
        self.kind
    }

    /// Bytes from one code row to the next.
    pub(crate) fn stride(&self) -> usize {
        self.code_bytes
    }

    /// How many of the nearest by code the `k` nearest are among.
    pub(crate) fn compared(&self, k: usize) -> usize {
        crate::codec::compared(self.compared, k)
    }

    /// The same codec with one of [`COMPARED`] for how many are compared.
    pub(super) fn comparing(self, compared: u8) -> Self {
        Self { compared, ..self }
    }

    /// Its parameters: a header and the mean.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12] = match self.kind {
            CodeKind::Byte => 8,
            CodeKind::Half => 4,
        };
        bytes[13] = self.compared;
        let dimension = u32::try_from(self.space.dimension).unwrap_or(u32::MAX);
        bytes[16..20].copy_from_slice(&dimension.to_le_bytes());
        bytes.extend_from_slice(self.mean.as_bytes());
        bytes
    }

    /// Reads [`to_bytes`](Self::to_bytes); `None` unless they are those of a codec of `space`.
    pub(crate) fn parse(bytes: &[u8], space: Space) -> Option<Self> {
        let header = bytes.get(..HEADER_BYTES)?;
        let word = |at: usize| Some(u32::from_le_bytes(header.get(at..at + 4)?.try_into().ok()?));
        let kind = match header[12] {
            8 => CodeKind::Byte,
            4 => CodeKind::Half,
            _ => return None,
        };
        let mean = bytes.get(HEADER_BYTES..)?.chunks_exact(4);
        let fits = header.starts_with(&MAGIC)
            && space.takes_codes()
            && word(8)? == VERSION
            && COMPARED.contains(&header[13])
            && word(16)? as usize == space.dimension
            && mean.remainder().is_empty()
            && mean.len() == space.dimension;
        if !fits {
            return None;
        }
        let mean: Vec<f32> = mean
            .map(|value| f32::from_le_bytes([value[0], value[1], value[2], value[3]]))
            .collect();
        mean.iter().all(|value| value.is_finite()).then(|| Self::new(kind, space, mean, header[13]))
    }

    /// Codes `range` of `rows` into `out`, [`stride`](Self::stride) bytes each.
    pub(crate) fn encode<G: Guard>(
        &self,
        isa: Isa,
        rows: Rows<'_, G>,
        range: Range<usize>,
        out: &mut [u8],
    ) {
        kernel::run(isa, Encode { codec: self, rows, range, out });
    }

    /// A query made ready for code rows.
    pub(crate) fn query(&self, isa: Isa, query: &full::Query) -> LevelQuery {
        kernel::run(isa, Prepare { codec: self, query })
    }

    /// `x` relative to the mean and rotated, into `out` of `length` elements.
    #[inline(always)]
    fn transform<K: Kernel>(&self, kernel: K, x: &[f32], out: &mut [f32]) {
        out[self.mean.len()..].fill(0.0);
        for ((out, x), mean) in out.iter_mut().zip(x).zip(&self.mean) {
            *out = x - mean;
        }
        if let Some(rotation) = &self.rotation {
            rotation.apply(kernel, out);
        }
    }
}

/// A query in signed bytes.
#[derive(Clone, Debug)]
pub(crate) struct LevelQuery {
    bytes: AlignedBytes,
    /// One step of the bytes.
    scale: f32,
    /// Σ of the bytes.
    sum: i32,
    /// ‖q‖² relative to the mean.
    square: f32,
}

struct Prepare<'a> {
    codec: &'a Codec,
    query: &'a full::Query,
}

impl kernel::Op for Prepare<'_> {
    type Output = LevelQuery;

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "from -127 to 127")]
    fn run<K: Kernel>(self, kernel: K) -> LevelQuery {
        let Self { codec, query } = self;
        let mut x = vec![0.0; codec.length];
        codec.transform(kernel, &query.floats()[..codec.space.dimension], &mut x);
        let lanes = match codec.kind {
            CodeKind::Byte => codec.code_bytes,
            CodeKind::Half => 2 * codec.code_bytes,
        };
        let mut bytes = AlignedBytes::zeroed(lanes);
        let scale = largest(&x) / 127.0;
        let inverse = if scale > 0.0 { (1.0 / scale).min(f32::MAX) } else { 0.0 };
        let mut sum = 0;
        for (byte, x) in bytes.as_mut_slice().iter_mut().zip(&x) {
            let rounded = (x * inverse).round_ties_even().clamp(-127.0, 127.0) as i8;
            *byte = rounded.cast_unsigned();
            sum += i32::from(rounded);
        }
        LevelQuery { bytes, scale, sum, square: sum_of(x.len(), |i| x[i] * x[i]) }
    }
}
