"""Handles: what they lead to, how they are pickled, and what happens when their files are removed."""

import asyncio
import concurrent.futures
import copy
import datetime
import logging
import multiprocessing
import pickle
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

import nearfield as nf
import nearfield.aio

no_removal = pytest.mark.skipif(sys.platform == "win32", reason="open files cannot be removed there")


def letters(texts: list[str]) -> list[list[int]]:
    return [[text.count("a"), text.count("b")] for text in texts]


def test_a_collection_leads_to_its_database(db: nf.Database, docs: nf.Collection, tmp_path: Path):
    assert docs.database is db is db["docs"].database is db.create("more", dim=1).database
    np.save(tmp_path / "a.npy", np.eye(2, dtype=np.float32))
    rows = nf.from_npy(tmp_path / "a.npy", tmp_path / "a.nf")
    assert rows.database.path == tmp_path / "a.nf"
    rows.database.close()
    with pytest.raises(nf.Closed):
        rows.count()


def test_a_database_made_for_a_file_that_fails_is_removed_again(tmp_path: Path):
    (tmp_path / "bad.jsonl").write_text('{"id": 1, "v": [1, 2]}\n{"id": 2, "v": [1]}')
    with pytest.raises(nf.InvalidArgument, match="row 1"):
        nf.from_jsonl(tmp_path / "bad.jsonl", tmp_path / "new.nf")
    assert not (tmp_path / "new.nf").exists()
    with nf.open(tmp_path / "old.nf") as old:
        old.create("other", dim=2)
    with pytest.raises(nf.InvalidArgument, match="row 1"):
        nf.from_jsonl(tmp_path / "bad.jsonl", tmp_path / "old.nf")
    with nf.open(tmp_path / "old.nf") as old:
        assert old.collections() == ["other"]


def test_columns_of_an_import_that_fails_are_not_added(docs: nf.Collection, tmp_path: Path):
    (tmp_path / "bad.jsonl").write_text('{"id": 1, "v": [1, 2], "new": 1}\n{"id": 2, "v": [1]}')
    with pytest.raises(nf.InvalidArgument, match="row 1"):
        docs.database.import_file("docs", tmp_path / "bad.jsonl", metric="l2")

    def broken():
        yield [7], [[1, 1]], {"new": [1]}
        raise LookupError("no more")

    with pytest.raises(LookupError):
        docs.import_batches(broken())
    assert docs.schema["columns"] == {"title": "utf8"}


def test_handles_with_embedders_are_pickled_by_path_and_embedders_not_at_all(db: nf.Database):
    embed = nf.Embedder(letters, "letters", 2)
    notes = db.collection("notes", metric="l2", embed=embed)
    notes.add_texts(["aaa", "bb"])
    for refused in (embed, [embed]):
        with pytest.raises(TypeError, match=r"Embedder\('letters'\) is not pickled.*embed="):
            pickle.dumps(refused)
    with pytest.raises(TypeError, match="not pickled"):
        copy.copy(embed)
    again = pickle.loads(pickle.dumps(notes))
    assert again.search([3, 0], k=1)[0]["text"] == "aaa" and again.database.read_only
    with pytest.raises(nf.InvalidArgument, match='model "letters"'):
        again.search(text="aaa")
    opened = again.database.collection("notes", embed=embed)
    assert opened.search(text="b", k=1)[0]["text"] == "bb"
    awaited = pickle.loads(pickle.dumps(nearfield.aio.Collection(notes)))
    assert asyncio.run(awaited.count()) == 2


def test_what_belongs_to_a_moment_is_not_pickled(docs: nf.Collection):
    for value in [docs.snapshot(), docs.scan(), docs.explain([0, 0])]:
        with pytest.raises(TypeError, match="pickle"):
            pickle.dumps(value)


@pytest.fixture
def everything(db: nf.Database) -> nf.Collection:
    """Rows with a column of every type, nulls among them."""
    rows = db.create("everything", dim=2, metric="l2", dtype="f16", id_type=str, text="body", columns={"none": int})
    when = datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc)
    data = {
        "body": ["über den Fluss", None, "am Fluss"], "n": [2**60, None, -1], "x": [0.1, float("nan"), None],
        "ok": [True, None, False], "when": [when, None, when], "tags": [["a", "ß"], [], None],
        "words": [{3: 0.5, 9: 1.0}, None, {}],
    }  # fmt: skip
    rows.upsert(["ä", "b", "c"], [[0, 0], [1, 0], [3, 4]], data)
    return rows


def same(value, again) -> bool:
    """Whether two answers say the same, NaN included."""
    return type(value) is type(again) and repr(value) == repr(again)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_answers_are_pickled_with_all_that_they_hold(everything: nf.Collection, protocol):
    through = lambda value: pickle.loads(pickle.dumps(value, protocol))
    asked = {"words": "Fluss", "sparse": {"words": {9: 1.0}}, "highlight": True, "vectors": True}
    for hits in [
        everything.search([0, 0], **asked),
        everything.search([0, 0], vectors=True),
        everything.search([0, 0], select=[]),
        everything.search([0, 0], select=["body"], max_distance=-1),
        everything.search(words="Fluss"),
    ]:
        again = through(hits)
        assert same(hits, again) and same(hits.to_dicts(), again.to_dicts())
        for name in ("ids", "distances", "scores", "vectors"):
            assert same(getattr(hits, name), getattr(again, name)), name
        assert hits.highlights() == again.highlights()
        for hit, other in zip(hits, through(list(hits)), strict=True):
            assert same(hit, other) and same(hit.to_dict(), other.to_dict())
            assert (hit.ranks, hit.snippets) == (other.ranks, other.snippets)
        assert same(copy.deepcopy(again), hits)
    batch = everything.search_batch([[0, 0], [3, 4]], k=4, select=None)
    again = through(batch)
    assert same(batch, again) and same(batch[1], again[1])
    for name in ("ids", "distances", "scores", "counts"):
        assert same(getattr(batch, name), getattr(again, name)), name
    for records in [everything.get(["c", "ä"], vectors=True), everything.get(["b"], select=[]), everything.get([])]:
        again = through(records)
        assert same(records, again) and same(records.to_dicts(), again.to_dicts())
        assert same(records.ids, again.ids) and same(records.vectors, again.vectors)
    assert same(through(nf.col("n")) > 1, nf.col("n") > 1)


def test_a_pickled_hit_leaves_the_others_behind(db: nf.Database):
    rows = db.create("rows", dim=1)
    rows.upsert(range(100), [[1]] * 100, {"text": ["x" * 1_000] * 100})
    hits = rows.search([1], k=100)
    assert len(pickle.dumps(hits[0])) < 3_000 < 100_000 < len(pickle.dumps(hits))
    assert pickle.loads(pickle.dumps(hits[99])).to_dict() == hits[99].to_dict()


def test_answers_come_back_from_other_processes(docs: nf.Collection):
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        hits = pool.submit(docs.search, [3, 4], k=1).result()
        found = pool.submit(docs.search_batch, [[3, 4], [0, 0]], k=1).result()
    assert hits[0].to_dict() == {"id": 2, "distance": 0, "score": 0, "title": "far"}
    assert found.ids.tolist() == [[2], [1]]


def test_texts_are_searched_in_batches_and_explained(db: nf.Database):
    notes = db.collection("notes", metric="l2", embed=nf.Embedder(letters, "letters", 2))
    notes.add_texts(["aaa", "bb", "ab"])
    ids, distances = notes.search_batch(texts=["aaa", "bb"], k=1)
    assert (ids.tolist(), distances.tolist()) == ([[1], [2]], [[0.0], [0.0]])
    assert notes.search_batch(texts=[], k=1).ids.shape == (0, 1)
    assert notes.search_batch(texts="ab", k=1).ids.tolist() == [[3]]
    many = notes.search_batch(texts=["ab"] * 100, k=1, select=["text"])
    assert many.ids.tolist() == [[3]] * 100 and many[99][0]["text"] == "ab"
    assert notes.explain(text="bb", k=1).hits.ids.tolist() == [2]
    assert notes.snapshot().explain([0, 2], k=1, where="id < 3").hits.ids.tolist() == [2]
    for call in [notes.search_batch, notes.explain]:
        with pytest.raises(TypeError, match="given neither"):
            call()
    with pytest.raises(TypeError, match="given both"):
        notes.search_batch([[1, 1]], texts=["a"])
    with pytest.raises(TypeError, match="given both"):
        notes.explain([1, 1], text="a")
    with pytest.raises(TypeError, match="texts"):
        notes.search_batch(texts=[1])
    plain = db.create("plain", dim=2)
    for call in [lambda: plain.search_batch(texts=["a"]), lambda: plain.explain(text="a")]:
        with pytest.raises(nf.InvalidArgument, match="without an embedder"):
            call()


def test_the_same_is_awaited(tmp_path: Path):
    async def main() -> None:
        async with await nearfield.aio.open(tmp_path / "a.nf") as db:
            notes = await db.collection("notes", metric="l2", embed=nf.Embedder(letters, "letters", 2))
            await notes.add_texts(["aaa", "bb"])
            assert (await notes.search_batch(texts=["b"], k=1)).ids.tolist() == [[2]]
            assert (await notes.explain(text="b", k=1)).hits.ids.tolist() == [2]
            snapshot = await notes.snapshot()
            assert (await snapshot.explain([3, 0], k=1)).hits.ids.tolist() == [1]
            assert [r.ids.tolist() async for r in snapshot.scan()] == [[1, 2]]
            assert await snapshot.count() == 2 and await snapshot.contains(1)
            assert (await snapshot.search([0, 2], k=1)).ids.tolist() == [2]
            assert notes.database.sync is db.sync
            steps: list[nf.Progress] = []
            assert (await notes.verify(progress=steps.append))["problems"] == []
            await db.backup(tmp_path / "b.nf", progress=steps.append)
            await nearfield.aio.restore(tmp_path / "b.nf", tmp_path / "c.nf", progress=steps.append)
            assert [step.phase for step in steps].count("done") == 3
        async with await nearfield.aio.open(tmp_path / "c.nf", "r") as copied:
            assert await (await copied.open_collection("notes")).count() == 2

    asyncio.run(main())


@no_removal
@pytest.mark.parametrize("durability", ["sync", "buffered", "none"])
def test_writes_to_a_removed_directory_are_errors_and_closing_tells_of_it_once(tmp_path: Path, durability):
    db = nf.open(tmp_path / "gone.nf", durability=durability)
    docs = db.create("docs", dim=2, metric="l2")
    docs.upsert([1], [[0, 0]])
    docs.flush()
    shutil.rmtree(tmp_path / "gone.nf")
    with pytest.raises(nf.IoError, match="gone.nf.*removed while it was open.*lost"):
        docs.upsert([2], [[1, 1]])
    for again in [lambda: docs.add([3], [[1, 1]]), lambda: docs.delete([1]), docs.flush]:
        with pytest.raises(nf.Poisoned, match="removed while it was open"):
            again()
    assert docs.search([0, 0], k=5).ids.tolist() == [1]
    with pytest.raises(nf.IoError, match="removed while it was open"):
        db.close()
    db.close()
    with pytest.raises(nf.Closed):
        docs.upsert([2], [[1, 1]])


@no_removal
def test_a_with_block_tells_of_a_removed_directory_and_hides_no_exception(tmp_path: Path, caplog):
    def remove_inside(error: type[Exception] | None) -> None:
        with nf.open(tmp_path / "gone.nf") as db:
            db.create("docs", dim=2).upsert([1], [[0, 1]])
            shutil.rmtree(tmp_path / "gone.nf")
            if error is not None:
                raise error("of the block")

    with pytest.raises(nf.IoError, match="removed while it was open"):
        remove_inside(None)
    with caplog.at_level(logging.WARNING, logger="nearfield"), pytest.raises(LookupError, match="of the block"):
        remove_inside(LookupError)
    assert "removed while it was open" in caplog.text


def test_long_checks_and_copies_tell_bytes_and_end_when_they_are_told_to(db: nf.Database, tmp_path: Path):
    docs = db.create("many", dim=64)
    docs.upsert(np.arange(40_000), np.random.default_rng(0).normal(size=(40_000, 64)), {"n": np.arange(40_000)})
    docs.compact()
    nothing = object()

    def calls(progress):
        return [
            lambda: docs.verify(progress=progress),
            lambda: db.backup(tmp_path / "copy", progress=progress),
            lambda: nf.restore(tmp_path / "whole", tmp_path / "copy", progress=progress),
        ]

    db.backup(tmp_path / "whole")
    for call in calls(nothing):
        with pytest.raises(TypeError, match="progress"):
            call()

    def refuse(step: nf.Progress) -> None:
        raise RuntimeError(f"no {step.phase}")

    for call, phase in zip(calls(refuse), ["verifying", "copying", "copying"]):
        with pytest.raises(RuntimeError, match=f"no {phase}"):
            call()
        assert not (tmp_path / "copy").exists()
    steps: list[nf.Progress] = []
    for call in calls(steps.append):
        steps.clear()
        call()
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        done = [step.rows for step in steps]
        assert done == sorted(done) and steps[-1].phase == "done"
        assert steps[-1].rows == steps[-1].total > 10_000_000
    # Bars are drawn too, in bytes.
    assert docs.verify(progress=True)["problems"] == []
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["test.nf", "whole"], "nothing unfinished is left"
