# Types of the extension module. The docstrings are those of the module, written here by stubs.py.

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Literal, Protocol, TypeAlias, TypedDict, final, overload

import numpy as np
import numpy.typing as npt
from typing_extensions import CapsuleType, Self

from nearfield.embed import Embeds
from nearfield._progress import Progress

class _ArrowArray(Protocol):
    def __arrow_c_array__(
        self, requested_schema: CapsuleType | None = None
    ) -> tuple[CapsuleType, CapsuleType]: ...

class _ArrowStream(Protocol):
    def __arrow_c_stream__(self, requested_schema: CapsuleType | None = None) -> CapsuleType: ...

class _HasArray(Protocol):
    def __array__(self) -> npt.NDArray[Any]: ...

class _SparseRow(Protocol):
    @property
    def indices(self) -> Any: ...

class _SparseMatrix(Protocol):
    @property
    def indptr(self) -> Any: ...
    @property
    def indices(self) -> Any: ...
    @property
    def data(self) -> Any: ...

class _TextOptions(TypedDict, total=False):
    language: str | None
    stop_words: bool
    stem: bool
    k1: float
    b: float

class _Snippet(TypedDict):
    text: str
    marks: list[tuple[int, int]]
    cut_before: bool
    cut_after: bool

class _ListRank(TypedDict):
    list: Literal["vector", "words", "sparse"]
    column: str | None
    rank: int
    score: float

class _Schema(TypedDict):
    dim: int
    metric: _Metric
    dtype: Literal["f32", "f16", "bf16", "i8", "u8", "b1"]
    raw: _Raw | None
    id_type: Literal["u64", "utf8"] | None
    columns: dict[str, str]
    text: list[str] | dict[str, _TextOptions]

_Rerank: TypeAlias = Callable[[Hits], Sequence[float] | npt.NDArray[Any]]
_Text: TypeAlias = str | Sequence[str] | Mapping[str, str | _TextOptions | None]
_Arrow: TypeAlias = _ArrowArray | _ArrowStream
_Metric: TypeAlias = Literal["l2", "cosine", "dot", "hamming", "jaccard"]
_Dtype: TypeAlias = (
    Literal["f32", "f16", "bf16", "i8", "u8", "b1", "float32", "float16", "bfloat16", "int8", "uint8"]
    | np.dtype[Any]
    | type[np.float32 | np.float16 | np.int8 | np.uint8]
)
_Raw: TypeAlias = Literal["f32", "f16", "none"]
_IdType: TypeAlias = Literal["u64", "utf8"]
_ColumnType: TypeAlias = (
    Literal["bool", "int64", "float64", "utf8", "timestamp", "list_utf8", "sparse"]
    | type[bool | int | float | str | datetime | date | list[str]]
)
_Id: TypeAlias = int | np.integer[Any] | str
_Ids: TypeAlias = _Id | Iterable[int] | Iterable[str] | npt.NDArray[Any] | _HasArray | _Arrow
_Vectors: TypeAlias = (
    npt.NDArray[Any]
    | Sequence[float | Sequence[float] | npt.NDArray[Any]]
    | _HasArray
    | _Arrow
)
_Data: TypeAlias = Mapping[str, Any] | Sequence[Mapping[str, Any]] | _Arrow
_Sparse: TypeAlias = Mapping[int, float] | Sequence[npt.ArrayLike] | _SparseRow
_Texts: TypeAlias = str | Iterable[str] | _Arrow
_Condition: TypeAlias = str | Mapping[str, Any] | Filter | Column
_Where: TypeAlias = _Condition | None
_Value: TypeAlias = bool | int | float | str | date | np.generic | None
_Path: TypeAlias = str | PathLike[str]
_Code: TypeAlias = Literal["auto", "full", "byte", "half", "bit"] | str
_FileFormat: TypeAlias = Literal["parquet", "arrow", "arrow_stream", "jsonl", "npy", "fvecs", "bvecs", "hnswlib", "faiss", "usearch"]
_Progress: TypeAlias = bool | Callable[[Progress], object] | None

__all__ = [
    "BatchHits",
    "Collection",
    "Column",
    "Database",
    "DoctorReport",
    "Explanation",
    "Filter",
    "Hit",
    "Hits",
    "Index",
    "Records",
    "Scan",
    "Snapshot",
    "__version__",
    "col",
    "doctor",
    "open",
    "repair",
    "restore",
    "unpack",
]

__version__: str

def open(
    path: _Path,
    mode: Literal["w", "r"] = "w",
    *,
    offset: int | None = None,
    durability: Literal["sync", "buffered", "none"] = "sync",
    threads: int = 0,
    memtable_bytes: int = 67108864,
    memory_budget: int = 1073741824,
    graph_bytes: int = 16777216,
    m: int = 16,
    ef_construction: int = 200,
    ef_search: int = 100,
    code: _Code = "auto",
    serving_budget: int | None = None,
    memory: Literal["mmap", "ram"] = "mmap",
    compaction: bool = True,
) -> Database:
    """Opens the database in the directory `path`, creating it if it is absent.

    `mode="w"` reads and writes; one process at a time may, a second one gets `Locked` at once.
    `mode="r"` reads only, beside any number of readers and a writer, and follows the writer on
    `Collection.refresh()`. It also opens a file that `Database.pack` has written, and one that lies in another
    file if `offset` says at which byte it begins, a multiple of 64.

    `durability` says when a write is on disk: "sync" before the call returns, "buffered" when the
    operating system gets to it (survives the death of the process, not of the machine), "none" at
    `flush()` and `close()`. `threads` is the number used for builds and batch searches, 0 for one
    a core.

    For tuning: `memtable_bytes` (fresh rows held in memory, 64 MiB), `memory_budget` (of imports
    and builds, 1 GiB), `graph_bytes` (vectors, of 512 each at least, from which a segment gets a graph, 16 MiB), `m` (16; 2 to 64),
    `ef_construction` (200), `ef_search` (100), `code` ("auto"; "full", "byte", "half", "bit", or "product:64"
    for product codes of 64 bytes a row: what leads searches of new segments to candidates, which are
    then compared exactly), `compaction` (in the background, True).

    `serving_budget` is how many bytes of memory searches of each collection should do with: segments that are
    written with `code="auto"` get codes by their share of it, product codes where four bits a dimension do not
    fit. `memory="ram"` reads what searches go through (codes, graphs, norms, ids) into memory of this process when
    a collection is opened, at most `serving_budget`; "mmap" leaves it to the system. `Collection.stats()`
    tells "serving_bytes", "serving_problem" and "held_bytes".

    Raises `Locked` naming the process that writes, `NotFound` for a reader where there is no
    database, `ReadOnly` for a packed one that is not opened with `mode="r"`, `Incompatible` and `Corrupt` for
    files that cannot be read, `IoError`, `InvalidArgument` for a setting out of range.

    >>> import nearfield as nf
    >>> with nf.open(tmp / "new.nf") as db:
    ...     db.collections()
    []
    """
def doctor(
    path: _Path, *, names: bool = False, verify: bool = False, progress: _Progress = None
) -> DoctorReport:
    """Looks at the database in the directory `path`, whole or damaged, and returns what a report of a defect should
    say of it, to be printed and pasted: this build and machine, files with their sizes, schema and statistics of each
    collection, and what does not open. No data of a row is in it, and no name of a column unless `names=True`.
    `verify=True` reads and checks every byte; Ctrl-C ends that, and `progress` is as for `Collection.upsert`, and
    counts bytes. Everything is only read, beside whoever writes.

    >>> import nearfield as nf
    >>> report = nf.doctor(db.path)
    >>> "no problem was found" in str(report)
    True
    """
@final
class DoctorReport:
    """What `nearfield.doctor` found. `print` shows all of it.

    >>> report = nf.doctor(db.path)
    >>> report.problems
    []
    """
    @property
    def problems(self) -> list[str]:
        """What is wrong, a text each; empty where nothing was found.

        >>> nf.doctor(db.path, verify=True).problems
        []
        """
    def to_dict(self) -> dict[str, Any]:
        """All of it as a dict: "problems", and "parts", each a dict of its "name", its "facts" (pairs of what and
        text) and, of a collection that opens, its "stats" as of `Collection.stats`.

        >>> nf.doctor(db.path).to_dict()["parts"][2]["stats"]["rows"]
        2
        """
def repair(
    source: _Path, target: _Path, *, keep_doubtful: bool = False, progress: _Progress = None
) -> dict[str, Any]:
    """Saves what is whole of the damaged database in the directory `source` into a new one at `target`, which
    must not exist: every row whose vector, id and columns match their checksums, as the log leaves it.
    `source` is only read; nobody may have it open for writing. Ctrl-C ends it with nothing left behind;
    `progress` is as for `Collection.upsert`, and counts bytes.

    Returns a dict of the "collections": for each its "name", how many "rows" were saved, and "losses". A loss is
    a dict of "file", "section", "reason", "rows" (not saved for it), "ids" (of these, as far as they can be
    read) and "operations" (of the log that could not be read, at least). "lost" in it are names of collections
    of which nothing can be saved, each with the reason. `keep_doubtful=True` also keeps rows of which it is not
    known whether they had been deleted.

    Raises `NotFound` where there is no database, `InvalidArgument` when `target` exists or somebody writes to
    `source`, `Full` and `IoError`; nothing is left at `target` then.

    >>> import nearfield as nf
    >>> db.backup(tmp / "old.nf")
    >>> nf.repair(tmp / "old.nf", tmp / "new.nf")
    {'collections': [{'name': 'docs', 'rows': 2, 'losses': []}], 'lost': []}
    """
def restore(source: _Path, target: _Path, *, progress: _Progress = None) -> None:
    """Verifies the backup in the directory `source` and copies it to `target`, which must not exist.
    Ctrl-C ends it with nothing left behind; `progress` is as for `Collection.upsert`, and counts bytes.

    Raises `Corrupt` when the backup does not verify, `InvalidArgument` when `target` exists,
    `NotFound` without a backup, `Full` and `IoError`; nothing is left at `target` then.

    >>> import nearfield as nf
    >>> db.backup(tmp / "backup.nf")
    >>> nf.restore(tmp / "backup.nf", tmp / "restored.nf")
    >>> with nf.open(tmp / "restored.nf") as restored:
    ...     len(restored["docs"])
    2
    """
def unpack(
    source: _Path, target: _Path, *, offset: int | None = None, progress: _Progress = None
) -> None:
    """Turns the packed database in the file `source` back into one in the directory `target`, which must not exist,
    so that it can be written to. `offset` says at which byte it begins in a file that holds more. Ctrl-C
    ends it with nothing left behind; `progress` is as for `Collection.upsert`, and counts bytes.

    Raises `Corrupt` when it is damaged, `InvalidArgument` when `source` is no packed database or `target`
    exists, `NotFound`, `Full` and `IoError`; nothing is left at `target` then.

    >>> import nearfield as nf
    >>> db.pack(tmp / "docs.nfpack")
    >>> nf.unpack(tmp / "docs.nfpack", tmp / "unpacked.nf")
    >>> with nf.open(tmp / "unpacked.nf") as unpacked:
    ...     unpacked["docs"].delete([1])
    1
    """
@final
class Database:
    """A directory of named collections. Made by `nearfield.open`; a context manager that closes it.

    >>> db.collections(), "docs" in db, len(db), list(db)
    (['docs'], True, 1, ['docs'])
    """
    @property
    def path(self) -> Path:
        """The directory, or the file of a packed database, as a `pathlib.Path`.

        >>> db.path.name
        'test.nf'
        """
    @property
    def read_only(self) -> bool:
        """Whether it was opened with `mode="r"`.

        >>> db.read_only
        False
        """
    def collection(
        self,
        name: str,
        dim: int | None = None,
        metric: _Metric | None = None,
        *,
        dtype: _Dtype | None = None,
        raw: _Raw | None = None,
        text: _Text | None = None,
        columns: Mapping[str, _ColumnType] | None = None,
        id_type: _IdType | None = None,
        embed: Embeds | None = None,
    ) -> Collection:
        """Opens the collection `name`, or creates it.

        `dim` may be left out when it exists. `metric` is "l2" (squared Euclidean distance),
        "cosine" or "dot", for bits "hamming" or "jaccard"; `dtype` is "f32", "f16", "bf16", "i8",
        "u8", or "b1" for bits; left out, they are as stored, and cosine and f32 in a new
        collection, hamming and b1 in one of bits. `raw` is what is kept of f32 vectors, fixed when the collection
        is created: "f32"; "f16", half the bytes; or "none", rounded vectors in a quarter of the bytes, of which distances and
        returned vectors then are: mostly within 1 % of their lengths. `text` names columns of text to be
        searched by words, English ones; a dict says the language of each (`{"body": "german", "code": None}`,
        where `None` takes words as they are), or its options (`{"body": {"language": "en", "stem": False}}`).
        `columns` maps names to "bool", "int64", "float64", "utf8", "timestamp", "list_utf8" or "sparse" (or
        bool, int, float, str, datetime, list[str]); it need not be complete, columns of later
        batches are added by themselves. `id_type` is "u64" or "utf8" (or int, str), otherwise that of the first
        batch.

        `embed` makes vectors of texts: a `nearfield.Embedder`, or a function that takes a list of
        str and returns a vector for each (its `__name__` is then the name of the model). The first
        one is remembered by model and dimension; texts go to the first column of `text`, or to a
        new one called "text". The function itself is not stored: give it at each opening to use
        `add_texts` and `search(text=…)`.

        Raises `SchemaMismatch` when the collection exists in another shape, or remembers another
        model.

        >>> docs = db.collection("papers", dim=384, metric="cosine", text="body")
        >>> docs.schema["dim"], db.collection("papers").schema["metric"]
        (384, 'cosine')
        """
    def create(
        self,
        name: str,
        dim: int | None = None,
        metric: _Metric | None = None,
        *,
        dtype: _Dtype | None = None,
        raw: _Raw | None = None,
        text: _Text | None = None,
        columns: Mapping[str, _ColumnType] | None = None,
        id_type: _IdType | None = None,
        embed: Embeds | None = None,
    ) -> Collection:
        """Creates the collection `name`; raises `InvalidArgument` when there is one. Arguments are as
        for `collection`; `dim` may be left out with `embed`.

        >>> db.create("images", dim=512, metric="l2", dtype="u8")
        Collection('images', 0 rows, dim=512, metric='l2', dtype='u8')
        >>> import numpy as np
        >>> bits = db.create("bits", dim=12, metric="hamming")
        >>> bits.upsert([1, 2], np.packbits([[1] * 12, [0] * 12], axis=1))
        2
        >>> bits.search(np.packbits([1, 0] * 6)).distances.tolist()
        [6.0, 6.0]
        """
    def collections(self) -> list[str]:
        """The names of all collections, ascending.

        >>> db.collections()
        ['docs']
        """
    def drop(self, name: str) -> None:
        """Drops a collection with all its rows and files. Handles to it raise `Closed` from then on, and say so.

        Raises `NotFound`, `ReadOnly`, `IoError`.

        >>> _ = db.create("old", dim=3)
        >>> db.drop("old")
        """
    def rename(self, old: str, new: str) -> None:
        """Renames a collection. Handles opened under the old name raise `Closed` from then on, naming the new one.

        Raises `NotFound`, `InvalidArgument` when `new` exists or is no name, `ReadOnly`,
        `IoError`.

        >>> _ = db.create("old", dim=3)
        >>> db.rename("old", "new")
        """
    def import_file(
        self,
        name: str,
        path: _Path,
        *,
        id: str | Literal[False] | None = None,
        vector: str | None = None,
        columns: str | Sequence[str] | None = None,
        attributes: _Path | None = None,
        format: _FileFormat | None = None,
        metric: _Metric | None = None,
        dtype: _Dtype | None = None,
        dim: int | None = None,
        on_bad: Literal["raise", "skip"] = "raise",
        progress: _Progress = None,
    ) -> dict[str, Any]:
        r"""Imports the file `path` into the collection `name`: Parquet, Arrow, JSON lines, npy, fvecs,
        bvecs, or the vectors and ids of an index file of hnswlib, faiss (flat, HNSW or IVF,Flat) or usearch.
        The collection is created in the shape of the file if it is absent, columns that it lacks
        are added, and rows of ids that exist are replaced. All rows appear at once at the end; after an
        error or Ctrl-C nothing is stored.

        `id` names the column of ids (left out: "id" if there is one, else rows are numbered; False: they
        are numbered), `vector` that of vectors (left out: the only list of numbers), `columns` the others
        (left out: all). `attributes` is a Parquet or JSON lines file with the ids and columns of an npy or
        fvecs file. `format` is "parquet", "arrow", "arrow_stream", "jsonl", "npy", "fvecs", "bvecs",
        "hnswlib", "faiss" or "usearch", left out what the file says. `metric`, `dtype` and `dim` are as for
        `collection`, left out those of the collection that a Parquet or Arrow file was exported from, or of
        the index; hnswlib does not save its metric, so it must be given. `on_bad` is "raise" or "skip";
        `progress` as for `Collection.upsert`.

        Returns a dict: "rows" stored, rows "replaced", "rejected_rows", and "rejected", pairs of row and
        reason, at most a thousand.

        Raises `InvalidArgument` for a row that is refused (with on_bad="raise") and for a file
        of another form, `SchemaMismatch` for a collection of another shape, `IoError`.

        >>> _ = (tmp / "two.jsonl").write_text('{"id": 1, "v": [0.1, 0.2], "word": "a"}\n')
        >>> db.import_file("words", tmp / "two.jsonl", vector="v")["rows"]
        1
        >>> db["words"].get(1).to_dicts()
        [{'id': 1, 'word': 'a'}]
        """
    def backup(self, path: _Path, *, progress: _Progress = None) -> None:
        """Copies the whole database to the directory `path`, which must not exist, while it stays
        open. `nearfield.open` opens the copy, `nearfield.restore` verifies it first. Ctrl-C ends it with
        nothing left behind; `progress` is as for `Collection.upsert`, and counts bytes.

        Raises `InvalidArgument` when `path` exists or is inside the database, `Full` and
        `IoError`; nothing is left there then.

        >>> db.backup(tmp / "copy.nf")
        """
    def pack(self, path: _Path, *, progress: _Progress = None) -> None:
        """Writes the whole database as one file to `path`, which must not exist: checksummed, opened with
        `nearfield.open(path, mode="r")` in milliseconds without a lock, by any number of processes, and as fast as the
        directory. It may lie in another file (`offset` of `open`). Segments are taken as they are: `compact` the
        collections first for the smallest and fastest file. `nearfield.unpack` turns it back into a directory.
        Ctrl-C ends it with nothing left behind; `progress` is as for `Collection.upsert`, and counts bytes.

        Raises `InvalidArgument` when `path` exists or is inside the database, `Corrupt` when the database is
        damaged, `Full` and `IoError`; nothing is left there then.

        >>> import nearfield as nf
        >>> db.pack(tmp / "docs.nfpack")
        >>> with nf.open(tmp / "docs.nfpack", mode="r") as packed:
        ...     len(packed["docs"])
        2
        """
    def close(self) -> None:
        """Makes everything durable and closes the database and its collections. May be called twice.

        Raises what the last write fails with; the database is closed all the same.

        >>> db.close()
        """
    def _close_and_remove_if_empty(self) -> bool: ...
    def _repr_html_(self) -> str: ...
    def __reduce__(self) -> tuple[Any, ...]: ...
    def __getitem__(self, name: str, /) -> Collection: ...
    def __contains__(self, name: str, /) -> bool: ...
    def __iter__(self) -> Iterator[str]: ...
    def __len__(self) -> int: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        *_exception: type[BaseException] | BaseException | TracebackType | None,
    ) -> None: ...

@final
class Collection:
    """Rows of id, vector and attributes, searched by nearness. Made by `db.collection(…)`,
    `db.create(…)` or `db["name"]`; may be used from any thread.

    Ids are integers from 0 or strings, all of one kind: an array or list of them, or one alone.

    Vectors are an array of shape (rows, dim), or (dim,) for one row. float32, float16, int8 and
    uint8 arrays that are C-contiguous are read where they are, and bfloat16 ones of ml_dtypes;
    everything else that is numbers (float64, integers, strided views, lists, tensors that NumPy
    understands, Arrow list arrays) becomes float32 first. They are stored in the collection's
    dtype. Vectors of bits (dtype "b1") are uint8, eight bits to a byte: `numpy.packbits(x, axis=1)`.

    Data are the other columns: a dict of lists or arrays, a list of dicts, or a pyarrow, polars or
    pandas table. Columns that are new are added, with the type of their values: bool, int, float,
    str, datetime (UTC unless it says otherwise), list of str, dict of indices and weights (a sparse
    vector). None is null everywhere.

    In a list of dicts, a dict with names within a row is columns of their own: {"a": {"b": 1}} is 1 in
    the column "a.b". An empty one is None. What is a dict in one row and a value in another is refused.
    A sparse vector is {index: weight}, or a pair (indices, weights).

    >>> docs.upsert([3, 4], [[6, 8], [9, 12]], {"title": ["farther", None]})
    2
    >>> docs.search([6, 7], k=1)[0]["title"]
    'farther'
    """
    @property
    def name(self) -> str:
        """Its name.

        >>> docs.name
        'docs'
        """
    @property
    def dim(self) -> int:
        """Dimensions of a vector.

        >>> docs.dim
        2
        """
    @property
    def database(self) -> Database:
        """The database that it is in: the handle that it was opened by.

        >>> docs.database is db
        True
        """
    @property
    def schema(self) -> _Schema:
        """What it holds, as the keyword arguments that make such a collection.

        >>> docs.schema["columns"]
        {'title': 'utf8'}
        >>> _ = db.create("same", **docs.schema)
        """
    @property
    def model(self) -> str | None:
        """Name of the model that texts were embedded by, as the collection remembers it; else `None`.

        >>> print(docs.model)
        None
        """
    def upsert(
        self, ids: _Ids, vectors: _Vectors, data: _Data | None = None, *, progress: _Progress = None
    ) -> int:
        """Adds rows, replacing those whose ids exist; columns not given become null. Of an id given
        twice the last row wins. Returns how many rows were written. All of it is stored, or
        nothing, and durable when the call returns; Ctrl-C while much is written stores nothing.
        What is above 192 MiB goes into segments at once, as an import does, and not through the log.

        `progress` shows a bar (True), or is called with a `Progress` now and then; what it raises ends
        the write, with nothing stored unless its phase was "done".

        Raises `DimensionMismatch` and `InvalidVector` (NaN, infinity, out of range),
        `SchemaMismatch` for ids or columns of another type, `InvalidArgument` for lengths that
        differ.

        >>> docs.upsert([1, 5], [[0, 1], [5, 5]], [{"title": "new"}, {"year": 2026}])
        2
        >>> docs.get(1)[0]
        {'id': 1, 'title': 'new', 'year': None}
        """
    def add(
        self, ids: _Ids, vectors: _Vectors, data: _Data | None = None, *, progress: _Progress = None
    ) -> int:
        """Adds rows whose ids are new; raises `DuplicateId` otherwise, and stores nothing then.
        Returns how many rows were added. However many there are, all of them are stored or none;
        `progress` and Ctrl-C are as for `upsert`.

        Otherwise raises as `upsert`.

        >>> docs.add(6, [1, 1], [{"title": "sixth"}])
        1
        """
    def import_batches(
        self,
        batches: Iterable[tuple[_Ids, _Vectors] | tuple[_Ids, _Vectors, _Data | None]],
        *,
        progress: _Progress = None,
    ) -> int:
        """Upserts the rows of many batches, tuples of ids, vectors and, if there are any, data, made while
        they are stored: a generator may read what is larger than memory. All rows appear at once at the
        end; after an exception or Ctrl-C nothing is stored. Columns are those of the collection and of the
        first batch. `progress` is as for `upsert`. Returns how many rows there are of them.

        Raises as `upsert`, and what the iterable raises.

        >>> docs.import_batches(([n], [[n, n]], [{"title": str(n)}]) for n in range(10, 14))
        4
        """
    def add_texts(
        self, texts: _Texts, ids: _Ids | None = None, data: _Data | None = None
    ) -> list[Any]:
        """Embeds texts and adds them as rows whose ids are new: the collection must have been opened
        with `embed=`. Each text is stored in the column of text, `data` holds the other columns.
        Returns the ids as a list.

        Without `ids` they are made: one more than the highest number there is, from 1 on; in a
        collection of strings (`id_type="utf8"`) UUIDs that ascend with time. What the embedder
        raises is passed on as it is, and nothing is stored then.

        Raises `InvalidArgument` in a collection opened without `embed=`, `DuplicateId`, and
        otherwise as `upsert`.

        >>> import nearfield as nf
        >>> letters = nf.Embedder(lambda texts: [[t.count("a"), t.count("b")] for t in texts], "ab")
        >>> notes = db.collection("notes", embed=letters, text="body")
        >>> notes.add_texts(["aaa", "abb"], data={"year": [2025, 2026]})
        [1, 2]
        >>> notes.search(text="bbb", k=1)[0].to_dict()["body"]
        'abb'
        """
    def upsert_texts(
        self, texts: _Texts, ids: _Ids | None = None, data: _Data | None = None
    ) -> list[Any]:
        """As `add_texts`, but rows whose ids exist are replaced; of an id given twice the last wins.

        Raises as `add_texts`, but for `DuplicateId`.

        >>> import nearfield as nf
        >>> lengths = nf.Embedder(lambda texts: [[len(t)] for t in texts], "lengths", dim=1)
        >>> notes = db.collection("notes", metric="l2", embed=lengths)
        >>> notes.upsert_texts(["a", "bb"], ids=["x", "y"])
        ['x', 'y']
        >>> notes.upsert_texts("cccc", ids="x"), notes.get("x")[0]["text"]
        (['x'], 'cccc')
        """
    def update(
        self, ids: _Ids | None = None, data: _Data | None = None, *, where: _Where = None
    ) -> int:
        """Sets the columns of `data` in the rows of `ids`; other columns and the vectors stay. Ids
        that do not exist are passed over. With `where` in place of ids, all rows that the filter finds
        are given the values of `data`, a dict of one row. Returns how many rows were updated.

        Raises `SchemaMismatch` for ids or columns of another type, `FilterError`, `TypeError`
        for both or neither of ids and filter.

        >>> docs.update([1, 99], {"title": ["nearest", "nobody"]})
        1
        >>> docs.update(data={"title": "one of two"}, where="id IN (1, 2)")
        2
        """
    def delete(self, ids: _Ids | None = None, *, where: _Where = None) -> int:
        """Removes the rows of `ids`, or with `where` those that the filter finds, all at once. Returns how
        many there were.

        Raises `SchemaMismatch` for ids of another type, `FilterError`, `TypeError` for both or
        neither of ids and filter.

        >>> docs.delete([2, 99])
        1
        >>> docs.delete(where="title LIKE 'n%'")
        1
        """
    def forget(self, ids: _Ids) -> int:
        """Removes the rows of `ids` as `delete` does, and returns when their bytes are gone from the collection's directory:
        ids, vectors, columns and all that was made of them, in the log, in segments and in files that were to be
        removed later; also of rows that were deleted or replaced before. Returns how many there were.

        Segments that hold one of the ids are written anew, which takes as long as merging them: give many
        ids at once. Out of reach are backups and packed files, what readers in other processes have open, and what
        file system and drive keep of removed files.

        Raises as `delete` and `compact`; the rows may be deleted then, and not forgotten: call again. So they are
        after Ctrl-C, which ends it.

        >>> docs.forget([2, 99])
        1
        """
    def get(
        self, ids: _Ids, select: str | Sequence[str] | None = None, vectors: bool = False
    ) -> Records:
        """The rows that exist among `ids`, in the order asked for, with the columns of `select` (all
        if it is left out) and, with `vectors`, the vectors.

        Raises `NotFound` for an unknown column, `SchemaMismatch` for ids of another type.

        >>> docs.get([1, 2], select=["title"]).to_dicts()
        [{'id': 1, 'title': 'near'}, {'id': 2, 'title': 'far'}]
        >>> docs.get(2, vectors=True).vectors.tolist()
        [[3.0, 4.0]]
        """
    def contains(self, id: _Id) -> bool:
        """Whether there is a row of this id; also `id in docs`.

        Raises `SchemaMismatch` for an id of another type.

        >>> docs.contains(1), 99 in docs
        (True, False)
        """
    def count(self, *, where: _Where = None) -> int:
        """How many rows there are, or with `where` how many the filter finds; also `len(docs)`.

        Raises `FilterError` for a filter that does not fit the columns.

        >>> docs.count(), len(docs), docs.count(where="id > 1")
        (2, 2, 1)
        """
    def search(
        self,
        q: _Vectors | None = None,
        k: int = 10,
        *,
        text: str | None = None,
        ef: int | None = None,
        recall: float | None = None,
        exact: bool = False,
        max_distance: float | None = None,
        select: str | Sequence[str] | None = None,
        vectors: bool = False,
        where: _Where = None,
        offset: int | None = None,
        min_distance: float | None = None,
        group_by: str | None = None,
        per_group: int = 1,
        mmr: float | None = None,
        mmr_candidates: int | None = None,
        window: int | None = None,
        document: str | None = None,
        position: str = "position",
        words: str | None = None,
        plain: bool = False,
        words_in: str | Sequence[str] | Mapping[str, float] | None = None,
        highlight: bool | int | None = None,
        fusion: Literal["rrf", "weighted"] | None = None,
        rrf_k: float | None = None,
        alpha: float | None = None,
        normalize: Literal["minmax", "zscore"] | None = None,
        candidates: int | None = None,
        rerank: _Rerank | None = None,
        rerank_candidates: int | None = None,
        sparse: Mapping[str, _Sparse] | None = None,
    ) -> Hits:
        """The `k` rows nearest to the vector `q`, or to a text that is embedded first (`text`, in a
        collection opened with `embed=`); fewer if there are fewer.

        `recall` is the share of the true `k` nearest rows that is to be found, on average over queries like
        the rows: above 0, at most 1, which compares with every row as `exact` does. Or `ef` is how many
        candidates a graph search keeps: more find more of the true neighbours and take longer; 100 if
        neither is given. `max_distance` leaves out what is farther.
        `select` names the columns to read (all if it is left out, none for `[]`), and `vectors`
        reads the vectors too.

        `where` leaves only rows that a filter finds: the text of an SQL WHERE clause, a dict
        (`{"year": {"$gte": 2019}}`) or an expression (`nf.col("year") >= 2019`); see `Filter`. If `k` rows
        match, `k` rows come back. Raises `FilterError` for a filter that does not fit the columns.

        `offset` passes over so many hits, to read page by page: of one snapshot, and with the same
        arguments beside `k`, pages tile one list however approximate the search is. Give the first page
        `offset=0`. `min_distance` leaves out what is nearer.

        `group_by` names a column (bool, int64, timestamp or utf8) and returns the best `per_group` hits of
        each of its values, those of a value together: `k` counts the values then, and if there are `k`,
        `k` come back. Rows without a value are one group.

        `mmr` picks hits that are unlike each other too (maximal marginal relevance): from 1, nearness
        alone, to 0, unlikeness alone. They are picked from the nearest `mmr_candidates`, 4 × `k` within 20 and
        4,096 unless given, and come in the order in which they are picked.

        `window` reads around each hit the rows of the same document whose positions are at most so far from its own,
        `Hit.window`: `document` names the column that says which document a row is of (that of `group_by` unless
        given), `position` the int64 column that numbers the rows of each. They have the columns of `select` (all
        for `[]`), and are there whether `where` finds them or not.

        `words` finds rows by the words in their columns of text (see `add_text_index`): alone, or beside a
        vector or `text`, where both make one order. It is a query: `rust mmap` finds either word, and
        `+must`, `-never`, `a AND (b OR c)`, `NOT a`, `"one phrase"`, `begin*`, `mispeled~1` and
        `title:word` are what they look like; with `plain` no sign has a meaning. `words_in` names
        the columns to search, or gives weights (`{"title": 2, "body": 1}`). Scores are BM25; without
        a vector the distance of a hit is the negated score. `highlight` reads the pieces of the
        texts in which the words stand, of 160 characters or as many as it says: `Hit.highlights`.

        `sparse` searches columns of sparse vectors as well, beside a vector or words:
        `{"splade": {3: 1.0, 9: 0.5}}` (`search_sparse` searches by one alone).

        The vector, the words and each sparse vector give `candidates` rows (100, at least `k`). `fusion` makes
        one order of them: "rrf" sums 1 / (`rrf_k` + rank), with 60, "weighted" `alpha` · v + (1 − `alpha`) · w of
        scores that are made comparable by `normalize`, "minmax" or "zscore". `alpha` alone says
        "weighted", nothing at all "rrf". What was fused, or reranked, is the score of a hit; its
        distance is that of the vectors. Of more than two lists those behind the first share 1 − `alpha`.

        `rerank` is a function that is given the best `rerank_candidates` (50, at least `k`) as `Hits`, with the
        columns of `select`, and returns a score for each, bigger being better: a cross-encoder, say.
        What it raises is raised here. Pages and groups are of what was fused and reranked. Pages reach no
        farther than the candidates. For groups more rows are looked at, as many as `k` groups need and at
        most 16,384, unless `candidates` says how many; a function that ranks is given the nearest of each
        further group too.

        Also raises `DimensionMismatch`, `InvalidVector` (NaN, infinity), `NotFound` for an unknown column,
        and `InvalidArgument` for words that cannot be read, pointing at the place.

        >>> _ = docs.add_text_index("title")
        >>> docs.search([1, 1], words="far OR away", alpha=0.2, highlight=True)[0].highlights()
        {'title': '**far**'}
        >>> docs.search(words="near", rerank=lambda hits: [len(hit["title"]) for hit in hits]).scores.tolist()
        [4.0]
        >>> [hit.id for hit in docs.search([1, 1], k=1, offset=1)]
        [2]
        >>> docs.search([1, 1], group_by="title", per_group=2, mmr=0.5).ids.tolist()
        [1, 2]
        >>> docs.search([1, 1], k=1, where="title = 'far' OR title IS NULL")[0].id
        2
        >>> docs.search([1, 1], k=1)
        Hits([
          Hit(id=1, distance=2, score=-2, title='near'),
        ])
        """
    def explain(
        self,
        q: _Vectors | None = None,
        k: int = 10,
        *,
        text: str | None = None,
        ef: int | None = None,
        recall: float | None = None,
        exact: bool = False,
        max_distance: float | None = None,
        select: str | Sequence[str] | None = None,
        vectors: bool = False,
        where: _Where = None,
        offset: int | None = None,
        min_distance: float | None = None,
        group_by: str | None = None,
        per_group: int = 1,
        mmr: float | None = None,
        mmr_candidates: int | None = None,
        window: int | None = None,
        document: str | None = None,
        position: str = "position",
        words: str | None = None,
        plain: bool = False,
        words_in: str | Sequence[str] | Mapping[str, float] | None = None,
        highlight: bool | int | None = None,
        fusion: Literal["rrf", "weighted"] | None = None,
        rrf_k: float | None = None,
        alpha: float | None = None,
        normalize: Literal["minmax", "zscore"] | None = None,
        candidates: int | None = None,
        rerank: _Rerank | None = None,
        rerank_candidates: int | None = None,
        sparse: Mapping[str, _Sparse] | None = None,
    ) -> Explanation:
        """Searches as `search` does and says how: the plan of each part of the collection, how much was
        compared and read, and times. The parts are those of each list: by vector, by words and by sparse
        vectors.

        Raises as `search`.

        >>> docs.explain([1, 1], k=1).parts[0]["plan"]
        'scan'
        """
    def search_batch(
        self,
        queries: _Vectors | None = None,
        k: int = 10,
        *,
        texts: _Texts | None = None,
        ef: int | None = None,
        recall: float | None = None,
        exact: bool = False,
        max_distance: float | None = None,
        select: str | Sequence[str] | None = (),
        vectors: bool = False,
        where: _Where = None,
        offset: int | None = None,
        min_distance: float | None = None,
        group_by: str | None = None,
        per_group: int = 1,
        mmr: float | None = None,
        mmr_candidates: int | None = None,
        window: int | None = None,
        document: str | None = None,
        position: str = "position",
        words: _Texts | None = None,
        plain: bool = False,
        words_in: str | Sequence[str] | Mapping[str, float] | None = None,
        highlight: bool | int | None = None,
        fusion: Literal["rrf", "weighted"] | None = None,
        rrf_k: float | None = None,
        alpha: float | None = None,
        normalize: Literal["minmax", "zscore"] | None = None,
        candidates: int | None = None,
        rerank: _Rerank | None = None,
        rerank_candidates: int | None = None,
        sparse: Mapping[str, Iterable[_Sparse] | _SparseMatrix] | None = None,
    ) -> BatchHits:
        """Many searches at once, on all threads of the database: `queries` has shape (n, dim), or there
        are `texts`, embedded first (in a collection opened with `embed=`). What comes back unpacks into
        an array of ids and one of distances, see `BatchHits`. Arguments are as for `search`, but no
        columns are read unless `select` says so (`None` means all).

        `words` is a list then, with those of each query, alone or beside vectors or `texts`; so are the
        sparse vectors of each column in `sparse`. Everything else is said once for all queries. `rerank` is
        called once for each, by several threads at a time.

        Raises as `search`, naming the row, and `InvalidArgument` for lists of different lengths.

        >>> ids, distances = docs.search_batch([[0, 0], [3, 4]], k=1)
        >>> ids.tolist(), distances.tolist()
        ([[1], [2]], [[0.0], [0.0]])
        >>> _ = docs.add_text_index("title")
        >>> docs.search_batch([[0, 0], [3, 4]], words=["far", "far"], alpha=0.2, k=1).ids.tolist()
        [[2], [2]]
        """
    def search_sparse(
        self,
        column: str,
        query: _Sparse,
        k: int = 10,
        *,
        max_distance: float | None = None,
        select: str | Sequence[str] | None = None,
        vectors: bool = False,
        where: _Where = None,
        offset: int | None = None,
        min_distance: float | None = None,
        group_by: str | None = None,
        per_group: int = 1,
        mmr: float | None = None,
        mmr_candidates: int | None = None,
        window: int | None = None,
        document: str | None = None,
        position: str = "position",
        words: str | None = None,
        plain: bool = False,
        words_in: str | Sequence[str] | Mapping[str, float] | None = None,
        highlight: bool | int | None = None,
        fusion: Literal["rrf", "weighted"] | None = None,
        rrf_k: float | None = None,
        alpha: float | None = None,
        normalize: Literal["minmax", "zscore"] | None = None,
        candidates: int | None = None,
        rerank: _Rerank | None = None,
        rerank_candidates: int | None = None,
        sparse: Mapping[str, _Sparse] | None = None,
    ) -> Hits:
        """The `k` rows whose sparse vectors in `column` have the largest inner product with `query`: a dict of
        indices and weights, a pair of lists or arrays of both, or an object with `indices` and `values` or
        `data`. The product is the score, its negation the distance; hits are exact. Found are rows that have
        an index in common with the query, so that fewer than `k` may be. Other arguments are as for `search`.

        A column of sparse vectors (type "sparse") is written in the same forms, one for each row, or as a
        matrix of SciPy in compressed rows.

        >>> docs.upsert([7, 8], [[0, 0], [1, 1]], {"words": [{3: 0.5, 9: 1.0}, ([9], [2.0])]})
        2
        >>> hits = docs.search_sparse("words", {3: 1.0, 9: 1.0}, k=2)
        >>> hits.ids.tolist(), hits.scores.tolist(), hits[0]["words"]
        ([8, 7], [2.0, 1.5], {9: 2.0})
        """
    def scan(
        self,
        batch_size: int = 4096,
        *,
        select: str | Sequence[str] | None = None,
        vectors: bool = False,
        after: _Id | None = None,
        limit: int | None = None,
        where: _Where = None,
    ) -> Scan:
        """Walks through all rows in ascending order of id: an iterator of `Records` of at most
        `batch_size` rows (1 to 65,536) each, behind the id `after`, `limit` rows in all, those that
        `where` finds (as for `search`). Rows written meanwhile do not appear.

        Raises `NotFound` for an unknown column, `SchemaMismatch` for an id of another type,
        `FilterError`.

        >>> for records in docs.scan(batch_size=1000, select=["title"]):
        ...     print(records.to_dicts())
        [{'id': 1, 'title': 'near'}, {'id': 2, 'title': 'far'}]
        """
    def search_sparse_batch(
        self,
        column: str,
        queries: Iterable[_Sparse] | _SparseMatrix,
        k: int = 10,
        *,
        max_distance: float | None = None,
        select: str | Sequence[str] | None = (),
        vectors: bool = False,
        where: _Where = None,
        offset: int | None = None,
        min_distance: float | None = None,
        group_by: str | None = None,
        per_group: int = 1,
        mmr: float | None = None,
        mmr_candidates: int | None = None,
        window: int | None = None,
        document: str | None = None,
        position: str = "position",
        words: _Texts | None = None,
        plain: bool = False,
        words_in: str | Sequence[str] | Mapping[str, float] | None = None,
        highlight: bool | int | None = None,
        fusion: Literal["rrf", "weighted"] | None = None,
        rrf_k: float | None = None,
        alpha: float | None = None,
        normalize: Literal["minmax", "zscore"] | None = None,
        candidates: int | None = None,
        rerank: _Rerank | None = None,
        rerank_candidates: int | None = None,
        sparse: Mapping[str, Iterable[_Sparse] | _SparseMatrix] | None = None,
    ) -> BatchHits:
        """Many searches at once as `search_sparse` does them, on all threads of the database: `queries` is a list
        of sparse vectors, or a matrix of SciPy in compressed rows. What comes back is as of `search_batch`.

        Raises as `search_sparse`, naming the query.

        >>> docs.upsert([7, 8], [[0, 0], [1, 1]], {"words": [{3: 0.5, 9: 1.0}, {9: 2.0}]})
        2
        >>> found = docs.search_sparse_batch("words", [{3: 1.0}, {9: 1.0}], k=2)
        >>> found.ids.tolist(), found.scores.tolist()
        ([[7, -1], [8, 7]], [[0.5, -inf], [2.0, 1.0]])
        """
    def explain_sparse(
        self,
        column: str,
        query: _Sparse,
        k: int = 10,
        *,
        max_distance: float | None = None,
        select: str | Sequence[str] | None = None,
        vectors: bool = False,
        where: _Where = None,
        offset: int | None = None,
        min_distance: float | None = None,
        group_by: str | None = None,
        per_group: int = 1,
        mmr: float | None = None,
        mmr_candidates: int | None = None,
        window: int | None = None,
        document: str | None = None,
        position: str = "position",
        words: str | None = None,
        plain: bool = False,
        words_in: str | Sequence[str] | Mapping[str, float] | None = None,
        highlight: bool | int | None = None,
        fusion: Literal["rrf", "weighted"] | None = None,
        rrf_k: float | None = None,
        alpha: float | None = None,
        normalize: Literal["minmax", "zscore"] | None = None,
        candidates: int | None = None,
        rerank: _Rerank | None = None,
        rerank_candidates: int | None = None,
        sparse: Mapping[str, _Sparse] | None = None,
    ) -> Explanation:
        """Searches as `search_sparse` does and says how; see `explain`.

        Raises as `search_sparse`.

        >>> docs.upsert([7, 8], [[0, 0], [1, 1]], {"words": [{3: 0.5, 9: 1.0}, {9: 2.0}]})
        2
        >>> explained = docs.explain_sparse("words", {9: 1.0}, k=1)
        >>> explained.hits.ids.tolist(), sum(part["rows"] for part in explained.parts)
        ([8], 4)
        """
    def measure_recall(
        self,
        queries: _Vectors | None = None,
        k: int = 10,
        *,
        sample: int = 200,
        ef: int | None = None,
        recall: float | None = None,
        where: _Where = None,
    ) -> dict[str, Any]:
        """Measures recall: which share of the true `k` nearest rows searches find, beside comparing every row. It
        searches for `queries`, or, if they are left out, for a `sample` of its own rows, each as if the
        collection did not have it. `ef`, `recall` and `where` are as for `search`. Returns a dict: "recall", the
        mean over "queries" searches; "low" and "high", between which the mean over all such queries lies for
        95 of a hundred samples; "percentile_5", the recall that one query in twenty falls short of; "k".

        Queries that are unlike the rows are harder to answer: measure with those that you have.

        Raises as `search`, and `InvalidArgument` when there is nothing to search for or to find.

        >>> docs.measure_recall(k=1, recall=0.95)["recall"]
        1.0
        """
    def calibrate(self, queries: _Vectors | None) -> dict[str, Any] | None:
        """Learns from `queries` (50 at least, as users ask them) how far searches must go for the `recall` that is
        asked for, where queries are unlike the rows: questions, say, or texts that look for images. What it
        learns is durable, takes the place of what it learned before, and stays when segments are merged. It
        compares every row with every query. Returns a dict of the number of "queries" and "points", a dict for each
        recall that was tried: "asked", "factor" (how many times less may be missed of rows for it) and "found".
        `None` forgets what was learned, and returns None.

        Raises `InvalidArgument` for too few queries, `DimensionMismatch`, `InvalidVector` and what writes do.

        >>> docs.calibrate(None)
        """
    def snapshot(self) -> Snapshot:
        """The rows there are now, to be read as often as wanted while writers go on; see `Snapshot`.

        Raises `Closed` and `Forked`.

        >>> len(docs.snapshot())
        2
        """
    def add_text_index(
        self, column: str, options: str | _TextOptions | None = "english"
    ) -> bool:
        """Has the texts of a column indexed for search by words, or indexed anew: in a language ("english",
        "de", …; `None` for words as they are), or as a dict of language, stop_words, stem, k1 and b
        says. Returns whether that is a change. Rows that are there are indexed when a search first
        wants it.

        Raises `NotFound` for an unknown column, `InvalidArgument` for one that is not text and for an
        unknown language.

        >>> docs.add_text_index("title", "german")
        True
        >>> docs.search(words="near OR fern")[0].id
        1
        """
    def add_columns(self, columns: Mapping[str, _ColumnType] | None = None, *, text: _Text | None = None) -> int:
        """Adds columns, null in every row there is, from a dict of names and types, and columns of `text` to be
        searched by words, both as `Database.collection` takes them. Those that exist with the same type
        are passed over, but indexed as `text` says. Returns how many were added.

        Raises `SchemaMismatch` for a column that exists with another type, `InvalidArgument`
        for a name that no column can have.

        >>> docs.add_columns({"year": int, "title": "utf8"}, text={"summary": "german"})
        2
        """
    def export_file(
        self,
        path: _Path,
        *,
        format: _FileFormat | None = None,
        select: str | Sequence[str] | None = None,
        progress: _Progress = None,
        where: _Where = None,
    ) -> int:
        """Writes all rows to the file `path`: ids, vectors and the columns of `select` (all if it is left
        out). `format` is "parquet", "arrow", "arrow_stream" or "jsonl", left out what the extension says.
        All but JSON lines say the metric, dtype and dimension too, and an import makes its collection so.
        `where` is as for `search`, `progress` as for `upsert`. Returns how many rows were written.

        Raises `InvalidArgument` for an unknown format or extension, `NotFound` for an unknown
        column, `FilterError`, `IoError`; nothing is left at `path` then.

        >>> docs.export_file(tmp / "docs.parquet")
        2
        """
    def flush(self) -> None:
        """Makes everything written so far durable and visible to readers in other processes.

        Raises `Full`, `IoError`, `Poisoned`, `ReadOnly`.

        >>> docs.flush()
        """
    def compact(self) -> dict[str, Any]:
        """Merges all segments, drops dead rows, builds graphs and gives the space back, while reads
        and writes go on; Ctrl-C ends it. Returns a dict of what was done.

        Raises as `flush`, and `Corrupt`; the collection stays as it was.

        >>> docs.compact()["rows"]
        2
        """
    def verify(self, *, progress: _Progress = None) -> dict[str, Any]:
        """Reads every byte of every file and checks it; Ctrl-C ends it. Returns a dict; its "problems" are
        empty when everything is whole. `progress` is as for `upsert`; it counts bytes.

        Raises `Closed`, `Forked`, `IoError`; what is damaged is told in the dict.

        >>> docs.verify()["problems"]
        []
        """
    def stats(self) -> dict[str, Any]:
        """Numbers about the collection, as a dict: rows, dead rows, bytes, segments, "debt_rows" that merges in
        the background have yet to take by the settings of this handle (`None` in a reader), "writes" since opening
        and "searches": their "count" and, in nanoseconds, "p50_ns", "p95_ns", "p99_ns", "max_ns" and a
        "histogram".

        Raises `Closed` and `Forked`.

        >>> docs.stats()["rows"]
        2
        """
    def refresh(self) -> bool:
        """In a reader (`mode="r"`): moves to the newest state that the writer has made durable.
        Returns whether anything changed; always False in a writer, which is never behind.

        Raises `Closed` when the collection was dropped, `Corrupt`, `IoError`.

        >>> docs.refresh()
        False
        """
    def close(self) -> None:
        """Makes what was written durable and closes the collection; `db["name"]` opens it again.

        Raises what the last write fails with; the collection is closed all the same.

        >>> docs.close()
        """
    def __reduce__(self) -> tuple[Any, ...]: ...
    def __contains__(self, id: _Id, /) -> bool: ...
    def __len__(self) -> int: ...
    def _repr_html_(self) -> str: ...

@final
class Snapshot:
    """The rows of a collection at one moment, to be read as often as wanted while writers go on. Made by
    `Collection.snapshot`. It searches (vectors, texts, words, sparse vectors, one or many, with the
    embedder that the collection was opened with), explains, gets, counts and scans as the collection
    does; it does not write, export, or tell name, schema and stats. A collection that is closed leaves
    its snapshots readable.

    >>> before = docs.snapshot()
    >>> docs.delete([1, 2])
    2
    >>> len(before), len(docs), before.search([0, 0], k=1)[0].id
    (2, 0, 1)
    """
    @property
    def seq(self) -> int:
        """Number of the last write that it holds.

        >>> docs.snapshot().seq == docs.snapshot().seq
        True
        """
    def search(
        self,
        q: _Vectors | None = None,
        k: int = 10,
        *,
        text: str | None = None,
        ef: int | None = None,
        recall: float | None = None,
        exact: bool = False,
        max_distance: float | None = None,
        select: str | Sequence[str] | None = None,
        vectors: bool = False,
        where: _Where = None,
        offset: int | None = None,
        min_distance: float | None = None,
        group_by: str | None = None,
        per_group: int = 1,
        mmr: float | None = None,
        mmr_candidates: int | None = None,
        window: int | None = None,
        document: str | None = None,
        position: str = "position",
        words: str | None = None,
        plain: bool = False,
        words_in: str | Sequence[str] | Mapping[str, float] | None = None,
        highlight: bool | int | None = None,
        fusion: Literal["rrf", "weighted"] | None = None,
        rrf_k: float | None = None,
        alpha: float | None = None,
        normalize: Literal["minmax", "zscore"] | None = None,
        candidates: int | None = None,
        rerank: _Rerank | None = None,
        rerank_candidates: int | None = None,
        sparse: Mapping[str, _Sparse] | None = None,
    ) -> Hits:
        """As `Collection.search`.

        >>> docs.snapshot().search([3, 4], k=1).ids.tolist()
        [2]
        """
    def explain(
        self,
        q: _Vectors | None = None,
        k: int = 10,
        *,
        text: str | None = None,
        ef: int | None = None,
        recall: float | None = None,
        exact: bool = False,
        max_distance: float | None = None,
        select: str | Sequence[str] | None = None,
        vectors: bool = False,
        where: _Where = None,
        offset: int | None = None,
        min_distance: float | None = None,
        group_by: str | None = None,
        per_group: int = 1,
        mmr: float | None = None,
        mmr_candidates: int | None = None,
        window: int | None = None,
        document: str | None = None,
        position: str = "position",
        words: str | None = None,
        plain: bool = False,
        words_in: str | Sequence[str] | Mapping[str, float] | None = None,
        highlight: bool | int | None = None,
        fusion: Literal["rrf", "weighted"] | None = None,
        rrf_k: float | None = None,
        alpha: float | None = None,
        normalize: Literal["minmax", "zscore"] | None = None,
        candidates: int | None = None,
        rerank: _Rerank | None = None,
        rerank_candidates: int | None = None,
        sparse: Mapping[str, _Sparse] | None = None,
    ) -> Explanation:
        """As `Collection.explain`.

        >>> docs.snapshot().explain([3, 4], k=1).hits.ids.tolist()
        [2]
        """
    def search_batch(
        self,
        queries: _Vectors | None = None,
        k: int = 10,
        *,
        texts: _Texts | None = None,
        ef: int | None = None,
        recall: float | None = None,
        exact: bool = False,
        max_distance: float | None = None,
        select: str | Sequence[str] | None = (),
        vectors: bool = False,
        where: _Where = None,
        offset: int | None = None,
        min_distance: float | None = None,
        group_by: str | None = None,
        per_group: int = 1,
        mmr: float | None = None,
        mmr_candidates: int | None = None,
        window: int | None = None,
        document: str | None = None,
        position: str = "position",
        words: _Texts | None = None,
        plain: bool = False,
        words_in: str | Sequence[str] | Mapping[str, float] | None = None,
        highlight: bool | int | None = None,
        fusion: Literal["rrf", "weighted"] | None = None,
        rrf_k: float | None = None,
        alpha: float | None = None,
        normalize: Literal["minmax", "zscore"] | None = None,
        candidates: int | None = None,
        rerank: _Rerank | None = None,
        rerank_candidates: int | None = None,
        sparse: Mapping[str, Iterable[_Sparse] | _SparseMatrix] | None = None,
    ) -> BatchHits:
        """As `Collection.search_batch`.

        >>> docs.snapshot().search_batch([[0, 0], [3, 4]], k=1).ids.tolist()
        [[1], [2]]
        """
    def search_sparse(
        self,
        column: str,
        query: _Sparse,
        k: int = 10,
        *,
        max_distance: float | None = None,
        select: str | Sequence[str] | None = None,
        vectors: bool = False,
        where: _Where = None,
        offset: int | None = None,
        min_distance: float | None = None,
        group_by: str | None = None,
        per_group: int = 1,
        mmr: float | None = None,
        mmr_candidates: int | None = None,
        window: int | None = None,
        document: str | None = None,
        position: str = "position",
        words: str | None = None,
        plain: bool = False,
        words_in: str | Sequence[str] | Mapping[str, float] | None = None,
        highlight: bool | int | None = None,
        fusion: Literal["rrf", "weighted"] | None = None,
        rrf_k: float | None = None,
        alpha: float | None = None,
        normalize: Literal["minmax", "zscore"] | None = None,
        candidates: int | None = None,
        rerank: _Rerank | None = None,
        rerank_candidates: int | None = None,
        sparse: Mapping[str, _Sparse] | None = None,
    ) -> Hits:
        """As `Collection.search_sparse`.

        >>> docs.upsert(9, [1, 1], [{"words": {3: 0.5}}])
        1
        >>> docs.snapshot().search_sparse("words", {3: 2.0}).scores.tolist()
        [1.0]
        """
    def search_sparse_batch(
        self,
        column: str,
        queries: Iterable[_Sparse] | _SparseMatrix,
        k: int = 10,
        *,
        max_distance: float | None = None,
        select: str | Sequence[str] | None = (),
        vectors: bool = False,
        where: _Where = None,
        offset: int | None = None,
        min_distance: float | None = None,
        group_by: str | None = None,
        per_group: int = 1,
        mmr: float | None = None,
        mmr_candidates: int | None = None,
        window: int | None = None,
        document: str | None = None,
        position: str = "position",
        words: _Texts | None = None,
        plain: bool = False,
        words_in: str | Sequence[str] | Mapping[str, float] | None = None,
        highlight: bool | int | None = None,
        fusion: Literal["rrf", "weighted"] | None = None,
        rrf_k: float | None = None,
        alpha: float | None = None,
        normalize: Literal["minmax", "zscore"] | None = None,
        candidates: int | None = None,
        rerank: _Rerank | None = None,
        rerank_candidates: int | None = None,
        sparse: Mapping[str, Iterable[_Sparse] | _SparseMatrix] | None = None,
    ) -> BatchHits:
        """As `Collection.search_sparse_batch`.

        >>> docs.upsert(9, [1, 1], [{"words": {3: 0.5}}])
        1
        >>> docs.snapshot().search_sparse_batch("words", [{3: 2.0}, {4: 2.0}], k=1).counts.tolist()
        [1, 0]
        """
    def explain_sparse(
        self,
        column: str,
        query: _Sparse,
        k: int = 10,
        *,
        max_distance: float | None = None,
        select: str | Sequence[str] | None = None,
        vectors: bool = False,
        where: _Where = None,
        offset: int | None = None,
        min_distance: float | None = None,
        group_by: str | None = None,
        per_group: int = 1,
        mmr: float | None = None,
        mmr_candidates: int | None = None,
        window: int | None = None,
        document: str | None = None,
        position: str = "position",
        words: str | None = None,
        plain: bool = False,
        words_in: str | Sequence[str] | Mapping[str, float] | None = None,
        highlight: bool | int | None = None,
        fusion: Literal["rrf", "weighted"] | None = None,
        rrf_k: float | None = None,
        alpha: float | None = None,
        normalize: Literal["minmax", "zscore"] | None = None,
        candidates: int | None = None,
        rerank: _Rerank | None = None,
        rerank_candidates: int | None = None,
        sparse: Mapping[str, _Sparse] | None = None,
    ) -> Explanation:
        """As `Collection.explain_sparse`.

        >>> docs.upsert(9, [1, 1], [{"words": {3: 0.5}}])
        1
        >>> docs.snapshot().explain_sparse("words", {3: 2.0}).hits.ids.tolist()
        [9]
        """
    def get(
        self, ids: _Ids, select: str | Sequence[str] | None = None, vectors: bool = False
    ) -> Records:
        """As `Collection.get`.

        >>> docs.snapshot().get([2]).to_dicts()
        [{'id': 2, 'title': 'far'}]
        """
    def contains(self, id: _Id) -> bool:
        """As `Collection.contains`.

        >>> docs.snapshot().contains(1)
        True
        """
    def count(self, *, where: _Where = None) -> int:
        """As `Collection.count`.

        >>> docs.snapshot().count(where="id > 1")
        1
        """
    def scan(
        self,
        batch_size: int = 4096,
        *,
        select: str | Sequence[str] | None = None,
        vectors: bool = False,
        after: _Id | None = None,
        limit: int | None = None,
        where: _Where = None,
    ) -> Scan:
        """As `Collection.scan`.

        >>> [records.ids.tolist() for records in docs.snapshot().scan(limit=1)]
        [[1]]
        """
    def __contains__(self, id: _Id, /) -> bool: ...
    def __len__(self) -> int: ...

def col(name: str) -> Column:
    """The column `name`, to be compared: `nf.col("year") >= 2019`. See `Column` and `Filter`.

    >>> import nearfield as nf
    >>> nf.col("tags").has("rust") | nf.col("year").between(2019, 2024)
    Filter("tags HAS 'rust' OR year BETWEEN 2019 AND 2024")
    """
@final
class Column:
    """A column to be compared with something, or the id of the row (`nf.col("id")`). A bool column may
    stand alone.

    >>> import nearfield as nf
    >>> (nf.col("year") >= 2019) & ~nf.col("lang").isin(["en", "de"])
    Filter("year >= 2019 AND lang NOT IN ('en', 'de')")
    """
    def __eq__(self, other: _Value) -> Filter: ...  # type: ignore[override]
    def __ne__(self, other: _Value) -> Filter: ...  # type: ignore[override]
    def __lt__(self, other: _Value) -> Filter: ...
    def __le__(self, other: _Value) -> Filter: ...
    def __gt__(self, other: _Value) -> Filter: ...
    def __ge__(self, other: _Value) -> Filter: ...
    def __and__(self, other: _Condition) -> Filter: ...
    def __or__(self, other: _Condition) -> Filter: ...
    def __rand__(self, other: _Condition) -> Filter: ...
    def __ror__(self, other: _Condition) -> Filter: ...
    def __invert__(self) -> Filter: ...
    def __bool__(self) -> bool: ...
    def __reduce__(self) -> tuple[Any, ...]: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]
    def between(self, low: _Value, high: _Value) -> Filter:
        """From `low` to `high`, both included.

        >>> nf.col("year").between(2019, 2024)
        Filter("year BETWEEN 2019 AND 2024")
        """
    def isin(self, values: Iterable[_Value] | npt.NDArray[Any]) -> Filter:
        """Equal to one of `values`.

        >>> nf.col("lang").isin(["en", "de"])
        Filter("lang IN ('en', 'de')")
        """
    def is_null(self) -> Filter:
        """Without a value; also `column == None`.

        >>> docs.count(where=nf.col("title").is_null())
        0
        """
    def is_not_null(self) -> Filter:
        """With a value; also `column != None`.

        >>> docs.count(where=nf.col("title").is_not_null())
        2
        """
    def like(self, pattern: str, escape: str | None = None) -> Filter:
        """Text of the form of `pattern`: `%` is any text, `_` one character, `escape` takes the meaning from
        the one behind it.

        >>> docs.count(where=nf.col("title").like("%a%"))
        2
        """
    def ilike(self, pattern: str, escape: str | None = None) -> Filter:
        """`like` without regard to case.

        >>> docs.count(where=nf.col("title").ilike("NEA_"))
        1
        """
    def starts_with(self, prefix: str) -> Filter:
        """Text that begins with `prefix`.

        >>> docs.count(where=nf.col("title").starts_with("fa"))
        1
        """
    def contains(self, part: str) -> Filter:
        """Text with `part` in it; a list that has it.

        >>> docs.count(where=nf.col("title").contains("ear"))
        1
        """
    def has(self, value: str) -> Filter:
        """The list has `value`.

        >>> nf.col("tags").has("rust")
        Filter("tags HAS 'rust'")
        """
    def has_any(self, values: Iterable[str]) -> Filter:
        """The list has one of `values`.

        >>> nf.col("tags").has_any(["rust", "c"])
        Filter("tags HAS ANY ('rust', 'c')")
        """
    def has_all(self, values: Iterable[str]) -> Filter:
        """The list has each of `values`.

        >>> nf.col("tags").has_all(["rust", "c"])
        Filter("tags HAS ALL ('rust', 'c')")
        """

@final
class Filter:
    """Which rows are wanted. Made by comparing columns (`nf.col("year") >= 2019`), of the text of an SQL
    WHERE clause or of a dict; taken as `where=` wherever rows are chosen, where the text and the
    dict are taken too.

    Filters are joined by `&`, `|` and `~` (with brackets: `(a == 1) & (b == 2)`), and printed as text.

    In text there are `= <> != < <= > >=`, `IN`, `BETWEEN`, `IS NULL`, `LIKE`, `ILIKE` (`%` any text, `_` one
    character; `LIKE '10!%' ESCAPE '!'` looks for the sign itself), `STARTS WITH`, `CONTAINS`, for lists `HAS`,
    `HAS ANY`, `HAS ALL`, each with a `NOT`, joined by `AND`, `OR`, `NOT` and brackets. Text is quoted by `'`,
    names that are no plain words by `"`, times are `TIMESTAMP '2024-02-29T12:00:00Z'`. The id of a row is `id`.

    In dicts there are `$eq $ne $gt $gte $lt $lte $in $nin $between $exists $like $nlike $ilike $nilike
    $starts_with` (or `$prefix`) `$contains $not_contains $has $has_any $has_all`, joined by
    `$and $or $nor $not`. Any mapping is taken for a dict.

    Logic is that of SQL: a comparison with null is neither true nor false, and rows are found for which
    the filter is true. NaN is equal to nothing, neither smaller nor larger, and cannot be asked for.

    >>> import nearfield as nf
    >>> nf.Filter("title LIKE 'n%' and id in (1, 2)")
    Filter("title LIKE 'n%' AND id IN (1, 2)")
    >>> docs.count(where=nf.Filter({"title": {"$in": ["near", "far"]}}) & (nf.col("id") > 1))
    1
    """
    def __new__(cls, where: _Condition) -> Self: ...
    def __and__(self, other: _Condition) -> Filter: ...
    def __or__(self, other: _Condition) -> Filter: ...
    def __rand__(self, other: _Condition) -> Filter: ...
    def __ror__(self, other: _Condition) -> Filter: ...
    def __invert__(self) -> Filter: ...
    def __bool__(self) -> bool: ...
    def __eq__(self, other: object) -> bool: ...
    def __hash__(self) -> int: ...
    def __str__(self) -> str: ...
    def __reduce__(self) -> tuple[Any, ...]: ...

@final
class Explanation:
    """What a search found, how each part of the collection was searched for it, and what that took.
    Made by `Collection.explain`.

    >>> explained = docs.explain([0, 1], k=1)
    >>> explained.parts[0]["plan"], explained.parts[0]["rows_compared"], explained.hits[0].id
    ('scan', 2, 1)
    """
    @property
    def hits(self) -> Hits:
        """What `search` would have given.

        >>> docs.explain([3, 4], k=1).hits.ids.tolist()
        [2]
        """
    @property
    def recall(self) -> float | None:
        """The recall that was asked for; None where none was.

        >>> docs.explain([3, 4], recall=0.95).recall
        0.95
        """
    @property
    def parts(self) -> list[dict[str, Any]]:
        """A dict for each part that was searched, by the vector first, then by words and by sparse vectors: its
        "list" ("vector", "words" or "sparse", with the "column" of sparse vectors, else None), "segment" (None for rows in memory), "plan" ("scan", "scan_matching", "scan_codes", "walk",
        "walk_then_scan", "scan_codes_then_scan", "postings" of sparse vectors, "words"), "rows",
        "live_rows", "ef" (candidates that a walk was planned for), "slack" (how many times as far as the hits it
        went on, rather than for all of its candidates) and "ef_source" ("given", "settings", "measured" when
        the graph was built, "calibrated", "formula"), all three None where there was no walk, "nodes_expanded",
        "codes_compared", "rows_compared", "postings_read" (entries of inverted indexes), "bytes_touched", "walk_cost" and "scan_cost" (what the plan was chosen by, counted in
        distances; 0 where there was no choice), "candidates", "matching_rows" (of the filter, else None),
        "rounded" (whether distances of vectors are estimates, of rounded ones: `raw="none"`),
        "damaged" (tags of the sections in which damage was found; those that are not rows were done without),
        "seconds".

        >>> docs.explain([3, 4]).parts[0]["rows"]
        2
        """
    @property
    def filter(self) -> dict[str, Any] | None:
        """What was filtered: a dict of the "filter" as text, the "matching_rows" of the collection, what
        "served" it (pairs of a column and "remembered", "lookup", "sorted index", "bitmap index", "zones"
        or "column"), and the "seconds" that finding them took, a part of `prepare_seconds`. None without
        a filter.

        >>> docs.explain([3, 4], where="id = 1").filter["matching_rows"]
        1
        """
    @property
    def words(self) -> dict[str, Any] | None:
        """What was looked for by words: a dict of the "columns" (pairs of a name and a weight) and the "terms",
        a dict for each with its "column", the "term" as the column cuts it, and the live "rows" that have it,
        whatever a filter leaves of them. No terms where the query has stop words alone; None without words.

        >>> docs.explain([3, 4]).words is None
        True
        """
    @property
    def prepare_seconds(self) -> float:
        """Seconds to check and convert the query, and to find the rows of the filter.

        >>> docs.explain([3, 4]).prepare_seconds < 60
        True
        """
    @property
    def search_seconds(self) -> float:
        """Seconds to search all parts and merge what they gave.

        >>> docs.explain([3, 4]).search_seconds < 60
        True
        """
    @property
    def rerank_seconds(self) -> float | None:
        """Seconds of `search_seconds` that the function which ranks took, with the reading of its candidates;
        None without one.

        >>> docs.explain([3, 4]).rerank_seconds is None
        True
        """
    @property
    def read_seconds(self) -> float:
        """Seconds to read columns and vectors of the hits.

        >>> docs.explain([3, 4]).read_seconds < 60
        True
        """
    def _repr_html_(self) -> str: ...

@final
class Index:
    """Vectors in memory and the nearest of them, without a database: for those who keep their rows
    elsewhere. Each vector has a number for an id. May be used from any thread; searches of several
    threads run beside each other.

    `metric` is "l2" (squared Euclidean distance), "cosine" or "dot", for bits "hamming" or "jaccard";
    `dtype` is what vectors are stored in: "f32", "f16", "bf16", "i8", "u8", "b1". `m` is how many
    links a node of the graph has, 2 to 64, and `ef_construction` how many candidates a build keeps:
    more of either find more of the true neighbours and build slower. `ef` (100) is how many a search
    keeps unless it says otherwise. `threads` is for builds and batch searches, 0 for one a core.
    `code` says what leads searches to candidates, see `nearfield.open`.

    Vectors are read as those of a `Collection`. What is in memory is gone with the process unless
    it was saved. Pickling saves it inside the pickle.

    >>> import nearfield as nf
    >>> index = nf.Index(2, "l2")
    >>> index.add([[0, 0], [3, 4], [9, 9]])
    3
    >>> ids, distances = index.search([2, 3], k=2)
    >>> ids.tolist(), distances.tolist()
    ([1, 0], [2.0, 13.0])
    """
    def __new__(
        cls,
        dim: int,
        metric: _Metric = "cosine",
        dtype: _Dtype = "f32",
        m: int = 16,
        ef_construction: int = 200,
        *,
        ef: int = 100,
        threads: int = 0,
        code: _Code = "auto",
    ) -> Self: ...
    @staticmethod
    def load(path: _Path, *, ef: int = 100, threads: int = 0) -> Index:
        """Reads a file of `save` into memory and checks all of it. `ef` and `threads` are as for a new
        index.

        Raises `Corrupt`, `Incompatible` and `IoError`.

        >>> index = nf.Index(2)
        >>> index.save(tmp / "two.nfi")
        >>> len(nf.Index.load(tmp / "two.nfi", threads=1))
        0
        """
    @staticmethod
    def view(path: _Path, *, ef: int = 100, threads: int = 0) -> Index:
        """Maps a file of `save`: ready at once whatever its size, shared between processes, and not to
        be changed. The file must stay as it is meanwhile; `save` replaces files as a whole, which is
        safe.

        Raises `Corrupt`, `Incompatible` and `IoError`; damage that is met later makes searches
        raise `Corrupt`.

        >>> index = nf.Index(1, "l2")
        >>> index.add([[1], [2]])
        2
        >>> index.save(tmp / "one.nfi")
        >>> nf.Index.view(tmp / "one.nfi").search([3], k=1)[0].tolist()
        [1]
        """
    @property
    def dim(self) -> int:
        """Dimensions of a vector.

        >>> nf.Index(3).dim
        3
        """
    @property
    def metric(self) -> str:
        """How vectors are compared.

        >>> nf.Index(3).metric
        'cosine'
        """
    @property
    def dtype(self) -> str:
        """What vectors are stored in.

        >>> nf.Index(3, dtype="i8").dtype
        'i8'
        """
    @property
    def ef(self) -> int:
        """How many candidates a search keeps unless it says otherwise; may be set.

        >>> index = nf.Index(3)
        >>> index.ef = 30
        >>> index.ef
        30
        """
    @ef.setter
    def ef(self, ef: int) -> None: ...
    @property
    def unbuilt(self) -> int:
        """Rows that the graph does not hold yet, which searches compare one by one.

        >>> index = nf.Index(1)
        >>> index.add([[1], [2]]), index.unbuilt
        (2, 2)
        """
    def add(self, vectors: _Vectors, ids: _Ids | None = None) -> int:
        """Adds `vectors` of shape (rows, dim), each under one of the integers of `ids`, or numbered on
        from the largest there has been. Returns how many were added. Raises `DuplicateId` when an id is
        there already, and adds nothing then.

        Also raises `DimensionMismatch`, `InvalidVector` (NaN, infinity, out of range),
        `ReadOnly` for a `view`.

        >>> index = nf.Index(2)
        >>> index.add([[1, 0]]), index.add([[0, 1], [1, 1]], [70, 80])
        (1, 2)
        """
    def remove(self, ids: _Ids) -> int:
        """Removes the vectors of `ids`. Returns how many there were.

        Raises `ReadOnly` for a `view`, `TypeError` for ids that are strings.

        >>> index = nf.Index(1)
        >>> index.add([[1], [2]]), index.remove([1, 99]), 1 in index, len(index)
        (2, 1, False, 1)
        """
    def build(self) -> None:
        """Brings all vectors into the graph, on all threads; Ctrl-C ends it. The first search of many
        new vectors does it by itself.

        Raises `Forked` in a child of a fork, and `KeyboardInterrupt`; the index stays usable
        then.

        >>> index = nf.Index(1)
        >>> index.add([[1], [2]])
        2
        >>> index.build()
        >>> index.unbuilt
        0
        """
    def save(self, path: _Path) -> None:
        """Writes the index to the file `path`, whole and durable, in place of what is there.

        Raises `Full` and `IoError`; what was at `path` is still there then.

        >>> nf.Index(3).save(tmp / "empty.nfi")
        """
    def search(
        self,
        q: _Vectors,
        k: int = 10,
        *,
        ef: int | None = None,
        exact: bool = False,
        max_distance: float | None = None,
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32]]:
        """The `k` vectors nearest to `q`: an array of ids (int64) and one of distances (float32), nearest
        first, shorter if there are fewer. Arguments are as for `Collection.search`.

        Raises `DimensionMismatch`, `InvalidVector` (NaN, infinity), and `Corrupt` for a damaged
        `view`.

        >>> index = nf.Index(1, "l2")
        >>> index.add([[1], [2], [4]])
        3
        >>> index.search([3], k=5, max_distance=1)[0].tolist()
        [1, 2]
        """
    def search_batch(
        self,
        queries: _Vectors,
        k: int = 10,
        *,
        ef: int | None = None,
        exact: bool = False,
        max_distance: float | None = None,
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32]]:
        """Many searches at once, on all threads of the index: an array of ids and one of distances, both of
        shape (queries, k). Where a query has fewer than k, the id is -1 and the distance infinite. With
        k above 1,024 and above the number of vectors, the arrays are as wide as that. Ctrl-C ends it.

        Raises as `search`, naming the row.

        >>> index = nf.Index(1, "l2")
        >>> index.add([[1], [2]])
        2
        >>> ids, distances = index.search_batch([[0], [3]], k=3)
        >>> ids.tolist(), distances.tolist()
        ([[0, 1, -1], [1, 0, -1]], [[1.0, 4.0, inf], [1.0, 4.0, inf]])
        """
    def __reduce__(self) -> tuple[Any, ...]: ...
    def __contains__(self, id: _Id, /) -> bool: ...
    def __len__(self) -> int: ...

@final
class Hit:
    """One hit: `hit.id`, `hit.distance`, `hit.score`, `hit["column"]`.

    >>> hit = docs.search([3, 4], k=1, select=["title"])[0]
    >>> hit.to_dict()
    {'id': 2, 'distance': 0.0, 'score': -0.0, 'title': 'far'}
    """
    @property
    def id(self) -> Any:
        """The row's id.

        >>> docs.search([0, 0])[0].id
        1
        """
    @property
    def distance(self) -> float:
        """The distance under the collection's metric: smaller is closer.

        >>> docs.search([0, 1])[0].distance
        1.0
        """
    @property
    def score(self) -> float:
        """The same as a score: bigger is better.

        >>> docs.search([0, 1])[0].score
        -1.0
        """
    @property
    def vector(self) -> npt.NDArray[Any] | None:
        """The vector as it is stored; `None` unless the search was asked for it.

        >>> docs.search([3, 3], vectors=True)[0].vector.tolist()
        [3.0, 4.0]
        """
    def highlights(self, before: str = "**", after: str = "**") -> dict[str, str]:
        """For each column of text that was searched by words, the piece of it in which they stand, each word
        between `before` and `after`, `…` where the text goes on. Empty unless the search was asked to
        `highlight`. Nothing is escaped: for a page use `snippets`.

        >>> _ = docs.add_text_index("title")
        >>> docs.search(words="far", highlight=True)[0].highlights("<b>", "</b>")
        {'title': '<b>far</b>'}
        """
    @property
    def snippets(self) -> dict[str, _Snippet]:
        """The same as parts: for each column a dict of the "text" of the piece, its "marks", which are (begin, end)
        of each word, `text[begin:end]`, and whether it is "cut_before" and "cut_after".

        >>> _ = docs.add_text_index("title")
        >>> docs.search(words="far", highlight=True)[0].snippets["title"]
        {'text': 'far', 'marks': [(0, 3)], 'cut_before': False, 'cut_after': False}
        """
    @property
    def window(self) -> Records | None:
        """The rows around the hit and itself, in order of position, as `Records`; `None` unless the search was
        asked for a `window`.

        >>> pages = db.collection("pages", dim=1, metric="l2")
        >>> data = {"book": ["a", "a", "a"], "position": [1, 2, 3], "text": ["One.", "Two.", "Three."]}
        >>> _ = pages.upsert([1, 2, 3], [[1], [2], [3]], data)
        >>> hit = pages.search([1], k=1, window=1, document="book")[0]
        >>> hit["text"], " ".join(chunk["text"] for chunk in hit.window)
        ('One.', 'One. Two.')
        """
    @property
    def ranks(self) -> list[_ListRank]:
        """Where the hit stands in the lists that have it, of a search by several: a dict for each, its "list"
        ("vector", "words" or "sparse", with the "column" of sparse vectors, else None), the "rank" in it,
        from 1 on, and the "score" there. Empty where the search was by one list.

        >>> _ = docs.add_text_index("title")
        >>> docs.search([0, 1], words="near")[0].ranks[0]
        {'list': 'vector', 'column': None, 'rank': 1, 'score': -1.0}
        """
    def keys(self) -> list[str]:
        """Names that can be put in brackets.

        >>> docs.search([0, 0])[0].keys()
        ['id', 'distance', 'score', 'title']
        """
    def to_dict(self) -> dict[str, Any]:
        """The hit as a dict: id, distance, score, the columns and, if read, vector.

        >>> docs.search([0, 1], k=1)[0].to_dict()
        {'id': 1, 'distance': 1.0, 'score': -1.0, 'title': 'near'}
        """
    def __reduce__(self) -> tuple[Any, ...]: ...
    def __getitem__(self, name: str, /) -> Any: ...

@final
class Hits:
    """The hits of one search, nearest first unless grouped or diversified: a sequence of `Hit`.

    >>> hits = docs.search([0, 0], k=2)
    >>> len(hits), hits[0].id, hits[0]["title"], [hit.distance for hit in hits]
    (2, 1, 'near', [0.0, 25.0])

    Takes part in the Arrow PyCapsule interface: `pyarrow.table(hits)` and `polars.DataFrame(hits)`
    read it without a copy. A column called "distance" or "score" stands in place of the hit's own
    in tables and dicts; the attributes `distance` and `score` are always the hit's own.
    """
    @property
    def ids(self) -> npt.NDArray[Any]:
        """The ids as an array: int64 (uint64 if an id is 2**63 or more), or objects of `str`.

        >>> docs.search([0, 0]).ids.tolist()
        [1, 2]
        """
    @property
    def vectors(self) -> npt.NDArray[Any] | None:
        """The vectors as they are stored, of shape (hits, elements); `None` unless the search was
        asked for them.

        >>> docs.search([0, 0], vectors=True).vectors.tolist()
        [[0.0, 0.0], [3.0, 4.0]]
        """
    def to_dicts(self) -> list[dict[str, Any]]:
        """A list with a dict for each hit: id, distance, score, the columns and, if read, vector.

        >>> docs.search([0, 0], k=1).to_dicts()
        [{'id': 1, 'distance': 0.0, 'score': -0.0, 'title': 'near'}]
        """
    def highlights(self, before: str = "**", after: str = "**") -> list[dict[str, str]]:
        """What `Hit.highlights` says of each hit: a dict of column and piece of text.

        >>> _ = docs.add_text_index("title")
        >>> docs.search(words="near OR far", highlight=True).highlights()
        [{'title': '**near**'}, {'title': '**far**'}]
        """
    def to_arrow(self) -> Any:
        """The hits as a `pyarrow.Table`.

        >>> docs.search([0, 0]).to_arrow().column_names  # doctest: +SKIP
        ['id', 'distance', 'score', 'title']
        """
    def to_pandas(self) -> Any:
        """The hits as a `pandas.DataFrame`.

        >>> docs.search([0, 0]).to_pandas()["title"].tolist()  # doctest: +SKIP
        ['near', 'far']
        """
    def to_polars(self) -> Any:
        """The hits as a `polars.DataFrame`.

        >>> docs.search([0, 0]).to_polars()["title"].to_list()  # doctest: +SKIP
        ['near', 'far']
        """
    def __arrow_c_array__(
        self, requested_schema: CapsuleType | None = None
    ) -> tuple[CapsuleType, CapsuleType]: ...
    def __arrow_c_stream__(self, requested_schema: CapsuleType | None = None) -> CapsuleType: ...
    def __reduce__(self) -> tuple[Any, ...]: ...
    def __len__(self) -> int: ...
    def _repr_html_(self) -> str: ...
    @property
    def distances(self) -> npt.NDArray[np.float32]:
        """The distances as a float32 array, ascending unless grouped or diversified.

        >>> docs.search([0, 0]).distances.tolist()
        [0.0, 25.0]
        """
    @property
    def scores(self) -> npt.NDArray[np.float32]:
        """The scores as a float32 array, descending unless grouped or diversified.

        >>> docs.search([1, 0]).scores.tolist()
        [-1.0, -20.0]
        """
    @overload
    def __getitem__(self, index: int, /) -> Hit: ...
    @overload
    def __getitem__(self, index: slice, /) -> list[Hit]: ...
    def __iter__(self) -> Iterator[Hit]: ...

@final
class BatchHits:
    """The hits of many searches: `ids, distances = docs.search_batch(Q, k=10)`.

    Unpacks into two arrays of shape (queries, k); where a query has fewer than k hits, the id is
    -1 (`None` among strings, 2**64 - 1 among ids of 2**63 or more) and the distance is infinite;
    `counts` says how many there are. With k above 1,024 and above the longest answer, the arrays
    are as wide as that answer; of a grouped search k counts the hits of k groups. `len` is the number of queries, and `m[i]` the `Hits` of query i.

    >>> found = docs.search_batch([[0, 0], [3, 4]], k=3)
    >>> ids, distances = found
    >>> ids.tolist(), found.counts.tolist()
    ([[1, 2, -1], [2, 1, -1]], [2, 2])

    Takes part in the Arrow PyCapsule interface: `pyarrow.table(found)` and `polars.DataFrame(found)`
    read one table of all hits, the number of the query, from 0 on, in its first column, "query". A
    column called "query", "distance" or "score" stands in place of that.
    """
    def _repr_html_(self) -> str: ...
    @property
    def ids(self) -> npt.NDArray[Any]:
        """The ids, of shape (queries, k).

        >>> docs.search_batch([[0, 0], [3, 4]], k=2).ids.tolist()
        [[1, 2], [2, 1]]
        """
    @property
    def distances(self) -> npt.NDArray[np.float32]:
        """The distances, of shape (queries, k), float32; ascending in each row unless grouped or
        diversified.

        >>> docs.search_batch([[0, 0], [3, 3]], k=1).distances.tolist()
        [[0.0], [1.0]]
        """
    @property
    def scores(self) -> npt.NDArray[np.float32]:
        """The scores, of shape (queries, k), float32; descending in each row unless grouped or
        diversified.

        >>> docs.search_batch([[0, 1], [3, 3]], k=1).scores.tolist()
        [[-1.0], [-1.0]]
        """
    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """How many hits each query has, int64.

        >>> docs.search_batch([[0, 0], [3, 4]], k=5, max_distance=1).counts.tolist()
        [1, 1]
        """
    def to_dicts(self) -> list[dict[str, Any]]:
        """A list with a dict for each hit, those of the first query first: query, id, distance, score
        and, if read, the columns and the vector.

        >>> docs.search_batch([[0, 0], [3, 4]], k=1, select=["title"]).to_dicts()[1]
        {'query': 1, 'id': 2, 'distance': 0.0, 'score': -0.0, 'title': 'far'}
        """
    def to_arrow(self) -> Any:
        """The hits as a `pyarrow.Table`.

        >>> docs.search_batch([[0, 0], [3, 4]]).to_arrow()["query"].to_pylist()  # doctest: +SKIP
        [0, 0, 1, 1]
        """
    def to_pandas(self) -> Any:
        """The hits as a `pandas.DataFrame`.

        >>> docs.search_batch([[0, 0], [3, 4]], k=1).to_pandas()["id"].tolist()  # doctest: +SKIP
        [1, 2]
        """
    def to_polars(self) -> Any:
        """The hits as a `polars.DataFrame`.

        >>> docs.search_batch([[0, 0], [3, 4]], k=1).to_polars()["id"].to_list()  # doctest: +SKIP
        [1, 2]
        """
    def __arrow_c_stream__(self, requested_schema: CapsuleType | None = None) -> CapsuleType: ...
    def __reduce__(self) -> tuple[Any, ...]: ...
    @overload
    def __getitem__(self, index: int, /) -> Hits: ...
    @overload
    def __getitem__(self, index: slice, /) -> list[Hits]: ...
    def __iter__(self) -> Iterator[npt.NDArray[Any]]: ...
    def __len__(self) -> int: ...

@final
class Records:
    """Rows read back: a sequence of dicts.

    >>> records = docs.get([2, 1, 7])
    >>> len(records), records[0], records.ids.tolist()
    (2, {'id': 2, 'title': 'far'}, [2, 1])

    Takes part in the Arrow PyCapsule interface: `pyarrow.table(records)` and
    `polars.DataFrame(records)` read it without a copy.
    """
    @property
    def ids(self) -> npt.NDArray[Any]:
        """The ids as an array: int64 (uint64 if an id is 2**63 or more), or objects of `str`.

        >>> docs.get([2, 1]).ids.tolist()
        [2, 1]
        """
    @property
    def vectors(self) -> npt.NDArray[Any] | None:
        """The vectors as they are stored, of shape (rows, elements); `None` unless asked for.

        >>> docs.get([2], vectors=True).vectors.tolist()
        [[3.0, 4.0]]
        """
    def to_dicts(self) -> list[dict[str, Any]]:
        """A list with a dict for each row: id, the columns and, if read, vector.

        >>> docs.get([2]).to_dicts()
        [{'id': 2, 'title': 'far'}]
        """
    def to_arrow(self) -> Any:
        """The rows as a `pyarrow.Table`.

        >>> docs.get([2]).to_arrow().column_names  # doctest: +SKIP
        ['id', 'title']
        """
    def to_pandas(self) -> Any:
        """The rows as a `pandas.DataFrame`.

        >>> docs.get([2]).to_pandas()["title"].tolist()  # doctest: +SKIP
        ['far']
        """
    def to_polars(self) -> Any:
        """The rows as a `polars.DataFrame`.

        >>> docs.get([2]).to_polars()["title"].to_list()  # doctest: +SKIP
        ['far']
        """
    def __arrow_c_array__(
        self, requested_schema: CapsuleType | None = None
    ) -> tuple[CapsuleType, CapsuleType]: ...
    def __arrow_c_stream__(self, requested_schema: CapsuleType | None = None) -> CapsuleType: ...
    def __reduce__(self) -> tuple[Any, ...]: ...
    def __len__(self) -> int: ...
    def _repr_html_(self) -> str: ...
    @overload
    def __getitem__(self, index: int, /) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice, /) -> list[dict[str, Any]]: ...
    def __iter__(self) -> Iterator[dict[str, Any]]: ...

@final
class Scan:
    """An iterator of `Records`, in ascending order of id, over the rows there were when it was made.

    >>> [records.ids.tolist() for records in docs.scan(batch_size=1)]
    [[1], [2]]
    """
    def __iter__(self) -> Self: ...
    def __next__(self) -> Records: ...
