"""A vector store for LangChain: `NearfieldVectorStore`.

Needs `langchain-core`. Documents are rows of a collection with string ids: their text in the column
"text", their metadata as JSON in the column "metadata", which keeps any nesting as it is.

    from nearfield.integrations.langchain import NearfieldVectorStore

    store = NearfieldVectorStore(embeddings, "my.nf")
    store.add_texts(["the cat sat", "on the mat"], metadatas=[{"page": 1}, {"page": 2}])
    store.similarity_search("feline", k=1)
    retriever = store.as_retriever(search_type="mmr")
"""

from __future__ import annotations

import json
import math
import os
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

try:
    from langchain_core.documents import Document
    from langchain_core.vectorstores import VectorStore
    from langchain_core.vectorstores.utils import maximal_marginal_relevance
except ImportError as error:
    raise ImportError(
        "nearfield.integrations.langchain needs langchain-core: pip install langchain-core"
    ) from error

import nearfield as nf

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

__all__ = ["NearfieldVectorStore"]


class NearfieldVectorStore(VectorStore):
    """Documents in a collection of a nearfield database.

    `database` is an open `nearfield.Database`, or the path of one, which is then opened (and closed
    by `close()`). `model` is the name that the collection remembers for `embedding`, by default its
    `model`, `model_name` or class; opening it again with another one raises `SchemaMismatch`. `dim`
    saves the embedding of one word that otherwise tells the dimension.

    Scores are nearfield's: bigger is better, for "cosine" the cosine itself. More arguments of a
    search go to `Collection.search`, such as `ef`, `exact` and `max_distance`. The asynchronous
    methods do the same in threads.
    """

    def __init__(
        self,
        embedding: Embeddings,
        database: nf.Database | str | os.PathLike[str],
        collection_name: str = "langchain",
        *,
        metric: str = "cosine",
        model: str | None = None,
        dim: int | None = None,
    ) -> None:
        self._embedding = embedding
        embedder = nf.Embedder.of(embedding)
        embedder = nf.Embedder(
            embedder.embed_documents,
            model or embedder.model,
            dim,
            queries=embedder.embed_queries,
        )
        owned = not isinstance(database, nf.Database)
        self._database = nf.open(database) if owned else database
        self._owned = owned
        try:
            self._docs = self._database.collection(
                collection_name,
                metric=metric,
                text="text",
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
        """Closes the database if it was opened here."""
        if self._owned:
            self._database.close()

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int | None = None,
    ) -> list[str]:
        """Embeds and stores texts, replacing those whose ids exist; returns the ids.

        Ids that are left out are made. All of it is stored, or nothing, whatever `batch_size`
        says, which LangChain's indexing gives.
        """
        texts = list(texts)
        if metadatas is not None and len(metadatas) != len(texts):
            raise nf.InvalidArgument(f"{len(metadatas)} metadatas for {len(texts)} texts")
        metadata = [_dump(row, metadata) for row, metadata in enumerate(metadatas or [])]
        if ids is not None:
            ids = [uuid.uuid4().hex if id is None else id for id in ids]
        return self._docs.upsert_texts(
            texts, ids=ids, data={"metadata": metadata} if metadatas is not None else None
        )

    def delete(self, ids: Sequence[str] | None = None, **_kwargs: Any) -> bool:
        """Removes documents by their ids, or all of them. Ids that do not exist are passed over."""
        if ids is not None:
            self._docs.delete(list(ids))
            return True
        for records in self._docs.scan(select=[]):
            self._docs.delete(records.ids)
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """The documents that exist among `ids`, in that order."""
        return [_document(row["id"], row) for row in self._docs.get(list(ids))]

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """The `k` documents nearest to a text."""
        return [document for document, _ in self.similarity_search_with_score(query, k, **kwargs)]

    def similarity_search_with_score(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """The `k` documents nearest to a text, with their scores: bigger is better."""
        hits = self._docs.search(text=query, k=k, **kwargs)
        return [(_document(hit.id, hit), hit.score) for hit in hits]

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, **kwargs: Any
    ) -> list[Document]:
        """The `k` documents nearest to a vector."""
        return [_document(hit.id, hit) for hit in self._docs.search(embedding, k, **kwargs)]

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        **kwargs: Any,
    ) -> list[Document]:
        """Of the `fetch_k` documents nearest to a text, `k` that differ from each other.

        `lambda_mult` is from 0, as different as can be, to 1, as near as can be.
        """
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
        hits = self._docs.search(embedding, max(k, fetch_k), vectors=True, **kwargs)
        if not len(hits):
            return []
        query = np.asarray(embedding, dtype=np.float32)
        vectors = list(np.asarray(hits.vectors, dtype=np.float32))
        chosen = maximal_marginal_relevance(query, vectors, lambda_mult=lambda_mult, k=k)
        return [_document(hits[index].id, hits[index]) for index in chosen]

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


def _dump(row: int, metadata: dict[str, Any]) -> str:
    try:
        return json.dumps(metadata, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise nf.InvalidArgument(
            f"metadata of text {row} is not JSON ({error}); use str, numbers, bool, None, lists "
            "and dicts of them"
        ) from error


def _document(id: str, row: Any) -> Document:
    metadata = row["metadata"]
    return Document(
        id=id,
        page_content=row["text"] or "",
        metadata=json.loads(metadata) if metadata else {},
    )
