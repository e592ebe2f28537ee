//! Writers, searchers, merges in the background and readers in other processes, all at once for a while:
//! no row is lost or wrong, and neither memory nor files grow without end.
//!
//! `NEARFIELD_SOAK_SECONDS=n` says for how long; a few seconds in an ordinary run.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nearfield::{
    Collection, Database, Fields, Id, Metric, OpenOptions, ScanOptions, Schema, Settings,
};

use crate::common::{Random, Scratch};
use crate::oracle::floats;

const ROLE: &str = "NEARFIELD_TEST_SOAK";
const SECONDS: &str = "NEARFIELD_SOAK_SECONDS";
const DIMENSION: usize = 32;
const WRITERS: u64 = 4;
const SEARCHERS: u64 = 4;
/// Ids that each writer has for itself.
const IDS: u64 = 4_000;
/// Files of the collection at most: writers wait from 64 segments without a graph on, each of up to three files.
const MOST_FILES: usize = 250;
/// How much the memory of the process may grow after the first third.
const SLACK_BYTES: u64 = 96 << 20;

fn seconds() -> u64 {
    std::env::var(SECONDS).map_or(3, |text| text.parse().expect("seconds"))
}

fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.memtable_bytes = 512 << 10;
    settings.graph_bytes = 128 << 10;
    settings.m = 8;
    settings.ef_construction = 32;
    settings.memory_budget = 64 << 20;
    settings.threads = 1;
    settings
}

/// The vector of the `version`-th write of a row: whoever reads it can tell both.
fn vector(id: u64, version: u64) -> Vec<f32> {
    let mut random = Random::new(id);
    let mut vector: Vec<f32> = (0..DIMENSION).map(|_| random.unit()).collect();
    vector[0] = id as f32;
    vector[1] = version as f32;
    vector
}

/// Versions by id, of which each writer knows its own.
type Versions = BTreeMap<u64, u64>;

/// Fails unless every row is one that somebody wrote; the versions.
fn look(docs: &Collection) -> Versions {
    let mut found = Versions::new();
    for records in docs.scan(ScanOptions::new().fields(Fields::none().with_vectors())).unwrap() {
        let records = records.unwrap();
        let vectors = floats(records.vectors.as_ref().unwrap());
        for (id, row) in records.ids.iter().zip(vectors.chunks(DIMENSION)) {
            let Id::U64(id) = id else { panic!("{id}") };
            let version = row[1] as u64;
            assert_eq!(row, vector(*id, version), "row {id}");
            assert!(found.insert(*id, version).is_none(), "row {id} is there twice");
        }
    }
    found
}

/// Writes until told to stop; what the rows of this writer must be then.
fn write(docs: &Collection, writer: u64, stop: &AtomicBool, written: &AtomicU64) -> Versions {
    let mut random = Random::new(writer + 1);
    let mut mine = Versions::new();
    let mut version = 0;
    while !stop.load(Ordering::Relaxed) {
        version += 1;
        let count = 1 + random.below(64);
        let from = random.below(IDS);
        let ids: Vec<u64> = (0..count).map(|at| writer * IDS + (from + at) % IDS).collect();
        if random.below(5) == 0 {
            docs.delete(&ids).unwrap();
            mine.retain(|id, _| !ids.contains(id));
        } else {
            let vectors: Vec<f32> = ids.iter().flat_map(|id| vector(*id, version)).collect();
            docs.upsert(&ids, &vectors, ()).unwrap();
            mine.extend(ids.iter().map(|id| (*id, version)));
        }
        written.fetch_add(count, Ordering::Relaxed);
    }
    mine
}

/// Searches until told to stop: hits are whole rows in order.
fn search(docs: &Collection, seed: u64, stop: &AtomicBool, searched: &AtomicU64) {
    let mut random = Random::new(100 + seed);
    while !stop.load(Ordering::Relaxed) {
        let query = vector(random.below(WRITERS * IDS), random.below(100));
        let hits = docs.search(&query).k(10).with_vectors().run().unwrap();
        let vectors = hits.vectors.as_ref().map(floats).unwrap_or_default();
        assert!(hits.iter().is_sorted_by(|a, b| a.distance <= b.distance));
        for (hit, row) in hits.iter().zip(vectors.chunks(DIMENSION)) {
            let Id::U64(id) = hit.id else { panic!("{}", hit.id) };
            assert_eq!(row, vector(id, row[1] as u64), "row {id}");
        }
        searched.fetch_add(1, Ordering::Relaxed);
    }
}

/// A process that reads along until its input ends.
fn reader(path: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "soak::child", "--nocapture", "--test-threads=1", "-q"]);
    command.env(ROLE, path).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
}

/// The body of such a process; nothing in an ordinary run.
#[test]
fn child() {
    let Some(path) = std::env::var_os(ROLE) else { return };
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::io::stdin().read_line(&mut String::new()).unwrap();
            ended.store(true, Ordering::Relaxed);
        });
        follow(Path::new(&path), &ended);
    });
}

/// Reads along until told to stop: rows are replaced by later ones alone, though some are deleted and come
/// back.
fn follow(path: &Path, ended: &AtomicBool) {
    let db = OpenOptions::new().read_only(true).open(path).unwrap();
    let docs = db.open_collection("docs").unwrap();
    let mut newest = Versions::new();
    while !ended.load(Ordering::Relaxed) {
        docs.refresh().unwrap();
        let found = look(&docs);
        let back = found.iter().find(|(id, version)| newest.get(id) > Some(version));
        assert_eq!(back, None, "a reader went back");
        newest.extend(found);
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Resident memory of this process, where the system tells.
fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: Option<u64> = text.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0) * 4096
}

#[test]
fn rows_memory_and_files_stay_as_they_should_for_as_long_as_it_goes_on() {
    let scratch = Scratch::new();
    let db = OpenOptions::new().settings(settings()).open(scratch.path()).unwrap();
    let docs = db.collection("docs", Schema::new(DIMENSION, Metric::L2)).unwrap();
    let (stop, written, searched) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let mut readers = [reader(&scratch.path()), reader(&scratch.path())];
    let end = Instant::now() + Duration::from_secs(seconds());
    let (mut memory, mut files) = (Vec::new(), 0);
    let expected: Versions = std::thread::scope(|scope| {
        let (docs, stop, written, searched) = (&docs, &stop, &written, &searched);
        let writers: Vec<_> =
            (0..WRITERS).map(|at| scope.spawn(move || write(docs, at, stop, written))).collect();
        for seed in 0..SEARCHERS {
            scope.spawn(move || search(docs, seed, stop, searched));
        }
        while Instant::now() < end && !writers.iter().any(|writer| writer.is_finished()) {
            std::thread::sleep(Duration::from_millis(100));
            memory.push(resident_bytes());
            files = files.max(std::fs::read_dir(scratch.path().join("docs")).unwrap().count());
        }
        stop.store(true, Ordering::Relaxed);
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    for reader in &mut readers {
        drop(reader.stdin.take());
        assert!(reader.wait().unwrap().success(), "a reader in another process has failed");
    }
    check(&scratch, db, docs, &expected);
    let third = memory.len() / 3;
    let (early, late) = (memory[..third].iter().max(), memory[2 * third..].iter().max());
    eprintln!(
        "{} s: {} rows written, {} searches, {early:?} bytes resident early, {late:?} late, {files} files",
        seconds(),
        written.into_inner(),
        searched.into_inner(),
    );
    assert!(late.unwrap() <= &(early.unwrap() * 5 / 4 + SLACK_BYTES), "memory grows");
    assert!(files <= MOST_FILES, "{files} files");
}

/// What is there in the end, before and after opening anew.
fn check(scratch: &Scratch, db: Database, docs: Collection, expected: &Versions) {
    assert!(&look(&docs) == expected, "rows of the open collection");
    assert_eq!(docs.verify().unwrap().problems, Vec::<String>::new());
    drop(docs);
    db.close().unwrap();
    let reopened = scratch.reader().open_collection("docs").unwrap();
    assert!(&look(&reopened) == expected, "rows of the reopened collection");
    let (id, version) = expected.iter().next().expect("rows");
    let nearest = reopened.search(vector(*id, *version)).k(1).exact(true).run().unwrap();
    assert_eq!(nearest.hits[0].id, Id::from(*id));
}
