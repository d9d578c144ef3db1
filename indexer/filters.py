"""Which files may be found, as a value and as a condition inside SQL, so that a filtered search misses nothing."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    LargeBinary,
    Select,
    Text,
    and_,
    case,
    cast,
    func,
    literal,
    or_,
    select,
    type_coerce,
)
from sqlalchemy.types import Integer

from indexer.globs import last_part, native
from indexer.near import Near
from indexer.schema import PRESENT, Content, File, under_or_at
from indexer.times import local_clock_of, seconds_of
from indexer.types import Kind

_MOST = 2**63 - 1
"""The highest integer in SQLite: nanoseconds up to the year 2262."""

Place = tuple[int, str]
"""A root's id, and a folder relative to it."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which files may be found: those that fit every field that is set. Hashable, and never changed.

    Attributes:
        kinds: kinds of file; any when empty.
        places: the file lies in one of these; None for anywhere.
        after, before: when it was taken, from `after` on and before `before`, to the second. What does not say when
            counts with its modification time. Aware times are moments. A time without a zone, be it of a file or
            of the filter, is by the clock of this computer's time zone.
        min_seconds, max_seconds: how long it lasts, both included. What has no length does not fit.
        near: where it was taken. What does not say where does not fit.
        name: a pattern for its name, or with a "/" for its path below the root: see `indexer.globs`.
    """

    kinds: tuple[Kind, ...] = ()
    places: tuple[Place, ...] | None = None
    after: datetime | None = None
    before: datetime | None = None
    min_seconds: float | None = None
    max_seconds: float | None = None
    near: Near | None = None
    name: str | None = None

    def clocks(self) -> tuple[tuple[int, datetime], ...]:
        """What the times mean in this computer's time zone, which may change while a program runs."""
        return tuple((seconds_of(at), local_clock_of(at)) for at in (self.after, self.before) if at is not None)


def shown(wanted: Filter) -> ColumnElement[bool]:
    """Whether a file is on disk and fits. The statement joins `File` with its `Content`."""
    conditions: list[ColumnElement[bool]] = [File.state == PRESENT]
    if wanted.places is not None:
        conditions.append(or_(*[and_(File.root_id == root_id, under_or_at(scope)) for root_id, scope in wanted.places]))
    if wanted.kinds:
        conditions.append(Content.kind.in_(wanted.kinds))
    if wanted.min_seconds is not None:
        conditions.append(Content.duration_seconds >= wanted.min_seconds)
    if wanted.max_seconds is not None:
        conditions.append(Content.duration_seconds <= wanted.max_seconds)
    if wanted.after is not None:
        conditions.append(_is_taken(operator.ge, wanted.after))
    if wanted.before is not None:
        conditions.append(_is_taken(operator.lt, wanted.before))
    if wanted.near is not None:
        conditions.append(_is_near(wanted.near))
    if wanted.name is not None:
        conditions.append(_is_named(wanted.name))
    return and_(*conditions)


def shown_contents(wanted: Filter) -> Select[int | None]:
    """The contents of the files that are on disk and that a filter lets through, from `File` joined with `Content`.

    Add conditions, or ask for other columns of the two tables, to go on from these files.
    """
    return select(File.content_id).join(Content, Content.id == File.content_id).where(shown(wanted))


def _is_near(near: Near) -> ColumnElement[bool]:
    """Inside the box first, which costs nothing, then within the circle."""
    boxes = [
        and_(Content.latitude.between(south, north), Content.longitude.between(west, east))
        for south, west, north, east in near.boxes()
    ]
    metres = func.mmsearch_metres(Content.latitude, Content.longitude, near.latitude, near.longitude)
    return and_(or_(*boxes), metres <= near.radius_m)


def _is_taken(compares: Any, bound: datetime) -> ColumnElement[bool]:
    """By the time that the file gives, in ISO 8601 with or without a zone; without a time, by its modification.

    Texts without a zone are compared as texts, which for times of one form is comparing the times. With a zone, SQLite
    works out the moment, but only near the bound: no two clocks in the world are further apart than two days.
    """
    clock, moment = local_clock_of(bound), seconds_of(bound)
    written = Content.captured_at
    by_clock = compares(written, clock.isoformat(timespec="seconds"))
    # SQLite knows no zones with seconds, and says NULL.
    by_moment = func.coalesce(compares(cast(func.strftime("%s", written), Integer), moment), by_clock)
    has_zone = func.substr(written, 12).bool_op("GLOB")("*[+-]*")
    return case(
        (written.is_(None), compares(File.mtime_ns, max(-_MOST, min(moment * 10**9, _MOST)))),
        (written >= _days_from(clock, 3).isoformat(), literal(compares(1, 0))),
        (written < _days_from(clock, -3).isoformat(), literal(compares(0, 1))),
        (has_zone, by_moment),
        else_=by_clock,
    )


def _days_from(clock: datetime, days: int) -> datetime:
    """A clock some days on, or the last (first) moment that there is."""
    try:
        return clock + timedelta(days=days)
    except OverflowError:
        return datetime.max if days > 0 else datetime.min


def _is_named(pattern: str) -> ColumnElement[bool]:
    """Names in ASCII are compared by SQLite itself where it can; all others, and paths, by Python."""
    if "/" not in pattern:
        return _name_fits(pattern)
    path_fits = func.mmsearch_path_fits(pattern, File.directory, File.name) == 1
    name = last_part(pattern)
    return path_fits if name == "**" else and_(_name_fits(name), path_fits)


def _name_fits(pattern: str) -> ColumnElement[bool]:
    by_python = func.mmsearch_name_fits(pattern, File.name) == 1
    simple = native(pattern)
    if simple is None:
        return by_python
    text = type_coerce(File.name, Text)
    is_ascii = and_(func.typeof(File.name) == "text", func.length(text) == func.length(cast(text, LargeBinary)))
    return case((is_ascii, func.lower(text).bool_op("GLOB")(simple)), else_=by_python)
