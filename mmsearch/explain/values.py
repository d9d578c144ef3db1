"""What an explanation says, as values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexer.types import Channel, Kind, Vectors
from mmsearch.encoders.heat import Box

if TYPE_CHECKING:
    from PIL import Image

JSON_VERSION = 1


@dataclass(frozen=True, slots=True)
class TermShare:
    """What one term of a query adds to a file's score.

    Attributes:
        asked: the term as the grammar writes it; "the words themselves" for what was found as words.
        weight: its weight in the query; 1 for the words themselves.
        part: what it adds to the score. All parts add up to it.
        share: the part, over the sum of the sizes of all parts: in [-1, 1].
        score: the term's own score where it is best in this file, over chance where that is known; None where it does
            not reach the file.
        cosine: its cosine similarity there.
        channel, start_seconds, end_seconds: where that is.
    """

    asked: str
    weight: float
    part: float
    share: float
    score: float | None = None
    cosine: float | None = None
    channel: Channel | None = None
    start_seconds: float | None = None
    end_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Stretch:
    """One segment of a file (a frame, a window of sound, a line) and what it has to do with the score.

    Attributes:
        channel: what it is compared as.
        start_seconds, end_seconds: None without times.
        text: what is said or written there.
        cosine: its cosine similarity with the query.
        score: what it would score alone, over chance where that is known.
        confidence: of that; None where nothing is calibrated.
        part: how much of the file's score comes from it. A file scores what its best segment scores (for each term
            the best, where terms are put together file by file), so this is 0 for most; all parts, and that of the
            words themselves, add up to the score.
    """

    channel: Channel
    start_seconds: float | None
    end_seconds: float | None
    text: str | None
    cosine: float
    score: float
    confidence: float | None
    part: float


@dataclass(frozen=True, slots=True)
class WordShare:
    """A word of a line, or several in a row, and what it does for the line's cosine similarity.

    `start`, `end`: characters of the line. `drop`: the cosine with it less the cosine without it. `literal`: it was
    also found as a word of the query.
    """

    text: str
    start: int
    end: int
    drop: float
    literal: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """What is said or written in a segment, and which of its words carry its similarity with the query."""

    channel: Channel
    start_seconds: float | None
    end_seconds: float | None
    text: str
    cosine: float
    words: tuple[WordShare, ...]


@dataclass(frozen=True, slots=True, eq=False)
class PictureMap:
    """Where in a picture, or in a frame, a term's score comes from.

    Attributes:
        asked: the term.
        values: (h, w) float32 in [0, 1], 1 where most comes from; all 0 where no part speaks for the term.
        box: which part of the picture the map lies over; the model does not see the rest.
        method: how it was made.
        start_seconds: when the frame is shown; None for a picture.
        cosine: the similarity of the picture with the term.
    """

    asked: str
    values: Vectors
    box: Box
    method: str
    start_seconds: float | None
    cosine: float


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """Why a file answers a query, or why it does not.

    Attributes:
        query: what was asked, in the grammar.
        path: the file.
        kind: what it is.
        score: the sum of all parts: how far the file lies above chance, in log-odds; a cosine where nothing is
            calibrated.
        confidence: of a match; None where nothing is calibrated.
        cosine: the cosine similarity that results show; None for a file with nothing to compare.
        formula: how the score comes about, in words.
        fits_filters: whether the query's filters let the file through.
        terms: what each term adds.
        stretches: the file's segments, in order of time.
        lines: what was said or written where the file is best, word by word.
        maps: pictures and frames, part by part.
        matched: what was found literally, as in `Hit`.
        remarks: what could not be explained, and why.
    """

    query: str
    path: str
    kind: Kind
    score: float
    confidence: float | None
    cosine: float | None
    formula: str
    fits_filters: bool
    terms: tuple[TermShare, ...]
    stretches: tuple[Stretch, ...]
    lines: tuple[Line, ...] = ()
    maps: tuple[PictureMap, ...] = ()
    matched: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The documented JSON values: see docs/json.md."""
        from mmsearch.explain.machine import as_json

        return as_json(self)

    def picture(self) -> Image.Image:
        """The explanation drawn: the picture with its heat, the timeline, the words, the terms' shares."""
        from mmsearch.explain.draw import draw

        return draw(self)

    def save(self, path: str | Path) -> None:
        """Write `picture` as a PNG file, whole or not at all.

        Raises:
            OSError: it cannot be written there.
        """
        from mmsearch.output.files import save_png

        save_png(self.picture(), Path(path), "mmsearch explanation")
