"""What an `Engine` learns from its library: the bridge between its spaces, and adapters of its vectors."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Literal

from mmsearch.background import calibrate
from mmsearch.bridge import gap_of, why_no_gap
from mmsearch.sharing import Shared, Turn

if TYPE_CHECKING:
    from indexer.adapters import Undone
    from indexer.library import Library
    from indexer.types import Encoder
    from mmsearch.bridge.build import OnProgress
    from mmsearch.bridge.trial import BridgeReport
    from mmsearch.training.fit import FitOptions
    from mmsearch.training.run import Trained


class Learning:
    """The part of an `Engine` that learns."""

    _library: Library
    _encoding: Turn

    if TYPE_CHECKING:

        @property
        def encoder(self) -> Encoder:
            """The library's model."""
            raise NotImplementedError

    def needs_no_bridge(self) -> str | None:
        """Why this library's model needs no bridge, or can have none; None when `make_bridge` is worth while."""
        spec = self._library.spec or self.encoder.spec
        return why_no_gap(spec) if gap_of(spec) is None else None

    def make_bridge(
        self, method: Literal["auto", "ridge", "procrustes"] = "auto", *, on_progress: OnProgress | None = None
    ) -> BridgeReport:
        """Let pictures find sounds, and sounds pictures, in a model whose two spaces share only text.

        Takes minutes at most: some thousand captions go through the model's text towers. Nothing is stored before all
        is done.

        Args:
            method: how the spaces are joined; "auto" takes what does better on held-out captions.
            on_progress: called from this thread with what is being done, how much of it is done, and of how much.

        Raises:
            UsageError: the model needs no bridge or can have none, or the library has no pictures or no sounds.
            LibraryLockedError: another process is writing.
        """
        from mmsearch.bridge.build import all_or_nothing, build_bridge

        with self._library.writing(), all_or_nothing(self._library):
            encoder = Shared(self.encoder, self._encoding)
            report = build_bridge(self._library, encoder, method=method, on_progress=on_progress)
            calibrate(self._library, encoder)
            return report

    def train(
        self,
        pairs: str | os.PathLike[str] | None = None,
        *,
        from_library: bool = False,
        general: str | os.PathLike[str] | None = None,
        options: FitOptions | None = None,
        views: int = 0,
        apply: bool = True,
        on_progress: OnProgress | None = None,
        cancel: threading.Event | None = None,
    ) -> Trained:
        """Adapt the library's vectors to pairs of things that belong together, if that helps on pairs held out.

        Nothing is encoded again but what the library does not hold. An adapter that helps becomes a new generation of
        vectors; `undo_training` lets the old one answer again.

        Args:
            pairs: a JSONL file of pairs, or a folder with captions beside files: see `mmsearch.training.pairs`.
            from_library: whether to take the pairs that the library has for nothing as well.
            general: other pairs, that say what the adapter costs elsewhere.
            options: how it is learned.
            views: how many other views of each picture are encoded for training, mirrored and cropped.
            apply: whether an adapter that helps is applied.
            on_progress: called from this thread with what is being done, how much of it is done, and of how much.
            cancel: set it from anywhere to stop; the same call goes on from there.

        Raises:
            UsageError: there are too few pairs, or a file of pairs cannot be read.
            CancelledError: it was cancelled; nothing was changed.
            LibraryLockedError: another process is writing.
        """
        from mmsearch.training.run import train_and_calibrate

        with self._library.writing():
            encoder = Shared(self.encoder, self._encoding)
            return train_and_calibrate(
                self._library,
                encoder,
                lambda: Shared(self.encoder, self._encoding),
                pairs,
                from_library=from_library,
                general=general,
                options=options,
                views=views,
                apply=apply,
                on_progress=on_progress,
                cancel=cancel,
            )

    def undo_training(self) -> Undone:
        """Let the vectors answer again that were there before the last adapter.

        Raises:
            UsageError: there is none.
            LibraryLockedError: another process is writing.
        """
        from mmsearch.training.run import undo

        with self._library.writing():
            return undo(self._library)
