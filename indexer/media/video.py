"""Decode video to frames, about one per second, upright, small, each with the span of time that it stands for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.buffer import Buffer
from av.video.reformatter import Colorspace, Interpolation
from numpy.typing import NDArray

from indexer.errors import DamagedMediaError
from indexer.media import audio
from indexer.media.container import (
    Damage,
    check_codec,
    end_of,
    open_container,
    packets,
    seconds,
    start_of,
    video_stream,
)
from indexer.types import DecodeSettings, ImageSample, MediaInfo, Sample

# How to get one frame per second quickly. Measured on 60 s of 1080p H.264 (libx264 veryfast, 30 frames/s, 3 B-frames),
# with PyAV 18, on 2 cores shared with other work:
#
#     decoded                              key frame each 250 frames    each 30 frames
#     everything                                      11.2 s                10.6 s
#     without frames nobody refers to                  5.9 s                 7.9 s
#     the same, without the loop filter                4.6 s                 6.2 s
#     seek to each second, decode from there          44.0 s
#     key frames only                                  (too few)             3.8 s
#
# So: key frames only where they are close enough, else everything but the non-reference frames (of which enough are
# left at ordinary rates). Seeking never pays, as every group of pictures holds a wanted frame. The loop filter stays
# on: without it errors add up along a group of pictures (from 52 to 34 dB PSNR within 8 s, at 224 pixels). Which of the
# two applies is decided for each group by itself, because encoders put key frames at cuts.
_CLOSE_ENOUGH = 2.0
"""Key frames at most this many steps apart are enough."""

_REFERENCE_FRAMES_PER_STEP = 6.0
"""With fewer frames than this per step, the non-reference ones are decoded too."""

_ROUNDING = 0.002
"""Timestamps are rounded to the time base, down to a millisecond: 0.999 s is the frame of second 1."""

_HELD_BYTES = 64_000_000
"""Packets that are held back to see where the next key frame is."""

_PROBED_PACKETS = 300
"""How far to look for the first frame, which carries the rotation."""

_PEEKED_PACKETS = 600
"""How far to decode from a key frame to the one frame that is wanted: ten seconds at 60 frames/s."""


def samples(path: Path, info: MediaInfo, settings: DecodeSettings, problems: list[str]) -> Iterator[Sample]:
    """The frames of a video, then its sound."""
    found = False
    for sample in frames(path, info, settings, problems):
        found = True
        yield sample
    if not found:
        problems.append("no frame of the video can be decoded")
    if settings.sample_rate is not None:
        for block in audio.blocks(path, info, settings, problems):
            found = True
            yield block
    if not found:
        raise DamagedMediaError("; ".join(problems) + ": the file is cut short or damaged")


def upright_size(path: Path, format: str, stream: av.VideoStream, max_pixels: int) -> tuple[int, int]:
    """Width and height as shown: square pixels, and turned as the display matrix says.

    The matrix comes with the first frame, so that one is decoded, if it can be.
    """
    check_codec(stream)
    width, height = stream.codec_context.width, stream.codec_context.height
    with open_container(path, format, max_pixels) as container:
        own = video_stream(container)
        if own is None:
            return width, height
        for number, packet in enumerate(packets(container, own, Damage())):
            try:
                decoded = own.codec_context.decode(packet)
            except av.error.FFmpegError:
                continue
            if decoded:
                width, height = _square(decoded[0], own)
                return (height, width) if _turn(decoded[0]).transposed else (width, height)
            if number > _PROBED_PACKETS:
                break
    return width, height


def frames(path: Path, info: MediaInfo, settings: DecodeSettings, problems: list[str]) -> Iterator[ImageSample]:
    """Frames at least one step apart, each standing for the time up to the next."""
    step = 1 / min(settings.frames_per_second, settings.max_frames_per_minute / 60)
    held: NDArray[np.uint8] | None = None
    begin = 0.0
    for fast in (True, False):
        damage, last = Damage(), _Reached()
        for at, pixels in _chosen(path, info.format, settings, step, fast, damage, last):
            if held is not None:
                yield ImageSample(held, begin, at)
            held, begin = pixels, at
        if held is not None:
            break
        # Nothing came out: perhaps no packet is marked as a key frame. Then everything is decoded.
    if held is None:
        return
    line = damage.describe("video", last.end)
    if line:
        problems.append(line)
    end = last.end if line or damage.expected is None else max(last.end, damage.expected)
    yield ImageSample(held, begin, max(begin, end))


@dataclass(slots=True)
class _Reached:
    """How far decoding came, in seconds from the start of the file."""

    end: float = 0.0


def frame_at(path: Path, format: str, at_seconds: float, image_side: int) -> NDArray[np.uint8]:
    """The frame shown at a moment, or near it: (height, width, 3) uint8 sRGB, upright, shorter side <= `image_side`.

    It is found by seeking, and after a bounded number of packets the last frame before the moment will do.

    Raises:
        MediaError: the file cannot be opened, or holds no frame that can be decoded.
    """
    held: tuple[av.VideoFrame, av.VideoStream] | None = None
    for by_seeking in (True, False):  # an index that leads beyond the last frame: then from the beginning
        with open_container(path, format) as container:
            stream = video_stream(container)
            if stream is None:
                break
            check_codec(stream)
            start = start_of(container)
            if by_seeking:
                try:
                    container.seek(int((start + at_seconds) * av.time_base), backward=True)
                except av.error.FFmpegError:
                    continue
            stream.thread_type = "AUTO"
            stream.codec_context.skip_frame = "NONREF"
            for number, packet in enumerate(packets(container, stream, Damage())):
                try:
                    decoded = stream.codec_context.decode(packet)
                except av.error.FFmpegError:
                    continue
                for frame in decoded:
                    held = frame, stream
                    if frame.pts is None or frame.time - start + _ROUNDING >= at_seconds:
                        return _pixels(frame, stream, image_side)
                if number >= _PEEKED_PACKETS:
                    break
            if held is not None:
                return _pixels(*held, image_side)
    raise DamagedMediaError("no frame of the video can be decoded: the file is cut short or damaged")


def _chosen(
    path: Path, format: str, settings: DecodeSettings, step: float, fast: bool, damage: Damage, reached: _Reached
) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """The first frame of each step of time, with its time in seconds from the start of the file."""
    with open_container(path, format, settings.max_pixels) as container:
        stream = video_stream(container)
        if stream is None:
            return
        start = start_of(container)
        rate = float(stream.average_rate or stream.guessed_rate or 25)
        damage.expected = end_of(container, stream)
        context = stream.codec_context
        stream.thread_type = "AUTO"
        lean = "NONREF" if fast and rate * step >= _REFERENCE_FRAMES_PER_STEP else "DEFAULT"
        plan = (
            _planned(packets(container, stream, damage), start, step)
            if fast
            else _everything(container, stream, damage)
        )
        cell, at = -1, -1 / rate
        for packet, key_only in plan:
            context.skip_frame = "NONKEY" if key_only else lean  # type: ignore[assignment]
            try:
                decoded = context.decode(packet)
            except av.error.FFmpegError as error:
                damage.note(error)
                continue
            packet_end = seconds(packet.pts, packet.time_base)
            if packet_end is not None:
                reached.end = max(reached.end, packet_end - start + 1 / rate)
            for frame in decoded:
                at = frame.time - start if frame.pts is not None else at + 1 / rate
                reached.end = max(reached.end, at + 1 / rate)
                if frame.is_corrupt and fast:
                    continue
                if _cell(at, step) > cell:
                    cell = _cell(at, step)
                    yield max(at, 0.0), _pixels(frame, stream, settings.image_side)


def _cell(at: float, step: float) -> int:
    return math.floor((max(at, 0.0) + _ROUNDING) / step)


def _everything(container: Any, stream: av.VideoStream, damage: Damage) -> Iterator[tuple[av.Packet[Any], bool]]:
    return ((packet, False) for packet in packets(container, stream, damage))


def _planned(source: Iterator[av.Packet[Any]], start: float, step: float) -> Iterator[tuple[av.Packet[Any], bool]]:
    """Give only the packets that have to be decoded, each with whether it is a key frame on its own.

    The packets of a group of pictures are held back until the next key frame comes, or is too far away.
    """
    group: list[av.Packet[Any]] = []
    size, cell, served = 0, -1, 0.0  # bytes held; the last step of time that has a frame, and when that is shown
    for packet in source:
        at = _at(packet, start)
        flush = not packet.size and at is None
        if group and (packet.is_keyframe or flush):
            key = _at(group[0], start) or 0.0
            useful = _cell(key, step) > cell
            until = at if at is not None else max(_at(held, start) or 0.0 for held in group)
            # The last group gets the frames that it should have: a clip of two seconds may be no more than one group.
            allowed = (1.0 if flush else _CLOSE_ENOUGH) * step
            if until - (key if useful else served) > allowed + _ROUNDING:
                yield from ((held, False) for held in group)
                cell, served = _cell(until, step), until
            elif useful:
                yield group[0], True
                cell, served = _cell(key, step), key
            group, size = [], 0
        if at is None or not (group or packet.is_keyframe):  # of a group that is too long, or without a beginning
            yield packet, False
            if at is not None:
                cell, served = max(cell, _cell(at, step)), max(served, at)
            continue
        group.append(packet)
        size += packet.size
        if at - (_at(group[0], start) or 0.0) > _CLOSE_ENOUGH * step + _ROUNDING or size > _HELD_BYTES:
            yield from ((held, False) for held in group)
            cell, served = max(cell, _cell(at, step)), max(served, at)
            group, size = [], 0


def _at(packet: av.Packet[Any], start: float) -> float | None:
    """When a packet is shown, in seconds from the start of the file; AVI only says when it is decoded."""
    at = seconds(packet.pts if packet.pts is not None else packet.dts, packet.time_base)
    return None if at is None else at - start


@dataclass(frozen=True, slots=True)
class _Turn:
    """One of the eight ways to show a picture: transposed or not, then flipped."""

    transposed: bool
    flip_x: bool
    flip_y: bool


def _turn(frame: av.VideoFrame) -> _Turn:
    """Read the display matrix, nine 32-bit numbers: x' = a x + c y, y' = b x + d y (ISO 14496-12, section 6.2.2)."""
    found = frame.side_data.get("DISPLAYMATRIX")
    if found is None:
        return _Turn(False, False, False)
    a, b, _, c, d = (int(number) for number in np.frombuffer(bytes(cast(Buffer, found)), np.int32)[:5])
    if abs(b) + abs(c) > abs(a) + abs(d):
        return _Turn(True, c < 0, b < 0)
    return _Turn(False, a < 0, d < 0)


def _square(frame: av.VideoFrame, stream: av.VideoStream) -> tuple[int, int]:
    """Width and height with square pixels (DVDs and some camcorders store narrow ones)."""
    aspect = stream.sample_aspect_ratio
    if aspect and 0.1 < aspect < 10:
        return max(1, round(frame.width * float(aspect))), frame.height
    return frame.width, frame.height


def _pixels(frame: av.VideoFrame, stream: av.VideoStream, image_side: int) -> NDArray[np.uint8]:
    """(height, width, 3) uint8 sRGB, upright, its shorter side reduced to `image_side` where it is longer."""
    width, height = _square(frame, stream)
    scale = min(1.0, image_side / min(width, height))
    width, height = max(1, math.ceil(width * scale - 1e-6)), max(1, math.ceil(height * scale - 1e-6))
    # Where the file does not say, HD is BT.709 and what is smaller BT.601; swscale would take all for BT.601.
    unknown = frame.colorspace == 2
    small = frame.reformat(
        width=width,
        height=height,
        format="rgb24",
        src_colorspace=Colorspace.ITU709 if unknown and frame.height >= 720 else None,
        interpolation=Interpolation.BICUBIC,
    )
    pixels = np.asarray(small.to_ndarray(), np.uint8)
    turn = _turn(frame)
    if turn.transposed:
        pixels = pixels.transpose(1, 0, 2)
    pixels = pixels[:: -1 if turn.flip_y else 1, :: -1 if turn.flip_x else 1]
    return np.ascontiguousarray(pixels)
