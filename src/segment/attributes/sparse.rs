//! The inverted indexes of an attribute file: one a sparse column, in blocks of the groups of rows.
//!
//! ```text
//! SPDR   version u32 · name length u32 · groups u64 · name, padded · per group: length u64
//! SPIX   an inverted index a group (index::inverted), back to back
//! ```
//!
//! Field n of either is the n-th sparse column of the file. All of it is derived: whatever is missing,
//! of another version, damaged or malformed is as if it were not there, and rows are read instead.
//! docs/format.md, "Attribute file".

use super::{AttributeFile, Group, parse_groups};
use crate::error::Result;
use crate::index::inverted::{self, Inverted};
use crate::segment::columns::sparse::SparseRows;
use crate::segment::columns::{self, Directory};
use crate::segment::layout::{SPDR, SPIX};
use crate::storage::container::{Container, ContainerWriter, Section};
use crate::types::DataType;

/// Of what is written, and the only one that is read.
const VERSION: u32 = 1;
const FRONT_BYTES: usize = 16;

/// The index of a column.
#[derive(Debug)]
pub(crate) struct SparseIndex {
    pub(super) name: String,
    /// Where the index of each group lies.
    ranges: Vec<(usize, usize)>,
    blocks: Section,
}

impl SparseIndex {
    /// Those of a file with so many groups.
    pub(super) fn open_all(container: &Container, groups: usize) -> Vec<Self> {
        let sections =
            |field| Some((container.section(SPDR, field)?, container.section(SPIX, field)?));
        let found = (0..=u16::MAX).map_while(sections);
        found.filter_map(|(directory, blocks)| Self::open(&directory, blocks, groups)).collect()
    }

    fn open(directory: &Section, blocks: Section, groups: usize) -> Option<Self> {
        let bytes = directory.read_all().ok()?;
        let number = |at: usize| {
            let bytes = bytes.get(at..at.checked_add(8)?)?;
            usize::try_from(u64::from_le_bytes(bytes.try_into().ok()?)).ok()
        };
        let small = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let name_len = small(4)? as usize;
        if small(0)? != VERSION || number(8)? != groups {
            return None;
        }
        let name = std::str::from_utf8(bytes.get(FRONT_BYTES..FRONT_BYTES + name_len)?).ok()?;
        let lengths = FRONT_BYTES + name_len.next_multiple_of(8);
        if bytes.len() != groups.checked_mul(8)?.checked_add(lengths)? {
            return None;
        }
        let mut ranges = Vec::with_capacity(groups);
        let mut offset = 0_usize;
        for group in 0..groups {
            let len = number(lengths + group * 8)?;
            ranges.push((offset, len));
            offset = offset.checked_add(len).filter(|_| len.is_multiple_of(8))?;
        }
        (offset == blocks.len()).then(|| Self { name: name.to_owned(), ranges, blocks })
    }

    /// Calls `read` with the index of a group; `None` when there is none, or when bytes that were read
    /// are damaged.
    pub(crate) fn with<T>(
        &self,
        group: usize,
        read: impl FnOnce(&Inverted<'_, Section>) -> Option<T>,
    ) -> Option<T> {
        let (offset, len) = *self.ranges.get(group)?;
        let before = self.blocks.failures();
        let index = Inverted::parse(self.blocks.guarded(), offset..offset.checked_add(len)?)?;
        let answer = read(&index);
        self.blocks.status_since(before).ok()?;
        answer
    }

    /// The bytes of a group's index, checked.
    fn bytes(&self, group: usize) -> Result<&[u8]> {
        let (offset, len) = self.ranges.get(group).copied().unwrap_or_default();
        self.blocks.read(offset, len)
    }
}

impl AttributeFile {
    /// The index of the column `name`, if the file has one.
    pub(crate) fn sparse_index(&self, name: &str) -> Option<&SparseIndex> {
        self.sparse.iter().find(|index| index.name == name)
    }

    /// Every index is that of its column.
    pub(super) fn verify_sparse(&self) -> Result<()> {
        for index in &self.sparse {
            for (number, group) in self.groups.iter().enumerate() {
                let entry = self.directory(group)?.columns.iter().find(|c| *c.name == *index.name);
                let column = entry.map(|entry| self.decode(group, entry)).transpose()?;
                let rows = column.as_ref().and_then(|column| SparseRows::of(column.as_ref()));
                let expected = rows.and_then(|rows| inverted::encode(&|| rows.iter()));
                if expected.is_none_or(|expected| index.bytes(number).ok() != Some(&expected)) {
                    let reason = format!("the index of group {number} is not that of its rows");
                    return Err(index.blocks.corrupt(&reason));
                }
            }
        }
        Ok(())
    }
}

/// Writes the indexes of a file whose groups are written: `groups` lie in `blocks`, and `names` are
/// those of the sparse columns.
pub(super) fn write(
    container: &mut ContainerWriter,
    directory: &[u8],
    rows: usize,
    names: &[&str],
) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let blocks = container.map_section(super::layout::GRPS, super::layout::FIELD)?;
    let blocks = blocks.as_slice();
    let groups = parse_groups(directory, rows, blocks.len()).unwrap_or_default();
    for (field, name) in (0..u16::MAX).zip(names) {
        let mut lengths = Vec::new();
        container.begin(SPIX, field, 4096)?;
        for group in &groups {
            let Some(bytes) = of_group(&blocks[group.offset..][..group.len], group, name) else {
                break;
            };
            container.write(&bytes)?;
            lengths.push(bytes.len() as u64);
        }
        container.end()?;
        container.section(SPDR, field, &directory_of(name, &lengths))?;
    }
    Ok(())
}

/// What says where the indexes of the groups lie, which are so long.
pub(super) fn directory_of(name: &str, lengths: &[u64]) -> Vec<u8> {
    let mut bytes = VERSION.to_le_bytes().to_vec();
    bytes.extend_from_slice(&u32::try_from(name.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend_from_slice(&(lengths.len() as u64).to_le_bytes());
    bytes.extend_from_slice(name.as_bytes());
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    lengths.iter().for_each(|len| bytes.extend_from_slice(&len.to_le_bytes()));
    bytes
}

/// The index of the column `name` of a block that was just written.
fn of_group(block: &[u8], group: &Group, name: &str) -> Option<Vec<u8>> {
    let front = Directory::front_len(block, block.len()).ok()?;
    let directory = Directory::parse(block.get(..front)?, block.len()).ok()?;
    let entry = directory.columns.iter().find(|column| *column.name == *name)?;
    let body = block.get(entry.start..entry.start + entry.len)?;
    let column = columns::decode_column(entry, group.rows, body).ok()?;
    let rows = SparseRows::of(column.as_ref())?;
    inverted::encode(&|| rows.iter())
}

/// The sparse columns of a schema, in its order.
pub(super) fn names(schema: &arrow_schema::SchemaRef) -> Vec<&str> {
    let sparse = DataType::Sparse.to_arrow();
    let fields = schema.fields().iter().filter(|field| *field.data_type() == sparse);
    fields.map(|field| field.name().as_str()).collect()
}
