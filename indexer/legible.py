"""What of a text a model can read, and what becomes of a text that it cannot.

A tokenizer gives a character that it does not know a token that means nothing, and a letter of a script that its model
never learned a token that means next to nothing: all such texts are then about the same vector, and find each other
with the highest confidence. So a text tower may say what of a text it can read. The rest has words, and no vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

from indexer.names import Channel
from indexer.types import TowerSpec

LEAST_SHARE = 0.5
"""A stored text has a vector when at least this share of its words can be read: of less, the vector is of a few names
and numbers in it, and would stand for the whole."""

UNREAD: dict[Channel, str] = {"text": "unread text", "speech": "unread speech"}
"""The channels of segments without a vector, as the store names them: beside those that are searched by meaning, so
that whatever asks for a channel's vectors need not know of them. Their words are found like those of any other."""

READ_AS: dict[str, Channel] = {stored: channel for channel, stored in UNREAD.items()}
"""What they would be if they could be read."""


@dataclass(frozen=True, slots=True)
class Legible:
    """What of a text can be read: that part, "" for none of it, and its `share` of the text's words, in [0, 1]."""

    text: str
    share: float

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1 or bool(self.text.strip()) != (self.share > 0):
            raise ValueError(f"a share is in [0, 1], and above 0 where there is a text; got {self.share!r}")

    @classmethod
    def whole(cls, text: str) -> Legible:
        """A text that can be read as it is."""
        return cls(text, 1.0 if text.strip() else 0.0)


@runtime_checkable
class ReadsInPart(Protocol):
    """An encoder with a text tower that cannot read every text.

    Those of byte-level and multilingual tokenizers read whatever there is, and have no such method.
    """

    def legible(self, text: str, tower: TowerSpec) -> Legible:
        """What of a text one of its text towers can read. Called from many threads at once."""


def legible(encoder: Any, text: str, tower: TowerSpec) -> Legible:
    """What of a text an encoder's tower can read: all of it, where the encoder does not say."""
    if isinstance(encoder, ReadsInPart):
        return encoder.legible(text, tower)
    return Legible.whole(text)


def stored_as(channel: Channel, encoder: Any, text: str, tower: TowerSpec) -> str | None:
    """What of a text is to be encoded for a channel; None where it gets no vector."""
    found = legible(encoder, text, tower)
    return found.text if channel not in UNREAD or found.share >= LEAST_SHARE else None


def channel_of(stored: str) -> Channel:
    """The channel that a stored segment is shown as."""
    return READ_AS.get(stored) or cast(Channel, stored)
