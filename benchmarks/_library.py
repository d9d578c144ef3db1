"""A library of vectors that were made before, asked with vectors that were made before: the real ranking, no model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from _sets import encoder

from indexer.filters import Filter
from indexer.found import StoredSegments, files_of, segments_of
from indexer.library import Library
from indexer.names import Channel, Kind, Modality
from indexer.records import FilePlace, NewContent, NewSegment, Outcome
from indexer.types import Encoder, MediaInfo, Vectors
from mmsearch.background import BackgroundCache, calibrate
from mmsearch.calibration import Backgrounds
from mmsearch.plan import Plan, Scored, make_plan
from mmsearch.query import Query
from mmsearch.readings import Approach, Reading
from mmsearch.search import _candidates
from mmsearch.terms import Term

ROOT = "/media"
_FORMATS: dict[Kind, str] = {"image": "png", "text": "txt", "video": "mp4", "audio": "flac"}


@dataclass(frozen=True, slots=True, eq=False)
class MadeFile:
    """A file to be: its kind, and its segments."""

    kind: Kind
    segments: Sequence[NewSegment]
    name: str = ""


@dataclass(eq=False)
class MadeLibrary:
    """A library made of `MadeFile`s, each known by its number."""

    library: Library
    generation_id: int
    backgrounds: BackgroundCache
    numbers: dict[str, int] = field(default_factory=dict)

    @classmethod
    def make(cls, folder: Path, files: Iterable[MadeFile], model: Encoder | None = None) -> MadeLibrary:
        """Write the files into a new library, and calibrate it as an indexing run would."""
        model = model or encoder()
        library = Library.open(folder, create=True)
        numbers = {}
        with library.writing():
            generation_id = library.use(model.spec)
            root, _ = library.store.add_root(ROOT)
            waiting: list[Outcome] = []
            for number, made in enumerate(files):
                ending = _FORMATS[made.kind]
                name = made.name or f"{number:06}.{ending}"
                numbers[f"{ROOT}/{name}"] = number
                directory, _, name = name.rpartition("/")
                info = MediaInfo(made.kind, ending)
                place = FilePlace(root, directory, name, 1, 1)
                waiting.append(Outcome(place, NewContent(f"digest {number}", info, made.segments)))
                if len(waiting) == 256:
                    library.store.write(generation_id, waiting)
                    waiting = []
            library.store.write(generation_id, waiting)
            calibrate(library, model)
            library.save_indexes()
        return cls(library, generation_id, BackgroundCache(library), numbers)

    def plan(self, readings: Sequence[Reading], weights: Sequence[float] = (), **how: Any) -> Plan:
        """How a query of these terms reaches the library; `how` are fields of `Query`."""
        weights = weights or [1.0] * len(readings)
        query = Query(tuple(Term("text", "a term", weight) for weight in weights), **how)
        return make_plan(self.library, self.generation_id, self._chance, query, readings, Filter())

    def scored(self, plan: Plan) -> list[Scored]:
        """All segments with what they score."""
        return [plan.score(some) for some in self.segments if some.channel in plan.routes]

    def ranking(self, readings: Sequence[Reading], weights: Sequence[float] = (), **how: Any) -> list[int]:
        """All files by number, best first, as the engine ranks them, and without its short cuts to the first ten."""
        plan = self.plan(readings, weights, **how)
        keys = {content: candidate.key for content, candidate in _candidates(plan, self.scored(plan), {}).items()}
        order = sorted(keys, key=lambda content: (-round(keys[content] / plan.tie), content))
        return [self.number_of[content] for content in order]

    @cached_property
    def _chance(self) -> Backgrounds:
        return self.backgrounds.read(self.generation_id)

    @cached_property
    def segments(self) -> list[StoredSegments]:
        """All segments, channel by channel."""
        return segments_of(self.library.store, self.generation_id, list(self.number_of))

    @cached_property
    def number_of(self) -> dict[int, int]:
        """Files' numbers by the ids of their contents."""
        contents = range(1, 2 * len(self.numbers) + 10)
        found = files_of(self.library.store, list(contents), Filter())
        return {content: self.numbers[file.paths[0]] for content, file in found.items()}

    def close(self) -> None:
        self.library.close()


def reading(vector: Vectors, modality: Modality, channels: Sequence[Channel]) -> Reading:
    """A term that is one vector, the same in each channel that it reaches."""
    return dict.fromkeys(channels, Approach(np.asarray(vector, np.float32), 1.0, modality))
