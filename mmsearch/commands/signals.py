"""Ctrl-C while a run is at work."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmsearch.commands.terminal import complain


@contextmanager
def cancelled_by_signals() -> Iterator[threading.Event]:
    """The first Ctrl-C (or SIGTERM) ends a run cleanly; the second ends it at once."""
    cancel = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def on_signal(_number: int, _frame: Any) -> None:
        cancel.set()
        for number, handler in before.items():
            signal.signal(number, handler)
        print(file=sys.stderr)
        complain("finishing what is in hand; press Ctrl-C again to stop at once")

    for number in before:
        signal.signal(number, on_signal)
    try:
        yield cancel
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
