//! A file of checksummed sections.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::Disk;
use super::mmap::Mapped;
use crate::bytes::{Guard, Guarded};
use crate::error::Result;

/// Four-letter name of a section's content.
pub(crate) type Tag = [u8; 4];

/// What a file is, written in its header and checked on opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Kind of the file (`SEGM`, `ATTR`, `TOMB`).
    pub(crate) kind: Tag,
    /// The collection the file belongs to.
    pub(crate) store: u128,
    /// Segment number.
    pub(crate) segment: u64,
    /// Generation of an attribute or tombstone file; 0 for a segment.
    pub(crate) generation: u64,
}

/// What the manifest remembers of a finished file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seal {
    /// Length in bytes.
    pub(crate) len: u64,
    /// XXH3-128 of the section table, which holds the checksums of everything else.
    pub(crate) digest: u128,
}

/// Writes a container front to back.
#[derive(Debug)]
pub(crate) struct ContainerWriter(());

impl ContainerWriter {
    /// Creates `path` with its header.
    pub(crate) fn create(_disk: &Arc<dyn Disk>, _path: &Path, _identity: Identity) -> Result<Self> { todo!() }
    /// Begins a section; `align` is a power of two of at least 4096.
    pub(crate) fn begin(&mut self, _tag: Tag, _field: u16, _align: u64) -> Result<()> { todo!() }
    /// Appends to the open section.
    pub(crate) fn write(&mut self, _bytes: &[u8]) -> Result<()> { todo!() }
    /// Ends the open section.
    pub(crate) fn end(&mut self) -> Result<()> { todo!() }
    /// A whole section at once.
    pub(crate) fn section(&mut self, _tag: Tag, _field: u16, _bytes: &[u8]) -> Result<()> { todo!() }
    /// The bytes of an ended section, mapped while the file is still being written.
    pub(crate) fn map_section(&mut self, _tag: Tag, _field: u16) -> Result<WrittenSection> { todo!() }
    /// Bytes written so far.
    pub(crate) fn len(&self) -> u64 { todo!() }
    /// Writes table and footer and syncs the file (not its directory).
    pub(crate) fn finish(self) -> Result<Seal> { todo!() }
}

/// An ended section of a file that is still being written.
#[derive(Debug)]
pub(crate) struct WrittenSection(());
impl WrittenSection {
    pub(crate) fn as_slice(&self) -> &[u8] { todo!() }
}

/// An opened container.
#[derive(Clone, Debug)]
pub(crate) struct Container(());

impl Container {
    /// Opens `path`, checking header, section table, block-checksum tables and footer, identity and (when given) the seal.
    pub(crate) fn open(_disk: &Arc<dyn Disk>, _path: &Path, _identity: Identity, _seal: Option<Seal>) -> Result<Self> { todo!() }
    /// A section, or `None` when the file has none of that name.
    pub(crate) fn section(&self, _tag: Tag, _field: u16) -> Option<Section> { todo!() }
    /// A section that must be there; `Corrupt` otherwise.
    pub(crate) fn require(&self, _tag: Tag, _field: u16) -> Result<Section> { todo!() }
    /// All sections as (tag, field, length).
    pub(crate) fn sections(&self) -> Vec<(Tag, u16, u64)> { todo!() }
    /// Reads and checks every block of every section again, whatever was checked before.
    pub(crate) fn verify(&self) -> Result<()> { todo!() }
    /// Length of the file.
    pub(crate) fn len(&self) -> u64 { todo!() }
    /// Path of the file.
    pub(crate) fn path(&self) -> &PathBuf { todo!() }
}

/// A section whose blocks are checked on first touch (its `Guard`). Cheap to clone; keeps the map alive.
#[derive(Clone, Debug)]
pub(crate) struct Section(());

impl Section {
    pub(crate) fn len(&self) -> usize { todo!() }
    /// The bytes behind this section's guard.
    pub(crate) fn guarded(&self) -> Guarded<'_, Section> { todo!() }
    /// A range, checked now; `Corrupt` on mismatch or when out of range.
    pub(crate) fn read(&self, _offset: usize, _len: usize) -> Result<&[u8]> { todo!() }
    /// The whole section, checked now.
    pub(crate) fn read_all(&self) -> Result<&[u8]> { todo!() }
    /// `Corrupt` if any touch has failed so far.
    pub(crate) fn status(&self) -> Result<()> { todo!() }
    /// How many touches have failed so far: a mark for `status_since`.
    pub(crate) fn failures(&self) -> u64 { todo!() }
    /// `Corrupt` if a touch has failed since `mark` was taken. A search takes the mark at its start, so
    /// that one which stays clear of a damaged block still answers.
    pub(crate) fn status_since(&self, _mark: u64) -> Result<()> { todo!() }
    /// A `Corrupt` error that names this section.
    pub(crate) fn corrupt(&self, _reason: &str) -> crate::error::Error { todo!() }
    pub(crate) fn advise_willneed(&self) { todo!() }
}

impl Guard for Section {
    #[inline(always)]
    fn touch(&self, _offset: usize, _len: usize) { todo!() }
}
#[expect(unused)]
fn unused(_: Mapped) {}
