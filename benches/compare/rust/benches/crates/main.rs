//! nearfield beside the crates `hnsw_rs` and `usearch`: queries a second at equal recall, build,
//! memory, disk and opening.
//!
//! `cargo bench -- [--set NAME] [--rows N] [--queries N] [--rounds N] [--smoke]` in this folder.
//! One thread, one query a call, processor time; all in one process and in turn. Every graph has
//! m = 16 and `ef_construction` = 200. Memory is what opening adds: where an allocator uses again what
//! the build gave back, less than the index takes. nearfield is an ordinary collection with default settings.
//! What is measured and how is said in `benches/compare/README.md`.
#![allow(
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::disallowed_methods,
    reason = "a bench prints, makes folders, and its sizes are small"
)]

mod peers;
#[path = "../../../../support/mod.rs"]
mod support;

use std::process::ExitCode;

use cpu_time::ProcessTime;
use nearfield::Metric;
use nearfield_compare::{Point, at_recall};
use support::data::{Array, SETS, Set, Synthetic};
use support::{Outcome, median};

use peers::{Dataset, HnswRs, Kind, Nearfield, Peer, Usearch};

const BENCH: &str = "crates";
const EFS: [usize; 17] =
    [10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 100, 128, 160, 200, 256, 320, 400];
const RECALLS: [f64; 3] = [0.90, 0.95, 0.99];
const K: usize = 10;

fn main() -> ExitCode {
    support::run(BENCH, |args| {
        let name = args.text("--set").unwrap_or(if args.smoke() { SETS[0].0 } else { SETS[6].0 });
        let rows = args.size("--rows", usize::MAX, 1_000)?;
        let queries = args.size("--queries", 1_000, 50)?;
        let data = match Set::load(name)? {
            Some(set) => of_set(&set, rows, queries),
            None if args.smoke() => synthetic(rows, queries),
            None => return Ok(()),
        };
        compare(name, &data, args.size("--rounds", 5, 1)?, args.smoke())
    })
}

/// The rows and queries of a set as f32, with the distance of each query's k-th neighbour.
fn of_set(set: &Set, rows: usize, queries: usize) -> Dataset {
    let of = |array: &Array, count: usize| {
        (0..count).flat_map(|row| array.row_f32(set.dimension, row)).collect::<Vec<f32>>()
    };
    let count = set.len().min(rows);
    let asked = set.query_count().min(queries);
    let (train, queries) = (of(&set.train, count), of(&set.queries, asked));
    let data =
        Dataset { dimension: set.dimension, metric: set.metric, train, queries, worst: vec![] };
    let kth = |query: usize| f64::from(set.distances[query * 100 + K - 1]);
    match count == set.len() {
        true => Dataset { worst: (0..asked).map(kth).collect(), ..data },
        false => data.with_exact(K),
    }
}

/// Where there is no data: a smoke run measures nothing anyway.
fn synthetic(rows: usize, queries: usize) -> Dataset {
    let made = Synthetic::new(32, 7);
    let (train, queries) =
        (made.rows(0, rows as u64), made.rows(1 << 40, (1 << 40) + queries as u64));
    let data = Dataset { dimension: 32, metric: Metric::L2, train, queries, worst: vec![] };
    data.with_exact(K)
}

/// A peer that was built and opened again, and what it took.
struct Opened {
    name: &'static str,
    peer: Box<dyn Peer>,
    build: f64,
    disk: u64,
    memory: u64,
    open: f64,
    points: Vec<Point>,
}

fn compare(name: &str, data: &Dataset, rounds: usize, smoke: bool) -> Outcome {
    let directory = support::directory()?;
    let mut all = Vec::new();
    for kind in Kind::ALL.into_iter().filter(|kind| kind.can(data)) {
        let folder = directory.path().join(kind.name());
        std::fs::create_dir(&folder)?;
        all.push(opened(kind, data, &folder)?);
    }
    for round in 0..=rounds {
        for (number, &ef) in EFS.iter().enumerate() {
            for one in &mut all {
                measure(one, data, (number, ef), round)?;
            }
        }
    }
    report(name, data, rounds, &all);
    // What nearfield finds is checked, so that a smoke run can fail.
    let best = all[0].points.last().map_or(0.0, |point| point.recall);
    if smoke && best < 0.95 {
        return Err(format!("nearfield finds {best:.3} of the nearest; 0.95 was expected").into());
    }
    Ok(())
}

fn opened(kind: Kind, data: &Dataset, folder: &std::path::Path) -> Outcome<Opened> {
    let name = kind.name();
    let clock = ProcessTime::now();
    match kind {
        Kind::Nearfield => Nearfield::build(data, folder)?,
        Kind::HnswRs => HnswRs::build(data, folder)?,
        Kind::Usearch(scalar) => Usearch::build(data, folder, scalar)?,
    }
    let build = clock.elapsed().as_secs_f64();
    let before = support::anonymous_bytes();
    let clock = std::time::Instant::now();
    let peer: Box<dyn Peer> = match kind {
        Kind::Nearfield => Box::new(Nearfield::open(data, folder)?),
        Kind::HnswRs => Box::new(HnswRs::open(data, folder)?),
        Kind::Usearch(scalar) => Box::new(Usearch::open(data, folder, scalar)?),
    };
    peer.search(data.query(0), EFS[0])?;
    let open = clock.elapsed().as_secs_f64();
    let memory = support::anonymous_bytes().saturating_sub(before);
    println!("{name}: built in {build:.1} s of processor");
    Ok(Opened { name, peer, build, disk: disk_bytes(folder)?, memory, open, points: Vec::new() })
}

/// Round 0 finds the recall and warms up; its times do not count.
fn measure(
    one: &mut Opened,
    data: &Dataset,
    (number, ef): (usize, usize),
    round: usize,
) -> Outcome {
    let clock = ProcessTime::now();
    let found = (0..data.query_count()).map(|query| one.peer.search(data.query(query), ef));
    let found = found.collect::<Outcome<Vec<_>>>()?;
    let seconds = clock.elapsed().as_secs_f64();
    match round {
        0 => one.points.push(Point { recall: data.recall(&found, K), seconds: Vec::new() }),
        _ => one.points[number].seconds.push(seconds),
    }
    Ok(())
}

fn report(name: &str, data: &Dataset, rounds: usize, all: &[Opened]) {
    let (count, asked) = (data.row_count(), data.query_count());
    println!("\n### {name}: {count} x {}, recall@{K} of {asked} queries", data.dimension);
    println!(
        "1 thread, time of the processor, one query a call; median (least-most) of {rounds} rounds\n"
    );
    let head = RECALLS.map(|recall| format!(" QPS at {recall:.2} | x hnsw_rs |")).join("");
    println!(
        "| crate |{head} most recall | build, s of processor | disk, bytes a row | anonymous memory, bytes a row | open + first query, ms |"
    );
    println!("|---|{}", "---|".repeat(2 * RECALLS.len() + 5));
    for one in all {
        let base = all.iter().find(|other| other.name == Kind::HnswRs.name());
        let cells = RECALLS.map(|recall| {
            let rates = |of: &Opened| -> Vec<f64> {
                (0..rounds).map(|round| at_recall(&of.points, recall, round, asked)).collect()
            };
            let own = rates(one);
            let ratios: Vec<f64> = base
                .map(|base| own.iter().zip(rates(base)).map(|(own, other)| own / other).collect())
                .unwrap_or_default();
            format!(" {} | {} |", spread(&own, 0), spread(&ratios, 2))
        });
        let most = one.points.iter().map(|point| point.recall).fold(0.0, f64::max);
        println!(
            "| {} |{} {most:.4} | {:.1} | {} | {} | {:.1} |",
            one.name,
            cells.join(""),
            one.build,
            one.disk / count as u64,
            one.memory / count as u64,
            one.open * 1e3,
        );
    }
    println!();
    for one in all {
        for recall in RECALLS {
            let rates = (0..rounds).map(|round| at_recall(&one.points, recall, round, asked));
            let rates: Vec<f64> = rates.filter(|rate| rate.is_finite()).collect();
            if !rates.is_empty() {
                let name = format!("{name} {} QPS at {recall:.2}", one.name);
                support::figure(BENCH, &name, median(&rates), "1/s");
            }
        }
    }
}

/// Median (least-most), or a dash where the recall is not reached.
fn spread(values: &[f64], digits: usize) -> String {
    if values.is_empty() || values.iter().any(|value| !value.is_finite()) {
        return "-".to_owned();
    }
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    format!("{:.digits$} ({least:.digits$}-{most:.digits$})", median(values))
}

fn disk_bytes(folder: &std::path::Path) -> Outcome<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        bytes += match entry.file_type()?.is_dir() {
            true => disk_bytes(&entry.path())?,
            false => entry.metadata()?.len(),
        };
    }
    Ok(bytes)
}
