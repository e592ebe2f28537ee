"""Metadata in columns.

A key of metadata is a column of the type of its values. Keys may have values of several types: the first has the column
called like the key, others have one with the type behind it, as `page#float`. So has what would be mistaken for
something else: `id`, `score`, and keys that end like that themselves.
"""

from __future__ import annotations

from typing import Any

# Columns of a record that are not metadata. Records are given in the order of `added`.
DOCUMENT, URI, ADDED = "document", "uri", "added"

_RESERVED = {"", "id", "vector", "distance", "score", DOCUMENT, URI, ADDED}
_TYPES: dict[type, str] = {bool: "bool", int: "int64", float: "float64", str: "utf8", list: "list_utf8"}
_SUFFIXES = {"bool": "#bool", "int64": "#int", "float64": "#float", "utf8": "#str", "list_utf8": "#list"}


def type_of(value: Any) -> str:
    """The type of the column of a value."""
    return next(_TYPES[kind] for kind in _TYPES if isinstance(value, kind))


class Columns:
    """The columns of a collection, by name and type."""

    def __init__(self, columns: dict[str, str]) -> None:
        self._types = dict(columns)

    def of(self, key: str, type: str) -> str:
        """The column for values of this type of a key, which is there from now on."""
        plain = _is_plain(key) and self._types.get(key, type) == type
        name = key if plain else key + _SUFFIXES[type]
        self._types[name] = type
        return name

    def having(self, key: str, *types: str) -> list[str]:
        """The columns there are for values of these types of a key."""
        names = [key] if _is_plain(key) else []
        names += [key + _SUFFIXES[type] for type in types]
        return [name for name in names if self._types.get(name) in types]

    def written(self, metadatas: list[dict[str, Any]]) -> dict[str, list[Any]]:
        """Rows of metadata as columns, null where a row has no value."""
        data: dict[str, list[Any]] = {}
        for row, metadata in enumerate(metadatas):
            for key, value in metadata.items():
                if value is not None:
                    column = data.setdefault(self.of(key, type_of(value)), [None] * len(metadatas))
                    column[row] = value
        return data

    def has(self, name: str) -> bool:
        """Whether a column is one of metadata."""
        return name not in _RESERVED and self._types.get(name) in _SUFFIXES

    def read(self, row: dict[str, Any]) -> dict[str, Any] | None:
        """The metadata of a row; None if it has none."""
        metadata = {
            self._key(name): value
            for name, value in row.items()
            if value is not None and self.has(name)
        }
        return metadata or None

    def _key(self, name: str) -> str:
        return name.removesuffix(_SUFFIXES[self._types[name]])


def _is_plain(key: str) -> bool:
    return key not in _RESERVED and not key.endswith(tuple(_SUFFIXES.values()))
