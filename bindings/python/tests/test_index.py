"""The bare index: arrays in, arrays out."""

import copy
import multiprocessing
import os
import pickle
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import nearfield as nf

RNG = np.random.default_rng(7)


def clustered(rows: int, dim: int) -> np.ndarray:
    centres = np.random.default_rng(1).normal(size=(20, dim))
    return (centres[np.arange(rows) % 20] + RNG.normal(size=(rows, dim)) * 0.4).astype(np.float32)


def exact(vectors: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
    distances = ((queries[:, None, :] - vectors[None]) ** 2).sum(axis=2)
    return np.argsort(distances, axis=1, kind="stable")[:, :k]


def recall(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found, expected)]))


@pytest.fixture(scope="module")
def built() -> tuple[nf.Index, np.ndarray]:
    vectors = clustered(6000, 48)
    index = nf.Index(48, "l2", m=12, ef_construction=100)
    assert index.add(vectors) == 6000
    index.build()
    return index, vectors


def test_nearly_all_true_neighbours_are_found(built):
    index, vectors = built
    queries = vectors[:100] + RNG.normal(size=(100, 48)).astype(np.float32) * 0.1
    ids, distances = index.search_batch(queries, k=10)
    assert (ids.shape, ids.dtype, distances.shape, distances.dtype) == (
        (100, 10), np.int64, (100, 10), np.float32,
    )  # fmt: skip
    assert recall(ids, exact(vectors, queries, 10)) >= 0.95
    assert recall(index.search_batch(queries, k=10, exact=True)[0], exact(vectors, queries, 10)) > 0.999
    one, near = index.search(queries[3], k=10)
    assert one.tolist() == ids[3].tolist() and near.tolist() == distances[3].tolist()
    assert (np.diff(distances, axis=1) >= 0).all()


def test_rows_of_the_examples_are_found(data: Path):
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(data / "packages.parquet")
    name = next(c for c in table.column_names if "list" in str(table.schema.field(c).type))
    column = table[name].combine_chunks()
    vectors = column.flatten().to_numpy().reshape(len(column), -1).astype(np.float32)
    index = nf.Index(vectors.shape[1], "cosine")
    index.add(column)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    expected = np.argsort(-unit[:50] @ unit.T, axis=1)[:, :10]
    assert recall(index.search_batch(vectors[:50], k=10)[0], expected) >= 0.95


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16", "i8", "u8", "b1", np.float16])
def test_every_dtype_is_kept_and_found(dtype):
    metric = "hamming" if dtype == "b1" else "l2"
    index = nf.Index(16, metric, dtype)
    width = 2 if dtype == "b1" else 16
    vectors = RNG.integers(0, 100, size=(50, width)).astype(np.uint8)
    index.add(vectors)
    assert index.search(vectors[9], k=1)[0].tolist() == exact(vectors.astype(int), vectors[9:10].astype(int), 1)[0].tolist()
    assert "Index(50 vectors, dim=16" in repr(index)


def test_ids_may_be_given_and_rows_removed():
    index = nf.Index(1, "l2")
    assert index.add([[1.0], [2.0]], [2**40, 7]) == 2
    assert index.add([[3.0]]) == 1
    assert 2**40 + 1 in index and 7 in index and 8 not in index
    with pytest.raises(nf.DuplicateId) as known:
        index.add([[5.0], [6.0]], np.array([9, 7]))
    assert known.value.ids == [7] and len(index) == 3
    assert index.remove([7, 7, 1234]) == 1 and len(index) == 2
    assert index.search([2.0], k=5)[0].tolist() == [2**40, 2**40 + 1]
    assert index.add([[9.0]], [2**64 - 2]) == 1
    assert index.search([9.0], k=1)[0].dtype == np.uint64


def test_answers_are_as_wide_as_k_and_padded():
    index = nf.Index(1, "l2")
    index.add([[0.0], [1.0]])
    ids, distances = index.search_batch([[0.0]], k=4)
    assert ids.tolist() == [[0, 1, -1, -1]] and distances[0, 2:].tolist() == [np.inf] * 2
    assert index.search_batch([[0.0]], k=10**10)[0].shape == (1, 2)
    assert index.search_batch([[0.0]], k=0)[0].shape == (1, 0)
    assert index.search_batch(np.empty((0, 1)), k=3)[0].shape == (0, 3)
    assert index.search([0.0], k=10**30)[0].tolist() == [0, 1]
    assert index.search([0.0], max_distance=0.5)[0].tolist() == [0]
    empty = nf.Index(3)
    assert [a.shape for a in empty.search([1, 2, 3])] == [(0,), (0,)]
    assert empty.search_batch([[1, 2, 3]], k=2)[0].tolist() == [[-1, -1]]


def test_a_saved_index_is_loaded_viewed_and_pickled(built, tmp_path: Path):
    index, vectors = built
    index.save(tmp_path / "index.nfi")
    index.save(tmp_path / "index.nfi")
    expected = index.search_batch(vectors[:20], k=5)[0].tolist()
    viewed = nf.Index.view(tmp_path / "index.nfi", ef=100, threads=1)
    pickled = pickle.loads(pickle.dumps(index))
    for other in [nf.Index.load(tmp_path / "index.nfi"), viewed, pickled, copy.deepcopy(viewed)]:
        assert other.search_batch(vectors[:20], k=5)[0].tolist() == expected
        assert (len(other), other.dim, other.metric, other.dtype) == (6000, 48, "l2", "f32")
    with pytest.raises(nf.ReadOnly, match="load"):
        viewed.add(vectors[:1])
    assert list(tmp_path.iterdir()) == [tmp_path / "index.nfi"]


def test_a_damaged_file_is_refused(tmp_path: Path):
    index = nf.Index(2, "l2")
    index.add(np.ones((10, 2)))
    index.save(tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    for at in [0, 30, 4096, len(whole) // 2 if len(whole) % 2 else 4100, len(whole) - 1]:
        damaged = bytearray(whole)
        damaged[at] ^= 1
        (tmp_path / "damaged").write_bytes(damaged)
        with pytest.raises((nf.Corrupt, nf.Incompatible)):
            nf.Index.load(tmp_path / "damaged")
    (tmp_path / "damaged").write_bytes(b"")
    with pytest.raises(nf.Corrupt):
        nf.Index.view(tmp_path / "damaged")
    with pytest.raises(nf.IoError):
        nf.Index.load(tmp_path / "absent")


BAD = [
    (lambda i: i.add([[1, 2, 3]]), nf.DimensionMismatch),
    (lambda i: i.add([[1, float("nan")]]), nf.InvalidVector),
    (lambda i: i.add("ab"), TypeError),
    (lambda i: i.add(None), TypeError),
    (lambda i: i.add([[1, 2]], [1, 2]), ValueError),
    (lambda i: i.add([[1, 2]], ["a"]), TypeError),
    (lambda i: i.add([[1, 2]], [-1]), ValueError),
    (lambda i: i.add([[1, 2]], [1.5]), TypeError),
    (lambda i: i.add([[1], [1, 2]]), ValueError),
    (lambda i: i.search([1, 2, 3]), nf.DimensionMismatch),
    (lambda i: i.search([[1, 2], [3, 4]]), ValueError),
    (lambda i: i.search([1, 2], k=-1), ValueError),
    (lambda i: i.search([1, 2], k=1.0), TypeError),
    (lambda i: i.search([1, 2], max_distance=float("nan")), ValueError),
    (lambda i: i.search_batch([[np.inf, 0]]), nf.InvalidVector),
    (lambda i: i.remove(["a"]), TypeError),
    (lambda i: setattr(i, "ef", -3), ValueError),
    (lambda i: nf.Index(0), ValueError),
    (lambda i: nf.Index(2, "hamming"), ValueError),
    (lambda i: nf.Index(2, "euclid"), ValueError),
    (lambda i: nf.Index(2, dtype="f64"), ValueError),
    (lambda i: nf.Index(2, m=1000), ValueError),
    (lambda i: nf.Index(2, ef_construction=0), ValueError),
    (lambda i: nf.Index("2"), TypeError),
]


@pytest.mark.parametrize("at", range(len(BAD)))
def test_what_cannot_be_is_refused_and_changes_nothing(at):
    index = nf.Index(2, "l2")
    index.add([[0, 0]])
    attempt, error = BAD[at]
    with pytest.raises(error):
        attempt(index)
    assert len(index) == 1 and index.search([0, 0])[0].tolist() == [0]


def test_threads_search_while_one_adds():
    vectors = clustered(3000, 16)
    index = nf.Index(16, "l2", threads=1)
    index.add(vectors[:2000])
    wrong = []

    def look():
        for row in range(300):
            found = index.search(vectors[row], k=1)[0].tolist()
            if found != [row]:
                wrong.append((row, found))

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for start in range(2000, 3000, 50):
        index.add(vectors[start : start + 50])
    for thread in threads:
        thread.join()
    assert not wrong and len(index) == 3000


def search_in_child(index: nf.Index, query: np.ndarray, queue) -> None:
    found = index.search_batch(np.stack([query] * 3), k=1)[0].tolist()
    try:
        index.add([query])
    except nf.Forked as error:
        queue.put((found, str(error)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_searches_and_does_not_change(built):
    index, vectors = built
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=search_in_child, args=(index, vectors[5], queue))
    child.start()
    found, message = queue.get(timeout=60)
    child.join(60)
    assert found == [[5]] * 3 and "fork" in message


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.float16, np.int16, np.uint8, ">f4", ">i4"]),
        st.tuples(st.integers(1, 8), st.just(3)),
        elements=st.integers(0, 100),
    ),
    st.booleans(),
)
def test_arrays_of_any_numbers_and_order_are_the_same_numbers(array, transposed):
    index = nf.Index(3, "l2")
    index.add(np.asfortranarray(array) if transposed else array)
    plain = array.astype(np.float64)
    ids, distances = index.search_batch(array, k=1)
    assert distances.max() == 0.0
    assert [plain[i].tolist() for i in ids[:, 0]] == plain.tolist()
