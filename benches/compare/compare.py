"""nearfield beside other libraries: queries a second at equal recall, build time, memory.

    pip install nearfield hnswlib numpy
    python benches/compare/compare.py ../shared/data/pypi-minilm-384-100k [--rounds 5] [--json FILE]

The folder holds `train.*.npy`, `queries.*.npy` and `distances.npy` (exact, ascending). One thread, processor time
of the whole process, all libraries in one process and in turn; the median of the rounds. nearfield is asked through
`Collection.search_batch` of an ordinary database on disk, hnswlib through `knn_query` of an index in memory. A hit is
a row at most as far as the exact tenth. Queries a second at a recall are interpolated (logarithmically) between the
two points of the curve around it.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

K = 10
EFS = (10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 100, 128, 160, 200, 256, 320, 400)
RECALLS = (0.90, 0.95, 0.99)


class Nearfield:
    name = "nearfield"

    def __init__(self, train: np.ndarray, metric: str, code: str) -> None:
        import nearfield

        self.name = f"nearfield {code}"
        self.directory = tempfile.TemporaryDirectory()
        self.database = nearfield.open(
            Path(self.directory.name) / "db", durability="none", threads=1, code=code
        )
        self.rows = self.database.collection("rows", dim=train.shape[1], metric=metric)
        for start in range(0, len(train), 10_000):
            part = train[start : start + 10_000]
            self.rows.upsert(np.arange(start, start + len(part), dtype=np.uint64), part)
        self.rows.compact()

    def search(self, queries: np.ndarray, ef: int) -> np.ndarray:
        return self.rows.search_batch(queries, K, ef=ef).ids.astype(np.int64)


class Hnswlib:
    name = "hnswlib"

    def __init__(self, train: np.ndarray, metric: str) -> None:
        import hnswlib

        self.index = hnswlib.Index(space=metric, dim=train.shape[1])
        self.index.init_index(len(train), M=16, ef_construction=200, random_seed=100)
        self.index.set_num_threads(1)
        self.index.add_items(train, np.arange(len(train)))

    def search(self, queries: np.ndarray, ef: int) -> np.ndarray:
        self.index.set_ef(ef)
        return self.index.knn_query(queries, K, num_threads=1)[0].astype(np.int64)


def load(folder: Path, name: str) -> np.ndarray:
    (path,) = sorted(folder.glob(f"{name}.*.npy"))[:1]
    return np.ascontiguousarray(np.load(path).astype(np.float32))


def distances(train: np.ndarray, queries: np.ndarray, ids: np.ndarray, metric: str) -> np.ndarray:
    found = train[np.clip(ids, 0, None)].astype(np.float64)
    asked = queries[:, None, :].astype(np.float64)
    if metric == "l2":
        return ((found - asked) ** 2).sum(-1)
    norms = np.linalg.norm(found, axis=-1) * np.linalg.norm(asked, axis=-1)
    return 1 - (found * asked).sum(-1) / norms


def at_recall(curve: list[tuple[float, float]], recall: float) -> float:
    """Queries a second where the curve passes `recall`; NaN where it does not."""
    curve = sorted(curve)
    for (low, fast), (high, slow) in zip(curve, curve[1:]):
        if low <= recall <= high:
            part = (recall - low) / (high - low) if high > low else 0.0
            return math.exp(math.log(fast) + part * (math.log(slow) - math.log(fast)))
    return math.nan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--rows", type=int, default=None)
    parser.add_argument("--codes", default="auto", help="comma-separated: auto, full, byte, half")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    train = load(arguments.folder, "train")[: arguments.rows]
    queries = load(arguments.folder, "queries")[: arguments.queries]
    whole = bool((train[:100] == np.round(train[:100])).all())
    metric = "l2" if whole else "cosine"
    makers = [lambda code=code: Nearfield(train, metric, code) for code in arguments.codes.split(",")]
    makers.append(lambda: Hnswlib(train, metric))
    indexes, builds = [], {}
    for make in makers:
        start = time.process_time()
        index = make()
        builds[index.name] = time.process_time() - start
        indexes.append(index)
        print(f"{index.name}: built in {builds[index.name]:.1f} s of processor", flush=True)
    if arguments.rows is None:
        worst = np.load(arguments.folder / "distances.npy")[: len(queries), K - 1].astype(np.float64)
    else:
        nearest = [np.sort(distances(train, query[None], np.arange(len(train))[None], metric)[0]) for query in queries]
        worst = np.array([found[K - 1] for found in nearest])
    seconds: dict[tuple[str, int], list[float]] = {}
    recalls: dict[tuple[str, int], float] = {}
    for _ in range(arguments.rounds):
        for ef in EFS:
            for index in indexes:
                start = time.process_time()
                ids = index.search(queries, ef)
                seconds.setdefault((index.name, ef), []).append(time.process_time() - start)
                if (index.name, ef) not in recalls:
                    near = distances(train, queries, ids, metric) <= worst[:, None] + 1e-5 * (1 + worst[:, None])
                    recalls[index.name, ef] = float(near.mean())
    result: dict[str, object] = {"folder": arguments.folder.name, "rows": len(train), "build_cpu_s": builds}
    for index in indexes:
        curve = [
            (recalls[index.name, ef], len(queries) / statistics.median(seconds[index.name, ef])) for ef in EFS
        ]
        result[index.name] = curve
        print(index.name)
        for ef, (recall, rate) in zip(EFS, curve):
            print(f"  ef {ef:4}  recall@10 {recall:.4f}  {rate:9.0f} queries/s")
    base = result["hnswlib"]
    for index in indexes:
        for recall in RECALLS:
            rate, other = at_recall(result[index.name], recall), at_recall(base, recall)
            print(f"{index.name:16} at {recall:.2f}: {rate:9.0f} queries/s, {rate / other:.2f} x hnswlib")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
