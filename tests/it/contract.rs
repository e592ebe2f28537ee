//! Promises of docs/durability.md that no other subject has: torn writes of several parts, what a full disk
//! is left with, background work that fails, strangers in the directory.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nearfield::testing::{Disk, FaultDisk};
use nearfield::{
    Attributes, Collection, Column, DataType, Database, Error, IdType, Metric, OpenOptions, Schema,
    Settings,
};

use crate::common::{Random, Scratch, notes, notes_schema};

fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.background = false;
    settings.threads = 1;
    settings
}

fn open(disk: &FaultDisk, settings: Settings) -> Database {
    OpenOptions::new().settings(settings).disk(Arc::new(disk.clone())).open("/db").unwrap()
}

fn year() -> [Column; 1] {
    [Column { name: "year".into(), data_type: DataType::Int64, text: false }]
}

#[test]
fn a_torn_write_leaves_no_column_and_no_kind_of_id_behind() {
    let disk = FaultDisk::new();
    let db = open(&disk, settings());
    let docs = db.collection("docs", Schema::new(1, Metric::L2)).unwrap();
    let years = notes(&[None], &[Some(2_019)]).project(&[1]).unwrap();
    let attributes = Attributes::from(&years);
    docs.add(&["a"], &[0.5_f32], attributes.adding(&year())).unwrap();
    // Not closed: a manifest would say how far the log goes.
    let disk = disk.kill_image();
    drop((db, docs));
    let ends = |path: &std::path::PathBuf| path.extension().is_some_and(|end| end == "log");
    let log = disk.files().into_iter().find(ends).unwrap();
    let len = disk.read(&log, 0).unwrap().len();
    let (mut whole, mut nothing) = (0, 0);
    for cut in (0..=len).filter(|cut| *cut < 1_500 || cut % 256 == 0) {
        let image = disk.kill_image();
        image.edit(&log, |bytes| bytes.truncate(cut)).unwrap();
        // A reader, a writer, and a writer after one that has written something else.
        let reader = OpenOptions::new().read_only(true).disk(Arc::new(image.clone()));
        let reader = reader.open("/db").unwrap().open_collection("docs").unwrap();
        let is_clean = |docs: &Collection| {
            let schema = docs.schema().unwrap();
            let rows = docs.len().unwrap();
            assert_eq!(schema.columns().len(), rows, "cut at {cut}");
            assert_eq!(schema.id_type().is_some(), rows > 0, "cut at {cut}");
            rows == 0
        };
        is_clean(&reader);
        let db = open(&image, settings());
        let docs = db.open_collection("docs").unwrap();
        if !is_clean(&docs) {
            whole += 1;
            continue;
        }
        nothing += 1;
        docs.add(&[7_u64], &[1.5_f32], ()).unwrap();
        drop((db, docs));
        let docs = open(&image, settings()).open_collection("docs").unwrap();
        let schema = docs.schema().unwrap();
        assert_eq!((schema.columns().len(), schema.id_type()), (0, Some(IdType::U64)));
        assert_eq!((docs.len().unwrap(), docs.verify().unwrap().problems.len()), (1, 0));
    }
    assert!(whole > 0 && nothing > 100, "{whole} whole, {nothing} without");
}

#[test]
fn a_switch_that_finds_no_room_leaves_no_file() {
    let mut refused = 0;
    for room in (0..6_000).step_by(150) {
        let disk = FaultDisk::new();
        let db = open(&disk, settings());
        let docs = db.collection("docs", notes_schema(2, Metric::L2)).unwrap();
        docs.upsert(&[1, 2, 3], &[0.0_f32; 6], ()).unwrap();
        docs.compact().unwrap();
        // Another import is to write tombstones for these.
        docs.delete(&[1]).unwrap();
        let before = disk.files();
        let generation = docs.stats().unwrap().generation;
        let bytes: u64 = before.iter().map(|path| disk.read(path, 0).unwrap().len() as u64).sum();
        disk.set_capacity(Some(bytes + room));
        match docs.compact() {
            Ok(_) => break,
            Err(Error::Full { .. }) => refused += 1,
            Err(error) => panic!("{error}"),
        }
        let names: Vec<String> = disk.files().iter().map(|p| p.display().to_string()).collect();
        assert!(names.iter().all(|name| !name.ends_with(".tmp")), "{names:?}");
        let dead = names.iter().filter(|name| name.ends_with(".del")).count();
        let switched = docs.stats().unwrap().generation > generation;
        assert!(dead == 0 || switched, "{room} bytes of room: {names:?}");
        disk.set_capacity(None);
        docs.compact().unwrap();
        assert_eq!(docs.len().unwrap(), 2);
    }
    assert!(refused > 5, "{refused}");
}

#[test]
fn failing_background_work_is_told_by_stats_and_heals() {
    let disk = FaultDisk::new();
    let mut busy = settings();
    busy.background = true;
    busy.memtable_bytes = 64 << 10;
    let db = open(&disk, busy);
    let docs = db.collection("docs", Schema::new(64, Metric::L2)).unwrap();
    let mut random = Random::new(3);
    // Each write fills a memtable.
    let mut write = |from: u64| {
        let ids: Vec<u64> = (from..from + 300).collect();
        docs.upsert(&ids, random.vector(300 * 64), ()).unwrap();
    };
    let wait = |what: &str, is_there: &dyn Fn() -> bool| {
        let end = Instant::now() + Duration::from_secs(60);
        while !is_there() {
            assert!(Instant::now() < end, "{what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    let failure = || docs.stats().unwrap().background_failure;
    write(0);
    wait("it is flushed", &|| docs.stats().unwrap().memtable_rows == 0);
    assert_eq!(failure(), None);
    // Room for the log of what follows, not for a segment of it.
    let used = |path: &std::path::PathBuf| disk.read(path, 0).map_or(0, |bytes| bytes.len() as u64);
    disk.set_capacity(Some(disk.files().iter().map(used).sum::<u64>() + 120_000));
    write(300);
    wait("a failure is told", &|| failure().is_some());
    assert!(failure().unwrap().contains("no space left"));
    assert_eq!(docs.len().unwrap(), 600);
    disk.set_capacity(None);
    wait("it is tried again", &|| failure().is_none());
    wait("it is flushed", &|| docs.stats().unwrap().memtable_rows == 0);
    write(600);
    assert_eq!(docs.len().unwrap(), 900);
    db.close().unwrap();
}

#[expect(clippy::disallowed_methods, reason = "files that are not those of a database")]
#[test]
fn what_lies_beside_the_collections_is_none_of_them_and_left_alone() {
    let scratch = Scratch::new();
    let db = scratch.open();
    let docs = db.collection("docs", notes_schema(2, Metric::L2)).unwrap();
    docs.upsert(&[1], &[0.0_f32, 1.0], ()).unwrap();
    for dir in ["empty", "papers"] {
        std::fs::create_dir(scratch.path().join(dir)).unwrap();
    }
    for file in ["papers/a.pdf", "note.txt", "docs/README"] {
        std::fs::write(scratch.path().join(file), "mine").unwrap();
    }
    std::fs::create_dir(scratch.path().join("docs/mine")).unwrap();
    let there = || {
        let mine = |file: &str| std::fs::read(scratch.path().join(file)).unwrap() == b"mine";
        ["papers/a.pdf", "note.txt", "docs/README"].iter().all(|file| mine(file))
    };
    assert_eq!(db.collections().unwrap(), ["docs"]);
    for name in ["papers", "empty"] {
        let refused = db.collection(name, Schema::new(1, Metric::L2)).unwrap_err().to_string();
        assert!(refused.contains("in the way"), "{refused}");
        assert!(matches!(db.open_collection(name), Err(Error::NotFound { .. })));
    }
    let copy = scratch.dir.path().join("copy.nf");
    db.backup(&copy).unwrap();
    let restored = scratch.dir.path().join("restored.nf");
    Database::restore(&copy, &restored).unwrap();
    assert_eq!(Database::open(&restored).unwrap().collections().unwrap(), ["docs"]);
    docs.compact().unwrap();
    assert_eq!(docs.verify().unwrap().problems, Vec::<String>::new());
    db.close().unwrap();
    let db = scratch.open();
    assert_eq!(db.open_collection("docs").unwrap().len().unwrap(), 1);
    assert!(there() && !copy.join("papers").exists());
    assert!(Path::new(&scratch.path().join("docs/mine")).is_dir());
}
