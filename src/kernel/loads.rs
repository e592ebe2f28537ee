//! bf16 and signed bytes as f32, for kernels that sum in floats.

use core::arch::x86_64::*;

use half::bf16;

use super::{v3, v4};

/// A bf16 is the upper half of an f32.
impl v3::Load for bf16 {
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn load(from: &[Self; v3::LANES]) -> __m256 {
        // SAFETY: reads the 16 bytes of the array, unaligned.
        let bits = unsafe { _mm_loadu_si128(from.as_ptr().cast()) };
        _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(bits)))
    }
}

impl v3::Load for i8 {
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn load(from: &[Self; v3::LANES]) -> __m256 {
        // SAFETY: reads the 8 bytes of the array, unaligned.
        let bytes = unsafe { _mm_loadl_epi64(from.as_ptr().cast()) };
        _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes))
    }
}

impl v4::Load for bf16 {
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn load(from: &[Self; v4::LANES]) -> __m512 {
        // SAFETY: reads the 32 bytes of the array, unaligned.
        let bits = unsafe { _mm256_loadu_si256(from.as_ptr().cast()) };
        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(bits)))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn load_tail(from: &[Self]) -> __m512 {
        // SAFETY: the mask keeps the load inside the slice.
        let bits = unsafe { _mm256_maskz_loadu_epi16(v4::first(from.len()), from.as_ptr().cast()) };
        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(bits)))
    }
}

impl v4::Load for i8 {
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn load(from: &[Self; v4::LANES]) -> __m512 {
        // SAFETY: reads the 16 bytes of the array, unaligned.
        let bytes = unsafe { _mm_loadu_si128(from.as_ptr().cast()) };
        _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn load_tail(from: &[Self]) -> __m512 {
        // SAFETY: the mask keeps the load inside the slice.
        let bytes = unsafe { _mm_maskz_loadu_epi8(v4::first(from.len()), from.as_ptr()) };
        _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes))
    }
}
