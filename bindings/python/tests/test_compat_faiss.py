"""Programs for faiss run on its layer with another import line, and give the same answers."""

import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nearfield as nf
from nearfield.compat import Unsupported
from nearfield.compat import faiss as ours

IMPORTS = {"nearfield": "from nearfield.compat import faiss", "faiss": "import faiss"}
BOTH = pytest.mark.parametrize("library", IMPORTS)
RNG = np.random.default_rng(5)
XB = RNG.random((600, 16), dtype=np.float32)
XQ = RNG.random((20, 16), dtype=np.float32)
NONE = np.finfo(np.float32).max


def module(library: str) -> ModuleType:
    if library == "nearfield":
        return ours
    with warnings.catch_warnings():
        # What generated it has warnings of Python's.
        warnings.simplefilter("ignore")
        return pytest.importorskip("faiss", reason="faiss is not installed")


def run(program: str, library: str, **names: object) -> dict[str, object]:
    """Runs a program behind the import line of one of the libraries; its names afterwards."""
    module(library)
    names |= {"xb": XB, "xq": XQ, "d": 16}
    exec(f"{IMPORTS[library]}\n{program}", names)
    return names


def squares(data: np.ndarray, queries: np.ndarray) -> np.ndarray:
    return ((queries[:, None].astype(np.float64) - data[None]) ** 2).sum(axis=2)


def alike(found: np.ndarray, expected: np.ndarray, share: float = 1.0) -> bool:
    """Whether at least this share of the ids is the same; ties may be in another order."""
    return bool((np.sort(found, axis=1) == np.sort(expected, axis=1)).mean() >= share)


QUICK_START = """
import numpy as np

index = faiss.IndexFlatL2(d)
trained = index.is_trained
index.add(xb)
D, I = index.search(xb[:5], 4)
D1, I1 = index.search(xq, 4)
said = (trained, index.ntotal, index.d, index.metric_type == faiss.METRIC_L2)
"""


@BOTH
def test_the_quick_start(library):
    found = run(QUICK_START, library)
    assert found["said"] == (True, 600, 16, True)
    assert (found["I"][:, 0] == np.arange(5)).all() and not found["D"][:, 0].any()
    expected = squares(XB, XQ)
    assert (found["D1"].dtype, found["I1"].dtype, found["D1"].shape) == (np.float32, np.int64, (20, 4))
    assert (found["I1"] == np.argsort(expected, axis=1)[:, :4]).all()
    np.testing.assert_allclose(found["D1"], np.sort(expected, axis=1)[:, :4], rtol=1e-4)


LISTS = """
import numpy as np

quantizer = faiss.IndexFlatL2(d)
index = faiss.IndexIVFFlat(quantizer, d, 8)
before = index.is_trained
index.train(xb)
index.add(xb)
index.nprobe = 8
D, I = index.search(xq, 4)
ivfpq = faiss.IndexIVFPQ(faiss.IndexFlatL2(d), d, 4, 8, 4)
ivfpq.train(xb)
ivfpq.add(xb)
ivfpq.nprobe = 4
D2, I2 = ivfpq.search(xb[:5], 4)
said = (before, index.is_trained, index.ntotal, index.nlist, ivfpq.ntotal)
other = faiss.index_factory(d, "IVF4,Flat")
other.train(xb)
other.add(xb)
other.make_direct_map()
vectors = other.reconstruct_n(3, 2)
removed = index.remove_ids(np.arange(100))
D3, I3 = index.search(xq, 4)
sel = faiss.IDSelectorBatch(np.array([200, 300]))
D4, I4 = index.search(xq, 3, params=faiss.SearchParametersIVF(nprobe=8, sel=sel))
"""


@BOTH
def test_indexes_of_lists(library):
    found = run(LISTS, library)
    expected = squares(XB, XQ)
    assert found["said"] == (False, True, 600, 8, 600)
    assert (found["I"] == np.argsort(expected, axis=1)[:, :4]).all()
    assert (found["I2"][:, 0] == np.arange(5)).mean() >= 0.6
    np.testing.assert_array_equal(found["vectors"], XB[3:5])
    assert found["removed"] == 100
    # The other rows have kept their ids.
    assert (found["I3"] == np.argsort(expected[:, 100:], axis=1)[:, :4] + 100).all()
    assert {*found["I4"].reshape(-1).tolist()} == {200, 300, -1}
    assert (found["I4"][:, 2] == -1).all() and (found["D4"][:, 2] == NONE).all()


GRAPH = """
index = faiss.IndexHNSWFlat(d, 16)
defaults = (index.hnsw.efSearch, index.hnsw.efConstruction)
index.hnsw.efConstruction = 100
index.add(xb)
index.hnsw.efSearch = 300
D, I = index.search(xq, 5)
D1, I1 = index.search(xq, 5, params=faiss.SearchParametersHNSW(efSearch=300, sel=faiss.IDSelectorRange(100, 200)))
inner = faiss.IndexHNSWFlat(d, 16, faiss.METRIC_INNER_PRODUCT)
inner.add(xb)
inner.hnsw.efSearch = 300
D2, I2 = inner.search(xq, 5)
"""


@BOTH
def test_graphs(library):
    found = run(GRAPH, library)
    expected = squares(XB, XQ)
    assert found["defaults"] == (16, 40)
    assert alike(found["I"], np.argsort(expected, axis=1)[:, :5], 0.97)
    assert alike(found["I1"], np.argsort(expected[:, 100:200], axis=1)[:, :5] + 100, 0.97)
    products = XQ @ XB.T
    assert alike(found["I2"], np.argsort(-products, axis=1)[:, :5], 0.97)
    np.testing.assert_allclose(found["D2"], -np.sort(-products, axis=1)[:, :5], rtol=1e-3)


IDS = """
import numpy as np

index = faiss.IndexIDMap2(faiss.IndexFlatIP(d))
x = xb.copy()
faiss.normalize_L2(x)
ids = np.arange(600) * 10 - 5
index.add_with_ids(x, ids)
D, I = index.search(x[:5], 2)
vector = index.reconstruct(15)
batch = index.reconstruct_batch(np.array([25, -5]))
removed = index.remove_ids(np.array([5, 25, 7777])) + index.remove_ids(faiss.IDSelectorRange(35, 56))
D1, I1 = index.search(x[:8], 1)
D2, I2 = index.search(x[:2], 3, params=faiss.SearchParameters(sel=faiss.IDSelectorNot(faiss.IDSelectorBatch(ids[9:]))))
lims, D3, I3 = index.range_search(x[:3], 0.95)
mapped = faiss.vector_to_array(index.id_map)
index.add_with_ids(x[:1], np.array([15]))
twice = index.reconstruct(15)
total = index.ntotal
index.reset()
"""


@BOTH
def test_ids(library):
    found = run(IDS, library)
    x = XB / np.linalg.norm(XB, axis=1, keepdims=True)
    np.testing.assert_allclose(found["x"], x, rtol=1e-5)
    assert found["I"][:, 0].tolist() == [-5, 5, 15, 25, 35]
    np.testing.assert_allclose(found["D"][:, 0], 1, rtol=1e-5)
    np.testing.assert_allclose(found["vector"], x[2], rtol=1e-5)
    np.testing.assert_allclose(found["batch"], x[[3, 0]], rtol=1e-5)
    assert found["removed"] == 5 and found["total"] == 596 and found["index"].ntotal == 0
    assert {*found["I1"].reshape(-1).tolist()}.isdisjoint([5, 25, 35, 45, 55])
    assert found["I2"].shape == (2, 3) and {*found["I2"].reshape(-1).tolist()} <= {-5, 15, 65, 75}
    kept = np.delete(np.arange(600), [1, 3, 4, 5, 6])
    assert found["mapped"].tolist() == (kept * 10 - 5).tolist()
    similar = (x[:3] @ x[kept].T) > 0.95
    assert (np.diff(found["lims"].astype(np.int64)) == similar.sum(axis=1)).all()
    assert found["I3"].tolist() == [int(kept[row] * 10 - 5) for _, row in np.argwhere(similar)]
    np.testing.assert_allclose(found["D3"], (x[:3] @ x[kept].T)[similar], rtol=1e-4)
    np.testing.assert_allclose(found["twice"], x[0], rtol=1e-5)


ROWS = """
import numpy as np

index = faiss.IndexFlatL2(d)
index.add(xb[:10])
D, I = index.search(xb[:2], 12)
lims, D1, I1 = index.range_search(xb[:2], 2.0)
removed = index.remove_ids(np.array([0, 3]))
D2, I2 = index.search(xb[1:2], 1)
one, some, every = index.reconstruct(2), index.reconstruct_n(1, 2), index.reconstruct_n()
labels = index.assign(xb[4:6], 1)
D3, I3, R = index.search_and_reconstruct(xb[4:5], 2)
given_D, given_I = np.empty((1, 2), np.float32), np.empty((1, 2), np.int64)
index.search(xb[4:5], 2, D=given_D, I=given_I)
copied = faiss.clone_index(index)
index.add(xb[10:11].astype(np.float64))
totals = (index.ntotal, copied.ntotal)
K, J = faiss.knn(xq, xb, 3)
"""


@BOTH
def test_rows_are_numbered_and_move_up(library):
    found = run(ROWS, library)
    assert (found["I"][:, 10:] == -1).all() and (found["D"][:, 10:] == NONE).all()
    near = squares(XB[:10], XB[:2]) < 2
    assert found["lims"].dtype == np.uint64 and found["lims"].tolist() == [0, near[0].sum(), near.sum()]
    assert found["I1"].tolist() == np.argwhere(near)[:, 1].tolist()
    assert found["removed"] == 2 and found["I2"].tolist() == [[0]]
    np.testing.assert_array_equal(found["one"], XB[4])
    np.testing.assert_array_equal(found["some"], XB[[2, 4]])
    np.testing.assert_array_equal(found["every"], np.delete(XB[:10], [0, 3], axis=0))
    assert found["labels"].reshape(-1).tolist() == [2, 3]
    np.testing.assert_array_equal(found["R"][0], found["every"][found["I3"][0]])
    assert found["given_I"].tolist() == found["I3"].tolist() and found["given_D"].tolist() == found["D3"].tolist()
    assert found["totals"] == (9, 8)
    assert (found["J"] == np.argsort(squares(XB, XQ), axis=1)[:, :3]).all() and found["K"].dtype == np.float32


FACTORY = ["Flat", "HNSW16", "HNSW16,Flat", "HNSW16,SQ8", "IDMap,Flat", "IDMap2,HNSW16", "IVF8,Flat", "IVF8,PQ8x4np", "PQ8x4",
           "SQ8", "SQfp16", "IVF8,SQ8", "IVF8_HNSW32,Flat", "Flat,RFlat"]  # fmt: skip


@BOTH
@pytest.mark.parametrize("description", FACTORY)
def test_the_factory(library, description):
    faiss = module(library)
    index = faiss.index_factory(16, description)
    if not index.is_trained:
        index.train(XB)
    if "IVF" in description:
        faiss.extract_index_ivf(index).nprobe = 8
        faiss.ParameterSpace().set_index_parameter(index, "nprobe", 8)
    if description.startswith("HNSW"):
        faiss.ParameterSpace().set_index_parameters(index, "efSearch=200")
    if description.startswith("IDMap"):
        index.add_with_ids(XB, np.arange(600) + 1000)
    else:
        index.add(XB)
    distances, ids = index.search(XQ, 10)
    expected = np.argsort(squares(XB, XQ), axis=1)[:, :10] + (1000 if "IDMap" in description else 0)
    share = 0.3 if "PQ" in description else 0.85
    assert np.mean([len({*a} & {*b}) / 10 for a, b in zip(ids.tolist(), expected.tolist())]) >= share
    assert (np.diff(distances, axis=1) >= -1e-5).all()
    assert isinstance(index, faiss.Index) and index.ntotal == 600


@pytest.mark.parametrize("description", FACTORY)
def test_each_kind_is_written_read_and_pickled(description, tmp_path: Path):
    index = ours.index_factory(16, description, ours.METRIC_INNER_PRODUCT)
    index.train(XB)
    with_ids = "IDMap" in description or "IVF" in description
    index.add_with_ids(XB, np.arange(600)[::-1]) if with_ids else index.add(XB)
    index.remove_ids(np.array([5, 6]))
    if "IVF" in description:
        index.nprobe = 3
    ours.write_index(index, tmp_path / "index")
    # After the graph is built, which a file has it be.
    expected = index.search(XQ, 5)
    serialized = ours.serialize_index(index)
    assert (serialized.dtype, serialized.nbytes) == (np.uint8, os.path.getsize(tmp_path / "index"))
    copies = [ours.read_index(str(tmp_path / "index")), pickle.loads(pickle.dumps(index)), ours.deserialize_index(serialized)]
    for copied in copies:
        assert type(copied) is type(index) and repr(copied) == repr(index)
        assert (copied.ntotal, copied.d, copied.metric_type, copied.is_trained) == (598, 16, 0, True)
        found = copied.search(XQ, 5)
        assert (found[0] == expected[0]).all() and (found[1] == expected[1]).all()
        copied.add_with_ids(XQ[:1], np.array([7000])) if with_ids else copied.add(XQ[:1])
        np.testing.assert_array_equal(copied.reconstruct(7000 if with_ids else 598), XQ[0])
    assert index.ntotal == 598 and os.listdir(tmp_path) == ["index"]


CHILD = """
import sys
import numpy as np
from nearfield.compat import faiss

index = faiss.read_index(sys.argv[1])
D, I = index.search(np.load(sys.argv[2]), 3)
print(type(index).__name__, index.ntotal, I.tolist())
"""


def test_another_process_reads_what_was_written(tmp_path: Path):
    index = ours.IndexIDMap2(ours.IndexHNSWFlat(16, 8))
    index.add_with_ids(XB, np.arange(600) - 300)
    ours.write_index(index, str(tmp_path / "index"))
    np.save(tmp_path / "queries.npy", XQ)
    command = [sys.executable, "-c", CHILD, str(tmp_path / "index"), str(tmp_path / "queries.npy")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == f"IndexIDMap2 600 {index.search(XQ, 3)[1].tolist()}\n"


def test_a_damaged_file_is_refused_or_whole(tmp_path: Path):
    index = ours.IndexIDMap(ours.IndexIVFPQ(ours.IndexFlatL2(16), 16, 4, 8))
    index.train(XB)
    index.add_with_ids(XB[:20], np.arange(20) + 7)
    ours.write_index(index, tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    expected = index.search(XQ, 5)[1].tolist()
    for at in [*range(0, len(whole), 101), *range(len(whole) - 500, len(whole), 7)]:
        damaged = bytearray(whole)
        damaged[at] ^= 0x55
        try:
            found = ours.deserialize_index(np.frombuffer(damaged, np.uint8))
        except nf.Error as error:
            assert isinstance(error, RuntimeError), at
        else:
            assert found.search(XQ, 5)[1].tolist() == expected, at


def test_a_file_of_faiss_is_refused_with_the_way_in(tmp_path: Path):
    (tmp_path / "junk").write_bytes(b"something else")
    with pytest.raises(nf.Incompatible, match="reconstruct_n"):
        ours.read_index(tmp_path / "junk")
    theirs = module("faiss")
    index = theirs.IndexFlatL2(16)
    index.add(XB)
    theirs.write_index(index, str(tmp_path / "theirs"))
    with pytest.raises(RuntimeError, match="a file of faiss itself is read by faiss"):
        ours.read_index(tmp_path / "theirs")
    # As the message says.
    moved = ours.IndexFlatL2(16)
    moved.add(index.reconstruct_n(0, index.ntotal))
    assert (moved.search(XQ, 5)[1] == index.search(XQ, 5)[1]).all()


WRONG = {
    "dimension": (AssertionError, lambda m, i: i.add(XB[:, :3])),
    "query": (AssertionError, lambda m, i: i.search(XQ[:, :3], 1)),
    "k": (AssertionError, lambda m, i: i.search(XQ, 0)),
    "negative k": (AssertionError, lambda m, i: i.search(XQ, -1)),
    "out": (AssertionError, lambda m, i: i.search(XQ, 2, D=np.empty((1, 1), np.float32))),
    "id": (RuntimeError, lambda m, i: i.reconstruct(99999)),
    "ids": (RuntimeError, lambda m, i: i.reconstruct_n(590, 20)),
    "with ids": (RuntimeError, lambda m, i: i.add_with_ids(XB, np.arange(600))),
    "filled": (RuntimeError, lambda m, i: m.IndexIDMap(i)),
    "without ids": (RuntimeError, lambda m, i: m.IndexIDMap(m.IndexFlatL2(16)).add(XB)),
    "fewer ids": (AssertionError, lambda m, i: m.IndexIDMap(m.IndexFlatL2(16)).add_with_ids(XB, np.arange(3))),
    "unknown id": (RuntimeError, lambda m, i: m.IndexIDMap2(m.IndexFlatL2(16)).reconstruct(3)),
    "not trained": (RuntimeError, lambda m, i: m.IndexIVFFlat(m.IndexFlatL2(16), 16, 4).add(XB)),
    "not trained for a search": (RuntimeError, lambda m, i: m.IndexIVFFlat(m.IndexFlatL2(16), 16, 4).search(XQ, 1)),
    "product": (RuntimeError, lambda m, i: m.IndexPQ(16, 3, 8)),
    "factory": (RuntimeError, lambda m, i: m.index_factory(16, "Falt")),
    "empty factory": (RuntimeError, lambda m, i: m.index_factory(16, "")),
    "parameter": (RuntimeError, lambda m, i: m.ParameterSpace().set_index_parameter(i, "nprobes", 3)),
    "no file": (RuntimeError, lambda m, i: m.read_index("no such folder/index")),
    "no folder": (RuntimeError, lambda m, i: m.write_index(i, "no such folder/index")),
    "double": (TypeError, lambda m, i: m.normalize_L2(XB.astype(np.float64))),
    "text for a dimension": (TypeError, lambda m, i: m.IndexFlatL2("16")),
    "attribute": (AttributeError, lambda m, i: setattr(i, "nprobes", 3)),
    "argument": (TypeError, lambda m, i: i.search(XQ, 1, 2)),
}


@BOTH
@pytest.mark.parametrize("wrong", WRONG)
def test_what_faiss_refuses_is_an_error_of_the_same_kind(library, wrong, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    faiss = module(library)
    index = faiss.IndexFlatL2(16)
    index.add(XB)
    error, call = WRONG[wrong]
    with pytest.raises(error) as refused:
        call(faiss, index)
    assert library == "faiss" or str(refused.value)
    assert index.ntotal == 600 and (index.search(XB[:3], 1)[1] == [[0], [1], [2]]).all()


def test_what_is_not_covered_names_the_way():
    index = ours.IndexFlatL2(16)
    for message, call in [
        ("sklearn.cluster.KMeans", lambda: ours.Kmeans(16, 8)),
        ("processors", lambda: ours.StandardGpuResources()),
        ("hamming", lambda: ours.IndexBinaryFlat(16)),
        ("always compared exactly", lambda: ours.IndexRefineFlat(index)),
        ("help", lambda: ours.IndexNSGFlat(16, 8)),
        ("nearfield.Index has cosine", lambda: ours.IndexFlat(16, 23)),
        ("QT_8bit, QT_4bit", lambda: ours.IndexScalarQuantizer(16, ours.ScalarQuantizer.QT_6bit)),
        ("'PCA8,Flat' is not covered", lambda: ours.index_factory(16, "PCA8,Flat")),
        ("has ids already", lambda: ours.IndexIDMap(ours.IndexIDMap(index))),
        ("IDSelector is not covered", lambda: index.remove_ids(ours.IDSelector())),
    ]:
        with pytest.raises(Unsupported, match=message) as refused:
            call()
        assert isinstance(refused.value, NotImplementedError)
    assert not hasattr(ours, "IndexNSGFlat") and ours.get_num_gpus() == 0


def test_what_nearfield_alone_refuses_says_what_to_do():
    index = ours.IndexHNSWFlat(16, 8)
    index.add(XB)
    for error, message, call in [
        (nf.InvalidVector, "row 1 has NaN", lambda: index.add(np.array([[0] * 16, [np.nan] * 16]))),
        (nf.InvalidVector, "inf", lambda: index.search(np.full((1, 16), 1e300), 1)),
        (ValueError, "m is 65", lambda: ours.IndexHNSWFlat(16, 65)),
        (ValueError, "dim is 0", lambda: ours.IndexFlatL2(0)),
        (RuntimeError, "before vectors are added", lambda: setattr(index.hnsw, "efConstruction", 9)),
        (AssertionError, "whole numbers", lambda: index.remove_ids(np.array([0.5]))),
        (AssertionError, "16 dimensions", lambda: ours.IndexIVFFlat(ours.IndexFlatL2(4), 16, 2)),
        (RuntimeError, "nlist is 0", lambda: ours.IndexIVFFlat(ours.IndexFlatL2(16), 16, 0)),
        (TypeError, "index of this module", lambda: ours.write_index(nf.Index(3), "x")),
        (TypeError, "float", lambda: index.search(XQ, 1.5)),
    ]:
        with pytest.raises(error, match=message):
            call()
    lists = ours.IndexIVFFlat(ours.IndexFlatL2(16), 16, 2)
    lists.train(XB)
    lists.nprobe = 0
    with pytest.raises(RuntimeError, match="nprobe is 0"):
        lists.search(XQ, 1)
    assert index.ntotal == 600


@BOTH
def test_selectors_choose_the_same_ids(library):
    faiss = module(library)
    ids = np.arange(-3, 30)
    a, b = faiss.IDSelectorRange(2, 9), faiss.IDSelectorBatch(np.array([-3, 5, 20]))
    bits = np.packbits(np.array([1, 0, 1, 1, 0, 0, 0, 0, 1]), bitorder="little")
    bitmap = faiss.IDSelectorBitmap(bits) if library == "nearfield" else faiss.IDSelectorBitmap(2, faiss.swig_ptr(bits))
    chosen = {
        "range": a, "batch": b, "bitmap": bitmap, "all": faiss.IDSelectorAll(), "not": faiss.IDSelectorNot(a),
        "and": faiss.IDSelectorAnd(a, b), "or": faiss.IDSelectorOr(a, b), "xor": faiss.IDSelectorXOr(a, b),
    }  # fmt: skip
    found = {name: [int(id) for id in ids if selector.is_member(int(id))] for name, selector in chosen.items()}
    assert found == {
        "range": [*range(2, 9)], "batch": [-3, 5, 20], "bitmap": [0, 2, 3, 8], "all": [*range(-3, 30)],
        "not": [*range(-3, 2), *range(9, 30)], "and": [5], "or": [-3, *range(2, 9), 20],
        "xor": [-3, 2, 3, 4, 6, 7, 8, 20],
    }  # fmt: skip


STEP = st.tuples(st.sampled_from(["add", "remove", "pickle"]), st.integers(0, 9), st.integers(-5, 5))


@settings(max_examples=40, deadline=None)
@given(st.lists(STEP, max_size=25), st.sampled_from(["Flat", "HNSW8", "IVF2,Flat", "SQ8"]), st.sampled_from([0, 1]))
def test_any_steps_leave_what_a_list_would_hold(steps, kind, metric):
    index = ours.index_factory(2, "IDMap2," + kind, metric)
    index.train(np.zeros((1, 2)))
    rows: list[tuple[int, list[float]]] = []
    for step, id, value in steps:
        if step == "add":
            index.add_with_ids([[value, id]], [id])
            rows.append((id, [value, id]))
        elif step == "remove":
            assert index.remove_ids(np.array([id])) == sum(row[0] == id for row in rows)
            rows = [row for row in rows if row[0] != id]
        else:
            index = pickle.loads(pickle.dumps(index))
    assert index.id_map.tolist() == [id for id, _ in rows]
    for id, vector in dict(rows).items():
        assert index.reconstruct(id).tolist() == vector
    distances, ids = index.search([[1, 2]], len(rows) + 2)
    assert sorted(ids[0].tolist()) == sorted([-1, -1, *(id for id, _ in rows)])
    data = np.array([vector for _, vector in rows]).reshape(-1, 2)
    expected = squares(data, np.array([[1, 2]]))[0] if metric else -(data @ [1, 2])
    np.testing.assert_allclose(distances[0, : len(rows)] * (1 if metric else -1), np.sort(expected), rtol=1e-5)
