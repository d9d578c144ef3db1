"""The route that explains: why a file answers a query. There where the engine can tell."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from pydantic import JsonValue

from indexer.names import Channel, Kind
from mmsearch.server import asking
from mmsearch.server.errors import shown
from mmsearch.server.models import ItemId, Model, QueryRequest
from mmsearch.server.opening import find, opened
from mmsearch.server.queries import errors
from mmsearch.server.service import Service, Shared
from mmsearch.server.work import leaving

router = APIRouter()


class TermShareModel(Model):
    """What one term adds to the score."""

    asked: str
    weight: float
    part: float
    share: float
    """In [-1, 1], of the sizes of all parts."""
    score: float | None
    cosine: float | None
    channel: Channel | None
    start: float | None
    end: float | None


class StretchModel(Model):
    """One segment of the file, and what it has to do with the score."""

    channel: Channel
    start: float | None
    end: float | None
    text: str | None
    cosine: float
    score: float
    confidence: float | None
    part: float


class WordModel(Model):
    """A word of a line, and what the line's similarity loses without it."""

    text: str
    start: int
    end: int
    drop: float
    literal: bool


class ExplainedLineModel(Model):
    """A line that is said or written, word by word."""

    channel: Channel
    start: float | None
    end: float | None
    text: str
    cosine: float
    words: list[WordModel]


class MapModel(Model):
    """Where in a picture, or in a frame, a term's score comes from."""

    asked: str
    method: str
    start: float | None
    """When the frame is shown, in seconds."""
    cosine: float
    box: list[float]
    """Which part of the picture the map lies over: left, top, right, bottom, in [0, 1]."""
    values: list[list[float]]
    """Rows of numbers in [0, 1]."""


class ExplanationModel(Model):
    """Why a file answers a query: docs/json.md has what each of it means."""

    item: ItemId
    query: str
    kind: Kind
    score: float
    confidence: float | None
    cosine: float | None
    """Null for a file that has nothing to compare."""
    formula: str
    fits_filters: bool
    matched: list[str]
    terms: list[TermShareModel]
    segments: list[StretchModel]
    lines: list[ExplainedLineModel]
    maps: list[MapModel]
    remarks: list[str]


@router.post("/items/{item}/explain", responses=errors(404, 409))
async def explain(request: Request, service: Shared, item: ItemId, asked: QueryRequest) -> ExplanationModel:
    """Why a file answers a query: which term, which moment, which part of the picture, which words."""
    return await service.queries.run(request, _explained, service, item, asked)


def _explained(service: Service, key: str, asked: QueryRequest) -> ExplanationModel:
    store = service.engine.library.store
    query = asking.query_of(service.engine, service.uploads, asked)
    with opened(store, find(store, key)) as file:  # as it was indexed, and inside the library
        engine: Any = service.engine
        why: dict[str, JsonValue] = engine.explain(query, file.file.path, cancel=leaving()).to_json()
    known = {name: _shown(value) for name, value in why.items() if name in ExplanationModel.model_fields}
    return ExplanationModel.model_validate({**known, "item": key})


def _shown(value: JsonValue) -> Any:
    """Every text in a value as JSON takes it."""
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, list):
        return [_shown(part) for part in value]
    if isinstance(value, dict):
        return {name: _shown(part) for name, part in value.items()}
    return value
