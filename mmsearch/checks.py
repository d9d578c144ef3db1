"""Checks of what a query asks for: each gives the value to keep, or says what is wrong with it."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from numbers import Integral
from typing import Any

from indexer.errors import UsageError
from indexer.globs import MAX_LENGTH
from indexer.near import Near
from indexer.types import KINDS, Kind
from mmsearch.terms import Term, is_empty, is_number


def is_terms(value: Any) -> tuple[Term, ...]:
    """Terms, of which at least one says what to find."""
    terms = (value,) if isinstance(value, Term) else tuple(value)
    if not all(isinstance(term, Term) for term in terms):
        raise UsageError(f"terms are made by Term or Query.of_text, Query.of_image, ...; got {value!r}")
    if not terms:
        raise is_empty()
    if all(term.weight < 0 for term in terms):
        raise UsageError(
            "the query only says what not to find; say what to find as well",
            ", for example: mmsearch query dog - puppy",
            hint="for example: dog - puppy",
        )
    return terms


def is_count(value: Any) -> int:
    """How many results: at least 1."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise UsageError(f"the number of results must be at least 1, got {value}")
    return int(value)


def is_kinds(value: Any) -> tuple[Kind, ...]:
    """Kinds of file, each once, in the order of the table."""
    wanted = _listed("kinds", value)
    for kind in wanted:
        if kind not in KINDS:
            raise UsageError(f"there is no kind {kind!r}; the kinds are {', '.join(KINDS)}")
    return tuple(kind for kind in KINDS if kind in wanted)


def is_places(value: Any) -> tuple[str, ...]:
    """Paths of files and folders."""
    places = _listed("within", value)
    for place in places:
        if not isinstance(place, str | os.PathLike) or not os.fspath(place) or "\0" in str(place):
            raise UsageError(f'a place to search in is a file or folder ("." for this one), got {place!r}')
    return tuple(map(os.fspath, places))


def _listed(name: str, value: Any) -> tuple[Any, ...]:
    if isinstance(value, str | bytes | os.PathLike):
        raise UsageError(
            f"kinds and within are lists, for example kinds=['image'], within=['media']; got {name}={value!r}"
        )
    return tuple(value)


def is_moment(value: Any) -> datetime:
    """A time to the second, with a zone of whole minutes or none."""
    if not isinstance(value, datetime):
        raise UsageError(f"after and before are datetimes, got {value!r}; mmsearch.limits.moment reads '2024-06'")
    moment: datetime = value
    offset = moment.utcoffset()
    if offset is not None and offset % timedelta(minutes=1):  # local time before there were time zones
        moment, offset = moment.astimezone(timezone.utc), timedelta(0)
    return moment.replace(microsecond=0, fold=0, tzinfo=None if offset is None else timezone(offset))


def is_duration(value: Any) -> float:
    """A number of seconds."""
    if not is_number(value) or not 0 <= value < math.inf:
        raise UsageError(f"a duration is a number of seconds from 0 up, got {value!r}")
    return float(value)


def is_near(value: Any) -> Near:
    """A point and a radius."""
    if not isinstance(value, Near):
        raise UsageError(f"near is a Near(latitude, longitude, radius_m), got {value!r}")
    return value


def is_pattern(value: Any) -> str:
    """A pattern for names, as `indexer.globs` reads it."""
    text = value if isinstance(value, str) else ""
    if not text.strip("/") or "\0" in text or text.startswith("/"):
        raise UsageError(
            "a name is a pattern such as *.mp4, or such as trips/**/*.mp4 for paths below the indexed folder; "
            f"got {value!r}",
            ". Which folder is said with --in",
            hint='which folder is said with --in in a line, and "within" in a request',
        )
    if len(text) > MAX_LENGTH:
        raise UsageError(f"a pattern for names has at most {MAX_LENGTH} characters, got {len(text)}")
    return text


def is_one_of(what: str, known: Sequence[str]) -> Callable[[Any], Any]:
    """A check for a name out of a table."""

    def check(value: Any) -> Any:
        if value not in known:
            raise UsageError(f"there is no {what} {value!r}; there are {', '.join(known)}")
        return value

    return check


def is_flag(value: Any) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise UsageError(f"expected True or False, got {value!r}")
    return value


def is_similarity(value: Any) -> float:
    """A cosine."""
    if not is_number(value) or not -1 <= value <= 1:
        raise UsageError(f"a similarity lies between -1 and 1, got {value!r}")
    return float(value)
