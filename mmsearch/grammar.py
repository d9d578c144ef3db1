"""The grammar of queries: lines of text and command-line arguments, read and written. docs/query.md tells it to people.

    query    = [sign] term { sign term } { option }
    sign     = "+" | "-"                           alone, with white space on both sides
    term     = [number ":"] [prefix ":"] body      the number is the weight
    prefix   = "text" | "image" | "audio" | "video" | "document" | "file"
    body     = words, or a path, or either of them whole in double quotes

On the command line each argument is a term or a sign, so that nothing in it needs protection from signs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from indexer.errors import UsageError
from indexer.media.formats import SUFFIXES
from mmsearch import limits
from mmsearch.line_options import ESCAPED, OPTION, quoted, read_options, write_options
from mmsearch.names import TERM_KINDS
from mmsearch.query import Query
from mmsearch.sources import is_file
from mmsearch.terms import Term

PREFIXES = (*TERM_KINDS, "file")

_WEIGHT = re.compile(r"((?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?):(?=[^\s\d])", re.ASCII)
_PREFIX = re.compile(rf"({'|'.join(TERM_KINDS)}|file(?!://)):(?=\S)")
_CLOSING = re.compile(r'(?:[^"\\]|\\["\\]|\\|"(?!\s|\Z))*"', re.DOTALL)
_WORD = re.compile(r"\S+")

StandardInput = Callable[[str | None], Path]
"""Reads standard input into a file; what it is wanted for (a prefix, or None) is given."""


class _Piece(NamedTuple):
    """One term as it is written. `quoted`: the body stood whole in double quotes, which are gone."""

    sign: int
    weight: float
    prefix: str | None
    body: str
    quoted: bool


class _Word(NamedTuple):
    start: int
    end: int
    is_quoted: bool


# --- reading ---


def parse(text: str, *, base: Path | None = None) -> Query:
    """Read a query from a line of text; see the module's description, and `Query.parse`."""
    pieces, options = _pieces(text)
    return Query(tuple(_term(piece, base) for piece in pieces), **read_options(options))


def parse_options(text: str) -> tuple[str, dict[str, Any]]:
    """The part of a line before its options, and these as fields of `Query`.

    Raises:
        UsageError: there is no such option, or its value makes no sense.
    """
    words = list(_words(text))
    for number, word in enumerate(words):
        if not word.is_quoted and OPTION.match(text[word.start : word.end]):
            options = [(text[one.start : one.end], one.is_quoted) for one in words[number:]]
            return text[: word.start].rstrip(), read_options(options)
    return text, {}


def parse_words(text: str) -> Query:
    """The same from somebody who may not name files of this computer: what looks like a path is words.

    A term that stands whole in double quotes is a phrase, unless they hold something off: a sign, an option, a path.

    Raises:
        UsageError: it cannot be read, or has a prefix that says that a file follows.
    """
    pieces, options = _pieces(text)
    for piece in pieces:
        if piece.prefix not in (None, "text"):
            raise UsageError(
                f"files of this computer cannot be named here ({piece.prefix}:...); to look for the words, put them "
                "in double quotes"
            )
    terms = (Term("text", _phrase_or_words(piece), piece.sign * piece.weight) for piece in pieces)
    return Query(tuple(terms), **read_options(options))


def _phrase_or_words(piece: _Piece) -> str:
    """What a term says. Quotes that hold nothing off, so that `format_query` would not write them, make a phrase."""
    if not piece.quoted or piece.prefix is not None or '"' in piece.body:
        return piece.body
    words = Term("text", piece.body)
    return f'"{piece.body}"' if _reads_back(words, piece.body, piece.body) else piece.body


def parse_arguments(
    arguments: Sequence[str], *, base: Path | None = None, standard_input: StandardInput | None = None
) -> tuple[Term, ...]:
    """Read terms from command-line arguments, each of which is a term or a sign.

    Beside a file, a missing sign is a plus; between two texts it is an error, because words that
    were meant as one text need quotes.

    Raises:
        UsageError: signs or weights are amiss, or a file is not there.
    """
    terms: list[Term] = []
    sign: str | None = None
    for argument in arguments:
        if argument in ("+", "-"):
            if sign is not None:
                raise UsageError(f'"{sign}" is followed by "{argument}"; a term goes between them')
            sign = argument
            continue
        piece = _piece(argument, -1 if sign == "-" else 1)
        term = _term(piece, base, standard_input)
        if terms and sign is None and terms[-1].kind == term.kind == "text":
            raise UsageError(
                f'put quotes round words that belong together ("{terms[-1].value} {term.value}"), and + or - between '
                f'terms ("{terms[-1].value}" + "{term.value}")'
            )
        terms.append(term)
        sign = None
    if sign is not None:
        raise UsageError(f'nothing follows the "{sign}" at the end; to look for the sign itself, write text:{sign}')
    return tuple(terms)


def _pieces(text: str) -> tuple[list[_Piece], list[tuple[str, bool]]]:
    """A line of text as terms, and the words of its options, each with whether it stood in quotes."""
    pieces: list[_Piece] = []
    options: list[tuple[str, bool]] = []
    sign: str | None = None
    words: list[_Word] = []

    def end_term() -> None:
        nonlocal sign
        if words:
            raw = text[words[0].start : words[-1].end]
            pieces.append(_piece(raw, -1 if sign == "-" else 1, quoted=words[0].is_quoted and len(words) == 1))
            words.clear()
            sign = None

    for word in _words(text):
        written = text[word.start : word.end]
        if options or (not word.is_quoted and OPTION.match(written)):
            options.append((written, word.is_quoted))
        elif not word.is_quoted and written in ("+", "-"):
            end_term()
            if sign is not None:
                raise UsageError(f'"{sign}" is followed by "{written}" in {text!r}; a term goes between them')
            sign = written
        else:
            words.append(word)
    end_term()
    if sign is not None:
        whole = f"{pieces[-1].body} {sign}" if pieces else sign
        raise UsageError(
            f'nothing follows the "{sign}" in {text!r}; to look for the sign itself, put it and the words beside it in '
            f"double quotes: {quoted(whole)}"
        )
    return pieces, options


def _words(text: str) -> Iterator[_Word]:
    """Words between white space. Double quotes round a stretch, at its beginning or behind a prefix, make it one."""
    at, begins_term, closes = 0, True, True
    while found := _WORD.search(text, at):
        start = found.start()
        opening = _head(text, start)[2] if begins_term else start
        closing = _CLOSING.match(text, opening + 1) if closes and text[opening : opening + 1] == '"' else None
        if closing:
            at = closing.end()
            yield _Word(start, at, True)
            begins_term = False
            continue
        if text[opening : opening + 1] == '"':
            closes = False  # no quotation mark from here on closes anything, so none is looked for again
        at = found.end()
        yield _Word(start, at, False)
        begins_term = found.group() in ("+", "-")


def _head(text: str, at: int) -> tuple[float, str | None, int]:
    """The weight and the prefix of the term that begins at `at`, and where its body begins."""
    weight = _WEIGHT.match(text, at)
    prefix = _PREFIX.match(text, weight.end() if weight else at)
    end = prefix.end() if prefix else weight.end() if weight else at
    return float(weight.group(1)) if weight else 1.0, prefix.group(1) if prefix else None, end


def _piece(written: str, sign: int, *, quoted: bool = False) -> _Piece:
    written = written.strip()
    weight, prefix, at = _head(written, 0)
    body = ESCAPED.sub(r"\1", written[at + 1 : -1]) if quoted else written[at:]
    return _Piece(sign, weight, prefix, body, quoted)


def _term(piece: _Piece, base: Path | None, standard_input: StandardInput | None = None) -> Term:
    weight = piece.sign * piece.weight
    if piece.prefix == "text" or (piece.prefix is None and (piece.quoted or not is_file(piece.body, base))):
        return Term("text", piece.body, weight)
    kind: Any = None if piece.prefix in (None, "file") else piece.prefix
    path = standard_input(kind) if piece.body == "-" and standard_input else piece.body
    return Term.of_file(path, kind, weight=weight, base=base)


# --- writing ---


def format_query(query: Query) -> str:
    """A query as a line of text that `parse` reads back."""
    return " ".join((format_terms(query.terms), *write_options(query)))


def format_options(query: Query) -> str:
    """Everything in a query but its terms, as the options of a line of text; "" where all is as by default."""
    return " ".join(write_options(query))


def format_terms(terms: Sequence[Term]) -> str:
    """Terms as a line of text. What is in memory is shown by its label, which does not read back."""
    parts: list[str] = []
    for term in terms:
        sign = "-" if term.weight < 0 else "+"
        parts += [sign] if parts or sign == "-" else []
        head, body = _head_of(term), _body_of(term)
        bare = f"{head}{body}"
        parts.append(bare if _reads_back(term, bare, body) else f"{head}{quoted(body)}")
    return " ".join(parts)


def format_arguments(terms: Sequence[Term]) -> list[str]:
    """Terms as command-line arguments, which `parse_arguments` reads back. A shell needs them quoted (`shlex.join`)."""
    arguments: list[str] = []
    for term in terms:
        sign = "-" if term.weight < 0 else "+"
        arguments += [sign] if arguments or sign == "-" else []
        head, body = _head_of(term), _body_of(term)
        written = f"{head}{body}"
        if term.kind == "text" and (written in ("+", "-") or _may_be_file(body) or _piece(written, 1)[3] != body):
            written = f"{head}text:{body}"
        arguments.append(written)
    return arguments


def _head_of(term: Term) -> str:
    weight = abs(term.weight)
    return ("" if weight == 1 else f"{limits.number(weight)}:") + ("" if term.kind == "text" else f"{term.kind}:")


def _body_of(term: Term) -> str:
    return f"<{term.value}>" if term.samples else term.value


def _reads_back(term: Term, written: str, body: str) -> bool:
    """Whether a term may stand without quotes: whatever follows it, it is still read as itself, and not as a file."""
    if term.kind == "text" and _may_be_file(body):
        return False
    try:
        pieces, options = _pieces(f'{written} + "x" "y"')
    except UsageError:
        return False
    if options or len(pieces) != 2:
        return False
    prefix = None if term.kind == "text" else term.kind
    return pieces[0] == _Piece(1, abs(term.weight), prefix, body, False)


def _may_be_file(text: str) -> bool:
    """Whether a text could be taken for a file, on this computer or another one."""
    return is_file(text) or text.lower().endswith(tuple(SUFFIXES))
