"""The kinds of index."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from nearfield.compat._errors import Mismatch, Refused, Unsupported
from nearfield.compat._rows import Array, Growing
from nearfield.compat.faiss._base import Index, Said
from nearfield.compat.faiss._selectors import SearchParameters
from nearfield.compat.faiss._store import METRIC_INNER_PRODUCT, METRIC_L2


class IndexFlat(Index):
    """Compares every vector."""

    def _asked(self, params: SearchParameters | None) -> dict[str, Any]:
        return {"exact": True}


class IndexFlatL2(IndexFlat):
    """Compares every vector, by squared distance."""

    def __init__(self, d: int) -> None:
        super().__init__(d, METRIC_L2)

    @classmethod
    def _made(cls, d: int, metric: int, said: Said) -> Index:
        return cls(d)


class IndexFlatIP(IndexFlat):
    """Compares every vector, by inner product."""

    def __init__(self, d: int) -> None:
        super().__init__(d, METRIC_INNER_PRODUCT)

    @classmethod
    def _made(cls, d: int, metric: int, said: Said) -> Index:
        return cls(d)


class HNSW:
    """Parameters of a graph: `efSearch`, how many candidates a search keeps, and `efConstruction`, of a build."""

    def __init__(self, index: Index) -> None:
        self.efSearch = 16
        self._index = index
        self._ef_construction = 40

    @property
    def efConstruction(self) -> int:
        """How many candidates a build keeps; to be set before vectors are added."""
        return self._ef_construction

    @efConstruction.setter
    def efConstruction(self, ef: int) -> None:
        if self._index.ntotal:
            raise Refused("efConstruction is set before vectors are added, or after reset()")
        self._ef_construction = operator.index(ef)
        self._index._store.clear()


class IndexHNSWFlat(Index):
    """A graph with `M` links a vector, 2 to 64."""

    def __init__(self, d: int, M: int = 32, metric: int = METRIC_L2) -> None:
        self._m = operator.index(M)
        self._hnsw = HNSW(self)
        super().__init__(d, metric)
        self._store.empty()  # Refuses an M that is out of range.

    @property
    def hnsw(self) -> HNSW:
        """Its parameters, `hnsw.efSearch` and `hnsw.efConstruction`."""
        return self._hnsw

    def _settings(self) -> dict[str, Any]:
        return {"m": self._m, "ef_construction": self._hnsw.efConstruction}

    def _asked(self, params: SearchParameters | None) -> dict[str, Any]:
        return {"ef": int(getattr(params, "efSearch", self._hnsw.efSearch))}

    def _said(self) -> dict[str, int]:
        return {"M": self._m, "efSearch": int(self._hnsw.efSearch), "efConstruction": self._hnsw.efConstruction}

    @classmethod
    def _made(cls, d: int, metric: int, said: Said) -> Index:
        index = cls(d, said("M"), metric)
        index._hnsw.efSearch = said("efSearch")
        index._hnsw.efConstruction = said("efConstruction")
        return index


class IndexPQ(Index):
    """Product codes of `M` numbers of `nbits` a vector lead to candidates, which are compared exactly."""

    def __init__(self, d: int, M: int, nbits: int = 8, metric: int = METRIC_L2) -> None:
        self._product = _product(operator.index(d), operator.index(M), operator.index(nbits))
        self._shape = operator.index(M), operator.index(nbits)
        super().__init__(d, metric)
        self._ready = False

    def _settings(self) -> dict[str, Any]:
        return {"code": self._product}

    def _said(self) -> dict[str, int]:
        return {"M": self._shape[0], "nbits": self._shape[1]}

    @classmethod
    def _made(cls, d: int, metric: int, said: Said) -> Index:
        return cls(d, said("M"), said("nbits"), metric)


class ScalarQuantizer:
    """Names of the codes of `IndexScalarQuantizer`."""

    QT_8bit = 0
    QT_4bit = 1
    QT_8bit_uniform = 2
    QT_4bit_uniform = 3
    QT_fp16 = 4
    QT_8bit_direct = 5
    QT_6bit = 6
    QT_bf16 = 7
    QT_8bit_direct_signed = 8


# What nearfield has for a code: codes beside the vectors, or another type of the vectors themselves.
_SCALAR: dict[int, dict[str, str]] = {
    ScalarQuantizer.QT_8bit: {"code": "byte"},
    ScalarQuantizer.QT_4bit: {"code": "half"},
    ScalarQuantizer.QT_8bit_uniform: {"code": "byte"},
    ScalarQuantizer.QT_4bit_uniform: {"code": "half"},
    ScalarQuantizer.QT_fp16: {"dtype": "f16"},
    ScalarQuantizer.QT_8bit_direct: {"dtype": "u8"},
    ScalarQuantizer.QT_bf16: {"dtype": "bf16"},
    ScalarQuantizer.QT_8bit_direct_signed: {"dtype": "i8"},
}


class IndexScalarQuantizer(Index):
    """Codes of 8 or 4 bits an element lead to candidates, which are compared exactly; or vectors of 16 bits or whole
    numbers of 8 bits an element."""

    def __init__(self, d: int, qtype: int = ScalarQuantizer.QT_8bit, metric: int = METRIC_L2) -> None:
        self._scalar = _scalar(qtype)
        self._qtype = operator.index(qtype)
        super().__init__(d, metric)
        self._ready = "dtype" in self._scalar

    def _settings(self) -> dict[str, Any]:
        return self._scalar

    def _said(self) -> dict[str, int]:
        return {"qtype": self._qtype}

    @classmethod
    def _made(cls, d: int, metric: int, said: Said) -> Index:
        return cls(d, said("qtype"), metric)


class IndexHNSWSQ(IndexHNSWFlat):
    """`IndexHNSWFlat` with the codes of `IndexScalarQuantizer`."""

    def __init__(
        self, d: int, qtype: int = ScalarQuantizer.QT_8bit, M: int = 32, metric: int = METRIC_L2
    ) -> None:
        self._scalar = _scalar(qtype)
        self._qtype = operator.index(qtype)
        super().__init__(d, M, metric)
        self._ready = "dtype" in self._scalar

    def _settings(self) -> dict[str, Any]:
        return {**super()._settings(), **self._scalar}

    def _said(self) -> dict[str, int]:
        return {**super()._said(), "qtype": self._qtype}

    @classmethod
    def _made(cls, d: int, metric: int, said: Said) -> Index:
        index = cls(d, said("qtype"), said("M"), metric)
        index._hnsw.efSearch = said("efSearch")
        index._hnsw.efConstruction = said("efConstruction")
        return index


class IndexIVF(Index):
    """What takes the place of lists is a graph: `nprobe` lists are 16 × `nprobe` candidates of a search, all `nlist`
    of them every vector. Rows have ids. The quantizer is not used."""

    nlist: int = 0
    nprobe: int = 1
    quantizer: Index | None = None

    def __init__(self, quantizer: Index, d: int, nlist: int, metric: int = METRIC_L2) -> None:
        super().__init__(d, metric)
        if not isinstance(quantizer, Index) or quantizer.d != self.d:
            raise Mismatch(f"quantizer: expected an index of {self.d} dimensions, given {quantizer!r}")
        if operator.index(nlist) < 1:
            raise Refused(f"nlist is {nlist}, expected 1 or more")
        self.quantizer = quantizer
        self.nlist = operator.index(nlist)
        self._ready = False
        self._labels = Growing(np.int64)

    def make_direct_map(self, new_maintain_direct_map: bool = True) -> None:
        """Does nothing: vectors are found by their ids without it."""

    def _asked(self, params: SearchParameters | None) -> dict[str, Any]:
        nprobe = int(getattr(params, "nprobe", self.nprobe))
        if nprobe < 1:
            raise Refused(f"nprobe is {nprobe}, expected 1 or more")
        return {"exact": True} if nprobe >= self.nlist else {"ef": 16 * nprobe}

    def _said(self) -> dict[str, int]:
        return {"nlist": self.nlist, "nprobe": int(self.nprobe)}

    @classmethod
    def _made(cls, d: int, metric: int, said: Said) -> Index:
        index = cls(IndexFlat(d, metric), d, said("nlist"), metric)
        index.nprobe = said("nprobe")
        return index


class IndexIVFFlat(IndexIVF):
    """`IndexIVF` without codes that were asked for."""


class IndexIVFPQ(IndexIVF):
    """`IndexIVF` with the codes of `IndexPQ`."""

    def __init__(
        self, quantizer: Index, d: int, nlist: int, M: int, nbits_per_idx: int = 8, metric: int = METRIC_L2
    ) -> None:
        self._product = _product(operator.index(d), operator.index(M), operator.index(nbits_per_idx))
        self._shape = operator.index(M), operator.index(nbits_per_idx)
        super().__init__(quantizer, d, nlist, metric)

    def _settings(self) -> dict[str, Any]:
        return {"code": self._product}

    def _said(self) -> dict[str, int]:
        return {**super()._said(), "M": self._shape[0], "nbits": self._shape[1]}

    @classmethod
    def _made(cls, d: int, metric: int, said: Said) -> Index:
        index = cls(IndexFlat(d, metric), d, said("nlist"), said("M"), said("nbits"), metric)
        index.nprobe = said("nprobe")
        return index


class IndexIVFScalarQuantizer(IndexIVF):
    """`IndexIVF` with the codes of `IndexScalarQuantizer`."""

    def __init__(
        self,
        quantizer: Index,
        d: int,
        nlist: int,
        qtype: int = ScalarQuantizer.QT_8bit,
        metric: int = METRIC_L2,
        by_residual: bool = True,
    ) -> None:
        self._scalar = _scalar(qtype)
        self._qtype = operator.index(qtype)
        super().__init__(quantizer, d, nlist, metric)

    def _settings(self) -> dict[str, Any]:
        return self._scalar

    def _said(self) -> dict[str, int]:
        return {**super()._said(), "qtype": self._qtype}

    @classmethod
    def _made(cls, d: int, metric: int, said: Said) -> Index:
        index = cls(IndexFlat(d, metric), d, said("nlist"), said("qtype"), metric)
        index.nprobe = said("nprobe")
        return index


class IndexIDMap(Index):
    """Ids for the rows of another index, which must be empty: any whole numbers of 64 bits but -1."""

    index: Index | None = None

    def __init__(self, index: Index) -> None:
        if isinstance(index, IndexIDMap):
            raise Unsupported("an IndexIDMap of an IndexIDMap is not covered; one has ids already")
        if index.ntotal:
            raise Refused(f"index must be empty on input, given {index!r}")
        self.d, self.metric_type = index.d, index.metric_type
        self.index = self._inner = index
        self._store = index._store
        self._labels: Growing = Growing(np.int64)

    @property
    def id_map(self) -> Array:
        """The ids, in the order of the rows."""
        return self._labels.array.copy()

    @property
    def is_trained(self) -> bool:
        """Whether vectors may be added."""
        return self._inner.is_trained

    def train(self, x: Any) -> None:
        """As that of the other index."""
        self._inner.train(x)

    def add(self, x: Any) -> None:
        """Not there: vectors are added with ids."""
        raise Refused("add does not make sense with IndexIDMap, use add_with_ids")

    def reset(self) -> None:
        """Removes all vectors."""
        self._inner.reset()
        self._labels = Growing(np.int64)

    def _insert(self, vectors: Array, labels: Array) -> None:
        self._inner.add(vectors)
        self._labels.append(labels)

    def _drop(self, mask: Array) -> None:
        self._inner._drop(mask)
        self._labels.keep(~mask)

    def _asked(self, params: SearchParameters | None) -> dict[str, Any]:
        return self._inner._asked(params)


class IndexIDMap2(IndexIDMap):
    """`IndexIDMap`, which has all of it already."""


def _product(d: int, m: int, nbits: int) -> str:
    """Nearfield's product codes of about as many bytes."""
    if m < 1 or d % m:
        raise Refused(f"M is {m}, and the {d} dimensions should be a multiple of it")
    if not 1 <= nbits <= 16:
        raise Refused(f"nbits is {nbits}, expected 1 to 16")
    return f"product:{min(max(8, -(-m * nbits // 8)), 1024)}"


def _scalar(qtype: int) -> dict[str, str]:
    if qtype not in _SCALAR:
        raise Unsupported(
            f"the scalar quantizer {qtype!r} is not covered: QT_8bit, QT_4bit, QT_fp16, QT_bf16, QT_8bit_direct and "
            "QT_8bit_direct_signed are"
        )
    return _SCALAR[qtype]


KINDS: dict[str, type[Index]] = {
    kind.__name__: kind
    for kind in (
        IndexFlat,
        IndexFlatL2,
        IndexFlatIP,
        IndexHNSWFlat,
        IndexHNSWSQ,
        IndexPQ,
        IndexScalarQuantizer,
        IndexIVFFlat,
        IndexIVFPQ,
        IndexIVFScalarQuantizer,
    )
}
"""The kinds of index that a file may say, by their names."""
