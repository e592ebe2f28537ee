//! Codes against the full vectors: near on ordinary data, never wrong on any.

use super::*;
use crate::bytes::{Guarded, Trusted};
use crate::codec::centre::Centre;
use crate::codec::full::Stage;
use crate::codec::full::{FullSource, Query, encode_rows};
use crate::codec::{
    Block, BlockPairs, BlockSource, BlocksOp, LINE, PairSource, Pairs, PairsOp, QuerySource,
    Scorer, ScorerOp,
};
use crate::types::{Row, VectorType, Vectors};

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

    fn code(&self, kind: CodeKind, isa: Isa) -> (Codec, AlignedBytes) {
        let codec = Codec::train(kind, self.space, self.rows(), self.count);
        let mut codes = AlignedBytes::zeroed(codec.stride() * self.count);
        codec.encode(isa, self.rows(), 0..self.count, codes.as_mut_slice());
        (codec, codes)
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
        let single: Vec<f32> = rows.iter().map(|row| scorer.score(*row)).collect();
        assert!(batch == run && run == single);
        single
    }
}

/// The distances of some row from all.
struct From(Row, usize);

impl PairsOp for From {
    type Output = Vec<f32>;

    #[inline(always)]
    fn run<P: Pairs>(self, pairs: P) -> Vec<f32> {
        Each(self.1).run(pairs.scorer(self.0))
    }
}

fn noise(seed: u64, len: usize) -> Vec<f32> {
    let mut next = kernel::noise::noise(seed);
    (0..len).map(|_| next() + next() + next()).collect()
}

#[test]
fn distances_are_near_the_exact_ones_on_every_tier() {
    for metric in [Metric::L2, Metric::Cosine, Metric::Dot] {
        for dimension in [3, 50, 128, 384, 784] {
            let stored = Stored::new(metric, dimension, &noise(1, 60 * dimension));
            let query = Query::new(stored.space, &noise(2, dimension));
            let source = FullSource { query: &query, rows: stored.rows() };
            let exact = source.run(Isa::detect(), Each(60));
            let mean = exact.iter().map(|x| x.abs()).sum::<f32>() / 60.0;
            for (kind, tolerance) in [(CodeKind::Byte, 0.03), (CodeKind::Half, 0.5)] {
                let scale = if metric == Metric::Cosine { 0.5 } else { 1.0 };
                // Products of noise are small beside the lengths that the error depends on.
                let tolerance = if metric == Metric::Dot { 2.0 * tolerance } else { tolerance };
                let mut before = None;
                for isa in Isa::available() {
                    let (codec, codes) = stored.code(kind, isa);
                    let rows =
                        LevelRows { codec: &codec, codes: Guarded::trusted(codes.as_slice()) };
                    let coded = codec.query(isa, &query);
                    let found =
                        LevelSource { rows, query: &coded, sketches: None }.run(isa, Each(60));
                    for (found, exact) in found.iter().zip(&exact) {
                        let error = (found * scale - exact).abs() / mean;
                        assert!(error < tolerance, "{metric} {dimension} {kind:?} {error}");
                    }
                    let centre = Centre::new(stored.space, stored.rows(), stored.count);
                    let pairs = CodedPairs::new(isa, rows, &centre).run(isa, From(7, 60));
                    let all = (codes.as_slice().to_vec(), found, pairs);
                    let before = before.get_or_insert_with(|| all.clone());
                    assert!(*before == all, "{metric} {dimension} {kind:?} {}", isa.name());
                }
            }
        }
    }
}

/// The distances of all pairs, one row at a time and many at once.
struct All(usize);

impl<B: Block> BlocksOp<B> for All {
    type Output = [Vec<f32>; 2];

    #[inline(always)]
    fn run<P: BlockPairs<Block = B>>(self, pairs: P) -> Self::Output {
        let rows: Vec<Row> = (0..self.0 as Row).collect();
        let mut single = vec![0.0; rows.len() * rows.len()];
        for (row, line) in rows.iter().zip(single.chunks_mut(rows.len())) {
            pairs.scorer(*row).score_batch(&rows, line);
        }
        let mut block = B::default();
        // What was laid out before leaves no trace.
        pairs.lay_out(&rows[..rows.len() / 2], &mut block);
        pairs.lay_out(&rows, &mut block);
        let mut lines = vec![[0.0; LINE]; LINE * block.panels()];
        let mut together = Vec::new();
        for panel in 0..block.panels() {
            pairs.score_panel(&block, panel, &block, &mut lines);
            for line in lines.chunks(block.panels()).take(rows.len() - panel * LINE) {
                together.extend_from_slice(&line.as_flattened()[..rows.len()]);
            }
        }
        [single, together]
    }
}

#[test]
fn many_pairs_at_once_are_as_far_as_one_by_one() {
    let count = 37;
    for metric in [Metric::L2, Metric::Cosine, Metric::Dot] {
        for dimension in [1, 3, 64, 100, 200, 784] {
            for scale in [1.0, 1e30, 1e-42] {
                let mut values = noise(1, count * dimension);
                values.iter_mut().for_each(|value| *value *= scale);
                values[..dimension].fill(0.0);
                values.copy_within(5 * dimension..6 * dimension, 20 * dimension);
                let stored = Stored::new(metric, dimension, &values);
                let centre = Centre::new(stored.space, stored.rows(), count);
                for (kind, isa) in [CodeKind::Byte, CodeKind::Half]
                    .into_iter()
                    .flat_map(|kind| Isa::available().into_iter().map(move |isa| (kind, isa)))
                {
                    let (codec, codes) = stored.code(kind, isa);
                    let codes = Guarded::trusted(codes.as_slice());
                    let source = CodedPairs::new(isa, LevelRows { codec: &codec, codes }, &centre);
                    let [single, together] = source.run_blocks(isa, All(count));
                    assert!(single == together, "{metric} {dimension} {kind:?} {}", isa.name());
                }
            }
        }
    }
}

#[test]
fn copies_are_at_distance_zero_of_each_other() {
    for dimension in [7, 200, 384] {
        let mut values = noise(3, 40 * dimension);
        let copy = values[..dimension].to_vec();
        values[20 * dimension..21 * dimension].copy_from_slice(&copy);
        let stored = Stored::new(Metric::L2, dimension, &values);
        for kind in [CodeKind::Byte, CodeKind::Half] {
            let (codec, codes) = stored.code(kind, Isa::detect());
            let rows = LevelRows { codec: &codec, codes: Guarded::trusted(codes.as_slice()) };
            let centre = Centre::default();
            let found =
                CodedPairs::new(Isa::detect(), rows, &centre).run(Isa::detect(), From(0, 40));
            assert_eq!((found[0], found[20]), (0.0, 0.0), "{kind:?} {dimension}");
            assert!(found[1] > 0.0);
        }
    }
}

#[test]
fn no_distance_is_not_a_number() {
    let dimension = 5;
    let huge = 1e30;
    let rows: Vec<Vec<f32>> = vec![
        vec![0.0; dimension],
        vec![1.0; dimension],
        vec![huge; dimension],
        vec![-huge; dimension],
        vec![1e-40; dimension],
        vec![f32::MAX, f32::MIN, 0.0, 1.0, -1.0],
    ];
    for metric in [Metric::L2, Metric::Cosine, Metric::Dot] {
        for chosen in [&rows[..1], &rows[..2], &rows[4..5], &rows[..]] {
            let stored = Stored::new(metric, dimension, &chosen.concat());
            for kind in [CodeKind::Byte, CodeKind::Half] {
                let (codec, codes) = stored.code(kind, Isa::detect());
                let code_rows =
                    LevelRows { codec: &codec, codes: Guarded::trusted(codes.as_slice()) };
                for query in &rows {
                    let query = Query::new(stored.space, query);
                    let coded = codec.query(Isa::detect(), &query);
                    let source = LevelSource { rows: code_rows, query: &coded, sketches: None };
                    let found = source.run(Isa::detect(), Each(stored.count));
                    assert!(found.iter().all(|distance| !distance.is_nan()), "{metric} {kind:?}");
                }
            }
        }
    }
}

#[test]
fn parameters_are_read_back_and_hostile_ones_refused() {
    let stored = Stored::new(Metric::L2, 9, &noise(5, 90));
    for kind in [CodeKind::Byte, CodeKind::Half] {
        let (codec, codes) = stored.code(kind, Isa::detect());
        let bytes = codec.to_bytes();
        let back = Codec::parse(&bytes, stored.space).expect("just written");
        let mut again = AlignedBytes::zeroed(codes.len());
        back.encode(Isa::detect(), stored.rows(), 0..stored.count, again.as_mut_slice());
        assert_eq!((again.as_slice(), back.kind()), (codes.as_slice(), kind));
        for len in 0..bytes.len() {
            assert!(Codec::parse(&bytes[..len], stored.space).is_none());
        }
        let other = Space { dimension: 8, ..stored.space };
        assert!(Codec::parse(&bytes, other).is_none());
        let mut nan = bytes.clone();
        nan[HEADER_BYTES..HEADER_BYTES + 4].copy_from_slice(&f32::NAN.to_le_bytes());
        assert!(Codec::parse(&nan, stored.space).is_none());
        // Damaged codes give some distance or other.
        let mut damaged = codes.clone();
        damaged.as_mut_slice().iter_mut().for_each(|byte| *byte = 0xFF);
        let rows = LevelRows { codec: &codec, codes: Guarded::trusted(damaged.as_slice()) };
        let query = codec.query(Isa::detect(), &Query::new(stored.space, &[1.0; 9]));
        let found = LevelSource { rows, query: &query, sketches: None }
            .run(Isa::detect(), Each(stored.count));
        assert!(found.iter().all(|distance| !distance.is_nan()));
    }
}

/// What the distances of all rows are hardly below, by their sketches.
struct Least(usize);

impl ScorerOp for Least {
    type Output = Vec<f32>;

    #[inline(always)]
    fn run<S: Scorer>(self, scorer: S) -> Vec<f32> {
        assert!(scorer.is_sketched());
        let rows: Vec<Row> = (0..self.0 as Row).collect();
        rows.as_chunks().0.iter().flat_map(|four| scorer.least_four(*four)).collect()
    }
}

#[test]
fn sketches_are_hardly_ever_above_the_distance_and_most_of_far_rows_are_above_that_of_near_ones() {
    const ROWS: usize = 400;
    for (metric, dimension) in
        [(Metric::L2, 513), (Metric::L2, 784), (Metric::Cosine, 768), (Metric::Cosine, 1536)]
    {
        // Every tenth row is near the query.
        let query = noise(8, dimension);
        let mut values = noise(9, ROWS * dimension);
        for row in values.chunks_exact_mut(dimension).step_by(10) {
            row.iter_mut().zip(&query).for_each(|(x, q)| *x = q + 0.6 * *x);
        }
        let stored = Stored::new(metric, dimension, &values);
        let query = Query::new(stored.space, &query);
        let mut before = None;
        for isa in Isa::available() {
            let (codec, codes) = stored.code(CodeKind::Half, isa);
            let mut sketches = AlignedBytes::zeroed(ROWS * SKETCH_BYTES);
            codec.sketch(codes.as_slice(), sketches.as_mut_slice());
            let rows = LevelRows { codec: &codec, codes: Guarded::trusted(codes.as_slice()) };
            let coded = codec.query(isa, &query);
            let sketches = Sketches {
                rows: Guarded::trusted(sketches.as_slice()),
                query: codec.sketch_query(&coded),
            };
            let source = LevelSource { rows, query: &coded, sketches: Some(sketches) };
            let (least, distances) = (source.run(isa, Least(ROWS)), source.run(isa, Each(ROWS)));
            let bound = distances.iter().step_by(10).fold(0.0_f32, |most, near| most.max(*near));
            let above = least.iter().zip(&distances).filter(|(least, all)| least > all).count();
            let given_up = least.iter().filter(|least| **least > bound).count();
            let context = format!("{metric} {dimension} {}", isa.name());
            assert!(above <= ROWS / 20, "{context}: {above} above");
            assert!(given_up > ROWS / 2, "{context}: {given_up} given up");
            assert_eq!(*before.get_or_insert_with(|| least.clone()), least, "{context}");
        }
    }
}

#[test]
fn sketches_of_extreme_rows_give_nothing_up_wrongly() {
    let dimension = 600;
    let ends = [0.0, 1.0, -1.0, 1e-40, 1e14, -1e14, 0.5, -1e13, 1e30, f32::MAX, 1e-20, 1e20];
    let values: Vec<f32> = ends.iter().flat_map(|end| vec![*end; dimension]).collect();
    for metric in [Metric::L2, Metric::Cosine] {
        for count in [4, 8, 12] {
            let chosen = &values[..count * dimension];
            let stored = Stored::new(metric, dimension, chosen);
            let (codec, codes) = stored.code(CodeKind::Half, Isa::detect());
            let mut sketches = AlignedBytes::zeroed(stored.count * SKETCH_BYTES);
            codec.sketch(codes.as_slice(), sketches.as_mut_slice());
            let rows = LevelRows { codec: &codec, codes: Guarded::trusted(codes.as_slice()) };
            // Queries beyond do not fit the sums of codes either.
            for query in values[..8 * dimension].chunks_exact(dimension) {
                let coded = codec.query(Isa::detect(), &Query::new(stored.space, query));
                let sketches = Sketches {
                    rows: Guarded::trusted(sketches.as_slice()),
                    query: codec.sketch_query(&coded),
                };
                let source = LevelSource { rows, query: &coded, sketches: Some(sketches) };
                let distances = source.run(Isa::detect(), Each(stored.count));
                let least = source.run(Isa::detect(), Least(count));
                assert_eq!(least.len(), count);
                for (least, distance) in least.iter().zip(&distances) {
                    // By more than rounding of what is compared.
                    let above = *least > *distance + 0.2 * distance.abs() + 1e-3;
                    assert!(!above || *distance == f32::INFINITY, "{metric} {least} {distance}");
                }
            }
        }
    }
}
