"""Times, durations and places as people write them. Each reader has a writer that it reads back exactly."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

from indexer.errors import UsageError
from indexer.near import Near

_MOMENT = re.compile(
    r"(\d{4})(?:-(\d\d?)(?:-(\d\d?)(?:[T ](\d\d?):(\d\d)(?::(\d\d)(?:[.,]\d+)?)?\s*(Z|[+-]\d\d:?\d\d)?)?)?)?",
    re.ASCII | re.IGNORECASE,
)
_CLOCK = re.compile(r"(?:(\d+):)?(\d+):(\d\d(?:\.\d+)?)", re.ASCII)
_SPELLED = re.compile(
    r"(?:(\d+(?:\.\d+)?) ?h)? ?(?:(\d+(?:\.\d+)?) ?m(?:in)?)? ?(?:(\d+(?:\.\d+)?(?:e[+-]?\d+)?) ?s?)?",
    re.ASCII | re.IGNORECASE,
)
_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?"
_NEAR = re.compile(rf"({_NUMBER})\s*,\s*({_NUMBER})\s*,\s*({_NUMBER})\s*(m|km|mi)", re.ASCII | re.IGNORECASE)

_METRES = {"m": 1.0, "km": 1000.0, "mi": 1609.344}


def moment(text: str) -> datetime:
    """The first moment of a year, month or day, or a time: without a zone, this computer's local time.

    Raises:
        UsageError: it is no date, or there is no such day.
    """
    found = _MOMENT.fullmatch(text.strip())
    if not found:
        raise UsageError(
            f"{text!r} is no date that can be read; write 2024, 2024-06, 2024-06-01, 2024-06-01T18:30 or "
            "2024-06-01T18:30:00+02:00"
        )
    *parts, zone = found.groups()
    year, month, day, hour, minute, second = (int(part) if part else None for part in parts)
    try:
        return datetime(year or 0, month or 1, day or 1, hour or 0, minute or 0, second or 0, tzinfo=_zone(zone))
    except ValueError as error:
        raise UsageError(f"there is no such date or time as {text!r}: {error}") from error


def _zone(text: str | None) -> timezone | None:
    if text is None:
        return None
    if text in "Zz":
        return timezone.utc
    hours, minutes = int(text[1:3]), int(text[-2:])
    if minutes > 59:
        raise ValueError("a time zone is at most 59 minutes past an hour")
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(-offset if text[0] == "-" else offset)


def written_moment(value: datetime) -> str:
    """A time as `moment` reads it, as short as it can be said."""
    text = value.isoformat(timespec="seconds")
    return text.removesuffix("T00:00:00")


def seconds(text: str) -> float:
    """A duration in seconds: 10, 2.5, 90s, 2m, 1h30m, 1:30, 1:02:03.

    Raises:
        UsageError: it is no duration.
    """
    written = text.strip()
    found = _CLOCK.fullmatch(written) or (_SPELLED.fullmatch(written) if written else None)
    if not found:
        raise UsageError(
            f"{text!r} is no duration that can be read; write 10 (seconds), 90s, 2m, 1h30m, 1:30 or 1:02:03"
        )
    hours, minutes, rest = (float(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + rest


def written_seconds(value: float) -> str:
    """A duration as `seconds` reads it."""
    return number(value)


def near(text: str) -> Near:
    """A place and how far around it: 48.86,2.35,5km (latitude, longitude, and a radius in m, km or mi).

    Raises:
        UsageError: it is no such thing, or not on the globe.
    """
    found = _NEAR.fullmatch(text.strip())
    if not found:
        raise UsageError(
            f"{text!r} is no place that can be read; write latitude, longitude and a radius in m, km or mi, for "
            "example 48.86,2.35,5km without a blank; south and west are negative"
        )
    latitude, longitude, radius, unit = found.groups()
    try:
        return Near(float(latitude), float(longitude), float(radius) * _METRES[unit.lower()])
    except ValueError as error:
        raise UsageError(f"{text!r}: {error}") from error


def written_near(value: Near) -> str:
    """A place and a radius as `near` reads them: in kilometres where that loses nothing."""
    km = value.radius_m / 1000
    radius = f"{number(km)}km" if km >= 1 and km * 1000 == value.radius_m else f"{number(value.radius_m)}m"
    return f"{number(value.latitude)},{number(value.longitude)},{radius}"


def number(value: float) -> str:
    """A number that reads back as itself, without a needless ".0"."""
    return repr(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))
