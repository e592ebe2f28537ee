//! Sums over blocks of one-bit codes on tier v3: 32 lookups a shuffle, added in 16 bits, and in 32
//! before those could overflow.

use core::arch::x86_64::*;

use super::CODE_BYTES;
use super::fast_scan::BLOCK_ROWS;

/// A lane of 16 bits takes two bytes a chunk: so many are below 2¹⁶.
const WIDEN: usize = 128;

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn sums(table: &[u8], block: &[u8]) -> [u32; BLOCK_ROWS] {
    assert_eq!(table.len(), block.len());
    let (tables, _) = table.as_chunks::<CODE_BYTES>();
    let (chunks, _) = block.as_chunks::<CODE_BYTES>();
    let mut sums = [_mm256_setzero_si256(); 4];
    for (tables, chunks) in tables.chunks(WIDEN).zip(chunks.chunks(WIDEN)) {
        add(tables, chunks, &mut sums);
    }
    let mut out = [0; BLOCK_ROWS];
    let (parts, _) = out.as_chunks_mut::<8>();
    for part in 0..4 {
        // SAFETY: writes the 32 bytes of the array, unaligned.
        unsafe { _mm256_storeu_si256(parts[part].as_mut_ptr().cast(), sums[part]) };
    }
    out
}

/// Adds a few chunks to the sums of rows 0..8, 8..16, 16..24 and 24..32.
#[inline]
#[target_feature(enable = "avx2")]
fn add(tables: &[[u8; CODE_BYTES]], chunks: &[[u8; CODE_BYTES]], sums: &mut [__m256i; 4]) {
    let low_half = _mm256_set1_epi8(15);
    // Of the rows in low and in high halves: whole lanes, and the odd rows alone.
    let mut whole = [_mm256_setzero_si256(); 2];
    let mut odd = [_mm256_setzero_si256(); 2];
    for (table, chunk) in tables.iter().zip(chunks) {
        let (table, _) = table.as_chunks::<32>();
        let (chunk, _) = chunk.as_chunks::<32>();
        for part in 0..2 {
            let (table, codes) = (load(&table[part]), load(&chunk[part]));
            let low = _mm256_and_si256(codes, low_half);
            let high = _mm256_and_si256(_mm256_srli_epi16::<4>(codes), low_half);
            let low = _mm256_shuffle_epi8(table, low);
            let high = _mm256_shuffle_epi8(table, high);
            whole[0] = _mm256_add_epi16(whole[0], low);
            whole[1] = _mm256_add_epi16(whole[1], high);
            odd[0] = _mm256_add_epi16(odd[0], _mm256_srli_epi16::<8>(low));
            odd[1] = _mm256_add_epi16(odd[1], _mm256_srli_epi16::<8>(high));
        }
    }
    for half in 0..2 {
        // What the odd rows have added to the even ones' lanes is taken off again, modulo 2¹⁶.
        let even = _mm256_sub_epi16(whole[half], _mm256_slli_epi16::<8>(odd[half]));
        let (even, odd) = (widened(even), widened(odd[half]));
        let (low, high) = (_mm256_unpacklo_epi32(even, odd), _mm256_unpackhi_epi32(even, odd));
        let first = _mm256_permute2x128_si256::<0x20>(low, high);
        let second = _mm256_permute2x128_si256::<0x31>(low, high);
        sums[2 * half] = _mm256_add_epi32(sums[2 * half], first);
        sums[2 * half + 1] = _mm256_add_epi32(sums[2 * half + 1], second);
    }
}

/// The two groups of a vector added in 32 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn widened(sums: __m256i) -> __m256i {
    let first = _mm256_cvtepu16_epi32(_mm256_castsi256_si128(sums));
    let second = _mm256_cvtepu16_epi32(_mm256_extracti128_si256::<1>(sums));
    _mm256_add_epi32(first, second)
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn at_most<const N: usize>(values: &[f32; N], bound: f32) -> u32 {
    let bound = _mm256_set1_ps(bound);
    let mut mask = 0;
    for (part, values) in values.as_chunks::<8>().0.iter().enumerate() {
        // SAFETY: reads the 32 bytes of the array, unaligned.
        let values = unsafe { _mm256_loadu_ps(values.as_ptr()) };
        let below = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LE_OQ>(values, bound));
        mask |= below.cast_unsigned() << (8 * part);
    }
    mask
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(from: &[u8; 32]) -> __m256i {
    // SAFETY: reads the 32 bytes of the array, unaligned.
    unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
}
