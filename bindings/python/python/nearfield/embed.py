"""Vectors of texts: the `Embedder`, and small adapters for libraries that make them.

A collection opened with an embedder takes texts. It remembers the name of the model and the
dimension, never the function: give the embedder at each opening.

>>> import nearfield as nf
>>> def vowels(texts):
...     return [[text.count(vowel) for vowel in "aeiou"] for text in texts]
>>> fruit = db.collection("fruit", embed=vowels, text="name")
>>> fruit.add_texts(["banana", "cherry", "kiwi"])
[1, 2, 3]
>>> fruit.search(text="papaya", k=1)[0]["name"], fruit.model
('banana', 'vowels')

The adapters import their library when they are called, and not before.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from nearfield._errors import InvalidArgument

__all__ = ["Embedder", "Embeds", "Function", "model2vec", "openai", "sentence_transformers"]

Function: TypeAlias = Callable[[list[str]], Any]
"""Takes a list of texts, returns an array or list with a vector for each."""

_PROBE = "nearfield"
# Names of functions that say nothing of a model.
_GENERIC = {"encode", "embed_documents", "embed_query", "forward", "__call__"}


class Embedder:
    """Makes vectors of texts: a function, the name of its model, the dimension of its vectors.

    `embed` takes a list of str and returns a vector for each: an array of shape (texts, dim), or
    lists of numbers. `model` is what collections remember: change it whenever equal texts may get
    other vectors; left out, it is the function's `__name__`, unless that is one like `encode`. `dim` left out is found by embedding
    one word when it is first needed. `queries` is another function, for texts that are searched
    for, as some models want it. Embedders are not pickled.

    Raises `InvalidArgument` for a function whose name tells no model, `TypeError` for what is no function.

    >>> import nearfield as nf
    >>> lengths = nf.Embedder(lambda texts: [[len(text)] for text in texts], model="lengths")
    >>> lengths, lengths.dim
    (Embedder('lengths'), 1)
    """

    def __init__(
        self,
        embed: Function,
        model: str | None = None,
        dim: int | None = None,
        *,
        queries: Function | None = None,
    ) -> None:
        if not callable(embed) or not (queries is None or callable(queries)):
            given = type(queries if callable(embed) else embed).__name__
            raise TypeError(f"Embedder: expected a function of a list of texts, given {given}")
        if model is None:
            model = getattr(embed, "__name__", None)
            # Of every model's method the name is the same: it would tell nothing.
            model = None if model in _GENERIC else model
        if not isinstance(model, str) or model in ("", "<lambda>"):
            raise InvalidArgument(
                "an embedder needs the name of its model, which collections remember: give "
                "nearfield.Embedder(function, model='…')"
            )
        self._embed = embed
        self._queries = queries
        self._model = model
        self._dim = dim

    @classmethod
    def of(cls, embed: Embeds) -> Embedder:
        """`embed` itself if it is one, else the embedder of a function, or of an object with
        `embed_documents` and `embed_query` as LangChain's embeddings have them."""
        if isinstance(embed, cls):
            return embed
        documents = getattr(embed, "embed_documents", None)
        query = getattr(embed, "embed_query", None)
        if callable(documents) and callable(query):
            name = getattr(embed, "model", None) or getattr(embed, "model_name", None)
            model = name if isinstance(name, str) else type(embed).__name__
            return cls(documents, model, queries=lambda texts: [query(text) for text in texts])
        if not callable(embed):
            given = type(embed).__name__
            raise TypeError(f"embed: expected an Embedder or a function, given {given}")
        return cls(embed)

    @property
    def model(self) -> str:
        """Name of the model."""
        return self._model

    @property
    def dim(self) -> int:
        """Numbers in a vector."""
        if self._dim is None:
            self._dim = _dimension(self._model, self._embed([_PROBE]))
        return self._dim

    def embed_documents(self, texts: list[str]) -> Any:
        """The vectors of texts that are stored."""
        return self._embed(texts)

    def embed_queries(self, texts: list[str]) -> Any:
        """The vectors of texts that are searched for."""
        return (self._queries or self._embed)(texts)

    def __reduce__(self) -> Any:
        raise TypeError(
            f"{self!r} is not pickled: a model belongs to its process; make it again in the other one and "
            "open the collection there with embed="
        )

    def __repr__(self) -> str:
        return f"Embedder({self._model!r})"


Embeds: TypeAlias = Embedder | Function | Any
"""What may be given as `embed`: an `Embedder`, a function, or embeddings of LangChain."""


def _dimension(model: str, vectors: Any) -> int:
    """Numbers in the vector that was returned for one text."""
    # Nine tenths of what importing nearfield took, and whoever gives arrays has it already.
    import numpy as np

    try:
        shape = np.shape(vectors)
    except ValueError:
        shape = ()
    if len(shape) == 2 and shape[0] != 1:
        raise InvalidArgument(f'embedder "{model}" was given 1 text and returned {shape[0]} vectors; expected 1 vector')
    if len(shape) not in (1, 2) or shape[-1] == 0:
        given = f"an array of shape {shape}" if shape else type(vectors).__name__
        raise InvalidArgument(
            f'embedder "{model}" was given 1 text and returned {given}; expected a list or array with one vector'
        )
    return int(shape[-1])


def _package(name: str) -> Any:
    """A package that nearfield works without."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        wanted = name.replace("_", "-")
        message = f"this embedder needs the package {wanted}: pip install {wanted}"
        raise ModuleNotFoundError(message, name=name) from error


def _path_and_name(model: str | os.PathLike[str], name: str | None) -> tuple[str, str]:
    """The name or folder of a model, and what it is remembered as."""
    path = os.fspath(model)
    if name is None:
        name = os.path.basename(os.path.abspath(path)) if os.path.isdir(path) else path
    return path, name


def sentence_transformers(model: Any, *, name: str | None = None, **encode: Any) -> Embedder:
    """An embedder by the package sentence-transformers.

    `model` is a name, the path of a folder, or a `SentenceTransformer`. `name` is what collections
    remember: by default the model's name, or that of its folder. Models that tell documents from
    queries are asked accordingly. More arguments go to `encode`, such as `batch_size=64`.
    """
    if isinstance(model, (str, os.PathLike)):
        path, name = _path_and_name(model, name)
        model = _package("sentence_transformers").SentenceTransformer(path)
    if name is None:
        raise InvalidArgument("give name=: what is this model to be remembered as?")
    arguments = {"show_progress_bar": False, "convert_to_numpy": True, **encode}
    documents = getattr(model, "encode_document", model.encode)
    queries = getattr(model, "encode_query", model.encode)
    dimension = getattr(model, "get_embedding_dimension", None)
    dimension = dimension or model.get_sentence_embedding_dimension
    return Embedder(
        lambda texts: documents(texts, **arguments),
        name,
        dimension(),
        queries=lambda texts: queries(texts, **arguments),
    )


def model2vec(model: Any, *, name: str | None = None, **encode: Any) -> Embedder:
    """An embedder by the package model2vec: static vectors of words, fast and small.

    `model` is a name, the path of a folder, or a `StaticModel`. `name` is what collections
    remember: by default the model's name, or that of its folder. More arguments go to `encode`.
    """
    if isinstance(model, (str, os.PathLike)):
        path, name = _path_and_name(model, name)
        model = _package("model2vec").StaticModel.from_pretrained(path)
    if name is None:
        raise InvalidArgument("give name=: what is this model to be remembered as?")
    return Embedder(lambda texts: model.encode(texts, **encode), name, model.dim)


def openai(
    model: str,
    *,
    client: Any = None,
    dimensions: int | None = None,
    batch_size: int = 256,
    **create: Any,
) -> Embedder:
    """An embedder by any service that speaks OpenAI's protocol.

    `client` is an `openai.OpenAI`, made with its own defaults if it is left out: give one with
    `base_url=` for other services. `dimensions` asks the service for shorter vectors; left out, the
    dimension is found by embedding one word. At most `batch_size` texts go into one request. More
    arguments go to `client.embeddings.create`.
    """
    if batch_size < 1:
        raise InvalidArgument(f"batch_size is {batch_size}, expected 1 or more")
    if client is None:
        client = _package("openai").OpenAI()
    if dimensions is not None:
        create = {"dimensions": dimensions, **create}

    def embed(texts: Sequence[str]) -> list[list[float]]:
        vectors: list[list[float]] = []
        for start in range(0, len(texts), batch_size):
            batch = list(texts[start : start + batch_size])
            answer = client.embeddings.create(model=model, input=batch, **create)
            ordered = sorted(answer.data, key=lambda item: item.index)
            vectors.extend(item.embedding for item in ordered)
        return vectors

    return Embedder(embed, model, dimensions)
