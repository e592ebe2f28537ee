import numpy as np
import pytest

import nearfield as nf


def test_upsert_replaces_whole_rows(docs: nf.Collection):
    assert docs.upsert([2, 3], [[5, 5], [6, 6]], {"year": [1999, 2000]}) == 2
    assert docs.get([1, 2, 3]).to_dicts() == [
        {"id": 1, "title": "near", "year": None},
        {"id": 2, "title": None, "year": 1999},
        {"id": 3, "title": None, "year": 2000},
    ]
    assert docs.get(2, vectors=True).vectors.tolist() == [[5, 5]]


def test_the_last_of_an_id_given_twice_wins(docs: nf.Collection):
    docs.upsert([9, 9], [[1, 1], [2, 2]], {"title": ["first", "last"]})
    assert docs.get(9)[0]["title"] == "last"
    assert docs.count() == 3


def test_add_refuses_ids_that_exist_and_stores_nothing(docs: nf.Collection):
    with pytest.raises(nf.DuplicateId) as caught:
        docs.add([7, 2, 1], np.zeros((3, 2)))
    assert sorted(caught.value.ids) == [1, 2]
    assert isinstance(caught.value, ValueError)
    with pytest.raises(nf.DuplicateId) as caught:
        docs.add([7, 7], np.zeros((2, 2)))
    assert caught.value.ids == [7]
    assert docs.count() == 2
    assert docs.add([7], [[1, 1]]) == 1


def test_update_sets_columns_alone(docs: nf.Collection):
    assert docs.update([2, 99], {"title": ["afar", "nowhere"], "year": [1, 2]}) == 1
    row = docs.get(2, vectors=True)
    assert row[0]["title"] == "afar"
    assert row[0]["year"] == 1
    assert row.vectors.tolist() == [[3, 4]]
    assert docs.update([1], [{"year": None}]) == 1
    assert docs.get(1)[0] == {"id": 1, "title": "near", "year": None}
    assert docs.update([], {}) == 0


def test_delete_counts_what_was_there(docs: nf.Collection):
    assert docs.delete([99]) == 0
    assert docs.delete([]) == 0
    assert docs.delete(np.array([1, 99, 1])) == 1
    assert docs.delete(2) == 1
    assert docs.count() == 0
    assert docs.delete([1]) == 0


def test_forget_leaves_no_byte_behind(db: nf.Database, docs: nf.Collection):
    secret = "the address of somebody"
    docs.upsert([3, 4], [[5, 6], [7, 8]], {"title": [secret, "kept"]})
    docs.compact()

    def holding() -> list[str]:
        files = (db.path / "docs").iterdir()
        return [file.name for file in files if secret.encode() in file.read_bytes()]

    assert holding()
    assert docs.delete([3]) == 1
    assert holding()
    reading = docs.snapshot()
    assert docs.forget([3, 99]) == 0
    assert holding() == []
    assert len(reading) == 3
    assert docs.forget(np.array([4])) == 1
    assert docs.search([0, 0]).ids.tolist() == [1, 2]
    assert docs.forget([]) == 0
    with pytest.raises(nf.SchemaMismatch):
        docs.forget(["3"])
    with nf.open(db.path, mode="r") as reader, pytest.raises(nf.ReadOnly):
        reader["docs"].forget([1])


def test_no_rows_are_no_work(docs: nf.Collection):
    for ids in [[], np.array([], dtype=np.int64), np.array([]), ()]:
        for vectors in [[], np.empty((0, 2)), np.empty((0, 2), np.float32)]:
            assert docs.upsert(ids, vectors) == 0
            assert docs.add(ids, vectors, {}) == 0
    assert docs.upsert([], [], {"title": []}) == 0
    assert docs.upsert([], [], []) == 0
    assert docs.count() == 2


def test_no_rows_suit_a_collection_of_either_kind_of_id(db: nf.Database):
    names = db.create("names", dim=1)
    assert names.upsert([], []) == 0
    assert names.upsert("anna", [1]) == 1
    assert names.upsert([], []) == 0
    assert len(names.get([])) == 0


def test_no_ids_suit_a_collection_of_string_ids(db: nf.Database):
    names = db.create("names", dim=1)
    names.upsert("anna", [1])
    assert names.add([], []) == 0
    assert names.delete([]) == 0
    assert names.update([], {}) == 0


def test_get_keeps_the_order_asked_for_and_leaves_out_what_is_missing(docs: nf.Collection):
    records = docs.get([2, 99, 1, 2])
    assert records.ids.tolist() == [2, 1, 2]
    assert [row["title"] for row in records] == ["far", "near", "far"]
    assert docs.get([2], select=[]).to_dicts() == [{"id": 2}]
    assert docs.get([2], select="title").to_dicts() == [{"id": 2, "title": "far"}]
    with pytest.raises(nf.NotFound, match="did you mean \"title\""):
        docs.get([2], select=["titel"])
    with pytest.raises(TypeError, match="select: expected a list of column names"):
        docs.get([2], select=3)


def test_contains_and_len(docs: nf.Collection):
    assert docs.contains(1)
    assert np.int64(2) in docs
    assert 99 not in docs
    assert len(docs) == docs.count() == 2
    with pytest.raises(TypeError):
        docs.contains(None)
    with pytest.raises(TypeError):
        1.5 in docs  # noqa: B015
    with pytest.raises(nf.SchemaMismatch, match="expected integers, given strings"):
        docs.contains("one")
    assert "one" not in docs and "one" not in docs.snapshot()


def test_a_bad_batch_leaves_no_new_column_behind(docs: nf.Collection):
    before = docs.schema
    with pytest.raises(nf.InvalidVector):
        docs.upsert([3, 4], [[1, 1], [1, np.nan]], {"new": [1, 2]})
    with pytest.raises(nf.SchemaMismatch):
        docs.upsert([3], [[1, 1]], {"title": [1], "new": [1]})
    assert docs.schema == before
    assert docs.count() == 2


def test_whatever_refuses_a_write_no_column_stays(docs: nf.Collection):
    pa = pytest.importorskip("pyarrow")
    letters = nf.Embedder(lambda texts: [[len(text), 1] for text in texts], "letters")
    notes = docs.database.collection("notes", embed=letters, text="body")
    notes.add_texts(["a"], ids=[1])
    twice = pa.Table.from_arrays([pa.array([1]), pa.array(["x"])], names=["new", "new"])
    large = pa.table({"new": pa.array([2**63], pa.uint64())})
    data = {"new": ["x"]}
    for write, error in [
        (lambda: docs.add([1], [[1, 1]], data), nf.DuplicateId),
        (lambda: docs.add([5, 5], [[1, 1]] * 2, {"new": ["x", "y"]}), nf.DuplicateId),
        (lambda: docs.upsert(["a"], [[1, 1]], data), nf.SchemaMismatch),
        (lambda: docs.update(["a"], data), nf.SchemaMismatch),
        (lambda: docs.upsert([3], [[1, 1]], large), nf.InvalidArgument),
        (lambda: docs.upsert([3], [[1, 1]], twice), nf.InvalidArgument),
        (lambda: docs.update(data=data, where="nothing = 1"), nf.FilterError),
        (lambda: notes.add_texts(["b"], ids=[1], data=data), nf.DuplicateId),
        (lambda: notes.upsert_texts(["b"], ids=["a"], data=data), nf.SchemaMismatch),
    ]:
        with pytest.raises(error):
            write()
        assert (list(docs.schema["columns"]), list(notes.schema["columns"])) == (["title"], ["body"])
    assert docs.update([99], data) == docs.update(data=data, where="id = 99") == 0
    assert "new" not in docs.schema["columns"]
    assert docs.update([1], data) == 1
    assert docs.get([1, 2], select="new").to_dicts() == [{"id": 1, "new": "x"}, {"id": 2, "new": None}]


def test_a_large_write_refuses_what_a_small_one_does(db: nf.Database):
    docs = db.create("large", dim=4096, metric="l2")
    docs.add([7], np.zeros((1, 4096), np.float32))
    rows = (200 << 20) // (4096 * 4)
    vectors = np.zeros((rows, 4096), np.float32)
    phases = []
    for ids in [np.arange(rows), np.append(np.arange(10, 10 + rows - 1), 10)]:
        with pytest.raises(nf.DuplicateId) as duplicate:
            docs.add(ids, vectors, {"n": ids}, progress=lambda step: phases.append(step.phase))
        assert duplicate.value.ids in ([7], [10])
    assert set(phases) == {"writing"}
    vectors[3000, 17] = np.nan
    for write in (docs.upsert, docs.add):
        with pytest.raises(nf.InvalidVector) as caught:
            write(np.arange(10, 10 + rows), vectors, {"n": np.arange(rows)})
        assert (caught.value.row, caught.value.column) == (3000, 17)
        assert "skip" not in str(caught.value)
    with pytest.raises(nf.InvalidArgument, match="id at row 3000 has 70000 bytes"):
        docs.database.create("texts", dim=4096).upsert(
            [*map(str, range(3000)), "x" * 70_000, *map(str, range(3001, rows))], vectors * 0
        )
    assert (len(docs), docs.schema["columns"]) == (1, {})


def test_a_bad_row_of_an_import_is_counted_from_its_first_batch(docs: nf.Collection):
    good = ([3, 4], [[1, 1], [2, 2]])
    with pytest.raises(nf.InvalidVector, match="row 3 has NaN in dimension 0; only finite") as caught:
        docs.import_batches([good, ([5, 6], [[1, 1], [np.nan, 2]], {"new": [1, 2]})])
    assert (caught.value.row, caught.value.column) == (3, 0)
    with pytest.raises(nf.InvalidArgument, match="id at row 2 is 18446744073709551615"):
        docs.import_batches([good, ([2**64 - 1], [[1, 1]])])
    assert len(docs) == 2


def test_the_largest_number_is_no_id(docs: nf.Collection):
    for write in (docs.add, docs.upsert):
        with pytest.raises(nf.InvalidArgument, match="means no hit; give a smaller one"):
            write([2**64 - 1], [[1, 1]])
    assert not docs.contains(2**64 - 1)
    assert docs.delete([2**64 - 1]) == docs.update([2**64 - 1], {"title": ["x"]}) == 0


def test_columns_cannot_hide_what_a_hit_says_of_its_row(docs: nf.Collection):
    for name in ("distance", "score"):
        for write in [
            lambda name=name: docs.upsert([3], [[1, 1]], {name: [1]}),
            lambda name=name: docs.add_columns({name: "int64"}),
            lambda name=name: docs.database.create("other", dim=2, columns={name: "int64"}),
            lambda name=name: docs.database.collection("other", dim=2, text=name),
        ]:
            with pytest.raises(nf.InvalidArgument, match=f"{name}\" is reserved for what a hit says"):
                write()
    assert docs.database.collections() == ["docs"]


def test_scan_walks_in_order_of_ids_at_one_moment(docs: nf.Collection):
    docs.upsert(np.arange(10, 20), np.zeros((10, 2)))
    scan = docs.scan(batch_size=5, vectors=True)
    docs.delete(np.arange(10, 20))
    batches = list(scan)
    assert [len(batch) for batch in batches] == [5, 5, 2]
    assert np.concatenate([batch.ids for batch in batches]).tolist() == [1, 2, *range(10, 20)]
    assert batches[0].vectors.shape == (5, 2)
    assert next(scan, None) is None
    page = docs.scan(after=1, limit=1, select=[])
    assert [batch.to_dicts() for batch in page] == [[{"id": 2}]]
    assert list(docs.scan(after=2)) == []


def test_stats_verify_compact_and_flush_report(docs: nf.Collection):
    docs.flush()
    docs.delete(1)
    compacted = docs.compact()
    assert compacted["rows"] == 1
    stats = docs.stats()
    assert (stats["rows"], stats["dead_rows"], stats["memtable_rows"]) == (1, 0, 0)
    assert stats["segments"][0]["rows"] == 1
    report = docs.verify()
    assert report["problems"] == []
    assert report["rows"] == 1
    assert docs.refresh() is False
