"""Which rows of a part may be found, and what a search by codes makes of that, which is made once and kept."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.ann.exact import selector
from indexer.ann.rows import Mask

Lists = NDArray[np.int32]
"""The list of each row, (n,): one after the last for a row that is in none."""


class Chosen:
    """Some of the rows. `mask`: (n,) bool, which is not to change; `count`: how many they are."""

    def __init__(self, mask: Mask) -> None:
        self.mask = mask
        self.count = int(np.count_nonzero(mask))
        self._in_lists: NDArray[np.int64] | None = None

    @cached_property
    def selector(self) -> Any:
        """What keeps FAISS to them."""
        return selector(self.mask)

    def in_lists(self, lists_of_rows: Lists, lists: int) -> NDArray[np.int64]:
        """How many of them each list holds: (lists,). Asked with the same lists each time."""
        if self._in_lists is None:
            self._in_lists = np.bincount(lists_of_rows[self.mask], minlength=lists)[:lists]
        return self._in_lists
