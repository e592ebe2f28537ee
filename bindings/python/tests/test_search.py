import threading
from pathlib import Path

import numpy as np
import pytest

import nearfield as nf


@pytest.mark.parametrize(
    ("metric", "distances", "scores"),
    [
        ("l2", [0, 1, 4], [0, -1, -4]),
        ("cosine", [0, 0, 2], [1, 1, -1]),
        ("dot", [-2, -1, 1], [2, 1, -1]),
    ],
)
def test_distance_ascends_and_score_descends(db: nf.Database, metric, distances, scores):
    docs = db.create("docs", dim=2, metric=metric)
    docs.upsert([1, 2, 3], np.array([[1, 0], [2, 0], [-1, 0]], dtype=np.float32))
    hits = docs.search([1, 0])
    np.testing.assert_allclose(hits.distances, distances, atol=1e-6)
    np.testing.assert_allclose(hits.scores, scores, atol=1e-6)
    assert [hit.score for hit in hits] == hits.scores.tolist()


def test_k_of_every_size(docs: nf.Collection):
    assert len(docs.search([0, 0], 0)) == 0
    assert len(docs.search([0, 0], 1)) == 1
    for k in [2, 3, 10**10, 10**30, np.int64(5), np.uint8(200)]:
        assert docs.search([0, 0], k=k).ids.tolist() == [1, 2]
        ids, distances = docs.search_batch([[0, 0]], k=k)
        width = int(k) if k <= 1024 else 2
        assert ids.shape == distances.shape == (1, width)
    ids, distances = docs.search_batch([[0, 0], [1, 1]], k=0)
    assert ids.shape == distances.shape == (2, 0)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"k": -1}, ValueError, "k is -1, expected 0 or more"),
        ({"k": -(10**30)}, ValueError, "expected 0 or more"),
        ({"k": 2.0}, TypeError, "k: expected a whole number, given float"),
        ({"k": "3"}, TypeError, "k: expected a whole number, given str"),
        ({"k": True}, TypeError, "k: expected a whole number, given bool"),
        ({"k": None}, TypeError, "k: expected a whole number, given NoneType"),
        ({"ef": -1}, ValueError, "ef is -1"),
        ({"ef": 1.5}, TypeError, "ef: expected a whole number"),
        ({"exact": 1}, TypeError, "exact"),
        ({"max_distance": "far"}, TypeError, "max_distance"),
        ({"max_distance": float("nan")}, ValueError, "max_distance is NaN"),
        ({"select": "titel"}, KeyError, "did you mean \"title\""),
        ({"select": [1]}, TypeError, "select: expected a list of column names"),
        ({"where": 5}, TypeError, "where"),
        ({"when": "x"}, TypeError, "when"),
    ],
)
def test_wrong_arguments_say_what_is_right(docs: nf.Collection, arguments, error, message):
    for search in [docs.search, docs.search_batch]:
        with pytest.raises(error) as caught:
            search([0, 0], **arguments)
        assert message in str(caught.value)


def test_only_k_may_be_given_by_position(docs: nf.Collection):
    with pytest.raises(TypeError):
        docs.search([0, 0], 10, 100)  # type: ignore[misc]


def test_an_empty_collection_has_no_hits(db: nf.Database):
    docs = db.create("docs", dim=2)
    assert list(docs.search([1, 1])) == []
    ids, distances = docs.search_batch([[1, 1], [2, 2]], k=3)
    assert ids.tolist() == [[-1] * 3] * 2
    assert np.isinf(distances).all()
    names = db.create("names", dim=2, id_type="utf8")
    ids, _ = names.search_batch([[1, 1]], k=1)
    assert ids.tolist() == [[None]]


def test_a_zero_vector_under_cosine_is_at_distance_one(db: nf.Database):
    docs = db.create("docs", dim=2, metric="cosine")
    docs.upsert([1, 2], [[0, 0], [-1, 0]])
    assert docs.search([1, 0]).distances.tolist() == [1, 2]
    assert docs.search([0, 0]).distances.tolist() == [1, 1]


def test_ties_are_in_order_of_ids(db: nf.Database):
    docs = db.create("docs", dim=1, metric="l2")
    docs.upsert([5, 3, 9, 1], np.zeros((4, 1)))
    assert docs.search([0], k=3).ids.tolist() == [1, 3, 5]


def test_exact_ef_and_max_distance(docs: nf.Collection):
    assert docs.search([0, 0], exact=True).ids.tolist() == [1, 2]
    assert docs.search([0, 0], ef=1).ids.tolist()[0] == 1
    assert docs.search([0, 0], max_distance=24.9).ids.tolist() == [1]
    assert docs.search([0, 0], max_distance=25).ids.tolist() == [1, 2]


def test_columns_are_read_unless_told_otherwise(docs: nf.Collection):
    assert docs.search([0, 0])[0]["title"] == "near"
    assert docs.search([0, 0], select=[])[0].keys() == ["id", "distance", "score"]
    assert docs.search([0, 0], select=["title"])[1]["title"] == "far"
    batch = docs.search_batch([[0, 0]])
    assert batch[0][0].keys() == ["id", "distance", "score"]
    assert docs.search_batch([[0, 0]], select=None)[0][0]["title"] == "near"


def test_vectors_come_back_as_they_are_stored(db: nf.Database):
    for dtype in ["float32", "float16", "uint8"]:
        docs = db.create(dtype, dim=2, metric="l2", dtype=dtype)
        docs.upsert([1, 2], [[1, 2], [3, 4]])
        hits = docs.search([3, 4], vectors=True)
        assert hits.vectors.dtype == np.dtype(dtype)
        assert hits.vectors.tolist() == [[3, 4], [1, 2]]
        assert hits[1].vector.tolist() == [1, 2]
        assert hits[1].vector.dtype == np.dtype(dtype)
        assert hits.to_arrow()["vector"].to_pylist() == [[3, 4], [1, 2]]
        assert docs.search([3, 4]).vectors is None
        assert docs.search([3, 4])[0].vector is None


def test_one_query_is_one_vector(docs: nf.Collection):
    for query in [[0, 0], (0, 0), [[0, 0]], np.zeros(2), np.zeros((1, 2))]:
        assert docs.search(query).ids.tolist() == [1, 2]
    for query in [[[0, 0], [1, 1]], []]:
        with pytest.raises(ValueError, match="one vector"):
            docs.search(query)


def test_a_batch_unpacks_and_pads(docs: nf.Collection):
    found = docs.search_batch([[0, 0], [3, 4], [3, 3]], k=3, max_distance=1.5)
    ids, distances = found
    assert ids.tolist() == [[1, -1, -1], [2, -1, -1], [2, -1, -1]]
    assert distances.tolist()[2] == [1, np.inf, np.inf]
    assert found.scores.tolist()[2] == [-1, -np.inf, -np.inf]
    assert (ids.dtype, distances.dtype, found.counts.dtype) == (np.int64, np.float32, np.int64)
    assert found.counts.tolist() == [1, 1, 1]
    assert len(found) == 3
    assert found[-1][0].id == 2
    assert len(docs.search_batch(np.empty((0, 2)))) == 0
    with pytest.raises(IndexError):
        found[3]


def test_ids_of_64_bits_keep_their_value(db: nf.Database):
    docs = db.create("docs", dim=1, metric="l2")
    large = [2**64 - 2, 2**63, 5]
    docs.upsert(large, [[0], [1], [2]])
    hits = docs.search([0], k=5)
    assert hits.ids.dtype == np.uint64
    assert hits.ids.tolist() == [hit.id for hit in hits] == large
    ids, _ = docs.search_batch([[0]], k=4)
    assert ids.tolist() == [[*large, 2**64 - 1]]
    assert docs.get(hits.ids).ids.tolist() == large
    assert docs.search([2], k=1).ids.dtype == np.int64


def test_string_ids(db: nf.Database):
    docs = db.create("docs", dim=1, metric="l2")
    docs.upsert(["b", "ä", ""], [[0], [1], [2]])
    hits = docs.search([0])
    assert hits.ids.tolist() == ["b", "ä", ""]
    assert hits[1].id == "ä"
    ids, _ = docs.search_batch([[0]], k=4)
    assert ids.tolist() == [["b", "ä", "", None]]
    assert docs.get(["", "x"]).ids.tolist() == [""]


def test_recall_on_real_data(tmp_path: Path, data: Path):
    parquet = pytest.importorskip("pyarrow.parquet")
    packages = parquet.read_table(data / "packages.parquet")
    queries = parquet.read_table(data / "queries.parquet")
    truth = parquet.read_table(data / "neighbors.parquet")["ids"].to_pylist()
    # Small limits, so that the rows lie in a segment with a graph.
    with nf.open(tmp_path / "a.nf", durability="none", graph_bytes=0) as db:
        docs = db.create("packages", dim=384, metric="cosine", dtype="f16")
        columns = packages.drop_columns(["id", "embedding"])
        assert docs.upsert(packages["id"], packages["embedding"], columns) == 4000
        docs.compact()
        assert docs.stats()["segments"][0]["graph"]
        exact = docs.search_batch(queries["embedding"], k=10, exact=True)
        assert exact.ids.tolist() == truth
        ids, _ = docs.search_batch(queries["embedding"], k=10, ef=100)
        found = sum(len(set(a) & set(b)) for a, b in zip(ids.tolist(), truth, strict=True))
        assert found / 2000 >= 0.95
        one = docs.search(np.asarray(queries["embedding"][0].as_py()), k=1, exact=True)[0]
        assert one.id == truth[0][0]
        row = packages.slice(one.id, 1).to_pylist()[0]
        assert one["summary"] == row["summary"]
        assert one["rank"] == row["rank"]


def test_threads_search_while_another_writes(db: nf.Database):
    docs = db.create("docs", dim=8, metric="l2")
    docs.upsert(np.arange(100), np.zeros((100, 8)), {"n": np.arange(100)})
    failures = []
    done = threading.Event()

    def search():
        try:
            while not done.is_set():
                hits = docs.search(np.zeros(8, np.float32), k=100)
                assert len(hits) == 100
                assert all(hit["n"] == hit.id % 100 for hit in hits)
        except BaseException as error:
            failures.append(error)

    readers = [threading.Thread(target=search) for _ in range(3)]
    for reader in readers:
        reader.start()
    for step in range(30):
        ids = np.arange(100) + 100 * (step % 3)
        docs.upsert(ids, np.full((100, 8), step % 2), {"n": ids % 100})
    done.set()
    for reader in readers:
        reader.join(timeout=60)
        assert not reader.is_alive()
    assert failures == []
