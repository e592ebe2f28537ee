//! Exact search over one segment against reading the same bytes: a vectorised sum.
//!
//! `cargo bench --bench scan -- [--rows N] [--rounds N] [--smoke]`
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a bench prints, and its sizes are small"
)]

mod support;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use nearfield::testing::{Disk, OsDisk};
use nearfield::{Durability, ImportOptions, Metric, OpenOptions, Schema, Settings};
use support::data::Synthetic;
use support::{Args, Outcome, figure, median};

const BENCH: &str = "scan";
const DIMENSION: usize = 128;
/// Independent sums: enough that the additions never wait for one another.
const LANES: usize = 64;

fn main() -> ExitCode {
    support::run(BENCH, measure)
}

fn measure(args: &Args) -> Outcome {
    let count = args.size("--rows", 1_000_000, 20_000)? as u64;
    let rounds = args.size("--rounds", 7, 5)?;
    let dir = support::directory()?;
    let mut settings = Settings::default();
    settings.durability = Durability::Buffered;
    // An exact search needs no graph, and building one would take most of the time.
    settings.graph_bytes = u64::MAX;
    settings.compaction = false;
    settings.memory_budget = 16 << 30;
    let db = OpenOptions::new().settings(settings).open(dir.path().join("db"))?;
    let rows = db.collection("rows", Schema::new(DIMENSION, Metric::L2))?;
    let source = Synthetic::new(DIMENSION, 1);
    rows.import(source.batches(count), ImportOptions::new())?;
    let segments = rows.stats()?.segments;
    figure(BENCH, "segments", segments.len() as f64, "");
    // What the search itself reads is the mapped file, in small pages of the page cache; the copy
    // may lie in huge pages. The two sums tell the price of the pages from that of the kernel.
    let mapped = OsDisk.map(&largest_file(&dir.path().join("db/rows"))?)?;
    let same = source.rows(0, count);
    let query = source.rows(count, count + 1);
    let (mut scans, mut sums, mut mapped_sums) = (Vec::new(), Vec::new(), Vec::new());
    rows.search(&query).exact(true).run()?;
    sum_bytes(mapped.as_slice());
    for _ in 0..rounds {
        let start = Instant::now();
        std::hint::black_box(rows.search(&query).exact(true).run()?);
        scans.push(start.elapsed().as_secs_f64() * 1e3);
        let start = Instant::now();
        std::hint::black_box(sum(std::hint::black_box(&same)));
        sums.push(start.elapsed().as_secs_f64() * 1e3);
        let bytes = &mapped.as_slice()[..same.len() * 4];
        let start = Instant::now();
        std::hint::black_box(sum_bytes(std::hint::black_box(bytes)));
        mapped_sums.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let (scan, plain) = (median(&scans), median(&sums));
    let bytes = (count * DIMENSION as u64 * 4) as f64;
    figure(BENCH, "exact search", scan, "ms");
    figure(BENCH, "exact search, bytes", bytes / scan / 1e6, "GB/s");
    figure(BENCH, "sum of the same bytes", plain, "ms");
    figure(BENCH, "sum of the same bytes, bytes", bytes / plain / 1e6, "GB/s");
    figure(BENCH, "exact search ÷ sum", scan / plain, "");
    let plain = median(&mapped_sums);
    figure(BENCH, "sum of the mapped file", plain, "ms");
    figure(BENCH, "exact search ÷ sum of the mapped file", scan / plain, "");
    Ok(db.close()?)
}

fn sum_bytes(bytes: &[u8]) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    for chunk in bytes.chunks_exact(LANES * 4) {
        for (lane, value) in lanes.iter_mut().zip(chunk.chunks_exact(4)) {
            *lane += f32::from_le_bytes([value[0], value[1], value[2], value[3]]);
        }
    }
    lanes.iter().sum()
}

/// The file of the one segment: nothing else in the directory is as large.
fn largest_file(dir: &Path) -> Outcome<PathBuf> {
    let entries = OsDisk.list(dir)?;
    let largest = entries.iter().max_by_key(|entry| entry.len).ok_or("an empty collection")?;
    Ok(dir.join(&largest.name))
}

fn sum(values: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    for chunk in values.chunks_exact(LANES) {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += value;
        }
    }
    lanes.iter().sum()
}
