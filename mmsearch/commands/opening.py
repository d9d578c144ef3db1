"""What most commands begin with: which library, and opening it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmsearch.commands.terminal import ModelEvents, stoppable

if TYPE_CHECKING:
    from mmsearch.engine import Engine

LibraryOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        envvar="MMSEARCH_LIBRARY",
        help="The library's folder; in your data directory by default.",
        show_default=False,
    ),
]


def open_engine(
    library: Path | None,
    model: str | None,
    *,
    create: bool,
    speech: str | None = None,
    precision: str | None = None,
    quiet: bool = False,
) -> Engine:
    """The engine on a library; what its model has to say goes to standard error."""
    from mmsearch.engine import Engine

    events = ModelEvents(quiet=quiet)
    with stoppable():
        return Engine.open(library, model=model, create=create, speech=speech, precision=precision, on_event=events)
