"""A client that leaves in the middle of a search: what was to come of it is not done."""

import json
import socket
import threading
import time

import pytest

from indexer.library import Library
from indexer.testing import FakeEncoder
from mmsearch import Engine

API = "/api/v1"


def until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.01)


class Gate:
    """Somewhere a search stands still until it is let through."""

    def __init__(self):
        self.reached, self.open = threading.Event(), threading.Event()

    def stand(self):
        self.reached.set()
        assert self.open.wait(60)


class Blocking(FakeEncoder):
    """A model that stands still before words are encoded, where there is a gate."""

    gate = None

    def encode(self, tower, prepared):
        if self.gate is not None and tower.modality == "text":
            self.gate.stand()
        return super().encode(tower, prepared)


@pytest.fixture
def model():
    return Blocking()


@pytest.fixture
def engine(shelf, model):
    with Engine.open(shelf / "library", model=model) as found:
        found.query("warm up")
        yield found


@pytest.fixture
def searched(monkeypatch):
    """The channels that were searched."""
    channels = []
    before = Library.search

    def search(self, channel, *args, **how):
        channels.append(channel)
        return before(self, channel, *args, **how)

    monkeypatch.setattr(Library, "search", search)
    return channels


def post(live, path, value):
    body = json.dumps(value).encode()
    raw = socket.create_connection(("127.0.0.1", live.port), timeout=60)
    head = f"POST {API}{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    raw.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return raw


def knows_it_is_alone(live):
    """Whether the server has seen that whoever it works for has left."""
    pool = live.service.queries
    return pool.held == 1 and all(left.is_set() for left in pool._in_hand)


@pytest.mark.parametrize("path", ["/query", "/items/{item}/moments", "/items/{item}/explain"])
@pytest.mark.parametrize("leaves", [True, False])
def test_in_the_middle_of_encoding(engine, model, serve, searched, item_of, path, leaves):
    """Whoever stays gets the answer; for whoever leaves, nothing is searched and nothing more is encoded."""
    live = serve(engine)
    model.gate = gate = Gate()
    raw = post(live, path.format(item=item_of("half.png")), {"terms": [{"text": "red"}, {"text": "green"}]})
    assert gate.reached.wait(60)
    before = model.encoded.total()
    if leaves:
        raw.close()
        until(lambda: knows_it_is_alone(live))
    gate.open.set()
    if not leaves:
        assert raw.recv(12) == b"HTTP/1.1 200"
        raw.close()
    until(lambda: live.service.queries.held == 0)
    encoded = model.encoded.total() - before
    assert (searched, encoded) == ([], 1) if leaves else encoded > 1
    assert leaves or path != "/query" or searched
    model.gate = None
    with live.client() as client:  # and the next one is answered
        assert client.get(f"{API}/query", params={"q": "red"}).json()["hits"][0]["name"] == "red.png"


def test_in_the_middle_of_the_channels(engine, serve, monkeypatch):
    live, gate, searched = serve(engine), Gate(), []
    before = Library.search

    def search(self, channel, *args, **how):
        searched.append(channel)
        gate.stand()
        return before(self, channel, *args, **how)

    monkeypatch.setattr(Library, "search", search)
    raw = post(live, "/query", {"terms": [{"text": "red"}]})
    assert gate.reached.wait(60)
    raw.close()
    until(lambda: knows_it_is_alone(live))
    gate.open.set()
    until(lambda: live.service.queries.held == 0)
    assert len(searched) == 1
    with live.client() as client:
        assert client.get(f"{API}/query", params={"q": "red"}).status_code == 200
    assert len(searched) == 1 + 3  # all three channels


def test_a_new_query_in_the_place_of_one_that_was_left(engine, model, serve):
    """What a page does while somebody types: one worker is enough, and is free again at once."""
    from mmsearch.server import Limits

    live = serve(engine, limits=Limits(query_workers=1))
    model.gate = gate = Gate()
    first = post(live, "/query", {"terms": [{"text": "red"}, {"text": "green"}, {"text": "blue"}]})
    assert gate.reached.wait(60)
    second = post(live, "/query", {"terms": [{"text": "cat"}]})
    until(lambda: live.service.queries.held == 2)
    before = model.encoded["text"]
    first.close()
    until(lambda: any(left.is_set() for left in live.service.queries._in_hand))
    gate.open.set()
    assert second.recv(12) == b"HTTP/1.1 200"
    second.close()
    until(lambda: live.service.queries.held == 0)
    assert model.encoded["text"] - before == 2  # the one word that was in hand, and the other query


def test_a_server_that_ends_waits_for_no_search(engine, model, serve, searched):
    live = serve(engine)
    model.gate = gate = Gate()
    raw = post(live, "/query", {"terms": [{"text": "red"}, {"text": "green"}]})
    assert gate.reached.wait(60)
    live.service.close()
    gate.open.set()
    assert raw.recv(12) == b"HTTP/1.1 503"
    raw.close()
    assert searched == []
