"""A document store for Haystack and its retrievers: `NearfieldDocumentStore`, `NearfieldEmbeddingRetriever`,
`NearfieldKeywordRetriever`, `NearfieldHybridRetriever`.

Needs `haystack-ai`. Documents are rows of a collection: their text in the column "content", their metadata as
JSON in "meta", which keeps any nesting as it is, a blob as JSON in "blob", a sparse embedding in
"sparse_embedding". What can be filtered by is in columns of its own as well: each value of the metadata that is a
bool, a whole number of 64 bits, a float, a str or a list of str, under the name that Haystack's filters have for
it (`{"a": {"b": 1}}` is 1 under "meta.a.b"); a str that is a date or time of ISO 8601 is also a time, under
"time.a.b". The first value of a key says the type of its column. To filters a value of another type, an empty
list, and what is none of these are as if they were missing; for another type a warning is logged ("nearfield").
Whole numbers are fine among floats; a fraction after whole numbers is refused.

    from haystack import Document, Pipeline
    from nearfield.integrations.haystack import NearfieldDocumentStore, NearfieldHybridRetriever

    store = NearfieldDocumentStore("my.nf")
    store.write_documents([Document(content="the cat sat", meta={"page": 1}, embedding=[0.1, 0.9])])
    pipeline = Pipeline()
    pipeline.add_component("retriever", NearfieldHybridRetriever(store, top_k=4))
    page = {"field": "meta.page", "operator": ">=", "value": 1}
    pipeline.run({"retriever": {"query": "cats", "query_embedding": [0.2, 0.8], "filters": page}})

Pipelines with these are loaded by `Pipeline.loads(text, allowed_modules=["nearfield.integrations.haystack"])`.
"""

from __future__ import annotations

import base64
import json
import os
import re
from asyncio import to_thread
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

try:
    from dateutil.parser import isoparse  # type: ignore[import-untyped,unused-ignore]
    from haystack import component, default_from_dict, default_to_dict
    from haystack.dataclasses import ByteStream, Document, SparseEmbedding
    from haystack.document_stores.errors import DuplicateDocumentError
    from haystack.document_stores.types import DuplicatePolicy, FilterPolicy, apply_filter_policy
    from haystack.errors import FilterError
except ImportError as error:
    raise ImportError(
        "nearfield.integrations.haystack needs haystack-ai: pip install 'nearfield[haystack]'"
    ) from error

import nearfield as nf
from nearfield.integrations import _filters
from nearfield.integrations._metadata import keep_types, to_columns, to_json
from nearfield.integrations._place import Place

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "NearfieldDocumentStore",
    "NearfieldEmbeddingRetriever",
    "NearfieldHybridRetriever",
    "NearfieldKeywordRetriever",
]

_COLUMNS = {"meta": "utf8"}
# Columns that are there once a document needs them. Every row has a vector: this one tells those that mean none.
_RARE = ["blob", "sparse_embedding", "without_embedding"]


class NearfieldDocumentStore:
    """Documents in a collection of a nearfield database.

    `database` is the path of a database, or a `nearfield.Database` that is open. It is opened when it is first
    needed. Stores of one path share it in a process, those of a pipeline that was loaded too; the last `close()`
    closes it, and what is used after that opens it again. `mode="r"` reads beside a process that writes, and
    follows it. The collection is made by the first documents: of `embedding_dim` dimensions, or as many as the
    first embedding has. `language` is that of the texts, for endings and stop words, as
    `Collection.add_text_index` takes it; left out, as stored, English in a new collection. All that is written
    is on disk when the call returns. Embeddings are of 32 bits an element, and come back so.

    Documents without an embedding are no hits of searches by embedding alone. In hybrid search, which finds them by
    their words, they count as vectors of zeros.

    Filters are Haystack's, on "id", "content" and metadata ("meta.page", or "page"): what a document lacks equals None.
    With `>`, `>=`, `<` and `<=` a str is a time, in the filter and in the metadata, where one without an offset is UTC. A list
    equals each text in it, so that `==` and `in` ask what it has. "embedding", "blob" and "sparse_embedding" can be
    compared with None by `==` and `!=`.

    Raises what the collection raises; Haystack's `FilterError` and `DuplicateDocumentError`; `InvalidArgument` (a
    ValueError) for documents that are none and metadata that is not JSON. What is written is stored as a whole, or not at all.
    """

    def __init__(
        self,
        database: nf.Database | str | os.PathLike[str],
        collection_name: str = "haystack",
        *,
        embedding_dim: int | None = None,
        metric: Literal["l2", "cosine", "dot"] = "cosine",
        language: str | dict[str, Any] | None = None,
        mode: Literal["w", "r"] = "w",
    ) -> None:
        self.embedding_dim = embedding_dim
        self.metric = metric
        self.language = language
        schema: dict[str, Any] = {
            "metric": metric,
            "text": "content" if language is None else {"content": language},
            "columns": _COLUMNS,
            "id_type": "utf8",
        }
        if embedding_dim is not None:
            schema["dim"] = embedding_dim
        self._place = Place(database, collection_name, mode, schema)

    @property
    def collection(self) -> nf.Collection | None:
        """The collection that holds the documents; None until there was one."""
        return self._place.read()

    def close(self) -> None:
        """Lets go of the database; so does the end of a `with` block."""
        self._place.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def to_dict(self) -> dict[str, Any]:
        """The arguments that make the store again, the database as its path."""
        return default_to_dict(
            self,
            database=self._place.path,
            collection_name=self._place.name,
            embedding_dim=self.embedding_dim,
            metric=self.metric,
            language=self.language,
            mode=self._place.mode,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> NearfieldDocumentStore:
        """The store that `to_dict` was of."""
        return default_from_dict(cls, data)

    def count_documents(self) -> int:
        """How many documents there are."""
        return self.count_documents_by_filter(None)

    def count_documents_by_filter(self, filters: dict[str, Any] | None) -> int:
        """How many documents the filters find."""
        collection = self._place.read()
        if collection is None:
            return 0
        with _haystack_errors():
            return collection.count(where=_where(collection, filters))

    def filter_documents(self, filters: dict[str, Any] | None = None) -> list[Document]:
        """The documents that the filters find, in the order of their ids."""
        collection = self._place.read()
        if collection is None:
            return []
        found: list[Document] = []
        with _haystack_errors():
            where = _where(collection, filters)
            for records in collection.scan(select=_select(collection), vectors=True, where=where):
                found += _documents(records.to_dicts(), records.vectors)
        return found

    def write_documents(self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE) -> int:
        """Writes documents and returns how many. Of those whose ids exist `FAIL`, and `NONE`, raises
        `DuplicateDocumentError`, `SKIP` passes over them, `OVERWRITE` replaces what is there."""
        if isinstance(documents, (str, bytes, dict)) or not hasattr(documents, "__iter__"):
            raise nf.InvalidArgument(f"documents: expected a list of Document, given {type(documents).__name__}")
        documents = list(documents)
        for number, document in enumerate(documents):
            if not isinstance(document, Document):
                raise nf.InvalidArgument(
                    f"documents: row {number}: expected a Document, given {type(document).__name__}"
                )
        if not isinstance(policy, DuplicatePolicy):
            raise nf.InvalidArgument(f"policy is {policy!r}, expected a DuplicatePolicy")
        with self._place.lock:
            return self._write(documents, policy)

    def _write(self, documents: list[Document], policy: DuplicatePolicy) -> int:
        collection = self._place.read()
        if policy == DuplicatePolicy.SKIP:
            ids = [document.id for document in documents]
            known = set() if collection is None else set(collection.get(ids, select=[]).ids)
            new = {document.id: document for document in reversed(documents) if document.id not in known}
            documents = list(reversed(new.values()))
        if not documents:
            return 0
        if collection is None:
            embeddings = (document.embedding for document in documents)
            dim = next((len(embedding) for embedding in embeddings if embedding is not None), self.embedding_dim)
            if dim is None:
                raise nf.InvalidArgument(
                    "no document has an embedding, which would tell the dimension of the new collection; give "
                    "embedding_dim= to the store (1 if there will never be embeddings)"
                )
            collection = self._place.write(dim)
        rows = _rows([document.meta for document in documents], collection)
        nothing = [0.0] * collection.dim
        vectors = []
        for row, document in zip(rows, documents):
            row["content"] = document.content
            if document.blob is not None:
                row["blob"] = _blob_to_json(document)
            if document.sparse_embedding is not None:
                sparse = document.sparse_embedding
                row["sparse_embedding"] = (sparse.indices, sparse.values)
            if document.embedding is None:
                row["without_embedding"] = True
            vectors.append(nothing if document.embedding is None else document.embedding)
        ids = [document.id for document in documents]
        if policy == DuplicatePolicy.OVERWRITE:
            collection.upsert(ids, vectors, rows)
            return len(ids)
        try:
            return collection.add(ids, vectors, rows)
        except nf.DuplicateId as error:
            raise DuplicateDocumentError(
                f"a document of id {error.ids[0]!r} exists already or is given twice; nothing was written"
            ) from error

    def delete_documents(self, document_ids: list[str]) -> None:
        """Removes documents by their ids. Those that do not exist are passed over."""
        if isinstance(document_ids, str):
            raise TypeError("document_ids: expected a list of str, given str")
        collection = self._place.read()
        if collection is not None:
            collection.delete(list(document_ids))

    def delete_all_documents(self, recreate_index: bool = False) -> None:
        """Removes all documents; with `recreate_index` the collection too, so that the next documents make a new
        one, of other dimensions and types of metadata if need be."""
        collection = self._place.read()
        if collection is None:
            return
        if recreate_index:
            collection.database.drop(self._place.name)
        else:
            collection.delete(where=_filters.ALL)

    def delete_by_filter(self, filters: dict[str, Any]) -> int:
        """Removes the documents that the filters find, all at once; returns how many there were."""
        _not_all("delete_by_filter", filters)
        collection = self._place.read()
        if collection is None:
            return 0
        with _haystack_errors():
            return collection.delete(where=_where(collection, filters))

    def update_by_filter(self, filters: dict[str, Any], meta: dict[str, Any]) -> int:
        """Sets keys of the metadata of all documents that the filters find, all at once; returns how many there were."""
        _not_all("update_by_filter", filters)
        to_json("meta", meta)
        with self._place.lock, _haystack_errors():
            collection = self._place.read()
            if collection is None:
                return 0
            ids, metas = [], []
            for records in collection.scan(select=["meta"], where=_where(collection, filters)):
                ids += records.ids.tolist()
                metas += [_meta(row) for row in records.to_dicts()]
            if not ids:
                return 0
            rows = _rows([{**old, **meta} for old in metas], collection)
            columns = collection.schema["columns"]
            for row, old in zip(rows, metas):
                for name in to_columns(old, "meta."):
                    for gone in columns.keys() & {name, _time_of(name)} - row.keys():
                        row[gone] = None
            return collection.update(ids, rows)

    def count_unique_metadata_by_filter(
        self, filters: dict[str, Any] | None, metadata_fields: list[str]
    ) -> dict[str, int]:
        """How many different values fields of the metadata have in the documents that the filters find."""
        keys = [field.removeprefix("meta.") for field in metadata_fields]
        unique: dict[str, set[str]] = {key: set() for key in keys}
        for meta in self._metas(filters):
            for key in keys:
                value = _value(meta, key)
                if value is not None:
                    unique[key].add(_canonical(value))
        return {key: len(values) for key, values in unique.items()}

    def get_metadata_fields_info(self) -> dict[str, dict[str, str]]:
        """The type of each field of the metadata: "keyword", "int", "float" or "boolean"."""
        types = {bool: "boolean", int: "int", float: "float"}
        info = {}
        for meta in self._metas(None):
            for key, value in meta.items():
                if value is not None:
                    info[key] = {"type": types.get(type(value), "keyword")}
        return info

    def get_metadata_field_min_max(self, metadata_field: str) -> dict[str, Any]:
        """The least and the greatest value of a field of the metadata, as "min" and "max"; None where there is
        none, or where texts and numbers are mixed."""
        key = metadata_field.removeprefix("meta.")
        values = [_value(meta, key) for meta in self._metas(None)]
        values = [value for value in values if isinstance(value, (int, float, str))]
        if not values or len({isinstance(value, str) for value in values}) == 2:
            return {"min": None, "max": None}
        return {"min": min(values), "max": max(values)}

    def get_metadata_field_unique_values(
        self,
        metadata_field: str,
        search_term: str | None = None,
        from_: int = 0,
        size: int = 10,
        filters: dict[str, Any] | None = None,
    ) -> tuple[list[Any], int]:
        """The different values of a field of the metadata in the documents that the filters find, `size` of them
        behind the first `from_`, and how many there are; those with `search_term` in them, in any case, if it is given."""
        if from_ < 0 or size < 0:
            raise nf.InvalidArgument(f"from_ is {from_} and size {size}, expected 0 or more")
        key = metadata_field.removeprefix("meta.")
        values = [value for value in (_value(meta, key) for meta in self._metas(filters)) if value is not None]
        unique = {(str(value), _canonical(value)): value for value in values}
        if search_term:
            unique = {key: value for key, value in unique.items() if search_term.lower() in key[0].lower()}
        return [unique[key] for key in sorted(unique)][from_ : from_ + size], len(unique)

    def retrieve(
        self,
        query_embedding: list[float] | None = None,
        query: str | None = None,
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        return_embedding: bool = False,
        **search: Any,
    ) -> list[Document]:
        """The `top_k` documents nearest to an embedding, found by the words of a query, or both, with scores: bigger is
        better. More arguments go to `Collection.search`, such as `alpha`, `mmr`, `recall` and `rerank`."""
        if query_embedding is None and query is None:
            raise nf.InvalidArgument("expected query_embedding, query or both, given neither")
        if query is not None:
            search = {"words": query, "plain": True, **search}
        collection = self._place.read()
        if collection is None:
            return []
        with _haystack_errors():
            where = _where(collection, filters)
            if query is None and "without_embedding" in collection.schema["columns"]:
                embedded = nf.col("without_embedding").is_null()
                where = embedded if where is None else where & embedded
            hits = collection.search(
                query_embedding, top_k, where=where, select=_select(collection), vectors=return_embedding, **search
            )
        return _documents(hits.to_dicts(), hits.vectors if return_embedding else None)

    def _metas(self, filters: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
        collection = self._place.read()
        if collection is None:
            return
        with _haystack_errors():
            for records in collection.scan(select=["meta"], where=_where(collection, filters)):
                for row in records.to_dicts():
                    yield _meta(row)

    async def count_documents_async(self) -> int:
        """As `count_documents`, in a thread."""
        return await to_thread(self.count_documents)

    async def count_documents_by_filter_async(self, filters: dict[str, Any] | None) -> int:
        """As `count_documents_by_filter`, in a thread."""
        return await to_thread(self.count_documents_by_filter, filters)

    async def filter_documents_async(self, filters: dict[str, Any] | None = None) -> list[Document]:
        """As `filter_documents`, in a thread."""
        return await to_thread(self.filter_documents, filters)

    async def write_documents_async(
        self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE
    ) -> int:
        """As `write_documents`, in a thread."""
        return await to_thread(self.write_documents, documents, policy)

    async def delete_documents_async(self, document_ids: list[str]) -> None:
        """As `delete_documents`, in a thread."""
        await to_thread(self.delete_documents, document_ids)

    async def delete_all_documents_async(self, recreate_index: bool = False) -> None:
        """As `delete_all_documents`, in a thread."""
        await to_thread(self.delete_all_documents, recreate_index)

    async def delete_by_filter_async(self, filters: dict[str, Any]) -> int:
        """As `delete_by_filter`, in a thread."""
        return await to_thread(self.delete_by_filter, filters)

    async def update_by_filter_async(self, filters: dict[str, Any], meta: dict[str, Any]) -> int:
        """As `update_by_filter`, in a thread."""
        return await to_thread(self.update_by_filter, filters, meta)

    async def count_unique_metadata_by_filter_async(
        self, filters: dict[str, Any] | None, metadata_fields: list[str]
    ) -> dict[str, int]:
        """As `count_unique_metadata_by_filter`, in a thread."""
        return await to_thread(self.count_unique_metadata_by_filter, filters, metadata_fields)

    async def get_metadata_fields_info_async(self) -> dict[str, dict[str, str]]:
        """As `get_metadata_fields_info`, in a thread."""
        return await to_thread(self.get_metadata_fields_info)

    async def get_metadata_field_min_max_async(self, metadata_field: str) -> dict[str, Any]:
        """As `get_metadata_field_min_max`, in a thread."""
        return await to_thread(self.get_metadata_field_min_max, metadata_field)

    async def get_metadata_field_unique_values_async(
        self,
        metadata_field: str,
        search_term: str | None = None,
        from_: int = 0,
        size: int = 10,
        filters: dict[str, Any] | None = None,
    ) -> tuple[list[Any], int]:
        """As `get_metadata_field_unique_values`, in a thread."""
        return await to_thread(
            self.get_metadata_field_unique_values, metadata_field, search_term, from_, size, filters
        )


class _Retriever:
    """What the retrievers have in common: their settings, and how these are serialized.

    `filters` are for every run, and give way to those of a run or are joined with them, as `filter_policy` says.
    `search` are more arguments of `Collection.search`, for every run as well: `{"recall": 0.99}`, `{"mmr": 0.5}`.
    """

    def __init__(
        self,
        document_store: NearfieldDocumentStore,
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        return_embedding: bool = False,
        filter_policy: FilterPolicy = FilterPolicy.REPLACE,
        search: dict[str, Any] | None = None,
    ) -> None:
        if not isinstance(document_store, NearfieldDocumentStore):
            given = type(document_store).__name__
            raise TypeError(f"document_store: expected a NearfieldDocumentStore, given {given}")
        if not isinstance(top_k, int) or top_k < 1:
            raise nf.InvalidArgument(f"top_k is {top_k!r}, expected a whole number from 1")
        self.document_store = document_store
        self.filters = filters
        self.top_k = top_k
        self.return_embedding = return_embedding
        self.filter_policy = filter_policy
        self.search = search

    def to_dict(self) -> dict[str, Any]:
        """The arguments that make the retriever again."""
        return default_to_dict(
            self,
            document_store=self.document_store.to_dict(),
            filters=self.filters,
            top_k=self.top_k,
            return_embedding=self.return_embedding,
            filter_policy=self.filter_policy.value,
            search=self.search,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The retriever that `to_dict` was of."""
        given = dict(data.get("init_parameters", {}))
        if isinstance(given.get("document_store"), dict):
            given["document_store"] = NearfieldDocumentStore.from_dict(given["document_store"])
        if isinstance(given.get("filter_policy"), str):
            given["filter_policy"] = FilterPolicy.from_str(given["filter_policy"])
        return default_from_dict(cls, {**data, "init_parameters": given})

    def _retrieve(
        self,
        filters: dict[str, Any] | None,
        top_k: int | None,
        return_embedding: bool | None,
        **asked: Any,
    ) -> dict[str, list[Document]]:
        documents = self.document_store.retrieve(
            filters=apply_filter_policy(self.filter_policy, self.filters, filters),
            top_k=self.top_k if top_k is None else top_k,
            return_embedding=self.return_embedding if return_embedding is None else return_embedding,
            **{**(self.search or {}), **asked},
        )
        return {"documents": documents}


@component
class NearfieldEmbeddingRetriever(_Retriever):
    """The documents nearest to an embedding, the best first; their scores are those of the store's `metric`, for
    "cosine" the cosine itself."""

    @component.output_types(documents=list[Document])
    def run(
        self,
        query_embedding: list[float],
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
        return_embedding: bool | None = None,
    ) -> dict[str, list[Document]]:
        """The "documents"; what is given here is for this run, in place of the retriever's."""
        return self._retrieve(filters, top_k, return_embedding, query_embedding=query_embedding)

    @component.output_types(documents=list[Document])
    async def run_async(
        self,
        query_embedding: list[float],
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
        return_embedding: bool | None = None,
    ) -> dict[str, list[Document]]:
        """As `run`, in a thread."""
        return await to_thread(self.run, query_embedding, filters, top_k, return_embedding)


@component
class NearfieldKeywordRetriever(_Retriever):
    """The documents with the words of a query, the best first; their scores are BM25."""

    @component.output_types(documents=list[Document])
    def run(
        self,
        query: str,
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
        return_embedding: bool | None = None,
    ) -> dict[str, list[Document]]:
        """The "documents"; what is given here is for this run, in place of the retriever's."""
        return self._retrieve(filters, top_k, return_embedding, query=query)

    @component.output_types(documents=list[Document])
    async def run_async(
        self,
        query: str,
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
        return_embedding: bool | None = None,
    ) -> dict[str, list[Document]]:
        """As `run`, in a thread."""
        return await to_thread(self.run, query, filters, top_k, return_embedding)


@component
class NearfieldHybridRetriever(_Retriever):
    """The documents nearest to an embedding and those with the words of a query, in one order.

    Ranks are fused, or with `alpha` scores: 0 is words alone, 1 the embedding alone. What was fused is the score.
    """

    def __init__(
        self,
        document_store: NearfieldDocumentStore,
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        return_embedding: bool = False,
        filter_policy: FilterPolicy = FilterPolicy.REPLACE,
        search: dict[str, Any] | None = None,
        alpha: float | None = None,
    ) -> None:
        # `component` makes another class of this one, which `super()` does not know.
        _Retriever.__init__(self, document_store, filters, top_k, return_embedding, filter_policy, search)
        self.alpha = alpha

    def to_dict(self) -> dict[str, Any]:
        """The arguments that make the retriever again."""
        data = _Retriever.to_dict(self)
        data["init_parameters"]["alpha"] = self.alpha
        return data

    @component.output_types(documents=list[Document])
    def run(
        self,
        query: str,
        query_embedding: list[float],
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
        return_embedding: bool | None = None,
        alpha: float | None = None,
    ) -> dict[str, list[Document]]:
        """The "documents"; what is given here is for this run, in place of the retriever's."""
        alpha = self.alpha if alpha is None else alpha
        weights = {} if alpha is None else {"alpha": alpha}
        return self._retrieve(
            filters, top_k, return_embedding, query=query, query_embedding=query_embedding, **weights
        )

    @component.output_types(documents=list[Document])
    async def run_async(
        self,
        query: str,
        query_embedding: list[float],
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
        return_embedding: bool | None = None,
        alpha: float | None = None,
    ) -> dict[str, list[Document]]:
        """As `run`, in a thread."""
        return await to_thread(self.run, query, query_embedding, filters, top_k, return_embedding, alpha)


def _rows(metas: list[dict[str, Any]], collection: nf.Collection) -> list[dict[str, Any]]:
    """Columns of metadata: as JSON, what of it can be filtered by, and what of that is a time."""
    dumped = [to_json(f"meta of document {number}", meta) for number, meta in enumerate(metas)]
    rows = [to_columns(json.loads(text), "meta.") for text in dumped]
    keep_types("document", rows, collection.schema["columns"])
    for row, text in zip(rows, dumped):
        times = {_time_of(name): _time(value) for name, value in row.items()}
        row.update({name: time for name, time in times.items() if time is not None})
        row["meta"] = text
    return rows


_DATE = re.compile(r"\d{4}-\d\d-\d\d([Tt ]|$)")


def _time(value: Any) -> datetime | None:
    """The time that a text is, if it is one of ISO 8601."""
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not _DATE.match(value):
        return None
    try:
        time: datetime = isoparse(value)
    except (ValueError, OverflowError):
        return None
    return time


def _time_of(name: str) -> str:
    return "time." + name.removeprefix("meta.")


def _blob_to_json(document: Document) -> str:
    blob = document.blob
    assert blob is not None
    data = base64.b64encode(blob.data).decode()
    return to_json(f"blob of document {document.id!r}", {"data": data, "meta": blob.meta, "mime_type": blob.mime_type})


def _blob(text: str | None) -> ByteStream | None:
    if text is None:
        return None
    fields = json.loads(text)
    return ByteStream(base64.b64decode(fields["data"]), fields["meta"], fields["mime_type"])


def _select(collection: nf.Collection) -> list[str]:
    columns = collection.schema["columns"]
    return ["content", "meta", *(name for name in _RARE if name in columns)]


def _documents(rows: list[dict[str, Any]], vectors: Any) -> list[Document]:
    found = []
    for number, row in enumerate(rows):
        sparse = row.get("sparse_embedding")
        embedded = vectors is not None and not row.get("without_embedding")
        found.append(
            Document(
                id=row["id"],
                content=row["content"],
                blob=_blob(row.get("blob")),
                meta=_meta(row),
                score=row.get("score"),
                embedding=vectors[number].tolist() if embedded else None,
                sparse_embedding=None if sparse is None else SparseEmbedding(list(sparse), list(sparse.values())),
            )
        )
    return found


def _meta(row: dict[str, Any]) -> dict[str, Any]:
    meta: dict[str, Any] = json.loads(row["meta"] or "{}")
    return meta


def _value(meta: dict[str, Any], key: str) -> Any:
    """A value by its key, or by keys of nested dicts with dots between them."""
    if key in meta:
        return meta[key]
    value: Any = meta
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _canonical(value: Any) -> str:
    """A text that is the same for equal values of one type alone: 1, 1.0, "1" and True differ."""
    return json.dumps(value, sort_keys=True)


@contextmanager
def _haystack_errors() -> Iterator[None]:
    try:
        yield
    except nf.FilterError as error:
        raise FilterError(str(error)) from error


def _not_all(what: str, filters: Any) -> None:
    if not filters:
        raise FilterError(f"{what}: expected filters, given none; a write to every document is asked for by name")


def _where(collection: nf.Collection, filters: dict[str, Any] | None) -> nf.Filter | None:
    """Haystack's filters in terms of nearfield's; None if there are none."""
    if not filters:
        return None
    columns = _filters.Columns({"id": "utf8", **collection.schema["columns"]})
    try:
        return _group(columns, filters)
    except (TypeError, RecursionError) as error:
        raise _filters.error(str(error)) from error


def _group(columns: _filters.Columns, group: Any) -> nf.Filter:
    if not isinstance(group, dict):
        raise _filters.error(f"expected a dict, given {type(group).__name__}")
    if "field" in group:
        return _comparison(columns, group)
    sign, parts = _member(group, "operator"), _member(group, "conditions")
    if sign not in ("AND", "OR", "NOT"):
        raise _filters.error(f"operator of conditions is {sign!r}, expected 'AND', 'OR' or 'NOT'")
    if not isinstance(parts, list) or not parts:
        raise _filters.error(f"conditions of {sign}: expected a list of at least one dict, given {parts!r}")
    conditions = [_group(columns, part) for part in parts]
    if sign == "OR":
        return _filters.some(conditions)
    return _filters.every(conditions) if sign == "AND" else ~_filters.every(conditions)


def _member(part: dict[str, Any], name: str) -> Any:
    if name not in part:
        raise _filters.error(f"{name!r} is missing in {part!r}")
    return part[name]


def _comparison(columns: _filters.Columns, part: dict[str, Any]) -> nf.Filter:
    field, sign, value = part["field"], _member(part, "operator"), _member(part, "value")
    if not isinstance(field, str):
        raise _filters.error(f"field: expected a str, given {type(field).__name__}")
    if field in ("embedding", "blob", "sparse_embedding"):
        return _presence(columns, field, sign, value)
    name = field if field in ("id", "content") or field.startswith("meta.") else "meta." + field
    if sign in ("==", "!="):
        equal = columns.is_null(name) if value is None else _is_in(columns, name, [value])
        return equal if sign == "==" else ~equal
    if sign in ("in", "not in"):
        if not isinstance(value, list):
            raise _filters.error(f"{field!r} {sign}: expected a list, given {type(value).__name__}")
        found = _is_in(columns, name, [item for item in value if item is not None])
        if None in value:
            found = found | columns.is_null(name)
        return found if sign == "in" else ~found
    if sign not in _filters.SIGNS:
        raise _filters.error(
            f"operator is {sign!r}, expected '==', '!=', '>', '>=', '<', '<=', 'in' or 'not in'"
        )
    if value is None:
        return _filters.NONE
    if isinstance(value, (str, datetime)):
        time = _time(value)
        if time is None or not name.startswith("meta.") or columns.types.get(name, "utf8") != "utf8":
            raise _filters.error(
                f"{field!r} {sign} {value!r}: texts are compared as times of ISO 8601, numbers with numbers"
            )
        return columns.compares(_time_of(name), sign, time)
    return columns.compares(name, sign, value)


def _is_in(columns: _filters.Columns, name: str, values: list[Any]) -> nf.Filter:
    """Equal to one of values, or the same time as one."""
    times = [time for time in map(_time, values) if time is not None and name.startswith("meta.")]
    found = columns.is_in(name, [value for value in values if not isinstance(value, datetime)])
    return found | columns.is_in(_time_of(name), times) if times else found


def _presence(columns: _filters.Columns, field: str, sign: Any, value: Any) -> nf.Filter:
    if sign not in ("==", "!=") or value is not None:
        raise _filters.error(f"{field!r} can be compared with None alone, by '==' or '!='")
    if field == "embedding":
        missing = ~columns.is_null("without_embedding")
    else:
        missing = columns.is_null(field)
    return missing if sign == "==" else ~missing
