"""Errors as answers: one JSON shape for all of them, without paths of this machine and without traces."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from indexer.errors import (
    CancelledError,
    EmptyLibraryError,
    LibraryError,
    LibraryLockedError,
    MediaError,
    MediaTooLargeError,
    MmsearchError,
    ModelError,
    UsageError,
)

_log = logging.getLogger("mmsearch.server")

RETRY_SECONDS = 1


class ApiError(HTTPException):
    """An answer that is an error.

    Args:
        status: of HTTP.
        error: its name, for programs.
        message: what is wrong, for a person.
        hint: what to do about it.
        headers: that go with it.
    """

    def __init__(
        self, status: int, error: str, message: str, hint: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, message, dict(headers or {}))
        self.status = status
        self.error = error
        self.message = message
        self.hint = hint


def busy() -> ApiError:
    """The answer to more than can be done now."""
    return ApiError(
        503,
        "busy",
        "the server has as much in hand as it can take",
        "try again in a second",
        {"Retry-After": str(RETRY_SECONDS)},
    )


def not_found(what: str = "item") -> ApiError:
    """The answer to an id that leads nowhere."""
    return ApiError(404, "not_found", f"there is no such {what} in the library", "it may have been forgotten since")


# The first that fits. Messages of the library itself are for the person at its command line, and name its folder:
# where a text is given here, it is said in their place. Others say their message and hint; advice is for that person.
_TABLE: tuple[tuple[type[MmsearchError], int, str, str | None, str | None], ...] = (
    (
        EmptyLibraryError,
        409,
        "empty_library",
        "nothing has been indexed yet",
        "index a folder: in the page's view of the library, or where the server runs with: mmsearch index FOLDER",
    ),
    (LibraryLockedError, 409, "locked", "another process is writing to the library", "try again when it is done"),
    (LibraryError, 500, "library", "the library cannot be used now", "see what is wrong with: mmsearch verify"),
    (ModelError, 503, "model", "the model cannot be used now", "see what is wrong with: mmsearch models"),
    (CancelledError, 503, "cancelled", "it was stopped before there was a result", None),
    (MediaTooLargeError, 413, "too_large", None, None),
    (MediaError, 422, "bad_media", None, None),
    (UsageError, 400, "bad_query", None, None),
    (MmsearchError, 500, "failed", "it cannot be done now", None),
)


def api_error(error: Exception) -> ApiError | None:
    """What an error of ours is to a client; None for what is none of ours."""
    if isinstance(error, ApiError):
        return error
    for kind, status, name, message, hint in _TABLE:
        if isinstance(error, kind):
            return ApiError(status, name, message or error.message, hint or error.hint)
    return None


def body_of(error: ApiError) -> dict[str, Any]:
    """The JSON of an error."""
    return {
        "error": error.error,
        "message": shown(error.message),
        **({"hint": shown(error.hint)} if error.hint else {}),
    }


def shown(text: str) -> str:
    r"""A text as JSON takes it: bytes of a path that are not UTF-8 become "\xff"."""
    if text.isascii():
        return text
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def answer(error: ApiError) -> JSONResponse:
    """An error as a response."""
    return JSONResponse(body_of(error), error.status, dict(error.headers or {}))


def add_handlers(app: FastAPI) -> None:
    """Make every error of an application leave in the one shape."""

    async def ours(request: Request, error: Exception) -> JSONResponse:
        found = api_error(error) or INTERNAL
        if found.status >= 500 and not isinstance(error, ApiError):
            _log.error("%s %s", request.method, request.url.path, exc_info=error)
        return answer(found)

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        problems: Sequence[Any] = error.errors() if isinstance(error, RequestValidationError) else ()
        return answer(ApiError(422, "invalid", said_of(problems), "see /api/v1/openapi.json for what is expected"))

    async def http(request: Request, error: Exception) -> JSONResponse:
        status = error.status_code if isinstance(error, HTTPException) else 500
        headers = getattr(error, "headers", None) or {}
        name, message = _HTTP.get(status, ("refused", "the request cannot be answered"))
        return answer(ApiError(status, name, message, headers=headers))

    for kind in (ApiError, MmsearchError):
        app.add_exception_handler(kind, ours)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)


def said_of(problems: Sequence[Any]) -> str:
    """What pydantic found, in a sentence; the values that were sent are left out, since they may be large."""
    parts = []
    for problem in _one_of_each_term(problems)[:3]:
        where = ".".join(str(part) for part in problem.get("loc", ()) if part != "body")
        parts.append(f"{where}: {problem.get('msg', 'is not right')}" if where else str(problem.get("msg", "")))
    return "; ".join(parts) or "the request is not as documented"


def _one_of_each_term(problems: Sequence[Any]) -> list[Any]:
    """The same without what pydantic says of each kind that a term might have been, and is not.

    Of a term that is of no kind it has nothing better to say.
    """
    kept: list[Any] = []
    terms: dict[tuple[Any, ...], list[Any]] = {}
    for problem in problems:
        place = tuple(problem.get("loc", ()))
        at = place.index("terms") if "terms" in place[:-2] else None
        if at is None:
            kept.append(problem)
        else:
            terms.setdefault(place[: at + 2], []).append(problem)
    for place, found in terms.items():
        of_no_kind = {one["loc"][len(place)] for one in found if one["type"] in _OF_NO_KIND}
        own = [one for one in found if one["loc"][len(place)] not in of_no_kind]
        kept += [{**one, "loc": (*place, *one["loc"][len(place) + 1 :])} for one in own] or [
            {"loc": place, "msg": _TERM}
        ]
    return kept


_OF_NO_KIND = ("missing", "model_type", "model_attributes_type")
_TERM = 'a term is {"text": "..."}, {"item": "..."}, {"upload": "..."} or {"file": "..."}, and may have a "weight"'


INTERNAL = ApiError(500, "internal", "this is a bug in mmsearch; the library is unharmed")
"""The answer to what nobody expected."""

_HTTP: Mapping[int, tuple[str, str]] = {
    400: ("bad_request", "the request cannot be read"),
    404: ("not_found", "there is nothing at this address"),
    405: ("method_not_allowed", "this address does not take that method"),
    415: ("unsupported_media_type", "the request is neither JSON nor multipart"),
}
