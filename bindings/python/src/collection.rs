//! A collection: what is written, read and searched.

mod asking;
mod writing;

pub(crate) use self::writing::Given;

use std::path::PathBuf;

use nearfield::{ScanOptions, TextOptions};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use serde_json::to_string;

use crate::batch_hits::BatchHits;
use crate::database::Database;
use crate::errors::call;
use crate::explain::Explanation;
use crate::filter::filter_arg;
use crate::hits::Hits;
use crate::ids::{IdsArg, has, id_from_python};
use crate::interrupt::{long, progress_arg};
use crate::numbers::{column_string, text_string};
use crate::records::{Records, Scan, as_dict};
use crate::request::{
    Request, batch_size_count, fields, k_count, kind, limit_count, names, vectors_flag,
};
use crate::snapshot::Snapshot;
use crate::text_options::text_options;
use crate::texts::{self, TextsArg};
use crate::vectors::Shape;
use crate::{batches, files, log, reading, schema};

/// Rows of id, vector and attributes, searched by nearness. Made by `db.collection(…)`,
/// `db.create(…)` or `db["name"]`; may be used from any thread.
///
/// Ids are integers from 0 or strings, all of one kind: an array or list of them, or one alone.
///
/// Vectors are an array of shape (rows, dim), or (dim,) for one row. float32, float16, int8 and
/// uint8 arrays that are C-contiguous are read where they are, and bfloat16 ones of ml_dtypes;
/// everything else that is numbers (float64, integers, strided views, lists, tensors that NumPy
/// understands, Arrow list arrays) becomes float32 first. They are stored in the collection's
/// dtype. Vectors of bits (dtype "b1") are uint8, eight bits to a byte: `numpy.packbits(x, axis=1)`.
///
/// Data are the other columns: a dict of lists or arrays, a list of dicts, or a pyarrow, polars or
/// pandas table. Columns that are new are added, with the type of their values: bool, int, float,
/// str, datetime (UTC unless it says otherwise), list of str, dict of indices and weights (a sparse
/// vector). None is null everywhere.
///
/// In a list of dicts, a dict with names within a row is columns of their own: {"a": {"b": 1}} is 1 in
/// the column "a.b". An empty one is None. What is a dict in one row and a value in another is refused.
/// A sparse vector is {index: weight}, or a pair (indices, weights).
///
/// >>> docs.upsert([3, 4], [[6, 8], [9, 12]], {"title": ["farther", None]})
/// 2
/// >>> docs.search([6, 7], k=1)[0]["title"]
/// 'farther'
#[pyclass(frozen, module = "nearfield")]
pub(crate) struct Collection {
    inner: nearfield::Collection,
    dimension: usize,
    shape: Shape,
    /// Bytes that one vector takes.
    row_bytes: usize,
    database: Py<Database>,
}

impl Collection {
    pub(crate) fn new(
        database: &Bound<'_, Database>,
        inner: nearfield::Collection,
    ) -> PyResult<Self> {
        let schema = call(database.py(), || inner.schema())?;
        let dimension = schema.dimension();
        let row_bytes = schema.vector_type().row_bytes(dimension);
        let (shape, database) = (Shape::of(&schema), database.clone().unbind());
        Ok(Self { inner, dimension, shape, row_bytes, database })
    }
}

#[pymethods]
impl Collection {
    /// Its name.
    ///
    /// >>> docs.name
    /// 'docs'
    #[getter]
    fn name(&self) -> &str {
        self.inner.name()
    }

    /// Dimensions of a vector.
    ///
    /// >>> docs.dim
    /// 2
    #[getter]
    fn dim(&self) -> usize {
        self.dimension
    }

    /// The database that it is in: the handle that it was opened by.
    ///
    /// >>> docs.database is db
    /// True
    #[getter]
    fn database<'py>(&self, py: Python<'py>) -> Bound<'py, Database> {
        self.database.bind(py).clone()
    }

    /// Name of the model that texts were embedded by, as the collection remembers it; else `None`.
    ///
    /// >>> print(docs.model)
    /// None
    #[getter]
    fn model(&self, py: Python<'_>) -> PyResult<Option<String>> {
        let schema = call(py, || self.inner.schema())?;
        Ok(schema.embedding().map(|embedding| embedding.model.clone()))
    }

    /// What it holds, as the keyword arguments that make such a collection.
    ///
    /// >>> docs.schema["columns"]
    /// {'title': 'utf8'}
    /// >>> _ = db.create("same", **docs.schema)
    #[getter]
    fn schema<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        schema::to_python(py, &call(py, || self.inner.schema())?)
    }

    /// Adds rows, replacing those whose ids exist; columns not given become null. Of an id given
    /// twice the last row wins. Returns how many rows were written. All of it is stored, or
    /// nothing, and durable when the call returns; Ctrl-C while much is written stores nothing.
    /// What is above 192 MiB goes into segments at once, as an import does, and not through the log.
    ///
    /// `progress` shows a bar (True), or is called with a `Progress` now and then; what it raises ends
    /// the write, with nothing stored unless its phase was "done".
    ///
    /// Raises `DimensionMismatch` and `InvalidVector` (NaN, infinity, out of range),
    /// `SchemaMismatch` for ids or columns of another type, `InvalidArgument` for lengths that
    /// differ.
    ///
    /// >>> docs.upsert([1, 5], [[0, 1], [5, 5]], [{"title": "new"}, {"year": 2026}])
    /// 2
    /// >>> docs.get(1)[0]
    /// {'id': 1, 'title': 'new', 'year': None}
    #[pyo3(signature = (ids, vectors, data=None, *, progress=None))]
    fn upsert(
        &self,
        ids: &Bound<'_, PyAny>,
        vectors: &Bound<'_, PyAny>,
        data: Option<&Bound<'_, PyAny>>,
        progress: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<u64> {
        self.put(ids, vectors, data, progress, false)
    }

    /// Adds rows whose ids are new; raises `DuplicateId` otherwise, and stores nothing then.
    /// Returns how many rows were added. However many there are, all of them are stored or none;
    /// `progress` and Ctrl-C are as for `upsert`.
    ///
    /// Otherwise raises as `upsert`.
    ///
    /// >>> docs.add(6, [1, 1], [{"title": "sixth"}])
    /// 1
    #[pyo3(signature = (ids, vectors, data=None, *, progress=None))]
    fn add(
        &self,
        ids: &Bound<'_, PyAny>,
        vectors: &Bound<'_, PyAny>,
        data: Option<&Bound<'_, PyAny>>,
        progress: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<u64> {
        self.put(ids, vectors, data, progress, true)
    }

    /// Upserts the rows of many batches, tuples of ids, vectors and, if there are any, data, made while
    /// they are stored: a generator may read what is larger than memory. All rows appear at once at the
    /// end; after an exception or Ctrl-C nothing is stored. Columns are those of the collection and of the
    /// first batch. `progress` is as for `upsert`. Returns how many rows there are of them.
    ///
    /// Raises as `upsert`, and what the iterable raises.
    ///
    /// >>> docs.import_batches(([n], [[n, n]], [{"title": str(n)}]) for n in range(10, 14))
    /// 4
    #[pyo3(signature = (batches, *, progress=None))]
    fn import_batches(
        &self,
        batches: &Bound<'_, PyAny>,
        progress: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<u64> {
        let progress = progress.map(progress_arg).transpose()?.flatten();
        batches::import(batches, &self.inner, self.shape, progress)
    }

    /// Embeds texts and adds them as rows whose ids are new: the collection must have been opened
    /// with `embed=`. Each text is stored in the column of text, `data` holds the other columns.
    /// Returns the ids as a list.
    ///
    /// Without `ids` they are made: one more than the highest number there is, from 1 on; in a
    /// collection of strings (`id_type="utf8"`) UUIDs that ascend with time. What the embedder
    /// raises is passed on as it is, and nothing is stored then.
    ///
    /// Raises `InvalidArgument` in a collection opened without `embed=`, `DuplicateId`, and
    /// otherwise as `upsert`.
    ///
    /// >>> import nearfield as nf
    /// >>> letters = nf.Embedder(lambda texts: [[t.count("a"), t.count("b")] for t in texts], "ab")
    /// >>> notes = db.collection("notes", embed=letters, text="body")
    /// >>> notes.add_texts(["aaa", "abb"], data={"year": [2025, 2026]})
    /// [1, 2]
    /// >>> notes.search(text="bbb", k=1)[0].to_dict()["body"]
    /// 'abb'
    #[pyo3(signature = (texts, ids=None, data=None))]
    fn add_texts<'py>(
        &self,
        py: Python<'py>,
        texts: &Bound<'py, PyAny>,
        ids: Option<&Bound<'py, PyAny>>,
        data: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyList>> {
        TextsArg::from_python(texts, ids, data)?.write(py, &self.inner, false)
    }

    /// As `add_texts`, but rows whose ids exist are replaced; of an id given twice the last wins.
    ///
    /// Raises as `add_texts`, but for `DuplicateId`.
    ///
    /// >>> import nearfield as nf
    /// >>> lengths = nf.Embedder(lambda texts: [[len(t)] for t in texts], "lengths", dim=1)
    /// >>> notes = db.collection("notes", metric="l2", embed=lengths)
    /// >>> notes.upsert_texts(["a", "bb"], ids=["x", "y"])
    /// ['x', 'y']
    /// >>> notes.upsert_texts("cccc", ids="x"), notes.get("x")[0]["text"]
    /// (['x'], 'cccc')
    #[pyo3(signature = (texts, ids=None, data=None))]
    fn upsert_texts<'py>(
        &self,
        py: Python<'py>,
        texts: &Bound<'py, PyAny>,
        ids: Option<&Bound<'py, PyAny>>,
        data: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyList>> {
        TextsArg::from_python(texts, ids, data)?.write(py, &self.inner, true)
    }

    /// Sets the columns of `data` in the rows of `ids`; other columns and the vectors stay. Ids
    /// that do not exist are passed over. With `where` in place of ids, all rows that the filter finds
    /// are given the values of `data`, a dict of one row. Returns how many rows were updated.
    ///
    /// Raises `SchemaMismatch` for ids or columns of another type, `FilterError`, `TypeError`
    /// for both or neither of ids and filter.
    ///
    /// >>> docs.update([1, 99], {"title": ["nearest", "nobody"]})
    /// 1
    /// >>> docs.update(data={"title": "one of two"}, where="id IN (1, 2)")
    /// 2
    #[pyo3(signature = (ids=None, data=None, *, r#where=None))]
    fn update(
        &self,
        py: Python<'_>,
        ids: Option<&Bound<'_, PyAny>>,
        data: Option<&Bound<'_, PyAny>>,
        r#where: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<u64> {
        self.set(py, ids, data, r#where)
    }

    /// Removes the rows of `ids`, or with `where` those that the filter finds, all at once. Returns how
    /// many there were.
    ///
    /// Raises `SchemaMismatch` for ids of another type, `FilterError`, `TypeError` for both or
    /// neither of ids and filter.
    ///
    /// >>> docs.delete([2, 99])
    /// 1
    /// >>> docs.delete(where="title LIKE 'n%'")
    /// 1
    #[pyo3(signature = (ids=None, *, r#where=None))]
    fn delete(
        &self,
        py: Python<'_>,
        ids: Option<&Bound<'_, PyAny>>,
        r#where: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<u64> {
        self.remove(py, ids, r#where)
    }

    /// Removes the rows of `ids` as `delete` does, and returns when their bytes are gone from the collection's directory:
    /// ids, vectors, columns and all that was made of them, in the log, in segments and in files that were to be
    /// removed later; also of rows that were deleted or replaced before. Returns how many there were.
    ///
    /// Segments that hold one of the ids are written anew, which takes as long as merging them: give many
    /// ids at once. Out of reach are backups and packed files, what readers in other processes have open, and what
    /// file system and drive keep of removed files.
    ///
    /// Raises as `delete` and `compact`; the rows may be deleted then, and not forgotten: call again. So they are
    /// after Ctrl-C, which ends it.
    ///
    /// >>> docs.forget([2, 99])
    /// 1
    fn forget(&self, ids: &Bound<'_, PyAny>) -> PyResult<u64> {
        self.erase(ids)
    }

    /// The rows that exist among `ids`, in the order asked for, with the columns of `select` (all
    /// if it is left out) and, with `vectors`, the vectors.
    ///
    /// Raises `NotFound` for an unknown column, `SchemaMismatch` for ids of another type.
    ///
    /// >>> docs.get([1, 2], select=["title"]).to_dicts()
    /// [{'id': 1, 'title': 'near'}, {'id': 2, 'title': 'far'}]
    /// >>> docs.get(2, vectors=True).vectors.tolist()
    /// [[3.0, 4.0]]
    #[pyo3(signature = (ids, select=None, vectors=false))]
    fn get(
        &self,
        py: Python<'_>,
        ids: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = names)] select: Option<Vec<String>>,
        #[pyo3(from_py_with = vectors_flag)] vectors: bool,
    ) -> PyResult<Records> {
        let ids = IdsArg::from_python(ids)?;
        let ids = ids.ids()?;
        let fields = fields(select, vectors);
        let (schema, records) =
            call(py, || Ok((self.inner.schema()?, self.inner.get(ids, &fields)?)))?;
        let id_type = kind(records.ids.first(), &schema);
        Ok(Records::new(records, id_type, self.shape.width))
    }

    /// Whether there is a row of this id; also `id in docs`.
    ///
    /// Raises `SchemaMismatch` for an id of another type.
    ///
    /// >>> docs.contains(1), 99 in docs
    /// (True, False)
    fn contains(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<bool> {
        let id = id_from_python(id)?;
        call(py, || self.inner.contains(id))
    }

    fn __contains__(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<bool> {
        let id = id_from_python(id)?;
        call(py, || has(self.inner.contains(id)))
    }

    /// How many rows there are, or with `where` how many the filter finds; also `len(docs)`.
    ///
    /// Raises `FilterError` for a filter that does not fit the columns.
    ///
    /// >>> docs.count(), len(docs), docs.count(where="id > 1")
    /// (2, 2, 1)
    #[pyo3(signature = (*, r#where=None))]
    fn count(&self, py: Python<'_>, r#where: Option<&Bound<'_, PyAny>>) -> PyResult<u64> {
        let filter = filter_arg(r#where)?;
        call(py, || match filter {
            Some(filter) => self.inner.count(filter),
            None => Ok(self.inner.len()? as u64),
        })
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        call(py, || self.inner.len())
    }

    /// The `k` rows nearest to the vector `q`, or to a text that is embedded first (`text`, in a
    /// collection opened with `embed=`); fewer if there are fewer.
    ///
    /// `recall` is the share of the true `k` nearest rows that is to be found, on average over queries like
    /// the rows: above 0, at most 1, which compares with every row as `exact` does. Or `ef` is how many
    /// candidates a graph search keeps: more find more of the true neighbours and take longer; 100 if
    /// neither is given. `max_distance` leaves out what is farther.
    /// `select` names the columns to read (all if it is left out, none for `[]`), and `vectors`
    /// reads the vectors too.
    ///
    /// `where` leaves only rows that a filter finds: the text of an SQL WHERE clause, a dict
    /// (`{"year": {"$gte": 2019}}`) or an expression (`nf.col("year") >= 2019`); see `Filter`. If `k` rows
    /// match, `k` rows come back. Raises `FilterError` for a filter that does not fit the columns.
    ///
    /// `offset` passes over so many hits, to read page by page: of one snapshot, and with the same
    /// arguments beside `k`, pages tile one list however approximate the search is. Give the first page
    /// `offset=0`. `min_distance` leaves out what is nearer.
    ///
    /// `group_by` names a column (bool, int64, timestamp or utf8) and returns the best `per_group` hits of
    /// each of its values, those of a value together: `k` counts the values then, and if there are `k`,
    /// `k` come back. Rows without a value are one group.
    ///
    /// `mmr` picks hits that are unlike each other too (maximal marginal relevance): from 1, nearness
    /// alone, to 0, unlikeness alone. They are picked from the nearest `mmr_candidates`, 4 × `k` within 20 and
    /// 4,096 unless given, and come in the order in which they are picked.
    ///
    /// `window` reads around each hit the rows of the same document whose positions are at most so far from its own,
    /// `Hit.window`: `document` names the column that says which document a row is of (that of `group_by` unless
    /// given), `position` the int64 column that numbers the rows of each. They have the columns of `select` (all
    /// for `[]`), and are there whether `where` finds them or not.
    ///
    /// `words` finds rows by the words in their columns of text (see `add_text_index`): alone, or beside a
    /// vector or `text`, where both make one order. It is a query: `rust mmap` finds either word, and
    /// `+must`, `-never`, `a AND (b OR c)`, `NOT a`, `"one phrase"`, `begin*`, `mispeled~1` and
    /// `title:word` are what they look like; with `plain` no sign has a meaning. `words_in` names
    /// the columns to search, or gives weights (`{"title": 2, "body": 1}`). Scores are BM25; without
    /// a vector the distance of a hit is the negated score. `highlight` reads the pieces of the
    /// texts in which the words stand, of 160 characters or as many as it says: `Hit.highlights`.
    ///
    /// `sparse` searches columns of sparse vectors as well, beside a vector or words:
    /// `{"splade": {3: 1.0, 9: 0.5}}` (`search_sparse` searches by one alone).
    ///
    /// The vector, the words and each sparse vector give `candidates` rows (100, at least `k`). `fusion` makes
    /// one order of them: "rrf" sums 1 / (`rrf_k` + rank), with 60, "weighted" `alpha` · v + (1 − `alpha`) · w of
    /// scores that are made comparable by `normalize`, "minmax" or "zscore". `alpha` alone says
    /// "weighted", nothing at all "rrf". What was fused, or reranked, is the score of a hit; its
    /// distance is that of the vectors. Of more than two lists those behind the first share 1 − `alpha`.
    ///
    /// `rerank` is a function that is given the best `rerank_candidates` (50, at least `k`) as `Hits`, with the
    /// columns of `select`, and returns a score for each, bigger being better: a cross-encoder, say.
    /// What it raises is raised here. Pages and groups are of what was fused and reranked. Pages reach no
    /// farther than the candidates. For groups more rows are looked at, as many as `k` groups need and at
    /// most 16,384, unless `candidates` says how many; a function that ranks is given the nearest of each
    /// further group too.
    ///
    /// Also raises `DimensionMismatch`, `InvalidVector` (NaN, infinity), `NotFound` for an unknown column,
    /// and `InvalidArgument` for words that cannot be read, pointing at the place.
    ///
    /// >>> _ = docs.add_text_index("title")
    /// >>> docs.search([1, 1], words="far OR away", alpha=0.2, highlight=True)[0].highlights()
    /// {'title': '**far**'}
    /// >>> docs.search(words="near", rerank=lambda hits: [len(hit["title"]) for hit in hits]).scores.tolist()
    /// [4.0]
    /// >>> [hit.id for hit in docs.search([1, 1], k=1, offset=1)]
    /// [2]
    /// >>> docs.search([1, 1], group_by="title", per_group=2, mmr=0.5).ids.tolist()
    /// [1, 2]
    /// >>> docs.search([1, 1], k=1, where="title = 'far' OR title IS NULL")[0].id
    /// 2
    /// >>> docs.search([1, 1], k=1)
    /// Hits([
    ///   Hit(id=1, distance=2, score=-2, title='near'),
    /// ])
    #[pyo3(signature = (q=None, k=10, *, text=None, **asked))]
    #[pyo3(text_signature = "($self, q=None, k=10, *, text=None, ef=None, recall=None, \
        exact=False, max_distance=None, select=None, vectors=False, where=None, offset=None, \
        min_distance=None, group_by=None, per_group=1, mmr=None, mmr_candidates=None, window=None, document=None, position='position', \
        words=None, plain=False, words_in=None, highlight=None, fusion=None, rrf_k=None, \
        alpha=None, normalize=None, candidates=None, rerank=None, rerank_candidates=None, \
        sparse=None)")]
    fn search(
        &self,
        py: Python<'_>,
        q: Option<&Bound<'_, PyAny>>,
        #[pyo3(from_py_with = k_count)] k: usize,
        #[pyo3(from_py_with = text_string)] text: Option<String>,
        asked: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Hits> {
        let request = Request::read("Collection.search", k, asked, None)?;
        let query = self.query(py, q, text.as_deref(), &request)?;
        reading::search(py, self.source(), query.as_ref(), self.shape, request)
    }

    /// Searches as `search` does and says how: the plan of each part of the collection, how much was
    /// compared and read, and times. The parts are those of each list: by vector, by words and by sparse
    /// vectors.
    ///
    /// Raises as `search`.
    ///
    /// >>> docs.explain([1, 1], k=1).parts[0]["plan"]
    /// 'scan'
    #[pyo3(signature = (q=None, k=10, *, text=None, **asked))]
    #[pyo3(text_signature = "($self, q=None, k=10, *, text=None, ef=None, recall=None, \
        exact=False, max_distance=None, select=None, vectors=False, where=None, offset=None, \
        min_distance=None, group_by=None, per_group=1, mmr=None, mmr_candidates=None, window=None, document=None, position='position', \
        words=None, plain=False, words_in=None, highlight=None, fusion=None, rrf_k=None, \
        alpha=None, normalize=None, candidates=None, rerank=None, rerank_candidates=None, \
        sparse=None)")]
    fn explain(
        &self,
        py: Python<'_>,
        q: Option<&Bound<'_, PyAny>>,
        #[pyo3(from_py_with = k_count)] k: usize,
        #[pyo3(from_py_with = text_string)] text: Option<String>,
        asked: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Explanation> {
        let request = Request::read("Collection.explain", k, asked, None)?;
        let query = self.query(py, q, text.as_deref(), &request)?;
        reading::explain(py, self.source(), query.as_ref(), self.shape, request)
    }

    /// Many searches at once, on all threads of the database: `queries` has shape (n, dim), or there
    /// are `texts`, embedded first (in a collection opened with `embed=`). What comes back unpacks into
    /// an array of ids and one of distances, see `BatchHits`. Arguments are as for `search`, but no
    /// columns are read unless `select` says so (`None` means all).
    ///
    /// `words` is a list then, with those of each query, alone or beside vectors or `texts`; so are the
    /// sparse vectors of each column in `sparse`. Everything else is said once for all queries. `rerank` is
    /// called once for each, by several threads at a time.
    ///
    /// Raises as `search`, naming the row, and `InvalidArgument` for lists of different lengths.
    ///
    /// >>> ids, distances = docs.search_batch([[0, 0], [3, 4]], k=1)
    /// >>> ids.tolist(), distances.tolist()
    /// ([[1], [2]], [[0.0], [0.0]])
    /// >>> _ = docs.add_text_index("title")
    /// >>> docs.search_batch([[0, 0], [3, 4]], words=["far", "far"], alpha=0.2, k=1).ids.tolist()
    /// [[2], [2]]
    #[pyo3(signature = (queries=None, k=10, *, texts=None, **asked))]
    #[pyo3(text_signature = "($self, queries=None, k=10, *, texts=None, ef=None, recall=None, \
        exact=False, max_distance=None, select=(), vectors=False, where=None, offset=None, \
        min_distance=None, group_by=None, per_group=1, mmr=None, mmr_candidates=None, window=None, document=None, position='position', \
        words=None, plain=False, words_in=None, highlight=None, fusion=None, rrf_k=None, \
        alpha=None, normalize=None, candidates=None, rerank=None, rerank_candidates=None, \
        sparse=None)")]
    fn search_batch(
        &self,
        py: Python<'_>,
        queries: Option<&Bound<'_, PyAny>>,
        #[pyo3(from_py_with = k_count)] k: usize,
        texts: Option<&Bound<'_, PyAny>>,
        asked: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<BatchHits> {
        let embedder = || self.inner.embedder();
        let request = Request::read("Collection.search_batch", k, asked, Some(Vec::new()))?;
        let queries = texts::queries(py, embedder, queries, texts, self.shape, &request)?;
        reading::search_batch(py, self.source(), queries.as_ref(), self.shape, request)
    }

    /// The `k` rows whose sparse vectors in `column` have the largest inner product with `query`: a dict of
    /// indices and weights, a pair of lists or arrays of both, or an object with `indices` and `values` or
    /// `data`. The product is the score, its negation the distance; hits are exact. Found are rows that have
    /// an index in common with the query, so that fewer than `k` may be. Other arguments are as for `search`.
    ///
    /// A column of sparse vectors (type "sparse") is written in the same forms, one for each row, or as a
    /// matrix of SciPy in compressed rows.
    ///
    /// >>> docs.upsert([7, 8], [[0, 0], [1, 1]], {"words": [{3: 0.5, 9: 1.0}, ([9], [2.0])]})
    /// 2
    /// >>> hits = docs.search_sparse("words", {3: 1.0, 9: 1.0}, k=2)
    /// >>> hits.ids.tolist(), hits.scores.tolist(), hits[0]["words"]
    /// ([8, 7], [2.0, 1.5], {9: 2.0})
    #[pyo3(signature = (column, query, k=10, **asked))]
    #[pyo3(text_signature = "($self, column, query, k=10, *, max_distance=None, select=None, \
        vectors=False, where=None, offset=None, min_distance=None, group_by=None, per_group=1, \
        mmr=None, mmr_candidates=None, window=None, document=None, position='position', words=None, plain=False, words_in=None, highlight=None, \
        fusion=None, rrf_k=None, alpha=None, normalize=None, candidates=None, rerank=None, \
        rerank_candidates=None, sparse=None)")]
    fn search_sparse(
        &self,
        #[pyo3(from_py_with = column_string)] column: String,
        query: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = k_count)] k: usize,
        asked: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Hits> {
        let request = Request::read("Collection.search_sparse", k, asked, None)?;
        reading::search_sparse(self.source(), &column, query, self.shape.width, request)
    }

    /// Many searches at once as `search_sparse` does them, on all threads of the database: `queries` is a list
    /// of sparse vectors, or a matrix of SciPy in compressed rows. What comes back is as of `search_batch`.
    ///
    /// Raises as `search_sparse`, naming the query.
    ///
    /// >>> docs.upsert([7, 8], [[0, 0], [1, 1]], {"words": [{3: 0.5, 9: 1.0}, {9: 2.0}]})
    /// 2
    /// >>> found = docs.search_sparse_batch("words", [{3: 1.0}, {9: 1.0}], k=2)
    /// >>> found.ids.tolist(), found.scores.tolist()
    /// ([[7, -1], [8, 7]], [[0.5, -inf], [2.0, 1.0]])
    #[pyo3(signature = (column, queries, k=10, **asked))]
    #[pyo3(text_signature = "($self, column, queries, k=10, *, max_distance=None, select=(), \
        vectors=False, where=None, offset=None, min_distance=None, group_by=None, per_group=1, \
        mmr=None, mmr_candidates=None, window=None, document=None, position='position', words=None, plain=False, words_in=None, highlight=None, \
        fusion=None, rrf_k=None, alpha=None, normalize=None, candidates=None, rerank=None, \
        rerank_candidates=None, sparse=None)")]
    fn search_sparse_batch(
        &self,
        #[pyo3(from_py_with = column_string)] column: String,
        queries: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = k_count)] k: usize,
        asked: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<BatchHits> {
        let none = Some(Vec::new());
        let request = Request::read("Collection.search_sparse_batch", k, asked, none)?;
        reading::search_sparse_batch(self.source(), &column, queries, self.shape.width, request)
    }

    /// Searches as `search_sparse` does and says how; see `explain`.
    ///
    /// Raises as `search_sparse`.
    ///
    /// >>> docs.upsert([7, 8], [[0, 0], [1, 1]], {"words": [{3: 0.5, 9: 1.0}, {9: 2.0}]})
    /// 2
    /// >>> explained = docs.explain_sparse("words", {9: 1.0}, k=1)
    /// >>> explained.hits.ids.tolist(), sum(part["rows"] for part in explained.parts)
    /// ([8], 4)
    #[pyo3(signature = (column, query, k=10, **asked))]
    #[pyo3(text_signature = "($self, column, query, k=10, *, max_distance=None, select=None, \
        vectors=False, where=None, offset=None, min_distance=None, group_by=None, per_group=1, \
        mmr=None, mmr_candidates=None, window=None, document=None, position='position', words=None, plain=False, words_in=None, highlight=None, \
        fusion=None, rrf_k=None, alpha=None, normalize=None, candidates=None, rerank=None, \
        rerank_candidates=None, sparse=None)")]
    fn explain_sparse(
        &self,
        #[pyo3(from_py_with = column_string)] column: String,
        query: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = k_count)] k: usize,
        asked: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Explanation> {
        let request = Request::read("Collection.explain_sparse", k, asked, None)?;
        reading::explain_sparse(self.source(), &column, query, self.shape.width, request)
    }

    /// Measures recall: which share of the true `k` nearest rows searches find, beside comparing every row. It
    /// searches for `queries`, or, if they are left out, for a `sample` of its own rows, each as if the
    /// collection did not have it. `ef`, `recall` and `where` are as for `search`. Returns a dict: "recall", the
    /// mean over "queries" searches; "low" and "high", between which the mean over all such queries lies for
    /// 95 of a hundred samples; "percentile_5", the recall that one query in twenty falls short of; "k".
    ///
    /// Queries that are unlike the rows are harder to answer: measure with those that you have.
    ///
    /// Raises as `search`, and `InvalidArgument` when there is nothing to search for or to find.
    ///
    /// >>> docs.measure_recall(k=1, recall=0.95)["recall"]
    /// 1.0
    #[pyo3(signature = (queries=None, k=10, **asked))]
    #[pyo3(text_signature = "($self, queries=None, k=10, *, sample=200, ef=None, recall=None, \
        where=None)")]
    fn measure_recall<'py>(
        &self,
        py: Python<'py>,
        queries: Option<&Bound<'_, PyAny>>,
        #[pyo3(from_py_with = k_count)] k: usize,
        asked: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        as_dict(py, to_string(&self.measured(py, queries, k, asked)?))
    }

    /// Learns from `queries` (50 at least, as users ask them) how far searches must go for the `recall` that is
    /// asked for, where queries are unlike the rows: questions, say, or texts that look for images. What it
    /// learns is durable, takes the place of what it learned before, and stays when segments are merged. It
    /// compares every row with every query. Returns a dict of the number of "queries" and "points", a dict for each
    /// recall that was tried: "asked", "factor" (how many times less may be missed of rows for it) and "found".
    /// `None` forgets what was learned, and returns None.
    ///
    /// Raises `InvalidArgument` for too few queries, `DimensionMismatch`, `InvalidVector` and what writes do.
    ///
    /// >>> docs.calibrate(None)
    fn calibrate<'py>(&self, queries: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.learned(queries)
    }

    /// The rows there are now, to be read as often as wanted while writers go on; see `Snapshot`.
    ///
    /// Raises `Closed` and `Forked`.
    ///
    /// >>> len(docs.snapshot())
    /// 2
    fn snapshot(&self, py: Python<'_>) -> PyResult<Snapshot> {
        let (inner, schema) = call(py, || Ok((self.inner.snapshot()?, self.inner.schema()?)))?;
        let embedder = self.inner.embedder().cloned().map_err(|none| none.to_string());
        Ok(Snapshot::new(inner, schema, embedder))
    }

    /// Has the texts of a column indexed for search by words, or indexed anew: in a language ("english",
    /// "de", …; `None` for words as they are), or as a dict of language, stop_words, stem, k1 and b
    /// says. Returns whether that is a change. Rows that are there are indexed when a search first
    /// wants it.
    ///
    /// Raises `NotFound` for an unknown column, `InvalidArgument` for one that is not text and for an
    /// unknown language.
    ///
    /// >>> docs.add_text_index("title", "german")
    /// True
    /// >>> docs.search(words="near OR fern")[0].id
    /// 1
    #[pyo3(signature = (column, options=TextOptions::new()))]
    #[pyo3(text_signature = "($self, column, options='english')")]
    fn add_text_index(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = column_string)] column: String,
        #[pyo3(from_py_with = text_options)] options: TextOptions,
    ) -> PyResult<bool> {
        call(py, || self.inner.add_text_index(&column, options))
    }

    /// Adds columns, null in every row there is, from a dict of names and types, and columns of `text` to be
    /// searched by words, both as `Database.collection` takes them. Those that exist with the same type
    /// are passed over, but indexed as `text` says. Returns how many were added.
    ///
    /// Raises `SchemaMismatch` for a column that exists with another type, `InvalidArgument`
    /// for a name that no column can have.
    ///
    /// >>> docs.add_columns({"year": int, "title": "utf8"}, text={"summary": "german"})
    /// 2
    #[pyo3(signature = (columns=None, *, text=None))]
    fn add_columns(
        &self,
        py: Python<'_>,
        columns: Option<&Bound<'_, PyAny>>,
        text: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<u64> {
        if columns.is_none() && text.is_none() {
            return Err(PyTypeError::new_err("add_columns() needs columns, or text, or both"));
        }
        let shape = schema::Shape::from_python(None, None, (None, None), text, columns, None)?;
        call(py, || shape.widen(&self.inner))
    }

    /// Writes all rows to the file `path`: ids, vectors and the columns of `select` (all if it is left
    /// out). `format` is "parquet", "arrow", "arrow_stream" or "jsonl", left out what the extension says.
    /// All but JSON lines say the metric, dtype and dimension too, and an import makes its collection so.
    /// `where` is as for `search`, `progress` as for `upsert`. Returns how many rows were written.
    ///
    /// Raises `InvalidArgument` for an unknown format or extension, `NotFound` for an unknown
    /// column, `FilterError`, `IoError`; nothing is left at `path` then.
    ///
    /// >>> docs.export_file(tmp / "docs.parquet")
    /// 2
    #[pyo3(signature = (path, *, format=None, select=None, progress=None, r#where=None))]
    fn export_file(
        &self,
        py: Python<'_>,
        path: PathBuf,
        format: Option<&Bound<'_, PyAny>>,
        #[pyo3(from_py_with = names)] select: Option<Vec<String>>,
        progress: Option<&Bound<'_, PyAny>>,
        r#where: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<u64> {
        files::export(py, &self.inner, path, format, select, filter_arg(r#where)?, progress)
    }

    /// Walks through all rows in ascending order of id: an iterator of `Records` of at most
    /// `batch_size` rows (1 to 65,536) each, behind the id `after`, `limit` rows in all, those that
    /// `where` finds (as for `search`). Rows written meanwhile do not appear.
    ///
    /// Raises `NotFound` for an unknown column, `SchemaMismatch` for an id of another type,
    /// `FilterError`.
    ///
    /// >>> for records in docs.scan(batch_size=1000, select=["title"]):
    /// ...     print(records.to_dicts())
    /// [{'id': 1, 'title': 'near'}, {'id': 2, 'title': 'far'}]
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
        let (schema, scan) = call(py, || Ok((self.inner.schema()?, self.inner.scan(options)?)))?;
        Ok(Scan::new(scan, kind(None, &schema), self.shape.width))
    }

    /// Makes everything written so far durable and visible to readers in other processes.
    ///
    /// Raises `Full`, `IoError`, `Poisoned`, `ReadOnly`.
    ///
    /// >>> docs.flush()
    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        call(py, || self.inner.flush())
    }

    /// Merges all segments, drops dead rows, builds graphs and gives the space back, while reads
    /// and writes go on; Ctrl-C ends it. Returns a dict of what was done.
    ///
    /// Raises as `flush`, and `Corrupt`; the collection stays as it was.
    ///
    /// >>> docs.compact()["rows"]
    /// 2
    fn compact<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let what = || format!("compacting {:?}", self.inner.name());
        let report =
            log::timed(py, what, || long(py, None, |task| self.inner.compact_until(&task.cancel)))?;
        as_dict(py, to_string(&report))
    }

    /// Reads every byte of every file and checks it; Ctrl-C ends it. Returns a dict; its "problems" are
    /// empty when everything is whole. `progress` is as for `upsert`; it counts bytes.
    ///
    /// Raises `Closed`, `Forked`, `IoError`; what is damaged is told in the dict.
    ///
    /// >>> docs.verify()["problems"]
    /// []
    #[pyo3(signature = (*, progress=None))]
    fn verify<'py>(
        &self,
        py: Python<'py>,
        progress: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        as_dict(py, to_string(&self.verified(py, progress)?))
    }

    /// Numbers about the collection, as a dict: rows, dead rows, bytes, segments, "debt_rows" that merges in
    /// the background have yet to take by the settings of this handle (`None` in a reader), "writes" since opening
    /// and "searches": their "count" and, in nanoseconds, "p50_ns", "p95_ns", "p99_ns", "max_ns" and a
    /// "histogram".
    ///
    /// Raises `Closed` and `Forked`.
    ///
    /// >>> docs.stats()["rows"]
    /// 2
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let stats = call(py, || self.inner.stats())?;
        as_dict(py, to_string(&stats))
    }

    /// In a reader (`mode="r"`): moves to the newest state that the writer has made durable.
    /// Returns whether anything changed; always False in a writer, which is never behind.
    ///
    /// Raises `Closed` when the collection was dropped, `Corrupt`, `IoError`.
    ///
    /// >>> docs.refresh()
    /// False
    fn refresh(&self, py: Python<'_>) -> PyResult<bool> {
        call(py, || self.inner.refresh())
    }

    /// Makes what was written durable and closes the collection; `db["name"]` opens it again.
    ///
    /// Raises what the last write fails with; the collection is closed all the same.
    ///
    /// >>> docs.close()
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        call(py, || self.inner.close())
    }

    /// A pickled handle opens the database again, for reading, and without its embedder.
    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let reduce = py.import("nearfield._pickles")?.getattr("reduce_collection")?;
        let (path, offset) = self.database.get().home();
        reduce.call1((path, self.inner.name(), offset))
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        schema::describe(py, self.inner.name(), self.held(py))
    }

    fn _repr_html_(&self, py: Python<'_>) -> String {
        schema::html(py, self.inner.name(), self.held(py))
    }
}
