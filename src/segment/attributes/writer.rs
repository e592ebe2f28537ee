//! Writes an attribute file group by group, with one group in memory.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use super::{index, sparse};
use crate::error::Result;
use crate::filter::rowset::RowSet;
use crate::segment::columns;
use crate::segment::layout::{self, AttributeMeta, GROUP_BYTES, GROUP_ROWS, OwnedFile};
use crate::segment::part::{Part, live_rows};
use crate::segment::patch::Patch;
use crate::storage::container::ContainerWriter;
use crate::storage::disk::Disk;
use crate::types::Row;

/// Rows copied at once out of a part.
const COPY_ROWS: usize = 8192;

/// Writes the attributes of a segment in row order. The file is removed unless it is finished.
#[derive(Debug)]
pub(crate) struct AttributeWriter {
    container: ContainerWriter,
    schema: SchemaRef,
    generation: u64,
    /// Rows of the group being filled.
    pending: Vec<RecordBatch>,
    pending_rows: usize,
    pub(super) pending_bytes: usize,
    /// Entries of the group directory.
    directory: Vec<u8>,
    /// Where the blocks lie in their section.
    blocks: Vec<Range<usize>>,
    groups: u64,
    rows: u64,
    /// Bytes of groups written.
    written: u64,
    #[cfg(feature = "text")]
    texts: Vec<super::texts::TextWriter>,
    // After the container, which has the file open.
    file: OwnedFile,
}

impl AttributeWriter {
    /// Creates the file of `segment` and `generation`, whose columns are those of `schema`.
    pub(crate) fn create(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        store: u128,
        segment: u64,
        generation: u64,
        schema: &SchemaRef,
    ) -> Result<Self> {
        let path = dir.join(layout::attribute_file(segment, generation));
        let identity = layout::attribute_identity(store, segment, generation);
        let mut container = ContainerWriter::create(disk, &path, identity)?;
        let file = OwnedFile::new(disk, path);
        file.set_obsolete(true);
        container.begin(layout::GRPS, layout::FIELD, 4096)?;
        Ok(Self {
            container,
            schema: Arc::clone(schema),
            generation,
            pending: Vec::new(),
            pending_rows: 0,
            pending_bytes: 0,
            directory: Vec::new(),
            blocks: Vec::new(),
            groups: 0,
            rows: 0,
            written: 0,
            #[cfg(feature = "text")]
            texts: Vec::new(),
            file,
        })
    }

    /// Makes these indexes as well.
    #[cfg(feature = "text")]
    pub(crate) fn with_texts(mut self, texts: Vec<super::texts::TextWriter>) -> Self {
        self.texts = texts;
        self
    }

    /// Appends rows; columns that the batch lacks are null.
    pub(crate) fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        let batch = columns::project(batch, &self.schema)?;
        #[cfg(feature = "text")]
        self.texts.iter_mut().for_each(|text| text.push(&batch));
        let mut from = 0;
        while from < batch.num_rows() {
            let take = (GROUP_ROWS - self.pending_rows).min(COPY_ROWS).min(batch.num_rows() - from);
            let rows = batch.slice(from, take);
            self.pending_rows += take;
            self.pending_bytes += columns::size_bytes(&rows);
            self.pending.push(rows);
            from += take;
            if self.pending_rows == GROUP_ROWS || self.pending_bytes >= GROUP_BYTES {
                self.end_group()?;
            }
        }
        Ok(())
    }

    /// Appends the live rows of a part, with its patch applied.
    pub(crate) fn push_part(&mut self, part: &Part, dead: &RowSet, patch: &Patch) -> Result<()> {
        if let Part::Segment(segment) = part
            && let Some(file) = segment.attribute_file()
        {
            // What is copied gets new checksums.
            file.blocks().forget();
        }
        let rows = live_rows(part.len(), dead);
        let mut rows = rows.peekable();
        while rows.peek().is_some() {
            let some: Vec<Row> = rows.by_ref().take(COPY_ROWS).collect();
            let stored = part.attributes(&some, &self.schema)?;
            self.push(&patch.apply(&some, &stored, &self.schema)?)?;
        }
        Ok(())
    }

    /// Writes what is left and syncs the file (not its directory).
    pub(crate) fn finish(mut self) -> Result<AttributeMeta> {
        self.end_group()?;
        self.container.end()?;
        let mut directory = self.rows.to_le_bytes().to_vec();
        directory.extend_from_slice(&self.groups.to_le_bytes());
        directory.extend_from_slice(&self.directory);
        self.container.section(layout::GDIR, layout::FIELD, &directory)?;
        if self.rows > 0 {
            let blocks = self.container.map_section(layout::GRPS, layout::FIELD)?;
            let rows = usize::try_from(self.rows).unwrap_or(usize::MAX);
            let groups = self.blocks.iter().cloned();
            self.container.begin(layout::AIDX, layout::FIELD, 4096)?;
            let write = &mut |bytes: &[u8]| self.container.write(bytes);
            index::build(blocks.as_slice(), groups, rows, &self.schema, write)?;
            self.container.end()?;
        }
        #[cfg(feature = "text")]
        {
            let mut field = 0;
            for text in std::mem::take(&mut self.texts) {
                text.finish(&mut self.container, &mut field)?;
            }
        }
        let rows = usize::try_from(self.rows).unwrap_or(usize::MAX);
        let names = sparse::names(&self.schema);
        sparse::write(&mut self.container, &directory, rows, &names)?;
        let seal = self.container.finish()?;
        self.file.set_obsolete(false);
        Ok(AttributeMeta { generation: self.generation, seal })
    }

    fn end_group(&mut self) -> Result<()> {
        if self.pending_rows == 0 {
            return Ok(());
        }
        let parts: Vec<&RecordBatch> = self.pending.iter().collect();
        let group = columns::concat(&self.schema, &parts)?;
        let mut bytes = Vec::new();
        columns::encode(&group, &mut bytes)?;
        self.container.write(&bytes)?;
        for number in [self.written, bytes.len() as u64, self.pending_rows as u64] {
            self.directory.extend_from_slice(&number.to_le_bytes());
        }
        let start = usize::try_from(self.written).unwrap_or(usize::MAX);
        self.blocks.push(start..start.saturating_add(bytes.len()));
        self.written += bytes.len() as u64;
        self.rows += self.pending_rows as u64;
        self.groups += 1;
        self.pending.clear();
        self.pending_rows = 0;
        self.pending_bytes = 0;
        Ok(())
    }
}
