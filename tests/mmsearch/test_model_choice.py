"""Which model a library gets, and that it keeps it: model, commits, recogniser of speech, precision."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest

from indexer.errors import ModelError, ModelMismatchError, UsageError
from indexer.testing import FakeEncoder
from mmsearch import Engine
from mmsearch.encoders import load_encoder, short_name
from mmsearch.encoders.events import Fetching, ModelNotice
from mmsearch.encoders.weights import WHISPER_WEIGHTS, installed_file

RED, BLUE = (255, 0, 0), (0, 0, 255)
SPEECH = Path(__file__).parents[1] / "data" / "speech" / "meeting.flac"


@pytest.fixture
def media(tmp_path, make) -> Path:
    make.image(tmp_path / "media" / "red.png", RED)
    make.image(tmp_path / "media" / "blue.png", BLUE)
    (tmp_path / "media" / "note.txt").write_text("Take an umbrella: it will rain tonight.")
    return tmp_path / "media"


@pytest.fixture
def whisper(tmp_path) -> Path:
    """The installed recogniser in a folder of one's own."""
    folder = tmp_path / "whisper"
    shutil.copytree(installed_file(WHISPER_WEIGHTS).parent, folder)
    return folder


def index(library, media, **options) -> str:
    with Engine.open(library, **options) as engine:
        report = engine.index(media)
        assert (report.failed, report.failures) == (0, [])
        return engine.status().spec.name


# --- auto ---


@pytest.mark.parametrize("model", [None, "auto"])
def test_a_new_library_without_a_network_is_minis_and_stays_so(fast_hub, tmp_path, media, monkeypatch, model):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    events = []
    assert index(tmp_path / "library", media, model=model, on_event=events.append) == "mini"
    (notice,) = events
    assert "using the installed model mini" in notice.message
    # With a network at last, it keeps its model and asks nobody.
    monkeypatch.delenv("HF_HUB_OFFLINE")
    with Engine.open(tmp_path / "library", model=model, on_event=events.append) as engine:
        assert engine.index(media).unchanged == 3
        assert engine.query("umbrella")
    assert events == [notice]
    assert fast_hub.asked == []


def test_a_new_library_with_a_network_gets_fast_and_remembers_its_commits(fast_hub, tmp_path, media, monkeypatch):
    events = []
    name = index(tmp_path / "library", media, on_event=events.append)
    commits = [fast_hub.repositories[each].commit for each in ("someone/tiny", "someone/clap")]
    assert name == f"open_clip:hf-hub:someone/tiny@{commits[0]}+clap:someone/clap@{commits[1]}"
    assert short_name(name) == "fast"
    assert [event for event in events if isinstance(event, ModelNotice)] == events[:1]
    assert isinstance(events[-1], Fetching)
    # What the hub has meanwhile is not this library's model.
    fast_hub.repositories["someone/tiny"].files["README.md"] = b"newer"
    shutil.rmtree(tmp_path / "hf" / "hub" / "models--someone--clap")
    fast_hub.asked.clear()
    for model in (None, "auto", "fast", name):
        with Engine.open(tmp_path / "library", model=model, on_event=events.append) as engine:
            assert engine.query("red", kinds=["image"])
            assert engine.encoder.spec.name == name
    # What was lost of the cache is fetched again, at that commit and with notice.
    assert [path for _, path, _ in fast_hub.asked if "/api/" in path] == [
        f"/api/models/someone/clap/revision/{commits[1]}"
    ]
    with pytest.raises(ModelMismatchError, match="with the model 'fast', not with 'mini'"):
        Engine.open(tmp_path / "library", model="mini")


def test_a_commit_that_is_gone_is_not_replaced(fast_hub, tmp_path, media):
    index(tmp_path / "library", media, model="fast")
    fast_hub.repositories["someone/tiny"].files["README.md"] = b"newer"
    shutil.rmtree(tmp_path / "hf")
    with Engine.open(tmp_path / "library") as engine, pytest.raises(ModelError, match=r"no 'someone/tiny' .revision"):
        engine.query("red")


def test_opening_a_new_library_decides_nothing_yet(fast_hub, tmp_path):
    with Engine.open(tmp_path / "library") as engine:
        assert engine.status().spec is None
    assert fast_hub.asked == []


def test_a_download_that_breaks_leaves_no_library_behind(fast_hub, tmp_path):
    fast_hub.refuses = {"cdn": 500}
    with pytest.raises(ModelError, match="what was fetched is kept") as caught:
        Engine.open(tmp_path / "library", model="fast")
    assert "--model open_clip:/path/to/tiny+clap:/path/to/clap" in str(caught.value)
    assert not (tmp_path / "library").exists()


def test_nothing_is_printed(fast_hub, tmp_path, media, capfd, caplog):
    with caplog.at_level(logging.WARNING):
        index(tmp_path / "library", media)
    assert capfd.readouterr() == ("", "")
    assert "fetching the model fast" in caplog.text


def test_a_model_that_was_named_is_fetched_before_the_library_is_made(fast_hub, tmp_path):
    events = []
    with Engine.open(tmp_path / "library", model="fast", on_event=events.append):
        assert events[0].downloads


# --- speech ---


def test_a_library_remembers_that_it_does_not_listen(tmp_path, media, monkeypatch):
    shutil.copy(SPEECH, media)
    assert index(tmp_path / "library", media, model="mini", speech="off") == "mini+speech:off"
    with Engine.open(tmp_path / "library") as engine:
        counts = engine.status().counts
        assert counts.kinds == {"image": 2, "audio": 1, "text": 1}
        assert set(counts.segments) == {"visual", "text"}
        assert engine.encoder.spec.tower_of("speech") is None
        assert engine.query("umbrella")
    for options in ({"model": "mini"}, {"speech": "off"}, {"model": "mini", "speech": "off"}, {"model": "auto"}):
        Engine.open(tmp_path / "library", **options).close()
    for speech in ("tiny.en", "base"):
        with pytest.raises(ModelMismatchError, match=rf"made with --speech off, not with {speech}.*leave --speech out"):
            Engine.open(tmp_path / "library", speech=speech)
    with pytest.raises(ModelMismatchError, match=r"'mini.speech:off', not with 'mini.speech:tiny'"):
        Engine.open(tmp_path / "library", model="mini+speech:tiny")


def test_the_installed_recogniser_is_the_default_and_named_by_nothing(tmp_path, media):
    assert index(tmp_path / "library", media, model="mini", speech="tiny.en") == "mini"
    with pytest.raises(ModelMismatchError, match=r"made with --speech tiny\.en, not with off"):
        Engine.open(tmp_path / "library", speech="off")
    assert load_encoder("mini", speech="tiny.en").spec == load_encoder("mini").spec


def test_a_recogniser_of_ones_own_listens_and_is_remembered(tmp_path, media, whisper, monkeypatch):
    shutil.copy(SPEECH, media)
    monkeypatch.chdir(tmp_path)
    library = tmp_path / "library"
    assert index(library, media, model="mini", speech="./whisper") == f"mini+speech:{whisper}"
    monkeypatch.chdir("/")
    with Engine.open(library) as engine:
        best, *_ = engine.query("when do we meet?", kinds=["audio"])
        assert "thursday" in best.text.lower()
    # The same files may lie elsewhere; other files are another recogniser.
    moved = whisper.rename(tmp_path / "moved")
    with Engine.open(library, model=f"mini+speech:{moved}") as engine:
        assert engine.query("umbrella")
    shutil.copytree(moved, whisper)
    (whisper / "tokenizer.json").write_bytes((whisper / "tokenizer.json").read_bytes() + b"\n")
    with Engine.open(library) as engine, pytest.raises(ModelMismatchError, match="another version"):
        engine.query("umbrella")


def test_every_recogniser_has_a_fingerprint_of_its_own(whisper, tiny_fast):
    clip = f"open_clip:{tiny_fast['someone/tiny']}"
    for model in ("mini", clip):
        prints = {load_encoder(model, speech=speech).spec.fingerprint for speech in (None, "off", str(whisper))}
        assert len(prints) == 3
        assert load_encoder(f"{model}+speech:off").spec == load_encoder(model, speech="off").spec
    assert "speech" not in dict(load_encoder(clip, speech="off").spec.channels)


def test_a_recogniser_of_the_hub_is_fetched_and_kept_by_its_commit(hub, whisper, tmp_path, media):
    hub.add("Systran/faster-whisper-base", whisper, license="mit")
    shutil.copy(SPEECH, media)
    events = []
    name = index(tmp_path / "library", media, model="mini", speech="base", on_event=events.append)
    assert name == f"mini+speech:base@{hub.repositories['Systran/faster-whisper-base'].commit}"
    assert short_name(name) == "mini+speech:base"
    assert "Systran/faster-whisper-base" in events[0].message
    hub.asked.clear()
    with Engine.open(tmp_path / "library", speech="base") as engine:
        assert engine.query("when do we meet?", kinds=["audio"])
    assert hub.asked == []
    with pytest.raises(ModelMismatchError, match="speech base"):
        Engine.open(tmp_path / "library", speech="small")


@pytest.mark.parametrize(
    ("speech", "kind", "message"),
    [
        ("basis", ModelError, r"no speech recogniser 'basis'; it is off, tiny\.en .installed., one of tiny, base\.en"),
        ("/nowhere/whisper", ModelError, "there is no folder /nowhere/whisper"),
        ("base", ModelError, r"HF_HUB_OFFLINE is set.*\n.*--model mini\+speech:/path/to/faster-whisper-base"),
        ("someone/else", ModelError, "someone/else cannot be fetched"),
    ],
)
def test_a_recogniser_that_is_not_there_leaves_no_library_behind(tmp_path, speech, kind, message):
    import re

    with pytest.raises(kind) as caught:
        Engine.open(tmp_path / "library", model="mini", speech=speech)
    assert re.search(message, str(caught.value), re.DOTALL)
    assert not (tmp_path / "library").exists()


@pytest.mark.parametrize("lost", ["model.bin", "tokenizer.json", "config.json"])
def test_a_folder_that_lacks_a_file_is_refused(tmp_path, whisper, lost):
    (whisper / lost).unlink()
    with pytest.raises(ModelError, match=f"lacks {lost}"):
        Engine.open(tmp_path / "library", model="mini", speech=str(whisper))


def test_a_model_that_is_cut_off_is_said_when_it_is_loaded(whisper):
    import numpy as np

    from indexer.types import AudioSample
    from mmsearch.encoders.speech import SpeechRecognizer

    weights = (whisper / "model.bin").read_bytes()
    (whisper / "model.bin").write_bytes(weights[:1000])
    recognizer = SpeechRecognizer(str(whisper))
    with pytest.raises(ModelError, match="cannot be loaded"):
        recognizer._segments(np.zeros(16_000, np.float32))
    assert recognizer.transcribe(AudioSample(np.zeros(16_000, np.float32), 16_000)) == []


def test_two_recognisers_at_once_are_refused(tmp_path):
    with pytest.raises(UsageError, match="another recogniser of speech than 'off'"):
        Engine.open(tmp_path / "library", model="mini+speech:tiny.en", speech="off")
    with pytest.raises(ModelError, match="more than one recogniser"):
        load_encoder("mini+speech:off+speech:off")


# --- precision ---


def test_a_library_keeps_the_precision_that_it_was_asked_for(tmp_path, media, tiny_fast):
    model = f"open_clip:{tiny_fast['someone/tiny']}"
    library = tmp_path / "library"
    index(library, media, model=model, precision="bfloat16")
    for precision in (None, "auto", "bfloat16", "bf16"):
        with Engine.open(library, precision=precision) as engine:
            assert engine.encoder.spec.precision == "bfloat16"
            assert engine.query("red", kinds=["image"])
    with pytest.raises(
        ModelMismatchError, match=r"made with --precision bfloat16, not with float32.*leave --precision out"
    ):
        Engine.open(library, model=model, precision="float32")


def test_a_model_without_a_choice_computes_in_float32(tmp_path, media):
    with pytest.raises(UsageError, match="'mini' computes in float32 only, not in bfloat16"):
        Engine.open(tmp_path / "library", model="mini", precision="bfloat16")
    assert not (tmp_path / "library").exists()
    index(tmp_path / "library", media, model="mini", precision="float32")
    with pytest.raises(ModelMismatchError, match="made with --precision float32, not with bfloat16"):
        Engine.open(tmp_path / "library", precision="bfloat16")


def test_a_precision_that_there_is_not(tmp_path, tiny_fast):
    with pytest.raises(UsageError, match=r"no precision 'int8' .from the call.: it is auto, float32, bfloat16"):
        Engine.open(tmp_path / "library", model="mini", precision="int8")


def test_float16_needs_a_gpu_for_a_new_library(tmp_path, tiny_fast, monkeypatch):
    from mmsearch.encoders import devices

    devices.device.cache_clear()
    monkeypatch.setenv("MMSEARCH_DEVICE", "cpu")
    with pytest.raises(UsageError, match="float16 is for GPUs"):
        Engine.open(tmp_path / "library", model=f"open_clip:{tiny_fast['someone/tiny']}", precision="float16")
    devices.device.cache_clear()
    # One that was made on a GPU can be asked on a processor.
    assert load_encoder(f"open_clip:{tiny_fast['someone/tiny']}", precision="float16").spec.precision == "float16"


def test_an_encoder_of_ones_own_brings_its_own(tmp_path):
    for options in ({"speech": "off"}, {"precision": "float32"}):
        with pytest.raises(UsageError, match="brings its own"):
            Engine.open(tmp_path / "library", model=FakeEncoder(), **options)
