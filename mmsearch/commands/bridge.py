"""`mmsearch bridge`: make the bridge between pictures and sounds, and say how well it does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import typer

from indexer.errors import UsageError
from mmsearch.commands.progress import stage_progress
from mmsearch.commands.terminal import INTERRUPTED, complain, print_json, print_lines

if TYPE_CHECKING:
    from mmsearch.engine import Engine


def make_bridge(engine: Engine, *, method: str, as_json: bool) -> None:
    """Make a library's bridge, and print what it is worth.

    Raises:
        UsageError: there is no such method, or nothing to bridge.
        typer.Exit: it was interrupted.
    """
    from mmsearch import show
    from mmsearch.bridge.fit import METHODS

    if method not in ("auto", *METHODS):
        raise UsageError(f"there is no method {method!r}; choose auto, {' or '.join(METHODS)}")
    reason = engine.needs_no_bridge()
    if reason is not None:
        if as_json:
            print_json({"needed": False, "reason": reason})
        else:
            print_lines([reason])
        return
    chosen: Literal["auto", "ridge", "procrustes"] = method  # type: ignore[assignment]
    try:
        with stage_progress(quiet=as_json, first="Loading the model") as on_progress:
            report = engine.make_bridge(chosen, on_progress=on_progress)
    except KeyboardInterrupt:
        complain("interrupted; nothing was stored, and a bridge that was there is as it was")
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        print_json({"needed": True, **show.bridge_json(report)})
    else:
        print_lines(show.bridge(report))
