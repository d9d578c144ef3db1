"""What files are tagged with: labels, as they are written and as vectors in each channel.

A label is put into several sentences, as the prompts of CLIP are (Radford et al., "Learning Transferable Visual Models
From Natural Language Supervision", ICML 2021, section 3.1.4), and the mean direction of these is its vector.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np

from indexer.errors import UsageError
from indexer.legible import legible
from indexer.types import Channel, Encoder, TextSample, TowerSpec, Vectors
from indexer.vectors import unit

TEMPLATES: Mapping[Channel, tuple[str, ...]] = {
    "visual": ("{}", "a photo of {}", "a picture of {}", "a drawing of {}"),
    "sound": ("{}", "the sound of {}"),
    "speech": ("{}", "someone talks about {}"),
    "text": ("{}", "a text about {}"),
}

_BATCH = 128
_SHOWN = 5  # labels in a message
_MOST_LABELS = 100_000

OnProgress = Callable[[int, int], None]
"""Called with how many texts were encoded, and of how many."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Labels, each with its names: the first is the tag, and all of them are looked for.

    Raises:
        UsageError: there are no labels, too many, or one of them twice, or one is no tuple of names.
    """

    labels: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        wrong = [names for names in self.labels if not _are_names(names)]
        if wrong:  # the letters of a string would be taken for its names
            raise UsageError(f'a label is its names as a tuple, such as ("dog", "puppy") or ("dog",), got {wrong[0]!r}')
        if not 1 <= len(self.labels) <= _MOST_LABELS:
            raise UsageError(f"a vocabulary has 1 to {_MOST_LABELS:,} labels, got {len(self.labels):,}")
        first = [names[0] for names in self.labels]
        if len(set(first)) < len(first):
            twice = next(name for at, name in enumerate(first) if name in first[:at])
            raise UsageError(f"the vocabulary has {twice!r} twice; leave one of them out")

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def of_lines(cls, text: str) -> Vocabulary:
        """One label a line, with further names after commas; empty lines and those that begin with # do not count."""
        rows = []
        for line in text.splitlines():
            names = tuple(dict.fromkeys(name.strip() for name in line.split(",") if name.strip()))
            if names and not line.lstrip().startswith("#"):
                rows.append(names)
        return cls(tuple(rows))

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Vocabulary:
        """A file of such lines, in UTF-8.

        Raises:
            UsageError: it cannot be read, or is no vocabulary.
        """
        try:
            text = Path(path).read_text(encoding="utf-8-sig")
            if "\0" in text:
                raise ValueError("a NUL character")
        except (OSError, ValueError, TypeError) as error:  # ValueError: no UTF-8, or a NUL in the path or the text
            reason = getattr(error, "strerror", None) or (
                "that is no path" if isinstance(error, TypeError) else "it is not UTF-8 text"
            )
            raise UsageError(
                f"{_shown(path)} cannot be read as a vocabulary: {reason}; a vocabulary is a text file with one "
                "label a line, and further names of it after commas"
            ) from error
        try:
            return cls.of_lines(text)
        except UsageError as error:
            raise UsageError(f"{_shown(path)}: {error}") from error

    @property
    def names(self) -> tuple[str, ...]:
        """The tags."""
        return tuple(names[0] for names in self.labels)


def _are_names(names: object) -> bool:
    return isinstance(names, tuple) and bool(names) and all(isinstance(name, str) and name.strip() for name in names)


def _shown(path: object) -> str:
    return os.fspath(path) if isinstance(path, str | os.PathLike) else repr(path)


@cache
def everyday() -> Vocabulary:
    """The vocabulary that mmsearch ships: some hundred everyday things, places and doings."""
    return Vocabulary.of_lines(resources.files("mmsearch").joinpath("tags.txt").read_text(encoding="utf-8"))


def label_vectors(
    vocabulary: Vocabulary, encoder: Encoder, channel: Channel, on_progress: OnProgress | None = None
) -> Vectors | None:
    """A vector for each label in a channel's space: (labels, dim) float32 of length 1; None where no text reaches it.

    Kept in the cache directory, by the model and by what was encoded: a few thousand texts take some seconds. Names
    that the model cannot read do not count.

    Raises:
        UsageError: the model can read no name of some labels.
    """
    tower = encoder.spec.query_tower("text", channel)
    if tower is None:
        return None
    read = [
        [found.text for name in names if (found := legible(encoder, name, tower)).text] for names in vocabulary.labels
    ]
    blind = [first for first, names in zip(vocabulary.names, read, strict=True) if not names]
    if blind:
        more = f" and {len(blind) - _SHOWN:,} more" if len(blind) > _SHOWN else ""
        raise UsageError(
            f"the model {encoder.spec.name!r} cannot read these labels: {', '.join(blind[:_SHOWN])}{more}; give each a"
            " name that it can read, after a comma"
        )
    texts = [[template.format(name) for name in names for template in TEMPLATES[channel]] for names in read]
    path = _place(encoder, tower, texts)
    kept = _read(path, len(vocabulary), tower.dim)
    return kept if kept is not None else _made(texts, encoder, tower, path, on_progress)


def _place(encoder: Encoder, tower: TowerSpec, texts: list[list[str]]) -> Path:
    from mmsearch.encoders.weights import cache_directory

    parts = [encoder.spec.fingerprint, str(tower.to_row()), *("\n".join(some) for some in texts)]
    return cache_directory() / "vocabulary" / f"{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:24]}.npy"


def _read(path: Path, count: int, dim: int) -> Vectors | None:
    try:
        vectors: Vectors = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    fits = bool(vectors.shape == (count, dim) and vectors.dtype == np.float32)
    return vectors if fits and np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-4) else None


def _made(
    texts: list[list[str]], encoder: Encoder, tower: TowerSpec, path: Path, on_progress: OnProgress | None
) -> Vectors:
    from mmsearch.encoders.weights import write_atomically

    flat = [text for some in texts for text in some]
    parts = []
    for at in range(0, len(flat), _BATCH):
        prepared = [encoder.prepare(tower, TextSample(text)) for text in flat[at : at + _BATCH]]
        parts.append(unit(encoder.encode(tower, prepared))[0])
        if on_progress is not None:
            on_progress(min(at + _BATCH, len(flat)), len(flat))
    vectors = np.concatenate(parts)
    starts = np.cumsum([0, *(len(some) for some in texts[:-1])])
    sums = np.add.reduceat(vectors, starts, axis=0)
    first = vectors[starts]  # where sentences cancel out, the bare name
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    made: Vectors = np.where(lengths > 1e-6, sums / np.maximum(lengths, 1e-6), first).astype(np.float32)
    write_atomically(path, lambda file: np.save(file, made, allow_pickle=False))
    return made
