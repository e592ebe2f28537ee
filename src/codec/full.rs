//! Full-precision vectors: rows of any [`VectorType`] at a fixed stride, compared as stored.
//!
//! ```text
//! vectors        row i at i × stride: its elements (b1: bytes of eight bits), then zero bytes up to the stride
//! inverse norms  row i at i × 4: 1/‖x‖ as f32, 0 for a zero vector (cosine only, else empty)
//! ```
//! Distances: L2 `Σ (qᵢ − xᵢ)²`; dot `−Σ qᵢ xᵢ`; cosine `1 − Σ qᵢ xᵢ · 1/‖q‖ · 1/‖x‖`, at least 0,
//! and 1 when either vector is zero; hamming, the bits that differ; jaccard `1 − |q ∧ x| / |q ∨ x|`,
//! and 0 when neither has a bit set. A distance that overflows is infinite, and one that cannot be
//! told (∞ − ∞, or damaged bytes) is +∞, so that distances always order. Padding takes part in the
//! sums, where zeros change nothing, which spares the kernels their tails.

use std::marker::PhantomData;

use half::{bf16, f16};
use zerocopy::IntoBytes;

use crate::bytes::{AlignedBytes, Guard, Guarded, view};
use crate::codec::centre::Centre;
use crate::codec::convert::{inverse, narrow, squared_norm_of, whole_query};
use crate::codec::forms::{Bits, Bytes, Floats, Form, SignedBytes};
use crate::codec::{BATCH, PairSource, Pairs, PairsOp, QuerySource, Scorer, ScorerOp};
use crate::kernel::{self, Element, Isa, Kernel};
use crate::types::{Metric, Row, VectorType};

#[cfg(any(test, feature = "testing"))]
pub(crate) use crate::codec::convert::encode_rows;
pub(crate) use crate::codec::convert::{
    encode_rows_into, inverse_norm, mean, pack_rows, prepare_query, read_row, unpack_rows,
    wrong_length,
};

/// How the vectors of a collection are laid out and compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Space {
    pub(crate) dimension: usize,
    pub(crate) vector_type: VectorType,
    pub(crate) metric: Metric,
}

impl Space {
    /// Bytes from one stored row to the next.
    pub(crate) fn stride(self) -> usize {
        self.vector_type.stride(self.dimension)
    }

    /// Elements of a row as it is given: numbers, or bytes of eight bits.
    pub(crate) fn elements(self) -> usize {
        self.vector_type.row_elements(self.dimension)
    }

    /// Whether rows can be coded: bits are the smallest code there is.
    pub(crate) fn takes_codes(self) -> bool {
        self.vector_type != VectorType::B1
    }

    /// Elements of a row with its padding.
    fn lanes(self) -> usize {
        self.stride() / self.vector_type.row_bytes(1)
    }
}

/// A query made ready: its elements in the forms that the kernels take.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    space: Space,
    /// f32 elements, zero-padded like a row; of length 1 (or 0) for cosine. None of bits.
    floats: AlignedBytes,
    /// The elements as bytes, padded like a row, where rows are bytes too and it is exact; bits
    /// always are.
    whole: Option<AlignedBytes>,
    /// 1/‖query‖, what `whole` lacks to be of length 1 for cosine.
    inverse_norm: f32,
}

impl Query {
    /// Its elements, zero-padded like a row; of length 1 (or 0) for cosine.
    pub(super) fn floats(&self) -> &[f32] {
        view(self.floats.as_slice())
    }

    /// Takes the elements of one vector: finite numbers, for bits whole bytes (checked by
    /// [`prepare_query`] for those of a user).
    pub(crate) fn new(space: Space, values: &[f32]) -> Self {
        assert_eq!(values.len(), space.elements(), "a query has the shape of its space");
        let whole = whole_query(space, values);
        if space.vector_type == VectorType::B1 {
            return Self { space, floats: AlignedBytes::default(), whole, inverse_norm: 1.0 };
        }
        let mut floats = AlignedBytes::zeroed(space.lanes() * size_of::<f32>());
        let mut inverse_norm = 1.0;
        let bytes = &mut floats.as_mut_slice()[..size_of_val(values)];
        if space.metric == Metric::Cosine {
            let norm = squared_norm_of(values).sqrt();
            inverse_norm = inverse(norm);
            let divisor = norm.max(f64::MIN_POSITIVE);
            for (bytes, value) in bytes.as_chunks_mut().0.iter_mut().zip(values) {
                *bytes = narrow(f64::from(*value) / divisor).to_le_bytes();
            }
        } else {
            bytes.copy_from_slice(values.as_bytes());
        }
        Self { space, floats, whole, inverse_norm }
    }
}

/// Rows at a fixed stride, with 1/‖x‖ a row for cosine.
#[derive(Debug)]
pub(crate) struct Rows<'a, G> {
    /// Row i at i × stride.
    pub(crate) vectors: Guarded<'a, G>,
    /// An f32 a row; empty unless the metric is cosine.
    pub(crate) inverse_norms: Guarded<'a, G>,
}

impl<G> Clone for Rows<'_, G> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<G> Copy for Rows<'_, G> {}

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
    rows: Rows<'a, G>,
    op: O,
}

impl<'a, F: Form, G: Guard, O> Scan<'a, F, G, O> {
    fn new(space: Space, query: &'a [F::Query], scale: f32, rows: Rows<'a, G>, op: O) -> Self {
        Self { space, query, scale, rows, op }
    }
}

impl<F: Form, G: Guard, O: ScorerOp> kernel::Op for Scan<'_, F, G, O> {
    type Output = O::Output;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> O::Output {
        let none = Centre::default();
        let table = Table::<K, F, G>::new(kernel, self.space, self.rows, &none);
        self.op.run(FullScorer { table, query: self.query, scale: self.scale, offset: 0.0 })
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
        Self {
            kernel,
            rows,
            stride: space.stride(),
            cosine: space.metric == Metric::Cosine,
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
        let scale = if self.cosine { self.inverse_norm(row) } else { self.inverse_longest };
        let offset = self.offsets.get(row as usize).copied().unwrap_or(0.0);
        FullScorer { table: self, query: self.row(row), scale, offset }
    }
}

/// The scorer of a query over rows.
struct FullScorer<'a, K, F: Form, G> {
    table: Table<'a, K, F, G>,
    query: &'a [F::Query],
    /// Cosine: 1/length of the query, unless its elements are divided by it; centred: 1/M.
    scale: f32,
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
        if table.cosine && (row as usize + 1) * 4 <= table.rows.inverse_norms.len() {
            table.kernel.prefetch(table.rows.inverse_norms.hint(row as usize * 4, 4));
        }
    }

    #[inline(always)]
    fn prefetch_slice<T>(&self, items: &[T]) {
        self.table.kernel.prefetch(items);
    }
}
