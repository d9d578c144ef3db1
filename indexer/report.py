"""What a person may choose about an indexing run, what they see while it goes on, and what they get at its end."""

from __future__ import annotations

import os
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class IndexOptions:
    """What may be chosen about an indexing run.

    `workers`: decoding threads. `batch_size`: samples that a tower encodes at once.
    `frame_similarity`: a video frame whose cosine to the last kept one is above this is folded into it.
    `max_pixels`: pixels to decode for one picture, above which it is refused.
    `commit_files`, `commit_seconds`: results are committed after so many files or so long.
    """

    workers: int = max(1, os.cpu_count() or 1)
    batch_size: int = 32
    hidden: bool = False
    ignore_files: bool = True
    prune: bool = False
    retry_failed: bool = False
    wait: bool = False
    frame_similarity: float = 0.95
    max_pixels: int = 64_000_000
    commit_files: int = 64
    commit_seconds: float = 1.0

    def __post_init__(self) -> None:
        if self.workers < 1 or self.batch_size < 1 or self.commit_files < 1:
            raise ValueError("workers, batch_size and commit_files must be at least 1")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is. `found` files are to be opened so far; it still grows while `scanning`."""

    found: int
    done: int
    failed: int
    unchanged: int
    scanning: bool


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that could not be used, or only in part, and why."""

    path: str
    reason: str


@dataclass(slots=True)
class IndexReport:
    """What a run did, in files.

    `added` and `changed` were encoded; `linked` were new names of known contents, of which `moved` were
    found gone from their old place; `no_speech` had sound without speech; `unread` hold nothing but text that the model
    cannot read, and are found by their words; `missing` are gone from disk and kept until pruned. `failures` holds the
    first few of those `failed`, `partial` or unreadable; `failed_folders` of the failed are unreadable folders.
    `unreachable` are roots that are not there (an unplugged disk); what is known of them is kept.
    """

    added: int = 0
    changed: int = 0
    linked: int = 0
    moved: int = 0
    unchanged: int = 0
    failed: int = 0
    failed_folders: int = 0
    partial: int = 0
    skipped: int = 0
    missing: int = 0
    pruned: int = 0
    no_speech: int = 0
    unread: int = 0
    segments: int = 0
    ignored: int = 0
    other: int = 0
    seconds: float = 0.0
    interrupted: bool = False
    failures: list[Failure] = field(default_factory=list)
    unreachable: list[str] = field(default_factory=list)

    def note_failure(self, path: str, reason: str) -> None:
        """Keep a failure to show, as long as there are not too many: the store has them all."""
        if len(self.failures) < _FAILURES_SHOWN:
            self.failures.append(Failure(path, reason))


_FAILURES_SHOWN = 100
