"""The options of `mmsearch query` that say what is asked, and the query that they make."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from indexer.errors import UsageError
from indexer.names import KINDS
from mmsearch.names import FUSIONS, METRICS, TermKind
from mmsearch.output.options import complete, complete_kinds

if TYPE_CHECKING:
    from mmsearch.grammar import StandardInput
    from mmsearch.query import Query

Terms = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="TERMS",
        help="What to look for: words in quotes, or files, with + and - between them; 2:dog weighs twice.",
    ),
]
Image = Annotated[
    list[str] | None, typer.Option(metavar="FILE", help="Search by a picture; - reads standard input; may be repeated.")
]
Audio = Annotated[list[str] | None, typer.Option(metavar="FILE", help="Search by a sound, or by the sound of a video.")]
Video = Annotated[list[str] | None, typer.Option(metavar="FILE", help="Search by a video.")]
TextFile = Annotated[list[str] | None, typer.Option(metavar="FILE", help="Search by the text of a file.")]
Limit = Annotated[int, typer.Option("-k", "--limit", min=1, help="How many files to show.")]
Kinds = Annotated[
    list[str] | None,
    typer.Option(
        "--kind",
        metavar="KINDS",
        help=f"Only these kinds, separated by commas: {', '.join(KINDS)}.",
        autocompletion=complete_kinds,
    ),
]
Within = Annotated[
    list[str] | None,
    typer.Option("--in", metavar="PLACE", help="Only what is in this folder, or this file; may be repeated."),
]
After = Annotated[
    str | None,
    typer.Option(metavar="DATE", help="Only what was taken on this date or later: 2024, 2024-06, 2024-06-01T18:30."),
]
Before = Annotated[str | None, typer.Option(metavar="DATE", help="Only what was taken before this date begins.")]
MinDuration = Annotated[
    str | None, typer.Option(metavar="TIME", help="Only what lasts at least this long: 10 (seconds), 1:30, 2m.")
]
MaxDuration = Annotated[str | None, typer.Option(metavar="TIME", help="Only what lasts at most this long.")]
NearPlace = Annotated[
    str | None,
    typer.Option("--near", metavar="LAT,LON,RADIUS", help="Only what was taken near here: 48.86,2.35,5km."),
]
Name = Annotated[
    str | None,
    typer.Option(metavar="PATTERN", help='Only files of this name, for example "*.mp4"; with a / the path counts.'),
]
FusionName = Annotated[
    str,
    typer.Option(
        "--fusion",
        metavar="NAME",
        help=f"How terms become one ranking: {', '.join(FUSIONS)}.",
        autocompletion=complete(FUSIONS),
    ),
]
MetricName = Annotated[
    str,
    typer.Option(
        "--metric",
        metavar="NAME",
        help=f"What is nearest: {', '.join(METRICS)}.",
        autocompletion=complete(METRICS),
    ),
]
Confident = Annotated[bool, typer.Option("--confident", help="Show only what stands out from chance.")]
NotBelow = Annotated[
    float | None,
    typer.Option("--not-below", metavar="SCORE", help="Leave out what is at least this similar to a negative term."),
]
Moments = Annotated[bool, typer.Option("--moments", help="List moments as results of their own.")]
NoWords = Annotated[bool, typer.Option("--no-words", help="Search by meaning only, not by the words themselves.")]
Exact = Annotated[
    bool, typer.Option("--exact", help="Compare every vector, also in a large library: slower, and misses nothing.")
]

QrelsFile = Annotated[
    Path | None,
    typer.Option(
        "--qrels",
        metavar="FILE",
        help="Show precision, recall and F1, by the judgements of this query in here; TERMS may be its id.",
        show_default=False,
    ),
]


@contextmanager
def standard_input() -> Iterator[StandardInput]:
    """A function that keeps standard input in a temporary file, which is gone when the block ends."""
    with ExitStack() as stack:
        is_read = False

        def read(_kind: str | None) -> Path:
            import shutil
            import tempfile

            from mmsearch.sources import holds_text

            nonlocal is_read
            if is_read:
                raise UsageError("standard input can be read once, and the query names it twice")
            if sys.stdin is None or sys.stdin.isatty():
                raise UsageError("- is standard input, and nothing is sent there: mmsearch query --image - < photo.jpg")
            is_read = True
            path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mmsearch-")), "standard-input")
            with path.open("wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file)
            if not path.stat().st_size:
                raise UsageError("standard input is empty, and a query was to be made from it")
            # Plain text is known by a suffix only; in what has a signature, it changes nothing.
            return path.rename(path.with_suffix(".txt")) if holds_text(path) else path

        yield read


def query_of(
    terms: Sequence[str], files: dict[TermKind, Sequence[str] | None], stdin: StandardInput, **options: Any
) -> Query:
    """The query that a command line asks.

    Args:
        terms: arguments in the grammar.
        files: what is searched by besides, each with weight 1.
        stdin: what reads standard input where "-" stands for a file.
        options: fields of `Query`; times, durations and places as they were written.

    Raises:
        UsageError: something in it makes no sense, or a file is not there.
    """
    from mmsearch import limits
    from mmsearch.grammar import parse_arguments
    from mmsearch.line_options import names
    from mmsearch.query import Query, Term

    readers = {
        "after": limits.moment,
        "before": limits.moment,
        "min_seconds": limits.seconds,
        "max_seconds": limits.seconds,
        "near": limits.near,
    }
    for field, read in readers.items():
        if options.get(field) is not None:
            options[field] = read(options[field])
    options["kinds"] = [name for listed in options.get("kinds") or () for name in names(listed)]
    options["within"] = options.get("within") or ()
    asked = list(parse_arguments(terms, standard_input=stdin))
    for kind, paths in files.items():
        asked += [Term.of_file(stdin(kind) if path == "-" else path, kind) for path in paths or ()]
    return Query(tuple(asked), **options)
