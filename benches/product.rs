//! Recall@10 of product codes alone, without an exact distance, and of walks that they lead.
//!
//! `cargo bench --features testing --bench product -- [--set NAME] [--bytes N] [--walks]`
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a bench prints, and its sizes are small"
)]

mod support;

use std::process::ExitCode;

use nearfield::Metric;
use nearfield::testing::bench::{Found, Stored};
use support::data::Set;
use support::{Args, Clock, Outcome, figure};

const BENCH: &str = "product";
const K: usize = 10;
const QUERIES: usize = 1_000;
const TIMED: usize = 200;
const ROUNDS: usize = 5;

fn main() -> ExitCode {
    support::run(BENCH, |args| {
        for name in ["pypi-minilm-384-100k", "fashion-mnist-784"] {
            if args.text("--set").is_none_or(|chosen| chosen == name)
                && let Some(set) = Set::load(name)?
            {
                measure(args, &set)?;
            }
        }
        Ok(())
    })
}

fn measure(args: &Args, set: &Set) -> Outcome {
    let (dimension, count) = (set.dimension, args.size("--rows", set.len(), 4_000)?.min(set.len()));
    let vectors = set.train.rows(dimension, 0, count);
    let mut stored = Stored::new(set.metric, set.vector_type, dimension, &vectors)?;
    if args.flag("--walks") {
        stored.code(4);
        stored.build(16, 200, 2)?;
    }
    let only = args.size("--bytes", 0, 0)?;
    for bytes in [48, 64, 96].into_iter().filter(|bytes| only == 0 || *bytes == only) {
        let clock = Clock::start();
        let Some(size) = stored.product(bytes) else {
            println!("{}: no codes of {bytes} bytes", set.name);
            continue;
        };
        let say = |what: &str, value: f64, unit: &str| {
            figure(BENCH, &format!("{} {bytes} B {what}", set.name), value, unit);
        };
        say("coded in", clock.cpu(), "s of processor");
        say("8 bits, bytes a row", size as f64 / count as f64, "B");
        let (mut ten, mut hundred) = (0.0, 0.0);
        let queries = set.query_count().min(QUERIES);
        for query in 0..queries {
            let floats = set.queries.row_f32(dimension, query);
            ten += recall(set, &stored, &floats, query, &stored.scan_by_codes(&floats, K)?)?;
            hundred += recall(set, &stored, &floats, query, &stored.scan_by_codes(&floats, 100)?)?;
        }
        say("8 bits, recall@10", ten / queries as f64, "");
        say("8 bits, recall@10 in the nearest 100", hundred / queries as f64, "");
        let pace = pace(set, |query| stored.scan_by_codes(query, K))?;
        say("8 bits, scans", pace, "/s of processor");
        halves(set, &mut stored, bytes)?;
        for ef in [24, 48, 100, 200].into_iter().filter(|_| args.flag("--walks")) {
            let (mut found, mut compared) = (0.0, 0);
            for query in 0..queries {
                let floats = set.queries.row_f32(dimension, query);
                let (walked, work) = stored.walk(&floats, K, ef)?;
                found += recall(set, &stored, &floats, query, &walked)?;
                compared += work.compared;
            }
            say(&format!("walk ef {ef} recall@10"), found / queries as f64, "");
            say(&format!("walk ef {ef} compared"), compared as f64 / queries as f64, "rows");
        }
    }
    Ok(())
}

/// The same by codes of four bits.
fn halves(set: &Set, stored: &mut Stored, bytes: usize) -> Outcome {
    let Some(size) = stored.product_halves(bytes) else {
        println!("{}: no halves of {bytes} bytes", set.name);
        return Ok(());
    };
    let say = |what: &str, value: f64, unit: &str| {
        figure(BENCH, &format!("{} {bytes} B 4 bits, {what}", set.name), value, unit);
    };
    say("bytes a row", size as f64 / set.len() as f64, "B");
    let (mut ten, mut hundred) = (0.0, 0.0);
    let queries = set.query_count().min(QUERIES);
    for query in 0..queries {
        let floats = set.queries.row_f32(set.dimension, query);
        ten += recall(set, stored, &floats, query, &stored.scan_by_halves(&floats, K)?)?;
        hundred += recall(set, stored, &floats, query, &stored.scan_by_halves(&floats, 100)?)?;
    }
    say("recall@10", ten / queries as f64, "");
    say("recall@10 in the nearest 100", hundred / queries as f64, "");
    say("scans", pace(set, |query| stored.scan_by_halves(query, K))?, "/s of processor");
    Ok(())
}

/// Searches in a second of the processor, the best of a few rounds.
fn pace<E>(set: &Set, search: impl Fn(&[f32]) -> Result<Found, E>) -> Result<f64, E> {
    let queries = set.query_count().min(TIMED);
    let queries: Vec<_> = (0..queries).map(|at| set.queries.row_f32(set.dimension, at)).collect();
    let mut best = 0.0_f64;
    for _ in 0..ROUNDS {
        let clock = Clock::start();
        for query in &queries {
            std::hint::black_box(search(query)?);
        }
        best = best.max(queries.len() as f64 / clock.cpu());
    }
    Ok(best)
}

/// Share of the exact ten that are found; a row as near as the tenth counts.
fn recall(set: &Set, stored: &Stored, query: &[f32], number: usize, found: &Found) -> Outcome<f64> {
    let worst = set.distances[number * 100 + K - 1];
    // Distances of l2 are squared here and not in the set.
    let worst = if set.metric == Metric::L2 { worst * worst } else { worst };
    let rows: Vec<u32> = found.iter().map(|(_, row)| *row).collect();
    let near = stored.exact(query, &rows)?;
    let near = near.iter().filter(|distance| **distance <= worst * (1.0 + 1e-5) + 1e-6);
    Ok(near.count().min(K) as f64 / K as f64)
}
