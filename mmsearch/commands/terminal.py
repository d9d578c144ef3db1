"""What all commands print: lines, JSON, complaints, and what a model says while it is chosen and fetched."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import typer

from mmsearch.encoders.events import Fetching, ModelNotice
from mmsearch.units import amount

FOUND, NOTHING, USAGE, LIBRARY, BUG, INTERRUPTED, UNREAD = 0, 1, 2, 3, 4, 130, 141

PLAIN_LINE_SECONDS = 10.0  # between lines of progress where there is no terminal

_BAR_SECONDS = 0.2
_BAR_WIDTH = 24


def complain(message: str) -> None:
    """Say something on standard error, on a line of its own."""
    ModelEvents.end_bar()
    print(f"mmsearch: {message}", file=sys.stderr, flush=True)


def print_lines(lines: Iterable[str]) -> None:
    """Print results."""
    for line in lines:
        print(line)


def print_json(value: Any) -> None:
    """Print results for other programs."""
    # ASCII: a path whose bytes are not UTF-8 stays readable by any JSON parser, as "\\udcff" escapes.
    print(json.dumps(value, indent=2))


@contextmanager
def stoppable() -> Iterator[None]:
    """Let Ctrl-C end a download, whose beginning is kept."""
    try:
        yield
    except KeyboardInterrupt:
        ModelEvents.end_bar()
        print(file=sys.stderr)
        complain("interrupted; what was fetched is kept, and the same command goes on from there")
        raise typer.Exit(INTERRUPTED) from None


class ModelEvents:
    """Shows notices and downloads on standard error: a bar on a terminal, a line now and then elsewhere.

    With `quiet`, which model was chosen is not said. That something is fetched, and how far it is, always is.
    """

    _bar_is_open: ClassVar[bool] = False  # there is one standard error

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._started: float | None = None
        self._first_bytes = 0
        self._shown = 0.0

    def __call__(self, event: ModelNotice | Fetching) -> None:
        """Show one event."""
        if isinstance(event, ModelNotice):
            if event.downloads or not self._quiet:
                complain(event.message)
            self._started = None
            return
        now = time.monotonic()
        if self._started is None:
            self._started, self._shown, self._first_bytes = now, now, event.done_bytes
        on_terminal = sys.stderr.isatty()
        whole = event.done_bytes >= event.total_bytes
        if whole or now - self._shown >= (_BAR_SECONDS if on_terminal else PLAIN_LINE_SECONDS):
            self._shown = now
            line = self._line(event, now)
            if on_terminal:
                width = max(20, shutil.get_terminal_size().columns - 1)
                print(f"\r{line[:width]:<{width}}", end="", file=sys.stderr, flush=True)
                ModelEvents._bar_is_open = True
            else:
                print(line, file=sys.stderr, flush=True)
        if whole:
            self.end_bar()

    @classmethod
    def end_bar(cls) -> None:
        """Leave the bar's line, if one is open."""
        if cls._bar_is_open:
            cls._bar_is_open = False
            print(file=sys.stderr, flush=True)

    def _line(self, event: Fetching, now: float) -> str:
        part = event.done_bytes / event.total_bytes if event.total_bytes else 1.0
        seconds = 0.0 if self._started is None else now - self._started
        rate = (event.done_bytes - self._first_bytes) / seconds if seconds > 0 else 0.0
        done = "#" * int(part * _BAR_WIDTH)
        speed = f", {amount(int(rate))}/s" if rate > 0 else ""
        of = f"{amount(event.done_bytes)} of {amount(event.total_bytes)}"
        return f"fetching [{done:<{_BAR_WIDTH}}] {part:4.0%}  {of}{speed}  {event.file}"
