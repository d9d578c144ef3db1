"""A contact sheet: results as one picture, with their names, times and scores."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from mmsearch.output.colours import ACCENT, BRIGHT, GOOD, GROUND, MAT, QUIET, WARNING
from mmsearch.output.files import save_png
from mmsearch.output.fonts import Letters
from mmsearch.output.settings import SHEET_MARK, Results
from mmsearch.output.text import clean, cosine, gone, many, percent, snippet, span
from mmsearch.output.thumbnails import thumbnails

if TYPE_CHECKING:
    from mmsearch.rank import Hit

_MOST = 200  # results on a sheet: 40 megapixels
_SECONDS = 60.0  # for all pictures together; those that take longer are left blank

_PICTURE = (320, 240)
_CAPTION = 62
_GAP = 24
_MARGIN = 36
_HEADER = 76

_PAPER = (244, 241, 234)
_INK = (58, 54, 48)


def save(results: Results, path: Path) -> Iterator[str]:
    """Draw the results into a PNG file, whole or not at all; gives remarks for a person.

    Raises:
        OSError: the file cannot be written.
    """
    lacking: set[str] = set()
    sheet = draw(results, lacking)
    save_png(sheet, path, SHEET_MARK)
    if len(results.hits) > _MOST:
        yield f"the contact sheet has the first {_MOST} of {many(len(results.hits), 'result')}"
    if lacking:
        signs = "".join(sorted(lacking)[:20])
        yield (
            f"no font here has {many(len(lacking), 'character')} of the contact sheet ({clean(signs)}): boxes stand "
            "for them; a font such as Noto Sans CJK would have most"
        )


def draw(results: Results, lacking: set[str] | None = None) -> Image.Image:
    """The sheet as a picture; `lacking` receives the characters that no font had."""
    hits = results.hits[:_MOST]
    columns = _columns(len(hits))
    rows = -(-len(hits) // columns)
    width = 2 * _MARGIN + columns * _PICTURE[0] + (columns - 1) * _GAP
    height = _HEADER + rows * (_PICTURE[1] + _CAPTION) + (rows - 1) * _GAP + _MARGIN
    sheet = Image.new("RGB", (width, height), GROUND)
    letters = {size: Letters(size) for size in (15, 17, 26)}
    _header(ImageDraw.Draw(sheet), results, width, letters)
    for place, (hit, picture) in enumerate(zip(hits, thumbnails(hits, _PICTURE, _SECONDS), strict=True)):
        row, column = divmod(place, columns)
        left = _MARGIN + column * (_PICTURE[0] + _GAP)
        top = _HEADER + row * (_PICTURE[1] + _CAPTION + _GAP)
        _tile(sheet, (left, top), place + 1, hit, picture, letters)
    if lacking is not None:
        lacking.update(*(size.lacking for size in letters.values()))
    return sheet


def _columns(count: int) -> int:
    """As wide as high, or wider: 1 to 3 in a row, then 2 x 2, 3 x 2, 3 x 3, 4 x 3, 4 x 4 ... at most 8 in a row."""
    return count if count <= 3 else next(n for n in range(2, 9) if n * n >= count or n == 8)


def _header(pen: ImageDraw.ImageDraw, results: Results, width: int, letters: dict[int, Letters]) -> None:
    found = many(len(results.hits), "result")
    if results.matches_well is False:
        found = f"nothing matches well; the nearest {len(results.hits):,}"
    room = letters[15].width(found)
    baseline = _HEADER - 32
    title = clean(" ".join(results.query.split())) or "query"
    fits = width - 2 * _MARGIN - room - _GAP
    if fits > 120:
        letters[15].draw(pen, (width - _MARGIN - room, baseline), found, QUIET)
    else:
        fits = width - 2 * _MARGIN
    letters[26].draw(pen, (_MARGIN, baseline), letters[26].fitted(title, fits), BRIGHT)


def _tile(
    sheet: Image.Image,
    at: tuple[int, int],
    rank: int,
    hit: Hit,
    picture: Image.Image | None,
    letters: dict[int, Letters],
) -> None:
    """One result: its picture, the name below it, and what is known of it."""
    (left, top), (width, height) = at, _PICTURE
    pen = ImageDraw.Draw(sheet)
    pen.rectangle((left, top, left + width - 1, top + height - 1), fill=MAT if picture else _PAPER)
    if picture is not None:
        sheet.paste(picture, (left + (width - picture.width) // 2, top + (height - picture.height) // 2))
    else:
        text = snippet(hit.text, 400)[0][1:-1] if hit.text else clean(hit.title or "")
        for line_number, line in enumerate(letters[17].wrapped(text, width - 40, 8)):
            letters[17].draw(pen, (left + 20, top + 36 + line_number * 25), line, _INK)
    _label(pen, (left, top + height), span(hit), letters[15])

    name = clean(os.path.basename(hit.path))
    baseline = top + height + 26
    number = f"{rank}  "
    letters[17].draw(pen, (left, baseline), number, ACCENT)
    room = letters[17].width(number)
    mark = gone(hit)
    suffix = len(os.path.splitext(name)[1])
    fits = width - room - letters[15].width(mark)
    shown = letters[17].fitted(name, fits, keep_end=suffix if suffix < 10 else 0)
    letters[17].draw(pen, (left + room, baseline), shown, BRIGHT)
    letters[15].draw(pen, (left + room + letters[17].width(shown), baseline), mark, WARNING)

    baseline += 24
    x = float(left)
    if hit.confidence is not None:
        shown = f"{percent(hit.confidence)}  "
        letters[15].draw(pen, (x, baseline), shown, GOOD if hit.confidence >= 0.5 else QUIET)
        x += letters[15].width(shown)
    rest = f"{cosine(hit.score)}  {hit.kind}"
    letters[15].draw(pen, (x, baseline), rest, QUIET)
    x += letters[15].width(rest)
    if picture is not None and hit.text:
        said = letters[15].fitted(snippet(hit.text, 60)[0], left + width - x - 12)
        letters[15].draw(pen, (x + 12, baseline), said, QUIET)


def _label(pen: ImageDraw.ImageDraw, corner: tuple[int, int], text: str, letters: Letters) -> None:
    """A time in the lower left corner of a picture, on a dark field so that it can be read on any."""
    if not text:
        return
    left, bottom = corner
    width = letters.width(text) + 16
    pen.rounded_rectangle((left + 8, bottom - 32, left + 8 + width, bottom - 8), radius=4, fill=GROUND)
    letters.draw(pen, (left + 16, bottom - 14), text, BRIGHT)
