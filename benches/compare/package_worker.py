"""The process in which packages.py runs one package: its task, filling a store, or one mistake.

    python package_worker.py task|fill|mistake PACKAGE DATA STORE RESULT [MISTAKE]

DATA holds `vectors.npy` and `rows.json` (the lists `text` and `year`). Needs numpy and the package alone. RESULT is
written as JSON; what a library prints is its own.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np

import mistakes

TASK_ROWS, BATCH, K, SINCE = 1_000, 1_000, 10, 2026
QUERY = -1
"""The row of the data that is searched for: the last, which the task does not store."""


def load(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("task", file)
    task = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(task)
    return task


class Data:
    def __init__(self, folder: Path) -> None:
        rows = json.loads((folder / "rows.json").read_text())
        self.vectors = np.load(folder / "vectors.npy")
        self.texts, self.years = rows["text"], rows["year"]

    def store(self, task: ModuleType, path: str, count: int):
        """A store of the first `count` chunks, given in batches."""
        store = task.create(path, self.vectors.shape[1])
        for start in range(0, count, BATCH):
            part = slice(start, min(start + BATCH, count))
            task.add(store, list(range(count))[part], self.texts[part], self.years[part], self.vectors[part])
        return store


def run_task(task: ModuleType, data: Data, path: str, again: bool) -> list[list]:
    """What the searches find: the first four steps, or the fifth, which another process does."""
    query = data.vectors[QUERY]
    if again:
        store = task.reopen(path)
        found = task.search(store, query, K, SINCE)
        task.close(store)
        return found
    store = data.store(task, path, TASK_ROWS)
    found = task.search(store, query, K, SINCE)
    task.change(store, found[0][0], "another text")
    task.remove(store, found[1][0])
    task.close(store)
    return found


def merge(name: str, task: ModuleType, path: str) -> None:
    """The call by which a database puts its files in order, where it has one; opening sweeps what is left of it."""
    store = task.reopen(path)
    if name == "nearfield":
        store.compact()
    elif name == "lancedb":
        from datetime import timedelta

        store.optimize(cleanup_older_than=timedelta(0))
    elif name in ("qdrant-edge-py", "zvec"):
        store.optimize()
    task.close(store)
    task.close(task.reopen(path))


def fill(name: str, task: ModuleType, data: Data, path: str, count: int) -> dict:
    """Bytes of a store after closing it, and when it has been merged."""
    task.close(data.store(task, path, count))
    written = disk_bytes(Path(path))
    merge(name, task, path)
    return {"written": written, "merged": disk_bytes(Path(path))}


def disk_bytes(folder: Path) -> int:
    """Of files as they are: blocks that a file reserves and never wrote are not counted."""
    files = [file.stat() for file in folder.rglob("*") if file.is_file()]
    return sum(min(file.st_size, file.st_blocks * 512) for file in files)


def damage(mistake: str, path: str) -> str:
    """Cuts the last quarter of the largest file off, or overwrites 512 bytes at seven places; its name.

    Logs, of which nothing is read any more, are left alone; zeros at the end of a file, which it reserves, too.
    """

    def written_bytes(file: Path) -> int:
        return len(file.read_bytes().rstrip(b"\0"))

    files = [file for file in Path(path).rglob("*") if file.is_file() and "wal" not in str(file.relative_to(path))]
    file = max(files, key=written_bytes)
    written = written_bytes(file)
    with open(file, "r+b") as target:
        if mistake == "a truncated file":
            target.truncate(written * 3 // 4)
        else:
            for eighth in range(1, 8):
                target.seek(written * eighth // 8)
                target.write(b"\xa5" * 512)
    return file.name


def mistake(name: str, task: ModuleType, data: Data, path: str, which: str) -> dict:
    mistakes.STORED = data.vectors[: mistakes.ROWS]
    before = json.loads(Path(path).with_name("answers.json").read_text())
    file = damage(which, path) if which in ("a truncated file", "a damaged file") else ""
    try:
        done = mistakes.make(which, name, task, path, before)
        found = {"outcome": type(done).__name__.lower(), "text": done.detail}
    except NotImplementedError:
        found = {"outcome": "none", "text": "no filters"}
    except BaseException as error:  # noqa: BLE001 panics of extension modules are no Exception
        rated, kind, text = mistakes.outcome(which, error, file, path)
        found = {"outcome": rated, "type": kind, "text": text}
    if Path(path).with_name("nowhere").exists():
        found["text"] += " (and leaves a directory there)"
    return {**found, "file": file}


def prepare(name: str, task: ModuleType, data: Data, path: str) -> None:
    """The store that mistakes are made with, and what it answers when whole."""
    task.close(data.store(task, path, mistakes.ROWS))
    merge(name, task, path)


def answers(name: str, task: ModuleType, data: Data, path: str) -> list[list[int]]:
    mistakes.STORED = data.vectors[: mistakes.ROWS]
    return mistakes.answers(mistakes.STORES[name](task, path))


def main() -> None:
    what, name, folder, path, result, *more = sys.argv[1:]
    task, data = load(Path(__file__).parent / "tasks" / f"{name}.py"), Data(Path(folder))
    found = {
        "task": lambda: run_task(task, data, path, again=False),
        "again": lambda: run_task(task, data, path, again=True),
        "fill": lambda: fill(name, task, data, path, int(more[0])),
        "prepare": lambda: prepare(name, task, data, path),
        "answers": lambda: answers(name, task, data, path),
        "mistake": lambda: mistake(name, task, data, path, more[0]),
    }[what]()
    Path(result).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
