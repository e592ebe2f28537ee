"""The type stubs say what the module has, and nothing else."""

import ast
import inspect
from pathlib import Path

import pytest

import nearfield as nf
from nearfield import _nearfield

PACKAGE = Path(nf.__file__).parent
TREE = ast.parse((PACKAGE / "_nearfield.pyi").read_text())
CLASSES = {node.name: node for node in TREE.body if isinstance(node, ast.ClassDef)}
PUBLIC = [name for name in CLASSES if not name.startswith("_")]
# What every Python class has, or what the language makes of `__iter__` and the like.
IMPLIED = {"__doc__", "__module__", "__new__"}
# Of a class with `__eq__`, the comparisons that it refuses.
ORDER = {"__ne__", "__lt__", "__le__", "__gt__", "__ge__"}


def members(name: str) -> dict[str, ast.FunctionDef]:
    """The methods of a class in the stubs, with those of its bases."""
    node = CLASSES[name]
    found = {}
    for base in node.bases:
        found |= members(ast.unparse(base))
    for item in node.body:
        if isinstance(item, ast.FunctionDef):
            found[item.name] = item
        elif isinstance(item, ast.AnnAssign) and ast.unparse(item.target) == "__hash__":
            found["__hash__"] = None
    return found


def parameters(node: ast.FunctionDef) -> list[str]:
    arguments = node.args
    names = [a.arg for a in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]]
    return [name for name in names if name != "self"]


def test_the_package_is_marked_as_typed():
    assert (PACKAGE / "py.typed").exists()


def test_every_public_name_is_in_the_stubs():
    functions = {node.name for node in TREE.body if isinstance(node, ast.FunctionDef)}
    there = {name for name in dir(_nearfield) if not name.startswith("_")}
    assert there == functions | set(PUBLIC)
    assert there <= set(nf.__all__)
    assert set(nf.__all__) <= set(dir(nf))


@pytest.mark.parametrize("name", PUBLIC)
def test_every_member_is_in_the_stubs(name):
    stubs = set(members(name)) - IMPLIED
    there = set(vars(getattr(nf, name))) - IMPLIED - {"__repr__"}
    assert there - (ORDER - stubs if "__eq__" in stubs else set()) == stubs


@pytest.mark.parametrize("name", PUBLIC)
def test_every_method_has_the_parameters_of_the_stubs(name):
    for method, node in members(name).items():
        member = getattr(getattr(nf, name), method)
        if method.startswith("__") or not callable(member):
            continue
        signature = inspect.signature(member)
        there = [p for p in signature.parameters.values() if p.name != "self"]
        assert [p.name for p in there] == parameters(node), method
        defaults = [*node.args.defaults, *filter(None, node.args.kw_defaults)]
        stub = [ast.literal_eval(default) for default in defaults]
        assert [p.default for p in there if p.default is not p.empty] == stub, method


def test_functions_have_the_parameters_of_the_stubs():
    for node in TREE.body:
        if isinstance(node, ast.FunctionDef):
            signature = inspect.signature(getattr(nf, node.name))
            assert list(signature.parameters) == parameters(node)


def documented() -> dict[str, tuple[str | None, object]]:
    """What the stubs say of everything public, beside the thing itself."""
    found = {}
    for node in TREE.body:
        name = getattr(node, "name", "_")
        if name.startswith("_"):
            continue
        owner = getattr(_nearfield, name)
        found[name] = (ast.get_docstring(node), owner)
        for item in node.body if isinstance(node, ast.ClassDef) else []:
            method = getattr(item, "name", "_")
            if not method.startswith("_") and not any(".setter" in ast.unparse(d) for d in item.decorator_list):
                found[f"{name}.{method}"] = (ast.get_docstring(item), getattr(owner, method))
    return found


@pytest.mark.parametrize("name", documented())
def test_the_stubs_say_what_the_docstrings_say(name):
    text, member = documented()[name]
    assert text == inspect.getdoc(member), "run stubs.py, which writes the docstrings into the stubs"
