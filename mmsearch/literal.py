"""Words as words: what the library's texts, titles and names say literally, as evidence beside what they mean.

Evidence of independent kinds adds up in log-odds. Meaning gives `excess - OFFSET` (calibration.py); words add

    WEIGHT * (share of the query's terms that are there)^2 * (BM25 / the best BM25)

where function words ("of", "the") are no terms unless there are no others. Where no word was found, words add nothing,
so that a picture, which has no text, is not punished. On the package descriptions of
`benchmarks/words_and_meaning.py` (test split) recall@1 is 64 % by meaning, 66 % by words, 68 % by reciprocal rank
fusion and 76 % by this.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources

from indexer.filters import Filter
from indexer.store import Store
from indexer.word_query import parse_words
from indexer.words import WordHit, find_words
from mmsearch.cancel import Check, go_on
from mmsearch.query import Query
from mmsearch.rank import Words

WEIGHT = 6.0

MOST = 100
"""Texts, titles and names each that words are looked for in, by BM25. The same however many files are asked for, so
that the order of the first ones is. Twice as many found no more: `benchmarks/words_and_meaning.py`."""

_PART = 0.5  # of the weight, where words are only parts of words of a name


class FoundWords(Mapping[int, Words]):
    """What looking for the words themselves found, by content.

    Which of a query's terms a text holds is worked out when somebody asks for the content: with vectors to rank by,
    most of what words find cannot come among the best whatever it holds.

    Args:
        parts: what was found for each term of the query.
    """

    def __init__(self, parts: Sequence[_TermFinds] = ()) -> None:
        self._parts = parts
        self._known: dict[int, Words | None] = {}

    @cached_property
    def at_most(self) -> Mapping[int, float]:
        """More evidence than this there is not, by content."""
        bounds: dict[int, float] = {}
        for part in self._parts:
            for content, hits in part.hits.items():
                bounds[content] = bounds.get(content, 0.0) + max(map(part.at_most, hits))
        return bounds

    @cached_property
    def literal(self) -> frozenset[int]:
        """The contents that hold a quoted phrase, or are named as was typed."""
        return frozenset(
            content
            for part in self._parts
            if part.is_only
            for content, hits in part.hits.items()
            if any(hit.exact or hit.phrases for hit in hits)
        )

    def __getitem__(self, content: int) -> Words:
        if content not in self._known:
            self._known[content] = self._worth(content)
        words = self._known[content]
        if words is None:
            raise KeyError(content)
        return words

    def __iter__(self) -> Iterator[int]:
        return (content for content in self.at_most if content in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _worth(self, content: int) -> Words | None:
        """Of several terms each can give its share of the evidence, and each the best that it found."""
        found: Words | None = None
        for part in self._parts:
            worth = [words for hit in part.hits.get(content, ()) if (words := part.worth(hit)).evidence]
            if worth:
                best = _best_of(worth)
                found = best if found is None else _both(found, best)
        return found


@dataclass(frozen=True, slots=True)
class _TermFinds:
    """What one term was found in, by content. `counting`: its words that count. `share`: of the query's weight.

    `top`: the best BM25. `is_only`: the query has no other positive term.
    """

    hits: Mapping[int, Sequence[WordHit]]
    counting: frozenset[str]
    top: float
    share: float
    is_only: bool

    def at_most(self, hit: WordHit) -> float:
        """The evidence of a hit that holds all that was asked for."""
        return WEIGHT * self.share * (1.0 if hit.exact else self._relative(hit))

    def worth(self, hit: WordHit) -> Words:
        """What a hit adds."""
        terms = hit.terms
        held = len(self.counting.intersection(terms)) / max(len(self.counting), 1)
        evidence = WEIGHT * self.share * (1.0 if hit.exact else held**2 * self._relative(hit))
        literal = self.is_only and (hit.exact or hit.phrases)
        matched = (*terms, "name") if hit.where == "name" else terms
        return Words(evidence, literal, hit.segment_id, tuple(dict.fromkeys(matched)))

    def _relative(self, hit: WordHit) -> float:
        return min(hit.score / self.top, 1.0) if self.top and not hit.partial else _PART


def find_literally(store: Store, generation_id: int, query: Query, wanted: Filter, check: Check = go_on) -> FoundWords:
    """What a query's texts are found in as words; nothing where the query wants meaning only.

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
        return FoundWords()
    total = sum(term.weight for term in positive)
    parts: list[_TermFinds] = []
    for term in texts:
        check()
        asked = parse_words(term.value)
        by_content: dict[int, list[WordHit]] = {}
        top = 0.0
        for hit in find_words(store, generation_id, asked, wanted, MOST):
            by_content.setdefault(hit.content_id, []).append(hit)
            if not hit.partial:
                top = max(top, hit.score)
        counting = telling([word.text for word in asked.terms])
        parts.append(_TermFinds(by_content, counting, top, term.weight / total, is_only=len(positive) == 1))
    return FoundWords(parts)


def telling(terms: list[str]) -> frozenset[str]:
    """The terms of a query that say what it is about."""
    found = frozenset(term for term in terms if term.casefold() not in _function_words())
    return found or frozenset(terms)


@cache
def _function_words() -> frozenset[str]:
    lines = resources.files("mmsearch").joinpath("function_words.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(word for line in lines if not line.startswith("#") for word in line.split())


def _best_of(worth: Sequence[Words]) -> Words:
    """What one term was found in, of several texts of a content: the most evidence, at the place that is literal."""
    if len(worth) == 1:
        return worth[0]
    order = sorted(worth, key=lambda words: (not words.literal, -words.evidence))
    matched = dict.fromkeys(term for words in order for term in words.matched)
    evidence = max(words.evidence for words in worth)
    return Words(evidence, order[0].literal, order[0].segment_id, tuple(matched))


def _both(one: Words, other: Words) -> Words:
    """What two terms were found in. Nothing is literal, then: that is for a query of one term."""
    place = one.segment_id if one.evidence >= other.evidence else other.segment_id
    matched = dict.fromkeys((*one.matched, *other.matched))
    return Words(one.evidence + other.evidence, False, place or one.segment_id, tuple(matched))
