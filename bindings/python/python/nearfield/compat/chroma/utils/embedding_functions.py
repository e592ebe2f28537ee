"""Embedding functions by their names in Chroma, of `nearfield.embed`.

    from nearfield.compat.chroma.utils import embedding_functions
"""

from __future__ import annotations

from typing import Any, NoReturn

import nearfield as nf
from nearfield import embed
from nearfield.compat._errors import Absent, Unsupported
from nearfield.compat.chroma._embedding import MISSING

__all__ = ["DefaultEmbeddingFunction", "OpenAIEmbeddingFunction", "SentenceTransformerEmbeddingFunction"]


class _EmbeddingFunction:
    _embedder: nf.Embedder

    def __call__(self, input: list[str]) -> Any:
        return self._embedder.embed_documents(input)

    def embed_query(self, input: list[str]) -> Any:
        """Embeddings of what is searched for."""
        return self._embedder.embed_queries(input)


class SentenceTransformerEmbeddingFunction(_EmbeddingFunction):
    """Embeddings by the package sentence-transformers; more arguments go to its model."""

    def __init__(
        self,
        model_name: str = "all-MiniLM-L6-v2",
        device: str = "cpu",
        normalize_embeddings: bool = False,
        **kwargs: Any,
    ) -> None:
        module = embed._package("sentence_transformers")
        model = module.SentenceTransformer(model_name, device=device, **kwargs)
        self._embedder = embed.sentence_transformers(model, name=model_name, normalize_embeddings=normalize_embeddings)

    @staticmethod
    def name() -> str:
        """Its name in Chroma."""
        return "sentence_transformer"


class OpenAIEmbeddingFunction(_EmbeddingFunction):
    """Embeddings by a service that speaks OpenAI's protocol."""

    def __init__(
        self,
        api_key: str | None = None,
        model_name: str = "text-embedding-ada-002",
        api_base: str | None = None,
        dimensions: int | None = None,
    ) -> None:
        client = embed._package("openai").OpenAI(api_key=api_key, base_url=api_base)
        self._embedder = embed.openai(model_name, client=client, dimensions=dimensions)

    @staticmethod
    def name() -> str:
        """Its name in Chroma."""
        return "openai"


def DefaultEmbeddingFunction() -> NoReturn:
    """Not covered."""
    raise Unsupported(MISSING)


def __getattr__(name: str) -> Any:
    raise Absent(
        f"nearfield.compat.chroma.utils.embedding_functions has no {name!r}: any function of a list of texts will do, those of "
        "chromadb itself too, and nearfield.embed has adapters"
    )
