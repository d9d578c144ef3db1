"""The options of a line of text, read and written: fields of Query besides its terms, as the command line has them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from indexer.errors import UsageError
from indexer.names import KINDS
from mmsearch import limits

if TYPE_CHECKING:
    from mmsearch.query import Query

OPTION = re.compile(r"--[A-Za-z]")
"""How a word begins that is an option."""

ESCAPED = re.compile(r'\\(["\\])')
"""What stands in double quotes for a quotation mark or a backslash."""


@dataclass(frozen=True, slots=True)
class _Option:
    """How one field is written: its option, and between text and value. A flag has no reader, but its value."""

    name: str
    read: Callable[[str], Any] | None = None
    write: Callable[[Any], str] = str
    flag: bool = True


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise UsageError(f"the number of results must be a whole number of at least 1, got {text!r}") from error


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise UsageError(f"a similarity lies between -1 and 1, got {text!r}") from error


def names(text: str) -> tuple[str, ...]:
    """Names separated by commas: "image, video"."""
    return tuple(name.strip() for name in text.split(","))


_OPTIONS: dict[str, _Option] = {
    "k": _Option("--limit", _integer),
    "kinds": _Option("--kind", names, ",".join),
    "within": _Option("--in", lambda text: (text,)),
    "after": _Option("--after", limits.moment, limits.written_moment),
    "before": _Option("--before", limits.moment, limits.written_moment),
    "min_seconds": _Option("--min-duration", limits.seconds, limits.written_seconds),
    "max_seconds": _Option("--max-duration", limits.seconds, limits.written_seconds),
    "near": _Option("--near", limits.near, limits.written_near),
    "name": _Option("--name", str),
    "fusion": _Option("--fusion", str),
    "metric": _Option("--metric", str),
    "confident": _Option("--confident"),
    "moments": _Option("--moments"),
    "not_below": _Option("--not-below", _number, limits.number),
    "words": _Option("--no-words", flag=False),
    "exact": _Option("--exact"),
}
_FIELD_OF = {option.name: name for name, option in _OPTIONS.items()}
_MAY_REPEAT = ("kinds", "within")
_WITH_BLANKS = ("within", "after", "before", "min_seconds", "max_seconds", "near", "name")  # as their values may be
_ALIKE = 0.7  # from which share of letters on an option is taken for a misspelled one


def read_options(words: Sequence[tuple[str, bool]]) -> dict[str, Any]:
    """Fields of `Query` from the words of a line from its first option on, each with whether it stood in quotes.

    Raises:
        UsageError: there is no such option, its value makes no sense, or something stands between options.
    """
    how: dict[str, Any] = {}
    rest = iter(words)
    last: tuple[str, ...] = ()  # the option before, as it was written
    for written, is_quoted in rest:
        name, equals, given = written.partition("=")
        if is_quoted or not OPTION.match(written):
            raise _behind(written, last)
        field = _FIELD_OF.get(name)
        if field is None:
            raise _no_option(name)
        option = _OPTIONS[field]
        if option.read is None:
            if equals:
                raise UsageError(f"{name} takes no value, got {given!r}")
            how[field] = option.flag
            last = (name,)
            continue
        value, value_quoted = (given, False) if equals else next(rest, ("", False))
        if not value or (not equals and not value_quoted and OPTION.match(value)):
            raise UsageError(f"{name} needs a value")
        last = (written,) if equals else (name, value)
        if value_quoted:
            value = ESCAPED.sub(r"\1", value[1:-1])
        found = option.read(value)
        if field in how and field not in _MAY_REPEAT:
            raise UsageError(f"{name} is given twice")
        how[field] = (*how.get(field, ()), *found) if field in _MAY_REPEAT else found
    return how


def _behind(written: str, last: tuple[str, ...]) -> UsageError:
    """The error for a word that stands behind an option and is neither one nor the value of one.

    Args:
        written: the word.
        last: the option, and its value where that is a word of its own.
    """
    option = " ".join(last)
    if last[0] == "--kind" and written.rstrip(",") in KINDS:
        return UsageError(f"kinds stand with commas and without blanks: {option.rstrip(',')},{written.rstrip(',')}")
    meant = f"what to look for comes before the options: {written} {option}"
    if last[1:] and _FIELD_OF[last[0]] in _WITH_BLANKS and not (last[1] + written).count('"'):
        meant += f'; a value with a blank in it stands in double quotes: {last[0]} "{last[1]} {written}"'
    return UsageError(f"{written} stands behind {option}, and is no option; {meant}")


def _no_option(name: str) -> UsageError:
    """The error for what looks like an option and is none. People write names of fields, too."""
    plain = {option.name[2:]: option.name for option in _OPTIONS.values()}
    by_field = _OPTIONS.get(name[2:].lower().replace("-", "_"))
    close = [by_field.name[2:]] if by_field else get_close_matches(name[2:].lower(), plain, 1, _ALIKE)
    meant = f"; {plain[close[0]]} may be meant" if close else ""
    return UsageError(
        f"{name} is no option of a query{meant}; there are {', '.join(_FIELD_OF)}. To look for the words, put them in "
        "double quotes"
    )


def write_options(query: Query) -> Iterator[str]:
    """Everything in a query but its terms, an option at a time; nothing where all is as by default."""
    for field, value in query.how.items():
        option = _OPTIONS[field]
        for one in value if field == "within" else (value,):
            if option.read is None:
                yield option.name
            else:
                text = option.write(one)
                safe = re.fullmatch(r'[^\s"]+', text) and not OPTION.match(text)
                yield f"{option.name} {text if safe else quoted(text)}"


def quoted(text: str) -> str:
    """A text in double quotes."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
