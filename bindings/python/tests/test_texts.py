"""Texts in: `embed=`, `add_texts`, `search(text=…)`, and the adapters of `nearfield.embed`."""

import doctest
import pickle
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

import nearfield as nf
import nearfield.embed


def abc(texts):
    return [[text.count(letter) for letter in "abc"] for text in texts]


def other(texts):
    return abc(texts)


def four(texts):
    return [[*row, 1] for row in abc(texts)]


@pytest.fixture
def notes(db: nf.Database) -> nf.Collection:
    notes = db.collection("notes", metric="l2", embed=abc, text="body")
    notes.add_texts(["aaa", "bbb", "ccc"], data={"year": [1, 2, 3]})
    return notes


@pytest.mark.parametrize("name", ["nearfield.embed", "Embedder"])
def test_the_example_of_the_docstring_runs(name, db: nf.Database):
    text = {"nearfield.embed": nf.embed, "Embedder": nf.Embedder}[name].__doc__
    example = doctest.DocTestParser().get_doctest(text, {"db": db}, name, None, None)
    messages: list[str] = []
    runner = doctest.DocTestRunner()
    runner.run(example, out=messages.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(messages)


def test_texts_are_embedded_and_kept(notes: nf.Collection):
    assert (notes.dim, notes.model, notes.schema["text"]) == (3, "abc", ["body"])
    hit = notes.search(text="bb", k=1)[0]
    assert (hit.id, hit["body"], hit["year"], hit.distance) == (2, "bbb", 2, 1.0)
    assert notes.search(abc(["bb"]), k=1)[0].id == 2
    assert notes.search(text="bb", k=2, select=["year"], exact=True).ids.tolist() == [2, 1]
    assert notes.get(3, vectors=True).vectors.tolist() == [[0, 0, 3]]


def test_ids_are_made_or_given(db: nf.Database, notes: nf.Collection):
    assert notes.add_texts("ab", ids=70) == [70]
    assert notes.add_texts(["a", "b"]) == [71, 72]
    assert notes.upsert_texts(["abc"], ids=[70]) == [70]
    assert notes.get(70)[0] == {"id": 70, "body": "abc", "year": None}
    words = db.collection("words", embed=abc, id_type="utf8")
    made = words.add_texts(["a", "b"])
    assert made == sorted(made)
    assert {len(id) for id in made} == {36}
    assert words.get(made).to_dicts() == [{"id": i, "text": t} for i, t in zip(made, "ab")]


@pytest.mark.parametrize(
    "texts",
    [
        ("a", "b"),
        iter(["a", "b"]),
        np.array(["a", "b"]),
        np.array(["a", "b"], dtype=object),
    ],
)
def test_texts_come_in_many_forms(notes: nf.Collection, texts):
    assert len(notes.add_texts(texts)) == 2
    assert [row["body"] for row in notes.get([4, 5])] == ["a", "b"]


def test_texts_of_arrow_are_texts(notes: nf.Collection):
    pa = pytest.importorskip("pyarrow")
    for kind in (pa.string(), pa.large_string(), pa.string_view()):
        assert len(notes.add_texts(pa.array(["a", "é"], kind))) == 2
    assert notes.get([9])[0]["body"] == "é"
    with pytest.raises(TypeError, match="texts: row 0"):
        notes.add_texts(pa.array([1, 2]))


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (None, "texts: expected a list of str, or one alone, given NoneType"),
        (7, "given int"),
        (b"abc", "given bytes"),
        ({"a": 1}, "given dict"),
        (["a", None], "texts: row 1: expected str, given NoneType"),
        ([["a"]], "texts: row 0: expected str, given list"),
    ],
)
def test_what_is_no_text_is_refused(notes: nf.Collection, texts, message):
    with pytest.raises(TypeError) as caught:
        notes.add_texts(texts)
    assert message in str(caught.value)
    assert len(notes) == 3


def test_a_batch_that_is_wrong_is_not_embedded(db: nf.Database):
    calls = []

    def embed(texts):
        calls.append(texts)
        return abc(texts)

    notes = db.collection("notes", embed=nf.Embedder(embed, "m", 3), text="body")
    for arguments, message in [
        ({"ids": [1]}, "1 ids for 2 texts"),
        ({"data": {"year": [1]}}, "1 values for 2 ids"),
        ({"data": {"body": ["x", "y"]}}, "column \"body\" is given twice"),
    ]:
        with pytest.raises(nf.InvalidArgument, match=message):
            notes.add_texts(["a", "b"], **arguments)
    assert (calls, len(notes)) == ([], 0)
    notes.add_texts(["a", "b"], data={"new": [1, 2]})
    assert calls == [["a", "b"]]
    assert notes.add_texts([]) == []
    assert len(calls) == 1


class Refused(RuntimeError):
    pass


@pytest.mark.parametrize("error", [Refused("no"), KeyboardInterrupt(), SystemExit(3)])
def test_what_the_callable_raises_is_passed_on_and_nothing_is_stored(db: nf.Database, error):
    def embed(texts):
        raise error

    notes = db.collection("notes", embed=nf.Embedder(embed, "m", 3))
    for call in (
        lambda: notes.add_texts(["a"], data={"new": [1]}),
        lambda: notes.upsert_texts(["a"], ids=[1]),
        lambda: notes.search(text="a"),
    ):
        with pytest.raises(type(error)) as caught:
            call()
        assert caught.value is error
        assert caught.value.__traceback__ is not None
    assert len(notes) == 0
    assert "new" not in notes.schema["columns"]
    assert db.collection("notes", embed=nf.Embedder(abc, "m", 3)).add_texts(["a"]) == [1]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ([[1, 2]], nf.DimensionMismatch, 'embedder "m": vector at row 0 has 2 dimensions, expected 3'),
        ([[1, 2, 3], [1, 2, 3]], nf.InvalidArgument, "embedder \"m\" was given 1 text and returned 2 vectors; expected 1 vector of 3 dimensions"),
        ([[[1, 2, 3]]], nf.InvalidArgument, r"shape \(1, 1, 3\)"),
        ([[1, 2, float("nan")]], nf.InvalidVector, "nan"),
        (None, TypeError, "embedder \"m\": expected an array or a list"),
        ([["x", "y", "z"]], TypeError, "given list, which is none of numbers"),
    ],
)
def test_what_is_no_vector_is_refused(db: nf.Database, given, error, message):
    notes = db.collection("notes", embed=nf.Embedder(lambda texts: given, "m", 3))
    with pytest.raises(error, match="(?i)" + message):
        notes.add_texts(["a"])
    assert len(notes) == 0


@pytest.mark.parametrize(
    ("given", "returned"),
    [
        ([[1, 2, 3]], "1 vector"),
        ([[1, 2, 3]] * 3, "3 vectors"),
        (np.zeros((3, 2)), "3 vectors"),
        (np.zeros(6), r"an array of shape \(6,\)"),
        ([1, 2, 3], r"an array of shape \(3,\)"),
        (np.zeros((2, 3, 1)), r"an array of shape \(2, 3, 1\)"),
        ([], r"an array of shape \(0,\)"),
    ],
    ids=str,
)
def test_too_few_or_too_many_vectors_are_counted(db: nf.Database, given, returned):
    notes = db.collection("notes", embed=nf.Embedder(lambda texts: given, "m", 3))
    message = f'embedder "m" was given 2 texts and returned {returned}; expected 2 vectors of 3 dimensions'
    for call in (lambda: notes.add_texts(["a", "b"]), lambda: notes.search_batch(texts=["a", "b"])):
        with pytest.raises(nf.InvalidArgument, match=message):
            call()
    assert len(notes) == 0


@pytest.mark.parametrize(
    ("given", "returned"),
    [
        ([], "an array of shape"),
        ([[]], "an array of shape"),
        (None, "NoneType"),
        (5, "int"),
        ([[1, 2], [1]], "list"),
        ([[1, 2], [3, 4]], "2 vectors"),
    ],
    ids=str,
)
def test_a_dimension_is_found_from_one_vector_alone(db: nf.Database, given, returned):
    with pytest.raises(nf.InvalidArgument, match=f'embedder "m" was given 1 text and returned {returned}'):
        db.collection("notes", embed=nf.Embedder(lambda texts: given, "m"))
    assert db.collections() == []
    assert nf.Embedder(lambda texts: np.zeros(3), "m").dim == 3


def test_a_callable_may_return_any_array(db: nf.Database):
    for dtype in ("f4", "f8", "f2", "i8", ">f4"):
        embed = nf.Embedder(lambda texts, d=dtype: np.array(abc(texts), dtype=d), "m")
        notes = db.collection(f"notes{dtype.strip('>')}{len(dtype)}", embed=embed, metric="l2")
        notes.add_texts(["aab"])
        assert notes.get(1, vectors=True).vectors.tolist() == [[2, 1, 0]]


def test_another_model_or_dimension_is_a_mismatch_that_names_both(tmp_path: Path):
    for _ in range(2):
        with nf.open(tmp_path / "a.nf") as db:
            db.collection("notes", embed=abc)
            for embed, name in [(other, '"other" of 3'), (nf.Embedder(four, "abc"), '"abc" of 4')]:
                with pytest.raises(nf.SchemaMismatch, match='"abc" of 3 dimensions') as caught:
                    db.collection("notes", embed=embed)
                assert name in str(caught.value)
            for call in (db.collection, db.create):
                with pytest.raises(nf.SchemaMismatch, match='"abc" of 3'):
                    call("new", dim=5, embed=abc)
            assert db.collections() == ["notes"]


def test_without_an_embedder_vectors_work_and_texts_say_what_is_missing(tmp_path: Path):
    with nf.open(tmp_path / "a.nf") as db:
        db.collection("notes", embed=abc, metric="l2").add_texts(["a", "b"])
    with nf.open(tmp_path / "a.nf", mode="r") as db:
        assert db.collection("notes", embed=abc).search(text="b", k=1)[0]["text"] == "b"
    with nf.open(tmp_path / "a.nf") as db:
        notes = db["notes"]
        assert (notes.model, notes.search([0, 1, 0], k=1)[0]["text"]) == ("abc", "b")
        for call in (lambda: notes.add_texts(["c"]), lambda: notes.search(text="c")):
            with pytest.raises(nf.InvalidArgument, match='open it with embed= of model "abc"'):
                call()
        plain = db.create("plain", dim=2)
        assert plain.model is None
        with pytest.raises(nf.InvalidArgument, match="open it with embed="):
            plain.search(text="c")


def test_a_search_is_by_vector_or_by_text(notes: nf.Collection):
    for arguments, given in [({}, "neither"), ({"q": [1, 2, 3], "text": "a"}, "both")]:
        with pytest.raises(TypeError, match=f"text= in their place, given {given}"):
            notes.search(**arguments)
    with pytest.raises(TypeError):
        notes.search(text=7)


def test_pages_of_a_text_tile_a_snapshot(notes: nf.Collection):
    before = notes.snapshot()
    notes.add_texts(["bbb", "bb", "b"])
    found = [i for at in range(0, 6, 2) for i in before.search(text="bb", k=2, offset=at).ids.tolist()]
    assert (found[0], sorted(found)) == (2, [1, 2, 3])
    assert before.explain(text="ccc", k=1).hits.ids.tolist() == [3]
    assert before.search_batch(texts=["aaa", "ccc"], k=1).ids.tolist() == [[1], [3]]
    assert before.search(text="aa", words="ccc", k=3).ids.tolist()[0] in (1, 3)
    notes.close()
    assert before.search(text="bb", k=1)[0].id == 2
    for arguments, given in [({}, "neither"), ({"q": [1, 2, 3], "text": "a"}, "both")]:
        with pytest.raises(TypeError, match=f"text= in their place, given {given}"):
            before.search(**arguments)


def test_a_snapshot_of_vectors_says_what_texts_need(db: nf.Database):
    snapshot = db.create("plain", dim=2).snapshot()
    for call in (lambda: snapshot.search(text="c"), lambda: snapshot.search_batch(texts=["c"])):
        with pytest.raises(nf.InvalidArgument, match='"plain" was opened without an embedder'):
            call()


def test_an_embedder_needs_a_function_and_a_name(db: nf.Database):
    with pytest.raises(nf.InvalidArgument, match="needs the name of its model"):
        db.collection("notes", embed=lambda texts: abc(texts))
    with pytest.raises(TypeError, match="expected an Embedder or a function, given int"):
        db.collection("notes", embed=7)
    with pytest.raises(TypeError, match="expected a function of a list of texts, given str"):
        nf.Embedder("abc")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="expected dim= or embed="):
        db.create("notes")
    with pytest.raises(nf.NotFound, match="give dim= or embed="):
        db.collection("notes")
    with pytest.raises(nf.InvalidArgument, match="bits"):
        db.collection("notes", dtype="b1", embed=abc)
    assert db.collections() == []


def test_the_callable_is_not_kept_in_the_files(tmp_path: Path):
    with nf.open(tmp_path / "a.nf") as db:
        db.collection("notes", embed=abc).add_texts(["a"])
    files = [p.read_bytes() for p in (tmp_path / "a.nf").rglob("*") if p.is_file()]
    assert any(b'"model": "abc"' in content or b'"model":"abc"' in content for content in files)
    assert not any(pickle.dumps(abc) in content for content in files)


def test_queries_may_be_embedded_otherwise(db: nf.Database):
    embed = nf.Embedder(abc, queries=lambda texts: abc([t.removeprefix("query ") for t in texts]))
    notes = db.collection("notes", embed=embed, metric="l2")
    notes.add_texts(["c", "query c"])
    assert notes.search(text="query c", k=1)[0].id == 1


def test_embeddings_of_langchain_are_taken_as_they_are(db: nf.Database):
    class Fake:
        model = "fake-1"

        def embed_documents(self, texts):
            return abc(texts)

        def embed_query(self, text):
            return abc([text])[0]

    notes = db.collection("notes", embed=Fake(), metric="l2")
    notes.add_texts(["a", "b"])
    assert (notes.model, notes.search(text="b", k=1)[0].id) == ("fake-1", 2)


def test_threads_may_embed_at_once(notes: nf.Collection):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda n: notes.add_texts(["a" * n, "b"]), range(40)))
    assert len({id for ids in made for id in ids}) == 80
    assert len(notes) == 83


def test_no_library_is_imported_before_it_is_asked_for():
    code = (
        "import sys, nearfield; "
        "print([m for m in ('sentence_transformers', 'model2vec', 'openai', 'langchain_core', 'llama_index', "
        "'haystack', 'torch', 'pyarrow', 'numpy') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


class FakeModel:
    """As SentenceTransformer and StaticModel are from outside."""

    dim = 3

    def __init__(self, path="", **_):
        self.calls: list[tuple] = []

    from_pretrained = classmethod(lambda cls, path: cls(path))

    def encode(self, texts, **arguments):
        self.calls.append((list(texts), arguments))
        return np.array(abc(texts), dtype="f4")

    def get_sentence_embedding_dimension(self):
        return 3


def test_sentence_transformers_is_adapted(db: nf.Database, monkeypatch, tmp_path: Path):
    module = ModuleType("sentence_transformers")
    module.SentenceTransformer = FakeModel  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sentence_transformers", module)
    embed = nf.embed.sentence_transformers("org/mini", batch_size=7)
    assert (embed.model, embed.dim) == ("org/mini", 3)
    (tmp_path / "mini-local").mkdir()
    assert nf.embed.sentence_transformers(tmp_path / "mini-local").model == "mini-local"
    with pytest.raises(nf.InvalidArgument, match="name="):
        nf.embed.sentence_transformers(FakeModel())

    class Asymmetric(FakeModel):
        def encode_query(self, texts, **arguments):
            return self.encode([text[::-1] for text in texts], **arguments)

    model = Asymmetric()
    embed = nf.embed.sentence_transformers(model, name="m", batch_size=7)
    notes = db.collection("notes", embed=embed, metric="l2")
    notes.add_texts(["ab"])
    notes.search(text="cb")
    assert [texts for texts, _ in model.calls] == [["ab"], ["bc"]]
    assert model.calls[0][1]["batch_size"] == 7


def test_model2vec_is_adapted(db: nf.Database, monkeypatch):
    module = ModuleType("model2vec")
    module.StaticModel = FakeModel  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "model2vec", module)
    notes = db.collection("notes", embed=nf.embed.model2vec("org/static"))
    assert (notes.model, notes.dim, notes.add_texts(["ab"])) == ("org/static", 3, [1])


def test_openai_is_adapted(db: nf.Database):
    class Client:
        def __init__(self):
            self.requests: list[dict] = []
            self.embeddings = self

        def create(self, **request):
            self.requests.append(request)
            rows = enumerate(abc(request["input"]))
            data = [SimpleNamespace(index=index, embedding=row) for index, row in rows]
            return SimpleNamespace(data=data[::-1])

    client = Client()
    embed = nf.embed.openai("small", client=client, dimensions=3, batch_size=2)
    notes = db.collection("notes", embed=embed, metric="l2")
    assert client.requests == []
    notes.add_texts(["a", "b", "c"])
    assert [request["input"] for request in client.requests] == [["a", "b"], ["c"]]
    assert all(r["model"] == "small" and r["dimensions"] == 3 for r in client.requests)
    assert notes.search(text="c", k=1)[0].id == 3
    with pytest.raises(nf.InvalidArgument, match="batch_size is 0"):
        nf.embed.openai("small", client=client, batch_size=0)


@pytest.mark.parametrize("adapter", ["sentence_transformers", "model2vec", "openai"])
def test_an_adapter_says_which_package_it_needs(adapter: str, monkeypatch):
    monkeypatch.setitem(sys.modules, adapter, None)
    with pytest.raises(ModuleNotFoundError, match=f"pip install {adapter.replace('_', '-')}"):
        getattr(nearfield.embed, adapter)("some-model")


def test_a_method_that_every_model_has_is_no_name_of_one():
    class Model:
        def encode(self, texts):
            return [[1.0] for _ in texts]

    with pytest.raises(nf.InvalidArgument, match="model="):
        nf.Embedder(Model().encode)
    assert nf.Embedder(Model().encode, model="ones").model == "ones"
