//! Opening a closed collection: time, anonymous memory in a fresh process, first query.
//!
//! `cargo bench --bench open -- [--rows N] [--opens N] [--smoke]`
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a bench prints, and its sizes are small"
)]

mod support;

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use nearfield::{Collection, Database, ImportOptions, Metric, Schema};
use support::data::Synthetic;
use support::{Args, Clock, Outcome, figure, median, quantile};

const BENCH: &str = "open";
const DIMENSION: usize = 384;

fn main() -> ExitCode {
    support::run(BENCH, |args| match args.text("--child") {
        Some(path) => child(Path::new(path)),
        None => measure(args),
    })
}

fn open(path: &Path) -> Outcome<(Database, Collection)> {
    let db = Database::open(path)?;
    let rows = db.open_collection("rows")?;
    Ok((db, rows))
}

fn measure(args: &Args) -> Outcome {
    let count = args.size("--rows", 100_000, 2_000)? as u64;
    let opens = args.size("--opens", 30, 5)?;
    let dir = support::directory()?;
    let path = dir.path().join("db");
    let source = Synthetic::new(DIMENSION, 1);
    let clock = Clock::start();
    let db = Database::open(&path)?;
    let rows = db.collection("rows", Schema::new(DIMENSION, Metric::Cosine))?;
    rows.import(source.batches(count), ImportOptions::new())?;
    figure(BENCH, "import before", clock.wall(), "s");
    db.close()?;
    drop((rows, db));

    let query = source.rows(count, count + 1);
    let (mut times, mut firsts) = (Vec::new(), Vec::new());
    for _ in 0..opens {
        let start = Instant::now();
        let (db, rows) = open(&path)?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        let start = Instant::now();
        rows.search(&query).run()?;
        firsts.push(start.elapsed().as_secs_f64() * 1e3);
        db.close()?;
    }
    figure(BENCH, "open, median", median(&times), "ms");
    figure(BENCH, "open, p95", quantile(&times, 0.95), "ms");
    figure(BENCH, "first query, median", median(&firsts), "ms");
    figure(BENCH, "first query, p95", quantile(&firsts, 0.95), "ms");

    let status = Command::new(std::env::current_exe()?).arg("--child").arg(&path).status()?;
    if status.success() { Ok(()) } else { Err("the child process failed".into()) }
}

/// In a process that did nothing else: what an open collection takes.
fn child(path: &Path) -> Outcome {
    let before = support::anonymous_bytes();
    let start = Instant::now();
    let (db, rows) = open(path)?;
    let millis = start.elapsed().as_secs_f64() * 1e3;
    let after = support::anonymous_bytes();
    figure(BENCH, "fresh process, open", millis, "ms");
    figure(BENCH, "fresh process, anonymous before", support::mib(before), "MiB");
    figure(BENCH, "fresh process, anonymous after open", support::mib(after), "MiB");
    let query = Synthetic::new(DIMENSION, 2).rows(0, 1);
    let start = Instant::now();
    rows.search(&query).run()?;
    figure(BENCH, "fresh process, first query", start.elapsed().as_secs_f64() * 1e3, "ms");
    Ok(db.close()?)
}
