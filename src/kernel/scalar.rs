//! The scalar tier, for machines without another one: plain loops over sixteen lanes, which the compiler
//! vectorises by itself (SSE2, NEON), and products of codes in [`portable`] vectors. On x86-64, where few
//! machines are left for it, its larger functions are not inlined into every search, which the size of
//! programs tells.

use super::fast_scan::{self, BLOCK_ROWS};
use super::panel::{self, Products};
use super::{CODE_BYTES, Element, Kernel, bits, hadamard, portable, whole};

const LANES: usize = 16;

/// The tier that every machine has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scalar;

impl Kernel for Scalar {
    #[inline(always)]
    fn l2<Q: Element, E: Element, const R: usize>(self, query: &[Q], rows: [&[E]; R]) -> [f32; R] {
        rows.map(|row| distance::<true, Q, E>(query, row))
    }

    #[inline(always)]
    fn dot<Q: Element, E: Element, const R: usize>(self, query: &[Q], rows: [&[E]; R]) -> [f32; R] {
        rows.map(|row| distance::<false, Q, E>(query, row))
    }

    #[inline(always)]
    fn l2_bytes<const R: usize>(self, query: &[u8], rows: [&[u8]; R]) -> [u32; R] {
        rows.map(|row| {
            assert_eq!(query.len(), row.len());
            let squares = query.iter().zip(row).map(|(&a, &b)| {
                let difference = u32::from(a.abs_diff(b));
                difference * difference
            });
            squares.sum()
        })
    }

    #[inline(always)]
    fn dot_bytes<const R: usize>(self, query: &[u8], rows: [&[u8]; R]) -> [u32; R] {
        rows.map(|row| {
            assert_eq!(query.len(), row.len());
            query.iter().zip(row).map(|(&a, &b)| u32::from(a) * u32::from(b)).sum()
        })
    }

    #[inline(always)]
    fn l2_signed_bytes<const R: usize>(self, query: &[i8], rows: [&[i8]; R]) -> [u32; R] {
        rows.map(|row| whole::distance::<true>(query, row).cast_unsigned())
    }

    #[inline(always)]
    fn dot_signed_bytes<const R: usize>(self, query: &[i8], rows: [&[i8]; R]) -> [i32; R] {
        rows.map(|row| whole::distance::<false>(query, row))
    }

    #[inline(always)]
    fn hamming<const R: usize>(self, query: &[u8], rows: [&[u8]; R]) -> [u32; R] {
        rows.map(|row| bits::count::<{ bits::DIFFERING }>(query, row)[0])
    }

    #[inline(always)]
    fn overlap<const R: usize>(self, query: &[u8], rows: [&[u8]; R]) -> [[u32; R]; 2] {
        let counts = rows.map(|row| bits::count::<{ bits::OVERLAP }>(query, row));
        [counts.map(|[both, _]| both), counts.map(|[_, either]| either)]
    }

    #[inline(always)]
    fn dot_signed<const R: usize>(self, query: &[u8], rows: [&[u8]; R]) -> [i32; R] {
        rows.map(|row| portable::dot_bytes::<false>(query, row))
    }

    #[inline(always)]
    fn dot_offset<const R: usize>(self, query: &[u8], rows: [&[u8]; R]) -> [i32; R] {
        rows.map(|row| portable::dot_bytes::<true>(query, row))
    }

    #[inline(always)]
    fn dot_halves<const R: usize>(self, query: &[u8], rows: [&[u8]; R]) -> [i32; R] {
        rows.map(|row| portable::dot_halves(query, row))
    }

    #[inline(always)]
    fn dot_both_halves<const R: usize>(self, query: &[u8], rows: [&[u8]; R]) -> [i32; R] {
        rows.map(|row| portable::dot_both_halves(query, row))
    }

    #[inline(always)]
    fn sum_where<const R: usize>(self, query: &[u8], rows: [&[u8]; R]) -> [i32; R] {
        rows.map(|row| {
            assert_eq!(query.len(), 8 * row.len());
            let eight = |(query, bits): (&[u8; 8], &u8)| {
                let term = |(at, byte): (usize, &u8)| {
                    i32::from(byte.cast_signed()) * i32::from(bits >> at & 1)
                };
                query.iter().enumerate().map(term).sum::<i32>()
            };
            query.as_chunks().0.iter().zip(row).map(eight).sum()
        })
    }

    #[inline(always)]
    fn hadamard(self, x: &mut [f32]) {
        hadamard::pairs(x, 1);
    }

    #[inline(always)]
    fn panel_products(self, a: &[[u8; CODE_BYTES]], b: &[[u8; CODE_BYTES]]) -> Products {
        panel::products(a, b)
    }

    #[inline(always)]
    fn fast_scan(self, table: &[u8], block: &[u8]) -> [u32; BLOCK_ROWS] {
        fast_scan::sums(table, block)
    }

    #[inline(always)]
    fn at_most<const N: usize>(self, values: &[f32; N], bound: f32) -> u32 {
        fast_scan::at_most(values, bound)
    }

    #[inline(always)]
    fn low_bits(self, bytes: &[u8; 32]) -> u32 {
        let mut bits = 0;
        for (place, byte) in bytes.iter().enumerate() {
            bits |= u32::from(byte & 1) << place;
        }
        bits
    }
}

#[cfg_attr(target_arch = "x86_64", inline(never))]
#[cfg_attr(not(target_arch = "x86_64"), inline)]
fn distance<const L2: bool, Q: Element, E: Element>(query: &[Q], row: &[E]) -> f32 {
    assert_eq!(query.len(), row.len());
    let mut sums = [0.0_f32; LANES];
    let (query_blocks, query_rest) = query.as_chunks::<LANES>();
    let (row_blocks, row_rest) = row.as_chunks::<LANES>();
    for (a, b) in query_blocks.iter().zip(row_blocks) {
        for lane in 0..LANES {
            sums[lane] += term::<L2>(a[lane].to_f32(), b[lane].to_f32());
        }
    }
    for (sum, (a, b)) in sums.iter_mut().zip(query_rest.iter().zip(row_rest)) {
        *sum += term::<L2>(a.to_f32(), b.to_f32());
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
        width /= 2;
    }
    sums[0]
}

#[inline(always)]
fn term<const L2: bool>(a: f32, b: f32) -> f32 {
    if L2 {
        let difference = a - b;
        difference * difference
    } else {
        a * b
    }
}
