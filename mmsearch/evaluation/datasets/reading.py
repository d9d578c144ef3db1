"""Reading the files of data sets, with the number of each line: text, lines, CSV, JSON.

Published files come with and without a byte order mark, with Windows line ends, with quotes and line breaks inside
quoted fields. Every error names file and line, what was found, and what was expected.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from indexer.errors import UsageError

T = TypeVar("T")

_JSON_NAMES = {str: "string", list: "array", dict: "object", int: "whole number"}

_WIDE = ((b"\xff\xfe\0\0", "utf-32"), (b"\0\0\xfe\xff", "utf-32"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))

DELIMITERS = (",", ";", "\t", "|")
"""What columns may be separated by. Some mirrors of published files have exchanged one for another."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table: its values by the header's names in lower case, and the line that it begins on."""

    line: int
    values: dict[str, str]


def bad_line(path: Path, line: int, found: str, expected: str) -> UsageError:
    """The error for a line that cannot be used."""
    return UsageError(f"{path}:{line}: found {found}; expected {expected}")


def squeezed(text: str) -> str:
    """A text without blanks around it, and with one blank for each run of blanks and line breaks in it."""
    return " ".join(text.split())


def read_text(path: Path) -> str:
    """The whole text of a file in UTF-8, or in what its byte order mark says.

    Raises:
        UsageError: it cannot be read, or is in another encoding.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    encoding = next((name for mark, name in _WIDE if raw.startswith(mark)), "utf-8-sig")
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        found = f"the byte 0x{raw[error.start]:02x}" if error.start < len(raw) else "half a character"
        raise bad_line(path, line, f"{found}, which is not {encoding.removesuffix('-sig').upper()}", "UTF-8") from error


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, each with its number from 1 and without blanks around it.

    Only line feeds (and carriage returns before them) end a line: `str.splitlines` would also cut at characters that
    captions hold, such as U+2028.
    """
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if stripped := line.strip():
            yield number, stripped


def read_json(path: Path) -> Any:
    """What a JSON file holds."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise bad_line(
            path, error.lineno, f"{error.msg} (column {error.colno})", "JSON; copy the file again"
        ) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets in brackets
        raise UsageError(f"{path} cannot be read as JSON ({error}); copy the file again") from error


def read_records(path: Path, delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    """The records of a CSV file (RFC 4180) without a header: fields as written, and the line that each begins on.

    A field in quotes may hold delimiters, doubled quotes and line breaks. Blank lines are passed over.
    """
    reader = csv.reader(io.StringIO(read_text(path), newline=""), delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise bad_line(
                path, line, f"a record that cannot be read ({error})", 'fields with quotes in them as "a ""b"" c"'
            ) from error
        if fields is None:
            return
        if any(field.strip() for field in fields):
            yield line, fields


def read_table(path: Path, required: Sequence[str | tuple[str, ...]]) -> Iterator[Row]:
    """The rows of a CSV file that begins with a header; the delimiter is the one that makes the header fit.

    Args:
        path: the file.
        required: columns that must be there, in lower case; of several in a tuple, one at least.

    Raises:
        UsageError: a column is missing, or a row has more or fewer fields than the header.
    """
    first = next(read_lines(path), (1, ""))
    wanted = [(names,) if isinstance(names, str) else names for names in required]
    for delimiter in DELIMITERS:
        names = [squeezed(name).lower() for name in next(csv.reader([first[1]], delimiter=delimiter), [])]
        if all(set(names) & set(some) for some in wanted):
            break
    else:
        raise bad_line(
            path,
            first[0],
            f"the header {first[1][:200]!r}",
            f"the columns {', '.join(' or '.join(some) for some in wanted)}",
        )
    records = read_records(path, delimiter)
    next(records, None)
    for line, fields in records:
        while len(fields) > len(names) and not fields[-1].strip():
            fields.pop()  # a delimiter at the end of a line makes an empty field
        if len(fields) != len(names):
            raise bad_line(path, line, f"{len(fields)} fields", f"{len(names)}, as in the header: {', '.join(names)}")
        yield Row(line, dict(zip(names, fields, strict=True)))


def field_of(record: Any, name: str, type_: type[T], where: str) -> T:
    """A field of a JSON object.

    Args:
        record: the object, or whatever was found in its place.
        name: the field's name.
        type_: what it must be.
        where: the file, and where in it.

    Raises:
        UsageError: there is no such field, or it is something else.
    """
    if not isinstance(record, dict):
        raise UsageError(f"{where}: found a JSON {type(record).__name__}; expected an object with the field {name!r}")
    value = record.get(name)
    if not isinstance(value, type_) or (type_ is int and isinstance(value, bool)):
        found = (
            f"{name!r} is {value!r:.100}"
            if name in record
            else f"no field {name!r}, only {', '.join(record) or 'none'}"
        )
        raise UsageError(
            f"{where}: found {found}; expected {name!r} as a JSON {_JSON_NAMES.get(type_, type_.__name__)}"
        )
    return value
