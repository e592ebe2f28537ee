import os
import pickle
from pathlib import Path

import pytest

import nearfield as nf
import numpy as np


def test_a_path_may_be_a_string_or_pathlib(tmp_path: Path):
    for path in [tmp_path / "a.nf", str(tmp_path / "b.nf")]:
        with nf.open(path) as db:
            assert db.path == Path(path)
            assert not db.read_only


def test_data_is_there_after_reopening(tmp_path: Path):
    with nf.open(tmp_path / "a.nf") as db:
        db.collection("docs", dim=2).upsert([7], [[1, 2]], {"year": [2026]})
    with nf.open(tmp_path / "a.nf") as db:
        assert db["docs"].get(7).to_dicts() == [{"id": 7, "year": 2026}]


def test_a_database_that_was_never_closed_is_unlocked_when_it_goes(tmp_path: Path):
    db = nf.open(tmp_path / "a.nf")
    db.collection("docs", dim=2).upsert([7], [[1, 2]])
    del db
    with nf.open(tmp_path / "a.nf") as again:
        assert len(again["docs"]) == 1


def test_opening_to_read_creates_nothing(tmp_path: Path):
    with pytest.raises(nf.NotFound):
        nf.open(tmp_path / "missing.nf", mode="r")
    assert not (tmp_path / "missing.nf").exists()


def test_a_directory_of_something_else_is_left_alone(tmp_path: Path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(nf.InvalidArgument, match="not a nearfield database"):
        nf.open(tmp_path)
    assert os.listdir(tmp_path) == ["letter.txt"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"mode": "a"}, ValueError, "mode is \"a\", expected one of \"w\", \"r\""),
        ({"mode": 1}, TypeError, "mode: expected one of"),
        ({"durability": "always"}, ValueError, "\"sync\", \"buffered\", \"none\""),
        ({"threads": -1}, ValueError, "threads is -1, expected 0 or more"),
        ({"threads": 2.0}, TypeError, "threads: expected a whole number, given float"),
        ({"ef_serch": 3}, TypeError, "did you mean ef_search=?"),
        ({"m": 65}, ValueError, "m is 65, expected 2 to 64"),
        ({"code": "haf"}, ValueError, 'did you mean "half"?'),
        ({"code": "product:7"}, ValueError, 'code is "product:7", expected "auto"'),
        ({"code": "product"}, ValueError, '"product:64" for product codes of 64 bytes a row (8 to 1024)'),
        ({"code": 64}, TypeError, 'code: expected a string like "auto" or "product:64", given int'),
    ],
)
def test_wrong_options_say_what_is_right(tmp_path: Path, arguments, error, message):
    with pytest.raises(error) as caught:
        nf.open(tmp_path / "a.nf", **arguments)
    assert message in str(caught.value)
    assert not (tmp_path / "a.nf").exists()


def test_memory_is_no_directory_name(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(nf.InvalidArgument, match="in memory"):
        nf.open(":memory:")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("durability", ["sync", "buffered", "none"])
def test_every_durability_keeps_rows_over_close(tmp_path: Path, durability):
    with nf.open(tmp_path / "a.nf", durability=durability, threads=1) as db:
        db.collection("docs", dim=1).upsert([1], [[1]])
    with nf.open(tmp_path / "a.nf") as db:
        assert len(db["docs"]) == 1


def test_collection_gets_or_creates(db: nf.Database):
    made = db.collection("docs", dim=3, metric="l2", dtype="f16", columns={"year": "int64"})
    got = db.collection("docs")
    assert made.schema == got.schema
    assert db.collection("docs", dim=3).schema == made.schema
    assert db.collection("docs", 3, "l2", dtype="float16").schema == made.schema


def test_a_schema_makes_the_same_collection_again(db: nf.Database):
    columns = {"n": "int64", "when": "timestamp", "tags": "list_utf8", "body": "utf8"}
    docs = db.collection(
        "docs", dim=3, metric="dot", dtype="u8", text=["body"], columns=columns, id_type="utf8"
    )
    assert docs.schema == {
        "dim": 3,
        "metric": "dot",
        "dtype": "u8",
        "raw": None,
        "id_type": "utf8",
        "columns": columns,
        "text": ["body"],
    }
    assert db.create("again", **docs.schema).schema == docs.schema


def test_a_new_collection_is_cosine_and_f32(db: nf.Database):
    schema = db.collection("docs", dim=3).schema
    assert (schema["metric"], schema["dtype"], schema["id_type"]) == ("cosine", "f32", None)


def test_another_shape_is_a_mismatch_that_names_both(db: nf.Database):
    db.collection("docs", dim=3, metric="l2", columns={"year": int})
    for arguments, both in [
        ({"dim": 4}, "expected 3, given 4"),
        ({"dim": 3, "metric": "cosine"}, "expected l2, given cosine"),
        ({"dtype": "f16"}, "expected f32, given f16"),
        ({"columns": {"year": str}}, "expected int64, given utf8"),
    ]:
        with pytest.raises(nf.SchemaMismatch, match=both):
            db.collection("docs", **arguments)


def test_columns_asked_for_are_added_to_a_collection_that_exists(db: nf.Database):
    db.collection("docs", dim=1).upsert([1], [[1]])
    docs = db.collection("docs", columns={"year": int}, text="body")
    assert docs.schema["columns"] == {"year": "int64", "body": "utf8"}
    assert docs.get(1)[0] == {"id": 1, "year": None, "body": None}


def test_python_types_name_column_types(db: nf.Database):
    import datetime

    types = {
        "b": bool, "i": int, "f": float, "s": str, "t": datetime.datetime, "l": list[str],
    }  # fmt: skip
    assert db.create("docs", dim=1, columns=types).schema["columns"] == {
        "b": "bool", "i": "int64", "f": "float64", "s": "utf8", "t": "timestamp", "l": "list_utf8",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"dim": 0}, ValueError, "dim is 0, expected 1 to 65,536"),
        ({"dim": -1}, ValueError, "dim is -1"),
        ({"dim": 2.5}, TypeError, "dim: expected a whole number"),
        ({"dim": True}, TypeError, "dim: expected a whole number"),
        ({"dim": 10**30}, ValueError, "dimension"),
        ({"dim": 2, "metric": "ip"}, ValueError, "\"l2\", \"cosine\", \"dot\""),
        ({"dim": 2, "dtype": "f64"}, ValueError, "dtype is \"f64\""),
        ({"dim": 2, "dtype": float}, ValueError, "dtype is \"float64\""),
        ({"dim": 2, "columns": ["year"]}, TypeError, "a dict of column names and types"),
        ({"dim": 2, "columns": {"year": "int"}}, ValueError, "type of column \"year\""),
        ({"dim": 2, "columns": {"year": bytes}}, TypeError, "type of column \"year\""),
        ({"dim": 2, "columns": {"id": int}}, ValueError, "reserved"),
        ({"dim": 2, "text": 5}, TypeError, "text: expected"),
        ({"dim": 2, "id_type": "int"}, ValueError, "id_type"),
    ],
)
def test_wrong_shapes_say_what_is_right(db: nf.Database, arguments, error, message):
    with pytest.raises(error) as caught:
        db.collection("docs", **arguments)
    assert message in str(caught.value)
    assert db.collections() == []


@pytest.mark.parametrize("name", ["", ".hidden", "../up", "a/b", "ü", "x" * 129, "nul\0"])
def test_bad_names_make_no_collection(db: nf.Database, name):
    with pytest.raises(nf.InvalidArgument):
        db.collection(name, dim=2)
    assert db.collections() == []


def test_create_is_strict(db: nf.Database):
    db.create("docs", dim=2)
    with pytest.raises(nf.InvalidArgument, match="exists already"):
        db.create("docs", dim=2)


def test_an_unknown_collection_names_the_nearest(db: nf.Database):
    db.create("documents", dim=2)
    with pytest.raises(KeyError) as caught:
        db["dokuments"]
    assert str(caught.value) == "collection \"dokuments\" not found; did you mean \"documents\"?"
    with pytest.raises(nf.NotFound, match="give dim= or embed= to create it"):
        db.collection("dokuments")


def test_a_database_is_a_mapping_of_names(db: nf.Database):
    db.create("b", dim=2)
    db.create("a", dim=2)
    assert (list(db), len(db), "a" in db, "c" in db) == (["a", "b"], 2, True, False)


def test_drop_and_rename(db: nf.Database):
    docs = db.create("docs", dim=2)
    docs.upsert([1], [[1, 2]])
    db.rename("docs", "papers")
    assert db.collections() == ["papers"]
    assert 1 in db["papers"]
    with pytest.raises(nf.Closed):
        docs.count()
    db.drop("papers")
    assert db.collections() == []
    with pytest.raises(nf.NotFound):
        db.drop("papers")


def test_a_backup_opens_and_restores(db: nf.Database, docs: nf.Collection, tmp_path: Path):
    db.backup(tmp_path / "backup.nf")
    docs.delete([1, 2])
    nf.restore(tmp_path / "backup.nf", tmp_path / "restored.nf")
    for copy in ["backup.nf", "restored.nf"]:
        with nf.open(tmp_path / copy, mode="r") as opened:
            assert opened["docs"].get([1, 2], select="title")[1] == {"id": 2, "title": "far"}
    with pytest.raises(nf.InvalidArgument, match="exists already"):
        db.backup(tmp_path / "backup.nf")


def test_a_packed_database_is_read_where_it_lies_and_unpacked(db: nf.Database, docs: nf.Collection, tmp_path: Path):
    steps: list[nf.Progress] = []
    db.pack(tmp_path / "file", progress=steps.append)
    assert steps[-1].rows == steps[-1].total
    (tmp_path / "inside").write_bytes(bytes(4096) + (tmp_path / "file").read_bytes() + b"more")
    right = docs.search([1, 0], k=2, select=["title"])
    for name, offset in [("file", None), ("file", 0), ("inside", 4096)]:
        with nf.open(tmp_path / name, mode="r", offset=offset) as packed:
            assert packed.read_only and packed.collections() == ["docs"]
            hits = packed["docs"].search([1, 0], k=2, select=["title"])
            assert hits.to_dicts() == right.to_dicts()
            with pytest.raises(nf.ReadOnly, match="unpack it into a directory"):
                packed["docs"].delete([1])
            for handle in [packed, packed["docs"]]:
                again = pickle.loads(pickle.dumps(handle))
                assert len(again if isinstance(handle, nf.Collection) else again["docs"]) == len(docs)
        target = tmp_path / f"unpacked-{name}-{offset}"
        nf.unpack(tmp_path / name, target, offset=offset)
        with nf.open(target) as unpacked:
            assert unpacked["docs"].delete([1]) == 1
    with pytest.raises(nf.ReadOnly, match="unpack it into a directory"):
        nf.open(tmp_path / "file")
    with pytest.raises(nf.InvalidArgument, match="holds no packed database at offset 64"):
        nf.open(tmp_path / "file", mode="r", offset=64)
    with pytest.raises(nf.InvalidArgument, match="expected a multiple of 64"):
        nf.unpack(tmp_path / "inside", tmp_path / "new", offset=1)
    with pytest.raises(ValueError, match="offset"):
        nf.open(tmp_path / "file", mode="r", offset=-1)
    cut = (tmp_path / "file").read_bytes()[:-1]
    (tmp_path / "cut").write_bytes(cut)
    with pytest.raises(nf.Corrupt, match="it was cut, copy it again"):
        nf.open(tmp_path / "cut", mode="r")


def test_repair_saves_the_rows_that_are_whole_and_says_what_is_lost(tmp_path: Path):
    ids = list(range(4000))
    with nf.open(tmp_path / "old.nf") as db:
        docs = db.create("docs", 16)
        docs.upsert(ids, np.arange(64000, dtype=np.float32).reshape(4000, 16) % 977)
        docs.compact()
    [segment] = (tmp_path / "old.nf" / "docs").glob("*.nfs")
    damaged = bytearray(segment.read_bytes())
    damaged[4096 + 20000] ^= 1  # in the second block of vectors
    segment.write_bytes(damaged)
    report = nf.repair(tmp_path / "old.nf", tmp_path / "new.nf")
    [saved] = report["collections"]
    assert (saved["name"], saved["rows"], report["lost"]) == ("docs", 3744, [])
    [loss] = saved["losses"]
    assert loss["section"] == "RAWV/0" and loss["ids"] == ids[256:512] and loss["rows"] == 256
    with nf.open(tmp_path / "new.nf") as db:
        assert len(db["docs"]) == 3744
        assert db["docs"].verify()["problems"] == []
        assert 256 not in db["docs"] and 512 in db["docs"]
    assert segment.read_bytes() == damaged
    with pytest.raises(nf.InvalidArgument, match="exists already"):
        nf.repair(tmp_path / "old.nf", tmp_path / "new.nf")
    (tmp_path / "empty").mkdir()
    with pytest.raises(nf.NotFound):
        nf.repair(tmp_path / "empty", tmp_path / "other.nf")


def test_doctor_tells_of_a_damaged_database_and_not_of_its_data(tmp_path: Path):
    path = tmp_path / "my.nf"
    with nf.open(path) as db:
        docs = db.create("docs", 2, columns={"salary": "int64"})
        docs.upsert([4711], np.ones((1, 2), np.float32), [{"salary": 815}])
        docs.compact()
    report = nf.doctor(path)
    text = str(report)
    assert "collection docs" in text and "1, 0 dead" in text and "no problem was found" in text
    assert "salary" not in text and "4711" not in text and "815" not in text
    assert report.to_dict()["parts"][2]["stats"]["rows"] == 1 and report.problems == []
    assert "\"salary\" int64" in str(nf.doctor(str(path), names=True, verify=True))
    for manifest in (path / "docs").glob("MANIFEST-*"):
        manifest.write_bytes(b"")
    assert len(nf.doctor(path).problems) == 1 and "problems: 1" in repr(nf.doctor(path))
    assert nf.doctor(tmp_path / "nothing.nf").problems


def test_doctor_tells_how_far_it_is_and_is_ended(db: nf.Database, docs: nf.Collection):
    docs.compact()
    steps: list[nf.Progress] = []
    nf.doctor(db.path, verify=True, progress=steps.append)
    assert {step.phase for step in steps} == {"verifying", "done"}
    assert steps[-1].rows == steps[-1].total and steps[-1].rows > 0

    def end(_step: nf.Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        nf.doctor(db.path, verify=True, progress=end)


def test_stats_count_searches_and_writes(docs: nf.Collection):
    before = docs.stats()
    docs.search([1.0, 0.0])
    docs.search_batch([[1.0, 0.0], [0.0, 1.0]])
    docs.delete([1])
    after = docs.stats()
    assert after["writes"] == before["writes"] + 1
    assert after["searches"]["count"] == before["searches"]["count"] + 3
    assert after["searches"]["timed"] == before["searches"]["timed"] + 1
    assert 0 < after["searches"]["p50_ns"] <= after["searches"]["p99_ns"]
    assert after["searches"]["p99_ns"] <= after["searches"]["max_ns"] * 1.125
    assert after["debt_rows"] == 0 and after["calibration"] is None


def test_everything_is_closed_after_close(db: nf.Database, docs: nf.Collection):
    db.close()
    db.close()
    for use in [
        docs.count,
        docs.flush,
        docs.stats,
        docs.verify,
        docs.compact,
        docs.refresh,
        docs.scan,
        lambda: docs.schema,
        lambda: docs.upsert([3], [[1, 1]]),
        lambda: docs.upsert([3], [[1, 1]], {"new": [1]}),
        lambda: docs.delete([1]),
        lambda: docs.update([1], {"title": ["x"]}),
        lambda: docs.get([1]),
        lambda: docs.search([1, 1]),
        lambda: docs.search_batch([[1, 1]]),
        lambda: docs.search_batch([]),
        lambda: 1 in docs,
        db.collections,
        lambda: db["docs"],
        lambda: db.create("more", dim=2),
        lambda: db.drop("docs"),
    ]:
        with pytest.raises(nf.Closed, match="closed; open it again"):
            use()
    assert repr(docs).startswith("Collection('docs', not open: ")
    assert "test.nf" in repr(db)


def test_a_closed_collection_opens_again(db: nf.Database, docs: nf.Collection):
    docs.close()
    docs.close()
    with pytest.raises(nf.Closed):
        docs.count()
    assert db["docs"].count() == 2


def test_readers_write_nothing(docs: nf.Collection, db: nf.Database):
    docs.flush()
    with nf.open(db.path, mode="r") as reader:
        assert reader.read_only
        other = reader["docs"]
        for write in [
            lambda: other.upsert([3], [[1, 1]]),
            lambda: other.add([3], [[1, 1]], {"new": [1]}),
            lambda: other.delete([1]),
            lambda: other.update([1], {"title": ["x"]}),
            other.flush,
            other.compact,
            lambda: reader.create("more", dim=2),
            lambda: reader.drop("docs"),
            lambda: reader.rename("docs", "papers"),
        ]:
            with pytest.raises(nf.ReadOnly):
                write()


def test_a_damaged_file_is_corrupt_and_named(db: nf.Database, docs: nf.Collection):
    docs.compact()
    path = db.path
    db.close()
    segment = next(file for file in (path / "docs").iterdir() if file.suffix == ".nfs")
    content = bytearray(segment.read_bytes())
    content[100 : len(content) - 100] = bytes(len(content) - 200)
    segment.write_bytes(content)
    with nf.open(path) as again, pytest.raises(OSError) as caught:
        again["docs"].search([0, 0])
    assert isinstance(caught.value, nf.Corrupt)
    assert caught.value.file == str(segment)
    assert caught.value.section


def test_product_codes_lead_searches_and_stats_say_so(tmp_path: Path):
    rows = np.random.default_rng(1).random((2_500, 16), dtype=np.float32)
    with nf.open(tmp_path / "a.nf", code="product:16", threads=1) as db:
        docs = db.collection("docs", dim=16, metric="l2")
        docs.upsert(np.arange(2_500), rows)
        docs.compact()
        assert [segment["code"] for segment in docs.stats()["segments"]] == ["product"]
        assert docs.search(rows[7], k=1).ids[0] == 7
    index = nf.Index(16, "l2", code="product:16", threads=1)
    index.add(rows, np.arange(2_500))
    index.build()
    assert index.search(rows[7], k=1)[0][0] == 7
    with pytest.raises(nf.InvalidArgument, match="product:9999"):
        nf.Index(16, "l2", code="product:9999")


def test_searches_do_with_the_memory_that_they_are_given_and_are_held_in_it(tmp_path):
    path = tmp_path / "served.nf"
    rng = np.random.default_rng(3)
    directions = rng.standard_normal((12, 128))
    vectors = (rng.standard_normal((13_000, 12)) @ directions + 0.1 * rng.standard_normal((13_000, 128))).astype("f4")
    tuning = {"graph_bytes": 0, "m": 8, "ef_construction": 40, "compaction": False}
    with nf.open(path, serving_budget=1_400_000, **tuning) as db:
        docs = db.collection("docs", dim=128, metric="l2")
        docs.upsert(np.arange(len(vectors)), vectors)
        docs.compact()
        stats = docs.stats()
        assert [part["code"] for part in stats["segments"]] == ["product"]
        assert stats["serving_bytes"] <= stats["serving_budget"] == 1_400_000
        assert stats["serving_problem"] is None and stats["memory"] == "mmap"
        expected = docs.search(vectors[7], k=10).ids.tolist()
    with nf.open(path, mode="r", memory="ram") as db:
        held = db["docs"].stats()["held_bytes"]
        assert held["graph"] > 0 and held["codes"] > 0 and held["ids"] == 8 * len(vectors)
        assert db["docs"].search(vectors[7], k=10).ids.tolist() == expected
    with nf.open(path, mode="r", memory="ram", serving_budget=1 << 20) as db:
        with pytest.raises(nf.InvalidArgument, match=str(stats["serving_bytes"])):
            db["docs"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"serving_budget": 0}, "serving_budget is 0 bytes, expected 1048576"),
        ({"serving_budget": -1}, "serving_budget"),
        ({"memory": "mapped"}, "mmap"),
    ],
)
def test_memory_that_is_no_memory_is_refused(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        nf.open(tmp_path / "x.nf", **settings)
