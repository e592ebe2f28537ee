"""What may be given as vectors, and what not."""

import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import nearfield as nf


@pytest.fixture
def points(db: nf.Database) -> nf.Collection:
    return db.create("points", dim=3, metric="l2")


def stored(points: nf.Collection, rows: int = 2) -> list:
    return points.get(np.arange(rows), vectors=True).vectors.tolist()


EXPECTED = [[0, 1, 2], [3, 4, 5]]
BASE = np.arange(6).reshape(2, 3)
WIDE = np.arange(12).reshape(2, 6)


@pytest.mark.parametrize(
    "vectors",
    [
        EXPECTED,
        tuple(map(tuple, EXPECTED)),
        [np.array(row) for row in EXPECTED],
        *[BASE.astype(dtype) for dtype in "efdgbhilqBHILQ"],
        *[BASE.astype(dtype) for dtype in [">f4", ">f8", ">f2", ">i4", "<f4"]],
        np.asfortranarray(BASE, dtype=np.float32),
        np.repeat(BASE, 2, axis=1).astype(np.float32)[:, ::2],
        BASE.astype(np.float32)[::-1].copy()[::-1],
        np.frombuffer(b"x" + BASE.astype("<f4").tobytes(), "<f4", offset=1).reshape(2, 3),
    ],
    ids=lambda value: f"{type(value).__name__}-{getattr(value, 'dtype', '')}",
)
def test_every_form_of_numbers_is_taken(points: nf.Collection, vectors):
    assert points.upsert([0, 1], vectors) == 2
    assert stored(points) == EXPECTED
    assert points.search_batch(vectors, k=1).ids.tolist() == [[0], [1]]
    assert points.search_batch(vectors, k=1).distances.tolist() == [[0], [0]]


def test_a_read_only_array_is_taken(points: nf.Collection):
    vectors = BASE.astype(np.float32)
    vectors.flags.writeable = False
    points.upsert([0, 1], vectors)
    assert stored(points) == EXPECTED


def test_what_the_caller_does_later_changes_nothing(points: nf.Collection):
    vectors = BASE.astype(np.float32)
    points.upsert([0, 1], vectors)
    vectors[:] = 9
    assert stored(points) == EXPECTED


def test_dlpack_and_array_interfaces_are_taken(points: nf.Collection):
    class Tensor:
        def __array__(self, dtype=None, copy=None):
            return BASE.astype(np.float64)

    class Capsule:
        def __init__(self, array):
            self.__dlpack__ = array.__dlpack__
            self.__dlpack_device__ = array.__dlpack_device__

    points.upsert([0, 1], Tensor())
    assert stored(points) == EXPECTED
    points.upsert([0, 1], Capsule(BASE.astype(np.float32) * 2))
    assert stored(points) == (BASE * 2).tolist()


def test_arrow_lists_are_taken(points: nf.Collection):
    pa = pytest.importorskip("pyarrow")
    for numbers in [pa.float16(), pa.float32(), pa.float64(), pa.int8(), pa.uint8()]:
        for of in [pa.list_(numbers, 3), pa.list_(numbers), pa.large_list(numbers)]:
            array = pa.array([[9, 9, 9], *EXPECTED], type=of)
            for vectors in [array[1:], pa.chunked_array([array[1:2], array[2:]])]:
                points.delete([0, 1])
                points.upsert([0, 1], vectors)
                assert stored(points) == EXPECTED
    with pytest.raises(nf.DimensionMismatch) as caught:
        points.upsert([0, 1], pa.array([[1.0, 2, 3], [1.0]]))
    assert (caught.value.row, caught.value.given) == (1, 1)
    with pytest.raises(TypeError, match="null"):
        points.upsert([0, 1], pa.array([[1.0, 2, 3], None]))
    with pytest.raises(TypeError, match="null"):
        points.upsert([0, 1], pa.array([[1.0, 2, 3], [1.0, None, 3]]))
    with pytest.raises(TypeError, match="expected numbers"):
        points.upsert([0, 1], pa.array([["a", "b", "c"], ["d", "e", "f"]]))
    assert points.upsert([], pa.array([], pa.list_(pa.float32(), 3))) == 0


def test_polars_series_are_taken(points: nf.Collection):
    pl = pytest.importorskip("polars")
    for kind in [pl.List(pl.Float64), pl.Array(pl.Float32, 3)]:
        points.upsert([0, 1], pl.Series(EXPECTED, dtype=kind))
        assert stored(points) == EXPECTED


def test_one_dimension_is_one_row(points: nf.Collection):
    assert points.upsert(0, [0, 1, 2]) == 1
    assert points.upsert([1], np.array([3, 4, 5])) == 1
    assert stored(points) == EXPECTED


@pytest.mark.parametrize(
    ("vectors", "given_dimensions"),
    [([[1, 2, 3, 4]], 4), ([1, 2], 2), (np.zeros((2, 6)), 6), (np.zeros((6, 1)), 1)],
)
def test_a_wrong_dimension_names_both_numbers(points: nf.Collection, vectors, given_dimensions):
    message = f"has {given_dimensions} dimensions, expected 3"
    for use in [
        lambda: points.upsert(np.arange(len(np.atleast_2d(vectors))), vectors),
        lambda: points.search_batch(vectors),
        lambda: points.search(vectors),
    ]:
        with pytest.raises(nf.DimensionMismatch, match=message) as caught:
            use()
        assert (caught.value.expected, caught.value.given) == (3, given_dimensions)
        assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
def test_a_number_that_cannot_be_compared_is_named(points: nf.Collection, value):
    vectors = np.zeros((3, 3))
    vectors[1, 2] = value
    for use in [
        lambda: points.upsert([1, 2, 3], vectors),
        lambda: points.add([1, 2, 3], vectors),
        lambda: points.search_batch(vectors),
    ]:
        with pytest.raises(nf.InvalidVector) as caught:
            use()
        assert (caught.value.row, caught.value.column) == (1, 2)
        assert not np.isfinite(caught.value.value)
        assert isinstance(caught.value, ValueError)
    assert points.count() == 0
    with pytest.raises(nf.InvalidVector):
        points.search([0, 0, value])


def test_what_does_not_fit_the_stored_type_is_refused(db: nf.Database):
    halves = db.create("halves", dim=1, dtype="f16")
    bytes_ = db.create("bytes", dim=1, dtype="u8", metric="l2")
    signed = db.create("signed", dim=1, dtype="i8", metric="l2")
    brain = db.create("brain", dim=1, dtype="bf16")
    assert halves.upsert(1, [65504]) == 1
    assert bytes_.upsert(1, [255]) == 1
    with pytest.raises(nf.InvalidVector, match="f16"):
        halves.upsert(1, [70000])
    for value in [256, -1, 0.5]:
        with pytest.raises(nf.InvalidVector, match="whole numbers from 0 to 255"):
            bytes_.upsert(1, [value])
    assert bytes_.search([0.5]).distances.tolist() == [254.5**2]
    assert signed.upsert([1, 2], [[-128], [127]]) == 2
    for value in [128, -129, 0.5]:
        with pytest.raises(nf.InvalidVector, match="whole numbers from -128 to 127"):
            signed.upsert(1, [value])
    assert brain.upsert(1, [3e38]) == 1
    with pytest.raises(nf.InvalidVector, match="bf16"):
        brain.upsert(1, [3.4e38])


@pytest.mark.parametrize(
    ("dtype", "given", "returned"),
    [
        ("f32", np.float32, np.float32),
        ("f16", np.float16, np.float16),
        ("bf16", np.float32, np.float32),
        ("i8", np.int8, np.int8),
        (np.int8, np.int64, np.int8),
        ("u8", np.uint8, np.uint8),
    ],
)
@pytest.mark.parametrize("metric", ["l2", "cosine", "dot"])
def test_vectors_come_back_in_the_type_they_are_stored_in(
    db: nf.Database, dtype, given, returned, metric
):
    numbers = db.create("numbers", dim=3, dtype=dtype, metric=metric)
    vectors = np.array([[1, 2, 3], [0, 5, 100]], given)
    numbers.upsert([1, 2], vectors)
    for found in [
        numbers.get([1, 2], vectors=True).vectors,
        numbers.search(vectors[0], k=2, vectors=True).vectors,
        np.concatenate([records.vectors for records in numbers.scan(vectors=True)]),
    ]:
        assert found.dtype == returned
        assert sorted(map(tuple, found.tolist())) == [(0, 5, 100), (1, 2, 3)]
    assert numbers.get(2)[0].get("vector") is None
    record = numbers.get(2, vectors=True)[0]
    assert record["vector"].dtype == returned
    assert db.collection("numbers").schema["dtype"] in ["f32", "f16", "bf16", "i8", "u8"]


@pytest.mark.parametrize(("raw", "error"), [("f32", 0), ("f16", 5e-4), ("none", 0.015)])
@pytest.mark.parametrize("metric", ["l2", "cosine", "dot"])
def test_f32_vectors_come_back_as_near_as_what_is_kept_of_them(tmp_path, metric, raw, error):
    vectors = np.random.default_rng(3).normal(size=(200, 64)).astype(np.float32)
    with nf.open(tmp_path / "kept.nf") as db:
        docs = db.create("docs", dim=64, metric=metric, raw=raw)
        docs.upsert(np.arange(200), vectors)
        docs.compact()
        assert (docs.schema["raw"], docs.stats()["raw"]) == (raw, raw)
        found = docs.get(np.arange(200), vectors=True).vectors
        assert found.dtype == np.float32
        off = np.linalg.norm(found - vectors, axis=1) / np.linalg.norm(vectors, axis=1)
        assert off.max() <= error
        assert docs.explain(vectors[0]).parts[0]["rounded"] == (raw == "none")
        docs.upsert(np.arange(200), found)
        docs.compact()
        assert np.array_equal(docs.get(np.arange(200), vectors=True).vectors, found)
        assert db.collection("docs").schema["raw"] == raw
        with pytest.raises(nf.SchemaMismatch, match=f"expected {raw}"):
            db.collection("docs", raw="f16" if raw == "none" else "none")
    with pytest.raises(ValueError, match="raw is \"half\", expected one of"):
        nf.open(tmp_path / "kept.nf").create("no", dim=3, raw="half")


def test_brain_floats_of_other_packages_are_taken(db: nf.Database):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    numbers = db.create("numbers", dim=3, dtype=ml_dtypes.bfloat16, metric="l2")
    assert numbers.schema["dtype"] == "bf16"
    vectors = np.array([[1, 2.5, -3], [0, 5, 1e38]], ml_dtypes.bfloat16)
    for given in [vectors, np.repeat(vectors, 2, axis=1)[:, ::2]]:
        numbers.upsert([1, 2], given)
        assert np.array_equal(
            numbers.get([1, 2], vectors=True).vectors, vectors.astype(np.float32)
        )
        assert numbers.search(given[0], k=1).distances.tolist() == [0]


BITS = np.random.default_rng(5).integers(0, 2, (300, 77)).astype(bool)
PACKED = np.packbits(BITS, axis=1)


def test_packed_bits_are_compared_by_hamming_and_jaccard(tmp_path):
    query = BITS[7] ^ (np.arange(77) % 9 == 0)
    differing = (BITS ^ query).sum(axis=1)
    overlap = 1 - (BITS & query).sum(axis=1) / (BITS | query).sum(axis=1)
    with nf.open(tmp_path / "bits.nf") as db:
        for metric, expected in [("hamming", differing), ("jaccard", overlap)]:
            bits = db.create(metric, dim=77, metric=metric)
            assert (bits.dim, bits.schema["dtype"]) == (77, "b1")
            assert bits.upsert(np.arange(300), PACKED) == 300
            for _ in range(2):
                hits = bits.search(np.packbits(query), k=10, vectors=True)
                assert hits.ids[0] == 7
                assert np.allclose(hits.distances, np.sort(expected)[:10], atol=1e-6)
                assert hits.vectors.dtype == np.uint8
                unpacked = np.unpackbits(hits.vectors, axis=1, count=77).astype(bool)
                assert np.array_equal(unpacked, BITS[hits.ids])
                lists = bits.search_batch(PACKED[:3].tolist(), k=1)
                assert lists.ids.tolist() == [[0], [1], [2]]
                bits.compact()
            assert bits.search(PACKED[0], k=1)[0].score == (0 if metric == "hamming" else 1)
            same = db.create(metric + "-again", **bits.schema)
            assert same.schema == bits.schema


def test_arrow_holds_bits_as_bytes(db: nf.Database):
    pa = pytest.importorskip("pyarrow")
    bits = db.create("bits", dim=77, dtype="b1")
    assert bits.schema["metric"] == "hamming"
    bits.upsert([1, 2], pa.array(PACKED[:2].tolist(), pa.list_(pa.uint8(), 10)))
    table = pa.table(bits.get([1, 2], vectors=True))
    assert table.schema.field("vector").type.value_type == pa.uint8()
    assert table["vector"].to_pylist() == PACKED[:2].tolist()


def test_what_is_no_packed_bits_is_refused(db: nf.Database):
    bits = db.create("bits", dim=12, metric="jaccard")
    with pytest.raises(nf.InvalidArgument, match="2 bytes of eight bits.*packbits"):
        bits.upsert(1, np.ones(12, np.uint8))
    with pytest.raises(nf.InvalidArgument, match="packbits"):
        bits.search(np.ones(12, np.float32))
    with pytest.raises(nf.DimensionMismatch) as caught:
        bits.upsert(1, np.ones(3, np.uint8))
    assert (caught.value.expected, caught.value.given) == (12, 24)
    with pytest.raises(nf.InvalidVector, match="beyond the dimension"):
        bits.upsert(1, np.array([0, 1], np.uint8))
    with pytest.raises(nf.InvalidVector, match="eight bits"):
        bits.upsert(1, [0.5, 0])
    assert bits.count() == 0
    for metric, dtype in [("hamming", "f32"), ("l2", "b1"), ("cosine", "b1"), ("jaccard", "u8")]:
        with pytest.raises(nf.InvalidArgument, match="hamming or jaccard"):
            db.create("wrong", dim=8, metric=metric, dtype=dtype)


@pytest.mark.parametrize(
    "vectors",
    [
        "abc", b"abc", None, 3.5, {}, {"a": 1}, object(), [None], [[None] * 3], [["a", "b", "c"]],
        [[True, False, True]], np.array([[True, False, True]]), np.array(["abc"]),
        np.array([["a", "b", "c"]]), np.array([[1j, 2, 3]]), np.array([[None, 1, 2]]),
        np.array(["2020-01-01"] * 3, "M8[D]"), [[2**70, 1, 1]], np.float32(3), ["abc"],
        np.zeros(3, [("x", "f4")]),
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_not_numbers_is_a_type_error(points: nf.Collection, vectors):
    for use in [
        lambda: points.upsert([1], vectors),
        lambda: points.search(vectors),
        lambda: points.search_batch(vectors),
    ]:
        with pytest.raises(TypeError, match="vectors: expected numbers"):
            use()


def test_ragged_lists_name_the_row(points: nf.Collection):
    for vectors in [[[1, 2, 3], [1, 2]], [np.zeros(3), np.zeros(2)], ([1, 2, 3], (1, 2))]:
        with pytest.raises(ValueError, match="row 1 has 2 elements, row 0 has 3"):
            points.upsert([1, 2], vectors)
    with pytest.raises(TypeError, match="row 1 is int, expected 3 numbers as in row 0"):
        points.upsert([1, 2], [[1, 2, 3], 4])


def test_more_than_two_dimensions_are_refused(points: nf.Collection):
    with pytest.raises(ValueError, match=r"given shape \[1, 1, 3\]"):
        points.upsert([1], np.zeros((1, 1, 3)))


def test_ids_and_vectors_are_of_one_length(points: nf.Collection):
    for ids, vectors in [([1], np.zeros((2, 3))), ([1, 2], [0, 0, 0]), ([], np.zeros((1, 3)))]:
        with pytest.raises(nf.InvalidArgument, match="ids for . vectors"):
            points.upsert(ids, vectors)
    assert points.count() == 0


def test_an_array_in_use_keeps_alive(points: nf.Collection):
    vectors = BASE.astype(np.float32)
    before = sys.getrefcount(vectors)
    points.upsert([0, 1], vectors)
    points.search_batch(vectors)
    assert sys.getrefcount(vectors) == before
    vectors[0, 0] = 5
    vectors.resize((1, 3), refcheck=False)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    array=hnp.arrays(
        dtype=st.one_of(
            hnp.floating_dtypes(sizes=(16, 32, 64), endianness="?"),
            hnp.integer_dtypes(endianness="?"),
            hnp.unsigned_integer_dtypes(endianness="?"),
            hnp.boolean_dtypes(),
            hnp.complex_number_dtypes(),
            hnp.unicode_string_dtypes(),
            hnp.datetime64_dtypes(),
        ),
        shape=hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    ),
    step=st.sampled_from([1, 2, -1]),
)
def test_any_array_is_stored_as_float32_or_refused(points: nf.Collection, array, step):
    if array.ndim:
        array = array[..., ::step]
    rows = len(array) if array.ndim == 2 else 1
    points.delete(np.arange(10))
    try:
        points.upsert(np.arange(rows), array)
    except (ValueError, TypeError):
        assert points.count() == 0
        return
    assert points.count() == rows
    if rows == 0:
        return
    with np.errstate(over="ignore"):
        expected = array.astype(np.float32).reshape(rows, 3)
    assert np.array_equal(points.get(np.arange(rows), vectors=True).vectors, expected)


def test_arrays_of_no_numbers_are_refused_with_what_to_do(db: nf.Database):
    docs, bits = db.create("docs", dim=3), db.create("bits", dim=8, metric="hamming")
    rows = np.empty(2, object)
    rows[:] = [np.ones(3), np.ones(3)]
    with pytest.raises(TypeError, match=r"given an array of object; give it as a list, by tolist\(\)"):
        docs.upsert([1, 2], rows)
    assert docs.upsert([1, 2], rows.tolist()) == 2
    with pytest.raises(TypeError, match=r"given an array of bool; make it numbers by astype\(numpy.float32\)"):
        docs.search(np.ones(3, bool))
    with pytest.raises(TypeError, match=r"given an array of bool; pack bits by numpy.packbits\(x, axis=1\)"):
        bits.upsert([1], np.ones((1, 8), bool))
