"""Which segments a filter lets through: worked out once for a filter, and kept until the store changes."""

from __future__ import annotations

import numpy as np
from sqlalchemy import exists, select

from indexer.ann import Ids
from indexer.contents import segments_by_content
from indexer.filters import Filter, shown_contents
from indexer.legible import READ_AS
from indexer.names import CHANNELS, Channel
from indexer.schema import MISSING, Encoding, File, Segment
from indexer.store import Store


class _Admitted:
    """What one filter lets through, as far as it was asked for."""

    def __init__(self, store: Store, generation_id: int, wanted: Filter) -> None:
        self._store, self._generation_id, self._wanted = store, generation_id, wanted
        self._contents: Ids | None = None
        self._ids: dict[Channel, Ids] = {}
        self._texts: bytes | None = None
        with store.reading() as connection:
            hides = connection.execute(select(exists().where(File.state == MISSING))).scalar()
        self.is_all = wanted == Filter() and not hides

    def ids(self, channel: Channel) -> Ids:
        """The segments of a channel, rising."""
        if channel not in self._ids:
            ids = self._of(channel)
            if ids is None:
                ids = self._by_sql(channel)
            ids.setflags(write=False)
            self._ids[channel] = ids
        return self._ids[channel]

    def texts(self) -> bytes | None:
        """A byte for each number that a segment can have: 1 where it is let through."""
        if self._texts is None:
            parts = [self._of(channel) for channel in (*CHANNELS, *READ_AS)]
            known = [part for part in parts if part is not None]
            if len(known) < len(parts):
                return None
            ids = np.concatenate(known)
            mask = np.zeros(int(ids.max(initial=0)) + 1, np.uint8)
            mask[ids] = 1
            self._texts = mask.tobytes()
        return self._texts

    def _of(self, channel: str) -> Ids | None:
        """The same as `ids`, of channels of any name; None as long as it is not known which content has which."""
        table = segments_by_content(self._store, self._generation_id, channel)
        if table is None:
            return None
        holders, ids = table
        return np.sort(ids[np.isin(holders, self._shown())])

    def _shown(self) -> Ids:
        if self._contents is None:
            with self._store.reading() as connection:
                found = connection.execute(shown_contents(self._wanted).where(File.content_id.is_not(None)))
                self._contents = np.fromiter(found.scalars(), np.int64)
        return self._contents

    def _by_sql(self, channel: Channel) -> Ids:
        # The shown contents are collected first: asked for each segment anew, SQLite may scan all files each time.
        query = (
            select(Segment.id)
            .join(Encoding, Encoding.id == Segment.encoding_id)
            .where(Encoding.generation_id == self._generation_id, Segment.channel == channel)
            .where(Encoding.content_id.in_(shown_contents(self._wanted)))
        )
        with self._store.reading() as connection:
            return np.sort(np.fromiter(connection.execute(query).scalars(), np.int64))


def admitted(store: Store, generation_id: int, channel: Channel, wanted: Filter) -> Ids | None:
    """The segments of a channel that a filter lets through: (n,) int64, rising; None when that is all of them.

    The array is kept until the store changes, and may not be written to.
    """
    found = _admitted(store, generation_id, wanted)
    return None if found.is_all else found.ids(channel)


def admitted_texts(store: Store, generation_id: int, wanted: Filter) -> bytes | None:
    """Which segments a filter lets through, for SQL: the byte at the place of a segment's number is 1, or else 0.

    None without a filter, and as long as so little was asked of the library that reading where all its segments belong
    would not pay.
    """
    return None if wanted == Filter() else _admitted(store, generation_id, wanted).texts()


def _admitted(store: Store, generation_id: int, wanted: Filter) -> _Admitted:
    key = ("admitted", generation_id, wanted, wanted.clocks())
    return store.kept(key, lambda: _Admitted(store, generation_id, wanted))
