"""What may be given as ids, and what not."""

import decimal
import uuid

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import nearfield as nf


@pytest.fixture
def empty(db: nf.Database) -> nf.Collection:
    return db.create("empty", dim=1, metric="l2")


def numbers() -> list:
    return [
        [1, 2, 3],
        (1, 2, 3),
        range(1, 4),
        iter([1, 2, 3]),
        {1: "a", 2: "b", 3: "c"}.keys(),
        [np.int64(1), np.uint8(2), 3],
        *[np.array([1, 2, 3], dtype) for dtype in "bhilqBHILQ"],
        *[np.array([1, 2, 3], dtype) for dtype in [">i8", ">u8", ">u2"]],
        np.array([1, 0, 2, 0, 3], np.uint64)[::2],
        np.array([3, 2, 1])[::-1],
        np.array([1, 2, 3], dtype=object),
    ]


@pytest.mark.parametrize("at", range(len(numbers())))
def test_every_form_of_integers_is_taken(empty: nf.Collection, at):
    assert empty.upsert(numbers()[at], [[1], [2], [3]]) == 3
    assert empty.get(numbers()[at]).ids.tolist() == [1, 2, 3]
    assert empty.delete(numbers()[at]) == 3


@pytest.mark.parametrize(
    "ids",
    [
        ["a", "bc", "ü"],
        ("a", "bc", "ü"),
        np.array(["a", "bc", "ü"]),
        np.array(["a", "bc", "ü"], dtype=object),
        [np.str_("a"), "bc", "ü"],
    ],
    ids=repr,
)
def test_every_form_of_strings_is_taken(empty: nf.Collection, ids):
    assert empty.upsert(ids, [[1], [2], [3]]) == 3
    assert empty.get(ids).ids.tolist() == ["a", "bc", "ü"]
    assert "ü" in empty
    assert empty.delete(ids) == 3


def test_arrow_ids_are_taken(db: nf.Database):
    pa = pytest.importorskip("pyarrow")
    pl = pytest.importorskip("polars")
    docs = db.create("numbers", dim=1)
    for kind in ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]:
        array = pa.array([9, 1, 2], type=kind)[1:]
        assert docs.upsert(array, [[1], [2]]) == 2
        assert docs.delete(pa.chunked_array([array[:1], array[1:]])) == 2
    assert docs.upsert(pl.Series([1, 2]), [[1], [2]]) == 2
    assert docs.get(pa.array([], pa.null())).ids.tolist() == []
    with pytest.raises(TypeError, match="null at row 1"):
        docs.delete(pa.array([1, None]))
    with pytest.raises(TypeError, match="an Arrow array of Float64"):
        docs.delete(pa.array([1.0]))
    with pytest.raises(ValueError, match="row 1 is -2"):
        docs.delete(pa.array([1, -2]))
    names = db.create("names", dim=1)
    for kind in [pa.string(), pa.large_string(), pa.string_view()]:
        assert names.upsert(pa.array(["x", "a", "b"], kind)[1:], [[1], [2]]) == 2
        assert names.get(["b", "x", "a"]).ids.tolist() == ["b", "a"]
    assert names.delete(pl.Series(["a", "b"])) == 2


def test_one_id_alone_is_one_row(db: nf.Database):
    docs = db.create("numbers", dim=1)
    for id_ in [7, np.int32(7), np.array(7)]:
        assert docs.upsert(id_, [1]) == 1
        assert docs.get(id_).ids.tolist() == [7]
    names = db.create("names", dim=1)
    assert names.upsert("seven", [1]) == 1
    assert names.delete("seven") == 1
    assert names.upsert("", [1]) == 1


@pytest.mark.parametrize(
    "ids",
    [
        None, 1.0, [1.0], np.array([1.0]), [1, "a"], ["a", 1], [None], [1, None], True, [True],
        np.array([True]), b"ab", [b"ab"], {1: 2}, {"a": 1}, object(), [uuid.uuid4()],
        [decimal.Decimal(1)], np.array(["2020"], "M8[Y]"), np.array([b"ab"]), [[1, 2]],
        np.array([1, "a"], dtype=object),
    ],
    ids=repr,
)  # fmt: skip
def test_anything_else_is_a_type_error(empty: nf.Collection, ids):
    for use in [
        lambda: empty.upsert(ids, [[1]]),
        lambda: empty.add(ids, [[1]]),
        lambda: empty.get(ids),
        lambda: empty.delete(ids),
        lambda: empty.update(ids, {"x": [1]}),
    ]:
        with pytest.raises(TypeError, match="ids"):
            use()


@pytest.mark.parametrize(
    "ids", [-1, [-1], [0, -5], np.array([1, -1]), 2**64, [2**64], [-(10**30)]], ids=repr
)
def test_integers_out_of_range_are_a_value_error(empty: nf.Collection, ids):
    with pytest.raises(ValueError, match="expected 0 to 2\\*\\*64 - 1"):
        empty.upsert(ids, [[1]] * np.size(ids))


def test_two_dimensions_are_a_value_error(empty: nf.Collection):
    with pytest.raises(ValueError, match="expected one dimension, given 2"):
        empty.upsert(np.array([[1]]), [[1]])


def test_an_id_that_is_too_long_or_no_unicode_is_a_value_error(empty: nf.Collection):
    for id_ in ["x" * 65537, "\ud800"]:
        with pytest.raises(ValueError):
            empty.upsert(id_, [1])
    assert empty.upsert("x" * 65536, [1]) == 1


def test_ids_of_the_other_kind_are_a_mismatch(docs: nf.Collection):
    for use in [
        lambda: docs.upsert("a", [1, 1]),
        lambda: docs.add(["a"], [1, 1]),
        lambda: docs.get("a"),
        lambda: docs.delete("a"),
        lambda: docs.update("a", {"title": ["x"]}),
        lambda: docs.contains("a"),
    ]:
        with pytest.raises(nf.SchemaMismatch, match="ids of this collection: expected integers, given strings; convert them"):
            use()


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.integers(-(2**65), 2**65) | st.text(max_size=4) | st.none(), max_size=5))
def test_any_list_is_stored_or_refused(db: nf.Database, ids):
    docs = db.collection("docs", dim=1)
    try:
        docs.upsert(ids, np.zeros((len(ids), 1)))
    except (ValueError, TypeError):
        assert docs.count() == 0
    else:
        assert sorted(docs.get(sorted(set(ids))).ids.tolist()) == sorted(set(ids))
    db.drop("docs")
