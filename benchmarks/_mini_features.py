"""Features of drawings in the image network of `mini`, kept on disk: how the pictures are varied, and how often.

A drawing is seen several times, each time differently: view 0 is the picture as `mini` takes it, on white; the others
have another background, crop, mirror image, small turn and colours, drawn from the view's own seed. What the network
gives for a view never changes, so a run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from _captioned import Captioned, Pixels, pixels_of
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter

from mmsearch.encoders.efficientnet import SIDE, Classifier

VERSION = 1  # of the views: counted up when they change
_BLOCK = 256  # drawings in a file of the cache

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """What the network gives for some drawings, all in one view. `pooled`: (n, 1280) float32."""

    pooled: Floats


def view_of(drawing: Pixels, view: int, seed: str) -> Pixels:
    """A drawing as one view shows it: (260, 260, 3) uint8.

    Args:
        drawing: (height, width, 4) uint8.
        view: 0 for the drawing on white.
        seed: what the choices hang on, beside the view.
    """
    image = Image.fromarray(drawing)
    if view == 0:
        white = Image.new("RGBA", image.size, "white")
        return _square(Image.alpha_composite(white, image).convert("RGB"))
    digest = hashlib.sha256(f"{VERSION} {view} {seed}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    image = _placed(image, rng)
    picture = Image.alpha_composite(_ground(image.size, rng), image).convert("RGB")
    for enhance, spread in ((ImageEnhance.Color, 0.4), (ImageEnhance.Brightness, 0.2), (ImageEnhance.Contrast, 0.25)):
        picture = enhance(picture).enhance(float(rng.uniform(1 - spread, 1 + spread)))
    if rng.random() < 0.1:
        picture = picture.convert("L").convert("RGB")
    if rng.random() < 0.2:
        picture = picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.5, 1.5))))
    return _square(picture)


def _square(picture: Image.Image) -> Pixels:
    """As `ImageTower.prepare` does it."""
    return np.array(picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC, reducing_gap=3.0))


def _placed(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The drawing turned a little, larger than the frame or smaller, somewhere in it."""
    image = image.rotate(float(rng.normal(0, 6)), Image.Resampling.BICUBIC, expand=True)
    scale = float(np.exp(rng.uniform(np.log(0.6), np.log(1.2))))
    stretch = float(np.exp(rng.normal(0, 0.08)))
    width, height = max(8, round(image.width * scale * stretch)), max(8, round(image.height * scale / stretch))
    frame = Image.new("RGBA", image.size, (0, 0, 0, 0))
    left = round((image.width - width) * rng.uniform(0.2, 0.8))
    top = round((image.height - height) * rng.uniform(0.2, 0.8))
    frame.paste(image.resize((width, height), Image.Resampling.BICUBIC), (left, top))
    return frame


def _ground(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """What lies behind: white, one colour, or a wash from one colour to another with some grain."""
    chance = rng.random()
    if chance < 0.35:
        return Image.new("RGBA", size, "white")
    first, last = rng.integers(60, 256, 3), rng.integers(60, 256, 3)
    if chance < 0.6:
        return Image.new("RGBA", size, (int(first[0]), int(first[1]), int(first[2]), 255))
    angle = rng.uniform(0, 2 * np.pi)
    down, across = np.mgrid[0 : size[1], 0 : size[0]]
    ramp = np.cos(angle) * across / size[0] + np.sin(angle) * down / size[1]
    ramp = (ramp - ramp.min()) / max(float(np.ptp(ramp)), 1e-6)
    wash = first + ramp[..., None] * (last - first)
    wash = wash + rng.normal(0, rng.uniform(0, 20), (size[1], size[0], 1))
    return Image.fromarray(np.clip(wash, 0, 255).astype(np.uint8)).convert("RGBA")


def pooled_of(drawings: Sequence[Captioned], view: int, cache: Path, deadline: float | None = None) -> Floats | None:
    """The features of drawings in one view, (n, 1280) float32; None when the deadline came before the end.

    Args:
        drawings: which.
        view: how they are shown.
        cache: a folder that keeps what was worked out.
        deadline: of `time.monotonic`; what is not done by then is left for another run.
    """
    classifier = Classifier()
    cache.mkdir(parents=True, exist_ok=True)
    parts = []
    for at in range(0, len(drawings), _BLOCK):
        some = drawings[at : at + _BLOCK]
        names = "\n".join([f"{VERSION} {view}", *(drawing.key for drawing in some)])
        path = cache / f"{hashlib.sha256(names.encode()).hexdigest()[:20]}.npy"
        if not path.exists():
            if deadline is not None and time.monotonic() > deadline:
                return None
            with ThreadPoolExecutor(2) as pool:
                pictures = list(pool.map(lambda drawing: view_of(pixels_of(drawing), view, drawing.key), some))
            temporary = path.with_suffix(".tmp")
            with temporary.open("wb") as file:
                np.save(file, classifier.means(pictures).astype(np.float16))
            temporary.rename(path)
        parts.append(np.load(path))
    return np.concatenate(parts).astype(np.float32)
