use std::path::Path;
use std::sync::Arc;

use arrow_array::{Array, RecordBatch};
use tempfile::TempDir;

use super::*;
use crate::segment::columns::tests::sample;
use crate::segment::layout::GROUP_ROWS;
use crate::storage::disk::OsDisk;
use crate::types::DataType;

const STORE: u128 = 7;

fn disk() -> Arc<dyn Disk> {
    Arc::new(OsDisk)
}

fn write(dir: &Path, batches: &[RecordBatch]) -> AttributeMeta {
    let schema = sample(0).schema();
    let mut writer =
        AttributeWriter::create(&disk(), dir, STORE, 3, 1, &schema).expect("a new file");
    for batch in batches {
        writer.push(batch).expect("room on the disk");
    }
    writer.finish().expect("room on the disk")
}

fn open(dir: &Path, rows: usize, meta: AttributeMeta) -> Result<AttributeFile> {
    AttributeFile::open(&disk(), dir, STORE, 3, rows, meta)
}

#[test]
fn rows_come_back_from_several_groups_in_the_order_asked_for() {
    let dir = TempDir::new().expect("a directory");
    let rows = GROUP_ROWS + 1000;
    let whole = sample(rows);
    let meta = write(dir.path(), &[whole.slice(0, 700), whole.slice(700, rows - 700)]);
    let file = open(dir.path(), rows, meta).expect("just written");
    assert_eq!(file.groups.len(), 2);
    file.verify(&mut |_| Ok(())).expect("undamaged");
    // Few rows are read in place, many decode their group: both must agree with the source.
    let last = Row::try_from(rows - 1).expect("small");
    let few: Vec<Row> = vec![last, 0, 65_536, 65_535, 17, 0];
    let many: Vec<Row> = (0..last).rev().step_by(3).collect();
    for asked in [few, many, vec![]] {
        let read = file.read(&asked, &whole.schema()).expect("rows inside");
        assert_eq!(read, columns::take(&whole, &asked).expect("rows inside"));
    }
    assert!(matches!(file.read(&[last + 1], &whole.schema()), Err(Error::Corrupt { .. })));
}

#[test]
fn columns_are_chosen_by_name_and_missing_ones_are_null() {
    let dir = TempDir::new().expect("a directory");
    let whole = sample(100);
    let meta = write(dir.path(), std::slice::from_ref(&whole));
    let file = open(dir.path(), 100, meta).expect("just written");
    let wanted = columns::arrow_schema(
        [("tags", DataType::ListUtf8), ("new", DataType::Bool), ("year", DataType::Int64)]
            .into_iter(),
    );
    for asked in [vec![40], (0..100).collect::<Vec<Row>>()] {
        let read = file.read(&asked, &wanted).expect("rows inside");
        let expected = columns::take(&whole, &asked).expect("rows inside");
        assert_eq!(read.column(0), expected.column(5));
        assert_eq!(read.column(1).null_count(), asked.len());
        assert_eq!(read.column(2), expected.column(1));
    }
    let other = columns::arrow_schema([("year", DataType::Utf8)].into_iter());
    assert!(matches!(file.read(&[0], &other), Err(Error::SchemaMismatch { .. })));
}

#[test]
fn a_group_ends_early_when_its_text_is_long() {
    let dir = TempDir::new().expect("a directory");
    let schema = columns::arrow_schema([("title", DataType::Utf8)].into_iter());
    let text = "x".repeat(1 << 20);
    let strings = arrow_array::LargeStringArray::from(vec![text.as_str(); 8]);
    let batch = columns::assemble(schema.clone(), vec![Arc::new(strings)], 8).expect("one column");
    let mut writer =
        AttributeWriter::create(&disk(), dir.path(), STORE, 3, 1, &schema).expect("a new file");
    for _ in 0..5 {
        writer.push(&batch).expect("room on the disk");
        assert!(writer.pending_bytes < layout::GROUP_BYTES);
    }
    let meta = writer.finish().expect("room on the disk");
    let file = open(dir.path(), 40, meta).expect("just written");
    assert_eq!(file.groups.len(), 2);
    assert_eq!(file.read(&[39], &schema).expect("inside").column(0), &batch.column(0).slice(7, 1));
}

#[test]
fn an_unfinished_or_obsolete_file_is_removed() {
    let dir = TempDir::new().expect("a directory");
    let path = dir.path().join(layout::attribute_file(3, 1));
    let schema = sample(0).schema();
    let writer =
        AttributeWriter::create(&disk(), dir.path(), STORE, 3, 1, &schema).expect("a new file");
    assert!(path.exists());
    drop(writer);
    assert!(!path.exists());
    let meta = write(dir.path(), &[sample(5)]);
    let file = open(dir.path(), 5, meta).expect("just written");
    assert!(open(dir.path(), 6, meta).is_err(), "another number of rows");
    file.mark_obsolete();
    assert!(path.exists());
    drop(file);
    assert!(!path.exists());
}

#[test]
fn group_directories_of_any_bytes_are_refused_or_cover_the_rows() {
    let entry = |offset: u64, len: u64, rows: u64| [offset, len, rows];
    let bytes = |rows: u64, count: u64, entries: &[[u64; 3]]| {
        let mut bytes = rows.to_le_bytes().to_vec();
        bytes.extend_from_slice(&count.to_le_bytes());
        for number in entries.iter().flatten() {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes
    };
    let good = bytes(9, 2, &[entry(0, 40, 4), entry(40, 64, 5)]);
    assert!(parse_groups(&good, 9, 104).is_some());
    assert!(parse_groups(&good, 8, 104).is_none());
    assert!(parse_groups(&good, 9, 112).is_none());
    assert!(parse_groups(&good[..good.len() - 1], 9, 104).is_none());
    assert!(parse_groups(&bytes(9, u64::MAX, &[]), 9, 0).is_none());
    assert!(parse_groups(&bytes(9, 1, &[entry(8, 96, 9)]), 9, 104).is_none());
    assert!(parse_groups(&bytes(9, 2, &[entry(0, 40, 9), entry(40, 64, 0)]), 9, 104).is_none());
    for bit in 0..good.len() * 8 {
        let mut flipped = good.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Some(groups) = parse_groups(&flipped, 9, 104) {
            assert_eq!(groups.iter().map(|group| group.rows).sum::<usize>(), 9);
        }
    }
}
