//! What a Parquet file declares, compared with the file before anything is decoded.
//!
//! Footer lists must fit in the footer, chunks in the file, pages in memory; a run-length code can
//! claim billions of list elements in a few bytes, so their number is held against the length of
//! the file. Decodes nothing: it walks the Thrift headers of footer and pages.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use parquet::arrow::ProjectionMask;
use parquet::basic::Compression;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};

use crate::error::{Error, Result};
use crate::types::MAX_DIMENSION;

use super::thrift::walk;

/// List elements that any file may declare in one row group, and how many more a byte of it.
const FREE_ELEMENTS: u64 = 64 << 20;
const ELEMENTS_PER_BYTE: u64 = 64;
/// Bytes that a page of any file may unpack to, and how many more a byte of it.
const FREE_PAGE_BYTES: u64 = 64 << 20;
const PAGE_BYTES_PER_BYTE: u64 = 4;

/// A file that is not trusted yet.
pub(super) struct Suspect<'a> {
    pub(super) path: &'a Path,
    pub(super) file: &'a File,
    pub(super) length: u64,
}

impl Suspect<'_> {
    /// The footer: its length, its lists, the children that schema elements claim.
    pub(super) fn check_footer(&mut self) -> Result<()> {
        let lie = |what: &str| Error::corrupt(self.path, "footer", what);
        if self.length < 12 {
            return Err(lie("the file is too short for Parquet"));
        }
        let tail = self.bytes(self.length - 8, 8)?;
        let magic = tail.get(4..).unwrap_or(&[]);
        if magic == b"PARE" {
            return Err(Error::Incompatible {
                file: self.path.into(),
                reason: "its Parquet footer is encrypted".to_owned(),
            });
        }
        let size = match tail.first_chunk::<4>() {
            Some(size) if magic == b"PAR1" => u64::from(u32::from_le_bytes(*size)),
            _ => {
                return Err(lie(
                    "it does not end as a Parquet file; it was cut short, or never finished",
                ));
            }
        };
        if size > self.length - 12 {
            return Err(lie("the footer is longer than the file"));
        }
        let footer = self.bytes(self.length - 8 - size, size)?;
        let most = i64::try_from(footer.len()).unwrap_or(i64::MAX);
        let mut plausible = true;
        let walked = walk(&footer, |path, value| {
            // FileMetaData.schema (2) → SchemaElement.num_children (5)
            plausible &= path != [2, 5] || (0..=most).contains(&value);
        });
        match walked {
            Some(_) if plausible => Ok(()),
            _ => Err(lie("the footer is damaged")),
        }
    }

    /// The chunks of the columns to be read; returns the most elements that a row has on average
    /// in any of them.
    pub(super) fn check_chunks(
        &mut self,
        metadata: &ParquetMetaData,
        mask: &ProjectionMask,
    ) -> Result<usize> {
        let mut per_row = 1;
        for (index, group) in metadata.row_groups().iter().enumerate() {
            let section = format!("row group {index}");
            let rows = u64::try_from(group.num_rows()).map_err(|_negative| {
                Error::corrupt(self.path, &section, "it declares a negative number of rows")
            })?;
            for (leaf, chunk) in group.columns().iter().enumerate() {
                if !mask.leaf_included(leaf) {
                    continue;
                }
                let elements = self.check_chunk(&section, chunk)?;
                if chunk.column_descr().max_rep_level() > 0 && rows > 0 {
                    per_row = per_row.max(elements / rows);
                }
            }
        }
        Ok(usize::try_from(per_row).unwrap_or(usize::MAX).min(MAX_DIMENSION))
    }

    /// One chunk and its page headers; returns the elements that they declare.
    fn check_chunk(&mut self, section: &str, chunk: &ColumnChunkMetaData) -> Result<u64> {
        let name = chunk.column_path().string();
        if !codec_is_built(chunk.compression()) {
            return Err(Error::Incompatible {
                file: self.path.into(),
                reason: format!(
                    "column {name} is compressed with {}; write it uncompressed, or with snappy \
                     or (in builds with feature `zstd`) zstd",
                    chunk.compression()
                ),
            });
        }
        let lie = |what: &str| Error::corrupt(self.path, section, format!("column {name} {what}"));
        let start = chunk.dictionary_page_offset().unwrap_or_else(|| chunk.data_page_offset());
        let (Ok(start), Ok(size)) = (u64::try_from(start), u64::try_from(chunk.compressed_size()))
        else {
            return Err(lie("declares a negative size"));
        };
        let end = start.saturating_add(size);
        if end > self.length {
            return Err(lie("lies outside the file"));
        }
        let page_limit =
            self.length.saturating_mul(PAGE_BYTES_PER_BYTE).saturating_add(FREE_PAGE_BYTES);
        let (mut elements, mut at) = (0_u64, start);
        while at < end {
            let page = self.page_header(at, end).ok_or_else(|| lie("has a damaged page header"))?;
            if page.unpacked > page_limit {
                return Err(lie("has a page that would unpack to more than this file can hold"));
            }
            elements = page.elements.saturating_add(elements);
            at = at.saturating_add(page.header_bytes).saturating_add(page.packed);
        }
        let limit = self.length.saturating_mul(ELEMENTS_PER_BYTE).saturating_add(FREE_ELEMENTS);
        if chunk.column_descr().max_rep_level() > 0 && elements > limit {
            return Err(lie(&format!(
                "declares {elements} elements, more than a file of {} bytes can plausibly hold; \
                 if it is right, write smaller row groups",
                self.length
            )));
        }
        Ok(elements)
    }

    /// The page header at `at`. Most take less than 100 bytes, but those with statistics of long
    /// texts may take much more.
    fn page_header(&self, at: u64, end: u64) -> Option<Page> {
        for size in [256, 64 << 10, 16 << 20] {
            let bytes = self.bytes(at, size.min(end - at)).ok()?;
            let mut page = Page { header_bytes: 0, packed: 0, unpacked: 0, elements: 0 };
            let mut negative = false;
            let walked = walk(&bytes, |path, value| {
                // PageHeader: sizes (2, 3) and num_values (1) of a data page, v1 (5) or v2 (8)
                let field = match path {
                    [2] => &mut page.unpacked,
                    [3] => &mut page.packed,
                    [5 | 8, 1] => &mut page.elements,
                    _ => return,
                };
                negative |= value < 0;
                *field = value.unsigned_abs();
            });
            if let Some(length) = walked {
                page.header_bytes = length as u64;
                return (!negative).then_some(page);
            }
        }
        None
    }

    /// Bytes of the file; the caller keeps the range inside it.
    fn bytes(&self, start: u64, size: u64) -> Result<Vec<u8>> {
        let mut file = self.file;
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(start))
            .and_then(|_| file.take(size).read_to_end(&mut bytes))
            .map_err(|source| Error::io("read", self.path, source))?;
        Ok(bytes)
    }
}

struct Page {
    header_bytes: u64,
    packed: u64,
    unpacked: u64,
    elements: u64,
}

fn codec_is_built(codec: Compression) -> bool {
    let zstd = cfg!(feature = "zstd") && matches!(codec, Compression::ZSTD(_));
    zstd || matches!(codec, Compression::UNCOMPRESSED | Compression::SNAPPY)
}
