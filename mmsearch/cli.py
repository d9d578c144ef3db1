"""The command line: parse, call, print. Only this module and those in commands/ print or exit.

Results go to standard output, everything else to standard error. Exit codes: 0 done or found, 1 nothing
found (of eval: a measure fell), 2 the command cannot be done as given, 3 a problem with the library, the
model or the system, 4 a bug in mmsearch, 130 interrupted, 141 nobody reads the output any more.
"""

from __future__ import annotations

import atexit
import copy
import errno
import gc
import io
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from indexer.errors import MediaError, MmsearchError, UsageError
from mmsearch import __version__
from mmsearch.commands import asking
from mmsearch.commands import eval as eval_command
from mmsearch.commands import explain as explain_command
from mmsearch.commands import mcp as mcp_command
from mmsearch.commands import models as models_command
from mmsearch.commands import refine as refine_command
from mmsearch.commands import serve as serve_command
from mmsearch.commands import summary as summary_command
from mmsearch.commands import tags as tags_command
from mmsearch.commands import train as train_command
from mmsearch.commands.opening import LibraryOption, open_engine
from mmsearch.commands.progress import indexing_progress
from mmsearch.commands.signals import cancelled_by_signals
from mmsearch.commands.terminal import (
    BUG,
    FOUND,
    INTERRUPTED,
    LIBRARY,
    UNREAD,
    USAGE,
    stoppable,
)
from mmsearch.commands.terminal import complain as _complain
from mmsearch.commands.terminal import print_json as _print_json
from mmsearch.commands.terminal import print_lines as _print_lines
from mmsearch.encoders.models import AUTO
from mmsearch.output import options

if TYPE_CHECKING:
    from mmsearch.engine import Engine

app = typer.Typer(
    help="Find text, pictures, sounds and video moments by meaning, on your own machine.",
    epilog="Exit codes: 0 done or found, 1 nothing found or a measure fell, 2 cannot be done as given, 3 a problem "
    "with the library, the model or the system, 4 a bug, 130 interrupted.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

JsonOption = options.JsonOption


def main() -> None:
    """Run the command line. Every expected error ends here, as one message and an exit code."""
    # Looking for garbage while modules are imported, and once more at the end, took a quarter of a short query.
    gc.set_threshold(50_000, 20, 20)
    atexit.register(gc.freeze)
    level = getattr(logging, os.environ.get("MMSEARCH_LOG", "").upper(), None)
    logging.basicConfig(level=level if isinstance(level, int) else logging.CRITICAL, format="%(name)s: %(message)s")
    logging.captureWarnings(True)  # Pillow and others warn of damaged files; we report those ourselves
    is_closed = sys.stdout is None  # by whoever started us
    sys.stdout = sys.stdout or _unwritable()
    sys.stderr = sys.stderr or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that is not UTF-8 shows what it can
    stdout = sys.stdout
    try:
        try:
            _app_for(sys.argv[1:])()
        finally:
            if sys.stdout is not stdout:  # Typer met a pipe that is closed: it hides the output, and exits with 1
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
            stdout.flush()
    except BrokenPipeError as error:
        if _is_unread(stdout):
            sys.exit(UNREAD)
        _complain(f"a connection was closed at its other end: {error.strerror}")
        sys.exit(LIBRARY)
    except MmsearchError as error:
        _complain(str(error))
        sys.exit(USAGE if isinstance(error, UsageError | MediaError) else LIBRARY)
    except OSError as error:
        if is_closed and error.errno == errno.EBADF:
            _give_up(stdout)
            _complain("what there was to print is lost: standard output is closed")
            sys.exit(LIBRARY)
        _complain(f"{f'{error.filename}: ' if error.filename else ''}{error.strerror or error}")
        sys.exit(LIBRARY)
    except Exception:
        traceback.print_exc()
        _complain("this is a bug in mmsearch; the library is unharmed")
        sys.exit(BUG)


def _app_for(arguments: Sequence[str]) -> typer.Typer:
    """The command that is asked for, where that is clear: to make ready all of them takes longer than an answer."""
    if not arguments or any(name.startswith("_MMSEARCH") for name in os.environ):  # which is how shells ask to complete
        return app
    one = copy.copy(app)
    one.registered_commands = [
        info
        for info in app.registered_commands
        if info.callback is not None
        and (info.name or typer.main.get_command_name(info.callback.__name__)) == arguments[0]
    ]
    one.registered_groups = [info for info in app.registered_groups if info.name == arguments[0]]
    return one if one.registered_commands or one.registered_groups else app


def _is_unread(stdout: TextIO) -> bool:
    """Whether nobody reads our output any more (`| head`): then nothing more is written there, and nothing is said.

    The signal for that would end us as quietly, but also when somebody hangs up on a socket: a server at a client
    that leaves, a download at a hub that closes.
    """
    import select

    if hasattr(select, "poll"):
        poller = select.poll()
        poller.register(stdout.fileno(), 0)  # errors are always told
        if not poller.poll(0):
            return False
    _give_up(stdout)
    return True


def _unwritable() -> TextIO:
    """In place of an output that is closed: its first flush fails, and no file that is opened takes its number."""
    return open(os.open(os.devnull, os.O_RDONLY), "w", encoding="utf-8")


def _give_up(stdout: TextIO) -> None:
    """Let what is still to be written go nowhere: the interpreter flushes once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stdout.fileno())


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"mmsearch {__version__}")
        raise typer.Exit(FOUND)


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    pass


@app.command()
def index(
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PATHS]...", help="Files and folders; without any, all that were named before."),
    ] = None,
    library: LibraryOption = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="The model, for a new library: see mmsearch models. auto by default; a library keeps its own."
        ),
    ] = None,
    speech: Annotated[
        str | None,
        typer.Option(help="What hears speech, for a new library: tiny.en (installed), off, base, small, or a folder."),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(help="Number type, for a new library: auto, float32, bfloat16, or float16 on a GPU."),
    ] = None,
    prune: Annotated[bool, typer.Option("--prune", help="Forget files that are not there now.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try failed files again.")] = False,
    hidden: Annotated[bool, typer.Option("--hidden", help="Index hidden files and folders too.")] = False,
    no_ignore: Annotated[
        bool, typer.Option("--no-ignore", help="Pay no attention to .gitignore and .mmsearchignore.")
    ] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Decoding threads; one for each processor.")] = None,
    max_megapixels: Annotated[
        float, typer.Option(min=0.01, help="Refuse pictures that are larger than this when decoded.")
    ] = 64.0,
    wait: Annotated[bool, typer.Option("--wait", help="Wait while another process writes to the library.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Index what is new or changed in files and folders.

    Unchanged files cost one look, moved ones are recognised, and one bad file never stops the run.
    Ctrl-C ends it cleanly; the next run goes on where this one ended.
    """
    from indexer.changes import check_path
    from indexer.report import IndexOptions
    from mmsearch import show

    for path in paths or []:
        check_path(None, path)  # before a library is made for nothing
    options = IndexOptions(
        prune=prune,
        retry_failed=retry_failed,
        hidden=hidden,
        ignore_files=not no_ignore,
        wait=wait,
        max_pixels=int(max_megapixels * 1e6),
        **({"workers": workers} if workers else {}),
    )
    with (
        _loaded(
            open_engine(library, model or AUTO, create=bool(paths), speech=speech, precision=precision, quiet=quiet)
        ) as engine,
        cancelled_by_signals() as cancel,
        indexing_progress(quiet=quiet or as_json) as on_progress,
    ):
        done = engine.index(*(paths or []), options=options, on_progress=on_progress, cancel=cancel)
        advice = engine.advice()
    if as_json:
        _print_json(show.report_json(done))
    elif not quiet:
        _print_lines(show.report(done))
        if advice is not None:
            _complain(advice)
    elif done.failed:
        _complain(f"{show.failed(done.failed, done.failed_folders)}: see mmsearch status --failed")
    if done.interrupted:
        raise typer.Exit(INTERRUPTED)


for _command in (asking.query, asking.similar, asking.duplicates):
    app.command()(_command)
app.command()(explain_command.explain)
app.command()(tags_command.tags)
app.command()(summary_command.summary)
app.command()(refine_command.refine)
app.command("eval")(eval_command.evaluate)
app.command()(serve_command.serve)
app.command()(mcp_command.mcp)
app.command("train")(train_command.train)
app.add_typer(models_command.app, name="models")


@app.command()
def status(
    library: LibraryOption = None,
    failed: Annotated[bool, typer.Option("--failed", help="List every file that failed, not only the first.")] = False,
    facets: Annotated[
        bool, typer.Option("--facets", help="Count files by kind, year and folder, and by what they show.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what is indexed, and what failed and why."""
    from mmsearch import show

    with open_engine(library, None, create=False) as engine, tags_command.reading_labels() as on_progress:
        found = engine.status()
        counted = engine.facets(on_progress=on_progress) if facets else None
    if as_json:
        _print_json(show.status_json(found) | ({} if counted is None else {"facets": counted.to_json()}))
    else:
        _print_lines(show.status(found, all_troubles=failed))
        if counted is not None:
            _print_lines(show.facets(counted))


@app.command()
def remove(
    path: Annotated[str, typer.Argument(metavar="PATH", help="A file or folder.")],
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Forget a file or folder; nothing on disk is touched.

    A file that stays in an indexed folder comes back with the next `mmsearch index`; name it in a
    .mmsearchignore file to keep it out.
    """
    from mmsearch import show

    with open_engine(library, None, create=False) as engine:
        removed = engine.remove(path)
    if as_json:
        _print_json({"files": removed.files, "segments": removed.segments})
    else:
        _print_lines([f"Forgot {show.many(removed.files, 'file')} ({show.many(removed.segments, 'segment')})"])


@app.command()
def move(
    old: Annotated[str, typer.Argument(metavar="OLD", help="Where the folder was when it was indexed.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Where it is now.")],
    library: LibraryOption = None,
) -> None:
    """Say that an indexed folder was moved. Nothing is encoded again."""
    from mmsearch import show

    with open_engine(library, None, create=False) as engine:
        files = engine.move_root(old, new)
    _print_lines([f"{show.many(files, 'file')} now looked for in {show.path(new)}"])


@app.command()
def bridge(
    library: LibraryOption = None,
    method: Annotated[
        str,
        typer.Option(
            help="How the spaces are joined: auto (what does better on held-out captions), ridge, procrustes."
        ),
    ] = "auto",
    as_json: JsonOption = False,
) -> None:
    """Let pictures find sounds, and sounds find pictures, in models that have a space for each.

    Learned from captions alone, in minutes. Then says how well it does on the frames and the sound of your own videos.
    """
    from mmsearch.commands.bridge import make_bridge

    with open_engine(library, None, create=False) as engine:
        make_bridge(engine, method=method, as_json=as_json)


@app.command()
def verify(library: LibraryOption = None, as_json: JsonOption = False) -> None:
    """Check the library, and mend what can be mended.

    Files, rows, vectors and indexes are held against each other.

    Exits with 3 when something is left that needs your hand.
    """
    from dataclasses import asdict

    from mmsearch import show

    with open_engine(library, None, create=False) as engine:
        report = engine.verify()
    if as_json:
        _print_json(asdict(report))
    else:
        _print_lines(show.verified(report))
    if report.problems:
        raise typer.Exit(LIBRARY)


def _loaded(engine: Engine) -> Engine:
    """An engine whose model is chosen and here, so that Ctrl-C ends a download and not a run that has not begun."""
    try:
        with stoppable():
            _ = engine.encoder
    except BaseException:
        engine.close()
        raise
    return engine
