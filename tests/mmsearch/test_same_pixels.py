"""A picture is decoded in the same way when it is indexed and when it is asked with, so that it finds itself."""

from __future__ import annotations

import shutil

import numpy as np
from PIL import Image

from indexer.testing import FakeEncoder
from indexer.types import ImageSample
from mmsearch import Engine, Query


class Watching(FakeEncoder):
    """Keeps the pictures that it is shown."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def prepare(self, tower, sample):
        if isinstance(sample, ImageSample):
            self.seen.append(sample.pixels)
        return super().prepare(tower, sample)


def test_a_copy_elsewhere_shows_the_model_the_same_pixels(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (48, 32, 3), np.uint8)
    (tmp_path / "media").mkdir()
    # So large that it is scaled down in decoding, for a model that sees 8 pixels.
    Image.fromarray(noise).resize((800, 1200)).save(tmp_path / "media" / "noise.jpg")
    shutil.copy(tmp_path / "media" / "noise.jpg", tmp_path / "copy.jpg")
    encoder = Watching()
    with Engine.open(tmp_path / "library", model=encoder) as engine:
        engine.index(tmp_path / "media")
        (indexed,) = encoder.seen
        hit = engine.query(Query.of_image(tmp_path / "copy.jpg"))[0]
    assert len(encoder.seen) == 2
    np.testing.assert_array_equal(encoder.seen[1], indexed)
    assert hit.score > 0.9999
