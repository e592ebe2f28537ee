"""Records as they are given: ids, embeddings, documents, metadata, URIs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

import nearfield as nf
from nearfield.compat._errors import Unsupported
from nearfield.compat._rows import Array
from nearfield.compat.chroma.errors import (
    DuplicateIDError,
    InvalidArgumentError,
    InvalidDimensionException,
    InvalidNumber,
)

_SCALARS = (str, int, float, bool)


@dataclass
class Records:
    """Rows that were given; what was left out is None."""

    ids: list[str]
    embeddings: Array | None
    documents: list[str | None] | None
    metadatas: list[dict[str, Any] | None] | None
    uris: list[str | None] | None

    @classmethod
    def of(cls, ids: Any, embeddings: Any, documents: Any, metadatas: Any, uris: Any, images: Any = None) -> Records:
        """Checks what was given and makes lists of what is one alone."""
        if images is not None:
            raise Unsupported("images are not covered: make embeddings of them and give those")
        records = cls(
            ids_of(ids),
            None if embeddings is None else embeddings_of(embeddings),
            _texts("documents", documents),
            _metadatas(metadatas),
            _texts("uris", uris),
        )
        lengths = {name: len(given) for name, given in vars(records).items() if given is not None}
        if len(set(lengths.values())) > 1:
            said = ", ".join(f"{name}: {length}" for name, length in lengths.items())
            raise nf.InvalidArgument(f"Unequal lengths for fields: {said}; give one of each for each record")
        return records

    def take(self, rows: list[int]) -> Records:
        """Some of the rows."""
        return Records(
            [self.ids[row] for row in rows],
            None if self.embeddings is None else self.embeddings[rows],
            None if self.documents is None else [self.documents[row] for row in rows],
            None if self.metadatas is None else [self.metadatas[row] for row in rows],
            None if self.uris is None else [self.uris[row] for row in rows],
        )

    def texts(self) -> list[str]:
        """The documents to make embeddings of."""
        if self.documents is None:
            raise nf.InvalidArgument("give embeddings, or documents to make them of")
        texts = [document for document in self.documents if document is not None]
        if len(texts) < len(self.documents):
            row = self.documents.index(None)
            raise nf.InvalidArgument(f"document {row} is None, expected a str to make an embedding of")
        return texts


def one_or_many(given: Any) -> Any:
    """A list of what is one alone."""
    return given if given is None or isinstance(given, list) else [given]


def ids_of(given: Any) -> list[str]:
    """Ids, which are str and there once."""
    ids: list[str] = one_or_many(given)
    if not ids:
        raise nf.InvalidArgument(f"Expected IDs to be a non-empty list, got {given!r}")
    for id in ids:
        if not isinstance(id, str):
            raise nf.InvalidArgument(f"Expected ID to be a str, got {id!r}")
        if not id:
            raise InvalidArgumentError("Empty ID, ID must have at least one character")
    if len(set(ids)) < len(ids):
        twice = sorted(id for id, count in Counter(ids).items() if count > 1)
        error = DuplicateIDError(f"Expected IDs to be unique, found duplicates of: {', '.join(twice[:10])}")
        error.ids = twice[:100]
        raise error
    return ids


def embeddings_of(given: Any) -> Array:
    """Embeddings as rows of float32."""
    if not isinstance(given, (list, tuple, np.ndarray)) or len(given) == 0:
        raise nf.InvalidArgument(f"Expected Embeddings to be non-empty list or numpy array, got {given!r}")
    lengths = sorted({len(row) for row in given if hasattr(row, "__len__")})
    if len(lengths) > 1:
        raise InvalidArgumentError(
            f"Inconsistent dimensions in provided embeddings: {', '.join(map(str, lengths))}; expected one"
        )
    array = np.asarray(given)
    if array.ndim not in (1, 2) or array.dtype.kind not in "iuf" or array.size == 0:
        raise nf.InvalidArgument(
            "Expected embeddings to be a list of floats or ints, a list of lists, a numpy array, or a list of numpy "
            f"arrays, got {array.dtype} of shape {array.shape}"
        )
    with np.errstate(over="ignore"):  # What overflows is infinite, and refused as that.
        vectors = np.atleast_2d(array).astype(np.float32)
    bad = ~np.isfinite(vectors)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise InvalidArgumentError(
            f"Embeddings must not contain NaN or Infinity values: embedding {row} has one at {column}"
        )
    return vectors


def dimension_error(expected: int, given: int) -> InvalidDimensionException:
    """Embeddings of another dimension."""
    error = InvalidDimensionException(
        f"Collection expecting embedding with dimension of {expected}, got {given}; use the model that the others were "
        "made with"
    )
    error.expected, error.given, error.row = expected, given, 0
    return error


def count_of(name: str, given: Any, least: int) -> int:
    """A whole number."""
    if isinstance(given, bool) or not isinstance(given, (int, np.integer)):
        raise nf.InvalidArgument(f"Expected {name} to be an int, got {given!r}")
    if given < least:
        raise InvalidNumber(f"{name} is {given}, expected {least} or more")
    return int(given)


def metadata_of(given: Any) -> dict[str, Any] | None:
    """The metadata of a record or collection: str, whole numbers, floats, bools and lists of str by their names."""
    if given is None:
        return None
    if not isinstance(given, dict):
        raise nf.InvalidArgument(f"Expected metadata to be a dict or None, got {type(given).__name__}")
    if not given:
        raise nf.InvalidArgument("Expected metadata to be a non-empty dict, got {}; None means no metadata")
    for key, value in given.items():
        if not isinstance(key, str):
            raise TypeError(f"Expected metadata key to be a str, got {key!r}")
        if isinstance(value, list):
            if not value:
                raise nf.InvalidArgument(f"Expected metadata list value for key {key!r} to be non-empty")
            if not all(isinstance(item, str) for item in value):
                raise Unsupported(f"metadata {key!r} is {value!r}: lists of str are covered, make str of its values")
        elif value is not None and not isinstance(value, _SCALARS):
            raise nf.InvalidArgument(
                f"Expected metadata value to be a str, int, float, bool, list of str, or None, got {value!r} for {key!r}"
            )
    return dict(given)


def _texts(name: str, given: Any) -> list[str | None] | None:
    texts: list[str | None] | None = one_or_many(given)
    for row, text in enumerate(texts or []):
        if text is not None and not isinstance(text, str):
            raise nf.InvalidArgument(f"{name}: expected str, got {text!r} at {row}")
    return texts


def _metadatas(given: Any) -> list[dict[str, Any] | None] | None:
    metadatas = one_or_many(given)
    return None if metadatas is None else [metadata_of(metadata) for metadata in metadatas]
