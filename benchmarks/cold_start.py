"""What `mmsearch query "..."` costs from process start to printed result, and where the time goes.

usage: python benchmarks/cold_start.py [--counts 1000,100000] [--runs 7] [--folder DIR] [--venv DIR] [--json FILE]

Libraries are filled with random unit vectors straight through the store (a query's cost does not depend on their
values) and calibrated, then queried in fresh processes with a warm page cache: with `mini`, with ViT-B-32-256 of
open_clip, the same with its text tower left to torch, and with rclip 3.3.0, in a venv of its own, on the same weights
and as many vectors. All take turns, round after round; figures are medians in seconds. Processor time is that of all
threads, and is what to compare on a busy machine. Weights are random: no hub is needed. The package onnx makes rclip's
files.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from _alternate import machine
from _random_models import clip_weights
from _rclip import ARCHITECTURE, Rclip

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
t = time.time(); engine._library.index("visual"); mark("load index", t)
t = time.time(); engine.query(sys.argv[3]); mark("encode and search", t)
print(json.dumps({name: end - begin for name, begin, end in marks}))
"""


@dataclass(frozen=True)
class Way:
    """A command, and how long it took: (clock, processor time of all threads) of each run, in seconds."""

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    runs: list[tuple[float, float]] = field(default_factory=list)

    def run(self) -> None:
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(
            self.command, env={**os.environ, **self.environment}, cwd=self.folder, capture_output=True, check=False
        )
        clock, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode not in (0, 1):
            sys.exit(f"{' '.join(self.command)} failed: {done.stderr.decode()}")
        self.runs.append((clock, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))

    @property
    def clock(self) -> float:
        return statistics.median(clock for clock, _ in self.runs[1:])  # the page cache is warm after the first

    @property
    def processor(self) -> float:
        return statistics.median(processor for _, processor in self.runs[1:])


def fill(folder: Path, model: str, count: int) -> None:
    """A calibrated library of `count` pictures with random vectors."""
    from indexer.library import Library
    from indexer.records import FilePlace, NewContent, NewSegment, Outcome
    from indexer.types import MediaInfo
    from mmsearch.background import calibrate
    from mmsearch.encoders import load_encoder

    rng = np.random.default_rng(0)
    library = Library.open(folder, create=True)
    encoder = load_encoder(model)
    with library.writing():
        generation = library.use(encoder.spec)
        root, _ = library.store.add_root("/benchmark")
        dim = encoder.spec.tower_of("visual").dim
        for start in range(0, count, 5000):
            vectors = rng.normal(size=(min(5000, count - start), dim)).astype(np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            library.store.write(
                generation,
                [
                    Outcome(
                        FilePlace(root, str(start), f"{n}.jpg", 1, 1),
                        NewContent(
                            f"{start + n}", MediaInfo("image", "jpeg", 640, 480), [NewSegment("visual", vector)]
                        ),
                    )
                    for n, vector in enumerate(vectors)
                ],
            )
        calibrate(library, encoder)
        library.save_indexes()
    if hasattr(encoder, "keep_text"):
        encoder.keep_text()
    library.close()


def split(library: Path, runs: int) -> dict[str, float]:
    rows = []
    for _ in range(runs + 1):
        command = [sys.executable, "-c", SPLIT, str(library), repr(time.time()), TEXT]
        rows.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    return {name: statistics.median(row[name] for row in rows[1:]) for name in rows[0]}


def import_times(command: Sequence[str], runs: int) -> list[tuple[str, int, float]]:
    """Packages by what importing them takes, best of the runs: name, number of modules, milliseconds."""
    best: dict[str, int] = {}
    for _ in range(runs):
        line = [sys.executable, "-X", "importtime", *command[1:]]
        said = subprocess.run(line, capture_output=True, text=True, check=False).stderr
        for own, name in re.findall(r"^import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)$", said, re.MULTILINE):
            best[name] = min(best.get(name, sys.maxsize), int(own))
    spent, modules = Counter[str](), Counter[str]()
    for name, microseconds in best.items():
        package = name.partition(".")[0]
        package = "the standard library" if package in sys.stdlib_module_names else package
        spent[package] += microseconds
        modules[package] += 1
    return [(name, modules[name], microseconds / 1000) for name, microseconds in spent.most_common()]


def measure(ways: Mapping[str, Way], runs: int) -> None:
    for _ in range(runs + 1):
        for way in ways.values():
            way.run()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", default="1000,100000")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="where models and libraries are kept; else a temporary one")
    parser.add_argument("--venv", type=Path, help="rclip's; made if it is not there; else in the folder")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = (options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        found = run(folder, options.venv or folder / "venv", list(map(int, options.counts.split(","))), options.runs)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


def run(folder: Path, venv: Path, counts: list[int], runs: int) -> dict[str, Any]:
    os.environ["MMSEARCH_CACHE"] = str(folder / "cache")  # what is kept for these weights is no use to anybody
    weights = clip_weights(folder, ARCHITECTURE)
    models = {"mini": "mini", ARCHITECTURE: f"open_clip:{ARCHITECTURE}/{weights}+speech:off"}
    rclip = Rclip.make(venv, folder / "rclip", weights)
    mmsearch = [sys.executable, "-m", "mmsearch"]
    print(machine(), "\n")
    helped = {"help": Way([*mmsearch, "--help"])}
    measure(helped, runs)
    print(f"mmsearch --help: {helped['help'].clock:.2f} s\n")
    found: dict[str, Any] = {"machine": machine(), "help": helped["help"].clock, "queries": [], "split": {}}
    print("| pictures | way | clock, s | processor time, s | clock, rclip's over it |\n|---|---|---|---|---|")
    for count in counts:
        searched = folder / "pictures"
        searched.mkdir(exist_ok=True)
        peer = rclip.another(folder / f"rclip-{count}")
        peer.fill(searched, count)
        ways = {f"rclip 3.3.0, {ARCHITECTURE}": Way(peer.command("-n", TEXT), peer.environment, searched)}
        for name, model in models.items():
            library = folder / f"{name}-{count}"
            if not library.exists():
                partial = library.with_name(f"partial-{library.name}")
                shutil.rmtree(partial, ignore_errors=True)
                fill(partial, model, count)
                partial.rename(library)
            ways[f"mmsearch, {name}"] = Way([*mmsearch, "query", TEXT, "--library", str(library)])
        ours = ways[f"mmsearch, {ARCHITECTURE}"]
        ways[f"mmsearch, {ARCHITECTURE}, text by torch"] = Way(ours.command, {"MMSEARCH_KEEP_TEXT": "off"})
        measure(ways, runs)
        first = next(iter(ways.values()))
        for name, way in ways.items():
            row = {"pictures": count, "way": name, "clock": way.clock, "processor": way.processor}
            found["queries"].append(row)
            ratio = first.clock / way.clock
            print(f"| {count:,} | {name} | {way.clock:.2f} | {way.processor:.2f} | {ratio:.2f} |", flush=True)
    print()
    for count in counts:
        parts = split(folder / f"{ARCHITECTURE}-{count}", runs)
        if count == counts[0]:
            print("| pictures | " + " | ".join(parts) + " |\n|" + "---|" * (len(parts) + 1))
        print(f"| {count:,} | " + " | ".join(f"{seconds:.3f}" for seconds in parts.values()) + " |")
        found["split"][count] = parts
    rows = import_times([*mmsearch, "query", TEXT, "--library", str(folder / f"{ARCHITECTURE}-{counts[0]}")], runs)
    print("\n| importing | modules | ms |\n|---|---|---|")
    for name, modules, milliseconds in rows[:12]:
        print(f"| {name} | {modules} | {milliseconds:.0f} |")
    others, rest = sum(row[1] for row in rows[12:]), sum(row[2] for row in rows[12:])
    print(f"| others | {others} | {rest:.0f} |\n\n{machine()}")
    found["imports"] = rows
    return found


if __name__ == "__main__":
    main()
