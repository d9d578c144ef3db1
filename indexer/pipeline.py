"""scan -> decode -> batch -> encode -> commit.

    one thread scans      FoundFile  ──> to_open   (bounded by count)
    threads decode        Sample     ──> to_encode (bounded by bytes)
    the calling thread    batches, and is the only one that writes
    one thread encodes    batches, one after the other, while the calling thread writes what came before

Whatever goes wrong with one file is recorded beside it, and the others go on. What was committed stays,
however the process ends.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from indexer import likeness
from indexer.buffer import BoundedBuffer, BufferClosedError
from indexer.changes import Change, Emptied, NewState, Target, ToOpen, Unreadable, Walked, find_changes
from indexer.decode import Decoders, Ended, Prepared, Sound, Unread, prepared_for
from indexer.errors import ModelError
from indexer.job import Job, Slot
from indexer.library import Library
from indexer.records import FOLDER_PROBLEM, Outcome
from indexer.report import IndexOptions, IndexReport, Progress
from indexer.scan import ScanRules
from indexer.schema import MISSING
from indexer.types import AudioSample, DecodeSettings, Encoder, TowerSpec
from indexer.vectors import lengths, usable

_log = logging.getLogger(__name__)

_FILES_AHEAD = 20_000  # found files that may wait to be opened; a few MB
_BYTES_AHEAD = 256 * 2**20  # decoded samples that may wait to be encoded
_IDLE_SECONDS = 0.05  # without a sample for so long, nothing is being decoded that is not slower than encoding
_STALE_BATCH_SECONDS = 1.0  # how long a sample may wait for its batch to fill
_BATCHES_AHEAD = 2  # one that is being encoded, and one that is ready when it is done


@dataclass(frozen=True, slots=True)
class _ScanEnded:
    """All files have been found, and all changes of state have been sent."""


@dataclass(frozen=True, slots=True)
class _BatchEncoded:
    """The vectors of the oldest batch are there."""


_Event = Prepared | Unread | Sound | Ended | NewState | _ScanEnded | _BatchEncoded
_Batch = list[tuple[Slot, Any]]  # each place with what its tower takes


def run(
    library: Library,
    encoder: Encoder,
    targets: Sequence[Target],
    options: IndexOptions | None = None,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    cancel: threading.Event | None = None,
) -> IndexReport:
    """Index what is new or changed in some places. The writer's lock must be held.

    Args:
        library: where to.
        encoder: the model that the library was made with.
        targets: what.
        options: how.
        on_progress: called from this thread, ten times a second at most.
        cancel: set it, from any thread or signal handler, to end the run cleanly; the report says `interrupted`.
    """
    return _Run(library, encoder, targets, options or IndexOptions(), on_progress, cancel or threading.Event()).run()


class _Run:
    """One run of the pipeline."""

    def __init__(
        self,
        library: Library,
        encoder: Encoder,
        targets: Sequence[Target],
        options: IndexOptions,
        on_progress: Callable[[Progress], None] | None,
        cancel: threading.Event,
    ) -> None:
        self._library = library
        self._store = library.store
        self._encoder = encoder
        self._generation_id = library.use(encoder.spec)
        self._targets = targets
        self._options = options
        self._on_progress = on_progress
        self._cancel = cancel
        spec = encoder.spec
        self._report = IndexReport()
        self._to_open: BoundedBuffer[Job | None] = BoundedBuffer(_FILES_AHEAD)
        self._to_encode: BoundedBuffer[_Event] = BoundedBuffer(_BYTES_AHEAD)
        self._found = 0
        self._scanning = True
        self._settled = 0
        settings = DecodeSettings(
            image_side=likeness.decoded_side(spec),
            sample_rate=spec.sample_rate,
            count_tokens=encoder.count_tokens,
            max_tokens=spec.max_tokens,
            max_pixels=options.max_pixels,
        )
        self._decoders = Decoders(
            self._store, self._generation_id, encoder, settings, self._to_open, self._to_encode, self._stop
        )
        self._pending: dict[TowerSpec, _Batch] = defaultdict(list)
        self._pending_since = 0.0
        self._encode_thread = ThreadPoolExecutor(1, thread_name_prefix="encode")
        self._in_flight: deque[tuple[_Batch, Future[list[Any]]]] = deque()
        self._outcomes: list[tuple[Job, Outcome]] = []
        self._committed_at = time.monotonic()
        self._shown_at = 0.0
        self._fatal: Exception | None = None  # what stopped another thread, to be raised again in this one

    def run(self) -> IndexReport:
        started = time.monotonic()
        threads = [threading.Thread(target=self._scan, name="scan", daemon=True)]
        threads += [
            threading.Thread(target=self._decoders.work, name=f"decode-{n}", daemon=True)
            for n in range(self._options.workers)
        ]
        for thread in threads:
            thread.start()
        try:
            self._encode_all()
        finally:  # also on KeyboardInterrupt: what is whole is kept
            self._to_open.close()
            self._to_encode.close()
            for thread in threads:
                thread.join(timeout=10)
            self._finish_encoding()
            self._commit()
        if self._fatal is not None:
            raise self._fatal
        self._report.interrupted = self._cancel.is_set()
        if not self._report.interrupted:
            self._forget()
        self._store.drop_orphans()
        self._library.save_indexes()
        self._report.seconds = time.monotonic() - started
        self._show(always=True)
        return self._report

    def _forget(self) -> None:
        """Forget the old names of moved files and, if it was asked for, what is missing."""
        report = self._report
        report.moved = sum(self._store.forget_moved(root_id) for root_id in {t.root_id for t in self._targets})
        report.missing = max(0, report.missing - report.moved)
        if self._options.prune:
            reached = [target for target in self._targets if target.root not in report.unreachable]
            report.pruned = sum(self._store.prune(target.root_id, target.scope).files for target in reached)
            report.missing = 0

    # --- the scanning thread ---

    def _scan(self) -> None:
        rules = ScanRules(
            self._options.hidden, self._options.ignore_files, frozenset({os.path.realpath(self._library.path)})
        )
        retry, walked = self._options.retry_failed, Walked()
        try:
            for target in self._targets:
                for change in find_changes(self._store, target, rules, walked, retry_failed=retry):
                    self._send_on(change)
            self._to_encode.put(_ScanEnded())
            for _ in range(self._options.workers):
                self._to_open.put(None)
        except BufferClosedError:
            pass
        except Exception as error:  # whatever it is, the calling thread raises it again
            self._stop(error)

    def _stop(self, error: Exception) -> None:
        """End the run from another thread: no file is to blame."""
        self._fatal = error
        self._to_encode.close()

    def _send_on(self, change: Change) -> None:
        if isinstance(change, ToOpen):
            self._found += 1
            self._to_open.put(Job(change.root_id, change.file, change.is_new, change.content_id))
        elif isinstance(change, Unreadable):  # recorded as a file would be, so that `status` lists it
            self._found += 1
            self._to_encode.put(Ended(Job(change.root_id, change.place, is_new=True, failure=change.reason)))
        elif isinstance(change, Emptied):
            self._report.unreachable.append(change.root)
        elif isinstance(change, NewState):
            self._to_encode.put(change)
        else:
            self._report.unchanged += change.unchanged
            self._report.ignored += change.ignored
            self._report.other += change.other

    # --- the calling thread, but for `_vectors` and `_wake` ---

    def _encode_all(self) -> None:
        while not self._cancel.is_set() and (self._scanning or self._settled < self._found):
            try:
                event = self._to_encode.get(_IDLE_SECONDS)
            except BufferClosedError:
                return
            if isinstance(event, Prepared | Unread):
                self._take_in(event)
            elif isinstance(event, Sound):
                self._transcribe(event.job, event.audio)
            elif isinstance(event, Ended):
                event.job.ended = True
                self._settle_if_whole(event.job)
            elif isinstance(event, NewState):
                marked = self._store.set_state(event.file_ids, event.state)
                self._report.missing += marked if event.state == MISSING else 0
            elif isinstance(event, _ScanEnded):
                self._scanning = False
            while self._in_flight and self._in_flight[0][1].done():
                self._take()
            now = time.monotonic()
            # Nothing more may come before what is here is done. While a batch is encoded, the next may as well fill.
            idle = event is None and not self._scanning and not self._in_flight
            if idle or (any(self._pending.values()) and now - self._pending_since > _STALE_BATCH_SECONDS):
                self._flush_all()
            if idle or now - self._committed_at > self._options.commit_seconds:
                self._commit()
            self._show()

    def _transcribe(self, job: Job, audio: AudioSample) -> None:
        """Turn sound into lines of text, each a segment of the speech channel."""
        tower = dict(self._encoder.spec.channels)["speech"]
        try:
            lines = self._encoder.transcribe(audio)
            prepared = [prepared_for(self._encoder, tower, job, "speech", line) for line in lines]
        except ModelError:  # it cannot be loaded, which is no fault of the file
            raise
        except Exception as error:  # a model's failure on one file is that file's failure
            _log.exception("transcription of %s failed", job.file.path)
            job.failure = f"its speech could not be transcribed: {type(error).__name__}: {error}"
            return
        job.speech_lines = (job.speech_lines or 0) + len(lines)
        for ready in prepared:
            self._take_in(ready)

    def _take_in(self, ready: Prepared | Unread) -> None:
        if isinstance(ready, Unread):
            ready.slot.job.expect(ready.slot)
        else:
            self._queue(ready.tower, ready.slot, ready.prepared)

    def _queue(self, tower: TowerSpec, slot: Slot, prepared: Any) -> None:
        if not any(self._pending.values()):
            self._pending_since = time.monotonic()
        slot.job.expect(slot)
        self._pending[tower].append((slot, prepared))
        if len(self._pending[tower]) >= self._options.batch_size:
            self._flush(tower)

    def _flush_all(self) -> None:
        for tower in list(self._pending):
            self._flush(tower)

    def _flush(self, tower: TowerSpec) -> None:
        """Send a tower's batch to be encoded, once there is room."""
        batch = self._pending.pop(tower, [])
        if not batch:
            return
        while len(self._in_flight) >= _BATCHES_AHEAD:
            self._take()
        future = self._encode_thread.submit(self._vectors, tower, batch)
        self._in_flight.append((batch, future))
        future.add_done_callback(self._wake)

    def _wake(self, _: Future[list[Any]]) -> None:
        with suppress(BufferClosedError):
            self._to_encode.put(_BatchEncoded(), 0)

    def _finish_encoding(self) -> None:
        """Let the batch that is being encoded come to its end; what it completes is kept, however the run ends."""
        self._encode_thread.shutdown(cancel_futures=True)
        while self._in_flight:
            if self._in_flight[0][1].cancelled() or self._in_flight[0][1].exception() is not None:
                self._in_flight.popleft()
            else:
                self._take()

    def _take(self) -> None:
        """Wait for the oldest batch, and settle the jobs that it completes."""
        batch, future = self._in_flight.popleft()
        for (slot, _), vector in zip(batch, future.result(), strict=True):
            job = slot.job
            norm = 0.0 if vector is None else float(lengths(vector[None])[0])
            if usable(norm):
                job.fill(slot, (vector / norm).astype(np.float32), norm)
            else:
                job.failure = job.failure or "the model could not encode it"
                job.awaited -= 1
            self._settle_if_whole(job)

    def _vectors(self, tower: TowerSpec, batch: _Batch) -> list[Any]:
        """The vectors of a batch. When it fails it is tried one by one, so that only the guilty get None.

        Runs in the encoding thread.
        """
        try:
            vectors = list(self._encoder.encode(tower, [prepared for _, prepared in batch]))
            if len(vectors) == len(batch):
                return vectors
            _log.error("a batch of %d came back as %d vectors", len(batch), len(vectors))
        except ModelError:
            raise
        except Exception:  # whatever a model raises
            _log.exception("encoding a batch of %d failed", len(batch))
        vectors = []
        for slot, prepared in batch:
            try:
                vectors.append(self._encoder.encode(tower, [prepared])[0])
            except ModelError:
                raise
            except Exception as error:
                slot.job.failure = f"the model could not encode it: {type(error).__name__}: {error}"
                vectors.append(None)
        return vectors

    def _settle_if_whole(self, job: Job) -> None:
        if job.ended and job.awaited == 0:
            job.awaited = -1  # settled: a job is settled once
            self._outcomes.append((job, job.outcome(self._options.frame_similarity)))
            self._settled += 1
            if len(self._outcomes) >= self._options.commit_files:
                self._commit()

    def _commit(self) -> None:
        """Write what is whole, then settle the jobs that waited for the contents just written."""
        self._committed_at = time.monotonic()
        while self._outcomes:
            batch, self._outcomes = self._outcomes, []
            self._store.write(self._generation_id, [outcome for _, outcome in batch])
            for job, outcome in batch:
                self._count(job, outcome)
                for follower in self._decoders.release(job):
                    follower.inherit(job)
                    if job.failure is None and job.key is not None:
                        follower.content_id = self._store.encoded_content(self._generation_id, *job.key)
                    self._outcomes.append((follower, follower.outcome(self._options.frame_similarity)))
                    self._settled += 1

    def _count(self, job: Job, outcome: Outcome) -> None:
        report = self._report
        content = outcome.content
        if job.skipped:
            report.skipped += 1
        elif job.failure is not None:
            report.failed += 1
            report.failed_folders += job.failure.startswith(FOLDER_PROBLEM)
            report.note_failure(job.file.path, job.failure)
        elif isinstance(content, int):
            report.linked += job.is_new
            report.changed += not job.is_new and content != job.content_before
            report.unchanged += content == job.content_before
        elif content is not None:
            report.added += job.is_new
            report.changed += not job.is_new
            read = sum(segment.vector is not None for segment in content.segments)
            report.segments += read
            report.unread += bool(content.segments) and not read
            report.no_speech += content.speech_lines == 0
            if content.problem is not None:
                report.partial += 1
                report.note_failure(job.file.path, content.problem)

    def _show(self, *, always: bool = False) -> None:
        now = time.monotonic()
        if self._on_progress is not None and (always or now - self._shown_at > 0.1):
            self._shown_at = now
            report = self._report
            self._on_progress(Progress(self._found, self._settled, report.failed, report.unchanged, self._scanning))
