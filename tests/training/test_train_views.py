"""`--views`: other views of the pictures that are learned from, mirrored and cropped."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image
from typer.testing import CliRunner

from indexer.testing import FakeEncoder
from indexer.types import ImageSample, Sample, TowerSpec
from mmsearch import Engine
from mmsearch.cli import app
from mmsearch.training.fit import FitOptions, PairVectors, fit
from mmsearch.training.gather import gather
from mmsearch.training.pairs import read_pairs
from mmsearch.training.trial import run_trial


class Watched(FakeEncoder):
    """Remembers the pictures that it was shown."""

    def __init__(self) -> None:
        super().__init__(max_tokens=64)
        self.seen: list[np.ndarray] = []

    def prepare(self, tower: TowerSpec, sample: Sample) -> Any:
        if isinstance(sample, ImageSample):
            self.seen.append(sample.pixels)
        return super().prepare(tower, sample)


def speckled(zoo, count: int = 3) -> list[np.ndarray]:
    """Pictures no part of which is like another, 40 x 60 pixels, with a caption each beside them."""
    zoo.media.mkdir()
    pictures = [np.random.default_rng(at).integers(1, 255, (40, 60, 3), np.uint8) for at in range(count)]
    for at, pixels in enumerate(pictures):
        Image.fromarray(pixels).save(zoo.media / f"{at}.png")
        (zoo.media / f"{at}.txt").write_text("cat dog bird"[: 3 + 4 * at])
    return pictures


def place_in(part: np.ndarray, whole: np.ndarray) -> bool:
    """Whether a picture is a rectangle of another, pixel for pixel."""
    rows, columns = part.shape[:2]
    return any(
        np.array_equal(part, whole[top : top + rows, left : left + columns])
        for top in range(whole.shape[0] - rows + 1)
        for left in range(whole.shape[1] - columns + 1)
    )


def test_views_are_the_picture_mirrored_and_cropped(zoo):
    pictures = speckled(zoo)
    encoder = Watched()
    with Engine.open(zoo.library, model=encoder) as engine:
        engine.index(zoo.media)
        encoder.seen.clear()
        (visual,), lines = gather(engine._library, engine.encoder, read_pairs(zoo.media).pairs, views=4)
    assert lines == []
    assert len(encoder.seen) == 4 * len(pictures)
    for number, pixels in enumerate(encoder.seen):
        whole = pictures[number // 4]
        assert number % 4 or np.array_equal(pixels, whole[:, ::-1])
        assert place_in(pixels, whole[:, ::-1] if number % 2 == 0 else whole)
        assert 0.69 * 40 <= len(pixels) <= 40
        assert abs(pixels.shape[1] / pixels.shape[0] - 60 / 40) < 0.05
        mean = pixels.reshape(-1, 3).mean(axis=0)
        np.testing.assert_allclose(
            visual.views[number % 4, number // 4, :3], mean / np.linalg.norm(mean), rtol=0, atol=1e-5
        )
    assert visual.views.shape == (4, *visual.vectors.items.shape)
    assert len({pixels.tobytes() for pixels in encoder.seen}) == len(encoder.seen)


def test_the_command_encodes_so_many_views_of_each_picture(zoo, monkeypatch):
    pairs = zoo.pairs()
    with zoo.engine() as engine:
        engine.index(zoo.media)
    opened = Engine.open
    monkeypatch.setattr(Engine, "open", staticmethod(lambda path, **how: opened(path, **{**how, "model": zoo.encoder})))
    quick = ("--epochs", "30", "--rate", "0.01", "--decay", "0.01", "--batch", "32")

    def train(*more: str):
        return CliRunner().invoke(app, ["train", str(pairs), "--library", str(zoo.library), *quick, *more])

    before = zoo.encoder.encoded["image"]
    done = train("--views", "2")
    assert done.exit_code == 0, done.output
    assert zoo.encoder.encoded["image"] == before + 2 * 120
    assert "recall at 10" in done.output
    with zoo.engine() as engine:
        assert engine.status().adapter is not None
    assert train("--views", "17", "--dry-run").exit_code == 2


def test_a_picture_that_is_gone_is_passed_over(zoo):
    speckled(zoo)
    with zoo.engine() as engine:
        engine.index(zoo.media)
        pairs = read_pairs(zoo.media).pairs
        (zoo.media / "1.png").unlink()
        (visual,), lines = gather(engine._library, engine.encoder, pairs, views=2)
    assert visual.views.shape[:2] == (2, 2)
    assert len(lines) == 1
    assert lines[0].startswith("1 pair was passed over")


def made_up(count: int, seed: int) -> tuple[PairVectors, np.ndarray]:
    """Pairs that agree in 6 directions of 30; in the others, an item has what its view happens to add.

    Gives the pairs, and (8, count, 30) other views of the items.
    """
    rng = np.random.default_rng(seed)
    meant = rng.normal(size=(count, 6))
    queries = np.concatenate([meant, rng.normal(size=(count, 24))], axis=1)
    views = np.concatenate([np.repeat(meant[None], 9, axis=0), rng.normal(size=(9, count, 24))], axis=2)
    queries, views = (
        (some / np.linalg.norm(some, axis=-1, keepdims=True)).astype(np.float32) for some in (queries, views)
    )
    ids = np.arange(count)
    return PairVectors(queries, views[0], ids, ids, np.zeros(count, np.bool_)), views[1:]


OPTIONS = FitOptions(epochs=25, rate=3e-2, decay=0.0, batch=32, rank=0, patience=25)


def test_views_teach_what_does_not_matter():
    recalls = []
    for seed in range(3):
        train, views = made_up(80, 10 * seed)
        validation, test = made_up(40, 10 * seed + 1)[0], made_up(100, 10 * seed + 2)[0]
        alone = run_trial(test, fit(train, validation, OPTIONS).matrix).recall
        varied = run_trial(test, fit(train, validation, OPTIONS, others=views).matrix).recall
        recalls.append((alone.before, alone.after, varied.after))
    before, after, with_views = np.mean(recalls, axis=0)
    assert with_views > after + 0.04
    assert with_views > before + 0.06


def test_views_that_show_the_same_change_nothing():
    train, views = made_up(60, 1)
    validation = made_up(60, 2)[0]
    quick = FitOptions(epochs=3, rate=1e-2, batch=32, rank=0)
    alone = fit(train, validation, quick)
    same = fit(train, validation, quick, others=np.stack([train.items, train.items]))
    assert same.history == alone.history
    np.testing.assert_array_equal(same.matrix, alone.matrix)
    assert fit(train, validation, quick, others=views).history != alone.history
