"""Which words of a line carry its similarity with a query: each is left out in turn, and the line encoded again.

Leave one out: Li, Monroe and Jurafsky, "Understanding Neural Networks through Representation Erasure", 2016,
arXiv:1612.08220. In a long text pieces of several words are left out first, and only the words of those pieces that
matter most are then left out one by one: two hundred words take as many tokens as a book.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from indexer.highlight import find_terms, merged
from indexer.tokens import UNSPACED
from mmsearch.explain.values import WordShare

Span = tuple[int, int]

Cosines = Callable[[Sequence[str]], Sequence[float]]
"""The similarity of texts with the query, all at once."""

MOST_WORDS = 48
"""Words that are left out one by one; in a longer text, pieces of it come first."""

_PIECE = 6  # words in a piece of a long text
_PIECES = 5  # pieces that are then looked at word by word

_WORD = re.compile(rf"[{UNSPACED}]{{1,2}}|(?:(?![{UNSPACED}])\w)+(?:['’](?:(?![{UNSPACED}])\w)+)*")


def word_shares(text: str, cosines: Cosines, matched: Sequence[str] = ()) -> tuple[float, tuple[WordShare, ...]]:
    """The similarity of a text, and what each word does for it, in order.

    Args:
        text: as it is stored.
        cosines: compares texts with the query.
        matched: words and phrases that were found literally.
    """
    spans = [match.span() for match in _WORD.finditer(text)]
    literal = merged([span for some in find_terms(text, matched).values() for span in some]) if matched else ()
    groups = [[span] for span in spans]
    if len(spans) > MOST_WORDS:
        groups = [spans[at : at + _PIECE] for at in range(0, len(spans), _PIECE)]
    whole, drops = _drops(text, [(group[0][0], group[-1][1]) for group in groups], cosines)
    if len(spans) > MOST_WORDS:
        finer = set(np.argsort(-np.asarray(drops), kind="stable")[:_PIECES].tolist())
        groups = [
            part for at, group in enumerate(groups) for part in ([[span] for span in group] if at in finer else [group])
        ]
        _, drops = _drops(text, [(group[0][0], group[-1][1]) for group in groups], cosines)
    shares = []
    for group, drop in zip(groups, drops, strict=True):
        start, end = group[0][0], group[-1][1]
        found = any(start < until and begin < end for begin, until in literal)
        shares.append(WordShare(text[start:end], start, end, drop, found))
    return whole, tuple(shares)


def _drops(text: str, spans: Sequence[Span], cosines: Cosines) -> tuple[float, list[float]]:
    """The similarity of the text, and of it without each span, taken off. What is left empty scores nothing."""
    without = [" ".join((text[:start] + " " + text[end:]).split()) for start, end in spans]
    there = [at for at, rest in enumerate(without) if re.search(r"\w", rest)]
    whole, *scores = cosines([text, *(without[at] for at in there)])
    drops = [float(whole)] * len(spans)
    for at, score in zip(there, scores, strict=True):
        drops[at] = float(whole) - float(score)
    return float(whole), drops
