"""Connections as uvicorn handles them, with bounds that it leaves to a proxy: how many there are, and how slow.

A client that sends a request's beginning drop by drop, or nothing at all, or that does not take its answer, holds a
connection. After a while it holds none.
"""

from __future__ import annotations

import asyncio
import json

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from mmsearch.server.errors import ApiError, body_of, busy
from mmsearch.server.settings import Limits


def bounded(limits: Limits) -> type[H11Protocol]:
    """A protocol for uvicorn that keeps to some limits."""

    class Bounded(H11Protocol):
        """HTTP/1.1, for clients that keep at it."""

        _reading: asyncio.TimerHandle | None = None
        _writing: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > limits.connections:
                self._refuse(busy())
                return
            self._expect()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.transport.is_closing() or self._is_answering:
                self._expect_nothing()
            elif self._reading is None:
                self._expect()

        def on_response_complete(self) -> None:
            self._expect_nothing()  # uvicorn's own patience with an idle connection begins here
            super().on_response_complete()
            if self._is_answering or self.transport.is_closing():
                return
            if self.conn.trailing_data[0]:  # the beginning of the next request came already
                self._expect()

        def pause_writing(self) -> None:
            super().pause_writing()
            if self._writing is None:
                self._writing = self.loop.call_later(limits.send_seconds, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._writing is not None:
                self._writing.cancel()
                self._writing = None

        def connection_lost(self, exc: Exception | None) -> None:
            self._expect_nothing()
            if self._writing is not None:
                self._writing.cancel()
            super().connection_lost(exc)

        def send_400_response(self, msg: str) -> None:
            """Answer what is no HTTP in the one shape of errors."""
            self._refuse(ApiError(400, "bad_request", "this is no HTTP request"))

        @property
        def _is_answering(self) -> bool:
            cycle: RequestResponseCycle | None = self.cycle
            return cycle is not None and not cycle.response_complete

        def _expect(self) -> None:
            self._expect_nothing()
            self._reading = self.loop.call_later(limits.header_seconds, self._too_slow)

        def _expect_nothing(self) -> None:
            if self._reading is not None:
                self._reading.cancel()
                self._reading = None

        def _too_slow(self) -> None:
            self._reading = None
            if not self._is_answering:
                self._refuse(ApiError(408, "too_slow", "the request did not arrive in time"))

        def _refuse(self, error: ApiError) -> None:
            """Say no without an application, and hang up."""
            if self.transport.is_closing():
                return
            body = json.dumps(body_of(error)).encode()
            fields = {"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"}
            fields.update(error.headers or {})
            head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
            self.transport.write(f"HTTP/1.1 {error.status} {error.error}\r\n{head}\r\n".encode() + body)
            self.transport.close()

    return Bounded
