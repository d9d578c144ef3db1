"""Words as words: what the library's texts, titles and names say literally, as evidence beside what they mean.

Evidence of independent kinds adds up in log-odds. Meaning gives `excess - OFFSET` (calibration.py); words add

    WEIGHT * (share of the query's terms that are there)^2 * (BM25 / the best BM25)

where function words ("of", "the") are no terms unless there are no others. Where no word was found, words add nothing,
so that a picture, which has no text, is not punished. On the package descriptions of
`benchmarks/words_and_meaning.py` (test split) recall@1 is 64 % by meaning, 66 % by words, 68 % by reciprocal rank
fusion and 76 % by this.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources

from indexer.filters import Filter
from indexer.store import Store
from indexer.words import WordHit, find_words, parse_words
from mmsearch.cancel import Check, go_on
from mmsearch.query import Query
from mmsearch.rank import Words

WEIGHT = 6.0

MOST = 200
"""Texts, titles and names each that words are looked for in. The same however many files are asked
for, so that the order of the first ones is."""

_PART = 0.5  # of the weight, where words are only parts of words of a name


def find_literally(
    store: Store, generation_id: int, query: Query, wanted: Filter, check: Check = go_on
) -> dict[int, Words]:
    """What a query's texts are found in as words, by content; nothing where the query wants meaning only.

    Of several positive terms each can give its share of the evidence.

    Args:
        store: the library's store.
        generation_id: whose segments.
        query: its positive text terms are looked for.
        wanted: its filters, as the store takes them.
        check: called before each text is looked for; what it raises ends the search.
    """
    positive = [term for term in query.terms if term.weight > 0]
    texts = [term for term in positive if term.kind == "text" and not term.samples]
    if not query.words or not texts:
        return {}
    total = sum(term.weight for term in positive)
    found: dict[int, Words] = {}
    for term in texts:
        check()
        asked = parse_words(term.value)
        hits = find_words(store, generation_id, asked, wanted, MOST)
        top = max((hit.score for hit in hits if not hit.partial), default=0.0)
        best: dict[int, Words] = {}
        counting = telling([word.text for word in asked.terms])
        for hit in hits:
            one = _worth(hit, counting, top, term.weight / total, is_only=len(positive) == 1)
            if not one.evidence:
                continue
            if hit.content_id not in best or one.evidence > best[hit.content_id].evidence:
                best[hit.content_id] = one
        _add(found, best)
    return found


def telling(terms: list[str]) -> frozenset[str]:
    """The terms of a query that say what it is about."""
    found = frozenset(term for term in terms if term.casefold() not in _function_words())
    return found or frozenset(terms)


@cache
def _function_words() -> frozenset[str]:
    lines = resources.files("mmsearch").joinpath("function_words.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(word for line in lines if not line.startswith("#") for word in line.split())


def _worth(hit: WordHit, asked: frozenset[str], top: float, share: float, *, is_only: bool) -> Words:
    held = len(asked.intersection(hit.terms)) / max(len(asked), 1)
    relative = hit.score / top if top and not hit.partial else _PART
    evidence = WEIGHT * share * (1.0 if hit.exact else held**2 * min(relative, 1.0))
    literal = is_only and (hit.exact or hit.phrases)
    matched = (*hit.terms, "name") if hit.where == "name" else hit.terms
    return Words(evidence, literal, hit.segment_id, tuple(dict.fromkeys(matched)))


def _add(found: dict[int, Words], more: Mapping[int, Words]) -> None:
    for content, words in more.items():
        before = found.get(content)
        if before is None:
            found[content] = words
        else:
            matched = tuple(dict.fromkeys((*before.matched, *words.matched)))
            place = before.segment_id if before.evidence >= words.evidence else words.segment_id
            found[content] = Words(
                before.evidence + words.evidence, before.literal or words.literal, place or before.segment_id, matched
            )
