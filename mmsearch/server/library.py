"""Routes about the library: how it stands, what there is to filter by, indexing it, and what people say of results."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import secrets
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import StreamingResponse

from indexer.choices import choices_of
from indexer.errors import UsageError
from indexer.feedback import record
from indexer.report import IndexOptions
from mmsearch import __version__
from mmsearch.encoders.names import short_name
from mmsearch.server import asking
from mmsearch.server.errors import ApiError, busy, shown
from mmsearch.server.library_models import (
    AbilitiesModel,
    BoundsModel,
    DoneModel,
    FacetsModel,
    FeedbackRequest,
    FolderModel,
    IndexRequest,
    JobModel,
    LengthModel,
    RevealRequest,
    RootModel,
    StatusModel,
    TroubleModel,
)
from mmsearch.server.opening import find, opened
from mmsearch.server.queries import errors
from mmsearch.server.reveal import reveal as reveal_file
from mmsearch.server.service import Service, Shared
from mmsearch.server.settings import is_loopback

router = APIRouter()

_POLL_SECONDS = 0.1


@router.get("/status", responses=errors())
async def status(
    request: Request,
    service: Shared,
    troubles: Annotated[int, Query(ge=0, le=10_000, description="How many files that failed are listed.")] = 100,
) -> StatusModel:
    """What is indexed, with which model, what failed and why, what goes on, and what this server does and takes."""
    return await service.lookups.run(request, _status, service, troubles)


def _status(service: Service, most: int) -> StatusModel:
    found = service.engine.status()
    store = service.engine.library.store
    generation = store.generation()
    roots = {path: id for id, path in store.roots().items()}
    counts, limits = found.counts, service.settings.limits
    return StatusModel(
        version=__version__,
        library=shown(str(found.path)),
        model=None if found.spec is None else short_name(found.spec.name),
        empty=generation is None or not store.has_read_files(generation[0]),
        kinds=counts.kinds,
        segments=counts.segments,
        roots=[
            RootModel(root=roots[root.path], path=shown(root.path), files=root.files, reachable=root.reachable)
            for root in counts.roots
            if root.path in roots
        ],
        failed=counts.failed,
        partial=counts.partial,
        missing=counts.missing,
        no_speech=counts.no_speech,
        unread=counts.unread,
        hours=counts.hours,
        database_bytes=found.database_bytes,
        index_bytes=found.index_bytes,
        troubles=[
            TroubleModel(path=shown(t.path), state=t.state, reason=shown(t.reason))  # type: ignore[arg-type]
            for t in found.troubles[:most]
        ],
        troubles_in_all=len(found.troubles),
        job=service.jobs.state()[1],
        abilities=AbilitiesModel(
            explain=hasattr(service.engine, "explain"),
            feedback=True,
            reveal=service.settings.is_for_one,
            index=True,
            index_paths=service.settings.allow_index,
        ),
        bounds=BoundsModel(
            upload_bytes=limits.upload_bytes,
            upload_pixels=limits.upload_pixels,
            upload_seconds=limits.upload_seconds,
            results=limits.results,
        ),
    )


@router.get("/facets", responses=errors())
async def facets(request: Request, service: Shared) -> FacetsModel:
    """What there is to filter by: kinds, folders, years, lengths, places, each with how many files."""
    return await service.lookups.run(request, _facets, service)


def _facets(service: Service) -> FacetsModel:
    found = choices_of(service.engine.library.store)
    return FacetsModel(
        files=found.files,
        kinds=found.kinds,
        folders=[
            FolderModel(
                path=shown(folder.path),
                name=shown(os.path.basename(folder.path) or folder.path),
                root=folder.root_id,
                depth=folder.depth,
                files=folder.files,
            )
            for folder in found.folders
        ],
        years={str(year): files for year, files in found.years.items()},
        lengths=[
            LengthModel(min_seconds=one.min_seconds, max_seconds=one.max_seconds, files=one.files)
            for one in found.lengths
        ],
        with_place=found.with_place,
    )


# --- indexing ---


@router.post("/index", status_code=202, responses=errors(404, 409))
async def index(request: Request, service: Shared, wanted: IndexRequest) -> JobModel:
    """Begin to index: some roots, or all of them. Queries go on meanwhile. See /index/events."""
    return await service.lookups.run(request, _start, service, wanted)


def _start(service: Service, wanted: IndexRequest) -> JobModel:
    from indexer.changes import check_path
    from indexer.lookup import full_path

    store = service.engine.library.store
    roots = store.roots()
    paths: list[str] = []
    if wanted.roots:
        for root in wanted.roots:
            if root not in roots:
                raise ApiError(404, "not_found", f"the library has no root {root}", "see /status for its roots")
        # What was named in a root, and no more: a single file does not bring the folder that it lies in.
        for root, scope in store.scopes():
            if root in wanted.roots:
                directory, _, name = scope.rpartition("/")
                paths.append(full_path(roots[root], directory, name) if scope else roots[root])
    if wanted.paths:
        if not service.settings.allow_index:
            raise ApiError(
                403, "not_allowed", "this server takes no new folders", "start it with: mmsearch serve --allow-index"
            )
        for path in wanted.paths:
            if not os.path.isabs(os.path.expanduser(path)):
                raise UsageError(f"a folder to index is an absolute path, got {path}")
            check_path(service.engine.library, path)
        paths += wanted.paths
    if not paths and not roots:
        raise UsageError("nothing was indexed yet: name a folder")
    return service.jobs.start(paths, IndexOptions(prune=wanted.prune, retry_failed=wanted.retry_failed))


@router.delete("/index", responses=errors())
async def cancel(service: Shared) -> JobModel:
    """End the run that is at work, with what is done kept. Nothing happens where there is none."""
    return service.jobs.cancel()


@router.get("/index", responses=errors())
async def job(service: Shared) -> JobModel:
    """The run that is at work, or the last one."""
    return service.jobs.state()[1]


@router.get(
    "/index/events",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Events named `job`, each with a whole JobModel as its data, and comments as heartbeats",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        **errors(),
    },
)
async def events(
    request: Request, service: Shared, last_event_id: Annotated[str | None, Header(max_length=100)] = None
) -> StreamingResponse:
    """Changes of indexing runs as they happen.

    Each event is the whole state, so that one who was away misses nothing by missing some. The first comes at once,
    unless it is the one that the client had last.
    """
    if service.streams >= service.settings.limits.streams:
        raise busy()
    stream = _events(service, last_event_id)
    return StreamingResponse(
        stream, media_type="text/event-stream", headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )


_THIS_SERVER = secrets.token_hex(4)
"""In the ids of events: numbers of another server that had this address before mean nothing here."""


async def _events(service: Service, last: str | None) -> AsyncIterator[bytes]:
    if service.streams >= service.settings.limits.streams:  # several came at once
        yield b"retry: 5000\n\n"
        return
    service.streams += 1
    clock = asyncio.get_running_loop().time
    try:
        yield b"retry: 2000\n\n"
        quiet_since = clock()
        while not service.is_ending:
            change = service.jobs.change
            id = f"{_THIS_SERVER}-{change}"
            if id != last:
                change, state = service.jobs.state()
                last = id = f"{_THIS_SERVER}-{change}"
                yield f"id: {id}\nevent: job\ndata: {json.dumps(state.model_dump())}\n\n".encode()
                quiet_since = clock()
            elif clock() - quiet_since >= service.settings.limits.heartbeat_seconds:
                yield b": still here\n\n"
                quiet_since = clock()
            await asyncio.sleep(_POLL_SECONDS)
    finally:
        service.streams -= 1


# --- what people say and do ---


@router.post("/feedback", responses=errors(404))
async def feedback(request: Request, service: Shared, said: FeedbackRequest) -> DoneModel:
    """Keep a thumb up or down for a result, in the place of an earlier one. Training reads it as a pair."""
    return await service.lookups.run(request, _feedback, service, said)


def _feedback(service: Service, said: FeedbackRequest) -> DoneModel:
    item = find(service.engine.library.store, said.item)
    query = asking.query_to_keep(service.engine, service.uploads, said.query)
    record(
        service.engine.library.store,
        query,
        item.key,
        said.good,
        start_seconds=said.start,
        end_seconds=said.end,
    )
    return DoneModel()


@router.post("/reveal", responses=errors(404, 409))
async def reveal(request: Request, service: Shared, wanted: RevealRequest) -> DoneModel:
    """Show a file in this computer's file manager. Only for somebody who sits at it: a server on loopback."""
    client = request.client.host if request.client else ""
    if not service.settings.is_for_one or not _is_here(client):
        raise ApiError(403, "not_allowed", "files are shown only on the computer that the server runs on")
    return await service.lookups.run(request, _reveal, service, wanted.item)


def _is_here(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return is_loopback(host)
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _reveal(service: Service, key: str) -> DoneModel:
    store = service.engine.library.store
    with opened(store, find(store, key)) as file:
        path = file.file.path
    reveal_file(path)
    return DoneModel()
