"""The choices in the image tower of `mini`, measured: wording, temperature, labels, framing, centring.

Measured on the development split of openclipart (benchmarks/_openclipart.py: pictures that no reported number
uses), as recall of a title's own picture, and on four questions to the photographs of scikit-image's wheel:
how many bring the right file first, and the least distance in cosine between right and best wrong.

One thing is varied at a time around the shipped choice, and temperature and labels together.

    python benchmarks/mini_choices.py [--limit N] [--wordnet /usr/share/wordnet/data.noun] [--write-labels]

Hypernyms need WordNet 3.0's data.noun (Debian package wordnet-base); without it those wordings are skipped.
`--write-labels` writes mmsearch/encoders/imagenet_labels.txt from open_clip's names and timm's definitions.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from _openclipart import find_pictures, read_pixels
from numpy.typing import NDArray
from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES
from PIL import Image
from recall_openclipart import RESULTS, ranks_of_own

from mmsearch.encoders import efficientnet
from mmsearch.encoders.efficientnet import SIDE, Classifier
from mmsearch.encoders.images import LABELS_PER_IMAGE, TEMPERATURE, conse
from mmsearch.encoders.minilm import TextTower
from mmsearch.encoders.weights import LABELS_PATH

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

PHOTOGRAPHS = {
    "a cat": {"chelsea.png"},
    "a cup of coffee": {"coffee.png"},
    "a rocket launch": {"rocket.jpg"},
    "a motorcycle": {"motorcycle_left.png", "motorcycle_right.png"},
}
SHIPPED_WORDING = "name: definition"

# Hypernyms that say next to nothing of a picture.
# fmt: off
TOO_GENERAL = {
    "whole", "object", "physical entity", "entity", "matter", "abstraction", "organism", "living thing", "artifact",
    "instrumentality", "chordate", "vertebrate", "placental", "conveyance", "causal agent", "unit", "substance",
    "self-propelled vehicle", "wheeled vehicle", "device", "structure", "covering", "thing", "relation",
    "psychological feature", "attribute", "communication", "group", "measure", "system",
}
# fmt: on


def read_timm(name: str) -> dict[str, str]:
    lines = (files("timm.data") / "_info" / name).read_text().splitlines()
    return dict(line.split("\t") if "\t" in line else (line, "") for line in lines)


def read_hypernyms(path: Path) -> dict[str, list[str]]:
    """For each noun synset of WordNet's data.noun, the first word of each of its hypernyms, nearest first."""
    words: dict[str, str] = {}
    parents: dict[str, str] = {}
    for line in path.read_text(encoding="latin-1").splitlines():
        if not line.startswith(" "):
            fields = line.partition("|")[0].split()
            words[fields[0]] = fields[4].replace("_", " ")
            pointers = fields[4 + 2 * int(fields[3], 16) + 1 :]
            above = [pointers[i + 1] for i in range(0, len(pointers) - 3, 4) if pointers[i] in ("@", "@i")]
            if above:
                parents[fields[0]] = above[0]

    def climb(synset: str) -> Iterator[str]:
        while synset in parents:
            synset = parents[synset]
            yield words[synset]

    return {f"n{synset}": [word for word in climb(synset) if word not in TOO_GENERAL] for synset in words}


def make_wordings(wordnet: Path) -> dict[str, list[list[str]]]:
    """For each wording, the phrases of each class; a class's vector is the mean of theirs."""
    synsets = list(read_timm("imagenet_synsets.txt"))
    lemmas_of, definition_of = read_timm("imagenet_synset_to_lemma.txt"), read_timm("imagenet_synset_to_definition.txt")
    rows = [(n, lemmas_of[s].split(", "), definition_of[s]) for n, s in zip(IMAGENET_CLASSNAMES, synsets, strict=True)]
    wordings = {
        "name (OpenAI)": [[n] for n, _, _ in rows],
        "first lemma (WordNet)": [[lemmas[0]] for _, lemmas, _ in rows],
        "all lemmas in one text": [[", ".join(lemmas)] for _, lemmas, _ in rows],
        "a photo of a {name}": [[f"a photo of a {n}"] for n, _, _ in rows],
        "mean of name and lemmas": [[n, *lemmas] for n, lemmas, _ in rows],
        "name: definition": [[f"{n}: {d}"] for n, _, d in rows],
        "mean of name, definition": [[n, d] for n, _, d in rows],
        "mean of name, name: definition": [[n, f"{n}: {d}"] for n, _, d in rows],
        "mean of a photo of a {name}, name: definition": [[f"a photo of a {n}", f"{n}: {d}"] for n, _, d in rows],
        "mean of name and lemmas, name: definition": [[n, *lemmas, f"{n}: {d}"] for n, lemmas, d in rows],
    }
    if wordnet.is_file():
        hypernyms = read_hypernyms(wordnet)
        above = [hypernyms[s] for s in synsets]
        names = [row[0] for row in rows]
        wordings["name, hypernym"] = [[", ".join([n, *h[:1]])] for n, h in zip(names, above, strict=True)]
        for count in (1, 2, 3):
            wordings[f"mean of name, {count} hypernyms"] = [[n, *h[:count]] for n, h in zip(names, above, strict=True)]
    return wordings


def squash(pixels: Pixels) -> Pixels:
    return np.array(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def crop(pixels: Pixels, place: float = 0.5) -> Pixels:
    """The square of the shorter side, at 0 (top, left) to 1 (bottom, right)."""
    side = min(pixels.shape[:2])
    top, left = (round((size - side) * place) for size in pixels.shape[:2])
    return squash(pixels[top : top + side, left : left + side])


def letterbox(pixels: Pixels, colour: int) -> Pixels:
    height, width = pixels.shape[:2]
    side = max(height, width)
    square = np.full((side, side, 3), colour, dtype=np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = pixels
    return squash(square)


FRAMINGS: dict[str, list[Callable[[Pixels], Pixels]]] = {
    "squash": [squash],
    "centre crop": [crop],
    "letterbox, white": [lambda p: letterbox(p, 255)],
    "letterbox, grey": [lambda p: letterbox(p, 127)],
    "mean of both ends' crops": [lambda p: crop(p, 0.0), lambda p: crop(p, 1.0)],
    "mean of squash, centre crop": [squash, crop],
    "mean of squash, letterbox, white": [squash, lambda p: letterbox(p, 255)],
}


def average(logits: list[Floats]) -> Floats:
    """Logits of the mean of the probabilities."""
    exponents = [np.exp(row - row.max(axis=1, keepdims=True)) for row in logits]
    mean = np.mean([row / row.sum(axis=1, keepdims=True) for row in exponents], axis=0)
    return np.log(mean + 1e-12).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, help="take only the first N pictures by path")
    parser.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet/data.noun"))
    parser.add_argument("--write-labels", action="store_true", help="write the shipped labels and stop")
    arguments = parser.parse_args()
    wordings = make_wordings(arguments.wordnet)
    if arguments.write_labels:
        LABELS_PATH.write_text("".join(f"{phrases[0]}\n" for phrases in wordings[SHIPPED_WORDING]))
        return

    pictures = [picture for picture in find_pictures() if picture.split == "development"][: arguments.limit]
    skimage = find_spec("skimage")
    if skimage is None or skimage.origin is None:
        sys.exit("the photographs are needed: pip install scikit-image")
    folder = Path(skimage.origin).parent / "data"
    photographs = [p for p in sorted(folder.iterdir()) if p.suffix in {".png", ".jpg", ".gif"}]
    pixels = [read_pixels(path) for path in [*(p.path for p in pictures), *photographs]]

    classifier, tower = Classifier(), TextTower()
    titles = tower.encode_texts([picture.title for picture in pictures])
    questions = tower.encode_texts(PHOTOGRAPHS)
    names = [path.name for path in photographs]
    rows: list[dict[str, str | float]] = []

    def measure(group: str, name: str, vectors: Floats) -> None:
        ranks = ranks_of_own(titles, vectors[: len(pictures)])
        scores = questions @ vectors[len(pictures) :].T
        right = np.array([[name in good for name in names] for good in PHOTOGRAPHS.values()])
        margins = np.where(right, scores, -2).max(axis=1) - np.where(right, -2, scores).max(axis=1)
        row: dict[str, str | float] = {"group": group, "choice": name}
        row |= {f"recall@{depth}": float((ranks <= depth).mean()) for depth in (1, 5, 10)}
        row |= {"median_rank": float(np.median(ranks)), "mrr": float((1 / ranks).mean())}
        row |= {"photographs": int((margins > 0).sum()), "margin": float(margins.min())}
        rows.append(row)
        cells = [f"{row[f'recall@{depth}']:.1%}" for depth in (1, 5, 10)]
        print(
            f"| {group} | {name} | {' | '.join(cells)} | {row['median_rank']:.0f} | {row['mrr']:.3f}"
            f" | {row['photographs']} of {len(PHOTOGRAPHS)} | {row['margin']:+.2f} |",
            flush=True,
        )

    def vectors_of(phrases: list[list[str]]) -> Floats:
        flat = sorted({phrase for row in phrases for phrase in row})
        encoded = dict(zip(flat, tower.encode_texts(flat), strict=True))
        means = np.stack([np.mean([encoded[phrase] for phrase in row], axis=0) for row in phrases])
        return means / np.linalg.norm(means, axis=1, keepdims=True)

    print(f"{len(pictures)} pictures of the development split, {len(names)} photographs\n")
    print("| | choice | recall@1 | recall@5 | recall@10 | median rank | MRR | photographs | margin |")
    print("|---|---|---|---|---|---|---|---|---|")
    logits = classifier.logits([squash(p) for p in pixels])
    labels = vectors_of(wordings[SHIPPED_WORDING])
    shipped = conse(logits, labels, TEMPERATURE, LABELS_PER_IMAGE)
    for name, phrases in wordings.items():
        measure("wording", name, conse(logits, vectors_of(phrases), TEMPERATURE, LABELS_PER_IMAGE))
    for temperature in (0.5, 1.0, 1.5, 2.0):
        for count in (1, 5, 10, 20, 50, 1000):
            choice = f"temperature {temperature}, {count} labels"
            measure("labels", choice, conse(logits, labels, temperature, count))
    for name, framings in FRAMINGS.items():
        averaged = average([classifier.logits([framing(p) for p in pixels]) for framing in framings])
        measure("framing", name, conse(averaged, labels, TEMPERATURE, LABELS_PER_IMAGE))
    for share in (0.0, 0.25, 0.5, 1.0):
        centred = shipped - np.float32(share) * labels.mean(axis=0)
        centred /= np.linalg.norm(centred, axis=1, keepdims=True)
        measure("centring", f"less {share} of the mean label vector", centred)
    for mean, deviation in ((127.0, 128.0), (127.5, 127.5), (117.0, 58.0)):
        efficientnet.MEAN, efficientnet.STANDARD_DEVIATION = mean, deviation
        other = classifier.logits([squash(p) for p in pixels])
        measure("normalisation", f"({mean}, {deviation})", conse(other, labels, TEMPERATURE, LABELS_PER_IMAGE))
    RESULTS.mkdir(exist_ok=True)
    result = {"pictures": len(pictures), "shipped": [SHIPPED_WORDING, TEMPERATURE, LABELS_PER_IMAGE, "squash"]}
    (RESULTS / "mini_choices.json").write_text(json.dumps(result | {"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
