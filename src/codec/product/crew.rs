//! The learning of a codec in pieces, on all threads of a pool: the same from any number of them.

use rayon::ThreadPool;
use rayon::prelude::*;

use super::{Width, axes, kmeans, project};
use crate::error::{Error, Result};
use crate::kernel::{self, Isa, Kernel};

/// Who does the work of learning.
#[derive(Clone, Copy)]
pub(crate) struct Crew<'a> {
    pub(crate) isa: Isa,
    /// This thread alone where there is none.
    pub(crate) pool: Option<&'a ThreadPool>,
    /// Asked before each piece; "no" gives `Error::Cancelled`.
    pub(crate) keep_going: &'a (dyn Fn() -> bool + Sync),
}

impl std::fmt::Debug for Crew<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Crew").field("isa", &self.isa).finish_non_exhaustive()
    }
}

impl Crew<'_> {
    /// This thread, which does not stop.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn alone(isa: Isa) -> Self {
        Self { isa, pool: None, keep_going: &|| true }
    }

    /// The results of all pieces, in their order.
    pub(super) fn run(&self, pieces: &[Piece<'_>]) -> Result<Vec<Vec<f32>>> {
        let one = |piece: &Piece<'_>| match (self.keep_going)() {
            true => Ok(kernel::run(self.isa, *piece)),
            false => Err(Error::Cancelled),
        };
        match self.pool {
            Some(pool) => pool.install(|| pieces.par_iter().map(one).collect()),
            None => pieces.iter().map(one).collect(),
        }
    }

    /// The results of all pieces, one behind the other.
    pub(super) fn join(&self, pieces: &[Piece<'_>]) -> Result<Vec<f32>> {
        Ok(self.run(pieces)?.concat())
    }
}

/// A piece of the work. Plain arithmetic in an order of its own: the same bits on every tier.
#[derive(Clone, Copy)]
pub(super) enum Piece<'a> {
    /// `Σ xᵢ xⱼ` over `rows` of `length` elements, for some `i`, each with all `j` from the first `i` on.
    Products { rows: &'a [f32], length: usize, first: usize, end: usize },
    /// `Σ xᵢ yᵢ` of each of `xs` with each of `ys`.
    Dots { xs: &'a [f32], ys: &'a [f32], length: usize },
    /// Some axes made orthogonal to those `before`, which are so to each other.
    Clear { axes: &'a [f32], before: &'a [f32], length: usize },
    /// Some axes made orthogonal to each other.
    Orthonormal { axes: &'a [f32], length: usize },
    /// Rows as they lie along axes.
    Project { rows: &'a [f32], axes: &'a [f32], length: usize },
    /// Centroids of points along some axes and, behind them, what these leave of the points.
    Centroids { points: &'a [f32], axes: usize, width: Width, seed: u64 },
}

impl kernel::Op for Piece<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn run<K: Kernel>(self, _kernel: K) -> Vec<f32> {
        match self {
            Self::Products { rows, length, first, end } => axes::products(rows, length, first..end),
            Self::Dots { xs, ys, length } => axes::all_dots(xs, ys, length),
            Self::Clear { axes, before, length } => axes::clear(axes, before, length),
            Self::Orthonormal { axes, length } => axes::orthonormal(axes, length),
            Self::Project { rows, axes, length } => {
                let count = axes.len() / length;
                let mut out = vec![0.0; rows.len() / length * count];
                for (row, out) in rows.chunks_exact(length).zip(out.chunks_exact_mut(count)) {
                    project(row, axes, out);
                }
                out
            }
            Self::Centroids { points, axes, width, seed } => match width {
                Width::Byte => kmeans::centroids::<{ super::BYTE }>(points, axes, seed),
                Width::Half => kmeans::centroids::<{ super::HALF }>(points, axes, seed),
            },
        }
    }
}
