"""Patterns for file names, whatever the case and however an accent is written.

`*` is any text, `?` one character, `[abc]` and `[a-z]` one of these, `[!abc]` none of them. A pattern without "/"
is for the name alone. One with "/" is for the path below a root, folder by folder, where `**` is any number of folders.
"""

from __future__ import annotations

import fnmatch
import os
import re
import unicodedata
from collections.abc import Callable, Iterable
from functools import lru_cache

MAX_LENGTH = 1000
"""Characters in a pattern: SQLite refuses very long ones, and no path needs them."""

_FEW_STARS = 3

_Parts = tuple[Callable[[str], object] | None, ...]
"""A matcher for each part of a pattern with "/", None for "**"."""


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
    reached = _reached_in(pattern, directory)
    return bool(reached) and len(_parts(pattern)) in _step(reached, _parts(pattern), folded(name))


def last_part(pattern: str) -> str:
    """What a pattern with "/" asks of the name alone."""
    return pattern.rpartition("/")[2]


@lru_cache(maxsize=4096)
def _reached_in(pattern: str, directory: str | bytes) -> frozenset[int]:
    """How far into a pattern its folders lead: numbers of parts that what was read so far may end before.

    All files of a folder share this, so it is found once.
    """
    patterns, folder = _parts(pattern), folded(directory)
    reached = _through_stars({0}, patterns)
    for part in folder.split("/") if folder else ():
        reached = _step(reached, patterns, part)
    return frozenset(reached)


def _step(reached: Iterable[int], patterns: _Parts, part: str) -> set[int]:
    following = set()
    for at in reached:
        if at < len(patterns):
            fits = patterns[at]
            if fits is None:
                following.add(at)
            elif fits(part) is not None:
                following.add(at + 1)
    return _through_stars(following, patterns)


def _through_stars(reached: set[int], patterns: _Parts) -> set[int]:
    """Add what follows each `**`, which may stand for no folder at all."""
    for at in range(len(patterns)):
        if at in reached and patterns[at] is None:
            reached.add(at + 1)
    return reached


@lru_cache(maxsize=64)
def _parts(pattern: str) -> _Parts:
    return tuple(None if part == "**" else _matcher(part) for part in pattern.split("/"))


@lru_cache(maxsize=64)
def _matcher(pattern: str) -> Callable[[str], object]:
    return re.compile(fnmatch.translate(folded(pattern))).match
