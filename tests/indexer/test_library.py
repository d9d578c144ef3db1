import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest

from indexer.ann import VectorIndex
from indexer.errors import LibraryError, LibraryLockedError, LibraryNotFoundError, ModelMismatchError, UsageError
from indexer.library import Library
from indexer.records import FilePlace, NewContent, NewSegment, Outcome
from indexer.testing import FakeEncoder
from indexer.types import MediaInfo
from indexer.verify import verify


def unit(rng, n):
    vectors = rng.normal(size=(n, 16)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def write(library, vectors, first=0):
    """One file for each vector, named after its number."""
    generation = library.use(FakeEncoder().spec)
    root, _ = library.store.add_root("/not/here")
    library.store.write(
        generation,
        [
            Outcome(
                FilePlace(root, "", f"{n}.jpg", 1, 1),
                NewContent(f"digest{n}", MediaInfo("image", "jpeg"), [NewSegment("visual", vector)]),
            )
            for n, vector in enumerate(vectors, start=first)
        ],
    )


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.fixture
def library(tmp_path):
    library = Library.open(tmp_path / "library", create=True)
    yield library
    library.close()


def reopened(library):
    library.close()
    return Library.open(library.path)


def check(library, vectors, rng):
    """The library's answers equal brute force over the vectors as they are stored (half precision)."""
    queries = unit(rng, 3)
    stored = vectors.astype(np.float16).astype(np.float32)
    stored /= np.linalg.norm(stored, axis=1, keepdims=True)
    scores, _ = library.search("visual", queries, 5)
    np.testing.assert_allclose(scores, -np.sort(-(queries @ stored.T), axis=1)[:, :5], rtol=1e-5)


def test_there_must_be_a_library_unless_one_is_to_be_made(tmp_path):
    with pytest.raises(LibraryNotFoundError, match="mmsearch index FOLDER"):
        Library.open(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_folder_with_other_things_is_not_taken_over(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"x")
    with pytest.raises(UsageError, match="holds other files"):
        Library.open(tmp_path, create=True)
    with pytest.raises(UsageError, match="is a file"):
        Library.open(tmp_path / "photo.jpg", create=True)


def test_another_model_is_refused(library):
    write(library, unit(np.random.default_rng(0), 1))
    with pytest.raises(ModelMismatchError, match="made with the model 'fake', not with 'other'"):
        library.use(FakeEncoder("other").spec)


def test_what_is_written_is_found_before_and_after_reopening(library, rng):
    vectors = unit(rng, 50)
    write(library, vectors)
    check(library, vectors, rng)
    library.save_indexes()
    library = reopened(library)
    check(library, vectors, rng)
    library.close()


def test_an_index_file_that_lags_behind_is_topped_up_and_loses_what_was_removed(library, rng):
    vectors = unit(rng, 60)
    write(library, vectors[:40])
    library.save_indexes()
    library = reopened(library)
    write(library, vectors[40:], first=40)
    for n in range(10):
        library.store.remove(1, f"{n}.jpg")
    check(library, vectors[10:], rng)
    library = reopened(library)
    check(library, vectors[10:], rng)
    library.close()


@pytest.mark.parametrize("damage", ["missing", "truncated", "flipped", "garbage", "another library's"])
def test_a_bad_index_file_is_made_again_from_the_store(library, rng, damage, tmp_path):
    vectors = unit(rng, 30)
    write(library, vectors)
    library.save_indexes()
    (path,) = library.path.glob("index/*-visual.faiss")
    whole = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(whole[:-7])
    elif damage == "flipped":
        path.write_bytes(whole[:-100] + bytes([whole[-100] ^ 1]) + whole[-99:])
    elif damage == "garbage":
        path.write_bytes(b"\0" * 1000)
    else:
        other = Library.open(tmp_path / "other", create=True)
        write(other, unit(rng, 30))
        other.save_indexes()
        other.close()
        path.write_bytes((tmp_path / "other" / "index" / path.name).read_bytes())
    library = reopened(library)
    check(library, vectors, rng)
    library.save_indexes()
    assert library.index_problem("visual") is None
    library.close()


def test_a_second_writer_is_told_who_the_first_is(library):
    with library.writing():
        code = (
            "import sys; from pathlib import Path; from indexer.library import Library\n"
            "with Library.open(Path(sys.argv[1])).writing(): pass"
        )
        run = subprocess.run([sys.executable, "-c", code, library.path], capture_output=True, text=True, check=False)
    assert "LibraryLockedError" in run.stderr
    assert "being written to by process" in run.stderr
    with library.writing():  # free again
        pass


def test_a_second_writer_may_wait(library):
    second = Library.open(library.path)
    done = threading.Event()

    def wait():
        with second.writing(wait=True):
            done.set()

    with library.writing():
        thread = threading.Thread(target=wait)
        thread.start()
        assert not done.wait(0.2)
    assert done.wait(60)
    thread.join()
    second.close()


def test_a_second_writer_in_the_same_process_is_refused_too(library):
    second = Library.open(library.path)
    with library.writing(), pytest.raises(LibraryLockedError), second.writing():
        pass
    second.close()


def test_searching_while_writing_never_fails_and_ends_up_right(library, rng):
    vectors = unit(rng, 400)
    write(library, vectors[:10])
    reader = Library.open(library.path)
    errors = []
    stop = threading.Event()

    def search():
        queries = unit(np.random.default_rng(0), 2)
        while not stop.is_set():
            try:
                reader.search("visual", queries, 5)
            except Exception as error:
                errors.append(error)
                return

    threads = [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    for n in range(10, 400, 10):
        write(library, vectors[n : n + 10], first=n)
        if n % 50 == 0:
            library.store.remove(1, f"{n}.jpg")
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []
    kept = np.ones(400, bool)
    kept[50:400:50] = False
    check(reader, vectors[kept], rng)
    reader.close()


def test_verify_finds_nothing_wrong_with_a_sound_library(library, rng):
    write(library, unit(rng, 5))
    library.save_indexes()
    report = verify(library)
    assert (report.vectors, report.repaired) == (5, [])
    assert [problem.split(";")[0] for problem in report.problems] == [
        "indexed files not there now: 5",
        "the folder /not/here is not there now",
    ]


def test_verify_mends_a_count_that_is_wrong(library, rng):
    from sqlalchemy import text

    vectors = unit(rng, 5)
    write(library, vectors)
    library.save_indexes()
    with library.store.writing() as connection:
        connection.execute(text("UPDATE tally SET vectors = 7, last_id = 3"))
    assert verify(library).repaired == ["the count of visual vectors was 7 and is 5"]
    check(library, vectors, rng)
    assert verify(library).repaired == []


def test_verify_rebuilds_an_index_that_disagrees(library, rng):
    vectors = unit(rng, 20)
    write(library, vectors)
    library.save_indexes()
    index = library.index("visual")
    index.remove(np.array([3]))
    index.add(np.array([3]), unit(rng, 1))  # same ids, another vector: only verify can see it
    report = verify(library)
    assert report.repaired == ["the visual index differs from the stored vectors; built it again from the store"]
    check(library, vectors, rng)


@pytest.mark.parametrize("wrong", ["look = x'00ff'", "look = ''", "norm = 0", "norm = -1.5", "norm = 9e999"])
def test_verify_drops_contents_whose_looks_or_lengths_are_damaged(library, rng, wrong):
    from sqlalchemy import text

    write(library, unit(rng, 3))
    with library.store.writing() as connection:
        connection.execute(text(f"UPDATE segment SET {wrong} WHERE id = 2"))
    assert verify(library).problems[0].startswith("contents with damaged vectors, now dropped: 1")
    assert len(library.index("visual")) == 2
    assert all("damaged" not in problem for problem in verify(library).problems)


@pytest.mark.parametrize("blob", [b"", b"\0" * 32, b"\xff" * 32, b"\0" * 30])
def test_verify_drops_damaged_vectors_so_that_the_next_run_encodes_them(library, rng, blob):
    from sqlalchemy import text

    write(library, unit(rng, 3))
    with library.store.writing() as connection:
        connection.execute(text("UPDATE segment SET vector = :blob WHERE id = 2"), {"blob": blob})
    report = verify(library)
    assert report.problems[0].startswith("contents with damaged vectors, now dropped: 1")
    assert len(library.index("visual")) == 2
    assert library.store.known_in(1, "")["1.jpg"].state == "failed"


def test_a_library_may_have_any_name(tmp_path, rng):
    library = Library.open(tmp_path / "50% done? #1 ☕", create=True)
    vectors = unit(rng, 3)
    write(library, vectors)
    library.save_indexes()
    check(library, vectors, rng)
    library.close()
    assert [path.name for path in tmp_path.iterdir()] == ["50% done? #1 ☕"]


def test_an_index_file_that_the_store_did_not_see_saved_is_not_believed(tmp_path, rng):
    """A database restored from a backup, beside the index file of a later day with the same numbers."""
    import shutil

    library = Library.open(tmp_path / "library", create=True)
    write(library, unit(rng, 5))
    library.save_indexes()
    library.close()
    shutil.copy(tmp_path / "library" / "library.sqlite", tmp_path / "backup")
    library = Library.open(tmp_path / "library")
    write(library, unit(rng, 1), first=5)
    library.save_indexes()
    library.close()
    shutil.copy(tmp_path / "backup", tmp_path / "library" / "library.sqlite")
    library = Library.open(tmp_path / "library")
    other = unit(rng, 1)
    write(library, other, first=6)
    scores, _ = library.search("visual", other, 1)
    assert scores[0, 0] == pytest.approx(1, abs=1e-5)
    library.close()


@pytest.mark.skipif(not hasattr(__import__("os"), "geteuid"), reason="permissions work otherwise on Windows")
def test_a_library_that_may_not_be_written_to_can_be_searched(tmp_path, rng, monkeypatch):
    import os

    library = Library.open(tmp_path / "library", create=True)
    vectors = unit(rng, 5)
    write(library, vectors)
    library.save_indexes()
    library.close()
    for path in [*(tmp_path / "library").rglob("*"), tmp_path / "library"]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write all the same, so SQLite must be told
    library = Library.open(tmp_path / "library")
    check(library, vectors, rng)
    with pytest.raises(LibraryError, match="may not be written to"):
        write(library, unit(rng, 1), first=9)
    library.close()
    for path in [tmp_path / "library", *(tmp_path / "library").rglob("*")]:
        path.chmod(0o755)


def test_a_library_without_vectors_takes_another_model(library):
    first = library.use(FakeEncoder("first").spec)
    library.check(FakeEncoder("second").spec)
    second = library.use(FakeEncoder("second").spec)
    assert library.spec == FakeEncoder("second").spec
    assert library.use(FakeEncoder("second").spec) == second
    assert first


def test_verify_tells_of_a_database_that_was_emptied_beside_full_indexes(tmp_path, library, rng):
    write(library, unit(rng, 5))
    library.save_indexes()
    library.close()
    for part in library.path.glob("library.sqlite*"):
        part.unlink()
    with pytest.raises(LibraryNotFoundError, match="has lost its database"):
        Library.open(library.path)
    (library.path / "library.sqlite").touch()
    emptied = Library.open(library.path)
    for _ in range(2):  # it stays so until something is done
        report = verify(emptied)
        assert report.repaired == []
        (problem,) = report.problems
        assert "the index files beside it (1-visual.faiss) hold 5 vectors that it knows nothing of" in problem
        assert "restore library.sqlite from a backup" in problem
    write(emptied, unit(rng, 3))
    emptied.save_indexes()
    assert not any("emptied" in problem for problem in verify(emptied).problems)
    assert verify(emptied).repaired == []
    emptied.close()


def test_verify_tells_of_a_database_whose_model_is_gone(library, rng):
    from sqlalchemy import text

    write(library, unit(rng, 5))
    library.save_indexes()
    with library.store.writing() as connection:
        connection.execute(text("DELETE FROM generation"))
    assert any("emptied or replaced" in problem for problem in verify(library).problems)


def test_verify_tells_of_vectors_that_something_else_took_out(library, rng):
    from sqlalchemy import text

    write(library, unit(rng, 5))
    library.save_indexes()
    with library.store.writing() as connection:
        connection.execute(text("DELETE FROM segment WHERE id > 2"))
    report = verify(library)
    assert report.problems[0].startswith("visual vectors that were taken out of the database by something else")
    assert ": 3; restore" in report.problems[0]
    assert len(library.index("visual")) == 2
    assert not any("taken out" in problem for problem in verify(library).problems)


def test_verify_removes_index_files_of_another_library_and_of_a_model_that_is_gone(library, rng):
    write(library, unit(rng, 5))
    library.save_indexes()
    own = library.path / "index" / "1-visual.faiss"
    left_over = own.with_name("9-visual.faiss")
    index, stamp = VectorIndex.load(own)
    index.save(left_over, replace(stamp, generation_id=9))
    index.save(own.with_name("1-sound.faiss"), replace(stamp, library_id="another", channel="sound"))
    assert verify(library).repaired == [
        "removed index files that were not made from this library's vectors: 1-sound.faiss, 9-visual.faiss"
    ]
    assert sorted(path.name for path in own.parent.iterdir()) == [
        f"1-{channel}.faiss" for channel in ("speech", "text", "visual")
    ]
    assert verify(library).repaired == []


def test_verify_leaves_a_library_alone_whose_files_were_all_removed(library, rng):
    write(library, unit(rng, 5))
    library.save_indexes()
    (root_id,) = library.store.roots()
    library.store.remove(root_id, "")
    assert (verify(library).problems, verify(library).repaired) == ([], [])
