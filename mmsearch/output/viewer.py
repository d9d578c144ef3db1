"""Open a result with a viewer, at the moment that was found. No shell is ever involved."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from indexer.advice import BRING_UP_TO_DATE, NOT_THERE, if_moved
from indexer.errors import LibraryError, UsageError
from mmsearch.output.text import clean, clock, path

if TYPE_CHECKING:
    from mmsearch.rank import Hit

Which = Callable[[str], str | None]

# Players that can begin at a moment, best first: program, and its arguments for a time ({at}, seconds) and a path.
# Each opens a window, also for sound, so that it can be stopped.
_PLAYERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("mpv", ("--force-window", "--start={at}", "--", "{path}")),
    ("vlc", ("--start-time={at}", "{path}")),
    ("/Applications/VLC.app/Contents/MacOS/VLC", ("--start-time={at}", "{path}")),
    ("ffplay", ("-loglevel", "error", "-ss", "{at}", "{path}")),
)

# What opens any file with the program that the person has chosen for its kind, by `sys.platform`.
_OPENERS: dict[str, tuple[tuple[str, ...], ...]] = {
    "darwin": (("open", "{path}"),),
    "win32": (),  # os.startfile
    "linux": (("xdg-open", "{path}"), ("gio", "open", "{path}"), ("wslview", "{path}")),
}

_OPENER_SECONDS = 5.0  # xdg-open tries one program after the other; what it found may run in its place
_PLAYER_SECONDS = 1.0
_NO_PROGRAM = 3  # xdg-open(1): "A required tool could not be found"

_living: list[subprocess.Popen[bytes]] = []  # viewers; Python complains when one that runs is let go of


@dataclass(frozen=True, slots=True)
class Opening:
    """How to open a file: a command, or None for Windows' own way; and whether it begins at the moment."""

    command: tuple[str, ...] | None
    at_moment: bool


def opening(hit: Hit, platform: str = sys.platform, which: Which = shutil.which) -> Opening:
    """The command that opens a result.

    Args:
        hit: its path is absolute, so that no viewer takes it for an option.
        platform: as `sys.platform`.
        which: finds a program, as `shutil.which`.

    Raises:
        UsageError: nothing is installed that could open it.
    """
    if hit.kind in ("video", "audio") and hit.start_seconds:
        for program, arguments in _PLAYERS:
            found = which(program)
            if found:
                filled = (part.format(at=f"{hit.start_seconds:.3f}", path=hit.path) for part in arguments)
                return Opening((found, *filled), at_moment=True)
    if platform == "win32":
        return Opening(None, at_moment=False)
    openers = _OPENERS.get(platform, _OPENERS["linux"])
    for program, *rest in openers:
        found = which(program)
        if found:
            return Opening((found, *(part.format(path=hit.path) for part in rest)), at_moment=False)
    raise UsageError(
        f"nothing to open {path(hit.path)} with: none of {', '.join(opener[0] for opener in openers)} is installed"
        + (", nor mpv, vlc or ffplay" if hit.kind in ("video", "audio") else "")
    )


def _started(command: tuple[str, ...], seconds: float) -> int | None:
    """Start a program; with which code it ended, or None where it still ran after some seconds."""
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise UsageError(f"{clean(command[0])} does not start: {error.strerror or error}") from error
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        _living.append(process)
        return None


def open_hit(hit: Hit) -> Iterator[str]:
    """Open a result; gives a remark for a person where it does not begin at the moment.

    The viewer lives on by itself, and writes nowhere. One that fails does so soon: xdg-open where no program is there
    for a file, a player without a screen.

    Raises:
        LibraryError: the file is not there.
        UsageError: there is nothing to open it with, or what there is could not.
    """
    if not os.path.exists(hit.path):
        raise LibraryError(f"{path(hit.path)} is {NOT_THERE}", f"; {BRING_UP_TO_DATE}; {if_moved()}")
    how = opening(hit)
    if how.command is None:
        os.startfile(hit.path)  # type: ignore[attr-defined, unused-ignore]
    else:
        code = _started(how.command, _PLAYER_SECONDS if how.at_moment else _OPENER_SECONDS)
        if code:
            program = clean(os.path.basename(how.command[0]))
            raise UsageError(
                f"{path(hit.path)} was not opened: {program} ended with exit code {code}"
                + (", as no program is there for such files" if (program, code) == ("xdg-open", _NO_PROGRAM) else "")
            )
    if hit.start_seconds and not how.at_moment and hit.kind in ("video", "audio"):
        yield f"opened from its start: go to {clock(hit.start_seconds)} (mpv, vlc and ffplay can begin at a moment)"
