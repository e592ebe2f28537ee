"""Embedding functions, in the forms in which they are given."""

from __future__ import annotations

from typing import Any

import numpy as np

import nearfield as nf
from nearfield.compat._rows import Array
from nearfield.compat.chroma._records import embeddings_of

MISSING = (
    "the collection has no embedding function, and Chroma's default, a model that is downloaded, is not part of nearfield; "
    "give embedding_function= to create_collection and get_collection: "
    "nearfield.embed.sentence_transformers('all-MiniLM-L6-v2') makes the same vectors, any function of a list of texts "
    "will do; or give the embeddings themselves"
)


class Embedding:
    """A function of texts, and the name of its model if it has one."""

    def __init__(self, given: Any) -> None:
        if not isinstance(given, nf.Embedder) and not callable(given):
            # Embeddings of LangChain and what else nearfield takes; raises for anything else.
            given = nf.Embedder.of(given)
        self.given = given
        self.name = _name(given)

    def documents(self, texts: list[str]) -> Array:
        """The vectors of texts that are stored."""
        embed = self.given.embed_documents if isinstance(self.given, nf.Embedder) else self.given
        return self._checked(embed(texts), len(texts))

    def queries(self, texts: list[str]) -> Array:
        """The vectors of texts that are searched for."""
        if isinstance(self.given, nf.Embedder):
            return self._checked(self.given.embed_queries(texts), len(texts))
        embed = getattr(self.given, "embed_query", self.given)
        return self._checked(embed(texts), len(texts))

    def _checked(self, vectors: Any, texts: int) -> Array:
        found = embeddings_of(vectors if isinstance(vectors, list) else np.asarray(vectors))
        if len(found) != texts:
            raise nf.InvalidArgument(
                f"the embedding function {self.name or self.given!r} was given {texts} texts and returned {len(found)} "
                "vectors; expected one for each"
            )
        return found


def _name(given: Any) -> str | None:
    """The name of a model, where it is said."""
    name: Any = given.model if isinstance(given, nf.Embedder) else getattr(given, "name", None)
    said = name() if callable(name) else name
    return said if isinstance(said, str) else None
