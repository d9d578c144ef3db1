"""Photographs and drawings with captions from Tux Paint's stamps (Debian package tuxpaint-stamps-default, GPL-2).

They are looked at to measure, and nothing is trained on them. A stamp is a cut-out on a transparent ground, laid on
white here. Its caption is the first line of the text beside it, as its authors wrote it ("A bald eagle.").

The rule: letters, signs, coins, chess men, flags and houses of one drawn set are left out, and of the stamps with one
caption the first by path is kept. PNG files outside of folders named "cartoon" and of `DRAWN` are photographs; SVG
files and what lies in those folders are drawings.
"""

from __future__ import annotations

import re
from pathlib import Path

from _captioned import Captioned, pixels_of

ROOT = Path("/usr/share/tuxpaint/stamps")
LEFT_OUT = ("symbols", "town/houses", "town/flags", "town/roadsigns")
DRAWN = ("clothes", "seasonal", "people/body_parts", "naturalforces", "medical", "military/ammunition")


def find_stamps(root: Path = ROOT) -> list[Captioned]:
    """Every stamp that the rule chooses, ordered by path; `source` is "stamp photographs" or "stamp drawings"."""
    found: dict[str, Captioned] = {}
    for text in sorted(root.rglob("*.txt")):
        relative = text.relative_to(root).as_posix()
        picture = next((text.with_suffix(end) for end in (".png", ".svg") if text.with_suffix(end).exists()), None)
        if picture is None or relative.startswith(tuple(f"{folder}/" for folder in LEFT_OUT)):
            continue
        caption = text.read_text(encoding="utf-8").splitlines()[0].strip().rstrip(".!").lower()
        drawn = picture.suffix == ".svg" or "/cartoon/" in relative or relative.startswith(DRAWN)
        if not re.search(r"[a-z]{3}", caption) or caption in found:
            continue
        source = "stamp drawings" if drawn else "stamp photographs"
        place: Path | str = picture.read_text(encoding="utf-8") if picture.suffix == ".svg" else picture
        stamp = Captioned(f"stamps/{relative}", source, "", "test", (caption,), (), place)
        if _can_be_drawn(stamp):
            found[caption] = stamp
    return list(found.values())


def _can_be_drawn(stamp: Captioned) -> bool:
    """Whether resvg finds a size in it; a dozen drawings have none."""
    try:
        return bool(pixels_of(stamp).size)
    except ValueError:
        return False
