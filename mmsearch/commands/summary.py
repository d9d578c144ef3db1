"""`mmsearch summary`: the moments that stand for a video."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmsearch.commands.opening import LibraryOption, open_engine
from mmsearch.commands.terminal import complain, print_json, print_lines
from mmsearch.output.options import JsonOption


def summary(
    video: Annotated[str, typer.Argument(metavar="VIDEO", help="A video of the library.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Draw the moments into a PNG file.")
    ] = None,
    moments: Annotated[
        int | None, typer.Option("--moments", min=1, help="How many; as many as cover the video by default.")
    ] = None,
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the moments that stand for a whole video best, with their times. Nothing is encoded for it."""
    from mmsearch.output.files import check_png
    from mmsearch.summary import SHEET_MARK, lines

    if output is not None:
        check_png(output, SHEET_MARK, "a summary")
    with open_engine(library, None, create=False) as engine:
        found = engine.summary(video, moments)
    if as_json:
        print_json(found.to_json())
    else:
        print_lines(lines(found))
    if output is not None:
        found.save(output)
        complain(f"drew {output}")
