"""`mmsearch query`, `similar` and `duplicates`: put a question to a library, and give the answer."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from mmsearch import query_options
from mmsearch.commands.judging import ask_judged, find_judged, tell_quality
from mmsearch.commands.opening import LibraryOption, open_engine
from mmsearch.commands.terminal import NOTHING, complain, print_json, print_lines
from mmsearch.output import options

if TYPE_CHECKING:
    from mmsearch.engine import Engine
    from mmsearch.output import OutputSettings, Results
    from mmsearch.rank import Answer


def query(
    terms: query_options.Terms = None,
    image: query_options.Image = None,
    audio: query_options.Audio = None,
    video: query_options.Video = None,
    text_file: query_options.TextFile = None,
    library: LibraryOption = None,
    k: query_options.Limit = 10,
    kind: query_options.Kinds = None,
    within: query_options.Within = None,
    after: query_options.After = None,
    before: query_options.Before = None,
    min_duration: query_options.MinDuration = None,
    max_duration: query_options.MaxDuration = None,
    near: query_options.NearPlace = None,
    name: query_options.Name = None,
    fusion: query_options.FusionName = "auto",
    metric: query_options.MetricName = "cosine",
    confident: query_options.Confident = False,
    not_below: query_options.NotBelow = None,
    moments: query_options.Moments = False,
    no_words: query_options.NoWords = False,
    exact: query_options.Exact = False,
    qrels: query_options.QrelsFile = None,
    as_json: options.JsonOption = False,
    jsonl: options.JsonlOption = False,
    csv: options.CsvOption = False,
    paths: options.PathsOption = False,
    null: options.NullOption = False,
    duplicates: options.DuplicatesOption = False,
    preview: options.PreviewOption = None,
    open_first: options.OpenOption = False,
    contact_sheet: options.SheetOption = None,
    model: Annotated[str | None, typer.Option(help="Insist that the library was made with this model.")] = None,
) -> None:
    """Find the files and moments nearest in meaning to words, pictures, sounds, videos, documents or a mix of them.

    Each line shows rank, confidence, cosine similarity, kind, time span and path. Exits with 1 when there is nothing to
    show.
    """
    from mmsearch.history import remember
    from mmsearch.output import OutputSettings, Results

    wanted = OutputSettings.chosen(
        json=as_json,
        jsonl=jsonl,
        csv=csv,
        paths=paths,
        null=null,
        duplicates=duplicates,
        preview=preview,
        open_first=open_first,
        contact_sheet=contact_sheet,
    )
    with query_options.standard_input() as stdin:
        asked = query_options.query_of(
            terms or [],
            {"image": image, "audio": audio, "video": video, "document": text_file},
            stdin,
            k=k,
            kinds=kind,
            within=within,
            after=after,
            before=before,
            min_seconds=min_duration,
            max_seconds=max_duration,
            near=near,
            name=name,
            fusion=fusion,
            metric=metric,
            confident=confident,
            not_below=not_below,
            moments=moments,
            words=not no_words,
            exact=exact,
        )
        judged, quality = None, None
        if qrels is not None:
            judged, asked = find_judged(qrels, terms or [], asked)
        with open_engine(library, model, create=False) as engine:
            if judged is None:
                found = engine.query(asked)
            else:
                found, quality = ask_judged(engine, judged, asked)
            advice = engine.missing_bridge(asked)
            remember(engine, asked, found)  # for `mmsearch refine`
            gone = absent(engine, found)
    measured = None if quality is None else quality.to_json()
    give(Results(asked.asked, found.hits, found.matches_well, measured, found.remarks), wanted)
    if quality is not None:
        tell_quality(quality, wanted.format)
    for line in gone:
        complain(line)
    if advice:
        complain(advice)
    nothing = "nothing in the library fits the filters" if asked.is_filtered else "no indexed file is there now"
    if asked.not_below is not None:
        nothing = f"nothing is left: --not-below {asked.not_below:g} leaves out what is so near to a term after a minus"
        nothing += ", or the filters do" if asked.is_filtered else ""
    _exit_without(found, nothing, confident=confident, quiet=bool(advice or found.remarks))


def similar(
    path: Annotated[
        str, typer.Argument(metavar="FILE", help="A picture, sound, video or text; in the library or not.")
    ],
    library: LibraryOption = None,
    k: query_options.Limit = 10,
    kind: query_options.Kinds = None,
    within: query_options.Within = None,
    confident: query_options.Confident = False,
    moments: query_options.Moments = False,
    as_json: options.JsonOption = False,
    jsonl: options.JsonlOption = False,
    csv: options.CsvOption = False,
    paths: options.PathsOption = False,
    null: options.NullOption = False,
    duplicates: options.DuplicatesOption = False,
    preview: options.PreviewOption = None,
    open_first: options.OpenOption = False,
    contact_sheet: options.SheetOption = None,
) -> None:
    """Find what is most like a file, which itself is left out. One that is in the library costs no encoding.

    Lines, formats and exit codes are those of `mmsearch query`.
    """
    from mmsearch.output import OutputSettings, Results

    wanted = OutputSettings.chosen(
        json=as_json,
        jsonl=jsonl,
        csv=csv,
        paths=paths,
        null=null,
        duplicates=duplicates,
        preview=preview,
        open_first=open_first,
        contact_sheet=contact_sheet,
    )
    kinds = tuple(name.strip() for listed in kind or () for name in listed.split(","))
    with open_engine(library, None, create=False) as engine:
        found = engine.similar(path, k, kinds=kinds, within=tuple(within or ()), confident=confident, moments=moments)
        gone = absent(engine, found)
    give(Results(path, found.hits, found.matches_well, remarks=found.remarks), wanted)
    for line in gone:
        complain(line)
    nothing = "the library holds no other file to compare it with"
    if kinds or within:
        nothing = "no other file in the library fits the filters"
    _exit_without(found, nothing, confident=confident)


def absent(engine: Engine, found: Answer) -> list[str]:
    """At most two lines on results that are not on disk now: in folders that are moved or not mounted, and others."""
    from mmsearch import show
    from mmsearch.presence import Disk

    paths = [hit.path for hit in found if hit.is_gone]
    return list(show.absent(Disk(engine.library.store), paths, "result")) if paths else []


def _exit_without(found: Answer, nothing: str, *, confident: bool, quiet: bool = False) -> None:
    """Say why nothing was found, unless it was said, and exit with 1; go on when something was.

    `nothing` is said where it is not for want of confidence.
    """
    if found:
        return
    if confident:
        complain("nothing here stands out from chance; leave --confident out to see the nearest")
    elif not quiet:
        complain(nothing)
    raise typer.Exit(NOTHING)


def duplicates(
    paths: Annotated[list[str] | None, typer.Argument(metavar="[PATHS]...", help="Only what is in here.")] = None,
    library: LibraryOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """List files that show the same as others: copies, re-encoded pictures, photos and frames of videos."""
    from mmsearch import show
    from mmsearch.presence import Disk

    with open_engine(library, None, create=False) as engine:
        disk, gone = Disk(engine.library.store), set[str]()

        def is_there(path: str) -> bool:
            there = disk.has(path)
            if not there:
                gone.add(path)
            return there

        groups = engine.duplicates(paths or [], is_there=is_there)
        left_out = list(show.absent(disk, sorted(gone), "file", left_out=True))
    if as_json:
        print_json(show.duplicates_json(groups))
    else:
        print_lines(show.duplicates(groups))
    for line in left_out:
        complain(line)
    if not groups:
        complain("no two files look alike")
        raise typer.Exit(NOTHING)


def give(results: Results, wanted: OutputSettings) -> None:
    """Results to standard output, remarks on them to standard error."""
    from mmsearch.output import finish, remark, write

    for line in results.remarks:
        complain(line)
    remarked = remark(results, wanted)
    if remarked:
        print(remarked, file=sys.stderr, flush=True)
    write(results, wanted, sys.stdout)
    sys.stdout.flush()  # before a viewer opens, or a picture is drawn
    for line in finish(results, wanted):
        complain(line)
