//! Damaged and foreign files: each file of a small database cut at many lengths, with flipped
//! bits, replaced by noise or by another of the files, or gone.
//!
//! Opening, reading, searching and verifying then give `Corrupt` or `Incompatible`, or the right
//! answer; never a panic, never a wrong one.

mod every;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nearfield::testing::{Disk, FaultDisk};
use nearfield::{
    Collection, Durability, Error, IdType, Metric, OpenOptions, Result, Schema, SearchPlan,
    Settings, TextOptions,
};

use crate::common::Random;
use crate::lists;
use crate::oracle::{Change, Maker, Rule, State, state_of};

pub(crate) const DIMENSION: usize = 8;
/// Hits of the search that walks.
const WALKED: usize = 2;

fn settings(durability: Durability) -> Settings {
    let mut settings = Settings::default();
    settings.background = false;
    settings.memtable_bytes = 64 << 10;
    settings.graph_bytes = 1 << 10;
    settings.m = 4;
    settings.ef_construction = 16;
    settings.ef_search = 2;
    settings.threads = 1;
    settings.durability = durability;
    settings
}

fn open(disk: &FaultDisk, path: &str, reader: bool) -> Result<Collection> {
    let options = OpenOptions::new().settings(settings(Durability::Sync));
    let options = options.disk(Arc::new(disk.clone()));
    options.read_only(reader).open(path)?.open_collection("docs")
}

/// A database with every kind of file, and the states that its log leads through.
pub(crate) fn database(id_type: IdType, durability: Durability) -> (FaultDisk, Vec<State>) {
    let schema = Schema::new(DIMENSION, Metric::L2)
        .text_with("note", TextOptions::new().no_language())
        .column("title", nearfield::DataType::Utf8)
        .column("splade", nearfield::DataType::Sparse)
        .column("year", nearfield::DataType::Int64);
    database_of(schema, 300, id_type, durability)
}

/// The same of so many rows, with or without indexes of texts.
fn database_of(
    schema: Schema,
    rows: u64,
    id_type: IdType,
    durability: Durability,
) -> (FaultDisk, Vec<State>) {
    let disk = FaultDisk::new();
    let options = OpenOptions::new().settings(settings(durability));
    let options = options.disk(Arc::new(disk.clone()));
    let db = options.open("/db").unwrap();
    let docs = db.collection("docs", schema.clone()).unwrap();
    let elements = -3..=3;
    let maker = Maker { id_type, dimension: DIMENSION, elements, ids: 1_000, long_texts: false };
    let mut random = Random::new(9);
    let mut state = State::new(&schema);
    let apply = |state: &mut State, change: Change| {
        state.apply(&change);
        change.run(&docs).unwrap();
    };
    let columns = state.columns.clone();
    let mut whole = || loop {
        let batch = maker.batch(rows, &columns, &mut random);
        if batch.columns.len() == columns.len() {
            return batch;
        }
    };
    apply(&mut state, Change::Upsert(whole()));
    docs.compact().unwrap();
    apply(&mut state, Change::Delete(maker.batch(rows / 15, &[], &mut random)));
    apply(&mut state, Change::Import(vec![maker.batch(rows / 10, &columns, &mut random)]));
    let values = maker.values(&columns, &mut random);
    let mut states = vec![state.clone()];
    let mut changes = vec![
        Change::Upsert(maker.batch(5, &columns, &mut random)),
        Change::Delete(maker.batch(rows * 2 / 15, &[], &mut random)),
        Change::UpdateWhere(Rule::Below("year".into(), i64::MIN / 8 * 7), values),
        Change::IndexText("title".into()),
        Change::Upsert(maker.batch(5, &columns, &mut random)),
        Change::DeleteWhere(Rule::Begins("note".into(), "ü3".into())),
    ];
    if !columns.iter().any(|column| column.text) {
        changes.retain(|change| !matches!(change, Change::IndexText(_)));
    }
    for change in changes {
        apply(&mut state, change);
        assert_ne!(states.last(), Some(&state));
        states.push(state.clone());
    }
    drop((docs, db));
    (disk.kill_image(), states)
}

/// What became of a damaged database.
#[derive(Debug, Default)]
struct Counts {
    cases: u64,
    refused: u64,
    right: u64,
    /// With a damaged index of texts, and of sparse vectors: both are made anew or passed over.
    words: u64,
    sparse: u64,
    unnoticed: u64,
}

/// Distances and ids.
pub(crate) type Pairs = Vec<(f32, nearfield::Id)>;

/// Everything a damaged database is asked: its rows, the hits of an exact and a default search,
/// and what verification finds. Searches by words and sparse vectors must agree with the rows.
fn ask(disk: &FaultDisk, reader: bool) -> Result<(State, Pairs, Vec<String>)> {
    ask_at(disk, "/db", reader)
}

pub(crate) fn ask_at(
    disk: &FaultDisk,
    path: &str,
    reader: bool,
) -> Result<(State, Pairs, Vec<String>)> {
    let docs = open(disk, path, reader)?;
    let state = state_of(&docs)?;
    lists::agree(&docs, &state)?;
    let mut hits = Vec::new();
    // A graph of so few rows is walked for few hits only.
    for (k, exact) in [(12, true), (WALKED, false)] {
        let search = docs.search(&[0.5_f32; DIMENSION]).k(k).with_vectors();
        let found = if exact { search.exact(true) } else { search.ef(WALKED) }.run()?;
        hits.extend(found.iter().map(|hit| (hit.distance, hit.id.clone())));
    }
    Ok((state, hits, docs.verify()?.problems))
}

fn right_hits(state: &State) -> Pairs {
    let distance = |vector: &[f32]| vector.iter().map(|x| (x - 0.5) * (x - 0.5)).sum::<f32>();
    let mut hits: Vec<_> =
        state.rows.iter().map(|(id, row)| (distance(&row.vector), id.clone())).collect();
    hits.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
    hits
}

fn check(disk: &FaultDisk, path: &Path, states: &[State], what: &str, counts: &mut Counts) {
    for reader in [true, false] {
        check_as(reader, disk, path, states, what, counts);
    }
}

/// What a reader or a writer makes of it.
fn check_as(
    reader: bool,
    disk: &FaultDisk,
    path: &Path,
    states: &[State],
    what: &str,
    counts: &mut Counts,
) {
    let is_log = path.extension().is_some_and(|end| end == "log");
    let is_lock = path.ends_with("LOCK");
    let is_manifest = path.to_str().is_some_and(|path| path.contains("MANIFEST"));
    let copy = disk.kill_image();
    counts.cases += 1;
    let place = || format!("{} {what}, reader {reader}", path.display());
    match catch_unwind(AssertUnwindSafe(|| ask(&copy, reader))) {
        Err(_) => panic!("{}: a panic", place()),
        Ok(Err(Error::Corrupt { .. } | Error::Incompatible { .. })) => counts.refused += 1,
        Ok(Err(error)) => panic!("{}: {error:?}", place()),
        Ok(Ok((state, hits, problems))) => {
            let whole = problems.is_empty();
            let names = |index: &str| problems.iter().any(|problem| problem.contains(index));
            counts.words += u64::from(names(" TEXT"));
            counts.sparse += u64::from(names(" SPIX") || names(" SPDR"));
            let known = states.iter().rposition(|known| *known == state);
            let Some(known) = known else { panic!("{}: wrong rows", place()) };
            // Without the newest manifest a reader sees no more of the log than it says to be on disk;
            // and of the end of a log nobody can tell whether it was written.
            let last = known + 1 == states.len();
            let older = is_manifest && reader || is_log;
            assert!(last || older, "{}: rows of state {known}", place());
            let right = right_hits(&state);
            assert_eq!(hits[..12], right[..12], "{}: exact search", place());
            assert_eq!(hits.len(), 12 + WALKED, "{}", place());
            for (distance, id) in &hits[12..] {
                assert!(right.contains(&(*distance, id.clone())), "{}: a wrong hit", place());
            }
            counts.right += 1;
            counts.unnoticed += u64::from(whole);
            // A writer removes what no manifest needs when it opens.
            let gone = copy.read(path, 0).is_err();
            assert!(!whole || is_log || is_lock || gone, "{}: verify saw nothing", place());
        }
    }
}

fn sweep(id_type: IdType, durability: Durability) {
    let (disk, states) = database(id_type, durability);
    let mut counts = Counts::default();
    let (state, hits, problems) = ask(&disk.kill_image(), false).unwrap();
    assert!(
        problems.is_empty()
            && &state == states.last().unwrap()
            && hits[..12] == right_hits(&state)[..12]
    );
    let docs = open(&disk.kill_image(), "/db", true).unwrap();
    let parts = docs.search(&[0.5_f32; DIMENSION]).k(WALKED).ef(WALKED).explain().unwrap().parts;
    assert!(parts.iter().any(|part| part.plan == SearchPlan::Walk), "{parts:?}");
    let files: Vec<PathBuf> = disk.files();
    for end in ["nfs", "attr", "del", "log"] {
        let there = files.iter().any(|file| file.extension().is_some_and(|found| found == end));
        assert!(there, "no file .{end} among {files:?}");
    }
    let mut random = Random::new(3);
    for path in &files {
        let bytes = disk.read(path, 0).unwrap();
        let len = bytes.len();
        let mut damage = |what: String, change: &mut dyn FnMut(&mut Vec<u8>)| {
            let image = disk.kill_image();
            image.edit(path, |bytes| change(bytes)).unwrap();
            if image.read(path, 0).unwrap() != bytes {
                check(&image, path, &states, &what, &mut counts);
            }
        };
        let mut lens = vec![0, 1, 7, 8, 48, 63, 64, 88, 89, 136, 4_095, 4_096, len / 2, len - 1];
        lens.extend((0..12).map(|_| random.below(len as u64) as usize));
        for cut in lens.into_iter().filter(|cut| *cut < len) {
            damage(format!("cut to {cut} of {len}"), &mut |bytes| bytes.truncate(cut));
        }
        for _ in 0..60 {
            let bit = random.below(len as u64 * 8) as usize;
            damage(format!("bit {bit} of {len} bytes"), &mut |bytes| {
                bytes[bit / 8] ^= 1 << (bit % 8);
            });
        }
        for fill in [Some(0), Some(0xff), None] {
            let mut noise = || fill.unwrap_or_else(|| random.next() as u8);
            damage(format!("all {fill:?}"), &mut |bytes| bytes.fill_with(&mut noise));
            let (from, to) = (len / 3, len / 3 + 40.min(len / 3));
            damage(format!("{fill:?} from {from}"), &mut |bytes| {
                bytes[from..to].fill_with(&mut noise);
            });
        }
        damage("longer".into(), &mut |bytes| bytes.extend([0; 100]));
        for other in files.iter().filter(|other| *other != path) {
            let theirs = disk.read(other, 0).unwrap();
            damage(format!("holds {}", other.display()), &mut |bytes| bytes.clone_from(&theirs));
        }
        if !path.ends_with("LOCK") {
            let image = disk.kill_image();
            image.remove_file(path).unwrap();
            check_missing(&image, path, &states);
        }
    }
    eprintln!("{} files: {counts:?}", files.len());
    assert!(counts.refused > counts.cases / 3);
    assert!(counts.words > 0 && counts.sparse > 0);
}

/// A file that is gone is an error that names it, or one that nobody needs.
fn check_missing(disk: &FaultDisk, path: &Path, states: &[State]) {
    match ask(disk, false) {
        Ok((state, ..)) => assert!(states.last() == Some(&state), "without {}", path.display()),
        Err(error) => {
            let name = path.file_name().unwrap().to_str().unwrap();
            let text = error.to_string();
            let of_log = text.contains("a log was cut or removed");
            assert!(text.contains(name) || of_log, "without {name}: {text}");
        }
    }
}

#[test]
fn damaged_files_are_noticed_with_numbers_as_ids() {
    sweep(IdType::U64, Durability::Sync);
}

#[test]
fn damaged_files_are_noticed_with_texts_as_ids() {
    sweep(IdType::Utf8, Durability::Sync);
}

#[test]
fn damaged_files_are_noticed_when_writes_are_buffered() {
    sweep(IdType::U64, Durability::Buffered);
}

/// However short the log: a manifest knows how far it went.
#[test]
fn a_log_that_is_cut_or_gone_after_closing_is_missed() {
    for durability in [Durability::Sync, Durability::Buffered, Durability::None] {
        let disk = FaultDisk::new();
        let options = OpenOptions::new().settings(settings(durability));
        let db = options.disk(Arc::new(disk.clone())).open("/db").unwrap();
        let docs = db.collection("docs", Schema::new(1, Metric::L2)).unwrap();
        docs.upsert(&[1, 2], &[1.0_f32, 2.0], ()).unwrap();
        docs.upsert(&[3], &[3.0_f32], ()).unwrap();
        db.close().unwrap();
        let ends = |path: &&PathBuf| path.extension().is_some_and(|end| end == "log");
        let files = disk.files();
        let log = files.iter().find(ends).unwrap();
        let len = disk.read(log, 0).unwrap().len();
        for cut in [None, Some(0), Some(1), Some(88), Some(200), Some(len - 60)] {
            let image = disk.kill_image();
            match cut {
                Some(cut) => image.edit(log, |bytes| bytes.truncate(cut)).unwrap(),
                None => image.remove_file(log).unwrap(),
            }
            for reader in [true, false] {
                match open(&image, "/db", reader).map(|docs| docs.snapshot().unwrap().len()) {
                    Err(Error::Corrupt { file, section, .. }) => {
                        assert!(section == "log" && file.to_str().unwrap().contains("MANIFEST"));
                    }
                    // The last frame but says that those before are on disk.
                    Ok(3) if cut == Some(len - 60) => {}
                    other => panic!("{durability:?}, cut to {cut:?}: {other:?}"),
                }
            }
        }
        // Nor is it overlooked under an open collection.
        let docs = open(&disk, "/db", false).unwrap();
        assert_eq!(docs.verify().unwrap().problems, Vec::<String>::new());
        disk.edit(log, |bytes| bytes.truncate(88)).unwrap();
        let problems = docs.verify().unwrap().problems;
        assert!(problems[0].contains("a log was cut or removed"), "{problems:?}");
    }
}
