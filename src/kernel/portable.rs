//! Products of codes for the scalar tier, in vectors of 128 bits that every machine of a family has:
//! SSE2 on x86-64, NEON on AArch64. The compiler makes as good code of plain loops over floats, and
//! not of these, whose terms are narrower than their sums.

use fearless_simd::{Bytes, Level, Simd, SimdBase, dispatch, i8x16, i16x8, i32x4, u8x16};

use super::CODE_BYTES;

const BYTES: usize = 16;

/// `Σ rowᵢ · queryᵢ` with signed bytes in the query, or where `OFFSET` with 128 taken from each.
#[cfg_attr(target_arch = "x86_64", inline(never))]
#[cfg_attr(not(target_arch = "x86_64"), inline)]
pub(super) fn dot_bytes<const OFFSET: bool>(query: &[u8], row: &[u8]) -> i32 {
    assert_eq!(query.len(), row.len());
    dispatch!(Level::baseline(), simd => bytes::<_, OFFSET>(simd, query, row))
}

/// `Σ rowᵢ · queryᵢ` with two elements a byte in the row and signed bytes in the query.
#[cfg_attr(target_arch = "x86_64", inline(never))]
#[cfg_attr(not(target_arch = "x86_64"), inline)]
pub(super) fn dot_halves(query: &[u8], row: &[u8]) -> i32 {
    assert_eq!(query.len(), 2 * row.len());
    dispatch!(Level::baseline(), simd => halves(simd, query, row))
}

/// `Σ rowᵢ · queryᵢ` where both have two elements a byte.
#[cfg_attr(target_arch = "x86_64", inline(never))]
#[cfg_attr(not(target_arch = "x86_64"), inline)]
pub(super) fn dot_both_halves(query: &[u8], row: &[u8]) -> i32 {
    assert_eq!(query.len(), row.len());
    dispatch!(Level::baseline(), simd => both_halves(simd, query, row))
}

#[inline(always)]
fn bytes<S: Simd, const OFFSET: bool>(simd: S, query: &[u8], row: &[u8]) -> i32 {
    let mut sums = Sums::new(simd);
    let top = u8x16::splat(simd, 128);
    for (query, row) in query.as_chunks::<BYTES>().0.iter().zip(row.as_chunks::<BYTES>().0) {
        let query = u8x16::from_slice(simd, query);
        let query = if OFFSET { query ^ top } else { query };
        let query = simd.widen_i8x16(query.bitcast());
        let row = simd.widen_u8x16(u8x16::from_slice(simd, row));
        // At most 128 · 255, which 16 bits hold.
        sums.add(
            simd,
            [query.0 * row.0.bitcast::<i16x8<S>>(), query.1 * row.1.bitcast::<i16x8<S>>()],
        );
    }
    sums.whole()
}

#[inline(always)]
fn halves<S: Simd>(simd: S, query: &[u8], row: &[u8]) -> i32 {
    let mut sums = Sums::new(simd);
    let blocks = query.as_chunks::<{ 2 * CODE_BYTES }>().0;
    for (query, row) in blocks.iter().zip(row.as_chunks::<CODE_BYTES>().0) {
        let (low, high) = query.split_at(CODE_BYTES);
        let queries = low.as_chunks::<BYTES>().0.iter().zip(high.as_chunks::<BYTES>().0);
        let mut terms = [i16x8::splat(simd, 0); 2];
        for ((low, high), row) in queries.zip(row.as_chunks::<BYTES>().0) {
            let [row_low, row_high] = split(simd, row);
            add_products(simd, &mut terms, i8s(simd, low), row_low);
            add_products(simd, &mut terms, i8s(simd, high), row_high);
        }
        // Eight of at most 128 · 15.
        sums.add(simd, terms);
    }
    sums.whole()
}

#[inline(always)]
fn both_halves<S: Simd>(simd: S, query: &[u8], row: &[u8]) -> i32 {
    let mut sums = Sums::new(simd);
    let blocks = query.as_chunks::<CODE_BYTES>().0.iter().zip(row.as_chunks::<CODE_BYTES>().0);
    for (query, row) in blocks {
        let pairs = query.as_chunks::<BYTES>().0.iter().zip(row.as_chunks::<BYTES>().0);
        let mut terms = [i16x8::splat(simd, 0); 2];
        for (query, row) in pairs {
            let ([low, high], [row_low, row_high]) = (split(simd, query), split(simd, row));
            add_products(simd, &mut terms, low, row_low);
            add_products(simd, &mut terms, high, row_high);
        }
        sums.add(simd, terms);
    }
    sums.whole()
}

#[inline(always)]
fn i8s<S: Simd>(simd: S, bytes: &[u8; BYTES]) -> i8x16<S> {
    u8x16::from_slice(simd, bytes).bitcast()
}

/// The low and the high halves of bytes.
#[inline(always)]
fn split<S: Simd>(simd: S, bytes: &[u8; BYTES]) -> [i8x16<S>; 2] {
    let bytes = u8x16::from_slice(simd, bytes);
    [(bytes & u8x16::splat(simd, 15)).bitcast(), (bytes >> 4).bitcast()]
}

#[inline(always)]
fn add_products<S: Simd>(simd: S, terms: &mut [i16x8<S>; 2], a: i8x16<S>, b: i8x16<S>) {
    let (first, second) = simd.widening_mul_i8x16(a, b);
    terms[0] += first;
    terms[1] += second;
}

/// Sums in 32 bits of terms in 16.
struct Sums<S: Simd>([i32x4<S>; 4]);

impl<S: Simd> Sums<S> {
    #[inline(always)]
    fn new(simd: S) -> Self {
        Self([i32x4::splat(simd, 0); 4])
    }

    #[inline(always)]
    fn add(&mut self, simd: S, terms: [i16x8<S>; 2]) {
        let [a, b, c, d] = &mut self.0;
        let (first, second) = simd.widen_i16x8(terms[0]);
        (*a, *b) = (*a + first, *b + second);
        let (first, second) = simd.widen_i16x8(terms[1]);
        (*c, *d) = (*c + first, *d + second);
    }

    #[inline(always)]
    fn whole(self) -> i32 {
        let [a, b, c, d] = self.0;
        let lanes: [i32; 4] = ((a + b) + (c + d)).into();
        lanes.iter().sum()
    }
}
