"""What a person said of results: this was right, that was not. Kept in the library, for training to read.

A judgement names its content by digest and format, not by a row: it outlives one that is forgotten and comes back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, delete, insert, select

from indexer.errors import UsageError
from indexer.items import items_of_ids, parts_of
from indexer.schema import Content, Feedback
from indexer.store import Store
from indexer.writes import now


@dataclass(frozen=True, slots=True)
class Judgement:
    """One thumb up or down.

    `query`: what was asked, as `mmsearch.Query.to_json` gives it. `item`: the key of a content (`indexer.items`).
    `content_id`: its row, None where the library does not hold it now; `path`: a file of it that is on disk, or None.
    `start_seconds`, `end_seconds`: the moment that was judged, None for the file as a whole. `at`: when, in UTC.
    """

    query: Mapping[str, Any]
    item: str
    content_id: int | None
    path: str | None
    start_seconds: float | None
    end_seconds: float | None
    good: bool
    at: datetime


def record(
    store: Store,
    query: Mapping[str, Any],
    item: str,
    good: bool | None,
    *,
    start_seconds: float | None = None,
    end_seconds: float | None = None,
) -> None:
    """Keep a judgement, in the place of an earlier one of the same query, content and moment.

    Args:
        store: of the library that was asked.
        query: JSON values, as `mmsearch.Query.to_json` gives them.
        item: the key of the content that is judged.
        good: whether it answers the query; None takes an earlier judgement back.
        start_seconds: where the moment begins that is judged; None for the file as a whole.
        end_seconds: where it ends.

    Raises:
        UsageError: `item` is no key, or the moment has only one end.
    """
    parts = parts_of(item)
    if parts is None:
        raise UsageError(f"what is judged is an item's id, got {item!r}")
    if (start_seconds is None) != (end_seconds is None):
        raise UsageError("a moment that is judged has a start and an end, or neither")
    asked = json.dumps(query, sort_keys=True)
    same = and_(
        Feedback.query == asked,
        Feedback.digest == parts[0],
        Feedback.format == parts[1],
        Feedback.start_seconds.is_not_distinct_from(start_seconds),
        Feedback.end_seconds.is_not_distinct_from(end_seconds),
    )
    row = {"query": asked, "digest": parts[0], "format": parts[1], "good": good, "made_at": now()}
    with store.writing() as connection:
        connection.execute(delete(Feedback).where(same))
        if good is not None:
            span = {"start_seconds": start_seconds, "end_seconds": end_seconds}
            connection.execute(insert(Feedback).values(**row, **span))


def all_feedback(store: Store) -> list[Judgement]:
    """Every judgement, in the order in which they were made."""
    query = (
        select(*Feedback.__table__.columns, Content.id.label("content_id"))
        .join(Content, and_(Content.digest == Feedback.digest, Content.format == Feedback.format), isouter=True)
        .order_by(Feedback.id)
    )
    with store.reading() as connection:
        rows = connection.execute(query).all()
    there = items_of_ids(store, [row.content_id for row in rows if row.content_id is not None])
    return [
        Judgement(
            query=json.loads(row.query),
            item=f"{row.digest}-{row.format}",
            content_id=row.content_id,
            path=there[row.content_id].files[0].path if row.content_id in there else None,
            start_seconds=row.start_seconds,
            end_seconds=row.end_seconds,
            good=row.good,
            at=row.made_at,
        )
        for row in rows
    ]
