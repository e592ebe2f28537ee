"""The command line: `nearfield migrate chroma DIRECTORY DB`, or `python -m nearfield.migrate`.

Words, forms of answers and exit codes are those of `nearfield import`: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

import nearfield as nf
from nearfield import migrate
from nearfield.migrate._errors import needed
from nearfield.migrate._store import into

_METRICS = ["l2", "cosine", "dot", "hamming", "jaccard"]
_TYPES = ["f32", "f16", "bf16", "i8", "u8", "b1"]
# Rejected rows that people are shown.
_SHOWN = 20


def main(arguments: Sequence[str] | None = None, program: str = "python -m nearfield.migrate") -> int:
    """Runs a command, and returns its exit code."""
    given = _parser(program).parse_args(arguments)
    start = time.monotonic()
    try:
        with into(given.db) as db:
            done = _run(given, db)
            answer = _answer(db, done, time.monotonic() - start)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (nf.Error, TypeError) as error:
        print(f"error: {_plain(str(error))}", file=sys.stderr)
        return 1
    print(json.dumps(answer, indent=2) if given.json else _words(answer))
    return 0


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program,
        description="Copy collections of another vector database; all of it is stored or nothing.",
    )
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    chroma = _kind(kinds, "chroma", "Directory of Chroma's PersistentClient, read without Chroma", "DIRECTORY")
    chroma.add_argument(
        "--collection", action="append", metavar="NAME", help="Collection to copy; repeatable [default: all]"
    )
    chroma.add_argument("--tenant", default="default_tenant", help="Tenant of Chroma [default: %(default)s]")
    chroma.add_argument("--database", default="default_database", help="Database of Chroma [default: %(default)s]")
    lancedb = _kind(kinds, "lancedb", "Directory or address of LanceDB; takes its package", "DIRECTORY")
    lancedb.add_argument("--collection", "--table", required=True, metavar="NAME", help="Table to copy")
    lancedb.add_argument(
        "--id", metavar="COLUMN", help="Column of the ids [default: `id` if there is one, else rows are numbered]"
    )
    lancedb.add_argument(
        "--vector", metavar="COLUMN", help="Column of the vectors [default: `vector`, or the only one]"
    )
    qdrant = _kind(kinds, "qdrant", "Directory of QdrantClient(path=…), or the address of a server", "SOURCE")
    qdrant.add_argument("--collection", required=True, metavar="NAME", help="Collection to copy")
    qdrant.add_argument("--vector", metavar="NAME", help="Which one of named vectors")
    hdf5 = _kind(kinds, "hdf5", "HDF5 file, as ann-benchmarks has them; takes h5py", "FILE")
    hdf5.add_argument("--dataset", default="train", metavar="NAME", help="Vectors to copy [default: %(default)s]")
    hdf5.add_argument("--id", metavar="NAME", help="Dataset of the ids [default: rows are numbered]")
    for kind in (chroma, lancedb, qdrant):
        kind.add_argument(
            "--columns", metavar="A,B", type=lambda said: said.split(","), help="Attributes to copy [default: all]"
        )
        kind.add_argument(
            "--text",
            action="append",
            metavar="COLUMN",
            help="Column of text to be indexed for search by words; repeatable",
        )
    for kind in (lancedb, qdrant, hdf5):
        kind.add_argument("--metric", choices=_METRICS, help="How vectors are compared [default: as in the source]")
    return parser


def _kind(kinds: Any, name: str, about: str, source: str) -> argparse.ArgumentParser:
    kind: argparse.ArgumentParser = kinds.add_parser(name, help=about, description=about)
    kind.add_argument("source", metavar=source)
    kind.add_argument("db", metavar="DB", help="Database directory; created if it is absent")
    kind.add_argument("--name", help="Name of the new collection [default: as in the source]")
    kind.add_argument(
        "--type", dest="dtype", choices=_TYPES, help="How elements are stored [default: f32, or as in the source]"
    )
    kind.add_argument(
        "--on-bad", choices=["raise", "skip"], default="raise", help="What to do with rows that cannot be stored"
    )
    kind.add_argument("--json", action="store_true", help="Print the answer as one JSON document")
    return kind


def _run(given: argparse.Namespace, db: nf.Database) -> list[migrate.Migrated]:
    options: dict[str, Any] = {
        name: vars(given)[name]
        for name in ("name", "columns", "text", "metric", "dtype", "on_bad", "id", "vector", "tenant", "database")
        if vars(given).get(name) is not None
    }
    options["progress"] = True
    if given.kind == "chroma":
        return migrate.from_chroma(given.source, db, collection=given.collection, **options)
    if given.kind == "lancedb":
        return [migrate.from_lancedb(given.source, db, given.collection, **options)]
    if given.kind == "hdf5":
        return [migrate.from_hdf5(given.source, db, given.dataset, **options)]
    source = given.source
    if source.startswith(("http://", "https://")):
        source = needed("qdrant_client", "qdrant-client").QdrantClient(url=source)
    return [migrate.from_qdrant(source, db, given.collection, **options)]


def _answer(db: nf.Database, done: list[migrate.Migrated], seconds: float) -> dict[str, Any]:
    rows = sum(one["rows"] for one in done)
    return {
        "collections": [{**_shape(db, one["name"]), **_counted(one)} for one in done],
        "seconds": seconds,
        "rows_per_second": round(rows / max(seconds, 1e-6)),
    }


def _shape(db: nf.Database, name: str) -> dict[str, Any]:
    if name not in db:
        return {}
    schema = db[name].schema
    columns = [
        {"name": name, "data_type": kind, "text": name in schema["text"]} for name, kind in schema["columns"].items()
    ]
    return {
        "name": name,
        "dimension": schema["dim"],
        "metric": schema["metric"],
        "vector_type": schema["dtype"],
        "id_type": schema["id_type"],
        "columns": columns,
    }


def _counted(one: migrate.Migrated) -> dict[str, Any]:
    return {**one, "rejected": [{"row": id, "reason": reason} for id, reason in one["rejected"]]}


def _words(answer: dict[str, Any]) -> str:
    lines = []
    for one in answer["collections"]:
        shape = (
            f"{one['dimension']} dimensions, {one['vector_type']}, {one['metric']}"
            if "metric" in one
            else "without rows"
        )
        lines.append(f"{'created' if one['created'] else 'filled'} {_plain(one['name'])}: {shape}")
        lines.append(f"copied {one['rows']:,} rows, {one['replaced']:,} replaced")
        lines += [f"note: {_plain(note)}" for note in one["notes"]]
        if one["rejected_rows"]:
            lines.append(f"left out {one['rejected_rows']:,} rows:")
            lines += [f"  {_plain(str(row['row']))}: {_plain(row['reason'])}" for row in one["rejected"][:_SHOWN]]
    lines.append(f"in {answer['seconds']:.2f} s ({answer['rows_per_second']:,} rows/s)")
    return "\n".join(lines)


def _plain(text: str) -> str:
    """Text fit for a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


if __name__ == "__main__":
    sys.exit(main())
