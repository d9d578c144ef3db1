"""The text tower: all-MiniLM-L6-v2, a six-layer BERT whose token vectors are averaged.

Model: https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), after Wang et al.,
MiniLM, NeurIPS 2020; architecture: Devlin et al., BERT, NAACL 2019; pooling: Reimers and Gurevych,
Sentence-BERT, EMNLP 2019.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from indexer.cores import one_blas_thread
from indexer.legible import Legible
from indexer.types import TextSample, TowerSpec, Vectors
from mmsearch.encoders.bert import Floats, bert_numpy, bert_torch, read_safetensors
from mmsearch.encoders.known_words import KnownWords
from mmsearch.encoders.threads import map_with_torch
from mmsearch.encoders.weights import MINILM_TOKENIZER, MINILM_WEIGHTS, unpacked_file

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer

DIM = 384
MAX_TOKENS = 256

# NumPy encodes about as many tokens as this in the time that importing torch takes, and torch is then
# two to ten times as fast (benchmarks/mini_speed.py). Like someone who rents skis until the rent
# has come to the price of a pair, the tower counts its tokens and then changes over.
NUMPY_TOKENS = 4096

# Counted up by hand whenever the code makes other vectors of the same weights, beside mini.PREPROCESSING_VERSION.
DOCUMENT_VERSION = 1

# Tokens in one forward pass: the inner layer of 4096 tokens takes 25 MB, and more is not faster.
BATCH_TOKENS = 4096

TokenIds = NDArray[np.int64]


class TextTower:
    """Tokens and vectors of texts. The tokenizer and the weights load on first use, each by itself."""

    def __init__(self) -> None:
        self._encoded_tokens = 0

    def prepare(self, text: str) -> TokenIds:
        """The token ids of a text, special tokens included: (tokens,) int64, 256 at most."""
        ids = self._tokenizer.encode(text).ids
        # As transformers cuts: the beginning of the text, then the closing [SEP].
        return np.array(ids if len(ids) <= MAX_TOKENS else [*ids[: MAX_TOKENS - 1], ids[-1]], dtype=np.int64)

    def count_tokens(self, text: str) -> int:
        """How many tokens the whole text has, special tokens included."""
        return len(self._tokenizer.encode(text).ids)

    def legible(self, text: str) -> Legible:
        """What of a text it can read: see known_words.py."""
        return self._known_words.legible(text)

    def encode(self, prepared: Sequence[TokenIds]) -> Vectors:
        """Vectors of token sequences: (len(prepared), 384) float32, each row of length 1."""
        vectors = np.empty((len(prepared), DIM), dtype=np.float32)
        self._encoded_tokens += sum(map(len, prepared))
        batches = batches_of_equal_length([len(ids) for ids in prepared])
        stacked = [np.stack([prepared[row] for row in rows]) for rows in batches]
        for rows, hidden in zip(batches, self._forward(stacked), strict=True):
            pooled = hidden.mean(axis=1)
            vectors[rows] = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
        return vectors

    def encode_texts(self, texts: Iterable[str]) -> Vectors:
        """`prepare` and `encode` in one call: (number of texts, 384) float32, each row of length 1."""
        return self.encode([self.prepare(text) for text in texts])

    def _forward(self, batches: Sequence[TokenIds]) -> list[Floats]:
        if self._encoded_tokens <= NUMPY_TOKENS:
            with one_blas_thread():
                return [bert_numpy(self._weights, ids) for ids in batches]
        import torch

        weights = self._torch_weights
        return map_with_torch(lambda ids: bert_torch(weights, torch.from_numpy(ids)).numpy(), batches)

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(unpacked_file(MINILM_TOKENIZER)))
        # The file asks for padding to 128 tokens and for cutting there; neither is wanted.
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer

    @cached_property
    def _known_words(self) -> KnownWords:
        return KnownWords(self._tokenizer)

    @cached_property
    def _weights(self) -> dict[str, Floats]:
        return read_safetensors(unpacked_file(MINILM_WEIGHTS))

    @cached_property
    def _torch_weights(self) -> dict[str, torch.Tensor]:
        import torch

        # Copied, because torch does not take memory that is read-only.
        return {name: torch.from_numpy(weight.copy()) for name, weight in self._weights.items()}


class DocumentTower:
    """The same tower as a part of a model: documents, spoken lines and questions to both, in a space of their own."""

    spec = TowerSpec(modality="text", space="minilm", dim=DIM)
    max_tokens = MAX_TOKENS

    def __init__(self) -> None:
        self._tower = TextTower()

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits over the weights, the tokenizer and the code's version."""
        parts = f"minilm {DOCUMENT_VERSION} {MINILM_WEIGHTS.sha256} {MINILM_TOKENIZER.sha256}"
        return hashlib.sha256(parts.encode()).hexdigest()[:16]

    def count_tokens(self, text: str) -> int:
        """How many tokens the whole text has, special tokens included."""
        return self._tower.count_tokens(text)

    def legible(self, text: str) -> Legible:
        """What of a text it can read: words in Latin letters, and no emoji."""
        return self._tower.legible(text)

    def prepare(self, sample: TextSample) -> TokenIds:
        """The token ids of a text, special tokens included: (tokens,) int64, 256 at most."""
        return self._tower.prepare(sample.text)

    def encode(self, prepared: Sequence[TokenIds]) -> Vectors:
        """Vectors of token sequences: (len(prepared), 384) float32, each row of length 1."""
        return self._tower.encode(prepared)


def batches_of_equal_length(lengths: Sequence[int]) -> list[list[int]]:
    """Row numbers in batches: all rows of a batch have one length, at most BATCH_TOKENS together."""
    rows_of: dict[int, list[int]] = {}
    for row, length in enumerate(lengths):
        rows_of.setdefault(length, []).append(row)
    batches = []
    for length, rows in rows_of.items():
        step = max(1, BATCH_TOKENS // length)
        batches += [rows[start : start + step] for start in range(0, len(rows), step)]
    return batches
