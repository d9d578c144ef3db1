"""Routes that ask the library: query, similar, uploads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import ValidationError
from starlette.datastructures import UploadFile

from mmsearch.server import asking
from mmsearch.server.errors import ApiError, busy, said_of
from mmsearch.server.models import (
    AnswerModel,
    ApiErrorBody,
    ItemId,
    MomentsModel,
    QueryRequest,
    SimilarRequest,
    UploadId,
    UploadModel,
)
from mmsearch.server.opening import held_as
from mmsearch.server.pictures import picture, size_of
from mmsearch.server.service import Service, Shared
from mmsearch.server.uploads import Upload

router = APIRouter()

MOST_FILES = 8
"""Files in one request."""


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a route's errors are, for OpenAPI: those named, and what any route may answer."""
    everywhere = (400, 401, 403, 408, 413, 421, 422, 500, 503)
    return {status: {"model": ApiErrorBody, "description": _WORDS[status]} for status in (*everywhere, *statuses)}


_WORDS: Mapping[int, str] = {
    400: "The query makes no sense",
    401: "The server wants its token",
    403: "It was asked by a page of another site, or is not allowed on this server",
    404: "There is no such item, or nothing at this address",
    405: "This address does not take that method",
    408: "The request did not arrive in time",
    409: "It does not go with how things stand: nothing is indexed yet, a run is at work, the file has changed",
    413: "Too large",
    415: "Neither JSON nor multipart",
    416: "The range lies outside of the file",
    421: "The server does not answer to that name",
    422: "Not as documented, or a file that cannot be used",
    500: "A bug, or a problem with the library",
    503: "Too much in hand, or the model cannot be used",
}

_MULTIPART: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/QueryRequest"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["query"],
                    "properties": {
                        "query": {
                            "type": "string",
                            "contentMediaType": "application/json",
                            "description": "A QueryRequest as JSON. Its terms name files by the names of their parts.",
                        },
                    },
                    "additionalProperties": {"type": "string", "format": "binary"},
                },
            },
        },
    }
}


@router.get("/query", responses=errors(409))
async def query_line(
    request: Request,
    service: Shared,
    q: Annotated[str, Query(min_length=1, max_length=20_000, description="A line of docs/query.md, without files.")],
    k: Annotated[int | None, Query(ge=1, le=5000, description="How many results at most.")] = None,
) -> AnswerModel:
    """Ask with a line of text, as an address bar holds it: terms, and options behind them.

    Files stand in it as item:ID and upload:ID. Paths of this computer are words.
    """
    asked = asking.read_line(q, k)
    return await service.queries.run(request, asking.answer, service.engine, service.uploads, asked)


@router.post("/query", responses=errors(404, 409, 415), openapi_extra=_MULTIPART)
async def query(request: Request, service: Shared) -> AnswerModel:
    """Ask with terms: words, items, uploads, and (as multipart/form-data) files that come with the question."""
    asked = await _asked(request, service)
    return await service.queries.run(request, asking.answer, service.engine, service.uploads, asked)


@router.post("/similar", responses=errors(404, 409))
async def similar(request: Request, service: Shared, asked: SimilarRequest) -> AnswerModel:
    """What is most like an item of the library, which is left out itself. Nothing is encoded for it."""
    return await service.queries.run(request, asking.similar, service.engine, asked)


@router.post("/items/{item}/moments", responses=errors(404, 409))
async def moments(request: Request, service: Shared, item: ItemId, asked: QueryRequest) -> MomentsModel:
    """Where in one file the answers to a query are, best first: for a timeline of it."""
    found = await service.queries.run(request, asking.moments_of, service.engine, service.uploads, item, asked)
    return MomentsModel(item=item, moments=found)


@router.post(
    "/uploads",
    responses=errors(415),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": ["file"],
                        "properties": {"file": {"type": "string", "format": "binary"}},
                    }
                }
            },
        }
    },
)
async def upload(request: Request, service: Shared) -> UploadModel:
    """Send a file to search by. Its id is good for queries as long as the server keeps it: the last 64 files."""
    _, files = await _form(request, service)
    if len(files) != 1:
        raise ApiError(422, "invalid", f"one file is sent at a time, got {len(files)}", 'send it as the part "file"')
    return await service.lookups.run(request, _upload_model, service, next(iter(files.values())))


@router.get("/uploads/{upload}", responses=errors(404))
async def upload_facts(request: Request, service: Shared, upload: UploadId) -> UploadModel:
    """What is known of a file that was sent."""
    return await service.lookups.run(request, _upload_model, service, service.uploads.get(upload))


@router.get(
    "/uploads/{upload}/thumbnail",
    response_class=Response,
    responses={200: {"content": {"image/webp": {"schema": {"type": "string", "format": "binary"}}}}, **errors(404)},
)
async def upload_thumbnail(
    request: Request, service: Shared, upload: UploadId, size: Annotated[int, Query(ge=16, le=1280)] = 256
) -> Response:
    """A picture of a file that was sent; none of a text."""
    found = service.uploads.get(upload)
    made = await service.pictures.run(
        request,
        picture,
        found.path,
        found.info.kind,
        found.info.format,
        size_of(size),
        0.0,
        service.settings.limits.upload_pixels,
    )
    return Response(made, media_type="image/webp", headers={"Cache-Control": "private, max-age=3600"})


async def _asked(request: Request, service: Service) -> QueryRequest:
    """The question in a request's body, JSON or a form with files."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == "multipart/form-data":
        fields, files = await _form(request, service)
        asked = _read(fields.get("query", ""))
        named: dict[str, Upload] = {}
        for part, file in files.items():
            named[part] = file
            named.setdefault(file.name, file)
        return asking.with_uploads(asked, named)
    if content_type and content_type != "application/json":
        raise ApiError(415, "unsupported_media_type", f"a query is JSON or multipart, got {content_type[:80]}")
    return _read(await request.body())


def _read(text: str | bytes) -> QueryRequest:
    try:
        return QueryRequest.model_validate_json(text)
    except ValidationError as error:
        raise ApiError(422, "invalid", said_of(error.errors()), "see /api/v1/openapi.json") from None


async def _form(request: Request, service: Service) -> tuple[dict[str, str], dict[str, Upload]]:
    """The fields of a form, and its files as uploads, by the names of their parts."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "multipart/form-data":
        raise ApiError(415, "unsupported_media_type", "files are sent as multipart/form-data")
    if service.forms >= service.settings.limits.forms:
        raise busy()
    service.forms += 1
    try:
        return await _read_form(request, service)
    finally:
        service.forms -= 1


async def _read_form(request: Request, service: Service) -> tuple[dict[str, str], dict[str, Upload]]:
    fields: dict[str, str] = {}
    files: dict[str, Upload] = {}
    most = service.settings.limits.json_bytes
    async with request.form(max_files=MOST_FILES, max_fields=MOST_FILES, max_part_size=most) as form:
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                # As a picture is: headers are read and perhaps one frame decoded, beside queries and not before them.
                files[name] = await service.pictures.run(
                    request, service.uploads.add, value.filename or "upload", value.file
                )
            else:
                fields[name] = value
    return fields, files


def _upload_model(service: Service, upload: Upload) -> UploadModel:
    info = upload.info
    return UploadModel(
        upload=upload.id,
        item=held_as(service.engine.library.store, upload.digest, info.format),
        name=upload.name,
        kind=info.kind,
        format=info.format,
        bytes=upload.bytes,
        width=info.width,
        height=info.height,
        duration=info.duration_seconds,
    )
