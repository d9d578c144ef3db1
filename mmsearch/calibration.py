"""What a score is worth: how it compares with what queries score that nothing in the library matches.

Cosines of different channels cannot be compared: CLIP gives a picture 0.25 where a text tower gives a document 0.6.
What can be compared is how far a score lies above chance. So a bank of *background queries*, which were not written
for the library, is put to each of its channels once, and the best score that each of them finds is kept. These best
scores follow, nearly, a Gumbel distribution, as the maxima of many draws do (Fisher and Tippett 1928; Gumbel 1958):

    P(best <= s) = exp(-exp(-(s - location) / scale))

Being the distribution of the *best of the whole channel*, it takes the library's size into account as it is; for n of
its N vectors (a filter, a library that grew) the location moves by scale * ln(n / N). A score in its units,

    excess = (s - location) / scale,

is above ln(99) = 4.6 for one background query in a hundred. And where the density of true matches is about level over
the range that matters, while the right tail of the Gumbel density falls as exp(-excess), Bayes' rule makes the
log-odds of a match *excess plus a constant*: a Platt curve (Platt 1999) whose slope is 1. Both are taken from theory:
slope 1, constant -4.6, so that a confidence of one half is the point that one background query in a hundred reaches.
`benchmarks/calibration.py` holds that against labelled data: fitted slopes are between 0.6 and 1.7, and the mean
distance of confidence and share of right answers is 0.02 to 0.14. Confidence errs to the low side in a library that
is all of one subject, and to the high side for questions in the very manner of such a library, which the bank is not.

Before all that, an item's cosine is lowered by what it scores against the bank itself: nearest-neighbour
normalisation (Chowdhury et al., EMNLP 2024). An item that is near to many queries is near to any, and says less. Of
pictures, it keeps more of the true matches at the same rate of false ones; of texts, as many. Centring by the channel's
mean is here as a function only: in a library of one field it refuses more of what is not there, but also what most of
the library is about. docs/performance.md has the figures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.ann import Ids
from indexer.types import Vectors

Floats = NDArray[np.floating[Any]]

OFFSET = -math.log(-math.log(0.99))
"""The excess that the best score of one background query in a hundred goes above: 4.600."""

_QUANTILES = (0.5, 0.95)
"""Of the best scores, between which the curve is laid: above may be true matches, and the lower half says little of the
right tail. On labelled data, other ranges missed the false-accept rate that they promised:
benchmarks/calibration.py."""

_QUANTILES_OF_LIKE = (0.25, 0.75)  # the same for the library's own pictures and sounds, more of which have matches
NEAREST = 0.9999
"""What `stretch` takes cosines above it for: a float16 vector has about this cosine with itself."""

_LEAST_SCALE = 1e-3  # a float16 vector is no finer than this
_ALIKE = 1e-3  # the standard deviation of cosines below which queries are taken to be all the same
_BLOCK = 4096  # vectors that are held against a bank at once
_FEWEST = 8  # best scores that a curve can be laid through


@dataclass(frozen=True, slots=True)
class Null:
    """The Gumbel distribution of the best cosine among `size` vectors, for queries that nothing matches.

    Scores here are cosines less hubness; `stretched` ones were first brought through `stretch`. `mean`: the mean score
    of such a query and any vector. `least`: the least hubness of any vector, and `rest` the least of what is left of it
    without its linear part, -inf where that is not known: see `Hubs`.
    """

    location: float
    scale: float
    mean: float
    least: float
    rest: float
    size: int
    stretched: bool = False

    def __post_init__(self) -> None:
        if not (self.scale > 0 and math.isfinite(self.location) and self.size > 0):
            raise ValueError(f"a Gumbel distribution has a scale above 0 and is of something, got {self}")

    def among(self, size: int) -> Null:
        """The same for another number of vectors of the same kind."""
        size = max(size, 1)
        return replace(self, location=self.location + self.scale * math.log(size / self.size), size=size)

    def excess(self, scores: Floats, *, channels: int = 1) -> NDArray[np.float64]:
        """How far scores lie above chance, in units of the Gumbel scale: float64, of the shape of `scores`.

        Args:
            scores: cosines less hubness, of any shape.
            channels: how many channels the query is put to. The best of several has as many chances: Bonferroni's
                correction, which in these units is ln(channels).
        """
        return np.asarray((np.asarray(scores, np.float64) - self.location) / self.scale - math.log(channels))

    def score(self, excess: float, *, channels: int = 1) -> float:
        """The score that lies so far above chance: `excess` the other way round."""
        return (excess + math.log(channels)) * self.scale + self.location


def confidence(excess: Floats | float) -> NDArray[np.float64]:
    """The probability that a score so far above chance is a match: in (0, 1), one half at `OFFSET`."""
    return np.asarray(1 / (1 + np.exp(-np.clip(np.asarray(excess, np.float64) - OFFSET, -60, 60))))


def confidence_of(excess: float) -> float:
    """The same for one number, many times faster than NumPy."""
    return 1 / (1 + math.exp(-min(max(excess - OFFSET, -60.0), 60.0)))


class Hubs:
    """The hubness of one channel's vectors, by id: worked out when first asked for, and kept.

    Most of it is linear: what a vector scores against the bank as a whole. That part, its inner product with `lean`,
    can be taken from the query instead, so that an index gives vectors nearly in the order of their scores: see
    nearest.py.

    Args:
        bank: (q, dim) float32 of length 1, the background queries.
        stretched: whether cosines are stretched first.
    """

    def __init__(self, bank: Vectors, *, stretched: bool = False) -> None:
        self.bank, self.stretched = bank, stretched
        self._kept = np.empty((0, 2), np.float32)  # by id, hubness and its linear part; nan where they are not known

    @cached_property
    def lean(self) -> Vectors:
        """The vector whose inner products are the linear part: see `lean_of`."""
        return lean_of(self.bank, stretched=self.stretched)

    @cached_property
    def usual(self) -> float:
        """The hubness of the bank's own queries, on average."""
        return float(hubness(self.bank, self.bank, stretched=self.stretched).mean()) if len(self.bank) else 0.0

    def of(self, ids: Ids, vectors: Callable[[NDArray[np.intp]], Vectors]) -> NDArray[np.float64]:
        """What is taken off the scores of some vectors: (n,) float64.

        Args:
            ids: theirs, (n,) int64.
            vectors: gives those at some places of `ids`, (m, dim) float32, as they are compared with queries.
        """
        return self._known(ids, vectors)[:, 0].astype(np.float64)

    def linear(self, ids: Ids, vectors: Callable[[NDArray[np.intp]], Vectors]) -> NDArray[np.float64]:
        """The linear part of that: inner products with `lean`, (n,) float64."""
        return self._known(ids, vectors)[:, 1].astype(np.float64)

    def _known(self, ids: Ids, vectors: Callable[[NDArray[np.intp]], Vectors]) -> NDArray[np.float32]:
        if not len(ids):
            return np.empty((0, 2), np.float32)
        top = int(ids.max()) + 1
        kept = self._kept  # read once: another thread may put a shorter one in its place
        if len(kept) < top:  # threads may do this at once: what one of them loses is worked out again
            grown = np.full((max(top, 2 * len(kept)), 2), np.nan, np.float32)
            grown[: len(kept)] = kept
            self._kept = kept = grown
        found = kept[ids]
        missing = np.flatnonzero(np.isnan(found[:, 0]))
        if len(missing):
            for at in range(0, len(missing), _BLOCK):  # a row for each of the bank: all at once would fill memory
                block = missing[at : at + _BLOCK]
                some = vectors(block)
                found[block, 0] = hubness(some, self.bank, stretched=self.stretched)
                found[block, 1] = some @ self.lean
            for column in (1, 0):  # what is looked at to see whether both are there comes last
                kept[ids[missing], column] = found[missing, column]
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Background:
    """The null distribution of one query modality in one channel, and the hubness that goes with it."""

    null: Null
    hubs: Hubs


def fit(
    best: Floats,
    *,
    size: int,
    mean: float,
    least: float,
    rest: float,
    stretched: bool = False,
    quantiles: tuple[float, float] | None = None,
) -> Null | None:
    """The Gumbel distribution of best scores, from those in their upper middle.

    A bank is general, so that some of its queries do match something; these are at the top, and left out. Quantiles
    against reduced variates by least squares (Gumbel 1958, section 6.2: probability paper).

    Args:
        best: (q,) the best score that each background query found.
        size: among how many vectors.
        mean: the mean score.
        least: the least hubness.
        rest: the least of what is left of it without its linear part.
        stretched: whether scores were stretched.
        quantiles: between which of the best scores the curve is laid; by default, where it was found to fit.

    Returns:
        None when there are fewer than 8 scores to go by.
    """
    ordered = np.sort(np.asarray(best, np.float64))
    ordered = ordered[np.isfinite(ordered)]
    if len(ordered) < _FEWEST or size < 1:
        return None
    plotting = (np.arange(len(ordered)) + 0.5) / len(ordered)  # Hazen's positions
    low, high = quantiles or (_QUANTILES_OF_LIKE if stretched else _QUANTILES)
    inside = (plotting > low) & (plotting < high)
    reduced = -np.log(-np.log(plotting[inside]))
    scale, location = np.polyfit(reduced, ordered[inside], 1)
    return Null(float(location), max(float(scale), _LEAST_SCALE), mean, least, rest, size, stretched)


def centred(vectors: Vectors, mean: Vectors) -> Vectors:
    """Vectors less a mean, brought back to length 1: (n, dim) float32. Off by default."""
    moved: Vectors = vectors - mean
    moved /= np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return moved


def stretch(cosines: Floats) -> NDArray[np.float64]:
    """Fisher's z of cosines (Fisher 1915): arctanh, with 1 brought to 0.9999.

    Like things score up to 1, where cosines crowd: 0.98 and 0.99 are further apart than 0.58 and 0.59. What pictures
    and sounds are asked with is stretched, so that a copy stands out; for texts, plain cosines keep the promised rates.
    """
    return np.asarray(np.arctanh(np.clip(np.asarray(cosines, np.float64), -NEAREST, NEAREST)))


NEIGHBOURS, SHARE = 128, 0.75
"""Of `hubness`: how many of the bank count, and how much of their mean."""


def hubness(
    vectors: Vectors, bank: Vectors, *, k: int = NEIGHBOURS, alpha: float = SHARE, stretched: bool = False
) -> NDArray[np.float64]:
    """What nearest-neighbour normalisation takes off each item's scores: (n,) float64.

    alpha times the mean of an item's k highest cosines with a bank of queries (Chowdhury et al., "Nearest Neighbor
    Normalization Improves Multimodal Retrieval", EMNLP 2024, equation 2).

    Args:
        vectors: (n, dim) items.
        bank: (q, dim) background queries; k is lowered to half of them.
        k: neighbours in the bank.
        alpha: how much of their mean is taken off.
        stretched: whether cosines are stretched first.
    """
    scores: Floats = vectors @ bank.T
    k = max(1, min(k, scores.shape[1] // 2))
    nearest: Floats = np.partition(scores, scores.shape[1] - k, axis=1)[:, scores.shape[1] - k :]
    if stretched:
        nearest = stretch(nearest)
    return np.asarray(alpha * nearest.mean(axis=1), np.float64)


def lean_of(bank: Vectors, *, stretched: bool = False) -> Vectors:
    """The vector whose inner product with an item is about its hubness, but for a constant: (dim,) float32.

    The mean of the k nearest of a bank falls and rises with the mean of all of them, which is an inner product. For
    plain cosines it does so one to one; for stretched ones, as it does among the bank's own queries.
    """
    if not len(bank):
        return np.zeros(bank.shape[1], np.float32)
    mean: Vectors = bank.mean(axis=0, dtype=np.float64).astype(np.float32)
    if not stretched:
        return SHARE * mean
    along = (bank @ mean).astype(np.float64)
    apart = along - along.mean()
    spread = float(apart @ apart)
    alike = spread < _ALIKE**2 * len(bank)  # queries that are all the same tell no slope
    slope = SHARE if alike else float(apart @ hubness(bank, bank, stretched=True)) / spread
    return np.float32(slope) * mean


Backgrounds = Mapping[tuple[str, str], Background]
"""By (query modality, channel)."""
