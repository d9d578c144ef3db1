"""Show a file in the system's file manager. No shell is involved."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from mmsearch.server.errors import ApiError

Which = Callable[[str], str | None]

# The first that is installed: program, and its arguments for a file ({path}, {uri}) and the folder that it is in.
_MANAGERS: dict[str, tuple[tuple[str, ...], ...]] = {
    "darwin": (("open", "-R", "{path}"),),
    "win32": (("explorer", "/select,{path}"),),
    "linux": (
        # The interface that GNOME's, KDE's, Xfce's and other file managers answer to.
        (
            *("gdbus", "call", "--session", "--timeout", "5", "--dest", "org.freedesktop.FileManager1"),
            *("--object-path", "/org/freedesktop/FileManager1"),
            *("--method", "org.freedesktop.FileManager1.ShowItems", "['{uri}']", ""),
        ),
        ("xdg-open", "{folder}"),
        ("gio", "open", "{folder}"),
    ),
}


def commands(path: str, platform: str = sys.platform, which: Which = shutil.which) -> list[tuple[str, ...]]:
    """The commands that may show a file, best first.

    Args:
        path: absolute, so that no program takes it for an option.
        platform: as `sys.platform`.
        which: finds a program, as `shutil.which`.
    """
    place = Path(path)
    # A quotation mark would end the text that it stands in; all else that could is escaped in a URI.
    known = {"{path}": path, "{uri}": place.as_uri().replace("'", "%27"), "{folder}": str(place.parent)}
    found = []
    for program, *arguments in _MANAGERS.get(platform, _MANAGERS["linux"]):
        executable = which(program)
        if executable:
            found.append((executable, *(_filled(argument, known) for argument in arguments)))
    return found


def _filled(argument: str, known: dict[str, str]) -> str:
    for name, value in known.items():
        if name in argument:
            return argument.replace(name, value)  # one to an argument, so that no value is looked into
    return argument


def reveal(path: str) -> None:
    """Show a file.

    Raises:
        ApiError: there is no file manager to show it with.
    """
    for command in commands(path):
        try:
            ended = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=10,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return  # it is at work
        except OSError:
            continue
        if ended.returncode == 0 or command[0].endswith("explorer.exe"):
            return
    raise ApiError(503, "no_file_manager", "there is no file manager to show it with", "copy the path instead")
