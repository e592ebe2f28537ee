//! A file of checksummed sections, written once and then only read.
//!
//! ```text
//! header 4096 B | section | section | … | 64 B zero | block checksums | section table | footer
//! ```
//!
//! Sections start at multiples of 4096 and carry a CRC32C for each 16 KiB block; each section's
//! checksums have a digest in the table, the table has one in the footer and in the manifest.
//! Opening checks all of that, which is small; a block is checked when it is first touched
//! ([`Section`]). Offsets count from the container's first byte, so that a container may lie
//! inside another file. Byte for byte: format.md, "Container". Knows nothing of what a section
//! holds.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::layout::{BLOCK_BYTES, Footer, HEADER_BYTES, section_name};
use self::parse::{Parsed, parse, salvage};
use self::section::{MappedFile, Place, mismatch};
use super::disk::Disk;
use crate::error::{Error, Result};

mod findings;
#[cfg(feature = "testing")]
#[allow(unreachable_pub, reason = "exported for tests only")]
pub(crate) mod forge;
mod hold;
mod layout;
mod parse;
mod section;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use self::findings::Findings;
pub(crate) use self::section::Section;
pub(crate) use self::writer::{ContainerWriter, WrittenSection};

/// Four-letter name of a section's content.
pub(crate) type Tag = [u8; 4];

/// What a file is, written in its header and checked on opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Kind of the file (`SEGM`, `ATTR`, `TOMB`, `INDX`).
    pub(crate) kind: Tag,
    /// The collection the file belongs to.
    pub(crate) store: u128,
    /// Segment number.
    pub(crate) segment: u64,
    /// Generation of an attribute or tombstone file; 0 for a segment.
    pub(crate) generation: u64,
}

/// What the manifest remembers of a finished file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seal {
    /// Length in bytes.
    pub(crate) len: u64,
    /// XXH3-128 of the section table, which holds the checksums of everything else.
    pub(crate) digest: u128,
}

/// An opened container. Cheap to clone; clones share what has been checked.
#[derive(Clone, Debug)]
pub(crate) struct Container(Arc<Opened>);

#[derive(Debug)]
struct Opened {
    disk: Arc<dyn Disk>,
    file: Arc<MappedFile>,
    /// Where the container lies in the file.
    extent: Range<usize>,
    identity: Identity,
    read_only: bool,
    sections: BTreeMap<(Tag, u16), Section>,
}

/// Told of bytes that were just read or written, and asked whether to go on: an error of its ends the
/// work.
pub(crate) type Watch<'a> = dyn FnMut(u64) -> Result<()> + 'a;

impl Container {
    /// Opens `path`, checking header, section table, block-checksum tables and footer, identity
    /// and (when given) the seal.
    pub(crate) fn open(
        disk: &Arc<dyn Disk>,
        path: &Path,
        identity: Identity,
        seal: Option<Seal>,
    ) -> Result<Self> {
        let file = MappedFile::open(disk, path)?;
        let extent = 0..file.map.as_slice().len();
        let parsed = parse(path, file.map.as_slice(), extent.clone(), identity, seal)?;
        Ok(Self::of(disk, file, extent, identity, parsed))
    }

    /// Opens what is left of a file: header and footer may be damaged, bytes may follow, and some may not be
    /// delivered by the disk. The seal says what the section table is.
    pub(crate) fn salvage(
        disk: &Arc<dyn Disk>,
        path: &Path,
        identity: Identity,
        seal: Seal,
    ) -> Result<Self> {
        let file = MappedFile::salvage(disk, path)?;
        let bytes = file.map.as_slice();
        let (extent, parsed) = match parse(path, bytes, 0..bytes.len(), identity, Some(seal)) {
            Err(Error::Corrupt { .. }) => {
                let extent = 0..usize::try_from(seal.len).unwrap_or(usize::MAX);
                (extent.clone(), salvage(path, bytes, extent, seal)?)
            }
            parsed => (0..bytes.len(), parsed?),
        };
        Ok(Self::of(disk, file, extent, identity, parsed))
    }

    fn of(
        disk: &Arc<dyn Disk>,
        file: Arc<MappedFile>,
        extent: Range<usize>,
        identity: Identity,
        parsed: Parsed,
    ) -> Self {
        let sections = parsed
            .places
            .into_iter()
            .map(|(name, place)| (name, Section::new(Arc::clone(&file), place)))
            .collect();
        let disk = Arc::clone(disk);
        let read_only = parsed.read_only;
        Self(Arc::new(Opened { disk, file, extent, identity, read_only, sections }))
    }

    /// A section, or `None` when the file has none of that name.
    pub(crate) fn section(&self, tag: Tag, field: u16) -> Option<Section> {
        self.0.sections.get(&(tag, field)).cloned()
    }

    /// A section that must be there; `Corrupt` otherwise.
    pub(crate) fn require(&self, tag: Tag, field: u16) -> Result<Section> {
        self.section(tag, field).ok_or_else(|| {
            Error::corrupt(self.path(), section_name(tag, field), "the file has no such section")
        })
    }

    /// All sections as (tag, field, length), in the order of the file.
    #[cfg(test)]
    pub(crate) fn sections(&self) -> Vec<(Tag, u16, u64)> {
        self.in_order().map(|place| (place.tag, place.field, place.len as u64)).collect()
    }

    /// Tags of the sections in which a damaged block was found so far, in the order of the file.
    pub(crate) fn damaged(&self) -> Vec<Tag> {
        let section = |place: &Place| self.0.sections.get(&(place.tag, place.field));
        let damaged = |place: &Place| section(place).is_some_and(Section::is_damaged);
        self.in_order().filter(damaged).map(|place| place.tag).collect()
    }

    /// Reads every byte of the file again, whatever was checked before: header, table and footer,
    /// every block of every section, and the zero bytes between them.
    pub(crate) fn verify(&self) -> Result<()> {
        self.verify_while(&mut |_| Ok(()))
    }

    /// [`verify`](Self::verify) that tells `watch` of every piece it has read.
    pub(crate) fn verify_while(&self, watch: &mut Watch<'_>) -> Result<()> {
        self.verify_each(watch, &mut |_, error| Err(error))
    }

    /// [`verify_while`](Self::verify_while) that hands what is wrong with a section to `found`, with its
    /// tag, and goes on unless that fails.
    fn verify_each(
        &self,
        watch: &mut Watch<'_>,
        found: &mut dyn FnMut(Tag, Error) -> Result<()>,
    ) -> Result<()> {
        let Opened { file, extent, identity, .. } = &*self.0;
        let bytes = file.map.as_slice();
        parse(&file.path, bytes, extent.clone(), *identity, None)?;
        let header = extent.start..extent.start + HEADER_BYTES as usize;
        self.verify_same(header.clone())?;
        let mut end = header.end;
        for place in self.in_order() {
            self.verify_zero(end..place.start)?;
            match self.verify_section(place, watch) {
                Err(error @ Error::Corrupt { .. }) => found(place.tag, error)?,
                other => other?,
            }
            end = place.start + place.len;
        }
        let tail = self
            .in_order()
            .next()
            .map_or_else(|| extent.end - size_of::<Footer>(), |first| first.crcs_start);
        self.verify_zero(end..tail)?;
        self.verify_same(tail..extent.end)
    }

    /// Whether a newer version asked older ones not to rewrite what this file holds.
    pub(crate) fn is_read_only(&self) -> bool {
        self.0.read_only
    }

    /// Length of the file.
    pub(crate) fn len(&self) -> u64 {
        self.0.extent.len() as u64
    }

    /// All bytes of the file.
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.0.file.map.as_slice()[self.0.extent.clone()]
    }

    /// Where the file lies.
    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.0.disk
    }

    /// Path of the file.
    pub(crate) fn path(&self) -> &PathBuf {
        &self.0.file.path
    }

    fn in_order(&self) -> impl Iterator<Item = Place> {
        let mut places: Vec<Place> = self.0.sections.values().map(Section::place).collect();
        places.sort_by_key(|place| (place.start, place.len));
        places.into_iter()
    }

    fn verify_section(&self, place: Place, watch: &mut Watch<'_>) -> Result<()> {
        let name = section_name(place.tag, place.field);
        if !place.crcs_whole {
            let reason = "its block checksums do not match their digest";
            return Err(Error::corrupt(self.path(), name, reason));
        }
        let crcs = place.crcs(self.0.file.map.as_slice());
        let mut block = 0;
        self.pieces(&name, place.start..place.start + place.len, watch, |piece, _| {
            for bytes in piece.chunks(BLOCK_BYTES) {
                if crcs.get(block).is_none_or(|crc| crc.get() != crc32c::crc32c(bytes)) {
                    return Err(mismatch(block));
                }
                block += 1;
            }
            Ok(())
        })
    }

    fn verify_zero(&self, range: Range<usize>) -> Result<()> {
        self.pieces("padding", range, &mut |_| Ok(()), |piece, at| {
            match piece.iter().position(|&byte| byte != 0) {
                None => Ok(()),
                Some(odd) => Err(format!("the byte at {} of the file is not zero", at + odd)),
            }
        })
    }

    /// Compares what the file says now with the mapped bytes that were parsed.
    fn verify_same(&self, range: Range<usize>) -> Result<()> {
        let mapped = self.0.file.map.as_slice();
        self.pieces("metadata", range, &mut |_| Ok(()), |piece, at| {
            if mapped.get(at..at + piece.len()) == Some(piece) {
                return Ok(());
            }
            Err(format!("the bytes from {at} of the file are not what was read on opening"))
        })
    }

    /// Hands a range of the file to `check` in pieces of whole blocks, read from the disk; from
    /// the map once the file has lost its name (a newer generation took its place).
    fn pieces(
        &self,
        section: &str,
        range: Range<usize>,
        watch: &mut Watch<'_>,
        mut check: impl FnMut(&[u8], usize) -> Result<(), String>,
    ) -> Result<()> {
        const PIECE_BYTES: usize = 64 * BLOCK_BYTES;
        let Opened { disk, file, .. } = &*self.0;
        for at in range.clone().step_by(PIECE_BYTES) {
            let len = PIECE_BYTES.min(range.end - at);
            let piece = match disk.read_range(&file.path, at as u64, len as u64) {
                Ok(bytes) => Cow::Owned(bytes),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    Cow::Borrowed(&file.map.as_slice()[at..at + len])
                }
                Err(error) => return Err(Error::io("read", &file.path, error)),
            };
            if piece.len() != len {
                return Err(Error::corrupt(&file.path, section, "the file has become shorter"));
            }
            check(&piece, at).map_err(|reason| Error::corrupt(&file.path, section, reason))?;
            watch(piece.len() as u64)?;
        }
        Ok(())
    }
}
