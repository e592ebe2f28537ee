//! Memory for searches: codes that are chosen by a budget, and what is held in memory of the process.

use std::path::{Path, PathBuf};
use std::process::Command;

use nearfield::{
    Collection, Database, Error, Hit, Memory, Metric, OpenOptions, Raw, Schema, Settings, Stats,
};

use crate::common::Random;

const MIB: usize = 1 << 20;
const PATH: &str = "NEARFIELD_TEST_SERVED";

fn settings(budget: Option<usize>, memory: Memory) -> Settings {
    let mut settings = Settings::default();
    settings.background = false;
    settings.graph_bytes = 0;
    settings.m = 8;
    settings.ef_construction = 40;
    settings.serving_budget = budget;
    settings.memory = memory;
    settings
}

fn open(path: &Path, budget: Option<usize>, memory: Memory) -> Database {
    OpenOptions::new().settings(settings(budget, memory)).open(path).unwrap()
}

fn reader(path: &Path, budget: Option<usize>, memory: Memory) -> nearfield::Result<Collection> {
    let options = OpenOptions::new().settings(settings(budget, memory)).read_only(true);
    options.open(path)?.open_collection("rows")
}

/// Rows that differ along twelve directions, and little along others.
fn leaning(rows: usize, dimension: usize, seed: u64) -> Vec<f32> {
    let (mut fixed, mut random) = (Random::new(77), Random::new(seed));
    let directions: Vec<f32> = (0..12 * dimension).map(|_| fixed.unit() - 0.5).collect();
    let mut values = Vec::with_capacity(rows * dimension);
    for _ in 0..rows {
        let weights: Vec<f32> = (0..12).map(|_| random.unit() + random.unit() - 1.0).collect();
        for at in 0..dimension {
            let along = weights.iter().zip(directions[at..].iter().step_by(dimension));
            values.push(along.map(|(w, x)| w * x).sum::<f32>() + 0.05 * random.unit());
        }
    }
    values
}

fn fill(db: &Database, schema: Schema, values: &[f32]) -> Collection {
    let dimension = schema.dimension();
    let rows = db.collection("rows", schema).unwrap();
    let ids: Vec<u64> = (0..(values.len() / dimension) as u64).collect();
    rows.upsert(&ids, values, ()).unwrap();
    rows.compact().unwrap();
    rows
}

fn hits(rows: &Collection, values: &[f32]) -> Vec<Vec<Hit>> {
    let dimension = rows.schema().unwrap().dimension();
    let queries = values.chunks(dimension).step_by(997);
    queries.map(|query| rows.search(query).run().unwrap().hits).collect()
}

fn codes(stats: &Stats) -> Vec<&'static str> {
    stats.segments.iter().map(|segment| segment.code).collect()
}

fn message(result: nearfield::Result<Collection>) -> String {
    match result {
        Err(Error::InvalidArgument(message)) => message,
        other => panic!("{other:?}"),
    }
}

/// Whether what is told of the budget agrees with the numbers.
fn agrees(stats: &Stats) {
    let over = stats.serving_budget.is_some_and(|budget| stats.serving_bytes > budget);
    assert_eq!(stats.serving_problem.is_some(), over, "{stats:?}");
    assert!(stats.serving_least_bytes <= stats.serving_bytes, "{stats:?}");
    let sum: u64 = stats.segments.iter().map(|segment| segment.serving_bytes).sum();
    assert_eq!(sum, stats.serving_bytes);
}

#[test]
fn codes_are_chosen_by_the_memory_that_searches_should_do_with() {
    let (dimension, count) = (128, 13_000);
    let values = leaning(count, dimension, 1);
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("db");
    let db = open(&path, None, Memory::Mapped);
    let rows = fill(&db, Schema::new(dimension, Metric::L2), &values);
    let stats = rows.stats().unwrap();
    assert_eq!((codes(&stats), stats.serving_budget), (vec!["byte"], None));
    agrees(&stats);
    let exact: Vec<Vec<Hit>> = (values.chunks(dimension).step_by(997))
        .map(|query| rows.search(query).exact(true).run().unwrap().hits)
        .collect();
    db.close().unwrap();
    for (budget, code) in [(1_900_000, "half"), (1_400_000, "product")] {
        let db = open(&path, Some(budget), Memory::Mapped);
        let rows = db.open_collection("rows").unwrap();
        let before = rows.stats().unwrap();
        let problem = before.serving_problem.as_ref().expect("too many bytes");
        assert!(problem.contains(&budget.to_string()) && problem.contains("compact"), "{problem}");
        rows.compact().unwrap();
        let stats = rows.stats().unwrap();
        assert_eq!((codes(&stats), stats.serving_problem.as_deref()), (vec![code], None));
        assert!(stats.serving_bytes <= budget as u64 && stats.rows == count as u64);
        agrees(&stats);
        let generation = stats.generation;
        rows.compact().unwrap();
        let again = rows.stats().unwrap();
        assert_eq!(
            again.written_compaction_bytes, stats.written_compaction_bytes,
            "once is enough"
        );
        assert!(again.generation > generation);
        let found: usize = (hits(&rows, &values).iter().zip(&exact))
            .map(|(hits, exact)| hits.iter().filter(|hit| exact.contains(hit)).count())
            .sum();
        let wanted: usize = exact.iter().map(Vec::len).sum();
        assert!(found * 100 >= wanted * 90, "{found} of {wanted} by {code}");
        db.close().unwrap();
    }

    // A larger budget leaves them as they are, and too small ones say what works.
    let db = open(&path, Some(usize::MAX), Memory::Mapped);
    let rows = db.open_collection("rows").unwrap();
    rows.compact().unwrap();
    let stats = rows.stats().unwrap();
    assert_eq!(codes(&stats), ["product"]);
    db.close().unwrap();
    let least = usize::try_from(stats.serving_least_bytes).unwrap();
    assert!(least > MIB && least < 1_400_000, "{least}");
    let db = open(&path, Some(least - 1), Memory::Mapped);
    let refused = message(db.open_collection("rows"));
    assert!(refused.contains(&least.to_string()) && refused.contains("rows"), "{refused}");
    db.close().unwrap();
    open(&path, Some(least), Memory::Mapped).open_collection("rows").unwrap();
    let read = reader(&path, Some(MIB), Memory::Mapped).unwrap().stats().unwrap();
    assert!(read.serving_problem.unwrap().contains(&least.to_string()));

    held(&path, &values, &stats);
}

/// Readers that hold it all in memory find the same, in no more than they are told to use.
fn held(path: &Path, values: &[f32], stats: &Stats) {
    let bytes = usize::try_from(stats.serving_bytes).unwrap();
    let refused = message(reader(path, Some(bytes - 1), Memory::Ram));
    assert!(refused.contains(&bytes.to_string()) && refused.contains("mmap"), "{refused}");
    let mapped = reader(path, None, Memory::Mapped).unwrap();
    let expected = hits(&mapped, values);
    let none = mapped.stats().unwrap();
    assert_eq!((none.memory, none.held_bytes.codes), (Memory::Mapped, 0));
    for (budget, vectors) in [(Some(bytes), 0), (None, 0), (Some(bytes + 8 * MIB), 13_000 * 512)] {
        let rows = reader(path, budget, Memory::Ram).unwrap();
        let held = rows.stats().unwrap().held_bytes;
        assert!(held.codes > 0 && held.graph > 0 && held.ids == 13_000 * 8, "{held:?}");
        assert_eq!(held.vectors, vectors, "{budget:?}");
        let sum = held.codes + held.graph + held.ids + held.norms + held.sketches + held.vectors;
        assert!(budget.is_none_or(|budget| sum <= budget as u64), "{held:?}");
        assert_eq!(hits(&rows, values), expected);
        assert!(rows.verify().unwrap().problems.is_empty());
    }
}

#[test]
fn a_budget_of_nothing_is_refused_and_says_what_is_least() {
    let scratch = tempfile::tempdir().unwrap();
    for budget in [0, 1, MIB - 1] {
        let options = OpenOptions::new().settings(settings(Some(budget), Memory::Ram));
        let error = options.open(scratch.path().join("db")).unwrap_err().to_string();
        assert!(error.contains(&format!("{budget} bytes")) && error.contains("1048576"), "{error}");
    }
}

#[test]
fn rows_that_no_codes_suit_are_kept_all_the_same_and_told_of() {
    let same = vec![0.25; 128 * 3_000];
    let few = leaning(1_500, 256, 3);
    let many = leaning(9_000, 128, 4);
    let line: Vec<f32> = (0..40_000).map(|row| row as f32).collect();
    let cases = [
        (Schema::new(128, Metric::L2), &same),
        (Schema::new(128, Metric::Cosine).with_raw(Raw::None), &same),
        (Schema::new(256, Metric::Cosine), &few),
        (Schema::new(128, Metric::L2).with_raw(Raw::None), &many),
        (Schema::new(1, Metric::L2), &line),
    ];
    for (schema, values) in cases {
        for graph_bytes in [0, u64::MAX] {
            let scratch = tempfile::tempdir().unwrap();
            let path = scratch.path().join("db");
            let mut settings = settings(Some(MIB), Memory::Mapped);
            settings.graph_bytes = graph_bytes;
            let db = OpenOptions::new().settings(settings.clone()).open(&path).unwrap();
            let rows = fill(&db, schema.clone(), values);
            let stats = rows.stats().unwrap();
            agrees(&stats);
            let found = hits(&rows, values);
            assert!(found.iter().all(|hits| hits.len() == 10), "{schema:?}");
            db.close().unwrap();
            let db = OpenOptions::new().settings(settings).open(&path).unwrap();
            match db.open_collection("rows") {
                Ok(rows) => assert_eq!(hits(&rows, values), found),
                refused => {
                    assert!(message(refused).contains(&stats.serving_least_bytes.to_string()))
                }
            }
            assert_eq!(
                stats.serving_least_bytes > MIB as u64,
                db.open_collection("rows").is_err(),
                "{stats:?}"
            );
            db.close().unwrap();
            let rows = reader(&path, None, Memory::Ram).unwrap();
            assert_eq!(hits(&rows, values), found, "{schema:?}");
        }
    }
}

#[test]
fn what_is_held_follows_the_segments_of_writers_and_readers() {
    let dimension = 32;
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("db");
    let db = open(&path, None, Memory::Ram);
    let rows = fill(&db, Schema::new(dimension, Metric::Cosine), &leaning(3_000, dimension, 5));
    let follower = reader(&path, None, Memory::Ram).unwrap();
    let ids = |rows: &Collection| rows.stats().unwrap().held_bytes.ids;
    assert_eq!((ids(&rows), ids(&follower)), (24_000, 24_000));
    let more = leaning(1_000, dimension, 6);
    let new: Vec<u64> = (10_000..11_000).collect();
    rows.upsert(&new, &more, ()).unwrap();
    rows.compact().unwrap();
    assert_eq!(ids(&rows), 32_000);
    assert!(follower.refresh().unwrap());
    assert_eq!(ids(&follower), 32_000);
    rows.delete((0..3_000).collect::<Vec<u64>>()).unwrap();
    rows.compact().unwrap();
    assert!(follower.refresh().unwrap());
    assert_eq!((ids(&rows), ids(&follower)), (8_000, 8_000), "what was replaced is given back");
    assert_eq!(hits(&rows, &more), hits(&follower, &more));
    assert!(rows.verify().unwrap().problems.is_empty());
}

#[test]
fn a_budget_holds_for_what_is_written_later() {
    let dimension = 64;
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("db");
    let db = open(&path, Some(MIB), Memory::Ram);
    let rows = fill(&db, Schema::new(dimension, Metric::L2), &leaning(4_000, dimension, 7));
    let count = |held: nearfield::HeldBytes| {
        held.codes + held.graph + held.ids + held.norms + held.sketches + held.vectors
    };
    let first = rows.stats().unwrap();
    assert!(count(first.held_bytes) > 0 && first.serving_problem.is_none(), "{first:?}");
    let more = leaning(12_000, dimension, 8);
    rows.upsert((10_000..22_000).collect::<Vec<u64>>(), &more, ()).unwrap();
    rows.compact().unwrap();
    let stats = rows.stats().unwrap();
    agrees(&stats);
    assert!(stats.serving_problem.is_some(), "16,000 lists of links alone are as much");
    assert!(count(stats.held_bytes) <= MIB as u64, "{stats:?}");
    assert!(hits(&rows, &more).iter().all(|hits| hits.len() == 10));
}

/// Opens the databases in memory, cuts their files and asks again: nothing in an ordinary run.
#[test]
fn child() {
    let Ok(path) = std::env::var(PATH) else { return };
    for (name, budget) in [("rounded", None), ("raw", Some(64 * MIB))] {
        let path = PathBuf::from(&path).join(name);
        let rows = reader(&path, budget, Memory::Ram).unwrap();
        let values = leaning(3_000, 64, 9);
        let before = hits(&rows, &values);
        let held = rows.stats().unwrap().held_bytes;
        assert!(held.vectors > 0 && held.ids > 0, "{held:?}");
        let mut cut = 0;
        for entry in std::fs::read_dir(path.join("rows")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|end| end == "nfs") {
                let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
                file.set_len(0).unwrap();
                cut += 1;
            }
        }
        assert_eq!((cut, hits(&rows, &values) == before), (1, true));
        println!("{name} still answers");
    }
}

#[test]
#[cfg(unix)]
fn files_that_are_cut_under_a_reader_in_memory_are_not_missed() {
    let scratch = tempfile::tempdir().unwrap();
    let values = leaning(3_000, 64, 9);
    for (name, raw) in [("rounded", Raw::None), ("raw", Raw::F32)] {
        let db = open(&scratch.path().join(name), None, Memory::Mapped);
        fill(&db, Schema::new(64, Metric::L2).with_raw(raw), &values);
        db.close().unwrap();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "serving::child", "--nocapture", "--test-threads=1", "-q"])
        .env(PATH, scratch.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("rounded still answers") && said.contains("raw still answers"), "{said}");
}
