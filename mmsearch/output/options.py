"""Options of the command line that say how results are wanted, and what the shell completes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from indexer.names import KINDS

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
JsonlOption = Annotated[bool, typer.Option("--jsonl", help="Print JSON, one result a line.")]
CsvOption = Annotated[bool, typer.Option("--csv", help="Print CSV with a header.")]
PathsOption = Annotated[bool, typer.Option("--paths", help="Print paths only, one a line.")]
NullOption = Annotated[bool, typer.Option("-0", "--null", help="Print paths only, NUL after each, for xargs -0.")]
DuplicatesOption = Annotated[
    bool, typer.Option("--duplicates", help="List files that are nearly identical to a result, too.")
]
PreviewOption = Annotated[
    bool | None,
    typer.Option(
        "--preview/--no-preview",
        help="Show small pictures; by default where the terminal is known to show pictures.",
        show_default=False,
    ),
]
OpenOption = Annotated[bool, typer.Option("--open", help="Open the first result, at the moment that was found.")]
SheetOption = Annotated[
    Path | None,
    typer.Option("--contact-sheet", metavar="FILE", help="Draw the results into this PNG file.", show_default=False),
]


def complete(names: Sequence[str]) -> Callable[[str], list[str]]:
    """A completion of one of some names."""

    def completions(incomplete: str) -> list[str]:
        return [name for name in names if name.startswith(incomplete)]

    return completions


def complete_list(names: Sequence[str]) -> Callable[[str], list[str]]:
    """A completion of names separated by commas: of "image,vi" to "image,video"."""

    def completions(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        taken = before.split(",")
        return [f"{before}{comma}{name}" for name in names if name.startswith(last) and name not in taken]

    return completions


complete_kinds = complete_list(KINDS)
