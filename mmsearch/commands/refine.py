"""`mmsearch refine`: go on from the last query, in turns that narrow or shift its answer."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from indexer.errors import UsageError
from mmsearch.commands.opening import LibraryOption, open_engine
from mmsearch.commands.terminal import NOTHING, complain
from mmsearch.output import options

if TYPE_CHECKING:
    from mmsearch.engine import Engine
    from mmsearch.output import OutputSettings
    from mmsearch.session import Session


def refine(
    said: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TEXT]...",
            help='What to change: "more like 3", "not the second", "only at night", "+ snow", "- people", "undo"; '
            "at the end options of a query, such as --in PLACE. Put -- before a text that begins with -.",
        ),
    ] = None,
    k: Annotated[int | None, typer.Option("-k", "--limit", min=1, help="How many files to show.")] = None,
    moments: Annotated[
        bool | None,
        typer.Option("--moments/--no-moments", help="List moments as results of their own.", show_default=False),
    ] = None,
    library: LibraryOption = None,
    as_json: options.JsonOption = False,
    jsonl: options.JsonlOption = False,
    csv: options.CsvOption = False,
    paths: options.PathsOption = False,
    null: options.NullOption = False,
    contact_sheet: options.SheetOption = None,
) -> None:
    """Change the last query of this library: more like a result, less like another, narrower, or without something.

    Without a text, turns are read line by line: typed on a terminal, or from standard input.
    """
    from mmsearch.history import recall
    from mmsearch.output import OutputSettings

    wanted = OutputSettings.chosen(
        json=as_json, jsonl=jsonl, csv=csv, paths=paths, null=null, contact_sheet=contact_sheet
    )
    with open_engine(library, None, create=False) as engine:
        session = recall(engine, k, moments)
        if said:
            _turn(engine, session, " ".join(said), wanted)
            if not session.answer:
                complain("nothing is left; go back with: mmsearch refine undo")
                raise typer.Exit(NOTHING)
            return
        for line in _lines(session):
            try:
                _turn(engine, session, line, wanted)
                if not session.answer:
                    complain("nothing is left; go back with: undo")
            except UsageError as error:  # the conversation goes on
                complain(str(error))


def _turn(engine: Engine, session: Session, said: str, wanted: OutputSettings) -> None:
    """One turn: ask, keep, show."""
    from mmsearch.commands.asking import absent, give
    from mmsearch.history import save
    from mmsearch.output import Results
    from mmsearch.output.text import path

    answer = session.next(said)
    save(engine, session.history)
    complain(f"asked: {session.described(path)}")
    give(Results(session.asked, answer.hits, answer.matches_well, remarks=answer.remarks), wanted)
    for line in absent(engine, answer):
        complain(line)


def _lines(session: Session) -> Iterator[str]:
    """What is typed, until the end of input, an empty line on a terminal, or "quit"."""
    from mmsearch.output.text import path

    on_terminal = sys.stdin.isatty()
    if on_terminal:
        last = session.described(path)
        complain(f"the last query: {last}" if session.history else "no query yet: say what to look for")
        complain('try "more like 3", "not 2", "only videos", "+ snow", "- people", "undo"; an empty line ends it')
    while True:
        if on_terminal:
            print("> ", end="", file=sys.stderr, flush=True)
        try:
            line = sys.stdin.readline()
        except KeyboardInterrupt:
            print(file=sys.stderr)
            return
        if not line or line.strip().lower() in ("quit", "exit", "q") or (on_terminal and not line.strip()):
            return
        if line.strip():
            yield line.strip()
