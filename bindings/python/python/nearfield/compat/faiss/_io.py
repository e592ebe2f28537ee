"""Indexes in files and bytes."""

from __future__ import annotations

import copy
import os
from typing import Any

import numpy as np

import nearfield as nf
from nearfield.compat import _file
from nearfield.compat._errors import Mismatch
from nearfield.compat._rows import Array, Growing
from nearfield.compat.faiss._base import Index
from nearfield.compat.faiss._indexes import KINDS, IndexFlat, IndexIDMap, IndexIDMap2
from nearfield.compat.faiss._store import METRICS, omp_get_max_threads

_FOREIGN = (
    "a file of faiss itself is read by faiss: index = faiss.read_index(path) there, and add(index.reconstruct_n(0, "
    "index.ntotal)) to an index of this module"
)
_MAPS: tuple[type[IndexIDMap] | None, ...] = (None, IndexIDMap, IndexIDMap2)


def write_index(index: Index, fname: str | os.PathLike[str], io_flags: int = 0) -> None:
    """Writes an index to a file of nearfield's."""
    _file.write(fname, *_parts(index))


def read_index(fname: str | os.PathLike[str], io_flags: int = 0) -> Index:
    """Reads a file of `write_index`."""
    return _restored(_file.read(fname, _FOREIGN))


def serialize_index(index: Index, io_flags: int = 0) -> Array:
    """The bytes that `write_index` writes."""
    return np.frombuffer(_file.dump(*_parts(index)), np.uint8)


def deserialize_index(data: Array, io_flags: int = 0) -> Index:
    """The index of the bytes of `serialize_index`."""
    return _restored(_file.parse(np.asarray(data, np.uint8).tobytes(), "the bytes", _FOREIGN))


def clone_index(index: Index) -> Index:
    """A copy of an index."""
    return copy.deepcopy(index)


def _parts(index: Index) -> tuple[dict[str, Any], dict[str, Array], nf.Index | None]:
    """What a file of an index is made of."""
    if not isinstance(index, Index):
        raise TypeError(f"expected an index of this module, given {type(index).__name__}")
    inner = index._inner if isinstance(index, IndexIDMap) else index
    store = inner._store
    said = {
        "kind": f"faiss.{type(inner).__name__}",
        "map": _MAPS.index(type(index)) if isinstance(index, IndexIDMap) else 0,
        "d": inner.d,
        "metric": inner.metric_type,
        "trained": int(inner.is_trained),
        "rows": inner.ntotal,
        **inner._said(),
    }
    arrays = {"keys": store.keys, "vectors": store.vectors}
    if inner._labels is not None:
        arrays["labels"] = inner._labels.array
    if isinstance(index, IndexIDMap):
        arrays["ids"] = index.id_map
    # An index that compares every vector has no graph to keep.
    return said, arrays, None if isinstance(inner, IndexFlat) else store.index


def _restored(saved: _file.Saved) -> Index:
    kind = saved.one_of("kind", [f"faiss.{name}" for name in KINDS]).removeprefix("faiss.")
    around = _MAPS[saved.one_of("map", range(len(_MAPS)))]
    rows, d, metric = saved.whole("rows"), saved.whole("d", 1), saved.one_of("metric", METRICS)
    try:
        inner = KINDS[kind]._made(d, metric, saved.whole)
    except (nf.InvalidArgument, Mismatch) as error:
        raise saved.damaged("description.json", str(error)) from error
    inner._ready = bool(saved.one_of("trained", range(2)))
    keys = saved.array("keys", np.uint64, rows)
    if not (keys[1:] > keys[:-1]).all():
        raise saved.damaged("keys", "they do not ascend")
    index = saved.index(rows, d, METRICS[metric], 0) if saved.has("index.nfi") else None
    labels = saved.array("labels", np.int64, rows) if inner._labels is not None else None
    result: Index = inner if around is None else around(inner)
    ids = saved.array("ids", np.int64, rows) if around is not None else None
    inner._store.restore(keys, saved.array("vectors", np.float32, rows, d), index)
    for wrapped, numbers in ((inner, labels), (result, ids)):
        if numbers is not None:
            wrapped._labels = Growing(np.int64)
            wrapped._labels.append(numbers)
    return result
