"""How far an indexing run is, on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mmsearch.commands.terminal import PLAIN_LINE_SECONDS

if TYPE_CHECKING:
    from indexer.report import Progress


@contextmanager
def indexing_progress(*, quiet: bool) -> Iterator[Callable[[Progress], None] | None]:
    """A bar on a terminal, a line now and then elsewhere, nothing when quiet; on standard error."""
    if quiet:
        yield None
    elif sys.stderr.isatty():
        with _bar() as on_progress:
            yield on_progress
    else:
        from mmsearch import show

        started = shown = time.monotonic()

        def on_line(state: Progress) -> None:
            nonlocal shown
            now = time.monotonic()
            if now - shown >= PLAIN_LINE_SECONDS:
                shown = now
                print(show.progress(state, now - started), file=sys.stderr, flush=True)

        yield on_line


@contextmanager
def _bar() -> Iterator[Callable[[Progress], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[failed]}"),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Indexing", total=None, rate="", failed="")
        started = time.monotonic()

        def on_progress(state: Progress) -> None:
            rate = state.done / max(time.monotonic() - started, 1e-3)
            failed = f"{state.failed:,} failed" if state.failed else ""
            description = "Indexing" if state.done else "Starting"  # the model is loaded when it is first needed
            bar.update(
                task,
                description=description,
                completed=state.done,
                total=state.found or None,
                rate=f"{rate:.1f} files/s",
                failed=failed,
            )

        yield on_progress
