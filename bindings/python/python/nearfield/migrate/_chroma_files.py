"""What a directory of Chroma says: collections and metadata in `chroma.sqlite3`, vectors beside it.

Read are those of Chroma 0.4 to 1.x, as `PersistentClient` writes them. A collection has a segment of metadata, which are
tables, and one of vectors, a directory of the graph's files. Both lag behind the table `embeddings_queue`, a log of
operations, up to a number in `max_seq_id` each; the log behind that is applied here, as Chroma does when it opens.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import nearfield as nf
from nearfield.migrate._chroma_graph import Graph
from nearfield.migrate._errors import damaged, foreign
from nearfield.migrate._sqlite import Tables
from nearfield.migrate._store import Array

DOCUMENT, URI = "chroma:document", "chroma:uri"
_ADD, _UPDATE, _UPSERT, _DELETE = 0, 1, 2, 3


@dataclass
class Found:
    """A collection of Chroma."""

    id: str
    name: str
    dim: int | None
    space: str
    hnsw: dict[str, Any]
    metadata: dict[str, Any] | None
    records: str
    vectors: str


@dataclass
class Record:
    """One record, without its vector."""

    id: str
    metadata: dict[str, Any] = field(default_factory=dict)


class Directory:
    """A directory of Chroma. A context manager that closes it."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            raise nf.NotFound(f"there is no directory {self.path}; give the path of Chroma's PersistentClient")
        self.file = self.path / "chroma.sqlite3"
        self.tables = Tables(self.file)
        try:
            self._check()
        except BaseException:
            self.tables.close()
            raise

    def __enter__(self) -> Directory:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.tables.close()

    def collections(self, tenant: str, database: str) -> list[Found]:
        """The collections of a database, in the order of their names."""
        databases = [str(id) for (id,) in self.tables.rows(
            "databases", "SELECT id FROM databases WHERE tenant_id = ? AND name = ?", tenant, database
        )]  # fmt: skip
        if not databases:
            names = [f"{name!r} of {of!r}" for name, of in self.tables.rows(
                "databases", "SELECT name, tenant_id FROM databases"
            )]  # fmt: skip
            raise nf.NotFound(
                f"{self.file} has no database {database!r} of tenant {tenant!r}; it has {', '.join(names) or 'none'}"
            )
        schema = "schema_str" if "schema_str" in self.tables.columns("collections") else "NULL"
        rows = list(self.tables.rows(
            "collections",
            f"SELECT id, name, dimension, config_json_str, {schema} FROM collections WHERE database_id = ? ORDER BY name"
            if self._has_configurations
            else "SELECT id, name, dimension, NULL, NULL FROM collections WHERE database_id = ? ORDER BY name",
            databases[0],
        ))  # fmt: skip
        return [self._found(*row) for row in rows]

    def column_types(self, found: Found) -> dict[str, set[str]]:
        """The keys of the metadata of a collection, and the types of their values."""
        types: dict[str, set[str]] = {}
        for key, *flags in self.tables.rows(
            "embedding_metadata",
            "SELECT DISTINCT m.key, m.string_value IS NOT NULL, m.int_value IS NOT NULL, m.float_value IS NOT NULL, "
            "m.bool_value IS NOT NULL FROM embeddings AS e NOT INDEXED JOIN embedding_metadata AS m ON m.id = e.id "
            "WHERE e.segment_id = ?",
            found.records,
        ):
            names = [name for name, flag in zip(("utf8", "int64", "float64", "bool"), flags) if flag]
            types.setdefault(self._text("embedding_metadata", "key", key), set()).update(names)
        if self._has_arrays:
            for (key,) in self.tables.rows(
                "embedding_metadata_array",
                "SELECT DISTINCT m.key FROM embeddings AS e NOT INDEXED JOIN embedding_metadata_array AS m ON m.id = e.id "
                "WHERE e.segment_id = ?",
                found.records,
            ):
                types.setdefault(self._text("embedding_metadata_array", "key", key), set()).add("list_utf8")
        return types

    def count(self, found: Found) -> int:
        """How many records the tables of a collection have."""
        sql = "SELECT count(*) FROM embeddings NOT INDEXED WHERE segment_id = ?"
        return int(next(self.tables.rows("embeddings", sql, found.records))[0])

    def has(self, found: Found, id: str) -> bool:
        """Whether the tables have a record."""
        sql = "SELECT 1 FROM embeddings WHERE segment_id = ? AND embedding_id = ?"
        return next(self.tables.rows("embeddings", sql, found.records, id), None) is not None

    def records(self, found: Found, size: int) -> Iterator[list[Record]]:
        """The records of the tables, `size` at a time, in the order in which they were added."""
        numbers: list[int] = []
        records: list[Record] = []
        for number, id in self.tables.rows(
            "embeddings",
            "SELECT id, embedding_id FROM embeddings NOT INDEXED WHERE segment_id = ? ORDER BY id",
            found.records,
        ):
            numbers.append(self._whole("embeddings", "id", number))
            records.append(Record(self._text("embeddings", "embedding_id", id)))
            if len(records) == size:
                self._fill(numbers, records)
                yield records
                numbers, records = [], []
        self._fill(numbers, records)
        yield records

    def log(self, found: Found, behind: int) -> Iterator[tuple[int, int, str, bool, dict[str, Any]]]:
        """The operations of a collection behind a number: number, kind, id, whether there is a vector, metadata."""
        for number, kind, id, vector, metadata in self.tables.rows(
            "embeddings_queue",
            "SELECT seq_id, operation, id, vector IS NOT NULL, metadata FROM embeddings_queue "
            "WHERE seq_id > ? AND substr(topic, -37) = '/' || ? ORDER BY seq_id",
            behind,
            found.id,
        ):
            if kind not in (_ADD, _UPDATE, _UPSERT, _DELETE):
                raise self._wrong("embeddings_queue", f"operation {kind!r}, expected 0 to 3")
            said = self._json("embeddings_queue", metadata)
            for key, value in said.items():
                items = value if isinstance(value, list) else [] if value is None else [value]
                if not _is_text(key) or not all(map(_is_value, items)):
                    raise self._wrong("embeddings_queue", f"the value {value!r:.80} of the key {key!r:.80}")
            yield number, kind, self._text("embeddings_queue", "id", id), bool(vector), said

    def logged_vector(self, number: int, dim: int) -> Array:
        """The vector of an operation."""
        sql = "SELECT vector, encoding FROM embeddings_queue WHERE seq_id = ?"
        row = next(self.tables.rows("embeddings_queue", sql, number), (None, None))
        if row[1] != "FLOAT32" or not isinstance(row[0], bytes):
            raise self._wrong("embeddings_queue", f"operation {number} has a vector of {row[1]!r}, expected FLOAT32")
        if len(row[0]) != 4 * dim:
            raise self._wrong(
                "embeddings_queue", f"operation {number} has {len(row[0])} bytes of vector, expected {4 * dim}"
            )
        return np.frombuffer(row[0], "<f4")

    def applied(self, segment: str) -> int | None:
        """The number up to which the log is in a segment."""
        row = next(self.tables.rows("max_seq_id", "SELECT seq_id FROM max_seq_id WHERE segment_id = ?", segment), None)
        if row is None:
            return None
        if isinstance(row[0], bytes) and len(row[0]) == 8:
            return int.from_bytes(row[0], "big")
        return self._whole("max_seq_id", "seq_id", row[0])

    def graph(self, found: Found) -> Graph | None:
        """The files of the vectors, None as long as there are none."""
        folder = self.path / found.vectors
        if not os.path.lexists(folder / "index_metadata.pickle"):
            return None
        if folder.is_symlink():
            raise foreign(folder, "is a link, which is not followed; copy the directory with its files, as cp -L does")
        return Graph(folder, found.dim or 0, found.space == "cosine")

    def _check(self) -> None:
        tables = self.tables
        tables.require("databases", "id", "name", "tenant_id")
        tables.require("collections", "id", "name", "dimension", "database_id")
        tables.require("collection_metadata", "collection_id", "key", "str_value", "int_value", "float_value")
        tables.require("segments", "id", "scope", "collection")
        tables.require("embeddings", "id", "segment_id", "embedding_id")
        tables.require("embedding_metadata", "id", "key", "string_value", "int_value", "float_value", "bool_value")
        tables.require("embeddings_queue", "seq_id", "operation", "topic", "id", "vector", "encoding", "metadata")
        tables.require("max_seq_id", "segment_id", "seq_id")
        self._has_configurations = "config_json_str" in tables.columns("collections")
        self._has_arrays = bool(tables.columns("embedding_metadata_array"))
        if self._has_arrays:
            tables.require(
                "embedding_metadata_array", "id", "key", "string_value", "int_value", "float_value", "bool_value"
            )

    def _found(self, id: Any, name: Any, dim: Any, configuration: Any, schema: Any) -> Found:
        self._uuid("collections", id)
        if dim is not None and not 1 <= self._whole("collections", "dimension", dim) <= 1 << 20:
            raise self._wrong("collections", f"dimension {dim}")
        segments = dict(self.tables.rows("segments", "SELECT scope, id FROM segments WHERE collection = ?", id))
        for scope in ("METADATA", "VECTOR"):
            self._uuid("segments", segments.get(scope))
        metadata = self._metadata(id)
        space, hnsw = self._searched(
            metadata, self._json("collections", configuration), self._json("collections", schema)
        )
        name = self._text("collections", "name", name)
        return Found(id, name, dim, space, hnsw, metadata or None, segments["METADATA"], segments["VECTOR"])

    def _metadata(self, id: str) -> dict[str, Any]:
        truth = "bool_value" if "bool_value" in self.tables.columns("collection_metadata") else "NULL"
        return {
            self._text("collection_metadata", "key", key): self._value("collection_metadata", key, values)
            for key, *values in self.tables.rows(
                "collection_metadata",
                f"SELECT key, str_value, int_value, float_value, {truth} FROM collection_metadata WHERE collection_id = ?",
                id,
            )
        }

    def _searched(
        self, metadata: dict[str, Any], configuration: dict[str, Any], schema: dict[str, Any]
    ) -> tuple[str, dict[str, Any]]:
        """The space of a collection, and the numbers of its index: each version has said it elsewhere."""
        vectors = _at(schema, "keys", "#embedding", "float_list", "vector_index", "config")
        hnsw = _at(vectors, "hnsw") or _at(configuration, "hnsw")
        space = (
            vectors.get("space")
            or hnsw.get("space")
            or metadata.get("hnsw:space")
            or _at(configuration, "hnsw_configuration").get("space")
            or "l2"
        )
        if space not in ("l2", "cosine", "ip"):
            raise self._wrong("collections", f"the space {space!r}, expected l2, cosine or ip")
        numbers = ("ef_search", "ef_construction", "max_neighbors")
        return space, {name: hnsw[name] for name in numbers if type(hnsw.get(name)) is int and hnsw[name] > 0}

    def _fill(self, numbers: list[int], records: list[Record]) -> None:
        """Reads the metadata of records by their numbers, which ascend."""
        if not numbers:
            return
        of = dict(zip(numbers, records))
        # From the index alone, for which nothing is sorted.
        for number, key, *values in self.tables.rows(
            "embedding_metadata",
            "SELECT id, key, string_value, int_value, float_value, bool_value FROM embedding_metadata "
            "WHERE id BETWEEN ? AND ?",
            numbers[0],
            numbers[-1],
        ):
            if number in of and any(value is not None for value in values):
                key = self._text("embedding_metadata", "key", key)
                of[number].metadata[key] = self._value("embedding_metadata", key, values)
        if not self._has_arrays:
            return
        for number, key, *values in self.tables.rows(
            "embedding_metadata_array",
            "SELECT id, key, string_value, int_value, float_value, bool_value FROM embedding_metadata_array "
            "WHERE id BETWEEN ? AND ? ORDER BY rowid",
            numbers[0],
            numbers[-1],
        ):
            if number in of:
                key = self._text("embedding_metadata_array", "key", key)
                items = of[number].metadata.setdefault(key, [])
                if not isinstance(items, list):
                    raise self._wrong("embedding_metadata_array", f"the key {key!r} has a list and a value")
                items.append(self._value("embedding_metadata_array", key, values))

    def _value(self, section: str, key: Any, values: list[Any]) -> Any:
        """The one of four columns that has a value."""
        given = [(kind, value) for kind, value in zip((str, int, float, bool), values) if value is not None]
        if len(given) == 1:
            kind, value = given[0]
            if kind is bool and value in (0, 1):
                return bool(value)
            if type(value) is kind:
                return value
        raise self._wrong(section, f"the value {values!r} of the key {key!r}, expected a str, int, float or bool")

    def _json(self, section: str, text: Any) -> dict[str, Any]:
        try:
            said = {} if text is None else json.loads(text)
        except (ValueError, TypeError, RecursionError):
            said = None
        if said is None and text == "null":
            said = {}
        if not isinstance(said, dict):
            raise self._wrong(section, f"{str(text)[:80]!r}, expected an object in JSON")
        return said

    def _uuid(self, section: str, id: Any) -> None:
        """Ids are names of directories: nothing else may be one."""
        try:
            if isinstance(id, str) and str(uuid.UUID(id)) == id:
                return
        except ValueError:
            pass
        raise self._wrong(section, f"the id {id!r}, expected a UUID")

    def _text(self, section: str, column: str, value: Any) -> str:
        if not isinstance(value, str):
            raise self._wrong(section, f"{column} is {value!r}, expected a text")
        return value

    def _whole(self, section: str, column: str, value: Any) -> int:
        if type(value) is not int:
            raise self._wrong(section, f"{column} is {value!r}, expected a whole number")
        return value

    def _wrong(self, section: str, what: str) -> nf.Corrupt:
        return damaged(self.file, section, what)


def _is_value(value: Any) -> bool:
    """Whether metadata may have a value."""
    whole = type(value) is int and -(2**63) <= value < 2**63
    return whole or isinstance(value, (float, bool)) or _is_text(value)


def _is_text(value: Any) -> bool:
    """Whether it is a text, without halves of letters, which JSON can spell."""
    if not isinstance(value, str):
        return False
    return value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value)


def _at(said: Any, *keys: str) -> dict[str, Any]:
    """What is under keys of objects; nothing if there is no such."""
    for key in keys:
        said = said.get(key) if isinstance(said, dict) else None
    return said if isinstance(said, dict) else {}
