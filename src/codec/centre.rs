//! Inner products as distances, so that graphs can be built on them.

use crate::bytes::Guard;
use crate::codec::convert::{inverse, narrow, squared_norm};
use crate::codec::full::{self, Rows, Space};
use crate::types::Metric;

/// Rows relative to their mean μ, which takes the same from all inner products of a query. The distance of two is
/// 1 − ⟨x − μ, y − μ⟩/M², M the longest of these, between 0 and 2: each is linked with those that have the largest
/// inner products with it, long ones mostly, as queries look for. Empty for other metrics.
///
/// Source: Morozov and Babenko, "Non-metric similarity graphs for maximum inner product search" (2018); the mean is
/// ours.
#[derive(Debug, Default)]
pub(crate) struct Centre {
    /// 1/M.
    pub(super) inverse_longest: f32,
    /// (⟨x, μ⟩ − ‖μ‖²/2)/M² of each row: the distance is 1 − ⟨x, y⟩/M² and that of both.
    pub(super) offsets: Vec<f32>,
}

/// Where all rows lie so near their mean, in squares, numbers of 32 bits do not tell them apart beside it.
const LEAST_SPREAD: f64 = 1e-4;

/// Rows looked at for their mean.
const MEAN_ROWS: usize = 1 << 16;

/// The mean of the first `count` of `rows`, or of a sample where they are many; of the rows at length 1
/// for cosine.
pub(crate) fn mean<G: Guard>(space: Space, rows: Rows<'_, G>, count: usize) -> Vec<f32> {
    let step = count.div_ceil(MEAN_ROWS).max(1);
    let mut sums = vec![0.0_f64; space.dimension];
    let mut row_floats = vec![0.0; space.dimension];
    let mut taken = 0.0_f64;
    for row in (0..count).step_by(step) {
        full::read_row(space, rows, row, &mut row_floats);
        for (sum, value) in sums.iter_mut().zip(&row_floats) {
            *sum += f64::from(*value);
        }
        taken += 1.0;
    }
    sums.into_iter().map(|sum| narrow(sum / taken.max(1.0))).collect()
}

impl Centre {
    /// The offsets, and 1/M.
    pub(super) fn parts(&self) -> (&[f32], f32) {
        (&self.offsets, self.inverse_longest)
    }

    /// Reads the first `count` rows twice, if the metric needs it.
    pub(crate) fn new<G: Guard>(space: Space, rows: Rows<'_, G>, count: usize) -> Self {
        if space.metric != Metric::Dot {
            return Self::default();
        }
        let mean = mean(space, rows, count);
        let own: f64 = mean.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
        let mut row = vec![0.0; space.dimension];
        let mut parts = Vec::with_capacity(count);
        let (mut longest, mut spread) = (0.0_f64, 0.0_f64);
        for at in 0..count {
            let stride = space.stride();
            let scale = if space.is_rounded() { f64::from(rows.scale(at)) } else { 1.0 };
            let square = scale * scale * squared_norm(space, rows.vectors.get(at * stride, stride));
            full::read_row(space, rows, at, &mut row);
            let along: f64 =
                row.iter().zip(&mean).map(|(x, m)| f64::from(*x) * f64::from(*m)).sum();
            longest = longest.max(square);
            spread = spread.max(square - 2.0 * along + own);
            parts.push(along - own / 2.0);
        }
        if !(own.is_finite() && spread > LEAST_SPREAD * longest) {
            return Self { inverse_longest: inverse(longest.sqrt()), offsets: vec![0.0; count] };
        }
        let offsets = parts.iter().map(|part| narrow(part / spread)).collect();
        Self { inverse_longest: inverse(spread.sqrt()), offsets }
    }
}
