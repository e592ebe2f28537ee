"""Writes the docstrings of the extension module into its type stubs.

    python stubs.py

Editors show what the stubs say, people read what `help` says, and both must be one text: that of the
module, which is installed (`maturin develop`) when this runs. Signatures are written by hand; the tests
compare both with the module.
"""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any

from nearfield import _nearfield

STUBS = Path(__file__).parent / "python" / "nearfield" / "_nearfield.pyi"


def text_of(member: Any, indent: int) -> list[str]:
    """A docstring, line by line, as it stands in the source."""
    lines = inspect.cleandoc(member.__doc__).splitlines()
    quotes = 'r"""' if "\\" in member.__doc__ else '"""'
    lines[0] = quotes + lines[0]
    if len(lines) == 1 and not lines[0].endswith('"'):
        lines[0] += '"""'
    else:
        lines.append('"""')
    return [" " * indent + line if line else "" for line in lines]


def documented(node: ast.AST, member: Any, source: list[str]) -> tuple[int, int, list[str]] | None:
    """The lines of a class or function to replace, from and behind, and what by."""
    if not isinstance(node, (ast.ClassDef, ast.FunctionDef)) or not getattr(member, "__doc__", None):
        return None
    first = node.body[0]
    text = text_of(member, node.col_offset + 4)
    if not (isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)):
        # A class that begins with a method: in front of that, and of its decorators.
        start = min(line.lineno for line in [first, *getattr(first, "decorator_list", [])]) - 1
        return start, start, text
    # A docstring, or the dots in its place, perhaps behind the signature.
    start = first.lineno - 1
    head = source[start][: first.col_offset].rstrip()
    return start, first.end_lineno or first.lineno, ([head] if head else []) + text


def main() -> None:
    source = STUBS.read_text().splitlines()
    edits = []
    for node in ast.parse(STUBS.read_text()).body:
        name = getattr(node, "name", "_")
        if name.startswith("_") or not hasattr(_nearfield, name):
            continue
        owner = getattr(_nearfield, name)
        edits.append(documented(node, owner, source))
        for item in node.body if isinstance(node, ast.ClassDef) else []:
            method = getattr(item, "name", "_")
            setter = any(".setter" in ast.unparse(d) for d in getattr(item, "decorator_list", []))
            if not method.startswith("_") and not setter:
                edits.append(documented(item, getattr(owner, method), source))
    for start, end, lines in sorted(filter(None, edits), reverse=True):
        source[start:end] = lines
    STUBS.write_text("\n".join(source) + "\n")


if __name__ == "__main__":
    main()
