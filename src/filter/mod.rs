//! Which rows are wanted: predicates over attribute columns, and sets of rows.
//!
//! ```text
//! text ─ parse ┐
//! JSON ─ json  ├─► Filter (ast) ─ bind, with the columns there are ─► Bound ─ eval ─► words of bits
//! Rust ─ build ┘        └─ print ─► text
//! ```
//!
//! Knows rows and columns, never how ids are stored, a vector or a file. Why it is built as it is:
//! docs/decisions/017-filters.md.

mod ast;
mod bind;
mod build;
mod cancel;
mod check;
mod eval;
mod failure;
mod fold;
#[cfg(feature = "testing")]
pub(crate) mod fuzz;
mod json;
mod lex;
mod like;
mod masks;
#[cfg(any(test, feature = "testing"))]
mod naive;
mod parse;
mod print;
pub(crate) mod rowset;
mod rule;
#[cfg(test)]
mod tests;

pub use ast::{Filter, Value};
pub(crate) use bind::{Bound, BoundColumn};
pub use build::{FilterColumn, col};
pub(crate) use check::{Check, KeySet, Limit, TextSet, signed_key};
pub(crate) use eval::{Asked, Holds, Known, check_values};
pub(crate) use masks::{Masks, for_each};
pub(crate) use rule::Rule;
