//! Batches as JSON lines. Times are written as RFC 3339 text, vectors with the fewest digits
//! that read back to the same bits.

use std::io::Write;
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use crate::error::{Error, Result};
use crate::types::time;
use crate::types::{DataType, IdRef, Vectors};

use crate::segment::columns::sparse::SparseRows;

use super::export::{ExportBatch, ExportSchema};

pub(super) struct JsonWriter<'a, W> {
    out: W,
    schema: &'a ExportSchema,
    path: &'a Path,
}

impl<'a, W: Write> JsonWriter<'a, W> {
    pub(super) fn new(out: W, schema: &'a ExportSchema, path: &'a Path) -> Self {
        Self { out, schema, path }
    }

    pub(super) fn write(&mut self, batch: &ExportBatch) -> Result<()> {
        for row in 0..batch.ids.len() {
            let line = Row { schema: self.schema, batch, row };
            serde_json::to_writer(&mut self.out, &line)
                .map_err(std::io::Error::from)
                .and_then(|()| self.out.write_all(b"\n"))
                .map_err(|source| Error::io("write", self.path, source))?;
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<()> {
        self.out.flush().map_err(|source| Error::io("write", self.path, source))
    }
}

struct Row<'a> {
    schema: &'a ExportSchema,
    batch: &'a ExportBatch,
    row: usize,
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { schema, batch, row } = *self;
        let mut map = serializer.serialize_map(Some(2 + schema.columns.len()))?;
        match batch.ids.at(row) {
            IdRef::U64(id) => map.serialize_entry(&schema.id_name, &id)?,
            IdRef::Utf8(id) => map.serialize_entry(&schema.id_name, id)?,
        }
        let width = schema.row_elements();
        let range = row * width..(row + 1) * width;
        map.serialize_entry(&schema.vector_name, &Elements { vectors: &batch.vectors, range })?;
        for ((name, data_type), column) in schema.columns.iter().zip(batch.attributes.columns()) {
            map.serialize_entry(name, &Cell { column, row, data_type: *data_type })?;
        }
        map.end()
    }
}

struct Elements<'a> {
    vectors: &'a Vectors<'static>,
    range: std::ops::Range<usize>,
}

impl Serialize for Elements<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let range = self.range.clone();
        match self.vectors {
            Vectors::F32(values) => serializer.collect_seq(&values[range]),
            Vectors::F16(values) => {
                serializer.collect_seq(values[range].iter().map(|value| value.to_f32()))
            }
            Vectors::Bf16(values) => {
                serializer.collect_seq(values[range].iter().map(|value| value.to_f32()))
            }
            Vectors::I8(values) => serializer.collect_seq(&values[range]),
            Vectors::U8(values) => serializer.collect_seq(&values[range]),
        }
    }
}

struct Cell<'a> {
    column: &'a ArrayRef,
    row: usize,
    data_type: DataType,
}

impl Serialize for Cell<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { column, row, data_type } = *self;
        if column.is_null(row) {
            return serializer.serialize_unit();
        }
        match data_type {
            DataType::Bool => serializer.serialize_bool(column.as_boolean().value(row)),
            DataType::Int64 => {
                serializer.serialize_i64(column.as_primitive::<Int64Type>().value(row))
            }
            DataType::Float64 => {
                serializer.serialize_f64(column.as_primitive::<Float64Type>().value(row))
            }
            DataType::Utf8 => serializer.serialize_str(column.as_string::<i64>().value(row)),
            DataType::Timestamp => {
                let micros = column.as_primitive::<TimestampMicrosecondType>().value(row);
                serializer.collect_str(&time::format(micros))
            }
            DataType::ListUtf8 => {
                let list = column.as_list::<i64>().value(row);
                let texts = list.as_string::<i64>();
                let mut seq = serializer.serialize_seq(Some(texts.len()))?;
                for text in texts {
                    seq.serialize_element(&text)?;
                }
                seq.end()
            }
            DataType::Sparse => {
                let vector = SparseRows::of(column.as_ref()).map(|rows| rows.at(row));
                let (indices, weights) = vector.unwrap_or_default();
                serializer.collect_map(indices.iter().zip(weights))
            }
        }
    }
}
