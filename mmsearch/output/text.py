"""Words for a person's eyes: safe for a terminal, short, and the same wherever results are shown."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from indexer.advice import NOT_THERE

if TYPE_CHECKING:
    from mmsearch.rank import Hit, Moment

NAME = "name"
"""What `Hit.matched` holds when the file's name was found."""

CLOSE = 0.1
"""Further moments are shown when they score nearly as well as the best; JSON has them all."""

_WORTH_TELLING = 0.01
"""The least confidence of a further moment that is shown."""

JOINERS = "\u200c\u200d"
"""Invisible, harmless, and part of Persian words and of many emoji."""

Spans = tuple[tuple[int, int], ...]
"""Stretches of a string, as (begin, end) indices, in order and apart."""


def clean(text: str) -> str:
    """A text without what could drive a terminal or break a line: such characters become escapes."""
    whole = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() or c in JOINERS else c.encode("unicode_escape").decode() for c in whole)


def path(value: str) -> str:
    """A path for a person's eyes: relative to where they are when that is shorter, safe for a terminal."""
    try:
        here = os.getcwd().rstrip(os.sep) + os.sep
    except FileNotFoundError:  # where they are was deleted
        return clean(value)
    return clean(value[len(here) :] if value.startswith(here) else value)


def elided(shown: str, width: int, measure: Callable[[str], int] = len) -> str:
    """A path of at most `width` columns, folders left out in the middle: "media/…/cup.jpg".

    The file's name is always whole, so that what comes back may be wider than asked.
    `measure` says how many columns a string takes.
    """
    if measure(shown) <= width:
        return shown
    folders, _, name = shown.rpartition(os.sep)
    parts = folders.split(os.sep) if folders else []
    best = f"…{os.sep}{name}" if parts else name
    for kept in range(1, len(parts)):
        # The nearest folder says most about a file, then the first.
        head, tail = parts[: kept // 2], parts[len(parts) - (kept + 1) // 2 :]
        shorter = os.sep.join([*head, "…", *tail, name])
        if measure(shorter) > width:
            break
        best = shorter
    return best


def clock(seconds: float) -> str:
    """A time in a file: 0:07, 12:03, 1:02:03."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def times(start: float | None, end: float | None) -> str:
    """A stretch of time, "0:07-0:12"; one time where both ends read the same, "" where there are none."""
    if start is None or end is None:
        return ""
    first, last = clock(start), clock(end)
    return first if first == last else f"{first}-{last}"


def span(moment: Hit | Moment) -> str:
    """A moment's `times`."""
    return times(moment.start_seconds, moment.end_seconds)


def lasting(seconds: float) -> str:
    """How long something is: "6 s", "1:30" from a minute on."""
    return f"{seconds:.0f} s" if round(seconds) < 60 else clock(round(seconds))


def took(seconds: float) -> str:
    """How long something took: "14.1 s"; never "0.0 s"."""
    return f"{seconds:.1f} s" if seconds >= 0.05 else "less than 0.1 s"


def cosine(score: float | None) -> str:
    """A cosine similarity as "0.412"; "-" for None."""
    return "-" if score is None else f"{score:.3f}"


def percent(confidence: float | None) -> str:
    """A confidence in [0, 1] as "87%"; never "100%" or "0%", which nobody can know; "" for None."""
    if confidence is None:
        return ""
    shown = f"{100 * confidence:.0f}%"
    return {"0%": "<1%", "100%": ">99%"}.get(shown, shown)


def whole_percents(shares: Sequence[float]) -> list[int]:
    """Shares in [-1, 1] as whole percents whose sizes add up to what the sizes of all shares do, by largest remainders.

    Each rounded by itself, three thirds would make 99, and two halves of a per cent 101.
    """
    sizes = [100 * abs(share) for share in shares]
    found = [int(size) for size in sizes]
    left = round(sum(sizes)) - sum(found)
    order = sorted(range(len(sizes)), key=lambda at: found[at] - sizes[at])
    for at in order[:left]:
        found[at] += 1
    return [-size if share < 0 else size for size, share in zip(found, shares, strict=True)]


def gone(hit: Hit) -> str:
    """What stands behind the name of a file that is not on disk now."""
    return f"  ({NOT_THERE})" if hit.is_gone else ""


def first_few(names: Sequence[str], most: int = 3) -> str:
    """Names with commas, and how many more there are: "a, b, c and 4 more"."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")


def many(count: int, one: str, more: str | None = None) -> str:
    """A number and its noun: "1 file", "3 files"."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def close_moments(hit: Hit) -> list[str]:
    """Further moments nearly as good as the best: "0:12-0:15 (0.540)", or "(61%)" where there is a confidence.

    Those that nearly anything would match as well say nothing, and are left out.
    """
    close = (m for m in hit.moments if span(m) and m.score > (hit.score or 0.0) - CLOSE)
    told = (m for m in close if m.confidence is None or m.confidence >= _WORTH_TELLING)
    return [f"{span(m)} ({percent(m.confidence) or cosine(m.score)})" for m in told]


def snippet(text: str, limit: int = 100, matched: Sequence[str] = ()) -> tuple[str, Spans]:
    """A piece of a text on one line, in quotes, of at most `limit` characters between them.

    It is the beginning, or the stretch around the first word of `matched`. The spans say where such words are
    in what is returned.
    """
    line = clean(" ".join(text.split()))
    spans = found_words(line, matched)
    if len(line) > limit:
        begin, end = 0, limit - 1
        if spans and spans[0][1] > end:
            begin = max(0, spans[0][0] - limit // 3)
            begin = line.find(" ", begin, spans[0][0]) + 1 or begin  # not in the middle of a word
            end = begin + limit - 2
        tail = "…" if end < len(line) else ""
        line = ("…" if begin else "") + (line[begin:end].rstrip() if tail else line[begin:]) + tail
        spans = found_words(line, matched)
    return f'"{line}"', tuple((begin + 1, end + 1) for begin, end in spans)


def found_words(text: str, words: Sequence[str]) -> Spans:
    """Where words and phrases stand in a text, without regard to case, accents and the kind of blank.

    A word is found as a whole where it can be, else as a part: scripts without blanks have no whole words.
    """
    folded, places = _folded(text)
    covered: set[int] = set()
    for word in words:
        needle = r"\s+".join(map(re.escape, _folded(word)[0].split()))
        if not needle or word == NAME:
            continue
        for pattern in (rf"(?<!\w){needle}(?!\w)", needle):
            found = [match.span() for match in re.finditer(pattern, folded)]
            if found:
                for begin, end in found:  # up to the next letter: with the accents that were left out
                    covered.update(range(places[begin], places[end]))
                break
    spans: list[tuple[int, int]] = []
    for place in sorted(covered):
        if spans and spans[-1][1] == place:
            spans[-1] = (spans[-1][0], place + 1)
        else:
            spans.append((place, place + 1))
    return tuple(spans)


def _folded(text: str) -> tuple[str, list[int]]:
    """A text in one case and without accents; from which index each of its characters comes, and the text's length."""
    characters: list[str] = []
    places: list[int] = []
    for place, character in enumerate(text):
        for part in unicodedata.normalize("NFKD", character.casefold()):
            if not unicodedata.combining(part):
                characters.append(part)
                places.append(place)
    return "".join(characters), [*places, len(text)]
