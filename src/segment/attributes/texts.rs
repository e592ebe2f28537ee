//! Text indexes in an attribute file: made while its columns are written, opened or made anew when a
//! search wants them.
//!
//! > A text index is derived data. What cannot be made while a file is written is left out, what is
//! > damaged or of another version is passed over: searches make it anew from the texts.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;

use super::AttributeFile;
use crate::error::{Error, Result};
use crate::segment::layout;
use crate::storage::container::{ContainerWriter, Section};
use crate::storage::mmap::Kept;
use crate::text::index::{Builder, ColumnIndex, PackBytes, column_of};
use crate::text::options::Cutting;
use crate::types::Column;

/// Most bytes in which a pack says what it is of.
const FRONT_BYTES: usize = 64 << 10;

/// The index of a column of a file that is being written.
#[derive(Debug)]
pub(crate) struct TextWriter {
    column: String,
    work: Work,
}

#[derive(Debug)]
enum Work {
    /// `None` once it cannot be made.
    Make(Option<Box<Builder>>),
    /// The index of the file before, whose texts are the same.
    Copy(Vec<Kept>),
}

impl TextWriter {
    pub(crate) fn new(column: &str, cutting: Cutting) -> Self {
        let builder = Builder::new(column, cutting, usize::MAX);
        Self { column: column.into(), work: Work::Make(Some(Box::new(builder))) }
    }

    /// Takes the index of `file`, if it has one; its rows must have the same texts.
    pub(crate) fn copied(column: &str, cutting: Cutting, file: &AttributeFile) -> Self {
        match file.packs(column) {
            Some(packs) if file.open_packs(&packs, column, cutting).is_some() => {
                Self { column: column.into(), work: Work::Copy(packs) }
            }
            _ => Self::new(column, cutting),
        }
    }

    pub(super) fn push(&mut self, batch: &RecordBatch) {
        let Work::Make(builder) = &mut self.work else { return };
        let Some(making) = builder else { return };
        let texts = batch.column_by_name(&self.column);
        let pushed = match texts.and_then(|texts| texts.as_string_opt::<i64>()) {
            Some(texts) => texts.iter().try_for_each(|text| making.push(text)),
            None => (0..batch.num_rows()).try_for_each(|_| making.push(None)),
        };
        if pushed.is_err() {
            *builder = None;
        }
    }

    /// Writes the packs as sections, numbered from `field` on.
    pub(super) fn finish(self, container: &mut ContainerWriter, field: &mut u16) -> Result<()> {
        let mut write = |pack: &[u8]| {
            container.section(layout::TEXT, *field, pack)?;
            *field = field.saturating_add(1);
            Ok(())
        };
        match self.work {
            Work::Make(Some(builder)) => match builder.finish() {
                Ok(packs) => packs.iter().try_for_each(|pack| write(pack)),
                Err(_left_out) => Ok(()),
            },
            Work::Make(None) => Ok(()),
            Work::Copy(packs) => packs.iter().try_for_each(|pack| write(pack)),
        }
    }
}

impl AttributeFile {
    /// The index of a column.
    pub(crate) fn text_index(&self, column: &Column, cutting: Cutting) -> Result<Arc<ColumnIndex>> {
        self.text.get(&column.name, cutting, || {
            let packs = self.packs(&column.name);
            let stored = packs.and_then(|packs| self.open_packs(&packs, &column.name, cutting));
            match stored {
                Some(index) => Ok((index, 0)),
                None => self.made_anew(column, cutting),
            }
        })
    }

    /// Memory held by indexes that were made anew.
    pub(crate) fn text_bytes(&self) -> usize {
        self.text.memory_bytes()
    }

    /// The packs of a column, all of their bytes checked; `None` when there are none.
    fn packs(&self, column: &str) -> Option<Vec<Kept>> {
        let sections = (0..u16::MAX).map_while(|field| self.container.section(layout::TEXT, field));
        let of_column = |section: &Section| {
            let front = section.read(0, section.len().min(FRONT_BYTES)).ok();
            front.and_then(column_of).is_some_and(|found| found == column)
        };
        let packs = sections.filter(of_column).map(|section| section.keep_all());
        let packs: Vec<Kept> = packs.collect::<Result<_>>().ok()?;
        (!packs.is_empty()).then_some(packs)
    }

    fn open_packs(&self, packs: &[Kept], column: &str, cutting: Cutting) -> Option<ColumnIndex> {
        let rows = self.groups.last().map_or(0, |last| last.first + last.rows);
        let packs = packs.iter().cloned().map(PackBytes::new);
        ColumnIndex::open(packs, column, cutting, Some(rows)).ok()
    }

    fn made_anew(&self, column: &Column, cutting: Cutting) -> Result<(ColumnIndex, usize)> {
        let mut builder = Builder::new(&column.name, cutting, usize::MAX);
        for group in 0..self.groups.len() {
            let texts = self.group_column(group, column)?;
            let texts = texts.as_string_opt::<i64>();
            let texts = texts.ok_or_else(|| self.blocks.corrupt("a column of texts has none"))?;
            texts.iter().try_for_each(|text| builder.push(text)).map_err(unmade)?;
        }
        let index = builder.index().map_err(unmade)?;
        let bytes = index.bytes();
        Ok((index, bytes))
    }
}

/// The error of an index that cannot be made.
pub(crate) fn unmade(reason: String) -> Error {
    Error::invalid(format!("the index of texts cannot be made: {reason}"))
}
