//! The write-ahead log.
use std::path::Path;
use std::sync::Arc;

use super::disk::Disk;
use crate::error::Result;

/// Identity of a log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WalIdentity {
    pub(crate) store: u128,
    pub(crate) number: u64,
}

/// Appends frames. Nothing reaches the file before `flush`.
#[derive(Debug)]
pub(crate) struct WalWriter(());

impl WalWriter {
    /// Creates the file with its header and a fresh salt, and syncs file and directory.
    pub(crate) fn create(_disk: &Arc<dyn Disk>, _path: &Path, _identity: WalIdentity) -> Result<Self> { todo!() }
    /// Adds a frame to the buffer. `durable` is the highest sequence number known to be on disk. An empty payload is a marker that only carries `durable`.
    pub(crate) fn append(&mut self, _seq: u64, _durable: u64, _payload: &[u8]) { todo!() }
    /// Bytes waiting in the buffer.
    pub(crate) fn buffered(&self) -> usize { todo!() }
    /// Hands the buffered frames to the file in one append.
    pub(crate) fn flush(&mut self) -> Result<()> { todo!() }
    /// `flush`, then `fdatasync`.
    pub(crate) fn sync(&mut self) -> Result<()> { todo!() }
    /// Bytes of the file and the buffer.
    pub(crate) fn len(&self) -> u64 { todo!() }
    /// Forgets buffered frames that were not flushed.
    pub(crate) fn discard_buffer(&mut self) { todo!() }
}

/// One frame read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) seq: u64,
    pub(crate) durable: u64,
    pub(crate) payload: Vec<u8>,
}

/// Reads frames from a log file, which may still be growing.
#[derive(Debug)]
pub(crate) struct WalReader(());

impl WalReader {
    pub(crate) fn open(_disk: &Arc<dyn Disk>, _path: &Path, _identity: WalIdentity) -> Result<Self> { todo!() }
    /// Next whole valid frame; `None` at the end of what has been written so far (a torn tail counts as the end). A later call reads on, should the file have grown.
    /// A bad frame that valid frames of the same salt follow is `Corrupt`.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>> { todo!() }
}
