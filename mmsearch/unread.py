"""Words of a query that the library's model cannot read: what of them is asked by meaning, and what a person is told.

See `indexer.legible`: a text that a tower cannot read would be near to all other such texts, and to nothing else. It is
looked for as words, which any script has, and by its meaning only as far as the model can read it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial

from indexer.errors import UsageError
from indexer.legible import legible, stored_as
from indexer.names import Channel
from indexer.types import Encoder, Sample, TextSample, TowerSpec
from mmsearch.query import Query
from mmsearch.terms import Term

_SHOWN = 40  # characters of a text in a remark


def is_plain(term: Term) -> bool:
    """Whether a term is words that a person wrote."""
    return term.kind == "text" and not term.samples


def legible_parts(term: Term, parts: Sequence[Sample], encoder: Encoder, tower: TowerSpec) -> list[Sample]:
    """What a tower can read of a term.

    Of what a person wrote, that is whatever can be read; of a document and of speech, passages that can be read for the
    most part, as when they are indexed.
    """
    found: list[Sample] = []
    for part in parts:
        if not isinstance(part, TextSample):
            found.append(part)
            continue
        text = (
            legible(encoder, part.text, tower).text if is_plain(term) else stored_as("text", encoder, part.text, tower)
        )
        if text:
            found.append(replace(part, text=text))
    return found


def remarks_on(query: Query, encoder: Encoder, filled: Collection[Channel]) -> tuple[str, ...]:
    """What to tell a person of those words of a query that the model cannot read: a line for each such term.

    Args:
        query: what is asked.
        encoder: the library's model.
        filled: the channels that hold vectors.
    """
    said = (_remark(term, query, encoder, filled) for term in query.terms if is_plain(term))
    return tuple(dict.fromkeys(remark for remark in said if remark is not None))


def check_readable(query: Query, remarks: Sequence[str]) -> None:
    """Refuse a query of which nothing can be read, where words do not count either.

    Raises:
        UsageError: words do not count.
    """
    if not query.words:
        raise UsageError(
            "; ".join(remarks),
            "; leave --no-words out, so that it is looked for as words",
            hint='let words count: no --no-words in a line, "words": true in a request',
        )


def _remark(term: Term, query: Query, encoder: Encoder, filled: Collection[Channel]) -> str | None:
    spec = encoder.spec
    reaching = [(channel, spec.query_tower("text", channel)) for channel, _ in spec.channels]
    towers = {channel: tower for channel, tower in reaching if tower is not None and (not filled or channel in filled)}
    read = {tower: legible(encoder, term.value, tower) for tower in dict.fromkeys(towers.values())}
    blind = [channel for channel, tower in towers.items() if not read[tower].text]
    same = (term.value, unicodedata.normalize("NFKC", term.value))
    parts = {found.text for found in read.values() if found.text and found.text not in same}
    shown = partial(_shown, _SHOWN)
    instead = "it is looked for as words only" if query.words else "nothing is looked for"
    if term.weight < 0:
        instead = "it takes nothing away"
    if blind and len(blind) == len(towers):
        return f"the model {spec.name!r} cannot read {shown(term.value)}: {instead}"
    if blind:
        return f"for {' and '.join(blind)}, the model {spec.name!r} cannot read {shown(term.value)}: there, {instead}"
    if parts:
        rest = "the rest is looked for as words only" if query.words and term.weight > 0 else "the rest does not count"
        return f"the model {spec.name!r} reads only {shown(min(parts, key=len))} of {shown(term.value)}: {rest}"
    return None


def _shown(limit: int, text: str) -> str:
    line = " ".join(text.split())
    return repr(line if len(line) <= limit else f"{line[: limit - 1]}…")
