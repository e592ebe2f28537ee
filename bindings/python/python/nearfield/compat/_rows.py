"""Vectors and their ids, in the order in which they came.

A `nearfield.Index` finds vectors and does not give them back, nor does it search among some of them: what needs
either keeps them here as well.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

import nearfield as nf

Array: TypeAlias = npt.NDArray[Any]


class Growing:
    """An array that rows are added to."""

    def __init__(self, dtype: Any, *width: int) -> None:
        self._room: Array = np.empty((0, *width), dtype)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def array(self) -> Array:
        return self._room[: self._count]

    def append(self, values: Array) -> None:
        begin, end = self._count, self._count + len(values)
        if end > len(self._room):
            # Twice the room, so that rows added one by one are copied a few times only.
            room = np.empty((max(end, 2 * begin), *self._room.shape[1:]), self._room.dtype)
            room[:begin] = self.array
            self._room = room
        self._room[begin:end] = values
        self._count = end

    def keep(self, mask: Array) -> None:
        """Drops the rows where `mask` is false; the others move up."""
        self._room = self.array[mask]
        self._count = len(self._room)


class Rows:
    """Rows of an id (uint64) and a vector (float32)."""

    def __init__(self, dim: int) -> None:
        self._dim = dim
        self._ids = Growing(np.uint64)
        self._vectors = Growing(np.float32, dim)

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def ids(self) -> Array:
        return self._ids.array

    @property
    def vectors(self) -> Array:
        return self._vectors.array

    def append(self, ids: Array, vectors: Array) -> None:
        self._vectors.append(vectors)
        self._ids.append(ids)

    def keep(self, mask: Array) -> None:
        """Drops the rows where `mask` is false; the others move up."""
        self._vectors.keep(mask)
        self._ids.keep(mask)

    def among(self, metric: Any, mask: Array) -> nf.Index:
        """An index of the rows where `mask` is true."""
        index = nf.Index(self._dim, metric)
        index.add(self.vectors[mask], self.ids[mask])
        return index


def matrix(data: Any) -> Array:
    """What NumPy makes rows of float32 of, of two dimensions or one."""
    with np.errstate(over="ignore"):  # What overflows is infinite, and refused as that.
        return np.ascontiguousarray(data, dtype=np.float32)


def check_finite(vectors: Array) -> None:
    """Raises nearfield's own error for the first row that it would not take."""
    good = np.isfinite(vectors).all(axis=1)
    if not good.all():
        nf.Index(vectors.shape[1]).add(vectors[: int(np.argmin(good)) + 1])
