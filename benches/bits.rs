//! Scans by one-bit codes beside exact scans and walks over a graph: recall, queries a second on one
//! thread, rows compared exactly.
//!
//! `cargo bench --features testing --bench bits -- [--set NAME] [--rows N] [--graph] [--k N]`
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a bench prints, and its sizes are small"
)]

mod support;

use std::process::ExitCode;

use nearfield::testing::bench::Stored;
use nearfield::{VectorType, Vectors};
use support::data::{SETS, Set, Synthetic};
use support::{Args, Outcome};

/// Times each measurement is taken; the best counts.
const ROUNDS: usize = 5;

fn main() -> ExitCode {
    support::run("bits", |args| {
        let chosen = args.text("--set");
        let rows = args.size("--rows", usize::MAX, 4_000)?;
        for (name, ..) in SETS {
            if chosen.is_none_or(|chosen| chosen == name)
                && let Some(set) = Set::load(name)?
            {
                let rows = rows.min(set.len());
                let all = |array: &support::data::Array, count: usize| -> Vec<f32> {
                    (0..count).flat_map(|row| array.row_f32(set.dimension, row)).collect()
                };
                let stored = Stored::new(
                    set.metric,
                    VectorType::F32,
                    set.dimension,
                    &Vectors::from(&all(&set.train, rows)),
                )?;
                let queries = all(&set.queries, set.query_count().min(1_000));
                measure(args, name, stored, rows, &queries, set.dimension)?;
            }
        }
        if chosen.is_none_or(|chosen| chosen == "synthetic") {
            let source = Synthetic::new(128, 1);
            let rows = rows.min(200_000) as u64;
            let vectors = source.rows(0, rows);
            let metric = nearfield::Metric::L2;
            let stored = Stored::new(metric, VectorType::F32, 128, &Vectors::from(&vectors))?;
            measure(args, "synthetic", stored, rows as usize, &source.rows(rows, rows + 500), 128)?;
        }
        Ok(())
    })
}

fn measure(
    args: &Args,
    name: &str,
    mut stored: Stored,
    rows: usize,
    queries: &[f32],
    dimension: usize,
) -> Outcome {
    let k = args.size("--k", 10, 10)?;
    let queries: Vec<&[f32]> = queries.chunks(dimension).collect();
    let start = thread_seconds();
    let bytes = stored.code_bits();
    let coded = thread_seconds() - start;
    let start = thread_seconds();
    let exact = queries.iter().map(|query| stored.scan(query, k)).collect::<Result<Vec<_>, _>>()?;
    let scan = thread_seconds() - start;
    println!(
        "{name} × {rows} on {}: {:.1} bytes and {:.2} µs a row to code; exact {:.0} queries/s",
        stored.tier(),
        bytes as f64 / rows as f64,
        coded * 1e6 / rows as f64,
        queries.len() as f64 / scan,
    );
    let near = |found: &[(f32, u32)], at: usize| {
        let worst = exact[at].last().map_or(0.0, |last| last.0);
        found.iter().filter(|(distance, _)| *distance <= worst).count()
    };
    let (mut best, mut found, mut compared, mut undecided) = (f64::INFINITY, 0, 0, 0);
    for _ in 0..ROUNDS {
        (found, compared, undecided) = (0, 0, 0);
        let start = thread_seconds();
        for (at, query) in queries.iter().enumerate() {
            let (hits, exactly, decided) = stored.scan_by_bits(query, k)?;
            found += near(&hits, at);
            compared += exactly;
            undecided += usize::from(!decided);
        }
        best = best.min(thread_seconds() - start);
    }
    let wanted = exact.iter().map(Vec::len).sum::<usize>().max(1) as f64;
    println!(
        "  bits      recall@{k} {:.4}  {:8.0} queries/s  {:.2} ns a row  {:.0} compared  {:.2} % undecided",
        found as f64 / wanted,
        queries.len() as f64 / best,
        best * 1e9 / queries.len() as f64 / rows as f64,
        compared as f64 / queries.len() as f64,
        undecided as f64 * 100.0 / queries.len() as f64,
    );
    together(&stored, &queries, k, near, wanted)?;
    if !args.flag("--graph") {
        return Ok(());
    }
    stored.code(if dimension < 200 { 8 } else { 4 });
    stored.build(16, 200, 2)?;
    for ef in [10, 16, 24, 32, 48, 64, 100, 150, 200, 300] {
        let (mut best, mut found) = (f64::INFINITY, 0);
        for _ in 0..3 {
            found = 0;
            let start = thread_seconds();
            for (at, query) in queries.iter().enumerate() {
                found += near(&stored.walk(query, k, ef)?.0, at);
            }
            best = best.min(thread_seconds() - start);
        }
        println!(
            "  ef {ef:4}   recall@{k} {:.4}  {:8.0} queries/s",
            found as f64 / wanted,
            queries.len() as f64 / best
        );
    }
    Ok(())
}

/// Scans that several queries make together.
fn together(
    stored: &Stored,
    queries: &[&[f32]],
    k: usize,
    near: impl Fn(&[(f32, u32)], usize) -> usize,
    wanted: f64,
) -> Outcome {
    for together in [4, 16] {
        let (mut by_bits, mut exactly, mut found) = (f64::INFINITY, f64::INFINITY, 0);
        for _ in 0..ROUNDS {
            found = 0;
            let start = thread_seconds();
            for (first, queries) in queries.chunks(together).enumerate() {
                for (at, hits) in stored.scan_all_by_bits(queries, k)?.iter().enumerate() {
                    found += near(hits, first * together + at);
                }
            }
            by_bits = by_bits.min(thread_seconds() - start);
        }
        let some = &queries[..queries.len().min(128)];
        for _ in 0..2 {
            let start = thread_seconds();
            for queries in some.chunks(together) {
                stored.scan_all(queries, k)?;
            }
            exactly = exactly.min(thread_seconds() - start);
        }
        println!(
            "  {together:2} together  recall@{k} {:.4}  {:8.0} queries/s by bits, {:.0} exactly",
            found as f64 / wanted,
            queries.len() as f64 / by_bits,
            some.len() as f64 / exactly,
        );
    }
    Ok(())
}

/// Processor time of this thread: on a shared machine the clock on the wall says little.
fn thread_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = stat.split_whitespace().next().and_then(|field| field.parse().ok());
    nanoseconds.unwrap_or(0.0) / 1e9
}
