"""Pictures as text: the graphics protocols of terminals, and half-block characters for the rest.

Own encoders, as the packages there are ask the terminal when they are imported (textual-image), lack iTerm2's
protocol, or are held to an old Pillow (term-image).
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

_KITTY_CHUNK = 4096
"""Characters of base64 in one escape sequence, at most (kitty graphics protocol, "Remote client")."""

_SIXEL_COLOURS = 255
"""One of 256 is kept for pixels that are not drawn."""

_SHADES = " ░▒▓█"


def kitty(image: Image.Image, columns: int, rows: int) -> str:
    """A picture fitted into a box of characters, by the kitty graphics protocol. The cursor stays where it is."""
    # One of the two sizes is given, and the terminal finds the other by the picture's proportions.
    size = f"c={columns}" if image.width * rows * 2 >= image.height * columns else f"r={rows}"
    payload = base64.b64encode(_png(image)).decode("ascii")
    pieces = [payload[begin : begin + _KITTY_CHUNK] for begin in range(0, len(payload), _KITTY_CHUNK)]
    first, last = f"a=T,f=100,q=2,C=1,{size},", len(pieces) - 1
    return "".join(
        f"\x1b_G{first if number == 0 else ''}m={int(number < last)};{piece}\x1b\\"
        for number, piece in enumerate(pieces)
    )


def iterm2(image: Image.Image, columns: int, rows: int) -> str:
    """A picture fitted into a box of characters, by iTerm2's inline images. The cursor moves."""
    png = _png(image)
    options = f"inline=1;size={len(png)};width={columns};height={rows};preserveAspectRatio=1"
    return f"\x1b]1337;File={options}:{base64.b64encode(png).decode('ascii')}\x07"


def sixel(image: Image.Image) -> str:
    """A picture, pixel by pixel, as DEC sixels (VT330/VT340 programmer reference, chapter 14). The cursor moves.

    Six rows make a band. In a band, each colour is drawn by itself: a character for each column, whose six bits say
    which of the six pixels have that colour; "!5A" stands for "AAAAA", "$" goes back to the left, "-" down a band.
    """
    import numpy as np

    paletted = image.convert("RGB").quantize(_SIXEL_COLOURS)
    pixels = np.asarray(paletted, np.uint8)
    height, width = pixels.shape
    nothing = _SIXEL_COLOURS
    bands = np.full((-(-height // 6), 6, width), nothing, np.uint8)
    bands.reshape(-1, width)[:height] = pixels
    bits = (1 << np.arange(6, dtype=np.uint8))[:, None]

    palette = paletted.getpalette() or []
    used = sorted(set(np.unique(pixels).tolist()))
    parts = [f'\x1bP0;1;0q"1;1;{width};{height}']  # square pixels; what is not drawn stays as it is
    for colour in used:
        red, green, blue = (round(value * 100 / 255) for value in palette[3 * colour : 3 * colour + 3])
        parts.append(f"#{colour};2;{red};{green};{blue}")
    for band in bands:
        rows = []
        for colour in np.unique(band).tolist():
            if colour != nothing:
                characters = ((band == colour) * bits).sum(axis=0, dtype=np.uint8) + ord("?")
                rows.append(f"#{colour}{_runs(characters.astype(np.uint8).tobytes().decode('ascii'))}")
        parts.append("$".join(rows) + "-")
    return "".join(parts) + "\x1b\\"


def blocks(image: Image.Image, columns: int, rows: int, *, colour: bool) -> Iterator[list[tuple[str, str]]]:
    """A picture as `rows` lines of half blocks, each `columns` wide: pairs of characters and a style of rich's.

    The upper half of a character has the text's colour, the lower half the background's. Without colour there are
    shades of five densities.

    Args:
        image: at most `columns` wide and 2 * `rows` high; what it leaves free is blank.
        columns: width in characters.
        rows: height in characters.
        colour: whether colours may be used.
    """
    picture = image.convert("RGB" if colour else "L")
    width, height = picture.size
    for row in range(rows):
        line: list[tuple[str, str]] = []
        for x in range(min(width, columns)):
            upper, lower = (picture.getpixel((x, y)) if y < height else None for y in (2 * row, 2 * row + 1))
            if not colour:
                lit = [float(value) for value in (upper, lower) if isinstance(value, int | float)]
                line.append((_SHADES[int(sum(lit) / len(lit) / 256 * len(_SHADES))] if lit else " ", ""))
            elif upper is None:
                line.append((" ", ""))
            elif lower is None:
                line.append(("▀", _hex(upper)))
            else:
                line.append(("▀", f"{_hex(upper)} on {_hex(lower)}"))
        line.append((" " * max(0, columns - width), ""))
        yield line


def _hex(pixel: object) -> str:
    return "#" + "".join(f"{value:02x}" for value in pixel) if isinstance(pixel, tuple) else "#000000"


def _runs(characters: str) -> str:
    """Sixels with runs of four and more put together; blank ones at the end are left out."""
    return re.sub(r"(.)\1{3,}", lambda run: f"!{len(run[0])}{run[1]}", characters.rstrip("?"))


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()
