"""Recall and speed of faiss's product codes alone, without an exact distance, beside `cargo bench --bench product`.

    python product_codes.py [--set FOLDER] [--bytes N ...] FACTORY ...

A factory is one of faiss's index_factory in which `{n}` is the bytes of a row and `{n2}` twice as many, `PQ{n}` or
`OPQ{n}_768,PQ{n2}x4fs`. One thread, whose time is counted and not the clock's.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import faiss
import numpy as np

from vectors import Set

K = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", type=Path, required=True)
    parser.add_argument("--bytes", type=int, nargs="+", default=[48, 64, 96])
    parser.add_argument("factories", nargs="+")
    args = parser.parse_args()
    faiss.omp_set_num_threads(1)
    data = Set(args.set, args.set, None, None, 1_000)
    rows, queries = np.asarray(data.stored, np.float32), data.asked
    inner = data.metric != "l2"
    if data.metric == "cosine":
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    for size in args.bytes:
        for factory in args.factories:
            factory = factory.format(n=size, n2=2 * size)
            metric = faiss.METRIC_INNER_PRODUCT if inner else faiss.METRIC_L2
            index = faiss.index_factory(rows.shape[1], factory, metric)
            began = time.thread_time()
            index.train(rows[:: max(1, len(rows) // 65_536)])
            index.add(rows)
            built = time.thread_time() - began
            best = float("inf")
            for _ in range(5):
                began = time.thread_time()
                for query in queries[:200]:
                    index.search(query[None], K)
                best = min(best, (time.thread_time() - began) / 200)
            _, found = index.search(queries, K)
            limit = data.worst[: len(queries), None] * (1 + 1e-5) + 1e-6
            recall = (data.distances(found) <= limit).mean()
            print(f"{data.name} {size} B {factory}: recall@10 {recall:.3f}, {1 / best:,.0f}/s, made in {built:.0f} s", flush=True)


if __name__ == "__main__":
    main()
