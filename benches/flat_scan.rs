//! How near the exact scan comes to the speed of memory: its time over that of a plain sum of the
//! same bytes. `cargo bench --features testing --bench flat_scan`

#![allow(clippy::print_stdout, reason = "a bench prints what it measures")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use nearfield::testing::bench::Stored;
use nearfield::{Metric, Result, VectorType};

const ROUNDS: usize = 7;

fn main() -> Result<()> {
    let smoke = std::env::args().any(|argument| argument == "--smoke");
    for (count, dimension) in [(1_000_000, 128), (200_000, 384), (100_000, 768)] {
        let count = if smoke { count / 100 } else { count };
        for vector_type in [VectorType::F32, VectorType::F16, VectorType::U8] {
            for metric in [Metric::L2, Metric::Cosine] {
                measure(count, dimension, vector_type, metric)?;
            }
        }
    }
    Ok(())
}

fn measure(count: usize, dimension: usize, vector_type: VectorType, metric: Metric) -> Result<()> {
    let mut state = 1_u32;
    let values: Vec<u8> = (0..count * dimension)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_le_bytes()[3]
        })
        .collect();
    let stored = Stored::new(metric, vector_type, dimension, &values.into())?;
    let query: Vec<f32> = (0..dimension).map(|column| (column % 200) as f32 + 0.5).collect();
    let (mut sum_best, mut scan_best) = (Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        black_box(sum(black_box(stored.bytes())));
        sum_best = sum_best.min(start.elapsed());
        let start = Instant::now();
        black_box(stored.scan(black_box(&query), 10)?);
        scan_best = scan_best.min(start.elapsed());
    }
    let gigabytes = stored.bytes().len() as f64 / 1e9;
    println!(
        "{:6} {count:>8} x {dimension:<4} {vector_type:4} {metric:7} sum {:7.2} ms ({:5.1} GB/s)  scan {:7.2} ms ({:5.1} GB/s)  ratio {:.2}",
        stored.tier(),
        sum_best.as_secs_f64() * 1e3,
        gigabytes / sum_best.as_secs_f64(),
        scan_best.as_secs_f64() * 1e3,
        gigabytes / scan_best.as_secs_f64(),
        scan_best.as_secs_f64() / sum_best.as_secs_f64(),
    );
    Ok(())
}

/// Adds up all bytes as 32-bit numbers over many accumulators, which the compiler vectorises.
fn sum(bytes: &[u8]) -> u32 {
    let mut sums = [0_u32; 64];
    for block in bytes.as_chunks::<256>().0 {
        for (sum, word) in sums.iter_mut().zip(block.as_chunks::<4>().0) {
            *sum = sum.wrapping_add(u32::from_le_bytes(*word));
        }
    }
    sums.iter().fold(0, |all, sum| all.wrapping_add(*sum))
}
