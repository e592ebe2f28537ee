"""Collections."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np

import nearfield as nf
from nearfield.compat._errors import Absent, Unsupported
from nearfield.compat._rows import Array
from nearfield.compat.chroma._columns import ADDED, DOCUMENT, URI, Columns
from nearfield.compat.chroma._embedding import MISSING, Embedding
from nearfield.compat.chroma._records import (
    Records,
    count_of,
    dimension_error,
    embeddings_of,
    ids_of,
    metadata_of,
    one_or_many,
)
from nearfield.compat.chroma._settings import reconfigured
from nearfield.compat.chroma._system import Entry, System
from nearfield.compat.chroma._types import DeleteResult, GetResult, QueryResult
from nearfield.compat.chroma._where import filter_of
from nearfield.compat.chroma.config import DEFAULT_DATABASE, DEFAULT_TENANT
from nearfield.compat.chroma.errors import NotFoundError

_PARTS = ("documents", "embeddings", "metadatas", "distances", "uris", "data")


class Collection:
    """Records of an id, an embedding, a document, metadata and a URI. Made by a client."""

    def __init__(self, system: System, entry: Entry, embedding: Embedding | None) -> None:
        self._system = system
        self._entry = entry
        self._embedding = embedding

    @property
    def id(self) -> uuid.UUID:
        """Its id, which no other collection has had."""
        return self._entry.id

    @property
    def name(self) -> str:
        """Its name."""
        return self._entry.name

    @property
    def metadata(self) -> dict[str, Any] | None:
        """What it was created with."""
        return copy.copy(self._entry.metadata)

    @property
    def configuration(self) -> dict[str, Any]:
        """How it is searched. `ef_construction` and `max_neighbors` are kept, and are not heeded: builds of nearfield have
        those of the database, 200 and 16."""
        return copy.deepcopy(self._entry.configuration)

    configuration_json = configuration

    @property
    def tenant(self) -> str:
        """There is one."""
        return DEFAULT_TENANT

    @property
    def database(self) -> str:
        """There is one."""
        return DEFAULT_DATABASE

    @property
    def nearfield(self) -> nf.Collection | None:
        """The collection of nearfield that holds the records, for all that Chroma does not have; None as long as there has
        been no record."""
        return self._docs()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Collection) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"Collection(name={self.name})"

    def __getattr__(self, name: str) -> Any:
        raise Absent(
            f"nearfield.compat.chroma: a collection has no {name!r}; collection.nearfield is nearfield's own, which has "
            "search by words, hybrid search, groups and more"
        )

    def count(self) -> int:
        """How many records there are."""
        docs = self._docs()
        return 0 if docs is None else len(docs)

    def add(
        self,
        ids: Any,
        embeddings: Any = None,
        metadatas: Any = None,
        documents: Any = None,
        images: Any = None,
        uris: Any = None,
    ) -> None:
        """Adds records. Those whose ids exist stay as they are."""
        records, vectors = self._given(ids, embeddings, documents, metadatas, uris, images)
        with self._filling(vectors) as docs:
            there = set(docs.get(records.ids, select=[]).ids.tolist())
            rows = [row for row, id in enumerate(records.ids) if id not in there]
            if rows:
                self._write(docs, records.take(rows), vectors[rows], {})

    def upsert(
        self,
        ids: Any,
        embeddings: Any = None,
        metadatas: Any = None,
        documents: Any = None,
        images: Any = None,
        uris: Any = None,
    ) -> None:
        """Adds records, and updates those whose ids exist: metadata is joined, what is left out stays."""
        records, vectors = self._given(ids, embeddings, documents, metadatas, uris, images)
        with self._filling(vectors) as docs:
            self._write(docs, records, vectors, {row["id"]: row for row in docs.get(records.ids)})

    def update(
        self,
        ids: Any,
        embeddings: Any = None,
        metadatas: Any = None,
        documents: Any = None,
        images: Any = None,
        uris: Any = None,
    ) -> None:
        """Updates records: metadata is joined, None removes a key, what is left out stays. Ids that do not exist are passed
        over."""
        records = Records.of(ids, embeddings, documents, metadatas, uris, images)
        vectors = records.embeddings
        if vectors is None and records.documents is not None:
            vectors = self._embedded(records)
        with self._system.lock:
            docs = self._docs()
            if docs is None:
                return
            if vectors is not None:
                _check_dimension(docs, vectors)
            there = {row["id"]: row for row in docs.get(records.ids)}
            rows = [row for row, id in enumerate(records.ids) if id in there]
            if rows:
                self._write(docs, records.take(rows), None if vectors is None else vectors[rows], there)

    def get(
        self,
        ids: Any = None,
        where: Any = None,
        limit: int | None = None,
        offset: int | None = None,
        where_document: Any = None,
        include: Any = ("metadatas", "documents"),
    ) -> GetResult:
        """Records of ids, metadata and documents, in the order in which they were added: `limit` of them, behind the first
        `offset`."""
        ids = None if ids is None else ids_of(ids)
        include = _included(include, "distances")
        limit = None if limit is None else count_of("limit", limit, 0)
        offset = 0 if offset is None else count_of("offset", offset, 0)
        docs = self._docs()
        snapshot = None if docs is None else docs.snapshot()
        columns = Columns({} if docs is None else docs.schema["columns"])
        matching = _matching(snapshot, columns, ids, where, where_document)[offset:][:limit]
        found: Any = [] if snapshot is None else snapshot.get(matching, vectors="embeddings" in include)
        return cast(GetResult, _parts(columns, found, include))

    def peek(self, limit: int = 10) -> GetResult:
        """The first `limit` records, with their embeddings."""
        return self.get(limit=limit, include=["metadatas", "documents", "embeddings"])

    def query(
        self,
        query_embeddings: Any = None,
        query_texts: Any = None,
        query_images: Any = None,
        query_uris: Any = None,
        ids: Any = None,
        n_results: int = 10,
        where: Any = None,
        where_document: Any = None,
        include: Any = ("metadatas", "documents", "distances"),
    ) -> QueryResult:
        """The `n_results` records nearest to each embedding or text, among those of `ids`, metadata and documents."""
        queries = self._queries(query_embeddings, query_texts, query_images, query_uris)
        ids = one_or_many(ids)
        include = _included(include)
        k = count_of("n_results", n_results, 1)
        docs = self._docs()
        columns = Columns({} if docs is None else docs.schema["columns"])
        filter = filter_of(columns, ids, where, where_document)
        hnsw = self._entry.configuration["hnsw"]
        found: list[nf.Hits] = []
        if docs is not None:
            _check_dimension(docs, queries)
            found = docs.search_batch(
                queries, k, ef=hnsw["ef_search"], where=filter, select=None, vectors="embeddings" in include
            )[:]
        each = [_parts(columns, hits, include) for hits in found] or [_parts(columns, [], include)] * len(queries)
        shift = 1.0 if hnsw["space"] == "ip" else 0.0
        distances = [[float(hit.distance) + shift for hit in hits] for hits in found] or [[]] * len(queries)
        lists = {
            part: [one[part] for one in each] if part in include else None
            for part in ("embeddings", "documents", "uris", "metadatas")
        }
        result: Any = {
            "ids": [one["ids"] for one in each],
            **lists,
            "included": include,
            "data": None,
            "distances": distances if "distances" in include else None,
        }
        return cast(QueryResult, result)

    def delete(
        self, ids: Any = None, where: Any = None, where_document: Any = None, limit: int | None = None
    ) -> DeleteResult:
        """Deletes records of ids, metadata and documents; `limit` of them, which goes with a filter."""
        if ids is None and where is None and where_document is None:
            raise nf.InvalidArgument("At least one of ids, where, or where_document must be provided")
        if limit is not None:
            count_of("limit", limit, 0)
            if where is None and where_document is None:
                raise nf.InvalidArgument("limit can only be specified when a where or where_document clause is provided")
        ids = None if ids is None else ids_of(ids)
        with self._system.lock:
            docs = self._docs()
            columns = Columns({} if docs is None else docs.schema["columns"])
            snapshot = None if docs is None else docs.snapshot()
            matching = _matching(snapshot, columns, ids, where, where_document)[:limit]
            return {"deleted": docs.delete(matching) if docs is not None and matching else 0}

    def modify(
        self, name: str | None = None, metadata: Any = None, configuration: dict[str, Any] | None = None
    ) -> None:
        """Changes the name, the metadata as a whole, or the configuration."""
        metadata = metadata_of(metadata)
        if metadata and "hnsw:space" in metadata:
            raise nf.InvalidArgument(
                "Changing the distance function of a collection once it is created is not supported; create another one"
            )
        with self._system.lock:
            self._docs()
            changed = None if configuration is None else reconfigured(self._entry.configuration, configuration)
            if name is not None:
                self._system.rename(self._entry, name)
            if metadata is not None or changed is not None:
                self._entry.metadata = metadata or self._entry.metadata
                self._entry.configuration = changed or self._entry.configuration
                self._system.save(self._entry)

    def _docs(self) -> nf.Collection | None:
        """The records, None if there have been none."""
        if self._entry.dropped:
            raise NotFoundError(f"Collection [{self.name}] does not exist; it was deleted")
        return self._entry.docs

    @contextmanager
    def _filling(self, vectors: Array) -> Iterator[nf.Collection]:
        """The records, to which some of these vectors come, with no other writer meanwhile."""
        with self._system.lock:
            self._docs()
            with self._system.filling(self._entry, vectors.shape[1]) as docs:
                _check_dimension(docs, vectors)
                yield docs

    def _given(
        self, ids: Any, embeddings: Any, documents: Any, metadatas: Any, uris: Any, images: Any
    ) -> tuple[Records, Array]:
        """Records, and their vectors."""
        records = Records.of(ids, embeddings, documents, metadatas, uris, images)
        vectors = records.embeddings
        return records, self._embedded(records) if vectors is None else vectors

    def _embedded(self, records: Records) -> Array:
        texts = records.texts()
        if self._embedding is None:
            raise nf.InvalidArgument(MISSING)
        return self._embedding.documents(texts)

    def _queries(self, embeddings: Any, texts: Any, images: Any, uris: Any) -> Array:
        if images is not None or uris is not None:
            raise Unsupported("query_images and query_uris are not covered: make embeddings and give query_embeddings")
        if embeddings is not None:
            return embeddings_of(embeddings)
        texts = one_or_many(texts)
        if not texts:
            raise nf.InvalidArgument("give query_embeddings or query_texts")
        if not all(isinstance(text, str) for text in texts):
            raise nf.InvalidArgument(f"query_texts: expected str, given {texts!r}")
        if self._embedding is None:
            raise nf.InvalidArgument(MISSING)
        return self._embedding.queries(texts)

    def _write(self, docs: nf.Collection, records: Records, vectors: Array | None, before: dict[str, Any]) -> None:
        """Writes records over those that were there before."""
        columns = Columns(docs.schema["columns"])
        metadatas, documents, uris, added = [], [], [], []
        for row, id in enumerate(records.ids):
            old = before.get(id, {})
            new = records.metadatas[row] if records.metadatas is not None else None
            metadatas.append({**(columns.read(old) or {}), **(new or {})})
            documents.append(_newer(records.documents, row, old.get(DOCUMENT)))
            uris.append(_newer(records.uris, row, old.get(URI)))
            added.append(old.get(ADDED))
        numbers = iter(self._system.numbers(added.count(None)))
        added = [next(numbers) if number is None else number for number in added]
        data = {DOCUMENT: documents, URI: uris, ADDED: added, **columns.written(metadatas)}
        if vectors is not None:
            docs.upsert(records.ids, vectors, data)
            return
        # What is not written stays: what went is written as null.
        gone = {name for old in before.values() for name, value in old.items() if value is not None} - {"id", *data}
        docs.update(records.ids, {**data, **{name: [None] * len(records.ids) for name in gone if columns.has(name)}})


def _newer(given: list[str | None] | None, row: int, before: str | None) -> str | None:
    value = given[row] if given is not None else None
    return before if value is None else value


def _check_dimension(docs: nf.Collection, vectors: Array) -> None:
    if vectors.shape[1] != docs.dim:
        raise dimension_error(docs.dim, vectors.shape[1])


def _included(include: Any, *without: str) -> list[str]:
    include = list(include) if isinstance(include, (list, tuple)) else include
    if not isinstance(include, list):
        raise nf.InvalidArgument(f"Expected include to be a list, got {include!r}")
    for item in include:
        if item not in _PARTS or item in without:
            allowed = ", ".join(part for part in _PARTS if part not in without)
            raise nf.InvalidArgument(f"Expected include item to be one of {allowed}, got {item!r}")
    if "data" in include:
        raise Unsupported("include data is not covered: include uris, and load what they name")
    return include


def _matching(
    snapshot: nf.Snapshot | None, columns: Columns, ids: list[str] | None, where: Any, where_document: Any
) -> list[str]:
    """The ids of records, in the order in which they were added."""
    filter = filter_of(columns, None, where, where_document)
    if snapshot is None:
        return []
    if ids is None:
        batches: Any = snapshot.scan(65536, select=[ADDED], where=filter)
    elif filter is None:
        batches = [snapshot.get(ids, select=[ADDED])]
    else:
        batches = snapshot.scan(65536, select=[ADDED], where=filter & nf.col("id").isin(ids))
    numbered = [(row[ADDED] or 0, row["id"]) for records in batches for row in records.to_dicts()]
    return [id for _, id in sorted(numbered)]


def _parts(columns: Columns, found: Any, include: list[str]) -> Any:
    """What is to be included of hits or records."""
    rows = found.to_dicts() if len(found) else []
    vectors = found.vectors if len(found) else np.empty(0)
    return {
        "ids": [row["id"] for row in rows],
        "embeddings": np.asarray(vectors, np.float64) if "embeddings" in include else None,
        "documents": [row[DOCUMENT] for row in rows] if "documents" in include else None,
        "uris": [row[URI] for row in rows] if "uris" in include else None,
        "included": include,
        "data": None,
        "metadatas": [columns.read(row) for row in rows] if "metadatas" in include else None,
    }
