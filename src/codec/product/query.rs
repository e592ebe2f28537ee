//! Queries to tables, and code rows to distances.

use super::{BYTE, HALF, ProductCodec, dots, project};
use crate::bytes::{AlignedBytes, Guard, Guarded};
use crate::codec::full::Query;
use crate::codec::{BATCH, QuerySource, Scorer, ScorerOp};
use crate::kernel::fast_scan::BLOCK_ROWS;
use crate::kernel::{self, Isa, Kernel};
use crate::types::{Metric, Row};

/// What a subspace may add to a product at most, and what all rows have in common: their sum stays an
/// f32.
const MOST: f32 = 1e35;
const MOST_BASE: f32 = 1e38;

/// A query as tables of lookups, and what turns their sums into distances:
///
/// `distance = base + square + factor · (constant + step · sum)`
#[derive(Clone, Debug)]
pub(crate) struct ProductQuery {
    table: Vec<[u16; BYTE]>,
    terms: Terms,
}

#[derive(Clone, Copy, Debug)]
struct Terms {
    base: f32,
    constant: f32,
    step: f32,
}

impl Terms {
    #[inline(always)]
    #[expect(clippy::cast_precision_loss, reason = "rounds sums above 2^24")]
    fn distance(&self, sum: u32, factor: f32, square: f32) -> f32 {
        let Self { base, constant, step } = self;
        // Of damaged bytes it may be no number.
        (base + square + factor * (constant + step * sum as f32)).min(f32::INFINITY)
    }
}

/// Makes a query ready, inside a kernel root.
pub(super) struct Prepare<'a> {
    pub(super) codec: &'a ProductCodec,
    pub(super) query: &'a Query,
}

impl kernel::Op for Prepare<'_> {
    type Output = ProductQuery;

    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "rounded numbers from 0 to 65,535"
    )]
    fn run<K: Kernel>(self, _kernel: K) -> ProductQuery {
        let Self { codec, query } = self;
        let products = Products::<BYTE>::new(codec, query, u16::MAX);
        let steps = |beyond: [f32; BYTE]| beyond.map(|steps| steps as u16);
        let table = products.beyond.into_iter().map(steps).collect();
        ProductQuery { table, terms: products.terms }
    }
}

/// The same with a table for blocks.
#[derive(Clone, Debug)]
pub(crate) struct BlockQuery {
    table: AlignedBytes,
    terms: Terms,
}

/// Makes a query ready for blocks, inside a kernel root.
pub(super) struct PrepareBlocks<'a> {
    pub(super) codec: &'a ProductCodec,
    pub(super) query: &'a Query,
}

impl kernel::Op for PrepareBlocks<'_> {
    type Output = BlockQuery;

    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "rounded numbers from 0 to 255"
    )]
    fn run<K: Kernel>(self, _kernel: K) -> BlockQuery {
        let Self { codec, query } = self;
        let products = Products::<HALF>::new(codec, query, u16::from(u8::MAX));
        let mut table = AlignedBytes::zeroed(codec.lookup_bytes());
        let tables = table.as_mut_slice().as_chunks_mut::<HALF>().0;
        for (table, beyond) in tables.iter_mut().zip(&products.beyond) {
            *table = beyond.map(|steps| steps as u8);
        }
        BlockQuery { table, terms: products.terms }
    }
}

/// The negative products of a query with the `C` centroids of each subspace.
struct Products<const C: usize> {
    /// How many steps above the least of their subspace: whole numbers.
    beyond: Vec<[f32; C]>,
    terms: Terms,
}

impl<const C: usize> Products<C> {
    /// In at most `steps` steps.
    #[inline(always)]
    fn new(codec: &ProductCodec, query: &Query, steps: u16) -> Self {
        let (metric, mean) = (codec.space.metric, &codec.mean[..]);
        let mut floats = query.floats()[..codec.space.dimension].to_vec();
        let [along] = dots(&floats, [mean]);
        let (base, weight) = match metric {
            Metric::L2 => {
                floats.iter_mut().zip(mean).for_each(|(x, mean)| *x -= mean);
                let [square] = dots(&floats, [&floats]);
                (square, 2.0)
            }
            Metric::Cosine => (1.0 - along, 1.0),
            _ => (-along, 1.0),
        };
        let mut x = vec![0.0; codec.axis_count()];
        project(&floats, &codec.axes, &mut x);
        let mut beyond = vec![[0.0; C]; codec.subspace_count()];
        let (mut constant, mut widest) = (0.0_f32, 0.0_f32);
        for (products, axes) in beyond.iter_mut().zip(codec.subspaces()) {
            let centroids = &codec.centroids[axes.start * C..axes.end * C];
            for (x, centroids) in x[axes].iter().zip(centroids.as_chunks::<C>().0) {
                for (product, centroid) in products.iter_mut().zip(centroids) {
                    *product -= x * centroid;
                }
            }
            let (mut least, mut most) = (MOST, -MOST);
            for product in products.iter_mut() {
                *product = held(*product, MOST);
                least = least.min(*product);
                most = most.max(*product);
            }
            products.iter_mut().for_each(|product| *product -= least);
            constant += least;
            widest = widest.max(most - least);
        }
        let most = f32::from(steps);
        let step = widest / most;
        let inverse = if step > 0.0 { (1.0 / step).min(f32::MAX) } else { 0.0 };
        for product in beyond.as_flattened_mut() {
            *product = (*product * inverse).round_ties_even().clamp(0.0, most);
        }
        let base = held(base, MOST_BASE);
        Self { beyond, terms: Terms { base, constant: weight * constant, step: weight * step } }
    }
}

/// A number held to ±`most`; where it cannot be told, `most`.
#[inline(always)]
fn held(x: f32, most: f32) -> f32 {
    if x.is_nan() { most } else { x.clamp(-most, most) }
}

/// The blocks of some rows.
#[derive(Debug)]
pub(crate) struct ProductBlocks<'a, G> {
    pub(crate) codec: &'a ProductCodec,
    pub(crate) blocks: Guarded<'a, G>,
}

impl<G> Clone for ProductBlocks<'_, G> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<G> Copy for ProductBlocks<'_, G> {}

impl<G: Guard> ProductBlocks<'_, G> {
    /// How many whole blocks there are.
    pub(crate) fn len(&self) -> usize {
        self.blocks.len() / self.codec.block_bytes()
    }

    /// How far `query` is from the rows of `block`, which is below [`len`](Self::len); anything behind
    /// the last row.
    #[inline(always)]
    pub(crate) fn distances<K: Kernel>(
        &self,
        kernel: K,
        query: &BlockQuery,
        block: usize,
    ) -> [f32; BLOCK_ROWS] {
        let bytes = self.codec.block_bytes();
        let (numbers, factors) =
            self.blocks.get(block * bytes, bytes).split_at(self.codec.lookup_bytes());
        let sums = kernel.fast_scan(query.table.as_slice(), numbers);
        let (factors, squares) = factors.split_at(2 * BLOCK_ROWS);
        let (factors, squares) = (factors.as_chunks().0, squares.as_chunks().0);
        let mut out = [0.0; BLOCK_ROWS];
        for row in 0..BLOCK_ROWS {
            let square = squares.get(row).copied().map_or(0.0, short);
            out[row] = query.terms.distance(sums[row], short(factors[row]), square);
        }
        out
    }
}

/// A bf16 as it is stored.
#[inline(always)]
fn short(bytes: [u8; 2]) -> f32 {
    f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16)
}

/// Code rows and how to read them.
#[derive(Debug)]
pub(crate) struct ProductRows<'a, G> {
    pub(crate) codec: &'a ProductCodec,
    pub(crate) codes: Guarded<'a, G>,
}

impl<G> Clone for ProductRows<'_, G> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<G> Copy for ProductRows<'_, G> {}

/// A query over code rows.
#[derive(Debug)]
pub(crate) struct ProductSource<'a, G> {
    pub(crate) rows: ProductRows<'a, G>,
    pub(crate) query: &'a ProductQuery,
}

impl<G: Guard> QuerySource for ProductSource<'_, G> {
    fn run<O: ScorerOp>(&self, isa: Isa, op: O) -> O::Output {
        kernel::run(isa, Scan { source: self, op })
    }
}

struct Scan<'a, 'b, G, O> {
    source: &'a ProductSource<'b, G>,
    op: O,
}

impl<G: Guard, O: ScorerOp> kernel::Op for Scan<'_, '_, G, O> {
    type Output = O::Output;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> O::Output {
        let ProductSource { rows: ProductRows { codec, codes }, query } = *self.source;
        self.op.run(ProductScorer { kernel, codes, stride: codec.stride(), query })
    }
}

struct ProductScorer<'a, K, G> {
    kernel: K,
    codes: Guarded<'a, G>,
    stride: usize,
    query: &'a ProductQuery,
}

impl<K: Kernel, G: Guard> ProductScorer<'_, K, G> {
    #[inline(always)]
    fn score_rows<const R: usize>(&self, rows: [Row; R]) -> [f32; R] {
        let ProductQuery { table, terms } = self.query;
        let codes = rows.map(|row| {
            let code = self.codes.get(row as usize * self.stride, self.stride);
            code.split_at(table.len())
        });
        let sums = self.kernel.look_up(table, codes.map(|(numbers, _)| numbers));
        let mut out = [0.0; R];
        for r in 0..R {
            let mut factors = codes[r].1.as_chunks().0.iter().copied().map(short);
            let (factor, square) = (factors.next(), factors.next());
            out[r] = terms.distance(sums[r], factor.unwrap_or(0.0), square.unwrap_or(0.0));
        }
        out
    }
}

impl<K: Kernel, G: Guard> Scorer for ProductScorer<'_, K, G> {
    #[inline(always)]
    fn rows(&self) -> usize {
        self.codes.len() / self.stride
    }

    #[inline(always)]
    fn stride(&self) -> usize {
        self.stride
    }

    #[inline(always)]
    fn score(&self, row: Row) -> f32 {
        let [distance] = self.score_rows([row]);
        distance
    }

    #[inline(always)]
    fn score_four(&self, rows: [Row; BATCH]) -> [f32; BATCH] {
        self.score_rows(rows)
    }

    #[inline(always)]
    fn prefetch(&self, row: Row) {
        let codes = self.codes.hint(row as usize * self.stride, self.stride);
        self.kernel.prefetch(codes);
        // A row that does not begin with a cache line may end in one more.
        self.kernel.prefetch(&codes[self.stride - 1..]);
    }

    #[inline(always)]
    fn prefetch_slice<T>(&self, items: &[T]) {
        self.kernel.prefetch(items);
    }
}
