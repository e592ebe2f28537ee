"""What `progress=` is told, and the bar that `progress=True` shows."""

from __future__ import annotations

import sys
import time
from typing import NamedTuple, TextIO


_BYTES = ("verifying", "copying")


class Progress(NamedTuple):
    """Where a long call stands; what a `progress` callable is called with.

    `phase` is "reading", "indexing", "committing", "writing" or, once at the end, "done"; `rows` is how
    many rows are done, `total` how many there are, None where that is not known. `verify`, `doctor`, `backup`,
    `restore` and `repair` have the phases "verifying" and "copying", and count bytes in place of rows.
    """

    phase: str
    rows: int
    total: int | None


class Bar:
    """A line on standard error with the share done and the time left; nothing where it is no terminal.

    Notebooks count as terminals. Drawn at most ten times a second.
    """

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out
        self._start = time.monotonic()
        self._drawn = 0.0
        self._phase = ""
        self._unit = "rows"

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        ends = progress.phase == "done"
        if not ends and progress.phase == self._phase and now - self._drawn < 0.1:
            return
        self._drawn, self._phase = now, progress.phase
        if progress.phase in _BYTES:
            self._unit = "bytes"
        out = self._out if self._out is not None else sys.stderr
        if out is None or not (out.isatty() or "ipykernel" in sys.modules):
            return
        out.write("\r\x1b[K" + line(progress, now - self._start, self._unit) + ("\n" if ends else ""))
        out.flush()


def line(progress: Progress, seconds: float, unit: str = "rows") -> str:
    """The text of the bar after so many seconds.

    >>> line(Progress("reading", 250, 1000), 10.0)
    'reading  ███████                       25 %  250/1,000 rows  25 rows/s  30 s left'
    """
    phase, rows, total = progress
    parts = [f"{phase:<8}"]
    if total:
        share = min(rows / total, 1.0)
        parts.append(f" {'█' * int(share * 30):<28} {share * 100:3.0f} %")
        parts.append(f"{rows:,}/{total:,} {unit}")
    else:
        parts.append(f"{rows:,} {unit}")
    if seconds > 0 and rows:
        rate = rows / seconds
        parts.append(f"{rate:,.0f} {unit}/s")
        if phase == "done":
            parts.append(f"in {seconds:.1f} s")
        elif total and rows < total:
            parts.append(f"{(total - rows) / rate:.0f} s left")
    return parts[0] + "  ".join(parts[1:])
