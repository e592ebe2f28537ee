//! Texts in place of vectors: the callable that embeds them as the engine's `Embedder`, and what is
//! given as texts. What an embedder is made of is in `nearfield/embed.py`.
//!
//! The callable is called with the interpreter lock, in the thread of the call. What it raises
//! travels through the engine as the source of its error, and leaves as it was.

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_schema::DataType;
use nearfield::{Attributes, Embedder, Error, Id};
use numpy::{PyArrayDyn, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyBytes, PyList, PyMapping, PyString};

use crate::errors::{call, invalid, no_text, raise, type_name, wrong_type};
use crate::ids::{IdsArg, id_to_python};
use crate::numbers::count;
use crate::request::Request;
use crate::vectors::{Shape, VectorsArg};
use crate::{arrow_ffi, columns};

const EXPECTED: &str = "a list of str, or one alone";

/// Whatever may be given as `embed`, as the engine's embedder.
pub(crate) fn embedder(embed: &Bound<'_, PyAny>) -> PyResult<Embedder> {
    let class = embed.py().import("nearfield.embed")?.getattr("Embedder")?;
    let embed = class.call_method1("of", (embed,))?;
    let model: String = embed.getattr("model")?.extract()?;
    let dimension = count("dim", &embed.getattr("dim")?)?;
    let documents = function(&embed, "embed_documents", &model, dimension)?;
    let queries = function(&embed, "embed_queries", &model, dimension)?;
    Ok(Embedder::new(model, dimension, documents).with_queries(queries))
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn function(
    embed: &Bound<'_, PyAny>,
    name: &str,
    model: &str,
    dimension: usize,
) -> PyResult<impl Fn(&[&str]) -> Result<Vec<f32>, Failure> + Send + Sync + use<>> {
    let (function, model) = (embed.getattr(name)?.unbind(), model.to_owned());
    Ok(move |texts: &[&str]| {
        Python::attach(|py| {
            let vectors = function.bind(py).call1((PyList::new(py, texts)?,))?;
            numbers(&vectors, (texts.len(), dimension), &model)
        })
        .map_err(|error: PyErr| Failure::from(error))
    })
}

/// What a callable returned for `texts` texts, row by row.
fn numbers(
    vectors: &Bound<'_, PyAny>,
    (texts, dimension): (usize, usize),
    model: &str,
) -> PyResult<Vec<f32>> {
    let py = vectors.py();
    let numpy = py.import("numpy")?;
    let array = numpy.call_method1("require", (vectors, numpy.getattr("float32")?, "CA"));
    let odd = |cause| {
        let given = type_name(vectors);
        let error = PyTypeError::new_err(format!(
            "embedder {model:?}: expected an array or a list with one vector for each text, given \
             {given}, which is none of numbers"
        ));
        error.set_cause(py, cause);
        error
    };
    let array = array.map_err(|cause| odd(Some(cause)))?;
    let array = array.cast::<PyArrayDyn<f32>>()?;
    let many =
        |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let wrong = |given: String| {
        let (texts, vectors) = (many(texts, "text"), many(texts, "vector"));
        let message = format!(
            "embedder {model:?} was given {texts} and returned {given}; expected {vectors} of \
             {dimension} dimensions"
        );
        Err(invalid(py, message))
    };
    match *array.shape() {
        [rows, given] if rows == texts && given == dimension => {}
        [given] if texts == 1 && given == dimension => {}
        [] => return Err(odd(None)),
        [rows, given] if rows == texts => return Err(wrong_dimension(py, model, dimension, given)),
        [given] if texts == 1 => return Err(wrong_dimension(py, model, dimension, given)),
        [rows, _] => return wrong(many(rows, "vector")),
        _ => return wrong(format!("an array of shape {}", array.getattr("shape")?)),
    }
    Ok(array.try_readonly()?.as_slice()?.to_vec())
}

fn wrong_dimension(py: Python<'_>, model: &str, expected: usize, given: usize) -> PyErr {
    let error = raise(py, &Error::DimensionMismatch { expected, given, row: 0 });
    let message = format!("embedder {model:?}: {}", error.value(py));
    match error.value(py).setattr("args", (message,)) {
        Ok(()) => error,
        Err(failure) => failure,
    }
}

/// The query of a search: a vector as it was given, or that of a text; `None` for words alone.
pub(crate) fn query<'a, 'py>(
    py: Python<'py>,
    embedder: impl FnOnce() -> nearfield::Result<&'a Embedder> + Send,
    q: Option<&Bound<'py, PyAny>>,
    text: Option<&str>,
    shape: Shape,
    request: &Request,
) -> PyResult<Option<VectorsArg<'py>>> {
    match (q, text) {
        (Some(q), None) => VectorsArg::one(q, shape).map(Some),
        (None, Some(text)) => embedded(py, embedder, &[text]).map(Some),
        (None, None) if request.words.is_asked() => Ok(None),
        (given, _) => Err(one_of("text", given.is_some())),
    }
}

/// The queries of a batch: vectors as they were given, or those of texts; `None` for words alone.
pub(crate) fn queries<'a, 'py>(
    py: Python<'py>,
    embedder: impl FnOnce() -> nearfield::Result<&'a Embedder> + Send,
    queries: Option<&Bound<'py, PyAny>>,
    texts: Option<&Bound<'py, PyAny>>,
    shape: Shape,
    request: &Request,
) -> PyResult<Option<VectorsArg<'py>>> {
    match (queries, texts) {
        (Some(queries), None) => VectorsArg::from_python(queries, shape).map(Some),
        (None, Some(texts)) => {
            embedded(py, embedder, &Texts::from_python("texts", texts)?.all()).map(Some)
        }
        (None, None) if request.words.is_asked() => Ok(None),
        (given, _) => Err(one_of("texts", given.is_some())),
    }
}

fn embedded<'a, 'py>(
    py: Python<'py>,
    embedder: impl FnOnce() -> nearfield::Result<&'a Embedder> + Send,
    texts: &[&str],
) -> PyResult<VectorsArg<'py>> {
    let vectors = call(py, || embedder()?.embed_queries(texts))?;
    Ok(VectorsArg::owned(vectors, texts.len()))
}

fn one_of(texts: &str, both: bool) -> PyErr {
    PyTypeError::new_err(format!(
        "vectors: expected numbers (an array or a list), or {texts}= in their place, given {}",
        match (texts, both) {
            ("text", true) => "both; to search for words beside a vector, use words=",
            ("text", false) =>
                "neither; to search by words alone, use words=, by a sparse vector search_sparse",
            (_, true) => "both; to search for words beside vectors, use words=",
            (_, false) => "neither; to search by words alone, use words=",
        }
    ))
}

/// A write of texts, read from Python.
pub(crate) struct TextsArg<'py> {
    texts: Texts,
    ids: Option<IdsArg<'py>>,
    data: Option<RecordBatch>,
}

/// Texts as they were given.
pub(crate) enum Texts {
    Python(Vec<PyBackedStr>),
    Arrow(Vec<String>),
}

impl<'py> TextsArg<'py> {
    pub(crate) fn from_python(
        texts: &Bound<'py, PyAny>,
        ids: Option<&Bound<'py, PyAny>>,
        data: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Self> {
        let texts = Texts::from_python("texts", texts)?;
        let ids = ids.map(IdsArg::from_python).transpose()?;
        let rows = texts.all().len();
        let data = data.map(|data| columns::from_python(data, rows)).transpose()?;
        Ok(Self { texts, ids, data })
    }

    /// Embeds and stores them, with columns that the collection lacks.
    pub(crate) fn write(
        &self,
        py: Python<'py>,
        collection: &nearfield::Collection,
        replace: bool,
    ) -> PyResult<Bound<'py, PyList>> {
        let texts = self.texts.all();
        let ids = self.ids.as_ref().map(IdsArg::ids).transpose()?;
        let schema = call(py, || collection.schema())?;
        let data = self.data.clone().map(|data| columns::missing(py, data, &schema)).transpose()?;
        let (data, missing) = data.map_or((None, Vec::new()), |(data, new)| (Some(data), new));
        let attributes = Attributes::from(data.as_ref()).adding(&missing);
        let written: Vec<Id> = call(py, || {
            collection.check_texts(ids.as_ref(), texts.len(), attributes)?;
            if let (Some(ids), false) = (&ids, replace) {
                collection.check_new(ids)?;
            }
            let vectors = collection.embedder()?.embed_documents(&texts)?;
            collection.put_embedded(replace, ids, &texts, &vectors, attributes)
        })?;
        let ids: PyResult<Vec<_>> = written.iter().map(|id| id_to_python(py, id)).collect();
        PyList::new(py, ids?)
    }
}

/// The text of `row`, without a copy.
fn kept(what: &str, text: &Bound<'_, PyString>, row: usize) -> PyResult<PyBackedStr> {
    let kept = text.clone().try_into();
    kept.map_err(|error| no_text(&format!("{what}: row {row}"), text, error))
}

impl Texts {
    /// Reads the argument `what`.
    pub(crate) fn from_python(what: &str, texts: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(text) = texts.cast::<PyString>() {
            return Ok(Self::Python(vec![kept(what, text, 0)?]));
        }
        if let Some(array) = arrow_ffi::import(texts)?
            && array.null_count() == 0
        {
            let owned = |text: Option<&str>| text.unwrap_or_default().to_owned();
            match array.data_type() {
                DataType::Utf8 => {
                    return Ok(Self::Arrow(array.as_string::<i32>().iter().map(owned).collect()));
                }
                DataType::LargeUtf8 => {
                    return Ok(Self::Arrow(array.as_string::<i64>().iter().map(owned).collect()));
                }
                DataType::Utf8View => {
                    return Ok(Self::Arrow(array.as_string_view().iter().map(owned).collect()));
                }
                _ => {}
            }
        }
        let items = match texts.try_iter() {
            Ok(items) if !texts.is_instance_of::<PyBytes>() => items,
            _ => return Err(wrong_type(what, EXPECTED, texts)),
        };
        if texts.cast::<PyMapping>().is_ok() {
            return Err(wrong_type(what, EXPECTED, texts));
        }
        let mut all = Vec::new();
        for (row, item) in items.enumerate() {
            let item = item?;
            let Ok(text) = item.cast::<PyString>() else {
                return Err(wrong_type(&format!("{what}: row {row}"), "str", &item));
            };
            all.push(kept(what, text, row)?);
        }
        Ok(Self::Python(all))
    }

    pub(crate) fn all(&self) -> Vec<&str> {
        match self {
            Self::Python(texts) => texts.iter().map(|text| &**text).collect(),
            Self::Arrow(texts) => texts.iter().map(String::as_str).collect(),
        }
    }
}
