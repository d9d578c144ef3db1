"""Indexing runs on behalf of clients: one at a time, each in a thread of its own, with a state to look at."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from indexer.errors import MmsearchError
from indexer.report import IndexOptions, IndexReport, Progress
from mmsearch.engine import Engine
from mmsearch.server.errors import ApiError, api_error, body_of, shown
from mmsearch.server.library_models import JobModel, JobState, ProgressModel, ReportModel
from mmsearch.server.models import ApiErrorBody

_log = logging.getLogger("mmsearch.server")

_SHOWN_SECONDS = 0.2  # between two states of progress


class Jobs:
    """The indexing runs of one server. Each change of state has a number, which only grows."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._cancel = threading.Event()
        self._thread: threading.Thread | None = None
        self._number = 0
        self._change = 0
        self._state: JobState = "idle"
        self._progress: Progress | None = None
        self._report: IndexReport | None = None
        self._error: ApiError | None = None
        self._started = 0.0
        self._ended: float | None = None
        self._told = 0.0

    def start(self, paths: Sequence[str], options: IndexOptions) -> JobModel:
        """Begin a run over some places, or over all that were ever indexed when there are none.

        Raises:
            ApiError: one is at work.
        """
        with self._lock:
            if self._state in ("running", "cancelling"):
                raise ApiError(409, "at_work", "the library is being indexed already", "wait for it, or cancel it")
            self._number += 1
            self._cancel = threading.Event()
            self._progress = self._report = self._error = None
            self._started, self._ended = time.monotonic(), None
            self._to("running")
            self._thread = threading.Thread(
                target=self._run, args=(tuple(paths), options, self._cancel), name="indexing", daemon=True
            )
            self._thread.start()
        return self.state()[1]

    def cancel(self) -> JobModel:
        """End the run that is at work, with what is done kept; nothing happens when there is none."""
        with self._lock:
            if self._state == "running":
                self._cancel.set()
                self._to("cancelling")
        return self.state()[1]

    def close(self, seconds: float) -> None:
        """End the run that is at work, and wait for it for a while."""
        self.cancel()
        thread = self._thread
        if thread is not None:
            thread.join(seconds)

    def state(self) -> tuple[int, JobModel]:
        """The number of the last change, and how things stand."""
        with self._lock:
            seconds = None if not self._number else (self._ended or time.monotonic()) - self._started
            return self._change, JobModel(
                job=self._number,
                state=self._state,
                progress=None if self._progress is None else ProgressModel(**asdict(self._progress)),
                report=None if self._report is None else report_of(self._report),
                error=None if self._error is None else ApiErrorBody(**body_of(self._error)),
                seconds=None if seconds is None else round(seconds, 2),
            )

    @property
    def change(self) -> int:
        """The number of the last change: cheap to look at."""
        return self._change

    def _to(self, state: JobState) -> None:
        self._state = state
        self._change += 1

    def _run(self, paths: Sequence[str], options: IndexOptions, cancel: threading.Event) -> None:
        report: IndexReport | None = None
        failed: ApiError | None = None
        try:
            report = self._engine.index(*paths, options=options, on_progress=self._on_progress, cancel=cancel)
        except Exception as error:
            if not isinstance(error, MmsearchError):
                _log.exception("an indexing run failed")
            failed = api_error(error) or ApiError(500, "internal", "the run ended by a bug in mmsearch")
        with self._lock:
            self._ended = time.monotonic()
            self._report, self._error = report, failed
            if self._progress is not None:
                self._progress = replace(self._progress, scanning=False)
            ended: JobState = "cancelled" if report is not None and report.interrupted else "done"
            self._to("failed" if failed is not None and not cancel.is_set() else "cancelled" if failed else ended)

    def _on_progress(self, progress: Progress) -> None:
        with self._lock:
            self._progress = progress
            now = time.monotonic()
            if now - self._told >= _SHOWN_SECONDS:
                self._told = now
                self._change += 1


def report_of(report: IndexReport) -> ReportModel:
    """A run's report as it leaves."""
    value: dict[str, Any] = asdict(report)
    value["failures"] = [{name: shown(text) for name, text in failure.items()} for failure in value["failures"]]
    value["unreachable"] = [shown(path) for path in value["unreachable"]]
    return ReportModel(**value)
