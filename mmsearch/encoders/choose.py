"""What "auto" is: the model of a library that has none yet, when nobody names one."""

from __future__ import annotations

from indexer.errors import ModelError
from mmsearch.encoders.events import ModelNotice, OnModelEvent, tell
from mmsearch.encoders.hub import UnavailableError
from mmsearch.encoders.models import EMBEDDED
from mmsearch.encoders.pull import missing, plan, pull

WANTED = "fast"


def choose_model(on_event: OnModelEvent | None = None) -> str:
    """`fast` where its weights are on this machine or can be fetched, which is then done; and otherwise `mini`.

    Without a network the answer takes `hub.PROBE_SECONDS` at most.

    Args:
        on_event: gets a notice, and how far a download is. Without it, notices are logged as warnings.
    """
    try:
        if missing(WANTED):
            wanted = plan(WANTED)
            pull(WANTED, on_event=on_event, first=wanted)
        return WANTED
    except ModelError as error:
        reason = error.reason if isinstance(error, UnavailableError) else str(error)
        tell(
            ModelNotice(
                f"using the installed model {EMBEDDED}, because {WANTED} is not on this machine and cannot be fetched"
                f" ({reason}). To use another: make a new library with --model NAME; see: mmsearch models"
            ),
            on_event,
        )
        return EMBEDDED
