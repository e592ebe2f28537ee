"""Everything nearfield raises: one tree under `Error`.

Most also derive from the builtin that a newcomer would catch. An argument of the wrong Python type
is a plain `TypeError`. The engine's message says what was given, what was expected and what to do.
"""

from __future__ import annotations


class Error(Exception):
    """Base of all errors of nearfield. Raised itself only for what should not happen: a bug."""

    __module__ = "nearfield"

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class DimensionMismatch(Error, ValueError):
    """A vector has another length than the collection's dimension."""

    __module__ = "nearfield"
    expected: int
    given: int
    row: int


class InvalidVector(Error, ValueError):
    """A vector holds a value that cannot be stored or compared: NaN, infinity, out of range."""

    __module__ = "nearfield"
    row: int
    column: int
    value: float


class DuplicateId(Error, ValueError):
    """`add` was given ids that exist already, or one id twice; `ids` lists the first hundred."""

    __module__ = "nearfield"
    ids: list[int] | list[str]


class NotFound(Error, KeyError):
    """A database, collection or column that does not exist; the message names the nearest."""

    __module__ = "nearfield"


class SchemaMismatch(Error, ValueError):
    """An existing collection or column has another shape than the one asked for or given."""

    __module__ = "nearfield"


class InvalidArgument(Error, ValueError):
    """An argument that no state of the database could satisfy."""

    __module__ = "nearfield"


class Locked(Error, OSError):
    """Another process, or another handle of this one, has the database open for writing; `holder` says
    which. `open(path, mode="r")` reads it anyway."""

    __module__ = "nearfield"
    path: str
    holder: str


class WordsError(InvalidArgument):
    """A query by words that cannot be read, such as one with a quotation mark that is not closed.
    `position` is the index of the character at fault."""

    __module__ = "nearfield"
    position: int


class FilterError(Error, ValueError):
    """A filter that cannot be read, or that the columns of the collection do not allow. `position` is the
    index of the place in its text, that of a str (None for dicts and expressions), and its length where
    the text ends too early; `hint` is what was probably meant. In a filter that is joined of several texts
    it is the place in the one that is wrong."""

    __module__ = "nearfield"
    position: int | None
    hint: str


class Closed(Error):
    """The database or collection was closed, dropped or renamed."""

    __module__ = "nearfield"


class ReadOnly(Error, OSError):
    """A write to a database opened with mode="r", or on a read-only file system."""

    __module__ = "nearfield"


class Poisoned(Error):
    """An earlier write failed; what was acknowledged is safe. Reopen the database to write again."""

    __module__ = "nearfield"


class Corrupt(Error, OSError):
    """A file does not hold what was written."""

    __module__ = "nearfield"
    file: str
    section: str


class Incompatible(Error):
    """A file of a newer or foreign format."""

    __module__ = "nearfield"
    file: str


class Full(Error, OSError):
    """No space is left on the disk; nothing of the operation was stored."""

    __module__ = "nearfield"


class Forked(Error):
    """The handle was opened before a fork; open the database again in the child."""

    __module__ = "nearfield"


class Cancelled(Error):
    """The operation was asked to stop; nothing of it was stored."""

    __module__ = "nearfield"


class IoError(Error, OSError):
    """The operating system refused a file operation."""

    __module__ = "nearfield"
