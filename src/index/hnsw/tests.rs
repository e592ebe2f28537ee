//! Graphs over random, degenerate and real vectors, and over damaged bytes.

use proptest::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::bulk::LEAST_ROWS;
use super::graph::{Graph, HEADER_BYTES};
use super::{GONE, Merge, Params, Seed, View, build, build_in_bulk, merge, verify};
use crate::bytes::{AlignedBytes, Guarded, Trusted};
use crate::codec::centre::Centre;
use crate::codec::codes::{CodeKind, Codec, CodedPairs, LevelRows};
use crate::codec::full::{FullPairs, Query, Rows, Space, Stage, encode_rows};
use crate::filter::rowset::RowSet;
use crate::index::flat;
use crate::index::nearest::{Effort, Indexed, nearest as search};
use crate::index::topk::TopK;
use crate::kernel::Isa;
use crate::kernel::noise::bits;
use crate::types::{Metric, Row, VectorType, Vectors};

/// Stored vectors.
struct Stored {
    space: Space,
    count: usize,
    vectors: AlignedBytes,
    norms: AlignedBytes,
}

impl Stored {
    fn new(metric: Metric, vector_type: VectorType, dimension: usize, values: &[f32]) -> Self {
        let space = Space { dimension, vector_type, metric, stage: Stage::Given };
        let count = values.len() / space.elements();
        let (vectors, norms) = encode_rows(space, &Vectors::from(values), count).expect("valid");
        let norms: Vec<u8> = norms.iter().flat_map(|norm| norm.to_le_bytes()).collect();
        Self { space, count, vectors, norms: AlignedBytes::from_slice(&norms) }
    }

    fn rows(&self) -> Rows<'_, Trusted> {
        Rows {
            vectors: Guarded::trusted(self.vectors.as_slice()),
            inverse_norms: Guarded::trusted(self.norms.as_slice()),
        }
    }

    fn indexed<'a>(&'a self, graph: View<'a, Trusted>) -> Indexed<'a, Trusted> {
        Indexed { rows: self.rows(), codes: None, graph }
    }

    fn build(&self, threads: usize) -> Graph {
        let params = Params { ef_construction: 100, ..Params::default() };
        self.build_with(Isa::detect(), &params, threads, &|| true).expect("not stopped")
    }

    fn build_with(
        &self,
        isa: Isa,
        params: &Params,
        threads: usize,
        keep_going: &(dyn Fn() -> bool + Sync),
    ) -> Option<Graph> {
        let (space, rows) = (self.space, self.rows());
        let centre = Centre::new(space, rows, self.count);
        let source = FullPairs { space, rows, centre: &centre };
        build(isa, &source, self.count, params, &pool(threads), keep_going)
    }

    fn exact(&self, query: &Query, k: usize, dead: &RowSet) -> Vec<(f32, Row)> {
        let mut top = TopK::new(k, f32::INFINITY, self.count, &|a, b| a < b);
        let all = 0..self.count as Row;
        flat::scan(Isa::detect(), query, self.rows(), all, dead, &mut top);
        top.into_sorted().iter().map(|c| (c.distance, c.row)).collect()
    }

    fn walk(&self, graph: &[u8], query: &Query, k: usize, ef: usize, dead: &RowSet) -> Found {
        let view = View::parse(Guarded::trusted(graph), self.count).expect("a graph");
        let mut top = TopK::new(k, f32::INFINITY, self.count, &|a, b| a < b);
        search(Isa::detect(), query, self.indexed(view), Effort::of(ef), dead, &mut top);
        top.into_sorted().iter().map(|c| (c.distance, c.row)).collect()
    }

    /// Share of the exact 10 nearest that a walk finds; a row as near as the tenth counts.
    fn recall(&self, graph: &[u8], queries: &[f32], ef: usize, dead: &RowSet) -> f64 {
        let (mut found, mut wanted) = (0, 0);
        for query in queries.chunks(self.space.elements()) {
            let query = Query::new(self.space, query);
            let exact = self.exact(&query, 10, dead);
            let worst = exact.last().map_or(f32::INFINITY, |last| last.0);
            let walked = self.walk(graph, &query, 10, ef, dead);
            wanted += exact.len();
            found += walked.iter().filter(|(distance, _)| *distance <= worst).count();
        }
        f64::from(found as u32) / f64::from(wanted as u32)
    }
}

type Found = Vec<(f32, Row)>;

pub(super) fn pool(threads: usize) -> ThreadPool {
    ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool")
}

fn check(graph: &Graph) -> AlignedBytes {
    let bytes = graph.to_bytes();
    let view = View::parse(Guarded::trusted(bytes.as_slice()), graph.len()).expect("parses");
    assert_eq!(verify(&view), Ok(()));
    for row in 0..graph.len() as Row {
        let mut links: Vec<u32> = view.links(row).to_vec();
        links.retain(|link| (*link as usize) < graph.len());
        let many = links.len();
        links.sort_unstable();
        links.dedup();
        assert_eq!(links.len(), many, "row {row} is linked twice");
        assert!(!links.contains(&row), "row {row} is linked to itself");
    }
    bytes
}

/// Stored vectors with codes of them.
pub(super) struct Coded {
    stored: Stored,
    codec: Codec,
    codes: AlignedBytes,
    centre: Centre,
}

impl Coded {
    pub(super) fn new(kind: CodeKind, metric: Metric, dimension: usize, values: &[f32]) -> Self {
        let stored = Stored::new(metric, VectorType::F32, dimension, values);
        let (space, rows, count) = (stored.space, stored.rows(), stored.count);
        let codec = Codec::train(kind, space, rows, count);
        let mut codes = AlignedBytes::zeroed(codec.stride() * count);
        codec.encode(Isa::detect(), rows, 0..count, codes.as_mut_slice());
        let centre = Centre::new(space, rows, count);
        Self { stored, codec, codes, centre }
    }

    pub(super) fn source(&self) -> CodedPairs<'_, Trusted> {
        let codes = Guarded::trusted(self.codes.as_slice());
        CodedPairs::new(Isa::detect(), LevelRows { codec: &self.codec, codes }, &self.centre)
    }

    fn build(&self, isa: Isa, threads: usize) -> Graph {
        let (params, count) = (Params::default(), self.stored.count);
        assert!(count >= LEAST_ROWS);
        let graph = build_in_bulk(isa, &self.source(), count, &params, &pool(threads), &|| true);
        graph.expect("not stopped")
    }
}

/// Reproducible numbers from 0 to 1 without a pattern.
fn noise(seed: u64) -> impl FnMut() -> f32 {
    let mut next = bits(seed);
    move || (next() >> 40) as f32 / (1 << 24) as f32
}

/// Points around twenty centres, which are the same for every seed.
pub(super) fn clustered(
    seed: u64,
    count: usize,
    dimension: usize,
    scale: f32,
    shift: f32,
) -> Vec<f32> {
    let mut centre = noise(99);
    let centres: Vec<f32> = (0..20 * dimension).map(|_| centre()).collect();
    let mut next = noise(seed);
    let mut values = Vec::with_capacity(count * dimension);
    for _ in 0..count {
        let centre = (next() * 19.99) as usize;
        for column in 0..dimension {
            let at = 0.6 * centres[centre * dimension + column] + 0.4 * next();
            values.push((at + shift) * scale);
        }
    }
    values
}

#[test]
fn a_walk_finds_the_nearest_rows_of_every_type_and_metric() {
    let (count, dimension) = (2000, 24);
    let none = RowSet::default();
    for metric in [Metric::L2, Metric::Cosine, Metric::Dot] {
        for vector_type in
            [VectorType::F32, VectorType::F16, VectorType::Bf16, VectorType::I8, VectorType::U8]
        {
            let (scale, shift) = match vector_type {
                VectorType::U8 => (255.0, 0.0),
                VectorType::I8 => (255.0, -0.5),
                _ => (1.0, -0.5),
            };
            let round = |x: f32| if scale > 1.0 { x.round() } else { x };
            let values = clustered(1, count, dimension, scale, shift);
            let values: Vec<f32> = values.into_iter().map(round).collect();
            let queries = clustered(2, 40, dimension, scale, shift);
            let stored = Stored::new(metric, vector_type, dimension, &values);
            let graph = check(&stored.build(2));
            let recall = stored.recall(graph.as_slice(), &queries, 64, &none);
            assert!(recall >= 0.98, "{metric} {vector_type}: {recall}");
        }
    }
}

#[test]
fn a_walk_finds_the_nearest_bits() {
    let (count, bytes) = (2000, 24);
    let mut next = noise(5);
    let mut byte = || (next() * 256.0) as u8;
    let centres: Vec<u8> = (0..20 * bytes).map(|_| byte()).collect();
    // A quarter of the bits of a centre is drawn anew.
    let mut rows = |count: usize| -> Vec<f32> {
        let near = |at: usize, byte: &mut dyn FnMut() -> u8| {
            let drawn = byte() & byte();
            centres[at % centres.len()] & !drawn | byte() & drawn
        };
        (0..count * bytes).map(|at| f32::from(near(at, &mut byte))).collect()
    };
    let (values, queries) = (rows(count), rows(40));
    for metric in [Metric::Hamming, Metric::Jaccard] {
        let stored = Stored::new(metric, VectorType::B1, 8 * bytes, &values);
        assert_eq!(stored.count, count);
        let graph = check(&stored.build(2));
        let recall = stored.recall(graph.as_slice(), &queries, 64, &RowSet::default());
        assert!(recall >= 0.97, "{metric}: {recall}");
    }
}

/// Values of the first rows of a file of half-precision vectors.
fn read_npy(path: &std::path::Path, rows: usize) -> Option<(usize, Vec<f32>)> {
    let bytes = std::fs::read(path).ok()?;
    let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..start]).ok()?;
    let shape = header.split_once("'shape': (")?.1.split_once(')')?.0;
    let dimension: usize = shape.split(", ").nth(1)?.parse().ok()?;
    let halves = bytes[start..].chunks_exact(2).take(rows * dimension);
    let values = halves.map(|half| half::f16::from_le_bytes([half[0], half[1]]).to_f32());
    Some((dimension, values.collect()))
}

#[test]
fn text_embeddings_are_found_on_every_tier() {
    let data = std::env::var("NEARFIELD_DATA")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data").into());
    let folder = std::path::Path::new(&data).join("pypi-minilm-384-100k");
    let (Some((dimension, train)), Some((_, queries))) = (
        read_npy(&folder.join("train.f16.npy"), 4000),
        read_npy(&folder.join("queries.f16.npy"), 50),
    ) else {
        println!("skipped: no vectors in {}; set NEARFIELD_DATA", folder.display());
        return;
    };
    let stored = Stored::new(Metric::Cosine, VectorType::F16, dimension, &train);
    let graph = check(&stored.build(2));
    let recall = stored.recall(graph.as_slice(), &queries, 100, &RowSet::default());
    assert!(recall >= 0.98, "{recall}");
    let view = View::parse(Guarded::trusted(graph.as_slice()), stored.count).expect("a graph");
    let query = Query::new(stored.space, &queries[..dimension]);
    let nearest = stored.exact(&query, 1, &RowSet::default())[0].1;
    for isa in Isa::available() {
        let mut top = TopK::new(1, f32::INFINITY, stored.count, &|a, b| a < b);
        let none = RowSet::default();
        search(isa, &query, stored.indexed(view), Effort::of(100), &none, &mut top);
        assert_eq!(top.into_sorted()[0].row, nearest, "{}", isa.name());
    }
}

#[test]
fn every_tier_builds_a_graph_that_finds() {
    let values = clustered(1, 1200, 17, 1.0, -0.5);
    let queries = clustered(2, 20, 17, 1.0, -0.5);
    let stored = Stored::new(Metric::Cosine, VectorType::F32, 17, &values);
    let params = Params { m: 12, ef_construction: 80, seed: 7, ..Params::default() };
    for isa in Isa::available() {
        let graph = stored.build_with(isa, &params, 2, &|| true);
        let graph = check(&graph.expect("not stopped"));
        let recall = stored.recall(graph.as_slice(), &queries, 64, &RowSet::default());
        assert!(recall >= 0.98, "{}: {recall}", isa.name());
    }
}

#[test]
fn a_graph_built_in_bulk_finds_what_one_of_insertions_finds() {
    let none = RowSet::default();
    let count = LEAST_ROWS + 300;
    for (kind, metric, dimension) in [
        (CodeKind::Byte, Metric::L2, 20),
        (CodeKind::Half, Metric::Cosine, 50),
        (CodeKind::Byte, Metric::Dot, 24),
        (CodeKind::Byte, Metric::L2, 1),
        (CodeKind::Byte, Metric::L2, 3),
    ] {
        let values = clustered(1, count, dimension, 1.0, -0.5);
        let queries = clustered(2, 60, dimension, 1.0, -0.5);
        let coded = Coded::new(kind, metric, dimension, &values);
        let recall =
            |graph: &Graph| coded.stored.recall(check(graph).as_slice(), &queries, 32, &none);
        let (params, source) = (Params::default(), coded.source());
        // In little memory a few rows after the other have their candidates.
        let little = Params { memory: count * params.least_bytes_per_row(), ..params };
        let built = [params, little].map(|params| {
            let isa = Isa::detect();
            build_in_bulk(isa, &source, count, &params, &pool(2), &|| true).expect("not stopped")
        });
        let built = built.map(|graph| recall(&graph));
        let built = built[0].min(built[1]);
        let inserted = build(Isa::detect(), &source, count, &params, &pool(2), &|| true);
        let inserted = recall(&inserted.expect("not stopped"));
        assert!(built >= inserted - 0.02, "{metric} {dimension}: {built}, inserted {inserted}");
    }
}

#[test]
fn every_tier_builds_in_bulk_and_any_number_of_threads_the_same() {
    let values = clustered(1, LEAST_ROWS, 16, 1.0, 0.0);
    let queries = clustered(2, 30, 16, 1.0, 0.0);
    let coded = Coded::new(CodeKind::Half, Metric::L2, 16, &values);
    for isa in Isa::available() {
        let graphs = [1, 3].map(|threads| check(&coded.build(isa, threads)));
        assert!(graphs[0].as_slice() == graphs[1].as_slice(), "{}", isa.name());
        let recall = coded.stored.recall(graphs[0].as_slice(), &queries, 64, &RowSet::default());
        assert!(recall >= 0.97, "{}: {recall}", isa.name());
    }
    let (params, source) = (Params::default(), coded.source());
    let count = coded.stored.count;
    let stopped = build_in_bulk(Isa::detect(), &source, count, &params, &pool(2), &|| false);
    assert!(stopped.is_none());
}

#[test]
fn copies_and_huge_rows_built_in_bulk_can_all_be_reached() {
    let (count, dimension) = (LEAST_ROWS + 10, 12);
    let different = clustered(1, count, dimension, 1.0, 0.0);
    let alike: Vec<f32> = different[..dimension].repeat(count);
    let mut quarter = different.clone();
    quarter[..count / 4 * dimension].copy_from_slice(&alike[..count / 4 * dimension]);
    let huge: Vec<f32> = different.iter().map(|x| x * 1e30).collect();
    for values in [alike, quarter, huge] {
        let coded = Coded::new(CodeKind::Byte, Metric::L2, dimension, &values);
        let graph = check(&coded.build(Isa::detect(), 2));
        let query = Query::new(coded.stored.space, &values[..dimension]);
        // With ef of all rows nothing is left out.
        let none = RowSet::default();
        let found = coded.stored.walk(graph.as_slice(), &query, count, count, &none);
        assert_eq!(found.len(), count);
    }
}

#[test]
fn any_number_of_threads_builds_the_same_graph() {
    let values = clustered(1, 4000, 16, 1.0, 0.0);
    let stored = Stored::new(Metric::L2, VectorType::F32, 16, &values);
    let graphs = [1, 2, 5].map(|threads| stored.build(threads).to_bytes());
    assert!(graphs.iter().all(|graph| graph.as_slice() == graphs[0].as_slice()));
}

#[test]
fn tiny_graphs_find_all_their_rows() {
    for count in [0, 1, 2, 3, 40] {
        let values = clustered(1, count, 8, 1.0, 0.0);
        let stored = Stored::new(Metric::L2, VectorType::F32, 8, &values);
        let graph = check(&stored.build(2));
        let query = Query::new(stored.space, &[0.5; 8]);
        let found = stored.walk(graph.as_slice(), &query, 100, 10, &RowSet::default());
        assert_eq!(found, stored.exact(&query, 100, &RowSet::default()), "{count}");
    }
}

#[test]
fn copies_of_a_vector_can_all_be_reached() {
    let none = RowSet::default();
    for (count, originals) in [(3000, 1), (3000, 2), (3000, 6), (2000, 300)] {
        let different = clustered(1, originals, 12, 1.0, 0.0);
        let values: Vec<f32> = different.iter().copied().cycle().take(count * 12).collect();
        for metric in [Metric::L2, Metric::Cosine] {
            let stored = Stored::new(metric, VectorType::F32, 12, &values);
            let graph = check(&stored.build(2));
            let query = Query::new(stored.space, &values[..12]);
            // With ef of all rows nothing is left out.
            let found = stored.walk(graph.as_slice(), &query, count, count, &none);
            assert_eq!(found.len(), count, "{originals} originals");
        }
    }
}

#[test]
fn huge_and_zero_vectors_are_ordered_and_reached() {
    let mut values = clustered(1, 600, 12, 1e30, -0.5);
    values[..120].fill(0.0);
    values[120..240].fill(1e-42);
    for metric in [Metric::L2, Metric::Cosine, Metric::Dot] {
        let stored = Stored::new(metric, VectorType::F32, 12, &values);
        let graph = check(&stored.build(2));
        for query in values.chunks(12).step_by(97).chain([&[1e30; 12][..], &[0.0; 12]]) {
            let query = Query::new(stored.space, query);
            let found = stored.walk(graph.as_slice(), &query, 600, 600, &RowSet::default());
            assert_eq!(found, stored.exact(&query, 600, &RowSet::default()), "{metric}");
            assert!(found.iter().all(|(distance, _)| !distance.is_nan()));
        }
    }
}

#[test]
fn dead_rows_are_walked_through_and_never_returned() {
    let values = clustered(1, 3000, 24, 1.0, -0.5);
    let queries = clustered(2, 30, 24, 1.0, -0.5);
    let stored = Stored::new(Metric::L2, VectorType::F32, 24, &values);
    let graph = check(&stored.build(2));
    let mut dead = RowSet::default();
    for row in 0..3000 {
        if row % 10 < 8 {
            dead.insert(row);
        }
    }
    let recall = stored.recall(graph.as_slice(), &queries, 64, &dead);
    assert!(recall >= 0.97, "{recall}");
    let query = Query::new(stored.space, &queries[..24]);
    let found = stored.walk(graph.as_slice(), &query, 50, 64, &dead);
    assert_eq!(found.len(), 50);
    assert!(found.iter().all(|(_, row)| !dead.contains(*row)));
    let all = (0..3000).fold(RowSet::default(), |mut all, row| {
        all.insert(row);
        all
    });
    assert_eq!(stored.walk(graph.as_slice(), &query, 10, 64, &all), []);
}

#[test]
fn after_a_great_deletion_a_merge_pays_only_while_most_lists_last() {
    let count = 2 * LEAST_ROWS;
    let values = clustered(1, count, 6, 1.0, 0.0);
    let coded = Coded::new(CodeKind::Byte, Metric::L2, 6, &values);
    let graph = check(&coded.build(Isa::detect(), 2));
    let view = View::parse(Guarded::trusted(graph.as_slice()), count).expect("a graph");
    // Which share of the rows stays.
    for (percent, pays) in [(100, true), (80, true), (60, true), (20, false), (2, false)] {
        let mut draw = bits(7);
        let mut next = 0..;
        let mut place = || if draw() % 100 < percent { next.next().expect("no end") } else { GONE };
        let to: Vec<Row> = (0..count).map(|_| place()).collect();
        let live = next.start as usize;
        let seeds = [Seed { view, to: &to }];
        let merge = Merge::of(&seeds).filter(|merge| merge.pays(live.max(LEAST_ROWS)));
        assert_eq!(merge.is_some(), pays, "{percent} % stay");
    }
}

#[test]
fn a_merge_finds_what_a_build_finds() {
    let dimension = 24;
    let values = clustered(1, 6000, dimension, 1.0, -0.5);
    let queries = clustered(2, 50, dimension, 1.0, -0.5);
    let vectors: Vec<&[f32]> = values.chunks(dimension).collect();
    for (metric, cuts) in [(Metric::L2, [4000, 6000]), (Metric::Cosine, [1000, 5900])] {
        let part = |rows: std::ops::Range<usize>| {
            Stored::new(metric, VectorType::F32, dimension, &vectors[rows].concat())
        };
        let parts = [part(0..cuts[0]), part(cuts[0]..cuts[1])];
        let graphs = parts.each_ref().map(|part| check(&part.build(2)));
        // One row in seven is left out; behind the parts come rows of no graph.
        let mut kept: Vec<&[f32]> = Vec::new();
        let mut to = Vec::new();
        for (row, vector) in vectors.iter().enumerate() {
            to.push(if row % 7 == 0 { GONE } else { kept.len() as Row });
            if row % 7 != 0 {
                kept.push(vector);
            }
        }
        let whole = Stored::new(metric, VectorType::F32, dimension, &kept.concat());
        let seeds = [(0, 0..cuts[0]), (1, cuts[0]..cuts[1])].map(|(part, rows)| Seed {
            view: View::parse(Guarded::trusted(graphs[part].as_slice()), parts[part].count)
                .expect("a graph"),
            to: &to[rows],
        });
        let (space, rows) = (whole.space, whole.rows());
        let source = FullPairs { space, rows, centre: &Centre::default() };
        let params = Params { ef_construction: 100, ..Params::default() };
        let (isa, count) = (Isa::detect(), whole.count);
        for seeds in [&seeds[..], &seeds[..1], &[]] {
            let merged = [3, 1].map(|threads| {
                let pool = pool(threads);
                let merged = merge(isa, &source, count, &params, seeds, &pool, &|| true);
                check(&merged.expect("not stopped"))
            });
            let [graph, again] = merged;
            assert!(graph.as_slice() == again.as_slice());
            let recall = whole.recall(graph.as_slice(), &queries, 48, &RowSet::default());
            assert!(recall >= 0.98, "{metric:?}, {} seeds: {recall}", seeds.len());
        }
        let stopped = merge(isa, &source, count, &params, &seeds, &pool(2), &|| false);
        assert!(stopped.is_none());
    }
}

/// Points around four hundred centres, those of a centre together.
fn sorted(count: usize, dimension: usize) -> Vec<f32> {
    let mut next = noise(3);
    let mut values = Vec::with_capacity(count * dimension);
    for _ in 0..400 {
        let centre: Vec<f32> = (0..dimension).map(|_| next()).collect();
        for _ in 0..count / 400 {
            values.extend(centre.iter().map(|at| at + 0.5 * next()));
        }
    }
    values
}

#[test]
fn rows_that_come_sorted_are_found_like_others() {
    let (count, dimension) = (20_000, 16);
    let values = sorted(count, dimension);
    let vectors: Vec<&[f32]> = values.chunks(dimension).collect();
    let queries: Vec<f32> =
        vectors.iter().step_by(97).copied().flatten().map(|x| x + 0.05).collect();
    let mut next = bits(11);
    let mut shuffled: Vec<(u64, &[f32])> = vectors.iter().map(|row| (next(), *row)).collect();
    shuffled.sort_unstable_by_key(|(key, _)| *key);
    let shuffled: Vec<f32> = shuffled.iter().flat_map(|(_, row)| row.to_vec()).collect();
    let make = |values: &[f32]| Stored::new(Metric::L2, VectorType::F32, dimension, values);
    let none = RowSet::default();
    let recall = |stored: &Stored, graph: &Graph| {
        stored.recall(check(graph).as_slice(), &queries, 16, &none)
    };
    let (mixed, stored) = (make(&shuffled), make(&values));
    let best = recall(&mixed, &mixed.build(2));
    let built = recall(&stored, &stored.build(2));

    // Halves that have nothing in common, and rows of no graph behind them.
    let (half, end) = (count / 2, count - count / 5);
    let parts =
        [make(&values[..half * dimension]), make(&values[half * dimension..end * dimension])];
    let graphs = parts.each_ref().map(|part| check(&part.build(2)));
    let to: Vec<Row> = (0..end as Row).collect();
    let seed = |at: usize, to| {
        let graph = Guarded::trusted(graphs[at].as_slice());
        Seed { view: View::parse(graph, parts[at].count).expect("a graph"), to }
    };
    let seeds = [seed(0, &to[..half]), seed(1, &to[half..])];
    let (space, rows) = (stored.space, stored.rows());
    let centre = Centre::new(space, rows, count);
    let source = FullPairs { space, rows, centre: &centre };
    let params = Params { ef_construction: 100, ..Params::default() };
    let merged = merge(Isa::detect(), &source, count, &params, &seeds, &pool(2), &|| true);
    let merged = recall(&stored, &merged.expect("not stopped"));
    assert!(built >= best - 0.01, "mixed {best}, sorted {built}");
    assert!(merged >= best - 0.02, "mixed {best}, merged {merged}");
}

#[test]
fn a_merge_of_thin_graphs_and_of_what_a_great_deletion_leaves_is_whole() {
    let values = clustered(3, 3000, 2, 1.0, -0.5);
    let queries = clustered(4, 30, 2, 1.0, -0.5);
    let stored = Stored::new(Metric::L2, VectorType::F32, 2, &values);
    let graph = check(&stored.build(2));
    let params = Params { ef_construction: 100, ..Params::default() };
    // All stay, most go, nearly all go, one stays.
    for keeps in [1, 4, 40, 3000] {
        let mut kept = Vec::new();
        let mut to = Vec::new();
        for (row, vector) in values.chunks(2).enumerate() {
            to.push(if row % keeps == 0 { (kept.len() / 2) as Row } else { GONE });
            if row % keeps == 0 {
                kept.extend_from_slice(vector);
            }
        }
        let left = Stored::new(Metric::L2, VectorType::F32, 2, &kept);
        let view = View::parse(Guarded::trusted(graph.as_slice()), 3000).expect("a graph");
        let (space, rows, count) = (left.space, left.rows(), left.count);
        let source = FullPairs { space, rows, centre: &Centre::default() };
        let seeds = [Seed { view, to: &to }];
        for threads in [1, 2] {
            let merged =
                merge(Isa::detect(), &source, count, &params, &seeds, &pool(threads), &|| true);
            let bytes = check(&merged.expect("not stopped"));
            let recall = left.recall(bytes.as_slice(), &queries, 48, &RowSet::default());
            assert!(recall >= 0.99, "1 in {keeps}, {threads} threads: {recall}");
        }
    }
}

#[test]
fn no_row_has_fewer_links_than_a_deletion_left_it() {
    let dimension = 24;
    let values = clustered(5, 6000, dimension, 1.0, -0.5);
    let stored = Stored::new(Metric::L2, VectorType::F32, dimension, &values);
    let graph = check(&stored.build(2));
    let view = View::parse(Guarded::trusted(graph.as_slice()), 6000).expect("a graph");
    let (mut kept, mut to) = (Vec::new(), Vec::new());
    for (row, vector) in values.chunks(dimension).enumerate() {
        to.push(if row % 5 == 0 { GONE } else { (kept.len() / dimension) as Row });
        if row % 5 != 0 {
            kept.extend_from_slice(vector);
        }
    }
    let left = Stored::new(Metric::L2, VectorType::F32, dimension, &kept);
    let source = FullPairs { space: left.space, rows: left.rows(), centre: &Centre::default() };
    let (isa, params, seeds) = (Isa::detect(), Params::default(), [Seed { view, to: &to }]);
    let merged = merge(isa, &source, left.count, &params, &seeds, &pool(2), &|| true);
    let merged = check(&merged.expect("not stopped"));
    let merged = View::parse(Guarded::trusted(merged.as_slice()), left.count).expect("a graph");
    let links = |view: &View<'_, Trusted>, row| {
        let links = view.links(row).to_vec().into_iter();
        let end = view.len();
        links.take_while(move |link| (*link as usize) < end)
    };
    let lost = (0..).zip(&to).filter(|(row, new)| {
        let left = links(&view, *row).filter(|link| to[*link as usize] != GONE);
        **new != GONE && links(&merged, **new).count() < left.count()
    });
    assert_eq!(lost.count(), 0);
}

#[test]
fn a_limit_keeps_what_lies_within_it() {
    let values = clustered(1, 3000, 24, 1.0, -0.5);
    let stored = Stored::new(Metric::L2, VectorType::F32, 24, &values);
    let graph = check(&stored.build(2));
    let view = View::parse(Guarded::trusted(graph.as_slice()), 3000).expect("a graph");
    let none = RowSet::default();
    let (mut found, mut wanted) = (0, 0);
    for query in clustered(2, 30, 24, 1.0, -0.5).chunks(24) {
        let query = Query::new(stored.space, query);
        let exact = stored.exact(&query, 5, &none);
        let limit = exact[4].0;
        let mut top = TopK::new(100, limit, 3000, &|a, b| a < b);
        search(Isa::detect(), &query, stored.indexed(view), Effort::of(100), &none, &mut top);
        let within = top.into_sorted();
        assert!(within.iter().all(|candidate| candidate.distance <= limit));
        found += within.len();
        wanted += exact.len();
    }
    assert!(found * 100 >= wanted * 95, "{found} of {wanted}");
}

#[test]
fn a_build_stops_when_told() {
    let values = clustered(1, 500, 8, 1.0, 0.0);
    let stored = Stored::new(Metric::L2, VectorType::F32, 8, &values);
    let params = Params::default();
    let graph = stored.build_with(Isa::detect(), &params, 1, &|| false);
    assert!(graph.is_none());
}

#[test]
fn a_header_that_does_not_fit_is_refused() {
    let values = clustered(1, 200, 8, 1.0, 0.0);
    let stored = Stored::new(Metric::L2, VectorType::F32, 8, &values);
    let graph = stored.build(1).to_bytes();
    let bytes = graph.as_slice();
    assert!(View::parse(Guarded::trusted(bytes), 200).is_some());
    assert!(View::parse(Guarded::trusted(bytes), 199).is_none());
    assert!(View::parse(Guarded::trusted(&bytes[..bytes.len() - 64]), 200).is_none());
    assert!(View::parse(Guarded::trusted(&[]), 0).is_none());
}

/// Walks whatever parses; the point is that it ends without leaving a slice.
fn walk_damaged(stored: &Stored, bytes: &[u8]) {
    let Some(view) = View::parse(Guarded::trusted(bytes), stored.count) else {
        return;
    };
    let _ = verify(&view);
    let mut top = TopK::new(10, f32::INFINITY, stored.count, &|a, b| a < b);
    let query = Query::new(stored.space, &[0.3; 8]);
    let none = RowSet::default();
    search(Isa::detect(), &query, stored.indexed(view), Effort::of(40), &none, &mut top);
    assert!(top.into_sorted().iter().all(|c| (c.row as usize) < stored.count));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn damaged_graphs_are_refused_or_walked_in_bounds(
        flips in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..200),
        header in proptest::collection::vec((3_usize..18, 0_u32..2000), 0..3),
    ) {
        let values = clustered(1, 1200, 8, 1.0, 0.0);
        let stored = Stored::new(Metric::L2, VectorType::F32, 8, &values);
        let mut graph = GRAPH.get_or_init(|| stored.build(2).to_bytes()).clone();
        let bytes = graph.as_mut_slice();
        for (at, value) in flips {
            let at = 128 + at.index(bytes.len() - 128);
            bytes[at] = value;
        }
        for (word, value) in header {
            bytes[word * 4..word * 4 + 4].copy_from_slice(&value.to_le_bytes());
        }
        walk_damaged(&stored, graph.as_slice());
    }

    #[test]
    fn damaged_graphs_are_merged_without_harm(
        damage in proptest::collection::vec((proptest::sample::Index::arbitrary(), 0_u32..700), 1..200)
    ) {
        let values = clustered(1, 600, 8, 1.0, 0.0);
        let stored = Stored::new(Metric::L2, VectorType::F32, 8, &values);
        let part = |at: usize| {
            Stored::new(Metric::L2, VectorType::F32, 8, &values[at * 2400..(at + 1) * 2400])
        };
        let parts = [part(0), part(1)];
        let mut graphs = parts.each_ref().map(|part| part.build(1).to_bytes());
        for (at, link) in damage {
            let graph = graphs[at.index(2)].as_mut_slice();
            let at = HEADER_BYTES + 4 * at.index(300 * 32);
            graph[at..at + 4].copy_from_slice(&link.to_le_bytes());
        }
        let to: Vec<Row> = (0..600).collect();
        let seeds = [0, 1].map(|at: usize| Seed {
            view: View::parse(Guarded::trusted(graphs[at].as_slice()), 300).expect("a graph"),
            to: &to[at * 300..(at + 1) * 300],
        });
        let (space, rows) = (stored.space, stored.rows());
        let source = FullPairs { space, rows, centre: &Centre::default() };
        let params = Params { ef_construction: 100, ..Params::default() };
        let merged = merge(Isa::detect(), &source, 600, &params, &seeds, &pool(2), &|| true);
        check(&merged.expect("not stopped"));
    }

    #[test]
    fn random_lists_behind_a_valid_header_are_walked_in_bounds(words in proptest::collection::vec(0_u32..1300, 64)) {
        let values = clustered(1, 1200, 8, 1.0, 0.0);
        let stored = Stored::new(Metric::L2, VectorType::F32, 8, &values);
        let mut graph = GRAPH.get_or_init(|| stored.build(2).to_bytes()).clone();
        let mut words = words.iter().cycle();
        for out in graph.as_mut_slice()[128..].chunks_exact_mut(4) {
            out.copy_from_slice(&words.next().unwrap_or(&0).to_le_bytes());
        }
        walk_damaged(&stored, graph.as_slice());
    }
}

static GRAPH: std::sync::OnceLock<AlignedBytes> = std::sync::OnceLock::new();

#[test]
fn a_row_that_is_passed_by_hides_no_other_row_and_may_be_the_entry() {
    let values = clustered(1, 800, 12, 1.0, -0.5);
    for count in [2, 20, 800] {
        let stored = Stored::new(Metric::L2, VectorType::F32, 12, &values[..count * 12]);
        let graph = check(&stored.build(2));
        let view = View::parse(Guarded::trusted(graph.as_slice()), count).expect("a graph");
        let (mut wanted, mut found) = (0, 0);
        for row in 0..count as Row {
            let query = Query::new(stored.space, &values[row as usize * 12..][..12]);
            let none = RowSet::default();
            let exact = stored.exact(&query, 11, &none);
            let exact: Vec<Row> =
                exact.into_iter().map(|near| near.1).filter(|near| *near != row).collect();
            let mut top = TopK::new(10, f32::INFINITY, count, &|a, b| a < b);
            let effort = Effort { without: Some(row), ..Effort::of(40) };
            search(Isa::detect(), &query, stored.indexed(view), effort, &none, &mut top);
            let walked = top.into_sorted();
            assert!(walked.iter().all(|near| near.row != row), "{row} of {count}");
            wanted += exact.len().min(10);
            found += walked.iter().filter(|near| exact.contains(&near.row)).count();
        }
        let share = f64::from(found as u32) / f64::from(wanted as u32);
        assert!(share >= 0.95, "{share} of {count}");
    }
}

#[test]
fn a_walk_with_a_slack_goes_farther_with_more_and_finds_hits_among_hidden_rows() {
    let values = clustered(1, 2_000, 12, 1.0, -0.5);
    let queries = clustered(2, 40, 12, 1.0, -0.5);
    let stored = Stored::new(Metric::L2, VectorType::F32, 12, &values);
    let graph = check(&stored.build(2));
    let view = View::parse(Guarded::trusted(graph.as_slice()), stored.count).expect("a graph");
    let hidden = RowSet::from_rows(&(0..2_000).filter(|row| row % 3 > 0).collect::<Vec<Row>>());
    for dead in [RowSet::default(), hidden] {
        let mut before = (0, 0);
        for slack in [1.0, 1.2, 1.6] {
            let (mut expanded, mut found) = (0, 0);
            for query in queries.chunks(12) {
                let query = Query::new(stored.space, query);
                let exact = stored.exact(&query, 10, &dead);
                let mut top = TopK::new(10, f32::INFINITY, stored.count, &|a, b| a < b);
                let effort = Effort { slack: Some(slack), ..Effort::of(400) };
                let counts =
                    search(Isa::detect(), &query, stored.indexed(view), effort, &dead, &mut top);
                expanded += counts.walk.expanded;
                let walked = top.into_sorted();
                assert!(walked.len() == 10 && walked.iter().all(|near| !dead.contains(near.row)));
                found += walked.iter().filter(|near| near.distance <= exact[9].0).count();
            }
            assert!((expanded, found) > before && found >= before.1, "{found} with {slack}");
            before = (expanded, found);
        }
        assert!(before.1 >= 392, "{} of 400", before.1);
    }
}
