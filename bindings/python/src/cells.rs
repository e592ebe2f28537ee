//! One cell of an Arrow column as a Python value.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float16Type, Float32Type, Float64Type, Int8Type, Int64Type, TimestampMicrosecondType,
    UInt8Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use numpy::PyArray1;
use pyo3::exceptions::{PyOverflowError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyDateTime, PyDelta, PyDict, PyFloat, PyInt, PyList, PyString, PyTzInfo,
};

use crate::errors::invalid;

/// The value at `row`, which must be below the array's length: `None` for null, vectors as NumPy
/// arrays, timestamps as `datetime` in UTC.
pub(crate) fn to_python<'py>(
    py: Python<'py>,
    array: &ArrayRef,
    row: usize,
) -> PyResult<Bound<'py, PyAny>> {
    if array.is_null(row) {
        return Ok(py.None().into_bound(py));
    }
    Ok(match array.data_type() {
        DataType::Boolean => PyBool::new(py, array.as_boolean().value(row)).to_owned().into_any(),
        DataType::UInt64 => {
            PyInt::new(py, array.as_primitive::<UInt64Type>().value(row)).into_any()
        }
        DataType::Int64 => PyInt::new(py, array.as_primitive::<Int64Type>().value(row)).into_any(),
        DataType::Float32 => {
            let value = array.as_primitive::<Float32Type>().value(row);
            PyFloat::new(py, value.into()).into_any()
        }
        DataType::Float64 => {
            PyFloat::new(py, array.as_primitive::<Float64Type>().value(row)).into_any()
        }
        DataType::LargeUtf8 => PyString::new(py, array.as_string::<i64>().value(row)).into_any(),
        DataType::Timestamp(_, _) => {
            datetime(py, array.as_primitive::<TimestampMicrosecondType>().value(row))?
        }
        DataType::LargeList(item) if matches!(item.data_type(), DataType::Struct(_)) => {
            weights(py, &array.as_list::<i64>().value(row))?
        }
        DataType::LargeList(_) => {
            let items = array.as_list::<i64>().value(row);
            let items: PyResult<Vec<_>> =
                (0..items.len()).map(|item| to_python(py, &items, item)).collect();
            PyList::new(py, items?)?.into_any()
        }
        DataType::FixedSizeList(_, _) => vector(py, &array.as_fixed_size_list().value(row))?,
        other => return Err(invalid(py, format!("a column of {other} has no Python value"))),
    })
}

/// A sparse vector as a dict of its indices and weights.
fn weights<'py>(py: Python<'py>, items: &ArrayRef) -> PyResult<Bound<'py, PyAny>> {
    let dict = PyDict::new(py);
    if let [indices, weights] = items.as_struct().columns() {
        let indices = indices.as_primitive::<UInt32Type>().values();
        for (index, weight) in indices.iter().zip(weights.as_primitive::<Float32Type>().values()) {
            dict.set_item(index, weight)?;
        }
    }
    Ok(dict.into_any())
}

fn vector<'py>(py: Python<'py>, values: &ArrayRef) -> PyResult<Bound<'py, PyAny>> {
    Ok(match values.data_type() {
        DataType::Float16 => {
            PyArray1::from_slice(py, values.as_primitive::<Float16Type>().values()).into_any()
        }
        DataType::Float32 => {
            PyArray1::from_slice(py, values.as_primitive::<Float32Type>().values()).into_any()
        }
        DataType::Int8 => {
            PyArray1::from_slice(py, values.as_primitive::<Int8Type>().values()).into_any()
        }
        DataType::UInt8 => {
            PyArray1::from_slice(py, values.as_primitive::<UInt8Type>().values()).into_any()
        }
        other => return Err(invalid(py, format!("a vector of {other} has no NumPy type"))),
    })
}

fn datetime(py: Python<'_>, micros: i64) -> PyResult<Bound<'_, PyAny>> {
    let utc = PyTzInfo::utc(py)?;
    let epoch = PyDateTime::new(py, 1970, 1, 1, 0, 0, 0, 0, Some(&utc))?;
    let part = |value: i64| i32::try_from(value).unwrap_or(i32::MAX);
    let (seconds, micros_left) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    let (days, seconds) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    PyDelta::new(py, part(days), part(seconds), part(micros_left), false)
        .and_then(|since| epoch.add(since))
        .map_err(|error| {
            if error.is_instance_of::<PyOverflowError>(py) {
                return PyValueError::new_err(format!(
                    "{micros} µs since 1970 lies outside the years 1 to 9999 of datetime; \
                     read it with to_arrow()"
                ));
            }
            error
        })
}
