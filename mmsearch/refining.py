"""What a person says of results to get better ones, as changes of the query.

    more like 3, less like the second     hits by their place: more of these, less of those
    not 2                                 less like it, and leave it out
    + at night      - people              another term, or a negative one
    only videos     only from 2023        filters: a kind of file, a year
    only at night                         another term; any other words are one too
    new: a dog in the park                begin again
    undo                                  as before the last turn

Several changes go on one line with commas between them, and the options of a query at its end: --moments, --in trips.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from indexer.errors import UsageError
from indexer.names import Kind
from mmsearch.grammar import parse_options

Does = Literal["like", "unlike", "add", "less", "kind", "year", "how", "new", "undo"]

LAST = 0
"""A place that means the last of the results."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change.

    `places`: of hits, from 1, or `LAST`; `hide`: leave them out. `value`: words, a kind or a year. `how`: fields of
    `Query` that options name.
    """

    does: Does
    places: tuple[int, ...] = ()
    value: str = ""
    hide: bool = False
    how: Mapping[str, Any] = field(default_factory=dict)


_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_PLACE = rf"(?:the\s+)?(?:#?\d+(?:st|nd|rd|th)?|{'|'.join(_ORDINALS)}|last)(?:\s+(?:one|hit|result|picture|photo))?"
_PLACES = rf"(?P<places>{_PLACE}(?:\s*(?:,|&|and)\s*{_PLACE})*)"
_ANY = r"(?P<value>.+)"

_KINDS: Mapping[str, Kind] = {
    **dict.fromkeys(("picture", "photo", "photograph", "image", "drawing"), "image"),
    **dict.fromkeys(("video", "clip", "film", "movie"), "video"),
    **dict.fromkeys(("sound", "audio", "recording", "audio file"), "audio"),
    **dict.fromkeys(("text", "document"), "text"),
}

_RULES: tuple[tuple[str, Callable[[re.Match[str]], Change]], ...] = (
    (r"(?:undo|back)", lambda found: Change("undo")),
    (rf"(?:new|search|find)\s*:\s*{_ANY}", lambda found: Change("new", value=found["value"])),
    (
        rf"(?:(?:more|something)\s+)?(?:like|as|of|similar\s+to)\s+{_PLACES}",
        lambda found: Change("like", _places(found["places"])),
    ),
    (
        rf"(?:less\s+like|unlike|not\s+like)\s+{_PLACES}",
        lambda found: Change("unlike", _places(found["places"])),
    ),
    (
        rf"(?:not|without|no|except)\s+{_PLACES}",
        lambda found: Change("unlike", _places(found["places"]), hide=True),
    ),
    (
        rf"only\s+(?:the\s+)?(?P<value>{'|'.join(sorted(_KINDS, key=len, reverse=True))})s?",
        lambda found: Change("kind", value=_KINDS[found["value"].casefold()]),
    ),
    (r"only\s+(?:from|in|of)\s+(?P<value>(?:19|20)\d\d)", lambda found: Change("year", value=found["value"])),
    (rf"(?:-\s*|less\s+|without\s+|no\s+|not\s+|except\s+){_ANY}", lambda found: Change("less", value=found["value"])),
    (rf"(?:\+\s*|only\s+|and\s+|also\s+|with\s+|more\s+)?{_ANY}", lambda found: Change("add", value=found["value"])),
)

_NEXT = re.compile(
    r"\s*[;,]\s*(?=(?:more|less|like|unlike|not|no|only|without|except|and|also|with|new\s*:|undo|[-+])\b|[-+]\s*\S)",
    re.IGNORECASE,
)


def read_changes(text: str) -> tuple[Change, ...]:
    """What a line asks to be changed.

    Raises:
        UsageError: it says nothing, or has an option that a query has not.
    """
    line = " ".join(text.split())
    if not line:
        raise UsageError('say what to change, for example: "more like 3", "not the second", "only at night"')
    if re.fullmatch(_RULES[1][0], line, re.IGNORECASE):
        return (_change(line),)  # a new query may hold commas and options of its own
    line, how = parse_options(line)
    changes = tuple(_change(part) for part in _NEXT.split(line) if part.strip())
    changes += (Change("how", how=how),) * bool(how)
    if not changes:
        raise UsageError(f"{text!r} asks for no change that can be made")
    return changes


_HALF = re.compile(
    r"(?:not|no|without|except|less|only|more|like|unlike|and|also|with|undo|back|(?:more|less|not)\s+like"
    r"|only\s+(?:from|in|of)(?:\s+\d+)?|(?:new|search|find)\s*:|[-+])",
    re.IGNORECASE,
)
"""A change that was begun, and says no more."""


def _change(part: str) -> Change:
    if _HALF.fullmatch(part.strip()) and not re.fullmatch(_RULES[0][0], part.strip(), re.IGNORECASE):
        year = re.fullmatch(r"only\s+(?:from|in|of)\s+(?:19|20)\d\d", part.strip(), re.IGNORECASE)
        if year is None:
            raise UsageError(f"{part!r} does not say what; try: more like 3, not 2, + words, - words, only from 2023")
    for pattern, made in _RULES:
        found = re.fullmatch(pattern, part.strip(), re.IGNORECASE)
        if found is not None:
            return made(found)
    raise UsageError(f"{part!r} is not understood; try: more like 3, not 2, + words, - words, only videos")


def _places(text: str) -> tuple[int, ...]:
    """The places that some words name, each once, in order."""
    found = []
    for word in re.findall(rf"\d+|{'|'.join(_ORDINALS)}|last", text.casefold()):
        if word.isdigit():
            if not int(word):
                raise UsageError("results are counted from 1")
            found.append(int(word))
        else:
            found.append(LAST if word == "last" else _ORDINALS.index(word) + 1)
    return tuple(dict.fromkeys(found))
