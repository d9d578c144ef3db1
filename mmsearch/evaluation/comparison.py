"""Two systems on the same queries: is the difference real, and which queries does it come from?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from indexer.errors import UsageError
from mmsearch.evaluation.metrics import Measure, parse_measure
from mmsearch.evaluation.results import Evaluation, Resampling, summarise
from mmsearch.evaluation.statistics import RESAMPLES, bootstrap, holm, randomisation_test

Values = NDArray[np.float64]
LEVEL = 0.05  # differences with a p below it are called real


@dataclass(frozen=True, slots=True, eq=False)
class Difference:
    """One measure of two systems.

    Attributes:
        measure: Which.
        before: Of the first system, over the shared queries.
        after: Of the second.
        difference: after - before.
        low: Lower end of the interval of the difference (paired bootstrap); NaN where there is none.
        high: Its upper end.
        p: Two-sided p of the randomisation test; NaN for medians and for infinite ranks.
        p_adjusted: p raised for the number of tests made together (Holm).
        p_fall: One-sided p of having become worse.
        p_smallest: The smallest `p_fall` that so many differing queries could give.
        per_query: (Q,) after - before for each shared query; NaN where a measure leaves the query out.
        improved: How many queries are better after.
        worsened: How many are worse.
    """

    measure: Measure
    before: float
    after: float
    difference: float
    low: float
    high: float
    p: float
    p_adjusted: float
    p_fall: float
    p_smallest: float
    per_query: Values
    improved: int
    worsened: int

    @property
    def real(self) -> bool:
        """Whether the difference is more than chance explains, at the level of 0.05."""
        return self.p_adjusted < LEVEL


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Two systems compared.

    Attributes:
        before: Name of the first.
        after: Name of the second.
        queries: The Q queries that both have.
        differences: One for each measure that both have.
        only_before: How many queries only the first has; they are not compared.
        only_after: How many only the second has.
    """

    before: str
    after: str
    queries: tuple[str, ...]
    differences: tuple[Difference, ...]
    only_before: int
    only_after: int

    def of(self, measure: str | Measure) -> Difference:
        """The difference in one measure, by any of its names.

        Raises:
            UsageError: It was not compared.
        """
        wanted = measure if isinstance(measure, Measure) else parse_measure(measure)
        for difference in self.differences:
            if difference.measure == wanted:
                return difference
        raise UsageError(f"{wanted.label} was not compared")

    def most_improved(self, measure: str | Measure, count: int = 10) -> list[tuple[str, float]]:
        """Queries that became better, the most first, with after - before; equal ones in the order of the queries."""
        return self._most(self.of(measure), 1, count)

    def most_worsened(self, measure: str | Measure, count: int = 10) -> list[tuple[str, float]]:
        """Queries that became worse, the most first, with after - before."""
        return self._most(self.of(measure), -1, count)

    def _most(self, difference: Difference, sign: int, count: int) -> list[tuple[str, float]]:
        gain = np.nan_to_num(sign * _towards_better(difference.measure, difference.per_query), nan=0.0)
        order = np.argsort(-gain, kind="stable")[:count]
        return [(self.queries[place], float(difference.per_query[place])) for place in order if gain[place] > 0]


def compare(before: Evaluation, after: Evaluation, *, resampling: Resampling | None = None) -> Comparison:
    """Compare two systems on the queries and measures that both have.

    Args:
        before: The first, or the baseline.
        after: The second.
        resampling: How intervals and p values are made; without it, as for `after`.

    Raises:
        UsageError: They share no query or no measure.
    """
    both = set(before.queries).intersection(after.queries)
    shared = tuple(query for query in before.queries if query in both)
    measures = [measure for measure in before.measures if measure in after.measures]
    if not shared or not measures:
        what = "query" if measures else "measure"
        raise UsageError(f"{before.name!r} and {after.name!r} share no {what}, so they cannot be compared")
    how = resampling or after.resampling
    place_a, place_b = _columns(before.queries, shared), _columns(after.queries, shared)
    rows = [(before.row(measure), after.row(measure)) for measure in measures]
    a = np.stack([before.values[row, place_a] for row, _ in rows])
    b = np.stack([after.values[row, place_b] for _, row in rows])
    weights = np.stack([before.weights[row, place_a] for row, _ in rows])
    found = _differences(measures, a, b, weights, how)
    adjusted = holm(np.array([difference.p for difference in found]))
    return Comparison(
        before=before.name,
        after=after.name,
        queries=shared,
        differences=tuple(_adjusted(d, p) for d, p in zip(found, adjusted, strict=True)),
        only_before=len(before.queries) - len(shared),
        only_after=len(after.queries) - len(shared),
    )


def compare_all(evaluations: Sequence[Evaluation], *, resampling: Resampling | None = None) -> list[Comparison]:
    """Compare every two systems, in the order given; p values are adjusted for all tests of a measure together.

    `compare` adjusts for the measures of its pair; here a measure is one question, asked of many pairs.
    """
    found = [compare(a, b, resampling=resampling) for a, b in combinations(evaluations, 2)]
    if len(found) < 2:
        return found
    measures = {difference.measure for comparison in found for difference in comparison.differences}
    fresh: dict[tuple[int, Measure], float] = {}
    for measure in measures:
        places = [i for i, c in enumerate(found) if any(d.measure == measure for d in c.differences)]
        adjusted = holm(np.array([found[i].of(measure).p for i in places]))
        fresh |= {(i, measure): float(p) for i, p in zip(places, adjusted, strict=True)}
    return [
        Comparison(
            *(c.before, c.after, c.queries),
            differences=tuple(_adjusted(d, fresh[i, d.measure]) for d in c.differences),
            only_before=c.only_before,
            only_after=c.only_after,
        )
        for i, c in enumerate(found)
    ]


def _differences(
    measures: Sequence[Measure], a: Values, b: Values, weights: Values, how: Resampling
) -> list[Difference]:
    both = ~(np.isnan(a) | np.isnan(b))
    a, b = np.where(both, a, np.nan), np.where(both, b, np.nan)
    median = np.array([measure.family.median for measure in measures])
    before, after = summarise(a, weights, median), summarise(b, weights, median)
    with np.errstate(invalid="ignore"):
        per_query = np.where(a == b, 0.0, b - a)  # two infinite ranks are equal; their difference is no number
        change = np.where(before == after, 0.0, after - before)
    turned = np.array([-1.0 if measure.lower_is_better else 1.0 for measure in measures])[:, None]
    gain = per_query * turned
    testable = ~median & ~np.isinf(per_query).any(axis=1) & both.any(axis=1)
    numbers = np.full((len(measures), 5), np.nan)  # low, high, p, p of a fall, smallest such p
    if testable.any():
        if how.resamples:
            numbers[testable, :2] = bootstrap(
                *(per_query[testable], weights[testable]),
                resamples=how.resamples,
                confidence=how.confidence,
                seed=how.seed,
            )
        zero = np.where(both, 0.0, np.nan)[testable]
        tests = randomisation_test(
            zero, gain[testable], weights[testable], resamples=how.resamples or RESAMPLES, seed=how.seed
        )
        numbers[testable, 2:] = [(test.p, test.p_fall, test.p_smallest) for test in tests]
    return [
        Difference(
            measure=measure,
            before=float(before[row]),
            after=float(after[row]),
            difference=float(change[row]),
            low=float(numbers[row, 0]),
            high=float(numbers[row, 1]),
            p=float(numbers[row, 2]),
            p_adjusted=float(numbers[row, 2]),
            p_fall=float(numbers[row, 3]),
            p_smallest=float(numbers[row, 4]),
            per_query=per_query[row],
            improved=int((gain[row] > 0).sum()),
            worsened=int((gain[row] < 0).sum()),
        )
        for row, measure in enumerate(measures)
    ]


def _adjusted(difference: Difference, p: float) -> Difference:
    return replace(difference, p_adjusted=float(p))


def _towards_better(measure: Measure, differences: Values) -> Values:
    """Differences turned so that more is better."""
    return -differences if measure.lower_is_better else differences


def _columns(queries: tuple[str, ...], wanted: tuple[str, ...]) -> NDArray[np.int64]:
    places = {query: place for place, query in enumerate(queries)}
    return np.array([places[query] for query in wanted], np.int64)
