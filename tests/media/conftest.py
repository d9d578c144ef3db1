"""Real files, made on the spot with Pillow and PyAV."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from indexer.media import Media, open_media
from indexer.types import DecodeSettings, MediaInfo, Sample

COLOURS = ((220, 30, 30), (30, 200, 30), (30, 30, 220), (220, 220, 30), (30, 200, 200), (200, 30, 200), (128, 128, 128))


def tone(seconds: float, rate: int = 16000, hertz: float = 440.0) -> np.ndarray:
    """(samples,) float32: a sine of amplitude 0.5."""
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


@contextmanager
def same_scheduling() -> Iterator[None]:
    """Leave the process as the system schedules it: SVT-AV1's encoder makes it a real-time one if it belongs to root.

    All tests after it, and the browsers and servers that they start, would then keep everything else from running.
    """
    if not hasattr(os, "sched_getscheduler"):
        yield
        return
    policy, settings = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, settings)


class Make:
    """Makes files in a folder of its own."""

    def __init__(self, folder: Path):
        self.folder = folder

    def audio(
        self,
        name: str,
        waveform: np.ndarray,
        rate: int = 16000,
        codec: str = "pcm_s16le",
        layout: str = "mono",
        tags: dict[str, str] | None = None,
        cover: bool = False,
        format: str | None = None,
    ) -> Path:
        path = self.folder / name
        with av.open(str(path), "w", format=format) as container:
            container.metadata.update(tags or {})
            stream = container.add_stream(codec, rate=rate, layout=layout)
            if codec.startswith("wma"):
                stream.bit_rate = 128_000
            if cover:
                picture = container.add_stream("mjpeg", rate=1)
                picture.width = picture.height = 64
                picture.pix_fmt = "yuvj420p"
                picture.disposition = av.stream.Disposition.attached_pic.value
                art = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 99, np.uint8), "rgb24")
                for packet in [*picture.encode(art.reformat(format="yuvj420p")), *picture.encode()]:
                    container.mux(packet)
            self._encode(container, stream, waveform, rate, layout)
        return path

    def _encode(self, container, stream, waveform, rate, layout):
        channels = 2 if layout == "stereo" else 1
        resampler = av.AudioResampler(format=stream.codec_context.format, layout=layout, rate=rate)
        fifo = av.AudioFifo()
        frame = av.AudioFrame.from_ndarray(np.repeat(waveform[None, :], channels, 0), "fltp", layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        for piece in resampler.resample(frame):
            fifo.write(piece)
        size = stream.codec_context.frame_size or 1024
        while (piece := fifo.read(size)) is not None:
            container.mux(stream.encode(piece))
        if (piece := fifo.read(0, partial=True)) is not None:
            container.mux(stream.encode(piece))
        container.mux(stream.encode())

    def video(
        self,
        name: str,
        seconds: float = 7,
        fps: int = 10,
        gop: int = 250,
        bframes: int = 0,
        size: tuple[int, int] = (160, 96),
        codec: str = "libx264",
        pix_fmt: str = "yuv420p",
        sound: np.ndarray | None = None,
        sound_codec: str = "aac",
        tags: dict[str, str] | None = None,
        options: dict[str, str] | None = None,
        picture: Callable[[int], np.ndarray] | None = None,
        times: list[float] | None = None,
        format: str | None = None,
        aspect: Fraction | None = None,
    ) -> Path:
        """A video whose second number k is of COLOURS[k % 7], unless `picture` draws its frames."""
        path = self.folder / name
        with (
            same_scheduling(),
            av.open(
                str(path), "w", format=format, options={"movflags": "use_metadata_tags"} if tags else {}
            ) as container,
        ):
            container.metadata.update(tags or {})
            stream = container.add_stream(codec, rate=fps)
            stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
            stream.gop_size = gop
            if aspect:
                stream.sample_aspect_ratio = aspect
            own = {"x264-params": f"scenecut=0:keyint={gop}:min-keyint={gop}:bframes={bframes}", "preset": "ultrafast"}
            stream.options = (own if codec == "libx264" else {}) | (options or {})
            if times is not None:
                stream.codec_context.time_base = Fraction(1, 1000)
            speech = None if sound is None else container.add_stream(sound_codec, rate=16000, layout="mono")
            for number in range(round(seconds * fps) if times is None else len(times)):
                at = number / fps if times is None else times[number]
                pixels = np.empty((size[1], size[0], 3), np.uint8)
                pixels[:] = COLOURS[int(at) % len(COLOURS)] if picture is None else picture(number)
                frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
                if times is not None:
                    frame.time_base, frame.pts = Fraction(1, 1000), round(at * 1000)
                else:
                    frame.time_base, frame.pts = Fraction(1, fps), number
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
            if speech is not None:
                self._encode(container, speech, sound, 16000, "mono")
        return path


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return Make(tmp_path)


@pytest.fixture(scope="session")
def settings() -> DecodeSettings:
    """Words are tokens, and two special tokens come on top."""
    return DecodeSettings(
        image_side=64,
        sample_rate=16000,
        count_tokens=lambda text: len(text.split()) + 2,
        max_tokens=40,
        overlap_tokens=8,
    )


@pytest.fixture
def read(settings: DecodeSettings) -> Callable[..., tuple[MediaInfo, list[Sample], list[str]]]:
    """Open a file, read it whole: what it says of itself, its samples, its problems."""

    def run(path: Path, used: DecodeSettings = settings) -> tuple[MediaInfo, list[Sample], list[str]]:
        with open_media(path, used) as media:
            assert isinstance(media, Media)
            return media.info, list(media.samples), media.problems

    return run


@pytest.fixture
def colours() -> tuple[tuple[int, int, int], ...]:
    return COLOURS


@pytest.fixture
def sine() -> Callable[..., np.ndarray]:
    return tone
