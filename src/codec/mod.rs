//! Vector encodings: turn a user's vectors into stored rows, and a query into a [`Scorer`].
//!
//! A codec owns the meaning of row bytes; it knows no file, segment or id. The distance of a
//! scorer is never NaN and ascends: smaller is closer. Loops over scorers (searches, scans,
//! builds) are written against the traits here and run inside one kernel root, which a
//! [`QuerySource`] or [`PairSource`] enters.

pub(crate) mod bits;
pub(crate) mod blocks;
pub(crate) mod centre;
pub(crate) mod codes;
mod convert;
mod forms;
pub(crate) mod full;
pub(crate) mod product;
pub(crate) mod quantizer;
mod rotation;
pub(crate) mod rounded;
mod space;

#[cfg(test)]
mod tests;

use crate::kernel::Isa;
use crate::kernel::panel::PANEL_ROWS;
use crate::types::Row;

/// Rows scored at once, so that the query's lanes are loaded once for all of them.
pub(crate) const BATCH: usize = 4;

/// Rows of a panel.
pub(crate) const LINE: usize = PANEL_ROWS;

/// Rows wanted that steps speak of.
const HITS: usize = 16;
/// How many choices a codec has of how many rows are compared exactly for each 16 wanted.
pub(crate) const STEPS: usize = 4;

/// How many rows are compared exactly for `k` wanted ones, at a step.
pub(crate) fn compared(step: u8, k: usize) -> usize {
    (k.saturating_mul(usize::from(step)) / HITS).max(k)
}

/// Distance from one prepared query to rows. Infallible; smaller is closer, never NaN.
///
/// Everything is inlined into the loop that calls it.
pub(crate) trait Scorer {
    /// How many rows there are; every row asked for is below.
    fn rows(&self) -> usize;

    /// Bytes from one row to the next.
    fn stride(&self) -> usize;

    /// Distance to `row`.
    fn score(&self, row: Row) -> f32;

    /// Distances to a few rows at once.
    fn score_four(&self, rows: [Row; BATCH]) -> [f32; BATCH];

    /// Distances to `rows`, into the front of `out`.
    #[inline(always)]
    fn score_batch(&self, rows: &[Row], out: &mut [f32]) {
        let (batches, rest) = rows.as_chunks::<BATCH>();
        let (out_batches, out_rest) = out[..rows.len()].as_chunks_mut::<BATCH>();
        for (rows, out) in batches.iter().zip(out_batches) {
            *out = self.score_four(*rows);
        }
        match (rest, out_rest) {
            ([row], [out]) => *out = self.score(*row),
            ([first, ..], out) => {
                // Two or three cost less in a batch filled up with the first than one by one.
                let mut rows = [*first; BATCH];
                rows[..rest.len()].copy_from_slice(rest);
                let scores = self.score_four(rows);
                out.copy_from_slice(&scores[..rest.len()]);
            }
            _ => {}
        }
    }

    /// Distances to the rows from `first` on, as many as `out` holds.
    #[inline(always)]
    fn score_run(&self, first: Row, out: &mut [f32]) {
        let (batches, rest) = out.as_chunks_mut::<BATCH>();
        let mut row = first;
        for out in batches {
            *out = self.score_four([row, row + 1, row + 2, row + 3]);
            row += 4;
        }
        for out in rest {
            *out = self.score(row);
            row += 1;
        }
    }

    /// Asks for the bytes of `row` ahead of time.
    fn prefetch(&self, row: Row);

    /// Whether sketches of the rows tell that they are far.
    #[inline(always)]
    fn is_sketched(&self) -> bool {
        false
    }

    /// What the distances of a few rows are hardly below, by their sketches; NaN where that is unknown.
    #[inline(always)]
    fn least_four(&self, _rows: [Row; BATCH]) -> [f32; BATCH] {
        [f32::NAN; BATCH]
    }

    /// Asks for the sketch of `row` ahead of time.
    #[inline(always)]
    fn prefetch_sketch(&self, _row: Row) {}

    /// Asks for something else (links of a graph) ahead of time.
    fn prefetch_slice<T>(&self, items: &[T]);
}

/// Rows that can be compared with each other.
pub(crate) trait Pairs: Copy {
    /// The scorer with a row as its query.
    type Scorer: Scorer;

    /// The scorer whose query is `row`.
    fn scorer(self, row: Row) -> Self::Scorer;
}

/// Rows that were laid out to be compared with many at once, [`LINE`] a panel; the last panel is filled up.
pub(crate) trait Block: Default + Send + Sync {
    /// How many rows there are.
    fn len(&self) -> usize;

    /// How many panels they take.
    fn panels(&self) -> usize;
}

/// Pairs of rows of which many are compared at once.
pub(crate) trait BlockPairs: Pairs {
    /// Rows laid out for that.
    type Block: Block;

    /// Lays `rows` out.
    fn lay_out(self, rows: &[Row], block: &mut Self::Block);

    /// The distances of all rows of a panel of `a` to all of `b`: a line for each panel of `b`, row after
    /// row. What stands for rows that fill a panel up means nothing.
    fn score_panel(self, a: &Self::Block, panel: usize, b: &Self::Block, out: &mut [[f32; LINE]]);

    /// A bit for each of a line that is at most `bound`, the first in the lowest bit.
    fn at_most(self, line: &[f32; LINE], bound: f32) -> u32;

    /// Asks for `items` ahead of time.
    fn prefetch<T>(self, items: &[T]);
}

/// A loop over a scorer; like a [`kernel::Op`](crate::kernel::Op), inlined into its root.
pub(crate) trait ScorerOp {
    /// What the loop returns.
    type Output;

    /// Must be `#[inline(always)]`, like everything below it.
    fn run<S: Scorer>(self, scorer: S) -> Self::Output;
}

/// A loop over pairs of rows; like a [`kernel::Op`](crate::kernel::Op), inlined into its root.
pub(crate) trait PairsOp {
    /// What the loop returns.
    type Output;

    /// Must be `#[inline(always)]`, like everything below it.
    fn run<P: Pairs>(self, pairs: P) -> Self::Output;
}

/// The same over pairs of which many are compared at once.
pub(crate) trait BlocksOp<B> {
    /// What the loop returns.
    type Output;

    /// Must be `#[inline(always)]`, like everything below it.
    fn run<P: BlockPairs<Block = B>>(self, pairs: P) -> Self::Output;
}

/// A query and the rows it is compared with, in some encoding.
pub(crate) trait QuerySource {
    /// Runs `op` with the scorer, inside the kernel root of `isa`.
    fn run<O: ScorerOp>(&self, isa: Isa, op: O) -> O::Output;
}

/// Rows that are compared with each other, in some encoding.
pub(crate) trait PairSource: Sync {
    /// Runs `op` with the pairs, inside the kernel root of `isa`.
    fn run<O: PairsOp>(&self, isa: Isa, op: O) -> O::Output;
}

/// Rows of which many are compared at once, in some encoding.
pub(crate) trait BlockSource: PairSource {
    /// Rows laid out for that.
    type Block: Block;

    /// Runs `op` with the pairs, inside the kernel root of `isa`.
    fn run_blocks<O: BlocksOp<Self::Block>>(&self, isa: Isa, op: O) -> O::Output;
}

/// Σ f(x), over lanes of its own.
#[inline(always)]
fn sum_of(count: usize, term: impl Fn(usize) -> f32) -> f32 {
    let mut sums = [0.0_f32; 16];
    let whole = count / 16 * 16;
    for start in (0..whole).step_by(16) {
        for (lane, sum) in sums.iter_mut().enumerate() {
            *sum += term(start + lane);
        }
    }
    for index in whole..count {
        sums[index - whole] += term(index);
    }
    sums.iter().sum()
}
