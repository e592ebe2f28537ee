//! The attribute file of a segment: its columns in groups of rows, immutable, one a generation.
//!
//! ```text
//! GRPS   column blocks (columns module), one a group, back to back
//! GDIR   rows u64 · groups u64 · per group: offset u64 · length u64 · rows u64
//! AIDX   indexes over the columns (index module)
//! TEXT   the index of a column of texts (texts module), none or several
//! SPIX   inverted indexes of sparse columns, and SPDR what they are (sparse module)
//! ```
//!
//! A few rows are read in place, value by value; many rows of a group decode it whole. Columns
//! that the file lacks are null. Must never know an id or a vector. docs/format.md, "Attribute
//! file".

#[cfg(feature = "testing")]
pub(crate) mod fuzz;
pub(crate) mod index;
mod point;
mod sparse;
#[cfg(test)]
mod tests;
#[cfg(feature = "text")]
pub(crate) mod texts;
mod writer;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use arrow_array::{ArrayRef, RecordBatch, new_null_array};
use arrow_schema::{Field, SchemaRef};

pub(crate) use index::{Served, ServedBy, ascending};
pub(crate) use writer::AttributeWriter;

use self::index::Indexes;
use self::point::{number_at, read_column, text_at};
use self::sparse::SparseIndex;
use super::columns::{self, ColumnEntry, Directory, HEADER_BYTES, Malformed};
use super::layout::{self, AttributeMeta, OwnedFile};
use crate::error::{Error, Result};
use crate::storage::container::{Container, Findings, Section, Tag, Watch};
use crate::storage::disk::Disk;
use crate::types::{Column, Row};

/// Bytes of the group directory before its entries, and of an entry.
const DIRECTORY_BYTES: usize = 16;
const ENTRY_BYTES: usize = 24;
/// A group is decoded whole when more than one in this many of its rows is asked for.
const DECODE_SHARE: usize = 16;

/// An opened attribute file.
#[derive(Debug)]
pub(crate) struct AttributeFile {
    groups: Vec<Group>,
    sparse: Vec<SparseIndex>,
    /// Absent in files without, and where they cannot be used.
    indexes: Option<Indexes>,
    blocks: Section,
    container: Container,
    /// Whether the indexes that the file lacks turned out to be lacking in one written in its place.
    given_up: AtomicBool,
    #[cfg(feature = "text")]
    text: crate::text::cell::TextCell,
    // After the maps: see `OwnedFile`.
    file: OwnedFile,
}

/// One column block.
#[derive(Debug)]
struct Group {
    /// First row.
    first: usize,
    rows: usize,
    offset: usize,
    len: usize,
    /// Parsed when first needed.
    directory: OnceLock<Directory>,
}

impl AttributeFile {
    pub(crate) fn open(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        store: u128,
        segment: u64,
        rows: usize,
        meta: AttributeMeta,
    ) -> Result<Self> {
        let path = dir.join(layout::attribute_file(segment, meta.generation));
        let identity = layout::attribute_identity(store, segment, meta.generation);
        Self::of(disk, Container::open(disk, &path, identity, Some(meta.seal))?, rows)
    }

    /// Opens what is left of a file.
    pub(crate) fn salvage(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        store: u128,
        segment: u64,
        rows: usize,
        meta: AttributeMeta,
    ) -> Result<Self> {
        let path = dir.join(layout::attribute_file(segment, meta.generation));
        let identity = layout::attribute_identity(store, segment, meta.generation);
        Self::of(disk, Container::salvage(disk, &path, identity, meta.seal)?, rows)
    }

    fn of(disk: &Arc<dyn Disk>, container: Container, rows: usize) -> Result<Self> {
        let blocks = container.require(layout::GRPS, layout::FIELD)?;
        let section = container.require(layout::GDIR, layout::FIELD)?;
        let groups = match section.read_all() {
            Ok(bytes) => parse_groups(bytes, rows, blocks.len()),
            // A block says how long it is.
            Err(_damaged) => found_groups(&blocks, rows)?,
        };
        let groups =
            groups.ok_or_else(|| section.corrupt("groups do not cover the segment's rows"))?;
        let sparse = SparseIndex::open_all(&container, groups.len());
        let indexes = container.section(layout::AIDX, layout::FIELD);
        let indexes = indexes.and_then(|section| Indexes::open(section, rows, groups.len()));
        let file = OwnedFile::new(disk, container.path().clone());
        Ok(Self {
            groups,
            sparse,
            indexes,
            blocks,
            container,
            given_up: AtomicBool::new(false),
            #[cfg(feature = "text")]
            text: crate::text::cell::TextCell::default(),
            file,
        })
    }

    /// Length of the file.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.container.len()
    }

    pub(crate) fn container(&self) -> &Container {
        &self.container
    }

    /// Removes the file once nobody uses it any more.
    pub(crate) fn mark_obsolete(&self) {
        self.file.set_obsolete(true);
    }

    /// The columns `wanted` of the given rows, in the order asked for.
    pub(crate) fn read(&self, rows: &[Row], wanted: &SchemaRef) -> Result<RecordBatch> {
        let mut asked: Vec<Vec<Row>> = vec![Vec::new(); self.groups.len()];
        let mut places = Vec::with_capacity(rows.len());
        for &row in rows {
            let index = self.groups.partition_point(|group| group.first <= row as usize);
            let group = index.checked_sub(1).filter(|index| {
                (row as usize) - self.groups[*index].first < self.groups[*index].rows
            });
            let Some(group) = group else {
                return Err(self.blocks.corrupt(&format!("row {row} is in no group")));
            };
            let inside = row as usize - self.groups[group].first;
            places.push((group, asked[group].len()));
            asked[group].push(Row::try_from(inside).unwrap_or(Row::MAX));
        }
        let mut batches = Vec::new();
        let mut batch_of = vec![0; self.groups.len()];
        for (index, inside) in asked.iter().enumerate().filter(|(_, inside)| !inside.is_empty()) {
            batch_of[index] = batches.len();
            batches.push(self.read_group(&self.groups[index], inside, wanted)?);
        }
        if let [only] = batches.as_slice() {
            return Ok(only.clone());
        }
        let picks: Vec<(usize, Row)> = places
            .iter()
            .map(|(group, at)| (batch_of[*group], Row::try_from(*at).unwrap_or(Row::MAX)))
            .collect();
        columns::gather(wanted, &batches.iter().collect::<Vec<_>>(), &picks)
    }

    /// Rows of each group, in row order.
    pub(crate) fn group_rows(&self) -> impl Iterator<Item = usize> + '_ {
        self.groups.iter().map(|group| group.rows)
    }

    /// A column of a whole group; null where the file lacks it.
    pub(crate) fn group_column(&self, group: usize, column: &Column) -> Result<ArrayRef> {
        let Some(group) = self.groups.get(group) else {
            return Err(self.blocks.corrupt(&format!("there is no group {group}")));
        };
        let field = Field::new(&column.name, column.data_type.to_arrow(), true);
        match Self::find(self.directory(group)?, &field)? {
            Some(entry) => self.decode(group, entry),
            None => Ok(new_null_array(field.data_type(), group.rows)),
        }
    }

    /// Eight bytes of a column of numbers that is stored, where the value of `row` is or, without one,
    /// anything.
    fn number_at(&self, column: &Column, row: Row) -> Result<u64> {
        let (group, entry, inside) = self.stored(column, row)?;
        number_at(&self.blocks, group.offset, entry, group.rows, inside)
    }

    /// The text of `row` in a column that is stored.
    fn text_at(&self, column: &Column, row: Row) -> Result<&str> {
        let (group, entry, inside) = self.stored(column, row)?;
        text_at(&self.blocks, group.offset, entry, group.rows, inside)
    }

    /// The group of `row`, its entry of the column, and the row in the group.
    fn stored(&self, column: &Column, row: Row) -> Result<(&Group, &ColumnEntry, usize)> {
        let row = row as usize;
        let behind = self.groups.partition_point(|group| group.first <= row);
        let group = behind.checked_sub(1).map(|at| &self.groups[at]);
        let Some(group) = group.filter(|group| row - group.first < group.rows) else {
            return Err(self.blocks.corrupt(&format!("row {row} is in no group")));
        };
        let columns = &self.directory(group)?.columns;
        let same = |entry: &&ColumnEntry| entry.name == column.name;
        let entry = columns.iter().find(same).filter(|entry| entry.data_type == column.data_type);
        let Some(entry) = entry else {
            return Err(self.blocks.corrupt(&format!("a group lacks {:?}", column.name)));
        };
        Ok((group, entry, row - group.first))
    }

    /// Reads every byte and compares checksums.
    pub(crate) fn verify_checksums(&self, watch: &mut Watch<'_>) -> Result<()> {
        self.container.verify_while(watch)
    }

    /// Reads every byte, decodes every group and compares the indexes; tells `found` of everything that
    /// is wrong, and fails when `watch` does.
    pub(crate) fn verify_each(
        &self,
        watch: &mut Watch<'_>,
        found: &mut dyn FnMut(Error),
    ) -> Result<()> {
        let mut findings = Findings::of(&self.container, watch, found)?;
        if !findings.whole(&[layout::GRPS]) {
            // There is nothing to compare the others with.
            return Ok(());
        }
        findings.note(self.verify_groups(watch))?;
        if findings.whole(&[layout::AIDX]) {
            findings.note(self.verify_indexes())?;
        }
        #[cfg(feature = "text")]
        if findings.whole(&[layout::TEXT]) {
            findings.note(self.verify_texts(watch))?;
        }
        if findings.whole(&[layout::SPIX, layout::SPDR]) {
            findings.note(self.verify_sparse())?;
        }
        Ok(())
    }

    /// [`verify_each`](Self::verify_each) up to the first thing that is wrong.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn verify(&self, watch: &mut Watch<'_>) -> Result<()> {
        let mut first = None;
        self.verify_each(watch, &mut |error| first = first.take().or(Some(error)))?;
        first.map_or(Ok(()), Err)
    }

    fn verify_groups(&self, watch: &mut Watch<'_>) -> Result<()> {
        for group in &self.groups {
            watch(0)?;
            let bytes = self.blocks.read(group.offset, group.len)?;
            let batch = columns::decode(bytes).map_err(|error| self.malformed(error))?;
            if batch.num_rows() != group.rows {
                return Err(self.malformed(WRONG_ROWS));
            }
        }
        Ok(())
    }

    /// Tags of the sections in which damage was found so far.
    pub(crate) fn damaged(&self) -> Vec<Tag> {
        self.container.damaged()
    }

    /// The section of the columns.
    pub(crate) fn blocks(&self) -> &Section {
        &self.blocks
    }

    /// Notes that the indexes that the file lacks cannot be made, so that nobody tries again.
    pub(crate) fn give_up(&self) {
        self.given_up.store(true, Relaxed);
    }

    pub(crate) fn is_given_up(&self) -> bool {
        self.given_up.load(Relaxed)
    }

    /// Whether the directory of groups is damaged, or an index of columns or sparse vectors is or is of
    /// another version, with all of them read whole where that is asked for (`deep`).
    pub(crate) fn lacks_indexes(&self, deep: bool) -> bool {
        let section = |tag, field| self.container.section(tag, field);
        if deep {
            let sparse = (0..u16::MAX).map_while(|field| section(layout::SPIX, field));
            for section in sparse.chain(section(layout::AIDX, layout::FIELD)) {
                // What is found is remembered by the section.
                drop(section.read_all());
            }
        }
        let tags = [layout::GDIR, layout::AIDX, layout::SPIX, layout::SPDR];
        let derived = |tag: &Tag| tags.contains(tag);
        let unread = section(layout::AIDX, layout::FIELD).is_some() && self.indexes.is_none();
        unread || self.damaged().iter().any(derived)
    }

    fn read_group(&self, group: &Group, rows: &[Row], wanted: &SchemaRef) -> Result<RecordBatch> {
        let directory = self.directory(group)?;
        let whole = rows.len() > group.rows / DECODE_SHARE;
        let mut arrays = Vec::with_capacity(wanted.fields().len());
        let len = if whole { group.rows } else { rows.len() };
        for field in wanted.fields() {
            arrays.push(match Self::find(directory, field)? {
                None => new_null_array(field.data_type(), len),
                Some(entry) if whole => self.decode(group, entry)?,
                Some(entry) => read_column(&self.blocks, group.offset, entry, group.rows, rows)?,
            });
        }
        let batch = columns::assemble(Arc::clone(wanted), arrays, len)?;
        if whole { columns::take(&batch, rows) } else { Ok(batch) }
    }

    /// Where a column is, if the group has it.
    fn find<'a>(directory: &'a Directory, field: &Field) -> Result<Option<&'a ColumnEntry>> {
        let entry = directory.columns.iter().find(|column| column.name == *field.name());
        match entry {
            Some(entry) if entry.data_type.to_arrow() != *field.data_type() => {
                Err(Error::SchemaMismatch {
                    what: format!("column {:?}", field.name()),
                    expected: field.data_type().to_string(),
                    given: entry.data_type.to_string(),
                })
            }
            entry => Ok(entry),
        }
    }

    /// All values of a column of a group.
    fn decode(&self, group: &Group, entry: &ColumnEntry) -> Result<ArrayRef> {
        let body = self.blocks.read(group.offset + entry.start, entry.len)?;
        columns::decode_column(entry, group.rows, body).map_err(|error| self.malformed(error))
    }

    fn directory<'a>(&self, group: &'a Group) -> Result<&'a Directory> {
        if let Some(directory) = group.directory.get() {
            return Ok(directory);
        }
        let header = self.blocks.read(group.offset, HEADER_BYTES.min(group.len))?;
        let front =
            Directory::front_len(header, group.len).map_err(|error| self.malformed(error))?;
        let front = self.blocks.read(group.offset, front)?;
        let directory =
            Directory::parse(front, group.len).map_err(|error| self.malformed(error))?;
        if directory.rows != group.rows {
            return Err(self.malformed(WRONG_ROWS));
        }
        Ok(group.directory.get_or_init(|| directory))
    }

    fn malformed(&self, error: Malformed) -> Error {
        self.blocks.corrupt(error.0)
    }
}

const WRONG_ROWS: Malformed = Malformed("a group has another number of rows than its directory");

/// The groups of blocks that follow one another, as each says how long it is; none where they do not cover
/// `rows` rows.
fn found_groups(blocks: &Section, rows: usize) -> Result<Option<Vec<Group>>> {
    let malformed = |error: Malformed| blocks.corrupt(error.0);
    let mut groups = Vec::new();
    let (mut first, mut offset) = (0, 0);
    while offset < blocks.len() {
        let left = blocks.len() - offset;
        let header = blocks.read(offset, HEADER_BYTES.min(left))?;
        let front = Directory::front_len(header, left).map_err(malformed)?;
        let front = blocks.read(offset, front)?;
        let (directory, len) = Directory::parse_first(front, left).map_err(malformed)?;
        let rows = directory.rows;
        groups.push(Group { first, rows, offset, len, directory: OnceLock::from(directory) });
        if rows == 0 {
            return Ok(None);
        }
        (first, offset) = (first + rows, offset + len);
    }
    Ok((first == rows).then_some(groups))
}

/// The groups of a directory, which cover `rows` rows and `len` bytes without gaps.
fn parse_groups(bytes: &[u8], rows: usize, len: usize) -> Option<Vec<Group>> {
    let number = |at: usize| {
        let bytes = bytes.get(at..at + 8)?;
        usize::try_from(u64::from_le_bytes(bytes.try_into().ok()?)).ok()
    };
    let count = number(8)?;
    let expected = count.checked_mul(ENTRY_BYTES)?.checked_add(DIRECTORY_BYTES)?;
    if number(0)? != rows || expected != bytes.len() {
        return None;
    }
    let mut groups = Vec::with_capacity(count);
    let (mut first, mut offset) = (0usize, 0usize);
    for index in 0..count {
        let at = DIRECTORY_BYTES + index * ENTRY_BYTES;
        let group = Group {
            first,
            rows: number(at + 16)?,
            offset: number(at)?,
            len: number(at + 8)?,
            directory: OnceLock::new(),
        };
        if group.offset != offset || group.rows == 0 || !group.len.is_multiple_of(8) {
            return None;
        }
        first = first.checked_add(group.rows)?;
        offset = offset.checked_add(group.len)?;
        groups.push(group);
    }
    (first == rows && offset == len).then_some(groups)
}
