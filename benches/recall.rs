//! Recall@10 of a bulk import at default settings on every real set, with times; and recall that is asked
//! for beside what is found, and its speed beside that of the best `ef`.
//!
//! `cargo bench --bench recall -- [--asked] [--raw] [--set NAME] [--smoke]`; `--asked` is the second part alone, on
//! two sets; `--raw` instead the bytes on disk, the recall and the error of returned vectors for each choice of
//! what is kept of f32 vectors, on three sets; `--smoke` takes the smallest sets, or a synthetic one where the data
//! is absent. Speed of the second part is by the processor time of the thread, of searches in turns.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a bench prints, and its sizes are small"
)]

mod support;

use std::process::ExitCode;

use std::collections::HashSet;
use std::sync::Arc;

use nearfield::arrow_array::{ArrayRef, Int64Array, RecordBatch};
use nearfield::{
    Collection, DataType, Database, Fields, Hits, Id, ImportOptions, Metric, Query, Raw, Schema,
    VectorType,
};
use support::data::{Array, Random, SETS, Set, Synthetic};
use support::{Args, Clock, Outcome, data_directory, figure, median, quantile};

const BENCH: &str = "recall";
/// What is asked for, and the candidates among which the best are looked for.
const ASKED: [f32; 3] = [0.9, 0.95, 0.99];
const EFS: [usize; 17] = [10, 12, 14, 17, 20, 24, 28, 34, 40, 48, 64, 90, 128, 180, 256, 400, 600];
/// Queries of a group, and passes over them.
const QUERIES: usize = 1_000;
const PASSES: usize = 3;
/// Rows of a write.
const BATCH: usize = 5_000;

fn main() -> ExitCode {
    support::run(BENCH, |args| {
        let chosen = args.text("--set");
        for (name, ..) in SETS {
            let small = ["sift-5k-128", "cisi-minilm-384"].contains(&name);
            let asked = ["fashion-mnist-784", "pypi-minilm-384-100k"].contains(&name);
            let raw =
                ["npm-mpnet-768", "fashion-mnist-784", "pypi-minilm-384-100k"].contains(&name);
            let usual = match args.smoke() {
                true => small,
                false if args.flag("--raw") => raw,
                false => asked || !args.flag("--asked"),
            };
            if chosen.map_or(usual, |chosen| chosen == name)
                && let Some(set) = Set::load(name)?
            {
                if args.flag("--raw") {
                    for raw in [Raw::F32, Raw::F16, Raw::None] {
                        keep(&set, raw)?;
                    }
                    continue;
                }
                if !args.flag("--asked") {
                    measure(&set)?;
                }
                if small || asked || chosen.is_some() {
                    ask(&set)?;
                }
            }
        }
        synthetic(args)
    })
}

fn measure(set: &Set) -> Outcome {
    let say = |what: &str, value: f64, unit: &str| {
        figure(BENCH, &format!("{} {what}", set.name), value, unit);
    };
    let dir = support::directory()?;
    let path = dir.path().join("db");
    let ids: Vec<u64> = (0..set.len() as u64).collect();
    let clock = Clock::start();
    let db = Database::open(&path)?;
    let rows = db.collection("rows", set.schema())?;
    rows.import(set.batches(&ids), ImportOptions::new())?;
    say("import", clock.wall(), "s");
    say("import CPU", clock.cpu(), "s");
    db.close()?;
    drop((rows, db));
    let db = Database::open(&path)?;
    let rows = db.open_collection("rows")?;
    for (name, exact) in [("default", false), ("exact", true)] {
        let (answers, seconds) = set.answers(&rows, exact)?;
        say(&format!("{name} recall@10"), set.recall(&answers, 10), "");
        say(&format!("{name} QPS, one thread"), 1.0 / mean(&seconds), "1/s");
        say(&format!("{name} p50"), median(&seconds) * 1e3, "ms");
        say(&format!("{name} p99"), quantile(&seconds, 0.99) * 1e3, "ms");
    }
    let all = set.queries.rows(set.dimension, 0, set.query_count());
    let clock = Clock::start();
    rows.search(all).run_batch()?;
    say("default QPS, batch on all cores", set.query_count() as f64 / clock.wall(), "1/s");
    Ok(())
}

/// Bytes on disk and recall of rows that were written one batch after the other and compacted.
fn keep(set: &Set, raw: Raw) -> Outcome {
    let say = |what: &str, value: f64, unit: &str| {
        figure(BENCH, &format!("{} raw {raw} {what}", set.name), value, unit);
    };
    let dir = support::directory()?;
    let path = dir.path().join("db");
    let db = Database::open(&path)?;
    let rows =
        db.collection("rows", set.schema().with_vector_type(VectorType::F32).with_raw(raw))?;
    for first in (0..set.len()).step_by(BATCH) {
        let last = set.len().min(first + BATCH);
        let ids: Vec<u64> = (first as u64..last as u64).collect();
        rows.upsert(&ids, set.train.rows(set.dimension, first, last), ())?;
    }
    let clock = Clock::start();
    rows.compact()?;
    say("compact CPU", clock.cpu(), "s");
    db.close()?;
    drop((rows, db));
    let mut bytes = 0;
    for file in std::fs::read_dir(path.join("rows"))? {
        bytes += file?.metadata()?.len();
    }
    let per_row = bytes as f64 / set.len() as f64;
    say("on disk", per_row, "bytes a row");
    say("on disk, of f32 vectors alone", per_row / (4 * set.dimension) as f64, "");
    let rows = Database::open(&path)?.open_collection("rows")?;
    for (name, exact) in [("default", false), ("exact", true)] {
        let (answers, seconds) = set.answers(&rows, exact)?;
        say(&format!("{name} recall@10"), set.recall(&answers, 10), "");
        say(&format!("{name} p50"), median(&seconds) * 1e3, "ms");
    }
    let errors = errors(set, &rows)?;
    say("vectors returned are off by, mean", mean(&errors), "of their lengths");
    say("vectors returned are off by, most", quantile(&errors, 1.0), "of their lengths");
    Ok(())
}

/// How far each vector is from what was given, as a part of its length.
fn errors(set: &Set, rows: &Collection) -> Outcome<Vec<f64>> {
    let mut errors = Vec::with_capacity(set.len());
    for first in (0..set.len()).step_by(BATCH) {
        let last = set.len().min(first + BATCH);
        let ids: Vec<u64> = (first as u64..last as u64).collect();
        let kept = rows.get(&ids, &Fields::none().with_vectors())?.vectors;
        let kept = kept.ok_or("no vectors, though asked for")?;
        let kept = kept.to_f32(0..kept.len());
        let given = set.train.rows(set.dimension, first, last);
        let given = given.to_f32(0..given.len());
        for (given, kept) in given.chunks(set.dimension).zip(kept.chunks(set.dimension)) {
            let square = |x: &f32| f64::from(*x) * f64::from(*x);
            let length: f64 = given.iter().map(square).sum();
            let off: f64 = given.iter().zip(kept).map(|(a, b)| square(&(a - b))).sum();
            errors.push(if length > 0.0 { (off / length).sqrt() } else { 0.0 });
        }
    }
    Ok(errors)
}

/// A way to search.
#[derive(Clone, Copy, Debug)]
enum Way {
    Ef(usize),
    Recall(f32),
}

/// What a way found, and the seconds of a query.
#[derive(Clone, Debug, Default)]
struct Found {
    shares: Vec<f64>,
    seconds: Vec<f64>,
}

fn ask(set: &Set) -> Outcome {
    let dir = support::directory()?;
    let db = Database::open(dir.path().join("db"))?;
    let rows = db.collection("rows", set.schema().column("draw", DataType::Int64))?;
    let ids: Vec<u64> = (0..set.len() as u64).collect();
    let batches = set.batches(&ids).map(|batch| {
        let mut batch = batch?;
        let draws: Int64Array =
            batch.source_rows.iter().map(|row| (Random(*row).next() % 1_000) as i64).collect();
        let draws = RecordBatch::try_from_iter([("draw", Arc::new(draws) as ArrayRef)]);
        batch.attributes = draws.ok();
        Ok(batch)
    });
    let clock = Clock::start();
    rows.import(batches, ImportOptions::new())?;
    figure(BENCH, &format!("{} import CPU", set.name), clock.cpu(), "s");
    for (group, filter) in
        [("own", None), ("half", Some("draw < 500")), ("tenth", Some("draw < 100"))]
    {
        try_group(set, &rows, group, &set.queries, filter)?;
    }
    let others = data_directory().join(set.name).join("queries_npm.f16.npy");
    if others.is_file() {
        try_group(set, &rows, "npm", &support::data::vectors(&others)?, None)?;
    }
    let clock = Clock::start();
    let measured = rows.measure_recall().sample(256).recall(0.95).run()?;
    figure(BENCH, &format!("{} 256 rows measured, CPU", set.name), clock.cpu(), "s");
    figure(BENCH, &format!("{} rows, 0.95 asked", set.name), measured.recall, "");
    Ok(())
}

fn try_group(
    set: &Set,
    rows: &Collection,
    group: &str,
    queries: &Array,
    filter: Option<&str>,
) -> Outcome {
    let d = set.dimension;
    let count = QUERIES.min(queries.len() / d);
    let query = |at: usize| -> Query<'_> {
        let query = rows.search(queries.rows(d, at, at + 1));
        filter.map_or(rows.search(queries.rows(d, at, at + 1)), |filter| query.filter(filter))
    };
    let exact: Vec<Hits> =
        (0..count).map(|at| query(at).exact(true).run()).collect::<Result<_, _>>()?;
    let ways = EFS.iter().map(|ef| Way::Ef(*ef)).chain(ASKED.iter().map(|r| Way::Recall(*r)));
    let ways: Vec<Way> = ways.collect();
    let mut found = vec![Found::default(); ways.len()];
    for pass in 0..PASSES {
        for (way, found) in ways.iter().zip(&mut found) {
            let start = thread_seconds();
            for (at, exact) in exact.iter().enumerate() {
                let hits = match way {
                    Way::Ef(ef) => query(at).ef(*ef).run()?,
                    Way::Recall(recall) => query(at).recall(*recall).run()?,
                };
                if pass == 0 {
                    found.shares.push(share(&hits, exact));
                }
            }
            found.seconds.push((thread_seconds() - start) / count as f64);
        }
    }
    let (tuned, asked) = found.split_at(EFS.len());
    for (recall, found) in ASKED.iter().zip(asked) {
        let say = |what: &str, value: f64| {
            figure(BENCH, &format!("{} {group} {recall} asked, {what}", set.name), value, "");
        };
        say("mean", mean(&found.shares));
        say("5th percentile", quantile(&found.shares, 0.05));
        say("QPS", 1.0 / median(&found.seconds));
        let best =
            tuned.iter().zip(EFS).find(|(tuned, _)| mean(&tuned.shares) >= f64::from(*recall));
        if let Some((best, ef)) = best {
            say(&format!("of QPS at ef {ef}"), median(&best.seconds) / median(&found.seconds));
        }
        let explained = query(0).recall(*recall).explain()?;
        let part = explained.parts.first().ok_or("no part")?;
        println!("  ef {:?}, slack {:?}, {:?}", part.ef, part.slack, part.plan);
    }
    for (found, ef) in tuned.iter().zip(EFS) {
        println!("  ef {ef}: {:.4}, {:.0} QPS", mean(&found.shares), 1.0 / median(&found.seconds));
    }
    Ok(())
}

/// The share of the `exact` hits that is among `hits`, or rows as near.
fn share(hits: &Hits, exact: &Hits) -> f64 {
    let ids: HashSet<&Id> = exact.iter().map(|hit| &hit.id).collect();
    let worst = exact.iter().last().map_or(f32::INFINITY, |hit| hit.distance);
    let near = hits.iter().filter(|hit| hit.distance <= worst || ids.contains(&hit.id)).count();
    near as f64 / exact.len().max(1) as f64
}

/// Processor seconds of this thread.
fn thread_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn mean(seconds: &[f64]) -> f64 {
    seconds.iter().sum::<f64>() / seconds.len().max(1) as f64
}

/// A smoke run also where there is no data: every row finds itself.
fn synthetic(args: &Args) -> Outcome {
    if !args.smoke() {
        return Ok(());
    }
    let dir = support::directory()?;
    let db = Database::open(dir.path().join("db"))?;
    let rows = db.collection("rows", Schema::new(32, Metric::L2))?;
    let source = Synthetic::new(32, 1);
    rows.import(source.batches(2_000), ImportOptions::new())?;
    let hits = rows.search(source.rows(7, 8)).k(1).run()?;
    figure(BENCH, "synthetic: a row finds itself", f64::from(u8::from(hits[0].id == 7.into())), "");
    Ok(())
}
