"""Which rows a search may find, or a removal takes, and the parameters of one search."""

from __future__ import annotations

from typing import Any

import numpy as np

from nearfield.compat._errors import Mismatch, Unsupported
from nearfield.compat._rows import Array


class IDSelector:
    """Chooses rows by their ids."""

    def mask(self, ids: Array) -> Array:
        """Which of `ids` are chosen, as bools."""
        raise Unsupported(
            f"{type(self).__name__} is not covered; IDSelectorBatch, IDSelectorRange, IDSelectorBitmap, IDSelectorAll, "
            "IDSelectorNot, IDSelectorAnd, IDSelectorOr and IDSelectorXOr are"
        )

    def is_member(self, id: int) -> bool:
        """Whether one id is chosen."""
        return bool(self.mask(np.array([id], np.int64))[0])


class IDSelectorAll(IDSelector):
    """Every row."""

    def mask(self, ids: Array) -> Array:
        return np.ones(len(ids), bool)


class IDSelectorRange(IDSelector):
    """Ids from `imin` to before `imax`."""

    def __init__(self, imin: int, imax: int, assume_sorted: bool = False) -> None:
        self.imin, self.imax = int(imin), int(imax)

    def mask(self, ids: Array) -> Array:
        chosen: Array = (self.imin <= ids) & (ids < self.imax)
        return chosen


class IDSelectorBatch(IDSelector):
    """The ids of an array or list."""

    def __init__(self, indices: Any) -> None:
        self._ids = whole(indices)

    def mask(self, ids: Array) -> Array:
        return np.isin(ids, self._ids)


class IDSelectorArray(IDSelectorBatch):
    """The ids of an array or list."""


class IDSelectorBitmap(IDSelector):
    """The ids whose bits are set in an array of bytes, the lowest bit of the first byte being id 0."""

    def __init__(self, bitmap: Any) -> None:
        self._bits = np.unpackbits(np.asarray(bitmap, np.uint8), bitorder="little").astype(bool)

    def mask(self, ids: Array) -> Array:
        within = (ids >= 0) & (ids < len(self._bits))
        within[within] = self._bits[ids[within]]
        return within


class IDSelectorNot(IDSelector):
    """Every row but those of another selector."""

    def __init__(self, sel: IDSelector) -> None:
        self._one = sel

    def mask(self, ids: Array) -> Array:
        return ~self._one.mask(ids)


class _OfTwo(IDSelector):
    def __init__(self, lhs: IDSelector, rhs: IDSelector) -> None:
        self._lhs, self._rhs = lhs, rhs


class IDSelectorAnd(_OfTwo):
    """What both selectors choose."""

    def mask(self, ids: Array) -> Array:
        return self._lhs.mask(ids) & self._rhs.mask(ids)


class IDSelectorOr(_OfTwo):
    """What one of the selectors chooses, or both."""

    def mask(self, ids: Array) -> Array:
        return self._lhs.mask(ids) | self._rhs.mask(ids)


class IDSelectorXOr(_OfTwo):
    """What one of the selectors chooses, and not the other."""

    def mask(self, ids: Array) -> Array:
        return self._lhs.mask(ids) ^ self._rhs.mask(ids)


class SearchParameters:
    """Parameters of one search: the rows that may be found."""

    def __init__(self, *, sel: IDSelector | None = None) -> None:
        self.sel = sel


class SearchParametersHNSW(SearchParameters):
    """Parameters of one search of a graph."""

    def __init__(
        self, *, efSearch: int = 16, sel: IDSelector | None = None, check_relative_distance: bool = True
    ) -> None:
        super().__init__(sel=sel)
        self.efSearch = efSearch


class SearchParametersIVF(SearchParameters):
    """Parameters of one search of an index of lists."""

    def __init__(self, *, nprobe: int = 1, sel: IDSelector | None = None, max_codes: int = 0) -> None:
        super().__init__(sel=sel)
        self.nprobe = nprobe


def whole(ids: Any) -> Array:
    """Ids as int64, of one dimension."""
    numbers = np.asarray(ids)
    if numbers.ndim != 1 or (numbers.size and numbers.dtype.kind not in "iu"):
        raise Mismatch(
            f"ids: expected whole numbers in one dimension, given {numbers.dtype} of shape {numbers.shape}"
        )
    return numbers.astype(np.int64)
