"""A model made of towers: its table, its channels, and a library that is made with it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comparing import cosines

from indexer.errors import ModelError, ModelMismatchError, UsageError, WeightsError
from indexer.types import AudioSample, ImageSample, ModelSpec, TextSample, TowerSpec
from mmsearch import Engine
from mmsearch.encoders import MODELS, are_different, canonical_name, load_encoder
from mmsearch.encoders.composite import CompositeEncoder, at_rate
from mmsearch.encoders.minilm import DocumentTower

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
IMAGE = TowerSpec("image", "sight", 3)
SIGHT_TEXT = TowerSpec("text", "sight", 3)
AUDIO = TowerSpec("audio", "hearing", 2)
HEARING_TEXT = TowerSpec("text", "hearing", 2)
DOCUMENT = TowerSpec("text", "words", 2)


class FakeTower:
    """A tower that notes what it is given: its vector is (1, 0, ...), or the mean colour of a picture."""

    def __init__(self, spec: TowerSpec, *, fingerprint: str = "1", **properties: Any) -> None:
        self.spec = spec
        self.fingerprint = fingerprint
        self.seen: list[Any] = []
        self.__dict__.update(properties)

    def prepare(self, sample: Any) -> np.ndarray:
        self.seen.append(sample)
        vector = np.zeros(self.spec.dim, np.float32)
        vector[0] = 1
        if isinstance(sample, ImageSample):
            vector = sample.pixels.reshape(-1, 3).mean(axis=0).astype(np.float32)
        elif isinstance(sample, TextSample) and self.spec == SIGHT_TEXT:
            vector += np.array([9 * (word in sample.text) for word in ("red", "green", "blue")], np.float32)
        return vector

    def encode(self, prepared: Any) -> np.ndarray:
        rows = np.stack(prepared)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def count_tokens(self, text: str) -> int:
        return len(text.split())


class FakeTranscriber:
    sample_rate = 4_000
    fingerprint = "t"

    def __init__(self) -> None:
        self.seen: list[AudioSample] = []

    def transcribe(self, audio: AudioSample) -> list[TextSample]:
        self.seen.append(audio)
        return [TextSample("said", audio.start_seconds, audio.start_seconds + 1)]


def make_encoder(**changes: Any) -> CompositeEncoder:
    parts: dict[str, Any] = {
        "visual": FakeTower(IMAGE, image_side=8),
        "sound": FakeTower(AUDIO, sample_rate=8_000, window_seconds=2.0, hop_seconds=1.0),
        "document_text": FakeTower(DOCUMENT, max_tokens=50),
        "query_texts": [FakeTower(SIGHT_TEXT, max_tokens=5), FakeTower(HEARING_TEXT, max_tokens=9)],
        "transcriber": FakeTranscriber(),
    }
    return CompositeEncoder("parts", **{**parts, **changes})


# --- the table ---


def test_each_channel_has_its_tower_and_a_text_reaches_all_of_them():
    spec = make_encoder().spec
    channels = {"visual": IMAGE, "sound": AUDIO, "speech": DOCUMENT, "text": DOCUMENT}
    assert dict(spec.channels) == channels
    reached = {"visual": SIGHT_TEXT, "sound": HEARING_TEXT, "speech": DOCUMENT, "text": DOCUMENT}
    assert {channel: spec.query_tower("text", channel) for channel in channels} == reached
    assert spec.query_tower("image", "visual") == IMAGE
    assert spec.query_tower("audio", "sound") == AUDIO
    assert spec.query_tower("image", "sound") is None
    assert (spec.image_side, spec.sample_rate, spec.max_tokens, spec.transcribes) == (8, 8_000, 50, True)
    assert (spec.window_seconds, spec.hop_seconds) == (2.0, 1.0)
    assert [spec.token_limit(tower) for tower in (DOCUMENT, SIGHT_TEXT, HEARING_TEXT)] == [50, 5, 9]
    assert ModelSpec.from_json(spec.to_json()) == spec


def test_text_towers_of_one_space_ask_what_they_are_for():
    """Documents and questions have a tower each, as with EmbeddingGemma 2; or each channel has one, as with PE-AV."""
    document, question = replace(SIGHT_TEXT, asks=()), SIGHT_TEXT
    own = make_encoder(
        document_text=FakeTower(document, max_tokens=50), query_texts=[FakeTower(question, max_tokens=5)]
    )
    assert own.spec.tower_of("text") == document
    assert own.spec.query_tower("text", "text") == own.spec.query_tower("text", "visual") == question
    assert own.spec.query_tower("image", "text") == IMAGE
    heads = [replace(SIGHT_TEXT, asks=("visual",)), replace(SIGHT_TEXT, asks=("sound",))]
    heard = replace(AUDIO, space="sight", dim=3)
    each = make_encoder(
        sound=FakeTower(heard, sample_rate=8_000, window_seconds=2.0, hop_seconds=1.0),
        query_texts=[FakeTower(head, max_tokens=5) for head in heads],
    )
    assert [each.spec.query_tower("text", channel) for channel in ("visual", "sound", "text")] == [*heads, DOCUMENT]
    assert each.spec.query_tower("image", "sound") == IMAGE
    assert each.spec.query_tower("audio", "visual") == heard
    for encoder in (own, each):
        assert ModelSpec.from_json(encoder.spec.to_json()) == encoder.spec
    with pytest.raises(ModelError, match="two towers"):
        _ = make_encoder(query_texts=[FakeTower(heads[0], max_tokens=5)] * 2).spec


def test_rows_and_fingerprints_of_towers_are_what_they_were_before_there_was_a_choice():
    assert SIGHT_TEXT.to_row() == {"modality": "text", "space": "sight", "dim": 3}
    assert TowerSpec.from_row({"modality": "text", "space": "sight", "dim": 3}) == SIGHT_TEXT
    assert "asks" not in make_encoder().spec.to_json()
    assert make_encoder().spec.fingerprint == "61fc4991b08bde2e"


def test_parts_may_be_left_out():
    silent = make_encoder(sound=None, transcriber=None, query_texts=[]).spec
    assert dict(silent.channels) == {"visual": IMAGE, "text": DOCUMENT}
    assert (silent.sample_rate, silent.window_seconds, silent.hop_seconds) == (None, None, None)
    assert not silent.transcribes
    blind = make_encoder(visual=None, transcriber=None)
    assert dict(blind.spec.channels) == {"sound": AUDIO, "text": DOCUMENT}
    assert blind.transcribe(AudioSample(np.ones(8, np.float32), 8_000)) == []


def test_the_fingerprint_follows_every_part_and_not_the_name():
    def fingerprint(**changes: Any) -> str:
        return make_encoder(**changes).spec.fingerprint

    sound = {"sample_rate": 8_000, "window_seconds": 2.0, "hop_seconds": 1.0}
    same = fingerprint()
    assert fingerprint() == same
    others = [
        fingerprint(visual=FakeTower(IMAGE, fingerprint="2", image_side=8)),
        fingerprint(visual=None),
        fingerprint(sound=FakeTower(AUDIO, **{**sound, "hop_seconds": 2.0})),
        fingerprint(transcriber=None),
        fingerprint(document_text=FakeTower(DOCUMENT, fingerprint="2", max_tokens=50)),
        fingerprint(query_texts=[FakeTower(SIGHT_TEXT, max_tokens=5)]),
    ]
    assert len({same, *others}) == 7


def test_a_spec_of_an_older_version_is_read():
    spec = load_encoder("mini").spec
    row = json.loads(spec.to_json())
    for field in ("window_seconds", "hop_seconds", "token_limits", "precision"):
        del row[field]
    assert ModelSpec.from_json(json.dumps(row)) == spec


@pytest.mark.parametrize(
    "wrong",
    [
        {"window_seconds": None, "hop_seconds": None},
        {"hop_seconds": 3.0},
        {"hop_seconds": 0.0},
        {"channels": (("text", DOCUMENT),)},
    ],
    ids=str,
)
def test_a_spec_has_windows_when_it_has_sound(wrong):
    with pytest.raises(ValueError, match="window"):
        replace(make_encoder().spec, **wrong)


def test_two_parts_for_one_space_are_refused():
    with pytest.raises(ModelError, match="two towers"):
        _ = make_encoder(query_texts=[FakeTower(DOCUMENT, max_tokens=5)]).spec
    with pytest.raises(ModelError, match="has no tower"):
        make_encoder().encode(TowerSpec("text", "elsewhere", 3), [])


# --- sound ---


def test_sound_is_brought_to_the_rate_of_each_listener():
    import torch
    from torchaudio.functional import resample

    encoder = make_encoder()
    tone = np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000).astype(np.float32)
    encoder.transcribe(AudioSample(tone, 16_000, start_seconds=7.0))
    (heard,) = encoder._transcriber.seen
    assert (heard.sample_rate, heard.start_seconds, len(heard.waveform)) == (4_000, 7.0, 4_000)
    np.testing.assert_array_equal(heard.waveform, resample(torch.from_numpy(tone), 16_000, 4_000).numpy())
    # Away from its ends, the tone is the same tone.
    want = np.sin(2 * np.pi * 440 * np.arange(4_000) / 4_000)
    np.testing.assert_allclose(heard.waveform[100:-100], want[100:-100], atol=0.02)
    encoder.prepare(AUDIO, AudioSample(tone, 16_000))
    assert encoder._sound.seen[0].sample_rate == 8_000
    sample = AudioSample(tone, 16_000)
    assert at_rate(sample, 16_000) is sample


def test_the_sound_channel_gets_windows_and_the_transcriber_all_of_it(tmp_path, make):
    encoder = make_encoder()
    make.tones(tmp_path / "media" / "song.wav", ["cat", "dog", "cat", "dog", "sea"])
    with Engine.open(tmp_path / "library", model=encoder) as engine:
        assert engine.index(tmp_path / "media").failed == 0
        (hit,) = engine.query("anything", k=5)
        assert "sound" in {hit.channel, *(moment.channel for moment in hit.moments)}
        assert engine.status().spec == encoder.spec
        found = engine._library.index("sound")
        assert len(found) == 4
    starts = [sample.start_seconds for sample in encoder._sound.seen]
    assert starts == [0, 1, 2, 3]
    assert [len(sample.waveform) / sample.sample_rate for sample in encoder._sound.seen] == [2, 2, 2, 2]
    assert [len(sample.waveform) for sample in encoder._transcriber.seen] == [5 * 4_000]


# --- queries ---


def test_a_query_that_one_of_the_towers_would_cut_is_refused(tmp_path, make):
    make.image(tmp_path / "media" / "red.png", RED)
    with Engine.open(tmp_path / "library", model=make_encoder()) as engine:
        engine.index(tmp_path / "media")
        assert engine.query("one two three four red")[0].score == pytest.approx(1, abs=1e-3)
        with pytest.raises(UsageError, match=r"has 6 tokens, and the model 'parts' reads 5; shorten it"):
            engine.query("one two three four five red")


def test_an_encoder_of_the_users_own_needs_to_count_for_one_tower_only(tmp_path, make):
    from indexer.testing import FakeEncoder

    class OfBefore(FakeEncoder):
        def count_tokens(self, text: str) -> int:  # type: ignore[override]
            return super().count_tokens(text)

    make.image(tmp_path / "media" / "red.png", RED)
    with Engine.open(tmp_path / "library", model=OfBefore(max_tokens=4)) as engine:
        engine.index(tmp_path / "media")
        assert engine.query("red")
        with pytest.raises(UsageError, match="reads 4"):
            engine.query("red red red")


# --- names ---


def test_rows_are_kept_as_their_parts_and_local_paths_as_absolute_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clap+clip").mkdir()
    fast = "open_clip:ViT-B-32/laion2b_s34b_b79k+clap:laion/clap-htsat-unfused"
    for name, want in {
        "mini": "mini",
        "fast": fast,
        fast: fast,
        "open_clip:./a+b+clap:./clap+clip": f"open_clip:{tmp_path}/a+b+clap:{tmp_path}/clap+clip",
        "clap:clap+clip": f"clap:{tmp_path}/clap+clip",
        "clip:openai/clip": "clip:openai/clip",
        "nonsense": "nonsense",
        "open_clip:": "open_clip:",
    }.items():
        assert canonical_name(name) == want
        assert canonical_name(want) == want


def test_names_that_are_surely_different():
    assert are_different("mini", "fast")
    assert are_different("fast", "balanced")
    assert not are_different("fast", MODELS["fast"].parts)
    assert not are_different("open_clip:/a/model", "open_clip:/b/model")  # it may have been moved
    assert are_different("open_clip:ViT-B-32//a/w.pt", "mini")
    assert not are_different("mimi", "mini")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nonsense", r"no model 'nonsense'; name one of mini, fast, balanced, best, multilingual, gemma, pe-av"),
        ("mini+clap:laion/x", r"no model"),
        ("clap:", r"no model"),
        ("open_clip:ViT-B-32/a+clip:x/y", r"more than one part for pictures"),
        ("clap:x/y+clap:z/w", r"more than one part for sounds"),
        ("open_clip:ViT-B-32", r"ARCHITECTURE/TAG"),
    ],
)
def test_a_name_that_is_no_models_says_what_is(name, message):
    with pytest.raises(ModelError, match=message):
        load_encoder(name)


# --- a library, from end to end ---


@pytest.fixture
def media(tmp_path, make) -> Path:
    for name, colours in {"red": [RED], "green": [GREEN], "stripes": [RED, BLUE, GREEN]}.items():
        make.image(tmp_path / "media" / f"{name}.png", *colours)
    (tmp_path / "media" / "note.txt").write_text("Take an umbrella: it will rain tonight.")
    return tmp_path / "media"


def test_a_library_is_made_with_a_local_model_and_opened_again_without_naming_it(tmp_path, tiny, media, monkeypatch):
    from PIL import Image

    folder = tiny.save(tmp_path / "tiny")
    monkeypatch.chdir(tmp_path)
    library = tmp_path / "library"
    with Engine.open(library, model="open_clip:./tiny") as engine:
        report = engine.index(media)
        assert (report.added, report.failed) == (4, 0)
    monkeypatch.chdir("/")
    with Engine.open(library) as engine:
        spec = engine.status().spec
        assert spec.name == f"open_clip:{folder}"
        assert spec.precision in ("float32", "bfloat16")
        best, *_ = engine.query("will I need an umbrella?", kinds=["text"])
        assert best.path.endswith("note.txt")
        assert best.score > 0.4
        assert {Path(hit.path).name for hit in engine.query("red", kinds=["image"])} == {
            *("red.png", "green.png", "stripes.png")
        }
        # Scores are the cosines of open_clip's own vectors.
        encoder = engine.encoder
        tower, text = spec.tower_of("visual"), spec.query_tower("text", "visual")
        pixels = np.array(Image.open(media / "red.png").convert("RGB"))
        picture = encoder.encode(tower, [encoder.prepare(tower, ImageSample(pixels))])
        question = encoder.encode(text, [encoder.prepare(text, TextSample("red"))])
        (hit,) = [hit for hit in engine.query("red", kinds=["image"]) if hit.path.endswith("red.png")]
        assert hit.score == pytest.approx(float(cosines(picture, question)[0, 0]), abs=2e-3)
        with pytest.raises(UsageError, match=r"has 32 tokens, and the model .* reads 16"):
            engine.query("cat " * 30)


def test_pictures_and_sounds_have_a_part_each(tmp_path, tiny, tiny_clap, media, make):
    make.tones(media / "tones.wav", ["cat", "dog"] * 9)
    folder = tiny.save(tmp_path / "tiny")
    name = f"open_clip:{folder}+clap:{tiny_clap}"
    with Engine.open(tmp_path / "library", model=name) as engine:
        report = engine.index(media)
        assert (report.added, report.failed) == (5, 0)
    with Engine.open(tmp_path / "library") as engine:
        spec = engine.status().spec
        assert spec.name == name
        assert [channel for channel, _ in spec.channels] == ["visual", "sound", "speech", "text"]
        assert (spec.sample_rate, spec.window_seconds, spec.hop_seconds) == (48_000, 10.0, 5.0)
        (hit,) = engine.query("a b", kinds=["audio"])
        spans = {(moment.start_seconds, moment.end_seconds) for moment in hit.moments if moment.channel == "sound"}
        # 18 s: windows from 0, 5 and 10 s on, the last of them cut short by the end.
        assert spans <= {(0, 10), (5, 15), (10, 18)}
        assert len(engine._library.index("sound")) == 3
        assert len(engine.query("a b", kinds=["image"])) == 3
    pixels = [ImageSample(np.full((32, 32, 3), n, np.uint8)) for n in (10, 200)]
    alone, both = load_encoder(f"open_clip:{folder}"), load_encoder(name)
    tower = both.spec.tower_of("visual")
    np.testing.assert_array_equal(
        *(each.encode(tower, [each.prepare(tower, sample) for sample in pixels]) for each in (alone, both))
    )
    assert alone.spec.fingerprint != both.spec.fingerprint


def test_a_library_takes_no_other_model(tmp_path, tiny, media):
    library = tmp_path / "library"
    folder, other = tiny.save(tmp_path / "tiny"), tiny.save(tmp_path / "other", seed=1)
    with Engine.open(library, model=f"open_clip:{folder}") as engine:
        engine.index(media)
    for name in ("mini", "fast", f"open_clip:{other}"):
        with pytest.raises(ModelMismatchError, match="two models cannot be compared"):
            Engine.open(library, model=name)
    # The same bytes in another place are the same model.
    moved = folder.rename(tmp_path / "moved")
    with Engine.open(library, model=f"open_clip:{moved}") as engine:
        assert engine.query("red", kinds=["image"])
    with Engine.open(library) as engine, pytest.raises(ModelError, match=f"no folder {folder}"):
        engine.query("red")
    # Other weights in the same place are not.
    other.rename(folder)
    with Engine.open(library) as engine, pytest.raises(ModelMismatchError, match="another version"):
        engine.query("red")


def test_a_named_model_is_refused_before_its_weights_are_looked_for(tmp_path, media):
    with Engine.open(tmp_path / "library", model="mini") as engine:
        engine.index(media / "note.txt")
    with pytest.raises(ModelMismatchError, match=r"with the model 'mini', not with 'best'"):
        Engine.open(tmp_path / "library", model="best")


def test_a_library_keeps_its_precision(tmp_path, tiny, media, monkeypatch):
    library, name = tmp_path / "library", f"open_clip:{tiny.save(tmp_path / 'tiny')}"
    monkeypatch.setenv("MMSEARCH_PRECISION", "bfloat16")
    with Engine.open(library, model=name) as engine:
        engine.index(media)
    # Made on a processor that is fast with bfloat16, opened on one that is not.
    monkeypatch.setenv("MMSEARCH_PRECISION", "float32")
    for model in (None, name):
        with Engine.open(library, model=model) as engine:
            assert engine.encoder.spec.precision == "bfloat16"
            assert engine.query("red")


def test_nothing_is_written_with_weights_that_cannot_be_used(tmp_path, tiny, media):
    folder, library = tiny.save(tmp_path / "tiny"), tmp_path / "library"
    weights = folder / "open_clip_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    with pytest.raises(WeightsError, match="cut off"):
        Engine.open(library, model=f"open_clip:{folder}")
    with pytest.raises(WeightsError, match="no weights at"):
        Engine.open(library, model="open_clip:ViT-B-32//nowhere/w.pt")
    with pytest.raises(WeightsError, match="hub's cache"):
        Engine.open(library, model="open_clip:ViT-B-32/laion2b_s34b_b79k")
    assert not library.exists()
    weights.write_bytes(whole)
    with Engine.open(library, model=f"open_clip:{folder}") as engine:
        weights.write_bytes(whole[:-1])  # cut off after it was looked at
        with pytest.raises(WeightsError, match="cut off"):
            engine.index(media)
        # The note may be done before the picture's tower is loaded; what is done is kept.
        assert engine.status().counts.segments.keys() <= {"text"}


def test_documents_go_through_minilm_as_in_mini():
    from mmsearch.encoders.minilm import TextTower

    tower = DocumentTower()
    np.testing.assert_array_equal(
        tower.encode([tower.prepare(TextSample("a cat"))]), TextTower().encode_texts(["a cat"])
    )
