"""Search by words, by words and vectors, and functions that rank: what Python adds to them."""

import asyncio
import threading

import numpy as np
import pyarrow as pa
import pytest

import nearfield as nf
import nearfield.aio

TEXTS = ["a page fault in mmap", "searching pages of a book", "E0502: cannot borrow", None, "the of"]


@pytest.fixture
def docs(db: nf.Database) -> nf.Collection:
    """Rows 1 to 5 at 0 to 4, with a text each."""
    docs = db.collection("docs", dim=1, metric="l2", text="body")
    docs.upsert(range(1, 6), [[i] for i in range(5)], {"body": TEXTS, "n": [1, 2, 3, 4, 5]})
    return docs


def test_words_alone_find_rows_by_their_texts(docs: nf.Collection):
    assert docs.search(words="searches").ids.tolist() == [2]
    assert sorted(docs.search(words="page").ids.tolist()) == [1, 2]
    assert docs.search(words="+page -book").ids.tolist() == [1]
    assert docs.search(words="+page -book", plain=True, k=1).ids.tolist() == [2]
    assert docs.search(words='"page fault" OR borow~1').ids.tolist() == [1, 3]
    assert docs.search(words="page", where="n > 1").ids.tolist() == [2]
    assert docs.search(words="page", select=["n"])[0].keys() == ["id", "distance", "score", "n"]
    assert docs.search(words="page", vectors=True, where="n = 2").vectors.tolist() == [[1.0]]
    assert [docs.search(words=words).ids.tolist() for words in ["the of", "", "absent"]] == [[]] * 3
    assert docs.search(words="page", k=0).ids.tolist() == []
    for hit in docs.search(words="page OR borrow"):
        assert hit.distance == -hit.score < 0
    assert len(docs.search([0], k=2, words="page", mmr=0.5, group_by="n", per_group=2)) == 2


def test_scores_are_bm25(docs: nf.Collection):
    docs.upsert(6, [5], {"body": ["fault fault mmap lines pages rows"]})
    # Of five rows with words, of 3, 3, 3, 6 and 0 of them without stop words, two have this one.
    lengths, rows = [3, 3, 3, 6], 4
    idf = np.log(1 + (rows - 2 + 0.5) / (2 + 0.5))

    def score(count: int, length: int) -> float:
        return idf * count * 2.2 / (count + 1.2 * (1 - 0.75 + 0.75 * length / (sum(lengths) / rows)))

    hits = docs.search(words="fault")
    assert hits.ids.tolist() == [6, 1]
    assert hits.scores.tolist() == pytest.approx([score(2, 6), score(1, 3)], rel=1e-5)
    assert docs.search(words="fault", words_in={"body": 2}).scores.tolist() == (2 * hits.scores).tolist()


def test_hits_of_words_are_tables_and_arrays_like_others(docs: nf.Collection):
    hits = docs.search([0], k=2, words="borrow", alpha=0.1, select=["n"], highlight=True)
    rows = [{"id": 3, "n": 3}, {"id": 1, "n": 1}]
    table = pa.table(hits)
    assert table.select(["id", "n"]).to_pylist() == rows
    assert table.column("score").to_pylist() == hits.scores.tolist() == sorted(hits.scores, reverse=True)
    assert table.column("distance").to_pylist() == hits.distances.tolist() == [4.0, 0.0]
    assert [{"id": hit["id"], "n": hit["n"]} for hit in hits.to_dicts()] == rows
    assert hits.ids.tolist() == [3, 1]
    assert len(docs.search(words="borrow").to_arrow()) == 1
    assert docs.search(words="absent").to_dicts() == []


def test_highlights_and_snippets(docs: nf.Collection):
    hits = docs.search(words="page", highlight=True)
    assert {hit.id: hit.highlights()["body"] for hit in hits} == {
        1: "a **page** fault in mmap",
        2: "searching **pages** of a book",
    }
    assert hits.highlights() == [hit.highlights() for hit in hits]
    hit = docs.search(words="bor*", highlight=40)[0]
    assert hit.highlights("<b>", "</b>") == {"body": "E0502: cannot <b>borrow</b>"}
    text, marks = hit.snippets["body"]["text"], hit.snippets["body"]["marks"]
    assert [text[begin:end] for begin, end in marks] == ["borrow"]
    assert docs.search(words="bor*", highlight=8)[0].snippets["body"]["cut_before"]
    for unasked in [docs.search(words="page")[0], docs.search([0], words="page", highlight=False)[0]]:
        assert (unasked.highlights(), unasked.snippets) == ({}, {})
    assert docs.search([3], words="borrow", k=1, alpha=1, highlight=True).highlights() == [{}]


def test_marks_count_characters_and_not_bytes(docs: nf.Collection):
    docs.upsert(9, [9], [{"body": "𝄞 über größe Straße größe"}])
    piece = docs.search(words="größe", highlight=True)[0].snippets["body"]
    assert [piece["text"][begin:end] for begin, end in piece["marks"]] == ["größe", "größe"]
    assert piece["marks"] == [(7, 12), (20, 25)]


def test_words_and_a_vector_give_one_order(docs: nf.Collection):
    assert docs.search([0], words="borrow", k=2).ids.tolist() == [3, 1]
    hit = docs.search([0], words="borrow", k=1, alpha=0.1)[0]
    assert (hit.id, hit.distance) == (3, 4.0)
    ranks = docs.search([0], words="borrow", k=2).scores
    assert ranks.tolist() == pytest.approx([1 / 61 + 1 / 63, 1 / 61])
    ranks = docs.search([0], words="borrow", k=2, fusion="rrf", rrf_k=0).scores
    assert ranks.tolist() == pytest.approx([1 + 1 / 3, 1])
    # Of the vector the scores are 0 to -16, of the words there is one.
    weighted = docs.search([0], words="borrow", k=2, fusion="weighted", alpha=0.5)
    assert weighted.scores.tolist() == pytest.approx([0.5 * 0.75 + 0.5, 0.5])
    for more in [{"fusion": "rrf"}, {"alpha": 0.5, "normalize": "zscore"}, {"alpha": 1, "normalize": "minmax"}]:
        assert len(docs.search([0], words="page", **more)) == 5
    assert docs.search([4], words="borrow", k=2, candidates=1).ids.tolist() == [3, 5]
    assert docs.search([0], words="borrow", where="n > 3").ids.tolist() == [4, 5]
    assert docs.search([0], words="borrow", max_distance=1).ids.tolist() == [1, 2]


def test_a_text_is_embedded_and_words_are_searched_beside_it(db: nf.Database):
    count = nf.Embedder(lambda texts: [[text.count("a")] for text in texts], "count", dim=1)
    notes = db.collection("notes", metric="l2", embed=count, text="body")
    notes.add_texts(["aaaa E0502", "aaa", "b"])
    assert notes.search(text="aaa", k=1).ids.tolist() == [2]
    assert notes.search(text="aaa", words="e0502", k=1, alpha=0.4).ids.tolist() == [1]
    assert notes.search(words="e0502").ids.tolist() == [1]
    explained = notes.explain(text="aaa", words="e0502", alpha=0.4)
    assert explained.hits.ids.tolist() == [1, 2, 3]
    assert [part["plan"] for part in explained.parts] == ["scan", "words"]


def test_explain_says_how_vector_and_words_were_searched(docs: nf.Collection):
    explained = docs.explain([0], words="borrow", k=2, where="n < 5", highlight=True)
    assert explained.hits.ids.tolist() == docs.search([0], words="borrow", k=2).ids.tolist()
    assert explained.hits.highlights()[0] == {"body": "E0502: cannot **borrow**"}
    assert (explained.parts[0]["rows"], explained.filter["matching_rows"]) == (5, 4)
    alone = docs.explain(words="borrow")
    assert alone.hits.ids.tolist() == [3]
    (part,) = alone.parts
    assert (part["plan"], part["segment"], part["rows"], part["postings_read"]) == ("words", None, 5, 1)
    assert alone.words["terms"] == [{"column": "body", "term": "borrow", "rows": 1}]
    assert alone.words["columns"] == [("body", 1.0)]
    assert "words in body: body:borrow 1 rows" in repr(alone)
    assert "memory by words: words" in repr(alone) and "body:borrow" in alone._repr_html_()
    assert docs.explain(words="the").words["terms"] == []
    assert "no word is left" in repr(docs.explain(words="the"))
    assert docs.explain([0]).words is None


def test_snapshots_and_asyncio_search_by_words(docs: nf.Collection):
    before = docs.snapshot()
    docs.delete([3])
    assert before.search(words="borrow").ids.tolist() == [3]
    assert before.search([4], words="borrow", k=1, candidates=1).ids.tolist() == [3]
    assert before.explain(words="borrow").hits.ids.tolist() == [3]
    assert before.search([0], k=1, rerank=lambda hits: hits.distances).ids.tolist() == [5]
    assert len(docs.search(words="borrow")) == 0

    async def search():
        docs_, before_ = nearfield.aio.Collection(docs), nearfield.aio.Snapshot(before)
        assert not await docs_.add_text_index("body")
        assert await docs_.add_columns(text="title") == 1
        found = await docs_.search(words="page", rerank=lambda hits: -hits.ids)
        return found, await before_.search(words="borrow"), await before_.explain(words="borrow")

    found, old, explained = asyncio.run(search())
    assert (found.ids.tolist(), old.ids.tolist()) == ([1, 2], [3])
    assert explained.hits.ids.tolist() == [3]


def test_sparse_vectors_beside_others(db: nf.Database):
    docs = db.collection("splade", dim=1, metric="l2", text="body")
    terms = [{n: 1.0} | ({100: n + 1.0} if n % 10 == 0 else {}) for n in range(40)]
    docs.upsert(range(40), [[n] for n in range(40)], {"body": [f"w{n}" for n in range(40)], "terms": terms})
    for source in (docs, docs.snapshot()):
        # The vector: 0, 1, 2, …; the sparse one: 30, 20, 10, 0.
        hits = source.search([0], k=3, sparse={"terms": {100: 1.0}}, candidates=4)
        assert hits.ids.tolist() == [0, 30, 1] and hits[1].distance == 900
        assert source.explain([0], k=1, sparse={"terms": {100: 1.0}}).hits.ids.tolist() == [0]
        hits = source.search(words="w7", sparse={"terms": ([100], [1.0])}, k=9)
        assert hits.ids.tolist() == [7, 30, 20, 10, 0]
        hits = source.search([5], k=40, candidates=40, words="w20", sparse={"terms": {100: 1.0}}, alpha=0.0)
        scores = dict(zip(hits.ids.tolist(), hits.scores.tolist()))
        assert scores[30] == 0.5 and scores[20] == pytest.approx(0.5 + 0.5 * 20 / 30)
    for given, message in [
        ({"terms": 3}, "indices"), ({3: {1: 1.0}}, "dict of columns"), ("terms", "dict of columns"), ({"body": {1: 1.0}}, "body"),
        ({"nope": {1: 1.0}}, "nope"),
    ]:  # fmt: skip
        with pytest.raises((TypeError, ValueError, nf.Error), match=message):
            docs.search([0], sparse=given)
    with pytest.raises(TypeError, match=r'sparse\["terms"\]: expected a list of sparse vectors'):
        docs.search_batch([[0]], sparse={"terms": {1: 1.0}})
    with pytest.raises(TypeError, match="a dict of columns and lists of sparse vectors, one for each query"):
        docs.search_batch([[0]], sparse=[{1: 1.0}])


def test_words_beside_a_sparse_vector(db: nf.Database):
    docs = db.collection("sparse", dim=1, text="body")
    docs.upsert([1, 2, 3], [[0]] * 3, {"body": ["rare", "rare too", "x"], "terms": [{7: 2.0}, {8: 1.0}, None]})
    for source in [docs, docs.snapshot()]:
        hits = source.search_sparse("terms", {7: 1.0}, words="rare", highlight=True)
        assert (hits.ids.tolist(), hits.distances.tolist()) == ([1, 2], [-2.0, 0.0])
        assert hits.highlights()[1] == {"body": "**rare** too"}
        hits = source.search_sparse("terms", {7: 1.0, 8: 1.0}, k=1, rerank=lambda hits: hits.distances)
        assert hits.ids.tolist() == [2]


def test_a_function_ranks_candidates(docs: nf.Collection):
    seen = []

    def longest(hits: nf.Hits) -> list[int]:
        seen.append(len(hits))
        return [len(hit["body"] or "") for hit in hits]

    assert docs.search([0], k=1, rerank=longest).ids.tolist() == [2]
    assert docs.search([0], k=1, rerank=longest, rerank_candidates=1).ids.tolist() == [1]
    assert docs.search([0], k=2, rerank=longest, rerank_candidates=0).ids.tolist() == [2, 1]
    assert seen == [5, 1, 2]
    hits = docs.search([0], words="page", rerank=lambda hits: np.arange(len(hits)), highlight=True)
    assert hits.scores.tolist() == [4, 3, 2, 1, 0]
    assert hits.distances.tolist() != sorted(hits.distances)
    columns = []
    docs.search([0], select=["n"], rerank=lambda hits: columns.append(hits[0].keys()) or hits.scores)
    assert columns == [["id", "distance", "score", "n"]]
    # What models give: a column, float64, integers; ties go to the smaller id.
    for scores in [np.zeros((5, 1)), np.zeros(5, dtype=np.float64), [0] * 5, (0,) * 5, np.zeros(5, dtype=bool)]:
        assert docs.search([0], k=2, rerank=lambda hits: scores).ids.tolist() == [1, 2]  # noqa: B023
    infinite = docs.search([0], k=1, rerank=lambda hits: [0, 0, float("inf"), 0, 0])
    assert infinite.ids.tolist() == [3]
    never = docs.search(words="absent", rerank=lambda hits: pytest.fail("there is nothing to rank"))
    assert len(never) == 0


def test_pages_and_groups_of_words_and_of_functions(docs: nf.Collection):
    docs.update([1, 2, 3, 4, 5], {"doc": ["a", "a", "b", "b", None]})
    both = docs.search([0], words="page").ids.tolist()
    assert docs.search([0], words="page", k=2, offset=2).ids.tolist() == both[2:4]
    assert docs.search(words="page", k=1, offset=1).ids.tolist() == docs.search(words="page").ids.tolist()[1:]
    assert docs.search(words="page OR borrow", group_by="doc", k=2, where="id > 1").ids.tolist() in ([2, 3], [3, 2])
    grouped = docs.search([0], words="borrow", alpha=0.1, group_by="doc", k=2)
    assert [hit["doc"] for hit in grouped] == ["b", "a"]
    farthest = {"rerank": lambda hits: hits.distances}
    assert docs.search([0], k=2, offset=1, **farthest).ids.tolist() == [4, 3]
    assert docs.search([0], k=2, group_by="doc", **farthest).ids.tolist() == [5, 4]
    assert docs.search([0], min_distance=4, words="page", k=1).ids.tolist() == [3]


def test_groups_are_looked_for_behind_the_candidates_unless_their_number_is_given(db: nf.Database):
    rows = db.create("rows", dim=1, metric="l2", text="body")
    data = {"body": ["word"] * 401, "doc": ["same"] * 400 + ["other"]}
    rows.upsert(np.arange(401), np.arange(401, dtype="f4")[:, None], data)
    asked = {"words": "word", "group_by": "doc", "k": 2}
    assert rows.search([0], **asked).ids.tolist()[1:] == [400]
    assert len(rows.search([0], candidates=100, **asked)) == 1


@pytest.mark.parametrize("raised", [LookupError("no model"), KeyboardInterrupt(), SystemExit(3), nf.Closed("mine")])
def test_what_a_function_raises_is_raised_and_nothing_is_broken(docs: nf.Collection, raised):
    def failing(hits: nf.Hits) -> list[float]:
        raise raised

    with pytest.raises(type(raised)) as caught:
        docs.search([0], words="page", rerank=failing)
    assert caught.value is raised
    assert caught.traceback[-1].name == "failing"
    assert docs.search(words="borrow").ids.tolist() == [3]
    docs.upsert(9, [9], [{"body": "new"}])
    assert docs.search(words="new").ids.tolist() == [9]


@pytest.mark.parametrize(
    ("scores", "error", "message"),
    [
        ([1.0], ValueError, "1 scores for 5 candidates"),
        ([], ValueError, "0 scores for 5 candidates"),
        (np.zeros((1, 5)), ValueError, r"shape \[1, 5\], expected \(5,\)"),
        (3.0, TypeError, "rerank returned float, expected an array or a list"),
        ([1, 2, 3, 4, float("nan")], ValueError, "NaN for id 5"),
        (None, TypeError, "rerank returned NoneType, expected an array or a list"),
        (["a"] * 5, TypeError, "rerank returned list"),
        (iter([1] * 5), TypeError, "rerank returned list_iterator"),
        ([[1], [2, 3]], TypeError, "rerank returned list"),
        ({1: 2.0}, TypeError, "rerank returned dict"),
    ],
)
def test_what_is_no_score_for_each_hit(docs: nf.Collection, scores, error, message):
    with pytest.raises(error, match=message):
        docs.search([0], rerank=lambda hits: scores)


def test_a_function_may_search_and_write_and_others_go_on_meanwhile(docs: nf.Collection):
    found = []

    def rank(hits: nf.Hits) -> np.ndarray:
        other = threading.Thread(target=lambda: found.append(docs.search(words="borrow").ids.tolist()))
        other.start()
        other.join(60)
        docs.delete([1])
        docs.update([2], {"n": [20]})
        found.append(docs.search([0], k=1, rerank=lambda hits: hits.scores).ids.tolist())
        return hits.distances

    # The search sees the rows that there were when it began.
    assert docs.search([0], k=5, rerank=rank).ids.tolist() == [5, 4, 3, 2, 1]
    assert found == [[3], [2]]
    assert len(docs) == 4


def test_handles_that_are_closed_say_so(db: nf.Database, docs: nf.Collection):
    snapshot = docs.snapshot()

    def closing(hits: nf.Hits) -> np.ndarray:
        docs.close()
        return hits.scores

    assert docs.search([0], k=1, rerank=closing).ids.tolist() == [1]
    for closed in [
        lambda: docs.search(words="page"),
        lambda: docs.search([0], words="page"),
        lambda: docs.explain(words="page"),
        lambda: docs.add_text_index("body"),
        lambda: docs.add_columns(text="title"),
    ]:
        with pytest.raises(nf.Closed):
            closed()
    assert snapshot.search(words="borrow").ids.tolist() == [3]
    db.close()


BAD = [
    ({"words": 'page "fault'}, ValueError, "column 6"),
    ({"words": 3}, TypeError, "words: expected str, given int"),
    ({"words": ["page"]}, TypeError, "words: expected str, given list"),
    ({"words": b"page"}, TypeError, "words: expected str, given bytes"),
    ({"words": "page", "plain": 1}, TypeError, "plain: expected a bool"),
    ({"words": "page", "words_in": "bdy"}, nf.NotFound, 'did you mean "body"'),
    ({"words": "page", "words_in": "n"}, ValueError, "not indexed .* add_text_index"),
    ({"words": "page", "words_in": ["body", "body"]}, ValueError, "given twice"),
    ({"words": "page", "words_in": []}, ValueError, "names no column"),
    ({"words": "page", "words_in": {}}, ValueError, "names no column"),
    ({"words": "page", "words_in": 3}, TypeError, "words_in"),
    ({"words": "page", "words_in": {"body": "much"}}, TypeError, 'weight of "body"'),
    ({"words": "page", "words_in": {"body": -1}}, ValueError, "weight"),
    ({"words": "page", "words_in": {"body": float("nan")}}, ValueError, "weight"),
    ({"words": "page", "highlight": "yes"}, TypeError, "highlight"),
    ({"words": "page", "highlight": -1}, ValueError, "highlight is -1"),
    ({"words": "page", "max_distance": 1}, ValueError, "min_distance and max_distance are of a vector"),
    ({"words": "page", "min_distance": 1}, ValueError, "min_distance and max_distance are of a vector"),
    ({"words": "page", "alpha": 0.5}, ValueError, "alpha says how several lists .* a vector .or text="),
    ({"words": "page", "candidates": 5}, ValueError, "candidates says"),
    ({"q": [0], "highlight": True}, ValueError, "highlight says how words are searched; give words= too"),
    ({"q": [0], "plain": True}, ValueError, "plain says"),
    ({"q": [0], "words_in": "body"}, ValueError, "words_in says"),
    ({"q": [0], "fusion": "rrf"}, ValueError, "fusion says .* words= and sparse="),
    ({"q": [0], "rerank_candidates": 5}, ValueError, "give rerank= too"),
    ({"q": [0], "words": "page", "fusion": "rrf", "alpha": 0.5}, ValueError, "leave one of them out"),
    ({"q": [0], "words": "page", "rrf_k": 60, "alpha": 0.5}, ValueError, "leave one of them out"),
    ({"q": [0], "words": "page", "rrf_k": 60, "normalize": "minmax"}, ValueError, "leave one of them out"),
    ({"q": [0], "words": "page", "fusion": "weighted", "rrf_k": 60}, ValueError, "leave one of them out"),
    ({"q": [0], "words": "page", "fusion": "weighted"}, ValueError, "needs alpha"),
    ({"q": [0], "words": "page", "normalize": "minmax"}, ValueError, "needs alpha"),
    ({"q": [0], "words": "page", "fusion": "best"}, ValueError, 'one of "rrf", "weighted"'),
    ({"q": [0], "words": "page", "fusion": 3}, TypeError, "fusion"),
    ({"q": [0], "words": "page", "alpha": 2}, ValueError, "alpha is 2, expected 0 to 1"),
    ({"q": [0], "words": "page", "alpha": "x"}, TypeError, "alpha: expected a number"),
    ({"q": [0], "words": "page", "alpha": 0.5, "normalize": "max"}, ValueError, '"minmax", "zscore"'),
    ({"q": [0], "words": "page", "rrf_k": -1}, ValueError, "expected 0 or more"),
    ({"q": [0], "words": "page", "candidates": -1}, ValueError, "candidates is -1"),
    ({"q": [0], "words": "page", "offset": 95, "k": 6}, ValueError, "ask for at least 101 of them"),
    ({"q": [0, 0], "words": "page"}, nf.DimensionMismatch, "2"),
    ({"q": [float("nan")], "words": "page"}, nf.InvalidVector, "NaN"),
    ({"q": [0], "rerank": 3}, TypeError, "rerank: expected a function"),
    ({"q": [0], "text": "page"}, TypeError, "use words="),
    ({}, TypeError, "given neither; to search by words alone, use words="),
]


@pytest.mark.parametrize(("arguments", "error", "message"), BAD)
def test_wrong_arguments(docs: nf.Collection, arguments, error, message):
    for search in [docs.search, docs.explain]:
        with pytest.raises(error, match=message):
            search(**arguments)
    assert docs.search(words="borrow").ids.tolist() == [3]


def test_none_is_as_if_left_out(docs: nf.Collection):
    names = ["words", "words_in", "highlight", "fusion", "rrf_k", "alpha", "normalize", "candidates"]
    nothing = dict.fromkeys([*names, "rerank", "rerank_candidates"])
    assert docs.search([0], k=1, **nothing).ids.tolist() == [1]
    assert docs.search_batch([[0]], k=1, **nothing).ids.tolist() == [[1]]


def test_a_batch_finds_what_each_of_its_queries_finds(db: nf.Database):
    embed = nf.Embedder(lambda texts: [[float(text)] for text in texts], "numbers", 1)
    docs = db.collection("many", metric="l2", embed=embed, text="body")
    terms = [{n % 5: n + 1.0} for n in range(40)]
    docs.upsert(range(40), [[n] for n in range(40)], {"body": [f"w{n % 8} x" for n in range(40)], "terms": terms})
    vectors, words = [[3], [9], [20]] * 30, ["w1", "w2 OR w3", "+x -w4"] * 30
    sparse = [{1: 1.0}, ([2], [0.5]), {3: 1.0}] * 30
    rerank = lambda hits: hits.ids % 7
    for source in (docs, docs.snapshot()):
        for given in [
            {"words": words},
            {"queries": vectors, "words": words, "highlight": True, "alpha": 0.4},
            {"texts": [str(v[0]) for v in vectors], "words": words, "plain": True, "words_in": "body"},
            {"queries": vectors, "sparse": {"terms": sparse}, "rrf_k": 3, "where": "id > 4"},
            {"words": words, "sparse": {"terms": sparse}, "candidates": 12},
            {"queries": vectors, "words": words, "sparse": {"terms": sparse}, "rerank": rerank, "group_by": "body"},
            {"queries": vectors, "rerank": rerank, "rerank_candidates": 5},
        ]:
            found = source.search_batch(k=4, select=None, **given)
            assert (len(found), found.ids.shape) == (90, (90, 4))
            for n in range(3):
                one = dict(given)
                lists = {"queries": "q", "texts": "text", "words": "words"}
                for many, name in lists.items():
                    if many in given:
                        one[name] = one.pop(many)[n]
                if "sparse" in given:
                    one["sparse"] = {"terms": sparse[n]}
                hits = source.search(k=4, **one)
                assert repr(hits) == repr(found[n]) == repr(found[n + 87]), given
                assert (hits.highlights(), [hit.ranks for hit in hits]) == (
                    found[n].highlights(), [hit.ranks for hit in found[n]],
                )  # fmt: skip
        both = source.search_sparse_batch("terms", sparse, k=3, words=words, alpha=0.5)
        assert repr(both[1]) == repr(source.search_sparse("terms", sparse[1], k=3, words=words[1], alpha=0.5, select=[]))
        assert source.search_batch(words=[], k=3).ids.shape == (0, 3)
        assert source.search_batch(words="w1", k=1).ids.tolist() == [[1]]

    async def search():
        docs_, before = nearfield.aio.Collection(docs), nearfield.aio.Snapshot(docs.snapshot())
        return await docs_.search_batch(words=words, k=1), await before.search_batch(texts=["5"], words=["w5"], k=1)

    assert [found.ids[0].tolist() for found in asyncio.run(search())] == [[1], [5]]


def test_wrong_batches(docs: nf.Collection):
    def fails(hits):
        raise LookupError("no model")

    for given, error, message in [
        ({"queries": [[0], [1]], "words": ["page"]}, nf.InvalidArgument, "vectors of 2 queries and words of 1; give one for each"),
        ({"queries": [[0], [1]], "words": "page"}, nf.InvalidArgument, "words of 1"),
        ({"queries": [[0]], "words": []}, nf.InvalidArgument, "words of 0"),
        ({"queries": [[0]], "words": [3]}, TypeError, "words: row 0: expected str, given int"),
        ({"queries": [[0]], "words": {"a": 1}}, TypeError, "words: expected a list of str"),
        ({"words": ["page", '"page']}, nf.WordsError, "quotation mark is not closed"),
        ({"words": ["page"], "alpha": 0.5}, nf.InvalidArgument, "give two of a vector"),
        ({"queries": [[0]], "texts": ["x"]}, TypeError, "given both; to search for words beside vectors, use words="),
        ({}, TypeError, "given neither; to search by words alone, use words="),
        ({"words": ["page", "fault"], "rerank": fails}, LookupError, "no model"),
        ({"words": ["page"] * 100, "rerank": fails}, LookupError, "no model"),
    ]:
        with pytest.raises(error, match=message):
            docs.search_batch(**given)


def test_columns_of_text_say_their_language_and_their_weight(db: nf.Database):
    text = {"title": "german", "body": {"language": None, "k1": 0.9, "b": 0.4}}
    docs = db.collection("docs", dim=1, text=text)
    docs.upsert([1, 2], [[0], [1]], {"title": ["Häuser", "x"], "body": ["y", "Haus"]})
    assert docs.search(words="haus", words_in="title").ids.tolist() == [1]
    assert docs.search(words="haus", words_in={"title": 0.1, "body": 3}).ids.tolist() == [2, 1]
    assert docs.search(words="title:haus").ids.tolist() == [1]
    said = docs.schema["text"]
    assert said == {
        "title": {"language": "german", "stop_words": True, "stem": True, "k1": 1.2, "b": 0.75},
        "body": {"language": None, "stop_words": True, "stem": True, "k1": 0.9, "b": 0.4},
    } or said["body"]["language"] is None and said["body"]["k1"] == 0.9
    again = db.create("again", **docs.schema)
    assert again.schema["text"] == said
    with pytest.raises(nf.SchemaMismatch, match='text options of column "title"'):
        db.collection("docs", text={"title": "french"})
    assert db.collection("docs", text="title").schema["text"] == said
    assert docs.add_text_index("body", {"language": "de"})
    assert docs.search(words="häuser", words_in="body").ids.tolist() == [2]


def test_columns_that_are_there_are_indexed_later(db: nf.Database, tmp_path):
    docs = db.collection("docs", dim=1)
    docs.upsert([1], [[0]], {"body": ["pages"], "title": ["words"], "n": [1]})
    with pytest.raises(ValueError, match="add_text_index"):
        docs.search(words="page")
    assert docs.schema["text"] == []
    assert db.collection("docs", text="body").search(words="page").ids.tolist() == [1]
    assert docs.add_columns({"title": str}, text={"title": None, "more": "german"}) == 1
    assert docs.search(words="word").ids.tolist() == []
    assert docs.search(words="words").ids.tolist() == [1]
    assert not docs.add_text_index("body")
    assert docs.add_text_index("title")
    assert docs.search(words="word").ids.tolist() == [1]
    docs.compact()
    db.close()
    with nf.open(tmp_path / "test.nf") as db:
        assert db["docs"].search(words="word page", highlight=True).highlights() == [
            {"body": "**pages**", "title": "**words**"}
        ]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ("klingon", ValueError, "klingon"),
        ("englsh", ValueError, 'did you mean "english"'),
        (3, TypeError, "a language, None for words as they are, or a dict"),
        ({"stems": True}, ValueError, "no option .stems"),
        ({"stem": "yes"}, TypeError, "stem: expected a bool"),
        ({"k1": "much"}, TypeError, "k1: expected a number"),
        ({"k1": -1}, ValueError, "k1"),
        ({"b": 2}, ValueError, 'b of text column "body" is 2'),
        ({"language": 3}, TypeError, "language"),
        ({3: True}, TypeError, "expected str"),
    ],
)
def test_wrong_options_of_texts(db: nf.Database, docs: nf.Collection, options, error, message):
    with pytest.raises(error, match=message):
        db.create("other", dim=1, text={"body": options})
    with pytest.raises(error, match=message):
        docs.add_text_index("body", options)
    with pytest.raises(error, match=message):
        docs.add_columns(text={"body": options})
    assert db.collections() == ["docs"]
    assert docs.schema["text"] == ["body"]


def test_what_is_no_column_of_text(db: nf.Database, docs: nf.Collection):
    with pytest.raises(nf.NotFound, match='did you mean "body"'):
        docs.add_text_index("bdy")
    with pytest.raises(ValueError, match="int64"):
        docs.add_text_index("n")
    for more in [{"text": "n"}, {"columns": {"n": str, "new": int}}]:
        with pytest.raises(nf.SchemaMismatch, match='column "n": expected int64, given utf8'):
            docs.add_columns(**more)
    assert "new" not in docs.schema["columns"]
    with pytest.raises(TypeError, match="columns, or text"):
        docs.add_columns()
    with pytest.raises(TypeError, match="text: expected"):
        db.create("other", dim=1, text=3)
    with pytest.raises(ValueError, match="utf8"):
        db.create("other", dim=1, text="year", columns={"year": int})


def test_a_reader_searches_by_words(db: nf.Database, docs: nf.Collection, tmp_path):
    docs.flush()
    with nf.open(tmp_path / "test.nf", mode="r") as reader:
        read = reader.collection("docs", text="body")
        assert read.search(words="borrow").ids.tolist() == [3]
        with pytest.raises(nf.ReadOnly):
            read.add_text_index("body", "german")


def test_too_many_words_are_told_in_python(docs: nf.Collection):
    many = " ".join(f"w{n}" for n in range(1_100))
    with pytest.raises(nf.InvalidArgument, match="more than 1024 words.*give fewer, or plain=True, which takes the first"):
        docs.search(words=many)
    assert docs.search(words=many + " page", plain=True).ids.tolist() == []
    with pytest.raises(nf.NotFound, match='column "zzz" not found; there are body, n'):
        docs.search([0], select=["zzz"])
