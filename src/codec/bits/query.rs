//! Queries to tables, and blocks to distances.

use super::{BitCodec, EPSILON, FACTOR_BYTES};
use crate::bytes::{AlignedBytes, view};
use crate::codec::full::Query;
use crate::codec::sum_of;
use crate::kernel::fast_scan::BLOCK_ROWS;
use crate::kernel::{self, Kernel};
use crate::types::Metric;

/// Of the size of what is added up, what rounding may take from a distance.
const ROUNDING: f32 = 4e-6;

/// A query as tables of lookups, and what turns their sums into distances:
///
/// `distance = base + share · add + factor · (constant − step · sum)`
#[derive(Clone, Debug)]
pub(crate) struct BitQuery {
    tables: AlignedBytes,
    base: f32,
    share: f32,
    constant: f32,
    step: f32,
    /// What `spread` and `factor` count in the error of a distance, and what is always in it.
    by_spread: f32,
    by_factor: f32,
    rounding: f32,
}

/// Makes a query ready, inside a kernel root.
pub(super) struct Prepare<'a> {
    pub(super) codec: &'a BitCodec,
    pub(super) query: &'a Query,
}

impl kernel::Op for Prepare<'_> {
    type Output = Option<BitQuery>;

    #[inline(always)]
    #[expect(clippy::cast_precision_loss, reason = "dimensions are far below 2^24")]
    fn run<K: Kernel>(self, kernel: K) -> Option<BitQuery> {
        let Self { codec, query } = self;
        let (dimension, metric) = (codec.space.dimension, codec.space.metric);
        let (floats, mean) = (&query.floats()[..dimension], &codec.mean[..]);
        if metric == Metric::Cosine && floats.iter().all(|x| *x == 0.0) {
            return None;
        }
        let along = sum_of(dimension, |i| floats[i] * mean[i]);
        let taken = match metric {
            Metric::Dot if codec.mean_square > 0.0 => along / codec.mean_square,
            Metric::Dot => 0.0,
            _ => 1.0,
        };
        let mut x = vec![0.0; codec.length];
        for ((x, value), mean) in x.iter_mut().zip(floats).zip(mean) {
            *x = value - taken * mean;
        }
        codec.rotate(kernel, &mut x);
        let square = sum_of(x.len(), |i| x[i] * x[i]);
        let mut tables = AlignedBytes::zeroed(codec.code_bytes());
        let (step, sum) = fill(&x, tables.as_mut_slice());
        // How often a product counts in a distance.
        let weight = if metric == Metric::L2 { 2.0 } else { 1.0 };
        let (base, share) = match metric {
            Metric::Cosine => (0.5 * square, 0.5),
            Metric::Dot => (-along, -taken),
            _ => (square, 1.0),
        };
        let groups = (x.len() as f32 / 4.0).sqrt();
        let prepared = BitQuery {
            tables,
            base,
            share,
            constant: weight * sum,
            step: weight * step,
            by_spread: weight * EPSILON * square.sqrt(),
            by_factor: weight * step * groups,
            rounding: ROUNDING * base.abs(),
        };
        let numbers = [base, share, prepared.constant, prepared.step, prepared.by_spread];
        numbers.iter().all(|number| number.is_finite()).then_some(prepared)
    }
}

/// Fills the tables of `x`; one step of their bytes, and ‖x‖₁.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rounded numbers from 0 to 255"
)]
fn fill(x: &[f32], tables: &mut [u8]) -> (f32, f32) {
    let (mut most, mut sum) = (0.0_f32, 0.0_f32);
    for group in x.chunks(4) {
        let of_group = group.iter().map(|x| x.abs()).sum::<f32>();
        most = most.max(of_group);
        sum += of_group;
    }
    // From all signs against the query's to all of them with it.
    let step = 2.0 * most / 255.0;
    let inverse = if step > 0.0 { (1.0 / step).min(f32::MAX) } else { 0.0 };
    for (group, table) in x.chunks(4).zip(tables.chunks_exact_mut(16)) {
        let mut with = [0.0_f32; 4];
        let mut without = [0.0_f32; 4];
        for (at, x) in group.iter().enumerate() {
            let twice = 2.0 * x.abs() * inverse;
            (with[at], without[at]) = if *x >= 0.0 { (twice, 0.0) } else { (0.0, twice) };
        }
        for (code, entry) in table.iter_mut().enumerate() {
            let mut value = 0.0;
            for bit in 0..4 {
                value += if code >> bit & 1 == 1 { with[bit] } else { without[bit] };
            }
            *entry = value.round_ties_even().clamp(0.0, 255.0) as u8;
        }
    }
    (step, sum)
}

/// How far `query` is from the rows of a block, whose first `code_bytes` are the codes.
#[inline(always)]
#[expect(clippy::cast_precision_loss, reason = "sums below 2^24")]
pub(super) fn estimates<K: Kernel>(
    kernel: K,
    query: &BitQuery,
    block: &[u8],
    code_bytes: usize,
) -> [f32; BLOCK_ROWS] {
    let (codes, [add, factor, _]) = split(block, code_bytes);
    let BitQuery { base, share, constant, step, .. } = query;
    let sums = kernel.fast_scan(query.tables.as_slice(), codes);
    let mut out = [0.0; BLOCK_ROWS];
    for row in 0..BLOCK_ROWS {
        let product = constant - step * sums[row] as f32;
        out[row] = base + share * add[row] + factor[row] * product;
    }
    out
}

/// What the distances are hardly below.
#[inline(always)]
pub(super) fn least(
    query: &BitQuery,
    block: &[u8],
    code_bytes: usize,
    estimates: &[f32; BLOCK_ROWS],
) -> [f32; BLOCK_ROWS] {
    let (_, [_, factor, spread]) = split(block, code_bytes);
    let BitQuery { by_spread, by_factor, rounding, .. } = query;
    let mut out = [0.0; BLOCK_ROWS];
    for row in 0..BLOCK_ROWS {
        let error = by_spread * spread[row] + by_factor * factor[row] + rounding;
        out[row] = estimates[row] - error;
    }
    out
}

/// The codes of a block, and add, factor and spread of its rows.
#[inline(always)]
fn split(block: &[u8], code_bytes: usize) -> (&[u8], [&[f32; BLOCK_ROWS]; 3]) {
    let (codes, factors) = block.split_at(code_bytes);
    let (add, factors) = factors.split_at(FACTOR_BYTES);
    let (factor, spread) = factors.split_at(FACTOR_BYTES);
    (codes, [floats(add), floats(factor), floats(spread)])
}

#[inline(always)]
fn floats(bytes: &[u8]) -> &[f32; BLOCK_ROWS] {
    const NONE: &[f32; BLOCK_ROWS] = &[f32::NAN; BLOCK_ROWS];
    view::<f32>(bytes).as_chunks().0.first().unwrap_or(NONE)
}
