//! Conversions and their refusals, and every scorer against plain f64 arithmetic.

use half::{bf16, f16};

use super::centre::Centre;
use super::full::{
    FullPairs, FullSource, Query, Rows, Space, Stage, encode_rows, inverse_norm, pack_rows,
    prepare_query, unpack_rows,
};
use super::{PairSource, Pairs, PairsOp, QuerySource, Scorer, ScorerOp};
use crate::bytes::{AlignedBytes, Guarded, Trusted};
use crate::error::Error;
use crate::kernel::Isa;
use crate::types::{Metric, Row, VectorType, Vectors};

const TYPES: [VectorType; 5] =
    [VectorType::F32, VectorType::F16, VectorType::Bf16, VectorType::I8, VectorType::U8];
const METRICS: [Metric; 3] = [Metric::L2, Metric::Cosine, Metric::Dot];

fn space(dimension: usize, vector_type: VectorType, metric: Metric) -> Space {
    Space { dimension, vector_type, metric, stage: Stage::Given }
}

fn as_bytes(norms: &[f32]) -> AlignedBytes {
    let bytes: Vec<u8> = norms.iter().flat_map(|norm| norm.to_le_bytes()).collect();
    AlignedBytes::from_slice(&bytes)
}

/// Distances of all rows by every path of a scorer, which must agree to the bit.
struct AllPaths;

impl ScorerOp for AllPaths {
    type Output = Vec<f32>;

    #[inline(always)]
    fn run<S: Scorer>(self, scorer: S) -> Vec<f32> {
        let rows: Vec<Row> = (0..scorer.rows() as Row).collect();
        let single: Vec<f32> = rows.iter().map(|row| scorer.score(*row)).collect();
        let (mut batch, mut run) = (vec![0.0; rows.len()], vec![0.0; rows.len()]);
        scorer.score_batch(&rows, &mut batch);
        scorer.score_run(0, &mut run);
        assert_eq!(single, batch);
        assert_eq!(single, run);
        single
    }
}

fn distances(isa: Isa, query: &Query, stored: &(AlignedBytes, Vec<f32>)) -> Vec<f32> {
    let norms = as_bytes(&stored.1);
    let rows: Rows<'_, Trusted> = Rows {
        vectors: Guarded::trusted(stored.0.as_slice()),
        inverse_norms: Guarded::trusted(norms.as_slice()),
    };
    FullSource { query, rows }.run(isa, AllPaths)
}

fn reference(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    let pairs = || a.iter().zip(b).map(|(&a, &b)| (f64::from(a), f64::from(b)));
    let dot: f64 = pairs().map(|(a, b)| a * b).sum();
    let norm = |x: &[f32]| x.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
    match metric {
        Metric::L2 => pairs().map(|(a, b)| (a - b) * (a - b)).sum(),
        Metric::Dot => -dot,
        Metric::Cosine if norm(a) * norm(b) == 0.0 => 1.0,
        Metric::Cosine => 1.0 - dot / (norm(a) * norm(b)),
        Metric::Hamming | Metric::Jaccard => unreachable!("of bits"),
    }
}

#[test]
fn every_scorer_agrees_with_plain_arithmetic() {
    for dimension in [1, 2, 3, 7, 16, 31, 50, 64, 100, 131] {
        let unsigned: Vec<f32> =
            (0..9 * dimension).map(|at| ((at * 7919 + at / 5) % 256) as f32).collect();
        let signed: Vec<f32> = unsigned.iter().map(|x| x - 128.0).collect();
        let whole: Vec<f32> = (0..dimension).map(|at| ((at * 31) % 128) as f32).collect();
        let broken: Vec<f32> = whole.iter().map(|x| x - 99.5).collect();
        for (vector_type, metric) in TYPES.iter().flat_map(|t| METRICS.map(|m| (*t, m))) {
            let space = space(dimension, vector_type, metric);
            let values = if vector_type == VectorType::I8 { &signed } else { &unsigned };
            let stored = encode_rows(space, &values.into(), 9).expect("valid");
            for values_of_query in [&whole, &broken] {
                let query = Query::new(space, values_of_query);
                for isa in Isa::available() {
                    let got = distances(isa, &query, &stored);
                    for (got, row) in got.iter().zip(values.chunks(dimension)) {
                        let wanted = reference(metric, values_of_query, row);
                        let scale = if metric == Metric::Cosine { 1.0 } else { 2e6 };
                        let error = (f64::from(*got) - wanted).abs();
                        let name = isa.name();
                        assert!(
                            error <= 2e-6 * scale,
                            "{name} {vector_type} {metric} {dimension}: {got} not {wanted}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn zero_vectors_are_at_cosine_distance_one() {
    let space = space(5, VectorType::F32, Metric::Cosine);
    let stored =
        encode_rows(space, &(&[0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]).into(), 2)
            .expect("valid");
    assert_eq!(stored.1[0], 0.0);
    for isa in Isa::available() {
        let query = Query::new(space, &[2.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(distances(isa, &query, &stored), [1.0, 0.0]);
        assert_eq!(distances(isa, &Query::new(space, &[0.0; 5]), &stored), [1.0, 1.0]);
    }
}

#[test]
fn cosine_holds_for_very_long_and_very_short_vectors() {
    let space = space(4, VectorType::F32, Metric::Cosine);
    for length in [1e-38_f32, 1e-20, 1.0, 1e20, 3e38] {
        let rows = [length, 0.0, 0.0, 0.0, length, length, 0.0, 0.0];
        let stored = encode_rows(space, &(&rows).into(), 2).expect("valid");
        for isa in Isa::available() {
            for of_query in [1e-38_f32, 1.0, 3e38] {
                let query = Query::new(space, &[of_query, 0.0, 0.0, 0.0]);
                let got = distances(isa, &query, &stored);
                assert!(got[0].abs() < 1e-5, "{length} {of_query}: {got:?}");
                assert!((got[1] - 0.292_893_2).abs() < 1e-5, "{length} {of_query}: {got:?}");
            }
        }
    }
}

/// Distances of all rows from the first.
struct FromFirst;

impl PairsOp for FromFirst {
    type Output = Vec<f32>;

    #[inline(always)]
    fn run<P: Pairs>(self, pairs: P) -> Vec<f32> {
        AllPaths.run(pairs.scorer(0))
    }
}

#[test]
fn cosine_is_right_for_lengths_near_the_least_number_and_below_it() {
    let rows = 6;
    let mut next = crate::kernel::noise::bits(8);
    let mut unit = || f64::from((next() >> 40) as u32) / f64::from(1 << 24) - 0.5;
    for dimension in [3, 64, 4_096] {
        let directions: Vec<f64> = (0..rows * dimension).map(|_| unit()).collect();
        for length in [3e-45, 1e-44, 1e-42, 1e-41, 1e-39, 1e-38, 1e-36, 1e-30, 1e-20] {
            for vector_type in [VectorType::F32, VectorType::Bf16] {
                let space = space(dimension, vector_type, Metric::Cosine);
                let values: Vec<f32> = directions.iter().map(|x| (x * length) as f32).collect();
                let stored = encode_rows(space, &(&values).into(), rows).expect("valid");
                // As they were rounded.
                let kept: Vec<&[u8]> = stored.0.as_slice().chunks(space.stride()).collect();
                let kept = unpack_rows(space, &kept).to_f32(0..values.len());
                let norms = as_bytes(&stored.1);
                let pairs: FullPairs<'_, Trusted> = FullPairs {
                    space,
                    rows: Rows {
                        vectors: Guarded::trusted(stored.0.as_slice()),
                        inverse_norms: Guarded::trusted(norms.as_slice()),
                    },
                    centre: &Centre::default(),
                };
                let first = &kept[..dimension];
                for isa in Isa::available() {
                    let asked = distances(isa, &Query::new(space, first), &stored);
                    let paired = pairs.run(isa, FromFirst);
                    for (row, found) in asked.iter().chain(&paired).enumerate() {
                        let row = &kept[row % rows * dimension..][..dimension];
                        let wanted = reference(Metric::Cosine, first, row);
                        assert!(
                            (f64::from(*found) - wanted).abs() < 2e-6,
                            "{vector_type} × {dimension} of {length}: {found}, not {wanted}"
                        );
                    }
                }
                let mut read = vec![0.0; dimension];
                super::full::read_row(space, pairs.rows, 0, &mut read);
                let square: f64 = read.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
                let wanted = if first.iter().all(|x| *x == 0.0) { 0.0 } else { 1.0 };
                assert!((square - wanted).abs() < 1e-5, "{dimension} of {length}: {square}");
            }
        }
    }
}

#[test]
fn a_distance_is_never_nan_nor_minus_zero() {
    let rows = [1e38_f32, -1e38, f32::NAN, 1.0, 0.0, 0.0, f32::INFINITY, 1.0];
    let mut vectors = AlignedBytes::zeroed(4 * 8);
    for (out, value) in vectors.as_mut_slice().chunks_exact_mut(4).zip(rows) {
        out.copy_from_slice(&value.to_le_bytes());
    }
    for metric in METRICS {
        let space = space(2, VectorType::F32, metric);
        let stored = (vectors.clone(), vec![1.0; 4]);
        for isa in Isa::available() {
            for query in [[1e38, 1e38], [0.0, 0.0], [-1.0, 2.0]] {
                let got = distances(isa, &Query::new(space, &query), &stored);
                assert!(got.iter().all(|x| !x.is_nan()), "{metric} {got:?}");
                assert!(got.iter().all(|x| *x != 0.0 || x.is_sign_positive()), "{metric}");
            }
        }
    }
}

#[test]
fn what_is_stored_is_what_was_given() {
    let numbers: Vec<f32> = vec![0.0, 1.0, 127.0, 7.0, 64.0, 3.0];
    let halves: Vec<f16> = numbers.iter().map(|x| f16::from_f32(*x)).collect();
    let brains: Vec<bf16> = numbers.iter().map(|x| bf16::from_f32(*x)).collect();
    let signed: Vec<i8> = numbers.iter().map(|x| *x as i8).collect();
    let bytes: Vec<u8> = numbers.iter().map(|x| *x as u8).collect();
    for given in [
        Vectors::from(&numbers),
        Vectors::from(&halves),
        Vectors::from(&brains),
        Vectors::from(&signed),
        Vectors::from(&bytes),
    ] {
        for vector_type in TYPES {
            let space = space(3, vector_type, Metric::Cosine);
            let (stored, norms) = encode_rows(space, &given, 2).expect("valid");
            let rows: Vec<&[u8]> = stored.as_slice().chunks(space.stride()).collect();
            for (stored, norm) in rows.iter().zip(&norms) {
                assert_eq!(*norm, inverse_norm(space, stored));
                assert!(stored[vector_type.row_bytes(3)..].iter().all(|byte| *byte == 0));
            }
            let back = unpack_rows(space, &rows);
            assert_eq!(back.element_type(), vector_type);
            assert_eq!(back.to_f32(0..6), numbers);
            let packed: Vec<u8> =
                rows.iter().flat_map(|row| &row[..vector_type.row_bytes(3)]).copied().collect();
            let (repacked, norms_again) = pack_rows(space, &packed).expect("finite");
            assert_eq!((repacked.as_slice(), norms_again), (stored.as_slice(), norms));
        }
    }
}

#[test]
fn elements_that_are_not_finite_are_not_packed() {
    let space = |vector_type| space(2, vector_type, Metric::L2);
    let elements: Vec<u8> = [1.0_f32, f32::NAN].iter().flat_map(|x| x.to_le_bytes()).collect();
    assert!(pack_rows(space(VectorType::F32), &elements).is_none());
    let elements = [bf16::ONE, bf16::INFINITY].map(bf16::to_le_bytes).concat();
    assert!(pack_rows(space(VectorType::Bf16), &elements).is_none());
}

#[test]
fn what_cannot_be_stored_is_named() {
    let refuse = |vector_type, values: &[f32]| {
        let space = space(2, vector_type, Metric::L2);
        encode_rows(space, &values.into(), values.len() / 2).expect_err("must be refused")
    };
    for (vector_type, bad) in [
        (VectorType::F32, f32::NAN),
        (VectorType::F32, f32::INFINITY),
        (VectorType::F16, 65_520.0),
        (VectorType::F16, f32::NAN),
        (VectorType::Bf16, 3.4e38),
        (VectorType::Bf16, f32::NEG_INFINITY),
        (VectorType::I8, 0.5),
        (VectorType::I8, 1e-20),
        (VectorType::I8, 128.0),
        (VectorType::I8, -129.0),
        (VectorType::I8, f32::NAN),
        (VectorType::U8, 0.5),
        (VectorType::U8, -1.0),
        (VectorType::U8, 256.0),
        (VectorType::U8, f32::NEG_INFINITY),
    ] {
        match refuse(vector_type, &[1.0, 2.0, 3.0, bad]) {
            Error::InvalidVector { row: 1, column: 1, value, .. } => {
                assert_eq!(value.to_bits(), bad.to_bits());
            }
            other => panic!("{vector_type} {bad}: {other}"),
        }
    }
    let half = [f16::ONE, f16::NAN];
    for vector_type in [VectorType::F32, VectorType::F16] {
        let space = space(2, vector_type, Metric::L2);
        let error = encode_rows(space, &(&half).into(), 1).expect_err("must be refused");
        assert!(matches!(error, Error::InvalidVector { row: 0, column: 1, .. }));
    }
}

#[test]
fn a_wrong_dimension_is_named() {
    let space = space(4, VectorType::F32, Metric::L2);
    let mismatch = |len: usize, rows| match encode_rows(space, &vec![1.0; len].into(), rows) {
        Err(Error::DimensionMismatch { expected: 4, given, row }) => (given, row),
        other => panic!("{other:?}"),
    };
    assert_eq!(mismatch(6, 2), (3, 0));
    assert_eq!(mismatch(7, 2), (3, 1));
    assert_eq!(mismatch(4, 0), (4, 0));
    assert_eq!(mismatch(0, 2), (0, 0));
    assert!(prepare_query(space, &vec![1.0; 8].into()).is_ok_and(|queries| queries.len() == 2));
    assert!(prepare_query(space, &vec![1.0; 6].into()).is_err());
    assert!(prepare_query(space, &vec![f32::NAN; 4].into()).is_err());
}

#[test]
fn what_a_type_can_hold_at_its_ends_is_kept() {
    let back = |vector_type, values: &[f32]| {
        let space = space(2, vector_type, Metric::L2);
        let (stored, _) = encode_rows(space, &values.into(), 1).expect("in range");
        unpack_rows(space, &[stored.as_slice()]).to_f32(0..2)
    };
    assert_eq!(back(VectorType::I8, &[-128.0, 127.0]), [-128.0, 127.0]);
    assert_eq!(back(VectorType::U8, &[0.0, 255.0]), [0.0, 255.0]);
    let largest = bf16::MAX.to_f32();
    assert_eq!(back(VectorType::Bf16, &[largest, -largest]), [largest, -largest]);
    // Ties go to the even neighbour.
    assert_eq!(back(VectorType::Bf16, &[1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0]), [1.0, 1.015_625]);
}

/// Plain counts of the bits of two rows: differing, in both, in either.
fn counted(a: &[u8], b: &[u8]) -> (u32, u32, u32) {
    let count = |of: fn(u8, u8) -> u8| a.iter().zip(b).map(|(a, b)| of(*a, *b).count_ones()).sum();
    (count(|a, b| a ^ b), count(|a, b| a & b), count(|a, b| a | b))
}

#[test]
fn bits_are_compared_by_counting() {
    for dimension in [1, 8, 9, 31, 64, 100, 512, 1000] {
        let bytes = VectorType::B1.row_elements(dimension);
        let mask = (0xFF_u32 << (dimension.next_multiple_of(8) - dimension)) as u8;
        let row = |row: usize| -> Vec<u8> {
            let mut bits: Vec<u8> =
                (0..bytes).map(|at| (((at + 3) * (row + 1) * 7919) >> 3) as u8).collect();
            bits[bytes - 1] &= mask;
            bits
        };
        let mut rows: Vec<Vec<u8>> = (0..9).map(row).collect();
        rows[4].fill(0);
        for metric in [Metric::Hamming, Metric::Jaccard] {
            let space = space(dimension, VectorType::B1, metric);
            let stored = encode_rows(space, &rows.concat().into(), 9).expect("bits");
            for query in [&rows[0], &rows[4]] {
                let queries = prepare_query(space, &query.into()).expect("bits");
                for isa in Isa::available() {
                    let got = distances(isa, &queries[0], &stored);
                    for (got, row) in got.iter().zip(&rows) {
                        let (differing, both, either) = counted(query, row);
                        let jaccard = if either == 0 {
                            0.0
                        } else {
                            1.0 - f64::from(both) / f64::from(either)
                        };
                        let wanted =
                            if metric == Metric::Hamming { f64::from(differing) } else { jaccard };
                        let name = isa.name();
                        assert!((f64::from(*got) - wanted).abs() < 1e-6, "{name} {metric} {got}");
                    }
                }
            }
        }
    }
}

#[test]
fn bits_beyond_the_dimension_and_unpacked_bits_are_refused() {
    let space = space(12, VectorType::B1, Metric::Hamming);
    let stored = encode_rows(space, &(&[0xFF_u8, 0xF0, 1, 0x10]).into(), 2).expect("twelve bits");
    assert_eq!(unpack_rows(space, &[&stored.0.as_slice()[..4]]).to_f32(0..2), [255.0, 240.0]);
    for given in [Vectors::from(&[0, 0, 0xFF_u8, 0xF8]), Vectors::from(&[0.0, 0.0, 255.0, 248.0])] {
        match encode_rows(space, &given, 2) {
            Err(Error::InvalidVector { row: 1, column: 8, value: 248.0, .. }) => {}
            other => panic!("{other:?}"),
        }
        assert!(prepare_query(space, &given).is_err());
    }
    assert!(pack_rows(space, &[0xFF, 0xF8]).is_none());
    assert!(pack_rows(space, &[0xFF, 0xF0]).is_some());
    assert!(encode_rows(space, &(&[0.5, 0.0]).into(), 1).is_err());
    for given in [Vectors::from(vec![1_u8; 12]), Vectors::from(vec![1.0; 12])] {
        let error = encode_rows(space, &given, 1).expect_err("not packed").to_string();
        assert!(error.contains("packbits") && error.contains("2 bytes"), "{error}");
    }
    match encode_rows(space, &vec![0_u8; 3].into(), 1) {
        Err(Error::DimensionMismatch { expected: 12, given: 24, row: 0 }) => {}
        other => panic!("{other:?}"),
    }
}
