"""How many tags are right: the shipped vocabulary on drawings with keywords, and on the demo's pictures.

Drawings: openclipart, by the rule of _openclipart.py, of authors that the head of `mini` learned nothing from, for both
of its versions. A label is right when one of its names, without a plural's "s", is among the picture's keywords or the
words of its title or keywords; a picture counts when any label is. Keywords leave much out (a drawing of a sports car
has "transport"), so all of these numbers are low by an unknown amount: of 18 labels that counted as wrong and were
looked at, five were right. The development split, with drawings of all authors, chose the sentences that labels are put
into, by version 1.

Demo: the photographs and drawings of examples/media, with labels of the vocabulary that were written down by hand. The
head learned from six of the eight drawings among them.

    python benchmarks/tags.py
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import numpy as np
from _measures import interval, percent, save, show
from _openclipart import keywords_of
from _sets import Items, bank, encoder, pictures
from numpy.typing import NDArray

from indexer.types import Vectors
from mmsearch import Engine
from mmsearch.calibration import Background, Hubs, confidence, fit, hubness
from mmsearch.encoders.mini import VERSIONS
from mmsearch.tags import SURE, excess_of
from mmsearch.vocabulary import TEMPLATES, Vocabulary, everyday, label_vectors

MEDIA = Path(__file__).parents[1] / "examples" / "media"
DEMO = {
    "photos/astronaut.jpg": {"astronaut", "person", "woman", "helmet", "rocket", "flag", "face"},
    "photos/bricks.jpg": {"brick wall", "pattern"},
    "photos/cameraman.jpg": {"man", "person", "camera", "coat", "grass", "field", "building", "tower"},
    "photos/cat.jpg": {"cat", "kitten", "animal", "face"},
    "photos/coffee.jpg": {"coffee", "cup", "spoon", "plate", "table"},
    "photos/galaxies.jpg": {"galaxy", "star", "night", "sky"},
    "photos/rocket.jpg": {"rocket", "night", "sky", "tower", "fire", "satellite"},
    "drawings/butterfly.png": {"butterfly", "animal", "drawing"},
    "drawings/guitar.png": {"guitar", "drawing"},
    "drawings/ladybird.png": {"ladybird", "beetle", "animal", "drawing"},
    "drawings/lighthouse.png": {"lighthouse", "tower", "building", "sea", "drawing"},
    "drawings/penguin.png": {"penguin", "bird", "animal", "cartoon", "drawing"},
    "drawings/pineapple.png": {"pineapple", "fruit", "food", "drawing"},
    "drawings/pizza.png": {"pizza", "food", "meal", "drawing"},
    "drawings/sailing.png": {"sailing boat", "boat", "ship", "sea", "drawing", "water"},
}


def stem(words: str) -> str:
    return " ".join(re.sub(r"(?<=[a-z]{3})s$", "", word) for word in words.lower().split())


def right_labels(items: Items, vocabulary: Vocabulary) -> NDArray[np.bool_]:
    """(pictures, labels): whether a label is among a picture's keywords or words."""
    found = np.zeros((len(items), len(vocabulary)), bool)
    for row, (path, title) in enumerate(zip(items.paths, items.titles, strict=True)):
        words = {stem(title)} | {stem(word) for word in re.findall("[a-z]+", title.lower())}
        for keyword in keywords_of(path):
            words |= {stem(keyword)} | {stem(word) for word in re.findall("[a-z]+", keyword)}
        found[row] = [any(stem(name) in words for name in names) for names in vocabulary.labels]
    return found


def labels_by(templates: tuple[str, ...]) -> Vectors:
    """The vocabulary's vectors with other sentences."""
    kept = dict(TEMPLATES)
    try:
        TEMPLATES["visual"] = templates  # type: ignore[index]
        vectors = label_vectors(everyday(), encoder(), "visual")
    finally:
        TEMPLATES.update(kept)  # type: ignore[attr-defined]
    assert vectors is not None
    return vectors


def at_depths(cosines: Vectors, right: NDArray[np.bool_]) -> dict[str, object]:
    order = np.argsort(-cosines, axis=1, kind="stable")
    ranked = np.take_along_axis(right, order, axis=1)
    return {
        "first label right, %": percent(interval(ranked[:, 0])),
        "of the first 3, %": percent(interval(ranked[:, :3].mean(axis=1))),
        "one of 5 right, %": percent(interval(ranked[:, :5].any(axis=1))),
    }


def drawings(version: int) -> dict[str, object]:
    items, vocabulary = pictures(version, held_out=True), everyday()
    right = right_labels(items, vocabulary)
    counted = right.any(axis=1)
    hubs = hubness(items.items, bank())
    best = items.items @ bank().T - hubs[:, None]
    null = fit(best.max(axis=0), size=len(items), mean=float(best.mean()), least=float(hubs.min()), rest=0.0)
    assert null is not None
    rows, result = [], {}
    for name, templates in (
        ("the label alone", ("{}",)),
        ("a photo of ...", ("a photo of {}",)),
        ("four sentences (as shipped)", TEMPLATES["visual"]),
    ):
        cosines = items.items @ labels_by(templates).T
        for split, of in (("development", items.development), ("test", ~items.development)):
            row = {"labels as": name, "split": split, **at_depths(cosines[of & counted], right[of & counted])}
            rows.append(row)
    chance = right[~items.development & counted]
    rows.append({"labels as": "random", "split": "test", **at_depths(
        np.random.default_rng(0).random(chance.shape, np.float32), chance)})  # fmt: skip
    title = f"Version {version}: {len(items)} drawings, {int(counted.sum())} with a label that is right"
    show(f"{title}, {len(vocabulary)} labels", rows)
    labels = labels_by(TEMPLATES["visual"])
    of = np.flatnonzero(~items.development & counted)
    sure = np.stack(
        [confidence(excess_of(items.items[row][None], labels, Background(null, Hubs(bank())))[0]) for row in of]
    )
    bands = []
    for low, high in ((0.05, 0.2), (0.2, 0.5), (SURE, 0.8), (0.8, 1.01)):
        inside = (sure >= low) & (sure < high)
        if inside.any():
            bands.append(
                {
                    "confidence": f"{low:.2f} to {min(high, 1.0):.2f}",
                    "labels": int(inside.sum()),
                    "labels for each picture": round(float(inside.sum() / len(of)), 3),
                    "mean confidence": round(float(sure[inside].mean()), 3),
                    "right by the keywords": round(float(right[of][inside].mean()), 3),
                }
            )
    show(f"Version {version}: confidence and share of right labels, {len(of)} drawings of the test split", bands)
    result.update(pictures=len(items), counted=int(counted.sum()), rows=rows, bands=bands)
    return result


def demo() -> dict[str, object]:
    unknown = {label for labels in DEMO.values() for label in labels} - set(everyday().names)
    assert not unknown, unknown
    first, top3, sure_right, sure = [], [], 0, 0
    rows = []
    with tempfile.TemporaryDirectory() as folder, Engine.open(Path(folder) / "library", model="mini") as engine:
        engine.index(MEDIA)
        for name, labels in DEMO.items():
            found = engine.tags(MEDIA / name, k=5)
            first.append(found.tags[0].label in labels)
            top3.append(np.mean([tag.label in labels for tag in found.tags[:3]]))
            sure += len(found.sure)
            sure_right += sum(tag.label in labels for tag in found.sure)
            told = ", ".join(f"{tag.label} {tag.confidence:.2f}" for tag in found.tags[:3])
            rows.append({"file": name, "labels": told})
    show(f"Demo: {len(DEMO)} pictures", rows)
    print(f"\nfirst label right {sum(first)} of {len(first)}; {100 * np.mean(top3):.0f} % of the first three; "
          f"of {sure} sure tags {sure_right} right")  # fmt: skip
    return {
        "first": sum(first),
        "pictures": len(first),
        "top3": float(np.mean(top3)),
        "sure": sure,
        "right": sure_right,
    }


def main() -> None:
    save("tags", {"drawings": {version: drawings(version) for version in VERSIONS}, "demo": demo()})


if __name__ == "__main__":
    main()
