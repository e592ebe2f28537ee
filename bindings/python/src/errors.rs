//! The one door into the engine, and its errors as the exceptions of `nearfield/_errors.py`.

use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};

use nearfield::Error;
use pyo3::exceptions::{PyTypeError, PyUnicodeEncodeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyList, PyString};

use crate::ids::id_to_python;

/// Runs `work` without the interpreter lock. A panic of the engine is a bug; it reaches the caller
/// as `nearfield.Error`, which `except Exception` catches, and not as a `PanicException`.
pub(crate) fn call<T: Send>(
    py: Python<'_>,
    work: impl FnOnce() -> nearfield::Result<T> + Send,
) -> PyResult<T> {
    guard(py, || py.detach(|| catch_unwind(AssertUnwindSafe(work))))?
        .map_err(|error| raise(py, &error))
}

/// Runs `work`, which may call libraries that panic on what they do not know.
pub(crate) fn guard<T>(
    py: Python<'_>,
    work: impl FnOnce() -> std::thread::Result<T>,
) -> PyResult<T> {
    work().map_err(|panic| {
        let reason = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no reason given");
        let message = format!("internal error: {reason}; this is a bug of nearfield");
        exception(py, "Error", message).unwrap_or_else(|failure| failure)
    })
}

/// The exception of an engine error.
pub(crate) fn raise(py: Python<'_>, error: &Error) -> PyErr {
    // What a callable raised reaches its caller as it was.
    if let Error::Embed { source, .. } | Error::Rerank { source } = error
        && let Some(raised) = source.downcast_ref::<PyErr>()
    {
        return raised.clone_ref(py);
    }
    let build = || {
        let exception = exception(py, class_name(error), in_python(error.to_string()))?;
        add_details(exception.value(py), error)?;
        Ok(exception)
    };
    build().unwrap_or_else(|failure: PyErr| failure)
}

/// What the engine advises in the words of Rust, and the same in those of Python.
const WORDS: [(&str, &str); 6] = [
    (
        "open_collection opens it, collection gets or creates",
        "db[name] opens it, db.collection(name) gets or creates",
    ),
    ("or open it for reading alone", "or open it for reading with mode=\"r\""),
    ("open it with an embedder", "open it with embed="),
    ("open it with the embedder of model", "open it with embed= of model"),
    ("or Words::plain, which takes", "or plain=True, which takes"),
    ("or skip bad rows", "or leave bad rows out with on_bad=\"skip\""),
];

fn in_python(message: String) -> String {
    WORDS.iter().fold(message, |message, (rust, python)| message.replace(rust, python))
}

/// An argument of the right type that makes no sense.
pub(crate) fn invalid(py: Python<'_>, message: impl Into<String>) -> PyErr {
    raise(py, &Error::InvalidArgument(message.into()))
}

/// An argument of the wrong Python type: what it is for, what was expected, what was given.
pub(crate) fn wrong_type(what: &str, expected: &str, given: &Bound<'_, PyAny>) -> PyErr {
    PyTypeError::new_err(format!("{what}: expected {expected}, given {}", type_name(given)))
}

/// The text of a `str`, the argument that `what` names.
pub(crate) fn text_of<'a>(what: &str, given: &'a Bound<'_, PyString>) -> PyResult<&'a str> {
    given.to_str().map_err(|error| no_text(what, given, error))
}

/// A `str` that is no text: what it is for, and the failure to read it.
pub(crate) fn no_text(what: &str, given: &Bound<'_, PyString>, error: PyErr) -> PyErr {
    match lone_surrogate(what, given, error) {
        Ok((message, _)) => invalid(given.py(), message),
        Err(other) => other,
    }
}

/// The same of a filter; `position` says where if it is the text of the filter.
pub(crate) fn no_filter_text(what: &str, given: &Bound<'_, PyString>, error: PyErr) -> PyErr {
    let build = || {
        let py = given.py();
        let (message, at) = lone_surrogate(what, given, error)?;
        let exception = exception(py, "FilterError", format!("filter: {message}"))?;
        exception.value(py).setattr("position", (what == WHERE).then_some(at))?;
        exception.value(py).setattr("hint", "")?;
        Ok(exception)
    };
    build().unwrap_or_else(|failure: PyErr| failure)
}

/// The argument that is the text of a filter.
pub(crate) const WHERE: &str = "where";

/// What is wrong with a `str` in which half of a pair of surrogates stands alone, which UTF-8 cannot say;
/// and its place. Fails with `error` if it is about something else.
fn lone_surrogate(
    what: &str,
    given: &Bound<'_, PyString>,
    error: PyErr,
) -> PyResult<(String, usize)> {
    let py = given.py();
    if !error.is_instance_of::<PyUnicodeEncodeError>(py) {
        return Err(error);
    }
    let at = error.value(py).getattr("start")?.extract::<usize>()?;
    let half = given.get_item(at)?.repr()?;
    let message = format!(
        "{what}: expected Unicode text, given the lone surrogate {half} at index {at}; decode bytes \
         with errors=\"replace\""
    );
    Ok((message, at))
}

/// A keyword argument that `function` does not have among `known`: which one was meant, perhaps.
pub(crate) fn unknown_argument(
    py: Python<'_>,
    function: &str,
    name: &str,
    known: &[&str],
) -> PyErr {
    // What other libraries call it.
    const ELSEWHERE: [(&str, &str); 14] = [
        ("filter", "where"),
        ("filters", "where"),
        ("query_filter", "where"),
        ("where_document", "words"),
        ("limit", "k"),
        ("n_results", "k"),
        ("top_k", "k"),
        ("topk", "k"),
        ("include", "select"),
        ("columns", "select"),
        ("output_fields", "select"),
        ("include_vectors", "vectors"),
        ("with_vectors", "vectors"),
        ("read_only", "mode"),
    ];
    let elsewhere = ELSEWHERE.iter().find(|(theirs, ours)| *theirs == name && known.contains(ours));
    let meant = match elsewhere {
        Some((_, ours)) => Some((*ours).to_owned()),
        None => close(py, name, known),
    };
    let hint = match meant {
        Some(meant) => format!("did you mean {meant}=?"),
        None => format!("there are {}", known.join(", ")),
    };
    PyTypeError::new_err(format!(
        "{function}() got an unexpected keyword argument '{name}'; {hint}"
    ))
}

/// Which of the known words was meant, perhaps.
pub(crate) fn close(py: Python<'_>, word: &str, known: &[&str]) -> Option<String> {
    let difflib = py.import("difflib").ok()?;
    let found = difflib.call_method1("get_close_matches", (word, known, 1, 0.7)).ok()?;
    found.extract::<Vec<String>>().ok()?.into_iter().next()
}

/// The name of a value's type, for messages.
pub(crate) fn type_name(value: &Bound<'_, PyAny>) -> String {
    value.get_type().name().map_or_else(|_| "an object".into(), |name| name.to_string())
}

fn exception(py: Python<'_>, class: &str, message: String) -> PyResult<PyErr> {
    static ERRORS: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    let module =
        ERRORS.get_or_try_init(py, || py.import("nearfield._errors").map(Bound::unbind))?;
    let instance = module.bind(py).getattr(class)?.call1((message,))?;
    Ok(PyErr::from_value(instance))
}

fn class_name(error: &Error) -> &'static str {
    match error {
        Error::DimensionMismatch { .. } => "DimensionMismatch",
        Error::InvalidVector { .. } => "InvalidVector",
        Error::DuplicateId { .. } => "DuplicateId",
        Error::NotFound { .. } => "NotFound",
        Error::SchemaMismatch { .. } => "SchemaMismatch",
        Error::InvalidArgument(_) => "InvalidArgument",
        Error::Filter { .. } => "FilterError",
        Error::Words { .. } => "WordsError",
        Error::Locked { .. } => "Locked",
        Error::Closed(_) => "Closed",
        Error::ReadOnly(_) => "ReadOnly",
        Error::Poisoned(_) => "Poisoned",
        Error::Corrupt { .. } => "Corrupt",
        Error::Incompatible { .. } => "Incompatible",
        Error::Full { .. } => "Full",
        Error::Forked(_) => "Forked",
        Error::Cancelled => "Cancelled",
        Error::Io { .. } => "IoError",
        _ => "Error",
    }
}

/// The attributes that a caller may act on.
fn add_details(exception: &Bound<'_, PyAny>, error: &Error) -> PyResult<()> {
    let py = exception.py();
    match error {
        Error::DimensionMismatch { expected, given, row } => {
            exception.setattr("expected", expected)?;
            exception.setattr("given", given)?;
            exception.setattr("row", row)
        }
        Error::InvalidVector { row, column, value, .. } => {
            exception.setattr("row", row)?;
            exception.setattr("column", column)?;
            exception.setattr("value", value)
        }
        Error::DuplicateId { ids } => {
            let ids: PyResult<Vec<_>> = ids.iter().map(|id| id_to_python(py, id)).collect();
            exception.setattr("ids", PyList::new(py, ids?)?)
        }
        Error::Filter { column, hint, .. } => {
            exception.setattr("position", column.map(|column| column - 1))?;
            exception.setattr("hint", hint)
        }
        Error::Words { column, .. } => exception.setattr("position", column - 1),
        Error::Locked { path, holder } => {
            exception.setattr("path", path.display().to_string())?;
            exception.setattr("holder", holder)
        }
        Error::Corrupt { file, section, .. } => {
            exception.setattr("file", file.display().to_string())?;
            exception.setattr("section", section)
        }
        Error::Incompatible { file, .. } => exception.setattr("file", file.display().to_string()),
        Error::Full { path } => {
            exception.setattr("errno", py.import("errno")?.getattr("ENOSPC")?)?;
            exception.setattr("filename", path.display().to_string())
        }
        Error::Io { path, source, .. } => {
            let name = match source.kind() {
                ErrorKind::NotFound => Some("ENOENT"),
                ErrorKind::NotADirectory => Some("ENOTDIR"),
                ErrorKind::IsADirectory => Some("EISDIR"),
                _ => None,
            };
            let errno = match (source.raw_os_error(), name) {
                (None, Some(name)) => py.import("errno")?.getattr(name)?.extract()?,
                (given, _) => given,
            };
            exception.setattr("errno", errno)?;
            exception.setattr("filename", path.display().to_string())
        }
        _ => Ok(()),
    }
}
