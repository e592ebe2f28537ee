import asyncio
import pickle
from collections import ChainMap
from datetime import datetime, timezone
from types import MappingProxyType

import numpy as np
import pytest

import nearfield as nf
from nearfield import aio


@pytest.fixture
def books(db: nf.Database) -> nf.Collection:
    books = db.collection("books", dim=2, metric="l2")
    data = {
        "year": [2019, 2020, None, 2024],
        "price": [1.5, float("nan"), 3.0, None],
        "lang": ["en", "de", "en", None],
        "sold": [True, False, None, True],
        "tags": [["rust", "db"], ["db"], [], None],
        "at": [datetime(2024, 1, day, tzinfo=timezone.utc) for day in (1, 2, 3, 4)],
    }
    books.upsert([1, 2, 3, 4], [[0, 0], [1, 0], [2, 0], [3, 0]], data)
    return books


col = nf.col

FOUND = [
    ("year >= 2020", {"year": {"$gte": 2020}}, col("year") >= 2020, [2, 4]),
    ("lang = 'en'", {"lang": "en"}, col("lang") == "en", [1, 3]),
    ("lang <> 'en'", {"lang": {"$ne": "en"}}, col("lang") != "en", [2]),
    ("year IS NULL", {"year": None}, col("year") == None, [3]),  # noqa: E711
    ("year IS NOT NULL", {"year": {"$exists": True}}, col("year").is_not_null(), [1, 2, 4]),
    ("year IN (2019, 2024.0)", {"year": {"$in": [2019, 2024.0]}}, col("year").isin([2019, 2024.0]), [1, 4]),
    ("year NOT IN (2019)", {"year": {"$nin": (2019,)}}, ~col("year").isin({2019}), [2, 4]),
    ("sold", {"sold": True}, col("sold"), [1, 4]),
    ("NOT sold", {"$not": {"sold": True}}, ~col("sold"), [2]),
    ("tags HAS 'db'", {"tags": {"$has": "db"}}, col("tags").has("db"), [1, 2]),
    ("tags HAS ALL ('db', 'rust')", {"tags": {"$has_all": ["db", "rust"]}}, col("tags").has_all(["db", "rust"]), [1]),
    ("tags HAS ANY ('x', 'rust')", {"tags": {"$contains": "rust"}}, col("tags").contains("rust"), [1]),
    ("lang LIKE 'd_'", {"lang": {"$like": "d_"}}, col("lang").like("d_"), [2]),
    ("lang ILIKE 'E%'", {"lang": {"$ilike": "E%"}}, col("lang").ilike("E%"), [1, 3]),
    ("lang STARTS WITH 'e'", {"lang": {"$prefix": "e"}}, col("lang").starts_with("e"), [1, 3]),
    ("year BETWEEN 2019 AND 2020", {"year": {"$between": [2019, 2020]}}, col("year").between(2019, 2020), [1, 2]),
    ("price < 2 OR id = 3", {"$or": [{"price": {"$lt": 2}}, {"id": 3}]}, (col("price") < 2) | (col("id") == 3), [1, 3]),
    ("lang = 'en' AND id > 1", {"lang": "en", "id": {"$gt": 1}}, (col("lang") == "en") & "id > 1", [3]),
    ("at >= '2024-01-03'", {"at": {"$gte": datetime(2024, 1, 3)}}, col("at") >= datetime(2024, 1, 3, tzinfo=timezone.utc), [3, 4]),
    ("year > 2019", {"year": {"$gt": np.int64(2019)}}, col("year") > np.float32(2019), [2, 4]),
]


@pytest.mark.parametrize(("text", "dictionary", "expression", "ids"), FOUND)
def test_three_spellings_find_the_same_rows_everywhere(books, text, dictionary, expression, ids):
    for where in (text, dictionary, expression, nf.Filter(text)):
        assert books.search([0, 0], where=where).ids.tolist() == ids
        assert books.search_batch([[0, 0]], k=len(ids), where=where).ids.tolist() == [ids]
        assert books.count(where=where) == books.snapshot().count(where=where) == len(ids)
        assert [i for records in books.scan(where=where) for i in records.ids.tolist()] == ids
        explained = books.explain([0, 0], where=where)
        assert explained.filter["matching_rows"] == len(ids)
        assert explained.parts == [] or explained.parts[0]["matching_rows"] == len(ids)


REFUSED = [
    ("yaer = 1", nf.FilterError, "did you mean year"),
    ("year = 'x'", nf.FilterError, "int64"),
    ("year = ", nf.FilterError, "found the end"),
    ("lang = 'x", nf.FilterError, "no end"),
    ("(" * 10_000, nf.FilterError, "256 deep"),
    ("", nf.FilterError, "empty"),
    ({"year": {"$gtx": 1}}, nf.FilterError, r"did you mean \$gt"),
    ({"year": [1]}, nf.FilterError, "expected a value"),
    ({1: 2}, TypeError, "a key of a filter"),
    ({"year": object()}, TypeError, "a value of a filter"),
    ({"price": float("nan")}, nf.FilterError, "NaN cannot be asked for; NaN is equal to nothing"),
    ({"price": {"$lt": float("inf")}}, nf.FilterError, "inf cannot be asked for in a filter that is a dict"),
    ({"year": {"$gte": None}}, nf.FilterError, "null is neither smaller nor larger"),
    ({"year": {"$between": [2019, None]}}, nf.FilterError, r"year.\$between: null is neither"),
    (5, TypeError, "where: expected the text of a filter"),
    (["year = 1"], TypeError, "where: expected"),
    (col("price") < float("nan"), nf.FilterError, "NaN"),
]


@pytest.mark.parametrize(("where", "kind", "words"), REFUSED)
def test_what_is_no_filter_is_refused_everywhere_and_changes_nothing(books, tmp_path, where, kind, words):
    calls = [
        lambda: books.search([0, 0], where=where),
        lambda: books.search_batch([[0, 0]], where=where),
        lambda: books.explain([0, 0], where=where),
        lambda: books.count(where=where),
        lambda: list(books.scan(where=where)),
        lambda: books.delete(where=where),
        lambda: books.update(data={"year": 1}, where=where),
        lambda: books.export_file(tmp_path / "out.jsonl", where=where),
        lambda: books.snapshot().search([0, 0], where=where),
    ]
    for call in calls:
        with pytest.raises(kind, match=words):
            call()
    assert books.count(where="year <> 1") == 3
    assert not (tmp_path / "out.jsonl").exists()


def test_an_error_tells_the_place():
    with pytest.raises(nf.FilterError) as caught:
        nf.Filter("year >= 2019 AMD lang = 'en'")
    assert (caught.value.position, caught.value.hint) == (13, "did you mean AND?")
    assert str(caught.value).endswith("\n" + " " * 15 + "^")
    with pytest.raises(nf.FilterError, match="at column 14;") as caught:
        nf.Filter("lang = 'éèà' AMD year = 2019")
    assert caught.value.position == 13


def test_the_place_of_an_error_is_an_index_of_the_text(books):
    for where, word in [
        ("lang = 'é' AND yaer = 1", "yaer"),
        ("lang = 'é𝒳' AND (year = 1 OR yaer = 1)", "yaer"),
        ("lang = 'éééééééééééééééééééééééééééééééééééééééééééé' AND yaer = 1", "yaer"),
        ("lang = 'é' AND year = 'x'", "= 'x'"),
        ("lang = 'é' AMD year = 1", "AMD"),
        ("lang = 'é' AND year = %", "%"),
    ]:
        with pytest.raises(nf.FilterError) as caught:
            books.count(where=where)
        at = caught.value.position
        assert where[at:].startswith(word)
        assert f"at column {at + 1}" in str(caught.value)
    short = "lang = 'é' AND year ="
    with pytest.raises(nf.FilterError) as caught:
        nf.Filter(short)
    assert caught.value.position == len(short)
    with pytest.raises(nf.FilterError) as caught:
        books.count(where={"yaer": 1})
    assert caught.value.position is None


def test_expressions_are_no_truth_values():
    for expression in (col("a"), col("a") == 1):
        with pytest.raises(TypeError, match="join filters by"):
            bool(expression)
    with pytest.raises(TypeError, match="None has no order"):
        col("a") < None
    with pytest.raises(TypeError, match="a list of them"):
        col("a").isin("abc")


def test_filters_are_printed_compared_and_pickled():
    made = (col("a b") == "it's") & ~(col("n").isin(np.arange(3)) | col("s").like("a!%", escape="!"))
    text = "\"a b\" = 'it''s' AND NOT (n IN (0, 1, 2) OR s LIKE 'a!%' ESCAPE '!')"
    assert str(made) == text
    assert made == nf.Filter(text) == pickle.loads(pickle.dumps(made))
    assert len({made, nf.Filter(text)}) == 1
    assert repr(nf.Filter("n=1")) == 'Filter("n = 1")'


def test_rows_are_deleted_updated_and_exported_by_filter(books, tmp_path):
    assert books.update(data={"lang": "fr", "tags": ["x"]}, where="year >= 2020") == 2
    assert books.get(2)[0]["lang"] == "fr"
    assert books.get(4)[0]["tags"] == ["x"]
    assert books.export_file(tmp_path / "fr.jsonl", where=col("lang") == "fr") == 2
    assert len((tmp_path / "fr.jsonl").read_text().splitlines()) == 2
    assert books.delete(where={"lang": "fr"}) == 2
    assert books.delete(where={"lang": "fr"}) == 0
    assert len(books) == 2
    for wrong in (lambda: books.delete(), lambda: books.delete([1], where="TRUE")):
        with pytest.raises(TypeError, match="delete"):
            wrong()
    with pytest.raises(TypeError, match="data"):
        books.update(where="TRUE")


def test_asyncio_takes_filters_too(books):
    async def main():
        wrapped = aio.Collection(books)
        hits = await wrapped.search([0, 0], where="lang = 'en'")
        found = [r async for r in wrapped.scan(where="id > 2")]
        counts = await wrapped.count(where="sold"), await wrapped.delete(where="sold")
        updated = await wrapped.update(data={"year": 1}, where="TRUE")
        return hits.ids.tolist(), len(found[0]), counts, updated

    assert asyncio.run(main()) == ([1, 3], 2, (2, 2), 2)


HALF = "\ud800"


@pytest.mark.parametrize(
    ("where", "message", "position"),
    [
        (f"lang = 'é{HALF}'", r"filter: where: expected Unicode text, given the lone surrogate '\\ud800' at index 9", 9),
        ({"lang": HALF}, "a value of a filter: expected Unicode text", None),
        ({HALF: 1}, "a key of a filter: expected Unicode text", None),
    ],
)
def test_half_a_character_is_no_filter(books, where, message, position):
    with pytest.raises(nf.FilterError, match=message) as caught:
        books.count(where=where)
    assert (caught.value.position, caught.value.hint) == (position, "")


def test_half_a_character_is_compared_with_nothing():
    text = col("lang")
    for compared in (
        lambda: text == HALF,
        lambda: text.isin([HALF]),
        lambda: text.like(HALF),
        lambda: text.ilike(HALF),
        lambda: text.starts_with(HALF),
        lambda: text.contains(HALF),
        lambda: text.has(HALF),
        lambda: text.has_any([HALF]),
    ):
        with pytest.raises(nf.FilterError, match="lone surrogate"):
            compared()
    with pytest.raises(TypeError, match="prefix: expected a str, given int"):
        text.starts_with(1)


def test_half_a_character_is_no_text_elsewhere(db, books):
    texts = db.collection("texts", embed=nf.Embedder(lambda texts: [[len(t)] for t in texts], "m", 1))
    for called, what in [
        (lambda: books.search(words=HALF), "words"),
        (lambda: books.search([0, 0], select=HALF), "select"),
        (lambda: books.search([0, 0], group_by=HALF), "group_by"),
        (lambda: texts.search(text=HALF), "text"),
        (lambda: texts.add_texts(["a", HALF]), "texts: row 1"),
        (lambda: texts.add_texts(HALF), "texts: row 0"),
        (lambda: texts.upsert(["a", HALF], [[1], [2]]), "ids: row 1"),
        (lambda: texts.get(HALF), "ids: row 0"),
        (lambda: HALF in texts, "id"),
        (lambda: books.upsert([1], [[1, 1]], {"lang": ["a" + HALF]}), 'column "lang" row 0'),
        (lambda: books.upsert([1], [[1, 1]], {"tags": [["a", HALF]]}), 'column "tags" row 0'),
        (lambda: books.upsert([1], [[1, 1]], {HALF: [1]}), "data: a column name"),
        (lambda: db.create(HALF, dim=2), "name"),
        (lambda: db.create("new", dim=2, text=HALF), "text"),
    ]:
        with pytest.raises(nf.InvalidArgument, match=f"^{what}: expected Unicode text, given the lone surrogate"):
            called()
    assert len(books) == 4


def test_any_mapping_is_a_filter(books):
    frozen = MappingProxyType({"year": MappingProxyType({"$gte": 2020})})
    assert books.count(where=frozen) == books.count(where=ChainMap({}, {"year": {"$gte": 2020}})) == 2
    assert books.count(where={"$or": [frozen, MappingProxyType({"id": 3})]}) == 3
    assert (nf.Filter(frozen) & frozen) == nf.Filter({"$and": [frozen, frozen]})
    with pytest.raises(nf.FilterError, match="no condition"):
        books.count(where=MappingProxyType({}))


def test_any_mapping_is_a_dict_elsewhere(db):
    options = MappingProxyType({"body": MappingProxyType({"language": "en", "stem": False})})
    rows = db.create("rows", dim=1, metric="l2", text=options, columns=MappingProxyType({"s": "sparse"}))
    rows.upsert([1, 2], [[0], [1]], [MappingProxyType({"body": "rust", "s": {1: 1.0}}), ChainMap({"body": "iron"})])
    assert rows.search(words="rust", words_in=MappingProxyType({"body": 2})).ids.tolist() == [1]
    assert rows.search([1], sparse=MappingProxyType({"s": {1: 1.0}}), k=1, alpha=0).ids.tolist() == [1]


def test_notebooks_show_the_filter_of_an_explanation(books):
    explained = books.explain([0, 0], where="lang = '<b>' OR year > 2019", rerank=lambda hits: hits.ids)
    shown = explained._repr_html_()
    assert "<p>lang = '&lt;b&gt;' OR year &gt; 2019: 2 rows" in shown and "to rank)" in shown
    assert "lang = '<b>' OR year > 2019: 2 rows" in repr(explained) and "to rank)" in repr(explained)
    assert "rows" not in books.explain([0, 0])._repr_html_().split("<table>")[0]
