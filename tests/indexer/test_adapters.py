"""Adapted generations in the store: whole or not there, with everything that belonged to the vectors."""

from __future__ import annotations

import sqlite3

import numpy as np
import pytest
from sqlalchemy import text

from indexer.adapters import adapted, read_adapter, undo_adapted, write_adapted
from indexer.errors import LibraryDamagedError, UsageError
from indexer.found import segments_of
from indexer.testing import VOCABULARY, FakeEncoder
from mmsearch import Engine

DIM = len(VOCABULARY)
SWAP = np.eye(DIM, dtype=np.float32)[np.r_[1, 0, 2:DIM]]
KEY = ("image", "fake")


@pytest.fixture
def engine(tmp_path, make):
    make.image(tmp_path / "media" / "red.png", (255, 0, 0), (250, 0, 0))
    make.image(tmp_path / "media" / "green.png", (0, 255, 0), (0, 250, 0))
    make.video(tmp_path / "media" / "film.mp4", [(255, 0, 0), (0, 0, 255)], ["cat", "dog"])
    (tmp_path / "media" / "note.txt").write_text("a cat by the sea")
    with Engine.open(tmp_path / "library", model=FakeEncoder()) as engine:
        engine.index(tmp_path / "media")
        yield engine


def rows(engine) -> list:
    with engine._library.store.reading() as connection:
        generation_id, _ = engine._library.store.generation()
        return connection.execute(
            text(
                "SELECT encoding.content_id, channel, start_seconds, end_seconds, text, look, norm FROM segment"
                " JOIN encoding ON encoding.id = encoding_id WHERE generation_id = :g ORDER BY 1, 2, 3, 5"
            ),
            {"g": generation_id},
        ).all()


def test_everything_but_the_vectors_of_the_tower_is_as_it_was(engine):
    store = engine._library.store
    old_id, old_spec = store.generation()
    before, old = rows(engine), {part.channel: part for part in segments_of(store, old_id, [1, 2, 3, 4])}
    positions = {channel: store.position(old_id, channel).vectors for channel in old}
    new_id = write_adapted(store, old_id, "adapted", {KEY: SWAP}, "{}")
    assert store.generation()[0] == new_id
    assert store.generation()[1].fingerprint == "adapted"
    assert store.generation()[1].name == old_spec.name
    assert rows(engine) == before
    new = {part.channel: part for part in segments_of(store, new_id, [1, 2, 3, 4])}
    for channel, part in new.items():
        order, was = np.argsort(part.ids), np.argsort(old[channel].ids)
        wanted = old[channel].vectors[was]
        np.testing.assert_array_equal(part.contents[order], old[channel].contents[was])
        wanted = adapted(wanted, SWAP) if channel == "visual" else wanted
        np.testing.assert_allclose(part.vectors[order], wanted, atol=1e-3)
        assert store.position(new_id, channel).vectors == positions[channel]
    stored = read_adapter(store, new_id)
    assert (stored.base_id, stored.base, stored.report) == (old_id, old_spec, "{}")
    np.testing.assert_array_equal(stored.matrices[KEY], SWAP)
    assert read_adapter(store, old_id) is None


def test_words_are_found_once_and_back_and_forth(engine):
    store = engine._library.store
    hits = [(hit.path, hit.score) for hit in engine.query('"by the sea"', k=9).hits]
    old_id, _ = store.generation()
    write_adapted(store, old_id, "adapted", {KEY: SWAP}, "{}")
    found = _plain(engine).query('"by the sea"', k=9).hits
    assert (found[0].path, len(found)) == (hits[0][0], len(hits))
    undo_adapted(store)
    assert [(hit.path, hit.score) for hit in engine.query('"by the sea"', k=9).hits] == hits


def _plain(engine: Engine) -> Engine:
    """The engine with the encoder of the generation that answers, whatever its fingerprint."""
    return Engine(engine._library, engine.encoder)


def test_the_index_in_memory_is_of_the_generation_that_answers(engine):
    library, store = engine._library, engine._library.store
    old_id, _ = store.generation()
    before = library.index("visual").ids.tolist()
    new_id = write_adapted(store, old_id, "adapted", {KEY: SWAP}, "{}")
    assert library.index("visual").ids.tolist() == store.segment_ids(new_id, "visual").tolist()
    undo_adapted(store)
    assert sorted(library.index("visual").ids.tolist()) == sorted(before)


def test_what_fails_half_way_leaves_the_library_as_it_was(engine, monkeypatch):
    from indexer import adapters

    store = engine._library.store
    before, generation = rows(engine), store.generation()

    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(adapters, "_activate", fail)
    with pytest.raises(KeyboardInterrupt):
        write_adapted(store, generation[0], "adapted", {KEY: SWAP}, "{}")
    assert store.generation() == generation
    assert rows(engine) == before
    with store.reading() as connection:
        assert connection.execute(text("SELECT count(*) FROM generation")).scalar() == 1


def test_removing_files_reaches_both_generations(engine, tmp_path):
    store = engine._library.store
    old_id, _ = store.generation()
    new_id = write_adapted(store, old_id, "adapted", {KEY: SWAP}, "{}")
    store.remove(1, "red.png")
    for generation_id in (old_id, new_id):
        assert len(store.segment_ids(generation_id, "visual")) == store.position(generation_id, "visual").vectors
    undo_adapted(store)
    assert engine.verify().problems == []


def test_there_may_be_nothing_to_undo(engine):
    with pytest.raises(UsageError, match="nothing to undo"):
        undo_adapted(engine._library.store)


def test_a_damaged_adapter_is_named(engine):
    store = engine._library.store
    new_id = write_adapted(store, store.generation()[0], "adapted", {KEY: SWAP}, "{}")
    with sqlite3.connect(store.path) as connection:
        connection.execute("UPDATE adapter SET matrix = x'0011'")
    connection.close()
    with pytest.raises(LibraryDamagedError, match="train --undo"):
        read_adapter(store, new_id)
    undo_adapted(store)
