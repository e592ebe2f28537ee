//! Search by words: one inverted index a column and part, and the queries over them.
//!
//! Tokens, dictionaries and postings are `tantivy`'s, kept behind this room; what a query means,
//! how rows are scored and which of them count is ours. An index is derived data: it can be made
//! anew from the texts at any time, and is whenever its bytes are not what this version wrote.
//! Statistics are summed over all parts before anything is scored, so that a score depends on the
//! rows that are there and not on the parts that they lie in. Must never know an id, a vector or a
//! segment; where its bytes come from is passed in. docs/decisions/018-words.md.

#[cfg(feature = "text")]
mod analyze;
#[cfg(feature = "text")]
pub(crate) mod cell;
#[cfg(feature = "text")]
mod cursor;
#[cfg(feature = "text")]
mod directory;
#[cfg(feature = "text")]
mod evaluate;
#[cfg(all(feature = "text", feature = "testing"))]
pub(crate) mod fuzz;
#[cfg(feature = "text")]
pub(crate) mod index;
pub(crate) mod options;
#[cfg(feature = "text")]
mod pack;
#[cfg(feature = "text")]
mod parse;
#[cfg(feature = "text")]
mod plan;
#[cfg(feature = "text")]
pub(crate) mod search;
#[cfg(feature = "text")]
pub(crate) mod snippet;
#[cfg(feature = "text")]
pub(crate) mod verify;
#[cfg(feature = "text")]
pub(crate) mod words;
