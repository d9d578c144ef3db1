"""What the queries of a set ask, as vectors: texts in batches, files by the vectors that a library has of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.errors import UsageError
from indexer.legible import legible
from indexer.names import Channel
from indexer.types import Encoder, Sample, TowerSpec, Vectors
from indexer.vectors import unit
from mmsearch.evaluation.cache import encode_texts
from mmsearch.evaluation.cases import EvaluationQuery, EvaluationTerm, Skipped
from mmsearch.evaluation.options import Watch
from mmsearch.readings import read_term
from mmsearch.terms import Term

_TEXTS = 512  # between two words about progress
_SAMPLES = 32

Meaning = Mapping[Channel, Vectors]
"""A term's vector in every channel that it reaches: (dim,) float32 of length 1."""

ReadFile = Callable[[EvaluationTerm], Meaning]
"""A file as vectors, or `UsageError`."""


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """Queries as vectors.

    `ids`: of the Q queries that can be asked. `vectors`: by channel, (Q, dim) float32 of length 1, a row of NaN for a
    query that does not reach the channel. `unusable`: the other queries, and why.
    """

    ids: tuple[str, ...]
    vectors: Mapping[Channel, Vectors]
    unusable: tuple[Skipped, ...]
    notes: tuple[str, ...]


def as_vectors(
    queries: Sequence[EvaluationQuery], encoder: Encoder, channels: Collection[Channel], read: ReadFile, watch: Watch
) -> Asked:
    """Every query as one vector in each channel: the sum of its terms' unit vectors by weight, brought to length 1.

    Args:
        queries: what is asked.
        encoder: the model, with a cache before it.
        channels: where answers are looked for.
        read: reads files.
        watch: is told how far this is.
    """
    texts, notes = encoded_texts(queries, encoder, channels, watch)
    files: dict[EvaluationTerm, Meaning | str] = {}
    ids: list[str] = []
    rows: list[Mapping[Channel, Vectors]] = []
    unusable: list[Skipped] = []
    for number, query in enumerate(queries):
        watch.tell("Reading queries", number, len(queries))
        try:
            row = _sum([(term.weight, _meaning(term, texts, files, read)) for term in query.terms], channels)
        except UsageError as error:
            unusable.append(Skipped(f"query {query.id}", str(error)))
            continue
        if row:
            ids.append(query.id)
            rows.append(row)
        else:
            asked = " + ".join(dict.fromkeys(term.kind for term in query.terms))
            unusable.append(
                Skipped(
                    f"query {query.id}", f"the model {encoder.spec.name!r} cannot go from {asked} to what is sought"
                )
            )
    vectors = {}
    for channel in channels:
        there = [row[channel] for row in rows if channel in row]
        if there:
            matrix = np.full((len(rows), len(there[0])), np.nan, np.float32)
            matrix[[channel in row for row in rows]] = np.stack(there)
            vectors[channel] = matrix
    return Asked(tuple(ids), vectors, tuple(unusable), notes)


def encoded_texts(
    queries: Sequence[EvaluationQuery], encoder: Encoder, channels: Collection[Channel], watch: Watch
) -> tuple[dict[str, Meaning], tuple[str, ...]]:
    """Every text that is asked with, in each channel, in batches; and a note on those that are too long."""
    texts = list(dict.fromkeys(term.value for query in queries for term in query.terms if term.kind == "text"))
    towers: dict[TowerSpec, list[Channel]] = {}
    for channel in channels:
        tower = encoder.spec.query_tower("text", channel)
        if tower is not None:
            towers.setdefault(tower, []).append(channel)
    found: dict[str, dict[Channel, Vectors]] = {text: {} for text in texts}
    notes = []
    for tower, reached in towers.items():
        for at in range(0, len(texts), _TEXTS):
            watch.tell("Encoding queries", at, len(texts))
            some = {text: read for text in texts[at : at + _TEXTS] if (read := legible(encoder, text, tower).text)}
            if some:
                vectors, _ = unit(encode_texts(encoder, tower, list(some.values())))
                for text, vector in zip(some, vectors, strict=True):
                    found[text].update(dict.fromkeys(reached, vector))
        long = sum(tokens_of(encoder, text, tower) > encoder.spec.token_limit(tower) for text in texts)
        if long:
            notes.append(
                f"{long:,} of {len(texts):,} texts are longer than the {encoder.spec.token_limit(tower)} tokens that "
                f"the tower for {' and '.join(reached)} reads; of these, only the beginning was asked."
            )
    return dict(found), tuple(notes)


def tokens_of(encoder: Encoder, text: str, tower: TowerSpec) -> int:
    """How many tokens a tower sees in a text."""
    limited = tower in dict(encoder.spec.token_limits)
    return encoder.count_tokens(text, tower) if limited else encoder.count_tokens(text)


def read_with(encoder: Encoder) -> ReadFile:
    """Read files as a query of the engine does: decoded, and encoded by the encoder."""

    def read(term: EvaluationTerm) -> Meaning:
        reading = read_term(Term(term.kind, term.value), encoder, lambda tower, some: _encode(encoder, tower, some))
        return {channel: approach.vector for channel, approach in reading.items()}

    return read


def _encode(encoder: Encoder, tower: TowerSpec, samples: Sequence[Sample]) -> tuple[Vectors, NDArray[np.float64]]:
    batches = (samples[at : at + _SAMPLES] for at in range(0, len(samples), _SAMPLES))
    return unit(
        np.concatenate([encoder.encode(tower, [encoder.prepare(tower, sample) for sample in some]) for some in batches])
    )


def _meaning(
    term: EvaluationTerm, texts: Mapping[str, Meaning], files: dict[EvaluationTerm, Meaning | str], read: ReadFile
) -> Meaning:
    """What a term means. A file is read once, and one that cannot be read is not tried again."""
    if term.kind == "text":
        return texts[term.value]
    plain = EvaluationTerm(term.kind, term.value)
    if plain not in files:
        try:
            files[plain] = read(plain)
        except UsageError as error:
            files[plain] = str(error)
    known = files[plain]
    if isinstance(known, str):
        raise UsageError(known)
    return known


def _sum(terms: Sequence[tuple[float, Meaning]], channels: Collection[Channel]) -> dict[Channel, Vectors]:
    """Terms as one vector, in each channel that a term with a positive weight reaches."""
    row = {}
    for channel in channels:
        there = [(weight, meaning[channel]) for weight, meaning in terms if channel in meaning]
        if not any(weight > 0 for weight, _ in there):
            continue
        total = np.sum([weight * vector.astype(np.float64) for weight, vector in there], axis=0)
        length = float(np.linalg.norm(total))
        heaviest = max(there, key=lambda pair: pair[0])[1]
        row[channel] = (total / length if length > 1e-6 else heaviest).astype(np.float32)
    return row
