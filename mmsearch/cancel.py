"""Ending a search in the middle: whoever asked for it may have left."""

from __future__ import annotations

import threading
from collections.abc import Callable

from indexer.errors import CancelledError

Check = Callable[[], None]
"""Called between the stages of a search; raises `CancelledError` where it is to end."""


def go_on() -> None:
    """A check that never ends anything."""


def check_of(cancel: threading.Event | None) -> Check:
    """A check that looks at an event, in a fraction of a microsecond; None is never set.

    Args:
        cancel: set it, from any thread, to end what is checked.
    """
    if cancel is None:
        return go_on
    is_set = cancel.is_set

    def check() -> None:
        if is_set():
            raise CancelledError("the search was cancelled before it was done")

    return check
