"""`mmsearch bridge`: make the bridge between pictures and sounds, and say how well it does."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import typer

from indexer.errors import UsageError

if TYPE_CHECKING:
    from mmsearch.bridge.build import OnProgress
    from mmsearch.engine import Engine

_INTERRUPTED = 130
_PLAIN_LINE_SECONDS = 10.0  # between lines of progress where there is no terminal


def make_bridge(engine: Engine, *, method: str, as_json: bool) -> None:
    """Make a library's bridge, and print what it is worth.

    Raises:
        UsageError: there is no such method, or nothing to bridge.
        typer.Exit: it was interrupted.
    """
    from mmsearch import show
    from mmsearch.bridge.fit import METHODS

    if method not in ("auto", *METHODS):
        raise UsageError(f"there is no method {method!r}; choose auto, {' or '.join(METHODS)}")
    reason = engine.needs_no_bridge()
    if reason is not None:
        print(json.dumps({"needed": False, "reason": reason}, indent=2) if as_json else reason)
        return
    chosen: Literal["auto", "ridge", "procrustes"] = method  # type: ignore[assignment]
    try:
        with _progress(quiet=as_json) as on_progress:
            report = engine.make_bridge(chosen, on_progress=on_progress)
    except KeyboardInterrupt:
        print("\nmmsearch: interrupted; nothing was stored, and a bridge that was there is as it was", file=sys.stderr)
        raise typer.Exit(_INTERRUPTED) from None
    if as_json:
        print(json.dumps({"needed": True, **show.bridge_json(report)}, indent=2))
    else:
        for line in show.bridge(report):
            print(line)


@contextmanager
def _progress(*, quiet: bool) -> Iterator[OnProgress | None]:
    """A bar on a terminal, a line now and then elsewhere, nothing when quiet; on standard error."""
    if quiet:
        yield None
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("Loading the model", total=None)

            def on_bar(what: str, done: int, total: int) -> None:
                bar.update(task, description=what, completed=done, total=total)

            yield on_bar
    else:
        yield _lines()


def _lines() -> Callable[[str, int, int], None]:
    shown = time.monotonic()

    def on_line(what: str, done: int, total: int) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown >= _PLAIN_LINE_SECONDS:
            shown = now
            print(f"{what}: {done:,} of {total:,}", file=sys.stderr, flush=True)

    return on_line
