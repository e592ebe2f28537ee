//! Codes of blocks of 32 rows by which all rows are scanned, of whatever kind: one arm each.

use std::ops::Range;

use crate::bytes::{Guard, Guarded};
use crate::codec::bits::{BitCodec, BitRows};
use crate::codec::full::{Rows, Space};
use crate::codec::product::{ProductBlocks, ProductCodec, Width};
use crate::kernel::Isa;

/// Makes codes by blocks, and reads them.
#[derive(Clone, Debug)]
pub(crate) enum BlockCodec {
    /// A bit an element, with bounds.
    Bits(BitCodec),
    /// A few dozen bytes a row.
    Product(ProductCodec),
}

/// Blocks and how to read them.
#[derive(Debug)]
pub(crate) enum BlockRows<'a, G> {
    Bits(BitRows<'a, G>),
    Product(ProductBlocks<'a, G>),
}

impl<G> Clone for BlockRows<'_, G> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<G> Copy for BlockRows<'_, G> {}

impl BlockCodec {
    /// Bytes of a block.
    pub(crate) fn block_bytes(&self) -> usize {
        match self {
            Self::Bits(codec) => codec.block_bytes(),
            Self::Product(codec) => codec.block_bytes(),
        }
    }

    /// Bytes of the blocks of `rows` rows.
    pub(crate) fn bytes(&self, rows: usize) -> usize {
        match self {
            Self::Bits(codec) => codec.bytes(rows),
            Self::Product(codec) => codec.bytes(rows),
        }
    }

    /// Its parameters.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Bits(codec) => codec.to_bytes(),
            Self::Product(codec) => codec.to_bytes(),
        }
    }

    /// Reads [`to_bytes`](Self::to_bytes); `None` unless they are those of a codec of `space`.
    pub(crate) fn parse(bytes: &[u8], space: Space) -> Option<Self> {
        let product =
            || ProductCodec::parse(bytes, space).filter(|codec| codec.width() == Width::Half);
        BitCodec::parse(bytes, space).map(Self::Bits).or_else(|| product().map(Self::Product))
    }

    /// Codes the blocks in `blocks` of the first `count` of `rows` into `out`,
    /// [`block_bytes`](Self::block_bytes) each.
    pub(crate) fn encode<G: Guard>(
        &self,
        isa: Isa,
        rows: Rows<'_, G>,
        count: usize,
        blocks: Range<usize>,
        out: &mut [u8],
    ) {
        match self {
            Self::Bits(codec) => _ = codec.encode(isa, rows, count, blocks, out),
            Self::Product(codec) => codec.encode_blocks(isa, rows, count, blocks, out),
        }
    }

    /// Blocks that it has made.
    pub(crate) fn rows<'a, G>(&'a self, blocks: Guarded<'a, G>) -> BlockRows<'a, G> {
        match self {
            Self::Bits(codec) => BlockRows::Bits(BitRows { codec, blocks }),
            Self::Product(codec) => BlockRows::Product(ProductBlocks { codec, blocks }),
        }
    }
}
