"""One line from a file to a collection."""

from __future__ import annotations

import os
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearfield._nearfield import open as open_database

if TYPE_CHECKING:
    from nearfield._nearfield import Collection


def from_file(
    source: str | PathLike[str], path: str | PathLike[str], *, name: str | None = None, **settings: Any
) -> Collection:
    """Imports the file `source` into the database at `path`, which is opened or created.

    The collection is called `name`, or else like the file without its extension. Other arguments are
    those of `Database.import_file`. Returns the collection; its `database` closes it. A database that
    was made for an import that fails is removed again.

    >>> import nearfield as nf
    >>> _ = (tmp / "words.jsonl").write_text('{"id": 1, "v": [0.1, 0.2], "word": "a"}')
    >>> words = nf.from_file(tmp / "words.jsonl", tmp / "words.nf")
    >>> words.name, len(words)
    ('words', 1)
    """
    name = Path(source).stem if name is None else name
    fresh = not os.path.exists(path)
    db = open_database(path)
    try:
        db.import_file(name, source, **settings)
        return db[name]
    except BaseException:
        if fresh:
            db._close_and_remove_if_empty()
        else:
            db.close()
        raise


def from_parquet(
    source: str | PathLike[str], path: str | PathLike[str], *, name: str | None = None, **settings: Any
) -> Collection:
    """`from_file` of a Parquet file.

    >>> import nearfield as nf
    >>> docs.export_file(tmp / "words.parquet")
    2
    >>> words = nf.from_parquet(tmp / "words.parquet", tmp / "copy.nf")
    >>> words.get(2).to_dicts(), words.schema["metric"]
    ([{'id': 2, 'title': 'far'}], 'l2')
    """
    return from_file(source, path, name=name, **{"format": "parquet", **settings})


def from_jsonl(
    source: str | PathLike[str], path: str | PathLike[str], *, name: str | None = None, **settings: Any
) -> Collection:
    """`from_file` of a file with one JSON object a line.

    >>> import nearfield as nf
    >>> docs.export_file(tmp / "words.jsonl")
    2
    >>> len(nf.from_jsonl(tmp / "words.jsonl", tmp / "lines.nf"))
    2
    """
    return from_file(source, path, name=name, **{"format": "jsonl", **settings})


def from_npy(
    source: str | PathLike[str], path: str | PathLike[str], *, name: str | None = None, **settings: Any
) -> Collection:
    """`from_file` of a NumPy file of shape (rows, dim); ids are row numbers.

    >>> import nearfield as nf
    >>> import numpy as np
    >>> np.save(tmp / "points.npy", np.eye(3, dtype=np.float32))
    >>> nf.from_npy(tmp / "points.npy", tmp / "points.nf").search([0, 1, 0], k=1).ids.tolist()
    [1]
    """
    return from_file(source, path, name=name, **{"format": "npy", **settings})
