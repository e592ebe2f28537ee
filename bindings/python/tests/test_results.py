"""Hits and records as Python objects."""

import datetime
import pickle
import sys

import numpy as np
import pytest

import nearfield as nf


def test_hits_are_a_sequence(docs: nf.Collection):
    hits = docs.search([0, 0])
    assert len(hits) == 2
    assert [hit.id for hit in hits] == [1, 2]
    assert (hits[-1].id, hits[np.int64(0)].id) == (2, 1)
    assert [hit.id for hit in hits[::-1]] == [2, 1]
    assert hits[5:] == []
    for index in [2, -3, 10**30]:
        with pytest.raises(IndexError):
            hits[index]
    for index in ["title", 1.0, None]:
        with pytest.raises(TypeError):
            hits[index]


def test_the_answers_of_a_batch_are_a_sequence(docs: nf.Collection):
    found = docs.search_batch([[0, 0], [3, 4], [3, 3]], k=1)
    assert [hits[0].id for hits in found[1:]] == [hits[0].id for hits in (found[1], found[-1])] == [2, 2]
    assert found[::-1][2].ids.tolist() == [1] and found[5:] == []
    for index, error in [(3, IndexError), (-4, IndexError), ("ids", TypeError), (1.0, TypeError)]:
        with pytest.raises(error):
            found[index]


def test_a_hit_knows_its_columns(docs: nf.Collection):
    hit = docs.search([3, 4], k=1, vectors=True)[0]
    assert hit["title"] == "far"
    assert (hit["id"], hit["distance"], hit["score"]) == (2, 0, 0)
    assert hit["vector"].tolist() == hit.vector.tolist() == [3, 4]
    assert hit.keys() == ["id", "distance", "score", "title", "vector"]
    assert {name: hit[name] for name in hit.keys() if name != "vector"} == {
        "id": 2, "distance": 0, "score": 0, "title": "far",
    }  # fmt: skip
    with pytest.raises(KeyError, match="not found in this hit; it has id, distance"):
        hit["titel"]
    with pytest.raises(TypeError):
        hit[0]


def test_hits_outlive_the_database(db: nf.Database, docs: nf.Collection):
    hits, records = docs.search([0, 0], vectors=True), docs.get([1])
    db.close()
    assert hits[0]["title"] == records[0]["title"] == "near"
    assert hits.to_arrow().num_rows == 2


def test_hits_and_records_speak_arrow(docs: nf.Collection):
    pa = pytest.importorskip("pyarrow")
    pl = pytest.importorskip("polars")
    when = datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc)
    docs.update([1], {"when": [when], "tags": [["a", "b"]], "ok": [True], "f": [0.5], "n": [7]})
    for rows in [docs.search([0, 0], vectors=True), docs.get([1, 2], vectors=True)]:
        dicts = [{**row, "vector": row["vector"].tolist()} for row in rows.to_dicts()]
        assert dicts[0]["tags"] == ["a", "b"]
        assert dicts[0]["when"] == when
        for table in [
            pa.table(rows),
            pa.Table.from_batches([pa.record_batch(rows)]),
            pa.RecordBatchReader.from_stream(rows).read_all(),
            rows.to_arrow(),
        ]:
            table.validate(full=True)
            assert table.to_pylist() == dicts
        assert pl.DataFrame(rows).drop("vector").to_dicts() == [
            {k: v for k, v in row.items() if k != "vector"} for row in dicts
        ]
        assert rows.to_polars().equals(pl.DataFrame(rows))
    empty = docs.search([0, 0], k=0)
    assert pa.table(empty).num_rows == 0
    assert docs.get([]).to_arrow().column_names[:2] == ["id", "title"]
    names = docs.get([], select=[]).to_arrow().column_names
    assert names == ["id"]


def test_pandas_frames(docs: nf.Collection):
    pytest.importorskip("pandas")
    frame = docs.search([0, 0]).to_pandas()
    assert frame["title"].tolist() == ["near", "far"]


def test_the_answers_of_a_batch_are_one_table(docs: nf.Collection):
    found = docs.search_batch([[0, 0], [3, 4], [9, 9]], k=2, max_distance=10, select=["title"], vectors=True)
    rows = found.to_dicts()
    assert [(row["query"], row["id"]) for row in rows] == [(0, 1), (1, 2)]
    assert list(rows[0]) == ["query", "id", "distance", "score", "title", "vector"]
    pa = pytest.importorskip("pyarrow")
    pl = pytest.importorskip("polars")
    table = found.to_arrow()
    assert pa.table(found).equals(table) and table.to_pylist()[1]["title"] == "far"
    assert table.schema.field("query").type == pa.int64()
    assert pl.DataFrame(found).equals(found.to_polars()) and found.to_polars()["query"].to_list() == [0, 1]
    assert found.to_pandas()["distance"].tolist() == [0.0, 0.0]
    # One piece, whatever the number of queries, also where the first of them finds nothing.
    many = docs.search_batch([[9, 9]] * 10 + [[0, 0]] * 300, k=2, max_distance=1)
    assert many.to_arrow()["id"].num_chunks == 1 and many.to_polars().n_chunks() == 1
    assert many.to_arrow()["query"].to_pylist() == list(range(10, 310))


def test_an_empty_batch_is_a_table_with_the_columns_of_others(docs: nf.Collection):
    pa = pytest.importorskip("pyarrow")
    pl = pytest.importorskip("polars")
    for asked in [{}, {"select": ["title"]}, {"select": []}, {"select": [], "vectors": True}, {"vectors": True}]:
        some, nothing = docs.search_batch([[0, 0]], **asked), docs.search_batch(np.empty((0, 2)), **asked)
        assert nothing.to_dicts() == [] and len(nothing) == 0
        table = nothing.to_arrow()
        assert table.num_rows == 0 and table.schema.equals(some.to_arrow().schema)
        assert pa.table(pickle.loads(pickle.dumps(nothing))).schema.equals(table.schema)
        assert pl.concat([nothing.to_polars(), some.to_polars()])["query"].to_list() == [0, 0]
    frozen = docs.snapshot().search_batch(np.empty((0, 2)), select=["title"])
    assert frozen.to_arrow().column_names == ["query", "id", "distance", "score", "title"]


def test_a_column_called_query_stands_in_place_of_the_number(docs: nf.Collection):
    docs.upsert([7], [[5, 5]], {"query": ["what?"]})
    assert docs.search_batch([[5, 5]], k=1, select=["query"]).to_dicts()[0]["query"] == "what?"


def test_a_missing_library_is_named(docs: nf.Collection, monkeypatch):
    for name in ["pyarrow", "polars", "pandas"]:
        monkeypatch.setitem(sys.modules, name, None)
    for hits in [docs.search([0, 0]), docs.search_batch([[0, 0]], select=["title"])]:
        for method, name in [("to_arrow", "pyarrow"), ("to_pandas", "pandas"), ("to_polars", "polars")]:
            with pytest.raises(ImportError, match=f"pip install {name}"):
                getattr(hits, method)()
        assert hits.to_dicts()[0]["title"] == "near"


def test_text_and_html_are_short_and_escaped(docs: nf.Collection):
    docs.update([1], {"title": ["<b>&" + "x" * 500]})
    docs.upsert(np.arange(10, 50), np.zeros((40, 2)))
    for rows in [docs.search([0, 0], k=42), docs.get([1, 2, *range(10, 50)])]:
        html = rows._repr_html_()
        assert "&lt;b&gt;&amp;x" in html
        assert "<b>" not in html
        assert "22 more rows" in html
        assert len(repr(rows)) < 4000
        assert "22 more" in repr(rows)
    assert repr(docs.search([0, 0], k=0)) == "Hits([])"
    assert repr(docs.get([])) == "Records([])"
    assert repr(docs.search([3, 4], k=1)[0]) == "Hit(id=2, distance=0, score=-0, title='far')"
    assert repr(docs) == "Collection('docs', 42 rows, dim=2, metric='l2', dtype='f32')"
    assert "<td>title</td><td>utf8</td>" in docs._repr_html_()
    assert repr(docs.search_batch([[0, 0]], k=3)) == "BatchHits(1 queries, k=3)"


def test_timestamps_beyond_datetime_are_read_by_arrow_alone(docs: nf.Collection):
    docs.update([1], {"when": np.array([2**62], "M8[us]")})
    with pytest.raises(ValueError, match=r"read it with to_arrow\(\)"):
        docs.get(1)[0]
    assert docs.get(1).to_arrow()["when"].cast("int64").to_pylist() == [2**62]
    assert "when=?" in repr(docs.get(1))


def test_objects_do_not_leak(docs: nf.Collection):
    hits = docs.search([0, 0], vectors=True)
    title = hits[0]["title"]
    before = sys.getrefcount(title)
    for _ in range(100):
        hits.to_dicts()
        hits.to_arrow()
    assert sys.getrefcount(title) == before


def test_a_batch_larger_than_the_log_takes_is_stored_whole(tmp_path):
    rows, dim = 3_500, 65_536
    vectors = np.zeros((rows, dim), np.uint8)
    vectors[:, 0] = np.arange(rows) % 251
    with nf.open(tmp_path / "a.nf", graph_bytes=2**60) as db:
        docs = db.create("docs", dim=dim, metric="l2", dtype="u8")
        assert docs.upsert(np.arange(rows) % 3_000, vectors, {"n": np.arange(rows)}) == 3_000
        assert docs.count() == 3_000
        assert docs.get([10, 2_999])[0] == {"id": 10, "n": 3_010}


def test_an_add_larger_than_the_log_takes_refuses_known_ids_and_stores_all_or_nothing(tmp_path):
    rows, dim = 3_500, 65_536
    vectors = np.zeros((rows, dim), np.uint8)
    vectors[:, 0] = np.arange(rows) % 251
    with nf.open(tmp_path / "a.nf", graph_bytes=2**60) as db:
        docs = db.create("docs", dim=dim, metric="l2", dtype="u8")
        docs.add(3_400, vectors[0])
        with pytest.raises(nf.DuplicateId) as refused:
            docs.add(np.arange(rows), vectors, {"n": np.arange(rows)})
        assert refused.value.ids == [3_400] and docs.count() == 1
        with pytest.raises(nf.DuplicateId) as refused:
            docs.add(np.arange(rows) % 3_000 + 10_000, vectors)
        assert len(refused.value.ids) == 100 and refused.value.ids[0] >= 10_000
        steps = []
        assert docs.add(np.arange(rows) + 5_000, vectors, {"n": np.arange(rows)}, progress=steps.append) == rows
        assert docs.count() == rows + 1 and steps[-1] == ("done", rows, rows)
        assert docs.get(5_010)[0] == {"id": 5_010, "n": 10}


def test_the_answers_of_a_batch_show_in_a_notebook(docs: nf.Collection):
    html = docs.search_batch(np.zeros((5, 2)), k=1, select="title")._repr_html_()
    assert html.startswith("<p>BatchHits(5 queries, k=1)</p>")
    assert html.count("<table>") == html.count("near") == 3
    assert html.endswith("<p>and 2 more</p>")
