//! Deleting a fifth at random and compacting, against building the remaining rows anew.
//!
//! `cargo bench --bench deletes -- [--set NAME] [--smoke]`
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a bench prints, and its sizes are small"
)]

mod support;

use std::process::ExitCode;

use nearfield::{Collection, ImportOptions, OpenOptions, Settings};
use support::data::{Random, Set};
use support::{Args, Clock, Outcome, figure};

const BENCH: &str = "deletes";
/// One row of five goes.
const SHARE: usize = 5;

fn main() -> ExitCode {
    support::run(BENCH, measure)
}

fn measure(args: &Args) -> Outcome {
    let full = if args.smoke() { "cisi-minilm-384" } else { "pypi-minilm-384-100k" };
    let Some(set) = Set::load(args.text("--set").unwrap_or(full))? else { return Ok(()) };
    let dir = support::directory()?;
    let mut settings = Settings::default();
    // A fifth dead is where background merging begins: it would come before the first search.
    settings.compaction = false;
    // A small set gets a graph too: without one there is nothing to lose.
    settings.graph_bytes = 0;
    let db = OpenOptions::new().settings(settings).open(dir.path().join("db"))?;
    let all: Vec<u64> = (0..set.len() as u64).collect();
    let mut gone = Random(1).sample(set.len() as u64, set.len() / SHARE);
    gone.sort_unstable();
    let kept: Vec<u64> = all.iter().copied().filter(|id| gone.binary_search(id).is_err()).collect();

    let thinned = db.collection("thinned", set.schema())?;
    thinned.import(set.batches(&all), ImportOptions::new())?;
    let before = thinned.stats()?.disk_bytes;
    let clock = Clock::start();
    thinned.delete(&gone)?;
    figure(BENCH, "delete", clock.wall() * 1e3, "ms");
    // Before compaction the graph still holds the dead rows: they are walked and not returned.
    let dead = search(&set, &thinned)?;
    let clock = Clock::start();
    thinned.compact()?;
    figure(BENCH, "compact", clock.wall(), "s");
    let after = thinned.stats()?.disk_bytes;

    let fresh = db.collection("fresh", set.schema())?;
    fresh.import(set.batches(&kept), ImportOptions::new())?;
    let (exact, _) = set.answers(&fresh, true)?;
    let recall = |answers: &[nearfield::Hits]| set.recall_against(answers, &exact, 10);
    let (compacted, built) = (recall(&search(&set, &thinned)?), recall(&search(&set, &fresh)?));
    figure(BENCH, "recall@10 before compact", recall(&dead), "");
    figure(BENCH, "recall@10 after compact", compacted, "");
    figure(BENCH, "recall@10 of a fresh build", built, "");
    figure(BENCH, "after compact less fresh build", (compacted - built) * 100.0, "points");
    figure(BENCH, "files after ÷ before", after as f64 / before as f64, "");
    Ok(db.close()?)
}

fn search(set: &Set, rows: &Collection) -> Outcome<Vec<nearfield::Hits>> {
    Ok(set.answers(rows, false)?.0)
}
