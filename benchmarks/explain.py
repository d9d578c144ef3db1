"""Whether heat maps tell the truth: deletion and insertion on real pictures, against random parts.

`mini` (the version that ships, or --version 1), on the photographs that scikit-image carries, each with a question that
it answers, and on drawings of openclipart by authors that its head learned nothing from, each with its title. Drawings
are those whose title finds them among the first ten of these: a map of what the model does not see explains nothing. A
picture counts when blurring it costs at least 0.1 of its cosine. Areas are summed over pictures before they are divided
by the summed falls, so that a picture whose score hardly falls does not weigh as one whose score does (a ratio of
means); intervals resample pictures.

The reach of integrated Grad-CAM was chosen on the photographs, by version 1, so that the drawings are the fairer half.

What was measured of a picture is kept in benchmarks/results/cache, so that a run goes on where one ended; `--most N`
ends it after N new pictures.

    python benchmarks/explain.py [--photographs N] [--drawings N] [--most N] [--version N]
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
from _measures import save, show
from _openclipart import ROOT, read_pixels
from _sets import CACHE, bank, encoder, pictures
from numpy.typing import NDArray
from PIL import Image

from indexer.types import Encoder, ImageSample, TextSample, Vectors
from mmsearch.calibration import Background, Hubs, Null
from mmsearch.encoders.cam import derivatives, integrated_grad_cam
from mmsearch.encoders.mini import IMAGE, NEWEST, TEXT, MiniEncoder
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
RANDOM_MAPS = 2
STEPS = 6


def vectors_of(model: Encoder, samples: Sequence[ImageSample]) -> Vectors:
    return model.encode(IMAGE, [model.prepare(IMAGE, sample) for sample in samples])


def maps_of(model: MiniEncoder, pixels: NDArray[np.uint8], target: Vectors) -> dict[str, list[Vectors]]:
    """Maps of one picture by method; of random ones, several."""
    sample = ImageSample(pixels)
    tower = model._image_tower
    feature_map = tower._classifier.feature_map(tower.prepare(pixels))
    null = Null(0.0, 1.0, 0.0, 0.0, 0.0, 1)
    (vector,) = vectors_of(model, [sample])
    over = target_of(Approach(target, 1.0, "text"), Background(null, Hubs(bank())), vector)[None]
    rng = np.random.default_rng(0)
    side = feature_map.shape[1:]
    return {
        "integrated Grad-CAM, first half (what explain shows)": [model.heat_maps(IMAGE, sample, over).values[0]],
        "integrated Grad-CAM, whole way": [integrated_grad_cam(feature_map, tower._of_means, over, reach=1.0)[0]],
        "Grad-CAM": [derivatives(feature_map, tower._of_means, over)[:, 0].reshape(side).astype(np.float32)],
        "occlusion": [occlusion(sample, over, partial(vectors_of, model)).values[0]],
        "random": [random_heat(rng) for _ in range(RANDOM_MAPS)],
    }


def measured(model: MiniEncoder, pixels: NDArray[np.uint8], question: str) -> dict[str, list[Faithfulness]]:
    (target,) = model.encode(TEXT, [model.prepare(TEXT, TextSample(question))])

    def score(changed: list[NDArray[np.uint8]]) -> NDArray[np.float64]:
        vectors = vectors_of(model, [ImageSample(np.ascontiguousarray(one)) for one in changed])
        return np.asarray(vectors @ target, np.float64)

    found = maps_of(model, pixels, target)
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


def drawings(count: int, version: int) -> list[tuple[str, Callable[[], NDArray[np.uint8]]]]:
    """Drawings by authors that are held out, of those that their titles find, evenly spread over these."""
    items = pictures(version, held_out=True)
    scores = items.queries @ items.items.T
    ranks = (scores > np.diag(scores)[:, None]).sum(axis=1)
    found = np.flatnonzero(ranks < 10)
    chosen = found[np.linspace(0, len(found) - 1, min(count, len(found))).astype(int)]

    def read(path: str) -> NDArray[np.uint8]:
        picture = Image.fromarray(read_pixels(ROOT / "png" / path))
        picture.thumbnail((SIDE, SIDE))
        return np.asarray(picture)

    return [(items.titles[row], lambda path=items.paths[row]: read(path)) for row in chosen]


def summed(rows: list[dict[str, list[Faithfulness]]], name: str) -> dict[str, object]:
    """Deletion, insertion and their difference over pictures; and how far that lies over what explain shows.

    With 95 % intervals: pictures are drawn again, for both maps the same.
    """
    fall, deletion, insertion = _areas(rows, name)
    _, *shown = _areas(rows, next(iter(rows[0])))
    drawn = np.random.default_rng(0).integers(0, len(rows), (10_000, len(rows)))

    def ratio(area: NDArray[np.float64]) -> str:
        low, high = np.percentile(area[drawn].sum(axis=1) / fall[drawn].sum(axis=1), [2.5, 97.5])
        return f"{area.sum() / fall.sum():.3f} ({low:.3f} to {high:.3f})"

    return {
        "map": name,
        "deletion": round(deletion.sum() / fall.sum(), 3),
        "insertion": round(insertion.sum() / fall.sum(), 3),
        "insertion - deletion": ratio(insertion - deletion),
        "over the first row": ratio((insertion - deletion) - (shown[1] - shown[0])),
    }


def _areas(
    rows: list[dict[str, list[Faithfulness]]], name: str
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Of each picture: the score's fall, and the areas of deletion and insertion in its unit, (n,) each."""
    fall = np.array([row[name][0].fall for row in rows])
    deletion = np.array([np.mean([one.deletion * one.fall for one in row[name]]) for row in rows])
    insertion = np.array([np.mean([one.insertion * one.fall for one in row[name]]) for row in rows])
    return fall, deletion, insertion


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", type=int, default=len(PHOTOGRAPHS))
    parser.add_argument("--drawings", type=int, default=46)
    parser.add_argument("--most", type=int, default=1000)
    parser.add_argument("--version", type=int, default=NEWEST, help="of mini")
    asked = parser.parse_args()
    model = encoder(asked.version)
    results, left = {}, asked.most
    for title, cases in (
        ("Photographs", photographs()[: asked.photographs]),
        ("Drawings", drawings(asked.drawings, asked.version)),
    ):
        rows = []
        for question, read in cases:
            named = f"{model.spec.fingerprint} {STEPS} {RANDOM_MAPS} {question}"
            place = CACHE / f"explain-{hashlib.sha256(named.encode()).hexdigest()[:16]}.json"
            if not place.exists():
                if not left:
                    continue
                left -= 1
                values = {
                    name: [asdict(one) for one in some] for name, some in measured(model, read(), question).items()
                }
                CACHE.mkdir(parents=True, exist_ok=True)
                place.write_text(json.dumps(values))
            row = {n: [Faithfulness(**one) for one in some] for n, some in json.loads(place.read_text()).items()}
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
