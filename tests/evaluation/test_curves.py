"""Curves against scikit-learn, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, precision_recall_curve, roc_auc_score, roc_curve

from indexer.errors import UsageError
from mmsearch.evaluation import Qrels, Run, no_match, place, reliability
from mmsearch.evaluation.curves import mean_precision_recall, pooled_precision_recall, wilson

from .cases import random_case
from .reference import ranked


def drawn(seed: int, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    confidence = rng.random(500)
    if ties:
        confidence = np.round(confidence, 1)
    return confidence, rng.random(500) < confidence**2


@pytest.mark.parametrize("ties", [True, False])
def test_pooled_curve_equals_scikit_learn(ties: bool):
    scores, truth = drawn(0, ties)
    ours = pooled_precision_recall(scores, truth)
    precision, recall, thresholds = precision_recall_curve(truth, scores)
    np.testing.assert_allclose(ours.precision[::-1], precision[:-1])
    np.testing.assert_allclose(ours.recall[::-1], recall[:-1])
    np.testing.assert_array_equal(ours.thresholds[::-1], thresholds)
    more = pooled_precision_recall(scores, truth, total=2 * int(truth.sum()))
    np.testing.assert_allclose(more.recall, ours.recall / 2)


def test_mean_curve_equals_its_definition():
    judged, found = random_case(4)
    placements = place(Run.from_mapping(found), Qrels.from_mapping(judged))
    ours = mean_precision_recall(placements)
    curves = []
    for query in placements.queries:
        good = {item for item, grade in judged[query].items() if grade >= 1}
        order, points = ranked(found.get(query, {})), [(0, 1, 0)]
        for rank, item in enumerate(order, 1):
            hits = points[-1][0] + (item in good)
            points.append((hits, rank, hits / rank))
        # recall >= level, in whole numbers: hits / R >= n / 100
        levels = range(101)
        curves.append([max((p for h, _, p in points if 100 * h >= n * len(good)), default=0.0) for n in levels])
    np.testing.assert_allclose(ours.precision, np.mean(curves, axis=0))
    assert (np.diff(ours.precision) <= 0).all()
    assert np.isnan(mean_precision_recall(place(Run.from_mapping({}), Qrels.from_mapping({}))).precision).all()


@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
@pytest.mark.parametrize("ties", [True, False])
def test_reliability_equals_scikit_learn(strategy, ties: bool):
    confidence, truth = drawn(1, ties)
    if ties:  # on an edge, scikit-learn counts a value to the bin below, we to the one above
        confidence = np.clip(confidence + 0.03, 0, 1)
    ours = reliability(confidence, truth, 10, strategy)
    if strategy == "quantile" and ties:
        assert ours.counts.sum() == len(confidence)
        return
    accuracy, mean = calibration_curve(truth, confidence, n_bins=10, strategy=strategy)
    np.testing.assert_allclose(ours.accuracy, accuracy)
    np.testing.assert_allclose(ours.confidence, mean)
    assert ours.brier == pytest.approx(brier_score_loss(truth, confidence))
    assert ((ours.low <= ours.accuracy) & (ours.accuracy <= ours.high)).all()


def test_calibration_error_by_hand():
    """Two bins: 0.2 and 0.4 (mean 0.3, one of two right), and 0.9 three times (two of three right)."""
    ours = reliability([0.2, 0.4, 0.9, 0.9, 0.9], [0, 1, 1, 1, 0], bins=2)
    assert ours.counts.tolist() == [2, 3]
    assert ours.confidence == pytest.approx([0.3, 0.9])
    assert ours.accuracy == pytest.approx([0.5, 2 / 3])
    assert ours.expected_error == pytest.approx(2 / 5 * 0.2 + 3 / 5 * (0.9 - 2 / 3))
    assert ours.largest_error == pytest.approx(0.9 - 2 / 3)
    assert ours.brier == pytest.approx((0.2**2 + 0.6**2 + 0.1**2 + 0.1**2 + 0.9**2) / 5)


def test_every_confidence_has_a_bin_and_edges_belong_above():
    ours = reliability([0.0, 0.1, 0.5, 1.0], [0, 0, 1, 1], bins=10)
    assert ours.counts.sum() == 4
    assert reliability([0.5], [1], bins=2).confidence.tolist() == [0.5]
    assert reliability([1.0, 1.0], [1, 1]).expected_error == 0
    same = reliability([0.7] * 9, [1] * 9, 5, "quantile")
    assert same.counts.tolist() == [9]


def test_wilson_interval_of_a_textbook_case():
    low, high = wilson(np.array([0.0, 0.5, 1.0]), np.array([10, 10, 10]))
    assert low == pytest.approx([0, 0.2366, 0.7225], abs=1e-4)
    assert high == pytest.approx([0.2775, 0.7634, 1], abs=1e-4)


@pytest.mark.parametrize("ties", [True, False])
def test_no_match_equals_the_roc_of_scikit_learn(ties: bool):
    scores, truth = drawn(2, ties)
    ours = no_match(scores, truth)
    wrong, found, thresholds = roc_curve(truth, scores, drop_intermediate=False)
    np.testing.assert_allclose(ours.false_accepts, wrong)
    np.testing.assert_allclose(ours.true_accepts, found)
    np.testing.assert_array_equal(ours.thresholds, thresholds)
    assert ours.area == pytest.approx(roc_auc_score(truth, scores))
    for threshold in (0.1, 0.25, 0.5, 0.95, 2.0, -1.0):
        expected = [float((scores[truth == side] >= threshold).mean()) for side in (0, 1)]
        assert ours.at(threshold) == pytest.approx(tuple(expected))
    limit = ours.threshold_for(0.05)
    assert (scores[~truth] >= limit).mean() <= 0.05
    assert (scores[~truth] >= scores[scores < limit].max()).mean() > 0.05


def test_equal_error_by_hand():
    assert no_match([0.9, 0.8, 0.2, 0.1], [1, 1, 0, 0]).equal_error == 0
    assert no_match([0.1, 0.2, 0.8, 0.9], [1, 1, 0, 0]).equal_error == 1
    assert no_match([0.5, 0.5], [1, 0]).equal_error == pytest.approx(0.5)
    assert no_match([0.9, 0.4, 0.6, 0.1], [1, 1, 0, 0]).equal_error == pytest.approx(0.5)
    assert no_match([-np.inf, 1.0], [0, 1]).area == 1  # no results is the surest way to say nothing matches


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: reliability([], []), "not empty"),
        (lambda: reliability([1.5], [1]), "1.5, and must be from 0 to 1"),
        (lambda: reliability([0.5], [2]), "True and False"),
        (lambda: reliability([0.5, 0.5], [1]), "columns of one length"),
        (lambda: reliability([0.5], [1], bins=0), "0 bins"),
        (lambda: reliability([np.nan], [1]), "not a finite number"),
        (lambda: no_match([0.5], [1]), "1 queries with a match and 0 without"),
        (lambda: no_match([np.inf, 0], [1, 0]), "not a finite number"),
        (lambda: pooled_precision_recall([0.5], [0]), "0 relevant results"),
        (lambda: pooled_precision_recall([0.5, 0.4], [1, 1], total=1), "1 relevant results in all, and 2"),
    ],
)
def test_what_makes_no_curve_is_refused(call, message: str):
    with pytest.raises(UsageError, match=message):
        call()
