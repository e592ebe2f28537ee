//! Writes a container front to back, in one pass and with bounded memory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32, U64, U128};

use super::layout::{
    ALIGN, BLOCK_BYTES, END_MAGIC, ENTRY_BYTES, Entry, FOOTER_BYTES, Footer, Header, MAX_SECTIONS,
    SLACK_BYTES, section_name,
};
use super::{Identity, Seal, Tag};
use crate::error::{Error, Result};
use crate::storage::FORMAT_VERSION;
use crate::storage::disk::{Disk, DiskFile};
use crate::storage::mmap::Mapped;
use crate::storage::seeded::{self, SeededBug};

/// Bytes gathered before they are handed to the file.
const BUFFER_BYTES: usize = 256 * 1024;
const ZEROS: [u8; 4096] = [0; 4096];

/// Writes a container front to back. After an error the file is of no use: remove it.
#[derive(Debug)]
pub(crate) struct ContainerWriter {
    path: PathBuf,
    file: Box<dyn DiskFile>,
    buffer: Vec<u8>,
    /// Length of the file and the buffer.
    len: u64,
    open: bool,
    sections: Vec<Pending>,
}

/// A section written, or being written.
#[derive(Debug)]
struct Pending {
    tag: Tag,
    field: u16,
    offset: u64,
    len: u64,
    /// Checksums of its blocks; the last one is still growing while the section is open.
    crcs: Vec<U32>,
}

impl Pending {
    fn extend(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let filled = usize::try_from(self.len % BLOCK_BYTES as u64).unwrap_or(0);
            let (head, rest) = bytes.split_at(bytes.len().min(BLOCK_BYTES - filled));
            if filled == 0 {
                self.crcs.push(U32::ZERO);
            }
            if let Some(crc) = self.crcs.last_mut() {
                crc.set(crc32c::crc32c_append(crc.get(), head));
            }
            self.len += head.len() as u64;
            bytes = rest;
        }
    }
}

impl ContainerWriter {
    /// Creates `path` with its header.
    pub(crate) fn create(disk: &Arc<dyn Disk>, path: &Path, identity: Identity) -> Result<Self> {
        Self::create_needing(0, disk, path, identity)
    }

    /// The same for a file that nobody may read who does not know these features.
    pub(crate) fn create_needing(
        features: u64,
        disk: &Arc<dyn Disk>,
        path: &Path,
        identity: Identity,
    ) -> Result<Self> {
        let file = disk.create(path).map_err(|error| Error::io("create", path, error))?;
        let mut writer = Self {
            path: path.into(),
            file,
            buffer: Vec::new(),
            len: 0,
            open: false,
            sections: Vec::new(),
        };
        writer.put(Header::new(identity, features).as_bytes())?;
        Ok(writer)
    }

    /// Begins a section; `align` is a power of two of at least 4096.
    pub(crate) fn begin(&mut self, tag: Tag, field: u16, align: u64) -> Result<()> {
        let name = section_name(tag, field);
        if self.open {
            return Err(misuse(&format!("{name} begins before the section before it has ended")));
        }
        if !align.is_power_of_two() || align < ALIGN {
            return Err(misuse(&format!(
                "{name} asks for alignment {align}, which must be a power of two of at least {ALIGN}"
            )));
        }
        if self.find(tag, field).is_some() || self.sections.len() >= MAX_SECTIONS as usize {
            return Err(misuse(&format!(
                "{name} is there already, or there are more than {MAX_SECTIONS} sections"
            )));
        }
        self.pad(self.len.next_multiple_of(align) - self.len)?;
        self.sections.push(Pending { tag, field, offset: self.len, len: 0, crcs: Vec::new() });
        self.open = true;
        Ok(())
    }

    /// Appends to the open section.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        match self.sections.last_mut() {
            Some(section) if self.open => section.extend(bytes),
            _ => return Err(misuse("bytes are written while no section is open")),
        }
        self.put(bytes)
    }

    /// Ends the open section.
    pub(crate) fn end(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.open) {
            return Err(misuse("a section is ended while none is open"));
        }
        Ok(())
    }

    /// A whole section at once.
    pub(crate) fn section(&mut self, tag: Tag, field: u16, bytes: &[u8]) -> Result<()> {
        self.begin(tag, field, ALIGN)?;
        self.write(bytes)?;
        self.end()
    }

    /// The bytes of an ended section, mapped while the file is still being written.
    pub(crate) fn map_section(&mut self, tag: Tag, field: u16) -> Result<WrittenSection> {
        let ended = self.sections.len() - usize::from(self.open);
        let range = match self.find(tag, field) {
            Some(at) if at < ended => {
                let Pending { offset, len, .. } = self.sections[at];
                usize::try_from(offset).ok().zip(usize::try_from(len).ok())
            }
            _ => None,
        };
        let Some((start, len)) = range else {
            return Err(misuse(&format!("{} has not ended", section_name(tag, field))));
        };
        self.drain()?;
        let map = self.file.map().map_err(|error| Error::io("map", &self.path, error))?;
        if map.as_slice().len() < start.saturating_add(len) {
            let name = section_name(tag, field);
            return Err(Error::corrupt(&self.path, name, "the file is shorter than was written"));
        }
        Ok(WrittenSection { map, start, len })
    }

    /// Writes checksums, table and footer and syncs the file (not its directory).
    pub(crate) fn finish(mut self) -> Result<Seal> {
        if self.open {
            return Err(misuse("the file is finished while a section is open"));
        }
        self.pad(SLACK_BYTES)?;
        let mut table = Vec::with_capacity(self.sections.len());
        for section in std::mem::take(&mut self.sections) {
            let crcs = section.crcs.as_bytes();
            table.push(Entry {
                tag: section.tag,
                field: U16::new(section.field),
                reserved: U16::ZERO,
                offset: U64::new(section.offset),
                len: U64::new(section.len),
                crcs_offset: U64::new(self.len),
                crcs_digest: U64::new(xxh3_64(crcs)),
            });
            self.put(crcs)?;
        }
        let digest = xxh3_128(table.as_bytes());
        let count = u32::try_from(table.len()).unwrap_or(MAX_SECTIONS);
        let len = self.len + u64::from(count) * ENTRY_BYTES + FOOTER_BYTES;
        let mut footer = Footer {
            table_offset: U64::new(self.len),
            file_len: U64::new(len),
            digest: U128::new(digest),
            count: U32::new(count),
            version: U32::new(FORMAT_VERSION),
            reserved: [0; 12],
            crc: U32::ZERO,
            magic: END_MAGIC,
        };
        footer.crc = U32::new(footer.checksum());
        self.put(table.as_bytes())?;
        self.put(footer.as_bytes())?;
        self.drain()?;
        debug_assert_eq!(self.len, len, "the footer tells the length of the file");
        seeded::sync(SeededBug::FileSync, || self.file.sync())
            .map_err(|error| Error::io("sync", &self.path, error))?;
        Ok(Seal { len, digest })
    }

    fn find(&self, tag: Tag, field: u16) -> Option<usize> {
        self.sections.iter().position(|section| (section.tag, section.field) == (tag, field))
    }

    fn pad(&mut self, mut zeros: u64) -> Result<()> {
        while zeros > 0 {
            let piece = usize::try_from(zeros).unwrap_or(usize::MAX).min(ZEROS.len());
            self.put(&ZEROS[..piece])?;
            zeros -= piece as u64;
        }
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.drain()?;
        }
        if bytes.len() >= BUFFER_BYTES {
            self.file.append(bytes).map_err(|error| Error::io("write", &self.path, error))?;
        } else {
            self.buffer.extend_from_slice(bytes);
        }
        self.len += bytes.len() as u64;
        Ok(())
    }

    fn drain(&mut self) -> Result<()> {
        if !self.buffer.is_empty() {
            let written = self.file.append(&self.buffer);
            written.map_err(|error| Error::io("write", &self.path, error))?;
            self.buffer.clear();
        }
        Ok(())
    }
}

fn misuse(what: &str) -> Error {
    Error::invalid(format!("container: {what}; this is a defect of nearfield, please report it"))
}

/// An ended section of a file that is still being written.
#[derive(Debug)]
pub(crate) struct WrittenSection {
    map: Mapped,
    start: usize,
    len: usize,
}

impl WrittenSection {
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.map.as_slice()[self.start..self.start + self.len]
    }
}
