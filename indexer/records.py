"""Values that go into the store and come out of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from indexer.schema import PRESENT
from indexer.types import Channel, MediaInfo, Vectors

FOLDER_PROBLEM = "the folder cannot be read"
"""How the reason begins that is kept of a folder, which is recorded as a file that failed would be."""


@dataclass(frozen=True, slots=True)
class KnownFile:
    """What the store knows of a name on disk."""

    id: int
    size: int
    mtime_ns: int
    state: str
    content_id: int | None


@dataclass(frozen=True, slots=True)
class Position:
    """How far the vectors of a channel have come.

    No id is above `last_id`; there are `vectors` of them; `removals` were ever deleted; `saved_index`
    names the only index file that may be believed.
    """

    last_id: int
    vectors: int
    removals: int
    saved_index: str | None


@dataclass(frozen=True, slots=True, eq=False)
class NewSegment:
    """A segment to be written.

    `vector`: (dim,) float32 of length 1, None for a text that the model cannot read (`indexer.legible`); `norm`: the
    length that it had as the tower gave it. `look`: what a picture or
    a frame looks like (`indexer.likeness`); None for other channels, and for a picture with too little in it.
    """

    channel: Channel
    vector: Vectors | None
    start_seconds: float | None = None
    end_seconds: float | None = None
    text: str | None = None
    norm: float = 1.0
    look: bytes | None = None


@dataclass(frozen=True, slots=True)
class FilePlace:
    """Where a file is, and what it looked like when it was found."""

    root_id: int
    directory: str
    name: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class NewContent:
    """A content that was encoded for the first time by this generation."""

    digest: str
    info: MediaInfo
    segments: Sequence[NewSegment]
    problem: str | None = None
    speech_lines: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file: a new content, a content that the store has already, or a reason why not."""

    place: FilePlace
    content: NewContent | int | None
    state: str = PRESENT
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Removed:
    """How much a removal took out of the library (nothing on disk is touched)."""

    files: int
    segments: int
