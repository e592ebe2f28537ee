//! Every tier against an f64 reference: all short lengths, a few long ones, unaligned starts.

use half::{bf16, f16};

use super::{Element, Isa, Kernel, Op, run};

/// All results of one tier for one pair of slices.
struct All<'a, Q, E> {
    query: &'a [Q],
    rows: [&'a [E]; 4],
}

#[derive(Debug)]
struct Sums {
    l2: [f32; 4],
    dot: [f32; 4],
    /// The same, one row a call.
    single: ([f32; 4], [f32; 4]),
}

impl<Q: Element, E: Element> Op for All<'_, Q, E> {
    type Output = Sums;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> Sums {
        Sums {
            l2: kernel.l2(self.query, self.rows),
            dot: kernel.dot(self.query, self.rows),
            single: (
                self.rows.map(|row| kernel.l2(self.query, [row])[0]),
                self.rows.map(|row| kernel.dot(self.query, [row])[0]),
            ),
        }
    }
}

struct Whole<'a> {
    query: &'a [u8],
    row: &'a [u8],
}

impl Op for Whole<'_> {
    type Output = (u32, u32);

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> (u32, u32) {
        let [l2] = kernel.l2_bytes(self.query, [self.row]);
        let [dot] = kernel.dot_bytes(self.query, [self.row]);
        (l2, dot)
    }
}

/// Reproducible numbers without a pattern.
fn noise(seed: u64, len: usize) -> Vec<f32> {
    std::iter::repeat_with(super::noise::noise(seed)).take(len).collect()
}

fn lengths() -> impl Iterator<Item = usize> {
    (0..=257).chain([384, 768, 1000, 1536, 4099])
}

fn check<Q: Element, E: Element>(name: &str, make_q: impl Fn(f32) -> Q, make_e: impl Fn(f32) -> E) {
    let longest = lengths().max().unwrap_or(0) + 8;
    let query: Vec<Q> = noise(1, longest).into_iter().map(&make_q).collect();
    let rows: Vec<Vec<E>> =
        (2..6).map(|seed| noise(seed, longest).into_iter().map(&make_e).collect()).collect();
    for isa in Isa::available() {
        for len in lengths() {
            for offset in [0, 1, 3] {
                let query = &query[offset..offset + len];
                let rows: [&[E]; 4] = std::array::from_fn(|r| &rows[r][offset * 2..][..len]);
                let sums = run(isa, All { query, rows });
                assert_eq!(sums.single, (sums.l2, sums.dot), "{name} {} {len}", isa.name());
                for r in 0..4 {
                    let (mut l2, mut dot, mut scale) = (0.0, 0.0, 0.0);
                    for (a, b) in query.iter().zip(rows[r]) {
                        let (a, b) = (f64::from(a.to_f32()), f64::from(b.to_f32()));
                        l2 += (a - b) * (a - b);
                        dot += a * b;
                        scale += (a * b).abs();
                    }
                    // f32 rounding of a few hundred additions a lane at most.
                    let tolerance = 4e-6;
                    let l2_error = (f64::from(sums.l2[r]) - l2).abs();
                    assert!(l2_error <= tolerance * l2, "{name} {} l2 {len}", isa.name());
                    let dot_error = (f64::from(sums.dot[r]) - dot).abs();
                    assert!(dot_error <= tolerance * scale, "{name} {} dot {len}", isa.name());
                }
            }
        }
    }
}

#[test]
fn every_tier_agrees_with_f64_sums() {
    let byte = |x: f32| ((x + 1.0) * 127.5) as u8;
    check("f32 f32", |x| x, |x| x);
    check("f32 f16", |x| x, f16::from_f32);
    check("f32 u8", |x| x * 255.0, byte);
    check("f16 f16", f16::from_f32, f16::from_f32);
    check("f32 bf16", |x| x, bf16::from_f32);
    check("bf16 bf16", bf16::from_f32, bf16::from_f32);
    check("f32 i8", |x| x * 127.0, |x| (x * 128.0) as i8);
}

#[test]
fn byte_sums_are_exact_up_to_the_largest_dimension() {
    let bytes = |seed| noise(seed, 1100).into_iter().map(|x| ((x + 1.0) * 127.5) as u8);
    let (query, row): (Vec<u8>, Vec<u8>) = (bytes(7).collect(), bytes(8).collect());
    let (zeros, full) = (vec![0; 65_536], vec![255; 65_536]);
    for isa in Isa::available() {
        for len in lengths().filter(|len| *len <= 1000) {
            let (query, row) = (&query[1..1 + len], &row[3..3 + len]);
            let pairs = || query.iter().zip(row).map(|(&a, &b)| (i64::from(a), i64::from(b)));
            let l2: i64 = pairs().map(|(a, b)| (a - b) * (a - b)).sum();
            let dot: i64 = pairs().map(|(a, b)| a * b).sum();
            let (got_l2, got_dot) = run(isa, Whole { query, row });
            assert_eq!((i64::from(got_l2), i64::from(got_dot)), (l2, dot), "{} {len}", isa.name());
        }
        let largest = 65_536 * 255 * 255;
        assert_eq!(run(isa, Whole { query: &zeros, row: &full }), (largest, 0));
        assert_eq!(run(isa, Whole { query: &full, row: &full }), (0, largest));
    }
}

/// What one tier computes of codes, four rows at once and one at a time.
struct Codes<'a> {
    query: &'a [u8],
    rows: [&'a [u8]; 4],
}

impl Op for Codes<'_> {
    type Output = [[i32; 4]; 10];

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> Self::Output {
        let Self { query, rows } = self;
        let half = &query[..query.len() / 2];
        let halves = rows.map(|row| &row[..row.len() / 2]);
        let bits = rows.map(|row| &row[..row.len() / 8]);
        [
            kernel.dot_signed(query, rows),
            rows.map(|row| kernel.dot_signed(query, [row])[0]),
            kernel.dot_offset(query, rows),
            rows.map(|row| kernel.dot_offset(query, [row])[0]),
            kernel.dot_halves(query, halves),
            halves.map(|row| kernel.dot_halves(query, [row])[0]),
            kernel.dot_both_halves(half, halves),
            halves.map(|row| kernel.dot_both_halves(half, [row])[0]),
            kernel.sum_where(query, bits),
            bits.map(|row| kernel.sum_where(query, [row])[0]),
        ]
    }
}

/// The elements of half bytes, as the kernels order them.
fn half_bytes(row: &[u8]) -> Vec<i64> {
    let low = |block: &[u8]| block.iter().map(|x| i64::from(x & 15)).collect::<Vec<_>>();
    let high = |block: &[u8]| block.iter().map(|x| i64::from(x >> 4)).collect::<Vec<_>>();
    row.chunks(64).flat_map(|block| [low(block), high(block)].concat()).collect()
}

#[test]
fn products_of_codes_are_exact_on_every_tier() {
    let bytes = |seed| noise(seed, 65_600).into_iter().map(|x| ((x + 1.0) * 128.0) as u8);
    let query: Vec<u8> = bytes(7).collect();
    let noisy: Vec<Vec<u8>> = (8..12).map(|seed| bytes(seed).collect()).collect();
    let extremes: Vec<Vec<u8>> = [0, 127, 128, 255].map(|byte| vec![byte; 65_600]).into();
    let product = |a: &mut dyn Iterator<Item = i64>, b: &mut dyn Iterator<Item = i64>| {
        i32::try_from(a.zip(b).map(|(a, b)| a * b).sum::<i64>()).unwrap()
    };
    let whole = |row: &[u8]| row.iter().map(|x| i64::from(*x)).collect::<Vec<_>>();
    for isa in Isa::available() {
        for len in [128, 256, 384, 896, 65_536] {
            for (query, rows) in
                [(&query, &noisy), (&extremes[2], &extremes), (&extremes[1], &extremes)]
            {
                let query = &query[1..1 + len];
                let rows: [&[u8]; 4] = std::array::from_fn(|r| &rows[r][3..3 + len]);
                let signed: Vec<i64> = query.iter().map(|q| i64::from(q.cast_signed())).collect();
                let offset: Vec<i64> = query.iter().map(|q| i64::from(*q) - 128).collect();
                let both = half_bytes(&query[..len / 2]);
                let expected = [
                    rows.map(|row| {
                        product(&mut whole(row).into_iter(), &mut signed.iter().copied())
                    }),
                    rows.map(|row| {
                        product(&mut whole(row).into_iter(), &mut offset.iter().copied())
                    }),
                    rows.map(|row| {
                        let row = half_bytes(&row[..len / 2]);
                        product(&mut row.into_iter(), &mut signed.iter().copied())
                    }),
                    rows.map(|row| {
                        let row = half_bytes(&row[..len / 2]);
                        product(&mut row.into_iter(), &mut both.iter().copied())
                    }),
                    rows.map(|row| {
                        let bit = |at: usize| i64::from(row[at / 8] >> (at % 8) & 1);
                        product(&mut (0..len).map(bit), &mut signed.iter().copied())
                    }),
                ];
                let found = run(isa, Codes { query, rows });
                for (pair, expected) in found.chunks(2).zip(expected) {
                    assert_eq!(pair, [expected, expected], "{} {len}", isa.name());
                }
            }
        }
    }
}

#[test]
fn nan_and_infinity_propagate() {
    let huge = vec![1e30_f32; 100];
    let mut mixed = huge.clone();
    mixed[50] = -1e30;
    for isa in Isa::available() {
        for at in [0, 17, 64, 96, 99] {
            let mut row = vec![1.0_f32; 100];
            row[at] = f32::NAN;
            let sums = run(isa, All { query: &huge, rows: [&row; 4] });
            assert!(sums.l2[0].is_nan() && sums.dot[0].is_nan(), "{} {at}", isa.name());
            row[at] = f32::INFINITY;
            let sums = run(isa, All { query: &[1.0; 100][..], rows: [&row[..]; 4] });
            assert_eq!((sums.l2[0], sums.dot[0]), (f32::INFINITY, f32::INFINITY));
        }
        let sums = run(isa, All { query: &huge, rows: [&mixed; 4] });
        assert_eq!(sums.l2[0], f32::INFINITY);
        assert!(!sums.dot[0].is_finite(), "infinite or NaN, by the order of the sum");
    }
}
