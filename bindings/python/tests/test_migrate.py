"""Migrations from directories that the other libraries made, kept under data/ by remake.py, and by them where they are
installed."""

import importlib.util
import json
import os
import pickle
import sqlite3
import subprocess
import sys
import uuid
import zipfile
from pathlib import Path

import numpy as np
import pytest

import nearfield as nf
import nearfield.compat.chroma as chromadb
from nearfield import migrate

DATA = Path(__file__).parent / "data"
CHROMAS = sorted(DATA.glob("chroma-*.zip"))
QDRANTS = sorted(DATA.glob("qdrant-*.zip"))


def unpacked(archive: Path, folder: Path) -> dict:
    """Unpacks a directory; what its library says of it."""
    with zipfile.ZipFile(archive) as file:
        file.extractall(folder)
    return json.loads((folder / "says.json").read_text())


@pytest.fixture(params=CHROMAS, ids=lambda path: path.stem)
def chroma(request, tmp_path: Path) -> tuple[Path, dict]:
    return tmp_path / "chroma", unpacked(request.param, tmp_path / "chroma")


@pytest.fixture
def log(tmp_path: Path) -> tuple[Path, dict]:
    """The oldest one."""
    return tmp_path / "chroma", unpacked(CHROMAS[0], tmp_path / "chroma")


def same_as_chroma(path: Path, said: dict) -> None:
    """What our layer reads of the database at `path` is what Chroma read of the source."""
    with chromadb.PersistentClient(path) as client:
        for name, expected in said.items():
            docs = client.get_collection(name)
            assert docs.metadata == expected["metadata"]
            got = docs.get(include=["embeddings", "documents", "metadatas", "uris"])
            rows = expected["rows"]
            assert got["ids"] == rows["ids"] and len(rows["ids"]) > 1
            assert got["documents"] == rows["documents"]
            assert got["metadatas"] == rows["metadatas"]
            assert got["uris"] == rows["uris"]
            # Those of the graph under "cosine" are made of a direction and a length.
            np.testing.assert_allclose(got["embeddings"], rows["embeddings"], rtol=1e-6, atol=1e-7)
            found = docs.query(query_embeddings=expected["queries"], n_results=8)
            assert found["ids"] == expected["answers"]["ids"]
            np.testing.assert_allclose(found["distances"], expected["answers"]["distances"], rtol=1e-4, atol=1e-5)


def test_there_are_directories_of_two_versions_of_chroma():
    assert len(CHROMAS) == 2 and len(QDRANTS) == 1


def test_chroma_is_as_it_was(chroma, tmp_path: Path):
    source, said = chroma
    before = {file: file.read_bytes() for file in source.rglob("*") if file.is_file()}
    done = migrate.from_chroma(source, tmp_path / "new.nf")
    assert {file: file.read_bytes() for file in source.rglob("*") if file.is_file()} == before
    assert [one["name"] for one in done] == sorted([*said, "empty"])
    assert {one["name"]: one["rows"] for one in done} == {
        "empty": 0, **{name: len(of["rows"]["ids"]) for name, of in said.items()}
    }  # fmt: skip
    same_as_chroma(tmp_path / "new.nf", said)
    with chromadb.PersistentClient(tmp_path / "new.nf") as client:
        assert client.get_collection("empty").count() == 0
        graph = client.get_collection("graph")
        graph.add(ids=["last"], embeddings=[[1.0] * 6], metadatas=[{"n": 7}])
        assert graph.get(limit=1, offset=graph.count() - 1)["ids"] == ["last"]
        assert graph.get(where={"$and": [{"n": {"$gte": 7}}, {"even": False}]})["ids"]
        assert graph.get(where={"mixed": "text"}, limit=2)["ids"] == ["r0", "r6"]


def test_chroma_is_found_by_nearfield_alone(chroma, db: nf.Database):
    source, said = chroma
    seen: list[nf.Progress] = []
    (done,) = migrate.from_chroma(
        source, db, collection="graph", name="books", columns=["n", "word"], text="document", progress=seen.append
    )
    assert done == {
        "name": "books", "created": True, "rows": 49, "replaced": 0, "rejected_rows": 0, "rejected": [], "notes": []
    }  # fmt: skip
    docs = db["books"]
    assert docs.schema["metric"] == "cosine" and docs.schema["id_type"] == "utf8"
    assert set(docs.schema["columns"]) == {"document", "uri", "added", "n", "word"}
    assert docs.search(words="élan", k=9, where="n < 3").ids.tolist() == ["r0", "r1", "r2"]
    query = said["graph"]["queries"][0]
    assert docs.search(query, k=8, exact=True).ids.tolist() == said["graph"]["answers"]["ids"][0]
    assert {step.phase for step in seen} >= {"reading", "done"} and {step.total for step in seen} <= {49, None}


def test_what_the_log_has_and_the_tables_lack_is_applied(chroma, tmp_path: Path):
    source, said = chroma
    with sqlite3.connect(source / "chroma.sqlite3") as file:
        find = "SELECT s.id FROM segments s JOIN collections c ON s.collection = c.id WHERE c.name = 'log' AND s.scope = ?"
        ((records,),) = file.execute(find, ("METADATA",)).fetchall()
        file.execute("DELETE FROM embedding_metadata WHERE id IN (SELECT id FROM embeddings WHERE segment_id = ?)", (records,))
        file.execute("DELETE FROM embeddings WHERE segment_id = ?", (records,))
        file.execute("DELETE FROM max_seq_id WHERE segment_id = ?", (records,))
    file.close()
    migrate.from_chroma(source, tmp_path / "new.nf", collection=["log", "inner"])
    same_as_chroma(tmp_path / "new.nf", {name: said[name] for name in ("log", "inner")})


def test_a_log_that_goes_on_behind_the_tables_changes_their_records(chroma, tmp_path: Path):
    source, said = chroma
    with sqlite3.connect(source / "chroma.sqlite3") as file:
        ((topic, last),) = file.execute(
            "SELECT topic, max(seq_id) FROM embeddings_queue JOIN collections c ON substr(topic, -36) = c.id "
            "WHERE c.name = 'graph'"
        ).fetchall()
        ids = said["graph"]["rows"]["ids"]
        vector = np.arange(6, dtype=np.float32).tobytes()
        writes = [
            (3, ids[0], None, "{}"),  # Deleted.
            (1, ids[1], None, '{"n": 77, "word": null, "more": 1.5}'),  # Updated but for its vector.
            (0, ids[2], vector, '{"n": 78}'),  # There already.
            (2, ids[4], vector, '{"chroma:document": "new"}'),
            (3, ids[6], None, "{}"),
            (0, ids[6], vector, '{"n": 79}'),  # Deleted and added: behind all others.
            (1, "nowhere", vector, '{"n": 80}'),
            (0, "new", vector, '{"flag": true}'),
            (3, "never", None, "{}"),
        ]
        more = max(last, file.execute("SELECT max(seq_id) FROM embeddings_queue").fetchone()[0])
        for number, (kind, id, given, metadata) in enumerate(writes, more + 1):
            encoding = None if given is None else "FLOAT32"
            row = (number, kind, topic, id, given, encoding, metadata)
            file.execute(
                "INSERT INTO embeddings_queue (seq_id, operation, topic, id, vector, encoding, metadata) VALUES (?, ?, ?, ?, ?, ?, ?)",
                row,
            )
    file.close()
    migrate.from_chroma(source, tmp_path / "new.nf", collection="graph")
    with chromadb.PersistentClient(tmp_path / "new.nf") as client:
        got = client.get_collection("graph").get(include=["embeddings", "documents", "metadatas"])
    assert got["ids"] == [*[id for id in ids if id not in (ids[0], ids[6])], ids[6], "new"]
    of = {id: row for row, id in enumerate(got["ids"])}
    was = said["graph"]["rows"]
    expected = {**was["metadatas"][1], "n": 77, "more": 1.5}
    del expected["word"]
    assert got["metadatas"][of[ids[1]]] == expected
    assert got["metadatas"][of[ids[2]]] == was["metadatas"][2]
    assert got["documents"][of[ids[4]]] == "new" and got["metadatas"][of[ids[4]]] == was["metadatas"][4]
    assert got["metadatas"][of[ids[6]]] == {"n": 79} and got["documents"][of[ids[6]]] is None
    assert got["metadatas"][of["new"]] == {"flag": True}
    for id, changed in [(ids[1], False), (ids[2], False), (ids[4], True), (ids[6], True), ("new", True)]:
        vector = np.arange(6) if changed else was["embeddings"][ids.index(id)]
        np.testing.assert_allclose(got["embeddings"][of[id]], vector, rtol=1e-6, atol=1e-7)


def test_a_collection_that_has_rows_is_left_alone(log, db: nf.Database):
    source, _ = log
    docs = db.create("log", 4, "l2", id_type=str)
    docs.upsert(["mine"], np.ones((1, 4)))
    with pytest.raises(nf.InvalidArgument, match="'log' has 1 rows already"):
        migrate.from_chroma(source, db)
    assert db.collections() == ["log"] and docs.get("mine", vectors=True).vectors.tolist() == [[1.0] * 4]
    docs.delete("mine")
    db.create("other", 3, "cosine")
    with pytest.raises(nf.SchemaMismatch):
        migrate.from_chroma(source, db, collection="log", name="other")
    done = migrate.from_chroma(source, db, collection="log")
    assert not done[0]["created"] and len(docs) == done[0]["rows"] == 12
    with pytest.raises(nf.InvalidArgument, match="has a collection 'log' here already"):
        migrate.from_chroma(source, db)
    assert sorted(db.collections()) == ["_chroma", "log", "other"]


def test_a_failure_takes_back_what_came_before(log, tmp_path: Path, db: nf.Database):
    source, _ = log
    db.create("graph", 6, "cosine")
    with sqlite3.connect(source / "chroma.sqlite3") as file:
        file.execute("UPDATE embeddings_queue SET vector = x'00' WHERE id = 'uri'")
    file.close()
    for target in (db, tmp_path / "new.nf"):
        with pytest.raises(nf.Corrupt, match="1 bytes of vector, expected 16") as told:
            migrate.from_chroma(source, target)
        assert told.value.file == str(source / "chroma.sqlite3") and told.value.section == "embeddings_queue"
    # What was there is there again, empty; what was made for this is gone.
    assert db.collections() == ["graph"] and len(db["graph"]) == 0
    assert not (tmp_path / "new.nf").exists()

    def stop(step: nf.Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        migrate.from_chroma(source, tmp_path / "new.nf", collection="graph", progress=stop)
    assert not (tmp_path / "new.nf").exists()


def test_bad_rows_are_refused_or_listed(log, db: nf.Database):
    source, said = log
    nan = np.array([1, np.nan, 2, 3], np.float32).tobytes()
    edit(source, "UPDATE embeddings_queue SET vector = ? WHERE id = 'r1' AND length(vector) = 16", nan)
    with pytest.raises(nf.InvalidVector, match="'r1' has nan at 1") as told:
        migrate.from_chroma(source, db, collection="log")
    assert told.value.column == 1
    edit(source, "DELETE FROM embeddings_queue WHERE id = 'r2' AND length(vector) = 16")
    with pytest.raises(nf.Corrupt, match="there is no vector of 'r2' of 'log'"):
        migrate.from_chroma(source, db, collection="log")
    assert db.collections() == []
    (done,) = migrate.from_chroma(source, db, collection="log", on_bad="skip")
    assert done["rejected_rows"] == 2 and [id for id, _ in done["rejected"]] == ["r2", "r1"]
    assert done["rows"] == len(said["log"]["rows"]["ids"]) - 2 == len(db["log"])
    with pytest.raises(nf.InvalidArgument, match="on_bad is 'ignore'"):
        migrate.from_chroma(source, db, collection="log", name="again", on_bad="ignore")


def edit(source: Path, sql: str, *values: object) -> None:
    """Changes the tables of a directory of Chroma."""
    file = sqlite3.connect(source / "chroma.sqlite3")
    with file:
        file.execute(sql, values)
    file.close()


def test_wrong_names_are_told_with_the_right_ones(log, db: nf.Database, tmp_path: Path):
    source, _ = log
    with pytest.raises(nf.NotFound, match="no collection 'graf'; it has empty, graph, inner, log"):
        migrate.from_chroma(source, db, collection="graf")
    with pytest.raises(nf.InvalidArgument, match="columns: no record has the key 'm'; there are even, half, mixed, n, new, word"):
        migrate.from_chroma(source, db, columns=["n", "m"])
    with pytest.raises(nf.InvalidArgument, match="for one collection, and there are 4"):
        migrate.from_chroma(source, db, name="one")
    with pytest.raises(nf.NotFound, match="no database 'mine' of tenant 'default_tenant'; it has 'default_database'"):
        migrate.from_chroma(source, db, database="mine")
    with pytest.raises(nf.NotFound, match="there is no directory .*nowhere"):
        migrate.from_chroma(tmp_path / "nowhere", db)
    with pytest.raises(nf.NotFound, match="there is no .*chroma.sqlite3"):
        migrate.from_chroma(tmp_path, db)
    with pytest.raises(nf.ReadOnly):
        db.create("something", 1)
        with nf.open(db.path, "r") as reader:
            migrate.from_chroma(source, reader)
    with pytest.raises(nf.Error, match="from_chroma"):
        chromadb.PersistentClient(source)


class Bad:
    """What runs when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, (str(Path("it-ran").absolute()),)


def segment(source: Path) -> Path:
    """The directory of the graph."""
    (pickled,) = source.glob("*/index_metadata.pickle")
    return pickled.parent


def cut(name: str, size: int):
    def change(source: Path) -> None:
        file = source / name if name == "chroma.sqlite3" else segment(source) / name
        file.write_bytes(file.read_bytes()[:size])

    return change


def header(*places: tuple[int, bytes]):
    def change(source: Path) -> None:
        file = segment(source) / "header.bin"
        data = bytearray(file.read_bytes())
        for at, new in places:
            data[at : at + len(new)] = new
        file.write_bytes(data)

    return change


def pickled(data: bytes):
    return lambda source: (segment(source) / "index_metadata.pickle").write_bytes(data)


def gone(name: str):
    return lambda source: (segment(source) / name).unlink()


def linked(name: str):
    def change(source: Path) -> None:
        file = source / name if name == "chroma.sqlite3" else segment(source) / name
        file.rename(source.parent / "elsewhere")
        file.symlink_to(source.parent / "elsewhere")

    return change


def piped(source: Path) -> None:
    gone("data_level0.bin")(source)
    os.mkfifo(segment(source) / "data_level0.bin")


def linked_folder(source: Path) -> None:
    folder = segment(source)
    folder.rename(source.parent / "elsewhere")
    folder.symlink_to(source.parent / "elsewhere")


def said(sql: str, *values: object):
    return lambda source: edit(source, sql, *values)


def view(table: str, query: str):
    def change(source: Path) -> None:
        edit(source, f"ALTER TABLE {table} RENAME TO {table}_before")
        edit(source, f"CREATE VIEW {table} AS {query}")

    return change


def computed(source: Path) -> None:
    edit(source, "ALTER TABLE max_seq_id ADD COLUMN more AS (zeroblob(1000000000))")


def renamed(source: Path) -> None:
    file = source / "chroma.sqlite3"
    data = file.read_bytes()
    assert data.count(b"CREATE TABLE tenants") == 1
    file.write_bytes(data.replace(b"CREATE TABLE tenants", b"CREATE TIBLE \xe9enants"))


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT i AS id, '' AS key FROM n"
HUGE = (2**60).to_bytes(8, "little")
HOSTILE = {
    "no tables": (cut("chroma.sqlite3", 0), nf.Corrupt, "chroma.sqlite3.*no SQLite file"),
    "tables that end in the header": (cut("chroma.sqlite3", 50), nf.Corrupt, "chroma.sqlite3"),
    "tables that end in a page": (cut("chroma.sqlite3", 4096 + 77), nf.Corrupt, "chroma.sqlite3"),
    "tables that end half-way": (cut("chroma.sqlite3", 100_000), nf.Corrupt, "chroma.sqlite3"),
    "other tables": (said("DROP TABLE embeddings_queue"), nf.Incompatible, "lacks the table embeddings_queue"),
    "a column less": (said("ALTER TABLE embeddings_queue DROP COLUMN encoding"), nf.Incompatible, "lacks the column encoding"),
    "a view": (view("embedding_metadata", ENDLESS), nf.Corrupt, "embedding_metadata: it is a view"),
    "a computed column": (computed, nf.Corrupt, "max_seq_id: it has columns that are computed"),
    "tables whose names are no text": (renamed, nf.Corrupt, "chroma.sqlite3.*its header"),
    "tables by a link": (linked("chroma.sqlite3"), nf.Incompatible, "chroma.sqlite3 is a link"),
    "a dimension of text": (said("UPDATE collections SET dimension = 'x'"), nf.Corrupt, "dimension is 'x'"),
    "a dimension without end": (said("UPDATE collections SET dimension = 1 << 40"), nf.Corrupt, "dimension 1099511627776"),
    "another dimension": (said("UPDATE collections SET dimension = 7"), nf.Corrupt, "expected 28"),
    "records without one": (said("UPDATE collections SET dimension = NULL"), nf.Corrupt, "records and no dimension"),
    "a way out": (said("UPDATE segments SET id = '../' || id"), nf.Corrupt, "segments: the id '../"),
    "no segments": (said("DELETE FROM segments"), nf.Corrupt, "segments: the id None, expected a UUID"),
    "an unknown space": (said("UPDATE collection_metadata SET str_value = 'hop' WHERE key = 'hnsw:space'"), nf.Corrupt, "'hop'"),
    "an operation": (said("UPDATE embeddings_queue SET operation = 9"), nf.Corrupt, "operation 9, expected 0 to 3"),
    "an encoding": (said("UPDATE embeddings_queue SET encoding = 'INT32'"), nf.Corrupt, "of 'INT32', expected FLOAT32"),
    "a short vector": (said("UPDATE embeddings_queue SET vector = x'0011'"), nf.Corrupt, "2 bytes of vector, expected"),
    "a vector of text": (said("UPDATE embeddings_queue SET vector = 'abc'"), nf.Corrupt, "expected FLOAT32"),
    "metadata that is no JSON": (said("UPDATE embeddings_queue SET metadata = '{'"), nf.Corrupt, "expected an object in JSON"),
    "metadata without end": (said("UPDATE embeddings_queue SET metadata = ?", "[" * 100_000), nf.Corrupt, "an object in JSON"),
    "metadata of objects": (said("UPDATE embeddings_queue SET metadata = ?", '{"a": {"b": 1}}'), nf.Corrupt, "of the key 'a'"),
    "metadata too large": (said("UPDATE embeddings_queue SET metadata = ?", '{"a": [1, %d]}' % 2**70), nf.Corrupt, "key 'a'"),
    "half a letter": (said("UPDATE embeddings_queue SET metadata = ?", '{"a": "\\ud800"}'), nf.Corrupt, "of the key 'a'"),
    "an id of bytes": (said("UPDATE embeddings SET embedding_id = CAST(embedding_id AS BLOB)"), nf.Corrupt, "expected a text"),
    "a number of text": (said("UPDATE embedding_metadata SET int_value = 'x' WHERE key = 'n'"), nf.Corrupt, r"\[None, 'x', "),
    "a truth value of 7": (said("UPDATE embedding_metadata SET bool_value = 7 WHERE key = 'even'"), nf.Corrupt, "None, 7]"),
    "two values": (said("UPDATE embedding_metadata SET int_value = 7 WHERE key = 'word'"), nf.Corrupt, "'w0', 7, None"),
    "no UTF-8": (said("UPDATE embedding_metadata SET string_value = CAST(x'ff' AS TEXT)"), nf.Corrupt, "UTF-8"),
    "a log that is text": (said("UPDATE max_seq_id SET seq_id = 'x'"), nf.Corrupt, "max_seq_id: seq_id is"),
    "a document of numbers": (
        said("UPDATE embedding_metadata SET string_value = NULL, int_value = 1 WHERE key = 'chroma:document'"),
        nf.Corrupt,
        "chroma:document of 'r0' is 1",
    ),
    "no header": (gone("header.bin"), nf.NotFound, "header.bin"),
    "no vectors": (gone("data_level0.bin"), nf.NotFound, "data_level0.bin"),
    "no lengths": (gone("length.bin"), nf.NotFound, "length.bin"),
    "half a header": (cut("header.bin", 50), nf.Corrupt, "header.bin.*50 bytes, expected 100"),
    "short vectors": (cut("data_level0.bin", 3000), nf.Corrupt, "data_level0.bin.*3000 bytes, expected"),
    "short lengths": (cut("length.bin", 7), nf.Corrupt, "length.bin.*7 bytes, expected"),
    "a later version": (header((0, b"\2")), nf.Incompatible, "header.bin has version 2"),
    "counts without end": (header((12, HUGE), (20, HUGE)), nf.Corrupt, "data_level0.bin.*expected"),
    "more vectors than room": (header((20, HUGE)), nf.Corrupt, "numbers that do not go together"),
    "blocks of nothing": (header((28, bytes(24))), nf.Corrupt, "numbers that do not go together"),
    "the same label": (lambda source: repeat(segment(source)), nf.Corrupt, "one that is there twice"),
    "vectors by a link": (linked("data_level0.bin"), nf.Incompatible, "data_level0.bin is a link"),
    "labels by a link": (linked("index_metadata.pickle"), nf.Incompatible, "index_metadata.pickle is a link"),
    "a folder by a link": (linked_folder, nf.Incompatible, "is a link"),
    "vectors by a pipe": (piped, nf.Incompatible, "data_level0.bin is no plain file"),
    "a pickle that runs": (pickled(pickle.dumps(Bad())), nf.Corrupt, "names posix.mkdir, which is not made"),
    "a pickle that runs, of old": (pickled(pickle.dumps(Bad(), 0)), nf.Corrupt, "index_metadata.pickle"),
    "half a pickle": (cut("index_metadata.pickle", 300), nf.Corrupt, "index_metadata.pickle"),
    "no pickle": (pickled(b"labels"), nf.Corrupt, "index_metadata.pickle.*its pickle"),
    "a pickle of other things": (pickled(pickle.dumps([1])), nf.Corrupt, "no dict of texts"),
    "labels of text": (pickled(pickle.dumps({"id_to_label": {"r1": "1"}})), nf.Corrupt, "no dict of texts"),
}


def repeat(folder: Path) -> None:
    """The first block twice."""
    file = folder / "data_level0.bin"
    data = bytearray(file.read_bytes())
    block = int.from_bytes((folder / "header.bin").read_bytes()[28:36], "little")
    data[block : 2 * block] = data[:block]
    file.write_bytes(data)


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_directories_are_told_and_leave_nothing(case: str, log, db: nf.Database, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source, _ = log
    change, kind, message = HOSTILE[case]
    change(source)
    with pytest.raises(kind, match="(?s)" + message) as told:
        migrate.from_chroma(source, db)
    if kind in (nf.Corrupt, nf.Incompatible):
        assert Path(told.value.file).is_relative_to(source)
    assert db.collections() == [] and not Path("it-ran").exists()


def damage(source: Path, seed: int) -> str:
    """Changes a few bytes of one of the files, or cuts it."""
    rng = np.random.default_rng(seed)
    files = sorted(file for file in source.rglob("*") if file.is_file() and file.name != "says.json")
    file = files[rng.integers(len(files))] if seed % 3 else max(files, key=lambda file: file.stat().st_size)
    data = bytearray(file.read_bytes())
    if not data:
        return "nothing"
    if seed % 7 == 0:
        del data[rng.integers(len(data)) :]
    else:
        for at in rng.integers(min(len(data), 20_000 if seed % 2 else len(data)), size=1 + seed % 4):
            data[at] ^= 1 << rng.integers(8)
    file.write_bytes(data)
    return f"{file.name} by seed {seed}"


@pytest.mark.parametrize("archive", [*CHROMAS, *QDRANTS], ids=lambda path: path.stem)
def test_damaged_files_are_an_error_or_rows_and_nothing_else(archive: Path, tmp_path: Path):
    failed = 0
    db = nf.open(tmp_path / "test.nf", durability="none")
    with zipfile.ZipFile(archive) as file:
        entries = {info.filename: file.read(info) for info in file.infolist()}
    for seed in range(60):
        for name, data in entries.items():
            (tmp_path / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "source" / name).write_bytes(data)
        what = damage(tmp_path / "source", seed)
        try:
            if archive in CHROMAS:
                on_bad = "raise" if seed % 2 else "skip"
                done = migrate.from_chroma(tmp_path / "source", db, collection=["graph", "log"], on_bad=on_bad)
            else:
                done = [migrate.from_qdrant(tmp_path / "source", db, "plain")]
        except nf.Error as error:
            failed += 1
            assert str(tmp_path / "source") in str(error) or not isinstance(error, (nf.Corrupt, nf.Incompatible)), what
            assert set(db.collections()) <= {"_chroma"}, what
            continue
        except BaseException as error:
            raise AssertionError(what) from error
        for one in done:
            assert one["rows"] <= 60, what
            if one["name"] in db:
                db.drop(one["name"])
        if "_chroma" in db:
            db.drop("_chroma")
    db.close()
    assert 5 < failed < 60


@pytest.fixture
def qdrant(tmp_path: Path) -> tuple[Path, dict]:
    return tmp_path / "qdrant", unpacked(QDRANTS[0], tmp_path / "qdrant")


def same_as_qdrant(docs: nf.Collection, said: dict) -> None:
    """A collection finds what Qdrant found, with the payloads that it had."""
    for query, expected in zip(said["queries"], said["answers"]):
        assert docs.search(query, k=8, exact=True).ids.tolist() == expected
    assert len(docs) == len(said["rows"])
    for row in said["rows"]:
        (found,) = docs.get([row["id"]]).to_dicts()
        payload = row["payload"]
        assert found["n"] == payload["n"]
        if "at" in payload:
            assert (found["at.lon"], found["at.lat"], found["tags"]) == (1.5, payload["at"]["lat"], ["a", "b"])
            assert found["city"] == payload["city"] and found["score_"] == payload["score"]
            assert found["sometimes"] == payload.get("sometimes")
            assert json.loads(found["nums"]) == payload["nums"] and json.loads(found["mixed"]) == payload["mixed"]


def test_a_local_qdrant_is_as_it_was(qdrant, db: nf.Database):
    source, said = qdrant
    done = migrate.from_qdrant(source, db, "plain")
    assert done["rows"] == 19 and not done["replaced"]
    assert sorted(note.split()[0] for note in done["notes"]) == ["mixed", "nums", "score"]
    assert db["plain"].schema["id_type"] == "u64" and db["plain"].schema["metric"] == "cosine"
    same_as_qdrant(db["plain"], said["plain"])
    vectors = db["plain"].get([row["id"] for row in said["plain"]["rows"]], vectors=True).vectors
    ours = vectors / np.linalg.norm(vectors, axis=1)[:, None]
    np.testing.assert_allclose(ours, [row["vector"] for row in said["plain"]["rows"]], rtol=1e-5, atol=1e-6)

    assert migrate.from_qdrant(source, db, "named", vector="a")["rows"] == 20
    assert db["named"].schema["metric"] == "l2" and db["named"].schema["columns"] == {"words": "sparse", "n": "int64"}
    same_as_qdrant(db["named"], said["named"])
    assert db["named"].search_sparse("words", {6: 1.0}, k=1).ids.tolist() == [str(uuid.UUID(int=4))]


def test_wrong_arguments_for_qdrant_are_told(qdrant, db: nf.Database, tmp_path: Path):
    source, _ = qdrant
    with pytest.raises(nf.InvalidArgument, match="has the vectors 'a', 'b'; give vector= to say which"):
        migrate.from_qdrant(source, db, "named")
    with pytest.raises(nf.InvalidArgument, match="there is no 'c'"):
        migrate.from_qdrant(source, db, "named", vector="c")
    with pytest.raises(nf.NotFound, match="no collection 'other'; it has plain, named"):
        migrate.from_qdrant(source, db, "other")
    with pytest.raises(nf.NotFound, match="nowhere"):
        migrate.from_qdrant(tmp_path / "nowhere", db, "plain")
    (tmp_path / "docs.snapshot").write_bytes(b"x")
    with pytest.raises(nf.Incompatible, match="is of a Qdrant server, .* give a client"):
        migrate.from_qdrant(tmp_path / "docs.snapshot", db, "docs")
    with pytest.raises(nf.InvalidArgument, match="columns: no payload has 'town'"):
        migrate.from_qdrant(source, db, "plain", columns=["city", "town"])
    meta = source / "meta.json"
    meta.write_text(meta.read_text().replace("Cosine", "Manhattan"))
    with pytest.raises(nf.InvalidArgument, match="'Manhattan', which there is not here: give metric="):
        migrate.from_qdrant(source, db, "plain")
    assert migrate.from_qdrant(source, db, "plain", metric="l2", columns=["city", "at"])["rows"] == 19
    assert set(db["plain"].schema["columns"]) == {"city", "at.lon", "at.lat"}


@pytest.mark.parametrize("data", [pickle.dumps(Bad()), b"", b"x", pickle.dumps([1]), pickle.dumps({"id": -1})])
def test_points_that_are_no_data_are_damage_and_not_run(data: bytes, qdrant, db: nf.Database, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source, _ = qdrant
    file = sqlite3.connect(source / "collection" / "plain" / "storage.sqlite")
    with file:
        file.execute("UPDATE points SET point = ? WHERE rowid = 7", (data,))
    file.close()
    with pytest.raises(nf.Corrupt, match="storage.sqlite is damaged.*points: a point is no pickle of data"):
        migrate.from_qdrant(source, db, "plain")
    assert not Path("it-ran").exists() and db.collections() == []


# By the libraries themselves, where they are installed.


def test_chroma_that_is_installed_writes_what_is_read(tmp_path: Path):
    pytest.importorskip("chromadb")
    make = f"import sys; sys.path.insert(0, {str(DATA)!r}); import remake, json, pathlib; "
    make += "print(); print(json.dumps(remake.chroma(pathlib.Path('chroma'))))"
    done = subprocess.run([sys.executable, "-c", make], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    migrate.from_chroma(tmp_path / "chroma", tmp_path / "new.nf")
    same_as_chroma(tmp_path / "new.nf", json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.filterwarnings("ignore")
def test_qdrant_that_is_installed_is_read_by_its_client_and_without(tmp_path: Path, db: nf.Database, monkeypatch):
    qdrant_client = pytest.importorskip("qdrant_client")
    monkeypatch.syspath_prepend(str(DATA))
    remake = __import__("remake")
    said = remake.qdrant(tmp_path / "qdrant")
    client = qdrant_client.QdrantClient(path=str(tmp_path / "qdrant"))
    assert migrate.from_qdrant(client, db, "plain")["rows"] == 19
    assert migrate.from_qdrant(client, db, "named", vector="a")["rows"] == 20
    client.close()
    for name in said:
        same_as_qdrant(db[name], said[name])
        migrate.from_qdrant(tmp_path / "qdrant", db, name, name=name + "-2", vector=None if name == "plain" else "a")
        same_as_qdrant(db[name + "-2"], said[name])
    assert db["named"].get([str(uuid.UUID(int=4))])[0]["words"] == {1: 0.5, 6: 1.0}


@pytest.mark.filterwarnings("ignore")
def test_a_table_of_lancedb_is_as_it_was(tmp_path: Path, db: nf.Database):
    lancedb, pa = pytest.importorskip("lancedb"), pytest.importorskip("pyarrow")
    rng = np.random.default_rng(4)
    vectors = rng.normal(size=(300, 8)).astype(np.float32)
    kind = pa.list_(pa.float32(), 8)
    table = pa.table({
        "id": pa.array([f"d{n}" for n in range(300)]),
        "vector": pa.array([None if n == 9 else row.tolist() for n, row in enumerate(vectors)], kind),
        "n": pa.array(range(300), pa.int32()),
        "tags": pa.array([["a", str(n)] for n in range(300)]),
        "nums": pa.array([[n, 1] for n in range(300)]),
        "when": pa.array([n * 1_000_000 for n in range(300)], pa.timestamp("us")),
        "raw": pa.array([b"x"] * 300),
        "score": pa.array([n / 2 for n in range(300)]),
    })  # fmt: skip
    source = lancedb.connect(str(tmp_path / "lance"))
    docs = source.create_table("docs", table, on_bad_vectors="null")
    docs.delete("n = 5")
    with pytest.raises(nf.InvalidArgument, match="row 8 of .*docs.lance has null in 'vector'"):
        migrate.from_lancedb(tmp_path / "lance", db, "docs")
    done = migrate.from_lancedb(tmp_path / "lance", db, "docs", on_bad="skip")
    assert done["rows"] == 298 == len(db["docs"]) and done["rejected_rows"] == 1
    assert [note.split()[0] for note in done["notes"]] == ["nums", "raw", "score"]
    assert db["docs"].schema["metric"] == "l2"
    assert db["docs"].get(["d7"], vectors=True).vectors.tolist() == [vectors[7].tolist()]
    (row,) = db["docs"].get(["d7"]).to_dicts()
    assert row.pop("when").timestamp() == 7
    assert row == {"id": "d7", "n": 7, "tags": ["a", "7"], "nums": "[7, 1]", "score_": 3.5}
    for query in rng.normal(size=(5, 8)).astype(np.float32):
        expected = docs.search(query).where("vector IS NOT NULL").limit(10).to_list()
        assert db["docs"].search(query, k=10, exact=True).ids.tolist() == [hit["id"] for hit in expected]
    # Of a table that is open, numbered, and some of its columns.
    done = migrate.from_lancedb(docs, db, name="numbered", id=False, columns=["n"], on_bad="skip", metric="cosine")
    assert db["numbered"].schema["columns"] == {"n": "int64"} and db["numbered"].get(0)[0]["n"] == 0
    with pytest.raises(nf.NotFound, match="has no table 'other'; it has docs"):
        migrate.from_lancedb(tmp_path / "lance", db, "other")
    with pytest.raises(nf.NotFound, match="no directory"):
        migrate.from_lancedb(tmp_path / "nowhere", db, "docs")
    for file in (tmp_path / "lance" / "docs.lance" / "data").iterdir():
        file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(nf.Corrupt, match="docs.lance is damaged"):
        migrate.from_lancedb(tmp_path / "lance", db, "docs", name="damaged")
    assert "damaged" not in db


def test_hdf5_is_as_it_was(tmp_path: Path, db: nf.Database):
    h5py = pytest.importorskip("h5py")
    rng = np.random.default_rng(4)
    vectors, bits = rng.normal(size=(200, 6)), rng.random((50, 20)) > 0.5
    path = tmp_path / "some-angular.hdf5"
    with h5py.File(path, "w") as file:
        file["train"], file["bits"] = vectors, bits
        file["names"] = [f"n{n}" for n in range(200)]
        file["few"], file["flat"] = [1, 2], np.arange(4.0)
        file["elsewhere"] = h5py.ExternalLink("other.hdf5", "train")
        file.attrs["distance"] = "angular"
        file.create_dataset("claims", shape=(2**40, 128), dtype="f4", chunks=(1, 128))
        (tmp_path / "secret").write_bytes(bytes(64))
        file.create_dataset("outside", (2, 8), "f4", external=[(str(tmp_path / "secret"), 0, 64)])
    assert migrate.from_hdf5(path, db)["rows"] == 200
    docs = db["some-angular"]
    query = rng.normal(size=6)
    cosines = vectors @ query / np.linalg.norm(vectors, axis=1)
    assert docs.schema["metric"] == "cosine" and docs.search(query, k=9, exact=True).ids.tolist() == np.argsort(-cosines)[:9].tolist()
    assert migrate.from_hdf5(path, db, name="named", id="names")["rows"] == 200 and "n7" in db["named"]
    assert migrate.from_hdf5(path, db, "bits", name="bits", metric="hamming")["rows"] == 50
    assert db["bits"].search(np.packbits(bits[7]), k=1).ids.tolist() == [7] and db["bits"].dim == 20
    for dataset, kind, message in [
        ("nothing", nf.NotFound, "no dataset 'nothing'; it has "),
        ("flat", nf.InvalidArgument, "expected rows of numbers"),
        ("claims", nf.Corrupt, "more than a file of its size can hold"),
        ("elsewhere", nf.Incompatible, "in another file, which is not followed"),
        ("outside", nf.Incompatible, "in other files, which are not read"),
    ]:
        with pytest.raises(kind, match=message):
            migrate.from_hdf5(path, db, dataset, name="bad")
    with pytest.raises(nf.InvalidArgument, match=r"\(2,\) ids in 'few' for 200 vectors"):
        migrate.from_hdf5(path, db, name="bad", id="few")
    for size in (0, 7, 200, 2000):
        path.write_bytes(path.read_bytes()[:size])
        with pytest.raises(nf.Corrupt, match="some-angular.hdf5 is damaged"):
            migrate.from_hdf5(path, db, name="bad")
    assert "bad" not in db


@pytest.mark.parametrize("module", ["lancedb", "h5py"])
def test_a_library_that_is_missing_is_named(module: str, tmp_path: Path, db: nf.Database):
    if importlib.util.find_spec(module):
        pytest.skip(f"{module} is installed")
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(nf.InvalidArgument, match=f"takes {module}, which is not installed: pip install {module}"):
        if module == "h5py":
            migrate.from_hdf5(tmp_path / "file", db)
        else:
            migrate.from_lancedb(tmp_path, db, "docs")
