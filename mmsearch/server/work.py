"""Work off the event loop: a bounded number of threads, a bounded line before them, and nobody waits for who has left.

What a client has asked for and not got yet is not begun when the client leaves. What has begun is told by an event, at
which decoding looks between samples and a search between its stages.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from starlette.requests import Request

from indexer.errors import CancelledError
from mmsearch.server.errors import ApiError, busy

_log = logging.getLogger("mmsearch.server")

Result = TypeVar("Result")

_left: ContextVar[threading.Event | None] = ContextVar("_left", default=None)


class ClientLeftError(ApiError):
    """Nobody is there to take the answer. 499 is what proxies call it; it is sent to nobody."""

    def __init__(self) -> None:
        super().__init__(499, "client_left", "the client left before the answer")


def check_left() -> None:
    """Where work may end early: raise when the client that it is for has left, or its time is up.

    Raises:
        CancelledError: it has.
    """
    event = _left.get()
    if event is not None and event.is_set():
        raise CancelledError("the client left")


def leaving() -> threading.Event | None:
    """What is set when the client that this thread works for has left, its time is up, or the server ends.

    For work that takes a `cancel`. None where the thread works for nobody in particular.
    """
    return _left.get()


@contextmanager
def told_by(event: threading.Event) -> Iterator[None]:
    """Let `check_left` look at an event inside."""
    token = _left.set(event)
    try:
        yield
    finally:
        _left.reset(token)


class Pool:
    """Threads for one kind of work, and the line before them.

    Args:
        name: of its threads.
        workers: how many pieces of work are in hand at once.
        queue: how many more may wait; what comes then is refused.
        seconds: how long a client waits at most.
    """

    def __init__(self, name: str, workers: int, queue: int, seconds: float) -> None:
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix=name)
        self._most = workers + queue
        self._seconds = seconds
        self._in_hand: set[threading.Event] = set()  # one for each piece of work, also of what is in line
        self._lock = threading.Lock()

    async def run(self, request: Request | None, work: Callable[..., Result], *args: Any, **how: Any) -> Result:
        """Do something in a thread, for the client of a request.

        Args:
            request: of a client that may leave, with its body read; None for nobody's.
            work: what is to be done.
            args: for it.
            how: for it, too.

        Raises:
            ApiError: too much is in line already, or it took too long.
            ClientLeftError: the client left meanwhile.
        """
        left = threading.Event()
        with self._lock:
            if len(self._in_hand) >= self._most:
                raise busy()
            self._in_hand.add(left)
        try:
            future = self._executor.submit(_told, left, work, args, how)
        except RuntimeError as error:  # it was closed
            self._done(left)
            raise busy() from error
        future.add_done_callback(lambda _: self._done(left))
        return await _awaited(request, future, left, self._seconds)

    def _done(self, left: threading.Event) -> None:
        with self._lock:
            self._in_hand.discard(left)

    @property
    def held(self) -> int:
        """How many pieces of work are in hand or in line."""
        return len(self._in_hand)

    def close(self) -> None:
        """Begin nothing more, and let what is at work end as if its clients had left."""
        with self._lock:
            in_hand = tuple(self._in_hand)
        for left in in_hand:
            left.set()
        self._executor.shutdown(wait=False, cancel_futures=True)


def _told(left: threading.Event, work: Callable[..., Result], args: Any, how: Any) -> Result:
    with told_by(left):
        return work(*args, **how)


async def _awaited(request: Request | None, future: Future[Result], left: threading.Event, seconds: float) -> Result:
    wrapped = asyncio.wrap_future(future)
    gone = None if request is None else asyncio.ensure_future(_gone(request))
    waited: set[asyncio.Future[Any]] = {wrapped} if gone is None else {wrapped, gone}
    try:
        await asyncio.wait(waited, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if wrapped.done():
            return wrapped.result()
        if gone is not None and gone.done():
            raise ClientLeftError
        raise ApiError(
            503, "too_slow", f"there was no answer within {seconds:.0f} s", "try again", {"Retry-After": "5"}
        )
    finally:
        if not wrapped.done():
            left.set()
            wrapped.cancel()  # and the work with it, if it has not begun
        if gone is not None:
            gone.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await gone


async def _gone(request: Request) -> None:
    """Return when the client has left. The body was read: what comes now is its leaving."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
