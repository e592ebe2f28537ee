"""The stubs as type checkers see them: mypy's stubtest, mypy and pyright, each where it is installed."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = '''
import numpy as np
import nearfield as nf
import nearfield.aio
import nearfield.compat.chroma as chromadb
import nearfield.compat.hnswlib as hnswlib
from nearfield import migrate
from nearfield.compat import faiss

with nf.open("my.nf", "r") as db:
    docs: nf.Collection = db.collection("docs", dim=3, metric="cosine", text="body")
    count: int = docs.upsert([1, 2], np.ones((2, 3)), {"title": ["a", None]}, progress=True)
    docs.upsert("a", [1.0, 2.0, 3.0], [{"x": 1}], progress=lambda step: print(step.rows))
    hits: nf.Hits = docs.search([1.0, 2.0, 3.0], k=3, select=["title"])
    first: nf.Hit = hits[0]
    ids, distances = docs.search_batch(np.ones((2, 3)), k=2)
    docs.search_batch(texts=["a", "b"], k=2).counts.sum()
    docs.explain(text="a", k=2).parts[0]["plan"].upper()
    docs.database.backup("copy.nf", progress=True)
    snapshot: nf.Snapshot = docs.snapshot()
    snapshot.explain([1.0, 2.0, 3.0]).hits.ids.sum()
    snapshot.search(text="a", k=2, offset=2).ids.sum()
    snapshot.search_batch(texts=["a", "b"], k=2).counts.sum()
    for records in snapshot.scan():
        records.to_dicts()
    report: dict[str, object] = db.import_file("docs", "x.parquet", id=False, on_bad="skip")

index = nf.Index(3, "l2", np.float16)
index.ef = 30
index.add(np.ones((1, 3)), [7])
near, far = index.search([1, 2, 3])
near.sum() + far.sum()

p = hnswlib.Index(space="l2", dim=3)
p.init_index(max_elements=9, M=16)
p.add_items(np.ones((2, 3)), [1, 2])
labels, squares = p.knn_query(np.ones(3), k=2, filter=lambda label: label > 1)
labels.tolist(), squares.sum(), p.ef

graph = faiss.IndexIDMap2(faiss.IndexHNSWFlat(3, 16))
graph.add_with_ids(np.ones((2, 3)), np.arange(2))
D, I = graph.search(np.ones((1, 3)), 2, params=faiss.SearchParametersHNSW(efSearch=9, sel=faiss.IDSelectorRange(0, 1)))
faiss.write_index(graph, "graph.faiss")
total: int = faiss.read_index("graph.faiss").ntotal + D.sum() + I.sum()

client = chromadb.PersistentClient("my.nf", chromadb.Settings(allow_reset=True))
shelf: chromadb.Collection = client.get_or_create_collection("shelf", embedding_function=lambda texts: np.ones((len(texts), 3)))
shelf.add(ids=["a"], documents=["text"], metadatas=[{"n": 1}])
answer: chromadb.QueryResult = shelf.query(query_texts=["text"], where={"n": {"$gte": 1}})
first_id: str = answer["ids"][0][0]

moved: list[migrate.Migrated] = migrate.from_chroma("chroma", "my.nf", collection=["a", "b"], text="document", progress=True)
points: int = migrate.from_qdrant(object(), nf.open("my.nf"), "docs", vector="a", metric="l2")["rows"]
notes: list[str] = migrate.from_lancedb("lance", "my.nf", "docs", id=False, on_bad="skip")["notes"]
migrate.from_hdf5("x.hdf5", "my.nf", dtype="f16", progress=lambda step: print(step.rows))


async def main() -> None:
    await (await nearfield.aio.open("my.nf")).close()
    async with nearfield.aio.open("my.nf") as db:
        found: nf.Hits = await (await db.collection("docs")).search([1, 2, 3])
        print(found)
'''
WRONG = '''
import nearfield as nf
import nearfield.compat.chroma as chromadb
import nearfield.compat.hnswlib as hnswlib
from nearfield.compat import faiss

nf.open("my.nf", "x")
nf.Index(3, "euclid")
nf.Index("3")
nf.open("my.nf")["docs"].search([1.0], k="3")
hnswlib.Index(space="l2")
faiss.IndexFlatL2(3).search([[1]], k="3")
chromadb.PersistentClient("my.nf").get_collection(3)
'''


def run(*command: str) -> subprocess.CompletedProcess[str]:
    env = dict(os.environ, NO_COLOR="1")
    return subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, timeout=600, env=env, check=False
    )


def need(module: str) -> None:
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")


def test_stubtest_finds_the_stubs_and_the_module_alike(tmp_path: Path):
    need("mypy")
    allowed = tmp_path / "allowed"
    # Not there when the program runs.
    allowed.write_text("nearfield._nearfield._.*\n")
    done = run(
        "mypy.stubtest", "nearfield._nearfield", "--allowlist", str(allowed), "--ignore-unused-allowlist",
        "--ignore-positional-only",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What mypy keeps of one run for the next."""
    return str(tmp_path_factory.mktemp("cache"))


def test_mypy_takes_a_right_program_and_refuses_a_wrong_one(tmp_path: Path, cache: str):
    need("mypy")
    (tmp_path / "right.py").write_text(PROGRAM)
    (tmp_path / "wrong.py").write_text(WRONG)
    right = run("mypy", "--strict", "--cache-dir", cache, str(tmp_path / "right.py"))
    assert right.returncode == 0, right.stdout
    wrong = run("mypy", "--cache-dir", cache, str(tmp_path / "wrong.py"))
    assert wrong.stdout.count("error:") == 7, wrong.stdout


def test_mypy_takes_the_migrations(cache: str):
    need("mypy")
    done = run("mypy", "--strict", "--cache-dir", cache, "-p", "nearfield.migrate", "-p", "nearfield.compat.chroma")
    assert done.returncode == 0, done.stdout


def test_mypy_takes_the_adapters_for_frameworks(cache: str):
    need("mypy")
    frameworks = {"langchain": "langchain_core", "llama_index": "llama_index", "haystack": "haystack"}
    there = [name for name, module in frameworks.items() if importlib.util.find_spec(module)]
    if not there:
        pytest.skip("none of the frameworks is installed")
    modules = [argument for name in there for argument in ("-m", f"nearfield.integrations.{name}")]
    done = run("mypy", "--strict", "--cache-dir", cache, *modules)
    assert done.returncode == 0, done.stdout


def test_pyright_takes_a_right_program_and_refuses_a_wrong_one(tmp_path: Path):
    need("basedpyright")
    (tmp_path / "right.py").write_text(PROGRAM)
    (tmp_path / "wrong.py").write_text(WRONG)
    right = run("basedpyright", "--level", "error", "--pythonpath", sys.executable, str(tmp_path / "right.py"))
    assert right.returncode == 0, right.stdout + right.stderr
    wrong = run("basedpyright", "--level", "error", "--pythonpath", sys.executable, str(tmp_path / "wrong.py"))
    assert "\n7 errors" in wrong.stdout, wrong.stdout + wrong.stderr
