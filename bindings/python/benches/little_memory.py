"""Searches by a process that may hold a part of the database in memory, cold pages from the disk.

    python little_memory.py DATABASE COLLECTION QUERIES.npy [--shares 1 0.25 0.0625]

Each share is a process of its own in a cgroup of memory, version 1 or 2, which only root can make. Prints the
middle and the slowest of the times of single searches for the ten nearest, and recall@10 against exact search.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from pathlib import Path

import numpy as np

import nearfield

V1, V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
NAME = "nearfield-bench"


def enter(limit: int) -> None:
    """Keeps this process within so many bytes of memory, page cache included."""
    first = (V1 / "memory.limit_in_bytes").exists()
    group = (V1 if first else V2) / NAME
    group.mkdir(exist_ok=True)
    (group / ("memory.limit_in_bytes" if first else "memory.max")).write_text(str(limit))
    (group / ("tasks" if first else "cgroup.procs")).write_text(str(os.getpid()))


def measure(options: argparse.Namespace, share: float, size: int, truth: np.ndarray) -> None:
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("1")
    if share < 1:
        enter(int(size * share))
    queries = np.load(options.queries)[: options.count]
    rows = nearfield.open(options.database, mode="r")[options.collection]
    times, found = [], []
    for query in queries:
        began = time.perf_counter()
        hits = rows.search(query, 10, select=())
        times.append((time.perf_counter() - began) * 1e3)
        found.append(len(np.intersect1d(hits.ids, truth[len(found)])))
    first = min(50, len(times) // 2)
    later = np.array(times[first:])
    print(
        f"{share:7.4f} of {size >> 20} MiB: the first {first} {np.mean(times[:first]):8.2f} ms each, then "
        f"p50 {np.median(later):8.2f}, p99 {np.quantile(later, 0.99):8.2f}, mean {later.mean():8.2f} ms, "
        f"recall {np.mean(found) / 10:.3f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("database")
    parser.add_argument("collection")
    parser.add_argument("queries", help="a .npy of vectors")
    parser.add_argument("--shares", type=float, nargs="+", default=[1, 0.25, 0.0625])
    parser.add_argument("--count", type=int, default=400, help="queries that are asked")
    options = parser.parse_args()
    rows = nearfield.open(options.database, mode="r")[options.collection]
    truth = rows.search_batch(np.load(options.queries)[: options.count], 10, exact=True).ids
    size = sum(file.stat().st_size for file in Path(options.database).rglob("*") if file.is_file())
    del rows
    for share in options.shares:
        process = multiprocessing.get_context("spawn").Process(target=measure, args=(options, share, size, truth))
        process.start()
        process.join()


if __name__ == "__main__":
    main()
