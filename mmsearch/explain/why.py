"""Why a file answers a query: its score taken apart, its pictures and lines looked at, put together as one value."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from indexer import likeness
from indexer.advice import BRING_UP_TO_DATE, NOT_THERE
from indexer.errors import MediaError, UsageError
from indexer.filters import Filter
from indexer.found import FoundFile, StoredSegments, files_of, segments_of
from indexer.legible import legible
from indexer.library import Library
from indexer.types import Channel, Encoder, TextSample, Vectors
from indexer.vectors import unit
from mmsearch.calibration import confidence_of
from mmsearch.explain.account import Account, Place, account_of, formula_of
from mmsearch.explain.pictures import METHODS, picture_maps, read_picture
from mmsearch.explain.values import Explanation, Line, PictureMap, Stretch, TermShare
from mmsearch.explain.words import Cosines, word_shares
from mmsearch.grammar import format_terms
from mmsearch.literal import find_literally
from mmsearch.plan import Scored
from mmsearch.prepared import Prepared
from mmsearch.presence import there_first
from mmsearch.rank import Words
from mmsearch.readings import has_meaning
from mmsearch.search import LITERAL
from mmsearch.sharing import Turn
from mmsearch.terms import Term

THE_WORDS = "the words themselves"

_NOTHING = "the model has nothing of this file to compare: it is found by its name and title alone"
_UNREAD = "the model cannot read this file: it is found by its words alone"
_MOST_MAPS = 4  # terms that get a map each
_MOST_LINES = 3
_NEAR = 4.0  # a line is shown beside the best moment when it scores this near to it: fifty times less likely


def explain_content(
    library: Library, ready: Prepared, content: int, encoder: Encoder, turn: Turn, *, method: str = "auto"
) -> Explanation:
    """Why one content of the library answers a query.

    Args:
        library: what is searched.
        ready: the query.
        content: the file's.
        encoder: the library's model.
        turn: what calls of the encoder take turns by.
        method: how maps of pictures are made, one of `METHODS`.

    Raises:
        UsageError: the query reaches nothing of this file, or there is no such method.
    """
    if method not in METHODS:
        raise UsageError(f"there is no method {method!r}; choose {' or '.join(METHODS)}")
    file, fits = _file(library, ready, content)
    of_file = segments_of(library.store, ready.generation_id, [content])
    segments = [some for some in of_file if some.channel in ready.plan.routes]
    words = find_literally(library.store, ready.generation_id, ready.query, ready.wanted).get(content)
    if not segments and words is not None and not (of_file and ready.plan.routes):
        return _by_words(ready, file, fits, words)
    if not segments and not has_meaning(ready.query, ready.readings):
        raise UsageError(f"{'; '.join(ready.remarks)}, and they are not in {os.fsdecode(file.paths[0])}")
    if not segments:
        here = ", ".join(sorted(some.channel for some in of_file)) or "nothing that the model can read, see or hear"
        raise UsageError(
            f"the query reaches nothing of {os.fsdecode(file.paths[0])}: the file has {here}, and the query asks "
            f"{', '.join(ready.plan.routes) or 'nothing that fits its filters'}"
        )
    scored = [ready.plan.score(some) for some in segments]
    account = account_of(ready.plan, scored)
    score = account.total + (words.evidence if words is not None else 0.0)
    maps, remarks = _maps(ready, file, scored, account, encoder, turn, method)
    best = account.best
    return Explanation(
        query=ready.query.asked,
        path=file.paths[0],
        kind=file.kind,
        score=score,
        confidence=_confidence(ready, score, words),
        cosine=float(scored[best[0]].cosine[best[1]]),
        formula=formula_of(ready.plan, with_words=words is not None),
        fits_filters=fits,
        terms=_terms(ready, scored, account, words),
        stretches=_stretches(ready, scored, account, words),
        lines=_lines(ready, file, scored, encoder, turn, words),
        maps=maps,
        matched=words.matched if words is not None else (),
        remarks=(*ready.remarks, *remarks),
    )


def _by_words(ready: Prepared, file: FoundFile, fits: bool, words: Words) -> Explanation:
    """A file that has nothing to compare, and was found by words: in its name or title, or in text that is not read."""
    plan = ready.plan
    positive = [term for term in ready.plan.query.terms if term.weight > 0]
    parts = [weight / sum(plan.weights) * plan.missing for weight in plan.weights]
    sizes = sum(map(abs, [*parts, words.evidence])) or 1.0
    score = sum(parts) + words.evidence
    return Explanation(
        query=ready.query.asked,
        path=file.paths[0],
        kind=file.kind,
        score=score,
        confidence=_confidence(ready, score, words),
        cosine=None,
        formula="what any file scores by chance, and the evidence of words found literally",
        fits_filters=fits,
        terms=(
            *(
                TermShare(_name(term), term.weight, part, part / sizes)
                for term, part in zip(positive, parts, strict=True)
            ),
            TermShare(THE_WORDS, 1.0, words.evidence, words.evidence / sizes),
        ),
        stretches=(),
        matched=words.matched,
        remarks=ready.remarks or (_NOTHING if words.segment_id is None else _UNREAD,),
    )


def _confidence(ready: Prepared, score: float, words: Words | None) -> float | None:
    if not ready.plan.calibrated:
        return None
    least = LITERAL if words is not None and words.literal else 0.0
    return max(confidence_of(score), least)


def _file(library: Library, ready: Prepared, content: int) -> tuple[FoundFile, bool]:
    """The file, and whether the filters let it through."""
    fitting = files_of(library.store, [content], ready.wanted).get(content)
    file = fitting or files_of(library.store, [content], Filter()).get(content)
    if file is None:
        raise UsageError(f"the file is {NOT_THERE}", f"; {BRING_UP_TO_DATE}")
    return replace(file, paths=there_first(library.store, file.paths)), fitting is not None


def _terms(ready: Prepared, scored: Sequence[Scored], account: Account, words: Words | None) -> tuple[TermShare, ...]:
    positive = [term for term in ready.plan.query.terms if term.weight > 0]
    negative = [term for term in ready.plan.query.terms if term.weight < 0]
    evidence = [words.evidence] if words is not None else []
    sizes = sum(abs(part) for part in [*account.parts, *evidence]) or 1.0
    shares = []
    for number, (term, part, place) in enumerate(
        zip([*positive, *negative], account.parts, account.places, strict=True)
    ):
        of = None if place is None else scored[place[0]]
        row = 0 if place is None else place[1]
        score = cosine = None
        if of is not None and number < len(positive):
            score, cosine = float(of.terms[number, row]), float(of.cosines[number, row])
        elif of is not None:
            score = float(of.above[number - len(positive), row])
        start, end = (None, None) if of is None else _span(of.segments, row)
        channel = None if of is None else of.segments.channel
        shares.append(
            TermShare(
                _name(term),
                term.weight,
                part,
                part / sizes,
                score,
                cosine,
                channel,
                start,
                end,
            )
        )
    if words is not None:
        shares.append(TermShare(THE_WORDS, 1.0, words.evidence, words.evidence / sizes))
    return tuple(shares)


def _stretches(ready: Prepared, scored: Sequence[Scored], account: Account, words: Words | None) -> tuple[Stretch, ...]:
    found: list[tuple[float, Stretch]] = []
    for number, of in enumerate(scored):
        for row in range(len(of.segments)):
            start, end = _span(of.segments, row)
            part = account.through((number, row))
            if words is not None and words.segment_id == of.segments.ids[row]:
                part += words.evidence
            worth = float(of.worth[row])
            found.append(
                (
                    start or 0.0,
                    Stretch(
                        of.segments.channel,
                        start,
                        end,
                        of.segments.texts[row],
                        float(of.cosine[row]),
                        worth,
                        confidence_of(worth) if ready.plan.calibrated else None,
                        part,
                    ),
                )
            )
    found.sort(key=lambda pair: (pair[1].channel, pair[0]))
    return tuple(stretch for _, stretch in found)


def _maps(
    ready: Prepared,
    file: FoundFile,
    scored: Sequence[Scored],
    account: Account,
    encoder: Encoder,
    turn: Turn,
    method: str,
) -> tuple[tuple[PictureMap, ...], tuple[str, ...]]:
    """Maps of a picture, or of the frames where terms are best."""
    number = next((at for at, of in enumerate(scored) if of.segments.channel == "visual"), None)
    tower = ready.spec.tower_of("visual")
    if number is None or tower is None:
        return (), ()
    route, of = ready.plan.routes["visual"], scored[number]
    positive = [term for term in ready.plan.query.terms if term.weight > 0]
    by_row: dict[int, list[int]] = {}
    for at, approach in enumerate(route.positive[:_MOST_MAPS]):
        if approach is not None:
            place = account.places[at]
            own = place[1] if place is not None and place[0] == number else _best_row(of, at)
            by_row.setdefault(own, []).append(at)
    maps: list[PictureMap] = []
    side = likeness.decoded_side(ready.spec)
    try:
        for row, terms in by_row.items():
            start, _ = _span(of.segments, row)
            sample = read_picture(file.paths[0], file.kind, start, side)
            reaching = [(_name(positive[at]), route.positive[at], route.chance[at]) for at in terms]
            named = [(name, approach, chance) for name, approach, chance in reaching if approach is not None]
            maps += picture_maps(encoder, turn, tower, sample, named, start_seconds=start, method=method)
    except (MediaError, OSError) as error:
        said = error.message if isinstance(error, MediaError) else error
        return tuple(maps), (f"the picture cannot be looked at now: {said}",)
    return tuple(maps), ()


def _name(term: Term) -> str:
    """A term without its weight, as the grammar writes it."""
    return format_terms((replace(term, weight=1.0),))


def _best_row(of: Scored, term: int) -> int:
    return int(np.nanargmax(of.cosines[term]))


def _lines(
    ready: Prepared, file: FoundFile, scored: Sequence[Scored], encoder: Encoder, turn: Turn, words: Words | None
) -> tuple[Line, ...]:
    """The best lines of what was said and written, and the one that holds the words literally, word by word."""
    ranked: list[tuple[float, Place]] = []
    for number, of in enumerate(scored):
        if of.segments.channel in ("speech", "text"):
            for row in range(len(of.segments)):
                holds = words is not None and words.segment_id == of.segments.ids[row]
                ranked.append((float(of.worth[row]) + (words.evidence if holds and words else 0.0), (number, row)))
    ranked.sort(key=lambda pair: -pair[0])
    lines = []
    best = max(float(of.worth.max()) for of in scored)
    near = [place for worth, place in ranked if worth > best - _NEAR][:_MOST_LINES]
    if not near and file.kind != "video":  # what is said beside a picture that answers is not why
        near = [place for _, place in ranked[:1]]
    for number, row in near:
        of = scored[number]
        text = of.segments.texts[row]
        if text and text.strip():
            start, end = _span(of.segments, row)
            compare = _comparison(ready, of.segments.channel, encoder, turn)
            cosine, shares = word_shares(text, compare, words.matched if words is not None else ())
            lines.append(Line(of.segments.channel, start, end, text, cosine, shares))
    return tuple(lines)


def _comparison(ready: Prepared, channel: Channel, encoder: Encoder, turn: Turn) -> Cosines:
    """Texts against the query's positive terms in a channel: the weighted mean of the cosines of those that reach."""
    tower = dict(ready.spec.channels)[channel]
    route = ready.plan.routes[channel]
    terms = [
        (approach, weight)
        for approach, weight in zip(route.positive, ready.plan.weights, strict=True)
        if approach is not None
    ]

    def cosines(texts: Sequence[str]) -> list[float]:
        read = [legible(encoder, text, tower).text or text for text in texts]
        prepared = [encoder.prepare(tower, TextSample(text)) for text in read]
        with turn:
            vectors: Vectors = unit(encoder.encode(tower, prepared))[0]
        total = sum(weight for _, weight in terms)
        found = sum(weight / total * (approach.compared(vectors) @ approach.vector) for approach, weight in terms)
        return [float(cosine) for cosine in np.asarray(found)]

    return cosines


def _span(segments: StoredSegments, row: int) -> tuple[float | None, float | None]:
    start, end = segments.spans[row]
    return (None, None) if np.isnan(start) else (float(start), float(end))
