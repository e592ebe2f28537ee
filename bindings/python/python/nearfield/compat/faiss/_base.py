"""What all indexes do."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from nearfield.compat._errors import Absent, Mismatch, Refused
from nearfield.compat._rows import Array, Growing, matrix
from nearfield.compat.faiss._selectors import IDSelector, SearchParameters, whole
from nearfield.compat.faiss._store import METRIC_L2, Store

Said: TypeAlias = Callable[[str], int]
"""A number that a file says of an index, by its name."""


class Index:
    """Vectors of `d` dimensions, numbered from 0 on in the order in which they are added."""

    d: int = 0
    metric_type: int = METRIC_L2
    verbose: bool = False
    _ready = True
    # Ids of the rows where these are not their numbers.
    _labels: Growing | None = None

    def __init__(self, d: int, metric: int = METRIC_L2) -> None:
        self.d = operator.index(d)
        self.metric_type = metric
        self._store = Store(d, metric, self._settings)

    def _settings(self) -> dict[str, Any]:
        """Arguments of nearfield's index."""
        return {}

    def _asked(self, params: SearchParameters | None) -> dict[str, Any]:
        """How nearfield's index is searched."""
        return {}

    def _said(self) -> dict[str, int]:
        """What `_made` makes such an index of, beside its dimensions and metric."""
        return {}

    @classmethod
    def _made(cls, d: int, metric: int, said: Said) -> Index:
        return cls(d, metric)

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and not hasattr(type(self), name):
            raise Absent(f"{type(self).__name__} has no {name!r} that could be set")
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        return f"<nearfield.compat.faiss.{type(self).__name__}: {self.ntotal} vectors, d={self.d}>"

    def __reduce__(self) -> tuple[Any, ...]:
        from nearfield.compat.faiss._io import deserialize_index, serialize_index

        return deserialize_index, (serialize_index(self),)

    @property
    def ntotal(self) -> int:
        """How many vectors there are."""
        return len(self._store)

    @property
    def is_trained(self) -> bool:
        """Whether vectors may be added."""
        return self._ready

    def train(self, x: Any) -> None:
        """Takes vectors to learn from and learns nothing: nearfield's codes learn from the rows when they are
        built."""
        self._matrix(x)
        self._ready = True

    def add(self, x: Any) -> None:
        """Adds vectors of shape (n, d)."""
        vectors = self._queries(x)
        self._insert(vectors, np.arange(self.ntotal, self.ntotal + len(vectors)))

    def add_with_ids(self, x: Any, ids: Any) -> None:
        """Adds vectors under ids, if the index has any."""
        if self._labels is None:
            raise Refused(
                f"add_with_ids is not implemented for {type(self).__name__}, whose rows are numbered; "
                "IndexIDMap(index) has ids"
            )
        vectors, labels = self._queries(x), whole(ids)
        if len(labels) != len(vectors):
            raise Mismatch(f"{len(labels)} ids for {len(vectors)} vectors; give one for each")
        self._insert(vectors, labels)

    def search(
        self,
        x: Any,
        k: int,
        *,
        params: SearchParameters | None = None,
        D: Array | None = None,
        I: Array | None = None,
    ) -> tuple[Array, Array]:
        """The `k` nearest vectors of each row of `x`: distances (float32) and ids (int64) of shape (n, k), the id -1
        where there are fewer."""
        distances, rows = self._found(x, k, params)
        return _filled(D, distances), _filled(I, self._ids(rows))

    def range_search(
        self, x: Any, thresh: float, *, params: SearchParameters | None = None
    ) -> tuple[Array, Array, Array]:
        """All vectors nearer than `thresh` to each row of `x`, or of a larger inner product: where those of each row
        begin (uint64, n + 1), the distances, the ids. Every row is compared, whatever the index."""
        within = self._store.within(self._mask(params))
        found = [within(query, float(thresh)) for query in self._queries(x)]
        lims = np.cumsum([0, *(len(rows) for _, rows in found)]).astype(np.uint64)
        distances = np.concatenate([np.empty(0, np.float32), *(near for near, _ in found)])
        rows = np.concatenate([np.empty(0, np.int64), *(rows for _, rows in found)])
        return lims, distances, self._ids(rows)

    def assign(self, x: Any, k: int = 1, labels: Array | None = None) -> Array:
        """The ids of `search`."""
        return self.search(x, k, I=labels)[1]

    def search_and_reconstruct(
        self, x: Any, k: int, *, params: SearchParameters | None = None
    ) -> tuple[Array, Array, Array]:
        """As `search`, with the vectors, of shape (n, k, d); NaN where there are fewer."""
        distances, rows = self._found(x, k, params)
        vectors = np.full((*rows.shape, self.d), np.nan, np.float32)
        vectors[rows >= 0] = self._store.vectors[rows[rows >= 0]]
        return distances, self._ids(rows), vectors

    def remove_ids(self, x: Any) -> int:
        """Removes the vectors of an array of ids or an `IDSelector`; returns how many there were. Where ids are row
        numbers, later rows move up."""
        ids = self._ids(np.arange(self.ntotal))
        mask = x.mask(ids) if isinstance(x, IDSelector) else np.isin(ids, whole(x))
        self._drop(mask)
        return int(mask.sum())

    def reconstruct(self, key: int, x: Array | None = None) -> Array:
        """The vector of an id, as it was added."""
        return _filled(x, self.reconstruct_batch([key])[0])

    def reconstruct_batch(self, key: Any, x: Array | None = None) -> Array:
        """The vectors of ids; of vectors of the same id the last."""
        return _filled(x, self._store.vectors[self._rows_of(whole(key))])

    def reconstruct_n(self, n0: int = 0, ni: int = -1, x: Array | None = None) -> Array:
        """The vectors of `ni` ids from `n0` on; -1 for all."""
        ni = self.ntotal - n0 if ni == -1 else ni
        return self.reconstruct_batch(np.arange(n0, n0 + ni), x)

    def reset(self) -> None:
        """Removes all vectors."""
        self._store.clear()
        if self._labels is not None:
            self._labels = Growing(np.int64)

    def _insert(self, vectors: Array, labels: Array) -> None:
        self._store.add(vectors)
        if self._labels is not None:
            self._labels.append(labels)

    def _drop(self, mask: Array) -> None:
        self._store.drop(mask)
        if self._labels is not None:
            self._labels.keep(~mask)

    def _found(self, x: Any, k: int, params: SearchParameters | None) -> tuple[Array, Array]:
        """Distances and row numbers of the nearest."""
        queries, k = self._queries(x), operator.index(k)
        if k <= 0:
            raise Mismatch(f"k is {k}, expected 1 or more")
        return self._store.nearest(queries, k, self._mask(params), **self._asked(params))

    def _ids(self, rows: Array) -> Array:
        """The ids of rows, -1 for -1."""
        if self._labels is None:
            return rows
        ids = np.full(rows.shape, -1, np.int64)
        ids[rows >= 0] = self._labels.array[rows[rows >= 0]]
        return ids

    def _rows_of(self, ids: Array) -> Array:
        """Where the rows of ids are."""
        if self._labels is None:
            rows, known = ids, (ids >= 0) & (ids < self.ntotal)
        else:
            last = {label: row for row, label in enumerate(self._labels.array.tolist())}
            rows = np.array([last.get(id, -1) for id in ids.tolist()], np.int64)
            known = rows >= 0
        if not known.all():
            raise Refused(f"there is no vector of the id {ids[~known][0]} among the {self.ntotal}")
        return rows

    def _mask(self, params: SearchParameters | None) -> Array | None:
        if params is None or params.sel is None:
            return None
        return params.sel.mask(self._ids(np.arange(self.ntotal)))

    def _matrix(self, x: Any) -> Array:
        vectors = matrix(x)
        if vectors.ndim != 2 or vectors.shape[1] != self.d:
            raise Mismatch(f"expected an array of shape (n, {self.d}), given {vectors.shape}")
        return vectors

    def _queries(self, x: Any) -> Array:
        if not self.is_trained:
            raise Refused(f"{type(self).__name__} is not trained; call train first")
        return self._matrix(x)


def _filled(given: Array | None, made: Array) -> Array:
    """The array that was given to be filled, or the one that was made."""
    if given is None:
        return made
    if given.shape != made.shape:
        raise Mismatch(f"expected an array of shape {made.shape} to fill, given {given.shape}")
    given[...] = made
    return given
