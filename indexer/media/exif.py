"""What a picture says of itself: orientation, time, place and title, from EXIF, XMP and PNG text."""

from __future__ import annotations

import html
import logging
import math
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from PIL import ExifTags, Image

_log = logging.getLogger(__name__)

# What cameras write into ImageDescription when nobody described anything.
_NOT_TITLES = frozenset({"olympus digital camera", "sony dsc", "dcim", "digital camera", "samsung", "minolta dsc"})
_XMP_TITLE = re.compile(rb"<dc:title>.*?<rdf:li[^>]*>(.*?)</rdf:li>", re.DOTALL)
_XP_TITLE = 0x9C9B  # Windows Explorer's own tag, UTF-16


@dataclass(frozen=True, slots=True)
class Tags:
    """The few tags that mmsearch uses. Degrees are WGS 84, north and east positive."""

    orientation: int = 1
    captured_at: datetime | None = None
    latitude: float | None = None
    longitude: float | None = None
    title: str | None = None


def read(image: Image.Image) -> Tags:
    """Read the tags of an opened picture; those that are damaged count as missing."""
    try:
        tags = image.getexif()
        times = tags.get_ifd(ExifTags.IFD.Exif)
        place = tags.get_ifd(ExifTags.IFD.GPSInfo)
    except Exception:  # Pillow's TIFF reader raises anything on damaged tags, and the pixels may still be whole
        _log.debug("damaged EXIF", exc_info=True)
        return Tags(title=_title(image, {}))
    orientation = tags.get(ExifTags.Base.Orientation, 1)
    latitude = _degrees(place.get(ExifTags.GPS.GPSLatitude), place.get(ExifTags.GPS.GPSLatitudeRef), "S", 90)
    longitude = _degrees(place.get(ExifTags.GPS.GPSLongitude), place.get(ExifTags.GPS.GPSLongitudeRef), "W", 180)
    both = latitude is not None and longitude is not None
    return Tags(
        orientation=orientation if orientation in range(1, 9) else 1,
        captured_at=_captured_at(times),
        latitude=latitude if both else None,
        longitude=longitude if both else None,
        title=_title(image, dict(tags)),
    )


def _captured_at(tags: dict[int, Any]) -> datetime | None:
    for time, offset in (
        (ExifTags.Base.DateTimeOriginal, ExifTags.Base.OffsetTimeOriginal),
        (ExifTags.Base.DateTimeDigitized, ExifTags.Base.OffsetTimeDigitized),
    ):
        written = _text(tags.get(time))
        if not written:  # strptime takes a while to say so
            continue
        zone = _text(tags.get(offset))
        for text, pattern in ((f"{written}{zone}", "%Y:%m:%d %H:%M:%S%z"), (written, "%Y:%m:%d %H:%M:%S")):
            try:
                return datetime.strptime(text, pattern)
            except ValueError:
                continue
    return None


def _degrees(parts: Any, reference: Any, negative: str, limit: float) -> float | None:
    try:
        degrees, minutes, seconds = (float(part) for part in parts)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    value = degrees + minutes / 60 + seconds / 3600
    if not math.isfinite(value) or abs(value) > limit:
        return None
    return -value if _text(reference).upper().startswith(negative) else value


def _title(image: Image.Image, tags: dict[int, Any]) -> str | None:
    xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    found = _XMP_TITLE.search(xmp if isinstance(xmp, bytes) else str(xmp).encode())
    wide = tags.get(_XP_TITLE, b"")
    candidates = (
        html.unescape(found.group(1).decode("utf-8", "replace")) if found else "",
        image.info.get("Title", ""),
        wide.decode("utf-16-le", "replace") if isinstance(wide, bytes) else "",
        tags.get(ExifTags.Base.ImageDescription, ""),
    )
    for candidate in candidates:
        title = " ".join(_text(candidate).split())
        if title and title.lower() not in _NOT_TITLES:
            return title
    return None


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return str(value).strip().strip("\0").strip() if isinstance(value, str) else ""
