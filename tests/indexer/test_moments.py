"""One frame, one stretch of sound: found by seeking, and the same as when everything before is decoded."""

from fractions import Fraction

import av
import numpy as np
import pytest

from indexer.errors import DamagedMediaError, MediaError
from indexer.media import open_media, sniff
from indexer.media.audio import stretch
from indexer.media.video import frame_at
from indexer.types import AudioSample, DecodeSettings, ImageSample

COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255), (0, 255, 255)]
SETTINGS = DecodeSettings(image_side=32, sample_rate=8000, count_tokens=len, max_tokens=8)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Make a video of one colour a second, with few key frames, that begins at a time of its own."""

    def make(suffix, codec="libx264", key_every=250, offset=0.0):
        path = tmp_path_factory.mktemp("scenes") / f"scenes.{suffix}"
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=20, options={"g": str(key_every), "sc_threshold": "0"})
            stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
            stream.bit_rate = 2_000_000
            for number in range(len(COLOURS) * 20):
                frame = av.VideoFrame.from_ndarray(np.full((64, 96, 3), COLOURS[number // 20], np.uint8), "rgb24")
                frame.pts, frame.time_base = number + round(offset * 20), Fraction(1, 20)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return make


def shown(path, at):
    pixels = frame_at(path, sniff(path), at, 32)
    assert pixels.dtype == np.uint8
    mean = pixels.reshape(-1, 3).mean(axis=0)
    return COLOURS[int(np.argmin([np.abs(mean - colour).sum() for colour in COLOURS]))]


@pytest.mark.parametrize(
    ("suffix", "codec", "offset"),
    [("mp4", "libx264", 0), ("mkv", "libx264", 0), ("mp4", "libx264", 5), ("avi", "mpeg4", 0), ("webm", "libvpx", 0)],
)
@pytest.mark.parametrize("key_every", [10, 250])
def test_the_frame_at_a_moment(scenes, suffix, codec, offset, key_every):
    path = scenes(suffix, codec, key_every, offset)
    for second, colour in enumerate(COLOURS):
        assert shown(path, second + 0.5) == colour
    assert shown(path, 0.0) == COLOURS[0]
    assert shown(path, 3600.0) == COLOURS[-1]  # beyond the end: the last one


def test_the_frame_is_that_of_the_segment_it_stands_for(scenes):
    path = scenes("mp4", key_every=15)
    with open_media(path, SETTINGS) as media:
        frames = [sample for sample in media.samples if isinstance(sample, ImageSample)]
    assert len(frames) >= 6
    for frame in frames:
        again = frame_at(path, "mp4", frame.start_seconds, SETTINGS.image_side)
        assert again.shape == frame.pixels.shape
        assert np.abs(again.astype(int) - frame.pixels).mean() < 3


def test_a_file_without_frames_is_an_error_of_its_own(tmp_path, make, scenes):
    sound = make.tones(tmp_path / "talk.wav", ["cat"])
    with pytest.raises(DamagedMediaError):
        frame_at(sound, "wav", 0.0, 32)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(scenes("mp4").read_bytes()[:1000])
    with pytest.raises(MediaError):
        frame_at(cut, "mp4", 0.0, 32)


@pytest.mark.parametrize(
    ("suffix", "codec", "tolerance"), [("wav", "pcm_s16le", 1e-6), ("flac", "flac", 1e-6), ("mkv", "pcm_s16le", 1e-6)]
)
def test_a_stretch_of_sound_is_that_of_the_whole(tmp_path, suffix, codec, tolerance):
    rng = np.random.default_rng(3)
    sound = (rng.normal(size=8000 * 20) * 4000).clip(-32768, 32767).astype(np.int16)
    path = tmp_path / f"noise.{suffix}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=8000, layout="mono")
        for start in range(0, len(sound), 1000):
            frame = av.AudioFrame.from_ndarray(sound[None, start : start + 1000], format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 8000, start, Fraction(1, 8000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with open_media(path, SETTINGS) as media:
        whole = np.concatenate([sample.waveform for sample in media.samples if isinstance(sample, AudioSample)])
    for start, end in [(0.0, 1.0), (7.3, 9.05), (19.5, 20.0), (19.5, 99.0)]:
        cut = stretch(path, sniff(path), start, end, 8000)
        assert len(cut) == (min(round(end * 8000), len(whole)) - round(start * 8000))
        assert np.abs(cut - whole[round(start * 8000) :][: len(cut)]).max() <= tolerance
    with pytest.raises(DamagedMediaError, match=r"at 50\.0 s"):
        stretch(path, sniff(path), 50.0, 51.0, 8000)


def test_a_stretch_of_compressed_sound_has_its_tone(tmp_path, make):
    from indexer.testing import FakeEncoder

    path = make.video(tmp_path / "clip.mp4", [(1, 1, 1)] * 5, ["cat", "dog", "bird", "sea", "tree"])
    for second, word in enumerate(["cat", "dog", "bird", "sea", "tree"]):
        heard = stretch(path, "mp4", second, second + 1, 8000)
        assert [line.text for line in FakeEncoder().transcribe(AudioSample(heard[:8000], 8000))] == [word]
