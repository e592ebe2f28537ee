//! The distance kernels beside simsimd's, warm in the first cache, in processor time of the thread.
//! `cargo bench --features testing --bench kernels -- [--rounds N] [--json FILE]`
//!
//! Ours row by row and by fours, as searches call them: from a query of f32 (of bytes and bits
//! where it is whole) to stored rows, which for cosine have their lengths beside them. Theirs from
//! one vector of a type to another, lengths included. Then rows by their codes, beside bytes of simsimd's.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "a bench of small made-up numbers, which prints what it measures"
)]

use std::hint::black_box;
use std::process::ExitCode;

use half::{bf16, f16};
use nearfield::testing::bench::Stored;
use nearfield::{Metric, VectorType, Vectors};
use rustix::time::{ClockId, clock_gettime};
use simsimd::{BinarySimilarity, SpatialSimilarity};

use support::{Args, Outcome, median};

#[path = "support/mod.rs"]
mod support;

const DIMENSIONS: [usize; 4] = [128, 384, 768, 1536];
/// Bytes of rows, which with the query fit the first cache.
const ROW_BYTES: usize = 24 << 10;
/// How long one measurement lasts, in seconds.
const SPAN: f64 = 4e-3;

fn main() -> ExitCode {
    support::run("kernels", measure_all)
}

fn measure_all(args: &Args) -> Outcome {
    let rounds = args.size("--rounds", 15, 2)?;
    let span = if args.smoke() { SPAN / 40.0 } else { SPAN };
    println!("ns a row, medians of {rounds}; simsimd: {}", simsimd_tier());
    println!(
        "{:<7} {:<8} {:>5} {:>9} {:>9} {:>9}",
        "type", "metric", "d", "by fours", "one", "simsimd"
    );
    let mut records = Vec::new();
    for (vector_type, metrics) in [
        (VectorType::F32, NUMBERS.as_slice()),
        (VectorType::F16, &NUMBERS),
        (VectorType::Bf16, &NUMBERS),
        (VectorType::I8, &NUMBERS),
        (VectorType::U8, &NUMBERS),
        (VectorType::B1, &[Metric::Hamming, Metric::Jaccard]),
    ] {
        for metric in metrics {
            for dimension in DIMENSIONS {
                let case = Case::new(vector_type, *metric, dimension)?;
                let measured = case.measure(rounds, span)?;
                records.push(told(&vector_type.to_string(), *metric, dimension, measured));
            }
        }
    }
    for (name, bits) in [("8-bit", 8), ("4-bit", 4)] {
        for dimension in DIMENSIONS {
            let measured = Case::coded(bits, dimension)?.measure(rounds, span)?;
            records.push(told(name, Metric::L2, dimension, measured));
        }
    }
    if let Some(path) = args.text("--json") {
        std::fs::write(path, serde_json::to_vec_pretty(&records)?)?;
    }
    Ok(())
}

/// Prints nanoseconds by fours, one by one and of simsimd; the same for a file.
fn told(
    name: &str,
    metric: Metric,
    dimension: usize,
    [fours, one, peer]: [Option<f64>; 3],
) -> serde_json::Value {
    let shown = peer.map_or_else(|| "-".to_owned(), |peer| format!("{peer:.2}"));
    let (fours, one) = (fours.unwrap_or(f64::NAN), one.unwrap_or(f64::NAN));
    println!(
        "{name:<7} {:<8} {dimension:>5} {fours:>9.2} {one:>9.2} {shown:>9}",
        metric.to_string()
    );
    serde_json::json!({
        "type": name, "metric": metric, "dimension": dimension,
        "fours_ns": fours, "one_ns": one, "simsimd_ns": peer,
    })
}

const NUMBERS: [Metric; 3] = [Metric::L2, Metric::Dot, Metric::Cosine];

fn simsimd_tier() -> &'static str {
    use simsimd::capabilities::{uses_genoa, uses_haswell, uses_ice, uses_skylake};
    match (uses_genoa(), uses_ice(), uses_skylake(), uses_haswell()) {
        (true, ..) => "up to genoa",
        (_, true, ..) => "up to ice",
        (_, _, true, _) => "up to skylake",
        (.., true) => "up to haswell",
        _ => "serial or NEON",
    }
}

/// Rows of one type, and a query, for us and for simsimd.
struct Case {
    metric: Metric,
    rows: usize,
    width: usize,
    stored: Stored,
    query: Vectors<'static>,
    /// The query and, behind it, the rows.
    peer: Peer,
    /// Whether both compute the same.
    same: bool,
}

enum Peer {
    F32(Aligned<f32>),
    F16(Aligned<simsimd::f16>),
    Bf16(Aligned<simsimd::bf16>),
    I8(Aligned<i8>),
    Bits(Aligned<u8>),
    /// Its Rust interface has no such type.
    None,
}

/// Elements of which the first and those a multiple of 64 bytes behind it begin a cache line.
struct Aligned<T> {
    elements: Vec<T>,
    start: usize,
    stride: usize,
}

impl<T: Copy> Aligned<T> {
    fn new(values: &[T], width: usize, zero: T) -> Self {
        let line = 64 / size_of::<T>();
        let stride = width.next_multiple_of(line);
        let mut elements = vec![zero; values.len() / width * stride + line];
        let start = (64 - elements.as_ptr().addr() % 64) % 64 / size_of::<T>();
        for (row, out) in values.chunks(width).zip(elements[start..].chunks_mut(stride)) {
            out[..width].copy_from_slice(row);
        }
        Self { elements, start, stride }
    }

    fn row(&self, row: usize, width: usize) -> &[T] {
        &self.elements[self.start + row * self.stride..][..width]
    }
}

impl Case {
    fn new(vector_type: VectorType, metric: Metric, dimension: usize) -> Outcome<Self> {
        let width = vector_type.row_elements(dimension);
        let rows = (ROW_BYTES / vector_type.row_bytes(dimension)).clamp(4, 64) / 4 * 4;
        let mut state = 1_u32;
        let mut byte = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_le_bytes()[3]
        };
        let bytes: Vec<u8> = (0..(rows + 1) * width).map(|_| byte()).collect();
        let signed: Vec<i8> = bytes.iter().map(|byte| byte.cast_signed()).collect();
        let floats: Vec<f32> = signed.iter().map(|x| f32::from(*x) / 128.0).collect();
        let (all, peer): (Vectors<'static>, Peer) = match vector_type {
            VectorType::F16 => {
                let halves: Vec<f16> = floats.iter().map(|x| f16::from_f32(*x)).collect();
                let theirs: Vec<_> = halves.iter().map(|x| simsimd::f16(x.to_bits())).collect();
                (halves.into(), Peer::F16(Aligned::new(&theirs, width, simsimd::f16(0))))
            }
            VectorType::Bf16 => {
                let halves: Vec<bf16> = floats.iter().map(|x| bf16::from_f32(*x)).collect();
                let theirs: Vec<_> = halves.iter().map(|x| simsimd::bf16(x.to_bits())).collect();
                (halves.into(), Peer::Bf16(Aligned::new(&theirs, width, simsimd::bf16(0))))
            }
            VectorType::I8 => {
                let peer = Peer::I8(Aligned::new(&signed, width, 0));
                (signed.into(), peer)
            }
            VectorType::U8 => (bytes.into(), Peer::None),
            VectorType::B1 => {
                let peer = Peer::Bits(Aligned::new(&bytes, width, 0));
                (bytes.into(), peer)
            }
            _ => {
                let peer = Peer::F32(Aligned::new(&floats, width, 0.0));
                (floats.into(), peer)
            }
        };
        let vectors = all.gather(1..=rows, width);
        let stored = Stored::new(metric, vector_type, dimension, &vectors)?;
        Ok(Self { metric, rows, width, stored, query: all.gather([0], width), peer, same: true })
    }

    /// Rows by codes of so many bits an element, beside bytes of simsimd's.
    fn coded(bits: usize, dimension: usize) -> Outcome<Self> {
        let Self { peer, .. } = Self::new(VectorType::I8, Metric::L2, dimension)?;
        let mut case = Self::new(VectorType::F32, Metric::L2, dimension)?;
        case.stored.code(bits);
        Ok(Self { peer, same: false, ..case })
    }

    /// Nanoseconds a row: by fours, one by one, simsimd.
    fn measure(&self, rounds: usize, span: f64) -> Outcome<[Option<f64>; 3]> {
        self.compare()?;
        let ours = |fours: bool, times: usize| -> Outcome<f64> {
            let start = thread_seconds();
            black_box(self.stored.distances(black_box(&self.query), fours, times)?);
            Ok(thread_seconds() - start)
        };
        let theirs = |times: usize| -> Option<f64> {
            let start = thread_seconds();
            let mut out = vec![0.0; self.rows];
            for _ in 0..times {
                self.ask_peer(&mut out)?;
                black_box(&mut out);
            }
            Some(thread_seconds() - start)
        };
        let mut times = 16;
        while ours(true, times)? < span && times < 1 << 30 {
            times *= 2;
        }
        let mut found = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..rounds {
            found[0].push(ours(true, times)?);
            found[1].push(ours(false, times)?);
            found[2].extend(theirs(times));
        }
        let rows = (times * self.rows) as f64;
        Ok(found.map(|seconds| (!seconds.is_empty()).then(|| median(&seconds) * 1e9 / rows)))
    }

    /// That both mean the same; simsimd's lesser precision is allowed for.
    fn compare(&self) -> Outcome {
        let mut theirs = vec![0.0; self.rows];
        if !self.same || self.ask_peer(&mut theirs).is_none() {
            return Ok(());
        }
        for fours in [true, false] {
            let ours = self.stored.distances(&self.query, fours, 1)?;
            for (ours, theirs) in ours.iter().map(|x| f64::from(*x)).zip(&theirs) {
                let theirs = match self.metric {
                    Metric::Dot => -theirs,
                    _ => *theirs,
                };
                let scale = ours.abs().max(self.width as f64 / 8.0).max(1.0);
                if (ours - theirs).abs() > 0.02 * scale {
                    return Err(format!("{}: {ours}, simsimd {theirs}", self.metric).into());
                }
            }
        }
        Ok(())
    }

    fn ask_peer(&self, out: &mut [f64]) -> Option<()> {
        match &self.peer {
            Peer::F32(all) => self.ask(all, out, spatial(self.metric)),
            Peer::F16(all) => self.ask(all, out, spatial(self.metric)),
            Peer::Bf16(all) => self.ask(all, out, spatial(self.metric)),
            Peer::I8(all) => self.ask(all, out, spatial(self.metric)),
            Peer::Bits(all) if self.metric == Metric::Jaccard => self.ask(all, out, u8::jaccard),
            Peer::Bits(all) => self.ask(all, out, u8::hamming),
            Peer::None => None,
        }
    }

    fn ask<T: Copy>(
        &self,
        all: &Aligned<T>,
        out: &mut [f64],
        distance: impl Fn(&[T], &[T]) -> Option<f64>,
    ) -> Option<()> {
        let query = all.row(0, self.width);
        for (row, out) in out.iter_mut().enumerate() {
            *out = distance(query, all.row(row + 1, self.width))?;
        }
        Some(())
    }
}

fn spatial<T: SpatialSimilarity>(metric: Metric) -> fn(&[T], &[T]) -> Option<f64> {
    match metric {
        Metric::L2 => T::l2sq,
        Metric::Dot => T::dot,
        _ => T::cos,
    }
}

/// Processor time of this thread.
fn thread_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}
