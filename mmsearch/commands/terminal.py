"""What all commands print: lines, JSON, complaints."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any

FOUND, NOTHING, USAGE, LIBRARY, BUG, INTERRUPTED = 0, 1, 2, 3, 4, 130

PLAIN_LINE_SECONDS = 10.0  # between lines of progress where there is no terminal


def complain(message: str) -> None:
    """Say something on standard error, on a line of its own."""
    print(f"mmsearch: {message}", file=sys.stderr, flush=True)


def print_lines(lines: Iterable[str]) -> None:
    """Print results."""
    for line in lines:
        print(line)


def print_json(value: Any) -> None:
    """Print results for other programs."""
    # ASCII: a path whose bytes are not UTF-8 stays readable by any JSON parser, as "\\udcff" escapes.
    print(json.dumps(value, indent=2))
