"""The segments nearest to a query that is one vector, by what ranks them: their cosine less their hubness.

An index gives segments by inner product, and not less anything. Fetched by cosine alone, in growing numbers until none
that was not fetched can matter, a third of all pictures may have to be looked at: what tells the best from the next is
less than what hubness differs by. So its linear part (`calibration.Hubs.lean`) is taken from the query:

    cosine - hubness = (query - lean) . vector - rest,

where the rest differs little, and its least is known. An index that is asked with (query - lean) gives segments nearly
in order, and none that was not fetched ranks above the last score less the least rest.

Where cosines are stretched (arctanh), that holds in part of their range. Below the highest cosine that was not fetched
yet and above the lowest that could still matter, the stretch lies below a line, slope * cosine + above (`line_above`);
the index is asked with (slope * query - lean).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from indexer.ann import Ids
from indexer.contents import contents_of
from indexer.library import Library
from indexer.names import Channel
from indexer.types import Vectors
from mmsearch.calibration import NEAREST, OFFSET, Background
from mmsearch.cancel import Check
from mmsearch.fusion import Scores
from mmsearch.plan import OfRows, Plan, Route

_DEPTH = 128  # segments fetched from each channel, to begin with
_DEEPER = 4  # times as many, each time


def nearest(library: Library, plan: Plan, count: int, check: Check) -> tuple[list[int], dict[int, float], float]:
    """The contents of the best files and all that tie with the last of them.

    And what ranks all that were looked at, and what no other ranks above.

    Args:
        library: where to look.
        plan: a query that is one vector.
        count: how many contents are wanted.
        check: called before each search of a channel; what it raises ends this one.
    """
    parts = [_Part(library, plan, channel, route, max(_DEPTH, 16 * count)) for channel, route in plan.routes.items()]
    deeper: Iterable[_Part] = parts
    enough = -np.inf
    while True:
        for part in deeper:
            check()
            part.go_on(enough)
        order, best = _ranked(library, parts)
        if len(order) >= count:
            enough = best[order[count - 1]] - 2 * plan.tie
        deeper = [part for part in parts if part.bound > -np.inf and part.bound >= enough]
        if not deeper:
            return first_of(order, best, count, plan), best, max((part.bound for part in parts), default=-np.inf)


def first_of(order: Sequence[int], keys: Mapping[int, float], count: int, plan: Plan) -> list[int]:
    """As many of an order as were asked for, and all that tie with the last of them: paths will decide."""
    if len(order) <= count:
        return list(order)
    last = keys[order[count - 1]] - 2 * plan.tie
    return [content for content in order if keys[content] >= last]


def probes_of(plan: Plan, route: Route) -> list[tuple[int | None, Vectors]]:
    """What a channel's index is asked with for files that several terms may rank highly: (dim,) float32 each.

    Each term, by its number, less the linear part of hubness, which gives segments nearly in the order of its scores.
    And without a number: stretched terms as they are, for what is all but the same, and all terms together, each in the
    units of what chance scores. Where it is cosines that rank files, terms are asked with as they are.
    """
    probes: list[tuple[int | None, Vectors]] = []
    together = np.zeros(len(route.vector))
    for number, (approach, chance, weight) in enumerate(zip(route.positive, route.chance, plan.weights, strict=True)):
        if approach is None:
            continue
        probe, unit = approach.vector, 1.0
        if plan.calibrated and not plan.is_by_cosine and chance is not None and approach.centre is None:
            slope, unit = 1.0, chance.null.scale
            if chance.null.stretched:
                probes.append((None, approach.vector))
                slope = 1 / (1 - min(math.tanh(chance.null.score(OFFSET) + chance.hubs.usual), NEAREST) ** 2)
            probe = np.asarray(slope * approach.vector - chance.hubs.lean, np.float32)
        probes.append((number, probe))
        together += weight / unit * probe
    return [*probes, (None, together.astype(np.float32))]


def line_above(low: float, high: float) -> tuple[float, float]:
    """A line that arctanh lies below between two cosines: its slope and its height at 0.

    It is the chord, raised where needed: arctanh bends upwards above 0 and downwards below, where it may leave the
    chord and is furthest above it at the point at which it is as steep.

    Args:
        low: above -1.
        high: above `low`, below 1.
    """
    slope = max(1.0, (math.atanh(high) - math.atanh(low)) / (high - low))  # it is nowhere less steep than at 0
    steep = -math.sqrt(1 - 1 / slope)
    corners = (low, high, steep) if low < steep < high else (low, high)
    return slope, max(math.atanh(cosine) - slope * cosine for cosine in corners)


class _Part:
    """One channel, as far as it was searched.

    `ids`, `keys`: (n,) the segments that were fetched, and what ranks each. `bound`: no other ranks above this.
    """

    def __init__(self, library: Library, plan: Plan, channel: Channel, route: Route, depth: int) -> None:
        self.ids: Ids = np.empty(0, np.int64)
        self.keys: Scores = np.empty(0)
        self.bound = np.inf
        self._library, self._plan, self._channel, self._route = library, plan, channel, route
        self._depth = depth
        self._chance = route.chance[0] if plan.calibrated else None
        self._highest: float | None = None  # after a search by cosine: what was not fetched is not above this

    def go_on(self, enough: float) -> None:
        """Fetch further segments.

        Args:
            enough: what ranks the last of the best so far, -inf when there are too few: nothing below it matters.
        """
        highest, self._highest = self._highest, None
        chance = self._chance if self._chance is not None and self._chance.null.rest > -np.inf else None
        if chance is not None and not chance.null.stretched:
            self._by_line(chance, 1.0, 0.0)
        elif chance is not None and highest is not None and enough > -np.inf:
            self._where_it_matters(chance, highest, enough)
        else:
            self._depth *= 1 if highest is None else _DEEPER
            self._by_cosine()
            return
        self._depth *= _DEEPER

    def _by_cosine(self) -> None:
        """Fetch those of the highest cosines."""
        scores, ids = self._fetched(self._route.vector)
        self._take(ids, scores)
        if self.bound > -np.inf:
            self._highest = float(scores[-1])
            self.bound = self._plan.highest_key(self._route, self._highest)

    def _where_it_matters(self, chance: Background, highest: float, enough: float) -> None:
        """Fetch those that rank highest by a line which the stretch lies below.

        Args:
            chance: what chance scores, stretched.
            highest: what was not fetched has no higher cosine.
            enough: nothing that ranks below this matters.
        """
        null, floor = chance.null, enough - 2 * self._plan.tie
        low = max(math.tanh(null.score(floor, channels=len(self._plan.routes)) + null.least), -NEAREST)
        high = min(highest, NEAREST)
        if low < high:
            self._by_line(chance, *line_above(low, high))
        if self.bound > -np.inf:
            self.bound = max(self.bound, floor) if low < high else floor

    def _by_line(self, chance: Background, slope: float, above: float) -> None:
        """Fetch those that rank highest if their cosines, stretched or not, are brought to slope * cosine + above."""
        scores, ids = self._fetched(slope * self._route.vector - chance.hubs.lean)
        self._take(ids, (scores + chance.hubs.linear(ids, self._vectors_of(ids))) / slope)
        if self.bound > -np.inf:
            highest = np.asarray(above + float(scores[-1]) - chance.null.rest)
            self.bound = float(chance.null.excess(highest, channels=len(self._plan.routes)))

    def _fetched(self, vector: Vectors) -> tuple[Scores, Ids]:
        """The scores and ids of those that an index finds nearest to a vector, (n,); the bound falls if that is all."""
        scores, ids = self._library.search(
            self._channel,
            np.asarray(vector, np.float32)[None],
            self._depth,
            allowed=self._route.allowed,
            exact=self._plan.query.exact,
        )
        if not ids.shape[1]:  # it was emptied meanwhile
            self.ids, self.keys = np.empty(0, np.int64), np.empty(0)
        if ids.shape[1] < self._depth:
            self.bound = -np.inf
        return scores[0].astype(np.float64), ids[0]

    def _take(self, ids: Ids, cosines: Scores) -> None:
        """Add to what was fetched, as far as it is new."""
        new = ~np.isin(ids, self.ids)
        ids, cosines = ids[new], cosines[new]
        keys = self._plan.keys(self._route, cosines, ids, self._vectors_of(ids))
        self.ids, self.keys = np.concatenate([self.ids, ids]), np.concatenate([self.keys, keys])

    def _vectors_of(self, ids: Ids) -> OfRows:
        return lambda at: self._library.index(self._channel).vectors_of(ids[at])


def _ranked(library: Library, parts: Sequence[_Part]) -> tuple[list[int], dict[int, float]]:
    """The contents that were found, best first, and what ranks each: its best segment."""
    contents = contents_of(library.store, np.concatenate([np.empty(0, np.int64), *(part.ids for part in parts)]))
    keys = np.concatenate([np.empty(0), *(part.keys for part in parts)])
    there = contents > 0  # else it was removed meanwhile
    unique, inverse = np.unique(contents[there], return_inverse=True)
    best = np.full(len(unique), -np.inf)
    np.maximum.at(best, inverse, keys[there])
    return unique[np.argsort(-best, kind="stable")].tolist(), dict(zip(unique.tolist(), best.tolist(), strict=True))
