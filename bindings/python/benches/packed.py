"""A packed database of texts and vectors: its size, how long opening and first searches take in fresh processes, and
that it answers as the database it was made of does, also from inside another file.

    python bindings/python/benches/packed.py [--data FOLDER]

FOLDER has train.f16.npy, queries.f16.npy and texts in meta.parquet; pyarrow reads these.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import nearfield as nf

K, QUERIES, PROCESSES, OFFSET = 10, 200, 9, 3 << 12
WORDS = "http server"
FRESH = """
import sys, time, numpy as np, nearfield as nf
query = np.load(sys.argv[2])
times = [time.perf_counter()]
docs = nf.open(sys.argv[1], mode="r", offset=int(sys.argv[3])).collection("docs")
times.append(time.perf_counter())
docs.search(query, k=10)
times.append(time.perf_counter())
docs.search(words=sys.argv[4], k=10)
times.append(time.perf_counter())
print(*np.diff(times) * 1e3)
"""


def answers(docs: nf.Collection, queries: np.ndarray) -> list[list[int]]:
    found = [list(docs.search(query, k=K).ids) for query in queries]
    return [*found, list(docs.search(words=WORDS, k=K).ids)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/pypi-minilm-384-100k"))
    data = parser.parse_args().data
    if not data.exists():
        raise SystemExit(f"skipped: {data} is not here")
    import pyarrow.parquet as parquet

    vectors = np.load(data / "train.f16.npy").astype(np.float32)
    queries = np.load(data / "queries.f16.npy").astype(np.float32)[:QUERIES]
    texts = parquet.read_table(data / "meta.parquet", columns=["name", "summary"]).slice(0, len(vectors))
    with tempfile.TemporaryDirectory() as folder:
        base, pack, bundle, query = (Path(folder, name) for name in ("db.nf", "db.pack", "bundle", "query.npy"))
        with nf.open(base) as db:
            docs = db.collection("docs", dim=vectors.shape[1], columns={"name": str}, text="summary")
            docs.upsert(np.arange(len(vectors)), vectors, texts)
            docs.compact()
            wanted = answers(docs, queries)
            start = time.perf_counter()
            db.pack(pack)
            print(f"packed in {time.perf_counter() - start:.2f} s: {pack.stat().st_size:,} bytes")
        bundle.write_bytes(bytes(OFFSET) + pack.read_bytes() + b"behind it")
        np.save(query, queries[0])
        for name, path, offset in (("by itself", pack, 0), ("inside another file", bundle, OFFSET)):
            with nf.open(path, mode="r", offset=offset) as db:
                same = answers(db.collection("docs"), queries) == wanted
            command = [sys.executable, "-c", FRESH, path, query, str(offset), WORDS]
            runs = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(PROCESSES)]
            opened, vector, words = (statistics.median(times) for times in zip(*(map(float, run.split()) for run in runs)))
            print(f"{name}: the same answers {same}; opened in {opened:.2f} ms, first search {vector:.2f}, by words {words:.2f}")


if __name__ == "__main__":
    main()
