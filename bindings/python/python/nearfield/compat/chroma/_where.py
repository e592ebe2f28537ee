"""Filters of Chroma as filters of nearfield.

Chroma's `$ne`, `$nin` and `$not_contains` find records without the key too, and whole numbers are compared with floats. A
key that no record has is equal to nothing.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

import nearfield as nf
from nearfield.compat._errors import Unsupported
from nearfield.compat.chroma._columns import DOCUMENT, Columns, type_of

_NUMBERS = ("int64", "float64")
_COMPARED: dict[str, Callable[[nf.Column, Any], nf.Filter]] = {
    "$eq": operator.eq,
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
    "$in": lambda column, values: column.isin(values),
    "$contains": lambda column, value: column.has(value),
}
_OPPOSITES = {"$ne": "$eq", "$nin": "$in", "$not_contains": "$contains"}
_IN_DOCUMENTS = ("$contains", "$not_contains")
_JOINED = {"$and": operator.and_, "$or": operator.or_}


def filter_of(columns: Columns, ids: list[str] | None, where: Any, where_document: Any) -> nf.Filter | None:
    """The filter for records of these ids, metadata and documents; None for all of them."""
    conditions = []
    if where is not None:
        conditions.append(_metadata(columns, where))
    if where_document is not None:
        conditions.append(_document(where_document))
    if ids is not None:
        conditions.append(nf.col("id").isin(ids))
    return functools.reduce(operator.and_, conditions) if conditions else None


def _metadata(columns: Columns, where: Any) -> nf.Filter:
    key, value = _one("where", where)
    if key in _JOINED:
        parts = [_metadata(columns, part) for part in _parts("where", key, value)]
        return functools.reduce(_JOINED[key], parts)
    if key.startswith("$"):
        raise nf.InvalidArgument(
            f"Expected where key to be a metadata field name or a logical operator ($and, $or), got {key}"
        )
    if not isinstance(value, dict):
        if not isinstance(value, (str, int, float)):
            raise nf.InvalidArgument(
                f"Expected where value to be a str, int, float, or operator expression, got {value!r}"
            )
        return _condition(columns, key, "$eq", value)
    name, operand = _one("operator expression", value)
    if key == "#document":
        return _document(value)
    return _condition(columns, key, name, operand)


def _condition(columns: Columns, key: str, name: str, operand: Any) -> nf.Filter:
    positive = _OPPOSITES.get(name, name)
    _check(name, positive, operand)
    example = operand[0] if positive == "$in" else operand
    kind = type_of(example)
    types: tuple[str, ...] = _NUMBERS if kind in _NUMBERS else (kind,)
    if positive == "$contains":
        # Of lists there are those of str.
        types = ("list_utf8",) if kind == "utf8" else ()
    compare = _COMPARED[positive]
    found = [compare(nf.col(column), operand) for column in columns.having(key, *types)]
    if name == positive:
        return functools.reduce(operator.or_, found) if found else nf.Filter("FALSE")
    without = [~one | nf.col(column).is_null() for one, column in zip(found, columns.having(key, *types))]
    return functools.reduce(operator.and_, without) if without else nf.Filter("TRUE")


def _check(name: str, positive: str, operand: Any) -> None:
    if positive not in _COMPARED:
        names = ", ".join([*_COMPARED, *_OPPOSITES])
        raise nf.InvalidArgument(f"Expected where operator to be one of {names}, got {name}")
    expected = "a str, int, float or bool"
    fits = isinstance(operand, (str, int, float))
    if positive == "$in":
        expected = "a non-empty list of str, int, float or bool, all of one type,"
        fits = isinstance(operand, list) and operand != []
        fits = fits and all(isinstance(value, (str, int, float)) and isinstance(value, type(operand[0])) for value in operand)
    elif name in ("$gt", "$gte", "$lt", "$lte"):
        expected = "an int or a float"
        fits = isinstance(operand, (int, float)) and not isinstance(operand, bool)
    if not fits:
        raise nf.InvalidArgument(f"Expected operand value to be {expected} for operator {name}, got {operand!r}")


def _document(where: Any) -> nf.Filter:
    name, operand = _one("where document", where)
    if name in _JOINED:
        parts = [_document(part) for part in _parts("document", name, operand)]
        return functools.reduce(_JOINED[name], parts)
    if name in ("$regex", "$not_regex"):
        raise Unsupported(
            f"{name} is not covered: nearfield has no regular expressions in filters; $contains finds text, and "
            "collection.nearfield.search(where=nf.col('document').like('a_c%')) patterns"
        )
    if name not in _IN_DOCUMENTS:
        raise nf.InvalidArgument(
            f"Expected where document operator to be one of {', '.join([*_IN_DOCUMENTS, *_JOINED])}, got {name}"
        )
    if not isinstance(operand, str) or not operand:
        raise nf.InvalidArgument(f"Expected operand value for operator {name} to be a non-empty str, got {operand!r}")
    found = nf.col(DOCUMENT).contains(operand)
    return found if name == "$contains" else ~found | nf.col(DOCUMENT).is_null()


def _one(what: str, where: Any) -> tuple[str, Any]:
    if not isinstance(where, dict) or len(where) != 1:
        raise nf.InvalidArgument(f"Expected {what} to be a dict with exactly one operator, got {where!r}")
    key, value = next(iter(where.items()))
    if not isinstance(key, str):
        raise nf.InvalidArgument(f"Expected {what} key to be a str, got {key!r}")
    return key, value


def _parts(what: str, key: str, value: Any) -> list[Any]:
    if not isinstance(value, list) or len(value) < 2:
        raise nf.InvalidArgument(
            f"Expected {what} value for {key} to be a list with at least two expressions, got {value!r}"
        )
    return value
