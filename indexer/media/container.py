"""Open what FFmpeg reads, tell sound from video by the streams inside, and read the tags.

Everything goes through PyAV, whose wheels carry FFmpeg: nothing has to be installed on the system.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.stream import Disposition

from indexer.advice import RAISE_LIMIT
from indexer.errors import DamagedMediaError, MediaTooLargeError, UnsupportedMediaError
from indexer.media.formats import FORMATS, unreadable
from indexer.types import DecodeSettings, MediaInfo, Sample

# Named rather than probed: what FFmpeg would guess for a crafted file includes playlists, which open other files.
_DEMUXERS = {"mp4": "mov", "webm": "matroska", "wavpack": "wv"}

# Cover art and preview pictures are video streams to FFmpeg; they do not make a file a video.
_NOT_VIDEO = Disposition.attached_pic | Disposition.timed_thumbnails

_ISO6709 = re.compile(r"([+-]\d+(?:\.\d+)?)([+-]\d+(?:\.\d+)?)")
_CLOCK = re.compile(r"(\d{1,5}):(\d\d):(\d\d(?:\.\d+)?)$")
_MAX_SECONDS = 10 * 365 * 86400
"""A duration beyond ten years is damage."""


def open_file(
    path: Path, format: str, settings: DecodeSettings, problems: list[str], stack: ExitStack
) -> tuple[MediaInfo, Iterator[Sample]]:
    """Read headers and tags. The samples are decoded by containers of their own, opened when they are asked for."""
    from indexer.media import audio, video

    with open_container(path, format, settings.max_pixels) as container:
        stream = video_stream(container)
        if stream is None:
            info = _info(container, "audio", format, settings)
            return info, audio.samples(path, info, settings, problems)
        check_codec(stream)
        _check_size(stream.codec_context.width, stream.codec_context.height, settings)  # before a frame is decoded
        width, height = video.upright_size(path, format, stream, settings.max_pixels)
        duration = duration_of(container)
        info = _info(container, "video", format, settings, width=width, height=height)
        if duration is None:
            info = _info(
                container, "video", format, settings, width=width, height=height, measured=_measure(path, format)
            )
    return info, video.samples(path, info, settings, problems)


def open_container(path: Path, format: str, max_pixels: int | None = None) -> InputContainer:
    """Open a file of a format that `sniff` named; DamagedMediaError when its headers cannot be read.

    Args:
        path: the file.
        format: as `sniff` named it.
        max_pixels: frames of more are not decoded, not even by FFmpeg itself, which decodes the first ones to see what
            is in a file: for one frame of 16000 x 16000 that takes 590 MB, and 85 MB with a limit.
    """
    # FFmpeg counts padding, too, so it gets some room; what is exact is said by `_check_size`.
    limits = {} if max_pixels is None else {"max_pixels": str(2 * max_pixels + 1_000_000)}
    try:
        # "file:" keeps a colon in a name from being read as a protocol, and keeps FFmpeg to local files from there on.
        container = av.open(
            f"file:{path.absolute()}",
            format=_DEMUXERS.get(format, format),
            metadata_errors="replace",
            options=limits,
        )
    except (av.error.PermissionError, av.error.FileNotFoundError, av.error.IsADirectoryError) as error:
        raise unreadable(error) from error
    except av.error.FFmpegError as error:
        raise DamagedMediaError(
            f"the {FORMATS[format].label} file cannot be opened ({words(error)}): it is cut short or damaged; "
            "copy it again or restore it from a backup"
        ) from error
    if limits:
        for stream in container.streams.video:
            if stream.codec_context is not None:
                stream.codec_context.options = dict(limits)  # headers may say less than what comes
    return container


def words(error: Exception) -> str:
    """FFmpeg's own words for an error, without the file name and the number."""
    return str(getattr(error, "strerror", None) or error)


def video_stream(container: InputContainer) -> av.VideoStream | None:
    """The stream of moving pictures, if there is one; cover art is none."""
    real = [stream for stream in container.streams.video if not stream.disposition & _NOT_VIDEO]
    best = container.streams.best("video")
    return next((stream for stream in real if best is not None and stream.index == best.index), next(iter(real), None))


def audio_stream(container: InputContainer) -> av.AudioStream | None:
    """The sound that a player would choose, if there is any."""
    best = container.streams.best("audio")
    return next((s for s in container.streams.audio if best is None or s.index == best.index), None)


def check_codec(stream: av.VideoStream | av.AudioStream) -> None:
    """UnsupportedMediaError when this build of FFmpeg has no decoder for a stream."""
    if stream.codec_context is None:
        raise UnsupportedMediaError(
            f"no decoder for the {stream.type} in this build of FFmpeg (PyAV {av.__version__}): convert the file"
        )


def start_of(container: InputContainer) -> float:
    """Where the file's clock starts, in seconds: what its timestamps are counted from."""
    return (container.start_time or 0) / av.time_base


def duration_of(container: InputContainer) -> float | None:
    """Length in seconds as the headers give it; None when they do not, as in a recorded web stream."""
    seconds = (container.duration or 0) / av.time_base
    return seconds if 0 < seconds < _MAX_SECONDS else None


def end_of(container: InputContainer, stream: av.VideoStream | av.AudioStream) -> float | None:
    """Where one stream ends, in seconds from the start of the file; None when the headers do not tell.

    Matroska has a length for the file only, but nearly all that write it leave one for each stream in a tag.
    """
    length = seconds(stream.duration, stream.time_base)
    tagged = _CLOCK.match(stream.metadata.get("DURATION", ""))
    if length is None and tagged:
        hours, minutes, rest = tagged.groups()
        return int(hours) * 3600 + int(minutes) * 60 + float(rest)
    if length is None:
        return duration_of(container) if len(container.streams) == 1 else None
    start = start_of(container)
    end = (seconds(stream.start_time, stream.time_base) or start) - start + length
    return end if 0 <= end < _MAX_SECONDS else None


def seconds(timestamp: int | None, time_base: Fraction | None) -> float | None:
    """Turn a stream's timestamp into seconds."""
    return None if timestamp is None or time_base is None else float(timestamp * time_base)


def packets(container: InputContainer, stream: av.stream.Stream, damage: Damage) -> Iterator[av.Packet[Any]]:
    """The packets of one stream, up to the end or to where the file cannot be read any further; the last is empty."""
    try:
        yield from container.demux(stream)
    except av.error.FFmpegError as error:
        damage.note(error)


def _measure(path: Path, format: str) -> float | None:
    """Where the last packet ends, found by reading the file through without decoding it."""
    end = 0.0
    with open_container(path, format) as container:
        start = start_of(container)
        try:
            for packet in container.demux():
                at = seconds(packet.pts, packet.time_base)
                if at is not None:
                    end = max(end, at - start + (seconds(packet.duration, packet.time_base) or 0))
        except av.error.FFmpegError:
            pass  # what was read so far is the length of what can be decoded
    return end if 0 < end < _MAX_SECONDS else None


def _check_size(width: int | None, height: int | None, settings: DecodeSettings) -> None:
    if width and height and width * height > settings.max_pixels:
        raise MediaTooLargeError(
            f"the video is {width} x {height} pixels, more than the {settings.max_pixels / 1e6:.1f} megapixels "
            "allowed: make a smaller copy",
            RAISE_LIMIT,
        )


def _info(
    container: InputContainer,
    kind: Any,
    format: str,
    settings: DecodeSettings,
    width: int | None = None,
    height: int | None = None,
    measured: float | None = None,
) -> MediaInfo:
    _check_size(width, height, settings)
    tags = {key.lower(): value for key, value in container.metadata.items()}
    for stream in container.streams:  # Ogg keeps its tags in the streams
        for key, value in stream.metadata.items():
            tags.setdefault(key.lower(), value)
    latitude, longitude = _place(tags)
    return MediaInfo(
        kind,
        format,
        width=width,
        height=height,
        duration_seconds=duration_of(container) or measured,
        captured_at=_captured_at(tags),
        latitude=latitude,
        longitude=longitude,
        title=_title(tags),
    )


def _title(tags: dict[str, str]) -> str | None:
    title, artist = (" ".join(tags.get(key, "").split()) for key in ("title", "artist"))
    return " - ".join(part for part in (artist, title) if part) or None


def _captured_at(tags: dict[str, str]) -> datetime | None:
    # QuickTime's own tag keeps the time zone of the place; creation_time is in UTC.
    for key in ("com.apple.quicktime.creationdate", "creation_time"):
        text = tags.get(key, "").strip().replace("Z", "+00:00")
        text = re.sub(r"(\.\d{6})\d+", r"\1", re.sub(r"([+-]\d\d)(\d\d)$", r"\1:\2", text))
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            continue
        if found.year > 1970:  # a camera whose clock was never set writes 1904 or 1970
            return found
    return None


def _place(tags: dict[str, str]) -> tuple[float | None, float | None]:
    """Degrees from an ISO 6709 string such as "+48.8577+002.2950+035/"."""
    for key in ("com.apple.quicktime.location.iso6709", "location", "location-eng"):
        found = _ISO6709.match(tags.get(key, "").strip())
        if found:
            latitude, longitude = (float(part) for part in found.groups())
            if abs(latitude) <= 90 and abs(longitude) <= 180:
                return latitude, longitude
    return None, None


@dataclass(slots=True)
class Damage:
    """What went wrong while one stream was decoded, for one plain line in `problems`."""

    count: int = 0
    reason: str = ""
    expected: float | None = None  # where the stream should end, in seconds

    def note(self, error: Exception) -> None:
        """Remember one packet or stretch that could not be read."""
        self.count += 1
        self.reason = words(error)

    def describe(self, what: str, reached: float) -> str | None:
        """One line about a stream that was decoded up to `reached` seconds; None when all is well."""
        # Headers round, and lengths of MP3 and AAC are estimates: only what is missing beyond that is worth a line.
        if self.expected is not None and self.expected - reached > max(2.0, 0.05 * self.expected):
            return (
                f"decoding of the {what} stopped at {reached:.1f} s of {self.expected:.1f} s: "
                f"{self.reason or 'the file is cut short'}"
            )
        if self.count:
            return f"{self.count} damaged pieces of the {what} were left out: {self.reason}"
        return None
