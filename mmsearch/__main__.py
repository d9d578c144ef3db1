"""The command `mmsearch`, also as `python -m mmsearch`: nothing is imported before Ctrl-C ends it quietly."""

from __future__ import annotations

import os
import signal
from types import FrameType

_INTERRUPTED = 130  # commands/terminal.py, which is among what is imported


def run() -> None:
    """Load the command line and run it. Ctrl-C while modules load ends it at once: there is nothing yet to tidy up."""
    # An exception would do less: some modules, and Python's own import of them, pass over it or turn it into another.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # and not where Ctrl-C is to be ignored
        signal.signal(signal.SIGINT, _end)
        from mmsearch.cli import main

        signal.signal(signal.SIGINT, signal.default_int_handler)
    else:
        from mmsearch.cli import main
    try:
        main()
    except KeyboardInterrupt:  # before a command has begun, or after it
        raise SystemExit(_INTERRUPTED) from None


def _end(_number: int, _frame: FrameType | None) -> None:
    os._exit(_INTERRUPTED)


if __name__ == "__main__":
    run()
