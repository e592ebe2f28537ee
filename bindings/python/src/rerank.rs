//! A function of Python that gives hits their scores.
//!
//! The engine calls it in the thread of the search, with no lock of its own held; the interpreter lock is
//! taken for the call. What it raises travels through the engine as the source of its error, and leaves
//! as it was.

use nearfield::{IdType, Query};
use numpy::{PyArrayDyn, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::errors::{invalid, type_name, wrong_type};
use crate::hits::{Found, Hits};
use crate::ids::id_type;
use crate::numbers::count;

/// Hits that the function is given, unless told otherwise.
const RERANKED: usize = 50;

/// What was said of it.
#[derive(Default)]
pub(crate) struct Rerank {
    function: Option<Py<PyAny>>,
    candidates: Option<usize>,
}

impl Rerank {
    /// Takes a keyword argument, if it is one of these.
    pub(crate) fn take(&mut self, name: &str, value: &Bound<'_, PyAny>) -> PyResult<bool> {
        let given = !value.is_none();
        match name {
            "rerank" if given && !value.is_callable() => {
                let expected = "a function that takes Hits and returns a score for each";
                return Err(wrong_type(name, expected, value));
            }
            "rerank" if given => self.function = Some(value.clone().unbind()),
            "rerank_candidates" if given => self.candidates = Some(count(name, value)?),
            "rerank" | "rerank_candidates" => {}
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub(crate) fn check(&self, py: Python<'_>) -> PyResult<()> {
        if self.function.is_none() && self.candidates.is_some() {
            let message = "rerank_candidates says how many hits rerank is given; give rerank= too";
            return Err(invalid(py, message));
        }
        Ok(())
    }

    /// The engine's search with it; `width` is the number of elements of a vector.
    pub(crate) fn apply(self, query: Query<'_>, width: usize) -> Query<'_> {
        let Some(function) = self.function else { return query };
        let candidates = self.candidates.unwrap_or(RERANKED);
        query.rerank(candidates, move |hits| {
            Python::attach(|py| scores(function.bind(py), hits, width)).map_err(Into::into)
        })
    }
}

/// The scores that the function gives to hits. That there is one for each is the engine's to check.
fn scores(function: &Bound<'_, PyAny>, hits: &nearfield::Hits, width: usize) -> PyResult<Vec<f32>> {
    let py = function.py();
    let first = id_type(hits.hits.first().map(|hit| &hit.id));
    let found = Found::new(hits.clone(), first.unwrap_or(IdType::U64), width);
    let scores = function.call1((Hits { found },))?;
    let numpy = py.import("numpy")?;
    let array = numpy.call_method1("require", (&scores, numpy.getattr("float32")?, "CA"));
    let odd = |cause| {
        let error = PyTypeError::new_err(format!(
            "rerank returned {}, expected an array or a list with a number for each of the {} hits",
            type_name(&scores),
            hits.len()
        ));
        error.set_cause(py, cause);
        error
    };
    let array = array.map_err(|cause| odd(Some(cause)))?;
    let array = array.cast::<PyArrayDyn<f32>>()?;
    match array.shape() {
        // Models of one output give a column.
        [_] | [_, 1] => Ok(array.try_readonly()?.as_slice()?.to_vec()),
        [] => Err(odd(None)),
        shape => {
            let message =
                format!("rerank returned an array of shape {shape:?}, expected ({},)", hits.len());
            Err(invalid(py, message))
        }
    }
}
