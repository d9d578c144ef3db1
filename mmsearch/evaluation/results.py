"""From a run and its judgements to numbers, with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from indexer.errors import UsageError
from mmsearch.evaluation.curves import PrecisionRecall, mean_precision_recall
from mmsearch.evaluation.ids import Id, normalise
from mmsearch.evaluation.judgements import Qrels
from mmsearch.evaluation.metrics import DEFAULT_MEASURES, Measure, parse_measure, parse_measures
from mmsearch.evaluation.metrics.ranking import first_rank
from mmsearch.evaluation.placements import Placements, place
from mmsearch.evaluation.run import Run
from mmsearch.evaluation.statistics import CONFIDENCE, RESAMPLES, bootstrap, resamples_for

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Resampling:
    """How intervals are made: see `mmsearch.evaluation.statistics.bootstrap`. `resamples=0` makes none."""

    resamples: int = RESAMPLES
    confidence: float = CONFIDENCE
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """What one system reached on one set of queries.

    Attributes:
        name: Whose run it is.
        measures: M measures.
        queries: Q queries that count: those with a relevant item.
        values: (M, Q) float64, each measure of each query; NaN where a measure leaves a query out.
        weights: (M, Q) float64, the weight of each value in the measure's mean.
        scores: (M,) float64, each measure over all queries; NaN without queries.
        intervals: (M, 2) float64, low and high end; NaN where there is none, as with less than two queries.
        first_ranks: (Q,) float64, at which rank the first relevant item came, from 1; infinity if nowhere.
        curve: Mean precision over recall; None where it is not known.
        left_out: Judged queries without a relevant item, which no measure can count.
        without_results: Queries for which nothing was found. They are among `queries`, and count as zero.
        unjudged: Queries of the run that nobody judged.
        tied: Queries in which a relevant item has the score of another item, so that ids decided its rank.
        resampling: How the intervals were made.
        sections: The same for parts of the queries: "direction" to "text->image" to its evaluation.
    """

    name: str
    measures: tuple[Measure, ...]
    queries: tuple[str, ...]
    values: Values
    weights: Values
    scores: Values
    intervals: Values
    first_ranks: Values
    curve: PrecisionRecall | None = None
    left_out: tuple[str, ...] = ()
    without_results: tuple[str, ...] = ()
    unjudged: tuple[str, ...] = ()
    tied: tuple[str, ...] = ()
    resampling: Resampling = Resampling()
    sections: Mapping[str, Mapping[str, Evaluation]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = (len(self.measures), len(self.queries))
        if self.values.shape != shape or self.weights.shape != shape or self.first_ranks.shape != shape[1:]:
            raise UsageError(f"values {self.values.shape} must be measures by queries, {shape}")
        if self.scores.shape != shape[:1] or self.intervals.shape != (shape[0], 2):
            raise UsageError("there must be a score and an interval for each measure")

    def __getitem__(self, measure: str | Measure) -> float:
        """A measure over all queries, by either of its names: `evaluation["recall@10"]`, `evaluation["R@10"]`."""
        return float(self.scores[self.row(measure)])

    def row(self, measure: str | Measure) -> int:
        """Where a measure is in the arrays.

        Raises:
            UsageError: It was not evaluated.
        """
        wanted = measure if isinstance(measure, Measure) else parse_measure(measure)
        if wanted not in self.measures:
            raise UsageError(f"{wanted.label} was not evaluated; {', '.join(m.label for m in self.measures)} were")
        return self.measures.index(wanted)

    def interval(self, measure: str | Measure) -> tuple[float, float] | None:
        """A measure's interval, or None where there is none."""
        low, high = self.intervals[self.row(measure)]
        return None if np.isnan(low) else (float(low), float(high))

    def of(self, query: Id) -> dict[str, float]:
        """All measures of one query, by label; empty for a query that does not count."""
        name = normalise(query)
        if name not in self.queries:
            return {}
        column = self.values[:, self.queries.index(name)]
        return {m.label: float(v) for m, v in zip(self.measures, column, strict=True)}


def evaluate(
    found: Run | Placements,
    qrels: Qrels | None = None,
    measures: Iterable[str | Measure] = DEFAULT_MEASURES,
    *,
    name: str | None = None,
    sections: Mapping[str, Mapping[Id, str]] | None = None,
    resampling: Resampling = Resampling(),
) -> Evaluation:
    """Evaluate a run.

    A query without results counts as zero (and as infinite where ranks are measured). A query without a
    relevant item is left out, and named in `left_out`.

    Args:
        found: A run with its judgements, or the placements that `rank_scores` made.
        qrels: The judgements; None with placements.
        measures: Names in ir_measures' notation or in plain words, or `Measure`s.
        name: Whose run it is; without it, the run's own name.
        sections: Names of groupings to query to group, such as {"direction": {"q1": "text->image"}}. Each group of
            each grouping is evaluated by itself as well. Queries without a group are in none.
        resampling: How intervals are made.

    Raises:
        UsageError: There is no such measure, or judgements are missing or superfluous.
    """
    if isinstance(found, Run):
        if qrels is None:
            raise UsageError("a run can be evaluated only with judgements: give qrels")
        placements = place(found, qrels)
        name = name or found.name
    elif qrels is not None:
        raise UsageError("placements were made with their judgements already; give qrels only with a run")
    else:
        placements = found
    whole = _evaluate(name or "run", placements, parse_measures(measures), resampling)
    parts = {
        grouping: {
            group: _evaluate(group, placements.select(wanted), whole.measures, resampling)
            for group, wanted in _groups(placements.queries, labels)
        }
        for grouping, labels in (sections or {}).items()
    }
    return replace(whole, sections=parts)


def evaluate_by_item(
    run: Run,
    qrels: Qrels,
    groups: Mapping[Id, str],
    measures: Iterable[str | Measure] = DEFAULT_MEASURES,
    *,
    resampling: Resampling = Resampling(),
) -> dict[str, Evaluation]:
    """Evaluate each group of items, such as each kind of file, as if there were no others.

    Of a query, only results and judgements of the group count, so that queries without a relevant item in it are left
    out of its evaluation. Put the answer into `sections` as {"kind": ...} with `with_section`.

    Args:
        run: The results.
        qrels: The judgements.
        groups: Item to its group. Items without one are in none.
        measures: As in `evaluate`.
        resampling: As in `evaluate`.
    """
    kinds = {normalise(item): group for item, group in groups.items()}
    names = sorted({*kinds.values()})
    members = {group: [item for item, own in kinds.items() if own == group] for group in names}
    return {
        group: evaluate(run.only_items(items), qrels.only_items(items), measures, name=group, resampling=resampling)
        for group, items in members.items()
    }


def with_section(evaluation: Evaluation, grouping: str, parts: Mapping[str, Evaluation]) -> Evaluation:
    """The evaluation with one more section."""
    return replace(evaluation, sections={**evaluation.sections, grouping: parts})


def _evaluate(name: str, placements: Placements, measures: Sequence[Measure], resampling: Resampling) -> Evaluation:
    queries = len(placements.queries)
    values, weights = np.empty((len(measures), queries)), np.empty((len(measures), queries))
    for row, measure in enumerate(measures):
        values[row], weights[row] = measure.values(placements)
    median = np.array([measure.family.median for measure in measures], bool)
    if resampling.resamples:
        intervals = bootstrap(
            *(values, weights),
            median=median,
            resamples=resampling.resamples,
            confidence=resampling.confidence,
            seed=resampling.seed,
        )
    else:
        intervals = np.full((len(measures), 2), np.nan)
    return Evaluation(
        name=name,
        measures=tuple(measures),
        queries=placements.queries,
        values=values,
        weights=weights,
        scores=summarise(values, weights, median),
        intervals=intervals,
        first_ranks=first_rank(placements),
        curve=mean_precision_recall(placements),
        left_out=placements.left_out,
        without_results=placements.without_results,
        unjudged=placements.unjudged,
        tied=tuple(placements.queries[place] for place in np.flatnonzero(placements.tied)),
        resampling=replace(resampling, resamples=resamples_for(queries, resampling.resamples))
        if resampling.resamples
        else resampling,
    )


def summarise(values: Values, weights: Values, median: NDArray[np.bool_]) -> Values:
    """Means under weights, or medians, of rows of (M, Q), NaN left out: (M,), NaN for a row without values."""
    valid = ~np.isnan(values)
    share = np.where(valid, weights, 0.0)
    total = share.sum(axis=1)
    # An infinite value has a weight of 1 in the measures that can be infinite: never 0 times infinity.
    sums = (np.where(valid, values, 0.0) * share).sum(axis=1)
    scores = np.where(total > 0, sums / np.where(total > 0, total, 1), np.nan)
    for row in np.flatnonzero(median & valid.any(axis=1)):
        scores[row] = np.median(values[row, valid[row]])
    return scores


def _groups(queries: tuple[str, ...], labels: Mapping[Id, str]) -> Iterable[tuple[str, NDArray[np.bool_]]]:
    of = {normalise(query): label for query, label in labels.items()}
    own = [of.get(query) for query in queries]
    for group in sorted({label for label in own if label is not None}):
        yield group, np.array([label == group for label in own], bool)
