"""What "auto" takes: with a network and without one, and how soon."""

from __future__ import annotations

import logging
import re
import socket
import threading
import time

import pytest

from mmsearch.encoders.choose import choose_model
from mmsearch.encoders.events import Fetching, ModelNotice
from mmsearch.encoders.pull import missing


def notices(events):
    return [event for event in events if isinstance(event, ModelNotice)]


def test_what_is_here_is_taken_without_asking(fast_hub, monkeypatch):
    assert choose_model([].append) == "fast"
    fast_hub.asked.clear()
    events = []
    assert choose_model(events.append) == "fast"
    assert (events, fast_hub.asked) == ([], [])
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert choose_model(events.append) == "fast"
    assert events == []


def test_what_can_be_fetched_is_announced_and_fetched_with_progress(fast_hub, tmp_path):
    events = []
    assert choose_model(events.append) == "fast"
    (first,) = notices(events)
    assert events[0] is first
    assert first.downloads
    for said in (
        r"fetching the model fast, [\d.]+ MB to ",
        re.escape(str(tmp_path / "hf" / "hub")),
        r"someone/tiny \([\d.]+ \wB, licence: mit\)",
        r"someone/clap \([\d.]+ \wB, licence: apache-2\.0\)",
        "--model mini",
    ):
        assert re.search(said, first.message), said
    progress = [event for event in events if isinstance(event, Fetching)]
    done = [event.done_bytes for event in progress]
    assert done == sorted(done)
    assert progress[-1].done_bytes == progress[-1].total_bytes > 1_000_000
    assert missing("fast") == []


def assert_mini(events, reason):
    (notice,) = notices(events)
    assert not notice.downloads
    assert "\n" not in notice.message
    assert re.search(
        rf"using the installed model mini, because fast is not on this machine and cannot be fetched \({reason}.*"
        r"--model NAME.*mmsearch models",
        notice.message,
    )


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_by_choice_is_mini_and_asks_nobody(fast_hub, monkeypatch, variable):
    monkeypatch.setenv(variable, "1")
    events = []
    assert choose_model(events.append) == "mini"
    assert_mini(events, f"{variable} is set")
    assert fast_hub.asked == []


@pytest.mark.parametrize("absent", ["silent server", "name looked up for ever", "nobody listens"])
def test_without_a_network_it_is_mini_soon(fast_hub, monkeypatch, absent):
    from huggingface_hub import constants

    waiting = threading.Event()
    if absent == "silent server":
        fast_hub.hangs = re.compile("")
    elif absent == "nobody listens":
        monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    else:
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: waiting.wait(60))
        monkeypatch.setattr(constants, "ENDPOINT", "http://a-hub.invalid")
    events = []
    began = time.monotonic()
    assert choose_model(events.append) == "mini"
    assert time.monotonic() - began < 20  # of PROBE_SECONDS; the hub's own client tries for a minute
    assert absent != "silent server" or len(fast_hub.asked) == 1
    assert_mini(events, "http")
    waiting.set()


@pytest.mark.parametrize(("pattern", "status"), [("someone/clap$", 401), ("someone/tiny$", 500), ("cdn", 404)])
def test_a_hub_that_refuses_is_mini(fast_hub, pattern, status):
    fast_hub.refuses = {pattern: status}
    events = []
    assert choose_model(events.append) == "mini"
    assert "using the installed model mini, because fast" in notices(events)[-1].message


def test_a_licence_that_forbids_commercial_use_is_not_fetched_by_itself(fast_hub):
    fast_hub.repositories["someone/clap"].card["license"] = "cc-by-nc-4.0"
    events = []
    assert choose_model(events.append) == "mini"
    (notice,) = notices(events)
    assert "someone/clap is licensed cc-by-nc-4.0, which forbids commercial use" in notice.message
    assert fast_hub.sent == 0


def test_without_a_callback_it_is_logged_and_nothing_is_printed(fast_hub, monkeypatch, caplog, capfd):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with caplog.at_level(logging.WARNING, "mmsearch.models"):
        assert choose_model() == "mini"
    assert "using the installed model mini" in caplog.text
    assert capfd.readouterr() == ("", "")


def test_another_kind_of_error_is_not_swallowed(fast_hub, monkeypatch):
    def broken(_name):
        raise RuntimeError("a bug")

    monkeypatch.setattr("mmsearch.encoders.choose.missing", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        choose_model()
