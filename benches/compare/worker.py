"""The process that one peer lives in: builds its index, or opens it and answers.

Started by measure.py, perhaps with another interpreter, so it needs Python 3.8, numpy and the peer alone. A command is
a line of JSON on standard input, its answer a line of JSON on standard output with, after a search, the ids as
`bytes` bytes of int64. What the library prints goes to standard error. A closed input ends it.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from importlib import metadata
from pathlib import Path

import numpy as np

import peers
from libraries import padded

WARM_UP = 50
"""Queries that are asked before the clock starts."""


def memory() -> dict[str, int]:
    """What the process has resident, in bytes: everything, and what no file backs."""
    found = {"Rss": 0, "Anonymous": 0}
    try:
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, value = line.partition(":")
        if key in found:
            found[key] = int(value.split()[0]) * 1024
    return {"rss": found["Rss"], "anonymous": found["Anonymous"]}


def unit(rows: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.maximum(norms, np.finfo(np.float32).tiny)


class Worker:
    def __init__(self, name: str, dim: int, metric: str, threads: int, below: int | None) -> None:
        self.peer = peers.make(name, dim, metric, threads)
        if below is not None and not self.peer.filters:
            raise ValueError("it is not asked with filters here")
        self.peer.below = below
        self.name, self.normalise = name, self.peer.unit and metric == "cosine"
        self.before = memory()

    def rows(self, path: str) -> np.ndarray:
        rows = np.load(path)
        return unit(rows) if self.normalise else rows

    def about(self) -> dict:
        """The version, the parameters, and what tells one installation of a library from another."""
        installed = metadata.distribution(self.peer.packages[0].split("==")[0])
        record = (installed.read_text("RECORD") or "").encode()
        return {
            "version": self.peer.version(),
            "installation": hashlib.sha256(record).hexdigest()[:16],
            "parameters": list(self.peer.parameters),
            "batch": self.peer.batch,
        }

    def build(self, train: str, folder: str) -> dict:
        rows = self.rows(train)
        wall, cpu = time.perf_counter(), time.process_time()
        self.peer.build(rows, Path(folder))
        return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}

    def open(self, folder: str, queries: str) -> dict:
        self.queries = self.rows(queries)
        parameter = self.peer.parameters[0]
        self.before = memory()
        start = time.perf_counter()
        self.peer.open(Path(folder))
        opened = time.perf_counter()
        self.peer.search_one(self.queries[0], parameter)
        return {"open": opened - start, "first_query": time.perf_counter() - opened}

    def search(self, parameter, count: int, single: bool) -> tuple[dict, np.ndarray]:
        queries, peer = self.queries[:count], self.peer
        few = queries[:WARM_UP]
        if single:
            for query in few:
                peer.search_one(query, parameter)
            wall, cpu = time.perf_counter(), time.process_time()
            found = [peer.search_one(query, parameter) for query in queries]
            times = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
            ids = padded(found)
        else:
            peer.search(few, parameter)
            wall, cpu = time.perf_counter(), time.process_time()
            ids = peer.search(queries, parameter)
            times = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
        return times, ids

    def latency(self, parameter, count: int) -> dict:
        """Seconds of wall clock of one call a query: p50, p95 and p99."""
        for query in self.queries[:WARM_UP]:
            self.peer.search_one(query, parameter)
        seconds = []
        for query in self.queries[:count]:
            start = time.perf_counter()
            self.peer.search_one(query, parameter)
            seconds.append(time.perf_counter() - start)
        return dict(zip(("p50", "p95", "p99"), np.quantile(seconds, (0.5, 0.95, 0.99)).tolist()))

    def memory(self) -> dict:
        """How much more is resident than before the index was opened."""
        now = memory()
        grown = {key: now[key] - self.before[key] for key in now}
        return {**grown, "index": self.peer.index_bytes()}


def serve(answers) -> None:
    def answer(line: dict, ids: np.ndarray | None = None) -> None:
        data = b"" if ids is None else np.ascontiguousarray(ids, np.int64).tobytes()
        answers.write(json.dumps({**line, "bytes": len(data)}).encode() + b"\n" + data)
        answers.flush()

    try:
        name, dim, metric, threads, *below = sys.argv[1:]
        worker = Worker(name, int(dim), metric, int(threads), int(below[0]) if below else None)
        answer(worker.about())
    except ImportError as error:
        missing = " ".join(peers.kind(sys.argv[1]).packages)
        return answer({"missing": f"{error}; pip install {missing}"})
    except Exception as error:
        return answer({"error": f"{type(error).__name__}: {error}"})
    for line in sys.stdin:
        command = json.loads(line)
        try:
            done = getattr(worker, command.pop("do"))(**command)
            answer(*done) if isinstance(done, tuple) else answer(done)
        except Exception as error:
            answer({"error": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    # A library that prints must not spoil the answers.
    private = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(private)
