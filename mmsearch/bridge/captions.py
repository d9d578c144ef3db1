"""Captions that both text towers read, from which the map between their spaces is learned.

They are put together from topics in captions.txt: what can be seen and heard, what it does, and where. The towers'
own training captions are of these two kinds, so that the map is learned where pictures and sounds are described.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources

FOLDS = 5
"""Parts that the topics are divided into, so that what is learned from four is tried on captions of other topics."""

PER_TOPIC = 9
LONGEST = 20
"""Words of a caption: PE-Core's text tower reads 32 tokens."""

# Each is given another action and another place of its topic. {other} is another topic of the same fold.
_TEMPLATES = (
    "a photo of {what}",
    "the sound of {what} {does}",
    "{what} {does} {where}",
    "a recording of {what} {does} {where}",
    "{what} {where}",
    "{what} {does}",
    "{what} {does}, and {other}",
    "a video of {what} {does}",
    "{other} while there is {what} {does} {where}",
    "a close-up of {what}",
    "faintly heard {where}: {what} {does}",
    "{what}",
)


@dataclass(frozen=True, slots=True)
class Caption:
    """One caption, and the part of the topics that it is of: a number below `FOLDS`."""

    text: str
    fold: int


@dataclass(frozen=True, slots=True)
class _Topic:
    what: str
    does: tuple[str, ...]
    where: tuple[str, ...]


@cache
def captions() -> tuple[Caption, ...]:
    """All captions, the same in every run: about 4,000, none of them twice."""
    topics = _topics()
    made: dict[str, Caption] = {}
    for number, topic in enumerate(topics):
        # The partner lies a multiple of FOLDS away, so that no topic is on both sides of a division.
        partner = topics[(number + FOLDS * (7 + number % 11)) % (len(topics) // FOLDS * FOLDS)]
        other = f"{partner.what} {partner.does[number % len(partner.does)]}"
        mine: dict[str, None] = {}
        for turn in range(4 * len(_TEMPLATES)):
            text = _TEMPLATES[(turn + number) % len(_TEMPLATES)].format(
                what=topic.what,
                does=topic.does[turn % len(topic.does)],
                where=topic.where[(turn + number) % len(topic.where)],
                other=other,
            )
            if len(text.split()) <= LONGEST:
                mine.setdefault(text)
            if len(mine) == PER_TOPIC:
                break
        for text in mine:
            made.setdefault(text, Caption(text, number % FOLDS))
    return tuple(made.values())


@cache
def caption_source() -> str:
    """A digest of all captions, so that a bridge knows what it was made from."""
    return hashlib.sha256("\n".join(caption.text for caption in captions()).encode()).hexdigest()[:16]


@cache
def _topics() -> tuple[_Topic, ...]:
    lines = resources.files("mmsearch.bridge").joinpath("captions.txt").read_text(encoding="utf-8").splitlines()
    return tuple(_parsed(lines))


def _parsed(lines: list[str]) -> Iterator[_Topic]:
    where: tuple[str, ...] = ()
    for line in lines:
        if not line or line.startswith(("#", "[")):
            continue
        head, _, rest = line.partition(": ")
        parts = tuple(part.strip() for part in rest.split(";"))
        if head == "where":
            where = parts
        else:
            yield _Topic(head, parts, where)
