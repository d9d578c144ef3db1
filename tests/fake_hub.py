"""A hub of models on this machine: as much of the Hugging Face hub's protocol as its client needs to fetch a model.

It can be told to break off, to hang, to refuse and to be slow, and it writes down what it was asked.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

LARGE = 10_000  # bytes from which on a file is kept by its SHA-256, as the real hub's LFS files are


@dataclass
class Repository:
    """Files by name, at one commit."""

    files: dict[str, bytes]
    card: dict[str, Any] = field(default_factory=dict)
    gated: bool = False

    @property
    def commit(self) -> str:
        lines = sorted(f"{name} {hashlib.sha1(data).hexdigest()}" for name, data in self.files.items())
        return hashlib.sha1("\n".join(lines).encode()).hexdigest()


class FakeHub:
    """`with FakeHub() as hub: hub.add("owner/name", folder); hub.url`."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.asked: list[tuple[str, str, str | None]] = []  # method, path, range
        self.break_after: int | None = None  # bytes of a large file, after which the connection is cut
        self.breaks = 0  # how many more times
        self.hangs: re.Pattern[str] | None = None  # paths that are never answered
        self.refuses: dict[str, int] = {}  # a pattern of paths, and the status that they get
        self.bytes_per_second: float | None = None
        self.damage = False  # large files come with a byte changed
        self.ignores_ranges = False
        self.sent = 0  # bytes of large files
        self.closing = threading.Event()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def do_HEAD(self) -> None:
                hub.answer(self)

            def do_GET(self) -> None:
                hub.answer(self)

        # Large files come from another host, as the real hub's do.
        self.servers = [ThreadingHTTPServer(("127.0.0.1", 0), Handler) for _ in range(2)]
        self.url, self.files_url = (f"http://127.0.0.1:{server.server_address[1]}" for server in self.servers)

    def __enter__(self) -> FakeHub:
        for server in self.servers:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.closing.set()
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def add(self, name: str, folder: Path, *, gated: bool = False, **card: Any) -> Repository:
        """Publish the files of a folder. `card` is the head of the model's card: license and the like."""
        files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        self.repositories[name] = Repository(files, card, gated)
        return self.repositories[name]

    def of(self, path: str) -> list[tuple[str, str | None]]:
        """What was asked of the paths that hold a text: method and range."""
        return [(method, span) for method, asked, span in self.asked if path in asked]

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path.partition("?")[0]
        self.asked.append((request.command, path, request.headers.get("Range")))
        if self.hangs is not None and self.hangs.search(path):
            self.closing.wait(60)
            request.close_connection = True
            return
        for pattern, status in self.refuses.items():
            if re.search(pattern, path):
                self.error(request, status, {"X-Error-Code": "RepoNotFound"} if status == 401 else {})
                return
        api = re.fullmatch(r"/api/models/([\w.-]+/[\w.-]+)(?:/revision/([\w.-]+))?", path)
        tree = re.fullmatch(r"/api/models/([\w.-]+/[\w.-]+)/tree/([\w.-]+)", path)
        resolve = re.fullmatch(r"/([\w.-]+/[\w.-]+)/resolve/([\w.-]+)/(.+)", path)
        large = re.fullmatch(r"/cdn/([0-9a-f]{64})", path)
        if path == "/":
            self.send(request, b"a hub", {})
        elif api:
            self.describe(request, *api.groups())
        elif tree:
            self.list_tree(request, *tree.groups())
        elif resolve:
            self.resolve(request, *resolve.groups())
        elif large:
            self.send_large(request, large[1])
        else:
            self.error(request, 404)

    def find(self, request: BaseHTTPRequestHandler, name: str, revision: str | None) -> Repository | None:
        repository = self.repositories.get(name)
        if repository is None:
            # The real hub says 401 to who is not logged in, so as not to tell what is private.
            self.error(request, 401, {"X-Error-Code": "RepoNotFound"})
        elif revision not in (None, "main", repository.commit):
            self.error(request, 404, {"X-Error-Code": "RevisionNotFound"})
            return None
        return repository

    def describe(self, request: BaseHTTPRequestHandler, name: str, revision: str | None) -> None:
        repository = self.find(request, name, revision)
        if repository is None:
            return
        siblings = []
        for file, data in repository.files.items():
            row: dict[str, Any] = {"rfilename": file, "size": len(data), "blobId": blob_id(data)}
            if len(data) >= LARGE:
                row["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
            siblings.append(row)
        info = {"id": name, "modelId": name, "sha": repository.commit, "siblings": siblings, "private": False}
        info |= {"tags": [], "downloads": 0, "likes": 0, "gated": "auto" if repository.gated else False}
        info |= {"cardData": repository.card}
        self.send(request, json.dumps(info).encode(), {"Content-Type": "application/json"})

    def list_tree(self, request: BaseHTTPRequestHandler, name: str, revision: str) -> None:
        repository = self.find(request, name, revision)
        if repository is None:
            return
        rows = []
        for file, data in repository.files.items():
            row: dict[str, Any] = {"type": "file", "path": file, "size": len(data), "oid": blob_id(data)}
            if len(data) >= LARGE:
                row["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
            rows.append(row)
        self.send(request, json.dumps(rows).encode(), {"Content-Type": "application/json"})

    def resolve(self, request: BaseHTTPRequestHandler, name: str, revision: str, file: str) -> None:
        repository = self.find(request, name, revision)
        if repository is None:
            return
        if repository.gated:
            self.error(request, 403, {"X-Error-Code": "GatedRepo"})
            return
        data = repository.files.get(file)
        headers = {"X-Repo-Commit": repository.commit}
        if data is None:
            self.error(request, 404, {"X-Error-Code": "EntryNotFound", **headers})
        elif len(data) < LARGE:
            self.send(request, data, {**headers, "ETag": f'"{blob_id(data)}"'})
        else:
            sha256 = hashlib.sha256(data).hexdigest()
            headers |= {"X-Linked-ETag": f'"{sha256}"', "X-Linked-Size": str(len(data))}
            headers |= {"ETag": f'"{blob_id(data)}"', "Location": f"{self.files_url}/cdn/{sha256}"}
            self.send(request, b"elsewhere", headers, status=302)

    def send_large(self, request: BaseHTTPRequestHandler, sha256: str) -> None:
        every = [data for repository in self.repositories.values() for data in repository.files.values()]
        data = next(data for data in every if hashlib.sha256(data).hexdigest() == sha256)
        if self.damage:
            data = data[:-1] + bytes([data[-1] ^ 1])
        span = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range") or "")
        start = int(span[1]) if span and not self.ignores_ranges else 0
        request.send_response(206 if start else 200)
        request.send_header("Content-Length", str(len(data) - start))
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        request.end_headers()
        cut = len(data)
        if self.break_after is not None and self.breaks > 0:
            self.breaks -= 1
            cut = min(cut, start + self.break_after)
        step = 4096
        while start < cut and not self.closing.is_set():
            piece = data[start : min(start + step, cut)]
            try:
                request.wfile.write(piece)
                request.wfile.flush()
            except OSError:  # who asked has gone
                request.close_connection = True
                return
            start += len(piece)
            self.sent += len(piece)
            if self.bytes_per_second:
                time.sleep(len(piece) / self.bytes_per_second)
        if cut < len(data):
            request.close_connection = True
            request.connection.close()

    def send(self, request: BaseHTTPRequestHandler, body: bytes, headers: dict[str, str], status: int = 200) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if request.command == "GET":
            request.wfile.write(body)

    def error(self, request: BaseHTTPRequestHandler, status: int, headers: dict[str, str] | None = None) -> None:
        self.send(request, b'{"error": "no"}', {"Content-Type": "application/json", **(headers or {})}, status)


def blob_id(data: bytes) -> str:
    """git's name of a file's contents."""
    return hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()
