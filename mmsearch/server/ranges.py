"""Ranges of bytes as HTTP asks for them (RFC 9110, section 14)."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ONE = re.compile(r"\s*bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Span:
    """What is sent of a file: `length` bytes from `start` on; `is_part` when a range was asked for."""

    start: int
    length: int
    is_part: bool


def read_range(header: str | None, size: int) -> Span | None:
    """What a Range header asks for of a file of `size` bytes; None when that lies outside of it.

    A header that cannot be read, one of other units, and one of several ranges ask for the whole file, as the standard
    allows: no player needs several at once, and many of them are a way to cost much with little.
    """
    whole = Span(0, size, False)
    found = None if header is None else _ONE.fullmatch(header)
    if found is None:
        return whole
    first, last = found.groups()
    if not first and not last:
        return whole
    if not first:  # the last so many bytes
        length = min(int(last), size)
        return Span(size - length, length, True) if length else None
    start = int(first)
    if last and int(last) < start:
        return whole
    if start >= size:
        return None
    end = min(int(last), size - 1) if last else size - 1
    return Span(start, end - start + 1, True)
