"""Programs for Chroma run on its layer with another import line, and give the same answers."""

import importlib
import json
import os
import random
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nearfield as nf
import nearfield.compat.chroma as ours
from nearfield.compat import Unsupported
from nearfield.compat.chroma.utils import embedding_functions

IMPORTS = {"nearfield": "import nearfield.compat.chroma as chromadb", "chromadb": "import chromadb"}
BOTH = pytest.mark.parametrize("library", IMPORTS)
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Letters:
    """How often a text has the letters a, b and c."""

    def __call__(self, input):
        return [np.array([text.count(letter) for letter in "abc"], np.float32) for text in input]

    def embed_query(self, input):
        return self(input)

    @staticmethod
    def name() -> str:
        return "letters"

    def get_config(self):
        return {}

    @staticmethod
    def build_from_config(config):
        return Letters()

    def default_space(self):
        return "l2"

    def supported_spaces(self):
        return ["l2", "cosine", "ip"]

    def is_legacy(self):
        return False


def module(library: str) -> ModuleType:
    if library == "nearfield":
        return ours
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("chromadb", reason="chromadb is not installed")


def client_of(library: str, path: Path) -> Any:
    chromadb = module(library)
    settings = importlib.import_module(f"{chromadb.__name__}.config").Settings
    return chromadb.PersistentClient(str(path), settings(anonymized_telemetry=False, allow_reset=True))


@pytest.fixture(params=IMPORTS)
def client(request, tmp_path: Path) -> Iterator[Any]:
    client = client_of(request.param, tmp_path / "db")
    yield client
    client.close()


@pytest.fixture
def mine(tmp_path: Path) -> Iterator[ours.ClientAPI]:
    with ours.PersistentClient(tmp_path / "db", ours.Settings(allow_reset=True)) as client:
        yield client


QUICK_START = """
client = chromadb.PersistentClient(path)
collection = client.create_collection("all-my-documents", embedding_function=model)
collection.add(
    documents=["a cab", "abc abc abc", "bbbb"],
    metadatas=[{"source": "notion"}, {"source": "google-docs"}, {"source": "notion", "page": 3}],
    ids=["doc1", "doc2", "doc3"],
)
results = collection.query(query_texts=["a cab", "bb"], n_results=2)
filtered = collection.query(
    query_texts=["bb"], n_results=2, where={"source": "notion"}, where_document={"$contains": "bb"}
)
everything = collection.get()
peeked = collection.peek(1)
count = collection.count()
collection.update(ids=["doc1"], documents=["cc"], metadatas=[{"page": 1}])
updated = collection.get(ids=["doc1"], include=["documents", "metadatas", "embeddings"])
collection.upsert(ids=["doc1", "doc4"], documents=["aa", "dd"])
collection.delete(ids=["doc2"])
left = collection.get(where={"page": {"$gte": 1}})["ids"], collection.count()
names = [collection.name for collection in client.list_collections()]
same = client.get_or_create_collection("all-my-documents", embedding_function=model)
again = client.get_collection(name="all-my-documents", embedding_function=model).query(query_texts=["aa"], n_results=1)
client.delete_collection("all-my-documents")
none = client.list_collections()
client.close()
"""


@BOTH
def test_the_quick_start(library, tmp_path: Path):
    module(library)
    found: dict[str, Any] = {"path": str(tmp_path / "db"), "model": Letters()}
    exec(f"{IMPORTS[library]}\n{QUICK_START}", found)
    notion, docs = {"source": "notion"}, {"source": "google-docs"}
    assert found["results"] == {
        "ids": [["doc1", "doc2"], ["doc3", "doc1"]],
        "embeddings": None,
        "documents": [["a cab", "abc abc abc"], ["bbbb", "a cab"]],
        "uris": None,
        "included": ["metadatas", "documents", "distances"],
        "data": None,
        "metadatas": [[notion, docs], [{**notion, "page": 3}, notion]],
        "distances": [[0.0, 9.0], [4.0, 6.0]],
    }
    assert (found["filtered"]["ids"], found["filtered"]["distances"]) == ([["doc3"]], [[4.0]])
    assert found["everything"] == {
        "ids": ["doc1", "doc2", "doc3"],
        "embeddings": None,
        "documents": ["a cab", "abc abc abc", "bbbb"],
        "uris": None,
        "included": ["metadatas", "documents"],
        "data": None,
        "metadatas": [notion, docs, {**notion, "page": 3}],
    }
    assert found["peeked"]["embeddings"].tolist() == [[2, 1, 1]] and found["count"] == 3
    assert found["updated"]["embeddings"].dtype == np.float64 and found["updated"]["embeddings"].tolist() == [[0, 0, 2]]
    assert found["updated"]["metadatas"] == [{**notion, "page": 1}] and found["updated"]["documents"] == ["cc"]
    assert found["left"] == (["doc1", "doc3"], 3)
    assert (found["names"], found["same"].name, found["none"]) == (["all-my-documents"], "all-my-documents", [])
    assert found["again"]["ids"] == [["doc1"]]


def filled(client: Any) -> Any:
    collection = client.create_collection("shelf", embedding_function=None)
    collection.add(
        ids=["b", "a", "c10", "c2"],
        embeddings=[[0, 1], [1, 0], [1, 1], [2, 2]],
        documents=["Hello World", "the cat", None, "Cat 10%"],
        metadatas=[
            {"n": 1, "s": "x", "b": True, "f": 0.5, "l": ["p", "q"]},
            {"n": 2.0, "s": "y"},
            None,
            {"n": "text", "l": ["p"], "b": False},
        ],
        uris=["u1", None, None, "u4"],
    )
    return collection


WHERE: list[tuple[Any, list[str]]] = [
    ({"n": 1}, ["b"]),
    ({"n": 1.0}, ["b"]),
    ({"n": 2}, ["a"]),
    ({"n": "text"}, ["c2"]),
    ({"n": {"$gt": 0}}, ["b", "a"]),
    ({"n": {"$gte": 2.0}}, ["a"]),
    ({"n": {"$lt": 2}}, ["b"]),
    ({"n": {"$lte": 2}}, ["b", "a"]),
    ({"n": {"$eq": 2.0}}, ["a"]),
    ({"n": {"$ne": 1}}, ["a", "c10", "c2"]),
    ({"n": {"$in": [1, 2, 7]}}, ["b", "a"]),
    ({"n": {"$nin": [1]}}, ["a", "c10", "c2"]),
    ({"s": {"$in": ["x"]}}, ["b"]),
    ({"s": {"$ne": "x"}}, ["a", "c10", "c2"]),
    ({"b": True}, ["b"]),
    ({"b": False}, ["c2"]),
    ({"b": 1}, []),
    ({"b": {"$ne": True}}, ["a", "c10", "c2"]),
    ({"f": {"$gt": 0}}, ["b"]),
    ({"none": 1}, []),
    ({"none": {"$ne": 1}}, ["b", "a", "c10", "c2"]),
    ({"l": {"$contains": "q"}}, ["b"]),
    ({"l": {"$not_contains": "q"}}, ["a", "c10", "c2"]),
    ({"s": {"$contains": "x"}}, []),
    ({"$and": [{"n": {"$gte": 1}}, {"s": "y"}]}, ["a"]),
    ({"$or": [{"n": 1}, {"$and": [{"n": "text"}, {"b": False}]}]}, ["b", "c2"]),
]
WHERE_DOCUMENT: list[tuple[Any, list[str]]] = [
    ({"$contains": "cat"}, ["a"]),
    ({"$contains": "Cat"}, ["c2"]),
    ({"$not_contains": "cat"}, ["b", "c10", "c2"]),
    ({"$contains": "%"}, ["c2"]),
    ({"$and": [{"$contains": "cat"}, {"$contains": "the"}]}, ["a"]),
    ({"$or": [{"$contains": "cat"}, {"$contains": "Hello"}]}, ["b", "a"]),
]


def test_filters_find_what_chroma_finds(client):
    collection = filled(client)
    for where, expected in WHERE:
        assert collection.get(where=where, include=[])["ids"] == expected, where
        found = collection.query(query_embeddings=[[0, 0]], where=where, include=[])["ids"]
        assert sorted(found[0]) == sorted(expected), where
    for where, expected in WHERE_DOCUMENT:
        assert collection.get(where_document=where, include=[])["ids"] == expected, where
    both = collection.get(where={"n": {"$gte": 1}}, where_document={"$contains": "cat"}, ids=["a", "b", "nobody"])
    assert both["ids"] == ["a"]
    assert collection.delete(where={"$or": [{"n": 1}, {"s": "y"}]})["deleted"] == 2
    assert collection.get()["ids"] == ["c10", "c2"]


def test_records_come_back_as_they_were_in_the_order_of_adding(client):
    collection = filled(client)
    everything = collection.get(include=["metadatas", "documents", "uris", "embeddings"])
    assert everything["ids"] == ["b", "a", "c10", "c2"]
    assert everything["embeddings"].tolist() == [[0, 1], [1, 0], [1, 1], [2, 2]]
    assert everything["documents"] == ["Hello World", "the cat", None, "Cat 10%"]
    assert everything["uris"] == ["u1", None, None, "u4"]
    assert everything["metadatas"] == [
        {"n": 1, "s": "x", "b": True, "f": 0.5, "l": ["p", "q"]},
        {"n": 2.0, "s": "y"},
        None,
        {"n": "text", "l": ["p"], "b": False},
    ]
    assert type(everything["metadatas"][0]["n"]) is int and type(everything["metadatas"][1]["n"]) is float
    assert collection.get(ids=["c2", "nobody", "a"])["ids"] == ["a", "c2"]
    assert collection.get(ids="a")["ids"] == ["a"]
    assert collection.get(limit=2, offset=1)["ids"] == ["a", "c10"]
    assert collection.get(limit=0)["ids"] == [] and collection.get(offset=9)["ids"] == []
    assert collection.get(where={"n": {"$ne": 1}}, limit=1, offset=1)["ids"] == ["c10"]
    assert collection.peek(3)["ids"] == ["b", "a", "c10"]


def test_queries_have_the_shapes_of_chroma(client):
    collection = filled(client)
    found = collection.query(
        query_embeddings=[0, 1], n_results=9, include=["embeddings", "uris", "metadatas", "documents", "distances"]
    )
    assert found["ids"] == [["b", "c10", "a", "c2"]]
    assert found["distances"][0] == [0.0, 1.0, 2.0, 5.0] and found["uris"][0][0] == "u1"
    assert [type(part) for part in (found["embeddings"], found["embeddings"][0])] == [list, np.ndarray]
    assert found["embeddings"][0][0].tolist() == [0, 1] and found["data"] is None
    many = collection.query(query_embeddings=np.array([[0, 1], [2, 2]]), n_results=1, include=[])
    assert many["ids"] == [["b"], ["c2"]]
    assert all(many[part] is None for part in ("embeddings", "uris", "metadatas", "documents", "distances"))
    among = collection.query(query_embeddings=[[0, 1]], ids=["a", "c2"], n_results=9, include=["distances"])
    assert (among["ids"], among["distances"]) == ([["a", "c2"]], [[2.0, 5.0]])
    empty = client.create_collection("empty", embedding_function=None)
    assert empty.get()["ids"] == [] and empty.count() == 0 and empty.peek()["ids"] == []
    assert empty.query(query_embeddings=[[1], [2]]) == {
        "ids": [[], []], "embeddings": None, "documents": [[], []], "uris": None,
        "included": ["metadatas", "documents", "distances"], "data": None, "metadatas": [[], []], "distances": [[], []],
    }  # fmt: skip


def test_writes_of_ids_that_exist(client):
    collection = client.create_collection("writes", embedding_function=None)
    collection.add(ids=["a"], embeddings=[[1, 0]], documents=["old"], metadatas=[{"n": 1, "m": "x"}], uris=["u"])
    collection.add(ids=["a", "b"], embeddings=[[9, 9], [2, 2]], documents=["new", "b"])
    collection.upsert(ids=["a", "c"], embeddings=[[3, 3], [4, 4]], metadatas=[{"k": 2.5}, {"n": 3}])
    collection.update(ids=["b", "nobody"], embeddings=[[5, 5], [6, 6]], metadatas=[{"n": 2}, {"n": 9}])
    collection.update(ids=["a"], metadatas=[{"m": None, "n": "text"}])
    collection.update(ids=["c"], documents=["c"], embeddings=[[7, 7]])
    found = collection.get(include=["metadatas", "documents", "uris", "embeddings"])
    assert found["ids"] == ["a", "b", "c"]
    assert found["embeddings"].tolist() == [[3, 3], [5, 5], [7, 7]]
    assert found["documents"] == ["old", "b", "c"] and found["uris"] == ["u", None, None]
    assert found["metadatas"] == [{"n": "text", "k": 2.5}, {"n": 2}, {"n": 3}]
    collection.add(ids="one", embeddings=[1, 2], documents="alone", metadatas={"n": 4})
    assert collection.get(ids="one")["metadatas"] == [{"n": 4}]


SPACES: list[tuple[dict[str, Any], str]] = [
    ({}, "l2"),
    ({"metadata": {"hnsw:space": "cosine", "topic": "x"}}, "cosine"),
    ({"configuration": {"hnsw": {"space": "ip"}}}, "ip"),
    ({"configuration": {"hnsw": {"space": "l2", "ef_search": 50, "max_neighbors": 8}}}, "l2"),
    ({"metadata": {"hnsw:space": "cosine"}, "configuration": {"hnsw": {"space": "ip"}}}, "ip"),
]


@pytest.mark.parametrize(("settings", "space"), SPACES)
def test_distances_are_those_of_the_space(client, settings, space):
    collection = client.create_collection("space", embedding_function=None, **settings)
    data = np.random.default_rng(1).normal(size=(50, 8)).astype(np.float32)
    collection.add(ids=[str(row) for row in range(50)], embeddings=data)
    found = collection.query(query_embeddings=data[:3] + 0.1, n_results=5)
    queries = (data[:3] + 0.1).astype(np.float64)
    unit = data / np.linalg.norm(data, axis=1, keepdims=True)
    expected = {
        "l2": ((queries[:, None] - data[None]) ** 2).sum(axis=2),
        "ip": 1 - queries @ data.T,
        "cosine": 1 - queries @ unit.T / np.linalg.norm(queries, axis=1, keepdims=True),
    }[space]
    assert found["ids"] == np.argsort(expected, axis=1)[:, :5].astype(str).tolist()
    np.testing.assert_allclose(found["distances"], np.sort(expected, axis=1)[:, :5], rtol=1e-4, atol=1e-6)
    assert collection.configuration_json["hnsw"]["space"] == space == collection.configuration["hnsw"]["space"]
    assert collection.metadata == settings.get("metadata")


def test_collections_are_listed_changed_and_deleted(client):
    first = client.create_collection("first", embedding_function=None, metadata={"a": 1})
    first.add(ids=["x"], embeddings=[[1, 2]])
    client.create_collection("second", embedding_function=None)
    assert client.count_collections() == 2 and {c.name for c in client.list_collections()} == {"first", "second"}
    assert client.get_or_create_collection("first", metadata={"b": 2}, embedding_function=None).metadata == {"a": 1}
    first.modify(name="renamed", metadata={"c": 3})
    assert (first.name, first.metadata, first.count()) == ("renamed", {"c": 3}, 1)
    same = client.get_collection("renamed", embedding_function=None)
    assert (same.id, same.metadata, same.get()["ids"], same == first) == (first.id, {"c": 3}, ["x"], True)
    first.modify(configuration={"hnsw": {"ef_search": 33}})
    assert client.get_collection("renamed", embedding_function=None).configuration_json["hnsw"]["ef_search"] == 33
    assert client.create_collection("second", embedding_function=None, get_or_create=True).count() == 0
    client.delete_collection("renamed")
    with pytest.raises(Exception, match="does not exist"):
        first.count()
    assert client.heartbeat() > 0 and client.get_max_batch_size() > 1000
    assert repr(client.list_collections()) == "[Collection(name=second)]"
    assert client.reset() is True and client.list_collections() == []


EUCLID = {"hnsw": {"space": "euclid"}}
WRONG: dict[str, tuple[Any, Any]] = {
    "unknown": ("NotFoundError", lambda c, x: c.get_collection("nobody", embedding_function=None)),
    "delete unknown": ("NotFoundError", lambda c, x: c.delete_collection("nobody")),
    "exists": ("InternalError", lambda c, x: c.create_collection("shelf", embedding_function=None)),
    "name": ("InvalidArgumentError", lambda c, x: c.create_collection("a b", embedding_function=None)),
    "short name": ("InvalidArgumentError", lambda c, x: x.modify(name="x")),
    "space": ("InvalidArgumentError", lambda c, x: c.create_collection("ccc", configuration=EUCLID, embedding_function=None)),
    "dimension": ("InvalidArgumentError", lambda c, x: x.add(ids=["x"], embeddings=[[1, 2, 3]])),
    "query dimension": ("InvalidArgumentError", lambda c, x: x.query(query_embeddings=[[1, 2, 3]])),
    "update dimension": ("InvalidArgumentError", lambda c, x: x.update(ids=["a"], embeddings=[[1]])),
    "ragged": ("InvalidArgumentError", lambda c, x: x.add(ids=["x", "y"], embeddings=[[1, 2], [1, 2, 3]])),
    "nan": ("InvalidArgumentError", lambda c, x: x.add(ids=["x"], embeddings=[[1, float("nan")]])),
    "empty id": ("InvalidArgumentError", lambda c, x: x.add(ids=[""], embeddings=[[1, 2]])),
    "twice": ("DuplicateIDError", lambda c, x: x.add(ids=["x", "x"], embeddings=[[1, 2], [1, 2]])),
    "get twice": ("DuplicateIDError", lambda c, x: x.get(ids=["a", "a"])),
    "texts as embeddings": (ValueError, lambda c, x: x.add(ids=["x"], embeddings=[["a", "b"]])),
    "lengths": (ValueError, lambda c, x: x.add(ids=["x", "y"], embeddings=[[1, 2]])),
    "lengths of metadata": (ValueError, lambda c, x: x.add(ids=["x"], embeddings=[[1, 2]], metadatas=[{"a": 1}, {"a": 2}])),
    "number as id": (ValueError, lambda c, x: x.add(ids=[1], embeddings=[[1, 2]])),
    "no ids": (ValueError, lambda c, x: x.add(ids=[], embeddings=[])),
    "nothing": (ValueError, lambda c, x: x.add(ids=["x"])),
    "metadata alone": (ValueError, lambda c, x: x.add(ids=["x"], metadatas=[{"a": 1}])),
    "empty metadata": (ValueError, lambda c, x: x.add(ids=["x"], embeddings=[[1, 2]], metadatas=[{}])),
    "nested metadata": (ValueError, lambda c, x: x.add(ids=["x"], embeddings=[[1, 2]], metadatas=[{"a": {"b": 1}}])),
    "empty list": (ValueError, lambda c, x: x.add(ids=["x"], embeddings=[[1, 2]], metadatas=[{"a": []}])),
    "number as document": (ValueError, lambda c, x: x.add(ids=["x"], documents=[3], embeddings=[[1, 2]])),
    "no query": (ValueError, lambda c, x: x.query()),
    "empty query": (ValueError, lambda c, x: x.query(query_embeddings=[])),
    "include": (ValueError, lambda c, x: x.query(query_embeddings=[[1, 2]], include=["vectors"])),
    "include distances": (ValueError, lambda c, x: x.get(include=["distances"])),
    "results": (TypeError, lambda c, x: x.query(query_embeddings=[[1, 2]], n_results=0)),
    "results as text": (ValueError, lambda c, x: x.query(query_embeddings=[[1, 2]], n_results="3")),
    "delete all": (ValueError, lambda c, x: x.delete()),
    "delete none": (ValueError, lambda c, x: x.delete(ids=[])),
    "delete limit": (ValueError, lambda c, x: x.delete(ids=["a"], limit=1)),
    "change space": (ValueError, lambda c, x: x.modify(metadata={"hnsw:space": "ip"})),
    "where": (ValueError, lambda c, x: x.get(where={})),
    "where two": (ValueError, lambda c, x: x.get(where={"a": 1, "b": 2})),
    "where operator": (ValueError, lambda c, x: x.get(where={"a": {"$foo": 1}})),
    "where logic": (ValueError, lambda c, x: x.get(where={"$not": {"a": 1}})),
    "where one": (ValueError, lambda c, x: x.get(where={"$and": [{"a": 1}]})),
    "where mixed": (ValueError, lambda c, x: x.get(where={"a": {"$in": [1, "x"]}})),
    "where empty": (ValueError, lambda c, x: x.get(where={"a": {"$in": []}})),
    "where text": (ValueError, lambda c, x: x.get(where={"a": {"$gt": "x"}})),
    "where none": (ValueError, lambda c, x: x.get(where={"a": None})),
    "where list": (ValueError, lambda c, x: x.get(where=[{"a": 1}])),
    "document operator": (ValueError, lambda c, x: x.get(where_document={"$foo": "x"})),
    "document empty": (ValueError, lambda c, x: x.get(where_document={"$contains": ""})),
    "document number": (ValueError, lambda c, x: x.get(where_document={"$contains": 3})),
    "argument": (TypeError, lambda c, x: x.get(filter={})),
}


def test_what_chroma_refuses_is_an_error_of_the_same_kind(client):
    collection = filled(client)
    own = isinstance(client, ours.ClientAPI)
    errors = importlib.import_module("nearfield.compat.chroma.errors" if own else "chromadb.errors")
    for name, (kind, call) in WRONG.items():
        error = getattr(errors, kind) if isinstance(kind, str) else kind
        with pytest.raises(error) as refused:
            call(client, collection)
        if own and name != "argument":
            assert isinstance(refused.value, nf.Error) and str(refused.value), name
    assert collection.count() == 4 and collection.name == "shelf"


def test_what_is_not_covered_names_the_way(mine):
    collection = filled(mine)
    for message, call in [
        ("PersistentClient", lambda: ours.HttpClient(host="localhost")),
        ("nearfield.aio", lambda: ours.AsyncHttpClient()),
        ("PersistentClient", lambda: ours.CloudClient(api_key="x")),
        ("a path for each", lambda: ours.AdminClient()),
        ("another path", lambda: ours.EphemeralClient(tenant="other")),
        ("another path", lambda: ours.EphemeralClient(database="other")),
        ("indexes every key", lambda: mine.create_collection("ccc", schema={})),
        ("embeddings", lambda: mine.get_collection("shelf", data_loader=print)),
        ("give hnsw", lambda: mine.create_collection("ccc", configuration={"spann": {}})),
        ("make embeddings", lambda: collection.add(ids=["x"], images=[np.zeros((2, 2))])),
        ("query_embeddings", lambda: collection.query(query_uris=["x"])),
        ("include uris", lambda: collection.get(include=["data"])),
        ("make str", lambda: collection.add(ids=["x"], embeddings=[[1, 2]], metadatas=[{"a": [1, 2]}])),
        ("like", lambda: collection.get(where_document={"$regex": "c.t"})),
        ("collection.nearfield", lambda: collection.search([])),
        ("collection.nearfield", lambda: collection.fork("x")),
        ("sentence_transformers", lambda: embedding_functions.DefaultEmbeddingFunction()),
        ("any function", lambda: embedding_functions.CohereEmbeddingFunction()),
    ]:
        with pytest.raises(Unsupported, match=message) as refused:
            call()
        assert isinstance(refused.value, NotImplementedError)
    assert collection.count() == 4 and mine.count_collections() == 1


def test_embedding_functions_in_all_forms(mine):
    def embed(texts: list[str]) -> list[list[float]]:
        return [[float(len(text)), 1.0] for text in texts]

    class Asymmetric:
        def __call__(self, input):
            return np.array(embed(input))

        def embed_query(self, input):
            return [[-len(text), 1] for text in input]

    class LangChain:
        def embed_documents(self, texts):
            return embed(texts)

        def embed_query(self, text):
            return embed([text])[0]

    forms = {
        "function": embed,
        "embedder": nf.Embedder(embed, "lengths"),
        "langchain": LangChain(),
        "chroma": Letters(),
        "derived": type("Derived", (ours.EmbeddingFunction,), {"__call__": lambda self, input: embed(input)})(),
        "configured": None,
    }
    for name, model in forms.items():
        kwargs = {"configuration": {"embedding_function": embed}} if model is None else {"embedding_function": model}
        collection = mine.create_collection(name, **kwargs)
        collection.add(ids=["x", "y"], documents=["a", "aaaa"])
        assert collection.query(query_texts=["aaa"], n_results=1)["ids"] == [["y"]], name
        # The function is known to the process, and not to the database.
        assert mine.get_collection(name).query(query_texts="aaa", n_results=1)["ids"] == [["y"]], name
    asymmetric = mine.create_collection("asymmetric", embedding_function=Asymmetric())
    asymmetric.add(ids=["x"], documents=["aaa"])
    assert asymmetric.query(query_texts=["aaa"])["distances"] == [[36.0]]
    with pytest.raises(ValueError, match="Embedding function conflict: new: other vs persisted: lengths"):
        mine.get_collection("embedder", embedding_function=nf.Embedder(embed, "other"))
    with pytest.raises(ValueError, match="given 2 texts and returned 1 vectors"):
        mine.create_collection("few", embedding_function=lambda texts: [[1, 2]]).add(ids=["x", "y"], documents=["a", "b"])
    with pytest.raises(TypeError, match="function"):
        mine.create_collection("none", embedding_function=3)


def test_without_an_embedding_function_the_error_says_how_to_give_one(mine):
    collection = mine.create_collection("docs")
    for call in [
        lambda: collection.add(ids=["a"], documents=["text"]),
        lambda: collection.upsert(ids=["a"], documents=["text"]),
        lambda: collection.query(query_texts=["text"]),
    ]:
        with pytest.raises(ValueError, match="embedding_function= .* nearfield.embed.sentence_transformers"):
            call()
    collection.add(ids=["a"], documents=["text"], embeddings=[[1, 2]])
    assert collection.get()["documents"] == ["text"]


def test_names_of_keys_that_mean_something_else_are_kept(mine):
    collection = mine.create_collection("keys")
    odd = {"id": 7, "score": 0.5, "document": "d", "": "empty", "page#int": "x", "a.b": True, "added": 1, "uri": "u", "ä": 1}
    collection.add(ids=["x", "y"], embeddings=[[1, 2], [3, 4]], metadatas=[odd, {"page": 1, "page#int": 2}])
    collection.add(ids=["z"], embeddings=[[5, 6]], metadatas=[{"page": "one", "id": "seven"}])
    assert collection.get()["metadatas"] == [odd, {"page": 1, "page#int": 2}, {"page": "one", "id": "seven"}]
    for where, expected in [
        ({"id": 7}, "x"), ({"score": {"$gt": 0}}, "x"), ({"": "empty"}, "x"), ({"page#int": "x"}, "x"), ({"page": 1}, "y"),
        ({"page": "one"}, "z"), ({"id": "seven"}, "z"), ({"document": "d"}, "x"), ({"a.b": True}, "x"), ({"added": 1}, "x"),
    ]:  # fmt: skip
        assert collection.get(where=where)["ids"] == [expected], where
    for metadata in [{"a": 2**63}, {"a": "\ud800"}, {"k" * 300: 1}, {"a\0": 1}]:
        with pytest.raises(nf.Error):
            collection.add(ids=["w"], embeddings=[[1, 2]], metadatas=[metadata])
    assert collection.count() == 3


def test_what_is_stored_is_a_plain_collection_of_nearfield(tmp_path: Path):
    with ours.PersistentClient(tmp_path / "a" / "db.nf") as client:
        collection = filled(client)
        native = collection.nearfield
        assert native is not None and native.search([0, 1], k=1, where="s = 'x' AND n = 1")[0]["document"] == "Hello World"
        assert client.create_collection("empty").nearfield is None
        native.upsert("native", [3, 3], [{"n": 5, "document": "by nearfield"}])
        assert collection.get(where={"n": 5})["documents"] == ["by nearfield"]
    with nf.open(tmp_path / "a" / "db.nf") as db:
        assert db.collections() == ["_chroma", "shelf"]
        assert db["shelf"].schema["columns"] == {
            "document": "utf8", "uri": "utf8", "added": "int64", "n": "int64", "s": "utf8", "b": "bool", "f": "float64",
            "l": "list_utf8", "n#float": "float64", "n#str": "utf8",
        }  # fmt: skip
        assert db["shelf"].verify()["problems"] == []
        db.create("taken", dim=2)
    with ours.PersistentClient(tmp_path / "a" / "db.nf") as client, pytest.raises(ValueError, match="already exists"):
        client.create_collection("taken")


CHILD = """
import json, sys
import nearfield.compat.chroma as chromadb

client = chromadb.PersistentClient(sys.argv[1])
collection = client.get_collection("renamed")
found = collection.query(query_embeddings=[[0, 1]], n_results=2, where={"n": {"$ne": 2}})
print(json.dumps([found["ids"], found["distances"], collection.get()["ids"], collection.metadata, str(collection.id)]))
collection.add(ids=["by the child"], embeddings=[[9, 9]])
"""


def test_another_process_goes_on_where_this_one_ended(tmp_path: Path):
    with ours.PersistentClient(tmp_path / "db") as client:
        collection = filled(client)
        collection.modify(name="renamed", metadata={"k": 1.5, "l": "x"})
        client.create_collection("empty", metadata={"only": "this"})
        identity = str(collection.id)
    command = [sys.executable, "-c", CHILD, str(tmp_path / "db")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    expected = [[["b", "c10"]], [[0.0, 1.0]], ["b", "a", "c10", "c2"], {"k": 1.5, "l": "x"}, identity]
    assert json.loads(done.stdout) == expected
    with ours.PersistentClient(tmp_path / "db") as client:
        assert client.get_collection("renamed").get()["ids"] == ["b", "a", "c10", "c2", "by the child"]
        assert client.get_collection("empty").metadata == {"only": "this"}


def test_clients_of_a_path_share_it_and_the_last_one_closes(tmp_path: Path):
    one, two = ours.PersistentClient(tmp_path / "db"), ours.PersistentClient(str(tmp_path / "db"))
    filled(one)
    assert two.get_collection("shelf").count() == 4
    with pytest.raises(nf.InvalidArgument, match="same settings"):
        ours.PersistentClient(tmp_path / "db", ours.Settings(allow_reset=True))
    with pytest.raises(ours.errors.AuthorizationError, match="allow_reset=True"):
        one.reset()
    one.close()
    one.close()
    with pytest.raises(nf.Locked):
        nf.open(tmp_path / "db")
    assert two.get_collection("shelf").count() == 4
    two.close()
    with pytest.raises(nf.Closed):
        two.create_collection("late")
    nf.open(tmp_path / "db").close()


EPHEMERAL = """
import tempfile, os
import nearfield.compat.chroma as chromadb

one, two = chromadb.Client(), chromadb.EphemeralClient()
one.create_collection("docs").add(ids=["a"], embeddings=[[1, 2]])
assert two.get_collection("docs").get()["ids"] == ["a"]
print(len([name for name in os.listdir(tempfile.gettempdir()) if name.startswith("nearfield-chroma-")]))
child = os.fork() if hasattr(os, "fork") else 1
if child == 0:
    assert chromadb.Client().list_collections() == []
    raise SystemExit(0)
if hasattr(os, "fork"):
    assert os.waitpid(child, 0)[1] == 0
assert one.get_collection("docs").count() == 1
"""


def test_data_in_memory_goes_with_the_process(tmp_path: Path):
    environment = dict(os.environ, TMPDIR=str(tmp_path), TEMP=str(tmp_path), TMP=str(tmp_path))
    command = [sys.executable, "-W", "ignore", "-c", EPHEMERAL]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert done.stdout == "1\n" and os.listdir(tmp_path) == []
    with ours.EphemeralClient() as client:
        client.create_collection("docs")
    with ours.EphemeralClient() as client:
        assert client.list_collections() == []
    persistent = ours.Settings(is_persistent=True, persist_directory=str(tmp_path / "kept"))
    with ours.Client(persistent) as client:
        client.create_collection("docs")
    assert (tmp_path / "kept").is_dir()


def test_a_first_write_that_fails_leaves_no_dimension(mine):
    collection = mine.create_collection("docs")
    with pytest.raises(nf.Error):
        collection.add(ids=["a"], embeddings=[[1, 2, 3]], metadatas=[{"n": 2**70}])
    collection.add(ids=["a"], embeddings=[[1, 2]])
    assert collection.count() == 1


def test_a_renaming_that_was_cut_off_is_finished(tmp_path: Path):
    with ours.PersistentClient(tmp_path / "db") as client:
        filled(client).modify(name="renamed")
    with nf.open(tmp_path / "db") as db:
        # As the end of the process between its steps leaves it.
        db.rename("renamed", "shelf")
        row = db["_chroma"].scan().__next__()[0]
        db["_chroma"].update(row["id"], [{"before": "shelf"}])
    with ours.PersistentClient(tmp_path / "db") as client:
        assert client.get_collection("renamed").count() == 4
        client.create_collection("shelf").add(ids=["x"], embeddings=[[1]])
    with ours.PersistentClient(tmp_path / "db") as client:
        assert [collection.count() for collection in client.list_collections()] == [4, 1]


def test_directories_that_are_something_else_are_refused(tmp_path: Path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "chroma.sqlite3").write_bytes(b"")
    with pytest.raises(nf.Incompatible, match="nearfield.migrate.from_chroma"):
        ours.PersistentClient(tmp_path / "theirs")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(nf.IoError):
        ours.PersistentClient(tmp_path / "file")
    with ours.PersistentClient(tmp_path / "db") as client:
        client.create_collection("docs")
    for damage in [{"configuration": "{}"}, {"metadata": "[1]"}, {"metadata": "{"}, {"configuration": '{"hnsw": {"space": "x"}}'}]:
        with nf.open(tmp_path / "db") as db:
            row = db["_chroma"].scan().__next__()[0]
            db["_chroma"].update(row["id"], [damage])
        with pytest.raises(nf.Corrupt, match="_chroma"):
            ours.PersistentClient(tmp_path / "db")
        with nf.open(tmp_path / "db") as db:
            db["_chroma"].update(row["id"], [{"configuration": row["configuration"], "metadata": row["metadata"]}])


def test_threads_write_and_read(mine):
    collection = mine.create_collection("docs")
    failed: list[BaseException] = []

    def write(thread: int) -> None:
        try:
            for step in range(20):
                collection.add(ids=[f"{thread}-{step}"], embeddings=[[thread, step]], metadatas=[{f"key{thread}": step}])
                collection.upsert(ids=["shared"], embeddings=[[0, 0]], metadatas=[{f"key{thread}": step}])
                collection.query(query_embeddings=[[thread, step]], where={f"key{thread}": {"$gte": 0}})
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed and collection.count() == 81
    assert collection.get(ids="shared")["metadatas"] == [{f"key{thread}": 19 for thread in range(4)}]


def random_where(rng: random.Random, depth: int = 2) -> dict[str, Any]:
    if depth and rng.random() < 0.4:
        parts = [random_where(rng, depth - 1) for _ in range(rng.randint(2, 3))]
        return {rng.choice(["$and", "$or"]): parts}
    key = rng.choice(["n", "s", "b", "none"])
    # Chroma cuts the fraction of a number off beside whole ones.
    value = rng.choice([0, 1, 2, 1.0, 2.0, "x", "y", True, False])
    name = rng.choice(["$eq", "$ne", "$gt", "$lte", "$in", "$nin"])
    if name in ("$gt", "$lte"):
        value = rng.choice([0, 1, 1.0])
    return {key: {name: [value] if name in ("$in", "$nin") else value}}


def test_random_filters_find_the_same_records_in_both(tmp_path: Path):
    theirs, mine = client_of("chromadb", tmp_path / "theirs"), client_of("nearfield", tmp_path / "mine")
    rng = random.Random(8)
    values: dict[str, list[Any]] = {"n": [0, 1, 2, 1.5, "x"], "s": ["x", "y", 1], "b": [True, False]}
    metadatas = [
        {key: rng.choice(values[key]) for key in values if rng.random() < 0.7} or None for _ in range(40)
    ]
    both = [client.create_collection("random", embedding_function=None) for client in (theirs, mine)]
    for collection in both:
        ids = [str(row) for row in range(40)]
        collection.add(ids=ids, embeddings=[[row, 1] for row in range(40)], metadatas=metadatas)
    for _ in range(150):
        where = random_where(rng)
        found = [collection.get(where=where, include=["metadatas"]) for collection in both]
        assert found[0]["ids"] == found[1]["ids"], where
        assert found[0]["metadatas"] == found[1]["metadatas"]
    theirs.close()
    mine.close()


VALUE = st.sampled_from([0, 1, 2.5, "x", True, ["p"], None])
STEP = st.tuples(
    st.sampled_from(["add", "upsert", "update", "delete"]),
    st.sampled_from("abcd"),
    st.dictionaries(st.sampled_from(["k", "l"]), VALUE, min_size=1),
)


@settings(max_examples=15, deadline=None)
@given(st.lists(STEP, max_size=12))
def test_any_steps_leave_what_a_dict_would_hold(steps):
    rows: dict[str, dict[str, Any]] = {}
    with ours.EphemeralClient(ours.Settings(allow_reset=True)) as client:
        collection = client.create_collection("steps")
        for number, (step, id, metadata) in enumerate(steps):
            if step == "delete":
                assert collection.delete(ids=[id])["deleted"] == (1 if id in rows else 0)
                rows.pop(id, None)
                continue
            write = getattr(collection, step)
            write(ids=[id], embeddings=[[number, 0]], metadatas=[metadata])
            if step == "add" and id in rows or step == "update" and id not in rows:
                continue
            kept = {**rows.get(id, {}), **metadata}
            rows[id] = {key: value for key, value in kept.items() if value is not None}
        found = collection.get()
        assert found["ids"] == list(rows)
        assert found["metadatas"] == [metadata or None for metadata in rows.values()]
        exact = [id for id, metadata in rows.items() if type(metadata.get("k")) in (int, float) and metadata["k"] > 0]
        assert collection.get(where={"k": {"$gt": 0}})["ids"] == exact
