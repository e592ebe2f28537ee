//! Memory of a bulk import from a source that is made as it is read.
//!
//! `cargo bench --bench import_memory -- [--rows N] [--dimension N] [--smoke]`
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a bench prints, and its sizes are small"
)]

mod support;

use std::process::ExitCode;
use std::time::Instant;

use nearfield::{Database, ImportOptions, Metric, Phase, Schema};
use support::data::Synthetic;
use support::{Args, Clock, Outcome, Peak, figure, mib};

const BENCH: &str = "import_memory";

fn main() -> ExitCode {
    support::run(BENCH, measure)
}

fn measure(args: &Args) -> Outcome {
    let count = args.size("--rows", 1_000_000, 11_000)? as u64;
    let dimension = args.size("--dimension", 384, 384)?;
    let dir = support::directory()?;
    let db = Database::open(dir.path().join("db"))?;
    let rows = db.collection("rows", Schema::new(dimension, Metric::Cosine))?;
    let source = Synthetic::new(dimension, 1);
    let before = support::anonymous_bytes();
    let clock = Clock::start();
    let mut last = (Instant::now(), Phase::Reading);
    let (mut reading, mut indexing) = (0.0, 0.0);
    let progress = |now: nearfield::Progress| {
        // The time since the last call belongs to the phase that was told then.
        let seconds = last.0.elapsed().as_secs_f64();
        match last.1 {
            Phase::Indexing => indexing += seconds,
            Phase::Committing => {}
            _ => reading += seconds,
        }
        last = (Instant::now(), now.phase);
        true
    };
    let peak = Peak::start();
    rows.import(source.batches(count), ImportOptions::new().progress(progress))?;
    let peak = peak.stop();
    let wall = clock.wall();
    figure(BENCH, "rows", count as f64, "");
    figure(BENCH, "vectors", mib(count * dimension as u64 * 4), "MiB");
    figure(BENCH, "anonymous memory before", mib(before), "MiB");
    figure(BENCH, "anonymous memory, peak", mib(peak), "MiB");
    figure(BENCH, "reading, with making the rows", reading, "s");
    figure(BENCH, "indexing", indexing, "s");
    figure(BENCH, "committing, to the end", wall - reading - indexing, "s");
    figure(BENCH, "all", wall, "s");
    figure(BENCH, "all, CPU", clock.cpu(), "s");
    figure(BENCH, "segments", rows.stats()?.segments.len() as f64, "");
    Ok(db.close()?)
}
