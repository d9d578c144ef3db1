"""How results leave: as a table, as plain lines, for other programs, as a picture, or opened in a viewer.

    settings.py     what was asked for, checked       options.py    the same as options of the command line
    text.py         words for a person's eyes         machine.py    JSON, CSV, paths
    plain.py        lines for a pipe                  table.py      a table for a terminal
    graphics.py     pictures as escape sequences      terminal.py   what a terminal can show
    thumbnails.py   a small picture of a result       sheet.py      all of them as one picture;  fonts.py: its letters
    moments_sheet.py  the moments of a video as one     files.py      pictures into files;  colours.py: theirs
    viewer.py       the command that opens a file at a moment

Importing this is light: Pillow, FFmpeg and rich are imported when a picture or a table is wanted.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TextIO, cast

from mmsearch.output.settings import OutputSettings, Results

if TYPE_CHECKING:
    _Writer = Callable[[Results, OutputSettings, TextIO], None]

__all__ = ["OutputSettings", "Results", "finish", "remark", "write"]

_WRITERS = {
    "table": ("table", "write"),
    "json": ("machine", "write_json"),
    "jsonl": ("machine", "write_jsonl"),
    "csv": ("machine", "write_csv"),
    "paths": ("machine", "write_paths"),
    "null": ("machine", "write_null"),
}
"""Which function of which module writes each format; "table" becomes plain lines where there is no terminal."""


def write(results: Results, settings: OutputSettings, stream: TextIO) -> None:
    """Write results to a stream, in the format that was chosen; nothing else is written there.

    Args:
        results: what was asked and found.
        settings: the format, and what goes with it.
        stream: a text stream on a binary one, as `sys.stdout` is.
    """
    module, name = _WRITERS[settings.format]
    if settings.format == "table" and not on_terminal(stream):
        module = "plain"
    writer = cast("_Writer", getattr(importlib.import_module(f"{__name__}.{module}"), name))
    writer(results, settings, stream)


def on_terminal(stream: TextIO) -> bool:
    """Whether a stream is a terminal that can place text."""
    import os

    return stream.isatty() and os.environ.get("TERM") != "dumb"


def remark(results: Results, settings: OutputSettings) -> str | None:
    """What to tell a person before results that are only the nearest there is; JSON says it itself."""
    if results.matches_well is False and results.hits and settings.format != "json":
        return "nothing here matches well; the nearest are:"
    return None


def finish(results: Results, settings: OutputSettings) -> Iterator[str]:
    """Do what was asked for besides: draw a contact sheet, open the first result. Gives remarks for a person.

    Raises:
        LibraryError: the first result is not there now.
        UsageError: there is nothing to open it with.
        OSError: the contact sheet cannot be written.
    """
    if settings.contact_sheet is not None and results.hits:
        from mmsearch.output.sheet import save

        yield from save(results, settings.contact_sheet)
    if settings.open_first and results.hits:
        from mmsearch.output.viewer import open_hit

        yield from open_hit(results.hits[0])
