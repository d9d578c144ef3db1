"""What a person wrote as words and phrases to look for."""

from __future__ import annotations

import re
from dataclasses import dataclass

from indexer import tokens

_MOST_TERMS = 64

_PIECE = re.compile('"([^"]*)"|“([^“”]*)”|„([^„“”]*)[“”]|«([^«»]*)»|「([^「」]*)」|([^\\s"“”„«»「」]+)')


@dataclass(frozen=True, slots=True)
class Term:
    """A word of a query, or several in a row. `quoted`: these words were put in quotation marks."""

    text: str
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class WordQuery:
    """What a person wrote, as terms, each once. Any text is one; one without a letter or digit has no terms."""

    text: str
    terms: tuple[Term, ...]

    @property
    def phrases(self) -> tuple[str, ...]:
        """What was put in quotation marks, without them."""
        return tuple(term.text for term in self.terms if term.quoted)

    @property
    def name(self) -> str:
        """The whole query as the name of a file: without quotation marks at its ends."""
        return self.text.strip().strip('"“”„«»「」').strip()


def parse_words(query: str) -> WordQuery:
    """Read a query: what is in quotation marks is a phrase, the rest are words. No text is wrong.

    A quotation mark without its other half means nothing. Words of a script without spaces are cut where
    `tokens.split_unspaced` cuts. Terms after the 64th are left out.
    """
    terms: dict[str, Term] = {}
    for piece in _PIECE.finditer(query):
        plain = piece[6]
        for words in [plain] if plain is None else tokens.split_unspaced(plain):
            term = Term(words if words is not None else _quoted(piece), plain is None)
            expression = (tokens.phrase(term.text) or "").lower()
            if expression and (expression not in terms or term.quoted):
                terms[expression] = term
        if len(terms) >= _MOST_TERMS:
            break
    return WordQuery(query, tuple(terms.values())[:_MOST_TERMS])


def _quoted(piece: re.Match[str]) -> str:
    return next(group for group in piece.groups() if group is not None)
