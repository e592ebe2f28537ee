"""What searches take in memory by budget, what they find with it, and how fast, from mapped files and held in memory.

    python serving.py VECTORS.npy QUERIES.npy [--budgets 0 26000000 21000000]

A database for each budget (0: none) in a temporary directory, cosine, one compacted segment; then for each a process
of its own that opens it mapped and one that holds it, in turns. Prints bytes that searches read all over, anonymous
memory of the process that the collection takes, recall@10 at defaults against an exact search, and searches a second
of one thread, the best of some rounds.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from pathlib import Path

import numpy as np

import nearfield


def own_bytes() -> int:
    """Anonymous memory of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def serve(path: Path, memory: str, queries: np.ndarray, truth: np.ndarray, rounds: int) -> None:
    before = own_bytes()
    began = time.perf_counter()
    rows = nearfield.open(path, mode="r", memory=memory)["rows"]
    opened, taken = time.perf_counter() - began, own_bytes() - before
    stats = rows.stats()
    found = [len(np.intersect1d(rows.search(q, 10, select=()).ids, t)) for q, t in zip(queries, truth, strict=True)]
    best = 0.0
    for _ in range(rounds):
        began = time.process_time()
        for query in queries:
            rows.search(query, 10, select=())
        best = max(best, len(queries) / (time.process_time() - began))
    code = ", ".join(sorted({part["code"] for part in stats["segments"]}))
    print(
        f"{path.name:>12} {memory:5} {code:8} read {stats['serving_bytes'] / 1e6:7.1f} MB, own {taken / 1e6:6.1f} MB, "
        f"opened in {opened * 1e3:6.1f} ms, recall {np.mean(found) / 10:.3f}, {best:7.0f} searches/s",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vectors")
    parser.add_argument("queries")
    parser.add_argument("--budgets", type=int, nargs="+", default=[0, 26_000_000, 21_000_000])
    parser.add_argument("--m", type=int, default=16)
    parser.add_argument("--raw", default="f32")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    vectors = np.load(options.vectors).astype(np.float32)
    queries = np.load(options.queries).astype(np.float32)[:1000]
    with tempfile.TemporaryDirectory() as folder:
        truth = None
        for budget in options.budgets:
            path = Path(folder) / str(budget or "no limit")
            with nearfield.open(path, m=options.m, serving_budget=budget or None, compaction=False) as db:
                rows = db.collection("rows", dim=vectors.shape[1], metric="cosine", raw=options.raw)
                rows.upsert(np.arange(len(vectors)), vectors)
                rows.compact()
                if problem := rows.stats()["serving_problem"]:
                    print(problem)
                if truth is None:
                    truth = rows.search_batch(queries, k=10, exact=True).ids
            for memory in ("mmap", "ram"):
                args = (path, memory, queries, truth, options.rounds)
                process = multiprocessing.get_context("spawn").Process(target=serve, args=args)
                process.start()
                process.join()


if __name__ == "__main__":
    main()
