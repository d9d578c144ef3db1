"""Building a base beside the index that goes on answering."""

from __future__ import annotations

from dataclasses import dataclass

from indexer.ann.base import Base
from indexer.ann.calibration import Asked, Settings, calibrate
from indexer.ann.exact import Exact, Rows
from indexer.ann.policy import Structure
from indexer.types import Vectors


@dataclass(frozen=True, slots=True, eq=False)
class Built:
    """A base that is to take the place of what it was built from; see `VectorIndex.adopt`."""

    base: Base | None
    settings: Settings | None
    sources: tuple[Exact, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Build:
    """What is to be built, and from what.

    `structure`: what is to be learned; None to keep to `base`, with `rows` merged into it. `sources` are the parts
    that will not be needed any more. `settings` are those that were chosen for the base.
    """

    base: Base | None
    structure: Structure | None
    rows: tuple[Rows, ...]
    sources: tuple[Exact, ...]
    dim: int
    recall: float
    settings: Settings | None

    def make(self, texts: Vectors | None = None) -> Built:
        """Do it: seconds for a hundred thousand vectors, a minute for a million.

        Args:
            texts: queries like those to come, (q, dim) float32, to choose settings by; None to do without.
        """
        if self.structure is not None:
            made = Base.train(self.structure, self.rows, self.dim)
        elif self.base is None:
            return Built(None, None, self.sources)
        else:
            made = self.base.merged(self.rows) if self.rows else self.base
        asked: Asked = "own vectors" if texts is None or not len(texts) else "texts"
        known = self.settings  # what was found out for the same codes holds until there are many more of them
        if known is not None and known.suits(len(made), asked, self.recall):
            return Built(made, known, self.sources)
        return Built(made, calibrate(made, texts, self.recall), self.sources)
