"""The Python of the guide runs, page by page from top to bottom, and prints what is shown below it."""

import ast
import contextlib
import doctest
import importlib.util
import io
import re
import shutil
from pathlib import Path

import pytest

from test_docs import page_text

SUMMARY = page_text("docs/SUMMARY.md")
PAGES = [f"docs/{page}" for page in re.findall(r"\((guide/[\w-]+\.md)\)", SUMMARY)]
# A block of code, and the block of text that shows what it prints.
BLOCK = re.compile(r"^```(python[\w,-]*)\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
OPTIONS = doctest.ELLIPSIS | doctest.REPORT_NDIFF

pytestmark = pytest.mark.skipif(not SUMMARY, reason="the guide is not here")


def test_the_guide_has_its_pages():
    assert len(PAGES) >= 9


def test_every_page_of_docs_is_in_the_book():
    docs = Path(root(), "docs")
    pages = {page.relative_to(docs).as_posix() for page in docs.rglob("*.md")} - {"SUMMARY.md"}
    assert set(re.findall(r"\(([\w/.-]+\.md)\)", SUMMARY)) == pages


def test_what_the_guide_shows_is_run_by_some_test():
    not_run = 0
    for page in PAGES:
        text = page_text(page)
        kinds = [kind for kind in re.findall(r"^```(.*)$", text, re.MULTILINE) if kind]
        assert {kind.split(",")[0] for kind in kinds} <= {"python", "rust", "sh", "text"}, page
        not_run += kinds.count("python,no_run")
        # Doctests run the Rust of pages that are named there, tests/it/cli/pages.rs what begins with nearfield.
        assert "rust" not in kinds or page in page_text("src/lib.rs"), page
        for block in re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            assert all(line.startswith("nearfield ") for line in block.splitlines()), page
    assert not_run <= 1


def root() -> Path:
    return next(f for f in Path(__file__).parents if (f / "docs" / "SUMMARY.md").exists())


@pytest.mark.parametrize("page", PAGES)
def test_the_python_of_the_page_runs_and_prints_what_is_shown(page: str, tmp_path: Path, monkeypatch):
    shutil.copytree(root() / "examples" / "data", tmp_path / "examples" / "data")
    shutil.copytree(root() / "docs" / "decisions", tmp_path / "docs" / "decisions")
    monkeypatch.chdir(tmp_path)
    text = page_text(page)
    if "import pyarrow" in text:
        pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    names: dict[str, object] = {"__name__": "__main__"}
    for block in BLOCK.finditer(text):
        kind, code, shown = block.groups()
        ast.parse(code)
        if not runs(kind):
            continue
        lines_above = text[: block.start(2)].count("\n")
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(compile("\n" * lines_above + code, page, "exec"), names)
        if shown is not None:
            assert_shown(shown, said.getvalue(), f"{page}:{lines_above + 1}")


def runs(kind: str) -> bool:
    """Whether a block is to run: not where it would download a model, or without the library that it is about."""
    _, *marks = kind.split(",")
    if marks == ["no_run"]:
        return False
    libraries = [mark.removeprefix("needs-") for mark in marks if mark.startswith("needs-")]
    assert len(libraries) == len(marks), f"{kind}: of what kind is this?"
    return all(importlib.util.find_spec(library) for library in libraries)


def assert_shown(shown: str, said: str, place: str) -> None:
    """`...` in what is shown stands for anything."""
    checker = doctest.OutputChecker()
    if not checker.check_output(shown, said, OPTIONS):
        example = doctest.Example("", shown)
        pytest.fail(f"{place}\n{checker.output_difference(example, said, OPTIONS)}")
