"""How far an evaluation is, on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mmsearch.commands.terminal import PLAIN_LINE_SECONDS

if TYPE_CHECKING:
    from mmsearch.evaluation.options import EvaluationProgress

_BAR_SECONDS = 0.1  # between two drawings of a bar


@contextmanager
def evaluation_progress(*, quiet: bool) -> Iterator[Callable[[EvaluationProgress], None] | None]:
    """A bar on a terminal, a line now and then elsewhere, nothing when quiet; on standard error."""
    if quiet:
        yield None
    elif sys.stderr.isatty():
        with _bar() as on_progress:
            yield on_progress
    else:
        shown = time.monotonic()

        def on_line(state: EvaluationProgress) -> None:
            nonlocal shown
            now = time.monotonic()
            if now - shown >= PLAIN_LINE_SECONDS:
                shown = now
                of = f" of {state.total:,}" if state.total else ""
                print(f"{state.stage}: {state.done:,}{of}", file=sys.stderr, flush=True)

        yield on_line


@contextmanager
def _bar() -> Iterator[Callable[[EvaluationProgress], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Starting", total=None)
        stage, drawn = "", 0.0

        def on_progress(state: EvaluationProgress) -> None:
            nonlocal stage, drawn, task
            now = time.monotonic()
            if state.stage != stage:  # a new task, so that the time that is left is estimated afresh
                bar.remove_task(task)
                task, stage = bar.add_task(state.stage, total=state.total), state.stage
            elif now - drawn < _BAR_SECONDS:
                return
            drawn = now
            bar.update(task, completed=state.done, total=state.total)

        yield on_progress
