//! A Python list as an Arrow column, its type inferred from the values.
//!
//! `bool` → bool, `int` → int64, `float` (also mixed with `int`) → float64, `str` → utf8,
//! `datetime` and `date` → timestamp (without a time zone: UTC), lists of `str` → list_utf8, dicts of
//! indices and weights, and pairs of lists of both, → sparse.
//! `None` is null, and so is a NaN among values that are no numbers, as pandas writes a gap.

use std::sync::Arc;

use arrow_array::builder::{LargeListBuilder, LargeStringBuilder};
use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, LargeStringArray, NullArray,
    TimestampMicrosecondArray,
};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyBytes, PyDate, PyDateTime, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple,
    PyTzInfo,
};

use crate::columns::microseconds;
use crate::errors::{invalid, no_text, type_name};
use crate::sparse;

const EXPECTED: &str = "bool, int, float, str, datetime, list of str, dict of weights or None";
const MICROS_PER_DAY: i64 = 86_400_000_000;
/// Days from year 1 to 1970, as `date.toordinal` counts them.
const EPOCH_ORDINAL: i64 = 719_163;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Null,
    Nan,
    Bool,
    Int,
    Float,
    Text,
    Time,
    List,
    Sparse,
}

impl Kind {
    /// The kind of a column that holds both.
    fn merge(self, other: Self) -> Option<Self> {
        Some(match (self, other) {
            (a, b) if a == b => a,
            (Self::Null, kind) | (kind, Self::Null) => kind,
            (Self::Int | Self::Float, Self::Int | Self::Float | Self::Nan)
            | (Self::Nan, Self::Int | Self::Float) => Self::Float,
            (Self::Nan, kind) | (kind, Self::Nan) => kind,
            _ => return None,
        })
    }
}

/// The values as an array of the type they have in common.
pub(crate) fn array(name: &str, values: Vec<Bound<'_, PyAny>>) -> PyResult<ArrayRef> {
    let mut common = Kind::Null;
    let mut plain = Vec::with_capacity(values.len());
    for (row, value) in values.into_iter().enumerate() {
        let (kind, value) = classify(value)
            .map_err(|given| wrong(name, row, &format!("expected {EXPECTED}, given {given}")))?;
        common = common.merge(kind).ok_or_else(|| {
            let given = type_name(&value);
            wrong(name, row, &format!("{given} after values of another type; use one type"))
        })?;
        plain.push(value);
    }
    Ok(match common {
        Kind::Null => Arc::new(NullArray::new(plain.len())),
        Kind::Bool => {
            let bit = |value: &Bound<'_, PyAny>| value.cast::<PyBool>().ok().map(|b| b.is_true());
            Arc::new(plain.iter().map(bit).collect::<BooleanArray>())
        }
        Kind::Int => Arc::new(integers(name, &plain)?),
        Kind::Float | Kind::Nan => Arc::new(floats(name, &plain)?),
        Kind::Text => Arc::new(texts(name, &plain)?),
        Kind::Time => {
            let times: PyResult<Vec<Option<i64>>> = plain.iter().map(micros).collect();
            Arc::new(TimestampMicrosecondArray::from(times?).with_timezone("UTC"))
        }
        Kind::List => lists(name, &plain)?,
        Kind::Sparse => {
            no_names(name, &plain)?;
            sparse::column(name, &plain)?
        }
    })
}

/// Refuses dicts of names among the values of a column: they are no sparse vectors.
fn no_names(name: &str, values: &[Bound<'_, PyAny>]) -> PyResult<()> {
    for (row, value) in values.iter().enumerate() {
        let Ok(dict) = value.cast::<PyDict>() else { continue };
        for key in dict.keys() {
            if key.is_instance_of::<PyString>() {
                let what = format!(
                    "given a dict with the name {}; {}, and dicts of other values are columns named \
                     \"{name}.{key}\", which a list of dicts, one a row, makes by itself",
                    key.repr()?,
                    sparse::FORMS
                );
                return Err(wrong(name, row, &what));
            }
        }
    }
    Ok(())
}

/// The kind of a value, and the value as one of Python's own types; otherwise its type's name.
fn classify(value: Bound<'_, PyAny>) -> Result<(Kind, Bound<'_, PyAny>), String> {
    let kind = if value.is_none() {
        Kind::Null
    } else if value.is_instance_of::<PyBool>() {
        Kind::Bool
    } else if value.is_instance_of::<PyInt>() {
        Kind::Int
    } else if let Ok(number) = value.cast::<PyFloat>() {
        if number.value().is_nan() { Kind::Nan } else { Kind::Float }
    } else if value.is_instance_of::<PyString>() {
        Kind::Text
    } else if value.is_instance_of::<PyDate>() {
        // A datetime is a date too. NaT of pandas is a datetime that is not equal to itself.
        if value.ne(&value).unwrap_or(false) { Kind::Null } else { Kind::Time }
    } else if sparse::is_sparse(&value) {
        Kind::Sparse
    } else if value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>() {
        Kind::List
    } else {
        return match from_numpy(&value) {
            Ok(Some(value)) => classify(value),
            _ if is_time(&value) => {
                Err(format!("{value}, a time of NumPy that no datetime can be"))
            }
            _ => Err(type_name(&value)),
        };
    };
    Ok((kind, value))
}

fn is_time(value: &Bound<'_, PyAny>) -> bool {
    let numpy = value.py().import("numpy");
    let kind = numpy.and_then(|numpy| numpy.getattr("datetime64"));
    kind.and_then(|kind| value.is_instance(&kind)).unwrap_or(false)
}

/// A NumPy scalar, an array or another number, as one of Python's own types.
fn from_numpy<'py>(value: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    if value.is_instance_of::<PyBytes>() {
        return Ok(None);
    }
    let numpy = value.py().import("numpy")?;
    let plain = if is_time(value) {
        let time = microseconds("of a list", value)?.call_method0("item")?;
        // Beyond the year 9999 it is a number.
        return Ok(Some(time).filter(|time| !time.is_instance_of::<PyInt>()));
    } else if value.is_instance(&numpy.getattr("generic")?)? {
        value.call_method0("item")?
    } else if value.is_instance(&numpy.getattr("ndarray")?)? {
        value.call_method0("tolist")?
    } else if value.hasattr("__index__")? {
        value.call_method0("__index__")?
    } else if value.hasattr("__float__")? {
        value.call_method0("__float__")?
    } else {
        return Ok(None);
    };
    // Of what `item` and `tolist` return, only Python's own types are known here; anything else
    // (a number of 128 bits, a record) would come back here for ever.
    let known = plain.is_none()
        || plain.is_instance_of::<PyInt>()
        || plain.is_instance_of::<PyFloat>()
        || plain.is_instance_of::<PyString>()
        || plain.is_instance_of::<PyDate>()
        || plain.is_instance_of::<PyList>();
    Ok(known.then_some(plain))
}

fn integers(name: &str, values: &[Bound<'_, PyAny>]) -> PyResult<Int64Array> {
    let number = |(row, value): (usize, &Bound<'_, PyAny>)| {
        if value.is_none() {
            return Ok(None);
        }
        value.extract::<i64>().map(Some).map_err(|_overflow| {
            let message = format!("column {name:?} row {row}: {value} does not fit int64");
            invalid(value.py(), message)
        })
    };
    values.iter().enumerate().map(number).collect::<PyResult<Vec<_>>>().map(Int64Array::from)
}

fn floats(name: &str, values: &[Bound<'_, PyAny>]) -> PyResult<Float64Array> {
    let number = |(row, value): (usize, &Bound<'_, PyAny>)| {
        if value.is_none() {
            return Ok(None);
        }
        value.extract::<f64>().map(Some).map_err(|_overflow| {
            let message = format!("column {name:?} row {row}: {value} does not fit float64");
            invalid(value.py(), message)
        })
    };
    values.iter().enumerate().map(number).collect::<PyResult<Vec<_>>>().map(Float64Array::from)
}

fn texts(name: &str, values: &[Bound<'_, PyAny>]) -> PyResult<LargeStringArray> {
    let text = |(row, value)| Ok(text(name, row, value)?.map(ToOwned::to_owned));
    let texts = values.iter().enumerate().map(text).collect::<PyResult<Vec<Option<String>>>>();
    texts.map(LargeStringArray::from)
}

/// The text of a `str`, `None` for anything else.
fn text<'a>(name: &str, row: usize, value: &'a Bound<'_, PyAny>) -> PyResult<Option<&'a str>> {
    let Ok(text) = value.cast::<PyString>() else { return Ok(None) };
    let read = text.to_str().map(Some);
    read.map_err(|error| no_text(&format!("column {name:?} row {row}"), text, error))
}

fn lists(name: &str, values: &[Bound<'_, PyAny>]) -> PyResult<ArrayRef> {
    let mut lists = LargeListBuilder::new(LargeStringBuilder::new());
    for (row, value) in values.iter().enumerate() {
        let is_list = value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>();
        if is_list {
            for item in value.try_iter()? {
                let item = item?;
                let text = text(name, row, &item)?;
                if text.is_none() && !item.is_none() {
                    let given = type_name(&item);
                    let what = format!("expected a list of str, given {given}; {}", sparse::FORMS);
                    return Err(wrong(name, row, &what));
                }
                lists.values().append_option(text);
            }
        }
        lists.append(is_list);
    }
    Ok(Arc::new(lists.finish()))
}

/// Microseconds since 1970 of a date or datetime; `None` for anything else.
fn micros(value: &Bound<'_, PyAny>) -> PyResult<Option<i64>> {
    let py = value.py();
    if !value.is_instance_of::<PyDate>() || value.ne(value)? {
        return Ok(None);
    }
    if !value.is_instance_of::<PyDateTime>() {
        let days = value.call_method0("toordinal")?.extract::<i64>()? - EPOCH_ORDINAL;
        return Ok(Some(days * MICROS_PER_DAY));
    }
    let aware = !value.getattr("tzinfo")?.is_none();
    let utc = PyTzInfo::utc(py)?;
    let epoch = PyDateTime::new(py, 1970, 1, 1, 0, 0, 0, 0, aware.then_some(&*utc))?;
    let since = value.sub(epoch)?;
    let part = |name| since.getattr(name)?.extract::<i64>();
    let seconds = part("seconds")? * 1_000_000 + part("microseconds")?;
    Ok(Some(part("days")? * MICROS_PER_DAY + seconds))
}

fn wrong(name: &str, row: usize, what: &str) -> PyErr {
    PyTypeError::new_err(format!("column {name:?} row {row}: {what}"))
}
