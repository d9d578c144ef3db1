"""Tiny random checkpoints, made by the libraries whose formats they are in."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_models import TinyOpenClip, save_clap


@pytest.fixture(scope="session")
def tiny() -> type[TinyOpenClip]:
    """Tiny checkpoints of open_clip: `tiny.save(folder)`."""
    return TinyOpenClip


@pytest.fixture
def tiny_clap(tmp_path: Path) -> Path:
    """The folder of a tiny CLAP."""
    return save_clap(tmp_path / "tiny_clap")
