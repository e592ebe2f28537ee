//! Build time, and recall against queries a second, of the graph on real vectors.
//! `cargo bench --features testing --bench graph -- [folder] [rows] [threads] [bits]`: the folder
//! holds `train.*.npy` and `queries.*.npy` and its name ends in the dimension.

#![allow(clippy::print_stdout, reason = "a bench prints what it measures")]

use std::path::Path;
use std::time::Instant;

use half::f16;
use nearfield::testing::bench::Stored;
use nearfield::{Metric, Result, VectorType};

const K: usize = 10;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let folder = arguments.next().unwrap_or_else(|| "../shared/data/pypi-minilm-384-100k".into());
    let most: usize = arguments.next().and_then(|rows| rows.parse().ok()).unwrap_or(20_000);
    let threads = arguments.next().and_then(|threads| threads.parse().ok()).unwrap_or(2);
    let bits: Vec<usize> = match arguments.next().and_then(|bits| bits.parse().ok()) {
        Some(bits) => vec![bits],
        None => vec![0, 8, 4],
    };
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
    for ef in [10, 16, 24, 32, 48, 64, 100, 200] {
        let mut best = f64::INFINITY;
        let mut found = 0;
        for _ in 0..5 {
            found = 0;
            let mut walked = Vec::with_capacity(queries.len());
            let start = thread_seconds();
            for query in &queries {
                walked.push(stored.walk(query, K, ef)?);
            }
            best = best.min(thread_seconds() - start);
            for (walked, exact) in walked.iter().zip(&exact) {
                let worst = exact[K - 1].0;
                found += walked.iter().filter(|(distance, _)| *distance <= worst).count();
            }
        }
        let recall = found as f64 / (queries.len() * K) as f64;
        println!(
            "  ef {ef:4}  recall@10 {recall:.4}  {:8.0} queries/s",
            queries.len() as f64 / best
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
