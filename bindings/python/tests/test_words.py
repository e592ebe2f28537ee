"""Search by words, and by words and vectors."""

import numpy as np
import pytest

import nearfield as nf

TEXTS = ["a page fault in mmap", "searching pages of a book", "E0502: cannot borrow", None, "the of"]


@pytest.fixture
def docs(tmp_path):
    with nf.open(tmp_path / "db.nf") as db:
        docs = db.collection("docs", dim=1, metric="l2", text="body")
        data = {"body": TEXTS, "n": [1, 2, 3, 4, 5]}
        docs.upsert([1, 2, 3, 4, 5], [[i] for i in range(5)], data)
        yield docs


def test_words_alone_find_rows_by_their_texts(docs):
    assert docs.search(words="searches").ids.tolist() == [2]
    assert sorted(docs.search(words="page").ids.tolist()) == [1, 2]
    assert docs.search(words="+page -book").ids.tolist() == [1]
    assert docs.search(words="+page -book", plain=True, k=1).ids.tolist() == [2]
    assert docs.search(words="page", where="n > 1").ids.tolist() == [2]
    assert len(docs.search(words="the of")) == 0
    assert len(docs.search(words="")) == 0
    hit = docs.search(words="bor*", highlight=40)[0]
    assert hit.highlights("<b>", "</b>") == {"body": "E0502: cannot <b>borrow</b>"}
    assert hit.distance == -hit.score
    assert docs.search(words="page")[0].highlights() == {}


def test_words_and_a_vector_give_one_order(docs):
    assert docs.search([0], words="borrow", k=2).ids.tolist() == [3, 1]
    hit = docs.search([0], words="borrow", k=1, fusion=("weighted", 0.1))[0]
    assert (hit.id, hit.distance) == (3, 4.0)
    for fusion in ["rrf", ("rrf", 10), ("weighted", 0.5, "zscore"), ("weighted", 0.5, "minmax")]:
        assert len(docs.search([0], words="page", fusion=fusion)) == 5
    before = docs.snapshot()
    docs.delete([3])
    assert before.search(words="borrow").ids.tolist() == [3]
    assert before.search([4], words="borrow", k=2, candidates=1).ids.tolist() == [3, 5]
    assert len(docs.search(words="borrow")) == 0


def test_a_function_ranks_candidates_and_what_it_raises_is_raised(docs):
    seen = []

    def longest(hits):
        seen.append(len(hits))
        return [len(hit["body"] or "") for hit in hits]

    assert docs.search([0], k=1, rerank=longest).ids.tolist() == [2]
    assert docs.search([0], k=1, rerank=longest, candidates=1).ids.tolist() == [1]
    assert seen == [5, 1]
    scores = docs.search([0], words="page", rerank=lambda hits: np.arange(len(hits))).scores
    assert scores.tolist() == [4, 3, 2, 1, 0]

    def failing(hits):
        raise LookupError("no model")

    with pytest.raises(LookupError, match="no model"):
        docs.search([0], rerank=failing)
    with pytest.raises(ValueError, match="1 scores for 5 candidates"):
        docs.search([0], rerank=lambda hits: [1.0])
    with pytest.raises(TypeError, match="rerank"):
        docs.search([0], rerank=3)


def test_mistakes_are_pointed_at(docs):
    with pytest.raises(ValueError, match="column 6"):
        docs.search(words='page "fault')
    with pytest.raises(nf.NotFound, match="body"):
        docs.search(words="page", words_in="bdy")
    with pytest.raises(ValueError, match="words="):
        docs.search([0], highlight=True)
    with pytest.raises((TypeError, ValueError), match="fusion"):
        docs.search([0], words="page", fusion=("weighted",))
    with pytest.raises((TypeError, ValueError), match="alpha"):
        docs.search([0], words="page", fusion=("weighted", 2))
    with pytest.raises((TypeError, ValueError), match="words="):
        docs.snapshot().search()
    with pytest.raises(TypeError):
        docs.search()


def test_columns_of_text_say_their_language_and_their_weight(tmp_path):
    with nf.open(tmp_path / "db.nf") as db:
        text = {"title": "german", "body": {"language": None, "k1": 0.9, "b": 0.4}}
        docs = db.collection("docs", dim=1, text=text)
        docs.upsert([1, 2], [[0], [1]], {"title": ["Häuser", "x"], "body": ["y", "Haus"]})
        assert docs.search(words="haus", words_in={"title": 1}).ids.tolist() == [1]
        assert docs.search(words="haus", words_in={"title": 0.1, "body": 3}).ids.tolist() == [2, 1]
        said = docs.schema["text"]
        assert said["title"]["language"] == "german" and said["body"]["language"] is None
        assert said["body"]["k1"] == 0.9
        again = db.create("again", **docs.schema)
        assert again.schema["text"] == said
        assert docs.add_text_index("body", {"language": "de"})
        assert docs.search(words="häuser", words_in="body").ids.tolist() == [2]
        docs.stats()["text_index_bytes"]
        with pytest.raises(ValueError, match="klingon"):
            db.create("other", dim=1, text={"a": "klingon"})
        with pytest.raises(ValueError, match="stems"):
            db.create("other", dim=1, text={"a": {"stems": True}})
