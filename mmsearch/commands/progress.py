"""How far a command is, on standard error: a bar on a terminal, a line now and then elsewhere, nothing when quiet."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

from mmsearch.commands.terminal import PLAIN_LINE_SECONDS

if TYPE_CHECKING:
    from indexer.report import Progress

OnStage: TypeAlias = Callable[[str, int, "int | None"], None]
"""Takes what is being done, how much of it is done, and of how much, where that is known."""

_BAR_SECONDS = 0.1  # between two drawings of a bar


@contextmanager
def indexing_progress(*, quiet: bool) -> Iterator[Callable[[Progress], None] | None]:
    """The progress of an indexing run."""
    if quiet:
        yield None
    elif sys.stderr.isatty():
        with _indexing_bar() as on_progress:
            yield on_progress
    else:
        from mmsearch import show

        started, is_due = time.monotonic(), _every(PLAIN_LINE_SECONDS)

        def on_line(state: Progress) -> None:
            if is_due():
                print(show.progress(state, time.monotonic() - started), file=sys.stderr, flush=True)

        yield on_line


@contextmanager
def stage_progress(*, quiet: bool, first: str = "Starting") -> Iterator[OnStage | None]:
    """The progress of work in stages.

    Args:
        quiet: show nothing.
        first: what a bar says before the first stage.
    """
    if quiet:
        yield None
    elif sys.stderr.isatty():
        with _stage_bar(first) as on_stage:
            yield on_stage
    else:
        is_due = _every(PLAIN_LINE_SECONDS)

        def on_line(stage: str, done: int, total: int | None) -> None:
            if is_due():
                print(f"{stage}: {done:,}" + (f" of {total:,}" if total else ""), file=sys.stderr, flush=True)

        yield on_line


def _every(seconds: float) -> Callable[[], bool]:
    """Says whether so much time has gone by since it last said so."""
    last = time.monotonic()

    def is_due() -> bool:
        nonlocal last
        now = time.monotonic()
        if now - last < seconds:
            return False
        last = now
        return True

    return is_due


@contextmanager
def _stage_bar(first: str) -> Iterator[OnStage]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(first, total=None)
        shown, is_due = "", _every(_BAR_SECONDS)

        def on_stage(stage: str, done: int, total: int | None) -> None:
            nonlocal shown, task
            if stage != shown:  # a new task, so that the time that is left is estimated afresh
                bar.remove_task(task)
                task, shown = bar.add_task(stage, total=total), stage
            elif not is_due():
                return
            bar.update(task, completed=done, total=total)

        yield on_stage


@contextmanager
def _indexing_bar() -> Iterator[Callable[[Progress], None]]:
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
                rate=f"{rate:.1f} files/s" if rate >= 0.05 else "",
                failed=failed,
            )

        yield on_progress
