"""What a model has to say while it is chosen and fetched. Nothing here prints: who asked for a callback shows it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

_log = logging.getLogger("mmsearch.models")


@dataclass(frozen=True, slots=True)
class ModelNotice:
    """One thing that a person should know: which model was chosen, or what is about to be fetched (`downloads`)."""

    message: str
    downloads: bool = False


@dataclass(frozen=True, slots=True)
class Fetching:
    """How far a download is. `file` is the one in hand; the bytes are those of the whole download."""

    file: str
    done_bytes: int
    total_bytes: int


OnModelEvent = Callable[[ModelNotice | Fetching], None]


def tell(notice: ModelNotice, on_event: OnModelEvent | None) -> None:
    """Hand a notice over; without anybody to take it, it is logged as a warning of "mmsearch.models"."""
    if on_event is None:
        _log.warning("%s", notice.message)
    else:
        on_event(notice)
