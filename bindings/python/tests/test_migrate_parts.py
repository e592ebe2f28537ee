"""The parts of migrations: pickles read as data, payloads as columns, the command line."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import nearfield as nf
from nearfield.migrate import _pickle
from nearfield.migrate._payload import Columns
from nearfield.migrate._sqlite import Tables
from test_migrate import CHROMAS, QDRANTS, edit, unpacked

PLAIN = [
    {},
    {"id_to_label": {"a": 1, "é": 2**31, "c": -5}, "label_to_id": {1: "a"}, "none": None, "flags": [True, False, []]},
    {"vector": [0.5, -1.0, float("inf")] * 100, "one": [1.25], "tuple": (1, (), ("x", 2, 3, 4))},
    {"long": 2**63, "longer": -(10**50), "text": "x" * 70_000, "words": {"a", "b"}},
    {f"key {n}": n for n in range(3000)},
]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("value", PLAIN, ids=range(len(PLAIN)))
def test_plain_data_is_read_as_pickle_reads_it(value, protocol):
    data = pickle.dumps(value, protocol)
    if protocol < 4 and any(isinstance(item, set) for item in value.values()):
        with pytest.raises(_pickle.Refused, match="set, which is not made"):
            _pickle.loads(data)
        return
    assert _pickle.loads(data) == value == pickle.loads(data)


class Reduced:
    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


class Stated:
    def __init__(self):
        self.field = 7


RUNNING = [
    pickle.dumps(Reduced(os.system, ("true",))),
    pickle.dumps(Reduced(eval, ("1",)), 2),
    pickle.dumps(Reduced(eval, ("1",)), 0),
    pickle.dumps(Stated()),
    pickle.dumps(np.float32(1)),
    pickle.dumps(np.ones(3)),
    b"\x80\x02\x82\x01.",  # A class of the registry of extensions.
    b"\x80\x04Pname\n.",  # A persistent id.
]


@pytest.mark.parametrize("data", RUNNING, ids=range(len(RUNNING)))
def test_what_a_pickle_calls_or_makes_is_refused(data):
    with pytest.raises(_pickle.Refused):
        _pickle.loads(data, {("module", "Known")})


def test_an_object_of_a_class_that_is_expected_is_its_attributes():
    data = pickle.dumps(Stated(), 4)
    found = _pickle.loads(data, {(Stated.__module__, "Stated")})
    assert type(found) is _pickle.Object and found.state == {"field": 7}
    # Called with arguments it would be more than data.
    with pytest.raises(_pickle.Refused):
        _pickle.loads(data.replace(b")\x81", b"K\x01\x85\x81"), {(Stated.__module__, "Stated")})


def nested(levels: int) -> dict:
    """A dict that has itself twice, again and again: small here, without end for who walks through it."""
    inner: dict = {"x": 1}
    for _ in range(levels):
        inner = {"a": inner, "b": inner}
    return inner


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps(nested(60)),
        b"\x80\x04}\x94h\x00.",
        b"\x80\x02r\xff\xff\xff\xff.",
        b"\x80\x02X\xff\xff\xff\xffabc.",
        b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xffabc.",
        b"\x80\x04\x8a\xff\x01.",
        b"\x80\x04](]K\x01eu.",
        b"\x80\x04}(](K\x01u.",
        b"\x80\x04}]K\x01s.",
        b"\x80\x04(.",
        b"\x80\x04.",
        b"\x80\x09N.",
        b"GGGG",
        b"\x80\x04h\x07.",
        b"",
    ],
)  # fmt: skip
def test_pickles_that_are_no_whole_data_are_refused(data):
    with pytest.raises(_pickle.Refused):
        _pickle.loads(data)


def test_damaged_pickles_are_refused_or_data():
    data = pickle.dumps(PLAIN[1], 4)
    rng = np.random.default_rng(5)
    for _ in range(3000):
        changed = bytearray(data)
        for at in rng.integers(len(data), size=rng.integers(1, 4)):
            changed[at] = rng.integers(256)
        try:
            _pickle.loads(bytes(changed))
        except _pickle.Refused:
            pass


def test_payloads_become_columns_and_what_fits_none_is_kept_as_text():
    payloads = [
        {"n": 1, "f": 1, "s": "a", "b": True, "tags": ["x"], "in": {"a": 1, "deep": {"b": None}}, "id": 7},
        {"n": None, "f": 2.5, "mixed": 1, "tags": [], "nums": [1, 2], "in": {}, "big": 2**70, "id": 8},
        {"mixed": "text", "objects": [{"a": 1}], "nothing": None},
    ]
    columns = Columns(None, ["taken"])
    for payload in payloads:
        columns.see(payload)
    assert columns.types() == {
        "n": "int64", "f": "float64", "s": "utf8", "b": "bool", "tags": "list_utf8", "in.a": "int64", "id_": "int64",
        "mixed": "utf8", "nums": "utf8", "big": "utf8", "objects": "utf8",
    }  # fmt: skip
    data = columns.written(payloads)
    assert data["f"] == [1, 2.5, None] and data["tags"] == [["x"], [], None] and data["id_"] == [7, 8, None]
    assert data["mixed"] == [None, "1", '"text"'] and data["nums"] == [None, "[1, 2]", None]
    assert json.loads(data["big"][1]) == 2**70 and json.loads(data["objects"][2]) == [{"a": 1}]
    assert [note.split()[0] for note in columns.notes()] == ["mixed", "nums", "big", "objects", "id"]
    for bad in [{"a.b": 1, "a": {"b": 2}}, {7: 1}]:
        with pytest.raises(nf.InvalidArgument):
            Columns(None, []).see(bad)
    with pytest.raises(nf.InvalidArgument, match="'late', which was not there before"):
        columns.written([{"late": 1}])
    deep: dict = {}
    for _ in range(100_000):
        deep = {"a": deep}
    columns = Columns(["a"], [])
    columns.see(deep)
    with pytest.raises(nf.InvalidArgument, match="no JSON"):
        columns.written([deep])


def test_tables_without_end_are_damage(tmp_path: Path):
    unpacked(CHROMAS[0], tmp_path)
    tables = Tables(tmp_path / "chroma.sqlite3")
    with pytest.raises(nf.Corrupt, match="more rows than a file of its size can hold"):
        list(tables.rows("embeddings", "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT sum(i) FROM n"))
    tables.refill()
    assert next(tables.rows("embeddings", "SELECT count(*) > 9 FROM embeddings")) == (1,)
    tables.close()


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nearfield.migrate", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_command_line_copies_and_answers_in_json_and_in_words(tmp_path: Path):
    unpacked(CHROMAS[-1], tmp_path / "chroma")
    target = tmp_path / "new.nf"
    done = run("chroma", tmp_path / "chroma", target, "--collection", "graph", "--collection", "log", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    graph, log = answer["collections"]
    assert (graph["name"], graph["dimension"], graph["metric"], graph["vector_type"]) == ("graph", 6, "cosine", "f32")
    assert graph["created"] and graph["rows"] == 49 and log["rows"] == 12 and graph["rejected"] == []
    assert {"name": "document", "data_type": "utf8", "text": False} in graph["columns"]
    again = run("chroma", tmp_path / "chroma", target, "--collection", "graph")
    assert again.returncode == 1 and again.stderr.startswith("error: Chroma's interface has a collection 'graph' here")
    assert run("chroma", tmp_path / "chroma").returncode == 2
    unpacked(QDRANTS[0], tmp_path / "qdrant")
    words = run(
        "qdrant", tmp_path / "qdrant", target, "--collection", "named", "--vector", "b", "--name", "points", "--type", "f16"
    )
    assert words.returncode == 0, words.stderr
    assert words.stdout.startswith("created points: 3 dimensions, f16, dot\ncopied 20 rows, 0 replaced\n")
    with nf.open(target, "r") as db:
        assert db.collections() == ["_chroma", "graph", "log", "points"] and len(db["points"]) == 20


def test_the_command_line_lists_rows_that_it_leaves_out(tmp_path: Path):
    unpacked(CHROMAS[0], tmp_path / "chroma")
    edit(tmp_path / "chroma", "DELETE FROM embeddings_queue WHERE id = 'r2' AND length(vector) = 16")
    target = tmp_path / "new.nf"
    failed = run("chroma", tmp_path / "chroma", target, "--collection", "log")
    assert failed.returncode == 1 and "no vector of 'r2'" in failed.stderr and not target.exists()
    done = run("chroma", tmp_path / "chroma", target, "--collection", "log", "--on-bad", "skip", "--text", "document")
    assert done.returncode == 0 and "left out 1 rows:\n  r2: " in done.stdout
    with nf.open(target, "r") as db:
        assert len(db["log"].search(words="élan")) == 7
