//! Packed bits on every tier: how many of two rows differ, how many they share.
//!
//! Counts are exact. Which bit of a byte comes first does not matter to them.

/// Bits that differ.
pub(super) const DIFFERING: bool = false;
/// Bits set in both, and bits set in either.
pub(super) const OVERLAP: bool = true;

/// The counts of one pair: of [`DIFFERING`] the first, of [`OVERLAP`] both.
#[cfg_attr(target_arch = "x86_64", inline(never))]
#[cfg_attr(not(target_arch = "x86_64"), inline)]
pub(super) fn count<const WHAT: bool>(query: &[u8], row: &[u8]) -> [u32; 2] {
    assert_eq!(query.len(), row.len());
    let mut counts = [0; 2];
    let ((words, rest), (row_words, row_rest)) = (query.as_chunks::<8>(), row.as_chunks::<8>());
    for (a, b) in words.iter().zip(row_words) {
        add::<WHAT>(u64::from_le_bytes(*a), u64::from_le_bytes(*b), &mut counts);
    }
    for (a, b) in rest.iter().zip(row_rest) {
        add::<WHAT>(u64::from(*a), u64::from(*b), &mut counts);
    }
    counts
}

#[inline(always)]
fn add<const WHAT: bool>(a: u64, b: u64, counts: &mut [u32; 2]) {
    if WHAT == OVERLAP {
        counts[0] += (a & b).count_ones();
        counts[1] += (a | b).count_ones();
    } else {
        counts[0] += (a ^ b).count_ones();
    }
}

/// Tier v3: a table of the counts of sixteen half bytes.
///
/// Source: Muła, Kurz and Lemire, "Faster population counts using AVX2 instructions" (2018).
#[cfg(target_arch = "x86_64")]
pub(super) mod v3 {
    use core::arch::x86_64::*;

    use super::OVERLAP;
    use crate::kernel::v3::{halves, load};

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(in crate::kernel) fn count<const WHAT: bool>(query: &[u8], row: &[u8]) -> [u32; 2] {
        assert_eq!(query.len(), row.len());
        let ((blocks, tail), (row_blocks, row_tail)) =
            (query.as_chunks::<32>(), row.as_chunks::<32>());
        let mut sums = [_mm256_setzero_si256(); 2];
        for (a, b) in blocks.iter().zip(row_blocks) {
            step::<WHAT>(load(a), load(b), &mut sums);
        }
        if !tail.is_empty() {
            let (mut a, mut b) = ([0; 32], [0; 32]);
            a[..tail.len()].copy_from_slice(tail);
            b[..row_tail.len()].copy_from_slice(row_tail);
            step::<WHAT>(load(&a), load(&b), &mut sums);
        }
        [sum(sums[0]), sum(sums[1])]
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn step<const WHAT: bool>(a: __m256i, b: __m256i, sums: &mut [__m256i; 2]) {
        if WHAT == OVERLAP {
            sums[0] = _mm256_add_epi64(sums[0], ones(_mm256_and_si256(a, b)));
            sums[1] = _mm256_add_epi64(sums[1], ones(_mm256_or_si256(a, b)));
        } else {
            sums[0] = _mm256_add_epi64(sums[0], ones(_mm256_xor_si256(a, b)));
        }
    }

    /// The ones in each eight bytes.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn ones(bytes: __m256i) -> __m256i {
        // Of 0, 1, 2, … 15, in each half of the register.
        let table = _mm256_setr_epi8(
            0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, //
            0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,
        );
        let (low, high) = halves(bytes, _mm256_set1_epi8(15));
        let counts =
            _mm256_add_epi8(_mm256_shuffle_epi8(table, low), _mm256_shuffle_epi8(table, high));
        _mm256_sad_epu8(counts, _mm256_setzero_si256())
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn sum(lanes: __m256i) -> u32 {
        crate::kernel::v3::sum_whole(lanes).cast_unsigned()
    }
}

/// Tier v4: VPOPCNTDQ, the query loaded once for all rows.
#[cfg(target_arch = "x86_64")]
pub(super) mod v4 {
    use core::arch::x86_64::*;

    use super::OVERLAP;
    use crate::kernel::v4::{load, load_first, sum_each};

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vpopcntdq")]
    pub(in crate::kernel) fn count<const WHAT: bool, const R: usize>(
        query: &[u8],
        rows: [&[u8]; R],
    ) -> [[u32; R]; 2] {
        for row in rows {
            assert_eq!(query.len(), row.len());
        }
        let mut sums = [[_mm512_setzero_si512(); R]; 2];
        let (blocks, tail) = query.as_chunks::<64>();
        for (index, block) in blocks.iter().enumerate() {
            let query = load(block);
            for (r, row) in rows.iter().enumerate() {
                let (row, _) = row.as_chunks::<64>();
                step::<WHAT, R>(query, load(&row[index]), &mut sums, r);
            }
        }
        if !tail.is_empty() {
            let query = load_first(tail);
            for (r, row) in rows.iter().enumerate() {
                let (_, row) = row.as_chunks::<64>();
                step::<WHAT, R>(query, load_first(row), &mut sums, r);
            }
        }
        // Whatever the lanes hold is below 2³², so that their high halves are zero.
        let mut out = [[0; R]; 2];
        let parts = if WHAT == OVERLAP { 2 } else { 1 };
        for part in 0..parts {
            let sums = sum_each(sums[part]);
            for r in 0..R {
                out[part][r] = sums[r].cast_unsigned();
            }
        }
        out
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vpopcntdq")]
    fn step<const WHAT: bool, const R: usize>(
        a: __m512i,
        b: __m512i,
        sums: &mut [[__m512i; R]; 2],
        r: usize,
    ) {
        if WHAT == OVERLAP {
            let (both, either) = (_mm512_and_si512(a, b), _mm512_or_si512(a, b));
            sums[0][r] = _mm512_add_epi64(sums[0][r], _mm512_popcnt_epi64(both));
            sums[1][r] = _mm512_add_epi64(sums[1][r], _mm512_popcnt_epi64(either));
        } else {
            let differing = _mm512_xor_si512(a, b);
            sums[0][r] = _mm512_add_epi64(sums[0][r], _mm512_popcnt_epi64(differing));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::kernel::{Isa, Kernel, Op, run};

    /// Hamming, both, either of four rows; all at once and one by one.
    struct All<'a>(&'a [u8], [&'a [u8]; 4]);

    impl Op for All<'_> {
        type Output = [[[u32; 4]; 3]; 2];

        #[inline(always)]
        fn run<K: Kernel>(self, kernel: K) -> Self::Output {
            let Self(query, rows) = self;
            let [both, either] = kernel.overlap(query, rows);
            [
                [kernel.hamming(query, rows), both, either],
                [
                    rows.map(|row| kernel.hamming(query, [row])[0]),
                    rows.map(|row| kernel.overlap(query, [row])[0][0]),
                    rows.map(|row| kernel.overlap(query, [row])[1][0]),
                ],
            ]
        }
    }

    #[test]
    fn bits_are_counted_exactly_on_every_tier() {
        let noise = |seed: u64| -> Vec<u8> {
            let byte = |at: u64| (((at + 1) * (2 * seed + 1) * 0x9E37_79B9) >> 16) as u8;
            (0..8200).map(byte).collect()
        };
        let (query, zeros, ones) = (noise(3), vec![0; 8200], vec![255; 8200]);
        let rows = [noise(4), noise(5), zeros.clone(), ones.clone()];
        for isa in Isa::available() {
            for len in (0..=257).chain([768, 8192]) {
                for (query, offset) in [(&query, 1), (&zeros, 0), (&ones, 3)] {
                    let query = &query[offset..offset + len];
                    let rows: [&[u8]; 4] = std::array::from_fn(|r| &rows[r][2 * offset..][..len]);
                    let count = |of: &dyn Fn(u8, u8) -> u8| {
                        rows.map(|row| {
                            query.iter().zip(row).map(|(a, b)| of(*a, *b).count_ones()).sum::<u32>()
                        })
                    };
                    let expected =
                        [count(&|a, b| a ^ b), count(&|a, b| a & b), count(&|a, b| a | b)];
                    let found = run(isa, All(query, rows));
                    assert_eq!(found, [expected; 2], "{} {len}", isa.name());
                }
            }
        }
    }
}
