//! nearfield: an embedded vector database.
pub(crate) mod bytes;
pub(crate) mod codec;
mod collection;
mod database;
mod error;
pub(crate) mod filter;
pub(crate) mod index;
pub mod interop;
pub(crate) mod kernel;
pub(crate) mod segment;
pub(crate) mod storage;
mod types;

pub use collection::import::{
    ImportBatch, ImportOptions, ImportReport, OnBad, Phase, Progress, Rejected,
};
pub use collection::options::{Durability, MAX_COLUMN_NAME_BYTES, MAX_COLUMNS, Schema, Settings};
pub use collection::query::{Fields, Hit, Hits, Query, Records, ScanOptions};
pub use collection::{
    Attributes, Collection, CompactReport, Scan, SegmentStats, Snapshot, Stats, VerifyReport,
};
pub use database::{Database, MAX_NAME_BYTES, OpenOptions};
pub use error::{Error, Result};
pub use types::{
    Column, DataType, Id, IdRef, IdType, Ids, MAX_DIMENSION, MAX_ID_BYTES, Metric, VectorType,
    Vectors,
};

/// Doors for this project's own tests and benches; not a public interface.
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod testing {
    pub use crate::index::bench;
    pub use crate::storage::disk::{DirEntry, Disk, DiskFile, DiskLock, OsDisk};
    pub use crate::storage::fault::{Fault, FaultDisk};
    pub use crate::storage::mmap::Mapped;
}
