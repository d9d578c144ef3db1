"""`mmsearch train` as a person meets it: what it prints, how it ends, and what it leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mmsearch.cli import app
from mmsearch.engine import Engine

ROOT = str(Path(__file__).parents[2])


@pytest.fixture
def run(zoo, monkeypatch):
    """The command on a library of the fake model, which no name leads to."""
    zoo.pairs()
    with zoo.engine() as engine:
        engine.index(zoo.media)
    opened = Engine.open
    monkeypatch.setattr(Engine, "open", staticmethod(lambda path, **how: opened(path, **{**how, "model": zoo.encoder})))

    def go(*arguments: str):
        return CliRunner().invoke(app, ["train", *arguments, "--library", str(zoo.library)])

    return go


FAST = ("--epochs", "30", "--rate", "0.01", "--decay", "0.01", "--batch", "32")


def test_it_says_what_it_found_and_takes_it_back(zoo, run, tmp_path):
    done = run(str(zoo.pairs()), *FAST, "-o", str(tmp_path / "loss.png"))
    assert done.exit_code == 0, done.output
    for words in ("visual: 120 pairs", "held out: 40 pairs", "recall at 10", "general questions", "train --undo"):
        assert words in done.output
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")
    status = CliRunner().invoke(app, ["status", "--library", str(zoo.library)])
    assert "Adapter   visual from 120 pairs" in status.output
    again = run("--undo")
    assert (again.exit_code, "from before the adapter" in again.output) == (0, True)
    assert "Adapter" not in CliRunner().invoke(app, ["status", "--library", str(zoo.library)]).output


def test_as_json(zoo, run):
    done = run(str(zoo.pairs()), *FAST, "--dry-run", "--json")
    row = json.loads(done.stdout)
    assert (done.exit_code, row["applied"]) == (0, False)
    assert row["channels"][0]["trial"]["recall"]["low"] > 0
    assert (
        json.loads(CliRunner().invoke(app, ["status", "--json", "--library", str(zoo.library)]).stdout)["adapter"]
        is None
    )
    assert run(str(zoo.pairs()), *FAST, "--json").exit_code == 0
    assert json.loads(run("--undo", "--json").stdout) == {"undone": True, "files_to_index": 0}


def test_what_does_not_help_ends_with_1(zoo, run):
    done = run(str(zoo.pairs(shuffled=True)), *FAST)
    assert done.exit_code == 1
    assert "Not applied" in done.output


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--undo",),
        ("nowhere.jsonl",),
        ("--undo", "--from-library"),
        ("pairs", "--unfreeze", "open_clip:x"),
        ("--from-library", "--output", "x"),
        ("pairs", "--unfreeze", "open_clip:x", "--output", "x", "--dry-run"),
        ("pairs", "--unfreeze", "open_clip:x", "--output", "x", "--rank", "0"),
        ("--from-library", "--loss", "hinge"),
    ],
)
def test_what_cannot_be_done_is_said(run, arguments):
    from indexer.errors import UsageError

    done = run(*arguments)
    assert isinstance(done.exception, UsageError)
    assert len(str(done.exception)) > 20


def test_unfreeze_has_its_own_defaults_and_ends_with_1_where_it_does_not_help(run, monkeypatch, tmp_path):
    from mmsearch.training import lora
    from mmsearch.training.trial import Measured, Trial

    asked = []
    nothing = Measured(before=0.5, after=0.5, gain=0.0, low=-0.1, high=0.1)
    report = lora.LoraReport(None, 3, 0, 100, Trial(40, nothing, {}, nothing), ())

    def fine_tune(model, pairs, output, options, **how):
        asked.append(options)
        return report

    monkeypatch.setattr(lora, "fine_tune", fine_tune)
    tower = ("pairs", "--unfreeze", "open_clip:x", "--output", str(tmp_path / "made"))
    assert run(*tower).exit_code == run(*tower, "--json", "--rate", "0.5", "--patience", "7").exit_code == 1
    assert asked == [lora.LoraOptions(), lora.LoraOptions(rate=0.5, patience=7)]


def test_ctrl_c_changes_nothing_and_the_same_command_goes_on(zoo):
    pairs = zoo.pairs()
    with zoo.engine() as engine:
        engine.index(zoo.media)
        generation = engine._library.store.generation()
    code = f"""
import os, signal, sys
from indexer.testing import FakeEncoder
from mmsearch.engine import Engine
from mmsearch.training import fit
opened = Engine.open
Engine.open = staticmethod(lambda path, **how: opened(path, **{{**how, "model": FakeEncoder(max_tokens=64)}}))
step = fit._Run.step
def stopping(self):
    if self.epoch == 4 and sys.argv[1] == "stop":
        os.kill(os.getpid(), signal.SIGINT)
    if self.epoch == 4 and sys.argv[1] == "die":
        os._exit(9)
    print("epoch", self.epoch, file=sys.stderr)
    return step(self)
fit._Run.step = stopping
from mmsearch.cli import main
sys.argv[1:] = ["train", {str(pairs)!r}, "--library", {str(zoo.library)!r}, "--epochs", "8", "--rate", "0.01"]
main()
"""
    code = code.replace("sys.argv[1] ==", "HOW ==").replace("opened = ", "HOW = sys.argv[1]\nopened = ", 1)

    def go(how: str):
        environment = {**os.environ, "PYTHONPATH": ROOT, "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            [sys.executable, "-c", code, how], env=environment, capture_output=True, text=True, timeout=100, check=False
        )

    stopped = go("stop")
    assert stopped.returncode == 130, stopped.stderr
    assert "nothing was changed; the same command goes on from there" in stopped.stderr
    with zoo.engine() as engine:
        assert engine._library.store.generation() == generation
        assert engine.verify().problems == []
    done = go("on")
    assert done.returncode == 0, done.stderr
    assert "epoch 4" not in done.stderr.split("epoch 5")[0]  # the stopped run had done epochs 0 to 4
    with zoo.engine() as engine:
        assert engine._library.store.generation() != generation
        assert engine.undo_training().files == 0
    assert go("die").returncode == 9
    with zoo.engine() as engine:
        assert engine._library.store.generation() == generation
        assert engine.verify().problems == []
