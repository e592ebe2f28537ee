//! Which kernel compares a query of one element type with rows of another.
//!
//! Knows neither a row's place nor a metric's scale: a form gives what the kernel sums.

use std::marker::PhantomData;

use crate::kernel::{Element, Kernel};

/// One kernel as rows are compared by it.
pub(super) trait Form: Copy + Send + Sync {
    type Query: Element;
    type Row: Element;
    /// Whether the sum is the distance; otherwise it is an inner product.
    const IS_DISTANCE: bool;
    /// Whether rows are rounded ones, which have a scale each.
    const ROUNDED: bool = false;

    /// What the kernel sums. Must be `#[inline(always)]`.
    fn raw<K: Kernel, const R: usize>(
        kernel: K,
        query: &[Self::Query],
        rows: [&[Self::Row]; R],
    ) -> [f32; R];

    /// The squared length of a rounded row, but for its scale. Must be `#[inline(always)]`.
    fn square<K: Kernel>(_kernel: K, _row: &[Self::Row]) -> f32 {
        0.0
    }
}

/// Sums in floats.
#[derive(Clone, Copy)]
pub(super) struct Floats<const L2: bool, Q, E>(PhantomData<(Q, E)>);

impl<const L2: bool, Q: Element, E: Element> Form for Floats<L2, Q, E> {
    type Query = Q;
    type Row = E;
    const IS_DISTANCE: bool = L2;

    #[inline(always)]
    fn raw<K: Kernel, const R: usize>(kernel: K, query: &[Q], rows: [&[E]; R]) -> [f32; R] {
        if L2 { kernel.l2(query, rows) } else { kernel.dot(query, rows) }
    }
}

/// Sums of unsigned bytes in integers. They round above 2²⁴, the same on every path.
#[derive(Clone, Copy)]
pub(super) struct Bytes<const L2: bool>;

impl<const L2: bool> Form for Bytes<L2> {
    type Query = u8;
    type Row = u8;
    const IS_DISTANCE: bool = L2;

    #[inline(always)]
    fn raw<K: Kernel, const R: usize>(kernel: K, query: &[u8], rows: [&[u8]; R]) -> [f32; R] {
        let exact = if L2 { kernel.l2_bytes(query, rows) } else { kernel.dot_bytes(query, rows) };
        let mut out = [0.0; R];
        for r in 0..R {
            out[r] = exact[r] as f32;
        }
        out
    }
}

/// Sums of signed bytes in integers, rounded like those of [`Bytes`].
#[derive(Clone, Copy)]
pub(super) struct SignedBytes<const L2: bool>;

impl<const L2: bool> Form for SignedBytes<L2> {
    type Query = i8;
    type Row = i8;
    const IS_DISTANCE: bool = L2;

    #[inline(always)]
    fn raw<K: Kernel, const R: usize>(kernel: K, query: &[i8], rows: [&[i8]; R]) -> [f32; R] {
        let mut out = [0.0; R];
        if L2 {
            let exact = kernel.l2_signed_bytes(query, rows);
            for r in 0..R {
                out[r] = exact[r] as f32;
            }
        } else {
            let exact = kernel.dot_signed_bytes(query, rows);
            for r in 0..R {
                out[r] = exact[r] as f32;
            }
        }
        out
    }
}

/// Inner products of rounded rows: with the floats of a query, or with each other.
#[derive(Clone, Copy)]
pub(super) struct Rounded<Q>(PhantomData<Q>);

impl Form for Rounded<f32> {
    type Query = f32;
    type Row = i8;
    const IS_DISTANCE: bool = false;
    const ROUNDED: bool = true;

    #[inline(always)]
    fn raw<K: Kernel, const R: usize>(kernel: K, query: &[f32], rows: [&[i8]; R]) -> [f32; R] {
        kernel.dot(query, rows)
    }

    #[inline(always)]
    fn square<K: Kernel>(kernel: K, row: &[i8]) -> f32 {
        let [square] = SignedBytes::<false>::raw(kernel, row, [row]);
        square
    }
}

impl Form for Rounded<i8> {
    type Query = i8;
    type Row = i8;
    const IS_DISTANCE: bool = false;
    const ROUNDED: bool = true;

    #[inline(always)]
    fn raw<K: Kernel, const R: usize>(kernel: K, query: &[i8], rows: [&[i8]; R]) -> [f32; R] {
        SignedBytes::<false>::raw(kernel, query, rows)
    }

    #[inline(always)]
    fn square<K: Kernel>(kernel: K, row: &[i8]) -> f32 {
        let [square] = SignedBytes::<false>::raw(kernel, row, [row]);
        square
    }
}

/// Packed bits: how many differ, or with `JACCARD` the part of those set in either that is not
/// set in both.
#[derive(Clone, Copy)]
pub(super) struct Bits<const JACCARD: bool>;

impl<const JACCARD: bool> Form for Bits<JACCARD> {
    type Query = u8;
    type Row = u8;
    const IS_DISTANCE: bool = true;

    #[inline(always)]
    fn raw<K: Kernel, const R: usize>(kernel: K, query: &[u8], rows: [&[u8]; R]) -> [f32; R] {
        let mut out = [0.0; R];
        if JACCARD {
            let [both, either] = kernel.overlap(query, rows);
            for r in 0..R {
                // Two empty sets are the same set.
                out[r] = (either[r] - both[r]) as f32 / either[r].max(1) as f32;
            }
        } else {
            let differing = kernel.hamming(query, rows);
            for r in 0..R {
                out[r] = differing[r] as f32;
            }
        }
        out
    }
}
