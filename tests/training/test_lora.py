"""Fine-tuning a tiny open_clip network: what is learned, what is written, and two processes in place of one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from indexer.errors import UsageError
from indexer.types import ImageSample
from mmsearch.encoders import load_encoder
from mmsearch.training.lora import LoraOptions, LoraReport, fine_tune

pytest.importorskip("peft")
QUICK = LoraOptions(rank=4, epochs=5, batch=32, rate=2e-2, patience=5)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    from tiny_models import TinyOpenClip

    return TinyOpenClip.save(tmp_path_factory.mktemp("tiny") / "clip")


def pairs_file(zoo, count: int = 90) -> Path:
    """Pictures of one colour each, called by words that say which: easy to learn, for a network that can see."""
    names = ("none", "little", "some", "much")
    rows = []
    every = [(r, g, b) for r in range(4) for g in range(4) for b in range(4)]
    order = np.random.default_rng(0).permutation(len(every) * 2)[:count] % len(every)
    for number, at in enumerate(order.tolist()):
        colour = every[at]
        picture = zoo._make.image(zoo.media / f"{number}.png", tuple(80 * c + number // len(every) for c in colour))
        said = f"red {names[colour[0]]} green {names[colour[1]]} blue {names[colour[2]]} {number}"
        rows.append(json.dumps({"image": str(picture), "text": said}))
    path = zoo.folder / "pairs.jsonl"
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


def test_what_is_learned_is_written_as_a_model_of_its_own(zoo, tiny, tmp_path):
    report = fine_tune(f"open_clip:{tiny}", pairs_file(zoo), tmp_path / "out", QUICK)
    assert isinstance(report, LoraReport)
    assert report.trial.recall.helps
    assert report.folder == str(tmp_path / "out")
    assert "Written to" in "\n".join(report.lines())
    old, new = load_encoder(f"open_clip:{tiny}"), load_encoder(f"open_clip:{tmp_path / 'out'}")
    assert old.spec.fingerprint != new.spec.fingerprint
    tower = new.spec.tower_of("visual")
    sample = ImageSample(np.full((32, 32, 3), (200, 10, 10), np.uint8))
    one, two = (each.encode(tower, [each.prepare(tower, sample)]) for each in (old, new))
    assert one.shape == two.shape
    assert not np.allclose(one, two, atol=1e-3)


def test_what_is_merged_is_what_was_trained(zoo, tiny, tmp_path):
    """The written network gives the vectors of the one with matrices beside its layers."""
    import torch

    from mmsearch.training.gathered import Processes
    from mmsearch.training.lora import _picture_and_words, _Tuning
    from mmsearch.training.pairs import read_pairs

    both = [_picture_and_words(pair) for pair in read_pairs(pairs_file(zoo)).pairs]
    tuning = _Tuning(str(tiny), both, QUICK, Processes(0, 1))
    with torch.no_grad():
        for weight in tuning._weights:
            weight.normal_(std=0.1, generator=torch.Generator().manual_seed(0))
    rows = np.arange(8)
    before = tuning._vectors(rows)
    tuning.write(tmp_path / "merged")
    encoder = load_encoder(f"open_clip:{tmp_path / 'merged'}")
    tower = encoder.spec.tower_of("visual")
    made = encoder.encode(tower, [encoder.prepare(tower, tuning._picture(both[row][0])) for row in rows.tolist()])
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    np.testing.assert_allclose(made, before.items, atol=1e-4)


@pytest.mark.slow
def test_two_processes_take_the_same_steps_as_one(zoo, tiny, tmp_path):
    pairs = pairs_file(zoo)
    script = tmp_path / "run.py"
    script.write_text(
        f"""
import json, sys, numpy as np, torch
torch.set_num_threads(1)
from mmsearch.training.gathered import Processes
from mmsearch.training.lora import LoraOptions, _Tuning, _picture_and_words
from mmsearch.training.pairs import read_pairs
processes = Processes.join()
both = [_picture_and_words(pair) for pair in read_pairs({str(pairs)!r}).pairs]
tuning = _Tuning({str(tiny)!r}, both, LoraOptions(rank=2, rate=1e-2), processes)
optimiser = torch.optim.SGD([*tuning._weights, tuning._scale], lr=0.5)
losses = [tuning._step(np.arange(at, at + 16), optimiser, np.random.default_rng(at)) for at in (0, 16, 32)]
if processes.rank == 0:
    weights = torch.cat([weight.detach().flatten() for weight in [*tuning._weights, tuning._scale]])
    np.savez(sys.argv[1], weights=weights.numpy(), losses=losses, count=processes.count)
processes.leave()
""",
        encoding="utf-8",
    )
    root = str(Path(__file__).parents[2])
    found = []
    for count in (1, 2):
        out = tmp_path / f"{count}.npz"
        torchrun = [*("-m", "torch.distributed.run", "--standalone"), f"--nproc-per-node={count}"]
        done = subprocess.run(
            [sys.executable, *(torchrun if count > 1 else []), str(script), str(out)],
            env={**__import__("os").environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found.append(np.load(out))
    one, two = found
    assert (one["count"], two["count"]) == (1, 2)
    np.testing.assert_allclose(two["losses"], one["losses"], rtol=1e-4)
    np.testing.assert_allclose(two["weights"], one["weights"], atol=2e-4)


def test_only_models_of_open_clip_are_taken(zoo, tmp_path):
    with pytest.raises(UsageError, match="open_clip"):
        fine_tune("clap:laion/clap-htsat-unfused", "nowhere", tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    with pytest.raises(UsageError, match="in use"):
        fine_tune("open_clip:/nowhere", "nowhere", tmp_path / "full")
