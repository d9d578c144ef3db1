"""What to say to a person who asks for what only a bridge would find."""

from __future__ import annotations

from indexer.bridges import bridge_state
from indexer.library import Library
from indexer.names import Channel
from mmsearch.bridge import gap_of
from mmsearch.names import TermKind
from mmsearch.query import Query

_FAR: dict[TermKind, tuple[Channel, str]] = {
    "image": ("sound", "pictures find no sounds"),
    "audio": ("visual", "sounds find no pictures"),
}
"""The channel that a kind of term does not reach without a bridge, and that in words. A video has frames and sound."""

_SHOWN_BY: dict[Channel, frozenset[str]] = {
    "sound": frozenset({"audio", "video"}),
    "visual": frozenset({"image", "video"}),
}


def missing_bridge(library: Library, query: Query) -> str | None:
    """One line on how to get the bridge that a query would need, or None: it is there, or nothing would be on it.

    Args:
        library: that was asked.
        query: what was asked.
    """
    asked = [term.kind for term in query.terms if term.kind in _FAR]
    generation = library.store.generation() if asked else None
    if generation is None or gap_of(generation[1]) is None or bridge_state(library.store, generation[0]):
        return None
    for kind in asked:
        channel, words = _FAR[kind]
        if query.kinds and not _SHOWN_BY[channel].intersection(query.kinds):
            continue
        if library.store.position(generation[0], channel).vectors:
            return f"{words} in this library until you make a bridge, once, with: mmsearch bridge"
    return None
