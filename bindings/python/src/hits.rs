//! The answers of one search.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use arrow_array::RecordBatch;
use nearfield::{Error, Id, IdType, ListRank, Snippet};
use numpy::PyArray1;
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyDict, PyIterator, PyList, PySlice};

use crate::errors::{invalid, raise, wrong_type};
use crate::explain::list;
use crate::ids::id_to_python;
use crate::records::Records;
use crate::{arrow_ffi, cells, pickles, rows};

/// Hits as the engine returned them, shared by the Python objects that show parts of them.
pub(crate) struct Found {
    pub(crate) hits: nearfield::Hits,
    id_type: IdType,
    width: usize,
    /// Everything as one record batch, made when first asked for.
    batch: OnceLock<RecordBatch>,
}

impl Found {
    pub(crate) fn new(hits: nearfield::Hits, id_type: IdType, width: usize) -> Arc<Self> {
        Arc::new(Self { hits, id_type, width, batch: OnceLock::new() })
    }

    pub(crate) fn batch(&self, py: Python<'_>) -> PyResult<&RecordBatch> {
        if let Some(batch) = self.batch.get() {
            return Ok(batch);
        }
        let batch = self.table(py)?;
        Ok(self.batch.get_or_init(|| batch))
    }

    /// The same, for whoever needs it once.
    pub(crate) fn table(&self, py: Python<'_>) -> PyResult<RecordBatch> {
        if let Some(batch) = self.batch.get() {
            return Ok(batch.clone());
        }
        let hits = &self.hits.hits;
        let measures = vec![
            ("distance", hits.iter().map(|hit| hit.distance).collect()),
            ("score", hits.iter().map(|hit| hit.score).collect()),
        ];
        let vectors = self.hits.vectors.as_ref().map(|vectors| (vectors, self.width));
        let ids = hits.iter().map(|hit| &hit.id);
        let attributes = self.hits.attributes.as_ref();
        rows::record_batch(ids, self.id_type, measures, attributes, vectors)
            .map_err(|error| invalid(py, error.to_string()))
    }

    /// Kind of the ids, and elements of a vector.
    pub(crate) fn shape(&self) -> (IdType, usize) {
        (self.id_type, self.width)
    }

    /// One of the hits alone.
    fn one(&self, index: usize) -> Arc<Self> {
        let nearfield::Hits { hits, ranks, attributes, vectors, windows, snippets, .. } =
            &self.hits;
        let hits = nearfield::Hits {
            hits: vec![hits[index].clone()],
            ranks: ranks.as_ref().map(|ranks| vec![ranks[index].clone()]),
            attributes: attributes.as_ref().map(|batch| batch.slice(index, 1)),
            vectors: vectors.as_ref().map(|vectors| vectors.gather([index], self.width)),
            windows: windows.as_ref().map(|windows| vec![windows[index].clone()]),
            snippets: snippets.as_ref().map(|snippets| vec![snippets[index].clone()]),
        };
        Self::new(hits, self.id_type, self.width)
    }

    /// The snippets of a hit by column, if they were asked for.
    fn snippets(&self, index: usize) -> impl Iterator<Item = (&String, &Snippet)> {
        let snippets = self.hits.snippets.as_ref().and_then(|all| all.get(index));
        snippets.into_iter().flatten()
    }

    fn highlights<'py>(
        &self,
        py: Python<'py>,
        index: usize,
        before: &str,
        after: &str,
    ) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        for (column, snippet) in self.snippets(index) {
            dict.set_item(column, snippet.marked(before, after))?;
        }
        Ok(dict)
    }
}

/// Ranges of bytes, ascending, as ranges of characters.
fn characters(text: &str, marks: &[Range<usize>]) -> Vec<(usize, usize)> {
    let (mut byte, mut character) = (0, 0);
    let mut place = |end: usize| {
        character += text.get(byte..end).map_or(0, |part| part.chars().count());
        byte = end;
        character
    };
    marks.iter().map(|mark| (place(mark.start), place(mark.end))).collect()
}

/// The hits of one search, nearest first unless grouped or diversified: a sequence of `Hit`.
///
/// >>> hits = docs.search([0, 0], k=2)
/// >>> len(hits), hits[0].id, hits[0]["title"], [hit.distance for hit in hits]
/// (2, 1, 'near', [0.0, 25.0])
///
/// Takes part in the Arrow PyCapsule interface: `pyarrow.table(hits)` and `polars.DataFrame(hits)`
/// read it without a copy. A column called "distance" or "score" stands in place of the hit's own
/// in tables and dicts; the attributes `distance` and `score` are always the hit's own.
#[pyclass(frozen, module = "nearfield")]
pub(crate) struct Hits {
    pub(crate) found: Arc<Found>,
}

#[pymethods]
impl Hits {
    fn __len__(&self) -> usize {
        self.found.hits.len()
    }

    fn __getitem__<'py>(&self, index: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = index.py();
        if let Ok(slice) = index.cast::<PySlice>() {
            let range = PyList::new(py, self.all(py)?)?;
            return range.as_any().get_item(slice);
        }
        let index = position(index, self.__len__(), "hit")?;
        Ok(Bound::new(py, self.hit(index))?.into_any())
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        PyList::new(py, self.all(py)?)?.try_iter()
    }

    /// The ids as an array: int64 (uint64 if an id is 2**63 or more), or objects of `str`.
    ///
    /// >>> docs.search([0, 0]).ids.tolist()
    /// [1, 2]
    #[getter]
    fn ids<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let ids: Vec<Option<&Id>> = self.found.hits.iter().map(|hit| Some(&hit.id)).collect();
        rows::id_array(py, self.found.id_type, &ids)
    }

    /// The distances as a float32 array, ascending unless grouped or diversified.
    ///
    /// >>> docs.search([0, 0]).distances.tolist()
    /// [0.0, 25.0]
    #[getter]
    fn distances<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f32>> {
        PyArray1::from_iter(py, self.found.hits.iter().map(|hit| hit.distance))
    }

    /// The scores as a float32 array, descending unless grouped or diversified.
    ///
    /// >>> docs.search([1, 0]).scores.tolist()
    /// [-1.0, -20.0]
    #[getter]
    fn scores<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f32>> {
        PyArray1::from_iter(py, self.found.hits.iter().map(|hit| hit.score))
    }

    /// The vectors as they are stored, of shape (hits, elements); `None` unless the search was
    /// asked for them.
    ///
    /// >>> docs.search([0, 0], vectors=True).vectors.tolist()
    /// [[0.0, 0.0], [3.0, 4.0]]
    #[getter]
    fn vectors<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let vectors = self.found.hits.vectors.as_ref();
        let array = |vectors| rows::vector_array(py, vectors, self.__len__(), self.found.width);
        vectors.map(array).transpose()
    }

    /// A list with a dict for each hit: id, distance, score, the columns and, if read, vector.
    ///
    /// >>> docs.search([0, 0], k=1).to_dicts()
    /// [{'id': 1, 'distance': 0.0, 'score': -0.0, 'title': 'near'}]
    fn to_dicts<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let batch = self.found.batch(py)?;
        (0..batch.num_rows()).map(|row| rows::dict(py, batch, row)).collect()
    }

    /// What `Hit.highlights` says of each hit: a dict of column and piece of text.
    ///
    /// >>> _ = docs.add_text_index("title")
    /// >>> docs.search(words="near OR far", highlight=True).highlights()
    /// [{'title': '**near**'}, {'title': '**far**'}]
    #[pyo3(signature = (before="**", after="**"))]
    fn highlights<'py>(
        &self,
        py: Python<'py>,
        before: &str,
        after: &str,
    ) -> PyResult<Vec<Bound<'py, PyDict>>> {
        (0..self.__len__()).map(|hit| self.found.highlights(py, hit, before, after)).collect()
    }

    /// The hits as a `pyarrow.Table`.
    ///
    /// >>> docs.search([0, 0]).to_arrow().column_names  # doctest: +SKIP
    /// ['id', 'distance', 'score', 'title']
    fn to_arrow<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        rows::to_arrow(slf.as_any())
    }

    /// The hits as a `pandas.DataFrame`.
    ///
    /// >>> docs.search([0, 0]).to_pandas()["title"].tolist()  # doctest: +SKIP
    /// ['near', 'far']
    fn to_pandas<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        rows::to_pandas(slf.as_any())
    }

    /// The hits as a `polars.DataFrame`.
    ///
    /// >>> docs.search([0, 0]).to_polars()["title"].to_list()  # doctest: +SKIP
    /// ['near', 'far']
    fn to_polars<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        rows::to_polars(slf.as_any())
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<(Bound<'py, PyCapsule>, Bound<'py, PyCapsule>)> {
        // The interface lets a producer ignore the wish for another schema.
        let _ = requested_schema;
        arrow_ffi::export_array(py, self.found.batch(py)?)
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let _ = requested_schema;
        arrow_ffi::export_stream(py, self.found.batch(py)?.clone())
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let batch = self.found.batch(py)?;
        let mut lines = Vec::new();
        for row in 0..batch.num_rows().min(rows::SHOWN_ROWS) {
            lines.push(format!("  Hit({}),", rows::describe(py, batch, row)?));
        }
        match batch.num_rows() - lines.len() {
            _ if lines.is_empty() => Ok("Hits([])".into()),
            0 => Ok(format!("Hits([\n{}\n])", lines.join("\n"))),
            more => Ok(format!("Hits([\n{}\n  … {more} more\n])", lines.join("\n"))),
        }
    }

    fn _repr_html_(&self, py: Python<'_>) -> PyResult<String> {
        rows::html(py, self.found.batch(py)?)
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let pickles = py.import("nearfield._pickles")?;
        pickles.call_method1("reduce_hits", (pickles::answer(py, &self.found)?,))
    }
}

impl Hits {
    fn hit(&self, index: usize) -> Hit {
        Hit { found: Arc::clone(&self.found), index }
    }

    fn all<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, Hit>>> {
        (0..self.__len__()).map(|index| Bound::new(py, self.hit(index))).collect()
    }
}

/// Where a Python index leads in a sequence of `len` things called `what`.
pub(crate) fn position(index: &Bound<'_, PyAny>, len: usize, what: &str) -> PyResult<usize> {
    let Ok(index) = index.extract::<isize>() else {
        if index.hasattr("__index__")? {
            return Err(PyIndexError::new_err(format!("{what} {index} of {len}")));
        }
        return Err(wrong_type(&format!("index of a {what}"), "int or slice", index));
    };
    let at = if index < 0 { len.checked_add_signed(index) } else { usize::try_from(index).ok() };
    at.filter(|at| *at < len)
        .ok_or_else(|| PyIndexError::new_err(format!("{what} {index} of {len}")))
}

/// One hit: `hit.id`, `hit.distance`, `hit.score`, `hit["column"]`.
///
/// >>> hit = docs.search([3, 4], k=1, select=["title"])[0]
/// >>> hit.to_dict()
/// {'id': 2, 'distance': 0.0, 'score': -0.0, 'title': 'far'}
#[pyclass(frozen, module = "nearfield")]
pub(crate) struct Hit {
    found: Arc<Found>,
    index: usize,
}

impl Hit {
    fn hit(&self) -> &nearfield::Hit {
        &self.found.hits[self.index]
    }
}

#[pymethods]
impl Hit {
    /// The row's id.
    ///
    /// >>> docs.search([0, 0])[0].id
    /// 1
    #[getter]
    fn id<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        id_to_python(py, &self.hit().id)
    }

    /// The distance under the collection's metric: smaller is closer.
    ///
    /// >>> docs.search([0, 1])[0].distance
    /// 1.0
    #[getter]
    fn distance(&self) -> f32 {
        self.hit().distance
    }

    /// The same as a score: bigger is better.
    ///
    /// >>> docs.search([0, 1])[0].score
    /// -1.0
    #[getter]
    fn score(&self) -> f32 {
        self.hit().score
    }

    /// The vector as it is stored; `None` unless the search was asked for it.
    ///
    /// >>> docs.search([3, 3], vectors=True)[0].vector.tolist()
    /// [3.0, 4.0]
    #[getter]
    fn vector<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let batch = self.found.batch(py)?;
        let column = self.found.hits.vectors.as_ref().and(batch.column_by_name("vector"));
        column.map(|column| cells::to_python(py, column, self.index)).transpose()
    }

    fn __getitem__<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        let batch = self.found.batch(py)?;
        match batch.column_by_name(name) {
            Some(column) => cells::to_python(py, column, self.index),
            None => Err(raise(
                py,
                &Error::NotFound {
                    what: format!("column {name:?}"),
                    hint: format!(" in this hit; it has {}", self.keys(py)?.join(", ")),
                },
            )),
        }
    }

    /// For each column of text that was searched by words, the piece of it in which they stand, each word
    /// between `before` and `after`, `…` where the text goes on. Empty unless the search was asked to
    /// `highlight`. Nothing is escaped: for a page use `snippets`.
    ///
    /// >>> _ = docs.add_text_index("title")
    /// >>> docs.search(words="far", highlight=True)[0].highlights("<b>", "</b>")
    /// {'title': '<b>far</b>'}
    #[pyo3(signature = (before="**", after="**"))]
    fn highlights<'py>(
        &self,
        py: Python<'py>,
        before: &str,
        after: &str,
    ) -> PyResult<Bound<'py, PyDict>> {
        self.found.highlights(py, self.index, before, after)
    }

    /// The same as parts: for each column a dict of the "text" of the piece, its "marks", which are (begin, end)
    /// of each word, `text[begin:end]`, and whether it is "cut_before" and "cut_after".
    ///
    /// >>> _ = docs.add_text_index("title")
    /// >>> docs.search(words="far", highlight=True)[0].snippets["title"]
    /// {'text': 'far', 'marks': [(0, 3)], 'cut_before': False, 'cut_after': False}
    #[getter]
    fn snippets<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        for (column, snippet) in self.found.snippets(self.index) {
            let piece = PyDict::new(py);
            piece.set_item("text", &snippet.text)?;
            piece.set_item("marks", characters(&snippet.text, &snippet.marks))?;
            piece.set_item("cut_before", snippet.cut_before)?;
            piece.set_item("cut_after", snippet.cut_after)?;
            dict.set_item(column, piece)?;
        }
        Ok(dict)
    }

    /// The rows around the hit and itself, in order of position, as `Records`; `None` unless the search was
    /// asked for a `window`.
    ///
    /// >>> pages = db.collection("pages", dim=1, metric="l2")
    /// >>> data = {"book": ["a", "a", "a"], "position": [1, 2, 3], "text": ["One.", "Two.", "Three."]}
    /// >>> _ = pages.upsert([1, 2, 3], [[1], [2], [3]], data)
    /// >>> hit = pages.search([1], k=1, window=1, document="book")[0]
    /// >>> hit["text"], " ".join(chunk["text"] for chunk in hit.window)
    /// ('One.', 'One. Two.')
    #[getter]
    fn window(&self) -> Option<Records> {
        let windows = self.found.hits.windows.as_ref()?;
        let (id_type, width) = self.found.shape();
        Some(Records::new(windows.get(self.index)?.clone(), id_type, width))
    }

    /// Where the hit stands in the lists that have it, of a search by several: a dict for each, its "list"
    /// ("vector", "words" or "sparse", with the "column" of sparse vectors, else None), the "rank" in it,
    /// from 1 on, and the "score" there. Empty where the search was by one list.
    ///
    /// >>> _ = docs.add_text_index("title")
    /// >>> docs.search([0, 1], words="near")[0].ranks[0]
    /// {'list': 'vector', 'column': None, 'rank': 1, 'score': -1.0}
    #[getter]
    fn ranks<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let ranks = self.found.hits.ranks.as_ref().and_then(|ranks| ranks.get(self.index));
        let dict = |rank: &ListRank| -> PyResult<Bound<'py, PyDict>> {
            let (list, column) = list(&rank.list);
            let dict = PyDict::new(py);
            dict.set_item("list", list)?;
            dict.set_item("column", column)?;
            dict.set_item("rank", rank.rank)?;
            dict.set_item("score", rank.score)?;
            Ok(dict)
        };
        ranks.into_iter().flatten().map(dict).collect()
    }

    /// Names that can be put in brackets.
    ///
    /// >>> docs.search([0, 0])[0].keys()
    /// ['id', 'distance', 'score', 'title']
    fn keys(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let schema = self.found.batch(py)?.schema_ref();
        Ok(schema.fields().iter().map(|field| field.name().clone()).collect())
    }

    /// The hit as a dict: id, distance, score, the columns and, if read, vector.
    ///
    /// >>> docs.search([0, 1], k=1)[0].to_dict()
    /// {'id': 1, 'distance': 1.0, 'score': -1.0, 'title': 'near'}
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        rows::dict(py, self.found.batch(py)?, self.index)
    }

    /// A hit is pickled without the others that were found with it.
    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let pickles = py.import("nearfield._pickles")?;
        let alone = self.found.one(self.index);
        pickles.call_method1("reduce_hit", (pickles::answer(py, &alone)?,))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("Hit({})", rows::describe(py, self.found.batch(py)?, self.index)?))
    }
}
