"""The document store for Haystack: its own suites, and what these do not ask for."""

import os
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

import nearfield as nf

# Nothing of the tests is reported to anybody.
os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"
REASON = "haystack-ai is not installed"
pytest.importorskip("haystack", reason=REASON)

from haystack import Document, Pipeline, component  # noqa: E402
from haystack.components.writers import DocumentWriter  # noqa: E402
from haystack.dataclasses import ByteStream, SparseEmbedding  # noqa: E402
from haystack.document_stores.errors import DuplicateDocumentError  # noqa: E402
from haystack.document_stores.types import DuplicatePolicy, FilterPolicy  # noqa: E402
from haystack.errors import FilterError  # noqa: E402
from haystack.testing import document_store as suite, document_store_async as suite_async  # noqa: E402
from haystack.utils.filters import document_matches_filter  # noqa: E402

from nearfield.integrations.haystack import (  # noqa: E402
    NearfieldDocumentStore,
    NearfieldEmbeddingRetriever,
    NearfieldHybridRetriever,
    NearfieldKeywordRetriever,
)


@pytest.fixture
def document_store(tmp_path: Path) -> Iterator[NearfieldDocumentStore]:
    with NearfieldDocumentStore(tmp_path / "store.nf", embedding_dim=768) as store:
        yield store


class Near(suite.AssertDocumentsEqualMixin):
    """The contract of the suites: documents come in an order of the store's own, and so may be embeddings, which
    here are of 32 bits an element."""

    @staticmethod
    def assert_documents_are_equal(received: list[Document], expected: list[Document]) -> None:
        received, expected = (sorted(documents, key=lambda document: document.id) for documents in (received, expected))
        for given, wanted in zip(received, expected, strict=True):
            assert (given.embedding is None) == (wanted.embedding is None)
            if wanted.embedding is not None:
                assert given.embedding == pytest.approx(wanted.embedding, rel=1e-6)
            assert replace(given, embedding=wanted.embedding) == wanted


class TestStandard(
    Near,
    suite.DocumentStoreBaseExtendedTests,
    suite.CountDocumentsByFilterTest,
    suite.CountUniqueMetadataByFilterTest,
    suite.GetMetadataFieldsInfoTest,
    suite.GetMetadataFieldMinMaxTest,
    suite.GetMetadataFieldUniqueValuesTest,
):
    @pytest.fixture
    def document_store(self, tmp_path: Path) -> Iterator[NearfieldDocumentStore]:
        with NearfieldDocumentStore(tmp_path / "store.nf", embedding_dim=768) as store:
            yield store

    def test_write_documents(self, document_store: NearfieldDocumentStore) -> None:
        document = Document(content="a")
        assert document_store.write_documents([document]) == 1
        with pytest.raises(DuplicateDocumentError, match=document.id):
            document_store.write_documents([document])
        assert document_store.filter_documents() == [document]


class TestStandardAsync(
    Near,
    suite_async.CountDocumentsAsyncTest,
    suite_async.CountDocumentsByFilterAsyncTest,
    suite_async.CountUniqueMetadataByFilterAsyncTest,
    suite_async.DeleteAllAsyncTest,
    suite_async.DeleteByFilterAsyncTest,
    suite_async.DeleteDocumentsAsyncTest,
    suite_async.FilterDocumentsAsyncTest,
    suite_async.GetMetadataFieldMinMaxAsyncTest,
    suite_async.GetMetadataFieldsInfoAsyncTest,
    suite_async.GetMetadataFieldUniqueValuesAsyncTest,
    suite_async.UpdateByFilterAsyncTest,
    suite_async.WriteDocumentsAsyncTest,
):
    async def test_write_documents_async(self, document_store: NearfieldDocumentStore) -> None:
        document = Document(content="a")
        assert await document_store.write_documents_async([document]) == 1
        with pytest.raises(DuplicateDocumentError, match=document.id):
            await document_store.write_documents_async([document])
        assert await document_store.filter_documents_async() == [document]


@component
class Letters:
    """How often a text has the letters a, b and c."""

    @component.output_types(embedding=list[float])
    def run(self, text: str) -> dict[str, list[float]]:
        return {"embedding": letters(text)}


@component
class DocumentLetters:
    """Documents with the letters of their texts."""

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, list[Document]]:
        return {"documents": [replace(document, embedding=letters(document.content or "")) for document in documents]}


def letters(text: str) -> list[float]:
    return [float(text.count(letter)) for letter in "abc"]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[NearfieldDocumentStore]:
    with NearfieldDocumentStore(tmp_path / "store.nf") as store:
        yield store


def document(id: str, text: str | None = None, **meta: Any) -> Document:
    return Document(id=id, content=text, meta=meta, embedding=letters(text or "") if text else None)


def ids(documents: list[Document]) -> list[str]:
    return [document.id for document in documents]


def part(field: str, sign: str, value: Any) -> dict[str, Any]:
    return {"field": field, "operator": sign, "value": value}


ALLOWED = ["nearfield.integrations.haystack", __name__]


def test_pipelines_write_and_retrieve_and_come_back_from_yaml(store: NearfieldDocumentStore):
    writing = Pipeline()
    writing.add_component("letters", DocumentLetters())
    writing.add_component("writer", DocumentWriter(store, policy=DuplicatePolicy.OVERWRITE))
    writing.connect("letters", "writer")
    documents = [Document(id=text, content=text, meta={"page": page}) for page, text in enumerate(["aaa", "bbb", "aab", "E0502 b"])]
    # Loaded, it writes into the database that the store has open.
    writing = Pipeline.loads(writing.dumps(), allowed_modules=ALLOWED)
    assert writing.run({"letters": {"documents": documents}}) == {"writer": {"documents_written": 4}}
    assert store.count_documents() == 4

    reading = Pipeline()
    reading.add_component("letters", Letters())
    reading.add_component("near", NearfieldEmbeddingRetriever(store, top_k=2, search={"exact": True}))
    reading.add_component("words", NearfieldKeywordRetriever(store, filter_policy=FilterPolicy.MERGE, filters=part("id", "!=", "aaa")))
    reading.add_component("both", NearfieldHybridRetriever(store, top_k=1, alpha=0.1, return_embedding=True))
    reading.connect("letters.embedding", "near.query_embedding")
    reading.connect("letters.embedding", "both.query_embedding")
    text = reading.dumps()
    loaded = Pipeline.loads(text, allowed_modules=ALLOWED)
    assert loaded.dumps() == text and "store.nf" in text
    for pipeline in (reading, loaded):
        asked = {
            "letters": {"text": "aa"},
            "near": {"filters": part("meta.page", "in", [1, 2])},
            "words": {"query": "e0502", "filters": part("meta.page", "<", 9)},
            "both": {"query": "e0502"},
        }
        found = pipeline.run(asked)
        assert ids(found["near"]["documents"]) == ["aab", "bbb"]
        assert [round(document.score, 3) for document in found["near"]["documents"]] == [0.894, 0.0]
        assert found["near"]["documents"][0].embedding is None
        assert ids(found["words"]["documents"]) == ["E0502 b"] == ids(found["both"]["documents"])
        assert found["both"]["documents"][0].embedding == [0, 1, 0]
        asked["words"]["filters"] = part("meta.page", "<", 3)
        assert pipeline.run(asked)["words"]["documents"] == []


async def test_pipelines_run_without_waiting(store: NearfieldDocumentStore):
    store.write_documents([document(text, text) for text in ("aaa", "b c")])
    pipeline = Pipeline()
    pipeline.add_component("near", NearfieldEmbeddingRetriever(store, top_k=1))
    pipeline.add_component("words", NearfieldKeywordRetriever(store))
    pipeline.add_component("both", NearfieldHybridRetriever(store, search={"alpha": 0.0}))
    asked = {"near": {"query_embedding": [1.0, 0.0, 0.0]}, "words": {"query": "c"}}
    found = await pipeline.run_async({**asked, "both": {"query": "c", "query_embedding": [1.0, 0.0, 0.0]}})
    assert [ids(found[name]["documents"]) for name in ("near", "words", "both")] == [["aaa"], ["b c"], ["b c", "aaa"]]
    found = await pipeline.run_async({**asked, "both": {"query": "c", "query_embedding": [1.0, 0.0, 0.0], "alpha": 1.0}})
    assert ids(found["both"]["documents"]) == ["aaa", "b c"]


def test_documents_come_back_as_they_were(store: NearfieldDocumentStore):
    nested = {"page": 1, "deep": {"list": [1, {"y": None}], "ä": 0.5}, "tags": ["x", 7], "score": 2**70, "a\0b": 1, "": ""}
    documents = [
        Document(id="1", content="text", meta=nested, embedding=[1.0, 0.5, 0.25]),
        Document(id="2", blob=ByteStream(b"\x00\xff", {"from": {"a": [1]}}, "image/png"), sparse_embedding=SparseEmbedding([3, 70_000], [0.5, 1.0])),
        Document(id="3", content="", meta={"none": None}),
    ]
    assert store.write_documents(documents) == 3
    assert store.filter_documents() == documents
    found = store.retrieve([1.0, 0.5, 0.25], top_k=9, return_embedding=True)
    assert found == [replace(documents[0], score=found[0].score)] and found[0].score == pytest.approx(1)
    sparse = store.collection.search_sparse("sparse_embedding", {70_000: 2.0})
    assert sparse.ids.tolist() == ["2"]
    store.collection.upsert("row", [0, 0, 1], [{"content": "of a row"}])
    assert store.filter_documents(part("id", "==", "row")) == [Document(id="row", content="of a row", embedding=[0.0, 0.0, 1.0])]
    assert store.update_by_filter(part("id", "==", "row"), {"a": 1}) == 1 == store.get_metadata_field_min_max("a")["max"]
    # One that is written anew keeps nothing.
    store.write_documents([Document(id="2", content="b", embedding=[0.0, 1.0, 0.0])], DuplicatePolicy.OVERWRITE)
    assert store.filter_documents(part("id", "==", "2")) == [Document(id="2", content="b", embedding=[0.0, 1.0, 0.0])]


def test_documents_without_an_embedding_are_found_by_all_but_it(store: NearfieldDocumentStore):
    store.write_documents([document("a", "aaa"), replace(document("b", "bbb"), embedding=None), document("c", "ccb")])
    assert ids(store.retrieve([0.0, 1.0, 0.0], top_k=9)) == ["c", "a"]
    assert ids(store.retrieve([0.0, 1.0, 0.0], filters=part("id", "!=", "c"))) == ["a"]
    assert ids(store.retrieve(query="bbb")) == ["b"]
    assert ids(store.retrieve([0.0, 1.0, 0.0], "bbb", top_k=1, alpha=0.0)) == ["b"]
    assert ids(store.filter_documents(part("embedding", "==", None))) == ["b"]
    assert ids(store.filter_documents(part("embedding", "!=", None))) == ["a", "c"]
    assert ids(store.filter_documents(part("blob", "==", None))) == ["a", "b", "c"]
    assert store.filter_documents(part("sparse_embedding", "!=", None)) == []


def test_what_exists_already_is_as_the_policy_says(store: NearfieldDocumentStore):
    one, other, two = document("1", "a"), document("1", "b"), document("2", "c")
    assert store.write_documents([]) == 0 == store.write_documents([], DuplicatePolicy.SKIP)
    assert store.write_documents([one, other, two], DuplicatePolicy.SKIP) == 2
    assert store.write_documents([other, document("3", "c")], DuplicatePolicy.SKIP) == 1
    assert [document.content for document in store.filter_documents()] == ["a", "c", "c"]
    with pytest.raises(DuplicateDocumentError, match="'1' exists already"):
        store.write_documents([document("4", "a"), other], DuplicatePolicy.FAIL)
    assert store.count_documents() == 3
    assert store.write_documents([one, other], DuplicatePolicy.OVERWRITE) == 2
    assert store.filter_documents(part("id", "==", "1")) == [other]


UTC = timezone.utc
ROWS: list[dict[str, Any]] = [
    {"n": 1, "x": 0.5, "s": "Alpha", "at": "2024-01-01T00:30:00+02:00", "flag": True, "deep": {"n": 1}},
    {"n": 2, "x": -1.0, "s": "beta 100%", "at": "2023-12-31T23:00:00Z", "flag": False},
    {"n": 3, "s": "", "x": 2.5, "at": "2024-01-01"},
    {"n": -7, "s": "2024-01-01", "at": "someday", "deep": {"n": None}},
    {"n": 2, "x": None, "s": "a_b", "at": "2023-12-31T22:30:00", "deep": 7},
    {},
]
PARTS = [
    *[part("meta.n", sign, value) for sign in ("==", "!=", ">", ">=", "<", "<=") for value in (2, 1.5, None)],
    *[part("meta.s", sign, value) for sign in ("==", "!=") for value in ("Alpha", "", "2024-01-01T00:00:00Z", None)],
    *[part("meta.x", sign, 0.5) for sign in ("==", "!=", ">", "<")],
    *[part("meta.at", sign, value) for sign in ("==", "!=") for value in ("2023-12-31T22:30:00Z", "2024-01-01T01:00:00+02:00", datetime(2024, 1, 1, tzinfo=UTC), "someday")],
    *[part(field, sign, value) for sign in ("in", "not in") for field, value in (
        ("meta.n", [2, 3]), ("meta.n", []), ("meta.n", [None, 1]), ("meta.s", ["a_b", "x"]), ("meta.at", ["2023-12-31T22:30:00Z", "someday"]), ("id", ["1", "7"]),
    )],
    *[part(field, sign, value) for sign in ("==", "!=") for field, value in (
        ("meta.flag", True), ("meta.flag", 0), ("meta.deep.n", 1), ("meta.nobody", 1), ("meta.nobody", None), ("n", 2), ("content", "text 1"), ("id", "3"), ("content", "2024-01-01"),
    )],
    part("meta.nobody", ">", 1), part("meta.nobody", "<", "2024-01-01"), part("meta.nobody", "in", ["x"]),
]  # fmt: skip
TIMES = [part("meta.at", sign, value) for sign in (">", ">=", "<", "<=") for value in ("2023-12-31T22:30:00Z", "2024-01-01T00:00:00.5+00:00", datetime(2023, 12, 31, 23, tzinfo=UTC))]


def test_filters_mean_what_they_mean_in_haystack(store: NearfieldDocumentStore):
    documents = [Document(id=str(n), content=f"text {n}", meta=meta, embedding=[1.0]) for n, meta in enumerate(ROWS)]
    store.write_documents(documents)
    random.seed(6)

    def group(depth: int) -> dict[str, Any]:
        inner = [random.choice(PARTS) if depth == 0 or random.random() < 0.5 else group(depth - 1) for _ in range(3)]
        return {"operator": random.choice(["AND", "OR", "NOT"]), "conditions": inner}

    for filters in [*PARTS, *(group(n % 4) for n in range(120))]:
        expected = [document.id for document in documents if document_matches_filter(filters, document)]
        assert ids(store.filter_documents(filters)) == expected, filters
        assert store.count_documents_by_filter(filters) == len(expected)
    # Haystack's own refuses to look at a text that is no time.
    for filters in TIMES:
        expected = [document.id for document in documents if document.id != "3" and document_matches_filter(filters, document)]
        assert ids(store.filter_documents(filters)) == expected, filters


def test_times_at_the_ends_of_the_calendar_are_times(store: NearfieldDocumentStore):
    ends = ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2024-02-30", "2024-01-01T25:00"]
    store.write_documents([Document(id=str(n), meta={"at": at}, embedding=[1.0]) for n, at in enumerate(ends)])
    assert ids(store.filter_documents(part("meta.at", "<", "2024-01-01"))) == ["0"]
    assert ids(store.filter_documents(part("meta.at", ">", "2024-01-01"))) == ["1"]
    assert [document.meta["at"] for document in store.filter_documents()] == ends


def test_lists_equal_each_text_in_them(store: NearfieldDocumentStore):
    store.write_documents([Document(id=str(n), content="a", meta={"tags": tags}, embedding=[1.0]) for n, tags in enumerate([["a", "b"], ["b"], []])])
    assert ids(store.filter_documents(part("meta.tags", "==", "a"))) == ["0"]
    assert ids(store.filter_documents(part("meta.tags", "!=", "a"))) == ["1", "2"]
    assert ids(store.filter_documents(part("meta.tags", "in", ["a", "b", "c"]))) == ["0", "1"]
    assert ids(store.filter_documents(part("meta.tags", "not in", ["a", None]))) == ["1"]


def test_an_update_leaves_no_column_of_what_was(store: NearfieldDocumentStore, caplog):
    store.write_documents([document(id, "a", page=1, at="2024-01-01", deep={"x": 1}, kept=id) for id in "12"])
    assert store.update_by_filter(part("meta.kept", "==", "1"), {"page": "iv", "at": 7, "deep": 1, "new": [1]}) == 1
    assert "'meta.at', 'meta.page' are of another type" in caplog.text
    first, second = store.filter_documents()
    assert first.meta == {"page": "iv", "at": 7, "deep": 1, "kept": "1", "new": [1]}
    assert second.meta == {"page": 1, "at": "2024-01-01", "deep": {"x": 1}, "kept": "2"}
    for filters in [part("meta.page", "==", 1), part("meta.at", ">", "2023-01-01"), part("meta.deep.x", "==", 1)]:
        assert ids(store.filter_documents(filters)) == ["2"]
    assert ids(store.filter_documents(part("meta.deep", "==", 1))) == ["1"]
    assert first.embedding == [1, 0, 0]
    # A batch whose rows differ changes each as its own.
    assert store.update_by_filter(part("meta.kept", "!=", None), {"kept": None, "at": "2025-05-05"}) == 2
    assert ids(store.filter_documents(part("meta.at", ">", "2025-01-01"))) == ["1", "2"]
    assert store.count_documents_by_filter(part("meta.kept", "!=", None)) == 0
    assert store.collection.verify()["problems"] == []


def test_metadata_is_counted_and_told_with_any_nesting(store: NearfieldDocumentStore):
    metas = [{"a": {"b": 1}, "l": [1, 2], "m": 1}, {"a": {"b": 2}, "l": [1, 2], "m": "x"}, {"a": {"b": 1}, "l": {"x": 1}, "m": None}, {}]
    store.write_documents([Document(content=str(n), meta=meta, embedding=[1.0]) for n, meta in enumerate(metas)])
    assert store.count_unique_metadata_by_filter({}, ["meta.a.b", "l", "m", "nobody"]) == {"a.b": 2, "l": 2, "m": 2, "nobody": 0}
    assert store.get_metadata_field_min_max("a.b") == {"min": 1, "max": 2}
    assert store.get_metadata_field_min_max("m") == {"min": None, "max": None}
    assert store.get_metadata_field_unique_values("l", from_=1, size=5) == ([{"x": 1}], 2)
    assert store.get_metadata_fields_info()["l"] == {"type": "keyword"}


def test_stores_of_one_directory_share_it_and_may_begin_anew(tmp_path: Path):
    path = tmp_path / "shared.nf"
    store = NearfieldDocumentStore(path, language="german")
    assert not path.exists()
    again = NearfieldDocumentStore.from_dict(store.to_dict())
    with pytest.raises(nf.InvalidArgument, match="embedding_dim="):
        store.write_documents([document("x")])
    assert store.collection is None and store.retrieve(query="x") == [] == store.filter_documents({})
    assert store.delete_by_filter(part("id", "==", "x")) == 0 == store.update_by_filter(part("id", "==", "x"), {"a": 1})
    store.write_documents([document("x", "viele Häuser")])
    assert ids(again.retrieve(query="Haus")) == ["x"] and again.collection.dim == 3
    store.close()
    assert again.count_documents() == 1 == store.count_documents()

    again.delete_all_documents()
    assert again.count_documents() == 0 and again.collection.dim == 3
    again.delete_all_documents(recreate_index=True)
    assert again.collection is None
    again.delete_all_documents(recreate_index=True)
    store.write_documents([Document(id="y", content="y", embedding=[1.0])])
    assert again.collection.dim == 1
    with NearfieldDocumentStore(path, mode="r") as reader:
        assert ids(reader.filter_documents()) == ["y"]
        store.write_documents([Document(id="z", content="z")])
        assert ids(reader.filter_documents()) == ["y", "z"]
        with pytest.raises(nf.ReadOnly):
            reader.delete_documents(["y"])
        assert reader.to_dict()["init_parameters"]["mode"] == "r"
    store.close()
    again.close()
    with nf.open(path) as db:
        given = NearfieldDocumentStore(db, embedding_dim=1)
        assert NearfieldDocumentStore.from_dict(given.to_dict()).count_documents() == 2
        with pytest.raises(nf.SchemaMismatch, match="dimension"):
            NearfieldDocumentStore(db, embedding_dim=2).count_documents()


def test_every_mistake_is_a_typed_error_that_says_what_to_do(store: NearfieldDocumentStore):
    store.write_documents([document(str(n), "a", page=n, tags=["x"]) for n in range(3)])
    deep: dict[str, Any] = part("meta.page", "==", 1)
    for _ in range(5000):
        deep = {"operator": "NOT", "conditions": [deep]}

    def filtered(filters: Any) -> Any:
        return lambda: store.filter_documents(filters)

    for error, message, call in [
        (FilterError, "meta.page.* is int64", filtered(part("meta.page", "==", "iv"))),
        (FilterError, "'meta.page' > 'b': texts are compared as times", filtered(part("meta.page", ">", "b"))),
        (FilterError, "'content' > '2024-01-01': texts", filtered(part("content", ">", "2024-01-01"))),
        (FilterError, "list", filtered(part("meta.page", "==", [1]))),
        (FilterError, "dict", filtered(part("meta.page", "==", {"a": 1}))),
        (FilterError, "NaN", filtered(part("meta.page", "==", float("nan")))),
        (FilterError, "operator is '~'", filtered(part("meta.page", "~", 1))),
        (FilterError, "operator of conditions is 'XOR'", filtered({"operator": "XOR", "conditions": []})),
        (FilterError, "at least one dict, given \\[\\]", filtered({"operator": "AND", "conditions": []})),
        (FilterError, "expected a dict, given int", filtered({"operator": "AND", "conditions": [1]})),
        (FilterError, "expected a dict, given str", filtered("meta.page = 1")),
        (FilterError, "field: expected a str", filtered(part(7, "==", 1))),
        (FilterError, "'embedding' can be compared with None alone", filtered(part("embedding", "==", [1.0]))),
        (FilterError, "nested|recursion", filtered(deep)),
        (FilterError, "delete_by_filter: expected filters", lambda: store.delete_by_filter({})),
        (FilterError, "update_by_filter: expected filters", lambda: store.update_by_filter({}, {"a": 1})),
        (TypeError, "meta: expected a dict, given str", lambda: store.update_by_filter(part("id", "==", "1"), "x")),
        (nf.InvalidArgument, "expected a list of Document, given Document", lambda: store.write_documents(document("x", "a"))),
        (nf.InvalidArgument, "row 1: expected a Document, given int", lambda: store.write_documents([document("x", "a"), 1])),
        (nf.InvalidArgument, "policy is 'skip'", lambda: store.write_documents([], "skip")),
        (nf.InvalidArgument, "meta of document 0 is not JSON", lambda: store.write_documents([document("x", "a", bad=object())])),
        (nf.InvalidArgument, "blob of document 'x' is not JSON", lambda: store.write_documents([Document(id="x", blob=ByteStream(b"", {"a": {1}}))])),
        (nf.SchemaMismatch, "metadata of document 0: 'meta.page' is 2.5", lambda: store.write_documents([document("x", "a", page=2.5)])),
        (ValueError, "row 1 has 2 elements", lambda: store.write_documents([document("x", "a"), Document(embedding=[1.0, 2.0])])),
        (nf.DimensionMismatch, "2", lambda: store.write_documents([Document(embedding=[1.0, 2.0])])),
        (nf.DimensionMismatch, "2", lambda: store.retrieve([1.0, 2.0])),
        (nf.InvalidArgument, "given neither", lambda: store.retrieve()),
        (ValueError, "k is -1", lambda: store.retrieve(query="a", top_k=-1)),
        (TypeError, "no_such_argument", lambda: store.retrieve(query="a", no_such_argument=1)),
        (TypeError, "document_ids: expected a list of str", lambda: store.delete_documents("12")),
        (nf.InvalidArgument, "from_ is -1", lambda: store.get_metadata_field_unique_values("page", from_=-1)),
        (nf.InvalidArgument, "top_k is 0", lambda: NearfieldKeywordRetriever(store, top_k=0)),
        (TypeError, "expected a NearfieldDocumentStore, given str", lambda: NearfieldKeywordRetriever("x")),
        (nf.InvalidArgument, "mode is 'x'", lambda: NearfieldDocumentStore("x", mode="x")),
    ]:
        with pytest.raises(error, match=message):
            call()
    assert store.count_documents() == 3 and store.retrieve(query="a", top_k=0) == []
    assert store.collection.verify()["problems"] == []
