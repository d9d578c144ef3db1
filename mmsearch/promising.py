"""Which of the files that words found may be among the best: so few that what words add need be known of these only."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence

import numpy as np

from mmsearch.literal import FoundWords
from mmsearch.plan import Plan


def promising_of(
    found: Sequence[int],
    keys: Mapping[int, float],
    unseen: float,
    words: FoundWords,
    count: int,
    plan: Plan,
) -> list[int]:
    """The contents that may be among the best: those found by meaning, and of those found by words what can reach them.

    Args:
        found: the best by meaning.
        keys: what ranks contents by meaning, as far as it is known.
        unseen: what a content ranks by at most where that is not known.
        words: what was found by words.
        count: how many contents are wanted.
        plan: the query.
    """
    if unseen == np.inf:
        return list(dict.fromkeys([*words, *found]))
    unheard = plan.unheard
    highest = {content: max(keys.get(content, unheard), unseen) for content in words.at_most}
    top = sorted(keys.values(), reverse=True)[:count][::-1]  # the best so far, rising
    lifted: dict[int, float] = {}
    # What words add is worked out for the few that it may lift high enough: those that it may lift highest come first.
    for content in sorted(highest, key=lambda content: -highest[content] - words.at_most[content]):
        needed = top[0] - 2 * plan.tie if len(top) == count else -np.inf
        if content not in words.literal and highest[content] + words.at_most[content] < needed:
            continue
        if content in words:
            lifted[content] = evidence = words[content].evidence
            if content in keys:
                _raise(top, keys[content], keys[content] + evidence)
    needed = top[0] - 2 * plan.tie if len(top) == count else -np.inf
    by_words = [
        content
        for content, evidence in lifted.items()
        if content in words.literal or highest[content] + evidence >= needed
    ]
    return list(dict.fromkeys([*by_words, *found]))


def _raise(top: list[float], old: float, new: float) -> None:
    """Put a key in place of a lower one of its content, in a rising list of the best, or else in place of the lowest.

    Nothing happens to one that is not among the best.
    """
    if top and new > top[0]:
        at = bisect_left(top, old)
        del top[at if at < len(top) and top[at] == old else 0]
        insort(top, new)
