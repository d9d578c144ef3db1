"""Moments and approximate indexes: by hand, and against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.errors import UsageError
from mmsearch.evaluation import ann_recall, moment_scores
from mmsearch.evaluation.metrics.moments import temporal_iou


def plain_iou(a: tuple[float, float], b: tuple[float, float]) -> float:
    shared = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    union = (a[1] - a[0]) + (b[1] - b[0]) - shared
    return shared / union if union else float(a == b)


def test_moments_by_hand():
    truth = {
        "right": [("v1", 10, 20)],
        "half": [("v1", 10, 20)],
        "second": [("v2", 0, 10)],
        "wrong video": [("v1", 10, 20)],
        "nothing found": [("v1", 0, 5)],
        "two answers": [("v1", 0, 4), ("v3", 50, 60)],
        "no answer": [],
    }
    found = {
        "right": [("v1", 10.0, 20.0)],
        "half": [("v1", 15, 25)],  # shares 5 of 15 seconds
        "second": [("v2", 20, 30), ("v2", 2, 10)],  # 8 of 10
        "wrong video": [("v2", 10, 20)],
        "two answers": [("v3", 50, 58)],
        "not asked": [("v1", 0, 1)],
    }
    scores = moment_scores(found, truth)
    assert scores.left_out == ("no answer",)
    assert dict(zip(scores.queries, scores.iou, strict=True)) == pytest.approx(
        {"right": 1, "half": 1 / 3, "second": 0, "wrong video": 0, "nothing found": 0, "two answers": 0.8}
    )
    assert scores.metrics() == pytest.approx(
        {
            "recall@1,iou=0.3": 3 / 6,
            "recall@1,iou=0.5": 2 / 6,
            "recall@1,iou=0.7": 2 / 6,
            "recall@5,iou=0.3": 4 / 6,
            "recall@5,iou=0.5": 3 / 6,
            "recall@5,iou=0.7": 3 / 6,
            "mean_iou": (1 + 1 / 3 + 0.8) / 6,
        }
    )
    assert {name: values.mean() for name, values in scores.per_query().items()} == pytest.approx(scores.metrics())


def test_thresholds_are_met_exactly():
    scores = moment_scores({"q": [("v", 0, 3)]}, {"q": [("v", 0, 10)]})
    assert scores.recall(1, 0.3) == 1
    tenths = moment_scores({"q": [("v", 0.1, 0.4)]}, {"q": [("v", 0.1, 1.1)]})  # 0.30000000000000004 / 1.0
    assert tenths.recall(1, 0.3) == 1


def test_four_annotators_as_didemo_counts_them():
    """The mean of the best three of four."""
    truth = {"q": [("v", 0, 5), ("v", 0, 10), ("v", 5, 10), ("v", 20, 25)]}
    scores = moment_scores({"q": [("v", 0, 5)]}, truth, annotators=3)
    assert scores.mean_iou == pytest.approx((1 + 0.5 + 0) / 3)
    assert moment_scores({"q": [("v", 0, 5)]}, {"q": [("v", 0, 5)]}, annotators=3).mean_iou == 1


spans = st.tuples(st.sampled_from("vw"), st.integers(0, 6), st.integers(0, 6)).map(
    lambda s: (s[0], min(s[1:]), max(s[1:]))
)


@given(
    st.dictionaries(st.integers(0, 5), st.lists(spans, max_size=6), max_size=5),
    st.dictionaries(st.integers(0, 5), st.lists(spans, max_size=4), max_size=5),
)
@settings(max_examples=150, deadline=None)
def test_moments_equal_plain_loops(found, truth):
    scores = moment_scores(found, truth, depths=(1, 3))
    for row, query in enumerate(scores.queries):
        fits = [
            max(plain_iou(guess[1:], true[1:]) if guess[0] == true[0] else 0.0 for true in truth[int(query)])
            for guess in found.get(int(query), [])
        ]
        assert scores.iou[row] == pytest.approx(fits[0] if fits else 0)
        assert scores.best_iou[3][row] == pytest.approx(max(fits[:3], default=0))
    assert len(scores.queries) == sum(bool(spans) for spans in truth.values())


def test_spans_that_are_none():
    with pytest.raises(UsageError, match="the moment 5 to 4 s of 'v' is no span"):
        moment_scores({"q": [("v", 5, 4)]}, {"q": [("v", 0, 1)]})
    with pytest.raises(UsageError, match="is no span"):
        moment_scores({}, {"q": [("v", 0, float("nan"))]})
    with pytest.raises(UsageError, match="thresholds"):
        moment_scores({}, {}, thresholds=(0,))
    assert np.isnan(moment_scores({}, {}).mean_iou)
    assert temporal_iou(np.array([[2.0, 2.0]]), np.array([[2.0, 2.0]])).tolist() == [1]


def test_recall_of_an_index_by_hand():
    exact = [[1, 2, 3, 4], [5, 6, -1, -1], [-1, -1, -1, -1]]
    approximate = [[2, 1, 9, 3], [6, -1, -1, -1], [7, -1, -1, -1]]
    recall = ann_recall(exact, approximate, ks=(1, 2, 4, 99))
    assert list(recall.mean) == [1, 2, 4]
    np.testing.assert_array_equal(recall.per_query[1], [0, 0, np.nan])
    np.testing.assert_array_equal(recall.per_query[2], [1, 1 / 2, np.nan])
    np.testing.assert_array_equal(recall.per_query[4], [3 / 4, 1 / 2, np.nan])
    assert recall.mean[4] == pytest.approx((3 / 4 + 1 / 2) / 2)


def test_recall_of_an_index_equals_sets_on_random_lists():
    rng = np.random.default_rng(0)
    exact = np.array([rng.permutation(50)[:20] for _ in range(40)])
    approximate = np.array([rng.permutation(50)[:20] for _ in range(40)])
    recall = ann_recall(exact, approximate, ks=(1, 5, 20))
    for k, values in recall.per_query.items():
        assert values.tolist() == [
            len({*a[:k]} & {*b[:k]}) / k for a, b in zip(exact.tolist(), approximate.tolist(), strict=True)
        ]


def test_recall_against_faiss():
    """An index with few probes finds less than one with all of them, which finds everything."""
    faiss = pytest.importorskip("faiss")
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(2000, 16)).astype(np.float32)
    queries = rng.normal(size=(50, 16)).astype(np.float32)
    flat = faiss.IndexFlatIP(16)
    flat.add(vectors)
    inverted = faiss.index_factory(16, "IVF20,Flat", faiss.METRIC_INNER_PRODUCT)
    inverted.train(vectors)
    inverted.add(vectors)
    exact_scores, exact = flat.search(queries, 10)
    means = []
    for probes in (1, 5, 20):
        inverted.nprobe = probes
        scores, found = inverted.search(queries, 10)
        by_id = ann_recall(exact, found, (1, 10))
        by_score = ann_recall(exact, found, (1, 10), exact_scores=exact_scores, approximate_scores=scores)
        assert by_id.mean == pytest.approx(by_score.mean)  # no ties here
        means.append(by_id.mean[10])
    assert means[0] < means[1] < means[2] == 1


def test_equal_scores_are_equally_good():
    exact, scores = [[1, 2]], [[0.9, 0.5]]
    assert ann_recall(exact, [[1, 3]], (2,)).mean[2] == 0.5
    tied = ann_recall(exact, [[1, 3]], (2,), exact_scores=scores, approximate_scores=[[0.9, 0.5]])
    assert tied.mean[2] == 1
    below = ann_recall(exact, [[1, 3]], (2,), exact_scores=scores, approximate_scores=[[0.9, 0.4]])
    assert below.mean[2] == 0.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ann_recall([[1]], [[1], [2]]), "a row for each query"),
        (lambda: ann_recall([[1, 1]], [[1, 2]], (2,)), "the exact result has the id 1 twice"),
        (lambda: ann_recall([[1, 2]], [[3, 3]], (2,)), "the approximate result has the id 3 twice"),
        (lambda: ann_recall([[1, 2]], [[3, 4]], (10,)), "no recall to report"),
        (lambda: ann_recall([[1, 2]], [[3, 4]], (0, 1)), "no recall to report"),
        (lambda: ann_recall([[1]], [[1]], (1,), exact_scores=[[1.0]]), "of neither"),
        (lambda: ann_recall([[1]], [[1]], (1,), exact_scores=[[1.0]], approximate_scores=[1.0]), "shapes of their ids"),
    ],
)
def test_lists_that_do_not_fit(call, message: str):
    with pytest.raises(UsageError, match=message):
        call()
