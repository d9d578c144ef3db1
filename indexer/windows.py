"""Cutting sound into windows of one length, always at the same places."""

from __future__ import annotations

from collections.abc import Iterator

from indexer.types import AudioSample


def windows(audio: AudioSample, window_seconds: float, hop_seconds: float) -> Iterator[AudioSample]:
    """Windows of `window_seconds`, one every `hop_seconds` from the start of the stretch.

    Every sample is in at least one window. The last window ends where the stretch does, and may be
    shorter: padding is for whoever encodes it. No window lies wholly inside the one before. Each is a
    copy, because a view would keep the whole stretch in memory. A stretch without samples has none.

    Lengths are rounded to whole samples once, so that windows lie at multiples of one number.
    """
    if not 0 < hop_seconds <= window_seconds < float("inf"):
        raise ValueError(
            f"got a hop of {hop_seconds} s and windows of {window_seconds} s: the hop must be positive and at most"
            " as long as the window, or sound would be left out"
        )
    length = max(1, round(window_seconds * audio.sample_rate))
    hop = max(1, round(hop_seconds * audio.sample_rate))
    total = len(audio.waveform)
    # A window that starts after `total - length` is cut short by the end; one hop later, it would lie inside the last.
    for start in range(0, max(total - length, 0) + hop, hop):
        stretch = audio.waveform[start : start + length]
        if len(stretch):
            yield AudioSample(stretch.copy(), audio.sample_rate, audio.start_seconds + start / audio.sample_rate)
