//! Saving what is whole of a damaged database: every row whose bytes are intact, with its right values, no
//! other, and a report of the rest. The damaged files are only read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nearfield::testing::{Disk, FaultDisk};
use nearfield::{
    Collection, DataType, Database, Durability, Error, Id, IdType, Loss, Metric, OpenOptions,
    RepairOptions, RepairReport, Schema, Settings,
};

use crate::common::{Random, notes, notes_schema};
use crate::damage::database;
use crate::oracle::{Row, State, state_of};
use crate::sections::{BLOCK, Section, sections};

fn options(disk: &FaultDisk) -> RepairOptions<'static> {
    RepairOptions::new().disk(Arc::new(disk.clone()))
}

fn open(disk: &FaultDisk, path: &str) -> (Database, Collection) {
    let mut settings = Settings::default();
    settings.background = false;
    settings.threads = 1;
    let options = OpenOptions::new().settings(settings).disk(Arc::new(disk.clone()));
    let db = options.open(path).unwrap();
    let docs = db.open_collection("docs").unwrap();
    (db, docs)
}

/// What a repair saves of `/db`, which is whole by itself, and its report.
fn repair(disk: &FaultDisk, options: RepairOptions<'_>) -> (Option<State>, RepairReport) {
    let before: Vec<Vec<u8>> =
        disk.files().iter().map(|path| disk.read(path, 0).unwrap()).collect();
    let files = disk.files();
    let report = Database::repair("/db", "/new", options).unwrap();
    for (path, bytes) in files.iter().zip(&before) {
        assert_eq!(&disk.read(path, 0).unwrap(), bytes, "{} was changed", path.display());
    }
    if report.collections.is_empty() {
        return (None, report);
    }
    let (_db, docs) = open(disk, "/new");
    assert_eq!(docs.verify().unwrap().problems, Vec::<String>::new());
    let state = state_of(&docs).unwrap();
    assert_eq!(report.collections[0].rows, state.rows.len() as u64);
    (Some(state), report)
}

fn losses(report: &RepairReport) -> &[Loss] {
    &report.collections[0].losses
}

/// The ids of a segment's rows, in row order.
fn ids_of(file: &[u8], id_type: IdType) -> Vec<Id> {
    let found = sections(file);
    let find = |tag: &str| found.iter().find(|section| section.tag == tag).unwrap();
    let bytes = &file[find("IDSC").offset..][..find("IDSC").len];
    let number = |at: usize| u64::from_le_bytes(bytes[at * 8..][..8].try_into().unwrap());
    let rows = find("IDSO").len / 4;
    match id_type {
        IdType::U64 => (0..rows).map(|row| Id::U64(number(row))).collect(),
        IdType::Utf8 => {
            let text = &bytes[(rows + 1) * 8..];
            let of = |row| &text[number(row) as usize..number(row + 1) as usize];
            (0..rows).map(|row| Id::from(std::str::from_utf8(of(row)).unwrap())).collect()
        }
    }
}

/// The rows of a vector file, of `count`, that a byte of `section` or of its checksums is needed for.
fn rows_at(section: &Section, at: usize, count: usize, id_type: IdType) -> std::ops::Range<usize> {
    let block = match at.checked_sub(section.checksums) {
        Some(checksum) => checksum / 4,
        None => (at - section.offset) / BLOCK,
    };
    match (section.tag.as_str(), id_type) {
        ("RAWV", _) | ("IDSC", IdType::U64) => {
            let stride = section.len / count;
            block * BLOCK / stride..((block + 1) * BLOCK).div_ceil(stride).min(count)
        }
        ("IDSC", IdType::Utf8) => 0..count,
        _ => 0..0,
    }
}

/// The ids of which damage to the byte at `at` may cost the rows.
fn endangered(disk: &FaultDisk, path: &Path, at: usize, id_type: IdType) -> BTreeSet<Id> {
    let file = disk.read(path, 0).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    let Some((segment, _)) = name.strip_prefix("seg-").and_then(|rest| rest.split_once('.')) else {
        return BTreeSet::new();
    };
    let vectors = path.with_file_name(format!("seg-{segment}.nfs"));
    let ids = ids_of(&disk.read(&vectors, 0).unwrap(), id_type);
    let found = sections(&file);
    let table = file.len() - 64 - found.len() * 40;
    let inside = |section: &&Section| {
        let checksums = section.len.div_ceil(BLOCK) * 4;
        (section.offset..section.offset + section.len).contains(&at)
            || (section.checksums..section.checksums + checksums).contains(&at)
    };
    let rows = match found.iter().find(inside) {
        _ if (table..file.len() - 64).contains(&at) => 0..ids.len(),
        None => 0..0,
        Some(section) if ["GRPS", "ROWS"].contains(&section.tag.as_str()) => 0..ids.len(),
        Some(section) => rows_at(section, at, ids.len(), id_type),
    };
    ids[rows].iter().cloned().collect()
}

/// Every value of a row is one that it has had.
fn has_been(id: &Id, row: &Row, states: &[State]) -> bool {
    let known: Vec<&Row> = states.iter().filter_map(|state| state.rows.get(id)).collect();
    let columns: BTreeSet<&String> =
        known.iter().flat_map(|known| known.values.keys()).chain(row.values.keys()).collect();
    known.iter().any(|known| known.vector == row.vector)
        && columns.iter().all(|column| {
            known.iter().any(|known| known.values.get(*column) == row.values.get(*column))
        })
}

fn damage_at_random(id_type: IdType, trials: u64) {
    let (disk, states) = database(id_type, Durability::Sync);
    let truth = states.last().unwrap();
    let files: Vec<PathBuf> = disk.files();
    let mut random = Random::new(21);
    let (mut lossy, mut complete) = (0, 0);
    for trial in 0..trials {
        let image = disk.kill_image();
        let mut lost = BTreeSet::new();
        let (mut log, mut manifests) = (false, 0);
        let mut what = Vec::new();
        for _ in 0..1 + random.below(3) {
            let path = &files[random.below(files.len() as u64) as usize];
            let len = disk.read(path, 0).unwrap().len();
            let at = random.below(len as u64) as usize;
            image.edit(path, |bytes| bytes[at] ^= 1 << random.below(8)).unwrap();
            lost.extend(endangered(&disk, path, at, id_type));
            let name = path.file_name().unwrap().to_str().unwrap();
            log |= name.ends_with(".log");
            manifests += u64::from(name.starts_with("MANIFEST"));
            what.push(format!("{name} at {at}"));
        }
        let what = || format!("trial {trial}, {}", what.join(", "));
        let (saved, report) = repair(&image, options(&image));
        let Some(saved) = saved else {
            assert!(manifests > 1 && report.lost.len() == 1, "{}: {report:?}", what());
            continue;
        };
        let told: BTreeSet<&Id> = losses(&report).iter().flat_map(|loss| &loss.ids).collect();
        for (id, row) in &saved.rows {
            let right = truth.rows.get(id) == Some(row);
            assert!(right || log && has_been(id, row, &states), "{}: {id} is {row:?}", what());
            assert!(!told.contains(id), "{}: {id} is there and told to be lost", what());
        }
        for (id, row) in &truth.rows {
            let written = states.iter().any(|state| state.rows.get(id) != Some(row));
            let there = saved.rows.contains_key(id);
            assert!(there || lost.contains(id) || log && written, "{}: {id} is missing", what());
        }
        let same = saved.rows == truth.rows;
        assert!(same || !report.is_complete(), "{}: nothing is told of", what());
        assert!(log || report.is_complete() == same, "{}: {report:?}", what());
        lossy += u64::from(!same);
        complete += u64::from(same);
    }
    eprintln!("{lossy} of {trials} with losses, {complete} without");
    assert!(lossy > trials / 10 && complete > trials / 10);
}

#[test]
fn repair_saves_every_intact_row_and_no_other_whatever_is_damaged_with_numbers_as_ids() {
    damage_at_random(IdType::U64, 160);
}

#[test]
fn repair_saves_every_intact_row_and_no_other_whatever_is_damaged_with_texts_as_ids() {
    damage_at_random(IdType::Utf8, 120);
}

#[test]
fn repair_of_a_whole_database_is_a_copy() {
    for durability in [Durability::Sync, Durability::Buffered] {
        let (disk, states) = database(IdType::U64, durability);
        let (saved, report) = repair(&disk, options(&disk));
        assert!(report.is_complete(), "{report:?}");
        assert_eq!(saved.as_ref(), states.last());
    }
}

/// A collection of notes with ids from 0, all in one segment.
fn segment(rows: u64) -> (FaultDisk, State) {
    let disk = FaultDisk::new();
    let db = OpenOptions::new().disk(Arc::new(disk.clone())).open("/db").unwrap();
    let docs = db.collection("docs", notes_schema(4, Metric::L2)).unwrap();
    let mut random = Random::new(2);
    let ids: Vec<u64> = (0..rows).collect();
    let vectors: Vec<f32> = (0..rows * 4).map(|_| random.unit()).collect();
    let years: Vec<Option<i64>> = ids.iter().map(|id| Some(*id as i64 * 3)).collect();
    let texts: Vec<String> = ids.iter().map(|id| format!("note {id}")).collect();
    let texts: Vec<Option<&str>> = texts.iter().map(|text| Some(text.as_str())).collect();
    docs.upsert(&ids, &vectors, &notes(&texts, &years)).unwrap();
    docs.compact().unwrap();
    let state = state_of(&docs).unwrap();
    db.close().unwrap();
    (disk, state)
}

fn file(disk: &FaultDisk, end: &str) -> PathBuf {
    let files = disk.files();
    files.into_iter().find(|path| path.extension().is_some_and(|found| found == end)).unwrap()
}

fn find(disk: &FaultDisk, path: &Path, tag: &str) -> Section {
    let found = sections(&disk.read(path, 0).unwrap());
    found.into_iter().find(|section| section.tag == tag).unwrap()
}

#[test]
fn a_damaged_block_of_columns_costs_the_rows_in_it_and_their_ids_are_told() {
    let (disk, state) = segment(9_000);
    let path = file(&disk, "attr");
    let columns = find(&disk, &path, "GRPS");
    // The last column is the numbers: 8 bytes a row, up to the end.
    let bad = (columns.len - 20_000) / BLOCK;
    disk.edit(&path, |bytes| bytes[columns.offset + columns.len - 20_000] ^= 1).unwrap();
    let (saved, report) = repair(&disk, options(&disk));
    let saved = saved.unwrap();
    let [loss] = losses(&report) else { panic!("{report:?}") };
    let row = |byte: usize| 9_000 - (columns.len - byte).div_ceil(8) as u64;
    let expected: Vec<Id> = (row(bad * BLOCK)..=row((bad + 1) * BLOCK - 1)).map(Id::U64).collect();
    assert_eq!((loss.section.as_str(), &loss.ids), ("GRPS/0", &expected));
    assert_eq!(loss.rows, expected.len() as u64);
    let mut truth = state.rows;
    truth.retain(|id, _| !expected.contains(id));
    assert_eq!(saved.rows, truth);
}

#[test]
fn damaged_ids_cost_their_rows_and_a_file_that_is_gone_costs_all_of_its_own() {
    let (disk, state) = segment(9_000);
    let image = disk.kill_image();
    let path = file(&disk, "nfs");
    let ids = find(&disk, &path, "IDSC");
    image.edit(&path, |bytes| bytes[ids.offset + BLOCK] ^= 1).unwrap();
    let (saved, report) = repair(&image, options(&image));
    let per_block = BLOCK as u64 / 8;
    let [loss] = losses(&report) else { panic!("{report:?}") };
    assert_eq!((loss.rows, loss.ids.len(), loss.section.as_str()), (per_block, 0, "IDSC/0"));
    assert_eq!(saved.unwrap().rows.len() as u64, 9_000 - per_block);
    for (end, ids) in [("nfs", 0), ("attr", 9_000)] {
        let image = disk.kill_image();
        image.remove_file(&file(&disk, end)).unwrap();
        let (saved, report) = repair(&image, options(&image));
        let [loss] = losses(&report) else { panic!("{report:?}") };
        assert!(loss.file.ends_with(file(&disk, end).file_name().unwrap()), "{loss:?}");
        assert_eq!((loss.rows, loss.ids.len(), loss.section.as_str()), (9_000, ids, "file"));
        assert!(saved.unwrap().rows.is_empty());
    }
    // Header, footer and what follows are not needed.
    let len = disk.read(&path, 0).unwrap().len();
    for at in [100, len - 30] {
        let image = disk.kill_image();
        image.edit(&path, |bytes| bytes[at] ^= 1).unwrap();
        image.edit(&path, |bytes| bytes.extend([7; 100])).unwrap();
        let (saved, report) = repair(&image, options(&image));
        assert!(report.is_complete() && saved.unwrap().rows == state.rows, "{at}");
    }
}

/// Makes tombstones of `change`: what was logged goes into the files.
fn with_tombstones(disk: &FaultDisk, change: impl FnOnce(&Collection)) -> State {
    let (db, docs) = open(disk, "/db");
    change(&docs);
    // An import flushes what was written before it.
    let ids = nearfield::Ids::from(vec![70_000_u64]);
    let batch = nearfield::ImportBatch {
        ids,
        vectors: vec![1.0_f32; 4].into(),
        attributes: None,
        source_rows: vec![0],
        rejected: Vec::new(),
    };
    docs.import([Ok(batch)], nearfield::ImportOptions::new()).unwrap();
    let state = state_of(&docs).unwrap();
    db.close().unwrap();
    state
}

fn damage_tombstones(disk: &FaultDisk) {
    let path = file(disk, "del");
    let rows = find(disk, &path, "ROWS");
    disk.edit(&path, |bytes| bytes[rows.offset + 9] ^= 1).unwrap();
}

#[test]
fn deleted_rows_do_not_come_back_unless_doubtful_ones_are_asked_for() {
    let (disk, _) = segment(500);
    let state = with_tombstones(&disk, |docs| {
        docs.delete(&[3, 4, 5]).unwrap();
    });
    damage_tombstones(&disk);
    let image = disk.kill_image();
    let (saved, report) = repair(&image, options(&image));
    let [loss] = losses(&report) else { panic!("{report:?}") };
    assert_eq!((loss.rows, loss.section.as_str()), (500, "ROWS/0"));
    assert_eq!(saved.unwrap().rows.len(), state.rows.len() - 497);
    let (saved, report) = repair(&disk, options(&disk).keep_doubtful(true));
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(saved.unwrap().rows.len(), state.rows.len() + 3);
}

/// A collection into which rows of a dimension were imported, a segment for each list of ids, after which some
/// were deleted; all tombstones are damaged.
fn with_doubtful(imports: &[&[u64]], deleted: &[u64]) -> FaultDisk {
    let disk = FaultDisk::new();
    let mut settings = Settings::default();
    settings.background = false;
    let options = OpenOptions::new().settings(settings).disk(Arc::new(disk.clone()));
    let db = options.open("/db").unwrap();
    let docs = db.collection("docs", Schema::new(1, Metric::L2)).unwrap();
    let import = |ids: &[u64], round: usize| {
        let batch = nearfield::ImportBatch {
            ids: nearfield::Ids::from(ids.to_vec()),
            vectors: ids.iter().map(|_| round as f32).collect::<Vec<f32>>().into(),
            attributes: None,
            source_rows: (0..ids.len() as u64).collect(),
            rejected: Vec::new(),
        };
        docs.import([Ok(batch)], nearfield::ImportOptions::new()).unwrap();
    };
    for (round, ids) in imports.iter().enumerate() {
        import(ids, round);
    }
    docs.delete(deleted).unwrap();
    // Tombstones are written with the next manifest.
    import(&[70_000], imports.len());
    db.close().unwrap();
    let ends = |path: &&PathBuf| path.extension().is_some_and(|end| end == "del");
    for path in disk.files().iter().filter(ends) {
        let rows = find(&disk, path, "ROWS");
        disk.edit(path, |bytes| bytes[rows.offset + 9] ^= 1).unwrap();
    }
    disk
}

fn numbers(ids: &[u64]) -> Vec<Id> {
    ids.iter().copied().map(Id::U64).collect()
}

#[test]
fn of_ids_in_several_doubtful_segments_no_row_is_taken_for_the_living_one() {
    // The second import has replaced 5, and 7 of it was deleted.
    let disk = with_doubtful(&[&[5, 1], &[5, 7, 8]], &[7]);
    let told = |report: &RepairReport| {
        let mut ids: Vec<Id> = losses(report).iter().flat_map(|loss| loss.ids.clone()).collect();
        let rows: u64 = losses(report).iter().map(|loss| loss.rows).sum();
        assert_eq!(rows, ids.len() as u64, "{report:?}");
        ids.sort();
        ids
    };
    let image = disk.kill_image();
    let (saved, report) = repair(&image, options(&image));
    let there: Vec<Id> = saved.unwrap().rows.into_keys().collect();
    assert_eq!((there, told(&report)), (numbers(&[70_000]), numbers(&[1, 5, 7, 8])));
    // Of 5 nobody knows which row counts.
    let (saved, report) = repair(&disk, options(&disk).keep_doubtful(true));
    let there: Vec<Id> = saved.unwrap().rows.into_keys().collect();
    assert_eq!((there, told(&report)), (numbers(&[1, 7, 8, 70_000]), numbers(&[5])));
}

#[test]
fn a_doubtful_segment_that_becomes_certain_makes_others_certain() {
    // 5 was replaced by the second import and 9 by the third, which has no tombstones.
    let disk = with_doubtful(&[&[5, 1], &[5, 9], &[9]], &[]);
    let (saved, report) = repair(&disk, options(&disk));
    assert!(report.is_complete(), "{report:?}");
    let rows: Vec<(Id, f32)> =
        saved.unwrap().rows.into_iter().map(|(id, row)| (id, row.vector[0])).collect();
    let expected = [(1, 0.0), (5, 1.0), (9, 2.0), (70_000, 3.0)];
    assert_eq!(rows, expected.map(|(id, round)| (Id::U64(id), round)));
}

#[test]
fn replaced_rows_are_told_from_living_ones_without_tombstones() {
    let (disk, _) = segment(500);
    let state = with_tombstones(&disk, |docs| {
        let notes = notes(&[Some("new"), None], &[None, Some(1)]);
        docs.upsert(&[7, 8], &[1.0_f32; 8], &notes).unwrap();
    });
    damage_tombstones(&disk);
    let (saved, report) = repair(&disk, options(&disk));
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(saved.unwrap(), state);
}

#[test]
fn a_damaged_log_costs_the_operations_that_it_hides_and_not_those_behind_them() {
    let (disk, _) = segment(100);
    let (db, docs) = open(&disk, "/db");
    let one = |id: u64, year: i64| {
        docs.upsert(&[id], &[year as f32; 4], &notes(&[None], &[Some(year)])).unwrap();
    };
    (0..5).for_each(|at| one(1_000 + at, at as i64));
    let ends = |path: &PathBuf| path.extension().is_some_and(|end| end == "log");
    let log = disk.files().into_iter().rfind(ends).unwrap();
    let here = disk.read(&log, 0).unwrap().len();
    (5..8).for_each(|at| one(1_000 + at, at as i64));
    docs.delete(&[50]).unwrap();
    let whole = state_of(&docs).unwrap();
    let mut truth = whole.rows.clone();
    drop((db, docs));
    let image = disk.kill_image();
    disk.edit(&log, |bytes| bytes[here + 60] ^= 1).unwrap();
    let (saved, report) = repair(&disk, options(&disk));
    let [loss] = losses(&report) else { panic!("{report:?}") };
    assert!(loss.operations == 1 && loss.rows == 0 && loss.file == log, "{loss:?}");
    truth.remove(&Id::U64(1_005));
    assert_eq!(saved.unwrap().rows, truth);
    // A header can be done without, a whole log cannot.
    let header = image.kill_image();
    header.edit(&log, |bytes| bytes[70] ^= 1).unwrap();
    let (saved, report) = repair(&header, options(&header));
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(saved.unwrap(), whole);
    image.remove_file(&log).unwrap();
    let (saved, report) = repair(&image, options(&image));
    // The deletion is in the tombstones by now.
    assert_eq!(saved.unwrap().rows.len(), 99);
    let [loss] = losses(&report) else { panic!("{report:?}") };
    assert!(loss.operations == 9 && loss.section == "log", "{loss:?}");
}

#[test]
fn a_repair_is_refused_where_it_cannot_be_right() {
    let (disk, _) = segment(20);
    let refused = |from: &str, to: &str, options| match Database::repair(from, to, options) {
        Err(error) => error,
        Ok(report) => panic!("{report:?}"),
    };
    let error = refused("/nowhere", "/new", options(&disk));
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    let error = refused("/db", "/db/new", options(&disk));
    assert!(error.to_string().contains("inside"), "{error}");
    let error = refused("/db", "/db", options(&disk));
    assert!(matches!(error, Error::InvalidArgument(_)), "{error}");
    let error = refused("/db", "/new", options(&disk).progress(|_, _| false));
    assert!(matches!(error, Error::Cancelled), "{error}");
    // Somebody writes meanwhile.
    let (_db, docs) = open(&disk, "/db");
    let mut written = false;
    let write = |_, _| {
        if !std::mem::replace(&mut written, true) {
            docs.upsert(&[77], &[0.0_f32; 4], ()).unwrap();
            docs.compact().unwrap();
        }
        true
    };
    let error = refused("/db", "/new", options(&disk).progress(write));
    assert!(error.to_string().contains("close it first"), "{error}");
    let left: BTreeMap<String, bool> =
        disk.list(Path::new("/")).unwrap().into_iter().map(|entry| (entry.name, true)).collect();
    assert_eq!(left.keys().collect::<Vec<_>>(), ["db"]);
}

#[test]
fn a_collection_of_which_nothing_reads_is_named_and_the_others_are_saved() {
    let (disk, state) = segment(20);
    let db = OpenOptions::new().disk(Arc::new(disk.clone())).open("/db").unwrap();
    let other = db.collection("other", Schema::new(1, Metric::L2).column("a", DataType::Bool));
    drop(other.unwrap());
    db.close().unwrap();
    let manifest = |path: &PathBuf| path.to_str().unwrap().contains("/other/MANIFEST");
    for path in disk.files().iter().filter(|path| manifest(path)) {
        disk.edit(path, |bytes| bytes.truncate(40)).unwrap();
    }
    let (saved, report) = repair(&disk, options(&disk));
    assert_eq!(saved.unwrap(), state);
    let [(name, reason)] = report.lost.as_slice() else { panic!("{report:?}") };
    assert!(name == "other" && reason.contains("MANIFEST"), "{reason}");
}

#[test]
fn a_collection_without_a_manifest_is_named_and_the_others_are_saved() {
    let (disk, state) = segment(20);
    let db = OpenOptions::new().disk(Arc::new(disk.clone())).open("/db").unwrap();
    let other = db.collection("other", Schema::new(1, Metric::L2)).unwrap();
    other.upsert(&[1], &[1.0_f32], ()).unwrap();
    db.close().unwrap();
    drop((db, other));
    let manifest = |path: &&PathBuf| path.to_str().unwrap().contains("/other/MANIFEST");
    for path in disk.files().iter().filter(manifest) {
        disk.remove_file(path).unwrap();
    }
    let (saved, report) = repair(&disk, options(&disk));
    assert_eq!(saved.unwrap(), state);
    let [(name, reason)] = report.lost.as_slice() else { panic!("{report:?}") };
    assert!(name == "other" && reason.contains("manifest"), "{reason}");
}

#[test]
fn a_logged_update_of_damaged_columns_is_corrupt_and_repair_saves_the_others() {
    let (disk, state) = segment(9_000);
    let (db, docs) = open(&disk, "/db");
    // The number is in the last column, its row in the last block.
    docs.update(&[8_990], &notes(&[Some("new")], &[None])).unwrap();
    db.close().unwrap();
    drop((db, docs));
    let path = file(&disk, "attr");
    let columns = find(&disk, &path, "GRPS");
    disk.edit(&path, |bytes| bytes[columns.offset + columns.len - 5] ^= 1).unwrap();
    let db = OpenOptions::new().disk(Arc::new(disk.clone())).open("/db").unwrap();
    match db.open_collection("docs") {
        Err(Error::Corrupt { section, .. }) => assert_eq!(section, "GRPS/0"),
        other => panic!("{other:?}"),
    }
    drop(db);
    let (saved, report) = repair(&disk, options(&disk));
    let (saved, told) = (saved.unwrap().rows, &losses(&report)[0].ids);
    assert!(told.contains(&Id::U64(8_990)) && told.len() < 3_000, "{}", told.len());
    let mut truth = state.rows;
    truth.retain(|id, _| !told.contains(id));
    assert_eq!(saved, truth);
}

/// Repairs `disk`, of which some bytes cannot be read.
fn repair_unread(disk: &FaultDisk) -> (State, RepairReport) {
    let report = Database::repair("/db", "/new", options(disk)).unwrap();
    let (_db, docs) = open(disk, "/new");
    assert_eq!(docs.verify().unwrap().problems, Vec::<String>::new());
    (state_of(&docs).unwrap(), report)
}

#[test]
fn sectors_that_cannot_be_read_cost_their_rows_and_no_others() {
    let (disk, state) = segment(9_000);
    let path = file(&disk, "nfs");
    let ids = find(&disk, &path, "IDSC");
    let image = disk.kill_image();
    let at = ids.offset + BLOCK + 100;
    image.spoil(&path, Some(at..at + 512)).unwrap();
    let (saved, report) = repair_unread(&image);
    let [loss] = losses(&report) else { panic!("{report:?}") };
    assert_eq!((loss.rows, loss.section.as_str()), (BLOCK as u64 / 8, "IDSC/0"));
    assert_eq!(saved.rows.len() as u64, 9_000 - loss.rows);
    // A file of which nothing can be read is named with the reason.
    let image = disk.kill_image();
    image.spoil(&path, Some(0..usize::MAX)).unwrap();
    let (saved, report) = repair_unread(&image);
    let [loss] = losses(&report) else { panic!("{report:?}") };
    assert!(loss.rows == 9_000 && loss.reason.contains("sector"), "{loss:?}");
    assert!(saved.rows.is_empty());
    // Of the manifest before the newest, the same rows.
    let newest = disk.files().into_iter().rfind(|path| path.to_str().unwrap().contains("MANIFEST"));
    let image = disk.kill_image();
    image.spoil(&newest.unwrap(), Some(0..10)).unwrap();
    let (saved, _) = repair_unread(&image);
    assert_eq!(saved, state);
}

#[test]
fn sectors_of_a_log_that_cannot_be_read_cost_the_operations_there() {
    let (disk, _) = segment(100);
    let (db, docs) = open(&disk, "/db");
    // Several pages each.
    let one = |round: u64| {
        let ids: Vec<u64> = (round * 1_000..round * 1_000 + 600).collect();
        docs.upsert(&ids, vec![round as f32; 4 * ids.len()], ()).unwrap();
    };
    let ends = |path: &PathBuf| path.extension().is_some_and(|end| end == "log");
    let mut places = Vec::new();
    for round in 1..=8 {
        one(round);
        let log = disk.files().into_iter().rfind(ends).unwrap();
        places.push(disk.read(&log, 0).unwrap().len());
    }
    let whole = state_of(&docs).unwrap();
    // Not closed: no manifest knows how far the log goes.
    let disk = disk.kill_image();
    drop((db, docs));
    let log = disk.files().into_iter().rfind(ends).unwrap();
    for last in [false, true] {
        let image = disk.kill_image();
        let bad = if last { places[6] + 4..places[7] } else { places[4] + 4..places[4] + 5 };
        image.spoil(&log, Some(bad)).unwrap();
        let (saved, report) = repair_unread(&image);
        let [loss] = losses(&report) else { panic!("{report:?}") };
        assert!(loss.operations >= 1 && loss.file == log, "{loss:?}");
        for (id, row) in &saved.rows {
            assert_eq!(Some(row), whole.rows.get(id));
        }
        let lost = (whole.rows.len() - saved.rows.len()) / 600;
        assert!((1..=2).contains(&lost), "{lost} of 8 operations, the unread one among them");
    }
}
