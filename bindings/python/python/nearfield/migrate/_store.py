"""How rows that come from elsewhere are stored: in a collection that is new or empty, all at once at the end."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict

import numpy as np
import numpy.typing as npt

import nearfield as nf
from nearfield._progress import Bar, Progress

if TYPE_CHECKING:
    from nearfield._nearfield import _ColumnType, _Dtype, _IdType, _Metric, _Text

Array: TypeAlias = npt.NDArray[Any]
Target: TypeAlias = nf.Database | str | PathLike[str]
OnBad: TypeAlias = Literal["raise", "skip"]
Told: TypeAlias = bool | Callable[[Progress], object] | None

# Bytes of vectors of a batch, and rows of it where vectors are short.
_BATCH_BYTES = 8 << 20
_BATCH_ROWS = 10_000
# Rejected rows that are listed.
_LISTED = 1000


class Migrated(TypedDict):
    """What became of a collection: its name here, whether it was made, the rows stored in it, rows of the source that
    others of the same id replaced, rows rejected, of which the first thousand are listed as (id, reason), and notes on
    what is stored in another form."""

    name: str
    created: bool
    rows: int
    replaced: int
    rejected_rows: int
    rejected: list[tuple[Any, str]]
    notes: list[str]


@dataclass
class Shape:
    """The collection to be made."""

    name: str
    dim: int
    metric: _Metric
    id_type: _IdType
    columns: Mapping[str, _ColumnType] = field(default_factory=dict)
    dtype: _Dtype | None = None
    text: _Text | None = None


@dataclass
class Batch:
    """Rows. `data` is a dict of lists, or what an Arrow table is made of."""

    ids: list[Any] | Array
    vectors: Array
    data: Any = None


class Rejects:
    """Rows that cannot be stored: the first ends the migration, or they are listed."""

    def __init__(self, on_bad: OnBad) -> None:
        if on_bad not in ("raise", "skip"):
            raise nf.InvalidArgument(f'on_bad is {on_bad!r}, expected "raise" or "skip"')
        self._skip = on_bad == "skip"
        self.count = 0
        self.listed: list[tuple[Any, str]] = []

    def add(self, id: Any, error: nf.Error) -> None:
        """One more."""
        if not self._skip:
            raise error
        self.count += 1
        if len(self.listed) < _LISTED:
            self.listed.append((id, str(error)))


@contextmanager
def into(db: Target) -> Iterator[nf.Database]:
    """The database; one that is given by its path is closed at the end, and removed if it was made for nothing."""
    if isinstance(db, nf.Database):
        yield db
        return
    fresh = not os.path.exists(db)
    database = nf.open(db)
    try:
        yield database
    except BaseException:
        if fresh:
            database._close_and_remove_if_empty()
        else:
            database.close()
        raise
    database.close()


def batch_rows(dim: int) -> int:
    """How many rows are read at a time."""
    return max(1, min(_BATCH_ROWS, _BATCH_BYTES // (4 * max(dim, 1))))


def store(
    db: nf.Database,
    shape: Shape,
    batches: Generator[Batch, None, None],
    rejects: Rejects,
    *,
    total: int | None,
    progress: Told,
    notes: list[str],
) -> Migrated:
    """Stores all rows or none. What this makes is gone after an error."""
    created = shape.name not in db
    docs = _made(db, shape) if created else _empty(db, shape)
    given = 0

    def fed() -> Iterator[tuple[Any, Array] | tuple[Any, Array, Any]]:
        nonlocal given
        for batch in batches:
            batch = _checked(batch, rejects)
            given += len(batch.ids)
            if len(batch.ids):
                yield (batch.ids, batch.vectors, batch.data) if batch.data is not None else (batch.ids, batch.vectors)

    try:
        docs.import_batches(fed(), progress=_told(progress, total))
    except BaseException:
        if created:
            db.drop(shape.name)
        raise
    finally:
        batches.close()
    rows = len(docs)
    return Migrated(
        name=shape.name,
        created=created,
        rows=rows,
        replaced=given - rows,
        rejected_rows=rejects.count,
        rejected=rejects.listed,
        notes=notes,
    )


def _made(db: nf.Database, shape: Shape) -> nf.Collection:
    return db.create(
        shape.name,
        shape.dim,
        shape.metric,
        dtype=shape.dtype,
        text=shape.text,
        columns=shape.columns,
        id_type=shape.id_type,
    )


def _empty(db: nf.Database, shape: Shape) -> nf.Collection:
    docs = db.collection(shape.name, shape.dim, shape.metric, dtype=shape.dtype, id_type=shape.id_type)
    if len(docs):
        raise nf.InvalidArgument(
            f"the collection {shape.name!r} has {len(docs)} rows already; a migration fills a new or an empty one: give "
            "name= for another, or drop it"
        )
    docs.add_columns(shape.columns, text=shape.text)
    return docs


def _checked(batch: Batch, rejects: Rejects) -> Batch:
    """The rows of a batch that can be stored."""
    vectors = batch.vectors
    if vectors.dtype.kind != "f":
        return batch
    finite = np.isfinite(vectors)
    good = finite.all(axis=1)
    if good.all():
        return batch
    for row in np.flatnonzero(~good).tolist():
        column = int(np.flatnonzero(~finite[row])[0])
        id, value = batch.ids[row], float(vectors[row, column])
        error = nf.InvalidVector(
            f"the vector of {id!r} has {value} at {column}; vectors are finite numbers: mend it in the source, or give "
            'on_bad="skip"'
        )
        error.row, error.column, error.value = row, column, value
        rejects.add(id, error)
    rows = np.flatnonzero(good)
    ids = batch.ids[rows] if isinstance(batch.ids, np.ndarray) else [batch.ids[row] for row in rows.tolist()]
    return Batch(ids, vectors[rows], taken(batch.data, rows))


def taken(data: Any, rows: Array) -> Any:
    """Some rows of data."""
    if data is None:
        return None
    if isinstance(data, dict):
        return {name: [values[row] for row in rows.tolist()] for name, values in data.items()}
    return data.take(rows)


def _told(progress: Told, total: int | None) -> Told:
    """The callable that is told, with the number of rows, which an import of batches does not know."""
    if progress is None or progress is False or total is None:
        return progress
    tell = Bar() if progress is True else progress
    if not callable(tell):
        raise TypeError(f"progress: expected True, False or a callable, given {tell!r}")
    return lambda step: tell(Progress(step.phase, step.rows, total if step.total is None else step.total))
