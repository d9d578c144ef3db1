"""`mini` has two versions: libraries of the first go on answering, and say that there is a second."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from indexer.errors import ModelMismatchError, WeightsError
from mmsearch import Engine
from mmsearch.encoders import mini_head, weights
from mmsearch.encoders.mini import NEWEST, MiniEncoder, advice_on
from mmsearch.encoders.mini_head import Head

FIRST = "c21090e0d824b5b3"
"""The fingerprint that the first version always had: libraries are known by it."""


def test_the_first_version_has_the_fingerprint_that_it_always_had():
    assert MiniEncoder(version=1).spec.fingerprint == FIRST
    assert MiniEncoder().version == NEWEST == 2
    assert MiniEncoder().spec.fingerprint != FIRST
    assert MiniEncoder().spec.name == MiniEncoder(version=1).spec.name == "mini"


def test_a_version_is_found_by_its_fingerprint():
    assert MiniEncoder().in_version_of(FIRST).version == 1
    assert MiniEncoder(version=1).in_version_of(MiniEncoder().spec.fingerprint).version == 2
    assert MiniEncoder().in_version_of("0" * 16) is None
    quiet = MiniEncoder("off", version=1).spec
    assert MiniEncoder("off").in_version_of(quiet.fingerprint).version == 1
    assert MiniEncoder().in_version_of(quiet.fingerprint) is None


def test_the_head_is_the_one_that_the_fingerprint_says():
    assert hashlib.sha256(weights.HEAD_PATH.read_bytes()).hexdigest() == weights.HEAD_SHA256
    assert weights.HEAD_PATH.stat().st_size <= 5_000_000


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


def test_a_damaged_head_is_named(tmp_path, monkeypatch):
    tensors = load_file(weights.HEAD_PATH)
    for name, broken in (("cut", None), ("shape", {**tensors, "mean": tensors["mean"][:5]}), ("gone", {})):
        path = tmp_path / name
        if broken is None:
            path.write_bytes(weights.HEAD_PATH.read_bytes()[:1000])
        else:
            save_file(broken, path)
        monkeypatch.setattr(mini_head, "HEAD_PATH", path)
        with pytest.raises(WeightsError, match="install mmsearch again"):
            Head.load()
    monkeypatch.setattr(mini_head, "HEAD_PATH", tmp_path / "nowhere")
    with pytest.raises(WeightsError):
        Head.load()
