//! Tests of whole files: round trips, faults of rows, hostile bytes, real data.

mod faults;
mod hostile;
#[cfg(feature = "parquet")]
mod real;
mod round_trip;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, LargeStringArray, RecordBatch,
    TimestampMicrosecondArray,
};
use arrow_schema::{Field, Schema};
use half::{bf16, f16};

use super::{ExportBatch, ExportSchema, Format, ReadOptions, Reader, read, write};
use crate::collection::import::{ImportBatch, Rejected};
use crate::error::{Error, Result};
use crate::types::{DataType, IdType, Ids, Metric, VectorType, Vectors};

/// A file with these bytes in a directory that lives as long as the first value.
fn file(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    #[expect(clippy::disallowed_methods, reason = "input of a test")]
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

/// All rows of a file in one batch.
#[derive(Debug, Default)]
struct Rows {
    ids: Vec<String>,
    vectors: Vec<f32>,
    attributes: Vec<RecordBatch>,
    source_rows: Vec<u64>,
    rejected: Vec<Rejected>,
}

fn read_all(path: &Path, options: &ReadOptions) -> Result<Rows> {
    drain(read(path, options)?)
}

fn drain(reader: Reader) -> Result<Rows> {
    let mut rows = Rows::default();
    for batch in reader {
        let batch = batch?;
        assert_eq!(batch.source_rows.len(), batch.len());
        if let Some(attributes) = &batch.attributes {
            assert_eq!(attributes.num_rows(), batch.len());
        }
        rows.ids.extend(batch.ids.iter().map(|id| id.to_string()));
        rows.vectors.extend(floats(&batch));
        rows.attributes.extend(batch.attributes);
        rows.source_rows.extend(batch.source_rows);
        rows.rejected.extend(batch.rejected);
    }
    Ok(rows)
}

fn floats(batch: &ImportBatch) -> Vec<f32> {
    batch.vectors.to_f32(0..batch.vectors.len())
}

fn reasons(rows: &Rows) -> Vec<(u64, &str)> {
    rows.rejected.iter().map(|rejected| (rejected.row, rejected.reason.as_str())).collect()
}

const COLUMNS: [(&str, DataType); 6] = [
    ("flag", DataType::Bool),
    ("count", DataType::Int64),
    ("price", DataType::Float64),
    ("title", DataType::Utf8),
    ("when", DataType::Timestamp),
    ("tags", DataType::ListUtf8),
];

/// Three rows with every attribute type, nulls, empty lists and unicode.
fn attributes() -> RecordBatch {
    let mut tags = arrow_array::builder::LargeListBuilder::new(
        arrow_array::builder::LargeStringBuilder::new(),
    );
    tags.append_value([Some("süß"), None, Some("")]);
    tags.append_value(Vec::<Option<&str>>::new());
    tags.append_null();
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])),
        Arc::new(Int64Array::from(vec![Some(i64::MIN), Some(i64::MAX), None])),
        Arc::new(Float64Array::from(vec![None, Some(-0.1), Some(1.797_693_134_862_315_7e308)])),
        Arc::new(LargeStringArray::from(vec![Some("日本語 \"\n"), Some(""), None])),
        Arc::new(
            TimestampMicrosecondArray::from(vec![Some(-1), None, Some(1_700_000_000_123_456)])
                .with_data_type(DataType::Timestamp.to_arrow()),
        ),
        Arc::new(tags.finish()),
    ];
    let fields: Vec<Field> =
        COLUMNS.iter().map(|(name, kind)| Field::new(*name, kind.to_arrow(), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

fn schema(vector_type: VectorType, id_type: IdType) -> ExportSchema {
    COLUMNS.iter().fold(ExportSchema::new(2, vector_type, id_type), |schema, (name, kind)| {
        schema.column(*name, *kind)
    })
}

fn batch(ids: Ids<'static>, vectors: Vectors<'static>) -> ExportBatch {
    ExportBatch { ids, vectors, attributes: attributes() }
}

fn written_formats() -> Vec<(Format, &'static str)> {
    let mut formats = vec![(Format::Jsonl, "a.jsonl")];
    if cfg!(feature = "parquet") {
        formats.push((Format::Parquet, "a.parquet"));
        formats.push((Format::Arrow, "a.arrow"));
        formats.push((Format::ArrowStream, "a.arrows"));
    }
    formats
}

/// An npy file of version 1.
fn npy(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

fn fvecs(rows: &[&[f32]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for row in rows {
        bytes.extend(u32::try_from(row.len()).unwrap().to_le_bytes());
        bytes.extend(row.iter().flat_map(|value| value.to_le_bytes()));
    }
    bytes
}
