"""The interface of hnswlib on nearfield's bare index: `import nearfield.compat.hnswlib as hnswlib`.

    import nearfield.compat.hnswlib as hnswlib

    p = hnswlib.Index(space="l2", dim=128)
    p.init_index(max_elements=10_000, ef_construction=200, M=16)
    p.add_items(data, ids)
    p.set_ef(50)
    labels, distances = p.knn_query(data, k=1)

Distances are those of hnswlib. What differs:

- Vectors are held twice, by the index and for `get_items`, deleted ones and filters.
- `filter` is asked about each label once a call, and the rows that it lets pass are compared one by one:
  `nearfield.Collection.search(where=…)` is the way to large filtered searches.
- A call that fails adds nothing; NaN, infinity and the label 2**64 - 1 are refused, and so is M outside 2 to 64.
- Graphs are built by the first search, or the first file, after much was added; the same graph comes out whatever the
  threads and `random_seed`. The number of threads is the one set before the first `add_items`.
- `BFIndex` has true cosine distances of queries that are not normalized, too.
- Files are nearfield's own, see docs/format.md of the source.
"""

from __future__ import annotations

import itertools
import operator
import os
import threading
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

import nearfield as nf
from nearfield.compat import _file
from nearfield.compat._errors import Absent, Refused, Unsupported
from nearfield.compat._rows import Array, Rows, check_finite, matrix

__all__ = ["BFIndex", "Index"]

_METRICS: dict[str, Literal["l2", "dot"]] = {"l2": "l2", "ip": "dot", "cosine": "dot"}
_NOBODY = 2**64 - 1
_FEWER = (
    "Cannot return the results in a contiguous 2D array: there are fewer than k = {} rows that are not deleted "
    "and pass the filter; ask for fewer"
)
_FOREIGN = (
    "a file of hnswlib itself is read by hnswlib: load it there, and add_items(old.get_items(ids), ids) "
    "with ids = old.get_ids_list() to an index of this module"
)

Filter: TypeAlias = Callable[[int], bool] | None
_Labels: TypeAlias = npt.NDArray[np.uint64]
_Distances: TypeAlias = npt.NDArray[np.float32]
_Path: TypeAlias = str | os.PathLike[str]


class _Labelled:
    """What both kinds of index have: rows by their labels, of which some may be deleted, and nearfield's index of
    the others."""

    def __init__(self, space: str, dim: int) -> None:
        if space not in _METRICS:
            raise Refused(f"Space name must be one of l2, ip, or cosine, given {space!r}")
        self.space = space
        self.dim = operator.index(dim)
        self.num_threads = os.cpu_count() or 1
        # A filter may ask the index something.
        self._lock = threading.RLock()
        self._index = self._empty()
        self._start(0)

    def _empty(self) -> nf.Index:
        """Nearfield's index without rows."""
        return nf.Index(self.dim, _METRICS[self.space])

    def _start(self, max_elements: int) -> None:
        self._max_elements = max_elements
        self._rows = Rows(self.dim)
        self._at: dict[int, int] = {}
        self._deleted: set[int] = set()
        self._next = 0

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__qualname__}(space={self.space!r}, dim={self.dim})>"

    def set_num_threads(self, num_threads: int) -> None:
        """Threads of builds and searches, if it is said before the first `add_items`."""
        self.num_threads = num_threads

    def get_max_elements(self) -> int:
        """How many rows there is room for."""
        return self._max_elements

    def get_current_count(self) -> int:
        """How many rows there are, deleted ones too."""
        return len(self._rows)

    def _vectors(self, data: Any) -> Array:
        """The rows of `data`, normalized if the space is that of cosines."""
        vectors = matrix(data)
        if vectors.ndim not in (1, 2):
            raise Refused(
                f"Input vector data wrong shape. Number of dimensions {vectors.ndim}. Data must be a 1D or 2D array."
            )
        vectors = np.atleast_2d(vectors)
        if vectors.shape[1] != self.dim:
            raise Refused(
                f"Wrong dimensionality of the vectors: given {vectors.shape[1]}, expected {self.dim}, the index's"
            )
        check_finite(vectors)
        if self.space == "cosine":
            norms = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
            vectors = (vectors / np.where(norms > 0, norms, 1)).astype(np.float32)
        return vectors

    def _labels(self, ids: Any, rows: int) -> Array:
        if ids is None:
            return np.arange(self._next, self._next + rows, dtype=np.uint64)
        labels = _whole_numbers(ids)
        if labels.ndim > 1 or labels.size != rows:
            raise Refused(f"The input label shape {labels.shape} does not match the {rows} vectors")
        return labels.reshape(-1)

    def _add(self, vectors: Array, labels: Array, replace_deleted: bool = False) -> None:
        """Adds rows, in place of those of the same labels, and, if asked to, of deleted ones."""
        last = {label: row for row, label in enumerate(labels.tolist())}
        if len(last) < len(labels):
            # Of a label given twice the last row wins.
            kept = sorted(last.values())
            vectors, labels = vectors[kept], labels[kept]
        known = np.array([label in self._at for label in labels.tolist()], bool)
        fresh = int((~known).sum())
        given = set(labels.tolist())
        vacant = (label for label in self._deleted if label not in given) if replace_deleted else ()
        reused = list(itertools.islice(vacant, fresh))
        if len(self._rows) + fresh - len(reused) > self._max_elements:
            raise Refused(
                f"The number of elements exceeds the specified limit: {len(self._rows)} rows and {fresh} more, "
                f"room for {self._max_elements}; resize_index makes more"
            )
        if known.any():
            self._index.remove(labels[known])
        self._index.add(vectors, labels)
        for old, new in zip(reused, labels[~known].tolist()):
            self._at[new] = self._at.pop(old)
            self._rows.ids[self._at[new]] = new
        self._deleted -= given.union(reused)
        placed = np.array([label in self._at for label in labels.tolist()], bool)
        where = [self._at[label] for label in labels[placed].tolist()]
        self._rows.vectors[where] = vectors[placed]
        begin = len(self._rows)
        self._rows.append(labels[~placed], vectors[~placed])
        self._at.update((label, begin + row) for row, label in enumerate(labels[~placed].tolist()))

    def _knn(self, data: Any, k: int, filter: Filter, **search: Any) -> tuple[_Labels, _Distances]:
        queries = self._vectors(data)
        if filter is None:
            labels, distances = self._index.search_batch(queries, k, **search)
        else:
            with self._lock:
                passed = np.array([self._passes(filter, label) for label in self._rows.ids.tolist()], bool)
                among = self._rows.among(_METRICS[self.space], passed)
            labels, distances = among.search_batch(queries, k, exact=True)
        labels = labels.astype(np.uint64)
        if labels.shape[1] != k or (labels == _NOBODY).any():
            raise Refused(_FEWER.format(k))
        return labels, distances if self.space == "l2" else distances + np.float32(1)

    def _passes(self, filter: Callable[[int], bool], label: int) -> bool:
        return label not in self._deleted and bool(filter(label))

    def _description(self) -> dict[str, Any]:
        return {
            "kind": f"hnswlib.{type(self).__name__}",
            "space": self.space,
            "dim": self.dim,
            "rows": len(self._rows),
            "max_elements": self._max_elements,
        }

    def _arrays(self) -> dict[str, Array]:
        deleted = np.array([label in self._deleted for label in self._rows.ids.tolist()], np.uint8)
        return {"labels": self._rows.ids, "deleted": deleted, "vectors": self._rows.vectors}

    def _restore(self, saved: _file.Saved, max_elements: int = 0) -> None:
        """Takes the rows of a file, and its graph if the space is still the same."""
        saved.one_of("kind", [f"hnswlib.{type(self).__name__}"])
        rows, dim = saved.whole("rows"), saved.whole("dim", 1)
        space = saved.one_of("space", list(_METRICS))
        if dim != self.dim:
            raise Refused(f"the file has vectors of {dim} dimensions, expected {self.dim}, the index's")
        labels = saved.array("labels", np.uint64, rows)
        deleted = saved.array("deleted", np.uint8, rows)
        vectors = saved.array("vectors", np.float32, rows, dim)
        at = {label: row for row, label in enumerate(labels.tolist())}
        if len(at) != rows or deleted.max(initial=0) > 1:
            raise saved.damaged("labels", "one is there twice, or neither deleted nor not")
        alive = deleted == 0
        metric = _METRICS[self.space]
        if saved.has("index.nfi") and _METRICS[space] == metric:
            index = saved.index(int(alive.sum()), dim, metric, self._threads())
        else:
            index = self._empty()
            index.add(vectors[alive], labels[alive])
        room = max_elements if max_elements >= max(rows, 1) else saved.whole("max_elements")
        self._start(max(rows, room))
        self._index, self._at, self._next = index, at, rows
        self._rows.append(labels, vectors)
        self._deleted = set(labels[~alive].tolist())

    def _threads(self) -> int:
        return max(0, int(self.num_threads))


class Index(_Labelled):
    """Approximate nearest neighbours by a graph. `space` is "l2" (squared distance), "ip" (1 - inner product) or
    "cosine" (1 - cosine)."""

    def __init__(self, space: str, dim: int) -> None:
        self._ef = 10
        self._m = 0
        self._ef_construction = 0
        self._replaces = False
        super().__init__(space, dim)

    def _empty(self) -> nf.Index:
        if not self._m:
            return super()._empty()
        return nf.Index(
            self.dim, _METRICS[self.space], m=self._m, ef_construction=self._ef_construction, threads=self._threads()
        )

    def init_index(
        self,
        max_elements: int,
        M: int = 16,
        ef_construction: int = 200,
        random_seed: int = 100,
        allow_replace_deleted: bool = False,
    ) -> None:
        """Makes room for `max_elements` rows. `M` is how many links a row has, `ef_construction` how many candidates a
        build keeps."""
        if self._m:
            raise Refused("The index is already initiated.")
        max_elements = operator.index(max_elements)
        nf.Index(self.dim, m=M, ef_construction=ef_construction)  # Refuses numbers that are out of range.
        self._m, self._ef_construction = operator.index(M), operator.index(ef_construction)
        self._replaces = bool(allow_replace_deleted)
        self._index = self._empty()
        self._start(max_elements)

    def add_items(self, data: Any, ids: Any = None, num_threads: int = -1, replace_deleted: bool = False) -> None:
        """Adds rows of shape (n, dim), or updates those whose labels are there. Labels left out count on from the
        number of rows that were added. `replace_deleted` takes the room of deleted rows."""
        self._initiated()
        if replace_deleted and not self._replaces:
            raise Refused("Replacement of deleted elements is disabled in constructor")
        vectors = self._vectors(data)
        with self._lock:
            labels = self._labels(ids, len(vectors))
            if self._replaces and not replace_deleted and not self._deleted.isdisjoint(labels.tolist()):
                raise Refused(
                    "Can't use addPoint to update deleted elements if replacement of deleted elements is enabled."
                )
            if not len(self._rows):
                if num_threads > 0:
                    self.num_threads = num_threads
                self._index = self._empty()
            self._add(vectors, labels, replace_deleted)
            self._next += len(vectors)

    def knn_query(
        self, data: Any, k: int = 1, num_threads: int = -1, filter: Filter = None
    ) -> tuple[_Labels, _Distances]:
        """The `k` nearest rows of each vector of `data`: labels (uint64) and distances (float32) of shape (n, k).
        `filter` is asked whether a label may be found. Raises `Refused`, a RuntimeError, where there are fewer."""
        self._initiated()
        return self._knn(data, operator.index(k), filter, ef=self._ef)

    def set_ef(self, ef: int) -> None:
        """How many candidates a search keeps."""
        self.ef = ef

    @property
    def ef(self) -> int:
        """How many candidates a search keeps."""
        return self._ef

    @ef.setter
    def ef(self, ef: int) -> None:
        nf.Index(1).ef = ef  # Refuses what is no number of candidates.
        self._ef = operator.index(ef)

    @property
    def max_elements(self) -> int:
        """How many rows there is room for."""
        return self._max_elements

    @property
    def element_count(self) -> int:
        """How many rows there are, deleted ones too."""
        return len(self._rows)

    @property
    def ef_construction(self) -> int:
        """How many candidates a build keeps."""
        return self._ef_construction

    @property
    def M(self) -> int:
        """How many links a row has."""
        return self._m

    def get_items(self, ids: Any = None, return_type: str = "numpy") -> Any:
        """The vectors of labels, as an array ("numpy") or a list of lists ("list"); normalized ones if the space is
        "cosine"."""
        if return_type not in ("numpy", "list"):
            raise nf.InvalidArgument(f'return_type should be "numpy" or "list", given {return_type!r}')
        if ids is not None and np.ndim(ids) == 0:
            raise nf.InvalidArgument("get_items accepts a list of indices and returns a list of vectors")
        with self._lock:
            labels = [] if ids is None else _whole_numbers(ids).reshape(-1).tolist()
            vectors = self._rows.vectors[[self._alive(label) for label in labels]]
        return vectors if return_type == "numpy" else vectors.tolist()

    def get_ids_list(self) -> list[int]:
        """All labels, deleted ones too."""
        labels: list[int] = self._rows.ids.tolist()
        return labels

    def mark_deleted(self, label: int) -> None:
        """Has no search find the row any more."""
        label = operator.index(label)
        with self._lock:
            if label in self._deleted:
                raise Refused(f"The requested to delete element is already deleted: {label}")
            self._alive(label)
            self._index.remove(label)
            self._deleted.add(label)

    def unmark_deleted(self, label: int) -> None:
        """Takes `mark_deleted` back."""
        label = operator.index(label)
        with self._lock:
            if label not in self._at:
                raise Refused(f"Label not found: {label}")
            if label not in self._deleted:
                raise Refused(f"The requested to undelete element is not deleted: {label}")
            row = self._at[label]
            self._index.add(self._rows.vectors[row : row + 1], [label])
            self._deleted.remove(label)

    def resize_index(self, new_size: int) -> None:
        """Makes room for `new_size` rows."""
        new_size = operator.index(new_size)
        if new_size < len(self._rows):
            raise Refused(f"Cannot resize, max element is less than the current number of elements, {len(self._rows)}")
        self._max_elements = new_size

    def save_index(self, path_to_index: _Path) -> None:
        """Writes the index to a file of nearfield's."""
        self._initiated()
        with self._lock:
            _file.write(path_to_index, self._description(), self._arrays(), self._index)

    def load_index(self, path_to_index: _Path, max_elements: int = 0, allow_replace_deleted: bool = False) -> None:
        """Reads a file of `save_index`, also of another space: the vectors are the same then, the distances not."""
        self._load(_file.read(path_to_index, _FOREIGN), operator.index(max_elements), allow_replace_deleted)

    def index_file_size(self) -> int:
        """Not covered."""
        raise Unsupported("index_file_size: save_index writes a file, and os.path.getsize tells its size")

    def __reduce__(self) -> tuple[Any, ...]:
        with self._lock:
            data = _file.dump(self._description(), self._arrays(), self._index) if self._m else None
        return _unpickled, (self.space, self.dim, self._ef, self.num_threads, self._replaces, data)

    def _description(self) -> dict[str, Any]:
        return {**super()._description(), "M": self._m, "ef_construction": self._ef_construction}

    def _load(self, saved: _file.Saved, max_elements: int, allow_replace_deleted: bool) -> None:
        with self._lock:
            before = self._m, self._ef_construction
            self._m, self._ef_construction = saved.whole("M", 2), saved.whole("ef_construction", 1)
            try:
                self._restore(saved, max_elements)
            except BaseException:
                self._m, self._ef_construction = before
                raise
            self._replaces = bool(allow_replace_deleted)

    def _alive(self, label: int) -> int:
        """Where the row of a label is that is not deleted."""
        if label not in self._at or label in self._deleted:
            raise Refused(f"Label not found: {label}")
        return self._at[label]

    def _initiated(self) -> None:
        if not self._m:
            raise Refused("The index is not initiated; call init_index or load_index first")


class BFIndex(_Labelled):
    """Nearest neighbours by comparing every row. `space` is as for `Index`."""

    _inited = False

    def init_index(self, max_elements: int) -> None:
        """Makes room for `max_elements` rows."""
        if self._inited:
            raise Refused("The index is already initiated.")
        self._inited = True
        self._start(operator.index(max_elements))

    def add_items(self, data: Any, ids: Any = None) -> None:
        """Adds rows, or updates those whose labels are there."""
        self._initiated()
        vectors = self._vectors(data)
        with self._lock:
            self._add(vectors, self._labels(ids, len(vectors)))
            self._next += len(vectors)

    def knn_query(
        self, data: Any, k: int = 1, num_threads: int = -1, filter: Filter = None
    ) -> tuple[_Labels, _Distances]:
        """As `Index.knn_query`, exact."""
        self._initiated()
        return self._knn(data, operator.index(k), filter, exact=True)

    def delete_vector(self, label: int) -> None:
        """Removes a row; nothing if there is none."""
        with self._lock:
            if self._index.remove(label):
                self._rows.keep(self._rows.ids != np.uint64(label))
                self._at = {label: row for row, label in enumerate(self._rows.ids.tolist())}

    def save_index(self, path_to_index: _Path) -> None:
        """Writes the index to a file of nearfield's."""
        self._initiated()
        with self._lock:
            _file.write(path_to_index, self._description(), self._arrays(), None)

    def load_index(self, path_to_index: _Path, max_elements: int = 0) -> None:
        """Reads a file of `save_index`."""
        with self._lock:
            self._restore(_file.read(path_to_index, _FOREIGN), operator.index(max_elements))
            self._inited = True

    def _initiated(self) -> None:
        if not self._inited:
            raise Refused("The index is not initiated; call init_index or load_index first")


def _unpickled(space: str, dim: int, ef: int, num_threads: int, replaces: bool, data: bytes | None) -> Index:
    index = Index(space, dim)
    index.ef = ef
    index.num_threads = num_threads
    if data is not None:
        index._load(_file.parse(data, "the pickle", _FOREIGN), 0, replaces)
    return index


def _whole_numbers(ids: Any) -> Array:
    """Labels as uint64."""
    numbers = np.asarray(ids)
    if numbers.size == 0:
        return numbers.astype(np.uint64)
    if numbers.dtype.kind not in "iu":
        raise TypeError(f"ids: expected whole numbers, given {numbers.dtype}")
    if numbers.min() < 0 or numbers.max() == _NOBODY:
        worst = numbers.min() if numbers.min() < 0 else numbers.max()
        raise Refused(f"ids: {worst} is no label, expected whole numbers from 0 to {_NOBODY - 1}")
    return numbers.astype(np.uint64)


def __getattr__(name: str) -> Any:
    raise Absent(f"nearfield.compat.hnswlib has no {name!r}; there are Index and BFIndex")
