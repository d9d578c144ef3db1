"""The parts of a drawn explanation, each a strip of full width: pictures, timeline, lines of text, shares of terms."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw

from mmsearch.explain.heat_colours import overlay
from mmsearch.explain.pictures import read_picture
from mmsearch.explain.values import Explanation, Line, PictureMap, Stretch, WordShare
from mmsearch.output.colours import ACCENT, BRIGHT, GOOD, GROUND, MAT, QUIET
from mmsearch.output.fonts import Letters
from mmsearch.output.text import clean, clock, percent, times, whole_percents

_log = logging.getLogger(__name__)

WARM = (249, 142, 9)
COOL = (110, 130, 170)

_PICTURE_HEIGHT = 360
_LANE = 46
_FRAMES = 10
_MOST_ROWS = 14


@dataclass(slots=True)
class Canvas:
    """How wide a strip is, and the letters on it."""

    width: int
    margin: int
    letters: dict[int, Letters] = field(default_factory=lambda: {size: Letters(size) for size in (13, 15, 17, 26)})

    @property
    def inner(self) -> int:
        """The width between the margins."""
        return self.width - 2 * self.margin

    def strip(self, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
        """An empty strip, and a pen for it."""
        image = Image.new("RGB", (self.width, height), GROUND)
        return image, ImageDraw.Draw(image)


Panel = Callable[[Explanation, Canvas], Iterator[Image.Image]]


# --- pictures ---


def pictures(why: Explanation, canvas: Canvas) -> Iterator[Image.Image]:
    """The picture as it is, and with the heat of each term, two beside each other."""
    tiles: list[tuple[Image.Image, str]] = []
    shown: set[float | None] = set()
    for one in why.maps:
        try:
            pixels = read_picture(why.path, why.kind, one.start_seconds, _PICTURE_HEIGHT).pixels
        except Exception:  # the file may have gone since: the rest is still worth drawing
            _log.debug("no picture of %r", why.path, exc_info=True)
            return
        picture = Image.fromarray(pixels)
        picture.thumbnail(((canvas.inner - 24) // 2, _PICTURE_HEIGHT), Image.Resampling.LANCZOS)
        if one.start_seconds not in shown:
            when = "" if one.start_seconds is None else f"the frame at {clock(one.start_seconds)}"
            tiles.append((picture, when))
            shown.add(one.start_seconds)
        tiles.append((overlay(picture, one.values, one.box), _map_caption(one)))
    for at in range(0, len(tiles), 2):
        row = tiles[at : at + 2]
        image, pen = canvas.strip(max(tile.height for tile, _ in row) + 44)
        for column, (tile, caption) in enumerate(row):
            left = canvas.margin + column * ((canvas.inner - 24) // 2 + 24)
            image.paste(tile, (left, 0))
            small = canvas.letters[15]
            small.draw(pen, (left, tile.height + 22), small.fitted(caption, (canvas.inner - 24) // 2), QUIET)
        yield image


def _map_caption(one: PictureMap) -> str:
    nothing = "" if one.values.any() else ": no part speaks for it"
    return f"{clean(one.asked)}{nothing}   cosine {one.cosine:.3f}, {one.method}"


# --- timeline ---


def timeline(why: Explanation, canvas: Canvas) -> Iterator[Image.Image]:
    """Frames or waveform, and below them a lane for each channel: how well each moment answers by itself."""
    timed = [stretch for stretch in why.stretches if stretch.start_seconds is not None]
    until = max((stretch.end_seconds or 0.0 for stretch in timed), default=0.0)
    if not timed or until <= 0:
        return
    yield _film(why, canvas, until)
    for channel in dict.fromkeys(stretch.channel for stretch in timed):
        yield _lane([stretch for stretch in timed if stretch.channel == channel], channel, canvas, until)
    yield _axis(canvas, until)


def _film(why: Explanation, canvas: Canvas, until: float) -> Image.Image:
    """What is seen or heard along the time."""
    image, _ = canvas.strip(84)
    width, height = canvas.inner, 72
    try:
        if why.kind == "video":
            step = width // _FRAMES
            for number in range(_FRAMES):
                pixels = read_picture(why.path, "video", until * (number + 0.5) / _FRAMES, height).pixels
                frame = Image.fromarray(pixels)
                scale = max(step / frame.width, height / frame.height)
                frame = frame.resize((max(step, round(frame.width * scale)), max(height, round(frame.height * scale))))
                left = (frame.width - step) // 2
                image.paste(frame.crop((left, 0, left + step - 2, height)), (canvas.margin + number * step, 6))
        else:
            image.paste(_wave(why.path, (width, height), until), (canvas.margin, 6))
    except Exception:
        _log.debug("no film of %r", why.path, exc_info=True)
    return image


def _wave(path: str, size: tuple[int, int], until: float) -> Image.Image:
    from pathlib import Path

    from indexer.media import sniff
    from indexer.media.audio import stretch

    place = Path(path)
    sound = stretch(place, sniff(place), 0.0, min(until, 3600.0), 8000)
    image = Image.new("RGB", size, MAT)
    pen = ImageDraw.Draw(image)
    bars = size[0] // 3
    filled = max(1, round(bars * len(sound) / 8000 / until))
    pieces = np.array_split(np.abs(sound), filled)
    peaks = np.array([piece.max() if len(piece) else 0.0 for piece in pieces])
    loudest = max(float(peaks.max()), 1e-3)
    for number, peak in enumerate(peaks.tolist()):
        half = max(0.5, peak / loudest * size[1] * 0.45)
        pen.rectangle((number * 3, size[1] / 2 - half, number * 3 + 1, size[1] / 2 + half - 1), fill=COOL)
    return image


def _lane(stretches: Sequence[Stretch], channel: str, canvas: Canvas, until: float) -> Image.Image:
    """Bars over time, as high as each moment's confidence; those that make the score in another colour."""
    image, pen = canvas.strip(_LANE + 26)
    canvas.letters[13].draw(pen, (canvas.margin, 16), channel, QUIET)
    heights = _heights(stretches)
    top, bottom = 22, 22 + _LANE
    pen.rectangle((canvas.margin, top, canvas.margin + canvas.inner, bottom), fill=MAT)
    best = max(stretches, key=lambda stretch: (stretch.part, stretch.score))
    for stretch, height in sorted(zip(stretches, heights, strict=True), key=lambda pair: pair[0].part):
        left = canvas.margin + (stretch.start_seconds or 0.0) / until * canvas.inner
        right = canvas.margin + (stretch.end_seconds or 0.0) / until * canvas.inner
        box = (left, bottom - height * _LANE, max(left + 1, right - 1), bottom)
        pen.rectangle(box, fill=WARM if stretch.part > 0 else ACCENT)
    words = percent(best.confidence) or f"{best.cosine:.3f}"
    told = f"{clock(best.start_seconds or 0.0)}  {words}" + (f"  adds {best.part:+.1f}" if best.part else "")
    small = canvas.letters[13]
    at = canvas.margin + (best.start_seconds or 0.0) / until * canvas.inner
    room = small.width(told)
    lowest = canvas.margin + small.width(channel) + 16
    small.draw(pen, (max(lowest, min(at, canvas.margin + canvas.inner - room)), 16), told, BRIGHT)
    return image


def _heights(stretches: Sequence[Stretch]) -> list[float]:
    """Scores as heights in [0, 1]: square roots of confidences, so that small ones are seen; else cosines, spread."""
    if all(stretch.confidence is not None for stretch in stretches):
        return [max(0.02, (stretch.confidence or 0.0) ** 0.5) for stretch in stretches]
    cosines = np.array([stretch.cosine for stretch in stretches])
    low, high = float(cosines.min()), float(cosines.max())
    return [0.05 + 0.95 * (value - low) / (high - low or 1.0) for value in cosines.tolist()]


def _axis(canvas: Canvas, until: float) -> Image.Image:
    image, pen = canvas.strip(30)
    small = canvas.letters[13]
    for number in range(5):
        label = clock(until * number / 4)
        x = canvas.margin + canvas.inner * number / 4
        shift = small.width(label) * number / 4
        small.draw(pen, (x - shift, 14), label, QUIET)
    return image


# --- lines ---


def lines(why: Explanation, canvas: Canvas) -> Iterator[Image.Image]:
    """What was said or written, each word on a ground as warm as what it does for the similarity."""
    highest = max((share.drop for line in why.lines for share in line.words), default=0.0)
    for line in why.lines:
        yield _line(line, canvas, highest)


def _line(line: Line, canvas: Canvas, highest: float) -> Image.Image:
    letters, small = canvas.letters[17], canvas.letters[13]
    rows = _flow(line, canvas, letters)
    image, pen = canvas.strip(34 + 28 * len(rows) + 14)
    when = "" if line.start_seconds is None else f"  {times(line.start_seconds, line.end_seconds)}"
    small.draw(pen, (canvas.margin, 20), f"{line.channel}{when}   cosine {line.cosine:.3f}", QUIET)
    for number, row in enumerate(rows):
        baseline = 34 + 28 * number + 18
        for x, text, share in row:
            warmth = 0.0 if share is None or highest <= 0 else max(0.0, share.drop / highest)
            if warmth > 0.08:
                fill = tuple(round(a + (b - a) * warmth * 0.8) for a, b in zip(GROUND, (188, 78, 24), strict=True))
                pen.rounded_rectangle((x - 3, baseline - 18, x + letters.width(text) + 3, baseline + 7), 3, fill=fill)
            letters.draw(pen, (x, baseline), text, BRIGHT if warmth > 0.08 else QUIET)
            if share is not None and share.literal:
                pen.line((x, baseline + 5, x + letters.width(text), baseline + 5), fill=GOOD, width=2)
    return image


def _flow(line: Line, canvas: Canvas, letters: Letters) -> list[list[tuple[float, str, WordShare | None]]]:
    """Words in rows, each with where it begins and its share; at most fourteen rows."""
    rows: list[list[tuple[float, str, WordShare | None]]] = [[]]
    x, end = float(canvas.margin), 0
    for begin, until, share in _tokens(line):
        text = letters.fitted(clean(line.text[begin:until]), canvas.inner)
        width = letters.width(text)
        x += 8 if begin > end else 0
        if x + width > canvas.margin + canvas.inner and rows[-1]:
            if len(rows) == _MOST_ROWS:
                rows[-1].append((x, "…", None))
                break
            rows.append([])
            x = float(canvas.margin)
        rows[-1].append((x, text, share))
        x, end = x + width, until
    return rows


def _tokens(line: Line) -> Iterator[tuple[int, int, WordShare | None]]:
    """What stands between blanks, cut where a word begins or ends: from, up to, and the word's share."""
    at = 0
    shares = [(share.start, share.end, share) for share in line.words]
    for start, end, share in [*shares, (len(line.text), len(line.text), None)]:
        for found in re.finditer(r"\S+", line.text[at:start]):
            yield at + found.start(), at + found.end(), None
        for found in re.finditer(r"\S+", line.text[start:end]):
            yield start + found.start(), start + found.end(), share
        at = end


# --- terms ---


def terms(why: Explanation, canvas: Canvas) -> Iterator[Image.Image]:
    """What each term adds to the score, as bars to the right, and to the left for what takes off."""
    if len(why.terms) < 2:
        return
    letters, small = canvas.letters[15], canvas.letters[13]
    image, pen = canvas.strip(36 + 30 * len(why.terms))
    label_room, number_room = 340, 150
    room = canvas.inner - label_room - number_room
    largest = max([1e-9, *(abs(term.part) for term in why.terms)])
    has_negative = any(term.part < 0 for term in why.terms)
    zero = canvas.margin + label_room + (room / 2 if has_negative else 0)
    reach = room / 2 if has_negative else room
    small.draw(pen, (canvas.margin, 20), "what each term adds to the score", QUIET)
    shares = whole_percents([term.share for term in why.terms])
    for number, (term, share) in enumerate(zip(why.terms, shares, strict=True)):
        baseline = 36 + 30 * number + 16
        name = f"{'-' if term.weight < 0 else ''}{clean(term.asked)}"
        letters.draw(pen, (canvas.margin, baseline), letters.fitted(name, label_room - 20), BRIGHT)
        tip = zero + term.part / largest * reach
        box = (min(zero, tip), baseline - 14, max(zero, tip, zero + 1), baseline + 4)
        pen.rectangle(box, fill=WARM if term.part > 0 else COOL)
        shown = f"{term.part:+.2f}   {share:+} %"
        letters.draw(pen, (canvas.width - canvas.margin - letters.width(shown), baseline), shown, QUIET)
    yield image


PANELS: tuple[Panel, ...] = (pictures, timeline, lines, terms)
