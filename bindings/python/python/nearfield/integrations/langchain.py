"""A vector store for LangChain: `NearfieldVectorStore`.

Needs `langchain-core`. Documents are rows of a collection with string ids: their text in the column
"text", their metadata as JSON in the column "metadata", which keeps any nesting as it is. What can be filtered
by is in columns of its own as well: each value of the metadata that is a bool, a whole number of 64 bits, a
float, a str or a list of str, under its key (`{"a": {"b": 1}}` is 1 under "a.b"), unless that is "id", "text",
"metadata" or "vector", which mean the document itself. The first value of a key says the type of its column: a
value of another type is kept in the metadata as well, but no filter finds the document by it, and a warning is
logged ("nearfield"). Whole numbers are fine among floats; a fraction after whole numbers is refused.

    from nearfield.integrations.langchain import NearfieldVectorStore

    store = NearfieldVectorStore(embeddings, "my.nf")
    store.add_texts(["the cat sat", "on the mat"], metadatas=[{"page": 1}, {"page": 2}])
    store.similarity_search("feline", k=1, filter={"page": {"$gte": 2}})
    retriever = store.as_retriever(search_type="mmr", search_kwargs={"filter": "page < 10"})

Names, numbers and codes are found by the words of a query, in hybrid search beside its vector:

    store = NearfieldVectorStore(embeddings, "my.nf", retrieval_mode="hybrid")
    store.similarity_search("error E0502", k=4)
    store.similarity_search("error E0502", k=4, alpha=0.3)
    retriever = store.as_retriever(search_kwargs={"k": 4, "retrieval_mode": "words"})
"""

from __future__ import annotations

import json
import math
import os
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np

try:
    from langchain_core.documents import Document
    from langchain_core.runnables.config import run_in_executor
    from langchain_core.vectorstores import VectorStore
    from langchain_core.vectorstores.utils import maximal_marginal_relevance
except ImportError as error:
    raise ImportError(
        "nearfield.integrations.langchain needs langchain-core: pip install langchain-core"
    ) from error

import nearfield as nf
from nearfield.integrations._metadata import keep_types, to_columns, to_json

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings
    from typing_extensions import Self

__all__ = ["NearfieldVectorStore", "RetrievalMode"]

RetrievalMode: TypeAlias = Literal["vector", "words", "hybrid"]
"""How texts are searched for: by their vector, by their words, or by both in one order."""
_MODES: tuple[RetrievalMode, ...] = get_args(RetrievalMode)


class NearfieldVectorStore(VectorStore):
    """Documents in a collection of a nearfield database.

    `database` is an open `nearfield.Database`, or the path of one, which is then opened (and closed
    by `close()`). `model` is the name that the collection remembers for `embedding`, by default its
    `model`, `model_name` or class; opening it again with another one raises `SchemaMismatch`. `dim`
    saves the embedding of one word that otherwise tells the dimension.

    `retrieval_mode` says how texts are searched for, here or as an argument of one search: by their "vector"
    alone, by their "words" alone (BM25), or "hybrid", by both in one order. The words are those of the query, and
    no sign in it has a meaning; `words=` gives others, as `Collection.search` takes them, beside the vector.
    `alpha`, `fusion`, `candidates` and `rerank` are for a search too. `language` is that of the texts, for
    endings and stop words, as `Collection.add_text_index` takes it; left out, as stored, English in a new
    collection. Searches by a vector, and not by a text, are by words only if `words=` says so.

    Scores are nearfield's: bigger is better, for "cosine" the cosine itself, by words BM25, in hybrid
    search what was fused. Relevance is from 0 to 1 for all of them. `filter` of a search (or
    `where`, which is the same) is a dict, the text of an SQL WHERE clause or a `nearfield.Filter`, on keys of
    the metadata, see above; if k documents match, k are found. More arguments of a search go to
    `Collection.search`, such as `ef`, `exact` and `max_distance`. The asynchronous methods do the same
    in threads.

    Raises what the collection raises; `InvalidArgument` (a ValueError) for lengths that differ, metadata that
    is not JSON and numbers out of range, `SchemaMismatch` for a fraction under a key of whole numbers, `FilterError` for a filter that does not fit, `TypeError` for arguments of another type.
    """

    def __init__(
        self,
        embedding: Embeddings,
        database: nf.Database | str | os.PathLike[str],
        collection_name: str = "langchain",
        *,
        metric: Literal["l2", "cosine", "dot"] = "cosine",
        model: str | None = None,
        dim: int | None = None,
        retrieval_mode: RetrievalMode = "vector",
        language: str | dict[str, Any] | None = None,
    ) -> None:
        self._embedding = embedding
        self._mode = _mode(retrieval_mode)
        embedder = nf.Embedder.of(embedding)
        embedder = nf.Embedder(
            embedder.embed_documents,
            model or embedder.model,
            dim,
            queries=embedder.embed_queries,
        )
        self._owned = not isinstance(database, nf.Database)
        self._database = database if isinstance(database, nf.Database) else nf.open(database)
        text: Any = "text" if language is None else {"text": language}
        try:
            self._docs = self._database.collection(
                collection_name,
                metric=metric,
                text=text,
                columns={"metadata": "utf8"},
                id_type="utf8",
                embed=embedder,
            )
        except BaseException:
            self.close()
            raise

    @property
    def collection(self) -> nf.Collection:
        """The collection that holds the documents."""
        return self._docs

    @property
    def embeddings(self) -> Embeddings:
        """What makes vectors of texts."""
        return self._embedding

    def close(self) -> None:
        """Closes the database if it was opened here; so does the end of a `with` block."""
        if self._owned:
            self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"NearfieldVectorStore({self._docs!r}, retrieval_mode={self._mode!r})"

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Embeds and stores texts, replacing those whose ids exist; returns the ids.

        Ids that are left out are made. All of it is stored, or nothing, whatever `batch_size`
        says, which LangChain's indexing gives.
        """
        if kwargs:
            raise TypeError(
                f"add_texts: unknown argument {next(iter(kwargs))!r}; there are metadatas, ids and batch_size"
            )
        texts = _strings("texts", texts)
        if metadatas is not None:
            metadatas = _items("metadatas", "dicts", metadatas)
            if len(metadatas) != len(texts):
                raise nf.InvalidArgument(
                    f"{len(metadatas)} metadatas for {len(texts)} texts; give one for each, {{}} for none"
                )
        rows = [_row(row, metadata) for row, metadata in enumerate(metadatas or [])]
        if ids is not None:
            given = _items("ids", "str", ids)
            ids = _strings("ids", [uuid.uuid4().hex if id is None else id for id in given])
            if len(ids) != len(texts):
                raise nf.InvalidArgument(
                    f"{len(ids)} ids for {len(texts)} texts; give one for each, None for one that is made"
                )
        if batch_size is not None and batch_size < 1:
            raise nf.InvalidArgument(f"batch_size is {batch_size}, expected 1 or more")
        if not texts:
            return []
        keep_types("text", rows, self._docs.schema["columns"])
        return self._docs.upsert_texts(texts, ids=ids, data=rows or None)

    def delete(self, ids: Sequence[str] | None = None, **kwargs: Any) -> bool:
        """Removes documents by their ids, those that a `filter` finds, or all of them. Ids that do not
        exist are passed over."""
        where = _where("delete", kwargs)
        if kwargs:
            raise TypeError(f"delete: unknown argument {next(iter(kwargs))!r}; there are ids and filter")
        if ids is not None and where is not None:
            raise TypeError("delete: expected ids or filter, given both")
        if ids is not None:
            self._docs.delete(_strings("ids", ids))
        elif where is not None:
            self._docs.delete(where=where)
        else:
            for records in self._docs.scan(select=[]):
                self._docs.delete(records.ids)
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """The documents that exist among `ids`, in that order."""
        rows = self._docs.get(_strings("ids", ids), select=_COLUMNS)
        return [_document(row["id"], row) for row in rows]

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """The `k` documents nearest to a text; by its words too, if `retrieval_mode` says so."""
        return [document for document, _ in self.similarity_search_with_score(query, k, **kwargs)]

    def similarity_search_with_score(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """As `similarity_search`, with the scores: bigger is better."""
        mode, kwargs = self._asked(query, kwargs)
        hits = self._search(k, kwargs, text=None if mode == "words" else query)
        return [(_document(hit.id, hit), hit.score) for hit in hits]

    def _similarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        relevance = self._relevance(kwargs)
        scored = self.similarity_search_with_score(query, k, **kwargs)
        return [(document, relevance(score)) for document, score in scored]

    async def _asimilarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        search = self._similarity_search_with_relevance_scores
        return await run_in_executor(None, search, query, k, **kwargs)

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, **kwargs: Any
    ) -> list[Document]:
        """The `k` documents nearest to a vector."""
        return [_document(hit.id, hit) for hit in self._search(k, kwargs, embedding)]

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        **kwargs: Any,
    ) -> list[Document]:
        """Of the `fetch_k` documents nearest to a text, `k` that differ from each other.

        `lambda_mult` is from 0, as different as can be, to 1, as near as can be. With the words of the query
        (`retrieval_mode`) the `fetch_k` are those of hybrid search.
        """
        _, kwargs = self._asked(query, kwargs)
        vector = self._embedding.embed_query(query)
        return self.max_marginal_relevance_search_by_vector(
            vector, k, fetch_k, lambda_mult, **kwargs
        )

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        **kwargs: Any,
    ) -> list[Document]:
        """As `max_marginal_relevance_search`, for a vector."""
        for name, number in [("k", k), ("fetch_k", fetch_k)]:
            if not isinstance(number, int) or number < 1:
                raise nf.InvalidArgument(f"{name} is {number!r}, expected a whole number from 1")
        if not 0 <= lambda_mult <= 1:
            raise nf.InvalidArgument(f"lambda_mult is {lambda_mult!r}, expected 0 to 1")
        hits = self._search(max(k, fetch_k), {"vectors": True, **kwargs}, embedding)
        if not len(hits):
            return []
        query = np.asarray(embedding, dtype=np.float32)
        vectors = list(np.asarray(hits.vectors, dtype=np.float32))
        chosen = maximal_marginal_relevance(query, vectors, lambda_mult=lambda_mult, k=k)
        return [_document(hits[index].id, hits[index]) for index in chosen]

    def _search(self, k: int, kwargs: dict[str, Any], q: Any = None, text: Any = None) -> nf.Hits:
        kwargs = dict(kwargs)
        kwargs.pop("retrieval_mode", None)
        where = _where("search", kwargs)
        return self._docs.search(q, k, text=text, where=where, select=_COLUMNS, **kwargs)

    def _asked(self, query: Any, kwargs: dict[str, Any]) -> tuple[RetrievalMode, dict[str, Any]]:
        """How a text is searched for, and the arguments of the search with its words, if they count."""
        if not isinstance(query, str):
            raise TypeError(f"query: expected str, given {type(query).__name__}")
        mode = _mode(kwargs.get("retrieval_mode", self._mode))
        kwargs = {name: value for name, value in kwargs.items() if name != "retrieval_mode"}
        if mode != "vector" and kwargs.get("words") is None:
            kwargs = {"plain": True, **kwargs, "words": query}
        return mode, kwargs

    def _relevance(self, kwargs: dict[str, Any]) -> Callable[[float], float]:
        """What makes relevance, from 0 to 1, of the scores of a search."""
        mode = _mode(kwargs.get("retrieval_mode", self._mode))
        if kwargs.get("rerank") is not None or kwargs.get("normalize") == "zscore":
            return _logistic
        if mode == "words":
            return lambda score: score / (1.0 + score)
        if mode == "vector" and kwargs.get("words") is None and not kwargs.get("sparse"):
            return self._select_relevance_score_fn()
        if kwargs.get("alpha") is not None:
            return lambda score: min(1.0, max(0.0, score))
        # First in both lists is the most that there is.
        rrf_k = kwargs.get("rrf_k")
        first = 1.0 / ((60.0 if rrf_k is None else rrf_k) + 1.0)
        return lambda score: min(1.0, score / (2.0 * first))

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> NearfieldVectorStore:
        """A store with these texts; `database=` and the like go to the constructor."""
        if "database" not in kwargs:
            raise TypeError("from_texts: expected database=, a path or an open database")
        store = cls(embedding, **kwargs)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        return _RELEVANCE[self._docs.schema["metric"]]


def _non_negative(score: float) -> float:
    return max(0.0, score)


def _reciprocal(score: float) -> float:
    return 1.0 / (1.0 - score)


def _logistic(score: float) -> float:
    return 0.5 + 0.5 * math.tanh(score / 2)


# From 0 to 1, of scores: the cosine, the negative squared distance, the inner product.
_RELEVANCE = {"cosine": _non_negative, "l2": _reciprocal, "dot": _logistic}


def _mode(mode: Any) -> RetrievalMode:
    for known in _MODES:
        if mode == known:
            return known
    raise nf.InvalidArgument(f"retrieval_mode is {mode!r}, expected one of {', '.join(map(repr, _MODES))}")


# What a document is made of, and names that mean the row itself.
_COLUMNS = ["text", "metadata"]
_RESERVED = {"id", "vector", "distance", "score", *_COLUMNS}


def _where(what: str, kwargs: dict[str, Any]) -> Any:
    """Takes the filter out of the arguments of a call."""
    given = [kwargs.pop(name) for name in ("filter", "where") if kwargs.get(name) is not None]
    kwargs.pop("filter", None)
    kwargs.pop("where", None)
    if len(given) == 2:
        raise TypeError(f"{what}: expected filter or where, which are the same, given both")
    where = given[0] if given else None
    if callable(where):
        raise TypeError(
            "filter: expected a dict, the text of a filter or a nearfield.Filter, given a function, which "
            "the database cannot look into"
        )
    return where


def _items(name: str, expected: str, values: Any) -> list[Any]:
    if isinstance(values, (str, bytes, dict)) or not hasattr(values, "__iter__"):
        raise TypeError(f"{name}: expected a list of {expected}, given {type(values).__name__}")
    return list(values)


def _strings(name: str, values: Any) -> list[str]:
    items = _items(name, "str", values)
    for row, item in enumerate(items):
        if not isinstance(item, str):
            raise TypeError(f"{name}: row {row}: expected str, given {type(item).__name__}")
    return items


def _row(row: int, metadata: Any) -> dict[str, Any]:
    """The columns of one document: its metadata as JSON, and what of it can be filtered by."""
    dumped = to_json(f"metadata of text {row}", metadata)
    columns = to_columns(json.loads(dumped))
    kept = {name: value for name, value in columns.items() if name not in _RESERVED}
    return {**kept, "metadata": dumped}


def _document(id: str, row: Any) -> Document:
    metadata = row["metadata"]
    return Document(
        id=id,
        page_content=row["text"] or "",
        metadata=json.loads(metadata) if metadata else {},
    )
