//! A random rotation that costs n log n: signs and Hadamard transforms.
//!
//! It spreads what a vector holds over all its elements, so that few levels a element are enough
//! whatever the data. Source: Ailon and Chazelle, "The fast Johnson-Lindenstrauss transform"
//! (2009); lengths that are no power of two take the transform of a power of two at both ends in
//! turn, and a step that mixes the halves (Kac's walk).

use crate::kernel::Kernel;

/// Rounds of signs, transform and mixing.
const ROUNDS: usize = 4;

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
    /// The rotation of vectors of a `length` that `seed` draws.
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
    pub(super) fn apply<K: Kernel>(&self, kernel: K, x: &mut [f32]) {
        for (round, signs) in self.signs.chunks_exact(self.length.max(1)).enumerate() {
            for (x, sign) in x.iter_mut().zip(signs) {
                *x *= sign;
            }
            self.transform(kernel, round, x);
            self.mix(x);
        }
    }

    /// The inverse of [`apply`](Self::apply): each of its steps undoes itself.
    #[inline(always)]
    pub(super) fn undo<K: Kernel>(&self, kernel: K, x: &mut [f32]) {
        for (round, signs) in self.signs.chunks_exact(self.length.max(1)).enumerate().rev() {
            self.mix(x);
            self.transform(kernel, round, x);
            for (x, sign) in x.iter_mut().zip(signs) {
                *x *= sign;
            }
        }
    }

    /// The transform of one end, at its length.
    #[inline(always)]
    fn transform<K: Kernel>(&self, kernel: K, round: usize, x: &mut [f32]) {
        #[expect(clippy::cast_precision_loss, reason = "a power of two")]
        let scale = 1.0 / (self.span as f32).sqrt();
        let start = if round.is_multiple_of(2) { 0 } else { self.length - self.span };
        let part = &mut x[start..start + self.span];
        kernel.hadamard(part);
        for x in part {
            *x *= scale;
        }
    }

    /// Mixes the halves, unless the transform is of all elements; an odd one at the end stays out.
    #[inline(always)]
    fn mix(&self, x: &mut [f32]) {
        if self.length == self.span {
            return;
        }
        let (left, right) = x.split_at_mut(self.length / 2);
        for (a, b) in left.iter_mut().zip(right) {
            let (sum, difference) = (*a + *b, *a - *b);
            *a = sum * std::f32::consts::FRAC_1_SQRT_2;
            *b = difference * std::f32::consts::FRAC_1_SQRT_2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{self, Isa, Op};

    struct Apply<'a>(&'a Rotation, &'a mut [f32]);
    struct Undo<'a>(&'a Rotation, &'a mut [f32]);

    impl Op for Apply<'_> {
        type Output = ();

        #[inline(always)]
        fn run<K: Kernel>(self, kernel: K) {
            self.0.apply(kernel, self.1);
        }
    }

    impl Op for Undo<'_> {
        type Output = ();

        #[inline(always)]
        fn run<K: Kernel>(self, kernel: K) {
            self.0.undo(kernel, self.1);
        }
    }

    #[test]
    fn lengths_and_angles_are_kept_and_one_element_spreads() {
        for length in [2, 3, 4, 6, 7, 50, 99, 128, 384, 768, 784] {
            let rotation = Rotation::new(length, 7);
            let mut a = vec![0.0; length];
            let mut b: Vec<f32> = (0..length).map(|i| (i as f32).sin()).collect();
            a[0] = 1.0;
            let before: f32 = b.iter().map(|x| x * x).sum();
            let dot = b[0];
            kernel::run(Isa::detect(), Apply(&rotation, &mut a));
            kernel::run(Isa::detect(), Apply(&rotation, &mut b));
            let after: f32 = b.iter().map(|x| x * x).sum();
            assert!((after - before).abs() < 1e-4 * before, "{length}");
            let mut back = b.clone();
            kernel::run(Isa::detect(), Undo(&rotation, &mut back));
            let off = back.iter().enumerate().map(|(i, x)| (x - (i as f32).sin()).abs());
            assert!(off.fold(0.0, f32::max) < 1e-5, "{length}");
            let turned: f32 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
            assert!((turned - dot).abs() < 1e-4, "{length}");
            if length >= 50 {
                assert!(a.iter().all(|x| x.abs() < 0.6), "{length}");
            }
        }
    }
}
