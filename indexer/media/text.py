"""Read plain text and Markdown: find the encoding, cut into chunks that fit the text tower."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from indexer.errors import DamagedMediaError, MediaTooLargeError
from indexer.media.formats import storable
from indexer.types import DecodeSettings, MediaInfo, Sample, TextSample

_BOMS = (  # UTF-32 before UTF-16, whose mark is its beginning
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

_GUESSED_BYTES = 65_536
"""How much of a text of unknown encoding charset-normalizer looks at; it takes a second per megabyte."""

_SAMPLED_CHARACTERS = 4000
_SAMPLES = 8

_FILL = 0.9
"""How full chunks are aimed to be, so that most fit at the first attempt."""

_HEADING = re.compile(r"^ {0,3}#{1,6}[ \t]+(.+?)[ \t#]*$|^(\S[^\n]*)\n(?:=+|-+)[ \t]*$", re.MULTILINE)
_FRONT_MATTER_TITLE = re.compile(r"\A---\n(?:.*\n)*?title:[ \t]*[\"']?(.+?)[\"']?[ \t]*\n(?:.*\n)*?---\n")


def open_file(
    path: Path, format: str, settings: DecodeSettings, problems: list[str], stack: ExitStack
) -> tuple[MediaInfo, Iterator[Sample]]:
    """Read the file; chunks are cut when they are asked for."""
    text = read_text(path, settings, problems)
    if not text.strip():
        raise DamagedMediaError("the file holds nothing but white space: there is nothing to find in it")
    title = _title(text) if format == "markdown" else None
    return MediaInfo("text", format, title=title), samples(text, settings)


def samples(text: str, settings: DecodeSettings) -> Iterator[TextSample]:
    """Each chunk of a document as a sample without a time."""
    return (TextSample(chunk) for chunk in chunks(text, settings))


def read_bytes(path: Path, settings: DecodeSettings) -> bytes:
    """The whole of a file that is read as text, if that is not too much."""
    size = path.stat().st_size
    if size > settings.max_text_bytes:
        raise MediaTooLargeError(
            f"the file has {size / 1e6:.1f} MB, more than the {settings.max_text_bytes / 1e6:.1f} MB of text that are "
            "read: split it, or raise max_text_bytes"
        )
    return path.read_bytes()


_ENOUGH_TO_TELL = 8
"""Bytes that are not ASCII, from which on another encoding than Western Europe's may be guessed."""


def read_text(path: Path, settings: DecodeSettings, problems: list[str]) -> str:
    r"""The text of a file in whatever encoding, with line ends as "\n"."""
    return decode(read_bytes(path, settings), problems).replace("\r\n", "\n").replace("\r", "\n")


def decode(data: bytes, problems: list[str]) -> str:
    """Turn bytes into text: by the byte order mark, else as UTF-8, else by charset-normalizer's guess."""
    encoding = next((name for mark, name in _BOMS if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        where = error.start
    text = data.decode(encoding, "replace")
    damaged = text.count("\ufffd")
    # Where nearly all is UTF-8, a few bytes are damaged; else it is another encoding.
    if encoding == "utf-8" and damaged * 100 >= sum(byte > 127 for byte in data[:_GUESSED_BYTES]):
        from charset_normalizer import from_bytes

        if sum(byte > 127 for byte in data) < _ENOUGH_TO_TELL:
            return data.decode("cp1252", "replace")  # a few accents tell nothing; this is the likeliest by far
        begin = max(0, where - _GUESSED_BYTES // 2)  # around what is not ASCII: the rest tells nothing
        best = from_bytes(data[begin : begin + _GUESSED_BYTES]).best()
        if best is not None:
            return data.decode(best.encoding, "replace")
    problems.append(f"{damaged} damaged characters, the first at byte {where}")
    return text


def chunks(text: str, settings: DecodeSettings) -> Iterator[str]:
    """Cut a text at paragraphs, sentences or words into chunks of at most `max_tokens` tokens that overlap a little.

    Every character that is not white space at a border is in some chunk. Only a single character with more tokens than
    `max_tokens` gives a chunk that is longer.

    A splitter that calls the tokenizer for each attempt takes 7 s for a megabyte, and its Markdown variant takes
    minutes. Here the text is cut by characters, with a ratio found on samples, and each chunk is counted once: 1.85 s,
    nearly all of it spent in the tokenizer. What is too long after all is cut again.
    """
    text = storable(text.strip())
    if not text:
        return
    empty = settings.count_tokens("")  # special tokens
    room = max(1, settings.max_tokens - empty)
    per_token = _characters_per_token(text, settings, empty)
    overlap = min(settings.overlap_tokens, room // 2)
    yield from _cut(text, settings, int(room * per_token * _FILL), int(overlap * per_token))


def _cut(text: str, settings: DecodeSettings, capacity: int, overlap: int) -> Iterator[str]:
    from semantic_text_splitter import TextSplitter

    capacity = max(1, capacity)
    overlap = min(overlap, capacity // 2)
    for chunk in TextSplitter(capacity, overlap=overlap).chunks(text):
        if not chunk.strip():
            continue
        tokens = settings.count_tokens(chunk)
        if tokens <= settings.max_tokens or len(chunk) == 1:
            yield chunk
            continue
        # Always shorter than the chunk, so this ends; halving it where the count tells nothing.
        smaller = int(len(chunk) * min(settings.max_tokens / tokens * _FILL, 0.75))
        yield from _cut(chunk, settings, smaller, min(overlap, smaller // 4))


def _characters_per_token(text: str, settings: DecodeSettings, empty: int) -> float:
    """How many characters a token covers in this text, by samples spread over it."""
    stride = max(_SAMPLED_CHARACTERS, len(text) // _SAMPLES)
    sampled = [text[at : at + _SAMPLED_CHARACTERS] for at in range(0, len(text), stride)]
    tokens = sum(max(1, settings.count_tokens(piece) - empty) for piece in sampled)
    return sum(map(len, sampled)) / tokens


def _title(text: str) -> str | None:
    """A Markdown document's title: of its front matter, else its first heading."""
    found = _FRONT_MATTER_TITLE.match(text[:20_000]) or _HEADING.search(text[:20_000])
    return next((group.strip() for group in found.groups() if group), None) if found else None
