//! What the benches share: arguments, figures, clocks, memory, real and synthetic vectors.
//!
//! A figure is printed twice: as a line to read and as a JSON line to collect.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "each bench uses a part of this module"
)]

pub mod data;
pub mod disk;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Runs a bench and turns its error into an exit code.
pub fn run(bench: &str, body: impl FnOnce(&Args) -> Outcome) -> ExitCode {
    let args = Args::parse();
    println!("# {bench}, {}", machine());
    match body(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{bench}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The arguments after `--`; the `--bench` that cargo passes is left out.
#[derive(Debug)]
pub struct Args {
    words: Vec<String>,
}

impl Args {
    fn parse() -> Self {
        Self { words: std::env::args().skip(1).filter(|word| word != "--bench").collect() }
    }

    pub fn flag(&self, name: &str) -> bool {
        self.words.iter().any(|word| word == name)
    }

    /// Tiny data, seconds in all: whether the bench still works, not how fast it is.
    pub fn smoke(&self) -> bool {
        self.flag("--smoke")
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        let at = self.words.iter().position(|word| word == name)?;
        self.words.get(at + 1).map(String::as_str)
    }

    /// The number after `name`, else `smoke` in a smoke run, else `full`.
    pub fn size(&self, name: &str, full: usize, smoke: usize) -> Outcome<usize> {
        match self.text(name) {
            Some(text) => Ok(text.replace('_', "").parse()?),
            None => Ok(if self.smoke() { smoke } else { full }),
        }
    }
}

/// Prints one figure.
pub fn figure(bench: &str, name: &str, value: f64, unit: &str) {
    println!("{name:<52} {value:>14.3} {unit}");
    let line = serde_json::json!({ "bench": bench, "name": name, "value": value, "unit": unit });
    println!("{line}");
}

/// CPU, cores and load: a figure without them says little.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo")
        .lines()
        .find_map(|line| Some(line.strip_prefix("model name")?.split_once(": ")?.1.to_owned()))
        .unwrap_or_else(|| "unknown CPU".into());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = read("/proc/loadavg");
    format!("{cpu}, {cores} cores, load {}", load.split(' ').next().unwrap_or("unknown"))
}

/// A directory that goes away with the value, on the disk of the build and not in a RAM disk.
pub fn directory() -> Outcome<tempfile::TempDir> {
    Ok(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?)
}

/// Wall and CPU seconds since it was made.
#[derive(Debug)]
pub struct Clock {
    wall: Instant,
    cpu: f64,
}

impl Clock {
    pub fn start() -> Self {
        Self { wall: Instant::now(), cpu: cpu_seconds() }
    }

    pub fn wall(&self) -> f64 {
        self.wall.elapsed().as_secs_f64()
    }

    pub fn cpu(&self) -> f64 {
        cpu_seconds() - self.cpu
    }
}

/// User and system seconds of this process; Linux counts them in hundredths.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let Some((_, after_name)) = stat.rsplit_once(") ") else { return 0.0 };
    let ticks = after_name.split(' ').skip(11).take(2).filter_map(|word| word.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

/// Anonymous bytes of this process now; 0 where the system does not say.
pub fn anonymous_bytes() -> u64 {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Anonymous:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Highest anonymous memory seen, sampled every 100 ms until stopped.
#[derive(Debug)]
pub struct Peak {
    done: Arc<AtomicBool>,
    highest: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Peak {
    pub fn start() -> Self {
        let (done, highest) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (its_done, its_highest) = (done.clone(), highest.clone());
        let thread = std::thread::spawn(move || {
            while !its_done.load(Ordering::Relaxed) {
                its_highest.fetch_max(anonymous_bytes(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        Self { done, highest, thread }
    }

    pub fn stop(self) -> u64 {
        self.done.store(true, Ordering::Relaxed);
        // A sampler that panicked leaves the highest value it saw.
        drop(self.thread.join());
        self.highest.load(Ordering::Relaxed).max(anonymous_bytes())
    }
}

/// The value that a share of `values` lies below: 0.5 is the median.
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    let at = (last as f64 * share).round() as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

pub fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Directory of the real sets: `$NEARFIELD_DATA`, else `../shared/data` beside the repository.
pub fn data_directory() -> PathBuf {
    std::env::var_os("NEARFIELD_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data"),
        PathBuf::from,
    )
}
