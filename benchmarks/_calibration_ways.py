"""The ways to hold scores against chance that calibration.py compares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmsearch.calibration import OFFSET, centred, fit, hubness, stretch

Floats = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Way:
    """One way to hold scores against chance; the defaults are what mmsearch does for texts."""

    alpha: float = 0.75
    k: int = 128
    centre: bool = False
    stretched: bool = False
    each: bool = False  # each query less its own mean, over its own standard deviation
    less_mean: float = 0.0  # each query less its mean score, up to this cosine with the gallery's mean
    null: str = "Gumbel"
    quantiles: tuple[float, float] | None = None

    def scores(self, queries: Floats, items: Floats, background: Floats) -> Floats:
        if self.centre:
            queries = centred(queries, background.mean(axis=0))
            background = centred(background, background.mean(axis=0))
            items = centred(items, items.mean(axis=0))
        found = (queries @ items.T).astype(np.float64)
        if self.stretched:
            found = stretch(found)
        if self.alpha:
            found -= hubness(items, background, k=self.k, alpha=self.alpha, stretched=self.stretched)
        if self.less_mean:
            mean = items.mean(axis=0)
            found -= np.minimum(queries @ mean, self.less_mean * np.linalg.norm(mean))[:, None]
        if self.each:
            found -= found.mean(axis=1, keepdims=True)
            found /= found.std(axis=1, keepdims=True)
        return found

    def excess(self, scores: Floats, background: Floats) -> Floats:
        """Scores over chance, of which `OFFSET` should be what one background query in a hundred reaches."""
        best = background.max(axis=1)
        if self.null == "Gumbel":
            quantiles = self.quantiles or (0.5, 0.95)
            null = fit(best, size=background.shape[1], mean=0.0, least=0.0, rest=0.0, quantiles=quantiles)
            assert null is not None
            return null.excess(scores)
        if self.null == "normal":
            return (scores - best.mean()) / best.std() - 2.3263 + OFFSET
        if self.null == "the 99th percentile":
            return scores - np.quantile(best, 0.99) + OFFSET
        raise ValueError(self.null)


SHIPPED = Way()
VARIANTS = {
    "as shipped": SHIPPED,
    "raw cosine": Way(alpha=0),
    "centred": Way(alpha=0, centre=True),
    "centred, then NNN": Way(centre=True),
    "stretched (Fisher)": Way(stretched=True),
    "NNN, each query less its mean": Way(less_mean=1.0),
    "NNN, each query less its mean, up to a cosine of 0.3": Way(less_mean=0.3),
    "NNN, each query less its mean, up to a cosine of 0.2": Way(less_mean=0.2),
    "each query's own mean and deviation": Way(alpha=0, each=True),
    "NNN, then each query's own": Way(each=True),
    **{f"NNN alpha {alpha}": Way(alpha=alpha) for alpha in (0.25, 0.5, 1.0)},
    **{f"NNN k {k}": Way(k=k) for k in (8, 32, 165)},
    "normal instead of Gumbel": Way(null="normal"),
    "the 99th percentile instead of Gumbel": Way(null="the 99th percentile"),
    **{
        f"Gumbel from {low:g} to {high:g}": Way(quantiles=(low, high))
        for low, high in ((0.0, 1.0), (0.05, 0.75), (0.25, 0.75), (0.25, 0.95), (0.5, 0.9), (0.5, 0.98), (0.7, 0.98))
    },
}
