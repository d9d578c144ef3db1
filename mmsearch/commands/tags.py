"""`mmsearch tags`: what a file shows, as labels with confidences."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmsearch.commands.opening import LibraryOption, open_engine
from mmsearch.commands.progress import OnStage, stage_progress
from mmsearch.commands.terminal import NOTHING, complain, print_json, print_lines
from mmsearch.output.options import JsonOption

if TYPE_CHECKING:
    from mmsearch.tags import Tag, Tags

_NEAREST = 3  # shown where nothing stands out
_PATIENCE_SECONDS = 2.0

VocabularyOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Labels of your own, one a line; further names of it after commas."),
]


def tags(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A picture, sound, video or text.")],
    vocabulary: VocabularyOption = None,
    k: Annotated[int, typer.Option("-k", "--limit", min=1, help="How many tags at most.")] = 10,
    write_xmp: Annotated[
        bool, typer.Option("--write-xmp", help="Write the tags into an XMP sidecar beside the file.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="With --write-xmp: replace a sidecar of another program, too.")
    ] = False,
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what a file shows, in labels of a vocabulary, each with a confidence. Nothing is trained for it.

    Exits with 1 when no label stands out from chance; the nearest are shown all the same.
    """
    from mmsearch.sidecar import check_sidecar, write_sidecar

    remark = check_sidecar(file, overwrite=overwrite) if write_xmp else None
    with open_engine(library, None, create=False) as engine, reading_labels() as on_progress:
        found = engine.tags(file, k=k, vocabulary=vocabulary, on_progress=on_progress)
    if as_json:
        print_json(found.to_json())
    else:
        print_lines(_lines(found))
    if not found.sure:
        complain("no label stands out from chance" + ("" if as_json else "; these are the nearest"))
        if write_xmp:
            complain("no sidecar was written")
        raise typer.Exit(NOTHING)
    if write_xmp:
        if remark is not None:
            complain(remark)
        place = write_sidecar(file, [tag.label for tag in found.sure], overwrite=overwrite)
        complain(f"wrote {place}")


def _lines(found: Tags) -> Iterator[str]:
    from mmsearch.output.text import clean, clock, percent

    def line(tag: Tag) -> str:
        when = "" if tag.start_seconds is None else f"  at {clock(tag.start_seconds)}"
        return f"{percent(tag.confidence) or '':>4}  {tag.score:6.3f}  {clean(tag.label)}{when}"

    yield from map(line, found.sure or found.tags[:_NEAREST])


@contextmanager
def reading_labels() -> Iterator[Callable[[int, int], None]]:
    """Shows how far labels are encoded, should that take longer than a moment; a bar on a terminal goes again."""
    began = time.monotonic()
    on_stage: OnStage | None = None
    what = "reading the labels, once for this model"
    with ExitStack() as shown:

        def on_progress(done: int, total: int) -> None:
            nonlocal on_stage
            if on_stage is None and time.monotonic() - began > _PATIENCE_SECONDS and done < total:
                on_stage = shown.enter_context(stage_progress(quiet=False, first=what))
                if not sys.stderr.isatty():
                    complain(f"{what}: {done:,} of {total:,} sentences so far")
            if on_stage is not None:
                on_stage(what, done, total)

        yield on_progress
