//! Appends frames to a log. What a failed write or sync has left is unknown, so that nothing is
//! tried twice.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use zerocopy::IntoBytes;
use zerocopy::little_endian::{U32, U64};

use super::{FrameHeader, HEADER_BYTES, Header, MAX_PAYLOAD_BYTES, Payload, WalIdentity};
use crate::bytes::AlignedBytes;
use crate::error::{Error, Result};
use crate::storage::directory_of;
use crate::storage::disk::{Disk, DiskFile};
use crate::storage::seeded::{self, SeededBug};

/// A larger buffer is given back after use.
const KEPT_BYTES: usize = 1 << 20;

/// Appends frames. Nothing reaches the file before `flush`.
///
/// After a failed write or sync the writer is dead: what the file holds is then unknown, and a
/// second `fsync` could report success for bytes that are gone. Every later call returns
/// [`Error::Poisoned`]; a new log takes over.
#[derive(Debug)]
pub(crate) struct WalWriter {
    path: PathBuf,
    file: Box<dyn DiskFile>,
    salt: u64,
    /// What the next append to the file writes, but for the shared bytes.
    buffer: Vec<u8>,
    /// Bytes that go in between, and where in `buffer`.
    shared: Vec<(usize, Arc<AlignedBytes>)>,
    /// Bytes of both.
    buffered: usize,
    /// Checksum of the last frame.
    chain: u32,
    /// Length of the file.
    flushed: u64,
    /// Length of the file that is known to be on disk.
    synced: u64,
    failure: Option<String>,
}

impl WalWriter {
    /// Begins a log in the new file of `path` with its header and a fresh salt, and syncs file and directory.
    /// `first_seq` is the sequence number that its first frame will have.
    pub(crate) fn begin(
        disk: &Arc<dyn Disk>,
        path: &Path,
        mut file: Box<dyn DiskFile>,
        identity: WalIdentity,
        first_seq: u64,
    ) -> Result<Self> {
        let io = |action| move |error| Error::io(action, path, error);
        let header = Header::new(identity, first_seq);
        file.append(header.as_bytes()).map_err(io("write"))?;
        file.sync().map_err(io("sync"))?;
        seeded::sync(SeededBug::LogName, || disk.sync_dir(directory_of(path)))
            .map_err(io("sync the directory of"))?;
        Ok(Self {
            path: path.into(),
            file,
            salt: header.salt.get(),
            buffer: Vec::new(),
            shared: Vec::new(),
            buffered: 0,
            chain: header.crc.get(),
            flushed: u64::from(HEADER_BYTES),
            synced: u64::from(HEADER_BYTES),
            failure: None,
        })
    }

    /// Adds a frame to the buffer. `durable` is the highest sequence number known to be on disk.
    /// An empty payload is a marker that only carries `durable`; appended after a sync it also
    /// seals the frames before it, so that damage to the last of them is not taken for a torn
    /// tail.
    ///
    /// The caller keeps payloads within [`MAX_PAYLOAD_BYTES`] (`InvalidArgument` is its to
    /// give); a longer one fails the writer, since leaving it out would break the order.
    pub(crate) fn append(&mut self, seq: u64, durable: u64, payload: &Payload) {
        let len = match u32::try_from(payload.len()) {
            Ok(len) if payload.len() <= MAX_PAYLOAD_BYTES => len,
            _ => {
                self.failure = Some(format!(
                    "a log record has {} bytes, at most {MAX_PAYLOAD_BYTES} are allowed",
                    payload.len()
                ));
                return;
            }
        };
        let padding = &[0; 8][..payload.len().next_multiple_of(8) - payload.len()];
        let crc = payload.pieces().into_iter().fold(0, crc32c::crc32c_append);
        let mut header = FrameHeader {
            salt: U64::new(self.salt),
            seq: U64::new(seq),
            durable: U64::new(durable),
            synced: U64::new(self.synced),
            len: U32::new(len),
            payload_crc: U32::new(crc32c::crc32c_append(crc, padding)),
            previous: U32::new(self.chain),
            crc: U32::ZERO,
        };
        self.chain = header.checksum(self.len());
        header.crc = U32::new(self.chain);
        self.buffered += header.as_bytes().len() + payload.len() + padding.len();
        self.buffer.extend_from_slice(header.as_bytes());
        self.buffer.extend_from_slice(&payload.head);
        if let Some(body) = &payload.body {
            self.shared.push((self.buffer.len(), body.clone()));
        }
        self.buffer.extend_from_slice(&payload.tail);
        self.buffer.extend_from_slice(padding);
    }

    /// Hands the buffered frames to the file in one append.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.check_alive()?;
        if self.buffer.is_empty() {
            return Ok(());
        }
        let mut pieces = Vec::with_capacity(2 * self.shared.len() + 1);
        let mut from = 0;
        for (at, shared) in &self.shared {
            pieces.extend([&self.buffer[from..*at], shared.as_slice()]);
            from = *at;
        }
        pieces.push(&self.buffer[from..]);
        if let Err(error) = self.file.append_pieces(&pieces) {
            return Err(self.fail(Error::io("write", &self.path, error)));
        }
        self.flushed += self.buffered as u64;
        self.buffered = 0;
        self.shared.clear();
        self.buffer.clear();
        self.buffer.shrink_to(KEPT_BYTES);
        Ok(())
    }

    /// `flush`, then `fdatasync`.
    pub(crate) fn sync(&mut self) -> Result<()> {
        self.flush()?;
        self.sync_written()
    }

    /// `fdatasync` of what has reached the file, also when an append to it has failed; not to be called after
    /// a sync has.
    pub(crate) fn sync_written(&mut self) -> Result<()> {
        if self.synced < self.flushed {
            if let Err(error) = seeded::sync(SeededBug::LogSync, || self.file.sync()) {
                return Err(self.fail(Error::io("sync", &self.path, error)));
            }
            self.synced = self.flushed;
        }
        Ok(())
    }

    /// Whether the file still has its name.
    pub(crate) fn has_name(&self) -> bool {
        self.file.has_name()
    }

    /// Bytes of the file and the buffer.
    pub(crate) fn len(&self) -> u64 {
        self.flushed + self.buffered as u64
    }

    fn check_alive(&self) -> Result<()> {
        self.failure.clone().map_or(Ok(()), |failure| Err(Error::Poisoned(failure)))
    }

    fn fail(&mut self, error: Error) -> Error {
        self.failure = Some(error.to_string());
        error
    }
}
