"""Read the text layer of PDF files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from pypdf import PdfReader
from pypdf.errors import PyPdfError

from indexer.errors import DamagedMediaError, MediaTooLargeError
from indexer.media.text import chunks
from indexer.types import DecodeSettings, MediaInfo, Sample, TextSample

_SECTION_CHARACTERS = 200_000
"""Pages are gathered up to about this much before they are cut into chunks, so that a book need not be held whole."""


def open_file(
    path: Path, format: str, settings: DecodeSettings, problems: list[str], stack: ExitStack
) -> tuple[MediaInfo, Iterator[Sample]]:
    """Open the document; its pages are read when chunks are asked for."""
    try:
        reader = PdfReader(stack.enter_context(path.open("rb")))
        # Many files are encrypted with no password, only to forbid printing: those open with the empty one.
        if reader.is_encrypted and not reader.decrypt(""):
            raise DamagedMediaError("the PDF is encrypted with a password: save a copy without one")
        pages = len(reader.pages)
        title = _title(reader)
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedMediaError(f"the PDF is damaged: {error}") from error
    if not pages:
        raise DamagedMediaError("the PDF has no pages")
    return MediaInfo("text", format, title=title), _samples(reader, pages, settings, problems)


def _samples(reader: PdfReader, pages: int, settings: DecodeSettings, problems: list[str]) -> Iterator[Sample]:
    gathered: list[str] = []
    total = held = silent = broken = 0
    for number in range(pages):
        try:
            text = reader.pages[number].extract_text().replace("\0", "").strip()
        except Exception as error:  # pypdf raises anything on a damaged page, and the others may be whole
            broken += 1
            problems.append(f"page {number + 1} of {pages} cannot be read: {error}")
            continue
        if not text:
            silent += 1
            continue
        total += len(text)
        if total > settings.max_text_bytes:
            raise MediaTooLargeError(
                f"the PDF holds more than {settings.max_text_bytes / 1e6:.1f} million characters of text: split it, or "
                "raise max_text_bytes"
            )
        gathered.append(text)
        held += len(text)
        if held > _SECTION_CHARACTERS:
            yield from map(TextSample, chunks("\n\n".join(gathered), settings))
            gathered, held = [], 0
    yield from map(TextSample, chunks("\n\n".join(gathered), settings))
    if broken == pages:
        raise DamagedMediaError(f"no page of the PDF can be read: {problems[-1]}")
    if not total:
        problems.append("no text layer; scanned pages are not read")
    elif silent:
        problems.append(f"{silent} of {pages} pages have no text layer; scanned pages are not read")


def _title(reader: PdfReader) -> str | None:
    try:
        title = reader.metadata.title if reader.metadata else None
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError):
        return None  # a damaged title must not cost the document
    return " ".join(title.replace("\0", "").split()) or None if isinstance(title, str) else None
