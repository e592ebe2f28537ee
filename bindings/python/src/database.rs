//! Opening a database, and its collections.

use std::path::{Path, PathBuf};

use nearfield::{Embedder, Error, Schema};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyIterator, PyList, PyTuple};

use crate::collection::Collection;
use crate::errors::{call, invalid};
use crate::files::Asked;
use crate::interrupt::{long, progress_arg};
use crate::numbers::{count, name_string};
use crate::records::as_dict;
use crate::rows::{escape, paragraph};
use crate::schema::Shape;
use crate::{log, settings, texts};

/// Opens the database in the directory `path`, creating it if it is absent.
///
/// `mode="w"` reads and writes; one process at a time may, a second one gets `Locked` at once.
/// `mode="r"` reads only, beside any number of readers and a writer, and follows the writer on
/// `Collection.refresh()`. It also opens a file that `Database.pack` has written, and one that lies in another
/// file if `offset` says at which byte it begins, a multiple of 64.
///
/// `durability` says when a write is on disk: "sync" before the call returns, "buffered" when the
/// operating system gets to it (survives the death of the process, not of the machine), "none" at
/// `flush()` and `close()`. `threads` is the number used for builds and batch searches, 0 for one
/// a core.
///
/// For tuning: `memtable_bytes` (fresh rows held in memory, 64 MiB), `memory_budget` (of imports
/// and builds, 1 GiB), `graph_bytes` (vectors, of 512 each at least, from which a segment gets a graph, 16 MiB), `m` (16; 2 to 64),
/// `ef_construction` (200), `ef_search` (100), `code` ("auto"; "full", "byte", "half", "bit", or "product:64"
/// for product codes of 64 bytes a row: what leads searches of new segments to candidates, which are
/// then compared exactly), `compaction` (in the background, True).
///
/// `serving_budget` is how many bytes of memory searches of each collection should do with: segments that are
/// written with `code="auto"` get codes by their share of it, product codes where four bits a dimension do not
/// fit. `memory="ram"` reads what searches go through (codes, graphs, norms, ids) into memory of this process when
/// a collection is opened, at most `serving_budget`; "mmap" leaves it to the system. `Collection.stats()`
/// tells "serving_bytes", "serving_problem" and "held_bytes".
///
/// Raises `Locked` naming the process that writes, `NotFound` for a reader where there is no
/// database, `ReadOnly` for a packed one that is not opened with `mode="r"`, `Incompatible` and `Corrupt` for
/// files that cannot be read, `IoError`, `InvalidArgument` for a setting out of range.
///
/// >>> import nearfield as nf
/// >>> with nf.open(tmp / "new.nf") as db:
/// ...     db.collections()
/// []
#[pyfunction]
#[pyo3(signature = (path, mode=None, *, offset=None, durability=None, threads=0, **settings))]
#[pyo3(
    text_signature = "(path, mode='w', *, offset=None, durability='sync', threads=0, memtable_bytes=67108864, \
                         memory_budget=1073741824, graph_bytes=16777216, m=16, \
                         ef_construction=200, ef_search=100, code='auto', serving_budget=None, memory='mmap', \
                         compaction=True)"
)]
pub(crate) fn open(
    py: Python<'_>,
    #[pyo3(from_py_with = any_path)] path: PathBuf,
    mode: Option<&Bound<'_, PyAny>>,
    offset: Option<&Bound<'_, PyAny>>,
    durability: Option<&Bound<'_, PyAny>>,
    #[pyo3(from_py_with = threads_count)] threads: usize,
    settings: Option<&Bound<'_, PyDict>>,
) -> PyResult<Database> {
    if path.as_os_str() == ":memory:" {
        return Err(invalid(
            py,
            "a database in memory is not supported; give a directory (of tempfile, say), or use nearfield.Index",
        ));
    }
    let options = at(settings::options(mode, durability, threads, settings)?, offset)?;
    let what = || format!("opening {}", path.display());
    log::timed(py, what, || Ok(Database { inner: call(py, || options.open(&path))? }))
}

/// Verifies the backup in the directory `source` and copies it to `target`, which must not exist.
/// Ctrl-C ends it with nothing left behind; `progress` is as for `Collection.upsert`, and counts bytes.
///
/// Raises `Corrupt` when the backup does not verify, `InvalidArgument` when `target` exists,
/// `NotFound` without a backup, `Full` and `IoError`; nothing is left at `target` then.
///
/// >>> import nearfield as nf
/// >>> db.backup(tmp / "backup.nf")
/// >>> nf.restore(tmp / "backup.nf", tmp / "restored.nf")
/// >>> with nf.open(tmp / "restored.nf") as restored:
/// ...     len(restored["docs"])
/// 2
#[pyfunction]
#[pyo3(signature = (source, target, *, progress=None))]
pub(crate) fn restore(
    py: Python<'_>,
    source: PathBuf,
    target: PathBuf,
    progress: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    let progress = progress.map(progress_arg).transpose()?.flatten();
    let what = || format!("restoring {}", source.display());
    log::timed(py, what, || {
        long(py, progress, |task| {
            task.watched("copying", |tell| {
                nearfield::Database::restore_while(&source, &target, tell)
            })
        })
    })
}

/// Turns the packed database in the file `source` back into one in the directory `target`, which must not exist,
/// so that it can be written to. `offset` says at which byte it begins in a file that holds more. Ctrl-C
/// ends it with nothing left behind; `progress` is as for `Collection.upsert`, and counts bytes.
///
/// Raises `Corrupt` when it is damaged, `InvalidArgument` when `source` is no packed database or `target`
/// exists, `NotFound`, `Full` and `IoError`; nothing is left at `target` then.
///
/// >>> import nearfield as nf
/// >>> db.pack(tmp / "docs.nfpack")
/// >>> nf.unpack(tmp / "docs.nfpack", tmp / "unpacked.nf")
/// >>> with nf.open(tmp / "unpacked.nf") as unpacked:
/// ...     unpacked["docs"].delete([1])
/// 1
#[pyfunction]
#[pyo3(signature = (source, target, *, offset=None, progress=None))]
pub(crate) fn unpack(
    py: Python<'_>,
    source: PathBuf,
    target: PathBuf,
    offset: Option<&Bound<'_, PyAny>>,
    progress: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    let progress = progress.map(progress_arg).transpose()?.flatten();
    let inside = offset.is_some();
    let options = at(nearfield::OpenOptions::new().read_only(true), offset)?;
    let what = || format!("unpacking {}", source.display());
    log::timed(py, what, || {
        long(py, progress, |task| {
            task.watched("copying", |tell| match inside {
                true => options.open(&source)?.backup_while(&target, tell),
                false => nearfield::Database::unpack_while(&source, &target, tell),
            })
        })
    })
}

/// Saves what is whole of the damaged database in the directory `source` into a new one at `target`, which
/// must not exist: every row whose vector, id and columns match their checksums, as the log leaves it.
/// `source` is only read; nobody may have it open for writing. Ctrl-C ends it with nothing left behind;
/// `progress` is as for `Collection.upsert`, and counts bytes.
///
/// Returns a dict of the "collections": for each its "name", how many "rows" were saved, and "losses". A loss is
/// a dict of "file", "section", "reason", "rows" (not saved for it), "ids" (of these, as far as they can be
/// read) and "operations" (of the log that could not be read, at least). "lost" in it are names of collections
/// of which nothing can be saved, each with the reason. `keep_doubtful=True` also keeps rows of which it is not
/// known whether they had been deleted.
///
/// Raises `NotFound` where there is no database, `InvalidArgument` when `target` exists or somebody writes to
/// `source`, `Full` and `IoError`; nothing is left at `target` then.
///
/// >>> import nearfield as nf
/// >>> db.backup(tmp / "old.nf")
/// >>> nf.repair(tmp / "old.nf", tmp / "new.nf")
/// {'collections': [{'name': 'docs', 'rows': 2, 'losses': []}], 'lost': []}
#[pyfunction]
#[pyo3(signature = (source, target, *, keep_doubtful=false, progress=None))]
pub(crate) fn repair<'py>(
    py: Python<'py>,
    source: PathBuf,
    target: PathBuf,
    keep_doubtful: bool,
    progress: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let progress = progress.map(progress_arg).transpose()?.flatten();
    let what = || format!("repairing {}", source.display());
    let report = log::timed(py, what, || {
        long(py, progress, |task| {
            task.watched("copying", |tell| {
                let options = nearfield::RepairOptions::new().keep_doubtful(keep_doubtful);
                nearfield::Database::repair(&source, &target, options.progress(tell))
            })
        })
    })?;
    as_dict(py, serde_json::to_string(&report))
}

/// A directory of named collections. Made by `nearfield.open`; a context manager that closes it.
///
/// >>> db.collections(), "docs" in db, len(db), list(db)
/// (['docs'], True, 1, ['docs'])
#[pyclass(frozen, module = "nearfield")]
pub(crate) struct Database {
    inner: nearfield::Database,
}

impl Database {
    /// Its directory or file, and where it begins in that.
    pub(crate) fn home(&self) -> (&Path, Option<u64>) {
        (self.inner.path(), self.inner.offset())
    }
}

#[pymethods]
impl Database {
    /// The directory, or the file of a packed database, as a `pathlib.Path`.
    ///
    /// >>> db.path.name
    /// 'test.nf'
    #[getter]
    fn path(&self) -> PathBuf {
        self.inner.path().to_owned()
    }

    /// Whether it was opened with `mode="r"`.
    ///
    /// >>> db.read_only
    /// False
    #[getter]
    fn read_only(&self) -> bool {
        self.inner.is_read_only()
    }

    /// Opens the collection `name`, or creates it.
    ///
    /// `dim` may be left out when it exists. `metric` is "l2" (squared Euclidean distance),
    /// "cosine" or "dot", for bits "hamming" or "jaccard"; `dtype` is "f32", "f16", "bf16", "i8",
    /// "u8", or "b1" for bits; left out, they are as stored, and cosine and f32 in a new
    /// collection, hamming and b1 in one of bits. `raw` is what is kept of f32 vectors, fixed when the collection
    /// is created: "f32"; "f16", half the bytes; or "none", rounded vectors in a quarter of the bytes, of which distances and
    /// returned vectors then are: mostly within 1 % of their lengths. `text` names columns of text to be
    /// searched by words, English ones; a dict says the language of each (`{"body": "german", "code": None}`,
    /// where `None` takes words as they are), or its options (`{"body": {"language": "en", "stem": False}}`).
    /// `columns` maps names to "bool", "int64", "float64", "utf8", "timestamp", "list_utf8" or "sparse" (or
    /// bool, int, float, str, datetime, list[str]); it need not be complete, columns of later
    /// batches are added by themselves. `id_type` is "u64" or "utf8" (or int, str), otherwise that of the first
    /// batch.
    ///
    /// `embed` makes vectors of texts: a `nearfield.Embedder`, or a function that takes a list of
    /// str and returns a vector for each (its `__name__` is then the name of the model). The first
    /// one is remembered by model and dimension; texts go to the first column of `text`, or to a
    /// new one called "text". The function itself is not stored: give it at each opening to use
    /// `add_texts` and `search(text=…)`.
    ///
    /// Raises `SchemaMismatch` when the collection exists in another shape, or remembers another
    /// model.
    ///
    /// >>> docs = db.collection("papers", dim=384, metric="cosine", text="body")
    /// >>> docs.schema["dim"], db.collection("papers").schema["metric"]
    /// (384, 'cosine')
    #[pyo3(signature = (
        name, dim=None, metric=None, *, dtype=None, raw=None, text=None, columns=None,
        id_type=None, embed=None
    ))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of Python")]
    fn collection(
        slf: &Bound<'_, Self>,
        #[pyo3(from_py_with = name_string)] name: String,
        dim: Option<&Bound<'_, PyAny>>,
        metric: Option<&Bound<'_, PyAny>>,
        dtype: Option<&Bound<'_, PyAny>>,
        raw: Option<&Bound<'_, PyAny>>,
        text: Option<&Bound<'_, PyAny>>,
        columns: Option<&Bound<'_, PyAny>>,
        id_type: Option<&Bound<'_, PyAny>>,
        embed: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Collection> {
        let embedder = embed.map(texts::embedder).transpose()?;
        let shape = Shape::from_python(dim, metric, (dtype, raw), text, columns, id_type)?;
        let db = &slf.get().inner;
        let inner = call(slf.py(), || get_or_create(db, &name, &shape, embedder.as_ref()))?;
        Collection::new(slf, inner)
    }

    /// Creates the collection `name`; raises `InvalidArgument` when there is one. Arguments are as
    /// for `collection`; `dim` may be left out with `embed`.
    ///
    /// >>> db.create("images", dim=512, metric="l2", dtype="u8")
    /// Collection('images', 0 rows, dim=512, metric='l2', dtype='u8')
    /// >>> import numpy as np
    /// >>> bits = db.create("bits", dim=12, metric="hamming")
    /// >>> bits.upsert([1, 2], np.packbits([[1] * 12, [0] * 12], axis=1))
    /// 2
    /// >>> bits.search(np.packbits([1, 0] * 6)).distances.tolist()
    /// [6.0, 6.0]
    #[pyo3(signature = (
        name, dim=None, metric=None, *, dtype=None, raw=None, text=None, columns=None,
        id_type=None, embed=None
    ))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of Python")]
    fn create(
        slf: &Bound<'_, Self>,
        #[pyo3(from_py_with = name_string)] name: String,
        dim: Option<&Bound<'_, PyAny>>,
        metric: Option<&Bound<'_, PyAny>>,
        dtype: Option<&Bound<'_, PyAny>>,
        raw: Option<&Bound<'_, PyAny>>,
        text: Option<&Bound<'_, PyAny>>,
        columns: Option<&Bound<'_, PyAny>>,
        id_type: Option<&Bound<'_, PyAny>>,
        embed: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Collection> {
        let embedder = embed.map(texts::embedder).transpose()?;
        let shape = Shape::from_python(dim, metric, (dtype, raw), text, columns, id_type)?;
        let Some(dimension) = shape.dimension.or(embedder.as_ref().map(Embedder::dimension)) else {
            return Err(PyTypeError::new_err("create: expected dim= or embed=, neither is given"));
        };
        let (db, embedder) = (&slf.get().inner, embedder.as_ref());
        let inner = call(slf.py(), || {
            let schema = new_schema(&shape, dimension, embedder)?;
            with_embedder(db.create_collection(&name, schema)?, embedder)
        })?;
        Collection::new(slf, inner)
    }

    /// `db["docs"]` opens a collection that exists; raises `NotFound`, naming the nearest.
    fn __getitem__(
        slf: &Bound<'_, Self>,
        #[pyo3(from_py_with = name_string)] name: String,
    ) -> PyResult<Collection> {
        let db = &slf.get().inner;
        let inner = call(slf.py(), || db.open_collection(&name))?;
        Collection::new(slf, inner)
    }

    /// The names of all collections, ascending.
    ///
    /// >>> db.collections()
    /// ['docs']
    fn collections(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        call(py, || self.inner.collections())
    }

    fn __contains__(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = name_string)] name: String,
    ) -> PyResult<bool> {
        Ok(self.collections(py)?.contains(&name))
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        PyList::new(py, self.collections(py)?)?.try_iter()
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.collections(py)?.len())
    }

    /// Drops a collection with all its rows and files. Handles to it raise `Closed` from then on, and say so.
    ///
    /// Raises `NotFound`, `ReadOnly`, `IoError`.
    ///
    /// >>> _ = db.create("old", dim=3)
    /// >>> db.drop("old")
    fn drop(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = name_string)] name: String,
    ) -> PyResult<()> {
        call(py, || self.inner.drop_collection(&name))
    }

    /// Renames a collection. Handles opened under the old name raise `Closed` from then on, naming the new one.
    ///
    /// Raises `NotFound`, `InvalidArgument` when `new` exists or is no name, `ReadOnly`,
    /// `IoError`.
    ///
    /// >>> _ = db.create("old", dim=3)
    /// >>> db.rename("old", "new")
    fn rename(&self, py: Python<'_>, old: &str, new: &str) -> PyResult<()> {
        call(py, || self.inner.rename_collection(old, new))
    }

    /// Imports the file `path` into the collection `name`: Parquet, Arrow, JSON lines, npy, fvecs,
    /// bvecs, or the vectors and ids of an index file of hnswlib, faiss (flat, HNSW or IVF,Flat) or usearch.
    /// The collection is created in the shape of the file if it is absent, columns that it lacks
    /// are added, and rows of ids that exist are replaced. All rows appear at once at the end; after an
    /// error or Ctrl-C nothing is stored.
    ///
    /// `id` names the column of ids (left out: "id" if there is one, else rows are numbered; False: they
    /// are numbered), `vector` that of vectors (left out: the only list of numbers), `columns` the others
    /// (left out: all). `attributes` is a Parquet or JSON lines file with the ids and columns of an npy or
    /// fvecs file. `format` is "parquet", "arrow", "arrow_stream", "jsonl", "npy", "fvecs", "bvecs",
    /// "hnswlib", "faiss" or "usearch", left out what the file says. `metric`, `dtype` and `dim` are as for
    /// `collection`, left out those of the collection that a Parquet or Arrow file was exported from, or of
    /// the index; hnswlib does not save its metric, so it must be given. `on_bad` is "raise" or "skip";
    /// `progress` as for `Collection.upsert`.
    ///
    /// Returns a dict: "rows" stored, rows "replaced", "rejected_rows", and "rejected", pairs of row and
    /// reason, at most a thousand.
    ///
    /// Raises `InvalidArgument` for a row that is refused (with on_bad="raise") and for a file
    /// of another form, `SchemaMismatch` for a collection of another shape, `IoError`.
    ///
    /// >>> _ = (tmp / "two.jsonl").write_text('{"id": 1, "v": [0.1, 0.2], "word": "a"}\n')
    /// >>> db.import_file("words", tmp / "two.jsonl", vector="v")["rows"]
    /// 1
    /// >>> db["words"].get(1).to_dicts()
    /// [{'id': 1, 'word': 'a'}]
    #[pyo3(signature = (name, path, **settings))]
    #[pyo3(text_signature = "($self, name, path, *, id=None, vector=None, columns=None, \
                          attributes=None, format=None, metric=None, dtype=None, dim=None, \
                          on_bad='raise', progress=None)")]
    fn import_file<'py>(
        &self,
        py: Python<'py>,
        #[pyo3(from_py_with = name_string)] name: String,
        path: PathBuf,
        settings: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let what = || format!("importing {} into {name:?}", path.display());
        let asked = Asked::from_python(path.clone(), settings)?;
        log::timed(py, what, || asked.run(py, &self.inner, &name))
    }

    /// Copies the whole database to the directory `path`, which must not exist, while it stays
    /// open. `nearfield.open` opens the copy, `nearfield.restore` verifies it first. Ctrl-C ends it with
    /// nothing left behind; `progress` is as for `Collection.upsert`, and counts bytes.
    ///
    /// Raises `InvalidArgument` when `path` exists or is inside the database, `Full` and
    /// `IoError`; nothing is left there then.
    ///
    /// >>> db.backup(tmp / "copy.nf")
    #[pyo3(signature = (path, *, progress=None))]
    fn backup(
        &self,
        py: Python<'_>,
        path: PathBuf,
        progress: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let progress = progress.map(progress_arg).transpose()?.flatten();
        let what = || format!("backing up to {}", path.display());
        log::timed(py, what, || {
            long(py, progress, |task| {
                task.watched("copying", |tell| self.inner.backup_while(&path, tell))
            })
        })
    }

    /// Writes the whole database as one file to `path`, which must not exist: checksummed, opened with
    /// `nearfield.open(path, mode="r")` in milliseconds without a lock, by any number of processes, and as fast as the
    /// directory. It may lie in another file (`offset` of `open`). Segments are taken as they are: `compact` the
    /// collections first for the smallest and fastest file. `nearfield.unpack` turns it back into a directory.
    /// Ctrl-C ends it with nothing left behind; `progress` is as for `Collection.upsert`, and counts bytes.
    ///
    /// Raises `InvalidArgument` when `path` exists or is inside the database, `Corrupt` when the database is
    /// damaged, `Full` and `IoError`; nothing is left there then.
    ///
    /// >>> import nearfield as nf
    /// >>> db.pack(tmp / "docs.nfpack")
    /// >>> with nf.open(tmp / "docs.nfpack", mode="r") as packed:
    /// ...     len(packed["docs"])
    /// 2
    #[pyo3(signature = (path, *, progress=None))]
    fn pack(
        &self,
        py: Python<'_>,
        path: PathBuf,
        progress: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let progress = progress.map(progress_arg).transpose()?.flatten();
        let what = || format!("packing to {}", path.display());
        log::timed(py, what, || {
            long(py, progress, |task| {
                task.watched("copying", |tell| self.inner.pack_while(&path, tell))
            })
        })
    }

    /// Makes everything durable and closes the database and its collections. May be called twice.
    ///
    /// Raises what the last write fails with; the database is closed all the same.
    ///
    /// >>> db.close()
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let what = || format!("closing {}", self.inner.path().display());
        log::timed(py, what, || call(py, || self.inner.close()))
    }

    /// Closes a database that was made for something that then failed, and removes it if it is empty.
    fn _close_and_remove_if_empty(&self, py: Python<'_>) -> PyResult<bool> {
        call(py, || self.inner.close_and_remove_if_empty())
    }

    /// A pickled handle opens the database again, for reading.
    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let reduce = py.import("nearfield._pickles")?.getattr("reduce_database")?;
        reduce.call1((self.inner.path(), self.inner.offset()))
    }

    fn _repr_html_(&self, py: Python<'_>) -> String {
        let Ok(names) = self.collections(py) else { return paragraph(&self.__repr__()) };
        let mut html = format!(
            "<table><thead><tr><th>{}</th></tr></thead><tbody>",
            escape(&self.inner.path().display().to_string())
        );
        for name in names {
            html.push_str(&format!("<tr><td>{}</td></tr>", escape(&name)));
        }
        html.push_str("</tbody></table>");
        html
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    /// Closes the database. When the block has raised, a failure to close is told to `logging` alone,
    /// so that it hides nothing.
    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) -> PyResult<()> {
        let raised = _exception.iter().any(|part| !part.is_none());
        match self.close(py) {
            Err(error) if raised => {
                let what = format!("closing {}", self.inner.path().display());
                log::hidden(py, &what, &error);
                Ok(())
            }
            closed => closed,
        }
    }

    fn __repr__(&self) -> String {
        let state = match (self.inner.is_closed(), self.inner.is_read_only()) {
            (true, _) => "closed",
            (false, true) => "mode=\"r\"",
            (false, false) => "mode=\"w\"",
        };
        format!("Database({:?}, {state})", self.inner.path().display().to_string())
    }
}

/// A path as `os` takes it: text, bytes or an object that is a path.
fn any_path(value: &Bound<'_, PyAny>) -> PyResult<PathBuf> {
    value.py().import("os")?.call_method1("fsdecode", (value,))?.extract()
}

/// Options of a database that begins at `offset` of a file.
fn at(
    options: nearfield::OpenOptions,
    offset: Option<&Bound<'_, PyAny>>,
) -> PyResult<nearfield::OpenOptions> {
    let Some(offset) = offset else { return Ok(options) };
    Ok(options.offset(count("offset", offset)? as u64))
}

fn threads_count(value: &Bound<'_, PyAny>) -> PyResult<usize> {
    count("threads", value)
}

/// The schema to create a collection with, if its embedder can go with it.
fn new_schema(
    shape: &Shape,
    dimension: usize,
    embedder: Option<&Embedder>,
) -> nearfield::Result<Schema> {
    let schema = shape.schema(dimension, None);
    embedder.map_or(Ok(()), |embedder| embedder.check_schema(&schema))?;
    Ok(schema)
}

fn with_embedder(
    collection: nearfield::Collection,
    embedder: Option<&Embedder>,
) -> nearfield::Result<nearfield::Collection> {
    match embedder {
        Some(embedder) => collection.with_embedder(embedder),
        None => Ok(collection),
    }
}

fn get_or_create(
    db: &nearfield::Database,
    name: &str,
    shape: &Shape,
    embedder: Option<&Embedder>,
) -> nearfield::Result<nearfield::Collection> {
    let new = shape.dimension.or(embedder.map(Embedder::dimension));
    let schema = match (db.open_collection(name), new) {
        (Ok(collection), _) => {
            let stored = collection.schema()?;
            shape.schema(shape.dimension.unwrap_or(stored.dimension()), Some(&stored))
        }
        (Err(Error::NotFound { .. }), Some(dimension)) => new_schema(shape, dimension, embedder)?,
        (Err(Error::NotFound { what, hint }), None) => {
            let hint = format!("; give dim= or embed= to create it{hint}");
            return Err(Error::NotFound { what, hint });
        }
        (Err(error), _) => return Err(error),
    };
    let collection = db.collection(name, schema)?;
    if !db.is_read_only() {
        shape.widen(&collection)?;
    }
    with_embedder(collection, embedder)
}
