"""The vector store for LlamaIndex, under its own indexes and retrievers and by its own meaning of filters."""

import pickle
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import nearfield as nf

REASON = "llama-index-core is not installed"
pytest.importorskip("llama_index.core", reason=REASON)

from llama_index.core import Document, StorageContext, VectorStoreIndex, load_index_from_storage  # noqa: E402
from llama_index.core.base.embeddings.base import BaseEmbedding, SimilarityMode, similarity  # noqa: E402
from llama_index.core.ingestion import IngestionPipeline  # noqa: E402
from llama_index.core.schema import (  # noqa: E402
    BaseNode,
    ImageNode,
    IndexNode,
    MediaResource,
    Node,
    NodeRelationship,
    QueryBundle,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.vector_stores import SimpleVectorStore  # noqa: E402
from llama_index.core.vector_stores.types import (  # noqa: E402
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)
from llama_index.core.vector_stores.utils import build_metadata_filter_fn  # noqa: E402

from nearfield.integrations.llama_index import NearfieldVectorStore  # noqa: E402


class Letters(BaseEmbedding):
    """How often a text has the letters a, b and c."""

    def _get_text_embedding(self, text: str) -> list[float]:
        return [float(text.count(letter)) for letter in "abc"]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


LETTERS = Letters(model_name="letters")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[NearfieldVectorStore]:
    with NearfieldVectorStore(tmp_path / "store.nf") as store:
        yield store


def node(id: str, text: str = "", document: str | None = None, **metadata: Any) -> TextNode:
    relationships: dict[Any, Any] = {}
    if document is not None:
        relationships[NodeRelationship.SOURCE] = RelatedNodeInfo(node_id=document)
    vector = LETTERS.get_text_embedding(text)
    return TextNode(id_=id, text=text, metadata=metadata, embedding=vector, relationships=relationships)


def asked(text: str, k: int = 9, mode: str = "default", **more: Any) -> VectorStoreQuery:
    """A query by a text and its vector."""
    vector = LETTERS.get_query_embedding(text)
    return VectorStoreQuery(vector, k, query_str=text, mode=VectorStoreQueryMode(mode), **more)


def where(key: str, sign: str, value: Any = None, condition: str = "and") -> MetadataFilters:
    part = MetadataFilter(key=key, operator=FilterOperator(sign), value=value)
    return MetadataFilters(filters=[part], condition=FilterCondition(condition))


def test_an_index_finds_deletes_and_refreshes_documents(tmp_path: Path):
    path = tmp_path / "index.nf"
    documents = [Document(text=text, id_=text, metadata={"n": n}) for n, text in enumerate(["aaa", "bbb", "aab"])]
    with NearfieldVectorStore(path) as store:
        context = StorageContext.from_defaults(vector_store=store)
        index = VectorStoreIndex.from_documents(documents, storage_context=context, embed_model=LETTERS)
        found = index.as_retriever(similarity_top_k=2).retrieve("aa")
        assert [hit.text for hit in found] == ["aaa", "aab"]
        assert [round(hit.score, 3) for hit in found] == [1.0, 0.894]
        assert found[0].metadata == {"n": 0} and found[0].node.ref_doc_id == "aaa"
        filtered = index.as_retriever(similarity_top_k=9, filters=where("n", ">=", 1))
        assert [hit.text for hit in filtered.retrieve("aa")] == ["aab", "bbb"]

        index.delete_ref_doc("aaa", delete_from_docstore=True)
        assert [hit.text for hit in index.as_retriever(similarity_top_k=9).retrieve("aa")] == ["aab", "bbb"]
        documents[1].set_content("bba")
        documents.append(Document(text="ccc", id_="ccc"))
        assert index.refresh_ref_docs(documents[1:]) == [True, False, True]
        assert [hit.text for hit in index.as_retriever(similarity_top_k=9).retrieve("b")] == ["bba", "aab", "ccc"]
        context.persist(tmp_path / "context")

    # Another day, from the directory alone and with what LlamaIndex keeps beside it.
    with NearfieldVectorStore(path) as store:
        index = VectorStoreIndex.from_vector_store(store, embed_model=LETTERS)
        assert [hit.text for hit in index.as_retriever(similarity_top_k=1).retrieve("c")] == ["ccc"]
        context = StorageContext.from_defaults(vector_store=store, persist_dir=tmp_path / "context")
        index = load_index_from_storage(context, embed_model=LETTERS)
        assert index.refresh_ref_docs(documents[1:]) == [False, False, False]
        index.insert(Document(text="cccc", id_="cccc"))
        assert len(index.as_retriever(similarity_top_k=9).retrieve("c")) == 4


async def test_the_asynchronous_forms_do_the_same(store: NearfieldVectorStore):
    context = StorageContext.from_defaults(vector_store=store)
    index = VectorStoreIndex([], storage_context=context, embed_model=LETTERS)
    await index.ainsert_nodes([node(text, text, document=text[0], n=len(text)) for text in ("aaa", "b", "bb", "c")])
    retriever = index.as_retriever(similarity_top_k=2, filters=where("n", "<", 3))
    assert [hit.text for hit in await retriever.aretrieve("b")] == ["b", "bb"]
    await index.adelete_ref_doc("b")
    assert [found.node_id for found in await store.aget_nodes()] == ["aaa", "c"]
    await store.adelete_nodes(["c", "nobody"])
    assert (await store.aquery(asked("a"))).ids == ["aaa"]
    await store.aclear()
    assert await store.aget_nodes() == [] and (await store.aquery(asked("a"))).nodes == []


def test_ingestion_pipelines_write_into_the_store(store: NearfieldVectorStore):
    IngestionPipeline(transformations=[LETTERS], vector_store=store).run(nodes=[node("x", "ab"), node("y", "c")])
    assert store.query(asked("c", 1)).ids == ["y"]


@pytest.mark.parametrize(
    ("metric", "mode"),
    [("cosine", SimilarityMode.DEFAULT), ("dot", SimilarityMode.DOT_PRODUCT), ("l2", SimilarityMode.EUCLIDEAN)],
)
def test_similarities_are_those_of_llama_index(tmp_path: Path, metric, mode):
    with NearfieldVectorStore(tmp_path / "s.nf", metric=metric) as store:
        store.add([node(text, text) for text in ("a", "aab", "bcc", "abc", "ccb")])
        found = store.query(asked("aab", mode="default"))
        expected = {text: similarity(LETTERS.get_text_embedding("aab"), LETTERS.get_text_embedding(text), mode) for text in found.ids}
        assert found.similarities == pytest.approx(list(expected.values()), abs=1e-6)
        assert found.similarities == sorted(found.similarities, reverse=True) and len(found.ids) == 5
        store.close()
        # It is kept, and no other one is taken for it.
        with pytest.raises(nf.SchemaMismatch, match="metric"):
            NearfieldVectorStore(tmp_path / "s.nf", metric="cosine" if metric != "cosine" else "l2")


@pytest.fixture
def coded(store: NearfieldVectorStore) -> NearfieldVectorStore:
    """Texts of which the words tell what the letters do not."""
    store.add([node(id, text, page=n) for n, (id, text) in enumerate(
        [("a", "aaaa"), ("ab", "aab"), ("code", "E0502 b"), ("borrow", "cannot b borrow")]
    )])  # fmt: skip
    return store


def test_queries_are_by_vector_by_words_or_by_both(coded: NearfieldVectorStore):
    def found(text: str, mode: str, k: int = 9, **more: Any) -> list[str] | None:
        arguments = {name: more.pop(name) for name in ("candidates", "words", "mmr_candidates", "where") if name in more}
        return coded.query(asked(text, k, mode, **more), **arguments).ids

    assert found("aa e0502", "default", 1) == ["a"]
    assert found("aa e0502", "text_search") == found("aa e0502", "sparse") == ["code"]
    # Signs of a question mean nothing, unless words= asks for their meaning.
    assert found('"e0502 (-', "text_search") == ["code"]
    assert found("", "text_search", words="b -e0502 -aab") == ["borrow"]
    assert set(found("aa e0502", "hybrid", 2)) == {"a", "code"}
    assert found("aa e0502", "hybrid", 1, alpha=0.1) == ["code"] and found("aa e0502", "hybrid", 1, alpha=0.9) == ["a"]
    assert len(found("aa e0502", "hybrid", 1, hybrid_top_k=3, sparse_top_k=2)) == 3
    assert found("aa borrow", "hybrid", 1, alpha=0.0, filters=where("page", "<", 3)) != ["borrow"]
    assert found("aa e0502", "text_search", where="metadata.page < 2") == []
    without_vector = VectorStoreQuery(query_str="borrow", mode=VectorStoreQueryMode.TEXT_SEARCH)
    result = coded.query(without_vector)
    assert result.ids == ["borrow"] and result.similarities[0] > 0


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7, 1.0])
def test_mmr_picks_what_llama_index_picks(store: NearfieldVectorStore, threshold):
    # Its own takes overlap with the last pick alone, which is the same for two picks.
    simple = SimpleVectorStore()
    nodes = [node(text, text) for text in ("aaaab", "aaaac", "aab", "abcc", "bbbca")]
    for other in (simple, store):
        other.add(nodes)
    query = asked("aaaabc", 2, "mmr")
    expected = simple.query(query, mmr_threshold=threshold).ids
    assert store.query(query, mmr_threshold=threshold, mmr_candidates=5).ids == expected
    assert store.query(asked("aaaabc", 2, "mmr", mmr_threshold=threshold)).ids == expected
    assert store.query(query).ids == simple.query(query).ids


ROWS: list[dict[str, Any]] = [
    {"n": 1, "x": 0.5, "s": "Alpha", "tags": ["a", "b"], "flag": True},
    {"n": 2, "x": -1.0, "s": "beta 100%", "tags": ["b"], "flag": False},
    {"n": 3, "s": "ALPHABET", "tags": [], "x": 2.5},
    {"s": "", "tags": ["c", "a_b"], "n": -7},
    {"n": 2, "x": None, "s": "a_b"},
    {},
]
PARTS = [
    *[("n", sign, value) for sign in ("==", "!=", ">", ">=", "<", "<=") for value in (2, 1.5, -7)],
    *[("s", sign, value) for sign in ("==", "!=", ">", "<=") for value in ("Alpha", "")],
    *[("x", sign, 0.5) for sign in ("==", "!=", ">", "<")],
    *[(key, sign, value) for sign in ("in", "nin") for key, value in (("n", [2, 3]), ("n", []), ("s", ["a_b", "x"]), ("x", [2.5, 0.5]))],
    *[("tags", sign, value) for sign in ("any", "all") for value in (["a", "b"], ["c"])],
    ("tags", "any", []),
    *[("tags", "contains", value) for value in ("a", "a_b", "z")],
    *[("s", sign, value) for sign in ("text_match", "text_match_insensitive") for value in ("alpha", "0%", "_", "")],
    *[(key, "is_empty", None) for key in ("n", "x", "s", "tags", "nobody")],
    *[("nobody", sign, 1) for sign in ("==", "!=", ">")],
    *[("nobody", sign, ["q"]) for sign in ("in", "nin", "any", "all")],
    ("flag", "==", 1), ("flag", "!=", 1), ("flag", "in", [0]), ("nobody", "text_match", "x"), ("nobody", "contains", "x"),
]  # fmt: skip


def build(part: Any) -> Any:
    """A filter of (key, sign, value), or a group of (condition, parts)."""
    if len(part) == 3:
        return MetadataFilter(key=part[0], operator=FilterOperator(part[1]), value=part[2])
    condition, parts = part
    return MetadataFilters(filters=[build(inner) for inner in parts], condition=condition)


def meant(part: Any, metadata: dict[str, Any]) -> bool:
    """Whether LlamaIndex's own filters find metadata; they are not nested, so that groups are put together here."""
    if len(part) == 3:
        return build_metadata_filter_fn(lambda _: metadata, MetadataFilters(filters=[build(part)]))("")
    condition, parts = part
    each = [meant(inner, metadata) for inner in parts]
    return {"and": all(each), "or": any(each), "not": not any(each)}[condition.value]


def test_filters_mean_what_they_mean_in_llama_index(store: NearfieldVectorStore):
    store.add([node(str(n), **metadata) for n, metadata in enumerate(ROWS)])
    random.seed(5)

    def group(depth: int) -> Any:
        parts = [random.choice(PARTS) if depth == 0 or random.random() < 0.5 else group(depth - 1) for _ in range(3)]
        return random.choice(list(FilterCondition)), parts

    for part in [*PARTS, *(group(n % 4) for n in range(120))]:
        filters = build(part) if len(part) == 2 else MetadataFilters(filters=[build(part)])
        expected = [str(n) for n, metadata in enumerate(ROWS) if meant(part, metadata)]
        assert [found.node_id for found in store.get_nodes(filters=filters)] == expected, part
        assert len(store.query(asked("abc", filters=filters)).ids) == len(expected), part


def test_filters_beyond_those_of_the_simple_store(store: NearfieldVectorStore):
    store.add([
        node("1", "a", document="d1", a={"b": 1}, vector="x", node="y", score=0.5, list=["p"]),
        node("2", "aa", document="d2", score=None),
        node("3", "aaa"),
    ])  # fmt: skip

    def found(*parts: Any) -> list[str]:
        return [node.node_id for node in store.get_nodes(filters=MetadataFilters(filters=[build(part) for part in parts]))]

    assert found(("a.b", "==", 1)) == found(("vector", "==", "x")) == found(("node", "==", "y")) == ["1"]
    assert found(("score", ">", 0)) == found(("list", "==", "p")) == found(("list", "in", ["p", "q"])) == ["1"]
    assert found(("score", "==", None)) == ["2", "3"] and found(("score", "!=", None)) == ["1"]
    for key in ("doc_id", "ref_doc_id", "document_id"):
        assert found((key, "in", ["d2", "d3"])) == ["2"] and found((key, "is_empty", None)) == ["3"]
    # Filters that are empty are none.
    assert found() == ["1", "2", "3"]


def test_nodes_and_documents_may_be_named(store: NearfieldVectorStore):
    store.add([node(f"{document}{n}", "a" * n, document=document, n=n) for document in "pq" for n in (1, 2)])
    store.add([node("alone", "b")])
    assert store.query(asked("a", doc_ids=["p", "nobody"])).ids == ["p1", "p2"]
    assert store.query(asked("a", doc_ids=[])).ids == []
    assert store.query(asked("a", node_ids=["q2", "p1", "alone"], filters=where("n", "==", 2))).ids == ["q2"]
    # An index without nodes of its own gives an empty list.
    assert len(store.query(asked("a", node_ids=[])).ids) == 5
    assert [found.node_id for found in store.get_nodes(["q2", "nobody", "p1"])] == ["q2", "p1"]
    assert [found.node_id for found in store.get_nodes(["q2", "alone", "p2"], where("n", "==", 2))] == ["q2", "p2"]

    store.delete_nodes(["p1", "q2"], where("n", "==", 1))
    store.delete_nodes([])
    assert [found.node_id for found in store.get_nodes()] == ["alone", "p2", "q1", "q2"]
    store.delete_nodes(filters=where("n", "==", 1, "not"))
    store.delete("nobody")
    assert [found.node_id for found in store.get_nodes()] == ["q1"]
    store.clear()
    assert store.get_nodes() == [] and len(store.collection) == 0


def test_nodes_come_back_as_they_were(store: NearfieldVectorStore):
    nested = {"page": 1, "deep": {"list": [1, {"y": None}], "ä": 0.5}, "tags": ["x", 7], "big": 2**70, "a\0b": 1, "": "", "inf": float("inf")}
    nodes: list[BaseNode] = [
        node("text", "some text", document="d", **nested),
        IndexNode(id_="index", text="i", index_id="other", embedding=[1, 0, 0]),
        ImageNode(id_="image", image_url="https://example.com/a.png", text="an image", embedding=[0, 1, 0]),
        Document(id_="document", text="whole", embedding=[0, 0, 1], metadata=nested),
        Node(id_="node", text_resource=MediaResource(text="m", mimetype="text/x-rust"), embedding=[1, 1, 1]),
    ]
    assert store.add(nodes) == ["text", "index", "image", "document", "node"]
    for back, given in zip(store.get_nodes([given.node_id for given in nodes]), nodes, strict=True):
        assert type(back) is type(given) and back.to_dict() == {**given.to_dict(), "embedding": None}
    result = store.query(VectorStoreQuery([1.0, 1.0, 1.0], 1))
    assert result.nodes[0].get_content() == "m"
    # Rows that no store wrote are texts.
    store.collection.upsert("row", [0, 0, 1], [{"text": "of a row"}])
    assert store.get_nodes(["row"]) == [TextNode(id_="row", text="of a row")]
    store.delete_nodes(["row"])
    # What has the id of a node takes its place.
    store.add([node("text", "other", page="iv")])
    assert store.get_nodes(["text"])[0].metadata == {"page": "iv"} and len(store.collection) == 5


def test_metadata_of_several_types_is_kept_and_filtered_by_the_first(store: NearfieldVectorStore, caplog):
    metadata = [{"page": 1}, {"page": "iv"}, {"page": 2.0}]
    store.add([node(str(n), "a", **fields) for n, fields in enumerate(metadata)])
    assert "values of 'metadata.page' are of another type" in caplog.text and "finds nodes by them" in caplog.text
    assert [found.metadata for found in store.get_nodes()] == metadata
    assert store.query(asked("a", filters=where("page", ">=", 1))).ids == ["0", "2"]
    store.add([node("3", "a", n=1)])
    with pytest.raises(nf.SchemaMismatch, match="metadata of node 1: 'metadata.n' is 2.5, and whole numbers in earlier nodes"):
        store.add([node("4", "a"), node("5", "a", n=2.5)])
    assert len(store.collection) == 4


def test_stores_of_one_directory_share_it(tmp_path: Path):
    path = tmp_path / "shared.nf"
    store = NearfieldVectorStore(path, "one", language="german")
    store.add([node("x", "viele Häuser")])
    again = NearfieldVectorStore.from_dict(store.to_dict())
    copied = pickle.loads(pickle.dumps(store))
    other = NearfieldVectorStore(str(path), "two")
    for same in (again, copied):
        assert same.client is store.client is other.client
        assert same.query(asked("Haus", mode="text_search")).ids == ["x"]
    assert other.collection is None and other.query(asked("a")).ids == []
    for opened in (store, again, copied):
        opened.close()
    assert other.get_nodes() == []
    # The last one lets the database go, if it does not end before.
    del other
    with nf.open(path) as db:
        given = NearfieldVectorStore(db, "one", language="german")
        assert given.client is db and given.to_dict()["database"] == str(path)
        assert [found.node_id for found in given.get_nodes()] == ["x"]
        given.close()
        assert len(db["one"]) == 1
    # Closed stores open again.
    assert len(store.get_nodes()) == 1
    store.close()


def test_a_reader_follows_the_writer(tmp_path: Path):
    path = tmp_path / "read.nf"
    with pytest.raises(nf.NotFound):
        NearfieldVectorStore(path, mode="r")
    with NearfieldVectorStore(path) as writer, NearfieldVectorStore(path, mode="r") as reader:
        assert reader.get_nodes() == []
        for count in (1, 2):
            writer.add([node(str(count), "a")])
            assert len(reader.query(asked("a")).ids) == count
        with pytest.raises(nf.ReadOnly):
            reader.add([node("3", "a")])
        reader.persist()
        assert reader.to_dict()["mode"] == "r"


def test_every_mistake_is_a_typed_error_that_says_what_to_do(coded: NearfieldVectorStore):
    def filtered(key: str, sign: str, value: Any) -> Any:
        return lambda: coded.query(asked("a", filters=where(key, sign, value)))

    empty = MetadataFilters(filters=[])
    coded.add([node("t", "a", tags=["x"], page=4)])
    for error, message, call in [
        (nf.InvalidArgument, "node 0 .'q'. has no embedding", lambda: coded.add([TextNode(id_="q", text="q")])),
        (TypeError, "nodes: row 1: expected a node, given str", lambda: coded.add([node("x"), "y"])),
        (nf.InvalidArgument, "metadata of node 0 is not JSON", lambda: coded.add([node("x", bad=object())])),
        (nf.InvalidArgument, "node 0 .'x'. is not JSON", lambda: coded.add([IndexNode(id_="x", index_id="i", text="a", embedding=[1, 2, 3], relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id="d", metadata={"bad": object()})})])),
        (nf.DimensionMismatch, "2 dimensions, expected 3", lambda: coded.add([TextNode(text="q", embedding=[1, 2])])),
        (nf.InvalidVector, "NaN", lambda: coded.add([TextNode(text="q", embedding=[1, 2, float("nan")])])),
        (TypeError, "add: unknown argument 'refresh'", lambda: coded.add([node("x")], refresh=True)),
        (nf.InvalidArgument, "given neither; clear", lambda: coded.delete_nodes()),
        (nf.InvalidArgument, "given neither; clear", lambda: coded.delete_nodes(filters=empty)),
        (nf.InvalidArgument, "'svm', expected one of 'default', 'mmr', 'hybrid', 'text_search', 'sparse'", lambda: coded.query(asked("a", mode="svm"))),
        (nf.InvalidArgument, "'default' needs query_embedding", lambda: coded.query(VectorStoreQuery(query_str="a"))),
        (nf.InvalidArgument, "'hybrid' needs query_str", lambda: coded.query(VectorStoreQuery([1, 2, 3], mode=VectorStoreQueryMode.HYBRID))),
        (nf.InvalidArgument, "embedding_field", lambda: coded.query(asked("a", embedding_field="x"))),
        (nf.InvalidArgument, "mmr is 2", lambda: coded.query(asked("a", mode="mmr", mmr_threshold=2))),
        (nf.InvalidArgument, "alpha is 2", lambda: coded.query(asked("a", mode="hybrid", alpha=2))),
        (ValueError, "k is -1", lambda: coded.query(asked("a", -1))),
        (TypeError, "no_such_argument", lambda: coded.query(asked("a"), no_such_argument=1)),
        (nf.DimensionMismatch, "2", lambda: coded.query(VectorStoreQuery([1.0, 2.0]))),
        (nf.FilterError, "metadata.page.* is int64", filtered("page", "==", "iv")),
        (nf.FilterError, "'page' >: expected a number or a str, given None", filtered("page", ">", None)),
        (nf.FilterError, "'page' in: expected a list, given 1", filtered("page", "in", 1)),
        (nf.FilterError, "'tags' any: expected a list", filtered("tags", "any", "x")),
        (nf.FilterError, "'tags' contains: expected text", filtered("tags", "contains", 1)),
        (nf.FilterError, "'page' text_match: expected a str", filtered("page", "text_match", 1)),
        (nf.FilterError, "metadata.page", filtered("page", "text_match", "1")),
        (nf.FilterError, "HAS", filtered("page", "any", ["1"])),
        (nf.FilterError, "'page' == .1.: a value of a filter: expected None", filtered("page", "==", [1])),
        (nf.FilterError, "'tags' nin .1.: .*expected a str, given int", filtered("tags", "nin", [1])),
        (nf.FilterError, "NaN", filtered("page", "==", float("nan"))),
        (nf.FilterError, "empty", lambda: coded.get_nodes(filters=MetadataFilters(filters=[empty]))),
        (nf.FilterError, "no column", lambda: coded.query(asked("a"), where="paeg = 1")),
        (nf.InvalidArgument, "mode is 'x'", lambda: NearfieldVectorStore(coded.database, mode="x")),
        (nf.SchemaMismatch, "german", lambda: NearfieldVectorStore(coded.database, language="german")),
    ]:
        with pytest.raises(error, match=message):
            call()
    assert len(coded.collection) == 5
    assert coded.collection.verify()["problems"] == []


def test_a_retriever_takes_everything_that_a_query_has(coded: NearfieldVectorStore):
    index = VectorStoreIndex.from_vector_store(coded, embed_model=LETTERS)

    def found(text: str, **settings: Any) -> list[str]:
        return [hit.node.node_id for hit in index.as_retriever(**settings).retrieve(text)]

    assert found("aa e0502", vector_store_query_mode="text_search") == ["code"]
    assert found("aa e0502", vector_store_query_mode="hybrid", alpha=0.1, similarity_top_k=1) == ["code"]
    mmr = {"vector_store_query_mode": "mmr", "vector_store_kwargs": {"mmr_threshold": 0.0}}
    assert found("aaaa", similarity_top_k=2, **mmr)[0] == "a"
    exact = index.as_retriever(similarity_top_k=1, vector_store_kwargs={"exact": True, "where": "metadata.page > 0"})
    assert exact.retrieve(QueryBundle("", embedding=[1.0, 0.0, 0.0]))[0].node.node_id == "ab"
