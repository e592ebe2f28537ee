//! Codecs from rows: axes, how they are shared out, centroids. The same bits on every tier, from any
//! number of threads.

use super::axes::{principal, share};
use super::crew::{Crew, Piece};
use super::{BYTE, COMPARED, MOST_DIMENSION, MOST_SUBSPACES, ProductCodec, Width, subspaces_in};
use crate::bytes::Guard;
use crate::codec::full::{self, Rows, Space};
use crate::error::Result;

/// Rows learnt from, and most bytes of them.
const SAMPLE: usize = 1 << 13;
const SAMPLE_BYTES: usize = 64 << 20;
/// Rows below which centroids would be the rows themselves.
const LEAST_ROWS: usize = 8 * BYTE;
/// Axes looked for, for each byte of a code.
const AXES_PER_BYTE: usize = 8;
/// Rows projected at a time.
const PROJECTED: usize = 256;
/// Draws the centroids that k-means starts from.
const SEED: u64 = 0x0063_656e_7472_6573;

/// How many subspaces codes of `bytes` bytes a row have; `None` where there can be no such codes.
pub(super) fn subspaces(width: Width, bytes: usize, space: Space, count: usize) -> Option<usize> {
    let subspaces = subspaces_in(bytes, width, space);
    let fits = space.takes_codes()
        && (1..=MOST_SUBSPACES).contains(&subspaces)
        && subspaces * width.bits() <= 8 * space.dimension
        && space.dimension <= MOST_DIMENSION
        && count >= LEAST_ROWS;
    fits.then_some(subspaces)
}

/// Most axes that the codes of so many subspaces are made by.
pub(super) fn most_axes(width: Width, subspaces: usize) -> usize {
    AXES_PER_BYTE * (subspaces * width.bits()).div_ceil(8)
}

/// Rows spread evenly over all, relative to `mean`.
pub(super) fn sample<G: Guard>(
    space: Space,
    rows: Rows<'_, G>,
    count: usize,
    mean: &[f32],
) -> Vec<f32> {
    let most = SAMPLE_BYTES / (space.dimension * size_of::<f32>());
    let many = SAMPLE.min(most).min(count);
    let mut sample = vec![0.0; many * space.dimension];
    for (at, out) in sample.chunks_exact_mut(space.dimension).enumerate() {
        full::read_row(space, rows, at * count / many, out);
        out.iter_mut().zip(mean).for_each(|(x, mean)| *x -= mean);
    }
    sample
}

/// The codec of so many subspaces; `None` where all rows of the sample are the same.
pub(super) fn learn(
    crew: &Crew<'_>,
    (width, subspaces): (Width, usize),
    space: Space,
    mean: Vec<f32>,
    sample: Vec<f32>,
) -> Result<Option<ProductCodec>> {
    let length = space.dimension;
    let Some(scaled) = scaled(&sample) else { return Ok(None) };
    let wanted = most_axes(width, subspaces);
    let (mut axes, variances) = principal(crew, &scaled, length, wanted)?;
    drop(scaled);
    let shares = share(&variances, subspaces, width.bits());
    let Some(last) = shares.iter().flatten().max() else { return Ok(None) };
    axes.truncate((last + 1) * length);
    let pieces: Vec<_> = sample
        .chunks(PROJECTED * length)
        .map(|rows| Piece::Project { rows, axes: &axes, length })
        .collect();
    let points = crew.join(&pieces)?;
    drop(sample);
    let mut starts = vec![0];
    starts.extend(shares.iter().scan(0, |end, share| {
        *end += share.len();
        Some(*end)
    }));
    let centroids = centroids(crew, width, points, last + 1, &shares)?;
    let (members, compared) = (shares.concat(), COMPARED[0]);
    let finite = centroids.iter().all(|value| value.is_finite());
    let codec = ProductCodec { space, width, mean, members, starts, axes, centroids, compared };
    Ok(finite.then_some(codec))
}

/// The centroids of each share of the axes of `points`, which lie along `count` of them.
fn centroids(
    crew: &Crew<'_>,
    width: Width,
    mut points: Vec<f32>,
    count: usize,
    shares: &[Vec<usize>],
) -> Result<Vec<f32>> {
    let mut centroids = Vec::new();
    let mut rest = shares;
    while !rest.is_empty() {
        // Until an axis comes again, of which it is not known yet what is left.
        let mut met = vec![false; count];
        let again =
            |share: &Vec<usize>| share.iter().any(|axis| std::mem::replace(&mut met[*axis], true));
        let many = rest.iter().position(again).unwrap_or(rest.len());
        let (now, later) = rest.split_at(many);
        let of_share = |share: &Vec<usize>| -> Vec<f32> {
            let point = |point: &[f32]| share.iter().map(|axis| point[*axis]).collect::<Vec<_>>();
            points.chunks_exact(count).flat_map(point).collect()
        };
        let parts: Vec<Vec<f32>> = now.iter().map(of_share).collect();
        let pieces: Vec<_> = now
            .iter()
            .zip(&parts)
            .map(|(share, points)| Piece::Centroids {
                points,
                axes: share.len(),
                width,
                seed: SEED,
            })
            .collect();
        for (share, learnt) in now.iter().zip(crew.run(&pieces)?) {
            let (found, left) = learnt.split_at(share.len() * width.centroids());
            centroids.extend_from_slice(found);
            for (point, left) in points.chunks_exact_mut(count).zip(left.chunks_exact(share.len()))
            {
                share.iter().zip(left).for_each(|(axis, left)| point[*axis] = *left);
            }
        }
        rest = later;
    }
    Ok(centroids)
}

/// The elements in a scale that keeps their squares within f32; `None` where all are nothing.
fn scaled(x: &[f32]) -> Option<Vec<f32>> {
    let scale = 1.0 / x.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    (scale.is_normal()).then(|| x.iter().map(|x| x * scale).collect())
}
