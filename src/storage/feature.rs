//! Format version and feature masks, as every binary file carries them (format.md, "Feature masks").
//!
//! A bit of the incompatible mask that is unknown here forbids reading the file, one of the
//! read-only-compatible mask forbids writing what takes its place, one of the compatible mask may
//! be ignored.

use std::path::Path;

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::FORMAT_VERSION;
use crate::error::{Error, Result};

/// An incompatible bit: the file has product codes.
pub(crate) const PRODUCT_CODES: u64 = 1;
/// The incompatible bits that this version knows; of the other masks it knows none.
const KNOWN: u64 = PRODUCT_CODES;

/// Version and masks as they stand in every header, after the magic.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Features {
    version: U32,
    header_len: U32,
    compatible: U64,
    read_only_compatible: U64,
    incompatible: U64,
}

impl Features {
    /// Those of a file that nobody may read who does not know the bits of `incompatible`.
    pub(super) fn new(header_len: u32, incompatible: u64) -> Self {
        Self {
            version: U32::new(FORMAT_VERSION),
            header_len: U32::new(header_len),
            compatible: U64::ZERO,
            read_only_compatible: U64::ZERO,
            incompatible: U64::new(incompatible),
        }
    }

    /// Refuses what this version cannot read. The header's checksum was verified before.
    pub(super) fn check(&self, path: &Path, header_len: u32) -> Result<()> {
        let (version, unknown) = (self.version.get(), self.incompatible.get() & !KNOWN);
        if version == FORMAT_VERSION && unknown == 0 && self.header_len.get() == header_len {
            return Ok(());
        }
        Err(Error::Incompatible {
            file: path.into(),
            reason: format!(
                "it has format version {version} with a header of {} bytes and unknown \
                 features {unknown:#x}, nearfield {} reads format version {FORMAT_VERSION}; \
                 open it with a newer nearfield",
                self.header_len.get(),
                env!("CARGO_PKG_VERSION"),
            ),
        })
    }

    /// Whether a later version said that this one may read the file but must not write what
    /// takes its place.
    pub(super) fn is_read_only(&self) -> bool {
        self.read_only_compatible.get() != 0
    }
}
