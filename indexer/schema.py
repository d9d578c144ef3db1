"""The library's tables, as typed SQLAlchemy models.

    root ──< file >── content ──< encoding >── generation ──< tally (one channel)
                                     └──< segment (one vector)
    generation ──< background, bridge, adapter

A *file* is a name on disk, a *content* is the bytes behind it: copies and moved files share one
content, so that it is encoded once. An *encoding* is a content as one *generation* (one model) saw
it; its *segments* hold the vectors. A segment's primary key is its id in the FAISS index, and is
never used again after the segment is gone. A *background* is what chance scores in a channel, a *bridge* a map between
two channels, an *adapter* what a generation's vectors went through after the tower. *Feedback* is what people said of
contents, and belongs to no row of them.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from sqlalchemy import ColumnElement, Float, ForeignKey, Index, UniqueConstraint, and_, or_, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from indexer.paths import PathText, under

PRESENT, MISSING, FAILED, SKIPPED = "present", "missing", "failed", "skipped"
"""States of a file: on disk and indexed; gone from disk; unusable, with a reason; nothing that we read."""


class Base(DeclarativeBase):
    """All tables of a library."""

    type_annotation_map: ClassVar = {float: Float}  # SQLAlchemy 2.1 would say DOUBLE, and 2.0 says FLOAT


class Meta(Base):
    """Facts about the library as a whole, such as its `library_id`."""

    __tablename__ = "meta"

    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]


class Root(Base):
    """A folder that holds what was given to be indexed. Files are stored relative to it, so that it can move."""

    __tablename__ = "root"

    id: Mapped[int] = mapped_column(primary_key=True)
    path: Mapped[str] = mapped_column(PathText, unique=True)


class Scope(Base):
    """A file or folder that was named to be indexed, relative to its root: "" is the root itself."""

    __tablename__ = "scope"

    root_id: Mapped[int] = mapped_column(ForeignKey("root.id", ondelete="CASCADE"), primary_key=True)
    path: Mapped[str] = mapped_column(PathText, primary_key=True)


class Content(Base):
    """What a file holds, known by the digest of its bytes. `digest`: hexadecimal BLAKE2b, 20 bytes."""

    __tablename__ = "content"
    __table_args__ = (UniqueConstraint("digest", "format"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str]
    kind: Mapped[str]
    format: Mapped[str]
    width: Mapped[int | None]
    height: Mapped[int | None]
    duration_seconds: Mapped[float | None]
    captured_at: Mapped[str | None]
    latitude: Mapped[float | None]
    longitude: Mapped[float | None]
    title: Mapped[str | None]


class File(Base):
    """A name on disk. `directory` is relative to the root, with "/" between parts and "" for the root."""

    __tablename__ = "file"
    __table_args__ = (
        UniqueConstraint("root_id", "directory", "name"),
        Index("file_content", "content_id", "state"),
        # Partial, because SQLite without statistics takes any index on the state for a selective one.
        Index("file_missing", "root_id", sqlite_where=text("state = 'missing'")),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    root_id: Mapped[int] = mapped_column(ForeignKey("root.id", ondelete="CASCADE"))
    directory: Mapped[str] = mapped_column(PathText)
    name: Mapped[str] = mapped_column(PathText)
    size: Mapped[int]
    mtime_ns: Mapped[int]
    state: Mapped[str]
    reason: Mapped[str | None]
    content_id: Mapped[int | None] = mapped_column(ForeignKey("content.id"))


class Generation(Base):
    """All vectors of one model."""

    __tablename__ = "generation"

    id: Mapped[int] = mapped_column(primary_key=True)
    spec: Mapped[str]
    fingerprint: Mapped[str]
    active: Mapped[bool]
    created_at: Mapped[datetime]


class Tally(Base):
    """How far the vectors of one channel have come, kept in the transactions that change them.

    An index file is held against it: `last_id` is no lower than any id of the channel, `vectors` says how
    many there are, and `removals` how many were ever deleted. Counting them would read the whole table.
    `saved_index` is a random name for the index file that was saved last: a file that this database did not
    see being saved (it was restored from a backup, or lost its last commits with the power) is not believed.
    """

    __tablename__ = "tally"

    generation_id: Mapped[int] = mapped_column(ForeignKey("generation.id", ondelete="CASCADE"), primary_key=True)
    channel: Mapped[str] = mapped_column(primary_key=True)
    last_id: Mapped[int]
    vectors: Mapped[int]
    removals: Mapped[int]
    saved_index: Mapped[str | None]


class Encoding(Base):
    """One content as one generation saw it.

    `problem`: what could not be read of it (a broken tail), or None. `speech_lines`: lines of speech
    that were found; 0 is "no speech found", None is nothing to listen to.
    """

    __tablename__ = "encoding"
    __table_args__ = (UniqueConstraint("content_id", "generation_id"), Index("encoding_generation", "generation_id"))

    id: Mapped[int] = mapped_column(primary_key=True)
    content_id: Mapped[int] = mapped_column(ForeignKey("content.id", ondelete="CASCADE"))
    generation_id: Mapped[int] = mapped_column(ForeignKey("generation.id", ondelete="CASCADE"))
    problem: Mapped[str | None]
    speech_lines: Mapped[int | None]
    encoded_at: Mapped[datetime]


class Segment(Base):
    """One stretch of one content, with its vector: (dim,) float16, little-endian, of length 1.

    `norm`: the length of the vector as the tower gave it. `look`: what a picture or a frame looks like
    (`indexer.likeness`); None for other channels, and for a picture with too little in it.
    """

    __tablename__ = "segment"
    # With the channel, so that ids are listed from the index: a row with its vector fills a quarter of a page or more.
    __table_args__ = (Index("segment_encoding", "encoding_id", "channel"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(primary_key=True)
    encoding_id: Mapped[int] = mapped_column(ForeignKey("encoding.id", ondelete="CASCADE"))
    channel: Mapped[str]
    start_seconds: Mapped[float | None]
    end_seconds: Mapped[float | None]
    text: Mapped[str | None]
    look: Mapped[bytes | None]
    norm: Mapped[float]
    vector: Mapped[bytes]


class Background(Base):
    """What queries that were not written for this library score in one channel: see mmsearch/calibration.py.

    `location`, `scale`: the Gumbel distribution of the best score that such a query finds among `size` vectors.
    `vectors`: how many there were in the channel. `mean`: the mean score of such queries. `least`, `rest`: the least
    hubness of any vector whose id is not above `last_id`, and the least of what is left of it without its linear part;
    None where that was not worked out yet. `queries`: (n, dim) float16 vectors of the queries, made from `source`.
    """

    __tablename__ = "background"

    generation_id: Mapped[int] = mapped_column(ForeignKey("generation.id", ondelete="CASCADE"), primary_key=True)
    modality: Mapped[str] = mapped_column(primary_key=True)
    channel: Mapped[str] = mapped_column(primary_key=True)
    location: Mapped[float]
    scale: Mapped[float]
    mean: Mapped[float]
    least: Mapped[float]
    rest: Mapped[float | None]
    last_id: Mapped[int]
    size: Mapped[int]
    vectors: Mapped[int]
    source: Mapped[str]
    queries: Mapped[bytes]


class Bridge(Base):
    """One end of a bridge between two channels, which has two: see mmsearch/bridge/.

    `mean`: (dim,) float32, the mean of the channel's vectors when its `last_id` and `removals` were these. `across`:
    (dim, other dim) float32, the map to the other end. `digest` changes whenever a map does; `report` is JSON.
    """

    __tablename__ = "bridge"

    generation_id: Mapped[int] = mapped_column(ForeignKey("generation.id", ondelete="CASCADE"), primary_key=True)
    channel: Mapped[str] = mapped_column(primary_key=True)
    digest: Mapped[str]
    mean: Mapped[bytes]
    across: Mapped[bytes]
    last_id: Mapped[int]
    removals: Mapped[int]
    report: Mapped[str]
    made_at: Mapped[datetime]


class Feedback(Base):
    """What a person said of a result: see indexer/feedback.py.

    The content is named by its digest and format: a judgement outlives it, for it may come back. `query`: JSON with
    sorted keys, so that the same query is the same text.
    """

    __tablename__ = "feedback"
    __table_args__ = (Index("feedback_content", "digest", "format"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    query: Mapped[str]
    digest: Mapped[str]
    format: Mapped[str]
    start_seconds: Mapped[float | None]
    end_seconds: Mapped[float | None]
    good: Mapped[bool]
    made_at: Mapped[datetime]


class Adapter(Base):
    """What a generation's vectors of one tower went through after the tower: see mmsearch/training/.

    `matrix`: (dim, dim) float32: a row of length 1, times its transpose, brought back to length 1. `base_id`: the
    generation that the vectors were made from, whose own model and adapter come first. `report` is JSON.
    """

    __tablename__ = "adapter"

    generation_id: Mapped[int] = mapped_column(ForeignKey("generation.id", ondelete="CASCADE"), primary_key=True)
    modality: Mapped[str] = mapped_column(primary_key=True)
    space: Mapped[str] = mapped_column(primary_key=True)
    base_id: Mapped[int] = mapped_column(ForeignKey("generation.id"))
    matrix: Mapped[bytes]
    report: Mapped[str]
    made_at: Mapped[datetime]


def under_or_at(scope: str) -> ColumnElement[bool]:
    """Whether a file is `scope` itself or lies below it."""
    directory, _, name = scope.rpartition("/")
    return or_(under(File.directory, scope), and_(File.directory == directory, File.name == name))
