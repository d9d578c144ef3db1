"""Fetching from a hub, held against a hub on this machine that breaks off, hangs, refuses and lies."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from indexer.errors import ModelError, WeightsError
from mmsearch.encoders import download
from mmsearch.encoders import hub as hub_module
from mmsearch.encoders.download import PARTIAL, fetch
from mmsearch.encoders.events import Fetching
from mmsearch.encoders.hub import Need, UnavailableError, cached, cached_commit, look_up, require, why_unreachable

WEIGHTS = np.random.default_rng(0).bytes(300_000)
NEED = Need("someone/tiny", weights=(("model.safetensors",), ("pytorch_model.bin",)), also=("*.json",))


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(download, "PAUSE_SECONDS", 0.0)


@pytest.fixture
def tiny(tmp_path, hub):
    """A repository with a large file of weights and two small files."""
    folder = tmp_path / "published"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    (folder / "config.json").write_text('{"model_type": "tiny"}')
    (folder / "tokenizer.json").write_text("{}")
    (folder / "README.md").write_text("read me")
    return hub.add("someone/tiny", folder, license="apache-2.0")


def partial_of(tmp_path):
    name = hashlib.sha256(WEIGHTS).hexdigest() + PARTIAL
    return tmp_path / "hf" / "hub" / "models--someone--tiny" / "blobs" / name


# --- what is chosen ---


def test_the_first_alternative_that_is_whole_is_taken():
    need = Need(
        "a/b",
        weights=(
            ("model.safetensors",),
            ("model.safetensors.index.json", "model-*.safetensors"),
            ("pytorch_model.bin",),
        ),
        required=(("config.json",), ("a.json", "b.json")),
        also=("*.txt",),
    )
    small = ["config.json", "b.json", "vocab.txt", "sub/other.txt", "README.md"]
    assert need.select(small) is None
    assert need.select([*small, "pytorch_model.bin"]) == ["b.json", "config.json", "pytorch_model.bin", "vocab.txt"]
    shards = ["model.safetensors.index.json", "model-1.safetensors", "model-2.safetensors"]
    assert need.select([*small, shards[0], "pytorch_model.bin"])[-2:] == ["pytorch_model.bin", "vocab.txt"]
    assert need.select([*small, *shards, "pytorch_model.bin"])[2:-1] == sorted(shards)
    assert need.select([*small[1:], *shards]) is None


def test_an_index_demands_its_shards(tmp_path):
    need = Need("a/b", weights=(("model.safetensors.index.json", "model-*.safetensors"),))
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"x": "model-1.safetensors", "y": "../2"}}')
    (tmp_path / "model-1.safetensors").write_bytes(b"x")
    assert not need.is_met_by(tmp_path)
    (tmp_path / "2").write_bytes(b"y")  # a name leads nowhere outside
    assert need.is_met_by(tmp_path)
    assert not need.is_met_by(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["a/b/c", "", "../x", "a b", "/etc"])
def test_what_is_no_repositorys_name_is_refused(name):
    with pytest.raises(WeightsError, match="owner/name"):
        Need(name)


# --- fetching ---


def test_what_is_needed_is_fetched_once_and_lies_where_the_client_looks(hub, tiny, tmp_path):
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    assert cached(NEED) is None
    seen: list[Fetching] = []
    remote = look_up(NEED)
    assert (remote.licence.name, remote.licence.commercial) == ("apache-2.0", True)
    assert remote.bytes == len(WEIGHTS) + 22 + 2
    folder = fetch(remote, seen.append)
    assert {path.name for path in folder.iterdir()} == {"config.json", "tokenizer.json", "model.safetensors"}
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert folder.name == tiny.commit == cached_commit("someone/tiny")
    assert [seen[0].done_bytes, seen[-1].done_bytes] == [0, remote.bytes]
    assert [event.done_bytes for event in seen] == sorted(event.done_bytes for event in seen)
    assert {event.total_bytes for event in seen} == {remote.bytes}
    # The hub's own client finds it, and nothing is asked any more.
    asked = len(hub.asked)
    assert try_to_load_from_cache("someone/tiny", "config.json") == str(folder / "config.json")
    assert cached(NEED) == folder == require(NEED)
    assert len(hub.asked) == asked
    assert hf_hub_download("someone/tiny", "model.safetensors", endpoint=hub.url) == str(folder / "model.safetensors")
    assert hub.sent == len(WEIGHTS)
    left = [path.name for path in (tmp_path / "hf").rglob("*partial*")]
    assert left == []


def test_what_the_client_fetched_is_found(hub, tiny):
    from huggingface_hub import constants, snapshot_download

    folder = snapshot_download("someone/tiny", endpoint=hub.url, cache_dir=constants.HF_HUB_CACHE)
    assert str(cached(NEED)) == folder


@pytest.mark.parametrize("revision", ["main", None, "commit"])
def test_a_revision_is_kept_to(hub, tiny, tmp_path, revision):
    commit = tiny.commit
    need = Need("someone/tiny", commit if revision == "commit" else revision, weights=(("model.safetensors",),))
    folder = require(need)
    assert folder.name == commit
    tiny.files["config.json"] = b'{"changed": true}'
    assert require(need) == folder  # what is here is taken, without asking
    fresh = Need("someone/tiny", commit, required=(("tokenizer.json",),))
    with pytest.raises(ModelError, match=f"no 'someone/tiny' .revision {commit}"):
        require(fresh)


def test_a_connection_that_breaks_is_taken_up_again(hub, tiny):
    hub.break_after, hub.breaks = 70_000, 3
    folder = require(NEED)
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert [span for method, span in hub.of("/cdn/") if method == "GET"] == [
        *(None, "bytes=70000-", "bytes=140000-", "bytes=210000-")
    ]
    assert hub.sent == len(WEIGHTS)


def test_the_next_run_goes_on_where_one_ended(hub, tiny, tmp_path, monkeypatch):
    hub.break_after, hub.breaks = 120_000, 1
    # Everything after the first break is refused, until this run gives up.
    answer = hub.send_large

    def once(request, sha256):
        if hub.breaks == 0:
            hub.error(request, 503)
        else:
            answer(request, sha256)

    monkeypatch.setattr(hub, "send_large", once)
    with pytest.raises(UnavailableError, match="503"):
        require(NEED)
    assert partial_of(tmp_path).stat().st_size == 120_000
    assert cached(NEED) is None
    assert cached_commit("someone/tiny") is None  # a branch never points to what is not whole
    monkeypatch.setattr(hub, "send_large", answer)
    seen: list[Fetching] = []
    folder = fetch(look_up(NEED), seen.append)
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert hub.sent == len(WEIGHTS)
    of_weights = [event.done_bytes for event in seen if event.file == "model.safetensors"]
    assert of_weights[0] <= 24
    assert of_weights[1] >= 120_000
    assert of_weights[-1] == 300_024


def test_a_server_that_ignores_ranges_starts_over(hub, tiny, tmp_path):
    partial_of(tmp_path).parent.mkdir(parents=True)
    partial_of(tmp_path).write_bytes(b"nothing of it")
    hub.ignores_ranges = True
    seen: list[Fetching] = []
    assert (fetch(look_up(NEED), seen.append) / "model.safetensors").read_bytes() == WEIGHTS
    assert seen[-1].done_bytes == seen[-1].total_bytes
    assert max(event.done_bytes for event in seen) <= seen[-1].total_bytes


def test_what_was_left_behind_and_is_longer_than_the_file_is_thrown_away(hub, tiny, tmp_path):
    partial_of(tmp_path).parent.mkdir(parents=True)
    partial_of(tmp_path).write_bytes(WEIGHTS + b"more")
    assert (require(NEED) / "model.safetensors").read_bytes() == WEIGHTS


@pytest.mark.parametrize("left_behind", [False, True])
def test_what_comes_damaged_is_not_kept(hub, tiny, tmp_path, left_behind):
    if left_behind:
        partial_of(tmp_path).parent.mkdir(parents=True)
        partial_of(tmp_path).write_bytes(b"x" * 1000)
    else:
        hub.damage = True
    with pytest.raises(
        UnavailableError, match=r"model\.safetensors of 'someone/tiny' came damaged.*run the same command"
    ):
        require(NEED)
    assert cached(NEED) is None
    assert not partial_of(tmp_path).exists()
    hub.damage = False
    assert (require(NEED) / "model.safetensors").read_bytes() == WEIGHTS


def test_a_connection_that_brings_nothing_more_is_given_up(hub, tiny, tmp_path):
    hub.break_after, hub.breaks, hub.ignores_ranges = 50_000, 100, True
    with pytest.raises(UnavailableError, match="cannot be fetched"):
        require(NEED)
    assert len([1 for method, _ in hub.of("/cdn/") if method == "GET"]) == 1 + download.TRIES


def test_a_connection_that_falls_silent_is_given_up(hub, tiny, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    hub.hangs = re.compile("cdn")
    with pytest.raises(UnavailableError, match="cannot be fetched"):
        require(NEED)


def test_two_that_fetch_the_same_at_once_get_it_once(hub, tiny):
    hub.bytes_per_second = 1_000_000
    found = []
    threads = [threading.Thread(target=lambda: found.append(require(NEED))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(set(found)) == 1
    assert len(found) == 3
    assert hub.sent == len(WEIGHTS)


def test_a_full_disk_is_said_before_anything_is_fetched(hub, tiny, monkeypatch):
    monkeypatch.setattr(download, "SPARE_BYTES", 10**18)
    with pytest.raises(WeightsError, match=r"300\.0 kB are to be fetched.*HF_HOME"):
        require(NEED)
    assert hub.sent == 0


PULL = """
import sys
from mmsearch.encoders.hub import Need, require
print(require(Need("someone/tiny", weights=(("model.safetensors",),))))
"""


@pytest.mark.skipif(os.name != "posix", reason="kills as Unix does")
def test_a_killed_process_leaves_what_it_fetched(hub, tiny, tmp_path):
    hub.bytes_per_second = 40_000
    process = subprocess.Popen([sys.executable, "-c", PULL], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    with process:
        while not partial_of(tmp_path).exists() or partial_of(tmp_path).stat().st_size < 60_000:
            assert process.poll() is None, process.stderr.read().decode()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    kept = partial_of(tmp_path).stat().st_size
    assert 60_000 <= kept < len(WEIGHTS)
    hub.bytes_per_second = None
    hub.asked.clear()
    run = subprocess.run([sys.executable, "-c", PULL], capture_output=True, text=True, check=True)
    assert [span for method, span in hub.of("/cdn/") if method == "GET"] == [f"bytes={kept}-"]
    assert str(cached(Need("someone/tiny", weights=(("model.safetensors",),)))) == run.stdout.strip()


# --- what cannot be fetched ---


@pytest.mark.parametrize(
    ("pattern", "status", "kind", "message"),
    [
        ("someone/tiny$", 401, ModelError, "has no 'someone/tiny'.*hf auth login"),
        ("someone/tiny$", 404, UnavailableError, "cannot be fetched"),
        ("someone/tiny$", 500, UnavailableError, "500"),
        ("cdn", 403, UnavailableError, "cannot be fetched"),
        ("cdn", 404, UnavailableError, "cannot be fetched"),
    ],
)
def test_a_hub_that_refuses_is_reported_with_what_to_do(hub, tiny, pattern, status, kind, message):
    hub.refuses = {pattern: status}
    with pytest.raises(kind, match=message):
        require(NEED)


def test_a_repository_that_is_not_there_is_named(hub):
    with pytest.raises(ModelError, match=r"the hub has no 'someone/absent' .revision main. that it shows you"):
        require(Need("someone/absent", weights=(("x",),)))


def test_a_gated_repository_says_how_to_get_in(hub, tmp_path, tiny):
    tiny.gated = True
    with pytest.raises(ModelError, match="accept its conditions"):
        require(NEED)


def test_a_repository_without_what_is_needed_says_what_it_has(hub, tiny):
    with pytest.raises(WeightsError, match=r"holds none of: model\.bin; it holds README\.md, config\.json"):
        require(Need("someone/tiny", weights=(("model.bin",),)))


def test_no_token_goes_to_another_host(hub, tiny, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    headers = []
    answer = hub.answer
    monkeypatch.setattr(
        hub,
        "answer",
        lambda request: (headers.append((request.path, request.headers["Authorization"])), answer(request)),
    )
    require(NEED)
    sent = dict(headers)
    assert sent[f"/someone/tiny/resolve/{tiny.commit}/model.safetensors"] == "Bearer hf_secret"
    (large,) = (path for path in sent if path.startswith("/cdn/"))
    assert sent[large] is None


# --- no network ---


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_by_choice_asks_nobody(hub, tiny, monkeypatch, variable):
    monkeypatch.setenv(variable, "1")
    with pytest.raises(
        UnavailableError, match=f"{variable} is set.*hf download someone/tiny --local-dir tiny"
    ) as caught:
        require(NEED)
    assert caught.value.reason == f"{variable} is set"
    assert hub.asked == []


def test_a_server_that_never_answers_is_given_up_soon(hub, monkeypatch):
    hub.hangs = re.compile("")
    began = time.monotonic()
    assert "did not answer within 2 seconds" in why_unreachable()
    assert time.monotonic() - began < 20  # the hub's own client tries for a minute
    assert why_unreachable() is not None  # one question for all that is wanted
    assert len(hub.asked) == 1


def test_a_name_that_is_looked_up_for_ever_is_given_up_soon(hub, monkeypatch):
    from huggingface_hub import constants

    waiting = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: waiting.wait(60))
    monkeypatch.setattr(constants, "ENDPOINT", "http://a-hub.invalid")
    began = time.monotonic()
    assert "did not answer" in why_unreachable()
    assert time.monotonic() - began < 20
    waiting.set()


def test_a_port_where_nobody_listens_is_no_network(hub, monkeypatch):
    from huggingface_hub import constants

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    began = time.monotonic()
    assert why_unreachable().startswith(endpoint)
    assert time.monotonic() - began < 20


def test_damage_in_the_cache_is_found_and_mended(hub, tiny):
    folder = require(NEED)
    assert hub_module.damaged(folder) == []
    blob = (folder / "model.safetensors").resolve()
    blob.write_bytes(WEIGHTS[:-1] + b"?")
    assert hub_module.damaged(folder) == [folder / "model.safetensors"]
    hub_module.forget([folder / "model.safetensors"])
    assert cached(NEED) is None
    assert (require(NEED) / "model.safetensors").read_bytes() == WEIGHTS
