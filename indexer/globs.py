"""Patterns for file names, whatever the case and however an accent is written.

`*` is any text, `?` one character, `[abc]` and `[a-z]` one of these, `[!abc]` none of them. A pattern without "/"
is for the name alone. One with "/" is for the path below a root, folder by folder, where `**` is any number of folders.
"""

from __future__ import annotations

import fnmatch
import os
import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache

MAX_LENGTH = 1000
"""Characters in a pattern: SQLite refuses very long ones, and no path needs them."""

_FEW_STARS = 3


def folded(text: str | bytes) -> str:
    """A name as it is compared: without case, accents composed (macOS keeps them apart)."""
    written = os.fsdecode(text)
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", written).casefold())


def native(pattern: str) -> str | None:
    """The pattern for SQLite's GLOB over lower-case ASCII names; None where the two differ, or it might take long.

    SQLite goes back over every star of a pattern in turn, so that many of them take it forever.
    """
    plain = folded(pattern)
    return None if "[" in plain or plain.count("*") > _FEW_STARS else plain


def name_fits(pattern: str, name: str | bytes) -> bool:
    """Whether a file's name fits a pattern without "/"."""
    return _matcher(pattern)(folded(name)) is not None


def path_fits(pattern: str, directory: str | bytes, name: str | bytes) -> bool:
    """Whether a file's path below its root fits a pattern with "/". `directory` is "" for the root itself."""
    folder = folded(directory)
    parts = [*(folder.split("/") if folder else ()), folded(name)]
    return _parts_fit(_parts(pattern), parts)


def last_part(pattern: str) -> str:
    """What a pattern with "/" asks of the name alone."""
    return pattern.rpartition("/")[2]


def _parts_fit(patterns: Sequence[Callable[[str], object] | None], parts: Sequence[str]) -> bool:
    """Whether all parts fit, row by row of a table: `reached` are numbers of patterns that fit what was read so far."""
    reached = _through_stars({0}, patterns)
    for part in parts:
        following = set()
        for at in reached:
            if at == len(patterns):
                continue
            fits = patterns[at]
            if fits is None:
                following.add(at)
            elif fits(part) is not None:
                following.add(at + 1)
        reached = _through_stars(following, patterns)
        if not reached:
            return False
    return len(patterns) in reached


def _through_stars(reached: set[int], patterns: Sequence[Callable[[str], object] | None]) -> set[int]:
    """Add what follows each `**`, which may stand for no folder at all."""
    for at in range(len(patterns)):
        if at in reached and patterns[at] is None:
            reached.add(at + 1)
    return reached


@lru_cache(maxsize=64)
def _parts(pattern: str) -> tuple[Callable[[str], object] | None, ...]:
    return tuple(None if part == "**" else _matcher(part) for part in pattern.split("/"))


@lru_cache(maxsize=64)
def _matcher(pattern: str) -> Callable[[str], object]:
    return re.compile(fnmatch.translate(folded(pattern))).match
