"""How a query reaches the channels of a library, and what its scores there are worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.ann import Ids
from indexer.filters import Filter
from indexer.found import StoredSegments
from indexer.library import Library
from indexer.lookup import admitted
from indexer.names import Channel
from indexer.types import Vectors
from mmsearch import fusion
from mmsearch.calibration import Null, Nulls, combined
from mmsearch.fusion import Scores
from mmsearch.query import Query
from mmsearch.readings import Approach, Reading


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """How a query reaches one channel.

    `positive`, `negative`: each term's approach, or None where it does not reach. `nulls`: what chance scores for each
    positive term; `against`: for each negative one. `vector`: the positive terms as one, (dim,) float32 of length 1,
    and `null` what chance scores for it. `allowed`: the segments that a filter lets through; None for all.
    """

    positive: tuple[Approach | None, ...]
    negative: tuple[Approach | None, ...]
    nulls: tuple[Null | None, ...]
    against: tuple[Null | None, ...]
    vector: Vectors
    null: Null | None
    allowed: Ids | None


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """Segments of one channel with what they score: `key` (n,) ranks them, `cosine` (n,) is shown.

    `terms`: (t, n) each positive term's score, nan where it does not reach. `cosines`: (t, n) their cosines.
    `above`: (m, n) each negative term's score over its mean. `blocked`: (n,) too near to a negative term.
    """

    segments: StoredSegments
    key: Scores
    cosine: Scores
    terms: Scores
    cosines: Scores
    above: Scores
    blocked: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A query's terms in the channels of a library: `weights` of the positive ones, `less` of the negative ones.

    `calibrated`: every score can be held against chance. If not, cosines stand for all of them.
    """

    query: Query
    weights: tuple[float, ...]
    less: tuple[float, ...]
    fusion: str
    routes: dict[Channel, Route]
    calibrated: bool

    @property
    def is_one_vector(self) -> bool:
        """Whether a score is one inner product, so that the best are the first that an index gives."""
        one = self.fusion == "sum" or len(self.weights) == 1
        return one and not self.less and self.query.metric == "cosine"

    @property
    def is_feature_level(self) -> bool:
        """Whether terms meet in each segment, rather than in each file."""
        return self.fusion in ("sum", "attention") or len(self.weights) == 1

    def excess(self, null: Null | None, cosines: Vectors | Scores) -> Scores:
        """Cosines over chance, in the units of calibration.py; as they are where there is no calibration."""
        if not self.calibrated or null is None:
            return np.asarray(cosines, np.float64)
        return null.excess(cosines, channels=len(self.routes))

    @property
    def missing(self) -> float:
        """What a term counts for in a file that it does not reach: what it scores on average by chance."""
        if not self.calibrated:
            return 0.0
        nulls = [null for route in self.routes.values() for null in route.nulls if null is not None]
        return float(min(((null.mean - null.location) / null.scale for null in nulls), default=0.0))

    def score(self, segments: StoredSegments) -> Scored:
        """What segments of one channel score."""
        route = self.routes[segments.channel]
        cosines = _cosines(route.positive, segments.vectors)
        terms = np.stack([self.excess(null, row) for null, row in zip(route.nulls, cosines, strict=True)])
        against = _cosines(route.negative, segments.vectors)
        above = (
            np.stack([self._above(null, row) for null, row in zip(route.against, against, strict=True)])
            if self.less
            else np.empty((0, len(segments)))
        )
        together: Scores = (segments.vectors @ route.vector).astype(np.float64)
        if self.fusion == "sum" or len(self.weights) == 1:
            cosine, key = together, self.excess(route.null, together)
        elif self.fusion == "attention":
            cosine, key = fusion.concatenation(cosines, self.weights), fusion.attention(terms, self.weights)
        else:
            cosine = fusion.weighted_mean(cosines, self.weights)
            key = fusion.weighted_mean(terms, self.weights, self.missing)
        if self.query.metric == "euclidean":
            key = -_distances(route, segments, together)
        key = fusion.lowered(key, above, self.less, sum(self.weights))
        limit = self.query.not_below
        blocked = np.zeros(len(segments), np.bool_)
        if limit is not None:
            blocked = np.asarray((np.nan_to_num(against, nan=-2) >= limit).any(axis=0))
        return Scored(segments, key, cosine, terms, cosines, above, blocked)

    def _above(self, null: Null | None, cosines: Scores) -> Scores:
        if not self.calibrated or null is None:
            return cosines
        return (cosines - null.mean) / null.scale


def make_plan(
    library: Library,
    generation_id: int,
    nulls: Nulls,
    query: Query,
    readings: Sequence[Reading],
    wanted: Filter,
) -> Plan:
    """See how a query reaches each channel that holds something that its filters let through.

    Args:
        library: what is searched.
        generation_id: among the vectors of which model.
        nulls: what chance scores, by (query modality, channel).
        query: weights, and how to rank.
        readings: a reading of each of the query's terms.
        wanted: the query's filters, as the store takes them.
    """
    signed = [(term.weight, reading) for term, reading in zip(query.terms, readings, strict=True)]
    weights = tuple(weight for weight, _ in signed if weight > 0)
    positive = [reading for weight, reading in signed if weight > 0]
    negative = [reading for weight, reading in signed if weight < 0]
    routes = {}
    for channel in dict.fromkeys(channel for reading in positive for channel in reading):
        allowed = admitted(library.store, generation_id, channel, wanted)
        size = library.store.position(generation_id, channel).vectors if allowed is None else len(allowed)
        if size:
            routes[channel] = _route(channel, nulls, positive, negative, weights, allowed, size)
    met = len({frozenset(reading) for reading in positive}) == 1
    how = query.fusion if query.fusion != "auto" else "sum" if met else "mean"
    less = tuple(-weight for weight, _ in signed if weight < 0)
    return Plan(query, weights, less, how, routes, all(route.null is not None for route in routes.values()))


def _route(
    channel: Channel,
    nulls: Nulls,
    positive: Sequence[Reading],
    negative: Sequence[Reading],
    weights: Sequence[float],
    allowed: Ids | None,
    size: int,
) -> Route:
    def null_of(approach: Approach | None) -> Null | None:
        null = None if approach is None else nulls.get((approach.modality, channel))
        return None if null is None else null.among(size)

    approaches = tuple(reading.get(channel) for reading in positive)
    others = tuple(reading.get(channel) for reading in negative)
    there = [
        (approach.vector, null_of(approach), weight)
        for approach, weight in zip(approaches, weights, strict=True)
        if approach is not None
    ]
    known = [null for _, null, _ in there if null is not None]
    is_known = len(known) == len(there)
    # A term whose cosines vary less would count less, so each is brought to the unit of its null distribution.
    units = [null.scale for null in known] if is_known else [1.0] * len(there)
    shares = [weight / unit for (_, _, weight), unit in zip(there, units, strict=True)]
    vector, length = fusion.weighted_sum([vector for vector, _, _ in there], shares)
    null = None
    if is_known:
        null = known[0] if len(known) == 1 else combined(known, [share / length for share in shares])
    return Route(
        approaches,
        others,
        tuple(map(null_of, approaches)),
        tuple(map(null_of, others)),
        vector,
        null,
        allowed,
    )


def _cosines(approaches: Sequence[Approach | None], vectors: Vectors) -> Scores:
    """(t, n) float64; nan for a term that does not reach."""
    rows = np.full((len(approaches), len(vectors)), np.nan)
    for row, approach in zip(rows, approaches, strict=True):
        if approach is not None:
            row[:] = vectors @ approach.vector
    return rows


def _distances(route: Route, segments: StoredSegments, cosine: Scores) -> Scores:
    """Euclidean distances between the vectors as their towers gave them: (n,) float64."""
    there = [approach.norm for approach in route.positive if approach is not None]
    length = float(np.mean(there))
    norms = segments.norms.astype(np.float64)
    return np.asarray(np.sqrt(np.maximum(norms**2 + length**2 - 2 * norms * length * cosine, 0.0)))
