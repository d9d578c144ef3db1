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
_DRAWS = 50_000_000  # at most so many single draws; from 5,000 queries on there are fewer resamples
_BLOCK = 4_000_000  # draws in memory at a time
_EXACT = 14  # up to so many differing queries, all 2**n changes of sign are gone through


def resamples_for(queries: int, resamples: int = RESAMPLES) -> int:
    """How many resamples are drawn for so many queries: as asked, but fewer, down to 1,000, for very many queries."""
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
    tails = [50 * (1 - confidence), 50 * (1 + confidence)]
    count = resamples_for(queries, resamples)
    if means.any():
        drawn = []
        for counts in _draws(queries, count, seed):
            total = counts @ below
            drawn.append(np.where(total > 0, (counts @ above) / np.where(total > 0, total, 1), np.nan))
        interval[means] = np.nanpercentile(np.concatenate(drawn), tails, axis=0).T
    for measure in by_median:
        medians_drawn = np.sort(_drawn_medians(values[measure, valid[measure]], count, seed))
        # The nearest drawn value, without interpolation: a rank may be infinite, and infinity times 0 is no number.
        interval[measure] = medians_drawn[np.rint(np.array(tails) / 100 * (count - 1)).astype(np.int64)]
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


def _drawn_medians(values: Values, resamples: int, seed: int) -> Values:
    """Medians of resamples: (resamples,).

    The i-th smallest of n places that are drawn uniformly is a Beta(i, n + 1 - i) share of the way through the sorted
    values, so that only the middle ones need to be drawn.
    """
    rng = np.random.default_rng(seed)
    ordered, n = np.sort(values), len(values)
    lower, upper = (n + 1) // 2, n // 2 + 1
    share = rng.beta(lower, n + 1 - lower, resamples)
    low = high = ordered[np.minimum((share * n).astype(np.int64), n - 1)]
    if upper > lower:  # the next place of an even number: the smallest of the n - lower that lie above
        share = share + (1 - share) * rng.beta(1, n - lower, resamples)
        high = ordered[np.minimum((share * n).astype(np.int64), n - 1)]
    middle: Values = np.where(low == high, low, (low + high) / 2)
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
) -> list[Significance]:
    """Whether two systems differ by more than chance, on the same queries, in each of many measures.

    If they were the same, either could have had either value of a query: swapping the two changes the sign of
    that query's difference. p is the share of such changes that make a mean difference as large as the one
    observed (Fisher's randomisation test; Smucker, Allan and Carterette, A Comparison of Statistical Significance
    Tests for Information Retrieval Evaluation, CIKM 2007). With 14 differing queries or fewer all changes are gone
    through; else a sample is drawn, and p = (1 + as large) / (1 + drawn), which is never 0 (Davison and Hinkley,
    Bootstrap Methods and their Application, 1997, ch. 4). All measures see the same changes of sign.

    Args:
        a: (M, Q) values of one system. Queries with NaN in either are left out of that measure.
        b: (M, Q) values of the other, for the same queries.
        weights: (M, Q) of the queries, the same for both; 1 each if None.
        resamples: How many changes of sign are drawn, less for very many queries (`resamples_for`).
        seed: Of the random numbers.

    Raises:
        UsageError: Shapes do not fit, or a value is infinite.
    """
    if a.shape != b.shape or a.ndim != 2 or (weights is not None and weights.shape != a.shape):
        raise UsageError(f"the values must be (measures, queries) of the same queries: {a.shape} and {b.shape}")
    if np.isinf(a).any() or np.isinf(b).any():
        raise UsageError("a value is infinite; a randomisation test needs finite ones")
    kept = ~(np.isnan(a) | np.isnan(b))
    share = np.where(kept, 1.0 if weights is None else weights, 0.0)
    total = share.sum(axis=1, keepdims=True)
    differences = np.where(kept, b - a, 0.0) * share / np.where(total > 0, total, 1)
    differing = differences != 0
    exact = differing.sum(axis=1) <= _EXACT
    found: dict[int, Significance] = {
        int(row): _enumerated(differences[row, differing[row]]) for row in np.flatnonzero(exact)
    }
    rest = np.flatnonzero(~exact)
    if len(rest):
        columns = differing[rest].any(axis=0)  # where no measure differs, signs change nothing
        found |= zip(rest.tolist(), _sampled(differences[np.ix_(rest, columns)], resamples, seed), strict=True)
    return [found[row] for row in range(len(a))]


def _enumerated(differing: Values) -> Significance:
    if not len(differing):
        return Significance(0.0, 1.0, 1.0, 1.0, exact=True)
    observed, slack = float(differing.sum()), _slack(differing)
    means = _all_signs(len(differing)) @ differing
    p, p_fall = float((np.abs(means) >= abs(observed) - slack).mean()), float((means <= observed + slack).mean())
    return Significance(observed, p, p_fall, 0.5 ** len(differing), exact=True)


def _sampled(differences: Values, resamples: int, seed: int) -> list[Significance]:
    observed, slack = differences.sum(axis=1), np.array([_slack(row) for row in differences])
    large, fallen = np.zeros(len(differences)), np.zeros(len(differences))
    drawn = resamples_for(differences.shape[1], resamples)
    for signs in _some_signs(differences.shape[1], drawn, seed):
        means = signs @ differences.T
        large += (np.abs(means) >= np.abs(observed) - slack).sum(axis=0)
        fallen += (means <= observed + slack).sum(axis=0)
    return [
        Significance(float(o), float((1 + i) / (1 + drawn)), float((1 + f) / (1 + drawn)), 1 / (1 + drawn), exact=False)
        for o, i, f in zip(observed, large, fallen, strict=True)
    ]


def _slack(differences: Values) -> float:
    """Sums that are equal on paper differ in their last bits by less than this."""
    return 1e-12 * float(np.abs(differences).sum())


def _all_signs(count: int) -> Values:
    bits = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
    return (1 - 2 * bits).astype(np.float64)


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
