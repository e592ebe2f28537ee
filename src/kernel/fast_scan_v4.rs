//! Sums over blocks of one-bit codes on tier v4: 64 lookups an instruction, four of which a dot
//! product adds up.

use core::arch::x86_64::*;

use super::CODE_BYTES;
use super::fast_scan::BLOCK_ROWS;

const LEN: u8 = 64;
const _: () = assert!(LEN as usize == CODE_BYTES);

/// Where the bytes of a chunk go, so that the four groups of a row are side by side.
const BY_ROW: [u8; CODE_BYTES] = by_row();
/// Which of the four lookups of a table each byte then makes.
const GROUP: [u8; CODE_BYTES] = group();

const fn by_row() -> [u8; CODE_BYTES] {
    let mut from = [0; CODE_BYTES];
    let mut at = 0;
    while at < LEN {
        from[at as usize] = at % 4 * 16 + at / 4;
        at += 1;
    }
    from
}

const fn group() -> [u8; CODE_BYTES] {
    let mut group = [0; CODE_BYTES];
    let mut at = 0;
    while at < LEN {
        group[at as usize] = at % 4 * 16;
        at += 1;
    }
    group
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi")]
pub(super) fn sums(table: &[u8], block: &[u8]) -> [u32; BLOCK_ROWS] {
    assert_eq!(table.len(), block.len());
    let (tables, _) = table.as_chunks::<CODE_BYTES>();
    let (by_row, group) = (load(&BY_ROW), load(&GROUP));
    let (low_half, ones) = (_mm512_set1_epi8(15), _mm512_set1_epi8(1));
    let (mut low_sums, mut high_sums) = (_mm512_setzero_si512(), _mm512_setzero_si512());
    for (table, chunk) in tables.iter().zip(block.as_chunks::<CODE_BYTES>().0) {
        let (table, codes) = (load(table), _mm512_permutexvar_epi8(by_row, load(chunk)));
        // (codes & 15) | group
        let low = _mm512_ternarylogic_epi32::<0xF8>(group, codes, low_half);
        let high = _mm512_srli_epi16::<4>(codes);
        let high = _mm512_ternarylogic_epi32::<0xF8>(group, high, low_half);
        low_sums = _mm512_dpbusd_epi32(low_sums, _mm512_permutexvar_epi8(low, table), ones);
        high_sums = _mm512_dpbusd_epi32(high_sums, _mm512_permutexvar_epi8(high, table), ones);
    }
    let mut out = [0; BLOCK_ROWS];
    let (low, high) = out.split_at_mut(BLOCK_ROWS / 2);
    store(low_sums, low);
    store(high_sums, high);
    out
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn at_most<const N: usize>(values: &[f32; N], bound: f32) -> u32 {
    let bound = _mm512_set1_ps(bound);
    let mut mask = 0;
    for (part, values) in values.as_chunks::<16>().0.iter().enumerate() {
        // SAFETY: reads the 64 bytes of the array, unaligned.
        let values = unsafe { _mm512_loadu_ps(values.as_ptr()) };
        mask |= u32::from(_mm512_cmp_ps_mask::<_CMP_LE_OQ>(values, bound)) << (16 * part);
    }
    mask
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(from: &[u8; CODE_BYTES]) -> __m512i {
    // SAFETY: reads the 64 bytes of the array, unaligned.
    unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(sums: __m512i, out: &mut [u32]) {
    let (out, _) = out.as_chunks_mut::<16>();
    if let [out] = out {
        // SAFETY: writes the 64 bytes of the array, unaligned.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), sums) };
    }
}
