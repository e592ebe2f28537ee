//! A section of an opened container, whose blocks are checked when they are first touched.
//!
//! Per block two bits: `good` once its checksum has matched, `bad` once it has not. A good block
//! costs one relaxed load afterwards: the bytes never change, so nothing needs ordering. Once all
//! blocks are good, one flag says so for all. A bad block stays on the slow path, so that every touch of it is counted in the thread that made it.
//! A search takes [`Section::failures`] at its start and asks [`Section::status_since`] at its
//! end; one that stays clear of a damaged block still answers. Two searches at the same time may
//! blame each other's block: an error too many, never one too few.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use zerocopy::FromBytes;
use zerocopy::little_endian::U32;

use super::Tag;
use super::layout::{BLOCK_BYTES, section_name};
use crate::bytes::{AlignedBytes, Guard, Guarded, Warms};
use crate::error::{Error, Result};
use crate::storage::container::hold;
use crate::storage::disk::Disk;
#[cfg(feature = "text")]
use crate::storage::mmap::Kept;
use crate::storage::mmap::Mapped;
use crate::storage::salvage;
use crate::storage::seeded::{SeededBug, seeded};

/// A mapped file and its name.
#[derive(Debug)]
pub(super) struct MappedFile {
    pub(super) path: PathBuf,
    pub(super) map: Arc<Mapped>,
}

impl MappedFile {
    pub(super) fn open(disk: &Arc<dyn Disk>, path: &Path) -> Result<Arc<Self>> {
        let map = disk.map(path).map_err(|error| Error::io("open", path, error))?;
        Ok(Self::of(path, map))
    }

    /// Opens what the disk delivers of a file.
    pub(super) fn salvage(disk: &Arc<dyn Disk>, path: &Path) -> Result<Arc<Self>> {
        let map = salvage::map(disk, path).map_err(|error| Error::io("open", path, error))?;
        Ok(Self::of(path, map))
    }

    fn of(path: &Path, map: Mapped) -> Arc<Self> {
        Arc::new(Self { path: path.into(), map: Arc::new(map) })
    }
}

/// A section whose blocks are checked on first touch (its `Guard`). Cheap to clone; keeps the map
/// alive.
#[derive(Clone)]
pub(crate) struct Section {
    /// For each 64 blocks a word of `good` bits and a word of `bad` bits.
    checked: Arc<[AtomicU64]>,
    shared: Arc<Shared>,
}

struct Shared {
    file: Arc<MappedFile>,
    place: Place,
    failures: AtomicU64,
    /// Blocks not known to be good.
    unchecked: AtomicUsize,
    /// Blocks known to be bad.
    bad: AtomicUsize,
    /// The block that failed last.
    failed_block: AtomicUsize,
    /// For how many more searches the disk is asked for what is expected.
    asking: AtomicUsize,
    /// Nanoseconds of searches that waited for the disk.
    waited: AtomicU64,
    held: OnceLock<Held>,
}

/// The bytes of a section in memory of this process, and the checksums of its blocks.
struct Held {
    bytes: Mapped,
    crcs: Box<[u32]>,
}

/// Searches that ask ahead after one that waited for the disk.
const ASKING_SEARCHES: usize = 32;
/// A search takes no longer than this, and so much for each place that it reads, unless it waits for the disk.
const READ_TIME: Duration = Duration::from_micros(60);
const PLACE_TIME: Duration = Duration::from_micros(1);
/// Nanoseconds in which a byte is read by searches that warm all there is: what waits for longer has no room.
const WARMING_TIME: u64 = 5;

/// Where a section lies in its file; the ranges were checked against the file's length.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) tag: Tag,
    pub(super) field: u16,
    pub(super) start: usize,
    pub(super) len: usize,
    pub(super) crcs_start: usize,
    /// Whether the checksums of the blocks match their digest; of those that do not, some may still be
    /// those of their blocks.
    pub(super) crcs_whole: bool,
}

impl Place {
    pub(super) fn blocks(self) -> usize {
        self.len.div_ceil(BLOCK_BYTES)
    }

    /// Checksums of the blocks, out of the bytes of the whole file.
    pub(super) fn crcs(self, file: &[u8]) -> &[U32] {
        file.get(self.crcs_start..self.crcs_start + self.blocks() * 4)
            .and_then(|bytes| <[U32]>::ref_from_bytes(bytes).ok())
            .unwrap_or(&[])
    }
}

/// What to say of a block that does not match.
pub(super) fn mismatch(block: usize) -> String {
    format!("the block at offset {} does not match its checksum", block * BLOCK_BYTES)
}

impl Section {
    pub(super) fn new(file: Arc<MappedFile>, place: Place) -> Self {
        let words = place.blocks().div_ceil(64) * 2;
        let unchecked = if seeded(SeededBug::BlockChecksum) { 0 } else { place.blocks() };
        Self {
            checked: (0..words).map(|_| AtomicU64::new(0)).collect(),
            shared: Arc::new(Shared {
                file,
                place,
                failures: AtomicU64::new(0),
                unchecked: AtomicUsize::new(unchecked),
                bad: AtomicUsize::new(0),
                failed_block: AtomicUsize::new(0),
                asking: AtomicUsize::new(0),
                waited: AtomicU64::new(0),
                held: OnceLock::new(),
            }),
        }
    }

    /// Other bytes in the place of this section's, trusted: what they should have been was made anew.
    pub(crate) fn remade(&self, bytes: AlignedBytes) -> Self {
        let place = Place { start: 0, len: bytes.len(), ..self.shared.place };
        let path = self.shared.file.path.clone();
        let file = MappedFile { path, map: Arc::new(Mapped::from_aligned(bytes)) };
        let made = Self::new(Arc::new(file), place);
        made.checked.iter().step_by(2).for_each(|word| word.store(u64::MAX, Relaxed));
        made.shared.unchecked.store(0, Relaxed);
        made
    }

    pub(crate) fn len(&self) -> usize {
        self.shared.place.len
    }

    /// Has every block checked anew when it is touched next, except those known to be bad: whoever copies
    /// bytes vouches for them with a checksum of its own, and what was read long ago may have rotted since.
    pub(crate) fn forget(&self) {
        for word in self.checked.iter().step_by(2) {
            let good = word.swap(0, Relaxed);
            // Only what was counted is counted back; a touch in between is trusted as before.
            self.shared.unchecked.fetch_add(good.count_ones() as usize, Relaxed);
        }
    }

    /// Whether a block was found that does not match its checksum.
    pub(crate) fn is_damaged(&self) -> bool {
        self.shared.bad.load(Relaxed) > 0
    }

    /// The bytes behind this section's guard.
    pub(crate) fn guarded(&self) -> Guarded<'_, Self> {
        Guarded::new(self.bytes(), self)
    }

    /// A range, checked now; `Corrupt` on mismatch or when out of range.
    pub(crate) fn read(&self, offset: usize, len: usize) -> Result<&[u8]> {
        let range = offset.checked_add(len).and_then(|end| self.bytes().get(offset..end));
        let Some(bytes) = range else {
            return Err(self.corrupt(&format!(
                "{len} bytes at {offset} are asked for, the section has {}",
                self.len()
            )));
        };
        match self.first_bad(offset, len) {
            None => Ok(bytes),
            Some(block) => Err(self.corrupt(&mismatch(block))),
        }
    }

    /// The whole section, checked now.
    pub(crate) fn read_all(&self) -> Result<&[u8]> {
        self.read(0, self.len())
    }

    /// The whole section, checked now, for as long as it is wanted.
    #[cfg(feature = "text")]
    pub(crate) fn keep_all(&self) -> Result<Kept> {
        self.read_all()?;
        let Place { start, len, .. } = self.shared.place;
        Kept::new(self.shared.file.map.clone(), start..start + len)
            .ok_or_else(|| self.corrupt("it lies outside the file"))
    }

    /// How many touches have failed so far: a mark for [`status_since`](Self::status_since).
    pub(crate) fn failures(&self) -> u64 {
        self.shared.failures.load(Relaxed)
    }

    /// `Corrupt` if a touch has failed since `mark` was taken from [`failures`](Self::failures).
    pub(crate) fn status_since(&self, mark: u64) -> Result<()> {
        if self.failures() == mark {
            return Ok(());
        }
        Err(self.corrupt(&mismatch(self.shared.failed_block.load(Relaxed))))
    }

    /// A `Corrupt` error that names this section.
    pub(crate) fn corrupt(&self, reason: &str) -> Error {
        let Place { tag, field, .. } = self.shared.place;
        Error::corrupt(&self.shared.file.path, section_name(tag, field), reason)
    }

    /// For how many more searches the disk is asked for what is expected.
    #[cfg(test)]
    pub(super) fn asking(&self) -> usize {
        self.shared.asking.load(Relaxed)
    }

    pub(super) fn place(&self) -> Place {
        self.shared.place
    }

    fn bytes(&self) -> &[u8] {
        match self.shared.held.get() {
            Some(held) => held.bytes.as_slice(),
            None => self.mapped(),
        }
    }

    fn mapped(&self) -> &[u8] {
        let Place { start, len, .. } = self.shared.place;
        &self.shared.file.map.as_slice()[start..start + len]
    }

    /// Whether the bytes are in memory of this process.
    pub(crate) fn is_held(&self) -> bool {
        self.shared.held.get().is_some()
    }

    /// Reads the section into memory of this process, checked, where it stays for everybody who has it. Whether it
    /// is there: what is damaged is not.
    pub(crate) fn hold(&self, disk: &Arc<dyn Disk>) -> Result<bool> {
        let Shared { file, place, .. } = &*self.shared;
        if self.is_held() || self.is_damaged() || !place.crcs_whole {
            return Ok(self.is_held());
        }
        let read =
            |bytes: &mut [u8]| hold::read(disk, &file.path, place.start, self.mapped(), bytes);
        let bytes = Mapped::anonymous(place.len, read)
            .map_err(|error| Error::io("read into memory", &file.path, error))?;
        let crcs: Box<[u32]> =
            place.crcs(file.map.as_slice()).iter().map(|crc| crc.get()).collect();
        let blocks = bytes.as_slice().chunks(BLOCK_BYTES);
        if crcs.len() != blocks.len()
            || !blocks.zip(&crcs).all(|(bytes, crc)| crc32c::crc32c(bytes) == *crc)
        {
            // Whoever reads it from the file finds the block, and does without.
            return Ok(false);
        }
        drop(self.shared.held.set(Held { bytes, crcs }));
        (0..place.blocks()).for_each(|block| self.note(block, true));
        Ok(true)
    }

    /// The stored checksum of a block.
    fn crc(&self, block: usize) -> Option<u32> {
        match self.shared.held.get() {
            Some(held) => held.crcs.get(block).copied(),
            None => {
                let crcs = self.shared.place.crcs(self.shared.file.map.as_slice());
                crcs.get(block).map(|crc| crc.get())
            }
        }
    }

    /// Remembers whether a block matches its checksum.
    fn note(&self, block: usize, good: bool) {
        let (word, bit) = (block / 64 * 2, 1_u64 << (block % 64));
        let before = self.checked[word + usize::from(!good)].fetch_or(bit, Relaxed);
        // Only by the thread that set the bit, so that each block is counted once.
        match (before & bit == 0, good) {
            (true, true) => drop(self.shared.unchecked.fetch_sub(1, Relaxed)),
            (true, false) => drop(self.shared.bad.fetch_add(1, Relaxed)),
            (false, _) => {}
        }
    }

    /// First block of a range inside the section that does not match its checksum.
    fn first_bad(&self, offset: usize, len: usize) -> Option<usize> {
        let last = offset + len.checked_sub(1)?;
        (offset / BLOCK_BYTES..=last / BLOCK_BYTES).find(|&block| !self.check(block))
    }

    #[inline(always)]
    fn is_good(&self, block: usize) -> bool {
        match self.checked.get(block / 64 * 2) {
            Some(word) => word.load(Relaxed) >> (block % 64) & 1 == 1,
            None => false,
        }
    }

    /// Whether a block matches its checksum, computed at most once or, in a race, twice.
    fn check(&self, block: usize) -> bool {
        if self.is_good(block) {
            return true;
        }
        let (word, bit) = (block / 64 * 2, 1_u64 << (block % 64));
        if self.checked[word + 1].load(Relaxed) & bit != 0 {
            return false;
        }
        let bytes = self.bytes();
        let start = block * BLOCK_BYTES;
        let crc = crc32c::crc32c(&bytes[start..bytes.len().min(start + BLOCK_BYTES)]);
        let good = self.crc(block) == Some(crc);
        self.note(block, good);
        good
    }

    /// Asks the disk for a range, and for what its checksum covers where that is still to be compared.
    #[cold]
    #[inline(never)]
    fn ask_for(&self, offset: usize, len: usize) {
        if self.is_held() {
            return;
        }
        let Place { start, len: all, .. } = self.shared.place;
        let (first, last) = (offset / BLOCK_BYTES, offset.saturating_add(len) / BLOCK_BYTES);
        let range = match self.shared.unchecked.load(Relaxed) == 0 || self.is_good(first) {
            true => offset..offset.saturating_add(len),
            false => first * BLOCK_BYTES..(last + 1).saturating_mul(BLOCK_BYTES),
        };
        self.shared.file.map.will_need(start + range.start.min(all)..start + range.end.min(all));
    }

    #[cold]
    #[inline(never)]
    fn touch_unchecked(&self, offset: usize, len: usize) {
        if offset.checked_add(len).is_none_or(|end| end > self.len()) {
            // The slice that the caller takes next is out of range as well.
            return;
        }
        if let Some(block) = self.first_bad(offset, len) {
            self.shared.failed_block.store(block, Relaxed);
            self.shared.failures.fetch_add(1, Relaxed);
        }
    }
}

impl Guard for Section {
    #[inline(always)]
    fn touch(&self, offset: usize, len: usize) {
        if self.shared.unchecked.load(Relaxed) == 0 {
            return;
        }
        // Nearly every range lies in one block, or straddles two that are known to be good.
        // Wrapping: an absurd range fails the comparison or the lookup and takes the slow path.
        let first = offset / BLOCK_BYTES;
        let last = offset.wrapping_add(len).wrapping_sub(1) / BLOCK_BYTES;
        if last.wrapping_sub(first) > 1 || !self.is_good(first) || !self.is_good(last) {
            self.touch_unchecked(offset, len);
        }
    }

    const IN_FILE: bool = true;

    #[inline(always)]
    fn expect(&self, offset: usize, len: usize) {
        if self.shared.asking.load(Relaxed) > 0 {
            self.ask_for(offset, len);
        }
    }

    fn took(&self, time: Duration, ranges: u64, warms: Warms) {
        let Shared { asking, waited, .. } = &*self.shared;
        let places = PLACE_TIME.saturating_mul(u32::try_from(ranges).unwrap_or(u32::MAX));
        if time <= READ_TIME.saturating_add(places) {
            let left = asking.load(Relaxed);
            if left > 0 {
                asking.store(left - 1, Relaxed);
            }
            return;
        }
        let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let before = waited.fetch_add(time, Relaxed);
        let warm = WARMING_TIME.saturating_mul(self.len() as u64);
        if warms == Warms::Little || before > warm {
            asking.store(ASKING_SEARCHES, Relaxed);
        }
    }
}

impl fmt::Debug for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Section")
            .field("file", &self.shared.file.path)
            .field("place", &self.shared.place)
            .field("failures", &self.failures())
            .finish_non_exhaustive()
    }
}
