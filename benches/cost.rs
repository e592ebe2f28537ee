//! What checksums and checks cost: searches of a collection whose blocks are checked when they are first
//! touched beside those of one that believes its files, and the checksums of what is written beside the writes.
//!
//! `cargo bench --features testing --bench cost -- [--rows N] [--rounds N] [--smoke]`
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a bench prints, and its sizes are small"
)]

mod support;

use std::hint::black_box;
use std::path::Path;
use std::process::ExitCode;

use nearfield::testing::{SeededBug, checksums};
use nearfield::{Collection, Database, Durability, OpenOptions, Schema};
use support::data::{Set, Synthetic};
use support::{Args, Clock, Outcome, figure, median};

const BENCH: &str = "cost";
const SET: &str = "pypi-minilm-384-100k";
const DIMENSION: usize = 384;

fn main() -> ExitCode {
    support::run(BENCH, |args| {
        searches(args)?;
        writes(args)
    })
}

/// Vectors to store and to ask with.
struct Data {
    schema: Schema,
    rows: Vec<f32>,
    queries: Vec<Vec<f32>>,
}

fn data(args: &Args) -> Outcome<Data> {
    let count = args.size("--rows", 100_000, 3_000)?;
    if let Some(set) = Set::load(SET)?.filter(|_| !args.smoke()) {
        let row = |at| set.train.row_f32(set.dimension, at);
        let rows = (0..count.min(set.len())).flat_map(row).collect();
        let queries = (0..set.query_count()).map(|at| set.queries.row_f32(set.dimension, at));
        let schema = Schema::new(set.dimension, set.metric);
        return Ok(Data { schema, rows, queries: queries.collect() });
    }
    let source = Synthetic::new(DIMENSION, 1);
    let queries = Synthetic::new(DIMENSION, 2).rows(0, 100);
    let queries = queries.chunks_exact(DIMENSION).map(<[f32]>::to_vec).collect();
    let schema = Schema::new(DIMENSION, nearfield::Metric::Cosine);
    Ok(Data { schema, rows: source.rows(0, count as u64), queries })
}

/// Opens the collection; `trusting` its blocks or comparing each with its checksum on first touch.
fn open(path: &Path, trusting: bool) -> Outcome<Collection> {
    SeededBug::seed(trusting.then_some(SeededBug::BlockChecksum));
    let docs = OpenOptions::new().read_only(true).open(path)?.open_collection("docs")?;
    SeededBug::seed(None);
    Ok(docs)
}

/// Processor time of all queries.
fn ask(docs: &Collection, queries: &[Vec<f32>], exact: bool) -> Outcome<f64> {
    let clock = Clock::start();
    for query in queries {
        black_box(docs.search(query).k(10).exact(exact).run()?);
    }
    Ok(clock.cpu())
}

fn searches(args: &Args) -> Outcome {
    let rounds = args.size("--rounds", 9, 2)?;
    let dir = support::directory()?;
    let path = dir.path().join("db");
    let Data { schema, rows, queries } = data(args)?;
    let dimension = schema.dimension();
    let db = Database::open(&path)?;
    let docs = db.collection("docs", schema)?;
    for (batch, rows) in rows.chunks(10_000 * dimension).enumerate() {
        let from = batch as u64 * 10_000;
        let ids: Vec<u64> = (from..from + (rows.len() / dimension) as u64).collect();
        docs.upsert(&ids, rows, ())?;
    }
    docs.compact()?;
    drop(docs);
    db.close()?;
    for (exact, name) in [(false, "searches of the graph"), (true, "exact searches")] {
        let queries = if exact { &queries[..queries.len().min(20)] } else { &queries[..] };
        let mut first = Vec::new();
        let mut shares = Vec::new();
        for round in 0..rounds {
            let (believed, checked) = (open(&path, true)?, open(&path, false)?);
            // What is mapped is paged in, whatever comes first.
            ask(&believed, queries, exact)?;
            let cold = ask(&checked, queries, exact)?;
            let times = |swapped: bool| -> Outcome<(f64, f64)> {
                let (a, b) = if swapped { (&checked, &believed) } else { (&believed, &checked) };
                let (a, b) = (ask(a, queries, exact)?, ask(b, queries, exact)?);
                Ok(if swapped { (b, a) } else { (a, b) })
            };
            let (without, with) = times(round % 2 == 1)?;
            shares.push((with / without - 1.0) * 100.0);
            first.push((cold - with) / queries.len() as f64 * 1e6);
        }
        figure(BENCH, &format!("{name}, more time with checks"), median(&shares), "%");
        figure(BENCH, &format!("{name}, a query of the first round more"), median(&first), "us");
    }
    Ok(())
}

fn writes(args: &Args) -> Outcome {
    let rounds = args.size("--rounds", 9, 2)?;
    let count = args.size("--rows", 100_000, 3_000)?.min(50_000) as u64;
    let rows = Synthetic::new(DIMENSION, 3).rows(0, count);
    let ids: Vec<u64> = (0..count).collect();
    for durability in [Durability::Sync, Durability::None] {
        let mut shares = Vec::new();
        for _ in 0..rounds.min(5) {
            let dir = support::directory()?;
            let options = OpenOptions::new().durability(durability);
            let db = options.open(dir.path().join("db"))?;
            let docs = db.collection("docs", Schema::new(DIMENSION, nearfield::Metric::Cosine))?;
            let clock = Clock::start();
            for (ids, rows) in ids.chunks(1_000).zip(rows.chunks(1_000 * DIMENSION)) {
                docs.upsert(ids, rows, ())?;
            }
            docs.flush()?;
            let writing = clock.cpu();
            let stats = docs.stats()?;
            let written = stats.written_log_bytes
                + stats.written_flush_bytes
                + stats.written_compaction_bytes;
            let written = written as usize;
            let bytes = vec![7_u8; written.min(64 << 20)];
            let clock = Clock::start();
            let times = written.div_ceil(bytes.len().max(1));
            for _ in 0..times {
                black_box(checksums(black_box(&bytes)));
            }
            let all = (times * bytes.len()) as f64;
            shares.push(clock.cpu() * written as f64 / all / writing * 100.0);
            db.close()?;
        }
        let name =
            format!("checksums of what is written with {durability:?}, of the writers' time");
        figure(BENCH, &name, median(&shares), "%");
    }
    Ok(())
}
