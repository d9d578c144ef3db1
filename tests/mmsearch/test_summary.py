"""Key moments: the greedy choice against brute force, known scenes, and the command."""

import itertools
import json

import numpy as np
import pytest
from ascii_encoder import AsciiEncoder
from PIL import Image

from indexer.errors import UsageError
from indexer.items import Line
from indexer.testing import FakeEncoder
from mmsearch import Engine
from mmsearch.output.colours import ACCENT, MAT
from mmsearch.output.moments_sheet import _COVERED
from mmsearch.summary import _said, _similarities, key_frames

COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255)]


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def scenes(rng, lengths, dim=24, noise=0.15):
    """Frames of scenes: a direction each, and a little of their own."""
    directions = rng.normal(size=(len(lengths), dim))
    frames = [
        direction + noise * rng.normal(size=dim) * 2
        for direction, length in zip(directions, lengths, strict=True)
        for _ in range(length)
    ]
    return unit(np.array(frames)), np.repeat(np.arange(len(lengths)), lengths)


def covered(vectors, durations, chosen):
    return float((_similarities(vectors, vectors[list(chosen)]).max(axis=1) * durations).sum())


@pytest.mark.parametrize("seed", range(5))
def test_the_choice_is_nearly_the_best_there_is(seed):
    rng = np.random.default_rng(seed)
    vectors, durations = unit(rng.normal(size=(12, 6))), rng.uniform(0.5, 3, 12)
    chosen, gains = key_frames(vectors, durations, 3)
    best = max(covered(vectors, durations, some) for some in itertools.combinations(range(12), 3))
    assert covered(vectors, durations, chosen) == pytest.approx(sum(gains))
    assert sum(gains) >= (1 - 1 / np.e) * best
    assert sum(gains) >= 0.9 * best
    assert gains == sorted(gains, reverse=True)


def test_each_scene_gets_a_moment_however_short():
    rng = np.random.default_rng(7)
    lengths = [40, 3, 20, 4, 60, 3]
    vectors, scene = scenes(rng, lengths)
    chosen, _ = key_frames(vectors, np.ones(len(vectors)), 6)
    assert set(scene[chosen]) == set(range(6))
    uniform = np.linspace(0, len(vectors), 7)[:-1].astype(int)
    assert len(set(scene[uniform])) < 6


def test_enough_moments_are_taken_where_nobody_says():
    rng = np.random.default_rng(8)
    vectors, scene = scenes(rng, [10, 10, 10], noise=0.02)
    chosen, _ = key_frames(vectors, np.ones(30), None)
    assert sorted(scene[chosen]) == [0, 1, 2]
    same = np.repeat(vectors[:1], 30, axis=0)
    assert len(key_frames(same, np.ones(30), None)[0]) == 1


def test_more_moments_than_frames_are_all_frames():
    vectors = unit(np.random.default_rng(0).normal(size=(3, 5)))
    chosen, _ = key_frames(vectors, np.ones(3), 10)
    assert sorted(chosen) == [0, 1, 2]


@pytest.fixture
def video(tmp_path, make, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = [colour for colour, seconds in zip(COLOURS, (6, 1, 4, 1, 3), strict=True) for _ in range(seconds)]
    make.image(tmp_path / "media" / "red.png", (255, 0, 0))
    return make.video(tmp_path / "media" / "clip.mp4", shown, ["cat"] * 3 + [None] * 12)


def test_a_video_is_summed_up_by_its_scenes(video, tmp_path):
    with Engine.open(tmp_path / "library", model=FakeEncoder()) as engine:
        engine.index(tmp_path / "media")
        images = engine.encoder.encoded["image"]
        found = engine.summary(video, 5)
        assert engine.encoder.encoded["image"] == images
        starts = [moment.start_seconds for moment in found.moments]
        assert starts == sorted(starts)
        scene_of = np.repeat(range(5), (6, 1, 4, 1, 3))
        assert [int(scene_of[int(start)]) for start in starts] == [0, 1, 2, 3, 4]
        assert [moment.stands_for for moment in found.moments] == pytest.approx([6, 1, 4, 1, 3], abs=0.01)
        assert sum(moment.gain for moment in found.moments) == pytest.approx(1)
        assert found.coverage > 0.95
        assert found.duration_seconds == pytest.approx(15, abs=0.2)
        with pytest.raises(UsageError, match=r"made of the frames of a video, and .* has none: its kind is image"):
            engine.summary(tmp_path / "media" / "red.png")
        with pytest.raises(UsageError, match="at least one moment"):
            engine.summary(video, 0)
        with pytest.raises(UsageError, match="there is no file at"):
            engine.summary(tmp_path / "never.mp4")


def test_a_line_belongs_to_the_moment_that_has_most_of_it():
    speech = [Line("speech", *span) for span in ((0.0, 5.2, "a"), (5.2, 12.0, "b"), (12.0, 21.3, "c"))]
    assert [_said(speech, *span) for span in ((0.0, 6.0), (6.0, 12.0), (0.0, 12.0), (21.0, 23.0), (30.0, 31.0))] == [
        *("a", "b", "a b", "c"),
        None,
    ]


def test_lines_that_the_model_cannot_read_are_told_all_the_same(tmp_path, make):
    film = make.video(tmp_path / "media" / "film.mp4", [(255, 0, 0)] * 3 + [(0, 0, 255)] * 3, ["bread", "bread"])
    with Engine.open(tmp_path / "library", model=AsciiEncoder()) as engine:
        engine.index(tmp_path / "media")
        assert "хлеб" in {moment.text for moment in engine.summary(film, 2).moments}


def test_the_command_prints_and_draws(run, video):
    run("index", "media")
    code, out, err = run("summary", "media/clip.mp4", "--moments", "3", "-o", "sheet.png")
    assert (code, err) == (0, "mmsearch: drew sheet.png\n")
    first, *rows = out.splitlines()
    assert first.startswith("media/clip.mp4: 3 moments cover ")
    assert len(rows) == 3
    with Image.open("sheet.png") as sheet:
        assert sheet.text["Software"] == "mmsearch summary"
        assert sheet.width == 2 * 36 + 3 * 320 + 2 * 20
    value = json.loads(run("summary", "media/clip.mp4", "--json")[1])
    assert list(value) == ["version", "path", "duration", "frames", "coverage", "moments"]
    assert set(value["moments"][0]) == {"start", "end", "gain", "stands_for", "text"}
    assert value["moments"][0]["text"] == "cat"


def test_the_bar_of_the_sheet_shows_as_much_as_is_covered(video, tmp_path):
    with Engine.open(tmp_path / "library", model=FakeEncoder()) as engine:
        engine.index(tmp_path / "media")
        some, whole = engine.summary(video, 1), engine.summary(video, 12)
    for found in (some, whole):
        seconds = sum((end - start) * share for start, end, share in found.covered)
        assert seconds / found.duration_seconds == pytest.approx(found.coverage, abs=0.02)
        bar = np.asarray(found.picture())[65, 36:-36]
        for start, end, share in found.covered:
            colour = bar[int((start + end) / 2 / found.duration_seconds * len(bar))]
            if start in {moment.start_seconds for moment in found.moments}:
                assert tuple(colour) == ACCENT
            else:
                assert colour == pytest.approx(np.array(MAT) + share * (np.array(_COVERED) - MAT), abs=1)
    assert any(0.1 < share < 1 for _, _, share in some.covered)
    assert whole.coverage > 0.95 > some.coverage


def test_a_video_that_went_is_drawn_with_blanks(video, tmp_path):
    with Engine.open(tmp_path / "library", model=FakeEncoder()) as engine:
        engine.index(tmp_path / "media")
        found = engine.summary(video, 12)
    video.unlink()
    assert found.picture().height > 200
