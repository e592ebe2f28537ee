//! Promises of docs/durability.md about what comes at the wrong moment: reads that fail, files that go while
//! they are copied, panics in the background, numbers that cannot be.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use nearfield::testing::{Disk, Fault, FaultDisk};
use nearfield::{
    Collection, Database, Durability, Error, Metric, OpenOptions, RepairOptions, Result, Schema,
    Settings,
};

use crate::common::Random;
use crate::oracle::state_of;

fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.background = false;
    settings.threads = 1;
    settings
}

fn database(disk: &FaultDisk, settings: Settings, reader: bool) -> Result<Database> {
    let options = OpenOptions::new().settings(settings).read_only(reader);
    options.disk(Arc::new(disk.clone())).open("/db")
}

fn open(disk: &FaultDisk, reader: bool) -> Result<(Database, Collection)> {
    let db = database(disk, settings(), reader)?;
    let docs = match reader {
        true => db.open_collection("docs")?,
        false => db.collection("docs", Schema::new(1, Metric::L2))?,
    };
    Ok((db, docs))
}

fn named(disk: &FaultDisk, part: &str) -> Vec<PathBuf> {
    let has = |path: &PathBuf| path.to_str().unwrap().contains(part);
    disk.files().into_iter().filter(has).collect()
}

#[test]
fn a_newest_manifest_that_is_not_read_for_now_is_an_error_and_costs_no_file() {
    let disk = FaultDisk::new();
    let (db, docs) = open(&disk, false).unwrap();
    for id in 0..3 {
        docs.upsert(&[id], &[id as f32], ()).unwrap();
        docs.compact().unwrap();
    }
    db.close().unwrap();
    drop((db, docs));
    let newest = named(&disk, "MANIFEST").pop().unwrap();
    let files = disk.files();
    disk.spoil(&newest, Some(0..1)).unwrap();
    for reader in [true, false] {
        match open(&disk, reader).map(drop) {
            Err(Error::Io { path, .. }) => assert_eq!(path, newest),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(disk.files(), files);
    disk.spoil(&newest, None).unwrap();
    let (_db, docs) = open(&disk, false).unwrap();
    assert_eq!((docs.len().unwrap(), docs.stats().unwrap().passed_over), (3, None));
}

#[test]
fn a_damaged_newest_manifest_is_told_by_stats_and_nothing_is_removed_for_it() {
    let disk = FaultDisk::new();
    let (db, docs) = open(&disk, false).unwrap();
    docs.upsert(&[1, 2], &[0.0_f32, 1.0], ()).unwrap();
    docs.compact().unwrap();
    docs.upsert(&[3], &[2.0_f32], ()).unwrap();
    docs.compact().unwrap();
    // Closing writes tombstones, which the newest manifest alone names.
    docs.delete(&[2]).unwrap();
    db.close().unwrap();
    drop((db, docs));
    let newest = named(&disk, "MANIFEST").pop().unwrap();
    let bytes = disk.read(&newest, 0).unwrap();
    let files = disk.files();
    assert!(files.iter().any(|path| path.extension().is_some_and(|end| end == "del")));
    disk.edit(&newest, |bytes| bytes[30] ^= 1).unwrap();
    let (db, docs) = open(&disk, false).unwrap();
    let told = docs.stats().unwrap().passed_over.unwrap();
    assert!(told.contains(newest.file_name().unwrap().to_str().unwrap()), "{told}");
    assert_eq!(docs.len().unwrap(), 2);
    assert!(files.iter().all(|path| disk.files().contains(path)), "{:?}", disk.files());
    drop((db, docs));
    // It might have been read wrong only.
    let healed = disk.kill_image();
    healed.edit(&newest, |now| now.clone_from(&bytes)).unwrap();
    let (_db, docs) = open(&healed, false).unwrap();
    assert_eq!((docs.len().unwrap(), docs.verify().unwrap().problems.len()), (2, 0));
    // Once there are new ones, what only the damaged one named goes.
    let (db, docs) = open(&disk, false).unwrap();
    docs.upsert(&[4], &[3.0_f32], ()).unwrap();
    docs.compact().unwrap();
    db.close().unwrap();
    drop((db, docs));
    let (_db, docs) = open(&disk, false).unwrap();
    assert_eq!((docs.len().unwrap(), docs.stats().unwrap().passed_over), (3, None));
    assert_eq!(docs.verify().unwrap().problems, Vec::<String>::new());
    assert!(!disk.files().contains(&newest));
}

/// What the writer does to the files of a reader: new rows, merges, old files gone.
fn churn(docs: &Collection, round: u64) {
    docs.upsert(&[round % 7, 100 + round], &[1.0_f32, round as f32], ()).unwrap();
    docs.delete(&[round % 3]).unwrap();
    docs.compact().unwrap();
    docs.upsert(&[200 + round], &[2.0_f32], ()).unwrap();
}

#[test]
fn a_backup_by_a_reader_process_is_whole_whenever_the_writer_changes_the_files() {
    let disk = FaultDisk::new();
    let (db, docs) = open(&disk, false).unwrap();
    let docs = Arc::new(docs);
    docs.upsert(&[0, 1, 2, 3], &[0.0_f32, 1.0, 2.0, 3.0], ()).unwrap();
    docs.compact().unwrap();
    docs.delete(&[3]).unwrap();
    docs.compact().unwrap();
    let mut copied = 0;
    for at in 0.. {
        let image = format!("/copy-{at}");
        let reader = database(&disk, settings(), true).unwrap();
        let seen = reader.open_collection("docs").unwrap();
        churn(&docs, at);
        let before = state_of(&docs).unwrap();
        // At the read of this number the writer gets its turn, three times over.
        let (reads, done) = (AtomicU64::new(0), Arc::new(AtomicBool::new(false)));
        let (writer, was) = (docs.clone(), done.clone());
        disk.set_hook(Some(Arc::new(move |path: &Path| {
            let mine = path.starts_with("/db/docs") && !was.load(Ordering::Relaxed);
            if mine && reads.fetch_add(1, Ordering::Relaxed) == at {
                was.store(true, Ordering::Relaxed);
                (0..3).for_each(|more| churn(&writer, 1_000 * (more + 1) + at));
            }
        })));
        let result = reader.backup(&image);
        disk.set_hook(None);
        result.unwrap_or_else(|error| panic!("the writer at read {at}: {error}"));
        let options = OpenOptions::new().settings(settings()).disk(Arc::new(disk.clone()));
        let copy = options.open(&image).unwrap();
        let found = copy.open_collection("docs").unwrap();
        assert_eq!(found.verify().unwrap().problems, Vec::<String>::new(), "at read {at}");
        let found = state_of(&found).unwrap();
        let after = state_of(&docs).unwrap();
        // As it was at the beginning, or later.
        let steady = |id: &nearfield::Id| before.rows.get(id) == after.rows.get(id);
        for id in before.rows.keys().filter(|id| steady(id)) {
            assert_eq!(found.rows.get(id), before.rows.get(id), "{id}, at read {at}");
        }
        drop(seen);
        copied += 1;
        if !done.load(Ordering::Relaxed) {
            break;
        }
    }
    assert!(copied > 5, "{copied}");
    drop(db);
}

#[test]
fn a_panic_in_the_background_is_a_failure_that_is_told_and_holds_up_nobody() {
    let disk = FaultDisk::new();
    let mut busy = settings();
    busy.background = true;
    busy.memtable_bytes = 64 << 10;
    let db = database(&disk, busy, false).unwrap();
    let docs = db.collection("docs", Schema::new(64, Metric::L2)).unwrap();
    disk.set_hook(Some(Arc::new(|path: &Path| {
        assert!(!path.to_str().unwrap().ends_with(".nfs"), "a test panics");
    })));
    // Each write fills a memtable: more than wait for the disk at a time.
    let (sender, receiver) = mpsc::channel();
    let writer = docs.clone();
    let writing = std::thread::spawn(move || {
        let mut random = Random::new(3);
        let answers = (0..6).map(|round: u64| {
            let ids: Vec<u64> = (round * 300..(round + 1) * 300).collect();
            writer.upsert(&ids, random.vector(300 * 64), ()).map_err(|error| error.to_string())
        });
        drop(sender.send(answers.collect::<Vec<_>>()));
    });
    let answers = receiver.recv_timeout(Duration::from_secs(60)).expect("writers hang");
    writing.join().unwrap();
    assert!(answers[0].is_ok());
    let refused = answers.iter().find_map(|answer| answer.as_ref().err()).unwrap();
    assert!(refused.contains("panic"), "{refused}");
    let told = docs.stats().unwrap().background_failure.unwrap();
    assert!(told.contains("a test panics"), "{told}");
    disk.set_hook(None);
    let end = Instant::now() + Duration::from_secs(60);
    while docs.stats().unwrap().background_failure.is_some() {
        assert!(Instant::now() < end, "it is not tried again");
        std::thread::sleep(Duration::from_millis(5));
    }
    docs.upsert(&[9_000], &[0.0; 64], ()).unwrap();
    let rows = docs.len().unwrap();
    db.close().unwrap();
    let db = database(&disk, settings(), false).unwrap();
    assert_eq!(db.open_collection("docs").unwrap().len().unwrap(), rows);
}

#[test]
fn a_file_that_cannot_be_created_for_now_stops_no_later_write() {
    let mut refused = 0;
    for durability in [Durability::Sync, Durability::Buffered] {
        for at in 0..40 {
            let disk = FaultDisk::new();
            let mut settings = settings();
            settings.durability = durability;
            let db = database(&disk, settings, false).unwrap();
            let docs = db.collection("docs", Schema::new(1, Metric::L2)).unwrap();
            disk.record();
            let at = disk.operations() + at;
            // As where too many files are open.
            disk.plan(Some(Fault::Fail { at, kind: io::ErrorKind::Other, forever: false }));
            let results = [
                docs.upsert(&[1], &[1.0_f32], ()).map(drop),
                docs.compact().map(drop),
                docs.upsert(&[2], &[2.0_f32], ()).map(drop),
            ];
            disk.plan(None);
            let log = disk.log();
            let failed = log.iter().find(|line| line.contains("fails"));
            let Some(failed) = failed.filter(|line| line.contains(" create ")) else { continue };
            let error = results.iter().find_map(|result| result.as_ref().err()).unwrap();
            assert!(matches!(error, Error::Io { .. }), "{failed}: {error:?}");
            refused += 1;
            docs.upsert(&[3], &[3.0_f32], ()).unwrap();
            docs.compact().unwrap();
            let rows = docs.len().unwrap();
            assert_eq!(rows, results.iter().step_by(2).filter(|done| done.is_ok()).count() + 1);
            db.close().unwrap();
            drop((db, docs));
            assert_eq!(open(&disk, false).unwrap().1.len().unwrap(), rows, "{failed}");
        }
    }
    assert!(refused > 6, "{refused}");
}

#[test]
fn files_whose_numbers_leave_none_for_others_are_strangers() {
    let disk = FaultDisk::new();
    let (db, docs) = open(&disk, false).unwrap();
    docs.upsert(&[1], &[1.0_f32], ()).unwrap();
    db.close().unwrap();
    drop((db, docs));
    for name in [
        "wal-18446744073709551615.log",
        "MANIFEST-18446744073709551615",
        "seg-18446744073709551615.nfs",
    ] {
        drop(disk.create(&Path::new("/db/docs").join(name)).unwrap());
    }
    for _ in 0..2 {
        let (db, docs) = open(&disk, false).unwrap();
        docs.upsert(&[2], &[2.0_f32], ()).unwrap();
        docs.compact().unwrap();
        assert_eq!((docs.len().unwrap(), docs.verify().unwrap().problems.len()), (2, 0));
        db.close().unwrap();
    }
    assert_eq!(named(&disk, "18446744073709551615").len(), 3);
}

#[test]
fn a_repair_is_refused_when_rows_were_logged_meanwhile() {
    let disk = FaultDisk::new();
    let (_db, docs) = open(&disk, false).unwrap();
    docs.upsert(&[1, 2], &[0.0_f32, 1.0], ()).unwrap();
    docs.compact().unwrap();
    let mut written = false;
    let write = |_, _| {
        if !std::mem::replace(&mut written, true) {
            docs.upsert(&[77], &[0.0_f32], ()).unwrap();
        }
        true
    };
    let options = RepairOptions::new().disk(Arc::new(disk.clone())).progress(write);
    let error = Database::repair("/db", "/new", options).unwrap_err();
    assert!(error.to_string().contains("close it first"), "{error}");
}
