from __future__ import annotations

import itertools
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from indexer.errors import DamagedMediaError, MediaTooLargeError
from indexer.media import open_media
from indexer.types import AudioSample, ImageSample


def split(samples):
    return [s for s in samples if isinstance(s, ImageSample)], [s for s in samples if isinstance(s, AudioSample)]


def check_times(frames, colours, duration):
    """Each frame shows the colour of the second that it says it begins in, and the spans join up to the end."""
    for frame in frames:
        wanted = colours[int(frame.start_seconds + 0.01) % len(colours)]
        assert np.abs(frame.pixels.astype(int) - wanted).mean() < 12, frame.start_seconds
    assert frames[0].start_seconds == pytest.approx(0, abs=0.05)
    for before, after in itertools.pairwise(frames):
        assert before.end_seconds == after.start_seconds
    assert frames[-1].end_seconds == pytest.approx(duration, abs=0.15)


@pytest.mark.parametrize(
    ("name", "codec", "format"),
    [
        ("v.mp4", "libx264", "mp4"),
        ("v.mov", "libx264", "mov"),
        ("v.mkv", "libx264", "matroska"),
        ("v.mkv", "libx265", "matroska"),
        ("v.webm", "libvpx-vp9", "webm"),
        ("v.webm", "libsvtav1", "webm"),
        ("v.avi", "mpeg4", "avi"),
        ("v.avi", "mjpeg", "avi"),
        ("v.m2ts", "libx264", "mpegts"),
        ("v.mpg", "mpeg2video", "mpeg"),
        ("v.flv", "libx264", "flv"),
        ("v.wmv", "wmv2", "asf"),
    ],
)
def test_each_format_is_read_back(make, read, colours, name, codec, format):
    fps = 25 if codec == "mpeg2video" else 10
    path = make.video(name, 5, fps=fps, codec=codec, pix_fmt="yuvj420p" if codec == "mjpeg" else "yuv420p")
    info, samples, problems = read(path)
    assert (info.kind, info.format, info.width, info.height, problems) == ("video", format, 160, 96, [])
    assert info.duration_seconds == pytest.approx(5, abs=0.5 if format == "mpeg" else 0.2)
    assert 3 <= len(samples) <= 5
    check_times(samples, colours, info.duration_seconds)


@pytest.mark.parametrize("bframes", [0, 3])
@pytest.mark.parametrize("gop", [1, 3, 10, 20, 27, 250])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_times_are_right_with_any_key_frames(make, read, colours, gop, bframes, suffix):
    path = make.video(f"v{suffix}", 14, fps=10, gop=gop, bframes=bframes)
    _, frames, problems = read(path)
    check_times(frames, colours, 14)
    assert problems == []
    starts = [frame.start_seconds for frame in frames]
    assert max(np.diff(starts)) <= 2.01  # no wanted second is further than two steps from the last
    if gop in (1, 10, 250):
        assert starts == pytest.approx(list(range(14)), abs=0.01)


def test_open_groups_of_pictures(make, read, colours):
    options = {"x264-params": "open-gop=1:keyint=10:min-keyint=10:scenecut=0:bframes=3"}
    _, frames, _ = read(make.video("v.mp4", 14, options=options))
    assert len(frames) >= 7
    for frame in frames:
        assert np.abs(frame.pixels.astype(int) - colours[int(frame.start_seconds + 0.01) % 7]).mean() < 12


@pytest.mark.parametrize(("fps", "per_minute", "wanted"), [(2.0, 120, 20), (1.0, 30, 5), (0.2, 60, 2), (5.0, 60, 10)])
def test_rate_of_frames(make, read, settings, fps, per_minute, wanted):
    used = replace(settings, frames_per_second=fps, max_frames_per_minute=per_minute)
    for gop in (250, 5):
        _, frames, _ = read(make.video("v.mp4", 10, fps=10, gop=gop), used)
        assert len(frames) == wanted


def test_frames_are_small_but_cover_what_is_needed(make, read, settings):
    path = make.video("v.mp4", 2, size=(640, 360))
    info, frames, _ = read(path)
    assert (info.width, info.height) == (640, 360)
    assert frames[0].pixels.shape == (64, 114, 3)
    _, frames, _ = read(path, replace(settings, image_side=1000))
    assert frames[0].pixels.shape == (360, 640, 3)


def corner(_: int) -> np.ndarray:
    """Red in the left upper corner, blue in the right upper, else gray."""
    pixels = np.full((96, 160, 3), 128, np.uint8)
    pixels[:48, :48] = 220, 30, 30
    pixels[:48, -48:] = 30, 30, 220
    return pixels


MATRICES = {
    "none": ((1, 0, 0, 1), (160, 96), lambda a: a),
    "clockwise": ((0, 1, -1, 0), (96, 160), lambda a: np.rot90(a, -1)),
    "half": ((-1, 0, 0, -1), (160, 96), lambda a: np.rot90(a, 2)),
    "counter-clockwise": ((0, -1, 1, 0), (96, 160), lambda a: np.rot90(a, 1)),
    "mirrored": ((-1, 0, 0, 1), (160, 96), lambda a: a[:, ::-1]),
}


@pytest.mark.parametrize("turn", MATRICES)
def test_display_matrix_turns_the_frames(make, read, turn):
    (a, b, c, d), size, transform = MATRICES[turn]
    path = make.video("v.mp4", 2, picture=corner)
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # ISO 14496-12, section 8.3.2: the matrix of a version 0 header
    rows = [a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30]
    data[at : at + 36] = b"".join(row.to_bytes(4, "big", signed=True) for row in rows)
    path.write_bytes(data)
    info, frames, _ = read(path)
    assert (info.width, info.height) == size
    wanted = transform(corner(0))
    found = frames[0].pixels.astype(int)
    height, width = found.shape[:2]
    rows_at = np.linspace(0, wanted.shape[0] - 1, height).astype(int)
    columns_at = np.linspace(0, wanted.shape[1] - 1, width).astype(int)
    assert np.abs(found - wanted[rows_at][:, columns_at]).mean() < 12


def test_narrow_pixels_are_made_square(make, read):
    info, frames, _ = read(make.video("v.mp4", 1, aspect=Fraction(2, 1)))
    assert (info.width, info.height) == (320, 96)
    assert frames[0].pixels.shape == (64, 214, 3)


def test_sound_follows_the_frames(make, read, sine, settings):
    path = make.video("v.mp4", 5, sound=sine(5))
    _, samples, problems = read(path)
    frames, sounds = split(samples)
    assert len(frames) == 5
    assert samples[: len(frames)] == frames
    assert sum(len(sound.waveform) for sound in sounds) / 16000 == pytest.approx(5, abs=0.15)
    assert problems == []
    assert not split(read(path, replace(settings, sample_rate=None))[1])[1]


def test_sound_longer_than_the_pictures(make, read, sine, colours):
    path = make.video("v.mkv", 3, sound=sine(12))
    info, samples, problems = read(path)
    frames, sounds = split(samples)
    assert info.duration_seconds == pytest.approx(12, abs=0.2)
    assert sounds[-1].end_seconds == pytest.approx(12, abs=0.2)
    assert frames[-1].start_seconds == pytest.approx(2, abs=0.1)
    assert problems == []


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv", "v.avi"])
def test_one_frame(make, read, name):
    info, frames, problems = read(make.video(name, 0.1, codec="mpeg4" if name == "v.avi" else "libx264"))
    assert (info.kind, len(frames), problems) == ("video", 1, [])
    assert 0 < frames[0].end_seconds <= 1


def test_variable_frame_rate(make, read, colours):
    times = [0.0, 0.1, 0.2, 1.0, 1.05, 4.2, 4.25, 9.0, 9.5]
    _, frames, _ = read(make.video("v.mkv", times=times))
    assert [frame.start_seconds for frame in frames] == pytest.approx([0, 1, 4.2, 9], abs=0.01)
    check_times(frames[:-1], colours, 9)


def test_stream_that_begins_late(make, read, colours):
    times = [100 + number / 10 for number in range(40)]
    path = make.video("v.m2ts", times=times, format="mpegts")
    _, frames, _ = read(path)
    assert frames[0].start_seconds == pytest.approx(0, abs=0.05)
    for frame in frames:
        assert np.abs(frame.pixels.astype(int) - colours[int(100.01 + frame.start_seconds) % 7]).mean() < 12


def test_web_stream_without_duration(make, read, colours, tmp_path):
    import av

    whole = make.video("whole.webm", 6, codec="libvpx-vp9", options={"deadline": "realtime", "cpu-used": "8"})

    class Pipe:
        """Something that cannot seek, as a browser's recorder writes to."""

        def __init__(self) -> None:
            self.data = bytearray()

        def write(self, data: bytes) -> int:
            self.data += data
            return len(data)

    pipe = Pipe()
    with av.open(str(whole)) as source, av.open(pipe, "w", format="webm") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    path = tmp_path / "recorded.webm"
    path.write_bytes(pipe.data)
    with av.open(str(path)) as container:
        assert not container.duration
    info, frames, problems = read(path)
    assert info.duration_seconds == pytest.approx(6, abs=0.2)
    check_times(frames, colours, 6)
    assert problems == []


def test_tags(make, read):
    tags = {
        "title": "Harbour",
        "creation_time": "2022-07-08T09:10:11Z",
        "com.apple.quicktime.location.ISO6709": "+48.8577-002.2950+035/",
    }
    info, _, _ = read(make.video("v.mov", 1, tags=tags))
    assert (info.title, info.latitude, info.longitude) == ("Harbour", 48.8577, -2.295)
    assert info.captured_at is not None
    assert info.captured_at.isoformat() == "2022-07-08T09:10:11+00:00"


def noise(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 255, (96, 160, 3), np.uint8)


@pytest.mark.parametrize("gop", [10, 250])
def test_broken_tail_is_decoded_up_to_it_and_reported(make, read, gop):
    path = make.video("v.mkv", 20, gop=gop, picture=noise)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    info, frames, problems = read(path)
    assert info.duration_seconds == pytest.approx(20, abs=0.2)
    assert 8 <= len(frames) <= 12
    assert frames[-1].end_seconds < 12
    assert len(problems) == 1
    assert problems[0].startswith("decoding of the video stopped at")
    assert "of 20.0 s" in problems[0]


def test_nothing_decodable_is_damaged(make, read):
    path = make.video("v.mp4", 2, picture=noise)
    data = bytearray(path.read_bytes())
    begin = data.index(b"mdat") + 4
    end = data.rindex(b"moov") - 4
    assert end > begin
    data[begin:end] = bytes(end - begin)
    path.write_bytes(data)
    with pytest.raises(DamagedMediaError, match="no frame of the video can be decoded"):
        read(path)


def test_too_many_pixels_are_refused(make, read, settings):
    with pytest.raises(MediaTooLargeError, match="160 x 96"):
        read(make.video("v.mp4", 1), replace(settings, max_pixels=10_000))


_MEMORY = """
import re, sys
from pathlib import Path
import av, numpy
import indexer.media.video
from indexer.errors import MediaError
from indexer.media import open_media
from indexer.types import DecodeSettings

settings = DecodeSettings(image_side=64, sample_rate=None, count_tokens=len, max_tokens=9, max_pixels=int(sys.argv[2]))
most = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
before = most()
try:
    with open_media(Path(sys.argv[1]), settings) as media:
        said = str(sum(1 for _ in media.samples))
except MediaError as error:
    said = type(error).__name__
print(said, (most() - before) // 1000)
"""


def memory_for(path: Path, max_pixels: int) -> tuple[str, int]:
    """What becomes of a video in a process of its own, and the megabytes that this takes."""
    command = [sys.executable, "-c", _MEMORY, str(path), str(max_pixels)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split()
    return said[0], int(said[1])


@pytest.mark.skipif(sys.platform != "linux", reason="Linux says how much memory a process had at most")
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_what_is_too_large_is_not_decoded_to_see_that(tmp_path, suffix):
    """FFmpeg decodes the first frames to see what is in a file; not even that is done of one that is refused."""
    path = tmp_path / f"bomb{suffix}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=1, options={"preset": "ultrafast", "crf": "40"})
        stream.width = stream.height = 8000
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame(8000, 8000, "yuv420p")
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    said, allowed = memory_for(path, 64_000_000)
    assert said == "1"
    assert allowed > 120  # two frames of 96 MB and more
    said, refused = memory_for(path, 63_999_999 // 4)
    assert said == "MediaTooLargeError"
    assert refused < allowed / 4
    if suffix == ".mp4":  # a header that says less than what comes
        data = bytearray(path.read_bytes())
        entry = data.index(b"avc1", data.index(b"stsd"))
        assert data[entry + 28 : entry + 32] == (8000).to_bytes(2, "big") * 2
        data[entry + 28 : entry + 32] = (64).to_bytes(2, "big") * 2
        path.write_bytes(data)
        said, lied = memory_for(path, 63_999_999 // 4)
        assert said.endswith("Error")
        assert lied < allowed / 4


def test_threads_decode_alike(make, sine, settings):
    paths = [make.video(f"v{gop}.mp4", 8, gop=gop, bframes=2, sound=sine(2)) for gop in (5, 40, 250)]

    def work(path: Path) -> list[bytes]:
        with open_media(path, settings) as media:
            return [(s.pixels if isinstance(s, ImageSample) else s.waveform).tobytes() for s in media.samples]

    alone = [work(path) for path in paths]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(work, paths * 4)) == alone * 4
