"""A query put to a library: which segments are near, what that is worth, and which files they make."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from indexer.ann import Ids
from indexer.contents import contents_of, every_segment_in, segments_in
from indexer.filters import Filter
from indexer.found import StoredSegments, files_of, norms_of, passages_of, segments_of
from indexer.library import Library
from indexer.names import Channel
from mmsearch import fusion
from mmsearch.calibration import confidence, confidence_of
from mmsearch.cancel import Check, go_on
from mmsearch.fusion import Scores
from mmsearch.literal import FoundWords
from mmsearch.nearest import first_of, nearest, probes_of
from mmsearch.plan import Plan, Route, Scored, distances
from mmsearch.promising import promising_of
from mmsearch.rank import CONFIDENT, Answer, Candidate, Hit, Words, hits_of

LITERAL = 0.99
"""The least confidence of what holds a quoted phrase, or is named as was typed."""

_POOL = 160  # segments fetched for each term and channel, where the best cannot be told from the first alone
_POOL_BY_RANK = 1000  # the same where places are put together, which are those among what is fetched
_DEEPEST_POOL = 8000  # where something is to be unlike, and all that is near is
_BLOCK = 8192  # segments that are scored at once
_RANKED_DIGITS = 4  # of a score: below that is rounding, which may not tell apart what is the same


def search(
    library: Library,
    generation_id: int,
    plan: Plan,
    wanted: Filter,
    *,
    words: Callable[[], FoundWords] = FoundWords,
    hidden: frozenset[int] = frozenset(),
    fold: bool = True,
    check: Check = go_on,
) -> Answer:
    """The files that answer best, best first.

    Args:
        library: where to look.
        generation_id: among the vectors of which model.
        plan: how the query reaches each channel.
        wanted: its filters, as the store takes them.
        words: gives what was found by words, by content; asked once the nearest vectors are known.
        hidden: contents that may not answer, such as the one that is asked with.
        fold: whether near-identical files are put under the best of them.
        check: called before each stage; what it raises ends the search.
    """
    count = plan.query.k + len(hidden)
    while True:
        if plan.is_one_vector:
            found, keys, unseen = nearest(library, plan, count, check)
            places = None
        else:
            found, keys = _pooled(library, generation_id, plan, count, check)
            unseen, places = np.inf, keys if plan.is_by_rank else None
        check()
        literally = words()
        check()
        promising = [
            content for content in promising_of(found, keys, unseen, literally, count, plan) if content not in hidden
        ]
        contents = _finalists(library, generation_id, promising, literally, places, count, plan)
        check()
        # All segments of the files that were found, so that a file's moments do not depend on how many were asked for.
        segments = segments_of(library.store, generation_id, contents)
        check()
        scored = [plan.score(some) for some in segments if some.channel in plan.routes]
        candidates = _candidates(plan, scored, literally, places)
        rest = set(contents).difference(*(part.segments.contents for part in scored))
        candidates |= _by_words(library, plan, rest, literally)
        check()
        hits = hits_of(candidates, files_of(library.store, list(candidates), wanted), plan, fold=fold)
        is_all = len(found) < count and len(contents) == len(promising)
        if len(hits) >= plan.query.k or is_all or (plan.query.confident and not _all_stand_out(candidates, count)):
            break
        count *= 2  # near-identical files were folded together
    well = any(hit.matches_well for hit in hits)
    # Of words that the model cannot read, it is not known whether something here means the same.
    return Answer(tuple(hits), well if plan.calibrated and (well or plan.routes) else None)


def search_in(
    library: Library, generation_id: int, plan: Plan, content: int, *, words: FoundWords, check: Check = go_on
) -> tuple[Hit, ...]:
    """The moments at which one file answers, best first; each is worth what it is worth among all that is asked.

    Args:
        library: where the file is.
        generation_id: among the vectors of which model.
        plan: how the query reaches each channel; it asks for moments.
        content: the file's; filters do not leave it out.
        words: what was found by words.
        check: called before each stage; what it raises ends the search.
    """
    check()
    parts = [
        plan.score(some) for some in segments_of(library.store, generation_id, [content]) if some.channel in plan.routes
    ]
    check()
    candidates = _candidates(plan, parts, words) if parts else _by_words(library, plan, [content], words)
    return tuple(hits_of(candidates, files_of(library.store, [content], Filter()), plan, fold=False))


def _finalists(
    library: Library,
    generation_id: int,
    contents: list[int],
    words: FoundWords,
    places: Mapping[int, float] | None,
    count: int,
    plan: Plan,
) -> list[int]:
    """Those of some contents that are among the best, by their vectors alone: all their rows would take far longer."""
    if len(contents) <= 2 * count:
        return contents
    parts: list[Scored] = []
    for channel in plan.routes:
        ids = segments_in(library.store, generation_id, channel, np.array(contents, np.int64))
        if ids is None:
            return contents
        parts.append(plan.score(_bare(library, generation_id, channel, ids, plan)))
    candidates = _candidates(plan, parts, words, places)
    heard = {content for part in parts for content in part.segments.contents.tolist()}
    candidates |= _without_segments(plan, set(contents) - heard, words)
    keys = {content: candidate.key for content, candidate in candidates.items()}
    literal = [content for content in keys if content in words.literal]
    best = first_of(sorted(keys, key=lambda content: -keys[content]), keys, count, plan)
    return list(dict.fromkeys([*literal, *best]))


def _all_stand_out(candidates: Mapping[int, Candidate], count: int) -> bool:
    """Whether the best files all stand out from chance, so that further ones may too.

    There are more candidates than the best, which words brought. Where ranks or distances order files, and not what
    they are worth over chance, this is a rule of thumb.
    """
    best = sorted(candidates.values(), key=lambda of: -of.key)[:count]
    return all(of.confidence is not None and of.confidence >= CONFIDENT for of in best)


def _pooled(
    library: Library, generation_id: int, plan: Plan, count: int, check: Check
) -> tuple[list[int], dict[int, float]]:
    """The contents of the best files, among those of the segments nearest to each term, and what ranks all of those.

    What each term says of a file is the best of all its segments, also of those that are near to no term. Where
    something is to be unlike, pools grow until the best rank above what no term brought into its pool, as far as the
    last of each pool tells; not where files rank by their places.
    """
    pool = max(_POOL_BY_RANK if plan.is_by_rank else _POOL, 16 * count)
    while True:
        contents: set[int] = set()
        last: list[tuple[int | None, Channel, int]] = []  # of each pool that may not hold all
        for channel, route in plan.routes.items():
            check()
            for term, ids in _nearby(library, generation_id, plan, channel, route, pool):
                contents.update(contents_of(library.store, ids).tolist())
                if len(ids) == pool:
                    last.append((term, channel, int(ids[-1])))
        near = np.array(sorted(contents - {0}), np.int64)  # 0: it was removed meanwhile
        parts: list[Scored] = []
        for channel in plan.routes:
            ids = every_segment_in(library.store, generation_id, channel, near)
            for start in range(0, len(ids), _BLOCK):  # long files have many, and their vectors are let go of at once
                check()
                part = plan.score(_bare(library, generation_id, channel, ids[start : start + _BLOCK], plan))
                nothing = np.empty((0, part.segments.vectors.shape[1]), np.float32)
                parts.append(replace(part, segments=replace(part.segments, vectors=nothing)))
        keys = _keys(plan, parts)
        order = sorted(keys, key=lambda content: -keys[content])
        if not last or (len(keys) >= count and (not plan.less or pool >= _DEEPEST_POOL)):
            break
        if len(keys) >= count and keys[order[count - 1]] >= _highest_left(library, generation_id, plan, last):
            break
        pool *= 4
    return first_of(order, keys, count, plan), keys


def _nearby(
    library: Library, generation_id: int, plan: Plan, channel: Channel, route: Route, pool: int
) -> Iterator[tuple[int | None, Ids]]:
    """The segments of a channel that are nearest to each term, by its number, and to what else they are asked with."""
    if plan.query.metric == "euclidean":
        yield None, _by_distance(library, generation_id, channel, route, pool)
        return
    numbers, probes = zip(*probes_of(plan, route), strict=True)
    _, found = library.search(channel, np.stack(probes), pool, allowed=route.allowed, exact=plan.query.exact)
    yield from zip(numbers, found, strict=True)


def _highest_left(
    library: Library, generation_id: int, plan: Plan, last: Sequence[tuple[int | None, Channel, int]]
) -> float:
    """What no file that no pool brought ranks above, as the last segment of each pool tells."""
    said: list[tuple[int, float]] = []
    nearest = -np.inf
    for channel, route in plan.routes.items():
        own = sorted({id for _, of, id in last if of == channel})
        segments = _bare(library, generation_id, channel, np.array(own, np.int64), plan)
        if len(segments) < len(own):  # one was removed meanwhile, and may have been any
            return np.inf
        if plan.query.metric == "euclidean":
            apart = distances(route, segments.norms, (segments.vectors @ route.vector).astype(np.float64))
            nearest = max([nearest, *(-apart).tolist()])
            continue
        part = plan.score(segments)
        rows = part.cosines if plan.is_by_cosine else part.terms
        ids = segments.ids.tolist()
        said += [
            (term, float(rows[term, ids.index(id)])) for term, of, id in last if of == channel and term is not None
        ]
    return nearest if plan.query.metric == "euclidean" else plan.highest_mean(said)


def _bare(library: Library, generation_id: int, channel: Channel, ids: Ids, plan: Plan) -> StoredSegments:
    """Segments with what scores them and no more: fetching their rows would take longer than all the rest."""
    contents = contents_of(library.store, ids)
    ids, contents = ids[contents > 0], contents[contents > 0]  # else it was removed meanwhile
    norms = np.ones(len(ids), np.float32)
    if plan.query.metric == "euclidean":
        known, lengths = norms_of(library.store, generation_id, channel)
        if len(known):  # else all were removed meanwhile
            norms = lengths[np.minimum(np.searchsorted(known, ids), len(known) - 1)]
    spans = np.full((len(ids), 2), np.nan)
    nothing = (None,) * len(ids)
    return StoredSegments(
        channel, ids, contents, library.index(channel).vectors_of(ids), norms, spans, nothing, nothing
    )


def _by_distance(library: Library, generation_id: int, channel: Channel, route: Route, count: int) -> Ids:
    """The segments at the smallest distances. Lengths are not in the index, so all cosines are asked for."""
    scores, ids = library.search(channel, route.vector[None], len(library.index(channel)), allowed=route.allowed)
    known, norms = norms_of(library.store, generation_id, channel)
    if not ids.shape[1] or not len(known):
        return np.empty(0, np.int64)
    at = np.minimum(np.searchsorted(known, ids[0]), len(known) - 1)
    there = known[at] == ids[0]  # else it was removed meanwhile
    apart = distances(route, norms[at[there]], scores[0][there].astype(np.float64))
    nearest: Ids = ids[0][there][np.argsort(apart, kind="stable")[:count]]
    return nearest


def _candidates(
    plan: Plan, parts: Sequence[Scored], words: Mapping[int, Words], places: Mapping[int, float] | None = None
) -> dict[int, Candidate]:
    """Contents with what they are worth, and their scored segments.

    Args:
        plan: the query.
        parts: scored segments.
        words: what was found by words, by content.
        places: what ranks contents, where that is known from their places among more of them.
    """
    if not parts:
        return {}
    unique, keys, worth = _worth(plan, parts)
    if places is not None:
        lowest = min(places.values(), default=0.0)  # what was found by words alone has no place among the nearest
        keys = np.array([places.get(content, lowest) for content in unique.tolist()])
    blocked = _blocked(parts)
    # All at once: one by one, a thousand candidates would take a sixth of a second.
    chances = confidence(worth).tolist() if plan.calibrated else [None] * len(unique)
    candidates: dict[int, Candidate] = {}
    for content, key, of, chance in zip(unique.tolist(), keys.tolist(), worth.tolist(), chances, strict=True):
        if content not in blocked:
            found = words.get(content)
            candidates[content] = Candidate(key, chance, None) if found is None else _with_words(plan, key, of, found)
    for part in parts:
        for row, content in enumerate(part.segments.contents.tolist()):
            if content in candidates:
                candidates[content].rows.append((part, row))
    return candidates


def _worth(plan: Plan, parts: Sequence[Scored]) -> tuple[Ids, Scores, Scores]:
    """Contents, rising, with what ranks each and what it is worth over chance: (n,) each."""
    contents = np.concatenate([part.segments.contents for part in parts])
    unique, inverse = np.unique(contents, return_inverse=True)

    def best(rows: Sequence[Scores]) -> Scores:
        """The highest of each content's segments, row by row: (t, contents), nan where a term reaches none."""
        matrix = np.concatenate(rows, axis=1)
        highest = np.full((len(matrix), len(unique)), np.nan)
        for row, out in zip(matrix, highest, strict=True):
            np.fmax.at(out, inverse, row)
        return highest

    if not plan.is_feature_level and plan.query.metric == "cosine":
        above = best([part.above for part in parts])
        terms, cosines = best([part.terms for part in parts]), best([part.cosines for part in parts])
        return unique, *_fused(plan, terms, cosines, above)
    return unique, best([part.key[None] for part in parts])[0], best([part.worth[None] for part in parts])[0]


def _keys(plan: Plan, parts: Sequence[Scored]) -> dict[int, float]:
    """What ranks each content that no negative term blocks."""
    if not parts:
        return {}
    unique, keys, _ = _worth(plan, parts)
    blocked = _blocked(parts)
    pairs = zip(unique.tolist(), keys.tolist(), strict=True)
    return {content: key for content, key in pairs if content not in blocked}


def _blocked(parts: Sequence[Scored]) -> set[int]:
    """The contents that are too near to a negative term."""
    return {content for part in parts for content in part.segments.contents[part.blocked].tolist()}


def _without_segments(plan: Plan, contents: Iterable[int], words: Mapping[int, Words]) -> dict[int, Candidate]:
    """Contents with nothing that could be compared, which were found by words."""
    return {
        content: _with_words(plan, plan.unheard, plan.missing, words[content])
        for content in contents
        if content in words
    }


def _by_words(
    library: Library, plan: Plan, contents: Iterable[int], words: Mapping[int, Words]
) -> dict[int, Candidate]:
    """The same, with the passages that hold the words."""
    found = _without_segments(plan, contents, words)
    places = {content: of.words.segment_id for content, of in found.items() if of.words and of.words.segment_id}
    passages = passages_of(library.store, list(places.values()))
    return {
        content: replace(of, passage=passages.get(places[content])) if content in places else of
        for content, of in found.items()
    }


def _fused(plan: Plan, terms: Scores, cosines: Scores, above: Scores) -> tuple[Scores, Scores]:
    """Files ranked by several terms at the decision level: what orders them, and what they are worth over chance."""
    total = sum(plan.weights)
    worth = fusion.lowered(fusion.weighted_mean(terms, plan.weights, plan.missing), above, plan.less, total)
    if plan.fusion == "mean":
        return worth, worth
    if plan.fusion == "concat":
        together = fusion.concatenation(cosines, plan.weights)
        return fusion.lowered(together, above * plan.unit, plan.less, total), worth
    ranking = {"rrf": fusion.reciprocal_rank, "borda": fusion.borda}[plan.fusion]
    lower = [-weight for weight in plan.less]
    scores = np.round(np.concatenate([terms, above]), _RANKED_DIGITS)
    return ranking(scores, [*plan.weights, *lower]), worth


def _with_words(plan: Plan, key: float, worth: float, words: Words) -> Candidate:
    """A content's worth by meaning and by words: in log-odds, evidence adds up."""
    evidence = words.evidence
    if not plan.calibrated and not plan.is_by_rank and plan.query.metric == "cosine":
        return Candidate(key + evidence, None, words)
    chance = confidence_of(worth + evidence) if plan.calibrated else None
    if chance is not None and words.literal:
        chance = max(chance, LITERAL)
    # Ranks and distances are not log-odds: there, words only break ties.
    lift = evidence if plan.is_log_odds else plan.tie * evidence
    return Candidate(key + lift, chance, words)
