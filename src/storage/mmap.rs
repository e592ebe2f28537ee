//! Read-only maps of whole files.

/// The bytes of a file: mapped, or read into memory. The start is aligned to at least 64 bytes.
#[derive(Debug)]
pub struct Mapped(());

impl Mapped {
    /// Bytes held in memory.
    pub fn from_vec(_bytes: Vec<u8>) -> Self { todo!() }
    /// All bytes.
    pub fn as_slice(&self) -> &[u8] { todo!() }
    /// Asks the system to read a range ahead.
    pub fn advise_willneed(&self, _offset: usize, _len: usize) { todo!() }
}
