//! Forgetting rows: afterwards no file of the collection holds a byte of them, and all else is as it was;
//! whatever crashes or fails on the way, and whoever reads or writes meanwhile.

use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{LargeListBuilder, LargeStringBuilder};
use arrow_array::{ArrayRef, Int64Array, LargeStringArray, RecordBatch};
use nearfield::testing::{Disk, Fault, FaultDisk, OsDisk};
use nearfield::{
    Collection, DataType, Database, Error, Fields, Id, IdType, Ids, ImportBatch, ImportOptions,
    Metric, OpenOptions, Schema, Settings, SparseVector, TextOptions, Vectors,
};

use crate::common::{Random, Scratch};
use crate::oracle::{State, state_of};

const DIMENSION: usize = 8;

/// A row, of which every value is found nowhere else.
#[derive(Clone)]
struct Person {
    number: u64,
    vector: Vec<f32>,
}

impl Person {
    /// The `version`-th of a number.
    fn new(number: u64, version: u64) -> Self {
        Self { number, vector: Random::new(number * 100 + version + 1).vector(DIMENSION) }
    }

    /// No small number, so that its bytes are its own.
    fn id(&self) -> u64 {
        Random::new(self.number ^ 0x5bd1_e995).next()
    }

    fn text_id(&self) -> String {
        format!("person {:016x}", self.id())
    }

    /// A number that the vector gives.
    fn secret(&self) -> u64 {
        u64::from(self.vector[0].to_bits()) << 31 | u64::from(self.vector[1].to_bits())
    }

    fn note(&self) -> String {
        format!("lives at house{:x} with cats", self.secret())
    }

    fn tag(&self) -> String {
        format!("tag{:x}", self.secret() ^ 0x55)
    }

    fn sparse(&self) -> SparseVector {
        SparseVector::new([3, 70_000], [self.vector[2] + 3.0, self.vector[3] + 3.0]).unwrap()
    }

    /// The bytes by which it would be found.
    fn traces(&self, id_type: IdType) -> Vec<Vec<u8>> {
        let floats = |floats: &[f32]| floats.iter().flat_map(|x| x.to_le_bytes()).collect();
        let id = match id_type {
            IdType::U64 => self.id().to_le_bytes().to_vec(),
            IdType::Utf8 => self.text_id().into_bytes(),
        };
        vec![
            id,
            floats(&self.vector),
            floats(&[self.vector[2] + 3.0, self.vector[3] + 3.0]),
            self.note().into_bytes(),
            self.note().split(' ').nth(2).unwrap().into(),
            self.tag().into_bytes(),
            (self.secret() as i64).to_le_bytes().to_vec(),
        ]
    }
}

fn ids(people: &[Person], id_type: IdType) -> Ids<'static> {
    match id_type {
        IdType::U64 => people.iter().map(Person::id).collect::<Vec<u64>>().into(),
        IdType::Utf8 => people.iter().map(Person::text_id).collect::<Vec<String>>().into(),
    }
}

fn attributes(people: &[Person]) -> RecordBatch {
    let notes: LargeStringArray = people.iter().map(|person| Some(person.note())).collect();
    let secrets: Int64Array = people.iter().map(|person| person.secret() as i64).collect();
    let mut tags = LargeListBuilder::new(LargeStringBuilder::new());
    for person in people {
        tags.append_value([Some("all"), Some(person.tag().as_str())]);
    }
    let sparse: Vec<SparseVector> = people.iter().map(Person::sparse).collect();
    let columns: [(&str, ArrayRef, bool); 4] = [
        ("note", Arc::new(notes), true),
        ("secret", Arc::new(secrets), true),
        ("tags", Arc::new(tags.finish()), true),
        ("splade", SparseVector::column(sparse.iter().map(Some)), true),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

fn vectors(people: &[Person]) -> Vec<f32> {
    people.iter().flat_map(|person| person.vector.clone()).collect()
}

fn upsert(docs: &Collection, people: &[Person], id_type: IdType) {
    let batch = attributes(people);
    docs.upsert(ids(people, id_type), vectors(people), &batch).unwrap();
}

fn import_batch(people: &[Person], id_type: IdType) -> ImportBatch {
    ImportBatch {
        ids: ids(people, id_type),
        vectors: vectors(people).into(),
        attributes: Some(attributes(people)),
        source_rows: (0..people.len() as u64).collect(),
        rejected: Vec::new(),
    }
}

fn options(disk: Arc<dyn Disk>) -> OpenOptions {
    let mut settings = Settings::default();
    settings.background = false;
    settings.graph_bytes = 1 << 10;
    settings.threads = 1;
    OpenOptions::new().settings(settings).disk(disk)
}

fn schema() -> Schema {
    Schema::new(DIMENSION, Metric::L2)
        .text_with("note", TextOptions::new().no_language())
        .column("secret", DataType::Int64)
        .column("tags", DataType::ListUtf8)
        .column("splade", DataType::Sparse)
}

fn people(numbers: impl IntoIterator<Item = u64>) -> Vec<Person> {
    numbers.into_iter().map(|number| Person::new(number, 0)).collect()
}

/// A collection with rows of all fates: in a graph, in a second segment, in the log alone, replaced, updated
/// and deleted. The rows to be forgotten, with those that they replaced.
fn collection(disk: &Arc<dyn Disk>, path: &Path, id_type: IdType) -> (Database, Vec<Person>) {
    collection_of(120, disk, path, id_type)
}

/// With so many rows in the graph.
fn collection_of(
    rows: u64,
    disk: &Arc<dyn Disk>,
    path: &Path,
    id_type: IdType,
) -> (Database, Vec<Person>) {
    let db = options(disk.clone()).open(path).unwrap();
    let docs = db.collection("docs", schema()).unwrap();
    upsert(&docs, &people(0..rows), id_type);
    docs.compact().unwrap();
    let imported = people(120..150);
    docs.import([Ok(import_batch(&imported, id_type))], ImportOptions::new()).unwrap();
    upsert(&docs, &people(150..160), id_type);
    let (replaced, updated) = (Person::new(7, 1), Person::new(5, 1));
    upsert(&docs, std::slice::from_ref(&replaced), id_type);
    let only = std::slice::from_ref(&updated);
    docs.update(ids(only, id_type), &attributes(only)).unwrap();
    docs.delete(ids(&people([9]), id_type)).unwrap();
    let mut known = people([3, 5, 7, 9, 125, 155]);
    known.extend([replaced, updated]);
    (db, known)
}

/// What is asked for: five rows that live, one that was deleted and one that never was.
fn asked(id_type: IdType) -> Ids<'static> {
    ids(&people([3, 5, 7, 9, 125, 155, 9_999]), id_type)
}

/// Names and bytes of the files below `dir`, a character a byte: strings are searched fast.
fn files(disk: &Arc<dyn Disk>, dir: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in disk.list(dir).unwrap() {
        let path = dir.join(&entry.name);
        if entry.is_dir {
            found.extend(files(disk, &path));
        } else {
            found.push((entry.name, letters(&disk.read(&path, 0).unwrap())));
        }
    }
    found
}

fn letters(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// Names of those that hold `bytes`.
fn holding(files: &[(String, String)], bytes: &[u8]) -> Vec<String> {
    let trace = letters(bytes);
    let holds = |(name, bytes): &(String, String)| bytes.contains(&trace).then(|| name.clone());
    files.iter().filter_map(holds).collect()
}

fn assert_gone(disk: &Arc<dyn Disk>, dir: &Path, known: &[Person], id_type: IdType) {
    let files = files(disk, dir);
    for person in known {
        for trace in person.traces(id_type) {
            let found = holding(&files, &trace);
            assert!(found.is_empty(), "{}: {trace:?} is in {found:?}", person.number);
        }
    }
}

/// The state without the rows that are forgotten.
fn without(mut state: State, id_type: IdType) -> State {
    for id in asked(id_type).iter() {
        state.rows.remove(&id.to_id());
    }
    state
}

fn check(docs: &Collection, expected: &State) {
    assert_eq!(&state_of(docs).unwrap(), expected);
    assert_eq!(docs.verify().unwrap().problems, [""; 0]);
    let near = Person::new(20, 0).vector;
    let hits = docs.search(&near).k(3).run().unwrap();
    assert_eq!((hits.len(), hits[0].distance), (3, 0.0));
}

#[test]
fn no_file_holds_a_byte_of_forgotten_rows_and_all_others_are_as_they_were() {
    for id_type in [IdType::U64, IdType::Utf8] {
        let scratch = Scratch::new();
        let disk: Arc<dyn Disk> = Arc::new(OsDisk);
        let (db, known) = collection(&disk, &scratch.path(), id_type);
        let docs = db.open_collection("docs").unwrap();
        let written = files(&disk, &scratch.path());
        for person in &known {
            let traces = person.traces(id_type);
            let held = |trace: &&Vec<u8>| !holding(&written, trace).is_empty();
            // The vector of the last was never written.
            let held = traces.iter().filter(held).count();
            assert!(held + 1 >= traces.len(), "{}: {held}", person.number);
        }
        let before = state_of(&docs).unwrap();
        // Neither who reads an older state nor what a merge has left for him keeps a file.
        let reading = docs.snapshot().unwrap();
        docs.compact().unwrap();
        let later = docs.snapshot().unwrap();
        assert_eq!(docs.forget(asked(id_type)).unwrap(), 5);
        assert_gone(&disk, &scratch.path(), &known, id_type);
        for snapshot in [reading, later] {
            let read = snapshot.get(ids(&known[..1], id_type), &Fields::all().with_vectors());
            let vectors = read.unwrap().vectors.unwrap();
            assert!(matches!(vectors, Vectors::F32(vector) if *vector == known[0].vector));
        }
        let expected = without(before, id_type);
        check(&docs, &expected);
        assert_eq!(docs.forget(asked(id_type)).unwrap(), 0);
        upsert(&docs, &people([300]), id_type);
        assert_eq!(docs.forget(ids(&people([300]), id_type)).unwrap(), 1);
        assert_gone(&disk, &scratch.path(), &people([300]), id_type);
        db.close().unwrap();
        let db = options(disk.clone()).open(scratch.path()).unwrap();
        check(&db.open_collection("docs").unwrap(), &expected);
        assert_gone(&disk, &scratch.path(), &known, id_type);
    }
}

#[test]
fn rows_of_the_log_alone_are_forgotten_and_so_are_those_of_an_only_segment() {
    for id_type in [IdType::U64, IdType::Utf8] {
        let disk: Arc<dyn Disk> = Arc::new(FaultDisk::new());
        let db = options(disk.clone()).open("/db").unwrap();
        let docs = db.collection("docs", schema()).unwrap();
        assert_eq!(docs.forget(ids(&people([1]), id_type)).unwrap(), 0);
        upsert(&docs, &people(0..4), id_type);
        assert_eq!(docs.forget(ids(&people([1]), id_type)).unwrap(), 1);
        assert_gone(&disk, Path::new("/db"), &people([1]), id_type);
        assert_eq!(docs.forget(ids(&people([0, 1, 2, 3]), id_type)).unwrap(), 3);
        assert_gone(&disk, Path::new("/db"), &people(0..4), id_type);
        assert!(docs.is_empty().unwrap());
        assert_eq!(docs.forget(Ids::from(Vec::<u64>::new())).unwrap(), 0);
        let other = if id_type == IdType::U64 { IdType::Utf8 } else { IdType::U64 };
        let refused = docs.forget(ids(&people([1]), other));
        assert!(matches!(refused, Err(Error::SchemaMismatch { .. })), "{refused:?}");
    }
    let scratch = Scratch::new();
    scratch.open().collection("docs", Schema::new(1, Metric::L2)).unwrap();
    let refused = scratch.reader().open_collection("docs").unwrap().forget(&[1_u64]);
    assert!(matches!(refused, Err(Error::ReadOnly(_))), "{refused:?}");
}

#[test]
fn after_a_crash_or_a_failure_anywhere_the_same_call_finishes_and_nothing_else_is_lost() {
    let id_type = IdType::Utf8;
    let whole = FaultDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(whole.clone());
    let (db, known) = collection_of(40, &shared, Path::new("/db"), id_type);
    let docs = db.open_collection("docs").unwrap();
    docs.flush().unwrap();
    let before = state_of(&docs).unwrap();
    let expected = without(before.clone(), id_type);
    let reopen = |disk: &FaultDisk| {
        let db = options(Arc::new(disk.clone())).open("/db").unwrap();
        let docs = db.open_collection("docs").unwrap();
        (db, docs)
    };
    let counted = whole.kill_image();
    let (_db, docs) = reopen(&counted);
    let started = counted.operations();
    docs.forget(asked(id_type)).unwrap();
    let operations = counted.operations() - started;
    assert!(operations > 30, "{operations}");
    let finish = |disk: &FaultDisk| {
        let (_db, docs) = reopen(disk);
        let found = state_of(&docs).unwrap();
        assert!(found == before || found == expected, "something else is lost");
        docs.forget(asked(id_type)).unwrap();
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        assert_gone(&shared, Path::new("/db"), &known, id_type);
        assert_eq!(state_of(&docs).unwrap(), expected);
    };
    for at in (0..operations).step_by(2) {
        let image = whole.kill_image();
        let (db, docs) = reopen(&image);
        let at = image.operations() + at;
        image.plan(Some(Fault::PowerCut { at }));
        docs.forget(asked(id_type)).unwrap_err();
        drop((docs, db));
        finish(&image.crash_image(at));
    }
    // Or with space for all but one thing.
    for at in (1..operations).step_by(5) {
        let image = whole.kill_image();
        let (db, docs) = reopen(&image);
        let at = image.operations() + at;
        let kind = std::io::ErrorKind::StorageFull;
        image.plan(Some(Fault::Fail { at, kind, forever: false }));
        let failed = docs.forget(asked(id_type));
        if let Err(error) = &failed {
            assert!(matches!(error, Error::Full { .. } | Error::Poisoned(_)), "{error}");
            drop((docs, db));
        }
        finish(&image.kill_image());
    }
}

#[test]
fn imports_and_writers_go_on_beside_it() {
    let id_type = IdType::U64;
    let disk: Arc<dyn Disk> = Arc::new(FaultDisk::new());
    let (db, known) = collection(&disk, Path::new("/db"), id_type);
    let docs = db.open_collection("docs").unwrap();
    let expected = without(state_of(&docs).unwrap(), id_type).rows.len();
    let batches = (0..4).map(|batch| {
        let rows = people(1_000 + batch * 50..1_050 + batch * 50);
        if batch == 2 {
            // While files of the import are there that no manifest names.
            assert_eq!(docs.forget(asked(id_type)).unwrap(), 5);
            assert_gone(&disk, Path::new("/db"), &known, id_type);
        }
        Ok(import_batch(&rows, id_type))
    });
    docs.import(batches, ImportOptions::new()).unwrap();
    assert_eq!(docs.len().unwrap(), expected + 200);
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            for number in 2_000..2_040 {
                upsert(&docs, &people([number]), id_type);
            }
        });
        for number in 1_000..1_006 {
            assert_eq!(docs.forget(ids(&people([number]), id_type)).unwrap(), 1);
        }
        writing.join().unwrap();
    });
    assert_gone(&disk, Path::new("/db"), &people(1_000..1_006), id_type);
    assert_eq!(docs.len().unwrap(), expected + 200 + 40 - 6);
    assert_eq!(docs.verify().unwrap().problems, [""; 0]);
    assert!(docs.contains(Id::from(people([2_039])[0].id())).unwrap());
}
