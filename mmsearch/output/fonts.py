"""Letters for pictures: the system's fonts where they have a character, else the one that Pillow carries.

Pillow's own font (Aileron) has hardly more than ASCII, and draws an empty box for others. So each stretch of a text is
drawn with the first font of a list that has its characters. Which font files there are is found by name: that costs a
walk through the font folders, and no other library. A letter whose accents no font has is drawn without them.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from PIL import ImageFont

from mmsearch.output.text import JOINERS

if TYPE_CHECKING:
    from PIL import ImageDraw

    Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Widespread fonts, the plain Latin ones first: of Linux distributions, macOS, Windows; then those for other scripts.
_LATIN = ("NotoSans-Regular.ttf", "DejaVuSans.ttf", "LiberationSans-Regular.ttf", "Arial.ttf", "segoeui.ttf")
_OTHERS = (
    *("NotoSansCJK-Regular.ttc", "NotoSansCJKsc-Regular.otf", "NotoSansCJKjp-Regular.otf", "NotoSansSC-Regular.otf"),
    *("SourceHanSans-Regular.ttc", "wqy-microhei.ttc", "wqy-zenhei.ttc", "DroidSansFallbackFull.ttf"),
    *("DroidSansFallback.ttf", "VL-Gothic-Regular.ttf", "TakaoGothic.ttf", "NanumGothic.ttf"),
    *("PingFang.ttc", "Hiragino Sans GB.ttc", "AppleSDGothicNeo.ttc", "Arial Unicode.ttf"),
    *("msyh.ttc", "YuGothR.ttc", "msgothic.ttc", "malgun.ttf", "simsun.ttc"),
    *("NotoSansArabic-Regular.ttf", "NotoSansHebrew-Regular.ttf", "NotoSansThai-Regular.ttf"),
    *("NotoSansDevanagari-Regular.ttf", "LeelawUI.ttf", "Nirmala.ttf", "Nirmala.ttc", "unifont.otf", "unifont.ttf"),
)

_NO_CHARACTER = "\U0010ffff"  # never assigned: every font draws its sign for a missing character
_REPLACEMENT = "□"


@functools.cache
def _file(name: str, size: int) -> ImageFont.FreeTypeFont | None:
    try:
        return ImageFont.truetype(name, size)
    except OSError:  # not here, or damaged
        return None


@functools.cache
def _missing(font: ImageFont.FreeTypeFont) -> bytes:
    return bytes(font.getmask(_NO_CHARACTER))


@dataclass(slots=True)
class Letters:
    """Fonts of one size. `lacking` collects the characters that no font had, for a word about it."""

    size: int
    lacking: set[str] = field(default_factory=set)
    _chosen: dict[str, Font | None] = field(default_factory=dict)

    def runs(self, text: str) -> Iterator[tuple[str, Font]]:
        """A text cut into stretches, each with the font to draw it with."""
        stretch, font = "", None
        for character in text:
            drawn, needed = character, self._font(character)
            if font is not None and (character in JOINERS or unicodedata.combining(character)):
                needed = font  # an accent is part of the letter before it
            if needed is None:
                drawn = unicodedata.normalize("NFKD", character)[0]
                needed = self._font(drawn)
            if needed is None:
                self.lacking.add(character)
                drawn, needed = _REPLACEMENT, self._font(_REPLACEMENT) or self._own()
            if needed is not font and stretch and font is not None:
                yield stretch, font
                stretch = ""
            stretch, font = stretch + drawn, needed
        if stretch and font is not None:
            yield stretch, font

    def width(self, text: str) -> float:
        """How wide a text is when drawn, in pixels."""
        return sum(font.getlength(stretch) for stretch, font in self.runs(text))

    def draw(self, pen: ImageDraw.ImageDraw, at: tuple[float, float], text: str, colour: tuple[int, int, int]) -> None:
        """Draw a line of text with its baseline at `at`."""
        x, y = at
        for stretch, font in self.runs(text):
            pen.text((x, y), stretch, fill=colour, font=font, anchor="ls")
            x += font.getlength(stretch)

    def fitted(self, text: str, width: float, *, keep_end: int = 0) -> str:
        """A text that is at most `width` wide: what is too much goes, with "…" in its place.

        The last `keep_end` characters stay: a name without its suffix says less.
        """
        if self.width(text) <= width:
            return text
        end = text[len(text) - keep_end :] if keep_end else ""
        low, high = 0, len(text) - len(end)
        while low < high:  # the most characters of the beginning that fit
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.width(f"{text[:middle]}…{end}") <= width else (low, middle - 1)
        return f"{text[:low].rstrip()}…{end}" if low else self.fitted("…" + end, width) if end else "…"

    def wrapped(self, text: str, width: float, lines: int) -> list[str]:
        """A text on at most so many lines, broken at blanks where there are any; the last may end with "…"."""
        found: list[str] = []
        rest = text
        while rest and len(found) < lines - 1 and self.width(rest) > width:
            head = self.fitted(rest, width)[:-1]
            cut = head.rfind(" ") if rest[len(head) : len(head) + 1] != " " else len(head)
            cut = cut if cut > 0 else max(1, len(head))
            found.append(rest[:cut].rstrip())
            rest = rest[cut:].lstrip()
        return [*found, self.fitted(rest, width)] if rest else found

    def _font(self, character: str) -> Font | None:
        if character not in self._chosen:
            self._chosen[character] = next((font for font in self._fonts() if _has(font, character)), None)
        return self._chosen[character]

    def _fonts(self) -> Iterator[Font]:
        for name in _LATIN:
            font = _file(name, self.size)
            if font is not None:
                yield font
                break
        yield self._own()
        yield from _present(_OTHERS, self.size)

    def _own(self) -> Font:
        return _own(self.size)


@functools.cache
def _own(size: int) -> Font:
    return ImageFont.load_default(size)


def _present(names: Sequence[str], size: int) -> Iterator[ImageFont.FreeTypeFont]:
    return (font for name in names if (font := _file(name, size)) is not None)


def _has(font: Font, character: str) -> bool:
    """Whether a font has a character: whether it draws anything else than its sign for a missing one."""
    if not isinstance(font, ImageFont.FreeTypeFont):  # a Pillow without FreeType has one font of Latin-1
        return ord(character) < 256
    return character.isspace() or bytes(font.getmask(character)) != _missing(font)
