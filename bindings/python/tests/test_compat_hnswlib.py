"""Programs for hnswlib run on its layer with another import line, and give the same answers."""

import importlib
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nearfield as nf
import nearfield.compat.hnswlib as ours
from nearfield.compat import Unsupported

IMPORTS = {"nearfield": "import nearfield.compat.hnswlib as hnswlib", "hnswlib": "import hnswlib"}
BOTH = pytest.mark.parametrize("library", IMPORTS)
DATA = np.random.default_rng(3).normal(size=(500, 16)).astype(np.float32)


def module(library: str) -> ModuleType:
    if library == "nearfield":
        return ours
    return pytest.importorskip("hnswlib", reason="hnswlib is not installed")


def run(program: str, library: str, **names: object) -> dict[str, object]:
    """Runs a program behind the import line of one of the libraries; its names afterwards."""
    module(library)
    names["data"] = DATA
    exec(f"{IMPORTS[library]}\n{program}", names)
    return names


def exact(space: str, data: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Distances of all pairs."""
    data, queries = data.astype(np.float64), queries.astype(np.float64)
    if space == "l2":
        return ((queries[:, None] - data[None]) ** 2).sum(axis=2)
    if space == "cosine":
        data = data / np.linalg.norm(data, axis=1, keepdims=True)
        queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    return 1 - queries @ data.T


QUICK_START = """
import pickle
import numpy as np

ids = np.arange(len(data))
p = hnswlib.Index(space="l2", dim=16)
p.init_index(max_elements=1000, ef_construction=200, M=16)
p.add_items(data, ids)
p.set_ef(300)
labels, distances = p.knn_query(data, k=3)
copied = pickle.loads(pickle.dumps(p))
again, _ = copied.knn_query(data, k=3)
said = (copied.space, copied.dim, copied.M, copied.ef_construction, copied.element_count, copied.max_elements, copied.ef)
one, near = p.knn_query(data[7])
shapes = (labels.shape, labels.dtype, distances.shape, distances.dtype, one.shape, near.shape)
"""


@BOTH
def test_the_quick_start(library):
    found = run(QUICK_START, library)
    expected = exact("l2", DATA, DATA)
    assert found["said"] == ("l2", 16, 16, 200, 500, 1000, 300)
    assert found["shapes"] == ((500, 3), np.uint64, (500, 3), np.float32, (1, 1), (1, 1))
    assert found["one"].tolist() == [[7]]
    assert (found["labels"] == np.argsort(expected, axis=1)[:, :3]).mean() > 0.99
    assert (found["labels"] == found["again"]).all()
    np.testing.assert_allclose(found["distances"], np.sort(expected, axis=1)[:, :3], rtol=1e-4, atol=1e-5)


UPDATES = """
import numpy as np

p = hnswlib.Index(space="l2", dim=16)
p.init_index(max_elements=250, ef_construction=100, M=16)
p.set_ef(300)
p.set_num_threads(2)
p.add_items(data[:250])
p.save_index(path)
del p
p = hnswlib.Index(space="l2", dim=16)
p.load_index(path, max_elements=500)
p.set_ef(300)
p.add_items(data[250:])
labels, distances = p.knn_query(data, k=1)
recall = np.mean(labels.reshape(-1) == np.arange(500))
items, listed = p.get_items([3, 499]), p.get_items([3], return_type="list")
p.add_items(-data[:1], [3])                      # takes the place of what is there
updated = p.get_items([3])
p.resize_index(501)
p.add_items(data[3], 900)
counts = (p.get_current_count(), p.get_max_elements(), sorted(p.get_ids_list())[-2:])
"""


@BOTH
def test_updates_after_a_file(library, tmp_path: Path):
    found = run(UPDATES, library, path=str(tmp_path / "index.bin"))
    assert found["recall"] == 1.0
    np.testing.assert_array_equal(found["items"], DATA[[3, 499]])
    assert found["items"].dtype == np.float32
    assert found["listed"] == DATA[[3]].tolist()
    np.testing.assert_array_equal(found["updated"], -DATA[:1])
    assert found["counts"] == (501, 501, [499, 900])


DELETED = """
p = hnswlib.Index(space="cosine", dim=16)
p.init_index(max_elements=500, allow_replace_deleted=True)
p.set_ef(300)
p.add_items(data)
for label in range(100):
    p.mark_deleted(label)
gone, _ = p.knn_query(data[:100], k=1)
p.unmark_deleted(5)
back, near = p.knn_query(data[5], k=1)
count = p.get_current_count()
p.add_items(data[:50], range(1000, 1050), replace_deleted=True)
replaced, _ = p.knn_query(data[6:50], k=1)
counts = (count, p.get_current_count(), p.element_count)
"""


@BOTH
def test_deleted_rows_are_not_found_and_give_their_room(library):
    found = run(DELETED, library)
    assert found["gone"].min() >= 100
    assert found["back"].tolist() == [[5]] and abs(found["near"][0, 0]) < 1e-5
    assert found["counts"] == (500, 500, 500)
    assert found["replaced"].reshape(-1).tolist() == list(range(1006, 1050))


@BOTH
@pytest.mark.parametrize("space", ["l2", "ip", "cosine"])
@pytest.mark.parametrize("kind", ["Index", "BFIndex"])
def test_distances_and_filters_are_those_of_the_space(library, space, kind):
    p = getattr(module(library), kind)(space, 16)
    p.init_index(500)
    if kind == "Index":
        p.set_ef(400)
    p.add_items(DATA.astype(np.float64), np.arange(500) + 10)
    queries = DATA[:20] + np.float32(0.1)
    if (kind, space, library) == ("BFIndex", "cosine", "hnswlib"):
        # hnswlib compares these as they are.
        queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    expected = exact(space, DATA, queries)
    labels, distances = p.knn_query(queries, k=5)
    assert (labels - 10 == np.argsort(expected, axis=1)[:, :5]).mean() > 0.98
    np.testing.assert_allclose(distances, np.sort(expected, axis=1)[:, :5], rtol=1e-4, atol=1e-5)
    labels, distances = p.knn_query(queries, k=5, num_threads=1, filter=lambda label: label % 2 == 0)
    assert (labels - 10 == 2 * np.argsort(expected[:, ::2], axis=1)[:, :5]).mean() > 0.98
    assert "space='" + space in repr(p)


@BOTH
def test_cosines_are_of_normalized_rows(library):
    p = module(library).Index(space="cosine", dim=2)
    p.init_index(max_elements=3)
    p.add_items([[3, 4], [0, 0], [0, 2]])
    np.testing.assert_allclose(p.get_items([0, 1, 2]), [[0.6, 0.8], [0, 0], [0, 1]], rtol=1e-6)
    labels, distances = p.knn_query([[0, 9]], k=3)
    assert labels.tolist() == [[2, 0, 1]]
    np.testing.assert_allclose(distances, [[0, 0.2, 1]], atol=1e-6)


@BOTH
def test_labels_that_are_left_out_count_what_was_added(library):
    p = module(library).Index(space="l2", dim=16)
    p.init_index(max_elements=20)
    p.add_items(DATA[:2], [7, 8])
    p.add_items(DATA[2:4])
    assert sorted(p.get_ids_list()) == [2, 3, 7, 8]
    p.add_items(DATA[5], np.int64(2))
    np.testing.assert_array_equal(p.get_items(np.array([[2], [3]])), DATA[[5, 3]])


@BOTH
def test_parameters(library):
    p = module(library).Index("ip", 4)
    assert (p.space, p.dim, p.M, p.ef_construction, p.element_count, p.max_elements, p.ef) == ("ip", 4, 0, 0, 0, 0, 10)
    p.ef = 33
    p.init_index(5, M=8, ef_construction=50, random_seed=1)
    p.num_threads = 2
    assert (p.M, p.ef_construction, p.max_elements, p.ef, p.num_threads) == (8, 50, 5, 33, 2)
    copied = pickle.loads(pickle.dumps(p))
    assert (copied.M, copied.max_elements, copied.ef, copied.num_threads, copied.element_count) == (8, 5, 33, 2, 0)


WRONG = {
    "space": lambda m, p: m.Index("euclid", 2),
    "again": lambda m, p: p.init_index(10),
    "dimension": lambda m, p: p.add_items(np.ones((1, 3))),
    "three dimensions": lambda m, p: p.add_items(np.ones((1, 1, 2))),
    "labels": lambda m, p: p.add_items(np.ones((2, 2)), [1]),
    "room": lambda m, p: p.add_items(np.ones((9, 2)), np.arange(9) + 50),
    "replacement": lambda m, p: p.add_items(np.ones((1, 2)), [50], replace_deleted=True),
    "query": lambda m, p: p.knn_query(np.ones(3)),
    "too few": lambda m, p: p.knn_query(np.ones(2), k=4),
    "too few passed": lambda m, p: p.knn_query(np.ones(2), k=2, filter=lambda label: label == 1),
    "unknown": lambda m, p: p.get_items([99]),
    "deleted": lambda m, p: p.get_items([2]),
    "delete twice": lambda m, p: p.mark_deleted(2),
    "delete unknown": lambda m, p: p.mark_deleted(99),
    "undelete": lambda m, p: p.unmark_deleted(1),
    "undelete unknown": lambda m, p: p.unmark_deleted(99),
    "smaller": lambda m, p: p.resize_index(2),
    "no file": lambda m, p: m.Index("l2", 2).load_index("no such folder/index.bin"),
    "no folder": lambda m, p: p.save_index("no such folder/index.bin"),
}


@BOTH
@pytest.mark.parametrize("wrong", WRONG)
def test_what_hnswlib_refuses_is_a_runtime_error(library, wrong, tmp_path: Path, monkeypatch):
    if library == "hnswlib" and wrong in ("query", "no folder"):
        pytest.skip("hnswlib does not notice")
    monkeypatch.chdir(tmp_path)
    p = module(library).Index("l2", 2)
    p.init_index(4)
    p.add_items([[0, 0], [1, 1], [2, 2]])
    p.mark_deleted(2)
    with pytest.raises(RuntimeError) as refused:
        WRONG[wrong](module(library), p)
    if library == "nearfield":
        assert isinstance(refused.value, nf.Error) and str(refused.value)
        # Nothing has changed.
        assert (p.get_current_count(), p.get_max_elements(), p.get_ids_list()) == (3, 4, [0, 1, 2])
        assert p.knn_query([0, 0], k=2)[0].tolist() == [[0, 1]]


@BOTH
def test_other_arguments_that_are_refused(library):
    p = module(library).Index("l2", 2)
    p.init_index(4)
    p.add_items([[0, 0]])
    for error, call in [
        (ValueError, lambda: p.get_items([0], return_type="tuple")),
        (ValueError, lambda: p.get_items(0)),
        (TypeError, lambda: p.knn_query([0, 0], k="1")),
        (TypeError, lambda: p.knn_query([0, 0], k=1.5)),
        (TypeError, lambda: p.mark_deleted("a")),
        (TypeError, lambda: p.add_items([[0, 0]], unknown=1)),
    ]:
        with pytest.raises(error):
            call()


def test_what_nearfield_alone_refuses_says_what_to_do(tmp_path: Path):
    p = ours.Index("l2", 2)
    for message, call in [
        ("init_index", lambda: p.add_items([[0, 0]])),
        ("init_index", lambda: p.knn_query([0, 0])),
        ("init_index", lambda: p.save_index(tmp_path / "x")),
        ("m is 65", lambda: p.init_index(1, M=65)),
        ("dim is 0", lambda: ours.Index("l2", 0)),
        ("ef is 0", lambda: p.set_ef(0)),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
    p.init_index(9)
    for error, message, call in [
        (nf.InvalidVector, "row 1 has NaN", lambda: p.add_items([[0, 0], [0, float("nan")]])),
        (nf.InvalidVector, "inf", lambda: p.knn_query([0, 1e300])),
        (RuntimeError, "-1 is no label", lambda: p.add_items([[0, 0]], [-1])),
        (RuntimeError, "is no label", lambda: p.add_items([[0, 0]], np.array([2**64 - 1], np.uint64))),
        (TypeError, "whole numbers", lambda: p.add_items([[0, 0]], [1.5])),
        (Unsupported, "getsize", p.index_file_size),
        (NotImplementedError, "Index and BFIndex", lambda: ours.L2Space),
    ]:
        with pytest.raises(error, match=message):
            call()
    assert p.element_count == 0
    assert not hasattr(ours, "L2Space")


def test_of_a_label_given_twice_the_last_row_wins():
    p = ours.Index("l2", 1)
    p.init_index(3)
    p.add_items([[1], [2], [3]], [7, 8, 7])
    assert p.get_ids_list() == [8, 7] and p.get_items([7, 8]).tolist() == [[3], [2]]
    p.add_items([[5], [6]], [8, 9])
    assert p.get_current_count() == 3 and p.knn_query([[5.1]])[0].tolist() == [[8]]


def test_the_brute_force_index_deletes_and_is_saved(tmp_path: Path):
    p = ours.BFIndex(space="l2", dim=16)
    p.init_index(max_elements=500)
    p.set_num_threads(2)
    p.add_items(DATA)
    for label in (3, 3, 999):
        p.delete_vector(label)
    assert (p.get_current_count(), p.get_max_elements()) == (499, 500)
    assert p.knn_query(DATA[3])[0] != 3
    p.save_index(tmp_path / "bf")
    q = ours.BFIndex("l2", 16)
    q.load_index(tmp_path / "bf")
    assert (q.knn_query(DATA, k=4)[0] == p.knn_query(DATA, k=4)[0]).all()
    with pytest.raises(RuntimeError):
        p.init_index(5)


CHILD = """
import sys
import numpy as np
import nearfield.compat.hnswlib as hnswlib

p = hnswlib.Index(space="l2", dim=16)
p.load_index(sys.argv[1])
data = np.load(sys.argv[2])
print(p.knn_query(data, k=2)[0].tolist(), p.get_current_count(), p.max_elements, p.M)
"""


def filled(rows: int = 500) -> ours.Index:
    p = ours.Index("l2", 16)
    p.init_index(600, M=8, ef_construction=60)
    p.add_items(DATA[:rows], np.arange(rows) * 3)
    p.mark_deleted(3)
    return p


def test_another_process_reads_what_was_saved(tmp_path: Path):
    p = filled()
    p.save_index(tmp_path / "index.bin")
    p.save_index(tmp_path / "index.bin")
    np.save(tmp_path / "queries.npy", DATA[:5])
    assert sorted(os.listdir(tmp_path)) == ["index.bin", "queries.npy"]
    command = [sys.executable, "-c", CHILD, str(tmp_path / "index.bin"), str(tmp_path / "queries.npy")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == f"{p.knn_query(DATA[:5], k=2)[0].tolist()} 500 600 8\n"


def test_a_file_is_read_in_another_space(tmp_path: Path):
    filled().save_index(tmp_path / "index.bin")
    p = ours.Index("ip", 16)
    p.load_index(tmp_path / "index.bin")
    alive = np.delete(DATA, 1, axis=0)
    expected = exact("ip", alive, DATA[:5])
    np.testing.assert_allclose(p.knn_query(DATA[:5], k=3)[1], np.sort(expected, axis=1)[:, :3], rtol=1e-4, atol=1e-5)
    p.unmark_deleted(3)
    assert p.get_items([3]).tolist() == DATA[[1]].tolist()
    with pytest.raises(RuntimeError, match="16 dimensions, expected 4"):
        ours.Index("l2", 4).load_index(tmp_path / "index.bin")


def test_a_damaged_file_is_refused_or_whole(tmp_path: Path):
    filled(20).save_index(tmp_path / "whole")
    expected = filled(20).knn_query(DATA[:3], k=5)[0].tolist()
    whole = (tmp_path / "whole").read_bytes()
    step = 101
    for at in [*range(0, len(whole), step), *range(len(whole) - 400, len(whole), 7)]:
        damaged = bytearray(whole)
        damaged[at] ^= 0x55
        (tmp_path / "damaged").write_bytes(damaged)
        p = ours.Index("l2", 16)
        try:
            p.load_index(tmp_path / "damaged")
        except nf.Error as error:
            assert isinstance(error, RuntimeError), at
        else:
            assert p.knn_query(DATA[:3], k=5)[0].tolist() == expected, at
    for length in (0, 1, 2, 40, len(whole) // 2, len(whole) - 1):
        (tmp_path / "damaged").write_bytes(whole[:length])
        with pytest.raises(RuntimeError):
            ours.Index("l2", 16).load_index(tmp_path / "damaged")


def test_a_file_of_hnswlib_is_refused_with_the_way_in(tmp_path: Path):
    (tmp_path / "junk").write_bytes(b"something else")
    with pytest.raises(nf.Incompatible, match="get_ids_list"):
        ours.Index("l2", 16).load_index(tmp_path / "junk")
    with pytest.raises(nf.IoError, match="cannot open"):
        ours.Index("l2", 16).load_index(tmp_path)
    theirs = module("hnswlib").Index("l2", 16)
    theirs.init_index(500)
    theirs.add_items(DATA)
    theirs.save_index(str(tmp_path / "theirs"))
    p = ours.Index("l2", 16)
    p.init_index(500)
    with pytest.raises(RuntimeError, match="a file of hnswlib itself is read by hnswlib"):
        p.load_index(tmp_path / "theirs")
    # As the message says.
    ids = theirs.get_ids_list()
    p.add_items(theirs.get_items(ids), ids)
    assert (p.knn_query(DATA)[0].reshape(-1) == np.arange(500)).all()


def test_threads_add_while_others_search():
    p = ours.Index("l2", 16)
    p.init_index(500)
    p.add_items(DATA[:100])
    wrong: list[object] = []

    def add(begin: int) -> None:
        for row in range(begin, begin + 100):
            p.add_items(DATA[row], row)

    def look() -> None:
        for row in range(100):
            found = p.knn_query(DATA[row], filter=lambda label: p.get_current_count() > label)[0][0, 0]
            if found != row:
                wrong.append((row, found))

    threads = [threading.Thread(target=add, args=(begin,)) for begin in (100, 200, 300, 400)]
    threads += [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and p.get_current_count() == 500
    assert (p.knn_query(DATA)[0].reshape(-1) == np.arange(500)).all()


STEP = st.tuples(st.sampled_from(["add", "mark", "unmark", "save"]), st.integers(0, 9), st.integers(-5, 5))


@settings(max_examples=40, deadline=None)
@given(st.lists(STEP, max_size=25), st.sampled_from(["l2", "ip"]))
def test_any_steps_leave_what_a_dict_would_hold(steps, space):
    p = ours.Index(space, 2)
    p.init_index(20)
    rows: dict[int, list[float]] = {}
    deleted: set[int] = set()
    for step, label, value in steps:
        if step == "add":
            p.add_items([value, label], label)
            rows[label] = [value, label]
            deleted.discard(label)
        elif step == "mark" and label in rows and label not in deleted:
            p.mark_deleted(label)
            deleted.add(label)
        elif step == "unmark" and label in deleted:
            p.unmark_deleted(label)
            deleted.discard(label)
        elif step == "save":
            p = pickle.loads(pickle.dumps(p))
    assert sorted(p.get_ids_list()) == sorted(rows)
    alive = sorted(rows.keys() - deleted)
    assert p.get_items(alive).tolist() == [rows[label] for label in alive]
    labels, distances = p.knn_query([1, 2], k=len(alive))
    assert sorted(labels[0].tolist()) == alive
    if alive:
        expected = exact(space, np.array([rows[label] for label in alive]), np.array([[1, 2]]))
        np.testing.assert_allclose(distances[0], np.sort(expected[0]), rtol=1e-5)


def test_both_are_imported_by_their_own_names():
    assert importlib.import_module("nearfield.compat.hnswlib") is ours
    assert sorted(ours.__all__) == ["BFIndex", "Index"]
