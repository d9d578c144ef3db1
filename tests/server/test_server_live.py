"""A server that listens: events, clients that leave, that are slow, that are many; and its end."""

import asyncio
import contextlib
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx2
import pytest

from indexer.errors import UsageError
from mmsearch.server import Limits, ServerSettings
from mmsearch.server.run import listen

API = "/api/v1"


def until(condition, seconds=60.0):
    """Wait for something that happens soon."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError(f"not within {seconds} s")


def connected(live, size=None):
    raw = socket.socket()
    if size:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
    raw.connect(("127.0.0.1", live.port))
    raw.settimeout(60)
    return raw


def rest_of(raw):
    """All that comes until the server hangs up."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := raw.recv(65536):
            parts.append(part)
    return b"".join(parts)


class Events:
    """A listener to events."""

    def __init__(self, client, **headers):
        self._stream = client.stream("GET", f"{API}/index/events", headers=headers)
        self.answer = self._stream.__enter__()
        self._lines = self.answer.iter_lines()

    def next(self, kind="data"):
        """The next event's data, or the next comment."""
        for line in self._lines:
            if kind == "comment" and line.startswith(":"):
                return line
            if line.startswith("id: "):
                self.id = line[4:]
            if kind == "data" and line.startswith("data: "):
                return json.loads(line[6:])
        raise AssertionError("the stream ended")

    def close(self):
        self._stream.__exit__(None, None, None)


# --- media and events ---


def test_a_video_is_sought_in(live, item_of, shelf):
    whole = (shelf / "media" / "clip.mp4").read_bytes()
    with live.client() as client:
        for start in (0, 10, len(whole) - 5, 300):
            answer = client.get(f"{API}/items/{item_of('clip.mp4')}/media", headers={"Range": f"bytes={start}-"})
            assert (answer.status_code, answer.content) == (206, whole[start:])
        head = client.head(f"{API}/items/{item_of('clip.mp4')}/media")
        assert (head.headers["content-length"], head.content) == (str(len(whole)), b"")
        assert "server" not in head.headers


def test_events_tell_of_a_run_from_its_beginning_to_its_end(engine, serve, make, tmp_path):
    live = serve(engine)
    make.image(tmp_path / "media" / "blue.png", (0, 0, 255))
    with live.client() as client, live.client() as other:
        events = Events(client)
        assert events.answer.headers["content-type"].startswith("text/event-stream")
        assert events.next()["state"] == "idle"
        other.post(f"{API}/index", json={})
        states = []
        while not states or states[-1]["state"] == "running":
            states.append(events.next())
        assert states[-1]["state"] == "done"
        assert states[-1]["report"]["added"] == 1
        events.close()
        until(lambda: live.service.streams == 0)


def test_a_listener_that_comes_back_goes_on_where_it_was(read_engine, serve):
    live = serve(read_engine, limits=Limits(heartbeat_seconds=0.2))
    with live.client() as client:
        events = Events(client)
        events.next()
        events.close()
        again = Events(client, **{"Last-Event-ID": events.id})
        assert again.next("comment") == ": still here"  # and no event before it: nothing has changed
        again.close()
        other_server = Events(client, **{"Last-Event-ID": "0123abcd-0"})
        assert other_server.next()["state"] == "idle"
        other_server.close()


def test_listeners_are_bounded(read_engine, serve):
    live = serve(read_engine, limits=Limits(streams=2))
    with live.client() as client:
        listeners = [Events(client), Events(client)]
        for events in listeners:
            events.next()
        answer = client.get(f"{API}/index/events")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        listeners[0].close()
        until(lambda: live.service.streams == 1)
        listeners[1].close()


# --- clients that leave ---


class Held:
    """Queries that wait for a sign, and say that they have begun."""

    def __init__(self, engine, monkeypatch):
        self.begun, self.go = [], threading.Event()
        before = engine.query

        def query(asked, *args, **how):
            self.begun.append(asked.terms[0].value)
            assert self.go.wait(60)
            return before(asked, *args, **how)

        monkeypatch.setattr(engine, "query", query)


def send(live, path, method="GET"):
    raw = connected(live)
    raw.sendall(f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    return raw


def test_what_nobody_waits_for_any_more_is_not_begun(read_engine, serve, monkeypatch):
    live = serve(read_engine, limits=Limits(query_workers=1))
    held = Held(read_engine, monkeypatch)
    first = send(live, f"{API}/query?q=first")
    until(lambda: held.begun == ["first"])
    leaving = [send(live, f"{API}/query?q=leaving") for _ in range(5)]
    last = send(live, f"{API}/query?q=last")
    until(lambda: live.service.queries.held == 7)
    for raw in leaving:
        raw.close()
    until(lambda: live.service.queries.held == 2)
    held.go.set()
    for raw in (first, last):
        assert raw.recv(12) == b"HTTP/1.1 200"
        raw.close()
    assert held.begun == ["first", "last"]
    until(lambda: live.service.queries.held == 0)


def test_a_decoding_for_somebody_who_left_ends(read_engine, serve, monkeypatch, make, tmp_path):
    from indexer.errors import CancelledError
    from mmsearch.server import uploads

    live = serve(read_engine)
    seen, ended = threading.Event(), threading.Event()
    check = uploads.check_left

    def watched():
        seen.set()
        try:
            check()
        except CancelledError:
            ended.set()
            raise
        time.sleep(0.2)  # twelve seconds in all: it is at work when the client leaves

    path = make.video(tmp_path / "long.mp4", [(n, 0, 0) for n in range(60)], fps=2)
    with live.client() as client, path.open("rb") as file:
        sent = client.post(f"{API}/uploads", files={"file": ("long.mp4", file)}).json()
    monkeypatch.setattr(uploads, "check_left", watched)
    raw = send(live, f"{API}/query?q=upload:{sent['upload']}")
    assert seen.wait(60)
    raw.close()
    assert ended.wait(60)


def test_more_than_can_wait_is_refused(read_engine, serve, monkeypatch):
    live = serve(read_engine, limits=Limits(query_workers=1, queue=2))
    held = Held(read_engine, monkeypatch)
    waiting = [send(live, f"{API}/query?q=a") for _ in range(3)]
    until(lambda: live.service.queries.held == 3)
    with live.client() as client:
        answer = client.get(f"{API}/query?q=a")
        assert (answer.status_code, answer.json()["error"], answer.headers["retry-after"]) == (503, "busy", "1")
        assert client.get(f"{API}/status").status_code == 200  # other work has a line of its own
    held.go.set()
    for raw in waiting:
        assert raw.recv(12) == b"HTTP/1.1 200"
        raw.close()


def test_an_answer_that_takes_too_long_is_given_up(read_engine, serve, monkeypatch):
    live = serve(read_engine, limits=Limits(answer_seconds=0.3))
    held = Held(read_engine, monkeypatch)
    with live.client() as client:
        answer = client.get(f"{API}/query?q=a")
        assert (answer.status_code, answer.json()["error"]) == (503, "too_slow")
    held.go.set()


# --- clients that are slow ---


def test_who_sends_drop_by_drop_is_hung_up_on_and_holds_nobody_up(read_engine, serve):
    live = serve(read_engine, limits=Limits(header_seconds=2.0, connections=80))
    slow = [connected(live) for _ in range(60)]
    for raw in slow:
        raw.sendall(b"GET /api/v1/status HT")
    with live.client() as client:
        assert client.get(f"{API}/index").status_code == 200
        for _ in range(4):
            time.sleep(0.1)
            for raw in slow:
                with contextlib.suppress(OSError):
                    raw.sendall(b"T")
        for raw in slow:
            answer = rest_of(raw)
            assert answer == b"" or answer.startswith(b"HTTP/1.1 408"), answer
            raw.close()
        assert client.get(f"{API}/index").status_code == 200
    until(lambda: len(live.server.server_state.connections) == 0)


def test_who_says_nothing_at_all_is_hung_up_on(read_engine, serve):
    live = serve(read_engine, limits=Limits(header_seconds=0.3))
    started = time.monotonic()
    raw = connected(live)
    assert rest_of(raw).startswith(b"HTTP/1.1 408")
    assert 0.2 < time.monotonic() - started < 12  # it is 15 s where nobody says
    raw.close()


def test_a_second_request_may_not_be_slow_either(read_engine, serve):
    live = serve(read_engine, limits=Limits(header_seconds=2.0))
    raw = send(live, f"{API}/index")
    assert raw.recv(12) == b"HTTP/1.1 200"
    raw.sendall(b"GET /api/v1/ind")
    answer = rest_of(raw)
    assert b"HTTP/1.1 408" in answer
    raw.close()


def test_a_body_that_does_not_come(read_engine, serve):
    live = serve(read_engine, limits=Limits(body_seconds=0.4))
    raw = connected(live)
    head = b"POST /api/v1/query HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    raw.sendall(head + b'Content-Length: 50\r\n\r\n{"terms"')
    answer = rest_of(raw)
    assert answer.startswith(b"HTTP/1.1 408")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"] == "too_slow"
    raw.close()


def test_who_does_not_take_the_answer_is_hung_up_on(engine, serve, make, tmp_path):
    make.tones(tmp_path / "media" / "big.wav", ["cat"] * 125, rate=48000)
    engine.index(tmp_path / "media")
    live = serve(engine, limits=Limits(send_seconds=2.0))
    with live.client() as client:
        hits = client.get(f"{API}/query", params={"q": "cat", "k": 50}).json()["hits"]
        item = next(hit["item"] for hit in hits if hit["name"] == "big.wav")
        files = lambda: sum("big.wav" in path for path in open_files())  # noqa: E731
        raw = connected(live, size=4096)
        raw.sendall(f"GET {API}/items/{item}/media HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        until(lambda: files() == 1)
        until(lambda: files() == 0)  # let go, though not a byte was taken
        assert len(rest_of(raw)) < 12_000_000
        raw.close()
        with client.stream("GET", f"{API}/items/{item}/media") as answer:  # and one who takes it is not
            assert sum(len(block) for block in answer.iter_bytes()) > 12_000_000
        left = send(live, f"{API}/items/{item}/media")
        until(lambda: files() == 1)
        left.close()
        until(lambda: files() == 0)


def open_files():
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # another thread may close it meanwhile
            yield os.readlink(f"/proc/self/fd/{name}")


# --- clients that are many ---


def test_connections_are_bounded(read_engine, serve):
    live = serve(read_engine, limits=Limits(connections=5))
    held = [connected(live) for _ in range(5)]
    until(lambda: len(live.server.server_state.connections) == 5)
    raw = connected(live)
    answer = rest_of(raw)
    assert answer.startswith(b"HTTP/1.1 503")
    assert b"Retry-After: 1" in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"] == "busy"
    for one in (raw, *held):
        one.close()
    until(lambda: len(live.server.server_state.connections) == 0)
    with live.client() as client:
        assert client.get(f"{API}/index").status_code == 200


def test_two_hundred_at_once(read_engine, serve, item_of):
    """All are answered, with what a single one is answered; and nothing is left of them."""
    import psutil

    live = serve(read_engine)
    paths = [f"{API}/query?q=cat", f"{API}/items/{item_of('clip.mp4')}/media", f"{API}/facets"]
    paths += [f"{API}/items/{item_of('red.png')}/thumbnail", f"{API}/query?q=green&k=3"]
    with live.client() as client:
        alone = {path: shown(client.get(path)) for path in paths}
    threads = threading.active_count()

    async def all_at_once():
        # Of connections that it keeps, the client looks at each whenever one ends, which took a third of the time.
        most = httpx2.Limits(max_connections=200, max_keepalive_connections=0)
        async with httpx2.AsyncClient(base_url=live.url, limits=most, timeout=200, trust_env=False) as many:
            wanted = [paths[number % len(paths)] for number in range(200)]
            return list(zip(wanted, await asyncio.gather(*map(many.get, wanted)), strict=True))

    asyncio.run(all_at_once())
    gc.collect()
    before = psutil.Process().memory_info().rss
    for path, answer in [pair for _ in range(2) for pair in asyncio.run(all_at_once())]:
        assert answer.status_code == 200, answer.text
        assert shown(answer) == alone[path]
    until(lambda: len(live.server.server_state.connections) == 0)
    assert [live.service.queries.held, live.service.pictures.held, live.service.lookups.held] == [0, 0, 0]
    assert threading.active_count() - threads < 24
    gc.collect()
    assert psutil.Process().memory_info().rss - before < 40_000_000


def shown(answer):
    if answer.headers["content-type"] != "application/json":
        return answer.content
    value = answer.json()
    value.pop("seconds", None)
    return value


def test_requests_with_files_are_bounded(read_engine, serve):
    live = serve(read_engine, limits=Limits(forms=2))
    head = f"POST {API}/uploads HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    held = [connected(live) for _ in range(2)]
    for raw in held:
        raw.sendall(f"{head}Content-Length: 1000\r\n\r\n--x\r\n".encode())
    until(lambda: live.service.forms == 2)
    with live.client() as client:
        assert client.post(f"{API}/uploads", files={"file": ("a.txt", b"a")}).status_code == 503
        for raw in held:
            raw.close()
        until(lambda: live.service.forms == 0)
        assert client.post(f"{API}/uploads", files={"file": ("a.txt", b"a")}).status_code == 200


# --- what is no HTTP ---


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        b"HELO there\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused_in_the_one_shape(live, sent):
    raw = connected(live)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        raw.sendall(sent)
    with contextlib.suppress(OSError):
        raw.shutdown(socket.SHUT_WR)
    answer = rest_of(raw)
    raw.close()
    if answer:  # a reset may overtake it
        assert answer.split(b" ")[1] in (b"400", b"421", b"413"), answer
        assert json.loads(answer.partition(b"\r\n\r\n")[2]).keys() <= {"error", "message", "hint"}


def test_no_web_sockets(live):
    raw = connected(live)
    raw.sendall(
        b"GET /api/v1/index HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    assert not rest_of(raw).startswith(b"HTTP/1.1 101")
    raw.close()


# --- beginning and end ---


def test_a_port_that_is_taken(live):
    with pytest.raises(UsageError, match=rf"port {live.port} is taken.*--port {live.port + 1}"):
        listen(ServerSettings(port=live.port))
    with pytest.raises(UsageError, match="no host"):
        listen(ServerSettings(host="no.such.host.invalid", token="x" * 20))
    with pytest.raises(UsageError, match="no address of this computer"):
        listen(ServerSettings(host="203.0.113.1", token="x" * 20))


def test_it_ends_though_somebody_listens_to_events(read_engine, serve):
    live = serve(read_engine)
    with live.client() as client:
        events = Events(client)
        events.next()
        started = time.monotonic()
        live.server.should_exit = True
        with pytest.raises(AssertionError, match="the stream ended"):
            events.next()
        live.thread.join(60)
        assert time.monotonic() - started < 12  # no sooner than a heartbeat, if it waited for the listener
        events.close()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_the_command_says_where_it_is_and_ends_when_told(tmp_path, how):
    command = [sys.executable, "-m", "mmsearch", "serve", "--library", str(tmp_path / "new"), "--port", "0"]
    ran = subprocess.Popen([*command, "--allow-index"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        said = ran.stdout.readline()
        assert said.startswith("mmsearch is at http://127.0.0.1:"), said + ran.stderr.read()
        url = said.split()[3]
        answer = httpx2.get(f"{url}api/v1/status", trust_env=False, timeout=60)
        assert answer.json()["empty"]
    finally:
        ran.send_signal(how)
        out, err = ran.communicate(timeout=60)
    assert (ran.returncode, out, err) == (0, "", "")


def test_the_command_without_a_library_or_a_token_says_what_to_do(tmp_path):
    command = [sys.executable, "-m", "mmsearch", "serve", "--library", str(tmp_path / "none"), "--port", "0"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (ran.returncode, ran.stdout) == (3, "")
    assert "mmsearch index FOLDER" in ran.stderr
    ran = subprocess.run([*command, "--host", "0.0.0.0"], capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 2
    assert "MMSEARCH_TOKEN" in ran.stderr


def test_without_the_extra_the_command_says_what_to_install(monkeypatch):
    import importlib.util

    from mmsearch.commands.extras import needs

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "fastapi" else found(name))
    with pytest.raises(UsageError, match=r'pip install "mmsearch\[serve\]"'):
        needs("serve", "fastapi", "uvicorn")
    needs("serve", "uvicorn")
