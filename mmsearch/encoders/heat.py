"""Heat maps: where in a picture a score comes from, as towers give them.

An encoder and a tower may each have a method `heat_maps`. One that has none, or that gives None, is asked with parts of
the picture covered instead: see `mmsearch.explain.occlusion`, which works for any tower.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from indexer.types import ImageSample, TowerSpec, Vectors

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, as shares of a picture's width and height. What is padded lies outside of [0, 1]."""


@dataclass(frozen=True, slots=True, eq=False)
class HeatMaps:
    """How much each part of one picture adds to its scores with some targets.

    `values`: (t, h, w) float32, a map for each target, of either sign; only proportions within a map count. `method`:
    how they were made, in words. `box`: which part of the picture they lie over.
    """

    values: Vectors
    method: str
    box: Box = (0.0, 0.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        if self.values.ndim != 3 or not self.values.size or not np.isfinite(self.values).all():
            raise ValueError(f"heat maps are (targets, height, width) numbers, got shape {self.values.shape}")


@runtime_checkable
class ExplainsPictures(Protocol):
    """An image tower that tells where its scores come from."""

    def heat_maps(self, sample: ImageSample, targets: Vectors) -> HeatMaps | None:
        """Maps of one picture, or None where this tower cannot tell.

        Args:
            sample: the picture.
            targets: (t, dim) float32 of any length. A score is the inner product of one of them with the picture's
                vector, brought to length 1.
        """


@runtime_checkable
class ExplainsTowers(Protocol):
    """An encoder whose image towers may tell where their scores come from."""

    def heat_maps(self, tower: TowerSpec, sample: ImageSample, targets: Vectors) -> HeatMaps | None:
        """The same through one of its towers."""
