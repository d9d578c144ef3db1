"""A queue that is bounded by what its items weigh, so that memory stays flat whatever flows through."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class BufferClosedError(Exception):
    """The buffer was closed: nothing more goes in or comes out."""


class BoundedBuffer(Generic[Item]):
    """First in, first out, between threads; `put` waits while the items inside weigh `budget` or more.

    One item may weigh more than the whole budget: it goes in when the buffer is empty.
    """

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._used = 0
        self._items: deque[tuple[Item, int]] = deque()
        self._closed = False
        self._changed = threading.Condition()

    def put(self, item: Item, cost: int = 1) -> None:
        """Add an item that weighs `cost`, when there is room.

        Raises:
            BufferClosedError: the buffer was closed, before or while this waited.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not self._items or self._used + cost <= self._budget)
            if self._closed:
                raise BufferClosedError
            self._items.append((item, cost))
            self._used += cost
            self._changed.notify_all()

    def get(self, timeout_seconds: float | None = None) -> Item | None:
        """Take the oldest item; None when there is none within the time (None: wait for ever).

        Raises:
            BufferClosedError: the buffer was closed; what was inside is dropped.
        """
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        with self._changed:
            while not self._items and not self._closed:
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return None
                self._changed.wait(left)
            if self._closed:
                raise BufferClosedError
            item, cost = self._items.popleft()
            self._used -= cost
            self._changed.notify_all()
            return item

    def close(self) -> None:
        """Wake everyone who waits, and let nothing more through."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()
