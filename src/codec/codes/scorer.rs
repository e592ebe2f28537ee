//! Distances of code rows from a query or from each other.

use super::block::CodeBlock;
use super::factors::unpack;
use super::pairs::{CodedPairs, Own, half_constant, half_product};
use super::sketch::Sketches;
use super::{CodeKind, Codec, LevelQuery};
use crate::bytes::{Guard, Guarded};
use crate::codec::{BATCH, BlocksOp, Pairs, PairsOp, QuerySource, Scorer, ScorerOp};
use crate::kernel::{self, Isa, Kernel};
use crate::types::{Metric, Row};

/// What is asked of code rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    /// ‖q − x‖².
    Square,
    /// −⟨q, x⟩.
    Product,
    /// As [`Centre`](crate::codec::centre::Centre) says of pairs.
    Centred,
}

/// Code rows and how to read them.
#[derive(Debug)]
pub(crate) struct LevelRows<'a, G> {
    pub(crate) codec: &'a Codec,
    pub(crate) codes: Guarded<'a, G>,
}

impl<G> Clone for LevelRows<'_, G> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<G> Copy for LevelRows<'_, G> {}

/// A query over code rows.
#[derive(Debug)]
pub(crate) struct LevelSource<'a, G> {
    pub(crate) rows: LevelRows<'a, G>,
    pub(crate) query: &'a LevelQuery,
    /// Sketches of the rows, where they are to be looked at first.
    pub(crate) sketches: Option<Sketches<'a, G>>,
}

impl<G: Guard> QuerySource for LevelSource<'_, G> {
    fn run<O: ScorerOp>(&self, isa: Isa, op: O) -> O::Output {
        match self.rows.codec.kind {
            CodeKind::Byte => kernel::run(isa, Scan::<G, O, BYTES> { source: self, op }),
            CodeKind::Half => kernel::run(isa, Scan::<G, O, HALVES> { source: self, op }),
        }
    }
}

// Which kernel compares.
const BYTES: u8 = 0;
const HALVES: u8 = 1;
pub(super) const BYTE_PAIRS: u8 = 2;
pub(super) const HALF_PAIRS: u8 = 3;

struct Scan<'a, 'b, G, O, const FORM: u8> {
    source: &'a LevelSource<'b, G>,
    op: O,
}

impl<G: Guard, O: ScorerOp, const FORM: u8> kernel::Op for Scan<'_, '_, G, O, FORM> {
    type Output = O::Output;

    #[inline(always)]
    #[expect(clippy::cast_precision_loss, reason = "rounds sums above 2^24")]
    fn run<K: Kernel>(self, kernel: K) -> O::Output {
        let LevelSource { rows, query, sketches } = self.source;
        let dot = rows.codec.space.metric == Metric::Dot;
        let table = Table::<K, G, FORM>::new(kernel, *rows);
        self.op.run(CodeScorer {
            table,
            query: query.bytes.as_slice(),
            ask: if dot { Ask::Product } else { Ask::Square },
            scale: if dot { query.scale } else { 2.0 * query.scale },
            square: query.square,
            shift: 128 * query.sum,
            sum: 7.5 * query.sum as f32,
            filling: 0,
            offset: 0.0,
            sketches: *sketches,
        })
    }
}

pub(super) struct CompareBlocks<'a, 'b, G, O, const FORM: u8> {
    pub(super) source: &'a CodedPairs<'b, G>,
    pub(super) op: O,
}

impl<G: Guard, O: BlocksOp<CodeBlock>, const FORM: u8> kernel::Op
    for CompareBlocks<'_, '_, G, O, FORM>
{
    type Output = O::Output;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> O::Output {
        self.op.run(Table::<K, G, FORM>::of_pairs(kernel, self.source))
    }
}

pub(super) struct Compare<'a, 'b, G, O, const FORM: u8> {
    pub(super) source: &'a CodedPairs<'b, G>,
    pub(super) op: O,
}

impl<G: Guard, O: PairsOp, const FORM: u8> kernel::Op for Compare<'_, '_, G, O, FORM> {
    type Output = O::Output;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> O::Output {
        self.op.run(Table::<K, G, FORM>::of_pairs(kernel, self.source))
    }
}

/// Code rows as one kernel sees them.
pub(super) struct Table<'a, K, G, const FORM: u8> {
    pub(super) kernel: K,
    codes: Guarded<'a, G>,
    pub(super) stride: usize,
    pub(super) constant: f32,
    // Of pairs alone.
    pub(super) offsets: &'a [f32],
    pub(super) inverse_longest: f32,
    own: &'a [Own],
    pub(super) filling: u32,
}

impl<K: Copy, G, const FORM: u8> Clone for Table<'_, K, G, FORM> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: Copy, G, const FORM: u8> Copy for Table<'_, K, G, FORM> {}

impl<'a, K: Kernel, G: Guard, const FORM: u8> Table<'a, K, G, FORM> {
    #[inline(always)]
    fn new(kernel: K, rows: LevelRows<'a, G>) -> Self {
        let codec = rows.codec;
        Self {
            kernel,
            codes: rows.codes,
            stride: codec.stride(),
            constant: half_constant(codec.length),
            offsets: &[],
            inverse_longest: 0.0,
            own: &[],
            filling: 0,
        }
    }

    #[inline(always)]
    fn of_pairs<'b>(kernel: K, source: &'a CodedPairs<'b, G>) -> Self
    where
        'b: 'a,
    {
        let CodedPairs { rows, centre, own, filling } = source;
        let (offsets, inverse_longest) = centre.parts();
        Self { offsets, inverse_longest, own, filling: *filling, ..Self::new(kernel, *rows) }
    }

    /// Levels of a row and the bits that they carry.
    #[inline(always)]
    pub(super) fn row(&self, row: Row) -> (&'a [u8], u32) {
        let levels = self.codes.get(row as usize * self.stride, self.stride);
        (levels, levels.last_chunk().map_or(0, |last| self.kernel.low_bits(last)))
    }

    #[inline(always)]
    pub(super) fn own(&self, row: Row) -> Own {
        self.own.get(row as usize).copied().unwrap_or_default()
    }
}

impl<'a, K: Kernel, G: Guard, const FORM: u8> Pairs for Table<'a, K, G, FORM> {
    type Scorer = CodeScorer<'a, K, G, FORM>;

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "a sum of bytes")]
    fn scorer(self, row: Row) -> Self::Scorer {
        let (query, bits) = self.row(row);
        let ([factor, _], Own { norm, sum }) = (unpack(bits), self.own(row));
        let centred = !self.offsets.is_empty();
        CodeScorer {
            table: self,
            query,
            ask: if centred { Ask::Centred } else { Ask::Square },
            scale: if centred { factor } else { 2.0 * factor },
            square: norm,
            shift: 128_i32.wrapping_mul(sum as i32),
            sum,
            filling: bits & self.filling,
            offset: self.offsets.get(row as usize).copied().unwrap_or(0.0),
            sketches: None,
        }
    }
}

/// The scorer of a query, or of a code row, over code rows.
pub(super) struct CodeScorer<'a, K, G, const FORM: u8> {
    table: Table<'a, K, G, FORM>,
    query: &'a [u8],
    ask: Ask,
    /// What a product of levels is multiplied with, beside the row's factor.
    scale: f32,
    square: f32,
    /// Bytes: what the offset adds to a product.
    shift: i32,
    /// Halves: the same, or the sum of the levels.
    sum: f32,
    /// Of pairs: the bits of the query row that no element carries.
    filling: u32,
    offset: f32,
    sketches: Option<Sketches<'a, G>>,
}

impl<K: Kernel, G: Guard, const FORM: u8> CodeScorer<'_, K, G, FORM> {
    #[inline(always)]
    fn score_rows<const R: usize>(&self, rows: [Row; R]) -> [f32; R] {
        let mut levels: [&[u8]; R] = [&[]; R];
        let mut bits = [0; R];
        for r in 0..R {
            (levels[r], bits[r]) = self.table.row(rows[r]);
        }
        let kernel = self.table.kernel;
        let products = match FORM {
            BYTES => kernel.dot_signed(self.query, levels),
            HALVES => kernel.dot_halves(self.query, levels),
            BYTE_PAIRS => kernel.dot_offset(self.query, levels),
            _ => kernel.dot_both_halves(self.query, levels),
        };
        let mut out = [0.0; R];
        for r in 0..R {
            out[r] = self.finish(products[r], bits[r], rows[r]);
        }
        out
    }

    #[inline(always)]
    #[expect(clippy::cast_precision_loss, reason = "rounds products above 2^24")]
    fn finish(&self, product: i32, bits: u32, row: Row) -> f32 {
        let [factor, mut square] = unpack(bits);
        let product = match FORM {
            BYTES => product.wrapping_sub(self.shift) as f32,
            HALVES => product as f32 - self.sum,
            _ => {
                let Own { norm, sum } = self.table.own(row);
                square = norm;
                // Filling that is set in both rows was counted.
                let product = product - (bits & self.filling).count_ones().cast_signed();
                if FORM == BYTE_PAIRS {
                    product.wrapping_sub(self.shift) as f32
                } else {
                    half_product(product, self.sum, sum, self.table.constant)
                }
            }
        };
        let dot = (self.scale * product) * factor;
        match self.ask {
            Ask::Square => (self.square + square - dot).max(0.0),
            Ask::Product => (0.0 - dot).min(f32::INFINITY),
            Ask::Centred => {
                let table = &self.table;
                let offset = table.offsets.get(row as usize).copied().unwrap_or(0.0);
                let scaled = dot * table.inverse_longest * table.inverse_longest;
                (1.0 - scaled + self.offset + offset).max(0.0)
            }
        }
    }
}

impl<K: Kernel, G: Guard, const FORM: u8> Scorer for CodeScorer<'_, K, G, FORM> {
    #[inline(always)]
    fn rows(&self) -> usize {
        self.table.codes.len() / self.table.stride
    }

    #[inline(always)]
    fn stride(&self) -> usize {
        self.table.stride
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
        let table = &self.table;
        table.kernel.prefetch(table.codes.hint(row as usize * table.stride, table.stride));
        if FORM == BYTE_PAIRS || FORM == HALF_PAIRS {
            table.kernel.prefetch(table.own.get(row as usize..=row as usize).unwrap_or(&[]));
        }
    }

    #[inline(always)]
    fn is_sketched(&self) -> bool {
        FORM == HALVES && self.sketches.is_some()
    }

    #[inline(always)]
    fn least_four(&self, rows: [Row; BATCH]) -> [f32; BATCH] {
        match &self.sketches {
            Some(sketches) => sketches.least(self.table.kernel, rows),
            None => [f32::NAN; BATCH],
        }
    }

    #[inline(always)]
    fn prefetch_sketch(&self, row: Row) {
        if let Some(sketches) = &self.sketches {
            sketches.prefetch(self.table.kernel, row);
        }
    }

    #[inline(always)]
    fn prefetch_slice<T>(&self, items: &[T]) {
        self.table.kernel.prefetch(items);
    }
}
