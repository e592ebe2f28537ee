//! What a filter takes: counting rows in memory, and in a mapped file whose columns are read.
//!
//! `cargo bench --bench filters -- [--rows N] [--runs N] [--smoke]`
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a bench prints, and its sizes are small"
)]

mod support;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use nearfield::arrow_array::{ArrayRef, Float64Array, Int64Array, LargeStringArray, RecordBatch};
use nearfield::{DataType, Durability, Metric, OpenOptions, Schema, Settings};
use support::{Args, Clock, Outcome, figure, median};

const BENCH: &str = "filters";
/// Rows of one write.
const BATCH: u64 = 250_000;

/// A filter's name, and its text in a run.
type Named = (&'static str, fn(u64) -> String);

/// Filters by the number of the run: each asks for something else, so that none is remembered.
const FILTERS: [Named; 12] = [
    ("n < 500", |run| format!("n < {}", 500 + run)),
    ("n = 500", |run| format!("n = {}", 500 + run)),
    ("t = 1 of all", |run| format!("t = {}", 4 * run)),
    ("t in a thousandth", |run| format!("t BETWEEN {} AND {}", 5_000 * run, 5_000 * run + 4_000)),
    ("n BETWEEN and x", |run| format!("n BETWEEN {run} AND {} AND x > 0.5", 100 + run)),
    ("n = or n =", |run| format!("n = {run} OR n = {} OR n = 9999", 500 + run)),
    ("n IN", |run| format!("n IN (1, 2, 3, 5, 8, 13, 21, 34, 55, {})", 89 + run)),
    ("s = 'word 77'", |run| format!("s = 'word {run}'")),
    ("u = 'a text'", |run| format!("u = 'text {}'", 4 * run)),
    ("u LIKE 'text 7%'", |run| format!("u LIKE 'text {}%'", 10 + run)),
    ("s ILIKE '%7'", |run| format!("s ILIKE '%{run}'")),
    ("id IN", |run| format!("id IN (1, 1000, {})", 5 + run)),
];

fn main() -> ExitCode {
    support::run(BENCH, measure)
}

fn attributes(first: u64, last: u64) -> Outcome<RecordBatch> {
    // Every row has some other value in each column than the one before.
    let mixed = |row: u64| (row.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) % 1_000;
    let rows = first..last;
    let n: ArrayRef =
        Arc::new(rows.clone().map(|row| Some(mixed(row) as i64)).collect::<Int64Array>());
    let x: ArrayRef =
        Arc::new(rows.clone().map(|row| Some(mixed(row) as f64 / 1e3)).collect::<Float64Array>());
    // Every value once, in no order.
    let all = |row: u64| (row.wrapping_mul(0x9e37_79b1) % (1 << 32)) >> 10;
    let t: ArrayRef =
        Arc::new(rows.clone().map(|row| Some(all(row) as i64)).collect::<Int64Array>());
    let u: ArrayRef = Arc::new(
        rows.clone().map(|row| Some(format!("text {}", all(row)))).collect::<LargeStringArray>(),
    );
    let s: ArrayRef = Arc::new(
        rows.map(|row| Some(format!("word {}", mixed(row)))).collect::<LargeStringArray>(),
    );
    Ok(RecordBatch::try_from_iter([("n", n), ("x", x), ("s", s), ("t", t), ("u", u)])?)
}

fn measure(args: &Args) -> Outcome {
    let rows = args.size("--rows", 1_000_000, 5_000)? as u64;
    let runs = args.size("--runs", 21, 2)?;
    let dir = support::directory()?;
    let mut settings = Settings::default();
    settings.memtable_bytes = 1 << 30;
    settings.durability = Durability::None;
    settings.compaction = false;
    let db = OpenOptions::new().settings(settings).open(dir.path().join("db"))?;
    let schema = Schema::new(1, Metric::L2)
        .column("n", DataType::Int64)
        .column("x", DataType::Float64)
        .column("s", DataType::Utf8)
        .column("t", DataType::Int64)
        .column("u", DataType::Utf8);
    let docs = db.collection("rows", schema)?;
    for first in (0..rows).step_by(BATCH.try_into()?) {
        let last = rows.min(first + BATCH);
        let ids: Vec<u64> = (first..last).collect();
        docs.upsert(&ids, vec![0.0_f32; ids.len()], &attributes(first, last)?)?;
    }
    for place in ["memory", "file"] {
        if place == "file" {
            let clock = Clock::start();
            docs.flush()?;
            figure(BENCH, "flush with indexes", clock.wall(), "s");
        }
        for (name, filter) in FILTERS {
            let mut times = Vec::new();
            let mut found = 0;
            for run in 0..=runs {
                let filter = filter(run as u64);
                let start = Instant::now();
                found = docs.count(filter)?;
                times.push(start.elapsed().as_secs_f64());
            }
            // The first has read what the others find in memory.
            let time = median(&times[1..]);
            let name = format!("{place}: {name} ({found} found)");
            figure(BENCH, &name, time * 1e6, "us");
            figure(BENCH, &name, rows as f64 / time / 1e6, "M rows/s");
        }
    }
    Ok(())
}
