"""Moments: how well the spans of time that were found fit those that should be.

A moment is a span [start, end] in seconds in an item. The intersection over union of two spans of one item is
the length of what they share over the length of what they cover together; of two items it is 0, so
that a right time in a wrong video is worth nothing.

R@n,IoU=m is the share of queries with a moment of IoU m or more among the first n (Gao et al., TALL: Temporal Activity
Localization via Language Query, ICCV 2017); mIoU is the mean over queries of the first moment's IoU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.errors import UsageError
from mmsearch.evaluation.ids import Id, normalise

THRESHOLDS = (0.3, 0.5, 0.7)
_SLACK = 1e-9  # an IoU of 0.3 by hand may be 0.29999999999999998 in floats

Span = tuple[Id, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class MomentScores:
    """Temporal IoU of many queries.

    Attributes:
        queries: The queries that have a true moment, in the order of the truth.
        iou: (Q,) float64 in [0, 1], of the first moment found for each; 0 for a query without results.
        best_iou: n to (Q,), the highest IoU among the first n moments.
        thresholds: The IoUs at which recall is reported.
        left_out: Queries that came without a true moment.
    """

    queries: tuple[str, ...]
    iou: NDArray[np.float64]
    best_iou: Mapping[int, NDArray[np.float64]]
    thresholds: tuple[float, ...]
    left_out: tuple[str, ...]

    def recall(self, n: int, threshold: float) -> float:
        """R@n,IoU=threshold: NaN without queries."""
        if not len(self.queries):
            return float("nan")
        return float((self.best_iou[n] >= threshold - _SLACK).mean())

    @property
    def mean_iou(self) -> float:
        """MIoU: the mean of `iou`; NaN without queries."""
        return float(self.iou.mean()) if len(self.iou) else float("nan")

    def metrics(self) -> dict[str, float]:
        """All of it by name: "recall@1,iou=0.5", ..., "mean_iou"."""
        named = {f"recall@{n},iou={m:g}": self.recall(n, m) for n in self.best_iou for m in self.thresholds}
        return named | {"mean_iou": self.mean_iou}

    def per_query(self) -> dict[str, NDArray[np.float64]]:
        """The values behind `metrics`, for intervals and tests: name to (Q,)."""
        named = {
            f"recall@{n},iou={m:g}": (best >= m - _SLACK).astype(np.float64)
            for n, best in self.best_iou.items()
            for m in self.thresholds
        }
        return named | {"mean_iou": self.iou}


def moment_scores(
    found: Mapping[Id, Sequence[Span]],
    truth: Mapping[Id, Sequence[Span]],
    *,
    depths: Sequence[int] = (1, 5),
    thresholds: Sequence[float] = THRESHOLDS,
    annotators: int = 1,
) -> MomentScores:
    """Compare found moments with true ones.

    Args:
        found: Query to (item, start, end) in seconds, best first.
        truth: Query to (item, start, end). Several for a query are several right answers, and the best fitting counts.
        depths: For which n recall among the first n is wanted; 1 is always there.
        thresholds: IoUs in (0, 1].
        annotators: 1 takes the best IoU over a query's true moments. DiDeMo, where each of four people marked a
            moment, takes the mean of the best three, 3 (Hendricks et al., Localizing Moments in Video with
            Natural Language, ICCV 2017); with fewer true moments than that, the mean of all of them.

    Raises:
        UsageError: A span ends before it starts or is not finite, or a depth or threshold is out of range.
    """
    if min(depths, default=1) < 1 or annotators < 1 or not all(0 < m <= 1 for m in thresholds):
        raise UsageError("depths and annotators must be 1 or more, and thresholds in (0, 1]")
    wanted = {normalise(query): spans for query, spans in truth.items()}
    kept = tuple(query for query, spans in wanted.items() if len(spans))
    lists = {normalise(query): spans for query, spans in found.items()}
    reach = sorted({1, *depths})
    codes: dict[str, int] = {}
    truths = _columns([wanted[query] for query in kept], codes)
    guesses = _columns([lists.get(query, ())[: reach[-1]] for query in kept], codes)
    # Every guess beside every true moment of its query.
    truth_counts = np.bincount(truths.rows, minlength=len(kept))
    starts = np.concatenate([[0], np.cumsum(truth_counts)])
    repeats = truth_counts[guesses.rows]
    guess = np.repeat(np.arange(len(guesses.rows)), repeats)
    within = np.arange(len(guess)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    true = starts[guesses.rows[guess]] + within
    iou = temporal_iou(guesses.spans[guess], truths.spans[true])
    iou[guesses.items[guess] != truths.items[true]] = 0
    fit = _mean_of_best(iou, repeats, annotators)
    depth_iou = {n: _best_within(fit, guesses.rows, guesses.nth, n, len(kept)) for n in reach}
    left_out = tuple(query for query, spans in wanted.items() if not len(spans))
    return MomentScores(kept, depth_iou[1], depth_iou, tuple(thresholds), left_out)


def temporal_iou(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of spans: (n, 2) and (n, 2) seconds to (n,) in [0, 1]. Two equal instants have 1."""
    shared = np.minimum(left[:, 1], right[:, 1]) - np.maximum(left[:, 0], right[:, 0])
    covered = (left[:, 1] - left[:, 0]) + (right[:, 1] - right[:, 0]) - np.maximum(shared, 0)
    same = (left == right).all(axis=1)
    iou: NDArray[np.float64] = np.maximum(shared, 0) / np.where(covered > 0, covered, 1)
    return np.where(covered > 0, iou, same)


@dataclass(frozen=True, slots=True)
class _Columns:
    rows: NDArray[np.int64]  # which query
    nth: NDArray[np.int64]  # from 0 within the query
    items: NDArray[np.int64]
    spans: NDArray[np.float64]  # (n, 2)


def _columns(lists: Sequence[Sequence[Span]], codes: dict[str, int]) -> _Columns:
    lengths = np.array([len(spans) for spans in lists], np.int64)
    rows = np.repeat(np.arange(len(lists)), lengths)
    nth = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    flat = [span for spans in lists for span in spans]
    items = np.array([codes.setdefault(normalise(item), len(codes)) for item, _, _ in flat], np.int64)
    spans = np.array([(start, end) for _, start, end in flat], np.float64).reshape(-1, 2)
    wrong = ~np.isfinite(spans).all(axis=1) | (spans[:, 1] < spans[:, 0])
    if wrong.any():
        item, start, end = flat[int(np.flatnonzero(wrong)[0])]
        raise UsageError(
            f"the moment {start} to {end} s of {item!r} is no span: finite seconds, not ending before it starts"
        )
    return _Columns(rows, nth, items, spans)


def _mean_of_best(iou: NDArray[np.float64], lengths: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """The mean of the `count` highest of each group; groups follow one another and none is empty."""
    if not len(lengths):
        return np.zeros(0)
    starts = np.cumsum(lengths) - lengths
    group = np.repeat(np.arange(len(lengths)), lengths)
    ordered = iou[np.lexsort((-iou, group))]
    counted = np.arange(len(iou)) - starts[group] < count
    return np.add.reduceat(np.where(counted, ordered, 0.0), starts) / np.minimum(lengths, count)


def _best_within(
    fit: NDArray[np.float64], rows: NDArray[np.int64], nth: NDArray[np.int64], n: int, queries: int
) -> NDArray[np.float64]:
    best = np.zeros(queries)
    np.maximum.at(best, rows[nth < n], fit[nth < n])
    return best
