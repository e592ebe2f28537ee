//! Build time, and recall against queries a second, of the graph on real vectors.
//! `cargo bench --features testing --bench graph -- [folder] [rows] [threads] [bits] [ef] [rounds]`:
//! the folder holds `train.*.npy` and `queries.*.npy`; one `ef` and many rounds are for a profiler.

#![allow(clippy::print_stdout, reason = "a bench prints what it measures")]

use std::path::Path;
use std::time::Instant;

use half::f16;
use nearfield::testing::bench::{Stored, Work};
use nearfield::{Metric, Result, VectorType};

const K: usize = 10;
/// The clock of a thread moves in steps of some milliseconds: each figure takes many.
const LEAST_SECONDS: f64 = 0.2;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let folder = arguments.next().unwrap_or_else(|| "../shared/data/pypi-minilm-384-100k".into());
    let most: usize = arguments.next().and_then(|rows| rows.parse().ok()).unwrap_or(20_000);
    let threads = arguments.next().and_then(|threads| threads.parse().ok()).unwrap_or(2);
    let bits: Vec<usize> = match arguments.next().and_then(|bits| bits.parse().ok()) {
        Some(bits) => vec![bits],
        None => vec![0, 8, 4],
    };
    let efs: Vec<usize> = match arguments.next().and_then(|ef| ef.parse().ok()) {
        Some(ef) => vec![ef],
        None => vec![10, 16, 24, 32, 48, 64, 100, 200],
    };
    let rounds = arguments.next().and_then(|rounds| rounds.parse().ok()).unwrap_or(5);
    let folder = Path::new(&folder);
    let (Some((dimension, train)), Some((_, queries))) =
        (read(folder, "train"), read(folder, "queries"))
    else {
        println!("{} holds no vectors; nothing is measured", folder.display());
        return Ok(());
    };
    let whole = train.iter().all(|value| value.fract() == 0.0);
    let train = &train[..train.len().min(most * dimension)];
    let metric = if whole { Metric::L2 } else { Metric::Cosine };
    let types: &[VectorType] =
        if whole { &[VectorType::U8, VectorType::F32] } else { &[VectorType::F32] };
    for vector_type in types {
        let mut stored = Stored::new(metric, *vector_type, dimension, &train.into())?;
        for bits in &bits {
            measure(
                &mut stored,
                *bits,
                &queries[..1000.min(queries.len() / dimension) * dimension],
                dimension,
                threads,
                (&efs, rounds),
            )?;
        }
    }
    Ok(())
}

fn measure(
    stored: &mut Stored,
    bits: usize,
    queries: &[f32],
    dimension: usize,
    threads: usize,
    (efs, rounds): (&[usize], usize),
) -> Result<()> {
    let (start, busy) = (Instant::now(), process_seconds());
    let codes = stored.code(bits);
    let coded = process_seconds() - busy;
    let size = stored.build(16, 200, threads)?;
    println!(
        "{bits} bits on {}: coded in {coded:.2} s, built by {threads} threads in {:.2} s, {:.2} s of processor, {codes} bytes of codes, {size} of graph",
        stored.tier(),
        start.elapsed().as_secs_f64(),
        process_seconds() - busy - coded,
    );
    let queries: Vec<&[f32]> = queries.chunks(dimension).collect();
    let mut exact = Vec::new();
    for query in &queries {
        exact.push(stored.scan(query, K)?);
    }
    for &ef in efs {
        let mut seconds = Vec::new();
        let mut walked = Vec::with_capacity(queries.len());
        for _ in 0..rounds {
            let (start, mut passes) = (thread_seconds(), 0.0);
            while thread_seconds() - start < LEAST_SECONDS {
                walked.clear();
                for query in &queries {
                    walked.push(stored.walk(query, K, ef)?);
                }
                passes += queries.len() as f64;
            }
            seconds.push((thread_seconds() - start) / passes);
        }
        seconds.sort_by(f64::total_cmp);
        let (mut found, mut work) = (0, Work::default());
        for ((walked, counts), exact) in walked.iter().zip(&exact) {
            work.expanded += counts.expanded;
            work.scored += counts.scored;
            work.compared += counts.compared;
            let worst = exact[K - 1].0;
            found += walked.iter().filter(|(distance, _)| *distance <= worst).count();
        }
        let recall = found as f64 / (queries.len() * K) as f64;
        println!(
            "  ef {ef:4}  recall@10 {recall:.4}  {:8.0} queries/s, {:8.0} at best; a query expands {}, scores {}, compares {}",
            1.0 / seconds[seconds.len() / 2],
            1.0 / seconds[0],
            work.expanded / queries.len() as u64,
            work.scored / queries.len() as u64,
            work.compared / queries.len() as u64,
        );
    }
    Ok(())
}

/// Processor time of this process: on a shared machine the clock on the wall says little.
fn process_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: f64 = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
    ticks / 100.0
}

/// Processor time of this thread.
fn thread_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = stat.split_whitespace().next().and_then(|field| field.parse().ok());
    nanoseconds.unwrap_or(0.0) / 1e9
}

/// Reads `NAME.f16.npy` or `NAME.u8.npy`: the dimension and the values.
fn read(folder: &Path, name: &str) -> Option<(usize, Vec<f32>)> {
    let half = std::fs::read(folder.join(format!("{name}.f16.npy"))).ok();
    let (bytes, size) = match half {
        Some(bytes) => (bytes, 2),
        None => (std::fs::read(folder.join(format!("{name}.u8.npy"))).ok()?, 1),
    };
    let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..start]).ok()?;
    let shape = header.split_once("'shape': (")?.1.split_once(')')?.0;
    let dimension = shape.split(", ").nth(1)?.parse().ok()?;
    let values = bytes[start..].chunks_exact(size).map(|element| match element {
        [low, high] => f16::from_le_bytes([*low, *high]).to_f32(),
        [byte, ..] => f32::from(*byte),
        [] => 0.0,
    });
    Some((dimension, values.collect()))
}
