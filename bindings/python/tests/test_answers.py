"""What is given and what is answered: wrong input everywhere is a typed error that says what to do, and
leaves the database as it was."""

import errno
import os
import pickle
import shutil
import sqlite3
import subprocess
import sys
import threading
import warnings
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

import nearfield as nf

NAN, INFINITY = float("nan"), float("inf")


class Broken:
    """A number whose conversion fails."""

    def __index__(self):
        raise LookupError("mine")

    __float__ = __index__


@pytest.fixture
def rows(db: nf.Database) -> nf.Collection:
    """Rows 1 to 3 with texts, numbers and sparse vectors."""
    rows = db.collection("rows", dim=2, metric="l2", text="body")
    data = {"body": ["near thing", "far thing", "x"], "n": [1, 2, 3], "sp": [{1: 1.0}, {2: 2.0}, None]}
    rows.upsert([1, 2, 3], [[0, 0], [3, 4], [6, 8]], data)
    return rows


def state(docs: nf.Collection) -> tuple[str, int, dict]:
    return str(docs.get([1, 2, 3, 9], vectors=True).to_dicts()), len(docs), docs.schema


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"alpha": NAN}, ValueError, "alpha is NaN, expected 0 to 1"),
        ({"alpha": 1.5}, ValueError, "alpha is 1.5, expected 0 to 1"),
        ({"alpha": True}, TypeError, "alpha: expected a number, given bool"),
        ({"alpha": "half"}, TypeError, "alpha: expected a number, given str"),
        ({"alpha": 10**400}, ValueError, "alpha is larger than a float can be"),
        ({"alpha": Broken()}, LookupError, "mine"),
        ({"alpha": [0.5]}, TypeError, "alpha: expected a number, given list"),
        ({"rrf_k": -1}, ValueError, "k of reciprocal ranks is -1"),
        ({"rrf_k": False}, TypeError, "rrf_k: expected a number, given bool"),
        ({"max_distance": 10**400}, ValueError, "max_distance is larger"),
        ({"max_distance": True}, TypeError, "max_distance: expected a number, given bool"),
        ({"min_distance": "a"}, TypeError, "min_distance: expected a number"),
        ({"mmr": INFINITY}, ValueError, "mmr is inf"),
        ({"k": Broken()}, LookupError, "mine"),
        ({"candidates": -1}, ValueError, "candidates is -1"),
        ({"candidates": 1.0}, TypeError, "candidates: expected a whole number"),
        ({"highlight": "yes"}, TypeError, "highlight: expected a whole number, given str"),
        ({"words": 5}, TypeError, "words: expected str, given int"),
        ({"words": "(a"}, nf.InvalidArgument, "the parenthesis is not closed at column 1"),
        ({"words": "-thing"}, nf.InvalidArgument, "there are only words to leave out"),
        ({"words": "\ud800"}, nf.InvalidArgument, "words: expected Unicode text, given the lone surrogate"),
        ({"words_in": "bdy"}, nf.NotFound, 'did you mean "body"?'),
        ({"words_in": "n"}, nf.InvalidArgument, "add_text_index"),
        ({"words_in": {"body": -1}}, nf.InvalidArgument, "weight of column \"body\" is -1"),
        ({"words_in": {"body": True}}, TypeError, "expected a number, given bool"),
        ({"fusion": "sum"}, ValueError, 'expected one of "rrf", "weighted"'),
        ({"group_by": 5}, TypeError, "group_by: expected the name of a column"),
        ({"select": ["id"]}, nf.NotFound, "the id comes with every row"),
        ({"select": "vector"}, nf.NotFound, "vectors are no column"),
        ({"filter": "n = 1"}, TypeError, "did you mean where=?"),
        ({"top_k": 1}, TypeError, "did you mean k=?"),
        ({"highlights": True}, TypeError, "did you mean highlight=?"),
        ({"max_distnce": 1}, TypeError, "did you mean max_distance=?"),
        ({"zzzzzz": 1}, TypeError, "there are k, max_distance"),
    ],
    ids=str,
)
def test_a_wrong_argument_of_a_search_says_what_is_right(rows: nf.Collection, arguments, error, message):
    before = state(rows)
    for source in [rows, rows.snapshot()]:
        for search in [source.search, source.explain]:
            with pytest.raises(error) as caught:
                search([0, 0], **{"words": "thing", **arguments})
            assert message in str(caught.value)
    assert state(rows) == before


@pytest.mark.parametrize(
    ("vectors", "error", "message"),
    [
        ("hello", TypeError, "expected numbers (an array, or a list of numbers for each vector), given str"),
        (["a", "b"], TypeError, "given str at row 0, element 0"),
        ([[1, 2], ["a", 2]], TypeError, "given str at row 1, element 0"),
        ([[1, 2], [1, None]], TypeError, "given NoneType at row 1, element 1"),
        ([[1, 2], None], TypeError, "row 1 is NoneType, expected 2 numbers as in row 0"),
        ([[1, 2], [1]], ValueError, "row 1 has 1 elements, row 0 has 2"),
        (({1, 2} for _ in "a"), TypeError, "given generator"),
        ({1, 2}, TypeError, "given set"),
        (np.array([[1, None]], dtype=object), TypeError, "given an array of object"),
        (np.array(1.0), TypeError, "given one number"),
        (np.ma.array([[1.0, 2.0]], mask=[[0, 1]]), ValueError, "masked"),
        ([[1e39, 0]], nf.InvalidVector, "beyond 3.4e38"),
        ([[1, 2, 3]], nf.DimensionMismatch, "3 dimensions, expected 2"),
        (None, TypeError, "given NoneType"),
    ],
    ids=repr,
)
def test_what_is_no_vector_is_named(rows: nf.Collection, vectors, error, message):
    before = state(rows)
    ids = list(range(9, 9 + len(vectors))) if isinstance(vectors, list) and isinstance(vectors[0], list) else 9
    with warnings.catch_warnings():
        # NumPy's own would hide what nearfield says.
        warnings.simplefilter("error")
        with pytest.raises(error) as caught:
            rows.upsert(ids, vectors)
    assert message in str(caught.value)
    assert state(rows) == before


def test_arrays_in_every_layout_are_read_alike(rows: nf.Collection):
    expected = [[1.0, 2.0]]
    for vectors in [
        np.array([[1, 2]], dtype=">f4"),
        np.array([[1, 9, 2, 9]], dtype=np.float32)[:, ::2],
        np.asfortranarray([[1.0, 2.0]]),
        np.ma.array([[1.0, 2.0]]),
        np.array([[1, 2]], dtype=np.longdouble),
        np.frombuffer(b"\0" + np.array([1, 2], np.float32).tobytes(), dtype="<f4", offset=1).reshape(1, 2),
    ]:
        rows.upsert(9, vectors)
        assert rows.get(9, vectors=True).vectors.tolist() == expected
        assert rows.search(vectors[0], k=1).ids.tolist() == [9]
        rows.delete(9)


def test_masked_values_are_null_in_columns_and_refused_in_ids(rows: nf.Collection):
    data = {"n": np.ma.array([10, 11], mask=[0, 1]), "f": np.ma.array([0.5, 1], mask=[1, 0])}
    rows.upsert([1, 2], [[0, 0], [1, 1]], data)
    assert [(row["n"], row["f"]) for row in rows.get([1, 2])] == [(10, None), (None, 1.0)]
    with pytest.raises(nf.InvalidArgument, match="ids: given a masked array"):
        rows.delete(np.ma.array([1, 2], mask=[0, 1]))


def test_a_set_has_no_order_to_pair_with_vectors(rows: nf.Collection):
    for ids in [{8, 9}, frozenset([8, 9])]:
        for write in [rows.upsert, rows.add]:
            with pytest.raises(TypeError, match="in the order of the vectors, given (frozen)?set"):
                write(ids, [[1, 2], [1, 2]])
    assert len(rows.get({1, 2})) == 2
    assert rows.delete({1, 2}) == 2


@pytest.mark.parametrize(
    ("vector", "error", "message"),
    [
        ({2**70: 1.0}, ValueError, f"index {2**70} is outside 0 to 4294967295"),
        ({-1: 1.0}, ValueError, "index -1 is outside"),
        ({True: 1.0}, TypeError, "expected int indices and float weights, given bool"),
        ({1: True}, TypeError, "expected int indices and float weights, given bool"),
        ({1: "a"}, TypeError, "the weight at index 1: expected a number, given str"),
        ({1: NAN}, ValueError, "the weight at index 1 is NaN"),
        ({1: 10**400}, ValueError, "larger than a float can be"),
        ({Broken(): 1.0}, LookupError, "mine"),
        ((np.array([2**63 + 5], np.uint64), [1.0]), ValueError, f"index {2**63 + 5} is outside"),
        (([1], ["1.5"]), TypeError, "weights: expected numbers"),
        (([1], [1j]), TypeError, "weights: expected numbers"),
        (([1], [1e39]), ValueError, "the weight at index 1 is inf"),
        (([1.5], [1.0]), ValueError, "expected whole numbers as indices"),
        (([1, 1], [1, 2]), ValueError, "index 1 is given twice"),
        (([1], [1, 2]), ValueError, "1 indices and 2 weights"),
    ],
    ids=repr,
)
def test_what_is_no_sparse_vector_is_named(rows: nf.Collection, vector, error, message):
    before = state(rows)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for use in [
            lambda: rows.search_sparse("sp", vector),
            lambda: rows.search([0, 0], sparse={"sp": vector}),
            lambda: rows.upsert(9, [0, 0], {"sp": [vector]}),
        ]:
            with pytest.raises(error) as caught:
                use()
            assert message in str(caught.value)
    assert state(rows) == before


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda db, rows: db.collection(5, dim=2), TypeError, "name: expected str, given int"),
        (lambda db, rows: db[5], TypeError, "name: expected str, given int"),
        (lambda db, rows: 5 in db, TypeError, "name: expected str, given int"),
        (lambda db, rows: db.drop(None), TypeError, "name: expected str, given NoneType"),
        (lambda db, rows: rows.search(text=5), TypeError, "text: expected str, given int"),
        (lambda db, rows: rows.search_sparse(5, {1: 1.0}), TypeError, "column: expected str, given int"),
        (lambda db, rows: rows.add_text_index(5), TypeError, "column: expected str, given int"),
        (lambda db, rows: nf.col(5), TypeError, "name: expected str, given int"),
        (lambda db, rows: rows.search(sparse={"sp": {1: 1.0}}), TypeError, "search_sparse"),
        (lambda db, rows: rows.delete(nf.col("n") == 1), TypeError, "delete() takes a filter as where="),
        (lambda db, rows: rows.delete(where={}), nf.FilterError, "TRUE"),
        (lambda db, rows: rows.update(data=[{"n": 1}], where="n = 1"), TypeError, "a dict of the values"),
        (lambda db, rows: rows.update(data={"n": [1]}, where="n = 1"), TypeError, "given list for column n"),
        (lambda db, rows: rows.import_batches(None), TypeError, "batches: expected an iterable, each item"),
        (lambda db, rows: rows.import_batches([7]), TypeError, "a tuple (ids, vectors)"),
        (lambda db, rows: db.import_file("rows", "x.jsonl", vectors="v"), TypeError, "did you mean vector=?"),
        (lambda db, rows: db.import_file("rows", "x.jsonl", id=5), TypeError, "id: expected str, given int"),
        (lambda db, rows: db.collection("new", dim=2, dtype=5), TypeError, "dtype: expected the name of a type"),
        (lambda db, rows: rows.upsert(9, [1, 2], {"d": [b"x"]}), TypeError, "given bytes"),
        (lambda db, rows: rows.upsert(9, [1, 2], {"n": ["one"]}), nf.SchemaMismatch, "expected integers (int64), given strings (utf8); convert them"),
        (lambda db, rows: nf.open(db.path, thread=1), TypeError, "did you mean threads=?"),
        (lambda db, rows: nf.open(db.path, read_only=True), TypeError, "did you mean mode=?"),
        (lambda db, rows: nf.open(""), nf.InvalidArgument, "the path of the database is empty"),
        (lambda db, rows: nf.open(":memory:"), nf.InvalidArgument, "nearfield.Index"),
        (lambda db, rows: nf.open(db.path), nf.Locked, "in this process already (pid"),
        (lambda db, rows: nf.open(db.path), nf.Locked, "open it for reading"),
    ],
)  # fmt: skip
def test_a_wrong_call_says_what_is_right(db: nf.Database, rows: nf.Collection, call, error, message):
    before = state(rows)
    with pytest.raises(error) as caught:
        call(db, rows)
    assert message in str(caught.value)
    # Words of Rust are none of Python's.
    assert "r#" not in "".join(getattr(caught.value, "__notes__", []))
    assert state(rows) == before
    assert db.collections() == ["rows"]


@pytest.mark.parametrize(
    "call",
    [
        lambda rows, where: rows.count(where=where),
        lambda rows, where: rows.delete(where=where),
        lambda rows, where: rows.update(data={"n": 1}, where=where),
        lambda rows, where: rows.scan(where=where),
        lambda rows, where: rows.snapshot().count(where=where),
        lambda rows, where: rows.snapshot().scan(where=where),
        lambda rows, where: rows.search([0, 0], where=where),
        lambda rows, where: rows.export_file("never.parquet", where=where),
    ],
)
def test_a_wrong_filter_points_at_its_place_everywhere(rows: nf.Collection, call):
    for where, error, message in [
        ("nn = 1", nf.FilterError, 'no column "nn"'),
        ("n = = 1", nf.FilterError, "column 5"),
        ("", nf.FilterError, "the text is empty"),
        (5, TypeError, "where: expected the text of a filter, a dict, or an expression"),
    ]:
        with pytest.raises(error, match=message) as caught:
            call(rows, where)
        assert "r#" not in "".join(getattr(caught.value, "__notes__", []))
    assert len(rows) == 3


@pytest.mark.parametrize("options", [{"k1": -1}, {"k1": NAN}, {"b": 7}, {"language": "klingon"}, 5], ids=repr)
def test_columns_whose_options_are_wrong_are_not_added(db: nf.Database, rows: nf.Collection, options):
    before = rows.schema
    for use in [
        lambda: rows.add_columns({"new": "utf8", "m": int}, text={"new": options}),
        lambda: rows.add_columns(text={"other": "english", "new": options}),
        lambda: rows.add_text_index("body", options),
        lambda: db.collection("rows", columns={"m": int}, text={"new": options}),
    ]:
        with pytest.raises((ValueError, TypeError)):
            use()
        assert rows.schema == before


def test_other_options_of_a_text_column_are_named_in_words(db: nf.Database, rows: nf.Collection):
    with pytest.raises(nf.SchemaMismatch) as caught:
        db.collection("rows", text={"body": {"language": "german", "stem": False}})
    assert "expected english, k1 1.2, b 0.75" in str(caught.value)
    assert "given german, endings kept, k1 1.2, b 0.75; add_text_index has it indexed anew" in str(caught.value)
    assert rows.add_text_index("body", {"language": "german", "stem": False})
    db.collection("rows", text={"body": {"language": "german", "stem": False}})


def test_python_types_name_kinds_of_ids(db: nf.Database):
    assert db.create("names", dim=1, id_type=str).schema["id_type"] == "utf8"
    assert db.create("numbers", dim=1, id_type=int).schema["id_type"] == "u64"
    with pytest.raises(TypeError, match='id_type: expected one of "u64", "utf8", given type'):
        db.create("others", dim=1, id_type=float)


def test_batches_are_made_in_the_thread_that_asks_for_them(rows: nf.Collection):
    # Cursors of sqlite3, sessions of ORMs and event loops belong to one thread.
    table = sqlite3.connect(":memory:")
    table.execute("CREATE TABLE t AS WITH RECURSIVE n(i) AS (SELECT 100 UNION SELECT i + 1 FROM n LIMIT 500) SELECT i FROM n")
    threads = set()

    def batches():
        for (number,) in table.execute("SELECT i FROM t"):
            threads.add(threading.get_ident())
            yield [number], [[number, 0]], {"n": [number]}

    seen = []
    assert rows.import_batches(batches(), progress=seen.append) == 500
    assert threads == {threading.get_ident()}
    assert seen[-1].phase == "done"
    assert (len(rows), rows.count(where="n = 599")) == (503, 1)


def test_batches_that_fail_store_nothing_and_raise_what_was_raised(rows: nf.Collection):
    before = state(rows)

    def failing(error):
        for number in range(100, 200):
            yield [number], [[number, 0]]
        raise error

    for error in [LookupError("mine"), KeyboardInterrupt(), nf.Closed("mine")]:
        with pytest.raises(type(error)) as caught:
            rows.import_batches(failing(error))
        assert caught.value is error
    with pytest.raises(nf.DimensionMismatch):
        rows.import_batches([([7], [[1, 2]]), ([8], [[1]])])

    def stop(step):
        raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        rows.import_batches((([n], [[n, 0]]) for n in range(100, 200)), progress=stop)
    assert state(rows) == before
    assert rows.verify()["problems"] == []


def test_after_close_everything_says_closed(db: nf.Database, rows: nf.Collection, tmp_path: Path):
    snapshot = rows.snapshot()
    rows.close()
    for use in [
        lambda: rows.search([0, 0]), lambda: rows.search(words="thing"), lambda: rows.search_sparse("sp", {1: 1.0}),
        lambda: rows.explain([0, 0]), lambda: rows.upsert(1, [1, 2]), lambda: rows.add_columns({"z": int}),
        lambda: rows.add_text_index("body"), lambda: rows.import_batches([([1], [[1, 2]])]), lambda: rows.schema,
        lambda: rows.verify(), lambda: rows.compact(), lambda: rows.export_file(tmp_path / "x.parquet"),
    ]:  # fmt: skip
        with pytest.raises(nf.Closed, match="open it again"):
            use()
    assert snapshot.search([0, 0], words="thing", k=1).ids.tolist() == [1]
    assert not (tmp_path / "x.parquet").exists()
    assert pickle.loads(pickle.dumps(nf.Closed("x"))).args == ("x",)


def test_decimals_become_floats(rows: nf.Collection):
    rows.upsert(9, [1, 2], {"price": [Decimal("1.5")]})
    assert rows.get(9)[0]["price"] == 1.5


def test_a_handle_says_that_its_collection_was_dropped_or_renamed(db: nf.Database, rows: nf.Collection):
    other = db.create("other", dim=2)
    db.drop("other")
    db.rename("rows", "lines")
    for handle, message in [
        (other, 'collection "other" was dropped'),
        (rows, 'collection "rows" was renamed to "lines"; open it by that name'),
    ]:
        for use in [lambda: handle.search([0, 0]), lambda: handle.upsert(1, [0, 0]), lambda: handle.schema]:
            with pytest.raises(nf.Closed) as caught:
                use()
            assert str(caught.value) == message
        assert message in repr(handle)
    assert db["lines"].search([0, 0], k=1).ids.tolist() == [1]


def test_a_reader_says_what_became_of_its_collection(db: nf.Database, rows: nf.Collection):
    for name in ["renamed", "dropped", "replaced", "kept"]:
        db.create(name, dim=2)
    with nf.open(db.path, mode="r") as reader:
        handles = {name: reader[name] for name in ["renamed", "dropped", "replaced", "kept"]}
        db.rename("renamed", "new")
        db.drop("dropped")
        db.drop("replaced")
        db.create("replaced", dim=2)
        for name, message in [
            ("renamed", 'was renamed to "new" by its writer'),
            ("dropped", "was dropped by its writer"),
            ("replaced", "was replaced by another of its name by its writer"),
        ]:
            with pytest.raises(nf.Closed, match=message):
                handles[name].refresh()
        assert handles["kept"].refresh() is False


def test_a_removed_directory_is_said_to_be_gone(tmp_path: Path):
    path = tmp_path / "gone.nf"
    with nf.open(path) as db:
        db.create("docs", dim=2).upsert(1, [0, 0])
    reader = nf.open(path, mode="r")
    docs = reader["docs"]
    shutil.rmtree(path)
    for use in [docs.refresh, reader.collections, lambda: reader["other"]]:
        with pytest.raises(nf.IoError, match=f"cannot read {path}: it was removed while it was open") as caught:
            use()
        assert caught.value.errno == errno.ENOENT
    assert str(path) in reader._repr_html_()
    assert docs.search([0, 0]).ids.tolist() == [1]
    reader.close()


def test_a_file_in_place_of_a_directory_is_said_to_be_one(tmp_path: Path):
    (tmp_path / "file").write_text("")
    for path in [tmp_path / "file", tmp_path / "file" / "a.nf"]:
        for mode in ["w", "r"]:
            with pytest.raises(nf.IoError, match="it is a file, or lies within one, and a database is a dir") as caught:
                nf.open(path, mode=mode)
            assert (caught.value.errno, caught.value.filename) == (errno.ENOTDIR, str(path))


def test_closed_handles_are_shown_and_left(tmp_path: Path):
    with nf.open(tmp_path / "a.nf") as db:
        docs = db.create("docs", dim=2)
    assert repr(db) == f'Database("{tmp_path / "a.nf"}", closed)'
    assert "closed" in db._repr_html_()
    assert repr(docs) == f"Collection('docs', not open: database {tmp_path / 'a.nf'} is closed; open it again)"
    assert "is closed" in docs._repr_html_()
    with db as same:
        assert same is db
        with pytest.raises(nf.Closed, match="is closed; open it again"):
            db.collections()


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ([{"z": 1}, {"z": {"a": 1}}], nf.InvalidArgument, '"z" is a dict in row 1 and a value in row 0'),
        ([{"z": {"a": 1}}, {"z": 1}], nf.InvalidArgument, '"z" is a dict in row 0 and a value in row 1'),
        ([{"y": {"z": {"a": 1}}}, {"y": {"z": "b"}}], nf.InvalidArgument, '"y.z" is a dict in row 0'),
        ([{"z": {1: 0.5}}, {"z": {"a": 1}}], nf.InvalidArgument, "give a dict or None in each row"),
        ({"m": [{"a": 1}, {"a": 2}]}, TypeError, 'column "m" row 0: given a dict with the name \'a\''),
        ({"m": [{"a": 1}, {"a": 2}]}, TypeError, 'are columns named "m.a", which a list of dicts'),
        ({"m": {"a": [1, 2]}}, TypeError, 'a dict within is columns of their own: name them "m.'),
        ({"m": [{"indices": [1], "values": [1]}, None]}, TypeError, "a dict {index: weight} or a pair (indices"),
        ([{"m": {"indices": [1], "values": [1]}}, {}], TypeError, "a dict {index: weight} or a pair (indices"),
        ({"n": [2.5, 1]}, nf.SchemaMismatch, "expected integers (int64), given floats (float64); convert them"),
        ({"body": [1, 2]}, nf.SchemaMismatch, "expected strings (utf8), given integers (int64); convert them"),
        ({"n": [True, False]}, nf.SchemaMismatch, "expected integers (int64), given truth values (bool)"),
        ({"n": [{1: 1.0}, None]}, nf.SchemaMismatch, "given sparse vectors (sparse)"),
    ],
    ids=str,
)
def test_columns_of_another_form_say_the_way_out(rows: nf.Collection, data, error, message):
    before = state(rows)
    with pytest.raises(error) as caught:
        rows.upsert([1, 2], [[0, 0], [3, 4]], data)
    assert message in str(caught.value)
    assert state(rows) == before


def test_an_empty_dict_in_a_row_is_none(rows: nf.Collection):
    rows.upsert([1, 2, 3], [[0, 0]] * 3, [{"n": {}, "q": {}}, {"n": 5, "q": {"a": 1}}, {"n": None, "q": None}])
    assert [(row["n"], row["q.a"]) for row in rows.get([1, 2, 3])] == [(None, None), (5, 1), (None, None)]
    assert "q" not in rows.schema["columns"]


@pytest.mark.parametrize(
    ("metric", "meant"),
    [("euclidean", "l2"), ("ip", "dot"), ("inner_product", "dot"), ("angular", "cosine"), ("L2", "l2"), ("cosin", "cosine")],
)
def test_a_metric_of_another_name_is_recognised(db: nf.Database, metric, meant):
    for make in [lambda: db.create("new", dim=2, metric=metric), lambda: nf.Index(2, metric)]:
        with pytest.raises(nf.InvalidArgument, match=f'metric is "{metric}", .*; did you mean "{meant}"\\?'):
            make()
    with pytest.raises(nf.InvalidArgument, match='expected one of "l2", "cosine", "dot", "hamming", "jaccard"$'):
        db.create("new", dim=2, metric="manhattan")


def test_only_names_that_are_near_are_suggested(db: nf.Database, rows: nf.Collection):
    for name, hint in [("BODY", '; did you mean "body"?'), ("boyd", '; did you mean "body"?'), ("x", "; there are body, n, sp"), ("zz", "; there are body, n, sp")]:
        with pytest.raises(nf.NotFound) as caught:
            rows.search([0, 0], select=[name])
        assert str(caught.value) == f'column "{name}" not found{hint}'
    with pytest.raises(nf.NotFound, match='did you mean "rows"'):
        db["Row"]


def test_ranges_and_modes_are_told_in_words(db: nf.Database, rows: nf.Collection):
    with pytest.raises(nf.InvalidArgument, match="dimension 1000000 is not allowed, expected 1 to 65,536"):
        db.create("new", dim=10**6)
    with nf.open(db.path, mode="r") as reader, pytest.raises(nf.ReadOnly, match="opened for reading"):
        reader["rows"].upsert(1, [0, 0])


class Shared:
    """What speaks DLPack alone."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        if isinstance(self.array, BaseException):
            raise self.array
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return (1, 0)


def test_arrays_by_dlpack_are_ids_and_what_they_raise_is_chained(rows: nf.Collection):
    assert rows.upsert(Shared(np.array([7, 8])), Shared(np.ones((2, 2), np.float32))) == 2
    assert rows.get(Shared(np.array([8, 7], np.uint8))).ids.tolist() == [8, 7]
    with pytest.raises(TypeError, match="ids: expected integers or strings .*, given an array of float64"):
        rows.delete(Shared(np.array([7.0])))
    broken = Shared(RuntimeError("on the GPU"))
    for what, use in [("ids", lambda: rows.get(broken)), ("vectors", lambda: rows.upsert(9, broken))]:
        with pytest.raises(nf.InvalidArgument, match=f"{what}: Shared gives no array by DLPack .on the GPU.") as caught:
            use()
        assert caught.value.__cause__ is broken.array
    with pytest.raises(KeyboardInterrupt):
        rows.get(Shared(KeyboardInterrupt()))


def test_no_rows_of_another_dimension_are_refused(rows: nf.Collection):
    for empty in [np.zeros((0, 3)), np.zeros((0, 1), np.float32)]:
        with pytest.raises(nf.DimensionMismatch, match=r"no rows of \d elements; expected 2 elements, shape \(0, 2\)"):
            rows.upsert([], empty)
    for empty in [[], np.zeros(0), np.zeros((0, 2)), np.zeros((0, 0))]:
        assert rows.upsert([], empty) == 0


def test_an_index_speaks_of_integers_alone():
    index = nf.Index(2)
    for ids, error, message in [
        ([-1], ValueError, r"ids: row 0 is -1, expected 0 to 2\*\*64 - 1$"),
        ([1.5], TypeError, "ids: row 0: expected an integer, given float"),
        (None, TypeError, r"ids: expected integers \(an array"),
        (["a"], TypeError, "expected integers, given strings"),
        ([1, "a"], TypeError, "ids: row 1: expected an integer, given str"),
    ]:
        with pytest.raises(error, match=message):
            index.remove(ids)
    with pytest.raises(nf.DimensionMismatch, match="3 dimensions, expected 2$"):
        index.add([[1, 2, 3]])


def test_what_is_raised_is_not_printed_besides(tmp_path: Path):
    script = """
import logging, sys, nearfield
db = nearfield.open(sys.argv[1])
docs = db.create("docs", dim=1)
docs.close()
for failing in [lambda: nearfield.open(sys.argv[1]), docs.verify, docs.compact]:
    try:
        failing()
    except nearfield.Error:
        print("raised")
"""
    # In a process of its own: here pytest listens to logging.
    run = subprocess.run([sys.executable, "-c", script, tmp_path / "a.nf"], capture_output=True, text=True)
    assert (run.stdout.split(), run.stderr) == (["raised"] * 3, "")


def test_what_to_do_is_said_in_the_words_of_python(rows: nf.Collection, tmp_path: Path):
    db = rows.database
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"id": 1, "vector": [1, 2]}\n{"id": 2, "vector": [1, 1e99]}\n')
    for use, error, message in [
        (lambda: db.create(rows.name, dim=2), nf.InvalidArgument, r"db\[name\] opens it, db.collection\(name\)"),
        (lambda: nf.open(db.path), nf.Locked, 'open it for reading with mode="r"$'),
        (lambda: rows.search(text="x"), nf.InvalidArgument, "open it with embed=$"),
        (lambda: db.import_file("other", bad), nf.InvalidArgument, '^row 1 cannot .* out with on_bad="skip"$'),
        (lambda: db.create("other", dim=-1), nf.InvalidArgument, "dim is -1, expected 1 to 65,536"),
        (lambda: nf.Index(0), nf.InvalidArgument, "dim is 0, expected 1 to 65,536"),
        (lambda: rows.scan(batch_size=0), nf.InvalidArgument, "batch_size is 0, expected 1 to 65,536"),
        (lambda: rows.search([1, 2], ef=0), nf.InvalidArgument, "ef is 0, expected 1 or more"),
        (lambda: rows.search([]), nf.InvalidArgument, r"expected one vector of \d+ dimensions, given none$"),
        (lambda: nf.Index.load(tmp_path), nf.IoError, "it is a directory, and an index is one file"),
        (lambda: nf.Index.view(tmp_path), nf.IoError, "it is a directory, and an index is one file"),
    ]:
        with pytest.raises(error, match=message):
            use()
    with nf.open(os.fsencode(tmp_path / "bytes.nf")) as other:
        assert other.path == tmp_path / "bytes.nf"
