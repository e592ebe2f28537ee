//! Numbers and flags given from Python: `k`, `ef`, batch sizes, `exact`.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyInt};

use crate::errors::{invalid, wrong_type};

/// A count: any integer of Python or NumPy that is not negative. What is larger than memory could
/// hold counts as the largest number there is, so that `k=10**30` means all rows.
pub(crate) fn count(name: &str, value: &Bound<'_, PyAny>) -> PyResult<usize> {
    // Nearly always; a search is so short that more questions would be felt.
    if value.is_exact_instance_of::<PyInt>()
        && let Ok(count) = value.extract::<usize>()
    {
        return Ok(count);
    }
    let index = index(name, value)?;
    if let Ok(count) = index.extract::<usize>() {
        return Ok(count);
    }
    if index.lt(0)? {
        return Err(invalid(value.py(), format!("{name} is {index}, expected 0 or more")));
    }
    Ok(usize::MAX)
}

/// A bool of Python or NumPy; nothing else is one.
pub(crate) fn flag(name: &str, value: &Bound<'_, PyAny>) -> PyResult<bool> {
    value.extract::<bool>().map_err(|_wrong| wrong_type(name, "a bool", value))
}

/// An integer of Python as itself, one of NumPy as Python's; no bool, no float.
pub(crate) fn index<'py>(what: &str, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let boolean = value.is_instance_of::<PyBool>();
    if boolean || !value.hasattr("__index__")? {
        return Err(wrong_type(what, "a whole number", value));
    }
    value.call_method0("__index__")
}
