"""What belongs together: pairs from a JSONL file, from a folder with captions, and from the library itself.

A pair has two sides. A side is words, or a file, or stored segments of the library. A JSONL file has one pair a line,
with two of the keys image, audio, video, document and text; `start` and `end`, in seconds, say which part of a sound
or a video is meant; `text` may be a list of captions, each of which makes a pair:

    {"image": "photos/cat.jpg", "text": ["a cat on a sofa", "our cat"]}
    {"video": "trip.mp4", "start": 12.5, "end": 20, "text": "the boat leaves"}
    {"text": "how long does the dough rest?", "document": "bread.md"}
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from indexer.errors import UsageError
from indexer.names import Channel
from mmsearch.evaluation.datasets.folder import Folder, canonical, kind_of
from mmsearch.evaluation.datasets.reading import bad_line, read_lines, squeezed

SideKind = Literal["text", "image", "audio", "video", "document"]

FILES: tuple[SideKind, ...] = ("image", "audio", "video", "document")


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a pair.

    `value`: the words, or the absolute path of a file. `segments`: ids of stored segments of one channel, `channel`,
    that stand for it in place of the file. `start_seconds`, `end_seconds`: the part that is meant; None for all of it.
    """

    kind: SideKind
    value: str
    start_seconds: float | None = None
    end_seconds: float | None = None
    channel: Channel | None = None
    segments: tuple[int, ...] = ()

    @property
    def key(self) -> str:
        """The same for two sides that are the same thing: words without regard to case and blanks, or a file's part."""
        if self.kind == "text":
            return f"text:{squeezed(self.value).casefold()}"
        if self.segments:
            return f"segments:{self.segments}"
        return f"{self.kind}:{self.value}:{self.start_seconds}:{self.end_seconds}"

    @property
    def group(self) -> str:
        """The same for all parts of one file, and for words that are the same."""
        return self.key if self.kind == "text" else f"file:{self.value}"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two sides that belong together. `source`: where it was found, in words."""

    one: Side
    other: Side
    source: str


@dataclass(slots=True)
class Found:
    """Pairs, and what was passed over and why, as lines for people."""

    pairs: list[Pair] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def read_pairs(place: str | os.PathLike[str]) -> Found:
    """The pairs of a JSONL file, or of a folder.

    Raises:
        UsageError: there is no such file or folder, or a line is no pair.
    """
    path = Path(os.path.expanduser(os.fspath(place)))
    if path.is_dir():
        return _in_folder(path)
    if not path.is_file():
        raise UsageError(
            f"there is nothing at {path}; name a JSONL file of pairs, or a folder with captions beside files"
        )
    found = Found()
    for number, line in read_lines(path):
        found.pairs += _of_line(path, number, line)
    return found


def _of_line(path: Path, number: int, line: str) -> Iterator[Pair]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise bad_line(
            path, number, f"no JSON ({error})", 'a pair such as {"image": "cat.jpg", "text": "a cat"}'
        ) from None
    if not isinstance(row, dict):
        raise bad_line(path, number, f"a {type(row).__name__}", 'a pair such as {"image": "cat.jpg", "text": "a cat"}')
    kinds = [kind for kind in (*FILES, "text") if kind in row]
    other = sorted(set(row) - {*FILES, "text", "start", "end"})
    if len(kinds) != 2 or other:
        what = f"the keys {', '.join(sorted(row)) or 'of nothing'}"
        raise bad_line(path, number, what, f"two of {', '.join((*FILES, 'text'))}, and start and end where wanted")
    span = _span(path, number, row)
    sides = [_sides(path, number, kind, row[kind], span) for kind in kinds]
    for one in sides[0]:
        for mate in sides[1]:
            yield Pair(one, mate, path.name)


def _span(path: Path, number: int, row: dict[str, Any]) -> tuple[float, float] | None:
    if "start" not in row and "end" not in row:
        return None
    start, end = row.get("start"), row.get("end")
    fits = all(isinstance(at, int | float) and not isinstance(at, bool) and math.isfinite(at) for at in (start, end))
    if not fits or not 0 <= start < end:  # type: ignore[operator]
        raise bad_line(path, number, f"start {start!r} and end {end!r}", "both, in seconds, with 0 <= start < end")
    return float(start), float(end)  # type: ignore[arg-type]


def _sides(path: Path, number: int, kind: SideKind, value: Any, span: tuple[float, float] | None) -> list[Side]:
    if kind == "text":
        texts = value if isinstance(value, list) else [value]
        if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
            raise bad_line(path, number, f"the text {value!r}", "words, or a list of captions")
        return [Side("text", squeezed(text)) for text in texts]
    if not isinstance(value, str) or not value.strip():
        raise bad_line(path, number, f"the {kind} {value!r}", "the path of a file")
    place = canonical(os.path.join(path.parent, os.path.expanduser(value)))
    if not os.path.isfile(place):
        raise bad_line(
            path,
            number,
            f"the {kind} {value}, where there is no file",
            "a path that is absolute or below the pairs' folder",
        )
    times = span if kind in ("audio", "video") else None
    return [Side(kind, place, *(times or (None, None)))]


# --- a folder ---

_CAPTION_KEYS = ("captions", "caption", "text", "title", "description")


def _in_folder(path: Path) -> Found:
    """Media files, each with the captions in the file beside it: `cat.jpg` with `cat.txt` or `cat.json`."""
    folder, found = Folder(path), Found()
    bare = 0
    for file in folder.files:
        kind = kind_of(file)
        if kind is None or kind == "text":
            continue
        captions = captions_beside(file)
        bare += not captions
        found.pairs += [Pair(Side(kind, file), Side("text", text), "captions beside files") for text in captions]
    if bare:
        found.skipped.append(f"files without a caption beside them: {bare}")
    return found


def captions_beside(file: str) -> list[str]:
    """What the text or JSON file beside a media file says of it: one caption a line, or the caption fields."""
    stem = os.path.splitext(file)[0]
    for path in (f"{file}.txt", f"{stem}.txt", f"{stem}.caption"):
        if os.path.isfile(path):
            return _unique(text for _, text in read_lines(Path(path)))
    for path in (f"{file}.json", f"{stem}.json"):
        if os.path.isfile(path):
            try:
                row = json.loads(Path(path).read_text(encoding="utf-8-sig"))
            except (OSError, ValueError):
                return []
            found = (
                row
                if isinstance(row, list)
                else [row.get(key) for key in _CAPTION_KEYS]
                if isinstance(row, dict)
                else []
            )
            flat = [text for some in found for text in (some if isinstance(some, list) else [some])]
            return _unique(text for text in flat if isinstance(text, str))
    return []


def _unique(texts: Iterator[str] | Any) -> list[str]:
    return list(dict.fromkeys(line for text in texts if (line := squeezed(text))))
