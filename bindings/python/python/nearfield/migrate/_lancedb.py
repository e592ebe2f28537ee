"""From tables of LanceDB, by its own package."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import nearfield as nf
from nearfield.migrate._errors import damaged, needed
from nearfield.migrate._payload import free_name
from nearfield.migrate._store import Batch, Migrated, OnBad, Rejects, Shape, Target, Told, batch_rows, into, store

if TYPE_CHECKING:
    from nearfield._nearfield import _Dtype, _Metric, _Text


def from_lancedb(
    source: Any,
    db: Target,
    table: str | None = None,
    *,
    name: str | None = None,
    id: str | bool | None = None,
    vector: str | None = None,
    columns: Sequence[str] | None = None,
    metric: _Metric | None = None,
    dtype: _Dtype | None = None,
    text: _Text | None = None,
    on_bad: OnBad = "raise",
    progress: Told = None,
) -> Migrated:
    """Copies a table of LanceDB into the database `db`, open or by its path, as `name`. Takes the package `lancedb`.

    `source` is a table that is open, or the directory or address of a database whose table is `table`. `id` names the
    column of ids (left out: "id" if it is one of whole numbers or texts, else rows are numbered; False: they are
    numbered), `vector` that of vectors (left out: "vector", or the only one), `columns` the others (left out: all). What no
    column holds is stored as text in JSON, binary data is left out; `notes` of the answer say so. `metric` is left out
    that of the vectors' index, "l2" if there is none. `dtype`, `text`, `on_bad` and `progress` are as for `from_chroma`.
    All of it is stored or nothing.

    Raises `NotFound`, `InvalidArgument`, `InvalidVector`, and `Corrupt` for what LanceDB cannot read.

    >>> from nearfield import migrate
    >>> migrate.from_lancedb("lance", "my.nf", "docs")  # doctest: +SKIP
    """
    opened, where = _opened(source, table)
    plan = _Plan(opened, where, id, vector, [columns] if isinstance(columns, str) else columns)
    rejects = Rejects(on_bad)
    total = int(_read(where, opened.count_rows))
    shape = Shape(
        str(opened.name) if name is None else name,
        plan.dim,
        metric or plan.metric(),
        plan.id_type,
        {},
        dtype or plan.dtype,
        text,
    )
    with into(db) as target:
        return store(target, shape, plan.batches(rejects), rejects, total=total, progress=progress, notes=plan.notes)


def _opened(source: Any, table: str | None) -> tuple[Any, str]:
    if hasattr(source, "count_rows"):
        return source, f"the table {source.name}"
    if table is None:
        raise nf.InvalidArgument("give the name of the table: from_lancedb(path, db, table)")
    lancedb = needed("lancedb", "lancedb")
    where = os.fspath(source)
    if "://" not in where and not Path(where).is_dir():
        raise nf.NotFound(f"there is no directory {where}; give the path of lancedb.connect")
    if "://" not in where and not (Path(where) / f"{table}.lance").is_dir():
        there = sorted(folder.stem for folder in Path(where).glob("*.lance"))
        raise nf.NotFound(f"{where} has no table {table!r}; it has {', '.join(there) or 'none'}")
    return _read(where, lambda: lancedb.connect(where).open_table(table)), f"{where}/{table}.lance"


def _read(where: str, call: Callable[[], Any]) -> Any:
    """What LanceDB reads; whatever it raises, or panics of, is about its files."""
    try:
        return call()
    except nf.Error:
        raise
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise damaged(where, "what LanceDB reads", f"{type(error).__name__}: {error!s:.300}") from error
        raise


class _Plan:
    """What becomes of the columns of a table."""

    def __init__(
        self, table: Any, where: str, id: str | bool | None, vector: str | None, columns: Sequence[str] | None
    ) -> None:
        self._pa = needed("pyarrow", "pyarrow")
        self._table, self._where = table, where
        self._schema = _read(where, lambda: table.schema)
        self._vector = self._chosen_vector(vector)
        kind = self._schema.field(self._vector).type
        self.dim: int = kind.list_size
        self._bits = kind.value_type == self._pa.uint8()
        self.dtype: Any = "f16" if kind.value_type == self._pa.float16() else None
        if self._bits:
            self.dim, self.dtype = 8 * kind.list_size, "b1"
        self._id = self._chosen_id(id)
        whole = self._id is None or self._pa.types.is_integer(self._schema.field(self._id).type)
        self.id_type: Any = "u64" if whole else "utf8"
        self.notes: list[str] = []
        self._names = self._renamed(columns)

    def metric(self) -> Any:
        """That of the index of the vectors."""
        for index in _read(self._where, lambda: list(self._table.list_indices())):
            if self._vector in index.columns:
                stats = _read(self._where, partial(self._table.index_stats, index.name))
                said = getattr(stats, "distance_type", None)
                if said in ("l2", "cosine", "dot", "hamming"):
                    return said
        return "hamming" if self._bits else "l2"

    def batches(self, rejects: Rejects) -> Generator[Batch, None, None]:
        """The rows."""
        select = [name for name in (self._vector, self._id, *self._names) if name is not None]
        size = batch_rows(self.dim)
        reader = _read(self._where, lambda: iter(self._table.search().select(select).to_batches(batch_size=size)))
        first = 0
        while (rows := _read(self._where, lambda: next(reader, None))) is not None:
            if rows.num_rows:
                yield self._batch(rows, first, rejects)
            first += rows.num_rows

    def _batch(self, rows: Any, first: int, rejects: Rejects) -> Batch:
        numbers = np.arange(first, first + rows.num_rows, dtype=np.uint64)
        whole = np.ones(rows.num_rows, bool)
        for name in [self._vector] if self._id is None else [self._vector, self._id]:
            for row in np.flatnonzero(~rows.column(name).is_valid().to_numpy(zero_copy_only=False)).tolist():
                whole[row] = False
                rejects.add(first + row, nf.InvalidArgument(
                    f'row {first + row} of {self._where} has null in {name!r}; mend it, or give on_bad="skip"'
                ))  # fmt: skip
        kept = np.flatnonzero(whole)
        rows = rows.take(self._pa.array(kept))
        flat = rows.column(self._vector).flatten().to_numpy(zero_copy_only=False)
        vectors = flat.reshape(rows.num_rows, -1)
        data = {self._names[name]: self._stored(rows.column(name)) for name in self._names}
        table = self._pa.RecordBatch.from_pydict(data) if data else None
        return Batch(numbers[kept] if self._id is None else rows.column(self._id).to_pylist(), vectors, table)

    def _chosen_vector(self, vector: str | None) -> str:
        there = [str(field.name) for field in self._schema if _is_vector(self._pa, field.type)]
        if vector is None:
            vector = "vector" if "vector" in there else there[0] if len(there) == 1 else None
        if vector not in there:
            raise nf.InvalidArgument(
                f"{self._where} has the vectors {', '.join(there) or 'none'}, given vector={vector!r}; name one of them. "
                "Lists of several lengths are none"
            )
        return str(vector)

    def _chosen_id(self, id: str | bool | None) -> str | None:
        names = self._schema.names
        fit = [str(field.name) for field in self._schema if _is_id(self._pa, field.type)]
        if id is False or id is None and "id" not in fit:
            return None
        id = "id" if id is None else id
        if id not in fit:
            raise nf.InvalidArgument(
                f"{self._where} has no column {id!r} of whole numbers or texts; it has {', '.join(names)}; id=False numbers "
                "the rows"
            )
        return str(id)

    def _renamed(self, columns: Sequence[str] | None) -> dict[str, str]:
        """The columns that are taken, and what they are called here."""
        others = [name for name in self._schema.names if name not in (self._vector, self._id)]
        unknown = [name for name in columns or [] if name not in others]
        if unknown:
            raise nf.InvalidArgument(f"{self._where} has no column {unknown[0]!r} to take; it has {', '.join(others)}")
        names: dict[str, str] = {}
        for name in others if columns is None else columns:
            kind = self._schema.field(name).type
            if self._pa.types.is_binary(kind) or self._pa.types.is_large_binary(kind):
                self.notes.append(f"{name} is left out: binary data")
                continue
            names[name] = free_name(name, names.values())
            if not _fits(self._pa, kind):
                self.notes.append(f"{name} is stored as text in JSON: no column has the type {kind}")
            if names[name] != name:
                self.notes.append(f"{name} is stored as {names[name]}")
        return names

    def _stored(self, column: Any) -> Any:
        if _fits(self._pa, column.type):
            return column
        texts = [
            None if value is None else json.dumps(value, ensure_ascii=False, default=str)
            for value in column.to_pylist()
        ]
        return self._pa.array(texts, self._pa.string())


def _is_vector(pa: Any, kind: Any) -> bool:
    return bool(pa.types.is_fixed_size_list(kind)) and bool(
        pa.types.is_floating(kind.value_type) or kind.value_type == pa.uint8()
    )


def _is_id(pa: Any, kind: Any) -> bool:
    return bool(pa.types.is_integer(kind)) or _is_text(pa, kind)


def _is_text(pa: Any, kind: Any) -> bool:
    return str(kind) in ("string", "large_string", "string_view")


def _fits(pa: Any, kind: Any) -> bool:
    """Whether a column has values of a type."""
    types = pa.types
    if types.is_dictionary(kind):
        return _is_text(pa, kind.value_type)
    if types.is_list(kind) or types.is_large_list(kind):
        return _is_text(pa, kind.value_type)
    return bool(
        types.is_boolean(kind)
        or types.is_integer(kind)
        or types.is_floating(kind)
        or _is_text(pa, kind)
        or types.is_timestamp(kind)
        or types.is_date(kind)
    )
