//! Which rows are allowed: row sets now, predicates over attribute columns later.
//!
//! Knows rows and columns, never an id, a vector or a file.

pub(crate) mod rowset;
