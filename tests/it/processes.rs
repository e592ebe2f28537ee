//! Real processes and real threads: a writer that is killed, a second writer, a reader that
//! follows, and many threads on one collection.
//!
//! The child is this test binary running [`child`] with a role in its environment.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arrow_array::{ArrayRef, LargeStringArray, RecordBatch, StringArray};
use nearfield::{
    Collection, DataType, Database, Durability, Error, Fields, Id, Ids, ImportBatch, ImportOptions,
    Metric, OpenOptions, ScanOptions, Schema, Settings,
};

use crate::common::{Random, Scratch};
use crate::oracle::floats;

const ROLE: &str = "NEARFIELD_TEST_ROLE";
const PATH: &str = "NEARFIELD_TEST_PATH";
const SEED: &str = "NEARFIELD_TEST_SEED";

const DIMENSION: usize = 16;
/// Rows that are there from the first batch on, and are replaced all the time.
const STEADY: u64 = 500;

fn settings(durability: Durability) -> Settings {
    let mut settings = Settings::default();
    settings.durability = durability;
    settings.memtable_bytes = 64 << 10;
    settings.graph_bytes = 32 << 10;
    settings.m = 8;
    settings.ef_construction = 24;
    settings.threads = 2;
    settings
}

fn open(path: &Path, durability: Durability) -> Database {
    OpenOptions::new().settings(settings(durability)).open(path).unwrap()
}

fn schema() -> Schema {
    Schema::new(DIMENSION, Metric::L2)
}

/// The vector that row `id` has in round `round`: anyone can tell which round a row is of.
fn vector(id: u64, round: u64) -> Vec<f32> {
    let mut vector = vec![(id % 97) as f32; DIMENSION];
    vector[0] = round as f32;
    vector[1] = id as f32;
    vector
}

/// A round replaces a stretch of the steady rows, adds ten rows of its own and deletes the ten of
/// the round before the last.
fn write_round(docs: &Collection, round: u64) -> nearfield::Result<()> {
    let steady = (0..50).map(|row| (round * 50 + row) % STEADY);
    let own = (0..10).map(|row| STEADY + round * 10 + row);
    let ids: Vec<u64> =
        if round == 0 { (0..STEADY).chain(own).collect() } else { steady.chain(own).collect() };
    let vectors: Vec<f32> = ids.iter().flat_map(|id| vector(*id, round)).collect();
    if round % 16 == 9 {
        let source_rows = (0..ids.len() as u64).collect();
        let (ids, vectors) = (Ids::from(ids), vectors.into());
        let batch =
            ImportBatch { ids, vectors, attributes: None, source_rows, rejected: Vec::new() };
        docs.import([Ok(batch)], ImportOptions::new())?;
    } else {
        docs.upsert(&ids, &vectors, ())?;
    }
    match round % 32 {
        5 => docs.flush()?,
        21 => drop(docs.compact()?),
        _ => {}
    }
    if round >= 2 {
        let gone: Vec<u64> = (0..10).map(|row| STEADY + (round - 2) * 10 + row).collect();
        docs.delete(&gone)?;
    }
    Ok(())
}

/// The rounds whose upserts and whose deletions a snapshot holds, from its rows alone; fails when
/// they are no prefix.
fn rounds_of(docs: &Collection) -> (u64, u64) {
    let mut rows = BTreeMap::new();
    let fields = Fields::none().with_vectors();
    for records in docs.scan(ScanOptions::new().fields(fields)).unwrap() {
        let records = records.unwrap();
        let vectors = floats(records.vectors.as_ref().unwrap());
        for (id, vector) in records.ids.iter().zip(vectors.chunks(DIMENSION)) {
            let Id::U64(id) = id else { panic!("{id}") };
            assert_eq!(vector[1], *id as f32);
            assert!(rows.insert(*id, vector[0] as u64).is_none());
        }
    }
    if rows.is_empty() {
        return (0, 0);
    }
    let newest = *rows.values().max().unwrap();
    for id in 0..STEADY {
        let last =
            (1..=newest).rev().find(|round| (id + STEADY - round * 50 % STEADY) % STEADY < 50);
        let found = rows.get(&id).unwrap_or_else(|| panic!("steady row {id} is gone"));
        assert_eq!(*found, last.unwrap_or(0), "row {id} at round {newest}");
    }
    let own: BTreeSet<u64> = rows.keys().filter(|id| **id >= STEADY).copied().collect();
    let kept = own.first().map_or(0, |id| (id - STEADY) / 10);
    let expected: BTreeSet<u64> = (STEADY + kept * 10..STEADY + (newest + 1) * 10).collect();
    assert_eq!(own, expected, "rows of round {newest}");
    (newest + 1, kept)
}

fn child_command(role: &str, path: &Path, seed: u64) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "processes::child", "--nocapture", "--test-threads=1", "-q"])
        .env(ROLE, role)
        .env(PATH, path)
        .env(SEED, seed.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// The body of a child process; nothing in an ordinary run.
#[test]
fn child() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let path = std::path::PathBuf::from(std::env::var(PATH).unwrap());
    let first: u64 = std::env::var(SEED).unwrap().parse().unwrap();
    match role.as_str() {
        "write" => write_on(&path, Durability::Sync, first),
        "write buffered" => write_on(&path, Durability::Buffered, first),
        "open" => match Database::open(&path) {
            Ok(_) => say("opened"),
            Err(Error::Locked { holder, .. }) => say(&format!("locked {holder}")),
            Err(error) => say(&format!("error {error}")),
        },
        "search" => search_on(&path),
        other => panic!("no such role: {other}"),
    }
}

fn write_on(path: &Path, durability: Durability, first: u64) {
    let db = open(path, durability);
    let docs = db.collection("docs", schema()).unwrap();
    say("ready");
    for round in first.. {
        write_round(&docs, round).unwrap();
        say(&format!("wrote {round}"));
    }
}

/// Searches by every row again and again, once it is told to.
fn search_on(path: &Path) {
    let db = OpenOptions::new().read_only(true).open(path).unwrap();
    let docs = db.open_collection("docs").unwrap();
    say("ready");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let found = docs.search(vector(0, 0)).k(1_000_000).exact(true).run();
    say(&found.map_or_else(|error| error.to_string(), |hits| format!("{} hits", hits.len())));
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // The mark tells it from what the test harness prints on the same line.
    writeln!(out, "\n@{line}").unwrap();
    out.flush().unwrap();
}

/// What a child said so far; all of it once it is dead.
fn said(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.map_while(Result::ok).filter_map(|line| Some(line.strip_prefix('@')?.to_owned()))
}

/// Kills a child at some moment after it is ready; the rounds that it acknowledged.
fn run_and_kill(role: &str, path: &Path, first: u64, random: &mut Random) -> u64 {
    let mut child = child_command(role, path, first).spawn().unwrap();
    let mut lines = said(&mut child);
    assert_eq!(lines.next().as_deref(), Some("ready"), "the child does not write");
    std::thread::sleep(Duration::from_millis(5 + random.below(250)));
    child.kill().unwrap();
    let last = lines.last();
    child.wait().unwrap();
    last.map_or(first, |line| line.strip_prefix("wrote ").unwrap().parse::<u64>().unwrap() + 1)
}

/// `NEARFIELD_KILL_CYCLES=n` kills n writers instead.
fn kill_cycles(role: &str, durability: Durability) {
    let cycles = std::env::var("NEARFIELD_KILL_CYCLES").map_or(8, |text| text.parse().unwrap());
    let scratch = Scratch::new();
    let mut random = Random::new(std::process::id().into());
    let mut next = 0;
    for _ in 0..cycles {
        let acknowledged = run_and_kill(role, &scratch.path(), next, &mut random);
        let db = open(&scratch.path(), durability);
        let docs = db.collection("docs", schema()).unwrap();
        let (written, kept) = rounds_of(&docs);
        assert!(
            (acknowledged..=acknowledged + 1).contains(&written),
            "{written} rounds found, {acknowledged} acknowledged"
        );
        assert!(kept + 2 >= acknowledged.max(2) && kept <= written.saturating_sub(1));
        assert_eq!(docs.verify().unwrap().problems, Vec::<String>::new());
        if written > 0 && kept + 2 < written {
            // The last round lacks its second half.
            let gone: Vec<u64> = (STEADY + kept * 10..STEADY + (written - 2) * 10).collect();
            docs.delete(&gone).unwrap();
        }
        if random.below(2) == 0 {
            db.close().unwrap();
        }
        next = written;
    }
    eprintln!("{cycles} kills, {next} rounds");
}

#[test]
fn a_killed_writer_loses_no_acknowledged_row() {
    kill_cycles("write", Durability::Sync);
}

#[test]
fn a_killed_writer_loses_no_buffered_row() {
    kill_cycles("write buffered", Durability::Buffered);
}

/// A map has no bytes behind the end of its file: the system ends whoever asks for them.
#[cfg(unix)]
#[test]
fn a_file_truncated_under_a_reader_ends_that_process_and_is_named_by_the_next() {
    use std::os::unix::process::ExitStatusExt;
    const SIGBUS: i32 = if cfg!(target_os = "macos") { 10 } else { 7 };
    let scratch = Scratch::new();
    let db = open(&scratch.path(), Durability::Sync);
    let docs = db.collection("docs", schema()).unwrap();
    (0..40).for_each(|round| write_round(&docs, round).unwrap());
    docs.compact().unwrap();
    let rows = docs.len().unwrap();
    db.close().unwrap();
    let reader = |truncate: bool| {
        let mut command = child_command("search", &scratch.path(), 0);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut lines = said(&mut child);
        assert_eq!(lines.next().as_deref(), Some("ready"));
        let mut files = std::fs::read_dir(scratch.path().join("docs")).unwrap();
        let segment = files.find_map(|file| {
            let path = file.unwrap().path();
            path.extension().is_some_and(|end| end == "nfs").then_some(path)
        });
        let segment = std::fs::OpenOptions::new().write(true).open(segment.unwrap()).unwrap();
        if truncate {
            segment.set_len(0).unwrap();
        }
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        (lines.next(), child.wait().unwrap().signal())
    };
    assert_eq!(reader(false), (Some(format!("{rows} hits")), None));
    assert_eq!(reader(true), (None, Some(SIGBUS)));
    let db = open(&scratch.path(), Durability::Sync);
    let refused = db.open_collection("docs").unwrap_err().to_string();
    assert!(refused.contains(".nfs is corrupt"), "{refused}");
    db.create_collection("other", schema()).unwrap();
}

#[test]
fn a_second_writer_process_is_locked_out_at_once_and_told_by_whom() {
    let scratch = Scratch::new();
    let db = scratch.open();
    let ask = || {
        let begun = Instant::now();
        let mut child = child_command("open", &scratch.path(), 0).spawn().unwrap();
        let answer = said(&mut child).next().unwrap();
        child.wait().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(20));
        answer
    };
    let answer = ask();
    let pid = format!("locked pid {}", std::process::id());
    assert!(answer.starts_with(&pid), "{answer}");
    db.close().unwrap();
    assert_eq!(ask(), "opened");
}

/// A reader sees whole rounds only, never goes back, and never misses a row that was only
/// replaced.
fn follow(role: &str) {
    let scratch = Scratch::new();
    let mut child = child_command(role, &scratch.path(), 0).spawn().unwrap();
    let mut lines = said(&mut child);
    assert_eq!(lines.next().as_deref(), Some("ready"));
    let heard = AtomicU64::new(0);
    let (mut last, mut refreshes, mut seen) = (0, 0, BTreeSet::new());
    std::thread::scope(|scope| {
        let heard = &heard;
        scope.spawn(move || {
            for line in lines {
                let round: u64 = line.strip_prefix("wrote ").unwrap().parse().unwrap();
                heard.store(round + 1, Ordering::Release);
            }
        });
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let docs = scratch.reader().open_collection("docs").unwrap();
            let end = Instant::now() + Duration::from_secs(3);
            while Instant::now() < end {
                let acknowledged = heard.load(Ordering::Acquire);
                docs.refresh().unwrap();
                let (rounds, _) = rounds_of(&docs);
                assert!(rounds >= last, "{rounds} rounds after {last}");
                if role == "write" {
                    assert!(rounds >= acknowledged, "{rounds} of {acknowledged} acknowledged");
                }
                last = rounds;
                seen.insert(rounds);
                refreshes += 1;
                if refreshes % 16 == 0 {
                    assert_eq!(docs.verify().unwrap().problems, Vec::<String>::new());
                }
                if refreshes % 5 == 0 {
                    // A fresh reader finds as much.
                    let fresh = scratch.reader().open_collection("docs").unwrap();
                    assert!(rounds_of(&fresh).0 >= last);
                }
            }
        }));
        child.kill().unwrap();
        child.wait().unwrap();
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    eprintln!("{refreshes} refreshes, {} states up to round {last}", seen.len());
    assert!(seen.len() > 3, "the reader saw only {seen:?}");
}

#[test]
fn a_reader_process_follows_a_writer_and_sees_only_states_that_were() {
    follow("write");
}

#[test]
fn a_reader_process_follows_a_writer_that_does_not_sync() {
    follow("write buffered");
}

#[test]
fn writers_searchers_and_compaction_share_a_collection() {
    let scratch = Scratch::new();
    let db = open(&scratch.path(), Durability::Sync);
    let docs = db.collection("docs", schema()).unwrap();
    let stop = AtomicBool::new(false);
    let (searches, batches) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for writer in 0..4_u64 {
            let (docs, stop, batches) = (docs.clone(), &stop, &batches);
            scope.spawn(move || {
                // Each has ids of its own, and knows what must be there of them.
                let mut random = Random::new(writer + 1);
                let mut known: BTreeMap<u64, f32> = BTreeMap::new();
                let mut round = 0.0;
                while !stop.load(Ordering::Relaxed) {
                    round += 1.0;
                    let base = writer * 1_000_000;
                    let ids: BTreeSet<u64> = (0..30).map(|_| base + random.below(400)).collect();
                    let ids: Vec<u64> = ids.into_iter().collect();
                    if random.below(4) == 0 {
                        let there = ids.iter().filter(|id| known.remove(*id).is_some()).count();
                        assert_eq!(docs.delete(&ids).unwrap(), there as u64);
                    } else {
                        let row = |id: &u64| {
                            let mut vector = vector(*id % 1_000, 0);
                            vector[2] = round;
                            vector
                        };
                        let vectors: Vec<f32> = ids.iter().flat_map(row).collect();
                        docs.upsert(&ids, &vectors, ()).unwrap();
                        known.extend(ids.iter().map(|id| (*id, round)));
                    }
                    // What was acknowledged is visible at once.
                    let records = docs.get(&ids, &Fields::none().with_vectors()).unwrap();
                    let vectors = floats(records.vectors.as_ref().unwrap());
                    let found = records.ids.iter().zip(vectors.chunks(DIMENSION));
                    let found: Vec<_> = found.map(|(id, vector)| (id.clone(), vector[2])).collect();
                    let wanted = ids.iter().filter_map(|id| Some((Id::U64(*id), *known.get(id)?)));
                    assert_eq!(found, wanted.collect::<Vec<_>>());
                    batches.fetch_add(1, Ordering::Relaxed);
                }
                let mine = |id: &Id| matches!(id, Id::U64(id) if id / 1_000_000 == writer);
                let scan = docs.scan(ScanOptions::new().fields(Fields::none())).unwrap();
                let ids: Vec<Id> = scan.flat_map(|records| records.unwrap().ids).collect();
                let ids: Vec<Id> = ids.into_iter().filter(mine).collect();
                assert!(
                    ids.iter().eq(known.keys().map(|id| Id::U64(*id)).collect::<Vec<_>>().iter())
                );
            });
        }
        for searcher in 0..4_u64 {
            let (docs, stop, searches) = (docs.clone(), &stop, &searches);
            scope.spawn(move || {
                let mut random = Random::new(100 + searcher);
                while !stop.load(Ordering::Relaxed) {
                    let query = vector(random.below(400), 0);
                    let snapshot = docs.snapshot().unwrap();
                    let k = 10.min(snapshot.len());
                    let exact = random.below(2) == 0;
                    let hits = snapshot.search(&query).k(10).exact(exact).run().unwrap();
                    assert_eq!(hits.len(), k);
                    let ids: BTreeSet<&Id> = hits.iter().map(|hit| &hit.id).collect();
                    assert_eq!(ids.len(), k, "an id twice");
                    assert!(hits.hits.is_sorted_by(|a, b| a.distance <= b.distance));
                    for hit in &hits {
                        assert!(snapshot.contains(hit.id.clone()).unwrap(), "{hit:?} is dead");
                    }
                    searches.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let (docs, stop_now) = (docs.clone(), &stop);
        scope.spawn(move || {
            let end = Instant::now() + Duration::from_secs(3);
            let mut copy = 0;
            while Instant::now() < end {
                std::thread::sleep(Duration::from_millis(150));
                docs.compact().unwrap();
                docs.flush().unwrap();
                copy += 1;
            }
            stop_now.store(true, Ordering::Relaxed);
            assert!(copy > 0);
        });
    });
    let rows = docs.len().unwrap();
    assert_eq!(docs.verify().unwrap().problems, Vec::<String>::new());
    eprintln!(
        "{batches:?} batches, {searches:?} searches, {rows} rows, {:?}",
        docs.stats().unwrap().segments.len()
    );
    drop((docs, db));
    let docs = open(&scratch.path(), Durability::Sync).open_collection("docs").unwrap();
    assert_eq!(docs.len().unwrap(), rows);
}

#[test]
fn a_backup_of_a_busy_collection_holds_all_that_was_written_before_it() {
    let scratch = Scratch::new();
    let db = open(&scratch.path(), Durability::Buffered);
    let docs = db.collection("docs", schema()).unwrap();
    let (stop, written) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0.. {
                write_round(&docs, round).unwrap();
                written.store(round + 1, Ordering::Release);
                if stop.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        for copy in 0..6 {
            let before = written.load(Ordering::Acquire);
            let path = scratch.dir.path().join(format!("copy{copy}"));
            db.backup(&path).unwrap();
            let again = scratch.dir.path().join(format!("again{copy}"));
            Database::restore(&path, &again).unwrap();
            for path in [path, again] {
                let docs = Database::open(path).unwrap().collection("docs", schema()).unwrap();
                let (rounds, _) = rounds_of(&docs);
                assert!(rounds >= before, "{rounds} of {before} rounds");
                assert_eq!(docs.verify().unwrap().problems, Vec::<String>::new());
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

/// Closing, dropping and recreating while others write: every write is acknowledged and there, or
/// refused.
#[test]
fn a_collection_closed_under_its_writers_keeps_what_it_acknowledged() {
    let scratch = Scratch::new();
    let db = open(&scratch.path(), Durability::None);
    db.collection("docs", schema()).unwrap();
    let (stop, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for writer in 0..2_u64 {
            let (db, stop, acknowledged) = (&db, &stop, &acknowledged);
            scope.spawn(move || {
                let mut id = writer;
                while !stop.load(Ordering::Relaxed) {
                    let docs = db.open_collection("docs").unwrap();
                    match docs.add(id, vector(id % 1_000, 0), ()) {
                        Ok(_) => {
                            acknowledged.fetch_add(1, Ordering::Relaxed);
                            id += 2;
                        }
                        Err(Error::Closed(_)) => {}
                        Err(error) => panic!("{error}"),
                    }
                    if id % 50 < 2 {
                        let compacted = docs.compact();
                        let closed = |e: &Error| matches!(e, Error::Closed(_) | Error::Cancelled);
                        assert!(compacted.as_ref().err().is_none_or(closed), "{compacted:?}");
                    }
                }
            });
        }
        let end = Instant::now() + Duration::from_millis(1_500);
        while Instant::now() < end {
            std::thread::sleep(Duration::from_millis(7));
            db.open_collection("docs").unwrap().close().unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    let docs = db.open_collection("docs").unwrap();
    assert_eq!(docs.len().unwrap() as u64, acknowledged.load(Ordering::Relaxed));
    assert_eq!(docs.verify().unwrap().problems, Vec::<String>::new());
}

/// Updates live in memory over a segment until its attributes are written anew; merges and flushes
/// that overlap must not let their log go before.
#[test]
fn updates_survive_merges_and_flushes_that_overlap() {
    let schema = schema().column("note", DataType::Utf8);
    let scratch = Scratch::new();
    let mut random = Random::new(5);
    for round in 0..8 {
        let db = open(&scratch.path(), Durability::None);
        let name = format!("docs{round}");
        let docs = db.collection(&name, schema.clone()).unwrap();
        let ids: Vec<u64> = (0..3_000).collect();
        let vectors: Vec<f32> = ids.iter().flat_map(|id| vector(*id, 0)).collect();
        let mut known = BTreeMap::new();
        for stretch in [0..3_000, 0..1_000, 500..1_500] {
            let part = &vectors[stretch.start * DIMENSION..stretch.end * DIMENSION];
            docs.upsert(&ids[stretch], part, ()).unwrap();
        }
        docs.flush().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..4 {
                    docs.compact().unwrap();
                }
            });
            for _ in 0..40 {
                let first = random.below(2_900);
                let ids: Vec<u64> = (first..first + 100).collect();
                let text =
                    |id: &u64| format!("{id} {}", "long ".repeat(random.below(200) as usize));
                let texts: Vec<String> = ids.iter().map(text).collect();
                let array: ArrayRef = Arc::new(StringArray::from(texts.clone()));
                let batch = RecordBatch::try_from_iter([("note", array)]).unwrap();
                assert_eq!(docs.update(&ids, &batch).unwrap(), 100);
                known.extend(ids.into_iter().zip(texts));
            }
        });
        // Closing flushes what is frozen; what was flushed before must be enough.
        std::thread::sleep(Duration::from_millis(40));
        drop(docs);
        db.close().unwrap();
        drop(db);
        let db = open(&scratch.path(), Durability::None);
        let docs = db.open_collection(&name).unwrap();
        let records = docs.get(&ids, &Fields::all()).unwrap();
        let notes = records.attributes.column(0).as_any().downcast_ref::<LargeStringArray>();
        let found: Vec<Option<&str>> = notes.unwrap().iter().collect();
        let wanted: Vec<Option<&str>> =
            ids.iter().map(|id| known.get(id).map(String::as_str)).collect();
        let lost = found.iter().zip(&wanted).filter(|(found, wanted)| found != wanted).count();
        assert_eq!(lost, 0, "updates lost in round {round}");
    }
}
