"""Indexes by the names that faiss gives them, and by the names of their parameters."""

from __future__ import annotations

import operator
import re
from typing import Any

from nearfield.compat._errors import Refused, Unsupported
from nearfield.compat.faiss._base import Index
from nearfield.compat.faiss._indexes import (
    IndexFlat,
    IndexFlatIP,
    IndexFlatL2,
    IndexHNSWFlat,
    IndexHNSWSQ,
    IndexIDMap,
    IndexIDMap2,
    IndexIVF,
    IndexIVFFlat,
    IndexIVFPQ,
    IndexIVFScalarQuantizer,
    IndexPQ,
    IndexScalarQuantizer,
    ScalarQuantizer,
)
from nearfield.compat.faiss._store import METRIC_INNER_PRODUCT, METRIC_L2

_QUANTIZERS = {
    "SQ8": ScalarQuantizer.QT_8bit,
    "SQ4": ScalarQuantizer.QT_4bit,
    "SQfp16": ScalarQuantizer.QT_fp16,
    "SQbf16": ScalarQuantizer.QT_bf16,
}
_KNOWN = (
    "there are Flat, HNSW<M>, PQ<M>, PQ<M>x<bits>, SQ8, SQ4, SQfp16 and SQbf16, all but HNSW behind IVF<lists> too, SQ "
    "behind HNSW<M>, IDMap or IDMap2 in front and RFlat at the end"
)
# What faiss has and nearfield does not, and why it is not missed.
_OTHER = re.compile(
    r"(PCA|OPQ|ITQ|RR|L2norm|Pad|LSH|IMI|NSG|RCQ|LSQ|PLSQ|PRQ|RQ|ZnLattice|Residual|PQ\d+x4fs|SQ6|RaBitQ|HNSW)"
)


def index_factory(d: int, description: str, metric: int = METRIC_L2) -> Index:
    """An index by its description, such as "HNSW32" or "IDMap,Flat"."""
    d = operator.index(d)
    words = [word.strip() for word in description.split(",")]
    # Candidates are always compared exactly.
    if len(words) > 1 and words[-1] in ("RFlat", "Refine(Flat)"):
        words.pop()
    around = {"IDMap": IndexIDMap, "IDMap2": IndexIDMap2}.get(words[0]) if len(words) > 1 else None
    if around is not None:
        words.pop(0)
    index = _index(d, words, metric)
    if index is None:
        if any(_OTHER.match(word) for word in words):
            raise Unsupported(
                f"index_factory: {description!r} is not covered, {_KNOWN}; nearfield chooses and learns codes by "
                "itself, and nearfield.Index has metric='cosine'"
            )
        raise Refused(f"could not parse index string {description!r}: {_KNOWN}")
    return index if around is None else around(index)


def _index(d: int, words: list[str], metric: int) -> Index | None:
    first, rest = words[0], words[1:]
    if graph := re.fullmatch(r"HNSW(\d*)", first):
        m = int(graph[1] or 32)
        if len(rest) == 1 and rest[0] in _QUANTIZERS:
            return IndexHNSWSQ(d, _QUANTIZERS[rest[0]], m, metric)
        return IndexHNSWFlat(d, m, metric) if rest in ([], ["Flat"]) else None
    if lists := re.fullmatch(r"IVF(\d+)(_HNSW\d*)?", first):
        return _of_lists(d, int(lists[1]), rest, metric)
    if rest:
        return None
    if first == "Flat":
        flat = {METRIC_L2: IndexFlatL2, METRIC_INNER_PRODUCT: IndexFlatIP}.get(metric)
        return IndexFlat(d, metric) if flat is None else flat(d)
    if first in _QUANTIZERS:
        return IndexScalarQuantizer(d, _QUANTIZERS[first], metric)
    if product := re.fullmatch(r"PQ(\d+)(?:x(\d+))?(?:np)?", first):
        return IndexPQ(d, int(product[1]), int(product[2] or 8), metric)
    return None


def _of_lists(d: int, nlist: int, rest: list[str], metric: int) -> Index | None:
    quantizer = IndexFlat(d, metric)
    if rest in ([], ["Flat"]):
        return IndexIVFFlat(quantizer, d, nlist, metric)
    if len(rest) == 1 and rest[0] in _QUANTIZERS:
        return IndexIVFScalarQuantizer(quantizer, d, nlist, _QUANTIZERS[rest[0]], metric)
    if len(rest) == 1 and (product := re.fullmatch(r"PQ(\d+)(?:x(\d+))?(?:np)?", rest[0])):
        return IndexIVFPQ(quantizer, d, nlist, int(product[1]), int(product[2] or 8), metric)
    return None


class ParameterSpace:
    """Sets parameters of an index by their names: nprobe, efSearch, efConstruction."""

    def set_index_parameter(self, index: Index, name: str, val: Any) -> None:
        """Sets one."""
        inner = index._inner if isinstance(index, IndexIDMap) else index
        if name == "nprobe" and isinstance(inner, IndexIVF):
            inner.nprobe = int(val)
        elif name in ("efSearch", "efConstruction") and isinstance(inner, IndexHNSWFlat):
            setattr(inner.hnsw, name, int(val))
        else:
            raise Refused(f"could not set parameter {name!r} of {inner!r}; nprobe, efSearch and efConstruction may be")

    def set_index_parameters(self, index: Index, description_or_names: str) -> None:
        """Sets those of a text such as "nprobe=8,efSearch=64"."""
        for part in filter(None, description_or_names.split(",")):
            name, _, value = part.partition("=")
            if not value.strip().isdigit():
                raise Refused(f"parameters: expected name=number, given {part!r}")
            self.set_index_parameter(index, name.strip(), int(value))


def extract_index_ivf(index: Index) -> IndexIVF:
    """The index of lists, within an `IndexIDMap` or not."""
    inner = index._inner if isinstance(index, IndexIDMap) else index
    if not isinstance(inner, IndexIVF):
        raise Refused(f"{index!r} has no index of lists in it")
    return inner


def downcast_index(index: Index) -> Index:
    """The index itself."""
    return index
