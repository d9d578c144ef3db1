"""What benchmarks/encode.py measures of towers. `python _encode_towers.py FOLDER TOWER WAY` is one of its processes."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from _alternate import alternate
from _random_models import CLIP, clap_folder, clip_onnx, clip_weights

from indexer.types import AudioSample, ImageSample, TextSample

Way = Callable[[], int]
PRECISIONS = ("float32", "bfloat16")
BATCH = 32
ONNX_BATCH = 8  # rclip's --indexing-batch-size, unless it is told otherwise
TEXT = "a photograph of two small dogs in the snow by the sea"
_random = np.random.default_rng(0)


def clip_images(folder: Path) -> dict[str, Callable[[], Way]]:
    """Images: the image tower of `fast`."""
    import torch

    from mmsearch.encoders.open_clip import CHUNK, open_clip_towers
    from mmsearch.encoders.threads import map_with_torch

    pixels = _random.integers(0, 256, (BATCH, 240, 320, 3), np.uint8)
    ready = _random.standard_normal((BATCH, 3, 224, 224)).astype(np.float32)

    def ours(precision: str) -> Way:
        tower, _ = open_clip_towers(f"{CLIP}/{clip_weights(folder)}", precision=precision)
        prepared = [tower.prepare(ImageSample(picture)) for picture in pixels]
        return lambda: len(tower.encode(prepared))

    def bare(precision: str) -> Way:
        tower, _ = open_clip_towers(f"{CLIP}/{clip_weights(folder)}", precision=precision)
        network, dtype = tower._model.network, getattr(torch, precision)
        chunks = torch.from_numpy(ready).to(dtype).split(CHUNK)
        return lambda: sum(map(len, map_with_torch(network.encode_image, chunks)))

    def rclip() -> Way:
        session = onnx_session(clip_onnx(folder)[0])
        chunks = [ready[at : at + ONNX_BATCH] for at in range(0, BATCH, ONNX_BATCH)]
        return lambda: sum(len(session.run(None, {"input": chunk})[0]) for chunk in chunks)

    return _ways(ours, bare) | {"rclip's ONNX float32": rclip}


def clip_texts(folder: Path) -> dict[str, Callable[[], Way]]:
    """Texts: the text tower of `fast`, which questions go through."""
    import torch

    from mmsearch.encoders.open_clip import open_clip_towers
    from mmsearch.encoders.threads import map_with_torch

    def tower_of(precision: str) -> Any:
        return open_clip_towers(f"{CLIP}/{clip_weights(folder)}", precision=precision)[1]

    def ours(precision: str) -> Way:
        tower = tower_of(precision)
        prepared = [tower.prepare(TextSample(TEXT))] * BATCH
        return lambda: len(tower.encode(prepared))

    def bare(precision: str) -> Way:
        tower = tower_of(precision)
        network = tower._model.network
        ready = [torch.from_numpy(tower.prepare(TextSample(TEXT)))[None]] * BATCH
        return lambda: sum(map(len, map_with_torch(network.encode_text, ready)))

    def rclip() -> Way:
        session = onnx_session(clip_onnx(folder)[1])
        ready = np.stack([tower_of("float32").prepare(TextSample(TEXT))])
        return lambda: sum(len(session.run(None, {"input": ready})[0]) for _ in range(BATCH))

    return _ways(ours, bare) | {"rclip's ONNX float32": rclip}


def clap_sounds(folder: Path) -> dict[str, Callable[[], Way]]:
    """Seconds of sound: the audio tower of `fast`; a window of 10 s for every 5 s of a file."""
    import torch

    from mmsearch.encoders.clap import CHUNK, clap_towers
    from mmsearch.encoders.threads import map_with_torch

    sounds = [AudioSample(_random.standard_normal(480_000).astype(np.float32) / 10, 48_000) for _ in range(8)]

    def ours(precision: str) -> Way:
        tower, _ = clap_towers(str(clap_folder(folder)), precision=precision)
        prepared = [tower.prepare(sound) for sound in sounds]
        return lambda: int(len(tower.encode(prepared)) * tower.hop_seconds)

    def bare(precision: str) -> Way:
        tower, _ = clap_towers(str(clap_folder(folder)), precision=precision)
        model, hop = tower._half._model, tower.hop_seconds
        ready = torch.from_numpy(np.stack([tower.prepare(sound) for sound in sounds])[:, None])
        chunks = ready.to(getattr(torch, precision)).split(CHUNK)

        def forward(chunk: torch.Tensor) -> torch.Tensor:
            return model(input_features=chunk, is_longer=torch.zeros(len(chunk), 1, dtype=torch.bool)).audio_embeds

        return lambda: int(sum(map(len, map_with_torch(forward, chunks))) * hop)

    def spectrograms() -> Way:
        tower, _ = clap_towers(str(clap_folder(folder)), precision="float32")
        return lambda: int(sum(1 for sound in sounds if len(tower.prepare(sound))) * tower.hop_seconds)

    return _ways(ours, bare) | {"spectrograms alone, one thread": spectrograms}


def clap_texts(folder: Path) -> dict[str, Callable[[], Way]]:
    """Texts: CLAP's text tower, which questions go through."""
    import torch

    from mmsearch.encoders.clap import clap_towers
    from mmsearch.encoders.threads import map_with_torch
    from mmsearch.encoders.transformers_half import TEXTS_PER_CHUNK

    def tower_of(precision: str) -> Any:
        return clap_towers(str(clap_folder(folder)), precision=precision)[1]

    def ours(precision: str) -> Way:
        tower = tower_of(precision)
        prepared = [tower.prepare(TextSample(TEXT))[:16]] * BATCH
        return lambda: len(tower.encode(prepared))

    def bare(precision: str) -> Way:
        tower = tower_of(precision)
        model = tower._half._model
        chunks = torch.from_numpy(np.stack([tower.prepare(TextSample(TEXT))[:16]] * BATCH)).split(TEXTS_PER_CHUNK)
        return lambda: sum(len(out.text_embeds) for out in map_with_torch(lambda ids: model(input_ids=ids), chunks))

    return _ways(ours, bare)


def documents(folder: Path) -> dict[str, Callable[[], Way]]:
    """Texts of 128 tokens: MiniLM, for documents and speech in every model."""
    import torch

    from mmsearch.encoders.bert import bert_torch
    from mmsearch.encoders.minilm import TextTower
    from mmsearch.encoders.threads import map_with_torch

    ids = _random.integers(1000, 30_000, (64, 128))

    def ours() -> Way:
        tower = TextTower()
        tower._encoded_tokens = 10**9  # as after the first few documents: in torch
        return lambda: len(tower.encode(list(ids)))

    def bare() -> Way:
        weights = TextTower()._torch_weights
        chunks = torch.from_numpy(ids).split(32)
        return lambda: sum(map(len, map_with_torch(lambda chunk: bert_torch(weights, chunk), chunks)))

    return {"mmsearch float32": ours, "bare float32": bare}


def mini_images(folder: Path) -> dict[str, Callable[[], Way]]:
    """Images: EfficientNet-Lite2, of `mini`."""
    import torch

    from mmsearch.encoders.efficientnet import Classifier
    from mmsearch.encoders.images import ImageTower
    from mmsearch.encoders.minilm import TextTower
    from mmsearch.encoders.threads import map_with_torch

    pixels = _random.integers(0, 256, (BATCH, 260, 260, 3), np.uint8)

    def ours() -> Way:
        tower = ImageTower(TextTower())
        return lambda: len(tower.encode(list(pixels)))

    def bare() -> Way:
        network = Classifier()._network
        ready = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(128).sub(1)
        chunks = ready.contiguous(memory_format=torch.channels_last).split(1)
        return lambda: sum(map(len, map_with_torch(network, chunks)))

    return {"mmsearch float32": ours, "bare float32": bare}


TOWERS = {
    "ViT-B-32, images": clip_images,
    "ViT-B-32, texts of 77 tokens": clip_texts,
    "CLAP, seconds of sound": clap_sounds,
    "CLAP, texts of 16 tokens": clap_texts,
    "MiniLM, texts of 128 tokens": documents,
    "EfficientNet-Lite2, images": mini_images,
}


def _ways(ours: Callable[[str], Way], bare: Callable[[str], Way]) -> dict[str, Callable[[], Way]]:
    made: dict[str, Callable[[], Way]] = {}
    for precision in PRECISIONS:
        made[f"mmsearch {precision}"] = lambda p=precision: ours(p)
        made[f"bare {precision}"] = lambda p=precision: bare(p)
    return made


def onnx_session(path: Path) -> Any:
    """As rclip 3.3 makes it: one thread for each core that this process may use, and nothing else set."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    options.intra_op_num_threads = max(1, cores or 1)
    return onnxruntime.InferenceSession(str(path), sess_options=options, providers=["CPUExecutionProvider"])


def measure(folder: Path, tower: str, rounds: int, seconds: float, *, memory: bool) -> list[dict[str, Any]]:
    """A row for each way of one tower: its rate, processor time, and peak memory (of a process of its own)."""
    rows = _child(folder, tower, "", rounds, seconds)
    if memory:
        for row in rows:
            row["peak_mb"] = _child(folder, tower, row["way"], 0, 0.0)[0]["peak_mb"]
    return rows


def _child(folder: Path, tower: str, way: str, rounds: int, seconds: float) -> list[dict[str, Any]]:
    command = [sys.executable, __file__, str(folder), tower, way, str(rounds), str(seconds)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def _measure_here(folder: Path, tower: str, only: str, rounds: int, seconds: float) -> list[dict[str, Any]]:
    ways: dict[str, Way] = {}
    for name, make in TOWERS[tower](folder).items():
        if not only or name == only:
            try:
                ways[name] = make()
            except ImportError as error:
                print(f"left out: {name} ({error}; pip install onnx onnxruntime)", file=sys.stderr)
    speeds = alternate(ways, max(rounds, 1), seconds)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return [{"tower": tower, "way": name, "peak_mb": peak / 1e6, **asdict(speed)} for name, speed in speeds.items()]


if __name__ == "__main__":
    found = _measure_here(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5]))
    print(json.dumps(found))
