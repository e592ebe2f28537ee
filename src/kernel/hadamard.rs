//! The Hadamard transform, in place and unscaled: sums and differences of elements 1 apart, then of
//! those 2, 4, … apart. The same bits on every tier: each element is one sum a level.

/// The levels from elements `half` apart on, of a power of two of elements.
#[inline(always)]
pub(super) fn pairs(x: &mut [f32], mut half: usize) {
    while half < x.len() {
        for pair in x.chunks_exact_mut(2 * half) {
            let (left, right) = pair.split_at_mut(half);
            for (a, b) in left.iter_mut().zip(right) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half *= 2;
    }
}

/// Tier v3: the levels within eight lanes, each lane plus its partner, or the partner less the lane.
#[cfg(target_arch = "x86_64")]
pub(super) mod v3 {
    use core::arch::x86_64::*;

    const LANES: usize = 8;

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(in crate::kernel) fn transform(x: &mut [f32]) {
        if x.len() < LANES {
            return super::pairs(x, 1);
        }
        let one = _mm256_setr_ps(0.0, -0.0, 0.0, -0.0, 0.0, -0.0, 0.0, -0.0);
        let two = _mm256_setr_ps(0.0, 0.0, -0.0, -0.0, 0.0, 0.0, -0.0, -0.0);
        let four = _mm256_setr_ps(0.0, 0.0, 0.0, 0.0, -0.0, -0.0, -0.0, -0.0);
        for block in x.as_chunks_mut::<LANES>().0 {
            // SAFETY: reads the 32 bytes of the block, unaligned.
            let mut v = unsafe { _mm256_loadu_ps(block.as_ptr()) };
            v = _mm256_add_ps(_mm256_permute_ps::<0b10_11_00_01>(v), _mm256_xor_ps(v, one));
            v = _mm256_add_ps(_mm256_permute_ps::<0b01_00_11_10>(v), _mm256_xor_ps(v, two));
            v = _mm256_add_ps(_mm256_permute2f128_ps::<1>(v, v), _mm256_xor_ps(v, four));
            // SAFETY: writes the 32 bytes of the block, unaligned.
            unsafe { _mm256_storeu_ps(block.as_mut_ptr(), v) };
        }
        super::pairs(x, LANES);
    }
}

/// Tier v4: the levels within sixteen lanes.
#[cfg(target_arch = "x86_64")]
pub(super) mod v4 {
    use core::arch::x86_64::*;

    const LANES: usize = 16;

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(in crate::kernel) fn transform(x: &mut [f32]) {
        if x.len() < LANES {
            return super::pairs(x, 1);
        }
        for block in x.as_chunks_mut::<LANES>().0 {
            // SAFETY: reads the 64 bytes of the block, unaligned.
            let mut v = unsafe { _mm512_loadu_ps(block.as_ptr()) };
            v = pair(v, _mm512_permute_ps::<0b10_11_00_01>(v), 0b1010_1010_1010_1010);
            v = pair(v, _mm512_permute_ps::<0b01_00_11_10>(v), 0b1100_1100_1100_1100);
            v = pair(v, _mm512_shuffle_f32x4::<0b10_11_00_01>(v, v), 0b1111_0000_1111_0000);
            v = pair(v, _mm512_shuffle_f32x4::<0b01_00_11_10>(v, v), 0b1111_1111_0000_0000);
            // SAFETY: writes the 64 bytes of the block, unaligned.
            unsafe { _mm512_storeu_ps(block.as_mut_ptr(), v) };
        }
        super::pairs(x, LANES);
    }

    /// Each lane plus its partner or, where `less` is set, the partner less the lane.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn pair(v: __m512, partner: __m512, less: __mmask16) -> __m512 {
        _mm512_mask_sub_ps(_mm512_add_ps(partner, v), less, partner, v)
    }
}

#[cfg(test)]
mod tests {
    use crate::kernel::noise::noise;
    use crate::kernel::{Isa, Kernel, Op, run};

    struct Transform<'a>(&'a mut [f32]);

    impl Op for Transform<'_> {
        type Output = ();

        #[inline(always)]
        fn run<K: Kernel>(self, kernel: K) {
            kernel.hadamard(self.0);
        }
    }

    fn bits(x: &[f32]) -> Vec<u32> {
        x.iter().map(|x| x.to_bits()).collect()
    }

    #[test]
    fn every_tier_has_the_bits_of_pairs_one_after_the_other() {
        for length in [1, 2, 4, 8, 16, 32, 64, 512, 4096] {
            let mut next = noise(length as u64);
            let mut x: Vec<f32> = (0..length).map(|_| next()).collect();
            // Zeros of both signs, equal neighbours, and numbers below the normal ones.
            let ends = [0.0, -0.0, -0.0, -0.0, 0.5, 0.5, 1e-40, -1e-40];
            x.iter_mut().zip(ends).for_each(|(x, end)| *x = end);
            let mut expected = x.clone();
            let mut half = 1;
            while half < length {
                for start in (0..length).step_by(2 * half) {
                    for at in start..start + half {
                        let (a, b) = (expected[at], expected[at + half]);
                        (expected[at], expected[at + half]) = (a + b, a - b);
                    }
                }
                half *= 2;
            }
            for isa in Isa::available() {
                let mut x = x.clone();
                run(isa, Transform(&mut x));
                assert_eq!(bits(&x), bits(&expected), "{length} {}", isa.name());
            }
        }
    }
}
