"""What users get wrong, and what each package makes of it.

A mistake is done to a store of `ROWS` chunks, in a process of its own (package_worker.py), by the functions of the
package's task; by the calls of the index alone where texts and years are in SQLite beside it. What comes of it is

- `clear`: an error that names what was given and what was expected or is to be done, by the patterns of `MISTAKES`,
- `half`: an error that names one of them, `vague`: neither,
- `right`: no error, and the answers are those that a whole store gives,
- `silent`: no error although the input was wrong, or answers that are wrong,
- `crash`: a signal ended the process, `hang`: nothing came within `TIMEOUT` seconds (packages.py sees these).
"""

from __future__ import annotations

import multiprocessing
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np

ROWS, DIM, TIMEOUT = 2_000, 384, 60
FRESH = 90_001
"""Ids from here on are not in the store."""
SHORT = 77
"""A dimension that is wrong."""


class Right(NamedTuple):
    detail: str


class Silent(NamedTuple):
    detail: str


class Store:
    """A database, by the functions of its task."""

    def __init__(self, task: ModuleType, path: str) -> None:
        self.task, self.store = task, task.reopen(path)

    def add(self, ids: list[int], vectors: np.ndarray) -> None:
        self.task.add(self.store, ids, ["a text"] * len(ids), [2020] * len(ids), vectors)

    def search(self, query: np.ndarray, k: int) -> list[int]:
        return [id for id, _ in self.task.search(self.store, query, k, 0)]

    def close(self) -> None:
        self.task.close(self.store)

    @classmethod
    def opened(cls, task: ModuleType, path: str) -> Silent:
        """Opens what is not there."""
        cls(task, path)
        return Silent("accepted")

    def unknown_column(self) -> object:
        raise NotImplementedError

    def broken_filter(self) -> object:
        raise NotImplementedError


class Nearfield(Store):
    def unknown_column(self) -> object:
        return self.store.search(np.ones(DIM, np.float32), 10, where="colour = 'red'").ids

    def broken_filter(self) -> object:
        return self.store.search(np.ones(DIM, np.float32), 10, where="year >= AND").ids


class Chroma(Store):
    def unknown_column(self) -> object:
        return self.store[1].query(query_embeddings=[np.ones(DIM)], where={"colour": "red"})["ids"][0]

    def broken_filter(self) -> object:
        return self.store[1].query(query_embeddings=[np.ones(DIM)], where={"year": {"$bigger": 2020}})["ids"][0]


class Lance(Store):
    def unknown_column(self) -> object:
        return self.store.search(np.ones(DIM, np.float32)).where("colour = 'red'").to_list()

    def broken_filter(self) -> object:
        return self.store.search(np.ones(DIM, np.float32)).where("year >= AND").to_list()


class Zvec(Store):
    def found(self, where: str) -> object:
        import zvec

        return self.store.query(zvec.Query("vector", vector=np.ones(DIM, np.float32)), topk=10, filter=where)

    def unknown_column(self) -> object:
        return self.found("colour = 'red'")

    def broken_filter(self) -> object:
        return self.found("year >= AND")


class Edge(Store):
    def found(self, condition: Callable) -> object:
        import qdrant_edge as edge

        nearest = edge.Query.Nearest([1.0] * DIM)
        return self.store.query(edge.QueryRequest(limit=10, query=nearest, filter=edge.Filter(must=[condition(edge)])))

    def unknown_column(self) -> object:
        return self.found(lambda edge: edge.FieldCondition("colour", match=edge.MatchValue("red")))

    def broken_filter(self) -> object:
        return self.found(lambda edge: edge.FieldCondition("year", range=edge.RangeFloat(bigger=2020)))


class Hnswlib(Store):
    def add(self, ids: list[int], vectors: np.ndarray) -> None:
        _, index, _ = self.store
        index.resize_index(index.get_current_count() + len(ids))
        index.add_items(vectors, ids)

    def search(self, query: np.ndarray, k: int) -> list[int]:
        self.store[1].set_ef(max(100, k))
        return self.store[1].knn_query(query, k)[0][0].tolist()


class Faiss(Store):
    def add(self, ids: list[int], vectors: np.ndarray) -> None:
        self.store[1].add_with_ids(vectors, np.array(ids))

    def search(self, query: np.ndarray, k: int) -> list[int]:
        import faiss

        asked = faiss.SearchParametersHNSW(efSearch=max(100, k))
        return [id for id in self.store[1].search(query[None], k, params=asked)[1][0].tolist() if id >= 0]


class Usearch(Store):
    @classmethod
    def opened(cls, task: ModuleType, path: str) -> Silent:
        return Silent(f"accepted, restores {task.Index.restore(f'{path}/vectors.usearch')}")

    def add(self, ids: list[int], vectors: np.ndarray) -> None:
        self.store[1].add(ids, vectors)

    def search(self, query: np.ndarray, k: int) -> list[int]:
        return self.store[1].search(query, k).keys.tolist()


STORES = {
    "nearfield": Nearfield,
    "chromadb": Chroma,
    "lancedb": Lance,
    "qdrant-edge-py": Edge,
    "zvec": Zvec,
    "usearch": Usearch,
    "hnswlib": Hnswlib,
    "faiss-cpu": Faiss,
}


def vectors(count: int, dim: int = DIM) -> np.ndarray:
    """Of length 1, and unlike any in the store."""
    drawn = np.random.default_rng(7).normal(size=(count, dim)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def with_nan() -> np.ndarray:
    rows = vectors(2)
    rows[1, 5] = np.nan
    return rows


def added(store: Store, ids: list[int], rows: np.ndarray) -> Silent:
    store.add(ids, rows)
    return Silent("accepted")


def answered(found: object) -> Silent:
    return Silent(f"accepted, {len(found)} found")  # type: ignore[arg-type]


def twice(store: Store) -> Silent:
    """An id that is there already, with another vector."""
    row = vectors(1)
    store.add([7], row)
    found = store.search(row[0], 5)
    kept = "stored twice" if 7 in found and 7 in store.search(STORED[7], 5) else "replaced" if 7 in found else "left out"
    return Silent(f"accepted, {kept}")


def counted(found: list[int], expected: int) -> Right | Silent:
    """As many as there are, but for the hundredth that a graph may not reach."""
    right = 0.99 * expected <= len(found) == len(set(found)) <= expected
    return (Right if right else Silent)(f"accepted, {len(found):,} found")


def stored(store: Store, rows: np.ndarray) -> Right | Silent:
    """Rows of an unusual array are found again by their values."""
    ids = list(range(FRESH, FRESH + len(rows)))
    store.add(ids, rows)
    found = [store.search(np.ascontiguousarray(row, np.float32), 1)[0] for row in rows]
    return Right("accepted, values right") if found == ids else Silent("accepted, values wrong")


def same_as_before(store: Store, before: list[list[int]]) -> Right | Silent:
    after = answers(store)
    if after == before:
        return Right("not noticed, answers as before")
    lost = len(set(sum(before, [])) - set(sum(after, [])))
    return Silent(f"answers differ, {lost} ids gone")


def answers(store: Store) -> list[list[int]]:
    """What reads the whole store: near rows of many queries."""
    return [store.search(row, 20) for row in STORED[::10]]


def both_write(first: Store, second: Callable[[], None], path: str, task: ModuleType) -> Right | Silent:
    """Two that have the store open add a row each: are both there?"""
    row = vectors(2)
    second()
    first.add([FRESH], row[:1])
    first.close()
    store = type(first)(task, path)
    there = [store.search(row[i], 1)[0] == FRESH + i for i in range(2)]
    return Right("accepted, both rows kept") if all(there) else Silent(f"accepted, {2 - sum(there)} of 2 rows lost")


def write_second(kind: type[Store], task: ModuleType, path: str) -> None:
    store = kind(task, path)
    store.add([FRESH + 1], vectors(2)[1:])
    store.close()


def write_in_child(task: ModuleType, path: str, name: str) -> None:
    """As `write_second` in a process of its own, whose exception is raised here."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    child = context.Process(target=_child, args=(name, task.__file__, path, there))
    child.start()
    child.join(TIMEOUT / 2)
    if child.is_alive():
        child.kill()
        raise TimeoutError("the second process waits for ever")
    if child.exitcode:
        raise ChildProcessError(f"the second process ended with {child.exitcode}")
    failed = here.recv()
    if failed:
        raise Elsewhere(*failed)


class Elsewhere(Exception):
    """An exception of another process: its type and its text."""


def _child(name: str, file: str, path: str, answer) -> None:
    from package_worker import load

    try:
        write_second(STORES[name], load(Path(file)), path)
        answer.send(None)
    except BaseException as error:  # noqa: BLE001 panics of extension modules are no Exception
        answer.send(described(error))


class Mistake(NamedTuple):
    """The patterns of a clear error: what was given, and what was expected."""

    given: str
    expected: str


# FILE is the damaged file's name, STORE that of the store's directory.
DAMAGE = Mistake("FILE", r"bytes|truncat|too short|end of file|corrupt|damage|checksum|invalid|size|magic")
SHARED = Mistake(r"STORE|\bpid\b", r"\block|in use|another process|already|busy")
NAN = Mistake(r"\bnan\b", rf"finite|must not|\b{FRESH + 1}\b")
SIZES = Mistake(rf"\b{SHORT}\b", rf"\b{DIM}\b")
K = Mistake(r"\b0\b|zero", r"\b1\b|positive|negative|greater|at least")
ARRAY = Mistake(r"float64|double|strid|contiguous", r"float32|contiguous")

MISTAKES = {
    "rows of 77 dimensions": SIZES,
    "a query of 77 dimensions": SIZES,
    "NaN in a row": NAN,
    "NaN in a query": NAN,
    "an id that exists": Mistake(r"\b7\b", r"exist|duplicate|already|unique"),
    "an empty query": Mistake(r"\b0\b|empty|none|no values", rf"\b{DIM}\b|at least 1"),
    "a filter on an unknown column": Mistake("colour", r"\byear\b"),
    "a filter that cannot be read": Mistake(r"\bAND\b|bigger", r"\bexpect(ed|ing)?\b|\bgte\b"),
    "k = 0": K,
    "k above the number of rows": Mistake("5,?000", "2,?000"),
    "a truncated file": DAMAGE,
    "a damaged file": DAMAGE,
    "opened by two processes": SHARED,
    "opened twice in a process": SHARED,
    "a path where nothing is": Mistake("nowhere", r"exist|no such|not found|creat|missing"),
    "float64 rows": ARRAY,
    "rows that are not contiguous": ARRAY,
}

STORED: np.ndarray
"""The vectors of the store, which package_worker.py sets."""


def make(mistake: str, name: str, task: ModuleType, path: str, before: list[list[int]]) -> Right | Silent:
    """Makes the mistake; what the package raises passes."""
    kind = STORES[name]
    if mistake == "a path where nothing is":
        return kind.opened(task, str(Path(path).with_name("nowhere")))
    store = kind(task, path)
    wide = vectors(20, 2 * DIM)
    return {
        "rows of 77 dimensions": lambda: added(store, [FRESH, FRESH + 1], vectors(2, SHORT)),
        "a query of 77 dimensions": lambda: answered(store.search(vectors(1, SHORT)[0], 10)),
        "NaN in a row": lambda: added(store, [FRESH, FRESH + 1], with_nan()),
        "NaN in a query": lambda: answered(store.search(with_nan()[1], 10)),
        "an id that exists": lambda: twice(store),
        "an empty query": lambda: answered(store.search(np.empty(0, np.float32), 10)),
        "a filter on an unknown column": lambda: answered(store.unknown_column()),
        "a filter that cannot be read": lambda: answered(store.broken_filter()),
        "k = 0": lambda: counted(store.search(STORED[0], 0), 0),
        "k above the number of rows": lambda: counted(store.search(STORED[0], 5_000), ROWS),
        "a truncated file": lambda: same_as_before(store, before),
        "a damaged file": lambda: same_as_before(store, before),
        "opened by two processes": lambda: both_write(store, lambda: write_in_child(task, path, name), path, task),
        "opened twice in a process": lambda: both_write(store, lambda: write_second(kind, task, path), path, task),
        "float64 rows": lambda: stored(store, vectors(20).astype(np.float64)),
        "rows that are not contiguous": lambda: stored(store, wide[:, ::2]),
    }[mistake]()


def described(error: BaseException) -> tuple[str, str]:
    if isinstance(error, Elsewhere):
        return error.args[0], error.args[1]
    kind = type(error)
    place = "" if kind.__module__ == "builtins" else f"{kind.__module__.split('.')[0]}."
    return place + kind.__name__, str(error)


def outcome(mistake: str, error: BaseException, file: str, path: str) -> tuple[str, str, str]:
    """How clear an error is, its type and its text."""
    kind, text = described(error)
    given, expected = MISTAKES[mistake]
    given = given.replace("FILE", re.escape(file)).replace("STORE", re.escape(Path(path).name))
    named = sum(bool(re.search(pattern, text, re.IGNORECASE)) for pattern in (given, expected))
    return ("vague", "half", "clear")[named], kind, text
