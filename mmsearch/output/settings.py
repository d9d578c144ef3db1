"""What was found, and how it is wanted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from indexer.errors import UsageError

if TYPE_CHECKING:
    from mmsearch.rank import Hit

Format = Literal["table", "json", "jsonl", "csv", "paths", "null"]

SHEET_MARK = "mmsearch contact sheet"
"""A contact sheet's PNG text "Software"."""


@dataclass(frozen=True, slots=True)
class Results:
    """The answer to one query. `matches_well`: whether anything stands out from chance; None: not known.

    `quality`: where the query was judged, how good the answer is, as JSON values. `remarks`: lines for the person who
    asked.
    """

    query: str
    hits: tuple[Hit, ...]
    matches_well: bool | None = None
    quality: dict[str, Any] | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OutputSettings:
    """How results are wanted.

    `duplicates`: list near-identical files too (table, paths). `preview`: small pictures; None shows them where
    the terminal is known to show pictures. `open_first`: open the first result. `contact_sheet`: a PNG file to draw.
    """

    format: Format = "table"
    duplicates: bool = False
    preview: bool | None = None
    open_first: bool = False
    contact_sheet: Path | None = None

    def __post_init__(self) -> None:
        if self.format not in get_args(Format):
            raise UsageError(f"there is no format {self.format!r}; the formats are {', '.join(get_args(Format))}")
        if self.preview and self.format != "table":
            raise UsageError(f"--preview belongs to the table, and {_OPTIONS[self.format]} asks for something else")
        if self.contact_sheet is not None:
            _check_sheet(self.contact_sheet)

    @classmethod
    def chosen(
        cls,
        *,
        json: bool = False,
        jsonl: bool = False,
        csv: bool = False,
        paths: bool = False,
        null: bool = False,
        duplicates: bool = False,
        preview: bool | None = None,
        open_first: bool = False,
        contact_sheet: Path | None = None,
    ) -> OutputSettings:
        """Settings from the options of the command line.

        Raises:
            UsageError: two formats at a time, or a contact sheet that cannot be written there.
        """
        asked: dict[Format, bool] = {"json": json, "jsonl": jsonl, "csv": csv, "paths": paths and not null}
        asked["null"] = null
        formats = [format for format, wanted in asked.items() if wanted]
        if len(formats) > 1:
            names = [_OPTIONS[format] for format in formats]
            raise UsageError(f"one format at a time: {', '.join(names[:-1])} and {names[-1]} were asked for")
        return cls(formats[0] if formats else "table", duplicates, preview, open_first, contact_sheet)


_OPTIONS: dict[Format, str] = {"json": "--json", "jsonl": "--jsonl", "csv": "--csv", "paths": "--paths", "null": "-0"}


def _check_sheet(path: Path) -> None:
    """Before a search is made for nothing; and a photograph that is named by mistake must not be lost."""
    from mmsearch.output.files import check_png

    check_png(path, SHEET_MARK, "a contact sheet")
