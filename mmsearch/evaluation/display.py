"""How queries and items look in a report: words, names of files, small pictures."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import cast

from indexer.names import CHANNELS, Kind
from mmsearch.evaluation.cases import EvaluationQuery, EvaluationSet
from mmsearch.evaluation.datasets.folder import kind_of
from mmsearch.evaluation.report.values import Display
from mmsearch.output.text import clock

_SIDE = 192
_LONGEST = 120  # characters of a text that is an item


def display_of(
    cases: Sequence[tuple[str, EvaluationSet]],
    kinds: Mapping[str, str],
    results: Mapping[tuple[str, str], str],
    starts: Mapping[tuple[str, str], float],
) -> Display:
    """Titles and thumbnails for the queries and items of some sets.

    Args:
        cases: sets, each with the prefix of its queries.
        kinds: item to kind of file.
        results: (query, item) to what is written beside a result, such as its confidence.
        starts: (query, item) to where in a file the moment that was found starts.
    """
    queries = {prefix + query.id: query for prefix, case in cases for query in case.queries}
    texts = {item.id: item.text for _, case in cases for item in case.gallery if item.text is not None}
    drawn = lru_cache(maxsize=1024)(picture)
    folder = _common([item for item in kinds if item not in texts])

    def item_title(id: str) -> str:
        if id in texts:
            text = texts[id]
            return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
        return os.path.relpath(id, folder) if folder and os.path.isabs(id) else id

    def item_picture(id: str) -> bytes | None:
        return None if id in texts else drawn(id, kinds.get(id), 0.0)

    def result_picture(query: str, item: str) -> bytes | None:
        return None if item in texts else drawn(item, kinds.get(item), starts.get((query, item), 0.0))

    def query_picture(id: str) -> bytes | None:
        files = queries[id].files if id in queries else ()
        return drawn(files[0], kind_of(files[0]), 0.0) if len(files) == 1 else None

    def result_text(query: str, item: str) -> str | None:
        text = results.get((query, item))
        start = starts.get((query, item))
        return text if text is None or start is None else f"{text} at {clock(start)}"

    return Display(
        query_title=lambda id: query_title(queries[id]) if id in queries else id,
        item_title=item_title,
        query_thumbnail=query_picture,
        item_thumbnail=item_picture,
        item_is_text=texts.__contains__,
        result_text=result_text,
        result_thumbnail=result_picture,
    )


def query_title(query: EvaluationQuery) -> str:
    """What a query asks, for people: its words, and the names of its files."""
    parts: list[str] = []
    for term in query.terms:
        words = term.value if term.kind == "text" else f"[{term.kind} {os.path.basename(term.value)}]"
        sign = "−" if term.weight < 0 else "+" if parts else ""
        weight = "" if abs(term.weight) == 1 else f"{abs(term.weight):g} × "
        parts.append(" ".join(filter(None, (sign, weight + words))))
    return " ".join(parts)


def picture(path: str, kind: str | None, start: float) -> bytes | None:
    """A small picture of a file: itself, a frame, or a waveform, as PNG; None for a text and what is no file."""
    from mmsearch.output.thumbnails import thumbnail
    from mmsearch.rank import Hit

    if kind in (None, "text") or not os.path.isfile(path):
        return None
    hit = Hit(
        score=0.0,
        path=path,
        kind=cast(Kind, kind),
        channel=CHANNELS[0],
        start_seconds=start,
        end_seconds=None,
        text=None,
        title=None,
        moments=(),
        copies=(),
    )
    drawn = thumbnail(hit, (_SIDE, _SIDE))
    if drawn is None:
        return None
    out = io.BytesIO()
    drawn.save(out, "PNG")
    return out.getvalue()


def _common(paths: Sequence[str]) -> str:
    """The folder that all of some files lie in; "" for none."""
    folders = [os.path.dirname(path) for path in paths if os.path.isabs(path)]
    try:
        return os.path.commonpath(folders) if folders else ""
    except ValueError:  # on several drives
        return ""
