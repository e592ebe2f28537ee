"""The interface of faiss on nearfield's bare index: `from nearfield.compat import faiss`.

    from nearfield.compat import faiss

    index = faiss.IndexFlatL2(64)
    index.add(xb)
    D, I = index.search(xq, 4)

Distances, shapes, and -1 where there are fewer are those of faiss. What differs:

- Vectors are held twice, by nearfield's index and to be given back, selected and removed; codes (PQ, SQ, IVFPQ) are
  beside them and save no memory. Candidates that codes lead to are compared exactly, so that distances are true ones,
  and `reconstruct` gives back what was added.
- An index of lists (IVF) is a graph: `nprobe` says how many candidates a search keeps, 16 for each, and `nprobe = nlist`
  compares every vector. `train` learns nothing; codes learn from the rows.
- Searches among the rows of an `IDSelector`, and `range_search`, compare every row that is chosen.
- Graphs are built by the first search, or the first file, after much was added. `remove_ids` works with every index.
  NaN and infinity are refused.
- Files are nearfield's own, see docs/format.md of the source.

What is not covered raises `nearfield.compat.Unsupported`, a RuntimeError as faiss's errors are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nearfield.compat._errors import Absent, Unsupported
from nearfield.compat._rows import Array
from nearfield.compat.faiss._base import Index
from nearfield.compat.faiss._factory import (
    ParameterSpace,
    downcast_index,
    extract_index_ivf,
    index_factory,
)
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
from nearfield.compat.faiss._io import (
    clone_index,
    deserialize_index,
    read_index,
    serialize_index,
    write_index,
)
from nearfield.compat.faiss._selectors import (
    IDSelector,
    IDSelectorAll,
    IDSelectorAnd,
    IDSelectorArray,
    IDSelectorBatch,
    IDSelectorBitmap,
    IDSelectorNot,
    IDSelectorOr,
    IDSelectorRange,
    IDSelectorXOr,
    SearchParameters,
    SearchParametersHNSW,
    SearchParametersIVF,
)
from nearfield.compat.faiss._store import (
    METRIC_INNER_PRODUCT,
    METRIC_L2,
    omp_get_max_threads,
    omp_set_num_threads,
)

__all__ = [
    "METRIC_INNER_PRODUCT",
    "METRIC_L2",
    "IDSelector",
    "IDSelectorAll",
    "IDSelectorAnd",
    "IDSelectorArray",
    "IDSelectorBatch",
    "IDSelectorBitmap",
    "IDSelectorNot",
    "IDSelectorOr",
    "IDSelectorRange",
    "IDSelectorXOr",
    "Index",
    "IndexFlat",
    "IndexFlatIP",
    "IndexFlatL2",
    "IndexHNSWFlat",
    "IndexHNSWSQ",
    "IndexIDMap",
    "IndexIDMap2",
    "IndexIVF",
    "IndexIVFFlat",
    "IndexIVFPQ",
    "IndexIVFScalarQuantizer",
    "IndexPQ",
    "IndexScalarQuantizer",
    "Kmeans",
    "ParameterSpace",
    "ScalarQuantizer",
    "SearchParameters",
    "SearchParametersHNSW",
    "SearchParametersIVF",
    "clone_index",
    "deserialize_index",
    "downcast_index",
    "extract_index_ivf",
    "get_num_gpus",
    "index_factory",
    "knn",
    "normalize_L2",
    "omp_get_max_threads",
    "omp_set_num_threads",
    "read_index",
    "serialize_index",
    "vector_to_array",
    "write_index",
]


def normalize_L2(x: Array) -> None:
    """Makes each row of an array of float32 one of length 1, in place; rows of zeros stay."""
    if not isinstance(x, np.ndarray) or x.dtype != np.float32 or x.ndim != 2:
        given = f"{x.dtype} of shape {x.shape}" if isinstance(x, np.ndarray) else type(x).__name__
        raise TypeError(f"normalize_L2: expected an array of float32 of shape (n, d), given {given}")
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    np.divide(x, norms, out=x, where=norms > 0)


def knn(xq: Any, xb: Any, k: int, metric: int = METRIC_L2) -> tuple[Array, Array]:
    """The `k` rows of `xb` nearest to each of `xq`: distances and row numbers."""
    index = IndexFlat(np.shape(xb)[-1], metric)
    index.add(xb)
    return index.search(xq, k)


def vector_to_array(v: Any) -> Array:
    """An array of what an attribute such as `id_map` holds."""
    return np.array(v)


def get_num_gpus() -> int:
    """0: nearfield computes on processors."""
    return 0


class Kmeans:
    """Not covered."""

    def __init__(self, *_arguments: Any, **_named: Any) -> None:
        raise Unsupported(
            "Kmeans is not covered: nearfield clusters nothing, and needs no clusters to search; faiss.Kmeans itself or "
            "sklearn.cluster.KMeans do, and their centroids may be searched by an index of this module"
        )


_GPU = "nearfield computes on processors; leave out the line that moves the index to a GPU"
_BITS = "vectors of bits are searched by nearfield.Index(d, 'hamming'), packed by numpy.packbits"
_HINTS = {
    "StandardGpuResources": _GPU,
    "GpuIndexFlatL2": _GPU,
    "index_cpu_to_gpu": _GPU,
    "index_cpu_to_all_gpus": _GPU,
    "index_gpu_to_cpu": _GPU,
    "IndexBinaryFlat": _BITS,
    "IndexBinaryHNSW": _BITS,
    "IndexBinaryIVF": _BITS,
    "IndexLSH": "IndexFlat and IndexHNSWFlat find the true neighbours, by codes of one bit an element where that is faster",
    "IndexRefineFlat": "candidates are always compared exactly: use the index that it would be put around",
    "IndexPreTransform": "transform the vectors before they are added and searched for",
    "PCAMatrix": "sklearn.decomposition.PCA makes shorter vectors; nearfield's codes save more at the same recall",
    "IndexShards": "one index uses all cores",
    "IndexReplicas": "one index uses all cores",
    "METRIC_L1": "there are METRIC_L2 and METRIC_INNER_PRODUCT, and in nearfield.Index cosine, hamming and jaccard",
}


def __getattr__(name: str) -> Any:
    hint = _HINTS.get(name, "help(nearfield.compat.faiss) tells what is covered, help(nearfield.Index) what nearfield has")
    raise Absent(f"nearfield.compat.faiss has no {name!r}: {hint}")
