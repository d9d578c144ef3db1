"""Which files are worth opening, what they are by their content, and which module decodes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from indexer.errors import DamagedMediaError, MediaError, UnsupportedMediaError

_HEAD_BYTES = 8192
"""How much of a file is looked at: enough for two packets of an MPEG stream and for a judgement on text."""


@dataclass(frozen=True, slots=True)
class Format:
    """One format of file: what people call it, the module of this package that decodes it, and its suffixes."""

    label: str
    decoder: str
    suffixes: tuple[str, ...]


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "jpeg": Format("JPEG", "image", (".jpg", ".jpeg", ".jpe", ".jfif")),
        "png": Format("PNG", "image", (".png", ".apng")),
        "webp": Format("WebP", "image", (".webp",)),
        "gif": Format("GIF", "image", (".gif",)),
        "bmp": Format("BMP", "image", (".bmp", ".dib")),
        "tiff": Format("TIFF", "image", (".tif", ".tiff")),
        "heif": Format("HEIF", "image", (".heic", ".heif", ".hif")),
        "avif": Format("AVIF", "image", (".avif",)),
        "wav": Format("WAV", "container", (".wav", ".wave")),
        "mp3": Format("MP3", "container", (".mp3",)),
        "flac": Format("FLAC", "container", (".flac",)),
        "ogg": Format("Ogg", "container", (".ogg", ".oga", ".opus", ".ogv")),
        "aac": Format("AAC", "container", (".aac",)),
        "aiff": Format("AIFF", "container", (".aiff", ".aif", ".aifc")),
        "caf": Format("CAF", "container", (".caf",)),
        "amr": Format("AMR", "container", (".amr",)),
        "wavpack": Format("WavPack", "container", (".wv",)),
        "mp4": Format("MP4", "container", (".mp4", ".m4v", ".m4a", ".m4b", ".3gp")),
        "mov": Format("QuickTime", "container", (".mov", ".qt")),
        "matroska": Format("Matroska", "container", (".mkv", ".mka")),
        "webm": Format("WebM", "container", (".webm", ".weba")),
        "avi": Format("AVI", "container", (".avi",)),
        "asf": Format("Windows Media", "container", (".wmv", ".wma", ".asf")),
        "flv": Format("Flash Video", "container", (".flv",)),
        "mpeg": Format("MPEG program stream", "container", (".mpg", ".mpeg", ".vob")),
        # Not ".ts": there are far more TypeScript files in the world's folders than transport streams.
        "mpegts": Format("MPEG transport stream", "container", (".mts", ".m2ts")),
        "pdf": Format("PDF", "pdf", (".pdf",)),
        "text": Format("plain text", "text", (".txt", ".text")),
        "markdown": Format("Markdown", "text", (".md", ".markdown")),
        "html": Format("HTML", "html", (".html", ".htm", ".xhtml")),
        "srt": Format("SubRip subtitles", "subtitles", (".srt",)),
        "vtt": Format("WebVTT subtitles", "subtitles", (".vtt",)),
    }
)

SUFFIXES: Mapping[str, str] = MappingProxyType(
    {suffix: name for name, row in FORMATS.items() for suffix in row.suffixes}
)
"""Lower-case suffix of a file worth opening -> the format that it promises."""

TEXT_FORMATS = frozenset({"text", "markdown", "html", "srt", "vtt"})
"""Formats without a signature: whether they are text is told by the content, which of them by the suffix."""

# A table of our own, because no library tells these apart reliably: filetype 1.2 takes any "BM" for a bitmap and knows
# no MPEG transport streams; puremagic answers by suffix where bytes are ambiguous, which is what must not happen here.
# A row only has to be right about files that some decoder then reads anyway. Each pattern is matched at the start of
# the file.
_SIGNATURES: tuple[tuple[str, re.Pattern[bytes]], ...] = tuple(
    (name, re.compile(pattern, re.DOTALL))
    for name, pattern in (
        ("jpeg", rb"\xff\xd8\xff"),
        ("png", rb"\x89PNG\r\n\x1a\n"),
        ("gif", rb"GIF8[79]a"),
        ("webp", rb"RIFF....WEBP"),
        ("wav", rb"(?:RIFF|RF64)....WAVE"),
        ("avi", rb"RIFF....AVI "),
        ("tiff", rb"II[*+]\0|MM\0[*+]"),
        ("bmp", rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0"),
        ("avif", rb"....ftypavi[fs]"),
        ("avif", rb"....ftypmi[fs]1....(?:[ -~]{4})*?avi[fs]"),
        ("heif", rb"....ftyp(?:hei[cxms]|hev[cxms]|mif1|msf1|mif2)"),
        ("mov", rb"....ftypqt  "),
        ("mp4", rb"....ftyp"),
        ("mov", rb"\0...(?:moov|mdat|wide|free|skip)"),  # QuickTime files older than ftyp
        ("webm", rb"\x1a\x45\xdf\xa3.{0,60}?\x42\x82.webm"),
        ("matroska", rb"\x1a\x45\xdf\xa3"),
        ("flac", rb"fLaC"),
        ("ogg", rb"OggS\0"),
        ("aiff", rb"FORM....AIF[FC]"),
        ("asf", rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c"),
        ("flv", rb"FLV\x01"),
        ("caf", rb"caff\0\x01"),
        ("amr", rb"#!AMR"),
        ("wavpack", rb"wvpk"),
        ("pdf", rb".{0,1019}?%PDF-"),  # readers accept it anywhere in the first kilobyte
        ("mpeg", rb"\0\0\x01\xba"),
        ("mpegts", rb"G.{187}G.{187}G|.{4}G.{191}G.{191}G"),
        # Layer bits 00 are AAC's ADTS, 01 and 10 layers III and II. Layer I (11) is left out: FF FE would be UTF-16.
        ("aac", rb"\xff[\xf0\xf1\xf8\xf9]"),
        ("mp3", rb"\xff[\xe2-\xe5\xf2-\xf5\xfa-\xfd][\x10-\xef]"),
    )
)

# Text holds none of these, in any encoding that keeps ASCII; compressed data has some in its first few hundred bytes.
_NOT_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_WIDE_BOMS = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")


def sniff(path: Path) -> str:
    """Name the format of a file by its content; the suffix only decides between formats of plain text.

    Raises:
        DamagedMediaError: it is empty, or its content is nothing known though the suffix promises some.
        UnsupportedMediaError: it is whole, as far as can be seen, but not of a kind that mmsearch reads.
        MediaError: it cannot be read at all.
    """
    promised = SUFFIXES.get(path.suffix.lower())
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            found = _by_signature(head)
            if found is None and head.startswith(b"ID3"):
                # A tag holds cover art, so it may be far longer than the head; what follows it tells MP3 from AAC.
                file.seek(10 + _id3_length(head))
                found = _by_signature(file.read(_HEAD_BYTES).lstrip(b"\0")) or "mp3"
    except OSError as error:
        raise unreadable(error) from error
    if not head:
        raise DamagedMediaError("the file is empty (0 bytes): restore it from a backup or delete it")
    if found is not None:
        return found
    if is_text(head):
        return _text_format(path, promised)
    if promised is None:
        raise UnsupportedMediaError(f"the suffix {path.suffix!r} and the content are of no kind that mmsearch reads")
    label = FORMATS[promised].label
    if promised in TEXT_FORMATS:
        raise UnsupportedMediaError(
            f"the name ends in {path.suffix} ({label}), but the content is binary data of no kind that mmsearch reads"
        )
    raise DamagedMediaError(
        f"the name ends in {path.suffix} ({label}), but the content does not begin as any kind of file that mmsearch "
        "reads: it is damaged or encrypted, restore it from a backup"
    )


def _text_format(path: Path, promised: str | None) -> str:
    if promised in TEXT_FORMATS:
        return promised
    if promised is None:
        raise UnsupportedMediaError(
            f"the content is text, but the suffix {path.suffix!r} does not say of which kind: give it one of "
            + ", ".join(suffix for suffix, name in SUFFIXES.items() if name in TEXT_FORMATS)
        )
    raise UnsupportedMediaError(
        f"the name ends in {path.suffix} ({FORMATS[promised].label}), but the content is text: "
        "it may be a web page that was saved in place of the file; rename it or fetch it again"
    )


def storable(text: str) -> str:
    """A text without lone halves of surrogate pairs, which damaged PDFs hold and no UTF-8 can."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def unreadable(error: OSError) -> MediaError:
    """Say why the operating system does not let a file be read."""
    reasons: tuple[tuple[type[OSError], str], ...] = (
        (PermissionError, "permission denied: allow this user to read the file"),
        (FileNotFoundError, "there is no such file: it was moved or deleted, or the link to it is broken"),
        (IsADirectoryError, "this is a folder, not a file"),
    )
    for kind, reason in reasons:
        if isinstance(error, kind):
            return MediaError(reason)
    return MediaError(f"the file cannot be read: {error.strerror or error}")


def is_text(head: bytes) -> bool:
    """Tell whether the first bytes of a file can be text in some encoding."""
    return head.startswith(_WIDE_BOMS) or _NOT_TEXT.search(head) is None


def _by_signature(head: bytes) -> str | None:
    return next((name for name, pattern in _SIGNATURES if pattern.match(head)), None)


def _id3_length(head: bytes) -> int:
    """Length of an ID3v2 tag after its 10 bytes of header, written in 7 bits per byte (ID3v2.4, section 3.1)."""
    length = 0
    for byte in head[6:10]:
        length = length << 7 | byte & 0x7F
    return length
