"""Moments as the numbers that a store compares."""

from __future__ import annotations

from datetime import datetime, timezone


def seconds_of(moment: datetime) -> int:
    """Whole seconds since 1970 in UTC, rounded down; a moment without a zone is this computer's local time."""
    try:
        return int(moment.timestamp() // 1)
    except (OverflowError, ValueError, OSError):  # the first and last days that there are, and old ones on Windows
        return int(moment.replace(tzinfo=moment.tzinfo or timezone.utc).timestamp() // 1)


def local_clock_of(moment: datetime) -> datetime:
    """What this computer's clock shows at a moment, without a zone."""
    if moment.tzinfo is None:
        return moment
    try:
        return moment.astimezone().replace(tzinfo=None)
    except (OverflowError, ValueError, OSError):
        return moment.replace(tzinfo=None)
