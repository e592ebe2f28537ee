//! nearfield: an embedded vector database.
pub(crate) mod bytes;
pub(crate) mod codec;
mod error;
pub(crate) mod filter;
pub(crate) mod index;
pub(crate) mod kernel;
mod types;
pub use error::{Error, Result};
pub use types::{DataType, Id, IdRef, IdType, Ids, Metric, VectorType, Vectors};

/// Doors for this project's own tests and benches; not a public interface.
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod testing {
    pub use crate::index::bench;
}
