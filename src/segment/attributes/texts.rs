//! Text indexes in an attribute file: made while its columns are written, opened or made anew when a
//! search wants them.
//!
//! > A text index is derived data. What cannot be made while a file is written is left out, what is
//! > damaged or of another version is passed over: searches make it anew from the texts.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;

use super::AttributeFile;
use crate::error::{Error, Result};
use crate::segment::layout;
use crate::storage::container::{ContainerWriter, Section, Watch};
use crate::storage::mmap::Kept;
use crate::text::index::{self, Builder, ColumnIndex, PackBytes, column_of};
use crate::text::options::Cutting;
use crate::text::verify::{Comparison, Fault};
use crate::types::{Column, DataType};

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
        // What is copied gets new checksums.
        file.text_sections().for_each(|section| section.forget());
        match file.packs(column) {
            Ok(packs) if file.open_packs(&packs, column, cutting).is_some() => {
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
            // Damaged ones are as good as none.
            let packs = self.packs(&column.name).unwrap_or_default();
            let stored = self.open_packs(&packs, &column.name, cutting);
            match stored {
                Some(index) => Ok((index, 0)),
                None => self.made_anew(column, cutting),
            }
        })
    }

    /// Whether there are texts in a column, and no index of them in the file. What the packs say of
    /// themselves counts, unless all of them is to be read (`deep`).
    pub(crate) fn lacks_text(&self, column: &Column, cutting: Cutting, deep: bool) -> bool {
        let has = |group| {
            let columns = self.directory(group).map_or(&[][..], |directory| &directory.columns);
            columns.iter().any(|entry| entry.name == column.name)
        };
        if !self.groups.iter().any(has) {
            return false;
        }
        let name = &column.name;
        if deep {
            let packs = self.packs(name).unwrap_or_default();
            return self.open_packs(&packs, name, cutting).is_none();
        }
        let rows = |section: Section| {
            let front = section.read(0, section.len().min(FRONT_BYTES)).ok()?;
            index::rows_of(front, name, cutting)
        };
        self.text_sections().filter_map(rows).sum::<usize>() != self.group_rows().sum::<usize>()
    }

    /// Memory held by indexes that were made anew.
    pub(crate) fn text_bytes(&self) -> usize {
        self.text.memory_bytes()
    }

    fn text_sections(&self) -> impl Iterator<Item = Section> + '_ {
        (0..u16::MAX).map_while(|field| self.container.section(layout::TEXT, field))
    }

    /// The packs of a column, all of their bytes checked; none where it has no index.
    fn packs(&self, column: &str) -> Result<Vec<Kept>> {
        let of_column = |section: &Section| {
            let front = section.read(0, section.len().min(FRONT_BYTES)).ok();
            front.and_then(column_of).is_some_and(|found| found == column)
        };
        self.text_sections().filter(of_column).map(|section| section.keep_all()).collect()
    }

    fn open_packs(&self, packs: &[Kept], column: &str, cutting: Cutting) -> Option<ColumnIndex> {
        if packs.is_empty() {
            return None;
        }
        let rows = self.groups.last().map_or(0, |last| last.first + last.rows);
        let packs = packs.iter().cloned().map(PackBytes::new);
        ColumnIndex::open(packs, column, cutting, Some(rows)).ok()
    }

    fn made_anew(&self, column: &Column, cutting: Cutting) -> Result<(ColumnIndex, usize)> {
        let mut builder = Builder::new(&column.name, cutting, usize::MAX);
        self.for_texts(column, &mut |text| builder.push(text).map_err(unmade), &mut |_| Ok(()))?;
        let index = builder.index().map_err(unmade)?;
        let bytes = index.bytes();
        Ok((index, bytes))
    }

    /// Calls `each` with the texts of a column, in row order.
    fn for_texts(
        &self,
        column: &Column,
        each: &mut dyn FnMut(Option<&str>) -> Result<()>,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        for group in 0..self.groups.len() {
            watch(0)?;
            let texts = self.group_column(group, column)?;
            let texts = texts.as_string_opt::<i64>();
            let texts = texts.ok_or_else(|| self.blocks.corrupt("a column of texts has none"))?;
            texts.iter().try_for_each(&mut *each)?;
        }
        Ok(())
    }

    /// That indexes which this version wrote say of the texts what the texts say: the texts are cut anew
    /// and compared.
    pub(super) fn verify_texts(&self, watch: &mut Watch<'_>) -> Result<()> {
        let mut verified = HashSet::new();
        for section in self.text_sections() {
            watch(0)?;
            let wrong = |reason: String| section.corrupt(&reason);
            let pack = PackBytes::new(section.keep_all()?);
            let Some((name, cutting)) = index::described(&pack).map_err(wrong)? else { continue };
            if !verified.insert(name.clone()) {
                continue;
            }
            let packs = self.packs(&name)?.into_iter().map(PackBytes::new);
            let rows = self.groups.last().map_or(0, |last| last.first + last.rows);
            let opened = ColumnIndex::open(packs, &name, cutting, Some(rows)).map_err(wrong)?;
            let mut comparison = Comparison::new(&opened, &name, cutting);
            let differs = |fault| match fault {
                Fault::Unmade(reason) => unmade(reason),
                Fault::Differs(reason) => {
                    wrong(format!("it is not the index of the texts of column {name:?}: {reason}"))
                }
            };
            let column = Column { name: name.clone(), data_type: DataType::Utf8, text: true };
            self.for_texts(&column, &mut |text| comparison.push(text).map_err(differs), watch)?;
            comparison.finish().map_err(differs)?;
        }
        Ok(())
    }
}

/// The error of an index that cannot be made.
pub(crate) fn unmade(reason: String) -> Error {
    Error::invalid(format!("the index of texts cannot be made: {reason}"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use arrow_array::{ArrayRef, LargeStringArray};

    use super::*;
    use crate::segment::attributes::AttributeWriter;
    use crate::segment::columns;
    use crate::segment::layout::AttributeMeta;
    use crate::storage::disk::{Disk, OsDisk};
    use crate::text::options::TextOptions;

    const TEXTS: [Option<&str>; 3] = [Some("a page fault"), None, Some("pages")];

    fn disk() -> Arc<dyn Disk> {
        Arc::new(OsDisk)
    }

    fn file(dir: &Path, writer: AttributeWriter) -> AttributeFile {
        let meta = writer.finish().expect("room");
        AttributeFile::open(&disk(), dir, 7, 3, TEXTS.len(), meta).expect("the file is whole")
    }

    fn packs(texts: &[Option<&str>]) -> Vec<u8> {
        let mut builder = Builder::new("body", TextOptions::new().cutting(), 100);
        texts.iter().for_each(|text| builder.push(*text).expect("room"));
        builder.finish().expect("room").remove(0)
    }

    #[test]
    fn an_index_that_is_not_that_of_its_texts_is_found_by_a_check() {
        let dir = tempfile::tempdir().expect("a directory");
        let schema = columns::arrow_schema([("body", DataType::Utf8)].into_iter());
        let texts: ArrayRef = Arc::new(LargeStringArray::from(TEXTS.to_vec()));
        let batch = columns::assemble(schema.clone(), vec![texts], TEXTS.len()).expect("a batch");
        let writer = AttributeWriter::create(&disk(), dir.path(), 7, 3, 1, &schema);
        let text = TextWriter::new("body", TextOptions::new().cutting());
        let mut writer = writer.expect("a new file").with_texts(vec![text]);
        writer.push(&batch).expect("room");
        let file = file(dir.path(), writer);
        file.verify(&mut |_| Ok(())).expect("it is their index");
        let section = |tag| {
            let section = file.container.require(tag, layout::FIELD).expect("there");
            section.read_all().expect("whole").to_vec()
        };
        let (columns, groups) = (section(layout::GRPS), section(layout::GDIR));
        let own = packs(&TEXTS);
        let mut older = own.clone();
        older[7] = b'1';
        let mut damaged = own.clone();
        *damaged.last_mut().expect("bytes") ^= 1;
        let other = [Some("a page"), None, Some("fault pages")];
        let cases = [
            (own, None),
            (older, None),
            (damaged, Some("digest")),
            (packs(&other), Some("not the index of the texts of column \"body\"")),
            (packs(&TEXTS[..2]), Some("another number of rows")),
            (b"no pack at all, but bytes".to_vec(), Some("digest")),
        ];
        for (pack, expected) in cases {
            let other = tempfile::tempdir().expect("a directory");
            let path = other.path().join(layout::attribute_file(3, 1));
            let identity = layout::attribute_identity(7, 3, 1);
            let mut writer = ContainerWriter::create(&disk(), &path, identity).expect("a file");
            let sections =
                [(layout::GRPS, &columns), (layout::GDIR, &groups), (layout::TEXT, &pack)];
            for (tag, bytes) in sections {
                writer.section(tag, layout::FIELD, bytes).expect("room");
            }
            let meta = AttributeMeta { generation: 1, seal: writer.finish().expect("room") };
            let file = AttributeFile::open(&disk(), other.path(), 7, 3, TEXTS.len(), meta);
            match (file.expect("whole").verify(&mut |_| Ok(())), expected) {
                (Ok(()), None) => {}
                (Err(error), Some(expected)) if error.to_string().contains(expected) => {}
                (found, _) => panic!("{found:?}, expected {expected:?}"),
            }
        }
    }
}
