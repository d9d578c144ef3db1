"""EmbeddingGemma 2: texts, pictures, frames and sounds in one space, by one network.

Model: https://huggingface.co/google/embeddinggemma-2; transformers' architecture "embedding_gemma2". A picture or a
sound becomes soft tokens in a text that the language model reads; the mean over all tokens is the vector.

Prompts go before every input: the model was trained with one in front of each, and its tokens count in the mean
(https://huggingface.co/docs/transformers/model_doc/embedding_gemma2, "Task prompts"). Texts that are asked have the
query's; documents, pictures, frames and sounds have the document's, as `encode_document` of Sentence Transformers gives
it to them. A picture or sound that is asked goes the way of those in the library, so that it finds itself.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from indexer.errors import ModelError, UsageError
from indexer.types import AudioSample, ImageSample, TowerSpec, Vectors
from mmsearch.encoders.gemma_inputs import AudioFeatures, Features, Picture, PictureSettings
from mmsearch.encoders.gemma_network import GemmaNetwork
from mmsearch.encoders.precision import PRECISION_VARIABLE, Precision, choose_precision
from mmsearch.encoders.tower import Towers
from mmsearch.encoders.transformers_folder import Checkpoint, open_checkpoint
from mmsearch.encoders.transformers_half import TransformersTextTower
from mmsearch.encoders.transformers_tokenizer import SharedTokenizer, token_limit

SPACE = "gemma"
REPOSITORY = "google/embeddinggemma-2"

# What the vectors were trained to be cut to: https://docs.sglang.io/cookbook/autoregressive/Google/EmbeddingGemma2
DIMS = (768, 512, 256, 128)

# Of the published config_sentence_transformers.json, for a folder without one; and under which names they are there.
PROMPTS = {"query": "task: search result | query: ", "document": "title: none | text: "}
_PROMPT_NAMES = {
    "query": ("query", "Retrieval-query", "SearchQuery"),
    "document": ("document", "Retrieval-document", "Document"),
}

# What the model reads at once, by the same page; its configuration names only what its positions allow.
CONTEXT_TOKENS = 8192

# Documents are cut into passages of this many tokens, as with the other models: an answer then is a place, not a book.
PASSAGE_TOKENS = 256

# Sound is cut as for CLAP: a window has 250 tokens, and half of it is in the next one too.
WINDOW_SECONDS, HOP_SECONDS = 10.0, 5.0

# Counted up by hand whenever the code makes other vectors of the same checkpoint.
PREPROCESSING_VERSION = "1"

_DIM = re.compile(r"(?:^|:)dim=(\d+)$")
_FLOAT16 = {"float16", "fp16", "half"}


def parse_source(source: str) -> tuple[str, int | None]:
    """The folder or repository of "FOLDER_OR_REPOSITORY[:dim=N]", and N. "dim=256" alone is of the published model."""
    found = _DIM.search(source)
    if found is None:
        return source, None
    dim = int(found[1])
    if dim not in DIMS:
        raise ModelError(f"gemma:{source} asks for vectors of {dim} numbers; the model has {', '.join(map(str, DIMS))}")
    return source[: found.start()] or REPOSITORY, dim


def gemma_towers(source: str, *, precision: str | None = None) -> Towers:
    """All towers of a checkpoint: a local folder or a repository, with ":dim=256" and the like for shorter vectors.

    A checkpoint without a vision or an audio part has no tower for these.

    Raises:
        ModelError: there is no such checkpoint, it is of another architecture, or its vectors have no such size.
        UsageError: the precision is float16.
    """
    number_type = _precision(precision)
    place, asked = parse_source(source)
    checkpoint = open_checkpoint(place, ("embedding_gemma2",))
    text = checkpoint.config.get("text_config") or {}
    full = int(text.get("embedding_dim", 768))
    dim = asked or full
    if dim > full:
        raise ModelError(f"{place} has vectors of {full} numbers, and {dim} were asked for; leave :dim={dim} out")
    network = GemmaNetwork(checkpoint, dim, number_type)
    prompts = find_prompts(checkpoint)
    positions = min(CONTEXT_TOKENS, int(text.get("max_position_embeddings", CONTEXT_TOKENS)))
    limit = token_limit(checkpoint, positions)
    version = f"{PREPROCESSING_VERSION} {dim}"
    tokenizer = SharedTokenizer(checkpoint, apart=True)
    layout = _Layout(checkpoint, tokenizer, prompts["document"], version)
    return Towers(
        visual=GemmaImageTower(network, layout) if checkpoint.config.get("vision_config") else None,
        sound=GemmaAudioTower(network, layout) if checkpoint.config.get("audio_config") else None,
        documents=TransformersTextTower(
            network,
            TowerSpec("text", SPACE, dim, asks=()),
            max_tokens=min(PASSAGE_TOKENS, limit),
            padded=False,
            version=version,
            prompt=prompts["document"],
            tokenizer=tokenizer,
        ),
        queries=(
            TransformersTextTower(
                network,
                TowerSpec("text", SPACE, dim),
                max_tokens=limit,
                padded=False,
                version=version,
                prompt=prompts["query"],
                tokenizer=tokenizer,
            ),
        ),
    )


def find_prompts(checkpoint: Checkpoint) -> dict[str, str]:
    """The checkpoint's prompts for a "query" and a "document"; the published ones where it has none."""
    found = checkpoint.read("config_sentence_transformers.json").get("prompts")
    known = found if isinstance(found, dict) else {}
    return {
        task: next((str(known[name]) for name in names if known.get(name)), PROMPTS[task])
        for task, names in _PROMPT_NAMES.items()
    }


def _precision(asked: str | None) -> Precision:
    if (asked or os.environ.get(PRECISION_VARIABLE, "")) in _FLOAT16:
        raise UsageError(
            "EmbeddingGemma 2 cannot compute in float16: its activations exceed what float16 holds, and its vectors"
            " come out damaged or as NaN; take bfloat16, which is as small, or float32"
        )
    chosen = choose_precision(asked)
    # What suits a graphics card best may be float16 for other models.
    return chosen if chosen in ("float32", "bfloat16") else "bfloat16"


class _Layout:
    """Token ids of a picture or a sound, with the document's prompt before it."""

    def __init__(self, checkpoint: Checkpoint, tokenizer: SharedTokenizer, prompt: str, version: str) -> None:
        self._checkpoint = checkpoint
        self._tokenizer = tokenizer
        self._version = version
        self._prompt = prompt

    def ids(self, kind: str, soft_tokens: int) -> NDArray[np.int64]:
        """(1, tokens) int64, with `soft_tokens` places for an "image" or "audio"."""
        names = {"image": ("boi", "image", "eoi"), "audio": ("boa", "audio", "eoa")}[kind]
        tokens = [token for name in names if (token := self._tokenizer.special(f"{name}_token")) is not None]
        if len(tokens) < len(names):
            raise ModelError(
                f"the tokenizer of {self._checkpoint.source} has no tokens for {kind}; copy tokenizer_config.json again"
                " from where the checkpoint came"
            )
        begin, place, end = tokens
        return np.array([self._tokenizer.ids(f"{self._prompt}{begin}{place * soft_tokens}{end}")], dtype=np.int64)

    def fingerprint(self, kind: str, precision: str) -> str:
        """Changes with the checkpoint, the prompt, the size of vectors, the precision, and this code."""
        return self._checkpoint.fingerprint(kind, self._version, precision, self._prompt)


class GemmaImageTower:
    """Pictures, and frames of videos, which are given fewer tokens. One goes through the network at a time."""

    def __init__(self, network: GemmaNetwork, layout: _Layout) -> None:
        self._network = network
        self._layout = layout
        self.spec = TowerSpec("image", SPACE, network.dim)
        self._picture = PictureSettings.of(network.checkpoint, "image_processor")
        self._frame = PictureSettings.of(network.checkpoint, "video_processor")

    @cached_property
    def fingerprint(self) -> str:
        """Changes with the checkpoint, the prompt, the size of vectors, the precision, and this code."""
        return self._layout.fingerprint("image", self._network.precision)

    @property
    def precision(self) -> Precision:
        """The number type that it computes in."""
        return self._network.precision

    @property
    def image_side(self) -> int:
        """Shorter side, in pixels, below which a picture must not be scaled down before `prepare`."""
        return max(self._picture.side, self._frame.side)

    def prepare(self, sample: ImageSample) -> Picture:
        """The picture's patches, at the size that the model's budget of tokens allows."""
        return (self._picture if sample.start_seconds is None else self._frame).prepare(sample.pixels)

    def encode(self, prepared: Sequence[Picture]) -> Vectors:
        """Vectors of prepared pictures: (len(prepared), dim) float32, of any length."""
        return self._network.encode(
            [
                {
                    "input_ids": self._layout.ids("image", picture.soft_tokens),
                    "pixel_values": picture.pixel_values(),
                    "image_position_ids": picture.positions(),
                }
                for picture in prepared
            ]
        )


class GemmaAudioTower:
    """Windows of sound. One goes through the network at a time, at its own length."""

    window_seconds = WINDOW_SECONDS
    hop_seconds = HOP_SECONDS

    def __init__(self, network: GemmaNetwork, layout: _Layout) -> None:
        self._network = network
        self._layout = layout
        self.spec = TowerSpec("audio", SPACE, network.dim)
        self._features = AudioFeatures.of(network.checkpoint)

    @cached_property
    def fingerprint(self) -> str:
        """Changes with the checkpoint, the prompt, the size of vectors, the precision, and this code."""
        return self._layout.fingerprint("audio", self._network.precision)

    @property
    def precision(self) -> Precision:
        """The number type that it computes in."""
        return self._network.precision

    @property
    def sample_rate(self) -> int:
        """Hz at which it hears."""
        return self._features.sample_rate

    def prepare(self, sample: AudioSample) -> Features:
        """The log-mel features of a window: (frames, mel bins) float32."""
        return self._features.prepare(sample, round(WINDOW_SECONDS * self.sample_rate))

    def encode(self, prepared: Sequence[Features]) -> Vectors:
        """Vectors of prepared windows: (len(prepared), dim) float32, of any length."""
        return self._network.encode(
            [
                {
                    "input_ids": self._layout.ids("audio", AudioFeatures.soft_tokens(len(features))),
                    "input_features": features[None],
                    "input_features_mask": np.ones((1, len(features)), np.bool_),
                }
                for features in prepared
            ]
        )
