"""Queries worth a look: those that went wrong, and those that changed most between two systems."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mmsearch.evaluation.judgements import Qrels
from mmsearch.evaluation.metrics import Measure
from mmsearch.evaluation.results import Evaluation
from mmsearch.evaluation.run import Run

_SHOWN = 5  # items of a list


@dataclass(frozen=True, slots=True)
class ShownItem:
    """An item in a list: its rank (None: not found), its score (None: not found) and its grade."""

    id: str
    rank: int | None
    score: float | None
    grade: int


@dataclass(frozen=True, slots=True)
class Failure:
    """A query that went wrong.

    Attributes:
        query: Its id.
        value: The measure that picked it.
        first_rank: Where the first relevant item came; None if nowhere.
        found: What came first.
        missed: What should have: the relevant items that are not among those, highest grade first.
        missed_more: How many more of those there are.
        depth: How many results were looked at.
    """

    query: str
    value: float
    first_rank: int | None
    found: tuple[ShownItem, ...]
    missed: tuple[ShownItem, ...]
    missed_more: int
    depth: int


def pick_failures(evaluation: Evaluation, run: Run, qrels: Qrels, measure: Measure, count: int) -> list[Failure]:
    """The queries with the lowest values (highest for ranks) that are not perfect, the worst first.

    Among equal ones, that whose first relevant item came last goes first, and then the order of the queries.
    """
    values = evaluation.values[evaluation.row(measure)]
    quality = -values if measure.lower_is_better else values
    wrong = np.flatnonzero(~np.isnan(quality) & ((quality < -1) if measure.lower_is_better else (quality < 1)))
    order = wrong[np.lexsort((-evaluation.first_ranks[wrong], quality[wrong]))][:count]
    return [_failure(evaluation, place, float(values[place]), run, qrels) for place in order.tolist()]


def _failure(evaluation: Evaluation, place: int, value: float, run: Run, qrels: Qrels) -> Failure:
    query = evaluation.queries[place]
    grades = qrels.of(query)
    results = run.of(query)
    ranks = {item: rank for rank, (item, _) in enumerate(results, 1)}
    scores = dict(results)
    found = tuple(
        ShownItem(item, rank, score, grades.get(item, 0)) for rank, (item, score) in enumerate(results[:_SHOWN], 1)
    )
    shown = {item.id for item in found}
    missed = sorted(
        (item for item, grade in grades.items() if grade >= 1 and item not in shown),
        key=lambda item: (-grades[item], ranks.get(item, math.inf), item),
    )
    first = evaluation.first_ranks[place]
    return Failure(
        query=query,
        value=value,
        first_rank=int(first) if math.isfinite(first) else None,
        found=found,
        missed=tuple(ShownItem(item, ranks.get(item), scores.get(item), grades[item]) for item in missed[:_SHOWN]),
        missed_more=max(0, len(missed) - _SHOWN),
        depth=len(results),
    )
