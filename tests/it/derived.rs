//! Damage to what rows give: graph, codes, sketches, norms, tables and indexes. It costs time, never a
//! row or an answer, is told of, and is gone after `compact`. Damage to rows stays with them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nearfield::testing::{Disk, FaultDisk};
use nearfield::{
    CodeChoice, Collection, Database, Error, Fields, Id, IdType, Metric, OpenOptions, Schema,
    SearchPlan, Settings, TextOptions,
};

use crate::common::Random;
use crate::lists;
use crate::oracle::{Change, Maker, State, ids_of, state_of};
use crate::sections::{BLOCK, sections};

/// So many that codes of four bits have sketches.
const DIMENSION: usize = 528;
const ROWS: u64 = 250;

fn settings(code: CodeChoice, graph_bytes: u64) -> Settings {
    let mut settings = Settings::default();
    settings.background = false;
    settings.graph_bytes = graph_bytes;
    settings.m = 4;
    settings.ef_construction = 16;
    settings.threads = 1;
    settings.code = code;
    settings
}

fn open(disk: &FaultDisk, settings: &Settings) -> (Database, Collection) {
    let options = OpenOptions::new().settings(settings.clone()).disk(Arc::new(disk.clone()));
    let db = options.open("/db").unwrap();
    let schema = Schema::new(DIMENSION, Metric::Cosine)
        .text_with("note", TextOptions::new().no_language())
        .column("splade", nearfield::DataType::Sparse)
        .column("year", nearfield::DataType::Int64);
    let docs = db.collection("docs", schema).unwrap();
    (db, docs)
}

fn maker(id_type: IdType) -> Maker {
    Maker { id_type, dimension: DIMENSION, elements: -3..=3, ids: 1_000, long_texts: false }
}

/// Puts rows with all columns into `docs`.
fn fill(docs: &Collection, state: &mut State, maker: &Maker, random: &mut Random) {
    let columns = state.columns.clone();
    let batch = loop {
        let batch = maker.batch(ROWS, &columns, random);
        if batch.columns.len() == columns.len() {
            break batch;
        }
    };
    let change = Change::Upsert(batch);
    state.apply(&change);
    change.run(docs).unwrap();
}

/// A collection of one segment, and what it holds.
fn database(id_type: IdType, settings: &Settings) -> (FaultDisk, State) {
    let disk = FaultDisk::new();
    let (db, docs) = open(&disk, settings);
    let mut state = State::new(&docs.schema().unwrap());
    fill(&docs, &mut state, &maker(id_type), &mut Random::new(5));
    docs.compact().unwrap();
    drop((db, docs));
    (disk, state)
}

/// Everything that may be asked: distances and ids of a search that compares all rows, and of others.
fn hits(docs: &Collection) -> [Vec<(u32, Id)>; 3] {
    let query = vec![0.5_f32; DIMENSION];
    let search = || docs.search(&query).k(4).ef(4);
    let all = search().k(usize::MAX).exact(true);
    let runs = [all, search(), search().filter("year > 0")].map(|query| query.run().unwrap());
    runs.map(|hits| hits.iter().map(|hit| (hit.distance.to_bits(), hit.id.clone())).collect())
}

fn files(disk: &FaultDisk, end: &str) -> Vec<PathBuf> {
    let ends = |path: &PathBuf| path.extension().is_some_and(|found| found == end);
    disk.files().into_iter().filter(ends).collect()
}

fn tags(disk: &FaultDisk) -> Vec<String> {
    let files = files(disk, "nfs").into_iter().chain(files(disk, "attr"));
    let tags = files.flat_map(|path| sections(&disk.read(&path, 0).unwrap()));
    tags.map(|section| section.tag).collect()
}

/// Damages the byte at `at` of a file: every answer stays, the damage is told of, and `compact` ends it.
fn costs_nothing(
    disk: &FaultDisk,
    (path, at, tag): (&Path, usize, &str),
    settings: &Settings,
    state: &State,
    right: &[Vec<(u32, Id)>; 3],
) {
    let image = disk.kill_image();
    image.edit(path, |bytes| bytes[at] ^= 0x10).unwrap();
    let (_db, docs) = open(&image, settings);
    let what = format!("{tag} damaged at {at}");
    let [all, walked, filtered] = hits(&docs);
    assert_eq!(all, right[0], "{what}");
    for (found, right) in [(walked, &right[1]), (filtered, &right[2])] {
        assert_eq!(found.len(), right.len(), "{what}");
        assert!(found.iter().all(|hit| all.contains(hit)), "{what}");
    }
    assert!(state_of(&docs).unwrap() == *state, "{what}");
    lists::agree(&docs, state).unwrap();
    let ids: Vec<Id> = state.rows.keys().cloned().collect();
    let id_type = docs.schema().unwrap().id_type().unwrap();
    let found = docs.get(ids_of(id_type, &ids), &Fields::all()).unwrap();
    assert_eq!(found.len(), state.rows.len(), "{what}");
    let problems = docs.verify().unwrap().problems;
    let [problem] = problems.as_slice() else { panic!("{what}: {problems:?}") };
    assert!(problem.contains(&format!("corrupt in {tag}/")), "{what}: {problem}");
    assert!(problem.contains("no row is lost"), "{what}: {problem}");
    docs.compact().unwrap();
    assert_eq!(docs.verify().unwrap().problems, Vec::<String>::new(), "{what}");
    assert!(docs.stats().unwrap().segments.iter().all(|segment| segment.damaged.is_empty()));
    assert!(state_of(&docs).unwrap() == *state, "{what}");
    assert_eq!(hits(&docs)[0], right[0], "{what}");
    let mut made = tags(&image);
    assert!(tags(disk).iter().all(|tag| made.contains(tag)), "{what}: {made:?}");
    made.retain(|made| made == tag);
    assert!(!made.is_empty());
}

#[test]
fn damage_to_what_rows_give_costs_no_answer_and_is_gone_after_compact() {
    let cases = [
        (IdType::U64, settings(CodeChoice::Half, 0), "SKCH"),
        (IdType::Utf8, settings(CodeChoice::Full, 0), "GRPH"),
        (IdType::U64, settings(CodeChoice::Bit, u64::MAX), "CODE"),
    ];
    for (id_type, settings, expected) in cases {
        let (disk, state) = database(id_type, &settings);
        let right = hits(&open(&disk.kill_image(), &settings).1);
        assert!(tags(&disk).iter().any(|tag| tag == expected));
        for path in files(&disk, "nfs").iter().chain(&files(&disk, "attr")) {
            for section in sections(&disk.read(path, 0).unwrap()) {
                if ["RAWV", "IDSC", "GRPS"].contains(&section.tag.as_str()) {
                    continue;
                }
                let last = section.len - 1;
                let mut places = vec![section.offset + last / 2, section.checksums];
                if section.len > BLOCK {
                    places.extend([section.offset, section.offset + last]);
                }
                for at in places {
                    costs_nothing(&disk, (path, at, &section.tag), &settings, &state, &right);
                }
            }
        }
    }
}

#[test]
fn a_damaged_graph_is_told_by_explain_and_stats_and_rows_are_compared() {
    let settings = settings(CodeChoice::Full, 0);
    let (disk, _) = database(IdType::U64, &settings);
    let path = &files(&disk, "nfs")[0];
    let found = sections(&disk.read(path, 0).unwrap());
    let graph = found.iter().find(|section| section.tag == "GRPH").unwrap();
    let query = vec![0.5_f32; DIMENSION];
    let plan = |docs: &Collection| {
        let explained = docs.search(&query).k(5).ef(5).explain().unwrap();
        (explained.parts[0].plan, explained.parts[0].damaged.clone())
    };
    let (db, docs) = open(&disk, &settings);
    assert_eq!(plan(&docs), (SearchPlan::Walk, vec![]));
    drop((db, docs));
    disk.edit(path, |bytes| bytes[graph.offset + 200] ^= 1).unwrap();
    let (_db, docs) = open(&disk, &settings);
    assert_eq!(plan(&docs), (SearchPlan::Scan, vec!["GRPH".to_owned()]));
    let segment = &docs.stats().unwrap().segments[0];
    assert!(!segment.graph && segment.damaged == ["GRPH"]);
    docs.compact().unwrap();
    assert_eq!(plan(&docs), (SearchPlan::Walk, vec![]));
}

/// Three segments, one file of the second of which has a damaged byte in the middle of `tag`.
fn broken(tag: &str, settings: &Settings) -> (FaultDisk, State) {
    let disk = FaultDisk::new();
    let mut small = settings.clone();
    small.background = false;
    small.memtable_bytes = 64 << 10;
    let (db, docs) = open(&disk, &small);
    let mut state = State::new(&docs.schema().unwrap());
    let mut random = Random::new(8);
    for ids in [0, 1_000, 2_000] {
        let maker = maker(IdType::U64);
        let columns = state.columns.clone();
        let mut batch = maker.batch(60, &columns, &mut random);
        batch.ids = (ids..ids + 60).map(Id::U64).collect();
        let change = Change::Import(vec![batch]);
        state.apply(&change);
        change.run(&docs).unwrap();
    }
    drop((db, docs));
    let end = if tag == "GRPS" { "attr" } else { "nfs" };
    let path = &files(&disk, end)[1];
    let found = sections(&disk.read(path, 0).unwrap());
    let section = found.iter().find(|section| section.tag == tag).unwrap();
    disk.edit(path, |bytes| bytes[section.offset + section.len / 2] ^= 1).unwrap();
    (disk, state)
}

fn is_corrupt<T: std::fmt::Debug>(found: Result<T, Error>, tag: &str) {
    match found {
        Err(Error::Corrupt { file, section, .. }) => {
            assert!(section.starts_with(tag), "{section}");
            assert!(file.to_str().unwrap().contains("seg-"), "{}", file.display());
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn damaged_rows_answer_corrupt_and_the_others_go_on() {
    for tag in ["RAWV", "IDSC", "GRPS"] {
        let settings = settings(CodeChoice::Full, u64::MAX);
        let (disk, state) = broken(tag, &settings);
        let (db, docs) = open(&disk, &settings);
        let read = |ids: std::ops::Range<u64>| {
            let ids: Vec<u64> = ids.collect();
            docs.get(&ids, &Fields::all().with_vectors()).map(|records| records.len())
        };
        for healthy in [0..60, 2_000..2_060] {
            assert_eq!(read(healthy).unwrap(), 60, "{tag}");
        }
        assert_eq!(docs.snapshot().unwrap().len(), state.rows.len());
        is_corrupt(read(1_000..1_060), tag);
        // Everything else is merged, and the damage is the answer.
        is_corrupt(docs.compact(), tag);
        let segments = docs.stats().unwrap().segments;
        assert_eq!(segments.len(), 2, "{tag}");
        assert_eq!(segments.iter().filter(|segment| segment.damaged == [tag]).count(), 1);
        is_corrupt(docs.compact(), tag);
        // Writes go on, through a restart as well.
        // Of few ids damaged ones cannot tell whether they are theirs.
        let new = (9_000..9_020_u64).find(|id| docs.upsert(&[*id], &[1.0; DIMENSION], ()).is_ok());
        docs.flush().unwrap();
        docs.delete(&[0, new.unwrap()]).unwrap();
        drop((db, docs));
        let (_db, docs) = open(&disk, &settings);
        assert_eq!(docs.snapshot().unwrap().len(), state.rows.len() - 1);
        let problems = docs.verify().unwrap().problems;
        assert!(problems.iter().any(|problem| problem.contains(tag)), "{problems:?}");
        assert!(problems.iter().all(|problem| !problem.contains("no row is lost")));
    }
}

/// The disk may rot behind a block that was checked long ago: a merge must not give what is there now a
/// checksum of its own.
#[cfg(unix)]
#[test]
fn a_merge_checks_what_it_copies_though_it_was_checked_before() {
    use std::os::unix::fs::FileExt;
    for tag in ["RAWV", "IDSC", "GRPS"] {
        let scratch = crate::common::Scratch::new();
        let options = OpenOptions::new().settings(settings(CodeChoice::Full, u64::MAX));
        let db = options.open(scratch.path()).unwrap();
        let schema = Schema::new(DIMENSION, Metric::L2).column("year", nearfield::DataType::Int64);
        let docs = db.collection("docs", schema).unwrap();
        let mut state = State::new(&docs.schema().unwrap());
        fill(&docs, &mut state, &maker(IdType::U64), &mut Random::new(5));
        docs.compact().unwrap();
        // Everything is read, and found whole.
        assert_eq!(state_of(&docs).unwrap(), state);
        assert_eq!(docs.verify().unwrap().problems, Vec::<String>::new());
        let end = if tag == "GRPS" { "attr" } else { "nfs" };
        let files = std::fs::read_dir(scratch.path().join("docs")).unwrap();
        let mut files = files.map(|entry| entry.unwrap().path());
        let path = files.find(|path| path.extension().is_some_and(|found| found == end)).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let found = sections(&bytes);
        let section = found.iter().find(|section| section.tag == tag).unwrap();
        let at = section.offset + section.len - 3;
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.write_at(&[bytes[at] ^ 4], at as u64).unwrap();
        // A row less is reason enough for a merge.
        docs.delete(ids_of(IdType::U64, &[state.rows.keys().next().cloned().unwrap()])).unwrap();
        is_corrupt(docs.compact(), tag);
        let problems = docs.verify().unwrap().problems;
        assert!(problems.iter().any(|problem| problem.contains(tag)), "{problems:?}");
        // It is known from now on, and left alone.
        is_corrupt(docs.compact(), tag);
        assert_eq!(docs.stats().unwrap().segments[0].damaged, [tag]);
    }
}

#[test]
fn operations_of_the_log_on_damaged_ids_do_not_keep_a_collection_from_opening() {
    let settings = settings(CodeChoice::Full, u64::MAX);
    let disk = FaultDisk::new();
    let options = OpenOptions::new().settings(settings).disk(Arc::new(disk.clone()));
    let open = |disk: &FaultDisk| {
        let db = options.clone().disk(Arc::new(disk.clone())).open("/db").unwrap();
        db.collection("docs", Schema::new(1, Metric::L2)).map(|docs| (db, docs))
    };
    let (db, docs) = open(&disk).unwrap();
    let ids: Vec<u64> = (0..6_000).collect();
    let vectors: Vec<f32> = ids.iter().map(|id| *id as f32).collect();
    docs.upsert(&ids, &vectors, ()).unwrap();
    docs.compact().unwrap();
    let changed: Vec<u64> = (0..6_000).step_by(10).collect();
    docs.upsert(&changed, vec![-1.0_f32; 600], ()).unwrap();
    let deleted: Vec<u64> = (5..6_000).step_by(10).collect();
    docs.delete(&deleted).unwrap();
    drop((db, docs));
    let path = &files(&disk, "nfs")[0];
    let found = sections(&disk.read(path, 0).unwrap());
    let section = found.iter().find(|section| section.tag == "IDSC").unwrap();
    let image = disk.kill_image();
    image.edit(path, |bytes| bytes[section.offset + BLOCK] ^= 1).unwrap();
    // The ids of the second block are damaged.
    let (first, last) = (BLOCK as u64 / 8, BLOCK as u64 / 4);
    for round in 0..2 {
        let (db, docs) = open(&image).unwrap();
        for id in (0..6_000).step_by(5) {
            let found = docs.get(&[id], &Fields::none().with_vectors());
            match (id % 10, (first..last).contains(&id)) {
                // What the log has written is there.
                (0, _) => {
                    let vectors = found.unwrap().vectors.unwrap();
                    assert_eq!(crate::oracle::floats(&vectors), [-1.0], "{id}, round {round}");
                }
                (5, false) => assert!(found.map_or(true, |found| found.is_empty()), "{id}"),
                (_, _) => is_corrupt(found, "IDSC"),
            }
        }
        docs.flush().unwrap();
        is_corrupt(docs.compact(), "IDSC");
        drop((db, docs));
    }
    // When the block reads again, so do its rows as the log has left them.
    image.edit(path, |bytes| bytes[section.offset + BLOCK] ^= 1).unwrap();
    let (_db, docs) = open(&image).unwrap();
    assert_eq!(docs.len().unwrap(), 5_400);
    assert_eq!(docs.verify().unwrap().problems, Vec::<String>::new());
    for id in [first.next_multiple_of(10), last.next_multiple_of(10) - 10] {
        let found = docs.get(&[id, id + 5], &Fields::none().with_vectors()).unwrap();
        assert_eq!(crate::oracle::floats(&found.vectors.unwrap()), [-1.0]);
    }
}
