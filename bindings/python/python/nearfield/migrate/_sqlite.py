"""SQLite files that are only read, and not believed."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nearfield as nf
from nearfield.migrate._errors import damaged, foreign, opened, regular

# Steps of SQLite's machine between two looks at how many there have been.
_STEPS = 100_000
# What reading raises; SQLite's own messages may hold bytes of the file that are no text.
_FAILURES = (sqlite3.Error, UnicodeDecodeError, MemoryError, OverflowError)


class Tables:
    """The tables of a file, in the state in which they were when it was opened."""

    def __init__(self, file: Path) -> None:
        self.file = file
        size = regular(file)
        with opened(file) as start:
            if start.read(16) != b"SQLite format 3\0":
                raise damaged(file, "its first bytes", "it is no SQLite file")
        # A damaged file may have rows without end, a whole one has no more than bytes.
        self._budget = (50 * size + (1 << 24)) // _STEPS
        self._left = self._budget
        self._connection = self._opened(size)

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()

    def refill(self) -> None:
        """Allows for one more reading of everything."""
        self._left = self._budget

    def columns(self, table: str) -> list[str]:
        """The columns of a table; none if there is no such one. Views and columns that are computed run what they say."""
        kinds = list(self.rows("sqlite_master", "SELECT type, sql FROM sqlite_master WHERE name = ?", table))
        for kind, sql in kinds:
            if kind != "table" or not isinstance(sql, str) or sql.lstrip()[:14].upper().startswith("CREATE VIRTUAL"):
                raise damaged(self.file, table, f"it is a {kind} made by {str(sql)[:40]!r}, expected a plain table")
        about = list(self.rows(table, "SELECT name, hidden FROM pragma_table_xinfo(?)", table)) if kinds else []
        if any(hidden for _, hidden in about):
            raise damaged(self.file, table, "it has columns that are computed")
        return [str(name) for name, _ in about]

    def require(self, table: str, *columns: str) -> None:
        """Raises for a file without a table, or without one of its columns."""
        there = self.columns(table)
        missing = [column for column in columns if column not in there]
        if not there or missing:
            lacks = f"the column {missing[0]} of its table {table}" if there else f"the table {table}"
            raise foreign(self.file, f"lacks {lacks}: it is of another program or of a version that is not read")

    def rows(self, section: str, sql: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        """The rows of a query."""
        try:
            yield from self._connection.execute(sql, values)
        except _FAILURES as error:
            raise self._told(section, error) from error

    def _opened(self, size: int) -> sqlite3.Connection:
        try:
            try:
                return self._connected("mode=ro", size)
            except sqlite3.OperationalError:
                # In the mode with a log beside it, SQLite writes there even to read; without one there is no need.
                if any(os.path.exists(f"{self.file}{end}") for end in ("-wal", "-journal")):
                    raise
                return self._connected("immutable=1", size)
        except _FAILURES as error:
            raise self._told("its header", error) from error

    def _connected(self, how: str, size: int) -> sqlite3.Connection:
        address = f"{self.file.absolute().as_uri()}?{how}"
        connection = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False)
        try:
            connection.set_progress_handler(self._step, _STEPS)
            if hasattr(connection, "setlimit"):
                connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, max(size, 1 << 16))
            for setting in ("trusted_schema = OFF", "query_only = ON", "cell_size_check = ON", "mmap_size = 0"):
                connection.execute(f"PRAGMA {setting}")
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
        except BaseException:
            connection.close()
            raise
        return connection

    def _step(self) -> int:
        self._left -= 1
        return self._left < 0

    def _told(self, section: str, error: Exception) -> nf.Error:
        if self._left < 0:
            return damaged(self.file, section, "it has more rows than a file of its size can hold")
        outside = isinstance(error, sqlite3.OperationalError) and not str(error).startswith("Could not decode")
        if outside and not str(error).startswith(("no such", "malformed")):
            return nf.IoError(
                f"cannot read {self.file}: {error}; where a program has it open, close it there, and where one was "
                "killed, open it there once"
            )
        return damaged(self.file, section, str(error))
