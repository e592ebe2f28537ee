//! What may be said beside the vectors of a search, and the same of a `get` or `scan`: numbers,
//! flags and names of columns, each read from Python by a function that names it in its error.

use nearfield::{Fields, Filter, Id, IdType, Schema, SparseVector};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::errors::{text_of, unknown_argument, wrong_type};
use crate::filter::filter_arg;
use crate::ids::id_type;
use crate::numbers::{at_least, count, flag, number};
use crate::picks::Picks;
use crate::sparse;
use crate::words::WordsArg;

/// Everything asked for beside the vectors.
pub(crate) struct Request {
    pub(crate) k: usize,
    pub(crate) ef: Option<usize>,
    pub(crate) recall: Option<f32>,
    pub(crate) exact: bool,
    pub(crate) max_distance: Option<f32>,
    pub(crate) picks: Picks,
    pub(crate) select: Option<Vec<String>>,
    pub(crate) vectors: bool,
    pub(crate) filter: Option<Filter>,
    pub(crate) words: WordsArg,
    /// Columns of sparse vectors that are searched as well, with those of each query.
    pub(crate) sparse: Vec<(String, Vec<SparseVector>)>,
}

/// Keyword arguments of vectors alone: hits of sparse ones are exact.
const OF_VECTORS: [&str; 3] = ["ef", "recall", "exact"];
const OF_ALL: [&str; 26] = [
    "k",
    "max_distance",
    "select",
    "vectors",
    "where",
    "offset",
    "min_distance",
    "group_by",
    "per_group",
    "mmr",
    "mmr_candidates",
    "window",
    "document",
    "position",
    "words",
    "plain",
    "words_in",
    "highlight",
    "fusion",
    "rrf_k",
    "alpha",
    "normalize",
    "candidates",
    "rerank",
    "rerank_candidates",
    "sparse",
];

/// The keyword arguments of `function`.
fn arguments(function: &str) -> Vec<&'static str> {
    let (sparse, batch) = (function.contains("sparse"), function.ends_with("batch"));
    let mut names = OF_ALL.to_vec();
    names.extend(OF_VECTORS.iter().filter(|_| !sparse));
    if !sparse {
        names.push(if batch { "texts" } else { "text" });
    }
    names
}

impl Request {
    /// Reads the keyword arguments of `function`; `select` is what is read if they do not say.
    pub(crate) fn read(
        function: &str,
        k: usize,
        given: Option<&Bound<'_, PyDict>>,
        select: Option<Vec<String>>,
    ) -> PyResult<Self> {
        let (picks, ef, recall, exact) = (Picks::default(), None, None, false);
        let max_distance = None;
        let (vectors, filter, words, sparse) = (false, None, WordsArg::default(), Vec::new());
        let mut request = Self {
            k,
            ef,
            recall,
            exact,
            max_distance,
            picks,
            select,
            vectors,
            filter,
            words,
            sparse,
        };
        let batch = function.ends_with("batch");
        for (name, value) in given.into_iter().flatten() {
            let name = name.cast::<PyString>()?.to_str()?.to_owned();
            let exact = function.contains("sparse") && OF_VECTORS.contains(&name.as_str());
            match name.as_str() {
                "ef" if !exact => request.ef = ef_count(&value)?,
                "recall" if !exact => request.recall = recall_share(&value)?,
                "exact" if !exact => request.exact = exact_flag(&value)?,
                "max_distance" => request.max_distance = distance(&value)?,
                "select" => request.select = names(&value)?,
                "vectors" => request.vectors = vectors_flag(&value)?,
                "where" => request.filter = filter_arg(Some(&value))?,
                "sparse" => request.sparse = sparse::columns("sparse", &value, batch)?,
                name if request.words.take(name, &value, batch)? => {}
                name if !exact && request.picks.take(name, &value)? => {}
                name => {
                    let py = value.py();
                    return Err(unknown_argument(py, function, name, &arguments(function)));
                }
            }
        }
        Ok(request)
    }

    /// How many lists become one order, when there is one of a vector or not.
    pub(crate) fn check(&self, py: Python<'_>, vector: bool) -> PyResult<()> {
        let lists = usize::from(vector) + usize::from(self.words.is_asked()) + self.sparse.len();
        self.picks.check(py)?;
        self.words.check(py, lists)
    }

    /// The engine's search with all of it, but the sparse vectors; `width` is the number of elements of a vector.
    pub(crate) fn apply<'a>(
        self,
        mut query: nearfield::Query<'a>,
        width: usize,
    ) -> nearfield::Query<'a> {
        query = self.words.apply(query, width).k(self.k).exact(self.exact);
        if let Some(ef) = self.ef {
            query = query.ef(ef);
        }
        if let Some(recall) = self.recall {
            query = query.recall(recall);
        }
        if let Some(distance) = self.max_distance {
            query = query.max_distance(distance);
        }
        query = self.picks.apply(query);
        if let Some(filter) = self.filter {
            query = query.filter(filter);
        }
        query = match self.select {
            None => query.select_all(),
            Some(columns) if columns.is_empty() => query,
            Some(columns) => query.select(columns),
        };
        if self.vectors { query.with_vectors() } else { query }
    }
}

pub(crate) fn fields(select: Option<Vec<String>>, vectors: bool) -> Fields {
    let fields = select.map_or_else(Fields::all, Fields::columns);
    if vectors { fields.with_vectors() } else { fields }
}

/// The kind of the ids that came back; of none, what the schema said before.
pub(crate) fn kind(first: Option<&Id>, schema: &Schema) -> IdType {
    id_type(first).or(schema.id_type()).unwrap_or(IdType::U64)
}

pub(crate) fn k_count(value: &Bound<'_, PyAny>) -> PyResult<usize> {
    count("k", value)
}

pub(crate) fn batch_size_count(value: &Bound<'_, PyAny>) -> PyResult<usize> {
    at_least(1, "1 to 65,536", "batch_size", value)
}

pub(crate) fn ef_count(value: &Bound<'_, PyAny>) -> PyResult<Option<usize>> {
    if value.is_none() { Ok(None) } else { at_least(1, "1 or more", "ef", value).map(Some) }
}

pub(crate) fn recall_share(value: &Bound<'_, PyAny>) -> PyResult<Option<f32>> {
    if value.is_none() { Ok(None) } else { number("recall", value).map(Some) }
}

pub(crate) fn limit_count(value: &Bound<'_, PyAny>) -> PyResult<Option<usize>> {
    if value.is_none() { Ok(None) } else { count("limit", value).map(Some) }
}

pub(crate) fn exact_flag(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    flag("exact", value)
}

pub(crate) fn vectors_flag(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    flag("vectors", value)
}

pub(crate) fn distance(value: &Bound<'_, PyAny>) -> PyResult<Option<f32>> {
    if value.is_none() {
        return Ok(None);
    }
    number("max_distance", value).map(Some)
}

/// Names of columns: a list of them, or one alone; `None` for all.
pub(crate) fn names(value: &Bound<'_, PyAny>) -> PyResult<Option<Vec<String>>> {
    if value.is_none() {
        return Ok(None);
    }
    if let Ok(name) = value.cast::<PyString>() {
        return Ok(Some(vec![text_of("select", name)?.to_owned()]));
    }
    let wrong = || wrong_type("select", "a list of column names", value);
    value.extract::<Vec<String>>().map(Some).map_err(|_wrong| wrong())
}
