//! A door for fuzzing: any bytes as the indexes of a small attribute file.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use arrow_array::builder::{LargeListBuilder, LargeStringBuilder};
use arrow_array::{ArrayRef, Float64Array, Int64Array, LargeStringArray, RecordBatch};

use super::AttributeFile;
use crate::error::Result;
use crate::filter::{Asked, Bound, BoundColumn, Filter, Rule};
use crate::segment::attributes::AttributeWriter;
use crate::segment::columns;
use crate::segment::layout::{self, AttributeMeta};
use crate::storage::container::{Container, ContainerWriter};
use crate::storage::disk::Disk;
use crate::storage::fault::FaultDisk;
use crate::types::{Column, DataType};

const ROWS: usize = 400;
const STORE: u128 = 9;
const NAMES: [(&str, DataType); 5] = [
    ("many", DataType::Int64),
    ("few", DataType::Int64),
    ("float", DataType::Float64),
    ("text", DataType::Utf8),
    ("tags", DataType::ListUtf8),
];
const FILTERS: [&str; 14] = [
    "many > 70",
    "NOT many IN (7, 14, 300)",
    "many IS NULL",
    "few = 3",
    "few <> 3",
    "few IS NOT NULL",
    "float < 5",
    "NOT float < 5",
    "float IN (1, 2.5)",
    "text LIKE 'the same 1%'",
    "text >= 'the same 2'",
    "NOT text IN ('the same 30', 'a')",
    "tags HAS ANY ('tag 1', 'tag 9')",
    "NOT tags HAS ALL ('tag 1', 'tag 2')",
];

/// Opens a file whose indexes are `bytes`, and one in whose indexes they stand for some of the bytes, and
/// asks filters of both.
///
/// # Panics
/// When a file cannot be opened without its indexes, or an index finds rows that are not there.
#[doc(hidden)]
pub fn attribute_indexes(bytes: &[u8]) {
    static FILE: OnceLock<Option<Pieces>> = OnceLock::new();
    let Some(pieces) = FILE.get_or_init(|| Pieces::make().ok()) else {
        panic!("a file of a few rows was not written")
    };
    pieces.ask(bytes);
    let Some((at, over)) = bytes.split_first_chunk::<2>() else { return };
    let mut indexes = pieces.indexes.clone();
    // From the end, where the directory is.
    let from = indexes.len() - 1 - usize::from(u16::from_le_bytes(*at)) % indexes.len();
    let len = over.len().min(indexes.len() - from);
    indexes[from..from + len].copy_from_slice(&over[..len]);
    pieces.ask(&indexes);
}

/// The sections of an attribute file.
#[derive(Debug)]
struct Pieces {
    blocks: Vec<u8>,
    groups: Vec<u8>,
    indexes: Vec<u8>,
}

impl Pieces {
    fn make() -> Result<Self> {
        let disk: Arc<dyn Disk> = Arc::new(FaultDisk::new());
        let dir = Path::new("/");
        let batch = values()?;
        let mut writer = AttributeWriter::create(&disk, dir, STORE, 3, 1, &batch.schema())?;
        writer.push(&batch)?;
        let meta = writer.finish()?;
        let path = dir.join(layout::attribute_file(3, 1));
        let identity = layout::attribute_identity(STORE, 3, 1);
        let container = Container::open(&disk, &path, identity, Some(meta.seal))?;
        let section = |tag| -> Result<Vec<u8>> {
            Ok(container.require(tag, layout::FIELD)?.read_all()?.to_vec())
        };
        let (blocks, groups) = (section(layout::GRPS)?, section(layout::GDIR)?);
        Ok(Self { blocks, groups, indexes: section(layout::AIDX)? })
    }

    /// The file with other indexes.
    fn open(&self, indexes: &[u8]) -> Result<AttributeFile> {
        let disk: Arc<dyn Disk> = Arc::new(FaultDisk::new());
        let dir = Path::new("/");
        let path = dir.join(layout::attribute_file(3, 1));
        let identity = layout::attribute_identity(STORE, 3, 1);
        let mut writer = ContainerWriter::create(&disk, &path, identity)?;
        writer.section(layout::GRPS, layout::FIELD, &self.blocks)?;
        writer.section(layout::GDIR, layout::FIELD, &self.groups)?;
        writer.section(layout::AIDX, layout::FIELD, indexes)?;
        let meta = AttributeMeta { generation: 1, seal: writer.finish()? };
        AttributeFile::open(&disk, dir, STORE, 3, ROWS, meta)
    }

    fn ask(&self, indexes: &[u8]) {
        let file = self.open(indexes).unwrap_or_else(|error| panic!("{error}"));
        for text in FILTERS {
            let Ok(Bound { rule, columns, .. }) = Filter::from(text).bind(&columns(), None) else {
                panic!("{text} is a filter")
            };
            let (column, asked) = match &rule {
                Rule::Check { column, check, wanted } => {
                    (*column, Asked::Check { check, wanted: *wanted })
                }
                Rule::Null { column, wanted } => (*column, Asked::Null { wanted: *wanted }),
                _ => panic!("{text} is one condition"),
            };
            let BoundColumn::Attribute(column) = &columns[column] else { continue };
            file.zone(0, column, asked);
            let Some(served) = file.served(column, asked) else { continue };
            if let Some(rows) = served.rows(ROWS) {
                let inside = rows.iter().all(|row| (*row as usize) < ROWS);
                assert!(inside && rows.is_sorted_by(|a, b| a < b), "{text}");
            }
            let words = served.words(ROWS);
            assert!(words.is_none_or(|words| words[ROWS / 64] >> (ROWS % 64) == 0), "{text}");
        }
        drop(file.verify(&mut |_| Ok(())));
    }
}

fn columns() -> Vec<Column> {
    let columns = NAMES.into_iter();
    columns.map(|(name, data_type)| Column { name: name.into(), data_type, text: false }).collect()
}

fn values() -> Result<RecordBatch> {
    let rows = 0..ROWS as i64;
    let there = |row: &i64| row % 11 > 0;
    let ints = |of: fn(i64) -> i64| -> Int64Array {
        rows.clone().map(|row| there(&row).then(|| of(row))).collect()
    };
    let (many, few) = (ints(|row| row * 7_919 % 1_009), ints(|row| row % 5));
    let float = rows.clone().map(|row| (row % 401) as f64 / f64::from(u8::from(row % 13 > 0)));
    let float: Float64Array = float.map(|value| value - value.trunc() * 0.5).map(Some).collect();
    let text = |row: i64| there(&row).then(|| format!("the same {row}"));
    let text: LargeStringArray = rows.clone().map(text).collect();
    let mut tags = LargeListBuilder::new(LargeStringBuilder::new());
    for row in rows {
        (0..row % 4).for_each(|at| tags.values().append_value(format!("tag {}", (row + at) % 12)));
        tags.append(row % 11 > 0);
    }
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(many),
        Arc::new(few),
        Arc::new(float),
        Arc::new(text),
        Arc::new(tags.finish()),
    ];
    columns::assemble(columns::arrow_schema(NAMES.into_iter()), arrays, ROWS)
}
