//! Products of all rows of one panel with all rows of another. A panel is sixteen rows of bytes laid
//! out by columns: of each row four bytes, row after row, then the next four of each.
//!
//! A step multiplies four bytes of one row with those of all sixteen of the other panel, so that the
//! sums of sixteen pairs fill the lanes of a vector: nothing is added up across lanes.

use super::CODE_BYTES;

/// Rows of a panel.
pub(crate) const PANEL_ROWS: usize = 16;
/// Bytes of a row that lie together.
pub(crate) const PANEL_BYTES: usize = CODE_BYTES / PANEL_ROWS;

/// A line for each row of the first panel.
pub(crate) type Products = [[i32; PANEL_ROWS]; PANEL_ROWS];

#[inline(always)]
pub(super) fn products(a: &[[u8; CODE_BYTES]], b: &[[u8; CODE_BYTES]]) -> Products {
    assert_eq!(a.len(), b.len());
    let mut sums = [[0; PANEL_ROWS]; PANEL_ROWS];
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (a.as_chunks::<PANEL_BYTES>().0, b.as_chunks::<PANEL_BYTES>().0);
        for (sums, a) in sums.iter_mut().zip(a) {
            for (sum, b) in sums.iter_mut().zip(b) {
                for (a, b) in a.iter().zip(b) {
                    *sum += i32::from(a.cast_signed()) * i32::from(*b);
                }
            }
        }
    }
    sums
}

#[cfg(target_arch = "x86_64")]
pub(super) mod v3 {
    use core::arch::x86_64::*;

    use super::super::v3::load;
    use super::{CODE_BYTES, PANEL_BYTES, PANEL_ROWS, Products};

    /// Vectors of eight lanes that sixteen rows take, two lanes each.
    const PARTS: usize = 4;
    /// Rows of the first panel at a time: their sums fill half of the registers.
    const TOGETHER: usize = 2;

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(in super::super) fn products(a: &[[u8; CODE_BYTES]], b: &[[u8; CODE_BYTES]]) -> Products {
        assert_eq!(a.len(), b.len());
        let mut out = [[0; PANEL_ROWS]; PANEL_ROWS];
        for (first, out) in (0..).step_by(TOGETHER).zip(out.chunks_exact_mut(TOGETHER)) {
            let mut sums = [[_mm256_setzero_si256(); PARTS]; TOGETHER];
            for (a, b) in a.iter().zip(b) {
                let (a, b) = (a.as_chunks::<PANEL_BYTES>().0, b.as_chunks::<32>().0);
                let halves = [load(&b[0]), load(&b[1])];
                for (row, sums) in sums.iter_mut().enumerate() {
                    let four = _mm_set1_epi32(i32::from_le_bytes(a[first + row]));
                    let four = _mm256_cvtepi8_epi16(four);
                    for (part, sum) in sums.iter_mut().enumerate() {
                        let half = halves[part / 2];
                        let bytes = if part % 2 == 0 {
                            _mm256_castsi256_si128(half)
                        } else {
                            _mm256_extracti128_si256::<1>(half)
                        };
                        let products = _mm256_madd_epi16(_mm256_cvtepu8_epi16(bytes), four);
                        *sum = _mm256_add_epi32(*sum, products);
                    }
                }
            }
            for (sums, out) in sums.iter().zip(out) {
                for (sum, out) in sums.iter().zip(out.as_chunks_mut::<4>().0) {
                    // The two lanes of each row, next to each other.
                    let lanes = _mm256_hadd_epi32(*sum, *sum);
                    let low = _mm256_castsi256_si128(lanes);
                    let high = _mm256_extracti128_si256::<1>(lanes);
                    let four = _mm_unpacklo_epi64(low, high);
                    // SAFETY: writes the 16 bytes of the array, unaligned.
                    unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), four) };
                }
            }
        }
        out
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) mod v4 {
    use core::arch::x86_64::*;

    use super::super::v4::load;
    use super::{CODE_BYTES, PANEL_BYTES, PANEL_ROWS, Products};

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub(in super::super) fn products(a: &[[u8; CODE_BYTES]], b: &[[u8; CODE_BYTES]]) -> Products {
        assert_eq!(a.len(), b.len());
        let mut sums = [_mm512_setzero_si512(); PANEL_ROWS];
        for (a, b) in a.iter().zip(b) {
            let (fours, _) = a.as_chunks::<PANEL_BYTES>();
            let b = load(b);
            for row in 0..PANEL_ROWS {
                let four = _mm512_set1_epi32(i32::from_le_bytes(fours[row]));
                sums[row] = _mm512_dpbusd_epi32(sums[row], b, four);
            }
        }
        let mut out = [[0; PANEL_ROWS]; PANEL_ROWS];
        for (sum, out) in sums.iter().zip(&mut out) {
            // SAFETY: writes the 64 bytes of the array, unaligned.
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), *sum) };
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{Isa, Kernel, Op, run};

    struct AllPairs<'a>(&'a [[u8; CODE_BYTES]], &'a [[u8; CODE_BYTES]]);

    impl Op for AllPairs<'_> {
        type Output = Products;

        #[inline(always)]
        fn run<K: Kernel>(self, kernel: K) -> Products {
            kernel.panel_products(self.0, self.1)
        }
    }

    #[test]
    fn every_tier_multiplies_all_pairs() {
        let mut next = crate::kernel::noise::bits(1);
        // Bytes of each row, and what they are: noise, or the extremes, which saturate sums of 16 bits.
        for (steps, extreme) in [(0, false), (1, false), (3, false), (96, false), (16_384, true)] {
            let mut panel = |byte: u8| -> Vec<[u8; CODE_BYTES]> {
                let mut draw = || if extreme { byte } else { (next() >> 56) as u8 };
                (0..steps).map(|_| std::array::from_fn(|_| draw())).collect()
            };
            let (a, b) = (panel(128), panel(255));
            let row = |panel: &[[u8; CODE_BYTES]], row: usize| -> Vec<u8> {
                let fours = panel.iter().map(|step| &step[row * PANEL_BYTES..][..PANEL_BYTES]);
                fours.flatten().copied().collect()
            };
            for isa in Isa::available() {
                let products = run(isa, AllPairs(&a, &b));
                for (i, line) in products.iter().enumerate() {
                    for (j, product) in line.iter().enumerate() {
                        let (a, b) = (row(&a, i), row(&b, j));
                        let pairs = a.iter().zip(&b);
                        let expected: i32 =
                            pairs.map(|(a, b)| i32::from(*a as i8) * i32::from(*b)).sum();
                        assert_eq!(*product, expected, "{} {steps} {i} {j}", isa.name());
                    }
                }
            }
        }
    }
}
