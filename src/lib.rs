//! nearfield: an embedded vector database.
pub(crate) mod bytes;
mod error;
pub(crate) mod filter;
pub(crate) mod storage;
mod types;
pub use error::{Error, Result};
pub use types::{DataType, Id, IdRef, IdType, Ids, Metric, VectorType, Vectors};

/// Fault injection for this project's own tests; not a public interface.
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod testing {
    pub use crate::storage::disk::{DirEntry, Disk, DiskFile, DiskLock, OsDisk};
    pub use crate::storage::fault::{Fault, FaultDisk};
    pub use crate::storage::mmap::Mapped;
}
