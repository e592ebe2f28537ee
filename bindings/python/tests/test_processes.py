"""Several processes and one database."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import nearfield as nf


def python(code: str, *arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_second_writer_is_locked_out_at_once_and_told_by_whom(db: nf.Database):
    code = """
import sys, time, nearfield as nf
start = time.monotonic()
try:
    nf.open(sys.argv[1])
except OSError as error:
    assert isinstance(error, nf.Locked), error
    assert time.monotonic() - start < 5
    print(error.path, error.holder, error)
"""
    second = python(code, db.path)
    assert second.returncode == 0, second.stderr
    assert f"pid {os.getpid()}" in second.stdout
    assert str(db.path) in second.stdout
    with pytest.raises(nf.Locked):
        nf.open(db.path)


def test_the_lock_goes_with_the_process(tmp_path: Path):
    code = """
import os, sys, nearfield as nf
nf.open(sys.argv[1]).collection("docs", dim=1).upsert([1], [[1]])
os._exit(9)
"""
    assert python(code, tmp_path / "a.nf").returncode == 9
    with nf.open(tmp_path / "a.nf") as db:
        assert len(db["docs"]) == 1


def test_a_reader_beside_a_writer_sees_rows_after_refresh(db: nf.Database, docs: nf.Collection):
    code = """
import sys, nearfield as nf
docs = nf.open(sys.argv[1], mode="r")["docs"]
print(docs.count(), flush=True)
sys.stdin.readline()
before = docs.count()
changed = docs.refresh()
print(before, changed, docs.count(), docs.search([5, 5], k=1)[0].id, flush=True)
"""
    docs.flush()
    with subprocess.Popen(
        [sys.executable, "-c", code, str(db.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as reader:
        assert reader.stdout.readline() == "2\n"
        docs.upsert([3], [[5, 5]])
        docs.flush()
        answer, _ = reader.communicate("\n", timeout=60)
        assert answer == "2 True 3 3\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_after_a_fork_the_child_is_told_to_open_again(tmp_path: Path):
    # In a process of its own: this one has threads of the test runner.
    code = """
import os, sys, numpy as np, nearfield as nf
db = nf.open(sys.argv[1])
docs = db.collection("docs", dim=2)
docs.upsert(np.arange(100), np.random.default_rng(0).normal(size=(100, 2)))
docs.search_batch(np.ones((4, 2)))
child = os.fork()
if child == 0:
    for use in [
        lambda: docs.search([1, 1]),
        lambda: docs.search_batch(np.ones((4, 2))),
        lambda: docs.upsert([1], [[1, 1]]),
        lambda: docs.count(),
        lambda: db["docs"],
    ]:
        try:
            use()
        except nf.Forked as error:
            assert "open the database again in the child" in str(error)
        else:
            os._exit(1)
    reader = nf.open(sys.argv[1], mode="r")
    assert reader["docs"].count() in (0, 100)
    db.close()
    del docs, db, reader
    sys.exit(7)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 7, status
assert len(docs.search([1, 1])) == 10
docs.upsert([1000], [[1, 1]])
db.close()
print("parent goes on")
"""
    result = python(code, tmp_path / "a.nf")
    assert result.stdout == "parent goes on\n", result.stderr
    with nf.open(tmp_path / "a.nf") as db:
        assert len(db["docs"]) == 101


def test_a_program_may_end_without_closing(tmp_path: Path):
    code = """
import sys, threading, nearfield as nf
db = nf.open(sys.argv[1])
docs = db.collection("docs", dim=1)
docs.upsert([1, 2], [[1], [2]], {"title": ["a", "b"]})
hits = docs.search([1])
"""
    start = time.monotonic()
    result = python(code, tmp_path / "a.nf")
    assert (result.returncode, result.stderr) == (0, "")
    assert time.monotonic() - start < 30
    with nf.open(tmp_path / "a.nf") as db:
        assert len(db["docs"]) == 2


def test_importing_brings_in_nothing_but_itself():
    code = """
import sys
before = set(sys.modules)
import nearfield
print(*{name.partition(".")[0] for name in set(sys.modules) - before})
"""
    loaded = set(python(code).stdout.split())
    assert "nearfield" in loaded
    assert not loaded & {"pyarrow", "pandas", "polars", "torch"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_that_closes_what_it_inherited_takes_nothing_from_its_parent(tmp_path: Path):
    code = """
import os, sys, threading, numpy as np, nearfield as nf
db = nf.open(sys.argv[1], durability="none", graph_bytes=0)
docs = db.collection("docs", dim=64)
docs.upsert(np.arange(5000), np.random.default_rng(0).normal(size=(5000, 64)))
docs.flush()
docs.upsert(np.arange(5000, 5020), np.ones((20, 64)))
merge = threading.Thread(target=docs.compact)
merge.start()
for _ in range(5):
    child = os.fork()
    if child == 0:
        docs.close()
        db.close()
        os._exit(7)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 7, status
merge.join()
docs.upsert([9000], np.ones((1, 64)))
docs.flush()
db.close()
with nf.open(sys.argv[1]) as db:
    assert db["docs"].count() == 5021
"""
    ran = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.nf")], timeout=120)
    assert ran.returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="open files cannot be removed there")
def test_a_directory_that_was_removed_is_an_error_and_no_crash(tmp_path: Path):
    db = nf.open(tmp_path / "gone.nf")
    docs = db.create("docs", dim=2, metric="l2")
    docs.upsert([1, 2], [[0, 0], [3, 4]])
    shutil.rmtree(tmp_path / "gone.nf")
    assert docs.search([3, 4], k=1).ids.tolist() == [2]

    def create() -> None:
        db.create("more", dim=2)

    for attempt in [create, lambda: db.backup(tmp_path / "copy"), docs.compact, docs.stats]:
        with pytest.raises(nf.IoError, match="gone.nf"):
            attempt()
    assert "gone.nf" in docs.verify()["problems"][0]
    with pytest.raises(nf.IoError, match="removed while it was open"):
        db.close()
    with pytest.raises(nf.NotFound):
        nf.open(tmp_path / "gone.nf", mode="r")
    with nf.open(tmp_path / "gone.nf") as fresh:
        assert fresh.collections() == []
