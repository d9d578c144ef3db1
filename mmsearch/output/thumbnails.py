"""A small picture of a result: the photograph, the frame at the moment, the waveform. Never fails, never hangs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet  # not the built-in one before Python 3.11
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from indexer.errors import MediaError, UnsupportedMediaError
from indexer.media import open_media, sniff
from indexer.types import DecodeSettings, ImageSample

if TYPE_CHECKING:
    from mmsearch.rank import Hit

_log = logging.getLogger(__name__)

_WORKERS = 2  # each may hold one decoded photograph
_LISTENED_SECONDS = 60.0  # of a long moment of sound, the beginning is drawn
_WAVE_RATE = 8000  # Hz; a waveform is drawn, not heard

GROUND = (38, 40, 46)
_PALE = (66, 69, 78)
_WAVE = (96, 165, 250)

Size = tuple[int, int]
"""Width and height in pixels."""


def thumbnails(hits: Sequence[Hit], size: Size, seconds: float) -> Iterator[Image.Image | None]:
    """A picture for each result, in order, within `size`; None for a text.

    What cannot be decoded, or not within `seconds` for all of them, gives a blank placeholder. They are made in the
    background, in threads that end with the process: a file on a disk that does not answer holds up nothing.
    """
    futures: list[Future[Image.Image | None]] = [Future() for _ in hits]
    work = iter(zip(hits, futures, strict=True))
    turn, stop = threading.Lock(), threading.Event()

    def run() -> None:
        while not stop.is_set():
            with turn:
                hit, future = next(work, (None, None))
            if hit is None or future is None:
                return
            future.set_result(thumbnail(hit, size))

    for number in range(min(_WORKERS, len(hits))):
        threading.Thread(target=run, name=f"thumbnails-{number}", daemon=True).start()
    until = time.monotonic() + seconds
    try:
        for future in futures:
            try:
                yield future.result(timeout=max(0.0, until - time.monotonic()))
            except NotYet:
                yield placeholder(size)
    finally:
        stop.set()


def thumbnail(hit: Hit, size: Size) -> Image.Image | None:
    """A picture of one result within `size`: a blank placeholder when it cannot be made, None for a text."""
    if hit.kind == "text":
        return None
    try:
        return _DRAWN[hit.kind](hit, size)
    except Exception:  # anything at all: results are shown also when a file has changed, gone or broken since
        _log.debug("no thumbnail of %r", hit.path, exc_info=True)
        return placeholder(size)


def placeholder(size: Size) -> Image.Image:
    """What stands for a picture that cannot be shown: a dark field with a pale frame and a stroke through it."""
    width, height = size
    image = Image.new("RGB", size, GROUND)
    if min(size) >= 8:
        pen = ImageDraw.Draw(image)
        pen.rectangle((0, 0, width - 1, height - 1), outline=_PALE)
        pen.line((width // 3, height * 2 // 3, width * 2 // 3, height // 3), fill=_PALE, width=max(1, height // 40))
    return image


def _photograph(hit: Hit, size: Size) -> Image.Image:
    settings = DecodeSettings(image_side=max(size), sample_rate=None, count_tokens=len, max_tokens=1)
    with open_media(Path(hit.path), settings) as media:
        for sample in media.samples:
            if isinstance(sample, ImageSample):
                return fitted(sample.pixels, size)
    raise UnsupportedMediaError(f"{hit.path} is no picture any more")


def _frame(hit: Hit, size: Size) -> Image.Image:
    from indexer.media.video import frame_at

    path = Path(hit.path)
    return fitted(frame_at(path, sniff(path), hit.start_seconds or 0.0, max(size)), size)


def _wave(hit: Hit, size: Size) -> Image.Image:
    from indexer.media.audio import stretch

    path, start = Path(hit.path), hit.start_seconds or 0.0
    end = start + _LISTENED_SECONDS if hit.end_seconds is None else min(hit.end_seconds, start + _LISTENED_SECONDS)
    return waveform(stretch(path, sniff(path), start, end, _WAVE_RATE), size)


_DRAWN = {"image": _photograph, "video": _frame, "audio": _wave}


def fitted(pixels: NDArray[np.uint8], size: Size) -> Image.Image:
    """A picture, (height, width, 3) uint8, brought into `size` with its proportions kept; never larger than it is."""
    image = Image.fromarray(pixels)
    image.thumbnail(size, Image.Resampling.LANCZOS)
    return image


def waveform(sound: NDArray[np.float32], size: Size) -> Image.Image:
    """Sound, (samples,) float32, as bars: how loud each stretch of it is, against the loudest.

    Raises:
        MediaError: there is no sound.
    """
    if not len(sound):
        raise MediaError("there is no sound to draw")
    width, height = size
    image = Image.new("RGB", size, GROUND)
    pen = ImageDraw.Draw(image)
    margin = width // 20
    width -= 2 * margin
    step = 1 if width < 40 else max(3, width // 48)
    bars = max(1, width // step)
    pieces = np.array_split(np.abs(sound), bars)
    peaks = np.array([piece.max() if len(piece) else 0.0 for piece in pieces])
    loudest = max(float(peaks.max()), 1e-3)  # silence stays flat
    for number, peak in enumerate(peaks.tolist()):
        half = max(0.5, peak / loudest * height * 0.45)
        left = margin + number * step
        top, bottom = round(height / 2 - half), round(height / 2 + half) - 1
        pen.rectangle((left, top, left + max(0, step - 2), max(top, bottom)), fill=_WAVE)
    return image
