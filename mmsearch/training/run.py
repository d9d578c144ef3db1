"""A training from pairs to a new generation of vectors, or to the reason why there is none."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from indexer.adapters import Undone, undo_adapted, write_adapted
from indexer.backgrounds import read_queries, sample_segments
from indexer.bridges import bridge_state
from indexer.errors import UsageError
from indexer.library import Library
from indexer.types import Encoder, Vectors
from mmsearch.background import calibrate
from mmsearch.training.fit import Epoch, FitOptions, Fitted, fit
from mmsearch.training.gather import Gathered, OnProgress, gather
from mmsearch.training.own import library_pairs
from mmsearch.training.pairs import Found, read_pairs
from mmsearch.training.report import ChannelReport, TrainingReport
from mmsearch.training.split import Split, split
from mmsearch.training.trial import General, general, run_trial

_SAMPLED = 20_000  # vectors of a channel that general questions are put to


@dataclass(slots=True)
class Trained:
    """What a training gives.

    `histories`: the epochs, by channel. `generation_id`: the new one, None where none was made.
    """

    report: TrainingReport
    histories: dict[str, tuple[Epoch, ...]] = field(default_factory=dict)
    generation_id: int | None = None


def train(
    library: Library,
    encoder: Encoder,
    found: Found,
    options: FitOptions | None = None,
    *,
    others: Found | None = None,
    views: int = 0,
    apply: bool = True,
    on_progress: OnProgress | None = None,
    cancel: threading.Event | None = None,
) -> Trained:
    """Learn an adapter for each channel that pairs were found for, and apply those that help. Hold the writer's lock.

    Nothing in the library is changed before all is measured; then all is, in one transaction.

    Args:
        library: whose vectors are adapted.
        encoder: its model.
        found: what belongs together.
        options: how it is learned.
        others: pairs that are not learned from, to say what the adapter costs elsewhere.
        views: other vectors of each picture, for training.
        apply: whether an adapter that helps is applied.
        on_progress: called from this thread.
        cancel: set it to stop; the state of the training is kept, and the same call goes on from there.

    Raises:
        UsageError: there are too few pairs.
        CancelledError: it was cancelled.
    """
    started = time.monotonic()
    options = options or FitOptions()
    generation = library.store.generation()
    if generation is None or library.store.is_empty(generation[0]):
        raise UsageError(
            "this library holds no vectors yet, and there is nothing to adapt; begin with: mmsearch index FOLDER"
        )
    generation_id, _ = generation
    say = on_progress or (lambda *_: None)

    def cancelled() -> bool:
        return cancel is not None and cancel.is_set()

    gathered, notes = gather(library, encoder, found.pairs, views=views, on_progress=say, cancelled=cancelled)
    notes = [*found.skipped, *notes]
    general_pairs = (
        [] if others is None else gather(library, encoder, others.pairs, on_progress=say, cancelled=cancelled)[0]
    )
    ready, thin = _divided(gathered, options.seed)
    if not ready:
        reasons = "; ".join([*thin, *notes])
        raise UsageError(f"there is too little to learn from. {reasons or 'No pairs were found'}")
    notes += thin
    reports, fits = [], []
    for each, parts in ready:
        learned = _learn(library, each, parts, options, say, cancel)
        other = next((pairs for pairs in general_pairs if pairs.channel == each.channel), None)
        reports.append(_reported(library, generation_id, each, parts, learned, options, other))
        fits.append(learned)
    helping = [(each, learned) for (each, _), learned, report in zip(ready, fits, reports, strict=True) if report.helps]
    if helping and apply and bridge_state(library.store, generation_id):
        notes.append(
            "the bridge between pictures and sounds is of the vectors before; make it again with: mmsearch bridge"
        )
    result = TrainingReport(
        tuple(reports),
        bool(helping) and apply,
        options.loss,
        options.seed,
        round(time.monotonic() - started, 1),
        tuple(notes),
    )
    trained = Trained(result, {each.channel: learned.history for (each, _), learned in zip(ready, fits, strict=True)})
    if result.applied:
        matrices: dict[tuple[str, str], Vectors] = {
            (each.tower.modality, each.tower.space): learned.matrix for each, learned in helping
        }
        fingerprint = _fingerprint(encoder.spec.fingerprint, matrices)
        say("Writing vectors", 0, 1)
        trained.generation_id = write_adapted(library.store, generation_id, fingerprint, matrices, result.to_json())
        say("Writing vectors", 1, 1)
    for each, _ in ready:
        _checkpoint(library, each).unlink(missing_ok=True)
    return trained


def train_and_calibrate(
    library: Library,
    encoder: Encoder,
    encoder_after: Callable[[], Encoder],
    place: str | os.PathLike[str] | None,
    *,
    from_library: bool,
    general: str | os.PathLike[str] | None,
    options: FitOptions | None,
    views: int,
    apply: bool,
    on_progress: OnProgress | None,
    cancel: threading.Event | None,
) -> Trained:
    """Find pairs, train, and bring indexes and null distributions up to date; see `mmsearch.Engine.train`.

    Args:
        library: whose vectors are adapted; the writer's lock is held.
        encoder: its model.
        encoder_after: gives the model that the library has when an adapter was applied.
        place: where pairs are.
        from_library: whether the library's own are taken.
        general: where general pairs are.
        options: how it is learned.
        views: other views of each picture.
        apply: whether an adapter that helps is applied.
        on_progress: called from this thread.
        cancel: stops it.
    """
    found = read_pairs(place) if place is not None else Found()
    if from_library:
        own = library_pairs(library)
        found = Found([*found.pairs, *own.pairs], [*found.skipped, *own.skipped])
    others = None if general is None else read_pairs(general)
    trained = train(
        library,
        encoder,
        found,
        options,
        others=others,
        views=views,
        apply=apply,
        on_progress=on_progress,
        cancel=cancel,
    )
    if trained.generation_id is not None:
        try:
            library.save_indexes()
            calibrate(library, encoder_after())
        except BaseException:
            undo(library)
            raise
    return trained


def undo(library: Library) -> Undone:
    """Let the vectors answer again that were there before the last adapter. Hold the writer's lock.

    Raises:
        UsageError: there is none.
    """
    undone = undo_adapted(library.store)
    for path in library.path.glob(f"index/{undone.generation_id}-*"):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
    library.save_indexes()
    return undone


def _divided(gathered: Sequence[Gathered], seed: int) -> tuple[list[tuple[Gathered, Split]], list[str]]:
    """The channels with enough pairs, divided; and a line for each of the others."""
    ready, thin = [], []
    for each in gathered:
        try:
            ready.append((each, split(each.groups, seed)))
        except UsageError as error:
            thin.append(f"{each.channel}: {error}")
    return ready, thin


def _checkpoint(library: Library, each: Gathered) -> Path:
    return library.path / "training" / f"{each.channel}.pt"


def _learn(
    library: Library,
    each: Gathered,
    parts: Split,
    options: FitOptions,
    say: OnProgress,
    cancel: threading.Event | None,
) -> Fitted:
    def on_epoch(epoch: Epoch) -> None:
        say(f"Training {each.channel}: loss {epoch.loss:.3f}, recall {epoch.recall:.1%}", epoch.number, options.epochs)

    return fit(
        each.vectors.rows(parts.train),
        each.vectors.rows(parts.validation),
        options,
        checkpoint=_checkpoint(library, each),
        on_epoch=on_epoch,
        cancel=cancel,
        others=None if each.views is None else each.views[:, parts.train],
    )


def _reported(
    library: Library,
    generation_id: int,
    each: Gathered,
    parts: Split,
    learned: Fitted,
    options: FitOptions,
    other: Gathered | None,
) -> ChannelReport:
    trial = run_trial(each.vectors.rows(parts.test), learned.matrix, seed=options.seed)
    return ChannelReport(
        channel=each.channel,
        pairs=each.sources,
        train=len(parts.train),
        validation=len(parts.validation),
        epochs=len(learned.history),
        best_epoch=learned.best,
        rank=learned.rank,
        share=learned.share,
        trial=trial,
        general=_general(library, generation_id, each, learned.matrix),
        other=None if other is None else run_trial(other.vectors, learned.matrix, seed=options.seed),
    )


def _general(library: Library, generation_id: int, each: Gathered, matrix: Vectors) -> General | None:
    """The background texts, whose vectors the library keeps, put to the channel before and after."""
    queries = read_queries(library.store, generation_id, "text", each.channel)
    _, vectors = sample_segments(library.store, generation_id, each.channel, _SAMPLED, seed=0)
    return general(queries, vectors, matrix, through=each.tower.modality == "text")


def _fingerprint(base: str, matrices: dict[tuple[str, str], Vectors]) -> str:
    """16 hexadecimal digits over the model before and the matrices."""
    digest = hashlib.sha256(base.encode())
    for key in sorted(matrices):
        digest.update(repr(key).encode() + np.ascontiguousarray(matrices[key]).tobytes())
    return digest.hexdigest()[:16]
