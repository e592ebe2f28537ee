//! Values out of attribute columns, one at a time, as JSON or as text.
//!
//! Knows the Arrow types that the library returns and those in which texts are read from files;
//! anything else is shown as null.

use std::fmt;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int64Type, TimestampMicrosecondType, UInt32Type,
};
use arrow_array::{Array, RecordBatch};
use serde::{Serialize, Serializer};

/// One value of a column.
#[derive(Debug)]
pub(crate) enum Cell<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
    Time(String),
    List(Vec<Option<String>>),
    Sparse(Vec<(u32, f32)>),
}

impl<'a> Cell<'a> {
    /// The value in `row` of `column`, null where there is none.
    pub(crate) fn of(column: &'a dyn Array, row: usize) -> Self {
        if row >= column.len() || column.is_null(row) {
            return Self::Null;
        }
        if let Some(values) = column.as_boolean_opt() {
            Self::Bool(values.value(row))
        } else if let Some(values) = column.as_primitive_opt::<Int64Type>() {
            Self::Int(values.value(row))
        } else if let Some(values) = column.as_primitive_opt::<Float64Type>() {
            Self::Float(values.value(row))
        } else if let Some(values) = column.as_string_opt::<i64>() {
            Self::Text(values.value(row))
        } else if let Some(values) = column.as_string_opt::<i32>() {
            Self::Text(values.value(row))
        } else if let Some(values) = column.as_primitive_opt::<TimestampMicrosecondType>() {
            Self::Time(match values.value_as_datetime(row) {
                Some(time) => format!("{time:?}Z"),
                None => values.value(row).to_string(),
            })
        } else if let Some(lists) = column.as_list_opt::<i64>() {
            let list = lists.value(row);
            if let Some(weights) = weights(list.as_ref()) {
                return Self::Sparse(weights);
            }
            let texts = list.as_string_opt::<i64>().into_iter().flatten();
            Self::List(texts.map(|text| text.map(str::to_owned)).collect())
        } else {
            Self::Null
        }
    }
}

/// Indices and weights of a sparse vector.
fn weights(list: &dyn Array) -> Option<Vec<(u32, f32)>> {
    let [indices, weights] = list.as_struct_opt()?.columns() else { return None };
    let indices = indices.as_primitive_opt::<UInt32Type>()?.values();
    let weights = weights.as_primitive_opt::<Float32Type>()?.values();
    Some(indices.iter().copied().zip(weights.iter().copied()).collect())
}

impl Serialize for Cell<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Text(value) => serializer.serialize_str(value),
            Self::Time(value) => serializer.serialize_str(value),
            Self::List(values) => values.serialize(serializer),
            Self::Sparse(weights) => serializer.collect_map(weights.iter().copied()),
        }
    }
}

impl fmt::Display for Cell<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => Ok(()),
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Text(value) => f.write_str(value),
            Self::Time(value) => f.write_str(value),
            Self::List(values) => {
                let texts: Vec<&str> =
                    values.iter().map(|value| value.as_deref().unwrap_or("null")).collect();
                f.write_str(&texts.join(", "))
            }
            Self::Sparse(weights) => {
                let weights: Vec<String> =
                    weights.iter().map(|(index, weight)| format!("{index}:{weight}")).collect();
                f.write_str(&weights.join(", "))
            }
        }
    }
}

/// One row of attributes, as a JSON object.
#[derive(Debug)]
pub(crate) struct Cells<'a> {
    pub(crate) batch: &'a RecordBatch,
    pub(crate) row: usize,
}

impl<'a> Cells<'a> {
    /// The values in column order.
    pub(crate) fn values(&self) -> impl Iterator<Item = Cell<'a>> + use<'a> {
        let Self { batch, row } = *self;
        batch.columns().iter().map(move |column| Cell::of(column, row))
    }

    /// The value of the column called `name`.
    pub(crate) fn named(&self, name: &str) -> Cell<'a> {
        self.batch.column_by_name(name).map_or(Cell::Null, |column| Cell::of(column, self.row))
    }
}

impl Serialize for Cells<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let schema = self.batch.schema_ref();
        serializer.collect_map(schema.fields().iter().map(|field| field.name()).zip(self.values()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Float64Array, LargeStringArray, TimestampMicrosecondArray};

    use super::*;

    #[test]
    fn values_are_written_as_json_and_as_text() {
        let time = TimestampMicrosecondArray::from(vec![Some(951_827_696_789_000), None]);
        let columns: [(&str, ArrayRef); 3] = [
            ("time", Arc::new(time.with_timezone("UTC"))),
            ("name", Arc::new(LargeStringArray::from(vec!["a", "b"]))),
            ("score", Arc::new(Float64Array::from(vec![f64::NAN, 0.1]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let json = |row| serde_json::to_string(&Cells { batch: &batch, row }).unwrap();
        assert_eq!(json(0), r#"{"time":"2000-02-29T12:34:56.789Z","name":"a","score":null}"#);
        assert_eq!(json(1), r#"{"time":null,"name":"b","score":0.1}"#);
        let second = Cells { batch: &batch, row: 1 };
        assert_eq!(
            second.values().map(|cell| cell.to_string()).collect::<Vec<_>>(),
            ["", "b", "0.1"]
        );
    }

    #[test]
    fn a_row_that_is_not_there_is_null() {
        let column = LargeStringArray::from(vec!["a"]);
        assert!(matches!(Cell::of(&column, 1), Cell::Null));
    }
}
