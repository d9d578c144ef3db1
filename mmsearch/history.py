"""The last queries of a library, kept between two commands, so that `mmsearch refine` can go on from them.

One small file for each library, in the user's state directory (a library may be read-only, or shared), readable by
nobody else. `MMSEARCH_HISTORY=off` keeps nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexer.errors import UsageError
from mmsearch.query import Query
from mmsearch.rank import Answer, Hit
from mmsearch.session import Hidden, Liked, Session, Step

if TYPE_CHECKING:
    from mmsearch.insights import Insights

HISTORY_VARIABLE = "MMSEARCH_HISTORY"

_VERSION = 1
_KEPT = 20  # turns
_MOST_HITS = 200  # of an answer that a next turn may name


def is_off() -> bool:
    """Whether nothing is to be kept."""
    return os.environ.get(HISTORY_VARIABLE, "").strip().lower() in ("off", "0", "no")


def remember(engine: Insights, query: Query, answer: Answer) -> None:
    """Keep a query and its answer as the beginning of a session."""
    save(engine, [Step(query.asked, query, (), (), answer)])


def save(engine: Insights, steps: list[Step] | tuple[Step, ...]) -> None:
    """Keep the turns of a session, if they can be kept: a search does not fail over it."""
    if is_off() or any(term.samples for step in steps for term in step.query.terms):
        return
    value = {"version": _VERSION, "steps": [_step_json(step) for step in steps[-_KEPT:]]}
    path = _place(engine)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".session-", dir=path.parent)  # for its owner alone
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(value, file)
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise


def recall(engine: Insights, k: int | None = None, moments: bool | None = None) -> Session:
    """The session of a library's last query; a new one where none was kept.

    Args:
        engine: on the library.
        k: how many files the next answers have; as many as in the turn before when None.
        moments: whether they list moments as results of their own; as in the turn before when None.

    Raises:
        UsageError: what was kept cannot be read.
    """
    try:
        value = json.loads(_place(engine).read_text(encoding="utf-8"))
    except OSError:
        return Session(engine, k, moments=moments)
    except ValueError as error:
        raise UsageError(_UNREADABLE) from error
    try:
        if value["version"] != _VERSION:
            raise UsageError(_UNREADABLE)
        steps = [_step_of(row) for row in value["steps"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(_UNREADABLE) from error
    return Session(engine, k, steps, moments)


_UNREADABLE = "the last query cannot be read back; ask a new one with: mmsearch query"


def _place(engine: Insights) -> Path:
    import platformdirs

    folder = Path(platformdirs.user_state_dir("mmsearch", appauthor=False)) / "sessions"
    return folder / f"{engine._library.store.library_id}.json"


def _step_json(step: Step) -> dict[str, Any]:
    return {
        "said": step.said,
        "query": step.query.to_json(),
        "liked": [
            {"path": one.path, "channel": one.channel, "start": one.start_seconds, "good": one.good}
            for one in step.liked
        ],
        "hidden": [
            one.path if one.channel is None else {"path": one.path, "channel": one.channel, "start": one.start_seconds}
            for one in step.hidden
        ],
        "hits": [
            {"path": hit.path, "kind": hit.kind, "channel": hit.channel, "start": hit.start_seconds, "score": hit.score}
            for hit in step.answer.hits[:_MOST_HITS]
        ],
    }


def _step_of(row: Mapping[str, Any]) -> Step:
    hits = tuple(
        Hit(hit["score"], hit["path"], hit["kind"], hit["channel"], hit["start"], None, None, None, (), ())
        for hit in row["hits"]
    )
    liked = tuple(Liked(one["path"], one["channel"], one["start"], bool(one["good"])) for one in row["liked"])
    hidden = tuple(
        Hidden(one) if isinstance(one, str) else Hidden(one["path"], one["channel"], one["start"])
        for one in row["hidden"]
    )
    return Step(row["said"], Query.from_json(row["query"]), liked, hidden, Answer(hits))
