"""Payloads, which are JSON, as columns.

A name within a name is a column called by both, "a.b". A column has one type; numbers of both kinds are floats. What no
column holds, values of several types, lists of other than texts, lists of objects, is kept as text in JSON.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any

import nearfield as nf

RESERVED = ("id", "vector", "distance", "score")
# Levels of names within names.
_DEEP = 16
_JSON = "json"


def free_name(name: str, taken: Collection[str]) -> str:
    """A name that a column can have, as near to `name` as can be."""
    while name in RESERVED or name in taken:
        name += "_"
    return name


class Columns:
    """The columns of payloads, which are all looked at before any is stored."""

    def __init__(self, keys: Collection[str] | None, taken: Collection[str]) -> None:
        self._keys = keys
        self._taken = set(taken)
        self._kinds: dict[str, str | None] = {}
        self._names: dict[str, str] = {}

    def see(self, payload: dict[str, Any]) -> None:
        """One payload."""
        for path, value in self._parts(payload):
            kind, before = _kind(value), self._kinds.get(path)
            if kind is None or kind == before:
                self._kinds.setdefault(path, None)
            elif before is None:
                self._kinds[path] = kind
            else:
                self._kinds[path] = "float64" if {kind, before} == {"int64", "float64"} else _JSON

    def check(self) -> None:
        """Raises for a key that is to be taken and that no payload had."""
        there = {path.split(".")[0] for path in self._kinds} | set(self._kinds)
        for key in self._keys or []:
            if key not in there:
                raise nf.InvalidArgument(f"columns: no payload has {key!r}; leave it out, or all for what there is")

    def types(self) -> dict[str, str]:
        """The columns and their types."""
        for path in self._kinds:
            if path not in self._names:
                self._names[path] = free_name(path, self._taken)
                self._taken.add(self._names[path])
        return {self._names[path]: _column(kind) for path, kind in self._kinds.items() if kind is not None}

    def written(self, payloads: list[dict[str, Any]]) -> dict[str, list[Any]]:
        """Payloads as columns."""
        data: dict[str, list[Any]] = {name: [None] * len(payloads) for name in self.types()}
        for row, payload in enumerate(payloads):
            for path, value in self._parts(payload):
                if value is None:
                    continue
                kind = self._kinds.get(path)
                if kind is None or kind != _JSON and _kind(value) not in (kind, "int64" if kind == "float64" else kind):
                    raise nf.InvalidArgument(
                        f"the payload has {value!r:.80} under {path!r}, which was not there before: the source was written "
                        "to while it was read; do it again when nobody writes"
                    )
                data[self._names[path]][row] = _text(path, value) if kind == _JSON else value
        return data

    def notes(self) -> list[str]:
        """What is stored in another form."""
        return [
            f"{path} is stored as text in JSON: its values are of several types, or of one that no column has"
            for path, kind in self._kinds.items()
            if kind == _JSON
        ] + [f"{path} is stored as {name}" for path, name in self._names.items() if path != name]

    def _parts(self, payload: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        seen = set()
        for path, value in _flat("", payload, 0):
            if self._keys is not None and path not in self._keys and path.split(".")[0] not in self._keys:
                continue
            if path in seen:
                raise nf.InvalidArgument(
                    f"a payload has {path!r} twice, by a name with a dot and by a name within a name; leave it out by columns="
                )
            seen.add(path)
            yield path, value


def _flat(prefix: str, values: dict[str, Any], depth: int) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if not isinstance(key, str):
            raise nf.InvalidArgument(f"a payload has the key {key!r:.80}, expected a text")
        if isinstance(value, dict) and depth < _DEEP:
            if value:
                yield from _flat(f"{prefix}{key}.", value, depth + 1)
            else:
                yield prefix + key, None
        else:
            yield prefix + key, value


def _kind(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return "list_utf8"
    if type(value) is int and not -(2**63) <= value < 2**63:
        return _JSON
    return {bool: "bool", int: "int64", float: "float64", str: "utf8"}.get(type(value), _JSON)


def _column(kind: str) -> str:
    return "utf8" if kind == _JSON else kind


def _text(path: str, value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (ValueError, TypeError, RecursionError) as error:
        raise nf.InvalidArgument(f"a payload has a value under {path!r} that is no JSON: {error}") from error
