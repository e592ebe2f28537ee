//! nearfield: an embedded vector database.
pub(crate) mod bytes;
pub mod collection;
mod error;
pub(crate) mod filter;
pub mod interop;
mod types;
pub use error::{Error, Result};
pub use types::{DataType, Id, IdRef, IdType, Ids, Metric, VectorType, Vectors};
