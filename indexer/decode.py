"""The decoding threads: from a file that was found to samples that a tower can take."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from indexer.buffer import BoundedBuffer, BufferClosedError
from indexer.errors import LibraryError, MediaError, ModelError, UnsupportedMediaError
from indexer.job import Job, Slot
from indexer.legible import stored_as
from indexer.media import open_media, sniff
from indexer.store import Store
from indexer.types import AudioSample, Channel, DecodeSettings, Encoder, ImageSample, Sample, TextSample, TowerSpec
from indexer.windows import windows

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """One sample on its way to its tower."""

    slot: Slot
    tower: TowerSpec
    prepared: Any


@dataclass(frozen=True, slots=True, eq=False)
class Unread:
    """A text that the model cannot read: it has words, and gets no vector."""

    slot: Slot


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """A stretch of sound on its way to be transcribed."""

    job: Job
    audio: AudioSample


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing more comes of this job."""

    job: Job


class Decoders:
    """What the decoding threads of one run share; each thread runs `work`.

    Args:
        store: is asked for contents that are known already.
        generation_id: for which model they must be known.
        encoder: prepares samples.
        settings: for the decoders.
        to_open: where files come from; None ends a thread.
        to_encode: where samples go, weighed in bytes, and `Ended` after the last one of a file.
        stop: is told of an error for which no file is to blame.
    """

    def __init__(
        self,
        store: Store,
        generation_id: int,
        encoder: Encoder,
        settings: DecodeSettings,
        to_open: BoundedBuffer[Job | None],
        to_encode: BoundedBuffer[Any],
        stop: Callable[[Exception], None],
    ) -> None:
        self._store = store
        self._generation_id = generation_id
        self._encoder = encoder
        self._settings = settings
        self._to_open = to_open
        self._to_encode = to_encode
        self._stop = stop
        # Contents that are being encoded, and the jobs that turned out to hold the same bytes meanwhile.
        self._claims: dict[tuple[str, str], list[Job]] = {}
        self._claims_lock = threading.Lock()

    def work(self) -> None:
        """Decode until there is nothing more to open: the life of one thread."""
        try:
            while (job := self._to_open.get()) is not None:
                if self._decode(job):
                    self._to_encode.put(Ended(job))
        except BufferClosedError:
            pass
        except (ModelError, LibraryError) as error:
            self._stop(error)

    def _decode(self, job: Job) -> bool:
        """Send a file's samples on. False when another job is at the same bytes: it will settle this one."""
        path = Path(job.file.path)
        try:
            before = _look(path)
            format = sniff(path)
            job.key = (_digest(path), format)
            with self._claims_lock:
                if job.key in self._claims:
                    self._claims[job.key].append(job)
                    return False
                self._claims[job.key] = []
                job.leads = True
            job.content_id = self._store.encoded_content(self._generation_id, *job.key)
            if job.content_id is None:
                with open_media(path, self._settings, format=format) as media:
                    job.info = media.info
                    for sample in media.samples:
                        for event, weight in self._prepared(job, sample):
                            self._to_encode.put(event, weight)
                    job.problems = list(media.problems)
            if _look(path) != before:  # its vectors may be of other bytes than its digest
                job.failure, job.transient = "it changed while it was read; index again", True
        except (BufferClosedError, ModelError, LibraryError):
            raise
        except MediaError as error:
            job.failure = str(error)
            job.unsupported = isinstance(error, UnsupportedMediaError)
            job.transient = type(error) is MediaError and job.leads  # the system's word on this name, not on the bytes
        except OSError as error:
            job.failure, job.transient = f"it cannot be read: {error.strerror or error}", job.leads
        except Exception as error:  # a decoder's own bug must not stop the run: it is recorded, and logged in full
            _log.exception("unexpected error in %s", path)
            job.failure = f"unexpected {type(error).__name__}: {error}"
        return True

    def _prepared(self, job: Job, sample: Sample) -> Iterator[tuple[Prepared | Unread | Sound, int]]:
        """What a sample is to be encoded as, for each channel that it feeds; and about how many bytes that holds."""
        spec = self._encoder.spec
        channel: Channel
        parts: Iterable[Sample] = (sample,)
        if isinstance(sample, AudioSample):
            if spec.transcribes and spec.tower_of("speech") is not None:
                yield Sound(job, sample), sample.waveform.nbytes
            channel = "sound"
            if spec.window_seconds is not None and spec.hop_seconds is not None:
                parts = windows(sample, spec.window_seconds, spec.hop_seconds)
        else:
            channel = "visual" if isinstance(sample, ImageSample) else "text"
        tower = spec.tower_of(channel)
        if tower is not None:
            for part in parts:
                event = prepared_for(self._encoder, tower, job, channel, part)
                yield event, int(getattr(getattr(event, "prepared", None), "nbytes", 4096))

    def release(self, job: Job) -> list[Job]:
        """Give up a job's claim to its content; the jobs that waited for it."""
        if not job.leads or job.key is None:
            return []
        with self._claims_lock:
            return self._claims.pop(job.key, [])


def prepared_for(encoder: Encoder, tower: TowerSpec, job: Job, channel: Channel, sample: Sample) -> Prepared | Unread:
    """One sample as its tower takes it; of a text, what the tower can read of it."""
    read = sample
    if isinstance(sample, TextSample):
        text = stored_as(channel, encoder, sample.text, tower)
        if text is None:
            return Unread(Slot.of(job, channel, sample, unread=True))
        read = replace(sample, text=text)
    return Prepared(Slot.of(job, channel, sample), tower, encoder.prepare(tower, read))


def _look(path: Path) -> tuple[int, int, int]:
    """What tells that a file was not changed meanwhile: inode, size, time of modification."""
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def _digest(path: Path) -> str:
    """BLAKE2b of a file's bytes: 40 hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=20)
    with path.open("rb", buffering=0) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
