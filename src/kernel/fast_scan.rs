//! Sums over blocks of 32 rows of one-bit codes, by lookups of four bits.
//!
//! ```text
//! block  chunks of 64 bytes, 16 elements each. Of a chunk, byte 16·g + r holds elements 4g..4g+4
//!        of row r in its low half and of row 16 + r in its high half, the first in the lowest bit
//! table  64 bytes a chunk: byte 16·g + v is what a row gets whose elements 4g..4g+4 are v
//! ```
//! The same layout suits every tier: sixteen rows of one group are the lookup that 16-byte shuffles
//! make. Sums are exact on every tier, and so the same. Source: André, Kermarrec and Le Scouarnec,
//! "Cache locality is not enough: high-performance nearest neighbor search with product
//! quantization fast scan" (2015).

use super::CODE_BYTES;

/// Rows of a block.
pub(crate) const BLOCK_ROWS: usize = 32;
/// Elements of a chunk of [`CODE_BYTES`].
pub(crate) const CHUNK_ELEMENTS: usize = 16;
/// Groups of four elements in a chunk, and rows in one half of its bytes.
pub(super) const GROUPS: usize = 4;
pub(super) const HALF_ROWS: usize = 16;

/// What the other tiers agree with.
#[inline(always)]
pub(super) fn sums(table: &[u8], block: &[u8]) -> [u32; BLOCK_ROWS] {
    assert_eq!(table.len(), block.len());
    let mut sums = [0; BLOCK_ROWS];
    let tables = table.as_chunks::<CODE_BYTES>().0;
    for (table, chunk) in tables.iter().zip(block.as_chunks::<CODE_BYTES>().0) {
        for group in 0..GROUPS {
            let table = &table[16 * group..][..16];
            for row in 0..HALF_ROWS {
                let byte = chunk[HALF_ROWS * group + row];
                sums[row] += u32::from(table[usize::from(byte & 15)]);
                sums[HALF_ROWS + row] += u32::from(table[usize::from(byte >> 4)]);
            }
        }
    }
    sums
}

/// A bit for each value that is at most `bound`.
#[inline(always)]
pub(super) fn at_most<const N: usize>(values: &[f32; N], bound: f32) -> u32 {
    let mut mask = 0;
    for (bit, value) in values.iter().enumerate() {
        mask |= u32::from(*value <= bound) << bit;
    }
    mask
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{Isa, Kernel, Op, run};

    struct Sums<'a> {
        table: &'a [u8],
        block: &'a [u8],
    }

    impl Op for Sums<'_> {
        type Output = [u32; BLOCK_ROWS];

        #[inline(always)]
        fn run<K: Kernel>(self, kernel: K) -> Self::Output {
            kernel.fast_scan(self.table, self.block)
        }
    }

    struct Mask<'a>(&'a [f32; BLOCK_ROWS], f32);

    impl Op for Mask<'_> {
        type Output = u32;

        #[inline(always)]
        fn run<K: Kernel>(self, kernel: K) -> u32 {
            kernel.at_most(self.0, self.1)
        }
    }

    fn noise(seed: u64, len: usize) -> Vec<u8> {
        let mut next = crate::kernel::noise::bits(seed);
        std::iter::repeat_with(|| (next() >> 32) as u8).take(len).collect()
    }

    /// Straight from the picture of the layout, an element at a time.
    fn expected(table: &[u8], block: &[u8], row: usize) -> u32 {
        let groups = table.len() / 16;
        let value = |group: usize| {
            let byte = block[group * 16 + row % 16];
            usize::from(if row < 16 { byte & 15 } else { byte >> 4 })
        };
        (0..groups).map(|group| u32::from(table[group * 16 + value(group)])).sum()
    }

    #[test]
    fn every_tier_sums_the_same_over_any_number_of_chunks() {
        // 129 chunks and more are where sums of 16 bits would overflow.
        for chunks in (0..40).chain([127, 128, 129, 255, 256, 257, 300, 511, 513, 4096]) {
            let len = chunks * CODE_BYTES;
            let mut cases = vec![(noise(1, len), noise(2, len))];
            cases.push((vec![255; len], noise(3, len)));
            cases.push((noise(4, len), vec![255; len]));
            for (table, block) in &cases {
                // Nothing depends on where a table begins.
                let other = noise(5, len + 3);
                for table in [&other[1..=len], table, &other[3..]] {
                    for isa in Isa::available() {
                        let sums = run(isa, Sums { table, block });
                        for (row, sum) in sums.into_iter().enumerate() {
                            let expected = expected(table, block, row);
                            assert_eq!(sum, expected, "{} {chunks} {row}", isa.name());
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_mask_holds_what_is_at_most_the_bound_and_never_nan() {
        let mut values: [f32; BLOCK_ROWS] = std::array::from_fn(|at| (at as f32) - 9.0);
        values[3] = f32::NAN;
        values[31] = f32::NEG_INFINITY;
        values[30] = f32::INFINITY;
        for isa in Isa::available() {
            let mask = |bound| run(isa, Mask(&values, bound));
            assert_eq!(mask(0.0), 0b1000_0000_0000_0000_0000_0011_1111_0111, "{}", isa.name());
            assert_eq!(mask(f32::INFINITY), !(1 << 3), "{}", isa.name());
            assert_eq!(mask(f32::NAN), 0, "{}", isa.name());
        }
    }
}
