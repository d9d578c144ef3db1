"""JPEG files of any size with natural content: pieces of the photographs that scikit-image carries.

Real photographs are needed because what a JPEG costs to decode depends on what it shows. They are enlarged where they
are too small, so a file of 12 megapixels has fewer bytes than a camera's, about 0.9 MB.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
from PIL import Image

NAMES = (
    *("astronaut.png", "brick.png", "chelsea.png", "coffee.png", "grass.png", "gravel.png", "hubble_deep_field.jpg"),
    *("motorcycle_left.png", "retina.jpg", "rocket.jpg"),
)
_DIFFERENT = 24  # pictures of one size; what follows are the same ones, as files of other bytes


def make_photographs(folder: Path, count: int, size: tuple[int, int]) -> list[Path]:
    """`count` JPEGs of (width, height), quality 80 to 95, no two of the same bytes; those that are there stay."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{at:05}.jpg" for at in range(count)]
    for at, path in enumerate(paths[:_DIFFERENT]):
        if not path.exists():
            rng = np.random.default_rng(at)
            _piece(rng, size).save(path, quality=int(rng.integers(80, 96)))
    for at, path in enumerate(paths):
        if not path.exists():  # what follows the end of a JPEG is not looked at, but is part of the file
            path.write_bytes(paths[at % _DIFFERENT].read_bytes() + at.to_bytes(4, "little"))
    return paths


def _piece(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        raise SystemExit("scikit-image is needed for its photographs: pip install scikit-image")
    image = Image.open(Path(spec.origin).parent / "data" / rng.choice(NAMES)).convert("RGB")
    scale = max(size[0] / image.width, size[1] / image.height) * rng.uniform(1, 1.6)
    width, height = size[0] / scale, size[1] / scale
    left, top = rng.uniform(0, image.width - width), rng.uniform(0, image.height - height)
    piece = image.resize(size, Image.Resampling.LANCZOS, box=(left, top, left + width, top + height))
    return piece.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else piece
