"""Heat maps of any tower: parts of a picture are covered, and what that takes from its score is its heat.

Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014, section 4.2. A window of two cells
by two slides over a grid, one cell at a time and over the edges too, so that each cell is covered four times, with
four neighbourhoods; its heat is the mean of what these took. What covers is the picture's own mean colour.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from indexer.types import ImageSample, Vectors
from indexer.vectors import unit
from mmsearch.encoders.heat import HeatMaps

GRID = 8
"""Cells on each side: 81 pictures are encoded for one map."""

EncodePictures = Callable[[Sequence[ImageSample]], Vectors]
"""Vectors of pictures, (n, dim) float32 of any length but 0."""

_BATCH = 27


def occlusion(sample: ImageSample, targets: Vectors, encode: EncodePictures, *, grid: int = GRID) -> HeatMaps:
    """What covering each part of a picture takes from its scores.

    Args:
        sample: the picture.
        targets: (t, dim) float32; a score is the inner product of one of them with the picture's unit vector.
        encode: the tower.
        grid: cells on each side; fewer in a picture of fewer pixels.
    """
    pixels = sample.pixels
    rows, columns = min(grid, pixels.shape[0]), min(grid, pixels.shape[1])
    edges_y = np.linspace(0, pixels.shape[0], rows + 1).round().astype(int)
    edges_x = np.linspace(0, pixels.shape[1], columns + 1).round().astype(int)
    colour = pixels.reshape(-1, 3).mean(axis=0).round().astype(np.uint8)
    places = [(y, x) for y in range(-1, rows) for x in range(-1, columns)]

    def covered(place: tuple[int, int]) -> ImageSample:
        y, x = place
        copy = pixels.copy()
        copy[edges_y[max(y, 0)] : edges_y[min(y + 2, rows)], edges_x[max(x, 0)] : edges_x[min(x + 2, columns)]] = colour
        return ImageSample(copy)

    whole = unit(encode([sample]))[0] @ targets.T
    heat = np.zeros((len(targets), rows, columns), np.float32)
    for at in range(0, len(places), _BATCH):
        some = places[at : at + _BATCH]
        drops = whole - unit(encode([covered(place) for place in some]))[0] @ targets.T
        for (y, x), drop in zip(some, drops, strict=True):
            heat[:, max(y, 0) : y + 2, max(x, 0) : x + 2] += drop[:, None, None] / 4
    return HeatMaps(heat, "occlusion")


def blurred(pixels: NDArray[np.uint8], share: float = 0.08) -> NDArray[np.uint8]:
    """A picture without its details: blurred by this share of its longer side."""
    from PIL import Image, ImageFilter

    radius = share * max(pixels.shape[:2])
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)))
