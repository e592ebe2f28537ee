"""What may be given as data, which types it becomes, and what comes back."""

import datetime
import decimal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import nearfield as nf

UTC = datetime.timezone.utc
NOON = datetime.datetime(2026, 11, 24, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture
def empty(db: nf.Database) -> nf.Collection:
    return db.create("empty", dim=1)


def put(docs: nf.Collection, data, rows: int):
    docs.delete(np.arange(100))
    docs.upsert(np.arange(rows), np.zeros((rows, 1)), data)
    return [{k: v for k, v in row.items() if k != "id"} for row in docs.get(np.arange(rows))]


@pytest.mark.parametrize(
    ("values", "kind", "back"),
    [
        ([True, None, False], "bool", None),
        ([1, None, -(2**63)], "int64", None),
        ([1, 2.5, None], "float64", [1.0, 2.5, None]),
        ([float("inf"), None, -0.0], "float64", None),
        (["a", None, "ü\0"], "utf8", None),
        ([["a", None], None, []], "list_utf8", None),
        ([("a",), ["b", "c"], ()], "list_utf8", [["a"], ["b", "c"], []]),
        ([NOON, None, datetime.datetime(1, 1, 1, tzinfo=UTC)], "timestamp", None),
        ([NOON.replace(tzinfo=None)] * 3, "timestamp", [NOON] * 3),
        (
            [NOON.astimezone(datetime.timezone(datetime.timedelta(hours=5)))] * 3,
            "timestamp",
            [NOON] * 3,
        ),
        (
            [datetime.date(1969, 12, 31), None, datetime.date(9999, 12, 31)],
            "timestamp",
            [
                datetime.datetime(1969, 12, 31, tzinfo=UTC),
                None,
                datetime.datetime(9999, 12, 31, tzinfo=UTC),
            ],
        ),
        ([np.int8(1), np.uint64(2), 3], "int64", [1, 2, 3]),
        ([np.float32(0.5), np.float64(2), 3], "float64", [0.5, 2, 3]),
        ([np.bool_(True), False, None], "bool", [True, False, None]),
        ([np.str_("a"), "b", float("nan")], "utf8", ["a", "b", None]),
        ([np.datetime64("2026-11-24T12", "ns"), None, np.datetime64("NaT")], "timestamp",
         [NOON.replace(microsecond=0), None, None]),
        ([decimal.Decimal("0.5"), 1, None], "float64", [0.5, 1, None]),
        ((1, 2, 3), "int64", [1, 2, 3]),
        (range(3), "int64", [0, 1, 2]),
        (np.array([1, 2, 3], ">i2"), "int64", [1, 2, 3]),
        (np.array([1, 2, 3], "u8")[::-1], "int64", [3, 2, 1]),
        (np.array([1, 2, 3], "f2"), "float64", [1, 2, 3]),
        (np.array([True, False, True]), "bool", [True, False, True]),
        (np.array(["a", "b", "c"]), "utf8", ["a", "b", "c"]),
        (np.array(["a", None, 3 * "c"], dtype=object), "utf8", ["a", None, "ccc"]),
        (np.array(["1970-01-02", "NaT", "1969-12-31"], "M8[D]"), "timestamp",
         [datetime.datetime(1970, 1, 2, tzinfo=UTC), None,
          datetime.datetime(1969, 12, 31, tzinfo=UTC)]),
    ],
    ids=str,
)  # fmt: skip
def test_types_are_inferred_and_values_come_back(empty: nf.Collection, values, kind, back):
    expected = [{"x": value} for value in (values if back is None else back)]
    assert put(empty, {"x": values}, 3) == expected
    assert empty.schema["columns"] == {"x": kind}
    rows = [{"x": value} for value in values]
    assert put(empty, rows, 3) == expected


def test_nan_among_numbers_stays_nan(empty: nf.Collection):
    values = put(empty, {"x": [1, float("nan"), None]}, 3)
    assert values[0]["x"] == 1
    assert np.isnan(values[1]["x"])
    assert values[2]["x"] is None


def test_rows_may_lack_keys(empty: nf.Collection):
    rows = [{"a": 1}, {}, {"b": "x", "a": 3}]
    assert put(empty, rows, 3) == [
        {"a": 1, "b": None},
        {"a": None, "b": None},
        {"a": 3, "b": "x"},
    ]


def test_a_column_of_none_waits_for_its_type(empty: nf.Collection):
    put(empty, {"x": [None, None], "y": [1, 2]}, 2)
    assert empty.schema["columns"] == {"y": "int64"}
    assert put(empty, {"x": ["a"], "y": [None]}, 1) == [{"y": None, "x": "a"}]
    assert put(empty, {"x": [None], "y": [None]}, 1) == [{"y": None, "x": None}]


def test_integers_suit_a_column_of_floats(empty: nf.Collection):
    put(empty, {"x": [0.5]}, 1)
    assert put(empty, {"x": [1]}, 1) == [{"x": 1.0}]


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ({"x": [1, "a"]}, TypeError, "column \"x\" row 1: str after values of another type"),
        ({"x": [True, 1]}, TypeError, "column \"x\" row 1: int after values of another type"),
        ({"x": [set(), 1]}, TypeError, "column \"x\" row 0: expected bool, int, float, str"),
        ({"x": [{}, 1]}, TypeError, "column \"x\" row 1: int after values of another type"),
        ({"x": [b"a", b"b"]}, TypeError, "column \"x\" row 0"),
        ({"x": [object(), None]}, TypeError, "given object"),
        ({"x": [1j, None]}, TypeError, "given complex"),
        ({"x": [["a"], [1]]}, TypeError, "column \"x\" row 1: expected a list of str, given int"),
        ({"x": [2**63, 1]}, ValueError, "does not fit int64"),
        ({"x": np.array([2**63, 1], np.uint64)}, ValueError, "does not fit int64"),
        ({"x": np.zeros((2, 2))}, ValueError, "column \"x\": expected one dimension"),
        ({"x": [1]}, ValueError, "column \"x\" has 1 values for 2 ids"),
        ({"x": [1, 2, 3]}, ValueError, "column \"x\" has 3 values for 2 ids"),
        ({"x": "ab"}, TypeError, "column \"x\": expected a list or array"),
        ({"x": 5}, TypeError, "column \"x\": expected a list or array"),
        ({"x": {"a": 1, "b": 2}}, TypeError, "column \"x\": expected a list or array"),
        ({1: [1, 2]}, TypeError, "data: a column name: expected str, given int"),
        ({"": [1, 2]}, ValueError, "column name"),
        ({"id": [1, 2]}, ValueError, "reserved"),
        ({"vector": [1, 2]}, ValueError, "reserved"),
        ([{"x": 1}], ValueError, "column \"x\" has 1 values for 2 ids"),
        ([{"x": 1}, 5], TypeError, "data: row 1: expected a dict, given int"),
        ("ab", TypeError, "data: expected a dict of columns, a list of dicts"),
        (5, TypeError, "data: expected a dict of columns"),
        ({"x": ["\ud800", ""]}, nf.InvalidArgument, 'column "x" row 0: expected Unicode text, given the lone surrogate'),
        ({"x": [10**400, 0.5]}, ValueError, "does not fit float64"),
    ],
)
def test_wrong_data_says_what_is_right(empty: nf.Collection, data, error, message):
    for write in [empty.upsert, empty.add]:
        with pytest.raises(error) as caught:
            write([1, 2], [[1], [2]], data)
        assert message in str(caught.value)
    with pytest.raises(error):
        empty.update([1, 2], data)
    assert empty.count() == 0


def test_another_type_than_the_column_has_is_a_mismatch(docs: nf.Collection):
    with pytest.raises(nf.SchemaMismatch, match="column \"title\": expected strings \\(utf8\\), given integers \\(int64\\)"):
        docs.upsert([1], [[1, 1]], {"title": [5]})
    assert docs.get(1)[0]["title"] == "near"


def test_pyarrow_tables_are_taken(empty: nf.Collection):
    pa = pytest.importorskip("pyarrow")
    table = pa.table(
        {
            "b": pa.array([True, None, False]),
            "i": pa.array([1, None, 3], pa.int8()),
            "f": pa.array([0.5, None, 2], pa.float32()),
            "s": pa.array(["a", None, "c"]),
            "v": pa.array(["a", None, "c"], pa.string_view()),
            "d": pa.array(["a", None, "a"]).dictionary_encode(),
            "t": pa.array([NOON, None, NOON], pa.timestamp("us", "UTC")),
            "l": pa.array([["x", None], None, []], pa.list_(pa.string())),
            "n": pa.nulls(3),
        }
    )
    rows = [{k: v for k, v in row.items() if k != "n"} for row in table.to_pylist()]
    chunked = pa.concat_tables([table.slice(0, 1), table.slice(1)])
    for data in [table, chunked, chunked.to_batches()[1:1] or table.to_batches()[0]]:
        assert put(empty, data, 3) == rows
    assert put(empty, table.slice(1, 1), 1) == rows[1:2]
    assert put(empty, pa.RecordBatchReader.from_batches(table.schema, table.to_batches()), 3) == rows
    assert put(empty, {"s": table["s"], "i": [4, 5, 6]}, 3)[0]["s"] == "a"
    assert empty.schema["columns"] == {
        "b": "bool", "i": "int64", "f": "float64", "s": "utf8", "v": "utf8", "d": "utf8",
        "t": "timestamp", "l": "list_utf8",
    }  # fmt: skip
    assert empty.update([0], table.slice(2, 1)) == 1


@pytest.mark.parametrize("kind", ["binary", "decimal", "list<int>", "time", "duration"])
def test_arrow_types_that_are_not_kept_are_a_mismatch(empty: nf.Collection, kind):
    pa = pytest.importorskip("pyarrow")
    array = {
        "binary": pa.array([b"a"]),
        "decimal": pa.array([decimal.Decimal(1)]),
        "list<int>": pa.array([[1]]),
        "time": pa.array([datetime.time(1)]),
        "duration": pa.array([datetime.timedelta(1)]),
    }[kind]
    with pytest.raises(nf.SchemaMismatch, match="column \"x\": expected bool, int64"):
        empty.upsert([1], [[1]], pa.table({"x": array}))
    with pytest.raises(TypeError, match="data: expected"):
        empty.upsert([1], [[1]], array if kind != "struct" else pa.array([1]))


def test_damaged_arrow_data_is_refused(empty: nf.Collection):
    pa = pytest.importorskip("pyarrow")
    text = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")]
    )
    for use in [
        lambda: empty.upsert([1], [[1]], {"x": text}),
        lambda: empty.upsert(text, [[1]]),
    ]:
        with pytest.raises(nf.InvalidArgument, match="Arrow data cannot be read"):
            use()
    assert empty.count() == 0


def test_a_foreign_buffer_may_change_afterwards(empty: nf.Collection):
    pa = pytest.importorskip("pyarrow")
    memory = np.array([1, 2, 3], np.int64)
    array = pa.Array.from_buffers(pa.int64(), 3, [None, pa.py_buffer(memory)])
    empty.upsert([0, 1, 2], np.zeros((3, 1)), {"x": array})
    memory[:] = 9
    assert [row["x"] for row in empty.get([0, 1, 2])] == [1, 2, 3]


def test_polars_and_pandas_frames_are_taken(empty: nf.Collection):
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({"s": ["a", None], "i": [1, 2], "c": ["x", "y"]})
    frame = frame.with_columns(pl.col("c").cast(pl.Categorical))
    assert put(empty, frame, 2) == frame.to_dicts()
    assert put(empty, {"s": frame["s"]}, 2)[0] == {"s": "a", "i": None, "c": None}
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"s": ["a", None], "i": [1, 2], "f": [0.5, None]})
    assert put(empty, frame, 2)[1] == {"s": None, "i": 2, "c": None, "f": None}


def test_what_comes_back_goes_in_again(docs: nf.Collection, db: nf.Database):
    copy = db.create("copy", **docs.schema)
    for records in docs.scan(vectors=True):
        copy.upsert(records.ids, records.vectors, docs.get(records.ids).to_arrow().select(["title"]))
    assert list(copy.get([1, 2])) == list(docs.get([1, 2]))


values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**65), 2**65),
    st.floats(),
    st.text(max_size=3),
    st.binary(max_size=2),
    st.datetimes(timezones=st.none() | st.just(UTC)),
    st.dates(),
    st.lists(st.text(max_size=2) | st.none() | st.integers(), max_size=2),
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(values, min_size=1, max_size=3))
def test_any_values_are_kept_or_refused(db: nf.Database, column):
    docs = db.collection("docs", dim=1)
    try:
        docs.upsert(np.arange(len(column)), np.zeros((len(column), 1)), {"x": column})
    except (ValueError, TypeError):
        assert docs.count() == 0
        assert docs.schema["columns"] == {}
    else:
        for given_, row in zip(column, docs.get(np.arange(len(column))), strict=True):
            back = row.get("x")
            if isinstance(given_, datetime.datetime):
                assert back == given_.replace(tzinfo=UTC)
            elif isinstance(given_, datetime.date):
                assert back.date() == given_
            elif isinstance(given_, float) and np.isnan(given_):
                assert back is None or np.isnan(back)
            elif isinstance(given_, int) and isinstance(back, float):
                assert back == float(given_)
            else:
                assert back == given_
                assert type(back) is type(given_)
    db.drop("docs")


def test_a_dict_within_a_row_is_columns_with_dotted_names(empty: nf.Collection):
    rows = [{"a": {"b": 1, "c": {"d": "x"}}, "e": 2.5}, {"a": {"b": None}}, {"a": {}, "e": 1}]
    empty.upsert([1, 2, 3], np.ones((3, empty.dim)), rows)
    assert empty.schema["columns"] == {"a.b": "int64", "a.c.d": "utf8", "e": "float64"}
    assert empty.get([1, 2, 3]).to_dicts() == [
        {"id": 1, "a.b": 1, "a.c.d": "x", "e": 2.5},
        {"id": 2, "a.b": None, "a.c.d": None, "e": None},
        {"id": 3, "a.b": None, "a.c.d": None, "e": 1.0},
    ]
    endless: dict = {}
    endless["again"] = endless
    for wrong, message in [([{"a": {"b": 1}, "a.b": 2}], "two values"), ([endless], "deep")]:
        with pytest.raises(ValueError, match=message):
            empty.upsert([9], np.ones((1, empty.dim)), wrong)
    assert 9 not in empty


def test_dicts_of_arrow_are_columns_with_dotted_names(empty: nf.Collection):
    pa = pytest.importorskip("pyarrow")
    rows = [{"a": 1, "b": {"c": "x"}}, {"a": None, "b": None}, None]
    back = [
        {"d.a": 1, "d.b.c": "x"},
        {"d.a": None, "d.b.c": None},
        {"d.a": None, "d.b.c": None},
    ]
    assert put(empty, {"d": pa.array(rows)}, 3) == back
    assert put(empty, pa.table({"d": rows}), 3) == back
    assert empty.schema["columns"] == {"d.a": "int64", "d.b.c": "utf8"}
    with pytest.raises(nf.InvalidArgument, match="column \"d.a\" is given twice"):
        put(empty, pa.table({"d": rows, "d.a": [1, 2, 3]}), 3)
    deep = pa.array([{"a": 1}])
    for _ in range(20):
        deep = pa.StructArray.from_arrays([deep], names=["a"])
    with pytest.raises(nf.InvalidArgument, match="dicts more than 16 deep"):
        put(empty, {"e": deep}, 1)


def test_a_dict_of_arrow_is_sparse_only_by_its_types(empty: nf.Collection):
    pa = pytest.importorskip("pyarrow")
    assert put(empty, pa.table({"s": [{"indices": [1, 5], "values": [0.5, 2.0]}, None]}), 2) == [
        {"s": {1: 0.5, 5: 2.0}},
        {"s": None},
    ]
    put(empty, pa.table({"t": [{"words": ["a"], "more": ["b", "c"]}]}), 1)
    assert empty.schema["columns"] == {"s": "sparse", "t.words": "list_utf8", "t.more": "list_utf8"}
    for odd in [[{"a": [1], "b": [2]}], [{"a": [0.5], "b": [1]}], [[{"a": "x", "b": 1.0}]]]:
        with pytest.raises(nf.SchemaMismatch, match="column \"odd"):
            put(empty, pa.table({"odd": odd}), 1)


def test_a_column_of_nothing_is_null_whoever_made_it(empty: nf.Collection):
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({"n": [1, 2], "nothing": [None, None], "d": [{"x": None}, {"x": None}]})
    assert frame.schema["nothing"] == pl.Null
    assert put(empty, frame, 2) == [{"n": 1}, {"n": 2}]
    put(empty, {"nothing": ["a", "b"]}, 2)
    assert put(empty, frame, 2) == [{"n": 1, "nothing": None}, {"n": 2, "nothing": None}]
    assert put(empty, {"nothing": pl.Series([None, None])}, 2) == [{"n": None, "nothing": None}] * 2


def test_a_column_of_pandas_of_several_types_is_named(empty: nf.Collection):
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    with pytest.raises(nf.InvalidArgument, match="column m .*; give each column one type") as caught:
        put(empty, pd.DataFrame({"m": [1, "x"]}), 2)
    assert type(caught.value.__cause__).__name__ == "ArrowInvalid"


@pytest.mark.parametrize("unit, first", [("Y", "300000"), ("D", "300000-01-01"), ("s", "-300000-01-01"), ("ms", "300000-01-01")])
def test_times_beyond_64_bits_of_microseconds_are_refused(empty: nf.Collection, unit: str, first: str):
    times = np.array(["2024-01-01", "NaT", first], f"M8[{unit}]")
    for data in ({"t": times}, {"t": list(times)}, [{"t": time} for time in times]):
        with pytest.raises((nf.InvalidArgument, TypeError), match="300000"):
            put(empty, data, 3)
    assert len(empty) == 0
    far = np.array(["-290300-01-01", "NaT", "294000-01-01"], f"M8[{unit}]")
    empty.upsert([0, 1, 2], np.zeros((3, 1)), {"t": far})
    stored = empty.get([0, 1, 2]).to_arrow()["t"].cast("int64").to_pylist()
    assert stored == [None if np.isnat(time) else int(time.astype("M8[us]").astype(int)) for time in far]


def test_the_index_of_a_pandas_frame_is_no_column(empty: nf.Collection):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"x": [1, 2, 3, 4]})
    for rows in (frame, frame[frame.x != 2], frame.set_index(pd.Index(list("abcd")))):
        put(empty, rows, len(rows))
    assert empty.schema["columns"] == {"x": "int64"}
