import numpy as np
import pytest
from sqlalchemy import create_engine, inspect, text

from indexer.errors import LibraryDamagedError, LibraryVersionError
from indexer.migrations import STEPS
from indexer.records import FilePlace, NewContent, NewSegment, Outcome, Position
from indexer.schema import FAILED, MISSING, PRESENT, Base
from indexer.store import Store
from indexer.testing import FakeEncoder
from indexer.types import MediaInfo


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "library.sqlite")
    yield store
    store.close()


@pytest.fixture
def generation(store):
    return store.start_generation(FakeEncoder().spec)


def axis(n):
    """The n-th unit vector: exact in half precision."""
    return np.eye(16, dtype=np.float32)[n]


def place(root, name, directory="", size=1):
    return FilePlace(root, directory, name, size, 1)


def content(digest, *axes):
    return NewContent(digest, MediaInfo("image", "jpeg"), [NewSegment("visual", axis(n)) for n in axes])


def foreign_keys(engine, table):
    """(table, from, to, on update, on delete) of each foreign key."""
    with engine.connect() as connection:
        return {tuple(row[2:7]) for row in connection.execute(text(f"PRAGMA foreign_key_list({table})"))}


def stored(store, generation, channel="visual"):
    blocks = list(store.vectors(generation, channel, rows=2))
    ids = [int(id) for ids, _ in blocks for id in ids]
    return ids, np.concatenate([vectors for _, vectors in blocks]) if blocks else np.empty((0, 16))


def test_migrations_make_the_tables_that_the_models_describe(store):
    fresh = create_engine("sqlite://")
    Base.metadata.create_all(fresh)
    want, have = inspect(fresh), inspect(store._engine)
    full_text = ("segment_words", "title_words", "file_words", "file_parts")  # virtual tables, with tables of their own
    assert [name for name in have.get_table_names() if not name.startswith(full_text)] == want.get_table_names()
    for table in want.get_table_names():
        columns = {(c["name"], str(c["type"]), c["nullable"]) for c in want.get_columns(table)}
        assert {(c["name"], str(c["type"]), c["nullable"]) for c in have.get_columns(table)} == columns, table
        assert foreign_keys(store._engine, table) == foreign_keys(fresh, table), table
        assert {i["name"] for i in have.get_indexes(table)} == {i["name"] for i in want.get_indexes(table)}, table


def test_the_version_is_the_number_of_steps_and_a_newer_one_is_refused(tmp_path):
    Store(tmp_path / "a.sqlite").close()
    engine = create_engine(f"sqlite:///{tmp_path / 'a.sqlite'}")
    with engine.begin() as connection:
        assert connection.execute(text("PRAGMA user_version")).scalar() == len(STEPS)
        connection.execute(text(f"PRAGMA user_version = {len(STEPS) + 1}"))
    engine.dispose()
    with pytest.raises(LibraryVersionError, match="update mmsearch"):
        Store(tmp_path / "a.sqlite")


def test_a_file_that_is_no_database_is_refused_with_advice(tmp_path):
    (tmp_path / "a.sqlite").write_bytes(b"this is not a database at all" * 100)
    with pytest.raises(LibraryDamagedError, match="index again"):
        Store(tmp_path / "a.sqlite")


def test_the_library_is_durable_and_keeps_foreign_keys(store):
    with store.reading() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1


def test_the_model_is_read_back_as_it_was_written(store, generation):
    assert store.generation() == (generation, FakeEncoder().spec)


def test_vectors_come_back_in_order_and_in_blocks(store, generation):
    root, _ = store.add_root("/a")
    store.write(generation, [Outcome(place(root, f"{n}.jpg"), content(f"d{n}", n, n + 1)) for n in range(3)])
    ids, vectors = stored(store, generation)
    assert ids == sorted(ids)
    np.testing.assert_array_equal(vectors, [axis(n) for n in (0, 1, 1, 2, 2, 3)])
    assert [len(block) for block, _ in store.vectors(generation, "visual", after=ids[1], rows=3)] == [3, 1]


def test_copies_share_one_content(store, generation):
    root, _ = store.add_root("/a")
    store.write(generation, [Outcome(place(root, "one.jpg"), content("d", 0))])
    content_id = store.encoded_content(generation, "d", "jpeg")
    store.write(generation, [Outcome(place(root, "two.jpg"), content_id)])
    assert stored(store, generation)[0] == [1]
    store.remove(root, "one.jpg")
    assert stored(store, generation)[0] == [1]
    assert store.remove(root, "two.jpg").segments == 1
    assert stored(store, generation)[0] == []


def test_a_changed_file_replaces_its_segments_and_ids_are_never_used_again(store, generation):
    root, _ = store.add_root("/a")
    store.write(generation, [Outcome(place(root, "x.jpg"), content("old", 0, 1))])
    assert store.position(generation, "visual") == Position(2, 2, 0, None)
    store.write(generation, [Outcome(place(root, "x.jpg", size=9), content("new", 5))])
    assert store.drop_orphans() == 2
    ids, vectors = stored(store, generation)
    assert ids == [3]
    np.testing.assert_array_equal(vectors, [axis(5)])
    assert store.position(generation, "visual") == Position(3, 1, 2, None)


def test_a_file_that_goes_bad_loses_its_segments_and_keeps_its_reason(store, generation):
    root, _ = store.add_root("/a")
    store.write(generation, [Outcome(place(root, "x.jpg"), content("d", 0))])
    store.write(generation, [Outcome(place(root, "x.jpg", size=2), None, FAILED, "truncated")])
    store.drop_orphans()
    assert stored(store, generation)[0] == []
    assert store.known_in(root, "")["x.jpg"].state == FAILED


def test_a_transaction_that_fails_writes_nothing(store, generation):
    root, _ = store.add_root("/a")
    broken = Outcome(place(root_id := root, "b.jpg"), 12345)  # no such content: the foreign key refuses it
    with pytest.raises(Exception, match="FOREIGN KEY"):
        store.write(generation, [Outcome(place(root_id, "a.jpg"), content("d", 0)), broken])
    assert store.known_in(root, "") == {}
    assert stored(store, generation)[0] == []


def test_roots_never_nest(store, generation):
    inner, _ = store.add_root("/a/b/c")
    store.write(generation, [Outcome(place(inner, "x.jpg", "d"), content("d1", 0))])
    store.write(generation, [Outcome(place(inner, "y.jpg"), content("d2", 1))])
    assert store.add_root("/a/b/c/d") == (inner, "d")
    outer, scope = store.add_root("/a")
    assert scope == ""
    assert store.roots() == {outer: "/a"}
    assert sorted(store.directories(outer, "")) == ["b/c", "b/c/d"]
    assert store.add_root("/ab")[1] == ""
    assert len(store.roots()) == 2


def test_a_root_can_be_pointed_elsewhere(store, generation):
    root, _ = store.add_root("/a")
    store.write(generation, [Outcome(place(root, "x.jpg"), content("d", 0))])
    assert store.move_root("/a", "/z") == 1
    assert store.roots() == {root: "/z"}
    assert store.move_root("/a", "/y") is None


@pytest.mark.parametrize("directory", ["sub", "sub%_x", "söb", "sub\udce9"])
def test_removal_below_a_folder_takes_that_folder_and_no_neighbour(store, generation, directory):
    root, _ = store.add_root("/a")
    names = [directory, directory + "/deep/er", directory + "0", directory + "-", directory[:-1] + "z"]
    for n, name in enumerate(names):
        store.write(generation, [Outcome(place(root, "x.jpg", name), content(f"d{n}", n))])
    assert store.remove(root, directory).files == 2
    assert sorted(store.directories(root, "")) == sorted(names[2:])


def test_missing_files_wait_for_prune_and_failed_ones_do_not(store, generation):
    root, _ = store.add_root("/a")
    store.write(generation, [Outcome(place(root, "x.jpg"), content("d", 0))])
    store.write(generation, [Outcome(place(root, "bad.jpg"), None, FAILED, "empty")])
    store.set_state([file.id for file in store.known_in(root, "").values()], MISSING)
    assert {name: file.state for name, file in store.known_in(root, "").items()} == {"x.jpg": MISSING}
    assert stored(store, generation)[0] == [1]
    assert store.prune().files == 1
    assert stored(store, generation)[0] == []


def test_a_missing_file_is_forgotten_when_its_content_turns_up_elsewhere(store, generation):
    root, _ = store.add_root("/a")
    store.write(generation, [Outcome(place(root, "old.jpg"), content("d", 0))])
    store.set_state([store.known_in(root, "")["old.jpg"].id], MISSING)
    assert store.forget_moved(root) == 0
    store.write(generation, [Outcome(place(root, "new.jpg"), store.encoded_content(generation, "d", "jpeg"))])
    assert store.forget_moved(root) == 1
    assert {name: file.state for name, file in store.known_in(root, "").items()} == {"new.jpg": PRESENT}
    assert stored(store, generation)[0] == [1]
