"""One file on its way through the pipeline: the segments that it gives, and what becomes of it at the end."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from indexer.likeness import look_of
from indexer.records import FilePlace, NewContent, NewSegment, Outcome
from indexer.scan import FoundFile
from indexer.schema import FAILED, SKIPPED
from indexer.types import Channel, ImageSample, MediaInfo, Sample, TextSample, Vectors

_NO_TIME = -1  # a time of modification that no file has: the next run opens it again


@dataclass(slots=True, eq=False)
class Slot:
    """The place of one segment whose vector is still to come; of an `unread` text, which has none, no vector will."""

    job: Job
    channel: Channel
    start_seconds: float | None
    end_seconds: float | None
    text: str | None
    look: bytes | None
    vector: Vectors | None = None
    norm: float = 1.0
    unread: bool = False

    @classmethod
    def of(cls, job: Job, channel: Channel, sample: Sample, *, unread: bool = False) -> Slot:
        """The place for one sample's vector. It does not hold the sample, which may be large.

        What a picture looks like is worked out here: for pictures, this is called in a decoding thread.
        """
        text = sample.text if isinstance(sample, TextSample) else None
        look = look_of(sample.pixels) if isinstance(sample, ImageSample) else None
        return cls(job, channel, sample.start_seconds, sample.end_seconds, text, look, unread=unread)


@dataclass(slots=True, eq=False)
class Job:
    """A file that is being worked on. A decoding thread fills it; the encoding thread completes it."""

    root_id: int
    file: FoundFile
    is_new: bool
    content_before: int | None = None
    key: tuple[str, str] | None = None  # digest and format, once they are known
    leads: bool = False  # other jobs with the same bytes wait for this one
    content_id: int | None = None  # the store has this content already
    info: MediaInfo | None = None
    problems: list[str] = field(default_factory=list)
    failure: str | None = None
    unsupported: bool = False
    transient: bool = False  # the failure says nothing of the bytes: try again in the next run
    speech_lines: int | None = None
    slots: list[Slot] = field(default_factory=list)
    awaited: int = 0  # slots without a vector
    ended: bool = False

    @property
    def skipped(self) -> bool:
        """Whether the file never said that it was something we read: it has no suffix."""
        return self.unsupported and not os.path.splitext(self.file.name)[1]

    def expect(self, slot: Slot) -> None:
        """Wait for one more vector, unless there will be none; slots of a channel keep the order of their samples."""
        self.slots.append(slot)
        self.awaited += not slot.unread

    def fill(self, slot: Slot, vector: Vectors, norm: float) -> None:
        """Put a vector in its place. `vector`: (dim,) float32 of length 1; `norm`: the length that it had."""
        slot.vector, slot.norm = vector, norm
        self.awaited -= 1

    def inherit(self, leader: Job) -> None:
        """Take over what became of the job with the same bytes: what is wrong with the bytes is wrong with both."""
        self.failure, self.unsupported, self.transient = leader.failure, leader.unsupported, leader.transient
        if leader.transient:
            self.failure = f"a file with the same content, {leader.file.path}, could not be read; index again"

    def outcome(self, frame_similarity: float) -> Outcome:
        """What the store is to record of this file."""
        found = self.file
        mtime_ns = _NO_TIME if self.transient else found.mtime_ns
        place = FilePlace(self.root_id, found.directory, found.name, found.size, mtime_ns)
        if self.skipped:
            return Outcome(place, None, SKIPPED, _storable(self.failure))
        if self.failure is not None:
            return Outcome(place, None, FAILED, _storable(self.failure))
        if self.content_id is not None:
            return Outcome(place, self.content_id)
        if self.key is None or self.info is None:
            raise ValueError(f"{found.path} was neither decoded nor refused")
        segments = [
            NewSegment(
                slot.channel,
                slot.vector,
                slot.start_seconds,
                slot.end_seconds,
                _storable(slot.text),
                slot.norm,
                slot.look,
            )
            for slot in self.slots
            if slot.vector is not None or slot.unread
        ]
        if self.info.kind == "video":
            frames = thin([s for s in segments if s.channel == "visual"], frame_similarity)
            segments = frames + [s for s in segments if s.channel != "visual"]
        problem = _storable("; ".join(self.problems) or None)
        return Outcome(place, NewContent(self.key[0], self.info, segments, problem, self.speech_lines))


def _storable(text: str | None) -> str | None:
    """A text without lone halves of surrogate pairs, which no database takes; messages quote names that hold them."""
    return None if text is None else text.encode("utf-8", "backslashreplace").decode("utf-8")


def thin(frames: Sequence[NewSegment], similarity: float) -> list[NewSegment]:
    """Fold each frame that shows nothing new into the frame before it, whose span then covers both.

    A frame is folded when its cosine to the last *kept* frame is above `similarity`, so that a slow
    pan is not folded into where it began.
    """
    kept: list[NewSegment] = []
    for frame in frames:
        before = kept[-1].vector if kept else None
        if before is not None and frame.vector is not None and float(np.dot(before, frame.vector)) > similarity:
            kept[-1] = replace(kept[-1], end_seconds=frame.end_seconds)
        else:
            kept.append(frame)
    return kept
