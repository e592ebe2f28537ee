"""Numbered rounds of writes, and what is there after each: what the hard tests compare a database with.

A round is one call that writes. What it does follows from a seed and the rounds before it, so that any process knows
what every prefix of the rounds leaves. A row's vector says which row it is and which round made it; its columns and a
running sum over all rows tell one prefix from another.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import nearfield as nf

DIM = 16
# Ids below this are there from the first round on, and are replaced all the time.
STEADY = 500
MOST_ROWS = 1_800
MOST_COLUMNS = 12

KINDS = (
    "upsert", "add", "delete", "delete where", "update", "flush", "compact",
    "import batches", "import npy", "import jsonl", "add columns", "text index", "forget",
)  # fmt: skip
# How often each comes, for kills in the middle of what takes long; mostly batches, as of an application; and batches alone.
MIXED = (24, 16, 10, 3, 8, 5, 9, 6, 5, 3, 2, 1, 4)
# A disk without room may refuse to forget rows that it has deleted.
WITHOUT_FORGET = (*MIXED[:-1], 0)
BATCHES = (40, 40, 10, 2, 10, 8, 3, 3, 2, 1, 1, 1, 1)
UNFLUSHED = (40, 40, 10, 2, 10, 0, 0, 0, 0, 0, 0, 0, 0)
HEAVY = ("compact", "flush", "import batches", "import npy", "import jsonl", "add columns", "forget")
# Rounds that make all before them durable, whatever the durability of the database.
FLUSHING = ("flush", "import batches", "import npy", "import jsonl")
LANGUAGES = ("english", None)

NONE = -1


class Row(NamedTuple):
    """All there is to say of a row: the round that made it, whether it has a number and a note, its tag, and which of
    the columns added later it has a value in."""

    made: int
    noted: bool
    tag: int = NONE
    extra: int = NONE


class Round(NamedTuple):
    kind: str
    ids: list[int]
    # A count of rows to be deleted, the name of a column, or a language.
    detail: Any = None


class Violation(Exception):
    """The database is not what it must be."""


def vectors(ids: Iterable[int], made: Iterable[int] | int) -> np.ndarray:
    """The vectors that rows have when a round made them."""
    ids = np.fromiter(ids, np.int64)
    made = np.broadcast_to(np.asarray(made, np.int64), ids.shape)
    steps = np.arange(DIM) * 7 + 1
    rows = ((ids[:, None] * steps + made[:, None] * (steps + 4)) % 251).astype(np.float32) / 4
    rows[:, 0], rows[:, 1] = ids, made
    return rows


def word(id: int, made: int) -> str:
    """A word that no other row's note has."""
    return f"w{id}x{made}"


def note(id: int, made: int) -> str:
    return f"{word(id, made)} is row {id} of round {made}, " + "and so on " * (id % 5)


class Rounds:
    """What is there after the first `head` rounds."""

    def __init__(self, seed: int, weights: tuple[int, ...] = MIXED):
        self.seed, self.weights = seed, weights
        self.rows: dict[int, Row] = {}
        self.columns = 0
        self.language: str | None = LANGUAGES[0]
        self.sum = 0
        # `prints[n]` tells the state after n rounds from others.
        self.prints = [self.print()]

    @property
    def head(self) -> int:
        return len(self.prints) - 1

    def print(self) -> tuple[int, int, str | None]:
        return (self.sum, self.columns, self.language)

    def plan(self) -> Round:
        """What the next round does."""
        r = self.head
        if r == 0:
            return Round("upsert", list(range(STEADY)))
        dice = random.Random(f"{self.seed}/{r}")
        kind = dice.choices(KINDS, self.weights)[0]
        if kind == "add columns" and self.columns == MOST_COLUMNS:
            kind = "compact"
        if kind in ("add", "import batches") and len(self.rows) > MOST_ROWS:
            kind = "delete"
        begin = dice.randrange(STEADY)
        steady = [(begin + n) % STEADY for n in range(dice.choice([1, 10, 50]))]
        own = range(STEADY + 1_000 * r, STEADY + 1_000 * (r + 1))
        living = list(self.rows)
        match kind:
            case "upsert":
                return Round(kind, steady + list(own[: dice.choice([0, 10])]))
            case "add":
                return Round(kind, list(own[: dice.choice([1, 20, 20, 60])]))
            case "delete":
                # Some of them do not exist.
                there = dice.sample(living, min(len(living), len(self.rows) // 20 + dice.choice([1, 30])))
                return Round(kind, there + list(own[:3]))
            case "forget":
                return Round(kind, dice.sample(living, min(len(living), dice.choice([1, 30]))))
            case "delete where":
                made = self.rows[dice.choice(living)].made
                return Round(kind, [id for id, row in self.rows.items() if row.noted and row.made == made], made)
            case "update":
                return Round(kind, dice.sample(living, min(len(living), dice.choice([1, 40]))))
            case "import batches":
                return Round(kind, steady + list(own[: dice.choice([60, 200])]))
            case "import npy":
                return Round(kind, list(range(dice.choice([50, STEADY]))))
            case "import jsonl":
                return Round(kind, steady)
            case "text index":
                return Round(kind, [], dice.choice(LANGUAGES))
            case _:
                return Round(kind, [])

    def fresh(self) -> Rounds:
        """The same rounds, none of them done."""
        return Rounds(self.seed, self.weights)

    def advance(self, to: int) -> None:
        """Goes on until `to` rounds are done."""
        while self.head < to:
            self.apply(self.plan())

    def apply(self, todo: Round) -> None:
        r, kind = self.head, todo.kind
        if kind in ("upsert", "add", "import batches", "import jsonl"):
            extra = self.columns - 1 if self.columns and kind != "import jsonl" else NONE
            for id in todo.ids:
                self.put(id, Row(r, True, NONE, extra))
        elif kind == "import npy":
            for id in todo.ids:
                self.put(id, Row(r, False))
        elif kind in ("delete", "delete where", "forget"):
            for id in todo.ids:
                self.put(id, None)
        elif kind == "update":
            for id in todo.ids:
                self.put(id, self.rows[id]._replace(tag=r))
        elif kind == "add columns":
            self.columns += 1
        elif kind == "text index":
            self.language = todo.detail
        self.prints.append(self.print())

    def put(self, id: int, row: Row | None) -> None:
        before = self.rows.pop(id, None)
        if before is not None:
            self.sum -= mark(id, before)
        if row is not None:
            self.rows[id] = row
            self.sum += mark(id, row)

    def data(self, ids: list[int]) -> dict[str, list]:
        """The columns that rows are written with in the next round."""
        r = self.head
        data: dict[str, list] = {"made": [r] * len(ids), "note": [note(id, r) for id in ids]}
        if self.columns:
            data[f"extra{self.columns - 1}"] = [r] * len(ids)
        return data

    def run(self, docs: nf.Collection, todo: Round, files: Path) -> None:
        """Does the next round to a collection; files to be imported are written in the directory `files`."""
        ids, r = todo.ids, self.head
        there = sum(id in self.rows for id in ids)
        match todo.kind:
            case "upsert":
                expect(todo, len(ids), docs.upsert(ids, vectors(ids, r), self.data(ids)))
            case "add":
                expect(todo, len(ids), docs.add(ids, vectors(ids, r), self.data(ids)))
            case "delete":
                expect(todo, there, docs.delete(ids))
            case "delete where":
                expect(todo, there, docs.delete(where=f"made = {todo.detail}"))
            case "forget":
                expect(todo, there, docs.forget(ids))
            case "update":
                expect(todo, there, docs.update(ids, {"tag": [r] * len(ids)}))
            case "flush":
                docs.flush()
            case "compact":
                expect(todo, len(self.rows), docs.compact()["rows"])
            case "import batches":
                parts = [ids[n : n + 64] for n in range(0, len(ids), 64)]
                batches = ((part, vectors(part, r), self.data(part)) for part in parts)
                expect(todo, len(ids), docs.import_batches(batches))
            case "import npy":
                np.save(files / "rows.npy", vectors(ids, r))
                found = docs.database.import_file(docs.name, files / "rows.npy")
                expect(todo, (len(ids), there), (found["rows"], found["replaced"]))
            case "import jsonl":
                rows = zip(ids, vectors(ids, r).tolist(), strict=True)
                lines = ({"id": id, "v": v, "made": r, "note": note(id, r)} for id, v in rows)
                (files / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
                found = docs.database.import_file(docs.name, files / "rows.jsonl", vector="v")
                expect(todo, (len(ids), there), (found["rows"], found["replaced"]))
            case "add columns":
                expect(todo, 1, docs.add_columns({f"extra{self.columns}": int}))
            case "text index":
                expect(todo, todo.detail != self.language, docs.add_text_index("note", todo.detail))

    def number(self, seen: Rows, first: int, last: int) -> int | None:
        """After how many rounds, of `first` to `last`, the state is `seen`."""
        self.advance(last)
        return next((n for n in range(first, last + 1) if self.prints[n] == seen.print()), None)

    def before(self, number: int) -> int:
        """How many rounds leave the state before the last change of the first `number`."""
        changes = (n for n in range(number, 0, -1) if self.prints[n] != self.prints[n - 1])
        return next(changes, 1) - 1

    def differences(self, seen: Rows) -> str:
        """In what a state differs from the one that is expected now."""
        gone = sorted(self.rows.keys() - seen.rows.keys())
        more = sorted(seen.rows.keys() - self.rows.keys())
        other = [id for id, row in self.rows.items() if seen.rows.get(id, row) != row]
        shown = [f"{id}: {seen.rows[id]} for {self.rows[id]}" for id in other[:3]]
        return (
            f"after {self.head} rounds {len(gone)} rows are gone ({gone[:5]}), {len(more)} are too many ({more[:5]}), "
            f"{len(other)} are others ({'; '.join(shown)}); columns {seen.columns} for {self.columns}, "
            f"language {seen.language} for {self.language}"
        )

    def lost(self, seen: Rows) -> int:
        """How many rows are not there as they must be."""
        return sum(seen.rows.get(id) != row for id, row in self.rows.items())


def mark(id: int, row: Row) -> int:
    return hash((id, *row))


def expect(todo: Round, wanted: object, found: object) -> None:
    if wanted != found:
        raise Violation(f"{todo.kind} of {len(todo.ids)} ids answered {found}, not {wanted}")


class Rows(NamedTuple):
    """What a collection holds."""

    rows: dict[int, Row]
    columns: int
    language: str | None

    def print(self) -> tuple[int, int, str | None]:
        return (sum(mark(id, row) for id, row in self.rows.items()), self.columns, self.language)


NOTHING = Rows({}, 0, LANGUAGES[0])


def collection(db: nf.Database) -> nf.Collection:
    if "docs" in db:
        return db["docs"]
    columns = {"made": int, "note": str, "tag": int}
    return db.collection("docs", DIM, "l2", columns=columns, text={"note": LANGUAGES[0]}, id_type=int)


def observe(docs: nf.Collection) -> Rows:
    """Reads everything, and checks that each row is in itself what one round wrote."""
    rows: dict[int, Row] = {}
    schema = docs.schema
    columns = sum(name.startswith("extra") for name in schema["columns"])
    for records in docs.scan(vectors=True):
        found = records.vectors
        ids, made = records.ids, found[:, 1].astype(np.int64)
        wrong = (found != vectors(ids, made)).any(axis=1)
        if wrong.any():
            raise Violation(f"rows {ids[wrong][:5].tolist()} have vectors that nobody wrote")
        for id, made, record in zip(ids.tolist(), made.tolist(), records, strict=True):
            rows[id] = row_of(id, made, record)
    return Rows(rows, columns, language_of(schema))


def row_of(id: int, made: int, record: dict[str, Any]) -> Row:
    extras = [name for name, value in record.items() if name.startswith("extra") and value is not None]
    noted = record["made"] is not None
    whole = (record["made"], record["note"]) == ((made, note(id, made)) if noted else (None, None))
    if not whole or len(extras) > 1 or any(record[name] != made for name in extras):
        raise Violation(f"row {id} of round {made} has columns that nobody wrote together: {record}")
    tag = NONE if record["tag"] is None else record["tag"]
    return Row(made, noted, tag, int(extras[0].removeprefix("extra")) if extras else NONE)


def language_of(schema: dict[str, Any]) -> str | None:
    text = schema["text"]
    return text["note"]["language"] if isinstance(text, dict) else LANGUAGES[0]


def check_searches(docs: nf.Collection, rows: dict[int, Row], dice: random.Random) -> None:
    """Searches agree with the rows that are there."""
    if docs.count() != len(rows):
        raise Violation(f"count is {docs.count()} of {len(rows)} rows")
    if not rows:
        return
    ids = np.array(list(rows))
    there = vectors(ids, [row.made for row in rows.values()])
    some = np.array(dice.sample(range(len(ids)), min(len(ids), 12)))
    distances = ((there[some, None, :].astype(np.float64) - there[None]) ** 2).sum(axis=2)
    k = min(10, len(ids))
    own, _ = docs.search_batch(there[some], k=1, exact=True)
    if (own[:, 0] != ids[some]).any():
        raise Violation(f"exact searches by the vectors of {ids[some].tolist()} find {own[:, 0].tolist()}")
    _, found = docs.search_batch(there[some], k=k, exact=True)
    if not np.allclose(found, np.sort(distances, axis=1)[:, :k], rtol=1e-4):
        raise Violation("exact searches miss nearer rows")
    near, found = docs.search_batch(there[some], k=k)
    place = {int(id): n for n, id in enumerate(ids)}
    for query, (hits, far) in enumerate(zip(near.tolist(), found.tolist(), strict=True)):
        alive = [place.get(hit) for hit in hits]
        if None in alive or len(set(alive)) < k:
            raise Violation(f"a search finds {hits}, not {k} living rows")
        if not np.allclose(far, distances[query, alive], rtol=1e-4):
            raise Violation(f"a search finds {hits} at distances that are not theirs")
    noted = [id for id, row in rows.items() if row.noted]
    for id in dice.sample(noted, min(len(noted), 2)):
        hits = docs.search(words=word(id, rows[id].made), k=2).ids.tolist()
        if hits != [id]:
            raise Violation(f"a search by the word of row {id} finds {hits}")


def check_files(docs: nf.Collection) -> None:
    problems = docs.verify()["problems"]
    if problems:
        raise Violation(f"verify finds {problems}")


def settings(dice: random.Random) -> dict[str, Any]:
    """Settings for an opening, drawn such that files are flushed and merged all the time."""
    return {
        "threads": dice.choice([1, 2]),
        "memtable_bytes": dice.choice([64 << 10, 256 << 10, 1 << 20]),
        "graph_bytes": dice.choice([0, 32 << 10, 16 << 20]),
        "m": 8,
        "ef_construction": 24,
        "code": dice.choice(["auto", "byte", "half", "bit"]),
        "compaction": dice.random() < 0.8,
    }
