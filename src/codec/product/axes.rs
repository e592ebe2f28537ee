//! The principal axes of rows, and which subspace each belongs to. The same bits on every tier.

use std::ops::Range;

use super::crew::{Crew, Piece};
use super::kmeans::bits;
use super::{dots, project};
use crate::error::Result;

/// Times that the axes are turned towards the principal ones. Those that are not there yet lie among
/// others along which rows differ as much, where it does not matter.
const TURNS: usize = 8;
/// What centroids along one axis leave of a variance, beyond what as many bits could: its logarithm.
const LOST: f64 = 1.44;
/// Axes looked for beside those that are wanted, which come out less exact.
const SPARE: usize = 8;

/// Axes and elements taken at a time.
const AT_A_TIME: usize = 32;

/// `Σ xᵢ xⱼ` over rows of `length` elements, for each `i` of `some` with all `j` from the first of them
/// on.
#[inline(always)]
pub(super) fn products(rows: &[f32], length: usize, some: Range<usize>) -> Vec<f32> {
    let first = some.start;
    let width = length - first;
    let mut square = vec![0.0; some.len() * width];
    // By fours, so that the square is read and written a quarter as often. Rows behind the last four
    // are too few to tell.
    for four in rows.chunks_exact(4 * length) {
        let (low, high) = four.split_at(2 * length);
        let ((a, b), (c, d)) = (low.split_at(length), high.split_at(length));
        let (a, b, c, d) = (&a[first..], &b[first..], &c[first..], &d[first..]);
        for (i, out) in square.chunks_exact_mut(width).enumerate() {
            let (a_i, b_i, c_i, d_i) = (a[i], b[i], c[i], d[i]);
            let others = a.iter().zip(b).zip(c.iter().zip(d));
            for (out, ((a, b), (c, d))) in out.iter_mut().zip(others) {
                *out += (a_i * a + b_i * b) + (c_i * c + d_i * d);
            }
        }
    }
    square
}

/// `Σ xᵢ yᵢ` of each of `xs` with each of `ys`.
#[inline(always)]
pub(super) fn all_dots(xs: &[f32], ys: &[f32], length: usize) -> Vec<f32> {
    let count = ys.len() / length;
    let mut out = vec![0.0; xs.len() / length * count];
    // A few of `ys` at a time are in the nearest cache for all of `xs`.
    for (block, ys) in ys.chunks(4 * length).enumerate() {
        for (x, out) in xs.chunks_exact(length).zip(out.chunks_exact_mut(count)) {
            project(x, ys, &mut out[4 * block..][..ys.len() / length]);
        }
    }
    out
}

/// `Σ xᵢ xⱼ` over all rows of `length` elements, as a square.
fn square(crew: &Crew<'_>, rows: &[f32], length: usize) -> Result<Vec<f32>> {
    let firsts = (0..length).step_by(AT_A_TIME);
    let piece = |first: usize| {
        let end = length.min(first + AT_A_TIME);
        Piece::Products { rows, length, first, end }
    };
    let bands = crew.run(&firsts.clone().map(piece).collect::<Vec<_>>())?;
    let mut square = vec![0.0; length * length];
    for (first, band) in firsts.zip(bands) {
        for (i, line) in (first..).zip(band.chunks_exact(length - first)) {
            square[i * length + first..][..line.len()].copy_from_slice(line);
        }
    }
    for i in 0..length {
        for j in i + 1..length {
            square[j * length + i] = square[i * length + j];
        }
    }
    Ok(square)
}

/// At most `wanted` axes of length 1 along which `rows` of `length` elements differ most, by descending
/// variance, and the variances, by orthogonal iteration.
pub(super) fn principal(
    crew: &Crew<'_>,
    rows: &[f32],
    length: usize,
    wanted: usize,
) -> Result<(Vec<f32>, Vec<f32>)> {
    let square = square(crew, rows, length)?;
    let count = wanted.saturating_add(SPARE).min(length);
    let mut state = 0x6178_6573;
    let mut axes: Vec<f32> =
        (0..count * length).map(|_| if bits(&mut state) >> 63 == 0 { 1.0 } else { -1.0 }).collect();
    orthonormalize(crew, &mut axes, length)?;
    let turn = |axes: &[f32]| {
        let some = axes.chunks(AT_A_TIME * length);
        crew.join(&some.map(|xs| Piece::Dots { xs, ys: &square, length }).collect::<Vec<_>>())
    };
    for _ in 0..TURNS {
        axes = turn(&axes)?;
        orthonormalize(crew, &mut axes, length)?;
    }
    let turned = turn(&axes)?;
    let mut by_variance: Vec<(f32, usize)> = Vec::with_capacity(count);
    for (at, (axis, turned)) in
        axes.chunks_exact(length).zip(turned.chunks_exact(length)).enumerate()
    {
        let [variance] = dots(axis, [turned]);
        by_variance.push((variance.max(0.0), at));
    }
    by_variance.sort_by(|a, b| b.0.total_cmp(&a.0));
    by_variance.truncate(wanted);
    let sorted = by_variance.iter().flat_map(|(_, at)| &axes[at * length..][..length]);
    let variances = by_variance.iter().map(|(variance, _)| *variance).collect();
    Ok((sorted.copied().collect(), variances))
}

/// Makes the axes orthogonal, and of length 1, or 0 where nothing is left of one.
fn orthonormalize(crew: &Crew<'_>, axes: &mut [f32], length: usize) -> Result<()> {
    for first in (0..axes.len()).step_by(AT_A_TIME * length) {
        let (before, some) = axes.split_at_mut(first);
        let some_len = some.len().min(AT_A_TIME * length);
        let some = &mut some[..some_len];
        // Twice, as what is left the first time may be as small as its rounding.
        for _ in 0..2 {
            let pieces: Vec<_> =
                some.chunks(length).map(|axes| Piece::Clear { axes, before, length }).collect();
            let cleared = crew.join(&pieces)?;
            some.copy_from_slice(&crew.join(&[Piece::Orthonormal { axes: &cleared, length }])?);
        }
    }
    Ok(())
}

/// Each of `axes` less what it has of those `before`, which are orthonormal.
#[inline(always)]
pub(super) fn clear(axes: &[f32], before: &[f32], length: usize) -> Vec<f32> {
    let mut axes = axes.to_vec();
    for axis in axes.chunks_exact_mut(length) {
        if normalize(axis) {
            subtract(axis, before);
        }
    }
    axes
}

/// Each of `axes` less what it has of those before it, of length 1 or 0.
#[inline(always)]
pub(super) fn orthonormal(axes: &[f32], length: usize) -> Vec<f32> {
    let mut axes = axes.to_vec();
    for at in 0..axes.len() / length {
        let (before, axis) = axes.split_at_mut(at * length);
        let axis = &mut axis[..length];
        if normalize(axis) {
            subtract(axis, before);
            normalize(axis);
        }
    }
    axes
}

#[inline(always)]
fn subtract(axis: &mut [f32], before: &[f32]) {
    for other in before.chunks_exact(axis.len()) {
        let [along] = dots(axis, [other]);
        for (x, other) in axis.iter_mut().zip(other) {
            *x -= along * other;
        }
    }
}

/// Whether anything was there to be made of length 1; 0 else.
#[inline(always)]
fn normalize(axis: &mut [f32]) -> bool {
    let [square] = dots(axis, [&*axis]);
    let there = square > 1e-12 && square.is_finite();
    let scale = if there { 1.0 / square.sqrt() } else { 0.0 };
    axis.iter_mut().for_each(|x| *x *= scale);
    there
}

/// Axes for each of at most `subspaces` subspaces of `bits` bits: those of the descending `variances`
/// along which rows differ more than an error that codes of so many bits have to leave (reverse
/// water-filling), shared out so that each subspace has as many bits to tell. An axis that has more than
/// that comes in several, each of which tells what those before left of it.
pub(super) fn share(variances: &[f32], subspaces: usize, bits: usize) -> Vec<Vec<usize>> {
    let logs: Vec<f64> = variances
        .iter()
        .take_while(|variance| **variance > 0.0)
        .map(|variance| f64::from(*variance).log2())
        .collect();
    #[expect(clippy::cast_precision_loss, reason = "a few thousand bits")]
    let (capacity, count) = (2.0 * bits as f64, subspaces as f64);
    let budget = count * capacity;
    let (mut sum, mut level) = (0.0, f64::INFINITY);
    for (count, log) in (1_u32..).zip(&logs) {
        if *log <= level && level < f64::INFINITY {
            break;
        }
        sum += log;
        level = (sum - budget) / f64::from(count);
    }
    let kept = logs.iter().take_while(|log| **log > level);
    let mut left: Vec<(f64, usize)> =
        kept.enumerate().map(|(axis, log)| (log - level, axis)).collect();
    let mut shares = Vec::new();
    // Stays sorted: by what is left of each.
    while shares.len() + 1 < subspaces && left.first().is_some_and(|left| left.0 >= capacity) {
        let (told, axis) = left.remove(0);
        shares.push((capacity, vec![axis]));
        let told = told - (capacity - LOST);
        left.insert(left.partition_point(|(other, _)| *other >= told), (told, axis));
    }
    let own = shares.len();
    shares.resize(subspaces.min(own + left.len()), (0.0, Vec::new()));
    for (told, axis) in left {
        let least = shares[own..].iter_mut().min_by(|a, b| a.0.total_cmp(&b.0));
        if let Some((sum, axes)) = least {
            *sum += told;
            axes.push(axis);
        }
    }
    shares.into_iter().map(|(_, axes)| axes).collect()
}
