//! nearfield: an embedded vector database.
//!
//! One process opens a directory ([`Database`]), which holds named collections of rows
//! ([`Collection`]): an id, a vector and typed attributes each. Batches are atomic and durable,
//! searches are exact or walk a graph, and a [`Snapshot`] never changes under its reader.
//!
//! ```
//! # fn main() -> nearfield::Result<()> {
//! # let dir = tempfile::tempdir().expect("temporary directory");
//! # let path = dir.path().join("my.nf");
//! use nearfield::{Database, Metric, Schema};
//!
//! let db = Database::open(path)?;
//! let docs = db.collection("docs", Schema::new(3, Metric::Cosine))?;
//! docs.upsert(&[1, 2], &[1.0_f32, 0.0, 0.0, 0.0, 1.0, 0.0], ())?;
//! let hits = docs.search(&[0.9_f32, 0.1, 0.0]).k(1).run()?;
//! assert_eq!(hits[0].id, 1.into());
//! # Ok(()) }
//! ```
//!
//! Distances ascend (smaller is closer), scores descend; [`Metric`] says what they are. What holds
//! after a crash is in [`Durability`]; what can go wrong is in [`Error`]. Attributes travel as
//! [`arrow_array`] batches, files of other tools through [`interop`].

#![cfg_attr(
    test,
    allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::needless_range_loop,
        reason = "tests make up small numbers"
    )
)]

mod bare;
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
pub(crate) mod span;
pub(crate) mod storage;
pub(crate) mod sync;
pub(crate) mod text;
mod types;

pub use arrow_array;
pub use bare::{Index, IndexOptions, IndexQuery, Neighbour, Neighbours};
pub use collection::calibrate::{Calibration, CalibrationPoint};
pub use collection::embed::{Embedder, Embedding};
pub use collection::explain::{
    EfSource, Explanation, FilterAnswer, FilterExplanation, PartExplanation, SearchList, SearchPlan,
};
pub use collection::import::{
    ImportBatch, ImportOptions, ImportReport, OnBad, Phase, Progress, Rejected,
};
pub use half;

#[cfg(feature = "text")]
pub use collection::explain::{TermExplanation, WordsExplanation};
pub use collection::measure::{MeasuredRecall, RecallQuery};
pub use collection::options::{Durability, MAX_COLUMN_NAME_BYTES, MAX_COLUMNS, Schema, Settings};
pub use collection::query::{Hit, Hits, Query};
pub use collection::ranking::{Fusion, ListRank, Normalize};
pub use collection::reading::{Fields, Records, ScanOptions};
pub use collection::salvage::{Loss, RepairedCollection};
#[cfg(feature = "text")]
pub use collection::words::Snippets;
pub use collection::{
    Attributes, Collection, CompactReport, HeldBytes, Scan, SearchStats, SegmentStats, Snapshot,
    Stats, VerifyReport,
};
pub use database::doctor::{DoctorOptions, DoctorPart, DoctorReport};
pub use database::repair::{RepairOptions, RepairReport};
pub use database::{Database, MAX_NAME_BYTES, OpenOptions};
pub use error::{Error, Result};
pub use filter::{Filter, FilterColumn, Value as FilterValue, col};
pub use text::options::{Language, TextOptions};
#[cfg(feature = "text")]
pub use text::{snippet::Snippet, words::Words};
pub use types::{
    CodeChoice, Column, DataType, Id, IdRef, IdType, Ids, MAX_DIMENSION, MAX_ID_BYTES,
    MAX_SPARSE_WEIGHTS, Memory, Metric, Raw, SparseVector, VectorType, Vectors,
};

/// Doors for this project's own tests and benches; not a public interface.
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod testing {
    pub use crate::collection::forge::reseal_collection;
    pub use crate::collection::fuzz::decode;
    pub use crate::filter::fuzz::filter;
    pub use crate::index::bench;
    pub use crate::segment::attributes::fuzz::sparse_index;
    pub use crate::segment::attributes::index::fuzz::attribute_indexes;
    pub use crate::storage::disk::{DirEntry, Disk, DiskFile, DiskLock, OsDisk};
    pub use crate::storage::fault::{Fault, FaultDisk};
    pub use crate::storage::mmap::Mapped;
    pub use crate::storage::seeded::{SeededBug, checksums};
    #[cfg(shuttle)]
    pub use crate::sync::{Bug, seed};
    #[cfg(feature = "text")]
    pub use crate::text::fuzz::{text_index, words};
}

/// The examples of README.md, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

/// The examples of docs/filters.md, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../docs/filters.md")]
mod filters_page {}

/// The examples of the guide, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../docs/guide/start.md")]
#[doc = include_str!("../docs/guide/settings.md")]
mod guide {}
