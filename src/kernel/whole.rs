//! Bytes as whole numbers, summed in integers: exact for up to 65,536 elements. Signed ones on every
//! tier, and unsigned ones on v3 and v4, where both take the same steps.

/// One pair of signed bytes: `Σ (queryᵢ − rowᵢ)²`, or `Σ queryᵢ · rowᵢ`. Sums of squares may need the 32nd bit.
#[cfg_attr(target_arch = "x86_64", inline(never))]
#[cfg_attr(not(target_arch = "x86_64"), inline)]
pub(super) fn distance<const L2: bool>(query: &[i8], row: &[i8]) -> i32 {
    assert_eq!(query.len(), row.len());
    let mut sum = 0_i32;
    for (a, b) in query.iter().zip(row) {
        let (a, b) = (i32::from(*a), i32::from(*b));
        sum = sum.wrapping_add(if L2 { (a - b) * (a - b) } else { a * b });
    }
    sum
}

/// Tier v3: sixteen elements a step, as sixteen bits each. Wrapping 32-bit lanes are exact: the whole
/// of unsigned squares is below 2³².
#[cfg(target_arch = "x86_64")]
pub(super) mod v3 {
    use core::arch::x86_64::*;

    use crate::kernel::v3::sum_whole;

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(in crate::kernel) fn distance<const L2: bool, const SIGNED: bool>(
        query: &[u8],
        row: &[u8],
    ) -> i32 {
        assert_eq!(query.len(), row.len());
        let ((blocks, tail), (row_blocks, row_tail)) =
            (query.as_chunks::<16>(), row.as_chunks::<16>());
        let mut sums = [_mm256_setzero_si256(); 2];
        for (index, (a, b)) in blocks.iter().zip(row_blocks).enumerate() {
            sums[index % 2] = step::<L2, SIGNED>(a, b, sums[index % 2]);
        }
        if !tail.is_empty() {
            let (mut a, mut b) = ([0; 16], [0; 16]);
            a[..tail.len()].copy_from_slice(tail);
            b[..row_tail.len()].copy_from_slice(row_tail);
            sums[0] = step::<L2, SIGNED>(&a, &b, sums[0]);
        }
        sum_whole(_mm256_add_epi32(sums[0], sums[1]))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn step<const L2: bool, const SIGNED: bool>(
        a: &[u8; 16],
        b: &[u8; 16],
        sum: __m256i,
    ) -> __m256i {
        let (a, b) = (widen::<SIGNED>(a), widen::<SIGNED>(b));
        let product = if L2 {
            let difference = _mm256_sub_epi16(a, b);
            _mm256_madd_epi16(difference, difference)
        } else {
            _mm256_madd_epi16(a, b)
        };
        _mm256_add_epi32(sum, product)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn widen<const SIGNED: bool>(bytes: &[u8; 16]) -> __m256i {
        // SAFETY: reads the 16 bytes of the array, unaligned.
        let bytes = unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) };
        if SIGNED { _mm256_cvtepi8_epi16(bytes) } else { _mm256_cvtepu8_epi16(bytes) }
    }
}

/// Tier v4: VNNI, the query loaded once for all rows.
#[cfg(target_arch = "x86_64")]
pub(super) mod v4 {
    use core::arch::x86_64::*;

    use crate::kernel::v4::{load, load_first, sum_each};

    /// The instruction multiplies unsigned by signed bytes. Of two signed ones the row is taken as
    /// `x + 128`, of two unsigned ones as `x − 128`; `128 Σ q` makes up for it at the end.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    pub(in crate::kernel) fn dot<const SIGNED: bool, const R: usize>(
        query: &[u8],
        rows: [&[u8]; R],
    ) -> [i32; R] {
        for row in rows {
            assert_eq!(query.len(), row.len());
        }
        let mut sums = [_mm512_setzero_si512(); R];
        let mut all = _mm512_setzero_si512();
        let (blocks, tail) = query.as_chunks::<64>();
        for (index, block) in blocks.iter().enumerate() {
            let query = load(block);
            all = sum_query::<SIGNED>(query, all);
            for r in 0..R {
                let (row, _) = rows[r].as_chunks::<64>();
                sums[r] = products::<SIGNED>(query, load(&row[index]), sums[r]);
            }
        }
        if !tail.is_empty() {
            let query = load_first(tail);
            all = sum_query::<SIGNED>(query, all);
            for r in 0..R {
                let (_, row) = rows[r].as_chunks::<64>();
                sums[r] = products::<SIGNED>(query, load_first(row), sums[r]);
            }
        }
        let offset = _mm512_slli_epi32::<7>(all);
        for sum in &mut sums {
            *sum = if SIGNED {
                _mm512_sub_epi32(*sum, offset)
            } else {
                _mm512_add_epi32(*sum, offset)
            };
        }
        sum_each(sums)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn sum_query<const SIGNED: bool>(query: __m512i, sum: __m512i) -> __m512i {
        let one = _mm512_set1_epi8(1);
        if SIGNED {
            _mm512_dpbusd_epi32(sum, one, query)
        } else {
            _mm512_dpbusd_epi32(sum, query, one)
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn products<const SIGNED: bool>(query: __m512i, row: __m512i, sum: __m512i) -> __m512i {
        let row = _mm512_xor_si512(row, _mm512_set1_epi8(i8::MIN));
        if SIGNED {
            _mm512_dpbusd_epi32(sum, row, query)
        } else {
            _mm512_dpbusd_epi32(sum, query, row)
        }
    }

    /// Squares of differences, as sixteen bits each.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    pub(in crate::kernel) fn l2<const SIGNED: bool, const R: usize>(
        query: &[u8],
        rows: [&[u8]; R],
    ) -> [i32; R] {
        for row in rows {
            assert_eq!(query.len(), row.len());
        }
        let mut sums = [[_mm512_setzero_si512(); 2]; R];
        let (blocks, tail) = query.as_chunks::<64>();
        for (index, block) in blocks.iter().enumerate() {
            let query = widen::<SIGNED>(load(block));
            for r in 0..R {
                let (row, _) = rows[r].as_chunks::<64>();
                sums[r] = squares(query, widen::<SIGNED>(load(&row[index])), sums[r]);
            }
        }
        if !tail.is_empty() {
            let query = widen::<SIGNED>(load_first(tail));
            for r in 0..R {
                let (_, row) = rows[r].as_chunks::<64>();
                sums[r] = squares(query, widen::<SIGNED>(load_first(row)), sums[r]);
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
    fn widen<const SIGNED: bool>(bytes: __m512i) -> [__m512i; 2] {
        let (low, high) = (_mm512_castsi512_si256(bytes), _mm512_extracti64x4_epi64::<1>(bytes));
        if SIGNED {
            [_mm512_cvtepi8_epi16(low), _mm512_cvtepi8_epi16(high)]
        } else {
            [_mm512_cvtepu8_epi16(low), _mm512_cvtepu8_epi16(high)]
        }
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
    use zerocopy::IntoBytes;

    use crate::kernel::{Isa, Kernel, Op, run};

    /// Squares and products of four rows, signed and unsigned, modulo 2³².
    type Sums = [[u32; 4]; 4];

    /// Four rows at once and one by one.
    struct All<'a>(&'a [i8], [&'a [i8]; 4]);

    impl Op for All<'_> {
        type Output = [Sums; 2];

        #[inline(always)]
        fn run<K: Kernel>(self, kernel: K) -> Self::Output {
            let Self(query, rows) = self;
            let (bytes, byte_rows) = (query.as_bytes(), rows.map(|row| row.as_bytes()));
            [
                [
                    kernel.l2_signed_bytes(query, rows),
                    kernel.dot_signed_bytes(query, rows).map(i32::cast_unsigned),
                    kernel.l2_bytes(bytes, byte_rows),
                    kernel.dot_bytes(bytes, byte_rows),
                ],
                [
                    rows.map(|row| kernel.l2_signed_bytes(query, [row])[0]),
                    rows.map(|row| kernel.dot_signed_bytes(query, [row])[0].cast_unsigned()),
                    byte_rows.map(|row| kernel.l2_bytes(bytes, [row])[0]),
                    byte_rows.map(|row| kernel.dot_bytes(bytes, [row])[0]),
                ],
            ]
        }
    }

    fn expected(query: &[i8], rows: [&[i8]; 4]) -> Sums {
        let sum = |of: &dyn Fn(i8, i8) -> i64| {
            rows.map(|row| query.iter().zip(row).map(|(a, b)| of(*a, *b)).sum::<i64>() as u32)
        };
        let signed = |a: i8, b: i8| (i64::from(a), i64::from(b));
        let unsigned = |a: i8, b: i8| (i64::from(a.cast_unsigned()), i64::from(b.cast_unsigned()));
        let square = |(a, b): (i64, i64)| (a - b) * (a - b);
        let product = |(a, b): (i64, i64)| a * b;
        [
            sum(&|a, b| square(signed(a, b))),
            sum(&|a, b| product(signed(a, b))),
            sum(&|a, b| square(unsigned(a, b))),
            sum(&|a, b| product(unsigned(a, b))),
        ]
    }

    #[test]
    fn sums_of_bytes_are_exact_on_every_tier() {
        const LONGEST: usize = 65_536;
        let noise = |seed: usize| -> Vec<i8> {
            let byte = |at: usize| (((at + 1) * (2 * seed + 1) * 0x9E37_79B9) >> 16) as i8;
            (0..LONGEST + 8).map(byte).collect()
        };
        let all = |value| vec![value; LONGEST + 8];
        let rows = [noise(4), all(-128), all(127), all(-1)];
        for isa in Isa::available() {
            for len in (0..=257).chain([384, 768, 1000, 1536, LONGEST]) {
                for (query, offset) in [(noise(3), 1), (all(-128), 0), (all(127), 3), (all(-1), 2)]
                {
                    let query = &query[offset..offset + len];
                    let rows: [&[i8]; 4] = std::array::from_fn(|r| &rows[r][2 * offset..][..len]);
                    let found = run(isa, All(query, rows));
                    assert_eq!(found, [expected(query, rows); 2], "{} {len}", isa.name());
                }
            }
        }
    }
}
