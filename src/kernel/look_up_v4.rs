//! Sums of lookups on tier v4: a permutation of bytes looks 64 rows up in half a table.

use core::arch::x86_64::*;

use super::CODE_BYTES;
use super::look_up::{ENTRIES, Planes, ROWS};

/// Codes of a row taken at a time, and groups of as many rows.
const TAKEN: usize = 8;
const _: () = assert!(TAKEN * TAKEN == ROWS && ROWS == CODE_BYTES);
/// Blocks of codes after which sums of 16 bits are taken out: 256 times 255 fits.
const BLOCKS: usize = 32;

/// Where the bytes of eight rows of eight codes go, so that those of a code are side by side.
const BY_CODE: [u8; CODE_BYTES] = by_code();

const fn by_code() -> [u8; CODE_BYTES] {
    let mut from = [0; CODE_BYTES];
    let mut at = 0_u8;
    while (at as usize) < CODE_BYTES {
        from[at as usize] = at % 8 * 8 + at / 8;
        at += 1;
    }
    from
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
pub(super) fn sums(planes: &[Planes], rows: &[&[u8]; ROWS]) -> [u32; ROWS] {
    for row in rows {
        assert_eq!(planes.len(), row.len());
    }
    let mut sums = [0; ROWS];
    for (at, planes) in planes.chunks(TAKEN * BLOCKS).enumerate() {
        let mut both = [[_mm512_setzero_si512(); 2]; 2];
        for (block, planes) in planes.chunks(TAKEN).enumerate() {
            let codes = by_codes(rows, TAKEN * (BLOCKS * at + block), planes.len());
            for (planes, codes) in planes.iter().zip(codes) {
                for (sums, plane) in both.iter_mut().zip(planes) {
                    let found = look_up(plane, codes);
                    let even = _mm512_and_si512(found, _mm512_set1_epi16(255));
                    sums[0] = _mm512_add_epi16(sums[0], even);
                    sums[1] = _mm512_add_epi16(sums[1], _mm512_srli_epi16::<8>(found));
                }
            }
        }
        let [low, high] = both.map(|sums| sums.map(|sums| words(sums)));
        for (pair, sums) in sums.as_chunks_mut::<2>().0.iter_mut().enumerate() {
            for (side, sum) in sums.iter_mut().enumerate() {
                *sum += u32::from(low[side][pair]) + (u32::from(high[side][pair]) << 8);
            }
        }
    }
    sums
}

/// Of each code from `first` on, `count` of them, those of all rows; anything behind them.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn by_codes(rows: &[&[u8]; ROWS], first: usize, count: usize) -> [__m512i; TAKEN] {
    let by_code = load(&BY_CODE);
    let (groups, _) = rows.as_chunks::<TAKEN>();
    let mut z = [_mm512_setzero_si512(); TAKEN];
    for (z, rows) in z.iter_mut().zip(groups) {
        let mut bytes = [0; CODE_BYTES];
        for (bytes, row) in bytes.as_chunks_mut::<TAKEN>().0.iter_mut().zip(rows) {
            match row[first..].first_chunk() {
                Some(codes) => *bytes = *codes,
                None => bytes[..count].copy_from_slice(&row[first..]),
            }
        }
        *z = _mm512_permutexvar_epi8(by_code, load(&bytes));
    }
    // Now a square of eight bytes each, to be turned over.
    let low = |at: usize| _mm512_unpacklo_epi64(z[at], z[at + 1]);
    let high = |at: usize| _mm512_unpackhi_epi64(z[at], z[at + 1]);
    let [v0, v2, v4, v6] = turn([low(0), low(2), low(4), low(6)]);
    let [v1, v3, v5, v7] = turn([high(0), high(2), high(4), high(6)]);
    [v0, v1, v2, v3, v4, v5, v6, v7]
}

/// A square of sixteen bytes each, turned over.
#[inline]
#[target_feature(enable = "avx512f")]
fn turn([t0, t1, t2, t3]: [__m512i; 4]) -> [__m512i; 4] {
    let (a, b) = (_mm512_shuffle_i64x2::<0x44>(t0, t1), _mm512_shuffle_i64x2::<0xEE>(t0, t1));
    let (c, d) = (_mm512_shuffle_i64x2::<0x44>(t2, t3), _mm512_shuffle_i64x2::<0xEE>(t2, t3));
    [
        _mm512_shuffle_i64x2::<0x88>(a, c),
        _mm512_shuffle_i64x2::<0xDD>(a, c),
        _mm512_shuffle_i64x2::<0x88>(b, d),
        _mm512_shuffle_i64x2::<0xDD>(b, d),
    ]
}

/// The entries of `plane` that the bytes of `codes` name.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn look_up(plane: &[u8; ENTRIES], codes: __m512i) -> __m512i {
    let (parts, _) = plane.as_chunks::<CODE_BYTES>();
    let low = _mm512_permutex2var_epi8(load(&parts[0]), codes, load(&parts[1]));
    let high = _mm512_permutex2var_epi8(load(&parts[2]), codes, load(&parts[3]));
    _mm512_mask_blend_epi8(_mm512_movepi8_mask(codes), low, high)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(from: &[u8; CODE_BYTES]) -> __m512i {
    // SAFETY: reads the 64 bytes of the array, unaligned.
    unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn words(sums: __m512i) -> [u16; ROWS / 2] {
    let mut out = [0; ROWS / 2];
    // SAFETY: writes the 64 bytes of the array, unaligned.
    unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), sums) };
    out
}
