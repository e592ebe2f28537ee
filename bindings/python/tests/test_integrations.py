"""What the adapters for frameworks have in common; each of them has its own tests beside this."""

import gc
import subprocess
import sys
from pathlib import Path

import pytest

import nearfield as nf
from nearfield.integrations._filters import ALL, NONE, Columns, every, some
from nearfield.integrations._metadata import to_columns
from nearfield.integrations._place import Place

ADAPTERS = {
    "langchain": ("langchain_core", "langchain-core"),
    "llama_index": ("llama_index", "pip install 'nearfield[llama-index]'"),
    "haystack": ("haystack", "pip install 'nearfield[haystack]'"),
}


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_framework_that_is_absent_is_named_with_what_to_do(adapter):
    module, advice = ADAPTERS[adapter]
    program = (
        f"import sys; sys.modules['{module}'] = None\n"
        f"try: import nearfield.integrations.{adapter}\nexcept ImportError as error: print(error)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert f"nearfield.integrations.{adapter} needs" in ran.stdout and advice in ran.stdout


def place(database: object, name: str = "docs", mode: str = "w") -> Place:
    return Place(database, name, mode, {"metric": "l2", "id_type": "utf8"})


def test_places_of_a_directory_share_it_while_there_is_one(tmp_path: Path):
    path = tmp_path / "a.nf"
    first, second, other = place(path), place(str(path)), place(tmp_path / "b" / ".." / "a.nf", "other")
    assert first.read() is None and not (path / "docs").exists()
    first.write(2).upsert("x", [1, 2])
    assert second.database is first.database is other.database and len(second.read()) == 1
    # Empty collections are collections.
    other.write(3)
    assert other.write(4).dim == 3 and len(other.read()) == 0
    first.close()
    first.close()
    assert len(second.read()) == 1
    del second, other
    gc.collect()
    with nf.open(path) as db:
        db["docs"].upsert("y", [1, 2])
        assert place(db).database is place(path).database is db
    # A place whose database was closed elsewhere says so, a new one opens it.
    assert len(first.read()) == 2
    first.database.close()
    with pytest.raises(nf.Closed):
        first.read()
    assert len(place(path).read()) == 2
    first.close()
    assert len(first.read()) == 2


def test_a_place_finds_what_was_made_or_dropped_meanwhile(tmp_path: Path):
    with nf.open(tmp_path / "a.nf") as db:
        here = place(db)
        db.create("docs", dim=2, metric="l2", id_type="utf8")
        assert here.read().dim == 2
        db.drop("docs")
        assert here.read() is None and here.write(5).dim == 5
        db.create("cosine", dim=2)
        with pytest.raises(nf.SchemaMismatch, match="metric"):
            place(db, "cosine").read()


def test_keys_that_no_column_can_have_are_passed_over():
    metadata = {"": 1, "a\0": 1, "k" * 257: 1, "\ud800": 1, "a": {"": 1, "b": {"c": "x", "d": []}}, "e": [1], "f": 2**63, "g": -(2**63)}
    assert to_columns(metadata) == {"\ud800": 1, "a.": 1, "a.b.c": "x", "g": -(2**63)}
    assert to_columns({"k" * 252: 1, "l": True}, "meta.") == {"meta.l": True}


def test_conditions_and_their_opposites_find_every_row_once(docs: nf.Collection):
    docs.upsert([3], [[1, 1]], [{"n": 1, "tags": ["a"], "flag": True}])
    columns = Columns(docs.schema["columns"])
    for condition in [
        columns.equals("n", 1), columns.is_in("n", [1, 2]), columns.is_in("n", []), columns.equals("tags", "a"), columns.equals("flag", 1),
        columns.compares("n", ">", 0), columns.has("tags", ["a"], all=True), columns.contains("title", "EA", any_case=True),
        columns.contains("title", "%", any_case=True), columns.is_null("n"), columns.is_null("nobody"), columns.equals("nobody", 1),
        every([ALL, columns.equals("n", 1)]), some([NONE, columns.equals("n", 1)]),
    ]:  # fmt: skip
        assert docs.count(where=condition) + docs.count(where=~condition) == 3, condition
