import numpy as np

from indexer.job import thin
from indexer.records import NewSegment


def frame(x, y, start):
    return NewSegment("visual", np.array([x, y], np.float32), start, start + 1.0)


def spans(frames):
    return [(f.start_seconds, f.end_seconds) for f in frames]


def test_frames_that_show_nothing_new_are_folded_into_the_one_before():
    frames = [frame(1, 0, 0), frame(1, 0, 1), frame(0, 1, 2), frame(0, 1, 3), frame(1, 0, 4)]
    assert spans(thin(frames, 0.95)) == [(0, 2), (2, 4), (4, 5)]


def test_a_slow_pan_is_compared_with_what_was_kept_last():
    angles = np.radians([0, 10, 20, 30])  # neighbours: cos 10° = 0.985; two apart: cos 20° = 0.940
    frames = [frame(np.cos(a), np.sin(a), n) for n, a in enumerate(angles)]
    assert spans(thin(frames, 0.95)) == [(0, 2), (2, 4)]


def test_nothing_gives_nothing():
    assert thin([], 0.95) == []
