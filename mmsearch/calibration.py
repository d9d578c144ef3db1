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
the range that matters, while the right tail of the Gumbel density falls as exp(-excess), Bayes' rule makes the log-odds
of a match *excess plus a constant*: a Platt curve (Platt 1999) whose slope is 1. `benchmarks/calibration.py` fits slope
and constant on labelled data, and finds slopes about 1 and constants about -4.6. Both are taken from theory: slope 1, constant
-4.6, so that a confidence of one half is the point that one background query in a hundred reaches.

Two steps of the literature are here as functions, and off because they do not pay on what was measured: centring by
the channel's mean, and nearest-neighbour normalisation (Chowdhury et al., EMNLP 2024), which lowers each item by what
it scores against the bank. docs/performance.md has the figures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.types import Vectors

Floats = NDArray[np.floating[Any]]

OFFSET = -math.log(-math.log(0.99))
"""The excess that the best score of one background query in a hundred goes above: 4.600."""

_QUANTILES = (0.5, 0.95)
"""Of the best scores, between which the curve is laid: above may be true matches, and the lower half says little of the
right tail. On labelled data, other ranges missed the false-accept rate that they promised: benchmarks/calibration.py."""

_LEAST_SCALE = 1e-3  # a float16 vector is no finer than this
_FEWEST = 8  # best scores that a curve can be laid through


@dataclass(frozen=True, slots=True)
class Null:
    """The Gumbel distribution of the best cosine among `size` vectors, for queries that nothing matches.

    `mean`: the mean cosine of such a query and any vector.
    """

    location: float
    scale: float
    mean: float
    size: int

    def __post_init__(self) -> None:
        if not (self.scale > 0 and math.isfinite(self.location) and self.size > 0):
            raise ValueError(f"a Gumbel distribution has a scale above 0 and is of something, got {self}")

    def among(self, size: int) -> Null:
        """The same for another number of vectors of the same kind."""
        size = max(size, 1)
        return Null(self.location + self.scale * math.log(size / self.size), self.scale, self.mean, size)

    def excess(self, scores: Floats, *, channels: int = 1) -> NDArray[np.float64]:
        """How far scores lie above chance, in units of the Gumbel scale: float64, of the shape of `scores`.

        Args:
            scores: cosines of any shape.
            channels: how many channels the query is put to. The best of several has as many chances: Bonferroni's
                correction, which in these units is ln(channels).
        """
        return np.asarray((np.asarray(scores, np.float64) - self.location) / self.scale - math.log(channels))


def confidence(excess: Floats | float) -> NDArray[np.float64]:
    """The probability that a score so far above chance is a match: in (0, 1), one half at `OFFSET`."""
    return np.asarray(1 / (1 + np.exp(-np.clip(np.asarray(excess, np.float64) - OFFSET, -60, 60))))


def fit(best: Floats, *, size: int, mean: float) -> Null | None:
    """The Gumbel distribution of best scores, from those between their median and their 95th percentile.

    A bank is general, so that some of its queries do match something; these are at the top, and left out. Quantiles
    against reduced variates by least squares (Gumbel 1958, section 6.2: probability paper).

    Args:
        best: (q,) the best score that each background query found.
        size: among how many vectors.
        mean: the mean score.

    Returns:
        None when there are fewer than 8 scores to go by.
    """
    ordered = np.sort(np.asarray(best, np.float64))
    ordered = ordered[np.isfinite(ordered)]
    if len(ordered) < _FEWEST or size < 1:
        return None
    plotting = (np.arange(len(ordered)) + 0.5) / len(ordered)  # Hazen's positions
    inside = (plotting > _QUANTILES[0]) & (plotting < _QUANTILES[1])
    reduced = -np.log(-np.log(plotting[inside]))
    scale, location = np.polyfit(reduced, ordered[inside], 1)
    return Null(float(location), max(float(scale), _LEAST_SCALE), mean, size)


def combined(nulls: Sequence[Null], weights: Sequence[float]) -> Null:
    """About the null distribution of a weighted sum of cosines.

    The parts' best scores do not fall on one item, so the location errs upwards, to the side of fewer false matches.

    Args:
        nulls: one for each part.
        weights: what each part's cosine is multiplied by.
    """
    location = sum(weight * null.location for weight, null in zip(weights, nulls, strict=True))
    scale = math.sqrt(sum((weight * null.scale) ** 2 for weight, null in zip(weights, nulls, strict=True)))
    mean = sum(weight * null.mean for weight, null in zip(weights, nulls, strict=True))
    return Null(location, max(scale, _LEAST_SCALE), mean, max(null.size for null in nulls))


def centred(vectors: Vectors, mean: Vectors) -> Vectors:
    """Vectors less a mean, brought back to length 1: (n, dim) float32. Off by default."""
    moved: Vectors = vectors - mean
    moved /= np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return moved


def hubness(vectors: Vectors, bank: Vectors, *, k: int = 128, alpha: float = 0.75) -> Vectors:
    """What nearest-neighbour normalisation takes off each item's scores: (n,) float32. Off by default.

    alpha times the mean of an item's k highest cosines with a bank of queries (Chowdhury et al., "Nearest Neighbor
    Normalization Improves Multimodal Retrieval", EMNLP 2024, equation 2).

    Args:
        vectors: (n, dim) items.
        bank: (q, dim) background queries; k is lowered to q.
        k: neighbours in the bank.
        alpha: how much of their mean is taken off.
    """
    scores = vectors @ bank.T
    k = min(k, scores.shape[1])
    nearest = np.partition(scores, scores.shape[1] - k, axis=1)[:, scores.shape[1] - k :]
    return np.asarray(alpha * nearest.mean(axis=1), np.float32)


def noisy_or(*chances: Floats | float) -> Floats:
    """The chance that at least one of several independent signals is right: 1 - prod(1 - p). A missing one is 0."""
    miss: Any = 1.0
    for chance in chances:
        miss = miss * (1 - np.asarray(chance, np.float64))
    return np.asarray(1 - miss)


Nulls = Mapping[tuple[str, str], Null]
"""The null distribution of each (query modality, channel)."""
