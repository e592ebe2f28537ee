"""Every docstring's example runs, and so do those of the pages."""

import doctest
import importlib.util
import inspect
import re
import string
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import nearfield as nf
import nearfield.aio

CLASSES = [
    nf.BatchHits, nf.Collection, nf.Column, nf.Database, nf.DoctorReport, nf.Explanation, nf.Filter, nf.Hit, nf.Hits,
    nf.Index, nf.Records, nf.Scan, nf.Snapshot,
]  # fmt: skip
FUNCTIONS = ["col", "doctor", "open", "repair", "restore", "unpack", "from_file", "from_jsonl", "from_npy", "from_parquet"]
OBJECTS = {"nearfield": nf, "aio": nearfield.aio} | {name: getattr(nf, name) for name in FUNCTIONS}
for class_ in CLASSES:
    OBJECTS[class_.__name__] = class_
    for name in vars(class_):
        if not name.startswith("_"):
            OBJECTS[f"{class_.__name__}.{name}"] = getattr(class_, name)


@pytest.mark.parametrize("name", OBJECTS)
def test_the_example_runs(name, db: nf.Database, docs: nf.Collection, tmp_path: Path):
    text = inspect.getdoc(OBJECTS[name])
    assert text, f"{name} has no docstring"
    example = doctest.DocTestParser().get_doctest(
        text, {"db": db, "docs": docs, "tmp": tmp_path, "nf": nf}, name, None, None
    )
    runner = doctest.DocTestRunner(optionflags=doctest.REPORT_NDIFF)
    messages: list[str] = []
    runner.run(example, out=messages.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(messages)


# What a class says of itself, or of what it is made by, needs no example of its own.
PLAIN = {"Column"}


@pytest.mark.parametrize("name", [n for n in OBJECTS if n not in PLAIN])
def test_every_public_item_has_an_example(name):
    assert ">>>" in (inspect.getdoc(OBJECTS[name]) or "")


def page_text(page: str) -> str:
    """A page of this repository; nothing where it is not here."""
    for folder in Path(__file__).parents:
        if (folder / page).exists() and (folder / "bindings").exists():
            return (folder / page).read_text()
    return ""


def blocks(page: str) -> list[tuple[str, str]]:
    """The blocks of Python in a page, each with its place."""
    code = page_text(page).split("```python\n")[1:]
    return [(f"{page}:{n}", block.split("```")[0]) for n, block in enumerate(code)]


PAGES = ["README.md", "bindings/python/README.md"]
BLOCKS = dict(block for page in PAGES for block in blocks(page))


@pytest.fixture
def a_model(monkeypatch):
    """Where sentence-transformers is absent, a model of its form: it counts letters."""
    if importlib.util.find_spec("sentence_transformers"):
        return

    class SentenceTransformer:
        def __init__(self, name: str) -> None:
            self.name = name

        def encode(self, texts: list[str], **_arguments: object) -> np.ndarray:
            return np.array([[text.count(letter) for letter in string.ascii_lowercase] for text in texts])

        def get_sentence_embedding_dimension(self) -> int:
            return 26

    module = types.ModuleType("sentence_transformers")
    module.SentenceTransformer = SentenceTransformer
    monkeypatch.setitem(sys.modules, "sentence_transformers", module)


@pytest.mark.skipif(not BLOCKS, reason="the pages are not here")
@pytest.mark.parametrize("name", BLOCKS)
def test_every_block_of_the_pages_runs(name, tmp_path: Path, monkeypatch, capsys, a_model):
    monkeypatch.chdir(tmp_path)
    exec(compile(BLOCKS[name], name, "exec"), {})
    said = capsys.readouterr().out
    if "vectors[7]" in BLOCKS[name]:
        assert said.startswith("7 ")
    elif "words=" in BLOCKS[name]:
        assert said == "[1 3] {'body': 'E0502: cannot **borrow**', 'title': '**Rust**'}\n[2 1 3]\n"
    else:
        # Which of them is nearer is the model's to say.
        assert said in ("Rust has no garbage collector.\n", "The cat sat on the mat.\n")


@pytest.mark.skipif(not BLOCKS, reason="the pages are not here")
def test_what_is_in_the_wheel_is_whole_without_the_repository():
    for name in ["LICENSE-MIT", "LICENSE-APACHE"]:
        assert page_text(f"bindings/python/{name}") == page_text(name) != ""
    links = re.findall(r"\]\(([^)]*)\)", page_text("bindings/python/README.md"))
    assert all(link.startswith("https://") for link in links)


def test_both_pages_have_blocks():
    assert not BLOCKS or {name.split(":")[0] for name in BLOCKS} == set(PAGES)


FILTERS = [text for _, text in blocks("docs/filters.md")]


@pytest.mark.skipif(not FILTERS, reason="the page is not here")
def test_the_page_on_filters_runs_from_top_to_bottom():
    names: dict[str, object] = {}
    runner = doctest.DocTestRunner(optionflags=doctest.REPORT_NDIFF)
    messages: list[str] = []
    for number, block in enumerate(FILTERS):
        example = doctest.DocTestParser().get_doctest(block, names, f"filters.md:{number}", None, None)
        assert example.examples
        runner.run(example, out=messages.append, clear_globs=False)
        names = example.globs
    names["db"].close()
    assert runner.summarize(verbose=False).failed == 0, "".join(messages)


def spellings() -> list[list[str]]:
    """The rows of the page's table: a filter as text, as a dict, in Python and in Rust."""
    _, *rest = page_text("docs/filters.md").split("| text | dictionary | Python | Rust |\n")
    lines = rest[0].split("\n\n")[0].splitlines()[1:] if rest else []
    rows = [re.split(r"(?<!\\)\|", line)[1:5] for line in lines]
    codes = [[re.match(r" `([^`]+)`", cell) for cell in row] for row in rows]
    return [[code[1].replace("\\|", "|") if code else "" for code in row] for row in codes]


@pytest.mark.skipif(not FILTERS, reason="the page is not here")
@pytest.mark.parametrize("row", spellings(), ids=lambda row: row[0])
def test_the_spellings_of_a_filter_mean_the_same(row):
    text, dictionary, expression, rust = row
    assert rust
    assert nf.Filter(text) == nf.Filter(eval(expression, {"col": nf.col}))
    assert not dictionary or nf.Filter(text) == nf.Filter(eval(dictionary))


@pytest.mark.skipif(not FILTERS, reason="the page is not here")
def test_every_operator_of_dictionaries_is_on_the_page():
    operators = set(re.findall(r"[$]\w+", inspect.getdoc(nf.Filter)))
    assert len(operators) > 20
    assert operators <= set(re.findall(r"[$]\w+", page_text("docs/filters.md")))
