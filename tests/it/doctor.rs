//! What the doctor tells of a database: enough for a report of a defect, nothing of its data, whatever is
//! damaged.

#![expect(clippy::disallowed_methods, reason = "damage is done to the file itself")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use nearfield::testing::FaultDisk;
use nearfield::{
    Column, DataType, Database, DoctorOptions, DoctorReport, Error, Metric, OpenOptions, Schema,
    Settings,
};

use crate::common::{Random, Scratch, notes};
use crate::sections::sections;

/// What is done to the bytes of a file.
type Damage<'a> = &'a dyn Fn(&[u8]) -> Vec<u8>;

/// A database with data that must not be told: one segment, and a log.
fn database(path: &Path) -> Database {
    let mut settings = Settings::default();
    settings.background = false;
    settings.graph_bytes = 0;
    let db = OpenOptions::new().settings(settings).open(path).unwrap();
    let schema = Schema::new(8, Metric::L2)
        .column("note", DataType::Utf8)
        .column("year", DataType::Int64)
        .text("secretbody");
    let docs = db.collection("docs", schema).unwrap();
    let mut random = Random::new(8);
    let ids: Vec<String> = (0..40).map(|row| format!("secretid{row}")).collect();
    let texts = vec![Some("secretnote"); 40];
    let vectors: Vec<f32> = ids.iter().flat_map(|_| random.vector(8)).collect();
    docs.upsert(ids.clone(), &vectors, &notes(&texts, &[Some(718_281); 40])).unwrap();
    docs.compact().unwrap();
    docs.delete(&[ids[0].as_str()]).unwrap();
    db
}

fn doctor(path: &Path) -> DoctorReport {
    Database::doctor(path, DoctorOptions::new().verify(true))
}

fn facts(report: &DoctorReport, what: &str) -> Vec<String> {
    let facts = report.parts.iter().flat_map(|part| &part.facts);
    facts.filter(|(name, _)| *name == what).map(|(_, fact)| fact.clone()).collect()
}

/// Fails when a report tells what is in the rows, or a directory that was not given.
fn assert_discreet(report: &DoctorReport, path: &Path) {
    let text = report.to_string();
    for secret in ["secret", "718281", "\"note\"", "\"year\""] {
        assert!(!text.contains(secret), "{secret}:\n{text}");
    }
    let given = format!("  directory      {}\n", path.display());
    assert!(text.contains(&given), "{text}");
    let parent = path.parent().unwrap().to_str().unwrap();
    assert!(!text.replace(&given, "").contains(parent), "{text}");
}

#[test]
fn a_whole_database_is_told_without_its_data() {
    let scratch = Scratch::new();
    let db = database(&scratch.path());
    fs::create_dir(scratch.path().join(".new-00ff")).unwrap();
    fs::write(scratch.path().join("secretfile"), "x").unwrap();
    for name in ["secretfile", "MANIFEST-secret.tmp"] {
        fs::write(scratch.path().join("docs").join(name), "x").unwrap();
    }
    for name in ["docs/secretdir", ".new-secret", "../.new-secret"] {
        fs::create_dir(scratch.path().join(name)).unwrap();
    }
    let report = doctor(&scratch.path());
    assert_eq!(report.problems, [""; 0]);
    assert_discreet(&report, &scratch.path());
    let names: Vec<&str> = report.parts.iter().map(|part| part.name.as_str()).collect();
    let version = concat!("nearfield ", env!("CARGO_PKG_VERSION"));
    assert_eq!(names, [version, "database", "collection docs"]);
    assert_eq!(facts(&report, "columns"), ["utf8, int64, utf8 (indexed, language english)"]);
    assert_eq!(facts(&report, "vectors"), ["8 dimensions, f32, l2"]);
    assert_eq!(facts(&report, "rows"), ["39, 1 dead"]);
    let segment = facts(&report, "segment").join("");
    assert!(segment.contains("40 rows, 1 dead") && segment.contains("graph by"), "{segment}");
    assert!(facts(&report, "verified")[0].ends_with(" 0 problems"));
    assert!(facts(&report, "left over")[0].starts_with(".new-00ff"));
    assert_eq!(facts(&report, "not ours"), ["2 files or directories"]);
    let files = facts(&report, "file");
    for kind in ["MANIFEST-", "wal-", ".nfs", ".attr"] {
        assert!(files.iter().any(|file| file.contains(kind)), "{kind}: {files:?}");
    }
    let foreign = files.iter().filter(|file| file.as_str() == "1 bytes, not ours");
    assert_eq!(foreign.count(), 2, "{files:?}");
    assert!(files.contains(&"a directory, not ours".to_owned()), "{files:?}");
    let writer = &facts(&report, "writer")[0];
    let own = format!("pid {}, command ", std::process::id());
    assert!(writer.starts_with(&own) && !writer.contains('/'), "{writer}");
    db.close().unwrap();
    assert_eq!(facts(&doctor(&scratch.path()), "writer"), ["nobody"]);
    let named = Database::doctor(scratch.path(), DoctorOptions::new().names(true));
    assert!(facts(&named, "columns")[0].starts_with("\"note\" utf8, \"year\" int64"));
}

#[test]
fn a_file_that_no_manifest_names_is_told() {
    let scratch = Scratch::new();
    database(&scratch.path()).close().unwrap();
    fs::write(scratch.path().join("docs").join("seg-000999.nfs"), "left").unwrap();
    let files = facts(&doctor(&scratch.path()), "file");
    let unnamed: Vec<&String> = files.iter().filter(|file| file.contains("no manifest")).collect();
    assert_eq!(unnamed, ["seg-000999.nfs, 4 bytes, named by no manifest that counts"]);
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

/// The second collection is told whole whatever happens to the first.
#[test]
fn whatever_is_damaged_is_told_and_the_rest_as_well() {
    let scratch = Scratch::new();
    let db = database(&scratch.path());
    db.collection("zoo", Schema::new(1, Metric::L2)).unwrap().upsert(&[1], &[1.0_f32], ()).unwrap();
    db.close().unwrap();
    let damages: [(&str, Damage<'_>); 4] = [
        ("emptied", &|_| Vec::new()),
        // Of a log, more than the zeros behind it.
        ("cut", &|bytes| bytes[..bytes.len() / 32].to_vec()),
        ("flipped", &|bytes| {
            let mut bytes = bytes.to_vec();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            bytes[0] ^= 1;
            bytes
        }),
        ("noise", &|bytes| {
            bytes.iter().map(|byte| byte.wrapping_mul(31).wrapping_add(7)).collect()
        }),
    ];
    let all = files(&scratch.path().join("docs"));
    let newest = all.iter().rfind(|path| path.to_string_lossy().contains("MANIFEST")).unwrap();
    for path in &all {
        let whole = fs::read(path).unwrap();
        for (what, damage) in damages {
            fs::write(path, damage(&whole)).unwrap();
            let report = doctor(&scratch.path());
            assert_discreet(&report, &scratch.path());
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(!report.problems.is_empty(), "{name} {what}:\n{report}");
            assert!(
                report.problems.iter().all(|problem| problem.starts_with("docs: ")),
                "{report}"
            );
            let zoo = report.parts.last().unwrap();
            assert!(
                zoo.name == "collection zoo" && zoo.facts.contains(&("rows", "1, 0 dead".into()))
            );
            if path == newest {
                assert_eq!(facts(&report, "passed over").len(), 1, "{what}:\n{report}");
            }
            fs::write(path, &whole).unwrap();
        }
    }
    fs::remove_file(scratch.path().join("LOCK")).unwrap();
    let report = doctor(&scratch.path());
    assert_eq!(report.problems.len(), 1, "{report}");
    assert_eq!(facts(&report, "vectors").len(), 2, "{report}");
}

/// Reading panics, as a defect would have it, with a message that holds data.
#[test]
fn a_panic_is_told_without_what_it_says() {
    let disk = FaultDisk::new();
    let path = Path::new("/db.nf");
    let db = OpenOptions::new().disk(Arc::new(disk.clone())).open(path).unwrap();
    db.collection("docs", Schema::new(1, Metric::L2)).unwrap();
    db.close().unwrap();
    let ask = |message: fn()| {
        disk.set_hook(Some(Arc::new(move |path: &Path| {
            if path.to_string_lossy().contains("MANIFEST") {
                message();
            }
        })));
        Database::doctor(path, DoctorOptions::new().disk(Arc::new(disk.clone()))).problems
    };
    let told = ask(|| panic!("not a boundary of {}", ["secret", "text"].join(" ")));
    assert_eq!(told, ["docs: a panic: what it says may be data, and is on standard error"]);
    assert_eq!(ask(|| panic!("a plain defect")), ["docs: a panic: a plain defect"]);
}

/// Columns may be in the log alone, and the type of ids.
#[test]
fn a_schema_is_told_as_it_is_once_the_log_is_read() {
    let scratch = Scratch::new();
    let mut settings = Settings::default();
    settings.background = false;
    let db = OpenOptions::new().settings(settings).open(scratch.path()).unwrap();
    let docs = db.collection("docs", Schema::new(2, Metric::L2).column("first", DataType::Int64));
    let docs = docs.unwrap();
    docs.upsert(&["a"], &[0.0_f32, 1.0], ()).unwrap();
    let later = Column { name: "secretlater".into(), data_type: DataType::Utf8, text: false };
    docs.add_columns(&[later]).unwrap();
    let report = doctor(&scratch.path());
    assert_eq!(facts(&report, "columns"), ["int64, utf8"], "{report}");
    assert_eq!(facts(&report, "ids"), ["utf8"]);
    assert_eq!(facts(&report, "rows"), ["1, 0 dead"]);
    assert_discreet(&report, &scratch.path());
    let named = Database::doctor(scratch.path(), DoctorOptions::new().names(true));
    assert_eq!(facts(&named, "columns"), ["\"first\" int64, \"secretlater\" utf8"]);
}

/// One problem each, whether or not all bytes are read.
#[test]
fn a_damaged_manifest_and_a_damaged_graph_are_told_once() {
    let scratch = Scratch::new();
    database(&scratch.path()).close().unwrap();
    let all = files(&scratch.path().join("docs"));
    let newest = all.iter().rfind(|path| path.to_string_lossy().contains("MANIFEST")).unwrap();
    let whole = fs::read(newest).unwrap();
    fs::write(newest, "").unwrap();
    for verify in [false, true] {
        let options = DoctorOptions::new().verify(verify);
        let problems = Database::doctor(scratch.path(), options).problems;
        assert!(problems.len() == 1 && problems[0].contains("passed over"), "{problems:?}");
    }
    fs::write(newest, whole).unwrap();
    let segment = all.iter().rfind(|path| path.to_string_lossy().ends_with(".nfs")).unwrap();
    let mut bytes = fs::read(segment).unwrap();
    let statistics = sections(&bytes).into_iter().find(|section| section.tag == "STAT").unwrap();
    bytes[statistics.offset] ^= 1;
    fs::write(segment, bytes).unwrap();
    for (verify, told) in [(false, "is damaged in STAT"), (true, "is corrupt in STAT")] {
        let options = DoctorOptions::new().verify(verify);
        let problems = Database::doctor(scratch.path(), options).problems;
        let statistics = problems.iter().filter(|problem| problem.contains("STAT"));
        assert!(problems[0].contains(told) && statistics.count() == 1, "{problems:?}");
    }
}

/// A writer that switches manifests between the listing and the reading of them is no damage.
#[test]
fn what_a_writer_removes_meanwhile_is_looked_for_again() {
    let disk = FaultDisk::new();
    let path = Path::new("/db.nf");
    let mut settings = Settings::default();
    settings.background = false;
    let options = OpenOptions::new().settings(settings).disk(Arc::new(disk.clone()));
    let docs = options.open(path).unwrap().collection("docs", Schema::new(1, Metric::L2)).unwrap();
    docs.upsert(&[0], &[0.0_f32], ()).unwrap();
    docs.compact().unwrap();
    let (writer, left) = (docs.clone(), AtomicUsize::new(1));
    let count = |left: &AtomicUsize| left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
    disk.set_hook(Some(Arc::new(move |path: &Path| {
        let is_manifest = path.to_string_lossy().contains("MANIFEST");
        if is_manifest && count(&left).is_ok() {
            for id in 1..4 {
                writer.upsert(&[id], &[0.0_f32], ()).unwrap();
                writer.compact().unwrap();
            }
        }
    })));
    let report = Database::doctor(path, DoctorOptions::new().disk(Arc::new(disk.clone())));
    disk.set_hook(None);
    assert_eq!(report.problems, [""; 0], "{report}");
    assert_eq!(facts(&report, "rows"), ["4, 0 dead"]);
}

#[test]
fn a_lock_that_somebody_only_looks_at_is_waited_for() {
    let scratch = Scratch::new();
    scratch.open().close().unwrap();
    let lock = fs::File::open(scratch.path().join("LOCK")).unwrap();
    lock.lock_shared().unwrap();
    let (looking, looked) = std::sync::mpsc::channel();
    let looker = std::thread::spawn(move || {
        looking.send(()).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        drop(lock);
    });
    looked.recv().unwrap();
    let db = Database::open(scratch.path()).unwrap();
    looker.join().unwrap();
    assert!(matches!(Database::open(scratch.path()), Err(Error::Locked { .. })));
    db.close().unwrap();
}

#[test]
fn what_is_read_is_told_and_ends_where_it_is_to() {
    let scratch = Scratch::new();
    let db = database(&scratch.path());
    db.collection("zoo", Schema::new(1, Metric::L2)).unwrap().upsert(&[1], &[1.0_f32], ()).unwrap();
    let mut told = Vec::new();
    let tell = |done, total| {
        told.push((done, total));
        true
    };
    let report = Database::doctor(scratch.path(), DoctorOptions::new().verify(true).progress(tell));
    assert_eq!(report.problems, [""; 0]);
    assert!(told.is_sorted() && told.len() > 2, "{told:?}");
    assert!(told.iter().all(|(done, total)| done <= total && *total == told[0].1 && *total > 0));
    for end in [1, 2, 3] {
        let mut asked = 0;
        let stop = |_, _| {
            asked += 1;
            // Once only: what was told to end is not begun again.
            asked != end
        };
        let options = DoctorOptions::new().verify(true).progress(stop);
        let report = Database::doctor(scratch.path(), options);
        assert_eq!(report.problems.last().map(|problem| problem.contains("cancelled")), Some(true));
        assert!(!report.parts.iter().any(|part| part.name == "collection zoo"), "{report}");
    }
}

#[test]
fn numbers_are_in_the_report_beside_the_text() {
    let scratch = Scratch::new();
    let _db = database(&scratch.path());
    let report = doctor(&scratch.path());
    let numbers = report.parts.iter().find_map(|part| part.stats.as_ref()).unwrap();
    assert_eq!((numbers.rows, numbers.dead_rows, numbers.segments[0].rows), (39, 1, 40));
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(
        (&json["parts"][2]["stats"]["rows"], &json["parts"][1]["stats"]),
        (&39.into(), &serde_json::Value::Null)
    );
}

#[test]
fn what_is_no_database_is_told_and_nothing_is_made_of_it() {
    let scratch = Scratch::new();
    let report = doctor(&scratch.path());
    assert!(!report.problems.is_empty() && report.parts.len() == 2, "{report}");
    assert!(!scratch.path().exists());
    fs::write(scratch.path(), "a file").unwrap();
    assert!(!doctor(&scratch.path()).problems.is_empty());
    assert_eq!(fs::read(scratch.path()).unwrap(), b"a file");
}
