"""How many lists are probed and how many vectors rescored, so that a search finds what it should.

A text query lies far from every picture, and finds less by the same effort than a picture does that is held out. So
settings are chosen by asking: those that are just enough for queries like those to come, held against all scores.
Both kinds are asked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np

from indexer.ann.clusters import in_blocks
from indexer.ann.exact import Rows
from indexer.halves import unit_of
from indexer.types import Vectors

if TYPE_CHECKING:
    from indexer.ann.base import Base

Asked = Literal["texts", "own vectors"]

KS = (10, 100, 1000)
"""How many results settings are chosen for; what lies between is interpolated."""

_QUERIES = 256
_STOPGAP = 96  # queries where there are no texts yet
_DEEPEST = 4096  # vectors rescored, at most, for KS
_HEADROOM = 1.25  # more are rescored than was enough for the queries that were asked
_STEP = 0.5  # how far a query of one's own kind lies from a vector, in parts of how far vectors lie from their mean
_BLOCK = 16_384  # rows
_GROWN = 1.5  # times as many vectors, for which settings are found out again
_HALF = 0.5  # of what may be missed, so much may be missed for lists that are not probed


@dataclass(frozen=True, slots=True)
class Settings:
    """How a base is searched, and how it was found out.

    Attributes:
        probes: how many lists are probed, for each of `KS`.
        depths: how many vectors are rescored, for each of `KS`.
        recalls: what share the texts found of so many best, in [0, 1].
        asked: what the queries were: texts, or vectors of the index that were moved away from it.
        queries: how many there were.
        vectors: among how many they were asked.
        target: the recall that was wanted.
    """

    probes: tuple[int, ...]
    depths: tuple[int, ...]
    recalls: tuple[float, ...]
    asked: Asked
    queries: int
    vectors: int
    target: float

    def suits(self, vectors: int, asked: Asked, target: float) -> bool:
        """Whether they are good enough for so many vectors, where there are such queries to choose by."""
        known = self.asked == "texts" or asked == "own vectors"
        return known and self.target == target and vectors <= _GROWN * self.vectors

    def depth(self, k: int) -> int:
        """How many vectors are rescored for the k best."""
        return _between(self.depths, k)

    def lists(self, k: int) -> int:
        """How many lists are probed for the k best: more than there are, at times."""
        return _between(self.probes, k)


def _between(known: tuple[int, ...], k: int) -> int:
    return round(known[-1] * k / KS[-1] if k >= KS[-1] else float(np.interp(k, KS, known)))


def calibrate(base: Base, texts: Vectors | None, target: float) -> Settings:
    """Find the least effort that reaches a recall.

    Args:
        base: what is searched.
        texts: queries like those to come, (q, dim) float32; None or none at all for queries made from the base.
        target: the mean recall at 10, at 100 and at 1,000 that is wanted, in (0, 1].
    """
    asked: Asked
    if texts is not None and len(texts):
        asked, groups = "texts", [spread(texts, _QUERIES), near(base.snapshot(), _QUERIES // 2)]
    else:  # a stopgap, which is not to take long: texts follow
        asked, groups = "own vectors", [moved(base.snapshot(), _STOPGAP), near(base.snapshot(), _STOPGAP // 2)]
    queries = np.concatenate(groups)
    bounds = np.cumsum([0, *map(len, groups)])
    truth = best_of(base.snapshot(), base.scales, queries, min(KS[-1], len(base)))
    deepest = min(_DEEPEST, len(base))
    lists = base.structure.lists
    probes = lists if base.probes_all else max(1, lists // 32)
    probed: list[int] = []
    depths: list[int] = []
    recalls: list[float] = []
    while len(probed) < len(KS):
        # Which place each of the true ones has among the candidates, from the best estimate on.
        all_places = _places(base, queries, truth, deepest, probes)
        places = [all_places[low:high] for low, high in pairwise(bounds.tolist())]
        for k in KS[len(probed) :]:  # more results need more lists, never fewer
            found = min(float(np.isfinite(of[:, :k]).mean()) for of in places)
            if probes < lists and found < 1 - (1 - target) * _HALF:
                break
            depth = min(len(base), max(_enough(of[:, :k], k, target) for of in places))
            probed.append(probes)
            depths.append(depth)
            recalls.append(float((places[0][:, :k] < depth).mean()))
        probes = min(lists, -(-probes * 6 // 5))
    return Settings(tuple(probed), tuple(depths), tuple(recalls), asked, len(groups[0]), len(base), target)


def best_of(rows: Rows, scales: Vectors, queries: Vectors, k: int) -> np.ndarray:
    """The rows of the k highest scores of many queries, by matrix products: (q, k), best first."""

    def of_block(block: slice) -> tuple[np.ndarray, np.ndarray]:
        halves, counts = rows.halves[block].astype(np.float32), scales[block] > 0
        halves[~counts] = 0
        if rows.alive is not None:
            counts &= rows.alive[block]
        some = queries @ (halves * scales[block, None]).T
        some[:, ~counts] = -np.inf
        scores, at = _highest(some, k)
        return scores, at + block.start

    scores, found = np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
    for some, rows_of_some in in_blocks(of_block, len(rows.ids), _BLOCK):  # folded as they come: all would fill memory
        scores, at = _highest(np.concatenate([scores, some], axis=1), k)
        found = np.take_along_axis(np.concatenate([found, rows_of_some], axis=1), at, 1)
    order = np.argsort(-scores, axis=1, kind="stable")
    return np.take_along_axis(found, order, 1)


def _highest(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k highest scores of each row, in no order, and where they are: (q, k), or as many as there are."""
    first = max(scores.shape[1] - k, 0)
    at = np.argpartition(scores, first, axis=1)[:, first:]
    return np.take_along_axis(scores, at, 1), at


def _places(base: Base, queries: Vectors, truth: np.ndarray, deepest: int, probes: int) -> np.ndarray:
    """The place of each row of `truth` among its query's candidates: (q, t) float64, inf where it is none of them."""
    places = np.full(truth.shape, np.inf)
    for at, row in enumerate(base.candidates(queries, deepest, probes, base.chosen(None))):
        order = np.argsort(row, kind="stable")
        where = np.minimum(np.searchsorted(row[order], truth[at]), len(row) - 1)
        there = row[order[where]] == truth[at]
        places[at, there] = order[where[there]]
    return places


def _enough(places: np.ndarray, k: int, target: float) -> int:
    """How many candidates hold the target's share of the k best, and some more."""
    ordered = np.sort(places, axis=None)
    needed = ordered[min(len(ordered), math.ceil(target * len(ordered))) - 1]
    if not np.isfinite(needed):  # deeper would not help
        needed = ordered[np.isfinite(ordered)][-1:].max(initial=k)
    return round(max(1.5 * k, (float(needed) + 1) * _HEADROOM))


def spread(texts: Vectors, count: int) -> Vectors:
    """At most `count` queries, taken evenly."""
    at = np.linspace(0, len(texts) - 1, min(count, len(texts))).round().astype(np.int64)
    return np.ascontiguousarray(texts[at], np.float32)


def moved(rows: Rows, count: int) -> Vectors:
    """Queries that lie beside an index as texts lie beside pictures: (count, dim) float32 of length 1.

    What sets a vector apart from their mean is mixed with that of another one, and with as much noise in all
    directions. The mean itself is left out: it would move the scores of all vectors by nearly the same.
    """
    rng = np.random.default_rng(0)
    sample = rng.choice(len(rows.ids), min(len(rows.ids), 4 * count), replace=False)
    vectors = _sound(rows, sample)
    apart = vectors - vectors.mean(axis=0)
    first, second = apart[rng.integers(0, len(apart), count)], apart[rng.integers(0, len(apart), count)]
    length = np.sqrt((apart**2).sum(axis=1).mean())
    noise = rng.standard_normal(first.shape) * length / np.sqrt(first.shape[1])
    return _of_length_1(first + second + noise)


def near(rows: Rows, count: int) -> Vectors:
    """Queries that lie among an index, as a picture lies among pictures: (count, dim) float32 of length 1."""
    rng = np.random.default_rng(1)
    vectors = _sound(rows, rng.choice(len(rows.ids), min(len(rows.ids), count), replace=False))
    length = np.sqrt(((vectors - vectors.mean(axis=0)) ** 2).sum(axis=1).mean())
    queries = vectors + rng.standard_normal(vectors.shape) * _STEP * length / np.sqrt(vectors.shape[1])
    return _of_length_1(queries)


def _sound(rows: Rows, sample: np.ndarray) -> Vectors:
    """Some of the rows, (n, dim) float32 of length 1, but for those that are no numbers."""
    halves = rows.halves[np.sort(sample)]
    return unit_of(halves[np.isfinite(halves).all(axis=1)])


def _of_length_1(queries: np.ndarray) -> Vectors:
    return np.asarray(queries / np.maximum(np.linalg.norm(queries, axis=1, keepdims=True), 1e-12), np.float32)
