//! A database that lives: rows come, are searched meanwhile, are overwritten and deleted, and
//! nobody calls `compact`.
//!
//! `cargo bench --bench living -- [--rows N] [--overwrites N] [--settle SECONDS] [--smoke]`
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a bench prints, and its sizes are small"
)]

mod support;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nearfield::{Collection, Database, Durability, Metric, OpenOptions, Schema, Stats};
use support::data::{Random, Synthetic};
use support::{Args, Clock, Outcome, figure, median, quantile};

const BENCH: &str = "living";
const DIMENSION: usize = 128;
const BATCH: usize = 1_000;
const ROW_BYTES: u64 = 8 + 4 * DIMENSION as u64;
/// Background work that wrote nothing for so long has nothing to do, unless it builds a graph.
const QUIET: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    support::run(BENCH, measure)
}

struct Living {
    rows: Collection,
    source: Synthetic,
    settle: Duration,
}

fn measure(args: &Args) -> Outcome {
    let count = args.size("--rows", 1_000_000, 10_000)? as u64;
    let changed = args.size("--overwrites", 200_000, 2_000)? as u64;
    let settle = Duration::from_secs(args.size("--settle", 900, 2)? as u64);
    let dir = support::directory()?;
    let db: Database =
        OpenOptions::new().durability(Durability::Buffered).open(dir.path().join("db"))?;
    let rows = db.collection("rows", Schema::new(DIMENSION, Metric::L2))?;
    let living = Living { rows, source: Synthetic::new(DIMENSION, 1), settle };
    living.ingest(count)?;
    living.searches("right after ingest", count)?;
    living.settle("after ingest")?;
    let stats = living.rows.stats()?;
    let ratio = written(&stats) as f64 / (count * ROW_BYTES) as f64;
    figure(BENCH, "bytes written ÷ bytes of rows", ratio, "");
    living.searches("settled", count)?;
    living.overwrite(count, changed)?;
    living.settle("after overwrites")?;
    living.delete_half(count + changed)?;
    Ok(db.close()?)
}

fn written(stats: &Stats) -> u64 {
    stats.written_log_bytes + stats.written_flush_bytes + stats.written_compaction_bytes
}

impl Living {
    /// Upserts all of `ids` in batches; seconds spent in the engine alone.
    fn upsert(&self, ids: &[u64], version: u64) -> Outcome<f64> {
        let mut seconds = 0.0;
        for ids in ids.chunks(BATCH) {
            let mut vectors = Vec::with_capacity(ids.len() * DIMENSION);
            ids.iter().for_each(|id| self.source.row(id + version, &mut vectors));
            let start = Instant::now();
            self.rows.upsert(ids, &vectors, ())?;
            seconds += start.elapsed().as_secs_f64();
        }
        Ok(seconds)
    }

    fn ingest(&self, count: u64) -> Outcome {
        let done = AtomicBool::new(false);
        let reached = AtomicU64::new(0);
        let clock = Clock::start();
        let (spent, millis) = std::thread::scope(|scope| -> Outcome<(f64, Vec<f64>)> {
            let searcher = scope.spawn(|| self.search_until(&done, &reached));
            let ids: Vec<u64> = (0..count).collect();
            let mut spent: Outcome<f64> = Ok(0.0);
            for ids in ids.chunks(BATCH) {
                let more = self.upsert(ids, 0);
                spent = spent.and_then(|spent| Ok(spent + more?));
                if spent.is_err() {
                    break;
                }
                reached.fetch_add(ids.len() as u64, Ordering::Relaxed);
            }
            done.store(true, Ordering::Relaxed);
            let millis = searcher
                .join()
                .map_err(|panic| format!("the searching thread panicked: {panic:?}"))??;
            Ok((spent?, millis))
        })?;
        figure(BENCH, "ingest", count as f64 / spent, "rows/s");
        figure(BENCH, "ingest, with making the rows", count as f64 / clock.wall(), "rows/s");
        figure(BENCH, "ingest, CPU of everything", clock.cpu(), "s");
        figure(BENCH, "search during ingest, p50", median(&millis), "ms");
        figure(BENCH, "search during ingest, p99", quantile(&millis, 0.99), "ms");
        figure(BENCH, "search during ingest, searches", millis.len() as f64, "");
        Ok(())
    }

    /// Twenty searches a second, so that the searches themselves take little of the machine.
    fn search_until(&self, done: &AtomicBool, reached: &AtomicU64) -> Outcome<Vec<f64>> {
        let mut millis = Vec::new();
        while !done.load(Ordering::Relaxed) {
            let rows = reached.load(Ordering::Relaxed);
            if rows > 0 {
                millis.push(self.search(rows + millis.len() as u64)?);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(millis)
    }

    /// One search; milliseconds.
    fn search(&self, number: u64) -> Outcome<f64> {
        let query = self.source.rows(number, number + 1);
        let start = Instant::now();
        self.rows.search(&query).run()?;
        Ok(start.elapsed().as_secs_f64() * 1e3)
    }

    fn searches(&self, when: &str, count: u64) -> Outcome {
        let millis: Vec<f64> =
            (count..count + 200).map(|number| self.search(number)).collect::<Outcome<_>>()?;
        let segments = self.rows.stats()?.segments;
        let flat: u64 =
            segments.iter().filter(|segment| !segment.graph).map(|segment| segment.rows).sum();
        figure(BENCH, &format!("search {when}, p50"), median(&millis), "ms");
        figure(BENCH, &format!("search {when}, p99"), quantile(&millis, 0.99), "ms");
        figure(BENCH, &format!("segments {when}"), segments.len() as f64, "");
        figure(BENCH, &format!("rows without a graph {when}"), flat as f64, "");
        Ok(())
    }

    /// Waits until background work is over, as far as it can be seen: nothing is written and no
    /// CPU time passes. Not longer than the bound.
    fn settle(&self, when: &str) -> Outcome {
        let clock = Clock::start();
        let mut quiet_since = Instant::now();
        let mut seen = (0, 0.0);
        while clock.wall() < self.settle.as_secs_f64() && quiet_since.elapsed() < QUIET {
            std::thread::sleep(Duration::from_millis(250));
            let stats = self.rows.stats()?;
            let now = (written(&stats) + stats.disk_bytes, clock.cpu());
            if now.0 != seen.0 || now.1 > seen.1 + 0.1 {
                quiet_since = Instant::now();
            }
            seen = now;
        }
        let settled = quiet_since.elapsed() >= QUIET;
        figure(BENCH, &format!("settled {when}"), f64::from(u8::from(settled)), "");
        figure(BENCH, &format!("wait {when}"), clock.wall(), "s");
        Ok(())
    }

    fn overwrite(&self, count: u64, changed: u64) -> Outcome {
        let existing = Random(2).sample(count, changed as usize);
        let fresh: Vec<u64> = (count..count + changed).collect();
        // Alternating, so that both meet the same background work.
        let (mut old, mut new) = (0.0, 0.0);
        let step = (fresh.len() / 10).max(BATCH);
        for (turn, (existing, fresh)) in existing.chunks(step).zip(fresh.chunks(step)).enumerate() {
            // Neither always comes second and pays for what the other left to be flushed.
            if turn % 2 == 0 {
                new += self.upsert(fresh, 0)?;
                old += self.upsert(existing, 1_000_000_007)?;
            } else {
                old += self.upsert(existing, 1_000_000_007)?;
                new += self.upsert(fresh, 0)?;
            }
        }
        let (old, new) = (existing.len() as f64 / old, fresh.len() as f64 / new);
        figure(BENCH, "overwrites of existing ids", old, "rows/s");
        figure(BENCH, "fresh ids in the same run", new, "rows/s");
        figure(BENCH, "overwrites, share of fresh", old / new * 100.0, "%");
        Ok(())
    }

    fn delete_half(&self, count: u64) -> Outcome {
        let mut gone = Random(3).sample(count, count as usize / 2);
        gone.sort_unstable();
        let clock = Clock::start();
        for ids in gone.chunks(BATCH) {
            self.rows.delete(ids)?;
        }
        figure(BENCH, "deletes", gone.len() as f64 / clock.wall(), "rows/s");
        self.settle("after deletes")?;
        let stats = self.rows.stats()?;
        let live = (stats.rows * ROW_BYTES) as f64;
        figure(BENCH, "disk bytes ÷ live bytes", stats.disk_bytes as f64 / live, "");
        figure(BENCH, "dead rows left", stats.dead_rows as f64, "");
        Ok(())
    }
}
