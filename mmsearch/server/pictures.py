"""Small pictures of items, and what of a file browsers cannot show: made when asked for, kept beside the library."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from indexer.errors import UnsupportedMediaError
from indexer.media import open_media
from indexer.types import AudioSample, DecodeSettings, ImageSample, Kind
from mmsearch.server.work import check_left

SIZES = (128, 256, 384, 512, 768, 1280)
"""Sides that pictures are made with; what is asked for is rounded up to one, so that few are kept of each."""

SHOWN_SIDE = 2560
"""The longer side of a picture in a format that browsers do not show."""

_STEP_SECONDS = 0.2  # frames of a video are told apart this far
_WAVE_SECONDS = 60.0
_WAVE_RATE = 8000
_QUALITY = 80


def size_of(wanted: int) -> int:
    """The side that a picture of at least this side is made with."""
    return next((size for size in SIZES if size >= wanted), SIZES[-1])


def moment_of(seconds: float) -> float:
    """A time as pictures of videos tell them apart."""
    return round(round(seconds / _STEP_SECONDS) * _STEP_SECONDS, 3)


def picture(path: Path, kind: Kind, format: str, size: int, at_seconds: float, max_pixels: int = 64_000_000) -> bytes:
    """A picture of a file that fits into a square, as WebP: a photograph, a frame, or a waveform.

    Raises:
        MediaError: it cannot be decoded, or there is nothing to see in it.
    """
    from mmsearch.output.thumbnails import fitted, waveform

    check_left()
    if kind == "image":
        settings = DecodeSettings(
            image_side=size, sample_rate=None, count_tokens=len, max_tokens=1, max_pixels=max_pixels
        )
        with open_media(path, settings, format=format) as media:
            sample = next((sample for sample in media.samples if isinstance(sample, ImageSample)), None)
        if sample is None:
            raise UnsupportedMediaError("there is no picture in the file")
        image = fitted(sample.pixels, (size, size))
    elif kind == "video":
        from indexer.media.video import frame_at

        image = fitted(frame_at(path, format, at_seconds, size), (size, size))
    elif kind == "audio":
        from indexer.media.audio import stretch

        sound = stretch(path, format, at_seconds, at_seconds + _WAVE_SECONDS, _WAVE_RATE)
        image = waveform(sound, (size, size // 2))
    else:
        raise UnsupportedMediaError("a text has no picture: its words are in the item's lines")
    file = io.BytesIO()
    image.save(file, "WEBP", quality=_QUALITY, method=2)
    return file.getvalue()


def peaks(path: Path, format: str, start: float, end: float, points: int) -> list[float]:
    """How loud a sound is between two times: the highest sample of each of `points` equal stretches, in [0, 1].

    Memory is bounded by one block of the sound. What the file does not hold is silent.

    Raises:
        MediaError: there is no sound that can be decoded.
    """
    from indexer.media import audio

    found = np.zeros(points, np.float32)
    span = max(end - start, 1e-3)
    heard = False
    if end - start <= _WAVE_SECONDS:  # by seeking
        sound = audio.stretch(path, format, start, end, _WAVE_RATE)
        blocks = iter([AudioSample(sound, _WAVE_RATE, start)])
    else:
        settings = DecodeSettings(
            image_side=1,
            sample_rate=_WAVE_RATE // 2,
            count_tokens=len,
            max_tokens=1,
            audio_block_seconds=_WAVE_SECONDS,
        )
        from indexer.types import MediaInfo

        blocks = audio.blocks(path, MediaInfo("audio", format), settings, [])
    for block in blocks:
        check_left()
        heard = True
        if block.start_seconds >= end:
            break
        times = block.start_seconds + np.arange(len(block.waveform)) / block.sample_rate
        places = np.floor((times - start) / span * points).astype(np.int64)
        inside = (places >= 0) & (places < points)
        np.maximum.at(found, places[inside], np.abs(block.waveform[inside]))
    if not heard:
        raise UnsupportedMediaError("there is no sound in the file")
    return [round(float(peak), 4) for peak in np.clip(found, 0, 1)]


class Cache:
    """Files that can be made again, in a folder, the longest unused gone first. Safe to use from several threads.

    Where the folder cannot be written to, nothing is kept.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder = folder
        self._most = most_bytes
        self._lock = threading.Lock()
        self._bytes: int | None = None  # not counted yet
        self._making: dict[str, threading.Lock] = {}

    def get(self, name: str, make: Callable[[], bytes]) -> bytes:
        """What is kept under a name, or what `make` gives; two that ask at once have it made once.

        Args:
            name: letters, digits, "-" and "."; the first two tell the folder.
            make: gives the bytes.
        """
        with self._lock:
            turn = self._making.setdefault(name, threading.Lock())
        try:
            with turn:
                kept = self._read(name)
                if kept is not None:
                    return kept
                check_left()
                made = make()
                self._write(name, made)
                return made
        finally:
            with self._lock:
                if not turn.locked():
                    self._making.pop(name, None)

    def _path(self, name: str) -> Path:
        return self._folder / name[:2] / name

    def _read(self, name: str) -> bytes | None:
        path = self._path(name)
        try:
            kept = path.read_bytes()
        except OSError:
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return kept or None

    def _write(self, name: str, made: bytes) -> None:
        path = self._path(name)
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
            with open(descriptor, "wb") as file:
                file.write(made)
            os.replace(temporary, path)
            self._count(len(made))

    def _count(self, added: int) -> None:
        with self._lock:
            if self._bytes is not None and self._bytes + added <= self._most:
                self._bytes += added
                return
            files = []
            for path in self._folder.glob("*/*"):
                with contextlib.suppress(OSError):
                    status = path.stat()
                    files.append((status.st_mtime_ns, status.st_size, path))
            files.sort()
            self._bytes = sum(size for _, size, _ in files)
            if self._bytes <= self._most:
                return
            for _, size, path in files:
                if self._bytes <= self._most * 0.8:
                    break
                with contextlib.suppress(OSError):
                    path.unlink()
                    self._bytes -= size
