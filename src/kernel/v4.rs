//! Tier v4: AVX-512 F, BW, DQ, VL, VNNI, VBMI, BITALG and VPOPCNTDQ. Sixteen f32 lanes, four accumulators a row.

use core::arch::x86_64::*;

use half::f16;
use zerocopy::IntoBytes;

use super::fast_scan::BLOCK_ROWS;
use super::look_up::{Planes, ROWS};
use super::panel::{self, Products};
use super::{CODE_BYTES, Kernel, Op, bits, fast_scan_v4, hadamard, look_up_v4, v3, whole};

pub(super) const LANES: usize = 16;
const ACCUMULATORS: usize = 4;
const BLOCK: usize = LANES * ACCUMULATORS;

/// Runs `op` with the tier's instructions.
#[target_feature(
    enable = "avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni",
    enable = "avx512vbmi,avx512bitalg,avx512vpopcntdq"
)]
pub(super) fn root<O: Op>(op: O) -> O::Output {
    op.run(V4(()))
}

/// Exists only under [`root`], and so proves the tier.
#[derive(Clone, Copy, Debug)]
pub(super) struct V4(());

impl Kernel for V4 {
    #[inline(always)]
    fn l2<Q: super::Element, E: super::Element, const R: usize>(
        self,
        query: &[Q],
        rows: [&[E]; R],
    ) -> [f32; R] {
        // SAFETY: `self` proves the tier.
        unsafe { distances::<true, Q, E, R>(query, rows) }
    }

    #[inline(always)]
    fn dot<Q: super::Element, E: super::Element, const R: usize>(
        self,
        query: &[Q],
        rows: [&[E]; R],
    ) -> [f32; R] {
        // SAFETY: `self` proves the tier.
        unsafe { distances::<false, Q, E, R>(query, rows) }
    }

    #[inline(always)]
    fn l2_bytes<const R: usize>(self, query: &[u8], rows: [&[u8]; R]) -> [u32; R] {
        // SAFETY: `self` proves the tier.
        unsigned(unsafe { whole::v4::l2::<false, R>(query, rows) })
    }

    #[inline(always)]
    fn dot_bytes<const R: usize>(self, query: &[u8], rows: [&[u8]; R]) -> [u32; R] {
        // SAFETY: `self` proves the tier.
        unsigned(unsafe { whole::v4::dot::<false, R>(query, rows) })
    }

    #[inline(always)]
    fn l2_signed_bytes<const R: usize>(self, query: &[i8], rows: [&[i8]; R]) -> [u32; R] {
        // SAFETY: `self` proves the tier.
        unsigned(unsafe { whole::v4::l2::<true, R>(query.as_bytes(), bytes(rows)) })
    }

    #[inline(always)]
    fn dot_signed_bytes<const R: usize>(self, query: &[i8], rows: [&[i8]; R]) -> [i32; R] {
        // SAFETY: `self` proves the tier.
        unsafe { whole::v4::dot::<true, R>(query.as_bytes(), bytes(rows)) }
    }

    #[inline(always)]
    fn hamming<const R: usize>(self, query: &[u8], rows: [&[u8]; R]) -> [u32; R] {
        // SAFETY: `self` proves the tier.
        let [differing, _] = unsafe { bits::v4::count::<{ bits::DIFFERING }, R>(query, rows) };
        differing
    }

    #[inline(always)]
    fn overlap<const R: usize>(self, query: &[u8], rows: [&[u8]; R]) -> [[u32; R]; 2] {
        // SAFETY: `self` proves the tier.
        unsafe { bits::v4::count::<{ bits::OVERLAP }, R>(query, rows) }
    }

    #[inline(always)]
    fn dot_signed<const R: usize>(self, query: &[u8], rows: [&[u8]; R]) -> [i32; R] {
        // SAFETY: `self` proves the tier.
        unsafe { dot_codes::<SIGNED, R>(query, rows) }
    }

    #[inline(always)]
    fn dot_offset<const R: usize>(self, query: &[u8], rows: [&[u8]; R]) -> [i32; R] {
        // SAFETY: `self` proves the tier.
        unsafe { dot_codes::<OFFSET, R>(query, rows) }
    }

    #[inline(always)]
    fn dot_halves<const R: usize>(self, query: &[u8], rows: [&[u8]; R]) -> [i32; R] {
        // SAFETY: `self` proves the tier.
        unsafe { dot_codes::<HALVES, R>(query, rows) }
    }

    #[inline(always)]
    fn dot_both_halves<const R: usize>(self, query: &[u8], rows: [&[u8]; R]) -> [i32; R] {
        // SAFETY: `self` proves the tier.
        unsafe { dot_codes::<BOTH_HALVES, R>(query, rows) }
    }

    #[inline(always)]
    fn sum_where<const R: usize>(self, query: &[u8], rows: [&[u8]; R]) -> [i32; R] {
        // SAFETY: `self` proves the tier.
        unsafe { sum_where(query, rows) }
    }

    #[inline(always)]
    fn hadamard(self, x: &mut [f32]) {
        // SAFETY: `self` proves the tier.
        unsafe { hadamard::v4::transform(x) }
    }

    #[inline(always)]
    fn look_up_many(self, planes: &[Planes], rows: &[&[u8]; ROWS]) -> [u32; ROWS] {
        // SAFETY: `self` proves the tier.
        unsafe { look_up_v4::sums(planes, rows) }
    }

    #[inline(always)]
    fn panel_products(self, a: &[[u8; CODE_BYTES]], b: &[[u8; CODE_BYTES]]) -> Products {
        // SAFETY: `self` proves the tier.
        unsafe { panel::v4::products(a, b) }
    }

    #[inline(always)]
    fn fast_scan(self, table: &[u8], block: &[u8]) -> [u32; BLOCK_ROWS] {
        // SAFETY: `self` proves the tier.
        unsafe { fast_scan_v4::sums(table, block) }
    }

    #[inline(always)]
    fn at_most<const N: usize>(self, values: &[f32; N], bound: f32) -> u32 {
        // SAFETY: `self` proves the tier.
        unsafe { fast_scan_v4::at_most(values, bound) }
    }

    #[inline(always)]
    fn low_bits(self, bytes: &[u8; 32]) -> u32 {
        // SAFETY: `self` proves the tier.
        unsafe { v3::low_bits(bytes) }
    }
}

#[inline(always)]
fn unsigned<const R: usize>(sums: [i32; R]) -> [u32; R] {
    let mut out = [0; R];
    for r in 0..R {
        out[r] = sums[r].cast_unsigned();
    }
    out
}

#[inline(always)]
fn bytes<const R: usize>(rows: [&[i8]; R]) -> [&[u8]; R] {
    let mut out: [&[u8]; R] = [&[]; R];
    for r in 0..R {
        out[r] = rows[r].as_bytes();
    }
    out
}

// What the query of `dot_codes` holds.
const SIGNED: u8 = 0;
const OFFSET: u8 = 1;
const HALVES: u8 = 2;
const BOTH_HALVES: u8 = 3;

/// Integer products of codes: 64 bytes of a row a step, unsigned, with signed bytes of the query,
/// which is loaded once for all rows. Four products fit a lane without saturation.
///
/// Forced into its caller, which the compiler would not do by itself: a call for four rows costs as
/// much as their products.
///
/// # Safety
/// The CPU has tier v4.
#[inline(always)]
#[expect(clippy::multiple_unsafe_ops_per_block, reason = "instructions of one tier")]
unsafe fn dot_codes<const QUERY: u8, const R: usize>(query: &[u8], rows: [&[u8]; R]) -> [i32; R] {
    let ratio = if QUERY == HALVES { 2 } else { 1 };
    let mut blocks: [&[[u8; CODE_BYTES]]; R] = [&[]; R];
    let (query, _) = query.as_chunks::<CODE_BYTES>();
    let count = query.len() / ratio;
    for r in 0..R {
        (blocks[r], _) = rows[r].as_chunks();
        assert_eq!(blocks[r].len(), count);
    }
    // SAFETY: the caller has the tier.
    unsafe {
        let (low_half, sign) = (_mm512_set1_epi8(15), _mm512_set1_epi8(i8::MIN));
        let mut sums = [_mm512_setzero_si512(); R];
        for block in 0..count {
            let first = load(&query[block * ratio]);
            let (low, high) = match QUERY {
                SIGNED => (first, first),
                OFFSET => (_mm512_xor_si512(first, sign), first),
                HALVES => (first, load(&query[block * 2 + 1])),
                _ => halves(first, low_half),
            };
            for r in 0..R {
                // A closure over the rows would not be inlined with the tier's instructions.
                let row = load(&blocks[r][block]);
                if QUERY == SIGNED || QUERY == OFFSET {
                    sums[r] = _mm512_dpbusd_epi32(sums[r], row, low);
                } else {
                    let (row_low, row_high) = halves(row, low_half);
                    sums[r] = _mm512_dpbusd_epi32(sums[r], row_low, low);
                    sums[r] = _mm512_dpbusd_epi32(sums[r], row_high, high);
                }
            }
        }
        sum_each(sums)
    }
}

/// Sums of the signed bytes whose bit is set: 64 a step, which bits mask.
///
/// # Safety
/// The CPU has tier v4.
#[inline(always)]
#[expect(clippy::multiple_unsafe_ops_per_block, reason = "instructions of one tier")]
unsafe fn sum_where<const R: usize>(query: &[u8], rows: [&[u8]; R]) -> [i32; R] {
    let mut bits: [&[[u8; 8]]; R] = [&[]; R];
    for r in 0..R {
        assert_eq!(query.len(), 8 * rows[r].len());
        (bits[r], _) = rows[r].as_chunks();
    }
    let (query, _) = query.as_chunks::<CODE_BYTES>();
    // SAFETY: the caller has the tier.
    unsafe {
        let one = _mm512_set1_epi8(1);
        let mut sums = [_mm512_setzero_si512(); R];
        for block in 0..query.len() {
            let query = load(&query[block]);
            for r in 0..R {
                let set = _mm512_maskz_mov_epi8(u64::from_le_bytes(bits[r][block]), query);
                sums[r] = _mm512_dpbusd_epi32(sums[r], one, set);
            }
        }
        sum_each(sums)
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn load(from: &[u8; CODE_BYTES]) -> __m512i {
    // SAFETY: reads the 64 bytes of the array, unaligned.
    unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
}

/// Less than 64 bytes, zero behind them.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn load_first(from: &[u8]) -> __m512i {
    debug_assert!(from.len() < CODE_BYTES);
    let mask = !(u64::MAX << (from.len() % CODE_BYTES));
    // SAFETY: the mask keeps the load inside the slice.
    unsafe { _mm512_maskz_loadu_epi8(mask, from.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn halves(bytes: __m512i, low_half: __m512i) -> (__m512i, __m512i) {
    let high = _mm512_srli_epi16::<4>(bytes);
    (_mm512_and_si512(bytes, low_half), _mm512_and_si512(high, low_half))
}

/// The sum of the lanes of each; four at once take half the steps of four alone.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn sum_each<const R: usize>(sums: [__m512i; R]) -> [i32; R] {
    let mut out = [0; R];
    if let ([a, b, c, d], 4) = (&sums[..], R) {
        let ab = _mm512_add_epi32(_mm512_unpacklo_epi32(*a, *b), _mm512_unpackhi_epi32(*a, *b));
        let cd = _mm512_add_epi32(_mm512_unpacklo_epi32(*c, *d), _mm512_unpackhi_epi32(*c, *d));
        let all = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
        let half =
            _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64::<1>(all));
        let quarter =
            _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half));
        let mut four = [0; 4];
        // SAFETY: writes the 16 bytes of the array, unaligned.
        unsafe { _mm_storeu_si128(four.as_mut_ptr().cast(), quarter) };
        out.copy_from_slice(&four);
        return out;
    }
    for r in 0..R {
        out[r] = _mm512_reduce_add_epi32(sums[r]);
    }
    out
}

/// Loads sixteen elements as f32.
pub(crate) trait Load: Copy {
    /// # Safety
    /// The CPU has tier v4.
    unsafe fn load(from: &[Self; LANES]) -> __m512;

    /// The first `from.len()` (below sixteen) lanes, zero behind them.
    ///
    /// # Safety
    /// The CPU has tier v4.
    unsafe fn load_tail(from: &[Self]) -> __m512;
}

/// A mask of the first `len` lanes, where `len` is below 16.
#[inline(always)]
pub(super) fn first(len: usize) -> u16 {
    debug_assert!(len < LANES);
    !(u16::MAX << (len & (LANES - 1)))
}

impl Load for f32 {
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn load(from: &[Self; LANES]) -> __m512 {
        // SAFETY: reads the 64 bytes of the array, unaligned.
        unsafe { _mm512_loadu_ps(from.as_ptr()) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn load_tail(from: &[Self]) -> __m512 {
        // SAFETY: the mask keeps the load inside the slice.
        unsafe { _mm512_maskz_loadu_ps(first(from.len()), from.as_ptr()) }
    }
}

impl Load for f16 {
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn load(from: &[Self; LANES]) -> __m512 {
        // SAFETY: reads the 32 bytes of the array, unaligned.
        let bits = unsafe { _mm256_loadu_si256(from.as_ptr().cast()) };
        _mm512_cvtph_ps(bits)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn load_tail(from: &[Self]) -> __m512 {
        // SAFETY: the mask keeps the load inside the slice.
        let bits = unsafe { _mm256_maskz_loadu_epi16(first(from.len()), from.as_ptr().cast()) };
        _mm512_cvtph_ps(bits)
    }
}

impl Load for u8 {
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn load(from: &[Self; LANES]) -> __m512 {
        // SAFETY: reads the 16 bytes of the array, unaligned.
        let bytes = unsafe { _mm_loadu_si128(from.as_ptr().cast()) };
        _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn load_tail(from: &[Self]) -> __m512 {
        // SAFETY: the mask keeps the load inside the slice.
        let bytes = unsafe { _mm_maskz_loadu_epi8(first(from.len()), from.as_ptr().cast()) };
        _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes))
    }
}

/// Distances of `R` rows; the query is loaded once for all of them.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn distances<const L2: bool, Q: Load, E: Load, const R: usize>(
    query: &[Q],
    rows: [&[E]; R],
) -> [f32; R] {
    for row in rows {
        assert_eq!(query.len(), row.len());
    }
    let mut sums = [[_mm512_setzero_ps(); ACCUMULATORS]; R];
    let (blocks, rest) = query.as_chunks::<BLOCK>();
    for (index, block) in blocks.iter().enumerate() {
        let (lanes, _) = block.as_chunks::<LANES>();
        for part in 0..ACCUMULATORS {
            // SAFETY: this function has tier v4.
            let q = unsafe { Q::load(&lanes[part]) };
            for r in 0..R {
                let (lanes, _) = rows[r].as_chunks::<LANES>();
                // SAFETY: this function has tier v4.
                let x = unsafe { E::load(&lanes[index * ACCUMULATORS + part]) };
                sums[r][part] = step::<L2>(q, x, sums[r][part]);
            }
        }
    }
    let (lanes, tail) = rest.as_chunks::<LANES>();
    let done = blocks.len() * ACCUMULATORS;
    for (part, block) in lanes.iter().enumerate() {
        // SAFETY: this function has tier v4.
        let q = unsafe { Q::load(block) };
        for r in 0..R {
            let (lanes, _) = rows[r].as_chunks::<LANES>();
            // SAFETY: this function has tier v4.
            let x = unsafe { E::load(&lanes[done + part]) };
            sums[r][part] = step::<L2>(q, x, sums[r][part]);
        }
    }
    // Unconditional masked loads would cost more than half again on short vectors.
    if !tail.is_empty() {
        // SAFETY: this function has tier v4.
        let q = unsafe { Q::load_tail(tail) };
        for r in 0..R {
            let (_, tail) = rows[r].as_chunks::<LANES>();
            // SAFETY: this function has tier v4.
            let x = unsafe { E::load_tail(tail) };
            sums[r][ACCUMULATORS - 1] = step::<L2>(q, x, sums[r][ACCUMULATORS - 1]);
        }
    }
    let mut out = [0.0; R];
    for r in 0..R {
        let [a, b, c, d] = sums[r];
        out[r] = _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(a, b), _mm512_add_ps(c, d)));
    }
    out
}

#[inline]
#[target_feature(enable = "avx512f")]
fn step<const L2: bool>(q: __m512, x: __m512, sum: __m512) -> __m512 {
    if L2 {
        let difference = _mm512_sub_ps(q, x);
        _mm512_fmadd_ps(difference, difference, sum)
    } else {
        _mm512_fmadd_ps(q, x, sum)
    }
}
