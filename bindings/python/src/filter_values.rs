//! Values, lists and dicts of Python for filters.

use nearfield::FilterValue;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt, PyList, PyString, PyTuple};
use serde_json::{Map, Number, Value as Json};

use crate::errors::{invalid, no_filter_text, raise, type_name, wrong_type};
use crate::numbers::mapping;

/// Most levels of a dict.
const MAX_DEPTH: usize = 300;

/// What a column is compared with.
pub(crate) fn value(given: &Bound<'_, PyAny>) -> PyResult<FilterValue> {
    if given.is_none() {
        return Ok(FilterValue::Null);
    }
    if let Ok(flag) = given.cast::<PyBool>() {
        return Ok(flag.is_true().into());
    }
    if given.cast::<PyInt>().is_ok() {
        // Larger than any number of a column.
        let huge = |_overflow| invalid(given.py(), format!("{given} has too many digits"));
        return given.extract::<i128>().map(FilterValue::Int).map_err(huge);
    }
    if let Ok(number) = given.cast::<PyFloat>() {
        return Ok(number.value().into());
    }
    if given.cast::<PyString>().is_ok() {
        return text("a value of a filter", given).map(Into::into);
    }
    // Times, as ISO 8601 text; then scalars of NumPy.
    if given.hasattr("isoformat")? {
        return Ok(given.call_method0("isoformat")?.extract::<String>()?.into());
    }
    if type_name(given) == "datetime64" {
        return Ok(given.str()?.to_str()?.into());
    }
    if given.hasattr("item")? && given.hasattr("dtype")? {
        let item = given.call_method0("item")?;
        if !item.get_type().is(given.get_type()) && !item.hasattr("dtype")? {
            return value(&item);
        }
    }
    let expected = "None, a bool, a number, a str or a datetime";
    Err(wrong_type("a value of a filter", expected, given))
}

/// Some values.
pub(crate) fn values(given: &Bound<'_, PyAny>) -> PyResult<Vec<FilterValue>> {
    items(given)?.map(|item| value(&item?)).collect()
}

/// A text.
pub(crate) fn text(what: &str, given: &Bound<'_, PyAny>) -> PyResult<String> {
    let given = given.cast::<PyString>().map_err(|_other| wrong_type(what, "a str", given))?;
    let text = given.to_str().map_err(|error| no_filter_text(what, given, error))?;
    Ok(text.to_owned())
}

/// Some texts.
pub(crate) fn texts(given: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    items(given)?.map(|item| text("a value of a list", &item?)).collect()
}

fn items<'py>(
    given: &Bound<'py, PyAny>,
) -> PyResult<impl Iterator<Item = PyResult<Bound<'py, PyAny>>>> {
    if given.cast::<PyString>().is_ok() {
        return Err(wrong_type("values", "a list of them", given));
    }
    given.try_iter().map_err(|_other| wrong_type("values", "a list of them", given))
}

/// A filter that is a dict, as the engine reads it.
pub(crate) fn json(given: &Bound<'_, PyAny>, depth: usize) -> PyResult<Json> {
    let py = given.py();
    if depth > MAX_DEPTH {
        return Err(invalid(py, format!("a filter is nested more than {MAX_DEPTH} deep")));
    }
    if let Some(dict) = mapping(given)? {
        let mut object = Map::new();
        for (key, value) in dict {
            object.insert(text("a key of a filter", &key)?, json(&value, depth + 1)?);
        }
        return Ok(Json::Object(object));
    }
    let list = |items: &mut dyn Iterator<Item = Bound<'_, PyAny>>| {
        items.map(|item| json(&item, depth + 1)).collect::<PyResult<Vec<_>>>().map(Json::Array)
    };
    if let Ok(items) = given.cast::<PyList>() {
        return list(&mut items.iter());
    }
    if let Ok(items) = given.cast::<PyTuple>() {
        return list(&mut items.iter());
    }
    if given.hasattr("dtype")? && given.hasattr("ndim")? && given.getattr("ndim")?.gt(0)? {
        return json(&given.call_method0("tolist")?, depth + 1);
    }
    let wrong = |number: String| {
        PyTypeError::new_err(format!("{number} cannot be asked for in a filter that is a dict"))
    };
    let no_number = |number: f64| raise(py, &not_asked_for(number));
    Ok(match value(given)? {
        FilterValue::Null => Json::Null,
        FilterValue::Bool(value) => Json::Bool(value),
        FilterValue::Int(number) => {
            let number = Number::from_i128(number).ok_or_else(|| wrong(number.to_string()))?;
            Json::Number(number)
        }
        FilterValue::Float(number) => {
            Json::Number(Number::from_f64(number).ok_or_else(|| no_number(number))?)
        }
        FilterValue::Text(text) => Json::String(text.into()),
        other => return Err(wrong(format!("{other:?}"))),
    })
}

/// Refuses what JSON has no number for, as the engine refuses NaN elsewhere.
fn not_asked_for(number: f64) -> nearfield::Error {
    let (message, hint) = if number.is_nan() {
        let hint =
            "NaN is equal to nothing, and neither smaller nor larger; leave the condition out";
        ("NaN cannot be asked for".to_owned(), hint)
    } else {
        let hint = "leave the condition out, or write it with col()";
        (format!("{number} cannot be asked for in a filter that is a dict"), hint)
    };
    let (hint, excerpt) = (hint.to_owned(), String::new());
    nearfield::Error::Filter { message, position: None, column: None, hint, excerpt }
}
