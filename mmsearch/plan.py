"""How a query reaches the channels of a library, and what its scores there are worth."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

import numpy as np
from numpy.typing import NDArray

from indexer.admitted import admitted
from indexer.ann import Ids
from indexer.filters import Filter
from indexer.found import StoredSegments
from indexer.library import Library
from indexer.names import Channel
from indexer.types import Vectors
from mmsearch import fusion
from mmsearch.calibration import Background, Backgrounds, stretch
from mmsearch.fusion import Scores
from mmsearch.query import Query
from mmsearch.readings import Approach, Reading, has_meaning

OfRows = Callable[[NDArray[np.intp]], Vectors]
"""The vectors at some places, (n, dim) float32: they are often not needed."""

_LEAST_WEIGHT = 1e-12  # of the heaviest


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """How a query reaches one channel.

    `positive`, `negative`: each term's approach, or None where it does not reach; `chance` and `against`: what chance
    scores for each of them, or None. `vector`: the positive terms as one, (dim,) float32 of length 1. `allowed`: the
    segments that a filter lets through; None for all.
    """

    positive: tuple[Approach | None, ...]
    negative: tuple[Approach | None, ...]
    chance: tuple[Background | None, ...]
    against: tuple[Background | None, ...]
    vector: Vectors
    allowed: Ids | None

    @property
    def crosses_bridge(self) -> bool:
        """Whether a term comes over a bridge, so that a score is no inner product with the vectors as they are."""
        return any(approach is not None and approach.centre is not None for approach in self.positive)

    @property
    def is_calibrated(self) -> bool:
        """Whether it is known what chance scores for each positive term that reaches."""
        pairs = zip(self.positive, self.chance, strict=True)
        return all(chance is not None for approach, chance in pairs if approach is not None)


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """Segments of one channel with what they score: `key` (n,) ranks them, `cosine` (n,) is shown.

    `worth`: (n,) how far they lie above chance, negative terms taken off; cosines where nothing is calibrated.
    `terms`: (t, n) each positive term's score, nan where it does not reach. `cosines`: (t, n) their cosines.
    `above`: (m, n) each negative term's score over its mean. `blocked`: (n,) too near to a negative term.
    """

    segments: StoredSegments
    key: Scores
    worth: Scores
    cosine: Scores
    terms: Scores
    cosines: Scores
    above: Scores
    blocked: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A query's terms in the channels of a library: `weights` of the positive ones, `less` of the negative ones.

    `calibrated`: every score can be held against chance. If not, cosines stand for all of them. `by_chance`: what a
    term scores on average that the model cannot read.
    """

    query: Query
    weights: tuple[float, ...]
    less: tuple[float, ...]
    fusion: str
    routes: dict[Channel, Route]
    calibrated: bool
    by_chance: float = 0.0

    @property
    def is_one_vector(self) -> bool:
        """Whether a score is one inner product, so that the best are the first that an index gives."""
        plain = not any(route.crosses_bridge for route in self.routes.values())
        return plain and len(self.weights) == 1 and not self.less and self.query.metric == "cosine"

    @property
    def is_feature_level(self) -> bool:
        """Whether terms meet in each segment, rather than in each file."""
        return self.fusion in ("sum", "attention") or len(self.weights) == 1

    @property
    def unit(self) -> float:
        """What a negative term's score of 1 above its mean is as a cosine, in the mean of the channels."""
        found = [chance.null.scale for route in self.routes.values() for chance in route.against if chance is not None]
        return sum(found) / len(found) if found and self.calibrated else 1.0

    @property
    def is_log_odds(self) -> bool:
        """Whether what ranks is excess over chance, and not ranks, distances or cosines."""
        return self.calibrated and self.query.metric == "cosine" and (self.is_feature_level or self.fusion == "mean")

    @property
    def is_by_rank(self) -> bool:
        """Whether files rank by their places in each term's ranking."""
        return not self.is_feature_level and self.fusion in ("rrf", "borda") and self.query.metric == "cosine"

    @property
    def is_by_cosine(self) -> bool:
        """Whether files rank by the mean of each term's highest cosine."""
        return not self.is_feature_level and self.fusion == "concat" and self.query.metric == "cosine"

    @property
    def tie(self) -> float:
        """What is closer than this ranks the same: a score is not known more exactly.

        FAISS and NumPy round differently by up to 1e-6 of a cosine, and a unit of excess is seldom less than 1e-2 of
        one. Places are exact.
        """
        return 1e-9 if self.is_by_rank else 1e-4 if self.is_log_odds else 1e-6

    @property
    def missing(self) -> float:
        """What a term counts for where it does not reach: what it scores on average by chance."""
        if not self.calibrated:
            return 0.0
        found = [chance for route in self.routes.values() for chance in route.chance if chance is not None]
        return min(map(_on_average, found), default=self.by_chance)

    @property
    def unheard(self) -> float:
        """What ranks a file by meaning that has nothing to compare."""
        return self.missing if self.is_log_odds else 0.0

    def keys(self, route: Route, cosines: Scores, ids: Ids, vectors: OfRows) -> Scores:
        """What ranks segments of known ids and cosines with the only term: (n,) float64."""
        keys: Scores = self._excess(route.positive, route.chance, cosines[None], ids, vectors)[0]
        return keys

    def highest_key(self, route: Route, cosine: float) -> float:
        """What no segment with at most this cosine with the only term can rank above."""
        chance = route.chance[0]
        if not self.calibrated or chance is None:
            return cosine
        null = chance.null
        score = float(stretch(np.asarray(cosine))) if null.stretched else cosine
        return float(null.excess(np.asarray(score - null.least), channels=len(self.routes)))

    def highest_mean(self, said: Sequence[tuple[int, float]]) -> float:
        """What no file ranks above of which terms say no more than this, by their number; several may be one term's.

        -inf where files rank by their places, which are those among what is fetched.
        """
        if self.is_by_rank:
            return -math.inf
        missing = 0.0 if self.is_by_cosine else self.missing
        most = [max([missing, *(worth for term, worth in said if term == at)]) for at in range(len(self.weights))]
        if self.fusion == "attention":
            return max(most)
        return sum(weight * worth for weight, worth in zip(self.weights, most, strict=True)) / sum(self.weights)

    def score(self, segments: StoredSegments) -> Scored:
        """What segments of one channel score."""
        route, ids, vectors = self.routes[segments.channel], segments.ids, segments.vectors
        cosines, against = _cosines(route.positive, vectors), _cosines(route.negative, vectors)
        terms = self._excess(route.positive, route.chance, cosines, ids, vectors.__getitem__)
        above = self._above(route.negative, route.against, against, ids, vectors.__getitem__)
        if self.calibrated and len(self.weights) + len(self.less) > 1:
            terms, above = fusion.levelled(terms), fusion.levelled(above)
        together: Scores = (vectors @ route.vector).astype(np.float64)
        is_sum = self.fusion == "sum" and not route.crosses_bridge
        cosine = together if is_sum else fusion.concatenation(cosines, self.weights)
        total = sum(self.weights)
        if self.fusion == "attention":
            worth = fusion.attention(terms, self.weights)
        else:
            worth = fusion.weighted_mean(terms, self.weights, self.missing)
        worth = fusion.lowered(worth, above, self.less, total)
        key = worth
        if self.query.metric == "euclidean":
            key = fusion.lowered(-distances(route, segments.norms, together), against, self.less, total)
        limit = self.query.not_below
        blocked = np.zeros(len(segments), np.bool_)
        if limit is not None and self.less:
            blocked = np.asarray((np.nan_to_num(against, nan=-2) >= limit).any(axis=0))
        return Scored(segments, key, worth, cosine, terms, cosines, above, blocked)

    def _excess(
        self,
        approaches: Sequence[Approach | None],
        chance: Sequence[Background | None],
        cosines: Scores,
        ids: Ids,
        vectors: OfRows,
    ) -> Scores:
        """Cosines over chance, in the units of calibration.py: (t, n); as they are where nothing is calibrated."""
        if not self.calibrated:
            return cosines
        rows = _lowered(approaches, chance, cosines, ids, vectors)
        for row, of in zip(rows, chance, strict=True):
            if of is not None:
                row[:] = of.null.excess(row, channels=len(self.routes))
        return rows

    def _above(
        self,
        approaches: Sequence[Approach | None],
        against: Sequence[Background | None],
        cosines: Scores,
        ids: Ids,
        vectors: OfRows,
    ) -> Scores:
        """How far negative terms score above what they score on average: (m, n) float64."""
        if not self.calibrated or not self.less:
            return cosines
        rows = _lowered(approaches, against, cosines, ids, vectors)
        for row, of in zip(rows, against, strict=True):
            if of is not None:
                row[:] = (row - of.null.mean) / of.null.scale
        return rows


def make_plan(
    library: Library,
    generation_id: int,
    backgrounds: Backgrounds,
    query: Query,
    readings: Sequence[Reading],
    wanted: Filter,
) -> Plan:
    """See how a query reaches each channel that holds something that its filters let through.

    Args:
        library: what is searched.
        generation_id: among the vectors of which model.
        backgrounds: what chance scores, by (query modality, channel).
        query: weights, and how to rank.
        readings: a reading of each of the query's terms. One without any, of words that the model cannot read, has no
            part in the plan; with none left to be found, files are ranked by their words alone.
        wanted: the query's filters, as the store takes them.
    """
    if not has_meaning(query, readings):
        return _by_words(library, generation_id, backgrounds, query)
    kept = [(term, reading) for term, reading in zip(query.terms, readings, strict=True) if reading]
    query = query if len(kept) == len(query.terms) else replace(query, terms=tuple(term for term, _ in kept))
    heaviest = max(abs(term.weight) for term in query.terms)  # only proportions count
    signed = [
        (math.copysign(max(abs(term.weight) / heaviest, _LEAST_WEIGHT), term.weight), reading) for term, reading in kept
    ]
    weights = tuple(weight for weight, _ in signed if weight > 0)
    positive = [reading for weight, reading in signed if weight > 0]
    negative = [reading for weight, reading in signed if weight < 0]
    routes = {}
    for channel in dict.fromkeys(channel for reading in positive for channel in reading):
        allowed = admitted(library.store, generation_id, channel, wanted)
        size = library.store.position(generation_id, channel).vectors if allowed is None else len(allowed)
        if size:
            routes[channel] = _route(channel, backgrounds, positive, negative, weights, allowed, size)
    met = len({frozenset(reading) for reading in positive}) == 1
    how = query.fusion if query.fusion != "auto" else "sum" if met else "mean"
    less = tuple(-weight for weight, _ in signed if weight < 0)
    calibrated = bool(routes) and all(route.is_calibrated for route in routes.values())
    return Plan(query, weights, less, how, routes, calibrated)


def _by_words(library: Library, generation_id: int, backgrounds: Backgrounds, query: Query) -> Plan:
    """The plan of a query whose meaning is not known: every file counts for what chance scores on average."""
    chances = [
        background
        for (modality, channel), background in backgrounds.items()
        if modality == "text" and library.store.position(generation_id, cast(Channel, channel)).vectors
    ]
    weights = tuple(term.weight for term in query.terms if term.weight > 0)
    by_chance = min(map(_on_average, chances), default=0.0)
    return Plan(query, weights, (), "mean", {}, calibrated=bool(chances), by_chance=by_chance)


def _on_average(chance: Background) -> float:
    """What a background's queries score on average, in excess over chance."""
    return float((chance.null.mean - chance.null.location) / chance.null.scale)


def _route(
    channel: Channel,
    backgrounds: Backgrounds,
    positive: Sequence[Reading],
    negative: Sequence[Reading],
    weights: Sequence[float],
    allowed: Ids | None,
    size: int,
) -> Route:
    def chance_of(approach: Approach | None) -> Background | None:
        found = None if approach is None else backgrounds.get((approach.modality, channel))
        return None if found is None else replace(found, null=found.null.among(size))

    approaches = tuple(reading.get(channel) for reading in positive)
    others = tuple(reading.get(channel) for reading in negative)
    chance = tuple(map(chance_of, approaches))
    there = [
        (approach.vector, weight) for approach, weight in zip(approaches, weights, strict=True) if approach is not None
    ]
    vector = fusion.weighted_sum(*zip(*there, strict=True))
    return Route(approaches, others, chance, tuple(map(chance_of, others)), vector, allowed)


def _lowered(
    approaches: Sequence[Approach | None],
    chance: Sequence[Background | None],
    cosines: Scores,
    ids: Ids,
    vectors: OfRows,
) -> Scores:
    """Cosines less hubness, stretched where their null distribution is: (t, n) float64."""
    rows = cosines.copy()
    for row, approach, of in zip(rows, approaches, chance, strict=True):
        if approach is not None and of is not None:
            hubs = of.hubs.of(ids, partial(_compared, approach, vectors))
            row[:] = (stretch(row) if of.null.stretched else row) - hubs
    return rows


def _compared(approach: Approach, vectors: OfRows, at: NDArray[np.intp]) -> Vectors:
    return approach.compared(vectors(at))


def _cosines(approaches: Sequence[Approach | None], vectors: Vectors) -> Scores:
    """(t, n) float64; nan for a term that does not reach."""
    rows = np.full((len(approaches), len(vectors)), np.nan)
    for row, approach in zip(rows, approaches, strict=True):
        if approach is not None:
            row[:] = approach.compared(vectors) @ approach.vector
    return rows


def distances(route: Route, norms: Vectors, cosine: Scores) -> Scores:
    """Euclidean distances between the vectors as their towers gave them, over the query's own length: (n,) float64.

    Within a channel this ranks as the distances themselves do. Lengths of different towers have nothing to do with each
    other: without the division, all documents of a tower that gives length 1 would lie nearer than any picture of one
    that gives length 10.

    Args:
        route: the query.
        norms: (n,) lengths of vectors.
        cosine: (n,) their cosines with `route.vector`.
    """
    there = [approach.norm for approach in route.positive if approach is not None]
    length = float(np.mean(there))
    ratio = norms.astype(np.float64) / length
    return np.asarray(np.sqrt(np.maximum(ratio**2 + 1 - 2 * ratio * cosine, 0.0)))
