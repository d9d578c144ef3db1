"""What the server costs beside the engine alone, and how it stands many clients. Bounded in count and time.

The library: 60 photographs of 1600 x 1200 pixels (crops of those that scikit-image carries), a recording of 30 MB, and
as many made pictures as `--segments` says, with vectors drawn by chance: a search costs the same as with others.
Queries are made of everyday words, each asked once, so that every one is encoded. The server is `mmsearch serve` in a
process of its own, on loopback; the clients are this process, whose work is on the same processors.

    python benchmarks/serve.py [--segments 20000] [--queries 200] [--clients 1,8,32,200]
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import threading
import time
import wave
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import psutil
from _measures import save, show
from PIL import Image

from indexer.records import FilePlace, NewContent, NewSegment, Outcome
from indexer.types import MediaInfo
from mmsearch import Engine
from mmsearch.background import calibrate

API = "/api/v1"
PHOTOGRAPHS, SIZE = 60, (1600, 1200)
WORDS = """
red green blue old small large wooden quiet busy sunny rainy empty crowded broken shiny cat dog bird horse boat car
train bridge house garden river mountain street market kitchen window chair lamp book letter map guitar piano violin
drum teacher child baker sailor painter runner winter summer morning night
""".split()  # noqa: SIM905 - a text is easier to read here


def make_media(folder: Path) -> None:
    """Photographs that each differ, and a recording that is large to send."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        raise SystemExit("needs the photographs of scikit-image: pip install -e '.[dev]'")
    source = Path(spec.origin).parent / "data"
    pictures = [Image.open(source / name).convert("RGB") for name in ("coffee.png", "chelsea.png", "astronaut.png")]
    rng = np.random.default_rng(0)
    folder.mkdir()
    for number in range(PHOTOGRAPHS):
        picture = pictures[number % len(pictures)]
        left, top = rng.integers(0, picture.width // 3), rng.integers(0, picture.height // 3)
        crop = picture.crop((left, top, left + picture.width // 2, top + picture.height // 2))
        crop.resize(SIZE, Image.Resampling.BICUBIC).save(folder / f"{number:02}.jpg", quality=90)
    with wave.open(str(folder / "noise.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(rng.integers(-3000, 3000, 15_000_000, dtype=np.int16).tobytes())


def make_library(folder: Path, media: Path, segments: int) -> None:
    """The photographs as they are indexed, and made pictures beside them."""
    with Engine.open(folder, model="mini", speech="off") as engine:
        engine.index(media)
        library = engine.library
        generation_id, spec = library.store.generation() or (0, engine.encoder.spec)
        tower = spec.tower_of("visual")
        assert tower is not None
        rng = np.random.default_rng(1)
        with library.writing():
            root, _ = library.store.add_root("/made")
            for start in range(0, segments, 500):
                vectors = rng.normal(size=(min(500, segments - start), tower.dim)).astype(np.float32)
                vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
                library.store.write(
                    generation_id,
                    [
                        Outcome(
                            FilePlace(root, f"{number % 97}", f"IMG_{number:06}.jpg", 1, 1),
                            NewContent(
                                hashlib.blake2b(str(number).encode(), digest_size=20).hexdigest(),
                                MediaInfo("image", "jpeg", 4000, 3000),
                                [NewSegment("visual", vector)],
                            ),
                        )
                        for number, vector in enumerate(vectors, start)
                    ],
                )
            calibrate(library, engine.encoder)
            library.save_indexes()


def questions(count: int, seed: int) -> list[str]:
    """Queries of three words each, none of them twice."""
    rng = np.random.default_rng(seed)
    found: dict[str, None] = {}
    while len(found) < count:
        found[" ".join(rng.choice(WORDS, 3, replace=False))] = None
    return list(found)


@contextmanager
def serving(library: Path) -> Iterator[tuple[str, psutil.Process]]:
    """The command, listening."""
    command = [sys.executable, "-m", "mmsearch", "serve", "--library", str(library), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as ran:
        assert ran.stdout is not None
        try:
            yield ran.stdout.readline().split()[3].rstrip("/"), psutil.Process(ran.pid)
        finally:
            ran.terminate()


def described(name: str, taken: Sequence[float], whole: float) -> dict[str, Any]:
    milliseconds = 1e3 * np.array(taken)
    return {
        "": name,
        "median ms": f"{np.median(milliseconds):.1f}",
        "95th percentile": f"{np.percentile(milliseconds, 95):.1f}",
        "a second": f"{len(taken) / whole:.0f}",
    }


def by_engine(library: Path, asked: Sequence[str], threads: int) -> dict[str, Any]:
    """The engine alone, in this process."""
    with Engine.open(library) as engine:
        for text in questions(5, seed=9):
            engine.query(text)
        taken: list[float] = []
        rest = iter(asked)
        turn = threading.Lock()

        def work() -> None:
            while True:
                with turn:
                    text = next(rest, None)
                if text is None:
                    return
                start = time.perf_counter()
                engine.query(text)
                taken.append(time.perf_counter() - start)

        workers = [threading.Thread(target=work) for _ in range(threads)]
        start = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return described(f"engine alone, {threads} at once", taken, time.perf_counter() - start)


async def by_clients(url: str, paths: Sequence[str], clients: int, name: str) -> dict[str, Any]:
    """So many clients, each asking for the next path as soon as it has its answer."""
    taken: list[float] = []
    refused = 0
    rest = iter(paths)
    async with httpx2.AsyncClient(
        base_url=url, limits=httpx2.Limits(max_connections=clients), timeout=120, trust_env=False
    ) as client:

        async def work() -> None:
            nonlocal refused
            for path in rest:
                start = time.perf_counter()
                answer = await client.get(path)
                taken.append(time.perf_counter() - start)
                refused += answer.status_code != 200

        start = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(clients)))
    return described(f"{name}, {clients} at once", taken, time.perf_counter() - start) | {"not answered": refused}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--segments", type=int, default=20_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--clients", default="1,8,32,200")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        library, media = Path(folder) / "library", Path(folder) / "media"
        make_media(media)
        make_library(library, media, options.segments)
        rows += [by_engine(library, questions(options.queries, seed), threads) for seed, threads in ((2, 1), (3, 2))]
        with serving(library) as (url, process):
            with httpx2.Client(base_url=url, trust_env=False, timeout=60) as client:
                for text in questions(5, seed=9):
                    client.get(f"{API}/query", params={"q": text, "k": 10}).raise_for_status()
                body = {"terms": [{"text": "a photograph"}], "within": [str(media)], "k": 100}
                hits = client.post(f"{API}/query", json=body).json()["hits"]
                before = process.memory_info().rss
            for number, clients in enumerate(map(int, options.clients.split(","))):
                paths = [
                    f"{API}/query?k=10&q={text.replace(' ', '+')}" for text in questions(options.queries, 20 + number)
                ]
                rows.append(asyncio.run(by_clients(url, paths, clients, "queries")))
            photographs = [hit["item"] for hit in hits if hit["kind"] == "image"]
            for name, times in (("thumbnails, first time", 1), ("thumbnails, kept", 5)):
                paths = [f"{API}/items/{item}/thumbnail?size=256" for item in photographs] * times
                rows.append(asyncio.run(by_clients(url, paths, 8, name)))
            with httpx2.Client(base_url=url, trust_env=False, timeout=60) as client:
                status = client.get(f"{API}/query", params={"q": "noise", "k": 200}).json()["hits"]
                item = next(hit["item"] for hit in status if hit["name"] == "noise.wav")
                start = time.perf_counter()
                size = len(client.get(f"{API}/items/{item}/media").content)
                whole = size / (time.perf_counter() - start) / 1e6
                seeks = []
                for at in range(50):
                    start = time.perf_counter()
                    part = {"Range": f"bytes={at * 500_000}-{at * 500_000 + 65_535}"}
                    client.get(f"{API}/items/{item}/media", headers=part).raise_for_status()
                    seeks.append(time.perf_counter() - start)
            rows.append(described("64 kB somewhere in a file of 30 MB", seeks, sum(seeks)))
            grown = (process.memory_info().rss - before) / 1e6
    title = f"{options.segments:,} segments, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"
    show(title, [row | {"not answered": row.get("not answered", "")} for row in rows])
    print(f"A file whole: {whole:.0f} MB/s. The server's memory grew by {grown:.0f} MB under all of it.")
    save("serve", {"rows": rows, "whole_mb_per_second": whole, "grown_mb": grown})


if __name__ == "__main__":
    main()
