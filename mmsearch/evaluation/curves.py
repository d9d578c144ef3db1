"""Curves: precision over recall, confidence against truth, and what is let through when nothing matches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from indexer.errors import UsageError
from mmsearch.evaluation.metrics.ranking import interpolated_precisions
from mmsearch.evaluation.placements import Placements

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class PrecisionRecall:
    """Points of a precision-recall curve, both (n,) float64 in [0, 1]; `thresholds` where points belong to scores."""

    recall: Values
    precision: Values
    thresholds: Values | None = None


def mean_precision_recall(placements: Placements, points: int = 101) -> PrecisionRecall:
    """The mean over queries of interpolated precision, at evenly spaced levels of recall.

    With 11 points it is TREC's curve (Manning, Raghavan and Schütze, Introduction to Information Retrieval, 2008,
    ch. 8.4). Without queries the precision is NaN.
    """
    levels = np.linspace(0, 1, points)
    if not len(placements.queries):
        return PrecisionRecall(levels, np.full(points, np.nan))
    return PrecisionRecall(levels, interpolated_precisions(placements, levels).mean(axis=0))


def pooled_precision_recall(scores: ArrayLike, relevant: ArrayLike, total: int | None = None) -> PrecisionRecall:
    """Precision and recall of "everything that scores at least t", over the results of all queries together.

    It says how well one threshold would do for every query. A point for each distinct score, highest first.

    Args:
        scores: (n,) floats.
        relevant: (n,) bool.
        total: How many relevant pairs there are, found or not; without it, those among the results.

    Raises:
        UsageError: The lengths differ, or nothing is relevant.
    """
    values, truth = _pair(scores, relevant)
    all_relevant = int(truth.sum()) if total is None else total
    if all_relevant < max(1, int(truth.sum())):
        raise UsageError(f"{all_relevant} relevant results in all, and {int(truth.sum())} among those found")
    thresholds, hits, count = _cumulated(values, truth)
    return PrecisionRecall(hits / all_relevant, hits / count, thresholds)


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """Confidence against truth, in bins. Arrays are (bins that have results,).

    Attributes:
        confidence: Mean confidence of the results of a bin.
        accuracy: Share of them that is right.
        counts: How many they are.
        low: Lower end of a 95 % interval of the accuracy (Wilson 1927).
        high: Its upper end.
        expected_error: Expected calibration error, Σ (count / n) |accuracy - confidence| (Naeini, Cooper and
            Hauskrecht, AAAI 2015; Guo et al., On Calibration of Modern Neural Networks, ICML 2017).
        largest_error: Maximum calibration error, the largest |accuracy - confidence| of a bin (the same papers).
        brier: Mean squared difference of confidence and truth (Brier 1950); needs no bins.
        edges: (bins + 1,) the bins' ends, all of them.
    """

    confidence: Values
    accuracy: Values
    counts: NDArray[np.int64]
    low: Values
    high: Values
    expected_error: float
    largest_error: float
    brier: float
    edges: Values


def reliability(
    confidence: ArrayLike, correct: ArrayLike, bins: int = 10, strategy: Literal["uniform", "quantile"] = "uniform"
) -> Reliability:
    """How far a confidence of p means "right with probability p".

    Args:
        confidence: (n,) floats in [0, 1].
        correct: (n,) bool.
        bins: How many. Bin i holds edges[i] <= confidence < edges[i + 1]; the last one holds 1 as well.
        strategy: "uniform" makes bins of one width, "quantile" bins of about as many results each.

    Raises:
        UsageError: There are no results, lengths differ, or a confidence is outside [0, 1].
    """
    values, truth = _pair(confidence, correct)
    if values.min() < 0 or values.max() > 1:
        raise UsageError(f"a confidence is {values[(values < 0) | (values > 1)][0]:g}, and must be from 0 to 1")
    if bins < 1:
        raise UsageError(f"{bins} bins: one or more are needed")
    levels = np.linspace(0, 1, bins + 1)
    edges = levels if strategy == "uniform" else np.unique(np.quantile(values, levels))
    place = np.searchsorted(edges[1:-1], values, side="right")
    width = max(1, len(edges) - 1)
    counts = np.bincount(place, minlength=width)
    kept = counts > 0
    count = counts[kept]
    mean = np.bincount(place, weights=values, minlength=width)[kept] / count
    right = np.bincount(place, weights=truth, minlength=width)[kept] / count
    gaps = np.abs(right - mean)
    low, high = wilson(right, count)
    error = float((count * gaps).sum() / len(values))
    brier = float(((values - truth) ** 2).mean())
    return Reliability(mean, right, count, low, high, error, float(gaps.max()), brier, edges)


def wilson(share: Values, count: NDArray[np.int64], z: float = 1.959963984540054) -> tuple[Values, Values]:
    """The interval of a share of `count` trials (Wilson, Probable Inference, JASA 1927); z = 1.96 for 95 %."""
    spread = z * np.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    centre, scale = share + z * z / (2 * count), 1 + z * z / count
    return np.clip((centre - spread) / scale, 0, share), np.clip((centre + spread) / scale, share, 1)


@dataclass(frozen=True, slots=True, eq=False)
class NoMatch:
    """What happens to queries with and without a match when answers below a threshold are withheld.

    A point for each distinct score, highest first, after a first point at infinity where everything is withheld.

    Attributes:
        thresholds: (n,) A query is answered when its score is at least this.
        false_accepts: (n,) Share of the queries without a match that are answered all the same (false-accept rate).
        true_accepts: (n,) Share of the queries with a match that are answered.
        area: Area under true over false accepts (ROC AUC): how often a query with a match outscores one without.
        equal_error: The rate at which as many are let through wrongly as are withheld wrongly.
        with_match: How many queries have a match.
        without_match: How many have none.
    """

    thresholds: Values
    false_accepts: Values
    true_accepts: Values
    area: float
    equal_error: float
    with_match: int
    without_match: int

    def at(self, threshold: float) -> tuple[float, float]:
        """False-accept rate and true-accept rate when scores from `threshold` on are answered."""
        place = int(np.searchsorted(-self.thresholds, -threshold, side="right")) - 1
        return float(self.false_accepts[place]), float(self.true_accepts[place])

    def threshold_for(self, false_accepts: float) -> float:
        """The lowest threshold at which at most that share of the queries without a match is answered."""
        return float(self.thresholds[np.flatnonzero(self.false_accepts <= false_accepts)[-1]])


def no_match(scores: ArrayLike, has_match: ArrayLike) -> NoMatch:
    """The trade between answering what has no answer, and withholding what has one.

    Args:
        scores: (n,) floats, one for each query: its best hit's confidence or score; higher is surer.
            Minus infinity for a query without results.
        has_match: (n,) bool, whether the library holds something that answers the query.

    Raises:
        UsageError: There are not both kinds of query, or lengths differ.
    """
    values, truth = _pair(scores, has_match, infinite=True)
    positives, negatives = int(truth.sum()), int((1 - truth).sum())
    if not positives or not negatives:
        raise UsageError(f"{positives} queries with a match and {negatives} without; both kinds are needed")
    thresholds, hits, count = _cumulated(values, truth)
    found = np.concatenate([[0.0], hits / positives])
    wrong = np.concatenate([[0.0], (count - hits) / negatives])
    area = float((np.diff(wrong) * (found[1:] + found[:-1]) / 2).sum())
    return NoMatch(
        *(np.concatenate([[np.inf], thresholds]), wrong, found, area, _equal_error(wrong, 1 - found)),
        with_match=positives,
        without_match=negatives,
    )


def _equal_error(rising: Values, falling: Values) -> float:
    """Where two curves over the same points meet, on the straight line between the points beside the crossing."""
    gap = falling - rising
    after = int(np.argmax(gap <= 0))
    if after == 0:
        return float(rising[0])
    share = gap[after - 1] / (gap[after - 1] - gap[after])
    return float(rising[after - 1] + share * (rising[after] - rising[after - 1]))


def _cumulated(values: Values, truth: Values) -> tuple[Values, Values, Values]:
    """Distinct scores, highest first, and how many right ones and how many in all score at least that."""
    order = np.argsort(-values, kind="stable")
    ordered = values[order]
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    return ordered[last], np.cumsum(truth[order])[last], (last + 1).astype(np.float64)


def _pair(scores: ArrayLike, truth: ArrayLike, *, infinite: bool = False) -> tuple[Values, Values]:
    values, flags = np.asarray(scores, np.float64), np.asarray(truth)
    if values.ndim != 1 or values.shape != flags.shape or not len(values):
        raise UsageError(f"scores {values.shape} and truth {flags.shape} must be columns of one length, not empty")
    if flags.dtype != bool and not np.isin(flags, (0, 1)).all():
        raise UsageError("what is right must be told by True and False, or 1 and 0")
    if np.isnan(values).any() or (not infinite and np.isinf(values).any()) or (values == np.inf).any():
        raise UsageError("a score is not a finite number")
    return values, flags.astype(np.float64)
