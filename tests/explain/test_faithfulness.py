"""Deletion and insertion: the measure itself, and what maps of real photographs reach by it."""

import numpy as np
import pytest
from PIL import Image

from indexer.types import ImageSample, TextSample
from mmsearch.explain.faithfulness import faithfulness, random_heat, resized


def disc(size=64):
    """A white disc on black, and a map that marks it."""
    y, x = np.mgrid[:size, :size]
    inside = (y - 20) ** 2 + (x - 40) ** 2 < 12**2
    return np.where(inside[..., None], 255, 0).astype(np.uint8).repeat(3, axis=2), inside.astype(np.float32)


def brightness(pictures):
    return np.array([picture.max() / 255 + picture[8:32, 28:52].mean() / 255 for picture in pictures])


def test_marking_the_right_part_wins_on_both_counts():
    pixels, heat = disc()
    right = faithfulness(pixels, heat, brightness)
    wrong = faithfulness(pixels, 1 - heat, brightness)
    assert right.deletion < 0.25 < wrong.deletion
    assert wrong.insertion < 0.75 < right.insertion
    assert right.fall == wrong.fall > 0


def test_curves_begin_and_end_where_they_are_said_to():
    """With a score that counts unchanged cells, both curves are straight lines, and areas are one half."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (56, 56, 3), dtype=np.uint8)

    def unchanged(pictures):
        return np.array([(picture == pixels).all(axis=2).mean() for picture in pictures])

    found = faithfulness(pixels, random_heat(rng), unchanged)
    assert found.deletion == pytest.approx(0.5, abs=0.02)
    assert found.insertion == pytest.approx(0.5, abs=0.02)


def test_resizing_keeps_the_middle():
    heat = np.zeros((3, 3), np.float32)
    heat[1, 1] = 1
    large = resized(heat, 30, 30)
    assert large.argmax() in (14 * 30 + 14, 14 * 30 + 15, 15 * 30 + 14, 15 * 30 + 15)


CASES = {"coffee.png": "a cup of coffee", "rocket.jpg": "a rocket", "motorcycle_left.png": "a motorcycle"}


@pytest.fixture(scope="module")
def mini():
    from mmsearch.encoders import load_encoder

    return load_encoder("mini")


@pytest.mark.parametrize("name", CASES)
def test_maps_of_mini_beat_random_parts_on_photographs(mini, photographs, name):
    """Insertion less deletion, of the map and of random ones: by a wide margin, on what mini knows."""
    text, image = mini.spec.towers
    with Image.open(photographs / name) as opened:
        picture = opened.convert("RGB")
    picture.thumbnail((280, 280))
    pixels = np.asarray(picture)
    (target,) = mini.encode(text, [mini.prepare(text, TextSample(CASES[name]))])

    def score(pictures):
        prepared = [mini.prepare(image, ImageSample(np.ascontiguousarray(picture))) for picture in pictures]
        return (mini.encode(image, prepared) @ target).astype(np.float64)

    def worth(heat):
        found = faithfulness(pixels, heat, score, steps=5)
        return found.insertion - found.deletion

    found = mini.heat_maps(image, ImageSample(pixels), target[None])
    assert found.method == "integrated Grad-CAM"
    assert found.values.shape == (1, 9, 9)
    by_chance = [worth(random_heat(np.random.default_rng(seed))) for seed in range(3)]
    assert worth(found.values[0]) > np.mean(by_chance) + 0.3
