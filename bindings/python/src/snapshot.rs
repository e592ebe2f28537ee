//! A collection as it was at one moment.

use nearfield::{Embedder, ScanOptions, Schema};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::batch_hits::BatchHits;
use crate::errors::call;
use crate::explain::Explanation;
use crate::filter::filter_arg;
use crate::hits::Hits;
use crate::ids::{IdsArg, has, id_from_python};
use crate::numbers::{column_string, text_string};
use crate::reading::{self, Source};
use crate::records::{Records, Scan};
use crate::request::{
    Request, batch_size_count, fields, k_count, kind, limit_count, names, vectors_flag,
};
use crate::texts;
use crate::vectors::{Shape, VectorsArg};

/// The rows of a collection at one moment, to be read as often as wanted while writers go on. Made by
/// `Collection.snapshot`. It searches (vectors, texts, words, sparse vectors, one or many, with the
/// embedder that the collection was opened with), explains, gets, counts and scans as the collection
/// does; it does not write, export, or tell name, schema and stats. A collection that is closed leaves
/// its snapshots readable.
///
/// >>> before = docs.snapshot()
/// >>> docs.delete([1, 2])
/// 2
/// >>> len(before), len(docs), before.search([0, 0], k=1)[0].id
/// (2, 0, 1)
#[pyclass(frozen, module = "nearfield")]
pub(crate) struct Snapshot {
    inner: nearfield::Snapshot,
    schema: Schema,
    shape: Shape,
    /// That of the collection's handle, or why it has none.
    embedder: Result<Embedder, String>,
}

impl Snapshot {
    pub(crate) fn new(
        inner: nearfield::Snapshot,
        schema: Schema,
        embedder: Result<Embedder, String>,
    ) -> Self {
        let shape = Shape::of(&schema);
        Self { inner, schema, shape, embedder }
    }

    fn source(&self) -> Source<'_> {
        Source::Snapshot(&self.inner, &self.schema)
    }

    fn embedder(&self) -> nearfield::Result<&Embedder> {
        self.embedder.as_ref().map_err(|none| nearfield::Error::InvalidArgument(none.clone()))
    }

    fn query<'py>(
        &self,
        py: Python<'py>,
        q: Option<&Bound<'py, PyAny>>,
        text: Option<&str>,
        request: &Request,
    ) -> PyResult<Option<VectorsArg<'py>>> {
        texts::query(py, || self.embedder(), q, text, self.shape, request)
    }
}

#[pymethods]
impl Snapshot {
    /// Number of the last write that it holds.
    ///
    /// >>> docs.snapshot().seq == docs.snapshot().seq
    /// True
    #[getter]
    fn seq(&self) -> u64 {
        self.inner.seq()
    }

    /// As `Collection.search`.
    ///
    /// >>> docs.snapshot().search([3, 4], k=1).ids.tolist()
    /// [2]
    #[pyo3(signature = (q=None, k=10, *, text=None, **asked))]
    #[pyo3(text_signature = "($self, q=None, k=10, *, text=None, ef=None, \
                             recall=None, exact=False, \
                             max_distance=None, select=None, vectors=False, where=None, \
                             offset=None, min_distance=None, group_by=None, per_group=1, mmr=None, \
                             mmr_candidates=None, window=None, document=None, position='position', words=None, plain=False, words_in=None, \
                             highlight=None, fusion=None, rrf_k=None, alpha=None, normalize=None, \
                             candidates=None, rerank=None, rerank_candidates=None, sparse=None)")]
    fn search(
        &self,
        py: Python<'_>,
        q: Option<&Bound<'_, PyAny>>,
        #[pyo3(from_py_with = k_count)] k: usize,
        #[pyo3(from_py_with = text_string)] text: Option<String>,
        asked: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Hits> {
        let request = Request::read("Snapshot.search", k, asked, None)?;
        let query = self.query(py, q, text.as_deref(), &request)?;
        reading::search(py, self.source(), query.as_ref(), self.shape, request)
    }

    /// As `Collection.explain`.
    ///
    /// >>> docs.snapshot().explain([3, 4], k=1).hits.ids.tolist()
    /// [2]
    #[pyo3(signature = (q=None, k=10, *, text=None, **asked))]
    #[pyo3(text_signature = "($self, q=None, k=10, *, text=None, ef=None, \
                             recall=None, exact=False, \
                             max_distance=None, select=None, vectors=False, where=None, \
                             offset=None, min_distance=None, group_by=None, per_group=1, mmr=None, \
                             mmr_candidates=None, window=None, document=None, position='position', words=None, plain=False, words_in=None, \
                             highlight=None, fusion=None, rrf_k=None, alpha=None, normalize=None, \
                             candidates=None, rerank=None, rerank_candidates=None, sparse=None)")]
    fn explain(
        &self,
        py: Python<'_>,
        q: Option<&Bound<'_, PyAny>>,
        #[pyo3(from_py_with = k_count)] k: usize,
        #[pyo3(from_py_with = text_string)] text: Option<String>,
        asked: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Explanation> {
        let request = Request::read("Snapshot.explain", k, asked, None)?;
        let query = self.query(py, q, text.as_deref(), &request)?;
        reading::explain(py, self.source(), query.as_ref(), self.shape, request)
    }

    /// As `Collection.search_batch`.
    ///
    /// >>> docs.snapshot().search_batch([[0, 0], [3, 4]], k=1).ids.tolist()
    /// [[1], [2]]
    #[pyo3(signature = (queries=None, k=10, *, texts=None, **asked))]
    #[pyo3(text_signature = "($self, queries=None, k=10, *, texts=None, ef=None, \
                             recall=None, exact=False, \
                             max_distance=None, select=(), vectors=False, where=None, offset=None, \
                             min_distance=None, group_by=None, per_group=1, mmr=None, \
                             mmr_candidates=None, window=None, document=None, position='position', words=None, plain=False, words_in=None, \
                             highlight=None, fusion=None, rrf_k=None, alpha=None, normalize=None, \
                             candidates=None, rerank=None, rerank_candidates=None, sparse=None)")]
    fn search_batch(
        &self,
        py: Python<'_>,
        queries: Option<&Bound<'_, PyAny>>,
        #[pyo3(from_py_with = k_count)] k: usize,
        texts: Option<&Bound<'_, PyAny>>,
        asked: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<BatchHits> {
        let request = Request::read("Snapshot.search_batch", k, asked, Some(Vec::new()))?;
        let queries = texts::queries(py, || self.embedder(), queries, texts, self.shape, &request)?;
        reading::search_batch(py, self.source(), queries.as_ref(), self.shape, request)
    }

    /// As `Collection.search_sparse`.
    ///
    /// >>> docs.upsert(9, [1, 1], [{"words": {3: 0.5}}])
    /// 1
    /// >>> docs.snapshot().search_sparse("words", {3: 2.0}).scores.tolist()
    /// [1.0]
    #[pyo3(signature = (column, query, k=10, **asked))]
    #[pyo3(text_signature = "($self, column, query, k=10, *, max_distance=None, select=None, \
                             vectors=False, where=None, offset=None, min_distance=None, \
                             group_by=None, per_group=1, mmr=None, mmr_candidates=None, window=None, document=None, position='position', \
                             words=None, plain=False, words_in=None, \
                             highlight=None, fusion=None, rrf_k=None, alpha=None, normalize=None, \
                             candidates=None, rerank=None, rerank_candidates=None, sparse=None)")]
    fn search_sparse(
        &self,
        #[pyo3(from_py_with = column_string)] column: String,
        query: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = k_count)] k: usize,
        asked: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Hits> {
        let request = Request::read("Snapshot.search_sparse", k, asked, None)?;
        reading::search_sparse(self.source(), &column, query, self.shape.width, request)
    }

    /// As `Collection.search_sparse_batch`.
    ///
    /// >>> docs.upsert(9, [1, 1], [{"words": {3: 0.5}}])
    /// 1
    /// >>> docs.snapshot().search_sparse_batch("words", [{3: 2.0}, {4: 2.0}], k=1).counts.tolist()
    /// [1, 0]
    #[pyo3(signature = (column, queries, k=10, **asked))]
    #[pyo3(text_signature = "($self, column, queries, k=10, *, max_distance=None, select=(), \
                             vectors=False, where=None, offset=None, min_distance=None, \
                             group_by=None, per_group=1, mmr=None, \
                             mmr_candidates=None, window=None, document=None, position='position', words=None, plain=False, words_in=None, \
                             highlight=None, fusion=None, rrf_k=None, alpha=None, normalize=None, \
                             candidates=None, rerank=None, rerank_candidates=None, sparse=None)")]
    fn search_sparse_batch(
        &self,
        #[pyo3(from_py_with = column_string)] column: String,
        queries: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = k_count)] k: usize,
        asked: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<BatchHits> {
        let none = Some(Vec::new());
        let request = Request::read("Snapshot.search_sparse_batch", k, asked, none)?;
        reading::search_sparse_batch(self.source(), &column, queries, self.shape.width, request)
    }

    /// As `Collection.explain_sparse`.
    ///
    /// >>> docs.upsert(9, [1, 1], [{"words": {3: 0.5}}])
    /// 1
    /// >>> docs.snapshot().explain_sparse("words", {3: 2.0}).hits.ids.tolist()
    /// [9]
    #[pyo3(signature = (column, query, k=10, **asked))]
    #[pyo3(text_signature = "($self, column, query, k=10, *, max_distance=None, select=None, \
                             vectors=False, where=None, offset=None, min_distance=None, \
                             group_by=None, per_group=1, mmr=None, mmr_candidates=None, window=None, document=None, position='position', \
                             words=None, plain=False, words_in=None, \
                             highlight=None, fusion=None, rrf_k=None, alpha=None, normalize=None, \
                             candidates=None, rerank=None, rerank_candidates=None, sparse=None)")]
    fn explain_sparse(
        &self,
        #[pyo3(from_py_with = column_string)] column: String,
        query: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = k_count)] k: usize,
        asked: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Explanation> {
        let request = Request::read("Snapshot.explain_sparse", k, asked, None)?;
        reading::explain_sparse(self.source(), &column, query, self.shape.width, request)
    }

    /// As `Collection.get`.
    ///
    /// >>> docs.snapshot().get([2]).to_dicts()
    /// [{'id': 2, 'title': 'far'}]
    #[pyo3(signature = (ids, select=None, vectors=false))]
    fn get(
        &self,
        py: Python<'_>,
        ids: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = names)] select: Option<Vec<String>>,
        #[pyo3(from_py_with = vectors_flag)] vectors: bool,
    ) -> PyResult<Records> {
        let ids = IdsArg::from_python(ids)?;
        let (ids, fields) = (ids.ids()?, fields(select, vectors));
        let records = call(py, || self.inner.get(ids, &fields))?;
        let id_type = kind(records.ids.first(), &self.schema);
        Ok(Records::new(records, id_type, self.shape.width))
    }

    /// As `Collection.contains`.
    ///
    /// >>> docs.snapshot().contains(1)
    /// True
    fn contains(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<bool> {
        let id = id_from_python(id)?;
        call(py, || self.inner.contains(id))
    }

    fn __contains__(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<bool> {
        let id = id_from_python(id)?;
        call(py, || has(self.inner.contains(id)))
    }

    /// As `Collection.count`.
    ///
    /// >>> docs.snapshot().count(where="id > 1")
    /// 1
    #[pyo3(signature = (*, r#where=None))]
    fn count(&self, py: Python<'_>, r#where: Option<&Bound<'_, PyAny>>) -> PyResult<u64> {
        let filter = filter_arg(r#where)?;
        call(py, || match filter {
            Some(filter) => self.inner.count(filter),
            None => Ok(self.inner.len() as u64),
        })
    }

    fn __len__(&self) -> usize {
        self.inner.len()
    }

    /// As `Collection.scan`.
    ///
    /// >>> [records.ids.tolist() for records in docs.snapshot().scan(limit=1)]
    /// [[1]]
    #[pyo3(signature = (
        batch_size=4096, *, select=None, vectors=false, after=None, limit=None, r#where=None
    ))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of Python")]
    fn scan(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = batch_size_count)] batch_size: usize,
        #[pyo3(from_py_with = names)] select: Option<Vec<String>>,
        #[pyo3(from_py_with = vectors_flag)] vectors: bool,
        after: Option<&Bound<'_, PyAny>>,
        #[pyo3(from_py_with = limit_count)] limit: Option<usize>,
        r#where: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Scan> {
        let options = ScanOptions::new().batch_rows(batch_size).fields(fields(select, vectors));
        let options = reading::pages(options, after, limit, r#where)?;
        let scan = call(py, || self.inner.scan(options))?;
        Ok(Scan::new(scan, kind(None, &self.schema), self.shape.width))
    }

    fn __repr__(&self) -> String {
        format!("Snapshot({} rows, seq={})", self.inner.len(), self.inner.seq())
    }
}
