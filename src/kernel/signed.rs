//! Signed bytes on every tier, summed in integers: exact for up to 65,536 elements.

/// One pair: `Σ (queryᵢ − rowᵢ)²`, or `Σ queryᵢ · rowᵢ`. Sums of squares may need the 32nd bit.
pub(super) fn distance<const L2: bool>(query: &[i8], row: &[i8]) -> i32 {
    assert_eq!(query.len(), row.len());
    let mut sum = 0_i32;
    for (a, b) in query.iter().zip(row) {
        let (a, b) = (i32::from(*a), i32::from(*b));
        sum = sum.wrapping_add(if L2 { (a - b) * (a - b) } else { a * b });
    }
    sum
}

/// Tier v3: sixteen elements a step, as sixteen bits each.
#[cfg(target_arch = "x86_64")]
pub(super) mod v3 {
    use core::arch::x86_64::*;

    use crate::kernel::v3::sum_whole;

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(in crate::kernel) fn distance<const L2: bool>(query: &[i8], row: &[i8]) -> i32 {
        assert_eq!(query.len(), row.len());
        let ((blocks, tail), (row_blocks, row_tail)) =
            (query.as_chunks::<16>(), row.as_chunks::<16>());
        let mut sums = [_mm256_setzero_si256(); 2];
        for (index, (a, b)) in blocks.iter().zip(row_blocks).enumerate() {
            sums[index % 2] = step::<L2>(a, b, sums[index % 2]);
        }
        if !tail.is_empty() {
            let (mut a, mut b) = ([0; 16], [0; 16]);
            a[..tail.len()].copy_from_slice(tail);
            b[..row_tail.len()].copy_from_slice(row_tail);
            sums[0] = step::<L2>(&a, &b, sums[0]);
        }
        sum_whole(_mm256_add_epi32(sums[0], sums[1]))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn step<const L2: bool>(a: &[i8; 16], b: &[i8; 16], sum: __m256i) -> __m256i {
        // SAFETY: reads the 16 bytes of the array, unaligned.
        let a = _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(a.as_ptr().cast()) });
        // SAFETY: as above.
        let b = _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(b.as_ptr().cast()) });
        let product = if L2 {
            let difference = _mm256_sub_epi16(a, b);
            _mm256_madd_epi16(difference, difference)
        } else {
            _mm256_madd_epi16(a, b)
        };
        _mm256_add_epi32(sum, product)
    }
}

/// Tier v4: VNNI, the query loaded once for all rows.
#[cfg(target_arch = "x86_64")]
pub(super) mod v4 {
    use core::arch::x86_64::*;

    use zerocopy::IntoBytes;

    use crate::kernel::v4::{load, load_first, sum_each};

    /// Sums `(x + 128) · q`, which is unsigned by signed as the instruction wants it, and takes
    /// `128 Σ q` off at the end.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    pub(in crate::kernel) fn dot<const R: usize>(query: &[i8], rows: [&[i8]; R]) -> [i32; R] {
        for row in rows {
            assert_eq!(query.len(), row.len());
        }
        let (sign, one) = (_mm512_set1_epi8(i8::MIN), _mm512_set1_epi8(1));
        let mut sums = [_mm512_setzero_si512(); R];
        let mut offset = _mm512_setzero_si512();
        let (blocks, tail) = query.as_bytes().as_chunks::<64>();
        for (index, block) in blocks.iter().enumerate() {
            let query = load(block);
            offset = _mm512_dpbusd_epi32(offset, one, query);
            for r in 0..R {
                let (row, _) = rows[r].as_bytes().as_chunks::<64>();
                let row = _mm512_xor_si512(load(&row[index]), sign);
                sums[r] = _mm512_dpbusd_epi32(sums[r], row, query);
            }
        }
        if !tail.is_empty() {
            let query = load_first(tail);
            offset = _mm512_dpbusd_epi32(offset, one, query);
            for r in 0..R {
                let (_, row) = rows[r].as_bytes().as_chunks::<64>();
                let row = _mm512_xor_si512(load_first(row), sign);
                sums[r] = _mm512_dpbusd_epi32(sums[r], row, query);
            }
        }
        let offset = _mm512_slli_epi32::<7>(offset);
        for r in 0..R {
            sums[r] = _mm512_sub_epi32(sums[r], offset);
        }
        sum_each(sums)
    }

    /// Squares of differences, as sixteen bits each.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    pub(in crate::kernel) fn l2<const R: usize>(query: &[i8], rows: [&[i8]; R]) -> [i32; R] {
        for row in rows {
            assert_eq!(query.len(), row.len());
        }
        let mut sums = [[_mm512_setzero_si512(); 2]; R];
        let (blocks, tail) = query.as_bytes().as_chunks::<64>();
        for (index, block) in blocks.iter().enumerate() {
            let query = widen(load(block));
            for r in 0..R {
                let (row, _) = rows[r].as_bytes().as_chunks::<64>();
                sums[r] = squares(query, widen(load(&row[index])), sums[r]);
            }
        }
        if !tail.is_empty() {
            let query = widen(load_first(tail));
            for r in 0..R {
                let (_, row) = rows[r].as_bytes().as_chunks::<64>();
                sums[r] = squares(query, widen(load_first(row)), sums[r]);
            }
        }
        let mut whole = [_mm512_setzero_si512(); R];
        for r in 0..R {
            whole[r] = _mm512_add_epi32(sums[r][0], sums[r][1]);
        }
        sum_each(whole)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn widen(bytes: __m512i) -> [__m512i; 2] {
        [
            _mm512_cvtepi8_epi16(_mm512_castsi512_si256(bytes)),
            _mm512_cvtepi8_epi16(_mm512_extracti64x4_epi64::<1>(bytes)),
        ]
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn squares(a: [__m512i; 2], b: [__m512i; 2], sums: [__m512i; 2]) -> [__m512i; 2] {
        let (low, high) = (_mm512_sub_epi16(a[0], b[0]), _mm512_sub_epi16(a[1], b[1]));
        [_mm512_dpwssd_epi32(sums[0], low, low), _mm512_dpwssd_epi32(sums[1], high, high)]
    }
}

#[cfg(test)]
mod tests {
    use crate::kernel::{Isa, Kernel, Op, run};

    /// Four rows at once and one by one.
    struct All<'a>(&'a [i8], [&'a [i8]; 4]);

    impl Op for All<'_> {
        type Output = [([u32; 4], [i32; 4]); 2];

        #[inline(always)]
        fn run<K: Kernel>(self, kernel: K) -> Self::Output {
            let Self(query, rows) = self;
            [
                (kernel.l2_signed_bytes(query, rows), kernel.dot_signed_bytes(query, rows)),
                (
                    rows.map(|row| kernel.l2_signed_bytes(query, [row])[0]),
                    rows.map(|row| kernel.dot_signed_bytes(query, [row])[0]),
                ),
            ]
        }
    }

    #[test]
    fn sums_of_signed_bytes_are_exact_on_every_tier() {
        const LONGEST: usize = 65_536;
        let noise = |seed: usize| -> Vec<i8> {
            let byte = |at: usize| ((at + 1) * (2 * seed + 1) * 0x9E37_79B9 >> 16) as i8;
            (0..LONGEST + 8).map(byte).collect()
        };
        let all = |value| vec![value; LONGEST + 8];
        let rows = [noise(4), all(-128), all(127), all(0)];
        for isa in Isa::available() {
            for len in (0..=257).chain([384, 768, 1000, 1536, LONGEST]) {
                for (query, offset) in [(noise(3), 1), (all(-128), 0), (all(127), 3)] {
                    let query = &query[offset..offset + len];
                    let rows: [&[i8]; 4] = std::array::from_fn(|r| &rows[r][2 * offset..][..len]);
                    let sum = |row: &[i8], of: &dyn Fn(i64, i64) -> i64| -> i64 {
                        query.iter().zip(row).map(|(a, b)| of((*a).into(), (*b).into())).sum()
                    };
                    let l2 = rows.map(|row| sum(row, &|a, b| (a - b) * (a - b)) as u32);
                    let dot = rows.map(|row| sum(row, &|a, b| a * b) as i32);
                    let found = run(isa, All(query, rows));
                    assert_eq!(found, [(l2, dot); 2], "{} {len}", isa.name());
                }
            }
        }
    }
}
