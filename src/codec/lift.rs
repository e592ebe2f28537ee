//! Inner products as distances on a sphere, so that graphs can be built on them.

use crate::bytes::Guard;
use crate::codec::convert::{inverse, narrow, squared_norm};
use crate::codec::full::{Rows, Space};
use crate::types::Metric;

/// What rows lack to one common length, so that the nearest by inner product are the nearest in
/// space: with a further element `√(M² − ‖x‖²)`, M the longest norm, all rows lie on a sphere.
/// Graphs of inner products are built there; among the raw ones, everything would link to the
/// longest rows. Empty for other metrics.
///
/// Source: Bachrach et al., "Speeding up the Xbox recommender system using a Euclidean
/// transformation for inner-product spaces" (2014). Lengths are divided by M.
#[derive(Debug, Default)]
pub(crate) struct Lift {
    pub(super) inverse_longest: f32,
    /// The further element, a row each.
    pub(super) heights: Vec<f32>,
}

impl Lift {
    /// The further elements, and 1/M.
    pub(super) fn parts(&self) -> (&[f32], f32) {
        (&self.heights, self.inverse_longest)
    }

    /// Reads the first `count` rows, if the metric needs it.
    pub(crate) fn new<G: Guard>(space: Space, rows: Rows<'_, G>, count: usize) -> Self {
        if space.metric != Metric::Dot {
            return Self::default();
        }
        let stride = space.stride();
        let squares: Vec<f64> = (0..count)
            .map(|row| squared_norm(space, rows.vectors.get(row * stride, stride)))
            .collect();
        let longest = squares.iter().copied().fold(0.0, f64::max);
        let height =
            |square: &f64| narrow((1.0 - square / longest.max(f64::MIN_POSITIVE)).max(0.0).sqrt());
        Self {
            inverse_longest: inverse(longest.sqrt()),
            heights: squares.iter().map(height).collect(),
        }
    }
}
