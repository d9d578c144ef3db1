"""The forward pass of a text tower in NumPy, for the few short texts of a query.

A query would else wait for torch, open_clip and transformers to be imported: seconds, for what is then computed in
hundredths of one. This knows the transformers that CLIP, SigLIP, PE-Core and CLAP have for text; `text_layout.py`
brings the networks of their libraries into this form, and `kept_text.py` keeps it in a file.

Formulas: Vaswani et al., NeurIPS 2017, with the norms before each part (Radford et al., ICML 2021, section 2.4) or
behind it (Devlin et al., NAACL 2019).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mmsearch.encoders.bert import gelu

Floats = NDArray[np.float32]
Tensors = Mapping[str, NDArray[Any]]
"""Tensors by name: float32, float16, or uint16 that are the upper halves of float32, which is what bfloat16 is."""

Pool = Literal["end", "last", "first"]

# Weights in bfloat16 become float32 in blocks of this many, which stay in the core's cache until they are multiplied:
# 45 ms for ViT-B-32's twelve layers, where weights that are float32 take 41 and those in float16 85 (one core).
BLOCK = 1 << 16


def _quick_gelu(x: Floats) -> Floats:
    """x times the logistic function of 1.702 x: https://github.com/openai/CLIP, clip/model.py."""
    gated: Floats = x / (np.float32(1) + np.exp(np.float32(-1.702) * x))
    return gated


def _tanh_gelu(x: Floats) -> Floats:
    """GELU by the hyperbolic tangent: Hendrycks and Gimpel, arXiv:1606.08415, section 2."""
    inner: Floats = (x + np.float32(0.044715) * x * x * x) * np.float32(math.sqrt(2 / math.pi))
    return np.float32(0.5) * x * (np.float32(1) + _tanh(inner))


def _relu(x: Floats) -> Floats:
    kept: Floats = np.maximum(x, np.float32(0))
    return kept


def _tanh(x: Floats) -> Floats:
    bounded: Floats = np.tanh(x)
    return bounded


ACTIVATIONS: dict[str, Callable[[Floats], Floats]] = {
    "gelu": gelu,
    "quick_gelu": _quick_gelu,
    "tanh_gelu": _tanh_gelu,
    "relu": _relu,
    "tanh": _tanh,
    "": lambda x: x,
}
"""What is between two layers, by name; "" for nothing."""


@dataclass(frozen=True, slots=True)
class TextLayout:
    """What the tensors of a text tower do not say.

    `causal`: no token sees those behind it. `norm_first`: each part of a layer reads what is normalised, and not its
    sum with what came before. `pool`: the token whose state becomes the vector: the first that is `end_id` (where that
    is None, the one with the highest id), the last, or the first. `head`: the activation behind each linear layer that
    this state goes through. `pad_id`: as in RoBERTa, positions are counted from the one after it, and tokens of this id
    do not count; None where positions are those in the text.
    """

    layers: int
    heads: int
    epsilon: float
    activation: str
    causal: bool
    norm_first: bool
    pool: Pool
    head: tuple[str, ...]
    end_id: int | None = None
    pad_id: int | None = None

    def __post_init__(self) -> None:
        unknown = {self.activation, *self.head} - ACTIVATIONS.keys()
        if unknown or self.pool not in get_args(Pool) or min(self.layers, self.heads) < 1:
            raise ValueError(f"{self} is no layout of a text tower; activations are {', '.join(ACTIVATIONS)}")

    def to_row(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return asdict(self)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> TextLayout:
        """What `to_row` gave.

        Raises:
            ValueError: it is something else.
        """
        try:
            return cls(**{**row, "head": tuple(row["head"])})
        except (TypeError, KeyError) as error:
            raise ValueError(f"{row} is no layout of a text tower ({error})") from error


def tensor_names(layout: TextLayout) -> set[str]:
    """The names of the tensors that a layout has for sure; linear layers may have biases, and "norm" may be absent."""
    norms = ("attention_norm.weight", "attention_norm.bias", "mlp_norm.weight", "mlp_norm.bias")
    parts = (*norms, "qkv.weight", "out.weight", "up.weight", "down.weight")
    names = {f"layers.{layer}.{part}" for layer in range(layout.layers) for part in parts}
    return names | {"tokens", "positions"} | {f"head.{step}.weight" for step in range(len(layout.head))}


def text_vector(layout: TextLayout, tensors: Tensors, ids: NDArray[np.int64]) -> Floats:
    """The vector of one text, of the length that the network gives it: (dim,) float32.

    Args:
        layout: how the network is built.
        tensors: its weights, by the names that `text_layout.py` gives them.
        ids: token ids, as the tower's tokenizer pads them: (tokens,).
    """
    at = _pooled_at(layout, ids)
    if layout.causal:
        ids = ids[: at + 1]  # nothing behind has a say
    hidden = _float32(tensors["tokens"][ids]) + _float32(tensors["positions"][_positions(layout, ids)])
    if not layout.norm_first:
        hidden = _norm(layout, tensors, "norm", hidden)
    for layer in range(layout.layers):
        hidden = _layer(layout, tensors, f"layers.{layer}", hidden)
    pooled = hidden[at : at + 1]
    if layout.norm_first:
        pooled = _norm(layout, tensors, "norm", pooled)
    for step, activation in enumerate(layout.head):
        pooled = ACTIVATIONS[activation](_linear(tensors, f"head.{step}", pooled))
    vector: Floats = pooled[0]
    return vector


def _positions(layout: TextLayout, ids: NDArray[np.int64]) -> NDArray[np.int64]:
    if layout.pad_id is None:
        return np.arange(len(ids))
    counted = (ids != layout.pad_id).astype(np.int64)  # create_position_ids_from_input_ids of transformers' RoBERTa
    positions: NDArray[np.int64] = np.cumsum(counted) * counted + layout.pad_id
    return positions


def _pooled_at(layout: TextLayout, ids: NDArray[np.int64]) -> int:
    if layout.pool == "first":
        return 0
    if layout.pool == "last":
        return len(ids) - 1
    return int(ids.argmax() if layout.end_id is None else (ids == layout.end_id).argmax())


def _layer(layout: TextLayout, tensors: Tensors, name: str, hidden: Floats) -> Floats:
    norm_first = layout.norm_first
    read = _norm(layout, tensors, f"{name}.attention_norm", hidden) if norm_first else hidden
    hidden = hidden + _linear(tensors, f"{name}.out", _attention(layout, _linear(tensors, f"{name}.qkv", read)))
    if not norm_first:
        hidden = _norm(layout, tensors, f"{name}.attention_norm", hidden)
    read = _norm(layout, tensors, f"{name}.mlp_norm", hidden) if norm_first else hidden
    inner = ACTIVATIONS[layout.activation](_linear(tensors, f"{name}.up", read))
    hidden = hidden + _linear(tensors, f"{name}.down", inner)
    return hidden if norm_first else _norm(layout, tensors, f"{name}.mlp_norm", hidden)


def _attention(layout: TextLayout, qkv: Floats) -> Floats:
    """(tokens, 3 * width) to (tokens, width)."""
    tokens, width = len(qkv), qkv.shape[1] // 3
    query, key, value = qkv.reshape(tokens, 3, layout.heads, -1).transpose(1, 2, 0, 3)
    scores = query @ key.swapaxes(1, 2) * np.float32(1 / math.sqrt(width // layout.heads))
    if layout.causal:
        scores += np.triu(np.full((tokens, tokens), -np.inf, np.float32), 1)
    scores -= scores.max(axis=-1, keepdims=True)
    weights = np.exp(scores, out=scores)
    weights /= weights.sum(axis=-1, keepdims=True)
    mixed: Floats = (weights @ value).transpose(1, 0, 2).reshape(tokens, width)
    return mixed


def _norm(layout: TextLayout, tensors: Tensors, name: str, x: Floats) -> Floats:
    if f"{name}.weight" not in tensors:
        return x
    centred = x - x.mean(axis=-1, keepdims=True)
    scale = np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + np.float32(layout.epsilon))
    normed: Floats = centred / scale * _float32(tensors[f"{name}.weight"]) + _float32(tensors[f"{name}.bias"])
    return normed


def _linear(tensors: Tensors, name: str, x: Floats) -> Floats:
    """(n, inputs) to (n, outputs), with weights of (outputs, inputs)."""
    weight = tensors[f"{name}.weight"]
    product: Floats
    if weight.dtype != np.uint16:
        product = x @ _float32(weight).T
    else:
        product = np.empty((len(x), len(weight)), np.float32)
        rows = max(1, BLOCK // weight.shape[1])
        block = np.empty((rows, weight.shape[1]), np.uint32)
        for start in range(0, len(weight), rows):
            part = weight[start : start + rows]
            whole = np.left_shift(part, 16, out=block[: len(part)], dtype=np.uint32).view(np.float32)
            np.matmul(x, whole.T, out=product[:, start : start + len(part)])
    if f"{name}.bias" in tensors:
        product += _float32(tensors[f"{name}.bias"])
    return product


def _float32(values: NDArray[Any]) -> Floats:
    whole = np.left_shift(values, 16, dtype=np.uint32).view(np.float32) if values.dtype == np.uint16 else values
    return whole.astype(np.float32, copy=False)
