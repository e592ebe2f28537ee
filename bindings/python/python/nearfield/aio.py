"""The same database for `asyncio`: each call runs on a thread and is awaited.

The engine works without Python's lock, so that the event loop goes on meanwhile and searches of several
tasks run beside each other. Arguments and answers are those of the classes of `nearfield`; what is
in memory already (`name`, `dim`, `path` …) is at `.sync`, the handle that is wrapped. A task that is
cancelled stops waiting; the call itself goes on to its end on its thread.

>>> import asyncio
>>> import nearfield.aio
>>> async def main():
...     async with nearfield.aio.open(tmp / "async.nf") as db:      # or db = await nearfield.aio.open(…)
...         docs = await db.collection("docs", dim=2, metric="l2")
...         await docs.upsert([1, 2], [[0, 0], [3, 4]])
...         hits = await docs.search([3, 3], k=1)
...         return hits.ids.tolist()
>>> asyncio.run(main())
[2]
"""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import AsyncIterator, Generator
from typing import Any

import nearfield

__all__ = ["Collection", "Database", "Index", "Snapshot", "doctor", "open", "repair", "restore", "unpack"]


def open(path: Any, mode: Any = "w", **settings: Any) -> _Opening:
    """As `nearfield.open`: `db = await open(…)`, or `async with open(…) as db`, which closes it."""
    return _Opening(path, mode, settings)


class _Opening:
    """A database that is opened when this is awaited, or entered."""

    def __init__(self, path: Any, mode: Any, settings: dict[str, Any]) -> None:
        self._asked = (path, mode, settings)
        self._database: Database | None = None

    async def _open(self) -> Database:
        path, mode, settings = self._asked
        return Database(await to_thread(nearfield.open, path, mode, **settings))

    def __await__(self) -> Generator[Any, None, Database]:
        return self._open().__await__()

    async def __aenter__(self) -> Database:
        self._database = await self._open()
        return self._database

    async def __aexit__(self, *_exception: object) -> None:
        if self._database is not None:
            await self._database.close()


async def doctor(path: Any, **settings: Any) -> nearfield.DoctorReport:
    """As `nearfield.doctor`."""
    return await to_thread(nearfield.doctor, path, **settings)


async def repair(source: Any, target: Any, **settings: Any) -> dict[str, Any]:
    """As `nearfield.repair`."""
    return await to_thread(nearfield.repair, source, target, **settings)


async def restore(source: Any, target: Any, **settings: Any) -> None:
    """As `nearfield.restore`."""
    await to_thread(nearfield.restore, source, target, **settings)


async def unpack(source: Any, target: Any, **settings: Any) -> None:
    """As `nearfield.unpack`."""
    await to_thread(nearfield.unpack, source, target, **settings)


class Database:
    """A `nearfield.Database` whose calls are awaited."""

    def __init__(self, sync: nearfield.Database) -> None:
        self.sync = sync

    async def collection(self, name: str, *args: Any, **settings: Any) -> Collection:
        return Collection(await to_thread(self.sync.collection, name, *args, **settings))

    async def create(self, name: str, *args: Any, **settings: Any) -> Collection:
        return Collection(await to_thread(self.sync.create, name, *args, **settings))

    async def open_collection(self, name: str) -> Collection:
        """As `db[name]`."""
        return Collection(await to_thread(self.sync.__getitem__, name))

    async def collections(self) -> list[str]:
        return await to_thread(self.sync.collections)

    async def drop(self, name: str) -> None:
        await to_thread(self.sync.drop, name)

    async def rename(self, old: str, new: str) -> None:
        await to_thread(self.sync.rename, old, new)

    async def import_file(self, name: str, path: Any, **settings: Any) -> dict[str, Any]:
        return await to_thread(self.sync.import_file, name, path, **settings)

    async def backup(self, path: Any, **settings: Any) -> None:
        await to_thread(self.sync.backup, path, **settings)

    async def pack(self, path: Any, **settings: Any) -> None:
        await to_thread(self.sync.pack, path, **settings)

    async def close(self) -> None:
        await to_thread(self.sync.close)

    async def __aenter__(self) -> Database:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"aio.{self.sync!r}"


class Collection:
    """A `nearfield.Collection` whose calls are awaited."""

    def __init__(self, sync: nearfield.Collection) -> None:
        self.sync = sync

    @property
    def database(self) -> Database:
        """The database that it is in."""
        return Database(self.sync.database)

    async def upsert(self, ids: Any, vectors: Any, data: Any = None, **settings: Any) -> int:
        return await to_thread(self.sync.upsert, ids, vectors, data, **settings)

    async def import_batches(self, batches: Any, **settings: Any) -> int:
        return await to_thread(self.sync.import_batches, batches, **settings)

    async def add(self, ids: Any, vectors: Any, data: Any = None, **settings: Any) -> int:
        return await to_thread(self.sync.add, ids, vectors, data, **settings)

    async def add_texts(self, texts: Any, ids: Any = None, data: Any = None) -> list[Any]:
        return await to_thread(self.sync.add_texts, texts, ids, data)

    async def upsert_texts(self, texts: Any, ids: Any = None, data: Any = None) -> list[Any]:
        return await to_thread(self.sync.upsert_texts, texts, ids, data)

    async def update(self, ids: Any = None, data: Any = None, *, where: Any = None) -> int:
        return await to_thread(self.sync.update, ids, data, where=where)

    async def delete(self, ids: Any = None, *, where: Any = None) -> int:
        return await to_thread(self.sync.delete, ids, where=where)

    async def forget(self, ids: Any) -> int:
        return await to_thread(self.sync.forget, ids)

    async def add_columns(self, columns: Any = None, *, text: Any = None) -> int:
        return await to_thread(self.sync.add_columns, columns, text=text)

    async def add_text_index(self, column: str, options: Any = "english") -> bool:
        return await to_thread(self.sync.add_text_index, column, options)

    async def get(self, ids: Any, select: Any = None, vectors: bool = False) -> nearfield.Records:
        return await to_thread(self.sync.get, ids, select, vectors)

    async def contains(self, id: Any) -> bool:
        return await to_thread(self.sync.contains, id)

    async def count(self, *, where: Any = None) -> int:
        return await to_thread(self.sync.count, where=where)

    async def search(self, q: Any = None, k: int = 10, **settings: Any) -> nearfield.Hits:
        return await to_thread(self.sync.search, q, k, **settings)

    async def explain(self, q: Any = None, k: int = 10, **settings: Any) -> nearfield.Explanation:
        return await to_thread(self.sync.explain, q, k, **settings)

    async def search_sparse(
        self, column: str, query: Any, k: int = 10, **settings: Any
    ) -> nearfield.Hits:
        return await to_thread(self.sync.search_sparse, column, query, k, **settings)

    async def search_sparse_batch(
        self, column: str, queries: Any, k: int = 10, **settings: Any
    ) -> nearfield.BatchHits:
        return await to_thread(self.sync.search_sparse_batch, column, queries, k, **settings)

    async def measure_recall(
        self, queries: Any = None, k: int = 10, **settings: Any
    ) -> dict[str, Any]:
        return await to_thread(self.sync.measure_recall, queries, k, **settings)

    async def calibrate(self, queries: Any) -> dict[str, Any] | None:
        return await to_thread(self.sync.calibrate, queries)

    async def explain_sparse(
        self, column: str, query: Any, k: int = 10, **settings: Any
    ) -> nearfield.Explanation:
        return await to_thread(self.sync.explain_sparse, column, query, k, **settings)

    async def search_batch(self, queries: Any = None, k: int = 10, **settings: Any) -> nearfield.BatchHits:
        return await to_thread(self.sync.search_batch, queries, k, **settings)

    async def scan(self, batch_size: int = 4096, **settings: Any) -> AsyncIterator[nearfield.Records]:
        scan = await to_thread(self.sync.scan, batch_size, **settings)
        while (records := await to_thread(next, scan, None)) is not None:
            yield records

    async def snapshot(self) -> Snapshot:
        return Snapshot(await to_thread(self.sync.snapshot))

    async def export_file(self, path: Any, **settings: Any) -> int:
        return await to_thread(self.sync.export_file, path, **settings)

    async def flush(self) -> None:
        await to_thread(self.sync.flush)

    async def compact(self) -> dict[str, Any]:
        return await to_thread(self.sync.compact)

    async def verify(self, **settings: Any) -> dict[str, Any]:
        return await to_thread(self.sync.verify, **settings)

    async def stats(self) -> dict[str, Any]:
        return await to_thread(self.sync.stats)

    async def refresh(self) -> bool:
        return await to_thread(self.sync.refresh)

    async def close(self) -> None:
        await to_thread(self.sync.close)

    def __repr__(self) -> str:
        return f"aio.{self.sync!r}"


class Snapshot:
    """A `nearfield.Snapshot` whose calls are awaited."""

    def __init__(self, sync: nearfield.Snapshot) -> None:
        self.sync = sync

    async def get(self, ids: Any, select: Any = None, vectors: bool = False) -> nearfield.Records:
        return await to_thread(self.sync.get, ids, select, vectors)

    async def contains(self, id: Any) -> bool:
        return await to_thread(self.sync.contains, id)

    async def count(self, *, where: Any = None) -> int:
        return await to_thread(self.sync.count, where=where)

    async def search(self, q: Any = None, k: int = 10, **settings: Any) -> nearfield.Hits:
        return await to_thread(self.sync.search, q, k, **settings)

    async def explain(self, q: Any = None, k: int = 10, **settings: Any) -> nearfield.Explanation:
        return await to_thread(self.sync.explain, q, k, **settings)

    async def search_sparse(
        self, column: str, query: Any, k: int = 10, **settings: Any
    ) -> nearfield.Hits:
        return await to_thread(self.sync.search_sparse, column, query, k, **settings)

    async def search_sparse_batch(
        self, column: str, queries: Any, k: int = 10, **settings: Any
    ) -> nearfield.BatchHits:
        return await to_thread(self.sync.search_sparse_batch, column, queries, k, **settings)

    async def explain_sparse(
        self, column: str, query: Any, k: int = 10, **settings: Any
    ) -> nearfield.Explanation:
        return await to_thread(self.sync.explain_sparse, column, query, k, **settings)

    async def search_batch(self, queries: Any = None, k: int = 10, **settings: Any) -> nearfield.BatchHits:
        return await to_thread(self.sync.search_batch, queries, k, **settings)

    async def scan(self, batch_size: int = 4096, **settings: Any) -> AsyncIterator[nearfield.Records]:
        scan = await to_thread(self.sync.scan, batch_size, **settings)
        while (records := await to_thread(next, scan, None)) is not None:
            yield records

    def __repr__(self) -> str:
        return f"aio.{self.sync!r}"


class Index:
    """A `nearfield.Index` whose long calls are awaited."""

    def __init__(self, sync: nearfield.Index) -> None:
        self.sync = sync

    @staticmethod
    async def load(path: Any, **settings: Any) -> Index:
        """As `nearfield.Index.load`."""
        return Index(await to_thread(nearfield.Index.load, path, **settings))

    @staticmethod
    async def view(path: Any, **settings: Any) -> Index:
        """As `nearfield.Index.view`."""
        return Index(await to_thread(nearfield.Index.view, path, **settings))

    async def add(self, vectors: Any, ids: Any = None) -> int:
        return await to_thread(self.sync.add, vectors, ids)

    async def remove(self, ids: Any) -> int:
        return await to_thread(self.sync.remove, ids)

    async def build(self) -> None:
        await to_thread(self.sync.build)

    async def save(self, path: Any) -> None:
        await to_thread(self.sync.save, path)

    async def search(self, q: Any, k: int = 10, **settings: Any) -> tuple[Any, Any]:
        return await to_thread(self.sync.search, q, k, **settings)

    async def search_batch(self, queries: Any, k: int = 10, **settings: Any) -> tuple[Any, Any]:
        return await to_thread(self.sync.search_batch, queries, k, **settings)

    def __repr__(self) -> str:
        return f"aio.{self.sync!r}"
