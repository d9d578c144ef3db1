"""Small pictures of results: right where they can be made, blank where they cannot, never a failure or a wait."""

import threading
import time

import numpy as np
import pytest

from mmsearch.output import thumbnails as module
from mmsearch.output.thumbnails import placeholder, thumbnail, thumbnails, waveform

SIZE = (48, 36)


def colour(image):
    return np.asarray(image.convert("RGB")).reshape(-1, 3).mean(axis=0)


def is_blank(image, size=SIZE):
    return image.size == size and image.tobytes() == placeholder(size).tobytes()


def test_a_picture_of_each_kind(media, a_hit):
    red = thumbnail(a_hit(media / "red.png"), SIZE)
    assert red.size <= SIZE
    assert colour(red) == pytest.approx([255, 0, 0])
    clip = a_hit(media / "clip.mp4", kind="video", start_seconds=2.0, end_seconds=3.0)
    assert colour(thumbnail(clip, SIZE)) == pytest.approx([0, 255, 0], abs=12)
    assert colour(thumbnail(a_hit(media / "clip.mp4", kind="video"), SIZE)) == pytest.approx([0, 0, 255], abs=12)
    assert thumbnail(a_hit(media / "note.txt", kind="text"), SIZE) is None


def test_a_waveform_is_high_where_it_is_loud(media, a_hit):
    talk = thumbnail(a_hit(media / "talk.wav", kind="audio", start_seconds=0.0, end_seconds=4.0), (400, 90))
    lit = (np.asarray(talk) == module._WAVE).all(axis=2).sum(axis=0)
    assert lit[20:190].max() <= 2  # two seconds of silence
    assert lit[215:380].max() > 60
    assert not is_blank(thumbnail(a_hit(media / "talk.wav", kind="audio"), SIZE))  # without times: its beginning


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (28, 20), (320, 240)])
@pytest.mark.parametrize("samples", [1, 7, 100_000])
def test_waveforms_of_any_size(size, samples):
    assert waveform(np.zeros(samples, np.float32), size).size == size
    assert waveform(np.ones(samples, np.float32), size).size == size
    assert placeholder(size).size == size


@pytest.mark.parametrize("kind", ["image", "video", "audio"])
def test_what_cannot_be_decoded_is_blank(media, a_hit, kind):
    (media / "empty.png").write_bytes(b"")
    (media / "cut.png").write_bytes((media / "red.png").read_bytes()[:45])
    (media / "cut.mp4").write_bytes((media / "clip.mp4").read_bytes()[:900])
    for name in ("empty.png", "cut.png", "cut.mp4", "note.txt", "gone.png", "sub"):
        assert is_blank(thumbnail(a_hit(media / name, kind=kind, start_seconds=1.0, end_seconds=2.0), SIZE)), name


def test_one_for_each_result_in_order(media, a_hit):
    hits = [
        a_hit(media / "red.png"),
        a_hit(media / "gone.png"),
        a_hit(media / "note.txt", kind="text"),
        a_hit(media / "sub" / "green.png"),
    ]
    red, gone, note, green = thumbnails(hits * 1, SIZE, 30)
    assert colour(red) == pytest.approx([255, 0, 0])
    assert is_blank(gone)
    assert note is None
    assert colour(green) == pytest.approx([0, 255, 0])
    assert list(thumbnails([], SIZE, 1)) == []


def test_a_disk_that_does_not_answer_holds_up_nothing(media, a_hit, monkeypatch):
    answered = threading.Event()

    def slow(hit, size):
        if "gone" in hit.path:
            answered.wait(30)
        return placeholder((3, 3))

    monkeypatch.setattr(module, "thumbnail", slow)
    begin = time.monotonic()
    found = list(thumbnails([a_hit("/gone"), *[a_hit("/here")] * 5], SIZE, 0.3))
    assert time.monotonic() - begin < 20
    assert is_blank(found[0])
    assert [image.size for image in found[1:]] == [(3, 3)] * 5  # the other worker goes on
    answered.set()
