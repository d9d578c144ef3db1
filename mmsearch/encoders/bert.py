"""The forward pass of a small BERT, in NumPy for a few short texts and in torch for many.

NumPy is there so that a query does not wait for torch to be imported. Both take the same weights and
the same sequences, all of one length: nothing is padded, so a vector cannot depend on its neighbours.

Formulas: Devlin et al., BERT, NAACL 2019 (post-norm blocks after Vaswani et al., NeurIPS 2017); GELU:
Hendrycks and Gimpel, arXiv:1606.08415, eq. 1 (with the error function, not with tanh).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from indexer.errors import WeightsError

if TYPE_CHECKING:
    import torch

LAYER_NORM_EPSILON = 1e-12
HEAD_DIM = 32

Floats = NDArray[np.float32]


def read_safetensors(path: Path) -> dict[str, Floats]:
    """The float32 tensors of a safetensors file by name, mapped from the file and not copied.

    Eight bytes give the length of a JSON header, which gives each tensor's type, shape and place after
    the header (https://huggingface.co/docs/safetensors). `safetensors.numpy` copies what it reads: most
    of it is an embedding table, of which a query needs a few rows.
    """
    try:
        data = np.memmap(path, dtype=np.uint8, mode="r")
        start = 8 + int(data[:8].view("<u8")[0])
        header = json.loads(data[8:start].tobytes())
        tensors = {}
        for name, entry in header.items():
            if entry.get("dtype") == "F32":
                begin, end = entry["data_offsets"]
                tensors[name] = data[start + begin : start + end].view("<f4").reshape(entry["shape"])
        return tensors
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise WeightsError(f"{path} is not a safetensors file that can be read: {error}") from error


def bert_numpy(weights: Mapping[str, Floats], ids: NDArray[np.int64]) -> Floats:
    """Hidden states of the last layer for token ids (batch, tokens): (batch, tokens, width) float32."""
    batch, tokens = ids.shape
    hidden = weights["embeddings.word_embeddings.weight"][ids]
    hidden += weights["embeddings.position_embeddings.weight"][:tokens]
    hidden += weights["embeddings.token_type_embeddings.weight"][0]
    hidden = _layer_norm(weights, "embeddings.LayerNorm", hidden.reshape(batch * tokens, -1))
    width = hidden.shape[1]
    scale = np.float32(1 / math.sqrt(HEAD_DIM))

    def heads(x: Floats) -> Floats:
        return x.reshape(batch, tokens, width // HEAD_DIM, HEAD_DIM).transpose(0, 2, 1, 3)

    for layer in range(_count_layers(weights)):
        name = f"encoder.layer.{layer}"
        query = heads(_linear(weights, f"{name}.attention.self.query", hidden))
        key = heads(_linear(weights, f"{name}.attention.self.key", hidden))
        value = heads(_linear(weights, f"{name}.attention.self.value", hidden))
        context = (_softmax(query @ key.swapaxes(2, 3) * scale) @ value).transpose(0, 2, 1, 3).reshape(hidden.shape)
        attended = _linear(weights, f"{name}.attention.output.dense", context)
        hidden = _layer_norm(weights, f"{name}.attention.output.LayerNorm", attended + hidden)
        inner = gelu(_linear(weights, f"{name}.intermediate.dense", hidden))
        inner = _linear(weights, f"{name}.output.dense", inner)
        hidden = _layer_norm(weights, f"{name}.output.LayerNorm", inner + hidden)
    return hidden.reshape(batch, tokens, width)


def bert_torch(weights: Mapping[str, torch.Tensor], ids: torch.Tensor) -> torch.Tensor:
    """What `bert_numpy` computes, in the type of the weights."""
    from torch.nn import functional

    batch, tokens = ids.shape

    def linear(name: str, x: torch.Tensor) -> torch.Tensor:
        return functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def norm(name: str, x: torch.Tensor) -> torch.Tensor:
        weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        return functional.layer_norm(x, x.shape[-1:], weight, bias, LAYER_NORM_EPSILON)

    def heads(x: torch.Tensor) -> torch.Tensor:
        return x.view(batch, tokens, -1, HEAD_DIM).transpose(1, 2)

    hidden = functional.embedding(ids, weights["embeddings.word_embeddings.weight"])
    hidden = hidden + weights["embeddings.position_embeddings.weight"][:tokens]
    hidden = norm("embeddings.LayerNorm", hidden + weights["embeddings.token_type_embeddings.weight"][0])
    for layer in range(_count_layers(weights)):
        name = f"encoder.layer.{layer}"
        query = heads(linear(f"{name}.attention.self.query", hidden))
        key = heads(linear(f"{name}.attention.self.key", hidden))
        value = heads(linear(f"{name}.attention.self.value", hidden))
        context = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(hidden.shape)
        hidden = norm(f"{name}.attention.output.LayerNorm", linear(f"{name}.attention.output.dense", context) + hidden)
        inner = functional.gelu(linear(f"{name}.intermediate.dense", hidden))
        hidden = norm(f"{name}.output.LayerNorm", linear(f"{name}.output.dense", inner) + hidden)
    return hidden


def gelu(x: Floats) -> Floats:
    """x times the standard normal distribution function at x: x/2 (1 + erf(x/sqrt 2))."""
    return x * (np.float32(0.5) + np.float32(0.5) * erf(x * np.float32(math.sqrt(0.5))))


def erf(x: Floats) -> Floats:
    """The error function in float32, to 5e-7 or better.

    Abramowitz and Stegun, Handbook of Mathematical Functions (1964), 7.1.26 (error below 1.5e-7 before
    rounding). Written with in-place steps: the arrays are large, and memory is what costs.
    """
    size = np.abs(x)
    t = size * np.float32(0.3275911)
    t += np.float32(1)
    np.reciprocal(t, out=t)
    result = t * np.float32(1.061405429)
    for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        result += np.float32(coefficient)
        result *= t
    np.multiply(size, size, out=size)
    np.negative(size, out=size)
    result *= np.exp(size, out=size)
    np.subtract(np.float32(1), result, out=result)
    np.copysign(result, x, out=result)
    return result


def _linear(weights: Mapping[str, Floats], name: str, x: Floats) -> Floats:
    product: Floats = x @ weights[f"{name}.weight"].T
    product += weights[f"{name}.bias"]
    return product


def _layer_norm(weights: Mapping[str, Floats], name: str, x: Floats) -> Floats:
    centred = x - x.mean(axis=-1, keepdims=True)
    scale = np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + np.float32(LAYER_NORM_EPSILON))
    normed: Floats = centred / scale * weights[f"{name}.weight"] + weights[f"{name}.bias"]
    return normed


def _softmax(x: Floats) -> Floats:
    exponents: Floats = np.exp(x - x.max(axis=-1, keepdims=True))
    exponents /= exponents.sum(axis=-1, keepdims=True)
    return exponents


def _count_layers(weights: Mapping[str, Any]) -> int:
    return sum(name.endswith("intermediate.dense.bias") for name in weights)
