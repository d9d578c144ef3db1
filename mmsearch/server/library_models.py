"""The same for the library as a whole: its status, its folders, what indexes it, and what people say of results."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mmsearch.server.models import ApiErrorBody, ItemId, Model, QueryRequest


class FolderModel(Model):
    """A folder, with all that lies below it."""

    path: str
    name: str
    root: int
    """Which root of the library it is in."""
    depth: int
    """0 for a root."""
    files: int


class LengthModel(Model):
    """A range of durations."""

    min_seconds: float
    max_seconds: float | None
    files: int


class FacetsModel(Model):
    """What there is to filter by, in files."""

    files: int
    kinds: dict[str, int]
    folders: list[FolderModel]
    years: dict[str, int]
    lengths: list[LengthModel]
    with_place: int


class RootModel(Model):
    """A folder that is indexed."""

    root: int
    path: str
    files: int
    reachable: bool


class TroubleModel(Model):
    """A file that could not be used, or only in part."""

    path: str
    state: Literal["failed", "partial"]
    reason: str


class AbilitiesModel(Model):
    """What this server does."""

    explain: bool
    feedback: bool
    reveal: bool
    index: bool
    index_paths: bool
    """Whether new folders may be named to be indexed."""


class BoundsModel(Model):
    """What this server takes."""

    upload_bytes: int
    upload_pixels: int
    upload_seconds: float
    results: int


JobState = Literal["idle", "running", "cancelling", "done", "cancelled", "failed"]


class ProgressModel(Model):
    """How far an indexing run is, in files."""

    found: int
    done: int
    failed: int
    unchanged: int
    scanning: bool


class TroubleReason(Model):
    """A file and why it could not be used."""

    path: str
    reason: str


class ReportModel(Model):
    """What an indexing run did, in files: see `mmsearch index --json`."""

    added: int
    changed: int
    linked: int
    moved: int
    unchanged: int
    failed: int
    failed_folders: int
    """Of the failed, how many are folders that cannot be read."""
    partial: int
    skipped: int
    missing: int
    pruned: int
    no_speech: int
    unread: int
    segments: int
    ignored: int
    other: int
    seconds: float
    interrupted: bool
    failures: list[TroubleReason]
    unreachable: list[str]


class JobModel(Model):
    """The indexing run that goes on, or the last one."""

    job: int
    """Counts the runs of this server; 0 before the first."""
    state: JobState
    progress: ProgressModel | None = None
    report: ReportModel | None = None
    error: ApiErrorBody | None = None
    seconds: float | None = None
    """How long it has been going on, or took."""


class StatusModel(Model):
    """How the library stands."""

    version: str
    """Of mmsearch."""
    library: str
    model: str | None
    """The model's short name; null in a library without one."""
    empty: bool
    """Nothing can be found yet."""
    kinds: dict[str, int]
    segments: dict[str, int]
    roots: list[RootModel]
    failed: int
    partial: int
    missing: int
    no_speech: int
    unread: int
    hours: float
    database_bytes: int
    index_bytes: int
    troubles: list[TroubleModel]
    """The first of them: see `troubles` of the request."""
    troubles_in_all: int
    job: JobModel
    abilities: AbilitiesModel
    bounds: BoundsModel


class IndexRequest(Model):
    """What to index: the roots named, or all; new folders only where the server was started for that."""

    roots: list[int] = Field(default=[], max_length=1000)
    """Ids of roots, as /status lists them."""
    paths: list[Annotated[str, Field(min_length=1, max_length=4096)]] = Field(default=[], max_length=100)
    """New folders or files; refused unless the server was started with --allow-index."""
    retry_failed: bool = False
    prune: bool = False
    """Forget files that are not there now."""


class FeedbackRequest(Model):
    """A thumb up or down for a result."""

    query: QueryRequest
    item: ItemId
    start: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """The moment that is judged, in seconds; null for the file as a whole."""
    end: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    good: bool | None
    """Null takes it back."""


class RevealRequest(Model):
    """Show a file in the system's file manager."""

    item: ItemId


class DoneModel(Model):
    """It was done."""

    done: Literal[True] = True
