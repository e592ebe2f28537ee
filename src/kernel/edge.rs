//! Kernels read and write no byte beyond their slices: each ends, and then begins, at a page that nobody may
//! touch. A load too far ends the test process.

#![expect(clippy::expect_used, reason = "helpers of tests")]

use std::ptr::null_mut;

use half::{bf16, f16};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::fast_scan::BLOCK_ROWS;
use super::look_up::ENTRIES;
use super::{CODE_BYTES, Element, Isa, Kernel, Op, run};

/// At least a page, whatever the system's is.
const PAGE: usize = 64 << 10;
const LONGEST: usize = 300;

/// Memory between two pages that cannot be read.
struct Fenced {
    start: *mut u8,
    bytes: usize,
}

impl Fenced {
    fn new(bytes: usize) -> Self {
        let bytes = bytes.next_multiple_of(PAGE).max(PAGE);
        let flags = MapFlags::PRIVATE;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the system's choice touches no memory in use.
        let start = unsafe { mmap_anonymous(null_mut(), bytes + 2 * PAGE, access, flags) };
        let start = start.expect("memory").cast::<u8>();
        for fence in [0, PAGE + bytes] {
            // SAFETY: the range lies within the mapping made above, to which nothing refers yet.
            let fenced = unsafe {
                mprotect(start.wrapping_byte_add(fence).cast(), PAGE, MprotectFlags::empty())
            };
            fenced.expect("a fence");
        }
        Self { start, bytes }
    }

    /// Copies `values` to the end, or to the start, of the memory.
    fn hold<T: IntoBytes + FromBytes + Immutable + Copy>(
        &mut self,
        values: &[T],
        at_end: bool,
    ) -> &mut [T] {
        let bytes = values.as_bytes();
        let at = if at_end { self.bytes - bytes.len() } else { 0 };
        // SAFETY: the `bytes` bytes behind the first fence are mapped for reading and writing, were zeroed
        // by the system and are borrowed from `self` alone; `at` and the length stay within them.
        let memory = unsafe {
            std::slice::from_raw_parts_mut(self.start.wrapping_byte_add(PAGE), self.bytes)
        };
        let held = &mut memory[at..at + bytes.len()];
        held.copy_from_slice(bytes);
        <[T]>::mut_from_bytes(held).expect("pages are aligned, and sizes divide them")
    }
}

impl Drop for Fenced {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this length, and nothing borrows it any more.
        let unmapped = unsafe { munmap(self.start.cast(), self.bytes + 2 * PAGE) };
        unmapped.expect("memory that was mapped");
    }
}

fn noise(seed: u64, len: usize) -> Vec<f32> {
    std::iter::repeat_with(super::noise::noise(seed)).take(len).collect()
}

fn bytes(seed: u64, len: usize) -> Vec<u8> {
    noise(seed, len).into_iter().map(|x| ((x + 1.0) * 127.5) as u8).collect()
}

/// Everything that is computed of floats.
struct Floats<'a, Q, E>(&'a [Q], [&'a [E]; 4]);

impl<Q: Element, E: Element> Op for Floats<'_, Q, E> {
    type Output = [[u32; 4]; 4];

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> Self::Output {
        let Self(query, rows) = self;
        let one = |row| (kernel.l2(query, [row])[0], kernel.dot(query, [row])[0]);
        let single = rows.map(one);
        [kernel.l2(query, rows), kernel.dot(query, rows), single.map(|s| s.0), single.map(|s| s.1)]
            .map(|sums| sums.map(f32::to_bits))
    }
}

/// Everything that is computed of bytes and bits of any length.
struct Bytes<'a>(&'a [u8], [&'a [u8]; 4]);

impl Op for Bytes<'_> {
    type Output = Vec<[u32; 4]>;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> Self::Output {
        let Self(query, rows) = self;
        let signed = |bytes: &[u8]| <[i8]>::ref_from_bytes(bytes).expect("bytes").to_vec();
        // The copy of the query ends anywhere; that of the rows is what is fenced.
        let own = signed(query);
        let signed_rows = rows.map(|row| <[i8]>::ref_from_bytes(row).expect("bytes"));
        let [both, either] = kernel.overlap(query, rows);
        vec![
            kernel.l2_bytes(query, rows),
            kernel.dot_bytes(query, rows),
            kernel.l2_signed_bytes(&own, signed_rows),
            kernel.dot_signed_bytes(&own, signed_rows).map(i32::cast_unsigned),
            kernel.hamming(query, rows),
            both,
            either,
            rows.map(|row| kernel.hamming(query, [row])[0]),
            rows.map(|row| kernel.l2_bytes(query, [row])[0]),
            rows.map(|row| kernel.dot_bytes(query, [row])[0]),
        ]
    }
}

/// Everything that is computed of codes, whose bytes come in whole pieces.
struct Codes<'a>(&'a [u8], [&'a [u8]; 4]);

impl Op for Codes<'_> {
    type Output = Vec<[i32; 4]>;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> Self::Output {
        let Self(query, rows) = self;
        // The last of each, since the ends are fenced; then the first.
        let last = |bytes: &'_ [u8], part: usize| bytes.len() - bytes.len() / part;
        let halves = rows.map(|row| &row[last(row, 2)..]);
        let bits = rows.map(|row| &row[last(row, 8)..]);
        let first = rows.map(|row| &row[..row.len() / 8]);
        let sums = kernel.fast_scan(query, rows[0]);
        let (low, high) = sums.split_at(BLOCK_ROWS / 2);
        let sum =
            |sums: &[u32]| sums.iter().fold(0, |a: u32, b| a.wrapping_mul(31).wrapping_add(*b));
        vec![
            kernel.dot_signed(query, rows),
            kernel.dot_offset(query, rows),
            kernel.dot_halves(query, halves),
            kernel.dot_both_halves(&query[last(query, 2)..], halves),
            kernel.sum_where(query, bits),
            kernel.sum_where(query, first),
            rows.map(|row| kernel.dot_signed(query, [row])[0]),
            rows.map(|row| kernel.dot_offset(query, [row])[0]),
            [sum(low), sum(high), 0, 0].map(u32::cast_signed),
        ]
    }
}

/// Lookups of codes of a byte.
struct LookUp<'a>(&'a [[u16; ENTRIES]], [&'a [u8]; 4]);

impl Op for LookUp<'_> {
    type Output = [u32; 4];

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> Self::Output {
        kernel.look_up(self.0, self.1)
    }
}

struct Hadamard<'a>(&'a mut [f32]);

impl Op for Hadamard<'_> {
    type Output = Vec<u32>;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> Self::Output {
        kernel.hadamard(self.0);
        self.0.iter().map(|x| x.to_bits()).collect()
    }
}

/// Five fenced memories: one of a query, four of rows.
fn fences(bytes: usize) -> [Fenced; 5] {
    std::array::from_fn(|_| Fenced::new(bytes))
}

/// Whether `op` gives the same of fenced slices as of any others.
fn compare<Q, E, R: PartialEq + std::fmt::Debug>(
    fences: &mut [Fenced; 5],
    query: &[Q],
    rows: [&[E]; 4],
    op: impl Fn(&[Q], [&[E]; 4]) -> R,
) where
    Q: IntoBytes + FromBytes + Immutable + Copy,
    E: IntoBytes + FromBytes + Immutable + Copy,
{
    let expected = op(query, rows);
    for at_end in [true, false] {
        let [of_query, a, b, c, d] = &mut *fences;
        let query = of_query.hold(query, at_end);
        let rows: [&[E]; 4] = [
            a.hold(rows[0], at_end),
            b.hold(rows[1], at_end),
            c.hold(rows[2], at_end),
            d.hold(rows[3], at_end),
        ];
        assert_eq!(op(query, rows), expected, "{} elements, at the end: {at_end}", query.len());
    }
}

fn check_floats<Q: Element + IntoBytes, E: Element + IntoBytes>(
    fences: &mut [Fenced; 5],
    make_q: impl Fn(f32) -> Q,
    make_e: impl Fn(f32) -> E,
) {
    let query: Vec<Q> = noise(1, LONGEST).into_iter().map(make_q).collect();
    let rows: [Vec<E>; 4] =
        std::array::from_fn(|r| noise(2 + r as u64, LONGEST).into_iter().map(&make_e).collect());
    for isa in Isa::available() {
        for len in 0..=LONGEST {
            let rows = std::array::from_fn(|r| &rows[r][..len]);
            compare(fences, &query[..len], rows, |query, rows| run(isa, Floats(query, rows)));
        }
    }
}

#[test]
fn no_kernel_of_floats_reads_beyond_its_slices() {
    let mut fences = fences(LONGEST * 4);
    check_floats(&mut fences, |x| x, |x| x);
    check_floats(&mut fences, |x| x, f16::from_f32);
    check_floats(&mut fences, |x| x, bf16::from_f32);
    check_floats(&mut fences, |x| x, |x| (x * 127.0) as i8);
    check_floats(&mut fences, |x| x, |x| ((x + 1.0) * 127.5) as u8);
    check_floats(&mut fences, f16::from_f32, f16::from_f32);
    check_floats(&mut fences, bf16::from_f32, bf16::from_f32);
}

#[test]
fn no_kernel_of_bytes_and_codes_reads_beyond_its_slices() {
    let mut fences = fences(64 * CODE_BYTES);
    let query = bytes(1, 64 * CODE_BYTES);
    let rows: [Vec<u8>; 4] = std::array::from_fn(|r| bytes(2 + r as u64, 64 * CODE_BYTES));
    for isa in Isa::available() {
        for len in 0..=LONGEST {
            let rows = std::array::from_fn(|r| &rows[r][..len]);
            compare(&mut fences, &query[..len], rows, |query, rows| run(isa, Bytes(query, rows)));
        }
        for pieces in (2..32).step_by(2) {
            let len = pieces * CODE_BYTES * 2;
            let rows = std::array::from_fn(|r| &rows[r][..len]);
            compare(&mut fences, &query[..len], rows, |query, rows| run(isa, Codes(query, rows)));
        }
    }
}

#[test]
fn no_lookup_reads_and_no_transform_writes_beyond_its_slices() {
    const MOST: usize = 96;
    let mut fences = fences(MOST * ENTRIES * 2);
    let tables: Vec<[u16; ENTRIES]> = (0..MOST)
        .map(|at| std::array::from_fn(|entry| ((at * 7919 + entry * 31) % 65_521) as u16))
        .collect();
    let rows: [Vec<u8>; 4] = std::array::from_fn(|r| bytes(2 + r as u64, MOST));
    for isa in Isa::available() {
        for len in 1..=MOST {
            let rows = std::array::from_fn(|r| &rows[r][..len]);
            compare(&mut fences, &tables[..len], rows, |tables, rows| {
                run(isa, LookUp(tables, rows))
            });
        }
        for len in (0..12).map(|power| 1 << power) {
            let values = noise(3, len);
            let expected = run(isa, Hadamard(&mut values.clone()));
            for at_end in [true, false] {
                let held = fences[0].hold(&values, at_end);
                assert_eq!(run(isa, Hadamard(held)), expected, "{} {len}", isa.name());
            }
        }
    }
}
