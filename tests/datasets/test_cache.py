"""The cache of vectors: what it saves, what it survives, and that it changes no number."""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from indexer.testing import FakeEncoder
from indexer.types import AudioSample, ImageSample, TextSample
from mmsearch.evaluation.cache import CachedEncoder, VectorCache, encode_texts, sample_key


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache" / "vectors.sqlite"


def vector(seed: int, dim: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=dim).astype(np.float32)


def text_tower(encoder):
    return encoder.spec.towers[0]


def test_a_second_run_encodes_nothing_and_gives_the_same_numbers(path):
    texts = ["a red cat", "a dog", "a red cat", "night rain"]
    plain = encode_texts(FakeEncoder(), text_tower(FakeEncoder()), texts)
    for run in range(2):
        encoder = FakeEncoder()
        with VectorCache(path) as cache:
            found = encode_texts(CachedEncoder(encoder, cache), text_tower(encoder), texts, batch_size=2)
            assert (cache.hits, cache.misses) == ((0, 3) if run == 0 else (3, 0))
        assert encoder.encoded["text"] == (3 if run == 0 else 0)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, plain)


def test_what_is_new_is_encoded_beside_what_is_known(path):
    encoder = FakeEncoder()
    tower = text_tower(encoder)
    with VectorCache(path) as cache:
        cached = CachedEncoder(encoder, cache)
        encode_texts(cached, tower, ["red", "green"])
        found = encode_texts(cached, tower, ["blue", "green", "red"])
    assert encoder.encoded["text"] == 3
    np.testing.assert_array_equal(found, encode_texts(FakeEncoder(), tower, ["blue", "green", "red"]))


def test_nothing_asked_nothing_encoded(path):
    encoder = FakeEncoder()
    with VectorCache(path) as cache:
        assert CachedEncoder(encoder, cache).encode(text_tower(encoder), []).shape == (0, 16)


def test_the_key_is_content_model_and_tower():
    one, other = FakeEncoder(), FakeEncoder("other")
    text, image = one.spec.towers
    pixels = np.zeros((2, 3, 3), np.uint8)
    wave = np.zeros(4, np.float32)
    different = [
        sample_key(one.spec, text, TextSample("a")),
        sample_key(one.spec, text, TextSample("b")),
        sample_key(one.spec, image, TextSample("a")),
        sample_key(other.spec, text, TextSample("a")),
        sample_key(one.spec, image, ImageSample(pixels)),
        sample_key(one.spec, image, ImageSample(pixels.reshape(3, 2, 3))),
        sample_key(one.spec, image, ImageSample(pixels + 1)),
        sample_key(one.spec, image, AudioSample(wave, 8000)),
        sample_key(one.spec, image, AudioSample(wave, 16000)),
        sample_key(one.spec, image, AudioSample(wave[:2], 8000)),
    ]
    assert len(set(different)) == len(different)
    assert sample_key(one.spec, text, TextSample("a", 1, 2)) == different[0]
    assert sample_key(one.spec, image, AudioSample(wave, 8000, 5)) == different[7]
    # A view of every other row has the bytes of a copy of it.
    wide = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)
    assert sample_key(one.spec, image, ImageSample(wide[::2])) == sample_key(
        one.spec, image, ImageSample(wide[::2].copy())
    )


def test_pictures_go_through_it_too_and_known_ones_are_not_prepared(path):
    encoder = FakeEncoder()
    tower = encoder.spec.towers[1]
    sample = ImageSample(np.full((4, 4, 3), (255, 0, 0), np.uint8))
    prepared = []
    original = encoder.prepare
    encoder.prepare = lambda tower, sample: prepared.append(sample) or original(tower, sample)  # type: ignore[method-assign]
    with VectorCache(path) as cache:
        cached = CachedEncoder(encoder, cache)
        first = cached.encode(tower, [cached.prepare(tower, sample)])
        again = cached.prepare(tower, sample)
        assert again.nbytes == 48
        np.testing.assert_array_equal(cached.encode(tower, [again]), first)
        assert len(prepared) == 1
        # Cleared between the two calls, by another process say: the sample is still at hand.
        again = cached.prepare(tower, sample)
        assert cache.clear() == 1
        np.testing.assert_array_equal(cached.encode(tower, [again]), first)
    assert first[0, :3].tolist() == [1, 0, 0]


def test_it_is_bounded_and_what_was_not_used_for_longest_goes_first(path):
    now = 1_000_000.0
    row = 16 * 4 + 64
    cache = VectorCache(path, max_bytes=10 * row, clock=lambda: now)
    for number in range(10):
        now += 100_000
        cache.put({bytes([number]): vector(number)})
    now += 100_000
    assert set(cache.get([b"\0"])) == {b"\0"}  # the oldest is used again
    cache.put({b"x": vector(99)})
    assert cache.size_bytes == 8 * row
    assert set(cache.get([bytes([number]) for number in range(10)])) == {b"\0", *(bytes([n]) for n in range(4, 10))}
    assert len(cache) == 8
    assert cache.clear() == 8
    assert (len(cache), cache.size_bytes) == (0, 0)
    cache.close()


def test_the_size_is_counted_once_for_a_vector_that_is_put_twice(path):
    with VectorCache(path) as cache:
        for _ in range(2):
            cache.put({b"a": vector(1), b"b": vector(2)})
        assert cache.size_bytes == 2 * (64 + 64)


def test_numbers_that_are_not_finite_are_not_kept(path):
    with VectorCache(path) as cache:
        cache.put({b"a": np.array([1, np.nan], np.float32), b"b": np.array([1, np.inf], np.float32)})
        assert len(cache) == 0


def test_a_vector_of_the_wrong_length_is_encoded_again(path):
    encoder = FakeEncoder()
    tower = text_tower(encoder)
    with VectorCache(path) as cache:
        cache.put({sample_key(encoder.spec, tower, TextSample("red")): vector(1, dim=3)})
        found = encode_texts(CachedEncoder(encoder, cache), tower, ["red"])
    np.testing.assert_array_equal(found, encode_texts(FakeEncoder(), tower, ["red"]))


def test_more_keys_than_one_statement_takes(path):
    with VectorCache(path) as cache:
        vectors = {number.to_bytes(4, "big"): vector(number, 4) for number in range(1500)}
        cache.put(vectors)
        found = cache.get([*vectors, b"none"])
        assert found.keys() == vectors.keys()
        assert (cache.hits, cache.misses) == (1500, 1)
        for key, kept in vectors.items():
            np.testing.assert_array_equal(found[key], kept)


@pytest.mark.parametrize("damage", [b"not a database at all, but long enough to be looked at" * 50, None])
def test_a_damaged_cache_is_made_anew(path, damage, caplog):
    with VectorCache(path) as cache:
        cache.put({number.to_bytes(2, "big"): vector(number, 300) for number in range(200)})
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    content = path.read_bytes()
    path.write_bytes(damage or content[:4096] + os.urandom(len(content) - 4096))
    encoder = FakeEncoder()
    tower = text_tower(encoder)
    with caplog.at_level(logging.WARNING), VectorCache(path) as cache:
        cached = CachedEncoder(encoder, cache)
        for _ in range(3):  # the first finds the damage, the second writes, the third reads
            found = encode_texts(cached, tower, ["red", "green"])
            np.testing.assert_array_equal(found, encode_texts(FakeEncoder(), tower, ["red", "green"]))
        assert len(cache) == 2
    assert "cannot be used now" in caplog.text


def test_a_place_that_cannot_be_written_to_only_costs_time(tmp_path, caplog):
    (tmp_path / "file").write_bytes(b"")
    encoder = FakeEncoder()
    with caplog.at_level(logging.WARNING), VectorCache(tmp_path / "file" / "vectors.sqlite") as cache:
        for _ in range(2):
            encode_texts(CachedEncoder(encoder, cache), text_tower(encoder), ["red"])
        assert (len(cache), cache.size_bytes, cache.clear()) == (0, 0, 0)
    assert encoder.encoded["text"] == 2
    assert "cannot be used now" in caplog.text


def test_a_database_of_another_version_is_emptied(path):
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.executescript("CREATE TABLE vector (other TEXT); PRAGMA user_version = 99;")
    connection.close()
    with VectorCache(path) as cache:
        cache.put({b"a": vector(1)})
        assert len(cache) == 1


def test_it_is_used_after_close_and_from_many_threads(path):
    cache = VectorCache(path)
    cache.close()

    def work(number: int) -> None:
        for turn in range(20):
            cache.put({bytes([number, turn]): vector(turn)})
            assert bytes([number, turn]) in cache.get([bytes([number, turn])])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(cache), cache.hits, cache.misses) == (80, 80, 0)
    cache.close()


_WRITER = """
import sys
from pathlib import Path
import numpy as np
from mmsearch.evaluation.cache import VectorCache
path, name, batches = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
cache = VectorCache(path)
for batch in range(batches):
    numbers = range(batch * 10, batch * 10 + 10)
    cache.put({bytes([name]) + n.to_bytes(4, "big"): np.full(8, n, np.float32) for n in numbers})
    print(batch, flush=True)
"""


def test_two_processes_write_at_once(path):
    runs = [
        subprocess.Popen([sys.executable, "-c", _WRITER, str(path), str(name), "40"], stdout=subprocess.DEVNULL)
        for name in range(2)
    ]
    assert [run.wait(60) for run in runs] == [0, 0]
    with VectorCache(path) as cache:
        assert len(cache) == 800
        assert cache.size_bytes == 800 * (32 + 64)


def test_a_killed_process_leaves_whole_batches(path):
    """Killed at five moments; what was said to be written is there, each batch is whole, and the size is right."""
    for number in range(5):
        run = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(path), str(number), "100000"], stdout=subprocess.PIPE, text=True
        )
        assert run.stdout is not None
        told = [run.stdout.readline() for _ in range(5 + 7 * number)]
        time.sleep(0.003 * number)
        os.kill(run.pid, signal.SIGKILL)
        told += run.stdout.read().splitlines()
        run.stdout.close()
        run.wait()
        written = [line for line in told if line.strip().isdecimal()]
        with VectorCache(path) as cache:
            keys = [bytes([number]) + n.to_bytes(4, "big") for n in range(len(written) * 10 + 20)]
            found = cache.get(keys)
            assert len(found) % 10 == 0
            assert len(found) >= 10 * len(written)
            assert all(found[key].tolist() == [n] * 8 for n, key in enumerate(keys) if key in found)
            assert cache.size_bytes == len(cache) * (32 + 64)
