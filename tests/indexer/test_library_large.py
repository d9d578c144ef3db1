"""A library whose channel has a base: who builds it, who takes it over, and what becomes of damage."""

import os
import threading
import time

import numpy as np
import pytest

from indexer import library as library_module
from indexer.ann import Policy
from indexer.backgrounds import BackgroundRow, write_backgrounds
from indexer.errors import LibraryError
from indexer.library import Library
from indexer.records import FilePlace, NewContent, NewSegment, Outcome
from indexer.testing import FakeEncoder
from indexer.types import MediaInfo
from indexer.verify import verify

POLICY = Policy(exact_components=3200, few_lists=4, tail=100)  # of the 16 dimensions that the fake encoder has


def unit(rng, n):
    vectors = rng.normal(size=(n, 16))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


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
    return generation


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.fixture
def path(tmp_path):
    Library.open(tmp_path / "library", create=True).close()
    return tmp_path / "library"


@pytest.fixture
def opened(path):
    """Opens the library as often as it is called, each time as another process would."""
    libraries = []

    def make():
        libraries.append(Library(path, POLICY))
        return libraries[-1]

    yield make
    for library in libraries:
        library.close()


def check(library, vectors, rng, exact=True):
    """The library's answers equal brute force over the vectors as they are stored, ids left out."""
    queries = unit(rng, 5)
    stored = vectors.astype(np.float16).astype(np.float32)
    stored /= np.linalg.norm(stored, axis=1, keepdims=True)
    scores, _ = library.search("visual", queries, 5, exact=exact)
    wanted = -np.sort(-(queries @ stored.T), axis=1)[:, :5]
    if exact:
        np.testing.assert_allclose(scores, wanted, rtol=1e-5)
    else:
        assert (scores >= wanted[:, -1:] - 1e-5).mean() >= 0.9


def structure(library):
    return library.index("visual").facts.structure


def test_a_writer_builds_and_who_comes_later_loads(opened, rng):
    vectors = unit(rng, 400)
    writer = opened()
    write(writer, vectors)
    assert writer.index_facts() == {}
    writer.save_indexes()
    assert structure(writer) == "IVF4,PQ8x4fs"
    facts = writer.index_facts()["visual"]
    assert facts == writer.index("visual").facts
    assert facts.settings.asked == "own vectors"
    reader = opened()
    assert structure(reader) == "IVF4,PQ8x4fs"
    for exact in (True, False):
        check(reader, vectors, rng, exact)
    stored = writer.store.halves(1, "visual")
    for ids, halves in stored:
        np.testing.assert_array_equal(reader.index("visual").halves_of(ids).view(np.uint16), halves.view(np.uint16))


def test_settings_are_found_out_again_when_there_are_texts(opened, rng):
    writer = opened()
    generation = write(writer, unit(rng, 400))
    writer.save_indexes()
    (base,) = writer.path.glob("index/*.base")
    row = BackgroundRow("text", "visual", 0.1, 0.1, 0.0, 0.0, 0.0, 400, 400, 400, "here")
    write_backgrounds(writer.store, generation, [(row, unit(rng, 40))])
    writer.save_indexes()
    assert list(writer.path.glob("index/*.base")) == [base], "only its settings changed"
    settings = opened().index("visual").facts.settings
    assert (settings.asked, settings.queries) == ("texts", 40)
    saved = writer.store.position(generation, "visual").saved_index
    writer.save_indexes()
    assert writer.store.position(generation, "visual").saved_index == saved, "there was nothing to do"


def test_a_reader_takes_over_what_a_writer_built_meanwhile(opened, rng):
    vectors = unit(rng, 500)
    writer, reader = opened(), opened()
    write(writer, vectors[:50])
    check(reader, vectors[:50], rng)
    write(writer, vectors[50:450], first=50)
    check(reader, vectors[:450], rng)
    assert structure(reader) == "exact", "building is the writer's"
    writer.save_indexes()
    check(reader, vectors[:450], rng)
    assert structure(reader) != "exact"
    write(writer, vectors[450:], first=450)
    writer.store.remove(1, "7.jpg")
    check(reader, np.delete(vectors, 7, axis=0), rng)


def test_a_reader_leaves_the_file_of_a_writer_alone(opened, rng, monkeypatch):
    """It may have an older base mapped, whose file is gone: to save that again would undo the writer's work."""
    monkeypatch.setattr(library_module, "_WORTH_SAVING", 50)
    vectors = unit(rng, 700)
    writer, reader = opened(), opened()
    write(writer, vectors[:400])
    writer.save_indexes()
    check(reader, vectors[:400], rng)
    write(writer, vectors[400:600], first=400)
    writer.save_indexes()
    write(writer, vectors[600:], first=600)
    files = sorted(writer.path.glob("index/*"))
    check(reader, vectors, rng)
    assert sorted(writer.path.glob("index/*")) == files
    check(opened(), vectors, rng)


def test_who_finds_no_index_builds_it_for_all(opened, rng):
    vectors = unit(rng, 400)
    write(opened(), vectors)
    reader = opened()
    check(reader, vectors, rng, exact=False)
    assert structure(reader) != "exact"
    assert opened().index_problem("visual") is None


def test_who_may_not_write_scans(opened, rng, monkeypatch):
    vectors = unit(rng, 400)
    write(opened(), vectors)
    monkeypatch.setattr(library_module.os, "access", lambda *_: False)
    reader = opened()
    monkeypatch.setattr(reader, "_try_to_save", lambda *_: None)
    check(reader, vectors, rng, exact=False)
    assert structure(reader) == "exact"


@pytest.mark.parametrize("damage", ["missing", "truncated", "codes", "rows", "another's"])
def test_a_bad_base_is_made_again_from_the_store(opened, rng, damage, caplog):
    vectors = unit(rng, 400)
    writer = opened()
    write(writer, vectors)
    writer.save_indexes()
    (base,) = writer.path.glob("index/*-visual.*.base")
    whole = base.read_bytes()
    if damage == "missing":
        base.unlink()
    elif damage == "truncated":
        base.write_bytes(whole[:-7])
    elif damage == "another's":
        base.write_bytes(whole[:30] + b"x" + whole[31:])
    else:
        at = 5000 if damage == "rows" else len(whole) - 100
        base.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    mended = opened()
    if damage == "rows":  # these are read in full by `verify` alone
        report = verify(mended)
        assert len(report.repaired) == 1
        assert "do not match their checksum; built it again from the store" in report.repaired[0]
    check(mended, vectors, rng)
    mended.save_indexes()
    assert mended.index_problem("visual") is None
    assert structure(opened()) != "exact"
    for ids, halves in mended.store.halves(1, "visual"):
        np.testing.assert_array_equal(mended.index("visual").halves_of(ids), halves)


def test_verify_finds_a_sound_base_sound_and_a_wrong_vector(opened, rng):
    vectors = unit(rng, 400)
    library = opened()
    write(library, vectors)
    library.save_indexes()
    assert verify(library).repaired == []
    index = library.index("visual")
    index.remove(np.array([3]))
    index.add(np.array([3]), unit(rng, 1))
    assert verify(library).repaired == [
        "the visual index differs from the stored vectors; built it again from the store"
    ]
    check(library, vectors, rng)


def test_forgetting_an_index_leaves_no_files(opened, rng):
    library = opened()
    write(library, unit(rng, 400))
    library.save_indexes()
    library.forget_index("visual")
    assert not list(library.path.glob("index/*visual*"))


def test_searching_while_indexes_are_built_never_fails(opened, rng):
    vectors = unit(rng, 1200)
    writer, reader = opened(), opened()
    write(writer, vectors[:300])
    errors, stop = [], threading.Event()

    def search(library):
        queries = unit(np.random.default_rng(0), 2)
        while not stop.is_set():
            try:
                scores, ids = library.search("visual", queries, 5)
                if ids.shape != (2, 5) or not np.isfinite(scores).all():
                    raise LibraryError(f"{scores} {ids}")
                library.index("visual").vectors_of(ids[0])
                time.sleep(0.002)
            except Exception as error:
                errors.append(error)
                return

    threads = [threading.Thread(target=search, args=(library,)) for library in (writer, reader)]
    for thread in threads:
        thread.start()
    for n in range(300, 1200, 300):
        write(writer, vectors[n : n + 300], first=n)
        writer.store.remove(1, f"{n}.jpg")
        writer.save_indexes()
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []
    kept = np.ones(1200, bool)
    kept[300:1200:300] = False
    for library in (writer, reader, opened()):
        check(library, vectors[kept], rng)
        assert structure(library) != "exact"
    bases = list(writer.path.glob("index/*-visual.*.base"))
    for base in bases:  # the reader may have built one as well; what nobody names goes when it is old
        os.utime(base, (0, 0))
    writer.save_indexes()
    assert len(list(writer.path.glob("index/*-visual.*.base"))) == 1
    assert opened().index_problem("visual") is None
