"""Half of a two-tower model of transformers, and the text tower that all of these share.

The halves load one without the other: a text query then does not read the weights of the other tower.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.errors import ModelError, WeightsError
from indexer.types import TextSample, TowerSpec, Vectors
from mmsearch.encoders import devices
from mmsearch.encoders.precision import Precision
from mmsearch.encoders.transformers_folder import Checkpoint

# Texts in one forward pass of one thread.
TEXTS_PER_CHUNK = 8

# Buffers that transformers makes anew, and that older checkpoints may lack.
_MADE_ANEW = ("position_ids", "token_type_ids", "num_batches_tracked", "relative_position_index")

# A tokenizer's words lie in one of these.
_VOCABULARIES = (
    "tokenizer.json",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "tokenizer.model",
    "sentencepiece.bpe.model",
)

LOADING = threading.Lock()
"""Held to import transformers and to load from it: it imports its parts late, and changes settings of the process."""

TokenIds = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class HalfClass:
    """Where to find a half: transformers' class, its part of the configuration, and its output that is the vector."""

    name: str
    config: str
    output: str


class Half:
    """One half of a checkpoint's model, which loads on first use."""

    def __init__(self, checkpoint: Checkpoint, half: HalfClass, dim: int, precision: Precision) -> None:
        self.checkpoint = checkpoint
        self.precision: Precision = precision
        self._half = half
        self._dim = dim

    def encode(self, chunks: Sequence[Mapping[str, NDArray[Any]]]) -> Vectors:
        """Vectors of chunks of inputs, by the names of the model's arguments: (inputs, dim) float32, of length 1.

        How they go through the model: see `mmsearch.encoders.devices`.
        """
        import torch

        model = self._model
        vectors = devices.run(
            lambda inputs: getattr(model(**inputs), self._half.output),
            chunks,
            dict,
            getattr(torch, self.precision),
            self._dim,
        )
        if vectors.shape[1] != self._dim:
            raise ModelError(
                f"{self.checkpoint.source} gives vectors of {vectors.shape[1]} numbers, and its config.json says"
                f" {self._dim}; copy the whole checkpoint again"
            )
        return vectors

    @cached_property
    def _model(self) -> Any:
        files = self.checkpoint.weight_files()
        try:
            with LOADING, _quiet():
                import torch
                import transformers

                kind = getattr(transformers, self._half.name)
                whole = transformers.AutoConfig.from_pretrained(self.checkpoint.folder, local_files_only=True)
                config = getattr(whole, self._half.config)
                if hasattr(whole, "projection_dim"):
                    # The whole model goes by its own, and so must its half.
                    config.projection_dim = whole.projection_dim
                model, report = kind.from_pretrained(
                    self.checkpoint.folder,
                    config=config,
                    local_files_only=True,
                    use_safetensors=files[0].suffix == ".safetensors",
                    weights_only=True,
                    dtype=torch.float32,
                    output_loading_info=True,
                )
        except Exception as error:  # transformers raises whatever the files make it stumble over
            text = " ".join(str(error).split()) or type(error).__name__
            raise WeightsError(
                f"{files[0]} cannot be loaded as transformers' {self._half.name}: {text[:300]}; expected the weights"
                f" that {self.checkpoint.folder / 'config.json'} describes: copy the whole checkpoint again"
            ) from error
        missing = sorted(name for name in report["missing_keys"] if not name.endswith(_MADE_ANEW))
        if missing:
            # transformers fills what is missing with random numbers, and only logs it.
            raise WeightsError(
                f"{files[0]} lacks {len(missing)} tensors of transformers' {self._half.name}, such as {missing[0]!r}:"
                " it is of another architecture than its config.json says, or not whole"
            )
        return devices.to_device(model, self.precision)


class TransformersTextTower:
    """Texts, tokenized as the checkpoint's own tokenizer does. Tokenizer and weights load on first use.

    With `padded`, every text is brought to what SigLIP was trained on: lower case, padded on the right to `max_tokens`,
    with no mask, so that the model sees the padding. Tokenizers of SigLIP 2 do not do all of that by themselves, and
    it matters: https://github.com/google-research/big_vision/issues/187 and /186. Without `padded`, texts of one
    length go together, and nothing is padded.
    """

    def __init__(self, half: Half, spec: TowerSpec, *, max_tokens: int, padded: bool, version: str) -> None:
        self._half = half
        self._spec = spec
        self._max_tokens = max_tokens
        self._padded = padded
        self._version = version
        self._tokenizing = threading.Lock()

    @property
    def spec(self) -> TowerSpec:
        """Modality, space and number of dimensions, known from config.json."""
        return self._spec

    @cached_property
    def fingerprint(self) -> str:
        """Changes with the checkpoint's weights and files, the precision, and what this code does to a text."""
        padding = "padded" if self._padded else "not padded"
        return self._half.checkpoint.fingerprint("text", self._version, self._half.precision, padding)

    @property
    def precision(self) -> Precision:
        """The number type that it computes in."""
        return self._half.precision

    @property
    def max_tokens(self) -> int:
        """How many tokens it reads, its special ones included."""
        return self._max_tokens

    def count_tokens(self, text: str) -> int:
        """How many tokens the whole text has, special tokens included."""
        with self._tokenizing:
            # Not verbose: it would warn of texts longer than the model reads, which is what is asked here.
            return len(self._tokenizer(self._cased(text), verbose=False)["input_ids"])

    def prepare(self, sample: TextSample) -> TokenIds:
        """(tokens,) int64: the token ids, cut or padded."""
        options: dict[str, Any] = {"padding": "max_length", "padding_side": "right"} if self._padded else {}
        # Fast tokenizers keep padding and truncation as state, and refuse to be used by two threads at once.
        with self._tokenizing:
            encoded = self._tokenizer(self._cased(sample.text), truncation=True, max_length=self._max_tokens, **options)
        return np.array(encoded["input_ids"], dtype=np.int64)

    def _cased(self, text: str) -> str:
        return text.lower() if self._padded else text

    def encode(self, prepared: Sequence[TokenIds]) -> Vectors:
        """Vectors of token ids: (len(prepared), dim) float32, each row of length 1."""
        rows_of: dict[int, list[int]] = {}
        for row, ids in enumerate(prepared):
            rows_of.setdefault(len(ids), []).append(row)
        groups = [
            rows[start : start + TEXTS_PER_CHUNK]
            for rows in rows_of.values()
            for start in range(0, len(rows), TEXTS_PER_CHUNK)
        ]
        chunks = []
        for group in groups:
            ids = np.stack([prepared[row] for row in group])
            # All ones, because nothing is padded, or because the padding is to be seen. Said, because transformers
            # would else warn where a text holds the padding token itself.
            chunks.append({"input_ids": ids, "attention_mask": np.ones_like(ids)})
        vectors = np.empty((len(prepared), self._spec.dim), np.float32)
        if groups:
            vectors[np.concatenate(groups)] = self._half.encode(chunks)
        return vectors

    @cached_property
    def _tokenizer(self) -> Any:
        folder = self._half.checkpoint.folder
        try:
            if not any((folder / name).is_file() for name in _VOCABULARIES):
                # Else transformers makes one without any words, and says nothing.
                raise FileNotFoundError(f"there is none of {', '.join(_VOCABULARIES)}")
            with LOADING, _quiet():
                from transformers import AutoTokenizer

                return AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except Exception as error:  # transformers raises whatever the files make it stumble over
            text = " ".join(str(error).split()) or type(error).__name__
            raise WeightsError(
                f"the tokenizer in {folder} cannot be loaded: {text[:300]}; expected tokenizer.json and"
                " tokenizer_config.json: copy the whole checkpoint again"
            ) from error


def token_limit(checkpoint: Checkpoint, positions: int) -> int:
    """How many tokens a text tower of so many positions reads: fewer, if the tokenizer's configuration says so."""
    limit = checkpoint.read("tokenizer_config.json").get("model_max_length")
    # Absent or astronomical (transformers writes 10^30) means that there is no limit.
    return min(positions, int(limit)) if isinstance(limit, (int, float)) and limit > 0 else positions


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' progress bars, and its report of the other half's weights, which it did not load."""
    from transformers.utils import logging as untyped

    logging: Any = untyped
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
