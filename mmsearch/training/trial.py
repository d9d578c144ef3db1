"""Recall before and after an adapter, with intervals; and what becomes of questions that it was not trained for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from indexer.adapters import adapted
from indexer.types import Vectors
from mmsearch.evaluation.statistics import bootstrap

if TYPE_CHECKING:
    from mmsearch.training.fit import PairVectors

DEPTHS = (1, 5, 10)
"""Recall is the mean of the shares found among the first 1, 5 and 10, both ways."""

_GENERAL_DEPTH = 10
_EQUAL = 1e-6  # scores that differ by less are equal: rounding orders nothing


@dataclass(frozen=True, slots=True)
class Measured:
    """A measure before and after, and the gain with its 95 % interval."""

    before: float
    after: float
    gain: float
    low: float
    high: float

    @property
    def helps(self) -> bool:
        """Whether the gain is above what chance explains."""
        return self.low > 0


@dataclass(frozen=True, slots=True)
class Trial:
    """How an adapter does on pairs that it has not seen: `pairs` of them.

    `recall`: the mean of recall at 1, 5 and 10 and of both ways, which decides. `at`: recall at each depth, both ways.
    `reciprocal`: the mean reciprocal rank.
    """

    pairs: int
    recall: Measured
    at: dict[int, Measured]
    reciprocal: Measured


@dataclass(frozen=True, slots=True)
class General:
    """What becomes of general questions: the same captions put to a channel before and after.

    `same`: of the first ten answers, the mean share that is the same. `first`: of the first answers, the same.
    """

    questions: int
    same: float
    first: float


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Where each pair's own stands: how many score `above` it and as much (`equal`), both ways, each (2, n) float64."""

    above: NDArray[np.float64]
    equal: NDArray[np.float64]

    def recall(self, depth: int) -> NDArray[np.float64]:
        """(n,) the chance that one's own is among the first `depth`, equals in any order; the mean of both ways.

        Where all score the same, this is what drawing blindly gives, and not more or less.
        """
        return np.asarray(np.clip((depth - self.above) / (1 + self.equal), 0, 1).mean(axis=0))

    def recalls(self) -> NDArray[np.float64]:
        """(n,) the mean of `recall` at 1, 5 and 10."""
        return np.asarray(np.mean([self.recall(depth) for depth in DEPTHS], axis=0))

    def reciprocal(self) -> NDArray[np.float64]:
        """(n,) the reciprocal rank, in the middle of equals; the mean of both ways."""
        return np.asarray((1 / (1 + self.above + self.equal / 2)).mean(axis=0))


def places_of(pairs: PairVectors) -> Places:
    """Where each query's item stands among all items, and each item's query among all queries.

    What is the same item (or query) as one's own, or belongs to the same query, is neither above nor below. An item
    that stands in several pairs is one answer.
    """
    scores = pairs.queries.astype(np.float64) @ pairs.items.astype(np.float64).T
    same_query = pairs.query_ids[:, None] == pairs.query_ids[None, :]
    same_item = pairs.item_ids[:, None] == pairs.item_ids[None, :]
    counts = ~(same_query | same_item)
    above, equal = [], []
    for table, own_side in ((scores, same_item), (scores.T, same_query)):
        own = np.diagonal(table)[:, None]
        weights = 1 / own_side.sum(axis=0)
        above.append(((table > own + _EQUAL) & counts) @ weights)
        equal.append(((np.abs(table - own) <= _EQUAL) & counts) @ weights)
    return Places(np.stack(above), np.stack(equal))


def mean_recall(pairs: PairVectors) -> float:
    """The mean of recall at 1, 5 and 10, both ways."""
    return float(places_of(pairs).recalls().mean())


def run_trial(pairs: PairVectors, matrix: Vectors, *, seed: int = 0) -> Trial:
    """Hold pairs after an adapter against the same pairs before it."""
    return trial_of(pairs, pairs.adapted(matrix), seed=seed)


def trial_of(pairs: PairVectors, changed: PairVectors, *, seed: int = 0) -> Trial:
    """Hold pairs against the same pairs as vectors of another making."""
    before, after = places_of(pairs), places_of(changed)
    table = {"recall": (before.recalls(), after.recalls()), "reciprocal": (before.reciprocal(), after.reciprocal())}
    table |= {str(depth): (before.recall(depth), after.recall(depth)) for depth in DEPTHS}
    gains = np.stack([later - earlier for earlier, later in table.values()])
    intervals = bootstrap(gains, seed=seed)
    found = {
        name: Measured(float(one.mean()), float(two.mean()), float(gain.mean()), float(low), float(high))
        for (name, (one, two)), gain, (low, high) in zip(table.items(), gains, intervals, strict=True)
    }
    at = {depth: found[str(depth)] for depth in DEPTHS}
    return Trial(len(pairs.items), found["recall"], at, found["reciprocal"])


def general(queries: Vectors, vectors: Vectors, matrix: Vectors, *, through: bool) -> General | None:
    """What general questions find before and after; None where there are too few vectors for that to mean anything.

    Args:
        queries: (q, dim) float32 of length 1, that were not written for this library.
        vectors: (n, dim) float32 of length 1, of a channel.
        matrix: the adapter.
        through: whether the queries go through it as well.
    """
    if len(vectors) <= 2 * _GENERAL_DEPTH or not len(queries):
        return None
    moved = adapted(queries, matrix) if through else queries
    one, two = (_first(q, v) for q, v in ((queries, vectors), (moved, adapted(vectors, matrix))))
    same = np.mean([len(set(a) & set(b)) for a, b in zip(one.tolist(), two.tolist(), strict=True)]) / _GENERAL_DEPTH
    return General(len(queries), float(same), float((one[:, 0] == two[:, 0]).mean()))


def _first(queries: Vectors, vectors: Vectors) -> NDArray[Any]:
    scores = queries @ vectors.T
    nearest = np.argpartition(-scores, _GENERAL_DEPTH, axis=1)[:, :_GENERAL_DEPTH]
    order = np.argsort(-np.take_along_axis(scores, nearest, axis=1), axis=1, kind="stable")
    return np.take_along_axis(nearest, order, axis=1)
