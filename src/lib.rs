//! nearfield: an embedded vector database.
pub(crate) mod bytes;
mod error;
pub(crate) mod filter;
pub(crate) mod segment;
pub(crate) mod storage;
mod types;
pub use error::{Error, Result};
pub use types::{DataType, Id, IdRef, IdType, Ids, Metric, VectorType, Vectors};
