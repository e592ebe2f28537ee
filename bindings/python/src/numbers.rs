//! Numbers, flags and names given from Python: `k`, `ef`, `alpha`, batch sizes, `exact`, `column`.

use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyInt, PyMapping, PyString};

use crate::errors::{invalid, text_of, wrong_type};

/// A count: any integer of Python or NumPy that is not negative. What is larger than memory could
/// hold counts as the largest number there is, so that `k=10**30` means all rows.
pub(crate) fn count(name: &str, value: &Bound<'_, PyAny>) -> PyResult<usize> {
    at_least(0, "0 or more", name, value)
}

/// Dimensions of a vector; that there are not too many is the engine's to say.
pub(crate) fn dimension(value: &Bound<'_, PyAny>) -> PyResult<usize> {
    at_least(1, "1 to 65,536", "dim", value)
}

/// A count of `least` or more, which is what was `expected`.
pub(crate) fn at_least(
    least: usize,
    expected: &str,
    name: &str,
    value: &Bound<'_, PyAny>,
) -> PyResult<usize> {
    // Nearly always; a search is so short that more questions would be felt.
    if value.is_exact_instance_of::<PyInt>()
        && let Ok(count) = value.extract::<usize>()
        && count >= least
    {
        return Ok(count);
    }
    let index = index(name, value)?;
    if index.lt(least)? {
        return Err(invalid(value.py(), format!("{name} is {index}, expected {expected}")));
    }
    if let Ok(count) = index.extract::<usize>() {
        return Ok(count);
    }
    Ok(usize::MAX)
}

/// A bool of Python or NumPy; nothing else is one.
pub(crate) fn flag(name: &str, value: &Bound<'_, PyAny>) -> PyResult<bool> {
    value.extract::<bool>().map_err(|_wrong| wrong_type(name, "a bool", value))
}

/// A number of Python or NumPy; no bool. What is beyond f32 is infinite, as NumPy has it.
pub(crate) fn number(name: &str, value: &Bound<'_, PyAny>) -> PyResult<f32> {
    let py = value.py();
    let wrong = || wrong_type(name, "a number", value);
    if value.is_instance_of::<PyBool>() {
        return Err(wrong());
    }
    value.extract::<f32>().map_err(|error| {
        if error.is_instance_of::<PyOverflowError>(py) {
            return invalid(
                py,
                format!("{name} is larger than a float can be; give a smaller number"),
            );
        }
        if error.is_instance_of::<PyTypeError>(py) { wrong() } else { error }
    })
}

/// A `str`.
pub(crate) fn string(name: &str, value: &Bound<'_, PyAny>) -> PyResult<String> {
    let text = value.cast::<PyString>().map_err(|_wrong| wrong_type(name, "str", value))?;
    Ok(text_of(name, text)?.to_owned())
}

/// A dict, or a copy of any other mapping; `None` for what is none.
pub(crate) fn mapping<'py>(value: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyDict>>> {
    if let Ok(dict) = value.cast::<PyDict>() {
        return Ok(Some(dict.clone()));
    }
    let Ok(mapping) = value.cast::<PyMapping>() else { return Ok(None) };
    let dict = PyDict::new(value.py());
    dict.update(mapping)?;
    Ok(Some(dict))
}

/// The argument `name`: what a collection is called.
pub(crate) fn name_string(value: &Bound<'_, PyAny>) -> PyResult<String> {
    string("name", value)
}

/// The argument `column`.
pub(crate) fn column_string(value: &Bound<'_, PyAny>) -> PyResult<String> {
    string("column", value)
}

/// The argument `text`: what is embedded and searched for.
pub(crate) fn text_string(value: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
    if value.is_none() { Ok(None) } else { string("text", value).map(Some) }
}

/// An integer of Python as itself, one of NumPy as Python's; no bool, no float.
pub(crate) fn index<'py>(what: &str, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let boolean = value.is_instance_of::<PyBool>();
    if boolean || !value.hasattr("__index__")? {
        return Err(wrong_type(what, "a whole number", value));
    }
    value.call_method0("__index__")
}
