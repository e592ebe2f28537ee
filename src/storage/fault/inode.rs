//! The bytes of a file, and what a power cut leaves of them.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::random::Random;

/// The unit in which unsynced bytes survive or not.
const SECTOR_BYTES: usize = 512;
/// Logs run ahead of themselves by whole pages.
const PAGE_BYTES: usize = 4096;

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
    /// Zeros may follow what was appended.
    is_log: bool,
    /// How much was appended at first.
    head: usize,
    /// Bytes that the disk does not deliver.
    unreadable: Option<Range<usize>>,
}

impl Inode {
    /// A file that its writer runs ahead of with zeros.
    pub(super) fn log() -> Self {
        Self { is_log: true, ..Self::default() }
    }

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
        if self.bytes.is_empty() {
            self.head = bytes.len();
        }
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

    /// What the death of its writer leaves.
    pub(super) fn left(&self) -> Self {
        Self { is_log: false, ..self.clone() }
    }

    /// What a power cut leaves; sectors that `others` held may turn up in this file.
    pub(super) fn crash(&self, others: &[Self], random: &mut Random) -> Self {
        let unsynced = self.bytes.len() - self.synced;
        let bytes = if unsynced == 0 {
            Arc::clone(&self.bytes)
        } else {
            let kept = match random.below(4) {
                0 => self.bytes[..self.synced].to_vec(),
                1 => self.bytes.to_vec(),
                2 => self.bytes[..self.synced + random.below(unsynced)].to_vec(),
                _ => self.scattered(others, random),
            };
            Arc::new(kept)
        };
        let bytes = self.run_ahead(bytes, random);
        Self { synced: bytes.len(), bytes, dropped: false, is_log: false, ..self.clone() }
    }

    /// The bytes of a log, and perhaps the zeros that were written behind its end for what was to come.
    fn run_ahead(&self, mut bytes: Arc<Vec<u8>>, random: &mut Random) -> Arc<Vec<u8>> {
        if self.is_log && bytes.len() > self.head && random.below(2) == 0 {
            let ahead =
                self.bytes.len().next_multiple_of(PAGE_BYTES) + random.below(2) * PAGE_BYTES;
            Arc::make_mut(&mut bytes).resize(ahead, 0);
        }
        bytes
    }

    /// Each unsynced sector is kept, zeroed, garbage or what another file had there, or the file ends before
    /// it.
    fn scattered(&self, others: &[Self], random: &mut Random) -> Vec<u8> {
        let mut kept = self.bytes[..self.synced].to_vec();
        while kept.len() < self.bytes.len() {
            let end = ((kept.len() / SECTOR_BYTES + 1) * SECTOR_BYTES).min(self.bytes.len());
            match random.below(16) {
                0..8 => kept.extend_from_slice(&self.bytes[kept.len()..end]),
                8..11 => kept.resize(end, 0),
                11..13 => kept.resize_with(end, || random.next().to_le_bytes()[0]),
                13..15 => {
                    let other = &others[random.below(others.len())].bytes;
                    let stale = other.get(kept.len()..end.min(other.len())).unwrap_or(&[]);
                    kept.extend_from_slice(stale);
                    kept.resize(end, 0);
                }
                _ => break,
            }
        }
        kept
    }
}
