//! Files of a later version: refused with what to do, and nothing touched.

use std::fs;
use std::path::{Path, PathBuf};

use nearfield::{Database, Error, Index, OpenOptions, Result};
use xxhash_rust::xxh3::xxh3_128;

use super::{files, fixture, fixtures, reader, writer};

/// Where the masks are, in every binary file.
const READ_ONLY_COMPATIBLE: usize = 24;
const INCOMPATIBLE: usize = 32;
const LOG_HEADER: usize = 88;
const CONTAINER_HEADER: usize = 4_096;

/// Sets the highest bit of a mask, with the checksum that the file then has.
fn set_feature(path: &Path, mask: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[mask + 7] |= 0x80;
    let end = if bytes.starts_with(b"NEARFWAL") { LOG_HEADER } else { CONTAINER_HEADER } - 4;
    let checksum = crc32c::crc32c(&bytes[..end]);
    bytes[end..end + 4].copy_from_slice(&checksum.to_le_bytes());
    fs::write(path, bytes).unwrap();
}

/// Rewrites a manifest with the checksum that it then has.
fn edit_manifest(path: &Path, version: u32, edit: impl Fn(&str) -> String) {
    let text = fs::read_to_string(path).unwrap();
    let document = edit(text.split_once('\n').unwrap().1);
    let hash = xxh3_128(document.as_bytes());
    let head = format!("nearfield-manifest {version} {hash:032x} {}\n", document.len());
    fs::write(path, head + &document).unwrap();
}

/// The files of a collection in `db` whose names begin with `start` and end with `end`; of manifests the newest.
fn find(collection: &Path, start: &str, end: &str) -> PathBuf {
    let mut found: Vec<PathBuf> = fs::read_dir(collection)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with(start) && name.ends_with(end)
        })
        .collect();
    found.sort();
    found.pop().unwrap()
}

fn open(path: &Path, read_only: bool) -> Result<()> {
    let db: Database = OpenOptions::new().read_only(read_only).open(path)?;
    db.open_collection("docs").map(drop)
}

fn assert_refused(answer: Result<()>, file: &Path, advice: &str) {
    match answer {
        Err(error @ Error::Incompatible { .. }) => {
            let message = error.to_string();
            let name = file.file_name().unwrap().to_str().unwrap();
            assert!(message.contains(name) && message.contains(advice), "{message}");
        }
        other => panic!("{}: {other:?}", file.display()),
    }
}

#[test]
fn a_file_with_an_unknown_required_feature_is_refused_with_what_to_do() {
    for (start, end) in [("seg-", ".nfs"), ("seg-", ".attr"), ("seg-", ".del"), ("wal-", ".log")] {
        let (_dir, path, _) = fixture("docs");
        let file = find(&path.join("docs"), start, end);
        set_feature(&file, INCOMPATIBLE);
        let before = names(&path);
        for read_only in [true, false] {
            assert_refused(open(&path, read_only), &file, "open it with a newer nearfield");
        }
        assert_eq!(names(&path), before);
        // The collection beside it is none of its business.
        reader(&path).open_collection("learned").unwrap();
    }
}

fn names(db: &Path) -> Vec<String> {
    let entries = fs::read_dir(db.join("docs")).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_manifest_that_asks_for_more_than_is_known_is_refused_with_what_to_do() {
    let more = |document: &str| {
        let with = document.replacen(
            "\"required_features\": [",
            "\"required_features\": [\"tomorrow\",",
            1,
        );
        assert_ne!(with, document);
        with
    };
    for version in [1, 2] {
        let (_dir, path, _) = fixture("docs");
        let file = find(&path.join("docs"), "MANIFEST-", "");
        edit_manifest(
            &file,
            version,
            |document| if version == 1 { more(document) } else { document.into() },
        );
        for read_only in [true, false] {
            assert_refused(open(&path, read_only), &file, "open it with a newer nearfield");
        }
    }
}

#[test]
fn an_index_with_an_unknown_required_feature_is_refused_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    for from in files().iter().filter(|path| path.extension().is_some_and(|end| end == "index")) {
        let path = dir.path().join(from.file_name().unwrap());
        fs::write(&path, fs::read(from).unwrap()).unwrap();
        set_feature(&path, INCOMPATIBLE);
        assert_refused(Index::load(&path).map(drop), &path, "open it with a newer nearfield");
        assert_refused(Index::view(&path).map(drop), &path, "open it with a newer nearfield");
    }
    assert!(fixtures().join("product.index").exists());
}

#[test]
fn a_segment_that_this_version_may_only_read_is_read_and_not_written_over() {
    let (_dir, path, facts) = fixture("docs");
    let file = find(&path.join("docs"), "seg-", ".nfs");
    set_feature(&file, READ_ONLY_COMPATIBLE);
    super::check_whole(&reader(&path), &facts);
    assert_refused(open(&path, false), &path.join("docs"), "open it with read_only");
    writer(&path).open_collection("learned").unwrap();
}
