"""Where an adapter keeps its rows: a collection, opened when it is first needed and made by the first write.

A process has a database open for writing once. Places in the same directory share it, so that a pipeline may
have several stores of one database, and a store that is made anew finds it open. The last one closes it.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import nearfield as nf

Mode: TypeAlias = Literal["w", "r"]
_Key: TypeAlias = tuple[str, str, int]


class Place:
    """The collection `name` of a database that is open, or of the one in a directory.

    `schema` are arguments of `Database.collection`, which a collection that exists must agree with.
    """

    def __init__(
        self, database: nf.Database | str | os.PathLike[str], name: str, mode: Mode, schema: Mapping[str, Any]
    ) -> None:
        if mode not in ("w", "r"):
            raise nf.InvalidArgument(f"mode is {mode!r}, expected 'w' or 'r'")
        if isinstance(database, nf.Database):
            self._given: nf.Database | None = database
            self.path = str(database.path)
            self.mode: Mode = "r" if database.read_only else "w"
        else:
            self._given = None
            self.path = os.fspath(database)
            self.mode = mode
        self.name = name
        self._schema = dict(schema)
        self._agrees = False
        self._shared: _Shared | None = None
        self._release: weakref.finalize[Any, Any] | None = None
        self._opening = threading.Lock()
        if self._given is not None:
            # For places that are made of its path.
            self._open()

    def __reduce__(self) -> tuple[Any, ...]:
        return Place, (self.path, self.name, self.mode, self._schema)

    @property
    def lock(self) -> threading.RLock:
        """Held by those who write what they have read before, among all places of the database."""
        return self._open().lock

    @property
    def database(self) -> nf.Database:
        """The database, opened if it is not yet."""
        return self._open().database

    def read(self) -> nf.Collection | None:
        """The collection as it is now; None if nothing was ever written."""
        database = self.database
        try:
            collection = database[self.name]
        except nf.NotFound:
            return None
        if not self._agrees:
            database.collection(self.name, **self._schema)
            self._agrees = True
        if database.read_only:
            collection.refresh()
        return collection

    def write(self, dim: int | None) -> nf.Collection:
        """The collection, made for vectors of `dim` elements if there is none."""
        collection = self.read()
        if collection is None:
            collection = self.database.collection(self.name, **{"dim": dim, **self._schema})
        return collection

    def close(self) -> None:
        """Lets go of the database; it is opened again when it is next needed."""
        with self._opening:
            release, self._release, self._shared = self._release, None, None
        if release is not None:
            release()

    def _open(self) -> _Shared:
        with self._opening:
            if self._shared is None:
                self._shared = _acquire(self._given, self.path, self.mode)
                self._release = weakref.finalize(self, _release, self._shared)
            return self._shared


class _Shared:
    """An open database and how many places are in it."""

    def __init__(self, key: _Key, database: nf.Database, owned: bool) -> None:
        self.key = key
        self.database = database
        self.owned = owned
        self.places = 0
        self.lock = threading.RLock()


_all: dict[_Key, _Shared] = {}
# Taken again by a place that is collected while another one opens.
_guard = threading.RLock()


def _acquire(given: nf.Database | None, path: str, mode: Mode) -> _Shared:
    key = (os.path.realpath(path), mode, os.getpid())
    with _guard:
        shared = _all.get(key)
        if shared is not None:
            shared.places += 1
            if not _is_closed(shared.database) and (given is None or given is shared.database):
                return shared
            shared.places -= 1
        database = nf.open(path, mode) if given is None else given
        shared = _all[key] = _Shared(key, database, given is None)
        shared.places += 1
        return shared


def _release(shared: _Shared) -> None:
    with _guard:
        shared.places -= 1
        if shared.places:
            return
        if _all.get(shared.key) is shared:
            del _all[shared.key]
        # A child that was forked has no business with its parent's database.
        if shared.owned and shared.key[2] == os.getpid():
            shared.database.close()


def _is_closed(database: nf.Database) -> bool:
    try:
        len(database)
    except nf.Closed:
        return True
    return False
