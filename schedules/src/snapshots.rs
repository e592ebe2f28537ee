//! Searches and readers beside a writer: each sees a state that was, whole, and never an older one than before.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use nearfield::{Collection, Fields, Hit, Id, Result, Snapshot, Vectors};
use shuttle::thread::JoinHandle;

use crate::explore;
use crate::store::{Store, VALUE, Width, cut, linger, reader, reopened, spawn};

/// Operations of the writer.
const OPERATIONS: u64 = 6;
/// Two rows that every other operation changes.
const PAIR: [u64; 2] = [1, 2];
/// Some operations add a row of this id and their number, and some remove it.
const OWN: u64 = 100;

/// What an operation does.
enum Change {
    /// Replaces the pair and adds a row, all with this number as their value and in their vectors.
    Upsert,
    /// Gives the pair this number as its value; the vectors stay.
    Update,
    /// Removes the row that was added by the operation two before.
    Delete,
}

/// That of operation `number`, from 1.
fn change(number: u64) -> Change {
    match number % 3 {
        1 => Change::Upsert,
        2 => Change::Update,
        _ => Change::Delete,
    }
}

fn operate(docs: &Collection, width: Width, number: u64) -> Result<u64> {
    let ids = [PAIR[0], PAIR[1], OWN + number];
    match change(number) {
        Change::Upsert => {
            let vectors: Vec<f32> = ids.iter().flat_map(|_| width.vector(number)).collect();
            docs.upsert(&ids, &vectors, &values(number, ids.len()))
        }
        Change::Update => docs.update(&PAIR, &values(number, PAIR.len())),
        Change::Delete => docs.delete(OWN + number - 2),
    }
}

fn values(value: u64, rows: usize) -> RecordBatch {
    let values: ArrayRef = Arc::new(Int64Array::from(vec![value as i64; rows]));
    RecordBatch::try_from_iter([(VALUE, values)]).unwrap()
}

/// What a vector begins with, and the value.
type Rows = BTreeMap<u64, (u64, u64)>;

/// The rows after operation `number`.
fn expected(number: u64) -> Rows {
    let mut rows = Rows::new();
    for number in 1..=number {
        match change(number) {
            Change::Upsert => {
                rows.extend([PAIR[0], PAIR[1], OWN + number].map(|id| (id, (number, number))));
            }
            Change::Update => PAIR.iter().for_each(|id| rows.get_mut(id).unwrap().1 = number),
            Change::Delete => drop(rows.remove(&(OWN + number - 2))),
        }
    }
    rows
}

/// How many operations a snapshot contains. The first has two numbers, since it says of what kind the ids are.
fn state(snapshot: &Snapshot) -> u64 {
    match snapshot.seq() {
        0 => 0,
        1 => panic!("half an operation is seen"),
        seq => seq - 1,
    }
}

/// Checks that a snapshot is the state that its number says, by looking up and by searching.
fn check(snapshot: &Snapshot, width: Width) {
    let expected = expected(state(snapshot));
    let ids: Vec<u64> = PAIR.into_iter().chain(OWN..=OWN + OPERATIONS).collect();
    let records = snapshot.get(&ids, &Fields::all().with_vectors()).unwrap();
    let Some(Vectors::F32(vectors)) = records.vectors else { panic!("vectors of f32") };
    let firsts = vectors.chunks(width.elements()).map(|vector| vector[0] as u64);
    let values = records.attributes.column(0).as_primitive::<Int64Type>().values();
    let found = records.ids.iter().zip(firsts.zip(values.iter()));
    let found: Rows =
        found.map(|(id, (first, value))| (number(id), (first, *value as u64))).collect();
    assert_eq!(found, expected, "looked up in state {}", state(snapshot));
    assert_eq!(snapshot.len(), expected.len());
    let hits = snapshot.search(&width.vector(0)).k(ids.len()).run().unwrap();
    let near = |hit: &Hit| (number(&hit.id), hit.distance.sqrt() as u64);
    let found: BTreeMap<u64, u64> = hits.iter().map(near).collect();
    let expected: BTreeMap<u64, u64> = expected.iter().map(|(id, row)| (*id, row.0)).collect();
    assert_eq!(found, expected, "searched for in state {}", state(snapshot));
}

fn number(id: &Id) -> u64 {
    let Id::U64(id) = id else { panic!("{id:?}") };
    *id
}

/// How many operations the writer was told are done.
type Done = Arc<AtomicU64>;

fn write(store: &Store, done: &Done) -> JoinHandle<()> {
    let (docs, width, done) = (store.docs.clone(), store.width, done.clone());
    spawn(move || {
        for number in 1..=OPERATIONS {
            operate(&docs, width, number).unwrap();
            done.store(number, SeqCst);
        }
    })
}

/// Takes snapshots and checks them; gives the first.
fn search(store: &Store, done: &Done, count: usize) -> JoinHandle<Snapshot> {
    let (docs, width, done) = (store.docs.clone(), store.width, done.clone());
    spawn(move || {
        linger();
        let first = docs.snapshot().unwrap();
        let mut newest = state(&first);
        check(&first, width);
        for _ in 1..count {
            let written = done.load(SeqCst);
            let snapshot = docs.snapshot().unwrap();
            let now = state(&snapshot);
            assert!(now >= newest.max(written), "{now} after {newest}, {written}");
            newest = now;
            check(&snapshot, width);
        }
        first
    })
}

pub(crate) fn searched_while_written(width: Width, background: bool) {
    let store = Store::new(width, background);
    let done = Done::default();
    let writer = write(&store, &done);
    let searches = [search(&store, &done, 2), search(&store, &done, 2)];
    let docs = store.docs.clone();
    let merges = spawn(move || {
        docs.compact().unwrap();
        docs.flush().unwrap();
        docs.compact().unwrap();
    });
    writer.join().unwrap();
    merges.join().unwrap();
    for snapshot in searches.map(|search| search.join().unwrap()) {
        check(&snapshot, width);
        let files = store.disk.files();
        for file in snapshot.files() {
            assert!(files.contains(&file), "{} is gone, which a snapshot reads", file.display());
        }
    }
    check_end(&store);
}

/// Checks the last state, and once more after closing and a power cut.
fn check_end(store: &Store) {
    let check_it = |docs: &Collection| {
        let snapshot = docs.snapshot().unwrap();
        assert_eq!(state(&snapshot), OPERATIONS);
        check(&snapshot, store.width);
    };
    check_it(&store.docs);
    store.db.close().unwrap();
    let (_db, docs) = reopened(&cut(&store.disk));
    check_it(&docs);
}

/// The last operations come while a thread merges what the others have left in segments, and another flushes them.
pub(crate) fn updated_while_merged(width: Width) {
    let store = Store::new(width, false);
    let merge = |docs: &Collection| assert!(docs.compact().unwrap().rows > 0);
    for number in 1..=3 {
        operate(&store.docs, width, number).unwrap();
        if number < 3 {
            merge(&store.docs);
        }
    }
    let merges = [1, 2].map(|_| {
        let docs = store.docs.clone();
        spawn(move || {
            linger();
            merge(&docs);
        })
    });
    for number in 4..=OPERATIONS {
        operate(&store.docs, width, number).unwrap();
    }
    merges.into_iter().for_each(|merges| merges.join().unwrap());
    check_end(&store);
}

#[test]
fn updates_and_deletes_that_come_during_a_merge_and_are_flushed_are_in_its_result() {
    explore("updates and merges", || updated_while_merged(Width::Narrow));
}

#[test]
fn snapshots_are_states_that_were_while_rows_are_written_and_merged() {
    explore("snapshots", || searched_while_written(Width::Narrow, false));
}

#[test]
fn snapshots_are_states_that_were_while_memtables_are_flushed_in_the_background() {
    explore("snapshots and flushes", || searched_while_written(Width::Wide, true));
}

/// A reader, as in another process: on the same disk and with nothing else in common.
fn follow(store: &Store, done: &Done, count: usize) -> JoinHandle<()> {
    let (disk, width, done) = (store.disk.clone(), store.width, done.clone());
    spawn(move || {
        let docs = reader(&disk);
        let mut newest = state(&docs.snapshot().unwrap());
        for _ in 0..count {
            check(&docs.snapshot().unwrap(), width);
            let written = done.load(SeqCst);
            let moved = docs.refresh().unwrap();
            let snapshot = docs.snapshot().unwrap();
            let now = state(&snapshot);
            assert!(now >= newest.max(written), "{now} after {newest}, {written}");
            assert_eq!(moved, now > newest, "{now} after {newest}");
            newest = now;
            // What a reader has seen no power cut takes back.
            let (_db, kept) = reopened(&cut(&disk));
            let kept = kept.snapshot().unwrap();
            assert!(state(&kept) >= now, "{} is left of {now}", state(&kept));
            check(&kept, width);
        }
        check(&docs.snapshot().unwrap(), width);
    })
}

pub(crate) fn read_while_written(width: Width, background: bool) {
    let store = Store::new(width, background);
    let done = Done::default();
    let threads = [write(&store, &done), follow(&store, &done, 3)];
    store.docs.compact().unwrap();
    store.docs.compact().unwrap();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    store.db.close().unwrap();
}

#[test]
fn a_reader_moves_forward_to_states_that_last_while_the_writer_merges_and_removes_files() {
    explore("a reader", || read_while_written(Width::Narrow, false));
}

#[test]
fn a_reader_moves_forward_while_memtables_are_flushed_in_the_background() {
    explore("a reader and flushes", || read_while_written(Width::Wide, true));
}
