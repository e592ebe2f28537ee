//! Sparse vectors in Python: a dict of indices and weights, a pair of lists or arrays of both, or an
//! object that has both (rows of SciPy, embeddings of other libraries).

use arrow_array::ArrayRef;
use nearfield::SparseVector;
use numpy::{PyArray1, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};

use crate::errors::{invalid, raise, type_name, wrong_type};

pub(crate) const EXPECTED: &str =
    "a dict of indices and weights, or a pair (indices, weights) of two lists or arrays";
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
            let wrong = |_wrong| wrong_type(what, "int indices and float weights", &index);
            let number: i64 = index.call_method0("__index__").map_err(wrong)?.extract()?;
            let wrong = |_wrong| wrong_type(what, "int indices and float weights", &weight);
            #[expect(clippy::cast_possible_truncation, reason = "weights are stored as f32")]
            let weight = weight.extract::<f64>().map_err(wrong)? as f32;
            Ok((place(py, what, number)?, weight))
        };
        dict.iter().map(pair).collect::<PyResult<_>>()?
    } else if let Some([indices, weights]) = parts(value) {
        let (indices, weights) = (integers(what, &indices)?, floats(what, &weights)?);
        if indices.len() != weights.len() {
            let (indices, weights) = (indices.len(), weights.len());
            let message = format!("{what}: {indices} indices and {weights} weights; give both");
            return Err(invalid(py, message));
        }
        let places = indices.into_iter().map(|index| place(py, what, index));
        places.zip(weights).map(|(place, weight)| Ok((place?, weight))).collect::<PyResult<_>>()?
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

/// Columns and what is looked for in each: a dict of names and sparse vectors.
pub(crate) fn columns(
    what: &str,
    values: &Bound<'_, PyAny>,
) -> PyResult<Vec<(String, SparseVector)>> {
    if values.is_none() {
        return Ok(Vec::new());
    }
    let wrong = || wrong_type(what, "a dict of columns and sparse vectors", values);
    let dict = values.cast::<PyDict>().map_err(|_wrong| wrong())?;
    let column = |(name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>)| {
        let name = name.extract::<String>().map_err(|_wrong| wrong())?;
        let vector = vector(&format!("{what}[{name:?}]"), &value)?;
        Ok((name, vector))
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
    let starts = integers(what, &values.getattr("indptr")?)?;
    let indices = integers(what, &values.getattr("indices")?)?;
    let weights = floats(what, &values.getattr("data")?)?;
    let mut vectors = Vec::with_capacity(starts.len());
    for (row, ends) in starts.windows(2).enumerate() {
        let at = |end: i64| usize::try_from(end).unwrap_or(usize::MAX);
        let range = at(ends[0])..at(ends[1]);
        let both = indices.get(range.clone()).zip(weights.get(range));
        let what = format!("{what} row {row}");
        let wrong = || invalid(values.py(), format!("{what}: indptr leads outside the matrix"));
        let (indices, weights) = both.ok_or_else(wrong)?;
        let place = |index: &i64| place(values.py(), &what, *index);
        let indices = indices.iter().map(place).collect::<PyResult<Vec<u32>>>()?;
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

fn place(py: Python<'_>, what: &str, index: i64) -> PyResult<u32> {
    u32::try_from(index).map_err(|_range| {
        invalid(py, format!("{what}: index {index} is outside 0 to {}", u32::MAX))
    })
}

/// Numbers as NumPy has them; of an empty list any kind.
fn integers(what: &str, values: &Bound<'_, PyAny>) -> PyResult<Vec<i64>> {
    let array = array(values)?;
    let kind: String = array.getattr("dtype")?.getattr("kind")?.extract()?;
    if !["i", "u"].contains(&kind.as_str()) && array.len()? > 0 {
        let given = type_name(values);
        let message =
            format!("{what}: expected whole numbers as indices, given {given} of other values");
        return Err(invalid(values.py(), message));
    }
    Ok(array.call_method1("astype", ("int64",))?.cast::<PyArray1<i64>>()?.to_vec()?)
}

fn floats(what: &str, values: &Bound<'_, PyAny>) -> PyResult<Vec<f32>> {
    let array = array(values)?;
    let wrong = |_wrong| wrong_type(&format!("{what}: weights"), "numbers", values);
    let floats = array.call_method1("astype", ("float32",)).map_err(wrong)?;
    Ok(floats.cast::<PyArray1<f32>>()?.to_vec()?)
}

fn array<'py>(values: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let numpy = values.py().import("numpy")?;
    numpy.call_method1("ravel", (numpy.call_method1("asarray", (values,))?,))
}
