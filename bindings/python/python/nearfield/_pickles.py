"""How handles cross to other processes: by the path of the database, opened again for reading.

There is one writer of a database, and that stays where it is: whoever unpickles a handle gets a reader,
also in the same process. An embedder is not pickled, nor does a collection carry its own along: vectors are
searched for in other processes, or the collection is opened there with `embed=`. Snapshots, answers and scans
are not pickled either; send their arrays.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import nearfield


def open_reader(path: str) -> nearfield.Database:
    return nearfield.open(path, mode="r")


def open_collection(path: str, name: str) -> nearfield.Collection:
    return open_reader(path)[name]


def reduce_database(path: Path) -> tuple[Any, ...]:
    return open_reader, (os.path.abspath(path),)


def reduce_collection(path: Path, name: str) -> tuple[Any, ...]:
    return open_collection, (os.path.abspath(path), name)


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
