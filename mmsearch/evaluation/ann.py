"""How much of the exact result an approximate index finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from indexer.errors import UsageError


@dataclass(frozen=True, slots=True, eq=False)
class AnnRecall:
    """Recall of an approximate index, k by k.

    Attributes:
        mean: k to the mean over queries, in [0, 1].
        per_query: k to (Q,) float64.
    """

    mean: dict[int, float]
    per_query: dict[int, NDArray[np.float64]]


def ann_recall(
    exact: ArrayLike,
    approximate: ArrayLike,
    ks: Sequence[int] = (1, 10, 100),
    *,
    exact_scores: ArrayLike | None = None,
    approximate_scores: ArrayLike | None = None,
    slack: float = 1e-6,
) -> AnnRecall:
    """Recall of an approximate index against exact search: k-recall@k of ann-benchmarks.

    For each query, the share of the exact first k that are among the approximate first k. Scores, if both are
    given, settle ties as ann-benchmarks does (Aumüller, Bernhardsson and Faithfull, ANN-Benchmarks, 2018): an
    approximate result counts when its score is at least that of the exact kth, less `slack`. So another item
    with the same score is as good.

    Args:
        exact: (Q, K) whole numbers, ids of the exact result, best first; less than 0 for none.
        approximate: (Q, L) the same of the index. No id twice in a row.
        ks: At which k; those above K are left out.
        exact_scores: (Q, K) higher is better; not read where the id is less than 0.
        approximate_scores: (Q, L) exact scores of the approximate results.
        slack: Rounding that is forgiven.

    Raises:
        UsageError: Shapes do not fit, k is less than 1, an id comes twice, or there is nothing to compare.
    """
    truth, found = np.asarray(exact), np.asarray(approximate)
    if truth.ndim != 2 or found.ndim != 2 or len(truth) != len(found):
        raise UsageError(f"exact {truth.shape} and approximate {found.shape} must have a row for each query")
    if (exact_scores is None) != (approximate_scores is None):
        raise UsageError("scores of both the exact and the approximate result are needed, or of neither")
    _refuse_doubles(truth, "exact")
    _refuse_doubles(found, "approximate")
    reach = sorted({k for k in ks if k <= truth.shape[1]})
    if not reach or reach[0] < 1 or not len(truth):
        raise UsageError(f"no recall to report at k = {', '.join(map(str, ks))} for exact results {truth.shape}")
    if exact_scores is None:
        per_query = {k: _by_id(truth[:, :k], found[:, :k]) for k in reach}
    else:
        best, own = np.asarray(exact_scores, np.float64), np.asarray(approximate_scores, np.float64)
        if best.shape != truth.shape or own.shape != found.shape:
            raise UsageError(f"scores {best.shape} and {own.shape} must have the shapes of their ids")
        per_query = {k: _by_score(truth[:, :k], found[:, :k], best, own, slack) for k in reach}
    mean = {k: float(np.nanmean(v)) if not np.isnan(v).all() else float("nan") for k, v in per_query.items()}
    return AnnRecall(mean, per_query)


def _by_id(truth: NDArray[np.int64], found: NDArray[np.int64]) -> NDArray[np.float64]:
    _, codes = np.unique(np.concatenate([truth.ravel(), found.ravel()]), return_inverse=True)
    rows = np.arange(len(truth))[:, None] * (int(codes.max(initial=0)) + 1)
    left = codes.ravel()[: truth.size].reshape(truth.shape) + rows
    right = codes.ravel()[truth.size :].reshape(found.shape) + rows
    return _share((np.isin(left, right) & (truth >= 0)).sum(axis=1), truth)


def _by_score(
    truth: NDArray[np.int64],
    found: NDArray[np.int64],
    best: NDArray[np.float64],
    own: NDArray[np.float64],
    slack: float,
) -> NDArray[np.float64]:
    k = truth.shape[1]
    there = truth >= 0
    worst = np.where(there, best[:, :k], np.inf).min(axis=1)
    good = (found >= 0) & (own[:, : found.shape[1]] >= worst[:, None] - slack)
    return _share(np.minimum(good.sum(axis=1), there.sum(axis=1)), truth)


def _share(hits: NDArray[np.int64], truth: NDArray[np.int64]) -> NDArray[np.float64]:
    """Hits over what there was to find: NaN for a query whose exact result is empty."""
    wanted = (truth >= 0).sum(axis=1)
    return np.where(wanted > 0, hits / np.maximum(wanted, 1), np.nan)


def _refuse_doubles(ids: NDArray[np.int64], which: str) -> None:
    ordered = np.sort(ids, axis=1)
    twice = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
    if twice.any():
        row, column = np.argwhere(twice)[0]
        raise UsageError(f"row {row} of the {which} result has the id {ordered[row, column + 1]} twice")
