"""From Qdrant: a client, of a server or local, or the directory of a local one."""

from __future__ import annotations

import itertools
import json
import os
import uuid
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import nearfield as nf
from nearfield.migrate import _pickle
from nearfield.migrate._errors import damaged, foreign, opened
from nearfield.migrate._payload import Columns
from nearfield.migrate._sqlite import Tables
from nearfield.migrate._store import Batch, Migrated, OnBad, Rejects, Shape, Target, Told, batch_rows, into, store

if TYPE_CHECKING:
    from nearfield._nearfield import _Dtype, _Metric, _Text

_METRICS: dict[str, _Metric] = {"Cosine": "cosine", "Euclid": "l2", "Dot": "dot"}
_MODELS = "qdrant_client.http.models.models"
_PAGE = 1000
_SNAPSHOT = (
    "is of a Qdrant server, whose files are read by no other program: start the server, restore the snapshot there if it "
    "is one, and give a client: from_qdrant(QdrantClient(url=…), …)"
)


def from_qdrant(
    source: Any,
    db: Target,
    collection: str,
    *,
    name: str | None = None,
    vector: str | None = None,
    columns: Sequence[str] | None = None,
    metric: _Metric | None = None,
    dtype: _Dtype | None = None,
    text: _Text | None = None,
    on_bad: OnBad = "raise",
    progress: Told = None,
) -> Migrated:
    """Copies the collection `collection` of Qdrant into the database `db`, open or by its path, as `name`.

    `source` is a `qdrant_client.QdrantClient`, or the directory of a local one (`QdrantClient(path=…)`), which is read
    without Qdrant: its points are pickles, of which only data is taken and nothing is run, as the client itself would.
    The client must have closed it. Files and snapshots of a server are not read: give a client of the server.

    `vector` says which one of named vectors, sparse vectors come as columns. Payloads are columns, "a.b" for names within
    names, and text in JSON where no column fits; `columns` are keys to take (left out: all). Ids that are UUIDs are texts,
    and so are all where some are. `metric` is needed for Manhattan distance, which there is not here. `dtype`, `text`,
    `on_bad` and `progress` are as for `from_chroma`. All of it is stored or nothing.

    Raises `NotFound`, `Corrupt`, `Incompatible` naming the file, `InvalidArgument`, `InvalidVector`, and what the
    client raises.

    >>> from nearfield import migrate
    >>> migrate.from_qdrant("qdrant_storage", "my.nf", "docs")  # doctest: +SKIP
    """
    points = _Client(source, collection) if hasattr(source, "scroll") else _Local(source, collection)
    try:
        config = points.config
        chosen = config.chosen(vector)
        learned = Columns(
            None if columns is None else [columns] if isinstance(columns, str) else list(columns), config.sparse
        )
        numbers, count = True, 0
        for point in points.all(False):
            learned.see(point.payload)
            numbers, count = numbers and isinstance(point.id, int), count + 1
        learned.check()
        types: Any = {**dict.fromkeys(config.sparse, "sparse"), **learned.types()}
        shape = Shape(
            collection if name is None else name,
            chosen.size,
            metric or chosen.metric(collection),
            "u64" if numbers else "utf8",
            types,
            dtype,
            text,
        )
        rejects = Rejects(on_bad)
        batches = _batches(points, chosen, config.sparse, learned, numbers, rejects)
        with into(db) as target:
            return store(target, shape, batches, rejects, total=count, progress=progress, notes=learned.notes())
    finally:
        points.close()


@dataclass
class _Point:
    id: int | str
    vector: Any
    payload: dict[str, Any]


@dataclass
class _Chosen:
    """The vectors that are taken; those without a name are called ""."""

    name: str
    size: int
    distance: str

    def metric(self, collection: str) -> _Metric:
        if self.distance not in _METRICS:
            raise nf.InvalidArgument(
                f"{collection!r} is compared by the distance {self.distance!r}, which there is not here: give metric=, "
                '"l2" is the nearest'
            )
        return _METRICS[self.distance]


class _Config:
    """The vectors of a collection, as Qdrant says them: objects, or dicts of the same names."""

    def __init__(self, collection: str, vectors: Any, sparse: Any) -> None:
        self._collection = collection
        single = vectors is not None and _of(vectors, "size") is not None
        named = {"": vectors} if single else vectors if isinstance(vectors, dict) else {}
        self._named: dict[str, Any] = named
        self.sparse: list[str] = list(sparse) if isinstance(sparse, dict) else []

    def chosen(self, vector: str | None) -> _Chosen:
        """The vectors of a name, or the only ones."""
        names = list(self._named)
        if vector is None and len(names) == 1:
            vector = names[0]
        if vector is None or vector not in self._named:
            said = ", ".join(repr(name) for name in names) or "none that are dense"
            what = "give vector= to say which" if vector is None else f"there is no {vector!r}"
            raise nf.InvalidArgument(f"{self._collection!r} has the vectors {said}; {what}")
        about = self._named[vector]
        if _of(about, "multivector_config") is not None:
            raise nf.InvalidArgument(
                f"{self._collection!r} has several vectors a point under {vector!r}; a row has one here: make rows of them"
            )
        size, distance = _of(about, "size"), _of(about, "distance")
        if type(size) is not int or size < 1:
            raise nf.InvalidArgument(
                f"{self._collection!r} has vectors of size {size!r}, expected a whole number from 1"
            )
        return _Chosen(vector, size, str(getattr(distance, "value", distance)))


class _Client:
    """The points of a client."""

    def __init__(self, client: Any, collection: str) -> None:
        self._client, self._collection = client, collection
        about = client.get_collection(collection).config.params
        self.config = _Config(collection, about.vectors, getattr(about, "sparse_vectors", None))

    def all(self, vectors: bool) -> Iterator[_Point]:
        """All points, from the first on."""
        offset: Any = None
        while True:
            found, offset = self._client.scroll(
                self._collection, limit=_PAGE, offset=offset, with_payload=True, with_vectors=vectors
            )
            for record in found:
                yield _Point(record.id, record.vector, record.payload or {})
            if offset is None:
                return

    def close(self) -> None:
        """It is the caller's."""


class _Local:
    """The points of the directory of a local client, each a pickle in a table."""

    def __init__(self, path: str | os.PathLike[str], collection: str) -> None:
        folder = Path(path)
        if folder.is_file() or (folder / "raft_state.json").exists() or (folder / "collections").is_dir():
            raise foreign(folder, _SNAPSHOT)
        if not folder.is_dir():
            raise nf.NotFound(f"there is no directory {folder}; give the path of QdrantClient(path=…), or a client")
        meta = folder / "meta.json"
        with opened(meta) as file:
            said = file.read()
        try:
            collections = json.loads(said)["collections"]
            aliases = json.loads(said).get("aliases") or {}
            collection = aliases.get(collection, collection)
            about = collections.get(collection)
            vectors = about and about.get("vectors")
            self.config = _Config(collection, vectors, about and about.get("sparse_vectors"))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise damaged(meta, "its collections", f"it does not describe collections: {error!r:.80}") from error
        if about is None or os.path.basename(collection) != collection:
            raise nf.NotFound(f"{meta} has no collection {collection!r}; it has {', '.join(collections) or 'none'}")
        # A link would lead elsewhere; the file itself is looked at by what opens it.
        for part in (folder / "collection", folder / "collection" / collection):
            if part.is_symlink():
                raise foreign(
                    part, "is a link, which is not followed; copy the directory with its files, as cp -L does"
                )
        self._file = folder / "collection" / collection / "storage.sqlite"
        self._tables = Tables(self._file)
        try:
            self._tables.require("points", "id", "point")
        except BaseException:
            self.close()
            raise

    def all(self, vectors: bool) -> Iterator[_Point]:
        """All points, later ones of an id behind earlier ones."""
        self._tables.refill()
        for (pickled,) in self._tables.rows("points", "SELECT point FROM points NOT INDEXED ORDER BY rowid"):
            yield self._point(pickled)

    def close(self) -> None:
        """Closes the file."""
        self._tables.close()

    def _point(self, pickled: Any) -> _Point:
        try:
            if not isinstance(pickled, bytes):
                raise _pickle.Refused(f"a {type(pickled).__name__} in place of a pickle")
            point = _fields(_pickle.loads(pickled, {(_MODELS, "PointStruct"), (_MODELS, "SparseVector")}))
            id, payload = point.get("id"), point.get("payload")
            if isinstance(id, str):
                id = str(uuid.UUID(id))
            elif type(id) is not int or not 0 <= id < 2**64:
                raise _pickle.Refused(f"the id {id!r:.80}, expected a whole number or a UUID")
            if payload is not None and not isinstance(payload, dict):
                raise _pickle.Refused(f"the payload {payload!r:.80}, expected a dict")
        except ValueError as error:
            raise damaged(
                self._file, "points", f"a point is no pickle of data: {error}; a client may read it"
            ) from error
        return _Point(id, point.get("vector"), payload or {})


def _batches(
    points: _Client | _Local, chosen: _Chosen, sparse: list[str], learned: Columns, numbers: bool, rejects: Rejects
) -> Generator[Batch, None, None]:
    source = points.all(True)
    while page := list(itertools.islice(source, batch_rows(chosen.size))):
        ids: list[Any] = []
        rows, payloads = [], []
        cells: dict[str, list[Any]] = {name: [] for name in sparse}
        for point in page:
            try:
                row = _row(point, chosen)
                weights = {name: _weights(point, name) for name in sparse}
            except nf.InvalidArgument as error:
                rejects.add(point.id, error)
                continue
            if numbers and not isinstance(point.id, int):
                raise nf.InvalidArgument(
                    f"the point {point.id!r} came while the source was read; do it again when nobody writes"
                )
            ids.append(point.id if numbers else str(point.id))
            rows.append(row)
            payloads.append(point.payload)
            for name in sparse:
                cells[name].append(weights[name])
        vectors = np.array(rows, np.float32).reshape(len(rows), chosen.size)
        yield Batch(ids, vectors, {**cells, **learned.written(payloads)})


def _row(point: _Point, chosen: _Chosen) -> Any:
    vector = point.vector if not chosen.name else _fields(point.vector).get(chosen.name)
    if isinstance(vector, dict) and not chosen.name:
        vector = vector.get("")
    try:
        with np.errstate(over="ignore"):
            row = np.asarray(vector, np.float32)
    except (ValueError, TypeError, OverflowError):
        row = np.empty(0, np.float32)
    if vector is None or row.shape != (chosen.size,):
        what = "none" if vector is None else f"shape {row.shape}" if row.size else f"{vector!r:.60}"
        raise nf.InvalidArgument(
            f'the point {point.id!r} has no vector of {chosen.size} numbers, given {what}; mend it, or give on_bad="skip"'
        )
    return row


def _weights(point: _Point, name: str) -> dict[int, float] | None:
    """A sparse vector of a point."""
    given = point.vector.get(name) if isinstance(point.vector, dict) else None
    if given is None:
        return None
    indices, values = _of(given, "indices"), _of(given, "values")
    try:
        if len(indices) != len(values) or not all(type(index) is int for index in indices):
            raise TypeError
        return {index: float(value) for index, value in zip(indices, values)}
    except (TypeError, ValueError):
        raise nf.InvalidArgument(
            f"the point {point.id!r} has no sparse vector under {name!r}, given {given!r:.60}"
        ) from None


def _fields(given: Any) -> dict[Any, Any]:
    """The fields of a model of Qdrant, which pydantic keeps under one name."""
    if isinstance(given, _pickle.Object):
        given = given.state.get("__dict__")
    return given if isinstance(given, dict) else {}


def _of(given: Any, name: str) -> Any:
    """A field of an object, of one in a pickle, or of a dict."""
    if isinstance(given, (dict, _pickle.Object)):
        return _fields(given).get(name)
    return getattr(given, name, None)
