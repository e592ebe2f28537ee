"""Tables of what packages.py has measured, in Markdown."""

from __future__ import annotations

import ast
import io
import re
import statistics
import tokenize
from typing import NamedTuple

from report import table

OWN = "nearfield"
OUTCOMES = ("clear", "half", "vague", "right", "silent", "crash", "hang", "none")
MOST_CHARS = 220
"""Of a message, in the table of them."""


class Column(NamedTuple):
    """A figure of which less is better, or more where `sign` is -1."""

    head: str
    key: str
    form: str = "{:,.0f}"
    scale: float = 1
    sign: int = 1


COLUMNS = (
    Column("wheel, MB", "wheel_bytes", "{:,.1f}", 1e-6),
    Column("wheels with all it needs, MB", "wheels_bytes", "{:,.1f}", 1e-6),
    Column("installed, MB", "installed_bytes", "{:,.0f}", 1e-6),
    Column("packages installed", "packages"),
    Column("import, ms", "import"),
    Column("behind NumPy, ms", "behind_numpy"),
    Column("lines of the task", "lines"),
    Column("statements", "statements"),
    Column("disk as written, MB", "written", "{:,.1f}", 1e-6),
    Column("disk merged, MB", "merged", "{:,.1f}", 1e-6),
    Column("clear or right", "well", sign=-1),
    Column("silent, crash or hang", "ill"),
)


def code_lines(source: str) -> int:
    """Lines with code: none of blanks, comments and docstrings."""
    lines = set()
    blank = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in blank:
            lines.update(range(token.start[0], token.end[0] + 1))
    for place in docstrings(source):
        lines -= set(range(place.lineno, place.end_lineno + 1))
    return len(lines)


def statements(source: str) -> int:
    """As `code_lines`, but the same however the code is laid out."""
    return sum(isinstance(node, ast.stmt) for node in ast.walk(ast.parse(source))) - len(docstrings(source))


def docstrings(source: str) -> list[ast.stmt]:
    owners = (node for node in ast.walk(ast.parse(source)) if isinstance(node, (ast.Module, ast.FunctionDef)))
    return [node.body[0] for node in owners if ast.get_docstring(node) is not None]


def figures(package: dict) -> dict[str, float]:
    """The figures of the columns."""
    times = {what: min(found) for what, found in package["import"].items()}
    outcomes = [found["outcome"] for found in package["mistakes"].values()]
    return {
        **{key: package[key] for key in ("wheel_bytes", "wheels_bytes", "installed_bytes", "lines", "statements")},
        **package["disk"],
        "packages": len(package["packages"]),
        "import": times["package"],
        # What does not need NumPy takes the same behind it.
        "behind_numpy": times.get("behind_numpy", times["package"]),
        "well": sum(outcome in ("clear", "right") for outcome in outcomes),
        "ill": sum(outcome in ("silent", "crash", "hang") for outcome in outcomes),
    }


def place(column: Column, values: dict[str, float]) -> tuple[int, list[str]]:
    """nearfield's place in a column, and those before it; figures that are shown alike share a place."""

    def shown(name: str) -> float:
        return column.sign * float(column.form.format(values[name] * column.scale).replace(",", ""))

    before = [name for name in values if shown(name) < shown(OWN)]
    return len(before) + 1, before


def summary(result: dict) -> str:
    """A row a package, and nearfield's place in each column."""
    found = {name: figures(package) for name, package in result["packages"].items()}
    rows = []
    for name, values in found.items():
        label = f"**{name}**" if name == OWN else name
        cells = [column.form.format(values[column.key] * column.scale) for column in COLUMNS]
        rows.append([f"{label} {result['packages'][name]['version']}", *cells])
    if OWN in found:
        places = [place(column, {name: values[column.key] for name, values in found.items()}) for column in COLUMNS]
        rows.append([f"{OWN}'s place", *(str(at) for at, _ in places)])
    text = table(["package", *(column.head for column in COLUMNS)], rows)
    if OWN in found:
        worse = [f"- {column.head}: behind {', '.join(before)}" for column, (at, before) in zip(COLUMNS, places) if at > 2]
        text += "\n\nNeither best nor second:\n\n" + ("\n".join(worse) or "- nowhere")
    return text


def outcome_table(result: dict) -> str:
    """How often each outcome is met."""
    rows = []
    for name, package in result["packages"].items():
        outcomes = [found["outcome"] for found in package["mistakes"].values()]
        rows.append([name, *(str(outcomes.count(outcome)) for outcome in OUTCOMES)])
    return table(["package", *OUTCOMES[:-1], "no such thing"], rows)


def imports_table(result: dict) -> str:
    """Median (least–most) of the processes."""
    rows = []
    for name, package in result["packages"].items():
        cells = []
        for what in ("package", "numpy", "behind_numpy"):
            times = package["import"].get(what)
            cells.append(f"{statistics.median(times):,.0f} ({min(times):,.0f}–{max(times):,.0f})" if times else "-")
        rows.append([name, *cells])
    return table(["package", "import, ms", "NumPy alone, ms", "the package behind NumPy, ms"], rows)


def message(found: dict) -> str:
    """An outcome and its text, of one line, as it can stand in a table."""
    text = re.sub(r",? /\S+\.rs:\d+:\d+", "", found["text"])
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    line = line if len(line) <= MOST_CHARS else line[:MOST_CHARS] + " …"
    kind = found.get("type", "")
    return escaped(f"{kind}: {line}" if kind and line else f"{kind}, without a text" if kind else line)


def escaped(line: str) -> str:
    return re.sub(r"([\\|<\[*_`$])", r"\\\1", line)


def messages(result: dict) -> str:
    """Each mistake with the outcome and the message of each package."""
    parts = []
    for mistake in next(iter(result["packages"].values()))["mistakes"]:
        rows = []
        for name, package in result["packages"].items():
            found = package["mistakes"][mistake]
            outcome = "-" if found["outcome"] == "none" else found["outcome"]
            rows.append([name, outcome, message(found)])
        heading = mistake if mistake.startswith("k ") else mistake[0].upper() + mistake[1:]
        parts.append(f"### {heading}\n\n" + table(["package", "outcome", "what it says"], rows))
    return "\n\n".join(parts)


def needs(result: dict) -> str:
    """What comes along with each package."""
    rows = []
    for name, package in result["packages"].items():
        others = [other for other in package["packages"] if other != name.replace("-", "_")]
        shown = ", ".join(others) if len(others) <= 8 else f"{len(others)}, among them {', '.join(others[:8])}"
        rows.append([name, escaped(shown or "nothing")])
    return table(["package", "installed with it"], rows)


def page(result: dict) -> str:
    """Everything, as a page of its own."""
    data = result["data"]
    built = [name for name, package in result["packages"].items() if package["built_here"]]
    lines = f"""# nearfield beside other packages

Made by `benches/compare/packages.py`, which installs each package in its newest release
into an environment of its own; its notes in `benches/compare/README.md` say what each column is.
{result["machine"]}, Python {result["python"]}; others use the machine too: of import times the least of {result["imports"]} processes stands here, the median below.
Disk is that of {data["rows"]:,} chunks of {data["name"]}: {data["vector_bytes"] / 1e6:,.1f} MB of float32 vectors and {data["text_bytes"] / 1e6:,.1f} MB of text.

{summary(result)}

## Imports

{imports_table(result)}

## What is installed

{needs(result)}
"""
    if built:
        lines += f"\nWithout a wheel for this machine, and compiled on it: {', '.join(built)}.\n"
    return f"""{lines}
## Mistakes

Each made to a store of 2,000 chunks, in a process of its own. An error is *clear* when its text names what was given and what
was expected or is to be done, *half* when it names one of them, *vague* when neither, by the patterns in
`mistakes.py`; *right* are answers as they should be, *silent* is wrong input that is taken or a
wrong answer without an error, *crash* a process ended by a signal, *hang* one without an answer in a minute. For
hnswlib, faiss and usearch the index alone is asked: of the SQLite beside it nothing is counted.

{outcome_table(result)}

{messages(result)}
"""
