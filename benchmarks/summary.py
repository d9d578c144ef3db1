"""Key moments against uniform sampling: how many of a video's scenes do as many moments show?

Videos are put together from scenes that are known: a scene is a photograph or a drawing, its frames pieces of it
(a camera that moves a little), encoded by `mini`, one a second. A video has 4 to 12 scenes, whose lengths are drawn
from a log-normal distribution (a few long ones, many short ones), each from another picture. As many moments are chosen
as there are scenes, and a scene counts as shown when a moment lies in it. Uniform sampling takes the middles of as many
equal parts, which is what most players show.

    python benchmarks/summary.py [--videos N]
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

import numpy as np
from _measures import interval, plain, save, show
from _openclipart import ROOT, read_pixels
from _sets import encoder, kept, pictures
from numpy.typing import NDArray
from PIL import Image

from indexer.types import ImageSample, Vectors
from mmsearch.encoders.mini import IMAGE
from mmsearch.summary import _similarities, key_frames

PIECES = 8
DRAWINGS = 28
PHOTOGRAPHS = (
    *("astronaut.png", "brick.png", "camera.png", "chelsea.png", "clock_motion.png", "coffee.png", "coins.png"),
    *("grass.png", "horse.png", "hubble_deep_field.jpg", "moon.png", "motorcycle_left.png", "page.png", "rocket.jpg"),
)


def scenes() -> Vectors:
    """(scenes, PIECES, dim): the frames of each scene."""
    spec = importlib.util.find_spec("skimage")
    folder = Path(spec.origin).parent / "data"
    items = pictures()
    chosen = np.random.default_rng(3).permutation(len(items))[:DRAWINGS]
    paths = [folder / name for name in PHOTOGRAPHS] + [ROOT / "png" / items.paths[row] for row in chosen]

    def encoded() -> Vectors:
        rng = np.random.default_rng(0)
        samples = []
        for path in paths:
            if path.is_relative_to(ROOT):
                pixels = read_pixels(path)
            else:
                with Image.open(path) as opened:
                    pixels = np.asarray(opened.convert("RGB"))
            samples += [ImageSample(_piece(pixels, rng)) for _ in range(PIECES)]
        return encoder().encode(IMAGE, [encoder().prepare(IMAGE, sample) for sample in samples])

    vectors = kept("summary-scenes", [str(path) for path in paths], encoded)
    return vectors.reshape(len(paths), PIECES, -1)


def _piece(pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    share = rng.uniform(0.7, 0.95)
    height, width = (max(2, int(side * share)) for side in pixels.shape[:2])
    top, left = (
        int(rng.integers(0, side - part + 1)) for side, part in zip(pixels.shape, (height, width), strict=False)
    )
    brighter = pixels[top : top + height, left : left + width] * rng.uniform(0.85, 1.1)
    return np.ascontiguousarray(brighter.clip(0, 255).astype(np.uint8))


def video(pool: Vectors, rng: np.random.Generator) -> tuple[Vectors, NDArray[np.int_]]:
    """Frames, and the scene that each is of."""
    count = int(rng.integers(4, 13))
    lengths = np.maximum(2, rng.lognormal(2.0, 1.0, count).round().astype(int))
    shown = rng.permutation(len(pool))[:count]
    frames = [
        pool[picture, rng.integers(0, PIECES)]
        for picture, length in zip(shown, lengths, strict=True)
        for _ in range(length)
    ]
    return np.stack(frames), np.repeat(np.arange(count), lengths)


def farthest(vectors: Vectors, k: int) -> list[int]:
    """Farthest point first (Gonzalez 1985), from the first frame on."""
    chosen = [0]
    likeness = _similarities(vectors, vectors)
    while len(chosen) < k:
        chosen.append(int(np.argmin(likeness[:, chosen].max(axis=1))))
    return chosen


def medoids(vectors: Vectors, k: int, rng: np.random.Generator) -> list[int]:
    """k-medoids by alternation (Park and Jun 2009), the best of four random beginnings."""
    likeness = _similarities(vectors, vectors)
    best: tuple[float, list[int]] = (-np.inf, [])
    for _ in range(4):
        chosen = rng.permutation(len(vectors))[:k].tolist()
        for _ in range(30):
            nearest = likeness[:, chosen].argmax(axis=1)
            moved = []
            for at in range(k):
                own = np.flatnonzero(nearest == at)
                inner = likeness[np.ix_(own, own)].sum(axis=1)
                moved.append(int(own[inner.argmax()]) if len(own) else chosen[at])
            if moved == chosen:
                break
            chosen = moved
        best = max(best, (float(likeness[:, chosen].max(axis=1).sum()), chosen))
    return best[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=300)
    count = parser.parse_args().videos
    pool, rng = scenes(), np.random.default_rng(1)
    found: dict[str, list[float]] = {}
    own = []
    for _ in range(count):
        vectors, scene = video(pool, rng)
        k = int(scene.max()) + 1
        chosen = {
            "facility location (as shipped)": key_frames(vectors, np.ones(len(vectors)), k)[0],
            "k-medoids": medoids(vectors, k, rng),
            "farthest point first": farthest(vectors, k),
            "uniform": ((np.arange(k) + 0.5) / k * len(vectors)).astype(int).tolist(),
            "random": rng.permutation(len(vectors))[:k].tolist(),
        }
        for name, frames in chosen.items():
            found.setdefault(name, []).append(len(set(scene[frames].tolist())) / k)
        automatic, _ = key_frames(vectors, np.ones(len(vectors)), None)
        own.append((len(automatic), len(set(scene[automatic].tolist())) / k, k))
    rows = [{"moments by": name, "scenes shown": plain(interval(values))} for name, values in found.items()]
    show(f"{count} videos of 4 to 12 scenes, as many moments as scenes", rows)
    automatic = np.array(own)
    print(f"\nWithout a number: {automatic[:, 0].mean():.1f} moments for {automatic[:, 2].mean():.1f} scenes, "
          f"{100 * automatic[:, 1].mean():.0f} % of them shown")  # fmt: skip
    save("summary", {"videos": count, "rows": rows, "automatic": automatic.mean(axis=0).tolist()})


if __name__ == "__main__":
    main()
