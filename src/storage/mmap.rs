//! The bytes of a file, mapped read-only or held in memory.
//!
//! The only unsafe code of the storage floor. Rust's `&[u8]` promises bytes that nobody changes,
//! and an operating system cannot promise that of a mapped file (RUSTSEC-2025-0132 is an advisory
//! about a safe function around such a map). This is the policy that makes it hold here:
//!
//! - A database directory is owned by nearfield. No other program writes into it while it is
//!   open; the lock keeps a second writing process out, and backups are copies.
//! - Only bytes that are never modified are mapped: sealed files, and the ended sections of a
//!   container still being appended to. Nothing is ever written through a map, no file is
//!   truncated, and a file is removed by its name only, which leaves a map whole.
//! - Lengths are taken from the open file when it is mapped. A foreign program that truncates a
//!   mapped file makes the next access beyond the new end a SIGBUS, and so does a disk that fails
//!   to deliver a page; neither can be answered with an `Err` from a map.
//! - A map is trusted with nothing else: what is read from it is checked against checksums and
//!   bounds at each use, so foreign writes give wrong results or `Corrupt`, not wild accesses.

#![expect(unsafe_code, reason = "a memory map cannot be made without it; policy above")]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use crate::bytes::AlignedBytes;

/// The bytes of a file: mapped, read into memory, or a part of another's. The start is aligned to at least 64
/// bytes.
#[derive(Debug)]
pub struct Mapped(Bytes);

#[derive(Debug)]
enum Bytes {
    Map(memmap2::Mmap),
    Memory(AlignedBytes),
    Part(Arc<Mapped>, Range<usize>),
}

impl Mapped {
    /// Maps the whole of `file` as long as it is now.
    pub(crate) fn from_file(file: &File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        if len == 0 {
            return Ok(Self::from_vec(Vec::new()));
        }
        let Ok(len) = usize::try_from(len) else {
            let reason = format!("{len} bytes do not fit this machine's address space");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
        };
        // SAFETY: the file lies in a directory that nearfield owns and its bytes are never
        // modified or truncated once written (module documentation), so the mapped `len` bytes
        // stay what they are as long as the map lives.
        let map = unsafe { memmap2::MmapOptions::new().len(len).map(file)? };
        Ok(Self(Bytes::Map(map)))
    }

    /// Bytes held in memory.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "the caller has no further use for them")]
    pub fn from_vec(bytes: Vec<u8>) -> Self {
        Self(Bytes::Memory(AlignedBytes::from_slice(&bytes)))
    }

    /// `len` bytes of this process alone, as `fill` makes them of zeros, in pages of 2 MiB where the system
    /// has them. They are given back to the system when this is dropped.
    pub(crate) fn anonymous(
        len: usize,
        fill: impl FnOnce(&mut [u8]) -> io::Result<()>,
    ) -> io::Result<Self> {
        if len == 0 {
            return Ok(Self::from_vec(Vec::new()));
        }
        let mut map = memmap2::MmapOptions::new().len(len).map_anon()?;
        #[cfg(target_os = "linux")]
        {
            // Advice only.
            let _ = map.advise(memmap2::Advice::HugePage);
        }
        fill(&mut map)?;
        Ok(Self(Bytes::Map(map.make_read_only()?)))
    }

    /// Bytes held in memory, aligned already.
    pub(crate) fn from_aligned(bytes: AlignedBytes) -> Self {
        Self(Bytes::Memory(bytes))
    }

    /// The bytes in `range` of another file, which is kept for them. The range is inside it and begins at
    /// a multiple of 64.
    pub(crate) fn part(whole: &Arc<Self>, range: Range<usize>) -> Self {
        assert!(range.start.is_multiple_of(64) && whole.as_slice().get(range.clone()).is_some());
        Self(Bytes::Part(Arc::clone(whole), range))
    }

    /// All bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        match &self.0 {
            Bytes::Map(map) => map,
            Bytes::Memory(bytes) => bytes.as_slice(),
            Bytes::Part(whole, range) => &whole.as_slice()[range.clone()],
        }
    }

    /// Asks the system for bytes that are soon read, so that the disk delivers them side by side. Advice only:
    /// nothing is read by it, and nothing follows where the system does not take it.
    pub(crate) fn will_need(&self, range: Range<usize>) {
        match &self.0 {
            #[cfg(unix)]
            Bytes::Map(map) => {
                let _ = map.advise_range(memmap2::Advice::WillNeed, range.start, range.len());
            }
            Bytes::Part(whole, part) => {
                whole.will_need(part.start + range.start..part.start + range.end);
            }
            _ => {}
        }
    }
}

/// A range of a map that keeps the map: bytes that stay where they are as long as it lives.
#[cfg(feature = "text")]
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    map: Arc<Mapped>,
    range: Range<usize>,
}

#[cfg(feature = "text")]
impl Kept {
    /// `None` when the range is not inside the map.
    pub(crate) fn new(map: Arc<Mapped>, range: Range<usize>) -> Option<Self> {
        map.as_slice().get(range.clone())?;
        Some(Self { map, range })
    }
}

#[cfg(feature = "text")]
impl std::ops::Deref for Kept {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map.as_slice()[self.range.clone()]
    }
}

// SAFETY: the bytes are those of a map, or of memory that nobody changes, behind an `Arc` that this
// value holds: moving or cloning the value leaves them where they are, and `range` never changes.
#[cfg(feature = "text")]
unsafe impl stable_deref_trait::StableDeref for Kept {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_and_memory_hold_the_same_aligned_bytes() {
        use std::io::Write;
        let bytes: Vec<u8> = (0..100_000_u32).map(|i| i.to_le_bytes()[0]).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let fill = |to: &mut [u8]| -> io::Result<()> {
            to.copy_from_slice(&bytes);
            Ok(())
        };
        let anonymous = Mapped::anonymous(bytes.len(), fill).unwrap();
        let mapped = Mapped::from_file(&file).unwrap();
        for mapped in [mapped, Mapped::from_vec(bytes.clone()), anonymous] {
            assert_eq!(mapped.as_slice(), bytes);
            assert_eq!(mapped.as_slice().as_ptr().addr() % 64, 0);
        }
    }

    #[test]
    fn an_empty_file_maps_to_no_bytes() {
        let file = tempfile::tempfile().unwrap();
        assert!(Mapped::from_file(&file).unwrap().as_slice().is_empty());
        assert!(Mapped::anonymous(0, |_| Ok(())).unwrap().as_slice().is_empty());
        let failed = Mapped::anonymous(10, |_| Err(io::ErrorKind::Other.into()));
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::Other);
    }
}
