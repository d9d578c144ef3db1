"""The models that mmsearch knows, by name. Importing this loads none of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from indexer.errors import ModelError
from indexer.types import Encoder


@dataclass(frozen=True, slots=True)
class Model:
    """One row of the table: `make` gives the encoder, which loads its weights on first use."""

    description: str
    make: Callable[[], Encoder]


def _mini() -> Encoder:
    from mmsearch.encoders.mini import MiniEncoder

    return MiniEncoder()


MODELS: dict[str, Model] = {
    "mini": Model("text, pictures and English speech in one space of 384 numbers; needs no model hub", _mini),
}
"""Every model by its name."""

DEFAULT_MODEL = "mini"


def load_encoder(name: str) -> Encoder:
    """The encoder of a model in `MODELS`. Its weights load on first use, not here."""
    model = MODELS.get(name)
    if model is None:
        raise ModelError(f"there is no model {name!r}; the models are: {', '.join(sorted(MODELS))}")
    return model.make()
