"""Routes for single items: what is known of one, its pictures, and its bytes."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timezone
from email.utils import formatdate
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from starlette.responses import StreamingResponse

from indexer.errors import MediaError
from indexer.items import Item, lines_of
from indexer.media.formats import FORMATS
from mmsearch.server import pictures
from mmsearch.server.errors import ApiError, shown
from mmsearch.server.models import ItemId, ItemModel, LineModel, SegmentModel, WaveformModel
from mmsearch.server.opening import Opened, find, open_item, opened
from mmsearch.server.queries import errors
from mmsearch.server.ranges import Span, read_range
from mmsearch.server.service import Service, Shared

router = APIRouter()

_BLOCK = 256 * 1024
_MOST_LINES = 5000
_FOREVER = "private, max-age=31536000, immutable"  # an id names bytes, so what is made of them never changes

# Everything has the type of what it holds and no other; a page (HTML) is shown as the text that it is, for nothing that
# was indexed may run in our name.
_TYPES: Mapping[str, str] = {
    **{"jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp", "gif": "image/gif", "bmp": "image/bmp"},
    **{"avif": "image/avif", "wav": "audio/wav", "mp3": "audio/mpeg", "flac": "audio/flac", "ogg": "audio/ogg"},
    **{
        "aac": "audio/aac",
        "aiff": "audio/aiff",
        "caf": "audio/x-caf",
        "amr": "audio/amr",
        "wavpack": "audio/x-wavpack",
    },
    **{"mp4": "video/mp4", "mov": "video/mp4", "matroska": "video/x-matroska", "webm": "video/webm"},
    **{"avi": "video/x-msvideo", "asf": "video/x-ms-asf", "flv": "video/x-flv", "mpeg": "video/mpeg"},
    **{"mpegts": "video/mp2t", "pdf": "application/pdf"},
    **dict.fromkeys(("text", "markdown", "html", "srt", "vtt"), "text/plain; charset=utf-8"),
}
_CONVERTED = frozenset({"heif", "tiff"})
"""Pictures that browsers do not show: they get a WebP."""

_NOT_PLAYED = frozenset({"aiff", "caf", "amr", "wavpack", "avi", "asf", "flv", "mpeg", "mpegts"})

_INERT = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; media-src 'self'; sandbox"
"""What a file may do that is opened on its own: nothing. (Browsers give their own players an inline style.)"""


def type_of(item: Item) -> str:
    """The media type of what /media gives for an item."""
    if item.format in _CONVERTED:
        return "image/webp"
    known = _TYPES.get(item.format, "application/octet-stream")
    holds = {"audio": ("video/", "audio/"), "video": ("audio/", "video/")}.get(item.kind, ("", ""))
    return known.replace(*holds, 1)  # a container is named for what is in it


@router.get("/items/{item}", responses=errors(404))
async def facts(request: Request, service: Shared, item: ItemId) -> ItemModel:
    """What is known of a file: its facts, the lines said or written in it with their times, and its segments."""
    return await service.lookups.run(request, _facts, service, item)


def _facts(service: Service, key: str) -> ItemModel:
    store = service.engine.library.store
    item = find(store, key)
    generation = store.generation()
    found = [] if generation is None else lines_of(store, generation[0], item.content_id, limit=100_000)
    lines = [
        LineModel(channel=line.channel, start=line.start_seconds, end=line.end_seconds, text=line.text)
        for line in found
        if line.text is not None
    ]
    segments = [
        SegmentModel(channel=line.channel, start=line.start_seconds, end=line.end_seconds)
        for line in found
        if line.start_seconds is not None
    ]
    file = item.files[0]
    return ItemModel(
        item=item.key,
        path=shown(file.path),
        name=shown(file.name),
        kind=item.kind,
        format=item.format,
        label=FORMATS[item.format].label if item.format in FORMATS else item.format,
        width=item.width,
        height=item.height,
        duration=item.duration_seconds,
        captured_at=item.captured_at,
        modified_at=_iso(file.mtime_ns),
        latitude=item.latitude,
        longitude=item.longitude,
        title=item.title,
        bytes=file.size,
        copies=[shown(other.path) for other in item.files[1:]],
        media_type=type_of(item),
        browsers_play=item.format not in _NOT_PLAYED,
        lines=lines[:_MOST_LINES],
        segments=segments[:_MOST_LINES],
        lines_left_out=max(0, len(lines) - _MOST_LINES),
    )


def _iso(mtime_ns: int) -> str:
    try:
        return datetime.fromtimestamp(mtime_ns / 1e9, timezone.utc).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return "1970-01-01T00:00:00+00:00"


# --- pictures of it ---

_WEBP: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/webp": {"schema": {"type": "string", "format": "binary"}}}, "description": "A picture"},
    304: {"description": "What the client has is what there is"},
}


@router.get("/items/{item}/thumbnail", response_class=Response, responses={**_WEBP, **errors(404, 409)})
async def thumbnail(
    request: Request,
    service: Shared,
    item: ItemId,
    size: Annotated[int, Query(ge=16, le=1280, description="Side of the square that it fits into, in pixels.")] = 256,
    t: Annotated[
        float, Query(ge=0, le=1e7, allow_inf_nan=False, description="Which moment of a video or a sound, in seconds.")
    ] = 0.0,
) -> Response:
    """A small picture: the photograph, the frame at a moment, the waveform from there on. None of a text."""
    side, moment = pictures.size_of(size), pictures.moment_of(t)
    tag = f'"{item[:24]}-{side}-{moment}"'
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={"ETag": tag, "Cache-Control": _FOREVER})
    made = await service.pictures.run(request, _thumbnail, service, item, side, moment)
    return Response(made, media_type="image/webp", headers={"ETag": tag, "Cache-Control": _FOREVER})


def _thumbnail(service: Service, key: str, side: int, moment: float) -> bytes:
    store = service.engine.library.store
    item = find(store, key)
    moment = moment if item.kind in ("video", "audio") else 0.0

    def make() -> bytes:
        with opened(store, item) as file:
            return pictures.picture(file.path, item.kind, item.format, side, moment)

    return service.cache.get(f"{item.key}.{side}.{moment}.webp", make)


@router.get("/items/{item}/waveform", responses=errors(404, 409))
async def waveform(
    request: Request,
    service: Shared,
    item: ItemId,
    points: Annotated[int, Query(ge=1, le=4000)] = 400,
    start: Annotated[float, Query(ge=0, le=1e7, allow_inf_nan=False)] = 0.0,
    end: Annotated[float | None, Query(ge=0, le=1e7, allow_inf_nan=False)] = None,
) -> WaveformModel:
    """How loud a recording, or the sound of a video, is: the highest sample of each of equal stretches."""
    return await service.pictures.run(request, _waveform, service, item, points, start, end)


def _waveform(service: Service, key: str, points: int, start: float, end: float | None) -> WaveformModel:
    store = service.engine.library.store
    item = find(store, key)
    if item.kind not in ("audio", "video"):
        raise ApiError(422, "no_sound", f"there is no sound in a file of the kind {item.kind}")
    length = item.duration_seconds or 0.0
    until = min(end, length) if end is not None and length else end if end is not None else length
    if until <= start:
        raise ApiError(
            422, "invalid", f"the sound is {length:.2f} s long, and nothing of it lies from {start} to {end} s"
        )

    def make() -> bytes:
        with opened(store, item) as file:
            try:
                found = pictures.peaks(file.path, item.format, start, until, points)
            except MediaError:
                if item.kind != "video":
                    raise
                found = []  # a video without sound is no mistake of whoever asks
            return json.dumps(found).encode()

    made = service.cache.get(f"{item.key}.{points}.{start:.3f}.{until:.3f}.json", make)
    return WaveformModel(start=start, end=until, peaks=json.loads(made))


# --- its bytes ---


@router.head("/items/{item}/media", include_in_schema=False)
@router.get(
    "/items/{item}/media",
    response_class=Response,
    responses={
        200: {
            "description": "The whole file",
            "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}},
        },
        206: {"description": "The range that was asked for", "content": {"*/*": {"schema": {"type": "string"}}}},
        304: {"description": "What the client has is what there is"},
        **errors(404, 409, 416),
    },
)
async def media(
    request: Request,
    service: Shared,
    item: ItemId,
    download: Annotated[bool, Query(description="As a file to keep, in the format that it is in.")] = False,
) -> Response:
    """The file itself, whole or a range of it. Pictures in formats that browsers do not show become WebP."""
    found = await service.lookups.run(request, find, service.engine.library.store, item)
    tag = f'"{item}{"" if download else "-shown" if found.format in _CONVERTED else ""}"'
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={"ETag": tag})
    common = {
        "ETag": tag,
        "Cache-Control": "private, max-age=3600",
        "Content-Security-Policy": CSP_OF_PDF if found.format == "pdf" else _INERT,
        "Content-Disposition": _disposition(found.files[0].name, attachment=download),
    }
    if found.format in _CONVERTED and not download:
        made = await service.pictures.run(request, _converted, service, found)
        return Response(made, media_type="image/webp", headers=common)
    file = await service.lookups.run(request, open_item, service.engine.library.store, found)
    try:
        return _response(request, file, type_of(found) if not download else "application/octet-stream", common)
    except BaseException:
        file.close()
        raise


CSP_OF_PDF = "default-src 'none'; object-src 'self'; plugin-types application/pdf; style-src 'unsafe-inline'"
"""A sandbox would keep a browser's own viewer of PDF files out."""


def _converted(service: Service, item: Item) -> bytes:
    store = service.engine.library.store

    def make() -> bytes:
        with opened(store, item) as file:
            return pictures.picture(file.path, item.kind, item.format, pictures.SHOWN_SIDE, 0.0)

    return service.cache.get(f"{item.key}.shown.webp", make)


def _response(request: Request, file: Opened, media_type: str, headers: Mapping[str, str]) -> Response:
    asked = request.headers.get("range")
    condition = request.headers.get("if-range")
    if condition is not None and condition != headers["ETag"]:
        asked = None
    span = read_range(asked, file.size)
    if span is None:
        raise ApiError(
            416,
            "range",
            f"the file has {file.size} bytes",
            headers={"Content-Range": f"bytes */{file.size}", "Accept-Ranges": "bytes"},
        )
    sent = {
        **headers,
        "Accept-Ranges": "bytes",
        "Content-Length": str(span.length),
        "Last-Modified": formatdate(file.file.mtime_ns / 1e9, usegmt=True),
    }
    if span.is_part:
        sent["Content-Range"] = f"bytes {span.start}-{span.start + span.length - 1}/{file.size}"
    status = 206 if span.is_part else 200
    if request.method == "HEAD":
        file.close()
        return Response(status_code=status, headers=sent, media_type=media_type)
    return _FileResponse(file, span, status, sent, media_type)


class _FileResponse(StreamingResponse):
    """A stretch of an open file, which is closed whatever becomes of the client."""

    def __init__(self, file: Opened, span: Span, status: int, headers: Mapping[str, str], media_type: str) -> None:
        super().__init__(_blocks(file, span), status, headers, media_type)
        self._file = file

    async def __call__(self, *connection: Any) -> None:
        try:
            await super().__call__(*connection)
        finally:
            self._file.close()


async def _blocks(file: Opened, span: Span) -> AsyncIterator[bytes]:
    at, end = span.start, span.start + span.length
    while at < end:
        block = await asyncio.to_thread(_read_at, file.descriptor, min(_BLOCK, end - at), at)
        if not block:
            return  # it became shorter: the client sees that it was cut off
        at += len(block)
        yield block


def _read_at(descriptor: int, size: int, at: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(descriptor, size, at)
    os.lseek(descriptor, at, os.SEEK_SET)
    return os.read(descriptor, size)


def _disposition(name: str, *, attachment: bool) -> str:
    from urllib.parse import quote

    how = "attachment" if attachment else "inline"
    return f"{how}; filename*=UTF-8''{quote(os.fsencode(name))}"
