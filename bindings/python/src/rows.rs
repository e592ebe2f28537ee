//! Rows on their way to Python, as hits or records: NumPy arrays of ids and vectors, one record
//! batch of everything, and dicts, text and HTML made from that.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow_array::types::{Float16Type, Float32Type, Int8Type, UInt8Type};
use arrow_array::{
    Array, ArrayRef, FixedSizeListArray, Int64Array, LargeStringArray, PrimitiveArray, RecordBatch,
    RecordBatchOptions, UInt64Array,
};
use arrow_schema::{ArrowError, Field, Schema as ArrowSchema};
use nearfield::{Id, IdType, Vectors};
use numpy::{Element, PyArray1, PyArrayMethods};
use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFloat, PyString};

use crate::cells;
use crate::errors::invalid;
use crate::ids::id_to_python;

/// Longest text shown of one cell.
const SHOWN_CHARS: usize = 60;
/// Most rows shown.
pub(crate) const SHOWN_ROWS: usize = 20;

/// Ids as a NumPy array: int64 (uint64 when one is 2**63 or more), or objects of `str`. Where
/// `ids` has `None`, -1 or `None` stands.
pub(crate) fn id_array<'py>(
    py: Python<'py>,
    id_type: IdType,
    ids: &[Option<&Id>],
) -> PyResult<Bound<'py, PyAny>> {
    if id_type == IdType::Utf8 {
        let object = |id: &Option<&Id>| match id {
            Some(id) => id_to_python(py, id).map(Bound::unbind),
            None => Ok(py.None()),
        };
        let objects: PyResult<Vec<Py<PyAny>>> = ids.iter().map(object).collect();
        return Ok(PyArray1::from_vec(py, objects?).into_any());
    }
    let number = |id: &Option<&Id>| match id {
        Some(Id::U64(id)) => Some(*id),
        _ => None,
    };
    let signed: Option<Vec<i64>> =
        ids.iter().map(|id| number(id).map_or(Some(-1), |id| i64::try_from(id).ok())).collect();
    Ok(match signed {
        Some(ids) => PyArray1::from_vec(py, ids).into_any(),
        None => {
            let unsigned = ids.iter().map(|id| number(id).unwrap_or(u64::MAX)).collect();
            PyArray1::<u64>::from_vec(py, unsigned).into_any()
        }
    })
}

/// Vectors as a NumPy array of shape (rows, elements), in the type they are stored in; bfloat16,
/// which NumPy has not, as float32.
pub(crate) fn vector_array<'py>(
    py: Python<'py>,
    vectors: &Vectors<'_>,
    rows: usize,
    width: usize,
) -> PyResult<Bound<'py, PyAny>> {
    fn shaped<'py, T: Element>(
        py: Python<'py>,
        values: &[T],
        shape: [usize; 2],
    ) -> PyResult<Bound<'py, PyAny>> {
        Ok(PyArray1::from_slice(py, values).reshape(shape)?.into_any())
    }
    match vectors {
        Vectors::F32(values) => shaped(py, values, [rows, width]),
        Vectors::F16(values) => shaped(py, values, [rows, width]),
        Vectors::Bf16(values) => shaped(py, &vectors.to_f32(0..values.len()), [rows, width]),
        Vectors::I8(values) => shaped(py, values, [rows, width]),
        Vectors::U8(values) => shaped(py, values, [rows, width]),
    }
}

/// One record batch: id, `measures` (distance, score), the attribute columns, vector. A column of
/// the caller's that is called like a measure stands in its place.
pub(crate) fn record_batch<'a>(
    ids: impl Iterator<Item = &'a Id> + Clone,
    id_type: IdType,
    measures: Vec<(&str, Vec<f32>)>,
    attributes: Option<&RecordBatch>,
    vectors: Option<(&Vectors<'_>, usize)>,
) -> Result<RecordBatch, ArrowError> {
    let mut fields = Vec::new();
    let mut arrays: Vec<ArrayRef> = Vec::new();
    let mut push = |name: &str, array: ArrayRef, nullable| {
        fields.push(Field::new(name, array.data_type().clone(), nullable));
        arrays.push(array);
    };
    let rows = ids.clone().count();
    push("id", id_column(ids, id_type), false);
    let given = |name: &str| attributes.is_some_and(|batch| batch.column_by_name(name).is_some());
    for (name, values) in measures {
        if !given(name) {
            push(name, Arc::new(PrimitiveArray::<Float32Type>::from(values)), false);
        }
    }
    if let Some(batch) = attributes {
        for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            push(field.name(), Arc::clone(array), true);
        }
    }
    if let Some((vectors, width)) = vectors {
        push("vector", vector_column(vectors, width)?, false);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(ArrowSchema::new(fields)), arrays, &options)
}

/// `batch` behind a column of numbers, unless it has a column of that name.
pub(crate) fn numbered(
    batch: RecordBatch,
    name: &str,
    column: Int64Array,
) -> Result<RecordBatch, ArrowError> {
    if batch.column_by_name(name).is_some() {
        return Ok(batch);
    }
    let mut fields = vec![Arc::new(Field::new(name, column.data_type().clone(), false))];
    fields.extend(batch.schema_ref().fields().iter().cloned());
    let mut columns: Vec<ArrayRef> = vec![Arc::new(column)];
    columns.extend_from_slice(batch.columns());
    RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), columns)
}

fn id_column<'a>(ids: impl Iterator<Item = &'a Id>, id_type: IdType) -> ArrayRef {
    match id_type {
        IdType::U64 => {
            let number = |id: &Id| match id {
                Id::U64(id) => *id,
                Id::Utf8(_) => 0,
            };
            Arc::new(UInt64Array::from_iter_values(ids.map(number)))
        }
        IdType::Utf8 => {
            let text = |id: &'a Id| match id {
                Id::Utf8(id) => id.as_ref(),
                Id::U64(_) => "",
            };
            Arc::new(LargeStringArray::from_iter_values(ids.map(text)))
        }
    }
}

fn vector_column(vectors: &Vectors<'_>, width: usize) -> Result<ArrayRef, ArrowError> {
    let values: ArrayRef = match vectors {
        Vectors::F32(values) => {
            Arc::new(PrimitiveArray::<Float32Type>::from_iter_values(values.iter().copied()))
        }
        Vectors::F16(values) => {
            Arc::new(PrimitiveArray::<Float16Type>::from_iter_values(values.iter().copied()))
        }
        Vectors::Bf16(values) => {
            let values = values.iter().map(|value| value.to_f32());
            Arc::new(PrimitiveArray::<Float32Type>::from_iter_values(values))
        }
        Vectors::I8(values) => {
            Arc::new(PrimitiveArray::<Int8Type>::from_iter_values(values.iter().copied()))
        }
        Vectors::U8(values) => {
            Arc::new(PrimitiveArray::<UInt8Type>::from_iter_values(values.iter().copied()))
        }
    };
    let length = i32::try_from(width)
        .map_err(|_overflow| ArrowError::InvalidArgumentError("dimension beyond i32".into()))?;
    let item = Arc::new(Field::new("item", values.data_type().clone(), false));
    Ok(Arc::new(FixedSizeListArray::try_new(item, length, values, None)?))
}

/// One row as a dict of its columns.
pub(crate) fn dict<'py>(
    py: Python<'py>,
    batch: &RecordBatch,
    row: usize,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        dict.set_item(field.name(), cells::to_python(py, array, row)?)?;
    }
    Ok(dict)
}

/// One row as `id=1, title='…'`.
pub(crate) fn describe(py: Python<'_>, batch: &RecordBatch, row: usize) -> PyResult<String> {
    let mut text = String::new();
    for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        let separator = if text.is_empty() { "" } else { ", " };
        let shown = shown(py, array, row, true)?;
        let written = write!(text, "{separator}{}={shown}", field.name());
        written.map_err(|error| invalid(py, error.to_string()))?;
    }
    Ok(text)
}

/// The rows as an HTML table, for notebooks.
pub(crate) fn html(py: Python<'_>, batch: &RecordBatch) -> PyResult<String> {
    let mut html = String::from("<table><thead><tr>");
    for field in batch.schema_ref().fields() {
        html.push_str(&format!("<th>{}</th>", escape(field.name())));
    }
    html.push_str("</tr></thead><tbody>");
    for row in 0..batch.num_rows().min(SHOWN_ROWS) {
        html.push_str("<tr>");
        for array in batch.columns() {
            html.push_str(&format!("<td>{}</td>", escape(&shown(py, array, row, false)?)));
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table>");
    if batch.num_rows() > SHOWN_ROWS {
        html.push_str(&format!("<p>… {} more rows</p>", batch.num_rows() - SHOWN_ROWS));
    }
    Ok(html)
}

/// `object` as pyarrow's table; `object` must speak Arrow.
pub(crate) fn to_arrow<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    library(object.py(), "pyarrow", "to_arrow")?.call_method1("table", (object,))
}

/// `object` as pandas' frame.
pub(crate) fn to_pandas<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    library(object.py(), "pandas", "to_pandas")?;
    to_arrow(object)?.call_method0("to_pandas")
}

/// `object` as polars' frame.
pub(crate) fn to_polars<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    library(object.py(), "polars", "to_polars")?.call_method1("DataFrame", (object,))
}

fn library<'py>(py: Python<'py>, name: &str, method: &str) -> PyResult<Bound<'py, PyModule>> {
    py.import(name).map_err(|error| {
        if error.is_instance_of::<PyImportError>(py) {
            return PyImportError::new_err(format!("{method}() needs {name}: pip install {name}"));
        }
        error
    })
}

fn shown(py: Python<'_>, array: &ArrayRef, row: usize, quoted: bool) -> PyResult<String> {
    let value = match cells::to_python(py, array, row) {
        Ok(value) => value,
        // A value that Python cannot hold must not hide the rest of the row.
        Err(_) => return Ok("?".into()),
    };
    let text = if value.is_instance_of::<PyString>() && !quoted {
        value.str()?
    } else if value.is_instance_of::<PyFloat>() {
        value.call_method1("__format__", (".6g",))?.str()?
    } else {
        value.repr()?
    };
    let text = text.to_string();
    if text.chars().count() <= SHOWN_CHARS {
        return Ok(text);
    }
    Ok(text.chars().take(SHOWN_CHARS).chain(['…']).collect())
}

/// A line of text as HTML.
pub(crate) fn paragraph(text: &str) -> String {
    format!("<p>{}</p>", escape(text))
}

/// Text that stands for itself in HTML.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
