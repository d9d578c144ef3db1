"""Image and text towers of open_clip's models, with their own preprocessing and tokenizers.

open_clip: https://github.com/mlfoundations/open_clip (MIT). The weights have licences of their own.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from indexer.cores import available_cores
from indexer.errors import ModelError, WeightsError
from indexer.types import ImageSample, TextSample, TowerSpec, Vectors
from mmsearch.encoders import devices
from mmsearch.encoders.heat import HeatMaps
from mmsearch.encoders.kept_text import KeptTower, OwnTokens, TokenizerTable, fast_table, keep
from mmsearch.encoders.open_clip_network import brief, build, cut, encode_text, float32_text, load, tokens_read
from mmsearch.encoders.open_clip_source import Source
from mmsearch.encoders.precision import Precision, choose_precision
from mmsearch.encoders.preprocess import normalise

if TYPE_CHECKING:
    import torch

SPACE = "open_clip"

# Pictures in one forward pass of one thread. The weights are read from memory once for each pass. What other numbers
# cost: docs/performance.md, "Encoding".
CHUNK = 8

# The same for texts: 330 of the background's took ViT-B-32's 9.9 s of a core one by one, and 2.8 s in sixteens.
TEXT_CHUNK = 16

TokenIds = NDArray[np.int64]


def open_clip_towers(source: str, *, precision: str | None = None) -> tuple[OpenClipImageTower, OpenClipTextTower]:
    """Both towers of a model, which share its weights. `source` is what follows "open_clip:" in the model's name.

    `precision` is float32, bfloat16 or float16; None chooses as `choose_precision` does.
    """
    model = _Model(Source.parse(source), choose_precision(precision))
    return OpenClipImageTower(model), OpenClipTextTower(model)


class OpenClipImageTower:
    """Pictures. The weights load on first use, and are shared with the text tower of the same model."""

    def __init__(self, model: _Model) -> None:
        self._model = model

    @cached_property
    def spec(self) -> TowerSpec:
        """Modality, space and number of dimensions, known from the configuration."""
        return TowerSpec("image", SPACE, self._model.dim)

    @property
    def fingerprint(self) -> str:
        """Changes with weights, configuration, precision and preprocessing."""
        return self._model.fingerprint

    @property
    def precision(self) -> Precision:
        """The number type that it computes in."""
        return self._model.precision

    @property
    def image_side(self) -> int:
        """Shorter side, in pixels, below which a picture must not be scaled down before `prepare`."""
        return max(self._model.source.preprocess.size)

    def prepare(self, sample: ImageSample) -> NDArray[np.uint8]:
        """The picture at the network's size: (height, width, 3) uint8, not normalised yet, to be small in the queue."""
        return self._model.source.preprocess(sample.pixels)

    def encode(self, prepared: Sequence[NDArray[np.uint8]]) -> Vectors:
        """Vectors of prepared pictures: (len(prepared), dim) float32, of any length."""
        # Few pictures are shared out, so that no core waits for another.
        step = max(1, min(CHUNK, -(-len(prepared) // available_cores())))
        chunks = [prepared[start : start + step] for start in range(0, len(prepared), step)]
        network = self._model.network
        preprocess = self._model.source.preprocess
        vectors = devices.run(
            lambda inputs: network.encode_image(inputs["pictures"], normalize=False),  # CoCa's would if not told
            chunks,
            lambda chunk: {"pictures": normalise(np.stack(chunk), preprocess.mean, preprocess.std)},
            self._model.dtype,
            self.spec.dim,
        )
        return _checked(vectors, self.spec)

    def heat_maps(self, sample: ImageSample, targets: Vectors) -> HeatMaps | None:
        """Where in a picture its scores come from: LeGrad, Grad-CAM of a ResNet; None for other networks."""
        import torch

        from mmsearch.encoders.legrad import heat_of_network

        network, preprocess = self._model.network, self._model.source.preprocess
        pixels = normalise(self.prepare(sample)[None], preprocess.mean, preprocess.std)
        found = heat_of_network(
            network.visual, torch.from_numpy(pixels).to(device=devices.device(), dtype=self._model.dtype), targets
        )
        height, width = sample.pixels.shape[:2]
        return None if found is None else HeatMaps(*found, preprocess.box(height, width))


class OpenClipTextTower:
    """Texts, in the space of the pictures. The weights load on first use, unless a kept file answers (kept_text.py)."""

    def __init__(self, model: _Model) -> None:
        self._model = model
        self._tokenizing = threading.Lock()
        self._kept = KeptTower(lambda: model.fingerprint, lambda: model.is_loaded)

    @cached_property
    def spec(self) -> TowerSpec:
        """Modality, space and number of dimensions, known from the configuration."""
        return TowerSpec("text", SPACE, self._model.dim)

    @property
    def fingerprint(self) -> str:
        """Changes with weights, configuration, tokenizer and precision."""
        return self._model.fingerprint

    @property
    def precision(self) -> Precision:
        """The number type that it computes in."""
        return self._model.precision

    @property
    def max_tokens(self) -> int:
        """How many tokens it reads, its special ones included."""
        return self._model.source.max_tokens

    def count_tokens(self, text: str) -> int:
        """How many tokens the whole text has, special tokens included."""
        light = self._kept.tokenizer
        return self._count(text) if light is None else light.count(text)

    def prepare(self, sample: TextSample) -> TokenIds:
        """Token ids, padded to what the tower reads: (max_tokens,) int64."""
        light = self._kept.tokenizer
        return self._ids(sample.text) if light is None else light.prepare(sample.text)

    def encode(self, prepared: Sequence[TokenIds]) -> Vectors:
        """Vectors of token ids: (len(prepared), dim) float32, of any length."""
        vectors = self._kept.encode(prepared)
        if vectors is None:
            network = self._model.network
            # Texts of about one length go together: for one alone, reading the weights is most of the work.
            order = sorted(range(len(prepared)), key=lambda row: tokens_read(network, prepared[row]))
            step = max(1, min(TEXT_CHUNK, -(-len(prepared) // available_cores())))
            sorted_vectors = devices.run(
                lambda inputs: encode_text(network, inputs["ids"]),
                [[prepared[row] for row in order[at : at + step]] for at in range(0, len(order), step)],
                lambda ids: {"ids": cut(network, ids)},
                self._model.dtype,
                self.spec.dim,
            )
            vectors = np.empty_like(sorted_vectors)
            vectors[order] = sorted_vectors
        return _checked(vectors, self.spec)

    def keep(self) -> None:
        """Keep the tower for queries of other processes, if its network is loaded: see kept_text.py."""
        if not self._model.is_loaded:
            return
        from mmsearch.encoders.text_layout import read_text_tower

        network = self._model.network
        keep(
            self.fingerprint,
            lambda: read_text_tower(network),
            self._table,
            OwnTokens(self._ids, self._count),
            lambda prepared: float32_text(network, prepared),
        )

    def _count(self, text: str) -> int:
        tokenizer = self._tokenizer
        with self._tokenizing:
            if hasattr(tokenizer, "sot_token_id"):
                return len(tokenizer.encode(text)) + 2
            ids = tokenizer.tokenizer(tokenizer.clean_fn(text)).input_ids
            # "clips" adds three of its own in place of the tokenizer's: open_clip.HFTokenizer._clips_tokenize.
            bare = tokenizer.tokenizer(tokenizer.clean_fn(text), add_special_tokens=False).input_ids
            return len(bare) + 3 if tokenizer.tokenizer_mode == "clips" else len(ids)

    def _ids(self, text: str) -> TokenIds:
        tokenizer = self._tokenizer
        # Fast tokenizers keep padding and truncation as state, and refuse to be used by two threads at once.
        with self._tokenizing:
            ids: TokenIds = tokenizer([text], context_length=self.max_tokens)[0].numpy()
        return ids

    def _table(self) -> TokenizerTable:
        """What makes the light tokenizer; one with settings that it does not have is refused by its check."""
        tokenizer, options = self._tokenizer, self._model.source.config["text_cfg"].get("tokenizer_kwargs") or {}
        if hasattr(tokenizer, "bpe_ranks"):
            merges = "\n".join(" ".join(pair) for pair in tokenizer.bpe_ranks)
            fields = {"max_tokens": self.max_tokens, "clean": options.get("clean", "lower")}
            return TokenizerTable("clip", merges.encode(), fields)
        inner = tokenizer.tokenizer
        fields = {
            "max_tokens": self.max_tokens,
            "clean": options.get("clean", "whitespace"),
            "pad_id": inner.pad_token_id,
            "zeroed_id": inner.sep_token_id if tokenizer.strip_sep_token else None,
        }
        return fast_table(inner, fields)

    @cached_property
    def _tokenizer(self) -> Any:
        return self._model.make_tokenizer()


class _Model:
    """What both towers share: where it comes from, and the network, which loads on first use."""

    def __init__(self, source: Source, precision: Precision) -> None:
        self.source = source
        self.precision: Precision = precision

    @property
    def dim(self) -> int:
        return int(self.source.config["embed_dim"])

    @property
    def is_loaded(self) -> bool:
        return "network" in self.__dict__

    @cached_property
    def fingerprint(self) -> str:
        line = json.dumps([self.source.fingerprint, self.precision])
        return hashlib.sha256(line.encode()).hexdigest()[:16]

    @property
    def dtype(self) -> torch.dtype:
        import torch

        dtype: torch.dtype = getattr(torch, self.precision)
        return dtype

    @cached_property
    def network(self) -> Any:
        """open_clip's own module, with the weights, for inference."""
        path = self.source.weights()
        network = build(self.source)
        load(network, path, exact=self.source.tag is None)
        # All of it, not by autocast: casting between layers takes the gain away again.
        return devices.to_device(network, self.precision)

    def make_tokenizer(self) -> Any:
        """open_clip's own tokenizer for these weights."""
        from open_clip.tokenizer import HFTokenizer, SimpleTokenizer

        text = self.source.config["text_cfg"]
        options = dict(text.get("tokenizer_kwargs") or {})
        where = self.source.tokenizer_folder
        if where is None:
            # Masks drop random words of what is too long. Queries that are too long are refused before.
            options.pop("reduction_mask", None)
            return SimpleTokenizer(context_length=self.source.max_tokens, **options)
        try:
            return HFTokenizer(
                str(where), context_length=self.source.max_tokens, tokenizer_mode=text.get("tokenizer_mode"), **options
            )
        except Exception as error:  # transformers raises whatever the files make it stumble over
            raise WeightsError(
                f"the tokenizer in {where} of open_clip:{self.source.name} cannot be loaded ({brief(error)}); put"
                " tokenizer.json and tokenizer_config.json beside the weights"
            ) from error


def _checked(vectors: Vectors, spec: TowerSpec) -> Vectors:
    if vectors.shape[1] != spec.dim:
        raise ModelError(
            f"the network gives vectors of {vectors.shape[1]} numbers, and its configuration says {spec.dim}"
        )
    return vectors
