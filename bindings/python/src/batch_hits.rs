//! The answers of many searches at once.

use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch};
use arrow_schema::ArrowError;
use nearfield::IdType;
use numpy::{PyArray1, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyDict, PyIterator, PyList, PySlice, PyTuple};

use crate::errors::invalid;
use crate::hits::{Found, Hits, position};
use crate::{arrow_ffi, pickles, rows};

/// A `k` up to which arrays are k wide however few hits there are.
pub(crate) const PADDED: usize = 1_024;

/// Queries whose hits a notebook shows.
const SHOWN: usize = 3;

/// The hits of many searches: `ids, distances = docs.search_batch(Q, k=10)`.
///
/// Unpacks into two arrays of shape (queries, k); where a query has fewer than k hits, the id is
/// -1 (`None` among strings, 2**64 - 1 among ids of 2**63 or more) and the distance is infinite;
/// `counts` says how many there are. With k above 1,024 and above the longest answer, the arrays
/// are as wide as that answer; of a grouped search k counts the hits of k groups. `len` is the number of queries, and `m[i]` the `Hits` of query i.
///
/// >>> found = docs.search_batch([[0, 0], [3, 4]], k=3)
/// >>> ids, distances = found
/// >>> ids.tolist(), found.counts.tolist()
/// ([[1, 2, -1], [2, 1, -1]], [2, 2])
///
/// Takes part in the Arrow PyCapsule interface: `pyarrow.table(found)` and `polars.DataFrame(found)`
/// read one table of all hits, the number of the query, from 0 on, in its first column, "query". A
/// column called "query", "distance" or "score" stands in place of that.
#[pyclass(frozen, module = "nearfield")]
pub(crate) struct BatchHits {
    found: Vec<Arc<Found>>,
    /// What a query answers that finds nothing, where there is no query: it has the columns.
    nothing: Option<Arc<Found>>,
    k: usize,
    id_type: IdType,
}

impl BatchHits {
    pub(crate) fn new(
        found: Vec<Arc<Found>>,
        nothing: Option<Arc<Found>>,
        k: usize,
        id_type: IdType,
    ) -> Self {
        Self { found, nothing, k, id_type }
    }

    fn hits(&self, index: usize) -> Hits {
        Hits { found: Arc::clone(&self.found[index]) }
    }

    /// How many columns the arrays have. Never sized by a `k` that nothing fills.
    fn width(&self) -> usize {
        let longest = self.found.iter().map(|found| found.hits.len()).max().unwrap_or_default();
        if self.k <= PADDED.max(longest) { self.k } else { longest }
    }

    /// One value for each place of the arrays, row by row.
    fn places<'a, T>(
        &'a self,
        value: impl Fn(&'a nearfield::Hit) -> T,
        padding: impl Fn() -> T,
    ) -> Vec<T> {
        let width = self.width();
        let mut places = Vec::with_capacity(self.found.len() * width);
        for found in &self.found {
            places.extend(found.hits.iter().map(&value));
            places.extend((found.hits.len()..width).map(|_| padding()));
        }
        places
    }

    /// All hits, each with the number of its query.
    fn table(&self, py: Python<'_>) -> PyResult<RecordBatch> {
        let answers = self.found.iter().chain(&self.nothing);
        let batches = answers.map(|found| found.table(py)).collect::<PyResult<_>>()?;
        let queries = (0..)
            .zip(&self.found)
            .flat_map(|(query, found)| std::iter::repeat_n(query, found.hits.len()));
        let queries = Int64Array::from_iter_values(queries);
        let table =
            arrow_ffi::concat(batches).and_then(|batch| rows::numbered(batch, "query", queries));
        table.map_err(|error: ArrowError| invalid(py, error.to_string()))
    }

    fn float_array<'py>(
        &self,
        py: Python<'py>,
        value: impl Fn(&nearfield::Hit) -> f32,
        padding: f32,
    ) -> PyResult<Bound<'py, PyAny>> {
        let values = PyArray1::from_vec(py, self.places(value, || padding));
        Ok(values.reshape([self.found.len(), self.width()])?.into_any())
    }
}

#[pymethods]
impl BatchHits {
    /// How many queries there were.
    fn __len__(&self) -> usize {
        self.found.len()
    }

    fn __getitem__<'py>(&self, index: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = index.py();
        if let Ok(slice) = index.cast::<PySlice>() {
            let all = PyList::new(
                py,
                (0..self.found.len()).map(|index| self.hits(index)).collect::<Vec<_>>(),
            )?;
            return all.as_any().get_item(slice);
        }
        let index = position(index, self.found.len(), "query")?;
        Ok(Bound::new(py, self.hits(index))?.into_any())
    }

    /// The two arrays, so that the batch unpacks.
    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        PyTuple::new(py, [self.ids(py)?, self.distances(py)?])?.try_iter()
    }

    /// The ids, of shape (queries, k).
    ///
    /// >>> docs.search_batch([[0, 0], [3, 4]], k=2).ids.tolist()
    /// [[1, 2], [2, 1]]
    #[getter]
    fn ids<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let ids = self.places(|hit| Some(&hit.id), || None);
        let shape = (self.found.len(), self.width());
        rows::id_array(py, self.id_type, &ids)?.call_method1("reshape", shape)
    }

    /// The distances, of shape (queries, k), float32; ascending in each row unless grouped or
    /// diversified.
    ///
    /// >>> docs.search_batch([[0, 0], [3, 3]], k=1).distances.tolist()
    /// [[0.0], [1.0]]
    #[getter]
    fn distances<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.float_array(py, |hit| hit.distance, f32::INFINITY)
    }

    /// The scores, of shape (queries, k), float32; descending in each row unless grouped or
    /// diversified.
    ///
    /// >>> docs.search_batch([[0, 1], [3, 3]], k=1).scores.tolist()
    /// [[-1.0], [-1.0]]
    #[getter]
    fn scores<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.float_array(py, |hit| hit.score, f32::NEG_INFINITY)
    }

    /// How many hits each query has, int64.
    ///
    /// >>> docs.search_batch([[0, 0], [3, 4]], k=5, max_distance=1).counts.tolist()
    /// [1, 1]
    #[getter]
    fn counts<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        let count = |found: &Arc<Found>| i64::try_from(found.hits.len()).unwrap_or(i64::MAX);
        PyArray1::from_iter(py, self.found.iter().map(count))
    }

    /// A list with a dict for each hit, those of the first query first: query, id, distance, score
    /// and, if read, the columns and the vector.
    ///
    /// >>> docs.search_batch([[0, 0], [3, 4]], k=1, select=["title"]).to_dicts()[1]
    /// {'query': 1, 'id': 2, 'distance': 0.0, 'score': -0.0, 'title': 'far'}
    fn to_dicts<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let table = self.table(py)?;
        (0..table.num_rows()).map(|row| rows::dict(py, &table, row)).collect()
    }

    /// The hits as a `pyarrow.Table`.
    ///
    /// >>> docs.search_batch([[0, 0], [3, 4]]).to_arrow()["query"].to_pylist()  # doctest: +SKIP
    /// [0, 0, 1, 1]
    fn to_arrow<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        rows::to_arrow(slf.as_any())
    }

    /// The hits as a `pandas.DataFrame`.
    ///
    /// >>> docs.search_batch([[0, 0], [3, 4]], k=1).to_pandas()["id"].tolist()  # doctest: +SKIP
    /// [1, 2]
    fn to_pandas<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        rows::to_pandas(slf.as_any())
    }

    /// The hits as a `polars.DataFrame`.
    ///
    /// >>> docs.search_batch([[0, 0], [3, 4]], k=1).to_polars()["id"].to_list()  # doctest: +SKIP
    /// [1, 2]
    fn to_polars<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        rows::to_polars(slf.as_any())
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        // The interface lets a producer ignore the wish for another schema.
        let _ = requested_schema;
        arrow_ffi::export_stream(py, self.table(py)?)
    }

    /// The hits of the first queries, a table each.
    fn _repr_html_(&self, py: Python<'_>) -> PyResult<String> {
        let mut html = rows::paragraph(&self.__repr__());
        for (query, found) in self.found.iter().take(SHOWN).enumerate() {
            html.push_str(&rows::paragraph(&format!("query {query}")));
            html.push_str(&rows::html(py, found.batch(py)?)?);
        }
        if self.found.len() > SHOWN {
            html.push_str(&rows::paragraph(&format!("and {} more", self.found.len() - SHOWN)));
        }
        Ok(html)
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let answers = self.found.iter().map(|found| pickles::answer(py, found));
        let answers = PyList::new(py, answers.collect::<PyResult<Vec<_>>>()?)?;
        let text = self.id_type == IdType::Utf8;
        let nothing = self.nothing.as_ref().map(|found| pickles::answer(py, found)).transpose()?;
        let pickles = py.import("nearfield._pickles")?;
        pickles.call_method1("reduce_batch_hits", (answers, nothing, self.k, text))
    }

    fn __repr__(&self) -> String {
        format!("BatchHits({} queries, k={})", self.found.len(), self.k)
    }
}
