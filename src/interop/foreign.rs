//! Foreign readers kept at arm's length: their panics become errors, and what they ask of a file
//! is compared with its length before they allocate for it.
//!
//! The parquet and arrow crates index and unwrap on the way through hostile bytes. A caught panic
//! still passes the process's panic hook, which prints by default.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::error::{Error, Result, panic_message};

/// Runs one step of a foreign reader. After an error of a step the reader must not be used again.
pub(super) fn guarded<T>(
    file: &Path,
    section: &str,
    step: impl FnOnce() -> Result<T>,
) -> Result<T> {
    catch_unwind(AssertUnwindSafe(step)).unwrap_or_else(|payload| {
        let message = panic_message(&*payload);
        Err(Error::corrupt(file, section, format!("reading it met a panic: {message}")))
    })
}

/// Opens a file and tells its length.
pub(super) fn open(path: &Path) -> Result<(File, u64)> {
    let error = |source| Error::io("read", path, source);
    let file = File::open(path).map_err(error)?;
    let metadata = file.metadata().map_err(error)?;
    if !metadata.is_file() {
        return Err(Error::invalid(format!("{} is not a file", path.display())));
    }
    Ok((file, metadata.len()))
}
