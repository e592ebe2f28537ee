//! How a column of texts is indexed for search by words, as Python says it.

use nearfield::TextOptions;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::errors::{invalid, raise, text_of, wrong_type};
use crate::numbers::{flag, mapping, number};

const EXPECTED: &str =
    "a language, None for words as they are, or a dict of language, stop_words, stem, k1 and b";

/// The name of a language, `None` for words as they are, or a dict of options.
pub(crate) fn text_options(value: &Bound<'_, PyAny>) -> PyResult<TextOptions> {
    let options = TextOptions::new();
    let Some(dict) = mapping(value)? else { return language(options, value) };
    dict.iter().try_fold(options, |options, (name, value)| {
        let Ok(name) = name.extract::<String>() else {
            return Err(wrong_type("options of a text column: a name", "str", &name));
        };
        Ok(match name.as_str() {
            "language" => language(options, &value)?,
            "stop_words" => options.stop_words(flag(&name, &value)?),
            "stem" => options.stem(flag(&name, &value)?),
            "k1" => options.k1(number(&name, &value)?),
            "b" => options.b(number(&name, &value)?),
            _ => {
                let message = format!("a text column has no option {name:?}, expected {EXPECTED}");
                return Err(invalid(value.py(), message));
            }
        })
    })
}

fn language(options: TextOptions, value: &Bound<'_, PyAny>) -> PyResult<TextOptions> {
    if value.is_none() {
        return Ok(options.no_language());
    }
    let Ok(name) = value.cast::<PyString>() else {
        return Err(wrong_type("options of a text column", EXPECTED, value));
    };
    let language = text_of("language", name)?.parse().map_err(|error| raise(value.py(), &error))?;
    Ok(options.language(language))
}

/// The options as `text_options` reads them.
pub(crate) fn to_python<'py>(
    py: Python<'py>,
    options: TextOptions,
) -> PyResult<Bound<'py, PyDict>> {
    let (language, stop_words, stem, k1, b) = options.values();
    let dict = PyDict::new(py);
    dict.set_item("language", language.map(|language| language.to_string()))?;
    dict.set_item("stop_words", stop_words)?;
    dict.set_item("stem", stem)?;
    // As it was written: the float that prints as the f32 does.
    dict.set_item("k1", k1.to_string().parse::<f64>().unwrap_or(k1.into()))?;
    dict.set_item("b", b.to_string().parse::<f64>().unwrap_or(b.into()))?;
    Ok(dict)
}
