//! The bare index: arrays in, arrays out.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use nearfield::{Error, IndexOptions, Neighbour, Neighbours, Vectors};
use numpy::PyArray1;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::batch_hits::PADDED;
use crate::errors::{call, invalid, raise};
use crate::ids::IdsArg;
use crate::interrupt::long;
use crate::numbers::{at_least, count, dimension};
use crate::request::{distance, ef_count, exact_flag, k_count};
use crate::schema::{METRICS, named, vector_type};
use crate::settings;
use crate::vectors::{Shape, VectorsArg};

type Pair<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>);

/// Vectors in memory and the nearest of them, without a database: for those who keep their rows
/// elsewhere. Each vector has a number for an id. May be used from any thread; searches of several
/// threads run beside each other.
///
/// `metric` is "l2" (squared Euclidean distance), "cosine" or "dot", for bits "hamming" or "jaccard";
/// `dtype` is what vectors are stored in: "f32", "f16", "bf16", "i8", "u8", "b1". `m` is how many
/// links a node of the graph has, 2 to 64, and `ef_construction` how many candidates a build keeps:
/// more of either find more of the true neighbours and build slower. `ef` (100) is how many a search
/// keeps unless it says otherwise. `threads` is for builds and batch searches, 0 for one a core.
/// `code` says what leads searches to candidates, see `nearfield.open`.
///
/// Vectors are read as those of a `Collection`. What is in memory is gone with the process unless
/// it was saved. Pickling saves it inside the pickle.
///
/// >>> import nearfield as nf
/// >>> index = nf.Index(2, "l2")
/// >>> index.add([[0, 0], [3, 4], [9, 9]])
/// 3
/// >>> ids, distances = index.search([2, 3], k=2)
/// >>> ids.tolist(), distances.tolist()
/// ([1, 0], [2.0, 13.0])
#[pyclass(frozen, module = "nearfield")]
pub(crate) struct Index {
    inner: nearfield::Index,
    shape: Shape,
    ef: AtomicUsize,
}

impl Index {
    fn new(inner: nearfield::Index) -> Self {
        let shape = Shape::new(inner.dimension(), inner.vector_type());
        let ef = inner.options().ef_search.into();
        Self { inner, shape, ef }
    }

    fn query<'a>(&'a self, vectors: Vectors<'a>, asked: &Asked) -> nearfield::IndexQuery<'a> {
        let ef = asked.ef.unwrap_or_else(|| self.ef.load(Relaxed));
        let query = self.inner.search(vectors).k(asked.k).ef(ef).exact(asked.exact);
        query.max_distance(asked.max_distance.unwrap_or(f32::INFINITY))
    }
}

/// Everything asked for beside the vectors.
struct Asked {
    k: usize,
    ef: Option<usize>,
    exact: bool,
    max_distance: Option<f32>,
}

#[pymethods]
impl Index {
    #[new]
    #[pyo3(signature = (
        dim, metric=None, dtype=None, m=16, ef_construction=200, *, ef=100, threads=0, code=None
    ))]
    #[pyo3(text_signature = "(dim, metric='cosine', dtype='f32', m=16, ef_construction=200, *, \
                             ef=100, threads=0, code='auto')")]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of Python")]
    fn from_python(
        py: Python<'_>,
        dim: &Bound<'_, PyAny>,
        metric: Option<&Bound<'_, PyAny>>,
        dtype: Option<&Bound<'_, PyAny>>,
        #[pyo3(from_py_with = m_count)] m: usize,
        #[pyo3(from_py_with = ef_construction_count)] ef_construction: usize,
        #[pyo3(from_py_with = some_ef)] ef: usize,
        #[pyo3(from_py_with = threads_count)] threads: usize,
        code: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let dimension = dimension(dim)?;
        let mut options = IndexOptions::new().m(m).ef_construction(ef_construction);
        options = options.ef_search(ef).threads(threads);
        if let Some(dtype) = dtype {
            options = options.vector_type(vector_type(dtype)?);
        }
        if let Some(code) = code {
            options = options.code(settings::code(code)?);
        }
        let metric = match metric {
            Some(metric) => named("metric", &METRICS, metric)?,
            None => nearfield::Metric::Cosine,
        };
        call(py, || options.create(dimension, metric)).map(Self::new)
    }

    /// Reads a file of `save` into memory and checks all of it. `ef` and `threads` are as for a new
    /// index.
    ///
    /// Raises `Corrupt`, `Incompatible` and `IoError`.
    ///
    /// >>> index = nf.Index(2)
    /// >>> index.save(tmp / "two.nfi")
    /// >>> len(nf.Index.load(tmp / "two.nfi", threads=1))
    /// 0
    #[staticmethod]
    #[pyo3(signature = (path, *, ef=100, threads=0))]
    fn load(
        py: Python<'_>,
        path: PathBuf,
        #[pyo3(from_py_with = some_ef)] ef: usize,
        #[pyo3(from_py_with = threads_count)] threads: usize,
    ) -> PyResult<Self> {
        let options = IndexOptions::new().ef_search(ef).threads(threads);
        refuse_directory(py, &path)?;
        call(py, || options.load(path)).map(Self::new)
    }

    /// Maps a file of `save`: ready at once whatever its size, shared between processes, and not to
    /// be changed. The file must stay as it is meanwhile; `save` replaces files as a whole, which is
    /// safe.
    ///
    /// Raises `Corrupt`, `Incompatible` and `IoError`; damage that is met later makes searches
    /// raise `Corrupt`.
    ///
    /// >>> index = nf.Index(1, "l2")
    /// >>> index.add([[1], [2]])
    /// 2
    /// >>> index.save(tmp / "one.nfi")
    /// >>> nf.Index.view(tmp / "one.nfi").search([3], k=1)[0].tolist()
    /// [1]
    #[staticmethod]
    #[pyo3(signature = (path, *, ef=100, threads=0))]
    fn view(
        py: Python<'_>,
        path: PathBuf,
        #[pyo3(from_py_with = some_ef)] ef: usize,
        #[pyo3(from_py_with = threads_count)] threads: usize,
    ) -> PyResult<Self> {
        let options = IndexOptions::new().ef_search(ef).threads(threads);
        refuse_directory(py, &path)?;
        call(py, || options.view(path)).map(Self::new)
    }

    /// Dimensions of a vector.
    ///
    /// >>> nf.Index(3).dim
    /// 3
    #[getter]
    fn dim(&self) -> usize {
        self.inner.dimension()
    }

    /// How vectors are compared.
    ///
    /// >>> nf.Index(3).metric
    /// 'cosine'
    #[getter]
    fn metric(&self) -> String {
        self.inner.metric().to_string()
    }

    /// What vectors are stored in.
    ///
    /// >>> nf.Index(3, dtype="i8").dtype
    /// 'i8'
    #[getter]
    fn dtype(&self) -> String {
        self.inner.vector_type().to_string()
    }

    /// How many candidates a search keeps unless it says otherwise; may be set.
    ///
    /// >>> index = nf.Index(3)
    /// >>> index.ef = 30
    /// >>> index.ef
    /// 30
    #[getter]
    fn ef(&self) -> usize {
        self.ef.load(Relaxed)
    }

    #[setter]
    fn set_ef(&self, #[pyo3(from_py_with = some_ef)] ef: usize) {
        self.ef.store(ef, Relaxed);
    }

    /// Rows that the graph does not hold yet, which searches compare one by one.
    ///
    /// >>> index = nf.Index(1)
    /// >>> index.add([[1], [2]]), index.unbuilt
    /// (2, 2)
    #[getter]
    fn unbuilt(&self, py: Python<'_>) -> PyResult<usize> {
        call(py, || self.inner.unbuilt())
    }

    /// Adds `vectors` of shape (rows, dim), each under one of the integers of `ids`, or numbered on
    /// from the largest there has been. Returns how many were added. Raises `DuplicateId` when an id is
    /// there already, and adds nothing then.
    ///
    /// Also raises `DimensionMismatch`, `InvalidVector` (NaN, infinity, out of range),
    /// `ReadOnly` for a `view`.
    ///
    /// >>> index = nf.Index(2)
    /// >>> index.add([[1, 0]]), index.add([[0, 1], [1, 1]], [70, 80])
    /// (1, 2)
    #[pyo3(signature = (vectors, ids=None))]
    fn add(
        &self,
        py: Python<'_>,
        vectors: &Bound<'_, PyAny>,
        ids: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<u64> {
        let rows = VectorsArg::from_python(vectors, self.shape)?;
        let Some(ids) = ids else {
            let vectors = rows.vectors()?;
            return call(py, || self.inner.add(None, vectors));
        };
        let ids = IdsArg::integers(ids)?;
        if ids.len() != rows.rows {
            let (given, rows) = (ids.len(), rows.rows);
            let message = format!("{given} ids for {rows} vectors; give one for each");
            return Err(invalid(py, message));
        }
        let (ids, vectors) = (numbers(&ids)?, rows.vectors()?);
        call(py, || self.inner.add(Some(&ids), vectors))
    }

    /// Removes the vectors of `ids`. Returns how many there were.
    ///
    /// Raises `ReadOnly` for a `view`, `TypeError` for ids that are strings.
    ///
    /// >>> index = nf.Index(1)
    /// >>> index.add([[1], [2]]), index.remove([1, 99]), 1 in index, len(index)
    /// (2, 1, False, 1)
    fn remove(&self, py: Python<'_>, ids: &Bound<'_, PyAny>) -> PyResult<u64> {
        let ids = IdsArg::integers(ids)?;
        let ids = numbers(&ids)?;
        call(py, || self.inner.remove(&ids))
    }

    /// Brings all vectors into the graph, on all threads; Ctrl-C ends it. The first search of many
    /// new vectors does it by itself.
    ///
    /// Raises `Forked` in a child of a fork, and `KeyboardInterrupt`; the index stays usable
    /// then.
    ///
    /// >>> index = nf.Index(1)
    /// >>> index.add([[1], [2]])
    /// 2
    /// >>> index.build()
    /// >>> index.unbuilt
    /// 0
    fn build(&self, py: Python<'_>) -> PyResult<()> {
        long(py, None, |task| self.inner.build_while(|| !task.cancel.load(Relaxed)))
    }

    /// Writes the index to the file `path`, whole and durable, in place of what is there.
    ///
    /// Raises `Full` and `IoError`; what was at `path` is still there then.
    ///
    /// >>> nf.Index(3).save(tmp / "empty.nfi")
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        self.build(py)?;
        call(py, || self.inner.save(path))
    }

    /// The `k` vectors nearest to `q`: an array of ids (int64) and one of distances (float32), nearest
    /// first, shorter if there are fewer. Arguments are as for `Collection.search`.
    ///
    /// Raises `DimensionMismatch`, `InvalidVector` (NaN, infinity), and `Corrupt` for a damaged
    /// `view`.
    ///
    /// >>> index = nf.Index(1, "l2")
    /// >>> index.add([[1], [2], [4]])
    /// 3
    /// >>> index.search([3], k=5, max_distance=1)[0].tolist()
    /// [1, 2]
    #[pyo3(signature = (q, k=10, *, ef=None, exact=false, max_distance=None))]
    fn search<'py>(
        &self,
        py: Python<'py>,
        q: &Bound<'py, PyAny>,
        #[pyo3(from_py_with = k_count)] k: usize,
        #[pyo3(from_py_with = ef_count)] ef: Option<usize>,
        #[pyo3(from_py_with = exact_flag)] exact: bool,
        #[pyo3(from_py_with = distance)] max_distance: Option<f32>,
    ) -> PyResult<Pair<'py>> {
        let query = VectorsArg::one(q, self.shape)?;
        let (query, asked) = (query.vectors()?, Asked { k, ef, exact, max_distance });
        let searched = call(py, || {
            // A build takes so long that it must end on Ctrl-C.
            let first = !exact && self.inner.wants_build()?;
            if first { Ok(Err(query)) } else { self.query(query, &asked).run().map(Ok) }
        })?;
        let found: Vec<Neighbour> = match searched {
            Ok(found) => found,
            Err(query) => {
                self.build(py)?;
                call(py, || self.query(query, &asked).run())?
            }
        };
        let distances = PyArray1::from_iter(py, found.iter().map(|near| near.distance));
        Ok((id_array(py, found.iter().map(|near| near.id))?, distances.into_any()))
    }

    /// Many searches at once, on all threads of the index: an array of ids and one of distances, both of
    /// shape (queries, k). Where a query has fewer than k, the id is -1 and the distance infinite. With
    /// k above 1,024 and above the number of vectors, the arrays are as wide as that. Ctrl-C ends it.
    ///
    /// Raises as `search`, naming the row.
    ///
    /// >>> index = nf.Index(1, "l2")
    /// >>> index.add([[1], [2]])
    /// 2
    /// >>> ids, distances = index.search_batch([[0], [3]], k=3)
    /// >>> ids.tolist(), distances.tolist()
    /// ([[0, 1, -1], [1, 0, -1]], [[1.0, 4.0, inf], [1.0, 4.0, inf]])
    #[pyo3(signature = (queries, k=10, *, ef=None, exact=false, max_distance=None))]
    fn search_batch<'py>(
        &self,
        py: Python<'py>,
        queries: &Bound<'py, PyAny>,
        #[pyo3(from_py_with = k_count)] k: usize,
        #[pyo3(from_py_with = ef_count)] ef: Option<usize>,
        #[pyo3(from_py_with = exact_flag)] exact: bool,
        #[pyo3(from_py_with = distance)] max_distance: Option<f32>,
    ) -> PyResult<Pair<'py>> {
        let queries = VectorsArg::from_python(queries, self.shape)?;
        let (rows, vectors) = (queries.rows, queries.vectors()?);
        let asked = Asked { k, ef, exact, max_distance };
        let found = long(py, None, |task| {
            self.query(vectors, &asked).cancel(task.cancel.clone()).run_batch()
        })?;
        let width = if k <= PADDED.max(found.width) { k } else { found.width };
        let Neighbours { ids, distances, .. } = widened(found, width);
        let shaped = |array: Bound<'py, PyAny>| array.call_method1("reshape", ((rows, width),));
        let distances = PyArray1::from_vec(py, distances).into_any();
        Ok((shaped(id_array(py, ids.into_iter())?)?, shaped(distances)?))
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        call(py, || self.inner.len())
    }

    fn __contains__(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<bool> {
        let ids = IdsArg::integers(id)?;
        let ids = numbers(&ids)?;
        let [id] = ids[..] else { return Err(invalid(py, "give one id")) };
        call(py, || self.inner.contains(id))
    }

    /// The file as bytes, for pickles and copies.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let pickles = slf.py().import("nearfield._pickles")?;
        pickles.call_method1("reduce_index", (slf,))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!(
            "Index({} vectors, dim={}, metric='{}', dtype='{}')",
            self.__len__(py)?,
            self.inner.dimension(),
            self.inner.metric(),
            self.inner.vector_type()
        ))
    }
}

/// The answers with `width` places a query.
fn widened(found: Neighbours, width: usize) -> Neighbours {
    if width == found.width {
        return found;
    }
    let queries = found.counts.len();
    let mut wide = found.clone();
    wide.ids = vec![u64::MAX; queries * width];
    wide.distances = vec![f32::INFINITY; queries * width];
    for (query, count) in found.counts.iter().enumerate() {
        let (from, to) = (query * found.width, query * width);
        wide.ids[to..to + count].copy_from_slice(&found.ids[from..from + count]);
        wide.distances[to..to + count].copy_from_slice(&found.distances[from..from + count]);
    }
    wide
}

/// Ids as int64, `u64::MAX` as -1; as uint64 when another one is 2**63 or more.
fn id_array<'py>(
    py: Python<'py>,
    ids: impl ExactSizeIterator<Item = u64> + Clone,
) -> PyResult<Bound<'py, PyAny>> {
    let large = |id: u64| id > i64::MAX.cast_unsigned() && id != u64::MAX;
    if ids.clone().any(large) {
        return Ok(PyArray1::from_iter(py, ids).into_any());
    }
    Ok(PyArray1::from_iter(py, ids.map(u64::cast_signed)).into_any())
}

fn numbers<'a>(ids: &'a IdsArg<'_>) -> PyResult<std::borrow::Cow<'a, [u64]>> {
    match ids.ids()? {
        nearfield::Ids::U64(ids) => Ok(ids),
        nearfield::Ids::Utf8(ids) if ids.is_empty() => Ok(Vec::new().into()),
        nearfield::Ids::Utf8(_) => Err(PyTypeError::new_err(
            "ids: expected integers, given strings; an Index keeps numbers, a Collection strings too",
        )),
    }
}

fn m_count(value: &Bound<'_, PyAny>) -> PyResult<usize> {
    count("m", value)
}

fn ef_construction_count(value: &Bound<'_, PyAny>) -> PyResult<usize> {
    count("ef_construction", value)
}

fn some_ef(value: &Bound<'_, PyAny>) -> PyResult<usize> {
    at_least(1, "1 or more", "ef", value)
}

/// A directory is opened like a file, and then fails in words of the system.
fn refuse_directory(py: Python<'_>, path: &Path) -> PyResult<()> {
    if !path.is_dir() {
        return Ok(());
    }
    let what = "it is a directory, and an index is one file; nearfield.open opens a database";
    let source = io::Error::new(io::ErrorKind::IsADirectory, what);
    Err(raise(py, &Error::Io { action: "open", path: path.into(), source }))
}

fn threads_count(value: &Bound<'_, PyAny>) -> PyResult<usize> {
    count("threads", value)
}
