//! The write-ahead log: a header, then frames that prove themselves.
//!
//! ```text
//! header 80 B | frame | frame | …        frame = 48 B header + payload + zeros to a multiple of 8
//! ```
//!
//! A frame carries the file's random salt, two checksums and the checksum of the frame before it,
//! so that no stale or moved bytes pass for one. It also carries `synced`: how much of the file
//! its writer knew to be on disk. That decides what a bad frame means. If a later frame says that
//! the place was synced, what stands there was lost afterwards: corruption. If none does, it is
//! what a crash leaves of an append that was never synced, in whatever order the disk wrote its
//! sectors: the end of the log. Byte for byte: format.md, "Log". Knows nothing of what a payload
//! means, nor of the order of several logs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use zerocopy::little_endian::{U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::disk::{Disk, DiskFile};
use super::feature::Features;
use super::{directory_of, random};
use crate::error::{Error, Result};

/// First eight bytes of the file.
const MAGIC: [u8; 8] = *b"NEARFWAL";
const HEADER_BYTES: u32 = 80;
const FRAME_BYTES: usize = 48;
/// Longest payload of a frame; the caller splits what is larger.
pub(crate) const MAX_PAYLOAD_BYTES: usize = 256 << 20;
/// Bytes read at a time.
const READ_BYTES: usize = 1 << 20;

/// Identity of a log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WalIdentity {
    pub(crate) store: u128,
    pub(crate) number: u64,
}

#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    magic: [u8; 8],
    features: Features,
    store: U128,
    number: U64,
    salt: U64,
    reserved: U32,
    crc: U32,
}

impl Header {
    fn new(identity: WalIdentity) -> Self {
        let mut header = Self {
            magic: MAGIC,
            features: Features::current(HEADER_BYTES),
            store: U128::new(identity.store),
            number: U64::new(identity.number),
            // Never 0, which is what unwritten bytes read as.
            salt: U64::new(random() | 1),
            reserved: U32::ZERO,
            crc: U32::ZERO,
        };
        header.crc = U32::new(header.checksum());
        header
    }

    fn checksum(&self) -> u32 {
        crc32c::crc32c(&self.as_bytes()[..size_of::<Self>() - 4])
    }
}

#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct FrameHeader {
    salt: U64,
    seq: U64,
    durable: U64,
    synced: U64,
    len: U32,
    payload_crc: U32,
    previous: U32,
    crc: U32,
}

const _: () = assert!(size_of::<Header>() == HEADER_BYTES as usize);
const _: () = assert!(size_of::<FrameHeader>() == FRAME_BYTES);

impl FrameHeader {
    /// CRC32C of the frame's place in the file and everything before the checksum itself, so that
    /// a copy of a frame elsewhere is none.
    fn checksum(&self, offset: u64) -> u32 {
        let place = crc32c::crc32c(&offset.to_le_bytes());
        crc32c::crc32c_append(place, &self.as_bytes()[..FRAME_BYTES - 4])
    }

    /// Whether this was written as a frame of this log at this place.
    fn is_authentic(&self, salt: u64, offset: u64) -> bool {
        self.salt.get() == salt
            && self.crc.get() == self.checksum(offset)
            && self.synced.get() <= offset
            && self.len.get() as usize <= MAX_PAYLOAD_BYTES
    }

    /// Bytes from this frame to the next.
    fn stride(&self) -> usize {
        FRAME_BYTES + (self.len.get() as usize).next_multiple_of(8)
    }
}

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
    buffer: Vec<u8>,
    /// Checksum of the last frame in the buffer, or of the last flushed one.
    chain: u32,
    flushed_chain: u32,
    /// Length of the file.
    flushed: u64,
    /// Length of the file that is known to be on disk.
    synced: u64,
    failure: Option<String>,
}

impl WalWriter {
    /// Creates the file with its header and a fresh salt, and syncs file and directory.
    pub(crate) fn create(disk: &Arc<dyn Disk>, path: &Path, identity: WalIdentity) -> Result<Self> {
        let io = |action| move |error| Error::io(action, path, error);
        let mut file = disk.create(path).map_err(io("create"))?;
        let header = Header::new(identity);
        file.append(header.as_bytes()).map_err(io("write"))?;
        file.sync().map_err(io("sync"))?;
        disk.sync_dir(directory_of(path))
            .map_err(io("sync the directory of"))?;
        Ok(Self {
            path: path.into(),
            file,
            salt: header.salt.get(),
            buffer: Vec::new(),
            chain: header.crc.get(),
            flushed_chain: header.crc.get(),
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
    pub(crate) fn append(&mut self, seq: u64, durable: u64, payload: &[u8]) {
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
        let mut header = FrameHeader {
            salt: U64::new(self.salt),
            seq: U64::new(seq),
            durable: U64::new(durable),
            synced: U64::new(self.synced),
            len: U32::new(len),
            payload_crc: U32::new(crc32c::crc32c_append(crc32c::crc32c(payload), padding)),
            previous: U32::new(self.chain),
            crc: U32::ZERO,
        };
        self.chain = header.checksum(self.len());
        header.crc = U32::new(self.chain);
        self.buffer.extend_from_slice(header.as_bytes());
        self.buffer.extend_from_slice(payload);
        self.buffer.extend_from_slice(padding);
    }

    /// Bytes waiting in the buffer.
    pub(crate) fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Hands the buffered frames to the file in one append.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.check_alive()?;
        if self.buffer.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.file.append(&self.buffer) {
            return Err(self.fail(Error::io("write", &self.path, error)));
        }
        self.flushed += self.buffer.len() as u64;
        self.flushed_chain = self.chain;
        self.buffer.clear();
        Ok(())
    }

    /// `flush`, then `fdatasync`.
    pub(crate) fn sync(&mut self) -> Result<()> {
        self.flush()?;
        if self.synced < self.flushed {
            if let Err(error) = self.file.sync() {
                return Err(self.fail(Error::io("sync", &self.path, error)));
            }
            self.synced = self.flushed;
        }
        Ok(())
    }

    /// Bytes of the file and the buffer.
    pub(crate) fn len(&self) -> u64 {
        self.flushed + self.buffer.len() as u64
    }

    /// Forgets buffered frames that were not flushed.
    pub(crate) fn discard_buffer(&mut self) {
        self.buffer.clear();
        self.chain = self.flushed_chain;
    }

    fn check_alive(&self) -> Result<()> {
        self.failure
            .clone()
            .map_or(Ok(()), |failure| Err(Error::Poisoned(failure)))
    }

    fn fail(&mut self, error: Error) -> Error {
        self.failure = Some(error.to_string());
        error
    }
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
pub(crate) struct WalReader {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    identity: WalIdentity,
    /// Salt, once the header is there.
    salt: Option<u64>,
    /// Checksum of the frame before `position`.
    chain: u32,
    /// Sequence number of the frame before.
    seq: u64,
    position: u64,
    window: Window,
}

/// A piece of the file held in memory.
#[derive(Debug, Default)]
struct Window {
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    fn at(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let from = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        self.bytes.get(from..from.checked_add(len)?)
    }
}

impl WalReader {
    /// Opens a log. One that has no more than a torn header, which a crash leaves of a log that
    /// was being created, reads as empty.
    pub(crate) fn open(disk: &Arc<dyn Disk>, path: &Path, identity: WalIdentity) -> Result<Self> {
        let mut reader = Self {
            disk: Arc::clone(disk),
            path: path.into(),
            identity,
            salt: None,
            chain: 0,
            seq: 0,
            position: u64::from(HEADER_BYTES),
            window: Window::default(),
        };
        reader.read_header()?;
        Ok(reader)
    }

    /// Next whole valid frame; `None` at the end of what has been written so far (a torn tail
    /// counts as the end). A later call reads on, should the file have grown. A bad frame whose
    /// place a later frame knew to be on disk is `Corrupt`.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>> {
        let Some(salt) = self.read_header()? else {
            return Ok(None);
        };
        if let Some(frame) = self.read_frame(salt)? {
            return Ok(Some(frame));
        }
        if !self.is_contradicted(salt)? {
            self.window = Window::default();
            return Ok(None);
        }
        // The contradiction may have been written between two reads of a live log, and then the
        // frame is there by now.
        self.window = Window::default();
        match self.read_frame(salt)? {
            Some(frame) => Ok(Some(frame)),
            None => Err(self.corrupt(
                "it does not match its checksums, yet later frames show that it was safely on disk",
            )),
        }
    }

    /// The salt, or `None` while the header is not whole.
    fn read_header(&mut self) -> Result<Option<u64>> {
        if self.salt.is_some() {
            return Ok(self.salt);
        }
        self.load(0, HEADER_BYTES as usize + 1)?;
        let corrupt = |reason: String| Error::corrupt(&self.path, "header", reason);
        let header = match Header::ref_from_prefix(&self.window.bytes) {
            Ok((header, _)) if header.checksum() == header.crc.get() => header,
            // Nothing is appended before the header is synced, so nothing can be lost here.
            _ if self.window.bytes.len() <= HEADER_BYTES as usize => return Ok(None),
            _ => return Err(corrupt("it does not match its checksum".into())),
        };
        if header.magic != MAGIC {
            return Err(corrupt(
                "the file does not begin like a nearfield log".into(),
            ));
        }
        header.features.check(&self.path, HEADER_BYTES)?;
        let found = WalIdentity {
            store: header.store.get(),
            number: header.number.get(),
        };
        if found != self.identity {
            return Err(corrupt(format!(
                "this is log {} of store {:032x}, expected log {} of store {:032x}: \
                 the file is in the wrong place",
                found.number, found.store, self.identity.number, self.identity.store
            )));
        }
        self.chain = header.crc.get();
        self.salt = Some(header.salt.get());
        Ok(self.salt)
    }

    /// The frame at `position`, if it is whole and follows the one before.
    fn read_frame(&mut self, salt: u64) -> Result<Option<Frame>> {
        let offset = self.position;
        self.load(offset, FRAME_BYTES)?;
        let header = self.window.at(offset, FRAME_BYTES);
        let Some(header) = header.and_then(|bytes| FrameHeader::read_from_bytes(bytes).ok()) else {
            return Ok(None);
        };
        let follows = header.previous.get() == self.chain && header.seq.get() >= self.seq;
        if !header.is_authentic(salt, offset) || !follows {
            return Ok(None);
        }
        self.load(offset, header.stride())?;
        let body = self
            .window
            .at(offset, header.stride())
            .map(|frame| &frame[FRAME_BYTES..]);
        let Some(body) = body.filter(|body| crc32c::crc32c(body) == header.payload_crc.get())
        else {
            return Ok(None);
        };
        let frame = Frame {
            seq: header.seq.get(),
            durable: header.durable.get(),
            payload: body[..header.len.get() as usize].to_vec(),
        };
        self.chain = header.crc.get();
        self.seq = frame.seq;
        self.position = offset + header.stride() as u64;
        Ok(Some(frame))
    }

    /// Whether a later frame says that the bad one at `position` had been synced. One pass over
    /// the rest of the file, and only frame headers are computed, so the time is linear.
    fn is_contradicted(&mut self, salt: u64) -> Result<bool> {
        let mut offset = self.position + 8;
        while self.load(offset, FRAME_BYTES)? == FRAME_BYTES {
            while let Some(bytes) = self.window.at(offset, FRAME_BYTES) {
                if bytes.starts_with(&salt.to_le_bytes())
                    && let Ok(header) = FrameHeader::ref_from_bytes(bytes)
                    && header.is_authentic(salt, offset)
                    && header.synced.get() > self.position
                {
                    return Ok(true);
                }
                offset += 8;
            }
        }
        Ok(false)
    }

    /// Makes the window hold `len` bytes from `offset`, or what the file has of them; how many
    /// those are.
    fn load(&mut self, offset: u64, len: usize) -> Result<usize> {
        if self.window.at(offset, len).is_none() {
            let bytes = self
                .disk
                .read_range(&self.path, offset, len.max(READ_BYTES) as u64);
            let bytes = bytes.map_err(|error| Error::io("read", &self.path, error))?;
            self.window = Window {
                start: offset,
                bytes,
            };
        }
        Ok(self.window.bytes.len().min(len))
    }

    fn corrupt(&self, reason: &str) -> Error {
        Error::corrupt(
            &self.path,
            format!("frame at offset {}", self.position),
            reason,
        )
    }
}
