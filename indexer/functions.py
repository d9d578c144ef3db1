"""What SQLite cannot compute by itself: functions of Python that each connection of a store offers to SQL."""

from __future__ import annotations

import sqlite3

from indexer.globs import name_fits, path_fits
from indexer.near import metres_between


def register(connection: sqlite3.Connection) -> None:
    """Offer `mmsearch_metres(lat, lon, lat, lon)`, `mmsearch_name_fits` and `mmsearch_path_fits` (see `globs`)."""
    connection.create_function("mmsearch_metres", 4, metres_between, deterministic=True)
    connection.create_function("mmsearch_name_fits", 2, name_fits, deterministic=True)
    connection.create_function("mmsearch_path_fits", 3, path_fits, deterministic=True)
