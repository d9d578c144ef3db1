"""`mmsearch train`: adapt a library to what is in it, take that back, or fine-tune a tower."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from indexer.errors import CancelledError, UsageError
from mmsearch.commands.opening import LibraryOption, open_engine
from mmsearch.commands.signals import cancelled_by_signals
from mmsearch.commands.terminal import (
    INTERRUPTED,
    NOTHING,
    PLAIN_LINE_SECONDS,
    complain,
    print_json,
    print_lines,
    stoppable,
)
from mmsearch.output.options import JsonOption

if TYPE_CHECKING:
    from mmsearch.engine import Engine

_OF_TOWERS = ("rank", "epochs", "batch", "rate", "decay", "patience", "seed")
_OF_ADAPTERS = ("from_library", "dry_run", "general", "loss", "views", "plot")


def train(
    context: typer.Context,
    pairs: Annotated[
        str | None,
        typer.Argument(metavar="[PAIRS]", help="A JSONL file of pairs, or a folder with captions beside files."),
    ] = None,
    library: LibraryOption = None,
    from_library: Annotated[
        bool,
        typer.Option(
            "--from-library", help="Take the pairs that the library has: speech and frames, captions, thumbs."
        ),
    ] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Go back to the vectors before the last adapter.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Measure only; apply nothing.")] = False,
    general: Annotated[
        str | None, typer.Option(metavar="PAIRS", help="Other pairs, to measure what the adapter costs elsewhere.")
    ] = None,
    loss: Annotated[str, typer.Option(help="infonce (CLIP) or sigmoid (SigLIP).")] = "infonce",
    rank: Annotated[
        int | None, typer.Option(min=0, help="Rank of the adapter; 0 for a whole matrix. By the number of pairs.")
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs at most.")] = 100,
    patience: Annotated[int, typer.Option(min=1, help="Epochs without better recall after which it ends.")] = 12,
    batch: Annotated[int, typer.Option(min=2, help="Pairs that are told from each other at once.")] = 512,
    rate: Annotated[float, typer.Option(help="Learning rate.")] = 1e-3,
    decay: Annotated[float, typer.Option(help="Weight decay, towards leaving vectors as they are.")] = 0.1,
    views: Annotated[
        int,
        typer.Option(min=0, max=16, help="Other views of each picture to encode for training, mirrored and cropped."),
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Of all that is drawn at random.")] = 0,
    plot: Annotated[
        Path | None, typer.Option("--plot", "-o", metavar="PNG", help="Draw the losses and the held-out recall here.")
    ] = None,
    unfreeze: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Fine-tune this open_clip model itself on pictures and captions (LoRA)."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where --unfreeze writes the model that it makes.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Adapt the library's vectors to pairs that belong together, if that helps.

    A small matrix is learned over vectors that are there already. It is measured on pairs that were held out, and
    applied only when it helps by more than chance explains. --undo takes it back.

    Exits with 1 when it does not help. Ctrl-C changes nothing, and the same command goes on from there.

    --unfreeze has other defaults: docs/commands.md has them.
    """
    if undo:
        if pairs or from_library or unfreeze:
            raise UsageError("--undo takes no pairs: it goes back to the vectors before the last adapter")
        _undo(library, as_json=as_json)
        return
    if unfreeze is not None:
        if pairs is None or output is None:
            raise UsageError("--unfreeze needs pairs and --output FOLDER, where the model goes that it makes")
        _unfreeze(unfreeze, pairs, output, _given(context), as_json=as_json)
        return
    if output is not None:
        raise UsageError("--output goes with --unfreeze: an adapter is kept in the library")
    if pairs is None and not from_library:
        raise UsageError("name a JSONL file of pairs or a folder with captions beside files, or take --from-library")
    from mmsearch.training.fit import FitOptions

    options = FitOptions(loss, rank, epochs, batch, rate, decay, patience, seed)  # type: ignore[arg-type]
    if plot is not None:
        from mmsearch.output.files import check_png

        check_png(plot, "Matplotlib", "a plot")
    with open_engine(library, None, create=False) as engine:
        trained = _adapt(
            engine,
            quiet=as_json,
            pairs=pairs,
            from_library=from_library,
            general=general,
            options=options,
            views=views,
            apply=not dry_run,
        )
    if plot is not None:
        from mmsearch.training.plot import loss_plot

        plot.write_bytes(loss_plot(trained.histories))
    report = trained.report
    if as_json:
        print_json(asdict(report))
    else:
        from mmsearch.training.report import lines

        print_lines(lines(report))
    if not any(each.helps for each in report.channels):
        raise typer.Exit(NOTHING)


def _adapt(engine: Engine, *, quiet: bool, **how: Any) -> Any:
    with stoppable():
        _ = engine.encoder
    try:
        with cancelled_by_signals() as cancel, _progress(quiet=quiet) as on_progress:
            return engine.train(**how, on_progress=on_progress, cancel=cancel)
    except (CancelledError, KeyboardInterrupt) as stopped:
        complain(f"{str(stopped) or 'interrupted; nothing was changed'}; the same command goes on from there")
        raise typer.Exit(INTERRUPTED) from None


def _undo(library: Path | None, *, as_json: bool) -> None:
    with open_engine(library, None, create=False) as engine:
        undone = engine.undo_training()
    if as_json:
        print_json({"undone": True, "files_to_index": undone.files})
        return
    print_lines(["The library answers with its vectors from before the adapter."])
    if undone.files:
        print_lines([f"Files that came after it: {undone.files:,}; bring them back with: mmsearch index"])


def _given(context: typer.Context) -> dict[str, Any]:
    """What was said on the command line, by parameter: a tower has other defaults than an adapter."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return {name: context.params[name] for name, source in sources.items() if source and source.name == "COMMANDLINE"}


def _unfreeze(model: str, pairs: str, output: Path, given: dict[str, Any], *, as_json: bool) -> None:
    from mmsearch.output.files import check_folder
    from mmsearch.training.lora import LoraOptions, fine_tune

    if unused := [name for name in _OF_ADAPTERS if name in given]:
        raise UsageError(
            f"--{unused[0].replace('_', '-')} is for adapters of a library; it does not go with --unfreeze"
        )
    check_folder(output, "the model that --unfreeze makes")
    options = LoraOptions(**{name: given[name] for name in _OF_TOWERS if name in given})
    try:
        with cancelled_by_signals() as cancel, _progress(quiet=as_json) as on_progress:
            report = fine_tune(model, pairs, output, options, on_progress=on_progress, cancel=cancel)
    except (CancelledError, KeyboardInterrupt) as stopped:
        complain(str(stopped) or "interrupted; nothing was written")
        raise typer.Exit(INTERRUPTED) from None
    if report is None:  # another process of the same run says it
        return
    if as_json:
        print_json(asdict(report))
    else:
        print_lines(report.lines())
    if report.folder is None:
        raise typer.Exit(NOTHING)


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """A bar on a terminal, a line now and then elsewhere, nothing when quiet; on standard error."""
    if quiet:
        yield lambda *_: None
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("Loading the model", total=None)
            yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)
    else:
        shown = time.monotonic()

        def on_line(what: str, done: int, total: int) -> None:
            nonlocal shown
            if time.monotonic() - shown >= PLAIN_LINE_SECONDS:
                shown = time.monotonic()
                print(f"{what} ({done:,} of {total:,})", file=sys.stderr, flush=True)

        yield on_line
