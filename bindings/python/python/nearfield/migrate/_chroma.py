"""From a directory of Chroma to a database that `nearfield.compat.chroma` opens as its own."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

import nearfield as nf
from nearfield.compat.chroma import _columns as chroma
from nearfield.compat.chroma._settings import METRICS, checked_name, configured
from nearfield.compat.chroma._system import Entry, described, has_catalog, open_catalog
from nearfield.migrate._chroma_files import DOCUMENT, URI, Directory, Found, Record
from nearfield.migrate._chroma_graph import Graph
from nearfield.migrate._errors import damaged
from nearfield.migrate._store import (
    Array,
    Batch,
    Migrated,
    OnBad,
    Rejects,
    Shape,
    Target,
    Told,
    batch_rows,
    into,
    store,
)

if TYPE_CHECKING:
    from nearfield._nearfield import _Dtype, _Text

_ADD, _UPDATE, _UPSERT, _DELETE = 0, 1, 2, 3


def from_chroma(
    source: str | os.PathLike[str],
    db: Target,
    *,
    collection: str | Sequence[str] | None = None,
    name: str | None = None,
    tenant: str = "default_tenant",
    database: str = "default_database",
    columns: Sequence[str] | None = None,
    dtype: _Dtype | None = None,
    text: _Text | None = None,
    on_bad: OnBad = "raise",
    progress: Told = None,
) -> list[Migrated]:
    """Copies collections of Chroma's directory `source` into the database `db`, open or by its path.

    `collection` names one or several (left out: all), `name` what one alone is called here. `columns` are the keys of
    metadata to take (left out: all), `text` columns to be searched by words, as for `Database.collection`; the documents
    are in `document`. `dtype` is that of new vectors, `on_bad` "raise" or "skip", `progress` as for `Collection.upsert`.

    All of it is stored or, after an error or Ctrl-C, nothing. Ids, vectors, documents, URIs, metadata, the space and the
    order of records stay what they were, and `nearfield.compat.chroma.PersistentClient` of the database finds the
    collections. Embedding functions are not taken along: give yours at each opening. Close Chroma meanwhile: its
    files change one after the other.

    Read are directories of `PersistentClient` of Chroma 0.4.24 to 1.x, without Chroma: nothing that a file says is run.

    Raises `NotFound`, `Corrupt` and `Incompatible` naming the file, `InvalidArgument` for a collection that has rows
    already and metadata that no column holds, `InvalidVector`.

    >>> from nearfield import migrate
    >>> migrate.from_chroma("chroma", "my.nf")  # doctest: +SKIP
    """
    with Directory(source) as directory, into(db) as target:
        moves = [
            _Move(directory, found, entry, columns, Rejects(on_bad))
            for found, entry in _chosen(directory, target, collection, name, tenant, database)
        ]
        keys = {key for move in moves for key in move.types}
        for key in [columns] if isinstance(columns, str) else columns or []:
            if key not in keys:
                raise nf.InvalidArgument(f"columns: no record has the key {key!r}; there are {', '.join(sorted(keys))}")
        done: list[Migrated] = []
        try:
            done += (move.run(target, dtype, text, progress) for move in moves)
            catalog = open_catalog(target)
            if moves:
                entries = [move.entry for move in moves]
                catalog.upsert([str(entry.id) for entry in entries], [[0.0]] * len(entries), [*map(described, entries)])
        except BaseException:
            for moved in done:
                _undo(target, moved)
            raise
        return done


def _chosen(
    directory: Directory,
    target: nf.Database,
    collection: str | Sequence[str] | None,
    name: str | None,
    tenant: str,
    database: str,
) -> Iterator[tuple[Found, Entry]]:
    """The collections to copy, and what Chroma's interface is to know of them here."""
    there = {found.name: found for found in directory.collections(tenant, database)}
    names = list(there) if collection is None else [collection] if isinstance(collection, str) else list(collection)
    for one in names:
        if one not in there:
            raise nf.NotFound(f"{directory.file} has no collection {one!r}; it has {', '.join(there) or 'none'}")
    if name is not None and len(names) != 1:
        raise nf.InvalidArgument(f"name={name!r} is for one collection, and there are {len(names)}; give collection=")
    known = [row for records in open_catalog(target).scan() for row in records] if has_catalog(target) else []
    number = max((row["number"] for row in known), default=0)
    for number, one in enumerate(names, number + 1):
        found, called = there[one], one if name is None else name
        checked_name(called)
        if any(row["name"] == called for row in known):
            raise nf.InvalidArgument(
                f"Chroma's interface has a collection {called!r} here already: give name= for another, or delete it there"
            )
        configuration = configured(found.metadata, {"hnsw": {**found.hnsw, "space": found.space}}, found.space)
        # A second copy is a collection of its own.
        id = uuid.uuid4() if any(row["id"] == found.id for row in known) else uuid.UUID(found.id)
        yield found, Entry(id, number, called, found.metadata, configuration)


def _undo(target: nf.Database, moved: Migrated) -> None:
    if moved["created"]:
        target.drop(moved["name"])
    elif moved["rows"]:
        # It was there, and empty.
        target[moved["name"]].delete(where="TRUE")


@dataclass
class _Change:
    """What the log says of a record that the tables do not have yet."""

    exists: bool
    # Whether it is in the tables under its number, and goes on from there.
    based: bool
    metadata: dict[str, Any] = field(default_factory=dict)


class _Move:
    """One collection on its way."""

    def __init__(
        self, directory: Directory, found: Found, entry: Entry, columns: Sequence[str] | None, rejects: Rejects
    ) -> None:
        directory.tables.refill()
        self.entry = entry
        self._directory, self._found, self._name = directory, found, entry.name
        self._keys = None if columns is None else {columns} if isinstance(columns, str) else set(columns)
        self._rejects = rejects
        self._dim = found.dim or 0
        self._changes = self._replayed()
        self.types = self._learned()
        self._columns = chroma.Columns({})

    def run(self, target: nf.Database, dtype: _Dtype | None, text: _Text | None, progress: Told) -> Migrated:
        """Stores its records."""
        found = self._found
        self._directory.tables.refill()
        total = self._directory.count(found)
        if not total and not self._changes:
            # As in Chroma's interface: a collection is made when its first record comes.
            return Migrated(name=self._name, created=False, rows=0, replaced=0, rejected_rows=0, rejected=[], notes=[])
        if not self._dim:
            raise damaged(self._directory.file, "collections", f"{found.name!r} has records and no dimension")
        types: Any = {chroma.DOCUMENT: "utf8", chroma.URI: "utf8", chroma.ADDED: "int64", **self._metadata_columns()}
        shape = Shape(self._name, self._dim, METRICS[found.space], "utf8", types, dtype, text)
        return store(target, shape, self._batches(), self._rejects, total=total, progress=progress, notes=[])

    def _learned(self) -> dict[str, set[str]]:
        """The keys of the metadata, and the types of their values."""
        types = self._directory.column_types(self._found)
        for change in self._changes.values():
            for key, value in change.metadata.items():
                if value is not None:
                    types.setdefault(key, set()).add(chroma.type_of(value))
        return {key: types[key] for key in sorted(types) if key not in (DOCUMENT, URI)}

    def _metadata_columns(self) -> dict[str, str]:
        """The columns of the metadata: every key with each type of its values."""
        taken = [(key, type) for key, types in self.types.items() if self._takes(key) for type in sorted(types)]
        return {self._columns.of(key, type): type for key, type in taken}

    def _takes(self, key: str) -> bool:
        return self._keys is None or key in self._keys

    def _batches(self) -> Generator[Batch, None, None]:
        directory, found = self._directory, self._found
        size = batch_rows(self._dim)
        added = time.time_ns()
        graph = directory.graph(found)
        try:
            vectors = _Vectors(directory, found, graph, self._dim)
            for records in self._records(size):
                kept = [(record, vector) for record in records if (vector := self._vector(vectors, record)) is not None]
                yield self._batch([record for record, _ in kept], [vector for _, vector in kept], added)
                added += len(kept)
        finally:
            if graph is not None:
                graph.close()

    def _records(self, size: int) -> Iterator[list[Record]]:
        """All records, `size` at a time, as the log leaves them."""
        changes = self._changes
        for records in self._directory.records(self._found, size):
            yield [changed for record in records if (changed := _changed(record, changes.get(record.id))) is not None]
        new = [Record(id, change.metadata) for id, change in changes.items() if change.exists and not change.based]
        for begin in range(0, len(new), size):
            yield new[begin : begin + size]

    def _vector(self, vectors: _Vectors, record: Record) -> Array | None:
        vector = vectors.of(record.id)
        if vector is None:
            what = f"there is no vector of {record.id!r} of {self._found.name!r}, neither in the log nor in the graph"
            self._rejects.add(record.id, damaged(self._directory.path / self._found.vectors, "its vectors", what))
        return vector

    def _batch(self, records: list[Record], vectors: list[Array], added: int) -> Batch:
        metadatas = [
            {key: value for key, value in record.metadata.items() if key not in (DOCUMENT, URI) and self._takes(key)}
            for record in records
        ]
        data: dict[str, list[Any]] = {
            chroma.DOCUMENT: [self._plain(record, DOCUMENT) for record in records],
            chroma.URI: [self._plain(record, URI) for record in records],
            chroma.ADDED: list(range(added, added + len(records))),
        }
        for record, metadata in zip(records, metadatas):
            for key, value in metadata.items():
                if isinstance(value, list) and not all(isinstance(item, str) for item in value):
                    raise nf.InvalidArgument(
                        f"the record {record.id!r} of {self._found.name!r} has the list {value!r:.80} under {key!r}; lists "
                        "of str are stored: make it one in Chroma, or leave the key out by columns="
                    )
        stacked = np.stack(vectors) if vectors else np.empty((0, self._dim), np.float32)
        return Batch([record.id for record in records], stacked, {**data, **self._columns.written(metadatas)})

    def _plain(self, record: Record, key: str) -> str | None:
        value = record.metadata.get(key)
        if value is not None and not isinstance(value, str):
            raise damaged(self._directory.file, "embedding_metadata", f"{key} of {record.id!r} is {value!r:.80}")
        return value

    def _replayed(self) -> dict[str, _Change]:
        """What the log says of records behind that which is in the tables."""
        directory, found = self._directory, self._found
        changes: dict[str, _Change] = {}
        applied = directory.applied(found.records)
        for _, kind, id, _, metadata in directory.log(found, -1 if applied is None else applied):
            change = changes.get(id)
            if change is None:
                there = directory.has(found, id)
                change = changes[id] = _Change(there, there)
            if kind == _DELETE:
                changes[id] = _Change(False, False)
            elif not change.exists and kind in (_ADD, _UPSERT):
                # Behind all that there are.
                del changes[id]
                changes[id] = _Change(True, False, {key: value for key, value in metadata.items() if value is not None})
            elif change.exists and kind in (_UPDATE, _UPSERT):
                change.metadata |= metadata
        return changes


class _Vectors:
    """The vectors of a collection: of the log, and else of the graph."""

    def __init__(self, directory: Directory, found: Found, graph: Graph | None, dim: int) -> None:
        self._directory, self._graph, self._dim = directory, graph, dim
        # Numbers of operations, None for a vector that was deleted.
        self._logged: dict[str, int | None] = {}
        applied = directory.applied(found.vectors)
        if applied is None and graph is not None:
            applied = graph.applied
        for number, kind, id, vector, _ in directory.log(found, -1 if applied is None else applied):
            there = self._there(id)
            if kind == _DELETE:
                self._logged[id] = None
            elif vector and (kind == _UPSERT or there == (kind == _UPDATE)):
                self._logged[id] = number

    def of(self, id: str) -> Array | None:
        """The vector of an id."""
        if id in self._logged:
            number = self._logged[id]
            return None if number is None else self._directory.logged_vector(number, self._dim)
        return self._graph.vector(id) if self._graph is not None and id in self._graph else None

    def _there(self, id: str) -> bool:
        if id in self._logged:
            return self._logged[id] is not None
        return self._graph is not None and id in self._graph


def _changed(record: Record, change: _Change | None) -> Record | None:
    """A record of the tables as the log leaves it; None if it is there no longer, or comes behind the others."""
    if change is None:
        return record
    if not change.exists or not change.based:
        return None
    joined = {**record.metadata, **change.metadata}
    return Record(record.id, {key: value for key, value in joined.items() if value is not None})
