//! Filtered search: recall@10, speed and its ratio to the unfiltered search of the same run, over
//! random filters from 90 % down to 0.01 %, filters that keep the query's cluster or all but it, and
//! the real filters of a set that has them.
//!
//! `cargo bench --bench filtered_search -- [--set NAME] [--synthetic ROWS] [--queries N] [--keep DIR] [--smoke]`
//!
//! `--keep` leaves the collections in a directory and searches those that are there.
//! Speed is by the processor time of the thread. The exact neighbours are those of an exact search with
//! the same filter.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a bench prints, and its sizes are small"
)]

mod support;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use nearfield::arrow_array::{ArrayRef, Int64Array, RecordBatch};
use nearfield::interop::{self, ReadOptions};
use nearfield::{
    Collection, DataType, Database, Error, ImportBatch, ImportOptions, Metric, OpenOptions, Result,
    Schema, Settings, Vectors,
};
use rustix::time::{ClockId, clock_gettime};
use support::data::{Random, SETS, Set, Synthetic};
use support::{Outcome, data_directory, figure, median, quantile};

const BENCH: &str = "filtered_search";
const K: usize = 10;
/// Values of `draw`, a random number.
const DRAWS: u64 = 10_000;
/// Rows of a batch.
const BATCH: usize = 4_096;
/// How many clusters there are, few and many.
const CLUSTERS: [usize; 2] = [10, 100];
/// Filters of `pypi-minilm-384-100k` over its own columns.
const REAL: [&str; 10] = [
    "bucket < 500",
    "bucket < 100",
    "bucket < 10",
    "bucket < 1",
    "year = 2026",
    "year <= 2012",
    "month = '2026-10'",
    "rank IS NOT NULL",
    "name ILIKE 'django%'",
    "name ILIKE 'mypy-boto3%'",
];
const REAL_COLUMNS: [(&str, DataType); 5] = [
    ("bucket", DataType::Int64),
    ("year", DataType::Int64),
    ("month", DataType::Utf8),
    ("rank", DataType::Int64),
    ("name", DataType::Utf8),
];
/// Passes over the queries that are timed.
const PASSES: usize = 3;

fn main() -> ExitCode {
    support::run(BENCH, |args| {
        let queries = args.size("--queries", 500, 20)?;
        let kept = args.text("--keep").map(Path::new);
        if let Some(rows) = args.text("--synthetic") {
            return synthetic(rows.replace('_', "").parse()?, queries, kept);
        }
        let wanted = args.text("--set");
        for (name, ..) in SETS {
            let usual = match args.smoke() {
                true => name == "cisi-minilm-384",
                false => ["fashion-mnist-784", "pypi-minilm-384-100k"].contains(&name),
            };
            if wanted.map_or(usual, |wanted| wanted == name)
                && let Some(set) = Set::load(name)?
            {
                real(&set, queries, kept)?;
            }
        }
        if args.smoke() { synthetic(3_000, queries, kept) } else { Ok(()) }
    })
}

/// Rows in which to search, and queries.
struct Data<'a> {
    name: String,
    schema: Schema,
    rows: usize,
    vectors: Box<dyn Fn(usize, usize) -> Vectors<'static> + 'a>,
    queries: Vec<Vec<f32>>,
    row: Box<dyn Fn(usize) -> Vec<f32> + 'a>,
    /// Further columns of all rows, in batches.
    columns: Vec<RecordBatch>,
}

fn real(set: &Set, queries: usize, kept: Option<&Path>) -> Outcome {
    let (d, rows) = (set.dimension, set.len());
    let data = Data {
        name: set.name.to_owned(),
        schema: set.schema(),
        rows,
        vectors: Box::new(move |from, to| set.train.owned(d, from, to)),
        queries: (0..queries.min(set.query_count())).map(|at| set.queries.row_f32(d, at)).collect(),
        row: Box::new(move |row| set.train.row_f32(d, row)),
        columns: if set.name == "pypi-minilm-384-100k" { columns(set)? } else { Vec::new() },
    };
    measure(&data, kept)
}

/// The columns that filters of the set ask for; none where Parquet files cannot be read.
fn columns(set: &Set) -> Outcome<Vec<RecordBatch>> {
    if !cfg!(feature = "cli") {
        return Ok(Vec::new());
    }
    let dir = data_directory().join(set.name);
    let options = ReadOptions::default()
        .metadata(dir.join("meta.parquet"))
        .columns(REAL_COLUMNS.map(|(name, _)| name))
        .batch_rows(BATCH);
    let read = interop::read(dir.join("train.f16.npy"), &options)?;
    let batches = read.map(|batch| Ok(batch?.attributes.ok_or("a batch without columns")?));
    batches.collect()
}

fn synthetic(rows: usize, queries: usize, kept: Option<&Path>) -> Outcome {
    const DIMENSION: usize = 128;
    let source = Synthetic::new(DIMENSION, 1);
    let of = |row: u64| source.rows(row, row + 1);
    let data = Data {
        name: format!("synthetic {rows} x {DIMENSION}"),
        schema: Schema::new(DIMENSION, Metric::L2),
        rows,
        vectors: Box::new(|from, to| source.rows(from as u64, to as u64).into()),
        queries: (0..queries as u64).map(|at| of((1 << 40) + at)).collect(),
        row: Box::new(|row| of(row as u64)),
        columns: Vec::new(),
    };
    measure(&data, kept)
}

/// Clusters by the nearest of some rows; what the query's is, and rows of each.
struct Clusters {
    centres: Vec<Vec<f32>>,
}

impl Clusters {
    fn new(data: &Data<'_>, count: usize) -> Self {
        let rows = Random(7).sample(data.rows as u64, count);
        Self { centres: rows.into_iter().map(|row| (data.row)(row as usize)).collect() }
    }

    fn of(&self, vector: &[f32]) -> usize {
        let distance = |centre: &[f32]| -> f32 {
            centre.iter().zip(vector).map(|(a, b)| (a - b) * (a - b)).sum()
        };
        let distances = self.centres.iter().map(|centre| distance(centre)).enumerate();
        distances.min_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |(at, _)| at)
    }
}

fn measure(data: &Data<'_>, kept: Option<&Path>) -> Outcome {
    let dir = support::directory()?;
    let path = kept.map_or(dir.path().join("db"), |kept| kept.join(data.name.replace(' ', "-")));
    let mut settings = Settings::default();
    settings.compaction = false;
    let db = OpenOptions::new().settings(settings).open(path)?;
    let clusters = CLUSTERS.map(|count| Clusters::new(data, count));
    let docs = match db.open_collection("rows") {
        Ok(docs) => docs,
        Err(Error::NotFound { .. }) => fill(&db, data, &clusters)?,
        Err(error) => return Err(error.into()),
    };
    let plain = ask(data, &docs, &|_| None)?;
    println!("\n## {}", data.name);
    println!(
        "{:<28} {:>8} {:>9} {:>7} {:>9} {:>9} {:>9}  plan",
        "filter", "share", "QPS", "ratio", "p50 ms", "p99 ms", "recall"
    );
    report(data, "none", data.rows as u64, &plain, &plain);
    for share in [0.9, 0.5, 0.2, 0.1, 0.05, 0.01, 0.001, 0.0001] {
        let text = format!("draw < {}", (share * DRAWS as f64).round());
        let found = ask(data, &docs, &|_| Some(text.clone()))?;
        report(data, &text, docs.count(text.as_str())?, &found, &plain);
    }
    for (which, clusters) in clusters.iter().enumerate() {
        for (word, sign) in [("the cluster", "="), ("all but the cluster", "<>")] {
            let text =
                |at: usize| Some(format!("c{which} {sign} {}", clusters.of(&data.queries[at])));
            let found = ask(data, &docs, &text)?;
            let rows: Result<Vec<u64>> =
                (0..data.queries.len()).filter_map(text).map(|text| docs.count(text)).collect();
            let rows = rows?;
            let mean = rows.iter().sum::<u64>() / rows.len().max(1) as u64;
            report(data, &format!("{word} of {}", CLUSTERS[which]), mean, &found, &plain);
        }
    }
    for text in REAL.iter().filter(|_| !data.columns.is_empty()) {
        let found = ask(data, &docs, &|_| Some((*text).to_owned()))?;
        report(data, text, docs.count(*text)?, &found, &plain);
    }
    Ok(db.close()?)
}

fn fill(db: &Database, data: &Data<'_>, clusters: &[Clusters; 2]) -> Outcome<Collection> {
    let own = ["draw", "c0", "c1"].map(|name| (name, DataType::Int64));
    let given = if data.columns.is_empty() { &[][..] } else { &REAL_COLUMNS };
    let columns = own.iter().chain(given);
    let schema = columns
        .fold(data.schema.clone(), |schema, (name, data_type)| schema.column(*name, *data_type));
    let docs = db.collection("rows", schema)?;
    let mut random = Random(3);
    let draws: Vec<i64> = (0..data.rows).map(|_| (random.next() % DRAWS) as i64).collect();
    let batches = (0..data.rows).step_by(BATCH).map(|from| {
        let to = data.rows.min(from + BATCH);
        let near = |which: usize| -> Int64Array {
            (from..to).map(|row| Some(clusters[which].of(&(data.row)(row)) as i64)).collect()
        };
        let draw: Int64Array = draws[from..to].iter().map(|value| Some(*value)).collect();
        let mut columns: Vec<(&str, ArrayRef)> =
            vec![("draw", Arc::new(draw)), ("c0", Arc::new(near(0))), ("c1", Arc::new(near(1)))];
        if let Some(given) = data.columns.get(from / BATCH) {
            columns.extend(REAL_COLUMNS.iter().filter_map(|(name, _)| {
                Some((*name, ArrayRef::clone(given.column_by_name(name)?)))
            }));
        }
        let ids: Vec<u64> = (from as u64..to as u64).collect();
        Ok(ImportBatch {
            source_rows: ids.clone(),
            ids: ids.into(),
            vectors: (data.vectors)(from, to),
            attributes: RecordBatch::try_from_iter_with_nullable(
                columns.into_iter().map(|(name, column)| (name, column, true)),
            )
            .ok(),
            rejected: Vec::new(),
        })
    });
    docs.import(batches, ImportOptions::new())?;
    Ok(docs)
}

/// What searches with some filters gave.
struct Asked {
    recall: f64,
    /// Of a thread's processor.
    qps: f64,
    seconds: Vec<f64>,
    plans: String,
}

fn ask(
    data: &Data<'_>,
    docs: &Collection,
    filter: &dyn Fn(usize) -> Option<String>,
) -> Outcome<Asked> {
    let search = |at: usize| {
        let query = docs.search(data.queries[at].as_slice()).k(K);
        match filter(at) {
            Some(filter) => query.filter(filter),
            None => query,
        }
    };
    let (mut good, mut wanted) = (0, 0);
    let mut plans: Vec<(String, usize)> = Vec::new();
    for at in 0..data.queries.len() {
        let exact = search(at).exact(true).run()?;
        let Some(last) = exact.iter().last() else { continue };
        let bound = last.distance + last.distance.abs() * 1e-5 + 1e-7;
        wanted += exact.len();
        let explained = search(at).explain()?;
        if explained.hits.len() != exact.len() {
            return Err(format!("{} hits, {} exist", explained.hits.len(), exact.len()).into());
        }
        good += explained.hits.iter().filter(|hit| hit.distance <= bound).count();
        for part in explained.parts {
            let plan = format!("{:?}", part.plan);
            match plans.iter_mut().find(|(known, _)| *known == plan) {
                Some((_, count)) => *count += 1,
                None => plans.push((plan, 1)),
            }
        }
    }
    let mut seconds = Vec::new();
    let mut passes = Vec::new();
    for _ in 0..PASSES {
        let before = cpu_seconds();
        for at in 0..data.queries.len() {
            let start = Instant::now();
            search(at).run()?;
            seconds.push(start.elapsed().as_secs_f64());
        }
        passes.push(cpu_seconds() - before);
    }
    let qps = data.queries.len() as f64 / quantile(&passes, 0.0);
    let plans = plans.iter().map(|(plan, count)| format!("{plan} {count}"));
    let plans = plans.collect::<Vec<_>>().join(", ");
    Ok(Asked { recall: good as f64 / f64::from(wanted.max(1) as u32), qps, seconds, plans })
}

fn cpu_seconds() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

fn report(data: &Data<'_>, filter: &str, rows: u64, found: &Asked, plain: &Asked) {
    let share = rows as f64 / data.rows as f64;
    println!(
        "{filter:<28} {:>7.3}% {:>9.0} {:>7.2} {:>9.3} {:>9.3} {:>9.4}  {}",
        share * 100.0,
        found.qps,
        found.qps / plain.qps,
        median(&found.seconds) * 1e3,
        quantile(&found.seconds, 0.99) * 1e3,
        found.recall,
        found.plans,
    );
    for (what, value, unit) in [
        ("recall@10", found.recall, ""),
        ("QPS, processor of one thread", found.qps, "1/s"),
        ("speed ÷ unfiltered", found.qps / plain.qps, ""),
        ("p50", median(&found.seconds) * 1e3, "ms"),
    ] {
        figure(BENCH, &format!("{} {filter} {what}", data.name), value, unit);
    }
}
