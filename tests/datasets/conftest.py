"""A data set's folder, written byte by byte."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

Lay = Callable[..., Path]


@pytest.fixture
def lay(tmp_path: Path) -> Lay:
    """Write files into a folder: `lay({"meta/x.csv": b"..."}, ["images/a.jpg", ...])`; media are a few bytes each."""

    def write(files: dict[str, bytes], media: list[str] | tuple[str, ...] = (), folder: str = "data") -> Path:
        root = tmp_path / folder
        for name, content in {**dict.fromkeys(media, b"media"), **files}.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return root

    return write


def texts(case) -> dict[str, str]:
    """Of a set that asks in words: the words by query id."""
    assert all([term.kind for term in query.terms] == ["text"] for query in case.queries)
    return {query.id: query.terms[0].value for query in case.queries}


def found(case, root: Path) -> dict[str, dict[str, float]]:
    """What each query should find: grades by path relative to the root, or by id of a text."""
    files = {item.id: item.path for item in case.gallery}

    def name(item: str) -> str:
        return item if files.get(item) is None else Path(item).relative_to(root.resolve()).as_posix()

    return {query.id: {name(item): grade for item, grade in query.relevant.items()} for query in case.queries}


def gallery(case, root: Path) -> list[str]:
    """What can be found, in order: paths relative to the root, or ids of texts."""
    return [
        item.id if item.path is None else Path(item.path).relative_to(root.resolve()).as_posix()
        for item in case.gallery
    ]


def skipped(case) -> dict[str, str]:
    return {item.what: item.reason for item in case.skipped}
