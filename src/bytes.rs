//! Byte slices that may be mapped from a file: aligned buffers and guarded views.
//!
//! A [`Guard`] is told of every byte range before it is read, so that a mapped section can check
//! a block's checksum on first touch while the code that reads it (codes, graphs, columns) stays
//! infallible and knows no file. Little-endian machines only: stored numbers are read in place.

use std::time::Duration;

use zerocopy::{FromBytes, Immutable};

#[cfg(target_endian = "big")]
compile_error!("nearfield reads its little-endian files in place and needs a little-endian target");

/// A byte buffer whose start is aligned to 64 bytes, a cache line.
#[derive(Default)]
pub(crate) struct AlignedBytes {
    /// The bytes and room to align them. Asking the allocator for aligned memory instead would
    /// cost large buffers a pass of zeroing: the system's own zero pages come unaligned.
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

const LINE: usize = 64;

impl AlignedBytes {
    /// `len` zero bytes.
    pub(crate) fn zeroed(len: usize) -> Self {
        let bytes = vec![0; len + LINE - 1];
        let start = bytes.as_ptr().align_offset(LINE).min(LINE - 1);
        Self { bytes, start, len }
    }

    /// `len` bytes of any content, each page of them touched.
    pub(crate) fn resident(len: usize) -> Self {
        let mut resident = Self::zeroed(len);
        // Not zeros, which the compiler knows to be there.
        resident.as_mut_slice().iter_mut().step_by(4096).for_each(|byte| *byte = 1);
        resident
    }

    /// The first `len` bytes, at most as many as there are.
    pub(crate) fn truncated(self, len: usize) -> Self {
        Self { len: len.min(self.len), ..self }
    }

    pub(crate) fn from_slice(bytes: &[u8]) -> Self {
        let mut copy = Self::zeroed(bytes.len());
        copy.as_mut_slice().copy_from_slice(bytes);
        copy
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.len]
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.len]
    }
}

impl Clone for AlignedBytes {
    fn clone(&self) -> Self {
        Self::from_slice(self.as_slice())
    }
}

impl std::fmt::Debug for AlignedBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AlignedBytes").field("len", &self.len).finish()
    }
}

/// Is told of a byte range before it is read.
pub(crate) trait Guard: Sync {
    /// Makes sure that `len` bytes from `offset` are what was written, or remembers that they are
    /// not. Never fails and never blocks on a lock.
    fn touch(&self, offset: usize, len: usize);

    /// Whether the bytes are those of a file, so that reading them may wait for a disk.
    const IN_FILE: bool = false;

    /// Told that bytes are about to be read.
    #[inline(always)]
    fn expect(&self, _offset: usize, _len: usize) {}

    /// Told what `ranges` places that were expected took to read.
    fn took(&self, _time: Duration, _ranges: u64, _warms: Warms) {}
}

/// What reading here and there does to the memory that holds a file's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Warms {
    /// All of them will soon be in memory, if there is room.
    All,
    /// Only those that are read.
    Little,
}

/// The guard of bytes that were never on disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trusted;

impl Guard for Trusted {
    #[inline(always)]
    fn touch(&self, _offset: usize, _len: usize) {}
}

/// A byte slice read only through its guard.
#[derive(Debug)]
pub(crate) struct Guarded<'a, G> {
    bytes: &'a [u8],
    guard: &'a G,
}

impl<G> Clone for Guarded<'_, G> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<G> Copy for Guarded<'_, G> {}

impl<'a> Guarded<'a, Trusted> {
    pub(crate) fn trusted(bytes: &'a [u8]) -> Self {
        Self { bytes, guard: &Trusted }
    }
}

impl<'a, G: Guard> Guarded<'a, G> {
    pub(crate) fn new(bytes: &'a [u8], guard: &'a G) -> Self {
        Self { bytes, guard }
    }

    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// `len` bytes from `offset`, touched. The caller keeps the range inside the slice.
    #[inline(always)]
    pub(crate) fn get(&self, offset: usize, len: usize) -> &'a [u8] {
        self.guard.touch(offset, len);
        &self.bytes[offset..offset + len]
    }

    /// The bytes from `offset` for a prefetch hint: not touched, but expected to be read.
    #[inline(always)]
    pub(crate) fn hint(&self, offset: usize, len: usize) -> &'a [u8] {
        self.guard.expect(offset, len);
        &self.bytes[offset..offset + len]
    }

    /// As [`Guard::took`].
    pub(crate) fn took(&self, time: Duration, ranges: u64, warms: Warms) {
        self.guard.took(time, ranges, warms);
    }

    /// The u16 at `index`, where the slice starts with u16s; 0 when outside.
    #[inline(always)]
    pub(crate) fn u16_at(&self, index: usize) -> u16 {
        let at = index * 2;
        if at + 2 > self.bytes.len() {
            return 0;
        }
        u16::read_from_bytes(self.get(at, 2)).unwrap_or(0)
    }

    /// The u32 at `index`, where the slice starts with u32s; 0 when outside.
    #[inline(always)]
    pub(crate) fn u32_at(&self, index: usize) -> u32 {
        let at = index * 4;
        if at + 4 > self.bytes.len() {
            return 0;
        }
        u32::read_from_bytes(self.get(at, 4)).unwrap_or(0)
    }

    /// The u64 at `index`, where the slice starts with u64s; 0 when outside.
    #[inline(always)]
    pub(crate) fn u64_at(&self, index: usize) -> u64 {
        let at = index * 8;
        if at + 8 > self.bytes.len() {
            return 0;
        }
        u64::read_from_bytes(self.get(at, 8)).unwrap_or(0)
    }
}

/// Views aligned bytes as numbers; empty when misaligned or of a wrong length, which the callers'
/// strides rule out.
#[inline(always)]
pub(crate) fn view<T: FromBytes + Immutable>(bytes: &[u8]) -> &[T] {
    <[T]>::ref_from_bytes(bytes).unwrap_or(&[])
}
