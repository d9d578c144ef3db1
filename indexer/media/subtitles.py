"""Read subtitles: what is said, with its times."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pysubs2

from indexer.errors import DamagedMediaError
from indexer.media.text import chunks, read_text
from indexer.types import DecodeSettings, MediaInfo, Sample, TextSample

_JOINED_SECONDS = 10.0
"""Cues are joined up to about a sentence, or this long."""

_PAUSE_SECONDS = 1.5
"""After a pause this long something else is said."""

_SENTENCE_END = re.compile(r"[.!?…。！？][\"'”’)\]]*$")
# pysubs2 reads WebVTT as SubRip with another clock: comments and names of cues would end up in the text before them.
_VTT_BLOCK = re.compile(r"\n\n(?:NOTE|STYLE|REGION)\b[^\n]*(?:\n[^\n]+)*")
_VTT_NAME = re.compile(r"\n\n+[^\n]+\n(?=[^\n]*-->)")
_TAG = re.compile(r"<[^<>]{0,200}>|\{\\[^{}]{0,200}\}")


@dataclass(frozen=True, slots=True)
class _Cue:
    text: str
    start: float
    end: float


def open_file(
    path: Path, format: str, settings: DecodeSettings, problems: list[str], stack: ExitStack
) -> tuple[MediaInfo, Iterator[Sample]]:
    """Read the cues; what they say is joined to sentences when samples are asked for."""
    text = read_text(path, settings, problems)
    if format == "vtt":
        text = _VTT_NAME.sub("\n\n", _VTT_BLOCK.sub("", text))
    try:
        events = pysubs2.SSAFile.from_string(text, format_=format, keep_html_tags=True, keep_unknown_html_tags=True)
    except (pysubs2.exceptions.Pysubs2Error, ValueError, IndexError, KeyError) as error:
        raise DamagedMediaError(f"the subtitles cannot be read: {error}") from error
    cues = [cue for cue in (_cue(event) for event in events) if cue is not None]
    if not cues:
        raise DamagedMediaError("the file holds no subtitles, though its name says so: it is damaged or empty of text")
    cues.sort(key=lambda cue: (cue.start, cue.end))
    duration = max(cue.end for cue in cues)
    return MediaInfo("text", format, duration_seconds=duration), _samples(cues, settings)


def _cue(event: pysubs2.SSAEvent) -> _Cue | None:
    words = _TAG.sub("", html.unescape(event.text.replace("\\N", " ").replace("\\n", " ").replace("\\h", " ")))
    words = " ".join(words.split())
    if event.is_comment or not words:
        return None
    start = max(0, event.start) / 1000
    return _Cue(words, start, max(start, event.end / 1000))


def _samples(cues: list[_Cue], settings: DecodeSettings) -> Iterator[Sample]:
    held: _Cue | None = None
    for cue in cues:
        joined = None if held is None else _join(held, cue, settings)
        if held is not None and joined is None:
            yield from _fitting(held, settings)
        held = joined or cue
    if held is not None:
        yield from _fitting(held, settings)


def _join(held: _Cue, cue: _Cue, settings: DecodeSettings) -> _Cue | None:
    """Both cues as one; None when a sentence ends between them, or both together would be too long."""
    if cue.text == held.text and cue.start <= held.end:  # karaoke and shadows repeat a line
        return _Cue(held.text, held.start, max(held.end, cue.end))
    if (
        _SENTENCE_END.search(held.text)
        or cue.start - held.end > _PAUSE_SECONDS
        or cue.end - held.start > _JOINED_SECONDS
    ):
        return None
    text = f"{held.text} {cue.text}"
    if settings.count_tokens(text) > settings.max_tokens:
        return None
    return _Cue(text, held.start, max(held.end, cue.end))


def _fitting(cue: _Cue, settings: DecodeSettings) -> Iterator[TextSample]:
    """One sample; several with the same times for a cue that is longer than the text tower reads."""
    if settings.count_tokens(cue.text) <= settings.max_tokens:
        yield TextSample(cue.text, cue.start, cue.end)
        return
    for chunk in chunks(cue.text, settings):
        yield TextSample(chunk, cue.start, cue.end)
