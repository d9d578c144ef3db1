"""Text towers kept for queries: weights and tokenizer in one file, from which NumPy answers without torch.

A text tower is put there once its network is loaded, which is when a library is first indexed; until then, or when
the file is lost, torch answers. A file is a cache: it may be deleted at any time. Its key is the tower's fingerprint,
so what is kept of one model cannot answer for another.

Nothing is used that was not held against the original before: the tokens of texts of many kinds must be the same, and
the vectors must agree (`LEAST_COSINE`, `MOST_DIFFERENCE`) with those that torch computes in float32 from the same
weights.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from indexer.cores import one_blas_thread
from indexer.errors import WeightsError
from indexer.types import Vectors
from mmsearch.encoders.light_tokens import KINDS, LightTokenizer, TokenIds
from mmsearch.encoders.text_forward import TextLayout, text_vector
from mmsearch.encoders.weights import cache_directory, is_stamped, write_atomically, write_stamp

if TYPE_CHECKING:
    from torch import Tensor

_log = logging.getLogger(__name__)

SWITCH = "MMSEARCH_KEEP_TEXT"
"""The environment variable that turns all of this off, with "off" or "0"."""

# Counted up by hand whenever the file, or what is computed from it, is no longer the same.
VERSION = 1

LEAST_COSINE = 0.9999
MOST_DIFFERENCE = 1e-3
"""In any number of a vector of length 1."""

# About as many texts go through NumPy in the time that importing torch and loading the network takes.
NUMPY_TEXTS = 100

CHECK_TEXTS = (
    "a dog",
    "a photo of two red bicycles leaning against an old brick wall, at sunset",
    "rain",
    "The QUICK brown fox's jump -- isn't it 3.14159 metres (10 ft)?",
    "",
    "ein Mädchen liest; señor Núñez fährt Rad",
    "犬が雪の中を走っている",
    "собака в парке",
    "😀 party 🎉🎂 #birthday @home",
    "fish &amp; chips   with\ttabs\nand lines",
    "<pad> of the <s>first</s> [PAD] kind",
    "snake_case_and-dashes/slashes\\and [brackets] {braces} <end_of_text>",
    " ".join(["a long walk along the shore of a quiet lake in the first light of a cold morning"] * 9),
)
"""What the checks ask."""

_ONLY_TOKENS = range(4, 10)
"""Those of them that ask for tokens alone: when a library is first indexed, the check is waited for."""

_TYPES: dict[str, tuple[str, type[np.generic]]] = {
    "F32": ("<f4", np.float32),
    "F16": ("<f2", np.float16),
    "BF16": ("<u2", np.uint16),
    "U8": ("u1", np.uint8),
}
_TOKENIZER = "tokenizer"


@dataclass(frozen=True, slots=True)
class TokenizerTable:
    """What a light tokenizer is made of: its kind (a key of `light_tokens.KINDS`), its table, and its other fields."""

    kind: str
    table: bytes
    fields: Mapping[str, Any]

    def make(self) -> LightTokenizer:
        """The tokenizer.

        Raises:
            ValueError: there is no such kind, or its fields are others.
        """
        try:
            made: LightTokenizer = KINDS[self.kind](self.table, **self.fields)
        except (KeyError, TypeError) as error:
            raise ValueError(f"there is no tokenizer {self.kind!r} with {dict(self.fields)}") from error
        return made


def fast_table(tokenizer: Any, fields: Mapping[str, Any]) -> TokenizerTable:
    """The table of one of transformers' tokenizers.

    Raises:
        ValueError: it is not one of those that stand on the package `tokenizers`.
    """
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        raise ValueError(f"its tokenizer is of the class {type(tokenizer).__name__}, which is written in Python")
    return TokenizerTable("fast", tokenizer.backend_tokenizer.to_str().encode(), fields)


@dataclass(frozen=True, slots=True)
class OwnTokens:
    """A tower's own tokenizer, to hold a light one against."""

    prepare: Callable[[str], TokenIds]
    count: Callable[[str], int]


@dataclass(frozen=True)
class KeptText:
    """A text tower from its file. Its weights are mapped, and read when they are used."""

    layout: TextLayout
    tensors: Mapping[str, NDArray[Any]]
    tokenizer: LightTokenizer

    @classmethod
    def read(cls, path: Path) -> KeptText:
        """What `keep` wrote.

        Raises:
            ValueError: the file holds something else.
            OSError: it cannot be read.
        """
        header, tensors = _mapped(path)
        try:
            fields = json.loads(header["fields"])
            table = TokenizerTable(header["kind"], tensors.pop(_TOKENIZER).tobytes(), fields)
            return cls(TextLayout.from_row(json.loads(header["layout"])), tensors, table.make())
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path} is no text tower: {error}") from error

    def encode(self, prepared: Sequence[TokenIds]) -> Vectors:
        """Vectors of token ids, of the lengths that the network gives them: (len(prepared), dim) float32."""
        with one_blas_thread():
            return np.stack([text_vector(self.layout, self.tensors, ids) for ids in prepared])


class KeptTower:
    """What a text tower asks before it loads its network: does the kept file answer?

    Args:
        fingerprint: the tower's own; called when it is first needed.
        is_loaded: whether the network is in memory, so that torch costs nothing more.
    """

    def __init__(self, fingerprint: Callable[[], str], is_loaded: Callable[[], bool]) -> None:
        self._fingerprint = fingerprint
        self._is_loaded = is_loaded
        self._answered = 0

    @property
    def tokenizer(self) -> LightTokenizer | None:
        """The tokenizer, while the file answers; None when the tower's own must."""
        return None if self._kept is None or self._is_loaded() else self._kept.tokenizer

    def encode(self, prepared: Sequence[TokenIds]) -> Vectors | None:
        """Vectors of token ids, (len(prepared), dim) float32 of any length; None when torch must make them.

        Like someone who rents skis until the rent has come to the price of a pair, it leaves many texts to torch.
        """
        if self._kept is None or not prepared or self._is_loaded() or self._answered + len(prepared) > NUMPY_TEXTS:
            return None
        self._answered += len(prepared)
        return self._kept.encode(prepared)

    @cached_property
    def _kept(self) -> KeptText | None:
        if not _is_on():
            return None
        path = kept_path(self._fingerprint())
        try:
            return KeptText.read(path) if is_stamped(path) else None
        except (OSError, ValueError) as error:
            _log.warning("%s is not used: %s", path, error)
            path.unlink(missing_ok=True)  # it is written again once the network is loaded
            return None


def keep(
    fingerprint: str,
    read: Callable[[], tuple[TextLayout, dict[str, Tensor]]],
    table: Callable[[], TokenizerTable],
    tokens: OwnTokens,
    vectors: Callable[[Sequence[TokenIds]], Vectors],
) -> None:
    """Keep a text tower whose network is loaded, unless it is kept already, or was found not to fit before.

    What does not work out is logged, and noted beside where the file would be: torch then goes on answering.

    Args:
        fingerprint: the tower's.
        read: gives the network's layout and tensors; see `text_layout.read_text_tower`.
        table: what the light tokenizer is made of.
        tokens: the tower's own tokenizer.
        vectors: what torch makes of token ids in float32, from the weights as the tower has them.
    """
    path = kept_path(fingerprint)
    if not _is_on() or is_stamped(path) or _refusal(path).exists():
        return
    try:
        reason = _keep(path, read, table, tokens, vectors)
        if reason is not None:
            note = json.dumps({"reason": reason}).encode()
            write_atomically(_refusal(path), lambda file: file.write(note))
    except (OSError, WeightsError) as error:  # a full disk, or a cache that may not be written to
        reason = str(error)
    if reason is not None:
        _log.info("text queries go on through torch: %s", reason)


def why_not_kept(fingerprint: str) -> str | None:
    """Why the text tower of this fingerprint answers through torch; None when it is kept."""
    path = kept_path(fingerprint)
    if not _is_on():
        return f"{SWITCH} is off"
    if is_stamped(path):
        return None
    try:
        return str(json.loads(_refusal(path).read_text(encoding="utf-8"))["reason"])
    except (OSError, ValueError, KeyError, TypeError):
        return "not kept yet: the next query or indexing run sees to it"


def kept_path(fingerprint: str) -> Path:
    """Where the text tower of this fingerprint is kept, in the cache directory."""
    key = hashlib.sha256(f"{VERSION} {fingerprint}".encode()).hexdigest()[:16]
    return cache_directory() / "text_towers" / f"{key}.safetensors"


def _is_on() -> bool:
    return os.environ.get(SWITCH, "").strip().lower() not in ("off", "0")


def _refusal(path: Path) -> Path:
    return path.with_suffix(".refused.json")


def _keep(
    path: Path,
    read: Callable[[], tuple[TextLayout, dict[str, Tensor]]],
    table: Callable[[], TokenizerTable],
    tokens: OwnTokens,
    vectors: Callable[[Sequence[TokenIds]], Vectors],
) -> str | None:
    """Write the file; or say what speaks against it."""
    from mmsearch.encoders.text_layout import UnknownTowerError

    try:
        layout, networks = read()
        made = table()
        light = made.make()
    except (UnknownTowerError, ValueError) as error:
        return str(error)
    prepared = [tokens.prepare(text) for text in CHECK_TEXTS]
    for text, want in zip(CHECK_TEXTS, prepared, strict=True):
        if not np.array_equal(light.prepare(text), want) or light.count(text) != tokens.count(text):
            return f"{text[:40]!r} has other tokens in the light tokenizer"
    arrays = {name: _array(name, tensor) for name, tensor in networks.items()}
    kept = KeptText(layout, {name: values for name, (_, values) in arrays.items()}, light)
    asked = [ids for at, ids in enumerate(prepared) if at not in _ONLY_TOKENS]
    disagreement = _disagreement(kept.encode(asked), vectors(asked))
    if disagreement is not None:
        return disagreement
    header = {
        "kind": made.kind,
        "fields": json.dumps(dict(made.fields)),
        "layout": json.dumps(layout.to_row()),
    }
    arrays[_TOKENIZER] = ("U8", np.frombuffer(made.table, np.uint8))
    write_atomically(path, lambda file: _write(file, header, arrays))
    write_stamp(path)
    return None


def _disagreement(found: Vectors, want: Vectors) -> str | None:
    """What is wrong with vectors beside others of the same texts, (n, dim) float32 each; None when they agree."""
    if found.shape != want.shape or not np.isfinite(found).all():
        return f"the vectors have shape {found.shape}, expected {want.shape}, or are not finite"
    lengths, wanted = np.linalg.norm(found, axis=1, keepdims=True), np.linalg.norm(want, axis=1, keepdims=True)
    cosine = float((found * want / (lengths * wanted)).sum(axis=1).min())
    difference = float(np.abs(found / lengths - want / wanted).max())
    stretch = float(np.abs(lengths / wanted - 1).max())
    if cosine >= LEAST_COSINE and max(difference, stretch) <= MOST_DIFFERENCE:
        return None
    return f"cosine {cosine:.6f}, largest difference {difference:.1g}, length off by {stretch:.1g}"


def _array(name: str, tensor: Tensor) -> tuple[str, NDArray[Any]]:
    """A tensor as it is kept, with safetensors' name for its type.

    float32 stays as it is but for the words' table, of which a query reads a few rows: rounding all weights to bfloat16
    moved random ViT-B-32's vectors by up to 3e-3, and float16 takes twice as long to multiply with.
    """
    import torch

    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16 and tensor.ndim > 1:
        return "BF16", tensor.contiguous().view(torch.uint16).numpy()
    if name == "tokens" or (tensor.dtype == torch.float16 and tensor.ndim > 1):
        return "F16", tensor.to(torch.float16).contiguous().numpy()
    return "F32", tensor.to(torch.float32).contiguous().numpy()


# --- the file: https://huggingface.co/docs/safetensors ---


def _write(file: IO[bytes], metadata: Mapping[str, str], arrays: Mapping[str, tuple[str, NDArray[Any]]]) -> None:
    rows: dict[str, Any] = {"__metadata__": dict(metadata)}
    at = 0
    for name, (kind, values) in arrays.items():
        rows[name] = {"dtype": kind, "shape": values.shape, "data_offsets": [at, at + values.nbytes]}
        at += values.nbytes
    header = json.dumps(rows).encode()
    header += b" " * (-(8 + len(header)) % 64)  # so that numbers lie where their type wants them
    file.write(len(header).to_bytes(8, "little") + header)
    for _, values in arrays.values():
        file.write(values.tobytes() if values.ndim == 0 else np.ascontiguousarray(values).data)


def _mapped(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The metadata and the tensors of a safetensors file, mapped and not copied.

    Raises:
        ValueError: it is no such file.
        OSError: it cannot be read.
    """
    data = np.memmap(path, np.uint8, mode="r")
    try:
        start = 8 + int.from_bytes(data[:8].tobytes(), "little")
        header = json.loads(data[8:start].tobytes())
        metadata = header.pop("__metadata__")
        tensors = {}
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            tensors[name] = data[start + begin : start + end].view(_TYPES[entry["dtype"]][0]).reshape(entry["shape"])
        return metadata, tensors
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"{path} is not a safetensors file that can be read: {error}") from error
