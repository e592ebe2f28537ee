//! A forger's work, for tests: changed bytes under checksums that match them.

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};
use zerocopy::little_endian::{U32, U64, U128};
use zerocopy::{FromBytes, IntoBytes};

use super::layout::{BLOCK_BYTES, Entry, Footer, HEADER_BYTES, Header};

/// Makes all checksums of a container agree with its bytes; the digest that its manifest names, before and
/// after. `None`, with some of them made, where the tables lead out of the file.
#[must_use]
pub fn reseal(bytes: &mut [u8]) -> Option<(u128, u128)> {
    let (header, _) = Header::mut_from_prefix(bytes.get_mut(..HEADER_BYTES as usize)?).ok()?;
    header.crc = U32::new(header.checksum());
    let footer_at = bytes.len().checked_sub(size_of::<Footer>())?;
    let mut footer = Footer::read_from_bytes(&bytes[footer_at..]).ok()?;
    let table_at = usize::try_from(footer.table_offset.get()).ok()?;
    let table = bytes.get(table_at..footer_at)?;
    let mut entries: Vec<Entry> = <[Entry]>::ref_from_bytes(table).ok()?.to_vec();
    for entry in &mut entries {
        let place = |at: U64| usize::try_from(at.get()).ok();
        let (start, len) = (place(entry.offset)?, place(entry.len)?);
        let crcs_at = place(entry.crcs_offset)?;
        let section = bytes.get(start..start.checked_add(len)?)?;
        let crcs =
            section.chunks(BLOCK_BYTES).flat_map(|block| crc32c::crc32c(block).to_le_bytes());
        let crcs: Vec<u8> = crcs.collect();
        entry.crcs_digest = U64::new(xxh3_64(&crcs));
        bytes.get_mut(crcs_at..crcs_at.checked_add(crcs.len())?)?.copy_from_slice(&crcs);
    }
    bytes[table_at..footer_at].copy_from_slice(entries.as_bytes());
    let old = footer.digest.get();
    footer.digest = U128::new(xxh3_128(&bytes[table_at..footer_at]));
    footer.crc = U32::new(footer.checksum());
    bytes[footer_at..].copy_from_slice(footer.as_bytes());
    Some((old, footer.digest.get()))
}
