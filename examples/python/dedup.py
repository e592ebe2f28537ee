"""Semantic de-duplication of a file: rows whose embeddings are nearly the same.

    python dedup.py ../data/packages.parquet unique.parquet --distance 0.1 --show summary

Reads vectors and columns from a Parquet, Arrow or JSON lines file, and writes the file without near duplicates. Rows are
looked at in the order of their ids: one is kept unless a row that is kept already is at most `--distance` away. So
every row that goes has one that stays within this distance, and no two that stay are nearer to each other.
Which distance means "the same" depends on the model: look at the pairs that are shown, and try another.
"""

import argparse
import tempfile

import nearfield as nf

MOST = 1_000  # neighbours looked at of a row; with more than that a duplicate may stay


def duplicates(docs: nf.Collection, distance: float) -> dict:
    """For each row that is to go the row that stands for it."""
    kept: set = set()
    stands_for = {}
    for records in docs.scan(batch_size=1_000, select=[], vectors=True):
        near = docs.search_batch(records.vectors, k=MOST, max_distance=distance, exact=True)
        for id, ids, count in zip(records.ids.tolist(), near.ids.tolist(), near.counts):
            earlier = next((other for other in ids[:count] if other in kept), None)
            if earlier is None:
                kept.add(id)
            else:
                stands_for[id] = earlier
    return stands_for


def main(source: str, target: str, distance: float, metric: str, show: str | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        docs = nf.from_file(source, folder + "/dedup.nf", metric=metric)
        rows = len(docs)
        gone = duplicates(docs, distance)
        if show:
            for id, other in list(gone.items())[:10]:
                for row in docs.get([other, id], select=[show]):
                    print(f"{'keep' if row['id'] == other else 'drop'} {row['id']}: {row[show]}")
        docs.delete(list(gone))
        docs.export_file(target)
        print(f"{rows} rows, {len(gone)} near duplicates, {len(docs)} written to {target}")
        docs.database.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--distance", type=float, default=0.1)
    parser.add_argument("--metric", default="cosine")
    parser.add_argument("--show", metavar="COLUMN", help="print the first pairs with this column")
    main(**vars(parser.parse_args()))
