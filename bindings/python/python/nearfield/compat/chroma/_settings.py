"""Names and configurations of collections."""

from __future__ import annotations

import re
from typing import Any, Literal

import nearfield as nf
from nearfield.compat._errors import Unsupported
from nearfield.compat.chroma.errors import InvalidArgumentError

METRICS: dict[str, Literal["l2", "cosine", "dot"]] = {"l2": "l2", "cosine": "cosine", "ip": "dot"}

_DEFAULTS: dict[str, Any] = {
    "space": "l2",
    "ef_construction": 100,
    "ef_search": 100,
    "max_neighbors": 16,
    "resize_factor": 1.2,
    "sync_threshold": 1000,
}
# In metadata, as earlier versions of Chroma had it.
_IN_METADATA = {
    "hnsw:space": "space",
    "hnsw:construction_ef": "ef_construction",
    "hnsw:search_ef": "ef_search",
    "hnsw:M": "max_neighbors",
    "hnsw:resize_factor": "resize_factor",
    "hnsw:sync_threshold": "sync_threshold",
}


def checked_name(name: Any) -> None:
    """Raises for what is no name of a collection."""
    if not isinstance(name, str) or not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9._-]{1,126}[a-zA-Z0-9]", name):
        raise InvalidArgumentError(
            "Expected a name containing 3-128 characters from [a-zA-Z0-9._-], starting and ending with a character in "
            f"[a-zA-Z0-9]. Got: {name!r}"
        )


def configured(metadata: dict[str, Any] | None, configuration: dict[str, Any] | None, default_space: str) -> dict[str, Any]:
    """The configuration of a new collection."""
    hnsw = {**_DEFAULTS, "space": default_space}
    for name, setting in _IN_METADATA.items():
        if metadata and name in metadata:
            hnsw[setting] = metadata[name]
    hnsw |= _given(configuration)
    if hnsw["space"] not in METRICS:
        raise InvalidArgumentError(f"unknown space {hnsw['space']!r}, expected one of l2, cosine, ip")
    _check(hnsw)
    return {"hnsw": hnsw, "spann": None, "embedding_function": None}


def reconfigured(before: dict[str, Any], configuration: dict[str, Any]) -> dict[str, Any]:
    """A configuration that is changed."""
    given = _given(configuration)
    if given.get("space", before["hnsw"]["space"]) != before["hnsw"]["space"]:
        raise InvalidArgumentError(
            "Changing the distance function of a collection once it is created is not supported; create another one"
        )
    hnsw = {**before["hnsw"], **given}
    _check(hnsw)
    return {**before, "hnsw": hnsw}


def _given(configuration: dict[str, Any] | None) -> dict[str, Any]:
    if configuration is None:
        return {}
    if not isinstance(configuration, dict):
        raise nf.InvalidArgument(f"configuration: expected a dict, given {type(configuration).__name__}")
    if configuration.get("spann") is not None:
        raise Unsupported("the index spann is not covered, it is that of Chroma Cloud; give hnsw or nothing")
    given = configuration.get("hnsw") or {}
    unknown = [name for name in given if name not in _DEFAULTS and name not in ("num_threads", "batch_size")]
    if unknown:
        raise InvalidArgumentError(f"configuration: unknown {unknown[0]!r} in hnsw, expected one of {', '.join(_DEFAULTS)}")
    return {name: value for name, value in given.items() if name in _DEFAULTS}


def _check(hnsw: dict[str, Any]) -> None:
    for name in ("ef_construction", "ef_search", "max_neighbors"):
        if isinstance(hnsw[name], bool) or not isinstance(hnsw[name], int) or hnsw[name] < 1:
            raise InvalidArgumentError(f"{name} is {hnsw[name]!r}, expected a whole number from 1")
