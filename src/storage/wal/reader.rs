//! Reads frames from a log that may still be growing, and tells its end from damage.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use zerocopy::FromBytes;

use super::{FRAME_BYTES, Frame, FrameHeader, HEADER_BYTES, Header, MAGIC, WalIdentity};
use crate::error::{Error, Result};
use crate::storage::disk::Disk;
use crate::storage::salvage;
use crate::storage::seeded::{SeededBug, seeded};

/// Bytes read at a time.
pub(super) const READ_BYTES: usize = 1 << 20;

/// Reads frames from a log file, which may still be growing.
#[derive(Debug)]
pub(crate) struct WalReader {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    identity: WalIdentity,
    /// Salt, once the header is there.
    salt: Option<u64>,
    first_seq: Option<u64>,
    /// Checksum of the frame before `position`.
    chain: u32,
    position: u64,
    window: Window,
    /// When the log is read past damage.
    salvage: Option<Salvage>,
}

/// What is known of a log that is read past its damage. It does not grow.
#[derive(Debug, Default)]
struct Salvage {
    /// Where the last bytes end that the disk did not deliver.
    unread: u64,
    /// How much of the file its frames say to be on disk, once they were asked.
    synced: Option<u64>,
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
        let mut reader = Self::new(disk, path, identity);
        reader.read_header()?;
        Ok(reader)
    }

    fn new(disk: &Arc<dyn Disk>, path: &Path, identity: WalIdentity) -> Self {
        Self {
            disk: Arc::clone(disk),
            path: path.into(),
            identity,
            salt: None,
            first_seq: None,
            chain: 0,
            position: u64::from(HEADER_BYTES),
            window: Window::default(),
            salvage: None,
        }
    }

    /// Opens a log to be read past its damage. Where the header is damaged, the first frame says what it says;
    /// an error where that one is as well.
    pub(crate) fn salvage(
        disk: &Arc<dyn Disk>,
        path: &Path,
        identity: WalIdentity,
    ) -> Result<Self> {
        let mut reader = Self::new(disk, path, identity);
        reader.salvage = Some(Salvage::default());
        let refused = match reader.read_header() {
            Ok(_) => return Ok(reader),
            Err(error @ Error::Corrupt { .. }) => error,
            Err(error) => return Err(error),
        };
        let offset = reader.position;
        reader.load(offset, FRAME_BYTES)?;
        let first = reader.window.at(offset, FRAME_BYTES);
        let first = first.and_then(|bytes| FrameHeader::read_from_bytes(bytes).ok());
        let whole = |first: &FrameHeader| first.is_authentic(first.salt.get(), offset);
        let Some(first) = first.filter(whole) else { return Err(refused) };
        reader.salt = Some(first.salt.get());
        reader.first_seq = Some(first.seq.get());
        reader.chain = first.previous.get();
        Ok(reader)
    }

    /// Passes over damage at the place where [`next`](Self::next) has met it: reading goes on with the next
    /// frame whose header is whole. Whether there is one.
    pub(crate) fn skip(&mut self) -> Result<bool> {
        let Some(salt) = self.salt else { return Ok(false) };
        let here = self.position;
        self.load(here, FRAME_BYTES)?;
        let header = self.window.at(here, FRAME_BYTES);
        let header = header.and_then(|bytes| FrameHeader::ref_from_bytes(bytes).ok());
        // A whole header says where the next one is; otherwise it may be anywhere.
        let behind = match header.filter(|header| header.is_authentic(salt, here)) {
            Some(header) => header.stride() as u64,
            None => 8,
        };
        let mut offset = here + behind;
        while self.load(offset, FRAME_BYTES)? == FRAME_BYTES {
            while let Some(bytes) = self.window.at(offset, FRAME_BYTES) {
                if bytes.starts_with(&salt.to_le_bytes())
                    && let Ok(header) = FrameHeader::ref_from_bytes(bytes)
                    && header.is_authentic(salt, offset)
                {
                    self.chain = header.previous.get();
                    self.position = offset;
                    return Ok(true);
                }
                offset += 8;
            }
        }
        Ok(false)
    }

    /// Sequence number that the first frame has or will have; `None` while the header is not
    /// whole, and then there is no frame either.
    pub(crate) fn first_seq(&self) -> Option<u64> {
        self.first_seq
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
            return match &self.salvage {
                Some(salvage) if salvage.unread > self.position => {
                    Err(self.corrupt("the disk does not deliver it, or what follows"))
                }
                _ => Ok(None),
            };
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
        // Nothing is appended before the header is synced, so nothing can be lost here.
        let alone = self.window.bytes.len() <= HEADER_BYTES as usize;
        let header = match Header::ref_from_prefix(&self.window.bytes) {
            Ok((header, _)) if header.checksum() == header.crc.get() => header,
            _ if alone => return Ok(None),
            _ => return Err(corrupt("it does not match its checksum".into())),
        };
        if header.magic != MAGIC {
            return Err(corrupt("the file does not begin like a nearfield log".into()));
        }
        header.features.check(&self.path, HEADER_BYTES)?;
        let found = WalIdentity { store: header.store.get(), number: header.number.get() };
        if found != self.identity {
            // Until the header is synced, the file may hold what was in its place on the disk: another's.
            if alone {
                return Ok(None);
            }
            return Err(corrupt(format!(
                "this is log {} of store {:032x}, expected log {} of store {:032x}: \
                 the file is in the wrong place",
                found.number, found.store, self.identity.number, self.identity.store
            )));
        }
        self.chain = header.crc.get();
        self.first_seq = Some(header.first_seq.get());
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
        let follows = header.previous.get() == self.chain || seeded(SeededBug::StaleFrame);
        if !header.is_authentic(salt, offset) || !follows {
            return Ok(None);
        }
        self.load(offset, header.stride())?;
        let body = self.window.at(offset, header.stride()).map(|frame| &frame[FRAME_BYTES..]);
        let whole = |body: &&[u8]| {
            crc32c::crc32c(body) == header.payload_crc.get() || seeded(SeededBug::FrameChecksum)
        };
        let Some(body) = body.filter(whole) else {
            return Ok(None);
        };
        let frame = Frame {
            seq: header.seq.get(),
            durable: header.durable.get(),
            payload: body[..header.len.get() as usize].to_vec(),
        };
        self.chain = header.crc.get();
        self.position = offset + header.stride() as u64;
        Ok(Some(frame))
    }

    /// Whether a later frame says that the bad one at `position` had been synced. One pass over
    /// the rest of the file, and only frame headers are computed, so the time is linear; a log that is read
    /// past its damage is passed over once in all.
    fn is_contradicted(&mut self, salt: u64) -> Result<bool> {
        let position = self.position;
        if let Some(Salvage { synced: Some(synced), .. }) = self.salvage {
            return Ok(synced > position);
        }
        let mut most = 0;
        let mut offset = position + 8;
        while self.load(offset, FRAME_BYTES)? == FRAME_BYTES {
            while let Some(bytes) = self.window.at(offset, FRAME_BYTES) {
                if bytes.starts_with(&salt.to_le_bytes())
                    && let Ok(header) = FrameHeader::ref_from_bytes(bytes)
                    && header.is_authentic(salt, offset)
                {
                    most = header.synced.get().max(most);
                    if most > position && self.salvage.is_none() {
                        return Ok(true);
                    }
                }
                offset += 8;
            }
        }
        if let Some(salvage) = &mut self.salvage {
            salvage.synced = Some(most);
        }
        Ok(most > position)
    }

    /// Makes the window hold `len` bytes from `offset`, or what the file has of them; how many
    /// those are.
    fn load(&mut self, offset: u64, len: usize) -> Result<usize> {
        if self.window.at(offset, len).is_none() {
            let (disk, path, len) = (&self.disk, &self.path, len.max(READ_BYTES) as u64);
            let read = match &mut self.salvage {
                None => disk.read_range(path, offset, len),
                Some(known) => {
                    salvage::read_range(disk, path, offset, len).map(|(bytes, unread)| {
                        known.unread = known.unread.max(unread.unwrap_or(0));
                        bytes
                    })
                }
            };
            let bytes = read.map_err(|error| Error::io("read", path, error))?;
            self.window = Window { start: offset, bytes };
        }
        Ok(self.window.bytes.len().min(len))
    }

    fn corrupt(&self, reason: &str) -> Error {
        Error::corrupt(&self.path, format!("frame at offset {}", self.position), reason)
    }
}
