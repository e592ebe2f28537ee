"""A vector store for LlamaIndex: `NearfieldVectorStore`.

Needs `llama-index-core`. Nodes are rows of a collection: their text in the column "text", all else that a node
is as JSON in "node" (bytes of images and sounds are not, of which LlamaIndex makes no JSON), the id of the
document that they are of in "ref_doc_id". Metadata is part of the JSON, which keeps any nesting as it is. What
can be filtered by is in columns of its own as well: each value of the metadata that is a bool, a whole number of
64 bits, a float, a str or a list of str, under its key behind "metadata." (`{"a": {"b": 1}}` is 1 under "a.b",
the column "metadata.a.b"). The first value of a key says the type of its column. To filters a value of another
type, an empty list, and what is none of these are as if they were missing; for another type a warning is logged
("nearfield"). Whole numbers are fine among floats; a fraction after whole numbers is refused.

    from llama_index.core import StorageContext, VectorStoreIndex
    from nearfield.integrations.llama_index import NearfieldVectorStore

    store = NearfieldVectorStore("my.nf")
    context = StorageContext.from_defaults(vector_store=store)
    index = VectorStoreIndex.from_documents(documents, storage_context=context)
    index = VectorStoreIndex.from_vector_store(store)                  # another day

Names, numbers and codes are found by the words of a query, in hybrid search beside its vector:

    index.as_retriever(vector_store_query_mode="hybrid", alpha=0.3).retrieve("error E0502")
    index.as_retriever(vector_store_query_mode="text_search", filters=filters).retrieve("error E0502")
    index.as_retriever(vector_store_query_mode="mmr", vector_store_kwargs={"mmr_threshold": 0.3})
"""

from __future__ import annotations

import json
import math
import os
from asyncio import to_thread
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

try:
    from llama_index.core.bridge.pydantic import Field, PrivateAttr
    from llama_index.core.schema import (
        BaseNode,
        Document,
        ImageDocument,
        ImageNode,
        IndexNode,
        MetadataMode,
        Node,
        TextNode,
    )
    from llama_index.core.vector_stores.types import (
        BasePydanticVectorStore,
        FilterCondition,
        FilterOperator,
        MetadataFilter,
        MetadataFilters,
        VectorStoreQuery,
        VectorStoreQueryMode,
        VectorStoreQueryResult,
    )
except ImportError as error:
    raise ImportError(
        "nearfield.integrations.llama_index needs llama-index-core: pip install 'nearfield[llama-index]'"
    ) from error

import nearfield as nf
from nearfield.integrations import _filters
from nearfield.integrations._metadata import keep_types, to_columns, to_json
from nearfield.integrations._place import Place

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["NearfieldVectorStore"]

_PREFIX = "metadata."
_COLUMNS = {"node": "utf8", "node_type": "utf8", "ref_doc_id": "utf8"}
# Keys of filters that LlamaIndex's stores take for the document of a node.
_DOCUMENT_KEYS = {"ref_doc_id", "doc_id", "document_id"}
_BY_WORDS = {VectorStoreQueryMode.TEXT_SEARCH, VectorStoreQueryMode.SPARSE}
_MODES = [
    VectorStoreQueryMode.DEFAULT,
    VectorStoreQueryMode.MMR,
    VectorStoreQueryMode.HYBRID,
    *sorted(_BY_WORDS, reverse=True),
]


class NearfieldVectorStore(BasePydanticVectorStore):
    """Nodes in a collection of a nearfield database.

    `database` is the path of a database, or a `nearfield.Database` that is open. Stores of one path share it in
    a process; the last `close()` closes it, and what is used after that opens it again. The collection is made
    by the first nodes, whose embeddings tell the dimension. `mode="r"` reads beside a process that writes, and
    follows it. `language` is that of the texts, for endings and stop words, as `Collection.add_text_index` takes
    it; left out, as stored, English in a new collection. All that is added is on disk when the call returns.

    Queries are by vector (`DEFAULT`), by vector for nodes unlike each other (`MMR`, `mmr_threshold` from 0, unlike,
    to 1, near, 0.5 if it is left out), by words (`TEXT_SEARCH`, or `SPARSE`, which is the same: BM25), or by both
    (`HYBRID`: ranks are fused, or scores with `alpha`, 0 for words alone to 1 for vectors alone;
    `hybrid_top_k` nodes come back if it is given, and `sparse_top_k` is the least of candidates by words). Similarities
    are those of LlamaIndex: the cosine, the inner product or the negative distance, whichever `metric` says; by
    words BM25, of both what was fused. More arguments of a query go to `Collection.search`, such as `ef`, `recall`
    and `mmr_candidates`; `where` is a filter of nearfield's that nodes must meet as well.

    Filters have all operators, and may be nested. Null is as in LlamaIndex: a key that a node lacks equals
    nothing, so that `!=`, `nin` and `not` find it. `is_empty` finds no value, no text and an empty list; `==` and `!=`
    with None ask for no value and any. A list equals each text in it. "ref_doc_id", "doc_id" and
    "document_id" are the id of the document.

    Raises what the collection raises; `InvalidArgument` (a ValueError) for nodes without an embedding, queries without what
    their mode needs, modes that are not above, and lengths out of range, `FilterError` for a filter that does not fit.
    """

    stores_text: bool = Field(default=True, exclude=True)
    is_embedding_query: bool = Field(default=True, exclude=True)
    database: str
    collection_name: str = "llama_index"
    metric: Literal["l2", "cosine", "dot"] = "cosine"
    language: Any = None
    mode: Literal["w", "r"] = "w"
    _place: Place = PrivateAttr()

    def __init__(
        self,
        database: nf.Database | str | os.PathLike[str],
        collection_name: str = "llama_index",
        *,
        metric: Literal["l2", "cosine", "dot"] = "cosine",
        language: str | dict[str, Any] | None = None,
        mode: Literal["w", "r"] = "w",
    ) -> None:
        schema = {
            "metric": metric,
            "text": "text" if language is None else {"text": language},
            "columns": _COLUMNS,
            "id_type": "utf8",
        }
        place = Place(database, collection_name, mode, schema)
        super().__init__(  # type: ignore[call-arg]
            database=place.path,
            collection_name=collection_name,
            metric=metric,
            language=language,
            mode=place.mode,
        )
        self._place = place
        place.read()

    @classmethod
    def class_name(cls) -> str:
        """Its name in what is serialized."""
        return "NearfieldVectorStore"

    @property
    def client(self) -> nf.Database:
        """The database."""
        return self._place.database

    @property
    def collection(self) -> nf.Collection | None:
        """The collection that holds the nodes; None until there was one."""
        return self._place.read()

    def close(self) -> None:
        """Lets go of the database; so does the end of a `with` block."""
        self._place.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Stores nodes with their embeddings, replacing those whose ids exist; returns the ids. All of them
        are stored, or none."""
        _no_more("add", kwargs)
        nodes = list(nodes)
        for number, node in enumerate(nodes):
            if not isinstance(node, BaseNode):
                raise TypeError(f"nodes: row {number}: expected a node, given {type(node).__name__}")
            if node.embedding is None:
                raise nf.InvalidArgument(
                    f"node {number} ({node.node_id!r}) has no embedding; add it through an index, or set node.embedding"
                )
        if not nodes:
            return []
        ids = [node.node_id for node in nodes]
        vectors = [node.get_embedding() for node in nodes]
        dumped = [_dump(number, node) for number, node in enumerate(nodes)]
        rows = [to_columns(fields["metadata"], _PREFIX) for fields in dumped]
        with self._place.lock:
            collection = self._place.write(len(vectors[0]))
            keep_types("node", rows, collection.schema["columns"])
            for row, node, fields in zip(rows, nodes, dumped):
                row["text"] = node.get_content(metadata_mode=MetadataMode.NONE)
                row["node"] = json.dumps(fields, ensure_ascii=False)
                row["node_type"] = node.class_name()
                row["ref_doc_id"] = node.ref_doc_id
            collection.upsert(ids, vectors, rows)
        return ids

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Removes the nodes of a document."""
        _no_more("delete", delete_kwargs)
        collection = self._place.read()
        if collection is not None:
            collection.delete(where=nf.col("ref_doc_id") == ref_doc_id)

    def delete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **delete_kwargs: Any,
    ) -> None:
        """Removes nodes by their ids, those that filters find, or of these ids those that they find. Ids that do not
        exist are passed over."""
        _no_more("delete_nodes", delete_kwargs)
        if node_ids is None and (filters is None or not filters.filters):
            raise nf.InvalidArgument("delete_nodes: expected node_ids or filters, given neither; clear() removes all")
        collection = self._place.read()
        if collection is None:
            return
        where = _where(collection, filters, ids=node_ids)
        if where is not None:
            collection.delete(where=where)

    def clear(self) -> None:
        """Removes all nodes. The collection stays, with its dimension and columns."""
        collection = self._place.read()
        if collection is not None:
            collection.delete(where=_filters.ALL)

    def get_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """The nodes that exist among `node_ids`, in that order, or all in the order of their ids; of them those
        that filters find. They come without embeddings."""
        collection = self._place.read()
        if collection is None:
            return []
        if filters is None and node_ids is not None:
            return [_load(row) for row in collection.get(node_ids, select=_SELECT).to_dicts()]
        where = _where(collection, filters, ids=node_ids)
        rows = [row for records in collection.scan(select=_SELECT, where=where) for row in records.to_dicts()]
        if node_ids is not None:
            by_id = {row["id"]: row for row in rows}
            rows = [by_id[id] for id in node_ids if id in by_id]
        return [_load(row) for row in rows]

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """The nodes nearest to what is asked, the best first, with similarities: bigger is better."""
        asked = _asked(query, kwargs)
        collection = self._place.read()
        if collection is None:
            return VectorStoreQueryResult(nodes=[], similarities=[], ids=[])
        # An index that keeps no nodes of its own gives an empty list of ids, meaning any.
        where = _where(
            collection, query.filters, ids=query.node_ids or None, documents=query.doc_ids, more=asked.pop("where", None)
        )
        hits = collection.search(where=where, select=_SELECT, **asked)
        similarities = [float(score) for score in hits.scores]
        fused = any(asked.get(name) is not None for name in ("words", "sparse", "rerank"))
        if collection.schema["metric"] == "l2" and not fused:
            similarities = [-math.sqrt(max(0.0, -score)) for score in similarities]
        rows = hits.to_dicts()
        return VectorStoreQueryResult(
            nodes=[_load(row) for row in rows], similarities=similarities, ids=[row["id"] for row in rows]
        )

    def persist(self, persist_path: str = "", fs: Any = None) -> None:
        """The nodes are in the directory of the database, whatever `persist_path` is: open the store by its own
        path again. They are durable already, unless the database was opened with another durability than "sync"."""
        collection = self._place.read()
        if collection is not None and self.mode == "w":
            collection.flush()

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """As `add`, in a thread."""
        return await to_thread(self.add, nodes, **kwargs)

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """As `delete`, in a thread."""
        await to_thread(self.delete, ref_doc_id, **delete_kwargs)

    async def adelete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **delete_kwargs: Any,
    ) -> None:
        """As `delete_nodes`, in a thread."""
        await to_thread(self.delete_nodes, node_ids, filters, **delete_kwargs)

    async def aclear(self) -> None:
        """As `clear`, in a thread."""
        await to_thread(self.clear)

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """As `get_nodes`, in a thread."""
        return await to_thread(self.get_nodes, node_ids, filters)

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """As `query`, in a thread."""
        return await to_thread(self.query, query, **kwargs)


def _no_more(what: str, kwargs: dict[str, Any]) -> None:
    if kwargs:
        raise TypeError(f"{what}: unknown argument {next(iter(kwargs))!r}")


_SELECT = ["text", "node", "node_type"]
_CLASSES: dict[str, type[BaseNode]] = {
    class_.class_name(): class_ for class_ in (TextNode, ImageNode, IndexNode, Node, Document, ImageDocument)
}


def _dump(number: int, node: BaseNode) -> dict[str, Any]:
    """All that a node is but its embedding, and its text if it is a node of text."""
    metadata = to_json(f"metadata of node {number}", node.metadata)
    try:
        fields: dict[str, Any] = node.model_dump(mode="json", exclude={"embedding", "metadata"})
    except ValueError as error:
        raise nf.InvalidArgument(f"node {number} ({node.node_id!r}) is not JSON: {error}") from error
    fields["metadata"] = json.loads(metadata)
    if isinstance(node, TextNode):
        fields.pop("text", None)
    return fields


def _load(row: dict[str, Any]) -> BaseNode:
    if row["node"] is None:
        # A row that was not written by a store.
        return TextNode(id_=row["id"], text=row["text"] or "")
    class_ = _CLASSES.get(row["node_type"], TextNode)
    node = class_.from_dict(json.loads(row["node"]))
    if isinstance(node, TextNode):
        node.text = row["text"] or ""
    return node


def _asked(query: VectorStoreQuery, kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a search."""
    if query.mode not in _MODES:
        raise nf.InvalidArgument(
            f"mode of a query is {query.mode.value!r}, expected one of {', '.join(repr(mode.value) for mode in _MODES)}"
        )
    if query.embedding_field is not None:
        raise nf.InvalidArgument(f"embedding_field is {query.embedding_field!r}, but nodes have one embedding only; leave it out")
    asked = {"k": query.similarity_top_k, **kwargs}
    threshold = asked.pop("mmr_threshold", query.mmr_threshold)
    if query.mode == VectorStoreQueryMode.MMR:
        asked["mmr"] = 0.5 if threshold is None else threshold
    if query.mode == VectorStoreQueryMode.HYBRID:
        if query.hybrid_top_k is not None:
            asked["k"] = query.hybrid_top_k
        if query.sparse_top_k is not None:
            asked.setdefault("candidates", max(query.sparse_top_k, query.similarity_top_k, asked["k"]))
        if query.alpha is not None:
            asked.setdefault("alpha", query.alpha)
    if query.mode not in _BY_WORDS:
        if query.query_embedding is None:
            raise nf.InvalidArgument(f"a query of mode {query.mode.value!r} needs query_embedding, given none")
        asked["q"] = query.query_embedding
    if query.mode in _BY_WORDS or query.mode == VectorStoreQueryMode.HYBRID:
        if query.query_str is None:
            raise nf.InvalidArgument(f"a query of mode {query.mode.value!r} needs query_str, given none")
        if asked.get("words") is None:
            asked["words"], asked["plain"] = query.query_str, True
    return asked


def _where(
    collection: nf.Collection,
    filters: MetadataFilters | None,
    *,
    ids: list[str] | None = None,
    documents: list[str] | None = None,
    more: Any = None,
) -> nf.Filter | None:
    """Everything that nodes must meet; None if there is nothing."""
    columns = _filters.Columns(collection.schema["columns"])
    conditions = []
    if filters is not None and filters.filters:
        conditions.append(_group(columns, filters))
    if ids is not None:
        conditions.append(nf.col("id").isin(ids))
    if documents is not None:
        conditions.append(nf.col("ref_doc_id").isin(documents))
    if more is not None:
        conditions.append(nf.Filter(more))
    return _filters.every(conditions) if conditions else None


def _group(columns: _filters.Columns, filters: MetadataFilters) -> nf.Filter:
    if not filters.filters:
        raise _filters.error("a group of filters is empty; leave it out")
    conditions = [
        _group(columns, part) if isinstance(part, MetadataFilters) else _condition(columns, part)
        for part in filters.filters
    ]
    if filters.condition == FilterCondition.OR:
        return _filters.some(conditions)
    if filters.condition == FilterCondition.NOT:
        return ~_filters.some(conditions)
    return _filters.every(conditions)


def _condition(columns: _filters.Columns, part: MetadataFilter) -> nf.Filter:
    try:
        return _comparison(columns, part)
    except TypeError as error:
        raise _filters.error(f"{part.key!r} {part.operator.value} {part.value!r}: {error}") from error


def _comparison(columns: _filters.Columns, part: MetadataFilter) -> nf.Filter:
    name = "ref_doc_id" if part.key in _DOCUMENT_KEYS else _PREFIX + part.key
    sign, value = part.operator, part.value
    if sign == FilterOperator.IS_EMPTY:
        empty = columns.is_null(name)
        return empty | columns.equals(name, "") if columns.types.get(name) == "utf8" else empty
    if sign in (FilterOperator.NE, FilterOperator.NIN):
        opposite = FilterOperator.EQ if sign == FilterOperator.NE else FilterOperator.IN
        return ~_comparison(columns, part.model_copy(update={"operator": opposite}))
    if sign == FilterOperator.EQ:
        return columns.is_null(name) if value is None else columns.equals(name, value)
    if sign in (FilterOperator.IN, FilterOperator.ANY, FilterOperator.ALL):
        if not isinstance(value, list):
            raise _unfit(part, "a list")
        if sign == FilterOperator.IN:
            return columns.is_in(name, value)
        return columns.has(name, _texts(part, value), all=sign == FilterOperator.ALL)
    if sign == FilterOperator.CONTAINS:
        return columns.has(name, _texts(part, [value]), all=True)
    if sign in (FilterOperator.TEXT_MATCH, FilterOperator.TEXT_MATCH_INSENSITIVE):
        if not isinstance(value, str):
            raise _unfit(part, "a str")
        return columns.contains(name, value, any_case=sign == FilterOperator.TEXT_MATCH_INSENSITIVE)
    if sign.value not in _filters.SIGNS:
        raise _filters.error(f"{part.key!r}: there is no operator {sign.value!r}")
    if value is None or isinstance(value, list):
        raise _unfit(part, "a number or a str")
    return columns.compares(name, sign.value, value)


def _texts(part: MetadataFilter, values: list[Any]) -> list[str]:
    if not all(isinstance(value, str) for value in values):
        raise _unfit(part, "text, since lists of text alone can be filtered by")
    return values


def _unfit(part: MetadataFilter, expected: str) -> nf.FilterError:
    return _filters.error(f"{part.key!r} {part.operator.value}: expected {expected}, given {part.value!r}")
