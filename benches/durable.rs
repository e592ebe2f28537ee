//! Durable writes against the disk itself: an append and an fdatasync of the same bytes.
//!
//! `cargo bench --bench durable -- [--batches N] [--rounds N] [--singles N] [--buffered N]
//! [--smoke]`
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a bench prints, and its sizes are small"
)]

mod support;

use std::fs::File;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use nearfield::{Collection, Database, Durability, Metric, OpenOptions, Schema};
use support::data::Synthetic;
use support::disk::CountingDisk;
use support::{Args, Clock, Outcome, figure, median};

const BENCH: &str = "durable";
const DIMENSION: usize = 384;
const BATCH: u64 = 1_000;
const ROW_BYTES: u64 = 8 + 4 * DIMENSION as u64;

fn main() -> ExitCode {
    support::run(BENCH, |args| {
        batches(args)?;
        singles(args)?;
        buffered(args)?;
        threads(args)
    })
}

struct Store {
    // Before the directory, so that it is closed before its files go.
    rows: Collection,
    db: Database,
    disk: CountingDisk,
    dir: tempfile::TempDir,
}

impl Store {
    fn open(durability: Durability) -> Outcome<Self> {
        let dir = support::directory()?;
        let disk = CountingDisk::default();
        let options = OpenOptions::new().durability(durability).disk(Arc::new(disk.clone()));
        let db = options.open(dir.path().join("db"))?;
        let rows = db.collection("rows", Schema::new(DIMENSION, Metric::Cosine))?;
        Ok(Self { rows, db, disk, dir })
    }

    /// A file on the same disk, opened for appending.
    fn plain(&self) -> Outcome<File> {
        let path = self.dir.path().join("plain");
        Ok(File::options().create(true).append(true).open(path)?)
    }
}

/// Seconds to append `bytes` as many times as asked, with an fdatasync after each.
fn plain_appends(file: &mut File, bytes: &[u8], times: usize) -> Outcome<f64> {
    let start = Instant::now();
    for _ in 0..times {
        file.write_all(bytes)?;
        file.sync_data()?;
    }
    Ok(start.elapsed().as_secs_f64())
}

fn batches(args: &Args) -> Outcome {
    let batches = args.size("--batches", 10, 2)?;
    let rounds = args.size("--rounds", 5, 2)?;
    let store = Store::open(Durability::Sync)?;
    let mut plain = store.plain()?;
    let source = Synthetic::new(DIMENSION, 1);
    let (mut engine_rates, mut plain_rates) = (Vec::new(), Vec::new());
    let (mut syncs, mut written, mut next) = (0, 0, 0);
    for _ in 0..rounds {
        let ready: Vec<(Vec<u64>, Vec<f32>)> = (0..batches as u64)
            .map(|batch| (next + batch * BATCH, next + (batch + 1) * BATCH))
            .map(|(from, to)| ((from..to).collect(), source.rows(from, to)))
            .collect();
        next += batches as u64 * BATCH;
        let syncs_before = store.disk.syncs();
        let log_before = store.rows.stats()?.written_log_bytes;
        let start = Instant::now();
        for (ids, vectors) in &ready {
            store.rows.upsert(ids, vectors, ())?;
        }
        let seconds = start.elapsed().as_secs_f64();
        syncs += store.disk.syncs() - syncs_before;
        let logged = store.rows.stats()?.written_log_bytes - log_before;
        written += logged;
        engine_rates.push(logged as f64 / seconds / 1e6);
        let per_batch = usize::try_from(logged)? / batches;
        let bytes: Vec<u8> = source.rows(0, BATCH).iter().flat_map(|v| v.to_le_bytes()).collect();
        let bytes: Vec<u8> = bytes.iter().copied().cycle().take(per_batch).collect();
        let seconds = plain_appends(&mut plain, &bytes, batches)?;
        plain_rates.push(per_batch as f64 * batches as f64 / seconds / 1e6);
    }
    let (engine, raw) = (median(&engine_rates), median(&plain_rates));
    figure(BENCH, "batches of 1,000 with Sync", engine, "MB/s");
    figure(BENCH, "plain append + fdatasync of the same", raw, "MB/s");
    figure(BENCH, "batches, share of plain", engine / raw * 100.0, "%");
    figure(BENCH, "log bytes per row byte", written as f64 / (next * ROW_BYTES) as f64, "");
    let calls = (rounds * batches) as f64;
    figure(BENCH, "syncs per batch, with flushes and merges", syncs as f64 / calls, "");
    Ok(store.db.close()?)
}

fn singles(args: &Args) -> Outcome {
    let count = args.size("--singles", 200, 20)?;
    let rounds = args.size("--rounds", 5, 2)?;
    let store = Store::open(Durability::Sync)?;
    let mut plain = store.plain()?;
    let source = Synthetic::new(DIMENSION, 2);
    let (mut engine_rates, mut plain_rates) = (Vec::new(), Vec::new());
    let syncs_before = store.disk.syncs();
    for round in 0..rounds {
        let from = (round * count) as u64;
        let vectors = source.rows(from, from + count as u64);
        let log_before = store.rows.stats()?.written_log_bytes;
        let start = Instant::now();
        for (id, vector) in (from..).zip(vectors.chunks_exact(DIMENSION)) {
            store.rows.upsert(&[id], vector, ())?;
        }
        engine_rates.push(count as f64 / start.elapsed().as_secs_f64());
        let logged = usize::try_from(store.rows.stats()?.written_log_bytes - log_before)?;
        let bytes: Vec<u8> = vectors.iter().flat_map(|value| value.to_le_bytes()).collect();
        let bytes: Vec<u8> = bytes.iter().copied().cycle().take(logged / count).collect();
        plain_rates.push(count as f64 / plain_appends(&mut plain, &bytes, count)?);
    }
    let (engine, raw) = (median(&engine_rates), median(&plain_rates));
    let syncs = (store.disk.syncs() - syncs_before) as f64 / (rounds * count) as f64;
    figure(BENCH, "single rows with Sync", engine, "rows/s");
    figure(BENCH, "plain append + fdatasync of one", raw, "rows/s");
    figure(BENCH, "single rows, share of plain", engine / raw * 100.0, "%");
    figure(BENCH, "syncs per single row", syncs, "");
    Ok(store.db.close()?)
}

fn buffered(args: &Args) -> Outcome {
    let count = args.size("--buffered", 200_000, 2_000)? as u64;
    let store = Store::open(Durability::Buffered)?;
    let source = Synthetic::new(DIMENSION, 3);
    // The same vectors under new ids: making 300 MB of them would be measured as well.
    let vectors = source.rows(0, BATCH);
    let clock = Clock::start();
    for from in (0..count).step_by(BATCH as usize) {
        let ids: Vec<u64> = (from..(from + BATCH).min(count)).collect();
        store.rows.upsert(&ids, &vectors[..ids.len() * DIMENSION], ())?;
    }
    let (wall, cpu) = (clock.wall(), clock.cpu());
    let found = store.rows.contains(count - 1)? && store.rows.len()? as u64 == count;
    figure(BENCH, "Buffered, logged and searchable", count as f64 / wall, "rows/s");
    figure(BENCH, "Buffered, CPU with background work", cpu, "s");
    figure(BENCH, "Buffered, all rows there", f64::from(u8::from(found)), "");
    Ok(store.db.close()?)
}

/// Writers that wait for the same fsync share it.
fn threads(args: &Args) -> Outcome {
    let count = args.size("--singles", 200, 20)?;
    let store = Store::open(Durability::Sync)?;
    let vectors = Synthetic::new(DIMENSION, 4).rows(0, 1);
    let next = AtomicU64::new(0);
    let syncs_before = store.disk.syncs();
    let start = Instant::now();
    let written = std::thread::scope(|scope| {
        let writer = || -> nearfield::Result<u64> {
            (0..count).try_fold(0, |sum, _| {
                let id = next.fetch_add(1, Ordering::Relaxed);
                Ok(sum + store.rows.upsert(&[id], &vectors, ())?)
            })
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(writer)).collect();
        let counts = threads.into_iter().filter_map(|thread| thread.join().ok());
        counts.sum::<nearfield::Result<u64>>()
    })?;
    let rate = written as f64 / start.elapsed().as_secs_f64();
    let syncs = (store.disk.syncs() - syncs_before) as f64 / written as f64;
    figure(BENCH, "single rows with Sync, 4 threads", rate, "rows/s");
    figure(BENCH, "syncs per single row, 4 threads", syncs, "");
    Ok(store.db.close()?)
}
