"""Filters of frameworks in terms of nearfield's.

Frameworks know true and false only: what a document lacks equals nothing, and a negation finds it. Conditions
here are never unknown, as those on null are, so that `~` means their opposite.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Any

import nearfield as nf

ALL = nf.Filter("TRUE")
NONE = nf.Filter("FALSE")
SIGNS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}


def error(message: str) -> nf.FilterError:
    """A `FilterError` that points at no place in a text."""
    made = nf.FilterError(f"filter: {message}")
    made.position, made.hint = None, ""
    return made


def every(conditions: Iterable[nf.Filter]) -> nf.Filter:
    """All of them; at least one is given."""
    return reduce(operator.and_, conditions)


def some(conditions: Iterable[nf.Filter]) -> nf.Filter:
    """Any of them; at least one is given."""
    return reduce(operator.or_, conditions)


class Columns:
    """The columns of a collection, to be asked. A column that does not exist is null everywhere.

    A list equals each text in it.
    """

    def __init__(self, types: Mapping[str, str]) -> None:
        self.types = types

    def is_null(self, name: str) -> nf.Filter:
        """Without a value."""
        return nf.col(name).is_null() if name in self.types else ALL

    def equals(self, name: str, value: Any) -> nf.Filter:
        """Equal to a value that is not None."""
        return self.is_in(name, [value])

    def is_in(self, name: str, values: list[Any]) -> nf.Filter:
        """Equal to one of values, none of which is None."""
        column = nf.col(name)
        if self.types.get(name) == "list_utf8":
            return self._known(name, column.has_any(values))
        # In Python 1 is True.
        if self.types.get(name) == "bool":
            values = [bool(value) if value in (0, 1) else value for value in values]
        return self._known(name, column == values[0] if len(values) == 1 else column.isin(values))

    def compares(self, name: str, sign: str, value: Any) -> nf.Filter:
        """Above or below a value, as the sign says: `>`, `>=`, `<`, `<=`."""
        return self._known(name, SIGNS[sign](nf.col(name), value))

    def has(self, name: str, values: list[Any], *, all: bool) -> nf.Filter:
        """A list with all or any of some texts."""
        column = nf.col(name)
        return self._known(name, column.has_all(values) if all else column.has_any(values))

    def contains(self, name: str, text: str, *, any_case: bool) -> nf.Filter:
        """A text with another one in it."""
        column = nf.col(name)
        if not any_case:
            return self._known(name, column.contains(text))
        escaped = "".join("!" + sign if sign in "!%_" else sign for sign in text)
        return self._known(name, column.ilike(f"%{escaped}%", escape="!"))

    def _known(self, name: str, condition: nf.Filter) -> nf.Filter:
        return condition & nf.col(name).is_not_null() if name in self.types else NONE
