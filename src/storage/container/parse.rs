//! Checks the fixed parts of a container: header, section table, checksums of checksums, footer.
//!
//! Nothing is believed before its checksum matches, and nothing afterwards beyond its bounds: a
//! forger can compute checksums too. Memory is bounded by the table's bytes, time is linear.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};
use zerocopy::FromBytes;

use super::layout::{
    ALIGN, BLOCK_BYTES, END_MAGIC, Entry, Footer, HEADER_BYTES, Header, MAGIC, MAX_SECTIONS,
    SLACK_BYTES, section_name,
};
use super::section::Place;
use super::{Identity, Seal, Tag};
use crate::error::{Error, Result};
use crate::storage::FORMAT_VERSION;

/// What opening learns from a file.
pub(super) struct Parsed {
    pub(super) read_only: bool,
    pub(super) places: BTreeMap<(Tag, u16), Place>,
}

/// Checks everything of a container but the blocks of its sections.
pub(super) fn parse(
    path: &Path,
    file: &[u8],
    extent: Range<usize>,
    identity: Identity,
    seal: Option<Seal>,
) -> Result<Parsed> {
    let bytes = file.get(extent.clone()).unwrap_or(&[]);
    let read_only = parse_header(path, bytes, identity)?;
    let footer = parse_footer(path, bytes, seal)?;
    let table = usize::try_from(footer.table_offset.get())
        .ok()
        .and_then(|start| bytes.get(start..bytes.len() - size_of::<Footer>()))
        .filter(|table| xxh3_128(table) == footer.digest.get())
        .and_then(|table| <[Entry]>::ref_from_bytes(table).ok())
        .filter(|table| u32::try_from(table.len()) == Ok(footer.count.get()))
        .filter(|table| table.len() <= MAX_SECTIONS as usize)
        .ok_or_else(|| {
            Error::corrupt(path, "section table", "it does not match the footer's digest")
        })?;
    let places = parse_table(bytes, table, footer.table_offset.get(), extent.start);
    let places = places.map_err(|reason| Error::corrupt(path, "section table", reason))?;
    Ok(Parsed { read_only, places })
}

/// Most sections of a file whose table is looked for by its digest alone.
const MAX_SOUGHT: usize = 1_024;

/// Finds the sections of a file by what the manifest remembers of it.
pub(super) fn salvage(
    path: &Path,
    file: &[u8],
    extent: Range<usize>,
    seal: Seal,
) -> Result<Parsed> {
    let corrupt = |reason: &str| Error::corrupt(path, "section table", reason);
    let Some(bytes) = file.get(extent.clone()) else {
        let (found, len) = (file.len(), seal.len);
        return Err(corrupt(&format!("the file has {found} bytes, the manifest says {len}")));
    };
    let end = bytes.len().saturating_sub(size_of::<Footer>());
    let starts = (0..=MAX_SOUGHT).map_while(|count| end.checked_sub(count * size_of::<Entry>()));
    let mut tables = starts.map(|start| (start, &bytes[start..end]));
    let found = tables.find(|(_, table)| xxh3_128(table) == seal.digest);
    let found =
        found.and_then(|(start, table)| Some((start, <[Entry]>::ref_from_bytes(table).ok()?)));
    let Some((start, table)) = found else {
        return Err(corrupt("it does not match the digest in the manifest"));
    };
    let places = parse_table(bytes, table, start as u64, extent.start);
    let places = places.map_err(|reason| Error::corrupt(path, "section table", reason))?;
    Ok(Parsed { read_only: false, places })
}

/// Whether the file is read-only to this version.
fn parse_header(path: &Path, bytes: &[u8], expected: Identity) -> Result<bool> {
    let corrupt = |reason: &str| Error::corrupt(path, "header", reason);
    let Ok((header, _)) = Header::ref_from_prefix(bytes) else {
        return Err(corrupt("the file is shorter than its header"));
    };
    if header.magic != MAGIC {
        return Err(corrupt("the file does not begin like a nearfield file"));
    }
    if header.checksum() != header.crc.get() {
        return Err(corrupt("it does not match its checksum"));
    }
    header.features.check(path, HEADER_BYTES)?;
    let found = header.identity();
    if found != expected {
        return Err(corrupt(&format!(
            "this is {}, expected {}: the file is in the wrong place",
            describe(found),
            describe(expected)
        )));
    }
    Ok(header.features.is_read_only())
}

fn describe(identity: Identity) -> String {
    let Identity { kind, store, segment, generation } = identity;
    let kind = kind.escape_ascii();
    format!("{kind} segment {segment} generation {generation} of store {store:032x}")
}

fn parse_footer<'a>(path: &Path, bytes: &'a [u8], seal: Option<Seal>) -> Result<&'a Footer> {
    let corrupt = |reason: &str| Error::corrupt(path, "footer", reason);
    let len = bytes.len() as u64;
    if let Some(seal) = seal
        && seal.len != len
    {
        return Err(corrupt(&format!("the file has {len} bytes, the manifest says {}", seal.len)));
    }
    let Ok((_, footer)) = Footer::ref_from_suffix(bytes) else {
        return Err(corrupt("the file is shorter than its footer"));
    };
    if footer.magic != END_MAGIC || footer.checksum() != footer.crc.get() {
        return Err(corrupt("it does not match its checksum; the file may be cut short"));
    }
    if footer.version.get() != FORMAT_VERSION || footer.file_len.get() != len {
        return Err(corrupt("it tells another version or file length than the file has"));
    }
    match seal {
        Some(seal) if seal.digest != footer.digest.get() => Err(corrupt(
            "its digest is not the one in the manifest: the file is in the wrong place",
        )),
        _ => Ok(footer),
    }
}

/// Places of all sections. They must follow one another as the writer lays them out, so that
/// nothing overlaps and every byte of the file has one meaning.
fn parse_table(
    bytes: &[u8],
    table: &[Entry],
    table_offset: u64,
    base: usize,
) -> Result<BTreeMap<(Tag, u16), Place>, String> {
    let mut places = BTreeMap::new();
    let mut end = u64::from(HEADER_BYTES);
    let mut crcs_end = table.first().map_or(table_offset, |first| first.crcs_offset.get());
    for entry in table {
        let name = section_name(entry.tag, entry.field.get());
        let (offset, len) = (entry.offset.get(), entry.len.get());
        if offset % ALIGN != 0 || offset < end || entry.reserved.get() != 0 {
            return Err(format!("{name} at offset {offset} is unaligned or overlaps"));
        }
        end = offset.checked_add(len).ok_or_else(|| format!("{name} ends past all bounds"))?;
        let crcs_offset = entry.crcs_offset.get();
        let crcs_len = len.div_ceil(BLOCK_BYTES as u64) * 4;
        if crcs_offset != crcs_end || crcs_len > table_offset.saturating_sub(crcs_offset) {
            return Err(format!("the block checksums of {name} are out of place"));
        }
        crcs_end = crcs_offset + crcs_len;
        let range = usize::try_from(crcs_offset).ok().zip(usize::try_from(crcs_end).ok());
        let Some(crcs) = range.and_then(|(start, end)| bytes.get(start..end)) else {
            return Err(format!("the block checksums of {name} are out of place"));
        };
        // What is damaged there concerns the section alone, block by block.
        let crcs_whole = xxh3_64(crcs) == entry.crcs_digest.get();
        let absolute = |at: u64| usize::try_from(at).ok().and_then(|at| at.checked_add(base));
        let place = absolute(offset).zip(usize::try_from(len).ok()).zip(absolute(crcs_offset));
        let Some(((start, len), crcs_start)) = place else {
            return Err(format!("{name} does not fit this machine's address space"));
        };
        let (tag, field) = (entry.tag, entry.field.get());
        let place = Place { tag, field, start, len, crcs_start, crcs_whole };
        if places.insert((tag, field), place).is_some() {
            return Err(format!("{name} is there twice"));
        }
    }
    let crcs_start = table.first().map_or(table_offset, |first| first.crcs_offset.get());
    if end.checked_add(SLACK_BYTES).is_none_or(|end| end > crcs_start) || crcs_end != table_offset {
        return Err("sections and their checksums do not fill the file".into());
    }
    Ok(places)
}
