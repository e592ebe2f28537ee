"""Ctrl-C, progress, pickles, asyncio, logging, snapshots."""

import asyncio
import io
import logging
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import nearfield as nf
import nearfield.aio
from nearfield._progress import Bar, Progress, line


def many(rows: int = 60_000, dim: int = 128) -> np.ndarray:
    return np.random.default_rng(3).normal(size=(rows, dim)).astype(np.float32)


def interrupt_after(seconds: float) -> threading.Timer:
    timer = threading.Timer(seconds, signal.raise_signal, [signal.SIGINT])
    timer.start()
    return timer


def test_ctrl_c_ends_a_build_and_the_index_stays_whole():
    vectors = many(40_000)
    index = nf.Index(128, "l2", ef_construction=400)
    index.add(vectors)
    timer = interrupt_after(0.3)
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        index.build()
    assert time.monotonic() - start < 20
    timer.join()
    assert index.search(vectors[9], k=1, exact=True)[0].tolist() == [9]


def test_ctrl_c_ends_a_batch_of_searches(db: nf.Database):
    docs = db.create("many", dim=128)
    vectors = many(20_000)
    docs.upsert(np.arange(20_000), vectors)
    timer = interrupt_after(0.3)
    with pytest.raises(KeyboardInterrupt):
        for _ in range(1000):
            docs.search_batch(vectors, k=10, exact=True)
    timer.join()
    assert docs.search(vectors[7], k=1, select=[]).ids.tolist() == [7]


def test_progress_of_an_upsert_is_told_and_what_it_raises_stores_nothing(db: nf.Database):
    docs = db.create("told", dim=2)
    steps: list[Progress] = []
    vectors = np.ones((500, 2), dtype=np.float32)
    assert docs.upsert(np.arange(500), vectors, progress=steps.append) == 500
    assert steps[0] == ("writing", 0, 500) and steps[-1] == Progress("done", 500, 500)

    def refuse(step: Progress) -> None:
        raise RuntimeError(f"no {step.phase}")

    with pytest.raises(RuntimeError, match="no writing"):
        docs.upsert(np.arange(500, 600), vectors[:100], progress=refuse)
    assert len(docs) == 500
    assert docs.upsert([1000], [[1, 1]], progress=True) == 1
    with pytest.raises(TypeError, match="progress"):
        docs.upsert([1], [[1, 1]], progress=3)


def test_progress_of_an_import_can_end_it(db: nf.Database, tmp_path: Path):
    np.save(tmp_path / "many.npy", many(30_000, 16))
    seen: list[Progress] = []

    def stop(step: Progress) -> None:
        seen.append(step)
        if step.rows >= 10_000:
            raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        db.import_file("many", tmp_path / "many.npy", progress=stop)
    assert "many" not in db and seen[0].total == 30_000
    seen.clear()
    report = db.import_file("many", tmp_path / "many.npy", metric="l2", progress=seen.append)
    assert report == {"rows": 30_000, "replaced": 0, "rejected_rows": 0, "rejected": []}
    phases = [step.phase for step in seen]
    assert phases[0] == "reading" and phases[-2:] == ["committing", "done"]
    assert len(db["many"]) == 30_000 and db["many"].verify()["problems"] == []


def test_the_bar_says_how_far_it_is():
    assert "25 %" in line(Progress("reading", 250, 1000), 10.0)
    assert "30 s left" in line(Progress("reading", 250, 1000), 10.0)
    assert "2,000 rows" in line(Progress("reading", 2000, None), 1.0)

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    bar = Bar(out)
    for rows in range(0, 1001, 10):
        bar(Progress("reading", rows, 1000))
    bar(Progress("done", 1000, 1000))
    assert out.getvalue().count("\r") <= 3 and out.getvalue().endswith("\n")
    silent = io.StringIO()
    Bar(silent)(Progress("done", 1, 1))
    assert silent.getvalue() == ""


def ids_of(docs: nf.Collection, query: list[float]) -> list[int]:
    return docs.search(query, k=1).ids.tolist()


def test_pickled_handles_open_the_database_again_for_reading(db: nf.Database, docs: nf.Collection):
    reader = pickle.loads(pickle.dumps(db))
    assert reader.read_only and reader.collections() == ["docs"]
    again = pickle.loads(pickle.dumps(docs))
    assert again.get(2).to_dicts() == [{"id": 2, "title": "far"}]
    with pytest.raises(nf.ReadOnly):
        again.upsert([3], [[1, 1]])
    with pytest.raises((nf.Error, OSError)):
        pickle.loads(pickle.dumps(db).replace(b"test.nf", b"none.nf"))


def test_processes_search_by_handles_that_were_sent_to_them(docs: nf.Collection):
    docs.flush()
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        found = pool.starmap(ids_of, [(docs, [0.0, 0.0]), (docs, [3.0, 4.0])] * 3)
    assert found == [[1], [2]] * 3


def test_a_snapshot_stays_as_it_was(docs: nf.Collection):
    before = docs.snapshot()
    docs.upsert([1, 9], [[5, 5], [0, 0]], {"title": ["moved", "new"]})
    docs.add_columns({"year": int})
    assert (len(before), len(docs)) == (2, 3) and 9 not in before and before.contains(1)
    assert before.search([0, 0], k=1)[0]["title"] == "near"
    assert before.search_batch([[0, 0]], k=5).ids.tolist()[0][:2] == [1, 2]
    assert before.get([1, 9], vectors=True).vectors.tolist() == [[0.0, 0.0]]
    assert [r.ids.tolist() for r in before.scan(batch_size=1, after=1)] == [[2]]
    assert docs.snapshot().seq > before.seq


def test_an_explanation_says_what_was_compared(docs: nf.Collection):
    explained = docs.explain([0, 1], k=1, select=["title"])
    (part,) = explained.parts
    assert part["segment"] is None and part["rows"] == part["rows_compared"] == 2
    assert explained.hits[0]["title"] == "near"
    assert min(explained.prepare_seconds, explained.search_seconds, explained.read_seconds) >= 0
    assert "memory by vector: scan, 2 rows" in repr(explained)
    assert explained._repr_html_().count("<tr>") == 2
    with pytest.raises(nf.DimensionMismatch):
        docs.explain([0, 1, 2])


def test_columns_are_added_by_name_and_type(docs: nf.Collection):
    assert docs.add_columns({"year": int, "tags": list[str], "title": str}) == 2
    assert docs.schema["columns"] == {"title": "utf8", "year": "int64", "tags": "list_utf8"}
    with pytest.raises(nf.SchemaMismatch, match="year"):
        docs.add_columns({"year": str})
    with pytest.raises(TypeError):
        docs.add_columns(["year"])


def test_asyncio_searches_and_closes(tmp_path: Path):
    async def main() -> list[int]:
        async with nearfield.aio.open(tmp_path / "a.nf") as db:
            docs = await db.collection("docs", dim=2, metric="l2")
            await docs.upsert([1, 2, 3], [[0, 0], [3, 4], [9, 9]], {"n": [1, 2, 3]})
            many = await asyncio.gather(*(docs.search([n, n], k=1) for n in (0, 4, 9)))
            scanned = [r.ids.tolist() async for r in docs.scan(batch_size=2)]
            assert scanned == [[1, 2], [3]] and await docs.count() == 3
            with pytest.raises(nf.DimensionMismatch):
                await docs.search([1])
        with pytest.raises(nf.Closed):
            await docs.count()
        with pytest.raises(nf.NotFound):
            async with nearfield.aio.open(tmp_path / "none.nf", "r"):
                pass
        db = await nearfield.aio.open(tmp_path / "a.nf", "r")
        assert [repr(db)[:12], repr(await db.open_collection("docs"))[:22]] == ["aio.Database", "aio.Collection('docs',"]
        await db.close()
        index = nearfield.aio.Index(nf.Index(2))
        await index.add([[1, 0]])
        assert (await index.search([1, 0]))[0].tolist() == [0]
        return [hits[0].id for hits in many]

    assert asyncio.run(main()) == [1, 2, 3]


def test_every_method_has_its_awaited_form():
    for name in ["Database", "Collection", "Snapshot"]:
        here = {n for n in vars(getattr(nf, name)) if not n.startswith("_")} - {
            "path", "read_only", "name", "dim", "schema", "model", "seq",
        }  # fmt: skip
        assert here <= set(vars(getattr(nearfield.aio, name))), name


def test_long_calls_are_told_to_logging(tmp_path: Path, caplog):
    with caplog.at_level(logging.INFO, logger="nearfield"):
        with nf.open(tmp_path / "logged.nf") as db:
            db.create("docs", dim=2).compact()
        with pytest.raises(nf.NotFound):
            nf.open(tmp_path / "none.nf", mode="r")
    text = caplog.text
    for word in ["opening", "logged.nf", "compacting", "closing", "failed"]:
        assert word in text


def test_a_file_is_one_line_away(tmp_path: Path, docs: nf.Collection):
    for name in ["a.parquet", "a.arrow", "a.arrows", "a.jsonl"]:
        assert docs.export_file(tmp_path / name, select=["title"]) == 2
        copied = nf.from_file(tmp_path / name, tmp_path / f"{name}.nf", metric="l2", name="rows")
        assert copied.get([1, 2]).to_dicts() == [
            {"id": 1, "title": "near"},
            {"id": 2, "title": "far"},
        ]
        assert copied.schema["metric"] == "l2"
        plain = copied.database
        plain.import_file("plain", tmp_path / name)
        # JSON lines have no place to say it.
        assert plain["plain"].schema["metric"] == ("cosine" if name == "a.jsonl" else "l2")
    bits = docs.database.create("bits", dim=12, metric="jaccard")
    bits.upsert([1], np.array([[0xF0, 0x10]], np.uint8))
    bits.export_file(tmp_path / "bits.parquet")
    copied = nf.from_parquet(tmp_path / "bits.parquet", tmp_path / "bits.nf")
    assert (copied.schema["dim"], copied.schema["metric"], copied.schema["dtype"]) == (12, "jaccard", "b1")
    assert nf.from_parquet(tmp_path / "a.parquet", tmp_path / "dot.nf", metric="dot").schema["metric"] == "dot"
    with pytest.raises(nf.InvalidArgument, match="extension"):
        docs.export_file(tmp_path / "a.txt")
    with pytest.raises(nf.NotFound):
        docs.export_file(tmp_path / "b.jsonl", select=["titel"])
    with pytest.raises(ValueError, match="format"):
        docs.export_file(tmp_path / "b", format="csv")
    assert not (tmp_path / "b.jsonl").exists()


def test_an_import_says_what_is_wrong_with_it(db: nf.Database, tmp_path: Path):
    lines = ['{"id": 1, "v": [1, 2]}', '{"id": 2, "v": [1]}', '{"id": 3, "v": [3, 4]}']
    (tmp_path / "bad.jsonl").write_text("\n".join(lines))
    with pytest.raises(nf.InvalidArgument, match="row 1"):
        db.import_file("bad", tmp_path / "bad.jsonl")
    assert "bad" not in db
    report = db.import_file("bad", tmp_path / "bad.jsonl", on_bad="skip")
    assert (report["rows"], report["rejected_rows"], report["rejected"][0][0]) == (2, 1, 1)
    with pytest.raises(nf.SchemaMismatch, match="metric"):
        db.import_file("bad", tmp_path / "bad.jsonl", on_bad="skip", metric="l2")
    for wrong in [{"on_bad": "ignore"}, {"format": "csv"}, {"vector": 3}, {"nothing": 1}]:
        with pytest.raises((ValueError, TypeError)):
            db.import_file("bad", tmp_path / "bad.jsonl", **wrong)
    assert db.import_file("bad", tmp_path / "bad.jsonl", on_bad="skip", id=False)["rows"] == 2
    with pytest.raises((nf.Error, OSError)):
        db.import_file("none", tmp_path / "none.jsonl")
    (tmp_path / "text.txt").write_text("no vectors here")
    with pytest.raises(nf.InvalidArgument):
        db.import_file("none", tmp_path / "text.txt")


def test_importing_the_package_loads_nothing_but_numpy():
    code = "import sys, numpy; a = set(sys.modules); import nearfield; print(*set(sys.modules) - a)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in out.stdout.split()}
    assert loaded.isdisjoint({"pandas", "pyarrow", "polars", "asyncio", "multiprocessing", "torch"})


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_batch_search_after_fork_says_so(db: nf.Database):
    docs = db.create("forked", dim=2)
    vectors = np.ones((200, 2), dtype=np.float32)
    docs.upsert(np.arange(200), vectors)
    docs.search_batch(vectors)
    child = os.fork()
    if child == 0:
        try:
            docs.search_batch(vectors)
        except nf.Forked:
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_batches_are_stored_while_they_are_made(docs: nf.Collection):
    def batches(last: int):
        for n in range(0, last, 10):
            ids = np.arange(n, n + 10)
            yield ids, np.repeat(ids[:, None], 2, axis=1), {"title": ids.astype(str), "n": ids}

    steps: list[Progress] = []
    assert docs.import_batches(batches(1000), progress=steps.append) == 1000
    assert docs.get(77).to_dicts() == [{"id": 77, "title": "77", "n": 77}]
    assert steps[-1] == ("done", 1000, 1000) and len(docs) == 1000

    def broken():
        yield [5000], [[1, 1]]
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        docs.import_batches(broken())
    for wrong, error in [
        ([([1], [[1, 1]], {"new": [1]}), ([2], [[1, 1]], {"later": [1]})], nf.NotFound),
        ([([1], [[1, 1]]), ([2], [[1, 1, 1]])], nf.DimensionMismatch),
        ([([1], [[1, 1]]), (["a"], [[1, 1]])], nf.SchemaMismatch),
        ([([1], [[1, 1]]), ([2, 3], [[1, 1]])], ValueError),
        ([([1], [[1, 1]]), ([2], [[1, float("inf")]])], ValueError),
        ([[1]], TypeError),
        ([(1,)], ValueError),
        (5, TypeError),
    ]:
        with pytest.raises(error):
            docs.import_batches(wrong)
    assert len(docs) == 1000 and 5000 not in docs and docs.import_batches([]) == 0
    assert docs.verify()["problems"] == []
