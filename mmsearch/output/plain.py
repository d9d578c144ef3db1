"""Results as plain lines: the same whatever the width of anything, so that other programs can search them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TextIO

from mmsearch.output.settings import OutputSettings, Results
from mmsearch.output.text import close_moments, cosine, first_few, gone, many, path, percent, snippet, span


def write(results: Results, settings: OutputSettings, stream: TextIO) -> None:
    """One line for each result, and indented ones for what is in it."""
    for line in lines(results, settings):
        stream.write(line + "\n")


def lines(results: Results, settings: OutputSettings) -> Iterator[str]:
    """Rank, confidence if there is any, score, kind, span of time and path; below it text, moments and twins."""
    calibrated = any(hit.confidence is not None for hit in results.hits)
    indent = " " * (39 if calibrated else 33)
    for place, hit in enumerate(results.hits, start=1):
        confidence = f"{percent(hit.confidence):>4}  " if calibrated else ""
        what = f"{cosine(hit.score):>6}  {hit.kind:<5}  {span(hit):<11}"
        yield f"{place:>3}  {confidence}{what}  {path(hit.path)}{gone(hit)}"
        if hit.text:
            yield f"{indent}{snippet(hit.text, matched=hit.matched)[0]}"
        close = close_moments(hit)
        if close:
            yield f"{indent}also {first_few(close)}"
        copies, twins = hit.copies_there, hit.duplicates_there
        if copies:
            yield f"{indent}same as {first_few([path(copy) for copy in copies])}"
        if twins and settings.duplicates:
            for twin in twins:
                yield f"{indent}much like {path(twin)}"
        elif twins:
            yield f"{indent}and {many(len(twins), 'file')} much like it: --duplicates"
