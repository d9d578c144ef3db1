"""Results for other programs: JSON, JSON lines, CSV, paths. docs/json.md describes them all."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

from mmsearch.output.settings import OutputSettings, Results
from mmsearch.output.text import span
from mmsearch.rank import Hit, Moment

JSON_VERSION = 1
"""Grows when a field changes its meaning or goes; new fields may come without notice."""

CSV_COLUMNS = (
    *("rank", "path", "kind", "channel", "score", "confidence", "start", "end"),
    *("title", "text", "copies", "duplicates", "uri"),
)


def as_json(results: Results) -> dict[str, Any]:
    """The documented JSON of a query's answer."""
    return {
        "version": JSON_VERSION,
        "query": results.query,
        "matches_well": results.matches_well,
        "remarks": list(results.remarks),
        "hits": [hit_as_json(hit) for hit in results.hits],
        **({} if results.quality is None else {"quality": results.quality}),
    }


def hit_as_json(hit: Hit) -> dict[str, Any]:
    """One result."""
    return {
        "path": hit.path,
        "kind": hit.kind,
        **_moment(hit),
        "title": hit.title,
        "matched": list(hit.matched),
        "moments": [_moment(moment) for moment in hit.moments],
        "copies": list(hit.copies_there),
        "duplicates": list(hit.duplicates_there),
        "gone": hit.is_gone,
    }


def _moment(moment: Hit | Moment) -> dict[str, Any]:
    return {
        "channel": moment.channel,
        "score": None if moment.score is None else round(moment.score, 6),
        "confidence": None if moment.confidence is None else round(moment.confidence, 6),
        "start": moment.start_seconds,
        "end": moment.end_seconds,
        "label": span(moment) or None,
        "text": moment.text,
    }


def write_json(results: Results, settings: OutputSettings, stream: TextIO) -> None:
    """All of it as one JSON object."""
    # ASCII: a path whose bytes are not UTF-8 stays readable by any JSON parser, as "\udcff" escapes.
    stream.write(json.dumps(as_json(results), indent=2) + "\n")


def write_jsonl(results: Results, settings: OutputSettings, stream: TextIO) -> None:
    """A JSON object a line, one for each result."""
    for rank, hit in enumerate(results.hits, start=1):
        stream.write(json.dumps({"version": JSON_VERSION, "rank": rank, **hit_as_json(hit)}) + "\n")


def write_csv(results: Results, settings: OutputSettings, stream: TextIO) -> None:
    r"""A table as RFC 4180 has it: a header, CRLF after each record, quotes where they are needed, in UTF-8.

    Bytes of a path that are not UTF-8 are given as "\xff"; the column "uri" has any path exactly.
    """
    lines = io.StringIO(newline="")
    table = csv.writer(lines)  # the dialect "excel" is RFC 4180
    table.writerow(CSV_COLUMNS)
    for rank, hit in enumerate(results.hits, start=1):
        row = _moment(hit) | {
            "rank": rank,
            "path": hit.path,
            "kind": hit.kind,
            "title": hit.title,
            "copies": len(hit.copies_there),
            "duplicates": len(hit.duplicates_there),
            "uri": Path(hit.path).as_uri(),
        }
        table.writerow([row[column] for column in CSV_COLUMNS])
    # Two steps: what was a byte becomes that byte again, and what is then no UTF-8 is escaped.
    text = lines.getvalue().encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    _write_bytes(stream, text.encode("utf-8"))


def write_paths(results: Results, settings: OutputSettings, stream: TextIO) -> None:
    """One path a line, as the bytes that it is on disk."""
    _write_bytes(stream, b"".join(path + b"\n" for path in _paths(results, settings)))


def write_null(results: Results, settings: OutputSettings, stream: TextIO) -> None:
    """Paths with NUL after each: safe for any name."""
    _write_bytes(stream, b"".join(path + b"\0" for path in _paths(results, settings)))


def _paths(results: Results, settings: OutputSettings) -> Iterable[bytes]:
    for hit in results.hits:
        yield os.fsencode(hit.path)
        if settings.duplicates:
            yield from map(os.fsencode, (*hit.copies_there, *hit.duplicates_there))


def _write_bytes(stream: TextIO, content: bytes) -> None:
    stream.flush()
    stream.buffer.write(content)
    stream.flush()
