//! Rows rounded to bytes: all that a segment keeps of vectors where their raw form is not kept.
//!
//! ```text
//! x ≈ scale · R⁻¹ u     u: whole numbers from −127 to 127, the largest of them ±127; R a random rotation
//! rounded row i at i × stride: its u, a byte each, then zeros; its scale, a bf16, at i × 2
//! ```
//! A row needs nothing but itself, so that it is copied from file to file as it is. The rotation spreads what it
//! holds over all elements, so that the error is of like size whatever the vectors, mostly below a hundredth of the
//! row's length. The scale is rounded first and the u are made for it, so that rounding what was
//! restored gives the same row again.
//!
//! Everything that compares rows stays on the rotated side, where lengths and angles are the same: a
//! [`Space`] of [`Stage::Rounded`](super::full::Stage). Queries are rotated once.

use half::bf16;

use crate::codec::convert::narrow;
use crate::codec::full::Space;
use crate::codec::rotation::Rotation;
use crate::kernel::{self, Isa, Kernel};

/// Draws the rotation.
const SEED: u64 = 0x726f_756e_6465_6400;
const MOST: f32 = 127.0;

/// Rounds rows of f32, and restores them.
#[derive(Clone, Debug)]
pub(crate) struct Rounding {
    given: Space,
    rotation: Rotation,
}

impl Rounding {
    /// Of rows that are given in a space.
    pub(crate) fn new(given: Space) -> Self {
        Self { given, rotation: Rotation::new(given.dimension, SEED) }
    }

    /// Rounds stored rows into `out`, and appends their scales.
    pub(crate) fn round(&self, isa: Isa, rows: &[u8], out: &mut [u8], scales: &mut Vec<bf16>) {
        kernel::run(isa, Round { rounding: self, rows, out, scales });
    }

    /// What a rounded row stands for, as a stored row. The scale is a finite number, at least 0.
    pub(crate) fn restore(&self, isa: Isa, row: &[u8], scale: bf16, out: &mut [u8]) {
        kernel::run(isa, Restore { rounding: self, row, scale, out });
    }

    /// The rotated elements of a query.
    pub(crate) fn rotated(&self, isa: Isa, values: &[f32]) -> Vec<f32> {
        let mut x = values.to_vec();
        let unit = kernel::run(isa, Rotate { rotation: &self.rotation, x: &mut x });
        x.iter_mut().for_each(|x| *x = times(*x, unit));
        x
    }
}

/// A product, held within the finite numbers.
fn times(x: f32, by: f64) -> f32 {
    narrow((f64::from(x) * by).clamp(f64::from(f32::MIN), f64::from(f32::MAX)))
}

/// Rotates numbers after dividing them, exactly, by a power of two, so that sums of them do not overflow. That
/// power.
struct Rotate<'a> {
    rotation: &'a Rotation,
    x: &'a mut [f32],
}

impl kernel::Op for Rotate<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> f64 {
        let Self { rotation, x } = self;
        // The exponent of the largest alone.
        let unit = f64::from_bits(f64::from(largest(x)).to_bits() & 0x7FF0_0000_0000_0000);
        if unit == 0.0 {
            return 1.0;
        }
        x.iter_mut().for_each(|x| *x = narrow(f64::from(*x) / unit));
        rotation.apply(kernel, x);
        unit
    }
}

#[inline(always)]
fn largest(x: &[f32]) -> f32 {
    x.iter().fold(0.0, |largest: f32, x| largest.max(x.abs()))
}

struct Round<'a> {
    rounding: &'a Rounding,
    rows: &'a [u8],
    out: &'a mut [u8],
    scales: &'a mut Vec<bf16>,
}

impl kernel::Op for Round<'_> {
    type Output = ();

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "from -127 to 127")]
    fn run<K: Kernel>(self, kernel: K) {
        let Self { rounding: Rounding { given, rotation }, rows, out, scales } = self;
        let rounded = given.rounded();
        let mut x = vec![0.0; given.dimension];
        let pairs = rows.chunks_exact(given.stride()).zip(out.chunks_exact_mut(rounded.stride()));
        for (row, out) in pairs {
            let floats: &[f32] = crate::bytes::view(row);
            x.copy_from_slice(&floats[..given.dimension]);
            let unit = Rotate { rotation, x: &mut x }.run(kernel);
            let step = f64::from(largest(&x) / MOST);
            let scale = scale(step * unit);
            scales.push(scale);
            // So small that the scale has few bits left, or none: directions are kept all the same.
            let own = if scale.is_normal() { scale.to_f64() / unit } else { step };
            let inverse = if own > 0.0 { narrow(1.0 / own) } else { 0.0 };
            for (out, x) in out.iter_mut().zip(&x) {
                *out = ((x * inverse).round_ties_even().clamp(-MOST, MOST) as i8).cast_unsigned();
            }
            out[given.dimension..].fill(0);
        }
    }
}

/// The nearest scale, held within the finite ones.
fn scale(value: f64) -> bf16 {
    let nearest = bf16::from_f64(value);
    if nearest.is_finite() { nearest } else { bf16::MAX }
}

struct Restore<'a> {
    rounding: &'a Rounding,
    row: &'a [u8],
    scale: bf16,
    out: &'a mut [u8],
}

impl kernel::Op for Restore<'_> {
    type Output = ();

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) {
        let Self { rounding: Rounding { given, rotation }, row, scale, out } = self;
        let levels = row[..given.dimension].iter();
        let mut x: Vec<f32> = levels.map(|u| f32::from(u.cast_signed())).collect();
        rotation.undo(kernel, &mut x);
        out.fill(0);
        for (out, x) in out.as_chunks_mut().0.iter_mut().zip(&x) {
            *out = times(*x, scale.to_f64()).to_le_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::IntoBytes;

    use super::*;
    use crate::bytes::{AlignedBytes, Guarded, view};
    use crate::codec::centre::Centre;
    use crate::codec::full::{FullPairs, FullSource, Query, Rows, Stage, encode_rows, read_row};
    use crate::codec::{PairSource, Pairs, PairsOp, QuerySource, Scorer, ScorerOp};
    use crate::kernel::noise::noise;
    use crate::types::{Metric, Row, VectorType};

    const ROWS: usize = 12;
    const METRICS: [Metric; 3] = [Metric::L2, Metric::Cosine, Metric::Dot];

    fn space(dimension: usize, metric: Metric) -> Space {
        Space { dimension, vector_type: VectorType::F32, metric, stage: Stage::Rounding }
    }

    /// Rows of several kinds: noise, one element that outweighs all others, a common offset, zeros.
    fn rows(dimension: usize, scale: f32) -> Vec<f32> {
        let mut next = noise(3);
        let mut values: Vec<f32> = (0..ROWS * dimension).map(|_| next() * scale).collect();
        for (row, values) in values.chunks_mut(dimension).enumerate() {
            match row % 4 {
                1 => values[row % dimension] = 900.0 * scale,
                2 => values.iter_mut().for_each(|x| *x += 3.0 * scale),
                3 if row > 8 => values.fill(0.0),
                _ => {}
            }
        }
        values
    }

    struct Rounded {
        levels: AlignedBytes,
        scales: Vec<bf16>,
    }

    impl Rounded {
        fn of(rounding: &Rounding, values: &[f32]) -> Self {
            let given = rounding.given;
            let many = values.len() / given.dimension;
            let (stored, _) = encode_rows(given, &values.into(), many).expect("finite");
            let mut levels = AlignedBytes::zeroed(many * given.rounded().stride());
            let mut scales = Vec::new();
            rounding.round(Isa::detect(), stored.as_slice(), levels.as_mut_slice(), &mut scales);
            Self { levels, scales }
        }

        fn restored(&self, rounding: &Rounding) -> Vec<f32> {
            let given = rounding.given;
            let mut all = Vec::new();
            let rows = self.levels.as_slice().chunks_exact(given.rounded().stride());
            for (row, scale) in rows.zip(&self.scales) {
                let mut out = AlignedBytes::zeroed(given.stride());
                rounding.restore(Isa::detect(), row, *scale, out.as_mut_slice());
                all.extend_from_slice(&view::<f32>(out.as_slice())[..given.dimension]);
            }
            all
        }

        fn rows(&self) -> Rows<'_, crate::bytes::Trusted> {
            Rows {
                vectors: Guarded::trusted(self.levels.as_slice()),
                inverse_norms: Guarded::trusted(self.scales.as_bytes()),
            }
        }
    }

    fn dot(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    }

    fn distance(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
        let lengths = (dot(a, a) * dot(b, b)).sqrt();
        match metric {
            Metric::L2 => dot(a, a) + dot(b, b) - 2.0 * dot(a, b),
            Metric::Dot => -dot(a, b),
            _ if lengths == 0.0 => 1.0,
            _ => 1.0 - dot(a, b) / lengths,
        }
    }

    #[test]
    fn what_is_restored_is_near_and_rounds_to_the_same_row_again() {
        for dimension in [1, 2, 3, 5, 7, 17, 64, 100, 384, 769] {
            for scale in [1.0, 1e-30, 1e30] {
                let values = rows(dimension, scale);
                let rounding = Rounding::new(space(dimension, Metric::L2));
                let rounded = Rounded::of(&rounding, &values);
                let restored = rounded.restored(&rounding);
                for (row, restored) in values.chunks(dimension).zip(restored.chunks(dimension)) {
                    let off: Vec<f32> = row.iter().zip(restored).map(|(a, b)| a - b).collect();
                    let part = (dot(&off, &off) / dot(row, row).max(f64::MIN_POSITIVE)).sqrt();
                    assert!(part <= 0.015, "{dimension} {scale}: {part}");
                }
                let again = Rounded::of(&rounding, &restored);
                assert_eq!(again.scales, rounded.scales, "{dimension} {scale}");
                assert!(
                    again.levels.as_slice() == rounded.levels.as_slice(),
                    "{dimension} {scale}"
                );
            }
        }
    }

    #[test]
    fn the_largest_and_the_smallest_numbers_stay_finite_and_keep_their_directions() {
        for value in [f32::MAX, f32::MIN_POSITIVE, 1e-44] {
            let values = [value, -value, 0.0, value];
            let rounding = Rounding::new(space(4, Metric::Cosine));
            let rounded = Rounded::of(&rounding, &values);
            let restored = rounded.restored(&rounding);
            assert!(restored.iter().all(|x| x.is_finite()), "{restored:?}");
            let query = Query::new(rounding.given, &values);
            let query = query.rounded(Isa::detect(), &rounding);
            let source = FullSource { query, rows: rounded.rows() };
            let [distance] = source.run(Isa::detect(), All::<1>);
            assert!(distance < 1e-3, "{value}: {distance}");
        }
    }

    /// Distances to the first rows.
    struct All<const N: usize>;

    impl<const N: usize> ScorerOp for All<N> {
        type Output = [f32; N];

        #[inline(always)]
        fn run<S: Scorer>(self, scorer: S) -> [f32; N] {
            let mut out = [0.0; N];
            scorer.score_run(0, &mut out);
            for (row, one) in (0..).zip(out) {
                assert_eq!(scorer.score_four([row; 4]), [one; 4]);
            }
            out
        }
    }

    struct Of(Row);

    impl PairsOp for Of {
        type Output = [f32; ROWS];

        #[inline(always)]
        fn run<P: Pairs>(self, pairs: P) -> [f32; ROWS] {
            All::<ROWS>.run(pairs.scorer(self.0))
        }
    }

    #[test]
    fn distances_are_those_of_the_restored_rows_on_every_tier() {
        for dimension in [1, 5, 17, 64, 384, 769] {
            for metric in METRICS {
                let values = rows(dimension, 1.0);
                let rounding = Rounding::new(space(dimension, metric));
                let rounded = Rounded::of(&rounding, &values);
                let restored = rounded.restored(&rounding);
                let space = rounding.given.rounded();
                let restored: Vec<&[f32]> = restored.chunks(dimension).collect();
                let longest = restored.iter().map(|row| dot(row, row)).fold(1.0, f64::max);
                let centre = Centre::new(space, rounded.rows(), ROWS);
                for isa in Isa::available() {
                    for asker in 0..ROWS {
                        let query = Query::new(rounding.given, restored[asker]);
                        let query = query.rounded(isa, &rounding);
                        let found =
                            FullSource { query, rows: rounded.rows() }.run(isa, All::<ROWS>);
                        let pairs = FullPairs { space, rows: rounded.rows(), centre: &centre };
                        let of_pairs = pairs.run(isa, Of(asker as Row));
                        for (row, restored_row) in restored.iter().enumerate() {
                            let expected = distance(metric, restored[asker], restored_row);
                            let scale = if metric == Metric::Cosine { 1.0 } else { longest };
                            let what = format!("{dimension} {metric} {asker} {row}");
                            let off = (f64::from(found[row]) - expected).abs();
                            assert!(off <= 1e-5 * scale, "{what}: {} {expected}", found[row]);
                            if metric != Metric::Dot {
                                let off = (f64::from(of_pairs[row]) - expected).abs();
                                assert!(
                                    off <= 1e-5 * scale,
                                    "{what}: {} {expected}",
                                    of_pairs[row]
                                );
                            }
                        }
                    }
                }
                let mut floats = vec![0.0; space.dimension];
                read_row(space, rounded.rows(), 0, &mut floats);
                let length =
                    if metric == Metric::Cosine { 1.0 } else { dot(restored[0], restored[0]) };
                assert!((dot(&floats, &floats) - length).abs() < 1e-5 * length.max(1.0));
            }
        }
    }
}
