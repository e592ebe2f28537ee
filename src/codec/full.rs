//! Full-precision vectors: rows of any [`VectorType`] at a fixed stride, compared as stored.
//!
//! ```text
//! vectors        row i at i × stride: its elements (b1: bytes of eight bits), then zero bytes up to the stride
//! inverse norms  row i at i × 4: 1/‖x‖ as f32, 0 for a zero vector (cosine only, else empty); of
//!                rounded rows instead, under every metric, their scales
//! ```
//! Distances: L2 `Σ (qᵢ − xᵢ)²`; dot `−Σ qᵢ xᵢ`; cosine `1 − Σ qᵢ xᵢ · 1/‖q‖ · 1/‖x‖`, at least 0,
//! and 1 when either vector is zero; hamming, the bits that differ; jaccard `1 − |q ∧ x| / |q ∨ x|`,
//! and 0 when neither has a bit set. A distance that overflows is infinite, and one that cannot be
//! told (∞ − ∞, or damaged bytes) is +∞, so that distances always order. Padding takes part in the
//! sums, where zeros change nothing, which spares the kernels their tails.

use std::marker::PhantomData;

use half::{bf16, f16};

use crate::bytes::{Guard, Guarded, view};
use crate::codec::centre::Centre;
use crate::codec::convert::{inverse, narrow};
use crate::codec::forms::{Bits, Bytes, Floats, Form, Rounded, SignedBytes};
use crate::codec::{BATCH, PairSource, Pairs, PairsOp, QuerySource, Scorer, ScorerOp};
use crate::kernel::{self, Element, Isa, Kernel};
use crate::types::{Metric, Row, VectorType};

pub(crate) use crate::codec::centre::mean;
#[cfg(any(test, feature = "testing"))]
pub(crate) use crate::codec::convert::encode_rows;
pub(crate) use crate::codec::convert::{
    encode_rows_into, inverse_norm, pack_rows, prepare_query, read_row, unpack_rows, wrong_length,
};
pub(crate) use crate::codec::space::{Query, Space, Stage};

/// Rows at a fixed stride, with 1/‖x‖ a row for cosine.
#[derive(Debug)]
pub(crate) struct Rows<'a, G> {
    /// Row i at i × stride.
    pub(crate) vectors: Guarded<'a, G>,
    /// An f32 a row; empty unless the metric is cosine. Of rounded rows a bf16 each, the scale.
    pub(crate) inverse_norms: Guarded<'a, G>,
}

impl<G> Clone for Rows<'_, G> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<G> Copy for Rows<'_, G> {}

impl<G: Guard> Rows<'_, G> {
    /// The scale of a rounded row.
    #[inline(always)]
    pub(super) fn scale(&self, row: usize) -> f32 {
        bf16::from_bits(self.inverse_norms.u16_at(row)).to_f32()
    }
}

/// A query over full rows.
#[derive(Debug)]
pub(crate) struct FullSource<'a, G> {
    pub(crate) query: &'a Query,
    pub(crate) rows: Rows<'a, G>,
}

impl<G: Guard> QuerySource for FullSource<'_, G> {
    fn run<O: ScorerOp>(&self, isa: Isa, op: O) -> O::Output {
        let (query, rows, space) = (self.query, self.rows, self.query.space);
        if let Some(whole) = &query.whole {
            return scan_whole(isa, space, whole.as_slice(), query.inverse_norm, rows, op);
        }
        let floats = view::<f32>(query.floats.as_slice());
        if space.is_rounded() {
            let scan = Scan::<Rounded<f32>, G, O>::new(space, floats, 1.0, rows, op);
            return enter(isa, Scan { square: query.square, ..scan });
        }
        match space.vector_type {
            VectorType::F16 => scan_floats::<f16, G, O>(isa, space, floats, rows, op),
            VectorType::Bf16 => scan_floats::<bf16, G, O>(isa, space, floats, rows, op),
            VectorType::I8 => scan_floats::<i8, G, O>(isa, space, floats, rows, op),
            VectorType::U8 => scan_floats::<u8, G, O>(isa, space, floats, rows, op),
            // A query over bits is always whole.
            VectorType::F32 | VectorType::B1 => {
                scan_floats::<f32, G, O>(isa, space, floats, rows, op)
            }
        }
    }
}

fn scan_whole<G: Guard, O: ScorerOp>(
    isa: Isa,
    space: Space,
    query: &[u8],
    scale: f32,
    rows: Rows<'_, G>,
    op: O,
) -> O::Output {
    match (space.vector_type, space.metric) {
        (VectorType::B1, Metric::Jaccard) => {
            enter(isa, Scan::<Bits<true>, G, O>::new(space, query, scale, rows, op))
        }
        (VectorType::B1, _) => {
            enter(isa, Scan::<Bits<false>, G, O>::new(space, query, scale, rows, op))
        }
        (VectorType::I8, Metric::L2) => {
            enter(isa, Scan::<SignedBytes<true>, G, O>::new(space, view(query), scale, rows, op))
        }
        (VectorType::I8, _) => {
            enter(isa, Scan::<SignedBytes<false>, G, O>::new(space, view(query), scale, rows, op))
        }
        (_, Metric::L2) => {
            enter(isa, Scan::<Bytes<true>, G, O>::new(space, query, scale, rows, op))
        }
        (_, _) => enter(isa, Scan::<Bytes<false>, G, O>::new(space, query, scale, rows, op)),
    }
}

fn scan_floats<E: Element, G: Guard, O: ScorerOp>(
    isa: Isa,
    space: Space,
    query: &[f32],
    rows: Rows<'_, G>,
    op: O,
) -> O::Output {
    match space.metric {
        Metric::L2 => {
            enter(isa, Scan::<Floats<true, f32, E>, G, O>::new(space, query, 1.0, rows, op))
        }
        _ => enter(isa, Scan::<Floats<false, f32, E>, G, O>::new(space, query, 1.0, rows, op)),
    }
}

fn enter<F: Form, G: Guard, O: ScorerOp>(isa: Isa, scan: Scan<'_, F, G, O>) -> O::Output {
    kernel::run(isa, scan)
}

/// Pairs of full rows. The distance of a pair is that of the metric or, when `centre` is that of the
/// rows, what that says.
#[derive(Debug)]
pub(crate) struct FullPairs<'a, G> {
    pub(crate) space: Space,
    pub(crate) rows: Rows<'a, G>,
    pub(crate) centre: &'a Centre,
}

impl<G: Guard> PairSource for FullPairs<'_, G> {
    fn run<O: PairsOp>(&self, isa: Isa, op: O) -> O::Output {
        match (self.space.vector_type, self.space.metric) {
            _ if self.space.is_rounded() => self.compare::<Rounded<i8>, O>(isa, op),
            (VectorType::F32, Metric::L2) => self.compare::<Floats<true, f32, f32>, O>(isa, op),
            (VectorType::F32, _) => self.compare::<Floats<false, f32, f32>, O>(isa, op),
            (VectorType::F16, Metric::L2) => self.compare::<Floats<true, f16, f16>, O>(isa, op),
            (VectorType::F16, _) => self.compare::<Floats<false, f16, f16>, O>(isa, op),
            (VectorType::Bf16, Metric::L2) => self.compare::<Floats<true, bf16, bf16>, O>(isa, op),
            (VectorType::Bf16, _) => self.compare::<Floats<false, bf16, bf16>, O>(isa, op),
            (VectorType::I8, Metric::L2) => self.compare::<SignedBytes<true>, O>(isa, op),
            (VectorType::I8, _) => self.compare::<SignedBytes<false>, O>(isa, op),
            (VectorType::U8, Metric::L2) => self.compare::<Bytes<true>, O>(isa, op),
            (VectorType::U8, _) => self.compare::<Bytes<false>, O>(isa, op),
            (VectorType::B1, Metric::Jaccard) => self.compare::<Bits<true>, O>(isa, op),
            (VectorType::B1, _) => self.compare::<Bits<false>, O>(isa, op),
        }
    }
}

impl<G: Guard> FullPairs<'_, G> {
    fn compare<F: Form<Query = <F as Form>::Row>, O: PairsOp>(&self, isa: Isa, op: O) -> O::Output {
        kernel::run(isa, Compare::<F, G, O>::new(self.space, self.rows, self.centre, op))
    }
}

/// Distances of some rows, which lie anywhere.
pub(crate) fn score_rows<G: Guard>(
    isa: Isa,
    query: &Query,
    rows: Rows<'_, G>,
    wanted: &[Row],
    out: &mut [f32],
) {
    FullSource { query, rows }.run(isa, ScoreRows { wanted, out });
}

struct ScoreRows<'a> {
    wanted: &'a [Row],
    out: &'a mut [f32],
}

impl ScorerOp for ScoreRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Scorer>(self, scorer: S) {
        // As many rows ahead as the caches take while their lines are in flight.
        const AHEAD: usize = 8;
        self.wanted.iter().take(AHEAD).for_each(|row| scorer.prefetch(*row));
        for (index, (row, out)) in self.wanted.iter().zip(self.out).enumerate() {
            if let Some(later) = self.wanted.get(index + AHEAD) {
                scorer.prefetch(*later);
            }
            *out = scorer.score(*row);
        }
    }
}

/// The kernel op that makes a scorer and runs a scorer op.
struct Scan<'a, F: Form, G, O> {
    space: Space,
    query: &'a [F::Query],
    scale: f32,
    square: f64,
    rows: Rows<'a, G>,
    op: O,
}

impl<'a, F: Form, G: Guard, O> Scan<'a, F, G, O> {
    fn new(space: Space, query: &'a [F::Query], scale: f32, rows: Rows<'a, G>, op: O) -> Self {
        Self { space, query, scale, square: 0.0, rows, op }
    }
}

impl<F: Form, G: Guard, O: ScorerOp> kernel::Op for Scan<'_, F, G, O> {
    type Output = O::Output;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> O::Output {
        let none = Centre::default();
        let table = Table::<K, F, G>::new(kernel, self.space, self.rows, &none);
        let Self { query, scale, square, .. } = self;
        self.op.run(FullScorer { table, query, scale, square, offset: 0.0 })
    }
}

/// The kernel op that makes pairs and runs a pairs op.
struct Compare<'a, F, G, O> {
    space: Space,
    rows: Rows<'a, G>,
    centre: &'a Centre,
    op: O,
    form: PhantomData<F>,
}

impl<'a, F: Form, G: Guard, O> Compare<'a, F, G, O> {
    fn new(space: Space, rows: Rows<'a, G>, centre: &'a Centre, op: O) -> Self {
        Self { space, rows, centre, op, form: PhantomData }
    }
}

impl<F: Form<Query = <F as Form>::Row>, G: Guard, O: PairsOp> kernel::Op for Compare<'_, F, G, O> {
    type Output = O::Output;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> O::Output {
        self.op.run(Table::<K, F, G>::new(kernel, self.space, self.rows, self.centre))
    }
}

/// Rows as one kernel sees them.
struct Table<'a, K, F, G> {
    kernel: K,
    rows: Rows<'a, G>,
    stride: usize,
    cosine: bool,
    squared: bool,
    /// Bytes that are read of a row beside its vector.
    factor_bytes: usize,
    /// 0 when the rows are not centred.
    inverse_longest: f32,
    offsets: &'a [f32],
    form: PhantomData<F>,
}

impl<K: Copy, F, G> Clone for Table<'_, K, F, G> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: Copy, F, G> Copy for Table<'_, K, F, G> {}

impl<'a, K: Kernel, F: Form, G: Guard> Table<'a, K, F, G> {
    #[inline(always)]
    fn new(kernel: K, space: Space, rows: Rows<'a, G>, centre: &'a Centre) -> Self {
        let cosine = space.metric == Metric::Cosine;
        Self {
            kernel,
            rows,
            stride: space.stride(),
            cosine,
            squared: space.metric == Metric::L2,
            // The lengths of rounded rows follow from their levels.
            factor_bytes: if F::ROUNDED && cosine { 0 } else { space.factor_bytes() },
            inverse_longest: centre.inverse_longest,
            offsets: &centre.offsets,
            form: PhantomData,
        }
    }

    #[inline(always)]
    fn row<E: Element>(&self, row: Row) -> &'a [E] {
        view(self.rows.vectors.get(row as usize * self.stride, self.stride))
    }

    #[inline(always)]
    fn inverse_norm(&self, row: Row) -> f32 {
        f32::from_bits(self.rows.inverse_norms.u32_at(row as usize))
    }
}

impl<'a, K: Kernel, F: Form<Query = <F as Form>::Row>, G: Guard> Pairs for Table<'a, K, F, G> {
    type Scorer = FullScorer<'a, K, F, G>;

    #[inline(always)]
    fn scorer(self, row: Row) -> Self::Scorer {
        let query: &[F::Row] = self.row(row);
        let offset = self.offsets.get(row as usize).copied().unwrap_or(0.0);
        let (mut scale, mut square) = (self.inverse_longest, 0.0);
        if F::ROUNDED {
            let of_levels = F::square(self.kernel, query);
            scale = self.rows.scale(row as usize);
            square = f64::from(scale) * f64::from(scale) * f64::from(of_levels);
            if self.cosine {
                scale = inverse(f64::from(of_levels).sqrt());
            }
        } else if self.cosine {
            scale = self.inverse_norm(row);
        }
        FullScorer { table: self, query, scale, square, offset }
    }
}

/// The scorer of a query over rows.
struct FullScorer<'a, K, F: Form, G> {
    table: Table<'a, K, F, G>,
    query: &'a [F::Query],
    /// Cosine: 1/length of the query, unless its elements are divided by it; centred: 1/M. Of a rounded row,
    /// but for cosine, its own.
    scale: f32,
    /// Rounded rows: the squared length of the query.
    square: f64,
    /// Centred: the query row's.
    offset: f32,
}

impl<K: Kernel, F: Form, G: Guard> FullScorer<'_, K, F, G> {
    #[inline(always)]
    fn score_rows<const R: usize>(&self, rows: [Row; R]) -> [f32; R] {
        let mut slices: [&[F::Row]; R] = [&[]; R];
        for r in 0..R {
            slices[r] = self.table.row(rows[r]);
        }
        let raw = F::raw(self.table.kernel, self.query, slices);
        let mut out = [0.0; R];
        for r in 0..R {
            out[r] = self.finish(raw[r], rows[r], slices[r]);
        }
        out
    }

    /// Turns what the kernel summed into a distance. `min` also turns NaN into +∞, and adding
    /// zero turns −0 into 0.
    #[inline(always)]
    fn finish(&self, raw: f32, row: Row, elements: &[F::Row]) -> f32 {
        if F::IS_DISTANCE {
            return raw.min(f32::INFINITY);
        }
        if F::ROUNDED {
            return self.finish_rounded(raw, row, elements);
        }
        let table = &self.table;
        let (row_scale, centred) = if table.cosine {
            (table.inverse_norm(row), 0.0)
        } else if let Some(offset) = table.offsets.get(row as usize) {
            (table.inverse_longest, self.offset + offset)
        } else {
            return (0.0 - raw).min(f32::INFINITY);
        };
        let (cosine, scales) = (raw * self.scale * row_scale, self.scale * row_scale);
        if !(raw.is_finite() && cosine.is_finite() && scales <= MOST_SCALE) {
            let (dot, squares) = wide_products(self.query, elements);
            let cosine = if table.cosine && squares > 0.0 {
                dot / squares.sqrt()
            } else {
                dot * f64::from(self.scale) * f64::from(row_scale)
            };
            let distance = 1.0 - cosine + f64::from(centred);
            return if distance.is_nan() { f32::INFINITY } else { narrow(distance.max(0.0)) };
        }
        (1.0 - cosine + centred).max(0.0)
    }
}

impl<K: Kernel, F: Form, G: Guard> FullScorer<'_, K, F, G> {
    /// The same of rounded rows.
    #[inline(always)]
    fn finish_rounded(&self, raw: f32, row: Row, elements: &[F::Row]) -> f32 {
        let table = &self.table;
        if table.cosine {
            let length = F::square(table.kernel, elements).sqrt();
            // Of zero vectors both are 0.
            return (1.0 - raw * self.scale / length.max(1.0)).max(0.0);
        }
        let scale = f64::from(table.rows.scale(row as usize));
        let raw =
            if raw.is_finite() { f64::from(raw) } else { wide_products(self.query, elements).0 };
        let dot = raw * f64::from(self.scale) * scale;
        let distance = if table.squared {
            let square = f64::from(F::square(table.kernel, elements));
            (self.square - 2.0 * dot + scale * scale * square).clamp(0.0, f64::INFINITY)
        } else if let Some(offset) = table.offsets.get(row as usize) {
            let inverse = f64::from(table.inverse_longest);
            let centred = f64::from(self.offset + offset);
            (1.0 - dot * inverse * inverse + centred).clamp(0.0, f64::INFINITY)
        } else {
            0.0 - dot
        };
        narrow(distance).min(f32::INFINITY)
    }
}

/// One over the product of two lengths from which on sums in f32 lose places: their terms are near the least
/// f32 there is.
const MOST_SCALE: f32 = 1e33;

/// The inner product of two vectors and that of their squared lengths, in f64: for vectors so long that f32
/// sums overflow, and for so short ones that these, or one over their lengths, cannot be told.
#[cold]
#[inline(never)]
fn wide_products<Q: Element, E: Element>(query: &[Q], row: &[E]) -> (f64, f64) {
    let (mut dot, mut of_query, mut of_row) = (0.0, 0.0, 0.0);
    for (a, b) in query.iter().zip(row) {
        let (a, b) = (f64::from(a.to_f32()), f64::from(b.to_f32()));
        dot += a * b;
        of_query += a * a;
        of_row += b * b;
    }
    (dot, of_query * of_row)
}

impl<K: Kernel, F: Form, G: Guard> Scorer for FullScorer<'_, K, F, G> {
    #[inline(always)]
    fn rows(&self) -> usize {
        self.table.rows.vectors.len() / self.table.stride
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
    fn score_run(&self, first: Row, out: &mut [f32]) {
        // One row after the other: the caches' own prefetchers lose track of several rows read
        // side by side.
        for (row, out) in (first..).zip(out) {
            *out = self.score(row);
        }
    }

    #[inline(always)]
    fn prefetch(&self, row: Row) {
        let table = &self.table;
        table.kernel.prefetch(table.rows.vectors.hint(row as usize * table.stride, table.stride));
        let (at, width) = (row as usize * table.factor_bytes, table.factor_bytes);
        if width > 0 && at + width <= table.rows.inverse_norms.len() {
            table.kernel.prefetch(table.rows.inverse_norms.hint(at, width));
        }
    }

    #[inline(always)]
    fn prefetch_slice<T>(&self, items: &[T]) {
        self.table.kernel.prefetch(items);
    }
}
