"""What was asked, as a value: the thing to look for, and which files may answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from indexer.errors import UsageError
from indexer.types import KINDS, Kind, Modality, Sample, TextSample


@dataclass(frozen=True, slots=True)
class Query:
    """A sample to look for, and how to look.

    `modality` says which towers read the sample. `k`: how many files to return at most. `kinds`: kinds
    of file that may answer, any when empty. `within`: folders that they may lie in, any when empty.
    """

    modality: Modality
    sample: Sample
    k: int = 10
    kinds: tuple[Kind, ...] = ()
    within: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.k < 1:
            raise UsageError(f"the number of results must be at least 1, got {self.k}")
        for kind in self.kinds:
            if kind not in KINDS:
                raise UsageError(f"there is no kind {kind!r}; the kinds are {', '.join(get_args(Kind))}")

    @classmethod
    def of_text(cls, text: str, *, k: int = 10, kinds: tuple[Kind, ...] = (), within: tuple[str, ...] = ()) -> Query:
        """Ask in words.

        Raises:
            UsageError: there are no words.
        """
        if not text.strip():
            raise UsageError(
                'the query is empty; say what to look for, for example: mmsearch query "a dog in the park"'
            )
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise UsageError(f"the query is not valid UTF-8 text: {text!r}") from error
        return cls("text", TextSample(text.strip()), k, kinds, within)
