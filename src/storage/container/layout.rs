//! The fixed structures of a container file, byte for byte (format.md, "Container").

use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Identity, Tag};
use crate::storage::feature::Features;

/// First eight bytes of the file.
pub(super) const MAGIC: [u8; 8] = *b"NEARFLD1";
/// Last eight bytes of the file.
pub(super) const END_MAGIC: [u8; 8] = *b"NEARFEND";
/// Bytes of a section that one checksum covers; the last block of a section may be shorter.
pub(super) const BLOCK_BYTES: usize = 16 * 1024;
/// Least alignment of a section.
pub(super) const ALIGN: u64 = 4096;
/// Zero bytes between the last section and its first checksum.
pub(super) const SLACK_BYTES: u64 = 64;
/// Most sections of a file.
pub(super) const MAX_SECTIONS: u32 = 65_536;

pub(super) const HEADER_BYTES: u32 = 4096;
pub(super) const ENTRY_BYTES: u64 = 40;
pub(super) const FOOTER_BYTES: u64 = 64;

/// The first page of the file.
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Header {
    pub(super) magic: [u8; 8],
    pub(super) features: Features,
    pub(super) store: U128,
    pub(super) segment: U64,
    pub(super) generation: U64,
    pub(super) kind: Tag,
    pub(super) reserved: [u8; 4016],
    pub(super) crc: U32,
}

impl Header {
    pub(super) fn new(identity: Identity, incompatible: u64) -> Self {
        let mut header = Self {
            magic: MAGIC,
            features: Features::new(HEADER_BYTES, incompatible),
            store: U128::new(identity.store),
            segment: U64::new(identity.segment),
            generation: U64::new(identity.generation),
            kind: identity.kind,
            reserved: [0; 4016],
            crc: U32::ZERO,
        };
        header.crc = U32::new(header.checksum());
        header
    }

    pub(super) fn identity(&self) -> Identity {
        Identity {
            kind: self.kind,
            store: self.store.get(),
            segment: self.segment.get(),
            generation: self.generation.get(),
        }
    }

    /// CRC32C of everything before the checksum itself.
    pub(super) fn checksum(&self) -> u32 {
        crc32c::crc32c(&self.as_bytes()[..size_of::<Self>() - 4])
    }
}

/// One line of the section table.
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Entry {
    pub(super) tag: Tag,
    pub(super) field: U16,
    pub(super) reserved: U16,
    pub(super) offset: U64,
    pub(super) len: U64,
    pub(super) crcs_offset: U64,
    pub(super) crcs_digest: U64,
}

/// The last bytes of the file.
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Footer {
    pub(super) table_offset: U64,
    pub(super) file_len: U64,
    pub(super) digest: U128,
    pub(super) count: U32,
    pub(super) version: U32,
    pub(super) reserved: [u8; 12],
    pub(super) crc: U32,
    pub(super) magic: [u8; 8],
}

impl Footer {
    /// CRC32C of everything before the checksum itself.
    pub(super) fn checksum(&self) -> u32 {
        crc32c::crc32c(&self.as_bytes()[..size_of::<Self>() - 12])
    }
}

const _: () = assert!(size_of::<Header>() == HEADER_BYTES as usize);
const _: () = assert!(size_of::<Entry>() as u64 == ENTRY_BYTES);
const _: () = assert!(size_of::<Footer>() as u64 == FOOTER_BYTES);

/// A section's name for messages, like `RAWV/0`.
pub(super) fn section_name(tag: Tag, field: u16) -> String {
    format!("{}/{field}", tag.escape_ascii())
}
