"""Make the excerpt in this folder from the full data set it is drawn from.

    python make.py FULL_SET_FOLDER OUTPUT_FOLDER

FULL_SET_FOLDER holds `train.f16.npy`, `meta.parquet`, `queries.f16.npy` and
`queries_meta.parquet`. Needs numpy and pyarrow. The same input gives the same rows.
"""

import pathlib
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROWS, QUERIES, K, SEED = 4_000, 200, 10, 20_250_101


def embedding(rows: np.ndarray) -> tuple[pa.Field, pa.Array]:
    item = pa.field("item", pa.float16(), nullable=False)
    kind = pa.list_(item, rows.shape[1])
    values = pa.array(np.ascontiguousarray(rows).reshape(-1), pa.float16())
    array = pa.FixedSizeListArray.from_arrays(values, type=kind)
    return pa.field("embedding", kind, nullable=False), array


def write(path: pathlib.Path, columns: list[tuple[pa.Field, pa.Array]]) -> None:
    fields, arrays = zip(*columns)
    table = pa.Table.from_arrays(list(arrays), schema=pa.schema(list(fields)))
    # Vectors do not repeat: a dictionary would only make the file larger.
    words = [f.name for f in fields if pa.types.is_string(f.type) and f.name != "summary"]
    pq.write_table(table, path, compression="snappy", use_dictionary=words, store_schema=True)


def attributes(meta: pa.Table) -> list[tuple[pa.Field, pa.Array]]:
    kinds = {
        "name": pa.string(),
        "version": pa.string(),
        "year": pa.int64(),
        "month": pa.string(),
        "rank": pa.int64(),
        "summary": pa.string(),
    }
    return [
        (pa.field(name, kind), meta[name].cast(kind).combine_chunks())
        for name, kind in kinds.items()
    ]


def number(name: str, count: int) -> tuple[pa.Field, pa.Array]:
    return pa.field(name, pa.uint64(), nullable=False), pa.array(np.arange(count, dtype=np.uint64))


def neighbors(queries: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Exact nearest rows by (cosine distance, id), in float64 on the stored values."""
    rows, queries = rows.astype(np.float64), queries.astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    distances = 1.0 - queries @ rows.T
    ids = np.argsort(distances, axis=1, kind="stable")[:, :K]
    return ids.astype(np.uint64), np.take_along_axis(distances, ids, axis=1)


def top(name: str, kind: pa.DataType, values: np.ndarray) -> tuple[pa.Field, pa.Array]:
    kind = pa.list_(pa.field("item", kind, nullable=False), K)
    array = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), type=kind)
    return pa.field(name, kind, nullable=False), array


def main(source: pathlib.Path, out: pathlib.Path) -> None:
    random = np.random.default_rng(SEED)
    train = np.load(source / "train.f16.npy", mmap_mode="r")
    chosen = np.sort(random.choice(train.shape[0], ROWS, replace=False))
    rows = train[chosen]
    meta = pq.read_table(source / "meta.parquet").take(pa.array(chosen))
    held_out = np.load(source / "queries.f16.npy")[:QUERIES]
    held_meta = pq.read_table(source / "queries_meta.parquet").slice(0, QUERIES)
    ids, distances = neighbors(held_out, rows)

    write(out / "packages.parquet", [number("id", ROWS), embedding(rows), *attributes(meta)])
    write(
        out / "queries.parquet",
        [number("query", QUERIES), embedding(held_out), *attributes(held_meta)],
    )
    write(
        out / "neighbors.parquet",
        [
            number("query", QUERIES),
            top("ids", pa.uint64(), ids),
            top("distances", pa.float64(), distances),
        ],
    )


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
