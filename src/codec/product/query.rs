//! Queries to tables, and code rows to distances.

use super::{BYTE, GROUPS, HALF, ProductCodec, dots, project};
use crate::bytes::{AlignedBytes, Guard, Guarded};
use crate::codec::full::Query;
use crate::codec::{BATCH, QuerySource, Scorer, ScorerOp};
use crate::kernel::fast_scan::BLOCK_ROWS;
use crate::kernel::look_up::{Planes, ROWS as MANY};
use crate::kernel::{self, CODE_BYTES, Isa, Kernel};
use crate::types::{Metric, Row};

/// What a subspace may add to a product at most, and what all rows have in common: their sum stays an
/// f32.
const MOST: f32 = 1e35;
const MOST_BASE: f32 = 1e38;
/// Most steps of a product.
const MOST_STEPS: f32 = 65_535.0;
/// Steps of the range of products, in the quadratic mean of the subspaces, at least. Ranges are some six
/// deviations, and rounding moves a sum by 1.8 hundredths of its own deviation then.
const FINE: f32 = 96.0;

/// A query as tables of lookups, and what turns their sums into distances:
///
/// `distance = base + square + factor · (constant + step · sum)`
#[derive(Clone, Debug)]
pub(crate) struct ProductQuery {
    table: Vec<[u16; BYTE]>,
    /// The same numbers, for many rows at once.
    planes: Vec<Planes>,
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
        reason = "rounded numbers from 0 to 65,535, and their bytes"
    )]
    fn run<K: Kernel>(self, _kernel: K) -> ProductQuery {
        let Self { codec, query } = self;
        let mut products = Products::<BYTE>::new(codec, query);
        let step = products.widest(0) / MOST_STEPS;
        let terms = products.round(step);
        let steps = |beyond: &[f32; BYTE]| beyond.map(|steps| steps as u16);
        let table: Vec<_> = products.beyond.iter().map(steps).collect();
        let bytes = |table: &[u16; BYTE]| [table.map(|x| x as u8), table.map(|x| (x >> 8) as u8)];
        let planes = table.iter().map(bytes).collect();
        ProductQuery { table, planes, terms }
    }
}

/// The same with tables for blocks.
#[derive(Clone, Debug)]
pub(crate) struct BlockQuery {
    /// The low bytes of the products.
    table: AlignedBytes,
    /// The high bytes, of as many groups of subspaces as are told in more than 256 steps.
    high: AlignedBytes,
    terms: Terms,
}

#[cfg(test)]
impl BlockQuery {
    /// Bytes of the table of high bytes.
    pub(super) fn high_bytes(&self) -> usize {
        self.high.len()
    }
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
        reason = "rounded numbers from 0 to 65,535, of which a byte is taken"
    )]
    fn run<K: Kernel>(self, _kernel: K) -> BlockQuery {
        let Self { codec, query } = self;
        let mut products = Products::<HALF>::new(codec, query);
        let (fine, step) = products.steps();
        let terms = products.round(step);
        let mut table = AlignedBytes::zeroed(codec.lookup_bytes());
        let mut high = AlignedBytes::zeroed(fine * CODE_BYTES);
        let bytes = |shift: u32| {
            move |(table, beyond): (&mut [u8; HALF], &[f32; HALF])| {
                *table = beyond.map(|steps| (steps as u16 >> shift) as u8);
            }
        };
        let tables = table.as_mut_slice().as_chunks_mut::<HALF>().0;
        tables.iter_mut().zip(&products.beyond).for_each(bytes(0));
        let tables = high.as_mut_slice().as_chunks_mut::<HALF>().0;
        tables.iter_mut().zip(&products.beyond).for_each(bytes(8));
        BlockQuery { table, high, terms }
    }
}

/// The negative products of a query with the `C` centroids of each subspace.
struct Products<const C: usize> {
    /// How far above the least of their subspace.
    beyond: Vec<[f32; C]>,
    /// How far that is at most.
    ranges: Vec<f32>,
    constant: f32,
    base: f32,
    /// How many times a product counts.
    weight: f32,
}

impl<const C: usize> Products<C> {
    #[inline(always)]
    fn new(codec: &ProductCodec, query: &Query) -> Self {
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
        let mut ranges = Vec::with_capacity(beyond.len());
        let mut constant = 0.0_f32;
        for (products, members) in beyond.iter_mut().zip(codec.subspaces()) {
            let centroids = &codec.centroids[members.start * C..members.end * C];
            let along = codec.members[members].iter().map(|axis| x[*axis]);
            for (x, centroids) in along.zip(centroids.as_chunks::<C>().0) {
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
            ranges.push(most - least);
        }
        Self { beyond, ranges, constant, base: held(base, MOST_BASE), weight }
    }

    /// The widest range from a subspace on.
    fn widest(&self, first: usize) -> f32 {
        self.ranges.iter().skip(first).fold(0.0, |widest, range| widest.max(*range))
    }

    /// A step in which rounding hardly moves a sum of products, and how many groups of subspaces have
    /// ranges of more than 255 of it. Those of the longest axes are the first.
    #[inline(always)]
    fn steps(&self) -> (usize, f32) {
        let widest = self.widest(0);
        let least = widest / MOST_STEPS;
        if least == 0.0 {
            return (0, 0.0);
        }
        // As parts of the widest, so that nothing overflows.
        let squares: f32 = self.ranges.iter().map(|range| (range / widest).powi(2)).sum();
        #[expect(clippy::cast_precision_loss, reason = "a thousand or two")]
        let fine = (squares / self.ranges.len() as f32).sqrt() * widest / FINE;
        let groups = self.ranges.len().div_ceil(GROUPS);
        let step_after = |coarse_from: usize| least.max(self.widest(GROUPS * coarse_from) / 255.0);
        let coarse_from = (0..groups).find(|group| step_after(*group) <= fine).unwrap_or(groups);
        (coarse_from, step_after(coarse_from))
    }

    /// Rounds all to whole steps, at most [`MOST_STEPS`].
    #[inline(always)]
    fn round(&mut self, step: f32) -> Terms {
        let inverse = if step > 0.0 { (1.0 / step).min(f32::MAX) } else { 0.0 };
        for product in self.beyond.as_flattened_mut() {
            *product = (*product * inverse).round_ties_even().clamp(0.0, MOST_STEPS);
        }
        let Self { base, constant, weight, .. } = *self;
        Terms { base, constant: weight * constant, step: weight * step }
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
        let mut sums = kernel.fast_scan(query.table.as_slice(), numbers);
        let high = query.high.as_slice();
        if !high.is_empty() {
            let high = kernel.fast_scan(high, &numbers[..high.len()]);
            sums.iter_mut().zip(high).for_each(|(sum, high)| *sum += high << 8);
        }
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
        let codes = rows.map(|row| self.code(row));
        let sums = self.kernel.look_up(&self.query.table, codes.map(|(numbers, _)| numbers));
        let mut out = [0.0; R];
        for r in 0..R {
            out[r] = self.distance(sums[r], codes[r].1);
        }
        out
    }

    /// Distances to rows that are looked up together.
    #[inline(always)]
    fn score_many(&self, rows: impl Fn(usize) -> Row, out: &mut [f32; MANY]) {
        let codes: [_; MANY] = std::array::from_fn(|at| self.code(rows(at)));
        let numbers = codes.map(|(numbers, _)| numbers);
        let sums = self.kernel.look_up_many(&self.query.planes, &numbers);
        for (out, (sum, (_, factors))) in out.iter_mut().zip(sums.into_iter().zip(codes)) {
            *out = self.distance(sum, factors);
        }
    }

    /// The numbers of a row, and its factor and square.
    #[inline(always)]
    fn code(&self, row: Row) -> (&[u8], &[u8]) {
        self.codes.get(row as usize * self.stride, self.stride).split_at(self.query.table.len())
    }

    #[inline(always)]
    fn distance(&self, sum: u32, factors: &[u8]) -> f32 {
        let mut factors = factors.as_chunks().0.iter().copied().map(short);
        let (factor, square) = (factors.next(), factors.next());
        self.query.terms.distance(sum, factor.unwrap_or(0.0), square.unwrap_or(0.0))
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
    fn score_batch(&self, rows: &[Row], out: &mut [f32]) {
        let (out_many, out) = out[..rows.len()].as_chunks_mut::<MANY>();
        let (many, rows) = rows.as_chunks::<MANY>();
        for (rows, out) in many.iter().zip(out_many) {
            self.score_many(|at| rows[at], out);
        }
        for (rows, out) in rows.chunks(BATCH).zip(out.chunks_mut(BATCH)) {
            if let ([row], [out, ..]) = (rows, &mut *out) {
                *out = self.score(*row);
                continue;
            }
            // Two or three cost less in a batch filled up with the first than one by one.
            let mut four = [rows[0]; BATCH];
            four[..rows.len()].copy_from_slice(rows);
            out[..rows.len()].copy_from_slice(&self.score_rows(four)[..rows.len()]);
        }
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "below 64")]
    fn score_run(&self, first: Row, out: &mut [f32]) {
        let mut row = first;
        let (many, out) = out.as_chunks_mut::<MANY>();
        for out in many {
            self.score_many(|at| row + at as Row, out);
            row += MANY as Row;
        }
        let (batches, rest) = out.as_chunks_mut::<BATCH>();
        for out in batches {
            *out = self.score_rows([row, row + 1, row + 2, row + 3]);
            row += 4;
        }
        for out in rest {
            *out = self.score(row);
            row += 1;
        }
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
