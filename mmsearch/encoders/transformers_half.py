"""Half of a two-tower model of transformers, and the text tower that all of these share.

The halves load one without the other: a text query then does not read the weights of the other tower.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.errors import ModelError, WeightsError
from indexer.types import TextSample, TowerSpec, Vectors
from mmsearch.encoders import devices
from mmsearch.encoders.kept_text import KeptTower, OwnTokens, TokenizerTable, fast_table, keep
from mmsearch.encoders.precision import Precision
from mmsearch.encoders.transformers_folder import Checkpoint
from mmsearch.encoders.transformers_loading import LOADING, quiet
from mmsearch.encoders.transformers_tokenizer import SharedTokenizer

# Texts in one forward pass of one thread.
TEXTS_PER_CHUNK = 8

# Buffers that transformers makes anew, and that older checkpoints may lack.
_MADE_ANEW = ("position_ids", "token_type_ids", "num_batches_tracked", "relative_position_index")

TokenIds = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class HalfClass:
    """Where to find a half: transformers' class, its part of the configuration, and its output that is the vector."""

    name: str
    config: str
    output: str


class Network:
    """A part of a checkpoint's model that makes vectors of one space, and loads on first use.

    What is a part, and which of its outputs is the vector, is for subclasses to say: `_load` and `_features`.
    """

    def __init__(self, checkpoint: Checkpoint, dim: int, precision: Precision) -> None:
        self.checkpoint = checkpoint
        self.precision: Precision = precision
        self.dim = dim

    def encode(self, chunks: Sequence[Mapping[str, NDArray[Any]]]) -> Vectors:
        """Vectors of chunks of inputs, by the names of the model's arguments: (inputs, dim) float32, of any length.

        How they go through the model: see `mmsearch.encoders.devices`.
        """
        import torch

        model = self._model
        vectors = devices.run(
            lambda inputs: self._features(model, dict(inputs)),
            chunks,
            dict,
            getattr(torch, self.precision),
            self.dim,
        )
        if vectors.shape[1] != self.dim:
            raise ModelError(
                f"{self.checkpoint.source} gives vectors of {vectors.shape[1]} numbers, and its config.json says"
                f" {self.dim}; copy the whole checkpoint again"
            )
        return vectors

    @property
    def is_loaded(self) -> bool:
        """Whether the weights are in memory."""
        return "_model" in self.__dict__

    def keep_text(self, fingerprint: str, table: Callable[[], TokenizerTable], tokens: OwnTokens) -> None:
        """Keep a text tower whose weights are loaded for queries of other processes: see kept_text.py."""
        from mmsearch.encoders.text_layout import read_text_tower

        keep(fingerprint, lambda: read_text_tower(self._model), table, tokens, self._float32_vectors)

    def _float32_vectors(self, prepared: Sequence[TokenIds]) -> Vectors:
        import torch

        model = self._model
        if self.precision != "float32" or devices.device() != devices.CPU:
            model = copy.deepcopy(model).to("cpu", torch.float32)
        with torch.inference_mode():
            rows = [self._features(model, _text_inputs(torch.from_numpy(ids)[None]))[0] for ids in prepared]
            vectors: Vectors = torch.stack(rows).numpy()
        return vectors

    @cached_property
    def _model(self) -> Any:
        return self._load()

    def _load(self) -> Any:
        """The part's module, ready to run."""
        raise NotImplementedError

    def _features(self, model: Any, tensors: dict[str, Any]) -> Any:
        """The tensor of vectors: (inputs, dim)."""
        raise NotImplementedError


class Half(Network):
    """One half of a checkpoint's model that transformers has a class for."""

    def __init__(self, checkpoint: Checkpoint, half: HalfClass, dim: int, precision: Precision) -> None:
        super().__init__(checkpoint, dim, precision)
        self._half = half

    def _features(self, model: Any, tensors: dict[str, Any]) -> Any:
        return getattr(model(**tensors), self._half.output)

    def _load(self) -> Any:
        def make() -> tuple[Any, Any]:
            import transformers

            whole = transformers.AutoConfig.from_pretrained(self.checkpoint.folder, local_files_only=True)
            config = getattr(whole, self._half.config)
            if hasattr(whole, "projection_dim"):
                # The whole model goes by its own, and so must its half.
                config.projection_dim = whole.projection_dim
            return getattr(transformers, self._half.name), config

        return devices.to_device(load_part(self.checkpoint, self._half.name, make), self.precision)


def load_part(
    checkpoint: Checkpoint,
    name: str,
    make: Callable[[], tuple[Any, Any]],
    *,
    precision: Precision = "float32",
    renamed: Mapping[str, str] | None = None,
) -> Any:
    """A module with the weights that the checkpoint has for it, in evaluation mode and without gradients.

    Args:
        checkpoint: where the weights are; what else it holds is not read.
        name: what to call the part in errors.
        make: gives the class, one of transformers' `PreTrainedModel`s, and the configuration to make it with.
        precision: of its parameters. Buffers that the class computes, such as frequencies, keep their own.
        renamed: regular expressions for names of tensors, and what to put in their place.

    Raises:
        WeightsError: the weights are missing, cut off, or of another architecture.
    """
    files = checkpoint.weight_files()
    try:
        with LOADING, quiet():
            import torch

            kind, config = make()
            model, report = kind.from_pretrained(
                checkpoint.folder,
                config=config,
                local_files_only=True,
                use_safetensors=files[0].suffix == ".safetensors",
                weights_only=True,
                dtype=getattr(torch, precision),
                output_loading_info=True,
                **({"key_mapping": dict(renamed)} if renamed else {}),
            )
    except Exception as error:  # transformers raises whatever the files make it stumble over
        text = " ".join(str(error).split()) or type(error).__name__
        raise WeightsError(
            f"{files[0]} cannot be loaded as transformers' {name}: {text[:300]}; expected the weights"
            f" that {checkpoint.folder / 'config.json'} describes: copy the whole checkpoint again"
        ) from error
    missing = sorted(key for key in report["missing_keys"] if not key.endswith(_MADE_ANEW))
    if missing:
        # transformers fills what is missing with random numbers, and only logs it.
        raise WeightsError(
            f"{files[0]} lacks {len(missing)} tensors of transformers' {name}, such as {missing[0]!r}:"
            " it is of another architecture than its config.json says, or not whole"
        )
    return model.eval().requires_grad_(False).to(devices.device())


def part_class(base: Any, fill: Callable[[Any, Any], None]) -> Any:
    """A class for `load_part` that is only a part of a model.

    Args:
        base: the model's `PreTrainedModel`, for how its modules are set up.
        fill: given the empty module and its configuration, puts the part in, under the names that the whole model has.
    """

    def make(self: Any, config: Any) -> None:
        base.__init__(self, config)
        fill(self, config)
        self.post_init()

    return type("Part", (base,), {"__init__": make, "__module__": __name__, "base_model_prefix": ""})


class TransformersTextTower:
    """Texts, tokenized as the checkpoint's own tokenizer does. Tokenizer and weights load on first use.

    With `padded`, every text is brought to what SigLIP was trained on: lower case, padded on the right to `max_tokens`,
    with no mask, so that the model sees the padding. Tokenizers of SigLIP 2 do not do all of that by themselves, and
    it matters: https://github.com/google-research/big_vision/issues/187 and /186. Without `padded`, texts of one
    length go together, and nothing is padded.

    `prompt` goes before every text, and counts as part of it. With one, names of special tokens within a text are
    words like any other: "<|image|>" in a document does not promise a picture.
    """

    def __init__(
        self,
        half: Network,
        spec: TowerSpec,
        *,
        max_tokens: int,
        padded: bool,
        version: str,
        prompt: str = "",
        tokenizer: SharedTokenizer | None = None,
    ) -> None:
        self._half = half
        self._spec = spec
        self._max_tokens = max_tokens
        self._padded = padded
        self._version = version
        self._prompt = prompt
        self._tokenizer = tokenizer or SharedTokenizer(half.checkpoint)
        self._kept = KeptTower(lambda: self.fingerprint, lambda: half.is_loaded)

    @property
    def spec(self) -> TowerSpec:
        """Modality, space and number of dimensions, known from config.json."""
        return self._spec

    @cached_property
    def fingerprint(self) -> str:
        """Changes with the checkpoint's weights and files, the precision, and what this code does to a text."""
        padding = "padded" if self._padded else "not padded"
        prompt = (self._prompt,) if self._prompt else ()
        return self._half.checkpoint.fingerprint("text", self._version, self._half.precision, padding, *prompt)

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
        light = self._kept.tokenizer
        return self._count(text) if light is None else light.count(text)

    def prepare(self, sample: TextSample) -> TokenIds:
        """(tokens,) int64: the token ids, cut or padded."""
        light = self._kept.tokenizer
        return self._ids(sample.text) if light is None else light.prepare(sample.text)

    def keep(self) -> None:
        """Keep the tower for queries of other processes, if its weights are loaded and it has no prompt."""
        if self._half.is_loaded and not self._prompt:
            self._half.keep_text(self.fingerprint, self._table, OwnTokens(self._ids, self._count))

    def _table(self) -> TokenizerTable:
        tokenizer = self._tokenizer.whole
        pad_id = tokenizer.pad_token_id if self._padded else None
        clean = "only lower" if self._padded else ""
        return fast_table(tokenizer, {"max_tokens": self._max_tokens, "clean": clean, "pad_id": pad_id})

    def _count(self, text: str) -> int:
        # Not verbose: it would warn of texts longer than the model reads, which is what is asked here.
        return len(self._tokenizer.ids(self._worded(text), verbose=False, **self._literal))

    def _ids(self, text: str) -> TokenIds:
        options: dict[str, Any] = {"padding": "max_length", "padding_side": "right"} if self._padded else self._literal
        text = self._worded(text)
        return np.array(
            self._tokenizer.ids(text, truncation=True, max_length=self._max_tokens, **options), dtype=np.int64
        )

    def _worded(self, text: str) -> str:
        return self._prompt + (text.lower() if self._padded else text)

    @property
    def _literal(self) -> dict[str, Any]:
        return {"split_special_tokens": True} if self._prompt else {}

    def encode(self, prepared: Sequence[TokenIds]) -> Vectors:
        """Vectors of token ids: (len(prepared), dim) float32, of any length."""
        kept = self._kept.encode(prepared)
        if kept is not None:
            return kept
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
            chunks.append(_text_inputs(ids))
        vectors = np.empty((len(prepared), self._spec.dim), np.float32)
        if groups:
            vectors[np.concatenate(groups)] = self._half.encode(chunks)
        return vectors


def _text_inputs(ids: Any) -> dict[str, Any]:
    """A text model's arguments for ids (texts, tokens), of NumPy or torch.

    The mask is all ones, because nothing is padded, or because the padding is to be seen. It is said, because
    transformers would else warn where a text holds the padding token itself.
    """
    return {"input_ids": ids, "attention_mask": ids * 0 + 1}
