"""Answers that hold until the store changes, so that a filter which is asked for again costs nothing."""

from __future__ import annotations

import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DatabaseError

Answer = TypeVar("Answer")

_KEPT = 8
"""How many answers are kept, unless it is said: one may be an id for each segment of a library, 8 MB for a million."""


class Changes:
    """A number that is another one after each commit to a database, of whichever process.

    SQLite does not count the commits of the connection that asks (PRAGMA data_version), so this one never writes.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None
        self._lock = threading.Lock()

    def __call__(self) -> int:
        """A number that is another one after every commit of another connection."""
        with self._lock:
            if self._connection is None:
                self._connection = self._engine.connect()
            # Without a transaction it is a new view each time, which has all that was committed. It is asked several
            # times for each query, and through SQLAlchemy it takes ten times as long.
            driver: Any = self._connection.connection.driver_connection
            try:
                return int(driver.execute("PRAGMA data_version").fetchone()[0])
            except sqlite3.DatabaseError as error:
                raise DatabaseError("PRAGMA data_version", None, error) from error

    def close(self) -> None:
        """Give the connection back."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


class Memo:
    """The last few answers, all given up as soon as `mark` says another number. Safe to use from several threads."""

    def __init__(self, mark: Callable[[], int], most: int = _KEPT) -> None:
        self._mark = mark
        self._most = most
        self._at: int | None = None
        self._answers: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Answer]) -> Answer:
        """The answer to `key`: the one that is kept, or what `make` gives."""
        mark = self._mark()  # before the answer is made: one that is newer than its mark is only made once more
        with self._lock:
            if mark != self._at:
                self._answers.clear()
                self._at = mark
            if key in self._answers:
                self._answers.move_to_end(key)
                kept: Answer = self._answers[key]
                return kept
        answer = make()
        with self._lock:
            if mark == self._at:
                self._answers[key] = answer
                while len(self._answers) > self._most:
                    self._answers.popitem(last=False)
        return answer
