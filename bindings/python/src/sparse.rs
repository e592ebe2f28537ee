//! Sparse vectors in Python: a dict of indices and weights, a pair of lists or arrays of both, or an
//! object that has both (rows of SciPy, embeddings of other libraries).

use std::fmt::Display;

use arrow_array::ArrayRef;
use nearfield::SparseVector;
use numpy::{PyArray1, PyArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyList, PyString, PyTuple};

use crate::errors::{invalid, raise, type_name, wrong_type};
use crate::ids::contiguous;
use crate::numbers::{mapping, number};

pub(crate) const EXPECTED: &str =
    "a dict of indices and weights, or a pair (indices, weights) of two lists or arrays";
/// How sparse vectors are written, for messages about what is none.
pub(crate) const FORMS: &str =
    "a sparse vector is a dict {index: weight} or a pair (indices, weights)";
/// What objects of other libraries call their weights.
const WEIGHTS: [&str; 2] = ["values", "data"];

/// Whether a value is meant as a sparse vector.
pub(crate) fn is_sparse(value: &Bound<'_, PyAny>) -> bool {
    value.is_instance_of::<PyDict>() || parts(value).is_some()
}

/// The vector that `value`, called `what`, means.
pub(crate) fn vector(what: &str, value: &Bound<'_, PyAny>) -> PyResult<SparseVector> {
    let py = value.py();
    let pairs: Vec<(u32, f32)> = if let Ok(dict) = value.cast::<PyDict>() {
        let pair = |(index, weight): (Bound<'_, PyAny>, Bound<'_, PyAny>)| {
            if index.is_instance_of::<PyString>() {
                let given = index.repr()?;
                let message = format!("{what}: expected int indices, given {given}; {FORMS}");
                return Err(PyTypeError::new_err(message));
            }
            if index.is_instance_of::<PyBool>() || !index.hasattr("__index__")? {
                return Err(wrong_type(what, "int indices and float weights", &index));
            }
            let index = index.call_method0("__index__")?;
            let place = index.extract::<u32>().map_err(|_range| outside(py, what, &index))?;
            let weight = match weight.is_instance_of::<PyBool>() {
                false => number(&format!("{what}: the weight at index {place}"), &weight)?,
                true => return Err(wrong_type(what, "int indices and float weights", &weight)),
            };
            Ok((place, weight))
        };
        dict.iter().map(pair).collect::<PyResult<_>>()?
    } else if let Some([indices, weights]) = parts(value) {
        let (indices, weights) = (places(what, &indices)?, floats(what, &weights)?);
        if indices.len() != weights.len() {
            let (indices, weights) = (indices.len(), weights.len());
            let message = format!("{what}: {indices} indices and {weights} weights; give both");
            return Err(invalid(py, message));
        }
        indices.into_iter().zip(weights).collect()
    } else {
        return Err(wrong_type(what, EXPECTED, value));
    };
    SparseVector::from_pairs(pairs).map_err(|error| match error {
        nearfield::Error::InvalidArgument(why) => invalid(py, format!("{what}: {why}")),
        other => raise(py, &other),
    })
}

/// The vectors of a list, or of a matrix of SciPy in compressed rows.
pub(crate) fn vectors(what: &str, values: &Bound<'_, PyAny>) -> PyResult<Vec<SparseVector>> {
    if let Some(rows) = rows(what, values)? {
        return Ok(rows);
    }
    let wrong = || wrong_type(what, "a list of sparse vectors, or a matrix of SciPy", values);
    if values.is_instance_of::<PyDict>() || values.is_instance_of::<PyString>() {
        return Err(wrong());
    }
    let vectors = values.try_iter().map_err(|_wrong| wrong())?;
    vectors.enumerate().map(|(row, value)| vector(&format!("{what} row {row}"), &value?)).collect()
}

/// Columns and what is looked for in each: a dict of names and sparse vectors, in a batch of lists of them.
pub(crate) fn columns(
    what: &str,
    values: &Bound<'_, PyAny>,
    batch: bool,
) -> PyResult<Vec<(String, Vec<SparseVector>)>> {
    if values.is_none() {
        return Ok(Vec::new());
    }
    let wrong = || {
        let each =
            if batch { "lists of sparse vectors, one for each query" } else { "sparse vectors" };
        wrong_type(what, &format!("a dict of columns and {each}"), values)
    };
    let dict = mapping(values)?.ok_or_else(wrong)?;
    let column = |(name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>)| {
        let name = name.extract::<String>().map_err(|_wrong| wrong())?;
        let what = format!("{what}[{name:?}]");
        let found = if batch { vectors(&what, &value)? } else { vec![vector(&what, &value)?] };
        Ok((name, found))
    };
    dict.iter().map(column).collect()
}

/// A column of vectors, `None` where there is none.
pub(crate) fn column(name: &str, values: &[Bound<'_, PyAny>]) -> PyResult<ArrayRef> {
    let vector = |(row, value): (usize, &Bound<'_, PyAny>)| {
        let what = format!("column {name:?} row {row}");
        (!value.is_none()).then(|| vector(&what, value)).transpose()
    };
    let vectors = values.iter().enumerate().map(vector).collect::<PyResult<Vec<_>>>()?;
    Ok(SparseVector::column(vectors.iter().map(Option::as_ref)))
}

/// The column that a matrix of SciPy is; `None` when `values` is none.
pub(crate) fn matrix(name: &str, values: &Bound<'_, PyAny>) -> PyResult<Option<ArrayRef>> {
    let rows = rows(&format!("column {name:?}"), values)?;
    Ok(rows.map(|rows| SparseVector::column(rows.iter().map(Some))))
}

/// The rows of a matrix of SciPy in compressed rows (CSR); `None` when `values` is none.
fn rows(what: &str, values: &Bound<'_, PyAny>) -> PyResult<Option<Vec<SparseVector>>> {
    if !values.hasattr("indptr")? || !values.hasattr("indices")? || !values.hasattr("data")? {
        return Ok(None);
    }
    if values.getattr("format")?.extract::<String>().ok().as_deref() != Some("csr") {
        return Err(wrong_type(what, "a matrix of SciPy with rows together (tocsr())", values));
    }
    let starts = starts(&values.getattr("indptr")?)?;
    let indices = places(what, &values.getattr("indices")?)?;
    let weights = floats(what, &values.getattr("data")?)?;
    let mut vectors = Vec::with_capacity(starts.len());
    for (row, ends) in starts.windows(2).enumerate() {
        let at = |end: i64| usize::try_from(end).unwrap_or(usize::MAX);
        let range = at(ends[0])..at(ends[1]);
        let both = indices.get(range.clone()).zip(weights.get(range));
        let what = format!("{what} row {row}");
        let wrong = || invalid(values.py(), format!("{what}: indptr leads outside the matrix"));
        let (indices, weights) = both.ok_or_else(wrong)?;
        let vector = SparseVector::new(indices, weights);
        let wrong = |error: nearfield::Error| invalid(values.py(), format!("{what}: {error}"));
        vectors.push(vector.map_err(wrong)?);
    }
    Ok(Some(vectors))
}

/// Indices and weights of a pair, or of an object that has both.
fn parts<'py>(value: &Bound<'py, PyAny>) -> Option<[Bound<'py, PyAny>; 2]> {
    let pair = value.is_instance_of::<PyTuple>() || value.is_instance_of::<PyList>();
    if pair {
        if value.len().ok()? != 2 {
            return None;
        }
        let both = [value.get_item(0).ok()?, value.get_item(1).ok()?];
        let sequence =
            |part: &Bound<'_, PyAny>| !part.is_instance_of::<PyString>() && part.len().is_ok();
        return both.iter().all(sequence).then_some(both);
    }
    let indices = value.getattr("indices").ok()?;
    let weights = WEIGHTS.iter().find_map(|name| value.getattr(*name).ok())?;
    (indices.len().is_ok() && weights.len().is_ok()).then_some([indices, weights])
}

fn outside(py: Python<'_>, what: &str, index: &dyn Display) -> PyErr {
    invalid(py, format!("{what}: index {index} is outside 0 to {}", u32::MAX))
}

/// Whole numbers as NumPy has them, as indices; of an empty list any kind.
fn places(what: &str, values: &Bound<'_, PyAny>) -> PyResult<Vec<u32>> {
    let py = values.py();
    let array = array(values)?;
    let kind: String = array.getattr("dtype")?.getattr("kind")?.extract()?;
    if array.len()? == 0 {
        return Ok(Vec::new());
    }
    match kind.as_str() {
        "u" => {
            let places =
                array.call_method1("astype", ("uint64",))?.cast::<PyArray1<u64>>()?.to_vec()?;
            let place =
                |index: u64| u32::try_from(index).map_err(|_range| outside(py, what, &index));
            places.into_iter().map(place).collect()
        }
        "i" => {
            let places =
                array.call_method1("astype", ("int64",))?.cast::<PyArray1<i64>>()?.to_vec()?;
            let place =
                |index: i64| u32::try_from(index).map_err(|_range| outside(py, what, &index));
            places.into_iter().map(place).collect()
        }
        _ => {
            let given = type_name(values);
            let message =
                format!("{what}: expected whole numbers as indices, given {given} of other values");
            Err(invalid(py, message))
        }
    }
}

/// Where rows of a matrix begin.
fn starts(values: &Bound<'_, PyAny>) -> PyResult<Vec<i64>> {
    Ok(array(values)?.call_method1("astype", ("int64",))?.cast::<PyArray1<i64>>()?.to_vec()?)
}

fn floats(what: &str, values: &Bound<'_, PyAny>) -> PyResult<Vec<f32>> {
    let array = array(values)?;
    let kind: String = array.getattr("dtype")?.getattr("kind")?.extract()?;
    if !["f", "i", "u", "b"].contains(&kind.as_str()) && array.len()? > 0 {
        return Err(wrong_type(&format!("{what}: weights"), "numbers", values));
    }
    Ok(contiguous(array.cast()?, "float32")?.cast::<PyArray1<f32>>()?.to_vec()?)
}

fn array<'py>(values: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let numpy = values.py().import("numpy")?;
    numpy.call_method1("ravel", (numpy.call_method1("asarray", (values,))?,))
}
