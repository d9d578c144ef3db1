"""Ids of queries and items: one form for all of them, their form in a TREC file, and the order that breaks ties."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from indexer.errors import UsageError

Id = str | int

# What a reader that splits lines at white space would trip over, half characters (they stand for bytes of a
# path that are not UTF-8), and the percent sign itself, so that nothing is ambiguous.
_UNSAFE = re.compile("[\\s%\x00-\x1f\x7f\ufeff\ud800-\udfff]")
_QUOTED = re.compile("(?:%[0-9A-F]{2})+")


def normalise(id: object) -> str:
    """An id as it is kept: text. A whole number becomes its digits.

    Raises:
        UsageError: It is neither text nor a whole number, or it is empty.
    """
    if isinstance(id, str):
        if id:
            return id
        raise UsageError("an id is empty; give each query and each item a name or a number")
    if isinstance(id, (int, np.integer)) and not isinstance(id, bool):
        return str(int(id))
    raise UsageError(f"an id must be text or a whole number, not {id!r} ({type(id).__name__})")


def normalise_all(ids: Iterable[Id], what: str) -> tuple[str, ...]:
    """The ids of a table of queries or items, each of them once.

    Raises:
        UsageError: One of them is no id, or comes twice.
    """
    kept = tuple(id if type(id) is str and id else normalise(id) for id in ids)
    if len(set(kept)) < len(kept):
        seen: set[str] = set()
        twice = next(id for id in kept if id in seen or seen.add(id))  # type: ignore[func-returns-value]
        raise UsageError(f"{what} {twice!r} is listed twice; each id may come once")
    return kept


def table_of(ids: Iterable[Id]) -> tuple[tuple[str, ...], dict[Id, int]]:
    """Each id once, in the order of first mention, and the place of each form in which it was given: 1 and "1" are one.

    Raises:
        UsageError: One of them is no id.
    """
    written = dict.fromkeys(ids)
    places: dict[str, int] = {}
    codes = {id: places.setdefault(normalise(id), len(places)) for id in written}
    return tuple(places), codes


def token(id: str) -> str:
    """The id as one word of a TREC file: white space, control characters and "%" become %XX of their UTF-8 bytes."""
    if _UNSAFE.search(id) is None:
        return id
    return _UNSAFE.sub(lambda found: _quote(found.group()), id)


def from_token(word: str) -> str:
    """The id that `token` wrote as `word`. Sequences that `token` never writes are left as they are."""
    if "%" not in word:
        return word
    return _QUOTED.sub(lambda found: _unquote(found.group()), word)


def _quote(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))


def _unquote(quoted: str) -> str:
    try:
        text = bytes.fromhex(quoted.replace("%", "")).decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return quoted
    return text if "".join(map(_quote, text)) == quoted and all(map(_UNSAFE.match, text)) else quoted


def tie_places(items: Sequence[str]) -> NDArray[np.int64]:
    """Each item's place when ids are ordered as trec_eval orders them: (len(items),) int64, ascending.

    trec_eval compares the bytes of the ids (`strcmp`); the order of UTF-8 bytes is that of the characters.
    Of two items with one score, the one with the *higher* place comes first.
    """
    tokens = [token(item) for item in items]
    places = np.empty(len(items), np.int64)
    places[sorted(range(len(items)), key=tokens.__getitem__)] = np.arange(len(items))
    return places


def sort_keys(scores: NDArray[np.float32], places: NDArray[np.int64]) -> NDArray[np.int64]:
    """One integer for score and tie: of two items of a query, the one with the greater key comes first.

    The bits of a float32, with the negative ones turned round, order as the numbers do; they fill the upper
    half, the place of the id (see `tie_places`) the lower one.

    Args:
        scores: float32, any shape, no NaN.
        places: int64 in [0, 2**31), a shape that broadcasts against `scores`.
    """
    bits = (scores + np.float32(0)).view(np.int32)  # + 0 makes one zero of the two
    ordered = bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))
    keys = ordered.astype(np.int64)
    keys <<= 32
    keys |= places
    return keys


def as_float32(scores: NDArray[np.floating]) -> NDArray[np.float32]:
    """Scores as float32, in which trec_eval compares them too.

    Raises:
        UsageError: One of them is NaN, or too large for a float32.
    """
    with np.errstate(over="ignore"):
        kept = np.asarray(scores).astype(np.float32, copy=False)
    if not np.isfinite(kept).all():
        wrong = np.asarray(scores)[~np.isfinite(kept)].reshape(-1)[0]
        raise UsageError(f"a score is {wrong}; scores must be finite numbers within the range of a float32")
    return kept
