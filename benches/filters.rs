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
use support::{Args, Outcome, figure, median};

const BENCH: &str = "filters";
/// Rows of one write.
const BATCH: u64 = 250_000;

const FILTERS: [&str; 8] = [
    "n < 500",
    "n BETWEEN 100 AND 200 AND x > 0.5",
    "n = 7 OR n = 8 OR n = 9",
    "n IN (1, 2, 3, 5, 8, 13, 21, 34, 55, 89)",
    "s = 'word 77'",
    "s LIKE 'word 7%'",
    "s ILIKE '%7'",
    "id IN (1, 1000, 5)",
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
    let s: ArrayRef = Arc::new(
        rows.map(|row| Some(format!("word {}", mixed(row)))).collect::<LargeStringArray>(),
    );
    Ok(RecordBatch::try_from_iter([("n", n), ("x", x), ("s", s)])?)
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
        .column("s", DataType::Utf8);
    let docs = db.collection("rows", schema)?;
    for first in (0..rows).step_by(BATCH.try_into()?) {
        let last = rows.min(first + BATCH);
        let ids: Vec<u64> = (first..last).collect();
        docs.upsert(&ids, vec![0.0_f32; ids.len()], &attributes(first, last)?)?;
    }
    for place in ["memory", "file"] {
        if place == "file" {
            docs.flush()?;
        }
        for filter in FILTERS {
            let mut times = Vec::new();
            let mut found = docs.count(filter)?;
            for _ in 0..runs {
                let start = Instant::now();
                found = docs.count(filter)?;
                times.push(start.elapsed().as_secs_f64());
            }
            let time = median(&times);
            let name = format!("{place}: {filter} ({found} found)");
            figure(BENCH, &name, time * 1e6, "us");
            figure(BENCH, &name, rows as f64 / time / 1e6, "M rows/s");
        }
    }
    Ok(())
}
