//! Codecs from rows: axes, how they are shared out, centroids. The same bits on every tier.

use super::axes::{principal, products, share};
use super::{
    BYTE, COMPARED, HALF, MOST_DIMENSION, MOST_SUBSPACES, ProductCodec, Width, kmeans, project,
    subspaces_in,
};
use crate::bytes::Guard;
use crate::codec::full::{self, Rows, Space};
use crate::kernel::{self, Kernel};

/// Rows learnt from, and most bytes of them.
const SAMPLE: usize = 1 << 13;
const SAMPLE_BYTES: usize = 64 << 20;
/// Rows below which centroids would be the rows themselves.
const LEAST_ROWS: usize = 8 * BYTE;
/// Axes looked for, for each byte of a code.
const AXES_PER_BYTE: usize = 8;
/// Draws the centroids that k-means starts from.
const SEED: u64 = 0x0063_656e_7472_6573;

/// Makes a codec, inside a kernel root.
pub(super) struct Train<'r, G> {
    pub(super) width: Width,
    pub(super) bytes: usize,
    pub(super) space: Space,
    pub(super) rows: Rows<'r, G>,
    pub(super) count: usize,
}

impl<G: Guard> kernel::Op for Train<'_, G> {
    type Output = Option<ProductCodec>;

    #[inline(always)]
    fn run<K: Kernel>(self, _kernel: K) -> Option<ProductCodec> {
        let Self { width, bytes, space, count, .. } = self;
        let subspaces = subspaces_in(bytes, width, space);
        let dimension = space.dimension;
        let fits = space.takes_codes()
            && (1..=MOST_SUBSPACES.min(dimension)).contains(&subspaces)
            && dimension <= MOST_DIMENSION
            && count >= LEAST_ROWS;
        if !fits {
            return None;
        }
        let mean = full::mean(space, self.rows, count);
        let sample = self.sample(&mean);
        let square = products(&scaled(&sample)?, dimension);
        let (principal, variances) = principal(&square, dimension, AXES_PER_BYTE * bytes);
        let shares = share(&variances, subspaces, width.bits());
        if shares.is_empty() {
            return None;
        }
        let (mut starts, mut axes) = (vec![0], Vec::new());
        for share in &shares {
            for axis in share {
                axes.extend_from_slice(&principal[axis * dimension..][..dimension]);
            }
            starts.push(axes.len() / dimension);
        }
        let mut codec = ProductCodec {
            space,
            width,
            mean,
            starts,
            axes,
            centroids: Vec::new(),
            compared: COMPARED[0],
        };
        let stride = codec.axis_count();
        let mut points = vec![0.0; sample.len() / dimension * stride];
        for (row, point) in sample.chunks_exact(dimension).zip(points.chunks_exact_mut(stride)) {
            project(row, &codec.axes, point);
        }
        drop(sample);
        let mut centroids = Vec::with_capacity(stride * width.centroids());
        for axes in codec.subspaces() {
            let (points, count) = (&points[axes.start..], axes.len());
            centroids.extend(match width {
                Width::Byte => kmeans::centroids::<BYTE>(points, stride, count, SEED),
                Width::Half => kmeans::centroids::<HALF>(points, stride, count, SEED),
            });
        }
        codec.centroids = centroids;
        codec.centroids.iter().all(|value| value.is_finite()).then_some(codec)
    }
}

impl<G: Guard> Train<'_, G> {
    /// Rows spread evenly over all, relative to `mean`.
    fn sample(&self, mean: &[f32]) -> Vec<f32> {
        let Self { space, rows, count, .. } = self;
        let most = SAMPLE_BYTES / (space.dimension * size_of::<f32>());
        let many = SAMPLE.min(most).min(*count);
        let mut sample = vec![0.0; many * space.dimension];
        for (at, out) in sample.chunks_exact_mut(space.dimension).enumerate() {
            full::read_row(*space, *rows, at * count / many, out);
            out.iter_mut().zip(mean).for_each(|(x, mean)| *x -= mean);
        }
        sample
    }
}

/// The elements in a scale that keeps their squares within f32; `None` where all are nothing.
#[inline(always)]
fn scaled(x: &[f32]) -> Option<Vec<f32>> {
    let scale = 1.0 / x.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    (scale.is_normal()).then(|| x.iter().map(|x| x * scale).collect())
}
