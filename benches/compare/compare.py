"""nearfield beside its peers: speed at equal recall, and what building, keeping and opening an index takes.

    python benches/compare/compare.py ../shared/data/pypi-minilm-384-100k [--peers fast] [--json FILE] [--plot DIR]

README.md beside this file says how to install the peers, what is measured and how.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

# Before NumPy: the exact neighbours are computed on one core too.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np

import measure
import report
from vectors import Set

DATA = Path(__file__).parents[2] / "../shared/data"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    add("folder", type=Path, nargs="?", help="a set of vectors (vectors.py says what is in it)")
    add("--set", help="the name of a set in $NEARFIELD_DATA, else in ../shared/data beside the repository")
    add("--peers", default="fast", help="names and groups, comma-separated: NAME, NAME:A:B, fast, slow, all,\n"
                                        "hnswlib-sweep (peers.py has all; default: fast)")  # fmt: skip
    add("--rounds", type=int, default=5, help="how often everything is measured (default: 5)")
    add("--queries", help="other queries than queries.*.npy: a file, or its name in the folder")
    add("--query-count", type=int, default=1_000, help="how many of them (default: 1,000)")
    add("--rows", type=int, help="only the first rows")
    add("--below", type=int, metavar="N", help="give each row an attribute `draw`, 0 to 9,999, and search rows with draw < N")
    add("--threads", type=int, default=1, help="threads a library; above 1 the wall clock counts (default: 1)")
    add("--single", action="store_true", help="one query a call, also where a library takes all at once")
    add("--opens", type=int, default=3, help="how often each index is opened warm (default: 3)")
    add("--cache", type=Path, help="keep indexes and exact neighbours here, and use those that are there")
    add("--python", action="append", default=[], metavar="NAME=PATH",
        help="interpreter for the peers whose name begins so, e.g. glass=PATH")  # fmt: skip
    add("--json", type=Path, help="write everything that was measured here")
    add("--read", type=Path, action="append", default=[], help="measure nothing: show what --json wrote")
    add("--plot", type=Path, help="write a plot into this folder")
    add("--smoke", action="store_true", help="seconds on a few rows of examples/data: does it work at all?")
    add("--verbose", action="store_true", help="show what the libraries print")
    options = parser.parse_args()
    options.python = dict(choice.split("=", 1) for choice in options.python)
    if options.smoke:
        options.rounds, options.opens = 2, 1
        options.peers = "nearfield,nearfield-graph,hnswlib"
    elif not options.read and not (options.folder or options.set):
        parser.error("name a folder, or a set with --set")
    return options


def smoke_set(folder: Path) -> Path:
    """A few rows of the example data, as a set."""
    from pyarrow import parquet

    data = Path(__file__).parents[2] / "examples/data"
    for name, source in (("train", "packages"), ("queries", "queries")):
        column = parquet.read_table(data / f"{source}.parquet", columns=["embedding"])["embedding"].combine_chunks()
        np.save(folder / f"{name}.npy", column.flatten().to_numpy().reshape(len(column), -1).astype(np.float32))
    (folder / "meta.json").write_text('{"name": "examples", "metric": "cosine"}')
    return folder


def check_smoke(result: dict) -> None:
    """A smoke run fails where nearfield was not measured or does not find its rows."""
    for name in ("nearfield", "nearfield-graph"):
        if name not in result["peers"]:
            raise SystemExit(f"{name}: {result['skipped'][name]}")
        best = max(point["recall"] for point in result["peers"][name]["points"])
        if not best > 0.95:
            raise SystemExit(f"{name} finds {best:.3f} of the nearest at most; more than 0.95 was expected")


def measured(options: argparse.Namespace) -> dict:
    scratch = Path(tempfile.mkdtemp(prefix="compare-"))
    try:
        options.cache = options.cache or scratch
        options.cache.mkdir(parents=True, exist_ok=True)
        if options.smoke:
            folder = smoke_set(scratch)
        else:
            folder = options.folder or Path(os.environ.get("NEARFIELD_DATA", DATA)) / options.set
        chosen = Set(folder, options.cache, options.queries, options.rows, options.query_count, options.below)
        return measure.run(chosen, options, lambda result: write(result, options))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def write(result: dict, options: argparse.Namespace) -> None:
    """What there is so far, so that a run that is broken off leaves its rounds."""
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


def main() -> None:
    options = arguments()
    results = [json.loads(path.read_text()) for path in options.read] or [measured(options)]
    for result in results:
        print(report.text(result))
        if options.plot:
            print(f"plot: {report.plot(result, options.plot)}", file=sys.stderr)
    write(results[0], options)
    if options.smoke:
        check_smoke(results[0])


if __name__ == "__main__":
    main()
