"""A contact sheet of one video: its key moments in order, with their times and what each stands for."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from PIL import Image, ImageDraw

from indexer.media import sniff
from mmsearch.output.colours import ACCENT, BRIGHT, GROUND, MAT, QUIET
from mmsearch.output.fonts import Letters
from mmsearch.output.text import clean, clock, lasting, many
from mmsearch.output.thumbnails import placeholder
from mmsearch.summary import KeyMoment, Summary

_log = logging.getLogger(__name__)

_PICTURE = (320, 200)
_CAPTION = 72
_SAID_LINES = 2
_GAP = 20
_MARGIN = 36
_HEADER = 92
_BAR = 10

Colour = tuple[int, int, int]

_COVERED: Colour = (52, 88, 138)


def draw(summary: Summary) -> Image.Image:
    """The sheet as a picture: a line of time with the moments on it, and a tile for each."""
    count = len(summary.moments)
    columns = count if count <= 4 else next(n for n in range(3, 7) if n * n >= count or n == 6)
    columns = max(columns, 2)
    rows = -(-count // columns)
    width = 2 * _MARGIN + columns * _PICTURE[0] + (columns - 1) * _GAP
    height = _HEADER + rows * (_PICTURE[1] + _CAPTION) + (rows - 1) * _GAP + _MARGIN
    sheet = Image.new("RGB", (width, height), GROUND)
    letters = {size: Letters(size) for size in (13, 15, 22)}
    _header(ImageDraw.Draw(sheet), summary, width, letters)
    for place, moment in enumerate(summary.moments):
        row, column = divmod(place, columns)
        left = _MARGIN + column * (_PICTURE[0] + _GAP)
        _tile(sheet, (left, _HEADER + row * (_PICTURE[1] + _CAPTION + _GAP)), moment, summary.path, letters)
    return sheet


def _header(pen: ImageDraw.ImageDraw, summary: Summary, width: int, letters: dict[int, Letters]) -> None:
    figures = f"{many(len(summary.moments), 'moment')} of {clock(summary.duration_seconds)}"
    figures += f", {100 * summary.coverage:.0f} % covered"
    room = letters[15].width(figures)
    letters[15].draw(pen, (width - _MARGIN - room, 40), figures, QUIET)
    name = letters[22].fitted(clean(os.path.basename(summary.path)), width - 2 * _MARGIN - room - _GAP)
    letters[22].draw(pen, (_MARGIN, 40), name, BRIGHT)
    inner = width - 2 * _MARGIN
    pen.rectangle((_MARGIN, 60, _MARGIN + inner, 60 + _BAR), fill=MAT)
    whole = summary.duration_seconds or 1.0
    for start, end, share in summary.covered:  # faint where a moment stands for what is seen, as much as it is like it
        first, last = (round(_MARGIN + seconds / whole * inner) for seconds in (start, end))
        pen.rectangle((first, 60, max(first, last - 1), 60 + _BAR), fill=_between(MAT, _COVERED, share))
    for moment in summary.moments:
        left = _MARGIN + moment.start_seconds / whole * inner
        right = max(left + 3, _MARGIN + moment.end_seconds / whole * inner - 3)  # neighbours stay apart
        pen.rectangle((left, 60, right, 60 + _BAR), fill=ACCENT)


def _between(one: Colour, other: Colour, share: float) -> Colour:
    """A colour on the way from one to another, `share` in [0, 1] of it."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _tile(sheet: Image.Image, at: tuple[int, int], moment: KeyMoment, path: str, letters: dict[int, Letters]) -> None:
    (left, top), (width, height) = at, _PICTURE
    pen = ImageDraw.Draw(sheet)
    pen.rectangle((left, top, left + width - 1, top + height - 1), fill=MAT)
    picture = _frame(path, moment.start_seconds)
    sheet.paste(picture, (left + (width - picture.width) // 2, top + (height - picture.height) // 2))
    when = clock(moment.start_seconds)
    letters[15].draw(pen, (left, top + height + 22), when, BRIGHT)
    x = left + letters[15].width(when) + 12
    letters[13].draw(pen, (x, top + height + 22), f"stands for {lasting(moment.stands_for)}", QUIET)
    for number, line in enumerate(letters[13].wrapped(clean(moment.text or ""), width, _SAID_LINES)):
        letters[13].draw(pen, (left, top + height + 42 + 18 * number), line, QUIET)


def _frame(path: str, seconds: float) -> Image.Image:
    from indexer.media.video import frame_at

    try:
        place = Path(path)
        picture = Image.fromarray(frame_at(place, sniff(place), seconds, max(_PICTURE)))
    except Exception:  # the file may have gone since
        _log.debug("no frame of %r at %s s", path, seconds, exc_info=True)
        return placeholder(_PICTURE)
    picture.thumbnail(_PICTURE, Image.Resampling.LANCZOS)
    return picture
