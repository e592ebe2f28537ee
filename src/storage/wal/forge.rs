//! A forger's work, for tests: changed frames under checksums that match them.

use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, IntoBytes};

use super::{FRAME_BYTES, FrameHeader, HEADER_BYTES, Header};

/// Makes the checksums of a log agree with its bytes, frame after frame as far as their lengths lead.
pub fn reseal_log(bytes: &mut [u8]) {
    let Ok((header, _)) = Header::mut_from_prefix(bytes) else { return };
    header.crc = U32::new(header.checksum());
    let mut chain = header.crc;
    let mut at = HEADER_BYTES as usize;
    while let Some(frame) = bytes.get(at..at + FRAME_BYTES) {
        let Ok(mut frame) = FrameHeader::read_from_bytes(frame) else { return };
        let Some(body) = bytes.get(at + FRAME_BYTES..at.saturating_add(frame.stride())) else {
            return;
        };
        frame.payload_crc = U32::new(crc32c::crc32c(body));
        frame.previous = chain;
        frame.crc = U32::new(frame.checksum(at as u64));
        chain = frame.crc;
        bytes[at..at + FRAME_BYTES].copy_from_slice(frame.as_bytes());
        at += frame.stride();
    }
}
