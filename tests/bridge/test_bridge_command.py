"""`mmsearch bridge` as a person meets it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from indexer.testing import FakeEncoder


@pytest.fixture
def run(monkeypatch, capsys, two_spaces_model, exit_code):
    """Run `mmsearch ...` in this process with a model of two spaces; gives (exit code, output, errors)."""
    monkeypatch.setattr("mmsearch.engine.load_encoder", lambda *_, **__: two_spaces_model())
    monkeypatch.setattr("mmsearch.engine.DEFAULT_MODEL", "two spaces")

    def run(*args):
        return exit_code(*args), *capsys.readouterr()

    return run


@pytest.fixture
def library(run, media, monkeypatch):
    """A library of 12 videos with sound, some pictures and sounds."""
    monkeypatch.chdir(media.folder.parent)
    for concept in media.CONCEPTS[:12]:
        media.video(concept)
    for concept in media.CONCEPTS[:4]:
        media.picture(concept)
        media.sound(concept)
    assert run("index", "media")[0] == 0


@pytest.mark.usefixtures("library")
def test_a_bridge_from_asking_to_having_it(run):
    code, out, _ = run("status")
    assert code == 0
    assert "Bridge    none: pictures and sounds do not find each other; make one with: mmsearch bridge\n" in out
    code, out, err = run("query", "--image", "media/dog-0.png", "--kind", "audio")
    assert (code, out) == (1, "")
    assert (
        err
        == "mmsearch: pictures find no sounds in this library until you make a bridge, once, with: mmsearch bridge\n"
    )
    code, out, err = run("query", "--image", "media/dog-0.png", "--paths", "-k", "1")
    assert code == 0  # other channels are searched
    assert out.endswith("media/dog-0.png\n")
    assert err.count("\n") == 1
    for elsewhere in (
        ("--audio", "media/dog.wav", "--kind", "audio"),
        ("--image", "media/dog-0.png", "--kind", "image"),
    ):
        assert "bridge" not in run("query", *elsewhere)[2]
    assert "bridge" not in run("query", "a dog")[2]

    code, out, err = run("bridge")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith(("Bridge    ridge of strength ", "Bridge    procrustes from "))
    assert "Trial     12 pairs of frames and sound from 12 videos" in lines
    assert sum("captions shuffled" in line for line in lines) == 2
    assert sum("better than chance (p = " in line for line in lines) == 2

    code, out, err = run("query", "--image", "media/dog-0.png", "--kind", "audio", "--paths", "-k", "1")
    assert (code, "bridge" in err) == (0, False)
    assert out.endswith("media/dog.wav\n")
    _, out, _ = run("status")
    assert "@10 (chance 83 %)" in out
    assert json.loads(run("status", "--json")[1])["bridge"]["trial"]["videos"] == 12


@pytest.mark.usefixtures("library")
def test_json_and_methods(run):
    assert json.loads(run("status", "--json")[1])["bridge"] is None
    code, out, err = run("bridge", "--json", "--method", "procrustes")
    found = json.loads(out)
    assert (code, err, found["needed"], found["method"]) == (0, "", True, "procrustes")
    assert (found["strength"], found["back"]) == (None, "transpose")
    assert found["trial"]["sound_to_visual"]["verdict"] == "better"
    assert set(found["trial"]["sound_to_visual"]["bridge"]) == {
        "recall_at_1",
        "recall_at_5",
        "recall_at_10",
        "median_rank",
    }
    code, out, err = run("bridge", "--method", "magic")
    assert (code, out) == (2, "")
    assert "no method 'magic'; choose auto, ridge or procrustes" in err


def test_too_few_videos_are_said_plainly(run, media, monkeypatch):
    monkeypatch.chdir(media.folder.parent)
    for concept in media.CONCEPTS[:3]:
        media.video(concept)
    run("index", "media")
    _, out, _ = run("bridge")
    assert "Trial     3 pairs of frames and sound from 3 videos" in out
    assert out.count("too few videos with sound to tell") == 2
    assert "better than chance" not in out
    assert "too few videos with sound to tell how well it does (3)" in run("status")[1]


def test_a_model_that_needs_none_says_so(run, monkeypatch, make, tmp_path):
    monkeypatch.setattr("mmsearch.engine.load_encoder", FakeEncoder)
    make.image(tmp_path / "media" / "red.png", (255, 0, 0))
    run("index", tmp_path / "media")
    code, out, err = run("bridge")
    assert (code, err) == (0, "")
    assert out == "the model 'two spaces' needs no bridge: it hears nothing but speech\n"
    assert json.loads(run("bridge", "--json")[1])["needed"] is False
    assert "Bridge" not in run("status")[1]
    assert run("bridge", "--library", tmp_path / "nothing")[0] == 3


def test_nothing_indexed_is_said(run, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    run("index", tmp_path / "empty")
    code, _, err = run("bridge")
    assert code == 2
    assert "nothing was indexed yet" in err or "holds no pictures or videos yet" in err


@pytest.mark.skipif(os.name == "nt", reason="signals are sent as on POSIX")
@pytest.mark.usefixtures("library")
def test_control_c_stores_nothing(tmp_path):
    """In a process of its own, with a model that is slow enough to be interrupted."""
    code = f"""
import sys, time, importlib.util
spec = importlib.util.spec_from_file_location("spaces", {str(Path(__file__).with_name("conftest.py"))!r})
spaces = importlib.util.module_from_spec(spec)
sys.modules["spaces"] = spaces
spec.loader.exec_module(spaces)
import mmsearch.engine
encode = spaces.Tower.encode
def slow(self, prepared):
    print("reading", file=sys.stderr, flush=True)
    time.sleep(3)  # it is at work when it is interrupted
    return encode(self, prepared)
spaces.Tower.encode = slow
mmsearch.engine.load_encoder = lambda *_, **__: spaces.two_spaces_encoder()
sys.argv = ["mmsearch", "bridge"]
from mmsearch import cli
cli.main()
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr.readline() == "reading\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out == ""
    assert "interrupted; nothing was stored" in err
    from mmsearch import Engine

    with Engine.open(os.environ["MMSEARCH_LIBRARY"]) as engine:
        assert engine.status().bridge is None
        with engine._library.writing():
            pass
