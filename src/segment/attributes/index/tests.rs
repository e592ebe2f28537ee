//! What indexes find is what the columns say, whatever they hold.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{LargeListBuilder, LargeStringBuilder};
use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, LargeStringArray, RecordBatch,
    TimestampMicrosecondArray,
};

use super::*;
use crate::filter::{Asked, Bound, BoundColumn, Filter, Holds, Known, Rule};
use crate::kernel::noise;
use crate::segment::attributes::AttributeWriter;
use crate::segment::columns;
use crate::segment::layout::AttributeMeta;
use crate::storage::container::ContainerWriter;
use crate::storage::disk::{Disk, OsDisk};

const STORE: u128 = 9;
const NAMES: [(&str, DataType); 8] = [
    ("few", DataType::Int64),
    ("many", DataType::Int64),
    ("float", DataType::Float64),
    ("time", DataType::Timestamp),
    ("word", DataType::Utf8),
    ("text", DataType::Utf8),
    ("flag", DataType::Bool),
    ("tags", DataType::ListUtf8),
];

fn disk() -> Arc<dyn Disk> {
    Arc::new(OsDisk)
}

/// Rows of all types; one of so many values is null.
fn batch(seed: u64, rows: usize, nulls: u64) -> RecordBatch {
    let mut next = noise::bits(seed);
    let mut some = |most: u64| -> Option<u64> {
        let null = nulls > 0 && next().is_multiple_of(nulls);
        let value = next() % most;
        (!null).then_some(value)
    };
    let mut column = |most: u64| -> Vec<Option<u64>> { (0..rows).map(|_| some(most)).collect() };
    let ints = |values: Vec<Option<u64>>| -> ArrayRef {
        let signed = values.into_iter().map(|value| value.map(|value| value as i64 - 40));
        Arc::new(signed.collect::<Int64Array>())
    };
    let (few, many) = (ints(column(9)), ints(column(1 << 40)));
    let floats = [f64::NAN, -0.0, 0.0, f64::INFINITY, f64::NEG_INFINITY, 1e-320, -2.5];
    let float = column(60).into_iter().map(|value| {
        value.map(|value| floats.get(value as usize).copied().unwrap_or(value as f64 / 7.0 - 3.0))
    });
    let float: ArrayRef = Arc::new(float.collect::<Float64Array>());
    let time = column(1 << 50).into_iter().map(|value| value.map(|value| value as i64));
    let time = time.collect::<TimestampMicrosecondArray>().with_timezone("UTC");
    let word = |value: u64| {
        ["", "a", "ab", "the quick", "the quick brown", "é"][value as usize].to_owned()
    };
    let word: LargeStringArray = column(6).into_iter().map(|value| value.map(word)).collect();
    let text = |value: u64| format!("the same beginning {}", value % 5_000);
    let text: LargeStringArray = column(1 << 30).into_iter().map(|value| value.map(text)).collect();
    let flag: BooleanArray =
        column(2).into_iter().map(|value| value.map(|value| value == 1)).collect();
    let mut tags = LargeListBuilder::new(LargeStringBuilder::new());
    for value in column(64) {
        for bit in (0..6).filter(|bit| value.is_some_and(|value| value >> bit & 1 == 1)) {
            if bit == 5 {
                tags.values().append_null()
            } else {
                tags.values().append_value(format!("tag {bit}"))
            }
        }
        tags.append(value.is_some());
    }
    let arrays: [ArrayRef; 8] = [
        few,
        many,
        float,
        Arc::new(time),
        Arc::new(word),
        Arc::new(text),
        Arc::new(flag),
        Arc::new(tags.finish()),
    ];
    RecordBatch::try_new(columns::arrow_schema(NAMES.into_iter()), arrays.to_vec())
        .expect("columns agree")
}

fn write(dir: &Path, batch: &RecordBatch) -> AttributeMeta {
    let schema = columns::arrow_schema(NAMES.into_iter());
    let mut writer =
        AttributeWriter::create(&disk(), dir, STORE, 3, 1, &schema).expect("a new file");
    writer.push(batch).expect("room on the disk");
    writer.finish().expect("room on the disk")
}

fn open(dir: &Path, rows: usize, meta: AttributeMeta) -> AttributeFile {
    AttributeFile::open(&disk(), dir, STORE, 3, rows, meta).expect("the file is whole")
}

fn bound(text: &str) -> Bound {
    let columns =
        NAMES.map(|(name, data_type)| Column { name: name.into(), data_type, text: false });
    Filter::from(text).bind(&columns, None).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The rows of a group that a filter finds by reading its columns.
fn read(file: &AttributeFile, filter: &Bound, group: usize, rows: usize) -> Vec<usize> {
    let words = filter.evaluate(rows, &mut |_, _| Ok(Known::Open), &mut |column| match column {
        BoundColumn::Attribute(column) => file.group_column(group, column),
        BoundColumn::Id(_) => panic!("no id is asked for"),
    });
    let mut found = Vec::new();
    crate::filter::for_each(&words.expect("readable"), |row| found.push(row));
    found
}

const FILTERS: [&str; 44] = [
    "few = -40",
    "few <> -38",
    "few IN (-40, -39, -33)",
    "NOT few IN (-40, 7)",
    "few BETWEEN -39 AND -36",
    "few IS NULL",
    "few IS NOT NULL",
    "few < -100",
    "few >= -40",
    "many > 500000000000",
    "many <= -40",
    "many IN (1, 2, 3)",
    "many IS NULL",
    "many IS NOT NULL",
    "NOT many > 900000000000",
    "float = 0",
    "float < 0",
    "NOT float < 0",
    "float >= 1e300",
    "float <> 0",
    "float IN (0, -2.5, 1)",
    "float IS NULL",
    "float <= -1e300",
    "NOT (float < 0 OR float >= 0)",
    "time >= TIMESTAMP '1990-01-01T00:00:00Z'",
    "time < TIMESTAMP '1980-01-01T00:00:00Z'",
    "time IS NULL",
    "word = ''",
    "word >= 'the quick'",
    "word LIKE 'the%'",
    "word IN ('a', 'é', 'zz')",
    "word ILIKE 'THE%N'",
    "NOT word = 'a'",
    "word <> ''",
    "text = 'the same beginning 77'",
    "text > 'the same beginning 4'",
    "text LIKE 'the same beginning 12%'",
    "text LIKE 'the%'",
    "text IN ('the same beginning 1', 'x', 'the same beginning 4999')",
    "NOT text < 'the same b'",
    "flag",
    "NOT flag",
    "tags HAS 'tag 1'",
    "tags HAS ANY ('tag 0', 'tag 9')",
];
const LISTS: [&str; 5] = [
    "tags HAS ALL ('tag 0', 'tag 3')",
    "NOT tags HAS ALL ('tag 0', 'nothing')",
    "NOT tags HAS ANY ('tag 2', 'tag 4')",
    "tags IS NULL",
    "tags HAS 'nothing'",
];

#[test]
fn indexes_and_zones_say_what_the_columns_say() {
    for (rows, nulls) in [(1, 0), (63, 3), (3_000, 4), (70_001, 0), (70_001, 5), (900, 1)] {
        let dir = tempfile::tempdir().expect("a directory");
        let batch = batch(rows as u64 + nulls, rows, nulls);
        let file = open(dir.path(), rows, write(dir.path(), &batch));
        file.verify(&mut |_| Ok(())).expect("indexes agree");
        let groups: Vec<usize> = file.group_rows().collect();
        let mut by = BTreeSet::new();
        for text in FILTERS.iter().chain(&LISTS) {
            let filter = bound(text);
            let (column, asked) = match &filter.rule {
                Rule::Check { column, check, wanted } => {
                    (*column, Asked::Check { check, wanted: *wanted })
                }
                Rule::Null { column, wanted } => (*column, Asked::Null { wanted: *wanted }),
                // Conditions that nothing can meet, and those of several parts.
                _ => continue,
            };
            let BoundColumn::Attribute(column) = &filter.columns[column] else { continue };
            let mut first = 0;
            let mut wanted = Vec::new();
            for (group, count) in groups.iter().enumerate() {
                let found = read(&file, &filter, group, *count);
                match file.zone(group, column, asked) {
                    Holds::None => assert!(found.is_empty(), "{text} {rows} {nulls}"),
                    Holds::All => assert_eq!(found.len(), *count, "{text} {rows} {nulls}"),
                    Holds::Some => {}
                }
                wanted.extend(found.iter().map(|row| (first + row) as Row));
                first += count;
            }
            let Some(served) = file.served(column, asked) else { continue };
            by.insert(format!("{} {:?}", column.name, served.by));
            assert!(served.most >= wanted.len(), "{text} {rows} {nulls}");
            assert_eq!(served.rows(rows).expect("readable"), wanted, "{text} {rows} {nulls}");
            let mut set = Vec::new();
            crate::filter::for_each(&served.words(rows).expect("readable"), |row| {
                set.push(row as Row)
            });
            assert_eq!(set, wanted, "{text} {rows} {nulls}");
        }
        if rows > 10_000 {
            for name in [
                "many Sorted",
                "time Sorted",
                "text Sorted",
                "few Bitmaps",
                "word Bitmaps",
                "flag Bitmaps",
                "tags Bitmaps",
                "float Bitmaps",
            ] {
                assert!(by.contains(name), "{name} of {by:?}");
            }
        }
    }
}

#[test]
fn a_file_without_indexes_or_with_damaged_ones_is_read_through_its_columns() {
    let dir = tempfile::tempdir().expect("a directory");
    let rows = 3_000;
    let meta = write(dir.path(), &batch(1, rows, 4));
    let file = open(dir.path(), rows, meta);
    let section = |tag| {
        let section = file.container.require(tag, layout::FIELD).expect("there");
        section.read_all().expect("whole").to_vec()
    };
    let (blocks, groups) = (section(layout::GRPS), section(layout::GDIR));
    let indexes = section(layout::AIDX);
    let newer = |indexes: &[u8]| {
        let mut bytes = indexes.to_vec();
        let version = bytes.len() - 8;
        bytes[version] += 1;
        bytes
    };
    let cases = [
        (None, true),
        (Some(newer(&indexes)), true),
        (Some(indexes[8..].to_vec()), false),
        (Some(Vec::new()), false),
    ];
    for (bytes, whole) in cases {
        let other = tempfile::tempdir().expect("a directory");
        let path = other.path().join(layout::attribute_file(3, 1));
        let identity = layout::attribute_identity(STORE, 3, 1);
        let mut writer = ContainerWriter::create(&disk(), &path, identity).expect("a file");
        writer.section(layout::GRPS, layout::FIELD, &blocks).expect("room");
        writer.section(layout::GDIR, layout::FIELD, &groups).expect("room");
        if let Some(bytes) = &bytes {
            writer.section(layout::AIDX, layout::FIELD, bytes).expect("room");
        }
        let meta = AttributeMeta { generation: 1, seal: writer.finish().expect("room") };
        let file = open(other.path(), rows, meta);
        assert!(file.indexes.is_none());
        let filter = bound("many > 500000000000");
        let Rule::Check { column, check, wanted } = &filter.rule else { panic!("one condition") };
        let BoundColumn::Attribute(column) = &filter.columns[*column] else { panic!("a column") };
        let asked = Asked::Check { check, wanted: *wanted };
        assert!(file.served(column, asked).is_none());
        assert_eq!(file.zone(0, column, asked), Holds::Some);
        assert!(!read(&file, &filter, 0, rows).is_empty());
        assert_eq!(file.verify(&mut |_| Ok(())).is_ok(), whole, "{:?}", bytes.map(|b| b.len()));
    }
}

#[cfg(feature = "testing")]
#[test]
fn bytes_that_are_no_index_find_no_row_that_is_not_there() {
    let mut next = noise::bits(5);
    for round in 0..1_500 {
        let len = if round % 3 == 0 { 40 } else { 3 + next() % 4 };
        let bytes: Vec<u8> = (0..len).map(|_| (next() >> 20) as u8).collect();
        fuzz::attribute_indexes(&bytes);
    }
}
