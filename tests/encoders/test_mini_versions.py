"""`mini` has two versions: libraries of the first go on answering, and say that there is a second."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from indexer.errors import ModelMismatchError, WeightsError
from indexer.types import ImageSample
from mmsearch import Engine
from mmsearch.encoders import mini_head, weights
from mmsearch.encoders.mini import IMAGE, NEWEST, MiniEncoder, advice_on
from mmsearch.encoders.mini_head import Head, in_8_bits

FIRST = "c21090e0d824b5b3"
"""The fingerprint that the first version always had: libraries are known by it."""
SECOND = "31bca98944f45ed4"
"""That of the second version, since its head was kept in half precision."""
ROOT = Path(__file__).parents[2]


def test_both_versions_have_the_fingerprints_that_they_always_had():
    assert MiniEncoder(version=1).spec.fingerprint == FIRST
    assert MiniEncoder().version == NEWEST == 2
    assert MiniEncoder().spec.fingerprint == SECOND
    assert MiniEncoder().spec.name == MiniEncoder(version=1).spec.name == "mini"


def test_a_version_is_found_by_its_fingerprint():
    assert MiniEncoder().in_version_of(FIRST).version == 1
    assert MiniEncoder(version=1).in_version_of(MiniEncoder().spec.fingerprint).version == 2
    assert MiniEncoder().in_version_of("0" * 16) is None
    quiet = MiniEncoder("off", version=1).spec
    assert MiniEncoder("off").in_version_of(quiet.fingerprint).version == 1
    assert MiniEncoder().in_version_of(quiet.fingerprint) is None


def test_a_head_in_8_bits_makes_the_vectors_that_libraries_have():
    """The fingerprint did not change when the head was brought to 8 bits, so the vectors may not either.

    They were made when it was in half precision, of the pictures in examples/media in the order of their names.
    """
    kept = np.load(ROOT / "tests/data/mini_half_precision.npy").astype(np.float32)
    pixels = [
        np.asarray(Image.open(path).convert("RGB")) for path in sorted((ROOT / "examples/media").glob("*/*.[jp][pn]g"))
    ]
    least = {}
    for version in (1, 2):
        encoder = MiniEncoder(version=version)
        made = encoder.encode(IMAGE, [encoder.prepare(IMAGE, ImageSample(picture)) for picture in pixels])
        assert made.shape == kept.shape == (15, 384)
        least[version] = (made * kept).sum(axis=1).min()
    assert least[2] > 0.9999
    assert least[1] < 0.99, "a head that adds nothing would pass"


def test_8_bits_are_off_by_half_a_step_at_most():
    matrix = np.random.default_rng(0).normal(size=(5, 300)).astype(np.float32)
    matrix[2] *= 1e-6
    matrix[3] = 0
    whole, steps = in_8_bits(matrix)
    assert whole.dtype == np.int8
    assert np.abs(whole).max(axis=1).tolist() == [127, 127, 127, 0, 127]
    assert steps.shape == (5,)
    assert (np.abs(whole * steps[:, None] - matrix) <= 0.501 * steps[:, None]).all()


@pytest.fixture
def old_library(tmp_path, photographs):
    """A library as the first version made it."""
    (tmp_path / "media").mkdir()
    for name in ("chelsea.png", "coffee.png", "rocket.jpg"):
        (tmp_path / "media" / name).write_bytes((photographs / name).read_bytes())
    with Engine.open(tmp_path / "library", model=MiniEncoder(version=1)) as engine:
        engine.index(tmp_path / "media")
    return tmp_path / "library"


@pytest.mark.parametrize("model", [None, "auto", "mini", MiniEncoder()])
def test_an_old_library_keeps_answering(old_library, photographs, model):
    with Engine.open(old_library, model=model) as engine:
        assert engine.encoder.spec.fingerprint == FIRST
        hits = engine.query("a cup of coffee", k=3).hits
        assert hits[0].path.endswith("coffee.png")
        assert engine.similar(photographs / "chelsea.png", k=1).hits[0].score == pytest.approx(1, abs=2e-3)
        again = old_library.parent / "media" / "again.png"
        again.write_bytes((photographs / "brick.png").read_bytes())
        assert engine.index().failed == 0
        assert "older version" in engine.advice()
        assert "mmsearch index --library NEW --model mini" in engine.status().advice


def test_another_model_is_still_refused(old_library):
    with pytest.raises(ModelMismatchError):
        Engine.open(old_library, model=MiniEncoder("off"))


def test_a_library_of_today_hears_nothing_of_it(tmp_path, photographs):
    with Engine.open(tmp_path / "library", model="mini") as engine:
        engine.index(photographs / "chelsea.png")
        assert engine.advice() is None
        assert engine.status().advice is None
    assert advice_on(MiniEncoder(version=1).spec) is not None


def test_the_head_adds_its_direction_to_the_labels_by_hand():
    rng = np.random.default_rng(0)
    tensors = {
        "mean": rng.random(1280, np.float32),
        "scale": rng.random(1280, np.float32),
        "first": rng.normal(size=(7, 1280)).astype(np.float32),
        "first_bias": rng.normal(size=7).astype(np.float32),
        "second": rng.normal(size=(384, 7)).astype(np.float32),
        "second_bias": rng.normal(size=384).astype(np.float32),
        "share": np.array([0.25, 0.0], np.float32),
    }
    features = 6 * rng.random((3, 1280), np.float32)
    labels = rng.normal(size=(3, 384)).astype(np.float32)
    labels /= np.linalg.norm(labels, axis=1, keepdims=True)
    made = Head.of(tensors).blended(features, labels)
    x = (np.sqrt(features.astype(np.float64)) - tensors["mean"]) * tensors["scale"]
    own = np.maximum(x @ tensors["first"].T + tensors["first_bias"], 0) @ tensors["second"].T + tensors["second_bias"]
    wanted = labels + 0.25 * own / np.linalg.norm(own, axis=1, keepdims=True)
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    np.testing.assert_allclose(made, wanted, atol=2e-6)
    np.testing.assert_array_equal(Head.of(tensors).blended(features[1:2], labels[1:2]), made[1:2])
    assert np.isfinite(Head.of(tensors).blended(-features, labels)).all()  # explanations step below 0
    assert Head.of(tensors).blended(features[:0], labels[:0]).shape == (0, 384)

    small = dict(tensors)
    for name in ("first", "second"):
        small[name], small[f"{name}_step"] = in_8_bits(tensors[name])
        np.testing.assert_allclose(getattr(Head.of(small), name), tensors[name], atol=0.02)
    assert ((Head.of(small).blended(features, labels) * made).sum(axis=1) > 0.9999).all()
    with pytest.raises(ValueError, match="do not fit"):
        Head.of({**tensors, "mean": tensors["mean"][:5]})
    with pytest.raises(KeyError, match="first_step"):
        Head.of({name: tensor for name, tensor in small.items() if name != "first_step"})


@pytest.mark.parametrize("damage", [lambda content: content[:1000], lambda content: content[:-1] + b"\0", None])
def test_a_damaged_head_is_named(tmp_path, monkeypatch, damage):
    path = tmp_path / "head"
    if damage is not None:
        path.write_bytes(damage(weights.HEAD_PATH.read_bytes()))
    monkeypatch.setattr(mini_head, "HEAD_PATH", path)
    with pytest.raises(WeightsError, match="install mmsearch again"):
        Head.load()
