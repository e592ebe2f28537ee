"""What Python adds to the engine: per call, per batch, to an ingestion, in memory, over threads, at import.

    python overhead.py [--rows N] [--dim N] [--cli PATH] [--smoke]

The engine's share of a single search is what `explain` measures inside the same process. That of a batch and of
an ingestion is what the command line (`--cli`, the program `nearfield` of the same commit) takes for the
same vectors: it runs the same engine without Python. Prints one JSON object; run it on a machine that does nothing
else, see docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import nearfield as nf
from size_and_import import import_ms


def clustered(rows: int, dim: int, seed: int) -> np.ndarray:
    """Vectors around a thousand centres: random ones alone would be all equally far from each other."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).normal(size=(1000, dim)).astype(np.float32)
    out = centres[rng.integers(0, 1000, size=rows)]
    for start in range(0, rows, 65536):
        part = out[start : start + 65536]
        part += rng.normal(size=part.shape).astype(np.float32) * 0.5
    return out


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def per_call(docs: nf.Collection, queries: np.ndarray) -> dict[str, float]:
    """Microseconds of one search of k=10, in all and outside the engine."""

    def engine(q: np.ndarray) -> float:
        e = docs.explain(q, k=10, select=[])
        return e.prepare_seconds + e.search_seconds + e.read_seconds

    calls, inside = [], []
    for _ in range(5):
        # One after the other, so that neither finds in the caches what the other has read.
        for q in queries:
            calls.append(seconds(lambda: docs.search(q, k=10, select=[])))
        for q in queries:
            inside.append(engine(q))
    call, engine_part = statistics.median(calls), statistics.median(inside)
    return {"call_us": call * 1e6, "engine_us": engine_part * 1e6, "overhead_us": (call - engine_part) * 1e6}


def threads(docs: nf.Collection, queries: np.ndarray) -> float:
    """How many times as many searches two threads do as one."""

    def work() -> None:
        for q in queries:
            docs.search(q, k=10, select=[])

    def together() -> None:
        both = [threading.Thread(target=work) for _ in range(2)]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join()

    work()
    alone = min(seconds(work) for _ in range(3))
    return 2 * alone / min(seconds(together) for _ in range(3))


def peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def command(cli: str, *arguments: object) -> dict:
    out = subprocess.check_output([cli, *map(str, arguments), "--json"], stderr=subprocess.DEVNULL)
    return json.loads(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--cli", help="the program nearfield of the same commit")
    parser.add_argument("--smoke", action="store_true", help="few rows, to see that it runs")
    args = parser.parse_args()
    if args.smoke:
        args.rows, args.queries = 20_000, 200
    result: dict[str, object] = {"rows": args.rows, "dim": args.dim, "version": nf.__version__}
    result["import"] = import_ms()
    vectors = clustered(args.rows, args.dim, 1)
    queries = clustered(args.queries, args.dim, 2)
    ids = np.arange(args.rows, dtype=np.uint64)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        before = peak_bytes()
        with nf.open(home / "py.nf") as db:
            docs = db.create("docs", args.dim, "l2")
            ingest = seconds(lambda: docs.upsert(ids, vectors))
            result["ingest_seconds"] = ingest
            result["ingest_peak_over_array"] = (peak_bytes() - before) / vectors.nbytes
            docs.compact()
            docs.search_batch(queries, k=10)
            batch = min(seconds(lambda: docs.search_batch(queries, k=10)) for _ in range(3))
            result["batch_seconds"] = batch
            result["per_call"] = per_call(docs, queries[:500])
            result["two_threads"] = threads(docs, queries[:2000])
        if args.cli:
            np.save(home / "rows.npy", vectors)
            np.save(home / "queries.npy", queries)
            rust = command(args.cli, "import", home / "rust.nf", "docs", home / "rows.npy", "--metric", "l2")
            found = [
                command(args.cli, "search", home / "py.nf", "docs", "--vector", home / "queries.npy", "-k", 10)
                for _ in range(3)
            ]
            batch_rust = min(answer["seconds"] for answer in found)
            result["cli"] = {
                "ingest_seconds": rust["seconds"],
                "ingest_ratio": ingest / rust["seconds"],
                "batch_seconds": batch_rust,
                "batch_ratio": batch / batch_rust,
            }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
