# Types of the extension module. What each method does is in its docstring, with an example:
# `help(nearfield.Collection.search)`.

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, TypeAlias, TypedDict, final, overload

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

class _Schema(TypedDict):
    dim: int
    metric: _Metric
    dtype: Literal["f32", "f16", "bf16", "i8", "u8", "b1"]
    id_type: Literal["u64", "utf8"] | None
    columns: dict[str, str]
    text: list[str]

_Arrow: TypeAlias = _ArrowArray | _ArrowStream
_Metric: TypeAlias = Literal["l2", "cosine", "dot", "hamming", "jaccard"]
_Dtype: TypeAlias = (
    Literal["f32", "f16", "bf16", "i8", "u8", "b1", "float32", "float16", "bfloat16", "int8", "uint8"]
    | np.dtype[Any]
    | type[np.float32 | np.float16 | np.int8 | np.uint8]
)
_IdType: TypeAlias = Literal["u64", "utf8"]
_ColumnType: TypeAlias = (
    Literal["bool", "int64", "float64", "utf8", "timestamp", "list_utf8"]
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
_Texts: TypeAlias = str | Iterable[str] | _Arrow
_Path: TypeAlias = str | PathLike[str]
_Code: TypeAlias = Literal["auto", "full", "byte", "half", "bit"]
_FileFormat: TypeAlias = Literal["parquet", "arrow", "arrow_stream", "jsonl", "npy", "fvecs", "bvecs"]
_Progress: TypeAlias = bool | Callable[[Progress], object] | None

__all__ = [
    "BatchHits",
    "Collection",
    "Database",
    "Explanation",
    "Hit",
    "Hits",
    "Index",
    "Records",
    "Scan",
    "Snapshot",
    "__version__",
    "open",
    "restore",
]

__version__: str

def open(
    path: _Path,
    mode: Literal["w", "r"] = "w",
    *,
    durability: Literal["sync", "buffered", "none"] = "sync",
    threads: int = 0,
    memtable_bytes: int = 67108864,
    memory_budget: int = 1073741824,
    graph_bytes: int = 16777216,
    m: int = 16,
    ef_construction: int = 200,
    ef_search: int = 100,
    code: _Code = "auto",
    compaction: bool = True,
) -> Database: ...
def restore(source: _Path, target: _Path) -> None: ...
@final
class Database:
    @property
    def path(self) -> Path: ...
    @property
    def read_only(self) -> bool: ...
    def collection(
        self,
        name: str,
        dim: int | None = None,
        metric: _Metric | None = None,
        *,
        dtype: _Dtype | None = None,
        text: str | Sequence[str] | None = None,
        columns: Mapping[str, _ColumnType] | None = None,
        id_type: _IdType | None = None,
        embed: Embeds | None = None,
    ) -> Collection: ...
    def create(
        self,
        name: str,
        dim: int | None = None,
        metric: _Metric | None = None,
        *,
        dtype: _Dtype | None = None,
        text: str | Sequence[str] | None = None,
        columns: Mapping[str, _ColumnType] | None = None,
        id_type: _IdType | None = None,
        embed: Embeds | None = None,
    ) -> Collection: ...
    def collections(self) -> list[str]: ...
    def drop(self, name: str) -> None: ...
    def rename(self, old: str, new: str) -> None: ...
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
    ) -> dict[str, Any]: ...
    def backup(self, path: _Path) -> None: ...
    def close(self) -> None: ...
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
    @property
    def name(self) -> str: ...
    @property
    def dim(self) -> int: ...
    @property
    def schema(self) -> _Schema: ...
    @property
    def model(self) -> str | None: ...
    def upsert(
        self, ids: _Ids, vectors: _Vectors, data: _Data | None = None, *, progress: _Progress = None
    ) -> int: ...
    def add(self, ids: _Ids, vectors: _Vectors, data: _Data | None = None) -> int: ...
    def import_batches(
        self,
        batches: Iterable[tuple[_Ids, _Vectors] | tuple[_Ids, _Vectors, _Data | None]],
        *,
        progress: _Progress = None,
    ) -> int: ...
    def add_texts(
        self, texts: _Texts, ids: _Ids | None = None, data: _Data | None = None
    ) -> list[Any]: ...
    def upsert_texts(
        self, texts: _Texts, ids: _Ids | None = None, data: _Data | None = None
    ) -> list[Any]: ...
    def update(self, ids: _Ids, data: _Data) -> int: ...
    def delete(self, ids: _Ids) -> int: ...
    def get(
        self, ids: _Ids, select: str | Sequence[str] | None = None, vectors: bool = False
    ) -> Records: ...
    def contains(self, id: _Id) -> bool: ...
    def count(self) -> int: ...
    def search(
        self,
        q: _Vectors | None = None,
        k: int = 10,
        *,
        text: str | None = None,
        ef: int | None = None,
        exact: bool = False,
        max_distance: float | None = None,
        select: str | Sequence[str] | None = None,
        vectors: bool = False,
    ) -> Hits: ...
    def explain(
        self,
        q: _Vectors,
        k: int = 10,
        *,
        ef: int | None = None,
        exact: bool = False,
        max_distance: float | None = None,
        select: str | Sequence[str] | None = None,
        vectors: bool = False,
    ) -> Explanation: ...
    def search_batch(
        self,
        queries: _Vectors,
        k: int = 10,
        *,
        ef: int | None = None,
        exact: bool = False,
        max_distance: float | None = None,
        select: str | Sequence[str] | None = (),
        vectors: bool = False,
    ) -> BatchHits: ...
    def scan(
        self,
        batch_size: int = 4096,
        *,
        select: str | Sequence[str] | None = None,
        vectors: bool = False,
        after: _Id | None = None,
        limit: int | None = None,
    ) -> Scan: ...
    def snapshot(self) -> Snapshot: ...
    def add_columns(self, columns: Mapping[str, _ColumnType]) -> int: ...
    def export_file(
        self,
        path: _Path,
        *,
        format: _FileFormat | None = None,
        select: str | Sequence[str] | None = None,
        progress: _Progress = None,
    ) -> int: ...
    def flush(self) -> None: ...
    def compact(self) -> dict[str, Any]: ...
    def verify(self) -> dict[str, Any]: ...
    def stats(self) -> dict[str, Any]: ...
    def refresh(self) -> bool: ...
    def close(self) -> None: ...
    def __reduce__(self) -> tuple[Any, ...]: ...
    def __contains__(self, id: _Id, /) -> bool: ...
    def __len__(self) -> int: ...
    def _repr_html_(self) -> str: ...

@final
class Snapshot:
    @property
    def seq(self) -> int: ...
    def search(
        self,
        q: _Vectors,
        k: int = 10,
        *,
        ef: int | None = None,
        exact: bool = False,
        max_distance: float | None = None,
        select: str | Sequence[str] | None = None,
        vectors: bool = False,
    ) -> Hits: ...
    def search_batch(
        self,
        queries: _Vectors,
        k: int = 10,
        *,
        ef: int | None = None,
        exact: bool = False,
        max_distance: float | None = None,
        select: str | Sequence[str] | None = (),
        vectors: bool = False,
    ) -> BatchHits: ...
    def get(
        self, ids: _Ids, select: str | Sequence[str] | None = None, vectors: bool = False
    ) -> Records: ...
    def contains(self, id: _Id) -> bool: ...
    def scan(
        self,
        batch_size: int = 4096,
        *,
        select: str | Sequence[str] | None = None,
        vectors: bool = False,
        after: _Id | None = None,
        limit: int | None = None,
    ) -> Scan: ...
    def __contains__(self, id: _Id, /) -> bool: ...
    def __len__(self) -> int: ...

@final
class Explanation:
    @property
    def hits(self) -> Hits: ...
    @property
    def parts(self) -> list[dict[str, Any]]: ...
    @property
    def prepare_seconds(self) -> float: ...
    @property
    def search_seconds(self) -> float: ...
    @property
    def read_seconds(self) -> float: ...
    def _repr_html_(self) -> str: ...

@final
class Index:
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
    def load(path: _Path, *, ef: int = 100, threads: int = 0) -> Index: ...
    @staticmethod
    def view(path: _Path, *, ef: int = 100, threads: int = 0) -> Index: ...
    @property
    def dim(self) -> int: ...
    @property
    def metric(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    @property
    def ef(self) -> int: ...
    @ef.setter
    def ef(self, ef: int) -> None: ...
    @property
    def unbuilt(self) -> int: ...
    def add(self, vectors: _Vectors, ids: _Ids | None = None) -> int: ...
    def remove(self, ids: _Ids) -> int: ...
    def build(self) -> None: ...
    def save(self, path: _Path) -> None: ...
    def search(
        self,
        q: _Vectors,
        k: int = 10,
        *,
        ef: int | None = None,
        exact: bool = False,
        max_distance: float | None = None,
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32]]: ...
    def search_batch(
        self,
        queries: _Vectors,
        k: int = 10,
        *,
        ef: int | None = None,
        exact: bool = False,
        max_distance: float | None = None,
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32]]: ...
    def __reduce__(self) -> tuple[Any, ...]: ...
    def __contains__(self, id: _Id, /) -> bool: ...
    def __len__(self) -> int: ...

@final
class Hit:
    @property
    def id(self) -> Any: ...
    @property
    def distance(self) -> float: ...
    @property
    def score(self) -> float: ...
    @property
    def vector(self) -> npt.NDArray[Any] | None: ...
    def keys(self) -> list[str]: ...
    def to_dict(self) -> dict[str, Any]: ...
    def __getitem__(self, name: str, /) -> Any: ...

class _Table:
    """What `Hits` and `Records` have in common. Not there when the program runs."""

    @property
    def ids(self) -> npt.NDArray[Any]: ...
    @property
    def vectors(self) -> npt.NDArray[Any] | None: ...
    def to_dicts(self) -> list[dict[str, Any]]: ...
    def to_arrow(self) -> Any: ...
    def to_pandas(self) -> Any: ...
    def to_polars(self) -> Any: ...
    def __arrow_c_array__(
        self, requested_schema: CapsuleType | None = None
    ) -> tuple[CapsuleType, CapsuleType]: ...
    def __arrow_c_stream__(self, requested_schema: CapsuleType | None = None) -> CapsuleType: ...
    def __len__(self) -> int: ...
    def _repr_html_(self) -> str: ...

@final
class Hits(_Table):
    @property
    def distances(self) -> npt.NDArray[np.float32]: ...
    @property
    def scores(self) -> npt.NDArray[np.float32]: ...
    @overload
    def __getitem__(self, index: int, /) -> Hit: ...
    @overload
    def __getitem__(self, index: slice, /) -> list[Hit]: ...
    def __iter__(self) -> Iterator[Hit]: ...

@final
class BatchHits:
    @property
    def ids(self) -> npt.NDArray[Any]: ...
    @property
    def distances(self) -> npt.NDArray[np.float32]: ...
    @property
    def scores(self) -> npt.NDArray[np.float32]: ...
    @property
    def counts(self) -> npt.NDArray[np.int64]: ...
    def __getitem__(self, index: int, /) -> Hits: ...
    def __iter__(self) -> Iterator[npt.NDArray[Any]]: ...
    def __len__(self) -> int: ...

@final
class Records(_Table):
    @overload
    def __getitem__(self, index: int, /) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice, /) -> list[dict[str, Any]]: ...
    def __iter__(self) -> Iterator[dict[str, Any]]: ...

@final
class Scan:
    def __iter__(self) -> Self: ...
    def __next__(self) -> Records: ...
