//! A database as one file: it answers as the directory does, wherever it lies, is only read, and whatever is
//! done to its bytes is an error or changes nothing.

#![expect(clippy::disallowed_methods, reason = "files around a packed database, and damage to it")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use nearfield::testing::{Disk, Fault, FaultDisk};
use nearfield::{
    Database, DoctorOptions, Durability, Error, Fields, IdType, Metric, OpenOptions, RepairOptions,
    Result, Schema, Settings, Vectors,
};

use crate::common::{Random, Scratch};
use crate::damage::{ask_at, database};
use crate::formats::{DATABASES, check_whole, fixture, reader, writer};

fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.background = false;
    settings.threads = 1;
    settings
}

fn on(disk: &FaultDisk) -> OpenOptions {
    OpenOptions::new().settings(settings()).disk(Arc::new(disk.clone()))
}

#[test]
fn packed_databases_answer_as_their_directories_do_and_unpack_into_them() {
    for name in DATABASES {
        let (dir, path, facts) = fixture(name);
        let [read, written, around, back] =
            ["read", "written", "around", "back"].map(|name| dir.path().join(name));
        reader(&path).pack(&read).unwrap();
        check_whole(&reader(&read), &facts);
        // What a reader packs is what it sees, logs included; a writer leaves none.
        let db = writer(&path);
        db.pack(&written).unwrap();
        let packed = reader(&written);
        assert_eq!(packed.collections().unwrap(), db.collections().unwrap());
        for name in db.collections().unwrap() {
            let stats = |db: &Database| db.open_collection(&name).unwrap().stats().unwrap();
            assert_eq!(stats(&packed).rows, stats(&db).rows);
            assert_eq!(stats(&packed).memtable_rows, 0, "{name}");
        }
        let before = [&[1; 192][..], &fs::read(&read).unwrap(), b"behind it"].concat();
        fs::write(&around, before).unwrap();
        let inside = OpenOptions::new().read_only(true).offset(192).open(&around).unwrap();
        check_whole(&inside, &facts);
        inside.backup(&back).unwrap();
        check_whole(&writer(&back), &facts);
        let unpacked = dir.path().join("unpacked");
        Database::unpack(&read, &unpacked).unwrap();
        check_whole(&writer(&unpacked), &facts);
        // From a packed one as from any other.
        inside.pack(dir.path().join("again")).unwrap();
        check_whole(&reader(&dir.path().join("again")), &facts);
    }
}

#[test]
fn what_is_logged_but_nowhere_else_is_packed_whoever_packs() {
    for durability in [Durability::Sync, Durability::Buffered, Durability::None] {
        for by_reader in [false, true] {
            let scratch = Scratch::new();
            let file = scratch.dir.path().join("file");
            let options = OpenOptions::new().settings(settings()).durability(durability);
            let db = options.open(scratch.path()).unwrap();
            let docs = db.collection("docs", Schema::new(1, Metric::L2)).unwrap();
            docs.upsert(&[1_u64, 2, 3], &[1.0_f32, 2.0, 3.0], ()).unwrap();
            docs.compact().unwrap();
            docs.delete(&[1_u64]).unwrap();
            docs.upsert(&[2_u64, 4], &[5.0_f32, 4.0], ()).unwrap();
            if by_reader {
                docs.flush().unwrap();
                scratch.reader().pack(&file).unwrap();
            } else {
                db.pack(&file).unwrap();
            }
            let packed = reader(&file);
            let docs = packed.open_collection("docs").unwrap();
            let all = docs.get(&[1_u64, 2, 3, 4], &Fields::all().with_vectors()).unwrap();
            assert_eq!(all.ids, [2_u64, 3, 4].map(nearfield::Id::from));
            let vectors = all.vectors.unwrap();
            assert!(matches!(vectors, Vectors::F32(vectors) if *vectors == [5.0, 3.0, 4.0]));
            assert_eq!(docs.verify().unwrap().problems, [""; 0]);
            assert!(!docs.refresh().unwrap());
        }
    }
}

#[test]
fn a_packed_database_is_only_read_and_says_what_to_do() {
    let scratch = Scratch::new();
    let file = scratch.dir.path().join("file");
    let db = scratch.open();
    db.collection("docs", Schema::new(1, Metric::L2)).unwrap();
    db.pack(&file).unwrap();
    let refused = |result: Result<()>| match result {
        Err(error @ Error::ReadOnly(_)) => {
            assert!(error.to_string().contains("unpack it into a directory"), "{error}");
        }
        other => panic!("{other:?}"),
    };
    refused(Database::open(&file).map(drop));
    refused(OpenOptions::new().offset(64).open(scratch.dir.path().join("absent")).map(drop));
    let packed = reader(&file);
    assert!(packed.is_read_only());
    assert_eq!(packed.path(), file);
    let docs = packed.open_collection("docs").unwrap();
    refused(docs.upsert(&[1_u64], &[1.0_f32], ()).map(drop));
    refused(docs.delete(&[1_u64]).map(drop));
    refused(docs.compact().map(drop));
    refused(docs.flush());
    refused(packed.create_collection("new", Schema::new(1, Metric::L2)).map(drop));
    refused(packed.drop_collection("docs"));
    refused(packed.rename_collection("docs", "texts"));
    assert_eq!(fs::read_dir(scratch.dir.path()).unwrap().count(), 2, "nothing beside the two");
    // Others may have it open, and may put a new one in its place.
    let second = reader(&file);
    docs.search(&[1.0_f32]).run().unwrap();
    db.collection("more", Schema::new(1, Metric::L2)).unwrap();
    let newer = scratch.dir.path().join("newer");
    db.pack(&newer).unwrap();
    fs::rename(&newer, &file).unwrap();
    assert_eq!(second.collections().unwrap(), ["docs"]);
    assert_eq!(docs.verify().unwrap().problems, [""; 0]);
    assert!(!docs.refresh().unwrap());
    assert_eq!(reader(&file).collections().unwrap(), ["docs", "more"]);
}

#[test]
fn what_is_no_packed_database_is_refused_by_name() {
    let scratch = Scratch::new();
    let at = |name: &str| scratch.dir.path().join(name);
    let db = scratch.open();
    db.collection("docs", Schema::new(1, Metric::L2)).unwrap();
    db.pack(at("file")).unwrap();
    fs::write(at("text"), [b'x'; 9_000]).unwrap();
    let open = |path: &Path, offset: Option<u64>| {
        let options = OpenOptions::new().read_only(true);
        let options = match offset {
            Some(offset) => options.offset(offset),
            None => options,
        };
        options.open(path).unwrap_err().to_string()
    };
    assert!(open(&at("text"), None).contains("or a file that pack has written"));
    assert!(open(&at("text"), Some(64)).contains("holds no packed database at offset 64"));
    assert!(open(&at("file"), Some(4096)).contains("holds no packed database at offset 4096"));
    assert!(open(&at("file"), Some(1 << 50)).contains("holds no packed database"));
    assert!(open(&at("file"), Some(100)).contains("expected a multiple of 64"));
    assert!(open(&scratch.path(), Some(0)).contains("leave the offset out"));
    assert!(open(&at("absent"), Some(0)).contains("not found"));
    let unpack = |from: &Path, to: &Path| Database::unpack(from, to).unwrap_err().to_string();
    assert!(unpack(&scratch.path(), &at("new")).contains("backup copies it"));
    assert!(unpack(&at("file"), &at("text")).contains("exists already"));
    let pack = |to: &Path| db.pack(to).unwrap_err().to_string();
    assert!(pack(&at("text")).contains("exists already"));
    assert!(pack(&scratch.path().join("inside")).contains("is inside the database"));
    let cancelled = db.pack_while(at("new"), |_, _| false);
    if !matches!(cancelled, Ok(())) {
        assert!(matches!(cancelled, Err(Error::Cancelled)), "{cancelled:?}");
        assert!(!at("new").exists());
    }
    assert_eq!(
        fs::read_dir(scratch.dir.path()).unwrap().count(),
        if at("new").exists() { 4 } else { 3 }
    );
}

#[test]
fn a_pack_that_fails_half_way_leaves_nothing() {
    let (disk, _) = database(IdType::U64, Durability::Sync);
    let started = disk.operations();
    let db = on(&disk).read_only(true).open("/db").unwrap();
    db.pack("/db.pack").unwrap();
    let operations = disk.operations() - started;
    assert!(operations > 10, "{operations}");
    let (disk, _) = database(IdType::U64, Durability::Sync);
    let before = disk.files();
    for at in 0..operations {
        let image = disk.kill_image();
        let db = on(&image).read_only(true).open("/db").unwrap();
        let fault = Fault::Fail { at, kind: std::io::ErrorKind::StorageFull, forever: false };
        image.plan(Some(fault));
        let packed = db.pack("/db.pack");
        image.plan(None);
        match packed {
            Ok(()) => ask_at(&image, "/db.pack", true).map(drop).unwrap(),
            Err(Error::Full { .. }) => assert_eq!(image.files(), before),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn whatever_happens_to_the_bytes_is_an_error_or_changes_nothing() {
    let (disk, _) = database(IdType::Utf8, Durability::Sync);
    on(&disk).read_only(true).open("/db").unwrap().pack("/db.pack").unwrap();
    let path = Path::new("/db.pack");
    let len = disk.read(path, 0).unwrap().len();
    let right = ask_at(&disk, "/db", true).unwrap();
    assert_eq!(ask_at(&disk, "/db.pack", true).unwrap(), right);
    assert_eq!(right.2, [""; 0]);
    let mut random = Random::new(3);
    let mut noticed = 0;
    for case in 0..300 {
        let image = disk.kill_image();
        let at = match case % 3 {
            0 => random.below(1_000) as usize,
            1 => random.below(len as u64 / 4_096) as usize * 4_096 + random.below(128) as usize,
            _ => random.below(len as u64) as usize,
        };
        let bit = 1 << random.below(8);
        image
            .edit(path, |bytes| match case % 7 {
                0 => bytes.truncate(at),
                _ => bytes[at] ^= bit,
            })
            .unwrap();
        match ask_at(&image, "/db.pack", true) {
            Err(
                Error::Corrupt { .. }
                | Error::Incompatible { .. }
                | Error::InvalidArgument(_)
                | Error::NotFound { .. }
                | Error::Io { .. },
            ) => noticed += 1,
            Err(other) => panic!("byte {at}: {other}"),
            // Damage to what rows give costs no answer, and is told.
            Ok((state, hits, problems)) => {
                assert_eq!((&state, &hits), (&right.0, &right.1), "byte {at}");
                assert_ne!(problems, [""; 0], "byte {at}");
                noticed += 1;
            }
        }
    }
    assert_eq!(noticed, 300);
}

#[test]
fn a_doctor_looks_at_a_packed_database_and_a_repair_saves_what_is_whole_of_it() {
    let (disk, states) = database(IdType::U64, Durability::Sync);
    on(&disk).read_only(true).open("/db").unwrap().pack("/db.pack").unwrap();
    let options = DoctorOptions::new().verify(true).disk(Arc::new(disk.clone()));
    let report = Database::doctor("/db.pack", options);
    assert_eq!(report.problems, [""; 0]);
    assert!(report.to_string().contains("docs"), "{report}");
    let options = RepairOptions::new().disk(Arc::new(disk.clone()));
    let report = Database::repair("/db.pack", "/new", options).unwrap();
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(&ask_at(&disk, "/new", false).unwrap().0, states.last().unwrap());
}
