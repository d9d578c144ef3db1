"""Indexing, whole processes from a cold start: beside rclip, plain decoding and the bare tower; and its memory.

usage: python benchmarks/indexing.py [--only images|unchanged|video|audio|memory] [--quick] [--pictures 1000,240]
                                     [--rounds 3] [--folder DIR] [--venv DIR] [--json FILE]

Images: JPEGs of 640 x 480 and 12 megapixels, `mmsearch index` and rclip 3.3.0 (a venv of its own) on the same weights
of ViT-B-32-256, in turns. Memory: the same with 1,000 and 10,000 small files. Unchanged: a second run over 100,000 tiny
files with the fake encoder. Video: a minute and a half of 1080p H.264 made with PyAV, beside plain decoding of
every frame, and an hour of it. Audio: beside the bare tower of a CLAP of the size of laion/clap-htsat-unfused. Weights
are random, because speed does not depend on them: no hub is needed. --folder keeps models and media for another run.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from _alternate import machine
from _photographs import make_photographs
from _random_models import clap_folder, clip_weights
from _rclip import ARCHITECTURE, Rclip

Rows = list[dict[str, Any]]

# What runs in a process of its own: "clock" and "processor" in seconds, and "peak" in bytes, are those of all of it.
INDEX = """
import json, sys
from indexer.testing import FakeEncoder
from mmsearch import Engine
model, library, media = sys.argv[1:4]
with Engine.open(library, model=FakeEncoder() if model == "fake" else model) as engine:
    report = engine.index(media)
if report.failed:
    raise SystemExit(f"{report.failures}")
print(json.dumps({"added": report.added, "unchanged": report.unchanged, "segments": report.segments}))
"""

DECODE_ALL = """
import av, json, sys
frames = 0
with av.open(sys.argv[1]) as container:
    container.streams.video[0].thread_type = "AUTO"
    for frame in container.decode(video=0):
        frames += 1
print(json.dumps({"frames": frames}))
"""

BARE_CLAP = """
import json, sys, time
import numpy as np
from mmsearch.encoders.clap import CHUNK, clap_towers
from indexer.types import AudioSample
tower, _ = clap_towers(sys.argv[1])
window = AudioSample(np.random.default_rng(0).standard_normal(480_000).astype(np.float32) * 0.1, 48_000)
prepared = [tower.prepare(window)] * int(sys.argv[2])
tower.encode(prepared[:8])
begun = time.perf_counter()
tower.encode(prepared)
print(json.dumps({"seconds": time.perf_counter() - begun}))
"""


def run(command: list[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Run a command: its time and memory, and what it printed as JSON, if it did."""
    started = time.perf_counter()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=out, stderr=errors, cwd=cwd, env=env)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        clock = time.perf_counter() - started
        if process.returncode:
            errors.seek(0)
            sys.exit(f"{' '.join(command)} failed: {errors.read().decode()[-2000:]}")
        out.seek(0)
        said = out.read().decode().strip().rpartition("\n")[2]
    unit = 1 if sys.platform == "darwin" else 1024
    row = {"clock": clock, "processor": usage.ru_utime + usage.ru_stime, "peak": usage.ru_maxrss * unit}
    return row | (json.loads(said) if said.startswith("{") else {})


def index(model: str, media: Path, library: Path) -> dict[str, Any]:
    return run([sys.executable, "-c", INDEX, model, str(library), str(media)])


def turns(ways: Mapping[str, Callable[[Path], dict[str, Any]]], rounds: int) -> dict[str, dict[str, Any]]:
    """Each way in turn, round after round, each time in an empty folder: medians of what they return."""
    found: dict[str, Rows] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            with tempfile.TemporaryDirectory() as place:
                found[name].append(way(Path(place)))
    return {name: {key: statistics.median(row[key] for row in rows) for key in rows[0]} for name, rows in found.items()}


def images(folder: Path, options: argparse.Namespace) -> Rows:
    weights = clip_weights(folder, ARCHITECTURE)
    rclip = Rclip.make(options.venv, folder / "rclip", weights)
    model = f"open_clip:{ARCHITECTURE}/{weights}+speech:off"
    rows = []
    print("| pictures | way | pictures/s | processor time for one, ms | peak memory, MB | rclip's time over it |")
    print("|---|---|---|---|---|---|")
    counts = (120, 40) if options.quick else map(int, options.pictures.split(","))
    for size, count in zip(((640, 480), (4000, 3000)), counts, strict=True):
        media = folder / f"{size[0]}x{size[1]}-{count}"
        make_photographs(media, count, size)

        def theirs(place: Path, media: Path = media) -> dict[str, Any]:
            peer = rclip.another(place / "rclip")
            return run(peer.command("a dog"), cwd=media, env=peer.environment)

        def ours(place: Path, media: Path = media) -> dict[str, Any]:
            return index(model, media, place / "library")

        found = turns({"rclip 3.3.0": theirs, "mmsearch index": ours}, options.rounds)
        for name, row in found.items():
            rows.append({"pictures": count, "size": size, "way": name, **row})
            print(
                f"| {count:,} of {size[0]} x {size[1]} | {name} | {count / row['clock']:.1f} |"
                f" {row['processor'] / count * 1000:.0f} | {row['peak'] / 1e6:,.0f} |"
                f" {found['rclip 3.3.0']['clock'] / row['clock']:.2f} |",
                flush=True,
            )
    return rows


def memory(folder: Path, options: argparse.Namespace) -> Rows:
    weights = clip_weights(folder, ARCHITECTURE)
    model = f"open_clip:{ARCHITECTURE}/{weights}+speech:off"
    rows = []
    print("| small pictures | model | peak memory, MB | pictures/s |\n|---|---|---|---|")
    for count in (100, 1000) if options.quick else (1000, 10_000):
        media = folder / f"160x120-{count}"
        make_photographs(media, count, (160, 120))
        with tempfile.TemporaryDirectory() as place:
            row = index(model, media, Path(place) / "library")
        rows.append({"pictures": count, **row})
        print(
            f"| {count:,} | {ARCHITECTURE} | {row['peak'] / 1e6:,.0f} | {count / row['clock']:.1f} |",
            flush=True,
        )
    print(
        f"\n{rows[1]['pictures'] / rows[0]['pictures']:.0f} times the pictures, "
        f"{rows[1]['peak'] / rows[0]['peak']:.2f} times the memory"
    )
    return rows


def unchanged(folder: Path, options: argparse.Namespace) -> Rows:
    rows = []
    print("| text files | first run, s | second run, s | its processor time, s | its peak memory, MB |")
    print("|---|---|---|---|---|")
    for count in (1000, 10_000) if options.quick else (1000, 100_000):
        media = folder / f"texts-{count}"
        if not media.exists():
            partial = folder / f"partial-texts-{count}"
            for number in range(count):
                place = partial / f"{number // 1000:03}" / f"{number:06}.txt"
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(f"red {number}")
            partial.rename(media)
        library = folder / f"texts-{count}.library"
        first = None if library.exists() else index("fake", media, library)
        again = [index("fake", media, library) for _ in range(3)]
        row = {key: statistics.median(run[key] for run in again) for key in again[0]}
        if row["unchanged"] != count:
            sys.exit(f"only {row['unchanged']} of {count} files were unchanged")
        before = "" if first is None else f"{first['clock']:.1f}"
        rows.append({"files": count, "first": first and first["clock"], **row})
        print(
            f"| {count:,} | {before} | {row['clock']:.2f} | {row['processor']:.2f} | {row['peak'] / 1e6:.0f} |",
            flush=True,
        )
    return rows


def video(folder: Path, options: argparse.Namespace) -> Rows:
    rows = []
    seconds = 20 if options.quick else 90
    print("| video | way | s | times real time | segments |\n|---|---|---|---|---|")
    for every in (30, 250):
        media = folder / f"video-{seconds}-{every}"
        file = media / "film.mp4"
        if not file.exists():
            media.mkdir(exist_ok=True)
            _make_video(file, seconds, every)
        ways: dict[str, Callable[[Path], dict[str, Any]]] = {
            "every frame decoded, nothing else": lambda _, file=file: run(
                [sys.executable, "-c", DECODE_ALL, str(file)]
            ),
            "mmsearch index, fake encoder": lambda place, media=media: index("fake", media, place / "library"),
        }
        for name, row in turns(ways, options.rounds).items():
            rows.append({"seconds": seconds, "key frame every": every, "way": name, **row})
            print(
                f"| {seconds} s of 1920 x 1080 at 30/s, key frames every {every} | {name} | {row['clock']:.1f} |"
                f" {seconds / row['clock']:.1f} | {int(row.get('segments', 0)) or ''} |",
                flush=True,
            )
        long = folder / f"video-hour-{every}"
        if not options.quick:
            if not long.exists():
                long.mkdir()
                _repeat(file, long / "film.mp4", 3600 // seconds)
            with tempfile.TemporaryDirectory() as place:
                row = index("fake", long, Path(place) / "library")
            rows.append({"seconds": 3600, "key frame every": every, "way": "mmsearch index, fake encoder", **row})
            print(
                f"| an hour of the same, key frames every {every} | mmsearch index, fake encoder | {row['clock']:.1f} |"
                f" {3600 / row['clock']:.1f} | {row['segments']} |",
                flush=True,
            )
    return rows


def _repeat(file: Path, to: Path, times: int) -> None:
    """A film some times in a row, without coding it again."""
    import av

    with av.open(str(to), "w") as out:
        written, offset = None, 0
        for _ in range(times):
            with av.open(str(file)) as container:
                stream = container.streams.video[0]
                written = written or out.add_stream_from_template(stream)
                for packet in container.demux(stream):
                    if packet.dts is None:
                        continue
                    packet.pts, packet.dts, packet.stream = packet.pts + offset, packet.dts + offset, written
                    out.mux(packet)
                offset += stream.duration


def _make_video(file: Path, seconds: int, every: int) -> None:
    """Photographs that are panned over, one for five seconds: H.264 as a telephone or a stream has it."""
    import av
    from PIL import Image

    photographs = [
        np.asarray(Image.open(path))
        for path in make_photographs(file.parent.parent / "4000x3000-24", 24, (4000, 3000))[:6]
    ]
    with av.open(str(file), "w") as container:
        options = {"preset": "veryfast", "g": str(every), "bf": "3", "sc_threshold": "0"}
        stream = container.add_stream("libx264", rate=30, options=options)
        stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuv420p"
        for number in range(seconds * 30):
            picture, step = photographs[number // 150 % len(photographs)], number % 150
            piece = np.ascontiguousarray(picture[4 * step : 4 * step + 1080, 8 * step : 8 * step + 1920])
            frame = av.VideoFrame.from_ndarray(piece, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def audio(folder: Path, options: argparse.Namespace) -> Rows:
    clap = clap_folder(folder)
    seconds = 120 if options.quick else 600
    media = folder / f"sound-{seconds}"
    if not media.exists():
        media.mkdir()
        noise = np.random.default_rng(0).normal(0, 3000, seconds * 48_000).clip(-32768, 32767).astype("<i2")
        with wave.open(str(media / "noise.wav"), "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(48_000)
            out.writeframes(noise.tobytes())
    windows = 2 * seconds // 10
    bare = [sys.executable, "-c", BARE_CLAP, str(clap), str(windows)]
    ways: dict[str, Callable[[Path], dict[str, Any]]] = {
        "the bare tower, loaded, spectrograms ready": lambda _: run(bare),
        "mmsearch index, whole process": lambda place: index(f"clap:{clap}+speech:off", media, place / "library"),
    }
    rows = []
    print("| sound | way | s | times real time |\n|---|---|---|---|")
    for name, row in turns(ways, options.rounds).items():
        clock = row.get("seconds", row["clock"])
        rows.append({"sound": seconds, "way": name, **row})
        print(
            f"| {seconds} s at 48 kHz, windows every 5 s | {name} | {clock:.1f} | {seconds / clock:.0f} |", flush=True
        )
    return rows


PARTS: dict[str, Callable[[Path, argparse.Namespace], Rows]] = {
    "images": images,
    "memory": memory,
    "unchanged": unchanged,
    "video": video,
    "audio": audio,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--quick", action="store_true", help="fewer files, one round")
    parser.add_argument("--pictures", default="1000,240", help="how many of 640 x 480, and of 12 megapixels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where models and media are kept; else a temporary one")
    parser.add_argument("--venv", type=Path, help="rclip's; made if it is not there; else in the folder")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found: dict[str, Any] = {"machine": machine()}
    print(machine())
    with ExitStack() as stack:
        folder = (options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        options.venv = (options.venv or folder / "venv").absolute()
        options.rounds = 1 if options.quick else options.rounds
        cache = Path(stack.enter_context(tempfile.TemporaryDirectory()))  # what is kept for these weights serves nobody
        os.environ["MMSEARCH_CACHE"] = str(cache)
        for name, part in PARTS.items():
            if options.only in (None, name):
                print()
                shutil.rmtree(cache, ignore_errors=True)
                found[name] = part(folder, options)
    print(f"\n{machine()}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
