"""Indexing, feedback and the file manager through the API."""

import subprocess
import time

import pytest
from starlette.testclient import TestClient

from indexer.errors import UsageError
from indexer.feedback import all_feedback, record
from indexer.testing import FakeEncoder
from mmsearch import Engine, Query
from mmsearch.server import ServerSettings, create_app
from mmsearch.server import reveal as reveal_module
from mmsearch.server.errors import ApiError
from mmsearch.server.reveal import commands, reveal

API = "/api/v1"


def refused(answer, status, error):
    assert (answer.status_code, answer.json()["error"]) == (status, error), answer.text


def ended(client, seconds=60):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        job = client.get(f"{API}/index").json()
        if job["state"] not in ("running", "cancelling"):
            return job
        time.sleep(0.02)
    raise AssertionError(f"still {job}")


# --- indexing ---


def test_indexing_all_that_ever_was(own, make, tmp_path):
    assert own.get(f"{API}/index").json() == {
        **dict.fromkeys(("progress", "report", "error", "seconds")),
        "job": 0,
        "state": "idle",
    }
    make.image(tmp_path / "media" / "blue.png", (0, 0, 255))
    started = own.post(f"{API}/index", json={})
    assert started.status_code == 202
    assert started.json()["job"] == 1
    job = ended(own)
    assert (job["state"], job["report"]["added"], job["report"]["unchanged"]) == ("done", 1, 7)
    assert own.get(f"{API}/query", params={"q": "blue", "k": 1}).json()["hits"][0]["name"] == "blue.png"
    assert own.get(f"{API}/status").json()["job"]["job"] == 1


def test_a_root_is_indexed_as_far_as_it_was_named(engine, own, make, tmp_path):
    """One file of a folder was named: asking for its root does not bring the rest of that folder."""
    make.image(tmp_path / "other" / "one.png", (0, 0, 255))
    make.image(tmp_path / "other" / "two.png", (0, 0, 255))
    engine.index(tmp_path / "other" / "one.png")
    make.image(tmp_path / "media" / "new.png", (9, 9, 9))
    root = next(r["root"] for r in own.get(f"{API}/status").json()["roots"] if r["path"].endswith("other"))
    own.post(f"{API}/index", json={"roots": [root]})
    report = ended(own)["report"]
    assert (report["added"], report["unchanged"]) == (0, 1)
    refused(own.post(f"{API}/index", json={"roots": [99]}), 404, "not_found")


def test_new_folders_only_where_the_server_was_started_for_that(engine, own, make, tmp_path):
    make.image(tmp_path / "more" / "blue.png", (0, 0, 255))
    paths = {"paths": [str(tmp_path / "more")]}
    refused(own.post(f"{API}/index", json=paths), 403, "not_allowed")
    assert not own.get(f"{API}/status").json()["abilities"]["index_paths"]
    with TestClient(create_app(engine, ServerSettings(allow_index=True)), base_url="http://localhost") as client:
        refused(client.post(f"{API}/index", json={"paths": ["more"]}), 400, "bad_query")
        refused(client.post(f"{API}/index", json={"paths": [str(tmp_path / "nowhere")]}), 400, "bad_query")
        client.post(f"{API}/index", json=paths)
        assert ended(client)["report"]["added"] == 1
        assert len(client.get(f"{API}/status").json()["roots"]) == 2


def test_failures_are_told_with_their_reasons(own, tmp_path):
    (tmp_path / "media" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"x" * 99)
    own.post(f"{API}/index", json={})
    job = ended(own)
    assert job["report"]["failed"] == 1
    assert job["report"]["failures"][0]["path"] == str(tmp_path / "media" / "broken.png")
    status = own.get(f"{API}/status").json()
    assert (status["failed"], status["troubles_in_all"], status["troubles"][0]["state"]) == (1, 1, "failed")
    assert own.get(f"{API}/status?troubles=0").json()["troubles"] == []


@pytest.fixture
def slow(tmp_path, make):
    """A library whose model is slow enough to watch, with much to do."""
    for number in range(40):
        make.image(tmp_path / "many" / f"{number}.png", (number, 255 - number, 5 * number))
    (tmp_path / "first").mkdir()
    make.image(tmp_path / "first" / "red.png", (255, 0, 0))
    encoder = FakeEncoder(seconds_per_batch=0.15)
    with Engine.open(tmp_path / "slow", model=encoder) as engine:
        engine.index(tmp_path / "first")
        app = create_app(engine, ServerSettings(allow_index=True))
        with TestClient(app, base_url="http://localhost") as client:
            yield client, engine


def start_slowly(client, tmp_path, monkeypatch):
    """A run in small batches, each of which takes its time."""
    from mmsearch.server import library

    small = library.IndexOptions
    monkeypatch.setattr(library, "IndexOptions", lambda **how: small(batch_size=2, commit_seconds=0.1, **how))
    answer = client.post(f"{API}/index", json={"paths": [str(tmp_path / "many")]})
    assert answer.status_code == 202, answer.text


def test_queries_go_on_while_a_run_writes_and_one_run_is_enough(slow, tmp_path, monkeypatch):
    client, _ = slow
    start_slowly(client, tmp_path, monkeypatch)
    refused(client.post(f"{API}/index", json={}), 409, "at_work")
    asked = 0
    while client.get(f"{API}/index").json()["state"] == "running" and asked < 5:
        answer = client.get(f"{API}/query", params={"q": "red", "k": 1})
        assert answer.json()["hits"][0]["name"] == "red.png"
        asked += 1
    assert asked == 5
    assert client.delete(f"{API}/index").json()["state"] == "cancelling"
    job = ended(client)
    assert (job["state"], job["report"]["interrupted"]) == ("cancelled", True)
    assert job["progress"]["found"] >= 1
    assert client.delete(f"{API}/index").json()["state"] == "cancelled"  # nothing to end: nothing happens


def test_a_server_that_ends_ends_its_run(slow, tmp_path, monkeypatch):
    client, engine = slow
    start_slowly(client, tmp_path, monkeypatch)
    client.app.state.service.close()
    assert client.app.state.service.jobs.state()[1].state == "cancelled"
    assert engine.library.writer() is None


def test_a_library_that_another_process_writes_to(engine, own):
    with engine.library.writing():
        own.post(f"{API}/index", json={})
        job = ended(own)
    assert (job["state"], job["error"]["error"]) == ("failed", "locked")
    assert "pid" not in str(job["error"])


# --- feedback ---


def test_a_thumb_is_kept_and_replaced_and_taken_back(engine, own, tmp_path):
    hit = own.get(f"{API}/query", params={"q": "red", "k": 1}).json()["hits"][0]
    item, query = hit["item"], {"terms": [{"text": "red"}]}

    def say(good, **more):
        answer = own.post(f"{API}/feedback", json={"query": query, "item": item, "good": good, **more})
        assert answer.status_code == 200, answer.text

    say(True)
    say(False, start=1.0, end=2.0)
    found = all_feedback(engine.library.store)
    assert [(j.good, j.start_seconds, j.end_seconds) for j in found] == [(True, None, None), (False, 1.0, 2.0)]
    assert found[0].query == {"terms": [{"text": "red"}]}
    assert found[0].path == str(tmp_path / "media" / "red.png")
    assert found[0].item == item
    assert found[0].content_id is not None
    say(False)
    say(None, start=1.0, end=2.0)
    assert [(j.good, j.start_seconds) for j in all_feedback(engine.library.store)] == [(False, None)]


def test_what_is_kept_of_a_query_is_a_query(engine, own, tmp_path):
    item = own.get(f"{API}/query", params={"q": "red", "k": 1}).json()["hits"][0]["item"]
    terms = [{"text": "sea", "weight": 2}, {"item": item, "weight": -0.5}]
    own.post(f"{API}/feedback", json={"query": {"terms": terms, "k": 9}, "item": item, "good": True})
    kept = all_feedback(engine.library.store)[0].query
    query = Query.from_json(dict(kept))
    assert [(term.kind, term.weight) for term in query.terms] == [("text", 2.0), ("image", -0.5)]
    assert query.terms[1].value == str(tmp_path / "media" / "red.png")


def test_feedback_outlives_what_it_is_about(engine, own, tmp_path):
    item = own.get(f"{API}/query", params={"q": "red", "k": 1}).json()["hits"][0]["item"]
    own.post(f"{API}/feedback", json={"query": {"terms": [{"text": "red"}]}, "item": item, "good": True})
    red = (tmp_path / "media" / "red.png").read_bytes()
    (tmp_path / "media" / "red.png").unlink()
    engine.remove(tmp_path / "media" / "red.png")
    gone = all_feedback(engine.library.store)[0]
    assert (gone.content_id, gone.path, gone.item) == (None, None, item)
    (tmp_path / "media" / "back.png").write_bytes(red)
    engine.index(tmp_path / "media")
    assert all_feedback(engine.library.store)[0].path == str(tmp_path / "media" / "back.png")


def test_feedback_that_makes_no_sense(engine, own):
    item = own.get(f"{API}/query", params={"q": "red", "k": 1}).json()["hits"][0]["item"]
    query = {"terms": [{"text": "red"}]}
    refused(
        own.post(f"{API}/feedback", json={"query": query, "item": "0" * 40 + "-png", "good": True}), 404, "not_found"
    )
    half = {"query": query, "item": item, "good": True, "start": 1.0}
    refused(own.post(f"{API}/feedback", json=half), 400, "bad_query")
    refused(own.post(f"{API}/feedback", json={"query": query, "item": item}), 422, "invalid")
    with pytest.raises(UsageError):
        record(engine.library.store, {}, "red.png", True)
    assert all_feedback(engine.library.store) == []


def test_an_older_library_learns_to_keep_feedback(tmp_path, monkeypatch):
    from indexer import migrations
    from indexer.store import Store

    with monkeypatch.context() as before:
        before.setattr(migrations, "STEPS", migrations.STEPS[:2])
        Store(tmp_path / "a.sqlite").close()
    store = Store(tmp_path / "a.sqlite")
    record(store, {"terms": ["a"]}, "0" * 40 + "-png", True)
    assert [j.good for j in all_feedback(store)] == [True]
    store.close()


# --- the file manager ---


def test_commands_that_show_a_file():
    every = lambda name: f"/bin/{name}"  # noqa: E731
    gdbus, xdg, gio = commands("/media/it's here/a b.png", "linux", every)
    assert gdbus[-2] == "['file:///media/it%27s%20here/a%20b.png']"
    assert xdg == ("/bin/xdg-open", "/media/it's here")
    assert gio == ("/bin/gio", "open", "/media/it's here")
    assert commands("/a/b.png", "darwin", every) == [("/bin/open", "-R", "/a/b.png")]
    assert commands("/a/b.png", "linux", lambda name: None) == []


def test_the_next_command_is_tried_and_none_is_said(monkeypatch):
    ran = []

    def run(command, **how):
        ran.append(command[0])
        assert not how.get("shell")
        return subprocess.CompletedProcess(command, 0 if command[0] == "works" else 1)

    monkeypatch.setattr(reveal_module, "commands", lambda path: [("fails", path), ("works", path), ("never", path)])
    monkeypatch.setattr(subprocess, "run", run)
    reveal("/a/b.png")
    assert ran == ["fails", "works"]
    monkeypatch.setattr(reveal_module, "commands", lambda path: [])
    with pytest.raises(ApiError, match="file manager"):
        reveal("/a/b.png")


def test_revealing_through_the_api(own, monkeypatch, tmp_path):
    from mmsearch.server import library

    shown = []
    monkeypatch.setattr(library, "reveal_file", shown.append)
    item = own.get(f"{API}/query", params={"q": "red", "k": 1}).json()["hits"][0]["item"]
    refused(own.post(f"{API}/reveal", json={"item": item}), 403, "not_allowed")  # the test's client is at "testclient"
    here = TestClient(own.app, base_url="http://localhost", client=("127.0.0.1", 5000))
    assert here.post(f"{API}/reveal", json={"item": item}).json() == {"done": True}
    assert shown == [str(tmp_path / "media" / "red.png")]
    away = TestClient(own.app, base_url="http://localhost", client=("192.168.1.9", 5000))
    refused(away.post(f"{API}/reveal", json={"item": item}), 403, "not_allowed")
