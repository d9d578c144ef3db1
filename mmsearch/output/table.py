"""Results on a terminal: a table fitted to its width, or a list with small pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mmsearch.output.settings import OutputSettings, Results
from mmsearch.output.terminal import Graphics, graphics
from mmsearch.output.text import (
    NAME,
    clean,
    close_moments,
    cosine,
    elided,
    first_few,
    gone,
    many,
    path,
    percent,
    snippet,
    span,
)

if TYPE_CHECKING:
    from PIL import Image

    from mmsearch.rank import Hit

_STACKED_BELOW = 72  # columns of a terminal that is too narrow for a table
_GAP = 2
_SNIPPET_LINES = 2
_SURE = 0.5  # from this confidence on, a result is shown as a good one

_PICTURES_SECONDS = 10.0  # for all pictures together; those that take longer are left out


def write(results: Results, settings: OutputSettings, stream: TextIO, *, width: int | None = None) -> None:
    """Write the table to a terminal; `width` in columns, the terminal's own when None."""
    console = Console(file=stream, width=width, highlight=False, markup=False, emoji=False)
    if not results.hits:
        return
    shown_by = graphics(settings.preview, stream)
    coloured = console.color_system is not None and not console.no_color
    if shown_by is not None and (coloured or shown_by.protocol != "blocks"):
        _write_gallery(results, settings, console, shown_by)
    elif console.width < _STACKED_BELOW:
        for number, hit in enumerate(results.hits, start=1):
            console.print(_entry(number, hit, results, settings, console.width))
    else:
        console.print(_table(results, settings, console.width))


def _table(results: Results, settings: OutputSettings, width: int) -> Table:
    """One row for each result, with columns for what any of them has."""
    calibrated = any(hit.confidence is not None for hit in results.hits)
    timed = max(len(span(hit)) for hit in results.hits)
    columns = [("", len(str(len(results.hits))), "right")]
    columns += [("match", 5, "right")] * calibrated
    columns += [("score", 6, "right"), ("kind", 5, "left")]
    columns += [("when", max(timed, 4), "left")] * bool(timed)
    room = width - sum(size + _GAP for _, size, _ in columns)

    table = Table.grid(padding=(0, _GAP, 0, 0))
    for _, size, side in columns:
        table.add_column(width=size, justify="right" if side == "right" else "left", no_wrap=True)
    table.add_column(max_width=room, overflow="fold")
    table.add_row(*(Text(name, style="dim") for name, _, _ in columns), Text("file", style="dim"))
    for number, hit in enumerate(results.hits, start=1):
        cells = [Text(str(number), style="dim")]
        cells += [_confidence(hit)] * calibrated
        cells += [Text(cosine(hit.score), style="dim" if calibrated else ""), Text(hit.kind)]
        cells += [Text(span(hit), style="cyan")] * bool(timed)
        table.add_row(*cells, Text("\n").join([_path(hit, room), *_details(hit, settings, room)]))
    return table


def _entry(number: int, hit: Hit, results: Results, settings: OutputSettings, width: int) -> RenderableType:
    """One result on several short lines, for where there is no room for columns."""
    head = Text(f"{number}  ", style="bold")
    if hit.confidence is not None:
        head.append_text(_confidence(hit)).append("  ")
    head.append(f"{cosine(hit.score)}  {hit.kind}", style="default not bold")
    if span(hit):
        head.append(f"  {span(hit)}", style="cyan not bold")
    room = max(1, width - 2)
    body = Text("\n").join([_path(hit, room), *_details(hit, settings, room)])
    body.overflow = "fold"
    return Group(head, Padding(body, (0, 0, 0, width - room)))


def _confidence(hit: Hit) -> Text:
    sure = hit.confidence is not None and hit.confidence >= _SURE
    return Text(percent(hit.confidence), style="bold green not dim" if sure else "yellow not bold")


def _path(hit: Hit, room: int) -> Text:
    """The path, its folders dim; underlined where the name itself was asked for."""
    mark = gone(hit)
    shown = elided(path(hit.path), room - len(mark), cell_len)
    text = Text(shown)
    name = max(shown.rfind("/"), shown.rfind("\\") if shown.startswith("…\\") else -1) + 1
    text.stylize("dim", 0, name)
    text.stylize("bold underline" if NAME in hit.matched else "bold", name)
    return text.append(mark, style="yellow")


def _details(hit: Hit, settings: OutputSettings, room: int) -> list[Text]:
    """What is said or written there, further moments, and the file's twins."""
    found: list[Text] = []
    if hit.text:
        found.append(_snippet(hit, room))
    elif hit.title:
        found.append(Text(clean(" ".join(hit.title.split())), style="italic"))
    close = close_moments(hit)
    if close:
        found.append(Text(f"also {first_few(close)}", style="dim"))
    copies, twins = hit.copies_there, hit.duplicates_there
    if copies:
        same = first_few([elided(path(copy), room, cell_len) for copy in copies])
        found.append(Text(f"same as {same}", style="dim"))
    if settings.duplicates:
        found += [Text(f"much like {elided(path(twin), room - 10, cell_len)}", style="dim") for twin in twins]
    elif twins:
        found.append(Text(f"and {many(len(twins), 'file')} much like it: --duplicates", style="dim"))
    return found


def _snippet(hit: Hit, room: int) -> Text:
    whole = hit.text or ""
    cells = max(cell_len(whole[:1000]), 1)
    fits = max(20, room * _SNIPPET_LINES - 8)  # folding at blanks loses some columns
    line, spans = snippet(whole, fits * len(whole[:1000]) // cells or 1, hit.matched)
    text = Text(line)
    for begin, end in spans:
        text.stylize("bold yellow", begin, end)
    return text


def _write_gallery(results: Results, settings: OutputSettings, console: Console, shown_by: Graphics) -> None:
    """Each result beside its picture."""
    from mmsearch.output.thumbnails import thumbnails

    columns, rows = _picture_cells(shown_by, console.width)
    indent = columns + _GAP
    pictures = thumbnails(results.hits, _pixels(shown_by, columns, rows), _PICTURES_SECONDS)
    for number, (hit, picture) in enumerate(zip(results.hits, pictures, strict=True), start=1):
        with console.capture() as captured:
            room = max(10, console.width - indent)
            console.print(_entry(number, hit, results, settings, room), width=room)
        lines = captured.get().splitlines()
        if shown_by.protocol == "blocks":
            console.file.write(_beside(_block_lines(console, picture, columns), lines, indent))
        else:
            console.file.write(_over(*_escapes(shown_by, picture, columns), lines, indent))
        console.file.write("\n")
        console.file.flush()


def _picture_cells(shown_by: Graphics, width: int) -> tuple[int, int]:
    """Columns and lines that a picture may have on a terminal; half blocks need more to show anything."""
    if width < 60:
        return 12, 5
    return (28, 10) if shown_by.protocol == "blocks" else (16, 6)


def _pixels(shown_by: Graphics, columns: int, rows: int) -> tuple[int, int]:
    """How large a picture has to be to fill a box of characters."""
    if shown_by.protocol == "blocks":
        return columns, 2 * rows
    scale = _scale(shown_by)
    width, height = columns * shown_by.cell_width * scale, rows * shown_by.cell_height * scale
    # A band of sixels is six pixels high; one that is begun may take a line of the text below.
    return width, height // 6 * 6 if shown_by.protocol == "sixel" else height


def _scale(shown_by: Graphics) -> int:
    """Pixels of a picture for a pixel of the terminal: where the terminal scales, a few more do no harm."""
    return 1 if shown_by.protocol == "sixel" else 2


def _escapes(shown_by: Graphics, picture: Image.Image | None, columns: int) -> tuple[str, int]:
    """What draws a picture, and how many lines it covers: a wide one is not as high as its box."""
    from mmsearch.output import graphics as encoders

    if picture is None:
        return "", 0
    cell_width, cell_height = (_scale(shown_by) * size for size in (shown_by.cell_width, shown_by.cell_height))
    rows = -(-picture.height // cell_height)
    if shown_by.protocol == "sixel":
        return encoders.sixel(picture), rows
    draw = encoders.kitty if shown_by.protocol == "kitty" else encoders.iterm2
    return draw(encoders.in_box(picture, columns * cell_width, rows * cell_height), columns, rows), rows


def _block_lines(console: Console, picture: Image.Image | None, columns: int) -> list[str]:
    from mmsearch.output.graphics import blocks

    if picture is None:
        return []
    with console.capture() as captured:
        for line in blocks(picture, columns):
            console.print(Text.assemble(*line), no_wrap=True, crop=False)
    return captured.get().splitlines()


def _beside(picture: Sequence[str], lines: Sequence[str], indent: int) -> str:
    """Two columns of lines as one; those of the picture are all of the same width."""
    height = max(len(picture), len(lines))
    blank = " " * (indent - _GAP)
    left = [*picture, *[blank] * (height - len(picture))]
    right = [*lines, *[""] * (height - len(lines))]
    return "".join(f"{first}{' ' * _GAP}{second}\n" for first, second in zip(left, right, strict=True))


def _over(escapes: str, height: int, lines: Sequence[str], indent: int) -> str:
    """Lines of text, and a picture drawn on their left.

    The lines are made room for first: then nothing scrolls while the picture is drawn, and the cursor, which each
    protocol and terminal leaves elsewhere, is brought back to where it was saved.
    """
    height = max(len(lines), height)
    room = "\n" * height + f"\x1b[{height}A"
    text = "".join(f"\x1b[{indent}C{line}\n" for line in lines) + "\n" * (height - len(lines))
    return f"{room}\x1b7{escapes}\x1b8{text}"
