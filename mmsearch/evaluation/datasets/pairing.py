"""From pairs (this caption, that picture) to evaluation sets in any direction that the pairs allow."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from indexer.errors import UsageError
from indexer.names import Channel
from mmsearch.evaluation.cases import EvaluationQuery, EvaluationSet, EvaluationTerm, GalleryItem, Skipped, Span
from mmsearch.evaluation.datasets.folder import Folder, kind_of
from mmsearch.evaluation.datasets.reading import squeezed

PieceKind = Literal["text", "image", "audio", "video"]

LETTERS: Mapping[str, PieceKind] = MappingProxyType({"t": "text", "i": "image", "a": "audio", "v": "video"})
"""A direction such as "t2i" is made of these: asked with a text, found are images."""

_DIRECTION = re.compile(rf"([{''.join(LETTERS)}])2([{''.join(LETTERS)}])")

_SEEN: tuple[Channel, ...] = ("visual",)
_HEARD: tuple[Channel, ...] = ("sound", "speech")


def check_direction(direction: str) -> str:
    """A direction as it is written, such as "t2i".

    Raises:
        UsageError: it is none.
    """
    if not _DIRECTION.fullmatch(direction):
        raise UsageError(
            f"{direction!r} is no direction; one is written t2i for text to image, with the letters "
            + ", ".join(f"{letter} ({kind})" for letter, kind in LETTERS.items())
        )
    return direction


@dataclass(frozen=True, slots=True)
class Piece:
    """One side of a pair: words, or a file by its absolute path. `id` is short and the same on every machine."""

    kind: PieceKind
    id: str
    value: str


Key = tuple[PieceKind, str]


@dataclass(slots=True)
class Pairing:
    """Pieces and which of them belong together, as a loader collects them. Order is the data set's own."""

    split: str = ""
    pieces: dict[Key, Piece] = field(default_factory=dict)
    links: dict[Key, dict[Key, int]] = field(default_factory=lambda: defaultdict(dict))
    moments: dict[tuple[Key, Key], list[Span]] = field(default_factory=lambda: defaultdict(list))
    skipped: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)

    def add(self, kind: PieceKind, id: str, value: str) -> Key:
        """Add a piece, unless it is there already; what to `link` it by."""
        self.pieces.setdefault((kind, id), Piece(kind, id, value))
        return kind, id

    def link(self, one: Key, other: Key, grade: int = 1, moments: Iterable[Span] = ()) -> None:
        """Say that two pieces belong together: either finds the other."""
        self.links[one][other] = self.links[other][one] = grade
        spans = list(moments)
        if spans:
            self.moments[one, other] += spans

    def media(self, folder: Folder, kind: PieceKind, path: str | None, name: str) -> Key | None:
        """Add a file as a piece; when it was not found, report `name` as missing, once, and give None."""
        if path is not None:
            return self.add(kind, folder.relative(path), path)
        if name not in self.missing:
            self.missing.add(name)
            self.skip(name, "the file is missing")
        return None

    def caption(self, media: Key, id: str, text: str, moments: Iterable[Span] = ()) -> None:
        """Add a text that describes one file; one that is empty, or has an id that was there, is reported."""
        text = squeezed(text)
        if not text or ("text", id) in self.pieces:
            self.skip(id, "another text has this id" if text else "the text is empty")
            return
        self.link(self.add("text", id, text), media, moments=moments)

    def label(self, media: Key, name: str, moments: Iterable[Span] = ()) -> None:
        """Add a text that describes many files, such as the name of a class."""
        self.link(self.add("text", f"label:{name}", squeezed(name)), media, moments=moments)

    def skip(self, what: str, reason: str) -> None:
        """Report something that the data set names and that is not evaluated."""
        self.skipped.append(Skipped(what, reason))

    def directions(self) -> frozenset[str]:
        """Every direction for which there are pairs."""
        letter = {kind: letter for letter, kind in LETTERS.items()}
        return frozenset(
            f"{letter[one[0]]}2{letter[other[0]]}" for one, others in self.links.items() for other in others
        )

    def to_set(self, name: str, direction: str, source: str) -> EvaluationSet:
        """The set of one direction: its queries are all pieces of one kind that have a partner of the other.

        Its gallery is every piece of the other kind, with or without a partner.
        """
        asked, found = (LETTERS[letter] for letter in check_direction(direction).split("2"))
        item_ids = {key: _item_id(piece) for key, piece in self.pieces.items() if piece.kind == found}
        gallery = tuple(
            GalleryItem(item_ids[key], found, piece.value if found == "text" else None)
            for key, piece in self.pieces.items()
            if piece.kind == found
        )
        arrow = f"{asked}->{found}"
        queries = []
        for key, piece in self.pieces.items():
            if piece.kind != asked:
                continue
            partners = {other: grade for other, grade in self.links.get(key, {}).items() if other[0] == found}
            if not partners:
                continue
            moments = {
                item_ids[other]: tuple(self.moments[key, other]) for other in partners if (key, other) in self.moments
            }
            relevant = {item_ids[other]: grade for other, grade in partners.items()}
            queries.append(EvaluationQuery(piece.id, (EvaluationTerm(asked, piece.value),), relevant, moments, arrow))
        return EvaluationSet(
            name=name,
            queries=tuple(queries),
            gallery=gallery,
            direction=arrow,
            split=self.split,
            channels=_channels(asked, found, gallery),
            skipped=tuple(self.skipped),
            notes=tuple(self.notes),
            source=source,
        )


def _item_id(piece: Piece) -> str:
    return piece.id if piece.kind == "text" else piece.value


def _channels(asked: PieceKind, found: PieceKind, gallery: Sequence[GalleryItem]) -> tuple[Channel, ...]:
    """Which channels may answer, where not all: a sound must not find the picture of its own file by its sound."""
    if "text" not in (asked, found) and asked != found and "audio" in (asked, found):
        return _HEARD if found == "audio" else _SEEN
    if found == "audio" and any(kind_of(item.id) == "video" for item in gallery):
        return _HEARD
    return ()
