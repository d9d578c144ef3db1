"""How fast the towers of `mini` are in each way that was tried, and how well speech is timed.

    python benchmarks/mini_speed.py [--seconds 1.5] [--skip-speech]

Pictures per second and texts per second are of one process on all cores that it may use. The spoken part
needs espeak-ng (Debian package); its sentences are spoken with pauses of 0.6 to 6 seconds, and the error
is of the start of each sentence's line.
"""

from __future__ import annotations

import argparse
import difflib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from recall_openclipart import RESULTS

from indexer.types import AudioSample
from mmsearch.encoders import speech
from mmsearch.encoders.bert import bert_numpy, bert_torch
from mmsearch.encoders.efficientnet import Classifier, Layer, Network
from mmsearch.encoders.minilm import TextTower
from mmsearch.encoders.speech import SAMPLE_RATE, SpeechRecognizer

SENTENCES = (
    "The quick brown fox jumps over the lazy dog.",
    "Please remember to buy milk and bread.",
    "The train to London leaves from platform seven.",
    "My grandmother planted roses in the garden.",
    "We should discuss the budget for next year.",
    "The weather will be sunny tomorrow afternoon.",
    "Open the window because it is very warm in here.",
    "She plays the violin in the city orchestra.",
    "The children are swimming in the lake.",
    "Turn left at the church and drive two miles.",
    "A large ship is sailing across the ocean.",
    "The doctor will see you on Monday morning.",
)
COLD_QUERY = """
import time; start = time.perf_counter(); last = start
def lap(name):
    global last
    now = time.perf_counter(); print(f"{name}\\t{(now - last) * 1000:.0f}"); last = now
import numpy; lap("import numpy")
from mmsearch.encoders import load_encoder
from indexer.types import TextSample
encoder = load_encoder("mini"); tower = encoder.spec.towers[0]; lap("import mmsearch.encoders, spec")
import tokenizers; lap("import tokenizers")
ids = encoder.prepare(tower, TextSample("a photograph of a cat on a sofa")); lap("load tokenizer, tokenize")
encoder.encode(tower, [ids]); lap("map weights, first forward pass")
encoder.encode(tower, [ids]); lap("another query")
print(f"whole first query\\t{(last - start) * 1000:.0f}")
"""


def per_second(function: Callable[[], object], count: int, seconds: float) -> float:
    function()
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        function()
        done += count
    return done / (time.perf_counter() - start)


def convert(network: Network, dtype: torch.dtype, memory_format: torch.memory_format) -> Network:
    def layer(x: Layer) -> Layer:
        return replace(x, weight=x.weight.to(dtype).contiguous(memory_format=memory_format), bias=x.bias.to(dtype))

    return Network(
        stem=layer(network.stem),
        blocks=tuple(tuple(layer(x) for x in block) for block in network.blocks),
        head=layer(network.head),
        classifier_weight=network.classifier_weight.to(dtype),
        classifier_bias=network.classifier_bias.to(dtype),
    )


def run_images(seconds: float) -> list[dict[str, object]]:
    """Precision, memory layout, batch and threads, on pictures of noise."""
    network = Classifier()._network
    pictures = torch.rand(32, 3, 260, 260) * 2 - 1
    reference = network(pictures[:2]).softmax(dim=1)
    rows: list[dict[str, object]] = []
    for name, dtype, layout in (
        ("fp32, NCHW", torch.float32, torch.contiguous_format),
        ("fp32, channels last", torch.float32, torch.channels_last),
        ("bf16, channels last", torch.bfloat16, torch.channels_last),
    ):
        variant = convert(network, dtype, layout)
        off = float((variant(pictures[:2].to(dtype)).float().softmax(dim=1) - reference).abs().max())
        for size in (1, 8, 32):
            batch = pictures[:size].to(dtype).contiguous(memory_format=layout)
            for threads in (1, torch.get_num_threads()):
                rows.append({"variant": name, "batch": size, "threads": f"{threads} in torch", "off": off})
                before = torch.get_num_threads()
                torch.set_num_threads(threads)
                rows[-1]["per_second"] = per_second(lambda v=variant, b=batch: v(b), size, seconds)
                torch.set_num_threads(before)
        with ThreadPoolExecutor(2, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            singles = list(pictures[:16].to(dtype).contiguous(memory_format=layout).split(1))

            def run(batch: torch.Tensor, variant: Network = variant) -> torch.Tensor:
                with torch.inference_mode():
                    return variant(batch)

            speed = per_second(lambda s=singles, r=run: list(pool.map(r, s)), 16, seconds)
            rows.append({"variant": name, "batch": 1, "threads": "2 pictures at once", "off": off, "per_second": speed})
    return rows


def run_texts(seconds: float) -> list[dict[str, object]]:
    """NumPy and torch, for texts of one length."""
    tower = TextTower()
    weights, rows = tower._weights, []
    as_torch = tower._torch_weights
    as_bf16 = {name: weight.bfloat16() for name, weight in as_torch.items()}
    rng = np.random.default_rng(0)
    for tokens, size in ((8, 1), (16, 64), (64, 32), (250, 8)):
        ids = rng.integers(1000, 30000, (size, tokens))
        reference = pool_tokens(bert_numpy(weights, ids))
        variants: dict[str, Callable[[], NDArray[np.float32]]] = {
            "NumPy": lambda i=ids: bert_numpy(weights, i),
            "torch fp32": lambda i=ids: bert_torch(as_torch, torch.from_numpy(i)).numpy(),
            "torch bf16": lambda i=ids: bert_torch(as_bf16, torch.from_numpy(i)).float().numpy(),
        }
        for name, function in variants.items():
            cosine = float((pool_tokens(function()) * reference).sum(axis=1).min())
            speed = per_second(function, size, seconds)
            rows.append({"variant": name, "tokens": tokens, "batch": size, "cosine": cosine, "per_second": speed})
    tower._encoded_tokens = 10**9
    prepared = [rng.integers(1000, 30000, length) for length in rng.integers(6, 40, 256)]
    speed = per_second(lambda: tower.encode(prepared), 256, seconds)
    rows.append({"variant": "tower, 6 to 40 tokens", "tokens": 23, "batch": 256, "cosine": 1.0, "per_second": speed})
    return rows


def pool_tokens(hidden: NDArray[np.float32]) -> NDArray[np.float32]:
    mean = hidden.mean(axis=1)
    return mean / np.linalg.norm(mean, axis=1, keepdims=True)


def say(text: str) -> NDArray[np.float32]:
    """A sentence spoken by espeak-ng, without silence around it: float32 at 16 kHz."""
    from scipy.signal import resample_poly

    command = ["espeak-ng", "-v", "en-us", "-s", "140", "--stdout", text]
    wave = subprocess.run(command, capture_output=True, check=True).stdout
    # A header of 44 bytes, then 16-bit samples at 22,050 Hz.
    spoken = resample_poly(np.frombuffer(wave[44:], "<i2").astype(np.float32) / 32768, 320, 441)
    loud = np.flatnonzero(np.abs(spoken) > 0.01)
    return spoken[loud[0] : loud[-1] + 1].astype(np.float32)


def speak(pauses: Sequence[float]) -> tuple[NDArray[np.float32], list[float]]:
    """All sentences, each after its pause, and the second at which each begins."""
    parts, starts = [], []
    for pause, sentence in zip(pauses, SENTENCES, strict=True):
        parts.append(np.zeros(int(pause * SAMPLE_RATE), np.float32))
        starts.append(sum(map(len, parts)) / SAMPLE_RATE)
        parts.append(say(sentence))
    return np.concatenate([*parts, np.zeros(SAMPLE_RATE, np.float32)]), starts


def run_speech() -> list[dict[str, object]]:
    """Seconds that a line begins too early or late, for faster-whisper as it is and for the recogniser."""
    rng = np.random.default_rng(3)
    spoken = {
        "pauses of 2 to 6 s": speak(rng.uniform(2, 6, 12)),
        "pauses of 0.6 to 1.5 s": speak(rng.uniform(0.6, 1.5, 12)),
        "one pause of 40 s, one of 25 s": speak([3, 40, 0.7, 0.7, 0.7, 0.7, 25, 1, 1, 1, 1, 1]),
    }
    rows: list[dict[str, object]] = []
    for compute_type, beams in (("int8", 5), ("int8", 1), ("float32", 5), ("float32", 1)):
        speech.COMPUTE_TYPE, speech.BEAM_SIZE = compute_type, beams
        recognizer = SpeechRecognizer()
        recognizer.transcribe(AudioSample(next(iter(spoken.values()))[0], SAMPLE_RATE))
        for name, (waveform, starts) in spoken.items():
            started = time.perf_counter()
            lines = [
                (line.start_seconds or 0.0, line.text)
                for line in recognizer.transcribe(AudioSample(waveform, SAMPLE_RATE))
            ]
            row = score("recogniser", lines, starts)
            row["times_real_time"] = len(waveform) / SAMPLE_RATE / (time.perf_counter() - started)
            rows.append({"compute": compute_type, "beams": beams, "sound": name} | row)
            if (compute_type, beams) == ("int8", 5):
                found, _ = recognizer._model.transcribe(
                    waveform, language="en", temperature=0.0, condition_on_previous_text=False, vad_filter=True
                )
                plain = [(segment.start, segment.text) for segment in found]
                row = score("faster-whisper as it is", plain, starts)
                rows.append({"compute": compute_type, "beams": beams, "sound": name} | row)
    return rows


def score(name: str, lines: Sequence[tuple[float, str]], starts: Sequence[float]) -> dict[str, object]:
    """Sentences with a line of their own, words heard right, and errors of the lines' starts in seconds."""
    errors, alike = [], []
    for sentence, start in zip(SENTENCES, starts, strict=True):
        ratios = [difflib.SequenceMatcher(None, text.strip().lower(), sentence.lower()).ratio() for _, text in lines]
        best = int(np.argmax(ratios)) if ratios else -1
        alike.append(ratios[best] if ratios else 0.0)
        if ratios and ratios[best] > 0.6:
            errors.append(abs(lines[best][0] - start))
    return {
        "method": name,
        "own_line": len(errors),
        "likeness": float(np.mean(alike)),
        "max_error": float(max(errors, default=np.nan)),
        "mean_error": float(np.mean(errors)) if errors else float("nan"),
    }


def show(title: str, rows: Sequence[dict[str, object]]) -> None:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    print(f"\n{title}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for row in rows:
        cells = [row.get(column, "") for column in columns]
        print(f"| {' | '.join(f'{c:.4g}' if isinstance(c, float) else str(c) for c in cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.5, help="how long each variant is run")
    parser.add_argument("--skip-speech", action="store_true")
    arguments = parser.parse_args()
    if not arguments.skip_speech and shutil.which("espeak-ng") is None:
        sys.exit("espeak-ng is needed: apt-get install espeak-ng, or use --skip-speech")
    torch.set_grad_enabled(False)
    TextTower().encode_texts(["unpacks the weights"])
    laps = subprocess.run([sys.executable, "-c", COLD_QUERY], capture_output=True, text=True, check=True).stdout
    cold = [dict(zip(("step", "ms"), line.split("\t"), strict=True)) for line in laps.splitlines()]
    results: dict[str, Sequence[dict[str, object]]] = {"A first text query": [dict(row) for row in cold]}
    results["Pictures"] = run_images(arguments.seconds)
    results["Texts"] = run_texts(arguments.seconds)
    if not arguments.skip_speech:
        results["Speech"] = run_speech()
    for title, rows in results.items():
        show(title, rows)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "mini_speed.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
