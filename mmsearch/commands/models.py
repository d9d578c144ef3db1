"""`mmsearch models`: which models there are, what of them is here, and fetching them."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from indexer.errors import UsageError, WeightsError
from mmsearch.commands.terminal import ModelEvents, complain, print_json, print_lines, stoppable
from mmsearch.encoders.models import AUTO, EMBEDDED, MODELS, PARTS, Figure, Part
from mmsearch.encoders.names import no_such_model, parse, short_name
from mmsearch.encoders.pull import (
    Plan,
    described,
    discard,
    folders,
    known_bytes,
    missing,
    needs_of,
    plan,
    pull,
    wrong_files,
)
from mmsearch.encoders.speech_source import EMBEDDED_SPEECH, SIZES
from mmsearch.units import amount

NARROW = 76  # columns, under which a table would be more breaks than words

app = typer.Typer(invoke_without_command=True, no_args_is_help=False)


@app.callback()
def models(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the models: what they find, their size, their licence, published figures, and what is on this machine.

    `mmsearch models pull NAME` fetches one.
    """
    if context.invoked_subcommand is not None:
        return
    rows = [_row(name) for name in MODELS]
    speech = [_speech_row(name) for name in (EMBEDDED_SPEECH, *SIZES)]
    if as_json:
        print_json({"default": AUTO, "models": rows, "speech": speech})
    elif sys.stdout.isatty() and _columns() >= NARROW:
        _print_table(rows)
        width = _columns()
        print_lines(
            part
            for line in _notes(rows, speech)
            for part in textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False)
        )
    else:
        print_lines(line for row in rows for line in _block(row))
        print_lines(_notes(rows, speech, sources=False))


@app.command("pull")
def pull_command(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A model, parts such as open_clip:..., or speech:base and the like.")
    ],
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Accept licences that forbid commercial use without being asked.")
    ] = False,
) -> None:
    """Fetch a model into the hub's cache, or what is missing of it there, and check what is there.

    What it is, how big, and under which licence is said first. An interrupted download goes on where it ended.
    """
    if name == AUTO:
        raise UsageError(f"{AUTO} is a choice and not a model; name one of {', '.join(MODELS)}")
    if parse(name) is None:
        raise no_such_model(name)
    if not needs_of(name):
        where = "is installed with mmsearch" if name == EMBEDDED else "lies on this machine"
        print_lines([f"{name} {where}: there is nothing to fetch"])
        return
    events = ModelEvents()
    with stoppable():
        _take_away_damaged(name)
        first = plan(name)
        if first is None:
            print_lines([f"{short_name(name)} is here, and whole:", *(f"  {folder}" for folder in folders(name))])
            return
        found = pull(name, on_event=events, accept=lambda wanted: _accepts(wanted, yes), first=first)
    print_lines([f"{short_name(name)} is here now:", *(f"  {folder}" for folder in found)])


def _take_away_damaged(name: str) -> None:
    wrong = wrong_files(name)
    if not wrong:
        return
    shown = ", ".join(map(str, wrong))
    if discard(name, wrong):
        complain(f"damaged, and fetched again: {shown}")
    else:
        raise WeightsError(f"damaged, and the hub cannot be reached to fetch it again: {shown}")


def _accepts(wanted: Plan, yes: bool) -> bool:
    """Show licences that forbid commercial use, and ask."""
    for remote in wanted.forbidding:
        complain(f"{remote.need.repository} is licensed {described(remote.licence)}")
    if yes:
        return True
    if sys.stdin.isatty() and sys.stderr.isatty():
        return typer.confirm("Fetch it, and keep to that?", default=False, err=True)
    return False


# --- rows ---


def _row(name: str) -> dict[str, Any]:
    """A model as JSON: see docs/json.md."""
    model = MODELS[name]
    named = parse(name)
    parts = [f"{scheme}:{source}" for scheme, source in named.parts] if named is not None else []
    places = [] if name == EMBEDDED else folders(name)
    return {
        "name": name,
        "description": model.description,
        "finds": list(model.finds),
        "bytes": known_bytes(name),
        "here": name == EMBEDDED or not missing(name),
        "folders": [str(place) for place in places],
        "bytes_here": sum(_size(place) for place in places),
        "parts": [_part(part, PARTS.get(part)) for part in parts or [EMBEDDED]],
    }


def _part(name: str, known: Part | None) -> dict[str, Any]:
    if known is None:
        return {"name": name, "repository": None, "bytes": None, "licence": None, "figures": []}
    licence = {"name": known.licence.name, "url": known.licence.url, "commercial_use": known.licence.commercial}
    figures = [{"measure": f.measure, "value": f.value, "unit": "%", "source": f.source} for f in known.figures]
    return {
        "name": name,
        "repository": known.repository,
        "bytes": known.bytes,
        "licence": licence,
        "figures": figures,
    }


def _speech_row(name: str) -> dict[str, Any]:
    installed = name == EMBEDDED_SPEECH
    return {
        "name": name,
        "repository": None if installed else SIZES[name],
        "here": installed or not missing(f"speech:{name}"),
        "languages": "English" if name.endswith(".en") else "many",
    }


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


# --- text ---


def _licences(row: dict[str, Any]) -> str:
    found = [part["licence"] for part in row["parts"]]
    return ", ".join(
        dict.fromkeys(
            "?" if each is None else each["name"] + (" (not commercial)" if each["commercial_use"] is False else "")
            for each in found
        )
    )


def _download(row: dict[str, Any]) -> str:
    size = "?" if row["bytes"] is None else amount(row["bytes"])
    return "none" if row["name"] == EMBEDDED else f"about {size}"


def _here(row: dict[str, Any]) -> str:
    if row["name"] == EMBEDDED:
        return "installed"
    if row["here"]:
        return f"yes, {amount(row['bytes_here'])}"
    return f"in part, {amount(row['bytes_here'])}" if row["bytes_here"] else "no"


def _figures(row: dict[str, Any]) -> list[Figure]:
    return [Figure(f["measure"], f["value"], f["source"]) for part in row["parts"] for f in part["figures"]]


def _sources(rows: list[dict[str, Any]]) -> list[str]:
    """Every source of a figure, in the order of the table."""
    return list(dict.fromkeys(figure.source for row in rows for figure in _figures(row)))


def _block(row: dict[str, Any]) -> Iterator[str]:
    """A model as lines of text, for what is no terminal."""
    yield f"{row['name']}: {row['description']}"
    yield f"  finds     {', '.join(row['finds'])}"
    yield f"  download  {_download(row)}"
    yield f"  licence   {_licences(row)}"
    yield f"  here      {_here(row)}"
    for folder in row["folders"]:
        yield f"            {folder}"
    for figure in _figures(row):
        yield f"  figure    {figure.measure} {figure.value:g} % ({figure.source})"


def _notes(rows: list[dict[str, Any]], speech: list[dict[str, Any]], *, sources: bool = True) -> Iterator[str]:
    from mmsearch.encoders.hub import cache_folder

    if sources:
        for number, source in enumerate(_sources(rows), start=1):
            yield f"  [{number}] {source}"
    here = ", ".join(row["name"] for row in speech if row["here"])
    others = ", ".join(row["name"] for row in speech if not row["here"])
    yield f"Speech (--speech): here {here}; from the hub {others}; off."
    yield f"The default, {AUTO}, is fast for a new library where that is here or can be fetched, and else {EMBEDDED}."
    yield f"Fetch one with: mmsearch models pull NAME. Fetched models are kept in {cache_folder()}."


def _columns() -> int:
    import shutil

    return shutil.get_terminal_size().columns


def _print_table(rows: list[dict[str, Any]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    numbers = {source: number for number, source in enumerate(_sources(rows), start=1)}
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for title, options in (
        ("Model", {"no_wrap": True}),
        ("Finds", {"min_width": 8}),
        ("Download", {"no_wrap": True}),
        ("Licence", {"min_width": 11}),
        ("Here", {"no_wrap": True}),
        ("Published figures", {}),
    ):
        table.add_column(title, overflow="fold", **options)
    for row in rows:
        figures = [f"{f.measure} {f.value:g} % [{numbers[f.source]}]" for f in _figures(row)]
        cells = (row["name"], ", ".join(row["finds"]), _download(row), _licences(row), _here(row), "\n".join(figures))
        table.add_row(*map(escape, cells))
    Console(highlight=False).print(table)
