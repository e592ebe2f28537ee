//! What the models share: a database on a disk in memory, threads, and what a writer has been told.

use std::sync::{Arc, Mutex};

use nearfield::testing::FaultDisk;
use nearfield::{
    Collection, DataType, Database, Fields, Id, Metric, OpenOptions, Result, ScanOptions, Schema,
    Settings,
};
use shuttle::rand::Rng;

/// Elements of a vector: few, or so many that each row fills a memtable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    Narrow,
    Wide,
}

impl Width {
    pub(crate) fn elements(self) -> usize {
        match self {
            Self::Narrow => 2,
            Self::Wide => 16_384,
        }
    }

    /// A vector that begins with `first`.
    pub(crate) fn vector(self, first: u64) -> Vec<f32> {
        let mut vector = vec![0.0; self.elements()];
        vector[0] = first as f32;
        vector
    }
}

/// The column.
pub(crate) const VALUE: &str = "value";

/// An open database.
pub(crate) struct Store {
    pub(crate) disk: FaultDisk,
    pub(crate) db: Database,
    pub(crate) docs: Collection,
    pub(crate) width: Width,
}

impl Store {
    /// A new one, with or without threads of its own.
    pub(crate) fn new(width: Width, background: bool) -> Self {
        let disk = FaultDisk::new();
        let db = open(&disk, background, false).unwrap();
        let schema = Schema::new(width.elements(), Metric::L2).column(VALUE, DataType::Int64);
        let docs = db.collection("docs", schema).unwrap();
        Self { disk, db, docs, width }
    }
}

fn open(disk: &FaultDisk, background: bool, reader: bool) -> Result<Database> {
    let mut settings = Settings::default();
    settings.background = background;
    settings.threads = 1;
    settings.memtable_bytes = 64 << 10;
    let options = OpenOptions::new().settings(settings).read_only(reader);
    options.disk(Arc::new(disk.clone())).open("/db")
}

/// What `disk` holds, opened for reading.
pub(crate) fn reader(disk: &FaultDisk) -> Collection {
    open(disk, false, true).unwrap().open_collection("docs").unwrap()
}

/// What `disk` holds, opened for writing.
pub(crate) fn reopened(disk: &FaultDisk) -> (Database, Collection) {
    let db = open(disk, false, false).unwrap();
    let docs = db.open_collection("docs").unwrap();
    (db, docs)
}

/// A disk as a power cut now may leave it.
pub(crate) fn cut(disk: &FaultDisk) -> FaultDisk {
    disk.crash_image(random(u64::MAX))
}

/// A number below `limit`, of the scheduler's choice.
pub(crate) fn random(limit: u64) -> u64 {
    shuttle::rand::thread_rng().gen_range(0..limit)
}

/// Lets others go on for a while: a thread of few steps would else be done before they have begun.
pub(crate) fn linger() {
    for _ in 0..random(80) {
        shuttle::thread::sleep(std::time::Duration::ZERO);
    }
}

pub(crate) fn spawn<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> shuttle::thread::JoinHandle<T> {
    shuttle::thread::spawn(work)
}

/// Rows of a batch of a writer.
const BATCH_ROWS: u64 = 2;
/// Ids of a writer.
const IDS: u64 = 1_000;

/// How many batches each writer has begun, and how many it was told are written. Locked between two choices of the
/// scheduler only.
#[derive(Clone, Default)]
pub(crate) struct Told(Arc<Mutex<Vec<Progress>>>);

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    pub(crate) begun: u64,
    pub(crate) written: u64,
}

impl Told {
    /// For `writers` writers.
    pub(crate) fn new(writers: usize) -> Self {
        Self(Arc::new(Mutex::new(vec![Progress::default(); writers])))
    }

    pub(crate) fn now(&self) -> Vec<Progress> {
        self.0.lock().unwrap().clone()
    }

    /// Writes the next batch of `writer`, which is the last one again if that failed.
    pub(crate) fn write(&self, docs: &Collection, width: Width, writer: usize) -> Result<u64> {
        let number = {
            let progress = &mut self.0.lock().unwrap()[writer];
            progress.begun = progress.written + 1;
            progress.written
        };
        let first = writer as u64 * IDS + number * BATCH_ROWS;
        let ids: Vec<u64> = (first..first + BATCH_ROWS).collect();
        let vectors: Vec<f32> = ids.iter().flat_map(|id| width.vector(*id)).collect();
        let rows = docs.add(&ids, &vectors, ())?;
        assert_eq!(rows, BATCH_ROWS);
        self.0.lock().unwrap()[writer].written += 1;
        Ok(rows)
    }
}

/// How many batches of each of `writers` a collection holds: whole ones, without a gap.
pub(crate) fn batches(docs: &Collection, writers: usize) -> Vec<u64> {
    let mut found = vec![Vec::new(); writers];
    for batch in docs.scan(ScanOptions::new().fields(Fields::none())).unwrap() {
        for id in batch.unwrap().ids {
            let Id::U64(id) = id else { panic!("{id:?}") };
            found[(id / IDS) as usize].push(id % IDS);
        }
    }
    let count = |ids: Vec<u64>| {
        let rows = ids.len() as u64;
        assert!(rows.is_multiple_of(BATCH_ROWS), "half a batch: {ids:?}");
        assert_eq!(ids, (0..rows).collect::<Vec<_>>(), "a batch without those before it");
        rows / BATCH_ROWS
    };
    found.into_iter().map(count).collect()
}

/// Checks that `docs` holds all that had been told `before` it was looked at, and no more than was begun
/// `after`.
pub(crate) fn check_between(docs: &Collection, before: &[Progress], after: &[Progress]) {
    let found = batches(docs, before.len());
    for ((found, before), after) in found.iter().zip(before).zip(after) {
        let range = before.written..=after.begun;
        assert!(range.contains(found), "{found} batches, expected {range:?}");
    }
}
