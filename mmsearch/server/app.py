"""The application: routes, page and guard put together. It works for one engine, which stays its caller's."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from mmsearch import __version__
from mmsearch.engine import Engine
from mmsearch.server import library, media, queries, why
from mmsearch.server.errors import add_handlers
from mmsearch.server.guard import Guard
from mmsearch.server.parameters import only_known_parameters
from mmsearch.server.service import Service
from mmsearch.server.settings import API, ServerSettings

PAGE = Path(__file__).with_name("page")
"""The page's files, as they come with the package."""

# FastAPI tells what is asked to whatever the environment names (OpenTelemetry). What people look for stays here.
_NO_TELEMETRY: Any = dict.fromkeys(("tracing", "metrics", "logs", "operation_spans", "auto_configure"), False)

# Not as the system has them: where a registry calls JavaScript plain text, browsers run none of it.
_MEDIA_TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}

_DESCRIPTION = """Find text, pictures, sounds and video moments by meaning, in a library on this machine.

Every error is an object with `error` (a name), `message` (a sentence) and perhaps `hint` (what to do about it).
"""


def create_app(engine: Engine, settings: ServerSettings | None = None, *, warm_up: bool = False) -> FastAPI:
    """An ASGI application that serves a library: the API, and the page in front of it.

    Args:
        engine: which library. It is not closed with the application.
        settings: how it is reached, and its bounds; loopback when None.
        warm_up: whether the model is loaded while the application starts, and not by the first query.
    """
    settings = settings or ServerSettings()
    service = Service(engine, settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if warm_up:
            threading.Thread(target=service.warm_up, name="warm-up", daemon=True).start()
        yield
        service.close()

    app = FastAPI(
        title="mmsearch",
        version=__version__,
        description=_DESCRIPTION,
        openapi_url=f"{API}/openapi.json",
        docs_url=None,  # FastAPI's pages for people are loaded from another site
        redoc_url=None,
        lifespan=lifespan,
        telemetry=_NO_TELEMETRY,
        middleware=[Middleware(Guard, settings=settings)],
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.service = service
    add_handlers(app)
    for part in (queries, media, library, *((why,) if hasattr(engine, "explain") else ())):
        app.include_router(part.router, prefix=API, dependencies=[Depends(only_known_parameters)])
    _secure(app, settings)
    if PAGE.is_dir():
        app.mount("/", Page(directory=PAGE, html=True), name="page")
    return app


class Page(StaticFiles):
    """The page's files. They may change with the package, so a browser asks each time whether they did."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file, or the error that there is none."""
        response = await super().get_response(path, scope)
        media_type = _MEDIA_TYPES.get(Path(path).suffix)
        if media_type is not None and response.status_code == 200:
            response.headers["Content-Type"] = media_type
        response.headers["Cache-Control"] = "no-cache"
        return response


def _secure(app: FastAPI, settings: ServerSettings) -> None:
    """Say in OpenAPI that there is a token, where there is one."""
    if settings.token is None:
        return
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if not app.openapi_schema:
            schema = plain()
            schema.setdefault("components", {})["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            schema["security"] = [{"token": []}]
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]
