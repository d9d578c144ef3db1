"""EmbeddingGemma 2's network, whose parts load by themselves: the language model, and what sees and hears for it."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from indexer.types import Vectors
from mmsearch.encoders.precision import Precision
from mmsearch.encoders.transformers_folder import Checkpoint
from mmsearch.encoders.transformers_half import Network, load_part, part_class


class GemmaNetwork(Network):
    """The language model, which all towers share, and the vision and audio parts before it. Each loads on first use."""

    # An input that asks for a part, the part of the configuration, and the two modules that it consists of.
    _PARTS = (
        ("pixel_values", "vision_config", "vision_tower", "embed_vision"),
        ("input_features", "audio_config", "audio_tower", "embed_audio"),
    )

    def __init__(self, checkpoint: Checkpoint, dim: int, precision: Precision) -> None:
        super().__init__(checkpoint, dim, precision)
        self._loading = threading.Lock()

    def encode(self, chunks: Sequence[Mapping[str, NDArray[Any]]]) -> Vectors:
        """Vectors of chunks of inputs, by the names of the model's arguments: (inputs, dim) float32, of length 1."""
        for needed, part, tower, embedder in self._PARTS:
            if any(needed in chunk for chunk in chunks):
                self._attach(part, tower, embedder)
        return super().encode(chunks)

    def _features(self, model: Any, tensors: dict[str, Any]) -> Any:
        hidden = model(**tensors).last_hidden_state
        # Nothing is padded, so that all tokens count.
        return hidden.float().mean(dim=1)[:, : self.dim]

    def _load(self) -> Any:
        """The language model alone: a text needs no more."""

        def make() -> tuple[Any, Any]:
            from transformers import EmbeddingGemma2Config, EmbeddingGemma2Model

            # Left out before it is read, so that nothing is imported for it.
            rest = {part: None for _, part, *_ in self._PARTS}
            return EmbeddingGemma2Model, EmbeddingGemma2Config.from_dict({**self.checkpoint.config, **rest})

        return load_part(self.checkpoint, "EmbeddingGemma2Model", make, precision=self.precision)

    def _attach(self, part: str, tower: str, embedder: str) -> None:
        """Give the model a part that it was loaded without."""
        with self._loading:
            model = self._model
            if getattr(model, tower) is not None:
                return

            def make() -> tuple[Any, Any]:
                import transformers
                from transformers.models.embedding_gemma2 import modeling_embedding_gemma2 as upstream

                untyped: Any = transformers

                def fill(module: Any, config: Any) -> None:
                    own = getattr(config, part)
                    setattr(module, tower, untyped.AutoModel.from_config(own))
                    into = upstream.EmbeddingGemma2MultimodalEmbedder(own, config.text_config)
                    setattr(module, embedder, into)

                config = untyped.AutoConfig.from_pretrained(self.checkpoint.folder, local_files_only=True)
                return part_class(upstream.EmbeddingGemma2PreTrainedModel, fill), config

            loaded = load_part(self.checkpoint, f"EmbeddingGemma2Model ({tower})", make, precision=self.precision)
            setattr(model.config, part, getattr(loaded.config, part))
            setattr(model, embedder, getattr(loaded, embedder))
            setattr(model, tower, getattr(loaded, tower))
