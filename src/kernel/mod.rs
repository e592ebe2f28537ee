//! Numbers on slices: distances between vectors, on the best instructions of the machine.
//!
//! Never allocates, never fails, knows no row, file or metric; the only room with `core::arch`.
//! [`run`] is the one door to a CPU tier: it enters a `#[target_feature]` root and runs an [`Op`]
//! (a whole search, scan or build loop) that is inlined into it, so that kernels inline too.
//! Everything between the root and a kernel must be `#[inline(always)]`: a plain function there
//! is compiled without the tier's instructions and costs a multiple.
//!
//! All sums are kept in f32 over several accumulators, whose order depends on the tier and the
//! length alone: scoring one row or several at once gives the same bits. Rounding differs between
//! tiers. NaN and infinities propagate as in plain arithmetic: a NaN element makes the result NaN,
//! an overflow makes it infinite, and an overflow of both signs makes it infinite or NaN, by the order
//! of the sum.

#![expect(unsafe_code, reason = "the room of core::arch; each block says why it is sound")]

mod bits;
pub(crate) mod fast_scan;
#[cfg(target_arch = "x86_64")]
mod fast_scan_v3;
#[cfg(target_arch = "x86_64")]
mod fast_scan_v4;
mod hadamard;
mod isa;
#[cfg(target_arch = "x86_64")]
mod loads;
pub(crate) mod look_up;
#[cfg(target_arch = "x86_64")]
mod look_up_v4;
pub(crate) mod panel;
mod portable;
mod scalar;
#[cfg(target_arch = "x86_64")]
mod v3;
#[cfg(target_arch = "x86_64")]
mod v4;
mod whole;

#[cfg(all(test, unix))]
mod edge;
#[cfg(test)]
pub(crate) mod noise;
#[cfg(test)]
mod tests;

use half::{bf16, f16};
use zerocopy::{FromBytes, Immutable};

use fast_scan::BLOCK_ROWS;
pub(crate) use isa::Isa;
use isa::Tier;
use look_up::{ENTRIES, Planes};
use panel::Products;

/// The bytes of codes that the kernels take at a time.
pub(crate) const CODE_BYTES: usize = 64;

/// A whole search, scan or build loop, to be run inside one `#[target_feature]` root.
pub(crate) trait Op {
    /// What the loop returns.
    type Output;

    /// Must be `#[inline(always)]`, like everything below it.
    fn run<K: Kernel>(self, kernel: K) -> Self::Output;
}

/// Runs `op` on the tier of `isa`.
pub(crate) fn run<O: Op>(isa: Isa, op: O) -> O::Output {
    match isa.tier() {
        Tier::Scalar => op.run(scalar::Scalar),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an `Isa` of tier v3 exists only where the CPU has the features of the root.
        Tier::V3 => unsafe { v3::root(op) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an `Isa` of tier v4 exists only where the CPU has the features of the root.
        Tier::V4 => unsafe { v4::root(op) },
    }
}

/// The distance kernels of one CPU tier, from one query to `R` rows at once. All slices of a call
/// are of equal length (asserted).
pub(crate) trait Kernel: Copy + Send + Sync {
    /// `Σ (queryᵢ − rowᵢ)²`.
    fn l2<Q: Element, E: Element, const R: usize>(self, query: &[Q], rows: [&[E]; R]) -> [f32; R];

    /// `Σ queryᵢ · rowᵢ`.
    fn dot<Q: Element, E: Element, const R: usize>(self, query: &[Q], rows: [&[E]; R]) -> [f32; R];

    /// `Σ (queryᵢ − rowᵢ)²`, exact for up to 65,536 elements.
    fn l2_bytes<const R: usize>(self, query: &[u8], rows: [&[u8]; R]) -> [u32; R];

    /// `Σ queryᵢ · rowᵢ`, exact for up to 65,536 elements.
    fn dot_bytes<const R: usize>(self, query: &[u8], rows: [&[u8]; R]) -> [u32; R];

    /// `Σ (queryᵢ − rowᵢ)²`, exact for up to 65,536 elements.
    fn l2_signed_bytes<const R: usize>(self, query: &[i8], rows: [&[i8]; R]) -> [u32; R];

    /// `Σ queryᵢ · rowᵢ`, exact for up to 65,536 elements.
    fn dot_signed_bytes<const R: usize>(self, query: &[i8], rows: [&[i8]; R]) -> [i32; R];

    /// How many bits of query and row differ.
    fn hamming<const R: usize>(self, query: &[u8], rows: [&[u8]; R]) -> [u32; R];

    /// How many bits are set in both query and row, and how many in either.
    fn overlap<const R: usize>(self, query: &[u8], rows: [&[u8]; R]) -> [[u32; R]; 2];

    /// `Σ rowᵢ · queryᵢ` with signed bytes in the query, exact for up to 65,536 elements. The length
    /// is a multiple of [`CODE_BYTES`].
    fn dot_signed<const R: usize>(self, query: &[u8], rows: [&[u8]; R]) -> [i32; R];

    /// `Σ rowᵢ · (queryᵢ − 128)`, otherwise like [`dot_signed`](Self::dot_signed).
    fn dot_offset<const R: usize>(self, query: &[u8], rows: [&[u8]; R]) -> [i32; R];

    /// `Σ rowᵢ · queryᵢ` over rows of two elements a byte: of each 64 bytes, the low halves are the
    /// elements 0..64 and the high halves 64..128. The query has a signed byte an element.
    fn dot_halves<const R: usize>(self, query: &[u8], rows: [&[u8]; R]) -> [i32; R];

    /// `Σ rowᵢ · queryᵢ` where both have two elements a byte.
    fn dot_both_halves<const R: usize>(self, query: &[u8], rows: [&[u8]; R]) -> [i32; R];

    /// `Σ queryᵢ` over the bits that are set in a row, with signed bytes in the query, the first of eight
    /// in the lowest bit. The length of the query is a multiple of [`CODE_BYTES`], that of a row its eighth.
    fn sum_where<const R: usize>(self, query: &[u8], rows: [&[u8]; R]) -> [i32; R];

    /// The Hadamard transform of a power of two of elements, in place, unscaled. The same bits on every
    /// tier.
    fn hadamard(self, x: &mut [f32]);

    /// Sums of lookups, a row each, over a block of one-bit codes. The table is as long as the block, a
    /// multiple of [`CODE_BYTES`]; [`fast_scan`] has the layout. Exact for up to 16,777,216 elements.
    fn fast_scan(self, table: &[u8], block: &[u8]) -> [u32; BLOCK_ROWS];

    /// A bit for each of 16 or 32 `values` that is at most `bound`, the first in the lowest bit. None for
    /// NaN.
    fn at_most<const N: usize>(self, values: &[f32; N], bound: f32) -> u32;

    /// The lowest bit of each of `bytes`, the first in the lowest bit.
    fn low_bits(self, bytes: &[u8; 32]) -> u32;

    /// For each row, the sum of the numbers that its bytes have in tables of their own, one a byte.
    #[inline(always)]
    fn look_up<const R: usize>(self, tables: &[[u16; ENTRIES]], rows: [&[u8]; R]) -> [u32; R] {
        look_up::sums(tables, rows)
    }

    /// The same for many rows, with the tables in planes.
    #[inline(always)]
    fn look_up_many(
        self,
        planes: &[Planes],
        rows: &[&[u8]; look_up::ROWS],
    ) -> [u32; look_up::ROWS] {
        look_up::sums_of_many(planes, rows)
    }

    /// `Σ aᵢ · bᵢ` of all pairs of rows of two panels, whose layout [`panel`] has: signed bytes in the
    /// first, unsigned ones in the second. Exact for up to 65,536 elements.
    fn panel_products(self, a: &[[u8; CODE_BYTES]], b: &[[u8; CODE_BYTES]]) -> Products;

    /// Asks for the cache lines of `items` ahead of their use.
    #[inline(always)]
    fn prefetch<T>(self, items: &[T]) {
        prefetch(items);
    }
}

/// An element type of stored vectors; the tiers know how to load it as f32.
#[cfg(target_arch = "x86_64")]
pub(crate) trait Element: Plain + v3::Load + v4::Load {}
#[cfg(target_arch = "x86_64")]
impl<T: Plain + v3::Load + v4::Load> Element for T {}

/// An element type of stored vectors.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) trait Element: Plain {}
#[cfg(not(target_arch = "x86_64"))]
impl<T: Plain> Element for T {}

/// What every tier needs of an element.
pub(crate) trait Plain: Copy + Send + Sync + FromBytes + Immutable + 'static {
    /// The same number, exactly.
    fn to_f32(self) -> f32;
}

impl Plain for f32 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }
}

impl Plain for f16 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        Self::to_f32(self)
    }
}

impl Plain for u8 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        f32::from(self)
    }
}

impl Plain for bf16 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        Self::to_f32(self)
    }
}

impl Plain for i8 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        f32::from(self)
    }
}

/// Asks for the cache lines of `items` ahead of their use.
#[inline(always)]
pub(crate) fn prefetch<T>(items: &[T]) {
    #[cfg(target_arch = "x86_64")]
    for line in (0..size_of_val(items)).step_by(64) {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let address = items.as_ptr().wrapping_byte_add(line).cast();
        // SAFETY: a prefetch is a hint that may be given any address; SSE is part of x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = items;
}
