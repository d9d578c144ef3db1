"""`mmsearch explain`: why a file answers a query."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmsearch.commands.opening import LibraryOption, open_engine
from mmsearch.commands.terminal import complain, print_json, print_lines
from mmsearch.output.options import JsonOption

if TYPE_CHECKING:
    from mmsearch.explain.values import Explanation

MARK = "mmsearch explanation"


def explain(
    query: Annotated[
        str, typer.Argument(metavar="QUERY", help='What was asked, in quotes: "a dog", or "./pool.jpg - fruit".')
    ],
    file: Annotated[str, typer.Argument(metavar="FILE", help="A file of the library.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Draw the explanation into a PNG file.")
    ] = None,
    method: Annotated[
        str, typer.Option(help="How pictures are looked at: auto (what the model offers), or occlusion.")
    ] = "auto",
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show why a file answers a query: which term, which moment, which part of the picture, which words."""
    from mmsearch.output.files import check_png
    from mmsearch.query import Query

    if output is not None:
        check_png(output, MARK, "an explanation")
    asked = Query.parse(query)
    with open_engine(library, None, create=False) as engine:
        why = engine.explain(asked, file, method=method)
    if output is not None:
        why.save(output)
    if as_json:
        print_json(why.to_json())
    else:
        print_lines(lines(why))
        for remark in why.remarks:
            complain(remark)


def lines(why: Explanation) -> Iterator[str]:
    """An explanation as plain lines."""
    from mmsearch.explain.why import THE_WORDS
    from mmsearch.output.text import clean, clock, path, percent, snippet, times, whole_percents

    unit = "over chance" if why.confidence is not None else "cosine"
    sure = f"{percent(why.confidence)}, " if why.confidence is not None else ""
    cosine = "" if why.cosine is None else f", cosine {why.cosine:.3f}"
    yield f"{path(why.path)}: {sure}score {why.score:+.2f} {unit}{cosine}"
    yield f"  The score is {why.formula}."
    if not why.fits_filters:
        yield "  The query's filters leave this file out."
    for term, share in zip(why.terms, whole_percents([term.share for term in why.terms]), strict=True):
        sign = "- " if term.weight < 0 else ""
        where = f" in {term.channel}" if term.channel else ""
        when = "" if term.start_seconds is None else f" at {clock(term.start_seconds)}"
        literal = f": {found_literally(why.matched)}" if term.asked == THE_WORDS and why.matched else ""
        similarity = "" if term.cosine is None else f" (cosine {term.cosine:.3f})"
        yield f"  {term.part:+7.2f}  {share:+4} %  {sign}{clean(term.asked)}{where}{when}{similarity}{literal}"
    timed = [stretch for stretch in why.stretches if stretch.start_seconds is not None]
    if timed:
        yield "Moments, the best first"
        for stretch in sorted(timed, key=lambda one: -one.score)[:5]:
            when = times(stretch.start_seconds, stretch.end_seconds)
            chance = f"{percent(stretch.confidence):>4}  " if stretch.confidence is not None else ""
            adds = f"  adds {stretch.part:+.2f}" if stretch.part else ""
            yield f"  {when:<11}  {stretch.channel:<6}  {chance}{stretch.cosine:6.3f}{adds}"
    for line in why.lines:
        yield f"Words in {line.channel} {snippet(line.text, 70)[0]}"
        carrying = sorted((word for word in line.words if word.drop >= 0.0005), key=lambda word: -word.drop)[:8]
        told = [f"{clean(word.text)} {word.drop:+.3f}{' (literal)' if word.literal else ''}" for word in carrying]
        yield f"  {', '.join(told) or 'no word by itself carries it'}"
    for one in why.maps:
        yield f"Picture  {clean(one.asked)}: {_region(one.values)} ({one.method})"


def found_literally(matched: Sequence[str]) -> str:
    """What was found as words, and that it was in the file's name: '"red", "hat", in the name'."""
    from mmsearch.output.text import NAME, clean, first_few

    words = [f'"{clean(word)}"' for word in matched if word != NAME]
    return ", ".join([*([first_few(words, 8)] * bool(words)), *["in the name"] * (NAME in matched)])


def _region(heat: object) -> str:
    """Where the middle of the heat is, in words."""
    import numpy as np

    values = np.asarray(heat, np.float64)
    if not values.any():
        return "no part speaks for it"
    rows, columns = np.indices(values.shape)
    strong = np.where(values >= 0.5, values, 0.0)
    y = float(((rows + 0.5) * strong).sum() / strong.sum())
    x = float(((columns + 0.5) * strong).sum() / strong.sum())
    vertical = ("top", "middle", "bottom")[min(2, int(3 * y / values.shape[0]))]
    horizontal = ("left", "centre", "right")[min(2, int(3 * x / values.shape[1]))]
    share = float((values >= 0.5).mean())
    return f"mostly {vertical} {horizontal}, {100 * share:.0f} % of the picture"
