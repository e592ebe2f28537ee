"""The vector store for LangChain: its own standard suite, and what that does not ask for."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import nearfield as nf

REASON = "langchain-tests is not installed"
pytest.importorskip("langchain_tests", reason=REASON)

from langchain_core.documents import Document  # noqa: E402
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings  # noqa: E402
from langchain_core.vectorstores import VectorStore  # noqa: E402
from langchain_tests.integration_tests import VectorStoreIntegrationTests  # noqa: E402

from nearfield.integrations.langchain import NearfieldVectorStore  # noqa: E402


class TestStandard(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path: Path) -> Iterator[VectorStore]:
        store = NearfieldVectorStore(self.get_embeddings(), tmp_path / "store.nf")
        yield store
        store.close()


class Letters(Embeddings):
    """How often a text has the letters a, b and c."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return [float(text.count(letter)) for letter in "abc"]


@pytest.fixture
def store(db: nf.Database) -> NearfieldVectorStore:
    store = NearfieldVectorStore(Letters(), db)
    nested = {"page": 1, "tags": ["x", {"y": None}], "ä": 0.5}
    store.add_texts(["aaa", "bbb", "aab"], [nested, {}, {"page": 3}], ids=["x", "y", "z"])
    return store


def texts(documents: list[Document]) -> list[str]:
    return [document.page_content for document in documents]


def test_metadata_comes_back_as_it_was(store: NearfieldVectorStore):
    found = store.similarity_search("a", k=1)[0]
    assert found == Document(
        id="x", page_content="aaa", metadata={"page": 1, "tags": ["x", {"y": None}], "ä": 0.5}
    )
    with pytest.raises(nf.InvalidArgument, match="metadata of text 1 is not JSON"):
        store.add_texts(["a", "b"], [{}, {"bad": object()}])
    with pytest.raises(nf.InvalidArgument, match="1 metadatas for 2 texts"):
        store.add_texts(["a", "b"], [{}])
    assert len(store.collection) == 3


def test_scores_are_cosines_and_relevance_is_from_zero_to_one(store: NearfieldVectorStore):
    scored = store.similarity_search_with_score("aa", k=3)
    assert [round(score, 3) for _, score in scored] == [1.0, 0.894, 0.0]
    relevant = store.similarity_search_with_relevance_scores("aa", k=3, score_threshold=0.5)
    assert texts([document for document, _ in relevant]) == ["aaa", "aab"]


@pytest.mark.parametrize(("metric", "least"), [("l2", 0.0), ("dot", 0.5)])
def test_relevance_of_other_metrics(db: nf.Database, metric, least):
    store = NearfieldVectorStore(Letters(), db, "other", metric=metric)
    store.add_texts(["a", "b" * 30])
    found = store.similarity_search_with_relevance_scores("a", k=2)
    assert all(least <= relevance <= 1 for _, relevance in found)
    assert found[0][1] > found[1][1]


def test_searches_by_vector_and_for_difference(store: NearfieldVectorStore):
    assert texts(store.similarity_search_by_vector([0, 1, 0], k=1)) == ["bbb"]
    assert texts(store.similarity_search("aa", k=2)) == ["aaa", "aab"]
    assert texts(store.max_marginal_relevance_search("aa", k=2, lambda_mult=0)) == ["aaa", "bbb"]
    assert texts(store.similarity_search("aa", k=3, max_distance=0.5)) == ["aaa", "aab"]
    with pytest.raises(TypeError, match="no_such_argument"):
        store.similarity_search("aa", no_such_argument=1)
    retriever = store.as_retriever(search_type="mmr", search_kwargs={"k": 1})
    assert texts(retriever.invoke("b")) == ["bbb"]


def test_some_ids_may_be_left_out(store: NearfieldVectorStore):
    ids = store.add_documents([Document(page_content="c"), Document(id="q", page_content="cc")])
    assert ids[1] == "q"
    assert ids[0]
    assert texts(store.get_by_ids(ids)) == ["c", "cc"]


def test_everything_may_be_deleted(store: NearfieldVectorStore):
    assert store.delete(["x", "nobody"]) is True
    assert len(store.collection) == 2
    assert store.delete() is True
    assert store.similarity_search("a") == []
    assert store.max_marginal_relevance_search("a") == []


def test_a_store_reopens_and_knows_its_model(tmp_path: Path):
    path = tmp_path / "a.nf"
    with NearfieldVectorStore.from_texts(["aaa", "b"], Letters(), database=path) as store:
        assert repr(store) == (
            "NearfieldVectorStore(Collection('langchain', 2 rows, dim=3, metric='cosine', dtype='f32'), retrieval_mode='vector')"
        )
    store = NearfieldVectorStore(Letters(), path)
    assert texts(store.similarity_search("a", k=1)) == ["aaa"]
    store.close()
    with pytest.raises(nf.SchemaMismatch, match="Letters.*DeterministicFakeEmbedding"):
        NearfieldVectorStore(DeterministicFakeEmbedding(size=3), path)
    # The failed opening let the database go.
    with nf.open(path) as db:
        assert db["langchain"].model == "Letters"
    with pytest.raises(TypeError, match="database="):
        NearfieldVectorStore.from_texts(["a"], Letters())


@pytest.fixture
def pages(store: NearfieldVectorStore) -> NearfieldVectorStore:
    """Texts of pages 1 to 6, half of them in each of two languages."""
    rows = [{"page": n, "lang": "en" if n % 2 else "de", "of": {"book": "x"}, "tags": ["p", str(n)]} for n in range(1, 7)]
    store.delete()
    store.add_texts(["a" * n + "b" for n in range(1, 7)], rows, ids=[str(n) for n in range(1, 7)])
    return store


def test_filters_are_those_of_nearfield_in_all_spellings(pages: NearfieldVectorStore):
    def found(**kwargs) -> list[str]:
        return sorted(document.id for document in pages.similarity_search("a", k=10, **kwargs))

    assert found(filter={"page": {"$gte": 5}}) == ["5", "6"]
    assert found(filter={"lang": "de", "page": {"$lt": 5}}) == ["2", "4"]
    assert found(where="tags HAS '3' OR page = 1") == ["1", "3"]
    assert found(filter=nf.col("of.book") == "x") == ["1", "2", "3", "4", "5", "6"]
    assert found(filter=nf.Filter("id IN ('2')")) == ["2"] == found(filter="text = 'aab'")
    assert found(filter=None) == ["1", "2", "3", "4", "5", "6"]
    assert texts(pages.similarity_search_by_vector([1, 0, 0], k=1, filter="page = 2")) == ["aab"]
    assert len(pages.max_marginal_relevance_search("a", k=2, filter={"lang": "en"})) == 2
    scored = pages.similarity_search_with_relevance_scores("a", k=9, filter={"page": 3})
    assert [document.metadata["page"] for document, _ in scored] == [3]
    retriever = pages.as_retriever(search_kwargs={"k": 1, "filter": {"page": 4}})
    assert texts(retriever.invoke("b")) == ["aaaab"]
    pages.delete(filter={"lang": "de"})
    assert found() == ["1", "3", "5"]


def test_every_mistake_is_a_typed_error_that_says_what_to_do(pages: NearfieldVectorStore):
    for error, message, call in [
        (nf.FilterError, "no column \"paeg\"", lambda: pages.similarity_search("a", filter={"paeg": 1})),
        (nf.FilterError, "gtt", lambda: pages.similarity_search("a", filter={"page": {"$gtt": 1}})),
        (TypeError, "filter or where", lambda: pages.similarity_search("a", filter="page = 1", where="page = 1")),
        (TypeError, "function", lambda: pages.similarity_search("a", filter=lambda document: True)),
        (TypeError, "query: expected str, given int", lambda: pages.similarity_search(7)),
        (ValueError, "k is -1", lambda: pages.similarity_search("a", k=-1)),
        (TypeError, "k: expected a whole number", lambda: pages.similarity_search("a", k=1.5)),
        (nf.InvalidArgument, "fetch_k is 0", lambda: pages.max_marginal_relevance_search("a", fetch_k=0)),
        (nf.InvalidArgument, "lambda_mult is 2", lambda: pages.max_marginal_relevance_search("a", lambda_mult=2)),
        (nf.DimensionMismatch, "2", lambda: pages.similarity_search_by_vector([1, 0])),
        (TypeError, "texts: expected a list", lambda: pages.add_texts("abc")),
        (TypeError, "texts: row 1", lambda: pages.add_texts(["a", 2])),
        (TypeError, "metadata of text 0: expected a dict", lambda: pages.add_texts(["a"], [None])),
        (nf.InvalidArgument, "2 ids for 1 texts", lambda: pages.add_texts(["a"], ids=["1", "2"])),
        (TypeError, "ids: row 0", lambda: pages.add_texts(["a"], ids=[1])),
        (nf.SchemaMismatch, "text 1: 'page' is 2.5.*as floats", lambda: pages.add_texts(["a"] * 2, [{}, {"page": 2.5}])),
        (nf.InvalidArgument, "batch_size is 0", lambda: pages.add_texts(["a"], batch_size=0)),
        (TypeError, "ids: expected a list", lambda: pages.delete("12")),
        (TypeError, "unknown argument 'id'", lambda: pages.delete(id="1")),
        (TypeError, "given both", lambda: pages.delete(["1"], filter={"page": 1})),
        (TypeError, "ids: expected a list", lambda: pages.get_by_ids("12")),
        (TypeError, "Embedder or a function", lambda: NearfieldVectorStore(None, pages.collection.database)),
    ]:
        with pytest.raises(error, match=message):
            call()
    assert len(pages.collection) == 6
    assert pages.collection.verify()["problems"] == []


def test_metadata_that_no_column_holds_comes_back_all_the_same(store: NearfieldVectorStore):
    odd = {"id": 7, "text": "no", "big": 2**70, "mixed": [1, "a"], "none": None, "empty": [], "": 1, "deep": {"x": {}}}
    odd.update({"score": 0.5, "distance": 1, "a\0b": 1})
    store.add_texts(["c"], [odd], ids=["odd"])
    assert store.get_by_ids(["odd"])[0].metadata == odd
    assert store.get_by_ids(["odd"])[0].page_content == "c"
    assert {"score", "distance", "big", "mixed", "none", ""}.isdisjoint(store.collection.schema["columns"])


@pytest.fixture
def coded(db: nf.Database) -> NearfieldVectorStore:
    """Texts of which the words tell what the letters do not."""
    store = NearfieldVectorStore(Letters(), db, retrieval_mode="hybrid")
    rows = [{"page": n} for n in range(4)]
    store.add_texts(["aaaa", "aab", "E0502 b", "cannot b borrow"], rows, ids=["a", "ab", "code", "borrow"])
    return store


def test_hybrid_search_finds_by_words_too(coded: NearfieldVectorStore):
    def found(query: str, k: int = 1, **kwargs) -> list[str | None]:
        return [document.id for document in coded.similarity_search(query, k, **kwargs)]

    assert found("aa e0502", retrieval_mode="vector") == ["a"]
    assert found("aa e0502", 2) == ["a", "code"] or found("aa e0502", 2) == ["code", "a"]
    assert found("aa e0502", alpha=0.1) == ["code"]
    assert found("aa e0502", 9, retrieval_mode="words") == ["code"]
    # Signs of a question mean nothing, unless words= asks for their meaning.
    assert found('"e0502 (-', retrieval_mode="words") == ["code"]
    assert found("aa", words="+b -E0502", alpha=0.0) in (["borrow"], ["ab"])
    assert found("aa", 9, words="borow~1", alpha=0.0, filter={"page": 3}) == ["borrow"]
    assert found("aa", retrieval_mode="vector", words="E0502", alpha=0.0) == ["code"]
    assert found("aa", rerank=lambda hits: [len(hit["text"]) for hit in hits]) == ["borrow"]
    assert [document.id for document in coded.similarity_search_by_vector([1, 0, 0], 1)] == ["a"]
    assert texts(coded.max_marginal_relevance_search("b e0502", k=1, fetch_k=1, alpha=0.0)) == ["E0502 b"]
    retriever = coded.as_retriever(search_kwargs={"k": 1, "alpha": 0.2})
    assert texts(retriever.invoke("aa borrow")) == ["cannot b borrow"]


async def test_relevance_of_every_mode_is_from_zero_to_one(coded: NearfieldVectorStore):
    for kwargs in [
        {}, {"retrieval_mode": "words"}, {"retrieval_mode": "vector"}, {"alpha": 0.5}, {"rrf_k": 0}, {"fusion": "rrf"},
        {"alpha": 0.5, "normalize": "zscore"}, {"rerank": lambda hits: [100.0 - n for n in range(len(hits))]},
        {"retrieval_mode": "vector", "words": "borrow"},
    ]:  # fmt: skip
        scored = coded.similarity_search_with_relevance_scores("b borrow", k=4, **kwargs)
        relevance = [score for _, score in scored]
        assert relevance == sorted(relevance, reverse=True) and 0 <= relevance[-1] <= relevance[0] <= 1
        assert await coded.asimilarity_search_with_relevance_scores("b borrow", k=4, **kwargs) == scored
    # First by its vector and by its words.
    [(_, best)] = coded.similarity_search_with_relevance_scores("b E0502", k=1)
    assert best == pytest.approx(1.0)
    assert texts(await coded.asimilarity_search("aa borrow", k=1, alpha=0.0)) == ["cannot b borrow"]
    threshold = coded.as_retriever(search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.99})
    assert texts(threshold.invoke("b E0502")) == ["E0502 b"]


def test_metadata_of_several_types_is_kept_and_filtered_by_the_first(db: nf.Database, caplog):
    store = NearfieldVectorStore(Letters(), db, "mixed")
    first = [{"page": 1, "n": 1, "when": None}, {"page": "iv", "n": 0.5}, {"page": [1], "n": 2, "when": "2024"}]
    store.add_texts(["a", "aa", "aaa"], first, ids=["1", "2", "3"])
    assert "metadata: values of 'page' are of another type" in caplog.text
    later = [{"page": 2.0, "n": 3}, {"page": True, "n": "three", "when": 2024, "tags": ["x"]}]
    store.add_texts(["aaaa", "aaaaa"], later, ids=["4", "5"])
    assert "values of 'n', 'page', 'when' are" in caplog.text
    assert [document.metadata for document in store.get_by_ids(list("12345"))] == first + later
    columns = store.collection.schema["columns"]
    assert (columns["page"], columns["n"], columns["when"]) == ("int64", "float64", "utf8")
    found = lambda where: {document.id for document in store.similarity_search("a", k=9, filter=where)}
    assert found({"page": {"$gte": 1}}) == {"1", "4"} and found("n > 0") == {"1", "2", "3", "4"}
    assert found({"tags": {"$has": "x"}}) == {"5"} and found({"page": None}) == {"2", "3", "5"}
    # Those that are declared are what they were declared as.
    store.collection.add_columns({"at": "timestamp"})
    with pytest.raises(nf.SchemaMismatch, match="at"):
        store.add_texts(["a"], [{"at": "2024-01-01"}])
    caplog.clear()
    store.add_texts(["b"], [{"page": 7}])
    assert not caplog.text


def test_the_language_of_texts_is_that_of_the_store(db: nf.Database):
    store = NearfieldVectorStore(Letters(), db, "deutsch", language="german", retrieval_mode="words")
    store.add_texts(["viele Häuser", "ein Boot"])
    assert texts(store.similarity_search("Haus")) == ["viele Häuser"]
    # Left out, it is as stored.
    assert texts(NearfieldVectorStore(Letters(), db, "deutsch").similarity_search("x", retrieval_mode="words")) == []
    with pytest.raises(nf.SchemaMismatch, match="german"):
        NearfieldVectorStore(Letters(), db, "deutsch", language="english")
    with pytest.raises(nf.InvalidArgument, match="retrieval_mode is 'dense', expected one of 'vector', 'words', 'hybrid'"):
        NearfieldVectorStore(Letters(), db, "deutsch", retrieval_mode="dense")
    with pytest.raises(nf.InvalidArgument, match="retrieval_mode is 'both'"):
        store.similarity_search("x", retrieval_mode="both")
