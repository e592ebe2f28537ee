"""The database behind the clients of a path.

Each collection of Chroma is one of nearfield of the same name, made when its first record comes and its dimension is
known. What Chroma knows of it beside that is a row of the collection `_chroma`, a name that Chroma does not allow.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
import time
import uuid
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nearfield as nf
from nearfield.compat._errors import Damaged, Foreign
from nearfield.compat.chroma._columns import ADDED, DOCUMENT, URI
from nearfield.compat.chroma._embedding import Embedding
from nearfield.compat.chroma._settings import METRICS, checked_name
from nearfield.compat.chroma.config import Settings
from nearfield.compat.chroma.errors import NotFoundError, UniqueConstraintError

_CATALOG = "_chroma"
_EPHEMERAL = ":memory:"


@dataclass
class Entry:
    """A collection of Chroma."""

    id: uuid.UUID
    number: int
    name: str
    metadata: dict[str, Any] | None
    configuration: dict[str, Any]
    docs: nf.Collection | None = None
    embedding: Embedding | None = None
    dropped: bool = False


def open_catalog(database: nf.Database) -> nf.Collection:
    """The collection of what is known of collections, one row each."""
    return database.collection(
        _CATALOG,
        dim=1,
        metric="l2",
        id_type="utf8",
        columns={"number": int, "name": str, "before": str, "metadata": str, "configuration": str},
    )


def has_catalog(database: nf.Database) -> bool:
    """Whether a client has been there."""
    return _CATALOG in database


def described(entry: Entry, before: str | None = None) -> dict[str, Any]:
    """The row of a collection in the catalog; `before` is its name while it is being renamed."""
    return {
        "number": entry.number,
        "name": entry.name,
        "before": before,
        "metadata": json.dumps(entry.metadata),
        "configuration": json.dumps(entry.configuration),
    }


class System:
    """A database with its collections, shared by all clients of a process that name its path."""

    def __init__(self, key: str, settings: Settings) -> None:
        self.key = key
        self.settings = settings
        self.clients = 0
        self.process = os.getpid()
        self._last = 0
        self.lock = threading.RLock()
        self.database, folder = _opened(key)
        # At the latest when the process ends.
        self._remove = weakref.finalize(self, _end, self.database, folder, self.process)
        try:
            self._catalog = open_catalog(self.database)
            self._entries = {entry.name: entry for entry in sorted(self._read(), key=lambda entry: entry.number)}
        except BaseException:
            self._remove()
            raise

    def close(self) -> None:
        """Closes the database; removes it if it was in memory only."""
        self._remove()

    def entries(self) -> list[Entry]:
        """All collections, in the order in which they were created."""
        return sorted(self._entries.values(), key=lambda entry: entry.number)

    def entry(self, name: str) -> Entry:
        """The collection of a name."""
        if name not in self._entries:
            raise NotFoundError(f"Collection [{name}] does not exist; create_collection makes it")
        return self._entries[name]

    def create(
        self, name: str, metadata: dict[str, Any] | None, configuration: dict[str, Any], embedding: Embedding | None
    ) -> Entry:
        """Makes a collection, without records."""
        checked_name(name)
        if name in self._entries or name in self.database:
            raise UniqueConstraintError(f"Collection [{name}] already exists; get_or_create_collection takes it")
        number = max((entry.number for entry in self._entries.values()), default=0) + 1
        entry = Entry(uuid.uuid4(), number, name, metadata, configuration, embedding=embedding)
        self.save(entry)
        self._entries[name] = entry
        return entry

    @contextmanager
    def filling(self, entry: Entry, dim: int) -> Iterator[nf.Collection]:
        """The collection's rows, made if there have been none, and gone again if nothing comes into them."""
        if entry.docs is not None:
            yield entry.docs
            return
        metric = METRICS[entry.configuration["hnsw"]["space"]]
        columns: Any = {DOCUMENT: str, URI: str, ADDED: int}
        entry.docs = self.database.create(entry.name, dim, metric, columns=columns, id_type="utf8")
        try:
            yield entry.docs
        except BaseException:
            entry.docs = None
            self.database.drop(entry.name)
            raise

    def numbers(self, count: int) -> list[int]:
        """Numbers for records that are added now, larger than all before."""
        first = max(self._last + 1, time.time_ns())
        self._last = first + count - 1
        return list(range(first, first + count))

    def rename(self, entry: Entry, name: str) -> None:
        """Gives a collection another name."""
        if name == entry.name:
            return
        checked_name(name)
        if name in self._entries or name in self.database:
            raise UniqueConstraintError(f"Collection [{name}] already exists; delete it first, or choose another name")
        del self._entries[entry.name]
        before, entry.name = entry.name, name
        self._entries[name] = entry
        if entry.docs is None:
            self.save(entry)
        else:
            # Says what to do if the process ends before it is done.
            self.save(entry, before)
            self._finish(entry, before)

    def drop(self, entry: Entry) -> None:
        """Removes a collection with all its records."""
        entry.dropped = True
        if entry.name in self.database:
            self.database.drop(entry.name)
        self._catalog.delete(str(entry.id))
        del self._entries[entry.name]

    def save(self, entry: Entry, before: str | None = None) -> None:
        """Writes down what is known of a collection."""
        self._catalog.upsert(str(entry.id), [0.0], [described(entry, before)])

    def _finish(self, entry: Entry, before: str) -> None:
        """Brings a renaming to its end."""
        if before in self.database and entry.name not in self.database:
            self.database.rename(before, entry.name)
        entry.docs = self.database[entry.name] if entry.name in self.database else None
        self.save(entry)

    def _read(self) -> list[Entry]:
        entries = []
        for row in [row for records in self._catalog.scan() for row in records]:
            entry = _entry(self.key, row)
            if row["before"] is not None:
                self._finish(entry, row["before"])
            entry.docs = self.database[entry.name] if entry.name in self.database else None
            entries.append(entry)
        return entries


_systems: dict[str, System] = {}
_systems_lock = threading.Lock()


def acquire(path: str | os.PathLike[str] | None, settings: Settings) -> System:
    """The system of a path, or of the data in memory, for one more client."""
    key = _EPHEMERAL if path is None else os.path.abspath(path)
    with _systems_lock:
        system = _systems.get(key)
        if system is None or system.process != os.getpid():
            # In a child of a fork that of its parent is of no use.
            system = _systems[key] = System(key, settings)
        elif system.settings.allow_reset != settings.allow_reset:
            raise nf.InvalidArgument(
                f"a client of {key} exists already with allow_reset={system.settings.allow_reset}; give the same settings"
            )
        system.clients += 1
        return system


def release(system: System) -> None:
    """One client less; the last one closes."""
    with _systems_lock:
        system.clients -= 1
        if not system.clients:
            if _systems.get(system.key) is system:
                del _systems[system.key]
            system.close()


def _opened(key: str) -> tuple[nf.Database, str | None]:
    """The database, and the directory to remove when it is closed."""
    if key == _EPHEMERAL:
        folder = tempfile.mkdtemp(prefix="nearfield-chroma-")
        return nf.open(Path(folder) / "memory.nf", durability="none"), folder
    if (Path(key) / "chroma.sqlite3").exists():
        raise Foreign(
            f"{key} is a directory of Chroma itself: nearfield.migrate.from_chroma({key!r}, path) copies its collections "
            "into a database at another path, for a client of that"
        )
    Path(key).parent.mkdir(parents=True, exist_ok=True)
    return nf.open(key), None


def _end(database: nf.Database, folder: str | None, process: int) -> None:
    if os.getpid() != process:
        return  # A child of a fork: all of it is its parent's.
    try:
        database.close()
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _entry(path: str, row: dict[str, Any]) -> Entry:
    try:
        metadata, configuration = json.loads(row["metadata"]), json.loads(row["configuration"])
        if configuration["hnsw"]["space"] not in METRICS or not isinstance(metadata, (dict, type(None))):
            raise ValueError("unknown space, or metadata that is none")
        return Entry(uuid.UUID(row["id"]), int(row["number"]), str(row["name"]), metadata, configuration)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        damaged = Damaged(f"{path}: the collection {_CATALOG} has a row that describes no collection: {error!r}")
        damaged.file, damaged.section = path, _CATALOG
        raise damaged from error
