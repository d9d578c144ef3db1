from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from indexer.errors import ModelError
from indexer.types import AudioSample, ImageSample, ModelSpec, TextSample, TowerSpec
from mmsearch.encoders import EMBEDDED, MODELS, load_encoder, mini
from mmsearch.encoders.mini import IMAGE, TEXT, MiniEncoder

HEAVY = ("torch", "transformers", "open_clip", "faster_whisper", "ctranslate2", "onnxruntime", "PIL", "av")


@pytest.fixture(scope="module")
def encoder() -> MiniEncoder:
    return MiniEncoder()


def run(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stderr == ""
    return result.stdout.strip()


def test_a_text_query_imports_nothing_heavy():
    code = f"""
import sys
from indexer.types import TextSample
from mmsearch.encoders import load_encoder
encoder = load_encoder("mini")
tower = encoder.spec.query_tower("text", "visual")
vector = encoder.encode(tower, [encoder.prepare(tower, TextSample("a cat"))])
print(vector.shape, [name for name in {HEAVY} if name in sys.modules])
"""
    assert run(code) == "(1, 384) []"


def test_the_table_of_models_is_light():
    code = f"import sys; import mmsearch.encoders; print([n for n in {(*HEAVY, 'numpy.fft')} if n in sys.modules])"
    assert run(code).replace("'numpy.fft'", "") == "[]"


def test_an_unknown_model_lists_the_known_ones():
    with pytest.raises(ModelError, match=r"'clipp'.*mini"):
        load_encoder("clipp")
    assert EMBEDDED in MODELS
    assert isinstance(load_encoder(EMBEDDED), MiniEncoder)


def test_the_spec_needs_no_weights(monkeypatch, tmp_path):
    monkeypatch.setenv("MMSEARCH_CACHE", str(tmp_path))
    spec = MiniEncoder().spec
    assert list(tmp_path.iterdir()) == []
    assert spec.tower_of("visual") == IMAGE
    assert spec.tower_of("text") == spec.tower_of("speech") == TEXT
    assert spec.tower_of("sound") is None
    assert spec.query_tower("text", "visual") == TEXT
    assert spec.query_tower("image", "text") == IMAGE
    assert spec.query_tower("audio", "visual") is None
    assert spec.transcribes
    assert ModelSpec.from_json(spec.to_json()) == spec


def test_the_spec_says_what_the_towers_take():
    from mmsearch.encoders.efficientnet import SIDE
    from mmsearch.encoders.minilm import DIM, MAX_TOKENS
    from mmsearch.encoders.speech import SAMPLE_RATE

    spec = MiniEncoder().spec
    assert (spec.image_side, spec.sample_rate, spec.max_tokens) == (SIDE, SAMPLE_RATE, MAX_TOKENS)
    assert {tower.dim for tower in spec.towers} == {DIM}


def test_the_fingerprint_covers_weights_labels_and_code(monkeypatch, tmp_path):
    from dataclasses import replace

    fingerprints = {MiniEncoder().spec.fingerprint}
    for name in (
        "MINILM_WEIGHTS",
        "MINILM_TOKENIZER",
        "EFFICIENTNET_WEIGHTS",
        "WHISPER_WEIGHTS",
        "WHISPER_TOKENIZER",
    ):
        with monkeypatch.context() as patch:
            patch.setattr(mini, name, replace(getattr(mini, name), sha256="0" * 64))
            fingerprints.add(MiniEncoder().spec.fingerprint)
    with monkeypatch.context() as patch:
        patch.setattr(mini, "HEAD_TRAINED_SHA256", "0" * 64)
        fingerprints.add(MiniEncoder().spec.fingerprint)
    fingerprints.add(MiniEncoder(version=1).spec.fingerprint)
    with monkeypatch.context() as patch:
        (tmp_path / "labels").write_text("other")
        patch.setattr(mini, "LABELS_PATH", tmp_path / "labels")
        fingerprints.add(MiniEncoder().spec.fingerprint)
    assert len(fingerprints) == 9
    assert MiniEncoder().spec.fingerprint in fingerprints


def test_every_modality_goes_through_its_tower(encoder):
    text = encoder.encode(TEXT, [encoder.prepare(TEXT, TextSample("a cat"))])
    image = encoder.encode(IMAGE, [encoder.prepare(IMAGE, ImageSample(np.zeros((30, 40, 3), np.uint8)))])
    assert text.shape == image.shape == (1, 384)
    assert encoder.transcribe(AudioSample(np.zeros(16000, np.float32), 16000)) == []
    assert encoder.count_tokens("a cat") == 4


def test_a_tower_takes_only_its_modality(encoder):
    picture = ImageSample(np.zeros((3, 4, 3), np.uint8))
    with pytest.raises(ModelError, match="ImageSample"):
        encoder.prepare(TEXT, picture)
    with pytest.raises(ModelError, match="TextSample"):
        encoder.prepare(IMAGE, TextSample("a cat"))
    with pytest.raises(ModelError, match="no tower"):
        encoder.encode(TowerSpec("audio", "clap", 512), [])
