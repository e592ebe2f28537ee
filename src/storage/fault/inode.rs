//! The bytes of a file, and what a power cut leaves of them.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::random::Random;

/// The unit in which unsynced bytes survive or not.
const SECTOR_BYTES: usize = 512;

/// A file without its name.
#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    /// Shared with images until one of them writes.
    bytes: Arc<Vec<u8>>,
    /// How many bytes are on disk.
    synced: usize,
    /// A sync has failed: the system has dropped what it could not write and will report success
    /// from now on.
    dropped: bool,
    /// Bytes that the disk does not deliver.
    unreadable: Option<Range<usize>>,
}

impl Inode {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// At most `len` bytes from `offset`.
    pub(super) fn read(&self, offset: u64, len: u64) -> io::Result<&[u8]> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.bytes.len());
        let len = usize::try_from(len).unwrap_or(usize::MAX).min(self.bytes.len() - start);
        let asked = start..start + len;
        match &self.unreadable {
            Some(bad) if asked.start < bad.end && bad.start < asked.end => {
                Err(io::Error::other("simulated unreadable sector"))
            }
            _ => Ok(&self.bytes[asked]),
        }
    }

    pub(super) fn spoil(&mut self, bytes: Option<Range<usize>>) {
        self.unreadable = bytes;
    }

    pub(super) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    pub(super) fn append(&mut self, bytes: &[u8]) {
        Arc::make_mut(&mut self.bytes).extend_from_slice(bytes);
    }

    pub(super) fn sync(&mut self, succeeds: bool) {
        self.dropped |= !succeeds;
        if !self.dropped {
            self.synced = self.bytes.len();
        }
    }

    /// Replaces the bytes without a sync.
    pub(super) fn rewrite(&mut self, bytes: &[u8]) {
        *self = Self { bytes: Arc::new(bytes.to_vec()), ..Self::default() };
    }

    /// Changes what is on disk.
    pub(super) fn edit(&mut self, change: impl FnOnce(&mut Vec<u8>)) {
        change(Arc::make_mut(&mut self.bytes));
        self.synced = self.bytes.len();
    }

    /// What a power cut leaves.
    pub(super) fn crash(&self, random: &mut Random) -> Self {
        let unsynced = self.bytes.len() - self.synced;
        let bytes = if unsynced == 0 {
            Arc::clone(&self.bytes)
        } else {
            let kept = match random.below(4) {
                0 => self.bytes[..self.synced].to_vec(),
                1 => self.bytes.to_vec(),
                2 => self.bytes[..self.synced + random.below(unsynced)].to_vec(),
                _ => self.scattered(random),
            };
            Arc::new(kept)
        };
        let synced = bytes.len();
        Self { bytes, synced, dropped: false, unreadable: self.unreadable.clone() }
    }

    /// Each unsynced sector is kept, zeroed or garbage, or the file ends before it.
    fn scattered(&self, random: &mut Random) -> Vec<u8> {
        let mut kept = self.bytes[..self.synced].to_vec();
        while kept.len() < self.bytes.len() {
            let end = ((kept.len() / SECTOR_BYTES + 1) * SECTOR_BYTES).min(self.bytes.len());
            match random.below(16) {
                0..8 => kept.extend_from_slice(&self.bytes[kept.len()..end]),
                8..12 => kept.resize(end, 0),
                12..15 => kept.resize_with(end, || random.next().to_le_bytes()[0]),
                _ => break,
            }
        }
        kept
    }
}
