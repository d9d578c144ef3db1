"""What stands before the application: who may ask, from where, how much and how slowly. Plain ASGI.

    too many requests           503, before anything of them is read
    another Host than ours      421: a page whose name was pointed at this machine (DNS rebinding) is not ours
    another site's request      403: nothing of the API answers a page of another origin
    no token where one is set   401
    too large or too slow       413, 408

Every answer, those included, carries the headers that keep a browser from doing anything with it but what we mean.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import logging
import socket
from collections.abc import Iterable, Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlencode, urlsplit

import anyio
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mmsearch.server.errors import INTERNAL, ApiError, answer, busy
from mmsearch.server.settings import ServerSettings

_log = logging.getLogger("mmsearch.server")

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; connect-src 'self'; "
    "manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""What a page of ours may do: nothing inline, and nothing from anywhere else."""

_HEADERS: tuple[tuple[bytes, bytes], ...] = tuple(
    (name.encode(), value.encode())
    for name, value in {
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cache-control": "no-store",  # unless an answer says better
        "x-frame-options": "DENY",
        "cross-origin-resource-policy": "same-origin",
        "cross-origin-opener-policy": "same-origin",
        "permissions-policy": "camera=(), geolocation=(), microphone=(self)",
        "content-security-policy": CSP,
    }.items()
)

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_MULTIPART = "multipart/form-data"


class Guard:
    """The application, guarded."""

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self._app = app
        self._settings = settings
        self._limits = settings.limits
        self._names = frozenset(_names(settings))
        self._any_address = settings.host in ("0.0.0.0", "::")
        self._cookie = f"mmsearch-{settings.port}"
        self._session = "" if settings.token is None else _digest(settings.token)
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return  # there are no web sockets
        answering = _Answering(send)
        if self._held >= self._limits.requests:
            await answer(busy())(scope, receive, answering)
            return
        self._held += 1
        try:
            headers = _headers(scope)
            try:
                response = self._refused(scope, headers)
            except ApiError as error:
                response = answer(error)
                if scope["method"] not in _SAFE_METHODS:
                    response.headers["connection"] = "close"  # its body is not waited for
            if response is not None:
                await response(scope, receive, answering)
                return
            bounded = _Body(receive, self._most_bytes(headers), self._limits.body_seconds)
            try:
                await self._app(scope, bounded, answering)
            except Exception:
                if answering.has_begun:
                    raise
                _log.exception("%s %s", scope["method"], scope["path"])
                await answer(INTERNAL)(scope, receive, answering)
        finally:
            self._held -= 1

    @property
    def held(self) -> int:
        """How many requests are in hand."""
        return self._held

    def _most_bytes(self, headers: Mapping[str, str]) -> int:
        is_form = headers.get("content-type", "").lower().startswith(_MULTIPART)
        return self._limits.request_bytes if is_form else self._limits.json_bytes

    def _refused(self, scope: Scope, headers: Mapping[str, str]) -> Response | None:
        """The answer to a request that goes no further; None for one that does."""
        host = headers.get("host", "")
        if not self._is_ours(host):
            raise ApiError(
                421,
                "wrong_host",
                "this server does not answer to that name",
                "open the address that mmsearch serve prints",
            )
        self._check_site(scope, headers, host)
        if self._session:
            entered = self._entering(scope)
            if entered is not None:
                return entered
            if not self._is_known(headers):
                raise ApiError(
                    401,
                    "no_token",
                    "this server wants its token",
                    "open the address with ?token=..., or send it as Authorization: Bearer",
                    {"WWW-Authenticate": "Bearer"},
                )
        length = headers.get("content-length", "")
        if length and (not length.isdigit() or int(length) > self._most_bytes(headers)):
            raise too_large(self._most_bytes(headers))
        return None

    def _is_ours(self, host: str) -> bool:
        name = _name_of(host)
        if name is None:
            return False
        if name in self._names:
            return True
        return self._any_address and _is_address(name)  # an address cannot be pointed elsewhere, as a name can

    def _check_site(self, scope: Scope, headers: Mapping[str, str], host: str) -> None:
        """Refuse what a page of another site asks for, by what browsers say of it."""
        site = headers.get("sec-fetch-site", "")
        is_api = _path(scope).startswith("/api/")
        changes = scope["method"] not in _SAFE_METHODS
        origin = headers.get("origin")
        foreign = origin is not None and urlsplit(origin).netloc.lower() != host.lower()
        # A page may be linked to from anywhere; what belongs to it may not be asked for from anywhere.
        if (is_api or changes) and (site in ("cross-site", "same-site") or foreign):
            raise ApiError(403, "cross_site", "this was asked by a page of another site")

    def _entering(self, scope: Scope) -> Response | None:
        """Where the page is opened with the token: the cookie, and the address without the token."""
        if scope["method"] != "GET" or _path(scope) != "/":
            return None
        query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = query.pop("token", None)
        if given is None:
            return None
        if not self._is_token(given[-1]):
            raise ApiError(401, "no_token", "that is not this server's token")
        rest = urlencode(query, doseq=True)
        response = RedirectResponse(f"{scope.get('root_path', '')}/" + (f"?{rest}" if rest else ""), 303)
        response.set_cookie(self._cookie, self._session, httponly=True, samesite="strict", path="/")
        response.headers["cache-control"] = "no-store"
        return response

    def _is_known(self, headers: Mapping[str, str]) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._is_token(given.strip()):
            return True
        try:
            kept = SimpleCookie(headers.get("cookie", "")).get(self._cookie)
        except CookieError:
            return False
        return kept is not None and hmac.compare_digest(kept.value.encode(), self._session.encode())

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(_digest(given).encode(), self._session.encode())


class _Body:
    """The receiving end of a request, bounded in bytes and in time."""

    def __init__(self, receive: Receive, most: int, seconds: float) -> None:
        self._receive = receive
        self._most = most
        self._until = asyncio.get_running_loop().time() + seconds
        self._taken = 0
        self._done = False

    async def __call__(self) -> Message:
        """The next message: the body within its time, and then whatever comes."""
        if self._done:
            return await self._receive()
        left = self._until - asyncio.get_running_loop().time()
        try:
            with anyio.fail_after(max(left, 0.0)):  # asyncio.wait_for loses a cancellation that comes with the message
                message = await self._receive()
        except TimeoutError:
            raise ApiError(
                408, "too_slow", "the request did not arrive in time", headers={"Connection": "close"}
            ) from None
        self._taken += len(message.get("body", b""))
        if self._taken > self._most:
            raise too_large(self._most)
        self._done = message["type"] != "http.request" or not message.get("more_body", False)
        return message


def too_large(most: int) -> ApiError:
    """The answer to a request of more bytes than are taken."""
    return ApiError(
        413,
        "too_large",
        f"a request has at most {most / 1e6:.0f} MB",
        "send less",
        {"Connection": "close"},
    )


class _Answering:
    """The sending end of a request: it adds our headers, and knows whether an answer has begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.has_begun = False

    async def __call__(self, message: Message) -> None:
        """Send one message."""
        if message["type"] == "http.response.start":
            self.has_begun = True
            there = {name.lower() for name, _ in message["headers"]}
            message["headers"] = [*message["headers"], *(pair for pair in _HEADERS if pair[0] not in there)]
        await self._send(message)


def _path(scope: Scope) -> str:
    """The path within this application, which may be a part of another one."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def _headers(scope: Scope) -> dict[str, str]:
    """Headers by name; of one that comes twice, what cannot be right: both."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found


def _names(settings: ServerSettings) -> Iterable[str]:
    """The names that a browser may know this server by."""
    yield from ("localhost", "127.0.0.1", "::1")
    yield from (name.lower() for name in settings.names)
    if not settings.is_loopback:
        yield settings.host.lower()
        yield from (socket.gethostname().lower(), f"{socket.gethostname().lower()}.local")


def _name_of(host: str) -> str | None:
    """The name in a Host header, without the port; None for what is none."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return None
    if parts.path or parts.query or parts.fragment or parts.username is not None:
        return None
    return parts.hostname


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _digest(token: str) -> str:
    """What stands for a token: of one length, whatever was given, and not the token itself."""
    return hashlib.blake2b(token.encode("utf-8", "surrogateescape"), person=b"mmsearch-session").hexdigest()
