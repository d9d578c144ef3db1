"""What chance explains: intervals over queries, and a test for two systems on the same queries.

Both take the queries for a sample of all that people may ask, and say nothing of other collections.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.errors import UsageError

Values = NDArray[np.float64]

RESAMPLES = 10_000
CONFIDENCE = 0.95
_DRAWS = 200_000_000  # at most so many single draws; from 20,000 queries on there are fewer resamples
_BLOCK = 4_000_000  # draws in memory at a time
_EXACT = 14  # up to so many differing queries, all 2**n changes of sign are gone through


def resamples_for(queries: int, resamples: int = RESAMPLES) -> int:
    """How many resamples are drawn for so many queries: as asked, at least 1,000, unless it would take minutes."""
    return max(min(resamples, 1000), min(resamples, _DRAWS // max(1, queries)))


def bootstrap(
    values: Values,
    weights: Values | None = None,
    *,
    median: NDArray[np.bool_] | None = None,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Values:
    """Intervals of means (or medians) over queries, for many measures at once.

    Percentile method: queries are drawn with replacement, as many as there are, and the middle `confidence` of the
    resampled means is the interval (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13). All
    measures see the same draws, and the same seed gives the same interval.

    Args:
        values: (M, Q) floats. NaN for a query that a measure leaves out.
        weights: (M, Q) floats from 0, for means under weights; 1 each if None.
        median: (M,) bool, for which measures the median is meant.
        resamples: How many, less for very many queries (`resamples_for`).
        confidence: In (0, 1).
        seed: Of the random numbers.

    Returns:
        (M, 2): low and high. NaN for a measure with less than two queries, or for a mean of infinite values. Ends of
            the interval of a median may be infinite.

    Raises:
        UsageError: Shapes do not fit.
    """
    _check(values, weights)
    if not 0 < confidence < 1 or resamples < 1:
        raise UsageError(f"confidence must be between 0 and 1, and resamples 1 or more: {confidence}, {resamples}")
    measures, queries = values.shape
    interval = np.full((measures, 2), np.nan)
    valid = ~np.isnan(values)
    usable = valid.sum(axis=1) >= 2
    medians = np.zeros(measures, bool) if median is None else median
    means = usable & ~medians & ~np.isinf(values).any(axis=1)
    by_median = np.flatnonzero(usable & medians)
    if not means.any() and not len(by_median):
        return interval
    share = np.where(valid, 1.0 if weights is None else weights, 0.0)[means]
    above, below = (np.where(valid, values, 0.0)[means] * share).T, share.T
    resampled_means, resampled_medians = [], []
    for counts in _draws(queries, resamples_for(queries, resamples), seed):
        total = counts @ below
        resampled_means.append(np.where(total > 0, (counts @ above) / np.where(total > 0, total, 1), np.nan))
        resampled_medians.append([_medians(values[m], counts) for m in by_median])
    tails = [50 * (1 - confidence), 50 * (1 + confidence)]
    if means.any():
        interval[means] = np.nanpercentile(np.concatenate(resampled_means), tails, axis=0).T
    for row, measure in enumerate(by_median):
        drawn = np.concatenate([block[row] for block in resampled_medians])
        # The nearest drawn value, without interpolation: a rank may be infinite, and infinity times 0 is no number.
        interval[measure] = np.sort(drawn)[np.rint(np.array(tails) / 100 * (len(drawn) - 1)).astype(np.int64)]
    return interval


def _draws(queries: int, resamples: int, seed: int) -> Iterator[Values]:
    """How often each query is drawn, in blocks: (block, Q) floats, each row adding up to Q."""
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK // max(1, queries))
    for begin in range(0, resamples, block):
        rows = min(block, resamples - begin)
        drawn = rng.integers(0, queries, (rows, queries), dtype=np.int64)
        drawn += np.arange(rows)[:, None] * queries
        yield np.bincount(drawn.ravel(), minlength=rows * queries).reshape(rows, queries).astype(np.float64)


def _medians(values: Values, counts: Values) -> Values:
    """The median of each resample; queries with NaN left out."""
    kept = np.flatnonzero(~np.isnan(values))
    order = kept[np.argsort(values[kept])]
    cumulated = np.cumsum(counts[:, order], axis=1)
    total = cumulated[:, -1]
    ordered = values[order]
    lower = ordered[(cumulated > ((total - 1) // 2)[:, None]).argmax(axis=1)]
    upper = ordered[(cumulated > (total // 2)[:, None]).argmax(axis=1)]
    middle: Values = np.where(lower == upper, lower, (lower + upper) / 2)
    return middle


@dataclass(frozen=True, slots=True)
class Significance:
    """A paired randomisation test.

    Attributes:
        difference: Mean of b minus a.
        p: Two-sided: how often chance alone makes a difference as large, either way.
        p_fall: One-sided: how often chance alone makes b fall as far below a.
        p_smallest: The smallest one-sided p that this many differing queries could give, 2**-n. Above the level that is
            asked for, no fall could ever be told from chance: there are too few queries.
        exact: Whether all changes of sign were gone through, rather than a sample.
    """

    difference: float
    p: float
    p_fall: float
    p_smallest: float
    exact: bool


def randomisation_test(
    a: Values, b: Values, weights: Values | None = None, *, resamples: int = RESAMPLES, seed: int = 0
) -> Significance:
    """Whether two systems differ by more than chance, on the same queries.

    If they were the same, either could have had either value of a query: swapping the two changes the sign of
    that query's difference. p is the share of such changes that make a mean difference as large as the one
    observed (Fisher's randomisation test; Smucker, Allan and Carterette, A Comparison of Statistical Significance
    Tests for Information Retrieval Evaluation, CIKM 2007). With 14 differing queries or fewer all changes are gone
    through; else a sample of `resamples` is drawn, and p = (1 + as large) / (1 + drawn), which is never 0
    (Davison and Hinkley, Bootstrap Methods and their Application, 1997, ch. 4).

    Args:
        a: (Q,) values of one system. Queries with NaN in either are left out.
        b: (Q,) values of the other, for the same queries.
        weights: (Q,) of the queries, the same for both; 1 each if None.
        resamples: How many changes of sign are drawn.
        seed: Of the random numbers.

    Raises:
        UsageError: Shapes do not fit, or a value is infinite.
    """
    if a.shape != b.shape or a.ndim != 1:
        raise UsageError(f"the values must be of the same queries: {a.shape} and {b.shape}")
    kept = ~(np.isnan(a) | np.isnan(b))
    share = np.ones(int(kept.sum())) if weights is None else weights[kept]
    if np.isinf(a[kept]).any() or np.isinf(b[kept]).any():
        raise UsageError("a value is infinite; a randomisation test needs finite ones")
    total = share.sum()
    differences = share * (b[kept] - a[kept]) / (total if total > 0 else 1)
    observed = float(differences.sum())
    differing = differences[differences != 0]
    if not len(differing):
        return Significance(0.0, 1.0, 1.0, 1.0, exact=True)
    slack = 1e-12 * float(np.abs(differing).sum())  # sums that are equal on paper differ in their last bits
    exact = len(differing) <= _EXACT
    fallen = large = 0
    drawn = 2 ** len(differing) if exact else resamples
    for signs in _all_signs(len(differing)) if exact else _some_signs(len(differing), resamples, seed):
        means = signs @ differing
        large += int((np.abs(means) >= abs(observed) - slack).sum())
        fallen += int((means <= observed + slack).sum())
    more = 0 if exact else 1
    return Significance(
        difference=observed,
        p=(more + large) / (more + drawn),
        p_fall=(more + fallen) / (more + drawn),
        p_smallest=max(0.5 ** len(differing), 0.0 if exact else 1 / (1 + drawn)),
        exact=exact,
    )


def _all_signs(count: int) -> Iterator[Values]:
    bits = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
    yield (1 - 2 * bits).astype(np.float64)


def _some_signs(count: int, resamples: int, seed: int) -> Iterator[Values]:
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK // count)
    for begin in range(0, resamples, block):
        rows = min(block, resamples - begin)
        bits = np.unpackbits(rng.integers(0, 256, (rows, -(-count // 8)), dtype=np.uint8), axis=1, count=count)
        yield 1 - 2 * bits.astype(np.float64)


def holm(p: Values) -> Values:
    """p values of several tests, raised so that one false alarm among all of them is as rare as promised for one.

    Holm, A Simple Sequentially Rejective Multiple Test Procedure, 1979. NaN stays NaN and counts for nothing.
    """
    adjusted = np.full(len(p), np.nan)
    there = np.flatnonzero(~np.isnan(p))
    order = there[np.argsort(p[there], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * factors))
    return adjusted


def _check(values: Values, weights: Values | None) -> None:
    if values.ndim != 2 or (weights is not None and weights.shape != values.shape):
        raise UsageError(f"values must be (measures, queries), and weights alike, not {values.shape}")
