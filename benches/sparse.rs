//! Search of sparse vectors: 100,000 rows of 100 weights over 30,000 indices whose use is as skewed as
//! that of words (Zipf), queries of 30. Times to write, to flush and of a query, in a segment (by its
//! inverted index) and in memory (row by row).
//!
//! `cargo bench --bench sparse -- [--rows N] [--queries N] [--smoke]`
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a bench prints, and its sizes are small"
)]

mod support;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nearfield::arrow_array::RecordBatch;
use nearfield::{Collection, DataType, Database, Metric, Schema, SparseVector};
use support::{Args, Outcome, figure};

const BENCH: &str = "sparse";
const WEIGHTS: usize = 100;
const QUERY_WEIGHTS: usize = 30;
const INDICES: usize = 30_000;
const K: usize = 10;

/// Repeatable numbers.
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Indices by how often they are used: the n-th in 1 / n of the times of the first.
struct Zipf(Vec<f64>);

impl Zipf {
    fn new() -> Self {
        let mut sum = 0.0;
        let mut sums: Vec<f64> = Vec::with_capacity(INDICES);
        for rank in 1..=INDICES {
            sum += 1.0 / rank as f64;
            sums.push(sum);
        }
        Self(sums)
    }

    /// A vector of `count` different indices.
    fn vector(&self, count: usize, random: &mut Random) -> Outcome<SparseVector> {
        let most = self.0[INDICES - 1];
        let mut pairs = BTreeMap::new();
        while pairs.len() < count {
            let at = random.unit() * most;
            let rank = self.0.partition_point(|sum| *sum < at).min(INDICES - 1);
            // Ranks are spread over the indices, as in a vocabulary.
            let index = (rank as u64 * 7_919 % INDICES as u64) as u32;
            pairs.entry(index).or_insert_with(|| (random.unit() * 2.0 + 0.05) as f32);
        }
        Ok(SparseVector::from_pairs(pairs)?)
    }
}

fn main() -> ExitCode {
    support::run(BENCH, run)
}

fn run(args: &Args) -> Outcome {
    let rows = args.size("--rows", 100_000, 2_000)?;
    let queries = args.size("--queries", 300, 20)?;
    let mut random = Random(88_172_645_463_325_252);
    let zipf = Zipf::new();
    let mut make = |count, weights| -> Outcome<Vec<SparseVector>> {
        (0..count).map(|_| zipf.vector(weights, &mut random)).collect()
    };
    let (vectors, asked) = (make(rows, WEIGHTS)?, make(queries, QUERY_WEIGHTS)?);
    println!("{rows} rows × {WEIGHTS} of {INDICES} indices, queries of {QUERY_WEIGHTS}, k {K}");
    let dir = support::directory()?;
    let db = Database::open(dir.path().join("sparse.nf"))?;
    let schema = Schema::new(1, Metric::L2).column("words", DataType::Sparse);
    let docs = db.collection("docs", schema)?;
    let start = Instant::now();
    for (batch, vectors) in vectors.chunks(1_000).enumerate() {
        let ids: Vec<u64> = (batch as u64 * 1_000..).take(vectors.len()).collect();
        let words = SparseVector::column(vectors.iter().map(Some));
        let data = RecordBatch::try_from_iter([("words", words)])?;
        docs.upsert(&ids, vec![0.0_f32; ids.len()], &data)?;
    }
    figure(BENCH, "write", rows as f64 / start.elapsed().as_secs_f64(), "rows/s");
    let start = Instant::now();
    docs.flush()?;
    docs.compact()?;
    figure(BENCH, "flush and compact", start.elapsed().as_secs_f64(), "s");
    measure(&docs, "segment", &vectors, &asked)?;
    let fresh =
        db.collection("fresh", Schema::new(1, Metric::L2).column("words", DataType::Sparse))?;
    let few = &vectors[..vectors.len().min(10_000)];
    let ids: Vec<u64> = (0..few.len() as u64).collect();
    let words = SparseVector::column(few.iter().map(Some));
    let data = RecordBatch::try_from_iter([("words", words)])?;
    fresh.upsert(&ids, vec![0.0_f32; ids.len()], &data)?;
    measure(&fresh, "10,000 rows in memory", few, &asked)
}

/// Searches, and compares some with what each row gives alone.
fn measure(
    docs: &Collection,
    place: &str,
    vectors: &[SparseVector],
    asked: &[SparseVector],
) -> Outcome {
    let mut times: Vec<Duration> = Vec::new();
    let mut postings = 0;
    for (number, query) in asked.iter().enumerate() {
        let explained = docs.search_sparse("words", query).k(K).explain()?;
        postings += explained.parts.iter().map(|part| part.postings_read).sum::<u64>();
        let start = Instant::now();
        let hits = docs.search_sparse("words", query).k(K).run()?;
        times.push(start.elapsed());
        if number < 5 {
            let mut best: Vec<f32> = vectors.iter().map(|vector| vector.dot(query)).collect();
            best.sort_by(|a, b| b.total_cmp(a));
            let found: Vec<f32> = hits.iter().map(|hit| hit.score).collect();
            if found != best[..K] {
                return Err(
                    format!("query {number} found {found:?}, expected {:?}", &best[..K]).into()
                );
            }
        }
    }
    times.sort_unstable();
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        let time = times[((times.len() - 1) as f64 * share) as usize];
        figure(BENCH, &format!("{place}, query {name}"), time.as_secs_f64() * 1e3, "ms");
    }
    figure(BENCH, &format!("{place}, postings"), postings as f64 / asked.len() as f64, "a query");
    let start = Instant::now();
    docs.search_sparse("words", asked).k(K).run_batch()?;
    let rate = asked.len() as f64 / start.elapsed().as_secs_f64();
    figure(BENCH, &format!("{place}, batch"), rate, "queries/s");
    Ok(())
}
