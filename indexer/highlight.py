"""Where in a text the words of a query are: for marking them, and to say which of them it holds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from unicodedata import ucd_3_2_0 as unicode_3_2

from indexer.tokens import INNER_EDGE, UNSPACED, kept_characters

Span = tuple[int, int]
"""Characters of a text: from, and up to but without."""

_FREE = UNSPACED + "\u1100-\u11ff"  # decomposed Hangul too
_SAME_LETTER = "(?![\u3099\u309a\u1160-\u11ff])"  # a decomposed letter goes on here: it is another letter


class _Letters(dict[str, str]):
    """Each character in lower case, decomposed, without accents; a space for what separates words."""

    def __missing__(self, character: str) -> str:
        self[character] = plain = kept_characters(unicode_3_2.normalize("NFKD", character)).lower()
        return plain


_LETTERS = _Letters()
_ASCII = {code: " " for code in range(128) if not chr(code).isalnum()}


def find_terms(text: str, terms: Sequence[str], *, name: bool = False, parts: bool = False) -> dict[str, list[Span]]:
    """The places of each term in a text; terms that are not in it are left out.

    Args:
        text: as it is written.
        terms: words or phrases, as they are written; case, accents and what lies between words do not matter.
        name: the text is the name of a file, in which `holiday2019` holds `holiday`.
        parts: whether a term may lie inside a word.
    """
    variants = [_plain(text, name=False)]
    if name:
        variants.append(_plain(text, name=True))
    found = {}
    for term in terms:
        spans: set[Span] = set()
        for number, (plain, places) in enumerate(variants):
            first, pattern = _pattern(term, name=number == 1, parts=parts)
            if pattern is not None and first in plain:  # most are not, and a substring is found quicker
                spans.update((places[match.start()], places[match.end() - 1] + 1) for match in pattern.finditer(plain))
        if spans:
            found[term] = sorted(spans)
    return found


def merged(spans: Sequence[Span]) -> tuple[Span, ...]:
    """The same characters as spans that neither overlap nor touch, from the first on."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return tuple(joined)


def _plain(text: str, *, name: bool) -> tuple[str, Sequence[int]]:
    """A text as plain letters, and for each of these the place in the text that it came from."""
    if not name and text.isascii():
        return text.lower().translate(_ASCII), range(len(text))
    edges = {edge.start() for edge in INNER_EDGE.finditer(text)} if name else ()
    letters: list[str] = []
    places: list[int] = []
    for place, character in enumerate(text):
        plain = _LETTERS[character]
        if place in edges:
            plain = " " + plain
        letters.append(plain)
        places += [place] * len(plain)
    return "".join(letters), places


@lru_cache(maxsize=256)  # a query's terms are looked for in many texts
def _pattern(term: str, *, name: bool, parts: bool) -> tuple[str, re.Pattern[str] | None]:
    """The first word of a term, and how to find the whole of it."""
    words = _plain(term, name=name)[0].split()
    if not words:
        return "", None
    first, *others = map(re.escape, words)
    # What may stand before the first word is asked after it: a pattern that begins with letters is found many times
    # as quickly.
    before = "" if parts or re.match(f"[{_FREE}]", words[0]) else f"(?<![^ {_FREE}]{first})"
    after = "" if parts or re.search(f"[{_FREE}]$", words[-1]) else f"(?![^ {_FREE}])"
    return words[0], re.compile(" +".join([first + before, *others]) + after + _SAME_LETTER)
