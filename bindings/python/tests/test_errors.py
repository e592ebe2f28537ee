import pickle

import pytest

import nearfield as nf

BUILTINS = {
    "DimensionMismatch": ValueError,
    "InvalidVector": ValueError,
    "DuplicateId": ValueError,
    "NotFound": KeyError,
    "SchemaMismatch": ValueError,
    "InvalidArgument": ValueError,
    "WordsError": ValueError,
    "FilterError": ValueError,
    "Locked": OSError,
    "Closed": Exception,
    "ReadOnly": OSError,
    "Poisoned": Exception,
    "Corrupt": OSError,
    "Incompatible": Exception,
    "Full": OSError,
    "Forked": Exception,
    "Cancelled": Exception,
    "IoError": OSError,
}


@pytest.mark.parametrize(("name", "builtin"), BUILTINS.items())
def test_every_error_is_in_one_tree_and_a_builtin(name, builtin):
    kind = getattr(nf, name)
    assert issubclass(kind, nf.Error)
    assert issubclass(kind, builtin)
    assert (kind.__module__, kind.__doc__ is not None) == ("nearfield", True)
    error = kind("a message")
    assert str(error) == "a message"
    assert str(pickle.loads(pickle.dumps(error))) == "a message"


def test_the_tree_holds_nothing_else():
    errors = {
        name
        for name in nf.__all__
        if isinstance(getattr(nf, name), type) and issubclass(getattr(nf, name), BaseException)
    }
    assert errors == {"Error", *BUILTINS}


def test_details_survive_pickling(docs: nf.Collection):
    with pytest.raises(nf.DuplicateId) as caught:
        docs.add([1], [[0, 0]])
    assert pickle.loads(pickle.dumps(caught.value)).ids == [1]


def test_an_error_of_the_system_keeps_its_number(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError) as caught:
        nf.open(tmp_path / "file" / "a.nf")
    assert isinstance(caught.value, nf.IoError)
    assert caught.value.errno
    assert str(caught.value.filename).endswith("a.nf")
