//! One bit an element: rows in a thirtieth of their bytes, to scan all of them by. The few that may
//! be near are compared exactly afterwards.
//!
//! A row is taken relative to the mean of all and rotated; its code is the signs s, ±1, of what
//! results, x, and the product with a query q in the same frame is estimated as
//!
//! ```text
//! ⟨x, q⟩ ≈ factor · ⟨s, q⟩            factor = ‖x‖² / ‖x‖₁
//! error  ≤ EPSILON · spread · ‖q‖     spread = ‖x‖ · √((D·‖x‖² / ‖x‖₁² − 1) / (D − 1))
//! ```
//! for nearly all rows: the error of a random rotation is that of one coordinate of a random unit
//! vector, and EPSILON counts its standard deviations. Distances of the metrics follow exactly from
//! ⟨x, q⟩, with `add` kept of each row:
//!
//! ```text
//! l2      ‖q‖² + add − 2⟨x, q⟩          add = ‖x‖², q relative to the mean
//! cosine  half of that                  rows and queries of length 1
//! dot     −⟨c, query⟩ − t·add − ⟨x, q⟩  add = ⟨x, c⟩, q = query − t·c, c the mean,
//!                                       t the one that makes q shortest
//! ```
//! ⟨s, q⟩ is a sum of lookups ([`fast_scan`]): a table of bytes for each four elements, one step of
//! which is `step`, so that ⟨s, q⟩ ≈ step · sum − ‖q‖₁, off by less than 2 · step · √(D / 4) but for
//! one row in ten thousand.
//!
//! ```text
//! block  32 rows: the codes, ⌈D / 16⌉ × 64 bytes, then add, factor and spread, 32 f32 each; behind
//!        the last row zeros
//! ```
//! Sources: Gao and Long, "RaBitQ: quantizing high-dimensional vectors with a theoretical error
//! bound for approximate nearest neighbor search" (2024), theorem 3.2 and section 3.3.2.

use std::ops::Range;

use zerocopy::IntoBytes;

use crate::bytes::{Guard, Guarded};
use crate::codec::full::{Query, Rows, Space, mean};
use crate::codec::rotation::Rotation;
use crate::kernel::fast_scan::{BLOCK_ROWS, CHUNK_ELEMENTS};
use crate::kernel::{self, CODE_BYTES, Isa, Kernel};

mod encode;
mod query;
#[cfg(test)]
mod tests;

pub(crate) use self::query::BitQuery;

/// Standard deviations of the error that a bound allows for: recall@10 0.996 to 0.9998 on real
/// vectors, where 1.6 gives 0.992 to 0.9996, and 2.2 compares a third more rows.
const EPSILON: f32 = 1.9;
/// Draws the rotation.
const SEED: u64 = 0x7369_676e_6269_7473;
/// Below so many elements one bit of each says next to nothing.
pub(crate) const LEAST_DIMENSION: usize = 32;
/// Bytes of one factor of the rows of a block.
const FACTOR_BYTES: usize = 4 * BLOCK_ROWS;
const MAGIC: [u8; 8] = *b"NFCODE\0\0";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 64;

/// Makes blocks of codes, and queries for them.
#[derive(Clone, Debug)]
pub(crate) struct BitCodec {
    space: Space,
    /// Elements that are coded: those of a row, to an even number.
    length: usize,
    mean: Vec<f32>,
    /// ‖mean‖².
    mean_square: f32,
    rotation: Rotation,
}

impl BitCodec {
    /// Bytes of the codes of `count` rows and of their parameters.
    pub(crate) fn most_bytes(space: Space, count: usize) -> usize {
        let length = space.dimension.next_multiple_of(2);
        let block = length.div_ceil(CHUNK_ELEMENTS) * CODE_BYTES + 3 * FACTOR_BYTES;
        let parameters = HEADER_BYTES + 4 * (space.dimension + 1);
        count.div_ceil(BLOCK_ROWS).saturating_mul(block).saturating_add(parameters)
    }

    /// The codec for the first `count` of `rows`.
    pub(crate) fn train<G: Guard>(space: Space, rows: Rows<'_, G>, count: usize) -> Self {
        Self::new(space, mean(space, rows, count))
    }

    fn new(space: Space, mean: Vec<f32>) -> Self {
        let length = space.dimension.next_multiple_of(2);
        let mean_square = mean.iter().map(|x| x * x).sum();
        Self { space, length, mean, mean_square, rotation: Rotation::new(length, SEED) }
    }

    /// Bytes of the codes in a block.
    fn code_bytes(&self) -> usize {
        self.length.div_ceil(CHUNK_ELEMENTS) * CODE_BYTES
    }

    /// Bytes of a block of [`BLOCK_ROWS`] rows.
    pub(crate) fn block_bytes(&self) -> usize {
        self.code_bytes() + 3 * FACTOR_BYTES
    }

    /// Bytes of the codes of `rows` rows.
    pub(crate) fn bytes(&self, rows: usize) -> usize {
        rows.div_ceil(BLOCK_ROWS).saturating_mul(self.block_bytes())
    }

    /// Its parameters: a header and the mean.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12] = 1;
        let dimension = u32::try_from(self.space.dimension).unwrap_or(u32::MAX);
        bytes[16..20].copy_from_slice(&dimension.to_le_bytes());
        bytes.extend_from_slice(self.mean.as_bytes());
        bytes
    }

    /// Reads [`to_bytes`](Self::to_bytes); `None` unless they are those of a codec of `space`.
    pub(crate) fn parse(bytes: &[u8], space: Space) -> Option<Self> {
        let (header, mean) = bytes.split_at_checked(HEADER_BYTES)?;
        let mean: Vec<f32> =
            mean.as_chunks().0.iter().map(|value| f32::from_le_bytes(*value)).collect();
        let fits = space.takes_codes()
            && space.dimension >= LEAST_DIMENSION
            && mean.len() == space.dimension
            && mean.iter().all(|value| value.is_finite());
        let codec = fits.then(|| Self::new(space, mean))?;
        // All other bytes follow from the space.
        (codec.to_bytes()[..HEADER_BYTES] == *header && bytes.len() == codec.to_bytes().len())
            .then_some(codec)
    }

    /// Codes the blocks in `blocks` of the first `count` of `rows` into `out`,
    /// [`block_bytes`](Self::block_bytes) each; the squared length of the row that is farthest from the
    /// mean.
    pub(crate) fn encode<G: Guard>(
        &self,
        isa: Isa,
        rows: Rows<'_, G>,
        count: usize,
        blocks: Range<usize>,
        out: &mut [u8],
    ) -> f32 {
        kernel::run(isa, encode::Encode { codec: self, rows, count, blocks, out })
    }

    /// A query made ready for blocks; `None` when its distances do not fit what is kept of rows, or
    /// when all rows are at the same distance.
    pub(crate) fn query(&self, isa: Isa, query: &Query) -> Option<BitQuery> {
        kernel::run(isa, query::Prepare { codec: self, query })
    }

    /// ‖mean‖².
    pub(crate) fn mean_square(&self) -> f32 {
        self.mean_square
    }

    /// Rotates `x` in place.
    #[inline(always)]
    fn rotate<K: Kernel>(&self, kernel: K, x: &mut [f32]) {
        self.rotation.apply(kernel, x);
    }
}

/// The blocks of some rows.
#[derive(Debug)]
pub(crate) struct BitRows<'a, G> {
    pub(crate) codec: &'a BitCodec,
    pub(crate) blocks: Guarded<'a, G>,
}

impl<G> Clone for BitRows<'_, G> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<G> Copy for BitRows<'_, G> {}

impl<'a, G: Guard> BitRows<'a, G> {
    /// How many whole blocks there are.
    pub(crate) fn len(&self) -> usize {
        self.blocks.len() / self.codec.block_bytes()
    }

    /// How far `query` is from the rows of `block`, which is below [`len`](Self::len), as near as it
    /// can be told; anything behind the last row.
    #[inline(always)]
    pub(crate) fn estimates<K: Kernel>(
        &self,
        kernel: K,
        query: &BitQuery,
        block: usize,
    ) -> [f32; BLOCK_ROWS] {
        query::estimates(kernel, query, self.block(block), self.codec.code_bytes())
    }

    /// What the distances of which these are the estimates are hardly below.
    #[inline(always)]
    pub(crate) fn least(
        &self,
        query: &BitQuery,
        block: usize,
        estimates: &[f32; BLOCK_ROWS],
    ) -> [f32; BLOCK_ROWS] {
        query::least(query, self.block(block), self.codec.code_bytes(), estimates)
    }

    #[inline(always)]
    fn block(&self, block: usize) -> &'a [u8] {
        let bytes = self.codec.block_bytes();
        self.blocks.get(block * bytes, bytes)
    }
}
