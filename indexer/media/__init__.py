"""Decode media files: one decoder per kind of file, and the table that picks one.

Importing this is light. A decoder's libraries (FFmpeg, Pillow, pypdf, ...) are imported when the first file of
its kind is opened.
"""

from __future__ import annotations

import errno
import importlib
import logging
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, cast

from indexer.errors import DamagedMediaError, MediaError, MediaTooLargeError, UnsupportedMediaError
from indexer.media.formats import FORMATS, SUFFIXES, sniff, storable, unreadable
from indexer.types import DecodeSettings, MediaInfo, Sample

__all__ = ["SUFFIXES", "Media", "open_media", "sniff"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Media:
    """One opened file.

    `samples` decodes as it is consumed, once, from one thread at a time. `problems` fills up on the way: what could
    not be decoded of a file that is otherwise of use, in plain words.
    """

    info: MediaInfo
    samples: Iterator[Sample]
    problems: list[str]


class _Decoder(Protocol):
    """What each decoder module of this package offers."""

    def open_file(
        self, path: Path, format: str, settings: DecodeSettings, problems: list[str], stack: ExitStack
    ) -> tuple[MediaInfo, Iterator[Sample]]:
        """Read what the file says of itself, and give its samples lazily; `stack` closes what stays open."""


@contextmanager
def open_media(path: Path, settings: DecodeSettings, *, format: str | None = None) -> Iterator[Media]:
    """Open a file of any kind that mmsearch reads; `format` is what `sniff` said, when that is known already.

    Samples may be consumed only inside the `with` block. Several threads may each open files at once.

    Raises:
        MediaError: on opening or while samples are consumed, for anything that is wrong with the file.
    """
    problems: list[str] = []
    with ExitStack() as stack:
        with _as_media_errors():
            name = format or sniff(path)
            row = FORMATS.get(name)
            if row is None:
                raise UnsupportedMediaError(f"{name!r} is no format that mmsearch reads; known: {', '.join(FORMATS)}")
            decoder = cast(_Decoder, importlib.import_module(f"{__name__}.{row.decoder}"))
            info, samples = decoder.open_file(path, name, settings, problems, stack)
            info = replace(info, title=storable(info.title) if info.title else None)
        guarded = _guarded(samples)
        stack.callback(guarded.close)
        yield Media(info, guarded, problems)


def _guarded(samples: Iterator[Sample]) -> Generator[Sample, None, None]:
    with _as_media_errors():
        yield from samples


@contextmanager
def _as_media_errors() -> Iterator[None]:
    """Turn what third-party parsers raise on damaged files into our own errors.

    The catch is as wide as can be, on purpose: Pillow, pypdf and Beautiful Soup raise anything from struct.error to
    RecursionError on files that someone's disk or someone's malice has changed, and one such file must not end a run
    over a hundred thousand. The cause is chained, and logged for whoever looks for a bug of ours.
    """
    try:
        yield
    except (MediaError, ImportError):
        raise
    except MemoryError as error:
        raise MediaTooLargeError("decoding the file takes more memory than there is: make it smaller") from error
    except Exception as error:
        _log.debug("while decoding", exc_info=True)
        # Seeking to where a damaged header points is "invalid", which says nothing against the disk.
        from_disk = isinstance(error, OSError) and error.errno not in (None, errno.EINVAL)
        if isinstance(error, OSError) and from_disk and not type(error).__module__.startswith("av."):
            raise unreadable(error) from error
        raise DamagedMediaError(f"the file cannot be decoded: {_words(error)}") from error


def _words(error: Exception) -> str:
    text = " ".join(str(error).split())[:300]
    return f"{text} ({type(error).__name__})" if text else type(error).__name__
