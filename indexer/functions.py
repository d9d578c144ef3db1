"""What SQLite cannot compute by itself: functions of Python that each connection of a store offers to SQL."""

from __future__ import annotations

import sqlite3

from indexer.globs import name_fits, path_fits
from indexer.near import metres_between


def register(connection: sqlite3.Connection) -> None:
    """Offer `mmsearch_metres(lat, lon, lat, lon)`, `mmsearch_name_fits` and `mmsearch_path_fits` (see `globs`)."""
    connection.create_function("mmsearch_metres", 4, _metres, deterministic=True)
    connection.create_function("mmsearch_name_fits", 2, name_fits, deterministic=True)
    connection.create_function("mmsearch_path_fits", 3, path_fits, deterministic=True)


def _metres(latitude: float | None, longitude: float | None, *other: float) -> float | None:
    """`near.metres_between`, for a place that may be NULL: SQLite does not promise to look at the box first."""
    return None if latitude is None or longitude is None else metres_between(latitude, longitude, *other)
