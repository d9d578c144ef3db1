"""A server that listens, until it is told to stop."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from dataclasses import replace

import uvicorn

from indexer.errors import UsageError
from mmsearch.engine import Engine
from mmsearch.server.app import create_app
from mmsearch.server.protocol import bounded
from mmsearch.server.service import Service
from mmsearch.server.settings import ServerSettings

_BACKLOG = 1024
_GRACE_SECONDS = 5


class Server(uvicorn.Server):
    """uvicorn's server, which says when it listens, and lets listeners to events go before it waits for the others."""

    def __init__(self, config: uvicorn.Config, service: Service, on_ready: Callable[[], None] | None = None) -> None:
        super().__init__(config)
        self._service = service
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets=sockets)
        if self._on_ready is not None and self.started:
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop to listen, and end."""
        self._service.end_streams()
        await super().shutdown(sockets=sockets)


def serve(
    engine: Engine,
    settings: ServerSettings,
    *,
    on_ready: Callable[[ServerSettings], None] | None = None,
    warm_up: bool = True,
) -> None:
    """Serve a library until Ctrl-C or SIGTERM, which uvicorn raises again once all is closed.

    Args:
        engine: which library; it stays open.
        settings: how it is reached. Port 0 is any that is free.
        on_ready: called once the server listens, with the settings as they are: the port is known then.
        warm_up: whether the model is loaded at once, and not by the first query.

    Raises:
        UsageError: the port is taken, or the host is none of this computer.
    """
    listening = listen(settings)
    settings = replace(settings, port=listening.getsockname()[1])
    with listening:
        server, _ = server_of(engine, settings, warm_up=warm_up, on_ready=on_ready)
        server.run(sockets=[listening])


def server_of(
    engine: Engine,
    settings: ServerSettings,
    *,
    warm_up: bool = False,
    on_ready: Callable[[ServerSettings], None] | None = None,
) -> tuple[Server, Service]:
    """A server that does not run yet, for settings whose port is known, and what its requests share."""
    app = create_app(engine, settings, warm_up=warm_up)
    service: Service = app.state.service
    config = uvicorn.Config(
        app,
        http=bounded(settings.limits),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nobody may say for others where they come from
        timeout_keep_alive=10,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        backlog=_BACKLOG,
    )
    ready = None if on_ready is None else lambda: on_ready(settings)
    return Server(config, service, ready), service


def listen(settings: ServerSettings) -> socket.socket:
    """A socket at the host and port of some settings.

    Raises:
        UsageError: it cannot be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, OverflowError) as error:
        raise UsageError(f"there is no host {settings.host!r} ({error}); leave --host out for this computer") from error
    listening = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise UsageError(_why_not(error, settings)) from error
    return listening


def _why_not(error: OSError, settings: ServerSettings) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {settings.port} is taken, perhaps by another mmsearch serve; choose another with --port "
            f"{settings.port + 1}, or let the system choose with --port 0"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"port {settings.port} is not for everybody; choose one above 1023 with --port"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"the host {settings.host} is no address of this computer; leave --host out, or name one of its own"
    return f"the server cannot listen at {settings.host} port {settings.port}: {error.strerror or error}"
