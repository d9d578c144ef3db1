"""Whether a heat map tells the truth: deletion and insertion (Petsiuk, Das and Saenko, "RISE", BMVC 2018, section 4.2).

*Deletion* takes a picture's parts away, the hottest first, and watches the score fall: the smaller the area under that
curve, the more the marked parts mattered. *Insertion* begins with a picture without details and brings its parts back,
the hottest first: the larger the area, the better. What is taken away is blurred, as in the paper's insertion, so that
no edges come in that were not there. The curves are brought to 1 for the whole picture and 0 for the blurred one, as
their heights would else depend on the query; a picture whose blurred form scores as high says nothing and has none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.types import Vectors
from mmsearch.explain.occlusion import blurred

Score = Callable[[list[NDArray[np.uint8]]], NDArray[np.float64]]
"""Scores of pictures, each (height, width, 3) uint8: (n,) float64."""


@dataclass(frozen=True, slots=True)
class Faithfulness:
    """Areas under the curves of `deletion` (lower is better) and `insertion` (higher is better), and the score's fall.

    `fall`: the whole picture's score less that of its blurred form, in the unit of the scores.
    """

    deletion: float
    insertion: float
    fall: float


def faithfulness(
    pixels: NDArray[np.uint8], heat: Vectors, score: Score, *, steps: int = 16, grid: int = 28
) -> Faithfulness:
    """Deletion and insertion of one picture.

    Args:
        pixels: (height, width, 3) uint8.
        heat: (h, w) float32, its map; brought to the grid by bilinear interpolation.
        score: scores pictures with what was asked.
        steps: parts that the picture is taken away in.
        grid: cells on each side that are taken away or kept as a whole.
    """
    blank = blurred(pixels)
    order = np.argsort(-resized(heat, grid, grid).ravel(), kind="stable")
    counts = np.linspace(0, len(order), steps + 1).round().astype(int)
    gone = []
    for count in counts:
        mask = np.zeros(grid * grid, bool)
        mask[order[:count]] = True
        gone.append(_stretched(mask.reshape(grid, grid), pixels.shape[:2])[..., None])
    deleted = score([np.where(mask, blank, pixels) for mask in gone])
    inserted = score([np.where(mask, pixels, blank) for mask in gone])
    fall = float(deleted[0] - deleted[-1])
    curves = [(values - deleted[-1]) / (fall or 1.0) for values in (deleted, inserted)]
    areas = [float(np.mean((curve[1:] + curve[:-1]) / 2)) for curve in curves]
    return Faithfulness(areas[0], areas[1], fall)


def random_heat(rng: np.random.Generator, size: int = 9) -> Vectors:
    """A map of nothing, as smooth as those of networks: (size, size) float32."""
    coarse = rng.normal(size=(max(2, size // 2), max(2, size // 2))).astype(np.float32)
    return resized(coarse, size, size)


def resized(heat: Vectors, height: int, width: int) -> Vectors:
    """A map at another size, by bilinear interpolation: (height, width) float32."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(heat, np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), np.float32)


def _stretched(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """A mask of cells as one of pixels: the nearest cell."""
    rows = np.arange(size[0]) * mask.shape[0] // size[0]
    columns = np.arange(size[1]) * mask.shape[1] // size[1]
    found: NDArray[np.bool_] = mask[rows[:, None], columns[None, :]]
    return found
