from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.types import AudioSample
from indexer.windows import windows


def sound(samples: int, rate: int = 2, start_seconds: float = 0.0) -> AudioSample:
    return AudioSample(np.arange(samples, dtype=np.float32), rate, start_seconds)


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (0, []),
        (1, [(0, 1)]),
        (3, [(0, 3)]),
        (4, [(0, 4)]),  # exactly one window: a second would lie inside it
        (5, [(0, 4), (2, 5)]),
        (6, [(0, 4), (2, 6)]),
        (7, [(0, 4), (2, 6), (4, 7)]),
        (8, [(0, 4), (2, 6), (4, 8)]),
        (9, [(0, 4), (2, 6), (4, 8), (6, 9)]),
    ],
)
def test_windows_of_two_seconds_every_second(samples, expected):
    """At 2 Hz: windows of 4 samples, one every 2."""
    cut = list(windows(sound(samples), 2.0, 1.0))
    assert [(int(window.waveform[0]), int(window.waveform[-1]) + 1) for window in cut] == expected
    assert [(window.start_seconds, window.end_seconds) for window in cut] == [
        (first / 2, last / 2) for first, last in expected
    ]


def test_times_count_from_the_start_of_the_file():
    cut = list(windows(sound(8, start_seconds=300.0), 2.0, 1.0))
    assert [window.start_seconds for window in cut] == [300.0, 301.0, 302.0]
    assert {window.sample_rate for window in cut} == {2}


def test_windows_that_do_not_overlap():
    assert [len(window.waveform) for window in windows(sound(9), 2.0, 2.0)] == [4, 4, 1]


def test_a_window_does_not_keep_the_block_alive():
    audio = sound(9)
    for window in windows(audio, 2.0, 1.0):
        assert window.waveform.base is None
        assert not np.shares_memory(window.waveform, audio.waveform)


@pytest.mark.parametrize(("window", "hop"), [(1.0, 0.0), (1.0, -1.0), (0.0, 0.0), (1.0, 1.5), (float("inf"), 1.0)])
def test_a_hop_that_leaves_sound_out_is_refused(window, hop):
    with pytest.raises(ValueError, match="hop"):
        list(windows(sound(9), window, hop))


@given(
    samples=st.integers(0, 400),
    rate=st.integers(1, 50),
    window_seconds=st.floats(0.01, 8),
    share=st.floats(0.05, 1),
)
def test_everything_is_covered_and_nothing_twice_over(samples, rate, window_seconds, share):
    hop_seconds = window_seconds * share
    length, hop = max(1, round(window_seconds * rate)), max(1, round(hop_seconds * rate))
    cut = list(windows(sound(samples, rate), window_seconds, hop_seconds))
    spans = [(int(window.waveform[0]), int(window.waveform[-1]) + 1) for window in cut]

    covered = {index for first, last in spans for index in range(first, last)}
    assert covered == set(range(samples))
    assert [first for first, _ in spans] == [hop * number for number in range(len(spans))]
    assert all(last - first == length for first, last in spans[:-1])
    assert all(1 <= last - first <= length for first, last in spans)
    assert all(later[1] > earlier[1] for earlier, later in itertools.pairwise(spans))
    # One window, and one more for every hop by which the rest exceeds it.
    assert len(spans) == (0 if samples == 0 else 1 + max(0, -(-(samples - length) // hop)))
    for window, (first, last) in zip(cut, spans, strict=True):
        np.testing.assert_array_equal(window.waveform, np.arange(first, last, dtype=np.float32))
        assert window.start_seconds == first / rate
