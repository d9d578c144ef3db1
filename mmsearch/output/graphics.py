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


def kitty(image: Image.Image, columns: int, rows: int) -> str:
    """A picture stretched over a box of characters, by the kitty graphics protocol. The cursor stays where it is."""
    # Both sizes are given: with one alone, kitty before 0.34 does not keep the proportions.
    payload = base64.b64encode(_png(image)).decode("ascii")
    pieces = [payload[begin : begin + _KITTY_CHUNK] for begin in range(0, len(payload), _KITTY_CHUNK)]
    first, last = f"a=T,f=100,q=2,C=1,c={columns},r={rows},", len(pieces) - 1
    return "".join(
        f"\x1b_G{first if number == 0 else ''}m={int(number < last)};{piece}\x1b\\"
        for number, piece in enumerate(pieces)
    )


def iterm2(image: Image.Image, columns: int, rows: int) -> str:
    """A picture stretched over a box of characters, by iTerm2's inline images. The cursor moves."""
    png = _png(image)
    options = f"inline=1;size={len(png)};width={columns};height={rows};preserveAspectRatio=0"
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


def blocks(image: Image.Image, columns: int) -> Iterator[list[tuple[str, str]]]:
    """A picture as lines of half blocks, each `columns` wide: pairs of characters and a style of rich's.

    The upper half of a character has the text's colour, the lower half the background's.

    Args:
        image: at most `columns` wide; what it leaves free is blank. Two of its rows make a line.
        columns: width in characters.
    """
    picture = image.convert("RGB")
    width, height = picture.size
    for y in range(0, height, 2):
        line = []
        for x in range(min(width, columns)):
            upper = _hex(picture.getpixel((x, y)))
            line.append(("▀", f"{upper} on {_hex(picture.getpixel((x, y + 1)))}" if y + 1 < height else upper))
        line.append((" " * max(0, columns - width), ""))
        yield line


def _hex(pixel: object) -> str:
    return "#" + "".join(f"{value:02x}" for value in pixel) if isinstance(pixel, tuple) else "#000000"


def in_box(image: Image.Image, width: int, height: int) -> Image.Image:
    """A picture in the upper left of a larger, transparent one: what is stretched then keeps its proportions."""
    from PIL import Image

    box = Image.new("RGBA", (width, height), (0, 0, 0, 0))
    box.paste(image, (0, 0))
    return box


def _runs(characters: str) -> str:
    """Sixels with runs of four and more put together; blank ones at the end are left out."""
    return re.sub(r"(.)\1{3,}", lambda run: f"!{len(run[0])}{run[1]}", characters.rstrip("?"))


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()
