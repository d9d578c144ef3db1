"""One thing to look for: words, or a file or something in memory to search by."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexer.errors import UsageError
from indexer.types import AudioSample, ImageSample, Sample, TextSample
from mmsearch.names import TERM_KINDS, TermKind

if TYPE_CHECKING:
    from mmsearch.query import Less, Query


def is_empty() -> UsageError:
    """The error for a query that says nothing."""
    return UsageError("the query is empty; say what to look for", ', for example: mmsearch query "a dog in the park"')


@dataclass(frozen=True, slots=True)
class Term:
    """One thing to look for, or (with a negative weight) to look away from.

    `value`: the words, or the absolute path of a file. `weight`: finite and not 0, relative to the other
    terms; negative means less of this. `samples`: what to search by when it is in memory and no file holds it;
    `value` is then a label, only for printing. Terms made from memory are equal when they share their samples.

    Raises:
        UsageError: there are no words, the path is not absolute, or the weight is not a number to go by.
    """

    kind: TermKind
    value: str
    weight: float = 1.0
    samples: tuple[Sample, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in TERM_KINDS:
            raise UsageError(f"a term is one of {', '.join(TERM_KINDS)}, got {self.kind!r}")
        object.__setattr__(self, "weight", _weight(self.weight))
        object.__setattr__(self, "samples", tuple(self.samples))
        if self.samples:
            return
        if self.kind == "text":
            object.__setattr__(self, "value", _words(self.value))
        elif not os.path.isabs(self.value):
            raise UsageError(f"a term holds an absolute path, got {self.value!r}; Term.of_file makes it one")
        elif "\0" in self.value:
            raise UsageError(f"no path holds a NUL character, got {self.value!r}")

    @classmethod
    def of_file(
        cls,
        path: str | os.PathLike[str],
        kind: TermKind | None = None,
        *,
        weight: float = 1.0,
        base: Path | None = None,
    ) -> Term:
        """A file to search by.

        Args:
            path: the file; "~" is resolved.
            kind: what to take it for; None for what its content says. "audio" of a video is its sound.
            weight: see `Term`.
            base: the folder that a relative path starts from; the current one when None.

        Raises:
            UsageError: there is no such file, or it is not of that kind, or of none that mmsearch reads.
        """
        from mmsearch.sources import found, kind_of

        place = found(path, base=base, is_named=kind is not None)
        return cls(kind_of(place, kind), str(place), weight)

    @classmethod
    def of_sample(cls, *samples: Sample, label: str = "", weight: float = 1.0) -> Term:
        """Something in memory to search by, such as the pixels of a picture that was pasted.

        One picture is an image, one stretch of sound an audio term, one text a text term like any other. Several
        pictures, with or without sound, are the frames of a video; several sounds are one recording, several
        texts one document.

        Args:
            samples: pixels, waveforms or texts; at least one.
            label: what to call it when the query is printed.
            weight: see `Term`.
        """
        if len(samples) == 1 and isinstance(samples[0], TextSample):
            return cls("text", samples[0].text, weight)
        kind = _KIND_OF_SAMPLES.get(frozenset(map(type, samples)))
        if kind is None:
            raise UsageError("samples to search by are pictures, sounds, both (of a video) or texts, and at least one")
        return cls("video" if kind == "image" and len(samples) > 1 else kind, label or "in memory", weight, samples)

    def __neg__(self) -> Term:
        return self * -1

    def __mul__(self, factor: float) -> Term:
        return replace(self, weight=self.weight * factor) if is_number(factor) else NotImplemented

    __rmul__ = __mul__

    def __add__(self, other: Term | Query | Less) -> Query:
        from mmsearch.query import Query

        return Query((self, other)) if isinstance(other, Term) else NotImplemented

    def __sub__(self, other: Term | Query) -> Query:
        from mmsearch.query import Query

        return Query((self, -other)) if isinstance(other, Term) else NotImplemented

    def __str__(self) -> str:
        from mmsearch.grammar import format_terms

        return format_terms((self,))


_KIND_OF_SAMPLES: Mapping[frozenset[type[Any]], TermKind] = {
    frozenset({ImageSample}): "image",
    frozenset({AudioSample}): "audio",
    frozenset({ImageSample, AudioSample}): "video",
    frozenset({TextSample}): "document",
}


def is_number(value: Any) -> bool:
    """Whether a value is a real number; True and False are none."""
    return isinstance(value, Real) and not isinstance(value, bool)


def _weight(value: Any) -> float:
    if not is_number(value) or not math.isfinite(value) or not value:
        raise UsageError(f"a weight is a number other than 0, negative for less of a thing; got {value!r}")
    return float(value)


def _words(value: Any) -> str:
    if not isinstance(value, str):
        raise UsageError(f"a text term holds words, got {value!r}")
    if not value.strip():
        raise is_empty()
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UsageError(f"the query is not valid UTF-8 text: {value!r}") from error
    return value.strip()
