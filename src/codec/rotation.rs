//! A random rotation that costs n log n: signs and Hadamard transforms.
//!
//! It spreads what a vector holds over all its elements, so that few levels a element are enough
//! whatever the data. Source: Ailon and Chazelle, "The fast Johnson-Lindenstrauss transform"
//! (2009); lengths that are no power of two take the transform of a power of two at both ends in
//! turn, and a step that mixes the halves (Kac's walk).

/// Rounds of signs, transform and mixing.
const ROUNDS: usize = 4;
/// Elements that are transformed side by side.
const LANES: usize = 16;

/// A rotation of vectors of one length.
#[derive(Clone, Debug)]
pub(super) struct Rotation {
    /// Largest power of two that fits.
    span: usize,
    /// ±1, `ROUNDS` times the length.
    signs: Vec<f32>,
    length: usize,
}

impl Rotation {
    /// The rotation of vectors of an even `length` that `seed` draws.
    pub(super) fn new(length: usize, seed: u64) -> Self {
        let mut state = seed;
        let signs = (0..ROUNDS * length).map(|_| {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut mixed = state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            if mixed >> 63 == 0 { 1.0 } else { -1.0 }
        });
        let span = if length < 2 { 1 } else { 1 << length.ilog2() };
        Self { span, signs: signs.collect(), length }
    }

    /// Rotates `x`, of the rotation's length.
    #[inline(always)]
    pub(super) fn apply(&self, x: &mut [f32]) {
        let rest = self.length - self.span;
        #[expect(clippy::cast_precision_loss, reason = "a power of two")]
        let scale = 1.0 / (self.span as f32).sqrt();
        for (round, signs) in self.signs.chunks_exact(self.length.max(1)).enumerate() {
            for (x, sign) in x.iter_mut().zip(signs) {
                *x *= sign;
            }
            let start = if round % 2 == 0 { 0 } else { rest };
            let part = &mut x[start..start + self.span];
            transform(part);
            for x in part {
                *x *= scale;
            }
            if rest > 0 {
                let (left, right) = x.split_at_mut(self.length / 2);
                for (a, b) in left.iter_mut().zip(right) {
                    let (sum, difference) = (*a + *b, *a - *b);
                    *a = sum * std::f32::consts::FRAC_1_SQRT_2;
                    *b = difference * std::f32::consts::FRAC_1_SQRT_2;
                }
            }
        }
    }
}

/// The Hadamard transform of a power of two of elements, unscaled.
#[inline(always)]
fn transform(x: &mut [f32]) {
    let (blocks, rest) = x.as_chunks_mut::<LANES>();
    for block in blocks {
        step::<1>(block);
        step::<2>(block);
        step::<4>(block);
        step::<8>(block);
    }
    // Fewer elements than lanes are all of them; else nothing is left.
    let mut half = if rest.is_empty() { LANES } else { 1 };
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

/// Sums and differences of the elements `HALF` apart, all lanes at once: as pairs, they would not be
/// computed side by side.
#[inline(always)]
fn step<const HALF: usize>(x: &mut [f32; LANES]) {
    let (mut left, mut right) = ([0.0; LANES], [0.0; LANES]);
    for lane in 0..LANES {
        left[lane] = x[lane & !HALF];
        // Lanes of differences take what sums add as negative, which changes no bit.
        right[lane] = if lane & HALF == 0 { x[lane | HALF] } else { -x[lane | HALF] };
    }
    for lane in 0..LANES {
        x[lane] = left[lane] + right[lane];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transform_has_the_bits_of_pairs_one_after_the_other() {
        for length in [1, 2, 4, 8, 16, 32, 64, 512] {
            let mut x: Vec<f32> = (0..length).map(|i| (i as f32 * 1.7).sin()).collect();
            let mut expected = x.clone();
            transform(&mut x);
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
            assert_eq!(x, expected, "{length}");
        }
    }

    #[test]
    fn lengths_and_angles_are_kept_and_one_element_spreads() {
        for length in [2, 4, 6, 50, 128, 384, 768, 784] {
            let rotation = Rotation::new(length, 7);
            let mut a = vec![0.0; length];
            let mut b: Vec<f32> = (0..length).map(|i| (i as f32).sin()).collect();
            a[0] = 1.0;
            let before: f32 = b.iter().map(|x| x * x).sum();
            let dot = b[0];
            rotation.apply(&mut a);
            rotation.apply(&mut b);
            let after: f32 = b.iter().map(|x| x * x).sum();
            assert!((after - before).abs() < 1e-4 * before, "{length}");
            let turned: f32 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
            assert!((turned - dot).abs() < 1e-4, "{length}");
            if length >= 50 {
                assert!(a.iter().all(|x| x.abs() < 0.6), "{length}");
            }
        }
    }
}
