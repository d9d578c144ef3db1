"""What goes into the API and what comes out of it: docs/server.md tells it to people, OpenAPI to programs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from indexer.names import Channel, Kind
from mmsearch.names import Fusion, Metric

ITEM = r"^[0-9a-f]{40}-[a-z0-9]{1,20}$"
"""An item's id: the digest of its bytes, and its format."""

UPLOAD = r"^[0-9a-f]{32}$"

ItemId = Annotated[str, Field(pattern=ITEM, description="An item: the digest of its bytes, and its format.")]
UploadId = Annotated[str, Field(pattern=UPLOAD, description="A file that was sent before.")]
Weight = Annotated[
    float,
    Field(ge=-1e6, le=1e6, allow_inf_nan=False, description="How much it counts; not 0, negative for less of it."),
]


class Model(BaseModel):
    """What all of them share: nothing that is not known, and descriptions from the fields' own docstrings."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ApiErrorBody(Model):
    """Every error."""

    error: str
    """A name for programs, such as "bad_query"."""
    message: str
    """What is wrong, for a person."""
    hint: str | None = None
    """What to do about it."""


# --- queries ---


class TextTerm(Model):
    """Words to look for."""

    text: Annotated[str, Field(min_length=1, max_length=20_000)]
    weight: Weight = 1.0


class ItemTerm(Model):
    """Something in the library to search by."""

    item: ItemId
    weight: Weight = 1.0


class UploadTerm(Model):
    """A file that was sent before to search by: see /uploads."""

    upload: UploadId
    weight: Weight = 1.0


class FileTerm(Model):
    """A file of the same request to search by: the name of its part. Only in multipart/form-data."""

    file: Annotated[str, Field(min_length=1, max_length=200)]
    weight: Weight = 1.0


TermModel = TextTerm | ItemTerm | UploadTerm | FileTerm


class Filters(Model):
    """Which files may answer; all hold at once. As in docs/query.md."""

    kinds: Annotated[list[Kind], Field(max_length=8)] = []
    within: Annotated[list[Annotated[str, Field(min_length=1, max_length=4096)]], Field(max_length=100)] = []
    """Folders of the library, as /facets lists them."""
    after: Annotated[str, Field(max_length=40)] | None = None
    """Taken at this date or later: 2024, 2024-06, 2024-06-01, 2024-06-01T18:30."""
    before: Annotated[str, Field(max_length=40)] | None = None
    """Taken before this date."""
    min_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    max_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    near: Annotated[str, Field(max_length=200)] | None = None
    """Taken near here: latitude, longitude and a radius, "48.86,2.35,5km"."""
    name: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
    """A pattern for the file's name: "*.mp4"."""


class QueryRequest(Filters):
    """A question: terms, and which files may answer."""

    terms: Annotated[list[TermModel], Field(min_length=1, max_length=32)]
    k: Annotated[int, Field(ge=1, le=5000)] = 50
    """How many results at most."""
    fusion: Fusion = "auto"
    metric: Metric = "cosine"
    confident: bool = False
    """Only what stands out from chance."""
    moments: bool = False
    """Moments as results of their own."""
    not_below: Annotated[float, Field(ge=-1, le=1)] | None = None
    """Leave out what is at least this similar to a negative term."""
    words: bool = True
    """Whether words are also looked for literally."""
    exact: bool = False
    """Compare every vector, also in a large library."""


class SimilarRequest(Filters):
    """What is most like an item?"""

    item: ItemId
    k: Annotated[int, Field(ge=1, le=5000)] = 50
    confident: bool = False
    moments: bool = False


class MomentModel(Model):
    """One stretch of a file that answers."""

    channel: Channel
    score: float | None
    """Cosine similarity, -1 to 1; null for what was found by words that the model cannot read."""
    confidence: float | None
    """0 to 1; null where nothing is calibrated."""
    start: float | None
    """Seconds; null for what has no times."""
    end: float | None
    label: str | None
    """The same for a person: "0:03-0:10"."""
    text: str | None
    """What is said or written there."""


class HitModel(Model):
    """One result: its best moment, and what is known of its file."""

    channel: Channel | None
    """What matched; null, like the score, for a file that has nothing to compare and was found by name or title."""
    score: float | None
    """Cosine similarity, -1 to 1; null also for what was found by words that the model cannot read."""
    confidence: float | None
    """0 to 1; null where nothing is calibrated."""
    start: float | None
    """Seconds; null for what has no times."""
    end: float | None
    label: str | None
    """The same for a person: "0:03-0:10"."""
    text: str | None
    """What is said or written there."""
    item: ItemId
    path: str
    name: str
    """The last part of the path."""
    gone: bool
    """Whether no file with these bytes is on disk now."""
    kind: Kind
    format: str
    width: int | None
    height: int | None
    duration: float | None
    """Seconds."""
    captured_at: str | None
    title: str | None
    stands_out: bool
    """Whether it is a match, and not only the nearest."""
    matched: list[str]
    """Words and phrases that were found literally; "name" in the file's name."""
    moments: list[MomentModel]
    """Further moments of this file, best first."""
    copies: list[str]
    duplicates: list[str]


class EchoModel(Model):
    """What was understood: send it back as it is, or put the line into an address bar."""

    line: str
    """The query as a line of docs/query.md, with item:ID and upload:ID for files: what GET /query takes as q."""
    request: QueryRequest


class AnswerModel(Model):
    """Results, best first."""

    version: Literal[1] = 1
    query: EchoModel
    matches_well: bool | None
    """False: nothing here stands out from chance, and the hits are only the nearest. Null: not known."""
    seconds: float
    """What it took, without the wait for its turn."""
    advice: str | None
    """What would let more be found, or what of the query the model cannot read, for a person."""
    hits: list[HitModel]


class UploadModel(Model):
    """A file that was sent, to search by.

    `item`: the same bytes in the library, where they are; unlike an upload, an item can be asked with for ever.
    """

    upload: UploadId
    item: ItemId | None
    name: str
    kind: Kind
    format: str
    bytes: int
    width: int | None
    height: int | None
    duration: float | None


# --- items ---


class LineModel(Model):
    """A line that is said or shown, or a piece of a document."""

    channel: Channel
    start: float | None
    end: float | None
    text: str


class SegmentModel(Model):
    """A stretch of a file that has a vector."""

    channel: Channel
    start: float | None
    end: float | None


class ItemModel(Model):
    """All that is known of a file."""

    item: ItemId
    path: str
    name: str
    kind: Kind
    format: str
    label: str
    """The format as people call it."""
    width: int | None
    height: int | None
    duration: float | None
    captured_at: str | None
    modified_at: str
    """When the file was last modified, ISO 8601 in UTC."""
    latitude: float | None
    longitude: float | None
    title: str | None
    bytes: int
    copies: list[str]
    media_type: str
    """Of what /media gives."""
    browsers_play: bool
    """Whether browsers can be expected to show or play it."""
    lines: list[LineModel]
    segments: list[SegmentModel]
    lines_left_out: int
    """Only the first 5000 lines and segments are given."""


class MomentsModel(Model):
    """Where in one file the answers to a query are, best first."""

    item: ItemId
    moments: list[MomentModel]


class WaveformModel(Model):
    """How loud a sound is: the highest sample of each of equal stretches."""

    start: float
    end: float
    peaks: list[float]
    """0 to 1, against the loudest possible. None of a video without sound."""
