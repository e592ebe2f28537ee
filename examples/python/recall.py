"""Recall and speed of searches over your own vectors, as a table and a plot.

    pip install matplotlib                                # for the plot
    python recall.py ../data/packages.parquet --queries ../data/queries.parquet --plot recall.png

The file is imported into a temporary database (Parquet, Arrow, JSON lines, npy or vecs). For each `ef` it says which share of the
true ten nearest rows is found, compared with every row, and how long one search takes. Queries are rows of another
file; without one, rows of the file itself are searched for, each as if it were not there. Queries as your users ask
them say more: those unlike the rows are harder. Small files have no graph and are searched exactly unless `--graph`
asks for one.
"""

import argparse
import tempfile
import time

import numpy as np

import nearfield as nf

EFS = [10, 20, 40, 80, 160, 320]
QUERIES = 200


def vectors(docs: nf.Collection) -> np.ndarray:
    """The first of its vectors, by id."""
    return np.concatenate([records.vectors for records in docs.scan(select=[], vectors=True, limit=QUERIES)])


def measure(docs: nf.Collection, queries: np.ndarray | None, k: int) -> list[tuple[int, dict, float]]:
    """For each `ef` the recall, and the median time of a search in milliseconds."""
    timed = vectors(docs) if queries is None else queries
    seconds: dict[int, list[float]] = {ef: [] for ef in EFS}
    for vector in timed:
        for ef in EFS:  # in turns, so that whatever else the machine does disturbs all alike
            began = time.perf_counter()
            docs.search(vector, k=k, ef=ef, select=[])
            seconds[ef].append(time.perf_counter() - began)
    recall = {ef: docs.measure_recall(queries, k=k, ef=ef, sample=QUERIES) for ef in EFS}
    return [(ef, recall[ef], 1_000 * float(np.median(seconds[ef]))) for ef in EFS]


def draw(path: str, points: list[tuple[int, dict, float]], k: int) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    recall = [measured["recall"] for _, measured, _ in points]
    below = [measured["recall"] - measured["low"] for _, measured, _ in points]
    above = [measured["high"] - measured["recall"] for _, measured, _ in points]
    times = [milliseconds for _, _, milliseconds in points]
    axes.errorbar(recall, times, xerr=[below, above], marker="o", capsize=3)
    for (ef, _, _), x, y in zip(points, recall, times):
        axes.annotate(f"ef {ef}", (x, y), textcoords="offset points", xytext=(4, -12))
    axes.set_xlabel(f"recall@{k}, with the interval of 95 %")
    axes.set_ylabel("median search, ms")
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def main(source: str, queries: str | None, plot: str | None, metric: str, k: int, graph: bool) -> None:
    settings = {"graph_bytes": 0} if graph else {}
    with tempfile.TemporaryDirectory() as folder, nf.open(folder + "/recall.nf", **settings) as db:
        db.import_file("docs", source, metric=metric)
        docs = db["docs"]
        docs.compact()
        asked = None
        if queries is not None:
            db.import_file("queries", queries, metric=metric)
            asked = vectors(db["queries"])
        points = measure(docs, asked, k)
        plan = docs.explain(vectors(docs)[0], k=k).parts[0]["plan"]
        print(f"{len(docs)} rows, {docs.dim} dimensions, searched by {plan}")
        print(f"  ef  recall@{k}  worst 5 %  median ms")
        for ef, measured, milliseconds in points:
            print(f"{ef:4}  {measured['recall']:9.4f}  {measured['percentile_5']:9.2f}  {milliseconds:9.3f}")
    if plot:
        draw(plot, points, k)
        print(f"drawn to {plot}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("source")
    parser.add_argument("--queries", metavar="FILE")
    parser.add_argument("--plot", metavar="PNG")
    parser.add_argument("--metric", default="cosine")
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--graph", action="store_true", help="build a graph however few the rows are")
    main(**vars(parser.parse_args()))
