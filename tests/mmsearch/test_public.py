"""What is public stays as it is on purpose, and what the command line takes is documented."""

import subprocess
import sys
from pathlib import Path

import pytest
import typer

import mmsearch
from mmsearch.cli import app

DOCS = Path(__file__).parents[2] / "docs"


def test_the_public_names_are_these_and_each_of_them_is_there():
    assert sorted(mmsearch.__all__) == [
        "Answer",
        "CancelledError",
        "DamagedMediaError",
        "DuplicateFile",
        "DuplicateGroup",
        "EmptyLibraryError",
        "Encoder",
        "Engine",
        "EvaluationOptions",
        "EvaluationProgress",
        "Explanation",
        "Facets",
        "Failure",
        "Fetching",
        "Hit",
        "IndexOptions",
        "IndexReport",
        "LibraryDamagedError",
        "LibraryError",
        "LibraryLockedError",
        "LibraryNotFoundError",
        "LibraryVersionError",
        "MediaError",
        "MediaTooLargeError",
        "MmsearchError",
        "ModelError",
        "ModelMismatchError",
        "ModelNotice",
        "ModelSpec",
        "Moment",
        "Near",
        "Progress",
        "Query",
        "Session",
        "Status",
        "Summary",
        "Tags",
        "Term",
        "TowerSpec",
        "UnknownModelError",
        "UnsupportedMediaError",
        "UsageError",
        "Vocabulary",
        "WeightsError",
        "__version__",
        "default_library",
        "evaluate",
    ]
    for name in mmsearch.__all__:
        assert getattr(mmsearch, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = mmsearch.nonsense


def test_importing_the_package_loads_next_to_nothing():
    code = "import mmsearch, sys; print(sorted({'numpy', 'sqlalchemy', 'typer', 'torch', 'faiss'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_every_command_and_option_is_documented():
    page = (DOCS / "commands.md").read_text(encoding="utf-8")
    commands = dict(typer.main.get_command(app).commands)
    for name, group in list(commands.items()):
        commands |= {f"{name} {inner}": command for inner, command in getattr(group, "commands", {}).items()}
    for name, command in commands.items():
        assert f"## mmsearch {name}" in page
        for parameter in command.params:
            for option in parameter.opts:
                if option.startswith("--"):
                    assert f"`{option}" in page, f"{option} of mmsearch {name} is not in docs/commands.md"
