"""Clients."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any, NoReturn

import nearfield as nf
from nearfield.compat._errors import Unsupported
from nearfield.compat.chroma._collection import Collection
from nearfield.compat.chroma._embedding import Embedding
from nearfield.compat.chroma._records import count_of, metadata_of
from nearfield.compat.chroma._settings import configured
from nearfield.compat.chroma._system import Entry, acquire, release
from nearfield.compat.chroma.config import DEFAULT_DATABASE, DEFAULT_TENANT, Settings
from nearfield.compat.chroma.errors import AuthorizationError, NotFoundError

if TYPE_CHECKING:
    from typing_extensions import Self


class ClientAPI:
    """A client of a path, or of data in memory. A context manager that closes it."""

    def __init__(
        self, path: str | os.PathLike[str] | None, settings: Settings | None, tenant: str, database: str
    ) -> None:
        for name, given, only in (("tenant", tenant, DEFAULT_TENANT), ("database", database, DEFAULT_DATABASE)):
            if given != only:
                raise Unsupported(f"{name} {given!r} is not covered: open a client of another path for it")
        self.tenant, self.database = tenant, database
        self._settings = settings or Settings()
        self._system = acquire(path, self._settings)
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the client; the last one of a path closes the database. May be called twice."""
        if not self._closed:
            self._closed = True
            release(self._system)

    def heartbeat(self) -> int:
        """The time, in nanoseconds."""
        return time.time_ns()

    def get_version(self) -> str:
        """The version of nearfield."""
        return nf.__version__

    def get_settings(self) -> Settings:
        """The settings."""
        return self._settings

    def get_max_batch_size(self) -> int:
        """How many records may be added at once: as many as memory holds."""
        return sys.maxsize

    def list_collections(self, limit: int | None = None, offset: int | None = None) -> list[Collection]:
        """The collections, in the order in which they were created."""
        begin = 0 if offset is None else count_of("offset", offset, 0)
        end = None if limit is None else begin + count_of("limit", limit, 0)
        with self._system.lock:
            return [Collection(self._system, entry, entry.embedding) for entry in self._system.entries()[begin:end]]

    def count_collections(self) -> int:
        """How many collections there are."""
        return len(self._system.entries())

    def create_collection(
        self,
        name: str,
        schema: Any = None,
        configuration: dict[str, Any] | None = None,
        metadata: Any = None,
        embedding_function: Any = None,
        data_loader: Any = None,
        get_or_create: bool = False,
    ) -> Collection:
        """Creates a collection. The space is "l2", "cosine" or "ip", in `configuration={"hnsw": {"space": "cosine"}}` or
        `metadata={"hnsw:space": "cosine"}`."""
        if schema is not None or data_loader is not None:
            raise Unsupported(
                "schema and data_loader are not covered: nearfield indexes every key of metadata, and embeds texts"
            )
        metadata = metadata_of(metadata)
        if embedding_function is None and isinstance(configuration, dict):
            embedding_function = configuration.get("embedding_function")
        embedding = None if embedding_function is None else Embedding(embedding_function)
        space: Any = getattr(embedding_function, "default_space", None)
        settings = configured(metadata, configuration, space() if callable(space) else "l2")
        with self._system.lock:
            try:
                entry = self._system.entry(name)
                if get_or_create:
                    return self._opened(entry, embedding)
            except NotFoundError:
                pass
            if embedding is not None and embedding.name is not None:
                settings["embedding_function"] = {"type": "known", "name": embedding.name, "config": {}}
            return Collection(
                self._system, self._system.create(name, metadata, settings, embedding), embedding
            )

    def get_or_create_collection(
        self,
        name: str,
        schema: Any = None,
        configuration: dict[str, Any] | None = None,
        metadata: Any = None,
        embedding_function: Any = None,
        data_loader: Any = None,
    ) -> Collection:
        """The collection of a name, created if there is none."""
        return self.create_collection(
            name, schema, configuration, metadata, embedding_function, data_loader, get_or_create=True
        )

    def get_collection(self, name: str, embedding_function: Any = None, data_loader: Any = None) -> Collection:
        """The collection of a name."""
        if data_loader is not None:
            raise Unsupported("data_loader is not covered: load what is to be embedded, and give embeddings")
        with self._system.lock:
            embedding = None if embedding_function is None else Embedding(embedding_function)
            return self._opened(self._system.entry(name), embedding)

    def delete_collection(self, name: str) -> None:
        """Deletes a collection with all its records."""
        with self._system.lock:
            self._system.drop(self._system.entry(name))

    def reset(self) -> bool:
        """Deletes all collections, if the settings allow it."""
        if not self._settings.allow_reset:
            raise AuthorizationError("Reset is disabled by config; open the client with Settings(allow_reset=True)")
        with self._system.lock:
            for entry in self._system.entries():
                self._system.drop(entry)
        return True

    @staticmethod
    def clear_system_cache() -> None:
        """Does nothing: what is closed is not kept."""

    def _opened(self, entry: Entry, embedding: Embedding | None) -> Collection:
        """A collection with the embedding function that was given, or the one of this process."""
        said = (entry.configuration.get("embedding_function") or {}).get("name")
        if embedding is not None:
            if said is not None and embedding.name is not None and said != embedding.name:
                raise nf.InvalidArgument(
                    f"Embedding function conflict: new: {embedding.name} vs persisted: {said}; give the function that the "
                    "collection was created with"
                )
            entry.embedding = embedding
        return Collection(self._system, entry, entry.embedding)


def PersistentClient(
    path: str | os.PathLike[str] = "./chroma",
    settings: Settings | None = None,
    tenant: str = DEFAULT_TENANT,
    database: str = DEFAULT_DATABASE,
) -> ClientAPI:
    """A client of the nearfield database in the directory `path`, which is created if it is absent."""
    return ClientAPI(path, settings, tenant, database)


def EphemeralClient(
    settings: Settings | None = None, tenant: str = DEFAULT_TENANT, database: str = DEFAULT_DATABASE
) -> ClientAPI:
    """A client of data that goes with the process. All of a process share it."""
    return ClientAPI(None, settings, tenant, database)


def Client(
    settings: Settings | None = None, tenant: str = DEFAULT_TENANT, database: str = DEFAULT_DATABASE
) -> ClientAPI:
    """As `EphemeralClient`, or `PersistentClient` if the settings say `is_persistent`."""
    persistent = settings is not None and settings.is_persistent
    path = settings.persist_directory if settings is not None and persistent else None
    return ClientAPI(path, settings, tenant, database)


_NO_SERVER = (
    "{} is not covered: nearfield has no server, the database is in the process; use PersistentClient(path), or any "
    "number of nearfield.open(path, mode='r') beside the one process that writes"
)


def HttpClient(*_arguments: Any, **_named: Any) -> NoReturn:
    """Not covered."""
    raise Unsupported(_NO_SERVER.format("HttpClient"))


def AsyncHttpClient(*_arguments: Any, **_named: Any) -> NoReturn:
    """Not covered."""
    raise Unsupported(_NO_SERVER.format("AsyncHttpClient") + "; nearfield.aio has calls that are awaited")


def CloudClient(*_arguments: Any, **_named: Any) -> NoReturn:
    """Not covered."""
    raise Unsupported(_NO_SERVER.format("CloudClient"))


def AdminClient(*_arguments: Any, **_named: Any) -> NoReturn:
    """Not covered."""
    raise Unsupported("AdminClient is not covered: there is one tenant with one database; use a path for each")
