"""What a terminal can show: told by the environment, else asked of the terminal itself, without ever hanging."""

from __future__ import annotations

import contextlib
import os
import re
import select
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TextIO, cast, get_args

from indexer.errors import UsageError

Protocol = Literal["kitty", "iterm2", "sixel", "blocks"]
"""A way to show pictures: three protocols of escape sequences, and half-block characters."""

VARIABLE = "MMSEARCH_GRAPHICS"
"""The environment variable that overrides what is found out; also "none"."""

_PATIENCE_SECONDS = 0.5
"""How long to wait for a terminal's answer. A local one answers within a millisecond, one across the world in 300."""

# Is there a kitty? How large is a character? And, last, what every terminal answers: which features have you got?
# (kitty graphics protocol, "Querying support"; XTWINOPS 16 and primary device attributes, xterm control sequences.)
_QUESTIONS = b"\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b[16t\x1b[c"
_KITTY = re.compile(rb"\x1b_Gi=31;OK\x1b\\")
_CELL = re.compile(rb"\x1b\[6;(\d{1,4});(\d{1,4})t")
_FEATURES = re.compile(rb"\x1b\[\?([\d;]*)c")
_SIXEL_FEATURE = b"4"

# What terminals say of themselves, most telling first. Within tmux and screen they are not who they say they are.
_BY_VARIABLE: tuple[tuple[str, str, Protocol], ...] = (
    ("TERM", r"xterm-kitty|xterm-ghostty", "kitty"),
    ("TERM", r"(foot|mlterm|yaft|contour)\b.*", "sixel"),
    ("TERM_PROGRAM", r"ghostty", "kitty"),
    ("TERM_PROGRAM", r"iTerm\.app|WezTerm|mintty", "iterm2"),
    ("LC_TERMINAL", r"iTerm2", "iterm2"),  # this one is passed on by ssh
    ("KITTY_WINDOW_ID", r"\d+", "kitty"),
    ("KONSOLE_VERSION", r"2[2-9]\d{4}|[3-9]\d{5}", "kitty"),  # since 22.04
)


@dataclass(frozen=True, slots=True)
class Graphics:
    """How to show pictures on a terminal, and the size of one character there, in pixels."""

    protocol: Protocol
    cell_width: int = 8
    cell_height: int = 16


def graphics(preview: bool | None, stream: TextIO) -> Graphics | None:
    """How to show pictures on a terminal; None for not at all.

    Args:
        preview: whether they are wanted. None: only where the environment says that the terminal shows them; then
            the terminal is not asked, which takes a moment.
        stream: the terminal.

    Raises:
        UsageError: `MMSEARCH_GRAPHICS` holds no known name.
    """
    chosen = os.environ.get(VARIABLE, "")
    if chosen not in ("", "none", *get_args(Protocol)):
        raise UsageError(f"{VARIABLE} is {chosen!r}; it may be none, {', '.join(get_args(Protocol))}")
    if preview is False or chosen == "none":
        return None
    told = cast(Protocol, chosen) if chosen else by_environment(os.environ)
    if told is None and not preview:
        return None
    size = cell_size(stream)
    # Only sixels are made of the terminal's own pixels: elsewhere it scales, and its size need not be known.
    if told is not None and (told != "sixel" or size is not None):
        return Graphics(told, *(size or ()))
    answer = ask()
    found = answer_of(answer)
    return Graphics(told or found.protocol, *(size or (found.cell_width, found.cell_height)))


def by_environment(environment: Mapping[str, str]) -> Protocol | None:
    """The protocol of a terminal that is known by its environment variables."""
    if "TMUX" in environment or re.match("screen|tmux", environment.get("TERM", "")):
        return None
    for variable, pattern, protocol in _BY_VARIABLE:
        if re.fullmatch(pattern, environment.get(variable, "")):
            return protocol
    return None


def answer_of(answer: bytes) -> Graphics:
    """Read what a terminal said to our questions; whatever else it sent is passed over."""
    protocol: Protocol = "blocks"
    features = _FEATURES.search(answer)
    if features and _SIXEL_FEATURE in features[1].split(b";")[1:]:
        protocol = "sixel"
    if _KITTY.search(answer):
        protocol = "kitty"
    cell = _CELL.search(answer)
    height, width = (int(cell[1]), int(cell[2])) if cell else (0, 0)
    return Graphics(protocol, width, height) if width > 1 and height > 1 else Graphics(protocol)


def cell_size(stream: TextIO) -> tuple[int, int] | None:
    """Width and height of a character in pixels, as the system knows it; None where it does not."""
    try:
        import fcntl
        import struct
        import termios

        packed = fcntl.ioctl(stream.fileno(), termios.TIOCGWINSZ, b"\0" * 8)
    except (ImportError, OSError, ValueError, AttributeError):
        return None
    rows, columns, width, height = struct.unpack("HHHH", packed)
    if not (rows and columns and width // columns > 1 and height // rows > 1):
        return None
    return width // columns, height // rows


def ask(patience_seconds: float = _PATIENCE_SECONDS) -> bytes:
    """Ask the terminal that controls this process; b"" where there is none, or none that may be asked now."""
    if sys.platform == "win32":
        return b""
    with _raw_terminal() as terminal:
        if terminal is None:
            return b""
        answer = b""
        until = time.monotonic() + patience_seconds
        with contextlib.suppress(OSError):  # it was closed meanwhile: what it said so far counts
            os.write(terminal, _QUESTIONS)
            while not _FEATURES.search(answer) and len(answer) < 4096:
                ready, _, _ = select.select([terminal], [], [], max(0.0, until - time.monotonic()))
                piece = os.read(terminal, 1024) if ready else b""
                if not piece:
                    break
                answer += piece
        return answer


@contextlib.contextmanager
def _raw_terminal() -> Iterator[int | None]:
    """The controlling terminal, with echo and line editing off for the while."""
    import termios
    import tty

    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:  # there is none: a service, cron
        yield None
        return
    before = None
    with contextlib.suppress(OSError, termios.error):
        # A process in the background that changes the terminal is stopped by the system.
        if os.tcgetpgrp(terminal) == os.getpgrp():
            before = termios.tcgetattr(terminal)
            tty.setcbreak(terminal, termios.TCSANOW)  # not TCSAFLUSH: what was typed ahead is for the shell
    try:
        yield None if before is None else terminal
    finally:
        if before is not None:
            with contextlib.suppress(OSError, termios.error):
                termios.tcsetattr(terminal, termios.TCSANOW, before)
        os.close(terminal)
