"""What comes with an extra, and what to say where it was not installed."""

from __future__ import annotations

import importlib.util

from indexer.errors import UsageError


def needs(extra: str, *modules: str) -> None:
    """Make sure that the packages of an extra are there; nothing is imported.

    Raises:
        UsageError: one is not.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"this command needs packages that are not installed ({', '.join(missing)}); install them with: "
            f'pip install "mmsearch[{extra}]"'
        )
