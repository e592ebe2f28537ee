"""Pages, groups, diversity and sparse vectors: what Python adds to them."""

import pickle
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

import nearfield as nf


@pytest.fixture
def pages(db: nf.Database) -> nf.Collection:
    pages = db.collection("pages", dim=1, metric="l2")
    data = {"doc": ["a", "a", "b", None, "b", "a"]}
    pages.upsert(range(6), [[float(n)] for n in range(6)], data)
    return pages


def test_pages_least_distances_and_groups(pages: nf.Collection):
    assert pages.search([0], k=2, offset=2).ids.tolist() == [2, 3]
    assert pages.search([0], min_distance=16).ids.tolist() == [4, 5]
    assert pages.search([0], k=2, offset=None, group_by=None, mmr=None).ids.tolist() == [0, 1]
    grouped = pages.search([0], k=3, group_by="doc", per_group=2)
    assert [(hit.id, hit["doc"]) for hit in grouped] == [
        (0, "a"), (1, "a"), (2, "b"), (4, "b"), (3, None),
    ]
    assert pages.search([0], k=9, group_by="doc", where="doc IS NOT NULL").ids.tolist() == [0, 2]
    assert pages.snapshot().search([0], k=1, group_by="doc", offset=1).ids.tolist() == [2]
    assert pages.explain([0], k=2, group_by="doc").hits.ids.tolist() == [0, 2]


def test_a_batch_is_as_wide_as_its_groups(pages: nf.Collection):
    found = pages.search_batch([[0], [5]], k=2, group_by="doc", per_group=2)
    assert found.ids.tolist() == [[0, 1, 2, 4], [5, 1, 4, 2]]
    assert found.counts.tolist() == [4, 4]
    assert pages.search_batch([[0]], k=2, mmr=0, mmr_candidates=6).ids.tolist() == [[0, 5]]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"offset": -1}, ValueError, "offset is -1"),
        ({"offset": 1.5}, TypeError, "offset"),
        ({"min_distance": "near"}, TypeError, "min_distance"),
        ({"group_by": 3}, TypeError, "group_by"),
        ({"group_by": "dog"}, nf.NotFound, 'did you mean "doc"'),
        ({"group_by": "doc", "per_group": 0}, ValueError, "per_group is 0"),
        ({"per_group": None}, TypeError, "per_group"),
        ({"mmr": 2}, ValueError, "mmr is 2"),
        ({"mmr": 0.5, "mmr_candidates": 0}, ValueError, "1 to 4096"),
        ({"grupp": "doc"}, TypeError, "search.* got an unexpected keyword argument 'grupp'"),
    ],
)
def test_wrong_arguments(pages: nf.Collection, arguments, error, message):
    with pytest.raises(error, match=message):
        pages.search([0], **arguments)


@pytest.fixture
def chunks(db: nf.Database) -> nf.Collection:
    """The sentences of two texts, by an embedder of letters."""
    texts = {
        "rust": "Rust has no garbage collector. It has a borrow checker. Lifetimes are checked. Data races are errors.",
        "bread": "Knead the dough. Let it rise for an hour. Bake it hot. Let it cool before you cut it.",
    }

    def letters(texts: list[str]):
        return [[text.lower().count(letter) + 0.01 for letter in "abcdefghijklmnopqrst"] for text in texts]

    docs = db.collection("chunks", text="text", embed=nf.Embedder(letters, "letters", 20))
    rows = [(doc, at, text) for doc, whole in texts.items() for at, text in enumerate(whole.split(". "))]
    data = {"doc": [row[0] for row in rows], "chunk": [row[1] for row in rows]}
    docs.upsert_texts([row[2] for row in rows], [f"{doc}-{at}" for doc, at, _ in rows], data)
    return docs


def test_hits_come_with_what_stands_around_them(chunks: nf.Collection):
    for source in [chunks, chunks.snapshot()]:
        hits = source.search(text="a borrow checker", k=2, group_by="doc", per_group=2, mmr=0.5, window=1, position="chunk")
        assert len(hits) == 4
        for hit in hits:
            assert hit.window is not None
            at = [chunk["chunk"] for chunk in hit.window]
            assert at == [n for n in range(4) if abs(n - hit["chunk"]) <= 1]
            assert {chunk["doc"] for chunk in hit.window} == {hit["doc"]}
            assert hit.id in hit.window.ids.tolist()
    first = chunks.search(words="lifetimes", window=9, document="doc", position="chunk", where="chunk = 2")[0]
    assert [chunk["id"] for chunk in first.window] == ["rust-0", "rust-1", "rust-2", "rust-3"]
    assert chunks.delete(["rust-1"]) == 1
    again = chunks.search(words="lifetimes", window=1, document="doc", position="chunk", select="text", vectors=True)
    assert [list(chunk) for chunk in again[0].window] == [["id", "text", "vector"]] * 2
    for copy in [pickle.loads(pickle.dumps(again)), pickle.loads(pickle.dumps(again[0]))]:
        hit = copy[0] if isinstance(copy, nf.Hits) else copy
        assert hit.window.ids.tolist() == ["rust-2", "rust-3"]
        assert hit.window.vectors.tolist() == again[0].window.vectors.tolist()
    many = chunks.search_batch(texts=["bake"], k=1, window=1, document="doc", position="chunk")[0]
    assert many[0].window.ids.tolist()[0].startswith("bread")
    assert chunks.search(text="bake", k=1)[0].window is None
    chunks.upsert_texts(["alone"], ["alone"])
    assert chunks.search(text="alone", k=1, window=2, group_by="doc", position="chunk")[0].window.ids.tolist() == ["alone"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"window": 1}, ValueError, "window is given without document="),
        ({"window": 1, "document": "doc"}, nf.NotFound, 'column "position", of the positions of a window, not found'),
        ({"window": 1, "group_by": "doc", "position": "chunks"}, nf.NotFound, 'did you mean "chunk"'),
        ({"window": 1, "document": "doc", "position": "text"}, nf.SchemaMismatch, "expected int64, given utf8"),
        ({"position": "chunk"}, ValueError, "window= is not given"),
        ({"window": -1, "document": "doc"}, ValueError, "window is -1"),
        ({"window": 1, "document": 3}, TypeError, "document"),
    ],
)
def test_what_is_no_window(chunks: nf.Collection, arguments, error, message):
    with pytest.raises(error, match=message):
        chunks.search(text="bake", **arguments)
    with pytest.raises(error, match=message):
        chunks.search_batch(texts=["bake"], **arguments)


def sparse(db: nf.Database, words) -> nf.Collection:
    docs = db.collection("sparse", dim=1, metric="l2")
    docs.upsert(range(len(words)), [[0.0]] * len(words), {"words": words})
    return docs


FORMS = [
    {3: 0.5, 9: 2.0},
    ([9, 3], [2.0, 0.5]),
    [np.array([3, 9], dtype=np.uint32), np.array([0.5, 2.0], dtype=np.float16)],
    SimpleNamespace(indices=np.array([3, 9]), values=[0.5, 2.0]),
    SimpleNamespace(indices=[3, 9], data=np.array([0.5, 2.0])),
    {np.int64(9): np.float32(2.0), 3: 0.5, 5: 0.0},
]


def test_every_form_of_a_sparse_vector_is_the_same(db: nf.Database):
    docs = sparse(db, [*FORMS, None, ([], [])])
    assert docs.schema["columns"] == {"words": "sparse"}
    words = [hit["words"] for hit in docs.get(range(8))]
    assert words == [{3: 0.5, 9: 2.0}] * 6 + [None, {}]
    for query in FORMS:
        hits = docs.search_sparse("words", query, k=10)
        assert hits.ids.tolist() == list(range(6))
        assert hits.scores.tolist() == [4.25] * 6
    assert len(docs.search_sparse("words", ([], []))) == 0
    assert docs.search_sparse("words", {3: 1.0}, k=2, offset=1, where="id > 1").ids.tolist() == [3, 4]
    table = docs.search_sparse("words", {3: 1.0}, k=1).to_arrow()
    assert table.column("words").to_pylist() == [
        [{"index": 3, "value": 0.5}, {"index": 9, "value": 2.0}]
    ]
    docs.update(0, {"words": [{3: 9.0}]})
    assert docs.search_sparse("words", {3: 1.0}, k=1)[0].to_dict()["words"] == {3: 9.0}


def test_rows_of_dicts_and_matrices_and_arrow(db: nf.Database):
    docs = sparse(db, [{1: 1.0}])
    docs.upsert([1], [[0]], [{"words": {2: 1.5}, "more": {"a": 1}}])
    assert docs.get(1)[0] == {"id": 1, "words": {2: 1.5}, "more.a": 1}
    scipy = pytest.importorskip("scipy.sparse")
    matrix = scipy.csr_array(np.array([[0, 2.0, 0], [0, 0, 0], [1.0, 0, -1.0]]))
    docs.upsert([2, 3, 4], [[0]] * 3, {"words": matrix})
    assert [row["words"] for row in docs.get([2, 3, 4])] == [{1: 2.0}, {}, {0: 1.0, 2: -1.0}]
    with pytest.raises(TypeError, match="tocsr"):
        docs.upsert([2], [[0]], {"words": scipy.csc_array(np.eye(1))})
    weights = pa.array([[(7, 0.5)]], type=pa.map_(pa.uint32(), pa.float32()))
    docs.upsert([5], [[0]], pa.table({"words": weights}))
    assert docs.get(5)[0]["words"] == {7: 0.5}


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ({1: float("nan")}, ValueError, "index 1 is NaN"),
        (([1, 1], [1.0, 2.0]), ValueError, "index 1 is given twice"),
        (([1, 2], [1.0]), ValueError, "2 indices and 1 weights"),
        (([1.5], [1.0]), ValueError, "whole numbers"),
        ({-1: 1.0}, ValueError, "index -1 is outside"),
        ({2**32: 1.0}, ValueError, "outside"),
        ({"a": 1.0}, TypeError, "int indices|with the name 'a'"),
        ({1: "x"}, TypeError, "expected a number"),
        (5, TypeError, "dict of indices and weights"),
        ("words", TypeError, "dict of indices and weights"),
    ],
)
def test_what_is_no_sparse_vector(db: nf.Database, value, error, message):
    docs = sparse(db, [{1: 1.0}])
    with pytest.raises(error, match=message):
        docs.search_sparse("words", value)
    if value not in (5, "words"):
        with pytest.raises(error, match=message):
            docs.upsert([1], [[0]], {"words": [value]})
    assert len(docs) == 1


def test_many_sparse_queries_at_once(db: nf.Database):
    words = [{n % 7: 1.0, 100 + n: 0.5} for n in range(50)]
    docs = sparse(db, words)
    queries = [{n % 9: 1.0, 100 + n: 2.0} for n in range(80)]
    for source in [docs, docs.snapshot()]:
        found = source.search_sparse_batch("words", queries, k=3, where="id > 4")
        assert (len(found), found.ids.shape) == (80, (80, 3))
        for query, many in zip(queries, [found[n] for n in range(80)], strict=True):
            one = source.search_sparse("words", query, k=3, where="id > 4", select=[])
            assert (many.ids.tolist(), many.scores.tolist()) == (one.ids.tolist(), one.scores.tolist())
        assert found.counts.tolist()[7:9] == [1, 1]
        assert source.search_sparse_batch("words", iter(FORMS), k=1).counts.tolist() == [1] * 6
        assert len(source.search_sparse_batch("words", [])) == 0
        grouped = source.search_sparse_batch("words", [{3: 1.0}], k=2, group_by=None, offset=1)
        assert grouped.ids.tolist() == [[10, 17]]
    scipy = pytest.importorskip("scipy.sparse")
    matrix = scipy.csr_array(np.array([[0, 1.0, 0], [0, 0, 0]]))
    assert docs.search_sparse_batch("words", matrix, k=1).ids.tolist() == [[1], [-1]]


@pytest.mark.parametrize(
    ("queries", "error", "message"),
    [
        ({1: 1.0}, TypeError, "queries: expected a list of sparse vectors"),
        (3, TypeError, "queries: expected a list"),
        ("words", TypeError, "queries: expected a list"),
        ([{1: 1.0}, 3], TypeError, "queries row 1: expected a dict"),
        ([{1: 1.0}, {1: float("nan")}], ValueError, "queries row 1: .*NaN"),
    ],
)
def test_what_are_no_sparse_queries(db: nf.Database, queries, error, message):
    docs = sparse(db, [{1: 1.0}])
    with pytest.raises(error, match=message):
        docs.search_sparse_batch("words", queries)
    for name in ["ef", "exact", "text"]:
        with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'"):
            docs.search_sparse_batch("words", [{1: 1.0}], **{name: None})


def test_how_a_sparse_search_was_done(db: nf.Database):
    docs = sparse(db, [{1: 1.0}, {1: 2.0, 2: 1.0}, None])
    assert docs.explain_sparse("words", {1: 1.0}).parts[0]["plan"] == "scan"
    docs.compact()
    for source in [docs, docs.snapshot()]:
        explained = source.explain_sparse("words", {1: 1.0}, k=1, where="id < 9")
        assert explained.hits.ids.tolist() == [1]
        assert explained.filter["matching_rows"] == 3
        part = explained.parts[0]
        assert (part["plan"], part["postings_read"], part["rows"]) == ("postings", 2, 3)
        assert "2 postings" in repr(explained)


def test_sparse_hits_can_be_unlike_each_other(db: nf.Database):
    docs = sparse(db, [{1: 3.0}, {1: 3.0}, {1: 1.0}])
    docs.upsert(2, [9.0], [{"words": {1: 1.0}}])
    query = {1: 1000.0}
    for source in [docs, docs.snapshot()]:
        assert source.search_sparse("words", query, k=2, mmr=1).ids.tolist() == [0, 1]
        assert source.search_sparse("words", query, k=2, mmr=0.3).ids.tolist() == [0, 2]
        assert source.explain_sparse("words", query, k=2, mmr=0.3).hits.ids.tolist() == [0, 2]
        found = source.search_sparse_batch("words", [query], k=2, mmr=0.3, mmr_candidates=3)
        assert found.ids.tolist() == [[0, 2]]
    with pytest.raises(ValueError, match="mmr is 2"):
        docs.search_sparse("words", {1: 1.0}, mmr=2)


def test_what_is_no_sparse_search(db: nf.Database):
    docs = sparse(db, [{1: 1.0}])
    with pytest.raises(nf.NotFound, match='did you mean "words"'):
        docs.search_sparse("word", {1: 1.0})
    for name in ["ef", "exact"]:
        with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'"):
            docs.search_sparse("words", {1: 1.0}, **{name: 1})
