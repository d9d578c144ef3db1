"""The videos and recordings, with scenes of known times, that moments.py asks for: its head says what they are."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _library import MadeFile, MadeLibrary
from _openclipart import ROOT, read_pixels
from _sets import CACHE, Items, encoder, texts_as_vectors
from numpy.typing import NDArray
from PIL import Image

from indexer.library import Library
from indexer.records import NewSegment
from mmsearch import Engine
from mmsearch.background import BackgroundCache

Floats = NDArray[Any]

FILES = {1: 40, 2: 24, 4: 16, 8: 10, 16: 6, 32: 3}  # by scenes, for 424 scenes
CANVAS = (320, 240)
FRAMES_PER_SECOND = 5
CHARACTERS_PER_SECOND = 15


@dataclass(frozen=True, slots=True)
class Scene:
    """Which item is on, from when to when."""

    item: int
    start: float
    end: float


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """A library, the scenes of each of its files, and what there is to ask for."""

    library: MadeLibrary
    scenes: list[list[Scene]]
    items: Items
    names: dict[str, Floats]  # vectors of groups' names

    def close(self) -> None:
        self.library.close()


def cast(items: Items, groups: Floats, times: float, rng: np.random.Generator) -> list[list[int]]:
    """Which items each file shows, none twice; every third of the longer files takes all of one group."""
    left = list(rng.permutation(len(items)))
    files, number = [], 0
    for length, count in sorted(FILES.items(), reverse=True):
        for _ in range(max(1, round(count * times))):
            number += 1
            some: list[int] = []
            if length >= 4 and number % 3 == 0:
                by_group: dict[str, list[int]] = defaultdict(list)
                for item in left:
                    by_group[str(groups[item])].append(item)
                fitting = [rows for rows in by_group.values() if len(rows) >= length]
                if fitting:
                    some = fitting[int(rng.integers(len(fitting)))][:length]
            some = some or left[:length]
            taken = set(some)
            left = [item for item in left if item not in taken]
            if some:
                files.append([int(item) for item in some])
    return files


def videos(items: Items, split: str) -> Made:
    """Drawings as scenes of MP4 files, indexed by the engine. Kept for the next run."""
    rng = np.random.default_rng(0)
    groups = np.array(["/".join(path.split("/")[:-1]) for path in items.paths])
    files = cast(items, groups, 1.0 if len(items) > 500 else 0.45, rng)
    scenes = []
    for some in files:
        ends = np.cumsum(rng.integers(4, 9, len(some))).tolist()
        scenes.append([Scene(i, float(a), float(b)) for i, a, b in zip(some, [0, *ends[:-1]], ends, strict=True)])
    key = hashlib.sha256(f"{encoder().spec.fingerprint} {scenes} {CANVAS} {FRAMES_PER_SECOND}".encode()).hexdigest()[
        :12
    ]
    place = CACHE / f"moments-{split}-{key}"
    if not (place / "done").exists():
        (place / "videos").mkdir(parents=True, exist_ok=True)
        for number, some in enumerate(scenes):
            path = place / "videos" / f"{number:04}.mp4"
            if not path.exists():
                write_video(path, [(read_pixels(ROOT / "png" / items.paths[scene.item]), scene) for scene in some])
        with Engine.open(place / "library", model=encoder()) as engine:
            report = engine.index(place / "videos")
            if report.failed:
                raise SystemExit(f"{report.failed} videos could not be indexed")
        (place / "done").touch()
    library = Library.open(place / "library")
    generation = library.store.generation()
    assert generation is not None
    numbers = {str((place / "videos" / f"{number:04}.mp4").resolve()): number for number in range(len(scenes))}
    named = {str(group): re.sub("_", " ", group.split("/")[-1]) for group in np.unique(groups)}
    names = dict(zip(named, texts_as_vectors(list(named.values())), strict=True))
    by_folder = Items(
        items.name, items.titles, groups, items.development, items.paths, items.texts, items.items, items.queries
    )
    return Made(MadeLibrary(library, generation[0], BackgroundCache(library), numbers), scenes, by_folder, names)


def write_video(path: Path, parts: Sequence[tuple[Floats, Scene]]) -> None:
    """A scene after another, each slowly moved into."""
    import av

    part_path = path.with_suffix(".part.mp4")
    with av.open(str(part_path), "w") as container:
        stream = container.add_stream("libx264", rate=FRAMES_PER_SECOND, options={"crf": "23", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = *CANVAS, "yuv420p"
        for pixels, scene in parts:
            drawing = Image.fromarray(pixels)
            drawing.thumbnail((CANVAS[0] * 5 // 4, CANVAS[1] * 5 // 4))
            canvas = Image.new("RGB", (CANVAS[0] * 5 // 4, CANVAS[1] * 5 // 4), "white")
            canvas.paste(drawing, ((canvas.width - drawing.width) // 2, (canvas.height - drawing.height) // 2))
            count = round((scene.end - scene.start) * FRAMES_PER_SECOND)
            for number in range(count):
                inset = 0.1 * number / count
                box = (
                    canvas.width * inset,
                    canvas.height * inset,
                    canvas.width * (1 - inset / 2),
                    canvas.height * (1 - inset / 2),
                )
                frame = canvas.resize(CANVAS, Image.Resampling.BILINEAR, box)
                container.mux(stream.encode(av.VideoFrame.from_image(frame)))
        container.mux(stream.encode())
    part_path.rename(path)


def recordings(items: Items, folder: Path) -> Made:
    """Descriptions as passages of recordings: a line of speech for a sentence."""
    rng = np.random.default_rng(1)
    sentences = [[s for s in re.split(r"(?<=[.!?:]) +", text) if len(s) > 20] for text in items.texts]
    usable = np.array([3 <= len(some) <= 6 for some in sentences])
    items, sentences = items.of(usable), [some for some, use in zip(sentences, usable, strict=True) if use]
    files = cast(items, items.groups, 3.0 if len(items) > 1500 else 0.8, rng)
    lines = [line for some in files for item in some for line in sentences[item]]
    vectors = iter(texts_as_vectors(lines))
    made, scenes = [], []
    for some in files:
        at, segments, passages = 0.0, [], []
        for item in some:
            start = at
            for line in sentences[item]:
                end = at + len(line) / CHARACTERS_PER_SECOND
                segments.append(NewSegment("speech", next(vectors), at, end, line))
                at = end
            passages.append(Scene(item, start, at))
        made.append(MadeFile("audio", segments))
        scenes.append(passages)
    names = {str(group): str(group) for group in np.unique(items.groups)}
    vectors_of_names = dict(zip(names, texts_as_vectors(list(names.values())), strict=True))
    return Made(MadeLibrary.make(folder, made), scenes, items, vectors_of_names)
