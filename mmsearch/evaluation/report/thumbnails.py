"""Pictures small enough to be part of a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

K = TypeVar("K")

SIDE = 192  # pixels of the longer side: sharp at 96 on a screen of double density
_LARGEST = 64 * 1024 * 1024  # bytes of a file that is opened at all


class Thumbnails(Generic[K]):
    """Pictures as data URIs, each made once."""

    def __init__(self, source: Callable[[K], bytes | Path | None]) -> None:
        self._source = source
        self._made: dict[K, str | None] = {}

    def uri(self, id: K) -> str | None:
        """The picture as `data:image/jpeg;base64,...`; None if there is none, or none that can be read."""
        if id not in self._made:
            self._made[id] = self._make(id)
        return self._made[id]

    def _make(self, id: K) -> str | None:
        # One bad picture must not cost a report, whatever is wrong with it or with its source.
        try:
            source = self._source(id)
            if source is None:
                return None
            data = source if isinstance(source, bytes) else _read(source)
            return f"data:image/jpeg;base64,{base64.b64encode(_shrink(data)).decode()}"
        except Exception:
            return None


def _read(path: Path) -> bytes:
    if path.stat().st_size > _LARGEST:
        raise ValueError("too large")
    return path.read_bytes()


def _shrink(data: bytes) -> bytes:
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(data)) as picture:
        picture.draft("RGB", (SIDE, SIDE))  # JPEG decodes straight to a smaller size
        upright = ImageOps.exif_transpose(picture)
        upright.thumbnail((SIDE, SIDE))
        flat = upright.convert("RGBA")
        paper = Image.new("RGBA", flat.size, (255, 255, 255, 255))
        paper.alpha_composite(flat)
        out = io.BytesIO()
        paper.convert("RGB").save(out, "JPEG", quality=80)
        return out.getvalue()
