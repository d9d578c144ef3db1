"""Files to search by: which words mean a file, whether it is there, and what it is by its content."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from indexer.errors import MediaError, UnsupportedMediaError, UsageError
from indexer.media.formats import FORMATS, SUFFIXES, is_text, sniff
from indexer.types import DecodeSettings

if TYPE_CHECKING:
    from mmsearch.names import TermKind

_PATH_START = re.compile(r"/\S|\.\.?[/\\]|~[^\s/\\]*[/\\]|[A-Za-z]:[/\\]|\\\\\w|file://")
_WEB = re.compile(r"(?:https?|ftp)://", re.IGNORECASE)

_SEES = {"image": ("image",), "audio": ("audio", "video"), "video": ("video",), "document": ("text",)}
"""What a term is asked to be -> kinds of file that can be that: a video has sound, too."""


def is_file(text: str, base: Path | None = None) -> bool:
    r"""Whether a whole term means a file.

    It does when it begins as a path ("/", "./", "../", "~/", "C:\", "file://"), or ends in a suffix that mmsearch
    reads and has no white space in it, or is, white space and all, the name of a file that is there and has
    such a suffix. A name without any of this ("holiday") is a word.
    """
    if _PATH_START.match(text):
        return True
    if "\n" in text or os.path.splitext(text)[1].lower() not in SUFFIXES:
        return False
    return not re.search(r"\s", text) or os.path.isfile(_absolute(text, base))


def found(path: str | os.PathLike[str], *, base: Path | None = None, is_named: bool = False) -> Path:
    """The absolute path of a file that is there. Links are not resolved: a file keeps the name it was given by.

    Args:
        path: "~" is resolved.
        base: the folder that a relative path starts from; the current one when None.
        is_named: whether it was said that it is a file. Else words may have been meant.

    Raises:
        UsageError: nothing is there, or a folder, or it may not be read; or the path makes no sense.
    """
    text = os.fspath(path)
    place = _absolute(text, base)
    if os.path.isfile(place):
        return Path(place)
    if os.path.isdir(place):
        raise UsageError(f"{text} is a folder, and a query is made from files", f"; search inside it with: --in {text}")
    if _WEB.match(text):
        raise UsageError(f"{text} is on the web, and mmsearch fetches nothing: save it first, then name the file")
    if os.path.exists(place):
        raise UsageError(f"{text} is no file that can be read through (a device or a pipe); use - for standard input")
    if is_named:
        raise UsageError(f"there is no file at {text}")
    name = re.split(r"[/\\]", text)[-1] or text
    raise UsageError(
        f"there is no file at {text}",
        f"; to look for the words, write text:{text} or put double quotes inside the "
        f'argument (\'"{text}"\'); to look for files of that name, add: --name "{name}"',
    )


def kind_of(path: Path, wanted: TermKind | None = None) -> TermKind:
    """What a file is, by its content: an image, audio, a video or a document.

    Args:
        path: a file that is there.
        wanted: what it is to be taken for. A video may be taken for its sound, and any text for a document.

    Raises:
        UsageError: it is nothing that mmsearch reads, or not what is wanted.
    """
    format = format_of(path, wanted)
    try:
        kind = _kind_of_content(path, format)
    except MediaError as error:
        raise UsageError(f"{path}: {error}") from error
    if wanted is None:
        return "document" if kind == "text" else kind  # type: ignore[return-value]
    if kind not in _SEES[wanted]:
        asked = "document" if kind == "text" else kind
        label = FORMATS[format].label
        raise UsageError(f"{path} is {_A[asked]} by its content ({label}), not {_A[wanted]}; write {asked}:{path}")
    return wanted


_A = {"image": "an image", "audio": "a sound", "video": "a video", "document": "a document"}


def format_of(path: Path, wanted: TermKind | None = None) -> str:
    """The format of a file, by its content, as `indexer.media.open_media` takes it.

    A text without a suffix that says of which kind counts as plain text when a document is wanted.

    Raises:
        UsageError: it is nothing that mmsearch reads.
    """
    try:
        return sniff(path)
    except UnsupportedMediaError as error:
        if wanted == "document" and holds_text(path):
            return "text"
        raise UsageError(f"{path}: {error}") from error
    except MediaError as error:
        raise UsageError(f"{path}: {error}") from error


def holds_text(path: Path) -> bool:
    """Whether a file's beginning can be text in some encoding."""
    with path.open("rb") as file:
        return is_text(file.read(8192))


def _kind_of_content(path: Path, format: str) -> str:
    decoder = FORMATS[format].decoder
    if decoder != "container":
        return "image" if decoder == "image" else "text"
    from indexer.media import open_media

    # Only headers are read. Nothing is decoded, so sizes and rates do not matter.
    settings = DecodeSettings(image_side=1, sample_rate=None, count_tokens=len, max_tokens=1, max_pixels=2**62)
    with open_media(path, settings, format=format) as media:
        return media.info.kind


def _absolute(text: str, base: Path | None) -> str:
    """Where a path leads: "~" resolved, relative ones from `base`, a file URL as the path in it."""
    if not text or "\0" in text:
        raise UsageError(f"the path of a file to search by is empty or holds a NUL character: {text!r}")
    if text.startswith("file://"):
        from urllib.request import url2pathname

        text = url2pathname(text[len("file://") :]) if os.name == "nt" else unquote(text[len("file://") :])
    return os.path.abspath(os.path.join(base or os.curdir, os.path.expanduser(text)))
