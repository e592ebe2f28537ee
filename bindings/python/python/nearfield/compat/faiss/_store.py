"""What every index of the layer is made of: nearfield's index, and the rows that it holds."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

import nearfield as nf
from nearfield.compat._errors import Unsupported
from nearfield.compat._rows import Array, Rows, check_finite

METRIC_INNER_PRODUCT = 0
METRIC_L2 = 1
METRICS: dict[int, Literal["l2", "dot"]] = {METRIC_INNER_PRODUCT: "dot", METRIC_L2: "l2"}

_FARTHEST = np.finfo(np.float32).max
_threads = 0


def omp_set_num_threads(num_threads: int) -> None:
    """Threads of the indexes that are filled from now on; before it was said, one a core."""
    global _threads
    _threads = int(num_threads)


def omp_get_max_threads() -> int:
    """How many threads an index has that is filled now."""
    return _threads or os.cpu_count() or 1


class Store:
    """Rows numbered from 0 on, without gaps. In nearfield's index each has a number that stays when others go.

    `settings` gives the arguments of that index, which is made when the first rows come.
    """

    def __init__(self, d: int, metric: int, settings: Callable[[], dict[str, Any]]) -> None:
        if metric not in METRICS:
            raise Unsupported(
                f"metric {metric!r} is not covered: METRIC_L2 and METRIC_INNER_PRODUCT are; nearfield.Index has cosine, "
                "and for bits hamming and jaccard"
            )
        self.d = operator.index(d)
        self.metric: Literal["l2", "dot"] = METRICS[metric]
        self._settings = settings
        nf.Index(self.d)  # Refuses a dimension that is out of range.
        self.clear()

    def clear(self) -> None:
        self._rows = Rows(self.d)
        self._index: nf.Index | None = None
        self._next = 0

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def vectors(self) -> Array:
        return self._rows.vectors

    @property
    def keys(self) -> Array:
        return self._rows.ids

    @property
    def index(self) -> nf.Index:
        if self._index is None:
            self._index = self.empty()
        return self._index

    def empty(self) -> nf.Index:
        """Nearfield's index without rows."""
        return nf.Index(self.d, self.metric, threads=_threads, **self._settings())

    def add(self, vectors: Array) -> None:
        check_finite(vectors)
        keys = np.arange(self._next, self._next + len(vectors), dtype=np.uint64)
        self.index.add(vectors, keys)
        self._rows.append(keys, vectors)
        self._next += len(vectors)

    def drop(self, mask: Array) -> None:
        """Removes the rows where `mask` is true; the others move up."""
        self.index.remove(self.keys[mask])
        self._rows.keep(~mask)

    def restore(self, keys: Array, vectors: Array, index: nf.Index | None) -> None:
        """Takes rows that were saved, and the index of them, or makes it anew."""
        self.clear()
        self._next = int(keys[-1]) + 1 if len(keys) else 0
        self._index = index
        if index is None:
            self.index.add(vectors, keys)
        self._rows.append(keys, vectors)

    def nearest(
        self, queries: Array, k: int, mask: Array | None, **search: Any
    ) -> tuple[Array, Array]:
        """Distances and row numbers, of shape (queries, k); the number is -1 where there is nothing. With a `mask`
        the rows where it is true are compared."""
        if mask is None:
            keys, near = self.index.search_batch(queries, k, **search)
        else:
            keys, near = self._rows.among(self.metric, mask).search_batch(queries, k, exact=True)
        rows, near = self._numbered(keys.reshape(-1), near.reshape(-1))
        shape = len(queries), keys.shape[1]
        distances = np.full((len(queries), k), self._sign(_FARTHEST), np.float32)
        numbers = np.full((len(queries), k), -1, np.int64)
        distances[:, : shape[1]], numbers[:, : shape[1]] = near.reshape(shape), rows.reshape(shape)
        return distances, numbers

    def within(self, mask: Array | None) -> Callable[[Array, float], tuple[Array, Array]]:
        """What finds the rows nearer to a vector than a radius, or of a larger inner product: distances and row
        numbers, these ascending. With a `mask` the rows where it is true are compared."""
        index = self.index if mask is None else self._rows.among(self.metric, mask)

        def within(query: Array, radius: float) -> tuple[Array, Array]:
            keys, near = index.search(query, len(self), exact=True, max_distance=self._sign(radius))
            rows, near = self._numbered(keys, near)
            inside = near < radius if self.metric == "l2" else near > radius
            order = np.argsort(rows[inside])
            return near[inside][order], rows[inside][order]

        return within

    def _numbered(self, keys: Array, near: Array) -> tuple[Array, Array]:
        """Row numbers of nearfield's ids, -1 for none, and the distances as faiss gives them."""
        rows = np.searchsorted(self.keys, keys.astype(np.uint64)).astype(np.int64)
        known = rows < len(self)
        known[known] = self.keys[rows[known]] == keys[known].astype(np.uint64)
        return np.where(known, rows, -1), np.where(known, self._sign(near), self._sign(_FARTHEST))

    def _sign(self, distance: Any) -> Any:
        """A distance as an inner product, or the other way about."""
        return distance if self.metric == "l2" else -distance
