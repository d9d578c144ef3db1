"""What all requests share: one engine with one model in memory, the threads that work for it, and what is kept."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request

from indexer.errors import MmsearchError
from mmsearch.engine import Engine
from mmsearch.server.jobs import Jobs
from mmsearch.server.pictures import Cache
from mmsearch.server.settings import ServerSettings
from mmsearch.server.uploads import Uploads
from mmsearch.server.work import Pool

_log = logging.getLogger("mmsearch.server")

CACHE_FOLDER = "thumbnails"

_PATIENCE_SECONDS = 20.0  # for an indexing run to finish what it has in hand when the server ends


class Service:
    """An engine as a server uses it.

    Queries, pictures and looks into the store have threads of their own, so that none of them waits for the others:
    a page of thumbnails does not hold up a query.
    """

    def __init__(self, engine: Engine, settings: ServerSettings) -> None:
        limits = settings.limits
        self.engine = engine
        self.settings = settings
        self.queries = Pool("query", limits.query_workers, limits.queue, limits.answer_seconds)
        self.pictures = Pool("picture", limits.picture_workers, limits.queue, limits.answer_seconds)
        self.lookups = Pool("lookup", 4, limits.queue, limits.answer_seconds)
        self.uploads = Uploads(limits)
        self.jobs = Jobs(engine)
        self.cache = Cache(Path(engine.path) / CACHE_FOLDER, limits.cached_bytes)
        self.streams = self.forms = 0
        self.is_ending = False

    def warm_up(self) -> None:
        """Load the model and the indexes, so that the first query need not; whatever fails will fail then, too."""
        try:
            self.engine.query("warm up", k=1)
        except MmsearchError as error:
            _log.info("not warmed up: %s", error)
        except Exception:
            _log.exception("not warmed up")

    def end_streams(self) -> None:
        """Let listeners to events go, so that a server that ends does not wait for them."""
        self.is_ending = True

    def close(self) -> None:
        """End what is at work. The engine stays open: it is the caller's."""
        self.is_ending = True
        for pool in (self.queries, self.pictures, self.lookups):
            pool.close()
        self.jobs.close(_PATIENCE_SECONDS)
        self.uploads.close()


async def service_of(request: Request) -> Service:
    """The service of the application that a request came to. A coroutine: FastAPI gives others a thread each time."""
    service: Service = request.app.state.service
    return service


Shared = Annotated[Service, Depends(service_of)]
"""A parameter of a route that is given the service."""
