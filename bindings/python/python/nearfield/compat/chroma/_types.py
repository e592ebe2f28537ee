"""Names of types that programs for Chroma use, and what they give and get."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, Literal, TypeAlias, TypedDict, TypeVar

import numpy as np
import numpy.typing as npt

ID: TypeAlias = str
IDs: TypeAlias = list[str]
Document: TypeAlias = str
Documents: TypeAlias = list[str]
URI: TypeAlias = str
URIs: TypeAlias = list[str]
Embedding: TypeAlias = Sequence[float] | npt.NDArray[Any]
Embeddings: TypeAlias = Sequence[Embedding] | npt.NDArray[Any]
Metadata: TypeAlias = Mapping[str, str | int | float | bool | list[str] | None]
Metadatas: TypeAlias = Sequence[Metadata | None]
CollectionMetadata: TypeAlias = dict[str, Any]
Where: TypeAlias = Mapping[str, Any]
WhereDocument: TypeAlias = Mapping[str, Any]
Include: TypeAlias = Sequence[Literal["documents", "embeddings", "metadatas", "distances", "uris", "data"]]

_Input = TypeVar("_Input")


class GetResult(TypedDict):
    """Records, a list for each part that was to be included, None for the others."""

    ids: list[str]
    embeddings: npt.NDArray[np.float64] | None
    documents: list[str | None] | None
    uris: list[str | None] | None
    included: list[str]
    data: None
    metadatas: list[dict[str, Any] | None] | None


class QueryResult(TypedDict):
    """For each query a list of records, nearest first."""

    ids: list[list[str]]
    embeddings: list[npt.NDArray[np.float64]] | None
    documents: list[list[str | None]] | None
    uris: list[list[str | None]] | None
    included: list[str]
    data: None
    metadatas: list[list[dict[str, Any] | None]] | None
    distances: list[list[float]] | None


class DeleteResult(TypedDict):
    """How many records were deleted."""

    deleted: int


class EmbeddingFunction(Generic[_Input]):
    """Base of functions that make embeddings of documents: `__call__` takes a list of them. Nothing needs to derive
    from it, any such function will do."""

    def __call__(self, input: _Input) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no __call__, which makes an embedding of each document")

    def embed_query(self, input: _Input) -> Any:
        """Embeddings of what is searched for."""
        return self(input)
