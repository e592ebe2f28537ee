//! What several subjects need: temporary databases, small vectors, the shipped data.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, LargeStringArray, RecordBatch};
use nearfield::{Database, OpenOptions, Schema};
use tempfile::TempDir;

/// A database in a directory that goes with it.
pub(crate) struct Scratch {
    pub(crate) dir: TempDir,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("temporary directory") }
    }

    pub(crate) fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("db.nf")
    }

    pub(crate) fn open(&self) -> Database {
        Database::open(self.path()).expect("open")
    }

    pub(crate) fn reader(&self) -> Database {
        OpenOptions::new().read_only(true).open(self.path()).expect("open reader")
    }
}

/// Repeatable numbers; not good ones.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(crate) fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 24) as f32
    }

    pub(crate) fn vector(&mut self, dimension: usize) -> Vec<f32> {
        (0..dimension).map(|_| self.unit() * 2.0 - 1.0).collect()
    }
}

/// A batch of a text and a number column.
pub(crate) fn notes(texts: &[Option<&str>], numbers: &[Option<i64>]) -> RecordBatch {
    let texts: ArrayRef = Arc::new(LargeStringArray::from(texts.to_vec()));
    let numbers: ArrayRef = Arc::new(Int64Array::from(numbers.to_vec()));
    RecordBatch::try_from_iter_with_nullable([("note", texts, true), ("year", numbers, true)])
        .expect("batch")
}

/// The schema of [`notes`].
pub(crate) fn notes_schema(dimension: usize, metric: nearfield::Metric) -> Schema {
    Schema::new(dimension, metric)
        .column("note", nearfield::DataType::Utf8)
        .column("year", nearfield::DataType::Int64)
}
