"""How things cross to other processes: handles by the path of the database, opened again for reading, answers
with all that they hold.

There is one writer of a database, and that stays where it is: whoever unpickles a handle gets a reader,
also in the same process. An embedder is not pickled, nor does a collection carry its own along: vectors are
searched for in other processes, or the collection is opened there with `embed=`. Snapshots, scans and
explanations are not pickled either: they belong to what is open here.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import nearfield
from nearfield import _nearfield

# What it has for pickles alone is in no stub.
_module: Any = _nearfield


def open_reader(path: str, offset: int | None) -> nearfield.Database:
    return nearfield.open(path, mode="r", offset=offset)


def open_collection(path: str, name: str, offset: int | None) -> nearfield.Collection:
    return open_reader(path, offset)[name]


def reduce_database(path: Path, offset: int | None) -> tuple[Any, ...]:
    return open_reader, (os.path.abspath(path), offset)


def reduce_collection(path: Path, name: str, offset: int | None) -> tuple[Any, ...]:
    return open_collection, (os.path.abspath(path), name, offset)


def reduce_index(index: nearfield.Index) -> tuple[Any, ...]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "index.nfi"
        index.save(file)
        return load_index, (file.read_bytes(), index.ef)


def load_index(data: bytes, ef: int) -> nearfield.Index:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "index.nfi"
        file.write_bytes(data)
        return nearfield.Index.load(file, ef=ef)


def column(name: str) -> nearfield.Column:
    return nearfield.col(name)


def reduce_hits(answer: tuple[Any, ...]) -> tuple[Any, ...]:
    return load_hits, answer


def load_hits(*answer: Any) -> nearfield.Hits:
    return _module._hits(answer)


def reduce_hit(answer: tuple[Any, ...]) -> tuple[Any, ...]:
    return load_hit, answer


def load_hit(*answer: Any) -> nearfield.Hit:
    return load_hits(*answer)[0]


def reduce_batch_hits(
    answers: list[tuple[Any, ...]], nothing: tuple[Any, ...] | None, k: int, text: bool
) -> tuple[Any, ...]:
    return load_batch_hits, (answers, nothing, k, text)


def load_batch_hits(
    answers: list[tuple[Any, ...]], nothing: tuple[Any, ...] | None, k: int, text: bool
) -> nearfield.BatchHits:
    return _module._batch_hits(answers, nothing, k, text)


def reduce_records(rows: tuple[Any, ...]) -> tuple[Any, ...]:
    return load_records, (rows,)


def load_records(rows: tuple[Any, ...]) -> nearfield.Records:
    return _module._records(rows)
