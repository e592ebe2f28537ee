//! JSON values into the attribute arrays of a batch.

use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, Float64Builder, Int64Builder, LargeListBuilder, LargeStringBuilder,
    TimestampMicrosecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Field, Schema};
use serde_json::Value;

use crate::error::Error;
use crate::types::time;
use crate::types::{DataType, SparseVector};

/// Attribute columns that grow row by row.
#[derive(Debug)]
pub(super) struct Columns {
    names: Vec<(String, DataType)>,
    builders: Vec<Builder>,
}

#[derive(Debug)]
enum Builder {
    Bool(BooleanBuilder),
    Int64(Int64Builder),
    Float64(Float64Builder),
    Utf8(LargeStringBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    ListUtf8(LargeListBuilder<LargeStringBuilder>),
    Sparse(Vec<Option<SparseVector>>),
}

impl Columns {
    pub(super) fn new(columns: &[(String, DataType)]) -> Self {
        let builders = columns.iter().map(|(_, data_type)| Builder::new(*data_type)).collect();
        Self { names: columns.to_vec(), builders }
    }

    /// Adds a row, or says which value does not fit and adds nothing.
    pub(super) fn push(&mut self, cells: Vec<Value>) -> Result<(), String> {
        for ((name, data_type), cell) in self.names.iter().zip(&cells) {
            if !fits(cell, *data_type) {
                return Err(format!("field {name:?} is {}, expected {data_type}", brief(cell)));
            }
        }
        for (builder, cell) in self.builders.iter_mut().zip(cells) {
            builder.push(cell);
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Option<RecordBatch> {
        if self.names.is_empty() {
            return None;
        }
        let fields: Vec<Field> = self
            .names
            .iter()
            .map(|(name, data_type)| Field::new(name, data_type.to_arrow(), true))
            .collect();
        let arrays = self.builders.into_iter().map(Builder::finish).collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).ok()
    }
}

/// A row of attributes from JSON, in the types of the columns of `schema`: what
/// [`update_where`](crate::Collection::update_where) takes. Values are written as in JSON lines: times as
/// ISO 8601 text, sparse vectors as `{"7": 0.5}`, and null for none.
///
/// ```
/// use nearfield::{DataType, Metric, Schema, interop};
///
/// let schema = Schema::new(2, Metric::L2).column("lang", DataType::Utf8);
/// let values = serde_json::json!({"lang": "en"});
/// let row = interop::attributes(values.as_object().expect("an object"), &schema)?;
/// assert_eq!((row.num_rows(), row.num_columns()), (1, 1));
/// # Ok::<(), nearfield::Error>(())
/// ```
///
/// # Errors
/// `NotFound` for an unknown column; `InvalidArgument` for a value of another type, and without any.
pub fn attributes(
    values: &serde_json::Map<String, Value>,
    schema: &crate::Schema,
) -> Result<RecordBatch, Error> {
    let column = |name: &String| Ok((name.clone(), schema.find(name)?.data_type));
    let names = values.keys().map(column).collect::<Result<Vec<_>, Error>>()?;
    let mut columns = Columns::new(&names);
    columns.push(values.values().cloned().collect()).map_err(Error::invalid)?;
    columns.finish().ok_or_else(|| Error::invalid("no column is given"))
}

fn fits(cell: &Value, data_type: DataType) -> bool {
    match (cell, data_type) {
        (Value::Null, _)
        | (Value::Bool(_), DataType::Bool)
        | (Value::String(_), DataType::Utf8)
        | (Value::Number(_), DataType::Float64) => true,
        (Value::Number(number), DataType::Int64 | DataType::Timestamp) => number.is_i64(),
        (Value::String(text), DataType::Timestamp) => time::parse(text).is_some(),
        (Value::Array(list), DataType::ListUtf8) => {
            list.iter().all(|item| item.is_string() || item.is_null())
        }
        (Value::Object(_), DataType::Sparse) => sparse(cell).is_some(),
        _ => false,
    }
}

/// The weights of an object whose keys are indices: `{"7": 0.5}`.
pub(super) fn sparse(cell: &Value) -> Option<SparseVector> {
    let pair = |(index, weight): (&String, &Value)| {
        #[expect(clippy::cast_possible_truncation, reason = "weights are stored as f32")]
        let weight = weight.as_f64()? as f32;
        Some((index.parse::<u32>().ok()?, weight))
    };
    let pairs: Option<Vec<(u32, f32)>> = cell.as_object()?.iter().map(pair).collect();
    SparseVector::from_pairs(pairs?).ok()
}

/// A value for a message, cut short.
fn brief(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

impl Builder {
    fn new(data_type: DataType) -> Self {
        match data_type {
            DataType::Bool => Self::Bool(BooleanBuilder::new()),
            DataType::Int64 => Self::Int64(Int64Builder::new()),
            DataType::Float64 => Self::Float64(Float64Builder::new()),
            DataType::Utf8 => Self::Utf8(LargeStringBuilder::new()),
            DataType::Timestamp => Self::Timestamp(
                TimestampMicrosecondBuilder::new().with_data_type(data_type.to_arrow()),
            ),
            DataType::ListUtf8 => Self::ListUtf8(LargeListBuilder::new(LargeStringBuilder::new())),
            DataType::Sparse => Self::Sparse(Vec::new()),
        }
    }

    /// Adds a value that fits.
    fn push(&mut self, cell: Value) {
        match self {
            Self::Bool(column) => column.append_option(cell.as_bool()),
            Self::Int64(column) => column.append_option(cell.as_i64()),
            Self::Float64(column) => column.append_option(cell.as_f64()),
            Self::Utf8(column) => column.append_option(cell.as_str()),
            Self::Timestamp(column) => {
                column.append_option(cell.as_str().map_or_else(|| cell.as_i64(), time::parse));
            }
            Self::ListUtf8(column) => match cell {
                Value::Array(list) => {
                    for item in &list {
                        column.values().append_option(item.as_str());
                    }
                    column.append(true);
                }
                _ => column.append(false),
            },
            Self::Sparse(column) => column.push(sparse(&cell)),
        }
    }

    fn finish(self) -> ArrayRef {
        match self {
            Self::Bool(mut column) => Arc::new(column.finish()),
            Self::Int64(mut column) => Arc::new(column.finish()),
            Self::Float64(mut column) => Arc::new(column.finish()),
            Self::Utf8(mut column) => Arc::new(column.finish()),
            Self::Timestamp(mut column) => Arc::new(column.finish()),
            Self::ListUtf8(mut column) => Arc::new(column.finish()),
            Self::Sparse(column) => SparseVector::column(column.iter().map(Option::as_ref)),
        }
    }
}
