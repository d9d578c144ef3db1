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

_LEFT_OVER_SECONDS = 600.0  # a base that nobody names yet may be about to be named, when it is younger


@dataclass(frozen=True, slots=True, eq=False)
class Content:
    """What the files of an index hold."""

    base: Base | None
    settings: Settings | None
    parts: list[Exact]


def write(path: Path, stamp: Stamp, content: Content) -> None:
    """Write the index file, and before it that of its base if it is new."""
    base, parts = content.base, content.parts
    if base is not None and (base.path is None or base.path.parent != path.parent or not base.path.exists()):
        base.save(path.with_name(f"{path.stem}.{uuid.uuid4().hex}.base"))
    facts: dict[str, Any] = {"stamp": asdict(stamp), "tail": sum(len(part) for part in parts)}
    if base is not None and base.path is not None and content.settings is not None:
        facts |= {"base": base.path.name, "parts": base.facts["parts"], "settings": asdict(content.settings)}
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
        with contextlib.suppress(OSError):  # on Windows, a file that is mapped stays until `_sweep` may remove it
            path.with_name(before["base"]).unlink()
    _sweep(path, kept)


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
        stamp, tail = Stamp(**facts["stamp"]), facts["tail"]
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
            known = facts["settings"]
            settings = Settings(**known | {name: tuple(known[name]) for name in ("depths", "recalls")})
            content = Content(base, settings, content.parts)
        return content, stamp


def remove_files(path: Path) -> None:
    """Remove an index file, and those of its bases as far as they let themselves be removed."""
    path.unlink(missing_ok=True)
    _sweep(path, None, younger=True)


def _head_of(path: Path) -> dict[str, Any] | None:
    try:
        with opened(path) as file:
            return read_head(file, INDEX_MAGIC)
    except IndexFileError:
        return None


def _sweep(path: Path, keep: Path | None, *, younger: bool = False) -> None:
    """Remove the bases that an index file does not name, but none that another process may be about to name."""
    for base in names_of(path):
        with contextlib.suppress(OSError):
            if base != keep and (younger or time.time() - base.stat().st_mtime > _LEFT_OVER_SECONDS):
                base.unlink()
