"""How anything is loaded from transformers: one thread at a time, and without its talk."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

LOADING = threading.Lock()
"""Held to import transformers and to load from it: it imports its parts late, and changes settings of the process."""


@contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' progress bars, and its report of the other half's weights, which it did not load."""
    from transformers.utils import logging as untyped

    logging: Any = untyped
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
