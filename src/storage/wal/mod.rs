//! The write-ahead log: a header, then frames that prove themselves.
//!
//! ```text
//! header 88 B | frame | frame | …        frame = 48 B header + payload + zeros to a multiple of 8
//! ```
//!
//! A frame carries the file's random salt, two checksums and the checksum of the frame before it,
//! so that no stale or moved bytes pass for one. It also carries `synced`: how much of the file
//! its writer knew to be on disk. That decides what a bad frame means. If a later frame says that
//! the place was synced, what stands there was lost afterwards: corruption. If none does, it is
//! what a crash leaves of an append that was never synced, in whatever order the disk wrote its
//! sectors: the end of the log. Byte for byte: format.md, "Log". Knows nothing of what a payload
//! means, nor of the order of several logs.

use std::sync::Arc;

use zerocopy::little_endian::{U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::feature::Features;
use super::random;
use super::seeded::{SeededBug, seeded};
use crate::bytes::AlignedBytes;

#[cfg(feature = "testing")]
#[allow(unreachable_pub, reason = "exported for tests only")]
pub(crate) mod forge;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use self::reader::WalReader;
pub(crate) use self::writer::WalWriter;

/// First eight bytes of the file.
const MAGIC: [u8; 8] = *b"NEARFWAL";
const HEADER_BYTES: u32 = 88;
const FRAME_BYTES: usize = 48;
/// Longest payload of a frame; the caller splits what is larger.
pub(crate) const MAX_PAYLOAD_BYTES: usize = 256 << 20;

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
    /// Sequence number that the first frame will have: later frames of the log before are void.
    first_seq: U64,
    salt: U64,
    reserved: U32,
    crc: U32,
}

impl Header {
    fn new(identity: WalIdentity, first_seq: u64) -> Self {
        let mut header = Self {
            magic: MAGIC,
            features: Features::new(HEADER_BYTES, 0),
            store: U128::new(identity.store),
            number: U64::new(identity.number),
            first_seq: U64::new(first_seq),
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
        (self.salt.get() == salt || seeded(SeededBug::StaleFrame) && self.salt.get() != 0)
            && (self.crc.get() == self.checksum(offset) || seeded(SeededBug::FrameChecksum))
            && self.synced.get() <= offset
            && self.len.get() as usize <= MAX_PAYLOAD_BYTES
    }

    /// Bytes from this frame to the next.
    fn stride(&self) -> usize {
        FRAME_BYTES + (self.len.get() as usize).next_multiple_of(8)
    }
}

/// What a frame carries. The large middle is shared with whoever keeps it in memory, so that it
/// goes from there to the file without a copy.
#[derive(Clone, Debug, Default)]
pub(crate) struct Payload {
    pub(crate) head: Vec<u8>,
    pub(crate) body: Option<Arc<AlignedBytes>>,
    pub(crate) tail: Vec<u8>,
}

impl Payload {
    pub(crate) fn len(&self) -> usize {
        self.pieces().iter().map(|piece| piece.len()).sum()
    }

    fn pieces(&self) -> [&[u8]; 3] {
        let body = self.body.as_ref().map_or(&[][..], |body| body.as_slice());
        [&self.head, body, &self.tail]
    }
}

impl From<Vec<u8>> for Payload {
    fn from(head: Vec<u8>) -> Self {
        Self { head, ..Self::default() }
    }
}

/// One frame read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) seq: u64,
    pub(crate) durable: u64,
    pub(crate) payload: Vec<u8>,
}
