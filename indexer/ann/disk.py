"""An index on disk: a small file with the stamp and the tail, which names a large one with the base.

Both are written beside and renamed into place, the base first. A base never changes, so that a process which searches
keeps the one that it has mapped; one that nobody names any more is removed.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from indexer.ann.base import Base, names_of
from indexer.ann.calibration import Settings
from indexer.ann.exact import Exact
from indexer.ann.files import INDEX_MAGIC, Hashed, IndexFileError, Stamp, head, opened, read_head, replaced
from indexer.halves import STORED_DTYPE

_LEFT_OVER_SECONDS = 600.0  # what is younger may still be written, or about to be named


@dataclass(frozen=True, slots=True)
class IndexFacts:
    """How a channel is searched: `structure` is "exact", or what FAISS calls it; `settings` are None when exact.

    `vectors`: how many there are. `scanned`: how many of them are compared with each query.
    """

    structure: str
    vectors: int
    scanned: int
    settings: Settings | None


@dataclass(frozen=True, slots=True, eq=False)
class Content:
    """What the files of an index hold."""

    base: Base | None
    settings: Settings | None
    parts: list[Exact]

    @property
    def facts(self) -> IndexFacts:
        """How it is searched."""
        scanned = sum(len(part) for part in self.parts)
        if self.base is None:
            return IndexFacts("exact", scanned, scanned, None)
        return IndexFacts(self.base.structure.factory, len(self.base) + scanned, scanned, self.settings)


def write(path: Path, stamp: Stamp, content: Content) -> None:
    """Write the index file, and before it that of its base if it is new."""
    base, parts = content.base, content.parts
    if base is not None and (base.path is None or base.path.parent != path.parent or not base.path.exists()):
        base.save(path.with_name(f"{path.stem}.{uuid.uuid4().hex}.base"))
    facts: dict[str, Any] = {"stamp": asdict(stamp), "index": asdict(content.facts)}
    if base is not None and base.path is not None:
        facts |= {"base": base.path.name, "parts": base.facts["parts"]}
    before = _head_of(path) or {}
    with replaced(path) as file:
        file.write(head(INDEX_MAGIC, facts | {"body": {"bytes": 2**62, "xxh3": "0" * 32}}))
        body = Hashed(file)
        dead = np.empty(0, np.int64) if base is None else np.flatnonzero(~base.alive)
        for ids in (dead, *(part.ids for part in parts)):
            body.write(ids.astype("<i8"))
        for part in parts:
            body.write(part.rows)
        file.seek(0)
        file.write(head(INDEX_MAGIC, facts | {"body": body.facts()}))
    kept = None if base is None else base.path
    if "base" in before and (kept is None or kept.name != before["base"]):
        with contextlib.suppress(OSError):  # on Windows, a file that is mapped stays until `sweep` may remove it
            path.with_name(before["base"]).unlink()


def read(path: Path, *, whole: bool = False) -> tuple[Content, Stamp]:
    """Read what `write` wrote; `whole` to read all of it once, the rows that stay in their file included.

    Raises:
        IndexFileError: it is missing or damaged.
    """
    while True:
        before = _head_of(path)
        try:
            return _read(path, whole)
        except IndexFileError:
            if _head_of(path) == before:  # else another process has just put new files in their place
                raise


def _read(path: Path, whole: bool) -> tuple[Content, Stamp]:
    with opened(path) as file:
        facts = read_head(file, INDEX_MAGIC)
        body = Hashed(file)
        data = body.read(facts["body"]["bytes"])
        if body.facts() != facts["body"] or file.read(1):
            raise IndexFileError(f"{path} does not match its checksum")
        stamp, known = Stamp(**facts["stamp"]), _facts(facts)
        tail = known.scanned
        at = len(data) - tail * stamp.dim * STORED_DTYPE.itemsize
        ids = np.frombuffer(data[:at], "<i8").astype(np.int64)
        dead, own = ids[: len(ids) - tail], ids[len(ids) - tail :]
        content = Content(None, None, [])
        if tail:
            part = Exact(stamp.dim)
            part.add(own, np.frombuffer(data, STORED_DTYPE, offset=at).reshape(tail, -1))
            part.frozen = True  # to add to it would copy it
            content.parts.append(part)
        if "base" in facts:
            base = Base.load(path.with_name(facts["base"]), whole=whole)
            if base.facts["parts"] != facts["parts"] or base.dim != stamp.dim:
                raise IndexFileError(f"{base.path} is not what {path} was saved with")
            base.remove(dead)
            content = Content(base, known.settings, content.parts)
        return content, stamp


def read_facts(path: Path) -> IndexFacts | None:
    """How an index is searched, as its file says; None when it is missing or cannot say."""
    try:
        with opened(path) as file:
            return _facts(read_head(file, INDEX_MAGIC))
    except IndexFileError:
        return None


def _facts(head: dict[str, Any]) -> IndexFacts:
    found, settings = head["index"], head["index"]["settings"]
    if settings is not None:
        settings = Settings(**settings | {name: tuple(settings[name]) for name in ("probes", "depths", "recalls")})
    return IndexFacts(**found | {"settings": settings})


def remove_files(path: Path) -> None:
    """Remove an index file, and those of its bases as far as they let themselves be removed."""
    path.unlink(missing_ok=True)
    for base in names_of(path):
        with contextlib.suppress(OSError):
            base.unlink()


def _head_of(path: Path) -> dict[str, Any] | None:
    try:
        with opened(path) as file:
            return read_head(file, INDEX_MAGIC)
    except IndexFileError:
        return None


def sweep(path: Path) -> None:
    """Remove what killed processes, or two that wrote at once, have left beside an index file."""
    named = (_head_of(path) or {}).get("base")
    for left_over in (*names_of(path), *path.parent.glob(f"{path.stem}.*.tmp")):
        with contextlib.suppress(OSError):  # on Windows, a file that is mapped stays until the next time
            if left_over.name != named and time.time() - left_over.stat().st_mtime > _LEFT_OVER_SECONDS:
                left_over.unlink()
