"""What may be chosen about the server, and the bounds that keep it and its library safe."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field

from indexer.errors import UsageError

API = "/api/v1"
"""Where the API lies."""

LOOPBACK = "127.0.0.1"
DEFAULT_PORT = 7700

_TOKEN_LENGTH = 16


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may cost.

    `json_bytes`: of a request's JSON. `upload_bytes`: of one file, and `request_bytes` of a request with files.
    `upload_pixels`: to decode of one picture or frame. `upload_seconds`: how long a sound or a video may be.
    `decode_seconds`: how long decoding one upload may take. `forms`: requests with files in hand at
    once, each of which may lie on disk until it is read. `kept_uploads`, `kept_bytes`: uploads that are kept for
    further queries, the oldest go first. `results`: of one query. `query_workers`: queries at work at once, and
    `picture_workers` the same of thumbnails and waveforms; `queue`: how many of each may wait. `answer_seconds`: how
    long any of them may take, with its wait. `connections`: open ones; `requests`: in hand at once; `streams`:
    listeners to events. `header_seconds`, `body_seconds`: how long a client may take over the beginning of a request,
    and over all of it. `send_seconds`: how long it may take to take what is ready of an answer. `heartbeat_seconds`:
    between signs of life to a listener. `cached_bytes`: of thumbnails on disk.
    """

    json_bytes: int = 1_000_000
    upload_bytes: int = 64_000_000
    request_bytes: int = 96_000_000
    upload_pixels: int = 64_000_000
    upload_seconds: float = 3600.0
    decode_seconds: float = 60.0
    forms: int = 16
    kept_uploads: int = 64
    kept_bytes: int = 256_000_000
    results: int = 5000
    query_workers: int = field(default_factory=lambda: min(4, max(2, os.cpu_count() or 1)))
    picture_workers: int = field(default_factory=lambda: min(4, max(2, os.cpu_count() or 1)))
    queue: int = 256
    answer_seconds: float = 120.0
    connections: int = 512
    requests: int = 400
    streams: int = 32
    header_seconds: float = 15.0
    body_seconds: float = 120.0
    send_seconds: float = 120.0
    heartbeat_seconds: float = 15.0
    cached_bytes: int = 512_000_000


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """How a server is reached, and what it may do.

    `host`: loopback, or another address together with a `token`. `names`: further names that a browser may reach it by
    (the Host header). `allow_index`: whether a client may name new folders to index. `token`: what a client must know;
    None on loopback for nothing.

    Raises:
        UsageError: another host than loopback or further names without a token, or a token that is too short.
    """

    host: str = LOOPBACK
    port: int = DEFAULT_PORT
    token: str | None = None
    allow_index: bool = False
    names: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if self.token is not None and (len(self.token) < _TOKEN_LENGTH or not self.token.isascii()):
            raise UsageError(
                f"a token has at least {_TOKEN_LENGTH} plain characters, this one has {len(self.token)}; make one "
                'with: python -c "import secrets; print(secrets.token_urlsafe())"'
            )
        if self.names and self.token is None:
            raise UsageError(
                f"who reaches the server by the name {self.names[0]} may be anybody, and could read your files; give a "
                "token as well (--token, or the variable MMSEARCH_TOKEN)"
            )
        if not self.is_loopback and self.token is None:
            raise UsageError(
                f"the host {self.host} can be reached from other machines, and everybody there could read your files; "
                "give a token as well (--token, or the variable MMSEARCH_TOKEN), or leave --host out"
            )

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)

    @property
    def is_for_one(self) -> bool:
        """Whether whoever asks sits at this machine: nothing stands between it and the rest of the world."""
        return self.is_loopback and not self.names

    @property
    def address(self) -> str:
        """What to open in a browser; without the token."""
        host = "localhost" if self.host in ("0.0.0.0", "::") else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"


def is_loopback(host: str) -> bool:
    """Whether an address or a name is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
