//! Files of every released format, as they were written: they open, answer, take writes and are written
//! anew by a merge, for ever. What they must answer stands beside them ([`facts`]); how they came to be
//! is in [`make`] and `tests/fixtures/README.md`.

#![expect(
    clippy::disallowed_methods,
    reason = "copies of files, and damage done to the file itself"
)]

mod facts;
#[cfg(feature = "text")]
mod make;
mod refused;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use nearfield::{
    Collection, Database, EfSource, Error, Fields, Id, Ids, Index, OpenOptions, PartExplanation,
    SearchPlan, Settings,
};
use serde_json::Value;
use tempfile::TempDir;

use self::facts::Way;
use crate::sections::{BLOCK, sections};
use crate::tidy::MACHINE_PATHS;

/// What searches of these do: with few candidates where there is a graph.
const PLANS: [(&str, &str, SearchPlan); 7] = [
    ("codes", "full-graph", SearchPlan::Walk),
    ("codes", "byte-graph", SearchPlan::Walk),
    ("codes", "half-graph", SearchPlan::Walk),
    ("codes", "product-graph", SearchPlan::Walk),
    ("codes", "bit", SearchPlan::ScanCodes),
    ("codes", "product", SearchPlan::ScanCodes),
    ("docs", "learned", SearchPlan::Walk),
];

pub(crate) const DATABASES: [&str; 7] =
    ["floats", "integers", "kept", "codes", "docs", "backup", "unclosed"];

/// Where the files of format version 1 are.
fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1")
}

/// Copies a directory: nothing may be written to the fixtures.
fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if from.is_dir() {
            copy_tree(&from, &to);
        } else {
            fs::write(&to, fs::read(&from).unwrap()).unwrap();
        }
    }
}

/// A fixture of its own for a test, with what it must answer.
pub(crate) fn fixture(name: &str) -> (TempDir, PathBuf, Vec<Value>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    copy_tree(&fixtures().join(name), &path);
    (dir, path, facts::read(&fixtures().join(format!("{name}.jsonl"))))
}

/// A writer that makes graphs like those of the fixtures, so that merges take them over.
pub(crate) fn writer(path: &Path) -> Database {
    let mut settings = Settings::default();
    settings.m = 4;
    settings.background = false;
    settings.threads = 1;
    settings.graph_bytes = 0;
    OpenOptions::new().settings(settings).open(path).unwrap()
}

pub(crate) fn reader(path: &Path) -> Database {
    OpenOptions::new().read_only(true).open(path).unwrap()
}

/// Asks a collection everything that is known of it, but for what it is made of.
fn ask_all(docs: &Collection, facts: &[&Value]) {
    facts::check_rows(docs, facts);
    for fact in facts.iter().filter(|fact| facts::is_search(fact) && facts::is_possible(fact)) {
        facts::check(docs, fact, Way::Exactly);
        facts::check(docs, fact, Way::AsByDefault);
    }
    assert_eq!(docs.verify().unwrap().problems, [""; 0], "{}", docs.name());
}

fn check_answers(db: &Database, facts: &[Value]) {
    assert_eq!(db.collections().unwrap(), facts::names(facts));
    for name in facts::names(facts) {
        ask_all(&db.open_collection(name).unwrap(), &facts::of(facts, name));
    }
}

pub(crate) fn check_whole(db: &Database, facts: &[Value]) {
    for name in facts::names(facts) {
        let docs = db.open_collection(name).unwrap();
        assert_eq!(facts::describe(&docs)[0], *facts::of(facts, name)[0], "{name}");
    }
    check_answers(db, facts);
}

#[test]
fn files_of_version_one_open_and_answer_as_they_did() {
    for name in DATABASES {
        let (_dir, path, facts) = fixture(name);
        check_whole(&reader(&path), &facts);
        let db = writer(&path);
        check_whole(&db, &facts);
        db.close().unwrap();
        // Now that somebody has closed it, what was in the log may be in a segment.
        check_answers(&reader(&path), &facts);
    }
}

/// Asks a collection by vector, and fails unless it answers as it did and every part is searched as `is_so` says.
fn check_parts(
    docs: &Collection,
    facts: &[&Value],
    way: Way,
    is_so: impl Fn(&PartExplanation) -> bool,
) {
    let plain = |fact: &&&Value| fact["by"] == "vector" && fact.get("where").is_none();
    let questions: Vec<&&Value> = facts.iter().filter(plain).collect();
    assert!(!questions.is_empty(), "{}", docs.name());
    for fact in questions {
        facts::check(docs, fact, way);
        let explained = facts::ask(docs, fact, way, |query| query.explain());
        assert!(explained.parts.iter().all(&is_so), "{fact}: {:?}", explained.parts);
    }
}

#[test]
fn graphs_of_version_one_are_walked_and_their_codes_scanned() {
    for (name, collection, plan) in PLANS {
        let (_dir, path, facts) = fixture(name);
        let docs = reader(&path).open_collection(collection).unwrap();
        let facts = facts::of(&facts, collection);
        check_parts(&docs, &facts, Way::ByWalking, |part| part.plan == plan);
    }
}

#[test]
fn what_version_one_has_measured_and_learned_leads_walks() {
    for (name, collection, source) in
        [("codes", "product-graph", EfSource::Measured), ("docs", "learned", EfSource::Calibrated)]
    {
        let (_dir, path, facts) = fixture(name);
        let docs = reader(&path).open_collection(collection).unwrap();
        check_parts(&docs, &facts::of(&facts, collection), Way::ByRecall, |part| {
            part.plan == SearchPlan::Walk && part.ef_source == Some(source)
        });
    }
}

#[test]
fn files_of_version_one_take_writes_and_are_written_anew_by_a_merge() {
    for name in DATABASES {
        let (_dir, path, facts) = fixture(name);
        let db = writer(&path);
        for name in facts::names(&facts) {
            let docs = db.open_collection(name).unwrap();
            let facts = facts::of(&facts, name);
            rewrite(&docs);
            ask_all(&docs, &facts);
            docs.compact().unwrap();
            let stats = docs.stats().unwrap();
            assert_eq!((stats.segments.len(), stats.dead_rows, stats.memtable_rows), (1, 0, 0));
            ask_all(&docs, &facts);
            let calibration = serde_json::to_value(docs.calibration().unwrap()).unwrap();
            assert_eq!(calibration, facts[0]["calibration"]);
            if PLANS.iter().any(|(_, known, plan)| *known == name && *plan == SearchPlan::Walk) {
                check_parts(&docs, &facts, Way::ByWalking, |part| part.plan == SearchPlan::Walk);
            }
        }
        db.close().unwrap();
        check_answers(&writer(&path), &facts);
    }
}

/// The links of every row on level 0 of the one segment of a collection, as ids, by the id of the row.
fn links(collection: &Path) -> BTreeMap<u64, BTreeSet<u64>> {
    let mut files: Vec<PathBuf> = fs::read_dir(collection)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "nfs"))
        .collect();
    files.sort();
    let file = fs::read(files.last().unwrap()).unwrap();
    let section = |tag: &str| {
        let found = sections(&file).into_iter().find(|section| section.tag == tag).unwrap();
        &file[found.offset..][..found.len]
    };
    let ids: Vec<u64> =
        section("IDSC").chunks(8).map(|id| u64::from_le_bytes(id.try_into().unwrap())).collect();
    let graph: Vec<u32> = section("GRPH")
        .chunks(4)
        .map(|word| u32::from_le_bytes(word.try_into().unwrap()))
        .collect();
    assert_eq!(graph[3] as usize, ids.len());
    let lists = graph[32..].chunks(graph[5] as usize).zip(&ids);
    let linked = |list: &[u32]| {
        let rows = list.iter().take_while(|row| **row != u32::MAX);
        rows.map(|row| ids[*row as usize]).collect()
    };
    lists.map(|(list, id)| (*id, linked(list))).collect()
}

/// Rows whose links are all there after a merge that two rows have gone through as if they were new, in parts of a
/// thousand of those that led to neither of them.
fn kept_links(name: &str, damaged: bool) -> usize {
    let (_dir, path, _) = fixture("codes");
    let collection = path.join(name);
    let before = links(&collection);
    if damaged {
        for entry in fs::read_dir(&collection).unwrap() {
            let file = entry.unwrap().path();
            if file.extension().is_some_and(|end| end == "nfs") {
                let mut bytes = fs::read(&file).unwrap();
                let graph = sections(&bytes).into_iter().find(|section| section.tag == "GRPH");
                bytes[graph.unwrap().offset + 200] ^= 1;
                fs::write(&file, bytes).unwrap();
            }
        }
    }
    let db = writer(&path);
    let docs = db.open_collection(name).unwrap();
    rewrite(&docs);
    docs.compact().unwrap();
    db.close().unwrap();
    let after = links(&collection);
    let (first, last) = (before.keys().min().unwrap(), before.keys().max().unwrap());
    let others = before
        .iter()
        .filter(|(id, links)| ![*id].into_iter().chain(*links).any(|id| id == first || id == last));
    let (kept, all) = others.fold((0, 0), |(kept, all), (id, links)| {
        (kept + usize::from(links.is_subset(&after[id])), all + 1)
    });
    kept * 1_000 / all
}

#[test]
fn merges_take_graphs_of_version_one_over() {
    for name in ["full-graph", "byte-graph", "half-graph", "product-graph"] {
        let (taken, anew) = (kept_links(name, false), kept_links(name, true));
        assert!(taken > 950 && anew < 800, "{name}: {taken} taken over, {anew} anew");
    }
}

/// Takes rows out and puts them back as they were, by the log.
fn rewrite(docs: &Collection) {
    let all = docs.scan(nearfield::ScanOptions::new()).unwrap().next().unwrap().unwrap().ids;
    for id in [&all[0], &all[all.len() - 1]] {
        let one = || match id {
            Id::U64(id) => Ids::from(vec![*id]),
            Id::Utf8(id) => Ids::from(vec![id.to_string()]),
        };
        let old = docs.get(one(), &Fields::all().with_vectors()).unwrap();
        assert_eq!(docs.delete(one()).unwrap(), 1);
        assert!(!docs.contains(id.clone()).unwrap());
        docs.add(one(), old.vectors.unwrap(), &old.attributes).unwrap();
        if old.attributes.num_columns() > 0 {
            assert_eq!(docs.update(one(), &old.attributes).unwrap(), 1);
        }
    }
}

#[test]
fn a_backup_of_version_one_is_restored() {
    let (dir, path, facts) = fixture("backup");
    let restored = dir.path().join("restored");
    Database::restore(&path, &restored).unwrap();
    check_whole(&reader(&restored), &facts);
}

#[test]
fn answers_beside_the_files_are_those_of_a_look_at_every_row() {
    let mut asked = 0;
    for name in DATABASES {
        let (_dir, path, facts) = fixture(name);
        let db = reader(&path);
        for name in facts::names(&facts) {
            let facts = facts::of(&facts, name);
            let rows = facts::rows(&db.open_collection(name).unwrap());
            let metric = serde_json::from_value(facts[0]["schema"]["fields"][0]["metric"].clone());
            let plain = |fact: &&&Value| fact["by"] == "vector" && fact.get("where").is_none();
            for fact in facts.iter().filter(plain) {
                let k = fact["k"].as_u64().unwrap() as usize;
                let nearest = facts::nearest(&rows, *metric.as_ref().unwrap(), &fact["query"], k);
                let hits = fact["hits"].as_array().unwrap();
                assert!(nearest.iter().map(|found| &found.1).eq(hits.iter().map(|hit| &hit[0])));
                for (found, hit) in nearest.iter().zip(hits) {
                    assert!((found.0 - hit[1].as_f64().unwrap()).abs() < 1e-6, "{fact}: {found:?}");
                }
                asked += 1;
            }
        }
    }
    assert!(asked > 20, "{asked}");
}

#[test]
fn bare_indexes_of_version_one_are_loaded_viewed_and_saved_anew() {
    let dir = tempfile::tempdir().unwrap();
    let facts = facts::read(&fixtures().join("index.jsonl"));
    let check = |index: &Index, name: &str| {
        for fact in facts::of(&facts, name) {
            assert_eq!(index.len().unwrap() as u64, fact["len"].as_u64().unwrap());
            let query = facts::floats(&fact["query"]);
            let search = || index.search(&query).k(3);
            for search in [search().exact(true), search(), search().ef(facts::WALK)] {
                let hits = search.run().unwrap();
                let wanted = fact["hits"].as_array().unwrap();
                assert_eq!(hits.len(), wanted.len());
                for (hit, wanted) in hits.iter().zip(wanted) {
                    assert_eq!(hit.id, wanted[0].as_u64().unwrap(), "{name}: {fact}");
                    let distance = f64::from(hit.distance) - wanted[1].as_f64().unwrap();
                    assert!(distance.abs() < 2e-6, "{name}: {fact}");
                }
            }
        }
    };
    assert_eq!(facts::names(&facts).len(), 3);
    for name in facts::names(&facts) {
        let path = dir.path().join(name);
        fs::write(&path, fs::read(fixtures().join(name)).unwrap()).unwrap();
        check(&Index::view(&path).unwrap(), name);
        let index = Index::load(&path).unwrap();
        check(&index, name);
        index.add(Some(&[1 << 40]), &[125.0_f32; 16]).unwrap();
        let hits = index.search(&[126.0_f32; 16]).k(1).run().unwrap();
        assert_eq!(hits[0].id, 1 << 40);
        assert_eq!(index.remove(&[1 << 40]).unwrap(), 1);
        let anew = dir.path().join("anew");
        index.save(&anew).unwrap();
        check(&Index::load(&anew).unwrap(), name);
    }
}

#[test]
fn graphs_of_bare_indexes_of_version_one_are_walked() {
    let dir = tempfile::tempdir().unwrap();
    let facts = facts::read(&fixtures().join("index.jsonl"));
    for name in facts::names(&facts) {
        let mut bytes = fs::read(fixtures().join(name)).unwrap();
        let graph = sections(&bytes).into_iter().find(|section| section.tag == "GRPH").unwrap();
        // In another block than the header, which is checked on opening.
        assert!(graph.len > BLOCK);
        bytes[graph.offset + graph.len - 1] ^= 1;
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        let index = Index::view(&path).unwrap();
        let query = facts::floats(&facts::of(&facts, name)[0]["query"]);
        let search = || index.search(&query).k(3);
        assert_eq!(search().exact(true).run().unwrap().len(), 3, "{name}");
        let walked = search().ef(facts::WALK).run();
        assert!(matches!(walked, Err(Error::Corrupt { .. })), "{name}: {walked:?}");
    }
}

/// What the fixtures are for: nothing is missing from them that format.md has.
#[test]
fn together_the_files_hold_every_feature() {
    let facts: Vec<Value> = DATABASES
        .iter()
        .flat_map(|name| facts::read(&fixtures().join(format!("{name}.jsonl"))))
        .collect();
    let all: String = facts.iter().map(|fact| format!("{fact}\n")).collect();
    let types = ["f32", "f16", "bf16", "i8", "u8", "b1"].map(|name| ("vector_type", name));
    let metrics = ["l2", "cosine", "dot", "hamming", "jaccard"].map(|name| ("metric", name));
    let ids = ["u64", "utf8"].map(|name| ("id_type", name));
    let codes = ["full", "rounded", "byte", "half", "bit", "product"].map(|name| ("code", name));
    let columns = ["bool", "int64", "float64", "utf8", "timestamp", "list_utf8", "sparse"];
    let columns = columns.map(|name| ("data_type", name));
    for (member, value) in [&types[..], &metrics, &ids, &codes, &columns].concat() {
        assert!(all.contains(&format!("\"{member}\":\"{value}\"")), "{member} {value}");
    }
    let segments = |wanted: &dyn Fn(&Value) -> bool| {
        facts.iter().filter_map(|fact| fact["segments"].as_array()).flatten().any(wanted)
    };
    assert!(segments(&|segment| segment["code"] == "product" && segment["graph"] == true));
    assert!(segments(&|segment| segment["code"] == "product" && segment["graph"] == false));
    assert!(segments(&|segment| segment["dead_rows"].as_u64() > Some(0)));
    let shapes = || facts.iter().filter(|fact| fact.get("segments").is_some());
    assert!(shapes().any(|shape| shape["segments"].as_array().unwrap().len() > 2));
    assert!(shapes().any(|shape| shape["memtable_rows"].as_u64() > Some(0)));
    assert!(shapes().any(|shape| !shape["calibration"].is_null()));
    let containers = files().into_iter().filter(|path| {
        let kinds = ["nfs", "attr", "del", "index"];
        path.extension().is_some_and(|end| kinds.iter().any(|kind| end == *kind))
    });
    let tags: BTreeSet<String> = containers
        .flat_map(|path| sections(&fs::read(path).unwrap()))
        .map(|section| section.tag)
        .collect();
    assert_eq!(tags, documented_tags());
}

/// Tags of sections that format.md has: they stand in the first column of its tables.
fn documented_tags() -> BTreeSet<String> {
    let page = include_str!("../../../docs/format.md");
    let cells = page.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    let words = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let is_tag =
        |word: &&str| word.len() == 4 && word.bytes().all(|byte| byte.is_ascii_uppercase());
    words.filter(is_tag).map(ToOwned::to_owned).collect()
}

fn files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut directories = vec![fixtures()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { directories.push(path) } else { files.push(path) }
        }
    }
    files
}

#[test]
fn the_files_are_small_and_name_no_directory_of_a_machine() {
    let files = files();
    let bytes: u64 = files.iter().map(|path| path.metadata().unwrap().len()).sum();
    assert!(bytes < 2_500_000 && files.len() > 40, "{bytes} bytes, {} files", files.len());
    let all: String = files
        .iter()
        .map(|path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned())
        .collect();
    for part in MACHINE_PATHS.iter().chain(&["pid "]) {
        assert!(!all.contains(part), "{part}");
    }
    assert!(
        files
            .iter()
            .filter(|path| path.ends_with("LOCK"))
            .all(|path| fs::read(path).unwrap().is_empty())
    );
}
