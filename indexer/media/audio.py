"""Decode sound to mono blocks, cut where it is quiet."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from indexer.errors import DamagedMediaError
from indexer.media.container import Damage, audio_stream, check_codec, end_of, open_container, packets, start_of
from indexer.types import AudioSample, DecodeSettings, MediaInfo, Sample

_CUT_SECONDS = 20.0
"""A block is cut in this last part of it."""

_QUIET_SECONDS = 0.4
"""A pause between sentences is about this long."""

_GAP_SECONDS = 0.2
"""Timestamps may wander this far from the count of samples before it is taken for a gap."""

_LONG_GAP_SECONDS = 10.0
"""A gap up to this long is filled with silence; after a longer one a new block begins."""

_GUESSED_LENGTH = frozenset({"aac", "amr"})
"""Formats without a length in their headers: FFmpeg guesses it from the first bit rates, and is often far off."""

Waveform = NDArray[np.float32]


def samples(path: Path, info: MediaInfo, settings: DecodeSettings, problems: list[str]) -> Iterator[Sample]:
    """All the sound of an audio file; nothing when nothing listens (`sample_rate` is None)."""
    if settings.sample_rate is None:
        return
    found = False
    for block in blocks(path, info, settings, problems):
        found = True
        yield block
    if not found:
        reason = f": {problems.pop()}" if problems else ""
        raise DamagedMediaError(f"the file holds no sound that can be decoded{reason}")


def blocks(path: Path, info: MediaInfo, settings: DecodeSettings, problems: list[str]) -> Iterator[AudioSample]:
    """Sound as mono float32 blocks of at most `audio_block_seconds`, timed from the start of the file.

    Memory is bounded by one block, however long the file is.
    """
    rate = settings.sample_rate
    if rate is None:
        return
    limit = max(1, int(settings.audio_block_seconds * rate))
    damage = Damage()
    pending: list[Waveform] = []
    held = 0  # samples in `pending`
    begin = 0.0  # where `pending` begins, in seconds
    for at, waveform in _waveforms(path, info.format, rate, damage):
        gap = at - (begin + held / rate)
        if not held:
            begin = max(at, 0.0)
        elif gap > _LONG_GAP_SECONDS:
            yield AudioSample(np.concatenate(pending), rate, begin)
            pending, held, begin = [], 0, at
        elif gap > _GAP_SECONDS:
            silence = np.zeros(int(gap * rate), np.float32)
            pending.append(silence)
            held += len(silence)
        pending.append(waveform)
        held += len(waveform)
        while held > limit:
            whole = np.concatenate(pending)
            cut = _quietest(whole[:limit], rate)
            # Copies: a view would keep the whole of a block alive behind a queue.
            yield AudioSample(whole[:cut].copy(), rate, begin)
            rest = whole[cut:].copy()
            pending, held, begin = [rest], len(rest), begin + cut / rate
    if held:
        yield AudioSample(np.concatenate(pending), rate, begin)
    line = damage.describe("sound", begin + held / rate)
    if line:
        problems.append(line)


def stretch(path: Path, format: str, start_seconds: float, end_seconds: float, rate: int) -> Waveform:
    """The sound between two times: (samples,) float32, mono, at `rate` Hz; shorter where the file ends before.

    It is found by seeking, so that its beginning is as exact as the file's timestamps.

    Raises:
        MediaError: the file cannot be opened, or holds no sound that can be decoded there.
    """
    pieces: list[Waveform] = []
    missing = round((end_seconds - start_seconds) * rate)
    for at, whole in _waveforms(path, format, rate, Damage(), start_seconds):
        if at + len(whole) / rate <= start_seconds:
            continue
        if at >= end_seconds or missing <= 0:
            break
        piece = whole[max(0, round((start_seconds - at) * rate)) :][:missing]
        pieces.append(piece)
        missing -= len(piece)
    if not pieces:
        raise DamagedMediaError(f"no sound can be decoded at {start_seconds:.1f} s: the file is cut short or damaged")
    return np.concatenate(pieces)


def _quietest(block: Waveform, rate: int) -> int:
    """Where to cut a full block: the middle of the quietest pause near its end, so that no sentence is cut in two."""
    tail = min(int(_CUT_SECONDS * rate), len(block) // 2)
    window = min(int(_QUIET_SECONDS * rate), tail // 4)
    if window < 1:
        return len(block)
    energy = np.concatenate([[0.0], np.cumsum(np.square(block[-tail:], dtype=np.float64))])
    sums = energy[window:] - energy[:-window]
    sums = np.round(sums, 9)[::-1]  # of equally quiet places the last, for the longest blocks; rounded against drift
    return len(block) - int(sums.argmin()) - window // 2


def _waveforms(
    path: Path, format: str, rate: int, damage: Damage, from_seconds: float = 0.0
) -> Iterator[tuple[float, Waveform]]:
    """Decoded and resampled pieces, each with where it begins in seconds from the start of the file.

    They begin at `from_seconds` or somewhat before it; where a file cannot be sought in, at its start.
    """
    with open_container(path, format) as container:
        stream = audio_stream(container)
        if stream is None:
            return
        check_codec(stream)
        if format not in _GUESSED_LENGTH:
            damage.expected = end_of(container, stream)
        start = start_of(container)
        if from_seconds > 0:
            with contextlib.suppress(av.error.FFmpegError):
                container.seek(int((start + from_seconds) * av.time_base), backward=True)
        resampler, shape = None, None
        at = 0.0
        for packet in packets(container, stream, damage):
            try:
                frames = stream.codec_context.decode(packet)
            except av.error.FFmpegError as error:
                damage.note(error)
                continue
            for frame in frames:
                if not frame.samples or frame.sample_rate <= 0:
                    continue
                if resampler is None or shape != _shape(frame):  # a broadcast may go from stereo to 5.1
                    if resampler is not None:
                        yield from ((at, piece) for piece in _resampled(resampler, None))
                    resampler, shape = _resampler(frame, rate), _shape(frame)
                at = frame.time - start if frame.time is not None else at
                # Some demuxers leave timestamps that swresample would try to honour by stretching the sound.
                frame.pts = None
                for piece in _resampled(resampler, frame):
                    yield at, piece
                    at += len(piece) / rate
        if resampler is not None:
            yield from ((at, piece) for piece in _resampled(resampler, None))


def _resampler(frame: av.AudioFrame, rate: int) -> av.AudioResampler:
    # swresample brings stereo to mono at 0.7 of each channel, which makes the usual voice in the middle 3 dB louder and
    # may leave [-1, 1]; so the mean is taken here, as models were trained. Of 5.1 it keeps the centre as it is.
    layout = "stereo" if frame.layout.nb_channels == 2 else "mono"
    return av.AudioResampler(format="fltp", layout=layout, rate=rate)


def _shape(frame: av.AudioFrame) -> tuple[Any, ...]:
    return frame.format.name, frame.layout.name, frame.sample_rate


def _resampled(resampler: av.AudioResampler, frame: av.AudioFrame | None) -> Iterator[Waveform]:
    for piece in resampler.resample(frame):
        # A broken float track may hold NaN, which would spread through a whole encoding.
        yield np.nan_to_num(piece.to_ndarray().astype(np.float32).mean(axis=0), posinf=0.0, neginf=0.0)
