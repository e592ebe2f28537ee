"""Recall as a parameter of a search, measured, and calibrated."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nearfield as nf


def filled(tmp_path: Any) -> Any:
    db = nf.open(tmp_path / "db", graph_bytes=0)
    docs = db.collection("docs", dim=16, metric="l2")
    rows = np.random.default_rng(1).normal(size=(4_000, 16)).astype(np.float32)
    docs.upsert(np.arange(4_000), rows)
    docs.compact()
    return docs


def test_recall_is_found_measured_and_explained(tmp_path: Any) -> None:
    docs = filled(tmp_path)
    queries = np.random.default_rng(2).normal(size=(100, 16)).astype(np.float32)
    measured = docs.measure_recall(queries, recall=0.9)
    assert measured["queries"] == 100
    assert measured["k"] == 10
    assert measured["low"] <= measured["recall"] <= measured["high"]
    assert measured["recall"] >= 0.88
    assert docs.measure_recall(sample=50, recall=1.0, where="id < 2000")["recall"] == 1.0
    explained = docs.explain(queries[0], recall=0.9)
    assert explained.recall == 0.9
    (part,) = explained.parts
    assert part["ef_source"] == "measured"
    assert part["ef"] >= 10
    assert part["slack"] >= 1.0
    assert "recall 0.9" in repr(explained)
    assert docs.explain(queries[0]).parts[0]["ef_source"] == "settings"
    exact = docs.search(queries[0], recall=1).ids
    assert exact.tolist() == docs.search(queries[0], exact=True).ids.tolist()
    learned = docs.calibrate(queries)
    assert [point["asked"] for point in learned["points"]] == [0.8, 0.9, 0.95, 0.99]
    assert docs.explain(queries[0], recall=0.9).parts[0]["ef_source"] == "calibrated"
    assert docs.calibrate(None) is None
    assert docs.explain(queries[0], recall=0.9).parts[0]["ef_source"] == "measured"


@pytest.mark.parametrize("recall", [0, -0.1, 1.01, float("nan"), float("inf")])
def test_a_recall_that_is_no_share_is_refused(docs: Any, recall: float) -> None:
    for name in ("search", "explain", "search_batch", "measure_recall"):
        with pytest.raises(nf.InvalidArgument, match="recall is .*, expected a share above 0"):
            getattr(docs, name)([[0.0, 1.0]], recall=recall)


def test_arguments_that_do_not_fit_are_told(docs: Any) -> None:
    with pytest.raises(TypeError, match="recall"):
        docs.search([0, 1], recall="high")
    with pytest.raises(nf.InvalidArgument, match="give one of them"):
        docs.search([0, 1], recall=0.9, ef=10)
    with pytest.raises(nf.InvalidArgument, match="recall 0.9 and exact are given"):
        docs.search([0, 1], recall=0.9, exact=True)
    with pytest.raises(nf.InvalidArgument, match="sample is 0, expected 1 or more"):
        docs.measure_recall(sample=0)
    with pytest.raises(TypeError, match="did you mean sample"):
        docs.measure_recall(samples=3)
    with pytest.raises(nf.DimensionMismatch):
        docs.measure_recall([[1.0, 2.0, 3.0]])
    with pytest.raises(nf.InvalidArgument, match="2 queries are given"):
        docs.calibrate([[1.0, 2.0], [3.0, 4.0]])
