"""Which content holds a segment: asked of SQL for a few, and of a table of all once many were asked for."""

from __future__ import annotations

import numpy as np
import pytest
from sqlalchemy import text

from indexer.contents import _Contents, contents_of, every_segment_in, segments_in
from indexer.testing import FakeEncoder
from mmsearch import Engine


@pytest.fixture
def engine(tmp_path, make):
    for n in range(60):
        make.image(tmp_path / "media" / f"{n}.png", (n, 1, 0))
    make.video(tmp_path / "media" / "film.mp4", [(255, 0, 0), (0, 255, 0)], ["cat", "dog"])
    with Engine.open(tmp_path / "library", model=FakeEncoder()) as engine:
        engine.index(tmp_path / "media")
        yield engine


def by_sql(store):
    with store.reading() as connection:
        query = "SELECT segment.id, content_id FROM segment JOIN encoding ON encoding.id = encoding_id"
        return {row.id: row.content_id for row in connection.execute(text(query))}


def test_both_ways_say_the_same(engine, tmp_path):
    store = engine.library.store
    true = by_sql(store)
    ids = np.array([*true, max(true) + 1, 10**9, 0, -1])
    expected = [*true.values(), 0, 0, 0, 0]
    few = [contents_of(store, ids[at : at + 1]).tolist()[0] for at in (0, 5)]
    assert few == [expected[0], expected[5]]
    assert store.fact("contents of segments", _Contents).by_id is None  # by SQL
    for _ in range(2):
        assert contents_of(store, ids).tolist() == expected
        assert contents_of(store, ids.reshape(2, -1)).tolist() == np.reshape(expected, (2, -1)).tolist()
    assert store.fact("contents of segments", _Contents).by_id is not None  # from the table

    (tmp_path / "media" / "7.png").unlink()
    engine.remove(tmp_path / "media" / "7.png")
    left = by_sql(store)
    assert len(left) == len(true) - 1
    for _ in range(3):
        assert contents_of(store, np.array(list(true))).tolist() == [left.get(id, 0) for id in true]


def test_the_segments_of_contents_are_those_that_belong_to_them(engine):
    store = engine.library.store
    generation, _ = store.generation()
    true = by_sql(store)
    wanted = np.array([*sorted(set(true.values()))[3:9], 10**6, 0])
    assert segments_in(store, generation, "visual", wanted) is None  # so little was asked that SQL will do
    by_sql_alone = every_segment_in(store, generation, "visual", wanted).tolist()
    contents_of(store, np.array(list(true)))
    with store.reading() as connection:
        visual = {row[0] for row in connection.execute(text("SELECT id FROM segment WHERE channel = 'visual'"))}
    expected = sorted(id for id, content in true.items() if content in set(wanted.tolist()) and id in visual)
    assert len(expected) > 5
    assert segments_in(store, generation, "visual", wanted).tolist() == expected
    assert every_segment_in(store, generation, "visual", wanted).tolist() == by_sql_alone == expected
    assert segments_in(store, generation, "visual", np.empty(0, np.int64)).tolist() == []
    assert segments_in(store, generation, "speech", wanted[:-2]).tolist() == []


def test_a_store_without_segments(tmp_path):
    with Engine.open(tmp_path / "library", model=FakeEncoder()) as engine:
        assert contents_of(engine.library.store, np.array([1, 2])).tolist() == [0, 0]
        assert contents_of(engine.library.store, np.empty(0, np.int64)).tolist() == []
