"""An explanation as one picture: heat over the picture, the timeline, the words, and what each term adds."""

from __future__ import annotations

import os

from PIL import Image, ImageDraw

from mmsearch.explain.heat_colours import overlay
from mmsearch.explain.panels import PANELS, Canvas
from mmsearch.explain.values import Explanation
from mmsearch.output.colours import BRIGHT, GOOD, GROUND, QUIET
from mmsearch.output.text import clean, percent

WIDTH = 1080
MARGIN = 36

__all__ = ["draw", "overlay"]


def draw(why: Explanation) -> Image.Image:
    """The whole explanation, as wide as it always is and as high as it needs to be."""
    canvas = Canvas(WIDTH, MARGIN)
    pieces = [_header(why, canvas), *(piece for panel in PANELS for piece in panel(why, canvas))]
    height = sum(piece.height for piece in pieces) + MARGIN // 2
    sheet = Image.new("RGB", (WIDTH, height), GROUND)
    top = 0
    for piece in pieces:
        sheet.paste(piece, (0, top))
        top += piece.height
    return sheet


def _header(why: Explanation, canvas: Canvas) -> Image.Image:
    """What was asked, the file, and how sure the match is."""
    image = Image.new("RGB", (WIDTH, 104), GROUND)
    pen = ImageDraw.Draw(image)
    big, small = canvas.letters[26], canvas.letters[15]
    sure = percent(why.confidence)
    room = big.width(sure) if sure else 0.0
    if sure:
        well = why.confidence is not None and why.confidence >= 0.5
        big.draw(pen, (WIDTH - MARGIN - room, 48), sure, GOOD if well else QUIET)
    title = clean(" ".join(why.query.split()))
    big.draw(pen, (MARGIN, 48), big.fitted(title, WIDTH - 2 * MARGIN - room - 24), BRIGHT)
    figures = "" if why.cosine is None else f"cosine {why.cosine:.3f}"
    figures += f"   score {why.score:+.1f} over chance" if why.confidence else ""
    figures += "" if why.fits_filters else "   left out by the query's filters"
    small.draw(pen, (WIDTH - MARGIN - small.width(figures), 78), figures, QUIET)
    name = clean(os.path.basename(why.path))
    small.draw(pen, (MARGIN, 78), small.fitted(name, WIDTH - 2 * MARGIN - small.width(figures) - 24), QUIET)
    return image
