"""Metadata in columns, as every adapter keeps it.

All of it is JSON in one column, which keeps any nesting as it is; tuples come back as lists, and keys as str. What
can be filtered by is in columns of its own as well: each value that is a bool, a whole number of 64 bits, a float,
a str or a list of str, under its key (`{"a": {"b": 1}}` is 1 under "a.b"), behind the adapter's prefix if it has
one. The first value of a key says the type of its column. Values of another type are in the JSON alone, where no
filter finds them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

import nearfield as nf

_MAX_NAME_BYTES = 256


def to_json(what: str, metadata: Any) -> str:
    """Metadata as JSON; `what` says in errors whose it is."""
    if not isinstance(metadata, dict):
        raise TypeError(f"{what}: expected a dict, given {type(metadata).__name__}")
    try:
        return json.dumps(metadata, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise nf.InvalidArgument(
            f"{what} is not JSON ({error}); use str, numbers, bool, None, lists and dicts of them"
        ) from error


def to_columns(metadata: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """What of metadata, as JSON has it, can be filtered by."""
    columns: dict[str, Any] = {}
    for key, value in metadata.items():
        name = prefix + key
        if isinstance(value, dict):
            columns.update(to_columns(value, name + "."))
        elif _can_be_named(name) and _can_be_filtered(value):
            columns[name] = value
    return columns


def _can_be_named(name: str) -> bool:
    return 0 < len(name.encode(errors="surrogatepass")) <= _MAX_NAME_BYTES and "\0" not in name


def _can_be_filtered(value: Any) -> bool:
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    if isinstance(value, list):
        return bool(value) and all(isinstance(item, str) for item in value)
    return isinstance(value, (float, str))


# Types of columns by those of values.
_TYPES: dict[type, str] = {bool: "bool", int: "int64", float: "float64", str: "utf8", list: "list_utf8"}
_NUMBERS = {"int64", "float64"}
_WHOLE = 2.0**53


def keep_types(what: str, rows: list[dict[str, Any]], columns: Mapping[str, str]) -> None:
    """Makes null in rows what is of another type than its column, which new keys get by their first value.

    `what` says what the rows are: "text" in "metadata of text 3".
    """
    types = dict(columns)
    for row in rows:
        for name, value in row.items():
            if value is not None:
                given = _TYPES[type(value)]
                first = types.setdefault(name, given)
                if name not in columns and {first, given} <= _NUMBERS and given == "float64":
                    types[name] = given
    odd = set()
    for number, row in enumerate(rows):
        for name, value in row.items():
            if value is None:
                continue
            wanted, given = types[name], _TYPES[type(value)]
            if wanted == "int64" and given == "float64":
                if not (value.is_integer() and abs(value) < _WHOLE):
                    raise nf.SchemaMismatch(
                        f"metadata of {what} {number}: {name!r} is {value!r}, and whole numbers in earlier {what}s; "
                        f"give the numbers of a key as floats from the first {what} on, or use another key"
                    )
                row[name] = int(value)
            elif wanted != given and {wanted, given} != _NUMBERS and wanted in _TYPES.values():
                row[name] = None
                odd.add(name)
    if odd:
        logging.getLogger("nearfield").warning(
            "metadata: values of %s are of another type than the first ones; they are kept, but no filter finds "
            "%ss by them",
            ", ".join(map(repr, sorted(odd))),
            what,
        )
