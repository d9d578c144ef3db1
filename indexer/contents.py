"""Which content holds a segment, and which segments a content has: what every query asks for hundreds of each."""

from __future__ import annotations

import json
from itertools import chain

import numpy as np
from sqlalchemy import text

from indexer.ann import Ids
from indexer.store import Store
from indexer.types import Channel

_CONTENTS_OF = text(  # ids as one value, so that any number of them is one statement, which is prepared once
    "SELECT segment.id, encoding.content_id FROM json_each(:ids) AS asked JOIN segment ON segment.id = asked.value"
    " JOIN encoding ON encoding.id = segment.encoding_id"
)
_SEGMENTS_IN = text(
    "SELECT segment.id FROM json_each(:contents) AS asked JOIN encoding ON encoding.content_id = asked.value"
    " AND encoding.generation_id = :generation_id JOIN segment ON segment.encoding_id = encoding.id"
    " AND segment.channel = :channel"
)
_ALL_CONTENTS = text("SELECT segment.id, content_id FROM segment JOIN encoding ON encoding.id = encoding_id")
_ASKED_SHARE = 20


class _Contents:
    """Which content holds each segment, while the store stays as it is.

    A few rows are found by SQL in no time, and all of them take a while, but then each costs nothing. So all are read
    once a twentieth of them was asked for.
    """

    def __init__(self) -> None:
        self.asked = 0
        self.by_id: Ids | None = None

    def all_of(self, store: Store, more: int) -> Ids | None:
        """Contents by segment id, 0 for none; None while SQL will do."""
        self.asked += more
        if self.by_id is None:
            with store.reading() as connection:
                most = connection.execute(text("SELECT max(id) FROM segment")).scalar() or 0
                if most > _ASKED_SHARE * self.asked:
                    return None
                # np.array() would look into each of SQLAlchemy's rows, which takes sixteen times as long.
                numbers = np.fromiter(chain.from_iterable(connection.execute(_ALL_CONTENTS)), np.int64)
            by_id = np.zeros(most + 1, np.int64)
            by_id[numbers[::2]] = numbers[1::2]
            self.by_id = by_id
        return self.by_id


def contents_of(store: Store, segment_ids: Ids) -> Ids:
    """The content that holds each segment: int64, of the shape of `segment_ids`; 0 for a segment that is gone."""
    by_id = store.fact("contents of segments", _Contents).all_of(store, segment_ids.size)
    if by_id is not None:
        known = (segment_ids >= 0) & (segment_ids < len(by_id))
        return np.where(known, by_id[np.where(known, segment_ids, 0)], 0)
    with store.reading() as connection:
        rows = connection.execute(_CONTENTS_OF, {"ids": json.dumps(segment_ids.ravel().tolist())}).all()
    contents: dict[int, int] = {row[0]: row[1] for row in rows}
    return np.array([contents.get(id, 0) for id in segment_ids.ravel().tolist()], np.int64).reshape(segment_ids.shape)


def segments_in(store: Store, generation_id: int, channel: Channel, contents: Ids) -> Ids | None:
    """The segments that some contents have in a channel: (n,) int64, rising.

    None as long as so little was asked of the library that reading where all its segments belong would not pay.
    """
    table = segments_by_content(store, generation_id, channel)
    if table is None:
        return None
    holders, ids = table
    first, last = np.searchsorted(holders, contents, "left"), np.searchsorted(holders, contents, "right")
    there = [ids[at:end] for at, end in zip(first.tolist(), last.tolist(), strict=True)]
    return np.sort(np.concatenate([np.empty(0, np.int64), *there]))


def every_segment_in(store: Store, generation_id: int, channel: Channel, contents: Ids) -> Ids:
    """The same, however little was asked before."""
    found = segments_in(store, generation_id, channel, contents)
    if found is not None:
        return found
    asked = {"contents": json.dumps(contents.tolist()), "generation_id": generation_id, "channel": channel}
    with store.reading() as connection:
        return np.sort(np.fromiter(connection.execute(_SEGMENTS_IN, asked).scalars(), np.int64))


def segments_by_content(store: Store, generation_id: int, channel: str) -> tuple[Ids, Ids] | None:
    """What holds each segment of a channel, rising, and the segments in that order: (n,) int64 each.

    None as long as so little was asked of the library that reading where all its segments belong would not pay.
    """
    if store.fact("contents of segments", _Contents).by_id is None:
        return None
    return store.fact(
        ("segments of contents", generation_id, channel), lambda: _by_content(store, generation_id, channel)
    )


def _by_content(store: Store, generation_id: int, channel: str) -> tuple[Ids, Ids]:
    ids = store.segment_ids(generation_id, channel)
    contents = contents_of(store, ids)
    order = np.argsort(contents, kind="stable")
    return contents[order], ids[order]
