//! Recall@10 of a bulk import at default settings on every real set, with times.
//!
//! `cargo bench --bench recall -- [--set NAME] [--smoke]`; `--smoke` takes the smallest sets, or a
//! synthetic one where the data is absent.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a bench prints, and its sizes are small"
)]

mod support;

use std::process::ExitCode;

use nearfield::{Database, ImportOptions, Metric, Schema};
use support::data::{SETS, Set, Synthetic};
use support::{Args, Clock, Outcome, figure, median, quantile};

const BENCH: &str = "recall";

fn main() -> ExitCode {
    support::run(BENCH, |args| {
        let chosen = args.text("--set");
        for (name, ..) in SETS {
            let small = ["sift-5k-128", "cisi-minilm-384"].contains(&name);
            if chosen.map_or(!args.smoke() || small, |chosen| chosen == name)
                && let Some(set) = Set::load(name)?
            {
                measure(&set)?;
            }
        }
        synthetic(args)
    })
}

fn measure(set: &Set) -> Outcome {
    let say = |what: &str, value: f64, unit: &str| {
        figure(BENCH, &format!("{} {what}", set.name), value, unit);
    };
    let dir = support::directory()?;
    let path = dir.path().join("db");
    let ids: Vec<u64> = (0..set.len() as u64).collect();
    let clock = Clock::start();
    let db = Database::open(&path)?;
    let rows = db.collection("rows", set.schema())?;
    rows.import(set.batches(&ids), ImportOptions::new())?;
    say("import", clock.wall(), "s");
    say("import CPU", clock.cpu(), "s");
    db.close()?;
    drop((rows, db));
    let db = Database::open(&path)?;
    let rows = db.open_collection("rows")?;
    for (name, exact) in [("default", false), ("exact", true)] {
        let (answers, seconds) = set.answers(&rows, exact)?;
        say(&format!("{name} recall@10"), set.recall(&answers, 10), "");
        say(&format!("{name} QPS, one thread"), 1.0 / mean(&seconds), "1/s");
        say(&format!("{name} p50"), median(&seconds) * 1e3, "ms");
        say(&format!("{name} p99"), quantile(&seconds, 0.99) * 1e3, "ms");
    }
    let all = set.queries.rows(set.dimension, 0, set.query_count());
    let clock = Clock::start();
    rows.search(all).run_batch()?;
    say("default QPS, batch on all cores", set.query_count() as f64 / clock.wall(), "1/s");
    Ok(())
}

fn mean(seconds: &[f64]) -> f64 {
    seconds.iter().sum::<f64>() / seconds.len().max(1) as f64
}

/// A smoke run also where there is no data: every row finds itself.
fn synthetic(args: &Args) -> Outcome {
    if !args.smoke() {
        return Ok(());
    }
    let dir = support::directory()?;
    let db = Database::open(dir.path().join("db"))?;
    let rows = db.collection("rows", Schema::new(32, Metric::L2))?;
    let source = Synthetic::new(32, 1);
    rows.import(source.batches(2_000), ImportOptions::new())?;
    let hits = rows.search(source.rows(7, 8)).k(1).run()?;
    figure(BENCH, "synthetic: a row finds itself", f64::from(u8::from(hits[0].id == 7.into())), "");
    Ok(())
}
