"""Every docstring's example runs, and so does the README's."""

import doctest
import inspect
from pathlib import Path

import pytest

import nearfield as nf
import nearfield.aio

CLASSES = [
    nf.BatchHits, nf.Collection, nf.Database, nf.Explanation, nf.Hit, nf.Hits, nf.Index, nf.Records,
    nf.Scan, nf.Snapshot,
]  # fmt: skip
FUNCTIONS = ["open", "restore", "from_file", "from_jsonl", "from_npy", "from_parquet"]
OBJECTS = {"nearfield": nf, "aio": nearfield.aio} | {name: getattr(nf, name) for name in FUNCTIONS}
for class_ in CLASSES:
    OBJECTS[class_.__name__] = class_
    for name, member in vars(class_).items():
        if not name.startswith("_"):
            OBJECTS[f"{class_.__name__}.{name}"] = member


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


@pytest.mark.parametrize("name", [n for n in OBJECTS if n.startswith(("Collection.", "Database."))])
def test_every_method_has_an_example(name):
    member = OBJECTS[name]
    if callable(member) and name != "Database.collections":
        assert ">>>" in member.__doc__


def test_the_example_of_the_readme_runs(tmp_path: Path, monkeypatch, capsys):
    readme = Path(__file__).parent.parent / "README.md"
    code = readme.read_text().split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out.startswith("7 ")
