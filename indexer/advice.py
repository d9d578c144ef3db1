"""What people are told in the same words wherever it is said: that a file is not there, and what to do about things."""

from __future__ import annotations

import shlex

NOT_THERE = "not there now"
"""What is said, everywhere, of files and folders that are known and not on disk: deleted, moved or unmounted."""

BRING_UP_TO_DATE = "bring the library up to date with: mmsearch index"
"""What a person does about files that are not there, or not as they were."""

RAISE_LIMIT = ", or raise the limit (mmsearch index --max-megapixels)"
"""What is done, besides making them smaller, about media of more pixels than are allowed."""


def if_moved(*roots: str) -> str:
    """What a person does about indexed folders that are not there: the command as it is typed, where it is one."""
    if len(roots) == 1:
        return f"if it was moved, say so with: mmsearch move {shlex.quote(roots[0])} NEW"
    return "if a folder was moved, say so with: mmsearch move OLD NEW"


def if_lost(*roots: str) -> str:
    """The same, and what a person does about folders that will not be there again."""
    for_good = f"it is gone for good: mmsearch remove {shlex.quote(roots[0])}" if len(roots) == 1 else ""
    return f"{if_moved(*roots)}; if {for_good or 'one is gone for good: mmsearch remove OLD'}"
