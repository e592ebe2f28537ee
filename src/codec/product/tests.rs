//! Product codes against the full vectors, and data that they cannot hold.

use zerocopy::IntoBytes;

use super::*;
use crate::bytes::{AlignedBytes, Guarded, Trusted};
use crate::codec::full::Stage;
use crate::codec::full::{FullSource, Query, encode_rows};
use crate::codec::{QuerySource, Scorer, ScorerOp};
use crate::types::{Metric, Row, VectorType, Vectors};

const ROWS: usize = 2_500;

struct Stored {
    space: Space,
    count: usize,
    vectors: AlignedBytes,
    norms: Vec<f32>,
}

impl Stored {
    fn new(metric: Metric, dimension: usize, values: &[f32]) -> Self {
        let space = Space { dimension, vector_type: VectorType::F32, metric, stage: Stage::Given };
        let count = values.len() / dimension;
        let (vectors, norms) = encode_rows(space, &Vectors::from(values), count).expect("finite");
        Self { space, count, vectors, norms }
    }

    fn rows(&self) -> Rows<'_, Trusted> {
        Rows {
            vectors: Guarded::trusted(self.vectors.as_slice()),
            inverse_norms: Guarded::trusted(self.norms.as_bytes()),
        }
    }

    fn train(&self, isa: Isa, bytes: usize) -> Option<ProductCodec> {
        let crew = &Crew::alone(isa);
        let asked = (Width::Byte, bytes);
        ProductCodec::train(crew, asked, self.space, self.rows(), self.count).expect("not stopped")
    }

    fn code(&self, isa: Isa, codec: &ProductCodec) -> AlignedBytes {
        let mut codes = AlignedBytes::zeroed(self.count * codec.stride());
        codec.encode(isa, self.rows(), 0..self.count, codes.as_mut_slice());
        codes
    }
}

/// All distances of a query, in each way there is.
struct Each(usize);

impl ScorerOp for Each {
    type Output = Vec<f32>;

    #[inline(always)]
    fn run<S: Scorer>(self, scorer: S) -> Vec<f32> {
        let rows: Vec<Row> = (0..self.0 as Row).collect();
        let (mut batch, mut run) = (vec![0.0; self.0], vec![0.0; self.0]);
        scorer.score_batch(&rows, &mut batch);
        scorer.score_run(0, &mut run);
        rows.iter().for_each(|row| scorer.prefetch(*row));
        let single: Vec<f32> = rows.iter().map(|row| scorer.score(*row)).collect();
        assert!(batch == run && run == single);
        single
    }
}

/// Rows that differ along a few directions more than along others.
fn leaning(seed: u64, rows: usize, dimension: usize) -> Vec<f32> {
    let mut next = kernel::noise::noise(seed);
    let mut directions = kernel::noise::noise(7);
    let directions: Vec<f32> = (0..8 * dimension).map(|_| directions()).collect();
    let row = |_| {
        let weights: Vec<f32> = (0..8).map(|_| next() + next() + next()).collect();
        let along = |at: usize| (0..8).map(|w| weights[w] * directions[w * dimension + at]).sum();
        let row: Vec<f32> = (0..dimension).map(|at: usize| -> f32 { along(at) }).collect();
        row.into_iter().map(|x| x + 0.2 * next() + 0.5).collect::<Vec<f32>>()
    };
    (0..rows).flat_map(row).collect()
}

fn score(isa: Isa, codec: &ProductCodec, codes: &AlignedBytes, query: &Query) -> Vec<f32> {
    let rows = ProductRows { codec, codes: Guarded::trusted(codes.as_slice()) };
    let count = codes.len() / codec.stride();
    ProductSource { rows, query: &codec.query(isa, query) }.run(isa, Each(count))
}

#[test]
fn distances_are_near_the_exact_ones_and_the_same_on_every_tier() {
    for metric in [Metric::L2, Metric::Cosine, Metric::Dot] {
        for (dimension, bytes) in [(8, 10), (50, 12), (200, 24)] {
            let stored = Stored::new(metric, dimension, &leaning(1, ROWS, dimension));
            let query = Query::new(stored.space, &leaning(2, 1, dimension));
            let exact =
                FullSource { query: &query, rows: stored.rows() }.run(Isa::detect(), Each(ROWS));
            let mut before = None;
            for isa in Isa::available() {
                let codec = stored.train(isa, bytes).expect("enough rows");
                assert!(codec.stride() <= bytes);
                let codes = stored.code(isa, &codec);
                let found = score(isa, &codec, &codes, &query);
                let all = (codec.to_bytes(), codes.as_slice().to_vec(), found.clone());
                let before = before.get_or_insert_with(|| all.clone());
                assert!(*before == all, "{metric} {dimension} {}", isa.name());
                let mut order: Vec<usize> = (0..ROWS).collect();
                order.sort_by(|a, b| found[*a].total_cmp(&found[*b]));
                let mut sorted = exact.clone();
                sorted.sort_by(f32::total_cmp);
                let near = order[..50].iter().filter(|row| exact[**row] <= sorted[9]).count();
                assert!(near >= 9, "{metric} {dimension} {near}");
            }
        }
    }
}

#[test]
fn rows_that_lean_are_told_apart_better_than_by_their_elements_alone() {
    // Eight directions hold nearly all there is to tell: a byte for each is enough for it.
    let stored = Stored::new(Metric::L2, 64, &leaning(3, ROWS, 64));
    let codec = stored.train(Isa::detect(), 12).expect("enough rows");
    let codes = stored.code(Isa::detect(), &codec);
    let (mut error, mut spread) = (0.0, 0.0);
    for row in (0..ROWS).step_by(100) {
        let query = Query::new(stored.space, &leaning(3, ROWS, 64)[row * 64..][..64]);
        let found = score(Isa::detect(), &codec, &codes, &query);
        error += found[row];
        spread += found.iter().sum::<f32>() / ROWS as f32;
    }
    assert!(error < 0.05 * spread, "{error} of {spread}");
}

#[test]
fn parameters_survive_their_bytes_and_others_are_refused() {
    let stored = Stored::new(Metric::L2, 12, &leaning(4, ROWS, 12));
    let codec = stored.train(Isa::detect(), 9).expect("enough rows").comparing(38);
    let bytes = codec.to_bytes();
    let parse = |bytes: &[u8]| ProductCodec::parse(bytes, stored.space);
    assert_eq!(parse(&bytes).expect("just written").to_bytes(), bytes);
    let sizes_at = HEADER_BYTES + 4 * 12;
    let members_at = sizes_at + 4 * codec.subspace_count();
    let axes_at = members_at + 4 * codec.members.len();
    for at in (0..HEADER_BYTES).chain(sizes_at..members_at) {
        let mut other = bytes.clone();
        other[at] ^= 0x41;
        assert!(parse(&other).is_none(), "{at}");
    }
    for len in [0, 8, 63, 64, 70, 112, 132, bytes.len() - 4, bytes.len() - 1] {
        assert!(parse(&bytes[..len]).is_none(), "{len}");
    }
    for more in [1, 4] {
        assert!(parse(&[&bytes[..], &[0, 0, 0, 0][..more]].concat()).is_none());
    }
    for wrong in [f32::NAN, f32::INFINITY] {
        for at in [HEADER_BYTES, bytes.len() - 4] {
            let mut other = bytes.clone();
            other[at..at + 4].copy_from_slice(&wrong.to_le_bytes());
            assert!(parse(&other).is_none());
        }
    }
    for at in (members_at..axes_at).step_by(4) {
        let mut other = bytes.clone();
        other[at..at + 4].copy_from_slice(&(codec.axis_count() as u32).to_le_bytes());
        assert!(parse(&other).is_none(), "an axis that there is not");
    }
    // Sizes that add up to the same, one of them nothing.
    let sizes: Vec<u32> = codec.subspaces().map(|axes| axes.len() as u32).collect();
    let mut other = bytes.clone();
    other[sizes_at..][..4].copy_from_slice(&0_u32.to_le_bytes());
    other[sizes_at + 4..][..4].copy_from_slice(&(sizes[0] + sizes[1]).to_le_bytes());
    assert!(parse(&other).is_none());
    other[sizes_at..][..4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(parse(&other).is_none());
    assert!(ProductCodec::parse(&bytes, Space { dimension: 13, ..stored.space }).is_none());
}

#[test]
fn what_cannot_be_learnt_is_refused() {
    let isa = Isa::detect();
    let values = leaning(5, ROWS, 6);
    let train =
        |metric, values: &[f32], bytes| Stored::new(metric, 6, values).train(isa, bytes).is_some();
    assert!(train(Metric::L2, &values, 10));
    assert!(!train(Metric::L2, &values, 11), "more bytes than dimensions");
    assert!(!train(Metric::L2, &values, 4), "factor and square alone");
    assert!(!train(Metric::L2, &values, 0) && !train(Metric::L2, &values, usize::MAX));
    assert!(train(Metric::Dot, &values, 3) && !train(Metric::Dot, &values, 2));
    assert!(!train(Metric::L2, &values[..6 * 2_047], 8), "few rows");
    assert!(!train(Metric::L2, &[0.25; 6 * ROWS], 8), "all the same");
    let of = |dimension: usize, bytes| {
        let values = leaning(5, 2_048, dimension.min(3));
        let values: Vec<f32> = values.into_iter().cycle().take(2_048 * dimension).collect();
        Stored::new(Metric::L2, dimension, &values).train(isa, bytes).is_some()
    };
    assert!(of(1, 5) && !of(1, 6) && of(3, 7) && !of(3, 8), "as many numbers as dimensions");
    assert!(!of(4_097, 64), "more dimensions than there are");
    assert!(!train(Metric::Cosine, &[0.0; 6 * ROWS], 8), "zeros");
}

#[test]
fn rows_of_few_kinds_constant_elements_and_extremes_stay_numbers() {
    let isa = Isa::detect();
    let leaning = leaning(6, ROWS, 16);
    let few: Vec<f32> = leaning[..16 * 3].iter().copied().cycle().take(16 * ROWS).collect();
    let constant: Vec<f32> =
        leaning.iter().enumerate().map(|(at, x)| if at % 4 == 0 { *x } else { 7.0 }).collect();
    let long = |factor: f32| leaning.iter().map(|x| x * factor).collect::<Vec<f32>>();
    let cases =
        [("few kinds", few), ("constant", constant), ("huge", long(1e14)), ("tiny", long(1e-9))];
    for (name, values) in cases {
        for metric in [Metric::L2, Metric::Cosine, Metric::Dot] {
            let stored = Stored::new(metric, 16, &values);
            let Some(codec) = stored.train(isa, 10) else { panic!("{name} {metric}") };
            assert!((1..=10).contains(&codec.stride()));
            let codes = stored.code(isa, &codec);
            for query in [&values[..16], &[1e38; 16], &[-1e-38; 16], &[0.0; 16]] {
                let found = score(isa, &codec, &codes, &Query::new(stored.space, query));
                assert!(found.iter().all(|distance| distance.is_finite()), "{name} {metric}");
            }
            if name == "few kinds" {
                let found = score(isa, &codec, &codes, &Query::new(stored.space, &values[..16]));
                let least = found.iter().copied().fold(f32::INFINITY, f32::min);
                assert!(metric == Metric::Dot || found[0] <= least, "{metric}");
            }
        }
    }
}

/// Estimates of all rows of some blocks.
struct Estimates<'a>(ProductBlocks<'a, Trusted>, &'a BlockQuery);

impl kernel::Op for Estimates<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn run<K: kernel::Kernel>(self, kernel: K) -> Vec<f32> {
        (0..self.0.len()).flat_map(|block| self.0.distances(kernel, self.1, block)).collect()
    }
}

#[test]
fn blocks_put_near_rows_first_the_same_on_every_tier() {
    for metric in [Metric::L2, Metric::Cosine, Metric::Dot] {
        // Eleven bytes are 22 subspaces: the last group of four is not full, nor is the last block.
        for (dimension, bytes) in [(22, 11), (130, 16)] {
            let stored = Stored::new(metric, dimension, &leaning(8, ROWS, dimension));
            let query = Query::new(stored.space, &leaning(9, 1, dimension));
            let exact =
                FullSource { query: &query, rows: stored.rows() }.run(Isa::detect(), Each(ROWS));
            let mut before = None;
            for isa in Isa::available() {
                let (space, rows) = (stored.space, stored.rows());
                let (crew, asked) = (&Crew::alone(isa), (Width::Half, bytes));
                let codec = ProductCodec::train(crew, asked, space, rows, ROWS);
                let codec = codec.expect("not stopped").expect("enough rows");
                let mut codes = AlignedBytes::zeroed(codec.bytes(ROWS));
                assert_eq!(codes.len(), ROWS.div_ceil(32) * codec.block_bytes());
                let blocks = 0..ROWS.div_ceil(32);
                codec.encode_blocks(isa, rows, ROWS, blocks.clone(), codes.as_mut_slice());
                let mut alone = AlignedBytes::zeroed(codec.block_bytes());
                for block in blocks {
                    codec.encode_blocks(isa, rows, ROWS, block..block + 1, alone.as_mut_slice());
                    let from = block * codec.block_bytes();
                    assert_eq!(alone.as_slice(), &codes.as_slice()[from..][..alone.len()]);
                }
                let coded = codec.block_query(isa, &query);
                let blocks =
                    ProductBlocks { codec: &codec, blocks: Guarded::trusted(codes.as_slice()) };
                let found = kernel::run(isa, Estimates(blocks, &coded));
                let all = (codec.to_bytes(), codes.as_slice().to_vec(), found[..ROWS].to_vec());
                let before = before.get_or_insert_with(|| all.clone());
                assert!(*before == all, "{metric} {dimension} {}", isa.name());
                let mut first: Vec<usize> = (0..ROWS).collect();
                first.sort_by(|a, b| found[*a].total_cmp(&found[*b]));
                let mut sorted = exact.clone();
                sorted.sort_by(f32::total_cmp);
                let near = first[..60].iter().filter(|row| exact[**row] <= sorted[9]).count();
                assert!(near >= 9, "{metric} {dimension} {near}");
                let again = ProductCodec::parse(&codec.to_bytes(), space).expect("just written");
                assert_eq!(again.width(), Width::Half);
            }
        }
    }
}

#[test]
fn an_axis_with_more_to_tell_than_a_subspace_is_told_in_several() {
    // Along one axis rows differ a thousand times as much as along the others.
    let mut next = kernel::noise::noise(12);
    let values: Vec<f32> = (0..ROWS * 24)
        .map(|at| if at % 24 == 5 { 1e3 * (next() + next() + next()) } else { next() })
        .collect();
    let stored = Stored::new(Metric::L2, 24, &values);
    let (crew, asked) = (&Crew::alone(Isa::detect()), (Width::Half, 20));
    let codec = ProductCodec::train(crew, asked, stored.space, stored.rows(), ROWS);
    let codec = codec.expect("not stopped").expect("enough rows");
    let times = codec.members.iter().filter(|axis| **axis == 0).count();
    assert!((2..=5).contains(&times), "{times}");
    assert_eq!(codec.subspace_count(), 32);
    let parsed = ProductCodec::parse(&codec.to_bytes(), stored.space).expect("just written");
    assert_eq!(parsed.members, codec.members);
    // Two of four numbers a query are told by one byte, so far apart are their ranges.
    let mut codes = AlignedBytes::zeroed(codec.bytes(ROWS));
    let blocks = 0..ROWS.div_ceil(32);
    codec.encode_blocks(Isa::detect(), stored.rows(), ROWS, blocks, codes.as_mut_slice());
    let (mut error, mut spread, mut high) = (0.0, 0.0, 0);
    for row in (0..ROWS).step_by(97) {
        let query = Query::new(stored.space, &values[row * 24..][..24]);
        let coded = codec.block_query(Isa::detect(), &query);
        high += coded.high_bytes();
        let blocks = ProductBlocks { codec: &codec, blocks: Guarded::trusted(codes.as_slice()) };
        let found = kernel::run(Isa::detect(), Estimates(blocks, &coded));
        let exact =
            FullSource { query: &query, rows: stored.rows() }.run(Isa::detect(), Each(ROWS));
        error += found.iter().zip(&exact).map(|(a, b)| (a - b).abs()).sum::<f32>();
        spread += exact.iter().sum::<f32>();
    }
    assert!(high > 0 && error < 0.02 * spread, "{error} of {spread}");
}

#[test]
fn codecs_are_the_same_from_any_number_of_threads_and_can_be_given_up() {
    let stored = Stored::new(Metric::L2, 70, &leaning(13, ROWS, 70));
    for asked in [(Width::Byte, 24), (Width::Half, 24)] {
        let train =
            |crew: &Crew<'_>| ProductCodec::train(crew, asked, stored.space, stored.rows(), ROWS);
        let isa = Isa::detect();
        let alone = train(&Crew::alone(isa)).expect("not stopped").expect("enough rows");
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let pool = pool.expect("threads");
            let crew = Crew { isa, pool: Some(&pool), keep_going: &|| true };
            let codec = train(&crew).expect("not stopped").expect("enough rows");
            assert!(codec.to_bytes() == alone.to_bytes(), "{threads} threads");
            for pieces in [0, 5, 40] {
                let left = std::sync::atomic::AtomicUsize::new(pieces);
                let take = |left: usize| left.checked_sub(1);
                let keep_going = || {
                    use std::sync::atomic::Ordering::Relaxed;
                    left.fetch_update(Relaxed, Relaxed, take).is_ok()
                };
                let crew = Crew { isa, pool: Some(&pool), keep_going: &keep_going };
                let stopped = train(&crew);
                assert!(matches!(stopped, Err(crate::error::Error::Cancelled)), "{pieces}");
            }
        }
    }
}
