//! Python bindings of nearfield: conversion between Python's values and the engine's, nothing else.
//!
//! Every call into the engine goes through [`errors::call`], which releases the interpreter lock
//! and turns errors, and panics that must not happen, into exceptions. What a caller may give as
//! ids, vectors and data is read in `ids`, `vectors` and `columns`, the rest in `request`; what
//! comes back is `hits`, `batch_hits` and `records`. Calls that may be long go through
//! [`interrupt::long`]. `unsafe` is in `arrow_ffi` alone.

mod arrow_ffi;
mod batch_hits;
mod batches;
mod bulk;
mod cells;
mod collection;
mod columns;
mod command_line;
mod database;
mod doctor;
mod errors;
mod explain;
mod files;
mod filter;
mod filter_values;
mod hits;
mod ids;
mod index;
mod infer;
mod interrupt;
mod log;
mod numbers;
mod pickles;
mod picks;
mod reading;
mod records;
mod request;
mod rerank;
mod rows;
mod schema;
mod settings;
mod snapshot;
mod sparse;
mod text_options;
mod texts;
mod vectors;
mod words;

/// The extension module; users import it as `nearfield`.
#[pyo3::pymodule]
mod _nearfield {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::batch_hits::BatchHits;
    #[pymodule_export]
    use super::collection::Collection;
    #[pymodule_export]
    use super::command_line::_run_command_line;
    #[pymodule_export]
    use super::database::{Database, open, repair, restore, unpack};
    #[pymodule_export]
    use super::doctor::{DoctorReport, doctor};
    #[pymodule_export]
    use super::explain::Explanation;
    #[pymodule_export]
    use super::filter::{Column, Filter, col};
    #[pymodule_export]
    use super::hits::{Hit, Hits};
    #[pymodule_export]
    use super::index::Index;
    #[pymodule_export]
    use super::pickles::{_batch_hits, _hits, _records};
    #[pymodule_export]
    use super::records::{Records, Scan};
    #[pymodule_export]
    use super::snapshot::Snapshot;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
