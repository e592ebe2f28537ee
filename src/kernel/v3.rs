//! Tier v3: AVX2, FMA and F16C. Eight f32 lanes, four accumulators a row.

use core::arch::x86_64::*;

use half::f16;
use zerocopy::IntoBytes;

use super::fast_scan::BLOCK_ROWS;
use super::panel::{self, Products};
use super::{CODE_BYTES, Kernel, Op, Plain, bits, fast_scan_v3, hadamard, whole};

pub(super) const LANES: usize = 8;
const ACCUMULATORS: usize = 4;
const BLOCK: usize = LANES * ACCUMULATORS;

/// Runs `op` with the tier's instructions.
#[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt")]
pub(super) fn root<O: Op>(op: O) -> O::Output {
    op.run(V3(()))
}

/// Exists only under [`root`], and so proves the tier.
#[derive(Clone, Copy, Debug)]
pub(super) struct V3(());

impl Kernel for V3 {
    #[inline(always)]
    fn l2<Q: super::Element, E: super::Element, const R: usize>(
        self,
        query: &[Q],
        rows: [&[E]; R],
    ) -> [f32; R] {
        // SAFETY: `self` proves the tier.
        rows.map(|row| unsafe { distance::<true, Q, E>(query, row) })
    }

    #[inline(always)]
    fn dot<Q: super::Element, E: super::Element, const R: usize>(
        self,
        query: &[Q],
        rows: [&[E]; R],
    ) -> [f32; R] {
        // SAFETY: `self` proves the tier.
        rows.map(|row| unsafe { distance::<false, Q, E>(query, row) })
    }

    #[inline(always)]
    fn l2_bytes<const R: usize>(self, query: &[u8], rows: [&[u8]; R]) -> [u32; R] {
        let mut out = [0; R];
        for r in 0..R {
            // SAFETY: `self` proves the tier.
            out[r] = unsafe { whole::v3::distance::<true, false>(query, rows[r]) }.cast_unsigned();
        }
        out
    }

    #[inline(always)]
    fn dot_bytes<const R: usize>(self, query: &[u8], rows: [&[u8]; R]) -> [u32; R] {
        let mut out = [0; R];
        for r in 0..R {
            // SAFETY: `self` proves the tier.
            out[r] = unsafe { whole::v3::distance::<false, false>(query, rows[r]) }.cast_unsigned();
        }
        out
    }

    #[inline(always)]
    fn l2_signed_bytes<const R: usize>(self, query: &[i8], rows: [&[i8]; R]) -> [u32; R] {
        let mut out = [0; R];
        for r in 0..R {
            // SAFETY: `self` proves the tier.
            out[r] =
                unsafe { whole::v3::distance::<true, true>(query.as_bytes(), rows[r].as_bytes()) }
                    .cast_unsigned();
        }
        out
    }

    #[inline(always)]
    fn dot_signed_bytes<const R: usize>(self, query: &[i8], rows: [&[i8]; R]) -> [i32; R] {
        let mut out = [0; R];
        for r in 0..R {
            // SAFETY: `self` proves the tier.
            out[r] =
                unsafe { whole::v3::distance::<false, true>(query.as_bytes(), rows[r].as_bytes()) };
        }
        out
    }

    #[inline(always)]
    fn hamming<const R: usize>(self, query: &[u8], rows: [&[u8]; R]) -> [u32; R] {
        let mut out = [0; R];
        for r in 0..R {
            // SAFETY: `self` proves the tier.
            [out[r], _] = unsafe { bits::v3::count::<{ bits::DIFFERING }>(query, rows[r]) };
        }
        out
    }

    #[inline(always)]
    fn overlap<const R: usize>(self, query: &[u8], rows: [&[u8]; R]) -> [[u32; R]; 2] {
        let mut out = [[0; R]; 2];
        for r in 0..R {
            // SAFETY: `self` proves the tier.
            [out[0][r], out[1][r]] =
                unsafe { bits::v3::count::<{ bits::OVERLAP }>(query, rows[r]) };
        }
        out
    }

    #[inline(always)]
    fn dot_signed<const R: usize>(self, query: &[u8], rows: [&[u8]; R]) -> [i32; R] {
        // SAFETY: `self` proves the tier.
        rows.map(|row| unsafe { dot_bytes::<false>(query, row) })
    }

    #[inline(always)]
    fn dot_offset<const R: usize>(self, query: &[u8], rows: [&[u8]; R]) -> [i32; R] {
        // SAFETY: `self` proves the tier.
        rows.map(|row| unsafe { dot_bytes::<true>(query, row) })
    }

    #[inline(always)]
    fn dot_halves<const R: usize>(self, query: &[u8], rows: [&[u8]; R]) -> [i32; R] {
        // SAFETY: `self` proves the tier.
        rows.map(|row| unsafe { dot_halves::<false>(query, row) })
    }

    #[inline(always)]
    fn dot_both_halves<const R: usize>(self, query: &[u8], rows: [&[u8]; R]) -> [i32; R] {
        // SAFETY: `self` proves the tier.
        rows.map(|row| unsafe { dot_halves::<true>(query, row) })
    }

    #[inline(always)]
    fn sum_where<const R: usize>(self, query: &[u8], rows: [&[u8]; R]) -> [i32; R] {
        // SAFETY: `self` proves the tier.
        rows.map(|row| unsafe { sum_where(query, row) })
    }

    #[inline(always)]
    fn hadamard(self, x: &mut [f32]) {
        // SAFETY: `self` proves the tier.
        unsafe { hadamard::v3::transform(x) }
    }

    #[inline(always)]
    fn panel_products(self, a: &[[u8; CODE_BYTES]], b: &[[u8; CODE_BYTES]]) -> Products {
        // SAFETY: `self` proves the tier.
        unsafe { panel::v3::products(a, b) }
    }

    #[inline(always)]
    fn fast_scan(self, table: &[u8], block: &[u8]) -> [u32; BLOCK_ROWS] {
        // SAFETY: `self` proves the tier.
        unsafe { fast_scan_v3::sums(table, block) }
    }

    #[inline(always)]
    fn at_most<const N: usize>(self, values: &[f32; N], bound: f32) -> u32 {
        // SAFETY: `self` proves the tier.
        unsafe { fast_scan_v3::at_most(values, bound) }
    }

    #[inline(always)]
    fn low_bits(self, bytes: &[u8; 32]) -> u32 {
        // SAFETY: `self` proves the tier.
        unsafe { low_bits(bytes) }
    }
}

/// The lowest bit of each byte.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn low_bits(bytes: &[u8; 32]) -> u32 {
    // SAFETY: reads the 32 bytes of the array, unaligned.
    let bytes = unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) };
    _mm256_movemask_epi8(_mm256_slli_epi16::<7>(bytes)).cast_unsigned()
}

/// Integer product of unsigned bytes with signed ones, or with unsigned ones less 128.
#[inline]
#[target_feature(enable = "avx2")]
fn dot_bytes<const OFFSET: bool>(query: &[u8], row: &[u8]) -> i32 {
    assert_eq!(query.len(), row.len());
    let (query_blocks, row_blocks) = (query.as_chunks::<16>().0, row.as_chunks::<16>().0);
    let sign = _mm_set1_epi8(if OFFSET { i8::MIN } else { 0 });
    let mut sum = _mm256_setzero_si256();
    for (a, b) in query_blocks.iter().zip(row_blocks) {
        // SAFETY: reads the 16 bytes of the array, unaligned.
        let a = unsafe { _mm_loadu_si128(a.as_ptr().cast()) };
        // SAFETY: as above.
        let b = unsafe { _mm_loadu_si128(b.as_ptr().cast()) };
        let (a, b) = (_mm256_cvtepi8_epi16(_mm_xor_si128(a, sign)), _mm256_cvtepu8_epi16(b));
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
    }
    sum_whole(sum)
}

/// Integer product of a row of half bytes with signed bytes, or with another such row. Pairs of
/// products are below 2¹⁵, so that nothing saturates.
#[inline]
#[target_feature(enable = "avx2")]
fn dot_halves<const BOTH: bool>(query: &[u8], row: &[u8]) -> i32 {
    let ratio = if BOTH { 1 } else { 2 };
    assert_eq!(query.len(), ratio * row.len());
    let (query, row) = (query.as_chunks::<32>().0, row.as_chunks::<32>().0);
    let (low_half, ones) = (_mm256_set1_epi8(15), _mm256_set1_epi16(1));
    let mut sum = _mm256_setzero_si256();
    for (part, row) in row.iter().enumerate() {
        let (row_low, row_high) = halves(load(row), low_half);
        let (low, high) = if BOTH {
            halves(load(&query[part]), low_half)
        } else {
            // Of each 128 bytes, 0..64 go with the low halves of 64 and 64..128 with the high ones.
            let at = part / 2 * 4 + part % 2;
            (load(&query[at]), load(&query[at + 2]))
        };
        let products = _mm256_add_epi16(
            _mm256_maddubs_epi16(row_low, low),
            _mm256_maddubs_epi16(row_high, high),
        );
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(products, ones));
    }
    sum_whole(sum)
}

/// The sum of the signed bytes whose bit is set: each bit is brought into its byte, which it makes all
/// ones.
#[inline]
#[target_feature(enable = "avx2")]
fn sum_where(query: &[u8], row: &[u8]) -> i32 {
    assert_eq!(query.len(), 8 * row.len());
    let spread =
        _mm256_setr_epi64x(0, 0x0101_0101_0101_0101, 0x0202_0202_0202_0202, 0x0303_0303_0303_0303);
    let place = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64.cast_signed());
    let (one, ones) = (_mm256_set1_epi8(1), _mm256_set1_epi16(1));
    let mut sum = _mm256_setzero_si256();
    for (query, bits) in query.as_chunks::<32>().0.iter().zip(row.as_chunks::<4>().0) {
        let bits = _mm256_set1_epi32(i32::from_le_bytes(*bits));
        let bits = _mm256_and_si256(_mm256_shuffle_epi8(bits, spread), place);
        let set = _mm256_and_si256(_mm256_cmpeq_epi8(bits, place), load(query));
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(one, set), ones));
    }
    sum_whole(sum)
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load(from: &[u8; 32]) -> __m256i {
    // SAFETY: reads the 32 bytes of the array, unaligned.
    unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn halves(bytes: __m256i, low_half: __m256i) -> (__m256i, __m256i) {
    let high = _mm256_srli_epi16::<4>(bytes);
    (_mm256_and_si256(bytes, low_half), _mm256_and_si256(high, low_half))
}

/// Loads eight elements as f32.
pub(crate) trait Load: Copy {
    /// # Safety
    /// The CPU has tier v3.
    unsafe fn load(from: &[Self; LANES]) -> __m256;
}

impl Load for f32 {
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn load(from: &[Self; LANES]) -> __m256 {
        // SAFETY: reads the 32 bytes of the array, unaligned.
        unsafe { _mm256_loadu_ps(from.as_ptr()) }
    }
}

impl Load for f16 {
    #[inline]
    #[target_feature(enable = "avx2,f16c")]
    unsafe fn load(from: &[Self; LANES]) -> __m256 {
        // SAFETY: reads the 16 bytes of the array, unaligned.
        let bits = unsafe { _mm_loadu_si128(from.as_ptr().cast()) };
        _mm256_cvtph_ps(bits)
    }
}

impl Load for u8 {
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn load(from: &[Self; LANES]) -> __m256 {
        // SAFETY: reads the 8 bytes of the array, unaligned.
        let bytes = unsafe { _mm_loadl_epi64(from.as_ptr().cast()) };
        _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes))
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn distance<const L2: bool, Q: Load + Plain, E: Load + Plain>(query: &[Q], row: &[E]) -> f32 {
    assert_eq!(query.len(), row.len());
    let mut sums = [_mm256_setzero_ps(); ACCUMULATORS];
    let (query_blocks, query_rest) = query.as_chunks::<BLOCK>();
    let (row_blocks, row_rest) = row.as_chunks::<BLOCK>();
    for (a, b) in query_blocks.iter().zip(row_blocks) {
        let ((a, _), (b, _)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
        for part in 0..ACCUMULATORS {
            // SAFETY: this function has tier v3.
            let q = unsafe { Q::load(&a[part]) };
            // SAFETY: as above.
            let x = unsafe { E::load(&b[part]) };
            sums[part] = step::<L2>(q, x, sums[part]);
        }
    }
    let (query_lanes, query_tail) = query_rest.as_chunks::<LANES>();
    let (row_lanes, row_tail) = row_rest.as_chunks::<LANES>();
    for ((a, b), sum) in query_lanes.iter().zip(row_lanes).zip(&mut sums) {
        // SAFETY: this function has tier v3.
        let q = unsafe { Q::load(a) };
        // SAFETY: as above.
        let x = unsafe { E::load(b) };
        *sum = step::<L2>(q, x, *sum);
    }
    if !query_tail.is_empty() {
        let (a, b) = (padded(query_tail), padded(row_tail));
        // SAFETY: this function has tier v3.
        let q = unsafe { <f32 as Load>::load(&a) };
        // SAFETY: as above.
        let x = unsafe { <f32 as Load>::load(&b) };
        sums[ACCUMULATORS - 1] = step::<L2>(q, x, sums[ACCUMULATORS - 1]);
    }
    let [a, b, c, d] = sums;
    sum_lanes(_mm256_add_ps(_mm256_add_ps(a, b), _mm256_add_ps(c, d)))
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn step<const L2: bool>(q: __m256, x: __m256, sum: __m256) -> __m256 {
    if L2 {
        let difference = _mm256_sub_ps(q, x);
        _mm256_fmadd_ps(difference, difference, sum)
    } else {
        _mm256_fmadd_ps(q, x, sum)
    }
}

/// Less than eight elements as f32, zero behind them.
#[inline(always)]
fn padded<E: Plain>(tail: &[E]) -> [f32; LANES] {
    let mut lanes = [0.0; LANES];
    for (lane, element) in lanes.iter_mut().zip(tail) {
        *lane = element.to_f32();
    }
    lanes
}

#[inline]
#[target_feature(enable = "avx2")]
fn sum_lanes(lanes: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps::<1>(lanes));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<0b01>(two, two)))
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn sum_whole(sum: __m256i) -> i32 {
    let four = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
    let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b00_00_11_10>(four));
    let one = _mm_add_epi32(two, _mm_shuffle_epi32::<0b00_00_00_01>(two));
    _mm_cvtsi128_si32(one)
}
