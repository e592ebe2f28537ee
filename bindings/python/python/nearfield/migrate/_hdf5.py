"""From HDF5 files, such as those of ann-benchmarks."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import nearfield as nf
from nearfield.migrate._errors import damaged, foreign, needed, regular
from nearfield.migrate._store import Batch, Migrated, OnBad, Rejects, Shape, Target, Told, batch_rows, into, store

if TYPE_CHECKING:
    from nearfield._nearfield import _Dtype, _Metric

_METRICS: dict[str, _Metric] = {
    "euclidean": "l2",
    "l2": "l2",
    "angular": "cosine",
    "cosine": "cosine",
    "ip": "dot",
    "dot": "dot",
    "hamming": "hamming",
}
# How much smaller than its data a file can be: deflate has 1032 to 1.
_MOST_PACKED = 1100


def from_hdf5(
    source: str | os.PathLike[str],
    db: Target,
    dataset: str = "train",
    *,
    name: str | None = None,
    id: str | None = None,
    metric: _Metric | None = None,
    dtype: _Dtype | None = None,
    on_bad: OnBad = "raise",
    progress: Told = None,
) -> Migrated:
    """Copies the vectors `dataset` of the HDF5 file `source` into the database `db`, open or by its path, as `name`
    (left out: the name of the file). Takes the package `h5py`.

    Rows are numbered, or have the ids of the dataset `id`, whole numbers or texts. `metric` is left out what the file says
    of its distance, as those of ann-benchmarks do. Truth values are vectors of bits. `dtype`, `on_bad` and `progress`
    are as for `from_chroma`. All of it is stored or nothing. The library of HDF5 is not made for files that mean harm:
    read those of people you trust.

    Raises `NotFound`, `Corrupt`, `Incompatible` naming the file, `InvalidArgument`, `InvalidVector`.

    >>> from nearfield import migrate
    >>> migrate.from_hdf5("sift-128-euclidean.hdf5", "my.nf")  # doctest: +SKIP
    """
    path = Path(source)
    regular(path)
    h5py = needed("h5py", "h5py")
    try:
        file = h5py.File(path, "r")
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise damaged(path, "its header", str(error)) from error
    with file:
        vectors = _Vectors(h5py, path, file, dataset, id)
        shape = Shape(
            path.stem if name is None else name,
            vectors.dim,
            metric or vectors.metric(),
            vectors.id_type,
            dtype=dtype or vectors.dtype,
        )
        rejects = Rejects(on_bad)
        with into(db) as target:
            return store(target, shape, vectors.batches(), rejects, total=vectors.rows, progress=progress, notes=[])


class _Vectors:
    def __init__(self, h5py: Any, path: Path, file: Any, dataset: str, id: str | None) -> None:
        self._h5py, self._path, self._file = h5py, path, file
        self._data = self._dataset(dataset)
        kind = self._data.dtype.kind
        if len(self._data.shape) != 2 or kind not in "fiub" or not self._data.shape[1]:
            raise nf.InvalidArgument(
                f"{path}: the dataset {dataset!r} has the shape {self._data.shape} of {self._data.dtype}, expected rows of numbers"
            )
        self.rows, self.dim = self._data.shape
        if self._data.size * self._data.dtype.itemsize > _MOST_PACKED * os.path.getsize(path):
            raise damaged(path, dataset, f"{self._data.shape} numbers, more than a file of its size can hold")
        self.dtype: Any = {"b": "b1"}.get(kind, "f16" if self._data.dtype.itemsize == 2 and kind == "f" else None)
        self._ids = None if id is None else self._dataset(id)
        if self._ids is not None and self._ids.shape != (self.rows,):
            raise nf.InvalidArgument(
                f"{path}: {self._ids.shape} ids in {id!r} for {self.rows} vectors; give one for each"
            )
        self.id_type: Any = "u64" if self._ids is None or self._ids.dtype.kind in "iu" else "utf8"

    def metric(self) -> _Metric:
        """What the file says, else that of its bits."""
        said = self._file.attrs.get("distance")
        said = said.decode(errors="replace") if isinstance(said, bytes) else said
        if isinstance(said, str) and said in _METRICS:
            return _METRICS[said]
        if said is None and self.dtype == "b1":
            return "hamming"
        raise nf.InvalidArgument(
            f"{self._path} says the distance {said!r}, expected one of {', '.join(_METRICS)}; give metric="
        )

    def batches(self) -> Generator[Batch, None, None]:
        """The rows."""
        step = batch_rows(self.dim)
        for begin in range(0, self.rows, step):
            end = min(begin + step, self.rows)
            try:
                vectors = self._data[begin:end]
                ids = np.arange(begin, end, dtype=np.uint64) if self._ids is None else self._ids[begin:end]
            except (OSError, RuntimeError, ValueError, MemoryError) as error:
                raise damaged(self._path, f"rows {begin} to {end}", str(error)) from error
            if self.dtype == "b1":
                vectors = np.packbits(vectors, axis=1)
            elif vectors.dtype not in (np.float32, np.float16):
                with np.errstate(over="ignore"):
                    vectors = vectors.astype(np.float32)
            yield Batch(ids if self.id_type == "u64" else [self._text(id) for id in ids], vectors)

    def _dataset(self, name: str) -> Any:
        try:
            link = self._file.get(name, getlink=True)
            found = self._file.get(name)
        except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
            raise damaged(self._path, name, str(error)) from error
        if isinstance(link, self._h5py.ExternalLink):
            raise foreign(self._path, f"has {name!r} in another file, which is not followed; give that file")
        if not isinstance(found, self._h5py.Dataset):
            raise nf.NotFound(f"{self._path} has no dataset {name!r}; it has {', '.join(self._file) or 'none'}")
        if found.external or found.is_virtual:
            raise foreign(
                self._path, f"has the data of {name!r} in other files, which are not read; copy it with h5repack"
            )
        return found

    def _text(self, id: Any) -> str:
        try:
            return id.decode() if isinstance(id, bytes) else str(id)
        except UnicodeDecodeError as error:
            raise damaged(self._path, "its ids", f"{id!r:.80} is no UTF-8") from error
