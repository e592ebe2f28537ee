"""Index files written by hnswlib, faiss and usearch are imported: the same ids, the same answers."""

from pathlib import Path

import numpy as np
import pytest

import nearfield as nf

ROWS, DIM, K = 5_000, 32, 10
random = np.random.default_rng(5)
# Around a hundred middles, as embeddings are.
middles = random.normal(size=(100, DIM))
DATA = (middles[random.integers(0, 100, ROWS)] + 0.4 * random.normal(size=(ROWS, DIM))).astype(np.float32)
QUERIES = (middles[random.integers(0, 100, 100)] + 0.4 * random.normal(size=(100, DIM))).astype(np.float32)
IDS = np.arange(ROWS) * 3 + 1
GONE = IDS[::10]
KEPT = np.setdiff1d(IDS, GONE)


def nearest(metric: str, kept: np.ndarray = KEPT) -> np.ndarray:
    """The ids of the nearest rows of each query, all rows compared."""
    rows, queries = DATA[(kept - 1) // 3].astype(np.float64), QUERIES.astype(np.float64)
    if metric == "cosine":
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    inner = queries @ rows.T
    distances = (rows**2).sum(1) - 2 * inner if metric == "l2" else -inner
    return kept[np.argsort(distances, axis=1)[:, :K]]


def recall(found: np.ndarray, true: np.ndarray) -> float:
    return float(np.mean([len(np.intersect1d(a, b)) / K for a, b in zip(found, true, strict=True)]))


def check(
    db: nf.Database, path: Path, theirs: np.ndarray, metric: str, kept: np.ndarray = KEPT, given: str | None = None
):
    """Imports a file, whose metric is `given` where it has none: every id, exact answers, and by the graph no worse
    ones than the library's."""
    report = db.import_file("docs", path, metric=given)
    docs, true = db["docs"], nearest(metric, kept)
    assert (report["rows"], report["rejected_rows"], docs.schema["metric"]) == (len(kept), 0, metric)
    assert np.concatenate([records.ids for records in docs.scan()]).tolist() == kept.tolist()
    exact = np.array([docs.search(query, k=K, exact=True).ids for query in QUERIES])
    assert recall(exact, true) > 0.999
    docs.compact()
    found = np.array([docs.search(query, k=K, ef=200).ids for query in QUERIES])
    assert recall(found, true) >= min(recall(theirs, true), 0.99)


@pytest.mark.parametrize(("space", "metric"), [("l2", "l2"), ("ip", "dot"), ("cosine", "cosine")])
def test_an_index_of_hnswlib_is_imported_without_what_is_deleted(
    db: nf.Database, tmp_path: Path, space: str, metric: str
):
    hnswlib = pytest.importorskip("hnswlib", reason="hnswlib is not installed")
    index = hnswlib.Index(space, DIM)
    index.init_index(ROWS, M=16, ef_construction=200)
    index.add_items(DATA, IDS)
    for gone in GONE:
        index.mark_deleted(gone)
    index.set_ef(200)
    index.save_index(str(tmp_path / "index.bin"))
    with pytest.raises(nf.InvalidArgument, match="metric of its space"):
        db.import_file("docs", tmp_path / "index.bin")
    check(db, tmp_path / "index.bin", index.knn_query(QUERIES, K)[0], metric, given=metric)


@pytest.mark.parametrize("metric", ["l2", "dot"])
@pytest.mark.parametrize("factory", ["Flat", "HNSW16,Flat", "IVF64,Flat", "IVF64_HNSW8,Flat"])
def test_an_index_of_faiss_is_imported_with_its_ids(db: nf.Database, tmp_path: Path, factory: str, metric: str):
    faiss = pytest.importorskip("faiss", reason="faiss is not installed")
    kind = faiss.METRIC_L2 if metric == "l2" else faiss.METRIC_INNER_PRODUCT
    index = faiss.index_factory(DIM, factory, kind)
    graph = factory.startswith("HNSW")
    if graph:
        index.hnsw.efSearch = 200
    if not factory.startswith("IVF"):
        index = faiss.IndexIDMap2(index)
    index.train(DATA)
    index.add_with_ids(DATA, IDS)
    if not graph:
        index.remove_ids(GONE)
    if factory.startswith("IVF"):
        index.nprobe = 16
    faiss.write_index(index, str(tmp_path / "index.faiss"))
    check(db, tmp_path / "index.faiss", index.search(QUERIES, K)[1], metric, IDS if graph else KEPT)


@pytest.mark.parametrize("kind", ["cos", "l2sq", "ip"])
def test_an_index_of_usearch_is_imported_without_what_is_removed(db: nf.Database, tmp_path: Path, kind: str):
    usearch = pytest.importorskip("usearch.index", reason="usearch is not installed")
    index = usearch.Index(ndim=DIM, metric=kind, dtype="f32", expansion_search=200)
    index.add(IDS.astype(np.uint64), DATA)
    for gone in GONE:
        index.remove(int(gone))
    index.save(str(tmp_path / "index.usearch"))
    metric = {"cos": "cosine", "l2sq": "l2", "ip": "dot"}[kind]
    check(db, tmp_path / "index.usearch", index.search(QUERIES, K).keys, metric)


def test_the_format_of_an_index_can_be_named(db: nf.Database, tmp_path: Path):
    faiss = pytest.importorskip("faiss", reason="faiss is not installed")
    index = faiss.IndexFlatL2(DIM)
    index.add(DATA[:50])
    faiss.write_index(index, str(tmp_path / "index"))
    assert db.import_file("docs", tmp_path / "index", format="faiss")["rows"] == 50
    for other in ["hnswlib", "usearch"]:
        with pytest.raises(nf.Corrupt):
            db.import_file("other", tmp_path / "index", format=other)
    assert "other" not in db
    codes = faiss.IndexScalarQuantizer(DIM, faiss.ScalarQuantizer.QT_8bit)
    codes.train(DATA)
    codes.add(DATA)
    faiss.write_index(codes, str(tmp_path / "codes.faiss"))
    with pytest.raises(nf.Incompatible, match="scalar codes"):
        db.import_file("other", tmp_path / "codes.faiss")
