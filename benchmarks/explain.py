"""Whether heat maps tell the truth: deletion and insertion on real pictures, against random parts.

`mini`, on the photographs that scikit-image carries, each with a question that it answers, and on drawings of
openclipart's test split, each with its title. Drawings are those whose title finds them among the first ten of the
split: a map of what the model does not see explains nothing. A picture counts when blurring it costs at least 0.1 of
its cosine. Areas are summed over pictures before they are divided by the summed falls, so that a picture whose score
hardly falls does not weigh as one whose score does (a ratio of means); intervals resample pictures.

The reach of integrated Grad-CAM was chosen on the photographs, so that the drawings are the fairer half.

    python benchmarks/explain.py [--drawings N]
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
from _measures import save, show
from _openclipart import ROOT, read_pixels
from _sets import bank, encoder, pictures
from numpy.typing import NDArray
from PIL import Image

from indexer.types import ImageSample, TextSample, Vectors
from mmsearch.calibration import Background, Hubs, Null
from mmsearch.encoders.cam import derivatives, integrated_grad_cam
from mmsearch.encoders.mini import IMAGE, TEXT
from mmsearch.explain.faithfulness import Faithfulness, faithfulness, random_heat
from mmsearch.explain.occlusion import occlusion
from mmsearch.explain.pictures import target_of
from mmsearch.readings import Approach

PHOTOGRAPHS = {
    "astronaut.png": "an astronaut", "camera.png": "a camera on a tripod", "chelsea.png": "a cat",
    "clock_motion.png": "a clock", "coffee.png": "a cup of coffee", "coins.png": "coins", "horse.png": "a horse",
    "hubble_deep_field.jpg": "galaxies in space", "motorcycle_left.png": "a motorcycle", "page.png": "a page of text",
    "rocket.jpg": "a rocket launch", "brick.png": "a brick wall",
}  # fmt: skip
SIDE = 400
LEAST_FALL = 0.1
RANDOM_MAPS = 3
STEPS = 8


def vectors_of(samples: list[ImageSample]) -> Vectors:
    return encoder().encode(IMAGE, [encoder().prepare(IMAGE, sample) for sample in samples])


def maps_of(pixels: NDArray[np.uint8], target: Vectors) -> dict[str, list[Vectors]]:
    """Maps of one picture by method; of random ones, several."""
    sample = ImageSample(pixels)
    tower = encoder()._image_tower
    feature_map = tower._classifier.feature_map(tower.prepare(pixels))
    null = Null(0.0, 1.0, 0.0, 0.0, 1)
    (vector,) = vectors_of([sample])
    over = target_of(Approach(target, 1.0, "text"), Background(null, Hubs(bank())), vector)[None]
    rng = np.random.default_rng(0)
    side = feature_map.shape[1:]
    return {
        "integrated Grad-CAM, first half (what explain shows)": [encoder().heat_maps(IMAGE, sample, over).values[0]],
        "the same, of the cosine alone": [integrated_grad_cam(feature_map, tower._of_means, target[None])[0]],
        "integrated Grad-CAM, whole way": [integrated_grad_cam(feature_map, tower._of_means, over, reach=1.0)[0]],
        "Grad-CAM": [derivatives(feature_map, tower._of_means, over)[:, 0].reshape(side).astype(np.float32)],
        "occlusion": [occlusion(sample, over, vectors_of).values[0]],
        "random": [random_heat(rng) for _ in range(RANDOM_MAPS)],
    }


def measured(pixels: NDArray[np.uint8], question: str) -> dict[str, list[Faithfulness]]:
    (target,) = encoder().encode(TEXT, [encoder().prepare(TEXT, TextSample(question))])

    def score(changed: list[NDArray[np.uint8]]) -> NDArray[np.float64]:
        return np.asarray(vectors_of([ImageSample(np.ascontiguousarray(one)) for one in changed]) @ target, np.float64)

    found = maps_of(pixels, target)
    return {name: [faithfulness(pixels, heat, score, steps=STEPS) for heat in some] for name, some in found.items()}


def photographs() -> list[tuple[str, Callable[[], NDArray[np.uint8]]]]:
    spec = importlib.util.find_spec("skimage")
    folder = Path(spec.origin).parent / "data"

    def read(name: str) -> NDArray[np.uint8]:
        with Image.open(folder / name) as opened:
            picture = opened.convert("RGB")
        picture.thumbnail((SIDE, SIDE))
        return np.asarray(picture)

    return [(question, lambda name=name: read(name)) for name, question in PHOTOGRAPHS.items()]


def drawings(count: int) -> list[tuple[str, Callable[[], NDArray[np.uint8]]]]:
    """Drawings of the test split that their titles find, evenly spread over these."""
    items = pictures()
    rows = np.flatnonzero(~items.development)
    scores = items.queries[rows] @ items.items[rows].T
    ranks = (scores > np.diag(scores)[:, None]).sum(axis=1)
    found = rows[ranks < 10]
    chosen = found[np.linspace(0, len(found) - 1, min(count, len(found))).astype(int)]

    def read(path: str) -> NDArray[np.uint8]:
        picture = Image.fromarray(read_pixels(ROOT / "png" / path))
        picture.thumbnail((SIDE, SIDE))
        return np.asarray(picture)

    return [(items.titles[row], lambda path=items.paths[row]: read(path)) for row in chosen]


def summed(rows: list[dict[str, list[Faithfulness]]], name: str) -> dict[str, object]:
    """Deletion, insertion and their difference over pictures, with a 95 % interval of the difference."""
    fall = np.array([row[name][0].fall for row in rows])
    deletion = np.array([np.mean([one.deletion * one.fall for one in row[name]]) for row in rows])
    insertion = np.array([np.mean([one.insertion * one.fall for one in row[name]]) for row in rows])
    drawn = np.random.default_rng(0).integers(0, len(rows), (10_000, len(rows)))
    spread = (insertion - deletion)[drawn].sum(axis=1) / fall[drawn].sum(axis=1)
    low, high = np.percentile(spread, [2.5, 97.5])
    difference = (insertion.sum() - deletion.sum()) / fall.sum()
    return {
        "map": name,
        "deletion": round(deletion.sum() / fall.sum(), 3),
        "insertion": round(insertion.sum() / fall.sum(), 3),
        "insertion - deletion": f"{difference:.3f} ({low:.3f} to {high:.3f})",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drawings", type=int, default=24)
    asked = parser.parse_args()
    results = {}
    for title, cases in (("Photographs", photographs()), ("Drawings", drawings(asked.drawings))):
        rows = []
        for question, read in cases:
            row = measured(read(), question)
            if next(iter(row.values()))[0].fall >= LEAST_FALL:
                rows.append(row)
        if not rows:
            continue
        table = [summed(rows, name) for name in rows[0]]
        results[title] = {"pictures": len(rows), "of": len(cases), "rows": table}
        show(f"{title}: {len(rows)} of {len(cases)} whose score falls by {LEAST_FALL} or more", table)
    save("explain", results)


if __name__ == "__main__":
    main()
