//! The principal axes of rows, and which subspace each belongs to. The same bits on every tier.

use super::kmeans::bits;
use super::{dots, project};

/// Times that the axes are turned towards the principal ones. Those that are not there yet lie among
/// others along which rows differ as much, where it does not matter.
const TURNS: usize = 8;
/// Axes looked for beside those that are wanted, which come out less exact.
const SPARE: usize = 8;

/// Σ xᵢ xⱼ over all rows of `length` elements, as a square.
#[inline(always)]
pub(super) fn products(rows: &[f32], length: usize) -> Vec<f32> {
    let mut square = vec![0.0; length * length];
    // By fours, so that the square is read and written a quarter as often. Rows behind the last four
    // are too few to tell.
    for four in rows.chunks_exact(4 * length) {
        let (low, high) = four.split_at(2 * length);
        let ((a, b), (c, d)) = (low.split_at(length), high.split_at(length));
        for (i, out) in square.chunks_exact_mut(length).enumerate() {
            let (out, a_i, b_i, c_i, d_i) = (&mut out[i..], a[i], b[i], c[i], d[i]);
            let others = a[i..].iter().zip(&b[i..]).zip(c[i..].iter().zip(&d[i..]));
            for (out, ((a, b), (c, d))) in out.iter_mut().zip(others) {
                *out += (a_i * a + b_i * b) + (c_i * c + d_i * d);
            }
        }
    }
    for i in 0..length {
        for j in i + 1..length {
            square[j * length + i] = square[i * length + j];
        }
    }
    square
}

/// At most `wanted` axes of length 1 along which rows differ most, `length` elements each, by
/// descending variance, and the variances, by orthogonal iteration over a symmetric `square`.
#[inline(always)]
pub(super) fn principal(square: &[f32], length: usize, wanted: usize) -> (Vec<f32>, Vec<f32>) {
    let count = wanted.saturating_add(SPARE).min(length);
    let mut state = 0x6178_6573;
    let mut axes: Vec<f32> =
        (0..count * length).map(|_| if bits(&mut state) >> 63 == 0 { 1.0 } else { -1.0 }).collect();
    let mut turned = vec![0.0; axes.len()];
    orthonormalize(&mut axes, length);
    for _ in 0..TURNS {
        for (axis, turned) in axes.chunks_exact(length).zip(turned.chunks_exact_mut(length)) {
            project(axis, square, turned);
        }
        std::mem::swap(&mut axes, &mut turned);
        orthonormalize(&mut axes, length);
    }
    let mut by_variance: Vec<(f32, usize)> = Vec::with_capacity(count);
    for (at, axis) in axes.chunks_exact(length).enumerate() {
        project(axis, square, &mut turned[..length]);
        let [variance] = dots(axis, [&turned[..length]]);
        by_variance.push((variance.max(0.0), at));
    }
    by_variance.sort_by(|a, b| b.0.total_cmp(&a.0));
    by_variance.truncate(wanted);
    let sorted = by_variance.iter().flat_map(|(_, at)| &axes[at * length..][..length]);
    (sorted.copied().collect(), by_variance.iter().map(|(variance, _)| *variance).collect())
}

/// Makes each axis orthogonal to those before it, and of length 1, or 0 where nothing is left of it.
#[inline(always)]
fn orthonormalize(axes: &mut [f32], length: usize) {
    for at in 0..axes.len() / length {
        let (before, axis) = axes.split_at_mut(at * length);
        let axis = &mut axis[..length];
        if !normalize(axis) {
            continue;
        }
        // Twice, as what is left the first time may be as small as its rounding.
        for _ in 0..2 {
            for other in before.chunks_exact(length) {
                let [along] = dots(axis, [other]);
                for (x, other) in axis.iter_mut().zip(other) {
                    *x -= along * other;
                }
            }
            if !normalize(axis) {
                break;
            }
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
/// water-filling), shared out so that each subspace has as many bits to tell.
pub(super) fn share(variances: &[f32], subspaces: usize, bits: usize) -> Vec<Vec<usize>> {
    let logs: Vec<f64> = variances
        .iter()
        .take_while(|variance| **variance > 0.0)
        .map(|variance| f64::from(*variance).log2())
        .collect();
    #[expect(clippy::cast_precision_loss, reason = "a few thousand bits")]
    let budget = 2.0 * (subspaces * bits) as f64;
    let (mut sum, mut level) = (0.0, f64::INFINITY);
    for (count, log) in (1_u32..).zip(&logs) {
        if *log <= level && level < f64::INFINITY {
            break;
        }
        sum += log;
        level = (sum - budget) / f64::from(count);
    }
    let kept = logs.iter().take_while(|log| **log > level).count();
    let mut shares = vec![(0.0_f64, Vec::new()); subspaces.min(kept)];
    for (axis, log) in logs[..kept].iter().enumerate() {
        let least = shares.iter_mut().min_by(|a, b| a.0.total_cmp(&b.0));
        if let Some((told, axes)) = least {
            *told += log - level;
            axes.push(axis);
        }
    }
    shares.into_iter().map(|(_, axes)| axes).collect()
}
