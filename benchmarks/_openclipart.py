"""Pictures with titles from openclipart (Debian packages openclipart-png and openclipart-svg, public domain).

The rule by which they are chosen:

1. Every PNG file below /usr/share/openclipart/png that is no symbolic link, and has an SVG file of the same
   name beside it in /usr/share/openclipart/svg whose metadata give a title (dc:title).
2. Directories of abstract shapes and of pictures that only an index could name are left out: shapes,
   buttons, logos, special (patterns, gradients), decorations, signs_and_symbols/flags and .../led,
   computer/icons, computer/buttons, computer/folders.
3. The most frequent author, whose titles are Italian, is left out; so are titles that name no content
   ("Clipart by ...", "... icons").
4. A title is cleaned: brackets and underscores taken out, lower case, no number at its end. Of the
   pictures with one title the first by path is kept.
5. Pictures of more than 16 million pixels are left out, to keep the run short.
6. A fifth of the titles, by SHA-256 of the title, is the development split, on which parameters were
   chosen. The rest is the test split, which has reported numbers and took part in no choice.
"""

from __future__ import annotations

import hashlib
import re
import struct
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ROOT = Path("/usr/share/openclipart")
LEFT_OUT = (
    "shapes",
    "buttons",
    "logos",
    "special",
    "decorations",
    "signs_and_symbols/flags",
    "signs_and_symbols/led",
    "computer/icons",
    "computer/buttons",
    "computer/folders",
)
LEFT_OUT_AUTHOR = "rollandin"
MAX_PIXELS = 16_000_000
DUBLIN_CORE = "{http://purl.org/dc/elements/1.1/}"

Split = Literal["development", "test"]


@dataclass(frozen=True, slots=True)
class Picture:
    path: Path
    title: str
    split: Split


def find_pictures(root: Path = ROOT) -> list[Picture]:
    """All pictures that the rule chooses, ordered by path."""
    if not (root / "png").is_dir() or not (root / "svg").is_dir():
        sys.exit(f"{root}/png and {root}/svg are needed: apt-get install openclipart-png openclipart-svg")
    pictures: dict[str, Picture] = {}
    for path in sorted((root / "png").rglob("*.png")):
        relative = path.relative_to(root / "png")
        if path.is_symlink() or any(str(relative).startswith(directory + "/") for directory in LEFT_OUT):
            continue
        title, author = _read_metadata((root / "svg" / relative).with_suffix(".svg"))
        title = clean(title)
        if LEFT_OUT_AUTHOR in author.lower() or not re.search("[a-z]{3}", title):
            continue
        if title.startswith("clipart by") or "icons" in title or title in pictures:
            continue
        if _count_pixels(path) > MAX_PIXELS:
            continue
        development = hashlib.sha256(title.encode()).digest()[0] < 51
        pictures[title] = Picture(path, title, "development" if development else "test")
    return list(pictures.values())


def clean(title: str) -> str:
    """A title as a person would type it."""
    title = re.sub(r"\(.*?\)", " ", title.replace("_", " "))
    title = re.sub(r"\s+", " ", title).strip(" -").lower()
    return re.sub(r"[\s#-]*(no\.?|version|v|take)?\s*[0-9]+$", "", title).strip(" -,")


def read_pixels(path: Path, shorter_side: int = 520) -> NDArray[np.uint8]:
    """(height, width, 3) uint8, laid on white, its shorter side at most `shorter_side`."""
    with Image.open(path) as image:
        times = min(image.size) // shorter_side
        rgba = image.convert("RGBA")
    if times > 1:
        rgba = rgba.reduce(times)
    opaque = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return np.array(opaque.convert("RGB"))


def _count_pixels(path: Path) -> int:
    """Width times height of a PNG file, from its IHDR chunk; Pillow would refuse the largest."""
    with path.open("rb") as file:
        width, height = struct.unpack(">II", file.read(24)[16:])
    return int(width * height)


def keywords_of(path: str | Path, root: Path = ROOT) -> tuple[str, ...]:
    """The keywords (dc:subject) that the SVG file of a PNG picture gives, in lower case; `path` is relative to png/."""
    try:
        tree = ElementTree.parse((root / "svg" / path).with_suffix(".svg")).getroot()
    except (ElementTree.ParseError, OSError):
        return ()
    items = [
        item.text
        for subject in tree.iter(DUBLIN_CORE + "subject")
        for item in subject.iter()
        if item.tag.endswith("}li") and item.text
    ]
    return tuple(dict.fromkeys(item.strip().lower() for item in items if item.strip()))


def _read_metadata(path: Path) -> tuple[str, str]:
    """Title and author of an SVG file; empty where it does not tell."""
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, OSError):
        return "", ""
    work = next((element for element in root.iter() if element.tag.endswith("}Work")), None)
    if work is None:
        return "", ""
    title, author = work.find(DUBLIN_CORE + "title"), work.find(DUBLIN_CORE + "creator")
    return (title.text or "") if title is not None else "", "".join(author.itertext()) if author is not None else ""
