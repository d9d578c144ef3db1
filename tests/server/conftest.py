"""A small library behind the server: in this process, and listening on loopback."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from indexer.testing import FakeEncoder
from mmsearch import Engine
from mmsearch.server import Limits, ServerSettings, create_app
from mmsearch.server.run import listen, server_of

API = "/api/v1"
HERE = "http://127.0.0.1:7700"


def fill(folder: Path, make) -> Path:
    make.image(folder / "red.png", (255, 0, 0))
    make.image(folder / "trip" / "green.png", (0, 255, 0))
    make.image(folder / "trip" / "half.png", (255, 0, 0), (0, 255, 0))
    make.tones(folder / "talk.wav", [None, "cat", "cat", "dog"])
    make.video(folder / "clip.mp4", [(255, 0, 0), (0, 255, 0), (0, 0, 255)], ["cat", None, "dog"])
    (folder / "note.txt").write_text("a cat and a dog by the sea")
    (folder / "page.html").write_text("<html><title>Bread</title><body>bread<script>alert(1)</script></body></html>")
    return folder


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory, make) -> Path:
    """A library that tests only read: its folder, with its media beside it in `media`."""
    folder = tmp_path_factory.mktemp("shelf")
    with Engine.open(folder / "library", model=FakeEncoder()) as engine:
        engine.index(fill(folder / "media", make))
    return folder


@pytest.fixture(scope="session")
def read_engine(shelf: Path) -> Iterator[Engine]:
    with Engine.open(shelf / "library", model=FakeEncoder()) as engine:
        yield engine


@pytest.fixture(scope="session")
def client(read_engine: Engine) -> Iterator[TestClient]:
    """Asks an application over the library that is only read."""
    with TestClient(create_app(read_engine), base_url=HERE) as found:
        yield found


@pytest.fixture
def engine(tmp_path: Path, make) -> Iterator[Engine]:
    """A library of the test's own."""
    with Engine.open(tmp_path / "library", model=FakeEncoder()) as found:
        found.index(fill(tmp_path / "media", make))
        yield found


@pytest.fixture
def own(engine: Engine) -> Iterator[TestClient]:
    """Asks an application over the test's own library."""
    with TestClient(create_app(engine), base_url=HERE) as found:
        yield found


@pytest.fixture
def ask(client: TestClient) -> Callable[..., list[dict[str, Any]]]:
    def hits(q: str, **how: Any) -> list[dict[str, Any]]:
        answer = client.get(f"{API}/query", params={"q": q, **how})
        assert answer.status_code == 200, answer.text
        return answer.json()["hits"]

    return hits


@pytest.fixture(scope="session")
def item_of(client: TestClient) -> Callable[[str], str]:
    """The id of a file of the library, by its name."""
    hits = client.get(f"{API}/query", params={"q": "cat", "k": 50}).json()["hits"]
    items = {hit["name"]: hit["item"] for hit in hits}
    return items.__getitem__


class Live:
    """A server on loopback, in a thread of its own."""

    def __init__(self, engine: Engine, settings: ServerSettings) -> None:
        self.listening = listen(settings)
        self.settings = replace(settings, port=self.listening.getsockname()[1])
        self.server, self.service = server_of(engine, self.settings)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.listening]})
        self.thread.start()
        until = time.monotonic() + 60
        while not self.server.started and time.monotonic() < until:
            time.sleep(0.01)
        assert self.server.started

    @property
    def port(self) -> int:
        return self.settings.port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, **how: Any) -> httpx2.Client:
        return httpx2.Client(base_url=self.url, trust_env=False, timeout=60, **how)

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(60)
        self.listening.close()
        assert not self.thread.is_alive()


@pytest.fixture
def serve() -> Iterator[Callable[..., Live]]:
    """Makes servers that listen; all of them have ended when the test has."""
    made: list[Live] = []

    def start(engine: Engine, *, limits: Limits | None = None, **how: Any) -> Live:
        live = Live(engine, ServerSettings(port=0, limits=limits or Limits(), **how))
        made.append(live)
        return live

    yield start
    for live in made:
        live.stop()


@pytest.fixture(scope="session")
def live(read_engine: Engine) -> Iterator[Live]:
    """A server over the library that is only read."""
    server = Live(read_engine, ServerSettings(port=0))
    yield server
    server.stop()
